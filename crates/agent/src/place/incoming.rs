//! The files of a version as they are to lie here: from its origins' paths into
//! ours, held to the policy, line by line in bounded memory.
//!
//! Must not know where they are written, nor what lies there already.

use std::borrow::Cow;
use std::collections::VecDeque;

use ccpeer_core::id::SessionId;
use ccpeer_core::limits;
use ccpeer_core::manifest::{ChunkRef, FileEntry, Manifest, Origin, Segment, Slot};
use ccpeer_formats::claude::rewrite::{Rewriter, TextKind};
use ccpeer_formats::claude::transcript;
use ccpeer_store::{Store, StoreError};

use super::PlaceError;
use super::blocks::Spares;
use super::policy::{self, Finding, Findings, Held, Policy, Verdict};

/// A version on its way to this disk.
pub(super) struct Incoming<'a> {
    pub(super) store: &'a Store,
    pub(super) manifest: &'a Manifest,
    rewriters: Vec<Rewriter>,
    /// For each origin, whether what is written in it was written here.
    own: Vec<bool>,
    policy: Policy,
}

/// Takes a piece of a file and the number of the segment it belongs to.
pub(super) type Piecewise<'p> = dyn FnMut(usize, &[u8]) -> Result<(), PlaceError> + 'p;

/// A place in a file's segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Position {
    pub(super) segment: usize,
    pub(super) offset: u64,
}

/// A line and where it comes from.
pub(super) struct Line<'l> {
    /// Without its line break.
    pub(super) bytes: &'l [u8],
    pub(super) newline: bool,
    pub(super) start: Position,
}

/// A line as it may lie here.
pub(super) struct Form<'l> {
    /// With its paths rewritten and nothing else done to it.
    pub(super) plain: Cow<'l, [u8]>,
    /// What becomes of it.
    verdict: Verdict,
}

impl Form<'_> {
    /// As it is placed; nothing if it is left out.
    pub(super) fn placed(&self) -> Option<&[u8]> {
        match &self.verdict {
            Verdict::Keep => Some(&self.plain),
            Verdict::Change(line) => Some(line),
            Verdict::Drop => None,
        }
    }
}

impl<'a> Incoming<'a> {
    /// `from_me`: the version is a statement of this device, so that what it
    /// calls ours is ours.
    pub(super) fn new(
        store: &'a Store,
        manifest: &'a Manifest,
        to: &Origin,
        from_me: bool,
        policy: Policy,
    ) -> Self {
        Self {
            store,
            manifest,
            rewriters: manifest
                .origins
                .iter()
                .map(|from| Rewriter::in_repository(from, to, &manifest.project.subdir))
                .collect(),
            own: manifest
                .origins
                .iter()
                .map(|o| from_me && o == to)
                .collect(),
            policy,
        }
    }

    /// The same as another session.
    pub(super) fn forked(mut self, id: &SessionId) -> Self {
        self.policy = self.policy.forked(&self.manifest.session, id);
        self
    }

