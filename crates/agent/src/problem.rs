//! Failures of the rooms below, in words for users.

use ccpeer_store::StoreError;

use crate::api::{ApiError, ErrorCode};

/// What a failing store means to the one who asked.
pub(crate) fn store(error: &StoreError) -> ApiError {
    match error {
        StoreError::Corrupt { .. } => ApiError::new(ErrorCode::Damaged, error.to_string())
            .hint("run `ccpeer verify --read-data`; what peers hold is fetched again"),
        StoreError::Newer { .. } => ApiError::new(ErrorCode::Damaged, error.to_string())
            .hint("update ccpeer on this device; nothing was changed"),
        StoreError::Locked => ApiError::new(ErrorCode::Agent, error.to_string())
            .hint("stop the other agent with `ccpeer down`"),
        StoreError::Full => ApiError::new(ErrorCode::Disk, error.to_string())
            .hint("free some space on the disk of CCPEER_HOME and try again"),
        other => ApiError::new(ErrorCode::Disk, other.to_string())
            .hint("check the disk of CCPEER_HOME; the agent's log says more"),
    }
}

/// An answer of ours that cannot be written: a mistake in its type.
pub(crate) fn unwritten(_: serde_json::Error) -> ApiError {
    ApiError::new(ErrorCode::Bug, "an answer cannot be encoded")
}
