//! Hook events that wait for the agent: one file an event, whole or not there.
//!
//! Written by the hook client when no agent takes the event, read by the agent
//! when it starts and whenever a file appears. Must not know what an event
//! means; it knows the first line ([`HookHeader`]) and passes the rest on.
//!
//! **Names.** `<unix nanoseconds, 20 digits>-<process>-<key><random>.hook`, so
//! that the order of names is the order of writing. The key stands for (session,
//! event): what supersedes what can be told without opening a file.
//!
//! **Bounds.** [`limits::SPOOL_FILES_MAX`] files and [`limits::SPOOL_BYTES_MAX`]
//! bytes. When one is reached, the oldest events that a newer one of the same
//! (session, event) supersedes make room: they ask for nothing that the newer one
//! does not ask for too. If there are none, the new event is refused; an event of
//! another session is never dropped for it.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ccpeer_core::limits;

use crate::api::HookHeader;
use crate::disk;
use crate::home::Home;

/// Ending of a spool file.
const EXTENSION: &str = "hook";
/// Beginning of a file that is still being written.
const TEMP_PREFIX: &str = ".writing-";
/// A file that is still being written after this long has no writer any more.
const TEMP_AGE_MAX: Duration = Duration::from_secs(60);
/// Superseded events that are taken away at once when room is needed.
const ROOM_FILES: usize = 64;
/// Hex digits of the key and of the random part in a name.
const KEY_DIGITS: usize = 8;

/// The bytes of a hook frame and of a spool file.
#[must_use]
pub fn encode(header: &HookHeader, input: &[u8]) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(header).unwrap_or_default();
    bytes.push(b'\n');
    bytes.extend_from_slice(input);
    bytes
}

/// The header, and the hook's input as it came; `None` if there is no header.
#[must_use]
pub fn decode(bytes: &[u8]) -> Option<(HookHeader, &[u8])> {
    let end = bytes.iter().position(|b| *b == b'\n')?;
    let (line, rest) = bytes.split_at_checked(end)?;
    let header = serde_json::from_slice(line).ok()?;
    Some((header, rest.split_first().map_or(&[], |(_, rest)| rest)))
}

/// 128 random bits in hex: the id of an event, the boundary of a fence. Never a
/// secret.
#[must_use]
pub fn draw_id() -> String {
    use std::hash::{BuildHasher, RandomState};
    let mut bytes = [0u8; 16];
    if getrandom::fill(&mut bytes).is_ok() {
        return bytes.iter().map(|b| format!("{b:02x}")).collect();
    }
    // An id has to be unlike others, not unguessable: the seed of the standard
    // library's maps will do where the system gives nothing.
    let part = |n: u8| RandomState::new().hash_one((n, std::process::id(), SystemTime::now()));
    format!("{:016x}{:016x}", part(0), part(1))
}

/// An event that is written down, whole, under a name that nobody reads yet.
#[derive(Debug)]
pub struct Written {
    file: fs::File,
    dir: PathBuf,
    temp: PathBuf,
    name: PathBuf,
}

/// Keeps an event until the agent comes. When this returns, it is durable.
///
/// # Errors
/// As [`write_down`] and [`Written::keep`].
pub fn write(home: &Home, bytes: &[u8]) -> io::Result<()> {
    write_down(home, bytes)?.keep()
}

/// Writes an event down. It waits for the agent once it has its name.
///
/// # Errors
/// When the directory cannot be written or is not ours, or the spool is full of
/// events that nothing supersedes ([`io::ErrorKind::StorageFull`]).
pub fn write_down(home: &Home, bytes: &[u8]) -> io::Result<Written> {
    let dir = home.spool();
    prepare(&dir)?;
    let key = key_of(bytes);
    make_room(&dir, bytes.len() as u64)?;
    let random = draw_id();
    let name = format!(
        "{:020}-{}-{key}{}.{EXTENSION}",
        unix_nanos(),
        std::process::id(),
        random.get(..KEY_DIGITS).unwrap_or_default(),
    );
    let temp = dir.join(format!("{TEMP_PREFIX}{name}"));
    let mut file = disk::new_private(&temp)?;
    if let Err(e) = file.write_all(bytes) {
        let _ = fs::remove_file(&temp);
        return Err(e);
    }
    Ok(Written {
        file,
        name: dir.join(name),
        temp,
        dir,
    })
}

impl Written {
    /// Makes it durable and gives it its name, unless it has been given it.
    ///
    /// # Errors
    /// When the disk refuses; it is taken away again then.
    pub fn keep(&self) -> io::Result<()> {
        let named = self.file.sync_all().and_then(|()| match self.name() {
            Err(e) if e.kind() == io::ErrorKind::NotFound && self.name.exists() => Ok(()),
            other => other,
        });
        if let Err(e) = named {
            let _ = fs::remove_file(&self.temp);
            return Err(e);
        }
        disk::sync_dir(&self.dir)
    }

