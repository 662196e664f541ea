//! A transcript that is held here, read a page at a time from the store: only the
//! chunks that a page needs are looked at, however long the session is.
//!
//! Must not know what a line means; that is the formats' business.

#[cfg(test)]
mod tests;

use ccpeer_core::limits;
use ccpeer_core::manifest::{ChunkRef, FileEntry, Manifest, Slot, SlotName};
use ccpeer_formats::claude::transcript::{self, Call, Diff, Part, Text, Told};
use ccpeer_store::{Store, StoreError};

use crate::api::{AgentFile, Field, FileDiff, PageAt, Record, RecordPart, Words};

/// Records that tell something, on one page.
const RECORDS_MAX: usize = 80;
/// Text of one page, about; a record more may come on top.
const TEXT_BYTES_MAX: usize = 512 * 1024;
/// Bytes of a transcript that are looked at for one page.
const LOOKED_AT_MAX: u64 = 16 * 1024 * 1024;
/// Bytes that are read at once; more if a line is longer.
const WINDOW_BYTES: u64 = 256 * 1024;
/// Sub-agents that are listed.
const AGENTS_MAX: usize = 200;
/// A file beside a sub-agent's transcript that is longer is not read.
const META_BYTES_MAX: u64 = 64 * 1024;

/// A part of a transcript.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) records: Vec<Record>,
}

/// A file in the store, read by places.
pub(crate) struct Reading<'s> {
    store: &'s Store,
    /// Where each chunk begins.
    chunks: Vec<(u64, ChunkRef)>,
    len: u64,
}

impl<'s> Reading<'s> {
    /// Begins to read a file. Blocking, as all of this is.
    ///
    /// # Errors
    /// When a list of its chunks is not here or damaged.
    pub(crate) fn new(store: &'s Store, file: &FileEntry) -> Result<Self, StoreError> {
        let mut chunks = Vec::new();
        let mut len = 0u64;
        for segment in &file.segments {
            for chunk in store.segment_refs(segment)? {
                chunks.push((len, chunk));
                len = len.saturating_add(u64::from(chunk.len));
            }
        }
        Ok(Self { store, chunks, len })
    }

    /// Bytes in all.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// The bytes between two places.
    fn bytes(&self, from: u64, to: u64) -> Result<Vec<u8>, StoreError> {
        let mut out = Vec::new();
        let first = self
            .chunks
            .partition_point(|(at, c)| at + u64::from(c.len) <= from);
        for (at, chunk) in self.chunks.iter().skip(first) {
            if *at >= to {
                break;
            }
            let place = ccpeer_store::Place::Chunk(chunk.id);
            let content = self.store.get_chunk(&chunk.id)?;
            let content = content.ok_or(StoreError::Absent { place })?;
            let within = |place: u64| {
                let place = usize::try_from(place.saturating_sub(*at)).unwrap_or(usize::MAX);
                place.min(content.len())
            };
            out.extend_from_slice(content.get(within(from)..within(to)).unwrap_or_default());
        }
        Ok(out)
    }

    /// A page.
    ///
    /// # Errors
    /// When a chunk of it is not here or damaged.
    pub(crate) fn page(&self, at: PageAt) -> Result<Page, StoreError> {
        match at {
            PageAt::End => self.back(self.len),
            PageAt::Before(place) => self.back(place.min(self.len)),
            PageAt::From(place) => self.on(place.min(self.len)),
        }
    }

    fn on(&self, place: u64) -> Result<Page, StoreError> {
        // Whoever names a place in a line means the next one.
        let from = match place {
            0 => 0,
            _ => self.line_end(place - 1)?,
        };
        let mut page = Page {
            from,
            to: from,
            records: Vec::new(),
        };
        let mut text = 0;
        let mut window = WINDOW_BYTES;
        while page.to < self.len && page.to - page.from < LOOKED_AT_MAX {
            let (start, end) = (page.to, self.len.min(page.to.saturating_add(window)));
            let bytes = self.bytes(start, end)?;
            let whole = match last_break(&bytes) {
                Some(at) => bytes.get(..=at).unwrap_or_default(),
                None if end == self.len => &bytes,
                None if window < limits::TRANSCRIPT_LINE_BYTES_MAX as u64 => {
                    window *= 4;
                    continue;
                }
                None => {
                    page.to = self.line_end(end)?;
                    page.records.push(unread(start, page.to - start));
                    continue;
                }
            };
            window = WINDOW_BYTES;
            for line in whole.split_inclusive(|b| *b == b'\n') {
                if page.records.len() >= RECORDS_MAX || text >= TEXT_BYTES_MAX {
                    return Ok(page);
                }
                if let Some(record) = record(page.to, line) {
                    text += weight(&record);
                    page.records.push(record);
                }
                page.to += line.len() as u64;
            }
        }
        Ok(page)
    }

