//! The local protocol's words for reading a transcript, a page at a time. Part of
//! [`super`], told apart because it is long.

use serde::{Deserialize, Serialize};

use super::DeviceName;

/// Which page of which transcript.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TranscriptAsk {
    /// As in `Show`: a session, or a version of it.
    pub task: String,
    /// Of this sub-agent; else the main transcript.
    #[serde(default)]
    pub agent: Option<String>,
    /// Where the page is.
    #[serde(default)]
    pub at: PageAt,
}

/// Where a page is. Places are bytes from the beginning of the transcript.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PageAt {
    /// The last one.
    #[default]
    End,
    /// The one that ends there.
    Before(u64),
    /// The one that begins there, or with the next line.
    From(u64),
}

/// A page of a transcript.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TranscriptPage {
    /// Full id.
    pub session_id: String,
    /// Which version of it.
    pub version: String,
    /// Where that was written.
    pub device: DeviceName,
    /// Of which sub-agent, if of one.
    pub agent: Option<String>,
    /// Bytes of the whole transcript.
    pub bytes: u64,
    /// Where this page begins,
    pub from: u64,
    /// and where it ends.
    pub to: u64,
    /// Its lines that tell something, the oldest first.
    pub records: Vec<Record>,
    /// The sub-agents that have a transcript of their own.
    pub agents: Vec<AgentFile>,
}

/// A sub-agent of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentFile {
    /// Its name.
    pub name: String,
    /// What it was for; empty if nobody says so.
    pub about: String,
    /// Bytes of its transcript.
    pub bytes: u64,
}

/// One line of a transcript.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Where it begins.
    pub at: u64,
    /// When, as the line says; may be empty.
    pub time: String,
    /// A sub-agent's, in the main transcript of an older Claude Code.
    #[serde(default)]
    pub sidechain: bool,
    /// What is said and done in it.
    pub parts: Vec<RecordPart>,
}

/// A text that may have been cut.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Words {
    /// Visible characters and line breaks.
    pub text: String,
    /// Its end is not in it.
    #[serde(default)]
    pub cut: bool,
}

/// One thing in a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum RecordPart {
    /// The user's words.
    Prompt(Words),
    /// Claude's.
    Answer(Words),
    /// What Claude thought before.
    Thinking(Words),
    /// A tool is called.
    Call {
        /// Id of the call.
        id: String,
        /// The tool.
        tool: String,
        /// The argument that says what it is called on; may be empty.
        about: String,
        /// The other arguments.
        fields: Vec<Field>,
        /// What it changes in files.
        diffs: Vec<FileDiff>,
    },
    /// What a tool gave back.
    Outcome {
        /// Id of the call.
        call: String,
        /// It failed, or was refused.
        error: bool,
        /// What it said.
        #[serde(flatten)]
        words: Words,
        /// The sub-agent that it was.
        agent: Option<String>,
    },
    /// Neither the user's words nor Claude's.
    Note {
        /// `context`, `summary`, `interrupted`, `background`, `error`, `compacted`,
        /// `system` or `unread`.
        about: String,
        /// What it says.
        #[serde(flatten)]
        words: Words,
    },
}

/// An argument of a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its value, as text.
    #[serde(flatten)]
    pub words: Words,
}

/// What a call changes in one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileDiff {
    /// The file, as the call names it.
    pub path: String,
    /// The lines, each behind `-`, `+` or a space.
    pub lines: Vec<String>,
    /// There are more of them.
    pub cut: bool,
}
