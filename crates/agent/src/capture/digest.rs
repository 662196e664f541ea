//! What the main transcript says, without reading it again from the start.
//!
//! The digest is laid aside in notes and taken up where it ended. As it grows
//! with the session, it is written anew only when the transcript has grown by
//! more than half its size; the gap is read again instead. Those of the last few
//! sessions also stay in memory, so that a turn costs what it adds, and are written
//! far more rarely: the gap is read once after a restart. Must not know what a
//! summary is for.

use std::collections::VecDeque;
use std::io::Read;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ccpeer_core::codec;
use ccpeer_core::id::SessionId;
use ccpeer_core::limits;
use ccpeer_core::manifest::Slot;
use ccpeer_formats::claude::transcript::{Digest, Summary};
use ccpeer_store::{Namespace, NoteWrite, Store, StoreError};
use serde::{Deserialize, Serialize};

use super::CaptureError;
use super::files::{LogView, Reader};
use crate::confined::{ConfinedError, Stamp};
use crate::git;
use crate::local::{KnownProject, LocalState, Print};

/// Version of the notes.
const NOTE_VERSION: u8 = 1;
/// Bytes of one note; a digest may need several.
const PART_BYTES: usize = 512 * 1024;
/// Parts of the largest digest.
const PARTS_MAX: usize = limits::DIGEST_BYTES_MAX / PART_BYTES + 1;
/// Growth for which it is never written anew.
const GROWTH_MIN: u64 = 64 * 1024;
/// The same where it stays in memory: a few milliseconds of reading.
const GROWTH_KEPT_MIN: u64 = 1024 * 1024;
/// Bytes that are read in one go.
const BUFFER: usize = 256 * 1024;

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

/// Sessions whose digests stay in memory.
const RECENT_MAX: usize = 4;
/// Records of all of them together; a digest takes some 50 bytes for each. A session
/// of 500 MB has a hundred thousand.
const RECENT_RECORDS_MAX: u64 = 512 * 1024;

/// Projects that are remembered.
const PROJECTS_MAX: usize = 64;

/// The digests of the sessions that were captured last.
#[derive(Default)]
pub(crate) struct Recent {
    kept: Mutex<VecDeque<Kept>>,
    /// What git said of their work trees.
    pub(super) git: git::Memory,
    /// The projects that they are of.
    projects: Mutex<VecDeque<KnownProject>>,
}

struct Kept {
    session: SessionId,
    /// Of exactly what was read.
    print: Print,
    /// The file, and how it looked when it was opened.
    path: PathBuf,
    stamp: Stamp,
    digest: Digest,
    summary: Arc<Summary>,
    laid: Option<LaidAt>,
}

impl Recent {
    /// What was found out about the project in this directory, as long as it holds:
    /// many sessions are of one.
    pub(super) fn project(&self, dir: &str) -> Option<KnownProject> {
        let kept = self.projects.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().find(|known| known.dir == dir).cloned()
    }

