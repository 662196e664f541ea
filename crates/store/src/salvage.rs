//! A damaged file is never thrown away: it is set aside under another name, and
//! everything in it that can prove itself is copied into a new store. The rest
//! comes from the other devices.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use ccpeer_core::entry::{SignedEntry, VerifiedEntry};
use ccpeer_core::id::{ChunkId, DeviceId, LogId, Seq};
use ccpeer_core::manifest::Want;
use ccpeer_core::store::Batch;

use crate::backend::OpenOnly;
use crate::disk::Disk;
use crate::error::StoreError;
use crate::log::Chain;
use crate::notes::{Namespace, NoteWrite};
use crate::tables::{self, COMPLETE, COMPLETE_OF_1, ENTRIES, HAVE, NOTES};
use crate::{Options, Store, backend, chunks, scan, walk};

mod carve;
mod pages;

/// What was saved and what was seen but could not be saved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SalvageReport {
    /// Entries copied. Each log up to its first gap.
    pub entries: u64,
    /// Entries that are damaged or lie behind a gap.
    pub entries_lost: u64,
    /// Chunks copied.
    pub chunks: u64,
    /// Chunks that were listed and are damaged.
    pub chunks_lost: u64,
    /// Notes copied.
    pub notes: u64,
    /// Notes that are damaged.
    pub notes_lost: u64,
    /// Whether the tables could be read. If not, entries and chunks were taken
    /// from single pages, and notes could not be saved: of a note that was
    /// written more than once nobody could say which is the last.
    pub by_table: bool,
    /// Whether there may have been more than was seen.
    pub gaps: bool,
}

/// Puts a new store in the place of a damaged one, with everything in it that
/// [`salvage`] can save. The damaged file is kept as `<name>.damaged-<n>`, which
/// is returned. The damaged store keeps its place until the new one is complete,
/// so this can be cut off anywhere and begun again. Neither may be open.
///
/// # Errors
/// As [`salvage`]; nothing has changed then, but that the damaged file may have
/// got its second name.
pub fn rebuild(
    path: &Path,
    options: &Options,
    me: DeviceId,
) -> Result<(PathBuf, SalvageReport), StoreError> {
    let failed = |e: &io::Error| StoreError::io("rebuild", e);
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".salvaged");
    let fresh = PathBuf::from(fresh);
    match std::fs::remove_file(&fresh) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed(&e)),
        _ => {}
    }
    let new = Store::open(&fresh, options)?;
    let report = salvage(path, &new, me)?;
    drop(new);
    let aside = free_name(path)?;
    // A second name first, so that there is no moment without a store. Where
    // that cannot be had, the moment is short.
    if std::fs::hard_link(path, &aside).is_err() {
        std::fs::rename(path, &aside).map_err(|e| failed(&e))?;
    }
    backend::sync_directory_of(path).map_err(|e| failed(&e))?;
    std::fs::rename(&fresh, path).map_err(|e| failed(&e))?;
    backend::sync_directory_of(path).map_err(|e| failed(&e))?;
    Ok((aside, report))
}

/// Renames a damaged store to `<name>.damaged-<n>` and returns the new name. The
/// store must not be open.
///
/// # Errors
/// When the file cannot be renamed.
pub fn set_aside(path: &Path) -> Result<PathBuf, StoreError> {
    let failed = |e: &io::Error| StoreError::io("set aside", e);
    let aside = free_name(path)?;
    std::fs::rename(path, &aside).map_err(|e| failed(&e))?;
    backend::sync_directory_of(path).map_err(|e| failed(&e))?;
    Ok(aside)
}

fn free_name(path: &Path) -> Result<PathBuf, StoreError> {
    for n in 1..=DAMAGED_MAX {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".damaged-{n}"));
        let aside = PathBuf::from(name);
        match std::fs::symlink_metadata(&aside) {
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(aside),
            Err(e) => return Err(StoreError::io("set aside", &e)),
        }
    }
    Err(StoreError::Io {
        doing: "set aside",
        kind: io::ErrorKind::AlreadyExists,
        message: "too many damaged stores lie beside it".into(),
    })
}

