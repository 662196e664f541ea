//! Exchanging the content of somebody else's file without losing what they
//! write meanwhile. Must not know what is in it.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use crate::disk;

/// Links that are followed from the name to the file.
const LINKS_MAX: usize = 16;

/// A file as it was found.
pub(super) struct Current {
    /// Where it is, links followed. Its name is no link.
    pub(super) target: PathBuf,
    /// Its content; `None` if there is no file.
    pub(super) bytes: Option<Vec<u8>>,
    /// Its owner does not want it written.
    pub(super) read_only: bool,
    meta: Option<fs::Metadata>,
}

/// Whether a file was exchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Swap {
    /// It was.
    Done,
    /// Somebody else wrote it in between; what they wrote is in place.
    Changed,
}

/// Reads a file of at most `bytes_max` bytes.
///
/// # Errors
/// [`io::ErrorKind::InvalidInput`] for what is not a file,
/// [`io::ErrorKind::FileTooLarge`], and what the system says.
pub(super) fn read(path: &Path, bytes_max: usize) -> io::Result<Current> {
    let target = follow(path)?;
    let meta = match fs::symlink_metadata(&target) {
        Ok(meta) => meta,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return Ok(Current {
                target,
                bytes: None,
                read_only: false,
                meta: None,
            });
        }
        Err(e) => return Err(e),
    };
    // Asked before it is opened: opening a pipe would wait for its writer.
    if !meta.is_file() {
        return Err(invalid("not a regular file"));
    }
    let mut bytes = Vec::new();
    fs::File::open(&target)?
        .take(bytes_max as u64 + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() > bytes_max {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("larger than {bytes_max} bytes"),
        ));
    }
    Ok(Current {
        target,
        bytes: Some(bytes),
        read_only: meta.permissions().readonly(),
        meta: Some(meta),
    })
}

/// Gives the file new content, or takes it away, if it still is as it was
/// found. The name goes from the old to the new content in one step. With
/// `hasty` the new content is made durable only afterwards.
///
/// # Errors
/// What the system says; then nothing was changed.
pub(super) fn replace(current: &Current, new: Option<&[u8]>, hasty: bool) -> io::Result<Swap> {
    let dir = current
        .target
        .parent()
        .ok_or_else(|| invalid("no directory"))?;
    let beside = beside(&current.target)?;
    let swapped = match (&current.bytes, new) {
        (None, None) => Ok(Swap::Done),
        (None, Some(new)) => {
            write_new(&beside, new, hasty).and_then(|()| appear(&beside, &current.target))
        }
        (Some(old), Some(new)) => write_new(&beside, new, hasty)
            .and_then(|()| like(&beside, current.meta.as_ref()))
            .and_then(|()| exchange(&beside, &current.target, old, new)),
        (Some(old), None) => vanish(&beside, &current.target, old),
    };
    let _ = fs::remove_file(&beside);
    if swapped.as_ref().is_ok_and(|s| *s == Swap::Done) {
        if hasty && new.is_some() {
            // Whoever has replaced it meanwhile has taken over.
            fs::File::open(&current.target).and_then(|file| file.sync_all())?;
        }
        disk::sync_dir(dir)?;
    }
    swapped
}

/// Writes a file that only its owner may read, in one step.
///
/// # Errors
/// What the system says.
pub(super) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    disk::write_private(path, &beside(path)?, bytes)
}

/// The file that a name leads to. A link may lead to a file that is not there
/// yet.
fn follow(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        match fs::read_link(&path) {
            // A relative link is read from the directory that it is in.
            Ok(to) => path = path.parent().unwrap_or(Path::new("")).join(to),
            Err(_) => return Ok(path),
        }
    }
    Err(invalid("too many links"))
}

