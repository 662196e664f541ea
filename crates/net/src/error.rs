//! Why something on the network did not work. Nothing here ever reaches the
//! core: a link that fails ends as [`crate::NetEvent::Down`].

use std::net::SocketAddr;

use ccpeer_core::codec::DecodeError;
use ccpeer_core::entry::EntryError;

/// Why an operation of this crate failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetError {
    /// The socket could not be opened.
    #[error("cannot listen on {addr}: {why}")]
    Listen {
        /// Where it was tried.
        addr: SocketAddr,
        /// What the system said.
        why: String,
    },
    /// The system has no randomness to give.
    #[error("no randomness from the system")]
    Random,
    /// Too many attempts to pair have failed.
    #[error("pairing is locked for another {} s after failed attempts", wait_ms.div_ceil(1000))]
    PairingLocked {
        /// Until it opens again.
        wait_ms: u64,
    },
    /// The network was shut down.
    #[error("the network is shut down")]
    Closed,
    /// The user has paused it.
    #[error("nothing is exchanged with other devices: it is paused")]
    Paused,
}

/// Why a link ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DownReason {
    /// The peer said good-bye.
    Bye,
    /// The peer does not trust us (any more).
    NotTrustedThere,
    /// We do not trust the peer (any more).
    NotTrustedHere,
    /// The peer, or a member for it, revoked us: never again with this key.
    RevokedThere,
    /// We, or a member for us, revoked the peer.
    RevokedHere,
    /// The peer was silent for too long.
    Silent,
    /// The transport lost the peer.
    Lost,
    /// A newer link to the same peer took its place, or the other one of two
    /// that were dialled at the same time was kept.
    Replaced,
    /// The peer did not take what we had to say fast enough. It catches up with
    /// its next link.
    TooSlow,
    /// The peer did what no honest peer does.
    Fault(LinkFault),
    /// The peer found a fault in what we sent, or closed for a reason that only
    /// it knows: its code.
    ClosedThere(u32),
    /// The driver found that the peer misbehaves.
    ClosedHere,
    /// There are more links than we can bear.
    Full,
    /// The user has paused the peer: it comes back by itself.
    PausedThere,
    /// The user has paused us.
    PausedHere,
    /// We are shutting down.
    Shutdown,
    /// A mistake of ours ended the task of this link, and of this link alone.
    Internal,
}

/// How an attempt to reach a peer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DialOutcome {
    /// With a link.
    Linked,
    /// With another link than the one that was tried.
    Duplicate,
    /// Nobody answered under any address.
    Unreachable,
    /// Somebody answered who does not have the device's key.
    WrongKey,
    /// Somebody answered who does not speak the protocol.
    NoProtocol,
    /// The device answered and was silent then.
    Silent,
    /// The device closed the connection with this code.
    Closed(u32),
}

impl DialOutcome {
    /// Whether the device said that it does not trust us.
    #[must_use]
    pub fn is_refusal(self) -> bool {
        self == Self::Closed(code::NOT_TRUSTED)
    }

    /// Whether the device said that we were revoked.
    #[must_use]
    pub fn is_revocation(self) -> bool {
        self == Self::Closed(code::REVOKED)
    }

    /// Whether the device said that its user has paused it.
    #[must_use]
    pub fn is_pause(self) -> bool {
        self == Self::Closed(code::PAUSED)
    }
}

/// What a peer did wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LinkFault {
    /// A frame that announces more than may be, or nothing.
    #[error("frame of {len} bytes where at most {limit} are allowed")]
    FrameLength {
        /// What was announced.
        len: u32,
        /// What is allowed.
        limit: usize,
    },
    /// A frame that was begun and not finished in time, or cut off.
    #[error("frame was not finished")]
    FrameCut,
    /// A message that is none.
    #[error("message: {0}")]
    Message(DecodeError),
    /// A message that does not belong at this place.
    #[error("message out of place")]
    OutOfPlace,
    /// An entry that does not verify.
    #[error("entry: {0}")]
    Entry(EntryError),
    /// A request for chunks, or an answer to one, that breaks the protocol.
    #[error("chunk stream: {0}")]
    Chunks(&'static str),
}

/// Codes with which a connection is closed; part of the wire protocol.
pub(crate) mod code {
    /// Nothing more to say.
    pub(crate) const BYE: u32 = 0;
    /// The peer broke the protocol.
    pub(crate) const FAULT: u32 = 400;
    /// The device is not trusted here.
    pub(crate) const NOT_TRUSTED: u32 = 403;
    /// No invitation stands.
    pub(crate) const NOT_OPEN: u32 = 404;
    /// The device was revoked: it does not come back with this key.
    pub(crate) const REVOKED: u32 = 410;
    /// The peer was silent for too long.
    pub(crate) const SILENT: u32 = 408;
    /// Another connection between the same two devices is kept.
    pub(crate) const DUPLICATE: u32 = 409;
    /// The user has paused the device; it dials when that is over.
    pub(crate) const PAUSED: u32 = 423;
    /// A version that is not spoken here.
    pub(crate) const UNSUPPORTED: u32 = 426;
    /// The peer reads too slowly, or comes back too soon after a fault.
    pub(crate) const TOO_SLOW: u32 = 429;
    /// No room for another connection.
    pub(crate) const FULL: u32 = 503;
}

impl DownReason {
    /// The code and the words with which we close for this reason.
    pub(crate) fn to_close(self) -> (u32, &'static str) {
        match self {
            Self::NotTrustedHere | Self::NotTrustedThere => (code::NOT_TRUSTED, "not paired"),
            Self::RevokedHere | Self::RevokedThere => (code::REVOKED, "revoked"),
            Self::Silent => (code::SILENT, "silent"),
            Self::Replaced => (code::DUPLICATE, "another link is kept"),
            Self::TooSlow => (code::TOO_SLOW, "too slow"),
            Self::Fault(LinkFault::Message(DecodeError::Version(_))) => {
                (code::UNSUPPORTED, "unsupported version")
            }
            Self::Fault(_) | Self::ClosedHere => (code::FAULT, "protocol fault"),
            Self::Full => (code::FULL, "too many links"),
            Self::PausedHere | Self::PausedThere => (code::PAUSED, "paused"),
            Self::Bye | Self::Lost | Self::ClosedThere(_) | Self::Shutdown | Self::Internal => {
                (code::BYE, "bye")
            }
        }
    }

    /// What the code with which a peer closed means here.
    pub(crate) fn from_code(value: u64) -> Self {
        match u32::try_from(value).unwrap_or(u32::MAX) {
            code::BYE => Self::Bye,
            code::NOT_TRUSTED => Self::NotTrustedThere,
            code::REVOKED => Self::RevokedThere,
            code::DUPLICATE => Self::Replaced,
            code::SILENT => Self::Silent,
            code::TOO_SLOW => Self::TooSlow,
            code::FULL => Self::Full,
            code::PAUSED => Self::PausedThere,
            other => Self::ClosedThere(other),
        }
    }
}
