//! What we keep: entries, chunks and notes in one file, crash-safe. Built on
//! redb, of which nothing is seen outside. Knows no network, no Claude Code and
//! no async; every call may block and belongs on a blocking thread.
//!
//! The promises: what a call has acknowledged survives any crash, power cut or
//! full disk. A call that failed has written nothing that is taken for granted
//! later. What is read is what was written, or an error: every row can tell.
//! Writers that wait at the same time share one transaction, so many small
//! writes cost as much as a few.
//!
//! [`Store`] is the door; FORMAT.md describes every byte behind it.
#![warn(missing_docs)]
#![warn(clippy::indexing_slicing)]

mod backend;
mod chunks;
mod compact;
mod contract;
mod disk;
mod error;
mod gc;
mod log;
mod notes;
mod queue;
mod salvage;
mod scan;
mod tables;
mod verify;
mod walk;

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use ccpeer_core::entry::SignedEntry;
use ccpeer_core::id::{ChunkId, Epoch, LogId, Seq};
use ccpeer_core::limits;
use ccpeer_core::manifest::{ChunkRef, Segment, Want};
use ccpeer_core::store::{Batch, Recovered};
use redb::{ReadableTable as _, ReadableTableMetadata as _};

pub use backend::Volume;
pub use compact::Compacted;
pub use error::{Place, StoreError};
pub use gc::{Charge, CollectPlan, Collected};
pub use notes::{Namespace, NoteRow, NoteWrite};
pub use redb::StorageBackend;
pub use salvage::{SalvageReport, rebuild, salvage, set_aside};
pub use verify::{PROBLEMS_MAX, Problem, ProblemKind, VerifyPosition, VerifyReport};
pub use walk::SegmentReader;

use backend::{FileVolume, OpenOnly};
use disk::Disk;
use error::Trouble;
use queue::{Job, Queue};
use tables::{ALL, COMPLETE, COMPLETE_OF_1, FORMAT, META, META_EPOCH, META_FORMAT};

/// What a new store is given. An existing one keeps what it has.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// The epoch to write in, drawn at random by the caller.
    pub fresh_epoch: Epoch,
}

/// The store of one device. Shared between threads; all methods may block.
pub struct Store {
    disk: Disk,
    queue: Queue,
    watch: gc::Watch,
}

/// Sizes, to be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Length of the file. It may be sparse.
    pub file_bytes: u64,
    /// Chunks held.
    pub chunks: u64,
    /// Entries held, of all logs.
    pub entries: u64,
    /// Bytes of all chunks, as they were given.
    pub raw_bytes: u64,
    /// Bytes of all chunks, as they are kept.
    pub packed_bytes: u64,
}

impl Store {
    /// Opens the store in this file, or creates it, readable by its owner alone.
    ///
    /// # Errors
    /// `Locked` if another process has it open, `Newer` if a newer ccpeer has
    /// written it, `Corrupt` if it is not a store (any more).
    pub fn open(path: &Path, options: &Options) -> Result<Self, StoreError> {
        Self::with_volume(FileVolume::new(path), options)
    }

