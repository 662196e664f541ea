//! Searching the directory of a project: first what the user said, then what a
//! placement left, then what repositories and places tell.
//!
//! One finder looks at the disk once for many questions; it is made anew for
//! each round of them. Must not know what the answers are for.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use ccpeer_core::manifest::ProjectIdentity;
use ccpeer_core::text;
use ccpeer_formats::project::{
    self as rules, Because, Candidate, Likeness, Match, Worktree, choose_worktree, match_project,
};
use ccpeer_store::{Store, StoreError};

use super::mapping::{self, Mapping};
use super::roots::Around;
use super::{Located, identity_again, use_dir};
use crate::api::KnownBy;
use crate::capture;
use crate::git;
use crate::home::Home;
use crate::local::{KnownProject, LocalState};

/// Directories that are asked for their identity in one search. Each may cost a
/// few short runs of git.
const CANDIDATES_MAX: usize = 128;
/// How deep repositories are looked for below a projects root.
const ROOT_DEPTH_MAX: usize = 3;
/// Directories that are looked into for that.
const ROOT_DIRS_MAX: usize = 4096;
/// Bytes of a repository's configuration that are read.
const CONFIG_BYTES_MAX: u64 = 256 * 1024;
/// Characters of a branch's or worktree's name that are shown.
const NAME_CHARS_MAX: usize = 60;

/// What is known of directories here.
pub(crate) struct Finder {
    around: Around,
    mappings: Vec<Mapping>,
    /// Where sessions were started, with what is remembered of each place.
    dirs: BTreeMap<PathBuf, Option<KnownProject>>,
    candidates: OnceCell<Vec<Candidate>>,
    below_roots: OnceCell<Vec<(PathBuf, Vec<String>)>>,
}

/// Where in its repository a session belongs.
enum Settled {
    Dir(PathBuf, Option<String>),
    Many(Vec<PathBuf>),
    Missing(PathBuf),
}

impl Finder {
    /// # Errors
    /// When the store cannot be read.
    pub(crate) fn new(store: &Store, home: &Home) -> Result<Self, StoreError> {
        let mut dirs = BTreeMap::new();
        for (_, state) in LocalState::load_all(store)? {
            let entry = dirs.entry(PathBuf::from(state.here.project)).or_default();
            if let Some(known) = state.project {
                *entry = Some(known);
            }
        }
        Ok(Self {
            around: Around::load(store, home)?,
            mappings: Mapping::all(store)?,
            dirs,
            candidates: OnceCell::new(),
            below_roots: OnceCell::new(),
        })
    }

    /// The directory of a project, if it is that without doubt: because the user
    /// said so; or by a remote and the first commit, or the first commit alone,
    /// where nothing else here could be meant. `branch` is the session's, `begun`
    /// are directories in which sessions have begun that nobody has captured yet.
    pub(crate) fn certain(
        &self,
        want: &ProjectIdentity,
        branch: &str,
        begun: &[&Path],
    ) -> Option<PathBuf> {
        match self.said(want) {
            Some(Located::Dir(dir, _)) => return Some(dir),
            Some(_) => return None,
            None => {}
        }
        if !mapping::is_told(want) {
            return None;
        }
        let candidates = self.candidates_for(want, begun);
        let (at, _) = rules::certain_match(want, &candidates)?;
        match self.settle(want, branch, candidates.get(at)?, None) {
            Settled::Dir(dir, _) => Some(dir),
            Settled::Many(_) | Settled::Missing(_) => None,
        }
    }

    /// The directory of a project, as far as can be told. `from_dir` is where the
    /// user stands: it counts if it is the project, and never otherwise.
    pub(crate) fn locate(
        &self,
        want: &ProjectIdentity,
        branch: &str,
        from_dir: Option<&Path>,
    ) -> Located {
        if let Some(said) = self.said(want) {
            return said;
        }
        if let Some(dir) = self.placed(want) {
            return self.in_its_tree(want, branch, dir);
        }
        let candidates = self.candidates_for(want, from_dir.as_slice());
        let standing = from_dir.and_then(|dir| use_dir(dir).ok());
        let matching = match match_project(want, &candidates) {
            Match::One(at) => vec![at],
            Match::Many(all) => all,
            Match::None => return self.at_same_place(want, &candidates),
        };
        let (mut found, mut missing) = (Vec::new(), None);
        for candidate in matching.iter().filter_map(|at| candidates.get(*at)) {
            match self.settle(want, branch, candidate, standing.as_deref()) {
                Settled::Dir(dir, remark) => found.push((dir, remark)),
                Settled::Many(dirs) => found.extend(dirs.into_iter().map(|dir| (dir, None))),
                Settled::Missing(top) => missing = missing.or(Some(top)),
            }
        }
        found.sort();
        found.dedup_by(|a, b| a.0 == b.0);
        match (found.len(), missing) {
            (0, Some(top)) => Located::Missing {
                top,
                subdir: want.subdir.clone(),
            },
            (0, None) => Located::Unknown,
            (1, _) => match found.pop() {
                Some((dir, remark)) => Located::Dir(dir, remark),
                None => Located::Unknown,
            },
            _ => match found
                .iter()
                .position(|(dir, _)| is_near(standing.as_deref(), dir))
            {
                Some(at) => {
                    let (dir, remark) = found.swap_remove(at);
                    Located::Dir(dir, remark)
                }
                None => Located::Ambiguous(found.into_iter().map(|(dir, _)| dir).collect()),
            },
        }
    }

