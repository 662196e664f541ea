//! The two tokens that stand for places in a bundle, both ways: the paths of one
//! machine become tokens, and tokens become the paths that they stood for.
//!
//! Into tokens by [`Rewriter`], so only where a path begins and ends, and never in
//! what a model signed. Out of tokens into the paths of the machine that wrote the
//! bundle, as far as those are known, and never into ours: from there on, the
//! session is like any other of a foreign machine. A token that was in the text
//! before, as in a shell's script, cannot be told from one that was put there.

use ccpeer_core::manifest::{Origin, PathFlavour, Slot};

use super::{HOME_TOKEN, Head, PROJECT_TOKEN};
use crate::claude::rewrite::{Rewriter, TextKind};
use crate::claude::slug;
use crate::remote_path::RemotePath;

/// Numbers that are tried until no text has the placeholders of one.
const PLACEHOLDERS_MAX: u32 = 64;
/// Bytes that may belong to a separator or a token and are held back.
const HELD_BYTES: usize = 64;

/// Whether tokens stand in a file of this kind.
#[must_use]
pub fn has_tokens(slot: &Slot) -> bool {
    matches!(slot, Slot::Main | Slot::Subagent(_))
}

/// The places of the machine that wrote a bundle: those that its project's path
/// tells, and made-up ones instead of those that it does not.
#[must_use]
pub fn origin_of(head: &Head) -> Origin {
    let shown = head.project.path.as_str();
    let flavour = match shown.as_bytes() {
        [drive, b':', ..] if drive.is_ascii_alphabetic() => PathFlavour::Windows,
        [b'\\', b'\\', ..] => PathFlavour::Windows,
        _ => PathFlavour::Unix,
    };
    let (homes, slash) = match flavour {
        PathFlavour::Unix => ("/home", "/"),
        PathFlavour::Windows => ("C:\\Users", "\\"),
    };
    let user = Some(safe(&head.device)).filter(|u| !u.is_empty());
    let made_up = format!("{homes}{slash}{}", user.as_deref().unwrap_or("unknown"));
    let told = match shown.strip_prefix(HOME_TOKEN) {
        Some(below) => format!("{made_up}{below}"),
        None => shown.to_owned(),
    };
    let project = RemotePath::parse(&told, flavour)
        .ok()
        .filter(|p| !p.is_root());
    let home = project.as_ref().and_then(home_of).unwrap_or(made_up);
    let name = Some(safe(&head.project.name)).filter(|n| !n.is_empty());
    let project = project.map_or_else(
        || format!("{home}{slash}{}", name.as_deref().unwrap_or("project")),
        |p| p.to_string(),
    );
    Origin {
        flavour,
        claude_dir: format!("{home}{slash}.claude"),
        slug: slug::project_slug(&project),
        home,
        project,
    }
}

/// The home that a path lies in, by the usual names.
fn home_of(path: &RemotePath) -> Option<String> {
    let below = match (path.flavour(), path.parts()) {
        (PathFlavour::Unix, [root, ..]) if root == "root" => 1,
        (PathFlavour::Unix, [top, _, ..]) if top == "home" || top == "Users" => 2,
        (PathFlavour::Unix, [var, home, _, ..]) if var == "var" && home == "home" => 3,
        (PathFlavour::Windows, [users, _, ..]) if users.eq_ignore_ascii_case("users") => 2,
        _ => return None,
    };
    let mut home = path.clone();
    for _ in below..path.parts().len() {
        home = home.parent()?;
    }
    Some(home.to_string())
}

/// A name as a part of a path that nothing can be hidden in.
fn safe(name: &str) -> String {
    let plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    name.chars().filter(plain).take(32).collect()
}

/// The project's path as a bundle shows it: the home taken out.
pub(super) fn path_shown(origin: &Origin) -> String {
    let parse = |p: &str| RemotePath::parse(p, origin.flavour).ok();
    let below = parse(&origin.project)
        .zip(parse(&origin.home).filter(|h| !h.is_root()))
        .and_then(|(project, home)| Some(project.parts_below(&home)?.join("/")));
    match below {
        Some(below) if below.is_empty() => HOME_TOKEN.to_owned(),
        Some(below) => format!("{HOME_TOKEN}/{below}"),
        None => origin.project.clone(),
    }
}

/// What stands for a place while [`Rewriter`] works: it knows paths only.
struct Placeholder {
    /// A name, which has no other spelling.
    name: String,
    token: &'static str,
    /// The place, and what directories are called that are named by it.
    path: String,
    slug: String,
}

/// Makes tokens of the paths of one machine.
pub struct Tokeniser {
    origin: Origin,
    rewriter: Rewriter,
    places: [Placeholder; 2],
    /// Of the placeholders.
    number: u32,
    /// The line that is not whole yet.
    held: Vec<u8>,
}

