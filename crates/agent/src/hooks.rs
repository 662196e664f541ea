//! `hooks install`, `remove` and `status`: our entries in Claude Code's settings,
//! and the skill beside them.
//!
//! The settings are another program's file. Where in its bytes our entries go is
//! known to `ccpeer_formats::claude::settings`; here the bytes are exchanged so
//! that no edit of anybody else is lost: see [`replace`]. What cannot be edited
//! safely (invalid JSON, read-only, not a file) is refused untouched.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use ccpeer_core::limits;
use ccpeer_formats::claude::settings::{self, Removal};
use serde::Serialize;

use crate::api::{ApiError, ErrorCode};
use crate::home::Home;

mod client;
mod file;
mod plugin;
mod skill;

pub use ccpeer_formats::claude::settings::PLUGIN_WORD;
pub use client::client;
pub(crate) use client::is_of;
use file::{Current, Swap};
pub use plugin::{PluginWritten, is_in_settings_too, write_plugin};
pub use skill::SkillChange;

/// What `install` and `remove` did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HooksChange {
    /// The settings were changed.
    pub changed: bool,
    /// The settings file; if it is a link, the file it leads to.
    pub settings: String,
    /// A copy of the settings as they were.
    pub backup: Option<String>,
    /// What was done about the skill.
    pub skill: SkillChange,
}

/// Whether our entries are there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HooksStatus {
    /// `partial` too where the program is gone or all hooks are switched off.
    pub hooks: Installed,
    /// The settings file; if it is a link, the file it leads to.
    pub settings: String,
    /// The settings have some of our hooks.
    pub in_settings: bool,
    /// The program that the entries run.
    pub program: Option<String>,
    /// All hooks, ours and others', are switched off in the settings.
    pub disabled: bool,
    /// Whether the skill is there.
    pub skill: Installed,
    /// Whether the plugin is, which brings hooks and skill as well. Then `hooks` and
    /// `program` tell of the plugin's where the settings have none.
    pub plugin: Installed,
}

impl HooksStatus {
    /// The one word of `status`.
    #[must_use]
    pub fn word(&self) -> String {
        self.hooks.as_str().to_owned()
    }
}

/// How much of what is ours is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Installed {
    /// All of it.
    Installed,
    /// Nothing.
    Missing,
    /// Some of it, or not so that it works.
    Partial,
}

impl Installed {
    /// The word in JSON and in tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Installed => "installed",
            Self::Missing => "missing",
            Self::Partial => "partial",
        }
    }
}

/// Tries before another writer that never rests is given up on.
const TRIES_MAX: u32 = 100;
/// Tries in which everything is durable before the exchange.
const PATIENT_TRIES: u32 = 1;
/// A file that is empty or broken may just be being written: it is believed
/// only after this many looks, this far apart.
const BELIEVE: (u32, Duration) = (5, Duration::from_millis(5));

/// Adds our hooks, which run `program`, and the skill. Changes nothing that is
/// as it should be.
///
/// # Errors
/// [`ErrorCode::Refused`] when the settings cannot be edited without a risk to
/// what is in them, [`ErrorCode::Disk`] when they cannot be read or written.
pub fn install(home: &Home, program: &Path) -> Result<HooksChange, ApiError> {
    let program = program.to_str().filter(|_| program.is_absolute());
    let program = program.ok_or_else(|| {
        let message = "the path of the ccpeer program cannot be written into settings";
        refused(message, "install ccpeer at a path in UTF-8")
    })?;
    let path = home.claude_settings();
    make_private_dir(home.claude()).map_err(|e| disk("create", home.claude(), &e))?;
    let _lock = lock(home)?;
    let edit = edit(home, &path, |current| {
        let new = settings::install(current, program)
            .map_err(|e| refused(&format!("{}: {e}", path.display()), FIX_BY_HAND))?;
        Ok(New::Bytes(new))
    })?;
    let skill = skill::install(home).map_err(|e| disk("write the skill in", home.claude(), &e))?;
    Ok(edit.told(skill))
}

