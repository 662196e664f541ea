//! Files in the layouts of the two programs before, in a plain mirror: a hand-off
//! for each unfinished session, a bundle for each session, so that their readers
//! find what this device works on.
//!
//! Only sessions that lie here and whose line this device wrote. A file is written
//! where there is none, or where ccpeer wrote the one that is there; whatever else
//! stands in its place stays. Each kind has a clock of its own, because a bundle is
//! the whole session each time; a session that nobody has open any more does not
//! wait for it. Decision 0034 says why. Must not know how commits are made.

mod bundles;
mod tasks;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use ccpeer_core::id::SessionId;
use serde::{Deserialize, Serialize};

use super::MirrorError;
use super::config::Mirror;
use super::repo::{Commit, Node, Oid, Repo};
use super::run::Stop;
use super::sync::{Work, is_free};
use crate::api::Gate;
use crate::driver::{OutHead, OutSession};
use crate::local::LocalState;
use bundles::Bundles;
use tasks::Tasks;

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// `tasks/<host>-<session>.md`
    Task,
    /// `sessions/<project>/<session>.bundle.gz`
    Bundle,
}

/// When files were written last, since the agent began. It is forgotten with it:
/// then a file is written once more than it had to be.
#[derive(Debug, Default)]
pub(crate) struct Paces(BTreeMap<(String, Kind, SessionId), Instant>);

/// What is remembered of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Written {
    pub(crate) path: String,
    /// What it was made of.
    of: String,
    /// What it was then; nothing while the commit is not made.
    oid: Option<Oid>,
    /// It is somebody else's, or has what we have not: it was looked at and stays.
    #[serde(default)]
    left: bool,
}

/// The memory of one kind, by session.
pub(crate) type Memory = BTreeMap<String, Written>;

/// What one look came to.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// What is to be remembered, or forgotten.
    memory: BTreeMap<(Kind, String), Option<Written>>,
    paced: Vec<(Kind, SessionId)>,
    /// How long something waits for its clock.
    pub(crate) pending: Option<Duration>,
    /// What is to be written.
    pub(crate) commits: Vec<Commit>,
}

/// One look at a mirror.
struct Look<'l> {
    repo: &'l Repo<'l>,
    tip: Option<&'l Oid>,
    mirror: &'l Mirror,
    work: &'l Work,
    paces: &'l Paces,
    stop: Stop<'l>,
    now: Instant,
    out: Outcome,
}

/// A session whose files are written here.
struct Ours<'l> {
    session: &'l OutSession,
    /// Its newest line.
    head: &'l OutHead,
    key: String,
    /// Something in it looks like a secret, and it is told without.
    redact: bool,
}

/// What is due in a mirror, and what becomes of its memory once that is pushed.
pub(crate) fn look(
    repo: &Repo<'_>,
    tip: Option<&Oid>,
    mirror: &Mirror,
    work: &Work,
    paces: &Paces,
    held: &BTreeSet<SessionId>,
    stop: Stop<'_>,
) -> Result<Outcome, MirrorError> {
    let mut look = Look {
        repo,
        tip,
        mirror,
        work,
        paces,
        stop,
        now: Instant::now(),
        out: Outcome::default(),
    };
    let redacts = mirror.config.gate() == Gate::Redact;
    let mut ours = Vec::new();
    for session in &work.outgoing.sessions {
        let head = session.heads.iter().rev();
        let head = head.into_iter().find(|h| h.version.manifest.is_some());
        let Some(head) = head else { continue };
        if LocalState::load(&work.store, &session.session)?.is_none() {
            continue;
        }
        ours.push(Ours {
            session,
            head,
            key: session.session.to_string(),
            redact: redacts && held.contains(&session.session),
        });
    }
    // What can be told without its secrets is not held back here.
    let none = BTreeSet::new();
    let held = if redacts { &none } else { held };
    let free: Vec<&Ours<'_>> = ours
        .iter()
        .filter(|o| !held.contains(&o.session.session))
        .collect();
    if let Some(there) = look.below("tasks")? {
        Tasks::new(&mut look, there).all(&free, held)?;
    }
    if let Some(there) = look.below("sessions")? {
        Bundles::new(&mut look, there).all(&free)?;
    }
    Ok(look.out)
}

