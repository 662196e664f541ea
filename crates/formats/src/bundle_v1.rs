//! The file in which claude-sync-sessions carries a session: `<id>.bundle.gz`,
//! version 1. Gzip of a JSON document with the session's lines, and a SHA-256 over
//! the part that holds them.
//!
//! [`Bundle::open`] looks at a whole file and says what is in it, and
//! [`Bundle::contents`] gives the content, piece by piece; neither holds more than
//! a buffer of it. [`Writer`] makes such a file. What a file in it may be called is
//! decided by [`crate::claude::layout`] and nothing else: a name becomes a slot or
//! is left out, and no name becomes a path.
//!
//! The checksum proves that nothing was damaged, and nothing about who wrote it:
//! whoever alters a bundle makes a new one. What is kept where is in
//! docs/BRIDGES.md; the source of the format is claude-sync-sessions 0.2.2.

mod base64;
mod canonical;
pub mod config;
pub mod http;
pub mod names;
mod read;
mod scan;
pub mod tokens;
mod write;

use ccpeer_core::id::SessionId;
use ccpeer_core::manifest::Slot;
use ccpeer_core::time::Timestamp;

pub use self::canonical::{CanonicalError, canonical};
pub use self::read::{Bundle, OpenError, first_prompt};
pub use self::scan::Fault;
pub use self::write::{Description, WriteError, Writer};

/// A packed bundle, unless the caller says otherwise.
pub const PACKED_BYTES_MAX: usize = 64 * 1024 * 1024;
/// What it may unpack to, likewise.
pub const UNPACKED_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// A bundle whose checksum is computed as the other program does where it is not
/// that of the bytes: by reading all of it and writing it anew.
pub const CANONICAL_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Files in one bundle; of more, the first ones are taken.
pub const FILES_MAX: usize = ccpeer_core::limits::MANIFEST_SLOTS_MAX;
/// Things that are told one by one; the rest is counted.
pub const WARNINGS_MAX: usize = 64;
/// How the name of the file ends.
pub const FILE_SUFFIX: &str = ".bundle.gz";
/// Stands for the project's directory.
pub const PROJECT_TOKEN: &str = "${PROJECT_ROOT}";
/// Stands for the home directory.
pub const HOME_TOKEN: &str = "${HOME}";
/// What a bundle says in which ccpeer wrote it.
const OURS: &str = "ccpeer";
/// A text about a bundle: names, paths, the first prompt.
const TEXT_BYTES_MAX: usize = ccpeer_core::limits::FOREIGN_PATH_BYTES_MAX;

/// How much of a stranger's file is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// As it comes.
    pub packed_bytes_max: usize,
    /// Unpacked.
    pub unpacked_bytes_max: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            packed_bytes_max: PACKED_BYTES_MAX,
            unpacked_bytes_max: UNPACKED_BYTES_MAX,
        }
    }
}

/// What a bundle says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The session.
    pub session: SessionId,
    /// When it was written, by that machine's clock.
    pub exported: Option<Timestamp>,
    /// When the newest of its files changed, likewise. A label.
    pub updated: Option<Timestamp>,
    /// What the machine calls itself.
    pub device: String,
    /// The project.
    pub project: Project,
    /// The first prompt, cut; it may show paths of its machine.
    pub first_prompt: String,
    /// SHA-256 of the part that holds the session, in hexadecimal.
    pub checksum: String,
    /// Whether it says that ccpeer wrote it.
    pub ours: bool,
}

/// The project of a bundle: foreign texts, none of them a path here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Project {
    /// Last part of its path.
    pub name: String,
    /// Where it lies below a directory that holds projects, `/`-separated; only if
    /// that is a way downwards.
    pub below_root: Option<String>,
    /// Where it lay on its machine.
    pub path: String,
}

/// A file that a bundle holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// What it is.
    pub slot: Slot,
    /// Its bytes, with tokens where those stand.
    pub bytes: u64,
}

/// The parts of a bundle that hold files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The transcript.
    Messages,
    /// Sub-agents.
    Agents,
    /// Todo lists.
    Todos,
    /// Files as they were before a change.
    FileHistory,
}

/// What of a bundle was not taken, and why. The number says which one of its part,
/// from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    /// A name that no file of this session has.
    #[error("{part:?} {number}: not a name of a file of this session")]
    Name {
        /// Where.
        part: Part,
        /// Which.
        number: usize,
    },
    /// A second file of one name.
    #[error("{part:?} {number}: a second file of its name")]
    Twin {
        /// Where.
        part: Part,
        /// Which.
        number: usize,
    },
    /// It is no text, or no base64.
    #[error("{part:?} {number}: not readable")]
    Content {
        /// Where.
        part: Part,
        /// Which.
        number: usize,
    },
    /// Too many of them.
    #[error("{part:?} {number}: more files than a session has")]
    Count {
        /// Where.
        part: Part,
        /// Which.
        number: usize,
    },
    /// Something in it is not of the kind that it should be.
    #[error("{0} is not what it should be")]
    Field(&'static str),
    /// What is not told one by one.
    #[error("{0} more")]
    More(usize),
}

/// Which of a session's files a bundle can hold, and where.
#[must_use]
pub fn part_of(slot: &Slot) -> Option<Part> {
    match slot {
        Slot::Main => Some(Part::Messages),
        Slot::Subagent(_) => Some(Part::Agents),
        Slot::Todo(_) => Some(Part::Todos),
        Slot::FileHistory { .. } => Some(Part::FileHistory),
        Slot::SubagentMeta(_)
        | Slot::ToolResult(_)
        | Slot::Task(_)
        | Slot::TaskHighWater
        | Slot::Plan(_)
        | Slot::Opaque(_) => None,
    }
}

/// Bytes as lower-case hexadecimal.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests;
