//! The local protocol's words for how the agent and its peers do. Part of
//! [`super`], told apart because it is long.

use serde::{Deserialize, Serialize};

use super::{DeviceName, Expiring, Finding, Paused, Relay, SummaryStatus};

/// `status`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// `running` or `stopped`.
    pub agent: String,
    /// Version of the running agent.
    pub version: String,
    /// Its process.
    pub pid: Option<u32>,
    /// This device.
    pub device: Option<DeviceName>,
    /// Addresses on which peers reach it.
    pub listen: Vec<String>,
    /// The other devices.
    pub peers: Vec<PeerStatus>,
    /// What is stored.
    pub store: StoreStatus,
    /// Hook events that wait in the spool.
    pub spool: u64,
    /// Hook events taken in since the store was made.
    pub hooks_received: u64,
    /// `installed`, `missing` or `partial`.
    pub hooks: String,
    /// Claude Code's directory that this agent serves.
    pub claude_dir: String,
    /// ccpeer's own directory.
    pub home: String,
    /// The last thing that went wrong, if anything did.
    pub last_error: Option<String>,
    /// Sessions that are open here and that another device went on with.
    #[serde(default)]
    pub taken_over: Vec<TakenOver>,
    /// Sessions that Claude Code is about to delete and no other device holds.
    #[serde(default)]
    pub expiring: Expiring,
    /// What the user should know and do something about.
    #[serde(default)]
    pub findings: Vec<Finding>,
    /// Whether devices are looked for by multicast; null where nobody is.
    #[serde(default)]
    pub mdns: Option<bool>,
    /// The only address that it was told to listen on, if it was.
    #[serde(default)]
    pub listen_only: Option<String>,
    /// The relay, and how it does.
    #[serde(default)]
    pub relay: Option<Relay>,
    /// The pause, if there is one.
    #[serde(default)]
    pub paused: Option<Paused>,
    /// Summaries by a model, and how they do; null where nobody knows.
    #[serde(default)]
    pub summary: Option<SummaryStatus>,
}

/// A session that is open here and that another device went on with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenOver {
    /// Which session.
    pub session_id: String,
    /// Who has it now.
    pub by: DeviceName,
}

/// One other device in `status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerStatus {
    /// Full id.
    pub id: String,
    /// Name shown here.
    pub name: String,
    /// `connected` or `offline`.
    pub state: String,
    /// What it says of this device, as in [`Device`].
    #[serde(default)]
    pub theirs: String,
    /// `direct`, `relay` or null.
    pub path: Option<String>,
    /// Entries of it that we know of and do not hold yet.
    pub behind: u64,
    /// Round trip in milliseconds.
    pub rtt_ms: Option<u64>,
}

/// The store in `status`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StoreStatus {
    /// Size of the store's file.
    pub bytes: u64,
    /// Sessions known.
    pub sessions: u64,
    /// Chunks held.
    pub chunks: u64,
}
