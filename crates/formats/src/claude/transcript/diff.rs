//! What a tool changes in a file, as its call says: the old lines and the new
//! ones, with what both share at their ends. The file itself is not looked at.

use super::json::{self, Raw};
use crate::bounded;

/// Changes of one call.
const DIFFS_MAX: usize = 16;
/// Lines of one change.
const LINES_MAX: usize = 240;
/// Characters of one line.
const LINE_CHARS_MAX: usize = 400;
/// Lines around a change.
const AROUND: usize = 3;

/// A change of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diff {
    /// The file, as the call names it, made visible.
    pub path: String,
    /// The lines, each behind `-`, `+` or a space.
    pub lines: Vec<String>,
    /// There are more of them.
    pub cut: bool,
}

/// What a call changes; nothing if its tool changes no files.
pub(super) fn diffs(tool: &str, input: Raw<'_>) -> Vec<Diff> {
    const NAMES: &[&str; 7] = &[
        "file_path",
        "old_string",
        "new_string",
        "content",
        "edits",
        "notebook_path",
        "new_source",
    ];
    let Some([path, old, new, content, edits, notebook, source]) = json::pick_in(input, NAMES)
    else {
        return Vec::new();
    };
    let one = |path: Raw<'_>, old: Raw<'_>, new: Raw<'_>| {
        let text = |raw| json::text(raw).unwrap_or_default();
        diff(&text(path), &text(old), &text(new))
    };
    match tool {
        "Edit" => vec![one(path, old, new)],
        "Write" => vec![one(path, None, content)],
        "NotebookEdit" => vec![one(notebook, None, source)],
        "MultiEdit" => json::objects(edits, &["old_string", "new_string"])
            .into_iter()
            .take(DIFFS_MAX)
            .map(|[old, new]| one(path, old, new))
            .collect(),
        _ => Vec::new(),
    }
}

fn diff(path: &str, old: &str, new: &str) -> Diff {
    let old: Vec<&str> = old.lines().collect();
    let new: Vec<&str> = new.lines().collect();
    let same = |(a, b): &(&&str, &&str)| a == b;
    let front = old.iter().zip(&new).take_while(same).count();
    let (old_rest, new_rest) = (&old[front..], &new[front..]);
    let back = old_rest.iter().rev().zip(new_rest.iter().rev());
    let back = back.take_while(same).count();
    let (gone, come) = (
        &old_rest[..old_rest.len() - back],
        &new_rest[..new_rest.len() - back],
    );
    let mut all = Vec::new();
    let shared = &old[front.saturating_sub(AROUND)..front];
    all.extend(shared.iter().map(|l| (' ', *l)));
    all.extend(gone.iter().map(|l| ('-', *l)));
    all.extend(come.iter().map(|l| ('+', *l)));
    let after = &old_rest[gone.len()..];
    all.extend(after.iter().take(AROUND).map(|l| (' ', *l)));
    let cut = all.len() > LINES_MAX;
    let shown = |(mark, line): (char, &str)| {
        // Tabs and spaces at the front are what the change may be about.
        format!("{mark}{}", bounded::visible(line, LINE_CHARS_MAX))
    };
    Diff {
        path: bounded::line(path, LINE_CHARS_MAX),
        lines: all.into_iter().take(LINES_MAX).map(shown).collect(),
        cut,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_and_a_little_around_it() {
        let check = |old: &str, new: &str, want: &[&str]| {
            assert_eq!(diff("f", old, new).lines, want, "{old:?} → {new:?}");
        };
        check("a", "b", &["-a", "+b"]);
        check(
            "1\n2\n3\n4\nx\n5\n6\n7\n8",
            "1\n2\n3\n4\ny\nz\n5\n6\n7\n8",
            &[" 2", " 3", " 4", "-x", "+y", "+z", " 5", " 6", " 7"],
        );
        check("", "\tnew\n", &["+\tnew"]);
        check("gone\n", "", &["-gone"]);
        check("a\na", "a", &[" a", "-a"]);
        check("a", "a\na", &[" a", "+a"]);
        check("same", "same", &[" same"]);
        check("", "", &[]);
    }

    #[test]
    fn long_changes_are_cut() {
        let long = diff("f", "", &"x\n".repeat(10_000));
        assert!(long.cut && long.lines.len() == LINES_MAX);
        let wide = diff("f", "", &"界".repeat(10_000));
        assert!(wide.lines[0].chars().count() <= LINE_CHARS_MAX + 1);
    }

    #[test]
    fn which_tools_change_what() {
        let check = |tool: &str, input: &str, want: usize| {
            let raw: Box<serde_json::value::RawValue> = serde_json::from_str(input).unwrap();
            assert_eq!(diffs(tool, Some(&raw)).len(), want, "{tool} {input}");
        };
        check("Bash", r#"{"command":"x"}"#, 0);
        check("Edit", r#"{"file_path":7,"old_string":"a"}"#, 1);
        check(
            "MultiEdit",
            r#"{"edits":[{"old_string":"a"},{"new_string":"b"},7]}"#,
            3,
        );
        check("Edit", "[]", 0);
    }
}
