//! One look at the tables, row by row.

use std::collections::{BTreeMap, BTreeSet};

use ccpeer_core::entry::{Payload, SignedEntry, VerifiedEntry};
use ccpeer_core::id::ChunkId;
use ccpeer_core::manifest::{Want, WantKind};

use crate::error::{Place, StoreError};
use crate::log::Chain;
use crate::notes::Namespace;
use crate::tables::{self, COMPLETE, ENTRIES, HAVE, NOTES, TAILS};
use crate::{Store, chunks, scan};

use super::{PROBLEMS_MAX, Problem, ProblemKind, VerifyReport};

/// A check under way.
pub(super) struct Pass<'s> {
    pub(super) store: &'s Store,
    pub(super) report: VerifyReport,
    pub(super) progress: &'s mut dyn FnMut(u64, u64),
    pub(super) done: u64,
    pub(super) total: u64,
    /// Bytes of all listed chunks, by their rows.
    pub(super) raw_bytes: u64,
    /// What entries refer to directly.
    pub(super) referenced: BTreeSet<ChunkId>,
    /// Those of them that are manifests.
    pub(super) manifests: BTreeSet<Want>,
    /// The first key of the next table that is looked at.
    pub(super) from: Vec<u8>,
    /// Bytes that may still be read.
    pub(super) left: u64,
    /// The first key that was not looked at for want of them.
    pub(super) stopped_at: Option<Vec<u8>>,
}

/// What looking at a row costs in any case: finding it.
const ROW_BYTES: u64 = 512;

