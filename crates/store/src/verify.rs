//! Looks whether everything that we hold is what was written, and sets right
//! what can be set right without asking anybody: a damaged chunk is struck off
//! so that it is fetched again, a chunk that turns out whole is taken back.

use std::collections::{BTreeMap, BTreeSet};

use ccpeer_core::entry::{Payload, SignedEntry, VerifiedEntry};
use ccpeer_core::id::ChunkId;
use ccpeer_core::manifest::{Want, WantKind};
use redb::ReadableTableMetadata;

use crate::error::{Place, StoreError};
use crate::log::Chain;
use crate::notes::Namespace;
use crate::queue::Job;
use crate::tables::{self, COMPLETE, ENTRIES, HAVE, NOTES, TAILS};
use crate::{Store, chunks, scan};

/// What was looked at and what was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Entries looked at, signatures included.
    pub entries: u64,
    /// Chunks looked at.
    pub chunks: u64,
    /// Bytes of content read and hashed; 0 without reading data.
    pub bytes: u64,
    /// Notes looked at.
    pub notes: u64,
    /// Chunks that no entry refers to. No problem: an entry may still come.
    pub orphans: u64,
    /// Chunks that had been struck off as damaged and were found whole.
    pub recovered: u64,
    /// What is wrong, bounded by [`PROBLEMS_MAX`].
    pub problems: Vec<Problem>,
}

/// Problems that a report names; there may be more.
pub const PROBLEMS_MAX: usize = 10_000;

/// Something that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What kind of thing.
    pub kind: ProblemKind,
    /// Which one.
    pub id: String,
    /// What is wrong with it.
    pub what: String,
    /// Whether another device that holds it can give it back.
    pub repairable: bool,
}

/// What can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProblemKind {
    /// An entry is damaged, forged or missing.
    Entry,
    /// A chunk is damaged. It has been struck off and will be fetched again.
    Chunk,
    /// A manifest was held for complete and is not. It will be completed again.
    Manifest,
    /// A note is damaged. Nobody else has it.
    Note,
    /// The file's own structure is damaged: set it aside and salvage it.
    Index,
}

impl ProblemKind {
    /// The name in reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Entry => "entry",
            Self::Chunk => "chunk",
            Self::Manifest => "manifest",
            Self::Note => "note",
            Self::Index => "index",
        }
    }
}

impl Store {
    /// Checks every log's chain and signatures, every note, and that what is held
    /// for complete is; with `read_data` also the content of every chunk and the
    /// checksums of the whole file, for which everybody else has to wait.
    /// `progress` is told rows done and rows in all.
    ///
    /// # Errors
    /// When the store cannot be read at all. Damage is not an error here but in
    /// the report.
    pub fn verify(
        &self,
        read_data: bool,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<VerifyReport, StoreError> {
        let mut pass = Pass {
            store: self,
            report: VerifyReport::default(),
            progress,
            done: 0,
            total: 0,
            raw_bytes: 0,
            referenced: BTreeSet::new(),
            manifests: BTreeSet::new(),
        };
        pass.total = self.disk.read(|txn| {
            let mut total = 0;
            for table in [ENTRIES, COMPLETE, NOTES, HAVE] {
                total += txn.open_table(table)?.len()?;
            }
            Ok(total)
        })?;
        pass.structure(read_data)?;
        pass.entries()?;
        let damaged = pass.chunks(read_data)?;
        self.strike_off(damaged, read_data, &mut pass)?;
        pass.manifests()?;
        pass.notes()?;
        pass.orphans()?;
        Ok(pass.report)
    }

    fn strike_off(
        &self,
        forget: Vec<ChunkId>,
        read_data: bool,
        pass: &mut Pass<'_>,
    ) -> Result<(), StoreError> {
        let adopt = if read_data {
            pass.unlisted()?
        } else {
            Vec::new()
        };
        pass.report.recovered = adopt.len() as u64;
        let sound = pass.raw_bytes == self.stats()?.raw_bytes;
        if sound && forget.is_empty() && adopt.is_empty() {
            return Ok(());
        }
        let amendment = chunks::Amendment {
            forget,
            adopt,
            recount: true,
            ..Default::default()
        };
        self.amend(amendment);
        Ok(())
    }

    /// Where nothing can be written (a full disk), the report is still worth
    /// having, and what is damaged is not served in any case.
    fn amend(&self, amendment: chunks::Amendment) {
        if let Err(error) = self.queue.run(&self.disk, Job::Amend(amendment)) {
            tracing::warn!(%error, "what was found cannot be noted in the store");
        }
    }
}

struct Pass<'s> {
    store: &'s Store,
    report: VerifyReport,
    progress: &'s mut dyn FnMut(u64, u64),
    done: u64,
    total: u64,
    /// Bytes of all listed chunks, by their rows.
    raw_bytes: u64,
    /// What entries refer to directly.
    referenced: BTreeSet<ChunkId>,
    /// Those of them that are manifests.
    manifests: BTreeSet<ChunkId>,
}

