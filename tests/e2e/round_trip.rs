//! The main job: begin on one machine, continue on the other, and back.

use std::fs;

use super::story::begun;
use super::world::{World, arrives, continue_into, pair};

const ID: &str = "5f0d7a52-6f0e-4d8e-9a41-0c6a8f6f1d01";

#[test]
fn a_session_goes_to_another_machine_and_comes_back() {
    let world = World::new();
    let (a, b) = (world.running("desk"), world.running("laptop"));
    pair(&a, &b);
    let mut on_a = a.session(ID, &a.project("work/proj"));
    a.turn(&mut on_a, "write the parser");
    let first = on_a.bytes();
    arrives(&b, ID, &on_a);

    let rows = b.rows(ID);
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(rows[0]["device"]["name"], "desk");
    assert_eq!(rows[0]["title"], "write the parser");
    assert_eq!(rows[0]["project"], "proj");
    assert_eq!(rows[0]["heads"], 1);

    let there = b.project("code/projects/proj");
    let placed = continue_into(&b, ID, &there);
    assert_eq!(placed["placed"], "new", "{placed}");
    assert_eq!(
        placed["command"],
        serde_json::json!(["claude", "--resume", ID])
    );
    assert_eq!(placed["project_dir"], there.to_str().unwrap());
    let path = placed["path"].as_str().unwrap();
    let text = fs::read_to_string(path).unwrap();
    let a_home = a.home();
    assert!(
        !text.contains(a_home.to_str().unwrap()),
        "a path of the other machine is left"
    );
    assert!(text.contains(there.to_str().unwrap()));

    // One more turn there; it comes back as a fast-forward with our own bytes first.
    let mut on_b = on_a.at(path.as_ref(), &there);
    b.turn(&mut on_b, "now test it");
    arrives(&a, ID, &on_b);
    assert_eq!(a.rows(ID).len(), 1, "no fork");
    let back = a.json(&["continue", ID, "--no-exec", "--json"]);
    assert_eq!(back["placed"], "fast_forward", "{back}");
    assert_eq!(back["project_dir"], on_a.project.to_str().unwrap());
    let merged = on_a.bytes();
    assert!(merged.starts_with(&first), "our own bytes changed");
    let merged = String::from_utf8(merged).unwrap();
    assert!(merged.contains("now test it"));
    assert!(
        !merged.contains(b.home().to_str().unwrap()),
        "a path of the other machine is left"
    );
    assert_eq!(merged.lines().count(), 8);

    // Again: nothing to do. Then undo: exactly what was here before.
    let again = a.json(&["continue", ID, "--no-exec", "--json"]);
    assert_eq!(again["placed"], "up_to_date", "{again}");
    a.ok(&["undo"]);
    assert_eq!(on_a.bytes(), first);
}

#[test]
fn a_source_that_is_off_does_not_matter_once_it_was_heard() {
    let (_world, mut a, b, _) = begun(ID);
    a.stop();
    let placed = continue_into(&b, "1", &b.project("proj"));
    assert_eq!(placed["placed"], "new");
}

#[test]
fn a_session_without_hooks_is_found_by_a_sweep_and_by_push() {
    let world = World::new();
    let mut a = world.device("desk");
    let mut swept = a.session(ID, &a.project("work/proj"));
    swept.append("nobody fired a hook");
    a.start();
    super::world::until("the sweep found it", || a.rows(ID).len() == 1);
    let other = "5f0d7a52-6f0e-4d8e-9a41-0c6a8f6f1d02";
    let mut pushed = a.session(other, &a.project("work/proj"));
    pushed.append("pushed by hand");
    a.ok(&["push", other]);
    assert_eq!(a.rows(other).len(), 1);
}
