//! The local protocol's words for what looks like a secret. Part of [`super`], told
//! apart because it is long.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What becomes of a session that holds what looks like a secret, where it would
/// leave for a bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gate {
    /// It leaves without that, where it can be told without.
    Redact,
    /// It does not leave.
    Hold,
    /// It leaves as it is, and the user is told where that can be.
    Warn,
}

/// How one bridge is dealt with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BridgeGate {
    /// `serve`, or the name of a git mirror.
    pub bridge: String,
    /// `serve`, `plain` or `encrypted`.
    pub kind: String,
    /// Where a mirror is, without anything secret.
    pub url: Option<String>,
    /// What is done.
    pub how: Gate,
}

/// A session of this device that holds what looks like a secret. Never what it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretsFound {
    /// Which session.
    pub session_id: String,
    /// How many of each kind were found at once: `private_key`, `token`,
    /// `web_token`, `header`, `value` or `login`.
    pub kinds: BTreeMap<String, u32>,
    /// The sub-agent in whose transcript the first one is; null: in the main one.
    pub agent: Option<String>,
    /// The line there, from 1.
    pub line: u64,
    /// When it was found, RFC 3339.
    pub since: String,
    /// The user has seen it.
    pub seen: bool,
}
