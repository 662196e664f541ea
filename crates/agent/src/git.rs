//! Asking git, briefly: a deadline for every question, no prompts, no locks,
//! nothing of the repository's own that would be executed.
//!
//! Must not know what the answers are for. No answer is an answer: git may be
//! absent, the directory may be gone, the repository may be huge.

mod marker;
mod memory;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

pub(crate) use marker::{Marker, marker, marker_in};
pub(crate) use memory::Memory;

/// Work trees of one repository that are looked at.
const WORKTREES_MAX: usize = 256;
/// How long one question may take.
const DEADLINE: Duration = Duration::from_secs(2);
/// Bytes of one answer that are read.
const ANSWER_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Changed files that are named.
const CHANGES_MAX: usize = 500;
/// Variables that would make git speak of another repository.
const MISLEADING: [&str; 7] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_COMMON_DIR",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_NAMESPACE",
];

/// What a question came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// This.
    Text(String),
    /// Git said no, or is not there.
    No,
    /// It took too long.
    Late,
}

/// Where a directory lies in a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The top of the work tree.
    pub(crate) top: PathBuf,
    /// The history is cut off, so its first commit is not the first.
    pub(crate) shallow: bool,
}

/// How a work tree stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct State {
    /// The branch; empty if none is checked out.
    pub(crate) branch: String,
    /// The commit that is checked out; empty before the first.
    pub(crate) head: String,
    /// What differs from it, as `git status --porcelain` says it: two letters,
    /// a space, a path, seen from the directory. Unknown files are among it.
    pub(crate) changed: Vec<String>,
}

/// Where a directory lies in a repository; nothing outside of one.
pub(crate) fn place(dir: &Path) -> Option<Place> {
    let args = ["rev-parse", "--is-shallow-repository", "--show-toplevel"];
    let Answer::Text(text) = ask(dir, &args) else {
        return None;
    };
    let mut lines = text.lines();
    let (shallow, top) = (lines.next()? == "true", lines.next()?);
    Some(Place {
        top: PathBuf::from(top),
        shallow,
    })
}

/// The work trees of a repository, its own first if it has one: each with its
/// branch, and whether it is a linked one. Those whose directory is gone are not
/// among them.
pub(crate) fn worktrees(dir: &Path) -> Vec<(PathBuf, String, bool)> {
    let Answer::Text(text) = ask(dir, &["worktree", "list", "--porcelain"]) else {
        return Vec::new();
    };
    let mut out = Vec::new();
    for (at, block) in text.split("\n\n").enumerate().take(WORKTREES_MAX) {
        let line = |name: &str| {
            let mut lines = block.lines().filter_map(|l| l.strip_prefix(name));
            lines.next().map(str::trim)
        };
        let Some(top) = line("worktree ").map(PathBuf::from) else {
            continue;
        };
        if line("bare").is_some() || !top.is_dir() {
            continue;
        }
        let branch = line("branch refs/heads/").unwrap_or_default().to_owned();
        out.push((top, branch, at > 0));
    }
    out
}

/// The URLs of a repository's remotes, as they are configured.
pub(crate) fn remotes(dir: &Path) -> Vec<String> {
    match ask(dir, &["config", "--get-regexp", r"^remote\..*\.url$"]) {
        Answer::Text(text) => text
            .lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(_, url)| url.trim().to_owned())
            .collect(),
        Answer::No | Answer::Late => Vec::new(),
    }
}

/// The commit without a parent that led here; of several, where histories were
/// joined, the smallest.
pub(crate) fn first_commit(dir: &Path) -> Answer {
    match ask(dir, &["rev-list", "--max-parents=0", "HEAD"]) {
        Answer::Text(text) => match text.lines().map(str::trim).filter(|h| is_hash(h)).min() {
            Some(hash) => Answer::Text(hash.to_owned()),
            None => Answer::No,
        },
        other => other,
    }
}

