//! Where projects lie here, as it is remembered: by a placement, or because the
//! user said so.
//!
//! The user's word outweighs everything that can be found out, and stands until
//! it is taken back. Must not know how directories are searched.

use std::path::{Path, PathBuf};

use ccpeer_core::codec;
use ccpeer_core::limits;
use ccpeer_core::manifest::ProjectIdentity;
use ccpeer_formats::project as rules;
use ccpeer_store::{Namespace, NoteWrite, Store, StoreError};
use serde::{Deserialize, Serialize};

/// Version of a mapping that does not say who says so: a placement left it.
const PLACED_VERSION: u8 = 1;
/// Version of a mapping.
const VERSION: u8 = 2;

/// Where a project lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mapping {
    pub(crate) identity: ProjectIdentity,
    pub(crate) dir: PathBuf,
    /// By the user; else a placement went there.
    pub(crate) said: bool,
}

/// As earlier versions kept it.
#[derive(Serialize, Deserialize)]
struct Placed {
    version: u8,
    identity: ProjectIdentity,
    dir: String,
}

/// As it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    version: u8,
    identity: ProjectIdentity,
    /// A part of the identity that is not in its first version.
    below_root: Option<String>,
    dir: String,
    said: bool,
}

impl Mapping {
    /// Everything that is remembered, in the order of directories.
    pub(crate) fn all(store: &Store) -> Result<Vec<Self>, StoreError> {
        let notes = store.notes(Namespace::Project)?;
        let mut all: Vec<Self> = notes.iter().filter_map(|(_, v)| Self::read(v)).collect();
        all.sort_by(|a, b| a.dir.cmp(&b.dir).then_with(|| b.said.cmp(&a.said)));
        Ok(all)
    }

    fn read(value: &[u8]) -> Option<Self> {
        let max = limits::NOTE_VALUE_BYTES_MAX;
        match value.first() {
            Some(&PLACED_VERSION) => {
                let m: Placed = codec::decode(value, max).ok()?;
                Some(Self {
                    identity: m.identity,
                    dir: m.dir.into(),
                    said: false,
                })
            }
            Some(&VERSION) => {
                let m: Kept = codec::decode(value, max).ok()?;
                Some(Self {
                    identity: ProjectIdentity {
                        below_root: m.below_root,
                        ..m.identity
                    },
                    dir: m.dir.into(),
                    said: m.said,
                })
            }
            _ => None,
        }
    }

    /// The note that keeps it. Nothing for a project of which only its name is
    /// known: another one may be called the same.
    pub(crate) fn note(&self) -> Option<NoteWrite> {
        let kept = Kept {
            version: VERSION,
            identity: self.identity.clone(),
            below_root: self.identity.below_root.clone(),
            dir: self.dir.to_string_lossy().into_owned(),
            said: self.said,
        };
        is_tellable(&self.identity).then(|| NoteWrite {
            ns: Namespace::Project,
            key: key(&self.identity).to_vec(),
            value: Some(codec::encode(&kept)),
        })
    }

    /// The note that forgets it.
    pub(crate) fn forgotten(&self) -> NoteWrite {
        NoteWrite {
            ns: Namespace::Project,
            key: key(&self.identity).to_vec(),
            value: None,
        }
    }

    /// Where a project would lie because of this mapping, and whether the
    /// mapping is of exactly that one: another directory of the same repository
    /// lies at the same place in it, and what lies below a directory that was
    /// named lies below it here.
    pub(crate) fn place(&self, want: &ProjectIdentity) -> Option<(PathBuf, bool)> {
        if key(&self.identity) == key(want) {
            return Some((self.dir.clone(), true));
        }
        let below = if rules::likeness(want, &self.identity).is_some() {
            match self.identity.subdir.as_str() {
                "" => want.subdir.clone(),
                within => {
                    let top = without_end(&self.dir, within)?;
                    return Some((join(&top, &want.subdir)?, false));
                }
            }
        } else if is_told(want) || is_told(&self.identity) {
            return None;
        } else {
            let rest = |there: &Option<String>, here: &Option<String>| {
                let rest = there.as_ref()?.strip_prefix(here.as_ref()?.as_str())?;
                Some(rest.strip_prefix('/')?.to_owned())
            };
            let (there, here) = (want, &self.identity);
            rest(&there.below_root, &here.below_root)
                .or_else(|| rest(&there.below_home, &here.below_home))?
        };
        Some((join(&self.dir, &below)?, false))
    }
}

/// Whether a repository says what a project is.
pub(crate) fn is_told(project: &ProjectIdentity) -> bool {
    !project.remotes.is_empty() || !project.root_commit.is_empty()
}

/// Where a placement went, unless the user has said where the project lies.
pub(crate) fn placed(
    store: &Store,
    want: &ProjectIdentity,
    dir: &Path,
) -> Result<Option<NoteWrite>, StoreError> {
    let before = store.note(Namespace::Project, &key(want))?;
    if before
        .and_then(|v| Mapping::read(&v))
        .is_some_and(|m| m.said)
    {
        return Ok(None);
    }
    let mapping = Mapping {
        identity: want.clone(),
        dir: dir.to_owned(),
        said: false,
    };
    Ok(mapping.note())
}

/// Whether there is more to tell a project by than its name.
pub(crate) fn is_tellable(project: &ProjectIdentity) -> bool {
    is_told(project) || project.below_home.is_some() || project.below_root.is_some()
}

/// What a mapping is found by.
pub(crate) fn key(want: &ProjectIdentity) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&codec::encode(want));
    if let Some(below) = &want.below_root {
        hasher.update(below.as_bytes());
    }
    *hasher.finalize().as_bytes()
}

/// A directory without the names at its end.
fn without_end(dir: &Path, names: &str) -> Option<PathBuf> {
    let mut top = dir;
    for name in names.rsplit('/').filter(|n| !n.is_empty()) {
        if top.file_name()?.to_str()? != name {
            return None;
        }
        top = top.parent()?;
    }
    Some(top.to_owned())
}

/// What lies below, by names that may come from another device.
pub(crate) fn join(top: &Path, below: &str) -> Option<PathBuf> {
    use ccpeer_formats::remote_path::RemotePath;
    if below.is_empty() {
        return Some(top.to_owned());
    }
    let top = RemotePath::parse(top.to_str()?, crate::capture::FLAVOUR).ok()?;
    Some(PathBuf::from(top.join(below).ok()?.to_string()))
}
