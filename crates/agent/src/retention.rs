//! Which versions are kept. Everything is, but a version that a later one
//! contains, some time after it was superseded, if another device holds that
//! later one: then nothing is lost with it.
//!
//! Age is counted in days during which an agent ran, told by remembered
//! frontiers: what was known so many days ago is at least so old. No clock is
//! asked. Must not know how the store collects.

use std::collections::{BTreeMap, BTreeSet};

use ccpeer_core::codec;
use ccpeer_core::id::{EntryHash, LogId, Seq};
use ccpeer_core::limits;
use ccpeer_core::lineage::{Document, SessionRecord, VersionNode};
use ccpeer_core::manifest::{ChunkRef, FileEntry, Manifest, Segment, Slot, Want};
use ccpeer_store::{Namespace, NoteWrite, Store, StoreError};
use serde::{Deserialize, Serialize};

/// Key of the running days in [`Namespace::Setting`].
const DAYS: &[u8] = b"days";
/// Beginning of the key of a remembered frontier; the day follows, big-endian.
const FRONTIER: &[u8] = b"frontier-";
/// Milliseconds of a day.
pub(crate) const DAY_MS: u64 = 86_400_000;
/// Chunks at the end of a file that are compared byte by byte: the last one of a
/// file that grew is always another.
const TAIL_CHUNKS_MAX: usize = 8;
/// Versions of which the content is compared in one run; the rest stays until the
/// next.
const COMPARED_MAX: usize = 4096;

/// Days without a remembered frontier that are stepped over.
const GAP_DAYS_MAX: u64 = 14;

/// How long agents have run on this store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Days {
    /// Milliseconds.
    pub(crate) ran_ms: u64,
}

impl Days {
    pub(crate) fn load(store: &Store) -> Result<Self, StoreError> {
        let value = match store.note(Namespace::Setting, DAYS) {
            Err(StoreError::Corrupt { .. }) => None,
            other => other?,
        };
        let days = value.and_then(|v| serde_json::from_slice(&v).ok());
        Ok(days.unwrap_or_default())
    }

    pub(crate) fn day(self) -> u64 {
        self.ran_ms / DAY_MS
    }

    fn note(self) -> Option<NoteWrite> {
        Some(NoteWrite {
            ns: Namespace::Setting,
            key: DAYS.to_vec(),
            value: Some(serde_json::to_vec(&self).ok()?),
        })
    }
}

/// How far each log was known.
pub(crate) type Known = BTreeMap<LogId, Seq>;

fn frontier_key(day: u64) -> Vec<u8> {
    [FRONTIER, &day.to_be_bytes()].concat()
}

/// Counts time that went by, and remembers the frontier of a day that has begun.
/// Frontiers from before `keep_days` are forgotten.
pub(crate) fn pass_time(
    store: &Store,
    passed_ms: u64,
    known: &Known,
    keep_days: u64,
) -> Result<Days, StoreError> {
    let before = Days::load(store)?;
    let after = Days {
        ran_ms: before.ran_ms.saturating_add(passed_ms),
    };
    let mut writes: Vec<NoteWrite> = after.note().into_iter().collect();
    let today = frontier_key(after.day());
    if store
        .note(Namespace::Setting, &today)
        .ok()
        .flatten()
        .is_none()
    {
        writes.push(NoteWrite {
            ns: Namespace::Setting,
            key: today,
            value: Some(codec::encode(&known.iter().collect::<Vec<_>>())),
        });
    }
    for (key, _) in store.notes(Namespace::Setting)? {
        let day = key
            .strip_prefix(FRONTIER)
            .and_then(|d| Some(u64::from_be_bytes(d.try_into().ok()?)));
        if day.is_some_and(|d| d + keep_days + 1 < after.day()) {
            writes.push(NoteWrite {
                ns: Namespace::Setting,
                key,
                value: None,
            });
        }
    }
    store.put_notes(&writes)?;
    Ok(after)
}

