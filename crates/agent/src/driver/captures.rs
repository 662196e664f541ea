//! Captures: many triggers, one at a time for a session, few at once, hooks
//! before sweeps.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use ccpeer_core::entry::{ContentRef, Payload, Presence, Version};
use ccpeer_core::id::{EntryHash, SessionId};
use ccpeer_core::presence::{EndReason, SessionState};
use ccpeer_core::time::Timestamp;
use ccpeer_store::StoreError;
use tokio::sync::oneshot;

use super::effects::With;
use super::{Driver, Input, wall};
use crate::api::ApiError;
use crate::capture::{self, CaptureError, CaptureRequest, Captured, NewVersion};
use crate::local::LocalState;
use crate::pool::blocking;
use crate::states::{self, Word};
use crate::{place, scan};

/// Captures that run at once. They read and hash; two keep both cores busy.
const RUNNING_MAX: usize = 2;
/// Claude Code still writes to the transcript after a Stop or SessionEnd hook, so
/// it is looked at again this long after. Measured: the last reply up to 90 ms
/// late, the hook's own record right after the hook, and more bookkeeping when
/// the program ends.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// See above: when its files have settled.
const SETTLED: Duration = Duration::from_millis(2500);
/// A session found by a sweep whose end nobody saw counts as interrupted if it
/// changed within this long; older ones are history, not tasks.
const INTERRUPTED_MS_MAX: u64 = 72 * 3600 * 1000;

/// Why a session is captured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cause {
    /// A Stop hook, with the last reply, which may not be in the file yet.
    Stop(Option<String>),
    /// Another hook that says that the files changed.
    Hook,
    /// Once more after a hook, when the files have settled.
    Settled,
    /// The user or a job asked.
    Asked,
    /// Found by a sweep; when it last changed.
    Sweep(Timestamp),
}

/// What a capture came to, for those who wait for it.
#[derive(Debug, Clone)]
pub(crate) enum CaptureDone {
    /// A new version is durable.
    New(EntryHash),
    /// Nothing changed since this version.
    Unchanged(Option<EntryHash>),
    /// The session is not in Claude's directory.
    Absent,
    /// It did not work.
    Failed(ApiError),
}

/// As it comes back from the blocking pool.
pub(crate) type Outcome = Result<Captured, CaptureError>;

/// One session that a sweep saw.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Swept {
    pub(crate) session: SessionId,
    pub(crate) modified: Timestamp,
}

/// Waiting and running captures.
#[derive(Default)]
pub(super) struct Captures {
    urgent: VecDeque<SessionId>,
    patient: VecDeque<SessionId>,
    jobs: BTreeMap<SessionId, Job>,
    running: BTreeSet<SessionId>,
    /// Captures that began while the event that asks for them was being written
    /// down, and what they came to; concluded when it is heeded.
    early: BTreeMap<SessionId, Option<Outcome>>,
    /// Sessions whose files are being changed by ourselves, by how many jobs.
    held: BTreeMap<SessionId, usize>,
    /// Their captures, for later.
    deferred: BTreeSet<SessionId>,
    /// Who waits for a running capture to end, to change its files.
    to_hold: Vec<(SessionId, oneshot::Sender<()>)>,
    /// Sessions whose state was not told by anybody: it follows from what a sweep
    /// has found, and only their first version may say it.
    assumed: BTreeSet<SessionId>,
    sweeping: bool,
}

#[derive(Default)]
struct Job {
    last_reply: Option<String>,
    /// Somebody else than the clock asked.
    asked: bool,
    waiters: Vec<oneshot::Sender<CaptureDone>>,
    /// Those whose trigger came while it ran: they need another run.
    again: Vec<oneshot::Sender<CaptureDone>>,
    again_wanted: bool,
}

impl Driver {
    pub(super) fn want_capture(
        &mut self,
        session: SessionId,
        cause: Cause,
        done: Option<oneshot::Sender<CaptureDone>>,
    ) {
        if let Cause::Sweep(modified) = cause {
            self.assume_state(session, modified);
        }
        let running = self.captures.running.contains(&session);
        let known = self.captures.jobs.contains_key(&session);
        let job = self.captures.jobs.entry(session).or_default();
        if running {
            job.again_wanted = true;
            job.again.extend(done);
        } else {
            job.waiters.extend(done);
        }
        job.asked |= cause != Cause::Settled;
        let patient = matches!(cause, Cause::Sweep(_));
        let settles = matches!(cause, Cause::Stop(_) | Cause::Hook);
        if let Cause::Stop(reply @ Some(_)) = cause {
            job.last_reply = reply;
        }
        if !running && !known {
            let queue = if patient {
                &mut self.captures.patient
            } else {
                &mut self.captures.urgent
            };
            queue.push_back(session);
        } else if !running && !patient {
            // It may wait behind a long sweep; now somebody wants it.
            self.captures.patient.retain(|s| *s != session);
            if !self.captures.urgent.contains(&session) {
                self.captures.urgent.push_back(session);
            }
        }
        if settles {
            let (shared, tx) = (Arc::clone(&self.shared), self.tx.clone());
            tokio::spawn(async move {
                let begin = tokio::time::Instant::now();
                // The first time a look at the transcript will do: what does not show
                // in it is found the second time.
                tokio::time::sleep_until(begin + LOOK_AGAIN).await;
                if !blocking(move || shared.recent.looks_the_same(&session)).await {
                    let _ending = tx.send(Input::Capture(session, Cause::Settled, None)).await;
                }
                tokio::time::sleep_until(begin + SETTLED).await;
                let _ending = tx.send(Input::Capture(session, Cause::Settled, None)).await;
            });
        }
        self.start_captures();
    }

