//! A repository of ours that reads the user's objects, and writes only its own.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use ccpeer_formats::capsule::{Capsule, NEEDS_MAX, Why, stays_within};

use super::source::{Source, looks_secret};
use super::stream::Stream;
use super::{
    COMMITS_MAX, CONTENT_BYTES_MAX, CodeError, FILE_BYTES_MAX, LIST_BYTES_MAX, OBJECTS_MAX,
    PACK_BYTES_MAX,
};
use crate::mirror::repo::{Oid, Repo};
use crate::mirror::run::{Call, GitError, Stop};

/// Whose name stands in the two commits. They say nothing about a person, and nothing
/// about when: the same state gives the same objects.
const COMMITTER: &str = "committer ccpeer <ccpeer@localhost> 1 +0000\ndata 6\nccpeer\n";
/// Where the two commits stand in our repository.
const INDEX: &str = "refs/ccpeer/index";
const WORK: &str = "refs/ccpeer/work";

/// A repository of ours with the user's objects.
pub(super) struct Borrowed<'s> {
    dir: &'s Path,
    pub(super) repo: Repo<'s>,
    stop: Stop<'s>,
}

impl<'s> Borrowed<'s> {
    pub(super) fn new(
        source: &Source<'s>,
        dir: &'s Path,
        head: &str,
        index: &[u8],
    ) -> Result<Self, CodeError> {
        let oid = index
            .split(|b| *b == b' ')
            .nth(1)
            .map_or(head.len(), <[u8]>::len);
        borrow(
            dir,
            &source.marker.common,
            oid.max(head.len()) == 64,
            source.stop,
        )?;
        Ok(Self {
            dir,
            repo: Repo::of(dir, source.stop),
            stop: source.stop,
        })
    }

    fn call<'c>(&'c self, args: &[&'c str]) -> Call<'c> {
        Call::here(self.dir, args).out_max(LIST_BYTES_MAX)
    }

    /// What no remote has of the history, and whether it may come along.
    pub(super) fn commits(
        &self,
        source: &Source<'_>,
        capsule: &mut Capsule,
    ) -> Result<(), CodeError> {
        if capsule.head.is_empty() {
            return Ok(());
        }
        let mut tips = vec![capsule.head.clone()];
        tips.extend(capsule.merging.iter().cloned());
        let tips: Vec<&str> = tips.iter().map(String::as_str).collect();
        capsule.unsent = source.unsent(&tips)?;
        let kept = match capsule.unsent {
            0 => Err(None),
            n if n > COMMITS_MAX => Err(Some(Why::TooMuch)),
            _ => {
                let needs = source.boundary(&tips)?;
                match needs.len() > NEEDS_MAX {
                    true => Err(Some(Why::TooMuch)),
                    false => self.unsent_content(&tips, &needs).map(|why| match why {
                        None => Ok(needs),
                        why => Err(why),
                    })?,
                }
            }
        };
        match kept {
            Ok(needs) => capsule.needs = needs,
            Err(why) => {
                capsule.commits_left_out = why;
                capsule.needs = tips.iter().map(|t| (*t).to_owned()).collect();
            }
        }
        Ok(())
    }

    /// Why commits that no remote has may not come along.
    fn unsent_content(&self, tips: &[&str], needs: &[String]) -> Result<Option<Why>, CodeError> {
        let not: Vec<String> = needs.iter().map(|n| format!("^{n}")).collect();
        let mut args = vec!["rev-list", "--objects", "--no-object-names"];
        args.extend(tips);
        args.extend(not.iter().map(String::as_str));
        let out = self.call(&args).must("rev-list", self.stop)?;
        let out = String::from_utf8_lossy(&out);
        let all: Vec<&str> = out.lines().collect();
        if all.len() > OBJECTS_MAX {
            return Ok(Some(Why::TooMuch));
        }
        let sizes = self.sizes(all.iter().copied())?;
        let blobs: Vec<(Oid, u64)> = all
            .iter()
            .zip(sizes)
            .filter_map(|(oid, size)| Some((Oid::parse(oid)?, size?)))
            .collect();
        if blobs.iter().any(|(_, size)| *size > FILE_BYTES_MAX) {
            return Ok(Some(Why::TooLarge));
        }
        if blobs.iter().map(|(_, size)| size).sum::<u64>() > CONTENT_BYTES_MAX {
            return Ok(Some(Why::TooMuch));
        }
        let mut secret = false;
        self.repo.read(&blobs, &mut |_, bytes| {
            secret |= looks_secret(&bytes);
            !secret
        })?;
        if secret {
            return Ok(Some(Why::Secret));
        }
        for tip in tips {
            if !links_stay(&self.repo, self.dir, tip, &blobs, self.stop)? {
                return Ok(Some(Why::Link));
            }
        }
        Ok(None)
    }

    /// The sizes of blobs; nothing for what is none, or is not here.
    pub(super) fn sizes<'o>(
        &self,
        oids: impl Iterator<Item = &'o str>,
    ) -> Result<Vec<Option<u64>>, CodeError> {
        sizes(self.dir, oids, self.stop)
    }

