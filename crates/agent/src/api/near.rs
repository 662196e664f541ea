//! The local protocol's words for the devices around: what two people compare,
//! and what the network tells. Part of [`super`], told apart because it is long.

use serde::{Deserialize, Serialize};

use super::DeviceName;

/// One row of `devices --verify`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Safety {
    /// With whom.
    pub device: DeviceName,
    /// Sixty digits in groups of five, the same on both devices.
    pub number: String,
}

/// `doctor net`: what the agent sees of the network around it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Around {
    /// The interfaces of this machine.
    pub interfaces: Vec<Interface>,
    /// Where packets are taken.
    pub sockets: Vec<String>,
    /// What is heard by multicast; null if that is off.
    pub multicast: Option<Multicast>,
    /// The paired devices.
    pub peers: Vec<Reach>,
    /// The relay in use, if any, and how it does.
    #[serde(default)]
    pub relay: Option<super::Relay>,
    /// The pause, if there is one: then nobody is dialled or let in.
    #[serde(default)]
    pub paused: Option<super::Paused>,
    /// What came over the network since the agent's start.
    #[serde(default)]
    pub counted: Counted,
}

/// Numbers that only grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counted {
    /// Frames of linked devices that were parsed.
    pub frames: u64,
    /// Strangers who were refused before a byte of theirs was read.
    pub refused: u64,
    /// Attempts to pair that reached the key exchange.
    pub pair_attempts: u64,
}

/// One interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its addresses that others can dial.
    pub addrs: Vec<String>,
    /// Addresses of it that work on its link alone and are not used.
    pub link_local: Vec<String>,
    /// Why nobody is looked for on it: `loopback`, `virtual`, `point_to_point`,
    /// `down`, `link_local` or `too_many`; null if somebody is.
    pub skipped: Option<String>,
}

/// What is heard by multicast.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Multicast {
    /// Whether it is listened for by IPv4.
    pub ipv4: bool,
    /// Whether it is listened for by IPv6.
    pub ipv6: bool,
    /// Why not, if neither.
    pub failed: Option<String>,
    /// How long ago our own announcement came back, in milliseconds.
    pub own_heard_ms: Option<u64>,
    /// Who else was heard: ids, never names.
    pub others: Vec<HeardDevice>,
    /// Packets that were not looked at, because there were too many.
    pub dropped: u64,
}

/// A device that was heard by multicast.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeardDevice {
    /// The id that it claims.
    pub id: String,
    /// How long ago, in milliseconds.
    pub heard_ms: u64,
}

/// How a paired device is looked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reach {
    /// Which.
    pub device: DeviceName,
    /// `connected` or `offline`.
    pub state: String,
    /// When it last was connected, RFC 3339; null if never.
    pub last_seen: Option<String>,
    /// Where it would be dialled.
    pub addrs: Vec<String>,
    /// How long ago it was last heard by multicast, in milliseconds.
    pub heard_ms: Option<u64>,
    /// How long ago it was last dialled, in milliseconds.
    pub dialled_ms: Option<u64>,
    /// How that ended: `linked`, `duplicate`, `unreachable`, `wrong_key`,
    /// `no_protocol`, `silent`, `refused`, `revoked`, `paused` or `closed`.
    pub dialled: Option<String>,
}
