//! The rounds that the agent makes by itself, gently and by a monotonic clock:
//! what is not needed any more is collected, the store is written anew where more
//! than half of it holds nothing, what each device takes is counted, and a part of
//! the store is read and checked, all of it in the course of days.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ccpeer_core::id::DeviceId;
use ccpeer_core::manifest::Want;
use ccpeer_core::sync::event::Event;
use ccpeer_core::time::Instant;
use ccpeer_store::{
    CollectPlan, Compacted, Namespace, NoteWrite, Store, StoreError, VerifyPosition,
};

use crate::driver::{Ask, Handle, Input};
use crate::local::LocalState;
use crate::policy::{KEEP_DAYS_MAX, Policy};
use crate::pool::blocking;
use crate::retention::{self, Days};

/// How often a round is made.
const EVERY: Duration = Duration::from_secs(1800);
/// The first one comes this long after a start, when the start is over.
const FIRST: Duration = Duration::from_secs(60);
/// What each device takes is counted this long after a start: it reads every manifest,
/// and who has just started is to be in step with the others first.
const COUNT_AFTER: Duration = Duration::from_secs(2);
/// Rounds in which the whole store is read once: 14 hours with an agent running,
/// so that two hours a day read all of it within a week.
const ROUNDS_FOR_ALL: u64 = 28;
/// The variable by which tests make all of this happen within seconds.
const HURRY: &str = "CCPEER_HURRY";
/// Bytes read in one go, and the pause after it.
const STEP: (u64, Duration) = (4 * 1024 * 1024, Duration::from_millis(50));
/// Key in [`Namespace::Setting`] of how far the check has got.
const CHECKED: &[u8] = b"checked";

/// How fast rounds follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pace {
    first: Duration,
    every: Duration,
    /// Rounds, and the time that is counted in them, take a second where they take
    /// this many otherwise, and each of them writes the store anew.
    hurry: Option<u32>,
}

impl Pace {
    /// As always, or as a test wants it.
    fn of(hurry: Option<&str>) -> Self {
        let hurry: Option<u32> = hurry.and_then(|n| n.parse().ok()).filter(|n| *n > 0);
        let times = hurry.unwrap_or(1);
        Self {
            first: FIRST / times,
            every: EVERY / times,
            hurry,
        }
    }

    /// What a stretch of time counts for.
    fn counts(self, passed: Duration) -> Duration {
        passed.saturating_mul(self.hurry.unwrap_or(1))
    }
}

/// How many times faster time passes, where a test wants that.
pub(crate) fn hurry() -> Option<u32> {
    Pace::of(std::env::var(HURRY).ok().as_deref()).hurry
}

