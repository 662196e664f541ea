//! Chunks: packed, cut into parts, kept by their hash, and checked against it
//! every time they are read. Knows no manifest.

use std::num::NonZero;
use std::panic::resume_unwind;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ccpeer_core::id::ChunkId;
use ccpeer_core::limits;
use ccpeer_core::manifest::Want;
use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata, WriteTransaction};
use zstd::bulk::{Compressor, Decompressor};

use crate::error::{Place, StoreError, Trouble};
use crate::tables::{CHUNKS, COMPLETE, CONDEMNED, HAVE, Have, META, META_TOTALS, TAILS};
use crate::tables::{cut, mark_key, part_key, seal, unseal};

/// How a packed chunk is written, its first byte.
const RAW: u8 = 0;
const ZSTD: u8 = 1;
/// Method and length of the content.
const HEAD_LEN: usize = 5;
/// More parts than any chunk is cut into.
pub(crate) const PARTS_MAX: u8 = 32;
const ZSTD_LEVEL: i32 = 3;
/// Content that is worth a thread of its own.
const BYTES_PER_PACKER: usize = 1024 * 1024;
/// Threads that pack at the same time for one caller.
const PACKERS_MAX: usize = 4;
/// Contexts are kept for the next caller: a fresh one, in fresh memory, costs more
/// than to pack a turn or to unpack a manifest. One of these has up to 1.3 MB.
static PACKERS: AtRest<Compressor<'static>> = AtRest::up_to(1);
/// A sixth of a megabyte each.
static UNPACKERS: AtRest<Decompressor<'static>> = AtRest::up_to(4);
/// A frame that asks for a larger window is none of ours.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// A chunk as it lies in the tables, before it is cut.
#[derive(Debug)]
pub(crate) struct Packed {
    id: ChunkId,
    raw_len: u32,
    bytes: Vec<u8>,
}

impl Packed {
    pub(crate) fn id(&self) -> ChunkId {
        self.id
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len() + 128
    }

    fn have(&self) -> Have {
        let packed_len = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        Have {
            raw_len: self.raw_len,
            packed_len,
        }
    }
}

/// Content under its id, as callers give it.
pub(crate) type Given = (ChunkId, Vec<u8>);

/// Checks chunks against their ids and packs them, in the same order. Much of it is
/// packed on all cores: it is most of the work of keeping a long session.
pub(crate) fn pack(chunks: &[&Given]) -> Result<Vec<Packed>, StoreError> {
    let bytes: usize = chunks.iter().map(|(_, content)| content.len()).sum();
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let packers = (bytes / BYTES_PER_PACKER).clamp(1, cores.min(PACKERS_MAX));
    let share = chunks.len().div_ceil(packers).max(1);
    let pack = |share: &[&Given]| {
        let mut packer = Packer::new();
        let packed = share.iter().map(|(id, content)| packer.pack(*id, content));
        packed.collect::<Result<Vec<_>, _>>()
    };
    let mut shares = chunks.chunks(share);
    let Some(own) = shares.next() else {
        return Ok(Vec::new());
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = shares
            .map(|share| {
                let other = std::thread::Builder::new().spawn_scoped(scope, move || pack(share));
                (share, other)
            })
            .collect();
        let mut packed = pack(own)?;
        for (share, other) in others {
            packed.extend(match other {
                Ok(other) => other.join().unwrap_or_else(|panic| resume_unwind(panic))?,
                // Where no thread can be started it only takes longer.
                Err(_) => pack(share)?,
            });
        }
        Ok(packed)
    })
}

/// What is used again, as many of it as are named.
struct AtRest<T> {
    kept: Mutex<Vec<T>>,
    most: usize,
}

impl<T> AtRest<T> {
    const fn up_to(most: usize) -> Self {
        let kept = Mutex::new(Vec::new());
        Self { kept, most }
    }

    fn take(&self) -> Option<T> {
        self.kept().pop()
    }

    fn put_back(&self, one: T) {
        let mut kept = self.kept();
        if kept.len() < self.most {
            kept.push(one);
        }
    }

