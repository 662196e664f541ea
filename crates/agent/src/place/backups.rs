//! What placements replaced, and how long it is kept.
//!
//! A backup goes when all three are so: its placement cannot be taken back any
//! more, and it is not among the last [`limits::BACKUPS_KEPT_MIN`]; the clock says that it is older than
//! [`limits::BACKUP_AGE_MS`]; and since it was made there were
//! [`limits::BACKUP_DAYS_MIN`] days on which we ran. A day counts once, when the
//! clock has moved by most of one since the last, so that a clock that is set
//! wrong, and back, costs no backup. Must not know what is in it.

use ccpeer_core::time::Timestamp;
use ccpeer_core::{codec, limits};
use ccpeer_store::{Namespace, NoteWrite, StoreError};
use serde::{Deserialize, Serialize};

use super::PlaceError;
use super::journal::{self, Site};
use super::unasked;

/// Version of the notes.
const VERSION: u8 = 1;

/// What is remembered of a backup.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Kept {
    version: u8,
    /// When it was made, by the wall clock.
    at: Timestamp,
    /// The number of that day.
    day: u32,
}

/// The days on which we ran.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Days {
    version: u8,
    count: u32,
    /// The clock when the last one was counted.
    last: Timestamp,
}

/// The note that remembers a backup.
pub(super) fn kept(site: &Site<'_>, id: [u8; 16], at: Timestamp) -> Result<NoteWrite, StoreError> {
    let day = days(site)?.count;
    let kept = Kept {
        version: VERSION,
        at,
        day,
    };
    Ok(note(id, Some(codec::encode(&kept))))
}

/// The note that forgets it.
pub(super) fn forgotten(id: [u8; 16]) -> NoteWrite {
    note(id, None)
}

/// Removes what was kept long enough; what nobody remembers is remembered from
/// now on. Returns how many were removed.
pub(super) fn sweep(site: &Site<'_>, now: Timestamp) -> Result<u64, PlaceError> {
    let days = count_day(site, now)?;
    let mut all = Vec::new();
    for id in on_disk(site) {
        if let Some(kept) = read(site, id)? {
            all.push((kept, id));
        } else {
            site.disk
                .put_notes(site.store, &[kept_now(id, days, now)])?;
        }
    }
    // The newest first, by the number of the day and only then by the clock.
    all.sort_by(|(a, x), (b, y)| (b.day, b.at, y).cmp(&(a.day, a.at, x)));
    let mut removed = 0;
    let undoable = journal::undoable_ids(site.store)?;
    for (kept, id) in all.into_iter().skip(limits::BACKUPS_KEPT_MIN) {
        if undoable.contains(&id) {
            continue;
        }
        let old = now.0.saturating_sub(kept.at.0) >= limits::BACKUP_AGE_MS;
        if old && days.count.saturating_sub(kept.day) >= limits::BACKUP_DAYS_MIN {
            site.disk.remove_all(&site.home.backups().join(name(id)))?;
            let mut notes = vec![note(id, None)];
            // What it would be taken back to is gone.
            let unasked = unasked::all(site.store)?.into_iter().find(|r| r.id == id);
            notes.extend(unasked.map(|r| unasked::note(&r.session, None)));
            site.disk.put_notes(site.store, &notes)?;
            removed += 1;
        }
    }
    Ok(removed)
}

fn kept_now(id: [u8; 16], days: Days, at: Timestamp) -> NoteWrite {
    let kept = Kept {
        version: VERSION,
        at,
        day: days.count,
    };
    note(id, Some(codec::encode(&kept)))
}

/// The days so far; today is one of them.
fn count_day(site: &Site<'_>, now: Timestamp) -> Result<Days, PlaceError> {
    let days = days(site)?;
    let moved = now.0.abs_diff(days.last.0);
    if days.version == VERSION && moved < limits::BACKUP_DAY_MS {
        return Ok(days);
    }
    let days = Days {
        version: VERSION,
        count: days.count.saturating_add(1),
        last: now,
    };
    let note = NoteWrite {
        ns: Namespace::Placement,
        key: b"d".to_vec(),
        value: Some(codec::encode(&days)),
    };
    site.disk.put_notes(site.store, &[note])?;
    Ok(days)
}

fn days(site: &Site<'_>) -> Result<Days, StoreError> {
    let bytes = site.store.note(Namespace::Placement, b"d")?;
    let read = bytes.and_then(|b| codec::decode::<Days>(&b, limits::NOTE_VALUE_BYTES_MAX).ok());
    Ok(read.unwrap_or_default())
}

fn read(site: &Site<'_>, id: [u8; 16]) -> Result<Option<Kept>, StoreError> {
    let bytes = site.store.note(Namespace::Placement, &key(id))?;
    let read = bytes.and_then(|b| codec::decode::<Kept>(&b, limits::NOTE_VALUE_BYTES_MAX).ok());
    Ok(read.filter(|k| k.version == VERSION))
}

/// The backups that lie there. Other things beside them are none of ours.
fn on_disk(site: &Site<'_>) -> Vec<[u8; 16]> {
    let Ok(entries) = std::fs::read_dir(site.home.backups()) else {
        return Vec::new();
    };
    let name = |e: std::fs::DirEntry| e.file_name().into_string().ok();
    let mut ids: Vec<[u8; 16]> = entries.filter_map(|e| id_of(&name(e.ok()?)?)).collect();
    ids.sort_unstable();
    ids
}

/// The name of a placement's directories.
pub(super) fn name(id: [u8; 16]) -> String {
    id.iter().map(|b| format!("{b:02x}")).collect()
}

fn id_of(name: &str) -> Option<[u8; 16]> {
    let lower = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
    if name.len() != 32 || !name.bytes().all(lower) {
        return None;
    }
    u128::from_str_radix(name, 16).ok().map(u128::to_be_bytes)
}

fn key(id: [u8; 16]) -> Vec<u8> {
    let mut key = vec![b'b'];
    key.extend_from_slice(&id);
    key
}

fn note(id: [u8; 16], value: Option<Vec<u8>>) -> NoteWrite {
    NoteWrite {
        ns: Namespace::Placement,
        key: key(id),
        value,
    }
}
