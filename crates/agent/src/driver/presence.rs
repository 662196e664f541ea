//! Where sessions stand on this device: what hooks said, which processes live,
//! what the registry claims, and which files are gone. Each is heeded for what
//! it knows best.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ccpeer_core::id::SessionId;
use ccpeer_core::limits;
use ccpeer_core::presence::SessionState;
use ccpeer_formats::claude::registry::LiveStatus;

use super::{Cause, Driver, Input, wall};
use crate::live::{self, LiveInfo};
use crate::pool::blocking;
use crate::states::{self, Word};
use crate::{process, scan};

/// A session that a process here holds open.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Open {
    /// The process, if anybody named it.
    pub(super) pid: Option<u32>,
    /// Looks in a row that did not find it. One may fall between two files.
    missed: u8,
}

/// What one look at processes and registry has found.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Which open sessions, of which processes, it was about.
    asked: BTreeMap<SessionId, Option<u32>>,
    /// What the registry names, with a living process.
    registry: BTreeMap<SessionId, LiveInfo>,
    /// Sessions that are open by any sign.
    alive: BTreeSet<SessionId>,
    /// Sessions that were in a turn, whose transcript has not grown for long, and
    /// of which no registry tells anything.
    quiet: BTreeSet<SessionId>,
}

/// Looks without a sign after which a session counts as interrupted.
const MISSED_MAX: u8 = 2;
/// What a hook that ran when its process ended may take to arrive.
const LAST_WORD: Duration = Duration::from_millis(300);
/// A turn that writes nothing for this long has ended without a word, where no
/// registry tells more: Claude Code lets no command run longer than ten minutes.
const QUIET_MS: u64 = 15 * 60 * 1000;
/// Sessions whose files are gone that are stated in one go.
const GONE_BATCH: usize = 64;

impl Driver {
    /// A process has the session open.
    pub(super) fn opened(&mut self, session: SessionId, pid: Option<u32>) {
        let open = self.open.entry(session).or_default();
        open.pid = pid.or(open.pid);
        open.missed = 0;
        // What the registry said before this is older than the hook's word.
        self.registry.remove(&session);
        self.farewell.remove(&session);
        if let Some(pid) = pid {
            self.watch(pid);
        }
    }

    /// A process said good-bye to the session. It takes a while to end.
    pub(super) fn closed(&mut self, session: SessionId, pid: Option<u32>) -> Option<u32> {
        let open = self.open.remove(&session);
        let pid = pid.or(open.and_then(|o| o.pid))?;
        self.farewell.insert(session, pid);
        self.watch(pid);
        Some(pid)
    }

    /// Has the end of a process told, once.
    fn watch(&mut self, pid: u32) {
        if !self.watched.insert(pid) {
            return;
        }
        let tx = self.tx.clone();
        tokio::spawn(async move {
            process::ended(pid).await;
            tokio::time::sleep(LAST_WORD).await;
            let _ending = tx.send(Input::Gone(pid)).await;
        });
    }

    /// A process that was watched has ended. If it said good-bye, its sessions
    /// are not open any more; else somebody else may have them open.
    pub(super) fn on_gone(&mut self, pid: u32) {
        self.watched.remove(&pid);
        self.farewell.retain(|_, said| *said != pid);
        if self.open.values().any(|open| open.pid == Some(pid)) {
            self.shared.spooled.notify_one();
            self.check_liveness();
        }
    }

    /// After a start: what we last said is open may not be any more.
    pub(super) fn adopt_states(&mut self) {
        let me = self.shared.me;
        let open: Vec<(SessionId, SessionState)> = self
            .machine
            .sessions()
            .filter_map(|(id, r)| r.state_on(&me).map(|(s, _)| (*id, s)))
            .filter(|(_, s)| s.is_open())
            .collect();
        for (session, state) in open {
            self.open.insert(session, Open::default());
            self.states.insert(session, state);
        }
    }

    /// Looks which sessions are open, off this task.
    pub(super) fn check_liveness(&self) {
        let asked: BTreeMap<SessionId, Option<u32>> =
            self.open.iter().map(|(s, o)| (*s, o.pid)).collect();
        let live = |s: &&SessionId| self.states.get(s) == Some(&SessionState::Live);
        let in_turn: Vec<SessionId> = asked.keys().filter(live).copied().collect();
        let (shared, tx) = (Arc::clone(&self.shared), self.tx.clone());
        tokio::spawn(async move {
            let seen = blocking(move || {
                let registry = live::live_sessions(&shared.home);
                let silent = !live::has_registry(&shared.home);
                let mut alive: BTreeSet<SessionId> = registry.keys().copied().collect();
                for (session, pid) in &asked {
                    let lives = match pid {
                        Some(pid) => process::exists(*pid),
                        None => silent && grows(&shared.home, session, limits::LIVE_GROWTH_MS),
                    };
                    if lives {
                        alive.insert(*session);
                    }
                }
                let still = |s: &SessionId| silent && !grows(&shared.home, s, QUIET_MS);
                Seen {
                    asked,
                    registry,
                    alive,
                    quiet: in_turn.into_iter().filter(still).collect(),
                }
            });
            let _ending = tx.send(Input::Seen(seen.await)).await;
        });
    }

