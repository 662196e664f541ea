//! F6: splicing our hooks into Claude Code's settings. Read again, the file means
//! what was there and our hooks; taking them out gives the bytes that were there;
//! doing it twice does nothing more.

use ccpeer_formats::claude::settings::{self, EVENTS, Removal};
use serde_json::{Value, json};

const PROGRAM: &str = "/opt/bin/ccpeer";

/// The oracle.
pub(crate) fn check(bytes: &[u8]) {
    let _ = settings::remove(bytes);
    let Ok(before) = settings::status(Some(bytes)) else {
        assert!(
            settings::install(Some(bytes), PROGRAM).is_err(),
            "refused, not mended"
        );
        return;
    };
    let Ok(with) = settings::install(Some(bytes), PROGRAM) else {
        return;
    };
    let status = settings::status(Some(&with)).unwrap();
    assert_eq!(status.installed, EVENTS);
    assert_eq!(status.program.as_deref(), Some(PROGRAM));
    let again = settings::install(Some(&with), PROGRAM).unwrap();
    assert!(again == with, "twice");
    // With hooks of ours in it before, there is no telling what it was without.
    if !before.installed.is_empty() || before.program.is_some() {
        return;
    }
    match settings::remove(&with).unwrap() {
        Removal::Bytes(back) => assert!(back == bytes, "there and back"),
        other => panic!("{other:?}"),
    }
    if let Some(was) = value(bytes) {
        let parsed = value(&with).unwrap();
        assert_eq!(without_ours(parsed, &was), was, "nothing else changed");
    }
}

fn value(bytes: &[u8]) -> Option<Value> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    serde_json::from_slice(bytes).ok()
}

/// The settings without the groups that are ours, and without the containers
/// that were made for them.
fn without_ours(mut with: Value, was: &Value) -> Value {
    let Some(hooks) = with.get_mut("hooks").and_then(Value::as_object_mut) else {
        panic!("hooks are an object once ours are in");
    };
    for event in EVENTS {
        let groups = hooks.get_mut(event).and_then(Value::as_array_mut).unwrap();
        let count = groups.len();
        groups.retain(|group| !is_ours(group, event));
        assert_eq!(groups.len() + 1, count, "one for {event}");
        if groups.is_empty() && was.pointer(&format!("/hooks/{event}")).is_none() {
            hooks.remove(event);
        }
    }
    if hooks.is_empty() && was.get("hooks").is_none() {
        with.as_object_mut().unwrap().remove("hooks");
    }
    with
}

/// One entry, exactly as we write it; what only resembles it is somebody else's.
fn is_ours(group: &Value, event: &str) -> bool {
    let entry =
        json!({"type": "command", "command": PROGRAM, "args": ["hook", event], "timeout": 5});
    group.get("hooks") == Some(&json!([entry]))
}
