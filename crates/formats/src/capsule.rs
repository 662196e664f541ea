//! What a capsule says about itself: how a work tree stood, which objects of git's
//! stand for it, and what was left out of it and why.
//!
//! It comes from another device and is a stranger's text: [`Capsule::from_bytes`]
//! takes nothing that could be a path out of the repository, or a name that is not
//! an object's. Must not know where a repository lies.

use ccpeer_core::text;
use serde::{Deserialize, Serialize};

/// Version of the document.
pub const CAPSULE_VERSION: u32 = 1;
/// Bytes of the document.
pub const CAPSULE_BYTES_MAX: usize = 1024 * 1024;
/// Files that are named because they were left out; of more only the number.
pub const LEFT_OUT_MAX: usize = 256;
/// Paths of one repository that are in the middle of being merged, and entries of
/// the index for them.
pub const UNMERGED_MAX: usize = 3 * 1024;
/// Files that are announced to the index and not in it.
pub const INTENDED_MAX: usize = 1024;
/// Commits that whoever unpacks it must have.
pub const NEEDS_MAX: usize = 64;
/// Submodules of one capsule, at any depth, and how deep they lie in each other.
pub const SUBMODULES_MAX: usize = 32;
/// See above.
pub const SUBMODULE_DEPTH_MAX: usize = 3;
/// Bytes of a path below a repository's top.
pub const REPO_PATH_BYTES_MAX: usize = 4096;
/// Bytes of the name of a branch.
const BRANCH_BYTES_MAX: usize = 1024;

/// How a work tree stood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capsule {
    /// [`CAPSULE_VERSION`].
    pub v: u32,
    /// The branch; empty if none was checked out.
    #[serde(default)]
    pub branch: String,
    /// The commit that was checked out; empty before the first.
    #[serde(default)]
    pub head: String,
    /// What is being merged into it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub merging: Vec<String>,
    /// Files that differed from it, those that were left out included.
    #[serde(default)]
    pub changed: u64,
    /// Commits that are in no branch of a remote.
    #[serde(default)]
    pub unsent: u64,
    /// Why those commits did not come along; nothing if they did, or if there are
    /// none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commits_left_out: Option<Why>,
    /// Why nothing but this document came along; nothing if all did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_left_out: Option<Why>,
    /// Commits that whoever unpacks it must have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<String>,
    /// The objects; nothing if none differ from the commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pack: Option<Pack>,
    /// Entries of the index that are in the middle of being merged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unmerged: Vec<Unmerged>,
    /// Files that are announced to the index and not in it (`git add -N`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub intended: Vec<String>,
    /// What was left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
    /// How many more were left out.
    #[serde(default)]
    pub left_out_more: u64,
    /// The submodules that were checked out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub submodules: Vec<Submodule>,
}

/// Git's objects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pack {
    /// Which file of the capsule they are.
    pub file: u32,
    /// The commit whose tree is the index.
    pub index: String,
    /// The commit whose tree is the work tree.
    pub work: String,
}

/// An entry of the index that is in the middle of being merged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unmerged {
    /// Where.
    pub path: String,
    /// 1 to 3.
    pub stage: u8,
    /// As git writes it.
    pub mode: String,
    /// The object.
    pub oid: String,
}

/// A file that did not come along.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Below the top of its repository, `/`-separated. A label: shown and never
    /// opened.
    pub path: String,
    /// Why.
    pub why: Why,
}

/// Why something did not come along.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// It is too large.
    TooLarge,
    /// Together with the rest it would be too much.
    TooMuch,
    /// It looks as if a secret were in it.
    Secret,
    /// Its name cannot be one on every system.
    Name,
    /// It is a link that leads out of the repository.
    Link,
    /// It is neither a file nor a link.
    Kind,
    /// It is a repository of its own.
    Repository,
    /// It could not be read, or changed while it was read.
    Unreadable,
    /// Something that a newer ccpeer knows.
    #[serde(other)]
    Other,
}

/// A repository in the repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submodule {
    /// Where.
    pub path: String,
    /// How it stood; nothing if that could not be found out.
    pub capsule: Option<Capsule>,
}

/// Why bytes are no capsule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CapsuleError {
    /// More bytes than [`CAPSULE_BYTES_MAX`].
    #[error("capsule of {0} bytes exceeds the limit")]
    TooLong(usize),
    /// No JSON object of this shape.
    #[error("capsule is malformed at line {line}, column {column}")]
    Malformed {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// Made by a newer ccpeer.
    #[error("capsule version {0} is not supported")]
    Version(u32),
    /// It breaks a rule.
    #[error("capsule breaks a rule: {0}")]
    Rule(&'static str),
}

impl Why {
    /// In a few words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::TooLarge => "too large",
            Self::TooMuch => "too much together with the rest",
            Self::Secret => "looks like a secret",
            Self::Name => "its name cannot be one on every system",
            Self::Link => "a link that leads out of the repository",
            Self::Kind => "neither a file nor a link",
            Self::Repository => "a repository of its own",
            Self::Unreadable => "it could not be read",
            Self::Other => "for a reason that a newer ccpeer knows",
        }
    }
}

