//! Hook events between "received" and "dealt with": kept before they are
//! acknowledged, each once however often it arrives.
//!
//! A hook client that got no answer in time spools the same event under the same
//! id, so the socket and the spool may both deliver it.
//!
//! An event is written to a file of its own first (`inbox/file.rs`), which outlives this
//! program; after a power cut the sweep finds what it spoke of. What remains of it, the
//! id under which it came, goes to the store with whatever is written there when it has
//! been dealt with. Where the file does not take it, the store does at once.

mod file;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ccpeer_core::id::SessionId;
use ccpeer_formats::claude::hook::{self, HookEnv, HookEvent, HookKind};
use ccpeer_store::{Namespace, NoteWrite, Store, StoreError};

use crate::api::{API_VERSION, HookHeader};

use file::EventFile;

/// Ids remembered to know a second arrival; far more than can be spooled.
const SEEN_MAX: usize = 20_000;
/// Of an event's JSON this much is kept until it is dealt with: a note holds no
/// more, and what is cut is the tail of a last reply.
const BODY_BYTES_MAX: usize = 512 * 1024;
/// Longest id that a hook client may draw.
const ID_BYTES_MAX: usize = 64;

/// Key of the counter in [`Namespace::Setting`].
const COUNTER: &[u8] = b"hooks_received";

/// Events that wait, and the ids of those that came.
pub(crate) struct Inbox {
    store: Arc<Store>,
    file: EventFile,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next: u64,
    received: u64,
    seen: BTreeSet<String>,
    order: VecDeque<String>,
    in_flight: BTreeSet<String>,
    /// What stands in the file alone.
    in_file: BTreeMap<u64, Waiting>,
    /// Ids that are not remembered any more and still stand in the store.
    dropped: Vec<String>,
    /// How many of them are being struck off.
    striking: usize,
}

/// An event in the file.
#[derive(Clone)]
struct Waiting {
    id: String,
    /// What it said; only of those that were found at the start.
    body: Option<Vec<u8>>,
}

/// An event that is kept and not yet dealt with.
#[derive(Debug, Clone)]
pub(crate) struct Pending {
    pub(crate) key: u64,
    /// `None`: an event that we do not know, or that is not one.
    pub(crate) event: Option<HookEvent>,
}

/// What became of a delivery.
pub(crate) enum Accepted {
    /// New, and kept now.
    New(Pending),
    /// Known already, and kept.
    Known,
}

