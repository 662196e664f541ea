//! Capturing and sending on request: `push` and `snapshot`.

use std::time::Duration;

use ccpeer_core::id::{EntryHash, SessionId};
use ccpeer_core::sync::effect::Notice;

use super::resolve;
use crate::api::{
    ApiError, DeviceName, ErrorCode, Pushed, Selection, Share, SnapshotTaken, Summary, SummaryTaken,
};
use crate::driver::{Ask, CaptureDone, CodeTaken, Enriched, Handle};
use crate::pool::blocking;
use crate::server::Out;
use crate::{scan, view};

/// How long a command waits for a connected peer to hold what it sent.
const HELD_DEADLINE: Duration = Duration::from_secs(20);

/// Captures what was selected and waits, where a peer is connected, until one
/// holds it.
pub(super) async fn push(
    handle: &Handle,
    out: &Out,
    selection: &Selection,
) -> Result<Summary, ApiError> {
    handle.shared.pause.refuse("nothing is sent")?;
    let sessions = local(handle, selection).await?;
    let mut summary = Summary::default();
    let total = sessions.len() as u64;
    for (session, n) in sessions.into_iter().zip(1u64..) {
        let pushed = push_one(handle, session).await;
        match pushed.result.as_str() {
            "captured" => summary.done += 1,
            "unchanged" => summary.skipped += 1,
            _ => summary.failed += 1,
        }
        out.item(&pushed).await?;
        out.progress("sending", n, total);
    }
    Ok(summary)
}

async fn push_one(handle: &Handle, session: SessionId) -> Pushed {
    let mut pushed = Pushed {
        session_id: session.to_string(),
        result: "failed".to_owned(),
        held_by: Vec::new(),
        reason: None,
    };
    let captured = handle.capture(session).await;
    if matches!(
        captured,
        Ok(CaptureDone::New(_) | CaptureDone::Unchanged(_))
    ) && let Ok(CodeTaken::Failed(why)) = handle.take_code(session).await
    {
        pushed.reason = Some(format!("the code does not go along: {why}"));
    }
    match captured {
        Ok(CaptureDone::New(version)) => {
            pushed.result = "captured".to_owned();
            pushed.held_by = held_by(handle, session, version).await;
        }
        Ok(CaptureDone::Unchanged(Some(version))) => {
            pushed.result = "unchanged".to_owned();
            pushed.held_by = held_by(handle, session, version).await;
        }
        Ok(CaptureDone::Unchanged(None)) => pushed.result = "unchanged".to_owned(),
        Ok(CaptureDone::Absent) => {
            pushed.reason = Some("it is not in Claude Code's directory here".to_owned());
        }
        Ok(CaptureDone::Failed(e)) | Err(e) => pushed.reason = Some(e.message),
    }
    if pushed.reason.is_none() {
        pushed.reason = match share_of(handle, session).await {
            Share::Sync => None,
            Share::Snapshot => Some("only its document is shared".to_owned()),
            Share::Local => Some("it stays on this device".to_owned()),
        };
    }
    pushed
}

/// Takes a snapshot now; with `force` it waits until a connected peer has it.
pub(super) async fn snapshot(
    handle: &Handle,
    out: &Out,
    session: Option<String>,
    force: bool,
) -> Result<SnapshotTaken, ApiError> {
    let session = match session {
        // A session whose hooks never fired is found by its full id too.
        Some(text) => match text.parse::<SessionId>() {
            Ok(id) => id,
            Err(_) => resolve(handle, text).await?.session,
        },
        None => newest_here(handle).await?,
    };
    out.progress("capturing", 0, 0);
    let version = match handle.capture(session).await? {
        CaptureDone::New(version) | CaptureDone::Unchanged(Some(version)) => version,
        CaptureDone::Unchanged(None) | CaptureDone::Absent => {
            return Err(ApiError::new(
                ErrorCode::NotFound,
                "the session is not in Claude Code's directory here",
            )
            .hint("give its id with `--session`; `ccpeer sessions --local` lists them"));
        }
        CaptureDone::Failed(e) => return Err(e),
    };
    // What goes wrong with it is in the log, and no reason to say no.
    let _code = handle.take_code(session).await?;
    if force {
        let pause = &handle.shared.pause;
        pause.refuse("the snapshot is taken and kept here, and goes to nobody now")?;
    }
    let summary = if force {
        out.progress("summarising", 0, 0);
        Some(told(handle.enrich(session).await?))
    } else {
        None
    };
    let held_by = if force {
        held_by(handle, session, version).await
    } else {
        Vec::new()
    };
    let shared = share_of(handle, session).await == Share::Sync;
    if force && shared && held_by.is_empty() && handle.ask(Ask::Connected).await? > 0 {
        return Err(
            ApiError::new(ErrorCode::Incomplete, "no peer has confirmed it yet")
                .hint("it is safe here and travels by itself; see `ccpeer status`"),
        );
    }
    let title = resolve(handle, session.to_string())
        .await
        .ok()
        .and_then(|t| t.heads.last().map(|h| view::title(&h.version.meta)))
        .unwrap_or_default();
    Ok(SnapshotTaken {
        session_id: session.to_string(),
        title,
        held_by,
        summary,
    })
}

