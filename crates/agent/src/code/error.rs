//! Why code did not go along, or could not be unfolded.

use std::io;
use std::path::PathBuf;

use ccpeer_formats::capsule::CapsuleError;
use ccpeer_store::StoreError;

use crate::api::{ApiError, ErrorCode};
use crate::mirror::run::GitError;
use crate::problem;

/// Why.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CodeError {
    /// Git.
    #[error(transparent)]
    Git(#[from] GitError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The disk.
    #[error("files cannot be written: {0}")]
    Disk(io::Error),
    /// No randomness.
    #[error("the system has no randomness to give")]
    Random,
    /// What was taken is cut wrongly: a mistake of ours.
    #[error("the capsule does not fit into its manifest")]
    Shape,
    /// The document.
    #[error(transparent)]
    Capsule(#[from] CapsuleError),
    /// What came breaks a rule.
    #[error("the code that came with the session breaks a rule: {0}")]
    Refused(&'static str),
    /// Commits that a remote has, and this clone does not.
    #[error("commit {} is not in {}", short(.commit), .dir.display())]
    Missing {
        /// The first of them.
        commit: String,
        /// The clone.
        dir: PathBuf,
        /// It was never pushed, and did not come along.
        unsent: bool,
    },
    /// The directory is in no repository.
    #[error("{} is in no git repository", .0.display())]
    NoRepository(PathBuf),
    /// The session began in a repository without a commit.
    #[error("there was no commit yet when the session was seen last")]
    NoCommit,
    /// What is to be made is there.
    #[error("{} exists already", .0.display())]
    Exists(PathBuf),
}

/// The beginning of a commit's name.
pub(crate) fn short(commit: &str) -> &str {
    commit.get(..10).unwrap_or(commit)
}

impl From<CodeError> for ApiError {
    fn from(error: CodeError) -> Self {
        let message = error.to_string();
        match error {
            CodeError::Store(e) => problem::store(&e),
            CodeError::Git(GitError::Missing) => Self::new(ErrorCode::NotFound, message)
                .hint("install git, or leave `--with-code` out"),
            CodeError::Git(_) => Self::new(ErrorCode::Refused, message)
                .hint("nothing was placed; leave `--with-code` out to go on without the code"),
            CodeError::Disk(_) | CodeError::Random => {
                Self::new(ErrorCode::Disk, message).hint("check the disk, and try again")
            }
            CodeError::Shape => Self::new(ErrorCode::Bug, message),
            CodeError::Capsule(CapsuleError::Version(_)) => {
                Self::new(ErrorCode::Unplaceable, message)
                    .hint("update ccpeer on this device, or leave `--with-code` out")
            }
            CodeError::Capsule(_) | CodeError::Refused(_) => Self::new(ErrorCode::Refused, message)
                .hint("leave `--with-code` out to go on without the code"),
            CodeError::Missing { dir, unsent, .. } => Self::new(ErrorCode::Incomplete, message)
                .hint(if unsent {
                    format!(
                        "push it on the other device, then run `git -C {} fetch`",
                        dir.display()
                    )
                } else {
                    format!("run `git -C {} fetch`, and try again", dir.display())
                }),
            CodeError::NoRepository(_) => Self::new(ErrorCode::ProjectUnknown, message)
                .hint("clone the project, and say where it is with `--into DIR`"),
            CodeError::NoCommit => Self::new(ErrorCode::Refused, message)
                .hint("make a first commit there, or leave `--with-code` out"),
            CodeError::Exists(dir) => Self::new(ErrorCode::Refused, message).hint(format!(
                "go on there, or remove it: `git worktree remove --force {}`",
                dir.display()
            )),
        }
    }
}