/// What was known `days` ago or earlier; nothing if that is not remembered.
pub(crate) fn known_before(store: &Store, now: Days, days: u64) -> Result<Known, StoreError> {
    let Some(day) = now.day().checked_sub(days) else {
        return Ok(Known::new());
    };
    // A day on which nothing was written down is covered by an earlier one.
    for day in (day.saturating_sub(GAP_DAYS_MAX)..=day).rev() {
        let value = match store.note(Namespace::Setting, &frontier_key(day)) {
            Err(StoreError::Corrupt { .. }) => None,
            other => other?,
        };
        let logs = value.and_then(|v| {
            codec::decode::<Vec<(LogId, Seq)>>(&v, limits::NOTE_VALUE_BYTES_MAX).ok()
        });
        if let Some(logs) = logs {
            return Ok(logs.into_iter().collect());
        }
    }
    Ok(Known::new())
}

/// A session, as far as this needs it.
pub(crate) struct Line {
    nodes: Vec<Node>,
    /// The better documents and the capsules of its heads.
    documents: Vec<Want>,
}

struct Node {
    id: EntryHash,
    roots: Vec<Want>,
    manifest: Option<Want>,
    /// Versions that grew from it and were known long enough ago.
    children: Vec<EntryHash>,
    head: bool,
    /// A head that grew from it, or itself, is held whole by another device.
    replicated: bool,
}

impl Line {
    /// `held_elsewhere` tells whether a connected device holds all of a version.
    pub(crate) fn of(
        record: &SessionRecord,
        old: &Known,
        held_elsewhere: impl Fn(&VersionNode) -> bool,
    ) -> Self {
        let heads: BTreeSet<EntryHash> = record.heads().iter().map(|h| h.id).collect();
        let safe: Vec<EntryHash> = record
            .heads()
            .iter()
            .filter(|h| held_elsewhere(h))
            .map(|h| h.id)
            .collect();
        let mut children: BTreeMap<EntryHash, Vec<EntryHash>> = BTreeMap::new();
        for node in record.nodes() {
            if old.get(&node.log).is_some_and(|known| *known >= node.seq) {
                for parent in &node.version.parents {
                    children.entry(*parent).or_default().push(node.id);
                }
            }
        }
        // Everything from which a safe head grew.
        let mut replicated: BTreeSet<EntryHash> = BTreeSet::new();
        let mut next = safe;
        while let Some(id) = next.pop() {
            if replicated.insert(id)
                && let Some(node) = record.node(&id)
            {
                next.extend_from_slice(&node.version.parents);
            }
        }
        // A better document goes with its version, and stays for as long as it is
        // the one that goes with a head.
        let nearest = record.heads().into_iter();
        let nearest = nearest.filter_map(|h| record.nearest_document(&h.id));
        let nearest: BTreeSet<Want> = nearest.map(|(_, d)| d.root()).collect();
        // A capsule is of use for going on, and nobody goes on from an old version.
        let capsules = record.heads().into_iter();
        let capsules = capsules.filter_map(|h| record.nearest_capsule(&h.id));
        let capsules: BTreeSet<Want> = capsules.map(|(_, c)| c.root()).collect();
        let document = |n: &VersionNode| record.document(n).map(Document::root);
        let nodes = record.nodes().map(|n| Node {
            id: n.id,
            roots: n.roots().chain(document(n)).collect(),
            manifest: n.version.manifest.map(|m| Want::manifest(m.id)),
            children: children.remove(&n.id).unwrap_or_default(),
            head: heads.contains(&n.id),
            replicated: replicated.contains(&n.id),
        });
        Self {
            nodes: nodes.collect(),
            documents: nearest.into_iter().chain(capsules).collect(),
        }
    }
}

/// The roots that must stay, of all sessions. What cannot be decided stays.
pub(crate) fn needed(store: &Store, lines: &[Line]) -> Result<Vec<Want>, StoreError> {
    let complete = store.complete()?;
    let mut compared = 0;
    let mut out = Vec::new();
    for line in lines {
        out.extend_from_slice(&line.documents);
        let by_id: BTreeMap<&EntryHash, &Node> = line.nodes.iter().map(|n| (&n.id, n)).collect();
        for node in &line.nodes {
            let held = node.manifest.is_some_and(|m| complete.contains(&m));
            let mut contained = false;
            if held && !node.head && node.replicated {
                for child in node.children.iter().filter_map(|c| by_id.get(c)) {
                    compared += 1;
                    if compared > COMPARED_MAX || contained {
                        break;
                    }
                    let child_held = child.manifest.is_some_and(|m| complete.contains(&m));
                    if let (true, Some(old), Some(new)) =
                        (child_held, node.manifest, child.manifest)
                    {
                        contained = contains(store, &new, &old)?;
                    }
                }
            }
            if !contained {
                out.extend_from_slice(&node.roots);
            }
        }
    }
    Ok(out)
}

