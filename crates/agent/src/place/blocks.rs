//! The lines of a log in the form in which they are placed, many at a time: one
//! thread reads them and cuts the log between lines, a few rewrite what it cut, and
//! whoever asked takes the outcome, in order, while more is under way.
//!
//! Must not know where they are written.

use std::ops::Range;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use ccpeer_core::limits;
use ccpeer_core::manifest::FileEntry;
use ccpeer_formats::claude::transcript::{last_line_break, line_break};

use super::PlaceError;
use super::incoming::{Incoming, Piece, Position};
use super::policy::Findings;
use super::stage::Notes;

/// Batches that are read, rewritten, or wait to be written. One has the lines of a
/// chunk, or a line that is longer.
const AHEAD_MAX: usize = 8;
/// Threads that rewrite.
const FORMING_MAX: usize = 4;
/// A shorter log is not worth a thread.
const THREADS_BYTES_MIN: u64 = 1024 * 1024;
/// A buffer that grew beyond this is not used again.
const SPARE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Lines of one segment.
pub(super) struct Block {
    pub(super) segment: usize,
    pub(super) bytes: Vec<u8>,
    /// Bytes of the store that it was made of.
    pub(super) read: u64,
    /// It has in it what was read, and all of it.
    pub(super) verbatim: bool,
}

/// Takes a block.
pub(super) type Take<'t> = dyn FnMut(&Block, &mut Notes<'_>) -> Result<(), PlaceError> + 't;

/// What became of a batch.
type Formed = Result<(Block, Findings), PlaceError>;

/// Gives all lines of a log from a position on, in order.
pub(super) fn formed(
    incoming: &Incoming<'_>,
    entry: &FileEntry,
    from: Position,
    out: &mut Notes<'_>,
    take: &mut Take<'_>,
) -> Result<(), PlaceError> {
    let bytes: u64 = entry.segments.iter().map(|s| s.len).sum();
    if bytes >= THREADS_BYTES_MIN
        && let Some(result) = on_threads(incoming, entry, from, out, take)
    {
        return result;
    }
    let mut buffer = Vec::new();
    for batch in Batches::of(incoming.chunks(entry, from), from) {
        let (block, findings) = form(incoming, entry, &batch?, buffer);
        out.findings.merge(findings);
        take(&block, out)?;
        buffer = block.bytes;
    }
    Ok(())
}

/// The same with threads that read and rewrite ahead; nothing where none can be
/// started.
fn on_threads(
    incoming: &Incoming<'_>,
    entry: &FileEntry,
    from: Position,
    out: &mut Notes<'_>,
    take: &mut Take<'_>,
) -> Option<Result<(), PlaceError>> {
    let (order, orders) = sync_channel::<Receiver<Formed>>(AHEAD_MAX);
    // Room for all that are ordered and the one that is waited for: it never waits, not
    // even when there is nobody left to take any.
    let (give, work) = sync_channel::<(Batch, SyncSender<Formed>)>(AHEAD_MAX + 1);
    let (work, spares) = (Mutex::new(work), Spares::default());
    let forming = || {
        // Whoever waits for work holds the lock: the others wait for that.
        let next = || work.lock().unwrap_or_else(PoisonError::into_inner).recv();
        while let Ok((batch, to)) = next() {
            let formed = form(incoming, entry, &batch, spares.take());
            spares.put_back(batch.bytes);
            // Whoever no longer takes has a reason of its own, which counts.
            let _not_wanted = to.send(Ok(formed));
        }
    };
    let (forming, spares) = (&forming, &spares);
    let threads = thread::available_parallelism().map_or(1, |n| n.get().min(FORMING_MAX));
    thread::scope(|scope| {
        let start = |_| thread::Builder::new().spawn_scoped(scope, forming).ok();
        if (0..threads).filter_map(start).count() == 0 {
            return None;
        }
        let reading = move || {
            let chunks = incoming.chunks(entry, from).with(spares);
            for batch in Batches::of(chunks, from) {
                let (to, formed) = sync_channel(1);
                // Nobody wants more after an error.
                if order.send(formed).is_err() {
                    return;
                }
                match batch {
                    Ok(batch) => {
                        if give.send((batch, to)).is_err() {
                            return;
                        }
                    }
                    Err(e) => {
                        let _not_wanted = to.send(Err(e));
                        return;
                    }
                }
            }
        };
        // Where it cannot be started, those who rewrite find no work, and end.
        thread::Builder::new().spawn_scoped(scope, reading).ok()?;
        let taken = orders.iter().try_for_each(|formed| {
            // One who panics answers nothing, and all of this panics at its end.
            let (block, findings) = formed.recv().unwrap_or(Err(PlaceError::Changed))?;
            out.findings.merge(findings);
            take(&block, out)?;
            spares.put_back(block.bytes);
            Ok(())
        });
        // They end as soon as nobody takes.
        drop(orders);
        Some(taken)
    })
}