/// Takes out what [`install`] added, and only that.
///
/// # Errors
/// As [`install`].
pub fn remove(home: &Home) -> Result<HooksChange, ApiError> {
    let path = home.claude_settings();
    let _lock = lock(home)?;
    let edit = edit(home, &path, |current| {
        let Some(current) = current else {
            return Ok(New::Unchanged);
        };
        match settings::remove(current) {
            Ok(Removal::Unchanged) => Ok(New::Unchanged),
            Ok(Removal::Empty) => Ok(New::Absent),
            Ok(Removal::Bytes(bytes)) => Ok(New::Bytes(bytes)),
            Err(e) => Err(refused(&format!("{}: {e}", path.display()), FIX_BY_HAND)),
        }
    })?;
    let skill = skill::remove(home).map_err(|e| disk("remove the skill in", home.claude(), &e))?;
    Ok(edit.told(skill))
}

/// Whether hooks and skill are there.
///
/// # Errors
/// As [`install`].
pub fn status(home: &Home) -> Result<HooksStatus, ApiError> {
    let path = home.claude_settings();
    let current = read(&path)?;
    let found = settings::status(current.bytes.as_deref())
        .map_err(|e| refused(&format!("{}: {e}", path.display()), FIX_BY_HAND))?;
    let runs = found
        .program
        .as_ref()
        .is_some_and(|p| Path::new(p).is_file());
    let used = plugin::used(current.bytes.as_deref());
    let of_plugin = used.as_ref().map_or(Installed::Missing, |u| u.standing);
    Ok(HooksStatus {
        hooks: if found.installed.is_empty() {
            match found.disabled && of_plugin != Installed::Missing {
                true => Installed::Partial,
                false => of_plugin,
            }
        } else if found.missing.is_empty() && runs && !found.disabled {
            Installed::Installed
        } else {
            Installed::Partial
        },
        settings: current.target.display().to_string(),
        in_settings: !found.installed.is_empty(),
        program: found.program.or(used.and_then(|u| u.program)),
        disabled: found.disabled,
        skill: skill::status(home),
        plugin: of_plugin,
    })
}

const FIX_BY_HAND: &str = "correct the file by hand; nothing was changed";

/// What the file becomes.
enum New {
    Unchanged,
    Absent,
    Bytes(Vec<u8>),
}

/// What an edit did.
struct Edit {
    target: PathBuf,
    backup: Option<PathBuf>,
    changed: bool,
}

impl Edit {
    fn told(self, skill: SkillChange) -> HooksChange {
        HooksChange {
            changed: self.changed,
            settings: self.target.display().to_string(),
            backup: self.backup.map(|path| path.display().to_string()),
            skill,
        }
    }
}

/// Reads, changes and exchanges until nobody else wrote in between.
fn edit(
    home: &Home,
    path: &Path,
    mut change: impl FnMut(Option<&[u8]>) -> Result<New, ApiError>,
) -> Result<Edit, ApiError> {
    clear_up(home, &read(path)?.target);
    let mut doubts = 0;
    for tries in 0..TRIES_MAX {
        let current = read(path)?;
        let new = change(current.bytes.as_deref());
        let doubtful = new.is_err() || current.bytes.as_ref().is_some_and(Vec::is_empty);
        if doubtful && doubts < BELIEVE.0 {
            doubts += 1;
            std::thread::sleep(BELIEVE.1);
            continue;
        }
        let new = match new? {
            New::Bytes(new) if Some(&new) != current.bytes.as_ref() => Some(new),
            New::Absent if current.bytes.is_some() => None,
            _ => {
                return Ok(Edit {
                    target: current.target,
                    backup: None,
                    changed: false,
                });
            }
        };
        if current.read_only {
            let message = format!("{} is read-only", current.target.display());
            return Err(refused(
                &message,
                "make it writable, or add the hooks where it is made",
            ));
        }
        // Against a busy writer only haste helps: later tries copy and flush
        // after the exchange.
        let hasty = tries >= PATIENT_TRIES;
        let mut backup = None;
        if let Some(bytes) = current.bytes.as_deref().filter(|_| !hasty) {
            backup = Some(back_up(home, bytes)?);
        }
        let swapped = file::replace(&current, new.as_deref(), hasty)
            .map_err(|e| disk("write", &current.target, &e))?;
        if swapped == Swap::Done {
            if let Some(bytes) = current.bytes.as_deref().filter(|_| hasty) {
                backup = Some(back_up(home, bytes)?);
            }
            return Ok(Edit {
                target: current.target,
                backup,
                changed: true,
            });
        }
    }
    let message = format!("{} is being changed all the time", path.display());
    Err(refused(&message, "try again when nothing else writes it"))
}

