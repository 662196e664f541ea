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

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use ccpeer_core::manifest::PathFlavour;
use ccpeer_formats::remote_path::RemotePath;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Records that tie a session to something on the other machine, or give it
/// other powers there. None of them is a link of the conversation's chain.
const DROPPED_TYPES: [&str; 4] = [
    "worktree-state",
    "agent-setting",
    "bridge-session",
    "session-owner",
];
/// Permission modes that ask at least as much as the usual one.
const MODEST_MODES: [&str; 2] = ["default", "plan"];
/// Names under which a file is obeyed or executed by somebody.
const OBEYED_NAMES: [&str; 5] = [".git", ".claude", ".vscode", ".idea", ".github"];
/// Files that a shell or a tool executes wherever they lie.
const OBEYED_FILES: [&str; 9] = [
    ".bashrc",
    ".bash_profile",
    ".profile",
    ".zshrc",
    ".zshenv",
    ".zprofile",
    ".mcp.json",
    ".envrc",
    ".npmrc",
];

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
}

/// What becomes of a record.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It stays.
    Keep,
    /// This stands in its place.
    Change(Vec<u8>),
    /// It is left out.
    Drop,
}

/// What was left out or reset, by kind.
#[derive(Debug, Default, Clone)]
pub(super) struct Findings(BTreeMap<Finding, u64>);

/// Kinds of things that are left out or reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Finding {
    /// A working directory outside the project.
    Cwd,
    /// A permission mode.
    Permission,
    /// A record of [`DROPPED_TYPES`].
    Record,
    /// A file that rewinding would have written outside the project.
    Rewind,
    /// A record that would have been broken by rewriting its paths.
    Unrewritten,
    /// A file that lies here already and is not this session's.
    Foreign,
    /// A log of a sub-agent that went on here in another way; backed up.
    Replaced,
    /// An unfinished line at the end of the local transcript; backed up.
    Torn,
    /// State records at the end of the local transcript; backed up.
    Bookkeeping,
    /// A transcript that has another beginning now, compacted say; backed up.
    Rewritten,
    /// A tool was called at the end and had not answered. It stays.
    Pending,
}

impl Findings {
    pub(super) fn add(&mut self, finding: Finding) {
        *self.0.entry(finding).or_default() += 1;
    }

    /// One line for each kind.
    pub(super) fn lines(&self) -> Vec<String> {
        self.0
            .iter()
            .map(|(finding, count)| format!("{count} × {finding}"))
            .collect()
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cwd => "working directory outside the project, set to the project",
            Self::Permission => "permission mode, set back to the default",
            Self::Record => "record that belongs to the other machine alone, left out",
            Self::Rewind => {
                "file for rewinding outside the project or in a protected place, left out"
            }
            Self::Unrewritten => "record whose paths cannot be rewritten, left as it was",
            Self::Foreign => {
                "file that lies here already and is not this session's, left as it was"
            }
            Self::Replaced => "sub-agent's record that differed here, replaced and backed up",
            Self::Bookkeeping => "end of the local transcript without a word of anybody, replaced",
            Self::Pending => "result of a tool call that had not ended there; nothing was run here",
            Self::Rewritten => {
                "transcript that was rewritten or compacted elsewhere, replaced and backed up"
            }
            Self::Torn => {
                "unfinished line at the end of the local transcript, replaced and backed up"
            }
        })
    }
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
        })
    }

    /// Holds one line to the rules. A line that is no JSON object is nothing
    /// that Claude Code would read.
    pub(super) fn apply(&self, line: &[u8], findings: &mut Findings) -> Verdict {
        let text = String::from_utf8_lossy(line);
        let json = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let Some(record) = Record::parse(json) else {
            return Verdict::Keep;
        };
        if is_dropped_type(&record) {
            findings.add(Finding::Record);
            return Verdict::Drop;
        }
        let mut edits = Vec::new();
        self.keep_directories(&record, &mut edits, findings);
        reset_permissions(&record, &mut edits, findings);
        if !self.keep_rewinding(&record, &mut edits, findings) {
            return Verdict::Drop;
        }
        if edits.is_empty() {
            Verdict::Keep
        } else {
            Verdict::Change(splice(json, edits))
        }
    }

    /// Working directories lie in the project.
    fn keep_directories(&self, record: &Record<'_>, edits: &mut Vec<Edit>, out: &mut Findings) {
        for key in ["cwd", "relocatedCwd"] {
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
        RemotePath::parse(path, self.flavour).is_ok_and(|p| p.parts_below(&self.root).is_some())
    }

    /// Whether nobody executes or obeys what lies there, and no link on the way
    /// leads out of the project.
    fn is_harmless(&self, path: &str) -> bool {
        let Ok(parsed) = RemotePath::parse(path, self.flavour) else {
            return false;
        };
        let Some(below) = parsed.parts_below(&self.root) else {
            return false;
        };
        let obeyed = |name: &String| {
            let name = name.to_lowercase();
            OBEYED_NAMES.contains(&name.as_str()) || OBEYED_FILES.contains(&name.as_str())
        };
        // What is hidden in a home directory is configuration.
        let hidden = self.is_home && below.iter().any(|name| name.starts_with('.'));
        if hidden || below.iter().any(obeyed) {
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
            (Some(root), Some(deepest)) => deepest.starts_with(root),
            // The project is not there: nothing can lead out of it.
            (None, _) => !self.project_dir.exists(),
            (Some(_), None) => false,
        }
    }
}

