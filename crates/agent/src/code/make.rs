//! Making a work tree from a capsule: put together beside its place under a name that
//! says what it is, and renamed when it is whole. The user's own checkout is not
//! touched; his clone gets objects, a work tree, and perhaps a branch.

use std::fs;
use std::path::{Path, PathBuf};

use ccpeer_formats::capsule::Capsule;

use super::apply::{self, apply};
use super::keep::Kept;
use super::open::{Opened, open};
use super::{CodeError, INDEX_PACK, LIST_BYTES_MAX, error};
use crate::git::{self, Marker, marker, marker_in};
use crate::home::Home;
use crate::mirror::repo::{Oid, Repo, is_branch};
use crate::mirror::run::{Call, Stop};

/// Behind the name of a work tree that is not whole yet.
const PART: &str = ".ccpeer-part";
/// In git's directory of a work tree in which no session has been placed yet: which
/// version's it is.
const FRESH: &str = "ccpeer-fresh";

/// A work tree that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Made {
    /// Its top.
    pub(crate) top: PathBuf,
    /// The directory in it that is the session's.
    pub(crate) dir: PathBuf,
    /// The clone that it belongs to.
    pub(crate) clone: PathBuf,
    /// The branch that is checked out in it; nothing if none is.
    pub(crate) branch: Option<String>,
    /// What is not as it was there, a line each.
    pub(crate) notes: Vec<String>,
}

/// Makes the work tree of a version, beside the clone that a directory lies in.
pub(crate) fn make(
    home: &Home,
    kept: &Kept<'_>,
    clone_dir: &Path,
    version: &str,
    stop: Stop<'_>,
) -> Result<Made, CodeError> {
    let none = || CodeError::NoRepository(clone_dir.to_owned());
    let clone = marker(clone_dir).ok_or_else(none)?;
    let below = clone_dir.strip_prefix(&clone.top).unwrap_or(Path::new(""));
    let top = place(&clone, version).ok_or_else(none)?;
    if fs::symlink_metadata(&top).is_ok() {
        return again(&clone, top, below, version, &kept.capsule, stop);
    }
    let opened = open(home, kept, clone.clone(), stop)?;
    let part = part_of(&top).ok_or_else(none)?;
    clear(&clone, &part, stop);
    let mut notes = Vec::new();
    let made = build(&opened, &part, &mut notes, stop).and_then(|branch| {
        let fresh = marker_in(&part).ok_or_else(none)?.git_dir.join(FRESH);
        fs::write(fresh, version).map_err(CodeError::Disk)?;
        fs::create_dir_all(part.join(below)).map_err(CodeError::Disk)?;
        fs::rename(&part, &top).map_err(CodeError::Disk)?;
        Ok(branch)
    });
    let branch = match made {
        Ok(branch) => branch,
        Err(e) => {
            clear(&clone, &part, stop);
            return Err(e);
        }
    };
    reconnect(&top, &kept.capsule, stop)?;
    Ok(Made {
        dir: within(&top, below),
        top,
        clone: clone.top,
        branch,
        notes,
    })
}

/// A session was placed in it: from now on it is the user's.
pub(crate) fn handed_over(made: &Made) {
    if let Some(marker) = marker_in(&made.top) {
        let _next_time = fs::remove_file(marker.git_dir.join(FRESH));
    }
}

/// Removes what was made and is of no use: no session could be placed in it.
pub(crate) fn unmake(made: &Made, stop: Stop<'_>) {
    let (Some(clone), Some(own)) = (marker(&made.clone), marker_in(&made.top)) else {
        return;
    };
    if own.git_dir.join(FRESH).is_file() {
        clear(&clone, &made.top, stop);
    }
}

/// A place in a work tree. Joined with nothing, a path would end with a slash.
fn within(top: &Path, below: &Path) -> PathBuf {
    match below.as_os_str().is_empty() {
        true => top.to_owned(),
        false => top.join(below),
    }
}

/// Where the work tree of a version lies: beside the clone's own.
fn place(clone: &Marker, version: &str) -> Option<PathBuf> {
    let trees = git::worktrees(&clone.top);
    let main = trees.iter().find(|(_, _, linked)| !linked);
    let main = main.map_or(clone.top.as_path(), |(top, ..)| top.as_path());
    let name = main.file_name()?.to_str()?;
    Some(main.parent()?.join(format!("{name}-ccpeer-{version}")))
}

fn part_of(top: &Path) -> Option<PathBuf> {
    let name = top.file_name()?.to_str()?;
    Some(top.with_file_name(format!(".{name}{PART}")))
}

