//! What is said about projects and their directories here.

use serde::{Deserialize, Serialize};

use super::DeviceName;

/// One row of `projects`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Project {
    /// Its name.
    pub name: String,
    /// Its directory here, if known.
    pub dir: Option<String>,
    /// How that is known.
    pub known: Option<KnownBy>,
    /// Whether nothing else here can be meant.
    #[serde(default)]
    pub certain: bool,
    /// Directories that may be meant, where there are several.
    #[serde(default)]
    pub candidates: Vec<String>,
    /// Normalised remotes.
    pub remotes: Vec<String>,
    /// Where in its repository it lies; empty at its top.
    #[serde(default)]
    pub subdir: String,
    /// Sessions of it.
    pub sessions: u64,
    /// The devices that have some.
    #[serde(default)]
    pub devices: Vec<DeviceName>,
}

/// How a project's directory is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KnownBy {
    /// The user said so.
    Said,
    /// Its repository has a remote of the project.
    GitRemote,
    /// Its repository begins with the same commit.
    FirstCommit,
    /// It lies at the same place below the home or a projects root.
    SamePlace,
    /// Sessions of it lie here.
    Sessions,
}

/// What is to be changed about projects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum ProjectChange {
    /// A project lies in this directory.
    Set {
        /// Its name, its directory, or the beginning of a remote.
        project: String,
        /// Absolute.
        dir: String,
    },
    /// What was said or remembered of a project does not count any more.
    Forget {
        /// As above.
        project: String,
    },
    /// Projects lie below this directory.
    AddRoot {
        /// Absolute.
        dir: String,
    },
    /// They do not, any more.
    RemoveRoot {
        /// Absolute.
        dir: String,
    },
    /// Nothing: tell the roots.
    Roots,
}

/// What holds after a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectsChanged {
    /// What was done, in a sentence; nothing if nothing was to be done.
    pub message: Option<String>,
    /// The project that was meant, as it stands now.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub project: Option<Project>,
    /// The directories that hold projects.
    pub roots: Vec<String>,
}

/// `mv`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectMoved {
    /// Where the project lay.
    pub from: String,
    /// Where it lies.
    pub to: String,
    /// Nothing was changed.
    pub dry_run: bool,
    /// What is remembered of projects and roots, and follows.
    pub mappings: u64,
    /// Its sessions here.
    pub sessions: Vec<SessionMoved>,
}

/// A session of a project that moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionMoved {
    /// Which.
    pub session_id: String,
    /// What became of it.
    pub result: MoveResult,
    /// Its directory before.
    pub from: String,
    /// Its directory.
    pub to: String,
    /// Its main transcript, where it was moved.
    pub path: Option<String>,
    /// Where what lay in the old place is kept.
    pub backup: Option<String>,
    /// Why it was not moved.
    pub reason: Option<String>,
}

/// What became of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MoveResult {
    /// It was moved, or would be.
    Moved,
    /// Somebody has it open.
    Live,
    /// It could not be moved.
    Failed,
}
