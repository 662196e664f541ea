//! The local protocol's words for git mirrors: part of [`super`].

use serde::{Deserialize, Serialize};

use super::Gate;

/// What to do about mirrors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum GitChange {
    /// A new one; it is filled before the answer comes.
    Add(GitAdd),
    /// Bring them up to date now.
    Sync {
        /// Only this one: its name, or its address.
        mirror: Option<String>,
        /// The remote may have gone back; put everything there again.
        repush: bool,
        /// Hand-offs and bundles do not wait for their clocks.
        #[serde(default)]
        force: bool,
    },
    /// Forget one here. The remote stays as it is.
    Remove {
        /// Its name, or its address.
        mirror: String,
    },
}

/// A mirror that is to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GitAdd {
    /// A path, absolute, or an address. It may hold a password: never logged.
    pub url: String,
    /// Its content is encrypted for this user's devices.
    pub encrypted: bool,
    /// Sessions with something that looks like a secret are mirrored in plain text
    /// all the same.
    pub with_secrets: bool,
    /// Seconds after which a change is there at the latest.
    pub push_every_s: Option<u64>,
    /// The same for the hand-off of a session that is open.
    #[serde(default)]
    pub snapshot_every_s: Option<u64>,
    /// The same for its bundle.
    #[serde(default)]
    pub bundle_every_s: Option<u64>,
}

/// One row of `git status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mirror {
    /// What it is called here.
    pub name: String,
    /// Where it is, without anything secret.
    pub url: String,
    /// The branch that is written.
    pub branch: String,
    /// `plain` or `encrypted`.
    pub mode: String,
    /// `ok`, `new` while it was never up to date, `failed`, or `rolled_back`.
    pub state: String,
    /// When it was up to date last: RFC 3339; null if never.
    pub synced: Option<String>,
    /// What went wrong the last time.
    pub error: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
    /// What becomes of sessions in which something looks like a secret.
    pub secrets: Gate,
    /// Sessions that are kept out because something in them does, or of which only
    /// what can be told without it is there.
    pub held: Vec<String>,
    /// Sessions that are there although something in them does.
    #[serde(default)]
    pub warned: Vec<String>,
    /// Parts that this device wrote and that cannot be read there any more; what
    /// they held was written again.
    pub broken: u64,
    /// Seconds after which a change is there at the latest.
    pub push_every_s: u64,
    /// The same for the hand-off of a session that is open; only of a plain one.
    #[serde(default)]
    pub snapshot_every_s: Option<u64>,
    /// The same for its bundle.
    #[serde(default)]
    pub bundle_every_s: Option<u64>,
    /// The file with the key that opens it when this device is lost; only of an
    /// encrypted one.
    pub recovery_key: Option<String>,
    /// Commits that were pushed just now.
    pub commits: u64,
    /// Bytes of files in them.
    pub bytes: u64,
}

/// What became of one session that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// Which session.
    pub session_id: String,
    /// One line.
    pub title: String,
    /// `session`, `task` (only its document), `known` (nothing new) or `failed`.
    pub result: String,
    /// Why it failed, and then `title` is the file.
    #[serde(default)]
    pub reason: Option<String>,
}

/// The end of an import.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct GitImported {
    /// Sessions that are new here.
    pub sessions: u64,
    /// Documents of tasks that are new here.
    pub tasks: u64,
    /// What was here already.
    pub known: u64,
    /// Files that could not be used.
    #[serde(default)]
    pub failed: u64,
    /// Devices whose mirror was read, by id.
    pub devices: Vec<String>,
    /// What was passed over, and why, a few of it.
    pub notes: Vec<String>,
}
