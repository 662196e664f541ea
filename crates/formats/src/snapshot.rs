//! The hand-off document of a session: what somebody needs who goes on with the
//! work elsewhere, good enough to work from alone.
//!
//! [`compose`] makes it from facts only, in the same way every time; nobody's
//! prose is invented. Must not know where the session's files lie or what time
//! it is. A document of another device is a stranger's text: [`Snapshot::from_bytes`]
//! bounds it and takes out what could deceive a reader, and whoever shows it
//! must still show it as data.

mod answer;
mod compose;
mod handoff;
mod language;
mod markdown;
mod places;
mod request;
mod told;
mod view;

use ccpeer_core::id::SessionId;
use ccpeer_core::presence::SessionState;
use ccpeer_core::time::Timestamp;
use ccpeer_core::{limits, text};
use serde::{Deserialize, Serialize};

pub use self::answer::{AnswerError, answer};
pub use self::compose::compose;
pub use self::markdown::markdown_name;
pub use self::request::{Material, SYSTEM_PROMPT, request};

use crate::claude::tasks::Todo;

/// Version of the document.
pub const SNAPSHOT_VERSION: u32 = 1;

/// A hand-off document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// [`SNAPSHOT_VERSION`].
    pub v: u32,
    /// Of which session.
    #[serde(with = "session_text")]
    pub session_id: SessionId,
    /// One line.
    #[serde(default)]
    pub title: String,
    /// When the session last changed, by the device's clock. A label.
    #[serde(with = "time_text")]
    pub updated: Timestamp,
    /// When the session began, likewise.
    #[serde(default, with = "optional_time_text")]
    pub created: Option<Timestamp>,
    /// Name of the project.
    #[serde(default)]
    pub project: String,
    /// Git branch, or empty.
    #[serde(default)]
    pub branch: String,
    /// Abbreviated hash of the commit that was checked out, or empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub head: String,
    /// Files that differed from it, unknown ones included; nothing if git was not
    /// asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<u64>,
    /// Name of the device that ran the session.
    #[serde(default)]
    pub device: String,
    /// The text.
    #[serde(default)]
    pub sections: Sections,
    /// What of the transcript it knows.
    #[serde(default)]
    pub based_on: BasedOn,
    /// Whether a model has improved the text.
    #[serde(default)]
    pub enriched: bool,
}

/// The text of a document, each part in Markdown without headings.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sections {
    /// What is wanted.
    #[serde(default)]
    pub task: String,
    /// What is finished.
    #[serde(default)]
    pub done: String,
    /// What is under way.
    #[serde(default)]
    pub in_progress: String,
    /// What comes next, in order.
    #[serde(default)]
    pub next_steps: String,
    /// Which files matter, below the project's directory.
    #[serde(default)]
    pub files: String,
    /// What to tell Claude elsewhere so that it goes on; stands alone; at most
    /// [`limits::HANDOFF_CHARS_MAX`].
    #[serde(default)]
    pub handoff_prompt: String,
}

/// How much of a transcript a document knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BasedOn {
    /// Its bytes.
    #[serde(default)]
    pub bytes: u64,
    /// Its lines.
    #[serde(default)]
    pub records: u64,
}

/// What is known beside the transcript.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The session, by its file's name.
    pub session: SessionId,
    /// Name of the project: the last part of its path.
    pub project: String,
    /// The user's home directory here, to take it out of texts.
    pub home: Option<String>,
    /// Git branch, if git was asked; else the transcript's is taken.
    pub branch: Option<String>,
    /// Abbreviated hash of the commit that is checked out.
    pub head: Option<String>,
    /// Lines of `git status --porcelain` with `core.quotePath` off; nothing if git
    /// was not asked.
    pub dirty: Option<Vec<String>>,
    /// The task list as it lies on disk; if empty, the transcript's is taken.
    pub todos: Vec<Todo>,
    /// What the Stop hook brought, which is newer than the file; nothing once the
    /// user has gone on.
    pub last_assistant_message: Option<String>,
    /// Name of this device.
    pub device: String,
    /// When the session last changed. A label.
    pub updated: Timestamp,
    /// Where the session stands.
    pub state: SessionState,
}

/// Why bytes are no document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// More bytes than [`limits::SNAPSHOT_BYTES_MAX`].
    #[error("snapshot of {0} bytes exceeds the limit")]
    TooLong(usize),
    /// No JSON object of this shape.
    #[error("snapshot is malformed at line {line}, column {column}")]
    Malformed {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// Made by a newer ccpeer.
    #[error("snapshot version {0} is not supported")]
    Version(u32),
}

