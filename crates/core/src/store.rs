//! What the machine needs of a disk, and the checks that every disk must pass.
//!
//! Two implementations exist: redb (crate store) and the simulated disk (crate
//! sim). Both run the checks of module `contract` (a feature of the same name).

#[cfg(feature = "contract")]
pub mod contract;

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use crate::entry::{SignedEntry, VerifiedEntry};
use crate::id::{ChunkId, Epoch, LogId, Seq};
use crate::manifest::Want;

/// What must become durable together, before anything after it happens.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Batch {
    /// Entries to append, each log in order.
    pub entries: Vec<VerifiedEntry>,
    /// Manifests whose chunks are now all in the store, and snapshots that are.
    /// Each as what it is: the same bytes as something else are another mark.
    pub complete: Vec<Want>,
    /// The epoch to write in from now on.
    pub epoch: Option<Epoch>,
}

impl Batch {
    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.complete.is_empty() && self.epoch.is_none()
    }
}

/// What was found after a start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// The epoch in which we write.
    pub epoch: Epoch,
    /// All entries, by log, in order.
    pub entries: Vec<VerifiedEntry>,
    /// Manifests known to be complete, and snapshots.
    pub complete: BTreeSet<Want>,
}

/// A disk. Every method may block.
pub trait Store {
    /// Why a disk fails.
    type Error: core::fmt::Debug;

    /// Makes a batch durable, all of it or nothing.
    ///
    /// # Errors
    /// When it is not durable. The caller must not go on as if it were.
    fn commit(&mut self, batch: &Batch) -> Result<(), Self::Error>;

    /// Everything that was committed.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn recovered(&self) -> Result<Recovered, Self::Error>;

    /// Entries of a log with `after < seq <= upto`, as many as fit `bytes_max`
    /// (at least one).
    ///
    /// # Errors
    /// When the store cannot be read.
    fn range(
        &self,
        log: LogId,
        after: Seq,
        upto: Seq,
        bytes_max: usize,
    ) -> Result<Vec<SignedEntry>, Self::Error>;

    /// Keeps chunks durably. Refuses content that does not have its id.
    ///
    /// # Errors
    /// When any of them is not durable or not what it claims to be.
    fn put_chunks(&mut self, chunks: &[(ChunkId, Vec<u8>)]) -> Result<(), Self::Error>;

    /// The content of a chunk, checked against its id.
    ///
    /// # Errors
    /// When it is damaged or the store cannot be read.
    fn get_chunk(&self, id: &ChunkId) -> Result<Option<Vec<u8>>, Self::Error>;

    /// Which of these we hold. Does not read content.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn has(&self, ids: &[ChunkId]) -> Result<Vec<bool>, Self::Error>;
}
