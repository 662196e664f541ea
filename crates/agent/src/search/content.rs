//! A file of a version as the store has it: where its chunks lie, how much of it is
//! what another one begins with, and its lines from any place on.

use ccpeer_core::limits;
use ccpeer_core::manifest::{ChunkRef, FileEntry};
use ccpeer_formats::claude::transcript::line_break;
use ccpeer_store::{Place, Store, StoreError};

/// Bytes of two files that are compared one by one; what differs earlier is taken
/// for another file.
const COMPARED_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// A file, by its chunks.
pub(super) struct Content<'s> {
    store: &'s Store,
    /// Where each begins.
    chunks: Vec<(u64, ChunkRef)>,
    pub(super) len: u64,
}

/// A line that ends.
pub(super) struct Line<'a> {
    /// Where it begins in its file.
    pub(super) start: u64,
    /// Behind its line break.
    pub(super) end: u64,
    /// Without its line break; nothing of one that is too long.
    pub(super) bytes: &'a [u8],
}

impl<'s> Content<'s> {
    pub(super) fn of(store: &'s Store, file: &FileEntry) -> Result<Self, StoreError> {
        let mut chunks = Vec::new();
        let mut len = 0;
        for segment in &file.segments {
            for chunk in store.segment_refs(segment)? {
                chunks.push((len, chunk));
                len += u64::from(chunk.len);
            }
        }
        Ok(Self { store, chunks, len })
    }

    /// Bytes that both begin with, as far as their chunks tell.
    pub(super) fn shared(&self, other: &Self) -> u64 {
        let both = self.chunks.iter().zip(&other.chunks);
        let same = both.take_while(|(a, b)| a == b).last();
        same.map_or(0, |((start, chunk), _)| start + u64::from(chunk.len))
    }

    /// Whether it begins with the first bytes of another one.
    pub(super) fn begins_with(&self, other: &Self, upto: u64) -> Result<bool, StoreError> {
        let shared = self.shared(other);
        if shared >= upto {
            return Ok(true);
        }
        if upto > self.len || upto > other.len || upto - shared > COMPARED_BYTES_MAX {
            return Ok(false);
        }
        Ok(self.bytes(shared, upto)? == other.bytes(shared, upto)?)
    }

    /// Some bytes of it, fewer where it ends.
    pub(super) fn bytes(&self, from: u64, to: u64) -> Result<Vec<u8>, StoreError> {
        let mut out = Vec::new();
        for (start, chunk) in self.from(from) {
            if *start >= to {
                break;
            }
            let content = self.chunk(chunk)?;
            let cut = |at: u64| usize::try_from(at.saturating_sub(*start)).unwrap_or(usize::MAX);
            let (a, b) = (cut(from).min(content.len()), cut(to).min(content.len()));
            out.extend_from_slice(content.get(a..b).unwrap_or_default());
        }
        Ok(out)
    }

    /// The chunks from the one on that holds this byte.
    fn from(&self, at: u64) -> &[(u64, ChunkRef)] {
        let place = self.chunks.partition_point(|(start, _)| *start <= at);
        self.chunks
            .get(place.saturating_sub(1)..)
            .unwrap_or_default()
    }

    fn chunk(&self, chunk: &ChunkRef) -> Result<Vec<u8>, StoreError> {
        let place = Place::Chunk(chunk.id);
        let content = self.store.get_chunk(&chunk.id)?;
        let content = content.ok_or(StoreError::Absent { place })?;
        if content.len() as u64 != u64::from(chunk.len) {
            return Err(StoreError::Wrong {
                place,
                why: "it is not as long as it should be",
            });
        }
        Ok(content)
    }

    /// Gives every line that ends, from a place on where one begins.
    pub(super) fn lines<E: From<StoreError>>(
        &self,
        from: u64,
        take: &mut dyn FnMut(Line<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut start = from;
        // Of the line that has begun: what is kept of it, and how much there was.
        let (mut begun, mut seen) = (Vec::new(), 0u64);
        for (chunk_start, chunk) in self.from(from) {
            if *chunk_start + u64::from(chunk.len) <= from {
                continue;
            }
            let content = self.chunk(chunk)?;
            let skip = usize::try_from(from.saturating_sub(*chunk_start)).unwrap_or(usize::MAX);
            let mut rest = content.get(skip..).unwrap_or_default();
            while let Some(at) = line_break(rest) {
                let piece = rest.get(..at).unwrap_or_default();
                let len = seen + piece.len() as u64;
                let whole: &[u8] = if len > limits::TRANSCRIPT_LINE_BYTES_MAX as u64 {
                    &[]
                } else if begun.is_empty() {
                    piece
                } else {
                    begun.extend_from_slice(piece);
                    &begun
                };
                let end = start + len + 1;
                take(Line {
                    start,
                    end,
                    bytes: whole,
                })?;
                begun.clear();
                (start, seen) = (end, 0);
                rest = rest.get(at + 1..).unwrap_or_default();
            }
            seen += rest.len() as u64;
            if seen <= limits::TRANSCRIPT_LINE_BYTES_MAX as u64 {
                begun.extend_from_slice(rest);
            } else {
                begun.clear();
            }
        }
        Ok(())
    }

    /// The line that begins here, without its line break; nothing if it does not end
    /// or is too long.
    pub(super) fn line_at(&self, at: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let mut line: Vec<u8> = Vec::new();
        for (start, chunk) in self.from(at) {
            let content = self.chunk(chunk)?;
            let skip = usize::try_from(at.saturating_sub(*start)).unwrap_or(usize::MAX);
            let rest = content.get(skip..).unwrap_or_default();
            if let Some(end) = line_break(rest) {
                line.extend_from_slice(rest.get(..end).unwrap_or_default());
                return Ok(Some(line));
            }
            line.extend_from_slice(rest);
            if line.len() > limits::TRANSCRIPT_LINE_BYTES_MAX {
                break;
            }
        }
        Ok(None)
    }
}
