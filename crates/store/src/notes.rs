//! Notes: small things that the agent must not forget, by namespace and key.
//! Never sent to a peer. What they mean is the agent's business.

use std::fmt;

use ccpeer_core::limits;
use redb::{ReadTransaction, WriteTransaction};

use crate::error::{Place, StoreError, Trouble};
use crate::tables::{NOTES, seal, unseal};

/// Whose notes. The number is part of the file; numbers are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Namespace {
    /// How far each session has been captured.
    Capture = 1,
    /// Which version was placed where.
    Placement = 2,
    /// Placements in progress: the intent, before any file is touched.
    Journal = 3,
    /// Which project identity lies in which directory here.
    Project = 4,
    /// Hooks that were acknowledged and not yet dealt with.
    HookInbox = 5,
    /// Hooks that were dealt with, so that a repetition is recognised.
    HookSeen = 6,
    /// Where a device was last reached.
    Address = 7,
    /// Choices of the user.
    Setting = 8,
    /// What is known of a session only here.
    Session = 9,
}

impl Namespace {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Capture,
        Self::Placement,
        Self::Journal,
        Self::Project,
        Self::HookInbox,
        Self::HookSeen,
        Self::Address,
        Self::Setting,
        Self::Session,
    ];

    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|n| *n as u8 == byte)
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Capture => "capture",
            Self::Placement => "placement",
            Self::Journal => "journal",
            Self::Project => "project",
            Self::HookInbox => "hook inbox",
            Self::HookSeen => "hook seen",
            Self::Address => "address",
            Self::Setting => "setting",
            Self::Session => "session",
        })
    }
}

/// Key and value of a note.
pub type NoteRow = (Vec<u8>, Vec<u8>);

/// A change of one note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteWrite {
    /// Whose.
    pub ns: Namespace,
    /// At most [`limits::NOTE_KEY_BYTES_MAX`].
    pub key: Vec<u8>,
    /// At most [`limits::NOTE_VALUE_BYTES_MAX`]; `None` forgets the note.
    pub value: Option<Vec<u8>>,
}

/// A note as it is written.
#[derive(Debug)]
pub(crate) struct Row {
    key: Vec<u8>,
    row: Option<Vec<u8>>,
}

impl Row {
    pub(crate) fn of(write: &NoteWrite) -> Result<Self, StoreError> {
        let refused = |why| StoreError::Wrong {
            place: Place::Note(write.ns),
            why,
        };
        if write.key.len() > limits::NOTE_KEY_BYTES_MAX {
            return Err(refused("its key is too long"));
        }
        if write
            .value
            .as_ref()
            .is_some_and(|v| v.len() > limits::NOTE_VALUE_BYTES_MAX)
        {
            return Err(refused("its value is too long"));
        }
        let key = full_key(write.ns, &write.key);
        let row = write.value.as_ref().map(|value| seal(&NOTES, &key, value));
        Ok(Self { key, row })
    }

    pub(crate) fn key(&self) -> &[u8] {
        &self.key
    }

    pub(crate) fn bytes(&self) -> usize {
        self.key.len() + self.row.as_ref().map_or(0, Vec::len)
    }
}

pub(crate) fn apply(rows: &[Row], txn: &WriteTransaction) -> Result<(), Trouble> {
    let mut notes = txn.open_table(NOTES)?;
    for Row { key, row } in rows {
        match row {
            Some(row) => notes.insert(key.as_slice(), row.as_slice())?,
            None => notes.remove(key.as_slice())?,
        };
    }
    Ok(())
}

pub(crate) fn one(
    txn: &ReadTransaction,
    ns: Namespace,
    key: &[u8],
) -> Result<Option<Vec<u8>>, Trouble> {
    let key = full_key(ns, key);
    let Some(row) = txn.open_table(NOTES)?.get(key.as_slice())? else {
        return Ok(None);
    };
    let value = unseal(&NOTES, &key, row.value())
        .ok_or_else(|| StoreError::corrupt(Place::Note(ns), "its check does not match"))?;
    Ok(Some(value.to_vec()))
}

/// Notes of a namespace from `start` on, in the order of their keys. A damaged
/// one is left out: one bad row must not keep the agent from all the others.
/// `verify` names it.
pub(crate) fn some(
    txn: &ReadTransaction,
    ns: Namespace,
    start: &[u8],
    max: usize,
) -> Result<Vec<NoteRow>, Trouble> {
    let mut out = Vec::new();
    let (first, end) = (full_key(ns, start), [ns as u8 + 1]);
    for row in txn
        .open_table(NOTES)?
        .range(first.as_slice()..end.as_slice())?
    {
        if out.len() >= max {
            break;
        }
        let (key, row) = row?;
        match (
            unseal(&NOTES, key.value(), row.value()),
            key.value().split_first(),
        ) {
            (Some(value), Some((_, key))) => out.push((key.to_vec(), value.to_vec())),
            _ => tracing::warn!(namespace = %ns, "a damaged note is left out"),
        }
    }
    Ok(out)
}

fn full_key(ns: Namespace, key: &[u8]) -> Vec<u8> {
    let mut full = Vec::with_capacity(1 + key.len());
    full.push(ns as u8);
    full.extend_from_slice(key);
    full
}
