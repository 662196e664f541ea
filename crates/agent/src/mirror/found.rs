//! A repository that is to be imported: its files are read through plumbing, never
//! checked out; nothing in it is run, and its names are data.

use std::path::{Path, PathBuf};

use super::repo::{Node, Oid, Repo, clone_to};
use super::run::{Call, GitError, Stop};

/// Branches beside the one that is checked out that are looked at.
const BRANCHES_MAX: usize = 64;

/// Where a repository lies, and the commit whose files count: to look again later.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    dir: PathBuf,
    tip: Oid,
}

impl Place {
    pub(crate) fn open<'s>(&self, stop: Stop<'s>) -> Found<'s> {
        Found {
            repo: Repo::of(&self.dir, stop),
            tip: self.tip.clone(),
        }
    }
}

/// A repository, and the commit whose files count.
pub(crate) struct Found<'s> {
    pub(crate) repo: Repo<'s>,
    pub(crate) tip: Oid,
}

/// Why there is nothing to import.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FoundError {
    /// Git.
    #[error(transparent)]
    Git(#[from] GitError),
    /// It is none.
    #[error("{0} is no git repository")]
    None(String),
    /// Nobody has committed anything.
    #[error("the repository is empty")]
    Empty,
    /// Our own disk.
    #[error("cannot unpack what is imported: {0}")]
    Disk(#[from] std::io::Error),
}

/// Looks at a path, or copies what an address names into `scratch`.
pub(crate) fn find(from: &str, scratch: &Path, stop: Stop<'_>) -> Result<Place, FoundError> {
    let dir = if Path::new(from).is_absolute() {
        git_dir(Path::new(from), stop)?
    } else {
        let copy = scratch.join("repo.git");
        let _none = std::fs::remove_dir_all(&copy);
        clone_to(from, &copy, stop)?;
        copy
    };
    let repo = Repo::of(&dir, stop);
    let tip = repo.resolve("HEAD^{commit}")?.ok_or(FoundError::Empty)?;
    Ok(Place { dir, tip })
}

/// Where the repository of a work tree lies, or a bare one.
fn git_dir(path: &Path, stop: Stop<'_>) -> Result<PathBuf, FoundError> {
    let none = || FoundError::None(path.display().to_string());
    let text = path.to_str().ok_or_else(none)?;
    let args = ["-C", text, "rev-parse", "--absolute-git-dir"];
    let mut call = Call::here(path, &args);
    call.dir = None;
    let said = call.ask(stop)?;
    if !said.ok {
        // One that belongs to somebody else is told in git's words.
        return Err(match said.complaint.contains("dubious ownership") {
            true => GitError::Refused {
                what: "rev-parse",
                words: said.complaint,
            }
            .into(),
            false => none(),
        });
    }
    let dir = String::from_utf8_lossy(&said.out);
    let dir = dir.lines().next().filter(|d| !d.is_empty());
    dir.map(PathBuf::from).ok_or_else(none)
}

impl Found<'_> {
    /// The files below a path, with their blobs: plain files up to this size.
    pub(crate) fn files(
        &self,
        below: &str,
        bytes_max: u64,
    ) -> Result<Vec<(String, Node)>, GitError> {
        let mut files = self.repo.files(&self.tip, below)?;
        files.retain(|(_, n)| n.is_file() && n.size.is_some_and(|s| s <= bytes_max));
        Ok(files)
    }

    /// Tips of branches that have something which the commit that counts has not.
    /// A work tree that was left in the middle of a rebase has what it could not put
    /// on top in its branch alone.
    pub(crate) fn besides(&self) -> Result<Vec<Oid>, GitError> {
        let mut besides: Vec<Oid> = Vec::new();
        for tip in self.repo.branches(BRANCHES_MAX)? {
            if !besides.contains(&tip) && !self.repo.is_ancestor(&tip, &self.tip)? {
                besides.push(tip);
            }
        }
        Ok(besides)
    }
}
