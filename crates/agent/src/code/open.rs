//! Looking at a capsule that came from elsewhere, before git here sees anything of
//! it: in a repository of ours that borrows the clone's objects. Git checks every
//! object as it would one from a stranger, and what is to be written is listed and
//! held against the bounds.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ccpeer_formats::capsule::{Capsule, is_repo_path};

use super::borrow::{borrow, links_stay, sizes};
use super::keep::Kept;
use super::{
    CONTENT_BYTES_MAX, CodeError, FILE_BYTES_MAX, FILES_MAX, INDEX_PACK, LIST_BYTES_MAX,
    OBJECTS_MAX, PACK_BYTES_MAX, Scratch, UNPACKED_BYTES_MAX,
};
use crate::git::{Marker, marker_in};
use crate::home::Home;
use crate::mirror::repo::{Oid, Repo};
use crate::mirror::run::{Call, GitError, Stop};

/// How long git may look at a pack.
const INDEX_MAX: Duration = Duration::from_secs(60);
/// What git may take for one object while it does.
const ALLOC_MAX: u64 = 256 * 1024 * 1024;

/// A capsule that was found good, and the clone that it fits.
pub(super) struct Opened {
    pub(super) clone: Marker,
    pub(super) capsule: Capsule,
    pub(super) pack: Option<Vec<u8>>,
    /// What is to be done in the work tree after the index was checked out.
    pub(super) changes: Vec<Change>,
    pub(super) submodules: Vec<OpenedSubmodule>,
}

/// A submodule of one.
pub(super) struct OpenedSubmodule {
    pub(super) path: String,
    /// Nothing if it cannot be checked out here.
    pub(super) opened: Option<Opened>,
    /// How it stood there, if that is known.
    pub(super) there: Option<Capsule>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    Remove(String),
    Write {
        path: String,
        link: bool,
        executable: bool,
        blob: Oid,
        size: u64,
    },
}

/// Opens a capsule for a clone.
pub(super) fn open(
    home: &Home,
    kept: &Kept<'_>,
    clone: Marker,
    stop: Stop<'_>,
) -> Result<Opened, CodeError> {
    if kept.capsule.head.is_empty() {
        return Err(CodeError::NoCommit);
    }
    let scratch = Scratch::new(home)?;
    let mut nth = 0;
    one(kept, &kept.capsule, clone, scratch.path(), &mut nth, stop)
}

fn one(
    kept: &Kept<'_>,
    capsule: &Capsule,
    clone: Marker,
    scratch: &Path,
    nth: &mut usize,
    stop: Stop<'_>,
) -> Result<Opened, CodeError> {
    *nth += 1;
    let dir = scratch.join(format!("repo-{nth}"));
    borrow(&dir, &clone.common, capsule.head.len() == 64, stop)?;
    let looking = Looking { dir: &dir, stop };
    let needs: Vec<&str> = match capsule.pack {
        Some(_) => capsule.needs.iter().map(String::as_str).collect(),
        None => vec![&capsule.head],
    };
    looking.must_have(&needs, capsule, &clone.top)?;
    let (mut pack, mut changes) = (None, Vec::new());
    if let Some(named) = &capsule.pack {
        let bytes = kept.pack(named.file)?;
        looking.take_in(&bytes)?;
        looking.must_have(&[&capsule.head], capsule, &clone.top)?;
        let own = looking.own_objects()?;
        let repo = Repo::of(&dir, stop);
        for commit in [&capsule.head, &named.index, &named.work] {
            if !looking.is_commit(commit)? {
                return Err(CodeError::Refused("a commit is none"));
            }
            if !links_stay(&repo, &dir, commit, &own, stop)? {
                return Err(CodeError::Refused("a link leads out of the repository"));
            }
        }
        // The index is git's to check out; what is staged keeps the same bounds.
        looking.changes(&capsule.head, &named.index)?;
        changes = looking.changes(&named.index, &named.work)?;
        pack = Some(bytes);
    }
    let mut submodules = Vec::new();
    for submodule in &capsule.submodules {
        let there = submodule.capsule.clone().filter(|c| !c.head.is_empty());
        let inner = marker_in(&clone.top.join(&submodule.path));
        let opened = match (&there, inner) {
            (Some(there), Some(inner)) => match one(kept, there, inner, scratch, nth, stop) {
                Ok(opened) => Some(opened),
                Err(CodeError::Missing { .. }) => None,
                Err(e) => return Err(e),
            },
            _ => None,
        };
        submodules.push(OpenedSubmodule {
            path: submodule.path.clone(),
            opened,
            there,
        });
    }
    Ok(Opened {
        clone,
        capsule: capsule.clone(),
        pack,
        changes,
        submodules,
    })
}

struct Looking<'d> {
    dir: &'d Path,
    stop: Stop<'d>,
}

