//! Entries: appended, ranged, recovered. Knows the chain, but not what entries
//! say.

use std::collections::{BTreeMap, BTreeSet};

use ccpeer_core::entry::{SignedEntry, VerifiedEntry};
use ccpeer_core::id::{EntryHash, Epoch, LogId, Seq};
use ccpeer_core::log::Tip;
use ccpeer_core::manifest::Want;
use ccpeer_core::store::{Batch, Recovered};
use redb::{ReadTransaction, ReadableTable, WriteTransaction};

use crate::error::{Place, StoreError, Trouble};
use crate::tables::{COMPLETE, ENTRIES, MARK_LEN, META, META_EPOCH};
use crate::tables::{
    entry_key, entry_place, entry_row, mark_key, mark_of, read_entry, seal, unseal,
};

/// A batch, encoded.
#[derive(Debug)]
pub(crate) struct Rows {
    entries: Vec<EntryRow>,
    complete: Vec<Want>,
    epoch: Option<Epoch>,
}

#[derive(Debug)]
struct EntryRow {
    log: LogId,
    seq: Seq,
    prev: EntryHash,
    hash: EntryHash,
    has_payload: bool,
    key: [u8; 56],
    row: Vec<u8>,
}

impl Rows {
    /// `complete` are those of the batch's that are so.
    pub(crate) fn of(batch: &Batch, complete: Vec<Want>) -> Self {
        let entries = batch.entries.iter().map(EntryRow::of).collect();
        Self {
            entries,
            complete,
            epoch: batch.epoch,
        }
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = [u8; 56]> {
        self.entries.iter().map(|e| e.key)
    }

    pub(crate) fn bytes(&self) -> usize {
        let entries: usize = self.entries.iter().map(|e| e.key.len() + e.row.len()).sum();
        entries + self.complete.len() * MARK_LEN + 64
    }

    pub(crate) fn apply(&self, txn: &WriteTransaction) -> Result<(), Trouble> {
        let mut entries = txn.open_table(ENTRIES)?;
        let fresh = self.fitting(&entries)?;
        for entry in fresh {
            entries.insert(entry.key.as_slice(), entry.row.as_slice())?;
        }
        if !self.complete.is_empty() {
            let mut complete = txn.open_table(COMPLETE)?;
            for want in &self.complete {
                complete.insert(mark_key(want).as_slice(), &[][..])?;
            }
        }
        if let Some(epoch) = self.epoch {
            let row = seal(&META, META_EPOCH, &epoch.0);
            txn.open_table(META)?.insert(META_EPOCH, row.as_slice())?;
        }
        Ok(())
    }

    /// The entries to write: each fits the one before it, in the table or in the
    /// batch. What we hold already is left out, unless it brings the payload that
    /// was withheld at first.
    fn fitting(
        &self,
        entries: &impl ReadableTable<&'static [u8], &'static [u8]>,
    ) -> Result<Vec<&EntryRow>, Trouble> {
        let mut tips: BTreeMap<LogId, Tip> = BTreeMap::new();
        let mut fresh = Vec::new();
        for entry in &self.entries {
            let refused = |why| StoreError::Wrong {
                place: Place::Entry(entry.log, entry.seq),
                why,
            };
            if let Some(row) = entries.get(entry.key.as_slice())? {
                let held = read_entry(&entry.key, row.value())?;
                if held.hash() != entry.hash {
                    return Err(refused("another entry has its number").into());
                }
                if held.payload.is_none() && entry.has_payload {
                    fresh.push(entry);
                }
                continue;
            }
            let tip = match tips.get(&entry.log) {
                Some(tip) => *tip,
                None => before(entries, entry.log, entry.seq)?,
            };
            if tip.seq.next() != entry.seq {
                return Err(refused("an entry before it is missing").into());
            }
            if tip.hash != entry.prev {
                return Err(refused("it does not follow the entry before it").into());
            }
            tips.insert(
                entry.log,
                Tip {
                    seq: entry.seq,
                    hash: entry.hash,
                },
            );
            fresh.push(entry);
        }
        Ok(fresh)
    }
}

impl EntryRow {
    fn of(entry: &VerifiedEntry) -> Self {
        let (log, seq) = (entry.log(), entry.seq());
        let key = entry_key(log, seq);
        Self {
            log,
            seq,
            prev: entry.header().prev,
            hash: entry.hash(),
            has_payload: entry.signed().payload.is_some(),
            key,
            row: entry_row(&key, entry.signed()),
        }
    }
}

/// The entry before this number, as a tip.
fn before(
    entries: &impl ReadableTable<&'static [u8], &'static [u8]>,
    log: LogId,
    seq: Seq,
) -> Result<Tip, Trouble> {
    let seq = Seq(seq.0.saturating_sub(1));
    let key = entry_key(log, seq);
    Ok(match entries.get(key.as_slice())? {
        Some(row) => Tip {
            seq,
            hash: read_entry(&key, row.value())?.hash(),
        },
        None => Tip::EMPTY,
    })
}

/// Everything that was committed; each log a chain without a gap.
pub(crate) fn recovered(txn: &ReadTransaction) -> Result<Recovered, Trouble> {
    let mut entries: Vec<VerifiedEntry> = Vec::new();
    let mut chain = Chain::default();
    for row in txn.open_table(ENTRIES)?.iter()? {
        let (key, row) = row?;
        let signed = read_entry(key.value(), row.value())?;
        entries.push(chain.take(key.value(), signed, SignedEntry::verified_by_store)?);
    }
    Ok(Recovered {
        epoch: epoch(txn)?,
        entries,
        complete: complete(txn)?,
    })
}

/// What was committed as complete.
pub(crate) fn complete(txn: &ReadTransaction) -> Result<BTreeSet<Want>, Trouble> {
    let mut wants = BTreeSet::new();
    for row in txn.open_table(COMPLETE)?.iter()? {
        wants.extend(mark_of(row?.0.value()));
    }
    Ok(wants)
}

/// Follows the rows of the table and sees that each log is a chain.
#[derive(Default)]
pub(crate) struct Chain {
    at: Option<(LogId, Tip)>,
}

impl Chain {
    /// To go on from this key.
    pub(crate) fn from(txn: &ReadTransaction, key: &[u8]) -> Result<Self, Trouble> {
        let Some((log, seq)) = entry_place(key).filter(|(_, seq)| seq.0 > 1) else {
            return Ok(Self::default());
        };
        // If that cannot be read, the row at the key is judged without it, and
        // found to hang in the air.
        let tip = before(&txn.open_table(ENTRIES)?, log, seq);
        Ok(Self {
            at: Some((log, tip.unwrap_or(Tip::EMPTY))),
        })
    }

