//! Every id is its own type. A `[u8; 32]` or a `String` never stands for one.
//!
//! Display is lower-case hex (sessions: the hyphenated UUID form that Claude
//! Code uses as a file name); `FromStr` accepts exactly that form back.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a text is not an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The text has another length than the id.
    #[error("id has the wrong length")]
    Length,
    /// A character that may not stand at this place.
    #[error("id has an unexpected character at position {0}")]
    Character(usize),
}

fn hex_value(c: u8) -> Option<u8> {
    match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    }
}

fn parse_hex<const N: usize>(text: &str) -> Result<[u8; N], IdError> {
    if text.len() != N * 2 {
        return Err(IdError::Length);
    }
    let mut out = [0u8; N];
    for (i, (pair, slot)) in text
        .as_bytes()
        .chunks_exact(2)
        .zip(out.iter_mut())
        .enumerate()
    {
        let [hi, lo] = pair else {
            return Err(IdError::Length);
        };
        let hi = hex_value(*hi).ok_or(IdError::Character(i * 2))?;
        let lo = hex_value(*lo).ok_or(IdError::Character(i * 2 + 1))?;
        *slot = hi << 4 | lo;
    }
    Ok(out)
}

/// Bytes that are spelled in one go: the longest id.
const SPELLED_MAX: usize = 32;

/// In lower case. Lists spell tens of thousands of ids.
fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for part in bytes.chunks(SPELLED_MAX) {
        let mut spelled = [0u8; 2 * SPELLED_MAX];
        for (two, b) in spelled.chunks_exact_mut(2).zip(part) {
            for (digit, nibble) in two.iter_mut().zip([b >> 4, b & 15]) {
                *digit = DIGITS.get(usize::from(nibble)).copied().unwrap_or(b'?');
            }
        }
        let spelled = spelled.get(..2 * part.len()).unwrap_or_default();
        f.write_str(core::str::from_utf8(spelled).unwrap_or_default())?;
    }
    Ok(())
}

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// Length in bytes.
            pub const LEN: usize = $len;

            /// The first four bytes in hex: for people, never for look-up by a program.
            #[must_use]
            pub fn short(&self) -> alloc::string::String {
                let mut s = alloc::format!("{self}");
                s.truncate(8);
                s
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(f, &self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.short())
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                parse_hex(text).map(Self)
            }
        }
    };
}

id_type!(
    /// One installation: its Ed25519 public key, which is also its iroh endpoint id.
    DeviceId, 32
);
id_type!(
    /// One life of a device's store. A fresh one is drawn when a store is created
    /// or when its own tail can no longer be proven (restored backup, clone), so
    /// that a sequence number is never used twice.
    Epoch, 16
);
id_type!(
    /// BLAKE3 of an entry's signed header bytes. Names a version of a session too.
    EntryHash, 32
);
id_type!(
    /// BLAKE3 of a chunk's content (uncompressed).
    ChunkId, 32
);
id_type!(
    /// BLAKE3 of a whole file's content.
    FileHash, 32
);

impl ChunkId {
    /// The id of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

impl FileHash {
    /// The hash of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

impl EntryHash {
    /// What stands before the first entry of a log.
    pub const ZERO: Self = Self([0; 32]);
}

/// A session of Claude Code: the UUID that is the stem of its transcript's name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SessionId(pub [u8; 16]);

impl SessionId {
    /// Length of the text form.
    pub const TEXT_LEN: usize = 36;
    const HYPHENS: [usize; 4] = [8, 13, 18, 23];

    /// The first eight characters: for people.
    #[must_use]
    pub fn short(&self) -> alloc::string::String {
        let mut s = alloc::format!("{self}");
        s.truncate(8);
        s
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, range) in [0..4, 4..6, 6..8, 8..10, 10..16].into_iter().enumerate() {
            if i > 0 {
                f.write_str("-")?;
            }
            write_hex(f, self.0.get(range).unwrap_or_default())?;
        }
        Ok(())
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({})", self.short())
    }
}

impl FromStr for SessionId {
    type Err = IdError;
    /// Lower-case hyphenated form only: what Claude Code writes, and the only
    /// form that may become part of a file name.
    fn from_str(text: &str) -> Result<Self, IdError> {
        if text.len() != Self::TEXT_LEN {
            return Err(IdError::Length);
        }
        let mut hex = alloc::string::String::with_capacity(32);
        for (i, c) in text.bytes().enumerate() {
            match (Self::HYPHENS.contains(&i), c) {
                (true, b'-') => {}
                (false, c) if hex_value(c).is_some() => hex.push(char::from(c)),
                _ => return Err(IdError::Character(i)),
            }
        }
        parse_hex(&hex).map(Self)
    }
}

/// One chain of entries: a device in one of its epochs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LogId {
    /// Whose log it is.
    pub device: DeviceId,
    /// In which life of its store.
    pub epoch: Epoch,
}

impl LogId {
    /// The log of a device that no other one ever hears of.
    #[must_use]
    pub fn kept(device: DeviceId) -> Self {
        Self {
            device,
            epoch: Epoch::KEPT,
        }
    }

    /// Whether it is one that nobody but its device hears of, whoever's it is.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.epoch == Epoch::KEPT
    }
}

impl Epoch {
    /// The epoch of what a device says to itself alone: what it keeps of sessions
    /// that it shares not, or not whole. It is never drawn, announced, served or
    /// accepted; that it is the same everywhere lets everybody see it.
    pub const KEPT: Self = Self(*b"ccpeer/kept/here");
}

/// Number of an entry in its log. The first one is 1; 0 means "none yet".
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Seq(pub u64);

impl Seq {
    /// Before the first entry.
    pub const ZERO: Self = Self(0);

    /// The number after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn text_forms_round_trip() {
        let device = DeviceId([0xab; 32]);
        assert_eq!(device.to_string().parse(), Ok(device));
        let session: SessionId = "aa21a64c-b7a7-41b7-a51f-ceeccfa4623b".parse().unwrap();
        assert_eq!(session.to_string(), "aa21a64c-b7a7-41b7-a51f-ceeccfa4623b");
    }

    #[test]
    fn other_spellings_of_a_session_are_refused() {
        for bad in [
            "",
            "..",
            "AA21A64C-B7A7-41B7-A51F-CEECCFA4623B",
            "aa21a64cb7a741b7a51fceeccfa4623b",
            "../../../../../../../../../../../../x",
            "aa21a64c-b7a7-41b7-a51f-ceeccfa4623/",
        ] {
            assert!(bad.parse::<SessionId>().is_err(), "{bad}");
        }
    }
}
