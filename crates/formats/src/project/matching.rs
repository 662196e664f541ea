//! Which local directory is the project of a session from elsewhere.
//!
//! Must not know where its arguments come from: no disk, no git.

use std::collections::BTreeMap;

use ccpeer_core::manifest::{PathFlavour, ProjectIdentity};

use crate::remote_path::RemotePath;

/// A local directory that may be the project.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Candidate {
    /// The directory, absolute.
    pub dir: String,
    /// What its repository is told by here: all its worktrees have one. Empty
    /// where that is not known; then the top of the work tree stands for it.
    pub repository: String,
    /// Who it is: as [`identify`](super::identify) says of it.
    pub identity: ProjectIdentity,
}

/// Which candidate is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Match {
    /// This one.
    One(usize),
    /// Each of these as well as the others: ask.
    Many(Vec<usize>),
    /// None of them.
    None,
}

/// By what two repositories are one project, the surest last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Likeness {
    /// They begin with the same commit; one may be a fork of the other.
    FirstCommit,
    /// They share a remote; the first commit of one of them is not known.
    Remote,
    /// They share both.
    RemoteAndCommit,
}

/// By what both are one project, if they are.
#[must_use]
pub fn likeness(wanted: &ProjectIdentity, here: &ProjectIdentity) -> Option<Likeness> {
    let known = !wanted.root_commit.is_empty() && !here.root_commit.is_empty();
    let same_root = known && wanted.root_commit == here.root_commit;
    let same_remote = wanted.remotes.iter().any(|r| here.remotes.contains(r));
    match (same_remote, same_root) {
        (true, true) => Some(Likeness::RemoteAndCommit),
        (true, false) if !known => Some(Likeness::Remote),
        (false, true) => Some(Likeness::FirstCommit),
        _ => None,
    }
}

/// Finds the project among local repositories.
///
/// A candidate is the same project if it shares a remote and its first commit
/// does not contradict, or if it shares the first commit. Sharing both outranks
/// sharing a remote, which outranks sharing the commit (a fork of it). Among
/// equals, one with exactly the same remotes is preferred, then one that lies at
/// the same place below a projects root or the home. Directories and worktrees
/// of one repository count once, the one with the same place in it first; see
/// [`Candidate::place`] for where the session belongs then.
#[must_use]
pub fn match_project(identity: &ProjectIdentity, candidates: &[Candidate]) -> Match {
    let like = |c: &Candidate| likeness(identity, &c.identity);
    let Some(best) = candidates.iter().filter_map(like).max() else {
        return Match::None;
    };
    let found = repositories(identity, candidates, |c| like(c) == Some(best));
    let same_remotes = |c: &Candidate| c.identity.remotes == identity.remotes;
    let same_place = |c: &Candidate| {
        let same = |there: &Option<String>, here: &Option<String>| there.is_some() && there == here;
        same(&identity.below_root, &c.identity.below_root)
            || same(&identity.below_home, &c.identity.below_home)
    };
    let among = |from: &[usize], fits: &dyn Fn(&Candidate) -> bool| -> Vec<usize> {
        let fits = |i: &usize| candidates.get(*i).is_some_and(fits);
        from.iter().copied().filter(fits).collect()
    };
    let mut left = found.clone();
    for fits in [&same_remotes as &dyn Fn(&Candidate) -> bool, &same_place] {
        if let [one] = left.as_slice() {
            return Match::One(*one);
        }
        let fitting = among(&left, fits);
        if !fitting.is_empty() {
            left = fitting;
        }
    }
    match left.as_slice() {
        [one] => Match::One(*one),
        _ => Match::Many(found),
    }
}

/// The one candidate that is the project without doubt: told by a remote and the
/// first commit while no other repository shares a remote, or by the first
/// commit while no other repository has it. A place never decides.
#[must_use]
pub fn certain_match(
    identity: &ProjectIdentity,
    candidates: &[Candidate],
) -> Option<(usize, Likeness)> {
    let like = |c: &Candidate| likeness(identity, &c.identity);
    let best = candidates.iter().filter_map(like).max()?;
    let least = match best {
        Likeness::RemoteAndCommit => Likeness::Remote,
        Likeness::FirstCommit => Likeness::FirstCommit,
        // The commits might tell them apart, if they were known.
        Likeness::Remote => return None,
    };
    let found = repositories(identity, candidates, |c| like(c) >= Some(least));
    match found.as_slice() {
        [one] => Some((*one, best)),
        _ => None,
    }
}

