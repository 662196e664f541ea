//! The local protocol's words for relays: part of [`super`].

use serde::{Deserialize, Serialize};

/// The relay that this agent uses, in `status`, and the answer to
/// [`Request::Relay`](super::Request::Relay).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Relay {
    /// Its place, without anything secret; `n0 (host)` for the public ones. Null
    /// while none is used.
    pub url: Option<String>,
    /// `off`, `connecting`, `connected`, `denied`, `unreachable`, `untrusted` (it
    /// shows another certificate) or `not_a_relay`.
    pub state: String,
    /// The same as a sentence, where something is wrong.
    pub why: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
    /// The agent begins anew because of this; only in the answer to a change.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub again: bool,
}

/// What to change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayChange {
    /// An address, `n0`, or `off`. It may hold a token: never logged.
    pub relay: String,
}
