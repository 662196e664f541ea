//! What lies around a project: the home, and the directories that hold projects,
//! as the user said.
//!
//! Must not know what a project is.

use std::fs;
use std::path::{Path, PathBuf};

use ccpeer_store::{Namespace, NoteWrite, Store, StoreError};
use serde::{Deserialize, Serialize};

use crate::home::Home;

/// Key in [`Namespace::Setting`].
const KEY: &[u8] = b"projects";
/// Directories that may be named.
pub(crate) const ROOTS_MAX: usize = 32;

/// The home and the roots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Around {
    pub(crate) home: PathBuf,
    pub(crate) roots: Vec<PathBuf>,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    roots: Vec<PathBuf>,
}

impl Around {
    /// As the user said.
    pub(crate) fn load(store: &Store, home: &Home) -> Result<Self, StoreError> {
        let kept = match store.note(Namespace::Setting, KEY) {
            Ok(note) => note,
            // A setting that was lost costs a question.
            Err(StoreError::Corrupt { .. }) => None,
            Err(e) => return Err(e),
        };
        let kept = kept.and_then(|v| serde_json::from_slice::<Kept>(&v).ok());
        Ok(Self {
            home: home.user().to_owned(),
            roots: kept.map(|k| k.roots).unwrap_or_default(),
        })
    }

    /// The write that keeps other roots.
    pub(crate) fn note(roots: &[PathBuf]) -> Option<NoteWrite> {
        let kept = Kept {
            roots: roots.to_vec(),
        };
        Some(NoteWrite {
            ns: Namespace::Setting,
            key: KEY.to_vec(),
            value: Some(serde_json::to_vec(&kept).ok()?),
        })
    }

    /// The roots as text, in every spelling that a resolved path may have.
    pub(crate) fn root_texts(&self) -> Vec<String> {
        let mut out = Vec::new();
        for root in &self.roots {
            for path in [Some(root.clone()), fs::canonicalize(root).ok()]
                .into_iter()
                .flatten()
            {
                if let Some(text) = path.to_str().filter(|t| !out.iter().any(|o| o == t)) {
                    out.push(text.to_owned());
                }
            }
        }
        out
    }

    /// The home in the spelling in which this directory lies below it.
    pub(crate) fn home_of(&self, dir: &Path) -> PathBuf {
        if dir.starts_with(&self.home) {
            return self.home.clone();
        }
        fs::canonicalize(&self.home).unwrap_or_default()
    }
}
