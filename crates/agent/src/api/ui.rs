//! The local protocol's words for the page in the browser. Part of [`super`]; what
//! is not told here, the page is told in the words of other requests.

use serde::{Deserialize, Serialize};

use super::{Device, DeviceName, Session, Status, Task};

/// A step of [`Request::Ui`](super::Request::Ui).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum UiEvent {
    /// The page is there.
    Ready {
        /// Where; with what lets one browser in, once, within a minute. Never
        /// logged.
        url: String,
        /// Minutes without use after which it is switched off.
        idle_min: u64,
    },
}

impl std::fmt::Debug for UiEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // What lets a browser in is in it.
        f.write_str("UiEvent")
    }
}

/// What the page shows first, and again whenever it changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overview {
    /// As `status`.
    pub status: Status,
    /// As `devices`.
    pub devices: Vec<Device>,
    /// As `tasks`, the unfinished ones; only so many.
    pub tasks: Vec<Task>,
    /// There are more of them.
    pub more_tasks: bool,
    /// What is known of and not here as a whole; only so many.
    pub coming: Vec<Coming>,
}

/// A version that is on its way here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coming {
    /// Of which session.
    pub session_id: String,
    /// Which version.
    pub version: String,
    /// Its title.
    pub title: String,
    /// Name of the project.
    pub project: String,
    /// Where it was written.
    pub device: DeviceName,
    /// Pieces that are known to be missing,
    pub missing: u64,
    /// of so many.
    pub known: u64,
    /// Connected devices that hold all of it.
    pub held_by: Vec<DeviceName>,
}

/// The sessions, as the page lists them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionList {
    /// As `sessions`; only so many, the newest first.
    pub sessions: Vec<Session>,
    /// How many there are in all.
    pub total: u64,
}

/// When there was work, by device and project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activity {
    /// The hour with which it begins, counted from 1970 in UTC.
    pub first_hour: u64,
    /// How many hours.
    pub hours: u64,
    /// The busiest first; only so many.
    pub lanes: Vec<Lane>,
    /// There are more of them.
    pub more_lanes: bool,
}

/// The work of one device in one project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lane {
    /// Where.
    pub device: DeviceName,
    /// Name of the project.
    pub project: String,
    /// Turns and other captures in all.
    pub total: u64,
    /// Hours after the first one in which there were some, and how many.
    pub hours: Vec<(u32, u32)>,
}