    fn kept(&self) -> MutexGuard<'_, Vec<T>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Packs chunks one after the other.
struct Packer {
    zstd: Option<Compressor<'static>>,
}

impl Drop for Packer {
    fn drop(&mut self) {
        if let Some(zstd) = self.zstd.take() {
            PACKERS.put_back(zstd);
        }
    }
}

impl Packer {
    fn new() -> Self {
        // Without a compressor (no memory for one) chunks are kept as they are.
        Self {
            zstd: PACKERS.take().or_else(|| Compressor::new(ZSTD_LEVEL).ok()),
        }
    }

    /// Checks a chunk against its id and packs it.
    fn pack(&mut self, id: ChunkId, content: &[u8]) -> Result<Packed, StoreError> {
        check(id, content)?;
        let small = self.zstd.as_mut().and_then(|z| z.compress(content).ok());
        let (method, body) = match &small {
            Some(small) if small.len() < content.len() => (ZSTD, small.as_slice()),
            _ => (RAW, content),
        };
        let raw_len = u32::try_from(content.len()).unwrap_or(u32::MAX);
        let mut bytes = Vec::with_capacity(HEAD_LEN + body.len());
        bytes.push(method);
        bytes.extend_from_slice(&raw_len.to_le_bytes());
        bytes.extend_from_slice(body);
        Ok(Packed { id, raw_len, bytes })
    }
}

/// Whether content may be kept under this id.
pub(crate) fn check(id: ChunkId, content: &[u8]) -> Result<(), StoreError> {
    let refused = |why| {
        Err(StoreError::Wrong {
            place: Place::Chunk(id),
            why,
        })
    };
    if content.len() > limits::CHUNK_BYTES_MAX {
        return refused("it is too long");
    }
    if ChunkId::of(content) != id {
        return refused("its content has another hash");
    }
    Ok(())
}

/// The content of packed bytes, if it is what the id says. Never takes more
/// memory than the longest chunk, whatever the bytes claim.
pub(crate) fn unpack(id: &ChunkId, packed: &[u8]) -> Result<Vec<u8>, &'static str> {
    let mut content = Vec::new();
    unpack_into(id, packed, &mut content)?;
    Ok(content)
}

/// The same in a buffer, in place of what it holds.
fn unpack_into(id: &ChunkId, packed: &[u8], into: &mut Vec<u8>) -> Result<(), &'static str> {
    into.clear();
    let (head, body) = packed
        .split_first_chunk::<HEAD_LEN>()
        .ok_or("it is cut off")?;
    let [method, len @ ..] = *head;
    let raw_len = u32::from_le_bytes(len) as usize;
    if raw_len > limits::CHUNK_BYTES_MAX {
        return Err("its length is impossible");
    }
    match method {
        RAW => into.extend_from_slice(body),
        ZSTD => inflate(body, raw_len, into).map_err(|_| "it cannot be unpacked")?,
        _ => return Err("its packing is unknown"),
    }
    if into.len() != raw_len {
        return Err("its length differs");
    }
    if ChunkId::of(into) != *id {
        return Err("its hash differs");
    }
    Ok(())
}

fn inflate(body: &[u8], raw_len: usize, into: &mut Vec<u8>) -> std::io::Result<()> {
    let mut zstd = match UNPACKERS.take() {
        Some(zstd) => zstd,
        None => {
            let mut zstd = Decompressor::new()?;
            zstd.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
            zstd
        }
    };
    // It writes as far as the buffer has room.
    into.reserve_exact(raw_len);
    // One that failed is not used again: nothing of it is to be trusted.
    zstd.decompress_to_buffer(body, into)?;
    UNPACKERS.put_back(zstd);
    Ok(())
}

