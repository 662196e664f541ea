//! The last resort: entries and chunks out of single pages of a file that cannot
//! be read as a tree. Takes only what proves itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::path::Path;

use ccpeer_core::entry::{Payload, TrustChange};
use ccpeer_core::id::{ChunkId, DeviceId};
use ccpeer_core::limits;

use super::{Load, Logs, SalvageReport, carve};
use crate::error::StoreError;
use crate::{Store, chunks, tables};

/// Takes entries and chunks from single pages. Both prove themselves: entries by
/// a signature, chunks by their hash.
pub(super) fn copy(
    old: &Path,
    new: &Store,
    me: DeviceId,
    report: &mut SalvageReport,
) -> Result<(), StoreError> {
    let failed = |e: io::Error| StoreError::io("salvage", &e);
    let mut file = File::open(old).map_err(failed)?;
    let mut logs = Logs::default();
    let mut pieces: BTreeMap<ChunkId, Pieces> = BTreeMap::new();
    carve::rows(&mut file, &mut |row| match row.key.len() {
        56 => {
            let signed = tables::read_entry(row.key, row.value).ok();
            if let Some(entry) = signed.and_then(|s| s.verify().ok()) {
                logs.add(entry);
            }
        }
        32 | 33 => {
            let Some(id) = tables::id_of(row.key) else {
                return;
            };
            let found = Piece::of(&row);
            pieces
                .entry(id)
                .or_default()
                .add(row.key.get(32).copied(), found);
        }
        _ => {}
    })
    .map_err(failed)?;
    logs.keep_trusted(me);
    // What was behind a gap before is seen again here.
    report.entries_lost = 0;
    logs.write(new, report)?;

    let ids: Vec<ChunkId> = pieces.keys().copied().collect();
    let mut load = Load::new(new);
    for (id, here) in ids.iter().zip(new.has(&ids)?) {
        let Some(pieces) = pieces.get(id).filter(|_| !here) else {
            continue;
        };
        if let Some(content) = pieces.join(id, &mut file) {
            load.add(*id, content)?;
        }
    }
    let written = load.finish()?;
    report.chunks += written;
    report.chunks_lost = report.chunks_lost.saturating_sub(written);
    Ok(())
}

impl Logs {
    /// A page may hold what a peer sent as the content of a chunk. What it made
    /// to look like an entry must not bring in a stranger.
    fn keep_trusted(&mut self, me: DeviceId) {
        let mut trusted = BTreeSet::from([me]);
        for (log, entries) in &self.0 {
            for entry in entries.values().filter(|_| log.device == me) {
                if let Some(Payload::Trust(TrustChange::Add { device: other, .. })) =
                    entry.payload()
                {
                    trusted.insert(*other);
                }
            }
        }
        self.0.retain(|log, _| trusted.contains(&log.device));
    }
}

/// Where the pieces of a chunk may lie. Pages that are no longer in use are seen
/// too, and rows of other tables have keys of the same length.
#[derive(Default)]
struct Pieces {
    parts: BTreeMap<u8, Vec<Piece>>,
    tails: Vec<Piece>,
}

#[derive(Clone, Copy)]
struct Piece {
    offset: u64,
    len: usize,
    hash: ChunkId,
}

/// Of each piece, different candidates that are tried.
const CANDIDATES_MAX: usize = 4;

impl Piece {
    fn of(row: &carve::Row<'_>) -> Self {
        Self {
            offset: row.offset,
            len: row.value.len(),
            hash: ChunkId::of(row.value),
        }
    }

    fn read(&self, file: &mut File) -> Option<Vec<u8>> {
        carve::value(file, self.offset, self.len).ok()
    }
}

impl Pieces {
    fn add(&mut self, part: Option<u8>, found: Piece) {
        let list = match part {
            Some(part) => self.parts.entry(part).or_default(),
            None => &mut self.tails,
        };
        if list.len() < CANDIDATES_MAX && list.iter().all(|p| p.hash != found.hash) {
            list.push(found);
        }
    }

    /// The chunk, if any choice of candidates gives its hash.
    fn join(&self, id: &ChunkId, file: &mut File) -> Option<Vec<u8>> {
        for choice in 0..CANDIDATES_MAX {
            let mut front = Vec::new();
            for (n, (part, list)) in (0u8..).zip(&self.parts) {
                let piece = list.get(choice).or(list.last())?;
                if n != *part || front.len() > limits::CHUNK_BYTES_MAX {
                    return None;
                }
                front.extend(piece.read(file)?);
            }
            for tail in &self.tails {
                let mut packed = front.clone();
                packed.extend(tail.read(file)?);
                if let Ok(content) = chunks::unpack(id, &packed) {
                    return Some(content);
                }
            }
            if self.parts.values().all(|list| list.len() <= choice + 1) {
                return None;
            }
        }
        None
    }
}
