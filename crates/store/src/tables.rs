//! The tables, their keys and the bytes of their rows. FORMAT.md describes the
//! same for people; change both, and the number in the table's name.
//!
//! Keys and values are plain bytes to redb: a key type of its own would become
//! part of the file's identity. Numbers in keys are big-endian, so that they
//! sort; numbers in values are little-endian.

use ccpeer_core::codec;
use ccpeer_core::entry::SignedEntry;
use ccpeer_core::id::{ChunkId, DeviceId, Epoch, LogId, Seq};
use ccpeer_core::limits;
use ccpeer_core::manifest::{Want, WantKind};
use redb::TableDefinition;

use crate::error::{Place, StoreError};

/// A table of ours.
pub(crate) type Definition = TableDefinition<'static, &'static [u8], &'static [u8]>;

/// `device (32) ‖ epoch (16) ‖ seq (8, big-endian)` → `check (8) ‖ SignedEntry`.
pub(crate) const ENTRIES: Definition = TableDefinition::new("entries-1");
/// `chunk id (32) ‖ part (1)` → a piece of the packed chunk that fills whole
/// pages.
pub(crate) const CHUNKS: Definition = TableDefinition::new("chunks-1");
/// `chunk id (32)` → the rest of the packed chunk, shorter than a page.
pub(crate) const TAILS: Definition = TableDefinition::new("tails-1");
/// `chunk id (32)` → [`Have`]. A chunk without this row is not there.
pub(crate) const HAVE: Definition = TableDefinition::new("have-1");
/// `chunk id (32) ‖ kind (2, big-endian)` → nothing: what is whole, as what. Keys
/// of another length than those of chunks, because rows that are picked out of a
/// damaged file are told apart by that.
pub(crate) const COMPLETE: Definition = TableDefinition::new("complete-2");
/// `chunk id (32)` → nothing. The same in stores of format 1, which did not say
/// as what.
pub(crate) const COMPLETE_OF_1: Definition = TableDefinition::new("complete-1");
/// `chunk id (32)` → `check (8) ‖ uptime u64`: what the collector found needed by
/// nobody, and when. Stores from before it do not have this table.
pub(crate) const CONDEMNED: Definition = TableDefinition::new("condemned-1");
/// `namespace (1) ‖ key (0–256)` → `check (8) ‖ value`.
pub(crate) const NOTES: Definition = TableDefinition::new("notes-1");
/// One of the `META_` keys below → `check (8) ‖ value`.
pub(crate) const META: Definition = TableDefinition::new("meta-1");

/// All of them; a new store gets them all in its first transaction.
pub(crate) const ALL: [Definition; 8] = [
    ENTRIES, CHUNKS, TAILS, HAVE, COMPLETE, CONDEMNED, NOTES, META,
];

/// Version of the whole, `u32`. It rises when an older ccpeer must keep away.
pub(crate) const META_FORMAT: &[u8] = b"format";
/// The epoch in which we write, 16 bytes.
pub(crate) const META_EPOCH: &[u8] = b"epoch";
/// Bytes of all chunks, `raw u64 ‖ packed u64`.
pub(crate) const META_TOTALS: &[u8] = b"totals";
/// Time with an agent running, milliseconds `u64`: what the collector counts by.
pub(crate) const META_UPTIME: &[u8] = b"uptime";
/// Lengths when the file was last written anew, `file u64 ‖ packed u64`.
pub(crate) const META_FLOOR: &[u8] = b"floor";

/// What we write and the newest that we can read.
///
/// 2 says of what is complete as what it is.
pub(crate) const FORMAT: u32 = 2;

const CHECK_LEN: usize = 8;

/// A row with its check in front. redb verifies its own checksums only when it
/// repairs, so each of our rows can tell by itself whether it is what was
/// written, and under which key.
pub(crate) fn seal(table: &Definition, key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut row = Vec::with_capacity(CHECK_LEN + value.len());
    row.extend_from_slice(&check(table, key, value));
    row.extend_from_slice(value);
    row
}

