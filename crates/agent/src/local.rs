//! What is remembered of a session only here: which version its local files
//! stand for, and how those files looked when that was true.
//!
//! It is a memory, not a truth: when it is lost, files are read again and
//! compared by content, and nothing else follows. Must not know how files are
//! captured or placed.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::sync::Arc;

use ccpeer_core::codec;
use ccpeer_core::entry::ContentRef;
use ccpeer_core::id::{EntryHash, SessionId};
use ccpeer_core::limits;
use ccpeer_core::manifest::{FileEntry, Manifest, Origin, ProjectIdentity, Slot};
use ccpeer_store::{Namespace, NoteWrite, Store, StoreError};
use serde::{Deserialize, Serialize};

use crate::confined::{Stamp, read_at};
use crate::memo::{self, Memo};

/// What is remembered of the sessions that were looked at last.
static STATES: Memo<LocalState> = Memo::new();

/// Version of the note.
const STATE_VERSION: u8 = 1;

/// The local files of one session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LocalState {
    pub(crate) version: u8,
    /// The version that the files stand for; none for a fork that has not been
    /// captured yet.
    pub(crate) base: Option<EntryHash>,
    /// Its manifest.
    pub(crate) manifest: Option<ContentRef>,
    /// The version of another session that this one was forked off when it was
    /// placed.
    pub(crate) derived_from: Option<(SessionId, EntryHash)>,
    /// In whose paths this machine goes on writing.
    pub(crate) here: Origin,
    /// When the main transcript was placed, as the file says it; growth since
    /// then is somebody's work.
    pub(crate) placed_ns: Option<u64>,
    /// The files, in ascending order of slot.
    pub(crate) files: Vec<LocalFile>,
    /// The project's identity, and what it was read from.
    pub(crate) project: Option<KnownProject>,
}

/// A file on this disk that stands for a file of the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LocalFile {
    /// What it is.
    pub(crate) slot: Slot,
    /// How it looked.
    pub(crate) stamp: Stamp,
    /// Whether it had been left alone for so long that an equal stamp means an
    /// equal file.
    pub(crate) settled: bool,
    /// What each segment of the manifest's file is on this disk.
    pub(crate) extents: Vec<Extent>,
    /// Its content.
    pub(crate) print: Print,
}

/// A segment on this disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Extent {
    /// Bytes.
    pub(crate) len: u64,
    /// Whether they are those of the segment: it was read from this file, or
    /// placed without a change.
    pub(crate) verbatim: bool,
}

/// A project's identity, remembered for as long as its repository's
/// configuration looks the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KnownProject {
    pub(crate) dir: String,
    pub(crate) looks: [u8; 32],
    pub(crate) identity: ProjectIdentity,
}

impl LocalState {
    pub(crate) fn new(here: Origin) -> Self {
        Self {
            version: STATE_VERSION,
            base: None,
            manifest: None,
            derived_from: None,
            here,
            placed_ns: None,
            files: Vec::new(),
            project: None,
        }
    }

    /// What is remembered of a session. A note that cannot be read is none.
    pub(crate) fn load(store: &Store, session: &SessionId) -> Result<Option<Self>, StoreError> {
        Ok(Self::known(store, session)?.map(Arc::unwrap_or_clone))
    }

