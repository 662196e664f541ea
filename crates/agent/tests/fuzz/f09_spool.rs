//! F9: a file of the spool. Whoever can write into the spool can put anything
//! there; what is taken is what would have been written.

use ccpeer_agent::spool;

/// The oracle.
pub(crate) fn check(bytes: &[u8]) {
    let Some((header, input)) = spool::decode(bytes) else {
        return;
    };
    let end = bytes.iter().position(|b| *b == b'\n').unwrap();
    assert!(
        input == &bytes[end + 1..],
        "the input is passed on as it came"
    );
    let written = spool::encode(&header, input);
    let (again, same) = spool::decode(&written).unwrap();
    assert!(same == input);
    assert_eq!(again, header);
}
