//! The replacement of a device's key. A roll is a statement that carries its own
//! proof, signed by both keys, so that it can also be shown to somebody who does
//! not hold the old key's log. It decides nothing about trust; see `trust`.

use alloc::vec::Vec;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::codec;
use crate::entry::device_of;
use crate::id::{DeviceId, Epoch, Seq};
use crate::limits;

/// What both signatures start with, so that neither can pass for a signature of
/// something else.
pub const ROLL_DOMAIN: &[u8] = b"ccpeer/keyroll/v1\0";

/// One key takes the place of another.
///
/// The old key's logs end where [`KeyRoll::sealed`] says. What it signs beyond
/// that, in whatever epoch, is refused: whoever found the old key can say
/// nothing more with it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct KeyRoll {
    /// The key that goes.
    pub old: DeviceId,
    /// The key that comes.
    pub new: DeviceId,
    /// The last number of each log of the old key, by epoch, ascending. The entry
    /// that carries the roll is the last one of its own log.
    pub sealed: Vec<(Epoch, Seq)>,
    /// Ed25519 by the old key over [`ROLL_DOMAIN`] and the three fields above, in
    /// two halves.
    by_old: ([u8; 32], [u8; 32]),
    /// The same by the new key: nobody can be made the successor of a key
    /// without agreeing.
    by_new: ([u8; 32], [u8; 32]),
}

impl KeyRoll {
    /// Signs a roll with both keys. `sealed` is put in order.
    ///
    /// # Panics
    /// If the keys are the same, or there are more epochs than
    /// [`limits::EPOCHS_PER_DEVICE_MAX`]: mistakes of ours.
    #[must_use]
    pub fn sign(old: &SigningKey, new: &SigningKey, mut sealed: Vec<(Epoch, Seq)>) -> Self {
        assert_ne!(device_of(old), device_of(new), "a key was rolled to itself");
        assert!(sealed.len() <= limits::EPOCHS_PER_DEVICE_MAX);
        sealed.sort_unstable();
        let statement = signed_bytes(&device_of(old), &device_of(new), &sealed);
        Self {
            old: device_of(old),
            new: device_of(new),
            sealed,
            by_old: halves(&old.sign(&statement).to_bytes()),
            by_new: halves(&new.sign(&statement).to_bytes()),
        }
    }

    /// Whether both keys have signed it and it is well formed.
    #[must_use]
    pub fn verifies(&self) -> bool {
        let ascending = self
            .sealed
            .iter()
            .zip(self.sealed.iter().skip(1))
            .all(|(a, b)| a.0 < b.0);
        let statement = signed_bytes(&self.old, &self.new, &self.sealed);
        self.old != self.new
            && self.sealed.len() <= limits::EPOCHS_PER_DEVICE_MAX
            && ascending
            && signed_by(&self.old, &statement, &self.by_old)
            && signed_by(&self.new, &statement, &self.by_new)
    }

    /// The last number of a log of the old key that counts.
    #[must_use]
    pub fn last_of(&self, epoch: &Epoch) -> Seq {
        self.sealed
            .iter()
            .find(|(e, _)| e == epoch)
            .map_or(Seq::ZERO, |(_, seq)| *seq)
    }
}

fn signed_bytes(old: &DeviceId, new: &DeviceId, sealed: &[(Epoch, Seq)]) -> Vec<u8> {
    let mut bytes = ROLL_DOMAIN.to_vec();
    bytes.extend_from_slice(&codec::encode(&(old, new, sealed)));
    bytes
}

fn signed_by(device: &DeviceId, statement: &[u8], halves: &([u8; 32], [u8; 32])) -> bool {
    let mut bytes = [0u8; 64];
    let (a, b) = bytes.split_at_mut(32);
    a.copy_from_slice(&halves.0);
    b.copy_from_slice(&halves.1);
    VerifyingKey::from_bytes(&device.0).is_ok_and(|key| {
        key.verify_strict(statement, &Signature::from_bytes(&bytes))
            .is_ok()
    })
}

fn halves(signature: &[u8; 64]) -> ([u8; 32], [u8; 32]) {
    let (a, b) = signature.split_at(32);
    let mut out = ([0; 32], [0; 32]);
    out.0.copy_from_slice(a);
    out.1.copy_from_slice(b);
    out
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn key(n: u8) -> SigningKey {
        SigningKey::from_bytes(&[n; 32])
    }

    #[test]
    fn both_keys_must_have_signed_exactly_this() {
        let sealed = vec![(Epoch([2; 16]), Seq(7)), (Epoch([1; 16]), Seq(3))];
        let roll = KeyRoll::sign(&key(1), &key(2), sealed);
        assert!(roll.verifies());
        assert_eq!(roll.last_of(&Epoch([1; 16])), Seq(3));
        assert_eq!(roll.last_of(&Epoch([9; 16])), Seq::ZERO);

        let longer = KeyRoll {
            sealed: vec![(Epoch([1; 16]), Seq(4)), (Epoch([2; 16]), Seq(7))],
            ..roll.clone()
        };
        let elsewhere = KeyRoll {
            new: device_of(&key(3)),
            ..roll.clone()
        };
        let one_hand = KeyRoll {
            by_new: roll.by_old,
            ..roll.clone()
        };
        let disorder = KeyRoll {
            sealed: roll.sealed.iter().rev().copied().collect(),
            ..roll
        };
        for forged in [longer, elsewhere, one_hand, disorder] {
            assert!(!forged.verifies());
        }
    }
}
