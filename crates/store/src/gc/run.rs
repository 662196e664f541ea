//! One run of the collector, step by step.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use ccpeer_core::id::ChunkId;
use ccpeer_core::limits;
use ccpeer_core::manifest::Want;
use redb::ReadTransaction;

use super::Collected;
use super::sweep::{Sweep, open_condemned, slice, stamp_of};
use crate::error::StoreError;
use crate::queue::Job;
use crate::walk::Reach;
use crate::{Store, chunks};

/// A run under way.
pub(super) struct Run<'r> {
    pub(super) store: &'r Store,
    pub(super) go_on: &'r mut dyn FnMut() -> bool,
    pub(super) uptime: u64,
    pub(super) grace_ms: u64,
    pub(super) done: Collected,
}

impl Run<'_> {
    /// Whether it came to its end.
    pub(super) fn pass(&mut self, roots: &[Want]) -> Result<bool, StoreError> {
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
    fn unneeded_complete(&self, needed: &Reach<'_>) -> Result<(Vec<Want>, Vec<Want>), StoreError> {
        let (mut withdraw, mut lingering) = (Vec::new(), Vec::new());
        for want in self.store.complete()? {
            if needed.has(&want) {
                continue;
            }
            let id = want.id;
            if needed.contains(&id) {
                // Needed as something else, so its own grace will never pass. What
                // is below it gets one, like everything that nobody needs.
                withdraw.push(want);
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
                withdraw.push(want);
            } else {
                lingering.push(want);
            }
        }
        Ok((withdraw, lingering))
    }

    /// What is damaged must be fetched again before anything can go.
    fn strike_off_damaged(&mut self) -> Result<(), StoreError> {
        let obscured: BTreeSet<ChunkId> = self.done.obscured.iter().map(|w| w.id).collect();
        let ids: Vec<ChunkId> = obscured.into_iter().collect();
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
    fn withdraw(&mut self, marks: &[Want]) -> Result<bool, StoreError> {
        for part in marks.chunks(limits::COLLECT_ROWS_MAX) {
            if !(self.go_on)() {
                return Ok(false);
            }
            let _alone = self.store.watch.alone();
            let any_asked = {
                let asked = self.store.watch.asked();
                part.iter().any(|want| asked.contains(&want.id))
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
