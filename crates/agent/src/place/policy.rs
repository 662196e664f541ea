//! What a record of another device may not bring along.
//!
//! Claude Code acts on some fields of a transcript when it resumes a session or
//! rewinds: working directory, permission mode, files to restore. Here they are
//! held to what this user has agreed to: this project, no special permissions.
//! Everything else stays as it is, byte for byte. One small function a rule.
//!
//! Must not know where a record came from; whoever calls decides whether it is
//! foreign. Records are read as JavaScript reads them: of doubled keys the last
//! counts, so every one is held to the rule.

mod findings;
mod record;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ccpeer_core::id::SessionId;
use ccpeer_core::manifest::PathFlavour;
use ccpeer_core::text::lossy;
use ccpeer_formats::remote_path::RemotePath;
use serde_json::value::RawValue;

pub(super) use findings::{Finding, Findings};
pub(super) use record::is_json;

use record::{Edit, Field, Record, object, quoted, splice, text, trimmed};

/// Records that tie a session to something on the other machine or account, or
/// give it other powers there. None of them is a link of the conversation's
/// chain, but the other program heeds one whatever else stands in it.
const DROPPED_TYPES: [&str; 9] = [
    // A directory to change to.
    "worktree-state",
    // Another prompt and other tools.
    "agent-setting",
    "dev-mods",
    // Who may see and steer it from elsewhere.
    "bridge-session",
    "session-owner",
    "hybrid-organization",
    // What starts turns by itself.
    "observer-ref",
    "artifact-comment-monitor",
    "artifact-autoreact-ledger",
];
/// The type of a record of these that is named as part of the chain: one that
/// nobody heeds.
const LEFT_OUT: &str = "left-out";
/// What is kept about a sub-agent and would give it other powers here, or skip
/// what guards the user. Of names that begin with `worktree`, all.
const AGENT_POWERS: [&str; 10] = [
    "spawnMode",
    "permissionMode",
    "mode",
    "takesNoHooks",
    "tools",
    "allowedTools",
    "disallowedTools",
    "systemPrompt",
    "hooks",
    "mcpServers",
];
/// Permission modes that ask at least as much as the usual one.
const MODEST_MODES: [&str; 2] = ["default", "plan"];
/// Names under which a file is obeyed or executed by somebody.
const OBEYED_NAMES: [&str; 8] = [
    ".git",
    ".claude",
    ".vscode",
    ".idea",
    ".github",
    ".husky",
    ".devcontainer",
    ".cursor",
];
/// Files that a shell or a tool executes wherever they lie.
const OBEYED_FILES: [&str; 18] = [
    ".bashrc",
    ".bash_profile",
    ".bash_login",
    ".bash_logout",
    ".profile",
    ".zshrc",
    ".zshenv",
    ".zprofile",
    ".zlogin",
    ".zlogout",
    ".kshrc",
    ".cshrc",
    ".tcshrc",
    ".gitconfig",
    ".gitmodules",
    ".mcp.json",
    ".envrc",
    ".npmrc",
];

/// Paths of one placement that are looked at once and no more.
const HARMLESS_MAX: usize = 4096;

/// The limits of what is placed.
#[derive(Debug)]
pub(super) struct Policy {
    /// What a session may work in.
    root: RemotePath,
    /// What replaces a directory outside of it.
    project: String,
    /// The same two for the disk.
    root_dir: PathBuf,
    project_dir: PathBuf,
    flavour: PathFlavour,
    /// The project is the home directory, or holds it.
    is_home: bool,
    /// Which paths are harmless, as far as it was asked: a session names the same
    /// files in each turn, and the answer takes a look at the disk. Rewinding comes
    /// long after the placement, so that the same look a second later is no better.
    harmless: Mutex<BTreeMap<String, bool>>,
    /// The last path that was found to lie in the project: every record names one, and
    /// nearly always the same.
    inside: Mutex<String>,
    /// The id of the session in its records, and the one that takes its place.
    fork: Option<(String, String)>,
}

/// What becomes of a record.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It stays.
    #[default]
    Keep,
    /// This stands in its place.
    Change(Vec<u8>),
    /// It is left out.
    Drop,
}

/// A line that was held to the rules.
#[derive(Debug, Default)]
pub(super) struct Held {
    pub(super) verdict: Verdict,
    pub(super) findings: Findings,
    /// It is JSON without doubt; otherwise nobody has asked.
    pub(super) is_json: bool,
}

