//! Which directory here is the project of a session, in both directions.
//!
//! A directory is recognised by what means the same on another machine: its
//! repository's remotes and first commit, or its place below the home directory.
//! Where that does not give one answer, the user is asked; nothing is guessed.
//! Must not know how sessions are captured or placed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use ccpeer_core::codec;
use ccpeer_core::limits;
use ccpeer_core::manifest::ProjectIdentity;
use ccpeer_formats::project::{self as rules, Candidate, Facts, GitFacts, Match, match_project};
use ccpeer_store::{Namespace, NoteWrite, Store, StoreError};
use serde::{Deserialize, Serialize};

use crate::api::{ApiError, ErrorCode};
use crate::capture;
use crate::git::{self, Answer};
use crate::home::Home;
use crate::local::{KnownProject, LocalState};
use crate::problem;

/// Directories that are asked for their identity in one search. Each costs a few
/// short runs of git.
const CANDIDATES_MAX: usize = 128;
/// Version of a remembered mapping.
const MAPPING_VERSION: u8 = 1;

/// A project whose directory here is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    /// What it is.
    pub(crate) identity: ProjectIdentity,
    /// Where.
    pub(crate) dir: PathBuf,
}

/// What a search for a project's directory came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Located {
    /// It is this one.
    Dir(PathBuf),
    /// It may be any of these.
    Ambiguous(Vec<PathBuf>),
    /// There is none that it must be.
    Unknown,
}

/// A remembered mapping, as it is kept.
#[derive(Serialize, Deserialize)]
struct Mapping {
    version: u8,
    identity: ProjectIdentity,
    dir: String,
}

/// What identifies the project in this directory. Runs git.
pub(crate) fn identity(dir: &Path, user_home: &Path) -> ProjectIdentity {
    describe(dir, user_home).0
}

/// The same, without git where what it would say cannot have changed.
pub(crate) fn identity_again(
    dir: &Path,
    user_home: &Path,
    before: Option<&KnownProject>,
) -> (ProjectIdentity, Option<KnownProject>) {
    let looks = looks(dir);
    let text = dir.to_string_lossy();
    if let Some(known) = before
        && known.dir == text
        && known.looks == looks
    {
        return (known.identity.clone(), Some(known.clone()));
    }
    let (identity, settled) = describe(dir, user_home);
    let known = settled.then(|| KnownProject {
        dir: text.into_owned(),
        looks,
        identity: identity.clone(),
    });
    (identity, known)
}

