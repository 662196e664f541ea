//! The settings of claude-sync-sessions: where its projects lie, and which
//! repository it used. Its token is not taken over, and nothing of it is changed.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use ccpeer_core::{limits, text};
use ccpeer_formats::bundle_v1::config::{self, Config};

use super::super::{git, projects};
use crate::api::{ApiError, ErrorCode, GitImported, ProjectChange};
use crate::driver::{Ask, Handle};
use crate::mirror::run::without_login;
use crate::pool::blocking;
use crate::server::Out;
use crate::view;

/// The file.
const NAME: &str = "config.json";
/// Its clone, beside it.
const CLONE: &str = "repo";
/// Bytes of it that are read.
const BYTES_MAX: u64 = 64 * 1024;

/// What was found.
pub(super) struct Settings {
    config: Config,
    /// Its own clone, if that is there.
    clone: Option<PathBuf>,
}

/// The settings that a path means: the file, or the directory that it lies in. A
/// directory with a repository in it is that repository, whatever else is there.
pub(super) async fn find(from: &str) -> Option<Settings> {
    let path = PathBuf::from(from);
    if !path.is_absolute() {
        return None;
    }
    blocking(move || {
        let is_repository = path.join(".git").exists() || path.join("HEAD").exists();
        let file = match path.is_dir() {
            true if is_repository => return None,
            true => path.join(NAME),
            false => path,
        };
        if file.file_name().is_none_or(|n| n != NAME) {
            return None;
        }
        let mut bytes = Vec::new();
        let opened = File::open(&file).ok()?;
        opened.take(BYTES_MAX).read_to_end(&mut bytes).ok()?;
        let config = config::read(&bytes)?;
        let clone = file.parent().map(|dir| dir.join(CLONE));
        Some(Settings {
            config,
            clone: clone.filter(|c| c.join(".git").exists()),
        })
    })
    .await
}

/// Takes over what they say.
pub(super) async fn take_over(
    handle: &Handle,
    out: &Out,
    settings: Settings,
    key_file: Option<&str>,
) -> Result<GitImported, ApiError> {
    let Settings { config, clone } = settings;
    let clone = clone.as_deref().and_then(Path::to_str).map(str::to_owned);
    let url = config.git_url.clone().filter(|url| git::is_address(url));
    if config.projects_root.is_empty() && clone.is_none() && url.is_none() {
        return Err(ApiError::new(
            ErrorCode::NotFound,
            "these are no settings of claude-sync-sessions",
        )
        .hint("give its config.json, the directory that it lies in, or a repository"));
    }
    let mut notes = Vec::new();
    if !config.projects_root.is_empty() {
        let dir = config.projects_root.clone();
        let added = projects::change(handle, ProjectChange::AddRoot { dir }).await;
        notes.extend(match added {
            Ok(added) => added.message,
            Err(e) => Some(format!("where its projects lie: {}", e.message)),
        });
    }
    let mut done = match clone.as_ref().or(url.as_ref()) {
        Some(from) => super::repository(handle, out, from, key_file).await?,
        None => GitImported::default(),
    };
    let me = handle.ask(Ask::Me).await?.name;
    notes.extend(advice(&config, &me, clone.is_some()));
    notes.append(&mut done.notes);
    done.notes = notes;
    Ok(done)
}

/// What is left to the user.
fn advice(config: &Config, me: &str, from_clone: bool) -> Vec<String> {
    let mut notes = Vec::new();
    let name = text::one_line(&config.device, limits::DEVICE_NAME_CHARS_MAX);
    if !name.is_empty() && name != me {
        notes.push(format!(
            "it calls this machine {name}; `ccpeer rename` does so, too"
        ));
    }
    if let Some(url) = &config.git_url {
        let url = view::line(&without_login(url));
        if from_clone {
            notes.push(format!(
                "its clone here was read; what others pushed since is at {url}"
            ));
        }
        notes.push(format!(
            "`ccpeer git add {url} --plain` keeps that repository up to date"
        ));
    }
    if let Some(url) = config.server_url.as_ref().filter(|_| config.uses_server) {
        let url = view::line(&without_login(url));
        notes.push(format!(
            "what it keeps on {url} is not read; its \"Download All\" puts it where ccpeer \
             finds it, and `ccpeer serve` takes the server's place"
        ));
    }
    if config.has_token {
        notes.push("its token stays where it is and is not used".to_owned());
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_to_the_user_is_told_without_a_password() {
        let config = Config {
            device: "desk\u{1b}[2J".to_owned(),
            git_url: Some("https://ann:pw@h.example/r.git".to_owned()),
            server_url: Some("https://s.example".to_owned()),
            uses_server: true,
            has_token: true,
            ..Config::default()
        };
        let notes = advice(&config, "laptop", true).join("\n");
        assert!(
            !notes.contains("pw") && !notes.contains('\u{1b}'),
            "{notes}"
        );
        assert!(notes.contains("https://h.example/r.git"), "{notes}");
        assert_eq!(advice(&Config::default(), "desk", false).len(), 0);
    }
}
