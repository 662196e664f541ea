//! A placement as a list of steps that are known before the first is taken, so
//! that whoever finds it half done can finish it or take it back.
//!
//! The main transcript comes last and decides: once it is in its place the
//! placement has happened, before that it has not. Everything that is replaced
//! is kept in the backups first. Must not know what the files mean.

mod back;
mod left;

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use ccpeer_core::codec;
use ccpeer_core::id::{EntryHash, SessionId};
use ccpeer_core::limits;
use ccpeer_core::manifest::Slot;
use ccpeer_core::time::Timestamp;
use ccpeer_formats::claude::layout;
use ccpeer_store::{Namespace, NoteWrite, Store, StoreError};
use serde::{Deserialize, Serialize};

pub(in crate::place) use back::{undo, undo_next, undoable_ids};
pub(in crate::place) use left::{Left, LeftFile};

use super::PlaceError;
use super::backups;
use super::stage::{self, Staging};
use super::unasked;
use crate::capture;
use crate::confined::{ConfinedError, Root, Stamp};
use crate::disk::Disk;
use crate::home::Home;
use crate::local::{LocalState, Print};

/// Version of the notes.
const RECORD_VERSION: u8 = 2;

/// One placement.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) version: u8,
    /// Drawn for it; names its staging and backup directories.
    pub(super) id: [u8; 16],
    /// When, by the wall clock. A label.
    pub(super) at: Timestamp,
    /// It is being taken back.
    pub(super) undoing: bool,
    /// The session that was asked for, and its version.
    pub(super) asked: (SessionId, EntryHash),
    /// The session under which it is placed.
    pub(super) session: SessionId,
    /// The project's directory below `projects/`.
    pub(super) slug: String,
    /// In order; the main transcript last.
    pub(super) steps: Vec<Step>,
    /// Directories that were not there before.
    pub(super) dirs: Vec<Vec<String>>,
    /// What was remembered of the session before.
    pub(super) state_before: Option<Vec<u8>>,
    /// Files that leave their place when it has happened.
    pub(super) left: Left,
}

/// One file that takes its place.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Step {
    pub(super) slot: Slot,
    /// Name of the staged file, and of the backup.
    pub(super) number: u32,
    pub(super) new: Content,
    /// What lies there before; nothing if nothing does.
    pub(super) old: Option<(Content, Stamp)>,
}

/// A file's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Content {
    pub(super) len: u64,
    pub(super) hash: [u8; 32],
}

impl Content {
    pub(super) fn of(print: &Print) -> Self {
        Self {
            len: print.len,
            hash: print.hash(),
        }
    }
}

/// What became of the files of a placement that is taken back.
#[derive(Debug, Clone, Copy, Default)]
struct Reversed {
    restored: u64,
    removed: u64,
    /// Replaced files that somebody has changed since: they stay.
    left: u64,
}

/// Who wanted a placement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    /// The user.
    User,
    /// Nobody: it came by itself.
    Unasked,
}

/// Where steps are taken.
pub(super) struct Site<'a> {
    pub(super) store: &'a Store,
    pub(super) home: &'a Home,
    pub(super) root: &'a Root,
    pub(super) disk: Disk<'a>,
}

impl Record {
    pub(super) fn new(
        (id, at): ([u8; 16], Timestamp),
        asked: (SessionId, EntryHash),
        session: SessionId,
        slug: &str,
        state_before: Option<Vec<u8>>,
    ) -> Self {
        Self {
            version: RECORD_VERSION,
            id,
            at,
            undoing: false,
            asked,
            session,
            slug: slug.to_owned(),
            steps: Vec::new(),
            dirs: Vec::new(),
            state_before,
            left: Left::default(),
        }
    }

    /// Whether anything is kept in the backups because of it.
    pub(super) fn has_backups(&self) -> bool {
        !self.left.files.is_empty() || self.steps.iter().any(|s| s.old.is_some())
    }

    /// Its id as text.
    pub(super) fn name(&self) -> String {
        backups::name(self.id)
    }

