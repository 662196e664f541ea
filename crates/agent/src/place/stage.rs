//! Files that are complete and durable, but not in their place yet: a hidden
//! directory beside `projects/`, on the same disk, that Claude Code does not
//! look into.
//!
//! Must not know where anything goes from here.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ccpeer_core::limits;
use ccpeer_core::manifest::FileEntry;
use ccpeer_core::time::Timestamp;
use ccpeer_formats::claude::transcript::Digest;

use super::PlaceError;
use super::blocks::{self, Block};
use super::incoming::{Incoming, Position};
use super::policy::Findings;
use super::standing::{Cut, fresh_extents};
use crate::confined::{ConfinedError, Root};
use crate::disk::{Disk, Out};
use crate::local::{Extent, Print, Printer, section};

/// What the directory's name begins with.
const PREFIX: &str = ".ccpeer-staging-";
/// Bytes that are written at once.
const BUFFER: usize = 256 * 1024;

/// The directory of one placement.
pub(super) struct Staging<'w> {
    disk: Disk<'w>,
    path: PathBuf,
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
        Ok(Self { disk, path })
    }

    /// The directory of a placement that was under way.
    pub(super) fn of(disk: Disk<'w>, root: &Root, id: &str) -> Self {
        Self {
            disk,
            path: root.join(&[format!("{PREFIX}{id}")]),
        }
    }

    /// The path of a staged file.
    pub(super) fn file(&self, number: u32) -> PathBuf {
        self.path.join(number.to_string())
    }

    /// Removes the directory with everything in it.
    pub(super) fn remove(&self) {
        if let Err(e) = self.disk.remove_all(&self.path) {
            tracing::warn!(error = %e, "a staging directory is left behind until the next start");
        }
    }

    /// Makes the names in it durable.
    pub(super) fn sync(&self) -> Result<(), PlaceError> {
        Ok(self.disk.sync_dir(&self.path)?)
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
        let mut digest = out.closing.map(|closing| (Digest::default(), closing));
        if let Some((file, cut)) = kept {
            let mut head = section(file, 0, cut.keep);
            let copied = io::copy(&mut head, &mut writer).map_err(|e| writer.io(e))?;
            if copied != cut.keep {
                return Err(PlaceError::Changed);
            }
            if let Some((digest, _)) = &mut digest {
                let mut head = section(file, 0, cut.keep);
                let mut buffer = vec![0; BUFFER];
                loop {
                    match head.read(&mut buffer).map_err(|e| writer.io(e))? {
                        0 => break,
                        n => digest.feed(buffer.get(..n).unwrap_or_default()),
                    }
                }
            }
            extents = cut.extents.clone();
            from = cut.at;
        }
        let mut take = |block: Block, out: &mut Notes<'_>| {
            let Some(extent) = extents.get_mut(block.segment) else {
                return Ok(());
            };
            extent.verbatim &= block.verbatim;
            extent.len += block.bytes.len() as u64;
            writer.write_all(&block.bytes).map_err(|e| writer.io(e))?;
            if let Some((digest, _)) = &mut digest {
                digest.feed(&block.bytes);
            }
            (out.progress)(block.read);
            Ok(())
        };
        blocks::formed(incoming, entry, from, out, &mut take)?;
        if let Some((digest, closing)) = digest {
            writer
                .write_all(&closing(&digest))
                .map_err(|e| writer.io(e))?;
        }
        Ok(Staged {
            number,
            print: writer.close(out.time_of(entry))?,
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
            print: writer.close(out.time_of(entry))?,
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
            print: writer.close(at)?,
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

/// What is added at the end of a log, from what the log says.
pub(super) type Closing<'c> = dyn Fn(&Digest) -> Vec<u8> + 'c;

/// What is told while a file is staged.
pub(super) struct Notes<'n> {
    pub(super) findings: &'n mut Findings,
    pub(super) progress: &'n mut dyn FnMut(u64),
    /// What a log ends with.
    pub(super) closing: Option<&'n Closing<'n>>,
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
            Staging {
                disk,
                path: root.join(&[name]),
            }
            .remove();
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

    fn close(mut self, at: Option<SystemTime>) -> Result<Print, PlaceError> {
        let flushed = self.out.flush();
        let file = &self.out.get_ref().file;
        let synced = flushed
            .and_then(|()| at.map_or(Ok(()), |at| file.set_modified(at)))
            .and_then(|()| file.sync());
        synced.map_err(|e| self.io(e))?;
        Ok(self.out.get_mut().print())
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

    /// The print of all that was written; the next one begins anew.
    fn print(&mut self) -> Print {
        std::mem::take(&mut self.printer).finish()
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