/// How the work tree stands; nothing outside of one.
pub(crate) fn state(dir: &Path) -> Option<State> {
    let args = [
        "status",
        "--porcelain=v2",
        "--branch",
        "--untracked-files=normal",
    ];
    let Answer::Text(text) = ask(dir, &args) else {
        return None;
    };
    let mut state = State::default();
    for line in text.lines() {
        if let Some(oid) = line.strip_prefix("# branch.oid ") {
            state.head = Some(oid.trim())
                .filter(|o| is_hash(o))
                .unwrap_or_default()
                .to_owned();
        } else if let Some(head) = line.strip_prefix("# branch.head ") {
            let name = head.trim();
            state.branch = if name == "(detached)" {
                String::new()
            } else {
                name.to_owned()
            };
        } else if state.changed.len() < CHANGES_MAX {
            state.changed.extend(change(line));
        }
    }
    Some(state)
}

/// How the commit that is checked out stands to another one, which may be named by
/// its beginning: how many commits only the first has, and only the second. Nothing
/// if the second is not here.
pub(crate) fn apart(dir: &Path, commit: &str) -> Option<(u64, u64)> {
    if !(4..=64).contains(&commit.len()) || !commit.bytes().all(|c| c.is_ascii_hexdigit()) {
        return None;
    }
    let name = format!("{commit}^{{commit}}");
    let args = [
        "rev-parse",
        "--verify",
        "--quiet",
        "--end-of-options",
        &name,
    ];
    let Answer::Text(found) = ask(dir, &args) else {
        return None;
    };
    let between = format!("HEAD...{}", found.trim());
    let Answer::Text(text) = ask(dir, &["rev-list", "--left-right", "--count", &between]) else {
        return None;
    };
    let (ahead, behind) = text.trim().split_once('\t')?;
    Some((ahead.parse().ok()?, behind.parse().ok()?))
}

/// How a work tree stands, found out while something else is done.
pub(crate) struct Later {
    dir: PathBuf,
    /// From before git was asked.
    look: Option<memory::Look>,
    answer: Asked,
}

enum Asked {
    /// It was not: this is what it said before, or there is no repository.
    Known(Option<State>),
    /// It was, and said this.
    Told(Option<State>),
    Running(thread::JoinHandle<Option<State>>),
    /// No thread could be started.
    Not,
}

impl Later {
    /// Asks git, unless there is nothing to ask it about.
    pub(crate) fn ask(dir: &Path) -> Self {
        let dir = dir.to_owned();
        let Some(marker) = marker(&dir) else {
            let answer = Asked::Known(None);
            return Self {
                dir,
                look: None,
                answer,
            };
        };
        let look = memory::Look::of(&marker);
        let asked = dir.clone();
        let named = thread::Builder::new().name("git status".to_owned());
        let answer = match named.spawn(move || state(&asked)) {
            Ok(running) => Asked::Running(running),
            Err(_) => Asked::Not,
        };
        Self { dir, look, answer }
    }

    /// What it said before, if that will do for now; else asks it.
    pub(crate) fn recall_or_ask(dir: &Path, memory: &Memory) -> Self {
        match memory.recall(dir) {
            Some(state) => Self {
                dir: dir.to_owned(),
                look: None,
                answer: Asked::Known(Some(state)),
            },
            None => Self::ask(dir),
        }
    }

    /// It has been asked, a moment ago.
    pub(crate) fn told(dir: &Path, state: Option<State>) -> Self {
        Self {
            dir: dir.to_owned(),
            look: None,
            answer: Asked::Told(state),
        }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whether the answer is of now.
    pub(crate) fn is_asked(&self) -> bool {
        !matches!(self.answer, Asked::Known(Some(_)))
    }

    /// As [`state`]; what git says is remembered.
    pub(crate) fn answer(self, memory: &Memory) -> Option<State> {
        let said = match self.answer {
            Asked::Known(state) | Asked::Told(state) => return state,
            Asked::Running(answer) => answer.join().unwrap_or_default(),
            Asked::Not => state(&self.dir),
        };
        if let (Some(look), Some(state)) = (self.look, &said) {
            memory.remember(&self.dir, look, state.clone());
        }
        said
    }
}

/// A line of the second format of `git status` in the words of the first.
fn change(line: &str) -> Option<String> {
    let (kind, rest) = line.split_once(' ')?;
    let (letters, path) = match kind {
        "?" => ("??", rest),
        // So many fields stand before the path; a rename names the old one last.
        "1" => (rest.get(..2)?, rest.splitn(8, ' ').nth(7)?),
        "2" => (
            rest.get(..2)?,
            rest.splitn(9, ' ').nth(8)?.split('\t').next()?,
        ),
        "u" => (rest.get(..2)?, rest.splitn(10, ' ').nth(9)?),
        _ => return None,
    };
    Some(format!("{} {path}", letters.replace('.', " ")))
}

fn is_hash(text: &str) -> bool {
    (40..=64).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_hexdigit())
}

