//! Everything the sync machine can ask for.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::id::{DeviceId, EntryHash, LogId, Seq, SessionId};
use crate::manifest::Want;
use crate::sharing::Sharing;
use crate::store::Batch;
use crate::time::Instant;
use crate::wire::Message;

/// Something to be done, in the order given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Barrier: what follows waits until this is durable.
    Persist(Batch),
    /// Say this to a peer.
    Send(DeviceId, Message),
    /// Read entries from the store and send them, in as many messages as needed.
    ServeRange {
        /// To whom.
        to: DeviceId,
        /// Of which log.
        log: LogId,
        /// After this number,
        after: Seq,
        /// up to and with this one.
        upto: Seq,
        /// Entries that this [withholds](Sharing::withholds) go as
        /// [`SignedEntry::withheld`](crate::entry::SignedEntry::withheld). Where the
        /// author's key is not at hand, the range ends before such an entry.
        withhold: Option<Arc<Sharing>>,
    },
    /// Look what of this, and of what it refers to, is not in the store; answer
    /// with `Event::Checked`.
    Check(Want),
    /// Get these chunks from a peer; each is answered by `Fetched` or
    /// `FetchFailed`.
    Fetch {
        /// From whom.
        from: DeviceId,
        /// At most [`crate::limits::FETCH_BATCH_MAX`].
        wants: Vec<Want>,
    },
    /// Close the link.
    Disconnect(DeviceId, Fault),
    /// Send a `Tick` no later than this. Replaces the previous one.
    WakeAt(Instant),
    /// For local clients and bridges.
    Notice(Notice),
}

/// Why a link is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// We do not trust the device (any more).
    NotTrusted,
    /// We, or another member for us, revoked it.
    Revoked,
    /// It sent what no honest peer sends, too often.
    Misbehaviour,
    /// There are as many links as we can bear.
    TooMany,
    /// It sent entries of a device that it has no business to send.
    ForeignLog,
}

/// Something changed that somebody here may want to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// A session has a new version, state or mark.
    Session(SessionId),
    /// All of this version is in our store.
    Complete(SessionId, EntryHash),
    /// A peer holds all of this version of ours.
    Replicated(DeviceId, EntryHash),
    /// Whom we trust has changed.
    Trust,
    /// A device's description changed.
    Device(DeviceId),
    /// A device replaced its key: the old one says nothing more.
    Rolled(DeviceId),
    /// A device's quota is used up; what it wrote since is not fetched.
    OverQuota(DeviceId),
    /// A device's log has grown beyond its bound and is not followed further.
    LogFull(DeviceId),
    /// A device said two things under one number.
    Equivocation(LogId),
    /// A peer knows more of our own log than we do, or another one: our store
    /// was restored or copied. The driver draws a new epoch.
    OwnLogBehind,
}
