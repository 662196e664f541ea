//! What the driver knows of a session that might be placed here without being
//! asked for. Must not know what follows from it.

use std::time::Duration;

use ccpeer_core::id::{DeviceId, SessionId};
use ccpeer_core::presence::SessionState;

use super::{Driver, Head};

/// A session, seen from here.
#[derive(Debug, Clone)]
pub(crate) struct Outlook {
    /// Its newest version.
    pub(crate) head: Head,
    /// Who wrote it, under the key of today.
    pub(crate) author: DeviceId,
    /// In how many lines it went on.
    pub(crate) lines: usize,
    /// A process here has it open, as far as hooks tell.
    pub(crate) open_here: bool,
    /// Another device is in a turn of it, by its last word.
    pub(crate) busy: Option<Busy>,
}

/// A device that is in a turn, by its last word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Busy {
    /// Its name here.
    pub(crate) name: String,
    /// How long it has not been connected; none if it is.
    pub(crate) away: Option<Duration>,
}

impl Driver {
    /// Nothing if no version of it is known.
    pub(super) fn outlook(&self, session: &SessionId) -> Option<Outlook> {
        let record = self.machine.session(session)?;
        let author = record.latest()?.log.device;
        let head = self.heads(record).into_iter().next_back()?;
        Some(Outlook {
            head,
            author: self.machine.current(&author),
            lines: record.lines().len(),
            open_here: self.open.contains_key(session),
            busy: self.busy(session),
        })
    }

    /// The device in a turn that has been heard of last.
    fn busy(&self, session: &SessionId) -> Option<Busy> {
        let states = self.machine.session(session)?.states();
        let others = states.filter(|(device, state, _)| {
            **device != self.shared.me
                && *state == SessionState::Live
                && self.machine.trusts(device)
        });
        let busy = others.map(|(device, _, _)| Busy {
            name: self.name_of(device).name,
            away: (!self.links.contains(device)).then(|| {
                // One that was not connected in this life of ours counts from its
                // beginning: no clock tells more.
                let since = self.away.get(device).unwrap_or(&self.started);
                since.elapsed()
            }),
        });
        busy.min_by_key(|b| b.away)
    }
}