pub(crate) fn apply(chunks: &[Packed], txn: &WriteTransaction) -> Result<(), Trouble> {
    let mut have = txn.open_table(HAVE)?;
    let mut parts = txn.open_table(CHUNKS)?;
    let mut tails = txn.open_table(TAILS)?;
    let mut condemned = txn.open_table(CONDEMNED)?;
    let any_condemned = !condemned.is_empty()?;
    let mut totals = Totals::read(&txn.open_table(META)?)?;
    for chunk in chunks {
        let id = chunk.id.0.as_slice();
        if any_condemned {
            condemned.remove(id)?;
        }
        if have.get(id)?.is_some() {
            continue;
        }
        let mut rest = chunk.bytes.as_slice();
        let mut part = 0u8;
        for len in cut(rest.len()) {
            let (here, after) = rest.split_at(len);
            rest = after;
            parts.insert(part_key(&chunk.id, part).as_slice(), here)?;
            part += 1;
        }
        // What is left of a damaged predecessor that was packed differently.
        remove_parts(&mut parts, &chunk.id, part)?;
        tails.insert(id, rest)?;
        have.insert(id, chunk.have().to_row().as_slice())?;
        totals.add(chunk.have());
    }
    totals.write(txn)
}

/// Removes chunks, wholly.
pub(crate) fn remove(ids: &[ChunkId], txn: &WriteTransaction) -> Result<(), Trouble> {
    let mut have = txn.open_table(HAVE)?;
    let mut parts = txn.open_table(CHUNKS)?;
    let mut tails = txn.open_table(TAILS)?;
    let mut totals = Totals::read(&txn.open_table(META)?)?;
    for id in ids {
        if let Some(row) = have.remove(id.0.as_slice())? {
            Have::from_row(row.value()).inspect(|h| totals.subtract(*h));
        }
        remove_parts(&mut parts, id, 0)?;
        tails.remove(id.0.as_slice())?;
    }
    totals.write(txn)
}

/// Removes the parts of a chunk from this one on.
fn remove_parts(
    parts: &mut redb::Table<'_, &'static [u8], &'static [u8]>,
    id: &ChunkId,
    from: u8,
) -> Result<(), Trouble> {
    for part in from..=u8::MAX {
        if parts.remove(part_key(id, part).as_slice())?.is_none() {
            break;
        }
    }
    Ok(())
}

/// What is known of those of these that are there.
pub(crate) fn rows(txn: &ReadTransaction, ids: &[ChunkId]) -> Result<Vec<Have>, Trouble> {
    let have = txn.open_table(HAVE)?;
    let mut out = Vec::with_capacity(ids.len());
    for id in ids {
        let row = have.get(id.0.as_slice())?;
        out.extend(row.and_then(|row| Have::from_row(row.value())));
    }
    Ok(out)
}

/// Whether a chunk was here once and was struck off as damaged.
pub(crate) fn is_struck_off(txn: &ReadTransaction, id: &ChunkId) -> Result<bool, Trouble> {
    let id = id.0.as_slice();
    Ok(txn.open_table(HAVE)?.get(id)?.is_none() && txn.open_table(TAILS)?.get(id)?.is_some())
}

/// Which of these are there.
pub(crate) fn has(txn: &ReadTransaction, ids: &[ChunkId]) -> Result<Vec<bool>, Trouble> {
    let have = txn.open_table(HAVE)?;
    let mut out = Vec::with_capacity(ids.len());
    for id in ids {
        out.push(have.get(id.0.as_slice())?.is_some());
    }
    Ok(out)
}

/// A chunk's content. The inner error says why it is damaged.
pub(crate) fn get(
    txn: &ReadTransaction,
    id: &ChunkId,
) -> Result<Option<Result<Vec<u8>, &'static str>>, Trouble> {
    let mut content = Vec::new();
    let found = get_into(txn, id, &mut content)?;
    Ok(found.map(|found| found.map(|()| content)))
}

/// The same in a buffer, in place of what it holds.
pub(crate) fn get_into(
    txn: &ReadTransaction,
    id: &ChunkId,
    into: &mut Vec<u8>,
) -> Result<Option<Result<(), &'static str>>, Trouble> {
    let Some(row) = txn.open_table(HAVE)?.get(id.0.as_slice())? else {
        return Ok(None);
    };
    let Some(have) = Have::from_row(row.value()) else {
        return Ok(Some(Err("its length is unknown")));
    };
    Ok(Some(match gather(txn, id, have.packed_len as usize)? {
        Some(packed) => unpack_into(id, &packed, into),
        None => Err("a part of it is missing"),
    }))
}