/// More than this many damaged stores need a person's eye.
const DAMAGED_MAX: u32 = 99;

/// Copies what can be read of a damaged store into another, which keeps its own
/// epoch: how far the old one had got can no longer be proven. The damaged file
/// is not changed.
///
/// `me` is whose store it was: where only single pages can be read, entries are
/// taken if `me` or a device that `me` ever trusted has signed them.
///
/// # Errors
/// When the damaged file cannot be opened at all, was written by a newer ccpeer,
/// or the new store fails.
pub fn salvage(old: &Path, new: &Store, me: DeviceId) -> Result<SalvageReport, StoreError> {
    let mut report = SalvageReport::default();
    let path = old.to_owned();
    match Disk::open_read_only(Box::new(OpenOnly(move || {
        backend::open_file_to_read(&path)
    }))) {
        Ok(disk) => {
            if let Err(e @ StoreError::Newer { .. }) = disk.read(crate::check_format) {
                return Err(e);
            }
            report.by_table = true;
            let mut complete = Marks::default();
            by_table(&disk, new, &mut report, &mut complete)?;
            if report.gaps {
                pages::copy(old, new, me, &mut report)?;
            }
            mark_complete(new, complete)?;
        }
        Err(e @ (StoreError::Newer { .. } | StoreError::Io { .. })) => return Err(e),
        Err(_) => {
            report.gaps = true;
            pages::copy(old, new, me, &mut report)?;
        }
    }
    Ok(report)
}

fn by_table(
    disk: &Disk,
    new: &Store,
    report: &mut SalvageReport,
    complete: &mut Marks,
) -> Result<(), StoreError> {
    let mut gaps = 0;
    let mut logs = Logs::default();
    gaps += scan::rows(disk, ENTRIES, &[], &mut |key, row| {
        let signed = tables::read_entry(key, row).ok();
        match signed.and_then(|s| s.verify().ok()) {
            Some(entry) => logs.add(entry),
            None => report.entries_lost += 1,
        }
        true
    })?
    .count;
    logs.write(new, report)?;

    let mut load = Load::new(new);
    let mut result = Ok(());
    gaps += scan::rows(disk, HAVE, &[], &mut |key, _| {
        let Some(id) = tables::id_of(key) else {
            return true;
        };
        match disk.read(|txn| chunks::get(txn, &id)) {
            Ok(Some(Ok(content))) => result = load.add(id, content),
            _ => report.chunks_lost += 1,
        }
        result.is_ok()
    })?
    .count;
    result?;
    report.chunks += load.finish()?;

    let mut writes = Vec::new();
    gaps += scan::rows(disk, NOTES, &[], &mut |key, row| {
        let ns = key.first().copied().and_then(Namespace::from_byte);
        match (ns, key.get(1..), tables::unseal(&NOTES, key, row)) {
            (Some(ns), Some(rest), Some(value)) => {
                writes.push(NoteWrite {
                    ns,
                    key: rest.to_vec(),
                    value: Some(value.to_vec()),
                });
            }
            _ => report.notes_lost += 1,
        }
        true
    })?
    .count;
    for load in writes.chunks(LOAD_ROWS) {
        new.put_notes(load)?;
    }
    report.notes += writes.len() as u64;

    gaps += complete.read(disk)?;
    report.gaps |= gaps > 0;
    Ok(())
}

/// Rows written to the new store at once.
const LOAD_ROWS: usize = 1000;

/// Entries as they are found, in any order and more than once.
#[derive(Default)]
pub(super) struct Logs(BTreeMap<LogId, BTreeMap<Seq, VerifiedEntry>>);

impl Logs {
    fn add(&mut self, entry: VerifiedEntry) {
        let held = self.0.entry(entry.log()).or_default().entry(entry.seq());
        let held = held.or_insert_with(|| entry.clone());
        // The same entry may have been kept without its payload first.
        if held.signed().payload.is_none() && held.hash() == entry.hash() {
            *held = entry;
        }
    }