    /// Gives it its name without waiting for the disk: it survives the end of
    /// this process, and a power cut if it comes a moment later. For those whose
    /// time is up.
    ///
    /// # Errors
    /// When the disk refuses, or it has its name already.
    pub fn name(&self) -> io::Result<()> {
        fs::rename(&self.temp, &self.name)
    }
}

/// The events that wait, oldest first. A directory that is not there holds none.
#[must_use]
pub fn list(home: &Home) -> Vec<PathBuf> {
    let dir = home.spool();
    names(&dir).into_iter().map(|name| dir.join(name)).collect()
}

/// How many events wait.
#[must_use]
pub fn count(home: &Home) -> u64 {
    names(&home.spool()).len() as u64
}

/// Puts an event aside that cannot be handled, so that it blocks nothing. Only
/// the newest [`limits::SPOOL_REJECTED_MAX`] are kept. Where it cannot be moved it
/// stays, and is met again at the next look.
pub fn reject(home: &Home, path: &Path) {
    let aside = home.spool_rejected();
    let Some(name) = path.file_name() else {
        return;
    };
    if prepare(&aside).is_err() || fs::rename(path, aside.join(name)).is_err() {
        return;
    }
    let kept = names(&aside);
    let surplus = kept.len().saturating_sub(limits::SPOOL_REJECTED_MAX);
    for name in kept.iter().take(surplus) {
        let _ = fs::remove_file(aside.join(name));
    }
}

