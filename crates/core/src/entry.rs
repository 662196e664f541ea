//! A signed, numbered statement of one device.
//!
//! An entry is a **header** that always travels and a **payload** that its author
//! may withhold; that he does is signed, too. The header carries the chain (device, epoch, number, hash of
//! the one before) and the payload's hash; it says nothing about sessions, so a
//! log can be checked for gaps by somebody who may not read it.
//!
//! The bytes that were signed are kept and passed on verbatim. Nothing is ever
//! re-encoded to verify it.

use alloc::string::String;
use alloc::vec::Vec;

use ed25519_dalek::{Signature, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::codec::{self, DecodeError};
use crate::id::{ChunkId, DeviceId, EntryHash, LogId, Seq, SessionId};
use crate::limits;
use crate::manifest::Want;
use crate::presence::SessionState;
use crate::roll::KeyRoll;
use crate::time::Timestamp;

/// Version of header and payload, first byte of each.
pub const ENTRY_VERSION: u8 = 1;

/// What every signature of an entry starts with, so that it can never pass for
/// a signature of something else made by the same key.
pub const SIGNATURE_DOMAIN: &[u8] = b"ccpeer/entry/v1\0";

/// What the signature of an entry starts with whose author keeps back what it
/// says. Nobody else can make one of an entry, and nobody can make one of the other.
pub const WITHHELD_DOMAIN: &[u8] = b"ccpeer/entry-withheld/v1\0";

/// The signed part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// [`ENTRY_VERSION`].
    pub version: u8,
    /// Whose log, in which epoch.
    pub log: LogId,
    /// Number in the log, from 1 without gaps.
    pub seq: Seq,
    /// Hash of the entry before; [`EntryHash::ZERO`] before the first.
    pub prev: EntryHash,
    /// Lamport clock: greater than that of everything the author had seen.
    pub lamport: u64,
    /// BLAKE3 of the payload bytes.
    pub payload_hash: [u8; 32],
    /// Length of the payload bytes.
    pub payload_len: u32,
}

/// A header as it was signed, and its payload if it came along. What travels
/// and what is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedEntry {
    /// The signed bytes, verbatim.
    pub header: Vec<u8>,
    /// Ed25519 over [`SIGNATURE_DOMAIN`] and `header`, or over [`WITHHELD_DOMAIN`]
    /// and `header` where the author keeps the payload back, in two halves (serde
    /// knows arrays up to 32).
    pub signature: ([u8; 32], [u8; 32]),
    /// The payload, verbatim; `None` where it was withheld.
    pub payload: Option<Vec<u8>>,
}

/// What a payload says, with the author's wall clock as a label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Body {
    /// [`ENTRY_VERSION`].
    pub version: u8,
    /// Label, never an order.
    pub at: Timestamp,
    /// The statement.
    pub payload: Payload,
}

/// The kinds of statement. New kinds are appended; an older ccpeer keeps and
/// passes on what it does not know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Payload {
    /// Who I am.
    Device(DeviceInfo),
    /// Whom I trust.
    Trust(TrustChange),
    /// A version of a session.
    Version(Version),
    /// A session changed its state here without a new version.
    Presence(Presence),
    /// The user marked a task as finished, or took the mark back.
    Mark(Mark),
    /// The baton of a session changes hands.
    Claim(Claim),
    /// The author's key is replaced; nothing of this key counts after it.
    Roll(KeyRoll),
    /// A better document of a version, of the author's own.
    Enriched(Enriched),
    /// How the work tree stood at a version, of the author's own.
    Capsule(Capsule),
}

/// A device's own description: a suggestion to others, never an identity.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DeviceInfo {
    /// Its name for itself, usually the host name.
    pub name: String,
    /// Operating system: `linux`, `macos`, `windows`.
    pub os: String,
}

/// A change of the author's own trust. It gives nobody else's: for those who
/// trust the author, an `Add` is an offer, and a `Revoke` a reason to stop.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TrustChange {
    /// From now on I exchange sessions with this device.
    Add {
        /// Which.
        device: DeviceId,
        /// What it called itself then, so that those to whom it is offered see more
        /// than a key; empty where that is not known.
        info: DeviceInfo,
    },
    /// Never again with this key; beats any `Add`, earlier or later.
    Revoke(DeviceId),
    /// One device's revocation of another one does not count for me.
    Overrule {
        /// The device that stays.
        device: DeviceId,
        /// Who revoked it.
        by: DeviceId,
    },
}

