//! What of this device's sessions others may have, in words for commands.

use serde::{Deserialize, Serialize};

use super::DeviceName;

/// How much of a session others may have, the most first.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Share {
    /// All of it.
    #[default]
    Sync,
    /// Its document and what lists show.
    Snapshot,
    /// Nothing, not even that there is one.
    Local,
}

/// What a rule is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "of", rename_all = "snake_case")]
pub enum ShareWhich {
    /// All for which nothing else was said.
    Default,
    /// A project's directory here, or its name, and what lies below.
    Project(String),
    /// Directories that look like this, and what lies below.
    Glob(String),
}

/// A rule as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShareRule {
    /// For what.
    pub which: ShareWhich,
    /// What holds.
    pub share: Share,
}

/// What a session falls under, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShareRuling {
    /// What holds.
    pub share: Share,
    /// The rule that says so; null where its directory is not known and what was
    /// said last goes on, or while the rules cannot be read.
    pub by: Option<ShareWhich>,
}

/// What a change of the rules left behind.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ShareLeft {
    /// Sessions of which less is shared than before, and something had been.
    pub sessions: u64,
    /// Devices that are known to hold something of them, which stays there.
    pub devices: Vec<DeviceName>,
    /// Sessions of which more is shared than before.
    pub opened: u64,
}

/// What of another device's sessions is fetched by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fetch {
    /// All of it.
    #[default]
    All,
    /// Documents; the rest when somebody asks for it.
    Snapshots,
}