    /// What this directory is.
    pub(crate) fn identity(&self, dir: &Path) -> ProjectIdentity {
        let known = self.dirs.get(dir).and_then(Option::as_ref);
        identity_again(dir, &self.around, known).0
    }

    /// How it is known that a project lies there: by the user's word, or by what
    /// is the same there; nothing if neither.
    pub(crate) fn known_by(&self, want: &ProjectIdentity, dir: &Path) -> Option<KnownBy> {
        if let Some(Located::Dir(said, _)) = self.said(want)
            && said == dir
        {
            return Some(KnownBy::Said);
        }
        let here = self.identity(dir);
        match rules::likeness(want, &here) {
            Some(Likeness::RemoteAndCommit | Likeness::Remote) => Some(KnownBy::GitRemote),
            Some(Likeness::FirstCommit) => Some(KnownBy::FirstCommit),
            None => {
                let same = |a: &Option<String>, b: &Option<String>| a.is_some() && a == b;
                let same = same(&want.below_root, &here.below_root)
                    || same(&want.below_home, &here.below_home);
                same.then_some(KnownBy::SamePlace)
            }
        }
    }

    pub(crate) fn mappings(&self) -> &[Mapping] {
        &self.mappings
    }

    /// Where the user said that a project lies.
    fn said(&self, want: &ProjectIdentity) -> Option<Located> {
        let said = self.mappings.iter().filter(|m| m.said && m.dir.is_dir());
        let places: Vec<(PathBuf, bool, &Mapping)> = said
            .filter_map(|m| m.place(want).map(|(dir, exact)| (dir, exact, m)))
            .collect();
        if let Some((dir, _, _)) = places.iter().find(|(_, exact, _)| *exact) {
            return Some(Located::Dir(dir.clone(), None));
        }
        let dirs: BTreeSet<PathBuf> = places
            .iter()
            .filter_map(|(dir, _, _)| use_dir(dir).ok())
            .collect();
        let dirs: Vec<PathBuf> = dirs.into_iter().collect();
        match (dirs.as_slice(), places.first()) {
            ([one], _) => Some(Located::Dir(one.clone(), None)),
            ([], Some((_, _, mapping))) if mapping::is_told(want) => Some(Located::Missing {
                top: mapping.dir.clone(),
                subdir: want.subdir.clone(),
            }),
            ([], _) => None,
            _ => Some(Located::Ambiguous(dirs)),
        }
    }

    /// Where a placement of exactly this project went.
    fn placed(&self, want: &ProjectIdentity) -> Option<PathBuf> {
        let key = mapping::key(want);
        let mut placed = self.mappings.iter().filter(|m| !m.said);
        placed
            .find(|m| mapping::key(&m.identity) == key && m.dir.is_dir())
            .map(|m| m.dir.clone())
    }

    /// This directory, or the same place in a worktree of its repository that
    /// fits the session better.
    fn in_its_tree(&self, want: &ProjectIdentity, branch: &str, dir: PathBuf) -> Located {
        let marker = git::marker(&dir).filter(git::Marker::has_linked);
        let better = marker.and_then(|marker| {
            let trees = trees(&marker.top);
            let (at, because) = choose_worktree(want, branch, &trees)?;
            let tree = trees.get(at)?;
            let fits = matches!(because, Because::Branch | Because::Name);
            let within = dir.strip_prefix(&marker.top).ok()?;
            let there = use_dir(&Path::new(&tree.top).join(within)).ok()?;
            (fits && there != dir).then(|| (there, remark(want, tree, because)))
        });
        match better {
            Some((there, remark)) => Located::Dir(there, remark),
            None => Located::Dir(dir, None),
        }
    }

