//! Pairing with the real program. The handshake itself is tested in crate net.

use super::world::World;

#[test]
fn a_ticket_works_once() {
    let world = World::new();
    let (a, b, c) = (
        world.running("desk"),
        world.running("laptop"),
        world.running("other"),
    );
    let mut inviting = a
        .command(&["pair", "--ticket", "--yes", "--json"])
        .spawn()
        .unwrap();
    let mut lines = std::io::BufReader::new(inviting.stdout.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut lines, &mut line).unwrap();
    let event: serde_json::Value = serde_json::from_str(&line).unwrap();
    let ticket = format!("{}\n", event["ticket"].as_str().unwrap());
    assert_eq!(b.run_with(&["join", "--json"], ticket.as_bytes()).code, 0);
    assert!(inviting.wait().unwrap().success());
    let late = c.run_with(&["join", "--json"], ticket.as_bytes());
    assert_eq!(late.code, 1, "{}{}", late.stdout, late.stderr);
    assert_eq!(c.json(&["devices", "--json"]).as_array().unwrap().len(), 0);
    assert_eq!(a.json(&["devices", "--json"]).as_array().unwrap().len(), 1);
}

#[test]
fn a_secret_is_never_taken_from_the_command_line() {
    let world = World::new();
    let a = world.running("desk");
    assert_eq!(a.run(&["join", "ABC-DEF"]).code, 2);
    assert_eq!(a.run(&["pair", "--yes"]).code, 2);
    assert_eq!(a.run_with(&["join", "--json"], b"rubbish\n").code, 2);
}

/// Sixty digits that are the same on both sides and fit a terminal, and nothing is
/// kept of them.
#[test]
fn the_safety_number_is_the_same_on_both_sides() {
    let world = World::new();
    let [a, b, c] = ["desk", "laptop", "other"].map(|name| world.running(name));
    assert_eq!(
        a.json(&["devices", "--verify", "--json"]),
        serde_json::json!([])
    );
    super::world::pair(&a, &b);
    super::world::pair(&a, &c);
    let number = |of: &super::world::Device, with: &str| {
        let all = of.json(&["devices", "--verify", with, "--json"]);
        assert_eq!(all.as_array().unwrap().len(), 1);
        all[0]["number"].as_str().unwrap().to_owned()
    };
    let ours = number(&a, "laptop");
    assert_eq!(ours, number(&b, "desk"));
    assert_ne!(ours, number(&a, "other"));
    let digits = ours.bytes().filter(u8::is_ascii_digit).count();
    assert_eq!((digits, ours.split(' ').count()), (60, 12), "{ours}");
    let text = a.ok(&["devices", "--verify"]);
    let shown: Vec<&str> = text.split_whitespace().collect();
    for group in ours.split(' ') {
        assert!(shown.contains(&group), "{text}");
    }
    assert!(text.lines().all(|l| l.chars().count() <= 80), "{text}");
    assert_eq!(a.run(&["devices", "--verify", "nobody"]).code, 1);
}

#[test]
fn revoked_means_out_for_good() {
    let world = World::new();
    let (a, b) = (world.running("desk"), world.running("laptop"));
    super::world::pair(&a, &b);
    a.ok(&["revoke", "laptop"]);
    super::world::until("the link is closed", || {
        b.json(&["status", "--json"])["peers"][0]["state"] == "offline"
    });
    let devices = a.json(&["devices", "--json"]);
    assert_eq!(devices[0]["trust"], "revoked");
    let id = "5f0d7a52-6f0e-4d8e-9a41-0c6a8f6f1d41";
    let mut on_a = a.session(id, &a.project("work"));
    a.turn(&mut on_a, "not for laptop");
    super::world::until("it is captured", || !a.rows(id).is_empty());
    assert!(b.rows(id).is_empty());
}
