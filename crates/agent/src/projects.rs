//! Which directory here is the project of a session, in both directions.
//!
//! A directory is recognised by what means the same on another machine: its
//! repository's remotes and first commit, or its place below the home directory.
//! Where that does not give one answer, the user is asked; nothing is guessed.
//! Must not know how sessions are captured or placed.

mod finder;
mod mapping;
mod roots;
mod table;

use std::fs;
use std::path::{Path, PathBuf};

use ccpeer_core::manifest::ProjectIdentity;
use ccpeer_formats::project::{self as rules, Facts, GitFacts};
use ccpeer_store::{NoteWrite, Store, StoreError};

use crate::api::{ApiError, ErrorCode};
use crate::capture;
use crate::git::{self, Answer};
use crate::home::Home;
use crate::local::KnownProject;
use crate::problem;

pub(crate) use finder::Finder;
pub(crate) use mapping::{Mapping, join};
pub(crate) use roots::{Around, ROOTS_MAX};
pub(crate) use table::{Row, Seen, find_row, rows};

/// What a search for a project's directory came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Located {
    /// It is this one, and what is to be said about the choice.
    Dir(PathBuf, Option<String>),
    /// It may be any of these.
    Ambiguous(Vec<PathBuf>),
    /// The project lies there, but has no such directory.
    Missing {
        /// The top of the project here.
        top: PathBuf,
        /// Where in it the session was begun.
        subdir: String,
    },
    /// There is none that it must be.
    Unknown,
}

/// What identifies the project in this directory, without git where what it
/// would say cannot have changed.
pub(crate) fn identity_again(
    dir: &Path,
    around: &Around,
    before: Option<&KnownProject>,
) -> (ProjectIdentity, Option<KnownProject>) {
    let looks = looks(dir);
    let text = dir.to_string_lossy();
    if let Some(known) = before
        && known.dir == text
        && known.looks == looks
    {
        let mut identity = known.identity.clone();
        // Where it lies costs nothing, and is not remembered.
        let place = identify(dir, around, None);
        identity.below_root = place.below_root;
        identity.worktree = git::marker(dir)
            .filter(|m| m.linked)
            .and_then(|m| Some(m.top.file_name()?.to_str()?.to_owned()));
        return (identity, Some(known.clone()));
    }
    let (identity, settled) = describe(dir, around);
    let known = settled.then(|| KnownProject {
        dir: text.into_owned(),
        looks,
        identity: identity.clone(),
    });
    (identity, known)
}

/// Finds the directory of a project here. `branch` is the session's, `from_dir`
/// where the user stands: it counts if it is the project, and never otherwise.
///
/// # Errors
/// When the store cannot be read.
pub(crate) fn locate(
    store: &Store,
    home: &Home,
    (want, branch): (&ProjectIdentity, &str),
    from_dir: Option<&Path>,
) -> Result<Located, ApiError> {
    let finder = Finder::new(store, home).map_err(|e| problem::store(&e))?;
    Ok(finder.locate(want, branch, from_dir))
}

/// Remembers a directory that the user chose for a session, if that answered what
/// could not be found out: it is where the project lies, then. A choice against
/// what is known is one for this session alone.
///
/// # Errors
/// When the store cannot be used.
pub(crate) fn answered(
    store: &Store,
    home: &Home,
    (want, branch): (&ProjectIdentity, &str),
    dir: &Path,
) -> Result<(), ApiError> {
    if let Located::Dir(..) = locate(store, home, (want, branch), None)? {
        return Ok(());
    }
    let said = Mapping {
        identity: want.clone(),
        dir: dir.to_owned(),
        said: true,
    };
    store
        .put_notes(said.note().as_slice())
        .map_err(|e| problem::store(&e))
}

/// Checks a directory that the user named.
///
/// # Errors
/// When it is no directory that a session can be started in.
pub(crate) fn use_dir(dir: &Path) -> Result<PathBuf, ApiError> {
    let refuse = |why: &str| {
        ApiError::new(ErrorCode::NotFound, format!("{} {why}", dir.display()))
            .hint("give a directory that exists; clone the project first")
    };
    if !dir.is_absolute() {
        return Err(refuse("is not an absolute path"));
    }
    // Claude Code names a project's directory after the resolved path.
    let real = fs::canonicalize(dir).map_err(|_| refuse("does not exist"))?;
    if !real.is_dir() {
        return Err(refuse("is not a directory"));
    }
    if real.to_str().is_none() {
        return Err(refuse("has a name that is no text"));
    }
    Ok(real)
}

/// The note that remembers where a placement went, unless the user has said where
/// the project lies.
///
/// # Errors
/// When the store cannot be read.
pub(crate) fn placed_in(
    store: &Store,
    want: &ProjectIdentity,
    dir: &Path,
) -> Result<Option<NoteWrite>, StoreError> {
    mapping::placed(store, want, dir)
}

/// The identity, and whether it stays the same for as long as [`looks`] does.
fn describe(dir: &Path, around: &Around) -> (ProjectIdentity, bool) {
    let place = git::place(dir);
    let remotes = if place.is_some() {
        git::remotes(dir)
    } else {
        Vec::new()
    };
    let mut settled = true;
    let mut root_commit = String::new();
    if place.as_ref().is_some_and(|p| !p.shallow) {
        match git::first_commit(dir) {
            Answer::Text(hash) => root_commit = hash,
            // Too large to ask every time.
            Answer::Late => {}
            // There will be one some day.
            Answer::No => settled = false,
        }
    }
    let top = place.as_ref().map(|p| p.top.to_string_lossy());
    let git = top.as_deref().map(|top| GitFacts {
        top,
        remotes: &remotes,
        root_commit: &root_commit,
        linked: git::marker(dir).is_some_and(|m| m.linked),
    });
    (identify(dir, around, git), settled)
}

fn identify(dir: &Path, around: &Around, git: Option<GitFacts<'_>>) -> ProjectIdentity {
    // Whichever spelling of the home the directory lies in.
    let home = around.home_of(dir);
    rules::identify(&Facts {
        dir: &dir.to_string_lossy(),
        home: &home.to_string_lossy(),
        roots: &around.root_texts(),
        flavour: capture::FLAVOUR,
        git,
    })
}

/// What can be seen of a project's repository without asking git: its marker and
/// its configuration.
fn looks(dir: &Path) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for above in dir.ancestors() {
        let path = above.join(".git");
        if fs::symlink_metadata(&path).is_err() {
            continue;
        }
        let config = match git::marker_in(above) {
            Some(marker) => marker.common.join("config"),
            None => path.join("config"),
        };
        for path in [config, path] {
            let Ok(metadata) = fs::symlink_metadata(&path) else {
                continue;
            };
            hasher.update(path.to_string_lossy().as_bytes());
            // The directory's own time changes with every commit.
            if metadata.is_file() {
                let modified = metadata
                    .modified()
                    .ok()
                    .and_then(|t| t.duration_since(std::time::UNIX_EPOCH).ok())
                    .map_or(0, |d| d.as_nanos());
                hasher.update(&modified.to_le_bytes());
                hasher.update(&metadata.len().to_le_bytes());
            }
        }
        break;
    }
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
mod tests;