    /// The content of a file, from a position on.
    pub(super) fn chunks<'f>(&self, entry: &'f FileEntry, from: Position) -> Chunks<'a, 'f> {
        Chunks::new(self.store, entry, from)
    }

    /// The lines of a file, from a position on.
    pub(super) fn lines<'f>(&self, entry: &'f FileEntry, from: Position) -> Lines<Chunks<'a, 'f>> {
        Lines::of(self.chunks(entry, from), from)
    }

    /// A line as it may lie here.
    pub(super) fn form<'l>(&self, line: &'l [u8], origin: u8, findings: &mut Findings) -> Form<'l> {
        let (plain, held) = match self.read_once(line, origin) {
            Some(formed) => formed,
            None => self.read_twice(line, origin, findings),
        };
        findings.merge(held.findings);
        let verdict = held.verdict;
        Form { plain, verdict }
    }

    /// The usual record of somebody else, rewritten and held to the policy, with one
    /// look at its JSON; nothing where one look does not tell everything.
    fn read_once<'l>(&self, line: &'l [u8], origin: u8) -> Option<(Cow<'l, [u8]>, Held)> {
        let rewriter = self.rewriters.get(usize::from(origin))?;
        let braced = line.first() == Some(&b'{') && line.last() == Some(&b'}');
        if self.is_own(origin)
            || !rewriter.keeps_json()
            || !braced
            || line.len() > limits::REWRITE_LINE_BYTES_MAX
            || str::from_utf8(line).is_err()
        {
            return None;
        }
        let plain = rewriter.record(line).map_or(line.into(), Cow::Owned);
        let held = self.held(&plain, origin);
        held.is_json.then_some((plain, held))
    }

    /// Any line, looked at before it is rewritten and afterwards.
    fn read_twice<'l>(
        &self,
        line: &'l [u8],
        origin: u8,
        findings: &mut Findings,
    ) -> (Cow<'l, [u8]>, Held) {
        let plain = match self.spliced(line, origin) {
            Some(spliced) => Cow::Owned(spliced),
            None => Cow::Borrowed(line),
        };
        let held = self.held(&plain, origin);
        // A record must still be one.
        if matches!(plain, Cow::Owned(_))
            && !held.is_json
            && !policy::is_json(&plain)
            && policy::is_json(line)
        {
            findings.add(Finding::Unrewritten);
            return (Cow::Borrowed(line), self.held(line, origin));
        }
        (plain, held)
    }

    /// A line held to the policy, if somebody else wrote it.
    fn held(&self, line: &[u8], origin: u8) -> Held {
        match self.is_own(origin) {
            true => self.policy.own(line),
            false => self.policy.apply(line),
        }
    }

    /// Whether what is written in this origin was written here.
    fn is_own(&self, origin: u8) -> bool {
        self.own.get(usize::from(origin)) == Some(&true)
    }

    /// The line with other paths in it; nothing if it names none.
    fn spliced(&self, line: &[u8], origin: u8) -> Option<Vec<u8>> {
        let rewriter = self
            .rewriters
            .get(usize::from(origin))
            .filter(|r| !r.is_identity())?;
        let (out, report) = rewriter.bytes(TextKind::JsonLines, line);
        (report.replacements > 0).then_some(out)
    }

    /// Writes a file that is no log. `out` is told where each segment ends.
    pub(super) fn copy(
        &self,
        entry: &FileEntry,
        findings: &mut Findings,
        out: &mut Piecewise<'_>,
    ) -> Result<(), PlaceError> {
        let Slot::SubagentMeta(_) = entry.slot else {
            return self.pieces(entry, out);
        };
        // The other program acts on it: held to the policy, as a whole.
        let segment = match entry.segments.as_slice() {
            [] => return Ok(()),
            [segment] if segment.len <= limits::PLACED_AGENT_BYTES_MAX => segment,
            _ => {
                return Err(PlaceError::Malformed(
                    "what it keeps about a sub-agent is too much",
                ));
            }
        };
        let mut text = Vec::new();
        self.pieces(entry, &mut |_, piece| {
            text.extend_from_slice(piece);
            Ok(())
        })?;
        if !self.is_own(segment.origin)
            && let Some(held) = self.policy.agent(&text, findings)
        {
            text = held;
        }
        out(0, &text)
    }

    /// The pieces of a file that is no log, in our paths.
    fn pieces(&self, entry: &FileEntry, out: &mut Piecewise<'_>) -> Result<(), PlaceError> {
        let kind = match entry.slot {
            Slot::SubagentMeta(_) | Slot::Task(_) | Slot::Todo(_) => Some(TextKind::Json),
            _ if entry.slot.is_rewritten() => Some(TextKind::Plain),
            _ => None,
        };
        for (n, segment) in entry.segments.iter().enumerate() {
            let rewriter = self.rewriters.get(usize::from(segment.origin));
            let mut stream = match (kind, rewriter) {
                (Some(kind), Some(rewriter)) if !rewriter.is_identity() => {
                    Some(rewriter.stream(kind))
                }
                _ => None,
            };
            let mut piece = Vec::new();
            for chunk in self.store.read_segment(segment) {
                let chunk = chunk?;
                match &mut stream {
                    Some(stream) => {
                        piece.clear();
                        stream.push(&chunk, &mut piece);
                        out(n, &piece)?;
                    }
                    None => out(n, &chunk)?,
                }
            }
            if let Some(stream) = stream {
                piece.clear();
                stream.finish(&mut piece);
                out(n, &piece)?;
            }
        }
        Ok(())
    }
}

/// What is read of a log: the bytes of a chunk, and the segment that they are of.
pub(super) type Piece = Result<(usize, Vec<u8>), PlaceError>;

/// The content of a log, from a position on, chunk by chunk.
pub(super) struct Chunks<'a, 'f> {
    store: &'a Store,
    segments: &'f [Segment],
    /// Where buffers come from.
    spares: Option<&'f Spares>,
    /// The segment that is read, and what of it is to be passed over.
    segment: usize,
    skip: u64,
    /// What of it is still to come, once that is known.
    refs: Option<VecDeque<ChunkRef>>,
}

impl<'a, 'f> Chunks<'a, 'f> {
    fn new(store: &'a Store, entry: &'f FileEntry, from: Position) -> Self {
        Self {
            store,
            segments: &entry.segments,
            spares: None,
            segment: from.segment,
            skip: from.offset,
            refs: None,
        }
    }

