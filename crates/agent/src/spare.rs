//! Whom this device trusts, and where they were last reached, once more beside
//! the store. Trust is stated in our log; when the store is lost, this is what
//! lets the other devices in, who bring the rest back.
//!
//! It only ever adds to what the log says, and a revocation in either wins.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;

use ccpeer_core::id::DeviceId;
use ccpeer_core::limits;
use serde::{Deserialize, Serialize};

use crate::home::Home;
use crate::keys;

/// Bytes of the file that are read.
const BYTES_MAX: u64 = 1024 * 1024;

/// The content of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SpareTrust {
    v: u8,
    /// The device that says so.
    #[serde(default)]
    me: String,
    /// The name of this device for itself.
    #[serde(default)]
    pub(crate) name: String,
    #[serde(default)]
    trusted: Vec<Spare>,
    #[serde(default)]
    revoked: Vec<String>,
}

/// One trusted device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Spare {
    id: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    addrs: Vec<SocketAddr>,
}

impl SpareTrust {
    /// As written. What cannot be read is as good as nothing.
    pub(crate) fn load(home: &Home) -> Self {
        let path = home.spare_trust();
        let fits = fs::metadata(&path).is_ok_and(|m| m.len() <= BYTES_MAX);
        if !fits {
            return Self::default();
        }
        fs::read(path)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default()
    }

    pub(crate) fn new(me: &DeviceId, name: String) -> Self {
        Self {
            v: 1,
            me: me.to_string(),
            name,
            ..Self::default()
        }
    }

    pub(crate) fn trust(&mut self, device: &DeviceId, name: String, addrs: Vec<SocketAddr>) {
        self.trusted.push(Spare {
            id: device.to_string(),
            name,
            addrs,
        });
    }

    pub(crate) fn revoke(&mut self, device: &DeviceId) {
        self.revoked.push(device.to_string());
    }

    /// Whose word it is.
    pub(crate) fn said_by(&self) -> Option<DeviceId> {
        self.me.parse().ok()
    }

    /// Nobody is trusted any more; who was revoked stays so.
    pub(crate) fn distrust_all(&mut self) {
        self.trusted.clear();
    }

    /// Makes it durable.
    pub(crate) fn save(&self, home: &Home) -> std::io::Result<()> {
        let bytes = serde_json::to_vec(self).map_err(std::io::Error::other)?;
        keys::write_private(&home.spare_trust(), &bytes)
    }

    pub(crate) fn revoked(&self) -> BTreeSet<DeviceId> {
        let ids = self.revoked.iter().take(limits::REVOKED_MAX);
        ids.filter_map(|id| id.parse().ok()).collect()
    }

    /// Trusted devices that were not revoked, with name and addresses.
    pub(crate) fn trusted(&self) -> Vec<(DeviceId, String, Vec<SocketAddr>)> {
        let revoked = self.revoked();
        self.trusted
            .iter()
            .take(limits::TRUSTED_MAX)
            .filter_map(|s| Some((s.id.parse().ok()?, s.name.clone(), s.addrs.clone())))
            .filter(|(id, _, _)| !revoked.contains(id))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_comes_back_as_it_was_and_rubbish_is_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().to_owned();
        let home = Home::from_env(&|name| {
            matches!(name, "CCPEER_HOME" | "HOME").then(|| root.clone().into_os_string())
        })
        .unwrap();
        assert!(SpareTrust::load(&home).trusted().is_empty());
        let addr: SocketAddr = "127.0.0.1:7".parse().unwrap();
        let mut spare = SpareTrust::new(&DeviceId([9; 32]), "desk".to_owned());
        for n in 1..=2 {
            spare.trust(&DeviceId([n; 32]), String::new(), vec![addr]);
        }
        spare.revoke(&DeviceId([2; 32]));
        spare.save(&home).unwrap();
        let back = SpareTrust::load(&home);
        assert_eq!(back, spare);
        let trusted = back.trusted();
        assert_eq!(trusted.len(), 1, "a revocation wins");
        assert_eq!(trusted.first().unwrap().2, vec![addr]);
        fs::write(home.spare_trust(), "{").unwrap();
        assert_eq!(SpareTrust::load(&home), SpareTrust::default());
    }
}
