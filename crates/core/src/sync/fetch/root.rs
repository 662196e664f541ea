//! One root that is wanted, and what one pump over all of them is about to do. It
//! knows nothing of the store or of links.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::chunk::Pace;
use crate::id::{DeviceId, SessionId};
use crate::manifest::Want;

/// For what a head needs a root.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    /// The head's clock.
    pub(crate) lamport: u64,
    /// Whose quota it counts for; nobody's if it is our own.
    pub(crate) author: Option<DeviceId>,
}

/// What is served first: what somebody asked for, then the newest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    pub(super) needed: bool,
    pub(super) lamport: u64,
}

#[derive(Debug, Clone)]
pub(super) struct Root {
    pub(super) rank: Rank,
    /// Whose quota it counts for.
    pub(super) author: Option<DeviceId>,
    pub(super) sessions: BTreeSet<SessionId>,
    pub(super) stage: Stage,
    pub(super) known: u64,
    /// What is not here, by the place at which it was found: what lies side by side
    /// is like each other.
    pub(super) missing: BTreeMap<Want, u64>,
    /// Those of the missing that may be asked for now, in the order of their places.
    pub(super) idle: BTreeSet<(u64, Want)>,
    /// Something found missing had no room, or something that was here is gone:
    /// look again when the rest is here.
    pub(super) look_again: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The store is to be asked what is missing.
    Unchecked,
    /// It was asked.
    Checking,
    /// We know.
    Open,
}

/// What one pump is about to do.
#[derive(Default)]
pub(super) struct Plan {
    /// How much more each peer may be asked for.
    pub(super) room: BTreeMap<DeviceId, usize>,
    pub(super) asks: Vec<(Want, DeviceId)>,
    pub(super) asked: BTreeSet<Want>,
    pub(super) pauses: Vec<(Want, Pace)>,
    /// Roots that nobody holds.
    pub(super) homeless: Vec<Want>,
    /// Roots of devices that have used up their quota.
    pub(super) over: Vec<Want>,
    /// Chunks whose holders have enough to do. A look at more of them is for
    /// nothing until one of those is done.
    pub(super) busy: usize,
}
