//! The local protocol's words for a pause. Part of [`super`], told apart because it
//! is long.

use serde::{Deserialize, Serialize};

/// Seconds that a pause with an end of its own may last.
pub const PAUSE_S_MAX: u64 = 30 * 24 * 3600;

/// Nothing is exchanged with other devices, and nothing leaves for a bridge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paused {
    /// When it ends by itself, RFC 3339, by this machine's clock: a label, because
    /// time is counted. Null: when the user ends it.
    pub until: Option<String>,
}
