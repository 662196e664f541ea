//! File names of a record about tracked files that are relative: no place stands
//! before them, so between Windows and Unix their separators are turned here.
//! Left as they are, rewinding on Unix would restore a file called `src\a.rs`.
//!
//! Must not know about places; a name that has a root is none of its business.

use ccpeer_core::manifest::PathFlavour;
use memchr::memmem;

use super::signed::{next_token, string_end};

/// The key whose object's keys are names, and the one whose value is one.
const NAMES: &[u8] = b"trackedFileBackups";
const NAME: &[u8] = b"trackingPath";

/// The line with its relative names turned, and how many were.
pub(super) fn turned(line: &[u8], from: PathFlavour, to: PathFlavour) -> Option<(Vec<u8>, u64)> {
    if from == to || memmem::find(line, b"track").is_none() {
        return None;
    }
    let mut out = Vec::with_capacity(line.len() + 64);
    let (mut done, mut count) = (0, 0);
    for (start, end) in names(line) {
        let name = line.get(start..end).unwrap_or_default();
        let name = match from {
            PathFlavour::Unix => to_windows(name),
            PathFlavour::Windows => to_unix(name),
        };
        if let Some(name) = name {
            out.extend_from_slice(line.get(done..start).unwrap_or_default());
            out.extend_from_slice(&name);
            (done, count) = (end, count + 1);
        }
    }
    out.extend_from_slice(line.get(done..).unwrap_or_default());
    (count > 0).then_some((out, count))
}

/// Where names stand in a line of valid JSON, without their quotes.
fn names(line: &[u8]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    // The depth of objects and arrays, and at which of them names are keys.
    let (mut depth, mut named) = (0usize, None);
    let mut key: &[u8] = b"";
    let mut at = 0;
    while let Some(c) = line.get(at) {
        match c {
            b'{' => {
                depth += 1;
                if key == NAMES && named.is_none() {
                    named = Some(depth);
                }
                key = b"";
            }
            b'[' => {
                depth += 1;
                key = b"";
            }
            b'}' | b']' => {
                if named == Some(depth) {
                    named = None;
                }
                depth = depth.saturating_sub(1);
            }
            b'"' => {
                let end = string_end(line, at);
                let range = (at + 1, end.saturating_sub(1).max(at + 1));
                let text = line.get(range.0..range.1).unwrap_or_default();
                let is_key = next_token(line, end) == Some(b':');
                if (is_key && named == Some(depth)) || (!is_key && key == NAME) {
                    found.push(range);
                }
                key = if is_key { text } else { b"" };
                at = end;
                continue;
            }
            b',' => key = b"",
            _ => {}
        }
        at += 1;
    }
    found
}

/// Whether a name has a drive or a root, or is that of another machine.
fn is_rooted(name: &[u8]) -> bool {
    matches!(name, [b'/', ..] | [b'\\', b'\\', ..])
        || matches!(name, [drive, b':', ..] if drive.is_ascii_alphabetic())
}

/// A name with a back-slash in it would not come back as it was.
fn to_windows(name: &[u8]) -> Option<Vec<u8>> {
    if is_rooted(name) || name.contains(&b'\\') || !name.contains(&b'/') {
        return None;
    }
    let mut out = Vec::with_capacity(name.len() + 8);
    for c in name {
        match c {
            b'/' => out.extend_from_slice(br"\\"),
            c => out.push(*c),
        }
    }
    Some(out)
}

/// In JSON two back-slashes are one; a single one begins an escape.
fn to_unix(name: &[u8]) -> Option<Vec<u8>> {
    if is_rooted(name) || !name.contains(&b'\\') {
        return None;
    }
    let mut out = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((c, behind)) = rest.split_first() {
        match (c, behind) {
            (b'\\', [b'\\', behind @ ..]) => {
                out.push(b'/');
                rest = behind;
            }
            (b'\\', [b'u', ..]) => {
                out.push(*c);
                rest = behind;
            }
            (b'\\', _) => return None,
            _ => {
                out.push(*c);
                rest = behind;
            }
        }
    }
    (out.len() < name.len()).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p12_relative_names_follow_the_system() {
        let check = |unix: &str, windows: &str, count: u64| {
            let there = turned(unix.as_bytes(), PathFlavour::Unix, PathFlavour::Windows);
            let (text, n) = there.unwrap_or((unix.as_bytes().to_vec(), 0));
            assert_eq!(
                (String::from_utf8(text).unwrap().as_str(), n),
                (windows, count)
            );
            let back = turned(windows.as_bytes(), PathFlavour::Windows, PathFlavour::Unix);
            let (text, n) = back.unwrap_or((windows.as_bytes().to_vec(), 0));
            assert_eq!(
                (String::from_utf8(text).unwrap().as_str(), n),
                (unix, count)
            );
        };
        check(
            r#"{"type":"file-history-snapshot","x":"a/b","snapshot":{"m":"a/b","trackedFileBackups":{"src/a.rs":{"n":"a/b","o":{"p/q":1}},"b":{},"项/\u4e2d":{},"/w/x":{},"C:/x":{}},"after/x":0}}"#,
            r#"{"type":"file-history-snapshot","x":"a/b","snapshot":{"m":"a/b","trackedFileBackups":{"src\\a.rs":{"n":"a/b","o":{"p/q":1}},"b":{},"项/\u4e2d":{},"/w/x":{},"C:/x":{}},"after/x":0}}"#,
            1,
        );
        check(
            r#"{"trackingPath":"sub dir/x/y","backup":{"trackingPath":"a/b"}}"#,
            r#"{"trackingPath":"sub dir\\x\\y","backup":{"trackingPath":"a\\b"}}"#,
            2,
        );
        check(
            r#"{"trackingPath":"a\"/b"}"#,
            r#"{"trackingPath":"a\"/b"}"#,
            0,
        );
        check(
            r#"{"x":"trackedFileBackups a/b"}"#,
            r#"{"x":"trackedFileBackups a/b"}"#,
            0,
        );
        check(
            r#"{"trackedFileBackups":["a/b"]}"#,
            r#"{"trackedFileBackups":["a/b"]}"#,
            0,
        );
        let same = turned(
            br#"{"trackingPath":"a/b"}"#,
            PathFlavour::Unix,
            PathFlavour::Unix,
        );
        assert_eq!(same, None);
        let from = br#"{"trackingPath":"C:\\x\\y","a":{"trackingPath":"\u4e2d\\x"}}"#;
        let (got, _) = turned(from, PathFlavour::Windows, PathFlavour::Unix).unwrap();
        let want = br#"{"trackingPath":"C:\\x\\y","a":{"trackingPath":"\u4e2d/x"}}"#;
        assert_eq!(String::from_utf8_lossy(&got), String::from_utf8_lossy(want));
    }
}
