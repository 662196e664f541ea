//! How a local log stands to the one of a version: is one the beginning of the
//! other?
//!
//! First by what is remembered: the segments that the local file stands for,
//! compared with the incoming ones, origin by origin. Where that does not give
//! an answer, by content: line for line, as the version would be placed. Must
//! not know what is done with the answer.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};

use ccpeer_core::limits;
use ccpeer_core::manifest::{ChunkRef, FileEntry, Origin, Segment};
use ccpeer_formats::claude::transcript;
use ccpeer_store::Store;

use super::PlaceError;
use super::incoming::{Incoming, Position, chunk};
use super::policy::{self, Findings};
use crate::confined::Stamp;
use crate::local::{Extent, LocalFile, section};

/// How a local log stands to an incoming one.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// They are the same.
    Same(Cut),
    /// The local one is the beginning of the incoming one.
    Behind(Cut),
    /// The incoming one is the beginning of the local one.
    Ahead(Cut),
    /// Neither.
    Diverged,
}

/// Where two logs part.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Cut {
    /// Bytes of the local file that belong to the incoming one.
    pub(super) keep: u64,
    /// Where the incoming one goes on.
    pub(super) at: Position,
    /// For each incoming segment, what it is among the bytes that are kept.
    pub(super) extents: Vec<Extent>,
    /// What is left of the local file is an unfinished line.
    pub(super) torn: bool,
    /// What is left of the local file is Claude Code's bookkeeping.
    pub(super) bookkeeping: bool,
    /// Nothing of the local file stays: its line goes on with another beginning.
    pub(super) rewritten: bool,
}

impl Cut {
    /// Nothing is kept of the local log.
    pub(super) fn nothing(entry: &FileEntry) -> Self {
        Self {
            extents: fresh_extents(entry),
            rewritten: true,
            ..Self::default()
        }
    }
}

/// A local log, opened, and what is remembered of it.
pub(super) struct LocalLog<'a> {
    pub(super) file: &'a File,
    pub(super) stamp: Stamp,
    /// The entry it stands for, with its manifest's origins.
    pub(super) known: Option<(&'a FileEntry, &'a [Origin], &'a LocalFile)>,
}

/// Compares a local log with an incoming one.
pub(super) fn compare(
    local: &LocalLog<'_>,
    incoming: &Incoming<'_>,
    entry: &FileEntry,
    io: &dyn Fn(std::io::Error) -> PlaceError,
) -> Result<Standing, PlaceError> {
    if let Some(standing) = by_memory(local, incoming, entry, io)? {
        return Ok(standing);
    }
    Ok(by_content(local, incoming, entry, io)?.0)
}

/// How far a local log and an incoming one have the same lines.
pub(super) fn parting(
    local: &LocalLog<'_>,
    incoming: &Incoming<'_>,
    entry: &FileEntry,
    io: &dyn Fn(std::io::Error) -> PlaceError,
) -> Result<Cut, PlaceError> {
    Ok(by_content(local, incoming, entry, io)?.1)
}

fn by_memory(
    local: &LocalLog<'_>,
    incoming: &Incoming<'_>,
    entry: &FileEntry,
    io: &dyn Fn(std::io::Error) -> PlaceError,
) -> Result<Option<Standing>, PlaceError> {
    let Some((known, origins, remembered)) = local.known else {
        return Ok(None);
    };
    let print = &remembered.print;
    if !remembered.fits(known) || local.stamp.len < print.len {
        return Ok(None);
    }
    let untouched = remembered.settled && remembered.stamp == local.stamp;
    let same_file = local.stamp.id == remembered.stamp.id;
    if !untouched && print.proven(local.file, same_file).map_err(io)? != print.len {
        return Ok(None);
    }
    let grown = local.stamp.len - print.len;
    let torn = grown > 0 && is_torn(local, print.len, io)?;
    if grown > 0 && !torn {
        // Lines that were never captured: only their content can tell.
        return Ok(None);
    }
    if !ends_with_line(local.file, print.len).map_err(io)? {
        // What comes next would become a part of its last line.
        return Ok(None);
    }
    let mut ours = Pieces::new(incoming.store, &known.segments, origins);
    let mut theirs = Pieces::new(incoming.store, &entry.segments, &incoming.manifest.origins);
    let mut extents = fresh_extents(entry);
    // The local segment that is being compared, and the incoming one it lies in.
    let mut within: Option<(usize, usize)> = None;
    while let (Some(a), Some(b)) = (ours.peek()?, theirs.peek()?) {
        match within {
            Some((mine, theirs)) if mine == a.at.segment => {
                if theirs != b.at.segment {
                    return Ok(None);
                }
            }
            _ => {
                within = Some((a.at.segment, b.at.segment));
                let mine = remembered
                    .extents
                    .get(a.at.segment)
                    .copied()
                    .unwrap_or_default();
                if let Some(extent) = extents.get_mut(b.at.segment) {
                    extent.len += mine.len;
                    extent.verbatim &= mine.verbatim;
                }
            }
        }
        if a.origin != b.origin {
            return Ok(None);
        }
        let whole = a.offset == 0 && b.offset == 0 && a.chunk == b.chunk;
        let len = (a.chunk.len - a.offset).min(b.chunk.len - b.offset);
        if !whole && ours.bytes(len)? != theirs.bytes(len)? {
            return Ok(None);
        }
        ours.advance(len);
        theirs.advance(len);
    }
    let at = theirs.position();
    let cut = Cut {
        keep: print.len,
        at,
        extents,
        torn,
        ..Cut::default()
    };
    Ok(Some(
        match (ours.peek()?.is_some(), theirs.peek()?.is_some()) {
            (false, false) => Standing::Same(cut),
            (false, true) => Standing::Behind(cut),
            // The incoming one ends within what is here; where, on this disk, only
            // its content can tell.
            (true, _) => return Ok(None),
        },
    ))
}

