//! What was decoded last, so that it is not decoded again: several hands look at one
//! manifest within a turn, and the next turn begins with it. A memory of what bytes
//! say, found by their hash; it is never older than they are.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ccpeer_core::id::ChunkId;
use ccpeer_core::manifest::Manifest;

/// Bytes of the encoded values that one memo knows. Decoded they take a few times
/// as much.
const BYTES_MAX: usize = 256 * 1024;
/// And how many values.
const VALUES_MAX: usize = 8;

/// The values that were decoded last.
pub(crate) struct Memo<T>(Mutex<VecDeque<Known<T>>>);

struct Known<T> {
    id: ChunkId,
    bytes: usize,
    value: Arc<T>,
}

impl<T> Memo<T> {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(VecDeque::new()))
    }

    /// What these bytes say, if they say anything.
    pub(crate) fn read(
        &self,
        bytes: &[u8],
        decode: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Option<Arc<T>> {
        let id = ChunkId::of(bytes);
        let known = |k: &Known<T>| (k.id == id).then(|| Arc::clone(&k.value));
        if let Some(value) = self.known().iter().find_map(known) {
            return Some(value);
        }
        let value = Arc::new(decode(bytes)?);
        self.keep(id, bytes.len(), Arc::clone(&value));
        Some(value)
    }

    /// These bytes were made from this value.
    pub(crate) fn wrote(&self, bytes: &[u8], value: Arc<T>) {
        self.keep(ChunkId::of(bytes), bytes.len(), value);
    }

    fn keep(&self, id: ChunkId, bytes: usize, value: Arc<T>) {
        let mut known = self.known();
        known.retain(|k| k.id != id);
        known.push_back(Known { id, bytes, value });
        let total = |known: &VecDeque<Known<T>>| known.iter().map(|k| k.bytes).sum::<usize>();
        while known.len() > VALUES_MAX || total(&known) > BYTES_MAX {
            known.pop_front();
        }
    }

    fn known(&self) -> MutexGuard<'_, VecDeque<Known<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The manifest that these bytes are, if they are one.
pub(crate) fn manifest(bytes: &[u8]) -> Option<Arc<Manifest>> {
    static MANIFESTS: Memo<Manifest> = Memo::new();
    MANIFESTS.read(bytes, |bytes| Manifest::from_bytes(bytes).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> Option<String> {
        String::from_utf8(bytes.to_vec()).ok()
    }

    fn never(_: &[u8]) -> Option<String> {
        panic!("decoded again")
    }

    #[test]
    fn what_is_known_is_not_decoded_again() {
        let memo = Memo::new();
        assert_eq!(memo.read(b"one", text).unwrap().as_str(), "one");
        assert_eq!(memo.read(b"one", never).unwrap().as_str(), "one");
        memo.wrote(b"two", Arc::new("two".to_owned()));
        assert_eq!(memo.read(b"two", never).unwrap().as_str(), "two");
        // What says nothing is not remembered.
        assert!(memo.read(b"\xff", text).is_none());
        assert!(memo.read(b"\xff", |_| Some(String::new())).is_some());
    }

    #[test]
    fn the_oldest_goes_first_and_a_long_one_stays_out() {
        let memo = Memo::new();
        for n in 0..=VALUES_MAX {
            memo.read(n.to_string().as_bytes(), text).unwrap();
        }
        memo.read(b"1", never).unwrap();
        assert_eq!(
            memo.read(b"0", |_| Some("anew".into())).unwrap().as_str(),
            "anew"
        );
        memo.read(&vec![b'x'; BYTES_MAX + 1], text).unwrap();
        assert_eq!(memo.known().len(), 0);
    }
}