impl Policy {
    /// For a session that is placed in `project_dir`, which may lie below the
    /// `top` of its repository here. What the version says of itself does not
    /// widen the limits.
    pub(super) fn new(
        project_dir: &Path,
        top: Option<&Path>,
        user_home: &Path,
        flavour: PathFlavour,
    ) -> Option<Self> {
        let project = project_dir.to_str()?;
        let home = user_home
            .canonicalize()
            .unwrap_or_else(|_| user_home.to_owned());
        // A repository of the whole home directory is not one project.
        let top = top.filter(|top| project_dir.starts_with(top) && !home.starts_with(top));
        let root_dir = top.unwrap_or(project_dir).to_owned();
        let root = RemotePath::parse(root_dir.to_str()?, flavour).ok()?;
        let is_home = home.starts_with(&root_dir);
        Some(Self {
            root,
            project: project.to_owned(),
            root_dir,
            project_dir: project_dir.to_owned(),
            flavour,
            is_home,
            harmless: Mutex::default(),
            inside: Mutex::default(),
            fork: None,
        })
    }

    /// The same for a session that becomes another one.
    pub(super) fn forked(mut self, from: &SessionId, to: &SessionId) -> Self {
        self.fork = Some((from.to_string(), to.to_string()));
        self
    }

    /// A line that was written here: nothing is done to it but that it becomes one of
    /// the other session.
    pub(super) fn own(&self, line: &[u8]) -> Held {
        let mut held = Held::default();
        if let Some((from, to)) = &self.fork
            && let Some(line) = with_session(line, from, to)
        {
            held.verdict = Verdict::Change(line);
        }
        held
    }

    /// Holds one line to the rules. A line that is no JSON object is nothing
    /// that Claude Code would read.
    pub(super) fn apply(&self, line: &[u8]) -> Held {
        let whole = lossy(line);
        let json = trimmed(&whole);
        let mut held = Held::default();
        if let Some(record) = Record::parse(json) {
            held.is_json = record.is_strict();
            // What is no text is not written anew for the sake of a name.
            let fork = self
                .fork
                .as_ref()
                .filter(|_| matches!(whole, Cow::Borrowed(_)));
            held.verdict = self.hold(&whole, json, &record, fork, &mut held.findings);
        }
        held
    }

    /// Holds one record to the rules: `json` within a line that is `whole`.
    fn hold(
        &self,
        whole: &str,
        json: &str,
        record: &Record<'_>,
        fork: Option<&(String, String)>,
        findings: &mut Findings,
    ) -> Verdict {
        let mut edits = Vec::new();
        if is_dropped_type(record) {
            findings.add(Finding::Record);
            // What is part of the conversation's chain stays, or it would break.
            if record.all("uuid").next().is_none() {
                return Verdict::Drop;
            }
            silence(record, &mut edits);
        }
        self.keep_directories(record, &["cwd", "relocatedCwd"], &mut edits, findings);
        reset_permissions(record, &mut edits, findings);
        if !self.keep_rewinding(record, &mut edits, findings) {
            return Verdict::Drop;
        }
        if let Some((from, to)) = fork {
            name_session(record, from, to, &mut edits);
        }
        match edits.is_empty() {
            true => Verdict::Keep,
            false => Verdict::Change(around(whole, json, &splice(json, edits))),
        }
    }

