//! What of this device a mirror holds already: which chunks, and how far its logs.
//! It is what the parts in the remote's tree say; a copy of that is kept beside,
//! and counts as long as the tree is the one that it was made of.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use ccpeer_core::codec;
use ccpeer_core::entry::{Content, VerifiedEntry};
use ccpeer_core::id::{ChunkId, DeviceId, EntryHash, LogId, Seq};
use serde::{Deserialize, Serialize};

use super::part::{Opened, Part, PartError};
use super::repo::{Node, Oid, Repo};
use super::run::GitError;
use super::seal::{Identities, SealError};
use super::{OWN, part};
use crate::keys;

/// Bytes of one part in a tree: content that cannot be packed, and its seal.
pub(crate) const PART_FILE_BYTES_MAX: u64 = 24 * 1024 * 1024;
/// Bytes that a sealed part may open to.
const OPENED_BYTES_MAX: u64 = PART_FILE_BYTES_MAX;
/// Bytes of the copy that are read.
const COPY_BYTES_MAX: usize = 512 * 1024 * 1024;
/// Parts in one directory.
const PER_DIR: u64 = 1000;
/// How an encrypted part's name ends.
const SEALED: &str = ".part.age";
const PLAIN: &str = ".part";

/// What is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Carried {
    /// The number of the next part.
    pub(crate) next: u64,
    pub(crate) chunks: BTreeSet<ChunkId>,
    /// How far each log is there without a gap.
    pub(crate) logs: BTreeMap<LogId, Seq>,
    /// Entries that are there without what they say.
    pub(crate) bare: BTreeSet<EntryHash>,
    /// Parts that cannot be read.
    pub(crate) broken: u64,
    /// It stands beside already.
    pub(crate) kept: bool,
}

#[derive(Serialize, Deserialize)]
struct Copied {
    of: String,
    next: u64,
    broken: u64,
    chunks: Vec<ChunkId>,
    logs: Vec<(LogId, Seq)>,
    bare: Vec<EntryHash>,
}

/// Where a part stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) device: DeviceId,
    pub(crate) number: u64,
    pub(crate) sealed: bool,
}

impl Place {
    /// As a path in the tree.
    pub(crate) fn path(&self) -> String {
        let end = if self.sealed { SEALED } else { PLAIN };
        let (dir, n) = (self.number / PER_DIR, self.number);
        format!("{OWN}/{}/{dir:03}/{n:06}{end}", self.device)
    }

    /// From a path in a tree; nothing if it is none that we would write.
    pub(crate) fn of(path: &str) -> Option<Self> {
        let rest = path.strip_prefix(OWN)?.strip_prefix('/')?;
        let mut names = rest.split('/');
        let (device, _, name) = (names.next()?, names.next()?, names.next()?);
        let (number, sealed) = match name.strip_suffix(SEALED) {
            Some(number) => (number, true),
            None => (name.strip_suffix(PLAIN)?, false),
        };
        let place = Self {
            device: device.parse().ok()?,
            number: number.parse().ok().filter(|n| *n < part::PARTS_MAX)?,
            sealed,
        };
        (place.path() == path).then_some(place)
    }
}

