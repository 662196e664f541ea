//! The names around a bundle: its own, those of the files in it, and where it lies
//! in a repository. Every name that comes from elsewhere either is one that we
//! would have made, or is none.

use ccpeer_core::id::SessionId;
use ccpeer_core::manifest::Slot;
use ccpeer_core::text;

use super::{FILE_SUFFIX, Part};
use crate::claude::layout::{self, Classified, Place};

/// The directory of a repository that holds bundles.
pub const DIRECTORY: &str = "sessions";
/// Characters of the first prompt in a label, in units of UTF-16.
const LABEL_UNITS_MAX: usize = 50;
/// Characters of a name that becomes one of a directory.
const NAME_CHARS_MAX: usize = 128;
/// Any name of a project's directory: no place is made of it.
const SLUG: &str = "-";

/// The slot of a file in a bundle; nothing if a session has no file of this name.
#[must_use]
pub fn slot(part: Part, name: &str, session: &SessionId) -> Option<Slot> {
    let place = match part {
        Part::Messages => return None,
        Part::Agents => Place::Subagents,
        Part::Todos => Place::Todos,
        Part::FileHistory => Place::FileHistory,
    };
    let sources = layout::sources(session, SLUG);
    let source = sources.iter().find(|s| s.place == place)?;
    match layout::slot_of(source, name) {
        Classified::Slot(slot) => (super::part_of(&slot) == Some(part)).then_some(slot),
        Classified::Ignored | Classified::Unknown | Classified::Other => None,
    }
}

/// The name that a file of this slot has in a bundle.
#[must_use]
pub fn name(slot: &Slot, session: &SessionId) -> Option<String> {
    super::part_of(slot)?;
    layout::path_of(slot, session, SLUG)?.pop()
}

/// The name of a bundle.
#[must_use]
pub fn file_name(session: &SessionId) -> String {
    format!("{session}{FILE_SUFFIX}")
}

/// The session whose bundle a file of this name is.
#[must_use]
pub fn session_of(file_name: &str) -> Option<SessionId> {
    file_name.strip_suffix(FILE_SUFFIX)?.parse().ok()
}

/// Where a bundle lies in a repository, `/`-separated.
#[must_use]
pub fn path(project: &str, session: &SessionId) -> String {
    format!("{DIRECTORY}/{}/{}", directory(project), file_name(session))
}

/// The project's directory and the session of a path in a repository.
#[must_use]
pub fn of_path(path: &str) -> Option<(&str, SessionId)> {
    let below = path.strip_prefix(DIRECTORY)?.strip_prefix('/')?;
    let (directory, file) = below.split_once('/')?;
    let session = session_of(file)?;
    (!matches!(directory, "" | "." | "..")).then_some((directory, session))
}

/// The name of a project as one of a directory: every unit of UTF-16 outside of
/// `[A-Za-z0-9._-]` is an underscore.
#[must_use]
pub fn directory(project: &str) -> String {
    let mut out = String::new();
    for c in project.chars().take(NAME_CHARS_MAX) {
        if c.is_ascii_alphanumeric() || "._-".contains(c) {
            out.push(c);
        } else {
            out.extend(std::iter::repeat_n('_', c.len_utf16()));
        }
    }
    match out.as_str() {
        "" | "." | ".." => "_".to_owned(),
        _ => out,
    }
}

/// What a bundle is called in lists, and the message of the commit that brings it.
#[must_use]
pub fn label(session: &SessionId, project: &str, first_prompt: &str) -> String {
    let line = |t: &str| text::one_line(t, NAME_CHARS_MAX);
    let prompt = units(&line(first_prompt), LABEL_UNITS_MAX).to_owned();
    format!("sync: {} | {} | {prompt}", session.short(), line(project))
}

/// The beginning of a text in units of UTF-16; a pair is not split.
#[must_use]
pub fn units(text: &str, units_max: usize) -> &str {
    let mut units = 0;
    let end = text.char_indices().find(|(_, c)| {
        units += c.len_utf16();
        units > units_max
    });
    let end = end.map_or(text.len(), |(at, _)| at);
    text.get(..end).unwrap_or(text)
}

/// A place below a directory, if the way leads downwards only and has a name for
/// every system.
#[must_use]
pub fn downwards(below: &str) -> Option<String> {
    let plain = below.split('/').all(layout::is_component);
    (plain && below.len() <= super::TEXT_BYTES_MAX).then(|| below.to_owned())
}