/// Finds the directory of a project here. `from_dir` is where the user stands:
/// it counts if it is the project, and never otherwise.
///
/// # Errors
/// When the store cannot be read.
pub(crate) fn locate(
    store: &Store,
    home: &Home,
    want: &ProjectIdentity,
    from_dir: Option<&Path>,
) -> Result<Located, ApiError> {
    if let Some(dir) = remembered(store, want).map_err(|e| problem::store(&e))? {
        return Ok(Located::Dir(dir));
    }
    let same_place = below_home(home, want);
    let mut dirs: Vec<PathBuf> = from_dir.map(Path::to_owned).into_iter().collect();
    dirs.extend(same_place.clone());
    dirs.extend(local_dirs(store).map_err(|e| problem::store(&e))?);
    Ok(choose(home, want, from_dir, same_place.as_deref(), &dirs))
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

/// The note that remembers where a project lies.
pub(crate) fn mapping(want: &ProjectIdentity, dir: &Path) -> NoteWrite {
    let value = Mapping {
        version: MAPPING_VERSION,
        identity: want.clone(),
        dir: dir.to_string_lossy().into_owned(),
    };
    NoteWrite {
        ns: Namespace::Project,
        key: mapping_key(want).to_vec(),
        value: Some(codec::encode(&value)),
    }
}

/// Every project whose directory here is known, by directory.
///
/// # Errors
/// When the store cannot be read.
pub(crate) fn known(store: &Store, home: &Home) -> Result<Vec<Known>, StoreError> {
    let mut out = BTreeMap::new();
    for (_, state) in LocalState::load_all(store)? {
        let dir = PathBuf::from(&state.here.project);
        if dir.is_dir() && !out.contains_key(&dir) {
            let identity = state
                .project
                .map_or_else(|| identity(&dir, home.user()), |known| known.identity);
            out.insert(dir, identity);
        }
    }
    for (_, value) in store.notes(Namespace::Project)? {
        if let Some(m) = read_mapping(&value) {
            out.entry(PathBuf::from(&m.dir)).or_insert(m.identity);
        }
    }
    Ok(out
        .into_iter()
        .map(|(dir, identity)| Known { identity, dir })
        .collect())
}

fn choose(
    home: &Home,
    want: &ProjectIdentity,
    from_dir: Option<&Path>,
    same_place: Option<&Path>,
    dirs: &[PathBuf],
) -> Located {
    let candidates = candidates(home, dirs);
    let place = |at: &usize| {
        let dir = PathBuf::from(candidates.get(*at)?.place(want)?);
        dir.is_dir().then_some(dir)
    };
    let found: BTreeSet<PathBuf> = match match_project(want, &candidates) {
        Match::One(at) => place(&at).into_iter().collect(),
        Match::Many(all) => all.iter().filter_map(place).collect(),
        Match::None => BTreeSet::new(),
    };
    let standing = from_dir.and_then(|dir| use_dir(dir).ok());
    let near = |at: &Path| {
        // Anywhere in the same repository is near enough.
        let top = |dir: &Path| git::place(dir).map(|p| p.top);
        standing
            .as_deref()
            .is_some_and(|s| s.starts_with(at) || top(s).is_some_and(|t| Some(t) == top(at)))
    };
    let mut found: Vec<PathBuf> = found.into_iter().collect();
    match found.len() {
        0 => same_place
            .and_then(|dir| at_same_place(want, dir, &candidates))
            .map_or(Located::Unknown, Located::Dir),
        1 => found.pop().map_or(Located::Unknown, Located::Dir),
        _ => match found.iter().position(|dir| near(dir)) {
            Some(at) => Located::Dir(found.swap_remove(at)),
            None => Located::Ambiguous(found),
        },
    }
}

fn candidates(home: &Home, dirs: &[PathBuf]) -> Vec<Candidate> {
    let mut looked = BTreeSet::new();
    let mut out = Vec::new();
    for dir in dirs.iter().filter_map(|d| use_dir(d).ok()) {
        if out.len() >= CANDIDATES_MAX {
            tracing::warn!(max = CANDIDATES_MAX, "more directories than are compared");
            break;
        }
        if looked.insert(dir.clone()) {
            let identity = identity(&dir, home.user());
            out.push(Candidate {
                dir: dir.to_string_lossy().into_owned(),
                identity,
            });
        }
    }
    out
}

/// The directory at the same place below the home, if nothing says that it is
/// another project.
fn at_same_place(want: &ProjectIdentity, dir: &Path, candidates: &[Candidate]) -> Option<PathBuf> {
    let dir = use_dir(dir).ok()?;
    let here = candidates.iter().find(|c| Path::new(&c.dir) == dir)?;
    let told = |p: &ProjectIdentity| !p.remotes.is_empty() || !p.root_commit.is_empty();
    (!(told(want) && told(&here.identity))).then_some(dir)
}

/// The identity, and whether it stays the same for as long as [`looks`] does.
fn describe(dir: &Path, user_home: &Path) -> (ProjectIdentity, bool) {
    let text = dir.to_string_lossy();
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
    });
    // Whichever spelling of the home the directory lies in.
    let real = fs::canonicalize(user_home).unwrap_or_default();
    let home = if dir.starts_with(user_home) {
        user_home
    } else {
        &real
    };
    let home = home.to_string_lossy();
    let facts = Facts {
        dir: &text,
        home: &home,
        flavour: capture::FLAVOUR,
        git,
    };
    let mut identity = rules::identify(&facts);
    // A home directory is no project of another home.
    identity.below_home = identity.below_home.filter(|b| !b.is_empty());
    (identity, settled)
}

/// What can be seen of a project's repository without asking git: its marker and
/// its configuration.
fn looks(dir: &Path) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for above in dir.ancestors() {
        let marker = above.join(".git");
        for path in [marker.join("config"), marker.clone()] {
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
        if marker.exists() {
            break;
        }
    }
    *hasher.finalize().as_bytes()
}

fn remembered(store: &Store, want: &ProjectIdentity) -> Result<Option<PathBuf>, StoreError> {
    let note = store.note(Namespace::Project, &mapping_key(want))?;
    let dir = note
        .and_then(|v| read_mapping(&v))
        .map(|m| PathBuf::from(m.dir));
    Ok(dir.filter(|d| d.is_dir()))
}

fn read_mapping(value: &[u8]) -> Option<Mapping> {
    let mapping: Mapping = codec::decode(value, limits::NOTE_VALUE_BYTES_MAX).ok()?;
    (mapping.version == MAPPING_VERSION).then_some(mapping)
}

fn mapping_key(want: &ProjectIdentity) -> [u8; 32] {
    *blake3::hash(&codec::encode(want)).as_bytes()
}

/// The directories in which local sessions were started.
fn local_dirs(store: &Store) -> Result<Vec<PathBuf>, StoreError> {
    let dirs: BTreeSet<PathBuf> = LocalState::load_all(store)?
        .into_iter()
        .map(|(_, state)| PathBuf::from(state.here.project))
        .collect();
    Ok(dirs.into_iter().collect())
}

/// The place here that is the project's place over there.
fn below_home(home: &Home, want: &ProjectIdentity) -> Option<PathBuf> {
    want.below_home.as_deref().filter(|b| !b.is_empty())?;
    let root = home.user().to_str()?;
    rules::below_root(want, root, capture::FLAVOUR).map(PathBuf::from)
}

#[cfg(test)]
mod tests;
