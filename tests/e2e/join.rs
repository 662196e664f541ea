//! Both machines continued the same session apart from each other, and the user
//! wants one session again.

use std::fs;

use super::world::{World, arrives, connected, continue_into, pair, until};

const ID: &str = "7c1e9a44-2b0f-4c55-9e1d-3a7f51c0d2aa";

#[test]
fn two_lines_become_one_everywhere() {
    let world = World::new();
    let (mut a, mut b) = (world.running("desk"), world.running("laptop"));
    pair(&a, &b);
    let mut on_a = a.session(ID, &a.project("work/proj"));
    a.turn(&mut on_a, "base");
    arrives(&b, ID, &on_a);
    let there = b.project("proj");
    let placed = continue_into(&b, ID, &there);
    let mut on_b = on_a.at(placed["path"].as_str().unwrap().as_ref(), &there);
    b.stop();
    a.turn(&mut on_a, "the line of desk");
    until("desk has its line", || {
        a.json(&["sessions", "--json"])[0]["records"].as_u64() == Some(on_a.records())
    });
    a.stop();
    b.start();
    b.turn(&mut on_b, "the line of laptop");
    b.ok(&["push", ID]);
    let own = on_b.bytes();
    a.start();
    connected(&a, &b);
    for device in [&a, &b] {
        until("both heads are there", || {
            let rows = device.rows(ID);
            rows.len() == 2 && rows.iter().all(|r| r["complete"] == true)
        });
    }

    let joined = b.json(&["continue", ID, "--join", "--no-exec", "--json"]);
    assert_eq!(joined["placed"], "joined", "{joined}");
    assert_eq!(joined["new_session_id"], serde_json::Value::Null);
    let text = fs::read(joined["path"].as_str().unwrap()).unwrap();
    assert!(text.starts_with(&own), "the local file only grows");
    let both = String::from_utf8(text).unwrap();
    assert!(both.contains("the line of desk") && both.contains("the line of laptop"));

    for device in [&a, &b] {
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
