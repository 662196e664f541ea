//! How much is kept: bounds of what other devices may fill, and how long versions
//! stay that a later one contains. The user's choices, as one note in the store.

use std::collections::BTreeMap;

pub(crate) use crate::api::Introduce;
use crate::api::{SummaryBy, SummaryPolicy};
use crate::enrich::{EVERY_MIN, PER_DAY, PER_HOUR};
use ccpeer_core::id::DeviceId;
use ccpeer_core::limits;
use ccpeer_core::sync::event::Quotas;
use ccpeer_store::{Namespace, NoteWrite, Store, StoreError};
use serde::{Deserialize, Serialize};

/// Key in [`Namespace::Setting`].
const KEY: &[u8] = b"policy";
/// Days for which a superseded version is kept unless the user says otherwise:
/// as long as Claude Code itself keeps a session, and as the backups of what a
/// placement replaced. A version that is contained in a later one costs a
/// manifest, a snapshot and the end of a file, so a month of them is cheap.
const KEEP_DAYS: u64 = 30;
/// More days than this are for ever.
pub(crate) const KEEP_DAYS_MAX: u64 = 365;

/// The choices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Policy {
    /// Bytes for each other device.
    #[serde(default = "default_quota")]
    pub(crate) quota: u64,
    /// Bytes for these, by full id.
    #[serde(default)]
    pub(crate) quotas: BTreeMap<String, u64>,
    /// What becomes of offers, by the full id of who makes them.
    #[serde(default)]
    pub(crate) introduce: BTreeMap<String, Introduce>,
    /// `None`: for ever.
    #[serde(default = "default_keep")]
    pub(crate) keep_days: Option<u64>,
    /// Off until the user says otherwise: it costs something.
    #[serde(default = "default_summary")]
    pub(crate) summary: SummaryPolicy,
}

fn default_quota() -> u64 {
    limits::QUOTA_BYTES_PER_DEVICE
}

#[expect(clippy::unnecessary_wraps, reason = "the type of the field")]
fn default_keep() -> Option<u64> {
    Some(KEEP_DAYS)
}

fn default_summary() -> SummaryPolicy {
    SummaryPolicy {
        by: SummaryBy::Off,
        chosen: false,
        every_min: EVERY_MIN,
        per_hour: PER_HOUR,
        per_day: PER_DAY,
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            quota: default_quota(),
            quotas: BTreeMap::new(),
            introduce: BTreeMap::new(),
            keep_days: default_keep(),
            summary: default_summary(),
        }
    }
}

impl Policy {
    /// As stored. What cannot be read keeps everything: a choice that was lost
    /// must not cost anything.
    pub(crate) fn load(store: &Store) -> Result<Self, StoreError> {
        let cautious = || Self {
            keep_days: None,
            ..Self::default()
        };
        Ok(match store.note(Namespace::Setting, KEY) {
            Ok(None) => Self::default(),
            Ok(Some(value)) => serde_json::from_slice(&value).unwrap_or_else(|_| cautious()),
            Err(StoreError::Corrupt { .. }) => cautious(),
            Err(e) => return Err(e),
        })
    }

    /// The write that keeps it.
    pub(crate) fn note(&self) -> Option<NoteWrite> {
        Some(NoteWrite {
            ns: Namespace::Setting,
            key: KEY.to_vec(),
            value: Some(serde_json::to_vec(self).ok()?),
        })
    }

    /// What becomes of offers, by who makes them.
    pub(crate) fn introductions(&self) -> BTreeMap<DeviceId, Introduce> {
        let of = self.introduce.iter();
        of.filter_map(|(id, how)| Some((id.parse().ok()?, *how)))
            .collect()
    }

    /// For the machine. `current` tells the key that a device uses today: a bound
    /// outlives the key for which it was set.
    pub(crate) fn quotas(&self, current: impl Fn(&DeviceId) -> DeviceId) -> Quotas {
        let of = self.quotas.iter();
        Quotas {
            each: self.quota,
            of: of
                .filter_map(|(id, bytes)| Some((current(&id.parse().ok()?), *bytes)))
                .collect(),
        }
    }
}
