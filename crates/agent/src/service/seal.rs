//! The line by which a service's file is known as ours: it holds a hash of all the
//! other lines, and the choices that the file was made from. A file with such a line
//! whose hash does not fit was changed by somebody.

use super::{Found, Start};

/// Begins what the line says.
const WORD: &str = "ccpeer-service 1 ";
/// Hexadecimal digits of the hash.
const DIGITS: usize = 32;

/// The text with its line in front of the line with this number. `comment` makes a
/// comment of what it says.
pub(super) fn seal(
    lines: &[String],
    at: usize,
    comment: fn(&str) -> String,
    start: &Start,
) -> String {
    let mut said = format!("{WORD}{}", hash(lines.iter().map(String::as_str)));
    if start.no_mdns {
        said += " mdns=off";
    }
    if let Some(listen) = start.listen {
        said += &format!(" listen={listen}");
    }
    let mut out = String::new();
    for (n, line) in lines.iter().enumerate() {
        if n == at {
            out += &comment(&said);
            out.push('\n');
        }
        out += line;
        out.push('\n');
    }
    out
}

/// Whose text this is.
pub(super) fn check(text: &str) -> Found {
    let Some(said) = text.lines().find_map(of_line) else {
        return Found::Foreign;
    };
    let others = text.lines().filter(|line| of_line(line).is_none());
    let whole = said.get(..DIGITS) == Some(hash(others).as_str()) && text.ends_with('\n');
    if whole {
        Found::Installed
    } else {
        Found::Changed
    }
}

/// The choices that it was made from.
pub(super) fn start(text: &str) -> Start {
    let said = text.lines().find_map(of_line).unwrap_or_default();
    let mut start = Start::default();
    for word in said.split_whitespace() {
        if word == "mdns=off" {
            start.no_mdns = true;
        } else if let Some(listen) = word.strip_prefix("listen=") {
            start.listen = listen.parse().ok();
        }
    }
    start
}

fn of_line(line: &str) -> Option<&str> {
    line.split_once(WORD).map(|(_, said)| said)
}

fn hash<'l>(lines: impl Iterator<Item = &'l str>) -> String {
    let mut hasher = blake3::Hasher::new();
    for line in lines {
        hasher.update(line.as_bytes());
        hasher.update(b"\n");
    }
    hasher.finalize().to_hex().chars().take(DIGITS).collect()
}

/// Text as it stands in XML, in an element or in a comment line of ours.
pub(super) fn escape_xml(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&apos;",
            c => out.push(c),
        }
    }
    out
}

/// A comment of XML. What we say holds no `--`.
pub(super) fn xml_comment(said: &str) -> String {
    format!("<!-- {said} -->")
}