impl Capsule {
    /// Encodes the document: the same value gives the same bytes.
    #[must_use]
    #[expect(
        clippy::expect_used,
        reason = "strings and numbers have no failing encoder"
    )]
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("encoding to memory cannot fail")
    }

    /// Decodes and checks a document of any device.
    ///
    /// # Errors
    /// See [`CapsuleError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CapsuleError> {
        #[derive(Deserialize)]
        struct Versioned {
            v: u32,
        }
        if bytes.len() > CAPSULE_BYTES_MAX {
            return Err(CapsuleError::TooLong(bytes.len()));
        }
        let malformed = |e: serde_json::Error| CapsuleError::Malformed {
            line: e.line(),
            column: e.column(),
        };
        match serde_json::from_slice(bytes).map_err(malformed)? {
            Versioned { v: CAPSULE_VERSION } => {}
            Versioned { v } => return Err(CapsuleError::Version(v)),
        }
        let mut capsule: Self = serde_json::from_slice(bytes).map_err(malformed)?;
        let mut left = SUBMODULES_MAX;
        capsule
            .check(SUBMODULE_DEPTH_MAX, &mut left)
            .map_err(CapsuleError::Rule)?;
        Ok(capsule)
    }

    /// The files that the whole of it names, its submodules' included.
    #[must_use]
    pub fn files(&self) -> Vec<u32> {
        let inner = self.submodules.iter().filter_map(|s| s.capsule.as_ref());
        let inner = inner.flat_map(Self::files);
        self.pack.iter().map(|p| p.file).chain(inner).collect()
    }

    fn check(&mut self, depth: usize, submodules: &mut usize) -> Result<(), &'static str> {
        let is = |ok: bool, what: &'static str| if ok { Ok(()) } else { Err(what) };
        is(self.branch.len() <= BRANCH_BYTES_MAX, "branch")?;
        is(self.head.is_empty() || is_oid(&self.head), "commit")?;
        is(
            self.needs.len() <= NEEDS_MAX && self.merging.len() <= NEEDS_MAX,
            "commits",
        )?;
        is(
            self.needs.iter().chain(&self.merging).all(|o| is_oid(o)),
            "commit",
        )?;
        if let Some(pack) = &self.pack {
            is(is_oid(&pack.index) && is_oid(&pack.work), "tree")?;
            is((pack.file as usize) <= SUBMODULES_MAX, "file")?;
        }
        is(self.unmerged.len() <= UNMERGED_MAX, "unmerged entries")?;
        for entry in &self.unmerged {
            is(is_repo_path(&entry.path), "path")?;
            is((1..=3).contains(&entry.stage), "stage")?;
            let plain = matches!(entry.mode.as_str(), "100644" | "100755" | "120000");
            is(plain && is_oid(&entry.oid), "unmerged entry")?;
        }
        is(self.intended.len() <= INTENDED_MAX, "intended files")?;
        is(self.intended.iter().all(|p| is_repo_path(p)), "path")?;
        is(self.left_out.len() <= LEFT_OUT_MAX, "files left out")?;
        for left in &mut self.left_out {
            left.path = text::one_line(&left.path, REPO_PATH_BYTES_MAX);
        }
        for submodule in &mut self.submodules {
            is(is_repo_path(&submodule.path), "path")?;
            *submodules = submodules.checked_sub(1).ok_or("submodules")?;
            if let Some(inner) = &mut submodule.capsule {
                let depth = depth.checked_sub(1).ok_or("depth of submodules")?;
                inner.check(depth, submodules)?;
            }
        }
        Ok(())
    }
}

/// Whether a text is the whole name of an object of git's.
#[must_use]
pub fn is_oid(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether a text is a path below the top of a repository that leads nowhere else,
/// on any system: no `..`, nothing that some file system takes for `.git`, no name
/// that Windows reads otherwise.
#[must_use]
pub fn is_repo_path(path: &str) -> bool {
    (1..=REPO_PATH_BYTES_MAX).contains(&path.len()) && path.split('/').all(is_name)
}

fn is_name(name: &str) -> bool {
    if name.is_empty() || name == "." || name == ".." {
        return false;
    }
    if name.contains(['\\', ':']) || name.chars().any(char::is_control) {
        return false;
    }
    // HFS+ passes over these, and takes what is left.
    let ignored = |c: char| matches!(c, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}');
    let plain: String = name.chars().filter(|c| !ignored(*c)).collect();
    // Windows passes over dots and spaces at the end.
    let plain = plain.trim_end_matches(['.', ' ']).to_ascii_lowercase();
    let short = plain.strip_prefix("git~");
    let is_short = short.is_some_and(|n| !n.is_empty() && n.bytes().all(|c| c.is_ascii_digit()));
    plain != ".git" && !plain.is_empty() && !is_short
}

/// Whether a link at this path of a repository leads to another place in it: neither
/// out of it nor into what is git's own.
#[must_use]
pub fn stays_within(path: &str, target: &str) -> bool {
    if target.is_empty() || target.starts_with('/') || target.contains(['\\', ':', '\0']) {
        return false;
    }
    let mut at: Vec<&str> = path.split('/').collect();
    at.pop();
    for name in target.split('/') {
        match name {
            "" | "." => {}
            ".." => {
                if at.pop().is_none() {
                    return false;
                }
            }
            name if is_name(name) => at.push(name),
            _ => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests;
