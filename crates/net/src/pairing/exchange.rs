//! The cryptography of pairing as plain values: what is sent, and what follows
//! from what was received. No I/O, no clock.
//!
//! ```text
//! joiner                                   inviter
//!   Start {versions, kind, card, spake}  ->
//!                                        <-  Reply {version, card, spake}
//!   Proof                                ->
//!                                        <-  Proof, or Refused(WrongSecret)
//!                                            (the person is asked)
//!                                        <-  Accepted {addrs}, or Refused
//!   Bye                                  ->
//! ```
//!
//! The identities of SPAKE2 are the ids that TLS has proved. The key covers
//! everything that was said and the TLS session, so a proof cannot be carried
//! over to another connection.

use ccpeer_core::codec::{self, DecodeError};
use ccpeer_core::id::DeviceId;
use ccpeer_core::limits;
use ccpeer_core::text;
use serde::{Deserialize, Serialize};
use spake2::{Ed25519Group, Identity, Password, Spake2};
use zeroize::Zeroizing;

use super::PeerCard;
use super::code::WireAddr;

/// Version of every message, its first byte.
const WIRE_VERSION: u8 = 1;
/// Versions of the exchange that we speak, the best one first.
const VERSIONS: [u8; 1] = [1];
const IDENTITY_SUFFIX: &[u8] = b"ccpeer-pair-v1";
const KEY_CONTEXT: &str = "ccpeer 2026 pair v1 confirmation key";
const JOINER_PROVES: &[u8] = b"ccpeer/pair/v1 joiner\0";
const INVITER_PROVES: &[u8] = b"ccpeer/pair/v1 inviter\0";
/// Label under which the TLS session is bound.
pub(super) const EXPORTER_LABEL: &[u8] = b"EXPORTER-ccpeer-pair";
/// A message of SPAKE2: one byte for the side, 32 for the point.
const SPAKE_BYTES: usize = 33;

/// Which of the two secrets of an invitation was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SecretKind {
    /// The short code: thirty bits, a person must say yes.
    Code,
    /// The ticket: 128 bits.
    Ticket,
}

/// What a device says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Card {
    pub(super) name: String,
    pub(super) os: String,
}

impl Card {
    pub(super) fn new(name: &str, os: &str) -> Self {
        Self {
            name: text::one_line(name, limits::DEVICE_NAME_CHARS_MAX),
            os: text::one_line(os, 16),
        }
    }

    /// Of the other side: stripped again, because it says what it likes.
    pub(super) fn of(&self, device: DeviceId) -> PeerCard {
        let Self { name, os } = Self::new(&self.name, &self.os);
        PeerCard { device, name, os }
    }

    fn is_bounded(&self) -> bool {
        self.name.len() <= 256 && self.os.len() <= 64
    }
}

/// Everything that is said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum PairMessage {
    Start(Start),
    Reply(Reply),
    Proof([u8; 32]),
    Accepted(Vec<WireAddr>),
    Refused(Refusal),
    Bye,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Start {
    pub(super) versions: Vec<u8>,
    pub(super) kind: SecretKind,
    pub(super) card: Card,
    spake: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Reply {
    version: u8,
    pub(super) card: Card,
    spake: Vec<u8>,
}

/// Why the inviting side does not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Refusal {
    WrongSecret,
    Declined,
    Busy,
    NotOpen,
    Version,
}

impl PairMessage {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![WIRE_VERSION];
        bytes.extend_from_slice(&codec::encode(self));
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (version, rest) = bytes.split_first().ok_or(DecodeError::Malformed)?;
        if *version != WIRE_VERSION {
            return Err(DecodeError::Version(*version));
        }
        let message: Self = codec::decode(rest, limits::PAIR_BYTES_MAX.1)?;
        let bounded = match &message {
            Self::Start(s) => {
                s.versions.len() <= 16 && s.card.is_bounded() && s.spake.len() == SPAKE_BYTES
            }
            Self::Reply(r) => r.card.is_bounded() && r.spake.len() == SPAKE_BYTES,
            Self::Accepted(addrs) => addrs.len() <= limits::ADDRESSES_PER_PEER_MAX,
            Self::Proof(_) | Self::Refused(_) | Self::Bye => true,
        };
        if bounded {
            Ok(message)
        } else {
            Err(DecodeError::OutOfBounds("pairing message"))
        }
    }
}