    /// The index and the work tree as two commits. They stay in a pack: to write an
    /// object by itself, git would touch one of the user's that is the same.
    pub(super) fn commit(&self, head: &str, stream: Stream) -> Result<(Oid, Oid), CodeError> {
        let mut input = stream.blobs;
        input.extend_from_slice(format!("commit {INDEX}\n{COMMITTER}").as_bytes());
        if !head.is_empty() {
            input.extend_from_slice(format!("from {head}\n").as_bytes());
        }
        stream.index.say(&mut input);
        let second = format!("commit {WORK}\n{COMMITTER}from {INDEX}\n");
        input.extend_from_slice(second.as_bytes());
        stream.work.say(&mut input);
        input.extend_from_slice(b"done\n");
        let args = [
            "-c",
            "fastimport.unpackLimit=0",
            "fast-import",
            "--quiet",
            "--done",
            "--force",
            "--date-format=raw",
        ];
        let call = self.call(&args).input(input);
        call.must("fast-import", self.stop)?;
        let index = self.repo.resolve(INDEX)?;
        let work = self.repo.resolve(WORK)?;
        Ok(index.zip(work).ok_or(GitError::Nonsense("fast-import"))?)
    }

    pub(super) fn same_trees(&self, head: &str, commit: &Oid) -> Result<bool, CodeError> {
        let tree = |commit: &str| self.repo.resolve(&format!("{commit}^{{tree}}"));
        Ok(!head.is_empty() && tree(head)? == tree(commit.as_str())?)
    }

    /// What stands behind the tips and not behind what is needed.
    pub(super) fn pack(&self, tips: &[&str], needs: &[String]) -> Result<Vec<u8>, CodeError> {
        let mut revs = String::new();
        for tip in tips {
            revs.push_str(&format!("{tip}\n"));
        }
        for need in needs {
            revs.push_str(&format!("^{need}\n"));
        }
        let args = [
            "-c",
            "pack.threads=1",
            "pack-objects",
            "--revs",
            "--thin",
            "--stdout",
            "--delta-base-offset",
            "-q",
        ];
        let call = self.call(&args).input(revs.into_bytes());
        Ok(call
            .out_max(PACK_BYTES_MAX)
            .must("pack-objects", self.stop)?)
    }
}

/// Makes a repository that reads another one's objects, and writes only its own.
pub(super) fn borrow(
    dir: &Path,
    common: &Path,
    sha256: bool,
    stop: Stop<'_>,
) -> Result<(), CodeError> {
    fs::create_dir_all(dir).map_err(CodeError::Disk)?;
    let format = if sha256 { "sha256" } else { "sha1" };
    let format = format!("--object-format={format}");
    let init = ["init", "--quiet", "--bare", "--template=", &format];
    Call::here(dir, &init).must("init", stop)?;
    let info = dir.join("objects").join("info");
    fs::create_dir_all(&info).map_err(CodeError::Disk)?;
    let objects = common.join("objects");
    let text = objects.to_str().filter(|t| !t.contains(['\n', '"']));
    let text = text.ok_or(CodeError::Refused("the path of the repository"))?;
    fs::write(info.join("alternates"), format!("{text}\n")).map_err(CodeError::Disk)?;
    // A history that is cut off there is cut off here.
    match fs::copy(common.join("shallow"), dir.join("shallow")) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(CodeError::Disk(e)),
        _ => Ok(()),
    }
}

/// The sizes of blobs; nothing for what is none, or is not here.
pub(super) fn sizes<'o>(
    dir: &Path,
    oids: impl Iterator<Item = &'o str>,
    stop: Stop<'_>,
) -> Result<Vec<Option<u64>>, CodeError> {
    let input: String = oids.flat_map(|oid| [oid, "\n"]).collect();
    if input.is_empty() {
        return Ok(Vec::new());
    }
    let args = ["cat-file", "--batch-check=%(objecttype) %(objectsize)"];
    let call = Call::here(dir, &args).out_max(LIST_BYTES_MAX);
    let out = call.input(input.into_bytes()).must("cat-file", stop)?;
    let out = String::from_utf8_lossy(&out);
    let size = |line: &str| line.strip_prefix("blob ")?.parse().ok();
    Ok(out.lines().map(size).collect())
}

/// Whether those links of a commit that are among these objects lead nowhere else.
pub(super) fn links_stay(
    repo: &Repo<'_>,
    dir: &Path,
    commit: &str,
    among: &[(Oid, u64)],
    stop: Stop<'_>,
) -> Result<bool, CodeError> {
    let among: BTreeMap<&str, u64> = among.iter().map(|(o, size)| (o.as_str(), *size)).collect();
    let args = ["ls-tree", "-r", "-z", "--full-tree", commit];
    let call = Call::here(dir, &args).out_max(LIST_BYTES_MAX);
    let out = call.must("ls-tree", stop)?;
    let mut links = Vec::new();
    for entry in out.split(|b| *b == 0) {
        // How deep it lies is all that the name is asked for.
        let entry = String::from_utf8_lossy(entry);
        if let Some((head, path)) = entry.split_once('\t')
            && let Some(oid) = head.strip_prefix("120000 blob ")
            && let Some(size) = among.get(oid)
            && let Some(oid) = Oid::parse(oid)
        {
            links.push((path.to_owned(), oid, *size));
        }
    }
    let blobs: Vec<(Oid, u64)> = links.iter().map(|(_, o, s)| (o.clone(), *s)).collect();
    let mut stay = true;
    repo.read(&blobs, &mut |n, bytes| {
        let target = String::from_utf8(bytes).ok();
        let path = links.get(n).map(|(path, ..)| path.as_str());
        stay &= path
            .zip(target)
            .is_some_and(|(path, target)| stays_within(path, &target));
        stay
    })?;
    Ok(stay)
}