    /// The same, shared with whoever looked before.
    pub(crate) fn known(
        store: &Store,
        session: &SessionId,
    ) -> Result<Option<Arc<Self>>, StoreError> {
        match store.note(Namespace::Session, &session.0) {
            Ok(note) => Ok(note.and_then(|bytes| STATES.read(&bytes, Self::from_bytes))),
            Err(StoreError::Corrupt { .. }) => {
                tracing::warn!(%session, "what is remembered of the session is damaged; reading it again");
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }

    /// Everything that is remembered, by session.
    pub(crate) fn load_all(store: &Store) -> Result<Vec<(SessionId, Self)>, StoreError> {
        let read = |(key, value): (Vec<u8>, Vec<u8>)| {
            Some((SessionId(key.try_into().ok()?), Self::from_bytes(&value)?))
        };
        Ok(store
            .notes(Namespace::Session)?
            .into_iter()
            .filter_map(read)
            .collect())
    }

    /// The note that remembers this.
    pub(crate) fn note(&self, session: &SessionId) -> NoteWrite {
        let mut bytes = codec::encode(self);
        if bytes.len() > limits::NOTE_VALUE_BYTES_MAX {
            // The files can be read again; where they came from cannot.
            bytes = codec::encode(&Self {
                files: Vec::new(),
                project: None,
                ..self.clone()
            });
        }
        NoteWrite {
            ns: Namespace::Session,
            key: session.0.to_vec(),
            value: Some(bytes),
        }
    }

    /// The manifest that the files stand for, if the store has it.
    pub(crate) fn manifest(&self, store: &Store) -> Result<Option<Arc<Manifest>>, StoreError> {
        let Some(content) = self.manifest else {
            return Ok(None);
        };
        match store.get_chunk(&content.id) {
            Ok(bytes) => Ok(bytes.and_then(|b| memo::manifest(&b))),
            Err(StoreError::Corrupt { .. }) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// What is remembered of a file.
    pub(crate) fn file(&self, slot: &Slot) -> Option<&LocalFile> {
        self.files
            .binary_search_by(|f| f.slot.cmp(slot))
            .ok()
            .and_then(|at| self.files.get(at))
    }

    /// The same, of what is looked at again in a moment.
    pub(crate) fn note_of(state: Arc<Self>, session: &SessionId) -> NoteWrite {
        let bytes = codec::encode(&*state);
        if bytes.len() > limits::NOTE_VALUE_BYTES_MAX {
            return state.note(session);
        }
        STATES.wrote(&bytes, state);
        written(session, bytes)
    }

    /// Reads a note's value.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.first() != Some(&STATE_VERSION) {
            return None;
        }
        codec::decode(bytes, limits::NOTE_VALUE_BYTES_MAX).ok()
    }
}

fn written(session: &SessionId, bytes: Vec<u8>) -> NoteWrite {
    NoteWrite {
        ns: Namespace::Session,
        key: session.0.to_vec(),
        value: Some(bytes),
    }
}

impl LocalFile {
    /// Whether what is remembered belongs to this entry.
    pub(crate) fn fits(&self, entry: &FileEntry) -> bool {
        entry.segments.len() == self.extents.len()
            && self.extents.iter().map(|e| e.len).sum::<u64>() == self.print.len
    }
}

/// Bytes of a file that are hashed together.
const BLOCK: u64 = 256 * 1024;

/// A file's content as hashes of its blocks: enough to prove a long beginning
/// by reading its end, and to find out how much of it is still the same.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Print {
    /// Bytes.
    pub(crate) len: u64,
    /// Hash of each whole block.
    blocks: Vec<[u8; 32]>,
    /// Hash of what comes after them.
    rest: Option<[u8; 32]>,
}

impl Print {
    /// The print of everything that `content` has.
    pub(crate) fn of(content: &mut impl Read) -> io::Result<Self> {
        let mut printer = Printer::default();
        io::copy(content, &mut printer)?;
        Ok(printer.finish())
    }

    /// How many bytes at the beginning of `file` are those of the print: all of
    /// them, or whole blocks. `quick`: look at the last blocks only, because the
    /// file is known to be changed at its end alone.
    pub(crate) fn proven(&self, file: &File, quick: bool) -> io::Result<u64> {
        let whole = self.len / BLOCK;
        if quick {
            let from = whole.saturating_sub(1) * BLOCK;
            if self.compare(file, from)? == self.len {
                return Ok(self.len);
            }
        }
        self.compare(file, 0)
    }

    /// The print of a file that begins as this one and has `end` bytes.
    pub(crate) fn grown(&self, file: &File, end: u64) -> io::Result<Self> {
        let whole = self.len / BLOCK;
        let mut printer = Printer {
            blocks: self.blocks.clone(),
            ..Printer::default()
        };
        io::copy(&mut buffered(file, whole * BLOCK, end), &mut printer)?;
        let mut print = printer.finish();
        print.len += whole * BLOCK;
        Ok(print)
    }

    /// One hash for all of it.
    pub(crate) fn hash(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.len.to_le_bytes());
        for block in self.blocks.iter().chain(&self.rest) {
            hasher.update(block);
        }
        *hasher.finalize().as_bytes()
    }

    /// A name for the whole blocks among the first `bytes`.
    pub(crate) fn tag(&self, bytes: u64) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        let whole = usize::try_from(bytes / BLOCK).unwrap_or(usize::MAX);
        for block in self.blocks.iter().take(whole) {
            hasher.update(block);
        }
        *hasher.finalize().as_bytes()
    }

    fn compare(&self, file: &File, from: u64) -> io::Result<u64> {
        let mut at = from;
        let skip = usize::try_from(from / BLOCK).unwrap_or(usize::MAX);
        let rest = (self.len % BLOCK, self.rest);
        let blocks = self.blocks.iter().skip(skip).map(|b| (BLOCK, Some(*b)));
        for (len, want) in blocks.chain([rest].into_iter().filter(|(len, _)| *len > 0)) {
            let mut hasher = blake3::Hasher::new();
            let read = io::copy(&mut buffered(file, at, at + len), &mut hasher)?;
            if read != len || Some(*hasher.finalize().as_bytes()) != want {
                break;
            }
            at += len;
        }
        Ok(at)
    }
}

