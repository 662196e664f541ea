//! The task list of a session: `tasks/<session>/<n>.json`, and the `todos/`
//! lists of older versions.
//!
//! Must not know where they lie. Source of the format: files written by Claude
//! Code 2.1.54 to 2.1.329.

use ccpeer_core::{limits, text};
use serde::{Deserialize, Serialize};

use super::json::{self, Raw};

/// One item of a task list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Todo {
    /// What is to be done, one visible line.
    pub subject: String,
    /// How far it is.
    pub status: TodoStatus,
}

/// How far a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TodoStatus {
    /// Not begun.
    Pending,
    /// Begun.
    InProgress,
    /// Finished.
    Completed,
}

/// Characters of a subject that are kept.
const SUBJECT_CHARS_MAX: usize = 200;

/// Reads the file of one task; nothing if it is none, or one that was deleted.
#[must_use]
pub fn parse_task(bytes: &[u8]) -> Option<Todo> {
    let text = json::decoded(bytes);
    let [subject, status] = json::pick(&text, &["subject", "status"])?;
    Todo::new(&json::text(subject)?, status)
}

/// Reads an old todo list; what is no item in it is left out.
#[must_use]
pub fn parse_todos(bytes: &[u8]) -> Vec<Todo> {
    let text = json::decoded(bytes);
    serde_json::from_str(&text)
        .map(|raw| Todo::list(Some(raw)))
        .unwrap_or_default()
}

/// Items that are not completed.
#[must_use]
pub fn open_count(todos: &[Todo]) -> u32 {
    let open = todos
        .iter()
        .filter(|t| t.status != TodoStatus::Completed)
        .count();
    u32::try_from(open).unwrap_or(u32::MAX)
}

impl Todo {
    /// An item with this subject; nothing if the status says that there is none.
    pub(crate) fn new(subject: &str, status: Raw<'_>) -> Option<Self> {
        let subject = text::one_line(subject, SUBJECT_CHARS_MAX);
        let status = match json::text(status) {
            None => TodoStatus::Pending,
            Some(word) => TodoStatus::from_word(&word)?,
        };
        (!subject.is_empty()).then_some(Self { subject, status })
    }

    /// The items of a list as TodoWrite and the `todos/` files have it.
    pub(crate) fn list(raw: Raw<'_>) -> Vec<Self> {
        json::objects(raw, &["content", "status"])
            .into_iter()
            .filter_map(|[content, status]| Self::new(&json::text(content)?, status))
            .take(limits::DIGEST_ITEMS_MAX)
            .collect()
    }
}

impl TodoStatus {
    /// The status of this name. A name from a newer version counts as begun, so
    /// that the item is not lost; `deleted` is no status.
    pub(crate) fn from_word(word: &str) -> Option<Self> {
        match word {
            "pending" => Some(Self::Pending),
            "completed" => Some(Self::Completed),
            "deleted" | "cancelled" => None,
            _ => Some(Self::InProgress),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_of_the_fixture() {
        let read = |n: &str| {
            let files: [(&str, &[u8]); 3] = [
                (
                    "1",
                    include_bytes!(
                        "../../../../testdata/claude/full/claude/tasks/aa21a64c-b7a7-41b7-a51f-ceeccfa4623b/1.json"
                    ),
                ),
                (
                    "2",
                    include_bytes!(
                        "../../../../testdata/claude/full/claude/tasks/aa21a64c-b7a7-41b7-a51f-ceeccfa4623b/2.json"
                    ),
                ),
                (
                    "3",
                    include_bytes!(
                        "../../../../testdata/claude/full/claude/tasks/aa21a64c-b7a7-41b7-a51f-ceeccfa4623b/3.json"
                    ),
                ),
            ];
            files
                .iter()
                .find(|f| f.0 == n)
                .and_then(|f| parse_task(f.1))
                .unwrap()
        };
        let todos = [read("1"), read("2"), read("3")];
        assert_eq!(todos[0].subject, "Write the parser");
        assert_eq!(todos[1].subject, "测试 the parser");
        assert_eq!(open_count(&todos), 2);
    }

    #[test]
    fn old_lists_and_hostile_input() {
        let list = r#"[{"content":"a","status":"in_progress","activeForm":"x"},
            {"content":"b\u001b[31m\nc","status":"completed"},{"content":7},"x",
            {"content":"gone","status":"deleted"},{"content":"new","status":"paused"}]"#;
        let todos = parse_todos(list.as_bytes());
        let subjects: Vec<_> = todos
            .iter()
            .map(|t| (t.subject.as_str(), t.status))
            .collect();
        assert_eq!(
            subjects,
            [
                ("a", TodoStatus::InProgress),
                ("b c", TodoStatus::Completed),
                ("new", TodoStatus::InProgress)
            ]
        );
        assert!(parse_todos(b"[]").is_empty());
        for bad in [&b"\xff\x00"[..], b"", b"{", b"null", &b"[".repeat(200_000)] {
            assert!(parse_todos(bad).is_empty());
            assert!(parse_task(bad).is_none());
        }
    }
}
