//! The few ways in which files below Claude Code's directory are touched: never
//! through a link, never anything but regular files.
//!
//! Must not know what any of these files means.
//!
//! Claude's directory itself may be a link of the user's own making; it is
//! resolved once and everything below it is then looked at name by name.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use ccpeer_core::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::disk::Disk;

/// A directory and what lies below it, without links.
#[derive(Debug, Clone)]
pub(crate) struct Root {
    path: PathBuf,
}

/// A directory below a root that was reached without a link, and the files in it.
/// For a short while: nobody holds it in its place.
#[derive(Debug)]
pub(crate) struct Dir {
    path: PathBuf,
}

/// Why a place below the root may not be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfinedError {
    /// A name on the way, or the file itself, is a link.
    #[error("{0} is a link, and links below Claude's directory are not followed")]
    Link(PathBuf),
    /// Something else lies where a directory or a file should.
    #[error("{0} is not what should lie there")]
    Kind(PathBuf),
    /// It belongs to another user.
    #[cfg_attr(
        not(unix),
        expect(dead_code, reason = "only asked of a system that tells")
    )]
    #[error("{0} belongs to another user")]
    Owner(PathBuf),
    /// The system refused.
    #[error("{path}: {source}")]
    Io {
        /// What was touched.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

/// What a look at a file tells without reading it. Equal stamps mean an
/// unchanged file, unless it changed within the clock's grain; see
/// [`Stamp::is_fresh`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Stamp {
    /// Device and number of the file; zero where the system has none.
    pub(crate) id: (u64, u64),
    /// Bytes.
    pub(crate) len: u64,
    /// When the content changed, nanoseconds since 1970.
    pub(crate) modified_ns: u64,
    /// When anything about it changed; zero where the system does not say.
    pub(crate) changed_ns: u64,
}

/// Two writes within this long may leave the same time behind.
const CLOCK_GRAIN_NS: u64 = 2_000_000_000;

impl Stamp {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        let modified_ns = metadata
            .modified()
            .ok()
            .and_then(|t| t.duration_since(UNIX_EPOCH).ok())
            .map_or(0, |d| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX));
        let (id, changed_ns) = identity(metadata);
        Self {
            id,
            len: metadata.len(),
            modified_ns,
            changed_ns,
        }
    }

    /// Whether the file changed so shortly before `now` that it may change again
    /// without a trace.
    pub(crate) fn is_fresh(&self, now: Timestamp) -> bool {
        let now_ns = now.0.saturating_mul(1_000_000);
        self.modified_ns.saturating_add(CLOCK_GRAIN_NS) >= now_ns
    }

    /// When the content changed, as a label.
    pub(crate) fn modified(&self) -> Timestamp {
        Timestamp(self.modified_ns / 1_000_000)
    }
}

#[cfg(unix)]
fn identity(metadata: &Metadata) -> ((u64, u64), u64) {
    use std::os::unix::fs::MetadataExt;
    let seconds = u64::try_from(metadata.ctime()).unwrap_or(0);
    let nanos = u64::try_from(metadata.ctime_nsec()).unwrap_or(0);
    let changed = seconds.saturating_mul(1_000_000_000).saturating_add(nanos);
    ((metadata.dev(), metadata.ino()), changed)
}

#[cfg(not(unix))]
fn identity(_: &Metadata) -> ((u64, u64), u64) {
    ((0, 0), 0)
}

impl Root {
    /// The directory, resolved; nothing if it does not exist.
    ///
    /// # Errors
    /// When it cannot be looked at or is no directory.
    pub(crate) fn open(path: &Path) -> Result<Option<Self>, ConfinedError> {
        let resolved = match fs::canonicalize(path) {
            Ok(resolved) => resolved,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(ConfinedError::io(path, e)),
        };
        if !resolved.is_dir() {
            return Err(ConfinedError::Kind(resolved));
        }
        Ok(Some(Self { path: resolved }))
    }

    /// The directory; it is made if it is absent.
    ///
    /// # Errors
    /// See [`ConfinedError`].
    pub(crate) fn open_or_make(disk: &Disk<'_>, path: &Path) -> Result<Self, ConfinedError> {
        if let Some(root) = Self::open(path)? {
            return Ok(root);
        }
        disk.make_dirs(path)?;
        Self::open(path)?.ok_or_else(|| ConfinedError::Kind(path.to_owned()))
    }

    /// The path of a place below. Says nothing about what lies there.
    pub(crate) fn join(&self, names: &[String]) -> PathBuf {
        let mut path = self.path.clone();
        path.extend(names);
        path
    }

