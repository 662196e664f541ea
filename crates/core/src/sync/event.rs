//! Everything that can happen to the sync machine.

use alloc::vec::Vec;

use crate::entry::VerifiedEntry;
use crate::id::{ChunkId, DeviceId, Epoch};
use crate::log::Frontier;
use crate::manifest::Want;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "events are moved once, never kept"
)]
pub enum Event {
    /// A link to a device is up and both have said hello.
    PeerUp(DeviceId),
    /// It is gone.
    PeerDown(DeviceId),
    /// A peer said this.
    Received(DeviceId, Received),
    /// We state this ourselves: drafted by `draft`, signed by the driver.
    Append(VerifiedEntry),
    /// The answer to `Effect::Check`: what of it the store does not hold.
    /// Contains the want itself if even that is absent.
    Checked(Want, Vec<Want>),
    /// A chunk arrived and is durable; of its children these are missing.
    Fetched(Want, Vec<Want>),
    /// It did not arrive.
    FetchFailed {
        /// Who was asked.
        from: DeviceId,
        /// For what.
        chunk: ChunkId,
        /// What went wrong.
        why: FetchFault,
    },
    /// Somebody here wants this, although it belongs to no head (an older
    /// version is to be continued), or although it was whole before (a chunk
    /// was found damaged and forgotten).
    Need(Want),
    /// A fresh epoch to write in, because our own log was found forked or rolled
    /// back (see `Notice::OwnLogBehind`).
    NewEpoch(Epoch),
    /// Time went by.
    Tick,
}

/// A peer's words, decoded, bounded, and with every entry verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// How far it knows whose log.
    Have(Frontier),
    /// Entries of one log in order.
    Entries(Vec<VerifiedEntry>),
    /// Manifests that it holds whole.
    Complete(Vec<ChunkId>),
}

/// Why a chunk did not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchFault {
    /// The peer does not hold it (yet).
    NotHeld,
    /// It came and was not what its hash says, or not of its kind. The author of
    /// a malformed manifest and a lying peer look alike; both cost the peer.
    Wrong,
    /// The link went away or stalled.
    Link,
    /// Our own store could not keep it.
    Store,
}