impl Tokeniser {
    /// For transcripts in these paths.
    #[must_use]
    pub fn new(origin: &Origin) -> Self {
        let (places, rewriter) = placeholders(origin, 0);
        Self {
            origin: origin.clone(),
            rewriter,
            places,
            number: 0,
            held: Vec::new(),
        }
    }

    /// A piece of a transcript.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        // Whole lines only: the rewriter looks at each of them alone.
        let end = memchr::memrchr(b'\n', bytes).map_or(0, |at| at + 1);
        let (lines, rest) = bytes.split_at(end);
        if !lines.is_empty() {
            self.held.extend_from_slice(lines);
            self.lines(out);
        }
        self.held.extend_from_slice(rest);
    }

    /// The end of a transcript.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        self.lines(out);
    }

    fn lines(&mut self, out: &mut Vec<u8>) {
        let text = std::mem::take(&mut self.held);
        // What stood there before must not be taken for what we put there.
        while (self.places.iter()).any(|p| memchr::memmem::find(&text, p.name.as_bytes()).is_some())
        {
            self.number += 1;
            if self.number >= PLACEHOLDERS_MAX {
                self.number = 0;
                return out.extend(text);
            }
            (self.places, self.rewriter) = placeholders(&self.origin, self.number);
        }
        let (text, _) = self.rewriter.bytes(TextKind::JsonLines, &text);
        out.extend(placed(text, &self.places));
    }
}

fn placeholders(origin: &Origin, number: u32) -> ([Placeholder; 2], Rewriter) {
    let plain = |path: &str| {
        let parsed = RemotePath::parse(path, origin.flavour);
        parsed.map_or_else(|_| path.to_owned(), |p| p.to_string())
    };
    let place = |what: &str, token, path: &str| Placeholder {
        name: format!("ccpeerq{number}{what}"),
        token,
        path: plain(path),
        slug: slug::project_slug(&plain(path)),
    };
    let project = place("project", PROJECT_TOKEN, &origin.project);
    let home = place("home", HOME_TOKEN, &origin.home);
    let to = Origin {
        flavour: PathFlavour::Unix,
        home: format!("/{}", home.name),
        project: format!("/{}", project.name),
        claude_dir: format!("/{}/.claude", home.name),
        // There is no token for it: it stays as it is.
        slug: origin.slug.clone(),
    };
    ([project, home], Rewriter::new(origin, &to))
}

/// Puts tokens for the placeholders and the separators before them. What is named
/// by a place has no token, nor has a path within an address, where slashes are spelled
/// with a percent: they become what they were.
fn placed(text: Vec<u8>, places: &[Placeholder; 2]) -> Vec<u8> {
    let mut out = text;
    for place in places {
        let finder = memchr::memmem::Finder::new(&place.name);
        if finder.find(&out).is_none() {
            continue;
        }
        let mut with = Vec::with_capacity(out.len());
        let mut from = 0;
        for at in finder.find_iter(&out) {
            let before = out.get(from..at).unwrap_or_default();
            let is_slug = before.ends_with(b"-");
            let len = if is_slug { 1 } else { separator(before) };
            let (before, spelled) = before.split_at(before.len() - len);
            with.extend_from_slice(before);
            match str::from_utf8(spelled) {
                Ok("-") => with.extend_from_slice(place.slug.as_bytes()),
                Ok(odd) if odd.starts_with('%') && place.path.starts_with('/') => {
                    with.extend_from_slice(place.path.replace('/', odd).as_bytes());
                }
                _ => with.extend_from_slice(place.token.as_bytes()),
            }
            from = at + place.name.len();
        }
        with.extend_from_slice(out.get(from..).unwrap_or_default());
        out = with;
    }
    out
}

/// How long the separator is that a text ends with, however it is spelled.
fn separator(text: &[u8]) -> usize {
    let folded = text.get(text.len().saturating_sub(5)..).unwrap_or_default();
    let len = match folded.to_ascii_lowercase().as_slice() {
        [.., b'%', b'2', b'f'] => return 3,
        [b'u', b'0', b'0', b'2', b'f'] => 5,
        [.., b'/'] => 1,
        _ => return 0,
    };
    let before = text.get(..text.len() - len).unwrap_or_default();
    len + before.iter().rev().take_while(|c| **c == b'\\').count()
}

/// Puts the paths of a machine for the tokens.
pub struct Restorer {
    windows: bool,
    home: String,
    project: String,
    held: Vec<u8>,
}

