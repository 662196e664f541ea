//! Placements that nobody asked for: how each session's is remembered, and that
//! the user has taken one back.
//!
//! They do not stand in the row of those that the user asked for, so that they
//! push none of them out of reach. A session has one at most: what refreshes it
//! goes on with the same one, as if it had been placed only now, and keeps
//! nothing of the state in between, which was nobody's work.

use ccpeer_core::id::SessionId;
use ccpeer_store::{Namespace, NoteWrite, Store, StoreError};

use super::journal::{Record, Step, decode, encode};

/// The unasked placement of a session that can be taken back.
pub(super) fn of(store: &Store, session: &SessionId) -> Result<Option<Record>, StoreError> {
    let value = store.note(Namespace::Placement, &key(session))?;
    Ok(value.and_then(|v| decode(&v)))
}

/// All of them.
pub(super) fn all(store: &Store) -> Result<Vec<Record>, StoreError> {
    let notes = store.notes_from(Namespace::Placement, b"a", usize::MAX)?;
    let ours = notes
        .into_iter()
        .take_while(|(key, _)| key.starts_with(b"a"));
    Ok(ours.filter_map(|(_, value)| decode(&value)).collect())
}

/// The note that remembers one. One that is too large to be kept cannot be taken
/// back by us; its files can be removed as any other session's.
pub(super) fn note(session: &SessionId, record: Option<&Record>) -> NoteWrite {
    NoteWrite {
        ns: Namespace::Placement,
        key: key(session),
        value: record.and_then(|r| encode(r).ok()),
    }
}

/// What two placements of one session are together, if the second one replaced
/// nothing but what the first one placed.
pub(super) fn together(first: &Record, then: &Record) -> Option<Record> {
    if (first.session, &first.slug) != (then.session, &then.slug) {
        return None;
    }
    let placed = |step: &Step| first.steps.iter().find(|f| f.slot == step.slot);
    let mut steps: Vec<Step> = first
        .steps
        .iter()
        .filter(|f| then.steps.iter().all(|t| t.slot != f.slot))
        .cloned()
        .collect();
    for step in &then.steps {
        let before = placed(step);
        let old = match (&step.old, before) {
            (None, None) => None,
            (Some((old, _)), Some(before)) if *old == before.new => before.old,
            // Somebody's file, or one that somebody has removed meanwhile.
            _ => return None,
        };
        steps.push(Step {
            slot: step.slot.clone(),
            number: before.map_or(step.number, |b| b.number),
            new: step.new,
            old,
        });
    }
    let mut dirs = first.dirs.clone();
    dirs.extend(then.dirs.iter().cloned());
    dirs.sort();
    dirs.dedup();
    Some(Record {
        steps,
        dirs,
        at: then.at,
        asked: then.asked,
        ..first.clone()
    })
}

/// Whether the user took a placement of this session back.
pub(super) fn was_taken_back(store: &Store, session: &SessionId) -> Result<bool, StoreError> {
    let key = taken_back(session, true).key;
    Ok(store.note(Namespace::Placement, &key)?.is_some())
}

/// The note that says so.
pub(super) fn taken_back(session: &SessionId, is: bool) -> NoteWrite {
    NoteWrite {
        ns: Namespace::Placement,
        key: [b"t", session.0.as_slice()].concat(),
        value: is.then(|| vec![1]),
    }
}

fn key(session: &SessionId) -> Vec<u8> {
    [b"a", session.0.as_slice()].concat()
}
