//! The directory that a transcript belongs to, from its beginning and its end.
//!
//! `/cd` moves a session: the last `relocated` record says where to. Else it is
//! the directory of the first record; later ones follow every `cd`. Must not know
//! how much of the file it was given: lines that are cut off are passed over.

use super::json;

/// The directory in which the session belongs, as its transcript says.
/// `tail` is nothing where `head` is the whole file.
#[must_use]
pub fn stated(head: &[u8], tail: Option<&[u8]>) -> Option<String> {
    let moved = |bytes: &[u8]| whole_lines(bytes).rev().find_map(relocated);
    tail.and_then(moved)
        .or_else(|| moved(head).filter(|_| tail.is_none()))
        .or_else(|| whole_lines(head).find_map(cwd))
}

fn whole_lines(bytes: &[u8]) -> impl DoubleEndedIterator<Item = &str> {
    bytes
        .split(|b| *b == b'\n')
        .filter_map(|line| str::from_utf8(line).ok())
}

fn cwd(line: &str) -> Option<String> {
    let [cwd] = json::pick(line, &["cwd"])?;
    json::text(cwd).filter(|t| !t.is_empty()).map(Into::into)
}

fn relocated(line: &str) -> Option<String> {
    if !line.contains("\"relocatedCwd\"") {
        return None;
    }
    let [kind, cwd] = json::pick(line, &["type", "relocatedCwd"])?;
    let is = json::text(kind).is_some_and(|k| k == "relocated");
    json::text(cwd)
        .filter(|t| is && !t.is_empty())
        .map(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_directory_counts_unless_the_session_was_moved() {
        let check = |head: &str, tail: Option<&str>, want: Option<&str>| {
            let got = stated(head.as_bytes(), tail.map(str::as_bytes));
            assert_eq!(got.as_deref(), want, "{head} {tail:?}");
        };
        let begun = r#"{"type":"mode"}
{"type":"user","cwd":"/w/a"}
{"type":"user","cwd":"/w/a/inner"}
"#;
        let moved = r#"{"type":"relocated","relocatedCwd":"/w/b"}
{"type":"relocated","relocatedCwd":"/w/c"}
{"type":"user","cwd":"/w/c/x"}"#;
        check("", None, None);
        check(begun, None, Some("/w/a"));
        check(begun, Some(moved), Some("/w/c"));
        check(&format!("{begun}{moved}"), None, Some("/w/c"));
        // A move that stands only in the beginning of a long file may be undone.
        check(&format!("{begun}{moved}"), Some("{}"), Some("/w/a"));
        check(
            r#"{"type":"user","cwd":"C:\\Users\\ann"}"#,
            None,
            Some(r"C:\Users\ann"),
        );
        // Cut off, odd, or only spoken of.
        check(
            r#""cwd":"/w/x"}
{"cwd":7}
{"message":{"cwd":"/no"}}
{"cwd":""}
{"cwd":"/w/a","#,
            None,
            None,
        );
        check(
            begun,
            Some(r#"{"type":"user","text":"\"relocatedCwd\"","relocatedCwd":"/no"}"#),
            Some("/w/a"),
        );
    }
}
