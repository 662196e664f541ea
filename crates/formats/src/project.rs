//! Which project a directory is, in terms that mean something elsewhere, and
//! which local directory is the project of a session from elsewhere.
//!
//! Facts about git repositories come in as values; nothing here asks for them.
//! Must not know how a session's files are laid out.

mod matching;
mod remote;
#[cfg(test)]
mod tests;

use ccpeer_core::manifest::{PathFlavour, ProjectIdentity};

use crate::remote_path::RemotePath;

pub use matching::{
    Because, Candidate, Likeness, Match, Worktree, certain_match, choose_worktree, likeness,
    match_project, places,
};
pub use remote::normalise_remote;

/// What is known about a directory in which a session was started.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The directory, absolute.
    pub dir: &'a str,
    /// The user's home directory.
    pub home: &'a str,
    /// Directories that hold projects, as the user said.
    pub roots: &'a [String],
    /// How paths are written here.
    pub flavour: PathFlavour,
    /// Its repository, if it lies in one.
    pub git: Option<GitFacts<'a>>,
}

/// What git says about a repository.
#[derive(Debug, Clone, Copy)]
pub struct GitFacts<'a> {
    /// Top of the working tree, absolute.
    pub top: &'a str,
    /// URLs of its remotes, as configured.
    pub remotes: &'a [String],
    /// Hash of its first commit; empty if there is none, or if a shallow clone
    /// hides it. Of several, the smallest.
    pub root_commit: &'a str,
    /// The work tree was made by `git worktree add`.
    pub linked: bool,
}

/// The project's identity.
#[must_use]
pub fn identify(facts: &Facts<'_>) -> ProjectIdentity {
    let dir = RemotePath::parse(facts.dir, facts.flavour).ok();
    let below = |base: &str| {
        let base = RemotePath::parse(base, facts.flavour).ok()?;
        dir.as_ref()?.strip_prefix(&base)
    };
    let mut identity = ProjectIdentity {
        name: dir
            .as_ref()
            .and_then(RemotePath::file_name)
            .unwrap_or_default()
            .to_owned(),
        // A home directory is no project of another home, nor is a root.
        below_home: below(facts.home).filter(|b| !b.is_empty()),
        below_root: (facts.roots.iter())
            .filter_map(|root| below(root).filter(|b| !b.is_empty()))
            .min_by_key(String::len),
        ..ProjectIdentity::default()
    };
    if let Some(git) = &facts.git {
        identity.remotes = git
            .remotes
            .iter()
            .filter_map(|url| normalise_remote(url))
            .take(REMOTES_MAX)
            .collect();
        identity.remotes.sort();
        identity.remotes.dedup();
        if is_commit(git.root_commit) {
            identity.root_commit = git.root_commit.to_ascii_lowercase();
        }
        identity.subdir = below(git.top).unwrap_or_default();
        identity.worktree = RemotePath::parse(git.top, facts.flavour)
            .ok()
            .filter(|_| git.linked)
            .and_then(|top| Some(top.file_name()?.to_owned()));
    }
    identity
}

/// Remotes of one repository that are looked at; a manifest names no more.
const REMOTES_MAX: usize = 32;

fn is_commit(hash: &str) -> bool {
    matches!(hash.len(), 40 | 64) && hash.bytes().all(|c| c.is_ascii_hexdigit())
}