    /// The place of a session in the repository of a candidate.
    fn settle(
        &self,
        want: &ProjectIdentity,
        branch: &str,
        candidate: &Candidate,
        standing: Option<&Path>,
    ) -> Settled {
        let top = match candidate.top() {
            Some(top) => PathBuf::from(top.to_string()),
            None => PathBuf::from(&candidate.dir),
        };
        let below = |top: &Path| {
            let dir = mapping::join(top, &want.subdir)?;
            use_dir(&dir).ok()
        };
        let marker = git::marker_in(&top).filter(git::Marker::has_linked);
        let trees = marker.map(|m| trees(&m.top)).unwrap_or_default();
        if trees.is_empty() {
            return match below(&top) {
                Some(dir) => Settled::Dir(dir, None),
                None => Settled::Missing(top),
            };
        }
        let chosen = choose_worktree(want, branch, &trees);
        let fits = matches!(chosen, Some((_, Because::Branch | Because::Name)));
        let stood_in = trees.iter().position(|tree| {
            let nearest = standing.and_then(git::marker);
            nearest.is_some_and(|m| Path::new(&tree.top) == m.top)
        });
        let (at, because) = match (stood_in, chosen) {
            (Some(at), _) if !fits => (at, Because::Own),
            (_, Some(chosen)) => chosen,
            _ => {
                let all: Vec<PathBuf> = trees
                    .iter()
                    .filter_map(|t| below(Path::new(&t.top)))
                    .collect();
                return match all.is_empty() {
                    true => Settled::Missing(top),
                    false => Settled::Many(all),
                };
            }
        };
        let Some(tree) = trees.get(at) else {
            return Settled::Missing(top);
        };
        match below(Path::new(&tree.top)) {
            Some(dir) => Settled::Dir(dir, remark(want, tree, because)),
            None => Settled::Missing(PathBuf::from(&tree.top)),
        }
    }

    /// The directory at the same place below a root or the home, if nothing says
    /// that it is another project.
    fn at_same_place(&self, want: &ProjectIdentity, candidates: &[Candidate]) -> Located {
        let (exact, crossed) = self.places(want);
        for places in [exact, crossed] {
            let fits = |dir: &PathBuf| {
                let here = candidates.iter().find(|c| Path::new(&c.dir) == dir);
                here.is_some_and(|c| !(mapping::is_told(want) && mapping::is_told(&c.identity)))
            };
            let dirs: BTreeSet<PathBuf> = places.into_iter().filter(fits).collect();
            let mut dirs: Vec<PathBuf> = dirs.into_iter().collect();
            match dirs.len() {
                0 => {}
                1 => {
                    return dirs
                        .pop()
                        .map_or(Located::Unknown, |d| Located::Dir(d, None));
                }
                _ => return Located::Ambiguous(dirs),
            }
        }
        Located::Unknown
    }

    /// The places of a project that are directories here.
    fn places(&self, want: &ProjectIdentity) -> (Vec<PathBuf>, Vec<PathBuf>) {
        let texts = self.around.root_texts();
        let home = self.around.home.to_string_lossy();
        let (exact, crossed) = rules::places(want, &texts, &home, capture::FLAVOUR);
        let real = |places: Vec<String>| -> Vec<PathBuf> {
            let dirs = places.iter().map(Path::new);
            dirs.filter_map(|dir| use_dir(dir).ok()).collect()
        };
        (real(exact), real(crossed))
    }

    fn candidates_for(&self, want: &ProjectIdentity, from_dirs: &[&Path]) -> Vec<Candidate> {
        let mut out = self.local().to_vec();
        let mut looked: BTreeSet<PathBuf> = out.iter().map(|c| PathBuf::from(&c.dir)).collect();
        let (exact, crossed) = self.places(want);
        let more = (from_dirs.iter().filter_map(|dir| use_dir(dir).ok()))
            .chain(exact)
            .chain(crossed)
            .chain(self.sharing_a_remote(want));
        for dir in more.take(CANDIDATES_MAX) {
            if looked.insert(dir.clone()) {
                out.push(self.candidate(&dir));
            }
        }
        out
    }

    /// Where sessions were started here, or placed.
    fn local(&self) -> &[Candidate] {
        self.candidates.get_or_init(|| {
            let mapped = self.mappings.iter().map(|m| &m.dir);
            let dirs: BTreeSet<PathBuf> = (self.dirs.keys().chain(mapped))
                .filter_map(|dir| use_dir(dir).ok())
                .collect();
            if dirs.len() > CANDIDATES_MAX {
                tracing::warn!(max = CANDIDATES_MAX, "more directories than are compared");
            }
            let dirs = dirs.iter().take(CANDIDATES_MAX);
            dirs.map(|dir| self.candidate(dir)).collect()
        })
    }

