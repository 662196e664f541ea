//! What a digest tells.

use ccpeer_core::id::SessionId;
use ccpeer_core::{limits, text};
use serde::{Deserialize, Serialize};

use crate::claude::tasks::Todo;

/// What a transcript says about its session.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Summary {
    /// Bytes read.
    pub bytes: u64,
    /// Lines that are not blank.
    pub records: u64,
    /// Lines among them that are no records.
    pub unreadable: u64,
    /// Lines among them that were too long to look into.
    pub overlong: u64,
    /// Whether the file ends within a record.
    pub torn_tail: bool,

    /// The session that the last record names.
    pub session: Option<SessionId>,
    /// Working directory of the first record: where the session was started.
    pub first_cwd: Option<String>,
    /// Working directory of the last record; follows `cd`.
    pub last_cwd: Option<String>,
    /// Where `/cd` moved the session.
    pub relocated_cwd: Option<String>,
    /// Version of Claude Code that wrote the last record.
    pub version: Option<String>,
    /// `cli`, `sdk-cli` and others, of the last record.
    pub entrypoint: Option<String>,
    /// Git branch at the last record; nothing outside git or on no branch.
    pub branch: Option<String>,
    /// Model of the last answer.
    pub model: Option<String>,
    /// Permission mode that was last in force.
    pub permission_mode: Option<String>,
    /// Names of the session's plan files, without their extension, in the order
    /// in which they came up.
    pub plan_names: Vec<String>,
    /// Time of the first record, milliseconds since 1970. A label.
    pub first_ms: Option<u64>,
    /// Time of the last record, likewise.
    pub last_ms: Option<u64>,

    /// The title that the user gave.
    pub custom_title: Option<String>,
    /// The title that Claude Code made up.
    pub ai_title: Option<String>,
    /// What the user asked for first.
    pub first_prompt: Option<String>,
    /// What the user asked for, oldest first; of very many the first few and
    /// the latest.
    pub prompts: Vec<Prompt>,
    /// The last thing that Claude said.
    pub last_assistant: Option<String>,
    /// Claude Code's own summary at the last compaction.
    pub compact_summary: Option<String>,
    /// How often the conversation was compacted.
    pub compactions: u32,
    /// The plan that the user agreed to last.
    pub plan: Option<String>,
    /// Questions that Claude asked, each with the user's answer; the latest.
    pub answers: Vec<String>,
    /// The record that the last `last-prompt` names.
    pub leaf: Option<String>,

    /// Files that were written or edited, the latest last.
    pub edited: Vec<EditedFile>,
    /// Commands that failed, and commands that check something, the latest last,
    /// each with its last outcome.
    pub commands: Vec<CommandRun>,
    /// Commits that were made, oldest first; the latest.
    pub commits: Vec<Commit>,
    /// The task list.
    pub todos: Vec<Todo>,
    /// Tool calls at the end that have no result.
    pub pending: Vec<PendingTool>,
    /// What sub-agents that were not seen to end are about.
    pub subagents: Vec<String>,
    /// How the last turn stands.
    pub turn: TurnState,
    /// Number of the last turn; the first is 1.
    pub turns: u32,
    /// Whether there are thinking blocks with a signature.
    pub signed_thinking: bool,
}

/// Something that the user asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prompt {
    /// What.
    pub text: String,
    /// When, milliseconds since 1970. A label.
    pub at_ms: Option<u64>,
    /// The last thing that Claude said to it; kept for the latest turns.
    pub answer: Option<String>,
}

/// A file that was written or edited.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EditedFile {
    /// Its path on the machine that did it, verbatim.
    pub path: String,
    /// How often.
    pub edits: u32,
    /// In which turn last.
    pub turn: u32,
}

/// A command that was run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandRun {
    /// The command, one line.
    pub command: String,
    /// Whether it succeeded.
    pub ok: bool,
    /// The end of what it said, if it failed.
    pub output: String,
    /// In which turn.
    pub turn: u32,
}

/// A commit that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// Its short hash, as git printed it.
    pub hash: String,
    /// Its first line.
    pub subject: String,
}

/// A tool call without a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingTool {
    /// The tool.
    pub name: String,
    /// The command, path or description it was called with; may be empty.
    pub about: String,
}

/// How a turn stands.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum TurnState {
    /// There was none.
    #[default]
    None,
    /// Claude has answered.
    Ended,
    /// Claude has not answered yet, or was at work when the file ended.
    Open,
    /// The user stopped it.
    Interrupted,
    /// The model could not be reached, and Claude Code said this.
    Failed(String),
}

impl Summary {
    /// One line for lists: the user's title, else Claude Code's, else the first
    /// prompt. Empty if there is nothing at all.
    #[must_use]
    pub fn title(&self) -> String {
        let first_line = |t: &String| text::one_line(t, limits::TITLE_CHARS_MAX);
        [&self.custom_title, &self.ai_title, &self.first_prompt]
            .into_iter()
            .flatten()
            .map(first_line)
            .find(|t| !t.is_empty())
            .unwrap_or_default()
    }

    /// Where the project is: where the session was started or moved to.
    #[must_use]
    pub fn project_dir(&self) -> Option<&str> {
        self.relocated_cwd.as_deref().or(self.first_cwd.as_deref())
    }
}
