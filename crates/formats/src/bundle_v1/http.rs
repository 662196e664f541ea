//! What claude-sync-sessions and its server say to each other over HTTP, but for
//! the bundles: queries, lists, and the words of refusals. Must not know what a
//! connection is, nor who may ask.

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
/// Bytes of one value in a query.
const VALUE_BYTES_MAX: usize = 1024;
/// Characters of a project's name.
const PROJECT_CHARS_MAX: usize = 128;

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No token, or one that is not known.
    #[error("invalid or missing token")]
    Token,
    /// Too long a body.
    #[error("upload too large")]
    TooLarge,
    /// The name of the file is not `<session>.bundle.gz`.
    #[error("invalid filename")]
    FileName,
    /// No project is named.
    #[error("invalid project")]
    Project,
    /// The body is no bundle of that session.
    #[error("invalid bundle")]
    Bundle,
    /// No session begins so.
    #[error("bundle not found")]
    NotFound,
}

impl Refusal {
    /// The status that goes with it.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::Token => 401,
            Self::TooLarge => 413,
            Self::FileName | Self::Project | Self::Bundle => 400,
            Self::NotFound => 404,
        }
    }

    /// The body that goes with it.
    #[must_use]
    pub fn body(self) -> String {
        format!("{{\"error\":\"{self}\"}}")
    }
}

/// What a push says beside its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// The session.
    pub session: SessionId,
    /// The name of its project, as the client has it: spaces and all.
    pub project: String,
}

/// Reads the query of `POST /api/sessions/push`, without its `?`.
///
/// # Errors
/// [`Refusal::FileName`] and [`Refusal::Project`].
pub fn pushed(query: &str) -> Result<Pushed, Refusal> {
    let file = value(query, "filename").ok_or(Refusal::FileName)?;
    let session = names::session_of(&file).ok_or(Refusal::FileName)?;
    let project = value(query, "project").ok_or(Refusal::Project)?;
    let project = text::one_line(&project, PROJECT_CHARS_MAX);
    if project.is_empty() {
        return Err(Refusal::Project);
    }
    Ok(Pushed { session, project })
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

/// What the path of `GET /api/sessions/{prefix}` asks for, its percents decoded;
/// nothing if no session can begin so.
#[must_use]
pub fn prefix(segment: &str) -> Option<String> {
    let text = decoded(segment)?.to_ascii_lowercase();
    let fits = (1..=SessionId::TEXT_LEN).contains(&text.len());
    let known = |c: u8| c.is_ascii_hexdigit() || c == b'-';
    (fits && text.bytes().all(known)).then_some(text)
}

/// Whether a session begins so; `prefix` is of [`prefix`].
#[must_use]
pub fn begins(session: &SessionId, prefix: &str) -> bool {
    session.to_string().starts_with(prefix)
}

/// RFC 3339 in UTC, without a fraction.
fn seconds(at: Timestamp) -> String {
    let text = rfc3339::from_ms(at.0);
    let whole = text
        .split_once('.')
        .map_or(text.as_str(), |(whole, _)| whole);
    format!("{whole}Z")
}

/// The first value of this name in a query.
fn value(query: &str, name: &str) -> Option<String> {
    let mut pairs = query.split('&').filter_map(|p| p.split_once('='));
    let (_, value) = pairs.find(|(n, _)| *n == name)?;
    decoded(&value.replace('+', " "))
}

/// Percents decoded; nothing if it is too long, or no text then.
fn decoded(text: &str) -> Option<String> {
    if text.len() > VALUE_BYTES_MAX {
        return None;
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        let (high, low) = (digit()?, digit()?);
        out.push(u8::try_from(high << 4 | low).ok()?);
    }
    String::from_utf8(out).ok()
}