    /// A turn has ended, and the event is on its way into the inbox.
    pub(super) fn begin_early(&mut self, session: SessionId, last_reply: Option<String>) {
        if self.captures.running.contains(&session) || self.captures.early.contains_key(&session) {
            return;
        }
        self.captures.early.insert(session, None);
        self.want_capture(session, Cause::Stop(last_reply), None);
    }

    /// Whether the capture that a heeded event asks for began before it.
    pub(super) fn began_early(&self, session: &SessionId) -> bool {
        self.captures.early.contains_key(session)
    }

    /// The event is heeded, or will not be: what the capture came to counts.
    pub(super) async fn no_longer_early(&mut self, session: SessionId) {
        if let Some(Some(outcome)) = self.captures.early.remove(&session) {
            self.on_captured(session, outcome).await;
        }
    }

    pub(super) fn start_captures(&mut self) {
        if self.awaits_past() {
            return;
        }
        while self.captures.running.len() < RUNNING_MAX {
            let next = self.captures.urgent.pop_front();
            let Some(session) = next.or_else(|| self.captures.patient.pop_front()) else {
                return;
            };
            if self.captures.held.contains_key(&session) {
                self.captures.deferred.insert(session);
                continue;
            }
            self.captures.running.insert(session);
            let job = self.captures.jobs.get(&session);
            let in_passing = job.is_some_and(|job| !job.asked);
            let reply = job.and_then(|job| job.last_reply.clone());
            let early = self.began_early(&session);
            let state = if early {
                states::after(self.states.get(&session).copied(), Word::Stop)
            } else {
                self.state_here(&session)
            };
            let request = CaptureRequest {
                session,
                changed: early || reply.is_some(),
                in_passing,
                last_assistant_message: reply,
                state,
                device_name: self.name_of(&self.shared.me).name,
                now: self.wall(),
            };
            let (shared, tx) = (Arc::clone(&self.shared), self.tx.clone());
            tokio::spawn(async move {
                let outcome = blocking(move || {
                    capture::capture(&shared.store, &shared.home, &shared.recent, &request)
                })
                .await;
                let _ending = tx.send(Input::Captured(session, outcome)).await;
            });
        }
    }

    pub(super) async fn on_captured(&mut self, session: SessionId, outcome: Outcome) {
        if let Some(waits) = self.captures.early.get_mut(&session) {
            *waits = Some(outcome);
            return;
        }
        let done = match outcome {
            Ok(captured) => self.conclude(session, captured).await,
            Err(e) => {
                self.failed("cannot capture a session", &e);
                CaptureDone::Failed(e.into())
            }
        };
        self.captures.running.remove(&session);
        for (held, done) in std::mem::take(&mut self.captures.to_hold) {
            self.hold(held, done);
        }
        if let Some(job) = self.captures.jobs.remove(&session) {
            for waiter in job.waiters {
                let _gone = waiter.send(done.clone());
            }
            if job.again_wanted {
                let next = Job {
                    asked: true,
                    waiters: job.again,
                    ..Job::default()
                };
                self.captures.jobs.insert(session, next);
                self.captures.urgent.push_back(session);
            }
        }
        self.start_captures();
    }

    /// No capture of this session runs from now on, until it is let go: files
    /// that are half replaced would pass for somebody's work. Answered when the
    /// one that runs has ended.
    pub(super) fn hold(&mut self, session: SessionId, done: oneshot::Sender<()>) {
        if self.captures.running.contains(&session) {
            self.captures.to_hold.push((session, done));
        } else if done.send(()).is_ok() {
            *self.captures.held.entry(session).or_default() += 1;
        }
    }

    /// The files are as they are to be.
    pub(super) fn release(&mut self, session: SessionId) {
        if let Some(jobs) = self.captures.held.get_mut(&session) {
            *jobs -= 1;
            if *jobs == 0 {
                self.captures.held.remove(&session);
            }
        }
        if !self.captures.held.contains_key(&session) && self.captures.deferred.remove(&session) {
            self.captures.urgent.push_back(session);
        }
        self.start_captures();
    }

