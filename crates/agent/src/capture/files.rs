//! One file of a session: how much of it is known already, and the segments
//! that stand for it now.
//!
//! A log keeps its segments for as long as its beginning is what it was; only
//! what was added is cut. Anything else is the same or new. Must not know where
//! files lie or what else belongs to the session.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use ccpeer_core::id::SessionId;
use ccpeer_core::limits;
use ccpeer_core::manifest::{FileEntry, Segment, Slot};
use ccpeer_core::time::Timestamp;
use ccpeer_store::StoreError;

use super::CaptureError;
use super::chunking::{SegmentBuilder, Sink};
use crate::confined::{ConfinedError, Stamp};
use crate::local::{Extent, LocalFile, Print, Printing, Section, section};

/// How often a file that changes while it is read is read again.
const TRIES_MAX: u32 = 3;
/// Bytes that are looked through at once for the last line break.
const BACK_STEP: u64 = 64 * 1024;
/// Bytes at the beginning of a log that tell whether it is one of records.
const HEAD_BYTES: u64 = 256;

/// A file opened for capture.
pub(super) struct Reader {
    file: File,
    stamp: Stamp,
    path: PathBuf,
    now: Timestamp,
}

/// How a log stands to what is known of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct LogView {
    /// Bytes at its beginning that are those that were known.
    pub(super) proven: u64,
    /// Whether those are all that was known: the log only grew.
    pub(super) grew: bool,
    /// Bytes that count now: whole lines.
    pub(super) end: u64,
}

/// A file as it is now.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) entry: FileEntry,
    pub(super) local: LocalFile,
    pub(super) change: Change,
}

/// Whether a file's content is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    None,
    Content,
}

/// Why a file could not be taken.
#[derive(Debug)]
pub(super) enum TakeError {
    Read(io::Error),
    Store(StoreError),
    Restless,
}

impl From<io::Error> for TakeError {
    fn from(e: io::Error) -> Self {
        Self::Read(e)
    }
}

impl From<StoreError> for TakeError {
    fn from(e: StoreError) -> Self {
        Self::Store(e)
    }
}

impl TakeError {
    pub(super) fn into_capture(self, session: SessionId, path: &Path) -> CaptureError {
        match self {
            Self::Read(e) => ConfinedError::io(path, e).into(),
            Self::Store(e) => e.into(),
            Self::Restless => CaptureError::Restless(session),
        }
    }
}

impl Reader {
    pub(super) fn new(file: File, stamp: Stamp, path: PathBuf, now: Timestamp) -> Self {
        Self {
            file,
            stamp,
            path,
            now,
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// Bytes `from..to`.
    pub(super) fn section(&self, from: u64, to: u64) -> Section<'_> {
        section(&self.file, from, to)
    }

    /// How the log stands to what is known of it.
    pub(super) fn log_view(&self, known: Option<&LocalFile>) -> Result<LogView, ConfinedError> {
        self.view(known)
            .map_err(|e| ConfinedError::io(&self.path, e))
    }

    fn view(&self, known: Option<&LocalFile>) -> io::Result<LogView> {
        let Some(known) = known else {
            return Ok(LogView {
                proven: 0,
                grew: false,
                end: self.end(0)?,
            });
        };
        if self.is_untouched(known) {
            let len = known.print.len;
            return Ok(LogView {
                proven: len,
                grew: true,
                end: len,
            });
        }
        // Claude Code takes back a line by writing the last 64 KiB anew; what
        // lies before is only touched by making another file.
        let same_file = self.stamp.id == known.stamp.id && self.stamp.len >= known.print.len;
        let proven = known.print.proven(&self.file, same_file)?;
        if proven == known.print.len {
            let end = self.end(proven)?;
            return Ok(LogView {
                proven,
                grew: true,
                end,
            });
        }
        Ok(LogView {
            proven,
            grew: false,
            end: self.end(0)?,
        })
    }

    fn is_untouched(&self, known: &LocalFile) -> bool {
        known.settled && known.stamp == self.stamp
    }

    /// Bytes that count, where those before `from` are known to: whole lines. What
    /// comes after them is a record that is being written, unless the file is of
    /// another format, which has no lines and is taken as it is.
    fn end(&self, from: u64) -> io::Result<u64> {
        let end = self.last_line_end(from)?;
        if end == self.stamp.len || self.begins_as_records()? {
            return Ok(end);
        }
        let mut rest = Vec::new();
        let to = self.stamp.len.min(end.saturating_add(BACK_STEP));
        section(&self.file, end, to).read_to_end(&mut rest)?;
        Ok(match is_torn_record(&rest) {
            true => end,
            false => self.stamp.len,
        })
    }

    fn begins_as_records(&self) -> io::Result<bool> {
        let mut head = Vec::new();
        let to = self.stamp.len.min(HEAD_BYTES);
        section(&self.file, 0, to).read_to_end(&mut head)?;
        let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&head);
        Ok(head.trim_ascii_start().first() == Some(&b'{'))
    }

