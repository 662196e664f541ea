//! What the user is told until it is dealt with: that a key is used twice, that
//! the store had to be made anew. Kept in the store, as labels: nothing is
//! decided by them.

use std::collections::BTreeSet;

use ccpeer_core::id::DeviceId;
use ccpeer_core::limits;
use ccpeer_core::time::Timestamp;
use ccpeer_store::{Namespace, NoteWrite, Store, StoreError};
use serde::{Deserialize, Serialize};

/// Key in [`Namespace::Setting`].
const KEY: &[u8] = b"findings";
/// Findings that are kept; of more, the oldest go.
const FINDINGS_MAX: usize = 64;
/// Key in [`Namespace::Setting`] of the devices of which it was told that somebody
/// added them.
const INTRODUCED_KEY: &[u8] = b"introduced";
/// How many of those are remembered; of more, nothing is told.
const INTRODUCED_MAX: usize = 4 * limits::TRUSTED_MAX;
/// Notices of that kind that stand at once.
const INTRODUCED_SHOWN_MAX: usize = 16;

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
    /// Another device has added one.
    Introduced,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Finding {
    pub(crate) kind: Kind,
    device: Option<String>,
    /// Who added it, and what it was called then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    introduced: Option<Introduced>,
    /// When it was first seen: a label.
    pub(crate) at_ms: u64,
}

/// Who added a device, and what it was called then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Introduced {
    /// Full id.
    pub(crate) by: String,
    /// Fit to be shown.
    pub(crate) name: String,
}

impl Finding {
    /// About whom.
    pub(crate) fn device(&self) -> Option<DeviceId> {
        self.device.as_ref()?.parse().ok()
    }

    /// Who added it, if somebody did.
    pub(crate) fn by(&self) -> Option<DeviceId> {
        self.introduced.as_ref()?.by.parse().ok()
    }

    /// The name in `--json`.
    pub(crate) fn word(&self) -> &'static str {
        match self.kind {
            Kind::Copied => "home_copied",
            Kind::OwnLog => "own_log_behind",
            Kind::Twin => "key_used_twice",
            Kind::StoreAnew => "store_anew",
            Kind::Salvaged => "store_salvaged",
            Kind::Introduced => "device_added",
        }
    }

    /// What to tell. `name` is the device's, or that of whoever added it.
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
            Kind::Introduced => {
                let new = self.introduced.as_ref().map_or("", |i| i.name.as_str());
                format!("{name} added a new device: {new}")
            }
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
            Kind::Introduced => {
                "`ccpeer devices` shows it and puts this notice away; run `ccpeer accept` \
                 for it to exchange sessions with it here, `ccpeer revoke` if it is not yours"
            }
            Kind::StoreAnew | Kind::Salvaged => {
                "start the other devices; `ccpeer rekey --keep` puts this notice away"
            }
        }
    }
}

/// All of them, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    list: Vec<Finding>,
    /// Devices of which it was told that somebody added them: once is enough.
    introduced: BTreeSet<String>,
}

impl Findings {
    /// As stored. What cannot be read is forgotten.
    pub(crate) fn load(store: &Store) -> Result<Self, StoreError> {
        let list = store.note(Namespace::Setting, KEY)?;
        let introduced = store.note(Namespace::Setting, INTRODUCED_KEY)?;
        Ok(Self {
            list: list
                .and_then(|v| serde_json::from_slice(&v).ok())
                .unwrap_or_default(),
            introduced: introduced
                .and_then(|v| serde_json::from_slice(&v).ok())
                .unwrap_or_default(),
        })
    }

    /// Adds one; `None` if it is known already.
    pub(crate) fn add(
        &mut self,
        kind: Kind,
        device: Option<DeviceId>,
        at: Timestamp,
    ) -> Option<NoteWrite> {
        let device = device.map(|d| d.to_string());
        if self
            .list
            .iter()
            .any(|f| f.kind == kind && f.device == device)
        {
            return None;
        }
        self.push(Finding {
            kind,
            device,
            introduced: None,
            at_ms: at.0,
        });
        self.note()
    }

    /// Whether it was told already that somebody added this device.
    pub(crate) fn was_introduced(&self, device: &DeviceId) -> bool {
        self.introduced.contains(&device.to_string())
    }

    /// Somebody added a device. Beyond their bounds, such notices are not given:
    /// whoever adds thousands must not drown what else there is to tell.
    pub(crate) fn introduce(
        &mut self,
        device: DeviceId,
        introduced: Introduced,
        at: Timestamp,
    ) -> Vec<NoteWrite> {
        let device = device.to_string();
        if self.introduced.len() >= INTRODUCED_MAX || !self.introduced.insert(device.clone()) {
            return Vec::new();
        }
        let standing = self.list.iter().filter(|f| f.kind == Kind::Introduced);
        if standing.count() < INTRODUCED_SHOWN_MAX {
            self.push(Finding {
                kind: Kind::Introduced,
                device: Some(device),
                introduced: Some(introduced),
                at_ms: at.0,
            });
        }
        let known = serde_json::to_vec(&self.introduced).ok();
        let known = known.map(|value| NoteWrite {
            ns: Namespace::Setting,
            key: INTRODUCED_KEY.to_vec(),
            value: Some(value),
        });
        self.note().into_iter().chain(known).collect()
    }

    /// Forgets all of a kind.
    pub(crate) fn forget(&mut self, kind: Kind) -> Option<NoteWrite> {
        let before = self.list.len();
        self.list.retain(|f| f.kind != kind);
        (self.list.len() != before).then(|| self.note()).flatten()
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) -> Option<NoteWrite> {
        self.list.clear();
        self.note()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Finding> {
        self.list.iter()
    }

    fn push(&mut self, finding: Finding) {
        if self.list.len() >= FINDINGS_MAX {
            self.list.remove(0);
        }
        self.list.push(finding);
    }

    fn note(&self) -> Option<NoteWrite> {
        Some(NoteWrite {
            ns: Namespace::Setting,
            key: KEY.to_vec(),
            value: Some(serde_json::to_vec(&self.list).ok()?),
        })
    }
}
