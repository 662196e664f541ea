//! The file that hook events are written to first, where a transaction of the store
//! takes two flushes and many pages.
//!
//! Records are only added, each with its length and a check, and the file is emptied
//! when what is in it lies in the store or was dealt with. What was added is with the
//! system, so that it outlives every program; it is not flushed, because what an event
//! speaks of, the transcript, is not either (decision 0044). A record that is not whole
//! is none: the power has gone before the disk had it. Must not know what an event is.
//!
//! Where the file cannot be used (it is full, or is no file), the caller goes to the
//! store.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::disk;

/// Beginning of a record.
const MAGIC: [u8; 8] = *b"ccpeerE1";
/// Bytes of a record before its body: the magic, the body's length, the key, the check.
const HEAD_BYTES: usize = 8 + 4 + 8 + CHECK_BYTES;
/// Bytes of the check: the beginning of the BLAKE3 hash of key and body.
const CHECK_BYTES: usize = 16;
/// The file is not longer than this.
pub(super) const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// The longest body.
const BODY_BYTES_MAX: usize = 1024 * 1024;
/// Beginnings of records that turn out to be none, after which no more are looked for.
const FALSE_STARTS_MAX: usize = 256;
/// Below this length it is not worth while to empty it.
const EMPTIED_BYTES_MIN: u64 = 64 * 1024;

/// One event, as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) key: u64,
    pub(super) body: Vec<u8>,
}

/// The file, for all who write.
pub(super) struct EventFile {
    end: Mutex<Option<End>>,
}

/// Where the next record goes.
struct End {
    file: File,
    len: u64,
}

impl EventFile {
    /// Opens it, and reads what it holds, in order.
    pub(super) fn open(path: &Path) -> (Self, Vec<Record>) {
        let opened = open(path).inspect_err(|e| {
            tracing::warn!(error = %e, "the file of hook events cannot be used");
        });
        let (end, records) = match opened {
            Ok((end, records)) => (Some(end), records),
            Err(_) => (None, Vec::new()),
        };
        let file = Self {
            end: Mutex::new(end),
        };
        (file, records)
    }

