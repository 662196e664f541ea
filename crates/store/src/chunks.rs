//! Chunks: packed, alone or many in one pack, cut into parts, kept by their hash,
//! and checked against it every time they are read. Knows no manifest.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::num::NonZero;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};

use ccpeer_core::id::ChunkId;
use ccpeer_core::limits;
use ccpeer_core::manifest::Want;
use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata, WriteTransaction};
use zstd::bulk::{Compressor, Decompressor};

use crate::error::{Place, StoreError, Trouble};
use crate::packs::{self, List, Pack, Shelf};
use crate::tables::{CHUNKS, COMPLETE, CONDEMNED, HAVE, Have, META, META_TOTALS, PACKS, TAILS};
use crate::tables::{PART_KEY_LEN, PackNo, cut, mark_key, part_key, seal, unseal};

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
/// A frame that asks for a larger window is none of ours.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// Chunks as they lie in the tables, before they are cut.
#[derive(Debug)]
pub(crate) enum Packed {
    /// One by itself.
    Alone(Alone),
    /// Many together.
    Pack(Pack),
}

/// A chunk that is packed for itself.
#[derive(Debug)]
pub(crate) struct Alone {
    id: ChunkId,
    raw_len: u32,
    bytes: Vec<u8>,
}

impl Packed {
    pub(crate) fn ids(&self) -> Vec<ChunkId> {
        match self {
            Self::Alone(alone) => vec![alone.id],
            Self::Pack(pack) => pack.ids().collect(),
        }
    }

    pub(crate) fn no(&self) -> Option<PackNo> {
        match self {
            Self::Alone(_) => None,
            Self::Pack(pack) => Some(pack.no),
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Alone(alone) => alone.bytes.len() + 128,
            Self::Pack(pack) => pack.bytes(),
        }
    }
}

impl Alone {
    fn have(&self) -> Have {
        Have {
            raw_len: self.raw_len,
            packed_len: u32::try_from(self.bytes.len()).unwrap_or(u32::MAX),
            spot: None,
        }
    }
}

/// Content under its id, as callers give it.
pub(crate) type Given = (ChunkId, Vec<u8>);

/// Checks chunks against their ids and packs them: together, where there is enough
/// of them. Much of it is packed on all cores: it is most of the work of keeping a
/// long session.
pub(crate) fn pack(chunks: &[&Given], shelf: &Shelf) -> Result<Vec<Packed>, StoreError> {
    let (groups, alone) = packs::group(chunks);
    let mut tasks: Vec<Vec<&Given>> = groups;
    let shared = tasks.len();
    tasks.extend(alone.into_iter().map(|chunk| vec![chunk]));
    let bytes: usize = chunks.iter().map(|(_, content)| content.len()).sum();
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let packers = (bytes / BYTES_PER_PACKER).clamp(1, cores.min(PACKERS_MAX));
    let next = AtomicUsize::new(0);
    // Each takes the next one until there is none; then they are put in order.
    let work = || {
        let mut packer = Packer::new();
        let mut packed = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(task) = tasks.get(at) else {
                return Ok(packed);
            };
            packed.push((at, packer.task(task, at < shared, shelf)?));
        }
    };
    let mut packed = std::thread::scope(|scope| {
        let others: Vec<_> = (1..packers)
            // Where no thread can be started it only takes longer.
            .filter_map(|_| std::thread::Builder::new().spawn_scoped(scope, work).ok())
            .collect();
        let mut packed = work()?;
        for other in others {
            packed.extend(other.join().unwrap_or_else(|panic| resume_unwind(panic))?);
        }
        Ok::<_, StoreError>(packed)
    })?;
    packed.sort_unstable_by_key(|(at, _)| *at);
    Ok(packed.into_iter().map(|(_, packed)| packed).collect())
}

/// Packs one after the other.
pub(crate) struct Packer {
    zstd: Option<Compressor<'static>>,
    /// Looks for what is the same over all of a pack.
    far: Option<Compressor<'static>>,
}

impl Packer {
    pub(crate) fn new() -> Self {
        // Without a compressor (no memory for one) chunks are kept as they are.
        Self {
            zstd: Compressor::new(ZSTD_LEVEL).ok(),
            far: None,
        }
    }

    /// Checks chunks and packs them, together or the one by itself.
    fn task(
        &mut self,
        chunks: &[&Given],
        together: bool,
        shelf: &Shelf,
    ) -> Result<Packed, StoreError> {
        for (id, content) in chunks {
            check(*id, content)?;
        }
        Ok(match chunks {
            [(id, content)] if !together => Packed::Alone(self.alone(*id, content)),
            _ => Packed::Pack(Pack::of(shelf.number(), chunks, self)),
        })
    }

    fn alone(&mut self, id: ChunkId, content: &[u8]) -> Alone {
        let (method, body) = self.squeeze(content);
        let raw_len = u32::try_from(content.len()).unwrap_or(u32::MAX);
        let mut bytes = Vec::with_capacity(HEAD_LEN + body.len());
        bytes.push(method);
        bytes.extend_from_slice(&raw_len.to_le_bytes());
        bytes.extend_from_slice(&body);
        Alone { id, raw_len, bytes }
    }

