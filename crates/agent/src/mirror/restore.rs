//! From our own form in a repository back into the store: the parts of each device
//! are read and checked, and the newest versions that are whole are told. What does
//! not hold is passed over with a note; nothing of it is believed.

use std::collections::{BTreeMap, BTreeSet};

use ccpeer_core::entry::{ContentRef, Mark, Payload, Version};
use ccpeer_core::id::{ChunkId, DeviceId, EntryHash, SessionId};
use ccpeer_core::manifest::Want;
use ccpeer_store::{Store, StoreError};

use super::OWN;
use super::carried::{PART_FILE_BYTES_MAX, Place, Unusable, open};
use super::found::Found;
use super::repo::Oid;
use super::run::GitError;
use super::seal::{Identities, SealError};

/// Devices in one repository.
const DEVICES_MAX: usize = 256;
/// Versions that are taken from one repository.
const VERSIONS_MAX: usize = 200_000;
/// Notes about what was passed over.
const NOTES_MAX: usize = 20;
/// Bytes of chunks that are written to the store at once.
const PUT_BYTES: usize = 8 * 1024 * 1024;

/// What a mirror holds.
#[derive(Debug, Default)]
pub(crate) struct Restored {
    /// The lines of each session: the newest version of each that is whole.
    pub(crate) versions: Vec<(EntryHash, Version)>,
    /// Tasks that were marked as done.
    pub(crate) done: BTreeSet<SessionId>,
    /// Whose parts were read.
    pub(crate) devices: BTreeSet<DeviceId>,
    /// What was passed over.
    pub(crate) notes: Vec<String>,
    /// Parts that nothing here opens.
    pub(crate) locked: u64,
    /// Parts that were read.
    pub(crate) read: u64,
}

/// Why nothing could be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RestoreError {
    /// Git.
    #[error(transparent)]
    Git(#[from] GitError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Restored {
    fn note(&mut self, text: String) {
        if self.notes.len() < NOTES_MAX {
            self.notes.push(text);
        }
    }
}

#[derive(Default)]
struct Said {
    versions: BTreeMap<EntryHash, (DeviceId, Version)>,
    documents: BTreeMap<EntryHash, (u64, ContentRef)>,
    marks: BTreeMap<SessionId, (u64, bool)>,
    /// Whose key took whose place.
    rolls: BTreeSet<(DeviceId, DeviceId)>,
}

/// Reads every part that one of these keys opens; the content goes to the store.
pub(crate) fn restore(
    found: &Found<'_>,
    store: &Store,
    keys: &Identities,
    meter: &mut dyn FnMut(u64, u64),
) -> Result<Restored, RestoreError> {
    let mut restored = Restored::default();
    let mut places: Vec<(Place, Oid, u64)> = Vec::new();
    for (path, node) in found.files(&format!("{OWN}/"), PART_FILE_BYTES_MAX)? {
        match (Place::of(&path), node.size) {
            (Some(place), Some(size)) => places.push((place, node.oid, size)),
            _ => restored.note(format!("{} is passed over", shown(&path))),
        }
    }
    places.sort();
    let mut said = Said::default();
    let blobs: Vec<(Oid, u64)> = places.iter().map(|(_, o, s)| (o.clone(), *s)).collect();
    let total = blobs.len() as u64;
    let mut load: Vec<(ChunkId, Vec<u8>)> = Vec::new();
    let mut bytes = 0;
    let mut failed = None;
    found.repo.read(&blobs, &mut |n, content| {
        meter(n as u64, total);
        let Some((place, _, _)) = places.get(n) else {
            return true;
        };
        if !restored.devices.contains(&place.device) && restored.devices.len() >= DEVICES_MAX {
            return true;
        }
        match open(&content, place, keys) {
            Ok(part) => {
                restored.read += 1;
                restored.devices.insert(place.device);
                for entry in part.entries {
                    said.take(&entry, place.device);
                }
                bytes += part.chunks.iter().map(|(_, c)| c.len()).sum::<usize>();
                load.extend(part.chunks);
            }
            Err(Unusable::Seal(SealError::WrongKey)) => restored.locked += 1,
            Err(e) => restored.note(format!(
                "part {} of {}: {e}",
                place.number,
                place.device.short()
            )),
        }
        if bytes >= PUT_BYTES {
            bytes = 0;
            failed = store.put_chunks(&std::mem::take(&mut load)).err();
        }
        failed.is_none()
    })?;
    if let Some(e) = failed {
        return Err(e.into());
    }
    store.put_chunks(&load)?;
    said.believe(&mut restored);
    said.lines(store, &mut restored)?;
    Ok(restored)
}

