//! Logs and frontiers: how far somebody knows whose log.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::entry::VerifiedEntry;
use crate::id::{EntryHash, LogId, Seq};

/// Map from log to the highest number held without a gap: a version vector.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frontier(pub BTreeMap<LogId, Seq>);

impl Frontier {
    /// The highest number held of a log; zero if none.
    #[must_use]
    pub fn get(&self, log: &LogId) -> Seq {
        self.0.get(log).copied().unwrap_or(Seq::ZERO)
    }

    /// As sent in a message.
    #[must_use]
    pub fn to_wire(&self) -> Vec<(LogId, Seq)> {
        self.0.iter().map(|(l, s)| (*l, *s)).collect()
    }

    /// From a message.
    #[must_use]
    pub fn from_wire(pairs: &[(LogId, Seq)]) -> Self {
        Self(pairs.iter().copied().collect())
    }
}

/// The last entry of a log that we hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tip {
    /// Its number.
    pub seq: Seq,
    /// Its hash.
    pub hash: EntryHash,
}

impl Tip {
    /// Before the first entry.
    pub const EMPTY: Self = Self {
        seq: Seq::ZERO,
        hash: EntryHash::ZERO,
    };

    /// How an entry of the same log stands to this tip.
    #[must_use]
    pub fn compare(&self, entry: &VerifiedEntry) -> Fit {
        let header = entry.header();
        if header.seq == self.seq.next() {
            if header.prev == self.hash {
                Fit::Next
            } else {
                Fit::Fork
            }
        } else if header.seq > self.seq {
            Fit::Gap
        } else if header.seq == self.seq && entry.hash() != self.hash {
            Fit::Fork
        } else {
            Fit::Known
        }
    }
}

/// How an entry stands to a log's tip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// It is the next one.
    Next,
    /// We hold that number already.
    Known,
    /// Something before it is missing.
    Gap,
    /// Another entry stands in its place: the author said two things under one
    /// number (equivocation, a restored backup or a clone).
    Fork,
}