    /// The end of the last whole line that ends after `from`; else `from`.
    fn last_line_end(&self, from: u64) -> io::Result<u64> {
        let mut to = self.stamp.len;
        while to > from {
            let start = to.saturating_sub(BACK_STEP).max(from);
            let mut bytes = Vec::new();
            section(&self.file, start, to).read_to_end(&mut bytes)?;
            if let Some(at) = bytes.iter().rposition(|b| *b == b'\n') {
                return Ok(start + at as u64 + 1);
            }
            to = start;
        }
        Ok(from)
    }

    /// Whether nothing happened to the file since it was opened.
    fn is_still(&self) -> io::Result<bool> {
        Ok(Stamp::of(&self.file.metadata()?) == self.stamp)
    }

    fn local(&self, slot: &Slot, extents: Vec<Extent>, print: Print) -> LocalFile {
        let settled = !self.stamp.is_fresh(self.now);
        LocalFile {
            slot: slot.clone(),
            stamp: self.stamp,
            settled,
            extents,
            print,
        }
    }

    fn entry(&self, slot: &Slot, segments: Vec<Segment>) -> FileEntry {
        FileEntry {
            slot: slot.clone(),
            segments,
            modified: self.stamp.modified(),
        }
    }
}

/// Whether these bytes can be the beginning of a record of text.
fn is_torn_record(bytes: &[u8]) -> bool {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        // Cut within a character.
        Err(e) if e.error_len().is_none() => {
            let valid = bytes.get(..e.valid_up_to()).unwrap_or_default();
            std::str::from_utf8(valid).unwrap_or_default()
        }
        Err(_) => return false,
    };
    text.starts_with('{') && !text.contains(|c: char| c.is_control() && !c.is_whitespace())
}

/// The file as it is known, if its stamp says that nothing happened to it.
pub(super) fn untouched(
    slot: &Slot,
    stamp: &Stamp,
    (entry, local): (&FileEntry, &LocalFile),
) -> Option<Taken> {
    let same = local.settled && local.stamp == *stamp && (!slot.is_log() || local.fits(entry));
    same.then(|| Taken {
        entry: entry.clone(),
        local: local.clone(),
        change: Change::None,
    })
}

/// Cuts what is new in a file and keeps it. `view` belongs to logs.
pub(super) fn take(
    slot: &Slot,
    reader: &Reader,
    view: Option<&LogView>,
    known: Option<(&FileEntry, &LocalFile)>,
    here: u8,
    sink: &mut Sink<'_, '_>,
) -> Result<Taken, TakeError> {
    match view {
        Some(view) => take_log(slot, reader, view, known, here, sink),
        None => take_whole(slot, reader, known, here, sink),
    }
}