/// Whose connection it is.
#[derive(Clone, Copy)]
pub(super) struct Channel {
    pub(super) inviter: DeviceId,
    pub(super) joiner: DeviceId,
    /// What TLS derives for this connection and no other.
    pub(super) exporter: [u8; 32],
}

/// Everything that the key covers, in one canonical encoding.
#[derive(Serialize)]
struct Transcript<'a> {
    inviter: DeviceId,
    joiner: DeviceId,
    start: &'a Start,
    reply: &'a Reply,
    exporter: [u8; 32],
}

/// Both sides have what they need to prove that they know the secret.
pub(super) struct Keyed(Zeroizing<[u8; 32]>);

impl Keyed {
    fn new(shared: Vec<u8>, channel: &Channel, start: &Start, reply: &Reply) -> Self {
        let shared = Zeroizing::new(shared);
        let Channel {
            inviter,
            joiner,
            exporter,
        } = *channel;
        let transcript = codec::encode(&Transcript {
            inviter,
            joiner,
            start,
            reply,
            exporter,
        });
        // In its final size from the start: growing would leave a copy behind.
        let mut material = Zeroizing::new(Vec::with_capacity(shared.len() + transcript.len()));
        material.extend_from_slice(&shared);
        material.extend_from_slice(&transcript);
        Self(Zeroizing::new(blake3::derive_key(KEY_CONTEXT, &material)))
    }

    pub(super) fn joiner_proof(&self) -> [u8; 32] {
        *blake3::keyed_hash(&self.0, JOINER_PROVES).as_bytes()
    }

    pub(super) fn inviter_proof(&self) -> [u8; 32] {
        *blake3::keyed_hash(&self.0, INVITER_PROVES).as_bytes()
    }

    /// In constant time.
    pub(super) fn accepts_joiner(&self, proof: &[u8; 32]) -> bool {
        blake3::keyed_hash(&self.0, JOINER_PROVES) == *proof
    }

    /// In constant time.
    pub(super) fn accepts_inviter(&self, proof: &[u8; 32]) -> bool {
        blake3::keyed_hash(&self.0, INVITER_PROVES) == *proof
    }
}

/// Why the exchange ends before there is a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ExchangeError {
    /// No common version.
    Version,
    /// The other side's message is none of SPAKE2's.
    Malformed,
}

/// The joining side, after it has spoken first.
pub(super) struct Joiner {
    spake: Spake2<Ed25519Group>,
    channel: Channel,
    start: Start,
}

impl Joiner {
    pub(super) fn start(
        channel: Channel,
        kind: SecretKind,
        password: &[u8],
        card: Card,
    ) -> (Self, Start) {
        let (inviter, joiner) = identities(&channel);
        let password = password_of(kind, password);
        let (spake, message) = Spake2::start_b(&password, &inviter, &joiner);
        let start = Start {
            versions: VERSIONS.to_vec(),
            kind,
            card,
            spake: message,
        };
        (
            Self {
                spake,
                channel,
                start: start.clone(),
            },
            start,
        )
    }

    pub(super) fn reply(self, reply: &Reply) -> Result<Keyed, ExchangeError> {
        if !VERSIONS.contains(&reply.version) {
            return Err(ExchangeError::Version);
        }
        let shared = self
            .spake
            .finish(&reply.spake)
            .map_err(|_| ExchangeError::Malformed)?;
        Ok(Keyed::new(shared, &self.channel, &self.start, reply))
    }
}

/// The inviting side does its whole part at once.
pub(super) fn invite(
    channel: &Channel,
    password: &[u8],
    card: Card,
    start: &Start,
) -> Result<(Keyed, Reply), ExchangeError> {
    let version = VERSIONS.into_iter().find(|v| start.versions.contains(v));
    let version = version.ok_or(ExchangeError::Version)?;
    let (inviter, joiner) = identities(channel);
    let password = password_of(start.kind, password);
    let (spake, message) = Spake2::<Ed25519Group>::start_a(&password, &inviter, &joiner);
    let shared = spake
        .finish(&start.spake)
        .map_err(|_| ExchangeError::Malformed)?;
    let reply = Reply {
        version,
        card,
        spake: message,
    };
    Ok((Keyed::new(shared, channel, start, &reply), reply))
}

