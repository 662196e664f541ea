//! What two peers say to each other on the control stream.
//!
//! One message is a `u32` length (little endian) and that many bytes, at most
//! [`limits::MESSAGE_BYTES_MAX`]. The first byte is [`WIRE_VERSION`]. Chunks do
//! not travel here; see PROTOCOL.md.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::codec::{self, DecodeError};
use crate::digest::{Digests, Parts};
use crate::entry::SignedEntry;
use crate::limits;
use crate::log::Held;
use crate::manifest::Want;

/// Version of every message, its first byte.
pub const WIRE_VERSION: u8 = 1;

/// A message of the control stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// First word of both sides. Until it is answered, nothing else is said and
    /// the peer does not count as connected.
    Hello(Hello),
    /// How far I know whose log. An invitation to send what I lack.
    Have(Vec<Held>),
    /// Entries of one log, in order, without a gap.
    Entries(Vec<SignedEntry>),
    /// I hold these manifests with all their chunks, and these snapshots. A list
    /// page is never among them.
    Complete(Vec<Want>),
    /// Nothing new; answers to prove that I am here.
    Ping(u64),
    /// The answer to a ping.
    Pong(u64),
    /// Content of what I am about to state, before anybody asks for it. How it is
    /// packed is the business of chunk streams; see PROTOCOL.md.
    Parcel(Vec<u8>),
    /// The digests of what I would tell you to be whole here, as the link begins.
    /// Where yours are the same, you know what I hold.
    Digests(Digests),
    /// Tell me by [`Message::Complete`] what is whole in these parts: my digests
    /// of them are not yours.
    Unlike(Parts),
}

/// How a link begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Drawn at every start of an agent: tells a restart, or a clone, from a
    /// link that is still alive.
    pub incarnation: [u8; 16],
    /// The device's name for itself. A suggestion.
    pub name: String,
    /// Operating system.
    pub os: String,
    /// Version of ccpeer, to be shown only.
    pub version: String,
}

impl Message {
    /// Version byte and message.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = alloc::vec![WIRE_VERSION];
        bytes.extend_from_slice(&codec::encode(self));
        bytes
    }

    /// Decodes what came, within its bounds.
    ///
    /// # Errors
    /// See [`DecodeError`]. Any error is the peer's fault and ends the link.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (version, rest) = bytes.split_first().ok_or(DecodeError::Malformed)?;
        if *version != WIRE_VERSION {
            return Err(DecodeError::Version(*version));
        }
        let message: Self = codec::decode(rest, limits::MESSAGE_BYTES_MAX)?;
        let bounded = match &message {
            Self::Hello(h) => h.name.len() <= 1024 && h.os.len() <= 64 && h.version.len() <= 64,
            Self::Have(f) => f.len() <= limits::FRONTIER_LOGS_MAX,
            Self::Entries(e) => !e.is_empty() && e.len() <= limits::MESSAGE_ENTRIES_MAX,
            Self::Complete(c) => {
                c.len() <= limits::MESSAGE_ENTRIES_MAX && c.iter().all(|w| w.kind.is_root())
            }
            Self::Ping(_) | Self::Pong(_) | Self::Digests(_) | Self::Unlike(_) => true,
            Self::Parcel(bytes) => bytes.len() <= limits::PARCEL_BYTES_MAX,
        };
        if bounded {
            Ok(message)
        } else {
            Err(DecodeError::OutOfBounds("message"))
        }
    }
}