/// Makes a [`Print`] of what is written to it.
#[derive(Default)]
pub(crate) struct Printer {
    len: u64,
    blocks: Vec<[u8; 32]>,
    hasher: blake3::Hasher,
    in_block: u64,
}

impl Printer {
    fn add(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let room = usize::try_from(BLOCK - self.in_block).unwrap_or(usize::MAX);
            let (now, later) = rest.split_at(room.min(rest.len()));
            self.hasher.update(now);
            self.in_block += now.len() as u64;
            if self.in_block == BLOCK {
                self.blocks.push(*self.hasher.finalize().as_bytes());
                self.hasher.reset();
                self.in_block = 0;
            }
            rest = later;
        }
        self.len += bytes.len() as u64;
    }

    pub(crate) fn finish(self) -> Print {
        let rest = (self.in_block > 0).then(|| *self.hasher.finalize().as_bytes());
        Print {
            len: self.len,
            blocks: self.blocks,
            rest,
        }
    }
}

impl io::Write for Printer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.add(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The same, in few reads.
fn buffered(file: &File, from: u64, to: u64) -> impl Read + '_ {
    let capacity = usize::try_from(to.saturating_sub(from).min(BLOCK)).unwrap_or_default();
    BufReader::with_capacity(capacity, section(file, from, to))
}

/// The bytes `from..to` of a file; fewer if it is shorter. Several may read one
/// file at the same time.
pub(crate) fn section(file: &File, from: u64, to: u64) -> Section<'_> {
    Section { file, from, to }
}

/// See [`section`].
pub(crate) struct Section<'f> {
    file: &'f File,
    from: u64,
    to: u64,
}

impl Read for Section<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.to.saturating_sub(self.from)).unwrap_or(usize::MAX);
        let len = buffer.len().min(left);
        let buffer = buffer.get_mut(..len).unwrap_or_default();
        let read = read_at(self.file, buffer, self.from)?;
        self.from = self.from.saturating_add(read as u64);
        Ok(read)
    }
}

/// Reads from `inner`, and makes a [`Print`] of it.
pub(crate) struct Printing<R> {
    inner: R,
    printer: Printer,
}

impl<R> Printing<R> {
    pub(crate) fn new(inner: R) -> Self {
        Self {
            inner,
            printer: Printer::default(),
        }
    }

    /// The print of what was read.
    pub(crate) fn finish(self) -> Print {
        self.printer.finish()
    }
}

impl<R: Read> Read for Printing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.printer.add(buffer.get(..read).unwrap_or_default());
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::noise;
    use std::io::Write;

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    #[test]
    fn a_print_finds_where_a_file_changed() {
        let block = usize::try_from(BLOCK).unwrap();
        let bytes = noise(1, 3 * block + 100);
        let print = Print::of(&mut bytes.as_slice()).unwrap();
        let len = bytes.len() as u64;
        assert_eq!(print.proven(&file(&bytes), true).unwrap(), len);
        let grown = [bytes.as_slice(), b"more"].concat();
        assert_eq!(print.proven(&file(&grown), true).unwrap(), len);
        for (at, want) in [(0, 0), (block, BLOCK), (3 * block + 99, 3 * BLOCK)] {
            let mut other = bytes.clone();
            other[at] ^= 1;
            assert_eq!(
                print.proven(&file(&other), false).unwrap(),
                want,
                "changed at {at}"
            );
        }
        let mut other = bytes.clone();
        other[3 * block] ^= 1;
        assert_eq!(print.proven(&file(&other), true).unwrap(), 3 * BLOCK);
        assert_eq!(
            print.proven(&file(&bytes[..block + 5]), true).unwrap(),
            BLOCK
        );
    }

    #[test]
    fn growing_a_print_is_printing_the_whole() {
        let block = usize::try_from(BLOCK).unwrap();
        let bytes = noise(2, 2 * block + 7);
        for start in [0, 1, block - 1, block, block + 1, 2 * block, 2 * block + 7] {
            let print = Print::of(&mut &bytes[..start]).unwrap();
            let grown = print.grown(&file(&bytes), bytes.len() as u64).unwrap();
            assert_eq!(
                grown,
                Print::of(&mut bytes.as_slice()).unwrap(),
                "from {start}"
            );
        }
    }

    #[test]
    fn a_state_survives_its_note_and_another_version_is_none() {
        let here = Origin {
            flavour: ccpeer_core::manifest::PathFlavour::Unix,
            home: "/home/ann".into(),
            project: "/home/ann/p".into(),
            claude_dir: "/home/ann/.claude".into(),
            slug: "-home-ann-p".into(),
        };
        let state = LocalState::new(here);
        let note = state.note(&SessionId([1; 16]));
        let mut bytes = note.value.unwrap();
        assert_eq!(LocalState::from_bytes(&bytes), Some(state));
        bytes[0] = 9;
        assert_eq!(LocalState::from_bytes(&bytes), None);
    }
}