/// The first content of a name; never over another one's.
fn appear(new: &Path, target: &Path) -> io::Result<Swap> {
    match fs::hard_link(new, target) {
        Ok(()) => Ok(Swap::Done),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(Swap::Changed),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Err(e),
        // A file system without hard links.
        Err(_) if fs::symlink_metadata(target).is_ok() => Ok(Swap::Changed),
        Err(_) => fs::rename(new, target).map(|()| Swap::Done),
    }
}

/// Swaps the two names, then looks what it was that was swapped out. If it is
/// not what was expected, somebody wrote in between, and is put back.
fn exchange(beside: &Path, target: &Path, old: &[u8], new: &[u8]) -> io::Result<Swap> {
    if !same(target, old)? {
        return Ok(Swap::Changed);
    }
    match swap_names(beside, target) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::Unsupported => {
            return fs::rename(beside, target).map(|()| Swap::Done);
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Swap::Changed),
        Err(e) => return Err(e),
    }
    if same(beside, old)? {
        return Ok(Swap::Done);
    }
    swap_names(beside, target)?;
    if !same(beside, new)? {
        // Ours had been replaced meanwhile: that is the newest, it stays.
        swap_names(beside, target)?;
    }
    Ok(Swap::Changed)
}

/// Takes the file away, and puts it back if it was not what was expected.
fn vanish(beside: &Path, target: &Path, old: &[u8]) -> io::Result<Swap> {
    match fs::rename(target, beside) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Swap::Changed),
        other => other?,
    }
    if same(beside, old)? {
        return Ok(Swap::Done);
    }
    // If there is a newer one already, that is the one that counts.
    appear(beside, target)?;
    Ok(Swap::Changed)
}

fn same(path: &Path, bytes: &[u8]) -> io::Result<bool> {
    let file = match fs::File::open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        other => other?,
    };
    let mut found = Vec::new();
    file.take(bytes.len() as u64 + 1).read_to_end(&mut found)?;
    Ok(found == bytes)
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn swap_names(a: &Path, b: &Path) -> io::Result<()> {
    use nix::errno::Errno;
    use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
    renameat2(AT_FDCWD, a, AT_FDCWD, b, RenameFlags::RENAME_EXCHANGE).map_err(|e| match e {
        // The file system does not know how.
        Errno::EINVAL | Errno::ENOSYS | Errno::EOPNOTSUPP => io::ErrorKind::Unsupported.into(),
        e => e.into(),
    })
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn swap_names(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// A name in the same directory that nobody else uses.
fn beside(path: &Path) -> io::Result<PathBuf> {
    let id = crate::spool::draw_id();
    let begin = beginning(path).ok_or_else(|| invalid("no file name"))?;
    Ok(path.with_file_name(begin + &id))
}

/// How every name that we use beside a file begins.
fn beginning(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_string_lossy();
    Some(format!(".{name}.ccpeer-"))
}

/// What an edit of this file that was killed has left beside it.
pub(super) fn left_over(target: &Path) -> Vec<PathBuf> {
    let begin = beginning(target);
    let entries = target.parent().and_then(|dir| fs::read_dir(dir).ok());
    let ours = |name: &str| begin.as_deref().is_some_and(|b| name.starts_with(b));
    entries
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(ours))
        .map(|entry| entry.path())
        .collect()
}

fn write_new(path: &Path, bytes: &[u8], hasty: bool) -> io::Result<()> {
    if hasty {
        disk::new_private(path)?.write_all(bytes)
    } else {
        disk::write_new(path, bytes)
    }
}

/// Gives a file the mode and the owner of the one that it stands in for.
fn like(path: &Path, meta: Option<&fs::Metadata>) -> io::Result<()> {
    let Some(meta) = meta else { return Ok(()) };
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt, chown};
        let ours = fs::symlink_metadata(path)?;
        if (ours.uid(), ours.gid()) != (meta.uid(), meta.gid()) {
            chown(path, Some(meta.uid()), Some(meta.gid()))?;
        }
    }
    fs::set_permissions(path, meta.permissions())
}

fn invalid(message: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}
