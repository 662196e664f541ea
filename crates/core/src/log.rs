//! Logs and frontiers: how far somebody knows whose log.

use alloc::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::entry::VerifiedEntry;
use crate::id::{EntryHash, LogId, Seq};
use crate::limits;

/// Map from log to the highest number held without a gap: a version vector.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frontier(pub BTreeMap<LogId, Seq>);

impl Frontier {
    /// The highest number held of a log; zero if none.
    #[must_use]
    pub fn get(&self, log: &LogId) -> Seq {
        self.0.get(log).copied().unwrap_or(Seq::ZERO)
    }

    /// From a message.
    #[must_use]
    pub fn of(held: &[Held]) -> Self {
        Self(held.iter().map(|h| (h.log, h.seq)).collect())
    }
}

/// How far somebody holds one log, as sent in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Held {
    /// Which log.
    pub log: LogId,
    /// The highest number held without a gap.
    pub seq: Seq,
    /// The first bytes of that entry's hash: two branches of one log may be of
    /// the same length, and nothing else would tell them apart. It is a claim,
    /// not a proof.
    pub tip: [u8; limits::TIP_BYTES],
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

    /// What a frontier says of the tip's hash.
    #[must_use]
    pub fn label(hash: &EntryHash) -> [u8; limits::TIP_BYTES] {
        let mut out = [0; limits::TIP_BYTES];
        out.iter_mut().zip(hash.0).for_each(|(o, b)| *o = b);
        out
    }

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
