//! The local protocol's words for the steps of pairing. Part of [`super`], told
//! apart because it is long.

use serde::{Deserialize, Serialize};

use super::DeviceName;

/// A step of pairing, as `pair` and `join` print it with `--json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum PairEvent {
    /// Show this code.
    Code {
        /// `XXX-XXX`.
        code: String,
        /// Seconds until it is void.
        expires_s: u64,
    },
    /// Show this ticket.
    Ticket {
        /// One line of text.
        ticket: String,
    },
    /// Looking for the inviting device.
    Searching {
        /// Devices in the network that are inviting.
        found: u64,
    },
    /// A device whose key was revoked tried to come back, and was sent away.
    Tombstoned {
        /// Which.
        device: DeviceName,
    },
    /// Waiting for the yes on the inviting device.
    Waiting {
        /// That device.
        device: DeviceName,
    },
    /// Somebody gave the right code. On the inviting side the user is asked now.
    Joined {
        /// Who.
        device: DeviceName,
        /// Its operating system, as it said.
        os: String,
        /// From where.
        addr: String,
    },
    /// Somebody began to join and broke off; the invitation stands.
    BrokenOff {
        /// From where.
        addr: String,
    },
    /// A relay came with the ticket and is used from now on.
    Relay {
        /// Its place, without anything secret.
        url: String,
    },
    /// Both trust each other.
    Paired {
        /// Whom.
        device: DeviceName,
    },
    /// It did not come about.
    Failed {
        /// Why.
        reason: String,
    },
}
