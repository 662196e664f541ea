//! Gives back to the system what the file no longer needs: writes the store anew
//! beside itself and puts that in its place. Knows rows, but not what they say.
//!
//! redb can compact a file in place, but not with two-phase commits, and a crash
//! in the middle of it costs a walk over the whole file. Here the old file is
//! whole until the new one is, and one rename lies between them.
//!
//! Most of the copying is done while everybody goes on: what is written
//! meanwhile is noted, and copied once more at the end, while writers wait.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use ccpeer_core::limits;
use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata, WriteTransaction};

use crate::disk::Disk;
use crate::error::{Place, StoreError, Trouble};
use crate::queue::Touched;
use crate::tables::{
    CHUNKS, COMPLETE, CONDEMNED, Definition, ENTRIES, HAVE, META, META_FLOOR, NOTES, TAILS,
};
use crate::{Stats, Store, chunks, scan, tables};

/// What was gained.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Length of the file before, bytes.
    pub before: u64,
    /// And after.
    pub after: u64,
    /// Whether it was done. If not, all is as it was.
    pub finished: bool,
}

impl Store {
    /// Whether more than half of the file holds nothing, as far as that can be
    /// told without reading it. To be asked before [`Store::compact`], which
    /// costs as much as copying the store.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn is_wasteful(&self) -> Result<bool, StoreError> {
        let stats = self.stats()?;
        let floor = self.disk.read(|txn| Floor::read(&txn.open_table(META)?))?;
        let in_use = stats.packed_bytes.saturating_add(floor.other_bytes());
        Ok(stats.file_bytes > limits::COMPACT_FILE_BYTES_MIN && stats.file_bytes / 2 > in_use)
    }

    /// Writes the file anew, without what is no longer in use. Takes up to the
    /// length of the store beside it meanwhile. Reading goes on; writing waits for
    /// the last part. `go_on` is asked between steps that take milliseconds; when
    /// it says no, nothing has happened.
    ///
    /// # Errors
    /// When the store cannot be read, or there is no place beside it, or no
    /// space: all is as it was then.
    pub fn compact(&self, go_on: &mut dyn FnMut() -> bool) -> Result<Compacted, StoreError> {
        let before = self.disk.len();
        self.queue.take_note();
        let result = self.rewrite(go_on);
        self.queue.let_be();
        if !matches!(result, Ok(true)) {
            self.disk.discard()?;
        }
        Ok(Compacted {
            before,
            after: self.disk.len(),
            finished: result?,
        })
    }

    fn rewrite(&self, go_on: &mut dyn FnMut() -> bool) -> Result<bool, StoreError> {
        let new = self.disk.beside()?;
        for table in [HAVE, TAILS, CHUNKS, ENTRIES, NOTES] {
            if copy(&self.disk, &new, table, go_on)?.is_break() {
                return Ok(false);
            }
        }
        for _ in 0..CATCH_UPS_MAX {
            let noted = self.queue.noted();
            let few = noted.len() <= TOUCHED_AT_ONCE;
            self.copy_touched(&new, noted)?;
            if few {
                break;
            }
            if !go_on() {
                return Ok(false);
            }
        }
        let (_writers_wait, touched) = self.queue.pause();
        self.copy_touched(&new, touched)?;
        for table in [COMPLETE, CONDEMNED, META] {
            if copy(&self.disk, &new, table, &mut || true)?.is_break() {
                return Ok(false);
            }
        }
        let counts = |disk: &Disk| disk.read(count_all);
        if counts(&self.disk)? != counts(&new)? {
            let why = "a copy of it has not the same rows";
            return Err(StoreError::corrupt(Place::File, why));
        }
        let (stats, len) = (self.stats()?, new.len());
        new.write(|txn| Floor::of(&stats, len).write(txn))?;
        drop(new);
        self.disk.adopt()?;
        Ok(true)
    }

    fn copy_touched(&self, new: &Disk, touched: BTreeSet<Touched>) -> Result<(), StoreError> {
        let touched: Vec<Touched> = touched.into_iter().collect();
        for part in touched.chunks(TOUCHED_AT_ONCE) {
            let rows = self.disk.read(|txn| now(txn, part))?;
            new.write(|txn| rows.iter().try_for_each(|row| row.put(txn)))?;
        }
        Ok(())
    }
}

/// Rows are copied again this often, while they go on changing, before writers
/// have to wait for the rest.
const CATCH_UPS_MAX: usize = 8;
/// Each may be a chunk or a note of 1 MiB.
const TOUCHED_AT_ONCE: usize = 16;