impl Pass<'_> {
    fn step(&mut self) {
        self.done += 1;
        (self.progress)(self.done, self.total.max(self.done));
    }

    /// Whether this row may still be looked at.
    fn may(&mut self, key: &[u8], row: &[u8]) -> bool {
        if self.left == 0 {
            self.stopped_at = Some(key.to_vec());
            return false;
        }
        self.pay(ROW_BYTES + row.len() as u64);
        true
    }

    fn pay(&mut self, bytes: u64) {
        self.left = self.left.saturating_sub(bytes);
    }

    fn problem(&mut self, kind: ProblemKind, id: String, what: impl Into<String>) {
        if self.report.problems.len() < PROBLEMS_MAX {
            let repairable = kind != ProblemKind::Note;
            self.report.problems.push(Problem {
                kind,
                id,
                root: None,
                what: what.into(),
                repairable,
            });
        }
    }

    pub(super) fn not_whole(&mut self, root: &Want) {
        if self.report.problems.len() < PROBLEMS_MAX {
            self.report.problems.push(Problem {
                kind: ProblemKind::Manifest,
                id: root.id.to_string(),
                root: Some(*root),
                what: "not all of it is here".to_owned(),
                repairable: true,
            });
        }
    }

    fn index(&mut self, table: &str, what: impl Into<String>) {
        self.problem(ProblemKind::Index, table.to_owned(), what);
    }

    fn gaps(&mut self, table: &str, gaps: scan::Gaps) {
        if gaps.count > 0 {
            self.index(table, "a part of it cannot be read");
        }
    }

    /// The tree that redb keeps, apart from what is in it.
    pub(super) fn structure(&mut self, read_data: bool) -> Result<(), StoreError> {
        if read_data {
            match self.store.disk.check_integrity() {
                Ok(true) => {}
                Ok(false) => self.index("file", "its page accounts were wrong and are repaired"),
                Err(StoreError::Corrupt { why, .. }) => self.index("file", why),
                // It needs to write; the rows are looked at all the same.
                Err(StoreError::Full) => {}
                Err(e) => return Err(e),
            }
        }
        for (name, table) in [
            ("entries", ENTRIES),
            ("have", HAVE),
            ("complete", COMPLETE),
            ("notes", NOTES),
        ] {
            match self.store.disk.read(|txn| scan::count(txn, table)) {
                Ok((counted, said)) if counted == said => {}
                Ok((counted, said)) => {
                    self.index(name, format!("{counted} of {said} rows can be reached"));
                }
                Err(StoreError::Corrupt { why, .. }) => self.index(name, why),
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    pub(super) fn entries(&mut self) -> Result<(), StoreError> {
        let store = self.store;
        let from = std::mem::take(&mut self.from);
        let mut chain = store.disk.read(|txn| Chain::from(txn, &from))?;
        let mut found = Vec::new();
        let gaps = scan::rows(&store.disk, ENTRIES, &from, &mut |key, row| {
            if !self.may(key, row) {
                return false;
            }
            let entry = tables::read_entry(key, row)
                .and_then(|signed| chain.take(key, signed, SignedEntry::verify));
            match entry {
                Ok(entry) => self.refer(&entry),
                Err(e) => found.push(e),
            }
            self.report.entries += 1;
            self.step();
            true
        })?;
        self.gaps("entries", gaps);
        for error in found {
            let StoreError::Corrupt { place, why } = error else {
                continue;
            };
            let id = match place {
                Place::Entry(log, seq) => format!("{}/{}/{seq}", log.device, log.epoch),
                other => other.to_string(),
            };
            self.problem(ProblemKind::Entry, id, why);
        }
        Ok(())
    }

    fn refer(&mut self, entry: &VerifiedEntry) {
        if let Some(Payload::Version(version)) = entry.payload() {
            self.referenced.extend(version.snapshot.map(|s| s.id));
            let manifest = version.manifest.map(|m| Want::manifest(m.id));
            self.manifests.extend(manifest);
        }
        if let Some(Payload::Enriched(enriched)) = entry.payload() {
            self.referenced.insert(enriched.snapshot.id);
        }
        if let Some(Payload::Capsule(capsule)) = entry.payload() {
            self.manifests.insert(Want::manifest(capsule.manifest.id));
        }
    }

    /// Returns the damaged ones.
    pub(super) fn chunks(&mut self, read_data: bool) -> Result<Vec<ChunkId>, StoreError> {
        let store = self.store;
        let mut damaged = Vec::new();
        let from = std::mem::take(&mut self.from);
        let gaps = scan::rows(&store.disk, HAVE, &from, &mut |key, row| {
            if !self.may(key, row) {
                return false;
            }
            let have = tables::Have::from_row(row);
            self.raw_bytes += have.map_or(0, |h| u64::from(h.raw_len));
            let Some(id) = tables::id_of(key) else {
                return true;
            };
            if read_data {
                let read = || store.disk.read(|txn| chunks::get(txn, &id));
                // What cannot be read twice is as good as damaged; once may have
                // been bad luck.
                let content = match read() {
                    Err(e) if e.is_transient() => read(),
                    content => content,
                };
                match content {
                    Ok(Some(Ok(content))) => {
                        self.report.bytes += content.len() as u64;
                        self.pay(content.len() as u64);
                    }
                    // Struck off by somebody else meanwhile.
                    Ok(None) => {}
                    Ok(Some(Err(why))) => damaged.push((id, why.to_owned())),
                    Err(StoreError::Corrupt { why, .. }) => damaged.push((id, why)),
                    Err(e) => damaged.push((id, e.to_string())),
                }
            }
            self.report.chunks += 1;
            self.step();
            true
        })?;
        self.gaps("have", gaps);
        let ids = damaged.iter().map(|d| d.0).collect();
        for (id, why) in damaged {
            self.problem(ProblemKind::Chunk, id.to_string(), why);
        }
        Ok(ids)
    }

    /// Chunks that are not listed and yet whole.
    pub(super) fn unlisted(&mut self) -> Result<Vec<(ChunkId, tables::Have)>, StoreError> {
        let store = self.store;
        let mut ids = Vec::new();
        scan::rows(&store.disk, TAILS, &[], &mut |key, _| {
            ids.extend(tables::id_of(key));
            true
        })?;
        let here = store.has_aside(&ids)?;
        let mut found = Vec::new();
        for (id, _) in ids.iter().zip(here).filter(|(_, here)| !here) {
            if let Ok(Some((_, have))) = store.disk.read(|txn| chunks::find_unlisted(txn, id)) {
                found.push((*id, have));
            }
        }
        Ok(found)
    }

    /// Whether every manifest that is held for complete is, and what all of them
    /// refer to.
    pub(super) fn manifests(&mut self) -> Result<(), StoreError> {
        let complete = self.store.complete()?;
        let mut pages = BTreeMap::new();
        let mut incomplete = Vec::new();
        let from = std::mem::take(&mut self.from);
        // In the order of their keys, which is that of the ids.
        for root in complete.union(&self.manifests.clone()) {
            let key = tables::mark_key(root);
            if key.as_slice() < from.as_slice() {
                continue;
            }
            if !self.may(&key, &[]) {
                break;
            }
            let whole = self.whole(*root, &mut pages)?;
            if complete.contains(root) {
                self.step();
                if !whole {
                    incomplete.push(*root);
                    self.not_whole(root);
                }
            }
        }
        if incomplete.is_empty() {
            return Ok(());
        }
        let amendment = chunks::Amendment {
            incomplete,
            ..Default::default()
        };
        self.store.amend(amendment);
        Ok(())
    }

    /// Whether all below a want is here. List pages are shared between versions,
    /// so what was found of one is remembered.
    fn whole(
        &mut self,
        want: Want,
        pages: &mut BTreeMap<ChunkId, bool>,
    ) -> Result<bool, StoreError> {
        self.referenced.insert(want.id);
        let content = match self.store.get_chunk(&want.id) {
            Ok(Some(content)) => content,
            Ok(None) | Err(StoreError::Corrupt { .. }) => return Ok(false),
            Err(e) => return Err(e),
        };
        self.pay(content.len() as u64);
        let Ok(children) = want.children(&content) else {
            return Ok(false);
        };
        let ids: Vec<ChunkId> = children.iter().map(|c| c.id).collect();
        let mut whole = self.store.has_aside(&ids)?.into_iter().all(|here| here);
        for child in children {
            match (child.kind, pages.get(&child.id)) {
                (WantKind::List, Some(known)) => whole &= known,
                (WantKind::List, None) => {
                    let page = self.whole(child, pages)?;
                    pages.insert(child.id, page);
                    whole &= page;
                }
                (WantKind::Data | WantKind::Manifest, _) => {
                    self.referenced.insert(child.id);
                }
            }
        }
        Ok(whole)
    }

    pub(super) fn notes(&mut self) -> Result<(), StoreError> {
        let store = self.store;
        let mut damaged = Vec::new();
        let from = std::mem::take(&mut self.from);
        let gaps = scan::rows(&store.disk, NOTES, &from, &mut |key, row| {
            if !self.may(key, row) {
                return false;
            }
            if tables::unseal(&NOTES, key, row).is_none() {
                damaged.push(key.to_vec());
            }
            self.report.notes += 1;
            self.step();
            true
        })?;
        self.gaps("notes", gaps);
        for key in damaged {
            let ns = key.first().copied().and_then(Namespace::from_byte);
            let ns = ns.map_or_else(|| "unknown".to_owned(), |ns| ns.to_string());
            // The key may be a path: its hash is enough to tell two apart.
            let name = ChunkId::of(&key).short();
            self.problem(
                ProblemKind::Note,
                format!("{ns}/{name}"),
                "its check does not match",
            );
        }
        Ok(())
    }

    pub(super) fn orphans(&mut self) -> Result<(), StoreError> {
        let store = self.store;
        scan::rows(&store.disk, HAVE, &[], &mut |key, _| {
            let known = tables::id_of(key).is_some_and(|id| self.referenced.contains(&id));
            self.report.orphans += u64::from(!known);
            true
        })?;
        Ok(())
    }
}
