//! The local protocol's words for documents that a model improves: part of
//! [`super`], told apart because it is long.

use serde::{Deserialize, Serialize};

/// Who writes the prose of a document.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum SummaryBy {
    /// Nobody: it is made of facts.
    #[default]
    Off,
    /// Claude Code's own program, with Haiku.
    Claude,
    /// A program of the user's: the request on its standard input, the document on
    /// its standard output.
    Command {
        /// The program and its arguments; no shell reads them.
        argv: Vec<String>,
    },
}

/// The user's choice about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SummaryPolicy {
    /// Who.
    #[serde(flatten)]
    pub by: SummaryBy,
    /// Whether the user was asked, or said so without being asked.
    #[serde(default)]
    pub chosen: bool,
    /// Minutes between two requests about one session.
    pub every_min: u64,
    /// Requests in one hour, about all sessions.
    pub per_hour: u64,
    /// Requests in one day.
    pub per_day: u64,
}

/// What to change of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SummaryChange {
    /// Who.
    #[serde(default)]
    pub by: Option<SummaryBy>,
    /// Minutes between two requests about one session.
    #[serde(default)]
    pub every_min: Option<u64>,
    /// Requests in one hour.
    #[serde(default)]
    pub per_hour: Option<u64>,
    /// Requests in one day.
    #[serde(default)]
    pub per_day: Option<u64>,
}

/// How it goes, in `status`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SummaryStatus {
    /// `off`, `claude` or `command`.
    pub by: String,
    /// The program that the agent would start; null if there is none, or it is off.
    pub program: Option<String>,
    /// A request is under way.
    pub running: bool,
    /// Requests in the last 24 hours,
    pub runs_today: u64,
    /// of so many.
    pub per_day: u64,
    /// Failures since the last success.
    pub failures: u64,
    /// The last of them, in words.
    pub last_failure: Option<String>,
    /// When it was, RFC 3339.
    pub last_failure_at: Option<String>,
}

/// What became of the prose, in `snapshot --force`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SummaryTaken {
    /// `off`, `written`, `up_to_date`, `refused` or `failed`.
    pub result: String,
    /// Why, if it was refused or failed.
    #[serde(default)]
    pub reason: Option<String>,
}