    fn names(&self, step: &Step) -> Result<Vec<String>, PlaceError> {
        layout::path_of(&step.slot, &self.session, &self.slug)
            .ok_or(PlaceError::Malformed("a file has no place"))
    }

    pub(super) fn left_names(&self, file: &LeftFile) -> Result<Vec<String>, PlaceError> {
        layout::path_of(&file.slot, &self.session, &self.left.slug)
            .ok_or(PlaceError::Malformed("a file has no place"))
    }

    /// The notes that close its journal.
    fn closed(&self) -> [NoteWrite; 4] {
        [0, 1, 2, 3].map(|part| note(self.key(part), None))
    }

    fn key(&self, part: u8) -> Vec<u8> {
        let mut key = self.id.to_vec();
        key.push(part);
        key
    }
}

impl Site<'_> {
    /// The directory with what a placement replaced.
    pub(super) fn backups(&self, record: &Record) -> PathBuf {
        self.home.backups().join(record.name())
    }

    /// Takes every step, or none.
    pub(super) fn carry_out(
        &self,
        record: &Record,
        state: LocalState,
        joined: Option<EntryHash>,
        who: Who,
    ) -> Result<(), PlaceError> {
        let notes = [
            note(record.key(0), Some(encode(record)?)),
            note(record.key(1), state.note(&record.session).value),
            note(record.key(2), joined.map(|v| v.0.to_vec())),
            note(record.key(3), (who == Who::Unasked).then(|| vec![1])),
        ];
        self.disk.put_notes(self.store, &notes)?;
        match self.take_steps(record) {
            Ok(()) => self.finish(record, state),
            Err(e @ PlaceError::Stopped) => Err(e),
            Err(e) => {
                // Once the main transcript is in place it has happened, whatever
                // went wrong after that.
                if self.has_happened(record).unwrap_or(false) {
                    return self.finish(record, state);
                }
                if let Err(worse) = self.take_back(record) {
                    tracing::error!(error = %worse, "a placement stays half done until the next start");
                }
                Err(e)
            }
        }
    }

    fn take_steps(&self, record: &Record) -> Result<(), PlaceError> {
        self.disk.pass("journal is durable")?;
        self.back_up(record)?;
        self.disk.pass("backups are durable")?;
        let staging = Staging::of(self.disk, self.root, &record.name());
        for file in &record.left.files {
            let now = self.root.stamp(&record.left_names(file)?)?;
            if !now.is_some_and(|now| is_same(&file.stamp, &now)) {
                return Err(PlaceError::Changed);
            }
        }
        for step in &record.steps {
            let names = record.names(step)?;
            let Some((_, dir)) = names.split_last() else {
                continue;
            };
            let dir = self.root.make_dir(&self.disk, dir)?;
            self.disk.pass("directories are made")?;
            // What lies there now is what was looked at, or somebody is at work.
            let now = self.root.stamp(&names)?;
            let target = self.root.join(&names);
            match (&step.old, now) {
                (None, None) => match self.disk.rename_new(&staging.file(step.number), &target) {
                    Err(ConfinedError::Io { source, .. })
                        if source.kind() == io::ErrorKind::AlreadyExists =>
                    {
                        return Err(PlaceError::Changed);
                    }
                    other => other?,
                },
                (Some((_, old)), Some(now)) if is_same(old, &now) => {
                    self.disk.rename(&staging.file(step.number), &target)?;
                }
                _ => return Err(PlaceError::Changed),
            }
            self.disk.pass("a file is in its place")?;
            self.disk.sync_dir(&dir)?;
        }
        Ok(self.disk.pass("everything is in its place")?)
    }

    /// Keeps what will be replaced: by a second name for the same file where
    /// that is possible, so that even a late writer's line is kept.
    fn back_up(&self, record: &Record) -> Result<(), PlaceError> {
        if !record.has_backups() {
            return Ok(());
        }
        let dir = self.backups(record);
        self.disk.make_dirs(&dir)?;
        for step in &record.steps {
            if let Some((_, stamp)) = &step.old {
                self.keep(&dir, &record.names(step)?, step.number, *stamp)?;
            }
        }
        for file in &record.left.files {
            self.keep(&dir, &record.left_names(file)?, file.number, file.stamp)?;
        }
        Ok(self.disk.sync_dir(&dir)?)
    }

    fn keep(
        &self,
        dir: &Path,
        names: &[String],
        number: u32,
        stamp: Stamp,
    ) -> Result<(), PlaceError> {
        let from = self.root.join(names);
        let to = dir.join(number.to_string());
        if self.disk.link(&from, &to).is_err() {
            self.copy(&from, &to, Some(stamp))?;
        }
        Ok(self.disk.pass("a backup is made")?)
    }

    /// Remembers that it has happened, and forgets how.
    fn finish(&self, record: &Record, mut state: LocalState) -> Result<(), PlaceError> {
        for file in &mut state.files {
            let names = layout::path_of(&file.slot, &record.session, &record.slug);
            let stamp = names.and_then(|n| self.root.stamp(&n).ok().flatten());
            // Anything else than what was placed is looked at by content.
            file.stamp = stamp
                .filter(|s| s.len == file.print.len)
                .unwrap_or_default();
            file.settled = false;
        }
        let main = layout::path_of(&Slot::Main, &record.session, &record.slug);
        let main = main.and_then(|n| self.root.stamp(&n).ok().flatten());
        state.placed_ns = main.map(|s| s.modified_ns);
        self.let_go(record)?;
        let mut notes = vec![state.note(&record.session)];
        notes.extend(record.closed());
        if let Some(joined) = self.store.note(Namespace::Journal, &record.key(2))? {
            notes.push(joined_note(&record.session, Some(joined)));
        }
        let unasked = self
            .store
            .note(Namespace::Journal, &record.key(3))?
            .is_some();
        let before = unasked.then(|| unasked::of(self.store, &record.session));
        let together = before
            .transpose()?
            .flatten()
            .and_then(|before| unasked::together(&before, record));
        if unasked {
            let record = together.as_ref().unwrap_or(record);
            notes.push(unasked::note(&record.session, Some(record)));
        } else {
            notes.extend(self.undo_notes(record)?);
            notes.push(unasked::taken_back(&record.session, false));
        }
        if together.is_none() && record.has_backups() {
            notes.push(backups::kept(self, record.id, record.at)?);
        }
        if record.asked.0 != record.session {
            notes.push(fork_note(record.asked, record.session));
        }
        notes.extend(capture::forget_digest(self.store, &record.session)?);
        self.disk.pass("before the journal is closed")?;
        self.disk.put_notes(self.store, &notes)?;
        self.disk.pass("journal is closed")?;
        if together.is_some()
            && let Err(e) = self.disk.remove_all(&self.backups(record))
        {
            // The sweep finds it, and keeps it for as long as any other.
            tracing::warn!(error = %e, "a backup that nobody needs is left for later");
        }
        Staging::of(self.disk, self.root, &record.name()).remove();
        Ok(())
    }

    /// Whether the main transcript is in its place. It may have grown since.
    fn has_happened(&self, record: &Record) -> Result<bool, PlaceError> {
        let Some(main) = record.steps.last() else {
            return Ok(false);
        };
        let names = record.names(main)?;
        let opened = unless_in_the_way(self.root.file(&names).map_err(PlaceError::from))?;
        let Some((file, stamp)) = opened.flatten() else {
            return Ok(false);
        };
        if stamp.len < main.new.len {
            return Ok(false);
        }
        let mut head = crate::local::section(&file, 0, main.new.len);
        let print =
            Print::of(&mut head).map_err(|e| ConfinedError::io(&self.root.join(&names), e))?;
        Ok(Content::of(&print) == main.new)
    }

    /// What lies in a step's place.
    fn content(&self, names: &[String]) -> Result<Option<Content>, PlaceError> {
        let Some((mut file, _)) = self.root.file(names)? else {
            return Ok(None);
        };
        let print =
            Print::of(&mut file).map_err(|e| ConfinedError::io(&self.root.join(names), e))?;
        Ok(Some(Content::of(&print)))
    }

    /// Takes back what was done of a placement that has not happened.
    fn take_back(&self, record: &Record) -> Result<(), PlaceError> {
        let reversed = self.reverse(record)?;
        let mut notes = Vec::from(record.closed());
        notes.push(self.settle_backups(record, reversed)?);
        self.disk.put_notes(self.store, &notes)?;
        Staging::of(self.disk, self.root, &record.name()).remove();
        Ok(())
    }

    /// Puts everything back that still lies as it was placed, last things first.
    /// Can be repeated.
    fn reverse(&self, record: &Record) -> Result<Reversed, PlaceError> {
        let mut out = Reversed::default();
        // First, so that the session always lies somewhere.
        self.come_back(record, &mut out)?;
        for step in record.steps.iter().rev() {
            let names = record.names(step)?;
            let target = self.root.join(&names);
            // What cannot be looked at, a link say, is not what was placed.
            let lying = unless_in_the_way(self.content(&names))?.flatten();
            if lying == Some(step.new) {
                match &step.old {
                    None => {
                        self.disk.remove_file(&target)?;
                        out.removed += 1;
                    }
                    Some((old, stamp)) if *old != step.new => {
                        self.restore(record, step, &target, *stamp)?;
                        out.restored += 1;
                    }
                    Some(_) => {}
                }
                if let Some(dir) = target.parent() {
                    self.disk.sync_dir(dir)?;
                }
                self.disk.pass("a file is put back")?;
            } else if let Some((old, _)) = &step.old
                && lying != Some(*old)
            {
                // Somebody has gone on with it; what was before is in the backup.
                out.left += 1;
            }
        }
        for dir in record.dirs.iter().rev() {
            // Those in which somebody has put something stay.
            let _not_empty = self.disk.remove_dir(&self.root.join(dir));
        }
        Ok(out)
    }

    fn restore(
        &self,
        record: &Record,
        step: &Step,
        target: &Path,
        stamp: Stamp,
    ) -> Result<(), PlaceError> {
        let backup = self.backups(record).join(step.number.to_string());
        if self.disk.rename(&backup, target).is_ok() {
            return Ok(());
        }
        // On another disk: a copy, complete before it gets the name.
        let copied = self.copied_back(record, step.number, &backup, stamp)?;
        Ok(self.disk.rename(&copied, target)?)
    }

    fn copied_back(
        &self,
        record: &Record,
        number: u32,
        backup: &Path,
        stamp: Stamp,
    ) -> Result<PathBuf, PlaceError> {
        let staging = Staging::make(self.disk, self.root, &record.name())?;
        let copied = staging.file(number);
        if copied.exists() {
            // Left by an earlier try.
            self.disk.remove_file(&copied)?;
        }
        self.copy(backup, &copied, Some(stamp))?;
        staging.sync()?;
        Ok(copied)
    }

    /// A durable copy with the time of its source.
    fn copy(&self, from: &Path, to: &Path, stamp: Option<Stamp>) -> Result<(), PlaceError> {
        let Some((mut source, _)) = crate::confined::open_regular(from)? else {
            return Err(PlaceError::Changed);
        };
        let mut file = self.disk.create(to)?;
        let io = |e| ConfinedError::io(to, e);
        io::copy(&mut source, &mut file).map_err(io)?;
        if let Some(stamp) = stamp {
            file.set_modified(UNIX_EPOCH + Duration::from_nanos(stamp.modified_ns))
                .map_err(io)?;
        }
        Ok(file.sync().map_err(io)?)
    }

    /// Backups that were put back are not needed any more.
    fn settle_backups(&self, record: &Record, reversed: Reversed) -> Result<NoteWrite, PlaceError> {
        if reversed.left > 0 {
            return Ok(backups::kept(self, record.id, record.at)?);
        }
        if let Err(e) = self.disk.remove_all(&self.backups(record)) {
            tracing::warn!(error = %e, "a backup that is not needed any more is left for later");
            return Ok(backups::kept(self, record.id, record.at)?);
        }
        Ok(backups::forgotten(record.id))
    }
}

