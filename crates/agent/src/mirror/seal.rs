//! Encryption of a mirror: the age format, one recipient for each device.
//!
//! A device's recipient follows from its id, as those of ssh keys do in age, so
//! nothing has to be exchanged; beside it stands a recovery key, which is the one
//! thing to be kept elsewhere: it opens the mirror when the home is gone. Must not
//! know what is encrypted.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::str::FromStr;

use age::secrecy::ExposeSecret;
use age::x25519;
use bech32::{Bech32, Hrp};
use ccpeer_core::id::DeviceId;
use ed25519_dalek::{SigningKey, VerifyingKey};
use zeroize::Zeroizing;

use crate::keys;

/// Bytes of a key file that are read.
const KEY_FILE_BYTES_MAX: u64 = 64 * 1024;
/// Keys in one file.
const KEYS_MAX: usize = 64;

/// Why something cannot be encrypted or opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SealError {
    /// None of the keys opens it.
    #[error("none of the keys at hand opens it")]
    WrongKey,
    /// It is no age file, or was changed.
    #[error("it is damaged, or was never encrypted")]
    Damaged,
    /// It holds more than it may.
    #[error("it is too long")]
    TooLong,
    /// A file holds no key.
    #[error("the key file holds no key of the form AGE-SECRET-KEY-1…")]
    NoKey,
    /// A key is none.
    #[error("a key cannot be used")]
    BadKey,
    /// Reading or writing failed.
    #[error("cannot read or write it: {0}")]
    Io(std::io::ErrorKind),
}

/// Whoever may read.
#[derive(Clone)]
pub(crate) struct Recipients(Vec<x25519::Recipient>);

/// The keys that open.
#[derive(Clone)]
pub(crate) struct Identities(Vec<x25519::Identity>);

impl Recipients {
    /// The recovery key, and these devices. One whose id is no key is left out: it
    /// could not have signed anything either.
    pub(crate) fn new(recovery: &Identities, devices: &[DeviceId]) -> Self {
        let recovery = recovery.0.iter().map(x25519::Identity::to_public);
        Self(
            recovery
                .chain(devices.iter().filter_map(recipient_of))
                .collect(),
        )
    }

    pub(crate) fn seal(&self, content: &[u8]) -> Result<Vec<u8>, SealError> {
        let all = self.0.iter().map(|r| r as &dyn age::Recipient);
        let encryptor = age::Encryptor::with_recipients(all).map_err(|_| SealError::BadKey)?;
        let mut out = Vec::new();
        let mut writer = encryptor
            .wrap_output(&mut out)
            .map_err(|_| SealError::BadKey)?;
        writer
            .write_all(content)
            .map_err(|e| SealError::Io(e.kind()))?;
        writer.finish().map_err(|e| SealError::Io(e.kind()))?;
        Ok(out)
    }
}

impl Identities {
    /// That of a device.
    pub(crate) fn of_device(key: &SigningKey) -> Result<Self, SealError> {
        let secret = Zeroizing::new(key.to_scalar_bytes());
        let hrp = Hrp::parse("AGE-SECRET-KEY-").map_err(|_| SealError::BadKey)?;
        let text = bech32::encode_upper::<Bech32>(hrp, secret.as_slice());
        let text = Zeroizing::new(text.map_err(|_| SealError::BadKey)?);
        let identity = x25519::Identity::from_str(&text).map_err(|_| SealError::BadKey)?;
        Ok(Self(vec![identity]))
    }

    /// Those in a key file, as `age-keygen` writes it.
    pub(crate) fn load(path: &Path) -> Result<Self, SealError> {
        let failed = |e: std::io::Error| SealError::Io(e.kind());
        let file = fs::File::open(path).map_err(failed)?;
        let mut text = Zeroizing::new(String::new());
        file.take(KEY_FILE_BYTES_MAX)
            .read_to_string(&mut text)
            .map_err(failed)?;
        let lines = text.lines().map(str::trim);
        let found: Vec<x25519::Identity> = lines
            .filter_map(|l| x25519::Identity::from_str(l).ok())
            .take(KEYS_MAX)
            .collect();
        match found.is_empty() {
            true => Err(SealError::NoKey),
            false => Ok(Self(found)),
        }
    }

