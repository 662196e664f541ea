//! Both machines continued the same session apart from each other, and the user
//! wants one session again.

use std::fs;

use super::story::Story;
use super::world::until;

const ID: &str = "7c1e9a44-2b0f-4c55-9e1d-3a7f51c0d2aa";

#[test]
fn two_lines_become_one_everywhere() {
    let mut story = Story::continued(ID);
    story.part();
    let Story { a, b, on_b, .. } = &story;
    let own = on_b.bytes();

    let joined = b.json(&["continue", ID, "--join", "--no-exec", "--json"]);
    assert_eq!(joined["placed"], "joined", "{joined}");
    assert_eq!(joined["new_session_id"], serde_json::Value::Null);
    let text = fs::read(joined["path"].as_str().unwrap()).unwrap();
    assert!(text.starts_with(&own), "the local file only grows");
    let both = String::from_utf8(text).unwrap();
    assert!(both.contains("the line of desk") && both.contains("the line of laptop"));

    for device in [a, b] {
        until("one head is left", || {
            let rows = device.rows(ID);
            rows.len() == 1 && rows[0]["heads"] == 1 && rows[0]["complete"] == true
        });
    }
    let back = a.json(&["continue", ID, "--no-exec", "--json"]);
    assert_eq!(back["placed"], "fast_forward", "{back}");
    let there = fs::read_to_string(back["path"].as_str().unwrap()).unwrap();
    assert_eq!(there.lines().count(), both.lines().count());
    assert_eq!(
        a.json(&["continue", ID, "--join", "--no-exec", "--json"])["placed"],
        "up_to_date",
        "nothing is left to join"
    );

    b.ok(&["undo"]);
    assert_eq!(on_b.bytes(), own, "taken back byte for byte");
}
