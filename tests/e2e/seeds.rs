//! The two programs before, as their repositories show them: work trees that pull
//! with rebase, write their own files, commit and push. Nothing in here is ccpeer's.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::mirror::{git, text};
use super::world::{feed, until};

/// A hand-off of claude-code-session-sharing.
pub(super) fn hand_off(title: &str, machine: &str, updated: &str, prompt: &str) -> String {
    format!(
        "---\ntitle: {title}\nmachine: {machine}\nproject: proj\nbranch: main\nupdated: {updated}\n\
         ---\n\n# {title}\n\n## Task\n\nWrite the parser.\n\n## Done\n\n- the lexer\n\n\
         ## In progress\n\n## Next steps\n\n1. the tests\n\n## Files\n\n- src/main.rs\n\n\
         ## Handoff prompt\n\n{prompt}\n"
    )
}

/// A bundle of claude-sync-sessions with these prompts.
pub(super) fn bundle(session: &str, project: &str, prompts: &[String]) -> Vec<u8> {
    let lines: Vec<String> = prompts.iter().enumerate().map(line).collect();
    let first = prompts.first().map_or("(no prompt)", String::as_str);
    around(&format!(
        "{{\"sessionId\":\"{session}\",\"project\":{{\"name\":\"{project}\",\"relativeToRoot\":null,\
         \"tokenizedPath\":\"${{PROJECT_ROOT}}\",\"originalPath\":\"/home/ann/{project}\"}},\
         \"messages\":{},\"agents\":{{}},\"todos\":[],\"fileHistory\":{{}},\"meta\":{{\
         \"firstPrompt\":{},\"messageCount\":{},\"modified\":\"2026-11-29T10:00:00.000Z\"}}}}",
        Value::from(lines.clone()),
        Value::from(first),
        lines.len()
    ))
}

fn line((n, prompt): (usize, &String)) -> String {
    let parent = match n {
        0 => "null".to_owned(),
        n => format!("\"00000000-0000-4000-8000-{:012}\"", n - 1),
    };
    format!(
        "{{\"parentUuid\":{parent},\"cwd\":\"${{PROJECT_ROOT}}\",\"type\":\"user\",\"uuid\":\
         \"00000000-0000-4000-8000-{n:012}\",\"version\":\"2.1.329\",\"isSidechain\":false,\
         \"timestamp\":\"2026-11-29T10:00:00.000Z\",\"message\":{{\"role\":\"user\",\"content\":{}}}}}",
        Value::from(prompt.as_str())
    )
}

/// A document around a session, packed, with the checksum that it should have.
pub(super) fn around(session: &str) -> Vec<u8> {
    let sum = run(&["sha256sum"], session.as_bytes());
    let sum = String::from_utf8(sum).unwrap();
    let sum = sum.split(' ').next().unwrap();
    packed(&format!(
        "{{\"version\":\"1\",\"exportedAt\":\"2026-11-29T10:00:00.000Z\",\"sourceDevice\":\"old\",\
         \"updatedAt\":\"2026-11-29T10:00:00.000Z\",\"session\":{session},\"checksum\":\"{sum}\"}}"
    ))
}

pub(super) fn packed(document: &str) -> Vec<u8> {
    run(&["gzip", "-nc"], document.as_bytes())
}

pub(super) fn unpacked(bundle: &[u8]) -> String {
    String::from_utf8(run(&["gzip", "-dc"], bundle)).unwrap()
}

fn run(program: &[&str], input: &[u8]) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("out");
    let mut command = Command::new(program[0]);
    command
        .args(&program[1..])
        .stdout(fs::File::create(&file).unwrap());
    assert_eq!(feed(command, input).code, 0, "{program:?}");
    fs::read(file).unwrap()
}

/// A work tree of one of them.
pub(super) struct Clone {
    pub(super) dir: PathBuf,
}

impl Clone {
    pub(super) fn new(remote: &Path, name: &str) -> Self {
        let dir = remote.parent().unwrap().join(name);
        git(remote, &["clone", "-q", text(remote), text(&dir)]);
        git(&dir, &["checkout", "-qB", "main"]);
        Self { dir }
    }

    /// Pulls with rebase, as both do, whether or not that comes through.
    fn pull(&self) -> bool {
        self.run(&["pull", "--quiet", "--rebase", "origin", "main"])
    }

    fn run(&self, args: &[&str]) -> bool {
        let mut command = Command::new("git");
        command
            .arg("-C")
            .arg(&self.dir)
            .args(["-c", "user.name=t", "-c", "user.email=t@example.org"])
            .args(args)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_EDITOR", "true");
        command.output().unwrap().status.success()
    }

    /// Commits without pushing; nothing for a file that is to go.
    pub(super) fn commit(&self, path: &str, content: Option<&[u8]>, message: &str) {
        let file = self.dir.join(path);
        match content {
            Some(content) => {
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(&file, content).unwrap();
            }
            None => fs::remove_file(&file).unwrap(),
        }
        git(&self.dir, &["add", "-A", "--", path]);
        git(&self.dir, &["commit", "-qm", message]);
    }

    /// As both do: pull with rebase, write, commit, pull again, push.
    pub(super) fn publish(&self, path: &str, content: Option<&[u8]>, message: &str) {
        let _none_yet = self.pull();
        self.commit(path, content, message);
        until("the clone has pushed", || {
            let _none_yet = self.pull();
            self.run(&["push", "--quiet", "origin", "HEAD:main"])
        });
    }
}

/// Everything below a directory, as names with sizes: to see that nothing came.
pub(super) fn inventory(dir: &Path) -> Vec<String> {
    let mut out = Vec::new();
    let mut dirs = vec![dir.to_path_buf()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).unwrap().flatten() {
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                dirs.push(entry.path());
            }
            let len = if kind.is_file() {
                entry.metadata().unwrap().len()
            } else {
                0
            };
            out.push(format!("{} {len}", entry.path().display()));
        }
    }
    out.sort();
    out
}
