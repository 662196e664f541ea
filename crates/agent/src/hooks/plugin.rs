//! The same as a plugin of Claude Code: hooks, skill and MCP server in one step.
//! Written is a marketplace of one plugin in a directory of the user's choice;
//! Claude Code's own commands take it from there and remove it again.
//!
//! Where both the plugin and the settings have our hooks, Claude Code runs both. A
//! hook of the plugin says that it is one, and does nothing where the settings have
//! it, too.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ccpeer_formats::claude::settings;
use serde::Serialize;
use serde_json::{Value, json};

use super::skill::SKILL;
use super::{Installed, disk, refused};
use crate::api::ApiError;
use crate::home::Home;

/// Name of the plugin, and of the marketplace that has it.
const NAME: &str = "ccpeer";
/// Bytes of a file of a plugin that are read.
const FILE_BYTES_MAX: u64 = 256 * 1024;
/// What it says of itself.
const ABOUT: &str = "Continue a Claude Code session on any of your machines, without a server";

/// A plugin that was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PluginWritten {
    /// The marketplace's directory.
    pub dir: String,
    /// What has Claude Code take it.
    pub commands: Vec<Vec<String>>,
}

/// Writes the plugin into a directory that is not there, empty, or was written by
/// this before. `client` is what its hooks run, `program` its server.
///
/// # Errors
/// When something else is in the directory, or it cannot be written.
pub fn write_plugin(dir: &Path, client: &Path, program: &Path) -> Result<PluginWritten, ApiError> {
    let utf8 = |path: &Path| path.to_str().map(str::to_owned);
    let named = utf8(dir).zip(utf8(client)).zip(utf8(program));
    let Some(((name, client), program)) = named.filter(|_| dir.is_absolute()) else {
        return Err(refused(
            "this path cannot be written into Claude Code's settings",
            "choose a directory with an absolute path in UTF-8",
        ));
    };
    let hooks = settings::plugin(&client)
        .map_err(|e| refused(&e.to_string(), "install ccpeer in another place"))?;
    check_place(dir)?;
    let server = json!({"mcpServers": {NAME: {"command": program, "args": ["mcp"]}}});
    let version = env!("CARGO_PKG_VERSION");
    let plugin = json!({
        "name": NAME,
        "version": version,
        "description": ABOUT,
        "author": {"name": "the authors of ccpeer"},
        "license": "MIT OR Apache-2.0",
    });
    let marketplace = json!({
        "name": NAME,
        "owner": {"name": "the authors of ccpeer"},
        "metadata": {"description": "ccpeer as it is installed on this machine"},
        "plugins": [{"name": NAME, "source": format!("./{NAME}"), "description": ABOUT}],
    });
    let plugin_dir = dir.join(NAME);
    let files = [
        // Last what says that it is ours, and makes it one.
        (plugin_dir.join("hooks").join("hooks.json"), hooks),
        (plugin_dir.join(".mcp.json"), pretty(&server)),
        (skill_of(&plugin_dir), SKILL.to_owned()),
        (
            plugin_dir.join(".claude-plugin").join("plugin.json"),
            pretty(&plugin),
        ),
        (marketplace_of(dir), pretty(&marketplace)),
    ];
    for (path, text) in files {
        let parent = path.parent().unwrap_or(dir);
        fs::create_dir_all(parent)
            .and_then(|()| fs::write(&path, text))
            .map_err(|e| disk("write", &path, &e))?;
    }
    let words = |all: &[&str]| all.iter().map(|w| (*w).to_owned()).collect();
    let id = format!("{NAME}@{NAME}");
    Ok(PluginWritten {
        commands: vec![
            words(&["claude", "plugin", "marketplace", "add", &name]),
            words(&["claude", "plugin", "install", &id]),
        ],
        dir: name,
    })
}

fn marketplace_of(dir: &Path) -> PathBuf {
    dir.join(".claude-plugin").join("marketplace.json")
}

fn skill_of(plugin_dir: &Path) -> PathBuf {
    plugin_dir.join("skills").join(NAME).join("SKILL.md")
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

/// Whether nothing of anybody else is in the way.
fn check_place(dir: &Path) -> Result<(), ApiError> {
    let mut entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(disk("read", dir, &e)),
    };
    let is_empty = entries.next().is_none();
    let is_ours = || {
        let said = read(&marketplace_of(dir));
        let said = said.and_then(|b| serde_json::from_slice::<Value>(&b).ok());
        said.is_some_and(|v| v.get("name") == Some(&json!(NAME)))
    };
    if is_empty || is_ours() {
        return Ok(());
    }
    Err(refused(
        &format!("there is something else in {}", dir.display()),
        "choose a directory that is empty or not there; nothing was written",
    ))
}

