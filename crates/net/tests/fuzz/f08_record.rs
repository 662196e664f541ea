//! F8: what is heard by multicast. What passes the filter is somebody else, under
//! addresses that can be dialled, and few of them.

use ccpeer_core::id::DeviceId;
use ccpeer_net::probe;

/// The oracle.
pub(crate) fn check(bytes: &[u8]) {
    // What must hold of a record that passes is asserted there.
    let taken = probe::record_of_bytes(bytes);
    assert_eq!(taken, probe::record_of_bytes(bytes), "the same each time");
    let me = DeviceId([0; 32]);
    let heard = probe::multicast(&me, bytes);
    assert_eq!(heard, probe::multicast(&me, bytes), "the same each time");
    let _ = probe::pairing_secret(&String::from_utf8_lossy(bytes));
}
