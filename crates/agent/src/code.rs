//! The code that goes along with a session: how its work tree stood, taken without
//! a change to the repository, and made again in a work tree of its own.
//!
//! What is taken is a **capsule**: a document that says how things stood, and git's
//! own objects for what no remote has. It is made in a repository of ours that only
//! reads the user's ([`take`]), kept as a manifest like any other content ([`keep`]),
//! looked at as somebody else's before git here sees it ([`open`]), and unfolded
//! into a directory that did not exist ([`make`]); [`differs`] says how a checkout
//! stands to what a session saw. Must not know who wants it or when.

mod apply;
mod borrow;
pub(crate) mod differs;
mod error;
pub(crate) mod keep;
pub(crate) mod make;
mod open;
mod source;
mod status;
mod stream;
pub(crate) mod take;

use std::fs;
use std::path::{Path, PathBuf};

pub(crate) use error::CodeError;

use crate::home::Home;
use crate::random;

/// One file, as it lies in the work tree; a larger one is left out.
const FILE_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// All that is not in a commit that a remote has; what would be beyond it is left out.
const CONTENT_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// Files of that.
const FILES_MAX: usize = 4096;
/// Commits that no remote has and that are looked through.
const COMMITS_MAX: u64 = 500;
/// The objects of one repository, packed.
const PACK_BYTES_MAX: u64 = CONTENT_BYTES_MAX + 8 * 1024 * 1024;
/// The same when they are unpacked: what came from elsewhere may be packed so that it
/// gets out of hand.
const UNPACKED_BYTES_MAX: u64 = 8 * CONTENT_BYTES_MAX;
/// Objects in it.
const OBJECTS_MAX: usize = 64 * 1024;
/// Bytes of a list that git is asked for: of the index, of a tree, of what changed.
const LIST_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// How git takes in a pack that came from elsewhere.
const INDEX_PACK: [&str; 5] = [
    "index-pack",
    "--stdin",
    "--fix-thin",
    "--strict",
    "--threads=1",
];

/// A directory of ours to work in. Gone with this, or at the next start.
struct Scratch(PathBuf);

impl Scratch {
    fn new(home: &Home) -> Result<Self, CodeError> {
        let name: [u8; 8] = random::bytes().map_err(|_| CodeError::Random)?;
        let dir = home
            .code()
            .join(format!("{:016x}", u64::from_le_bytes(name)));
        crate::start::private_dir(&home.code()).map_err(CodeError::Disk)?;
        crate::start::private_dir(&dir).map_err(CodeError::Disk)?;
        Ok(Self(dir))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _next_time = fs::remove_dir_all(&self.0);
    }
}

/// Removes what an agent that was ended in the middle of it has left.
pub(crate) fn sweep(home: &Home) {
    let _none = fs::remove_dir_all(home.code());
}

#[cfg(test)]
mod tests;