fn read(path: &Path) -> Option<Vec<u8>> {
    let fits = fs::metadata(path).is_ok_and(|m| m.is_file() && m.len() <= FILE_BYTES_MAX);
    fits.then(|| fs::read(path).ok())?
}

/// A plugin of ours that Claude Code uses.
pub(super) struct Used {
    /// Whether it is as this program would write it.
    pub(super) standing: Installed,
    /// What its hooks run.
    pub(super) program: Option<String>,
}

/// The plugin, if Claude Code has it and uses it.
pub(super) fn used(bytes: Option<&[u8]>) -> Option<Used> {
    let dir = settings::plugin_dir(bytes?, NAME)?;
    let plugin_dir = Path::new(&dir).join(NAME);
    let hooks = read(&plugin_dir.join("hooks").join("hooks.json"));
    let program = hooks.as_deref().and_then(settings::plugin_program);
    let is_whole = || {
        let program = program.as_deref()?;
        let same = settings::plugin(program).ok()?.into_bytes() == hooks.clone()?;
        let skill = read(&skill_of(&plugin_dir))?;
        Some(same && skill == SKILL.as_bytes() && Path::new(program).is_file())
    };
    Some(Used {
        standing: match is_whole() {
            Some(true) => Installed::Installed,
            _ => Installed::Partial,
        },
        program,
    })
}

/// Whether a hook of the plugin has nothing to do, because the settings have the
/// same. What cannot be read has nothing.
#[must_use]
pub fn is_in_settings_too(home: &Home, event: &str) -> bool {
    let Some(bytes) = read_settings(home) else {
        return false;
    };
    settings::status(Some(&bytes)).is_ok_and(|s| s.installed.contains(&event))
}

fn read_settings(home: &Home) -> Option<Vec<u8>> {
    let path = home.claude_settings();
    let fits = fs::metadata(&path)
        .is_ok_and(|m| m.len() <= ccpeer_core::limits::SETTINGS_BYTES_MAX as u64);
    fits.then(|| fs::read(&path).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::World;

    #[test]
    fn it_is_written_where_nothing_else_is_and_seen_where_it_is_used() {
        let world = World::in_memory("ann");
        let dir = world.dir.path().canonicalize().unwrap().join("plugin");
        let program = dir.with_file_name("ccpeer");
        fs::write(&program, b"x").unwrap();
        let written = write_plugin(&dir, &program, &program).unwrap();
        assert_eq!(
            written.commands[0].last(),
            written.dir.parse().ok().as_ref()
        );
        write_plugin(&dir, &program, &program).unwrap();
        for file in [
            "hooks/hooks.json",
            ".mcp.json",
            ".claude-plugin/plugin.json",
        ] {
            let text = fs::read(dir.join("ccpeer").join(file)).unwrap();
            let value: Value = serde_json::from_slice(&text).unwrap();
            assert!(value.is_object(), "{file}");
        }
        let foreign = dir.with_file_name("foreign");
        fs::create_dir(&foreign).unwrap();
        fs::write(foreign.join("x"), b"x").unwrap();
        assert!(write_plugin(&foreign, &program, &program).is_err());
        assert!(write_plugin(Path::new("here"), &program, &program).is_err());

        let used_with = |on: bool| {
            let all = json!({
                "enabledPlugins": {"ccpeer@ccpeer": on},
                "extraKnownMarketplaces": {"ccpeer": {"source": {"source": "directory", "path": dir}}},
            });
            used(Some(all.to_string().as_bytes()))
        };
        let found = used_with(true).unwrap();
        assert_eq!(found.standing, Installed::Installed);
        assert_eq!(found.program.as_deref(), program.to_str());
        assert!(used_with(false).is_none() && used(None).is_none());
        fs::write(dir.join("ccpeer/hooks/hooks.json"), b"{}").unwrap();
        assert_eq!(used_with(true).unwrap().standing, Installed::Partial);
    }

    #[test]
    fn a_hook_of_the_plugin_gives_way_to_the_settings() {
        let world = World::in_memory("ann");
        assert!(!is_in_settings_too(&world.home, "Stop"));
        let program = Path::new("/usr/bin/ccpeer");
        super::super::install(&world.home, program).unwrap();
        assert!(is_in_settings_too(&world.home, "Stop"));
        assert!(!is_in_settings_too(&world.home, "PostToolUse"));
        fs::write(world.home.claude_settings(), b"{").unwrap();
        assert!(!is_in_settings_too(&world.home, "Stop"));
    }
}