/// Finishes or takes back what a process left half done, and says what it did.
pub(super) fn recover(site: &Site<'_>) -> Result<Vec<String>, PlaceError> {
    let mut lines = Vec::new();
    for (key, value) in site.store.notes(Namespace::Journal)? {
        let Some((0, _)) = key.split_last() else {
            continue;
        };
        let Some(record) = decode(&value) else {
            lines.push("a placement in progress cannot be read; it is left as it is".to_owned());
            continue;
        };
        let session = record.session;
        if record.undoing {
            let reversed = site.reverse(&record)?;
            site.forget(&record, reversed)?;
            lines.push(format!(
                "taking session {session} back was interrupted and is done now"
            ));
        } else if site.has_happened(&record)? {
            let state = site.store.note(Namespace::Journal, &record.key(1))?;
            let state = state.and_then(|bytes| LocalState::from_bytes(&bytes));
            match state {
                Some(state) => site.finish(&record, state)?,
                None => {
                    site.disk.put_notes(site.store, &record.closed())?;
                }
            }
            lines.push(format!(
                "placing session {session} was interrupted and is done now"
            ));
        } else {
            site.take_back(&record)?;
            lines.push(format!(
                "placing session {session} was interrupted and taken back"
            ));
        }
    }
    stage::remove_all(site.disk, site.root);
    Ok(lines)
}

