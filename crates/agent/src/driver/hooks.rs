//! What hooks and processes tell about where a session stands.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ccpeer_core::id::SessionId;
use ccpeer_core::presence::SessionState;
use ccpeer_formats::claude::hook::{HookEvent, HookKind};

use super::{Cause, Driver, Input};
use crate::inbox::{Accepted, InboxError, Pending};
use crate::pool::blocking;
use crate::{live, spool};

/// A session that a process here holds open.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Open {
    /// The process, if a hook named it.
    pub(super) pid: Option<u32>,
    /// Looks in a row that did not find it. One may fall between two files.
    missed: u8,
}

/// Looks without a process after which a session counts as interrupted.
const MISSED_MAX: u8 = 2;

/// How long, and how often, a process that said good-bye is watched for its end.
const GONE_MAX: Duration = Duration::from_secs(15);
const GONE_LOOK: Duration = Duration::from_millis(50);

impl Driver {
    /// Deals with an event that is durable in the inbox.
    pub(super) async fn on_hook(&mut self, pending: Pending) {
        if let Some(event) = pending.event {
            self.heed(event).await;
        }
        let shared = Arc::clone(&self.shared);
        // Captures that it caused are found again by the sweep at a start, so the
        // event itself need not wait for them.
        if let Err(e) = blocking(move || shared.inbox.done(pending.key)).await {
            self.failed("cannot forget a hook event", &e);
        }
    }

    async fn heed(&mut self, event: HookEvent) {
        let session = event.session;
        tracing::debug!(session = %session.short(), "hook");
        let (state, cause) = match event.kind {
            HookKind::SessionStart { .. } => (Some(SessionState::Idle), None),
            HookKind::Prompt => (Some(SessionState::Live), None),
            HookKind::Stop {
                last_assistant_message,
                ..
            } => (
                Some(SessionState::Idle),
                Some(Cause::Stop(last_assistant_message)),
            ),
            HookKind::SubagentStop | HookKind::PreCompact => (None, Some(Cause::Hook)),
            HookKind::End { reason } => (Some(SessionState::Ended(reason)), Some(Cause::Hook)),
            HookKind::Notification | HookKind::Other => (None, None),
        };
        match state {
            Some(SessionState::Ended(_)) => {
                let open = self.open.remove(&session);
                self.capture_when_gone(session, event.pid.or(open.and_then(|o| o.pid)));
            }
            _ => {
                let open = self.open.entry(session).or_default();
                open.pid = event.pid.or(open.pid);
                open.missed = 0;
            }
        }
        if let Some(state) = state {
            self.states.insert(session, state);
        }
        match cause {
            Some(cause) => self.want_capture(session, cause, None),
            None => self.state_presence(session).await,
        }
    }

    /// Claude Code writes its last lines after SessionEnd; they belong to the
    /// version that others will go on from.
    fn capture_when_gone(&self, session: SessionId, pid: Option<u32>) {
        let Some(pid) = pid else { return };
        let tx = self.tx.clone();
        tokio::spawn(async move {
            let begin = tokio::time::Instant::now();
            while begin.elapsed() < GONE_MAX && live::process_exists(pid) {
                tokio::time::sleep(GONE_LOOK).await;
            }
            let _ending = tx.send(Input::Capture(session, Cause::Settled, None)).await;
        });
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

    /// Takes up events that were taken and not dealt with before a crash.
    pub(super) async fn resume_inbox(&mut self) {
        let shared = Arc::clone(&self.shared);
        match blocking(move || shared.inbox.pending()).await {
            Ok(pending) => {
                for event in pending {
                    self.on_hook(event).await;
                }
            }
            Err(e) => self.failed("cannot read waiting hook events", &e),
        }
        self.drain_spool();
    }

    /// Takes what hooks left while nobody answered, off this task.
    pub(super) fn drain_spool(&self) {
        let (shared, tx) = (Arc::clone(&self.shared), self.tx.clone());
        tokio::spawn(async move {
            let shared = &shared;
            for path in spool::list(&shared.home) {
                let reader = Arc::clone(shared);
                let file = path.clone();
                let accepted = blocking(move || {
                    let body = std::fs::read(&file).ok()?;
                    Some(reader.inbox.accept(&body))
                });
                match accepted.await {
                    None | Some(Err(InboxError::InFlight)) => continue,
                    Some(Ok(accepted)) => {
                        if let Accepted::New(pending) = accepted {
                            let _ending = tx.send(Input::Hook(pending)).await;
                        }
                        let _left_for_next_time = std::fs::remove_file(&path);
                    }
                    Some(Err(InboxError::Malformed)) => {
                        tracing::warn!("a spooled hook event cannot be read; set aside");
                        spool::reject(&shared.home, &path);
                    }
                    // The disk is full or worse: all of it stays where it is.
                    Some(Err(InboxError::Store(e))) => {
                        tracing::error!(error = %e, "cannot take spooled hook events");
                        return;
                    }
                }
            }
        });
    }

    /// Looks which open sessions have a process, off this task.
    pub(super) fn check_liveness(&self) {
        if self.open.is_empty() {
            return;
        }
        let pids: BTreeMap<SessionId, Option<u32>> =
            self.open.iter().map(|(s, o)| (*s, o.pid)).collect();
        let (shared, tx) = (Arc::clone(&self.shared), self.tx.clone());
        tokio::spawn(async move {
            let seen = blocking(move || {
                let registry = live::live_sessions(&shared.home);
                let mut seen: BTreeMap<SessionId, bool> = registry
                    .into_iter()
                    .map(|(s, info)| (s, info.busy))
                    .collect();
                for (session, pid) in pids {
                    if pid.is_some_and(live::process_exists) {
                        seen.entry(session).or_insert(false);
                    }
                }
                seen
            });
            let _ending = tx.send(Input::Seen(seen.await)).await;
        });
    }

    pub(super) async fn on_seen(&mut self, alive: &BTreeMap<SessionId, bool>) {
        let mut gone = Vec::new();
        for (session, open) in &mut self.open {
            if alive.contains_key(session) {
                open.missed = 0;
            } else {
                open.missed += 1;
                if open.missed >= MISSED_MAX {
                    gone.push(*session);
                }
            }
        }
        for session in gone {
            self.open.remove(&session);
            self.states.insert(session, SessionState::Interrupted);
            self.want_capture(session, Cause::Hook, None);
        }
    }
}