    /// Appends what continues the logs of the new store.
    fn write(self, new: &Store, report: &mut SalvageReport) -> Result<(), StoreError> {
        let held = new.recovered()?.entries;
        let mut tips: BTreeMap<LogId, Seq> = BTreeMap::new();
        for entry in &held {
            tips.insert(entry.log(), entry.seq());
        }
        for (log, entries) in self.0 {
            let tip = tips.get(&log).copied().unwrap_or(Seq::ZERO);
            let before = held.iter().filter(|e| e.log() == log);
            let mut chain = Chain::default();
            for entry in before {
                chain.take(
                    &tables::entry_key(log, entry.seq()),
                    entry.signed().clone(),
                    known,
                )?;
            }
            let mut fresh: Vec<VerifiedEntry> = Vec::new();
            let all = entries.len();
            let known_already = entries.range(..=tip).count();
            for (seq, entry) in entries.into_iter().filter(|(seq, _)| *seq > tip) {
                let key = tables::entry_key(log, seq);
                match chain.take(&key, entry.signed().clone(), known) {
                    Ok(entry) => fresh.push(entry),
                    Err(_) => break,
                }
            }
            report.entries_lost += (all - known_already - fresh.len()) as u64;
            report.entries += fresh.len() as u64;
            for load in fresh.chunks(LOAD_ROWS) {
                new.commit(&Batch {
                    entries: load.to_vec(),
                    ..Batch::default()
                })?;
            }
        }
        Ok(())
    }
}

fn known(signed: SignedEntry) -> Result<VerifiedEntry, ccpeer_core::entry::EntryError> {
    signed.verified_by_store()
}

/// Chunks on their way into the new store.
struct Load<'s> {
    new: &'s Store,
    chunks: Vec<(ChunkId, Vec<u8>)>,
    bytes: usize,
    written: u64,
}

impl<'s> Load<'s> {
    fn new(new: &'s Store) -> Self {
        Self {
            new,
            chunks: Vec::new(),
            bytes: 0,
            written: 0,
        }
    }

    fn add(&mut self, id: ChunkId, content: Vec<u8>) -> Result<(), StoreError> {
        self.bytes += content.len();
        self.chunks.push((id, content));
        if self.bytes >= LOAD_BYTES {
            self.flush()
        } else {
            Ok(())
        }
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        self.new.put_chunks(&self.chunks)?;
        self.written += self.chunks.len() as u64;
        self.chunks.clear();
        self.bytes = 0;
        Ok(())
    }

    fn finish(mut self) -> Result<u64, StoreError> {
        self.flush()?;
        Ok(self.written)
    }
}

const LOAD_BYTES: usize = 8 * 1024 * 1024;

/// What was held for complete.
#[derive(Default)]
struct Marks {
    wants: BTreeSet<Want>,
    /// Of a store of format 1, which did not say as what.
    ids: BTreeSet<ChunkId>,
}

impl Marks {
    /// Returns how many parts could not be read.
    fn read(&mut self, disk: &Disk) -> Result<usize, StoreError> {
        let before = disk
            .read(crate::check_format)
            .is_ok_and(|format| format < 2);
        if before {
            let gaps = scan::rows(disk, COMPLETE_OF_1, &[], &mut |key, _| {
                self.ids.extend(tables::id_of(key));
                true
            })?;
            return Ok(gaps.count);
        }
        let gaps = scan::rows(disk, COMPLETE, &[], &mut |key, _| {
            self.wants.extend(tables::mark_of(key));
            true
        })?;
        Ok(gaps.count)
    }
}

/// What was complete before and still is.
fn mark_complete(new: &Store, marks: Marks) -> Result<(), StoreError> {
    let mut complete = Vec::new();
    for want in marks.wants {
        match new.missing(want) {
            Ok(missing) if missing.is_empty() => complete.push(want),
            Ok(_) | Err(StoreError::Wrong { .. }) => {}
            Err(e) => return Err(e),
        }
    }
    for id in marks.ids {
        complete.extend(walk::complete_by_content(new, id)?);
    }
    new.commit(&Batch {
        complete,
        ..Batch::default()
    })
}