/// Takes away what an edit that was killed has left behind. It may be what another
/// program wrote at that moment, swapped out and not put back: what can be read
/// as settings is kept with the backups.
fn clear_up(home: &Home, target: &Path) {
    for path in file::left_over(target) {
        let bytes = fs::read(&path).unwrap_or_default();
        let whole = !bytes.is_empty() && settings::status(Some(&bytes)).is_ok();
        if !whole || back_up(home, &bytes).is_ok() {
            let _ = fs::remove_file(path);
        }
    }
}

fn read(path: &Path) -> Result<Current, ApiError> {
    file::read(path, limits::SETTINGS_BYTES_MAX).map_err(|e| match e.kind() {
        io::ErrorKind::InvalidInput | io::ErrorKind::FileTooLarge => {
            refused(&format!("{}: {e}", path.display()), FIX_BY_HAND)
        }
        _ => disk("read", path, &e),
    })
}

fn backup_path(home: &Home, hash: &str) -> PathBuf {
    home.settings_backups()
        .join(format!("settings-{hash}.json"))
}

/// Keeps a copy under the name of its hash; only the newest ones stay.
fn back_up(home: &Home, bytes: &[u8]) -> Result<PathBuf, ApiError> {
    let dir = home.settings_backups();
    let path = backup_path(home, &hash(bytes));
    make_private_dir(&dir)
        .and_then(|()| file::write_private(&path, bytes))
        .map_err(|e| disk("write", &path, &e))?;
    let mut backups: Vec<(SystemTime, PathBuf)> = fs::read_dir(&dir)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("settings-"))
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    backups.sort();
    let surplus = backups.len().saturating_sub(limits::SETTINGS_BACKUPS_MAX);
    for (_, old) in backups.into_iter().take(surplus) {
        if old != path {
            let _ = fs::remove_file(old);
        }
    }
    Ok(path)
}

/// Held while settings are edited: two of us never edit at once. Others do not
/// know this lock; for them there is the exchange.
fn lock(home: &Home) -> Result<fs::File, ApiError> {
    let dir = home.settings_backups();
    let path = dir.join("lock");
    let mut options = fs::OpenOptions::new();
    options.create(true).truncate(false).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    make_private_dir(&dir)
        .and_then(|()| options.open(&path))
        .and_then(|file| file.lock().map(|()| file))
        .map_err(|e| disk("lock", &path, &e))
}

fn hash(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().chars().take(32).collect()
}

fn make_private_dir(dir: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)
}

fn refused(message: &str, hint: &str) -> ApiError {
    ApiError::new(ErrorCode::Refused, message).hint(hint)
}

fn disk(verb: &str, path: &Path, e: &io::Error) -> ApiError {
    let message = format!("cannot {verb} {}: {e}", path.display());
    ApiError::new(ErrorCode::Disk, message).hint("check who owns it and whether the disk is full")
}

#[cfg(test)]
mod tests;
