//! Packs: many chunks in one frame, because what compresses a transcript is what
//! stands before it. Knows how a pack is made, cut, listed, moved and unpacked, but
//! not why.
//!
//! A pack never changes. What it held and nobody needs any more stays in it until
//! it is written anew, by those who take its chunks over into another one.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ccpeer_core::id::ChunkId;
use ccpeer_core::limits;
use ccpeer_core::manifest::{ListPage, Manifest};
use redb::{ReadTransaction, ReadableTable, WriteTransaction};

use crate::chunks::{self, Given, Packer, Totals};
use crate::error::Trouble;
use crate::tables::{self, CHUNKS, HAVE, Have, META, PACKS, PIECE_KEY_LEN, PIECES, PackNo, Spot};
use crate::tables::{TAILS, cut};

/// Content in a pack, unless a single chunk is longer. With twice as much, four
/// hundredths less would be kept, and reading one chunk would take twice as long.
pub(crate) const PACK_BYTES: usize = 4 * 1024 * 1024;
/// Less content that comes together is kept chunk by chunk: a turn costs a row or
/// two, and is packed with others when there is enough.
pub(crate) const PACK_BYTES_MIN: usize = 32 * 1024;
/// Window of a pack: all of it.
pub(crate) const PACK_WINDOW_LOG: u32 = 22;
/// Pieces that a pack is cut into at most.
pub(crate) const PIECES_MAX: u8 = 100;
/// Packs that have been unpacked are kept, so many bytes of them.
const CACHE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Longest content of a pack that is believed: one chunk more than fits.
const WHOLE_MAX: usize = PACK_BYTES + limits::CHUNK_BYTES_MAX;
/// Shorter chunks exist, but not many: a session's smallest files.
pub(crate) const MEMBERS_MAX: usize = u16::MAX as usize;
/// Method and number of chunks.
const HEAD_LEN: usize = 3;

/// A chunk in a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) id: ChunkId,
    pub(crate) offset: u32,
    pub(crate) len: u32,
}

/// A pack as it lies in the tables, before it is cut.
#[derive(Debug)]
pub(crate) struct Pack {
    pub(crate) no: PackNo,
    members: Vec<Member>,
    whole: u32,
    bytes: Vec<u8>,
}

impl Pack {
    /// Packs chunks that have been checked.
    pub(crate) fn of(no: PackNo, given: &[&Given], packer: &mut Packer) -> Self {
        let mut content = Vec::with_capacity(given.iter().map(|(_, c)| c.len()).sum());
        let mut members = Vec::with_capacity(given.len());
        let mut head = Vec::new();
        let len_of = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
        let count = u16::try_from(given.len()).unwrap_or(u16::MAX);
        head.extend_from_slice(&count.to_le_bytes());
        for (id, chunk) in given {
            members.push(Member {
                id: *id,
                offset: len_of(content.len()),
                len: len_of(chunk.len()),
            });
            head.extend_from_slice(&len_of(chunk.len()).to_le_bytes());
            content.extend_from_slice(chunk);
        }
        let whole = len_of(content.len());
        let (method, body) = packer.squeeze_pack(&content);
        let mut bytes = Vec::with_capacity(1 + head.len() + body.len());
        bytes.push(method);
        bytes.extend_from_slice(&head);
        bytes.extend_from_slice(&body);
        Self {
            no,
            members,
            whole,
            bytes,
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len() + self.members.len() * 128
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = ChunkId> {
        self.members.iter().map(|m| m.id)
    }

    /// Each chunk and its row. The shares add up to the length of the pack.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (Member, Have)> {
        let rows = self.members.iter();
        rows.map(|member| (*member, have(self.no, self.whole, self.bytes.len(), member)))
    }

    /// Writes the pack and what lies where in it, but not who finds it there.
    pub(crate) fn put(&self, txn: &WriteTransaction) -> Result<(), Trouble> {
        let mut pieces = txn.open_table(PIECES)?;
        let mut rest = self.bytes.as_slice();
        let mut part = 0u8;
        for len in cut(rest.len(), PIECE_KEY_LEN) {
            let (here, after) = rest.split_at(len);
            rest = after;
            pieces.insert(self.no.piece_key(part).as_slice(), here)?;
            part += 1;
        }
        if !rest.is_empty() {
            pieces.insert(self.no.piece_key(part).as_slice(), rest)?;
        }
        let list = List {
            whole: self.whole,
            members: self.members.clone(),
        };
        list.write(&mut txn.open_table(PACKS)?, self.no)
    }
}

fn have(no: PackNo, whole: u32, packed: usize, member: &Member) -> Have {
    let upto = |offset: u64| packed as u64 * offset / u64::from(whole).max(1);
    let (offset, len) = (u64::from(member.offset), u64::from(member.len));
    Have {
        raw_len: member.len,
        packed_len: u32::try_from(upto(offset + len) - upto(offset)).unwrap_or(u32::MAX),
        spot: Some(Spot {
            pack: no,
            offset: member.offset,
            whole,
        }),
    }
}

/// The row of a chunk that lies in a pack and is not found there.
pub(crate) fn row_of(
    txn: &ReadTransaction,
    no: PackNo,
    list: &List,
    member: &Member,
) -> Result<Have, Trouble> {
    Ok(have(no, list.whole, gather(txn, no)?.len(), member))
}

/// Whether content is better kept by itself, because it is read without what lies
/// beside it: what refers to other chunks.
pub(crate) fn refers(content: &[u8]) -> bool {
    ListPage::from_bytes(content).is_ok() || Manifest::from_bytes(content).is_ok()
}

/// Parts chunks that come together into those that share a pack, group by group, and
/// those that are kept by themselves.
pub(crate) fn group<'g>(given: &[&'g Given]) -> (Vec<Vec<&'g Given>>, Vec<&'g Given>) {
    let (alone, together): (Vec<&Given>, Vec<&Given>) =
        given.iter().copied().partition(|(_, c)| refers(c));
    let bytes: usize = together.iter().map(|(_, c)| c.len()).sum();
    if bytes < PACK_BYTES_MIN || together.len() < 2 {
        return (Vec::new(), given.to_vec());
    }
    // Of the same length, so that none is left over that is hardly worth it.
    let each = bytes.div_ceil(bytes.div_ceil(PACK_BYTES));
    let mut groups: Vec<Vec<&Given>> = Vec::new();
    let mut filled = 0;
    for chunk in together {
        match groups.last_mut() {
            Some(last) if filled < each && last.len() < MEMBERS_MAX => last.push(chunk),
            _ => {
                groups.push(vec![chunk]);
                filled = 0;
            }
        }
        filled += chunk.1.len();
    }
    (groups, alone)
}