/// The value of a row that is what was written.
pub(crate) fn unseal<'r>(table: &Definition, key: &[u8], row: &'r [u8]) -> Option<&'r [u8]> {
    let (sum, value) = row.split_at_checked(CHECK_LEN)?;
    (sum == check(table, key, value)).then_some(value)
}

fn check(table: &Definition, key: &[u8], value: &[u8]) -> [u8; CHECK_LEN] {
    use redb::TableHandle;
    let mut hasher = blake3::Hasher::new();
    hasher.update(table.name().as_bytes());
    hasher.update(&[0]);
    // Two bytes hold every key: the longest is a note's.
    hasher.update(&u16::try_from(key.len()).unwrap_or(u16::MAX).to_le_bytes());
    hasher.update(key);
    hasher.update(value);
    let mut out = [0; CHECK_LEN];
    hasher.finalize_xof().fill(&mut out);
    out
}

/// Key of an entry.
pub(crate) fn entry_key(log: LogId, seq: Seq) -> [u8; 56] {
    let mut key = [0; 56];
    let (device, rest) = key.split_at_mut(32);
    let (epoch, number) = rest.split_at_mut(16);
    device.copy_from_slice(&log.device.0);
    epoch.copy_from_slice(&log.epoch.0);
    number.copy_from_slice(&seq.0.to_be_bytes());
    key
}

/// The log and number in an entry's key.
pub(crate) fn entry_place(key: &[u8]) -> Option<(LogId, Seq)> {
    let (device, rest) = key.split_first_chunk::<32>()?;
    let (epoch, rest) = rest.split_first_chunk::<16>()?;
    let seq = u64::from_be_bytes(rest.try_into().ok()?);
    Some((
        LogId {
            device: DeviceId(*device),
            epoch: Epoch(*epoch),
        },
        Seq(seq),
    ))
}

/// An entry's row.
pub(crate) fn entry_row(key: &[u8], entry: &SignedEntry) -> Vec<u8> {
    seal(&ENTRIES, key, &codec::encode(entry))
}

/// The entry of a row, decoded but not verified.
pub(crate) fn read_entry(key: &[u8], row: &[u8]) -> Result<SignedEntry, StoreError> {
    let place = entry_place(key).map_or(Place::File, |(log, seq)| Place::Entry(log, seq));
    let bytes = unseal(&ENTRIES, key, row)
        .ok_or_else(|| StoreError::corrupt(place, "its check does not match"))?;
    codec::decode(bytes, ENTRY_ROW_MAX).map_err(|e| StoreError::corrupt(place, e.to_string()))
}

/// Header, signature, payload and the lengths between them.
const ENTRY_ROW_MAX: usize = limits::HEADER_BYTES_MAX + 64 + limits::PAYLOAD_BYTES_MAX + 16;

/// What is known of a chunk without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Have {
    /// Length of its content.
    pub(crate) raw_len: u32,
    /// Length as packed, header included.
    pub(crate) packed_len: u32,
}

impl Have {
    pub(crate) fn to_row(self) -> [u8; 8] {
        let mut row = [0; 8];
        let (a, b) = row.split_at_mut(4);
        a.copy_from_slice(&self.raw_len.to_le_bytes());
        b.copy_from_slice(&self.packed_len.to_le_bytes());
        row
    }

    pub(crate) fn from_row(row: &[u8]) -> Option<Self> {
        let (raw, packed) = row.split_first_chunk::<4>()?;
        Some(Self {
            raw_len: u32::from_le_bytes(*raw),
            packed_len: u32::from_le_bytes(packed.try_into().ok()?),
        })
    }
}

/// Key of a part of a chunk.
pub(crate) fn part_key(id: &ChunkId, part: u8) -> [u8; 33] {
    let mut key = [part; 33];
    if let Some(front) = key.first_chunk_mut::<32>() {
        *front = id.0;
    }
    key
}

