//! Which directory here is the project of a session, in both directions.
//!
//! A directory is recognised by what means the same on another machine: its
//! repository's remotes and first commit, or its place below the home directory.
//! Where that does not give one answer, the user is asked; nothing is guessed.
//! Must not know how sessions are captured or placed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use ccpeer_core::codec;
use ccpeer_core::limits;
use ccpeer_core::manifest::ProjectIdentity;
use ccpeer_formats::project::normalise_remote;
use ccpeer_store::{Namespace, NoteWrite, Store, StoreError};
use serde::{Deserialize, Serialize};

use crate::api::{ApiError, ErrorCode};
use crate::git::{self, Answer};
use crate::home::Home;
use crate::local::{KnownProject, LocalState};
use crate::problem;

/// Directories that are asked for their identity in one search. Each costs a few
/// short runs of git.
const CANDIDATES_MAX: usize = 128;
/// Remotes of a repository that are kept.
const REMOTES_MAX: usize = 32;
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
#[must_use]
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
            let identity = match state.project {
                Some(known) => known.identity,
                None => identity(&dir, home.user()),
            };
            out.insert(dir, identity);
        }
    }
    for (_, value) in store.notes(Namespace::Project)? {
        if let Some(m) = read_mapping(&value) {
            out.entry(PathBuf::from(&m.dir)).or_insert(m.identity);
        }
    }
    Ok(out.into_iter().map(|(dir, identity)| Known { identity, dir }).collect())
}

/// How well a directory fits a project, the best last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    /// Nothing says that it is another one, and it lies at the same place.
    Place,
    /// The same first commit.
    History,
    /// A remote in common.
    Remote,
}

fn choose(
    home: &Home,
    want: &ProjectIdentity,
    from_dir: Option<&Path>,
    same_place: Option<&Path>,
    dirs: &[PathBuf],
) -> Located {
    let mut looked = BTreeSet::new();
    let mut fits: Vec<(Fit, PathBuf)> = Vec::new();
    for dir in dirs {
        if looked.len() >= CANDIDATES_MAX {
            tracing::warn!(max = CANDIDATES_MAX, "more directories than are compared");
            break;
        }
        let Ok(dir) = use_dir(dir) else { continue };
        if !looked.insert(dir.clone()) {
            continue;
        }
        let at_place = same_place.is_some_and(|p| fs::canonicalize(p).is_ok_and(|p| p == dir));
        fits.extend(fit(home, want, &dir, at_place).filter(|(_, d)| d.is_dir()));
    }
    let Some(best) = fits.iter().map(|(f, _)| *f).max() else { return Located::Unknown };
    let found: BTreeSet<PathBuf> =
        fits.into_iter().filter(|(f, _)| *f == best).map(|(_, d)| d).collect();
    // Among equals: the one in which the user stands, then the one at the same
    // place as over there.
    let standing = from_dir.and_then(|d| fs::canonicalize(d).ok());
    let near = |d: &PathBuf| standing.as_ref().is_some_and(|s| s.starts_with(d));
    let mut near_ones = found.iter().filter(|d| near(d));
    if let (Some(dir), None) = (near_ones.next(), near_ones.next()) {
        return Located::Dir(dir.clone());
    }
    if let Some(dir) = same_place.and_then(|p| fs::canonicalize(p).ok())
        && found.contains(&dir)
    {
        return Located::Dir(dir);
    }
    let mut found: Vec<PathBuf> = found.into_iter().collect();
    match (found.pop(), found.is_empty()) {
        (Some(dir), true) => Located::Dir(dir),
        (Some(dir), false) => {
            found.push(dir);
            Located::Ambiguous(found)
        }
        (None, _) => Located::Unknown,
    }
}

/// How a directory fits, and the directory within its repository that is meant.
fn fit(home: &Home, want: &ProjectIdentity, dir: &Path, at_place: bool) -> Option<(Fit, PathBuf)> {
    let place = git::place(dir);
    let have = describe_in(dir, home.user(), place.as_ref()).0;
    let meant = match &place {
        Some(p) => join_names(&p.top, &want.subdir)?,
        None => dir.to_owned(),
    };
    if have.remotes.iter().any(|r| want.remotes.contains(r)) {
        return Some((Fit::Remote, meant));
    }
    if !want.root_commit.is_empty() && have.root_commit == want.root_commit {
        return Some((Fit::History, meant));
    }
    let told = |p: &ProjectIdentity| !p.remotes.is_empty() || !p.root_commit.is_empty();
    let contradicts = told(want) && told(&have);
    (at_place && !contradicts).then(|| (Fit::Place, dir.to_owned()))
}

fn describe(dir: &Path, user_home: &Path) -> (ProjectIdentity, bool) {
    let place = git::place(dir);
    describe_in(dir, user_home, place.as_ref())
}

/// The identity, and whether it stays the same for as long as [`looks`] does.
fn describe_in(
    dir: &Path,
    user_home: &Path,
    place: Option<&git::Place>,
) -> (ProjectIdentity, bool) {
    let name = dir.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let mut identity = ProjectIdentity {
        name: clip(name),
        below_home: path_below_home(dir, user_home),
        ..ProjectIdentity::default()
    };
    let Some(place) = place else { return (identity, true) };
    let remotes: BTreeSet<String> =
        git::remotes(dir).iter().filter_map(|url| normalise_remote(url)).collect();
    identity.remotes = remotes.into_iter().filter(|r| r.len() <= 1024).take(REMOTES_MAX).collect();
    identity.subdir = clip(place.subdir.clone());
    let mut settled = true;
    if !place.shallow {
        match git::first_commit(dir) {
            Answer::Text(hash) => identity.root_commit = hash,
            // Too large to ask every time.
            Answer::Late => {}
            // There will be one some day.
            Answer::No => settled = false,
        }
    }
    (identity, settled)
}

/// What can be seen of a project's repository without asking git: its marker and
/// its configuration.
fn looks(dir: &Path) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for above in dir.ancestors() {
        let marker = above.join(".git");
        for path in [marker.join("config"), marker.clone()] {
            let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
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
    let dir = note.and_then(|v| read_mapping(&v)).map(|m| PathBuf::from(m.dir));
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
    let below = want.below_home.as_deref().filter(|b| !b.is_empty())?;
    join_names(home.user(), below)
}

/// Joins `/`-separated names that came from elsewhere; nothing if they climb.
fn join_names(base: &Path, names: &str) -> Option<PathBuf> {
    let mut path = base.to_owned();
    for name in names.split('/').filter(|n| !n.is_empty()) {
        let mut parts = Path::new(name).components();
        match (parts.next(), parts.next()) {
            (Some(Component::Normal(part)), None) if !name.contains('\0') => path.push(part),
            _ => return None,
        }
    }
    Some(path)
}

fn path_below_home(dir: &Path, user_home: &Path) -> Option<String> {
    let real = fs::canonicalize(user_home).ok();
    let below = dir
        .strip_prefix(user_home)
        .ok()
        .or_else(|| dir.strip_prefix(real.as_deref()?).ok())?;
    let names: Vec<&str> = below.iter().map(std::ffi::OsStr::to_str).collect::<Option<_>>()?;
    let path = names.join("/");
    (!path.is_empty() && path.len() <= limits::FOREIGN_PATH_BYTES_MAX).then_some(path)
}

fn clip(text: String) -> String {
    if text.len() <= 1024 { text } else { text.chars().take(256).collect() }
}

#[cfg(test)]
mod tests;