    fn candidate(&self, dir: &Path) -> Candidate {
        let common = git::marker(dir).map(|m| m.common.to_string_lossy().into_owned());
        Candidate {
            dir: dir.to_string_lossy().into_owned(),
            repository: common.unwrap_or_default(),
            identity: self.identity(dir),
        }
    }

    /// Repositories below the projects roots that share a remote, as their
    /// configuration says without git.
    fn sharing_a_remote(&self, want: &ProjectIdentity) -> Vec<PathBuf> {
        if want.remotes.is_empty() || self.around.roots.is_empty() {
            return Vec::new();
        }
        let all = self.below_roots.get_or_init(|| {
            let tops = repositories_below(&self.around.roots);
            tops.into_iter()
                .map(|top| {
                    let remotes = remotes_in_config(&top);
                    (top, remotes)
                })
                .collect()
        });
        all.iter()
            .filter(|(_, remotes)| remotes.iter().any(|r| want.remotes.contains(r)))
            .map(|(top, _)| top.clone())
            .collect()
    }
}

fn trees(top: &Path) -> Vec<Worktree> {
    git::worktrees(top)
        .into_iter()
        .map(|(top, branch, linked)| Worktree {
            // As directories are resolved everywhere.
            top: use_dir(&top).unwrap_or(top).to_string_lossy().into_owned(),
            branch,
            linked,
        })
        .collect()
}

/// What is said about the choice of a work tree, where it is not the obvious one.
fn remark(want: &ProjectIdentity, tree: &Worktree, because: Because) -> Option<String> {
    let shown = |name: &str| text::one_line(name, NAME_CHARS_MAX);
    let here = Path::new(&tree.top).file_name().unwrap_or_default();
    let here = shown(&here.to_string_lossy());
    match (because, tree.linked, &want.worktree) {
        (Because::Branch, true, _) => Some(format!(
            "in the worktree {here}, which has the session's branch {}",
            shown(&tree.branch)
        )),
        (Because::Name, true, _) => Some(format!(
            "in the worktree {here}, called as the one in which the session was begun"
        )),
        (Because::Rest, false, Some(there)) => Some(format!(
            "in the main checkout: the worktree {} is not here",
            shown(there)
        )),
        _ => None,
    }
}

/// Whether the user stands in this directory's project: anywhere in the same work
/// tree is near enough.
fn is_near(standing: Option<&Path>, dir: &Path) -> bool {
    let top = |dir: &Path| git::marker(dir).map(|m| m.top);
    standing.is_some_and(|s| s.starts_with(dir) || top(s).is_some_and(|t| Some(t) == top(dir)))
}

/// Tops of work trees below the roots, not looked for in each other.
fn repositories_below(roots: &[PathBuf]) -> Vec<PathBuf> {
    let mut found = BTreeSet::new();
    let mut looked = 0;
    let roots = roots.iter().filter_map(|root| use_dir(root).ok());
    let mut waiting: Vec<(PathBuf, usize)> = roots.map(|root| (root, 0)).collect();
    while let Some((dir, depth)) = waiting.pop() {
        looked += 1;
        if looked > ROOT_DIRS_MAX {
            tracing::warn!(
                max = ROOT_DIRS_MAX,
                "not everything below the projects roots is looked at"
            );
            break;
        }
        if git::marker_in(&dir).is_some() {
            found.insert(dir);
            continue;
        }
        if depth == ROOT_DEPTH_MAX {
            continue;
        }
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let hidden = entry.file_name().to_string_lossy().starts_with('.');
            if !hidden && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                waiting.push((entry.path(), depth + 1));
            }
        }
    }
    found.into_iter().collect()
}

/// The remotes that a repository's configuration names. It may say more in files
/// that it includes; then git will tell, once somebody works there.
fn remotes_in_config(top: &Path) -> Vec<String> {
    use std::io::Read;
    let Some(marker) = git::marker_in(top) else {
        return Vec::new();
    };
    let mut text = String::new();
    let read = fs::File::open(marker.common.join("config"))
        .and_then(|file| file.take(CONFIG_BYTES_MAX).read_to_string(&mut text));
    if read.is_err() {
        return Vec::new();
    }
    let mut in_remote = false;
    let mut out = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            in_remote = line.starts_with("[remote ");
        } else if in_remote
            && let Some((name, url)) = line.split_once('=')
            && name.trim() == "url"
        {
            out.extend(rules::normalise_remote(url.trim().trim_matches('"')));
        }
    }
    out
}