/// Key of what is complete.
pub(crate) fn mark_key(want: &Want) -> [u8; MARK_LEN] {
    let kind: u16 = match want.kind {
        WantKind::Manifest => 1,
        WantKind::List => 2,
        WantKind::Data => 3,
    };
    let mut key = [0; MARK_LEN];
    let (id, end) = key.split_at_mut(32);
    id.copy_from_slice(&want.id.0);
    end.copy_from_slice(&kind.to_be_bytes());
    key
}

/// Length of the key of what is complete.
pub(crate) const MARK_LEN: usize = 34;

/// What is complete by this key.
pub(crate) fn mark_of(key: &[u8]) -> Option<Want> {
    let id = id_of(key)?;
    let mut wants = Want::data(id).all_kinds();
    wants.find(|want| mark_key(want) == key)
}

/// The id that is this key, or that this key begins with.
pub(crate) fn id_of(key: &[u8]) -> Option<ChunkId> {
    key.first_chunk::<32>().map(|id| ChunkId(*id))
}

/// Bytes of a redb page.
const PAGE: usize = 4096;
/// What redb needs in a leaf page beside the value of one row of [`CHUNKS`]:
/// its head (4), the ends of key and value (4 + 4), the key (33).
const PAGE_OVERHEAD: usize = 45;

/// How a packed chunk is cut: lengths of the parts that go to [`CHUNKS`]; what
/// is left, less than a page, goes to [`TAILS`].
///
/// redb gives a row that does not share a page the next power of two of pages.
/// One row per chunk would waste a third of the file; parts that fill their
/// pages to the last byte, and tails that share pages, waste next to nothing.
pub(crate) fn cut(mut len: usize) -> Vec<usize> {
    let fill = |order: u32| (PAGE << order) - PAGE_OVERHEAD;
    let mut parts = Vec::new();
    while len >= fill(0) {
        let order = (0..=PART_ORDER_MAX)
            .rev()
            .find(|o| fill(*o) <= len)
            .unwrap_or(0);
        parts.push(fill(order));
        len -= fill(order);
    }
    parts
}

/// Parts are at most 64 KiB: larger runs of pages are hard to find in a file
/// that has been in use for long.
const PART_ORDER_MAX: u32 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_know_their_key_and_table() {
        let row = seal(&NOTES, b"key", b"value");
        assert_eq!(unseal(&NOTES, b"key", &row), Some(&b"value"[..]));
        assert_eq!(unseal(&NOTES, b"kex", &row), None);
        assert_eq!(unseal(&META, b"key", &row), None);
        for bit in 0..row.len() * 8 {
            let mut bad = row.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(unseal(&NOTES, b"key", &bad), None, "bit {bit}");
        }
        assert_eq!(unseal(&NOTES, b"key", b"short"), None);
    }

    #[test]
    fn cuts_cover_everything_but_less_than_a_page() {
        for len in [
            0,
            1,
            4050,
            4051,
            4052,
            18_000,
            65_491,
            65_492,
            300_000,
            1 << 20,
        ] {
            let parts = cut(len);
            let covered: usize = parts.iter().sum();
            assert!(covered <= len && len - covered < PAGE, "{len}: {parts:?}");
            assert!(parts.len() <= 32, "{len}: {parts:?}");
        }
    }

    #[test]
    fn keys_sort_as_numbers_do() {
        let log = LogId {
            device: DeviceId([1; 32]),
            epoch: Epoch([2; 16]),
        };
        assert!(entry_key(log, Seq(255)) < entry_key(log, Seq(256)));
        assert_eq!(entry_place(&entry_key(log, Seq(77))), Some((log, Seq(77))));
        assert_eq!(entry_place(&[0; 55]), None);
        for want in Want::data(ChunkId([3; 32])).all_kinds() {
            assert_eq!(mark_of(&mark_key(&want)), Some(want));
        }
        assert_eq!(mark_of(&[3; 32]), None);
        assert_eq!(mark_of(&[9; MARK_LEN]), None);
        let have = Have {
            raw_len: 70_000,
            packed_len: 9,
        };
        assert_eq!(Have::from_row(&have.to_row()), Some(have));
    }
}