/// The content of a pack, as far as it can be had: if the pack is damaged, what
/// stands before the damage may still be whole. Each chunk is to be checked by its
/// hash.
#[derive(Debug)]
pub(crate) struct Unpacked {
    lens: Vec<u32>,
    content: Vec<u8>,
}

impl Unpacked {
    pub(crate) fn of(bytes: &[u8]) -> Result<Self, &'static str> {
        let (head, mut rest) = bytes
            .split_first_chunk::<HEAD_LEN>()
            .ok_or("its pack is cut off")?;
        let [method, low, high] = *head;
        let count = usize::from(u16::from_le_bytes([low, high]));
        let mut lens = Vec::with_capacity(count);
        let mut whole = 0usize;
        for _ in 0..count {
            let (len, after) = tables::number(rest).ok_or("its pack is cut off")?;
            rest = after;
            whole = whole.saturating_add(len as usize);
            lens.push(len);
        }
        if whole > WHOLE_MAX {
            return Err("the length of its pack is impossible");
        }
        let content = chunks::expand(method, rest, whole)?;
        Ok(Self { lens, content })
    }

    /// The content of the chunk that lies there, if it is what its id says.
    pub(crate) fn chunk(&self, id: &ChunkId, offset: u32, len: u32) -> Option<&[u8]> {
        let (offset, len) = (offset as usize, len as usize);
        let content = self.content.get(offset..offset.checked_add(len)?)?;
        (ChunkId::of(content) == *id).then_some(content)
    }

    /// Everything that is there, under the names that it has.
    pub(crate) fn members(&self) -> impl Iterator<Item = (Member, &[u8])> {
        let mut offset = 0u32;
        self.lens.iter().map_while(move |len| {
            let end = offset.checked_add(*len)?;
            let content = self.content.get(offset as usize..end as usize)?;
            let member = Member {
                id: ChunkId::of(content),
                offset,
                len: *len,
            };
            offset = end;
            Some((member, content))
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.content.len()
    }
}

/// A pack's bytes, as many of them as there are.
fn gather(txn: &ReadTransaction, no: PackNo) -> Result<Vec<u8>, Trouble> {
    let mut bytes = Vec::new();
    let (first, last) = (no.piece_key(0), no.piece_key(PIECES_MAX));
    let pieces = txn.open_table(PIECES)?;
    for (row, part) in pieces.range(first.as_slice()..=last.as_slice())?.zip(0u8..) {
        let (key, value) = row?;
        if key.value() != no.piece_key(part) {
            break;
        }
        bytes.extend_from_slice(value.value());
    }
    Ok(bytes)
}

/// A pack as it lies on the disk, unpacked.
pub(crate) fn read(
    txn: &ReadTransaction,
    no: PackNo,
) -> Result<Result<Unpacked, &'static str>, Trouble> {
    Ok(Unpacked::of(&gather(txn, no)?))
}