/// Removes what writers that were killed have left half written.
pub fn clean(home: &Home) {
    let Ok(entries) = fs::read_dir(home.spool()) else {
        return;
    };
    for entry in entries.flatten() {
        let left_over = entry.file_name().to_string_lossy().starts_with(TEMP_PREFIX)
            && entry
                .metadata()
                .and_then(|m| m.modified())
                .is_ok_and(|at| at.elapsed().is_ok_and(|age| age > TEMP_AGE_MAX));
        if left_over {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Names of whole spool files, in order.
fn names(dir: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    let ending = format!(".{EXTENSION}");
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| !name.starts_with('.') && name.ends_with(&ending))
        .collect();
    names.sort_unstable();
    names
}

/// The key in a name; all names without one share the empty key's fate: kept.
fn key_in(name: &str) -> Option<&str> {
    let stem = name.strip_suffix(EXTENSION)?.strip_suffix('.')?;
    let last = stem.rsplit('-').next()?;
    (last.len() == KEY_DIGITS * 2).then(|| last.get(..KEY_DIGITS))?
}

/// Stands for (session, event). The session is the one in the header, else the
/// one that the input names.
fn key_of(bytes: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Input {
        session_id: Option<String>,
    }
    let Some((header, input)) = decode(bytes) else {
        return "0".repeat(KEY_DIGITS);
    };
    let session = header.session.or_else(|| {
        serde_json::from_slice::<Input>(input)
            .ok()
            .and_then(|i| i.session_id)
    });
    // Without a session nothing is known to supersede it.
    let about = session.unwrap_or(header.id);
    let hash = blake3::hash(format!("{about}\n{}", header.event).as_bytes()).to_hex();
    hash.get(..KEY_DIGITS).unwrap_or_default().to_owned()
}

fn make_room(dir: &Path, bytes: u64) -> io::Result<()> {
    let waiting = names(dir);
    let sizes = sizes_of(dir, &waiting);
    let (mut files, mut size) = (waiting.len(), sizes.iter().sum::<u64>());
    let fits = |files: usize, size: u64| {
        files < limits::SPOOL_FILES_MAX && size.saturating_add(bytes) <= limits::SPOOL_BYTES_MAX
    };
    if fits(files, size) {
        return Ok(());
    }
    let mut newer = BTreeSet::new();
    let superseded: Vec<(&String, u64)> = waiting
        .iter()
        .zip(sizes)
        .rev()
        .filter(|(name, _)| key_in(name).is_some_and(|key| !newer.insert(key)))
        .collect();
    // Some more than needed, so that not every event has to look for room; not
    // all of them, because somebody waits for us.
    for (n, (name, len)) in superseded.into_iter().rev().enumerate() {
        if n >= ROOM_FILES && fits(files, size) {
            break;
        }
        if fs::remove_file(dir.join(name)).is_ok() {
            files -= 1;
            size -= len;
        }
    }
    if fits(files, size) {
        Ok(())
    } else {
        Err(io::Error::new(
            io::ErrorKind::StorageFull,
            "the spool is full",
        ))
    }
}

/// The sizes of these files; of few ones zeros, because even if they were as
/// large as can be they would fit.
fn sizes_of(dir: &Path, names: &[String]) -> Vec<u64> {
    let largest = limits::HOOK_BYTES_MAX as u64 + 64 * 1024;
    if (names.len() as u64).saturating_mul(largest) < limits::SPOOL_BYTES_MAX / 2 {
        return vec![0; names.len()];
    }
    let size = |name| fs::symlink_metadata(dir.join(name)).map_or(0, |meta| meta.len());
    names.iter().map(size).collect()
}

/// Makes the directory if it is missing; refuses one that is a link or
/// another user's.
fn prepare(dir: &Path) -> io::Result<()> {
    #[cfg(unix)]
    return crate::ipc::prepare_dir(dir);
    #[cfg(not(unix))]
    return fs::create_dir_all(dir);
}

fn unix_nanos() -> u128 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch() -> (tempfile::TempDir, Home) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("home").into_os_string();
        let home =
            Home::from_env(&|name| (name == "CCPEER_HOME" || name == "HOME").then(|| root.clone()))
                .unwrap();
        (dir, home)
    }

    fn event(id: &str, session: Option<&str>) -> HookHeader {
        HookHeader {
            v: 1,
            id: id.to_owned(),
            event: "Stop".to_owned(),
            pid: None,
            project_dir: None,
            session: session.map(str::to_owned),
            entrypoint: None,
            cut: false,
        }
    }

    #[test]
    fn what_is_written_is_read_back_in_order() {
        let (_dir, home) = scratch();
        assert_eq!(count(&home), 0);
        for n in 0..20 {
            let bytes = encode(&event(&n.to_string(), None), b"{\"a\":\n1}");
            write(&home, &bytes).unwrap();
        }
        let read: Vec<String> = list(&home)
            .iter()
            .map(|path| {
                let bytes = fs::read(path).unwrap();
                let (header, input) = decode(&bytes).unwrap();
                assert_eq!(input, b"{\"a\":\n1}");
                header.id
            })
            .collect();
        assert_eq!(read, (0..20).map(|n| n.to_string()).collect::<Vec<_>>());
        reject(&home, &list(&home).remove(0));
        assert_eq!(count(&home), 19);
        assert_eq!(names(&home.spool_rejected()).len(), 1);
    }

    #[test]
    fn half_written_files_are_not_listed() {
        let (_dir, home) = scratch();
        write(&home, &encode(&event("1", None), b"{}")).unwrap();
        fs::write(home.spool().join(format!("{TEMP_PREFIX}x.hook")), b"{").unwrap();
        fs::write(home.spool().join("notes.txt"), b"").unwrap();
        assert_eq!(count(&home), 1);
    }

    #[test]
    fn bytes_without_a_header_are_not_an_event() {
        assert!(decode(b"").is_none());
        assert!(decode(b"{}").is_none());
        assert!(decode(b"[]\n{}").is_none());
        assert!(decode(&encode(&event("1", None), b"")).is_some_and(|(_, input)| input.is_empty()));
    }

    #[test]
    fn a_full_spool_keeps_the_newest_event_of_each_session() {
        let (_dir, home) = scratch();
        let big = vec![b' '; limits::HOOK_BYTES_MAX];
        let fit = limits::SPOOL_BYTES_MAX / limits::HOOK_BYTES_MAX as u64;
        for n in 0..fit + 4 {
            let session = format!("session-{}", n % 3);
            write(&home, &encode(&event(&n.to_string(), Some(&session)), &big)).unwrap();
        }
        let left = count(&home);
        assert!(left <= fit, "{left} files of {fit}");
        let sessions: BTreeSet<String> = list(&home)
            .iter()
            .filter_map(|path| decode(&fs::read(path).unwrap()).and_then(|(h, _)| h.session))
            .collect();
        assert_eq!(sessions.len(), 3);
    }

    #[test]
    fn a_spool_full_of_different_sessions_refuses_more() {
        let (_dir, home) = scratch();
        let big = vec![b' '; limits::HOOK_BYTES_MAX];
        let mut refused = None;
        for n in 0..=limits::SPOOL_BYTES_MAX / limits::HOOK_BYTES_MAX as u64 {
            let session = format!("session-{n}");
            let bytes = encode(&event(&n.to_string(), Some(&session)), &big);
            refused = write(&home, &bytes).err();
        }
        assert_eq!(refused.map(|e| e.kind()), Some(io::ErrorKind::StorageFull));
    }

    #[cfg(unix)]
    #[test]
    fn k_h04_a_spool_that_is_a_link_is_not_followed() {
        let (dir, home) = scratch();
        let elsewhere = dir.path().join("elsewhere");
        fs::create_dir_all(&elsewhere).unwrap();
        fs::create_dir_all(home.root()).unwrap();
        std::os::unix::fs::symlink(&elsewhere, home.spool()).unwrap();
        assert!(write(&home, &encode(&event("1", None), b"{}")).is_err());
        assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
    }

    #[cfg(unix)]
    #[test]
    fn k_a12_spool_files_are_private() {
        use std::os::unix::fs::PermissionsExt;
        let (_dir, home) = scratch();
        write(&home, &encode(&event("1", None), b"{}")).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&home.spool()), 0o700);
        assert_eq!(mode(&list(&home).remove(0)), 0o600);
    }
}
