//! What other devices said about a session, and who goes on with it. A word of a
//! device that is not connected is a label with an age.

use ccpeer_core::id::{DeviceId, EntryHash, SessionId};
use ccpeer_core::lineage::SessionRecord;
use ccpeer_core::presence::SessionState;
use ccpeer_core::time::Timestamp;

use super::Driver;
use crate::api::{self, DeviceName};
use crate::view;

/// What is known of one session beside its versions.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    /// Each device's last word, this device first, then the newest first.
    pub(crate) presence: Vec<api::Presence>,
    /// Who goes on with it.
    pub(crate) baton: Option<Baton>,
    /// Open here, and taken over by this device.
    pub(crate) taken_over_by: Option<DeviceName>,
    /// Versions known, by device, most first.
    pub(crate) versions: Vec<(DeviceName, u64)>,
    /// When the newest common version of all lines was written, by its author's
    /// clock; only where there is more than one line.
    pub(crate) forked_at: Option<Timestamp>,
}

/// Who goes on with a session, and since when, by its clock.
#[derive(Debug, Clone)]
pub(crate) struct Baton {
    pub(crate) device: DeviceName,
    pub(crate) is_me: bool,
    pub(crate) at: Timestamp,
}

impl Driver {
    /// A device's last word about a session.
    pub(super) fn presence(
        &self,
        device: &DeviceId,
        state: SessionState,
        at: Timestamp,
    ) -> api::Presence {
        let is_me = *device == self.shared.me;
        api::Presence {
            device: self.name_of(device),
            state: view::state_word(state).to_owned(),
            since: view::time(at),
            connected: is_me || self.links.contains(device),
            last_heard: if is_me {
                None
            } else {
                self.peers.last_seen(device).map(view::time)
            },
        }
    }

    /// When a device that is not connected was last heard of: by our clock, or
    /// by its own where somebody else passed its word on.
    pub(super) fn last_heard(&self, device: &DeviceId, said: Timestamp) -> Option<Timestamp> {
        let reached = *device == self.shared.me || self.links.contains(device);
        (!reached).then(|| self.peers.last_seen(device).unwrap_or(said))
    }

    /// The other device that has this line of a session open, one in a turn
    /// before one that waits, one that can be asked before one that cannot. Who
    /// writes another line has that one open, not this.
    pub(super) fn open_elsewhere(
        &self,
        session: &SessionId,
        head: &EntryHash,
    ) -> Option<api::Presence> {
        let record = self.machine.session(session)?;
        let author = record.node(head)?.log.device;
        let writes_another = |device: &DeviceId| {
            *device != author && record.lines().iter().any(|n| n.log.device == *device)
        };
        record
            .states()
            .filter(|(device, state, _)| {
                **device != self.shared.me
                    && state.is_open()
                    && self.machine.trusts(device)
                    && !writes_another(device)
            })
            .max_by_key(|(device, state, _)| {
                let up = self.links.contains(*device);
                (
                    *state == SessionState::Live && up,
                    up,
                    *state == SessionState::Live,
                )
            })
            .map(|(device, state, at)| self.presence(device, state, at))
    }

    /// The device that went on with a session that is open here, after we last
    /// said anything about it.
    pub(super) fn taken_over(&self, session: &SessionId) -> Option<DeviceId> {
        if !self.open.contains_key(session) {
            return None;
        }
        let record = self.machine.session(session)?;
        let (device, order, _) = record.baton()?;
        let said = record.stated_on(&self.shared.me);
        (device != self.shared.me && said < Some(order) && self.machine.trusts(&device))
            .then_some(device)
    }

    pub(super) fn all_taken_over(&self) -> Vec<api::TakenOver> {
        self.open
            .keys()
            .filter_map(|session| {
                Some(api::TakenOver {
                    session_id: session.to_string(),
                    by: self.name_of(&self.taken_over(session)?),
                })
            })
            .collect()
    }

    pub(super) fn standing(&self, session: &SessionId) -> Option<Standing> {
        let record = self.machine.session(session)?;
        let mut words: Vec<_> = record.states().collect();
        words.sort_by_key(|(device, _, at)| (**device != self.shared.me, std::cmp::Reverse(*at)));
        let mut counts: std::collections::BTreeMap<DeviceId, u64> =
            std::collections::BTreeMap::new();
        for node in record.nodes() {
            *counts.entry(node.log.device).or_default() += 1;
        }
        let mut versions: Vec<(DeviceName, u64)> = counts
            .iter()
            .map(|(device, n)| (self.name_of(device), *n))
            .collect();
        versions.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
        Some(Standing {
            presence: words
                .iter()
                .map(|(device, state, at)| self.presence(device, *state, *at))
                .collect(),
            baton: record.baton().map(|(device, _, at)| Baton {
                device: self.name_of(&device),
                is_me: device == self.shared.me,
                at,
            }),
            taken_over_by: self.taken_over(session).map(|d| self.name_of(&d)),
            versions,
            forked_at: forked_at(record),
        })
    }
}

/// The label of the newest version that all lines grew from.
fn forked_at(record: &SessionRecord) -> Option<Timestamp> {
    let lines = record.lines();
    if lines.len() < 2 {
        return None;
    }
    record
        .nodes()
        .filter(|n| lines.iter().all(|l| record.is_ancestor(&n.id, &l.id)))
        .max_by_key(|n| n.order())
        .map(|n| n.at)
}