impl Pass<'_> {
    fn step(&mut self) {
        self.done += 1;
        (self.progress)(self.done, self.total.max(self.done));
    }

    fn problem(&mut self, kind: ProblemKind, id: String, what: impl Into<String>) {
        if self.report.problems.len() < PROBLEMS_MAX {
            let repairable = kind != ProblemKind::Note;
            self.report.problems.push(Problem {
                kind,
                id,
                what: what.into(),
                repairable,
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
    fn structure(&mut self, read_data: bool) -> Result<(), StoreError> {
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

    fn entries(&mut self) -> Result<(), StoreError> {
        let mut chain = Chain::default();
        let mut found = Vec::new();
        let store = self.store;
        let gaps = scan::rows(&store.disk, ENTRIES, &mut |key, row| {
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
            self.manifests.extend(version.manifest.map(|m| m.id));
        }
    }

    /// Returns the damaged ones.
    fn chunks(&mut self, read_data: bool) -> Result<Vec<ChunkId>, StoreError> {
        let store = self.store;
        let mut damaged = Vec::new();
        let gaps = scan::rows(&store.disk, HAVE, &mut |key, row| {
            let have = tables::Have::from_row(row);
            self.raw_bytes += have.map_or(0, |h| u64::from(h.raw_len));
            let Some(id) = tables::id_of(key) else {
                return true;
            };
            if read_data {
                match store.disk.read(|txn| chunks::get(txn, &id)) {
                    Ok(Some(Ok(content))) => self.report.bytes += content.len() as u64,
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
    fn unlisted(&mut self) -> Result<Vec<(ChunkId, tables::Have)>, StoreError> {
        let store = self.store;
        let mut ids = Vec::new();
        scan::rows(&store.disk, TAILS, &mut |key, _| {
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
    fn manifests(&mut self) -> Result<(), StoreError> {
        let complete = self.store.complete()?;
        let mut pages = BTreeMap::new();
        let mut incomplete = Vec::new();
        for id in complete
            .iter()
            .copied()
            .chain(self.manifests.clone())
            .collect::<BTreeSet<_>>()
        {
            // A snapshot's document is held for complete too.
            let kind = if self.manifests.contains(&id) {
                WantKind::Manifest
            } else {
                WantKind::Data
            };
            let whole = self.whole(Want { id, kind }, &mut pages)?;
            if complete.contains(&id) {
                self.step();
                if !whole {
                    incomplete.push(id);
                    self.problem(
                        ProblemKind::Manifest,
                        id.to_string(),
                        "not all of it is here",
                    );
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

    fn notes(&mut self) -> Result<(), StoreError> {
        let store = self.store;
        let mut damaged = Vec::new();
        let gaps = scan::rows(&store.disk, NOTES, &mut |key, row| {
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

    fn orphans(&mut self) -> Result<(), StoreError> {
        let store = self.store;
        scan::rows(&store.disk, HAVE, &mut |key, _| {
            let known = tables::id_of(key).is_some_and(|id| self.referenced.contains(&id));
            self.report.orphans += u64::from(!known);
            true
        })?;
        Ok(())
    }
}