impl TrustChange {
    /// An `Add` of a device of which no more is known than its key.
    #[must_use]
    pub fn add(device: DeviceId) -> Self {
        Self::Add {
            device,
            info: DeviceInfo::default(),
        }
    }

    /// The device that it is about.
    #[must_use]
    pub fn about(&self) -> &DeviceId {
        match self {
            Self::Add { device, .. } | Self::Revoke(device) | Self::Overrule { device, .. } => {
                device
            }
        }
    }
}

/// A content-addressed piece and its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ContentRef {
    /// Its hash.
    pub id: ChunkId,
    /// Its uncompressed length in bytes.
    pub len: u32,
}

/// One version of a session: a node of its lineage, named by the entry's hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Which session.
    pub session: SessionId,
    /// The versions it grew from: none for the first, more than one for a join.
    pub parents: Vec<EntryHash>,
    /// The version of another session that this one was forked off, if it was.
    pub derived_from: Option<(SessionId, EntryHash)>,
    /// The manifest, unless only the snapshot is shared.
    pub manifest: Option<ContentRef>,
    /// The hand-off document.
    pub snapshot: Option<ContentRef>,
    /// State at the time of capture.
    pub state: SessionState,
    /// What lists show.
    pub meta: SessionMeta,
}

impl Version {
    /// Its snapshot and its manifest, which stands for all that it names.
    pub fn roots(&self) -> impl Iterator<Item = Want> + '_ {
        let snapshot = self.snapshot.map(|s| Want::data(s.id));
        let manifest = self.manifest.map(|m| Want::manifest(m.id));
        snapshot.into_iter().chain(manifest)
    }
}

/// What a list of sessions shows without fetching anything.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SessionMeta {
    /// One line, at most [`limits::TITLE_CHARS_MAX`].
    pub title: String,
    /// Name of the project: the last part of its path.
    pub project: String,
    /// Git branch, or empty.
    pub branch: String,
    /// When the session last changed, by the author's clock. A label.
    pub updated: Timestamp,
    /// Tasks of the session that are not completed.
    pub open_todos: u32,
    /// Bytes of the main transcript.
    pub bytes: u64,
    /// Lines of the main transcript.
    pub records: u64,
}

/// A state that changed without a new version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// Which session.
    pub session: SessionId,
    /// The new state.
    pub state: SessionState,
}

/// A user's word about a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Which session.
    pub session: SessionId,
    /// Finished, or not after all.
    pub done: bool,
}

/// A session is from now on worked on here: its baton. It binds nobody; whoever
/// writes on without it makes a line of his own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Which session.
    pub session: SessionId,
    /// The version from which it goes on here, if one is known.
    pub base: Option<EntryHash>,
}

/// A document that says better what a version's own one says, because a model
/// has worked on it. Counts only if the author of the version states it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enriched {
    /// Which session.
    pub session: SessionId,
    /// Which version of it.
    pub version: EntryHash,
    /// The document.
    pub snapshot: ContentRef,
}

/// The work in progress that belongs to a version: what of the work tree is in no
/// commit that others have. Counts only if the author of the version states it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capsule {
    /// Which session.
    pub session: SessionId,
    /// Which version of it.
    pub version: EntryHash,
    /// A manifest of its own: a version is whole without it.
    pub manifest: ContentRef,
}

/// An entry whose header, chain fields, signature and payload hash have been
/// checked. Only this type enters the machine.
#[derive(Debug, Clone, Eq)]
pub struct VerifiedEntry {
    header: Header,
    hash: EntryHash,
    content: Content,
    signed: SignedEntry,
    /// The author has signed that the payload is withheld.
    by_author: bool,
}

/// What is known of a verified entry's payload.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "known payloads are the common case"
)]
pub enum Content {
    /// It was withheld.
    Withheld,
    /// It is of a kind or version that we do not know; kept and passed on.
    Unknown,
    /// It says this.
    Known(Body),
}

/// Why an entry is refused. Always the sender's or the author's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// The header is not a header.
    #[error("header: {0}")]
    Header(DecodeError),
    /// The number or the chain field cannot stand in a log.
    #[error("entry number and chain do not fit")]
    Chain,
    /// The author's id is not a usable key.
    #[error("author is not a valid key")]
    Key,
    /// The signature is not the author's over these bytes.
    #[error("signature does not verify")]
    Signature,
    /// The payload is not the one that was signed, too long, or not in its one
    /// spelling.
    #[error("payload does not match its header")]
    Payload,
}

