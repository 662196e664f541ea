//! What was remembered of a session's files, and what is found of them now.

use std::collections::BTreeSet;
use std::sync::Arc;

use ccpeer_core::manifest::{FileEntry, Manifest, Origin, Slot};

use super::files::{Change, Taken};
use super::opaque;
use crate::local::{LocalFile, LocalState};

/// What was remembered.
pub(super) struct Known {
    pub(super) state: Option<Arc<LocalState>>,
    pub(super) manifest: Option<Arc<Manifest>>,
}

impl Known {
    pub(super) fn file(&self, slot: &Slot) -> Option<(&FileEntry, &LocalFile)> {
        let entry = self.manifest.as_ref()?.file(slot)?;
        Some((entry, self.state.as_ref()?.file(slot)?))
    }
}

/// The files of a session as they are now.
#[derive(Default)]
pub(super) struct Files {
    pub(super) entries: Vec<FileEntry>,
    pub(super) local: Vec<LocalFile>,
    /// Whether any content is new.
    pub(super) content: bool,
}

impl Files {
    pub(super) fn add(&mut self, taken: Taken) {
        self.content |= taken.change == Change::Content;
        self.entries.push(taken.entry);
        self.local.push(taken.local);
    }

    /// What has been captured once stays, also where Claude has cleaned it up.
    pub(super) fn keep_vanished(&mut self, known: &Known, origins: &[Origin]) {
        let Some(manifest) = &known.manifest else {
            return;
        };
        let here: BTreeSet<&Slot> = self.entries.iter().map(|e| &e.slot).collect();
        let is_gone = |entry: &&FileEntry| {
            let gone = !here.contains(&entry.slot);
            let spoken = entry
                .segments
                .iter()
                .all(|s| usize::from(s.origin) < origins.len());
            gone && spoken
        };
        let gone: Vec<&FileEntry> = manifest.files.iter().filter(is_gone).collect();
        for entry in opaque::with_room(&self.entries, gone) {
            self.entries.push(entry.clone());
            let state = known.state.as_ref();
            let local = state.and_then(|s| s.file(&entry.slot));
            self.local.extend(local.cloned());
        }
    }
}
