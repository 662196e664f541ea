//! Keeps an agent that cannot start from being started again and again by a
//! service manager: a disk that fails is not helped by being asked more often.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ccpeer_core::text;
use serde::{Deserialize, Serialize};

use crate::api::{ApiError, ErrorCode};
use crate::home::Home;
use crate::keys;

/// Failed starts within [`WITHIN`] that are forgiven.
const FAILED_MAX: usize = 3;
/// How close together they must be.
const WITHIN: Duration = Duration::from_secs(60);
/// After too many of them it is tried again no sooner than this, unless the user
/// says so.
const REST: Duration = Duration::from_secs(600);
/// Characters of a failure that are remembered.
const WHY_CHARS_MAX: usize = 300;

/// The last failed starts.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Failed {
    /// When, in seconds of the wall clock. It decides nothing but how long to
    /// rest: a clock that is wrong or was set makes us forget, and try.
    at: Vec<u64>,
    why: String,
}

/// One start, until it is known how it went.
pub(crate) struct Attempt<'h> {
    home: &'h Home,
    open: bool,
}

impl<'h> Attempt<'h> {
    pub(crate) fn new(home: &'h Home) -> Self {
        Self { home, open: true }
    }

    /// It accepts work.
    pub(crate) fn succeeded(&mut self) {
        self.open = false;
        forget(self.home);
    }

    /// It ended with this. That counts if it had not come up before.
    pub(crate) fn failed(&mut self, error: &ApiError) {
        if std::mem::take(&mut self.open) {
            failed(self.home, error);
        }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if self.open && std::thread::panicking() {
            failed(self.home, &ApiError::new(ErrorCode::Bug, "it panicked"));
        }
    }
}

/// Refuses if it failed too often just now.
///
/// # Errors
/// [`ErrorCode::Damaged`] with the last reason.
pub(crate) fn may_start(home: &Home) -> Result<(), ApiError> {
    let failed = load(home);
    let Some(last) = failed.at.last().filter(|_| failed.at.len() > FAILED_MAX) else {
        return Ok(());
    };
    if now().abs_diff(*last) > REST.as_secs() {
        return Ok(());
    }
    Err(ApiError::new(
        ErrorCode::Damaged,
        format!(
            "the agent failed to start {} times within a minute and stays down: {}",
            failed.at.len(),
            failed.why
        ),
    )
    .hint("see what is wrong with `ccpeer doctor`; `ccpeer up` tries again at once"))
}

/// Remembers a start that failed.
pub(crate) fn failed(home: &Home, error: &ApiError) {
    let now = now();
    let mut before = load(home);
    before.at.retain(|at| now.abs_diff(*at) <= WITHIN.as_secs());
    before.at.push(now);
    before.why = text::one_line(&error.message, WHY_CHARS_MAX);
    let written = serde_json::to_vec(&before)
        .map_err(std::io::Error::other)
        .and_then(|bytes| keys::write_private(&home.failed_starts(), &bytes));
    if let Err(e) = written {
        tracing::warn!(error = %e, "cannot remember that the start failed");
    }
}

/// Forgets failed starts: one succeeded, or the user asks for another.
pub fn forget(home: &Home) {
    // Not there is the normal case.
    let _absent = fs::remove_file(home.failed_starts());
}

/// Why it stays down, if it does.
pub(crate) fn why(home: &Home) -> Option<ApiError> {
    may_start(home).err()
}

/// The reason of the last start that failed, unless one has succeeded since.
#[must_use]
pub fn last_failure(home: &Home) -> Option<String> {
    let failed = load(home);
    (!failed.at.is_empty()).then_some(failed.why)
}

fn load(home: &Home) -> Failed {
    fs::read(home.failed_starts())
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default()
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_failures_in_a_row_are_enough() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().to_owned();
        let home = Home::from_env(&|name| {
            matches!(name, "CCPEER_HOME" | "HOME").then(|| root.clone().into_os_string())
        })
        .unwrap();
        let error = ApiError::new(ErrorCode::Damaged, "the store is damaged");
        for _ in 0..=FAILED_MAX {
            may_start(&home).unwrap();
            failed(&home, &error);
        }
        let refused = may_start(&home).unwrap_err();
        assert!(refused.message.contains("the store is damaged"));
        assert!(why(&home).is_some());
        // A failure long ago, or in a future that is none, is forgotten.
        for at in [0, u64::MAX] {
            let old = Failed {
                at: vec![at; FAILED_MAX + 1],
                why: String::new(),
            };
            fs::write(home.failed_starts(), serde_json::to_vec(&old).unwrap()).unwrap();
            may_start(&home).unwrap();
        }
        failed(&home, &error);
        assert_eq!(last_failure(&home), Some(error.message));
        forget(&home);
        assert!(load(&home).at.is_empty());
        assert_eq!(last_failure(&home), None);
    }
}
