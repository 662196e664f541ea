//! Heads of sessions: what is to be known of one for showing or fetching it. Must
//! not know how lists look.

use std::collections::BTreeMap;

use ccpeer_core::entry::{ContentRef, Version};
use ccpeer_core::id::{DeviceId, EntryHash};
use ccpeer_core::lineage::{SessionRecord, VersionNode};
use ccpeer_core::manifest::Want;
use ccpeer_core::presence::SessionState;
use ccpeer_core::time::Timestamp;

use super::Driver;
use crate::api::{self, DeviceName};
use crate::view;

/// A head of a session, with what is to be known for showing or fetching it.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    pub(crate) id: EntryHash,
    pub(crate) device: DeviceName,
    pub(crate) hostname: String,
    /// The machine that its document comes from, if there is nothing but that.
    pub(crate) writer: Option<String>,
    pub(crate) from_me: bool,
    pub(crate) version: Version,
    pub(crate) state: SessionState,
    pub(crate) complete: bool,
    /// Its manifest came, and is none that this ccpeer can read.
    pub(crate) unreadable: bool,
    /// The author has a link to us now.
    pub(crate) author_up: bool,
    /// When the device whose word the state is was last heard of, if it is not
    /// connected.
    pub(crate) last_heard: Option<Timestamp>,
    /// The better document that is the nearest on its line.
    pub(crate) document: Option<ContentRef>,
    /// The capsule that is.
    pub(crate) capsule: Option<super::HeadCapsule>,
    /// What others may have of what this device says of the session.
    pub(crate) share: api::Share,
}

/// Where a session stands.
pub(super) struct Stated {
    pub(super) state: SessionState,
    /// As in [`Head`].
    pub(super) last_heard: Option<Timestamp>,
}

/// What is the same for all that one device wrote.
pub(super) struct Author {
    pub(super) name: DeviceName,
    pub(super) hostname: String,
    pub(super) is_me: bool,
    is_up: bool,
}

/// Who wrote the sessions of one answer: found out once for all of them.
pub(super) type Authors = BTreeMap<DeviceId, Author>;

impl Driver {
    /// Where a session stands on the line of a version, and by whose word.
    pub(super) fn state_of(
        &self,
        record: &SessionRecord,
        node: &VersionNode,
        only: bool,
    ) -> Stated {
        let author = node.log.device;
        let stated = if only {
            record.state()
        } else {
            let word = record.state_on(&author);
            word.map(|(state, at)| (author, state, at))
        };
        let last_heard = stated.and_then(|(device, _, at)| self.last_heard(&device, at));
        let state = if record.done() {
            SessionState::Done
        } else {
            stated.map_or(node.version.state, |(_, state, _)| state)
        };
        Stated { state, last_heard }
    }

    /// Who that is, found out when he is met first.
    pub(super) fn author<'a>(&self, device: DeviceId, authors: &'a mut Authors) -> &'a Author {
        authors
            .entry(device)
            .or_insert_with(|| self.author_now(&device))
    }

    fn author_now(&self, device: &DeviceId) -> Author {
        let name = self.name_of(device);
        let hostname = self.machine.device_info(device);
        let current = self.machine.current(device);
        Author {
            hostname: hostname.map_or_else(|| name.name.clone(), |i| view::line(&i.name)),
            name,
            is_me: current == self.shared.me,
            is_up: self.links.contains(&current),
        }
    }

    pub(super) fn head(
        &self,
        record: &SessionRecord,
        node: &VersionNode,
        only: bool,
        authors: &mut Authors,
    ) -> Head {
        let author = self.author(node.log.device, authors);
        let Stated { state, last_heard } = self.state_of(record, node, only);
        let manifest = node.version.manifest.map(|m| Want::manifest(m.id));
        Head {
            id: node.id,
            hostname: author.hostname.clone(),
            writer: self.writer_of(&node.version),
            device: author.name.clone(),
            from_me: author.is_me,
            version: node.version.clone(),
            state,
            complete: manifest.is_none_or(|m| self.machine.is_complete(&m)),
            unreadable: manifest.is_some_and(|m| self.machine.is_unreadable(&m)),
            author_up: author.is_up,
            last_heard,
            document: record.nearest_document(&node.id).map(|(_, d)| d.snapshot),
            capsule: self.capsule_of(record, node),
            share: self.share_here(record, &node.version.session),
        }
    }

    pub(super) fn heads(&self, record: &SessionRecord) -> Vec<Head> {
        let nodes = record.lines();
        let only = nodes.len() == 1;
        let mut authors = Authors::new();
        let heads = nodes.iter();
        heads
            .map(|n| self.head(record, n, only, &mut authors))
            .collect()
    }
}
