//! Our own form in a mirror: numbered parts, each with the entries and the chunks
//! that came since the one before, signed by the device that wrote them.
//! docs/FORMAT.md says the bytes.
//!
//! What is read is foreign: a part is taken as a whole, or refused with the place
//! at which it is wrong. Must not know git, and nothing of encryption.

use std::io::{Read, Write};

use ccpeer_core::codec;
use ccpeer_core::entry::{SignedEntry, VerifiedEntry};
use ccpeer_core::id::{ChunkId, DeviceId};
use ccpeer_core::limits;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

/// What every part starts with.
const MAGIC: &[u8; 12] = b"ccpeer-part\x01";
/// What its signature starts with.
const DOMAIN: &[u8] = b"ccpeer/mirror-part/v1\0";
/// Bytes of content upon which a part is closed.
pub(crate) const PART_BYTES: usize = 8 * 1024 * 1024;
/// Bytes that a part may unpack to.
const PART_BYTES_MAX: usize = PART_BYTES + 4 * limits::CHUNK_BYTES_MAX;
/// Entries in one part.
pub(crate) const PART_ENTRIES_MAX: usize = 16 * 1024;
/// Parts of one device.
pub(crate) const PARTS_MAX: u64 = 1_000_000;
/// How hard it is packed: it is written once and kept for ever.
const LEVEL: i32 = 9;
/// The bytes of a signature.
const SIGNATURE: usize = 64;

const ENTRY: u8 = b'E';
const CHUNK: u8 = b'C';

/// What one part holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Part {
    pub(crate) entries: Vec<SignedEntry>,
    pub(crate) chunks: Vec<(ChunkId, Vec<u8>)>,
}

/// A part that was read: who wrote it, which it is, and what it holds, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Opened {
    pub(crate) entries: Vec<VerifiedEntry>,
    pub(crate) chunks: Vec<(ChunkId, Vec<u8>)>,
}

/// Why a part is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PartError {
    /// It is something else.
    #[error("it is no part of a mirror")]
    Magic,
    /// A newer ccpeer wrote it.
    #[error("it was written by a newer ccpeer")]
    Newer,
    /// It was cut off, or changed.
    #[error("it is damaged at byte {0}")]
    Damaged(usize),
    /// It stands in another one's place.
    #[error("it belongs to another place")]
    Misplaced,
    /// Its device has not signed it.
    #[error("its signature does not hold")]
    Signature,
    /// An entry in it does not hold.
    #[error("entry {0} of it does not hold")]
    Entry(usize),
    /// It unpacks to more than a part may hold.
    #[error("it is too long")]
    TooLong,
}

impl Part {
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.chunks.is_empty()
    }

    /// As it is written: by this key, as the part of this number.
    pub(crate) fn to_bytes(&self, key: &SigningKey, number: u64) -> std::io::Result<Vec<u8>> {
        let mut body = Vec::new();
        for entry in &self.entries {
            record(&mut body, ENTRY, &codec::encode(entry));
        }
        for (_, content) in &self.chunks {
            record(&mut body, CHUNK, content);
        }
        let packed = zstd::encode_all(body.as_slice(), LEVEL)?;
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(key.verifying_key().as_bytes());
        out.extend_from_slice(&number.to_le_bytes());
        out.write_all(&packed)?;
        let signature = key.sign(&signed(&out));
        out.extend_from_slice(&signature.to_bytes());
        Ok(out)
    }

    /// Reads what was found as the part of this number of this device.
    pub(crate) fn read(bytes: &[u8], device: DeviceId, number: u64) -> Result<Opened, PartError> {
        let head = MAGIC.len();
        let magic = bytes.get(..head).ok_or(PartError::Magic)?;
        if magic != MAGIC {
            let same = magic.get(..head - 1) == MAGIC.get(..head - 1);
            return Err(if same {
                PartError::Newer
            } else {
                PartError::Magic
            });
        }
        let split = bytes
            .len()
            .checked_sub(SIGNATURE)
            .filter(|s| *s >= head + 40);
        let (said, signature) = split
            .and_then(|at| bytes.split_at_checked(at))
            .ok_or(PartError::Damaged(bytes.len()))?;
        let (by, which) = (said.get(head..head + 32), said.get(head + 32..head + 40));
        if by != Some(&device.0[..]) || which != Some(&number.to_le_bytes()[..]) {
            return Err(PartError::Misplaced);
        }
        let key = VerifyingKey::from_bytes(&device.0).map_err(|_| PartError::Signature)?;
        let signature = Signature::from_slice(signature).map_err(|_| PartError::Signature)?;
        key.verify_strict(&signed(said), &signature)
            .map_err(|_| PartError::Signature)?;
        let body = unpack(said.get(head + 40..).unwrap_or_default())?;
        records(&body)
    }
}

/// What the signature is over.
fn signed(said: &[u8]) -> Vec<u8> {
    let mut bytes = DOMAIN.to_vec();
    bytes.extend_from_slice(blake3::hash(said).as_bytes());
    bytes
}

