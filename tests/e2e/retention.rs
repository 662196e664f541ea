//! What Claude Code deletes, or somebody else, is gone there and nowhere else.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::world::{World, arrives, connected, continue_into, pair, until};

const ID: &str = "5f0d7a52-6f0e-4d8e-9a41-0c6a8f6f1d51";
const DAY: Duration = Duration::from_secs(24 * 3600);

fn age(path: &Path, days: u32) {
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_modified(SystemTime::now() - DAY * days).unwrap();
}

#[test]
fn a_deleted_directory_takes_no_copy_with_it() {
    let world = World::new();
    let (a, b) = (world.running("desk"), world.running("laptop"));
    pair(&a, &b);
    let mut on_a = a.session(ID, &a.project("work/proj"));
    a.turn(&mut on_a, "write the parser");
    arrives(&b, ID, &on_a);
    let before = on_a.bytes();
    fs::remove_dir_all(a.claude().join("projects")).unwrap();

    for device in [&a, &b] {
        until(&format!("{} calls it archived", device.name), || {
            let rows = device.rows(ID);
            rows.len() == 1 && rows[0]["state"] == "archived" && rows[0]["complete"] == true
        });
        let listed = device.json(&["tasks", "--json"]);
        assert!(!listed.to_string().contains(ID), "it is no task any more");
        let why = device.json(&["why", ID, "--json"]);
        assert_eq!(why["listed"], false, "{why}");
        assert_eq!(why["versions"][0]["complete"], true, "{why}");
    }
    // Back where it was, without a word where that is, and not to be swept at once.
    let start = SystemTime::now() - Duration::from_secs(2);
    let back = a.json(&["continue", ID, "--no-exec", "--json"]);
    assert_eq!(back["placed"], "new", "{back}");
    assert_eq!(back["project_dir"], on_a.project.to_str().unwrap());
    assert_eq!(on_a.bytes(), before);
    assert!(fs::metadata(&on_a.transcript).unwrap().modified().unwrap() >= start);
    for device in [&a, &b] {
        until(&format!("{} sees that it is back", device.name), || {
            device.rows(ID)[0]["state"] == "interrupted"
        });
    }
    let placed = continue_into(&b, ID, &b.project("proj"));
    assert_eq!(placed["placed"], "new", "{placed}");
}

#[test]
fn what_only_one_disk_holds_is_told_before_it_is_deleted() {
    let world = World::new();
    let (mut a, mut b) = (world.running("desk"), world.running("laptop"));
    fs::write(
        a.claude().join("settings.json"),
        r#"{"cleanupPeriodDays": 10, "env": {}}"#,
    )
    .unwrap();
    pair(&a, &b);
    b.stop();
    a.stop();
    let mut on_a = a.session(ID, &a.project("work/proj"));
    on_a.append("nobody but desk has this");
    age(&on_a.transcript, 6);
    let young = "5f0d7a52-6f0e-4d8e-9a41-0c6a8f6f1d52";
    let mut fresh = a.session(young, &a.project("work/proj"));
    fresh.append("this one stays for a while");
    age(&fresh.transcript, 4);
    a.start();
    let expiring =
        |device: &super::world::Device| device.json(&["status", "--json"])["expiring"].clone();
    until("desk knows what is about to go", || {
        let told = expiring(&a);
        let sessions = told["sessions"].as_array().unwrap().clone();
        told["cleanup_days"] == 10
            && sessions.len() == 1
            && sessions[0]["session_id"] == ID
            && sessions[0]["captured"] == true
    });
    let said = a.run(&["tasks", "--all"]).stderr;
    assert!(
        said.contains("a session within 5 days that no other machine holds"),
        "{said}"
    );
    assert!(said.lines().all(|l| l.chars().count() <= 80), "{said}");
    b.start();
    connected(&a, &b);
    arrives(&b, ID, &on_a);
    until("nothing is to be told any more", || {
        expiring(&a)["sessions"].as_array().unwrap().is_empty()
    });
    // Remembered, also while nobody is there to be asked.
    b.stop();
    a.stop();
    a.start();
    until("desk has looked again", || {
        expiring(&a)["cleanup_days"] == 10 && !a.rows(ID).is_empty()
    });
    assert!(expiring(&a)["sessions"].as_array().unwrap().is_empty());
    assert!(!a.run(&["tasks", "--all"]).stderr.contains("deletes"));
}