/// Characters of the short fields.
const FIELD_CHARS_MAX: usize = 200;
/// What stands where something was cut out.
const CUT_MARK: &str = "\n[…]";

impl Snapshot {
    /// Encodes the document as JSON of at most [`limits::SNAPSHOT_BYTES_MAX`]
    /// bytes; the longest sections are cut, and marked, until it fits.
    #[must_use]
    #[expect(
        clippy::expect_used,
        reason = "strings and numbers have no failing encoder"
    )]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut fitting = self.bounded();
        loop {
            let bytes = serde_json::to_vec(&fitting).expect("encoding to memory cannot fail");
            if bytes.len() <= limits::SNAPSHOT_BYTES_MAX {
                return bytes;
            }
            fitting.sections.shorten_longest();
        }
    }

    /// Decodes a document of any device. Unknown fields are passed over, all
    /// texts are bounded and stripped.
    ///
    /// # Errors
    /// See [`SnapshotError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SnapshotError> {
        #[derive(Deserialize)]
        struct Versioned {
            v: u32,
        }
        if bytes.len() > limits::SNAPSHOT_BYTES_MAX {
            return Err(SnapshotError::TooLong(bytes.len()));
        }
        let malformed = |e: serde_json::Error| SnapshotError::Malformed {
            line: e.line(),
            column: e.column(),
        };
        match serde_json::from_slice(bytes).map_err(malformed)? {
            Versioned {
                v: SNAPSHOT_VERSION,
            } => {}
            Versioned { v } => return Err(SnapshotError::Version(v)),
        }
        let snapshot: Self = serde_json::from_slice(bytes).map_err(malformed)?;
        Ok(snapshot.bounded())
    }

    /// The same with every text stripped and the short ones bounded.
    fn bounded(&self) -> Self {
        let field = |t: &str| text::one_line(t, FIELD_CHARS_MAX);
        let lines = |t: &str| text::strip(t, text::Lines::Keep);
        let s = &self.sections;
        Self {
            title: text::one_line(&self.title, limits::TITLE_CHARS_MAX),
            project: field(&self.project),
            branch: field(&self.branch),
            head: field(&self.head),
            device: field(&self.device),
            sections: Sections {
                task: lines(&s.task),
                done: lines(&s.done),
                in_progress: lines(&s.in_progress),
                next_steps: lines(&s.next_steps),
                files: lines(&s.files),
                handoff_prompt: lines(&s.handoff_prompt)
                    .chars()
                    .take(limits::HANDOFF_CHARS_MAX)
                    .collect(),
            },
            ..self.clone()
        }
    }
}

impl Sections {
    /// Takes a quarter off the longest section. The hand-off prompt is short and
    /// never the longest while the whole is too long.
    fn shorten_longest(&mut self) {
        let all = [
            &mut self.task,
            &mut self.done,
            &mut self.in_progress,
            &mut self.next_steps,
            &mut self.files,
        ];
        if let Some(longest) = all.into_iter().max_by_key(|section| section.len()) {
            let kept = longest.trim_end_matches(CUT_MARK).len() * 3 / 4;
            longest.truncate(longest.floor_char_boundary(kept));
            longest.push_str(CUT_MARK);
        }
    }
}

mod session_text {
    //! A session as its id in text form.
    use ccpeer_core::id::SessionId;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(id: &SessionId, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(id)
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<SessionId, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

mod time_text {
    //! A label of time in RFC 3339.
    use ccpeer_core::time::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::rfc3339;

    pub(super) fn serialize<S: Serializer>(at: &Timestamp, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(&rfc3339::from_ms(at.0))
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<Timestamp, D::Error> {
        let text = String::deserialize(from)?;
        rfc3339::to_ms(&text)
            .map(Timestamp)
            .ok_or_else(|| D::Error::custom("no time"))
    }
}

mod optional_time_text {
    //! A label of time in RFC 3339, or null.
    use ccpeer_core::time::Timestamp;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::rfc3339;

    pub(super) fn serialize<S: Serializer>(
        at: &Option<Timestamp>,
        out: S,
    ) -> Result<S::Ok, S::Error> {
        at.map(|at| rfc3339::from_ms(at.0)).serialize(out)
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(
        from: D,
    ) -> Result<Option<Timestamp>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        Ok(text.and_then(|t| rfc3339::to_ms(&t)).map(Timestamp))
    }
}

#[cfg(test)]
mod tests;
