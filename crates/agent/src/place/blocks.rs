//! The lines of a log in the form in which they are placed, many at a time: read by
//! one thread and rewritten by another while a third one writes what is ready.
//!
//! Must not know where they are written.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use ccpeer_core::manifest::FileEntry;

use super::PlaceError;
use super::incoming::{Incoming, Lines, Piece, Position};
use super::policy::Findings;
use super::stage::Notes;

/// A block is handed over when it has so many bytes. A line is in one block.
const BLOCK_BYTES: usize = 256 * 1024;
/// Blocks that wait to be written.
const BLOCKS_AHEAD_MAX: usize = 4;
/// Chunks that are read ahead.
const CHUNKS_AHEAD_MAX: usize = 8;
/// A shorter log is not worth a thread.
const THREAD_BYTES_MIN: u64 = 1024 * 1024;

/// Lines of one segment.
pub(super) struct Block {
    pub(super) segment: usize,
    pub(super) bytes: Vec<u8>,
    /// Bytes of the store that it was made of.
    pub(super) read: u64,
    /// It has in it what was read, and all of it.
    pub(super) verbatim: bool,
}

impl Block {
    fn of(segment: usize) -> Self {
        Self {
            segment,
            bytes: Vec::with_capacity(BLOCK_BYTES),
            read: 0,
            verbatim: true,
        }
    }
}

/// Takes a block.
pub(super) type Take<'t> = dyn FnMut(Block, &mut Notes<'_>) -> Result<(), PlaceError> + 't;

/// Gives all lines of a log from a position on, in order.
pub(super) fn formed(
    incoming: &Incoming<'_>,
    entry: &FileEntry,
    from: Position,
    out: &mut Notes<'_>,
    take: &mut Take<'_>,
) -> Result<(), PlaceError> {
    let bytes: u64 = entry.segments.iter().map(|s| s.len).sum();
    if bytes >= THREAD_BYTES_MIN
        && let Some(result) = on_threads(incoming, entry, from, out, take)
    {
        return result;
    }
    let mut findings = Findings::default();
    let lines = incoming.lines(entry, from);
    let result = form(incoming, entry, lines, from, &mut findings, &mut |block| {
        take(block, out)
    });
    out.findings.merge(findings);
    result
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
    let (read, pieces): (SyncSender<Piece>, Receiver<Piece>) = sync_channel(CHUNKS_AHEAD_MAX);
    let (give, blocks): (SyncSender<Block>, Receiver<Block>) = sync_channel(BLOCKS_AHEAD_MAX);
    thread::scope(|scope| {
        let work = move || {
            let mut findings = Findings::default();
            let lines = Lines::of(pieces.into_iter(), from);
            let result = form(incoming, entry, lines, from, &mut findings, &mut |block| {
                // Whoever no longer takes has a reason of its own, which counts.
                give.send(block).map_err(|_| PlaceError::Changed)
            });
            (result, findings)
        };
        let forming = thread::Builder::new().spawn_scoped(scope, work).ok()?;
        let reading = move || {
            for piece in incoming.chunks(entry, from) {
                // Nobody wants more after an error.
                let is_last = piece.is_err();
                if read.send(piece).is_err() || is_last {
                    return;
                }
            }
        };
        if thread::Builder::new().spawn_scoped(scope, reading).is_err() {
            // What was begun finds nothing to read, and ends.
            return None;
        }
        let taken = blocks.iter().try_for_each(|block| take(block, out));
        // They end as soon as nobody takes.
        drop(blocks);
        let formed = match forming.join() {
            Ok((result, findings)) => {
                out.findings.merge(findings);
                result
            }
            Err(panic) => std::panic::resume_unwind(panic),
        };
        Some(taken.and(formed))
    })
}

fn form<I: Iterator<Item = Piece>>(
    incoming: &Incoming<'_>,
    entry: &FileEntry,
    mut lines: Lines<I>,
    from: Position,
    findings: &mut Findings,
    give: &mut dyn FnMut(Block) -> Result<(), PlaceError>,
) -> Result<(), PlaceError> {
    let mut block = Block::of(from.segment);
    while let Some(line) = lines.next()? {
        let segment = line.start.segment;
        if segment != block.segment || block.bytes.len() >= BLOCK_BYTES {
            give(std::mem::replace(&mut block, Block::of(segment)))?;
        }
        let origin = entry.segments.get(segment).map_or(0, |s| s.origin);
        let end: &[u8] = if line.newline { b"\n" } else { b"" };
        block.read += (line.bytes.len() + end.len()) as u64;
        match incoming.form(line.bytes, origin, findings).placed() {
            Some(placed) => {
                block.verbatim &= placed == line.bytes;
                block.bytes.extend_from_slice(placed);
                block.bytes.extend_from_slice(end);
            }
            None => block.verbatim = false,
        }
    }
    give(block)
}
