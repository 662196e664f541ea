//! F2: a signed entry, with a statement of trust or any other. The bytes are
//! tried as a whole entry, as a header and as a payload of somebody who signs
//! anything.

use std::sync::OnceLock;

use ccpeer_core::codec::{self, DecodeError};
use ccpeer_core::entry::{
    Body, Content, ENTRY_VERSION, Header, SIGNATURE_DOMAIN, SignedEntry, VerifiedEntry, device_of,
};
use ccpeer_core::id::{EntryHash, Epoch, LogId, Seq};
use ccpeer_core::limits;
use ed25519_dalek::{Signer, SigningKey};

/// The oracle.
pub(crate) fn check(bytes: &[u8]) {
    if let Ok(entry) = codec::decode::<SignedEntry>(bytes, limits::MESSAGE_BYTES_MAX) {
        let same = codec::encode(&entry) == bytes;
        assert!(same, "one spelling each");
        judge(&entry);
    }
    if bytes.len() <= 2 * limits::HEADER_BYTES_MAX {
        judge(&signed(bytes.to_vec(), None));
    }
    if bytes.len() <= limits::PAYLOAD_BYTES_MAX + 1 {
        let header = Header {
            version: ENTRY_VERSION,
            log: LogId {
                device: device_of(key()),
                epoch: Epoch([1; 16]),
            },
            seq: Seq(1),
            prev: EntryHash::ZERO,
            lamport: 1,
            payload_hash: payload_hash(bytes),
            payload_len: u32::try_from(bytes.len()).unwrap(),
        };
        let entry = signed(codec::encode(&header), Some(bytes.to_vec()));
        // What nobody understands is kept and passed on; a second spelling of what
        // is understood is not.
        let spelled = codec::decode::<Body>(bytes, limits::PAYLOAD_BYTES_MAX);
        let other_spelling =
            spelled == Err(DecodeError::NotCanonical) && bytes.first() == Some(&ENTRY_VERSION);
        let good = bytes.len() <= limits::PAYLOAD_BYTES_MAX && !other_spelling;
        assert_eq!(judge(&entry).is_some(), good);
    }
}

/// What is verified is what was signed, in its one spelling, and its name is the
/// hash of what was signed.
fn judge(entry: &SignedEntry) -> Option<VerifiedEntry> {
    let verified = entry.clone().verify().ok()?;
    assert_eq!(verified.signed(), entry);
    assert!(codec::encode(verified.header()) == entry.header);
    assert_eq!(verified.hash(), entry.hash());
    assert_eq!(verified.header().version, ENTRY_VERSION);
    assert!(verified.seq() > Seq::ZERO);
    match (verified.content(), &entry.payload) {
        (Content::Withheld, None) => {}
        (Content::Unknown, Some(_)) => {}
        (Content::Known(body), Some(payload)) => {
            assert!(codec::encode(body) == *payload, "one spelling each");
            assert!(payload.len() <= limits::PAYLOAD_BYTES_MAX);
        }
        other => panic!("{other:?}"),
    }
    // Any other header under the same signature is refused.
    let mut other = entry.clone();
    if let Some(byte) = other.header.last_mut() {
        *byte ^= 1;
    }
    assert!(other.verify().is_err());
    Some(verified)
}

fn signed(header: Vec<u8>, payload: Option<Vec<u8>>) -> SignedEntry {
    let bytes = key().sign(&[SIGNATURE_DOMAIN, &header].concat()).to_bytes();
    let (a, b) = bytes.split_at(32);
    SignedEntry {
        header,
        signature: (a.try_into().unwrap(), b.try_into().unwrap()),
        payload,
    }
}

fn payload_hash(payload: &[u8]) -> [u8; 32] {
    *blake3::hash(payload).as_bytes()
}

/// A key of nobody, made once.
fn key() -> &'static SigningKey {
    static KEY: OnceLock<SigningKey> = OnceLock::new();
    KEY.get_or_init(|| SigningKey::from_bytes(&[7; 32]))
}