impl Payload {
    /// Encodes the payload with its label.
    #[must_use]
    pub fn to_bytes(&self, at: Timestamp) -> Vec<u8> {
        codec::encode(&Body {
            version: ENTRY_VERSION,
            at,
            payload: self.clone(),
        })
    }
}

impl SignedEntry {
    /// Signs a draft. The only place where an entry comes into being.
    ///
    /// # Panics
    /// If the payload exceeds its limit or its hash is not the header's: a
    /// mistake of ours.
    #[must_use]
    pub fn sign(header: &Header, payload: Vec<u8>, key: &SigningKey) -> Self {
        assert!(
            payload.len() <= limits::PAYLOAD_BYTES_MAX,
            "payload of our own is too long"
        );
        assert_eq!(blake3::hash(&payload).as_bytes(), &header.payload_hash);
        let header = codec::encode(header);
        let signature = ed25519_dalek::Signer::sign(key, &signed_bytes(SIGNATURE_DOMAIN, &header));
        Self {
            header,
            signature: halves(&signature.to_bytes()),
            payload: Some(payload),
        }
    }

    /// This entry as its author shows it to those who may not know what it says.
    /// Nothing if the key is not the author's.
    #[must_use]
    pub fn withheld(&self, key: &SigningKey) -> Option<Self> {
        let header: Header = codec::decode(&self.header, limits::HEADER_BYTES_MAX).ok()?;
        if header.log.device != device_of(key) {
            return None;
        }
        let bytes = signed_bytes(WITHHELD_DOMAIN, &self.header);
        let signature = ed25519_dalek::Signer::sign(key, &bytes);
        Some(Self {
            header: self.header.clone(),
            signature: halves(&signature.to_bytes()),
            payload: None,
        })
    }

    /// The hash that names this entry, whether or not it is genuine.
    #[must_use]
    pub fn hash(&self) -> EntryHash {
        EntryHash(*blake3::hash(&self.header).as_bytes())
    }

    /// Bytes that this entry takes in a message, nearly.
    #[must_use]
    pub fn size(&self) -> usize {
        self.header.len() + 64 + self.payload.as_ref().map_or(0, Vec::len) + 8
    }

    /// Checks everything that can be checked without knowing the log.
    ///
    /// # Errors
    /// See [`EntryError`].
    pub fn verify(self) -> Result<VerifiedEntry, EntryError> {
        let mut entry = self.verified_by_store()?;
        let key =
            VerifyingKey::from_bytes(&entry.header.log.device.0).map_err(|_| EntryError::Key)?;
        let mut bytes = [0u8; 64];
        let (a, b) = bytes.split_at_mut(32);
        a.copy_from_slice(&entry.signed.signature.0);
        b.copy_from_slice(&entry.signed.signature.1);
        let signature = Signature::from_bytes(&bytes);
        let holds = |domain: &[u8]| {
            let bytes = signed_bytes(domain, &entry.signed.header);
            key.verify_strict(&bytes, &signature).is_ok()
        };
        let bare = entry.content == Content::Withheld;
        let by_author = bare && holds(WITHHELD_DOMAIN);
        if !by_author && !holds(SIGNATURE_DOMAIN) {
            return Err(EntryError::Signature);
        }
        entry.by_author = by_author;
        Ok(entry)
    }

    /// Everything that [`SignedEntry::verify`] checks but the signature: for
    /// entries from our own store, which were verified before they went in, and
    /// for a simulator that remembers what it has verified.
    ///
    /// # Errors
    /// See [`EntryError`].
    pub fn verified_by_store(self) -> Result<VerifiedEntry, EntryError> {
        let header: Header =
            codec::decode(&self.header, limits::HEADER_BYTES_MAX).map_err(EntryError::Header)?;
        if header.version != ENTRY_VERSION {
            return Err(EntryError::Header(DecodeError::Version(header.version)));
        }
        if header.seq == Seq::ZERO || (header.seq == Seq(1)) != (header.prev == EntryHash::ZERO) {
            return Err(EntryError::Chain);
        }
        let content = match &self.payload {
            None => Content::Withheld,
            Some(bytes) => {
                if bytes.len() > limits::PAYLOAD_BYTES_MAX
                    || bytes.len() != header.payload_len as usize
                    || blake3::hash(bytes).as_bytes() != &header.payload_hash
                {
                    return Err(EntryError::Payload);
                }
                match codec::decode::<Body>(bytes, limits::PAYLOAD_BYTES_MAX) {
                    Ok(body) if body.version == ENTRY_VERSION && body.payload.is_sound() => {
                        Content::Known(body)
                    }
                    // Of our own version, and understood, but spelled another
                    // way: no ccpeer writes that.
                    Err(DecodeError::NotCanonical) if bytes.first() == Some(&ENTRY_VERSION) => {
                        return Err(EntryError::Payload);
                    }
                    _ => Content::Unknown,
                }
            }
        };
        Ok(VerifiedEntry {
            hash: self.hash(),
            header,
            content,
            signed: self,
            by_author: false,
        })
    }
}

