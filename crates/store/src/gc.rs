//! Collecting garbage: chunks that nothing needs any more go, after a grace.
//! Knows what refers to what; who needs a version, and for how long, is the
//! caller's decision and comes in as roots.
//!
//! A chunk goes in two steps that lie far apart. The first run that cannot reach
//! it from any root **condemns** it: a row says so, durably, with the time. A
//! later run that still cannot reach it **frees** it, when the grace has passed.
//! What is put again, asked for or referred to meanwhile is **pardoned** and
//! starts from the beginning.
//!
//! **No clock can hasten it.** The grace is counted in time during which an
//! agent had this store open, as told by a monotonic clock, of which each run
//! adds a bounded amount. Wall time is not asked: a clock that is wrong, or
//! jumps, changes nothing.
//!
//! **A complete manifest has its chunks.** What a manifest refers to that is held
//! for complete stays for as long as it is held so; that is taken back, durably,
//! before the first of them goes.
//!
//! **Where the view is blocked, nothing goes.** A damaged manifest or list page
//! hides what it refers to; until it is whole again, nobody can tell what is
//! garbage.

mod run;
mod sweep;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use ccpeer_core::id::{ChunkId, DeviceId};
use ccpeer_core::limits;
use ccpeer_core::manifest::Want;
use ccpeer_core::time::Instant;
use redb::ReadTransaction;

use crate::error::{StoreError, Trouble};
use crate::queue::Job;
use crate::tables::META;
use crate::walk::Reach;
use crate::{Store, chunks};

use run::Run;
pub(crate) use sweep::Sweep;
use sweep::{open_condemned, uptime};

/// What must stay, and when we are.
#[derive(Debug, Clone)]
pub struct CollectPlan {
    /// Everything that is needed; what these refer to stays with them. All
    /// manifests and snapshot documents of entries whose content is to be kept,
    /// complete or not, what is being fetched, and what is being placed.
    pub roots: Vec<Want>,
    /// The agent's monotonic clock.
    pub now: Instant,
    /// How long a chunk must have been garbage, in milliseconds of time with an
    /// agent running.
    pub grace_ms: u64,
}

impl CollectPlan {
    /// A plan with the usual grace, [`limits::COLLECT_GRACE_MS`].
    #[must_use]
    pub fn new(roots: Vec<Want>, now: Instant) -> Self {
        Self {
            roots,
            now,
            grace_ms: limits::COLLECT_GRACE_MS,
        }
    }
}

/// What a run has done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Collected {
    /// Chunks that are needed, here or not.
    pub needed: u64,
    /// Chunks condemned by this run.
    pub condemned: u64,
    /// Chunks that had been condemned and are needed or were asked for again.
    pub pardoned: u64,
    /// Chunks condemned earlier whose grace has not passed.
    pub waiting: u64,
    /// Chunks that are gone.
    pub freed: u64,
    /// Their bytes, as they were kept. The file gets shorter by
    /// [`Store::compact`] only; until then new content takes their place.
    pub freed_bytes: u64,
    /// Manifests and documents that are no longer held for complete. Whoever
    /// remembers that they were must forget it.
    pub withdrawn: Vec<Want>,
    /// Damaged manifests and list pages. What they refer to cannot be known, so
    /// nothing was condemned or freed; they should be fetched again.
    pub obscured: Vec<Want>,
    /// Whether the run came to its end. If not, the next one goes on.
    pub finished: bool,
}

/// What an author's content takes, each chunk counted once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Charge {
    /// Chunks held.
    pub chunks: u64,
    /// Their bytes as they were given.
    pub raw_bytes: u64,
    /// Their bytes as they are kept.
    pub packed_bytes: u64,
}

impl Store {
    /// One run of the collector: condemns what cannot be reached from the roots,
    /// and frees what was condemned long enough ago. Meant to be called every
    /// hour or so; only one at a time does anything. `go_on` is asked between
    /// steps that take milliseconds; when it says no, the run ends there, and
    /// nothing is lost but time.
    ///
    /// Everybody else goes on meanwhile. Whoever was told that a chunk is here,
    /// by [`Store::has`], [`Store::missing`] or [`Store::put_chunks`], has the
    /// whole grace from then on to refer to it.
    ///
    /// # Errors
    /// When the store cannot be read or written. Manifests may have been
    /// withdrawn by then: [`Store::complete`] tells.
    pub fn collect(
        &self,
        plan: &CollectPlan,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Collected, StoreError> {
        let Ok(mut last) = self.watch.last_run.try_lock() else {
            return Ok(Collected::default());
        };
        let (uptime, pardoned) = self.begin_run(plan.now, &mut last)?;
        let mut run = Run {
            store: self,
            go_on,
            uptime,
            grace_ms: plan.grace_ms,
            done: Collected {
                pardoned,
                ..Collected::default()
            },
        };
        run.done.finished = run.pass(&plan.roots)?;
        Ok(run.done)
    }

    /// What each author's content takes here. A chunk is charged to the first
    /// author in the order given that reaches it.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn charges(
        &self,
        authors: &[(DeviceId, Vec<Want>)],
    ) -> Result<BTreeMap<DeviceId, Charge>, StoreError> {
        let mut reach = Reach::default();
        let mut charges: BTreeMap<DeviceId, Charge> = BTreeMap::new();
        for (author, roots) in authors {
            let charge = charges.entry(*author).or_default();
            reach.extend(self, roots, &mut |fresh| {
                for have in self.disk.read(|txn| chunks::rows(txn, fresh))? {
                    charge.chunks += 1;
                    charge.raw_bytes += u64::from(have.raw_len);
                    charge.packed_bytes += u64::from(have.packed_len);
                }
                Ok(true)
            })?;
        }
        Ok(charges)
    }

