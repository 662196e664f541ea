//! Files that are complete and durable, but not in their place yet: a hidden
//! directory beside `projects/`, on the same disk, that Claude Code does not
//! look into.
//!
//! Must not know where anything goes from here.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ccpeer_core::limits;
use ccpeer_core::manifest::FileEntry;
use ccpeer_core::time::Timestamp;

use super::PlaceError;
use super::blocks::{self, Block};
use super::incoming::{Incoming, Position};
use super::policy::Findings;
use super::standing::{Cut, fresh_extents};
use crate::confined::{ConfinedError, Root};
use crate::disk::{Disk, Out, Syncing};
use crate::local::{Extent, Print, Printer, section};

/// What the directory's name begins with.
const PREFIX: &str = ".ccpeer-staging-";
/// Bytes that are written at once.
const BUFFER: usize = 256 * 1024;

/// The directory of one placement.
pub(super) struct Staging<'w> {
    disk: Disk<'w>,
    path: PathBuf,
    /// Files that are written and may not be durable yet.
    syncing: RefCell<Syncing>,
}

/// A staged file.
#[derive(Debug, Clone)]
pub(super) struct Staged {
    /// Its name in the directory.
    pub(super) number: u32,
    pub(super) print: Print,
    pub(super) extents: Vec<Extent>,
}

impl<'w> Staging<'w> {
    /// Makes the directory of a placement.
    pub(super) fn make(disk: Disk<'w>, root: &Root, id: &str) -> Result<Self, PlaceError> {
        let path = root.make_dir(&disk, &[format!("{PREFIX}{id}")])?;
        Ok(Self::at(disk, path))
    }

    /// The directory of a placement that was under way.
    pub(super) fn of(disk: Disk<'w>, root: &Root, id: &str) -> Self {
        Self::at(disk, root.join(&[format!("{PREFIX}{id}")]))
    }

    fn at(disk: Disk<'w>, path: PathBuf) -> Self {
        Self {
            disk,
            path,
            syncing: RefCell::default(),
        }
    }

    /// The path of a staged file.
    pub(super) fn file(&self, number: u32) -> PathBuf {
        self.path.join(number.to_string())
    }

    /// Removes the directory with everything in it.
    pub(super) fn remove(&self) {
        // On some systems a file that is open cannot be removed.
        let _not_needed = self.syncing.borrow_mut().end();
        if let Err(e) = self.disk.remove_all(&self.path) {
            tracing::warn!(error = %e, "a staging directory is left behind until the next start");
        }
    }

    /// Makes what was staged durable, and the names in the directory.
    pub(super) fn sync(&self) -> Result<(), PlaceError> {
        let synced = self.syncing.borrow_mut().end();
        synced.map_err(|e| ConfinedError::io(&self.path, e))?;
        Ok(self.disk.sync_dir(&self.path)?)
    }

    /// Ends a file, which is durable after [`Staging::sync`].
    fn close(&self, mut writer: Writer<'w>, at: Option<SystemTime>) -> Result<Print, PlaceError> {
        let flushed = writer.out.flush();
        let dated = flushed.and_then(|()| {
            let file = &writer.out.get_ref().file;
            at.map_or(Ok(()), |at| file.set_modified(at))
        });
        dated.map_err(|e| writer.io(e))?;
        let io = |(file, e): (PathBuf, io::Error)| ConfinedError::io(&file, e);
        let (printed, _flushed) = writer.out.into_parts();
        let Printed { file, printer } = printed;
        self.syncing.borrow_mut().add(file).map_err(io)?;
        Ok(printer.finish())
    }

