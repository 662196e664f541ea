//! What claude-sync-sessions and its server say to each other over HTTP, but for
//! the bundles. Must not know what a connection is, nor who may ask.

use std::collections::BTreeSet;

use ccpeer_core::id::SessionId;
use ccpeer_core::text;
use ccpeer_core::time::Timestamp;
use serde::Serialize;

use super::names;
use crate::rfc3339;

/// The type of a bundle. No `Content-Encoding` goes with it: the client unpacks.
pub const BUNDLE_TYPE: &str = "application/gzip";
/// The type of everything else.
pub const JSON_TYPE: &str = "application/json";
/// The answer to `GET /health` and to a push.
pub const OK: &str = "{\"ok\":true}";
/// Bytes of the body of a push, as the reference server bounds it.
pub const BODY_BYTES_MAX: usize = 50 * 1024 * 1024;
/// Characters of a project's name.
const PROJECT_CHARS_MAX: usize = 128;

/// The body of a refusal; `words` are ours and need no escape.
#[must_use]
pub fn refusal(words: &'static str) -> String {
    format!("{{\"error\":\"{words}\"}}")
}

/// A session in the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The session.
    pub session: SessionId,
    /// The name of its project.
    pub project: String,
    /// Its first prompt.
    pub first_prompt: String,
    /// When it last changed. A label.
    pub updated: Timestamp,
}

/// The body of the answer to `GET /api/sessions`: newest first, each session once.
#[must_use]
pub fn list(mut sessions: Vec<Listed>) -> String {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Row {
        session_id: String,
        project: String,
        filename: String,
        label: String,
        updated_at: String,
    }
    #[derive(Serialize)]
    struct Rows {
        bundles: Vec<Row>,
    }
    sessions.sort_by_key(|s| (std::cmp::Reverse(s.updated), s.session));
    let mut seen = BTreeSet::new();
    sessions.retain(|s| seen.insert(s.session));
    let row = |s: &Listed| Row {
        session_id: s.session.to_string(),
        project: text::one_line(&s.project, PROJECT_CHARS_MAX),
        filename: names::file_name(&s.session),
        label: names::label(&s.session, &s.project, &s.first_prompt),
        updated_at: seconds(s.updated),
    };
    let bundles = sessions.iter().map(row).collect();
    serde_json::to_string(&Rows { bundles }).unwrap_or_else(|_| "{\"bundles\":[]}".to_owned())
}

/// The answer to `DELETE`.
#[must_use]
pub fn deleted(count: usize) -> String {
    format!("{{\"deleted\":{count}}}")
}

/// RFC 3339 in UTC, without a fraction.
fn seconds(at: Timestamp) -> String {
    let text = rfc3339::from_ms(at.0);
    let whole = text
        .split_once('.')
        .map_or(text.as_str(), |(whole, _)| whole);
    format!("{whole}Z")
}