    async fn conclude(&mut self, session: SessionId, captured: Captured) -> CaptureDone {
        let assumed = self.captures.assumed.remove(&session);
        let new = match captured {
            Captured::Unchanged { base } => {
                if assumed && base.is_some_and(|b| self.is_anothers(&session, &b)) {
                    // It was placed here, and nobody has opened it: what this device
                    // could say of it is nothing.
                    self.states.remove(&session);
                }
                let tip = base.map(|b| self.own_tip(&session, b));
                self.state_presence(session).await;
                return CaptureDone::Unchanged(tip);
            }
            Captured::Vanished => {
                // What came with an import never lay here, and cannot go from here.
                let store = Arc::clone(&self.shared.store);
                let state = blocking(move || LocalState::load(&store, &session)).await;
                if !matches!(state, Ok(None)) {
                    self.vanished(session).await;
                }
                self.state_presence(session).await;
                return CaptureDone::Absent;
            }
            Captured::New(new) => new,
        };
        if assumed
            && new.by_program
            && self.states.get(&session) == Some(&SessionState::Interrupted)
        {
            // Nobody waits for what a program started long ago.
            let unseen = SessionState::Ended(EndReason::Unseen);
            self.states.insert(session, unseen);
        }
        let tip = match new.base {
            Some(base) => Some(self.own_tip(&session, base)),
            // Our notes were lost, or a crash came between entry and note.
            None => self.newest_own(&session),
        };
        let known = tip.and_then(|t| self.machine.session(&session)?.node(&t).cloned());
        let same = known
            .as_ref()
            .is_some_and(|n| n.version.manifest == Some(new.manifest));
        if let (false, Some(known)) = (same, &known)
            && self.went_on_elsewhere(&session, known.id)
            && self.adds_nothing(known.version.manifest, &new).await
        {
            // A version of it would be a fork in which nobody says anything.
            self.state_presence(session).await;
            return CaptureDone::Unchanged(Some(known.id));
        }
        // What git says is worth a version only as the last word about a turn of ours.
        let restated = new.restated
            && tip.is_some_and(|t| {
                !self.is_anothers(&session, &t) && !self.went_on_elsewhere(&session, t)
            });
        let hash = if let (true, false, Some(tip)) = (same, restated, tip) {
            self.state_presence(session).await;
            let store = Arc::clone(&self.shared.store);
            if let Err(e) = blocking(move || new.keep(&store, tip)).await {
                // The next capture takes longer; nothing else follows.
                self.failed("cannot keep what was captured", &e);
            }
            return CaptureDone::Unchanged(Some(tip));
        } else {
            let version = Version {
                session,
                parents: tip
                    .into_iter()
                    .chain(new.joined.filter(|j| Some(*j) != tip))
                    .collect(),
                derived_from: new.derived_from,
                manifest: Some(new.manifest),
                snapshot: Some(new.snapshot),
                state: self.state_here(&session),
                meta: new.meta.clone(),
            };
            match self.append_version(version, new).await {
                Ok(hash) => {
                    self.tell_grown(session);
                    self.code_later(session);
                    self.shows(session).await;
                    hash
                }
                Err(e) => return CaptureDone::Failed(crate::problem::store(&e)),
            }
        };
        CaptureDone::New(hash)
    }

    /// States a version; its content and what is remembered of it become durable
    /// with it.
    async fn append_version(
        &mut self,
        version: Version,
        new: Box<NewVersion>,
    ) -> Result<EntryHash, StoreError> {
        let mut new = *new;
        self.heed_share(version.session, Some(new.state.here.project.clone()))
            .await;
        let later = std::mem::take(&mut self.later);
        let also = self.notes_of(&later);
        let ahead = self.send_ahead(&version, &new.content);
        let content = std::mem::take(&mut new.content);
        let with = |hash| {
            let mut notes = new.notes(hash);
            notes.extend(also);
            With {
                notes,
                ahead,
                ..With::default()
            }
        };
        let at = self.wall();
        let stated = self.state_version(version, at, content, with).await;
        match stated {
            Ok(_) => self.shared.inbox.settled(&later.dealt),
            Err(_) => self.later.again(later),
        }
        stated
    }

    /// Whether a version is another device's.
    fn is_anothers(&self, session: &SessionId, version: &EntryHash) -> bool {
        let node = self.machine.session(session).and_then(|r| r.node(version));
        node.is_some_and(|n| n.log.device != self.shared.me)
    }

    /// Whether another device has a version that grew from this one.
    fn went_on_elsewhere(&self, session: &SessionId, version: EntryHash) -> bool {
        self.machine
            .session(session)
            .is_some_and(|r| r.heads().iter().any(|h| r.is_ancestor(&version, &h.id)))
    }

