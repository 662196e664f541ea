//! What is chosen for a mirror and what is remembered of it: one file each in its
//! directory below home. What is remembered only saves work; without it, it is
//! found out anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::layouts::Memory;
use super::repo::Oid;
use crate::api::Gate;
use crate::home::Home;
use crate::keys;

/// Mirrors of one device.
pub(crate) const MIRRORS_MAX: usize = 8;
/// Bytes of a file of ours that are read.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Seconds after which a change is in the mirror at the latest, unless the user
/// says otherwise.
pub(crate) const PUSH_EVERY_S: u64 = 300;
/// The same for the hand-off of a session that is open: as often as the program that
/// such a file is for writes it.
pub(crate) const SNAPSHOT_EVERY_S: u64 = 1800;
/// The same for its bundle, which is the whole session each time. One that is closed
/// does not wait.
pub(crate) const BUNDLE_EVERY_S: u64 = 6 * 3600;
/// What can be chosen.
pub(crate) const EVERY_S_BOUNDS: (u64, u64) = (10, 30 * 24 * 3600);

/// The choices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Config {
    /// Where it is: a path or an address. It may hold a password: never shown.
    pub(crate) url: String,
    pub(crate) branch: String,
    pub(crate) encrypted: bool,
    /// Sessions in which a secret was found are mirrored all the same.
    #[serde(default)]
    pub(crate) with_secrets: bool,
    /// What becomes of those sessions, where the user has said so since.
    #[serde(default)]
    pub(crate) secrets: Option<Gate>,
    pub(crate) push_every_s: u64,
    #[serde(default = "snapshot_every")]
    pub(crate) snapshot_every_s: u64,
    #[serde(default = "bundle_every")]
    pub(crate) bundle_every_s: u64,
}

impl Config {
    /// What becomes of sessions in which something looks like a secret. An encrypted
    /// mirror is read by the devices that have them anyway.
    pub(crate) fn gate(&self) -> Gate {
        let lets_in = self.encrypted || self.with_secrets;
        let default = if lets_in { Gate::Warn } else { Gate::Hold };
        self.secrets.unwrap_or(default)
    }
}

fn snapshot_every() -> u64 {
    SNAPSHOT_EVERY_S
}

fn bundle_every() -> u64 {
    BUNDLE_EVERY_S
}

/// What is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct State {
    /// The tip that was seen last. It must be in the past of whatever comes.
    #[serde(default)]
    pub(crate) tip: Option<Oid>,
    /// When it was up to date last, by the wall clock: shown only.
    #[serde(default)]
    pub(crate) synced_ms: u64,
    /// What went wrong the last time, and what to do.
    #[serde(default)]
    pub(crate) error: Option<(String, Option<String>)>,
    /// Sessions whose secrets keep them out of a plain mirror, by id, with the
    /// manifest that was looked at.
    #[serde(default)]
    pub(crate) held: BTreeMap<String, String>,
    /// Sessions that are there with their secrets, by id.
    #[serde(default)]
    pub(crate) warned: BTreeSet<String>,
    /// The remote went back, and nothing is done before the user has seen it.
    #[serde(default)]
    pub(crate) went_back: bool,
    /// Parts of this device that cannot be read.
    #[serde(default)]
    pub(crate) broken: u64,
    /// Hand-offs that were written, by session.
    #[serde(default)]
    pub(crate) tasks: Memory,
    /// Bundles, likewise.
    #[serde(default)]
    pub(crate) bundles: Memory,
}

impl State {
    pub(crate) fn rolled_back(&self) -> bool {
        self.went_back
    }
}

/// A mirror as it lies in home.
#[derive(Debug, Clone)]
pub(crate) struct Mirror {
    pub(crate) name: String,
    pub(crate) dir: PathBuf,
    pub(crate) config: Config,
    pub(crate) state: State,
}

impl Mirror {
    /// A new one. Not kept yet.
    pub(crate) fn new(home: &Home, config: Config) -> Self {
        let name = blake3::hash(config.url.as_bytes()).to_hex();
        let name = name.get(..12).unwrap_or_default().to_owned();
        Self {
            dir: home.mirror(&name),
            name,
            config,
            state: State::default(),
        }
    }

    /// All that are kept, in the order of their names.
    pub(crate) fn all(home: &Home) -> Vec<Self> {
        let Ok(found) = fs::read_dir(home.mirrors()) else {
            return Vec::new();
        };
        let mut names: Vec<String> = found
            .flatten()
            .filter_map(|e| e.file_name().into_string().ok())
            .collect();
        names.sort();
        names.truncate(MIRRORS_MAX);
        names
            .into_iter()
            .filter_map(|name| {
                let dir = home.mirror(&name);
                let config = read(&dir.join("mirror.json"))?;
                let state = read(&dir.join("state.json")).unwrap_or_default();
                Some(Self {
                    name,
                    dir,
                    config,
                    state,
                })
            })
            .collect()
    }

    /// What it is, in a word.
    pub(crate) fn kind(&self) -> &'static str {
        match self.config.encrypted {
            true => "encrypted",
            false => "plain",
        }
    }

    /// Where its repository lies.
    pub(crate) fn repo(&self) -> PathBuf {
        self.dir.join("repo.git")
    }

    /// What of this device the remote holds.
    pub(crate) fn carried(&self) -> PathBuf {
        self.dir.join("carried")
    }

    /// Keeps the choices.
    pub(crate) fn save_config(&self) -> std::io::Result<()> {
        crate::start::private_dir(&self.dir)?;
        self.write("mirror.json", &self.config)
    }

    /// Keeps what is remembered.
    pub(crate) fn save_state(&self) -> std::io::Result<()> {
        self.write("state.json", &self.state)
    }

    fn write(&self, name: &str, value: &impl Serialize) -> std::io::Result<()> {
        let bytes = serde_json::to_vec(value).map_err(std::io::Error::other)?;
        keys::write_private(&self.dir.join(name), &bytes)
    }

    /// Forgets it here. The remote stays as it is.
    pub(crate) fn forget(&self) -> std::io::Result<()> {
        // Without its choices it is no mirror any more, whatever else stays.
        fs::remove_file(self.dir.join("mirror.json"))?;
        fs::remove_dir_all(&self.dir)
    }
}

fn read<T: serde::de::DeserializeOwned>(path: &std::path::Path) -> Option<T> {
    let long = fs::metadata(path).ok()?.len() > FILE_BYTES_MAX;
    (!long).then(|| serde_json::from_slice(&fs::read(path).ok()?).ok())?
}