/// Why a delivery was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InboxError {
    /// It is not a hook frame of this version.
    #[error("not a hook event of this version")]
    Malformed,
    /// The same event is being written at this moment.
    #[error("the same event is being written")]
    InFlight,
    /// It could not be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Inbox {
    /// Finds what was left from before.
    pub(crate) fn open(store: Arc<Store>, file: &Path) -> Result<Self, StoreError> {
        let mut state = State::default();
        let mut known = BTreeMap::new();
        for (key, value) in store.notes(Namespace::HookSeen)? {
            if let (Ok(id), Ok(number)) = (String::from_utf8(key), number(&value)) {
                state.next = state.next.max(number.saturating_add(1));
                known.insert(number, id);
            }
        }
        // What is older than all that is remembered was dealt with long ago: a file
        // from a backup may hold it.
        let oldest = known.keys().next().copied().unwrap_or_default();
        let remembered_from = if known.len() < SEEN_MAX { 0 } else { oldest };
        state.order.extend(known.values().cloned());
        state.seen.extend(known.values().cloned());
        let (file, records) = EventFile::open(file);
        for record in records {
            let Some((header, _)) = parse(&record.body) else {
                continue;
            };
            if state.seen.contains(&header.id) || record.key < remembered_from {
                continue;
            }
            // Where the store is older than the file, its number is another one's.
            let taken = known.contains_key(&record.key) || state.in_file.contains_key(&record.key);
            let key = if taken { state.next } else { record.key };
            state.next = state.next.max(key.saturating_add(1));
            state.remember(header.id.clone());
            let waiting = Waiting {
                id: header.id,
                body: Some(record.body),
            };
            state.in_file.insert(key, waiting);
        }
        if let Some(value) = store.note(Namespace::Setting, COUNTER)? {
            state.received = number(&value).unwrap_or(0);
        }
        // Of two that came together the later one may have been written first, and
        // its count with it: no number is given twice, so the numbers know better.
        state.received = state.received.max(state.next);
        if state.in_file.is_empty() {
            file.empty();
        }
        Ok(Self {
            store,
            file,
            state: Mutex::new(state),
        })
    }

    /// Events that were taken and not dealt with, in order. Blocking.
    pub(crate) fn pending(&self) -> Result<Vec<Pending>, StoreError> {
        let pending = |key: u64, body: &[u8]| Pending {
            key,
            event: parse(body).and_then(|(_, event)| event),
        };
        let mut all = BTreeMap::new();
        for (key, body) in self.store.notes(Namespace::HookInbox)? {
            if let Ok(key) = number(&key) {
                all.insert(key, pending(key, &body));
            }
        }
        for (key, waiting) in &mut self.lock().in_file {
            if let Some(body) = waiting.body.take() {
                all.insert(*key, pending(*key, &body));
            }
        }
        Ok(all.into_values().collect())
    }

    /// Takes one frame. It outlives this program when this returns. Blocking.
    pub(crate) fn accept(&self, body: &[u8]) -> Result<Accepted, InboxError> {
        let body = body.get(..BODY_BYTES_MAX).unwrap_or(body);
        let (header, event) = parse(body).ok_or(InboxError::Malformed)?;
        let key = {
            let mut state = self.lock();
            if state.seen.contains(&header.id) {
                return Ok(Accepted::Known);
            }
            if !state.in_flight.insert(header.id.clone()) {
                return Err(InboxError::InFlight);
            }
            let key = state.next;
            state.next += 1;
            state.received += 1;
            key
        };
        let filed = self.file.append(key, body);
        let result = match &filed {
            Ok(()) => Ok(()),
            Err(e) => {
                tracing::debug!(error = %e, "a hook event goes to the store at once");
                self.accept_in_store(key, &header.id, body)
            }
        };
        let mut state = self.lock();
        state.in_flight.remove(&header.id);
        result?;
        if filed.is_ok() {
            let id = header.id.clone();
            state.in_file.insert(key, Waiting { id, body: None });
        }
        state.remember(header.id);
        Ok(Accepted::New(Pending { key, event }))
    }

    fn accept_in_store(&self, key: u64, id: &str, body: &[u8]) -> Result<(), StoreError> {
        let received = self.received();
        self.store.put_notes(&[
            write(
                Namespace::HookInbox,
                &key.to_be_bytes(),
                Some(body.to_vec()),
            ),
            seen(id, key),
            counted(received),
        ])
    }

    /// The notes after which these events need not be kept any more: they were dealt
    /// with.
    pub(crate) fn notes_of(&self, dealt: &[u64]) -> Vec<NoteWrite> {
        if dealt.is_empty() {
            return Vec::new();
        }
        let mut state = self.lock();
        let mut notes = Vec::new();
        for key in dealt {
            match state.in_file.get(key) {
                Some(waiting) => notes.push(seen(&waiting.id, *key)),
                None => notes.push(write(Namespace::HookInbox, &key.to_be_bytes(), None)),
            }
        }
        notes.push(counted(state.received));
        // Of one that was remembered and forgotten meanwhile, the second counts.
        let struck = |id: &String| write(Namespace::HookSeen, id.as_bytes(), None);
        notes.extend(state.dropped.iter().map(struck));
        state.striking = state.dropped.len();
        notes
    }

    /// The notes of [`Inbox::notes_of`] are durable. Blocking, for a moment.
    pub(crate) fn settled(&self, dealt: &[u64]) {
        if dealt.is_empty() {
            return;
        }
        let mut state = self.lock();
        for key in dealt {
            state.in_file.remove(key);
        }
        let struck = state.striking.min(state.dropped.len());
        state.dropped.drain(..struck);
        state.striking = 0;
        // Nobody begins to write while the state is held.
        if state.in_file.is_empty() && state.in_flight.is_empty() {
            self.file.empty();
        }
    }

    /// Events taken since the store was made.
    pub(crate) fn received(&self) -> u64 {
        self.lock().received
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// That this one came.
    fn remember(&mut self, id: String) {
        if self.order.len() >= SEEN_MAX
            && let Some(old) = self.order.pop_front()
        {
            self.seen.remove(&old);
            self.dropped.push(old);
        }
        self.order.push_back(id.clone());
        self.seen.insert(id);
    }
}