    /// False if nothing lies there for certain: one look, to be followed by a proper
    /// one where there may be something.
    pub(crate) fn may_have(&self, names: &[String]) -> bool {
        let looked = fs::symlink_metadata(self.join(names));
        !looked.is_err_and(|e| e.kind() == io::ErrorKind::NotFound)
    }

    /// Whether a directory is there, and reached without a link.
    ///
    /// # Errors
    /// When something else than a directory of ours is in the way.
    pub(crate) fn dir(&self, names: &[String]) -> Result<bool, ConfinedError> {
        let mut path = self.path.clone();
        for name in names {
            path.push(name);
            match fs::symlink_metadata(&path) {
                Ok(metadata) => check_dir(&path, &metadata)?,
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
                Err(e) => return Err(ConfinedError::io(&path, e)),
            }
        }
        Ok(true)
    }

    /// Makes a directory, each missing one on the way private.
    ///
    /// # Errors
    /// See [`ConfinedError`].
    pub(crate) fn make_dir(
        &self,
        disk: &Disk<'_>,
        names: &[String],
    ) -> Result<PathBuf, ConfinedError> {
        let mut path = self.path.clone();
        for name in names {
            let parent = path.clone();
            path.push(name);
            match disk.make_dir(&path) {
                Ok(()) => disk.sync_dir(&parent)?,
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                    let metadata =
                        fs::symlink_metadata(&path).map_err(|e| ConfinedError::io(&path, e))?;
                    check_dir(&path, &metadata)?;
                }
                Err(e) => return Err(ConfinedError::io(&path, e)),
            }
        }
        Ok(path)
    }

    /// The names in a directory, sorted; none if it is absent.
    ///
    /// # Errors
    /// See [`ConfinedError`].
    pub(crate) fn list(&self, names: &[String], max: usize) -> Result<Vec<String>, ConfinedError> {
        match self.open_dir(names)? {
            Some(dir) => dir.list(max),
            None => Ok(Vec::new()),
        }
    }

    /// A directory; nothing if it is absent.
    ///
    /// # Errors
    /// See [`Root::dir`].
    pub(crate) fn open_dir(&self, names: &[String]) -> Result<Option<Dir>, ConfinedError> {
        let path = self.join(names);
        Ok(self.dir(names)?.then_some(Dir { path }))
    }

    /// Opens a regular file for reading; nothing if it is absent.
    ///
    /// # Errors
    /// When it, or a name on the way, is anything else.
    pub(crate) fn file(&self, names: &[String]) -> Result<Option<(File, Stamp)>, ConfinedError> {
        let Some((_, dir)) = names.split_last() else {
            return Err(ConfinedError::Kind(self.path.clone()));
        };
        if !self.dir(dir)? {
            return Ok(None);
        }
        open_regular(&self.join(names))
    }

    /// What lies there now, without opening it.
    ///
    /// # Errors
    /// When it, or a name on the way, is anything but a regular file.
    pub(crate) fn stamp(&self, names: &[String]) -> Result<Option<Stamp>, ConfinedError> {
        let Some((_, dir)) = names.split_last() else {
            return Err(ConfinedError::Kind(self.path.clone()));
        };
        if !self.dir(dir)? {
            return Ok(None);
        }
        stamp_of(&self.join(names))
    }
}

impl Dir {
    /// The names in it, sorted.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn list(&self, max: usize) -> Result<Vec<String>, ConfinedError> {
        let path = &self.path;
        let entries = match fs::read_dir(path) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(ConfinedError::io(path, e)),
        };
        let mut out = Vec::new();
        for entry in entries.take(max) {
            let entry = entry.map_err(|e| ConfinedError::io(path, e))?;
            // A name that is no text is none of Claude's.
            out.extend(entry.file_name().into_string().ok());
        }
        out.sort_unstable();
        Ok(out)
    }

    /// The path of a place in it.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// As [`Root::stamp`].
    ///
    /// # Errors
    /// When it is anything but a regular file.
    pub(crate) fn stamp(&self, name: &str) -> Result<Option<Stamp>, ConfinedError> {
        stamp_of(&self.path.join(name))
    }

    /// As [`Root::file`].
    ///
    /// # Errors
    /// When it is anything but a regular file.
    pub(crate) fn file(&self, name: &str) -> Result<Option<(File, Stamp)>, ConfinedError> {
        open_regular(&self.path.join(name))
    }
}

fn stamp_of(path: &Path) -> Result<Option<Stamp>, ConfinedError> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => {
            check_file(path, &metadata)?;
            Ok(Some(Stamp::of(&metadata)))
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(ConfinedError::io(path, e)),
    }
}

