//! A bundle of claude-sync-sessions becomes a version of this device, whoever
//! brings it: a client of the server, or a repository that is imported. Nothing is
//! replaced: it goes on from what is known, is known, or is a line beside.
//!
//! Must not know where it comes from. One at a time: who calls holds the turn.

use std::sync::Arc;

use ccpeer_core::id::SessionId;
use ccpeer_core::presence::{EndReason, SessionState};
use ccpeer_core::time::Timestamp;
use ccpeer_formats::bundle_v1::{Bounds, Bundle, OpenError};

use crate::api::{ApiError, ErrorCode};
use crate::capture::foreign::{self, Around, ForeignError, Growth, Line, TakenIn};
use crate::driver::{Ask, Handle, Held, wall};
use crate::pool::blocking;
use crate::{problem, view};

/// A session that was touched within this time and has no end is one that somebody
/// means to go on with.
const INTERRUPTED_MS_MAX: u64 = 72 * 3600 * 1000;

/// What became of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Taken {
    /// One line, for lists.
    pub(crate) title: String,
    /// `new`, `grown`, `fork`, or `known`: nothing new is in it.
    pub(crate) result: &'static str,
}

/// Why nothing was taken in.
#[derive(Debug)]
pub(crate) enum NotTaken {
    /// It is no bundle of that session.
    Bundle(OpenError),
    /// It holds what cannot be carried.
    Content(ForeignError),
    /// Something here.
    Other(ApiError),
}

impl From<OpenError> for NotTaken {
    fn from(error: OpenError) -> Self {
        Self::Bundle(error)
    }
}

impl From<ApiError> for NotTaken {
    fn from(error: ApiError) -> Self {
        Self::Other(error)
    }
}

impl From<ForeignError> for NotTaken {
    fn from(error: ForeignError) -> Self {
        match error {
            ForeignError::Store(e) => Self::Other(problem::store(&e)),
            other => Self::Content(other),
        }
    }
}

impl From<NotTaken> for ApiError {
    fn from(error: NotTaken) -> Self {
        match error {
            NotTaken::Bundle(e) => Self::new(ErrorCode::Refused, e.to_string()),
            NotTaken::Content(e) => Self::new(ErrorCode::Refused, e.to_string()),
            NotTaken::Other(e) => e,
        }
    }
}

/// Makes a version of a bundle, if there is something new in it.
pub(crate) async fn take_in(
    handle: &Handle,
    session: SessionId,
    packed: Vec<u8>,
    bounds: Bounds,
) -> Result<Taken, NotTaken> {
    let lines = lines(handle, session).await?;
    let store = Arc::clone(&handle.shared.store);
    let taken = blocking(move || {
        let (bundle, warnings) = Bundle::open(&packed, Some(session), bounds)?;
        for warning in warnings {
            tracing::warn!(%session, %warning, "left out of a bundle");
        }
        let now = wall();
        let around = Around {
            lines,
            state: state(bundle.head().updated, now),
            now,
        };
        let title = view::line(&bundle.head().first_prompt);
        let taken = foreign::take_in(&store, &bundle, &around)?;
        Ok::<_, NotTaken>((taken, title))
    });
    match taken.await? {
        (TakenIn::Known, title) => Ok(Taken {
            title,
            result: "known",
        }),
        (TakenIn::New(version, growth), _) => {
            let title = view::title(&version.meta);
            handle.take_in(version).await?;
            let result = match growth {
                Growth::First => "new",
                Growth::Grown => "grown",
                Growth::Beside => "fork",
            };
            Ok(Taken { title, result })
        }
    }
}

/// What is known of a session.
async fn lines(handle: &Handle, session: SessionId) -> Result<Vec<Line>, ApiError> {
    let held = handle.ask(|to| Ask::Held(Some(session), to)).await?;
    let line = |Held { head, older }: Held| {
        Some(Line {
            id: head.id,
            manifest: head.version.manifest?,
            older,
        })
    };
    Ok(held.into_iter().flatten().rev().filter_map(line).collect())
}

/// Where a session stands that nobody here has open.
fn state(updated: Option<Timestamp>, now: Timestamp) -> SessionState {
    let recent = updated.is_none_or(|at| now.0.saturating_sub(at.0) <= INTERRUPTED_MS_MAX);
    if recent {
        SessionState::Interrupted
    } else {
        SessionState::Ended(EndReason::Unseen)
    }
}