impl Look<'_> {
    /// All files below a directory at the tip; nothing if it is none.
    fn below(&self, dir: &str) -> Result<Option<BTreeMap<String, Node>>, MirrorError> {
        if !is_free(self.repo, self.tip, dir)? {
            return Ok(None);
        }
        let Some(tip) = self.tip else {
            return Ok(Some(BTreeMap::new()));
        };
        let files = self.repo.files(tip, &format!("{dir}/"))?;
        Ok(Some(files.into_iter().collect()))
    }

    /// Whether something that is no file stands at a place.
    fn is_taken(&self, path: &str) -> Result<bool, MirrorError> {
        let Some(tip) = self.tip else {
            return Ok(false);
        };
        Ok(self.repo.node(tip, path)?.is_some())
    }

    fn kept(&self, kind: Kind, key: &str) -> Option<&Written> {
        // Where the remote went back, what was written may not be there.
        let state = &self.mirror.state;
        let memory = match kind {
            Kind::Task => &state.tasks,
            Kind::Bundle => &state.bundles,
        };
        memory.get(key).filter(|_| !self.work.repush)
    }

    /// Whether the clock lets it through; otherwise it waits.
    fn is_due(&mut self, kind: Kind, session: &OutSession) -> bool {
        let config = &self.mirror.config;
        let every = match kind {
            Kind::Task => config.snapshot_every_s,
            Kind::Bundle => config.bundle_every_s,
        };
        let every = Duration::from_secs(every) / crate::rounds::hurry().unwrap_or(1);
        let at = (self.mirror.name.clone(), kind, session.session);
        let left = match self.paces.0.get(&at) {
            Some(last) if session.open && !self.work.force => {
                every.saturating_sub(self.now.duration_since(*last))
            }
            _ => Duration::ZERO,
        };
        if left.is_zero() {
            return true;
        }
        let soonest = self.out.pending.map_or(left, |p| p.min(left));
        self.out.pending = Some(soonest);
        false
    }

    fn remember(&mut self, kind: Kind, key: &str, written: Option<Written>) {
        self.out.memory.insert((kind, key.to_owned()), written);
    }

    fn write(&mut self, kind: Kind, ours: &Ours<'_>, path: String, of: String) {
        let written = Written {
            path,
            of,
            oid: None,
            left: false,
        };
        self.remember(kind, &ours.key, Some(written));
        self.out.paced.push((kind, ours.session.session));
    }
}

impl Outcome {
    /// Remembers what was pushed, or found to be there already.
    pub(crate) fn keep(
        self,
        repo: &Repo<'_>,
        tip: &Oid,
        mirror: &mut Mirror,
        paces: &mut Paces,
    ) -> Result<(), MirrorError> {
        let new = |w: &Option<Written>| w.as_ref().is_some_and(|w| w.oid.is_none());
        let mut there: BTreeMap<String, Oid> = BTreeMap::new();
        if self.memory.values().any(new) {
            for dir in ["tasks/", "sessions/"] {
                let files = repo.files(tip, dir)?.into_iter();
                there.extend(files.map(|(path, node)| (path, node.oid)));
            }
        }
        for ((kind, key), written) in self.memory {
            let memory = match kind {
                Kind::Task => &mut mirror.state.tasks,
                Kind::Bundle => &mut mirror.state.bundles,
            };
            match written {
                Some(mut written) => {
                    if written.oid.is_none() {
                        written.oid = there.get(&written.path).cloned();
                    }
                    memory.insert(key, written);
                }
                None => drop(memory.remove(&key)),
            }
        }
        let now = Instant::now();
        for (kind, session) in self.paced {
            paces.0.insert((mirror.name.clone(), kind, session), now);
        }
        Ok(())
    }
}
