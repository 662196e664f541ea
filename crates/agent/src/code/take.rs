//! Taking a capsule: git's own objects for what differs, made in a repository of
//! ours that borrows the user's objects and writes none there.
//!
//! The index becomes a tree, the work tree becomes a second one, as commits one upon
//! the other upon what is checked out; whatever no remote has of that is packed.
//! Files go in as they lie there, byte for byte: no filter of git's sees them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use ccpeer_formats::capsule::{
    CAPSULE_VERSION, Capsule, INTENDED_MAX, LEFT_OUT_MAX, LeftOut, Pack, SUBMODULE_DEPTH_MAX,
    SUBMODULES_MAX, Submodule, UNMERGED_MAX, Unmerged, Why, stays_within,
};

use super::borrow::Borrowed;
use super::source::{Content, Source, looks_secret, name};
use super::status::{Changed, Kind, Status, Tracked};
use super::stream::Stream;
use super::{CONTENT_BYTES_MAX, CodeError, FILE_BYTES_MAX, FILES_MAX, Scratch};
use crate::git::{Marker, marker, marker_in};
use crate::home::Home;
use crate::mirror::repo::Oid;
use crate::mirror::run::{GitError, Stop};

/// A capsule, and its packs by number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) capsule: Capsule,
    pub(crate) packs: Vec<Vec<u8>>,
}

/// What of all there is may still come along.
struct Budget {
    bytes: u64,
    files: usize,
    submodules: usize,
    left_out: usize,
    packs: Vec<Vec<u8>>,
}

/// How the work tree stands in which a directory lies; nothing outside of one.
pub(crate) fn take(home: &Home, dir: &Path, stop: Stop<'_>) -> Result<Option<Taken>, CodeError> {
    let Some(marker) = marker(dir) else {
        return Ok(None);
    };
    let scratch = Scratch::new(home)?;
    let mut budget = Budget {
        bytes: CONTENT_BYTES_MAX,
        files: FILES_MAX,
        submodules: SUBMODULES_MAX,
        left_out: LEFT_OUT_MAX,
        packs: Vec::new(),
    };
    let capsule = of_tree(
        &marker,
        scratch.path(),
        &mut budget,
        SUBMODULE_DEPTH_MAX,
        stop,
    )?;
    Ok(Some(Taken {
        capsule,
        packs: budget.packs,
    }))
}

fn of_tree(
    marker: &Marker,
    scratch: &Path,
    budget: &mut Budget,
    depth: usize,
    stop: Stop<'_>,
) -> Result<Capsule, CodeError> {
    let source = Source { marker, stop };
    let Status {
        branch,
        head,
        changed,
    } = source.status()?;
    let index = source.index()?;
    let mut capsule = Capsule {
        v: CAPSULE_VERSION,
        branch,
        merging: source.merging(),
        changed: changed.len() as u64,
        unsent: 0,
        commits_left_out: None,
        content_left_out: None,
        needs: Vec::new(),
        pack: None,
        unmerged: Vec::new(),
        intended: Vec::new(),
        left_out: Vec::new(),
        left_out_more: 0,
        submodules: Vec::new(),
        head,
    };
    for path in gitlinks(&index) {
        submodule(&source, path, scratch, &mut capsule, budget, depth)?;
    }
    let dir = scratch.join(format!("repo-{}-{}", depth, budget.submodules));
    let borrowed = Borrowed::new(&source, &dir, &capsule.head, &index)?;
    borrowed.commits(&source, &mut capsule)?;
    let clean = changed.is_empty() && capsule.unsent == 0 && capsule.merging.is_empty();
    if !clean {
        pack(&source, &borrowed, &changed, &index, &mut capsule, budget)?;
    }
    let _at_the_end = fs::remove_dir_all(dir);
    Ok(capsule)
}

/// Leaves a file out, and says so.
fn leave_out(capsule: &mut Capsule, budget: &mut Budget, path: &[u8], why: Why) {
    if capsule.left_out.iter().any(|l| l.path.as_bytes() == path) {
        return;
    }
    if budget.left_out == 0 {
        capsule.left_out_more += 1;
        return;
    }
    budget.left_out -= 1;
    let path = String::from_utf8_lossy(path);
    let path = ccpeer_core::text::one_line(&path, ccpeer_formats::capsule::REPO_PATH_BYTES_MAX);
    capsule.left_out.push(LeftOut { path, why });
}

