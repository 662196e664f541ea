//! The simulated disk: what was written, and what of it would survive a crash.
//!
//! Several writes may be under way at once. Each changes what a reader sees when
//! it is done, and not before. After a crash there is what was done; of what was
//! under way a batch may have made it or not, but never in part, and of several
//! chunks any of them may have. Bits may flip in chunks, and the disk may be
//! full.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use ccpeer_core::entry::{SignedEntry, VerifiedEntry};
use ccpeer_core::id::{ChunkId, Epoch, LogId, Seq};
use ccpeer_core::manifest::{Want, WantKind};
use ccpeer_core::store::{Batch, Recovered, Store};

/// One state of a disk.
#[derive(Debug, Clone, Default)]
pub struct Image {
    /// The epoch to write in.
    pub epoch: Option<Epoch>,
    /// Entries by log, in order.
    pub logs: BTreeMap<LogId, Vec<Rc<VerifiedEntry>>>,
    /// Manifests and snapshots known to be whole.
    pub complete: BTreeSet<Want>,
    /// Chunks by hash.
    pub chunks: BTreeMap<ChunkId, Rc<Vec<u8>>>,
    /// Chunks in which a bit has flipped. Only the checks know of it; whoever
    /// reads has to look at the content.
    pub flipped: BTreeSet<ChunkId>,
}

/// A disk with what was not synced yet.
#[derive(Debug, Clone, Default)]
pub struct Disk {
    /// What a reader sees.
    pub live: Image,
    /// What survives a crash.
    pub durable: Image,
    /// Writes under way, by their number.
    pending: BTreeMap<u64, Write>,
    next: u64,
    /// Nothing more fits.
    pub full: bool,
    /// A planted bug: syncing does nothing.
    pub forgetful: bool,
}

/// What chunks refer to: the same for every device, so it is read once a world.
/// `None` where a chunk is not of its kind.
#[derive(Debug, Clone, Default)]
pub struct Memo(HashMap<(ChunkId, WantKind), Option<Rc<Vec<Want>>>>);

impl Memo {
    /// What a chunk refers to, if it is of its kind. The content must be what its
    /// id says.
    pub fn children(&mut self, want: &Want, content: &[u8]) -> Option<Rc<Vec<Want>>> {
        let children = self.0.entry((want.id, want.kind));
        children
            .or_insert_with(|| want.children(content).ok().map(Rc::new))
            .clone()
    }
}

#[derive(Debug, Clone)]
enum Write {
    Batch(Rc<Batch>),
    Chunks(Rc<Vec<(ChunkId, Rc<Vec<u8>>)>>),
}

/// Why the simulated disk refuses something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskError {
    /// An entry is not the next one of its log.
    OutOfOrder(LogId, Seq),
    /// A chunk is not what its id says.
    WrongContent(ChunkId),
    /// There is no room.
    Full,
}

impl Disk {
    /// A new disk with its first epoch.
    #[must_use]
    pub fn fresh(epoch: Epoch) -> Self {
        let image = Image {
            epoch: Some(epoch),
            ..Image::default()
        };
        Self {
            live: image.clone(),
            durable: image,
            ..Self::default()
        }
    }

    /// Begins to write a batch. Gives the number of the write.
    ///
    /// # Errors
    /// When an entry is not the next one of its log, or there is no room.
    pub fn write(&mut self, batch: &Batch) -> Result<u64, DiskError> {
        if self.full {
            return Err(DiskError::Full);
        }
        self.live.check(batch)?;
        Ok(self.begin(Write::Batch(Rc::new(batch.clone()))))
    }

    /// Begins to write chunks. Gives the number of the write.
    ///
    /// # Errors
    /// When a chunk is not what its id says, or there is no room.
    pub fn write_chunks(&mut self, chunks: Vec<(ChunkId, Rc<Vec<u8>>)>) -> Result<u64, DiskError> {
        if self.full {
            return Err(DiskError::Full);
        }
        for (id, bytes) in &chunks {
            if ChunkId::of(bytes) != *id {
                return Err(DiskError::WrongContent(*id));
            }
        }
        Ok(self.begin(Write::Chunks(Rc::new(chunks))))
    }

    fn begin(&mut self, write: Write) -> u64 {
        self.next += 1;
        self.pending.insert(self.next, write);
        self.next
    }

