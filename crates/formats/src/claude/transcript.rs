//! The main transcript of a session, read once from front to back and digested
//! into what lists and snapshots need.
//!
//! A [`Digest`] takes the file in pieces of any size, keeps a bounded state and
//! can be laid aside and taken up again at [`Digest::offset`]. It reads leniently: a line
//! that is no record, has an unknown type or an odd field costs at most itself.
//! Must not know how to change a transcript; that is `rewrite`'s.
//!
//! **Which branch.** A transcript is a tree (rewinding leaves the old branch in
//! the file), and Claude Code continues one leaf of it. The rule is Claude
//! Code's own: the last `last-prompt` record that names a record of the file,
//! then the last line that descends from it; without one, the last line.
//! Prompts and answers are those on the way from there to the root, through
//! compactions. What a session did to the world (files, commands, commits, the
//! task list) counts in the order of the file: rewinding does not undo it.
//!
//! **Texts** in a [`Summary`] are cut to their bounds and free of control
//! characters; **paths** in it are verbatim.
//!
//! Source of the format: transcripts of Claude Code 2.1.54 to 2.1.329.

mod chain;
mod diff;
mod fields;
mod matter;
mod prompt;
mod record;
mod state;
mod summary;
mod talk;
mod told;
mod tools;

use ccpeer_core::codec::{self, DecodeError};
use ccpeer_core::limits;
use serde::{Deserialize, Serialize};

pub use self::diff::Diff;
pub use self::matter::{By, Matter, matter};
pub use self::summary::{CommandRun, Commit, EditedFile, PendingTool, Prompt, Summary, TurnState};
pub use self::talk::{Said, Who, talk};
pub use self::told::{Call, Part, Text, Told, agent_about, told};

use self::state::State;
use super::json;
use super::partial::PartialLine;

/// Version of a digest that was laid aside. One of another version is thrown
/// away and the file read again.
pub const DIGEST_VERSION: u8 = 2;

/// Whether a line is Claude Code's bookkeeping and no part of the conversation:
/// a state record (no `uuid`; the title, the mode, the cost so far, file history,
/// the last prompt). Such lines are written again at the next opportunity, also
/// after the last hook of a session; losing one loses no word of anybody.
#[must_use]
pub fn is_bookkeeping(line: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Record<'a> {
        #[serde(borrow, rename = "type")]
        kind: std::borrow::Cow<'a, str>,
        uuid: Option<serde::de::IgnoredAny>,
    }
    serde_json::from_slice::<Record<'_>>(line).is_ok_and(|record| {
        let speaks = [
            "user",
            "assistant",
            "attachment",
            "system",
            "progress",
            "summary",
        ];
        record.uuid.is_none() && !speaks.contains(&&*record.kind)
    })
}

/// What has been read of a transcript so far.
#[derive(Debug, Clone, Default)]
pub struct Digest {
    state: State,
    /// Bytes of whole lines.
    offset: u64,
    /// The line that has begun.
    tail: PartialLine,
}

impl Digest {
    /// Reads on.
    pub fn feed(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some((line, after)) = split_line(rest) {
            rest = after;
            if self.tail.len() == 0 && line.len() <= limits::TRANSCRIPT_LINE_BYTES_MAX {
                self.state.line(line);
                self.offset += line.len() as u64 + 1;
                continue;
            }
            self.tail.push(line);
            self.offset += self.tail.len() + 1;
            match self.tail.end() {
                Some(whole) => {
                    self.state.line(&whole);
                }
                None => self.state.overlong_line(),
            }
        }
        self.tail.push(rest);
    }

    /// Bytes up to and with the last line break. Whoever takes up a digest again
    /// feeds the file from here.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// What the session is about, as of the last byte fed. A last line without
    /// its line break counts if it is whole.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let mut with_tail = None;
        let mut torn = self.tail.len() > 0;
        if let Some(tail) = self.tail.whole().filter(|_| torn) {
            let mut state = self.state.clone();
            if state.line(tail) {
                torn = false;
                with_tail = Some(state);
            }
        }
        let mut summary = with_tail.as_ref().unwrap_or(&self.state).summary();
        summary.bytes = self.offset + self.tail.len();
        summary.torn_tail = torn;
        summary
    }

    /// The digest up to [`Digest::offset`], to be laid aside.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        codec::encode(&Saved {
            version: DIGEST_VERSION,
            offset: self.offset,
            state: self.state.clone(),
        })
    }

    /// Takes up a digest again.
    ///
    /// # Errors
    /// See [`DecodeError`]. None of them is a loss: the file can be read again.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        match bytes.first() {
            Some(&DIGEST_VERSION) => {}
            Some(&other) => return Err(DecodeError::Version(other)),
            None => return Err(DecodeError::Malformed),
        }
        let saved: Saved = codec::decode(bytes, limits::DIGEST_BYTES_MAX)?;
        Ok(Self {
            state: saved.state,
            offset: saved.offset,
            ..Self::default()
        })
    }
}

/// A digest as it is laid aside.
#[derive(Serialize, Deserialize)]
struct Saved {
    version: u8,
    offset: u64,
    state: State,
}

/// Where the first line break is.
#[must_use]
pub fn line_break(bytes: &[u8]) -> Option<usize> {
    memchr::memchr(b'\n', bytes)
}

/// Where the last line break is.
#[must_use]
pub fn last_line_break(bytes: &[u8]) -> Option<usize> {
    memchr::memrchr(b'\n', bytes)
}

/// The first line and what comes after its line break.
fn split_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = line_break(bytes)?;
    Some((bytes.get(..at)?, bytes.get(at + 1..)?))
}

#[cfg(test)]
mod tests;
