//! Versions that came here from another program, and not out of Claude's directory.
//!
//! This device states them, and yet its files are not what they say: a capture must
//! not take one for its predecessor unless it was placed here. So they are
//! remembered, each with the entry that states it.

use std::collections::BTreeSet;

use ccpeer_core::entry::{ContentRef, Version};
use ccpeer_core::id::{EntryHash, SessionId};
use ccpeer_core::presence::SessionState;
use ccpeer_store::{Namespace, NoteWrite, Store, StoreError};
use tokio::sync::oneshot;

use super::effects::With;
use super::handle::stopping;
use super::{Driver, Handle, Head, Input};
use crate::api::ApiError;

/// What the keys of these notes begin with, in [`Namespace::Setting`].
const KEY: &[u8] = b"taken-in/";
/// Notes that are read at the start.
const NOTES_MAX: usize = 256 * 1024;

/// The versions, as remembered.
pub(crate) fn load(store: &Store) -> Result<BTreeSet<EntryHash>, StoreError> {
    let notes = store.notes_from(Namespace::Setting, KEY, NOTES_MAX)?;
    let keys = notes.into_iter().map(|(key, _)| key);
    let hashes = keys
        .take_while(|key| key.starts_with(KEY))
        .filter_map(|key| key.get(KEY.len()..)?.try_into().ok().map(EntryHash));
    Ok(hashes.collect())
}

fn note(version: &EntryHash) -> NoteWrite {
    NoteWrite {
        ns: Namespace::Setting,
        key: [KEY, &version.0].concat(),
        value: Some(Vec::new()),
    }
}

/// A line of a session.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    /// Its newest version.
    pub(crate) head: Head,
    /// What it grew from, the nearest first, if that was asked for.
    pub(crate) older: Vec<(EntryHash, ContentRef)>,
}

impl Handle {
    /// States a version that came from another program; its content is durable.
    pub(crate) async fn take_in(&self, version: Box<Version>) -> Result<EntryHash, ApiError> {
        let (tx, rx) = oneshot::channel();
        self.send(Input::TakeIn(version, tx)).await?;
        rx.await.map_err(|_| stopping())?
    }
}

impl Driver {
    /// The lines of every session, or of one alone; the newest of a session last.
    pub(super) fn held(&self, only: Option<SessionId>) -> Vec<Vec<Held>> {
        let sessions = self.machine.sessions();
        let wanted = sessions.filter(|(id, _)| only.is_none_or(|only| **id == only));
        let held = |head: Head| {
            let older = match only {
                Some(session) => self.relatives(&session, head.id).grew_from,
                None => Vec::new(),
            };
            let older = older.into_iter().filter_map(|(id, m)| Some((id, m?)));
            Held {
                older: older.collect(),
                head,
            }
        };
        wanted
            .map(|(_, record)| self.heads(record).into_iter().map(held).collect())
            .collect()
    }

    /// States a version that came from elsewhere; its content is durable already.
    pub(super) async fn take_in(
        &mut self,
        mut version: Version,
        done: oneshot::Sender<Result<EntryHash, ApiError>>,
    ) {
        let session = version.session;
        let record = self.machine.session(&session);
        let stated = record.and_then(|r| r.state_on(&self.shared.me));
        let here = stated.is_some_and(|(state, _)| state != SessionState::Archived);
        if here || self.open.contains_key(&session) {
            // What is open here stays so, whoever else wrote a line.
            version.state = self.state_here(&session);
        } else {
            self.states.insert(session, version.state);
        }
        let at = self.wall();
        let with = |hash| With {
            notes: vec![note(&hash)],
            ..With::default()
        };
        self.heed_share(session, None).await;
        let stated = self.state_version(version, at, Vec::new(), with).await;
        if let Ok(hash) = stated {
            self.taken_in.insert(hash);
            self.taken(session).await;
        }
        let _gone = done.send(stated.map_err(|e| crate::problem::store(&e)));
    }

    async fn taken(&mut self, session: SessionId) {
        self.tell_grown(session);
        self.shows(session).await;
    }
}
