//! The local protocol: what commands ask of the agent and what it answers.
//!
//! These are mirror types: the JSON of `--json` is the JSON of these structs, so
//! a change here is a change of the promise in docs/cli.md. Nothing in here is a
//! domain type, and no domain type is serialised for a local client.
//!
//! **Framing.** A frame is a `u32` length (little endian), one kind byte and a
//! body; the length counts kind and body and is at most
//! [`limits::API_BYTES_MAX`](ccpeer_core::limits::API_BYTES_MAX).
//! A client sends one frame [`FRAME_REQUEST`] (JSON of [`Request`]) or
//! [`FRAME_HOOK`] (see [`HookHeader`]) and reads frames of [`Reply`] until one that
//! [ends](Reply::is_last) the answer. While `Pair` runs it may send one
//! [`Request::Answer`]. [`FRAME_SPOOLED`] is not answered.

use serde::{Deserialize, Serialize};

mod code;
mod git;
mod near;
mod pairing;
mod pause;
mod placing;
mod projects;
mod relay;
mod reply;
mod search;
mod secrets;
mod serve;
mod sharing;
mod status;
mod summary;
mod transcript;
mod ui;
mod upkeep;
pub use code::*;
pub use git::*;
pub use near::*;
pub use pairing::*;
pub use pause::*;
pub use placing::*;
pub use projects::*;
pub use relay::*;
pub use reply::*;
pub use search::*;
pub use secrets::*;
pub use serve::*;
pub use sharing::*;
pub use status::*;
pub use summary::*;
pub use transcript::*;
pub use ui::*;
pub use upkeep::*;

/// Version of this protocol; both sides state it and refuse another one.
pub const API_VERSION: u8 = 1;
/// Kind byte of a [`Request`].
pub const FRAME_REQUEST: u8 = b'J';
/// Kind byte of a hook event: the bytes of a spool file.
pub const FRAME_HOOK: u8 = b'H';
/// Kind byte of a hook client's word that it left something in the spool; without
/// a body and without an answer.
pub const FRAME_SPOOLED: u8 = b'S';

/// First line of a hook frame and of a spool file, as JSON; the hook's standard
/// input follows verbatim after the line break.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookHeader {
    /// [`API_VERSION`].
    pub v: u8,
    /// Drawn by the hook client; an event that arrives twice under one id (over
    /// the socket and through the spool) is handled once.
    pub id: String,
    /// The event's name, as given on the command line.
    pub event: String,
    /// Process id of Claude Code (`CLAUDE_PID`), if it said so.
    #[serde(default)]
    pub pid: Option<u32>,
    /// `CLAUDE_PROJECT_DIR`.
    #[serde(default)]
    pub project_dir: Option<String>,
    /// `CLAUDE_CODE_SESSION_ID`.
    #[serde(default)]
    pub session: Option<String>,
    /// `CLAUDE_CODE_ENTRYPOINT`.
    #[serde(default)]
    pub entrypoint: Option<String>,
    /// Standard input was longer than the limit, or never ended, and was cut.
    #[serde(default)]
    pub cut: bool,
}

/// The answer to a hook event: it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookTaken {
    /// What is said at the start of a session, if anything.
    pub line: Option<String>,
}

