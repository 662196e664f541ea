//! The steps by which files of ours come to be: each is one operation that a
//! crash comes before or after, and that can fail.
//!
//! Whoever watches is told of every step before and after it is taken, and may
//! let it fail; tests record them, build what a crash would have left, and fail
//! each in turn. Must not know what a file means, nor where files may lie.

mod behind;
mod syncing;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use ccpeer_store::{NoteWrite, Store, StoreError};

use crate::confined::ConfinedError;
use behind::Behind;

pub(crate) use syncing::Syncing;

/// A way to change files.
#[derive(Clone, Copy, Default)]
pub(crate) struct Disk<'w> {
    watch: Option<&'w dyn Watch>,
}

/// One step.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(not(test), expect(dead_code, reason = "only who watches reads it"))]
pub(crate) enum Step<'o> {
    /// A directory comes to be.
    MakeDir(&'o Path),
    /// An empty file comes to be.
    Create(&'o Path),
    /// Bytes are added at the end of the file that was created so.
    Write(&'o Path, &'o [u8]),
    /// The file that is being written gets another time.
    SetModified,
    /// A file's content becomes durable.
    SyncFile(&'o Path),
    /// The names in a directory become durable.
    SyncDir(&'o Path),
    /// A file gets a second name.
    Link(&'o Path, &'o Path),
    /// A file gets another name, and whatever had it is gone.
    Rename(&'o Path, &'o Path),
    /// A name is gone.
    RemoveFile(&'o Path),
    /// An empty directory is gone.
    RemoveDir(&'o Path),
    /// Notes are written, durable when the step is over.
    Notes(&'o [NoteWrite]),
}

/// Somebody who is told of every step.
pub(crate) trait Watch {
    /// Told before a step; an error stands for the step's own failure.
    fn before(&self, _step: &Step<'_>) -> io::Result<()> {
        Ok(())
    }

    /// Told after a step that was taken.
    fn after(&self, _step: &Step<'_>) {}

    /// How many bytes of a write are taken at once.
    fn room(&self, len: usize) -> usize {
        len
    }

    /// Whether syncs reach the disk; not where a watcher keeps the books.
    fn syncs(&self) -> bool {
        true
    }

    /// Whether to stop at a named point as if the process had been killed.
    fn stops_at(&self, _point: &'static str) -> bool {
        false
    }
}

/// A watcher said so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stopped;

/// A new file that is being written.
pub(crate) struct Out<'w> {
    disk: Disk<'w>,
    path: PathBuf,
    file: File,
    behind: Behind,
}

impl<'w> Disk<'w> {
    /// Told of every step.
    #[cfg(test)]
    pub(crate) fn watched(watch: &'w dyn Watch) -> Self {
        Self { watch: Some(watch) }
    }

    /// A point between steps that has a name.
    ///
    /// # Errors
    /// When a watcher says so; nobody watches outside of tests.
    pub(crate) fn pass(&self, point: &'static str) -> Result<(), Stopped> {
        match self.watch {
            Some(watch) if watch.stops_at(point) => Err(Stopped),
            _ => Ok(()),
        }
    }

    /// Makes a directory that only its owner may enter.
    ///
    /// # Errors
    /// `AlreadyExists` where anything is, or what the system says.
    pub(crate) fn make_dir(&self, path: &Path) -> io::Result<()> {
        self.step(&Step::MakeDir(path), || private_dir().create(path))
    }

    /// Makes a directory and those above it, private and durable.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn make_dirs(&self, path: &Path) -> Result<(), ConfinedError> {
        let missing: Vec<&Path> = path.ancestors().take_while(|p| !p.is_dir()).collect();
        for dir in missing.into_iter().rev() {
            match self.make_dir(dir) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => {}
                other => other.map_err(|e| ConfinedError::io(dir, e))?,
            }
            if let Some(parent) = dir.parent() {
                self.sync_dir(parent)?;
            }
        }
        Ok(())
    }

    /// Makes a new file that only its owner may read; what is there already
    /// stays.
    ///
    /// # Errors
    /// When something is there, or the system refuses.
    pub(crate) fn create(&self, path: &Path) -> Result<Out<'w>, ConfinedError> {
        let file = self
            .step(&Step::Create(path), || new_private(path))
            .map_err(|e| ConfinedError::io(path, e))?;
        Ok(Out {
            disk: *self,
            path: path.to_owned(),
            file,
            behind: Behind::default(),
        })
    }

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn sync_dir(&self, path: &Path) -> Result<(), ConfinedError> {
        self.step(&Step::SyncDir(path), || match self.syncs() {
            true => sync_dir(path),
            false => Ok(()),
        })
        .map_err(|e| ConfinedError::io(path, e))
    }

    /// Gives a file a second name.
    ///
    /// # Errors
    /// `AlreadyExists` where anything is; where the disk knows no links; or what
    /// the system says.
    pub(crate) fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step(&Step::Link(from, to), || fs::hard_link(from, to))
    }

    /// Gives a file a name that another one may have.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn rename(&self, from: &Path, to: &Path) -> Result<(), ConfinedError> {
        self.step(&Step::Rename(from, to), || fs::rename(from, to))
            .map_err(|e| ConfinedError::io(to, e))
    }

    /// Gives a file a name, if nothing has that name.
    ///
    /// # Errors
    /// `AlreadyExists` inside [`ConfinedError::Io`] when something has.
    pub(crate) fn rename_new(&self, from: &Path, to: &Path) -> Result<(), ConfinedError> {
        // A link fails where something is; a rename would replace it.
        match self.link(from, to) {
            Ok(()) => self.remove_file(from),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Err(ConfinedError::io(to, e)),
            // No links on this disk: the next best.
            Err(_) => match fs::symlink_metadata(to) {
                Ok(_) => Err(ConfinedError::io(to, io::ErrorKind::AlreadyExists.into())),
                Err(_) => self.rename(from, to),
            },
        }
    }

    /// Removes a name.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn remove_file(&self, path: &Path) -> Result<(), ConfinedError> {
        self.step(&Step::RemoveFile(path), || fs::remove_file(path))
            .map_err(|e| ConfinedError::io(path, e))
    }

    /// Removes a directory in which nothing is.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.step(&Step::RemoveDir(path), || fs::remove_dir(path))
    }

    /// Removes a directory of files; one that is not there is gone already.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn remove_all(&self, path: &Path) -> Result<(), ConfinedError> {
        let io = |e| ConfinedError::io(path, e);
        let entries = match fs::read_dir(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(io)?,
        };
        for entry in entries {
            self.remove_file(&entry.map_err(io)?.path())?;
        }
        self.remove_dir(path).map_err(io)
    }

    /// Writes notes; they are durable when this returns.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) fn put_notes(&self, store: &Store, notes: &[NoteWrite]) -> Result<(), StoreError> {
        if let Some(watch) = self.watch {
            watch
                .before(&Step::Notes(notes))
                .map_err(|e| StoreError::Io {
                    doing: "write",
                    kind: e.kind(),
                    message: e.to_string(),
                })?;
        }
        store.put_notes(notes)?;
        if let Some(watch) = self.watch {
            watch.after(&Step::Notes(notes));
        }
        Ok(())
    }

    fn syncs(&self) -> bool {
        self.watch.is_none_or(Watch::syncs)
    }

    fn step<T>(&self, step: &Step<'_>, take: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let Some(watch) = self.watch else {
            return take();
        };
        watch.before(step)?;
        let taken = take()?;
        watch.after(step);
        Ok(taken)
    }
}

