//! What the two programs before kept in the repository: each hand-off file becomes
//! a task, each bundle a session. One that fails is told and stops nothing.

use std::collections::BTreeSet;

use ccpeer_core::entry::{Payload, Version};
use ccpeer_core::id::{EntryHash, SessionId};
use ccpeer_core::limits;
use ccpeer_formats::bundle_v1::Bounds;

use super::candidate;
use crate::api::{ApiError, GitImported, Imported};
use crate::driver::{Ask, Handle, Held};
use crate::intake::{self, NotTaken};
use crate::mirror::MirrorError;
use crate::mirror::found::Place;
use crate::mirror::theirs::{FoundBundle, Theirs};
use crate::pool::blocking;
use crate::server::Out;
use crate::view;

pub(super) async fn take_over(
    handle: &Handle,
    out: &Out,
    theirs: Theirs,
    place: &Place,
    mut told: BTreeSet<SessionId>,
    done: &mut GitImported,
) -> Result<(), ApiError> {
    let total = theirs.bundles.len() as u64;
    // Before the documents: those say nothing new of a session that is here.
    for (bundle, n) in theirs.bundles.into_iter().zip(1..) {
        let row = match session(handle, place, &bundle).await {
            Ok(row) => row,
            Err(Left::Over(why)) => failed(bundle.path, Some(bundle.session), why),
            Err(Left::All(e)) => return Err(e),
        };
        tell(out, row, &mut told, done).await?;
        out.progress("importing", n, total);
    }
    for version in theirs.documents {
        let row = task(handle, version).await?;
        tell(out, row, &mut told, done).await?;
    }
    for (path, why) in theirs.failed {
        tell(out, failed(path, None, why), &mut told, done).await?;
    }
    Ok(())
}

/// Why a bundle was not taken.
enum Left {
    /// The others are taken all the same.
    Over(String),
    /// None will be.
    All(ApiError),
}

impl From<ApiError> for Left {
    fn from(error: ApiError) -> Self {
        Self::All(error)
    }
}

async fn session(handle: &Handle, place: &Place, bundle: &FoundBundle) -> Result<Imported, Left> {
    let _turn = handle.shared.serving.bundles.lock().await;
    let (place, node, tx) = (place.clone(), bundle.node.clone(), handle.tx.clone());
    let packed = blocking(move || {
        let stop = || tx.is_closed();
        place.open(&stop).repo.read_one(&node)
    });
    let packed = packed
        .await
        .map_err(|e| Left::All(MirrorError::Git(e).into()))?;
    match intake::take_in(handle, bundle.session, packed, Bounds::default()).await {
        Ok(taken) => Ok(Imported {
            session_id: bundle.session.to_string(),
            title: taken.title,
            result: if taken.result == "known" {
                "known"
            } else {
                "session"
            }
            .to_owned(),
            reason: None,
        }),
        Err(NotTaken::Bundle(e)) => Err(Left::Over(e.to_string())),
        Err(NotTaken::Content(e)) => Err(Left::Over(e.to_string())),
        Err(NotTaken::Other(e)) => Err(Left::All(e)),
    }
}

/// States a document unless the session is here or it was said before. It takes the
/// place of what another file said of the session.
async fn task(handle: &Handle, mut version: Version) -> Result<Imported, ApiError> {
    let session = version.session;
    let mut row = Imported {
        session_id: session.to_string(),
        title: view::title(&version.meta),
        result: "known".to_owned(),
        reason: None,
    };
    let candidates = vec![candidate(None, &version)];
    let said = handle.ask(|to| Ask::SaidAlready(candidates, to)).await?;
    if said != [true] {
        version.parents = lines(handle, session).await?;
        handle.append(Payload::Version(version)).await?;
        row.result = "task".to_owned();
    }
    Ok(row)
}

async fn lines(handle: &Handle, session: SessionId) -> Result<Vec<EntryHash>, ApiError> {
    let held = handle.ask(|to| Ask::Held(Some(session), to)).await?;
    let lines = held.into_iter().flatten();
    let ids = lines.map(|Held { head, .. }| head.id);
    Ok(ids.take(limits::PARENTS_MAX).collect())
}

fn failed(path: String, session: Option<SessionId>, why: String) -> Imported {
    Imported {
        session_id: session.map(|s| s.to_string()).unwrap_or_default(),
        title: path,
        result: "failed".to_owned(),
        reason: Some(why),
    }
}

/// Tells and counts one. A session of which something was said already is not known
/// once more by its other files.
async fn tell(
    out: &Out,
    row: Imported,
    told: &mut BTreeSet<SessionId>,
    done: &mut GitImported,
) -> Result<(), ApiError> {
    let session = row.session_id.parse().ok();
    let new = session.is_none_or(|s| told.insert(s));
    if row.result == "known" && !new {
        return Ok(());
    }
    match row.result.as_str() {
        "session" => done.sessions += 1,
        "task" => done.tasks += 1,
        "known" => done.known += 1,
        _ => {
            tracing::warn!(file = row.title, why = row.reason, "not taken over");
            done.failed += 1;
        }
    }
    out.item(&row).await
}
