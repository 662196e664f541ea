//! Looking at and after what is there: `status`, `show`, `sessions`, `undo`.

use std::collections::BTreeSet;
use std::sync::Arc;

use ccpeer_core::id::SessionId;
use ccpeer_formats::snapshot::Snapshot;

use super::{one_head, resolve};
use crate::api::{
    self, ApiError, BasedOn, ErrorCode, Json, Scope, Sections, Summary, TakenBack, Undone,
};
use crate::driver::{Ask, Handle, Head, Listing};
use crate::enrich::program;
use crate::place::PlaceError;
use crate::policy::Policy;
use crate::pool::blocking;
use crate::server::Out;
use crate::{hooks, place, problem, scan, spool, view};

pub(super) async fn status(handle: &Handle) -> Result<api::Status, ApiError> {
    let mut status = handle.ask(Ask::Status).await?;
    let shared = Arc::clone(&handle.shared);
    let (stats, waiting, word) = blocking(move || {
        let word = hooks::status(&shared.home).map_or_else(|_| "missing".to_owned(), |s| s.word());
        (shared.store.stats(), spool::count(&shared.home), word)
    })
    .await;
    match stats {
        Ok(stats) => {
            status.store.bytes = stats.file_bytes;
            status.store.chunks = stats.chunks;
        }
        Err(e) => status.last_error = Some(e.to_string()),
    }
    if !status.peers.is_empty() {
        status.findings.extend(handle.shared.exposed.told());
    }
    status.spool = waiting;
    status.hooks = word;
    if let Some(summary) = &mut status.summary {
        summary.program = summariser(handle).await;
    }
    Ok(status)
}

/// The program that would write summaries, as the agent finds it.
async fn summariser(handle: &Handle) -> Option<String> {
    let shared = Arc::clone(&handle.shared);
    let program = blocking(move || {
        let policy = Policy::load(&shared.store).ok()?;
        let env = |name: &str| std::env::var_os(name);
        program::program(&policy.summary.by, shared.home.user(), &env)
    });
    program.await.map(|p| p.path.display().to_string())
}

pub(super) async fn show(handle: &Handle, task: String) -> Result<api::Show, ApiError> {
    let target = resolve(handle, task).await?;
    let head = one_head(&target)?;
    let snapshot = snapshot(handle, &head).await?;
    let sections = snapshot.sections;
    Ok(api::Show {
        session_id: head.version.session.to_string(),
        device: head.device.clone(),
        written_on: head.writer.clone(),
        title: view::title(&head.version.meta),
        project: view::line(&head.version.meta.project),
        state: view::state_word(head.state).to_owned(),
        last_heard: head.last_heard.map(view::time),
        branch: view::line(&head.version.meta.branch),
        updated: view::time(head.version.meta.updated),
        sections: Sections {
            task: visible(&sections.task),
            done: visible(&sections.done),
            in_progress: visible(&sections.in_progress),
            next_steps: visible(&sections.next_steps),
            files: visible(&sections.files),
            handoff_prompt: visible(&sections.handoff_prompt),
        },
        based_on: BasedOn {
            bytes: snapshot.based_on.bytes,
            records: snapshot.based_on.records,
        },
        enriched: snapshot.enriched,
        records: head.version.meta.records,
    })
}

/// The hand-off document of a head: what is known of it, told in the words of a
/// model where there are some.
pub(super) async fn snapshot(handle: &Handle, head: &Head) -> Result<Snapshot, ApiError> {
    let missing = || {
        ApiError::new(
            ErrorCode::Incomplete,
            "the snapshot of this task is not here yet",
        )
        .hint(format!(
            "start ccpeer on {} or wait for it",
            head.device.name
        ))
    };
    let wanted = head.version.snapshot.ok_or_else(missing)?;
    let store = Arc::clone(&handle.shared.store);
    let content = blocking(move || store.get_chunk(&wanted.id)).await;
    let content = content
        .map_err(|e| problem::store(&e))?
        .ok_or_else(missing)?;
    let facts = Snapshot::from_bytes(&content).map_err(|e| {
        ApiError::new(
            ErrorCode::Refused,
            format!("the snapshot cannot be read: {e}"),
        )
        .hint("`ccpeer continue` brings the session itself")
    })?;
    Ok(match better(handle, head).await {
        Some(prose) if prose.session_id == facts.session_id => facts.told_with(&prose),
        _ => facts,
    })
}

/// A better document that is here and can be read; without it the facts stand.
async fn better(handle: &Handle, head: &Head) -> Option<Snapshot> {
    let document = head.document?;
    let store = Arc::clone(&handle.shared.store);
    let content = blocking(move || store.get_chunk(&document.id)).await;
    Snapshot::from_bytes(&content.ok()??).ok()
}

fn visible(text: &str) -> String {
    ccpeer_core::text::strip(text, ccpeer_core::text::Lines::Keep)
}

pub(super) async fn sessions(
    handle: &Handle,
    scope: Scope,
    project: Option<String>,
) -> Result<Json, ApiError> {
    let listing = Listing {
        local: local_ids(handle).await,
        scope,
        project,
    };
    handle.ask(|to| Ask::SessionList(listing, to)).await?
}

pub(super) async fn local_ids(handle: &Handle) -> BTreeSet<SessionId> {
    let shared = Arc::clone(&handle.shared);
    blocking(move || {
        scan::all_sessions(&shared.home)
            .iter()
            .map(|f| f.session)
            .collect()
    })
    .await
}

/// Takes back the last placement that the user asked for, or the last one of a
/// session.
pub(super) async fn undo(handle: &Handle, task: Option<String>) -> Result<Undone, ApiError> {
    let session = match task {
        Some(task) => resolve(handle, task).await?.session,
        None => {
            let shared = Arc::clone(&handle.shared);
            let next = blocking(move || place::undo_next(&shared.store)).await?;
            next.ok_or(PlaceError::NothingToUndo)?
        }
    };
    take_back(handle, session).await
}

/// Takes back everything that nobody asked for, one failure stopping nothing.
pub(super) async fn undo_unasked(handle: &Handle, out: &Out) -> Result<Summary, ApiError> {
    let shared = Arc::clone(&handle.shared);
    let sessions = blocking(move || place::unasked(&shared.store)).await?;
    let mut summary = Summary::default();
    for session in sessions {
        let item = match take_back(handle, session).await {
            Ok(undone) => {
                summary.done += 1;
                TakenBack {
                    session_id: undone.session_id,
                    restored: undone.restored,
                    removed: undone.removed,
                    reason: None,
                }
            }
            Err(e) => {
                summary.skipped += 1;
                TakenBack {
                    session_id: session.to_string(),
                    restored: 0,
                    removed: 0,
                    reason: Some(e.message),
                }
            }
        };
        out.item(&item).await?;
    }
    Ok(summary)
}

async fn take_back(handle: &Handle, session: SessionId) -> Result<Undone, ApiError> {
    // Files that are half taken back would pass for somebody's work.
    let _turn = handle.shared.placing.lock().await;
    let hold = handle.hold(session).await?;
    let shared = Arc::clone(&handle.shared);
    let undone = blocking(move || place::undo(&shared.store, &shared.home, &session)).await?;
    drop(hold);
    Ok(Undone {
        session_id: undone.session.to_string(),
        restored: undone.restored,
        removed: undone.removed,
    })
}
