//! Sessions whose end is not the last word yet: one that its terminal left for
//! another conversation, and one whose terminal was closed a moment ago, perhaps
//! by a machine that goes down.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ccpeer_core::id::SessionId;
use ccpeer_core::presence::{EndReason, SessionState};
use ccpeer_formats::claude::hook::StartSource;
use ccpeer_store::{Namespace, NoteWrite, Store, StoreError};

use super::{Driver, Input};
use crate::pool::blocking;
use crate::states::{self, Word};

/// A terminal that is closed because the machine goes down is closed this long
/// before that, at most.
const GOING_DOWN: Duration = Duration::from_secs(60);
/// Conversations that were left and are waited for; of more, the first ones stay
/// listed.
const LEFT_MAX: usize = 256;
/// Keys in [`Namespace::Setting`] of sessions whose terminal was closed a moment
/// ago begin so; the session's id follows.
const CLOSED: &[u8] = b"closed:";

/// A conversation that its terminal left.
#[derive(Debug, Clone, Copy)]
struct Left {
    /// The process, which went on.
    pid: u32,
    /// With which one, once it is known.
    next: Option<SessionId>,
}

/// What is remembered.
#[derive(Debug, Default)]
pub(crate) struct Endings {
    left: BTreeMap<SessionId, Left>,
    closed: BTreeSet<SessionId>,
}

impl Endings {
    /// With what the last run did not see through.
    pub(crate) fn load(store: &Store) -> Result<Self, StoreError> {
        let notes = store.notes_from(Namespace::Setting, CLOSED, usize::MAX)?;
        let read = |(key, _): (Vec<u8>, Vec<u8>)| {
            let id = key.strip_prefix(CLOSED)?.try_into().ok()?;
            Some(SessionId(id))
        };
        Ok(Self {
            left: BTreeMap::new(),
            closed: notes.into_iter().map_while(read).collect(),
        })
    }
}

impl Driver {
    /// A session was opened, by this process if it is known.
    pub(super) fn begins(&mut self, session: SessionId, pid: Option<u32>, source: StartSource) {
        self.is_open_again(session);
        let Some(pid) = pid else { return };
        let follows = matches!(source, StartSource::Clear | StartSource::Fork);
        let waiting = |l: &Left| l.pid == pid && l.next.is_none();
        if follows {
            for left in self.endings.left.values_mut().filter(|l| waiting(l)) {
                left.next = Some(session);
            }
        } else {
            // It went on with one that was there before: both are unfinished.
            self.endings.left.retain(|_, l| !waiting(l));
        }
    }

    /// Somebody works on it: whatever was to become of it does not.
    pub(super) fn is_open_again(&mut self, session: SessionId) {
        self.endings.left.remove(&session);
        if self.endings.closed.remove(&session) {
            self.save(closed_note(&session, false));
        }
    }

    /// A session said good-bye.
    pub(super) async fn ends(&mut self, session: SessionId, pid: Option<u32>, state: SessionState) {
        let SessionState::Ended(reason) = state else {
            return;
        };
        match (reason, pid) {
            (EndReason::Clear | EndReason::Switched, Some(pid)) => {
                // What was left before, for this one, is left for the next one.
                for left in self.endings.left.values_mut() {
                    if left.next == Some(session) {
                        left.next = None;
                    }
                }
                while self.endings.left.len() >= LEFT_MAX {
                    self.endings.left.pop_first();
                }
                self.endings.left.insert(session, Left { pid, next: None });
            }
            (EndReason::Closed, _) => {
                self.follow(session, Word::ClosedAfter(reason)).await;
                self.endings.closed.insert(session);
                self.save(closed_note(&session, true));
                let tx = self.tx.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(GOING_DOWN).await;
                    let _ending = tx.send(Input::StaysClosed(session)).await;
                });
            }
            (EndReason::PromptExit | EndReason::Logout, _) => {
                self.follow(session, Word::ClosedAfter(reason)).await;
            }
            _ => self.endings.left.retain(|_, l| l.next != Some(session)),
        }
    }

    /// A version of a session of ours is durable: it stands for those that were
    /// left for it.
    pub(super) async fn shows(&mut self, session: SessionId) {
        if self.endings.left.values().any(|l| l.next == Some(session)) {
            self.follow(session, Word::Replaced).await;
        }
    }

    /// Tells those that were left for this session what became of it.
    async fn follow(&mut self, next: SessionId, word: Word) {
        let left = &mut self.endings.left;
        let theirs = left.iter().filter(|(_, l)| l.next == Some(next));
        let theirs: Vec<SessionId> = theirs.map(|(session, _)| *session).collect();
        for session in theirs {
            self.endings.left.remove(&session);
            let state = states::after(Some(self.state_here(&session)), word);
            self.states.insert(session, state);
            self.state_presence(session).await;
        }
    }

    /// The machine did not go down.
    pub(super) fn stays_closed(&mut self, session: SessionId) {
        if self.endings.closed.remove(&session) {
            self.save(closed_note(&session, false));
        }
    }

    /// The machine goes down, or did so: what was closed a moment before is
    /// unfinished.
    pub(super) async fn went_down(&mut self) {
        for session in std::mem::take(&mut self.endings.closed) {
            let before = self.state_here(&session);
            let state = states::after(Some(before), Word::WentDown);
            if state != before {
                self.states.insert(session, state);
                self.state_presence(session).await;
            }
            self.forget_closed(&session).await;
        }
    }

    /// The user ends the agent: the machine does not go down.
    pub(super) async fn ends_in_order(&mut self) {
        for session in std::mem::take(&mut self.endings.closed) {
            self.forget_closed(&session).await;
        }
    }

    async fn forget_closed(&mut self, session: &SessionId) {
        let store = Arc::clone(&self.shared.store);
        let note = closed_note(session, false);
        if let Err(e) = blocking(move || store.put_notes(&[note])).await {
            self.failed("cannot forget a note", &e);
        }
    }
}

fn closed_note(session: &SessionId, is: bool) -> NoteWrite {
    NoteWrite {
        ns: Namespace::Setting,
        key: [CLOSED, &session.0].concat(),
        value: is.then(|| vec![1]),
    }
}
