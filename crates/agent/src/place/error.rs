//! Why a placement fails, and what that means to the one who asked for it.

use std::path::PathBuf;

use ccpeer_core::codec::DecodeError;
use ccpeer_core::id::SessionId;
use ccpeer_core::limits;
use ccpeer_formats::claude::join::Refused;
use ccpeer_store::StoreError;

use crate::api::{ApiError, ErrorCode};
use crate::confined::ConfinedError;
use crate::disk::Stopped;
use crate::problem;

/// Why nothing was placed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlaceError {
    /// Chunks are missing.
    #[error("{0} pieces of the session are not here yet")]
    Incomplete(u64),
    /// Somebody has it open here.
    #[error("session {0} is open on this device")]
    Live(SessionId),
    /// The content breaks a rule.
    #[error("the session's content is refused: {0}")]
    Malformed(&'static str),
    /// Its manifest has something in it that this ccpeer does not know.
    #[error(
        "the session's list of files cannot be read here: it was made by a newer ccpeer, or is \
         malformed"
    )]
    Unreadable,
    /// Nothing in the transcript is recognised as a conversation; the version of
    /// Claude Code that it names.
    #[error("nothing in the session's transcript is recognised as a conversation{}", written_by(.0.as_deref()))]
    Unrecognised(Option<String>),
    /// A line that cannot be checked.
    #[error("the session has a line of more than {max} bytes", max = limits::PLACED_LINE_BYTES_MAX)]
    LongLine,
    /// The directory is not one that a session can be placed in.
    #[error("{0} is not a directory that a session can be placed in")]
    Directory(PathBuf),
    /// Somebody wrote to the files meanwhile.
    #[error("the session's files here changed while it was placed")]
    Changed,
    /// Somebody wrote to the files after they were placed.
    #[error("session {0} has changed since it was placed")]
    ChangedSince(SessionId),
    /// Something of that name lies where a session is to be moved to.
    #[error("session {0} lies in the new place already")]
    Taken(SessionId),
    /// What lies here is no beginning of it.
    #[error("session {0} went on here in a line of its own")]
    OwnLine(SessionId),
    /// The two lines cannot be put in a row.
    #[error("the two lines are not joined: {0}")]
    Join(Refused),
    /// Both lines went on with one sub-agent.
    #[error("the two lines are not joined: a sub-agent went on in both")]
    JoinSubagent,
    /// No placement is remembered.
    #[error("there is no placement to take back")]
    NothingToUndo,
    /// A place below Claude's directory is not fit to be used.
    #[error(transparent)]
    Place(#[from] ConfinedError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A test stopped here as if the process had been killed.
    #[error("stopped")]
    Stopped,
}

fn written_by(version: Option<&str>) -> String {
    version.map_or_else(String::new, |v| {
        format!("; it was written by Claude Code {v}")
    })
}

impl From<Stopped> for PlaceError {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

impl From<DecodeError> for PlaceError {
    fn from(error: DecodeError) -> Self {
        match error {
            // A kind of file that is not known reads as malformed.
            DecodeError::Version(_) | DecodeError::Malformed => Self::Unreadable,
            _ => Self::Malformed("its manifest is malformed"),
        }
    }
}

impl From<PlaceError> for ApiError {
    fn from(error: PlaceError) -> Self {
        let message = error.to_string();
        match error {
            PlaceError::Store(e) => problem::store(&e),
            PlaceError::Incomplete(_) => Self::new(ErrorCode::Incomplete, message)
                .hint("connect a device that holds it and try again"),
            PlaceError::Live(_) | PlaceError::Changed => Self::new(ErrorCode::Live, message)
                .hint("close it first, or use `--fork` to go on beside it"),
            PlaceError::Malformed(_) | PlaceError::LongLine => {
                Self::new(ErrorCode::Refused, message)
                    .hint("use `--handoff` to start from its snapshot")
            }
            PlaceError::Unreadable => Self::new(ErrorCode::Unplaceable, message).hint(
                "update ccpeer on this device, or use `--handoff` to start from its snapshot",
            ),
            PlaceError::Unrecognised(_) => Self::new(ErrorCode::Unplaceable, message).hint(
                "it is kept as it is: use `--handoff` to start from its snapshot, or place it \
                 with a ccpeer that knows its format",
            ),
            PlaceError::Directory(_) => {
                Self::new(ErrorCode::NotFound, message).hint("name another one with `--into DIR`")
            }
            PlaceError::Taken(_) => Self::new(ErrorCode::Refused, message)
                .hint("remove the one that is not needed from Claude Code's directory"),
            PlaceError::ChangedSince(_) => Self::new(ErrorCode::Refused, message)
                .hint("what it replaced is kept below the directory `backups` of CCPEER_HOME"),
            PlaceError::OwnLine(_) => Self::new(ErrorCode::Refused, message)
                .hint("`ccpeer continue` brings it beside that one"),
            PlaceError::Join(Refused::PendingTool(_) | Refused::MidTurn { .. }) => {
                Self::new(ErrorCode::Refused, message)
                    .hint("let the turn end where it is open, and try again")
            }
            PlaceError::Join(_) | PlaceError::JoinSubagent => {
                Self::new(ErrorCode::Refused, message)
                    .hint("without `--join` the other line is placed beside, as a new session")
            }
            PlaceError::NothingToUndo => Self::new(ErrorCode::NotFound, message)
                .hint("what was placed by itself is taken back by `ccpeer undo --auto`"),
            PlaceError::Place(ConfinedError::Io { .. }) => Self::new(ErrorCode::Disk, message)
                .hint("check space and permissions of Claude's directory and CCPEER_HOME"),
            PlaceError::Place(_) => Self::new(ErrorCode::Refused, message)
                .hint("replace the link by what it points to, or set CLAUDE_CONFIG_DIR"),
            PlaceError::Stopped => Self::new(ErrorCode::Bug, message),
        }
    }
}