/// The lines of a batch as they may lie here, in this buffer.
fn form(
    incoming: &Incoming<'_>,
    entry: &FileEntry,
    batch: &Batch,
    mut bytes: Vec<u8>,
) -> (Block, Findings) {
    bytes.clear();
    let mut block = Block {
        segment: batch.segment,
        bytes,
        read: 0,
        verbatim: true,
    };
    let mut findings = Findings::default();
    let origin = entry.segments.get(batch.segment).map_or(0, |s| s.origin);
    for (line, end) in batch.lines() {
        block.read += (line.len() + end.len()) as u64;
        match incoming.form(line, origin, &mut findings).placed() {
            Some(placed) => {
                block.verbatim &= placed == line;
                block.bytes.extend_from_slice(placed);
                block.bytes.extend_from_slice(end);
            }
            None => block.verbatim = false,
        }
    }
    (block, findings)
}

/// Buffers that were used: fresh memory costs as much as what is done with it.
#[derive(Default)]
pub(super) struct Spares(Mutex<Vec<Vec<u8>>>);

impl Spares {
    /// An empty one.
    pub(super) fn take(&self) -> Vec<u8> {
        let mut spares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        spares.pop().unwrap_or_default()
    }

    fn put_back(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        let mut spares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if spares.len() < AHEAD_MAX && buffer.capacity() <= SPARE_BYTES_MAX {
            spares.push(buffer);
        }
    }
}

/// Whole lines of one segment, as they were read.
#[derive(Debug)]
struct Batch {
    segment: usize,
    /// A line that began in another chunk; none if it is empty.
    head: Vec<u8>,
    /// A chunk, and what of it is lines of this batch beside that.
    bytes: Vec<u8>,
    range: Range<usize>,
}

impl Batch {
    /// The lines, and the line break that each ends with. The last line of a log may
    /// have none.
    fn lines(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let bytes = self.bytes.get(self.range.clone()).unwrap_or_default();
        split(&self.head).chain(split(bytes))
    }
}

fn split(mut rest: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let at = line_break(rest).unwrap_or(rest.len());
        let (line, others) = rest.split_at(at);
        let (end, others) = others.split_at(others.len().min(1));
        rest = others;
        Some((line, end))
    })
}

/// A log cut between lines, about where its chunks end. Nothing is to be read
/// after an error.
struct Batches<I> {
    pieces: I,
    /// The segment that is read.
    segment: usize,
    /// The beginning of a line whose end has not been read.
    rest: Vec<u8>,
}

impl<I: Iterator<Item = Piece>> Batches<I> {
    /// Of these pieces, which begin at a position.
    fn of(pieces: I, from: Position) -> Self {
        Self {
            pieces,
            segment: from.segment,
            rest: Vec::new(),
        }
    }

