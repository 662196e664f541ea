//! What a repository's marker says, without asking git: `.git`, a directory, or
//! a file that points to one.
//!
//! It costs no process, so it can be looked at often. Nothing is opened because
//! of it but the places where git itself keeps its own. Must not know what the
//! answers are for.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Bytes of a marker that is a file.
const MARKER_BYTES_MAX: u64 = 8 * 1024;

/// A work tree, as its marker tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Marker {
    /// The directory that holds the marker.
    pub(crate) top: PathBuf,
    /// Where git keeps what is this work tree's own, resolved.
    pub(crate) git_dir: PathBuf,
    /// What all work trees of the repository have in common, resolved.
    pub(crate) common: PathBuf,
    /// Made by `git worktree add`.
    pub(crate) linked: bool,
}

/// The marker of the work tree that this directory lies in.
pub(crate) fn marker(dir: &Path) -> Option<Marker> {
    dir.ancestors().find_map(marker_in)
}

/// The marker in this very directory.
pub(crate) fn marker_in(top: &Path) -> Option<Marker> {
    let path = top.join(".git");
    let kind = fs::metadata(&path).ok()?;
    if kind.is_dir() {
        let git_dir = fs::canonicalize(&path).ok()?;
        return Some(Marker {
            top: top.to_owned(),
            common: git_dir.clone(),
            git_dir,
            linked: false,
        });
    }
    if !kind.is_file() {
        return None;
    }
    let mut text = String::new();
    let file = File::open(&path).ok()?;
    file.take(MARKER_BYTES_MAX).read_to_string(&mut text).ok()?;
    let named = text.strip_prefix("gitdir:")?.trim();
    let git_dir = fs::canonicalize(top.join(named)).ok()?;
    // `…/.git/worktrees/NAME`; a submodule's is `…/.git/modules/NAME`.
    let above = git_dir.parent();
    let linked =
        above.is_some_and(|p| p.ends_with("worktrees")) && git_dir.join("commondir").is_file();
    let common = match above.and_then(Path::parent) {
        Some(common) if linked => common.to_owned(),
        _ => git_dir.clone(),
    };
    Some(Marker {
        top: top.to_owned(),
        git_dir,
        common,
        linked,
    })
}

impl Marker {
    /// Whether the repository has work trees beside its own.
    pub(crate) fn has_linked(&self) -> bool {
        let mut names = fs::read_dir(self.common.join("worktrees"))
            .into_iter()
            .flatten();
        names.next().is_some()
    }
}