fn told(enriched: Enriched) -> SummaryTaken {
    let (result, reason) = match enriched {
        Enriched::Off => ("off", None),
        Enriched::Written => ("written", None),
        Enriched::UpToDate => ("up_to_date", None),
        Enriched::Refused(why) => ("refused", Some(why)),
        Enriched::Failed(why) => ("failed", Some(why)),
    };
    SummaryTaken {
        result: result.to_owned(),
        reason,
    }
}

/// Connected peers that hold all of a version; waits for the first one.
async fn held_by(handle: &Handle, session: SessionId, version: EntryHash) -> Vec<DeviceName> {
    let mut notices = handle.notices();
    let deadline = tokio::time::Instant::now() + HELD_DEADLINE;
    if share_of(handle, session).await != Share::Sync {
        return Vec::new();
    }
    loop {
        let keepers = handle.ask(|to| Ask::Keepers {
            session,
            version,
            to,
        });
        let keepers = keepers.await.unwrap_or_default();
        let connected = handle.ask(Ask::Connected).await.unwrap_or(0);
        if !keepers.is_empty() || connected == 0 {
            return keepers;
        }
        // Any news is a reason to look again; missing some of it is none not to.
        let relevant = async {
            while let Ok(notice) = notices.recv().await {
                if matches!(notice, Notice::Replicated(..)) {
                    return;
                }
            }
        };
        if tokio::time::timeout_at(deadline, relevant).await.is_err() {
            return Vec::new();
        }
    }
}

/// What others may have of it.
async fn share_of(handle: &Handle, session: SessionId) -> Share {
    let ruling = handle.ask(|to| Ask::Ruling(session, to)).await;
    ruling.map_or(Share::Local, |(share, _)| share)
}

async fn newest_here(handle: &Handle) -> Result<SessionId, ApiError> {
    let shared = std::sync::Arc::clone(&handle.shared);
    let found = blocking(move || scan::all_sessions(&shared.home)).await;
    found
        .iter()
        .max_by_key(|f| f.modified)
        .map(|f| f.session)
        .ok_or_else(|| {
            ApiError::new(
                ErrorCode::NotFound,
                "there is no session in Claude Code's directory",
            )
            .hint("start one with `claude`, or check CLAUDE_CONFIG_DIR")
        })
}

/// The local sessions that a selection means.
async fn local(handle: &Handle, selection: &Selection) -> Result<Vec<SessionId>, ApiError> {
    if let Selection::Session { session } = selection {
        let id = match session.parse() {
            Ok(id) => id,
            Err(_) => resolve(handle, session.clone()).await?.session,
        };
        return Ok(vec![id]);
    }
    let shared = std::sync::Arc::clone(&handle.shared);
    let all: Vec<SessionId> = blocking(move || scan::all_sessions(&shared.home))
        .await
        .into_iter()
        .map(|f| f.session)
        .collect();
    let Selection::Project { project } = selection else {
        return Ok(all);
    };
    let heads = handle.ask(Ask::Sessions).await?;
    let wanted: Vec<SessionId> = heads
        .into_iter()
        .filter(|(h, _)| view::is_of_project(&h.version.meta, project))
        .map(|(h, _)| h.version.session)
        .collect();
    let chosen: Vec<SessionId> = all.into_iter().filter(|s| wanted.contains(s)).collect();
    if chosen.is_empty() {
        return Err(ApiError::new(
            ErrorCode::NotFound,
            "no session here belongs to this project",
        )
        .hint("`ccpeer sessions --local` lists sessions with their projects"));
    }
    Ok(chosen)
}