    fn read(&mut self) -> Result<Option<Batch>, PlaceError> {
        loop {
            let Some((segment, bytes)) = self.pieces.next().transpose()? else {
                let head = std::mem::take(&mut self.rest);
                return Ok((!head.is_empty()).then(|| self.batch(head, Vec::new(), 0..0)));
            };
            // What follows an unfinished line would be read as a part of it, with
            // other paths in it, and nobody writes that.
            if segment != self.segment && !self.rest.is_empty() {
                return Err(PlaceError::Malformed("a part of a log ends within a line"));
            }
            self.segment = segment;
            let (Some(first), Some(last)) = (line_break(&bytes), last_line_break(&bytes)) else {
                self.rest.extend_from_slice(&bytes);
                if self.rest.len() > limits::PLACED_LINE_BYTES_MAX {
                    return Err(PlaceError::LongLine);
                }
                continue;
            };
            let mut head = std::mem::take(&mut self.rest);
            let begin = if head.is_empty() { 0 } else { first + 1 };
            head.extend_from_slice(bytes.get(..begin).unwrap_or_default());
            let end = last + 1;
            self.rest
                .extend_from_slice(bytes.get(end..).unwrap_or_default());
            return Ok(Some(self.batch(head, bytes, begin..end)));
        }
    }

    fn batch(&self, head: Vec<u8>, bytes: Vec<u8>, range: Range<usize>) -> Batch {
        Batch {
            segment: self.segment,
            head,
            bytes,
            range,
        }
    }
}

impl<I: Iterator<Item = Piece>> Iterator for Batches<I> {
    type Item = Result<Batch, PlaceError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines with their breaks, by batch and segment.
    fn cut(pieces: &[(usize, &str)]) -> Result<Vec<(usize, Vec<String>)>, PlaceError> {
        let pieces = pieces
            .iter()
            .map(|(n, text)| Ok((*n, text.as_bytes().to_vec())));
        let batches = Batches::of(pieces, Position::default());
        let whole = |batch: Batch| {
            let lines = batch.lines().map(|(line, end)| [line, end].concat());
            let lines = lines.map(|line| String::from_utf8(line).unwrap());
            (batch.segment, lines.collect())
        };
        batches.map(|batch| batch.map(whole)).collect()
    }

    fn lines(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|l| (*l).to_owned()).collect()
    }

    #[test]
    fn a_log_is_cut_between_lines() {
        let pieces = [
            (0, "a\nbb\nc"),
            (0, "c"),
            (0, "c\nd\ne"),
            (0, "\n\n"),
            (1, "f\ng"),
        ];
        assert_eq!(
            cut(&pieces).unwrap(),
            [
                (0, lines(&["a\n", "bb\n"])),
                (0, lines(&["ccc\n", "d\n"])),
                (0, lines(&["e\n", "\n"])),
                (1, lines(&["f\n"])),
                (1, lines(&["g"])),
            ]
        );
        assert!(cut(&[]).unwrap().is_empty());
    }

    #[test]
    fn wherever_its_chunks_end_a_log_has_the_same_lines() {
        let text = "{\"a\":1}\n\n{\"bb\":2}\nccc\nd";
        let whole: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
        for first in 0..text.len() {
            for second in first..text.len() {
                let parts = [&text[..first], &text[first..second], &text[second..]];
                let all = cut(&parts.map(|part| (0, part))).unwrap();
                let all: Vec<String> = all.into_iter().flat_map(|(_, lines)| lines).collect();
                assert_eq!(all, whole, "cut at {first} and {second}");
            }
        }
    }

    #[test]
    fn a_line_in_two_segments_is_none_and_one_without_end_is_too_long() {
        let torn = cut(&[(0, "a\nb"), (1, "c\n")]);
        assert!(matches!(torn, Err(PlaceError::Malformed(_))), "{torn:?}");
        let mebibyte = "x".repeat(1 << 20);
        let pieces = vec![(0, mebibyte.as_str()); (limits::PLACED_LINE_BYTES_MAX >> 20) + 1];
        let long = cut(&pieces);
        assert!(matches!(long, Err(PlaceError::LongLine)), "{long:?}");
    }
}