impl Restorer {
    /// Into the paths of this machine.
    #[must_use]
    pub fn new(origin: &Origin) -> Self {
        Self {
            windows: origin.flavour == PathFlavour::Windows,
            home: origin.home.clone(),
            project: origin.project.clone(),
            held: Vec::new(),
        }
    }

    /// A piece of a transcript.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        self.held.extend_from_slice(bytes);
        let held = std::mem::take(&mut self.held);
        let end = held.len().saturating_sub(HELD_BYTES);
        let reached = self.restore(&held, end, out);
        self.held
            .extend_from_slice(held.get(reached..).unwrap_or_default());
    }

    /// The end of a transcript.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        let held = std::mem::take(&mut self.held);
        let reached = self.restore(&held, held.len(), out);
        out.extend_from_slice(held.get(reached..).unwrap_or_default());
    }

    /// Restores what begins before `end`, and says how far it came.
    fn restore(&self, text: &[u8], end: usize, out: &mut Vec<u8>) -> usize {
        let mut at = 0;
        while let Some(found) = memchr::memchr(b'$', text.get(at..end).unwrap_or_default()) {
            let start = at + found;
            out.extend_from_slice(text.get(at..start).unwrap_or_default());
            let rest = text.get(start..).unwrap_or_default();
            let (token, path) = if rest.starts_with(PROJECT_TOKEN.as_bytes()) {
                (PROJECT_TOKEN, &self.project)
            } else if rest.starts_with(HOME_TOKEN.as_bytes()) {
                (HOME_TOKEN, &self.home)
            } else {
                out.push(b'$');
                at = start + 1;
                continue;
            };
            at = start + token.len();
            let after = text.get(at..).unwrap_or_default();
            out.extend_from_slice(self.spelled(path, after).as_bytes());
        }
        if at < end {
            out.extend_from_slice(text.get(at..end).unwrap_or_default());
            at = end;
        }
        at
    }

    /// A path as it is spelled before what follows.
    fn spelled(&self, path: &str, after: &[u8]) -> String {
        if !self.windows {
            return path.to_owned();
        }
        let run = after.iter().take_while(|c| **c == b'\\').count();
        match after.get(run) {
            // At every level of JSON in JSON a forward slash is one.
            Some(b'/') if run == 0 => path.replace('\\', "/"),
            // The end of a string: its quote says at which level it is.
            Some(b'"') => path.replace('\\', &"\\".repeat(2 * (run + 1))),
            _ if run == 0 => path.replace('\\', "\\\\"),
            _ => path.replace('\\', &"\\".repeat(run)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k_j02_what_becomes_tokens_comes_back() {
        let origin = |flavour, home: &str, project: &str| Origin {
            flavour,
            home: home.into(),
            project: project.into(),
            claude_dir: format!("{home}/.claude"),
            slug: slug::project_slug(project),
        };
        let unix = origin(PathFlavour::Unix, "/home/ann", "/home/ann/code/app");
        let check = |line: &str, want: &str| {
            let (mut tokens, mut back) = (Vec::new(), Vec::new());
            let mut tokeniser = Tokeniser::new(&unix);
            tokeniser.push(format!("{line}\n").as_bytes(), &mut tokens);
            tokeniser.finish(&mut tokens);
            assert_eq!(String::from_utf8_lossy(&tokens), format!("{want}\n"));
            let mut restorer = Restorer::new(&unix);
            restorer.push(&tokens, &mut back);
            restorer.finish(&mut back);
            assert_eq!(String::from_utf8_lossy(&back), format!("{line}\n"));
        };
        check(
            r#"{"a":"/home/ann/code/app/x /home/anna /home/ann/code/app-extra"}"#,
            r#"{"a":"${PROJECT_ROOT}/x /home/anna ${HOME}/code/app-extra"}"#,
        );
        // A directory that is named by a path has no token.
        check(
            r#"{"a":"/home/ann/.claude/projects/-home-ann-code-app/t/x.txt"}"#,
            r#"{"a":"${HOME}/.claude/projects/-home-ann-code-app/t/x.txt"}"#,
        );
        check(
            r#"{"a":"/home/ann/.claude/projects/-home-ann-other/x"}"#,
            r#"{"a":"${HOME}/.claude/projects/-home-ann-other/x"}"#,
        );
        // Nor has one within an address.
        check(
            r#"{"a":"%2Fhome%2Fann%2Fx"}"#,
            r#"{"a":"%2Fhome%2Fann%2Fx"}"#,
        );
        // What looks like our own placeholder is not one.
        check(
            r#"{"a":"ccpeerq0home /ccpeerq1project /home/ann"}"#,
            r#"{"a":"ccpeerq0home /ccpeerq1project ${HOME}"}"#,
        );
    }
}