    /// The next row: decoded, checked by `verify`, and in its place.
    pub(crate) fn take(
        &mut self,
        key: &[u8],
        signed: SignedEntry,
        verify: impl Fn(SignedEntry) -> Result<VerifiedEntry, ccpeer_core::entry::EntryError>,
    ) -> Result<VerifiedEntry, StoreError> {
        let (log, seq) = entry_place(key)
            .ok_or_else(|| StoreError::corrupt(Place::File, "an entry has a malformed key"))?;
        let place = Place::Entry(log, seq);
        let tip = match self.at {
            Some((before, tip)) if before == log => tip,
            _ => Tip::EMPTY,
        };
        // Whatever is found, the next row is judged by its own predecessor.
        self.at = Some((
            log,
            Tip {
                seq,
                hash: signed.hash(),
            },
        ));
        let entry = verify(signed).map_err(|e| StoreError::corrupt(place, e.to_string()))?;
        if entry.log() != log || entry.seq() != seq {
            return Err(StoreError::corrupt(place, "it belongs elsewhere"));
        }
        if seq != tip.seq.next() {
            return Err(StoreError::corrupt(place, "the entry before it is missing"));
        }
        if entry.header().prev != tip.hash {
            return Err(StoreError::corrupt(
                place,
                "it does not follow the entry before it",
            ));
        }
        Ok(entry)
    }
}

/// The epoch in which we write.
pub(crate) fn epoch(txn: &ReadTransaction) -> Result<Epoch, Trouble> {
    let meta = txn.open_table(META)?;
    let row = meta.get(META_EPOCH)?;
    let bytes = row
        .as_ref()
        .and_then(|r| unseal(&META, META_EPOCH, r.value()));
    let epoch = bytes.and_then(|b| b.try_into().ok());
    Ok(Epoch(epoch.ok_or_else(|| {
        StoreError::corrupt(Place::Meta, "the epoch is unreadable")
    })?))
}

/// Entries with `after < seq <= upto`, as many as fit, at least one.
pub(crate) fn range(
    txn: &ReadTransaction,
    log: LogId,
    after: Seq,
    upto: Seq,
    bytes_max: usize,
) -> Result<Vec<SignedEntry>, Trouble> {
    let mut out = Vec::new();
    if after >= upto {
        return Ok(out);
    }
    let (first, last) = (entry_key(log, after.next()), entry_key(log, upto));
    let mut bytes = 0usize;
    for row in txn
        .open_table(ENTRIES)?
        .range(first.as_slice()..=last.as_slice())?
    {
        let (key, row) = row?;
        let signed = read_entry(key.value(), row.value())?;
        bytes = bytes.saturating_add(signed.size());
        if bytes > bytes_max && !out.is_empty() {
            break;
        }
        // What we pass on must be whole: a peer would take damage for malice.
        let place = Place::Entry(log, after);
        let entry = signed
            .verified_by_store()
            .map_err(|e| StoreError::corrupt(place, e.to_string()))?;
        out.push(entry.signed().clone());
    }
    Ok(out)
}