/// A chunk that is in the tables but not listed: set aside as damaged, and then
/// found to be whole after all (a failing memory, a cable).
pub(crate) fn find_unlisted(
    txn: &ReadTransaction,
    id: &ChunkId,
) -> Result<Option<(Vec<u8>, Have)>, Trouble> {
    let parts = txn.open_table(CHUNKS)?;
    let mut packed = Vec::new();
    for part in 0..=u8::MAX {
        let Some(row) = parts.get(part_key(id, part).as_slice())? else {
            break;
        };
        packed.extend_from_slice(row.value());
    }
    if let Some(row) = txn.open_table(TAILS)?.get(id.0.as_slice())? {
        packed.extend_from_slice(row.value());
    }
    let Ok(content) = unpack(id, &packed) else {
        return Ok(None);
    };
    let len = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let have = Have {
        raw_len: len(&content),
        packed_len: len(&packed),
    };
    Ok(Some((content, have)))
}

fn gather(txn: &ReadTransaction, id: &ChunkId, len: usize) -> Result<Option<Vec<u8>>, Trouble> {
    if len > limits::CHUNK_BYTES_MAX + HEAD_LEN {
        return Ok(None);
    }
    let mut packed = Vec::with_capacity(len);
    let lengths = cut(len);
    if !lengths.is_empty() {
        let parts = txn.open_table(CHUNKS)?;
        for (part, _) in (0u8..).zip(&lengths) {
            let Some(row) = parts.get(part_key(id, part).as_slice())? else {
                return Ok(None);
            };
            packed.extend_from_slice(row.value());
        }
    }
    let Some(tail) = txn.open_table(TAILS)?.get(id.0.as_slice())? else {
        return Ok(None);
    };
    packed.extend_from_slice(tail.value());
    Ok((packed.len() == len).then_some(packed))
}

/// What was found out about what we hold.
#[derive(Debug, Default)]
pub(crate) struct Amendment {
    /// Damaged: no longer listed, so that they are fetched again. Their bytes stay
    /// until then.
    pub(crate) forget: Vec<ChunkId>,
    /// Whole after all.
    pub(crate) adopt: Vec<(ChunkId, Have)>,
    /// Manifests that are not complete (any more).
    pub(crate) incomplete: Vec<Want>,
    /// Totals, counted anew.
    pub(crate) recount: bool,
}

impl Amendment {
    pub(crate) fn ids(&self) -> impl Iterator<Item = ChunkId> {
        let adopted = self.adopt.iter().map(|(id, _)| *id);
        self.forget.iter().copied().chain(adopted)
    }

    pub(crate) fn bytes(&self) -> usize {
        (self.forget.len() + self.adopt.len() + self.incomplete.len()) * 64
    }

    pub(crate) fn apply(&self, txn: &WriteTransaction) -> Result<(), Trouble> {
        let mut have = txn.open_table(HAVE)?;
        let mut condemned = txn.open_table(CONDEMNED)?;
        let mut totals = Totals::read(&txn.open_table(META)?)?;
        for id in &self.forget {
            // The collector counts what is listed.
            condemned.remove(id.0.as_slice())?;
            if let Some(row) = have.remove(id.0.as_slice())? {
                Have::from_row(row.value()).inspect(|h| totals.subtract(*h));
            }
        }
        for (id, row) in &self.adopt {
            if have
                .insert(id.0.as_slice(), row.to_row().as_slice())?
                .is_none()
            {
                totals.add(*row);
            }
        }
        let mut complete = txn.open_table(COMPLETE)?;
        for want in &self.incomplete {
            complete.remove(mark_key(want).as_slice())?;
        }
        if self.recount {
            totals = Totals::default();
            for row in have.iter()? {
                Have::from_row(row?.1.value()).inspect(|h| totals.add(*h));
            }
        }
        totals.write(txn)
    }
}

/// Sums over all listed chunks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) raw: u64,
    pub(crate) packed: u64,
}