fn seen(id: &str, key: u64) -> NoteWrite {
    let key = key.to_be_bytes().to_vec();
    write(Namespace::HookSeen, id.as_bytes(), Some(key))
}

fn counted(received: u64) -> NoteWrite {
    let received = received.to_be_bytes().to_vec();
    write(Namespace::Setting, COUNTER, Some(received))
}

/// Whose turn an event ends, and its last reply, if it ends one.
pub(crate) fn ends_turn(body: &[u8]) -> Option<(SessionId, Option<String>)> {
    let event = parse(body)?.1?;
    match event.kind {
        HookKind::Stop {
            last_assistant_message,
            ..
        } => Some((event.session, last_assistant_message)),
        _ => None,
    }
}

fn parse(body: &[u8]) -> Option<(HookHeader, Option<HookEvent>)> {
    let end = body.iter().position(|b| *b == b'\n')?;
    let header: HookHeader = serde_json::from_slice(body.get(..end)?).ok()?;
    if header.v != API_VERSION || header.id.is_empty() || header.id.len() > ID_BYTES_MAX {
        return None;
    }
    let env = HookEnv {
        pid: header.pid,
        project_dir: header.project_dir.clone(),
        session: header.session.clone(),
        entrypoint: header.entrypoint.clone(),
    };
    let event = hook::parse(&header.event, body.get(end + 1..)?, &env);
    Some((header, event))
}

fn number(bytes: &[u8]) -> Result<u64, std::array::TryFromSliceError> {
    bytes.try_into().map(u64::from_be_bytes)
}