/// What a client asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Request {
    /// → [`Status`]
    Status,
    /// Stop the agent. → [`Done`]
    Down,
    /// → `[Device]`
    Devices,
    /// Change the name that this device suggests for itself. → [`Done`]
    Rename {
        /// The new name.
        name: String,
    },
    /// Never again exchange anything with this device. → [`Done`]
    Revoke {
        /// Id, unique prefix of it, or unique name.
        device: String,
    },
    /// Take in a device that another one offers, or keep one that another one has
    /// revoked. → [`Accepted`]
    Accept {
        /// As in `Revoke`.
        device: String,
    },
    /// The user has seen whom other devices have added. → [`Done`]
    Seen,
    /// Open a pairing window. Streams [`PairEvent`]; ends after `paired` or
    /// `failed`. The client answers `Joined` with [`Request::Answer`].
    Pair {
        /// With a ticket that works without multicast.
        ticket: bool,
        /// Say yes without asking; only with a ticket.
        yes: bool,
    },
    /// The user's yes or no during `Pair`.
    Answer {
        /// Whether the device is let in.
        yes: bool,
    },
    /// Join a device that shows a code or ticket. Streams [`PairEvent`].
    Join {
        /// What the user typed. Never logged.
        secret: String,
    },
    /// Remember where a device can be reached. → [`Done`]
    Address {
        /// As in `Revoke`.
        device: String,
        /// `ip:port`.
        addr: String,
    },
    /// The network as it is seen from here, after a moment of listening.
    /// → [`Around`]
    Around,
    /// What two people compare to be sure of each other. → `[Safety]`
    Safety {
        /// As in `Revoke`; else all paired devices.
        device: Option<String>,
    },
    /// → `[Task]`; the order is remembered for `<task>` arguments, unless it is only
    /// looked at.
    Tasks {
        /// Also ended, done and archived ones.
        all: bool,
        /// For a view that looks again and again and gives no numbers.
        #[serde(default)]
        only_look: bool,
    },
    /// → [`Expiring`]
    Expiring,
    /// → [`Show`]
    Show {
        /// Number in the last list or unique prefix of a session id.
        task: String,
    },
    /// → `[Session]`
    Sessions {
        /// Which.
        scope: Scope,
        /// Only of this project (name or path).
        project: Option<String>,
    },
    /// Bring a session here. Streams [`Progress`] and, while it waits,
    /// [`Presence`]; then [`Continued`].
    Continue {
        /// As in `Show`.
        task: String,
        /// Into this directory instead of the one that matches. Absolute.
        into: Option<String>,
        /// The directory in which the command was typed: one more candidate.
        from_dir: Option<String>,
        /// Always as a new session beside the local one.
        fork: bool,
        /// The hand-off prompt instead of the session: nothing is placed, the
        /// answer's command starts a new session.
        handoff: bool,
        /// Both lines in one session, where both sides went on.
        #[serde(default)]
        join: bool,
        /// The code that came along, in a new work tree.
        #[serde(default)]
        with_code: bool,
        /// What to do if another device is in a turn of it.
        #[serde(default)]
        meanwhile: Meanwhile,
    },
    /// Capture and send now. Streams [`Progress`] and one [`Pushed`] a session,
    /// then [`Summary`].
    Push(Selection),
    /// Fetch and place now. Streams [`Progress`] and one [`Placed`] a session,
    /// then [`Summary`].
    Pull(Selection),
    /// Take a snapshot now. → [`SnapshotTaken`]
    Snapshot {
        /// Of this session; else of the one that changed last.
        session: Option<String>,
        /// Wait until a connected peer holds it.
        force: bool,
    },
    /// Mark a task finished, or take it back. → [`Done`]
    Mark {
        /// As in `Show`.
        task: String,
        /// Finished?
        done: bool,
    },
    /// Take back the last placement that the user asked for. → [`Undone`]
    Undo {
        /// The last one of this session instead, whoever asked for it. As in
        /// `Show`.
        #[serde(default)]
        task: Option<String>,
    },
    /// Take back everything that was placed by itself and is as it was placed.
    /// Streams one [`TakenBack`] a session, then [`Summary`].
    UndoUnasked,
    /// Check the store, and have what is damaged brought back from peers. Streams
    /// [`Progress`], then [`Verified`].
    Verify {
        /// Also read and hash every chunk.
        read_data: bool,
    },
    /// Replace this device's key, or say that it may stay. → [`Rekeyed`]
    Rekey {
        /// In which way.
        how: RekeyHow,
    },
    /// Read or change how much is kept. → [`Policy`]
    Policy {
        /// What to change, if anything.
        change: Option<PolicyChange>,
    },
    /// Why a session is or is not here. → [`Why`]
    Why {
        /// As in `Show`.
        session: String,
    },
    /// → `[Project]`
    Projects,
    /// Change what is known of projects here. → [`ProjectsChanged`]
    ProjectsChange(ProjectChange),
    /// A project moved on this machine. → [`ProjectMoved`]
    Move {
        /// Where it lay; absolute.
        old: String,
        /// Where it lies; absolute.
        new: String,
        /// Say what would be done, and do nothing.
        dry_run: bool,
    },
    /// Add, forget or bring up to date a git mirror, or ask how all do. A sync
    /// streams [`Progress`]. → `[Mirror]`
    Git {
        /// What to do, if anything.
        change: Option<GitChange>,
    },
    /// Take over what the mirror of a device holds. Streams
    /// [`Progress`] and one [`Imported`] a session, then [`GitImported`].
    GitImport {
        /// A path, absolute, or the address of a repository.
        from: String,
        /// A file with the keys that open an encrypted mirror; absolute.
        key_file: Option<String>,
    },
    /// Change which relay is used, or ask how it does. → [`Relay`]
    Relay {
        /// What to change, if anything.
        change: Option<RelayChange>,
    },
    /// The server for claude-sync-sessions. → as [`Serve`] says
    Serve(Serve),
    /// Words in every session that is held. The order of the hits is remembered for
    /// `<task>` arguments. → [`Searched`]
    Search(Search),
    /// Give the page until the client goes away, or nobody uses it. Streams
    /// [`UiEvent`]. → [`Done`]
    Ui,
    /// Read a page of a transcript. → [`TranscriptPage`]
    Transcript(TranscriptAsk),
}