    /// Opens a store in anything that redb can write to. `open` is called for the
    /// start, and again after each failure of the backend that it gave.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn with_backend<B: StorageBackend>(
        open: impl Fn() -> io::Result<B> + Send + Sync + 'static,
        options: &Options,
    ) -> Result<Self, StoreError> {
        let open = move || Ok(Box::new(open()?) as Box<dyn StorageBackend>);
        Self::with_volume(OpenOnly(open), options)
    }

    /// Opens a store in any place that has room for two.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn with_volume(
        volume: impl Volume + 'static,
        options: &Options,
    ) -> Result<Self, StoreError> {
        Self::over(Box::new(volume), options)
    }

    fn over(volume: Box<dyn Volume>, options: &Options) -> Result<Self, StoreError> {
        let store = Self {
            disk: Disk::open(volume)?,
            queue: Queue::default(),
            watch: gc::Watch::default(),
        };
        if store
            .disk
            .read(|txn| Ok(txn.list_tables()?.next().is_none()))?
        {
            store.found(options.fresh_epoch)?;
        }
        if store.disk.read(check_format)? < FORMAT {
            store.upgrade()?;
        }
        if let Err(error) = store.disk.discard() {
            tracing::warn!(%error, "what an unfinished rewriting left cannot be removed");
        }
        Ok(store)
    }

    /// The first transaction of a new store.
    fn found(&self, epoch: Epoch) -> Result<(), StoreError> {
        self.disk.write(|txn| {
            for table in ALL {
                txn.open_table(table)?;
            }
            write_format(txn)?;
            let mut meta = txn.open_table(META)?;
            let epoch = tables::seal(&META, META_EPOCH, &epoch.0);
            meta.insert(META_EPOCH, epoch.as_slice())?;
            Ok(())
        })
    }

    /// A store of format 1 does not say as what something is complete. All of it is
    /// looked at once more: what holds is said again, with its kind, and what does
    /// not is found out by whoever needs it. One transaction; if it cannot be
    /// written, the store is as it was.
    fn upgrade(&self) -> Result<(), StoreError> {
        let ids: Vec<ChunkId> = self.disk.read(|txn| {
            let mut ids = Vec::new();
            for row in txn.open_table(COMPLETE_OF_1)?.iter()? {
                ids.extend(tables::id_of(row?.0.value()));
            }
            Ok(ids)
        })?;
        let mut wants = Vec::new();
        for id in ids {
            wants.extend(walk::complete_by_content(self, id)?);
        }
        self.disk.write(|txn| {
            let mut complete = txn.open_table(COMPLETE)?;
            for want in &wants {
                complete.insert(tables::mark_key(want).as_slice(), &[][..])?;
            }
            txn.delete_table(COMPLETE_OF_1)?;
            write_format(txn)
        })?;
        tracing::info!(
            complete = wants.len(),
            "the store was brought to format {FORMAT}"
        );
        Ok(())
    }

    /// Makes a batch durable, all of it or nothing. Entries that are held already
    /// are skipped; one that is held without its payload is given it.
    ///
    /// # Errors
    /// `Wrong` if an entry does not continue its log.
    pub fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        let complete = self.still_complete(&batch.complete)?;
        self.queue
            .run(&self.disk, Job::Commit(log::Rows::of(batch, complete)))
    }

    /// Makes a batch durable, and with it the content that its entries speak of and
    /// notes about it: all of it or nothing, in one transaction, so that no order
    /// has to be kept between them. Chunks that are here already are skipped.
    ///
    /// # Errors
    /// `Wrong` if an entry does not continue its log, a chunk is too long or does
    /// not have its id, or a note exceeds its bounds.
    pub fn commit_with(
        &self,
        batch: &Batch,
        content: &[(ChunkId, Vec<u8>)],
        notes: &[NoteWrite],
    ) -> Result<(), StoreError> {
        let ids: Vec<ChunkId> = content.iter().map(|c| c.0).collect();
        let here = self.has(&ids)?;
        self.pardon(&ids)?;
        let packed = chunks::pack(&absent(content, &here))?;
        let noted = notes.iter().map(notes::Row::of).collect::<Result<_, _>>()?;
        let bytes: usize = packed.iter().map(chunks::Packed::bytes).sum();
        if bytes > limits::STORE_COMMIT_BYTES_MAX || !self.nothing_can_have_gone()? {
            self.put_chunks(content)?;
            self.commit(batch)?;
            return self.put_notes(notes);
        }
        let rows = log::Rows::of(batch, batch.complete.clone());
        self.queue
            .run(&self.disk, Job::Together(rows, packed, noted))
    }

    /// Everything that was committed, each log in order. Checks everything but
    /// signatures; those were checked before the entries went in.
    ///
    /// # Errors
    /// `Corrupt` with the first entry that is not what was written.
    pub fn recovered(&self) -> Result<Recovered, StoreError> {
        self.disk.read(log::recovered)
    }

    /// Entries of a log with `after < seq <= upto`, as many as fit `bytes_max`
    /// by [`SignedEntry::size`], at least one.
    ///
    /// # Errors
    /// `Corrupt` if one of them is not what was written.
    pub fn range(
        &self,
        log: LogId,
        after: Seq,
        upto: Seq,
        bytes_max: usize,
    ) -> Result<Vec<SignedEntry>, StoreError> {
        self.disk
            .read(|txn| log::range(txn, log, after, upto, bytes_max))
    }

    /// Keeps chunks durably; those that are here already are skipped. One
    /// transaction, or several if there is more than
    /// [`limits::STORE_COMMIT_BYTES_MAX`] to write.
    ///
    /// # Errors
    /// `Wrong`, with nothing written, if a chunk is too long or does not have its
    /// id. After any other error some of the chunks may have been kept.
    pub fn put_chunks(&self, chunks: &[(ChunkId, Vec<u8>)]) -> Result<(), StoreError> {
        let ids: Vec<ChunkId> = chunks.iter().map(|c| c.0).collect();
        let here = self.has(&ids)?;
        for ((id, content), _) in chunks.iter().zip(&here).filter(|(_, here)| **here) {
            chunks::check(*id, content)?;
        }
        // What was garbage and is put again is none, whatever happens next.
        self.pardon(&ids)?;
        let packed = chunks::pack(&absent(chunks, &here))?;
        let mut load = Vec::new();
        let mut bytes = 0;
        for packed in packed {
            bytes += packed.bytes();
            load.push(packed);
            if bytes >= limits::STORE_COMMIT_BYTES_MAX {
                bytes = 0;
                self.queue
                    .run(&self.disk, Job::Chunks(std::mem::take(&mut load)))?;
            }
        }
        if load.is_empty() {
            return Ok(());
        }
        self.queue.run(&self.disk, Job::Chunks(load))
    }

    /// The content of a chunk, checked against its id.
    ///
    /// # Errors
    /// `Corrupt` if it is damaged. It is forgotten then: [`Store::has`] denies it,
    /// manifests that refer to it are no longer complete, and it can be put again.
    pub fn get_chunk(&self, id: &ChunkId) -> Result<Option<Vec<u8>>, StoreError> {
        let mut content = Vec::new();
        let is_here = self.get_chunk_into(id, &mut content)?;
        Ok(is_here.then_some(content))
    }

    /// [`Store::get_chunk`] in a buffer, in place of what it holds; false if the chunk
    /// is not here.
    ///
    /// # Errors
    /// The same. What the buffer holds then means nothing.
    pub fn get_chunk_into(&self, id: &ChunkId, into: &mut Vec<u8>) -> Result<bool, StoreError> {
        match self.disk.read(|txn| chunks::get_into(txn, id, into))? {
            None => Ok(false),
            Some(Ok(())) => Ok(true),
            Some(Err(why)) => {
                tracing::warn!(chunk = %id, why, "chunk is damaged, to be fetched again");
                if let Err(error) = self.quarantine(&[*id]) {
                    // It is found again the next time; never served in between.
                    tracing::warn!(chunk = %id, %error, "damaged chunk could not be struck off");
                }
                Err(StoreError::corrupt(Place::Chunk(*id), why))
            }
        }
    }

    /// Strikes chunks off the list of what we hold, so that they are fetched
    /// again, and returns what is no longer complete by that.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    pub fn quarantine(&self, ids: &[ChunkId]) -> Result<Vec<Want>, StoreError> {
        let set: BTreeSet<ChunkId> = ids.iter().copied().collect();
        // In one transaction: a crash must not leave a manifest that is held for
        // complete and is not.
        let before = self.complete()?;
        let mut incomplete = self.needing_any(&set, &before)?;
        let amendment = chunks::Amendment {
            forget: ids.to_vec(),
            incomplete: incomplete.clone(),
            ..Default::default()
        };
        self.queue.run(&self.disk, Job::Amend(amendment))?;
        // And those that somebody has completed in between.
        let fresh = &self.complete()? - &before;
        let late = self.needing_any(&set, &fresh)?;
        if !late.is_empty() {
            let amendment = chunks::Amendment {
                incomplete: late.clone(),
                ..Default::default()
            };
            self.queue.run(&self.disk, Job::Amend(amendment))?;
            incomplete.extend(late);
        }
        Ok(incomplete)
    }

    /// Those of these manifests and documents that are not whole without these
    /// chunks.
    fn needing_any(
        &self,
        ids: &BTreeSet<ChunkId>,
        roots: &BTreeSet<Want>,
    ) -> Result<Vec<Want>, StoreError> {
        let mut needing = Vec::new();
        for root in roots {
            if walk::needs_any(self, *root, ids)? {
                needing.push(*root);
            }
        }
        Ok(needing)
    }

    /// Which of these we hold, in the order asked. Does not read content.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn has(&self, ids: &[ChunkId]) -> Result<Vec<bool>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let asking = self.watch.asking();
        self.disk.read(|txn| {
            let here = chunks::has(txn, ids)?;
            let held = ids.iter().zip(&here).filter(|(_, here)| **here);
            self.note_asked(&asking, txn, held.map(|(id, _)| *id))?;
            Ok(here)
        })
    }

    /// The same for those who will not rely on the answer.
    fn has_aside(&self, ids: &[ChunkId]) -> Result<Vec<bool>, StoreError> {
        self.disk.read(|txn| chunks::has(txn, ids))
    }

    /// Manifests and snapshot documents that were committed as complete.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn complete(&self) -> Result<BTreeSet<Want>, StoreError> {
        self.disk.read(log::complete)
    }

    /// What of this want, and of everything that it refers to, we do not hold: the
    /// want itself if even that is absent. What lies behind an absent list page
    /// is not known; ask again when it is there.
    ///
    /// # Errors
    /// `Wrong` if a chunk is not of its kind, or refers to more than
    /// [`limits::WANTS_MAX`] chunks: the author's fault.
    pub fn missing(&self, want: Want) -> Result<Vec<Want>, StoreError> {
        walk::missing(self, want, &[])
    }

    /// The same, as if these chunks were here already.
    ///
    /// # Errors
    /// As [`Store::missing`].
    pub fn missing_beside(
        &self,
        want: Want,
        chunks: &[(ChunkId, Vec<u8>)],
    ) -> Result<Vec<Want>, StoreError> {
        walk::missing(self, want, chunks)
    }

    /// All chunk references of a segment, in order.
    ///
    /// # Errors
    /// `Absent` if a list page is not here, `Wrong` if it is none.
    pub fn segment_refs(&self, segment: &Segment) -> Result<Vec<ChunkRef>, StoreError> {
        walk::segment_refs(self, segment)
    }

    /// The content of a segment, chunk by chunk, in bounded memory.
    #[must_use]
    pub fn read_segment(&self, segment: &Segment) -> SegmentReader<'_> {
        SegmentReader::new(self, segment)
    }

    /// A note.
    ///
    /// # Errors
    /// `Corrupt` if it is not what was written.
    pub fn note(&self, ns: Namespace, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.disk.read(|txn| notes::one(txn, ns, key))
    }

    /// All notes of a namespace, `(key, value)` in the order of their keys.
    /// Damaged ones are left out; [`Store::verify`] names them.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn notes(&self, ns: Namespace) -> Result<Vec<NoteRow>, StoreError> {
        self.notes_from(ns, &[], usize::MAX)
    }

    /// At most `max` notes of a namespace, from the first key that is not less
    /// than `start`. To go on, start with the last key and a zero byte.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn notes_from(
        &self,
        ns: Namespace,
        start: &[u8],
        max: usize,
    ) -> Result<Vec<NoteRow>, StoreError> {
        self.disk.read(|txn| notes::some(txn, ns, start, max))
    }

    /// Changes notes durably, all of them or none.
    ///
    /// # Errors
    /// `Wrong` if a key or value exceeds its bound.
    pub fn put_notes(&self, writes: &[NoteWrite]) -> Result<(), StoreError> {
        if writes.is_empty() {
            return Ok(());
        }
        let rows = writes
            .iter()
            .map(notes::Row::of)
            .collect::<Result<_, _>>()?;
        self.queue.run(&self.disk, Job::Notes(rows))
    }

    /// Sizes, without reading anything large.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn stats(&self) -> Result<Stats, StoreError> {
        self.disk.read(|txn| {
            let totals = chunks::Totals::read(&txn.open_table(META)?)?;
            Ok(Stats {
                file_bytes: self.disk.len(),
                chunks: chunks::count(txn)?,
                entries: txn.open_table(tables::ENTRIES)?.len()?,
                raw_bytes: totals.raw,
                packed_bytes: totals.packed,
            })
        })
    }
}

