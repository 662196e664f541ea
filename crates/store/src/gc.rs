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

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use ccpeer_core::id::{ChunkId, DeviceId};
use ccpeer_core::limits;
use ccpeer_core::manifest::{Want, WantKind};
use ccpeer_core::time::Instant;
use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata, WriteTransaction};

use crate::error::{StoreError, Trouble};
use crate::queue::Job;
use crate::tables::{self, COMPLETE, CONDEMNED, HAVE, META, META_UPTIME};
use crate::walk::Reach;
use crate::{Store, chunks};

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
    pub withdrawn: Vec<ChunkId>,
    /// Damaged manifests and list pages. What they refer to cannot be known, so
    /// nothing was condemned or freed; they should be fetched again.
    pub obscured: Vec<ChunkId>,
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

    /// Those of these manifests of which everything is here. Says all of them
    /// without looking while nothing is or was being collected, because then
    /// nothing can have gone.
    pub(crate) fn still_complete(&self, ids: &[ChunkId]) -> Result<Vec<ChunkId>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let idle = !self.watch.freed_some.load(Ordering::Acquire)
            && self.disk.read(|txn| Ok(open_condemned(txn)?.is_none()))?;
        let mut still = Vec::with_capacity(ids.len());
        for id in ids {
            let want = Want {
                id: *id,
                kind: WantKind::Manifest,
            };
            let missing = if idle {
                Ok(Vec::new())
            } else {
                self.missing(want)
            };
            match missing {
                Ok(missing) if missing.is_empty() => still.push(*id),
                // A snapshot's document is whole by itself.
                Err(StoreError::Wrong { .. }) => still.push(*id),
                Ok(_) => {
                    tracing::error!(manifest = %id, "not complete: some of it has been collected");
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

struct Run<'r> {
    store: &'r Store,
    go_on: &'r mut dyn FnMut() -> bool,
    uptime: u64,
    grace_ms: u64,
    done: Collected,
}

impl Run<'_> {
    /// Whether it came to its end.
    fn pass(&mut self, roots: &[Want]) -> Result<bool, StoreError> {
        let store = self.store;
        let mut needed = Reach::default();
        if !needed.extend(store, roots, &mut |_| Ok((self.go_on)()))? {
            return Ok(false);
        }
        self.done.needed = needed.len();
        // Manifests that nobody needs are held for complete until their own grace
        // has passed, and so long everything below them is spared.
        let (withdraw, lingering) = self.unneeded_complete(&needed)?;
        let mut spared = Reach::beyond(&needed);
        if !spared.extend(store, &lingering, &mut |_| Ok((self.go_on)()))? {
            return Ok(false);
        }
        self.done.obscured.clone_from(&needed.obscured);
        self.done.obscured.extend_from_slice(&spared.obscured);
        if !self.done.obscured.is_empty() {
            self.strike_off_damaged()?;
            return Ok(true);
        }
        let Some(due) = self.condemn(&needed, &spared)? else {
            return Ok(false);
        };
        Ok(self.withdraw(&withdraw)? && self.free(&due)?)
    }

    /// Of the manifests and documents that are held for complete and not needed,
    /// those for which that is over, and the others.
    fn unneeded_complete(
        &self,
        needed: &Reach<'_>,
    ) -> Result<(Vec<ChunkId>, Vec<Want>), StoreError> {
        let (mut withdraw, mut lingering) = (Vec::new(), Vec::new());
        for id in self.store.complete()? {
            if needed.contains(&id) {
                continue;
            }
            let (here, stamp) = self.store.disk.read(|txn| {
                let here = chunks::has(txn, &[id])? == [true];
                let stamp = match open_condemned(txn)? {
                    Some(condemned) => stamp_of(&condemned, &id)?,
                    None => None,
                };
                Ok((here, stamp))
            })?;
            if !here || self.is_due(stamp) {
                withdraw.push(id);
            } else {
                let kind = WantKind::Manifest;
                lingering.push(Want { id, kind });
            }
        }
        Ok((withdraw, lingering))
    }

    /// What is damaged must be fetched again before anything can go.
    fn strike_off_damaged(&mut self) -> Result<(), StoreError> {
        let ids = self.done.obscured.clone();
        let listed = self.store.disk.read(|txn| chunks::has(txn, &ids))?;
        let damaged: Vec<ChunkId> = ids
            .into_iter()
            .zip(listed)
            .filter_map(|(id, listed)| listed.then_some(id))
            .collect();
        if !damaged.is_empty() {
            self.done.withdrawn = self.store.quarantine(&damaged)?;
        }
        Ok(())
    }

    fn is_due(&self, stamp: Option<u64>) -> bool {
        // A stamp of a time that has not been is damaged: count from now.
        stamp.is_some_and(|s| {
            self.uptime
                .checked_sub(s)
                .is_some_and(|a| a >= self.grace_ms)
        })
    }

    /// Condemns what is not needed, pardons what is needed again, and returns
    /// what was condemned long enough ago.
    fn condemn(
        &mut self,
        needed: &Reach<'_>,
        spared: &Reach<'_>,
    ) -> Result<Option<Vec<ChunkId>>, StoreError> {
        let mut due = Vec::new();
        let mut next = Some(Vec::new());
        while let Some(from) = next {
            if !(self.go_on)() {
                return Ok(None);
            }
            let slice = self.store.disk.read(|txn| slice(txn, &from))?;
            next = slice.next;
            let mut sweep = Sweep::default();
            for (id, stamp) in slice.rows {
                match (needed.contains(&id), stamp) {
                    (true, None) => {}
                    (true, Some(_)) => sweep.pardon.push(id),
                    (false, None) => sweep.condemn.push(id),
                    (false, Some(stamp)) if stamp > self.uptime => sweep.condemn.push(id),
                    (false, stamp) if self.is_due(stamp) && !spared.contains(&id) => due.push(id),
                    (false, Some(_)) => self.done.waiting += 1,
                }
            }
            let (condemned, pardoned) = (sweep.condemn.len() as u64, sweep.pardon.len() as u64);
            if condemned + pardoned > 0 {
                self.run(sweep)?;
            }
            self.done.condemned += condemned;
            self.done.pardoned += pardoned;
        }
        Ok(Some(due))
    }

    /// Takes back that these are complete. `false` if somebody has asked for one
    /// of them meanwhile: what is below it must not go then.
    fn withdraw(&mut self, ids: &[ChunkId]) -> Result<bool, StoreError> {
        for part in ids.chunks(limits::COLLECT_ROWS_MAX) {
            if !(self.go_on)() {
                return Ok(false);
            }
            let _alone = self.store.watch.alone();
            let any_asked = {
                let asked = self.store.watch.asked();
                part.iter().any(|id| asked.contains(id))
            };
            if any_asked {
                return Ok(false);
            }
            self.run(Sweep {
                withdraw: part.to_vec(),
                ..Sweep::default()
            })?;
            self.done.withdrawn.extend_from_slice(part);
        }
        Ok(true)
    }

    fn free(&mut self, due: &[ChunkId]) -> Result<bool, StoreError> {
        for part in due.chunks(limits::COLLECT_ROWS_MAX) {
            if !(self.go_on)() {
                return Ok(false);
            }
            let _alone = self.store.watch.alone();
            let free: Vec<ChunkId> = {
                let asked = self.store.watch.asked();
                let unasked = part.iter().filter(|id| !asked.contains(id));
                unasked.copied().collect()
            };
            let packed = |txn: &ReadTransaction| {
                let rows = chunks::rows(txn, &free)?;
                Ok(rows.iter().fold((0, 0), |(n, bytes), have| {
                    (n + 1, bytes + u64::from(have.packed_len))
                }))
            };
            let before = self.store.disk.read(packed)?;
            self.store.watch.freed_some.store(true, Ordering::Release);
            self.run(Sweep {
                free: free.clone(),
                ..Sweep::default()
            })?;
            // Some may have been pardoned in the last moment.
            let after = self.store.disk.read(packed)?;
            self.done.freed += before.0 - after.0;
            self.done.freed_bytes += before.1 - after.1;
        }
        Ok(true)
    }

    fn run(&self, sweep: Sweep) -> Result<(), StoreError> {
        self.store.queue.run(&self.store.disk, Job::Sweep(sweep))
    }
}

/// What one transaction of the collector changes.
#[derive(Debug, Default)]
pub(crate) struct Sweep {
    /// Needed or asked for: condemned no longer.
    pardon: Vec<ChunkId>,
    /// Not needed as of now.
    condemn: Vec<ChunkId>,
    /// Manifests no longer held for complete.
    withdraw: Vec<ChunkId>,
    /// To go, if they are still condemned.
    free: Vec<ChunkId>,
    /// Milliseconds to be added to the uptime.
    passed_ms: u64,
}

impl Sweep {
    pub(crate) fn bytes(&self) -> usize {
        let rows =
            self.pardon.len() + self.condemn.len() + self.withdraw.len() + 4 * self.free.len();
        rows * 64
    }

    pub(crate) fn apply(&self, txn: &WriteTransaction) -> Result<(), Trouble> {
        let uptime = uptime(&txn.open_table(META)?)?.saturating_add(self.passed_ms);
        if self.passed_ms > 0 {
            let row = tables::seal(&META, META_UPTIME, &uptime.to_le_bytes());
            txn.open_table(META)?.insert(META_UPTIME, row.as_slice())?;
        }
        let mut condemned = txn.open_table(CONDEMNED)?;
        for id in &self.pardon {
            condemned.remove(id.0.as_slice())?;
        }
        for id in &self.condemn {
            let key = id.0.as_slice();
            let row = tables::seal(&CONDEMNED, key, &uptime.to_le_bytes());
            condemned.insert(key, row.as_slice())?;
        }
        let mut free = Vec::with_capacity(self.free.len());
        for id in &self.free {
            // Writers before us, in this transaction too, may have pardoned it.
            if condemned.remove(id.0.as_slice())?.is_some() {
                free.push(*id);
            }
        }
        let mut complete = txn.open_table(COMPLETE)?;
        for id in self.withdraw.iter().chain(&free) {
            complete.remove(id.0.as_slice())?;
        }
        if free.is_empty() {
            return Ok(());
        }
        chunks::remove(&free, txn)
    }
}

/// Rows of what we hold and when each was condemned.
struct Slice {
    rows: Vec<(ChunkId, Option<u64>)>,
    /// Where the next one begins.
    next: Option<Vec<u8>>,
}

fn slice(txn: &ReadTransaction, from: &[u8]) -> Result<Slice, Trouble> {
    let condemned = open_condemned(txn)?;
    let mut rows = Vec::new();
    for row in txn.open_table(HAVE)?.range(from..)? {
        let (key, _) = row?;
        let Some(id) = tables::id_of(key.value()) else {
            continue;
        };
        if rows.len() == limits::COLLECT_ROWS_MAX {
            let next = Some(key.value().to_vec());
            return Ok(Slice { rows, next });
        }
        let stamp = match &condemned {
            Some(condemned) => stamp_of(condemned, &id)?,
            None => None,
        };
        rows.push((id, stamp));
    }
    Ok(Slice { rows, next: None })
}

type ReadTable = redb::ReadOnlyTable<&'static [u8], &'static [u8]>;

/// The condemned, if there are any. The table came later than the others, and
/// does not exist in every store.
fn open_condemned(txn: &ReadTransaction) -> Result<Option<ReadTable>, Trouble> {
    match txn.open_table(CONDEMNED) {
        Ok(table) if table.is_empty()? => Ok(None),
        Ok(table) => Ok(Some(table)),
        Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// The uptime at which a chunk was condemned; one that cannot be read lies in
/// the future.
fn stamp_of(condemned: &ReadTable, id: &ChunkId) -> Result<Option<u64>, Trouble> {
    let key = id.0.as_slice();
    let row = condemned.get(key)?;
    Ok(row.map(|row| number(tables::unseal(&CONDEMNED, key, row.value())).unwrap_or(u64::MAX)))
}

/// Milliseconds that an agent has had this store open, as far as runs of the
/// collector have counted them. If the row is damaged, it begins anew, and with
/// it the grace of everything.
fn uptime(meta: &impl ReadableTable<&'static [u8], &'static [u8]>) -> Result<u64, Trouble> {
    let row = meta.get(META_UPTIME)?;
    let value = row
        .as_ref()
        .and_then(|row| tables::unseal(&META, META_UPTIME, row.value()));
    Ok(number(value).unwrap_or(0))
}

fn number(bytes: Option<&[u8]>) -> Option<u64> {
    Some(u64::from_le_bytes(bytes?.try_into().ok()?))
}
