//! The simulated disk: what was written, and what of it would survive a crash.
//!
//! A write changes the live image at once and the durable one only at the next
//! sync. After a crash the durable image is what there is; a write that was
//! under way may have made it or not, but never in part.

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
    pub complete: BTreeSet<ChunkId>,
    /// Chunks by hash.
    pub chunks: BTreeMap<ChunkId, Rc<Vec<u8>>>,
}

/// A disk with what was not synced yet.
#[derive(Debug, Clone, Default)]
pub struct Disk {
    /// What a reader sees.
    pub live: Image,
    /// What survives a crash.
    pub durable: Image,
    pending: Vec<Write>,
    /// A planted bug: syncing does nothing.
    pub forgetful: bool,
}

/// What chunks refer to: the same for every device, so it is read once a world.
#[derive(Debug, Clone, Default)]
pub struct Memo(HashMap<(ChunkId, WantKind), Rc<Vec<Want>>>);

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

    /// Writes a batch without syncing it.
    ///
    /// # Errors
    /// When an entry is not the next one of its log.
    pub fn write(&mut self, batch: &Batch) -> Result<(), DiskError> {
        let batch = Rc::new(batch.clone());
        self.live.check(&batch)?;
        self.live.apply(&Write::Batch(Rc::clone(&batch)));
        self.pending.push(Write::Batch(batch));
        Ok(())
    }

    /// Writes chunks without syncing them.
    ///
    /// # Errors
    /// When a chunk is not what its id says.
    pub fn write_chunks(&mut self, chunks: Vec<(ChunkId, Rc<Vec<u8>>)>) -> Result<(), DiskError> {
        for (id, bytes) in &chunks {
            if ChunkId::of(bytes) != *id {
                return Err(DiskError::WrongContent(*id));
            }
        }
        let write = Write::Chunks(Rc::new(chunks));
        self.live.apply(&write);
        self.pending.push(write);
        Ok(())
    }

    /// Makes everything written so far durable.
    pub fn sync(&mut self) {
        if self.forgetful {
            return;
        }
        for write in self.pending.drain(..) {
            self.durable.apply(&write);
        }
    }

    /// The device dies. Of what was not synced, the first `kept` writes happen to
    /// have made it.
    pub fn crash(&mut self, kept: usize) {
        for write in self.pending.drain(..).take(kept) {
            self.durable.apply(&write);
        }
        self.live = self.durable.clone();
    }

    /// How many writes are not synced.
    #[must_use]
    pub fn unsynced(&self) -> usize {
        self.pending.len()
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
    /// What a chunk refers to; what we wrote or accepted has been decoded before.
    fn children(want: &Want, content: &[u8], memo: &mut Memo) -> Rc<Vec<Want>> {
        let key = (want.id, want.kind);
        let children = memo
            .0
            .entry(key)
            .or_insert_with(|| Rc::new(want.children(content).unwrap_or_default()));
        Rc::clone(children)
    }

    /// Of a want and all that it refers to, what is not here. A want that is
    /// absent itself hides what it refers to.
    #[must_use]
    pub fn missing(&self, want: &Want, memo: &mut Memo) -> Vec<Want> {
        let Some(content) = self.chunks.get(&want.id) else {
            return vec![*want];
        };
        self.missing_below(want, content, memo)
    }

    /// The same for what a chunk refers to, given its content.
    #[must_use]
    pub fn missing_below(&self, want: &Want, content: &[u8], memo: &mut Memo) -> Vec<Want> {
        if want.kind == WantKind::Data {
            return Vec::new();
        }
        let children = Self::children(want, content, memo);
        children
            .iter()
            .flat_map(|child| self.missing(child, memo))
            .collect()
    }

    /// All entries, log by log.
    /// Length of a chunk; zero if it is not here.
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
                self.chunks
                    .extend(chunks.iter().map(|(id, c)| (*id, Rc::clone(c))));
            }
        }
    }
}

impl Store for Disk {
    type Error = DiskError;

    fn commit(&mut self, batch: &Batch) -> Result<(), DiskError> {
        self.write(batch)?;
        self.sync();
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
        self.write_chunks(
            chunks
                .iter()
                .map(|(id, c)| (*id, Rc::new(c.clone())))
                .collect(),
        )?;
        self.sync();
        Ok(())
    }

    fn get_chunk(&self, id: &ChunkId) -> Result<Option<Vec<u8>>, DiskError> {
        Ok(self.live.chunks.get(id).map(|c| c.to_vec()))
    }

    fn has(&self, ids: &[ChunkId]) -> Result<Vec<bool>, DiskError> {
        Ok(ids
            .iter()
            .map(|id| self.live.chunks.contains_key(id))
            .collect())
    }
}
