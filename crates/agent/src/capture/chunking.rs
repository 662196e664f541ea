//! Bytes into chunks, chunks into segments.
//!
//! The cut is content-defined and starts anew at every cut, so going on from the
//! last cut gives the same chunks as cutting the whole: an append touches the
//! last chunk and what comes after it. Must not know what the bytes mean.

use std::io::{self, Read};

use ccpeer_core::id::ChunkId;
use ccpeer_core::limits;
use ccpeer_core::manifest::{ChunkRef, ListPage, MANIFEST_VERSION, Segment};
use ccpeer_store::{Store, StoreError};
use fastcdc::v2020::{Error as CutError, StreamCDC};

/// Bytes of chunks that are gathered before they are made durable together.
const GATHERED_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Why cutting failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChunkError {
    /// The file.
    #[error(transparent)]
    Read(#[from] io::Error),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Where chunks go. Nothing is durable before [`Sink::flush`].
pub(crate) struct Sink<'s> {
    store: &'s Store,
    gathered: Vec<(ChunkId, Vec<u8>)>,
    bytes: usize,
    fresh: u64,
}

impl<'s> Sink<'s> {
    pub(crate) fn new(store: &'s Store) -> Self {
        Self {
            store,
            gathered: Vec::new(),
            bytes: 0,
            fresh: 0,
        }
    }

    /// Keeps a chunk, if it is not here already.
    pub(crate) fn keep(&mut self, content: Vec<u8>) -> Result<ChunkRef, StoreError> {
        let id = ChunkId::of(&content);
        let len = u32::try_from(content.len()).unwrap_or(u32::MAX);
        assert!(
            content.len() <= limits::CHUNK_BYTES_MAX,
            "a chunk of our own is too long"
        );
        let gathered = self.gathered.iter().any(|(have, _)| *have == id);
        if !gathered && !self.store.has(&[id])?.first().copied().unwrap_or(false) {
            self.bytes += content.len();
            self.fresh += 1;
            self.gathered.push((id, content));
            if self.bytes >= GATHERED_BYTES_MAX {
                self.flush()?;
            }
        }
        Ok(ChunkRef { id, len })
    }

    /// Makes everything durable that was kept.
    pub(crate) fn flush(&mut self) -> Result<(), StoreError> {
        self.store.put_chunks(&self.gathered)?;
        self.gathered.clear();
        self.bytes = 0;
        Ok(())
    }

    /// Chunks that were not in the store before.
    pub(crate) fn fresh(&self) -> u64 {
        self.fresh
    }

    fn page(&self, id: &ChunkId) -> Result<Option<ListPage>, StoreError> {
        let gathered = self
            .gathered
            .iter()
            .find(|(have, _)| have == id)
            .map(|(_, c)| c.clone());
        let content = match gathered {
            Some(content) => Some(content),
            None => self.store.get_chunk(id)?,
        };
        Ok(content.and_then(|c| ListPage::from_bytes(&c).ok()))
    }
}

/// A segment under construction. Its tail is never empty unless the segment is,
/// so that going on rarely needs a page.
#[derive(Debug, Clone)]
pub(crate) struct SegmentBuilder {
    segment: Segment,
}

impl SegmentBuilder {
    pub(crate) fn new(origin: u8) -> Self {
        Self {
            segment: Segment {
                origin,
                len: 0,
                pages: Vec::new(),
                tail: Vec::new(),
            },
        }
    }

    /// Takes a segment up again without its last chunk, which may have been cut
    /// short by the end of the file.
    pub(crate) fn resume(segment: &Segment, sink: &Sink<'_>) -> Result<Option<Self>, StoreError> {
        let mut segment = segment.clone();
        if segment.tail.is_empty()
            && let Some(last) = segment.pages.pop()
        {
            match sink.page(&last)? {
                Some(page) => segment.tail = page.refs,
                None => return Ok(None),
            }
        }
        if let Some(last) = segment.tail.pop() {
            segment.len = segment.len.saturating_sub(u64::from(last.len));
        }
        Ok(Some(Self { segment }))
    }

    /// Bytes so far.
    pub(crate) fn len(&self) -> u64 {
        self.segment.len
    }

    /// Cuts everything that `content` has and keeps it.
    pub(crate) fn append(
        &mut self,
        content: impl Read,
        sink: &mut Sink<'_>,
    ) -> Result<(), ChunkError> {
        let (min, typical, max) = limits::CHUNK_CUT;
        for chunk in StreamCDC::new(content, min, typical, max) {
            let chunk = chunk.map_err(|e| match e {
                CutError::IoError(e) => e,
                other => io::Error::other(other.to_string()),
            })?;
            let chunk = sink.keep(chunk.data)?;
            self.push(chunk, sink)?;
        }
        Ok(())
    }

    pub(crate) fn finish(self) -> Segment {
        self.segment
    }

    fn push(&mut self, chunk: ChunkRef, sink: &mut Sink<'_>) -> Result<(), StoreError> {
        if self.segment.tail.len() >= limits::LIST_REFS_MAX {
            let refs = std::mem::take(&mut self.segment.tail);
            let page = ListPage {
                version: MANIFEST_VERSION,
                refs,
            }
            .to_bytes();
            self.segment.pages.push(sink.keep(page)?.id);
        }
        self.segment.len += u64::from(chunk.len);
        self.segment.tail.push(chunk);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{World, noise};

    fn whole(bytes: &[u8], store: &Store) -> (Segment, u64) {
        let mut sink = Sink::new(store);
        let mut builder = SegmentBuilder::new(0);
        builder.append(bytes, &mut sink).unwrap();
        sink.flush().unwrap();
        (builder.finish(), sink.fresh())
    }

    #[test]
    fn going_on_gives_the_same_as_cutting_the_whole() {
        let bytes = noise(7, 10 * 1024 * 1024);
        let (one, two) = (World::new("a"), World::new("b"));
        let (want, _) = whole(&bytes, &one.store);
        assert!(
            want.pages.len() == 1 || want.tail.len() > 100,
            "the test reaches a page"
        );
        let steps = [0, 1, 70_000, 70_001, 3_000_000, 8_500_000, bytes.len()];
        let mut segment = SegmentBuilder::new(0).finish();
        for pair in steps.windows(2) {
            let mut sink = Sink::new(&two.store);
            let mut builder = SegmentBuilder::resume(&segment, &sink).unwrap().unwrap();
            let from = usize::try_from(builder.len()).unwrap();
            builder.append(&bytes[from..pair[1]], &mut sink).unwrap();
            sink.flush().unwrap();
            segment = builder.finish();
            assert_eq!(segment.len, pair[1] as u64);
        }
        assert_eq!(segment, want);
        let refs = two.store.segment_refs(&segment).unwrap();
        assert_eq!(
            refs.iter().map(|r| u64::from(r.len)).sum::<u64>(),
            bytes.len() as u64
        );
    }

    #[test]
    fn a_segment_that_ends_with_a_page_can_go_on() {
        let world = World::new("a");
        let bytes = noise(9, 12 * 1024 * 1024);
        let (want, _) = whole(&bytes, &world.store);
        // Spelled with its tail moved into a page, as another maker might.
        let refs: Vec<ChunkRef> = world
            .store
            .segment_refs(&want)
            .unwrap()
            .into_iter()
            .take(128)
            .collect();
        let len = refs.iter().map(|r| u64::from(r.len)).sum();
        let mut sink = Sink::new(&world.store);
        let page = ListPage {
            version: MANIFEST_VERSION,
            refs,
        }
        .to_bytes();
        let page = sink.keep(page).unwrap().id;
        sink.flush().unwrap();
        let full = Segment {
            origin: 0,
            len,
            pages: vec![page],
            tail: Vec::new(),
        };
        let mut builder = SegmentBuilder::resume(&full, &sink).unwrap().unwrap();
        let from = usize::try_from(builder.len()).unwrap();
        assert!(from < usize::try_from(len).unwrap());
        builder.append(&bytes[from..], &mut sink).unwrap();
        assert_eq!(builder.finish(), want);
    }
}
