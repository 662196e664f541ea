//! The order of the last list that was shown, so that `continue 1` means what
//! the user saw, also after a restart.

use ccpeer_core::codec;
use ccpeer_core::id::{EntryHash, SessionId};
use ccpeer_store::{Namespace, NoteWrite, Store, StoreError};

const KEY: &[u8] = b"last_list";
/// A list is numbered and remembered up to here; the note must fit the store.
const ROWS_MAX: usize = 10_000;
const BYTES_MAX: usize = ROWS_MAX * 48 + 16;

/// The write that remembers a list.
pub(crate) fn note(list: &[(SessionId, EntryHash)]) -> NoteWrite {
    let rows: Vec<_> = list.iter().take(ROWS_MAX).copied().collect();
    NoteWrite {
        ns: Namespace::Setting,
        key: KEY.to_vec(),
        value: Some(codec::encode(&rows)),
    }
}

/// The list remembered; empty if none can be read.
pub(crate) fn load(store: &Store) -> Result<Vec<(SessionId, EntryHash)>, StoreError> {
    let note = store.note(Namespace::Setting, KEY)?;
    Ok(note
        .and_then(|bytes| codec::decode(&bytes, BYTES_MAX).ok())
        .unwrap_or_default())
}
