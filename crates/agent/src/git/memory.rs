//! What git said last about work trees, for the end of a turn: starting git then
//! would take as long as all the rest.
//!
//! It is taken for true while everything that git itself writes at a commit or a
//! checkout looks the same: the branch and the commit are right then. Files that were
//! changed meanwhile are not among it; whoever says it asks once more when there is
//! time ([`Memory::said`]).

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Component, Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use ccpeer_core::id::SessionId;

use super::{Marker, State, marker};

/// Work trees and sessions that are remembered.
const REMEMBERED_MAX: usize = 64;
/// For so long what git says of changed files is true enough for a session that is
/// met for the first time: there may be hundreds in one work tree.
const FRESH_MAX: Duration = Duration::from_secs(5);
/// Bytes of a `HEAD`.
const HEAD_BYTES_MAX: u64 = 1024;

/// How the files of a repository look that git writes when its state changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Look {
    head: Vec<u8>,
    others: Vec<Option<(u64, SystemTime)>>,
}

/// See the top of this file.
#[derive(Default)]
pub(crate) struct Memory(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    trees: VecDeque<Tree>,
    /// What was said of a session's work tree and not asked at that time.
    said: VecDeque<(SessionId, State)>,
}

struct Tree {
    dir: PathBuf,
    look: Look,
    state: State,
    asked: Instant,
}

impl Look {
    /// How the repository that a directory lies in looks now; nothing where that
    /// cannot be told from few plain files.
    pub(super) fn of(marker: &Marker) -> Option<Self> {
        let head = marker.git_dir.join("HEAD");
        if !fs::symlink_metadata(&head).ok()?.is_file() {
            return None;
        }
        let mut text = Vec::new();
        let file = File::open(&head).ok()?;
        file.take(HEAD_BYTES_MAX).read_to_end(&mut text).ok()?;
        let mut files = vec![
            marker.git_dir.join("index"),
            marker.common.join("packed-refs"),
            marker.common.join("reftable/tables.list"),
        ];
        if let Some(name) = text.strip_prefix(b"ref:") {
            let name = Path::new(std::str::from_utf8(name).ok()?.trim());
            let plain = name.components().all(|c| matches!(c, Component::Normal(_)));
            if !plain || !name.starts_with("refs") {
                return None;
            }
            files.push(marker.common.join(name));
        }
        let stamp = |path: PathBuf| {
            let meta = fs::symlink_metadata(path).ok()?;
            Some((meta.len(), meta.modified().ok()?))
        };
        Some(Self {
            head: text,
            others: files.into_iter().map(stamp).collect(),
        })
    }
}

impl Memory {
    /// What git said of this directory, if nothing speaks against it.
    pub(crate) fn recall(&self, dir: &Path) -> Option<State> {
        self.recall_since(dir, None)
    }

    /// The same, if git has said it just now.
    pub(crate) fn recall_fresh(&self, dir: &Path) -> Option<State> {
        self.recall_since(dir, Instant::now().checked_sub(FRESH_MAX))
    }

    fn recall_since(&self, dir: &Path, since: Option<Instant>) -> Option<State> {
        let (look, state) = {
            let kept = self.lock();
            let tree = kept.trees.iter().find(|tree| tree.dir == dir)?;
            if since.is_some_and(|since| tree.asked < since) {
                return None;
            }
            (tree.look.clone(), tree.state.clone())
        };
        (Look::of(&marker(dir)?)? == look).then_some(state)
    }

    /// Git has said it. `look` is from before it was asked.
    pub(super) fn remember(&self, dir: &Path, look: Look, state: State) {
        let mut kept = self.lock();
        kept.trees.retain(|tree| tree.dir != dir);
        kept.trees.push_front(Tree {
            dir: dir.to_owned(),
            look,
            state,
            asked: Instant::now(),
        });
        kept.trees.truncate(REMEMBERED_MAX);
    }

    /// A version says this of its work tree; `asked` tells whether git was.
    pub(crate) fn says(&self, session: &SessionId, state: Option<&State>, asked: bool) {
        let mut kept = self.lock();
        kept.said.retain(|(s, _)| s != session);
        if let (Some(state), false) = (state, asked) {
            kept.said.push_front((*session, state.clone()));
            kept.said.truncate(REMEMBERED_MAX);
        }
    }

    /// What a session's version says although git was not asked.
    pub(crate) fn said(&self, session: &SessionId) -> Option<State> {
        let kept = self.lock();
        let said = kept.said.iter().find(|(s, _)| s == session);
        said.map(|(_, state)| state.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // Nothing in here panics half-way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::tests::git;
    use crate::git::{Later, state};

    #[test]
    fn what_was_said_counts_until_git_writes_something() {
        let dir = tempfile::tempdir().unwrap();
        let memory = Memory::default();
        let asked = || Later::ask(dir.path()).answer(&memory);
        assert_eq!(asked(), None, "no repository");
        assert_eq!(memory.recall(dir.path()), None);
        if !git(dir.path(), &["init", "-q"]) {
            return;
        }
        let commit = |text: &str| {
            fs::write(dir.path().join("f"), text).unwrap();
            assert!(git(dir.path(), &["add", "."]) && git(dir.path(), &["commit", "-qm", text]));
        };
        commit("one");
        let first = asked().unwrap();
        assert_eq!(memory.recall(dir.path()), Some(first.clone()));
        fs::write(dir.path().join("g"), "").unwrap();
        // Git has written nothing: that is found when it is asked again.
        assert_eq!(memory.recall(dir.path()), Some(first.clone()));
        assert_eq!(memory.recall_fresh(dir.path()), Some(first.clone()));
        let long_ago = Instant::now().checked_sub(FRESH_MAX * 2).unwrap();
        memory.lock().trees[0].asked = long_ago;
        assert_eq!(memory.recall_fresh(dir.path()), None);
        assert_ne!(asked(), Some(first));
        let no_more = |what: &str| {
            assert_eq!(memory.recall(dir.path()), None, "{what}");
            let now = asked();
            assert_eq!(now, state(dir.path()), "{what}");
            assert_eq!(memory.recall(dir.path()), now, "{what}");
        };
        commit("another one");
        no_more("a commit");
        assert!(git(dir.path(), &["checkout", "-qb", "other"]));
        no_more("a branch");
        assert!(git(
            dir.path(),
            &["commit", "-q", "--allow-empty", "-m", "2"]
        ));
        no_more("a commit without a change");
        assert!(git(dir.path(), &["checkout", "-q", "--detach"]));
        no_more("no branch");
        let linked = dir.path().join("linked");
        let path = linked.to_str().unwrap();
        assert!(git(
            dir.path(),
            &["worktree", "add", "-q", "-b", "third", path]
        ));
        let there = Later::ask(&linked).answer(&memory).unwrap();
        assert_eq!(there.branch, "third");
        assert_eq!(memory.recall(&linked), Some(there));
        assert!(git(&linked, &["commit", "-q", "--allow-empty", "-m", "3"]));
        assert_eq!(memory.recall(&linked), None);
    }

    #[test]
    fn a_repository_whose_head_is_no_plain_file_is_always_asked() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join(".git");
        fs::create_dir_all(at.join("HEAD")).unwrap();
        assert_eq!(Look::of(&marker(dir.path()).unwrap()), None);
        fs::remove_dir(at.join("HEAD")).unwrap();
        for head in ["ref: ../../elsewhere", "ref: /etc/passwd", "ref: HEAD"] {
            fs::write(at.join("HEAD"), head).unwrap();
            assert_eq!(Look::of(&marker(dir.path()).unwrap()), None, "{head}");
        }
    }
}
