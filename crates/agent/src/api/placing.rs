//! The local protocol's words for what is placed without being asked for: part of
//! [`super`], told apart because it is long.

use serde::{Deserialize, Serialize};

/// Whether sessions of other devices are placed by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// Nobody has said. They are not, and `up` asks.
    #[default]
    Ask,
    /// They are, and refreshed as they grow.
    Auto,
    /// They are not.
    Never,
}

/// A choice for one project in `policy`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectPlace {
    /// Its directory here; what lies in it follows.
    pub dir: String,
    /// What was chosen.
    pub how: Place,
}

/// One session in `undo --auto`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenBack {
    /// Which.
    pub session_id: String,
    /// Files restored from the backup.
    pub restored: u64,
    /// Files removed because there were none before.
    pub removed: u64,
    /// Why it stays; null if it was taken back.
    pub reason: Option<String>,
}