    /// The same in buffers that were used before.
    pub(super) fn with(self, spares: &'f Spares) -> Self {
        Self {
            spares: Some(spares),
            ..self
        }
    }

    fn read(&mut self) -> Result<Option<(usize, Vec<u8>)>, PlaceError> {
        while let Some(segment) = self.segments.get(self.segment) {
            let refs = match &mut self.refs {
                Some(refs) => refs,
                none => none.insert(self.store.segment_refs(segment)?.into()),
            };
            while let Some(next) = refs.pop_front() {
                let len = u64::from(next.len);
                if len <= self.skip {
                    self.skip -= len;
                    continue;
                }
                let mut bytes = self.spares.map(Spares::take).unwrap_or_default();
                chunk_into(self.store, &next, &mut bytes)?;
                let skip = usize::try_from(self.skip).unwrap_or(usize::MAX);
                bytes.drain(..skip.min(bytes.len()));
                self.skip = 0;
                return Ok(Some((self.segment, bytes)));
            }
            self.segment += 1;
            self.skip = 0;
            self.refs = None;
        }
        Ok(None)
    }
}

impl Iterator for Chunks<'_, '_> {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        self.read().transpose()
    }
}

/// The lines of a log, across its chunks.
pub(super) struct Lines<I> {
    pieces: I,
    /// Where the next unread byte of the log is.
    next: Position,
    buffer: Vec<u8>,
    taken: usize,
}

impl<I: Iterator<Item = Piece>> Lines<I> {
    /// The lines of these pieces, which begin at a position.
    pub(super) fn of(pieces: I, from: Position) -> Self {
        Self {
            pieces,
            next: from,
            buffer: Vec::new(),
            taken: 0,
        }
    }

    /// The next line; nothing at the end.
    pub(super) fn next(&mut self) -> Result<Option<Line<'_>>, PlaceError> {
        let mut searched = self.taken;
        loop {
            let rest = self.buffer.get(searched..).unwrap_or_default();
            if let Some(at) = transcript::line_break(rest) {
                return Ok(Some(self.cut(searched + at, true)));
            }
            if self.buffer.len() - self.taken > limits::PLACED_LINE_BYTES_MAX {
                return Err(PlaceError::LongLine);
            }
            self.buffer.drain(..self.taken);
            self.taken = 0;
            searched = self.buffer.len();
            if !self.fill()? {
                let end = self.buffer.len();
                return Ok((end > 0).then(|| self.cut(end, false)));
            }
        }
    }

    fn cut(&mut self, end: usize, newline: bool) -> Line<'_> {
        let unread = (self.buffer.len() - self.taken) as u64;
        // A line lies in one segment: `fill` sees to that.
        let start = Position {
            offset: self.next.offset - unread,
            ..self.next
        };
        let begin = std::mem::replace(&mut self.taken, end + usize::from(newline));
        Line {
            bytes: self.buffer.get(begin..end).unwrap_or_default(),
            newline,
            start,
        }
    }

    /// Reads on. A line never spans two segments: what follows an unfinished line
    /// would be read as a part of it, with other paths in it, and nobody writes that.
    fn fill(&mut self) -> Result<bool, PlaceError> {
        let Some((segment, bytes)) = self.pieces.next().transpose()? else {
            return Ok(false);
        };
        if segment != self.next.segment {
            if !self.buffer.is_empty() {
                return Err(PlaceError::Malformed("a part of a log ends within a line"));
            }
            self.next = Position { segment, offset: 0 };
        }
        self.next.offset += bytes.len() as u64;
        self.buffer.extend_from_slice(&bytes);
        Ok(true)
    }
}

/// A chunk that must be there, as long as it is said to be.
pub(super) fn chunk(store: &Store, wanted: &ChunkRef) -> Result<Vec<u8>, PlaceError> {
    let mut bytes = Vec::new();
    chunk_into(store, wanted, &mut bytes)?;
    Ok(bytes)
}

/// The same in a buffer, in place of what it holds.
fn chunk_into(store: &Store, wanted: &ChunkRef, into: &mut Vec<u8>) -> Result<(), PlaceError> {
    match store.get_chunk_into(&wanted.id, into) {
        Ok(true) if into.len() as u64 == u64::from(wanted.len) => Ok(()),
        Ok(true) => Err(PlaceError::Malformed(
            "a chunk is not as long as its manifest says",
        )),
        Ok(false) => Err(PlaceError::Incomplete(1)),
        Err(e @ StoreError::Corrupt { .. }) => {
            tracing::warn!(error = %e, "a chunk is damaged; it is fetched again");
            Err(PlaceError::Incomplete(1))
        }
        Err(e) => Err(e.into()),
    }
}