    /// A write is done, and durable.
    pub fn done(&mut self, number: u64) {
        if let Some(write) = self.pending.remove(&number) {
            self.live.apply(&write);
            if !self.forgetful {
                self.durable.apply(&write);
            }
        }
    }

    /// The device dies. Of what was under way, some happens to have made it:
    /// `made_it` says so for a batch as a whole and for each single chunk. True
    /// if some chunks of a write made it and others did not.
    pub fn crash(&mut self, mut made_it: impl FnMut() -> bool) -> bool {
        let mut torn = false;
        for (_, write) in std::mem::take(&mut self.pending) {
            match &write {
                Write::Batch(_) if made_it() => self.durable.apply(&write),
                Write::Batch(_) => {}
                Write::Chunks(chunks) => {
                    let some: Vec<_> = chunks.iter().filter(|_| made_it()).cloned().collect();
                    torn |= !some.is_empty() && some.len() < chunks.len();
                    self.durable.apply(&Write::Chunks(Rc::new(some)));
                }
            }
        }
        self.live = self.durable.clone();
        torn
    }

    /// A bit flips in a chunk.
    pub fn flip(&mut self, id: &ChunkId, bit: u64) {
        for image in [&mut self.live, &mut self.durable] {
            let Some(held) = image.chunks.get_mut(id).filter(|c| !c.is_empty()) else {
                continue;
            };
            if !image.flipped.insert(*id) {
                continue;
            }
            let mut bytes = held.to_vec();
            let at = (bit / 8) as usize % bytes.len();
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << (bit % 8);
            }
            *held = Rc::new(bytes);
        }
    }

    /// Strikes chunks off that were found to be damaged, and gives the roots that
    /// are no longer whole by that.
    pub fn quarantine(&mut self, ids: &BTreeSet<ChunkId>, memo: &Memo) -> Vec<Want> {
        if ids.is_empty() {
            return Vec::new();
        }
        let hit = |root: &Want| {
            let of = |want: &Want| memo.0.get(&(want.id, want.kind)).cloned().flatten();
            let mut next = vec![*root];
            while let Some(want) = next.pop() {
                if ids.contains(&want.id) {
                    return true;
                }
                next.extend(of(&want).iter().flat_map(|c| c.iter().copied()));
            }
            false
        };
        let broken: Vec<Want> = self.live.complete.iter().copied().filter(hit).collect();
        for image in [&mut self.live, &mut self.durable] {
            for id in ids {
                image.chunks.remove(id);
                image.flipped.remove(id);
            }
            broken.iter().for_each(|root| {
                image.complete.remove(root);
            });
        }
        broken
    }

    /// Puts an older state in place, as somebody does who restores a backup.
    pub fn restore(&mut self, image: Image) {
        self.pending.clear();
        self.live = image.clone();
        self.durable = image;
    }

    /// Throws chunks away, as no disk of ours ever does by itself.
    pub fn lose_chunks(&mut self, ids: &[ChunkId]) {
        for id in ids {
            self.live.chunks.remove(id);
            self.durable.chunks.remove(id);
        }
    }
}

impl Image {
    /// The content of a chunk, if it is here and still what its id says.
    #[must_use]
    pub fn sound(&self, id: &ChunkId) -> Option<&Rc<Vec<u8>>> {
        self.chunks.get(id).filter(|c| ChunkId::of(c) == *id)
    }

    /// Of a want and all that it refers to, what is not here. A want that is
    /// absent itself hides what it refers to, and so does one that is not of its
    /// kind. Manifests and pages are read: those that are damaged are missing,
    /// and named in `damaged`.
    pub fn missing(
        &self,
        want: &Want,
        memo: &mut Memo,
        damaged: &mut BTreeSet<ChunkId>,
    ) -> Vec<Want> {
        let Some(content) = self.chunks.get(&want.id) else {
            return vec![*want];
        };
        if want.kind == WantKind::Data {
            return Vec::new();
        }
        if self.flipped.contains(&want.id) {
            damaged.insert(want.id);
            return vec![*want];
        }
        let Some(children) = memo.children(want, content) else {
            return vec![*want];
        };
        children
            .iter()
            .flat_map(|child| self.missing(child, memo, damaged))
            .collect()
    }

