//! Everything that can happen to the sync machine.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::digest::{Digests, Parts};
use crate::entry::VerifiedEntry;
use crate::id::{DeviceId, Epoch, SessionId};
use crate::log::Held;
use crate::manifest::Want;
use crate::sharing::{Share, Sharing};

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
    /// A chunk arrived and is durable.
    Fetched {
        /// Which one.
        want: Want,
        /// Of its children, those that are missing.
        missing: Vec<Want>,
        /// Its length, for the quota of whoever wrote what it belongs to.
        bytes: u64,
    },
    /// It did not arrive.
    FetchFailed {
        /// Who was asked.
        from: DeviceId,
        /// For what.
        want: Want,
        /// What went wrong.
        why: FetchFault,
    },
    /// Somebody here wants this, although it belongs to no head (an older
    /// version is to be continued), or although it was whole before (a chunk
    /// was found damaged and forgotten).
    Need(Want),
    /// The store does not hold these manifests and snapshots whole any more: they
    /// were collected, or found damaged. Those that a head needs are fetched
    /// again. To be said after every loss of a chunk, even if it is part of none:
    /// what is just being fetched may have counted on it. And where a commit was
    /// under way when the loss was found, it is to be looked at after it: the
    /// commit may have called something whole.
    Forgotten(Vec<Want>),
    /// How much content may be fetched because of whom.
    Quotas(Quotas),
    /// How much content is here because of whom, as counted in the store. Takes
    /// the place of what the machine has counted itself since it started.
    Charged(BTreeMap<DeviceId, u64>),
    /// What of our sessions others may have by now. What left before stays where it is; what is shared again is
    /// among [`restatements`](crate::sync::machine::Machine::restatements).
    Sharing(Sharing),
    /// What holds for one session by now.
    Share(SessionId, Share),
    /// Devices of whose sessions only the documents are fetched by themselves.
    DocumentsOnly(BTreeSet<DeviceId>),
    /// Whose offers the user takes without being asked. What such a device offers
    /// is added; what an added one offers is not.
    Introducers(BTreeSet<DeviceId>),
    /// A fresh epoch to write in, because our own log was found forked or rolled
    /// back (see `Notice::OwnLogBehind`).
    NewEpoch(Epoch),
    /// Time went by.
    Tick,
}

impl Event {
    /// Whether it changes nothing of what is here and who may know of it.
    pub(crate) fn is_talk(&self) -> bool {
        match self {
            Self::PeerUp(_)
            | Self::PeerDown(_)
            | Self::FetchFailed { .. }
            | Self::Quotas(_)
            | Self::Charged(_)
            | Self::Tick => true,
            Self::Received(_, words) => match words {
                Received::Have(_)
                | Received::Complete(_)
                | Received::Digests(_)
                | Received::Unlike(_) => true,
                Received::Entries(_) => false,
            },
            Self::Append(_)
            | Self::Checked(..)
            | Self::Fetched { .. }
            | Self::Need(_)
            | Self::Forgotten(_)
            | Self::Sharing(_)
            | Self::Share(..)
            | Self::DocumentsOnly(_)
            | Self::Introducers(_)
            | Self::NewEpoch(_) => false,
        }
    }
}

/// How much content is fetched because of each device, in bytes. What goes
/// beyond it is known and listed and stays where it is, until somebody asks for
/// it. It never costs anything that is here, of this device or of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quotas {
    /// For those not named.
    pub each: u64,
    /// For these.
    pub of: BTreeMap<DeviceId, u64>,
}

impl Default for Quotas {
    fn default() -> Self {
        Self {
            each: crate::limits::QUOTA_BYTES_PER_DEVICE,
            of: BTreeMap::new(),
        }
    }
}

impl Quotas {
    /// The quota of one device.
    #[must_use]
    pub fn get(&self, device: &DeviceId) -> u64 {
        self.of.get(device).copied().unwrap_or(self.each)
    }
}

/// A peer's words, decoded, bounded, and with every entry verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// How far it knows whose log.
    Have(Vec<Held>),
    /// Entries of one log in order.
    Entries(Vec<VerifiedEntry>),
    /// Manifests and snapshots that it holds whole.
    Complete(Vec<Want>),
    /// Digests of all that it holds whole and may tell us of.
    Digests(Digests),
    /// The parts of what is whole here of which it wants to hear.
    Unlike(Parts),
}

/// Why a chunk did not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchFault {
    /// The peer does not hold it (yet).
    NotHeld,
    /// It came and was not what its hash says: the peer's fault.
    Wrong,
    /// It is what its hash says, but not of its kind: no manifest, no list page.
    /// That is the fault of the author who named it, and not of the peer who may
    /// hold it for good reasons.
    Malformed,
    /// The link went away or stalled.
    Link,
    /// Our own store could not keep it.
    Store,
}