impl ConfinedError {
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            source,
        }
    }
}

/// Opens a regular file for reading without following a link or waiting for a
/// pipe's other end; nothing if it is absent.
///
/// # Errors
/// When it is a link or no regular file, or cannot be opened.
pub(crate) fn open_regular(path: &Path) -> Result<Option<(File, Stamp)>, ConfinedError> {
    // Looked at first: opening a device can have effects.
    match fs::symlink_metadata(path) {
        Ok(metadata) => check_file(path, &metadata)?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(ConfinedError::io(path, e)),
    }
    let mut options = OpenOptions::new();
    options.read(true);
    no_follow(&mut options);
    let file = match options.open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(ConfinedError::io(path, e)),
    };
    let metadata = file.metadata().map_err(|e| ConfinedError::io(path, e))?;
    check_file(path, &metadata)?;
    let stamp = Stamp::of(&metadata);
    Ok(Some((file, stamp)))
}

fn check_dir(path: &Path, metadata: &Metadata) -> Result<(), ConfinedError> {
    if metadata.is_symlink() {
        return Err(ConfinedError::Link(path.to_owned()));
    }
    if !metadata.is_dir() {
        return Err(ConfinedError::Kind(path.to_owned()));
    }
    check_owner(path, metadata)
}

fn check_file(path: &Path, metadata: &Metadata) -> Result<(), ConfinedError> {
    if metadata.is_symlink() {
        return Err(ConfinedError::Link(path.to_owned()));
    }
    if !metadata.is_file() {
        return Err(ConfinedError::Kind(path.to_owned()));
    }
    check_owner(path, metadata)
}

#[cfg(unix)]
fn check_owner(path: &Path, metadata: &Metadata) -> Result<(), ConfinedError> {
    use std::os::unix::fs::MetadataExt;
    if metadata.uid() == nix::unistd::geteuid().as_raw() {
        Ok(())
    } else {
        Err(ConfinedError::Owner(path.to_owned()))
    }
}

#[cfg(not(unix))]
fn check_owner(_: &Path, _: &Metadata) -> Result<(), ConfinedError> {
    Ok(())
}

#[cfg(unix)]
fn no_follow(options: &mut OpenOptions) {
    use std::os::unix::fs::OpenOptionsExt;
    options.custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK);
}

#[cfg(not(unix))]
fn no_follow(_: &mut OpenOptions) {}

/// Reads at a position, without moving one that others may read from.
#[cfg(unix)]
pub(crate) fn read_at(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, at)
}

#[cfg(windows)]
pub(crate) fn read_at(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buffer, at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(path: &str) -> Vec<String> {
        path.split('/').map(str::to_owned).collect()
    }

    #[cfg(unix)]
    #[test]
    fn k_a02_links_are_refused_at_every_step() {
        let dir = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), "s").unwrap();
        let root = Root::open(dir.path()).unwrap().unwrap();
        root.make_dir(&Disk::default(), &names("projects/p"))
            .unwrap();
        std::os::unix::fs::symlink(outside.path(), dir.path().join("projects/q")).unwrap();
        std::os::unix::fs::symlink(
            outside.path().join("secret"),
            dir.path().join("projects/p/secret"),
        )
        .unwrap();
        assert!(matches!(
            root.file(&names("projects/q/secret")),
            Err(ConfinedError::Link(_))
        ));
        assert!(matches!(
            root.file(&names("projects/p/secret")),
            Err(ConfinedError::Link(_))
        ));
        assert!(matches!(
            root.make_dir(&Disk::default(), &names("projects/q/r")),
            Err(ConfinedError::Link(_))
        ));
        assert!(matches!(
            root.list(&names("projects/q"), 9),
            Err(ConfinedError::Link(_))
        ));
        assert!(root.file(&names("projects/p/none")).unwrap().is_none());
        assert!(root.file(&names("none/none")).unwrap().is_none());
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap().unwrap();
        let pipe = dir.path().join("pipe");
        let made = std::process::Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap();
        assert!(made.success());
        assert!(matches!(
            root.file(&names("pipe")),
            Err(ConfinedError::Kind(_))
        ));
    }

    #[cfg(unix)]
    #[test]
    fn the_root_itself_may_be_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("claude");
        fs::create_dir(dir.path().join("real")).unwrap();
        std::os::unix::fs::symlink("real", &link).unwrap();
        let root = Root::open_or_make(&Disk::default(), &link).unwrap();
        assert!(root.join(&[]).ends_with("real"));
    }
}
