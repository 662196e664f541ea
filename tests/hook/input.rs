//! Whatever comes in on the hook client's standard input, or never comes.

use std::io::Write;
use std::process::Stdio;

use ccpeer_core::limits;

use super::{assert_in_time, assert_silent, spooled};
use crate::support::{User, wait_for_end};

#[test]
fn k_h06_any_standard_input_is_taken_in_time() {
    let user = User::new();
    let huge = vec![b'x'; 50 * 1024 * 1024];
    let inputs: [(&str, &[u8]); 7] = [
        ("empty", b""),
        ("invalid UTF-8", b"\xff\xfe\x00{"),
        ("an array", b"[1,2,3]"),
        ("fields are missing", b"{}"),
        ("fields are of another kind", br#"{"session_id":[1]}"#),
        ("no JSON at all", b"Stop\n"),
        ("huge", &huge),
    ];
    for event in ["Stop", "Never Heard Of"] {
        for (what, input) in inputs {
            assert_in_time(|| assert_silent(&user.run_with(&["hook", event], input)));
            let (header, taken) = spooled(&user).pop().unwrap();
            let want = &input[..input.len().min(limits::HOOK_BYTES_MAX)];
            if what == "huge" {
                assert!(header.cut && taken.len() <= want.len(), "{what}");
            } else {
                assert!(!header.cut && taken == want, "{what}");
            }
            assert_eq!(header.event, event);
        }
    }
}

#[test]
fn k_h06_a_standard_input_that_never_ends_is_not_waited_for() {
    let user = User::new();
    for begun in [&b"{"[..], b""] {
        assert_in_time(|| {
            let mut child = user
                .ccpeer(&["hook", "Stop"])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut stdin = child.stdin.take().unwrap();
            stdin.write_all(begun).unwrap();
            assert_eq!(wait_for_end(&mut child), 0);
            drop(stdin);
        });
        let (header, input) = spooled(&user).pop().unwrap();
        assert!(header.cut);
        assert_eq!(input, begun);
    }
}