/// A submodule that is checked out, with what differs in it.
fn submodule(
    source: &Source<'_>,
    path: &[u8],
    scratch: &Path,
    capsule: &mut Capsule,
    budget: &mut Budget,
    depth: usize,
) -> Result<(), CodeError> {
    let Ok(path) = name(path) else {
        leave_out(capsule, budget, path, Why::Name);
        return Ok(());
    };
    let Some(inner) = marker_in(&source.marker.top.join(path)) else {
        return Ok(());
    };
    if depth == 0 || budget.submodules == 0 {
        leave_out(capsule, budget, path.as_bytes(), Why::TooMuch);
        return Ok(());
    }
    budget.submodules -= 1;
    let inner = match of_tree(&inner, scratch, budget, depth - 1, source.stop) {
        Ok(inner) => Some(inner),
        Err(CodeError::Git(GitError::Refused { .. } | GitError::Nonsense(_))) => {
            leave_out(capsule, budget, path.as_bytes(), Why::Unreadable);
            None
        }
        Err(e) => return Err(e),
    };
    capsule.submodules.push(Submodule {
        path: path.to_owned(),
        capsule: inner,
    });
    Ok(())
}

/// The submodules that an index names.
fn gitlinks(index: &[u8]) -> impl Iterator<Item = &[u8]> {
    let entries = index.split(|b| *b == 0);
    entries.filter_map(|e| e.starts_with(b"160000 ").then(|| path_of(e)).flatten())
}

fn path_of(entry: &[u8]) -> Option<&[u8]> {
    let at = entry.iter().position(|b| *b == b'\t')?;
    entry.get(at + 1..)
}

/// Packs what differs from what a remote has, as far as it may come along.
fn pack(
    source: &Source<'_>,
    borrowed: &Borrowed<'_>,
    changed: &[Changed],
    index: &[u8],
    capsule: &mut Capsule,
    budget: &mut Budget,
) -> Result<(), CodeError> {
    let mut stream = Stream::default();
    let mut intended = BTreeSet::new();
    staged(borrowed, changed, capsule, budget, &mut stream)?;
    unmerged(index, capsule, budget, &mut stream);
    for file in changed {
        if (source.stop)() {
            return Err(GitError::Stopping.into());
        }
        if let Err(why) = name(&file.path) {
            leave_out(capsule, budget, &file.path, why);
            continue;
        }
        let mode = match &file.kind {
            Kind::Tracked(t) if t.submodule => {
                moved_submodule(file, t, capsule, &mut stream);
                continue;
            }
            Kind::Tracked(t) if t.letters.1 == b'.' => continue,
            Kind::Tracked(t) if t.letters.1 == b'D' => {
                stream.work.remove(&file.path);
                continue;
            }
            Kind::Tracked(t) => {
                if t.letters == (b'.', b'A') {
                    intended.insert(file.path.as_slice());
                }
                t.index.0.as_str()
            }
            Kind::Unmerged | Kind::Unknown => "",
        };
        let content = match (&file.kind, source.read(&file.path, mode)) {
            // One side has removed it, and nothing lies there.
            (Kind::Unmerged, Err(Why::Unreadable)) => continue,
            (_, content) => content.and_then(|c| budget.pay(c)),
        };
        match content {
            Ok(content) => stream.write(&file.path, content),
            Err(why) => {
                intended.remove(file.path.as_slice());
                leave_out(capsule, budget, &file.path, why);
            }
        }
    }
    capsule.intended = intended
        .iter()
        .filter_map(|p| Some(name(p).ok()?.to_owned()))
        .take(INTENDED_MAX)
        .collect();
    let (index, work) = borrowed.commit(&capsule.head, stream)?;
    let nothing = capsule.unsent == 0
        && capsule.unmerged.is_empty()
        && borrowed.same_trees(&capsule.head, &work)?;
    if nothing && borrowed.same_trees(&capsule.head, &index)? {
        return Ok(());
    }
    let mut tips = vec![work.as_str()];
    tips.extend(capsule.merging.iter().map(String::as_str));
    match borrowed.pack(&tips, &capsule.needs) {
        Ok(pack) => {
            capsule.pack = Some(Pack {
                file: u32::try_from(budget.packs.len()).unwrap_or(u32::MAX),
                index: index.as_str().to_owned(),
                work: work.as_str().to_owned(),
            });
            budget.packs.push(pack);
        }
        Err(CodeError::Git(GitError::TooMuch(_))) => {
            capsule.content_left_out = Some(Why::TooMuch);
            capsule.unmerged.clear();
            capsule.intended.clear();
        }
        Err(e) => return Err(e),
    }
    Ok(())
}