    async fn adds_nothing(&self, earlier: Option<ContentRef>, new: &NewVersion) -> bool {
        let Some(earlier) = earlier else { return false };
        let store = Arc::clone(&self.shared.store);
        let (later, content) = (new.manifest, new.content.clone());
        let found = blocking(move || {
            store.put_chunks(&content)?;
            place::adds_only_bookkeeping(&store, earlier, later)
        });
        found.await.unwrap_or_else(|e| {
            tracing::warn!(error = %e, "cannot compare two versions");
            false
        })
    }

    /// The newest version of our own that grew from `base`: `base` itself
    /// unless a crash came between an entry and its note.
    pub(super) fn own_tip(&self, session: &SessionId, base: EntryHash) -> EntryHash {
        let Some(record) = self.machine.session(session) else {
            return base;
        };
        let mut own: Vec<_> = record
            .nodes()
            .filter(|n| n.log.device == self.shared.me)
            // What came from another program is not what lies here.
            .filter(|n| n.id == base || !self.taken_in.contains(&n.id))
            .collect();
        own.sort_by_key(|n| n.lamport);
        own.iter()
            .rev()
            .find(|n| n.id == base || record.is_ancestor(&base, &n.id))
            .map_or(base, |n| n.id)
    }

    fn newest_own(&self, session: &SessionId) -> Option<EntryHash> {
        let record = self.machine.session(session)?;
        record
            .nodes()
            .filter(|n| n.log.device == self.shared.me && !self.taken_in.contains(&n.id))
            .max_by_key(|n| n.lamport)
            .map(|n| n.id)
    }

    /// Our state of a session, as it is to be stated.
    pub(super) fn state_here(&self, session: &SessionId) -> SessionState {
        let stated = || {
            let record = self.machine.session(session)?;
            record.state_on(&self.shared.me).map(|(state, _)| state)
        };
        self.states
            .get(session)
            .copied()
            .or_else(stated)
            .unwrap_or(SessionState::Ended(EndReason::Unseen))
    }

    /// States our state of a session if the log says another one, or none. A
    /// session without a version is of no interest to anybody yet.
    pub(super) async fn state_presence(&mut self, session: SessionId) {
        let Some(state) = self.states.get(&session).copied() else {
            return;
        };
        let Some(record) = self.machine.session(&session) else {
            return;
        };
        let stated = record.state_on(&self.shared.me).map(|(s, _)| s);
        if stated == Some(state) || record.latest().is_none() {
            return;
        }
        let presence = Payload::Presence(Presence { session, state });
        if let Err(e) = self.append(&presence).await {
            self.failed("cannot state where a session stands", &e);
        }
    }

    /// For a session whose hooks never spoke.
    fn assume_state(&mut self, session: SessionId, modified: Timestamp) {
        let spoken = self.states.contains_key(&session)
            || self
                .machine
                .session(&session)
                .is_some_and(|r| r.state_on(&self.shared.me).is_some());
        if !spoken {
            let recent = self.wall().0.saturating_sub(modified.0) <= INTERRUPTED_MS_MAX;
            let state = if recent {
                SessionState::Interrupted
            } else {
                SessionState::Ended(EndReason::Unseen)
            };
            self.states.insert(session, state);
            self.captures.assumed.insert(session);
        }
    }

    /// Looks through Claude's directory, off this task.
    pub(super) fn sweep(&mut self) {
        self.shared.recent.forget();
        if std::mem::replace(&mut self.captures.sweeping, true) {
            return;
        }
        let (shared, tx) = (Arc::clone(&self.shared), self.tx.clone());
        let expected = self.may_vanish();
        tokio::spawn(async move {
            let look = move || {
                if let Err(e) = place::sweep_backups(&shared.store, &shared.home, wall()) {
                    tracing::warn!(error = %e, "old backups are left for later");
                }
                let found = scan::all_sessions(&shared.home);
                let gone = scan::vanished(&shared.store, &shared.home, &expected, &found);
                (found, gone, super::expiry::cleanup_days(&shared.home))
            };
            let (found, gone, days) = blocking(look).await;
            let swept = found
                .into_iter()
                .map(|s| Swept {
                    session: s.session,
                    modified: s.modified,
                })
                .collect();
            let _ending = tx.send(Input::Swept(swept, days)).await;
            let _ending = tx.send(Input::Vanished(gone)).await;
        });
    }

    pub(super) async fn on_swept(&mut self, found: Vec<Swept>, cleanup_days: u64) {
        self.captures.sweeping = false;
        self.expiry.look(&found, cleanup_days);
        for s in found {
            self.on_returned(s.session).await;
            self.want_capture(s.session, Cause::Sweep(s.modified), None);
        }
    }
}