/// Why a part in a tree cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unusable {
    /// It is not one.
    #[error(transparent)]
    Part(#[from] PartError),
    /// It cannot be opened.
    #[error(transparent)]
    Seal(#[from] SealError),
}

/// Opens what was found as a part.
pub(crate) fn open(bytes: &[u8], place: &Place, keys: &Identities) -> Result<Opened, Unusable> {
    if !place.sealed {
        return Ok(Part::read(bytes, place.device, place.number)?);
    }
    let opened = keys.open(bytes, OPENED_BYTES_MAX)?;
    Ok(Part::read(&opened, place.device, place.number)?)
}

impl Carried {
    /// What the tip holds of these devices. `copy` is where it is kept beside.
    pub(crate) fn at(
        repo: &Repo<'_>,
        tip: Option<&Oid>,
        devices: &BTreeSet<DeviceId>,
        keys: &Identities,
        copy: &Path,
    ) -> Result<Self, GitError> {
        let Some(tip) = tip else {
            return Ok(Self::default());
        };
        let of = Self::tree(repo, tip, devices)?;
        if let Some(copied) = load(copy).filter(|c| c.of == of) {
            return Ok(copied.carried());
        }
        let mut all = Vec::new();
        for device in devices {
            all.extend(repo.files(tip, &format!("{OWN}/{device}/"))?);
        }
        Self::read(repo, all, keys)
    }

    fn read(
        repo: &Repo<'_>,
        files: Vec<(String, Node)>,
        keys: &Identities,
    ) -> Result<Self, GitError> {
        let mut carried = Self::default();
        let mut places: Vec<(Place, Oid, u64)> = Vec::new();
        for (path, node) in files {
            let (Some(place), Some(size)) = (Place::of(&path), node.size) else {
                continue;
            };
            carried.next = carried.next.max(place.number + 1);
            if node.is_file() && size <= PART_FILE_BYTES_MAX {
                places.push((place, node.oid, size));
            } else {
                carried.broken += 1;
            }
        }
        places.sort();
        let blobs: Vec<(Oid, u64)> = places.iter().map(|(_, o, s)| (o.clone(), *s)).collect();
        let mut logs: BTreeMap<LogId, BTreeSet<Seq>> = BTreeMap::new();
        repo.read(&blobs, &mut |n, bytes| {
            let opened = places.get(n).map(|(place, _, _)| open(&bytes, place, keys));
            match opened {
                Some(Ok(part)) => {
                    carried
                        .chunks
                        .extend(part.chunks.into_iter().map(|(id, _)| id));
                    for entry in part.entries {
                        logs.entry(entry.log()).or_default().insert(entry.seq());
                        carried.note(&entry);
                    }
                }
                _ => carried.broken += 1,
            }
            true
        })?;
        for (log, seqs) in logs {
            let mut upto = Seq::ZERO;
            while seqs.contains(&upto.next()) {
                upto = upto.next();
            }
            carried.logs.insert(log, upto);
        }
        Ok(carried)
    }

    /// Remembers whether an entry came with what it says.
    pub(crate) fn note(&mut self, entry: &VerifiedEntry) {
        if matches!(entry.content(), Content::Withheld) {
            self.bare.insert(entry.hash());
        } else {
            self.bare.remove(&entry.hash());
        }
    }

    /// Keeps it beside, as what this commit holds.
    pub(crate) fn keep(
        &self,
        repo: &Repo<'_>,
        tip: &Oid,
        devices: &BTreeSet<DeviceId>,
        copy: &Path,
    ) -> Result<(), GitError> {
        let kept = Copied {
            of: Self::tree(repo, tip, devices)?,
            next: self.next,
            broken: self.broken,
            chunks: self.chunks.iter().copied().collect(),
            logs: self.logs.iter().map(|(l, s)| (*l, *s)).collect(),
            bare: self.bare.iter().copied().collect(),
        };
        if let Err(e) = keys::write_private(copy, &codec::encode(&kept)) {
            tracing::warn!(error = %e, "what a mirror holds is found out anew the next time");
        }
        Ok(())
    }

    /// The trees of these devices at a commit.
    fn tree(repo: &Repo<'_>, tip: &Oid, devices: &BTreeSet<DeviceId>) -> Result<String, GitError> {
        let mut of = String::new();
        for device in devices {
            let node = repo.node(tip, &format!("{OWN}/{device}"))?;
            of.push_str(node.as_ref().map_or("-", |n| n.oid.as_str()));
            of.push('\n');
        }
        Ok(of)
    }
}

impl Copied {
    fn carried(self) -> Carried {
        Carried {
            next: self.next,
            broken: self.broken,
            chunks: self.chunks.into_iter().collect(),
            logs: self.logs.into_iter().collect(),
            bare: self.bare.into_iter().collect(),
            kept: true,
        }
    }
}

fn load(path: &Path) -> Option<Copied> {
    codec::decode(&fs::read(path).ok()?, COPY_BYTES_MAX).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_one_path() {
        for (number, sealed) in [(0, false), (7, true), (123_456, false)] {
            let device = DeviceId([7; 32]);
            let place = Place {
                device,
                number,
                sealed,
            };
            assert_eq!(Place::of(&place.path()), Some(place.clone()));
            let path = place.path();
            for other in [
                path.replace(".ccpeer/", ".ccpeer/../"),
                path.replace(".part", ".txt"),
                format!("{path}/x"),
                path.to_uppercase(),
            ] {
                assert_eq!(Place::of(&other), None, "{other}");
            }
        }
    }
}
