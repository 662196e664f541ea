//! The pause: for as long as the user wants, nothing is exchanged with another
//! device, and nothing leaves for a git mirror or a client of `ccpeer serve`. What
//! happens on this machine alone goes on as ever.
//!
//! It is counted how long it lasts; the wall clock is a label and has no say, so
//! that a step of it neither ends a pause nor keeps one. Time counts while the
//! machine runs or sleeps, with or without an agent; while it is off it does not.
//! Must not know how links are ended, nor what a mirror is.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ccpeer_core::time::Timestamp;
use ccpeer_store::{Namespace, NoteWrite, Store, StoreError};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::api::{ApiError, ErrorCode, PAUSE_S_MAX, Paused};
use crate::driver::{Handle, wall};
use crate::pool::blocking;
use crate::{problem, view, wake};

/// Key in [`Namespace::Setting`].
const KEY: &[u8] = b"pause";
/// How often it is looked whether it is over: a timer stands still while the
/// machine sleeps.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How often it is written down how much is left: so much longer it lasts at most
/// where the machine loses its power.
const KEEP_EVERY_MS: u64 = 5 * 60 * 1000;

/// A moment in the life of this machine, from one start of it to the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Moment {
    /// Which life.
    boot: String,
    /// Milliseconds in it, sleep included.
    ticks_ms: u64,
}

impl Moment {
    fn now() -> Self {
        let ticks = wake::running_for().as_millis();
        Self {
            boot: wake::boot(),
            ticks_ms: u64::try_from(ticks).unwrap_or(u64::MAX),
        }
    }

    /// Milliseconds since an earlier one; none of what lies before this life.
    fn since(&self, earlier: &Self) -> u64 {
        match self.boot == earlier.boot {
            true => self.ticks_ms.saturating_sub(earlier.ticks_ms),
            false => 0,
        }
    }
}

/// A pause, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Pause {
    /// Milliseconds that were left at this moment; none: until the user ends it.
    left_ms: Option<u64>,
    at: Moment,
    /// When it is over by the wall clock: a label.
    until_ms: Option<u64>,
}

impl Pause {
    fn new(left_ms: Option<u64>, at: Moment, wall: Timestamp) -> Self {
        Self {
            left_ms,
            at,
            until_ms: left_ms.map(|left| wall.0.saturating_add(left)),
        }
    }

    /// What is left of it; none where it has no end of its own.
    fn left_ms(&self, now: &Moment) -> Option<u64> {
        Some(self.left_ms?.saturating_sub(now.since(&self.at)))
    }

    fn note(pause: Option<&Self>) -> NoteWrite {
        NoteWrite {
            ns: Namespace::Setting,
            key: KEY.to_vec(),
            value: pause.and_then(|p| serde_json::to_vec(p).ok()),
        }
    }
}

/// Whether there is a pause, for everybody who asks.
pub(crate) struct Pausing {
    state: Mutex<Option<Pause>>,
    changed: Notify,
    /// It begins and ends one at a time.
    turn: tokio::sync::Mutex<()>,
}

impl Pausing {
    /// As it was kept. One that cannot be read has no end: nothing leaves because
    /// of a damaged note.
    pub(crate) fn load(store: &Store) -> Result<Self, StoreError> {
        let unread = || Pause::new(None, Moment::now(), wall());
        let pause = match store.note(Namespace::Setting, KEY) {
            Ok(None) => None,
            Ok(Some(value)) => Some(serde_json::from_slice(&value).unwrap_or_else(|_| unread())),
            Err(StoreError::Corrupt { .. }) => Some(unread()),
            Err(e) => return Err(e),
        };
        // One that ended while no agent ran is over.
        let over = |p: &Pause| p.left_ms(&Moment::now()) == Some(0);
        Ok(Self {
            state: Mutex::new(pause.filter(|p| !over(p))),
            changed: Notify::new(),
            turn: tokio::sync::Mutex::new(()),
        })
    }

    fn state(&self) -> MutexGuard<'_, Option<Pause>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_on(&self) -> bool {
        self.state().is_some()
    }

    /// What is told of it.
    pub(crate) fn told(&self) -> Option<Paused> {
        let state = self.state();
        let until = state.as_ref()?.until_ms;
        Some(Paused {
            until: until.map(|ms| view::time(Timestamp(ms / 1000 * 1000))),
        })
    }

    /// The refusal of what needs somebody else: "…, because ccpeer is paused".
    ///
    /// # Errors
    /// While there is a pause.
    pub(crate) fn refuse(&self, what: &str) -> Result<(), ApiError> {
        self.told().map_or(Ok(()), |paused| {
            let until = paused.until.as_deref().map(view::text_time);
            let until = until.map_or_else(String::new, |at| format!(" until {at}"));
            Err(ApiError::new(
                ErrorCode::Paused,
                format!("{what}: ccpeer is paused{until}"),
            )
            .hint("`ccpeer resume` ends the pause"))
        })
    }
}

/// Begins one, or gives the one that there is another end. Nothing is exchanged any
/// more when this returns, and it is durable that it is so.
pub(crate) async fn begin(handle: &Handle, seconds: Option<u64>) -> Result<(), ApiError> {
    if seconds.is_some_and(|s| s == 0 || s > PAUSE_S_MAX) {
        return Err(
            ApiError::new(ErrorCode::Usage, "a pause is one second to 30 days long")
                .hint("without a duration it lasts until `ccpeer resume`"),
        );
    }
    let pausing = &handle.shared.pause;
    let _turn = pausing.turn.lock().await;
    let left = seconds.map(|s| s.saturating_mul(1000));
    let pause = Pause::new(left, Moment::now(), wall());
    keep(handle, Some(&pause)).await?;
    *pausing.state() = Some(pause);
    pausing.changed.notify_one();
    handle.shared.net.pause().await;
    tracing::info!(seconds, "paused");
    Ok(())
}