impl Payload {
    /// Whether every text and list keeps its bound, and what carries a proof is
    /// proved. What is not counts as unknown: kept, passed on, and without effect.
    fn is_sound(&self) -> bool {
        match self {
            Self::Device(d) | Self::Trust(TrustChange::Add { info: d, .. }) => {
                d.name.len() <= 256 && d.os.len() <= 64
            }
            Self::Version(v) => {
                v.parents.len() <= limits::PARENTS_MAX
                    && v.meta.title.chars().count() <= limits::TITLE_CHARS_MAX
                    && v.meta.project.len() <= 1024
                    && v.meta.branch.len() <= 1024
                    && v.manifest
                        .is_none_or(|m| m.len as usize <= limits::MANIFEST_BYTES_MAX)
                    && v.snapshot
                        .is_none_or(|s| s.len as usize <= limits::SNAPSHOT_BYTES_MAX)
            }
            Self::Roll(roll) => roll.verifies(),
            Self::Enriched(e) => e.snapshot.len as usize <= limits::SNAPSHOT_BYTES_MAX,
            Self::Capsule(c) => c.manifest.len as usize <= limits::MANIFEST_BYTES_MAX,
            Self::Trust(_) | Self::Presence(_) | Self::Mark(_) | Self::Claim(_) => true,
        }
    }
}

/// All else follows from the bytes.
impl PartialEq for VerifiedEntry {
    fn eq(&self, other: &Self) -> bool {
        self.signed == other.signed
    }
}

impl Payload {
    /// The session that it names, if it names one as what it is about.
    #[must_use]
    pub fn session(&self) -> Option<SessionId> {
        match self {
            Self::Version(v) => Some(v.session),
            Self::Presence(p) => Some(p.session),
            Self::Mark(m) => Some(m.session),
            Self::Claim(c) => Some(c.session),
            Self::Enriched(e) => Some(e.session),
            Self::Capsule(c) => Some(c.session),
            Self::Device(_) | Self::Trust(_) | Self::Roll(_) => None,
        }
    }
}

impl VerifiedEntry {
    /// Whether what it says is missing although its author has not signed that it
    /// is to be: somebody on the way has kept it. Known only of what came from
    /// others, after [`SignedEntry::verify`].
    #[must_use]
    pub fn is_stripped(&self) -> bool {
        self.content == Content::Withheld && !self.by_author
    }

    /// The signed part.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The name of this entry.
    #[must_use]
    pub fn hash(&self) -> EntryHash {
        self.hash
    }

    /// What it says.
    #[must_use]
    pub fn content(&self) -> &Content {
        &self.content
    }

    /// What it says, if that is known.
    #[must_use]
    pub fn payload(&self) -> Option<&Payload> {
        match &self.content {
            Content::Known(body) => Some(&body.payload),
            Content::Withheld | Content::Unknown => None,
        }
    }

    /// The author's wall clock, a label.
    #[must_use]
    pub fn at(&self) -> Option<Timestamp> {
        match &self.content {
            Content::Known(body) => Some(body.at),
            Content::Withheld | Content::Unknown => None,
        }
    }

    /// The bytes to store and to pass on.
    #[must_use]
    pub fn signed(&self) -> &SignedEntry {
        &self.signed
    }

    /// Whose log it belongs to.
    #[must_use]
    pub fn log(&self) -> LogId {
        self.header.log
    }

    /// Its number.
    #[must_use]
    pub fn seq(&self) -> Seq {
        self.header.seq
    }
}

/// Public key of a signing key, as the id that it is for us.
#[must_use]
pub fn device_of(key: &SigningKey) -> DeviceId {
    DeviceId(key.verifying_key().to_bytes())
}

fn signed_bytes(domain: &[u8], header: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(domain.len() + header.len());
    bytes.extend_from_slice(domain);
    bytes.extend_from_slice(header);
    bytes
}

fn halves(signature: &[u8; 64]) -> ([u8; 32], [u8; 32]) {
    let (a, b) = signature.split_at(32);
    let mut out = ([0; 32], [0; 32]);
    out.0.copy_from_slice(a);
    out.1.copy_from_slice(b);
    out
}
