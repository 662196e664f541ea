//! Where redb's bytes go: a file of ours, or whatever a test hands in. Knows
//! nothing of tables.
//!
//! A [`Volume`] is the place where a store lies, with room for its successor.
//! [`Backing`] counts the length so that it can be told without asking the
//! system.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};

mod overlay;
pub(crate) use overlay::Overlay;

/// Where the bytes of one store lie. [`crate::Store::compact`] writes them anew
/// beside the store and then puts them in its place.
pub trait Volume: Send + Sync {
    /// Opens the store's bytes, or makes room for them.
    ///
    /// # Errors
    /// Those of the system.
    fn open(&self) -> io::Result<Box<dyn StorageBackend>>;

    /// Opens an empty place beside the store.
    ///
    /// # Errors
    /// Those of the system; `Unsupported` where there is no such place.
    fn open_beside(&self) -> io::Result<Box<dyn StorageBackend>>;

    /// Lets what lies beside the store take its place, at once and durably.
    /// Neither is open, and the content of both is durable.
    ///
    /// # Errors
    /// Those of the system. The store is then what it was, or what lay beside it.
    fn adopt(&self) -> io::Result<()>;

    /// Removes what lies beside the store, if there is anything.
    ///
    /// # Errors
    /// Those of the system.
    fn discard(&self) -> io::Result<()>;
}

/// A place that can be opened and nothing else.
pub(crate) struct OpenOnly<F>(pub(crate) F);

impl<F> Volume for OpenOnly<F>
where
    F: Fn() -> io::Result<Box<dyn StorageBackend>> + Send + Sync,
{
    fn open(&self) -> io::Result<Box<dyn StorageBackend>> {
        (self.0)()
    }

    fn open_beside(&self) -> io::Result<Box<dyn StorageBackend>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn adopt(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn discard(&self) -> io::Result<()> {
        Ok(())
    }
}

/// A file, and beside it one that has `.new` at the end of its name.
pub(crate) struct FileVolume {
    path: PathBuf,
}

impl FileVolume {
    pub(crate) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
        }
    }

    fn beside(&self) -> PathBuf {
        let mut name = OsString::from(&self.path);
        name.push(".new");
        name.into()
    }
}

impl Volume for FileVolume {
    fn open(&self) -> io::Result<Box<dyn StorageBackend>> {
        open_file(&self.path)
    }

    fn open_beside(&self) -> io::Result<Box<dyn StorageBackend>> {
        self.discard()?;
        open_file(&self.beside())
    }

    fn adopt(&self) -> io::Result<()> {
        std::fs::rename(self.beside(), &self.path)?;
        sync_directory_of(&self.path)
    }

    fn discard(&self) -> io::Result<()> {
        match std::fs::remove_file(self.beside()) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }
}

/// A file of our own: readable by its owner alone, whatever the umask says.
pub(crate) fn open_file(path: &Path) -> io::Result<Box<dyn StorageBackend>> {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    let file = match options.open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => create_file(path, &options)?,
        Err(e) => return Err(e),
    };
    restrict(&file)?;
    boxed(file)
}

fn create_file(path: &Path, options: &OpenOptions) -> io::Result<File> {
    let mut options = options.clone();
    options.create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    // The name must survive a power cut as well as the content will.
    sync_directory_of(path)?;
    Ok(file)
}

/// Opens for reading only, for [`Overlay`]. Without locks: a file that is not
/// open for writing cannot be locked against writers.
pub(crate) fn open_file_to_read(path: &Path) -> io::Result<Box<dyn StorageBackend>> {
    Ok(Box::new(Unlocked(boxed(File::open(path)?)?)))
}

/// A backend of which only the bytes are used.
#[derive(Debug)]
struct Unlocked(Box<dyn StorageBackend>);

impl StorageBackend for Unlocked {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }
}

fn boxed(file: File) -> io::Result<Box<dyn StorageBackend>> {
    let backend = FileBackend::new(file).map_err(|e| io::Error::other(e.to_string()))?;
    Ok(Box::new(backend))
}

#[cfg(unix)]
fn restrict(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    if file.metadata()?.permissions().mode() & 0o777 == 0o600 {
        return Ok(());
    }
    file.set_permissions(PermissionsExt::from_mode(0o600))
}

#[cfg(not(unix))]
fn restrict(_: &File) -> io::Result<()> {
    // The home directory's access list, set by the agent, is inherited.
    Ok(())
}