/// What becomes of a session that another device is at work on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Meanwhile {
    /// It is not brought; the error says who has it and what there is to choose.
    #[default]
    Ask,
    /// It is brought when the turn there has ended and the last of it is here.
    Wait,
    /// It is brought as far as it is here, and the other device is told.
    TakeOver,
}

/// Which sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// All.
    All,
    /// Those in Claude's directory here.
    Local,
    /// Those held from other devices.
    Remote,
}

/// What `push` and `pull` work on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "which", rename_all = "snake_case")]
pub enum Selection {
    /// One session: number in the last list or unique prefix.
    Session {
        /// Which.
        session: String,
    },
    /// All of a project, by name or path.
    Project {
        /// Which.
        project: String,
    },
    /// All.
    All,
}

/// A refusal or failure, in words that can be shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiError {
    /// Stable; see docs/cli.md.
    pub code: ErrorCode,
    /// What happened and to what.
    pub message: String,
    /// What to do, in the imperative.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub hint: Option<String>,
    /// Choices, where something was ambiguous.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub choices: Vec<String>,
    /// The device that is at work on the session, with [`ErrorCode::Live`].
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub elsewhere: Option<Box<Presence>>,
}

impl ApiError {
    /// A failure without a hint.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            hint: None,
            choices: Vec::new(),
            elsewhere: None,
        }
    }

    /// The same, with what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same, with the choices there are.
    #[must_use]
    pub fn choices(mut self, choices: Vec<String>) -> Self {
        self.choices = choices;
        self
    }
}

/// Kinds of failure. The exit code follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// No such task, session or device. Exit 1.
    NotFound,
    /// More than one fits. Exit 1.
    Ambiguous,
    /// The local directory of the project is not known. Exit 1.
    ProjectUnknown,
    /// The session is live here, or live elsewhere. Exit 1.
    Live,
    /// Not all of it is here and no peer that has it can be reached. Exit 1.
    Incomplete,
    /// The content breaks a rule; nothing was placed. Exit 1.
    Refused,
    /// It is kept, and nothing here can place it: another format of Claude Code's,
    /// or made by a newer ccpeer. Trying again changes nothing. Exit 1.
    Unplaceable,
    /// Pairing did not come about. Exit 1.
    Pairing,
    /// It needs somebody else, and the user has paused that. Exit 1.
    Paused,
    /// No space, no permission, read-only. Exit 1.
    Disk,
    /// The request itself is wrong. Exit 2.
    Usage,
    /// No agent, or another one. Exit 3.
    Agent,
    /// The store is damaged. Exit 4.
    Damaged,
    /// A mistake of ours. Exit 70.
    Bug,
}

impl ErrorCode {
    /// The exit code promised in docs/cli.md.
    #[must_use]
    pub fn exit(self) -> u8 {
        match self {
            Self::NotFound
            | Self::Ambiguous
            | Self::ProjectUnknown
            | Self::Live
            | Self::Incomplete
            | Self::Refused
            | Self::Unplaceable
            | Self::Pairing
            | Self::Paused
            | Self::Disk => 1,
            Self::Usage => 2,
            Self::Agent => 3,
            Self::Damaged => 4,
            Self::Bug => 70,
        }
    }
}

/// An answer that has nothing to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// A sentence for people.
    pub message: String,
}

/// A device by id and the name it is shown under here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceName {
    /// Full id.
    pub id: String,
    /// Stripped name.
    pub name: String,
}

