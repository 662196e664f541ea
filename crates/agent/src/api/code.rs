//! The local protocol's words for the code that goes along with a session: part of
//! [`super`], told apart because it is long.

use serde::{Deserialize, Serialize};

use super::DeviceName;

/// A choice for one project in `policy`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectCode {
    /// Its directory here; what lies in it follows.
    pub dir: String,
    /// Whether the code goes along.
    pub on: bool,
}

impl ProjectCode {
    pub(crate) fn of((dir, on): (&String, &bool)) -> Self {
        Self {
            dir: dir.clone(),
            on: *on,
        }
    }
}

/// How the code stands, in `continue`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Code {
    /// As the session saw it last; null if that is not known.
    pub there: Option<CodeThere>,
    /// In the checkout here; null if there is none.
    pub here: Option<CodeHere>,
    /// What came along; null if nothing did.
    pub capsule: Option<CodeCapsule>,
    /// The work tree that was made of it; null unless that was asked for.
    pub worktree: Option<CodeWorktree>,
}

/// As a session saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeThere {
    /// Empty if none was checked out.
    pub branch: String,
    /// Its whole name or the beginning of it; empty before the first.
    pub commit: String,
    /// Files that differed from it.
    pub changed: Option<u64>,
}

/// A checkout here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeHere {
    /// Its top.
    pub dir: String,
    /// Empty if none is checked out.
    pub branch: String,
    /// Empty before the first.
    pub commit: String,
    /// Files that differ from it.
    pub changed: u64,
    /// Whether the commit that the session saw is here; null if that is not known.
    pub knows_commit: Option<bool>,
    /// Commits that only this checkout has.
    pub ahead: Option<u64>,
    /// Commits that only the other one had.
    pub behind: Option<u64>,
}

/// What came along with a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeCapsule {
    /// All of it is here.
    pub complete: bool,
    /// The version of the session that it belongs to.
    pub version: String,
    /// Whether that is the one that is continued, and not an earlier one.
    pub current: bool,
    /// Who wrote it.
    pub device: DeviceName,
    /// When, by that device's clock: RFC 3339.
    pub at: String,
    /// Commits there that no remote has.
    pub unsent: u64,
    /// Why those did not come along; null if they did.
    pub commits_left_out: Option<String>,
    /// Why nothing came along; null if something did.
    pub content_left_out: Option<String>,
    /// Files that did not come along.
    pub left_out: Vec<CodeLeftOut>,
    /// How many more did not.
    pub left_out_more: u64,
}

/// A file that did not come along.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeLeftOut {
    /// Below the top of the repository; of a submodule's with its place before it.
    pub path: String,
    /// A few words.
    pub why: String,
}

/// A work tree that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeWorktree {
    /// Its top.
    pub dir: String,
    /// The clone that it belongs to.
    pub clone: String,
    /// The branch in it; null if none is checked out.
    pub branch: Option<String>,
    /// What is not as it was there, a line each.
    pub notes: Vec<String>,
    /// What removes it.
    pub remove: Vec<String>,
}
