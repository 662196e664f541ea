//! `verify`: looks at everything in the store, and has what is damaged brought
//! back from the devices that hold it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ccpeer_core::id::ChunkId;
use ccpeer_core::manifest::Want;
use ccpeer_core::sync::effect::Notice;
use ccpeer_store::{ProblemKind, StoreError, VerifyReport};
use tokio::sync::broadcast::error::RecvError;

use crate::api::{ApiError, Checked, Problem, Verified};
use crate::driver::{Ask, Handle, Input};
use crate::pool::blocking;
use crate::problem;
use crate::server::Out;

/// A repair that makes no headway for this long is left to go on by itself.
const STALLED: Duration = Duration::from_secs(15);
/// How long a repair is watched at most.
const REPAIR_MAX: Duration = Duration::from_secs(600);
/// How often its headway is looked at where no version has become whole.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Runs the check and the repair.
pub(super) async fn verify(
    handle: &Handle,
    out: &Out,
    read_data: bool,
) -> Result<Verified, ApiError> {
    let report = look(handle, out, read_data, "checking").await?;
    let damaged: BTreeSet<ChunkId> = of_kind(&report, ProblemKind::Chunk);
    let lost = recheck(handle).await?;
    if report.problems.is_empty() && lost.is_empty() {
        return Ok(told(&report, Vec::new()));
    }
    let left = repair(handle, out, &damaged, lost).await?;
    // What was damaged in the file's structure may have been replaced by now.
    let again = if report.problems.iter().all(|p| is_content(p.kind)) {
        None
    } else {
        Some(look(handle, out, read_data, "checking again").await?)
    };
    let may_come = someone_may_hold(handle, &left).await?;
    let here = complete(handle).await?;
    let held = held(handle, &damaged).await?;
    let mut problems: Vec<Problem> = Vec::new();
    for p in &report.problems {
        let repaired = match (p.kind, p.id.parse::<ChunkId>()) {
            // With every version whole again, nothing refers to it any more.
            (ProblemKind::Chunk, Ok(id)) => held.contains(&id) || left.is_empty(),
            (ProblemKind::Manifest, _) => p.root.is_some_and(|root| here.contains(&root)),
            _ => again
                .as_ref()
                .is_some_and(|a| !a.problems.iter().any(|q| q.kind == p.kind && q.id == p.id)),
        };
        problems.push(Problem {
            kind: p.kind.as_str().to_owned(),
            id: p.id.clone(),
            what: p.what.clone(),
            repairable: p.repairable && (repaired || !is_content(p.kind) || may_come),
            repaired,
        });
    }
    // Versions of ours that were found broken earlier and are not back yet.
    for want in left {
        let id = want.id.to_string();
        if !problems.iter().any(|p| p.id == id) {
            problems.push(Problem {
                kind: ProblemKind::Manifest.as_str().to_owned(),
                id,
                what: "not all of it is here".to_owned(),
                repairable: may_come,
                repaired: false,
            });
        }
    }
    Ok(told(&report, problems))
}

/// What another device can give back: everything but what only this one knows.
fn is_content(kind: ProblemKind) -> bool {
    matches!(kind, ProblemKind::Chunk | ProblemKind::Manifest)
}

fn told(report: &VerifyReport, problems: Vec<Problem>) -> Verified {
    let repaired = problems.iter().filter(|p| p.repaired).count() as u64;
    let lost = problems
        .iter()
        .filter(|p| !p.repaired && !p.repairable)
        .count() as u64;
    Verified {
        ok: problems.iter().all(|p| p.repaired),
        checked: Checked {
            entries: report.entries,
            chunks: report.chunks,
            bytes: report.bytes,
        },
        problems,
        repaired,
        lost,
    }
}

async fn look(
    handle: &Handle,
    out: &Out,
    read_data: bool,
    what: &'static str,
) -> Result<VerifyReport, ApiError> {
    let store = Arc::clone(&handle.shared.store);
    let mut meter = out.meter(what);
    let report = blocking(move || store.verify(read_data, &mut meter)).await;
    report.map_err(|e| problem::store(&e))
}

/// Versions that are not whole any more; they are wanted again from here on.
async fn recheck(handle: &Handle) -> Result<Vec<Want>, ApiError> {
    let (tx, rx) = tokio::sync::oneshot::channel();
    handle.send(Input::Recheck(tx)).await?;
    // The store could not be read; the check will have said so.
    Ok(rx.await.unwrap_or_default())
}

/// Watches until everything is back, nothing moves any more, or time is up.
/// Returns what is not back.
async fn repair(
    handle: &Handle,
    out: &Out,
    damaged: &BTreeSet<ChunkId>,
    mut lost: Vec<Want>,
) -> Result<Vec<Want>, ApiError> {
    let total = lost.len() + damaged.len();
    let begun = Instant::now();
    let (mut moved, mut best) = (begun, usize::MAX);
    let mut notices = handle.notices();
    loop {
        let here = complete(handle).await?;
        lost.retain(|want| !here.contains(want));
        if lost.is_empty() {
            return Ok(lost);
        }
        let missing = lost.len() + damaged.len() - held(handle, damaged).await?.len();
        if missing < best {
            (best, moved) = (missing, Instant::now());
        }
        out.progress(
            "repairing",
            total.saturating_sub(missing) as u64,
            total as u64,
        );
        let alone = handle.ask(Ask::Connected).await? == 0;
        if alone || moved.elapsed() > STALLED || begun.elapsed() > REPAIR_MAX {
            return Ok(lost);
        }
        let look = tokio::time::sleep(LOOK_EVERY);
        tokio::pin!(look);
        loop {
            tokio::select! {
                () = &mut look => break,
                () = out.closed() => return Ok(lost),
                notice = notices.recv() => match notice {
                    Ok(Notice::Complete(..)) | Err(RecvError::Lagged(_)) => break,
                    Ok(_) => {}
                    Err(RecvError::Closed) => return Ok(lost),
                },
            }
        }
    }
}

/// Whether what is not back may still come: somebody holds it now, or is away
/// and may hold it.
async fn someone_may_hold(handle: &Handle, left: &[Want]) -> Result<bool, ApiError> {
    let devices = handle.ask(Ask::Devices).await?;
    let away = devices
        .iter()
        .any(|d| d.trust == "paired" && d.state == "offline");
    if away {
        return Ok(true);
    }
    for want in left {
        if !handle.ask(|to| Ask::Holders(*want, to)).await?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn complete(handle: &Handle) -> Result<BTreeSet<Want>, ApiError> {
    let store = Arc::clone(&handle.shared.store);
    let here = blocking(move || store.complete()).await;
    here.map_err(|e| problem::store(&e))
}

async fn held(handle: &Handle, damaged: &BTreeSet<ChunkId>) -> Result<BTreeSet<ChunkId>, ApiError> {
    let (store, ids) = (Arc::clone(&handle.shared.store), damaged.clone());
    let found = blocking(move || {
        let list: Vec<ChunkId> = ids.into_iter().collect();
        let has = store.has(&list)?;
        Ok::<_, StoreError>(
            list.into_iter()
                .zip(has)
                .filter(|(_, h)| *h)
                .collect::<Vec<_>>(),
        )
    });
    let found = found.await.map_err(|e| problem::store(&e))?;
    Ok(found.into_iter().map(|(id, _)| id).collect())
}

fn of_kind(report: &VerifyReport, kind: ProblemKind) -> BTreeSet<ChunkId> {
    let of_kind = report.problems.iter().filter(|p| p.kind == kind);
    of_kind.filter_map(|p| p.id.parse().ok()).collect()
}
