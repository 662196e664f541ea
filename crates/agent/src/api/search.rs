//! What is said about a search.

use serde::{Deserialize, Serialize};

use super::DeviceName;

/// What is looked for: all of these words somewhere in a session.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Search {
    /// As they were typed; what is in quotes stands in a row, and the last word may
    /// be unfinished.
    pub words: String,
    /// Only of this project: its name or its directory.
    #[serde(default)]
    pub project: Option<String>,
    /// Only what this device wrote a version of: its id, the beginning of it, or its
    /// name.
    #[serde(default)]
    pub device: Option<String>,
    /// Not said before: seconds since 1970.
    #[serde(default)]
    pub since_s: Option<u64>,
    /// Not said after.
    #[serde(default)]
    pub until_s: Option<u64>,
    /// Only sessions that touched a file whose path ends so.
    #[serde(default)]
    pub file: Option<String>,
    /// Sessions that are given at most; 0 for as many as usual.
    #[serde(default)]
    pub limit: u64,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Searched {
    /// The sessions, best first.
    pub hits: Vec<Hit>,
    /// Not all of what is held is in the index yet.
    pub building: Option<Building>,
    /// There were more words than count.
    pub cut: bool,
}

/// How far the index is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Building {
    /// Sessions that are in it, of those that were to come.
    pub done: u64,
    /// Those that were to come; 0 if not known.
    pub total: u64,
}

/// A session, by the best place in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hit {
    /// The number for `<task>` arguments.
    pub n: u64,
    /// Full id.
    pub session_id: String,
    /// Who wrote the line of the session that the place is on.
    pub device: DeviceName,
    /// What that device calls itself.
    pub hostname: String,
    /// Name of the project.
    pub project: String,
    /// Title.
    pub title: String,
    /// When that line was written last: RFC 3339.
    pub updated: String,
    /// Line in the transcript, from 1; 0 for the title.
    pub line: u64,
    /// `title`, `user`, `assistant`, `tool` (what one was called on) or `output`.
    pub role: String,
    /// What stands there, cut around the words.
    pub snippet: String,
    /// What of the snippet was asked for: from and to, in characters.
    #[serde(default)]
    pub marks: Vec<(u32, u32)>,
    /// Where the line begins in the transcript, in bytes; 0 for the title.
    #[serde(default)]
    pub offset: u64,
    /// When it was said, by the clock of the machine that wrote it: RFC 3339.
    pub at: String,
    /// The sub-agent in whose transcript the line is.
    pub agent: Option<String>,
    /// The version that the line is in.
    pub version: String,
}
