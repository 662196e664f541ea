//! The local protocol's words for `ccpeer serve`: part of [`super`].

use serde::{Deserialize, Serialize};

/// What is asked about the server for claude-sync-sessions.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "serve", rename_all = "snake_case")]
pub enum Serve {
    /// Serve until the client goes away. Streams [`ServeEvent`].
    Run {
        /// `ip:port`.
        listen: String,
        /// Certificate chain and key, both PEM. Never logged.
        tls: Option<(String, String)>,
        /// Without a certificate although others can listen on the way.
        plain: bool,
    },
    /// Make a token for a client. → [`ServeToken`], the only time with its text
    AddToken {
        /// What the client is called.
        name: String,
    },
    /// → `[ServeToken]`
    Tokens,
    /// The token of a client is good for nothing from now on. → [`Done`](super::Done)
    RevokeToken {
        /// What the client is called.
        name: String,
    },
}

impl std::fmt::Debug for Serve {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A key may be in it.
        f.write_str("Serve")
    }
}

/// A step of [`Serve::Run`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum ServeEvent {
    /// It listens.
    Ready {
        /// What is set in the client.
        url: String,
        /// Whether the way to it is encrypted.
        encrypted: bool,
        /// Only this machine can reach it.
        loopback: bool,
        /// Clients that have a token.
        clients: u64,
    },
    /// A client pushed a session.
    Pushed {
        /// Which.
        session_id: String,
        /// Its title.
        title: String,
        /// The client, as its token is called.
        client: String,
        /// `new`, `grown`, `fork` or `known`.
        result: String,
    },
    /// What a client pushed was not taken.
    Refused {
        /// The client, as its token is called.
        client: String,
        /// Why.
        reason: String,
    },
}

/// The token of a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServeToken {
    /// What the client is called.
    pub name: String,
    /// When it was made, RFC 3339.
    pub made: String,
    /// The token itself; only when it is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}