    /// Holds what is kept about a sub-agent to the rules; nothing if it may stay
    /// as it is.
    pub(super) fn agent(&self, file: &[u8], findings: &mut Findings) -> Option<Vec<u8>> {
        let whole = lossy(file);
        let json = trimmed(&whole);
        let record = Record::parse(json)?;
        let outside = |f: &Field<'_>| {
            *f.key == *b"cwd"
                && f.raw.get() != "null"
                && !text(f.raw).is_some_and(|cwd| self.is_inside(&cwd))
        };
        let power = |f: &Field<'_>| {
            f.key.starts_with(b"worktree") || AGENT_POWERS.iter().any(|p| *p.as_bytes() == *f.key)
        };
        let kept: Vec<&Field<'_>> = record
            .fields
            .iter()
            .filter(|f| !outside(f) && !power(f))
            .collect();
        let gone = record.fields.len() - kept.len();
        (0..gone).for_each(|_| findings.add(Finding::Agent));
        (gone > 0).then(|| around(&whole, json, &object(&kept)))
    }

    /// Working directories lie in the project.
    fn keep_directories(
        &self,
        record: &Record<'_>,
        keys: &[&str],
        edits: &mut Vec<Edit>,
        out: &mut Findings,
    ) {
        for key in keys {
            for field in record.all(key) {
                if let Some(path) = text(field.raw)
                    && !self.is_inside(&path)
                {
                    edits.push((field.range.clone(), quoted(&self.project)));
                    out.add(Finding::Cwd);
                }
            }
        }
    }

    /// Rewinding restores files of the project and no others. False: the whole
    /// record goes.
    fn keep_rewinding(
        &self,
        record: &Record<'_>,
        edits: &mut Vec<Edit>,
        out: &mut Findings,
    ) -> bool {
        for field in record.all("snapshot") {
            let Some(snapshot) = Record::parse(field.raw.get()) else {
                continue;
            };
            for tracked in snapshot.all("trackedFileBackups") {
                let Some(files) = Record::parse(tracked.raw.get()) else {
                    continue;
                };
                let kept: Vec<&Field<'_>> = files
                    .fields
                    .iter()
                    .filter(|f| self.may_rewind(&f.key, f.raw))
                    .collect();
                let gone = files.fields.len() - kept.len();
                if gone > 0 {
                    let at = field.range.start + tracked.range.start;
                    edits.push((at..at + tracked.raw.get().len(), object(&kept)));
                    (0..gone).for_each(|_| out.add(Finding::Rewind));
                }
            }
        }
        let backups: Vec<&Field<'_>> = record.all("backup").collect();
        for path in record.all("trackingPath") {
            let key = text(path.raw).unwrap_or_default();
            if !backups
                .iter()
                .all(|b| self.may_rewind(key.as_bytes(), b.raw))
            {
                out.add(Finding::Rewind);
                return false;
            }
        }
        true
    }

    fn may_rewind(&self, key: &[u8], backup: &RawValue) -> bool {
        let Ok(key) = str::from_utf8(key) else {
            return false;
        };
        let Some(backup) = Record::parse(backup.get()) else {
            return false;
        };
        let named = backup.all("backupFileName").all(|f| {
            f.raw.get() == "null" || text(f.raw).is_some_and(|name| is_backup_name(&name))
        });
        let parents = backup
            .all("realParentDir")
            .all(|f| text(f.raw).is_some_and(|dir| self.is_inside(&dir) && self.is_harmless(&dir)));
        named && parents && self.may_restore(key)
    }

    /// Whether the file of this name, absolute or below the working directory,
    /// may be restored.
    fn may_restore(&self, key: &str) -> bool {
        let absolute = RemotePath::parse(key, self.flavour).ok();
        let path = match absolute {
            Some(path) => Some(path),
            // Relative names may use either separator on Windows.
            None => {
                let names = match self.flavour {
                    PathFlavour::Windows => key.replace('\\', "/"),
                    PathFlavour::Unix => key.to_owned(),
                };
                let rooted = names.starts_with('/')
                    || names.contains(':') && self.flavour == PathFlavour::Windows;
                let project = RemotePath::parse(&self.project, self.flavour).ok();
                project
                    .filter(|_| !rooted)
                    .and_then(|p| p.join(&names).ok())
            }
        };
        path.is_some_and(|path| {
            let text = path.to_string();
            !path.is_root() && self.is_inside(&text) && self.is_harmless(&text)
        })
    }

    /// Whether a path lies in the project.
    fn is_inside(&self, path: &str) -> bool {
        let mut known = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        if !path.is_empty() && *known == path {
            return true;
        }
        let parsed = RemotePath::parse(path, self.flavour);
        let inside = parsed.is_ok_and(|p| p.parts_below(&self.root).is_some());
        if inside {
            path.clone_into(&mut known);
        }
        inside
    }

    /// Whether a name stands for something that is executed or obeyed. What is
    /// hidden in a home directory is configuration.
    fn is_obeyed(&self, name: &str) -> bool {
        let lower = name.to_lowercase();
        let named =
            OBEYED_NAMES.contains(&lower.as_str()) || OBEYED_FILES.contains(&lower.as_str());
        named || (self.is_home && name.starts_with('.'))
    }

    /// Whether nobody executes or obeys what lies there, and no link on the way
    /// leads out of the project.
    fn is_harmless(&self, path: &str) -> bool {
        let known = || self.harmless.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = known().get(path).copied() {
            return answer;
        }
        let answer = self.looks_harmless(path);
        let mut known = known();
        if known.len() < HARMLESS_MAX {
            known.insert(path.to_owned(), answer);
        }
        answer
    }

    fn looks_harmless(&self, path: &str) -> bool {
        let Ok(parsed) = RemotePath::parse(path, self.flavour) else {
            return false;
        };
        let Some(below) = parsed.parts_below(&self.root) else {
            return false;
        };
        if below.iter().any(|name| self.is_obeyed(name)) {
            return false;
        }
        let mut deepest = self.root_dir.clone();
        for name in below {
            let next = deepest.join(name);
            if next.symlink_metadata().is_err() {
                break;
            }
            deepest = next;
        }
        let real = |path: &Path| path.canonicalize().ok();
        match (real(&self.root_dir), real(&deepest)) {
            // What a link or a short name leads to counts, not what it is called.
            (Some(root), Some(deepest)) => deepest.strip_prefix(root).is_ok_and(|below| {
                let mut names = below.iter();
                names.all(|name| !self.is_obeyed(&name.to_string_lossy()))
            }),
            // The project is not there: nothing can lead out of it.
            (None, _) => !self.project_dir.exists(),
            (Some(_), None) => false,
        }
    }
}