/// The session as which a version was placed beside the local one before.
pub(super) fn forked_as(
    store: &Store,
    asked: (SessionId, EntryHash),
) -> Result<Option<SessionId>, StoreError> {
    let key = fork_note(asked, asked.0).key;
    let value = store.note(Namespace::Placement, &key)?;
    Ok(value.and_then(|v| Some(SessionId(v.try_into().ok()?))))
}

/// The version that a session's files contain beside the one that they grew
/// from, until a version of both is stated.
pub(super) fn joined(store: &Store, session: &SessionId) -> Result<Option<EntryHash>, StoreError> {
    let key = joined_note(session, None).key;
    let value = store.note(Namespace::Placement, &key)?;
    Ok(value.and_then(|v| Some(EntryHash(v.try_into().ok()?))))
}

pub(super) fn joined_note(session: &SessionId, value: Option<Vec<u8>>) -> NoteWrite {
    let mut key = vec![b'j'];
    key.extend_from_slice(&session.0);
    NoteWrite {
        ns: Namespace::Placement,
        key,
        value,
    }
}

fn fork_note(asked: (SessionId, EntryHash), session: SessionId) -> NoteWrite {
    let mut key = vec![b'f'];
    key.extend_from_slice(&asked.0.0);
    key.extend_from_slice(&asked.1.0);
    NoteWrite {
        ns: Namespace::Placement,
        key,
        value: Some(session.0.to_vec()),
    }
}