fn ask(dir: &Path, args: &[&str]) -> Answer {
    if !dir.is_dir() {
        return Answer::No;
    }
    let mut command = Command::new("git");
    command
        .arg("-C")
        .arg(dir)
        // The monitor is a program that the repository's configuration names.
        .args([
            "--no-optional-locks",
            "--no-pager",
            "-c",
            "core.fsmonitor=false",
        ])
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .env("GIT_OPTIONAL_LOCKS", "0")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GCM_INTERACTIVE", "never")
        .env("LC_ALL", "C");
    for name in MISLEADING {
        command.env_remove(name);
    }
    let Ok(mut child) = command.spawn() else {
        return Answer::No;
    };
    let Some(out) = child.stdout.take() else {
        return Answer::No;
    };
    let (tx, rx) = mpsc::sync_channel(1);
    let reader = thread::Builder::new()
        .name("git".to_owned())
        .spawn(move || {
            let mut bytes = Vec::new();
            let read = out.take(ANSWER_BYTES_MAX).read_to_end(&mut bytes);
            let _nobody_waits_any_more = tx.send(read.map(|_| bytes));
        });
    let answer = match (reader, rx.recv_timeout(DEADLINE)) {
        (Ok(_), Ok(Ok(bytes))) => Answer::Text(String::from_utf8_lossy(&bytes).into_owned()),
        (Ok(_), Err(mpsc::RecvTimeoutError::Timeout)) => Answer::Late,
        _ => Answer::No,
    };
    if !matches!(answer, Answer::Text(_)) {
        let _gone_already = child.kill();
    }
    match child.wait() {
        Ok(status) if status.success() => answer,
        _ if answer == Answer::Late => Answer::Late,
        _ => Answer::No,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::fs;

    /// Runs git in a test's directory; false where there is none.
    pub(crate) fn git(dir: &Path, args: &[&str]) -> bool {
        Command::new("git")
            .arg("-C")
            .arg(dir)
            .args(["-c", "user.name=t", "-c", "user.email=t@example.org"])
            .args([
                "-c",
                "init.defaultBranch=main",
                "-c",
                "commit.gpgsign=false",
            ])
            .args(args)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|s| s.success())
    }

    #[test]
    fn a_repository_answers() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(place(dir.path()), None);
        assert_eq!(state(dir.path()), None);
        if !git(dir.path(), &["init", "-q"]) {
            return;
        }
        assert_eq!(first_commit(dir.path()), Answer::No, "no commit yet");
        let sub = dir.path().join("a b/c");
        fs::create_dir_all(&sub).unwrap();
        fs::write(sub.join("f"), "1").unwrap();
        assert!(git(dir.path(), &["add", "."]) && git(dir.path(), &["commit", "-qm", "1"]));
        assert!(git(
            dir.path(),
            &["remote", "add", "origin", "https://example.org/x y.git"]
        ));
        fs::write(sub.join("g h"), "2").unwrap();
        fs::write(sub.join("f"), "2").unwrap();
        let found = place(&sub).unwrap();
        assert_eq!(found.top, fs::canonicalize(dir.path()).unwrap());
        assert!(!found.shallow);
        assert_eq!(remotes(&sub), ["https://example.org/x y.git"]);
        let Answer::Text(first) = first_commit(&sub) else {
            panic!("a commit is there")
        };
        let now = state(&sub).unwrap();
        assert_eq!(now.branch, "main");
        assert_eq!(now.changed, [" M f", "?? g h"]);
        assert_eq!(now.head, first);
    }
}