    /// How content is kept, and as what: as one frame where that is shorter.
    fn squeeze<'c>(&mut self, content: &'c [u8]) -> (u8, Cow<'c, [u8]>) {
        Self::shorter(&mut self.zstd, content)
    }

    /// The same for many chunks one behind the other.
    pub(crate) fn squeeze_pack<'c>(&mut self, content: &'c [u8]) -> (u8, Cow<'c, [u8]>) {
        if self.far.is_none() {
            self.far = far_compressor().ok();
        }
        Self::shorter(&mut self.far, content)
    }

    fn shorter<'c>(
        zstd: &mut Option<Compressor<'static>>,
        content: &'c [u8],
    ) -> (u8, Cow<'c, [u8]>) {
        let small = zstd.as_mut().and_then(|z| z.compress(content).ok());
        match small {
            Some(small) if small.len() < content.len() => (ZSTD, Cow::Owned(small)),
            _ => (RAW, Cow::Borrowed(content)),
        }
    }
}

fn far_compressor() -> std::io::Result<Compressor<'static>> {
    let mut zstd = Compressor::new(ZSTD_LEVEL)?;
    zstd.window_log(packs::PACK_WINDOW_LOG)?;
    zstd.long_distance_matching(true)?;
    Ok(zstd)
}

/// What was squeezed, as far as it can be had: at most so many
/// bytes, whatever the frame claims.
pub(crate) fn expand(method: u8, body: &[u8], whole: usize) -> Result<Vec<u8>, &'static str> {
    const FAILED: &str = "it cannot be unpacked";
    match method {
        RAW => Ok(body.get(..whole).unwrap_or(body).to_vec()),
        ZSTD => {
            let mut zstd = Decompressor::new().map_err(|_| FAILED)?;
            zstd.window_log_max(ZSTD_WINDOW_LOG_MAX)
                .map_err(|_| FAILED)?;
            if let Ok(content) = zstd.decompress(body, whole) {
                return Ok(content);
            }
            let mut stream = zstd::stream::read::Decoder::with_buffer(body).map_err(|_| FAILED)?;
            stream
                .window_log_max(ZSTD_WINDOW_LOG_MAX)
                .map_err(|_| FAILED)?;
            let mut content = Vec::new();
            // It ends where the frame does, or is damaged.
            let _cut_off = stream.take(whole as u64).read_to_end(&mut content);
            Ok(content)
        }
        _ => Err("its packing is unknown"),
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
    let (head, body) = packed
        .split_first_chunk::<HEAD_LEN>()
        .ok_or("it is cut off")?;
    let [method, len @ ..] = *head;
    let raw_len = u32::from_le_bytes(len) as usize;
    if raw_len > limits::CHUNK_BYTES_MAX {
        return Err("its length is impossible");
    }
    if method == RAW && body.len() != raw_len {
        return Err("its length differs");
    }
    let content = match method {
        RAW => Cow::Borrowed(body),
        _ => Cow::Owned(expand(method, body, raw_len)?),
    };
    if content.len() != raw_len {
        return Err("its length differs");
    }
    if ChunkId::of(&content) != *id {
        return Err("its hash differs");
    }
    Ok(content.into_owned())
}

