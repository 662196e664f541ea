//! How much is kept: bounds of what other devices may fill, and how long versions
//! stay that a later one contains. The user's choices, as one note in the store.

use std::collections::{BTreeMap, BTreeSet};

use std::path::{Path, PathBuf};

pub(crate) use crate::api::Introduce;
use crate::api::{Fetch, Gate, Place, SummaryBy, SummaryPolicy};
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
    /// What is placed without being asked for.
    #[serde(default)]
    pub(crate) places: Places,
    /// Whose code goes along.
    #[serde(default)]
    pub(crate) code: Codes,
    /// The line at the start of a session is wanted.
    #[serde(default = "yes")]
    pub(crate) start_line: bool,
    /// What becomes of secrets on their way to clients of `ccpeer serve`.
    #[serde(default = "default_serve_gate")]
    pub(crate) serve_gate: Gate,
    /// What is fetched by itself of what these devices wrote, by full id.
    #[serde(default)]
    pub(crate) fetch: BTreeMap<String, Fetch>,
}

/// Where a directory of a project that moved is now; nothing of any other.
pub(crate) type Moved = dyn Fn(&Path) -> Option<PathBuf> + Send + Sync;

/// What is placed without being asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Places {
    /// Where nothing else is said.
    #[serde(default)]
    pub(crate) default: Place,
    /// Of projects, by their directory here.
    #[serde(default)]
    pub(crate) dirs: BTreeMap<String, Place>,
    /// Of what these devices wrote, by full id.
    #[serde(default)]
    pub(crate) devices: BTreeMap<String, Place>,
}

impl Places {
    /// Whether this is said of anything.
    pub(crate) fn any(&self, how: Place) -> bool {
        self.default == how || self.dirs.values().any(|h| *h == how)
    }

    /// What holds in a directory, and whether it was said of it, or of one that it
    /// lies in: the nearest counts.
    pub(crate) fn of_dir(&self, dir: &Path) -> (Place, bool) {
        let of = |dir: &Path| self.dirs.get(dir.to_str()?).copied();
        match dir.ancestors().find_map(of) {
            Some(how) => (how, true),
            None => (self.default, false),
        }
    }

    /// What was said of a device.
    pub(crate) fn of_device(&self, device: &DeviceId) -> Option<Place> {
        self.devices.get(&device.to_string()).copied()
    }
}

/// Projects by their directory here, and whether the code goes along with their
/// sessions. Of what is not named it does not.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Codes(pub(crate) BTreeMap<String, bool>);

impl Codes {
    /// Whether it goes along anywhere.
    pub(crate) fn any(&self) -> bool {
        self.0.values().any(|on| *on)
    }

    /// What was said of sessions of this directory: the nearest word counts.
    pub(crate) fn said(&self, dir: &Path) -> Option<bool> {
        let of = |dir: &Path| self.0.get(dir.to_str()?).copied();
        dir.ancestors().find_map(of)
    }

    /// Takes the user's word about a directory.
    pub(crate) fn choose(&mut self, dir: String, on: bool) {
        self.0.remove(&dir);
        if self.said(Path::new(&dir)).unwrap_or_default() != on {
            self.0.insert(dir, on);
        }
    }
}

fn yes() -> bool {
    true
}

/// Whoever has a token is trusted with sessions; the user has given it.
fn default_serve_gate() -> Gate {
    Gate::Warn
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
            places: Places::default(),
            code: Codes::default(),
            start_line: true,
            serve_gate: default_serve_gate(),
            fetch: BTreeMap::new(),
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

    /// Says of directories that took others' place what was said of those, where
    /// nothing is said of them yet. How many words there are more.
    pub(crate) fn follow(&mut self, now: &Moved) -> usize {
        let place = |dir: &str| Some(now(Path::new(dir))?.to_str()?.to_owned());
        let before = self.places.dirs.len() + self.code.0.len();
        for (dir, how) in self.places.dirs.clone() {
            if let Some(dir) = place(&dir) {
                self.places.dirs.entry(dir).or_insert(how);
            }
        }
        for (dir, on) in self.code.0.clone() {
            if let Some(dir) = place(&dir) {
                self.code.0.entry(dir).or_insert(on);
            }
        }
        self.places.dirs.len() + self.code.0.len() - before
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

    /// Devices of whose sessions only documents come by themselves, by the keys that
    /// they use today.
    pub(crate) fn documents_only(
        &self,
        current: impl Fn(&DeviceId) -> DeviceId,
    ) -> BTreeSet<DeviceId> {
        let frugal = self.fetch.iter().filter(|(_, f)| **f == Fetch::Snapshots);
        frugal
            .filter_map(|(id, _)| Some(current(&id.parse().ok()?)))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_about_a_directory_counts() {
        let mut places = Places::default();
        let check = |places: &Places, dir: &str, want: (Place, bool)| {
            assert_eq!(places.of_dir(Path::new(dir)), want, "{dir}");
        };
        check(&places, "/w/a", (Place::Ask, false));
        assert!(!places.any(Place::Auto));
        places.default = Place::Auto;
        places.dirs.insert("/w/a".to_owned(), Place::Never);
        places.dirs.insert("/w/a/b".to_owned(), Place::Auto);
        check(&places, "/w/c", (Place::Auto, false));
        check(&places, "/w/a", (Place::Never, true));
        check(&places, "/w/a/x", (Place::Never, true));
        check(&places, "/w/a/b/x", (Place::Auto, true));
        check(&places, "/w/ab", (Place::Auto, false));
    }

    #[test]
    fn code_goes_along_where_that_was_said_and_nowhere_else() {
        let mut codes = Codes::default();
        assert!(!codes.any() && codes.said(Path::new("/w/a")).is_none());
        codes.choose("/w/a".to_owned(), true);
        codes.choose("/w/a/private".to_owned(), false);
        let check = |dir: &str, want| assert_eq!(codes.said(Path::new(dir)), want, "{dir}");
        check("/w/a", Some(true));
        check("/w/a/src", Some(true));
        check("/w/a/private/x", Some(false));
        check("/w/ab", None);
        check("/w", None);
        codes.choose("/w/a".to_owned(), false);
        codes.choose("/w/a/private".to_owned(), false);
        assert_eq!(codes, Codes::default(), "what says nothing is not kept");
    }

    #[test]
    fn a_policy_of_before_says_nothing_of_what_is_new() {
        let before: Policy = serde_json::from_str(r#"{"quota":7}"#).unwrap();
        assert_eq!(before.places, Places::default());
        assert!(before.start_line);
        assert_eq!(before.quota, 7);
    }
}