impl Looking<'_> {
    fn call<'c>(&'c self, args: &[&'c str]) -> Call<'c> {
        Call::here(self.dir, args).out_max(LIST_BYTES_MAX)
    }

    fn is_commit(&self, oid: &str) -> Result<bool, CodeError> {
        let args = ["cat-file", "-t", oid];
        let said = self.call(&args).ask(self.stop)?;
        Ok(said.ok && said.out == b"commit\n")
    }

    /// Whether these commits are here; the first that is not is named.
    fn must_have(&self, commits: &[&str], capsule: &Capsule, top: &Path) -> Result<(), CodeError> {
        for commit in commits {
            if !self.is_commit(commit)? {
                return Err(CodeError::Missing {
                    commit: (*commit).to_owned(),
                    dir: PathBuf::from(top),
                    unsent: capsule.commits_left_out.is_some(),
                });
            }
        }
        Ok(())
    }

    /// Lets git look at a pack.
    fn take_in(&self, pack: &[u8]) -> Result<(), CodeError> {
        let max = format!("--max-input-size={PACK_BYTES_MAX}");
        let args = [&INDEX_PACK[..], &[&max]].concat();
        let mut call = self.call(&args).input(pack.to_vec());
        call.time_max = INDEX_MAX;
        let call = call.env("GIT_ALLOC_LIMIT", ALLOC_MAX.to_string());
        let said = call.ask(self.stop)?;
        if !said.ok {
            tracing::warn!(words = %said.complaint, "git refuses a pack that came with a session");
            return Err(CodeError::Refused("git refuses its objects"));
        }
        Ok(())
    }

    /// The blobs that came, within bounds.
    fn own_objects(&self) -> Result<Vec<(Oid, u64)>, CodeError> {
        let packs = std::fs::read_dir(self.dir.join("objects").join("pack"));
        let packs = packs.map_err(CodeError::Disk)?.flatten();
        let mut indexes = packs.filter(|p| p.path().extension().is_some_and(|e| e == "idx"));
        let index = indexes
            .next()
            .ok_or(CodeError::Refused("it has no objects"))?;
        let index = std::fs::read(index.path()).map_err(CodeError::Disk)?;
        let call = self.call(&["show-index"]).input(index);
        let out = call.must("show-index", self.stop)?;
        let out = String::from_utf8_lossy(&out);
        let oids: Vec<&str> = out.lines().filter_map(|l| l.split(' ').nth(1)).collect();
        if oids.len() > OBJECTS_MAX {
            return Err(CodeError::Refused("it has too many objects"));
        }
        let args = ["cat-file", "--batch-check=%(objectsize)"];
        let input: String = oids.iter().flat_map(|o| [*o, "\n"]).collect();
        let all = self.call(&args).input(input.into_bytes());
        let all = all.must("cat-file", self.stop)?;
        let all = String::from_utf8_lossy(&all);
        let sum = all.lines().map(|l| l.parse().unwrap_or(u64::MAX));
        if sum.fold(0, u64::saturating_add) > UNPACKED_BYTES_MAX {
            return Err(CodeError::Refused("it unpacks to too much"));
        }
        let sizes = sizes(self.dir, oids.iter().copied(), self.stop)?;
        let blobs = oids.iter().zip(sizes);
        Ok(blobs
            .filter_map(|(oid, size)| Some((Oid::parse(oid)?, size?)))
            .collect())
    }

    /// What leads from one tree to the other.
    fn changes(&self, index: &str, work: &str) -> Result<Vec<Change>, CodeError> {
        let args = [
            "diff-tree",
            "-r",
            "-z",
            "--raw",
            "--no-renames",
            index,
            work,
        ];
        let out = self.call(&args).must("diff-tree", self.stop)?;
        let mut fields = out.split(|b| *b == 0).filter(|f| !f.is_empty());
        let mut changes = Vec::new();
        let mut blobs = Vec::new();
        while let (Some(head), Some(path)) = (fields.next(), fields.next()) {
            let nonsense = CodeError::Git(GitError::Nonsense("diff-tree"));
            let head = std::str::from_utf8(head)
                .ok()
                .and_then(|h| h.strip_prefix(':'));
            let head: Vec<&str> = head.ok_or(nonsense)?.split(' ').collect();
            let [_, mode, _, oid, _] = head.as_slice() else {
                return Err(GitError::Nonsense("diff-tree").into());
            };
            let path = std::str::from_utf8(path).ok().filter(|p| is_repo_path(p));
            let path = path.ok_or(CodeError::Refused("a path leads out of the repository"))?;
            let path = path.to_owned();
            match *mode {
                "000000" => changes.push(Change::Remove(path)),
                // Submodules are dealt with by themselves.
                "160000" => {}
                "100644" | "100755" | "120000" => {
                    let blob = Oid::parse(oid).ok_or(GitError::Nonsense("diff-tree"))?;
                    blobs.push(blob.as_str().to_owned());
                    changes.push(Change::Write {
                        path,
                        link: *mode == "120000",
                        executable: *mode == "100755",
                        blob,
                        size: 0,
                    });
                }
                _ => return Err(CodeError::Refused("a file is neither a file nor a link")),
            }
        }
        let mut sizes = sizes(self.dir, blobs.iter().map(String::as_str), self.stop)?.into_iter();
        let mut total = 0;
        for change in &mut changes {
            if let Change::Write { size, .. } = change {
                let found = sizes.next().flatten();
                *size = found.ok_or(CodeError::Refused("a file is not in it"))?;
                total += *size;
                if *size > FILE_BYTES_MAX || total > CONTENT_BYTES_MAX {
                    return Err(CodeError::Refused("its files are too large"));
                }
            }
        }
        if blobs.len() > FILES_MAX {
            return Err(CodeError::Refused("it has too many files"));
        }
        Ok(changes)
    }
}