fn take_log(
    slot: &Slot,
    reader: &Reader,
    view: &LogView,
    known: Option<(&FileEntry, &LocalFile)>,
    here: u8,
    sink: &mut Sink<'_, '_>,
) -> Result<Taken, TakeError> {
    let known = known.filter(|(entry, local)| local.fits(entry));
    if let Some((entry, local)) = known
        && view.grew
        && view.end == local.print.len
    {
        let local = reader.local(slot, local.extents.clone(), local.print.clone());
        return Ok(Taken {
            entry: entry.clone(),
            local,
            change: Change::None,
        });
    }
    let (mut segments, mut extents) = kept(view, known, sink)?;
    let mut from: u64 = extents.iter().map(|e| e.len).sum();
    let own = |s: &Segment, e: &Extent| s.origin == here && e.verbatim && e.len == s.len;
    let mut builder = None;
    if let (Some(last), Some(extent)) = (segments.last(), extents.last())
        && own(last, extent)
        && let Some(resumed) = SegmentBuilder::resume(last, view.end.saturating_sub(from), sink)?
    {
        from -= last.len - resumed.len();
        segments.pop();
        extents.pop();
        builder = Some(resumed);
    }
    if builder.is_none() && segments.len() >= limits::SEGMENTS_MAX {
        segments.clear();
        extents.clear();
        from = 0;
    }
    let mut builder = builder.unwrap_or_else(|| SegmentBuilder::new(here));
    let new = reader.section(from, view.end);
    // What belongs to it has mostly ended when it is met.
    let len = match slot {
        Slot::Main => view.end - from,
        _ => 0,
    };
    let print = match known.filter(|_| view.grew) {
        Some((_, local)) => {
            builder.append_log(new, len, sink)?;
            local.print.grown(&reader.file, view.end)?
        }
        None if from == 0 => {
            let mut new = Printing::new(new);
            builder.append_log(&mut new, len, sink)?;
            new.finish()
        }
        None => {
            builder.append_log(new, len, sink)?;
            Print::of(&mut reader.section(0, view.end))?
        }
    };
    let segment = builder.finish();
    if segment.len > 0 {
        extents.push(Extent {
            len: segment.len,
            verbatim: true,
        });
        segments.push(segment);
    }
    // What was read must be what is there: a log may grow meanwhile, not change.
    if extents.iter().map(|e| e.len).sum::<u64>() != view.end || print.len != view.end {
        return Err(TakeError::Restless);
    }
    if !reader.is_still()? && print.proven(&reader.file, true)? != print.len {
        return Err(TakeError::Restless);
    }
    let same = known.is_some_and(|(entry, _)| entry.segments == segments);
    let change = if same { Change::None } else { Change::Content };
    let entry = match known.filter(|_| same) {
        Some((entry, _)) => entry.clone(),
        None => reader.entry(slot, segments),
    };
    Ok(Taken {
        entry,
        local: reader.local(slot, extents, print),
        change,
    })
}

/// The segments that lie within what is proven, and what they are on disk; of one
/// that only begins there, the chunks that do.
fn kept(
    view: &LogView,
    known: Option<(&FileEntry, &LocalFile)>,
    sink: &Sink<'_, '_>,
) -> Result<(Vec<Segment>, Vec<Extent>), StoreError> {
    let (mut segments, mut extents) = (Vec::new(), Vec::new());
    let Some((entry, local)) = known else {
        return Ok((segments, extents));
    };
    let mut left = view.proven.min(view.end);
    for (segment, extent) in entry.segments.iter().zip(&local.extents) {
        if extent.len > left {
            if extent.verbatim
                && extent.len == segment.len
                && let Some(begin) = SegmentBuilder::begin(segment, left, sink)?
            {
                let len = begin.len;
                extents.push(Extent { len, ..*extent });
                segments.push(begin);
            }
            break;
        }
        left -= extent.len;
        segments.push(segment.clone());
        extents.push(*extent);
    }
    Ok((segments, extents))
}

fn take_whole(
    slot: &Slot,
    reader: &Reader,
    known: Option<(&FileEntry, &LocalFile)>,
    here: u8,
    sink: &mut Sink<'_, '_>,
) -> Result<Taken, TakeError> {
    if let Some((entry, local)) = known.filter(|(_, local)| reader.is_untouched(local)) {
        return Ok(Taken {
            entry: entry.clone(),
            local: local.clone(),
            change: Change::None,
        });
    }
    let mut stamp = reader.stamp;
    for _ in 0..TRIES_MAX {
        let print = Print::of(&mut reader.section(0, stamp.len))?;
        let same = known.filter(|(entry, local)| local.print == print && local.fits(entry));
        let taken = if let Some((entry, local)) = same {
            let local = LocalFile {
                stamp,
                ..reader.local(slot, local.extents.clone(), print)
            };
            Taken {
                entry: entry.clone(),
                local,
                change: Change::None,
            }
        } else {
            let mut builder = SegmentBuilder::new(here);
            builder
                .append(reader.section(0, stamp.len), sink)
                .map_err(TakeError::from)?;
            let segment = builder.finish();
            let len = segment.len;
            let segments: Vec<Segment> = (len > 0).then_some(segment).into_iter().collect();
            let extents = segments
                .iter()
                .map(|s| Extent {
                    len: s.len,
                    verbatim: true,
                })
                .collect();
            let local = LocalFile {
                stamp,
                ..reader.local(slot, extents, print)
            };
            let entry = FileEntry {
                modified: stamp.modified(),
                ..reader.entry(slot, segments)
            };
            Taken {
                entry,
                local,
                change: Change::Content,
            }
        };
        let after = Stamp::of(&reader.file.metadata()?);
        if after == stamp && taken.local.print.len == stamp.len {
            return Ok(taken);
        }
        stamp = after;
    }
    Err(TakeError::Restless)
}