fn by_content(
    local: &LocalLog<'_>,
    incoming: &Incoming<'_>,
    entry: &FileEntry,
    io: &dyn Fn(std::io::Error) -> PlaceError,
) -> Result<(Standing, Cut), PlaceError> {
    let mut lines = incoming.lines(entry, Position::default());
    let mut reader = BufReader::with_capacity(256 * 1024, section(local.file, 0, local.stamp.len));
    let mut cut = Cut {
        extents: fresh_extents(entry),
        ..Cut::default()
    };
    // What is found here is reported when it is placed.
    let mut findings = Findings::default();
    let mut ours = next_line(&mut reader).map_err(io)?;
    while let Some(line) = lines.next()? {
        let segment = entry.segments.get(line.start.segment);
        let origin = segment.map_or(0, |s| s.origin);
        let form = incoming.form(line.bytes, origin, &mut findings);
        let Some(mine) = &ours else {
            cut.at = line.start;
            return Ok((Standing::Behind(cut.clone()), cut));
        };
        let same = |bytes: &[u8]| bytes == mine.bytes && line.newline == mine.newline;
        // As it was written elsewhere is how it lies where it was written.
        if same(line.bytes) || same(&form.plain) || form.placed().is_some_and(same) {
            let len = mine.bytes.len() as u64 + u64::from(mine.newline);
            cut.keep += len;
            if let Some(extent) = cut.extents.get_mut(line.start.segment) {
                extent.len += len;
                extent.verbatim &= line.bytes == mine.bytes;
            }
            ours = next_line(&mut reader).map_err(io)?;
            continue;
        }
        let begins = |bytes: &[u8]| bytes.starts_with(&mine.bytes);
        let unfinished = !mine.newline
            && (begins(&form.plain)
                || form.placed().is_some_and(begins)
                || !policy::is_json(&mine.bytes));
        if unfinished {
            cut.at = line.start;
            cut.torn = true;
            return Ok((Standing::Behind(cut.clone()), cut));
        }
        if form.placed().is_some() {
            // What Claude Code wrote after the last hook is nobody's line.
            return if only_bookkeeping(mine, &mut reader).map_err(io)? {
                cut.at = line.start;
                cut.bookkeeping = true;
                Ok((Standing::Behind(cut.clone()), cut))
            } else {
                cut.at = line.start;
                Ok((Standing::Diverged, cut))
            };
        }
        // Left out when it was placed: not to be found here.
        if let Some(extent) = cut.extents.get_mut(line.start.segment) {
            extent.verbatim = false;
        }
    }
    cut.at = Position {
        segment: entry.segments.len(),
        offset: 0,
    };
    let standing = match ours {
        None => Standing::Same(cut.clone()),
        Some(mine) if !mine.newline && !policy::is_json(&mine.bytes) => {
            cut.torn = true;
            Standing::Same(cut.clone())
        }
        Some(mine) => {
            cut.bookkeeping = only_bookkeeping(&mine, &mut reader).map_err(io)?;
            Standing::Ahead(cut.clone())
        }
    };
    Ok((standing, cut))
}

/// Whether a log is what is remembered of it, but for an end that says nothing.
pub(super) fn is_as_remembered(
    local: &LocalLog<'_>,
    remembered: &LocalFile,
) -> std::io::Result<bool> {
    let print = &remembered.print;
    if local.stamp.len < print.len {
        return Ok(false);
    }
    let untouched = remembered.settled && remembered.stamp == local.stamp;
    let same_file = local.stamp.id == remembered.stamp.id;
    if !untouched && print.proven(local.file, same_file)? != print.len {
        return Ok(false);
    }
    let mut rest = BufReader::new(section(local.file, print.len, local.stamp.len));
    match next_line(&mut rest)? {
        None => Ok(true),
        Some(first) if !first.newline && !policy::is_json(&first.bytes) => Ok(true),
        Some(first) => only_bookkeeping(&first, &mut rest),
    }
}

/// Lines at the beginning that are looked at for a directory.
const FIRST_LINES_MAX: usize = 64;

/// The directory in which a log was begun, as its records say.
pub(super) fn first_directory(file: &File) -> std::io::Result<Option<String>> {
    let mut reader = BufReader::new(section(file, 0, u64::MAX));
    for _ in 0..FIRST_LINES_MAX {
        let Some(line) = next_line(&mut reader)? else {
            break;
        };
        if let Some(dir) = policy::directory(&line.bytes) {
            return Ok(Some(dir));
        }
    }
    Ok(None)
}

