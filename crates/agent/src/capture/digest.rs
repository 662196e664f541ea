//! What the main transcript says, without reading it again from the start.
//!
//! The digest is laid aside in notes and taken up where it ended. As it grows
//! with the session, it is written anew only when the transcript has grown by
//! more than half its size; the gap is read again instead. Must not know what a
//! summary is for.

use std::io::Read;

use ccpeer_core::codec;
use ccpeer_core::id::SessionId;
use ccpeer_core::limits;
use ccpeer_core::manifest::Slot;
use ccpeer_formats::claude::transcript::{Digest, Summary};
use ccpeer_store::{Namespace, NoteWrite, Store, StoreError};
use serde::{Deserialize, Serialize};

use super::CaptureError;
use super::files::{LogView, Reader};
use crate::confined::ConfinedError;
use crate::local::{LocalState, Print};

/// Version of the notes.
const NOTE_VERSION: u8 = 1;
/// Bytes of one note; a digest may need several.
const PART_BYTES: usize = 512 * 1024;
/// Parts of the largest digest.
const PARTS_MAX: usize = limits::DIGEST_BYTES_MAX / PART_BYTES + 1;
/// Growth for which it is never written anew.
const GROWTH_MIN: u64 = 64 * 1024;

/// The first part says how many follow.
#[derive(Serialize, Deserialize)]
struct Part {
    version: u8,
    parts: u8,
    /// Bytes of the transcript that were read.
    offset: u64,
    /// Names the content of those bytes, nearly; see [`Print::tag`].
    tag: [u8; 32],
    bytes: Vec<u8>,
}

/// A digest that has read everything, and whether it is to be laid aside.
pub(super) struct Reading {
    digest: Digest,
    due: bool,
}

/// Reads what is new in the main transcript.
pub(super) fn read(
    store: &Store,
    session: &SessionId,
    reader: &Reader,
    view: &LogView,
    state: Option<&LocalState>,
) -> Result<Reading, CaptureError> {
    let io = |e| ConfinedError::io(reader.path(), e);
    let known = state
        .and_then(|s| s.file(&Slot::Main))
        .map(|f| &f.print)
        .filter(|_| view.grew);
    let laid = match known {
        Some(print) => load(store, session, print)?,
        None => None,
    };
    let size = laid.as_ref().map(|l| l.size);
    let mut digest = laid.map(|l| l.digest).unwrap_or_default();
    let start = digest.offset();
    let mut buffer = vec![0; 256 * 1024];
    let mut section = reader.section(start, view.end).map_err(io)?;
    loop {
        match section.read(&mut buffer).map_err(io)? {
            0 => break,
            n => digest.feed(buffer.get(..n).unwrap_or_default()),
        }
    }
    drop(section);
    let gap = digest.offset().saturating_sub(start);
    let due = size.is_none_or(|size| gap > GROWTH_MIN.max(size / 2));
    Ok(Reading { digest, due })
}

impl Reading {
    /// What the transcript says.
    pub(super) fn summary(&self) -> Summary {
        self.digest.summary()
    }

    /// The notes that lay the digest aside; often none. `print` is that of the
    /// transcript.
    pub(super) fn notes(&self, session: &SessionId, print: &Print) -> Vec<NoteWrite> {
        if self.due {
            lay_aside(session, &self.digest, print)
        } else {
            Vec::new()
        }
    }
}

/// The notes that forget a session's digest: another file took its place.
pub(crate) fn forget(store: &Store, session: &SessionId) -> Result<Vec<NoteWrite>, StoreError> {
    let parts = part(store, session, 0)?.map_or(1, |p| p.parts.max(1));
    Ok((0..parts).map(|n| note(session, n, None)).collect())
}

struct Laid {
    digest: Digest,
    size: u64,
}

fn load(store: &Store, session: &SessionId, print: &Print) -> Result<Option<Laid>, StoreError> {
    let Some(first) = part(store, session, 0)? else {
        return Ok(None);
    };
    if first.offset > print.len || first.tag != print.tag(first.offset) {
        return Ok(None);
    }
    let mut bytes = first.bytes;
    for n in 1..first.parts {
        match part(store, session, n)? {
            Some(p) if p.offset == first.offset => bytes.extend_from_slice(&p.bytes),
            _ => return Ok(None),
        }
    }
    let size = bytes.len() as u64;
    let digest = Digest::from_bytes(&bytes)
        .ok()
        .filter(|d| d.offset() == first.offset);
    Ok(digest.map(|digest| Laid { digest, size }))
}

fn lay_aside(session: &SessionId, digest: &Digest, print: &Print) -> Vec<NoteWrite> {
    let bytes = digest.to_bytes();
    let pieces: Vec<&[u8]> = bytes.chunks(PART_BYTES).collect();
    let Ok(parts) = u8::try_from(pieces.len()) else {
        return Vec::new();
    };
    if pieces.len() > PARTS_MAX {
        return Vec::new();
    }
    let offset = digest.offset();
    let of = |bytes: &[u8]| Part {
        version: NOTE_VERSION,
        parts,
        offset,
        tag: print.tag(offset),
        bytes: bytes.to_vec(),
    };
    (0..parts)
        .zip(pieces)
        .map(|(n, b)| note(session, n, Some(codec::encode(&of(b)))))
        .collect()
}

fn part(store: &Store, session: &SessionId, n: u8) -> Result<Option<Part>, StoreError> {
    let bytes = match store.note(Namespace::Capture, &key(session, n)) {
        Ok(bytes) => bytes,
        Err(StoreError::Corrupt { .. }) => None,
        Err(e) => return Err(e),
    };
    Ok(bytes
        .and_then(|b| codec::decode::<Part>(&b, limits::NOTE_VALUE_BYTES_MAX).ok())
        .filter(|p| p.version == NOTE_VERSION && usize::from(p.parts) <= PARTS_MAX))
}

fn note(session: &SessionId, n: u8, value: Option<Vec<u8>>) -> NoteWrite {
    NoteWrite {
        ns: Namespace::Capture,
        key: key(session, n),
        value,
    }
}

fn key(session: &SessionId, n: u8) -> Vec<u8> {
    let mut key = session.0.to_vec();
    key.push(n);
    key
}