impl Totals {
    /// The stored sums; zero where they cannot be read, because they are only
    /// shown.
    pub(crate) fn read(
        meta: &impl ReadableTable<&'static [u8], &'static [u8]>,
    ) -> Result<Self, Trouble> {
        let row = meta.get(META_TOTALS)?;
        let value = row
            .as_ref()
            .and_then(|r| unseal(&META, META_TOTALS, r.value()));
        let read = |value: &[u8]| {
            let (raw, packed) = value.split_first_chunk::<8>()?;
            let packed = u64::from_le_bytes(packed.try_into().ok()?);
            Some(Self {
                raw: u64::from_le_bytes(*raw),
                packed,
            })
        };
        Ok(value.and_then(read).unwrap_or_default())
    }

    fn write(self, txn: &WriteTransaction) -> Result<(), Trouble> {
        let mut value = [0; 16];
        let (raw, packed) = value.split_at_mut(8);
        raw.copy_from_slice(&self.raw.to_le_bytes());
        packed.copy_from_slice(&self.packed.to_le_bytes());
        let row = seal(&META, META_TOTALS, &value);
        txn.open_table(META)?.insert(META_TOTALS, row.as_slice())?;
        Ok(())
    }

    fn add(&mut self, have: Have) {
        self.raw = self.raw.saturating_add(u64::from(have.raw_len));
        self.packed = self.packed.saturating_add(u64::from(have.packed_len));
    }

    fn subtract(&mut self, have: Have) {
        self.raw = self.raw.saturating_sub(u64::from(have.raw_len));
        self.packed = self.packed.saturating_sub(u64::from(have.packed_len));
    }
}

/// Number of listed chunks.
pub(crate) fn count(txn: &ReadTransaction) -> Result<u64, Trouble> {
    Ok(txn.open_table(HAVE)?.len()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packing_comes_back_and_lies_are_found() {
        let noise: Vec<u8> = (0..5000u32)
            .flat_map(|i| *blake3::hash(&i.to_le_bytes()).as_bytes())
            .collect();
        for content in [vec![], vec![7], vec![b'x'; 100_000], noise] {
            let id = ChunkId::of(&content);
            let packed = Packer::new().pack(id, &content).unwrap();
            assert!(packed.bytes.len() <= content.len() + HEAD_LEN);
            assert_eq!(unpack(&id, &packed.bytes).as_ref(), Ok(&content));
            for delta in [-1i64, 1, 1 << 20, 1 << 31] {
                let mut lie = packed.bytes.clone();
                let len =
                    u32::try_from((content.len() as i64 + delta).rem_euclid(1 << 32)).unwrap();
                lie[1..5].copy_from_slice(&len.to_le_bytes());
                assert!(unpack(&id, &lie).is_err(), "length off by {delta}");
            }
        }
        let id = ChunkId::of(b"x");
        assert!(Packer::new().pack(id, b"y").is_err());
        assert!(unpack(&id, b"").is_err());
        assert!(unpack(&id, &[9, 1, 0, 0, 0, b'x']).is_err());
    }

    #[test]
    fn much_is_packed_on_several_threads_and_stays_in_order() {
        let chunks: Vec<Given> = (0..200u32)
            .map(|i| {
                let content = i.to_le_bytes().repeat(10_000 + i as usize);
                (ChunkId::of(&content), content)
            })
            .collect();
        let given: Vec<&Given> = chunks.iter().collect();
        let packed = pack(&given).unwrap();
        assert_eq!(packed.len(), chunks.len());
        for (packed, (id, content)) in packed.iter().zip(&chunks) {
            assert_eq!(packed.id, *id);
            assert_eq!(unpack(id, &packed.bytes).as_ref(), Ok(content));
        }
        let lie = (ChunkId([0; 32]), vec![7; 10]);
        for at in [0, 100, 200] {
            let mut given = given.clone();
            given.insert(at, &lie);
            assert!(pack(&given).is_err(), "a lie at {at}");
        }
        assert!(pack(&[]).unwrap().is_empty());
    }

    #[test]
    fn k_n05_a_bomb_is_not_unpacked() {
        let bomb = zstd::bulk::compress(&vec![0; 64 * 1024 * 1024], 3).unwrap();
        let mut packed = vec![ZSTD];
        packed.extend_from_slice(&1000u32.to_le_bytes());
        packed.extend_from_slice(&bomb);
        assert!(unpack(&ChunkId([0; 32]), &packed).is_err());
    }
}
