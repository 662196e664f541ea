//! The skill that lets Claude itself answer "what is in my unfinished tasks?".
//! It is written only where nothing is or where what is there is ours, and
//! removed only as long as nobody has changed it.

use std::fs;
use std::io;
use std::path::PathBuf;

use serde::Serialize;

use super::{Installed, file, hash, make_private_dir};
use crate::home::Home;

/// The text, with its trigger phrases in English and Chinese.
pub(super) const SKILL: &str = include_str!("skill.md");

/// What was done about the skill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SkillChange {
    /// It was as it should be.
    Unchanged,
    /// It was written.
    Written,
    /// It was removed.
    Removed,
    /// Somebody has changed it, so it was left alone.
    KeptForeign,
}

/// What is in the skill's place.
enum Found {
    Nothing,
    Current,
    /// As an earlier version of us wrote it.
    Earlier,
    Foreign,
}

pub(super) fn install(home: &Home) -> io::Result<SkillChange> {
    match look(home) {
        Found::Current => return Ok(SkillChange::Unchanged),
        Found::Foreign => return Ok(SkillChange::KeptForeign),
        Found::Nothing | Found::Earlier => {}
    }
    make_private_dir(&dir(home))?;
    file::write_private(&path(home), SKILL.as_bytes())?;
    file::write_private(&record(home), hash(SKILL.as_bytes()).as_bytes())?;
    Ok(SkillChange::Written)
}

pub(super) fn remove(home: &Home) -> io::Result<SkillChange> {
    match look(home) {
        Found::Nothing => return Ok(SkillChange::Unchanged),
        Found::Foreign => return Ok(SkillChange::KeptForeign),
        Found::Current | Found::Earlier => {}
    }
    fs::remove_file(path(home))?;
    let _ = fs::remove_file(record(home));
    // Directories with anything else in them stay.
    let _ = fs::remove_dir(dir(home)).and_then(|()| fs::remove_dir(all(home)));
    Ok(SkillChange::Removed)
}

pub(super) fn status(home: &Home) -> Installed {
    match look(home) {
        Found::Nothing => Installed::Missing,
        Found::Current => Installed::Installed,
        Found::Earlier | Found::Foreign => Installed::Partial,
    }
}

fn look(home: &Home) -> Found {
    let path = path(home);
    let Ok(meta) = fs::symlink_metadata(&path) else {
        return Found::Nothing;
    };
    if !meta.is_file() || meta.len() > 64 * 1024 {
        return Found::Foreign;
    }
    let Ok(bytes) = fs::read(&path) else {
        return Found::Foreign;
    };
    if bytes == SKILL.as_bytes() {
        return Found::Current;
    }
    match fs::read(record(home)) {
        Ok(written) if written == hash(&bytes).as_bytes() => Found::Earlier,
        _ => Found::Foreign,
    }
}

fn all(home: &Home) -> PathBuf {
    home.claude().join("skills")
}

fn dir(home: &Home) -> PathBuf {
    all(home).join("ccpeer")
}

fn path(home: &Home) -> PathBuf {
    dir(home).join("SKILL.md")
}

/// Hash of the skill as we wrote it last.
fn record(home: &Home) -> PathBuf {
    home.settings_backups().join("skill")
}
