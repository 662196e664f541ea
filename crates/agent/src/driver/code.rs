//! The driver's part of the code that goes along with a session: when it is taken,
//! and that what was taken is stated. A turn's version never waits for it: it comes
//! a few seconds later, one at a time, as a statement of its own.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ccpeer_core::entry::{Capsule, ContentRef, Payload};
use ccpeer_core::id::{EntryHash, SessionId};
use ccpeer_core::lineage::{SessionRecord, VersionNode};
use ccpeer_core::sharing::Share;
use ccpeer_core::time::Timestamp;
use tokio::sync::oneshot;

use super::handle::stopping;
use super::{Driver, Handle, Input};
use crate::api::{ApiError, DeviceName};
use crate::code::{self, CodeError, keep, take};
use crate::git;
use crate::local::LocalState;
use crate::policy::{Codes, Policy};
use crate::pool::blocking;

/// How long after a turn it is taken: when the turn's files have settled, and once
/// for several turns in a row.
const LATER: Duration = Duration::from_secs(3);
/// How long a command waits for it.
const PATIENCE: Duration = Duration::from_secs(120);

/// What is said about it.
pub(crate) enum Coding {
    /// The user has chosen.
    Chosen(Codes),
    /// Some time has passed since a turn.
    Due(SessionId),
    /// It is wanted now.
    Now(SessionId, oneshot::Sender<CodeTaken>),
    /// It was taken, with the version at that time.
    Done(SessionId, EntryHash, Result<Option<ContentRef>, CodeError>),
}

/// What became of a wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CodeTaken {
    /// It does not go along with this session.
    Not,
    /// It goes along by now.
    Stated,
    /// It could not be taken.
    Failed(String),
}

/// The state of it.
#[derive(Default)]
pub(super) struct Coder {
    /// Where it goes along.
    codes: Codes,
    due: BTreeSet<SessionId>,
    queue: VecDeque<SessionId>,
    running: Option<SessionId>,
    waiters: BTreeMap<SessionId, Vec<oneshot::Sender<CodeTaken>>>,
    /// Of whom the one that runs began before.
    again: BTreeMap<SessionId, Vec<oneshot::Sender<CodeTaken>>>,
}

/// The capsule that is the nearest one on the line of a head.
#[derive(Debug, Clone)]
pub(crate) struct HeadCapsule {
    pub(crate) content: ContentRef,
    pub(crate) version: EntryHash,
    pub(crate) device: DeviceName,
    /// A label.
    pub(crate) at: Timestamp,
}

impl Handle {
    /// Has the code of a session taken now, and waits for it.
    pub(crate) async fn take_code(&self, session: SessionId) -> Result<CodeTaken, ApiError> {
        let (tx, rx) = oneshot::channel();
        self.send(Input::Code(Coding::Now(session, tx))).await?;
        match tokio::time::timeout(PATIENCE, rx).await {
            Ok(answer) => answer.map_err(|_| stopping()),
            Err(_) => Ok(CodeTaken::Failed("it takes too long".to_owned())),
        }
    }
}

impl Driver {
    /// Takes up what was chosen.
    pub(super) async fn begin_coding(&mut self) {
        let shared = Arc::clone(&self.shared);
        let chosen = blocking(move || {
            code::sweep(&shared.home);
            Policy::load(&shared.store)
        });
        match chosen.await {
            Ok(policy) => self.code.codes = policy.code,
            Err(e) => self.failed("cannot read whose code goes along", &e),
        }
    }

    pub(super) async fn on_code(&mut self, what: Coding) {
        match what {
            Coding::Chosen(codes) => self.code.codes = codes,
            Coding::Due(session) => {
                if self.code.due.remove(&session) {
                    self.enqueue(session);
                }
            }
            Coding::Now(session, to) => {
                let waiters = match self.code.running {
                    Some(running) if running == session => &mut self.code.again,
                    _ => &mut self.code.waiters,
                };
                waiters.entry(session).or_default().push(to);
                self.enqueue(session);
            }
            Coding::Done(session, version, result) => {
                let answer = self.state_code(session, version, result).await;
                self.code.running = None;
                self.tell_coded(&session, &answer);
                if let Some(again) = self.code.again.remove(&session) {
                    self.code.waiters.insert(session, again);
                }
            }
        }
        self.take_next_code();
    }

