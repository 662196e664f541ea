//! Chunks that lie by themselves, or in small packs, or in packs that are mostly
//! garbage, are brought together in the order in which they are read. Bounded work a
//! run; each new pack is one transaction, so a crash leaves each chunk in one place.

use std::collections::BTreeSet;

use ccpeer_core::id::ChunkId;
use ccpeer_core::limits;
use ccpeer_core::manifest::{Want, WantKind};
use redb::ReadTransaction;

use super::run::Run;
use crate::chunks::{Given, Packer};
use crate::error::{StoreError, Trouble};
use crate::packs::{self, List, MEMBERS_MAX, Move, PACK_BYTES, Pack};
use crate::queue::Job;
use crate::tables::{Have, PACKS, PackNo};
use crate::{Store, chunks, scan};

/// A pack with less content is small, and so is what is left over of a run.
const SMALL_BYTES: usize = PACK_BYTES / 2;
/// A pack of which less than one part of so many is needed is written anew.
const NEEDED_SHARE: u64 = 2;

/// Needed chunks that should lie in a pack with others, in the order in which they
/// are read.
#[derive(Default)]
pub(super) struct Loose {
    ids: Vec<ChunkId>,
    bytes: u64,
}

impl Loose {
    /// Notes those of these that lie by themselves or in small packs, until there
    /// are enough for one run.
    pub(super) fn look_at(&mut self, store: &Store, wants: &[Want]) -> Result<(), StoreError> {
        if self.is_enough() {
            return Ok(());
        }
        let rows = store.disk.read(|txn| {
            let mut rows = Vec::new();
            // What refers to others is read by itself, and stays by itself.
            for want in wants.iter().filter(|w| w.kind == WantKind::Data) {
                let row = chunks::row(txn, &want.id)?;
                rows.extend(row.map(|have| (want.id, have)));
            }
            Ok(rows)
        })?;
        for (id, have) in rows {
            if is_loose(have) && !self.is_enough() {
                self.add(id, have.raw_len);
            }
        }
        Ok(())
    }

    fn add(&mut self, id: ChunkId, len: u32) {
        self.ids.push(id);
        self.bytes += u64::from(len);
    }

    fn is_enough(&self) -> bool {
        self.bytes >= limits::REPACK_BYTES_MAX
    }
}

fn is_loose(have: Have) -> bool {
    have.spot
        .is_none_or(|spot| (spot.whole as usize) < SMALL_BYTES)
}

/// What is about to become a pack.
#[derive(Default)]
struct Gathered {
    content: Vec<Given>,
    before: Vec<Have>,
    bytes: usize,
    old: BTreeSet<PackNo>,
}

impl Run<'_> {
    /// Whether it came to its end.
    pub(super) fn repack(&mut self, mut loose: Loose) -> Result<bool, StoreError> {
        let Some(sparse) = self.sparse(&mut loose)? else {
            return Ok(false);
        };
        let mut gathered = Gathered::default();
        let mut seen = BTreeSet::new();
        for id in loose.ids.into_iter().filter(|id| seen.insert(*id)) {
            let store = self.store;
            let read = store.disk.read(|txn| {
                let have = chunks::row(txn, &id)?;
                Ok((have, chunks::get(txn, &store.shelf, &id)?))
            })?;
            // What is damaged is found and struck off by whoever asks for it.
            let (Some(have), Some(Ok(content))) = read else {
                continue;
            };
            let in_sparse = have.spot.is_some_and(|spot| sparse.contains(&spot.pack));
            if packs::refers(&content) || !(in_sparse || is_loose(have)) {
                continue;
            }
            gathered.bytes += content.len();
            gathered.before.push(have);
            gathered.content.push((id, content));
            gathered.old.extend(have.spot.map(|spot| spot.pack));
            let full = gathered.bytes >= PACK_BYTES || gathered.content.len() >= MEMBERS_MAX;
            if full && !self.write(std::mem::take(&mut gathered))? {
                return Ok(false);
            }
        }
        // Less is not worth it, unless something goes by it.
        let releases = gathered.old.iter().any(|no| sparse.contains(no));
        if (gathered.bytes >= SMALL_BYTES || releases) && !self.write(gathered)? {
            return Ok(false);
        }
        // Those that hold nothing any more that could have been moved.
        self.write(Gathered {
            old: sparse,
            ..Gathered::default()
        })
    }

    /// Packs that are mostly garbage, or damaged, as many as one run can write anew. What is
    /// needed of them is put with the rest.
    fn sparse(&mut self, loose: &mut Loose) -> Result<Option<BTreeSet<PackNo>>, StoreError> {
        let mut sparse = BTreeSet::new();
        let mut stopped = false;
        let mut failed = None;
        scan::rows(&self.store.disk, PACKS, &[], &mut |key, row| {
            stopped = !(self.go_on)();
            let Some((no, list)) = PackNo::of_key(key).zip(List::read(key, row)) else {
                return !stopped;
            };
            match self.store.disk.read(|txn| is_worn(txn, no, &list)) {
                Ok(true) => {
                    sparse.insert(no);
                    for member in list.members {
                        loose.add(member.id, member.len);
                    }
                }
                Ok(false) => {}
                Err(error) => failed = Some(error),
            }
            !stopped && failed.is_none() && !loose.is_enough()
        })?;
        failed.map_or(Ok((!stopped).then_some(sparse)), Err)
    }

    fn write(&mut self, gathered: Gathered) -> Result<bool, StoreError> {
        if gathered.content.is_empty() && gathered.old.is_empty() {
            return Ok(true);
        }
        if !(self.go_on)() {
            return Ok(false);
        }
        let given: Vec<&Given> = gathered.content.iter().collect();
        let pack = (!given.is_empty())
            .then(|| Pack::of(self.store.shelf.number(), &given, &mut Packer::new()));
        self.done.moved += given.len() as u64;
        let moved = Move {
            pack,
            before: gathered.before,
            old: gathered.old.into_iter().collect(),
        };
        self.store.queue.run(&self.store.disk, Job::Move(moved))?;
        Ok(true)
    }
}

/// Whether a pack is to be written anew: little of it is needed, or some of it was
/// struck off as damaged and has come again.
fn is_worn(txn: &ReadTransaction, no: PackNo, list: &List) -> Result<bool, Trouble> {
    let mut needed = 0u64;
    for member in &list.members {
        match chunks::row(txn, &member.id)? {
            Some(have) if have.spot.is_none_or(|spot| spot.pack != no) => return Ok(true),
            Some(have) if !packs::is_at(have, no, member) => {}
            // Struck off and not here again: it may turn out to be whole.
            Some(_) | None => needed += u64::from(member.len),
        }
    }
    Ok(needed.saturating_mul(NEEDED_SHARE) < u64::from(list.whole))
}