    pub(super) fn remember_project(&self, known: &KnownProject) {
        let mut kept = self.projects.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|before| before.dir != known.dir);
        kept.push_front(known.clone());
        kept.truncate(PROJECTS_MAX);
    }

    /// Nothing was captured for a while.
    pub(crate) fn forget(&self) {
        self.lock().clear();
    }

    /// Whether a session's transcript looks as it did when it was captured last. A
    /// change within the grain of the clock does not show. Blocking.
    pub(crate) fn looks_the_same(&self, session: &SessionId) -> bool {
        let kept = self.lock();
        let kept = kept.iter().find(|k| k.session == *session);
        let Some((path, stamp)) = kept.map(|k| (k.path.clone(), k.stamp)) else {
            return false;
        };
        std::fs::symlink_metadata(path).is_ok_and(|now| Stamp::of(&now) == stamp)
    }

    fn take(&self, session: &SessionId, print: &Print) -> Option<Kept> {
        let mut kept = self.lock();
        let at = kept.iter().position(|k| k.session == *session)?;
        kept.remove(at).filter(|k| k.print == *print)
    }

    fn keep(&self, new: Kept) {
        let mut kept = self.lock();
        kept.retain(|k| k.session != new.session);
        kept.push_front(new);
        kept.truncate(RECENT_MAX);
        let records = |kept: &VecDeque<Kept>| kept.iter().map(|k| k.summary.records).sum::<u64>();
        while records(&kept) > RECENT_RECORDS_MAX {
            kept.pop_back();
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Kept>> {
        // Nothing in here panics half-way through a change.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Up to where a digest was laid aside, and its bytes.
#[derive(Clone, Copy)]
struct LaidAt {
    offset: u64,
    size: u64,
}

/// A digest that has read everything.
pub(super) struct Reading {
    digest: Digest,
    summary: Arc<Summary>,
    laid: Option<LaidAt>,
}

/// Reads what is new in the main transcript.
pub(super) fn read(
    store: &Store,
    session: &SessionId,
    reader: &Reader,
    view: &LogView,
    state: Option<&LocalState>,
    recent: &Recent,
) -> Result<Reading, CaptureError> {
    let io = |e| ConfinedError::io(reader.path(), e);
    let known = state
        .and_then(|s| s.file(&Slot::Main))
        .map(|f| &f.print)
        .filter(|_| view.grew);
    let kept = known.and_then(|print| recent.take(session, print));
    let (mut digest, laid, summary) = match (kept, known) {
        (Some(kept), _) => (kept.digest, kept.laid, Some(kept.summary)),
        (None, Some(print)) => match load(store, session, print)? {
            Some((digest, laid)) => (digest, Some(laid), None),
            None => (Digest::default(), None, None),
        },
        (None, None) => (Digest::default(), None, None),
    };
    let start = digest.offset();
    let mut buffer = vec![0; usize::try_from(view.end - start).map_or(BUFFER, |n| n.min(BUFFER))];
    let mut section = reader.section(start, view.end);
    loop {
        match section.read(&mut buffer).map_err(io)? {
            0 => break,
            n => digest.feed(buffer.get(..n).unwrap_or_default()),
        }
    }
    let summary = match summary.filter(|_| start == view.end) {
        Some(summary) => summary,
        None => Arc::new(digest.summary()),
    };
    Ok(Reading {
        digest,
        summary,
        laid,
    })
}

impl Reading {
    /// What the transcript says.
    pub(super) fn summary(&self) -> Arc<Summary> {
        Arc::clone(&self.summary)
    }

    /// The notes that lay the digest aside; often none. `print` is that of the
    /// transcript. The digest itself stays at hand.
    pub(super) fn done(
        mut self,
        session: &SessionId,
        reader: &Reader,
        print: &Print,
        recent: &Recent,
    ) -> Vec<NoteWrite> {
        // What is behind the last line break was read, too, and is not counted.
        let whole = self.digest.offset() == print.len;
        let stays = whole && self.summary.records <= RECENT_RECORDS_MAX;
        // What was never laid aside is read from the start.
        let (offset, size) = self.laid.map_or((0, 0), |laid| (laid.offset, laid.size));
        let gap = self.digest.offset().saturating_sub(offset);
        let due = match stays {
            true => gap > GROWTH_KEPT_MIN.max(size.saturating_mul(2)),
            false => gap > GROWTH_MIN.max(size / 2),
        };
        let mut notes = Vec::new();
        if due {
            let bytes = self.digest.to_bytes();
            notes = lay_aside(session, self.digest.offset(), &bytes, print);
            self.laid = Some(LaidAt {
                offset: self.digest.offset(),
                size: bytes.len() as u64,
            });
        }
        if stays {
            recent.keep(Kept {
                session: *session,
                print: print.clone(),
                path: reader.path().to_owned(),
                stamp: reader.stamp(),
                digest: self.digest,
                summary: self.summary,
                laid: self.laid,
            });
        }
        notes
    }
}

/// The notes that forget a session's digest: another file took its place.
pub(crate) fn forget(store: &Store, session: &SessionId) -> Result<Vec<NoteWrite>, StoreError> {
    let parts = part(store, session, 0)?.map_or(1, |p| p.parts.max(1));
    Ok((0..parts).map(|n| note(session, n, None)).collect())
}

fn load(
    store: &Store,
    session: &SessionId,
    print: &Print,
) -> Result<Option<(Digest, LaidAt)>, StoreError> {
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
    let laid = LaidAt {
        offset: first.offset,
        size: bytes.len() as u64,
    };
    let digest = Digest::from_bytes(&bytes)
        .ok()
        .filter(|d| d.offset() == first.offset);
    Ok(digest.map(|digest| (digest, laid)))
}

fn lay_aside(session: &SessionId, offset: u64, bytes: &[u8], print: &Print) -> Vec<NoteWrite> {
    let pieces: Vec<&[u8]> = bytes.chunks(PART_BYTES).collect();
    let Ok(parts) = u8::try_from(pieces.len()) else {
        return Vec::new();
    };
    if pieces.len() > PARTS_MAX {
        return Vec::new();
    }
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
