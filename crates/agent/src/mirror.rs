//! Git mirrors: this device's sessions in a repository, over the system's git.
//!
//! A mirror is what the remote's branch holds; here lie a bare repository to work
//! in, the choices, and what is remembered to be quick. Every attempt begins at
//! the remote's tip and adds what is missing there, so nothing has to be merged
//! but names, and nothing that others wrote is touched. Plumbing runs in [`run`]
//! and [`repo`]; [`part`] and [`seal`] are our own form; [`sync`] is one go.
//! docs/MIRROR.md tells the user's side, decision 0031 why it is so.

pub(crate) mod carried;
pub(crate) mod clock;
pub(crate) mod config;
pub(crate) mod found;
pub(crate) mod gate;
pub(crate) mod layouts;
pub(crate) mod part;
pub(crate) mod repo;
pub(crate) mod restore;
pub(crate) mod run;
pub(crate) mod seal;
pub(crate) mod sync;
pub(crate) mod theirs;

use crate::api::{ApiError, ErrorCode};
use run::GitError;
use seal::SealError;

/// Our own directory in a mirror. Nobody else writes there.
pub(crate) const OWN: &str = ".ccpeer";

/// Why a mirror was not brought up to date.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MirrorError {
    /// Git, or the remote.
    #[error(transparent)]
    Git(#[from] GitError),
    /// Encryption.
    #[error("the mirror cannot be encrypted: {0}")]
    Seal(#[from] SealError),
    /// The store.
    #[error(transparent)]
    Store(#[from] ccpeer_store::StoreError),
    /// The home.
    #[error("cannot keep what belongs to a mirror: {0}")]
    Disk(#[from] std::io::Error),
    /// The device's key.
    #[error("{0}")]
    Key(String),
    /// Others pushed again and again in between.
    #[error("others push faster than this device can; {0} attempts were made")]
    Raced(u32),
    /// The remote has lost what it had.
    #[error("the remote went back: what this device saw there last is not in its history any more")]
    RolledBack,
}

impl From<MirrorError> for ApiError {
    fn from(error: MirrorError) -> Self {
        let message = error.to_string();
        match error {
            MirrorError::Store(e) => crate::problem::store(&e),
            MirrorError::Git(GitError::Missing) => Self::new(ErrorCode::Refused, message)
                .hint("install git, and see that it is in the agent's PATH"),
            MirrorError::Git(GitError::Stopping) => Self::new(ErrorCode::Agent, message),
            MirrorError::Git(GitError::Nonsense(_)) => Self::new(ErrorCode::Bug, message),
            MirrorError::Git(_) => Self::new(ErrorCode::Refused, message).hint(
                "try `git ls-remote` with the same address; the agent cannot be asked for a \
                 password, so a credential helper or an ssh agent has to know it",
            ),
            MirrorError::RolledBack => Self::new(ErrorCode::Refused, message).hint(
                "nothing is lost here; if the remote is what it should be, put everything \
                 there again with `ccpeer git sync --repush`",
            ),
            MirrorError::Raced(_) => {
                Self::new(ErrorCode::Refused, message).hint("it is tried again by itself")
            }
            MirrorError::Disk(_) | MirrorError::Key(_) => Self::new(ErrorCode::Disk, message)
                .hint("check the disk of CCPEER_HOME; the agent's log says more"),
            MirrorError::Seal(_) => Self::new(ErrorCode::Refused, message)
                .hint("see whether `recovery.key` in CCPEER_HOME is a key file"),
        }
    }
}
