//! F1: a control message of a peer. What is taken has exactly one spelling and
//! keeps its bounds.

use ccpeer_core::limits;
use ccpeer_core::wire::Message;

/// The oracle.
pub(crate) fn check(bytes: &[u8]) {
    let Ok(message) = Message::from_bytes(bytes) else {
        return;
    };
    assert!(bytes.len() <= limits::MESSAGE_BYTES_MAX + 1);
    assert!(message.to_bytes() == bytes, "one spelling each");
    match &message {
        Message::Entries(entries) => {
            assert!(!entries.is_empty() && entries.len() <= limits::MESSAGE_ENTRIES_MAX);
            for entry in entries {
                // Most are refused here; none may be trouble.
                let _ = entry.clone().verified_by_store();
            }
        }
        Message::Complete(roots) => {
            assert!(roots.len() <= limits::MESSAGE_ENTRIES_MAX);
            assert!(roots.iter().all(|root| root.kind.is_root()));
        }
        _ => {}
    }
}
