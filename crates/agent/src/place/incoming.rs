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
use super::policy::{self, Finding, Findings, Held, Policy, Verdict};

/// A version on its way to this disk.
pub(super) struct Incoming<'a> {
    pub(super) store: &'a Store,
    pub(super) manifest: &'a Manifest,
    rewriters: Vec<Rewriter>,
    /// For each origin, whether what is written in it was written here.
    own: Vec<bool>,
    policy: Policy,
    /// The id that takes the place of the session's own, in text.
    fork: Option<(String, String)>,
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
pub(super) struct Line {
    /// Without its line break.
    pub(super) bytes: Vec<u8>,
    pub(super) newline: bool,
    pub(super) start: Position,
}

/// A line as it may lie here.
pub(super) struct Form<'l> {
    /// With its paths rewritten and nothing else done to it.
    pub(super) plain: Cow<'l, [u8]>,
    /// As it is placed; nothing if it is left out.
    pub(super) placed: Option<Cow<'l, [u8]>>,
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
            fork: None,
        }
    }

    /// The same as another session.
    pub(super) fn forked(mut self, id: &SessionId) -> Self {
        self.fork = Some((self.manifest.session.to_string(), id.to_string()));
        self
    }

    /// The lines of a file, from a position on.
    pub(super) fn lines<'f>(&self, entry: &'f FileEntry, from: Position) -> Lines<'a, 'f> {
        Lines {
            store: self.store,
            segments: &entry.segments,
            next: from,
            refs: VecDeque::new(),
            loaded: None,
            buffer: Vec::new(),
            taken: 0,
        }
    }

    /// A line as it may lie here.
    pub(super) fn form<'l>(&self, line: &'l [u8], origin: u8, findings: &mut Findings) -> Form<'l> {
        let mut plain = match self.spliced(line, origin) {
            Some(spliced) => Cow::Owned(spliced),
            None => Cow::Borrowed(line),
        };
        let mut held = self.held(&plain, origin);
        // A record must still be one.
        if matches!(plain, Cow::Owned(_))
            && !held.is_json
            && !policy::is_json(&plain)
            && policy::is_json(line)
        {
            findings.add(Finding::Unrewritten);
            plain = Cow::Borrowed(line);
            held = self.held(line, origin);
        }
        findings.merge(held.findings);
        let placed = match held.verdict {
            Verdict::Keep => Some(plain.clone()),
            Verdict::Change(line) => Some(Cow::Owned(line)),
            Verdict::Drop => None,
        };
        let placed = match (&self.fork, placed) {
            (Some((from, to)), Some(line)) => {
                Some(policy::with_session(&line, from, to).map_or(line, Cow::Owned))
            }
            (_, placed) => placed,
        };
        Form { plain, placed }
    }

    /// A line held to the policy, if somebody else wrote it.
    fn held(&self, line: &[u8], origin: u8) -> Held {
        match self.own.get(usize::from(origin)) {
            Some(true) => Held::default(),
            _ => self.policy.apply(line),
        }
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
        let own = self.own.get(usize::from(segment.origin)).copied();
        if !own.unwrap_or(false)
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

/// The lines of a log, across its chunks.
pub(super) struct Lines<'a, 'f> {
    store: &'a Store,
    segments: &'f [Segment],
    /// Where the next unread byte of the store is.
    next: Position,
    refs: VecDeque<ChunkRef>,
    /// The segment whose references are loaded.
    loaded: Option<usize>,
    buffer: Vec<u8>,
    taken: usize,
}

impl Lines<'_, '_> {
    /// The next line; nothing at the end.
    pub(super) fn next(&mut self) -> Result<Option<Line>, PlaceError> {
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

    fn cut(&mut self, end: usize, newline: bool) -> Line {
        let bytes = self
            .buffer
            .get(self.taken..end)
            .unwrap_or_default()
            .to_vec();
        let unread = (self.buffer.len() - self.taken) as u64;
        // A line lies in one segment: `fill` sees to that.
        let start = Position {
            offset: self.next.offset - unread,
            ..self.next
        };
        self.taken = end + usize::from(newline);
        Line {
            bytes,
            newline,
            start,
        }
    }

    /// Reads the next chunk. A line never spans two segments: what follows an
    /// unfinished line would be read as a part of it, with other paths in it,
    /// and nobody writes that.
    fn fill(&mut self) -> Result<bool, PlaceError> {
        loop {
            let Some(segment) = self.segments.get(self.next.segment) else {
                return Ok(false);
            };
            if self.loaded != Some(self.next.segment) {
                self.refs = self.store.segment_refs(segment)?.into();
                self.loaded = Some(self.next.segment);
                let mut skip = self.next.offset;
                while let Some(first) = self.refs.front().filter(|r| u64::from(r.len) <= skip) {
                    skip -= u64::from(first.len);
                    self.refs.pop_front();
                }
                if let Some(first) = self.refs.pop_front() {
                    let bytes = chunk(self.store, &first)?;
                    let skip = usize::try_from(skip).unwrap_or(usize::MAX).min(bytes.len());
                    self.take(bytes.get(skip..).unwrap_or_default());
                    return Ok(true);
                }
            }
            if let Some(next) = self.refs.pop_front() {
                let bytes = chunk(self.store, &next)?;
                self.take(&bytes);
                return Ok(true);
            }
            let is_last = self.next.segment + 1 >= self.segments.len();
            if is_last {
                return Ok(false);
            }
            if !self.buffer.is_empty() {
                return Err(PlaceError::Malformed("a part of a log ends within a line"));
            }
            self.next = Position {
                segment: self.next.segment + 1,
                offset: 0,
            };
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.next.offset += bytes.len() as u64;
        self.buffer.extend_from_slice(bytes);
    }
}

/// A chunk that must be there, as long as it is said to be.
pub(super) fn chunk(store: &Store, wanted: &ChunkRef) -> Result<Vec<u8>, PlaceError> {
    match store.get_chunk(&wanted.id) {
        Ok(Some(bytes)) if bytes.len() as u64 == u64::from(wanted.len) => Ok(bytes),
        Ok(Some(_)) => Err(PlaceError::Malformed(
            "a chunk is not as long as its manifest says",
        )),
        Ok(None) => Err(PlaceError::Incomplete(1)),
        Err(e @ StoreError::Corrupt { .. }) => {
            tracing::warn!(error = %e, "a chunk is damaged; it is fetched again");
            Err(PlaceError::Incomplete(1))
        }
        Err(e) => Err(e.into()),
    }
}
