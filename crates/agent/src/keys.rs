//! The device's secret key: drawn once, kept in a file that only its owner can
//! read, never logged.

use std::fs;
use std::io;
use std::path::Path;

use ccpeer_core::entry::{Payload, device_of};
use ccpeer_core::id::DeviceId;
use ccpeer_core::store::Recovered;
use ed25519_dalek::SigningKey;
use zeroize::Zeroizing;

use crate::disk;
use crate::home::Home;

/// What a key file starts with. The secret follows as 64 hex digits.
const MAGIC: &str = "ccpeer-key-v1 ";

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    /// The file is there and is not a key.
    #[error("the device key is damaged")]
    Damaged,
    /// Others can read it.
    #[cfg_attr(
        not(unix),
        expect(dead_code, reason = "only asked of a system that tells")
    )]
    #[error("the device key can be read by other users")]
    Exposed,
    /// The system has no randomness to give.
    #[error("no randomness is to be had")]
    Random,
    /// Reading or writing failed.
    #[error("cannot read or write the device key: {0}")]
    Io(#[from] io::Error),
}

/// The key and the id that follows from it.
pub(crate) struct DeviceKey {
    pub(crate) signing: SigningKey,
    pub(crate) device: DeviceId,
}

impl DeviceKey {
    /// The key in this file; a new one if there is none.
    pub(crate) fn load_or_create(path: &Path) -> Result<Self, KeyError> {
        match Self::load(path)? {
            Some(key) => Ok(key),
            None => Self::create(path),
        }
    }

    /// The key in this file, if there is one.
    pub(crate) fn load(path: &Path) -> Result<Option<Self>, KeyError> {
        match fs::read_to_string(path).map(Zeroizing::new) {
            Ok(text) => {
                refuse_exposed(path)?;
                Self::parse(&text).map(Some)
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// A replacement of the key that a crash interrupted: finished if our log says
    /// that it was announced, forgotten if not. Gives the key that holds now, if it
    /// is another one.
    pub(crate) fn finish_roll(
        &self,
        home: &Home,
        stored: &Recovered,
    ) -> Result<Option<Self>, KeyError> {
        let Some(next) = Self::load(&home.next_key())? else {
            return Ok(None);
        };
        let announced = stored.entries.iter().rev().any(|entry| {
            entry.log().device == self.device
                && matches!(entry.payload(), Some(Payload::Roll(roll)) if roll.new == next.device)
        });
        if announced {
            switch(home, &self.device)?;
            return Ok(Some(next));
        }
        fs::remove_file(home.next_key())?;
        Ok(None)
    }

    /// The secret, for the endpoint that proves to be this device.
    pub(crate) fn secret(&self) -> [u8; 32] {
        self.signing.to_bytes()
    }

    fn parse(text: &str) -> Result<Self, KeyError> {
        let hex = text
            .trim_end()
            .strip_prefix(MAGIC)
            .ok_or(KeyError::Damaged)?;
        // A device id has the same shape as a secret: 32 bytes in hex.
        let bytes: DeviceId = hex.parse().map_err(|_| KeyError::Damaged)?;
        Ok(Self::from_secret(&bytes.0))
    }

    fn from_secret(secret: &[u8; 32]) -> Self {
        let signing = SigningKey::from_bytes(secret);
        Self {
            device: device_of(&signing),
            signing,
        }
    }

    /// Draws a key and writes it, over whatever was there.
    pub(crate) fn create(path: &Path) -> Result<Self, KeyError> {
        let mut secret = Zeroizing::new([0u8; 32]);
        getrandom::fill(secret.as_mut_slice()).map_err(|_| KeyError::Random)?;
        let text = Zeroizing::new(format!("{MAGIC}{}\n", DeviceId(*secret)));
        write_private(path, text.as_bytes())?;
        Ok(Self::from_secret(&secret))
    }
}

/// The next key takes the place of the one of device `old`, which is kept beside
/// it. There is a key at every moment.
pub(crate) fn switch(home: &Home, old: &DeviceId) -> Result<(), KeyError> {
    let text = fs::read_to_string(home.key()).map(Zeroizing::new)?;
    write_private(&home.old_key(&old.short()), text.as_bytes())?;
    fs::rename(home.next_key(), home.key())?;
    Ok(disk::sync_dir(home.root())?)
}

/// Writes a file in home that only its owner can read, so that it is there whole
/// or not at all. One writer at a time: the agent.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = std::path::PathBuf::from(beside);
    let _left_by_a_crash = fs::remove_file(&beside);
    disk::write_private(path, &beside, bytes)
}

#[cfg(unix)]
fn refuse_exposed(path: &Path) -> Result<(), KeyError> {
    use std::os::unix::fs::MetadataExt;
    if fs::metadata(path)?.mode() & 0o077 == 0 {
        Ok(())
    } else {
        Err(KeyError::Exposed)
    }
}

#[cfg(not(unix))]
fn refuse_exposed(_: &Path) -> Result<(), KeyError> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_drawn_once_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("device.key");
        let first = DeviceKey::load_or_create(&path).unwrap();
        let again = DeviceKey::load_or_create(&path).unwrap();
        assert_eq!(first.device, again.device);
        #[cfg(unix)]
        {
            use std::os::unix::fs::{MetadataExt, PermissionsExt};
            assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
            assert!(matches!(
                DeviceKey::load_or_create(&path),
                Err(KeyError::Exposed)
            ));
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        }
        fs::write(&path, "rubbish").unwrap();
        assert!(matches!(
            DeviceKey::load_or_create(&path),
            Err(KeyError::Damaged)
        ));
    }
}
