//! The local protocol's words for looking after the store, the key and what is
//! kept: part of [`super`], told apart because it is long.

use serde::{Deserialize, Serialize};

use super::placing::{Place, ProjectPlace};
use super::sharing::{Fetch, Share, ShareLeft, ShareRule, ShareWhich};
use super::{
    BridgeGate, DeviceName, Gate, Paused, ProjectCode, SecretsFound, SummaryChange, SummaryPolicy,
};

/// One thing that was found and holds until it is dealt with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// `home_copied`, `own_log_behind`, `key_used_twice`, `store_anew`,
    /// `store_salvaged`, `device_added`, `quarantined`, `revoked_there`,
    /// `secret_in_session` or `sharing_closed`.
    pub kind: String,
    /// About which device; null for this one.
    pub device: Option<DeviceName>,
    /// A sentence.
    pub message: String,
    /// What to do.
    pub hint: String,
    /// When it was first seen, RFC 3339.
    pub since: String,
}

/// `verify`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// All is well by now.
    pub ok: bool,
    /// What was looked at.
    pub checked: Checked,
    /// What was found.
    pub problems: Vec<Problem>,
    /// Problems that were made good from other devices.
    #[serde(default)]
    pub repaired: u64,
    /// Problems that nobody can make good.
    #[serde(default)]
    pub lost: u64,
}

/// Amounts in `verify`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Checked {
    /// Entries.
    pub entries: u64,
    /// Chunks.
    pub chunks: u64,
    /// Bytes of content read.
    pub bytes: u64,
}

/// One finding of `verify`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What kind.
    pub kind: String,
    /// Of what.
    pub id: String,
    /// What is wrong with it.
    #[serde(default)]
    pub what: String,
    /// Whether a peer can make it good.
    pub repairable: bool,
    /// Whether it is good again.
    #[serde(default)]
    pub repaired: bool,
}

/// What becomes of this device's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RekeyHow {
    /// A new one takes its place, and those who trusted it trust the new one.
    Roll,
    /// This home is a copy: it becomes a device of its own, which must be paired
    /// anew; the original keeps its key.
    Separate,
    /// It stays; whatever pointed to a copy has been dealt with.
    Keep,
}

/// `rekey`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rekeyed {
    /// This device from now on.
    pub device: DeviceName,
    /// The id that it had before, if it has another one now.
    pub replaced: Option<String>,
    /// Devices that know of it already.
    pub told: Vec<DeviceName>,
    /// Devices that trusted the old key and will hear of it later.
    pub untold: Vec<DeviceName>,
}

/// `accept`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// Which device.
    pub device: DeviceName,
    /// Whether anything was to be said: false if it was in already.
    pub changed: bool,
    /// What it says of this device, as in [`Device`](super::Device).
    pub theirs: String,
}

/// `policy`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Bytes of content kept because of one other device.
    pub quota_default: u64,
    /// Bounds of single devices, and what is used of them.
    pub devices: Vec<DevicePolicy>,
    /// Days for which a version is kept after it was superseded by one that
    /// contains it; null: for ever.
    pub keep_days: Option<u64>,
    /// Who tells sessions better than facts alone do, and how often.
    pub summary: SummaryPolicy,
    /// Whether sessions of other devices are placed by themselves.
    #[serde(default)]
    pub place_default: Place,
    /// In these projects it is otherwise.
    #[serde(default)]
    pub place_projects: Vec<ProjectPlace>,
    /// Whether the code goes along with sessions of these projects; with no others.
    #[serde(default)]
    pub code_projects: Vec<ProjectCode>,
    /// The line at the start of a session.
    #[serde(default)]
    pub start_line: bool,
    /// The pause, if there is one.
    #[serde(default)]
    pub paused: Option<Paused>,
    /// What becomes of secrets on their way to bridges.
    #[serde(default)]
    pub bridges: Vec<BridgeGate>,
    /// Sessions of this device that hold what looks like a secret, the latest first.
    #[serde(default)]
    pub secrets: Vec<SecretsFound>,
    /// What others may have of this device's sessions, where no rule says otherwise.
    #[serde(default)]
    pub share_default: Share,
    /// The rules, in the order in which they are looked at.
    #[serde(default)]
    pub share_rules: Vec<ShareRule>,
    /// Why nothing leaves, if the rules cannot be read.
    #[serde(default)]
    pub share_closed: Option<String>,
    /// What a change of the rules that was just made left behind.
    #[serde(default)]
    pub share_left: Option<ShareLeft>,
}