fn record(out: &mut Vec<u8>, kind: u8, content: &[u8]) {
    out.push(kind);
    let len = u32::try_from(content.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(content);
}

fn unpack(packed: &[u8]) -> Result<Vec<u8>, PartError> {
    let damaged = |_| PartError::Damaged(MAGIC.len() + 40);
    let decoder = zstd::stream::read::Decoder::new(packed).map_err(damaged)?;
    let mut body = Vec::new();
    let mut bounded = decoder.take(PART_BYTES_MAX as u64 + 1);
    bounded.read_to_end(&mut body).map_err(damaged)?;
    if body.len() > PART_BYTES_MAX {
        return Err(PartError::TooLong);
    }
    Ok(body)
}

fn records(body: &[u8]) -> Result<Opened, PartError> {
    let mut out = Opened {
        entries: Vec::new(),
        chunks: Vec::new(),
    };
    let mut at = 0;
    while at < body.len() {
        let damaged = PartError::Damaged(at);
        let kind = *body.get(at).ok_or(damaged)?;
        let len = body.get(at + 1..at + 5).and_then(|b| b.try_into().ok());
        let len = len.map(u32::from_le_bytes).ok_or(damaged)? as usize;
        let content = body.get(at + 5..at + 5 + len).ok_or(damaged)?;
        match kind {
            ENTRY => {
                let n = out.entries.len();
                if n >= PART_ENTRIES_MAX {
                    return Err(PartError::TooLong);
                }
                let entry: SignedEntry = codec::decode(content, limits::MESSAGE_BYTES_MAX)
                    .map_err(|_| PartError::Entry(n))?;
                out.entries
                    .push(entry.verify().map_err(|_| PartError::Entry(n))?);
            }
            CHUNK if len <= limits::CHUNK_BYTES_MAX => {
                out.chunks.push((ChunkId::of(content), content.to_vec()));
            }
            _ => return Err(damaged),
        }
        at += 5 + len;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ccpeer_core::entry::{DeviceInfo, ENTRY_VERSION, Header, Payload, device_of};
    use ccpeer_core::id::{EntryHash, Epoch, LogId, Seq};
    use ccpeer_core::time::Timestamp;

    fn entry(key: &SigningKey) -> SignedEntry {
        let info = DeviceInfo {
            name: "desk".to_owned(),
            os: "linux".to_owned(),
        };
        let payload = Payload::Device(info).to_bytes(Timestamp(7));
        let header = Header {
            version: ENTRY_VERSION,
            log: LogId {
                device: device_of(key),
                epoch: Epoch([1; 16]),
            },
            seq: Seq(1),
            prev: EntryHash::ZERO,
            lamport: 1,
            payload_hash: *blake3::hash(&payload).as_bytes(),
            payload_len: u32::try_from(payload.len()).unwrap(),
        };
        SignedEntry::sign(&header, payload, key)
    }

    fn part(key: &SigningKey) -> Part {
        let content = b"{\"type\":\"user\"}\n".to_vec();
        Part {
            entries: vec![entry(key)],
            chunks: vec![(ChunkId::of(&content), content)],
        }
    }

    #[test]
    fn a_part_comes_back() {
        let key = SigningKey::from_bytes(&[3; 32]);
        let part = part(&key);
        let bytes = part.to_bytes(&key, 5).unwrap();
        let back = Part::read(&bytes, device_of(&key), 5).unwrap();
        assert_eq!(back.chunks, part.chunks);
        assert_eq!(back.entries.len(), 1);
    }

    #[test]
    fn k_g03_what_was_edited_swapped_or_renamed_is_refused() {
        let (key, other) = (
            SigningKey::from_bytes(&[3; 32]),
            SigningKey::from_bytes(&[4; 32]),
        );
        let bytes = part(&key).to_bytes(&key, 5).unwrap();
        let me = device_of(&key);
        let check = |bytes: &[u8], device, number, want| {
            assert_eq!(Part::read(bytes, device, number).unwrap_err(), want);
        };
        check(&bytes, me, 6, PartError::Misplaced);
        check(&bytes, device_of(&other), 5, PartError::Misplaced);
        check(b"", me, 5, PartError::Magic);
        check(b"ccpeer-part\x02....", me, 5, PartError::Newer);
        let mut renamed = bytes.clone();
        renamed.splice(12..44, *other.verifying_key().as_bytes());
        check(&renamed, device_of(&other), 5, PartError::Signature);
        for at in 0..bytes.len() {
            let mut edited = bytes.clone();
            *edited.get_mut(at).unwrap() ^= 1;
            assert!(Part::read(&edited, me, 5).is_err(), "byte {at}");
            assert!(
                Part::read(bytes.get(..at).unwrap(), me, 5).is_err(),
                "cut at {at}"
            );
        }
    }

    #[test]
    fn what_unpacks_to_too_much_is_not_unpacked() {
        let key = SigningKey::from_bytes(&[3; 32]);
        let bomb = zstd::encode_all(std::io::repeat(0).take(1 << 28), 1).unwrap();
        assert_eq!(unpack(&bomb).unwrap_err(), PartError::TooLong);
        let mut body = Vec::new();
        record(&mut body, CHUNK, &vec![0; limits::CHUNK_BYTES_MAX + 1]);
        assert_eq!(records(&body).unwrap_err(), PartError::Damaged(0));
        assert!(part(&key).to_bytes(&key, 0).unwrap().len() < 1024);
    }
}