/// One is there already. If an agent that was ended has just made it, it is as good
/// as new.
fn again(
    clone: &Marker,
    top: PathBuf,
    below: &Path,
    version: &str,
    capsule: &Capsule,
    stop: Stop<'_>,
) -> Result<Made, CodeError> {
    let own = marker_in(&top).filter(|own| own.common == clone.common && own.linked);
    let fresh = own.and_then(|own| fs::read_to_string(own.git_dir.join(FRESH)).ok());
    if fresh.as_deref() != Some(version) {
        return Err(CodeError::Exists(top));
    }
    reconnect(&top, capsule, stop)?;
    let branch = git::state(&top).map(|s| s.branch).filter(|b| !b.is_empty());
    Ok(Made {
        dir: within(&top, below),
        top,
        clone: clone.top.clone(),
        branch,
        notes: Vec::new(),
    })
}

/// Removes a work tree that is ours alone, and what git remembers of it.
fn clear(clone: &Marker, top: &Path, stop: Stop<'_>) {
    let gone = match fs::symlink_metadata(top) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(top),
        Ok(_) => fs::remove_file(top),
        Err(_) => Ok(()),
    };
    if let Err(e) = gone {
        tracing::warn!(error = %e, "a work tree that is not whole cannot be removed");
    }
    let text = top.to_string_lossy();
    let args = ["worktree", "remove", "--force", "--force", &text];
    let call = Call::here(&clone.git_dir, &args).top(&clone.top);
    let _was_not_known = call.ask(stop);
}

/// Tells git where a work tree lies by now, and its submodules.
fn reconnect(top: &Path, capsule: &Capsule, stop: Stop<'_>) -> Result<(), CodeError> {
    let Some(own) = marker_in(top) else {
        return Ok(());
    };
    let call = Call::here(&own.git_dir, &["worktree", "repair"]).top(top);
    call.must("worktree repair", stop)?;
    for submodule in &capsule.submodules {
        if let Some(inner) = &submodule.capsule {
            reconnect(&top.join(&submodule.path), inner, stop)?;
        }
    }
    Ok(())
}

/// Makes a work tree at a place, with all that belongs into it. Says which branch is
/// checked out.
fn build(
    opened: &Opened,
    at: &Path,
    notes: &mut Vec<String>,
    stop: Stop<'_>,
) -> Result<Option<String>, CodeError> {
    let building = Building {
        clone: &opened.clone,
        at,
        settings: quiet(&opened.clone, stop)?,
        stop,
    };
    if let Some(pack) = &opened.pack {
        // It was looked at, and is within bounds.
        let call = Call::here(&opened.clone.common, &INDEX_PACK).input(pack.clone());
        call.must("index-pack", stop)?;
    }
    let branch = building.add(&opened.capsule, notes)?;
    let own = marker_in(at).ok_or(CodeError::Shape)?;
    let index = opened.capsule.pack.as_ref().map(|p| p.index.as_str());
    let index = index.unwrap_or(&opened.capsule.head);
    building.within(&own, &["read-tree", "--reset", "-u", index], Vec::new())?;
    let repo = Repo::of(&own.common, stop);
    apply(&repo, at, &opened.changes)?;
    building.index(&own, &opened.capsule)?;
    let merging = &opened.capsule.merging;
    if !merging.is_empty() {
        let known = merging.iter().filter_map(|o| Oid::parse(o));
        let known: Result<Vec<bool>, _> = known
            .map(|o| repo.resolve(&format!("{}^{{commit}}", o.as_str())))
            .map(|o| o.map(|o| o.is_some()))
            .collect();
        if known?.iter().all(|k| *k) {
            let text: String = merging.iter().flat_map(|o| [o.as_str(), "\n"]).collect();
            fs::write(own.git_dir.join("MERGE_HEAD"), text).map_err(CodeError::Disk)?;
        } else {
            notes.push("what is being merged there is not here: fetch it".to_owned());
        }
    }
    for submodule in &opened.submodules {
        // Only where the index has one, and git has made a directory for it.
        let place = apply::place(at, &submodule.path, false).ok();
        let place = place.filter(|p| fs::symlink_metadata(p).is_ok_and(|m| m.is_dir()));
        match (&submodule.opened, place) {
            (Some(inner), Some(place)) => {
                let mut inner_notes = Vec::new();
                let _any_branch = build(inner, &place, &mut inner_notes, stop)?;
                let named = inner_notes.into_iter();
                notes.extend(named.map(|n| format!("submodule {}: {n}", submodule.path)));
            }
            _ => notes.push(left_alone(&submodule.path, submodule.there.as_ref())),
        }
    }
    Ok(branch)
}

/// A submodule that could not be checked out.
fn left_alone(path: &str, there: Option<&Capsule>) -> String {
    let at = there.map_or_else(String::new, |t| {
        format!(" (commit {})", error::short(&t.head))
    });
    let dirty = there.is_some_and(|t| t.pack.is_some() || t.changed > 0);
    let what = match dirty {
        true => "its changes did not come along, because it",
        false => "it",
    };
    format!("submodule {path}{at}: {what} is not checked out here, or lacks that commit")
}