    /// Counts the time since the last run, and makes pardons durable that were
    /// only remembered. Returns the uptime, and how many those were.
    fn begin_run(
        &self,
        now: Instant,
        last: &mut Option<Instant>,
    ) -> Result<(u64, u64), StoreError> {
        let asked: Vec<ChunkId> = self.watch.asked().iter().copied().collect();
        // The first run after a start cannot know how long it has been.
        let passed = last.map_or(0, |last| now.since_ms(last));
        let pardoned = asked.len() as u64;
        self.pardon_asked(asked, passed.min(limits::COLLECT_STEP_MS_MAX))?;
        *last = Some(now);
        let uptime = self.disk.read(|txn| uptime(&txn.open_table(META)?))?;
        Ok((uptime, pardoned))
    }

    /// Remembers which of these are condemned, because somebody was told that
    /// they are here. The guard must be held since before that was looked up.
    pub(crate) fn note_asked(
        &self,
        _asking: &RwLockReadGuard<'_, ()>,
        txn: &ReadTransaction,
        here: impl Iterator<Item = ChunkId>,
    ) -> Result<(), Trouble> {
        let Some(condemned) = open_condemned(txn)? else {
            return Ok(());
        };
        let mut found = Vec::new();
        for id in here {
            if condemned.get(id.0.as_slice())?.is_some() {
                found.push(id);
            }
        }
        if !found.is_empty() {
            self.watch.asked().extend(found);
        }
        Ok(())
    }

    /// Pardons durably those of these that are condemned and were just found to be
    /// here.
    pub(crate) fn pardon(&self, ids: &[ChunkId]) -> Result<(), StoreError> {
        let pardon: Vec<ChunkId> = {
            let asked = self.watch.asked();
            if asked.is_empty() {
                return Ok(());
            }
            ids.iter()
                .filter(|id| asked.contains(id))
                .copied()
                .collect()
        };
        self.pardon_asked(pardon, 0)
    }

    fn pardon_asked(&self, pardon: Vec<ChunkId>, passed_ms: u64) -> Result<(), StoreError> {
        if pardon.is_empty() && passed_ms == 0 {
            return Ok(());
        }
        let sweep = Sweep {
            pardon: pardon.clone(),
            passed_ms,
            ..Sweep::default()
        };
        self.queue.run(&self.disk, Job::Sweep(sweep))?;
        let mut asked = self.watch.asked();
        for id in &pardon {
            asked.remove(id);
        }
        Ok(())
    }

    /// Nothing is or was being collected since the store was opened.
    pub(crate) fn nothing_can_have_gone(&self) -> Result<bool, StoreError> {
        Ok(!self.watch.freed_some.load(Ordering::Acquire)
            && self.disk.read(|txn| Ok(open_condemned(txn)?.is_none()))?)
    }

    /// Those of these manifests and snapshots of which everything is here. Says all of them
    /// without looking while nothing is or was being collected, because then
    /// nothing can have gone.
    pub(crate) fn still_complete(&self, wants: &[Want]) -> Result<Vec<Want>, StoreError> {
        if wants.is_empty() {
            return Ok(Vec::new());
        }
        let idle = self.nothing_can_have_gone()?;
        let mut still = Vec::with_capacity(wants.len());
        for want in wants {
            let missing = if idle {
                Ok(Vec::new())
            } else {
                self.missing(*want)
            };
            match missing {
                Ok(missing) if missing.is_empty() => still.push(*want),
                Ok(_) | Err(StoreError::Wrong { .. }) => {
                    tracing::error!(root = %want.id, kind = ?want.kind, "not complete: some of it has been collected");
                }
                Err(e) => return Err(e),
            }
        }
        Ok(still)
    }
}

/// What the collector and those who ask for chunks must know of each other.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// Held for reading while somebody finds out that a chunk is here, for
    /// writing while chunks are freed.
    asking: RwLock<()>,
    /// Condemned chunks that somebody was told are here. They are pardoned by
    /// the next run. Whoever was told lives in this process, so it need not be
    /// durable.
    asked: Mutex<BTreeSet<ChunkId>>,
    /// When the last run was. Held during a run.
    last_run: Mutex<Option<Instant>>,
    /// Whether this process has ever freed a chunk.
    freed_some: AtomicBool,
}

impl Watch {
    /// To be held from before a look at what is here until it is noted.
    pub(crate) fn asking(&self) -> RwLockReadGuard<'_, ()> {
        self.asking.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nobody is being told that a chunk is here while this is held.
    fn alone(&self) -> RwLockWriteGuard<'_, ()> {
        self.asking.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn asked(&self) -> MutexGuard<'_, BTreeSet<ChunkId>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