fn note(key: Vec<u8>, value: Option<Vec<u8>>) -> NoteWrite {
    NoteWrite {
        ns: Namespace::Journal,
        key,
        value,
    }
}

pub(super) fn encode(record: &Record) -> Result<Vec<u8>, PlaceError> {
    let bytes = codec::encode(record);
    if bytes.len() > limits::NOTE_VALUE_BYTES_MAX {
        return Err(PlaceError::Malformed("it has too many files"));
    }
    Ok(bytes)
}

pub(super) fn decode(bytes: &[u8]) -> Option<Record> {
    let max = limits::NOTE_VALUE_BYTES_MAX;
    match bytes.first() {
        Some(&RECORD_VERSION) => codec::decode(bytes, max).ok(),
        Some(&left::RECORD_VERSION_STAYING) => left::staying(bytes),
        _ => None,
    }
}

/// Whether a file is still what was looked at; a backup's link changes the rest.
fn is_same(old: &Stamp, now: &Stamp) -> bool {
    old.id == now.id && old.len == now.len && old.modified_ns == now.modified_ns
}

/// Nothing, where something else than a file of ours is in the way.
fn unless_in_the_way<T>(result: Result<T, PlaceError>) -> Result<Option<T>, PlaceError> {
    match result {
        Err(PlaceError::Place(
            ConfinedError::Link(_) | ConfinedError::Kind(_) | ConfinedError::Owner(_),
        )) => Ok(None),
        other => other.map(Some),
    }
}