    fn back(&self, place: u64) -> Result<Page, StoreError> {
        let mut page = Page {
            from: place,
            to: place,
            records: Vec::new(),
        };
        let mut text = 0;
        let mut window = WINDOW_BYTES;
        'all: while page.from > 0 && page.to - page.from < LOOKED_AT_MAX {
            let (start, end) = (page.from.saturating_sub(window), page.from);
            let bytes = self.bytes(start, end)?;
            // The first line of a window may have begun before it.
            let begun = match start {
                0 => 0,
                _ => match line_break(&bytes) {
                    Some(at) if at + 1 < bytes.len() => at + 1,
                    _ if window < limits::TRANSCRIPT_LINE_BYTES_MAX as u64 => {
                        window *= 4;
                        continue;
                    }
                    _ => {
                        page.from = self.line_start(start)?;
                        page.records.push(unread(page.from, end - page.from));
                        continue;
                    }
                },
            };
            window = WINDOW_BYTES;
            let lines = bytes.get(begun..).unwrap_or_default();
            let lines: Vec<&[u8]> = lines.split_inclusive(|b| *b == b'\n').collect();
            for line in lines.into_iter().rev() {
                if page.records.len() >= RECORDS_MAX || text >= TEXT_BYTES_MAX {
                    break 'all;
                }
                page.from -= line.len() as u64;
                if let Some(record) = record(page.from, line) {
                    text += weight(&record);
                    page.records.push(record);
                }
            }
        }
        page.records.reverse();
        Ok(page)
    }

    /// The place behind the first line break at or after this one.
    fn line_end(&self, mut place: u64) -> Result<u64, StoreError> {
        while place < self.len {
            let end = self.len.min(place + WINDOW_BYTES);
            let bytes = self.bytes(place, end)?;
            if let Some(at) = line_break(&bytes) {
                return Ok(place + at as u64 + 1);
            }
            place = end;
        }
        Ok(self.len)
    }

    /// The beginning of the line in which this place is.
    fn line_start(&self, mut place: u64) -> Result<u64, StoreError> {
        while place > 0 {
            let start = place.saturating_sub(WINDOW_BYTES);
            let bytes = self.bytes(start, place)?;
            if let Some(at) = last_break(&bytes) {
                return Ok(start + at as u64 + 1);
            }
            place = start;
        }
        Ok(0)
    }
}

/// The file of a transcript in a manifest.
pub(crate) fn file<'m>(manifest: &'m Manifest, agent: Option<&str>) -> Option<&'m FileEntry> {
    match agent {
        None => manifest.file(&Slot::Main),
        Some(name) => manifest.file(&Slot::Subagent(SlotName::new(name)?)),
    }
}

/// The sub-agents of a session.
pub(crate) fn agents(store: &Store, manifest: &Manifest) -> Vec<AgentFile> {
    let about = |name: &SlotName| {
        let meta = manifest.file(&Slot::SubagentMeta(name.clone()))?;
        if meta.len() > META_BYTES_MAX {
            return None;
        }
        // What is not here yet is only a name less.
        let reading = Reading::new(store, meta).ok()?;
        let bytes = reading.bytes(0, reading.len()).ok()?;
        transcript::agent_about(&bytes)
    };
    let found = manifest.files.iter().filter_map(|file| match &file.slot {
        Slot::Subagent(name) => Some(AgentFile {
            name: name.as_str().to_owned(),
            about: about(name).unwrap_or_default(),
            bytes: file.len(),
        }),
        _ => None,
    });
    found.take(AGENTS_MAX).collect()
}

fn line_break(bytes: &[u8]) -> Option<usize> {
    transcript::line_break(bytes)
}

fn last_break(bytes: &[u8]) -> Option<usize> {
    bytes.iter().rposition(|b| *b == b'\n')
}

/// A line that is longer than any that is read.
fn unread(at: u64, len: u64) -> Record {
    let text = format!("a line of {len} bytes is too long to be shown");
    Record {
        at,
        time: String::new(),
        sidechain: false,
        parts: vec![RecordPart::Note {
            about: "unread".to_owned(),
            words: Words { text, cut: true },
        }],
    }
}

fn record(at: u64, line: &[u8]) -> Option<Record> {
    let Told {
        time,
        is_sidechain,
        parts,
    } = transcript::told(line)?;
    Some(Record {
        at,
        time,
        sidechain: is_sidechain,
        parts: parts.into_iter().map(part).collect(),
    })
}

fn part(part: Part) -> RecordPart {
    match part {
        Part::Prompt(text) => RecordPart::Prompt(words(text)),
        Part::Answer(text) => RecordPart::Answer(words(text)),
        Part::Thinking(text) => RecordPart::Thinking(words(text)),
        Part::Call(Call {
            id,
            tool,
            about,
            fields,
            diffs,
        }) => RecordPart::Call {
            id,
            tool,
            about,
            fields: fields
                .into_iter()
                .map(|(name, text)| Field {
                    name,
                    words: words(text),
                })
                .collect(),
            diffs: diffs.into_iter().map(file_diff).collect(),
        },
        Part::Outcome {
            call,
            is_error,
            text,
            agent,
        } => RecordPart::Outcome {
            call,
            error: is_error,
            words: words(text),
            agent,
        },
        Part::Note { about, text } => RecordPart::Note {
            about: about.to_owned(),
            words: words(text),
        },
    }
}

fn words(Text { text, cut }: Text) -> Words {
    Words { text, cut }
}

fn file_diff(Diff { path, lines, cut }: Diff) -> FileDiff {
    FileDiff { path, lines, cut }
}

/// Bytes of text in a record, about.
fn weight(record: &Record) -> usize {
    let of = |part: &RecordPart| match part {
        RecordPart::Prompt(w) | RecordPart::Answer(w) | RecordPart::Thinking(w) => w.text.len(),
        RecordPart::Outcome { words, .. } | RecordPart::Note { words, .. } => words.text.len(),
        RecordPart::Call { fields, diffs, .. } => {
            let fields = fields.iter().map(|f| f.words.text.len());
            let lines = diffs.iter().flat_map(|d| &d.lines).map(String::len);
            fields.chain(lines).sum()
        }
    };
    record.parts.iter().map(of).sum()
}