/// Ends it, if there is one.
pub(crate) async fn end(handle: &Handle) -> Result<(), ApiError> {
    let pausing = &handle.shared.pause;
    let _turn = pausing.turn.lock().await;
    if !pausing.is_on() {
        return Ok(());
    }
    keep(handle, None).await?;
    *pausing.state() = None;
    pausing.changed.notify_one();
    handle.shared.net.resume();
    tracing::info!("no longer paused");
    Ok(())
}

async fn keep(handle: &Handle, pause: Option<&Pause>) -> Result<(), ApiError> {
    let (store, note) = (Arc::clone(&handle.shared.store), Pause::note(pause));
    let kept = blocking(move || store.put_notes(&[note])).await;
    kept.map_err(|e| problem::store(&e))
}

/// Ends pauses whose time is over, until the agent ends. Returns by being dropped.
pub(crate) async fn run(handle: Handle) {
    let pausing = &handle.shared.pause;
    loop {
        let pause = pausing.state().clone();
        let now = Moment::now();
        let left = pause.as_ref().and_then(|p| p.left_ms(&now));
        match (pause, left) {
            (Some(pause), Some(left)) if left > 0 => {
                if now.since(&pause.at) >= KEEP_EVERY_MS || pause.at.boot != now.boot {
                    go_on(&handle, &pause, left, now).await;
                }
                let wait = LOOK_EVERY.min(Duration::from_millis(left));
                let changed = pausing.changed.notified();
                let _sooner = tokio::time::timeout(wait, changed).await;
            }
            (Some(_), Some(_)) => {
                if let Err(e) = end(&handle).await {
                    tracing::warn!(error = %e.message, "a pause is over and cannot be ended");
                    tokio::time::sleep(LOOK_EVERY).await;
                }
            }
            _ => pausing.changed.notified().await,
        }
    }
}

/// Writes down how much is left of it by now.
async fn go_on(handle: &Handle, before: &Pause, left_ms: u64, now: Moment) {
    let pausing = &handle.shared.pause;
    let _turn = pausing.turn.lock().await;
    // Somebody may have ended it, or begun another.
    if pausing.state().as_ref() != Some(before) {
        return;
    }
    let pause = Pause::new(Some(left_ms), now, wall());
    if let Err(e) = keep(handle, Some(&pause)).await {
        tracing::warn!(error = %e.message, "what is left of a pause is not kept");
    }
    *pausing.state() = Some(pause);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::World;

    fn at(boot: &str, ticks_s: u64) -> Moment {
        Moment {
            boot: boot.to_owned(),
            ticks_ms: ticks_s * 1000,
        }
    }

    #[test]
    fn a_pause_is_as_long_as_the_machine_runs_and_no_clock_step_matters() {
        let hour = 3600;
        let pause =
            |wall_s: u64| Pause::new(Some(hour * 1000), at("a", 100), Timestamp(wall_s * 1000));
        let check = |now: Moment, want_s: u64| {
            // Whatever the wall clock showed when it began.
            for wall in [0, 1_795_000_000, u64::MAX / 1000] {
                assert_eq!(pause(wall).left_ms(&now), Some(want_s * 1000), "{now:?}");
            }
        };
        check(at("a", 100), hour);
        check(at("a", 100 + hour / 2), hour / 2);
        check(at("a", 100 + hour), 0);
        check(at("a", 100 + 24 * hour), 0);
        // A clock that stands behind where it was gives no time away.
        check(at("a", 50), hour);
        // The machine was off: what was left is left.
        check(at("b", 9 * hour), hour);
        assert_eq!(
            Pause::new(None, at("a", 0), Timestamp(0)).left_ms(&at("a", 9)),
            None
        );
    }

    #[test]
    fn it_is_kept_and_what_cannot_be_read_stays_paused() {
        let world = World::in_memory("ann");
        let load = || Pausing::load(&world.store).unwrap();
        assert!(!load().is_on());
        assert!(load().refuse("x").is_ok());
        let put = |note: NoteWrite| world.store.put_notes(&[note]).unwrap();
        let lasting = Pause::new(Some(60_000), Moment::now(), Timestamp(1_795_000_000_000));
        put(Pause::note(Some(&lasting)));
        let told = load().told().unwrap();
        assert_eq!(told.until.as_deref(), Some("2026-11-18T11:07:40.000Z"));
        let refused = load().refuse("nothing is sent").unwrap_err();
        assert_eq!(refused.code, ErrorCode::Paused);
        assert!(
            refused.message.contains("until 2026-11-18 11:07 UTC"),
            "{refused:?}"
        );
        let over = Pause::new(Some(0), Moment::now(), Timestamp(0));
        put(Pause::note(Some(&over)));
        assert!(!load().is_on(), "its time was over while no agent ran");
        put(NoteWrite {
            value: Some(b"{".to_vec()),
            ..Pause::note(None)
        });
        assert_eq!(load().told(), Some(Paused { until: None }));
        put(Pause::note(None));
        assert!(!load().is_on());
    }
}