/// The content of a chunk in a pack. The inner error says why it is damaged.
pub(crate) fn get(
    txn: &ReadTransaction,
    shelf: &Shelf,
    id: &ChunkId,
    len: u32,
    spot: Spot,
) -> Result<Result<Vec<u8>, &'static str>, Trouble> {
    let known = shelf.find(spot.pack);
    let known = known.and_then(|pack| Some(pack.chunk(id, spot.offset, len)?.to_vec()));
    if let Some(content) = known {
        return Ok(Ok(content));
    }
    // Memory may fail as disks do: what counts is what lies in the file.
    let unpacked = match read(txn, spot.pack)? {
        Ok(unpacked) => unpacked,
        Err(why) => return Ok(Err(why)),
    };
    let content = unpacked.chunk(id, spot.offset, len).map(<[u8]>::to_vec);
    shelf.keep(spot.pack, unpacked);
    Ok(content.ok_or("its hash differs"))
}

/// What of a pack has not been let go, in the order in which it lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct List {
    /// Length of the content of the whole pack.
    pub(crate) whole: u32,
    pub(crate) members: Vec<Member>,
}

/// What a pack's row says.
#[derive(Debug)]
pub(crate) enum Listed {
    /// What lies in it.
    Here(List),
    /// Something that was not written.
    Damaged,
    /// There is none.
    Absent,
}

pub(crate) fn listed(
    packs: &impl ReadableTable<&'static [u8], &'static [u8]>,
    no: PackNo,
) -> Result<Listed, Trouble> {
    let key = no.key();
    Ok(match packs.get(key.as_slice())? {
        Some(row) => List::read(&key, row.value()).map_or(Listed::Damaged, Listed::Here),
        None => Listed::Absent,
    })
}

type Table<'t> = redb::Table<'t, &'static [u8], &'static [u8]>;

impl List {
    /// The list of this row, if it is what was written.
    pub(crate) fn read(key: &[u8], row: &[u8]) -> Option<Self> {
        let (whole, members) = tables::number(tables::unseal(&PACKS, key, row)?)?;
        let members = members.chunks(MEMBER_LEN).map(|member| {
            let (id, rest) = member.split_first_chunk::<32>()?;
            let (offset, rest) = tables::number(rest)?;
            Some(Member {
                id: ChunkId(*id),
                offset,
                len: tables::number(rest)?.0,
            })
        });
        Some(Self {
            whole,
            members: members.collect::<Option<_>>()?,
        })
    }

    pub(crate) fn write(&self, packs: &mut Table<'_>, no: PackNo) -> Result<(), Trouble> {
        let mut value = self.whole.to_le_bytes().to_vec();
        for member in &self.members {
            value.extend_from_slice(&member.id.0);
            value.extend_from_slice(&member.offset.to_le_bytes());
            value.extend_from_slice(&member.len.to_le_bytes());
        }
        let key = no.key();
        let row = tables::seal(&PACKS, &key, &value);
        packs.insert(key.as_slice(), row.as_slice())?;
        Ok(())
    }
}

/// Id, offset, length.
const MEMBER_LEN: usize = 40;

/// Takes chunks that are gone off the list of their pack; when nothing is left on
/// it, the pack goes.
pub(crate) fn let_go(
    no: PackNo,
    gone: &[(ChunkId, u32)],
    txn: &WriteTransaction,
) -> Result<(), Trouble> {
    let mut packs = txn.open_table(PACKS)?;
    // A list that is damaged is written anew by a check of all data.
    let Listed::Here(mut list) = listed(&packs, no)? else {
        return Ok(());
    };
    list.members.retain(|m| !gone.contains(&(m.id, m.offset)));
    if list.members.is_empty() {
        return remove(no, &mut packs, txn);
    }
    list.write(&mut packs, no)
}

fn remove(no: PackNo, packs: &mut Table<'_>, txn: &WriteTransaction) -> Result<(), Trouble> {
    packs.remove(no.key().as_slice())?;
    let mut pieces = txn.open_table(PIECES)?;
    for part in 0..=PIECES_MAX {
        if pieces.remove(no.piece_key(part).as_slice())?.is_none() {
            break;
        }
    }
    Ok(())
}