fn write(ns: Namespace, key: &[u8], value: Option<Vec<u8>>) -> NoteWrite {
    NoteWrite {
        ns,
        key: key.to_vec(),
        value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::World;

    fn frame(id: &str) -> Vec<u8> {
        let header = HookHeader {
            v: API_VERSION,
            id: id.into(),
            event: "Stop".into(),
            session: None,
            pid: None,
            project_dir: None,
            entrypoint: None,
            cut: false,
        };
        crate::spool::encode(&header, b"{}")
    }

    fn taken(inbox: &Inbox, id: &str) -> u64 {
        match inbox.accept(&frame(id)) {
            Ok(Accepted::New(pending)) => pending.key,
            _ => panic!("{id} was not taken"),
        }
    }

    /// A store, and where the file lies; each opening is a start after a crash.
    fn begin() -> (Arc<Store>, tempfile::TempDir) {
        (
            Arc::new(World::new("ann").store),
            tempfile::tempdir().unwrap(),
        )
    }

    fn open(store: &Arc<Store>, dir: &tempfile::TempDir) -> Inbox {
        Inbox::open(Arc::clone(store), &dir.path().join("events")).unwrap()
    }

    fn keys(inbox: &Inbox) -> Vec<u64> {
        inbox.pending().unwrap().iter().map(|p| p.key).collect()
    }

    fn settle(store: &Store, inbox: &Inbox, dealt: &[u64]) {
        store.put_notes(&inbox.notes_of(dealt)).unwrap();
        inbox.settled(dealt);
    }

    #[test]
    fn k_h12_a_count_that_was_written_out_of_order_loses_nobody() {
        let (store, dir) = begin();
        let inbox = open(&store, &dir);
        for id in ["one", "two", "three"] {
            taken(&inbox, id);
        }
        assert!(matches!(inbox.accept(&frame("two")), Ok(Accepted::Known)));
        // What is left when the second one's count was written last.
        let late = write(
            Namespace::Setting,
            COUNTER,
            Some(2u64.to_be_bytes().to_vec()),
        );
        store.put_notes(&[late]).unwrap();
        let again = open(&store, &dir);
        assert_eq!(again.received(), 3);
        assert_eq!(again.pending().unwrap().len(), 3);
    }

    #[test]
    fn an_event_waits_until_it_was_dealt_with_and_no_longer() {
        let (store, dir) = begin();
        let inbox = open(&store, &dir);
        let of: Vec<u64> = ["one", "two", "three"].map(|id| taken(&inbox, id)).into();
        // The second is dealt with; the crash comes before, then after it is written.
        let notes = inbox.notes_of(&of[1..2]);
        assert_eq!(keys(&open(&store, &dir)), of);
        store.put_notes(&notes).unwrap();
        let inbox = open(&store, &dir);
        assert_eq!(keys(&inbox), [of[0], of[2]]);
        for id in ["one", "two", "three"] {
            assert!(
                matches!(inbox.accept(&frame(id)), Ok(Accepted::Known)),
                "{id}"
            );
        }
        let four = taken(&inbox, "four");
        assert!(four > of[2]);
        settle(&store, &inbox, &[of[0], of[2], four]);
        let inbox = open(&store, &dir);
        assert_eq!((keys(&inbox).len(), inbox.received()), (0, 4));
    }

    #[test]
    fn a_file_from_a_backup_brings_nothing_back_and_one_that_is_gone_takes_only_its_own() {
        let (store, dir) = begin();
        let (path, old) = (dir.path().join("events"), dir.path().join("old"));
        let inbox = open(&store, &dir);
        let first = taken(&inbox, "one");
        std::fs::copy(&path, &old).unwrap();
        settle(&store, &inbox, &[first]);
        let second = taken(&inbox, "two");
        std::fs::copy(&old, &path).unwrap();
        let inbox = open(&store, &dir);
        assert!(keys(&inbox).is_empty());
        std::fs::remove_file(&path).unwrap();
        let inbox = open(&store, &dir);
        // Nobody knows the second any more: it may come once more, from the spool.
        assert!(taken(&inbox, "two") >= second);
    }

    #[test]
    fn a_store_from_a_backup_gives_no_number_twice() {
        let (store, dir) = begin();
        taken(&open(&store, &dir), "one");
        // Another store has used the number for another event.
        let other = Arc::new(World::new("bea").store);
        other
            .put_notes(&[seen("elsewhere", 0), counted(1)])
            .unwrap();
        let inbox = open(&other, &dir);
        assert_eq!(keys(&inbox), [1]);
        assert_eq!(taken(&inbox, "two"), 2);
    }

    #[test]
    fn where_the_file_cannot_be_used_the_store_takes_events() {
        let (store, dir) = begin();
        std::fs::create_dir(dir.path().join("events")).unwrap();
        let inbox = open(&store, &dir);
        let one = taken(&inbox, "one");
        let inbox = open(&store, &dir);
        assert_eq!(keys(&inbox), [one]);
        assert!(matches!(inbox.accept(&frame("one")), Ok(Accepted::Known)));
        settle(&store, &inbox, &[one]);
        assert!(keys(&open(&store, &dir)).is_empty());
    }

    #[test]
    fn k_h12_a_file_that_is_full_loses_nobody() {
        let (store, dir) = begin();
        let inbox = open(&store, &dir);
        let of: Vec<u64> = (0..12)
            .map(|n| {
                let mut body = frame(&n.to_string());
                body.resize(BODY_BYTES_MAX, b' ');
                match inbox.accept(&body) {
                    Ok(Accepted::New(pending)) => pending.key,
                    _ => panic!("{n} was not taken"),
                }
            })
            .collect();
        let len = || std::fs::metadata(dir.path().join("events")).unwrap().len();
        assert!(len() > 0 && len() <= file::FILE_BYTES_MAX);
        let inbox = open(&store, &dir);
        assert_eq!(keys(&inbox), of);
        settle(&store, &inbox, &of);
        assert_eq!(len(), 0, "it is emptied");
        assert!(keys(&open(&store, &dir)).is_empty());
    }
}
