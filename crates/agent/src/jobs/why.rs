//! `why`: everything that is known here of one session, as values and as
//! sentences.

use std::sync::Arc;

use super::resolve;
use crate::api::{ApiError, Why, WhyVersion};
use crate::driver::{Ask, Handle, Head};
use crate::pool::blocking;
use crate::{live, scan, view};

/// Says why a session is here, or why it is not.
pub(super) async fn why(handle: &Handle, session: String) -> Result<Why, ApiError> {
    let target = resolve(handle, session).await?;
    let shared = Arc::clone(&handle.shared);
    let session = target.session;
    let (found, live) = blocking(move || {
        let live = live::live_sessions(&shared.home)
            .get(&session)
            .map(|l| l.pid);
        (scan::find_session(&shared.home, &session), live)
    })
    .await;
    let path = found.first().map(|f| f.transcript.display().to_string());
    let mut lines = Vec::new();
    match &path {
        Some(path) => lines.push(format!("It lies here: {path}.")),
        None => lines.push("It does not lie in Claude Code's directory here.".to_owned()),
    }
    if live.is_some() {
        lines.push("A process here has it open; ccpeer does not touch it.".to_owned());
    }
    let mut versions = Vec::new();
    for head in &target.heads {
        versions.push(version(handle, head).await?);
    }
    Ok(Why {
        session_id: session.to_string(),
        title: target
            .heads
            .last()
            .map(|h| view::title(&h.version.meta))
            .unwrap_or_default(),
        project: target
            .heads
            .last()
            .map(|h| view::line(&h.version.meta.project))
            .unwrap_or_default(),
        lines,
        listed: target
            .heads
            .iter()
            .any(|h| view::is_unfinished(h.state, &h.version.meta)),
        versions,
        presence: Vec::new(),
        baton: None,
        path,
        project_dir: None,
        open_by: live,
        next: None,
    })
}

async fn version(handle: &Handle, head: &Head) -> Result<WhyVersion, ApiError> {
    let (mut missing, mut known, mut held_by) = (0, 0, Vec::new());
    if let Some(manifest) = head.version.manifest {
        (_, missing, known) = handle.ask(|to| Ask::Progress(manifest.id, to)).await?;
        held_by = handle.ask(|to| Ask::Holders(manifest.id, to)).await?;
    }
    Ok(WhyVersion {
        version: head.id.to_string(),
        device: head.device.clone(),
        updated: view::time(head.version.meta.updated),
        complete: head.complete,
        missing,
        known,
        held_by,
    })
}