/// Whether this line and all that follow say nothing.
fn only_bookkeeping(first: &OwnLine, reader: &mut impl BufRead) -> std::io::Result<bool> {
    let mut speaks = !transcript::is_bookkeeping(&first.bytes);
    while !speaks {
        match next_line(reader)? {
            Some(line) => speaks = !transcript::is_bookkeeping(&line.bytes),
            None => return Ok(true),
        }
    }
    Ok(false)
}

/// Nothing of any segment yet.
pub(super) fn fresh_extents(entry: &FileEntry) -> Vec<Extent> {
    vec![
        Extent {
            len: 0,
            verbatim: true
        };
        entry.segments.len()
    ]
}

fn ends_with_line(file: &File, len: u64) -> std::io::Result<bool> {
    let Some(last) = len.checked_sub(1) else {
        return Ok(true);
    };
    let mut byte = [0];
    section(file, last, len).read_exact(&mut byte)?;
    Ok(byte == *b"\n")
}

/// Whether what follows `from` is an unfinished line.
fn is_torn(
    local: &LocalLog<'_>,
    from: u64,
    io: &dyn Fn(std::io::Error) -> PlaceError,
) -> Result<bool, PlaceError> {
    if local.stamp.len - from > limits::PLACED_LINE_BYTES_MAX as u64 {
        return Ok(false);
    }
    let mut rest = Vec::new();
    let mut file = local.file;
    file.seek(SeekFrom::Start(from)).map_err(io)?;
    file.take(local.stamp.len - from)
        .read_to_end(&mut rest)
        .map_err(io)?;
    Ok(!rest.contains(&b'\n') && !policy::is_json(&rest))
}

struct OwnLine {
    bytes: Vec<u8>,
    newline: bool,
}

fn next_line(reader: &mut impl BufRead) -> std::io::Result<Option<OwnLine>> {
    let mut bytes = Vec::new();
    let max = limits::PLACED_LINE_BYTES_MAX as u64 + 1;
    if reader.take(max).read_until(b'\n', &mut bytes)? == 0 {
        return Ok(None);
    }
    let newline = bytes.last() == Some(&b'\n');
    if newline {
        bytes.pop();
    }
    Ok(Some(OwnLine { bytes, newline }))
}

/// Segments as a row of pieces, each with its origin.
struct Pieces<'a> {
    store: &'a Store,
    segments: &'a [Segment],
    origins: &'a [Origin],
    at: Position,
    refs: std::vec::IntoIter<ChunkRef>,
    loaded: Option<usize>,
    current: Option<(ChunkRef, u32)>,
    content: Option<(ChunkRef, Vec<u8>)>,
}

#[derive(Clone, Copy)]
struct Piece<'a> {
    origin: Option<&'a Origin>,
    chunk: ChunkRef,
    offset: u32,
    at: Position,
}

impl<'a> Pieces<'a> {
    fn new(store: &'a Store, segments: &'a [Segment], origins: &'a [Origin]) -> Self {
        Self {
            store,
            segments,
            origins,
            at: Position::default(),
            refs: Vec::new().into_iter(),
            loaded: None,
            current: None,
            content: None,
        }
    }

    fn peek(&mut self) -> Result<Option<Piece<'a>>, PlaceError> {
        while self.current.is_none() {
            let Some(segment) = self.segments.get(self.at.segment) else {
                return Ok(None);
            };
            if self.loaded != Some(self.at.segment) {
                self.refs = self.store.segment_refs(segment)?.into_iter();
                self.loaded = Some(self.at.segment);
            }
            match self.refs.next() {
                Some(next) => self.current = Some((next, 0)),
                None => {
                    self.at = Position {
                        segment: self.at.segment + 1,
                        offset: 0,
                    }
                }
            }
        }
        let (Some((chunk, offset)), Some(segment)) =
            (self.current, self.segments.get(self.at.segment))
        else {
            return Ok(None);
        };
        let origin = self.origins.get(usize::from(segment.origin));
        Ok(Some(Piece {
            origin,
            chunk,
            offset,
            at: self.at,
        }))
    }

    /// The next bytes of the current piece.
    fn bytes(&mut self, len: u32) -> Result<&[u8], PlaceError> {
        let Some((wanted, offset)) = self.current else {
            return Ok(&[]);
        };
        if self
            .content
            .as_ref()
            .is_none_or(|(have, _)| *have != wanted)
        {
            self.content = Some((wanted, chunk(self.store, &wanted)?));
        }
        let (from, len) = (offset as usize, len as usize);
        let content = self
            .content
            .as_ref()
            .and_then(|(_, c)| c.get(from..from + len));
        Ok(content.unwrap_or_default())
    }

    fn advance(&mut self, len: u32) {
        if let Some((chunk, offset)) = &mut self.current {
            *offset += len;
            self.at.offset += u64::from(len);
            if *offset >= chunk.len {
                self.current = None;
            }
        }
    }

    /// Where the next piece begins.
    fn position(&self) -> Position {
        self.at
    }
}
