//! Where redb's bytes go: a file of ours, or whatever a test hands in. Knows
//! nothing of tables.
//!
//! [`Backing`] counts the length so that it can be told without asking the
//! system. [`Overlay`] keeps every write in memory and leaves the file alone: it
//! is how a store is still read on a full disk, and how a damaged file is read
//! without touching it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Bound;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};

/// Opens the bytes of one store, as often as needed.
pub(crate) type Opener = Box<dyn Fn() -> io::Result<Box<dyn StorageBackend>> + Send + Sync>;

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

/// Reads through to the inner backend and keeps what is written to itself.
#[derive(Debug)]
pub(crate) struct Overlay {
    inner: Box<dyn StorageBackend>,
    inner_len: u64,
    kept: Mutex<Kept>,
}

#[derive(Debug)]
struct Kept {
    len: u64,
    /// Whole pages by number.
    pages: BTreeMap<u64, Box<[u8; PAGE]>>,
}

impl Overlay {
    /// Lays an empty sheet over `inner`.
    pub(crate) fn new(inner: Box<dyn StorageBackend>) -> io::Result<Self> {
        let inner_len = inner.len()?;
        let kept = Mutex::new(Kept {
            len: inner_len,
            pages: BTreeMap::new(),
        });
        Ok(Self {
            inner,
            inner_len,
            kept,
        })
    }

    /// A page as it is below the sheet; zeros beyond its end.
    fn below(&self, page: u64, out: &mut [u8; PAGE]) -> io::Result<()> {
        out.fill(0);
        let start = page * PAGE as u64;
        let there = usize::try_from(self.inner_len.saturating_sub(start))
            .unwrap_or(PAGE)
            .min(PAGE);
        match out.get_mut(..there) {
            Some(part) if !part.is_empty() => self.inner.read(start, part),
            _ => Ok(()),
        }
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Cuts a range into `(page, offset in page, length)`.
fn pieces(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    let mut at = offset;
    let mut left = len;
    std::iter::from_fn(move || {
        if left == 0 {
            return None;
        }
        let page = at / PAGE as u64;
        let inside = (at % PAGE as u64) as usize;
        let part = (PAGE - inside).min(left);
        at += part as u64;
        left -= part;
        Some((page, inside, part))
    })
}

impl StorageBackend for Overlay {
    forward_locks!();

    fn len(&self) -> io::Result<u64> {
        Ok(self.kept().len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let kept = self.kept();
        if offset.saturating_add(out.len() as u64) > kept.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut rest = out;
        for (page, inside, part) in pieces(offset, rest.len()) {
            let (here, after) = rest.split_at_mut(part);
            rest = after;
            let mut below = [0; PAGE];
            let content = match kept.pages.get(&page) {
                Some(content) => content.as_ref(),
                None => {
                    self.below(page, &mut below)?;
                    &below
                }
            };
            if let Some(from) = content.get(inside..inside + part) {
                here.copy_from_slice(from);
            }
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut kept = self.kept();
        if len < kept.len {
            // What is cut off must read as zeros if the file grows again.
            let first = len.div_ceil(PAGE as u64);
            let last = self.inner_len.max(kept.len).div_ceil(PAGE as u64);
            for page in first..last {
                kept.pages.insert(page, Box::new([0; PAGE]));
            }
        }
        kept.len = len;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut kept = self.kept();
        let mut rest = data;
        for (page, inside, part) in pieces(offset, data.len()) {
            let (here, after) = rest.split_at(part);
            rest = after;
            let content = match kept.pages.entry(page) {
                Entry::Occupied(kept) => kept.into_mut(),
                Entry::Vacant(free) => {
                    let mut below = Box::new([0; PAGE]);
                    self.below(page, &mut below)?;
                    free.insert(below)
                }
            };
            if let Some(target) = content.get_mut(inside..inside + part) {
                target.copy_from_slice(here);
            }
        }
        kept.len = kept.len.max(offset + data.len() as u64);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use redb::backends::InMemoryBackend;

    #[test]
    fn an_overlay_leaves_what_is_below_alone() {
        let below = InMemoryBackend::new();
        below.set_len(10_000).unwrap();
        below.write(0, &[7; 10_000]).unwrap();
        let sheet = Overlay::new(Box::new(below)).unwrap();
        sheet.write(4000, &[9; 200]).unwrap();
        sheet.set_len(20_000).unwrap();
        sheet.write(19_999, &[1]).unwrap();
        let mut out = vec![0; 20_000];
        sheet.read(0, &mut out).unwrap();
        assert!(out[..4000].iter().all(|b| *b == 7));
        assert!(out[4000..4200].iter().all(|b| *b == 9));
        assert!(out[4200..10_000].iter().all(|b| *b == 7));
        assert!(out[10_000..19_999].iter().all(|b| *b == 0));
        assert_eq!(out[19_999], 1);
        assert!(sheet.read(19_999, &mut [0; 2]).is_err());
        let mut out = vec![0; 10_000];
        sheet.inner.read(0, &mut out).unwrap();
        assert!(out.iter().all(|b| *b == 7));
    }

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