/// Looks at what the index has and the commit has not; what may not come along is in
/// the index as it is in the commit.
fn staged(
    borrowed: &Borrowed<'_>,
    changed: &[Changed],
    capsule: &mut Capsule,
    budget: &mut Budget,
    stream: &mut Stream,
) -> Result<(), CodeError> {
    let mut blobs = Vec::new();
    for file in changed {
        let Kind::Tracked(tracked) = &file.kind else {
            continue;
        };
        let (mode, oid) = &tracked.index;
        match (tracked.letters.0, name(&file.path)) {
            (b'.', _) => {}
            (_, Err(why)) => leave_out(capsule, budget, &file.path, why),
            (b'D', Ok(_)) => stream.index.remove(&file.path),
            (_, Ok(_)) if mode == "160000" => stream.index.write(&file.path, mode, oid),
            (_, Ok(_)) => blobs.push((file.path.as_slice(), mode, oid)),
        }
    }
    let sizes = borrowed.sizes(blobs.iter().map(|(_, _, oid)| oid.as_str()))?;
    let mut wanted = Vec::new();
    for (blob, size) in blobs.into_iter().zip(sizes) {
        let why = match size {
            None => Some(Why::Unreadable),
            Some(size) if size > FILE_BYTES_MAX => Some(Why::TooLarge),
            Some(size) => budget.spend(size).err(),
        };
        match (why, size, Oid::parse(blob.2)) {
            (None, Some(size), Some(oid)) => wanted.push((blob, (oid, size))),
            (why, ..) => leave_out(capsule, budget, blob.0, why.unwrap_or(Why::Unreadable)),
        }
    }
    let asked: Vec<(Oid, u64)> = wanted.iter().map(|(_, asked)| asked.clone()).collect();
    borrowed.repo.read(&asked, &mut |n, bytes| {
        let Some(((path, mode, oid), _)) = wanted.get(n) else {
            return false;
        };
        match objection(path, mode, &bytes) {
            Some(why) => leave_out(capsule, budget, path, why),
            None => stream.index.write(path, mode, oid),
        }
        true
    })?;
    Ok(())
}

/// Takes down the entries of the index that are in the middle of being merged; the
/// tree that stands for it has none of them.
fn unmerged(index: &[u8], capsule: &mut Capsule, budget: &mut Budget, stream: &mut Stream) {
    for entry in index.split(|b| *b == 0) {
        let Some(path) = path_of(entry) else {
            continue;
        };
        let head = entry.get(..entry.len() - path.len() - 1);
        let head = head.and_then(|h| std::str::from_utf8(h).ok());
        let fields: Vec<&str> = head.unwrap_or_default().split(' ').collect();
        let [mode, oid, stage @ ("1" | "2" | "3")] = fields.as_slice() else {
            continue;
        };
        match name(path) {
            Ok(name) if capsule.unmerged.len() < UNMERGED_MAX => {
                capsule.unmerged.push(Unmerged {
                    path: name.to_owned(),
                    stage: stage.parse().unwrap_or(1),
                    mode: (*mode).to_owned(),
                    oid: (*oid).to_owned(),
                });
                stream.index.remove(path);
            }
            Ok(_) => leave_out(capsule, budget, path, Why::TooMuch),
            Err(why) => leave_out(capsule, budget, path, why),
        }
    }
}

/// Why an object of git's may not come along.
fn objection(path: &[u8], mode: &str, bytes: &[u8]) -> Option<Why> {
    if mode == "120000" {
        let target = std::str::from_utf8(bytes).ok();
        let path = name(path).ok();
        let stays = path.zip(target).is_some_and(|(p, t)| stays_within(p, t));
        return (!stays).then_some(Why::Link);
    }
    looks_secret(bytes).then_some(Why::Secret)
}

/// A submodule in which another commit is checked out than the index says.
fn moved_submodule(file: &Changed, tracked: &Tracked, capsule: &Capsule, stream: &mut Stream) {
    if tracked.letters.1 == b'D' {
        stream.work.remove(&file.path);
        return;
    }
    let is_it = |s: &&Submodule| s.path.as_bytes() == file.path;
    let found = capsule.submodules.iter().find(is_it);
    let head = found.and_then(|s| s.capsule.as_ref()).map(|c| &c.head);
    if let Some(head) = head.filter(|h| tracked.moved && !h.is_empty()) {
        stream.work.write(&file.path, "160000", head);
    }
}

impl Budget {
    fn pay(&mut self, content: Content) -> Result<Content, Why> {
        let len = match &content {
            Content::File { bytes, .. } => bytes.len(),
            Content::Link(target) => target.len(),
        };
        self.spend(len as u64).map(|()| content)
    }

    fn spend(&mut self, bytes: u64) -> Result<(), Why> {
        if self.files == 0 || bytes > self.bytes {
            return Err(Why::TooMuch);
        }
        self.files -= 1;
        self.bytes -= bytes;
        Ok(())
    }
}
