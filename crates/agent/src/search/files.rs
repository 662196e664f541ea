//! The files of the index, by plain reads and writes.
//!
//! Nothing is mapped: what somebody cuts short while it is open is an error for
//! whoever reads on, and not the end of the process. Must not know what is in them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tantivy::HasLen;
use tantivy::directory::error::{DeleteError, LockError, OpenReadError, OpenWriteError};
use tantivy::directory::{
    AntiCallToken, Directory, DirectoryLock, FileHandle, Lock, OwnedBytes, TerminatingWrite,
    WatchCallback, WatchHandle, WritePtr,
};

/// A small file that is read whole is not longer than this.
const SMALL_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// How a file is called before it takes the place of another.
const NEXT: &str = ".next";

/// A directory with an index in it, readable by its owner alone.
#[derive(Debug, Clone)]
pub(super) struct Files {
    dir: PathBuf,
}

impl Files {
    /// Of a directory that is there.
    pub(super) fn at(dir: &Path) -> Self {
        Self {
            dir: dir.to_path_buf(),
        }
    }

    /// The library names files, never directories.
    fn path(&self, name: &Path) -> PathBuf {
        self.dir.join(name.file_name().unwrap_or(name.as_os_str()))
    }
}

fn to_write(path: &Path, new: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).create_new(new);
    if !new {
        options.truncate(false);
    }
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

impl Directory for Files {
    fn get_file_handle(&self, path: &Path) -> Result<Arc<dyn FileHandle>, OpenReadError> {
        let opened = File::open(self.path(path)).and_then(Opened::new);
        opened
            .map(|file| Arc::new(file) as Arc<dyn FileHandle>)
            .map_err(|e| unread(e, path))
    }

    fn delete(&self, path: &Path) -> Result<(), DeleteError> {
        fs::remove_file(self.path(path)).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => DeleteError::FileDoesNotExist(path.to_path_buf()),
            _ => DeleteError::IoError {
                io_error: Arc::new(e),
                filepath: path.to_path_buf(),
            },
        })
    }

    fn exists(&self, path: &Path) -> Result<bool, OpenReadError> {
        self.path(path).try_exists().map_err(|e| unread(e, path))
    }

    fn open_write(&self, path: &Path) -> Result<WritePtr, OpenWriteError> {
        let file = to_write(&self.path(path), true).map_err(|e| match e.kind() {
            io::ErrorKind::AlreadyExists => OpenWriteError::FileAlreadyExists(path.to_path_buf()),
            _ => OpenWriteError::wrap_io_error(e, path.to_path_buf()),
        })?;
        Ok(BufWriter::new(Box::new(Written(file))))
    }

    fn atomic_read(&self, path: &Path) -> Result<Vec<u8>, OpenReadError> {
        let mut bytes = Vec::new();
        File::open(self.path(path))
            .and_then(|file| file.take(SMALL_BYTES_MAX).read_to_end(&mut bytes))
            .map_err(|e| unread(e, path))?;
        Ok(bytes)
    }

    fn atomic_write(&self, path: &Path, data: &[u8]) -> io::Result<()> {
        let path = self.path(path);
        let mut next = path.clone().into_os_string();
        next.push(NEXT);
        let mut file = to_write(next.as_ref(), false)?;
        file.set_len(0)?;
        file.write_all(data)?;
        file.sync_data()?;
        fs::rename(next, path)
    }

    fn sync_directory(&self) -> io::Result<()> {
        #[cfg(unix)]
        File::open(&self.dir)?.sync_data()?;
        Ok(())
    }

    /// Of the system, which lets go of it with the process.
    fn acquire_lock(&self, lock: &Lock) -> Result<DirectoryLock, LockError> {
        let file = to_write(&self.path(&lock.filepath), false).map_err(LockError::wrap_io_error)?;
        if lock.is_blocking {
            file.lock().map_err(LockError::wrap_io_error)?;
        } else {
            file.try_lock().map_err(|e| match e {
                fs::TryLockError::WouldBlock => LockError::LockBusy,
                fs::TryLockError::Error(e) => LockError::wrap_io_error(e),
            })?;
        }
        Ok(DirectoryLock::from(Box::new(file)))
    }

    /// Whoever searches looks when it searches.
    fn watch(&self, _: WatchCallback) -> tantivy::Result<WatchHandle> {
        Ok(WatchHandle::empty())
    }
}

