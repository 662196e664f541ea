//! Where a session stands on the device that last ran it.

use serde::{Deserialize, Serialize};

/// State of a session on one device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SessionState {
    /// A process works on it now.
    Live,
    /// A process has it open and waits for the user.
    Idle,
    /// The process is gone and said no good-bye: a crash, a closed lid, a kill.
    Interrupted,
    /// It ended in order.
    Ended(EndReason),
    /// The user said that the task is finished.
    Done,
    /// Its files are not on that device any more: swept by their owner, deleted,
    /// moved away. Every copy that was captured stays.
    Archived,
}

/// How a session ended, as far as Claude Code tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum EndReason {
    /// The user closed the prompt (`/exit`, Ctrl-D, Ctrl-C twice).
    PromptExit,
    /// `/clear`: the conversation goes on under another id.
    Clear,
    /// The terminal switched to another session.
    Switched,
    /// Logged out.
    Logout,
    /// Anything else: a signal, mostly.
    Other,
    /// Its end was not seen: found by a look through the directory, long after.
    Unseen,
    /// The terminal was closed: its window, or the pane that it was.
    Closed,
    /// The terminal went on with another conversation, by `/clear` or as a branch
    /// of this one, which has something to show by now.
    Replaced,
    /// A program started it for one task (print mode), and that task is over.
    Script,
}

impl SessionState {
    /// Whether a process holds the session, as far as that device knows.
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(self, Self::Live | Self::Idle)
    }
}