/// Whether a record is left out as a whole.
fn is_dropped_type(record: &Record<'_>) -> bool {
    record.all("type").any(is_dropped)
}

fn is_dropped(kind: &Field<'_>) -> bool {
    text(kind.raw).is_some_and(|t| DROPPED_TYPES.contains(&&*t))
}

/// Makes a record one of a type that nobody heeds.
fn silence(record: &Record<'_>, edits: &mut Vec<Edit>) {
    let kinds = record.all("type").filter(|f| is_dropped(f));
    edits.extend(kinds.map(|f| (f.range.clone(), quoted(LEFT_OUT))));
}

/// A line with something else in the place of its JSON.
fn around(whole: &str, json: &str, new: &[u8]) -> Vec<u8> {
    let start = json.as_ptr().addr() - whole.as_ptr().addr();
    let (before, rest) = whole.split_at(start);
    let after = rest.get(json.len()..).unwrap_or_default();
    [before.as_bytes(), new, after.as_bytes()].concat()
}

/// Permissions are given here, not there.
fn reset_permissions(record: &Record<'_>, edits: &mut Vec<Edit>, out: &mut Findings) {
    for field in record.all("permissionMode") {
        let modest = text(field.raw).is_some_and(|m| MODEST_MODES.contains(&&*m));
        if !modest && field.raw.get() != "null" {
            edits.push((field.range.clone(), quoted("default")));
            out.add(Finding::Permission);
        }
    }
    if record
        .all("type")
        .filter_map(|f| text(f.raw))
        .any(|t| t == "mode")
    {
        for field in record.all("mode") {
            let modest = text(field.raw).is_some_and(|m| m == "normal" || m == "plan");
            if !modest {
                edits.push((field.range.clone(), quoted("normal")));
                out.add(Finding::Permission);
            }
        }
    }
}

/// The same line with another session's id in it; nothing if it names none.
fn with_session(line: &[u8], from: &str, to: &str) -> Option<Vec<u8>> {
    let json = str::from_utf8(line).ok()?;
    let record = Record::parse(json)?;
    let mut edits = Vec::new();
    name_session(&record, from, to, &mut edits);
    (!edits.is_empty()).then(|| splice(json, edits))
}

/// A record of one session becomes one of another.
fn name_session(record: &Record<'_>, from: &str, to: &str, edits: &mut Vec<Edit>) {
    let named = record.all("sessionId");
    let ours = named.filter(|f| text(f.raw).is_some_and(|id| id == from));
    edits.extend(ours.map(|f| (f.range.clone(), quoted(to))));
}

/// The directory that a record was written in.
pub(super) fn directory(line: &[u8]) -> Option<String> {
    let record = Record::parse(str::from_utf8(line).ok()?)?;
    let cwd = record.all("cwd").last()?;
    text(cwd.raw).map(Cow::into_owned)
}

/// A name as Claude Code gives it: 16 hex digits, `@v`, a number.
fn is_backup_name(name: &str) -> bool {
    let Some((hash, version)) = name.split_once("@v") else {
        return false;
    };
    hash.len() == 16
        && hash.bytes().all(|c| c.is_ascii_hexdigit())
        && (1..=4).contains(&version.len())
        && version.bytes().all(|c| c.is_ascii_digit())
}

#[cfg(test)]
mod tests;