fn unread(e: io::Error, path: &Path) -> OpenReadError {
    match e.kind() {
        io::ErrorKind::NotFound => OpenReadError::FileDoesNotExist(path.to_path_buf()),
        _ => OpenReadError::wrap_io_error(e, path.to_path_buf()),
    }
}

/// A file that is read in pieces.
#[derive(Debug)]
struct Opened {
    file: File,
    len: usize,
}

impl Opened {
    fn new(file: File) -> io::Result<Self> {
        let len = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
        Ok(Self { file, len })
    }
}

impl HasLen for Opened {
    fn len(&self) -> usize {
        self.len
    }
}

impl FileHandle for Opened {
    fn read_bytes(&self, range: Range<usize>) -> io::Result<OwnedBytes> {
        if range.start > range.end || range.end > self.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut bytes = vec![0; range.len()];
        read_at(&self.file, &mut bytes, range.start as u64)?;
        Ok(OwnedBytes::new(bytes))
    }
}

#[cfg(unix)]
fn read_at(file: &File, bytes: &mut [u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, at)
}

#[cfg(windows)]
fn read_at(file: &File, mut bytes: &mut [u8], mut at: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let n = std::os::windows::fs::FileExt::seek_read(file, bytes, at)?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes = bytes.get_mut(n..).unwrap_or_default();
        at += n as u64;
    }
    Ok(())
}

/// A file that is written from its beginning to its end.
struct Written(File);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl TerminatingWrite for Written {
    fn terminate_ref(&mut self, _: AntiCallToken) -> io::Result<()> {
        self.0.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tantivy::directory::INDEX_WRITER_LOCK;

    #[test]
    fn what_is_cut_short_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::at(dir.path());
        let mut out = files.open_write(Path::new("a")).unwrap();
        out.write_all(&[7; 1000]).unwrap();
        out.terminate().unwrap();
        assert!(files.open_write(Path::new("a")).is_err());
        let handle = files.get_file_handle(Path::new("a")).unwrap();
        assert_eq!(handle.read_bytes(10..20).unwrap().as_slice(), [7; 10]);
        assert!(handle.read_bytes(990..1001).is_err());
        OpenOptions::new()
            .write(true)
            .open(dir.path().join("a"))
            .unwrap()
            .set_len(5)
            .unwrap();
        assert!(handle.read_bytes(10..20).is_err());
        files.delete(Path::new("a")).unwrap();
        assert!(matches!(
            files.delete(Path::new("a")),
            Err(DeleteError::FileDoesNotExist(_))
        ));
    }

    #[test]
    fn one_writer_at_a_time_and_none_after_it_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::at(dir.path());
        let held = files.acquire_lock(&INDEX_WRITER_LOCK).unwrap();
        assert!(files.acquire_lock(&INDEX_WRITER_LOCK).is_err());
        drop(held);
        files.acquire_lock(&INDEX_WRITER_LOCK).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_reads_it() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let files = Files::at(dir.path());
        files.atomic_write(Path::new("meta.json"), b"{}").unwrap();
        files.atomic_write(Path::new("meta.json"), b"[1]").unwrap();
        assert_eq!(files.atomic_read(Path::new("meta.json")).unwrap(), b"[1]");
        let mode = fs::metadata(dir.path().join("meta.json")).unwrap();
        assert_eq!(mode.permissions().mode() & 0o777, 0o600);
    }
}