/// For each repository one of its candidates, the one with the same place in it
/// first.
fn repositories(
    identity: &ProjectIdentity,
    candidates: &[Candidate],
    fits: impl Fn(&Candidate) -> bool,
) -> Vec<usize> {
    let mut chosen: BTreeMap<String, usize> = BTreeMap::new();
    for (i, candidate) in candidates.iter().enumerate().filter(|(_, c)| fits(c)) {
        let exact = |at: usize| {
            let subdir = candidates.get(at).map(|c| &c.identity.subdir);
            subdir == Some(&identity.subdir)
        };
        let at = chosen.entry(candidate.key()).or_insert(i);
        if exact(i) && !exact(*at) {
            *at = i;
        }
    }
    let mut found: Vec<usize> = chosen.into_values().collect();
    found.sort_unstable();
    found
}

impl Candidate {
    fn path(&self) -> Option<RemotePath> {
        let flavour = if self.dir.starts_with('/') {
            PathFlavour::Unix
        } else {
            PathFlavour::Windows
        };
        RemotePath::parse(&self.dir, flavour).ok()
    }

    /// What stands for its repository.
    fn key(&self) -> String {
        if !self.repository.is_empty() {
            return self.repository.clone();
        }
        self.top()
            .map_or_else(|| self.dir.clone(), |top| top.to_string())
    }

    /// The top of its work tree.
    #[must_use]
    pub fn top(&self) -> Option<RemotePath> {
        let levels = self
            .identity
            .subdir
            .split('/')
            .filter(|s| !s.is_empty())
            .count();
        (0..levels).try_fold(self.path()?, |path, _| path.parent())
    }

    /// Where a session of this project belongs: the same place in the
    /// repository. `None` if that is no path of this system.
    #[must_use]
    pub fn place(&self, identity: &ProjectIdentity) -> Option<String> {
        Some(self.top()?.join(&identity.subdir).ok()?.to_string())
    }
}

/// A work tree of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Worktree {
    /// Its top, absolute.
    pub top: String,
    /// The branch that is checked out; empty if none is.
    pub branch: String,
    /// Made by `git worktree add`, not the repository's own.
    pub linked: bool,
}

/// Why a work tree was chosen among those of a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Because {
    /// The branch of the session is checked out there.
    Branch,
    /// It is called like the one in which the session was begun.
    Name,
    /// It is the repository's own, and the session was begun in one as well.
    Own,
    /// There is none that fits better than the repository's own, or than the
    /// only one.
    Rest,
}

/// In which work tree of its repository a session belongs: the one that has its
/// branch, else the one of the same name, else the repository's own.
///
/// `branch` is the session's, or empty. None if each fits as well as the others.
#[must_use]
pub fn choose_worktree(
    identity: &ProjectIdentity,
    branch: &str,
    all: &[Worktree],
) -> Option<(usize, Because)> {
    let one = |fits: &dyn Fn(&Worktree) -> bool| {
        let mut found = all.iter().enumerate().filter(|(_, w)| fits(w));
        let first = found.next().map(|(at, _)| at);
        first.filter(|_| found.next().is_none())
    };
    if !branch.is_empty()
        && branch != "HEAD"
        && let Some(at) = one(&|w| w.branch == branch)
    {
        return Some((at, Because::Branch));
    }
    if let Some(name) = &identity.worktree
        && let Some(at) = one(&|w| w.linked && last_name(&w.top) == name)
    {
        return Some((at, Because::Name));
    }
    if let Some(at) = one(&|w| !w.linked) {
        let because = match identity.worktree {
            None => Because::Own,
            Some(_) => Because::Rest,
        };
        return Some((at, because));
    }
    one(&|_| true).map(|at| (at, Because::Rest))
}

/// The last name of a path of this system.
fn last_name(path: &str) -> &str {
    path.trim_end_matches(['/', '\\'])
        .rsplit(['/', '\\'])
        .next()
        .unwrap_or_default()
}

/// Where a project may lie that no repository tells, the exact places first: at
/// the same place below a projects root here as below one there, below the home
/// as there; then, where only one of the two devices names a root, below the
/// one as below the other.
#[must_use]
pub fn places(
    identity: &ProjectIdentity,
    roots: &[String],
    home: &str,
    flavour: PathFlavour,
) -> (Vec<String>, Vec<String>) {
    let join = |base: &str, below: &Option<String>| {
        let below = below.as_deref().filter(|b| !b.is_empty())?;
        let base = RemotePath::parse(base, flavour).ok()?;
        Some(base.join(below).ok()?.to_string())
    };
    let mut exact: Vec<String> = roots
        .iter()
        .filter_map(|root| join(root, &identity.below_root))
        .collect();
    exact.extend(join(home, &identity.below_home));
    let mut crossed = Vec::new();
    if identity.below_root.is_none() {
        crossed.extend(
            roots
                .iter()
                .filter_map(|root| join(root, &identity.below_home)),
        );
    } else if roots.is_empty() {
        crossed.extend(join(home, &identity.below_root));
    }
    (exact, crossed)
}