    /// Adds a record; it outlives this program when this returns. Blocking, for a moment.
    pub(super) fn append(&self, key: u64, body: &[u8]) -> io::Result<()> {
        let record = encode(key, body).ok_or(io::ErrorKind::InvalidInput)?;
        let mut guard = lock(&self.end);
        let end = guard.as_mut().ok_or(io::ErrorKind::Unsupported)?;
        let len = end.len + record.len() as u64;
        if len > FILE_BYTES_MAX {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let mut file = &end.file;
        let written = file
            .seek(SeekFrom::Start(end.len))
            .and_then(|_| file.write_all(&record));
        if let Err(e) = written {
            // Half a record must not stand between two whole ones.
            if end.file.set_len(end.len).is_err() {
                *guard = None;
            }
            return Err(e);
        }
        end.len = len;
        Ok(())
    }

    /// Empties it; only while nothing in it is needed and nobody writes. That this is
    /// not flushed does no harm: what comes back was dealt with, and is known to be.
    pub(super) fn empty(&self) {
        let mut guard = lock(&self.end);
        let Some(end) = guard.as_mut() else { return };
        if end.len >= EMPTIED_BYTES_MIN {
            match end.file.set_len(0) {
                Ok(()) => end.len = 0,
                Err(e) => tracing::warn!(error = %e, "the file of hook events stays as it is"),
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing in here panics half-way through a change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn open(path: &Path) -> io::Result<(End, Vec<Record>)> {
    match fs::symlink_metadata(path) {
        Ok(meta) if !meta.is_file() => return Err(io::ErrorKind::InvalidInput.into()),
        Ok(_) => {}
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            disk::new_private(path)?.sync_all()?;
            if let Some(dir) = path.parent() {
                disk::sync_dir(dir)?;
            }
        }
        Err(e) => return Err(e),
    }
    let file = File::options().read(true).write(true).open(path)?;
    let mut bytes = Vec::new();
    (&file).take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    let (records, whole) = decode(&bytes);
    if file.metadata()?.len() > whole {
        file.set_len(whole)?;
    }
    let end = End { file, len: whole };
    Ok((end, records))
}

fn encode(key: u64, body: &[u8]) -> Option<Vec<u8>> {
    let len = u32::try_from(body.len()).ok()?;
    if body.len() > BODY_BYTES_MAX {
        return None;
    }
    let mut record = Vec::with_capacity(HEAD_BYTES + body.len());
    record.extend_from_slice(&MAGIC);
    record.extend_from_slice(&len.to_le_bytes());
    record.extend_from_slice(&key.to_le_bytes());
    record.extend_from_slice(&check(key, body));
    record.extend_from_slice(body);
    Some(record)
}

/// The whole records, and where the last of them ends. What is none is passed over up
/// to the next beginning of one: an event behind a spoiled one is an event still.
fn decode(bytes: &[u8]) -> (Vec<Record>, u64) {
    let (mut records, mut at, mut whole, mut none) = (Vec::new(), 0, 0, 0);
    let find = |from: usize| {
        let mut windows = bytes.get(from..)?.windows(MAGIC.len());
        windows.position(|w| w == MAGIC).map(|n| from + n)
    };
    while let Some(begin) = find(at).filter(|_| none < FALSE_STARTS_MAX) {
        match bytes.get(begin..).and_then(first) {
            Some((record, len)) => {
                records.push(record);
                at = begin + len;
                whole = at;
            }
            None => {
                at = begin + 1;
                none += 1;
            }
        }
    }
    (records, whole as u64)
}

/// The record that these bytes begin with, and its length.
fn first(bytes: &[u8]) -> Option<(Record, usize)> {
    let rest = bytes.strip_prefix(&MAGIC)?;
    let (len, rest) = rest.split_first_chunk::<4>()?;
    let (key, rest) = rest.split_first_chunk::<8>()?;
    let (sum, rest) = rest.split_first_chunk::<CHECK_BYTES>()?;
    let len = usize::try_from(u32::from_le_bytes(*len)).ok()?;
    let body = rest.get(..len).filter(|b| b.len() <= BODY_BYTES_MAX)?;
    let key = u64::from_le_bytes(*key);
    let record = Record {
        key,
        body: body.to_vec(),
    };
    (check(key, body) == *sum).then_some((record, HEAD_BYTES + body.len()))
}

fn check(key: u64, body: &[u8]) -> [u8; CHECK_BYTES] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&key.to_le_bytes()).update(body);
    let hash = hasher.finalize();
    let mut sum = [0; CHECK_BYTES];
    sum.iter_mut()
        .zip(hash.as_bytes())
        .for_each(|(to, from)| *to = *from);
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: u64, body: &[u8]) -> Record {
        Record {
            key,
            body: body.to_vec(),
        }
    }

    fn three() -> (Vec<Record>, Vec<u8>, Vec<usize>) {
        let records = vec![record(1, b"one"), record(2, b""), record(9, &MAGIC)];
        let (mut bytes, mut ends) = (Vec::new(), vec![0]);
        for r in &records {
            bytes.extend(encode(r.key, &r.body).unwrap());
            ends.push(bytes.len());
        }
        (records, bytes, ends)
    }

    #[test]
    fn a_file_that_ends_anywhere_holds_what_is_whole() {
        let (records, bytes, ends) = three();
        for cut in 0..=bytes.len() {
            let whole = ends.iter().rposition(|end| *end <= cut).unwrap();
            let found = decode(&bytes[..cut]);
            assert_eq!(
                found,
                (records[..whole].to_vec(), ends[whole] as u64),
                "{cut}"
            );
        }
    }

    #[test]
    fn what_is_spoiled_takes_no_other_event_with_it() {
        let (records, bytes, ends) = three();
        for at in 0..bytes.len() {
            let mut spoiled = bytes.clone();
            spoiled[at] ^= 0x41;
            let of = ends.iter().rposition(|end| *end <= at).unwrap();
            let mut left = records.clone();
            left.remove(of);
            assert_eq!(decode(&spoiled).0, left, "{at}");
        }
        let mut between = bytes[..ends[1]].to_vec();
        between.extend_from_slice(b"rubbish ccpeerE1 ccpeerE1\xff\xff\xff\xff");
        between.extend_from_slice(&bytes[ends[1]..]);
        assert_eq!(decode(&between).0, records);
    }

    #[test]
    fn what_was_added_is_found_again_behind_a_torn_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events");
        let (file, none) = EventFile::open(&path);
        assert!(none.is_empty());
        file.append(1, b"one").unwrap();
        fs::OpenOptions::new()
            .append(true)
            .open(&path)
            .unwrap()
            .write_all(b"ccpeerE1\x20\0\0\0half")
            .unwrap();
        let (file, found) = EventFile::open(&path);
        assert_eq!(found, [record(1, b"one")]);
        file.append(2, b"two").unwrap();
        let (file, found) = EventFile::open(&path);
        assert_eq!(found, [record(1, b"one"), record(2, b"two")]);
        let large = vec![b' '; 1 << 20];
        let mut added = 0;
        while file.append(3, &large).is_ok() {
            added += 1;
        }
        assert_eq!(added, 3, "it has a bound");
        assert!(fs::metadata(&path).unwrap().len() <= FILE_BYTES_MAX);
        file.empty();
        file.append(4, b"four").unwrap();
        assert_eq!(EventFile::open(&path).1, [record(4, b"four")]);
    }

    #[test]
    fn many_who_write_at_once_are_all_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events");
        let (file, _) = EventFile::open(&path);
        std::thread::scope(|scope| {
            for key in 0..40 {
                let file = &file;
                scope.spawn(move || file.append(key, &key.to_le_bytes()).unwrap());
            }
        });
        let mut found = EventFile::open(&path).1;
        found.sort_by_key(|r| r.key);
        let want: Vec<_> = (0..40u64).map(|k| record(k, &k.to_le_bytes())).collect();
        assert_eq!(found, want);
    }

    #[cfg(unix)]
    #[test]
    fn k_a12_the_file_of_events_is_private_and_no_link_is_followed() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join("events"), dir.path().join("other"));
        drop(EventFile::open(&path));
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::remove_file(&path).unwrap();
        fs::write(&other, "somebody's").unwrap();
        std::os::unix::fs::symlink(&other, &path).unwrap();
        let (file, found) = EventFile::open(&path);
        assert!(found.is_empty() && file.append(1, b"x").is_err());
        assert_eq!(fs::read(&other).unwrap(), b"somebody's");
    }
}
