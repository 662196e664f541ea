//! One chunk that is wanted, and who of those who may hold it is asked. It knows
//! nothing of manifests, queues or the store.

use alloc::collections::{BTreeMap, BTreeSet};
use core::cmp::Reverse;

use crate::id::DeviceId;
use crate::manifest::Want;
use crate::time::Instant;

/// A chunk that is wanted.
#[derive(Debug, Clone)]
pub(super) struct Chunk {
    pub(super) roots: BTreeSet<Want>,
    pub(super) stage: ChunkStage,
    /// Asked in vain since the last pause.
    pub(super) tried: BTreeSet<DeviceId>,
    /// Gave something wrong; not asked for this again while we run.
    pub(super) refused: BTreeSet<DeviceId>,
    pub(super) attempts: u32,
}

/// What is being done about a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChunkStage {
    Idle,
    Waiting(Instant),
    Asked,
    /// It came as something else. What it refers to is being looked for.
    Unfolding,
    /// It is what its hash says and not of this kind: nobody can have it
    /// otherwise, so nobody is asked again.
    Malformed,
}

/// Who may hold a root. Sure holders are asked first, and alone while there are
/// any: they said that they hold it whole, or wrote it themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Candidate {
    pub(crate) unsure: bool,
    pub(crate) device: DeviceId,
}

/// Who is to be asked for a chunk.
pub(super) enum Choice {
    Ask(DeviceId),
    /// Somebody may hold it, but has enough to do.
    Busy,
    /// Everybody who may hold it was asked in vain.
    Nobody(Pace),
}

/// How long to wait before the next attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// Longer each time.
    Growing,
    /// All who may hold it gave something wrong: only somebody new can help.
    Slow,
}

impl Chunk {
    /// Sure holders share the work; the others are only asked when there is no
    /// sure one left.
    pub(super) fn choose(&self, able: &[Candidate], room: &BTreeMap<DeviceId, usize>) -> Choice {
        let left = || {
            able.iter()
                .filter(|c| !self.tried.contains(&c.device) && !self.refused.contains(&c.device))
        };
        let Some(best) = left().map(|c| c.unsure).min() else {
            let hopeless = able.iter().all(|c| self.refused.contains(&c.device));
            return Choice::Nobody(if hopeless { Pace::Slow } else { Pace::Growing });
        };
        left()
            .filter(|c| c.unsure == best)
            .filter_map(|c| room.get(&c.device).map(|left| (*left, Reverse(c.device))))
            .max()
            .map_or(Choice::Busy, |(_, Reverse(device))| Choice::Ask(device))
    }
}
