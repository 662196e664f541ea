//! Writing what differs from the index into a fresh work tree: the bytes as they are,
//! without git's filters, and through no link.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::CodeError;
use super::open::Change;
use crate::mirror::repo::{Oid, Repo};

/// Makes the changes below `top`, which nobody else knows yet.
pub(super) fn apply(repo: &Repo<'_>, top: &Path, changes: &[Change]) -> Result<(), CodeError> {
    // What is to go makes room for what comes: a file may become a directory.
    for change in changes {
        if let Change::Remove(path) = change {
            remove(top, path).map_err(CodeError::Disk)?;
        }
    }
    let writes: Vec<(&str, bool, bool, &Oid, u64)> = changes
        .iter()
        .filter_map(|change| match change {
            Change::Write {
                path,
                link,
                executable,
                blob,
                size,
            } => Some((path.as_str(), *link, *executable, blob, *size)),
            Change::Remove(_) => None,
        })
        .collect();
    let blobs: Vec<(Oid, u64)> = writes.iter().map(|w| (w.3.clone(), w.4)).collect();
    let mut failed = None;
    repo.read(&blobs, &mut |n, bytes| {
        let Some((path, link, executable, ..)) = writes.get(n) else {
            return true;
        };
        let written = write(top, path, &bytes, (*link, *executable));
        failed = written.err();
        failed.is_none()
    })?;
    match failed {
        Some(e) => Err(CodeError::Disk(e)),
        None => Ok(()),
    }
}

/// The place of a path whose directories are directories and no links; those that are
/// missing are made if that is wanted.
pub(super) fn place(top: &Path, path: &str, make: bool) -> io::Result<PathBuf> {
    let mut at = top.to_owned();
    let mut names = path.split('/').peekable();
    while let Some(name) = names.next() {
        at.push(name);
        if names.peek().is_none() {
            break;
        }
        match fs::symlink_metadata(&at) {
            Ok(meta) if meta.is_dir() => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound && make => fs::create_dir(&at)?,
            Err(e) => return Err(e),
            Ok(_) => return Err(io::ErrorKind::NotADirectory.into()),
        }
    }
    Ok(at)
}

fn remove(top: &Path, path: &str) -> io::Result<()> {
    let at = match place(top, path, false) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        at => at?,
    };
    match fs::symlink_metadata(&at) {
        // A submodule that is not checked out.
        Ok(meta) if meta.is_dir() => fs::remove_dir(&at)?,
        Ok(_) => fs::remove_file(&at)?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(e),
    }
    let mut above = at.parent();
    while let Some(dir) = above.filter(|d| *d != top) {
        if fs::remove_dir(dir).is_err() {
            break;
        }
        above = dir.parent();
    }
    Ok(())
}

fn write(top: &Path, path: &str, bytes: &[u8], (link, executable): (bool, bool)) -> io::Result<()> {
    let at = place(top, path, true)?;
    match fs::symlink_metadata(&at) {
        Ok(meta) if meta.is_dir() => fs::remove_dir(&at)?,
        Ok(_) => fs::remove_file(&at)?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(e),
    }
    if link {
        let target = std::str::from_utf8(bytes);
        return make_link(target.map_err(|_| io::ErrorKind::InvalidData)?, &at);
    }
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, if executable { 0o777 } else { 0o666 });
    #[cfg(not(unix))]
    let _known_to_the_index_alone = executable;
    options.open(at)?.write_all(bytes)
}

#[cfg(unix)]
fn make_link(target: &str, at: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, at)
}

/// As git does where links need a privilege: a file that holds the target.
#[cfg(not(unix))]
fn make_link(target: &str, at: &Path) -> io::Result<()> {
    fs::write(at, target)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn k_a02_nothing_is_written_or_removed_through_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let (top, outside) = (dir.path().join("top"), dir.path().join("outside"));
        fs::create_dir_all(&top).unwrap();
        fs::create_dir_all(&outside).unwrap();
        fs::write(outside.join("kept"), "1").unwrap();
        std::os::unix::fs::symlink(&outside, top.join("link")).unwrap();
        assert!(write(&top, "link/new", b"2", (false, false)).is_err());
        assert!(write(&top, "link/kept", b"2", (false, false)).is_err());
        assert!(remove(&top, "link/kept").is_err());
        assert_eq!(fs::read(outside.join("kept")).unwrap(), b"1");
        assert!(!outside.join("new").exists());
        // The link itself may be replaced, by what it is no more.
        write(&top, "link", b"3", (false, true)).unwrap();
        assert_eq!(fs::read(top.join("link")).unwrap(), b"3");
        write(&top, "a/b/c", b"4", (false, false)).unwrap();
        remove(&top, "a/b/c").unwrap();
        assert!(!top.join("a").exists(), "no empty directory is left");
    }
}