/// Makes a created or renamed name durable.
#[cfg(unix)]
pub(crate) fn sync_directory_of(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

/// Makes a created or renamed name durable.
#[cfg(not(unix))]
pub(crate) fn sync_directory_of(_: &Path) -> io::Result<()> {
    // Directories cannot be opened there; the system journals names by itself.
    Ok(())
}

/// Whether this is a store whose creation was cut off: redb writes its first
/// nine bytes last, so nothing was ever committed to such a file.
pub(crate) fn is_stillborn(backend: &dyn StorageBackend) -> io::Result<bool> {
    const MAGIC: &[u8; 9] = b"redb\x1A\x0A\xA9\x0D\x0A";
    /// redb begins with a little more than 1 MiB.
    const LEN_MAX: u64 = 8 * 1024 * 1024;
    let len = backend.len()?;
    if len > LEN_MAX {
        return Ok(false);
    }
    let mut page = [0; PAGE];
    let first = usize::try_from(len).unwrap_or(PAGE).min(PAGE);
    let Some(head) = page.get_mut(..first) else {
        return Ok(false);
    };
    backend.read(0, head)?;
    let head = head.iter().zip(MAGIC);
    if first >= MAGIC.len() && head.clone().all(|(a, b)| a == b) {
        return Ok(false);
    }
    if head.clone().any(|(a, b)| *a != 0 && *a != *b) {
        return Ok(false);
    }
    let mut at = PAGE as u64;
    while at < len {
        let part = usize::try_from(len - at).unwrap_or(PAGE).min(PAGE);
        let Some(buffer) = page.get_mut(..part) else {
            break;
        };
        backend.read(at, buffer)?;
        if buffer.iter().any(|b| *b != 0) {
            return Ok(false);
        }
        at += part as u64;
    }
    Ok(true)
}

const PAGE: usize = 4096;

/// The bytes behind an open database.
#[derive(Debug)]
pub(crate) struct Backing {
    inner: Box<dyn StorageBackend>,
    len: Arc<AtomicU64>,
}

impl Backing {
    /// Takes over `inner` and keeps its length in `len`.
    pub(crate) fn new(inner: Box<dyn StorageBackend>, len: Arc<AtomicU64>) -> Self {
        Self { inner, len }
    }
}

/// The locks of a backend that wraps another are the inner one's.
macro_rules! forward_locks {
    () => {
        fn close(&self) -> io::Result<()> {
            self.inner.close()
        }
        fn try_lock_range(&self, a: Bound<u64>, b: Bound<u64>) -> Result<bool, BackendError> {
            self.inner.try_lock_range(a, b)
        }
        fn try_lock_shared_range(
            &self,
            a: Bound<u64>,
            b: Bound<u64>,
        ) -> Result<bool, BackendError> {
            self.inner.try_lock_shared_range(a, b)
        }
        fn lock_range(&self, a: Bound<u64>, b: Bound<u64>) -> Result<(), BackendError> {
            self.inner.lock_range(a, b)
        }
        fn lock_shared_range(&self, a: Bound<u64>, b: Bound<u64>) -> Result<(), BackendError> {
            self.inner.lock_shared_range(a, b)
        }
        fn unlock_range(&self, a: Bound<u64>, b: Bound<u64>) -> Result<(), BackendError> {
            self.inner.unlock_range(a, b)
        }
        fn query_lock_range(&self, a: Bound<u64>, b: Bound<u64>) -> Result<bool, BackendError> {
            self.inner.query_lock_range(a, b)
        }
    };
}
use forward_locks;

impl StorageBackend for Backing {
    forward_locks!();

    fn len(&self) -> io::Result<u64> {
        let len = self.inner.len()?;
        self.len.store(len, Ordering::Relaxed);
        Ok(len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.inner.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)?;
        self.len.store(len, Ordering::Relaxed);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.inner.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.inner.write(offset, data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use redb::backends::InMemoryBackend;

    #[test]
    fn only_a_store_that_never_lived_is_stillborn() {
        let check = |head: &[u8], body: u8, len: u64| {
            let backend = InMemoryBackend::new();
            backend.set_len(len).unwrap();
            backend.write(0, head).unwrap();
            backend.write(len - 1, &[body]).unwrap();
            is_stillborn(&backend).unwrap()
        };
        assert!(check(b"", 0, 1 << 20));
        assert!(check(b"red", 0, 1 << 20));
        assert!(!check(b"red", 1, 1 << 20));
        assert!(!check(b"my notes", 0, 1 << 20));
        assert!(check(b"", 0, 100));
        assert!(!check(b"x", 0, 100));
        assert!(!check(b"redb\x1A\x0A\xA9\x0D\x0A", 0, 1 << 20));
    }
}
