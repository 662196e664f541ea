//! Asking the user's repository: nothing in it is written, not even its index is
//! refreshed.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use ccpeer_formats::capsule::{Why, is_oid, is_repo_path, stays_within};
use ccpeer_formats::secrets;

use super::status::{self, Status};
use super::{COMMITS_MAX, CodeError, FILE_BYTES_MAX, LIST_BYTES_MAX};
use crate::git::Marker;
use crate::mirror::run::{Call, GitError, Stop};

/// Bytes of a file in a repository's own directory that is read.
const PLAIN_BYTES_MAX: u64 = 64 * 1024;

/// A repository of the user's, with a work tree.
#[derive(Clone, Copy)]
pub(super) struct Source<'s> {
    pub(super) marker: &'s Marker,
    pub(super) stop: Stop<'s>,
}

/// A file of the work tree.
pub(super) enum Content {
    File { bytes: Vec<u8>, executable: bool },
    Link(String),
}

impl<'s> Source<'s> {
    fn call<'c>(&'c self, args: &[&'c str]) -> Call<'c> {
        Call::user(&self.marker.git_dir, &self.marker.top, args).out_max(LIST_BYTES_MAX)
    }

    /// How the work tree stands.
    pub(super) fn status(&self) -> Result<Status, CodeError> {
        let args = [
            "status",
            "--porcelain=v2",
            "-z",
            "--branch",
            "--no-renames",
            "--untracked-files=all",
            "--ignore-submodules=none",
        ];
        let out = self.call(&args).must("status", self.stop)?;
        let status = status::parse(&out).ok_or(GitError::Nonsense("status"))?;
        Ok(status)
    }

    /// The index, entry by entry: `mode oid stage\tpath`, each with a zero behind it.
    pub(super) fn index(&self) -> Result<Vec<u8>, CodeError> {
        let args = ["ls-files", "--stage", "-z"];
        Ok(self.call(&args).must("ls-files", self.stop)?)
    }

    /// What is being merged.
    pub(super) fn merging(&self) -> Vec<String> {
        let text = self.plain("MERGE_HEAD").unwrap_or_default();
        let oids = text.lines().map(str::trim).filter(|o| is_oid(o));
        oids.map(str::to_owned).collect()
    }

    fn plain(&self, name: &str) -> Option<String> {
        let mut text = String::new();
        let file = File::open(self.marker.git_dir.join(name)).ok()?;
        let mut file = file.take(PLAIN_BYTES_MAX);
        file.read_to_string(&mut text).ok()?;
        Some(text)
    }

    /// How many commits behind these no remote has, as far as they are counted.
    pub(super) fn unsent(&self, tips: &[&str]) -> Result<u64, CodeError> {
        let max = format!("--max-count={}", COMMITS_MAX + 1);
        let mut args = vec!["rev-list", "--count", &max];
        args.extend(tips);
        args.extend(["--not", "--remotes"]);
        let out = self.call(&args).must("rev-list", self.stop)?;
        let count = String::from_utf8_lossy(&out).trim().parse();
        Ok(count.map_err(|_| GitError::Nonsense("rev-list"))?)
    }

    /// The commits from which those grew.
    pub(super) fn boundary(&self, tips: &[&str]) -> Result<Vec<String>, CodeError> {
        let mut args = vec!["rev-list", "--boundary"];
        args.extend(tips);
        args.extend(["--not", "--remotes"]);
        let out = self.call(&args).must("rev-list", self.stop)?;
        let out = String::from_utf8_lossy(&out);
        let edge = out.lines().filter_map(|l| l.strip_prefix('-'));
        Ok(edge.filter(|o| is_oid(o)).map(str::to_owned).collect())
    }

    /// A file as it lies in the work tree. Where the system knows no executable files,
    /// `mode` is what the index says.
    pub(super) fn read(&self, path: &[u8], mode: &str) -> Result<Content, Why> {
        let path = name(path)?;
        let full = self.marker.top.join(path);
        let meta = fs::symlink_metadata(&full).map_err(|_| Why::Unreadable)?;
        if meta.is_symlink() {
            let target = fs::read_link(&full).map_err(|_| Why::Unreadable)?;
            let target = target.to_str().ok_or(Why::Link)?.to_owned();
            return match stays_within(path, &target) {
                true => Ok(Content::Link(target)),
                false => Err(Why::Link),
            };
        }
        if meta.is_dir() {
            return Err(Why::Repository);
        }
        if !meta.is_file() {
            return Err(Why::Kind);
        }
        if meta.len() > FILE_BYTES_MAX {
            return Err(Why::TooLarge);
        }
        let file = open(&full).map_err(|_| Why::Unreadable)?;
        let mut bytes = Vec::new();
        let read = file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes);
        let whole = read.is_ok_and(|n| n as u64 == meta.len());
        if !whole {
            return Err(Why::Unreadable);
        }
        if looks_secret(&bytes) {
            return Err(Why::Secret);
        }
        Ok(Content::File {
            bytes,
            executable: is_executable(&meta, mode),
        })
    }
}

/// A path that can be one everywhere.
pub(super) fn name(path: &[u8]) -> Result<&str, Why> {
    let path = path.strip_suffix(b"/").map_or(Ok(path), |_| {
        // So git names a directory that it does not look into.
        Err(Why::Repository)
    })?;
    let path = std::str::from_utf8(path).map_err(|_| Why::Name)?;
    is_repo_path(path).then_some(path).ok_or(Why::Name)
}

pub(super) fn looks_secret(bytes: &[u8]) -> bool {
    secrets::holds(&String::from_utf8_lossy(bytes))
}

#[cfg(unix)]
fn open(path: &Path) -> std::io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = fs::OpenOptions::new();
    // What became a link or a pipe since it was looked at is not followed.
    options.custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK);
    options.read(true).open(path)
}

#[cfg(not(unix))]
fn open(path: &Path) -> std::io::Result<File> {
    File::open(path)
}

#[cfg(unix)]
fn is_executable(meta: &fs::Metadata, _mode: &str) -> bool {
    use std::os::unix::fs::PermissionsExt;
    meta.permissions().mode() & 0o100 != 0
}

#[cfg(not(unix))]
fn is_executable(_meta: &fs::Metadata, mode: &str) -> bool {
    mode == "100755"
}
