//! Files that leave their place when a placement has happened: a session that
//! moves. They are in the backups before, and go one by one after.
//!
//! Must not know why a session moves.

use std::collections::BTreeSet;

use ccpeer_core::id::{EntryHash, SessionId};
use ccpeer_core::manifest::Slot;
use ccpeer_core::time::Timestamp;
use ccpeer_core::{codec, limits};
use serde::{Deserialize, Serialize};

use super::{Content, RECORD_VERSION, Record, Reversed, Site, Step, unless_in_the_way};
use crate::confined::{Root, Stamp};
use crate::place::PlaceError;

/// Version of a record that knows no files that leave their place.
pub(super) const RECORD_VERSION_STAYING: u8 = 1;

/// The place that a session leaves.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(in crate::place) struct Left {
    /// The directory below `projects/`.
    pub(in crate::place) slug: String,
    /// What lies there of it.
    pub(in crate::place) files: Vec<LeftFile>,
}

/// A file that leaves its place. It is in the backups before.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::place) struct LeftFile {
    pub(in crate::place) slot: Slot,
    /// Name of the backup.
    pub(in crate::place) number: u32,
    pub(in crate::place) content: Content,
    pub(in crate::place) stamp: Stamp,
}

/// A record of version 1.
#[derive(Serialize, Deserialize)]
struct Staying {
    version: u8,
    id: [u8; 16],
    at: Timestamp,
    undoing: bool,
    asked: (SessionId, EntryHash),
    session: SessionId,
    slug: String,
    steps: Vec<Step>,
    dirs: Vec<Vec<String>>,
    state_before: Option<Vec<u8>>,
}

impl Record {
    /// Notes which directories are made, so that they can be removed again.
    pub(in crate::place) fn note_missing_dirs(&mut self, root: &Root) -> Result<(), PlaceError> {
        let mut dirs = BTreeSet::new();
        for step in &self.steps {
            let names = self.names(step)?;
            // Whatever is in the way is found before anything is touched.
            root.stamp(&names)?;
            for depth in 1..names.len() {
                let dir = names.get(..depth).unwrap_or_default();
                if !root.dir(dir)? {
                    dirs.insert(dir.to_vec());
                }
            }
        }
        // A directory sorts before what lies in it.
        self.dirs = dirs.into_iter().collect();
        Ok(())
    }
}

impl Site<'_> {
    /// Removes what has left its place, last things first. What somebody has
    /// changed since stays, and so does anything that is in the backups only by
    /// our word. Can be repeated.
    pub(super) fn let_go(&self, record: &Record) -> Result<(), PlaceError> {
        let mut dirs = BTreeSet::new();
        for file in record.left.files.iter().rev() {
            let names = record.left_names(file)?;
            let backup = self.backups(record).join(file.number.to_string());
            let kept = crate::confined::open_regular(&backup)?.is_some();
            let lying = unless_in_the_way(self.content(&names))?.flatten();
            if kept && lying == Some(file.content) {
                let path = self.root.join(&names);
                self.disk.remove_file(&path)?;
                if let Some(dir) = path.parent() {
                    self.disk.sync_dir(dir)?;
                }
                self.disk.pass("a file has left its place")?;
            } else if lying.is_some() {
                tracing::warn!(session = %record.session, "a file of a moved session was changed meanwhile and stays");
            }
            for depth in 2..names.len() {
                dirs.insert(names.get(..depth).unwrap_or_default().to_vec());
            }
        }
        for dir in dirs.iter().rev() {
            // Those in which something else lies stay.
            let _not_empty = self.disk.remove_dir(&self.root.join(dir));
        }
        Ok(())
    }

    /// Puts what has left its place back there. Can be repeated.
    pub(super) fn come_back(&self, record: &Record, out: &mut Reversed) -> Result<(), PlaceError> {
        for file in &record.left.files {
            let names = record.left_names(file)?;
            match unless_in_the_way(self.content(&names))? {
                Some(None) => {}
                Some(Some(lying)) if lying == file.content => continue,
                // Something else lies there now; what was is in the backup.
                _ => {
                    out.left += 1;
                    continue;
                }
            }
            let Some((_, dir)) = names.split_last() else {
                continue;
            };
            let dir = self.root.make_dir(&self.disk, dir)?;
            let target = self.root.join(&names);
            let backup = self.backups(record).join(file.number.to_string());
            if self.disk.link(&backup, &target).is_err() {
                // On another disk: a copy, complete before it gets the name.
                let copied = self.copied_back(record, file.number, &backup, file.stamp)?;
                self.disk.rename_new(&copied, &target)?;
            }
            self.disk.sync_dir(&dir)?;
            out.restored += 1;
            self.disk.pass("a file is back in its place")?;
        }
        Ok(())
    }
}

/// Reads a record of that version.
pub(super) fn staying(bytes: &[u8]) -> Option<Record> {
    let r: Staying = codec::decode(bytes, limits::NOTE_VALUE_BYTES_MAX).ok()?;
    Some(Record {
        version: RECORD_VERSION,
        id: r.id,
        at: r.at,
        undoing: r.undoing,
        asked: r.asked,
        session: r.session,
        slug: r.slug,
        steps: r.steps,
        dirs: r.dirs,
        state_before: r.state_before,
        left: Left::default(),
    })
}