    /// A version was stated: its code is taken when there is time.
    pub(super) fn code_later(&mut self, session: SessionId) {
        if !self.code.codes.any() || !self.code.due.insert(session) {
            return;
        }
        let tx = self.tx.clone();
        tokio::spawn(async move {
            tokio::time::sleep(LATER).await;
            let _ending = tx.send(Input::Code(Coding::Due(session))).await;
        });
    }

    /// The capsule that goes with a head.
    pub(super) fn capsule_of(
        &self,
        record: &SessionRecord,
        node: &VersionNode,
    ) -> Option<HeadCapsule> {
        let (of, capsule) = record.nearest_capsule(&node.id)?;
        Some(HeadCapsule {
            content: capsule.manifest,
            version: of.id,
            device: self.name_of(&of.log.device),
            at: capsule.at,
        })
    }

    fn enqueue(&mut self, session: SessionId) {
        if !self.code.queue.contains(&session) {
            self.code.queue.push_back(session);
        }
    }

    fn take_next_code(&mut self) {
        while self.code.running.is_none() {
            let Some(session) = self.code.queue.pop_front() else {
                return;
            };
            let head = self.teller(&session).map(|head| head.id);
            let wanted = self.code.codes.any() && self.shares_all_of(&session);
            let Some(version) = head.filter(|_| wanted) else {
                self.tell_coded(&session, &CodeTaken::Not);
                continue;
            };
            self.code.running = Some(session);
            let (shared, tx) = (Arc::clone(&self.shared), self.tx.clone());
            let codes = self.code.codes.clone();
            tokio::spawn(async move {
                let ending = tx.clone();
                let result = blocking(move || {
                    let state = LocalState::load(&shared.store, &session)?;
                    let dir = state.map(|s| PathBuf::from(s.here.project));
                    let Some(dir) = dir.filter(|dir| goes_along(&codes, dir)) else {
                        return Ok(None);
                    };
                    let Some(taken) = take::take(&shared.home, &dir, &|| ending.is_closed())?
                    else {
                        return Ok(None);
                    };
                    keep::keep(&shared.store, session, &taken).map(Some)
                });
                let done = Coding::Done(session, version, result.await);
                let _ending = tx.send(Input::Code(done)).await;
            });
        }
    }

    async fn state_code(
        &mut self,
        session: SessionId,
        version: EntryHash,
        result: Result<Option<ContentRef>, CodeError>,
    ) -> CodeTaken {
        let manifest = match result {
            Ok(Some(manifest)) => manifest,
            Ok(None) => return CodeTaken::Not,
            Err(e) => {
                tracing::warn!(session = %session.short(), error = %e, "no code was taken");
                return CodeTaken::Failed(e.to_string());
            }
        };
        // It may have become otherwise meanwhile.
        if !self.shares_all_of(&session) {
            return CodeTaken::Not;
        }
        let record = self.machine.session(&session);
        let said = record.and_then(|r| r.capsule(r.node(&version)?));
        if said.is_some_and(|said| said.manifest == manifest) {
            return CodeTaken::Stated;
        }
        let capsule = Payload::Capsule(Capsule {
            session,
            version,
            manifest,
        });
        match self.append(&capsule).await {
            Ok(_) => CodeTaken::Stated,
            Err(e) => {
                self.failed("cannot state the code of a session", &e);
                CodeTaken::Failed(e.to_string())
            }
        }
    }

    /// Whether others may have all of a session: code is worth more than a document.
    fn shares_all_of(&self, session: &SessionId) -> bool {
        self.machine.sharing().of(session) == Share::Whole
    }

    fn tell_coded(&mut self, session: &SessionId, answer: &CodeTaken) {
        for to in self.code.waiters.remove(session).unwrap_or_default() {
            drop(to.send(answer.clone()));
        }
    }
}

/// Whether the code goes along with a session that was begun here: a directory is
/// named as it was typed, and as it is, and what is said of a clone holds for its work
/// trees.
fn goes_along(codes: &Codes, dir: &Path) -> bool {
    let real = std::fs::canonicalize(dir).ok();
    let clone = || {
        let marker = git::marker(dir).filter(|marker| marker.linked)?;
        marker.common.parent().map(Path::to_owned)
    };
    let said = codes.said(dir);
    let said = said.or_else(|| codes.said(&real?));
    said.or_else(|| codes.said(&clone()?)).unwrap_or_default()
}