    /// The same for a judge, who sees through damage that nobody has found yet.
    #[must_use]
    pub fn lacks(&self, want: &Want, memo: &mut Memo) -> usize {
        let Some(content) = self.chunks.get(&want.id) else {
            return 1;
        };
        let children = if self.flipped.contains(&want.id) {
            memo.0.get(&(want.id, want.kind)).cloned()
        } else {
            Some(memo.children(want, content))
        };
        match children {
            Some(Some(children)) => children.iter().map(|child| self.lacks(child, memo)).sum(),
            // Damaged before anybody ever read it.
            None => 0,
            Some(None) => 1,
        }
    }

    /// Length of a chunk; zero if it is not here.
    #[must_use]
    pub fn len_of(&self, id: &ChunkId) -> u64 {
        self.chunks.get(id).map_or(0, |c| c.len() as u64)
    }

    /// All entries.
    pub fn entries(&self) -> impl Iterator<Item = &Rc<VerifiedEntry>> {
        self.logs.values().flatten()
    }

    fn check(&self, batch: &Batch) -> Result<(), DiskError> {
        let mut tips: BTreeMap<LogId, (u64, ccpeer_core::id::EntryHash)> = BTreeMap::new();
        for entry in &batch.entries {
            let log = entry.log();
            let (seq, hash) = tips.get(&log).copied().unwrap_or_else(|| {
                let held = self.logs.get(&log);
                held.and_then(|l| l.last().map(|e| (l.len() as u64, e.hash())))
                    .unwrap_or((0, ccpeer_core::id::EntryHash::ZERO))
            });
            let header = entry.header();
            if header.seq.0 != seq + 1 || header.prev != hash {
                return Err(DiskError::OutOfOrder(log, header.seq));
            }
            tips.insert(log, (header.seq.0, entry.hash()));
        }
        Ok(())
    }

    fn apply(&mut self, write: &Write) {
        match write {
            Write::Batch(batch) => {
                for entry in &batch.entries {
                    self.logs
                        .entry(entry.log())
                        .or_default()
                        .push(Rc::new(entry.clone()));
                }
                self.complete.extend(batch.complete.iter().copied());
                self.epoch = batch.epoch.or(self.epoch);
            }
            Write::Chunks(chunks) => {
                for (id, content) in chunks.iter() {
                    self.chunks.insert(*id, Rc::clone(content));
                    self.flipped.remove(id);
                }
            }
        }
    }
}

impl Store for Disk {
    type Error = DiskError;

    fn commit(&mut self, batch: &Batch) -> Result<(), DiskError> {
        let number = self.write(batch)?;
        self.done(number);
        Ok(())
    }

    fn recovered(&self) -> Result<Recovered, DiskError> {
        Ok(Recovered {
            epoch: self.live.epoch.unwrap_or(Epoch([0; 16])),
            entries: self
                .live
                .entries()
                .map(|e| VerifiedEntry::clone(e))
                .collect(),
            complete: self.live.complete.clone(),
        })
    }

    fn range(
        &self,
        log: LogId,
        after: Seq,
        upto: Seq,
        bytes_max: usize,
    ) -> Result<Vec<SignedEntry>, DiskError> {
        let mut out = Vec::new();
        let mut bytes = 0;
        let entries = self
            .live
            .logs
            .get(&log)
            .map(Vec::as_slice)
            .unwrap_or_default();
        for entry in entries
            .iter()
            .filter(|e| e.seq() > after && e.seq() <= upto)
        {
            bytes += entry.signed().size();
            if !out.is_empty() && bytes > bytes_max {
                break;
            }
            out.push(entry.signed().clone());
        }
        Ok(out)
    }

    fn put_chunks(&mut self, chunks: &[(ChunkId, Vec<u8>)]) -> Result<(), DiskError> {
        let chunks = chunks.iter().map(|(id, c)| (*id, Rc::new(c.clone())));
        let number = self.write_chunks(chunks.collect())?;
        self.done(number);
        Ok(())
    }

    fn get_chunk(&self, id: &ChunkId) -> Result<Option<Vec<u8>>, DiskError> {
        match self.live.chunks.get(id) {
            Some(content) if ChunkId::of(content) != *id => Err(DiskError::WrongContent(*id)),
            content => Ok(content.map(|c| c.to_vec())),
        }
    }

    fn has(&self, ids: &[ChunkId]) -> Result<Vec<bool>, DiskError> {
        Ok(ids
            .iter()
            .map(|id| self.live.chunks.contains_key(id))
            .collect())
    }
}