/// Makes rounds until the agent ends. Returns by being dropped.
pub(crate) async fn rounds(handle: Handle, started: std::time::Instant) {
    if let Err(e) = start(&handle).await {
        tracing::warn!(error = %e.message, "cannot count what each device takes");
    }
    let pace = Pace::of(std::env::var(HURRY).ok().as_deref());
    if pace.hurry.is_some() {
        tracing::warn!("{HURRY} is set: time runs fast for what is kept, which is for tests alone");
    }
    tokio::time::sleep(pace.first).await;
    let mut last = started;
    loop {
        let now = std::time::Instant::now();
        let passed = pace.counts(now.duration_since(last)).min(2 * EVERY);
        last = now;
        let since = pace.counts(now.duration_since(started));
        if let Err(e) = one(&handle, ms(passed), Instant(ms(since)), pace).await {
            tracing::warn!(error = %e.message, "a round was not finished");
        }
        tokio::time::sleep(pace.every).await;
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

async fn one(
    handle: &Handle,
    passed_ms: u64,
    now: Instant,
    pace: Pace,
) -> Result<(), crate::api::ApiError> {
    collect(handle, passed_ms, now).await?;
    write_anew(handle, pace).await?;
    limit(handle).await?;
    count(handle).await?;
    check(handle).await
}

/// Gives back to the system what the store does not need.
async fn write_anew(handle: &Handle, pace: Pace) -> Result<(), crate::api::ApiError> {
    let (store, tx) = (Arc::clone(&handle.shared.store), handle.tx.clone());
    let written = blocking(move || {
        if pace.hurry.is_none() && !store.is_wasteful()? {
            return Ok(Compacted::default());
        }
        // It stops when the agent ends, and nothing has happened then.
        store.compact(&mut || !tx.is_closed())
    });
    match written.await {
        Ok(done) if done.finished => {
            tracing::info!(
                before = done.before,
                after = done.after,
                "store written anew"
            );
            Ok(())
        }
        Ok(_) => Ok(()),
        // There may be no room for two; the store is as it was.
        Err(e) if e.is_transient() => {
            tracing::warn!(error = %e, "the store cannot be written anew");
            Ok(())
        }
        Err(e) => Err(crate::problem::store(&e)),
    }
}

/// Lets go what the policy does not keep.
async fn collect(
    handle: &Handle,
    passed_ms: u64,
    now: Instant,
) -> Result<(), crate::api::ApiError> {
    let known = handle.ask(Ask::Known).await?;
    let store = Arc::clone(&handle.shared.store);
    let prepared = blocking(move || {
        let policy = Policy::load(&store)?;
        let keep = policy.keep_days.unwrap_or(KEEP_DAYS_MAX);
        let days: Days = retention::pass_time(&store, passed_ms, &known, keep)?;
        match policy.keep_days {
            // For ever: nothing is old.
            None => Ok(retention::Known::new()),
            Some(keep) => retention::known_before(&store, days, keep),
        }
    });
    let old = prepared.await.map_err(|e| crate::problem::store(&e))?;
    let lines = handle.ask(|to| Ask::Lines(old, to)).await?;
    let (store, tx) = (Arc::clone(&handle.shared.store), handle.tx.clone());
    let collected = blocking(move || {
        let mut roots = retention::needed(&store, &lines)?;
        roots.extend(placed(&store)?);
        // It stops when the agent ends; the next round goes on.
        store.collect(&CollectPlan::new(roots, now), &mut || !tx.is_closed())
    });
    let collected = collected.await.map_err(|e| crate::problem::store(&e))?;
    if collected.freed > 0 {
        tracing::info!(
            chunks = collected.freed,
            bytes = collected.freed_bytes,
            "collected"
        );
    }
    let mut gone: BTreeSet<_> = collected.withdrawn.into_iter().collect();
    if !gone.is_empty() {
        let event = Event::Forgotten(gone.iter().copied().collect());
        handle.send(Input::Machine(Box::new(event))).await?;
    }
    if !collected.obscured.is_empty() {
        // Damage hides what is needed: it is fetched again, of older versions too.
        gone.extend(collected.obscured.into_iter().filter(|w| w.kind.is_root()));
        for want in gone {
            let event = Event::Need(want);
            handle.send(Input::Machine(Box::new(event))).await?;
        }
    }
    Ok(())
}

/// What the files in Claude Code's directory here stand for.
fn placed(store: &Store) -> Result<Vec<Want>, StoreError> {
    let states = LocalState::load_all(store)?;
    let manifests = states.into_iter().filter_map(|(_, s)| s.manifest);
    Ok(manifests.map(|m| Want::manifest(m.id)).collect())
}

/// What holds from the start, and what is counted a little later.
async fn start(handle: &Handle) -> Result<(), crate::api::ApiError> {
    limit(handle).await?;
    tokio::time::sleep(COUNT_AFTER).await;
    count(handle).await
}

/// Tells the machine how much each device may take.
async fn limit(handle: &Handle) -> Result<(), crate::api::ApiError> {
    let store = Arc::clone(&handle.shared.store);
    let policy = blocking(move || Policy::load(&store)).await;
    let policy = policy.map_err(|e| crate::problem::store(&e))?;
    let quotas = handle.ask(|to| Ask::Quotas(policy, to)).await?;
    let event = Event::Quotas(quotas);
    handle.send(Input::Machine(Box::new(event))).await
}

/// Tells the machine how much is here because of whom.
async fn count(handle: &Handle) -> Result<(), crate::api::ApiError> {
    let authors = handle.ask(Ask::Authors).await?;
    let store = Arc::clone(&handle.shared.store);
    let charges = blocking(move || store.charges(&authors)).await;
    let me: DeviceId = handle.shared.me;
    let charged = charges
        .map_err(|e| crate::problem::store(&e))?
        .into_iter()
        .filter(|(device, _)| *device != me)
        .map(|(device, charge)| (device, charge.raw_bytes))
        .collect();
    let event = Event::Charged(charged);
    handle.send(Input::Machine(Box::new(event))).await
}

/// Reads on where the last round stopped.
async fn check(handle: &Handle) -> Result<(), crate::api::ApiError> {
    let store = Arc::clone(&handle.shared.store);
    let begun = blocking(move || {
        let at = match store.note(Namespace::Setting, CHECKED) {
            Err(StoreError::Corrupt { .. }) => None,
            other => other?,
        };
        let position = at.and_then(|bytes| VerifyPosition::from_bytes(&bytes));
        Ok::<_, StoreError>((position, store.stats()?.raw_bytes))
    });
    let (mut position, total) = begun.await.map_err(|e| crate::problem::store(&e))?;
    let mut left = (total / ROUNDS_FOR_ALL).max(STEP.0);
    let mut damaged = 0;
    loop {
        let (store, from) = (Arc::clone(&handle.shared.store), position.take());
        let step = blocking(move || store.verify_step(from, STEP.0)).await;
        let (report, next) = step.map_err(|e| crate::problem::store(&e))?;
        damaged += report.problems.len();
        position = next;
        left = left.saturating_sub(STEP.0);
        if left == 0 || position.is_none() {
            break;
        }
        tokio::time::sleep(STEP.1).await;
    }
    let store = Arc::clone(&handle.shared.store);
    let note = NoteWrite {
        ns: Namespace::Setting,
        key: CHECKED.to_vec(),
        value: position.map(|p| p.to_bytes()),
    };
    let kept = blocking(move || store.put_notes(&[note])).await;
    kept.map_err(|e| crate::problem::store(&e))?;
    if damaged > 0 {
        tracing::warn!(
            damaged,
            "damage was found and is made good where a device can"
        );
    }
    // Also what was found damaged by whoever read it since the last round: it is
    // struck off at once, and wanted again from here on.
    let (tx, _nobody_waits) = tokio::sync::oneshot::channel();
    handle.send(Input::Recheck(tx)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_number_makes_time_run_faster() {
        let usual = Pace {
            first: FIRST,
            every: EVERY,
            hurry: None,
        };
        for unset in [None, Some(""), Some("0"), Some("-3"), Some("soon")] {
            assert_eq!(Pace::of(unset), usual);
        }
        assert_eq!(usual.counts(EVERY), EVERY);
        let fast = Pace::of(Some("1800"));
        assert_eq!(fast.every, Duration::from_secs(1));
        assert_eq!(fast.counts(Duration::from_secs(2)), 2 * EVERY);
    }
}