impl Out<'_> {
    /// Gives the file a time, as one that it was copied from.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn set_modified(&self, at: SystemTime) -> io::Result<()> {
        self.disk
            .step(&Step::SetModified, || self.file.set_modified(at))
    }

    /// Makes the content durable.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        let (disk, file, behind) = (self.disk, &self.file, &mut self.behind);
        disk.step(&Step::SyncFile(&self.path), || match disk.syncs() {
            // What the disk refused before, it does not say again.
            true => behind.end().and_then(|()| file.sync_all()),
            false => Ok(()),
        })
    }

    /// What is written, and where.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Write for Out<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.disk.watch.map_or(bytes.len(), |w| w.room(bytes.len()));
        let bytes = bytes.get(..room).unwrap_or(bytes);
        let (disk, path, file) = (self.disk, &self.path, &mut self.file);
        disk.step(&Step::Write(path, bytes), || file.write_all(bytes))?;
        if disk.syncs() {
            self.behind.wrote(file, bytes.len());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Writes a file that only its owner may read, so that it is there whole, and
/// durable, or as it was before. `beside` is a name in the same directory that
/// nobody else uses.
///
/// # Errors
/// What the system says.
pub(crate) fn write_private(path: &Path, beside: &Path, bytes: &[u8]) -> io::Result<()> {
    let written = write_new(beside, bytes).and_then(|()| fs::rename(beside, path));
    if let Err(e) = written {
        let _not_there = fs::remove_file(beside);
        return Err(e);
    }
    path.parent().map_or(Ok(()), sync_dir)
}

/// Writes a new file that only its owner may read, and makes its content
/// durable.
///
/// # Errors
/// `AlreadyExists`, or what the system says.
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = new_private(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// A new file that only its owner may read.
///
/// # Errors
/// `AlreadyExists`, or what the system says.
pub(crate) fn new_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).read(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Makes the names in a directory durable, where the system can.
///
/// # Errors
/// What the system says.
pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    if cfg!(unix) {
        File::open(path)?.sync_all()
    } else {
        Ok(())
    }
}

fn private_dir() -> fs::DirBuilder {
    #[cfg_attr(not(unix), expect(unused_mut, reason = "there are no modes"))]
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_name_never_replaces() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        fs::write(&a, "a").unwrap();
        fs::write(&b, "b").unwrap();
        let disk = Disk::default();
        assert!(disk.rename_new(&a, &b).is_err());
        assert_eq!(fs::read(&b).unwrap(), b"b");
        disk.rename_new(&a, &dir.path().join("c")).unwrap();
        assert!(!a.exists());
    }

    #[test]
    fn a_private_file_is_whole_or_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let (path, beside) = (dir.path().join("key"), dir.path().join("key.new"));
        write_private(&path, &beside, b"one").unwrap();
        write_private(&path, &beside, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert!(!beside.exists());
        fs::create_dir(dir.path().join("full")).unwrap();
        fs::write(dir.path().join("full/x"), "x").unwrap();
        assert!(write_private(&dir.path().join("full"), &beside, b"three").is_err());
        assert!(!beside.exists(), "nothing is left of a failure");
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        }
    }
}
