//! `config.json` of claude-sync-sessions: what its user has told it, to be taken
//! over.

use ccpeer_core::text;

use super::TEXT_BYTES_MAX;
use crate::claude::json;

/// The settings of one device.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Config {
    /// What the device calls itself.
    pub device: String,
    /// The directory that holds the projects, with forward slashes.
    pub projects_root: String,
    /// The repository, if it uses one.
    pub git_url: Option<String>,
    /// The server, if it uses one.
    pub server_url: Option<String>,
    /// Whether the server is what it uses now.
    pub uses_server: bool,
    /// Whether a token stands there in clear. It is not taken over.
    pub has_token: bool,
}

/// Reads it; nothing if it is no JSON object.
#[must_use]
pub fn read(bytes: &[u8]) -> Option<Config> {
    let text = json::decoded(bytes);
    let [device, root, backend, git, server, token] = json::pick(
        &text,
        &[
            "deviceName",
            "projectsRoot",
            "backend",
            "gitRepoUrl",
            "serverUrl",
            "serverToken",
        ],
    )?;
    let line = |raw| {
        let text = json::short_text(raw, TEXT_BYTES_MAX)?;
        let text = text::strip(text.trim(), text::Lines::Fold);
        (!text.is_empty()).then_some(text)
    };
    Some(Config {
        device: line(device).unwrap_or_default(),
        projects_root: line(root).unwrap_or_default(),
        git_url: line(git),
        server_url: line(server),
        uses_server: line(backend).as_deref() == Some("server"),
        has_token: line(token).is_some(),
    })
}
