//! Hook events between "received" and "dealt with": durable before they are
//! acknowledged, each kept once however often it arrives.
//!
//! A hook client that got no answer in time spools the same event under the same
//! id, so the socket and the spool may both deliver it.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ccpeer_core::id::SessionId;
use ccpeer_formats::claude::hook::{self, HookEnv, HookEvent, HookKind};
use ccpeer_store::{Namespace, NoteWrite, Store, StoreError};

use crate::api::{API_VERSION, HookHeader};

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
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next: u64,
    received: u64,
    seen: BTreeSet<String>,
    order: VecDeque<String>,
    in_flight: BTreeSet<String>,
}

/// An event that is durable and not yet dealt with.
#[derive(Debug, Clone)]
pub(crate) struct Pending {
    pub(crate) key: u64,
    /// `None`: an event that we do not know, or that is not one.
    pub(crate) event: Option<HookEvent>,
}

/// What became of a delivery.
pub(crate) enum Accepted {
    /// New, and durable now.
    New(Pending),
    /// Known already, and durable.
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
    /// It could not be made durable.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Inbox {
    /// Finds what was left from before.
    pub(crate) fn open(store: Arc<Store>) -> Result<Self, StoreError> {
        let mut state = State::default();
        for (key, value) in store.notes(Namespace::HookSeen)? {
            if let (Ok(id), Ok(number)) = (String::from_utf8(key), number(&value)) {
                state.order.push_back(id.clone());
                state.seen.insert(id);
                state.next = state.next.max(number + 1);
            }
        }
        if let Some(value) = store.note(Namespace::Setting, COUNTER)? {
            state.received = number(&value).unwrap_or(0);
        }
        // Of two that came together the later one may have been written first, and
        // its count with it: no number is given twice, so the numbers know better.
        state.received = state.received.max(state.next);
        Ok(Self {
            store,
            state: Mutex::new(state),
        })
    }

    /// Events that were taken and not dealt with, in order. Blocking.
    pub(crate) fn pending(&self) -> Result<Vec<Pending>, StoreError> {
        let notes = self.store.notes(Namespace::HookInbox)?;
        Ok(notes
            .into_iter()
            .filter_map(|(key, body)| {
                let key = number(&key).ok()?;
                Some(Pending {
                    key,
                    event: parse(&body).and_then(|(_, event)| event),
                })
            })
            .collect())
    }

    /// Takes one frame. It is durable when this returns. Blocking.
    pub(crate) fn accept(&self, body: &[u8]) -> Result<Accepted, InboxError> {
        let body = body.get(..BODY_BYTES_MAX).unwrap_or(body);
        let (header, event) = parse(body).ok_or(InboxError::Malformed)?;
        let (key, received, dropped) = {
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
            let dropped = if state.order.len() >= SEEN_MAX {
                state.order.pop_front()
            } else {
                None
            };
            if let Some(id) = &dropped {
                state.seen.remove(id);
            }
            (key, state.received, dropped)
        };
        let mut writes = vec![
            write(
                Namespace::HookInbox,
                &key.to_be_bytes(),
                Some(body.to_vec()),
            ),
            write(
                Namespace::HookSeen,
                header.id.as_bytes(),
                Some(key.to_be_bytes().to_vec()),
            ),
            write(
                Namespace::Setting,
                COUNTER,
                Some(received.to_be_bytes().to_vec()),
            ),
        ];
        writes.extend(dropped.map(|id| write(Namespace::HookSeen, id.as_bytes(), None)));
        let result = self.store.put_notes(&writes);
        let mut state = self.lock();
        state.in_flight.remove(&header.id);
        result?;
        state.order.push_back(header.id.clone());
        state.seen.insert(header.id);
        Ok(Accepted::New(Pending { key, event }))
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

/// The note that forgets an event that was dealt with.
pub(crate) fn forgotten(key: u64) -> NoteWrite {
    write(Namespace::HookInbox, &key.to_be_bytes(), None)
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

    #[test]
    fn k_h12_a_count_that_was_written_out_of_order_loses_nobody() {
        let world = World::new("ann");
        let store = Arc::new(world.store);
        let inbox = Inbox::open(Arc::clone(&store)).unwrap();
        for id in ["one", "two", "three"] {
            assert!(matches!(inbox.accept(&frame(id)), Ok(Accepted::New(_))));
        }
        assert!(matches!(inbox.accept(&frame("two")), Ok(Accepted::Known)));
        // What is left when the second one's count was written last.
        let late = write(
            Namespace::Setting,
            COUNTER,
            Some(2u64.to_be_bytes().to_vec()),
        );
        store.put_notes(&[late]).unwrap();
        let again = Inbox::open(store).unwrap();
        assert_eq!(again.received(), 3);
        assert_eq!(again.pending().unwrap().len(), 3);
    }
}