/// Where a session stands on one device, by that device's last word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// Which device.
    pub device: DeviceName,
    /// `live`, `idle`, `interrupted`, `ended`, `done` or `archived`.
    pub state: String,
    /// When it said so, by its clock: RFC 3339.
    pub since: String,
    /// It has a link to us, or is this device: what it says is so.
    pub connected: bool,
    /// When it was last connected, RFC 3339; null if never.
    pub last_heard: Option<String>,
}

/// One row of `devices`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Full id.
    pub id: String,
    /// Name shown here.
    pub name: String,
    /// Operating system, as it said.
    pub os: String,
    /// `connected` or `offline`; `this` for this device.
    pub state: String,
    /// `paired`; `offered` by another device and not taken in; `quarantined`
    /// because another device revoked it; or `revoked` here.
    pub trust: String,
    /// What it says of this device: `accepted`, `waiting` for somebody to accept
    /// it there, `revoked`, or `unknown`.
    #[serde(default)]
    pub theirs: String,
    /// Who offers it.
    #[serde(default)]
    pub offered_by: Vec<DeviceName>,
    /// Which of the other devices have revoked it.
    #[serde(default)]
    pub revoked_by: Vec<DeviceName>,
    /// When it last was connected, RFC 3339; null if never.
    pub last_seen: Option<String>,
}

/// One row of `tasks`: a head of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Number in this list.
    pub n: u64,
    /// Full id.
    pub session_id: String,
    /// Where this head was written.
    pub device: DeviceName,
    /// Name of that device for itself; of a mere document, the machine that it says.
    pub hostname: String,
    /// There is no session behind it: a hand-off file that was imported.
    #[serde(default)]
    pub document_only: bool,
    /// One line.
    pub title: String,
    /// Name of the project.
    pub project: String,
    /// `live`, `idle`, `interrupted`, `ended`, `done` or `archived`.
    pub state: String,
    /// RFC 3339.
    pub updated: String,
    /// Git branch, or empty.
    pub branch: String,
    /// Items of its task list that are not completed.
    pub open_todos: u64,
    /// Heads of the session; more than one is a fork.
    pub heads: u64,
    /// The version, so that a head of a fork can be named.
    pub version: String,
    /// All of it is here.
    pub complete: bool,
    /// It cannot be read here: it was made by a newer ccpeer.
    #[serde(default)]
    pub unreadable: bool,
    /// The device whose word the state is, if it is not connected: when it was
    /// last heard of, RFC 3339. Its state is a label then.
    #[serde(default)]
    pub last_heard: Option<String>,
    /// The device that went on with it while it is open here.
    #[serde(default)]
    pub taken_over_by: Option<DeviceName>,
}

/// `show`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Show {
    /// Full id.
    pub session_id: String,
    /// Where it was written.
    pub device: DeviceName,
    /// The machine that a document names which `device` has imported.
    #[serde(default)]
    pub written_on: Option<String>,
    /// One line.
    pub title: String,
    /// Name of the project.
    pub project: String,
    /// State, as in `tasks`.
    pub state: String,
    /// As in `tasks`.
    #[serde(default)]
    pub last_heard: Option<String>,
    /// Git branch, or empty.
    pub branch: String,
    /// RFC 3339.
    pub updated: String,
    /// The document.
    pub sections: Sections,
    /// What of the transcript it rests on.
    pub based_on: BasedOn,
    /// Whether a model has worked on it; `based_on` is what that model has seen.
    pub enriched: bool,
    /// Lines that the transcript has by now.
    #[serde(default)]
    pub records: u64,
}

/// The six sections of a snapshot, Markdown.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sections {
    /// The goal.
    pub task: String,
    /// What was done.
    pub done: String,
    /// What is under way.
    pub in_progress: String,
    /// What comes next.
    pub next_steps: String,
    /// Files touched.
    pub files: String,
    /// What to tell the one who goes on.
    pub handoff_prompt: String,
}

/// How much of the transcript a snapshot has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BasedOn {
    /// Bytes.
    pub bytes: u64,
    /// Lines.
    pub records: u64,
}

/// One row of `sessions`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Full id.
    pub session_id: String,
    /// Name of the project.
    pub project: String,
    /// One line.
    pub title: String,
    /// Where its newest version was written.
    pub device: DeviceName,
    /// Bytes of the transcript.
    pub bytes: u64,
    /// Lines of the transcript.
    pub records: u64,
    /// RFC 3339.
    pub updated: String,
    /// It lies in Claude's directory here.
    pub local: bool,
    /// It is held from another device.
    pub remote: bool,
    /// State, as in `tasks`.
    pub state: String,
    /// Heads.
    pub heads: u64,
    /// What others may have of what this device says of it: `sync`, `snapshot` or
    /// `local`.
    #[serde(default)]
    pub share: String,
}

