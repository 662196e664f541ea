//! Why the store says no. Positions and ids, never content: what is stored here
//! may hold secrets, and errors end up in logs.

use std::fmt;
use std::io;

use ccpeer_core::id::{ChunkId, LogId, Seq};

use crate::notes::Namespace;

/// What can go wrong. Cheap to copy, because one failed transaction may have to
/// be reported to several callers that shared it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// What is stored is not what was written. A damaged chunk is forgotten at
    /// once, so that it is fetched again; for anything else see
    /// [`crate::set_aside`] and [`crate::salvage`].
    #[error("{place} is damaged: {why}")]
    Corrupt {
        /// What is damaged.
        place: Place,
        /// How that shows.
        why: String,
    },
    /// The disk or the quota is exhausted. Everything that was there still is,
    /// and the next call tries anew.
    #[error("no space left for the store")]
    Full,
    /// Another process holds the file.
    #[error("store is in use by another process")]
    Locked,
    /// The operating system failed us. Nothing may be taken for durable that
    /// was under way.
    #[error("cannot {doing} the store: {message}")]
    Io {
        /// What we were about to do.
        doing: &'static str,
        /// The kind of failure.
        kind: io::ErrorKind,
        /// What the system says about it.
        message: String,
    },
    /// Written by a newer ccpeer.
    #[error("store has format {found}, this ccpeer knows formats up to {known}")]
    Newer {
        /// The format found.
        found: u32,
        /// The newest that we can read.
        known: u32,
    },
    /// The caller's content is not what it claims to be, or does not fit what is
    /// there. Nothing of the call was written.
    #[error("{place} is refused: {why}")]
    Wrong {
        /// What was refused.
        place: Place,
        /// The rule that it breaks.
        why: &'static str,
    },
    /// It is not here (yet).
    #[error("{place} is not in the store")]
    Absent {
        /// What was looked for.
        place: Place,
    },
}

impl StoreError {
    /// Whether the same call may succeed later without anybody repairing the
    /// store.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Full | Self::Locked | Self::Io { .. } => true,
            Self::Corrupt { .. }
            | Self::Newer { .. }
            | Self::Wrong { .. }
            | Self::Absent { .. } => false,
        }
    }

    pub(crate) fn corrupt(place: Place, why: impl Into<String>) -> Self {
        Self::Corrupt {
            place,
            why: why.into(),
        }
    }

    pub(crate) fn io(doing: &'static str, error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => Self::Full,
            // Windows locks bytes, not names: reading them is how one notices.
            _ if cfg!(windows) && matches!(error.raw_os_error(), Some(32 | 33)) => Self::Locked,
            io::ErrorKind::UnexpectedEof => Self::corrupt(Place::File, "it ends too early"),
            io::ErrorKind::InvalidData => Self::corrupt(Place::File, error.to_string()),
            kind => Self::Io {
                doing,
                kind,
                message: error.to_string(),
            },
        }
    }
}

/// A position in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The file as a whole.
    File,
    /// Format, epoch or counters.
    Meta,
    /// An entry of a log.
    Entry(LogId, Seq),
    /// A chunk.
    Chunk(ChunkId),
    /// A note of this namespace. Its key is not told: it may be a path.
    Note(Namespace),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File => f.write_str("store file"),
            Self::Meta => f.write_str("head of the store"),
            Self::Entry(log, seq) => {
                write!(
                    f,
                    "entry {seq} of device {}, epoch {}",
                    log.device.short(),
                    log.epoch.short()
                )
            }
            Self::Chunk(id) => write!(f, "chunk {id}"),
            Self::Note(namespace) => write!(f, "{namespace} note"),
        }
    }
}

/// What a failure means for the open database behind the store.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// Nothing: it is the answer to the caller.
    Answer(StoreError),
    /// The handle can no longer be trusted; open the file anew, then answer.
    Reopen(StoreError),
    /// The handle had failed before; open the file anew and try again.
    Retry,
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Answer(error)
    }
}

impl From<redb::Error> for Trouble {
    fn from(error: redb::Error) -> Self {
        use redb::Error as E;
        match error {
            E::PreviousIo | E::DatabaseClosed | E::LockPoisoned(_) => Self::Retry,
            E::DatabaseAlreadyOpen => Self::Reopen(StoreError::Locked),
            E::Io(e) => Self::Reopen(StoreError::io("access", &e)),
            E::UpgradeRequired(found) if found > REDB_FORMAT => Self::Reopen(StoreError::Newer {
                found: u32::from(found),
                known: u32::from(REDB_FORMAT),
            }),
            other => Self::Reopen(StoreError::corrupt(
                Place::File,
                bounded(&other.to_string()),
            )),
        }
    }
}

/// The file format of redb 4, for messages only.
const REDB_FORMAT: u8 = 3;

macro_rules! through_redb_error {
    ($($kind:ty),*) => {$(
        impl From<$kind> for Trouble {
            fn from(error: $kind) -> Self {
                redb::Error::from(error).into()
            }
        }
    )*};
}

through_redb_error!(
    redb::StorageError,
    redb::TableError,
    redb::TransactionError,
    redb::CommitError,
    redb::DatabaseError
);

/// Runs code of redb; a panic there becomes an error, because a damaged file can
/// bring redb to an assertion where it should have complained.
pub(crate) fn guarded<T>(f: impl FnOnce() -> Result<T, Trouble>) -> Result<T, Trouble> {
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)) {
        Ok(result) => result,
        Err(panic) => {
            let said = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("it cannot be read");
            Err(Trouble::Reopen(StoreError::corrupt(
                Place::File,
                bounded(said),
            )))
        }
    }
}

/// Messages of redb name pages and offsets; a bound keeps it so.
fn bounded(text: &str) -> String {
    text.chars().take(200).collect()
}