/// The chunks that are not here.
fn absent<'c>(chunks: &'c [chunks::Given], here: &[bool]) -> Vec<&'c chunks::Given> {
    let absent = chunks.iter().zip(here).filter(|(_, here)| !**here);
    absent.map(|(chunk, _)| chunk).collect()
}

fn write_format(txn: &redb::WriteTransaction) -> Result<(), Trouble> {
    let format = tables::seal(&META, META_FORMAT, &FORMAT.to_le_bytes());
    let mut meta = txn.open_table(META)?;
    meta.insert(META_FORMAT, format.as_slice())?;
    Ok(())
}

/// The format of a store that we can read. A newer ccpeer may have changed
/// anything but this row.
fn check_format(txn: &redb::ReadTransaction) -> Result<u32, Trouble> {
    let damaged = |why: &str| StoreError::corrupt(Place::Meta, why);
    let meta = txn.open_table(META)?;
    let row = meta
        .get(META_FORMAT)?
        .ok_or_else(|| damaged("the format is missing"))?;
    let value = tables::unseal(&META, META_FORMAT, row.value());
    let found = value
        .and_then(|v| v.try_into().ok().map(u32::from_le_bytes))
        .ok_or_else(|| damaged("the format is unreadable"))?;
    if found > FORMAT {
        return Err(StoreError::Newer {
            found,
            known: FORMAT,
        }
        .into());
    }
    Ok(found)
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k_s12_a_newer_format_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.redb");
        let options = Options {
            fresh_epoch: Epoch([1; 16]),
        };
        let store = Store::open(&path, &options).unwrap();
        let newer = StoreError::Newer {
            found: FORMAT + 1,
            known: FORMAT,
        };
        let number = (FORMAT + 1).to_le_bytes();
        let row = tables::seal(&META, META_FORMAT, &number);
        let written = store.disk.write(|txn| {
            txn.open_table(META)?.insert(META_FORMAT, row.as_slice())?;
            Ok(())
        });
        written.unwrap();
        drop(store);
        assert_eq!(Store::open(&path, &options).err(), Some(newer.clone()));
        let other = Store::open(&dir.path().join("other.redb"), &options).unwrap();
        let me = ccpeer_core::id::DeviceId([1; 32]);
        assert_eq!(salvage(&path, &other, me).err(), Some(newer));
    }
}
