//! Sessions that Claude Code is about to delete while nobody else holds them.
//!
//! Claude Code deletes transcripts by the age of the file. That loses nothing
//! that was captured, but what only one disk holds is worth a word in time.

use std::collections::BTreeMap;

use ccpeer_core::codec;
use ccpeer_core::id::{EntryHash, SessionId};
use ccpeer_core::limits;
use ccpeer_core::manifest::Want;
use ccpeer_core::sharing::Share;
use ccpeer_core::time::Timestamp;
use ccpeer_formats::claude::retention;
use ccpeer_store::{Namespace, NoteWrite, Store, StoreError};

use super::captures::Swept;
use super::{Driver, wall};
use crate::api;
use crate::home::Home;
use crate::view;

/// Keys in [`Namespace::Setting`] of what somebody else is known to hold begin
/// so; the session's id follows.
const HELD: &[u8] = b"held:";
/// Days before a deletion in which it is told.
const WARN_DAYS: u64 = 5;
/// Sessions that are named at once.
const NAMED_MAX: usize = 100;
const DAY_MS: u64 = 24 * 3600 * 1000;

/// What is remembered between two looks.
#[derive(Debug, Default)]
pub(crate) struct Expiry {
    /// The version of a session of ours that another device held last.
    held: BTreeMap<SessionId, EntryHash>,
    cleanup_days: u64,
    /// Sessions within their last days, and when they may go.
    due: Vec<(SessionId, Timestamp)>,
}

impl Expiry {
    /// With what is remembered of former runs.
    pub(crate) fn load(store: &Store) -> Result<Self, StoreError> {
        let read = |(key, value): (Vec<u8>, Vec<u8>)| {
            let session = key.strip_prefix(HELD)?.try_into().ok()?;
            let version = codec::decode(&value, limits::NOTE_VALUE_BYTES_MAX).ok()?;
            Some((SessionId(session), version))
        };
        let notes = store.notes(Namespace::Setting)?;
        Ok(Self {
            held: notes.into_iter().filter_map(read).collect(),
            cleanup_days: retention::DEFAULT_DAYS,
            due: Vec::new(),
        })
    }

    /// What is remembered of a session.
    pub(super) fn note(&self, session: &SessionId) -> Option<NoteWrite> {
        Some(NoteWrite {
            ns: Namespace::Setting,
            key: [HELD, &session.0].concat(),
            value: Some(codec::encode(self.held.get(session)?)),
        })
    }

    /// Takes in what a look through the directory has found.
    pub(super) fn look(&mut self, found: &[Swept], cleanup_days: u64) {
        let now = wall();
        let period = cleanup_days.saturating_mul(DAY_MS);
        let warn = WARN_DAYS.min(cleanup_days).saturating_mul(DAY_MS);
        self.cleanup_days = cleanup_days;
        self.due = found
            .iter()
            .map(|s| (s.session, Timestamp(s.modified.0.saturating_add(period))))
            .filter(|(_, ends)| ends.0 <= now.0.saturating_add(warn))
            .collect();
        self.due.sort_by_key(|(_, ends)| *ends);
    }
}

/// Days that Claude Code keeps a session, by the user's settings here.
pub(crate) fn cleanup_days(home: &Home) -> u64 {
    use std::io::Read;
    let read = || {
        let path = home.claude_settings();
        // It may be a link of the user's own making, but nothing that blocks.
        let plain = std::fs::metadata(&path).is_ok_and(|m| m.is_file());
        let file = plain.then(|| std::fs::File::open(&path).ok())??;
        let mut bytes = Vec::new();
        file.take(limits::SETTINGS_BYTES_MAX as u64)
            .read_to_end(&mut bytes)
            .ok()?;
        retention::cleanup_days(&bytes)
    };
    read().unwrap_or(retention::DEFAULT_DAYS)
}

impl Driver {
    /// Another device holds all of this version.
    pub(super) fn note_held(&mut self, version: &EntryHash) {
        let Some(node) = self.machine.version_of(version) else {
            return;
        };
        let session = node.version.session;
        if self.expiry.held.insert(session, *version) == Some(*version) {
            return;
        }
        self.later.held.insert(session);
    }

    /// What is about to be deleted and held by nobody else.
    pub(super) fn expiring(&self) -> api::Expiring {
        // What is to stay here is held where it is to be.
        let shared = |s: &SessionId| self.machine.sharing().of(s) == Share::Whole;
        let sessions = self.expiry.due.iter();
        let sessions = sessions.filter(|(s, _)| shared(s) && !self.is_held(s));
        api::Expiring {
            cleanup_days: self.expiry.cleanup_days,
            warn_days: WARN_DAYS,
            sessions: sessions
                .take(NAMED_MAX)
                .map(|(session, ends)| api::ExpiringSession {
                    session_id: session.to_string(),
                    expires: view::time(*ends),
                    captured: self
                        .machine
                        .session(session)
                        .is_some_and(|r| r.latest().is_some_and(|n| self.machine.is_here(n))),
                })
                .collect(),
        }
    }

    /// Whether another device is known to hold what lies here of a session: it
    /// said so, or it wrote what came after.
    fn is_held(&self, session: &SessionId) -> bool {
        let Some(record) = self.machine.session(session) else {
            return false;
        };
        let own = record
            .nodes()
            .filter(|n| n.log.device == self.shared.me)
            .max_by_key(|n| n.order());
        let Some(own) = own else {
            return record.has_versions();
        };
        let manifest = own.version.manifest;
        self.expiry.held.get(session) == Some(&own.id)
            || manifest.is_some_and(|m| {
                let holders = self.machine.holders(&Want::manifest(m.id));
                !holders.is_empty()
            })
            || record.nodes().any(|n| {
                n.log.device != self.shared.me
                    && (n.version.manifest == manifest || record.is_ancestor(&own.id, &n.id))
            })
    }
}