/// Settings under which a checkout runs nothing: every filter that the clone's own
/// configuration knows is turned off.
fn quiet(clone: &Marker, stop: Stop<'_>) -> Result<Vec<String>, CodeError> {
    let args = ["config", "-z", "--name-only", "--get-regexp", "^filter\\."];
    let call = Call::here(&clone.git_dir, &args).top(&clone.top);
    let said = call.ask(stop)?;
    let mut settings = vec![
        "core.sparseCheckout=false".to_owned(),
        "core.protectNTFS=true".to_owned(),
        "core.protectHFS=true".to_owned(),
        "branch.autoSetupMerge=false".to_owned(),
        "checkout.workers=1".to_owned(),
    ];
    for key in said.out.split(|b| *b == 0) {
        let key = String::from_utf8_lossy(key);
        let Some((name, _)) = key.rsplit_once('.') else {
            continue;
        };
        if name.contains(['=', '\n']) {
            return Err(CodeError::Refused(
                "a filter of the clone cannot be turned off",
            ));
        }
        settings.push(format!("{name}.smudge="));
        settings.push(format!("{name}.clean="));
        settings.push(format!("{name}.process="));
        settings.push(format!("{name}.required=false"));
    }
    Ok(settings)
}

struct Building<'b> {
    clone: &'b Marker,
    at: &'b Path,
    settings: Vec<String>,
    stop: Stop<'b>,
}

impl Building<'_> {
    /// Adds the work tree, empty, on the branch if that can be had.
    fn add(&self, capsule: &Capsule, notes: &mut Vec<String>) -> Result<Option<String>, CodeError> {
        let at = self.at.to_string_lossy();
        let head = capsule.head.as_str();
        let branch = capsule.branch.as_str();
        let mut args = vec!["worktree", "add", "--quiet", "--no-checkout", "--no-track"];
        let on = match self.branch(capsule)? {
            Branch::Free => {
                args.retain(|a| *a != "--no-track");
                args.extend([&*at, branch]);
                true
            }
            Branch::New => {
                args.extend(["-b", branch, &at, head]);
                true
            }
            Branch::Taken(why) => {
                args.retain(|a| *a != "--no-track");
                args.extend(["--detach", &at, head]);
                if !branch.is_empty() {
                    let branch = ccpeer_core::text::one_line(branch, 100);
                    notes.push(format!("no branch is checked out: {branch} {why}"));
                }
                false
            }
        };
        self.call(&self.clone.git_dir, &self.clone.top, &args)
            .must("worktree add", self.stop)?;
        Ok(on.then(|| branch.to_owned()))
    }

    fn branch(&self, capsule: &Capsule) -> Result<Branch, CodeError> {
        let branch = &capsule.branch;
        if !is_branch(branch) {
            return Ok(Branch::Taken("cannot be one here"));
        }
        let repo = Repo::of(&self.clone.common, self.stop);
        match repo.resolve(&format!("refs/heads/{branch}"))? {
            Some(at) if at.as_str() != capsule.head => {
                Ok(Branch::Taken("stands at another commit here"))
            }
            Some(_) => {
                let mut trees = git::worktrees(&self.clone.top).into_iter();
                match trees.any(|(_, b, _)| b == *branch) {
                    true => Ok(Branch::Taken("is checked out elsewhere here")),
                    false => Ok(Branch::Free),
                }
            }
            None if repo.resolve(branch)?.is_some() => {
                Ok(Branch::Taken("means something else here"))
            }
            None => Ok(Branch::New),
        }
    }

    /// What the index holds beside its files.
    fn index(&self, own: &Marker, capsule: &Capsule) -> Result<(), CodeError> {
        if !capsule.unmerged.is_empty() {
            let mut input = Vec::new();
            for e in &capsule.unmerged {
                let line = format!("{} {} {}\t{}\0", e.mode, e.oid, e.stage, e.path);
                input.extend_from_slice(line.as_bytes());
            }
            self.within(own, &["update-index", "-z", "--index-info"], input)?;
        }
        if !capsule.intended.is_empty() {
            let mut input = Vec::new();
            for path in &capsule.intended {
                input.extend_from_slice(path.as_bytes());
                input.push(0);
            }
            let args = [
                "--literal-pathspecs",
                "add",
                "--intent-to-add",
                "--force",
                "--pathspec-from-file=-",
                "--pathspec-file-nul",
            ];
            self.within(own, &args, input)?;
        }
        Ok(())
    }

    fn within(&self, own: &Marker, args: &[&str], input: Vec<u8>) -> Result<(), CodeError> {
        let call = self.call(&own.git_dir, self.at, args);
        call.input(input).must("in the work tree", self.stop)?;
        Ok(())
    }

    fn call<'c>(&self, dir: &'c Path, top: &'c Path, args: &[&'c str]) -> Call<'c> {
        let mut call = Call::here(dir, args).top(top).out_max(LIST_BYTES_MAX);
        call.settings.clone_from(&self.settings);
        call
    }
}

/// What a branch's name is worth here.
enum Branch {
    /// It stands at the commit, and nobody has it checked out.
    Free,
    /// There is none.
    New,
    /// It cannot be used, because it …
    Taken(&'static str),
}
