//! What of its own sessions a device shows to its peers: the user's choice, in the
//! form in which the machine keeps it. It knows no path and no rule; whoever knows
//! them says which session falls under what.

use alloc::collections::BTreeMap;

use crate::entry::{Content, SignedEntry};
use crate::id::SessionId;

/// How much of a session peers may have, the most first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Share {
    /// All of it.
    #[default]
    Whole,
    /// Its document and what lists show, and nothing that it could be continued
    /// from.
    Document,
    /// Nothing, not even that there is such a session.
    Local,
}

/// What holds for every session of this device.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sharing {
    /// The choice cannot be read: nothing about any session leaves until it can.
    pub closed: bool,
    /// For sessions that are not named.
    pub default: Share,
    /// For these.
    pub sessions: BTreeMap<SessionId, Share>,
}

impl Sharing {
    /// What holds for a session.
    #[must_use]
    pub fn of(&self, session: &SessionId) -> Share {
        if self.closed {
            return Share::Local;
        }
        self.sessions.get(session).copied().unwrap_or(self.default)
    }

    /// Whether all of everything is shared.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        let whole = |share: &Share| *share == Share::Whole;
        !self.closed && whole(&self.default) && self.sessions.values().all(whole)
    }

    /// Whether anything is kept back at all.
    #[must_use]
    pub fn keeps_any(&self) -> bool {
        self.closed
            || self.default == Share::Local
            || self.sessions.values().any(|s| *s == Share::Local)
    }

    /// Whether an entry of our own, which was stated when others might have it,
    /// goes without what it says by now. One that cannot be read does.
    #[must_use]
    pub fn withholds(&self, entry: &SignedEntry) -> bool {
        if entry.payload.is_none() || !self.keeps_any() {
            return false;
        }
        let Ok(verified) = entry.clone().verified_by_store() else {
            return true;
        };
        match verified.content() {
            Content::Withheld => false,
            Content::Unknown => true,
            Content::Known(body) => body
                .payload
                .session()
                .is_some_and(|session| self.of(&session) == Share::Local),
        }
    }
}