/// Chunks that are to lie together, and where they lay before.
#[derive(Debug)]
pub(crate) struct Move {
    /// Nothing, where the old packs hold nothing that is needed.
    pub(crate) pack: Option<Pack>,
    /// The rows of its chunks as they were when they were read. What has another
    /// one by now is left alone.
    pub(crate) before: Vec<Have>,
    /// Packs that go when nobody is to find anything in them any more.
    pub(crate) old: Vec<PackNo>,
}

impl Move {
    pub(crate) fn bytes(&self) -> usize {
        self.pack.as_ref().map_or(0, Pack::bytes) + 64
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = ChunkId> {
        self.pack.iter().flat_map(Pack::ids)
    }

    pub(crate) fn packs(&self) -> impl Iterator<Item = PackNo> {
        let new = self.pack.iter().map(|pack| pack.no);
        new.chain(self.old.iter().copied())
    }

    pub(crate) fn apply(&self, txn: &WriteTransaction) -> Result<(), Trouble> {
        let mut have = txn.open_table(HAVE)?;
        let mut totals = Totals::read(&txn.open_table(META)?)?;
        let mut moved = 0;
        if let Some(pack) = &self.pack {
            let mut parts = txn.open_table(CHUNKS)?;
            let mut tails = txn.open_table(TAILS)?;
            for ((member, new), before) in pack.rows().zip(&self.before) {
                let id = member.id.0.as_slice();
                let now = have.get(id)?.and_then(|row| Have::from_row(row.value()));
                if now != Some(*before) {
                    continue;
                }
                have.insert(id, new.to_row().as_slice())?;
                totals.subtract(*before);
                totals.add(new);
                if before.spot.is_none() {
                    tails.remove(id)?;
                    chunks::remove_parts(&mut parts, &member.id, 0)?;
                }
                moved += 1;
            }
        }
        if let Some(pack) = self.pack.as_ref().filter(|_| moved > 0) {
            pack.put(txn)?;
        }
        let mut packs = txn.open_table(PACKS)?;
        for no in &self.old {
            if let Listed::Here(list) = listed(&packs, *no)?
                && !any_found_there(&have, *no, &list.members)?
            {
                remove(*no, &mut packs, txn)?;
            }
        }
        drop(have);
        totals.write(txn)
    }
}

fn any_found_there(
    have: &impl ReadableTable<&'static [u8], &'static [u8]>,
    no: PackNo,
    members: &[Member],
) -> Result<bool, Trouble> {
    for member in members {
        let row = have.get(member.id.0.as_slice())?;
        let have = row.and_then(|row| Have::from_row(row.value()));
        if have.is_some_and(|have| is_at(have, no, member)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a chunk is found at this place and no other.
pub(crate) fn is_at(have: Have, no: PackNo, member: &Member) -> bool {
    have.raw_len == member.len
        && have
            .spot
            .is_some_and(|s| s.pack == no && s.offset == member.offset)
}

/// Gives packs their numbers, and keeps the last ones that were unpacked.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    next: AtomicU64,
    unpacked: Mutex<VecDeque<(PackNo, Arc<Unpacked>)>>,
}

impl Shelf {
    /// A number that no pack of this file has.
    pub(crate) fn number(&self) -> PackNo {
        PackNo(self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Goes on behind the last pack that is there.
    pub(crate) fn begin(&self, txn: &ReadTransaction) -> Result<(), Trouble> {
        let mut next = 0;
        for table in [PACKS, PIECES] {
            let table = txn.open_table(table)?;
            let last = table.last()?;
            let last = last.and_then(|(key, _)| PackNo::of_key(key.value()));
            next = next.max(last.map_or(0, |no| no.0.saturating_add(1)));
        }
        self.next.store(next, Ordering::Relaxed);
        Ok(())
    }

    fn find(&self, no: PackNo) -> Option<Arc<Unpacked>> {
        let mut unpacked = self.unpacked();
        let at = unpacked.iter().position(|(known, _)| *known == no)?;
        let found = unpacked.remove(at)?;
        let pack = Arc::clone(&found.1);
        unpacked.push_back(found);
        Some(pack)
    }

    fn keep(&self, no: PackNo, pack: Unpacked) {
        let mut unpacked = self.unpacked();
        unpacked.retain(|(known, _)| *known != no);
        unpacked.push_back((no, Arc::new(pack)));
        let mut bytes: usize = unpacked.iter().map(|(_, p)| p.len()).sum();
        while bytes > CACHE_BYTES_MAX
            && let Some((_, oldest)) = unpacked.pop_front()
        {
            bytes -= oldest.len();
        }
    }

    fn unpacked(&self) -> std::sync::MutexGuard<'_, VecDeque<(PackNo, Arc<Unpacked>)>> {
        self.unpacked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
