//! What the user is told until it is dealt with: that a key is used twice, that
//! the store had to be made anew. Kept in the store, as labels: nothing is
//! decided by them.

use ccpeer_core::id::DeviceId;
use ccpeer_core::time::Timestamp;
use ccpeer_store::{Namespace, NoteWrite, Store, StoreError};
use serde::{Deserialize, Serialize};

/// Key in [`Namespace::Setting`].
const KEY: &[u8] = b"findings";
/// Findings that are kept; of more, the oldest go.
const FINDINGS_MAX: usize = 64;

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// This home is a copy of one elsewhere.
    Copied,
    /// A peer holds a newer or another log of ours.
    OwnLog,
    /// The key of another device is used twice.
    Twin,
    /// The store was gone.
    StoreAnew,
    /// The store was damaged, and what could be read of it was saved.
    Salvaged,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Finding {
    pub(crate) kind: Kind,
    device: Option<String>,
    /// When it was first seen: a label.
    pub(crate) at_ms: u64,
}

impl Finding {
    /// About whom.
    pub(crate) fn device(&self) -> Option<DeviceId> {
        self.device.as_ref()?.parse().ok()
    }

    /// The name in `--json`.
    pub(crate) fn word(&self) -> &'static str {
        match self.kind {
            Kind::Copied => "home_copied",
            Kind::OwnLog => "own_log_behind",
            Kind::Twin => "key_used_twice",
            Kind::StoreAnew => "store_anew",
            Kind::Salvaged => "store_salvaged",
        }
    }

    /// What to tell. `name` is the device's.
    pub(crate) fn message(&self, name: &str) -> String {
        match self.kind {
            Kind::Copied => "this home was copied from another machine or directory; \
                             two devices may share one key"
                .to_owned(),
            Kind::OwnLog => "another device holds more of this device's log than it does itself: \
                             it was restored from a backup, or its key is used twice"
                .to_owned(),
            Kind::Twin => format!("the key of {name} is used in two places at once"),
            Kind::StoreAnew => "the store was missing and a new one was begun; \
                                what other devices hold comes back by itself"
                .to_owned(),
            Kind::Salvaged => "the store was damaged and what could be read of it was saved; \
                               what other devices hold comes back by itself"
                .to_owned(),
        }
    }

    /// What to do about it, in the imperative.
    pub(crate) fn hint(&self) -> &'static str {
        match self.kind {
            Kind::Copied | Kind::OwnLog => {
                "if both still run, run `ccpeer rekey --separate` on one of them; \
                 if only this one is left, run `ccpeer rekey --keep` here"
            }
            Kind::Twin => {
                "run `ccpeer rekey --separate` on one of the two; \
                 revoke the device if the copy is not yours"
            }
            Kind::StoreAnew | Kind::Salvaged => {
                "start the other devices; `ccpeer rekey --keep` puts this notice away"
            }
        }
    }
}

/// All of them, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Findings(Vec<Finding>);

impl Findings {
    /// As stored. What cannot be read is forgotten.
    pub(crate) fn load(store: &Store) -> Result<Self, StoreError> {
        let value = store.note(Namespace::Setting, KEY)?;
        let list = value.and_then(|v| serde_json::from_slice(&v).ok());
        Ok(Self(list.unwrap_or_default()))
    }

    /// Adds one; `None` if it is known already.
    pub(crate) fn add(
        &mut self,
        kind: Kind,
        device: Option<DeviceId>,
        at: Timestamp,
    ) -> Option<NoteWrite> {
        let device = device.map(|d| d.to_string());
        if self.0.iter().any(|f| f.kind == kind && f.device == device) {
            return None;
        }
        if self.0.len() >= FINDINGS_MAX {
            self.0.remove(0);
        }
        self.0.push(Finding {
            kind,
            device,
            at_ms: at.0,
        });
        self.note()
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) -> Option<NoteWrite> {
        self.0.clear();
        self.note()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Finding> {
        self.0.iter()
    }

    fn note(&self) -> Option<NoteWrite> {
        Some(NoteWrite {
            ns: Namespace::Setting,
            key: KEY.to_vec(),
            value: Some(serde_json::to_vec(&self.0).ok()?),
        })
    }
}