/// Whether a record is left out as a whole. What is part of the conversation's
/// chain stays, or the chain would break.
fn is_dropped_type(record: &Record<'_>) -> bool {
    let linked = record.all("uuid").next().is_some();
    !linked
        && record
            .all("type")
            .filter_map(|f| text(f.raw))
            .any(|t| DROPPED_TYPES.contains(&t.as_str()))
}

/// Permissions are given here, not there.
fn reset_permissions(record: &Record<'_>, edits: &mut Vec<Edit>, out: &mut Findings) {
    for field in record.all("permissionMode") {
        let modest = text(field.raw).is_some_and(|m| MODEST_MODES.contains(&m.as_str()));
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
pub(super) fn with_session(line: &[u8], from: &str, to: &str) -> Option<Vec<u8>> {
    let json = str::from_utf8(line).ok()?;
    let record = Record::parse(json)?;
    let edits: Vec<Edit> = record
        .all("sessionId")
        .filter(|f| text(f.raw).is_some_and(|id| id == from))
        .map(|f| (f.range.clone(), quoted(to)))
        .collect();
    (!edits.is_empty()).then(|| splice(json, edits))
}

/// The directory that a record was written in.
pub(super) fn directory(line: &[u8]) -> Option<String> {
    let record = Record::parse(str::from_utf8(line).ok()?)?;
    record.all("cwd").last().and_then(|f| text(f.raw))
}

/// Whether a line is one JSON value.
pub(super) fn is_json(line: &[u8]) -> bool {
    let text = String::from_utf8_lossy(line);
    let json = text.strip_prefix('\u{feff}').unwrap_or(&text);
    serde_json::from_str::<&RawValue>(json.trim()).is_ok()
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

type Edit = (Range<usize>, Vec<u8>);

fn splice(json: &str, mut edits: Vec<Edit>) -> Vec<u8> {
    edits.sort_by_key(|(range, _)| range.start);
    let mut out = Vec::with_capacity(json.len() + 64);
    let mut done = 0;
    for (range, new) in edits {
        out.extend_from_slice(json.as_bytes().get(done..range.start).unwrap_or_default());
        out.extend_from_slice(&new);
        done = range.end;
    }
    out.extend_from_slice(json.as_bytes().get(done..).unwrap_or_default());
    out
}

fn quoted(text: &str) -> Vec<u8> {
    serde_json::Value::from(text).to_string().into_bytes()
}

/// An object of these fields, as they stand.
fn object(fields: &[&Field<'_>]) -> Vec<u8> {
    let mut out = vec![b'{'];
    for (n, field) in fields.iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        out.extend(quoted(&String::from_utf8_lossy(&field.key)));
        out.push(b':');
        out.extend_from_slice(field.raw.get().as_bytes());
    }
    out.push(b'}');
    out
}

/// A string's content. One with half a surrogate pair is none that we compare:
/// it is held to the rules like any other stranger.
fn text(raw: &RawValue) -> Option<String> {
    let json = raw.get();
    if !json.starts_with('"') {
        return None;
    }
    Some(serde_json::from_str(json).unwrap_or_else(|_| "\u{fffd}".to_owned()))
}

/// The fields of an object, in order, doubled ones too.
struct Record<'a> {
    fields: Vec<Field<'a>>,
}

struct Field<'a> {
    /// Decoded; bytes, because half a surrogate pair is no text.
    key: Vec<u8>,
    raw: &'a RawValue,
    /// Where the value stands.
    range: Range<usize>,
}

impl<'a> Record<'a> {
    fn parse(json: &'a str) -> Option<Self> {
        let mut de = serde_json::Deserializer::from_str(json);
        let pairs = de.deserialize_map(Pairs).ok()?;
        de.end().ok()?;
        let base = json.as_ptr().addr();
        let fields = pairs
            .into_iter()
            .map(|(key, raw)| {
                let start = raw.get().as_ptr().addr() - base;
                Field {
                    key,
                    raw,
                    range: start..start + raw.get().len(),
                }
            })
            .collect();
        Some(Self { fields })
    }

    fn all<'s>(&'s self, key: &'s str) -> impl Iterator<Item = &'s Field<'a>> {
        self.fields.iter().filter(move |f| f.key == key.as_bytes())
    }
}

struct Pairs;

impl<'a> Visitor<'a> for Pairs {
    type Value = Vec<(Vec<u8>, &'a RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'a>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let mut out = Vec::new();
        while let Some(Key(key)) = map.next_key()? {
            out.push((key, map.next_value()?));
        }
        Ok(out)
    }
}

struct Key(Vec<u8>);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(de: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Key;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Key, E> {
                Ok(Key(bytes.to_vec()))
            }
            fn visit_str<E>(self, text: &str) -> Result<Key, E> {
                Ok(Key(text.as_bytes().to_vec()))
            }
        }
        de.deserialize_bytes(Bytes)
    }
}

#[cfg(test)]
mod tests;