/// Copies all rows of a table.
fn copy(
    from: &Disk,
    to: &Disk,
    table: Definition,
    go_on: &mut dyn FnMut() -> bool,
) -> Result<ControlFlow<()>, StoreError> {
    let mut key = Vec::new();
    loop {
        if !go_on() {
            return Ok(ControlFlow::Break(()));
        }
        let end = vec![0xff; scan::KEY_WIDTH];
        let slice = from.read(|txn| match scan::slice(txn, table, &key, &end) {
            Err(trouble) => match txn.open_table(table) {
                // It came later than the others.
                Err(redb::TableError::TableDoesNotExist(_)) => Ok(scan::Slice::default()),
                _ => Err(trouble),
            },
            slice => slice,
        })?;
        to.write(|txn| {
            let mut table = txn.open_table(table)?;
            for (key, value) in &slice.rows {
                table.insert(key.as_slice(), value.as_slice())?;
            }
            Ok(())
        })?;
        if !slice.more {
            return Ok(ControlFlow::Continue(()));
        }
        key = scan::after(slice.rows.last());
    }
}

/// A row as it is now; without a value it is not there.
struct Row {
    table: Definition,
    key: Vec<u8>,
    value: Option<Vec<u8>>,
}

impl Row {
    fn put(&self, txn: &WriteTransaction) -> Result<(), Trouble> {
        let mut table = txn.open_table(self.table)?;
        match &self.value {
            Some(value) => table.insert(self.key.as_slice(), value.as_slice())?,
            None => table.remove(self.key.as_slice())?,
        };
        Ok(())
    }
}

/// The rows that were touched, as they are now.
fn now(txn: &ReadTransaction, touched: &[Touched]) -> Result<Vec<Row>, Trouble> {
    let mut rows = Vec::new();
    let mut add = |table: Definition, key: &[u8]| -> Result<bool, Trouble> {
        let value = txn.open_table(table)?.get(key)?.map(|v| v.value().to_vec());
        let here = value.is_some();
        let key = key.to_vec();
        rows.push(Row { table, key, value });
        Ok(here)
    };
    for touched in touched {
        match touched {
            Touched::Entry(key) => {
                add(ENTRIES, key)?;
            }
            Touched::Note(key) => {
                add(NOTES, key)?;
            }
            Touched::Chunk(id) => {
                add(HAVE, &id.0)?;
                add(TAILS, &id.0)?;
                // What was copied may have had more parts than there are now.
                for part in 0..=chunks::PARTS_MAX {
                    add(CHUNKS, &tables::part_key(id, part))?;
                }
            }
        }
    }
    Ok(rows)
}

fn count_all(txn: &ReadTransaction) -> Result<Vec<u64>, Trouble> {
    let mut counts = Vec::new();
    for table in [HAVE, TAILS, CHUNKS, ENTRIES, NOTES, COMPLETE] {
        counts.push(txn.open_table(table)?.len()?);
    }
    Ok(counts)
}

/// How short the file was when it was last written anew, and how much of it was
/// chunks.
#[derive(Debug, Clone, Copy, Default)]
struct Floor {
    file_bytes: u64,
    packed_bytes: u64,
}

impl Floor {
    fn of(stats: &Stats, file_bytes: u64) -> Self {
        Self {
            file_bytes,
            packed_bytes: stats.packed_bytes,
        }
    }

    /// What entries, notes and the tables themselves took.
    fn other_bytes(self) -> u64 {
        self.file_bytes.saturating_sub(self.packed_bytes)
    }

    /// Nothing, where it cannot be read: it only saves trying.
    fn read(meta: &impl ReadableTable<&'static [u8], &'static [u8]>) -> Result<Self, Trouble> {
        let row = meta.get(META_FLOOR)?;
        let value = row
            .as_ref()
            .and_then(|row| tables::unseal(&META, META_FLOOR, row.value()));
        let read = |value: &[u8]| {
            let (file, packed) = value.split_first_chunk::<8>()?;
            Some(Self {
                file_bytes: u64::from_le_bytes(*file),
                packed_bytes: u64::from_le_bytes(packed.try_into().ok()?),
            })
        };
        Ok(value.and_then(read).unwrap_or_default())
    }

    fn write(self, txn: &WriteTransaction) -> Result<(), Trouble> {
        let mut value = self.file_bytes.to_le_bytes().to_vec();
        value.extend_from_slice(&self.packed_bytes.to_le_bytes());
        let row = tables::seal(&META, META_FLOOR, &value);
        txn.open_table(META)?.insert(META_FLOOR, row.as_slice())?;
        Ok(())
    }
}
