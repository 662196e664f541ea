//! The rows of the collector: who is condemned since when, and what one
//! transaction changes. Decides nothing.

use ccpeer_core::id::ChunkId;
use ccpeer_core::limits;
use ccpeer_core::manifest::Want;
use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata, WriteTransaction};

use crate::chunks;
use crate::error::Trouble;
use crate::tables::{self, COMPLETE, CONDEMNED, HAVE, META, META_UPTIME};

/// What one transaction of the collector changes.
#[derive(Debug, Default)]
pub(crate) struct Sweep {
    /// Needed or asked for: condemned no longer.
    pub(super) pardon: Vec<ChunkId>,
    /// Not needed as of now.
    pub(super) condemn: Vec<ChunkId>,
    /// Manifests no longer held for complete.
    pub(super) withdraw: Vec<Want>,
    /// To go, if they are still condemned.
    pub(super) free: Vec<ChunkId>,
    /// Milliseconds to be added to the uptime.
    pub(super) passed_ms: u64,
}

impl Sweep {
    pub(crate) fn freed(&self) -> impl Iterator<Item = ChunkId> {
        self.free.iter().copied()
    }

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
        let of_free = free.iter().flat_map(|id| Want::data(*id).all_kinds());
        for want in self.withdraw.iter().copied().chain(of_free) {
            complete.remove(tables::mark_key(&want).as_slice())?;
        }
        if free.is_empty() {
            return Ok(());
        }
        chunks::remove(&free, txn)
    }
}

/// Rows of what we hold and when each was condemned.
pub(super) struct Slice {
    pub(super) rows: Vec<(ChunkId, Option<u64>)>,
    /// Where the next one begins.
    pub(super) next: Option<Vec<u8>>,
}

pub(super) fn slice(txn: &ReadTransaction, from: &[u8]) -> Result<Slice, Trouble> {
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

pub(super) type ReadTable = redb::ReadOnlyTable<&'static [u8], &'static [u8]>;

/// The condemned, if there are any. The table came later than the others, and
/// does not exist in every store.
pub(super) fn open_condemned(txn: &ReadTransaction) -> Result<Option<ReadTable>, Trouble> {
    match txn.open_table(CONDEMNED) {
        Ok(table) if table.is_empty()? => Ok(None),
        Ok(table) => Ok(Some(table)),
        Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// The uptime at which a chunk was condemned; one that cannot be read lies in
/// the future.
pub(super) fn stamp_of(condemned: &ReadTable, id: &ChunkId) -> Result<Option<u64>, Trouble> {
    let key = id.0.as_slice();
    let row = condemned.get(key)?;
    Ok(row.map(|row| number(tables::unseal(&CONDEMNED, key, row.value())).unwrap_or(u64::MAX)))
}

/// Milliseconds that an agent has had this store open, as far as runs of the
/// collector have counted them. If the row is damaged, it begins anew, and with
/// it the grace of everything.
pub(super) fn uptime(
    meta: &impl ReadableTable<&'static [u8], &'static [u8]>,
) -> Result<u64, Trouble> {
    let row = meta.get(META_UPTIME)?;
    let value = row
        .as_ref()
        .and_then(|row| tables::unseal(&META, META_UPTIME, row.value()));
    Ok(number(value).unwrap_or(0))
}

fn number(bytes: Option<&[u8]>) -> Option<u64> {
    Some(u64::from_le_bytes(bytes?.try_into().ok()?))
}