/// One device in `policy`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DevicePolicy {
    /// Which.
    pub device: DeviceName,
    /// Bytes of content kept because of it.
    pub used: u64,
    /// Its bound; null for this device, which has none.
    pub quota: Option<u64>,
    /// Something of it was not fetched because of the bound.
    pub over: bool,
    /// What becomes of the devices that it offers: `ask`, `auto` or `never`; null
    /// for this device.
    #[serde(default)]
    pub introduce: Option<Introduce>,
    /// Whether what it wrote may be placed by itself; null for this device.
    #[serde(default)]
    pub place: Option<Place>,
    /// What of its sessions is fetched by itself; null for this device.
    #[serde(default)]
    pub fetch: Option<Fetch>,
}

/// What becomes of the devices that another one adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Introduce {
    /// They are shown as offered.
    #[default]
    Ask,
    /// They are taken in; what they add themselves is only offered.
    Auto,
    /// They are not shown.
    Never,
}

/// What to change in `policy`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "set", rename_all = "snake_case")]
pub enum PolicyChange {
    /// A bound.
    Quota {
        /// Of this device, as in `Revoke`; of all others if absent.
        device: Option<String>,
        /// Bytes.
        bytes: u64,
    },
    /// What becomes of the devices that another one adds.
    Introduce {
        /// Of this one, as in `Revoke`.
        device: String,
        /// What becomes of them.
        how: Introduce,
    },
    /// Whether sessions are placed by themselves.
    Place {
        /// In this project: its name or its directory; everywhere else if absent.
        project: Option<String>,
        /// Whether; `ask` takes back what was said of a project.
        how: Place,
    },
    /// Whether what this device wrote is placed by itself.
    PlaceFrom {
        /// As in `Revoke`.
        device: String,
        /// `never`, or anything else for as others.
        how: Place,
    },
    /// Whether the code goes along with a project's sessions.
    Code {
        /// Its name or its directory.
        project: String,
        /// Whether.
        on: bool,
    },
    /// Whether a line is said at the start of a session.
    StartLine {
        /// Whether.
        on: bool,
    },
    /// How long superseded versions are kept.
    Keep {
        /// Days; null: for ever.
        days: Option<u64>,
    },
    /// Summaries by a model.
    Summary(SummaryChange),
    /// Exchange nothing with anybody.
    Pause {
        /// For so long; until [`PolicyChange::Resume`] if absent.
        seconds: Option<u64>,
    },
    /// Exchange again.
    Resume,
    /// What becomes of secrets on their way to a bridge.
    Secrets {
        /// `serve`, or a git mirror: its name, or its address.
        bridge: String,
        /// What is done.
        how: Gate,
    },
    /// The user has seen in which sessions there are some.
    SecretsSeen,
    /// What others may have of this device's sessions.
    Share {
        /// Of which.
        which: ShareWhich,
        /// What; null takes the rule away.
        share: Option<Share>,
        /// All rules that were are forgotten.
        anew: bool,
    },
    /// What of a device's sessions is fetched by itself.
    Fetch {
        /// As in `Revoke`.
        device: String,
        /// What.
        how: Fetch,
    },
}

/// What Claude Code's own sweep is about to take.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Expiring {
    /// Days after which it deletes a session (`cleanupPeriodDays`).
    pub cleanup_days: u64,
    /// How many days ahead is told.
    pub warn_days: u64,
    /// Those that no other device is known to hold.
    pub sessions: Vec<ExpiringSession>,
}

/// One session that is about to be deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpiringSession {
    /// Which session.
    pub session_id: String,
    /// When it may be deleted, RFC 3339.
    pub expires: String,
    /// Whether our own store holds it: then `continue` brings it back.
    pub captured: bool,
}