/// What came of placing a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placed {
    /// The session asked for.
    pub session_id: String,
    /// What happened.
    pub placed: PlacedHow,
    /// The main transcript here.
    pub path: Option<String>,
    /// The project's directory here.
    pub project_dir: Option<String>,
    /// The id under which it is found, where a fork got a new one.
    pub new_session_id: Option<String>,
    /// Where what was replaced is kept.
    pub backup: Option<String>,
    /// Files and fields that were left out or reset, one line each.
    pub dropped: Vec<String>,
    /// What is to be said about the choice of the directory.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub notes: Vec<String>,
    /// What to run, in `project_dir`.
    pub command: Vec<String>,
    /// Why, if it was refused.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
}

/// `continue`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Continued {
    /// How it was placed.
    #[serde(flatten)]
    pub placed: Placed,
    /// A device on which it was open when it was brought here.
    #[serde(default)]
    pub elsewhere: Option<Presence>,
    /// The device that had the baton until now, where it was another one.
    #[serde(default)]
    pub taken_from: Option<DeviceName>,
    /// How the code stands here and there; null without a directory.
    #[serde(default)]
    pub code: Option<Code>,
}

/// Ways of placing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlacedHow {
    /// It was not here before.
    New,
    /// What was here is the beginning of it.
    FastForward,
    /// It was here already.
    UpToDate,
    /// Beside the local one, under a new id.
    Fork,
    /// Behind the local turns, in the same session.
    Joined,
    /// Not at all.
    Refused,
}

/// One line of `push`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pushed {
    /// Which session.
    pub session_id: String,
    /// `captured`, `unchanged` or `failed`.
    pub result: String,
    /// Peers that hold it now.
    pub held_by: Vec<DeviceName>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
}

/// The end of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Summary {
    /// Captured or placed.
    pub done: u64,
    /// Nothing to do.
    pub skipped: u64,
    /// Not possible.
    pub failed: u64,
}

/// `snapshot`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotTaken {
    /// Of which session.
    pub session_id: String,
    /// One line.
    pub title: String,
    /// Peers that hold it now.
    pub held_by: Vec<DeviceName>,
    /// What became of its summary by a model; null unless it was waited for.
    #[serde(default)]
    pub summary: Option<SummaryTaken>,
}

/// `undo`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undone {
    /// Which session had been placed.
    pub session_id: String,
    /// Files restored from the backup.
    pub restored: u64,
    /// Files removed because there were none before.
    pub removed: u64,
}

/// `why`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Why {
    /// Which session.
    pub session_id: String,
    /// One line; empty if it was never captured.
    pub title: String,
    /// Name of the project.
    pub project: String,
    /// Findings, one sentence each, in the order in which they are told.
    pub lines: Vec<String>,
    /// Whether `tasks` shows it.
    pub listed: bool,
    /// The lines on which it went on; more than one is a fork.
    pub versions: Vec<WhyVersion>,
    /// Where it stands on each device that ever said so.
    pub presence: Vec<Presence>,
    /// The device that goes on with it.
    pub baton: Option<DeviceName>,
    /// Its transcript in Claude Code's directory here.
    pub path: Option<String>,
    /// The project's directory here.
    pub project_dir: Option<String>,
    /// The process here that has it open.
    pub open_by: Option<u32>,
    /// The next sensible command.
    pub next: Option<String>,
    /// What others may have of what this device says of it, and by which rule.
    #[serde(default)]
    pub share: Option<ShareRuling>,
}

/// A head of a session in `why`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhyVersion {
    /// Its name.
    pub version: String,
    /// Where it was written.
    pub device: DeviceName,
    /// RFC 3339.
    pub updated: String,
    /// All of it is here.
    pub complete: bool,
    /// It cannot be read here: it was made by a newer ccpeer.
    #[serde(default)]
    pub unreadable: bool,
    /// Pieces that are known to be missing,
    pub missing: u64,
    /// of so many.
    pub known: u64,
    /// Connected devices that hold all of it.
    pub held_by: Vec<DeviceName>,
}
