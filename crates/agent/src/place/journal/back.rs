//! Taking placements back: those that the user asked for in a row, the last one
//! first, and what nobody asked for with its session.
//!
//! Must not know how a placement is made.

use ccpeer_core::id::SessionId;
use ccpeer_core::limits;
use ccpeer_store::{Namespace, NoteWrite, Store, StoreError};

use super::{
    Record, Reversed, Site, Staging, decode, encode, fork_note, joined_note, note, unasked,
};
use crate::place::{PlaceError, Undone};
use crate::{capture, live};

/// Placements that can be taken back, one after the other.
const UNDO_MAX: usize = limits::BACKUPS_KEPT_MIN;

impl Site<'_> {
    /// What remembers that a placement which the user asked for can be taken back.
    pub(super) fn undo_notes(&self, record: &Record) -> Result<Vec<NoteWrite>, PlaceError> {
        let known = undoable(self.store)?;
        let next = known.last().map_or(0, |(n, _)| n + 1);
        let mut notes = vec![undo_note(next, Some(encode(record)?))];
        let spare = (known.len() + 1).saturating_sub(UNDO_MAX);
        notes.extend(known.iter().take(spare).map(|(n, _)| undo_note(*n, None)));
        Ok(notes)
    }

    /// Whether everything lies as it was placed.
    fn lies(&self, record: &Record) -> Result<bool, PlaceError> {
        for step in &record.steps {
            if self.content(&record.names(step)?)? != Some(step.new) {
                return Ok(false);
            }
        }
        for file in &record.left.files {
            let lying = self.content(&record.left_names(file)?)?;
            if lying.is_some_and(|lying| lying != file.content) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Takes back a placement that has happened.
    fn undo(&self, record: &Record) -> Result<Undone, PlaceError> {
        if !self.lies(record)? {
            return Err(PlaceError::ChangedSince(record.session));
        }
        let undoing = Record {
            undoing: true,
            ..record.clone()
        };
        let notes = [note(record.key(0), Some(encode(&undoing)?))];
        self.disk.put_notes(self.store, &notes)?;
        self.disk.pass("journal is durable")?;
        let reversed = self.reverse(&undoing)?;
        self.forget(record, reversed)?;
        Ok(Undone {
            session: record.session,
            restored: reversed.restored,
            removed: reversed.removed,
        })
    }

    /// After a placement was taken back, nothing is remembered of it.
    pub(super) fn forget(&self, record: &Record, reversed: Reversed) -> Result<(), PlaceError> {
        let known = undoable(self.store)?;
        let asked = known.iter().filter(|(_, r)| r.id == record.id);
        let mut notes: Vec<NoteWrite> = asked.map(|(n, _)| undo_note(*n, None)).collect();
        if unasked::of(self.store, &record.session)?.is_some_and(|r| r.id == record.id) {
            notes.push(unasked::note(&record.session, None));
        }
        notes.extend([
            NoteWrite {
                ns: Namespace::Session,
                key: record.session.0.to_vec(),
                value: record.state_before.clone(),
            },
            note(record.key(0), None),
            joined_note(&record.session, None),
            unasked::taken_back(&record.session, true),
            self.settle_backups(record, reversed)?,
        ]);
        if record.asked.0 != record.session {
            notes.push(NoteWrite {
                value: None,
                ..fork_note(record.asked, record.session)
            });
        }
        notes.extend(capture::forget_digest(self.store, &record.session)?);
        self.disk.put_notes(self.store, &notes)?;
        Staging::of(self.disk, self.root, &record.name()).remove();
        Ok(())
    }
}

/// The session that the last placement which the user asked for wrote.
pub(in crate::place) fn undo_next(store: &Store) -> Result<Option<SessionId>, StoreError> {
    Ok(undoable(store)?.pop().map(|(_, record)| record.session))
}

/// Takes back the last placement that wrote this session. A refresh that nobody
/// asked for goes with the placement that it refreshed.
pub(in crate::place) fn undo(site: &Site<'_>, of: &SessionId) -> Result<Undone, PlaceError> {
    if live::live_sessions(site.home).contains_key(of) {
        return Err(PlaceError::Live(*of));
    }
    let asked = undoable(site.store)?.into_iter().map(|(_, r)| r);
    let asked = asked.rev().find(|r| r.session == *of);
    let above = match unasked::of(site.store, of)? {
        Some(record) if asked.is_none() || site.lies(&record)? => Some(site.undo(&record)?),
        _ => None,
    };
    let below = match asked {
        // What came between the two is the user's own and stays.
        Some(record) if above.is_none() || site.lies(&record)? => Some(site.undo(&record)?),
        _ => None,
    };
    let both = above.into_iter().chain(below);
    both.reduce(|a, b| Undone {
        session: a.session,
        restored: a.restored + b.restored,
        removed: a.removed + b.removed,
    })
    .ok_or(PlaceError::NothingToUndo)
}

/// The names of the placements that can be taken back.
pub(in crate::place) fn undoable_ids(store: &Store) -> Result<Vec<[u8; 16]>, StoreError> {
    Ok(undoable(store)?.into_iter().map(|(_, r)| r.id).collect())
}

/// Placements that can be taken back, the last one last.
fn undoable(store: &Store) -> Result<Vec<(u64, Record)>, StoreError> {
    let notes = store.notes_from(Namespace::Placement, b"u", usize::MAX)?;
    let read = |(key, value): (Vec<u8>, Vec<u8>)| {
        let number = key
            .strip_prefix(b"u")?
            .try_into()
            .ok()
            .map(u64::from_be_bytes)?;
        Some((number, decode(&value)?))
    };
    Ok(notes.into_iter().filter_map(read).collect())
}

fn undo_note(number: u64, value: Option<Vec<u8>>) -> NoteWrite {
    let mut key = vec![b'u'];
    key.extend_from_slice(&number.to_be_bytes());
    NoteWrite {
        ns: Namespace::Placement,
        key,
        value,
    }
}