fn identities(channel: &Channel) -> (Identity, Identity) {
    let identity = |device: &DeviceId| Identity::new(&[&device.0[..], IDENTITY_SUFFIX].concat());
    (identity(&channel.inviter), identity(&channel.joiner))
}

/// A code can never stand for a ticket, nor the other way round.
fn password_of(kind: SecretKind, secret: &[u8]) -> Password {
    let mut bytes = Zeroizing::new(Vec::with_capacity(1 + secret.len()));
    bytes.push(match kind {
        SecretKind::Code => 0,
        SecretKind::Ticket => 1,
    });
    bytes.extend_from_slice(secret);
    Password::new(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel() -> Channel {
        Channel {
            inviter: DeviceId([1; 32]),
            joiner: DeviceId([2; 32]),
            exporter: [3; 32],
        }
    }

    /// Both sides of one exchange, each with its own view of everything.
    fn exchange(
        theirs: (Channel, SecretKind, &[u8]),
        ours: (Channel, &[u8]),
        meddle: impl Fn(&mut Start, &mut Reply),
    ) -> (Keyed, Keyed) {
        let (channel, kind, password) = theirs;
        let (joiner, mut start) = Joiner::start(channel, kind, password, Card::new("b", "linux"));
        // What the meddler does to one message must not depend on the other.
        let mut unused = invite(&ours.0, ours.1, Card::new("a", "linux"), &start)
            .unwrap()
            .1;
        meddle(&mut start, &mut unused);
        let (inviter, mut reply) =
            invite(&ours.0, ours.1, Card::new("a", "linux"), &start).unwrap();
        meddle(&mut start, &mut reply);
        (inviter, joiner.reply(&reply).unwrap())
    }

    fn agrees((inviter, joiner): &(Keyed, Keyed)) -> bool {
        let first = inviter.accepts_joiner(&joiner.joiner_proof());
        assert_eq!(first, joiner.accepts_inviter(&inviter.inviter_proof()));
        assert!(
            !inviter.accepts_joiner(&inviter.inviter_proof()),
            "a proof is not reflected"
        );
        assert!(
            !joiner.accepts_inviter(&joiner.joiner_proof()),
            "a proof is not reflected"
        );
        first
    }

    #[test]
    fn the_same_secret_on_the_same_channel_agrees() {
        use SecretKind::{Code, Ticket};
        let nothing = |_: &mut Start, _: &mut Reply| {};
        for kind in [Code, Ticket] {
            let sides = exchange(
                (channel(), kind, b"7KQM2X"),
                (channel(), b"7KQM2X"),
                nothing,
            );
            assert!(agrees(&sides));
        }
        let wrong = exchange(
            (channel(), Code, b"7KQM2X"),
            (channel(), b"7KQM2Y"),
            nothing,
        );
        assert!(!agrees(&wrong));
    }

    #[test]
    fn another_channel_another_id_or_a_changed_word_disagrees() {
        let secret = b"7KQM2X";
        let check = |theirs: Channel, meddle: &dyn Fn(&mut Start, &mut Reply)| {
            let theirs = (theirs, SecretKind::Code, &secret[..]);
            assert!(!agrees(&exchange(theirs, (channel(), secret), meddle)));
        };
        let nothing = |_: &mut Start, _: &mut Reply| {};
        check(
            Channel {
                exporter: [4; 32],
                ..channel()
            },
            &nothing,
        );
        check(
            Channel {
                inviter: DeviceId([9; 32]),
                ..channel()
            },
            &nothing,
        );
        check(
            Channel {
                joiner: DeviceId([9; 32]),
                ..channel()
            },
            &nothing,
        );
        check(channel(), &|s, _| s.card.name = "desk".into());
        check(channel(), &|s, _| s.versions.push(7));
        check(channel(), &|s, _| s.kind = SecretKind::Ticket);
        check(channel(), &|_, r| r.card.os = "windows".into());
    }

    #[test]
    fn messages_round_trip_within_their_bounds() {
        let (_, start) = Joiner::start(channel(), SecretKind::Code, b"x", Card::new("b", "linux"));
        let (_, reply) = invite(&channel(), b"x", Card::new("a", "linux"), &start).unwrap();
        let addr = WireAddr::V4([192, 0, 2, 7], 4000);
        for message in [
            PairMessage::Start(start.clone()),
            PairMessage::Reply(reply),
            PairMessage::Proof([7; 32]),
            PairMessage::Accepted(vec![addr; limits::ADDRESSES_PER_PEER_MAX]),
            PairMessage::Refused(Refusal::Busy),
            PairMessage::Bye,
        ] {
            let bytes = message.to_bytes();
            assert!(bytes.len() <= limits::PAIR_BYTES_MAX.1);
            assert_eq!(PairMessage::from_bytes(&bytes), Ok(message));
            // K-N04: bytes after the end.
            assert!(PairMessage::from_bytes(&[&bytes[..], &[0]].concat()).is_err());
        }
        let too_many = PairMessage::Accepted(vec![addr; 9]).to_bytes();
        assert!(PairMessage::from_bytes(&too_many).is_err());
        assert_eq!(
            PairMessage::from_bytes(&[9, 5]),
            Err(DecodeError::Version(9))
        );
        let mut long_name = start;
        long_name.card.name = "x".repeat(300);
        assert!(PairMessage::from_bytes(&PairMessage::Start(long_name).to_bytes()).is_err());
    }

    /// Bytes that other versions rely on; see PROTOCOL.md.
    #[test]
    fn messages_and_proofs_keep_their_bytes() {
        let card = |name: &str| Card::new(name, "linux");
        let start = Start {
            versions: vec![1],
            kind: SecretKind::Code,
            card: card("b"),
            spake: vec![5; 33],
        };
        let reply = Reply {
            version: 1,
            card: card("a"),
            spake: vec![6; 33],
        };
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        let of = |m: PairMessage| hex(&m.to_bytes());
        let five = "05".repeat(33);
        let six = "06".repeat(33);
        assert_eq!(
            of(PairMessage::Start(start.clone())),
            format!("0100010100016205{}21{five}", hex(b"linux"))
        );
        assert_eq!(
            of(PairMessage::Reply(reply.clone())),
            format!("010101016105{}21{six}", hex(b"linux"))
        );
        assert_eq!(
            of(PairMessage::Proof([7; 32])),
            format!("0102{}", "07".repeat(32))
        );
        let addr = WireAddr::V4([192, 0, 2, 7], 4000);
        assert_eq!(
            of(PairMessage::Accepted(vec![addr])),
            "01030100c0000207a01f"
        );
        assert_eq!(of(PairMessage::Refused(Refusal::Busy)), "010402");
        assert_eq!(of(PairMessage::Bye), "0105");
        let keyed = Keyed::new(vec![9; 32], &channel(), &start, &reply);
        assert_eq!(
            [hex(&keyed.joiner_proof()), hex(&keyed.inviter_proof())],
            [
                "2be8f87ff65e79818030e398dbad9bf9ed3ade0c6c9c00b6fdf675ef683856fe",
                "5e78f5888e9d7d173adcf4b49f297b50914e5e0d75bf02ead29c5dfac83ac5ea"
            ]
        );
    }

    #[test]
    fn a_message_that_is_no_point_is_refused() {
        let (_, mut start) = Joiner::start(channel(), SecretKind::Code, b"x", Card::new("b", "l"));
        start.spake[0] = b'A';
        assert!(invite(&channel(), b"x", Card::new("a", "l"), &start).is_err());
        let mut other = start;
        other.versions = vec![9];
        let error = invite(&channel(), b"x", Card::new("a", "l"), &other).err();
        assert_eq!(error, Some(ExchangeError::Version));
    }

    #[test]
    fn k_p14_names_are_stripped() {
        let hostile = Card {
            name: "\u{1b}]0;x\u{7}desk\u{202e}\n<b>".into(),
            os: "li\u{0}nux".into(),
        };
        let card = hostile.of(DeviceId([1; 32]));
        assert_eq!(
            (card.name.as_str(), card.os.as_str()),
            ("desk <b>", "linux")
        );
    }
}
