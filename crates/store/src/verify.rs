//! Looks whether everything that we hold is what was written, and sets right
//! what can be set right without asking anybody: a damaged chunk is struck off
//! so that it is fetched again, a chunk that turns out whole is taken back.

mod pass;

use std::collections::BTreeSet;

use ccpeer_core::id::ChunkId;
use ccpeer_core::manifest::Want;
use redb::ReadableTableMetadata;

use crate::error::StoreError;
use crate::queue::Job;
use crate::tables::{self, COMPLETE, ENTRIES, HAVE, NOTES};
use crate::{Store, chunks, scan};
use pass::Pass;

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

/// How far a check in steps has got. Fits into a note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyPosition {
    stage: Stage,
    key: Vec<u8>,
}

impl VerifyPosition {
    /// The bytes to remember it by.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![self.stage as u8];
        bytes.extend_from_slice(&self.key);
        bytes
    }

    /// A position that was remembered. None of these bytes can do harm: at worst
    /// the check begins anew.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (stage, key) = bytes.split_first()?;
        let stage = STAGES.into_iter().find(|s| *s as u8 == *stage)?;
        let key = key.to_vec();
        (key.len() < scan::KEY_WIDTH).then_some(Self { stage, key })
    }
}

/// The tables that are checked in steps, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Entries = 1,
    Notes = 2,
    Chunks = 3,
    Complete = 4,
}

const STAGES: [Stage; 4] = [Stage::Entries, Stage::Notes, Stage::Chunks, Stage::Complete];

/// Problems that a report names; there may be more.
pub const PROBLEMS_MAX: usize = 10_000;

/// Something that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What kind of thing.
    pub kind: ProblemKind,
    /// Which one.
    pub id: String,
    /// What of it is not whole, where it is held for complete and is not.
    pub root: Option<Want>,
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
            from: Vec::new(),
            left: u64::MAX,
            stopped_at: None,
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
        let adopt = if read_data {
            pass.unlisted()?
        } else {
            Vec::new()
        };
        pass.report.recovered = adopt.len() as u64;
        let sound = pass.raw_bytes == self.stats()?.raw_bytes;
        let changed = !damaged.is_empty() || !adopt.is_empty();
        self.strike_off(damaged, adopt, changed || !sound, &mut pass)?;
        pass.manifests()?;
        pass.notes()?;
        pass.orphans()?;
        Ok(pass.report)
    }

    /// A part of what [`Store::verify`] does with reading data, so that the whole
    /// store is looked at in the course of days without anybody noticing: goes on
    /// from `position`, or from the beginning, until about `bytes_max` bytes have
    /// been read, and returns where to go on, or `None` at the end. What is damaged
    /// is struck off here too. The file's own structure is not looked at.
    ///
    /// # Errors
    /// When the store cannot be read at all.
    pub fn verify_step(
        &self,
        position: Option<VerifyPosition>,
        bytes_max: u64,
    ) -> Result<(VerifyReport, Option<VerifyPosition>), StoreError> {
        let VerifyPosition { stage, key } = position.unwrap_or(VerifyPosition {
            stage: Stage::Entries,
            key: Vec::new(),
        });
        let mut pass = Pass {
            store: self,
            report: VerifyReport::default(),
            progress: &mut |_, _| {},
            done: 0,
            total: 0,
            raw_bytes: 0,
            referenced: BTreeSet::new(),
            manifests: BTreeSet::new(),
            from: key,
            left: bytes_max,
            stopped_at: None,
        };
        for stage in STAGES.into_iter().skip_while(|s| *s != stage) {
            match stage {
                Stage::Entries => pass.entries()?,
                Stage::Notes => pass.notes()?,
                Stage::Chunks => {
                    let damaged = pass.chunks(true)?;
                    self.strike_off(damaged, Vec::new(), false, &mut pass)?;
                }
                Stage::Complete => pass.manifests()?,
            }
            if let Some(key) = pass.stopped_at {
                return Ok((pass.report, Some(VerifyPosition { stage, key })));
            }
            pass.from.clear();
        }
        Ok((pass.report, None))
    }

    /// Notes what was found, in one transaction: a crash must not leave a manifest
    /// that is held for complete and is not.
    fn strike_off(
        &self,
        forget: Vec<ChunkId>,
        adopt: Vec<(ChunkId, tables::Have)>,
        recount: bool,
        pass: &mut Pass<'_>,
    ) -> Result<(), StoreError> {
        if forget.is_empty() && adopt.is_empty() && !recount {
            return Ok(());
        }
        let incomplete = if forget.is_empty() {
            Vec::new()
        } else {
            self.needing_any(&forget.iter().copied().collect(), &self.complete()?)?
        };
        for id in &incomplete {
            pass.not_whole(id);
        }
        self.amend(chunks::Amendment {
            forget,
            adopt,
            incomplete,
            recount,
        });
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