    /// Stages a log: what is kept of a local one, then the rest of the incoming.
    pub(super) fn log(
        &self,
        number: u32,
        incoming: &Incoming<'_>,
        entry: &FileEntry,
        kept: Option<(&File, &Cut)>,
        out: &mut Notes<'_>,
    ) -> Result<Staged, PlaceError> {
        let mut writer = self.writer(number)?;
        let mut extents = fresh_extents(entry);
        let mut from = Position::default();
        // Whether the last line is one that was never ended.
        let mut torn = false;
        if let Some((file, cut)) = kept {
            let mut head = section(file, 0, cut.keep);
            let copied = io::copy(&mut head, &mut writer).map_err(|e| writer.io(e))?;
            if copied != cut.keep {
                return Err(PlaceError::Changed);
            }
            let mut last = Vec::new();
            section(file, cut.keep.saturating_sub(1), cut.keep)
                .read_to_end(&mut last)
                .map_err(|e| writer.io(e))?;
            torn = last.last().is_some_and(|c| *c != b'\n');
            extents = cut.extents.clone();
            from = cut.at;
        }
        let mut take = |block: &Block, out: &mut Notes<'_>| {
            let Some(extent) = extents.get_mut(block.segment) else {
                return Ok(());
            };
            extent.verbatim &= block.verbatim;
            extent.len += block.bytes.len() as u64;
            writer.write_all(&block.bytes).map_err(|e| writer.io(e))?;
            if let Some(last) = block.bytes.last() {
                torn = *last != b'\n';
            }
            (out.progress)(block.read);
            Ok(())
        };
        blocks::formed(incoming, entry, from, out, &mut take)?;
        if let Some(closing) = out.closing {
            let end: &[u8] = if torn { b"\n" } else { b"" };
            writer
                .write_all(&[end, closing].concat())
                .map_err(|e| writer.io(e))?;
        }
        Ok(Staged {
            number,
            print: self.close(writer, out.time_of(entry))?,
            extents,
        })
    }

    /// Stages a file that is no log.
    pub(super) fn whole(
        &self,
        number: u32,
        incoming: &Incoming<'_>,
        entry: &FileEntry,
        out: &mut Notes<'_>,
    ) -> Result<Staged, PlaceError> {
        let mut writer = self.writer(number)?;
        let mut extents = fresh_extents(entry);
        incoming.copy(entry, out.findings, &mut |segment, bytes| {
            writer.write_all(bytes).map_err(|e| writer.io(e))?;
            if let Some(extent) = extents.get_mut(segment) {
                extent.len += bytes.len() as u64;
            }
            (out.progress)(bytes.len() as u64);
            Ok(())
        })?;
        for (extent, segment) in extents.iter_mut().zip(&entry.segments) {
            extent.verbatim = !entry.slot.is_rewritten() && extent.len == segment.len;
        }
        Ok(Staged {
            number,
            print: self.close(writer, out.time_of(entry))?,
            extents,
        })
    }

    /// Stages a file that the caller writes, with a time if it is to keep one.
    pub(super) fn written(
        &self,
        number: u32,
        at: Option<SystemTime>,
        fill: &mut dyn FnMut(&mut dyn Write) -> Result<(), PlaceError>,
    ) -> Result<Staged, PlaceError> {
        let mut writer = self.writer(number)?;
        fill(&mut writer)?;
        Ok(Staged {
            number,
            print: self.close(writer, at)?,
            extents: Vec::new(),
        })
    }

    fn writer(&self, number: u32) -> Result<Writer<'w>, PlaceError> {
        let file = self.disk.create(&self.file(number))?;
        Ok(Writer {
            out: BufWriter::with_capacity(BUFFER, Printed::new(file)),
        })
    }
}

/// What is told while a file is staged.
pub(super) struct Notes<'n> {
    pub(super) findings: &'n mut Findings,
    pub(super) progress: &'n mut dyn FnMut(u64),
    /// The lines that a log ends with.
    pub(super) closing: Option<&'n [u8]>,
    /// The clock, if files keep their times.
    pub(super) times_at: Option<Timestamp>,
}

impl Notes<'_> {
    /// The time that a file keeps. One from the future, or so old that Claude
    /// Code would soon delete the file, is not kept.
    fn time_of(&self, entry: &FileEntry) -> Option<SystemTime> {
        let age = self.times_at?.0.checked_sub(entry.modified.0)?;
        let kept = age < limits::PLACED_AGE_MS_MAX && entry.modified.0 > 0;
        kept.then(|| UNIX_EPOCH + Duration::from_millis(entry.modified.0))
    }
}

/// Removes what is left of placements that are not under way.
pub(super) fn remove_all(disk: Disk<'_>, root: &Root) {
    for name in root.list(&[], usize::MAX).unwrap_or_default() {
        if name.starts_with(PREFIX) {
            Staging::at(disk, root.join(&[name])).remove();
        }
    }
}

struct Writer<'w> {
    out: BufWriter<Printed<'w>>,
}

impl Writer<'_> {
    fn io(&self, e: io::Error) -> PlaceError {
        ConfinedError::io(self.out.get_ref().file.path(), e).into()
    }
}

impl Write for Writer<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// A file, and the print of what was written to it. Below the buffer, because many
/// small pieces are hashed more slowly than a few large ones.
struct Printed<'w> {
    file: Out<'w>,
    printer: Printer,
}

impl<'w> Printed<'w> {
    fn new(file: Out<'w>) -> Self {
        Self {
            file,
            printer: Printer::default(),
        }
    }
}

impl Write for Printed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.printer
            .write_all(bytes.get(..written).unwrap_or_default())?;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
