//! The table of projects that a user sees and edits: every project that any
//! session belongs to, with its directory here.
//!
//! Must not know how it is shown.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use ccpeer_core::id::SessionId;
use ccpeer_core::manifest::ProjectIdentity;

use super::finder::Finder;
use super::{Located, mapping};
use crate::api::KnownBy;

/// A session, as far as the table is about it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) session: SessionId,
    pub(crate) identity: ProjectIdentity,
    /// The device that wrote it, by its full id.
    pub(crate) device: String,
    pub(crate) branch: String,
    /// The project's directory here, if the session lies here.
    pub(crate) here: Option<PathBuf>,
}

/// One project.
#[derive(Debug, Clone, Default)]
pub(crate) struct Row {
    pub(crate) name: String,
    /// What it is called by whom; never empty.
    pub(crate) identities: Vec<ProjectIdentity>,
    pub(crate) dir: Option<PathBuf>,
    pub(crate) known: Option<KnownBy>,
    /// Nothing else can be meant: what may happen by itself.
    pub(crate) certain: bool,
    pub(crate) candidates: Vec<PathBuf>,
    pub(crate) remotes: Vec<String>,
    pub(crate) subdir: String,
    pub(crate) sessions: BTreeSet<SessionId>,
    pub(crate) devices: BTreeSet<String>,
    branch: String,
    here: Option<PathBuf>,
}

/// What makes two sessions one row: their repository and the place in it, else
/// where they lie, and by name alone those of one device.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Repository(String, String),
    Root(String),
    Home(String),
    Name(String, String),
}

/// The table, by name.
pub(crate) fn rows(finder: &Finder, seen: Vec<Seen>) -> Vec<Row> {
    let mut rows: BTreeMap<Key, Row> = BTreeMap::new();
    for one in seen {
        let row = rows.entry(key(&one)).or_default();
        if row.name.is_empty() {
            row.name.clone_from(&one.identity.name);
            row.branch = one.branch;
        }
        row.subdir.clone_from(&one.identity.subdir);
        row.sessions.insert(one.session);
        row.devices.insert(one.device);
        row.here = row.here.take().or(one.here);
        for remote in &one.identity.remotes {
            if !row.remotes.contains(remote) {
                row.remotes.push(remote.clone());
            }
        }
        let is = |other: &ProjectIdentity| mapping::key(other) == mapping::key(&one.identity);
        if !row.identities.iter().any(is) {
            row.identities.push(one.identity);
        }
    }
    for row in rows.values_mut() {
        row.remotes.sort();
        row.find(finder);
    }
    let mut rows: Vec<Row> = rows.into_values().collect();
    rows.sort_by(|a, b| (&a.name, &a.dir).cmp(&(&b.name, &b.dir)));
    rows
}

/// The one project that is meant by its name, its directory here, or the
/// beginning of one of its remotes; else all that may be.
pub(crate) fn find_row(rows: &[Row], wanted: &str) -> Result<usize, Vec<usize>> {
    let fits = |fits: &dyn Fn(&Row) -> bool| -> Vec<usize> {
        let rows = rows.iter().enumerate();
        rows.filter(|(_, row)| fits(row))
            .map(|(at, _)| at)
            .collect()
    };
    let path = Path::new(wanted);
    let dir = super::use_dir(path).unwrap_or_else(|_| path.to_owned());
    let by_dir = fits(&|row| row.dir.as_deref() == Some(&dir));
    let remote = ccpeer_formats::project::normalise_remote(wanted);
    let remote = remote.as_deref().unwrap_or(wanted);
    let by_remote =
        || fits(&|row| !wanted.is_empty() && row.remotes.iter().any(|r| r.starts_with(remote)));
    let found = [by_dir, fits(&|row| row.name == wanted), by_remote()];
    for found in found {
        match found.as_slice() {
            [] => {}
            [one] => return Ok(*one),
            _ => return Err(found),
        }
    }
    Err(Vec::new())
}

fn key(one: &Seen) -> Key {
    let id = &one.identity;
    if mapping::is_told(id) {
        // A shallow clone knows no first commit, a clone of a path no remote.
        let remotes = id.remotes.join(" ");
        let which = if remotes.is_empty() {
            id.root_commit.clone()
        } else {
            remotes
        };
        return Key::Repository(which, id.subdir.clone());
    }
    if let Some(below) = &id.below_root {
        return Key::Root(below.clone());
    }
    match &id.below_home {
        Some(below) => Key::Home(below.clone()),
        None => Key::Name(id.name.clone(), one.device.clone()),
    }
}

impl Row {
    fn find(&mut self, finder: &Finder) {
        for identity in &self.identities {
            match finder.locate(identity, &self.branch, None) {
                Located::Dir(dir, _) => {
                    self.known = finder.known_by(identity, &dir);
                    self.certain =
                        finder.certain(identity, &self.branch, &[]).as_ref() == Some(&dir);
                    self.dir = Some(dir);
                    self.candidates.clear();
                    if self.known == Some(KnownBy::Said) {
                        return;
                    }
                }
                Located::Ambiguous(dirs) if self.dir.is_none() => self.candidates = dirs,
                Located::Ambiguous(_) | Located::Missing { .. } | Located::Unknown => {}
            }
        }
        if let Some(here) = self.here.take().filter(|dir| dir.is_dir())
            && (self.dir.is_none() || self.known.is_none())
        {
            self.dir = Some(here);
            self.certain = false;
            self.candidates.clear();
        }
        if self.dir.is_some() && self.known.is_none() {
            self.known = Some(KnownBy::Sessions);
        }
    }
}
