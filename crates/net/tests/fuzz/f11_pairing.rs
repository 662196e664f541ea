//! F11: a message of the pairing exchange, also as one that the key exchange is
//! done with. What is taken has exactly one spelling.

use ccpeer_net::probe;

/// The oracle.
pub(crate) fn check(bytes: &[u8]) {
    if let Some(again) = probe::pairing_message(bytes) {
        assert!(again == bytes, "one spelling each");
    }
}
