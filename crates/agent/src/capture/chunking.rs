//! Bytes into chunks, chunks into segments.
//!
//! The cut is content-defined and starts anew at every cut. What is appended is
//! cut by itself, so that nothing is read, sent or kept again for it; when enough
//! short chunks have gathered at the end they are cut again, together, and once more
//! when there is a long one's worth of them. See docs/decisions/0026 and 0045. Must
//! not know what the bytes mean.

use std::io::{self, Read};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread::{self, Scope, ScopedJoinHandle};

use ccpeer_core::id::ChunkId;
use ccpeer_core::limits;
use ccpeer_core::manifest::{ChunkRef, ListPage, MANIFEST_VERSION, Segment};
use ccpeer_store::{Store, StoreError};
use fastcdc::v2020::{Error as CutError, StreamCDC};

/// Bytes of chunks that are gathered before they are made durable together.
const GATHERED_BYTES_MAX: usize = 8 * 1024 * 1024;
/// A chunk at the end that is shorter than this is loose: it may be cut again.
const LOOSE_BYTES: u32 = 32 * 1024;
/// Loose chunks are cut again when they have this many bytes, with what is new.
const GATHER_BYTES: u64 = 64 * 1024;
/// And when there are so many.
const LOOSE_MAX: usize = 32;
/// Chunks at the end that are shorter than any that is cut from much content are cut
/// again, too, when they have this many bytes: alone, each takes twice the room.
const SHORT_GATHER_BYTES: u64 = 1024 * 1024;
/// The end of a long log is a chunk by itself: what is appended next is packed for
/// others with this before it, and what Claude Code takes back lies in it.
const END_BYTES: u64 = 64 * 1024;
/// A log is long from here on.
const LONG_BYTES: u64 = 4 * END_BYTES;

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

/// Where chunks go. Nothing is durable before [`Sink::flush`]. Of much, what was
/// gathered is written while the next is being cut.
pub(crate) struct Sink<'s, 'e> {
    store: &'e Store,
    scope: &'s Scope<'s, 'e>,
    gathered: Vec<(ChunkId, Vec<u8>)>,
    bytes: usize,
    fresh: u64,
    writing: Option<Writing<'s>>,
}

/// What was gathered before, and is being written.
struct Writing<'s> {
    content: Arc<Vec<(ChunkId, Vec<u8>)>>,
    done: ScopedJoinHandle<'s, Result<(), StoreError>>,
}

impl Writing<'_> {
    fn end(self) -> Result<(), StoreError> {
        self.done
            .join()
            .unwrap_or_else(|panic| resume_unwind(panic))
    }
}