pub(crate) fn apply(chunks: &[Packed], txn: &WriteTransaction) -> Result<(), Trouble> {
    let mut have = txn.open_table(HAVE)?;
    let mut parts = txn.open_table(CHUNKS)?;
    let mut tails = txn.open_table(TAILS)?;
    let mut condemned = txn.open_table(CONDEMNED)?;
    let any_condemned = !condemned.is_empty()?;
    let mut totals = Totals::read(&txn.open_table(META)?)?;
    for packed in chunks {
        if any_condemned {
            for id in packed.ids() {
                condemned.remove(id.0.as_slice())?;
            }
        }
        let chunk = match packed {
            Packed::Alone(alone) => alone,
            Packed::Pack(pack) => {
                let mut any = false;
                for (member, row) in pack.rows() {
                    let id = member.id.0.as_slice();
                    if have.get(id)?.is_some() {
                        continue;
                    }
                    have.insert(id, row.to_row().as_slice())?;
                    totals.add(row);
                    any = true;
                    // What is left of a damaged predecessor.
                    if tails.remove(id)?.is_some() {
                        remove_parts(&mut parts, &member.id, 0)?;
                    }
                }
                if any {
                    pack.put(txn)?;
                }
                continue;
            }
        };
        let id = chunk.id.0.as_slice();
        if have.get(id)?.is_some() {
            continue;
        }
        let mut rest = chunk.bytes.as_slice();
        let mut part = 0u8;
        for len in cut(rest.len(), PART_KEY_LEN) {
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
    let mut of_packs: BTreeMap<PackNo, Vec<(ChunkId, u32)>> = BTreeMap::new();
    for id in ids {
        let row = have.remove(id.0.as_slice())?;
        if let Some(have) = row.and_then(|row| Have::from_row(row.value())) {
            totals.subtract(have);
            if let Some(spot) = have.spot {
                let gone = of_packs.entry(spot.pack).or_default();
                gone.push((*id, spot.offset));
            }
        }
        remove_parts(&mut parts, id, 0)?;
        tails.remove(id.0.as_slice())?;
    }
    for (pack, gone) in of_packs {
        packs::let_go(pack, &gone, txn)?;
    }
    totals.write(txn)
}

/// Removes the parts of a chunk from this one on.
pub(crate) fn remove_parts(
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

/// Those of these that lie in packs, and in which.
pub(crate) fn packs_of(
    txn: &ReadTransaction,
    ids: &[ChunkId],
) -> Result<BTreeSet<PackNo>, Trouble> {
    let rows = rows(txn, ids)?;
    Ok(rows
        .into_iter()
        .filter_map(|have| Some(have.spot?.pack))
        .collect())
}

/// What is known of a chunk, if it is there.
pub(crate) fn row(txn: &ReadTransaction, id: &ChunkId) -> Result<Option<Have>, Trouble> {
    Ok(rows(txn, std::slice::from_ref(id))?.pop())
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
    shelf: &Shelf,
    id: &ChunkId,
) -> Result<Option<Result<Vec<u8>, &'static str>>, Trouble> {
    let Some(row) = txn.open_table(HAVE)?.get(id.0.as_slice())? else {
        return Ok(None);
    };
    let Some(have) = Have::from_row(row.value()) else {
        return Ok(Some(Err("its length is unknown")));
    };
    if let Some(spot) = have.spot {
        return packs::get(txn, shelf, id, have.raw_len, spot).map(Some);
    }
    Ok(Some(match gather(txn, id, have.packed_len as usize)? {
        Some(packed) => unpack(id, &packed),
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
        spot: None,
    };
    Ok(Some((content, have)))
}

fn gather(txn: &ReadTransaction, id: &ChunkId, len: usize) -> Result<Option<Vec<u8>>, Trouble> {
    if len > limits::CHUNK_BYTES_MAX + HEAD_LEN {
        return Ok(None);
    }
    let mut packed = Vec::with_capacity(len);
    let lengths = cut(len, PART_KEY_LEN);
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
    /// Lists of packs that were damaged, as what is found there says.
    pub(crate) lists: Vec<(PackNo, List)>,
    /// Totals, counted anew.
    pub(crate) recount: bool,
}

impl Amendment {
    pub(crate) fn ids(&self) -> impl Iterator<Item = ChunkId> {
        let adopted = self.adopt.iter().map(|(id, _)| *id);
        self.forget.iter().copied().chain(adopted)
    }

    pub(crate) fn packs(&self) -> impl Iterator<Item = PackNo> {
        self.lists.iter().map(|(no, _)| *no)
    }

    pub(crate) fn bytes(&self) -> usize {
        let listed: usize = self.lists.iter().map(|(_, l)| l.members.len()).sum();
        (self.forget.len() + self.adopt.len() + self.incomplete.len() + listed) * 64
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
        for (no, list) in &self.lists {
            list.write(&mut txn.open_table(PACKS)?, *no)?;
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

    pub(crate) fn write(self, txn: &WriteTransaction) -> Result<(), Trouble> {
        let mut value = [0; 16];
        let (raw, packed) = value.split_at_mut(8);
        raw.copy_from_slice(&self.raw.to_le_bytes());
        packed.copy_from_slice(&self.packed.to_le_bytes());
        let row = seal(&META, META_TOTALS, &value);
        txn.open_table(META)?.insert(META_TOTALS, row.as_slice())?;
        Ok(())
    }

    pub(crate) fn add(&mut self, have: Have) {
        self.raw = self.raw.saturating_add(u64::from(have.raw_len));
        self.packed = self.packed.saturating_add(u64::from(have.packed_len));
    }

    pub(crate) fn subtract(&mut self, have: Have) {
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
            let packed = Packer::new().alone(id, &content);
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
        assert!(check(id, b"y").is_err());
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
        let shelf = Shelf::default();
        let packed = pack(&given, &shelf).unwrap();
        let ids: Vec<ChunkId> = packed.iter().flat_map(Packed::ids).collect();
        assert!(ids.iter().eq(chunks.iter().map(|(id, _)| id)));
        assert!(packed.iter().all(|p| p.no().is_some()));
        let lie = (ChunkId([0; 32]), vec![7; 10]);
        for at in [0, 100, 200] {
            let mut given = given.clone();
            given.insert(at, &lie);
            assert!(pack(&given, &shelf).is_err(), "a lie at {at}");
        }
        for packed in pack(&given[..1], &shelf).unwrap() {
            let Packed::Alone(alone) = packed else {
                panic!("so little needs no pack");
            };
            let content = chunks.iter().find(|(id, _)| *id == alone.id).unwrap();
            assert_eq!(unpack(&alone.id, &alone.bytes).as_ref(), Ok(&content.1));
        }
        assert!(pack(&[], &shelf).unwrap().is_empty());
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