    pub(super) async fn on_seen(&mut self, seen: Seen) {
        let mut gone = Vec::new();
        for (session, open) in &mut self.open {
            if seen.asked.get(session) != Some(&open.pid) {
                // Opened while we looked.
                continue;
            }
            if seen.alive.contains(session) {
                open.missed = 0;
                continue;
            }
            open.missed += 1;
            // A process that was known has ended for good.
            if open.pid.is_some() || open.missed >= MISSED_MAX {
                gone.push(*session);
            }
        }
        for session in gone {
            self.open.remove(&session);
            self.learn(session, Word::Gone);
            // At once, because others wait for it; then what was written last.
            self.state_presence(session).await;
            self.want_capture(session, Cause::Hook, None);
        }
        for session in seen.quiet {
            let live = self.states.get(&session) == Some(&SessionState::Live);
            if live && self.open.contains_key(&session) {
                self.learn(session, Word::Waiting);
                self.state_presence(session).await;
            }
        }
        self.registry_names = !seen.registry.is_empty();
        self.heed_registry(seen.registry).await;
    }

    /// Its state is another one from now on; it is still to be stated.
    fn learn(&mut self, session: SessionId, word: Word) {
        let before = self.states.get(&session).copied();
        self.states.insert(session, states::after(before, word));
    }

    /// The registry knows what no hook tells: sessions without hooks, and turns
    /// that ended by Esc or an error. A single look may fall between a hook and
    /// the file, so only what two looks agree on corrects a hook.
    async fn heed_registry(&mut self, now: BTreeMap<SessionId, LiveInfo>) {
        let before = std::mem::take(&mut self.registry);
        for (session, info) in &now {
            if self.farewell.get(session) == Some(&info.pid) {
                continue;
            }
            if let Some(open) = self.open.get_mut(session)
                && open.pid.is_none()
            {
                open.pid = Some(info.pid);
                self.watch(info.pid);
            }
            let word = match info.status {
                LiveStatus::Busy => Word::Busy,
                LiveStatus::Idle | LiveStatus::Unknown => Word::Waiting,
            };
            let state = states::after(self.states.get(session).copied(), word);
            let known = self.states.contains_key(session)
                || self
                    .machine
                    .session(session)
                    .is_some_and(|r| r.state_on(&self.shared.me).is_some());
            let agreed = before
                .get(session)
                .is_some_and(|b| (b.pid, b.status) == (info.pid, info.status));
            if known && !agreed {
                continue;
            }
            let stated = self.state_here(session);
            // Without a word of the registry, a hook's word about the turn stands.
            let differs = stated != state
                && !(info.status == LiveStatus::Unknown && stated == SessionState::Live);
            if known && !differs {
                continue;
            }
            let open = self.open.entry(*session).or_default();
            (open.pid, open.missed) = (Some(info.pid), 0);
            self.watch(info.pid);
            self.states.insert(*session, state);
            if state == SessionState::Idle {
                self.want_capture(*session, Cause::Hook, None);
            }
            self.state_presence(*session).await;
        }
        self.registry = now;
    }

    /// Sessions that we say something about, and that nobody has open: those
    /// whose files may be missed.
    pub(super) fn may_vanish(&self) -> Vec<SessionId> {
        let me = self.shared.me;
        self.machine
            .sessions()
            .filter(|(id, r)| {
                !self.open.contains_key(id)
                    && r.has_versions()
                    && r.state_on(&me)
                        .is_some_and(|(state, _)| state != SessionState::Archived)
            })
            .map(|(id, _)| *id)
            .collect()
    }

    /// The files of these sessions are gone from Claude's directory. That is
    /// news about this device, and no wish about any copy.
    pub(super) async fn on_vanished(&mut self, mut gone: Vec<SessionId>) {
        let later = gone.split_off(gone.len().min(GONE_BATCH));
        for session in gone {
            self.vanished(session).await;
        }
        if !later.is_empty() {
            // Others have their turn in between.
            let tx = self.tx.clone();
            tokio::spawn(async move { tx.send(Input::Vanished(later)).await });
        }
    }

    pub(super) async fn vanished(&mut self, session: SessionId) {
        let spoken = self
            .machine
            .session(&session)
            .is_some_and(|r| r.state_on(&self.shared.me).is_some());
        if spoken && !self.open.contains_key(&session) {
            self.states.insert(session, SessionState::Archived);
            self.state_presence(session).await;
        }
    }

    /// Its files lie here again: it stands where it stood when they went.
    pub(super) async fn on_returned(&mut self, session: SessionId) {
        if self.state_here(&session) != SessionState::Archived {
            return;
        }
        let me = self.shared.me;
        let state = self.machine.session(&session).and_then(|record| {
            let own = record.nodes().filter(|n| n.log.device == me);
            own.max_by_key(|n| n.order()).map(|n| n.version.state)
        });
        let state = match state {
            Some(state @ SessionState::Ended(_)) => state,
            _ => SessionState::Interrupted,
        };
        self.states.insert(session, state);
        self.state_presence(session).await;
    }
}

/// Whether a session's transcript grew so lately that somebody is at work.
fn grows(home: &crate::home::Home, session: &SessionId, within_ms: u64) -> bool {
    let now = wall();
    scan::find_session(home, session)
        .iter()
        .any(|found| now.0.saturating_sub(found.modified.0) < within_ms)
}
