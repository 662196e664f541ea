//! Whether a version adds anything that somebody said.
//!
//! Must not know what follows from that.

use ccpeer_core::entry::ContentRef;
use ccpeer_core::manifest::{FileEntry, Segment};
use ccpeer_store::{SegmentReader, Store};

use super::{PlaceError, main_of, manifest_of};

/// What a version may have grown by to be looked at for bookkeeping; measured
/// tails have less than 1 KiB.
const BOOKKEEPING_BYTES_MAX: usize = 1024 * 1024;

/// Whether a later version of this device's adds nothing but bookkeeping to an
/// earlier one: lines that Claude Code wrote after its last hook.
pub(crate) fn adds_only_bookkeeping(
    store: &Store,
    earlier: ContentRef,
    later: ContentRef,
) -> Result<bool, PlaceError> {
    let (earlier, later) = (manifest_of(store, earlier)?, manifest_of(store, later)?);
    let mut before = Bytes::of(store, main_of(&earlier)?);
    let mut after = Bytes::of(store, main_of(&later)?);
    while before.fill()? {
        if !after.fill()? {
            return Ok(false);
        }
        let len = before.rest().len().min(after.rest().len());
        if before.rest().get(..len) != after.rest().get(..len) {
            return Ok(false);
        }
        before.at += len;
        after.at += len;
    }
    let mut added = Vec::new();
    while after.fill()? {
        added.extend_from_slice(after.rest());
        after.at += after.rest().len();
        if added.len() > BOOKKEEPING_BYTES_MAX {
            return Ok(false);
        }
    }
    let mut lines = added.split(|b| *b == b'\n').filter(|l| !l.is_empty());
    Ok(lines.all(ccpeer_formats::claude::transcript::is_bookkeeping))
}

/// The bytes of a stored file, a chunk at a time.
struct Bytes<'a> {
    store: &'a Store,
    segments: std::slice::Iter<'a, Segment>,
    reader: Option<SegmentReader<'a>>,
    chunk: Vec<u8>,
    at: usize,
}

impl<'a> Bytes<'a> {
    fn of(store: &'a Store, file: &'a FileEntry) -> Self {
        Self {
            store,
            segments: file.segments.iter(),
            reader: None,
            chunk: Vec::new(),
            at: 0,
        }
    }

    /// What of the present chunk was not taken yet.
    fn rest(&self) -> &[u8] {
        self.chunk.get(self.at..).unwrap_or_default()
    }

    /// Makes sure that something is left; `false` at the end.
    fn fill(&mut self) -> Result<bool, PlaceError> {
        while self.rest().is_empty() {
            if let Some(chunk) = self.reader.as_mut().and_then(Iterator::next) {
                (self.chunk, self.at) = (chunk?, 0);
                continue;
            }
            let Some(segment) = self.segments.next() else {
                return Ok(false);
            };
            self.reader = Some(self.store.read_segment(segment));
        }
        Ok(true)
    }
}