/// A path of somebody else's, fit to be shown.
pub(crate) fn shown(path: &str) -> String {
    ccpeer_core::text::one_line(path, 100)
}

impl Said {
    fn take(&mut self, entry: &ccpeer_core::entry::VerifiedEntry, by: DeviceId) {
        let author = entry.log().device;
        let lamport = entry.header().lamport;
        match entry.payload() {
            Some(Payload::Version(version)) if self.versions.len() < VERSIONS_MAX => {
                self.versions
                    .insert(entry.hash(), (author, version.clone()));
            }
            Some(Payload::Enriched(better)) => {
                let of = self
                    .documents
                    .entry(better.version)
                    .or_insert((0, better.snapshot));
                if lamport >= of.0 {
                    *of = (lamport, better.snapshot);
                }
            }
            Some(Payload::Mark(Mark { session, done })) => {
                let of = self.marks.entry(*session).or_insert((0, false));
                if lamport >= of.0 {
                    *of = (lamport, *done);
                }
            }
            Some(Payload::Roll(roll)) => {
                self.rolls.insert((roll.old, roll.new));
            }
            _ => {}
        }
        if author == by {
            self.rolls.insert((author, by));
        }
    }

    /// Only a device itself speaks in its parts, or the keys that it had before.
    fn believe(&mut self, restored: &mut Restored) {
        let mut speak = restored.devices.clone();
        loop {
            let more: Vec<DeviceId> = self
                .rolls
                .iter()
                .filter(|(old, new)| speak.contains(new) && !speak.contains(old))
                .map(|(old, _)| *old)
                .collect();
            if more.is_empty() {
                break;
            }
            speak.extend(more);
        }
        let before = self.versions.len();
        self.versions
            .retain(|_, (author, _)| speak.contains(author));
        let strange = before - self.versions.len();
        if strange > 0 {
            restored.note(format!(
                "{strange} versions stand in the part of a device that did not write them"
            ));
        }
    }

    /// The newest versions that are whole.
    fn lines(&self, store: &Store, restored: &mut Restored) -> Result<(), StoreError> {
        let mut whole = BTreeSet::new();
        let mut lacking = BTreeSet::new();
        for (id, (_, version)) in &self.versions {
            let roots: Vec<Want> = version.roots().collect();
            let ids: Vec<ChunkId> = roots.iter().map(|r| r.id).collect();
            if ids.is_empty() || !store.has(&ids)?.iter().all(|h| *h) {
                lacking.insert(version.session);
                continue;
            }
            let mut complete = true;
            for root in roots {
                complete &= match store.missing(root) {
                    Ok(missing) => missing.is_empty(),
                    Err(StoreError::Wrong { .. }) => false,
                    Err(e) => return Err(e),
                };
            }
            if complete {
                whole.insert(*id);
            }
        }
        let parents = |id: &EntryHash| {
            self.versions
                .get(id)
                .map(|(_, v)| v.parents.as_slice())
                .unwrap_or_default()
        };
        let mut past: BTreeSet<EntryHash> = BTreeSet::new();
        let mut unseen: Vec<EntryHash> = whole.iter().flat_map(parents).copied().collect();
        while let Some(id) = unseen.pop() {
            if past.insert(id) {
                unseen.extend_from_slice(parents(&id));
            }
        }
        let mut sessions = BTreeSet::new();
        for id in whole.difference(&past) {
            let Some((_, version)) = self.versions.get(id) else {
                continue;
            };
            let mut version = version.clone();
            if let Some((_, better)) = self.documents.get(id)
                && store.has(&[better.id])? == [true]
            {
                version.snapshot = Some(*better);
            }
            sessions.insert(version.session);
            restored.versions.push((*id, version));
        }
        let without = lacking.difference(&sessions).count();
        if without > 0 {
            restored.note(format!("{without} sessions are not whole in the mirror"));
        }
        let done = self.marks.iter().filter(|(_, (_, done))| *done);
        restored.done = done.map(|(session, _)| *session).collect();
        Ok(())
    }
}