/// Whether a version holds every byte of an older one's files that only grow.
/// Task lists, which are replaced as a whole, go with their version, and so does
/// a file of an unknown kind of which there is a later one; everything else must
/// be there.
pub(crate) fn contains(store: &Store, new: &Want, old: &Want) -> Result<bool, StoreError> {
    if new.id == old.id {
        return Ok(true);
    }
    let (Some(new), Some(old)) = (manifest(store, new)?, manifest(store, old)?) else {
        return Ok(false);
    };
    for file in &old.files {
        let replaced = matches!(
            file.slot,
            Slot::Task(_) | Slot::TaskHighWater | Slot::Todo(_)
        );
        let twin = new.files.iter().find(|f| f.slot == file.slot);
        let whole = match twin {
            Some(twin) if twin.slot.opaque().is_some() => true,
            Some(twin) => begins_with(store, (&new, twin), (&old, file))?,
            None => false,
        };
        if !whole && !replaced {
            return Ok(false);
        }
    }
    Ok(true)
}

fn manifest(store: &Store, want: &Want) -> Result<Option<Manifest>, StoreError> {
    match store.get_chunk(&want.id) {
        Ok(content) => Ok(content.and_then(|c| Manifest::from_bytes(&c).ok())),
        Err(StoreError::Corrupt { .. }) => Ok(None),
        Err(e) => Err(e),
    }
}

fn begins_with(
    store: &Store,
    new: (&Manifest, &FileEntry),
    old: (&Manifest, &FileEntry),
) -> Result<bool, StoreError> {
    let last = old.1.segments.len().saturating_sub(1);
    for (n, segment) in old.1.segments.iter().enumerate() {
        let Some(longer) = new.1.segments.get(n) else {
            return Ok(false);
        };
        let origin = |m: &Manifest, s: &Segment| m.origins.get(usize::from(s.origin)).cloned();
        if origin(new.0, longer) != origin(old.0, segment) {
            return Ok(false);
        }
        let same = longer.len == segment.len
            && longer.pages == segment.pages
            && longer.tail == segment.tail;
        if same {
            continue;
        }
        // Only the last segment may have grown.
        if n != last || longer.len < segment.len || !grew(store, longer, segment)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn grew(store: &Store, longer: &Segment, shorter: &Segment) -> Result<bool, StoreError> {
    let refs = |s| match store.segment_refs(s) {
        Err(StoreError::Absent { .. } | StoreError::Corrupt { .. }) => Ok(None),
        other => other.map(Some),
    };
    let (Some(long), Some(short)) = (refs(longer)?, refs(shorter)?) else {
        return Ok(false);
    };
    let common = long.iter().zip(&short).take_while(|(a, b)| a == b).count();
    let rest = short.get(common..).unwrap_or_default();
    if rest.len() > TAIL_CHUNKS_MAX {
        return Ok(false);
    }
    let Some(rest) = read(store, rest, usize::MAX)? else {
        return Ok(false);
    };
    let ours = long.get(common..).unwrap_or_default();
    let Some(theirs) = read(store, ours, rest.len())? else {
        return Ok(false);
    };
    Ok(theirs.starts_with(&rest))
}

/// The content of chunks until there are `enough` bytes.
fn read(store: &Store, refs: &[ChunkRef], enough: usize) -> Result<Option<Vec<u8>>, StoreError> {
    let mut out = Vec::new();
    for chunk in refs {
        if out.len() >= enough {
            break;
        }
        match store.get_chunk(&chunk.id) {
            Ok(Some(content)) => out.extend_from_slice(&content),
            Ok(None) | Err(StoreError::Corrupt { .. }) => return Ok(None),
            Err(e) => return Err(e),
        }
    }
    Ok(Some(out))
}

#[cfg(test)]
mod tests;