impl<'s, 'e> Sink<'s, 'e> {
    pub(crate) fn new(store: &'e Store, scope: &'s Scope<'s, 'e>) -> Self {
        Self {
            store,
            scope,
            gathered: Vec::new(),
            bytes: 0,
            fresh: 0,
            writing: None,
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
        if self.kept(&id).is_none() && !self.store.has(&[id])?.first().copied().unwrap_or(false) {
            self.bytes += content.len();
            self.fresh += 1;
            self.gathered.push((id, content));
            if self.bytes >= GATHERED_BYTES_MAX {
                self.write()?;
            }
        }
        Ok(ChunkRef { id, len })
    }

    /// Begins to write what was gathered, when what was before it is written.
    fn write(&mut self) -> Result<(), StoreError> {
        self.writing.take().map_or(Ok(()), Writing::end)?;
        let content = Arc::new(self.take());
        let (store, given) = (self.store, Arc::clone(&content));
        let write = move || store.put_chunks(&given);
        match thread::Builder::new().spawn_scoped(self.scope, write) {
            Ok(done) => {
                self.writing = Some(Writing { content, done });
                Ok(())
            }
            // Where no thread can be started it only takes longer.
            Err(_) => self.store.put_chunks(&content),
        }
    }

    /// Makes everything durable that was kept.
    pub(crate) fn flush(&mut self) -> Result<(), StoreError> {
        let rest = self.take_rest()?;
        self.store.put_chunks(&rest)
    }

    /// Bytes that were kept and are not durable yet.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What was kept and is not durable when this returns.
    pub(crate) fn take_rest(&mut self) -> Result<Vec<(ChunkId, Vec<u8>)>, StoreError> {
        self.writing.take().map_or(Ok(()), Writing::end)?;
        Ok(self.take())
    }

    fn take(&mut self) -> Vec<(ChunkId, Vec<u8>)> {
        self.bytes = 0;
        std::mem::take(&mut self.gathered)
    }

    /// Chunks that were not in the store before.
    pub(crate) fn fresh(&self) -> u64 {
        self.fresh
    }

    fn page(&self, id: &ChunkId) -> Result<Option<ListPage>, StoreError> {
        let content = match self.kept(id) {
            Some(content) => Some(content.clone()),
            None => self.store.get_chunk(id)?,
        };
        Ok(content.and_then(|c| ListPage::from_bytes(&c).ok()))
    }

    /// A chunk that was kept and is not durable for certain.
    fn kept(&self, id: &ChunkId) -> Option<&Vec<u8>> {
        let writing = self.writing.iter().flat_map(|w| w.content.iter());
        let mut all = self.gathered.iter().chain(writing);
        all.find(|(have, _)| have == id).map(|(_, content)| content)
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

    /// Takes a segment up again, to which so many bytes are to be added: behind its
    /// end, or without the loose chunks there if it is time to cut them again.
    pub(crate) fn resume(
        segment: &Segment,
        added: u64,
        sink: &Sink<'_, '_>,
    ) -> Result<Option<Self>, StoreError> {
        let mut segment = segment.clone();
        if segment.len > 0 && !show_tail(&mut segment, sink)? {
            return Ok(None);
        }
        let (count, bytes) = again(&segment.tail, added);
        let stays = segment.tail.len().saturating_sub(count);
        segment.tail.truncate(stays);
        segment.len = segment.len.saturating_sub(bytes);
        Ok(Some(Self { segment }))
    }

    /// The chunks of a segment that lie within its first `upto` bytes; `None` if
    /// there are none, or if a page is not here.
    pub(crate) fn begin(
        segment: &Segment,
        upto: u64,
        sink: &Sink<'_, '_>,
    ) -> Result<Option<Segment>, StoreError> {
        let mut segment = segment.clone();
        while segment.len > upto {
            if !show_tail(&mut segment, sink)? {
                return Ok(None);
            }
            if let Some(last) = segment.tail.pop() {
                segment.len = segment.len.saturating_sub(u64::from(last.len));
            }
        }
        Ok(Some(segment).filter(|s| s.len > 0))
    }

    /// Bytes so far.
    pub(crate) fn len(&self) -> u64 {
        self.segment.len
    }

    /// Cuts so many bytes of a log, which will grow, and keeps them.
    pub(crate) fn append_log(
        &mut self,
        mut content: impl Read,
        len: u64,
        sink: &mut Sink<'_, '_>,
    ) -> Result<(), ChunkError> {
        if len >= LONG_BYTES {
            self.append(content.by_ref().take(len - END_BYTES), sink)?;
        }
        self.append(content, sink)
    }

    /// Cuts everything that `content` has and keeps it.
    pub(crate) fn append(
        &mut self,
        content: impl Read,
        sink: &mut Sink<'_, '_>,
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

    fn push(&mut self, chunk: ChunkRef, sink: &mut Sink<'_, '_>) -> Result<(), StoreError> {
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

/// How many chunks at the end are cut again when so many bytes are added, and how
/// many bytes they have.
fn again(tail: &[ChunkRef], added: u64) -> (usize, u64) {
    let shorter = |than: u32| {
        let run = tail.iter().rev().take_while(|chunk| chunk.len < than);
        run.fold((0, 0u64), |(n, bytes), chunk| {
            (n + 1, bytes + u64::from(chunk.len))
        })
    };
    let min = u32::try_from(limits::CHUNK_CUT.0).unwrap_or(u32::MAX);
    let short = shorter(min);
    if short.1 > 0 && short.1.saturating_add(added) >= SHORT_GATHER_BYTES {
        return short;
    }
    let loose = shorter(LOOSE_BYTES);
    if loose.0 >= LOOSE_MAX || loose.1.saturating_add(added) >= GATHER_BYTES {
        return loose;
    }
    (0, 0)
}

/// Lets the last references stand in the tail. False if there are none, or if the
/// page that has them is not here.
fn show_tail(segment: &mut Segment, sink: &Sink<'_, '_>) -> Result<bool, StoreError> {
    if segment.tail.is_empty() {
        let last = segment.pages.pop();
        let page = last.map(|last| sink.page(&last)).transpose()?.flatten();
        segment.tail = page.map(|page| page.refs).unwrap_or_default();
    }
    Ok(!segment.tail.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{World, noise};

    /// Makes everything durable that `cut` keeps.
    fn kept<T>(store: &Store, cut: impl FnOnce(&mut Sink<'_, '_>) -> T) -> T {
        std::thread::scope(|scope| {
            let mut sink = Sink::new(store, scope);
            let out = cut(&mut sink);
            sink.flush().unwrap();
            out
        })
    }

    fn whole(bytes: &[u8], store: &Store) -> (Segment, u64) {
        kept(store, |sink| {
            let mut builder = SegmentBuilder::new(0);
            builder.append(bytes, sink).unwrap();
            (builder.finish(), sink.fresh())
        })
    }

    /// Takes up a segment and adds what is new. Gives the chunks that are new.
    fn grown(segment: &mut Segment, bytes: &[u8], store: &Store) -> u64 {
        kept(store, |sink| {
            let added = bytes.len() as u64 - segment.len;
            let mut builder = SegmentBuilder::resume(segment, added, sink)
                .unwrap()
                .unwrap();
            let from = usize::try_from(builder.len()).unwrap();
            builder.append(&bytes[from..], sink).unwrap();
            *segment = builder.finish();
            assert_eq!(segment.len, bytes.len() as u64);
            sink.fresh()
        })
    }

    /// Cut into many chunks, as another maker might.
    fn crumbled(bytes: &[u8], store: &Store) -> Segment {
        kept(store, |sink| {
            let mut builder = SegmentBuilder::new(0);
            for piece in bytes.chunks(70_000) {
                builder.append(piece, sink).unwrap();
            }
            builder.finish()
        })
    }

    fn content(segment: &Segment, store: &Store) -> Vec<u8> {
        let chunks = store.read_segment(segment);
        chunks.flat_map(|chunk| chunk.unwrap()).collect()
    }

    #[test]
    fn an_append_costs_what_is_appended() {
        let bytes = noise(7, 10 * 1024 * 1024);
        let world = World::new("a");
        let mut segment = SegmentBuilder::new(0).finish();
        let (mut at, mut turns, mut cut_again) = (0, 0, 0);
        while at < bytes.len() {
            // Turns of every length, most of them short.
            turns += 1;
            let turn = 1 + (turns * turns * 7919) % if turns % 9 == 0 { 90_000 } else { 12_000 };
            at = bytes.len().min(at + turn);
            let before = segment.clone();
            grown(&mut segment, &bytes[..at], &world.store);
            let same = before.tail.iter().zip(&segment.tail);
            let same = same.take_while(|(a, b)| a == b).count();
            let paged = segment.pages.len() > before.pages.len();
            if same < before.tail.len() && !paged {
                let again = before.tail.len() - same;
                let again: u32 = before.tail[before.tail.len() - again..]
                    .iter()
                    .map(|r| r.len)
                    .sum();
                assert!(u64::from(again) < SHORT_GATHER_BYTES);
                cut_again += again as usize;
            }
        }
        assert_eq!(content(&segment, &world.store), bytes);
        assert!(
            cut_again < bytes.len() * 2,
            "each byte is cut again about twice: {cut_again}"
        );
        let refs = world.store.segment_refs(&segment).unwrap();
        let (whole, _) = whole(&bytes, &world.store);
        let best = world.store.segment_refs(&whole).unwrap();
        // The last of it is short still.
        let short = usize::try_from(SHORT_GATHER_BYTES / u64::from(LOOSE_BYTES)).unwrap();
        assert!(
            refs.len() < best.len() * 3 + short,
            "{} and {}",
            refs.len(),
            best.len()
        );
    }

    #[test]
    fn what_is_taken_back_leaves_what_lies_before_it() {
        let bytes = noise(6, 11 * 1024 * 1024);
        let world = World::new("a");
        let all = crumbled(&bytes, &world.store);
        assert!(!all.pages.is_empty());
        let begin = |upto: u64| {
            kept(&world.store, |sink| {
                SegmentBuilder::begin(&all, upto, sink).unwrap()
            })
        };
        assert_eq!(begin(all.len), Some(all.clone()));
        assert_eq!(begin(10), None);
        for upto in [all.len - 1, all.len - 3_000_000, 9_000_000, 300_000] {
            let cut = begin(upto).unwrap();
            assert!(cut.len <= upto && cut.len + 300_000 > upto);
            let upto = usize::try_from(cut.len).unwrap();
            assert_eq!(content(&cut, &world.store), bytes[..upto]);
        }
    }

    #[test]
    fn what_is_being_written_is_not_kept_twice_and_can_be_read() {
        let world = World::new("a");
        let bytes = noise(5, 2 * GATHERED_BYTES_MAX + 1000);
        let chunks: Vec<Vec<u8>> = bytes.chunks(100_000).map(<[u8]>::to_vec).collect();
        let chunk = ChunkRef {
            id: ChunkId::of(&chunks[0]),
            len: 100_000,
        };
        let page = ListPage {
            version: MANIFEST_VERSION,
            refs: vec![chunk; limits::LIST_REFS_MAX],
        };
        kept(&world.store, |sink| {
            let id = sink.keep(page.to_bytes()).unwrap().id;
            for chunk in &chunks {
                sink.keep(chunk.clone()).unwrap();
                sink.keep(chunk.clone()).unwrap();
                assert_eq!(sink.page(&id).unwrap(), Some(page.clone()));
            }
            assert_eq!(sink.fresh(), chunks.len() as u64 + 1);
        });
        let ids: Vec<ChunkId> = chunks.iter().map(|c| ChunkId::of(c)).collect();
        assert!(world.store.has(&ids).unwrap().into_iter().all(|here| here));
    }

    #[test]
    fn many_short_appends_do_not_fill_the_list() {
        let bytes = noise(8, 400_000);
        let world = World::new("a");
        let mut segment = SegmentBuilder::new(0).finish();
        for at in (0..=bytes.len()).step_by(400) {
            grown(&mut segment, &bytes[..at], &world.store);
            assert!(segment.tail.len() <= LOOSE_MAX + 20);
        }
        assert_eq!(content(&segment, &world.store), bytes);
    }

    #[test]
    fn the_end_of_a_long_log_is_a_chunk_by_itself() {
        let bytes = noise(10, 3_000_000);
        let world = World::new("a");
        let cut = |bytes: &[u8]| {
            kept(&world.store, |sink| {
                let mut builder = SegmentBuilder::new(0);
                builder.append_log(bytes, bytes.len() as u64, sink).unwrap();
                builder.finish()
            })
        };
        let segment = cut(&bytes);
        assert_eq!(u64::from(segment.tail.last().unwrap().len), END_BYTES);
        assert!(segment.tail.len() <= 13, "{}", segment.tail.len());
        assert_eq!(content(&segment, &world.store), bytes);
        let short = cut(&bytes[..200_000]);
        assert_eq!(short.tail.len(), 1);
        assert_eq!(content(&short, &world.store), &bytes[..200_000]);
        assert_eq!(cut(&[]).len, 0);
    }

    #[test]
    fn a_segment_that_ends_with_a_page_can_go_on() {
        let world = World::new("a");
        let bytes = noise(9, 12 * 1024 * 1024);
        let want = crumbled(&bytes, &world.store);
        // Spelled with its tail moved into a page, as another maker might.
        let refs: Vec<ChunkRef> = world
            .store
            .segment_refs(&want)
            .unwrap()
            .into_iter()
            .take(128)
            .collect();
        let len = refs.iter().map(|r| u64::from(r.len)).sum();
        let page = ListPage {
            version: MANIFEST_VERSION,
            refs,
        }
        .to_bytes();
        let page = kept(&world.store, |sink| sink.keep(page).unwrap().id);
        let mut gone_on = Segment {
            origin: 0,
            len,
            pages: vec![page],
            tail: Vec::new(),
        };
        grown(&mut gone_on, &bytes, &world.store);
        assert_eq!(content(&gone_on, &world.store), bytes);
    }
}