    /// The recovery key in this file; drawn if there is none.
    pub(crate) fn load_or_draw(path: &Path) -> Result<Self, SealError> {
        match Self::load(path) {
            Err(SealError::Io(std::io::ErrorKind::NotFound)) => {}
            other => return other,
        }
        let identity = x25519::Identity::generate();
        let secret = identity.to_string();
        let text = Zeroizing::new(format!(
            "# The recovery key of the encrypted git mirrors of this device.\n\
             # Keep a copy elsewhere: with it, `ccpeer git import --key-file` restores\n\
             # the sessions when this machine is gone.\n\
             # public key: {}\n{}\n",
            identity.to_public(),
            secret.expose_secret(),
        ));
        keys::write_private(path, text.as_bytes()).map_err(|e| SealError::Io(e.kind()))?;
        Ok(Self(vec![identity]))
    }

    /// These and those.
    pub(crate) fn and(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }

    pub(crate) fn open(&self, sealed: &[u8], bytes_max: u64) -> Result<Vec<u8>, SealError> {
        let decryptor = age::Decryptor::new_buffered(sealed).map_err(|_| SealError::Damaged)?;
        let all = self.0.iter().map(|i| i as &dyn age::Identity);
        let reader = decryptor.decrypt(all).map_err(|e| match e {
            age::DecryptError::NoMatchingKeys => SealError::WrongKey,
            _ => SealError::Damaged,
        })?;
        let mut out = Vec::new();
        let mut bounded = reader.take(bytes_max + 1);
        bounded
            .read_to_end(&mut out)
            .map_err(|_| SealError::Damaged)?;
        match out.len() as u64 > bytes_max {
            true => Err(SealError::TooLong),
            false => Ok(out),
        }
    }
}

/// The recipient that a device is: its Ed25519 key as a point of X25519.
fn recipient_of(device: &DeviceId) -> Option<x25519::Recipient> {
    let point = VerifyingKey::from_bytes(&device.0).ok()?.to_montgomery();
    let text = bech32::encode::<Bech32>(Hrp::parse("age").ok()?, point.as_bytes()).ok()?;
    x25519::Recipient::from_str(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ccpeer_core::entry::device_of;

    #[test]
    fn every_device_and_the_recovery_key_open_it_and_nobody_else() {
        let dir = tempfile::tempdir().unwrap();
        let recovery = Identities::load_or_draw(&dir.path().join("k")).unwrap();
        let again = Identities::load_or_draw(&dir.path().join("k")).unwrap();
        let [a, b, c] = [1u8, 2, 3].map(|n| SigningKey::from_bytes(&[n; 32]));
        let recipients = Recipients::new(&recovery, &[device_of(&a), device_of(&b)]);
        let sealed = recipients.seal(b"what was said").unwrap();
        let open = |by: &Identities| by.open(&sealed, 100);
        for by in [&a, &b] {
            let by = Identities::of_device(by).unwrap();
            assert_eq!(open(&by).unwrap(), b"what was said");
        }
        assert_eq!(open(&again).unwrap(), b"what was said");
        let stranger = Identities::of_device(&c).unwrap();
        assert_eq!(open(&stranger), Err(SealError::WrongKey));
        assert_eq!(
            open(&stranger.and(recovery.clone())).unwrap(),
            b"what was said"
        );
        assert_eq!(recovery.open(&sealed, 5), Err(SealError::TooLong));
        assert_eq!(recovery.open(b"something else", 5), Err(SealError::Damaged));
        let mut changed = sealed.clone();
        *changed.last_mut().unwrap() ^= 1;
        assert_eq!(recovery.open(&changed, 100), Err(SealError::Damaged));
    }

    #[test]
    fn a_file_without_a_key_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("k");
        fs::write(&path, "# nothing\n").unwrap();
        assert_eq!(Identities::load(&path).err(), Some(SealError::NoKey));
        let none = Identities::load(&dir.path().join("none")).err();
        assert_eq!(none, Some(SealError::Io(std::io::ErrorKind::NotFound)));
    }
}
