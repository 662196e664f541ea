//! Devices on networks of their own: they find each other by real multicast and
//! pair by code, and by ticket where it is blocked.

use std::time::{Duration, Instant};

use super::code::{Inviting, pair_with};
use super::lan::Lan;
use super::world::{Device, World, arrives, connected, within};

const ID: &str = "5f0d7a52-6f0e-4d8e-9a41-0c6a8f6f1d71";

fn listed(one: &Device, other: &Device) -> bool {
    let devices = one.json(&["devices", "--json"]);
    let mut all = devices.as_array().unwrap().iter();
    all.any(|d| d["name"] == other.name && d["trust"] == "paired")
}

fn paired_and_back(what: &str, invite: fn(&Device) -> Inviting, multicast: bool) {
    let Some(lan) = Lan::new(2) else { return };
    if [0, 1].iter().any(|n| !lan.multicast(*n, multicast)) {
        return;
    }
    let world = World::new();
    let mut a = lan.device(&world, 0, "desk");
    let mut b = lan.device(&world, 1, "laptop");
    let inviting = invite(&a);
    let shown = Instant::now();
    let secret = pair_with(inviting, &b);
    let both = || listed(&a, &b) && listed(&b, &a);
    within(
        &format!("{what}: both are listed"),
        Duration::from_secs(10),
        shown,
        both,
    );
    connected(&a, &b);
    a.kill();
    b.kill();
    a.start();
    b.start();
    let ready = Instant::now();
    let both = || a.is_linked(&b) && b.is_linked(&a);
    within(
        &format!("{what}: linked after a restart"),
        Duration::from_secs(2),
        ready,
        both,
    );
    let mut on_a = a.session(ID, &a.project("work/proj"));
    a.turn(&mut on_a, "over the air");
    arrives(&b, ID, &on_a);
    let status = a.json(&["status", "--json"]);
    assert_eq!(status["peers"][0]["path"], "direct");
    for device in [&a, &b] {
        let log = std::fs::read_to_string(device.ccpeer_home().join("log/agent.log")).unwrap();
        assert!(!log.contains(&secret), "the secret is in a log");
    }
}

#[test]
fn k_p01_by_code_and_back_after_a_restart() {
    paired_and_back("by code over mDNS", Inviting::by_code, true);
}

#[test]
fn k_p01_by_ticket_where_multicast_is_blocked() {
    paired_and_back("by ticket, multicast blocked", Inviting::by_ticket, false);
}

#[test]
fn k_p02_a_wrong_code_burns_the_right_one() {
    let Some(lan) = Lan::new(2) else { return };
    let world = World::new();
    let a = lan.device(&world, 0, "desk");
    let b = lan.device(&world, 1, "laptop");
    let inviting = Inviting::by_code(&a);
    let code = inviting.secret.clone();
    let wrong = if code.starts_with('7') {
        "8KQ-2MX"
    } else {
        "7KQ-2MX"
    };
    let tried = b.run_with(&["join", "--json"], format!("{wrong}\n").as_bytes());
    assert_eq!(tried.code, 1, "{}{}", tried.stdout, tried.stderr);
    assert!(
        tried.stdout.contains("\"failed\""),
        "the joining side does not say so"
    );
    let (told, status) = inviting.end();
    assert!(
        told.contains("\"failed\"") && told.contains("wrong code"),
        "{told}"
    );
    assert_eq!(status, 1);
    let late = b.run_with(&["join", "--json"], format!("{code}\n").as_bytes());
    assert_eq!(late.code, 1, "the burned code still works: {}", late.stdout);
    for device in [&a, &b] {
        assert_eq!(device.json(&["devices", "--json"]), serde_json::json!([]));
    }
}

/// What `doctor net` tells about the only peer.
fn told_of_peer(device: &Device) -> String {
    let told = device.run(&["doctor", "net", "--json"]).stdout;
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    let checks = told["checks"].as_array().unwrap();
    let peer = checks.iter().find(|c| c["id"] == "peer").unwrap();
    format!("{} | {}", peer["message"], peer["hint"])
}

#[test]
fn doctor_net_says_why_a_device_is_not_seen() {
    let Some(lan) = Lan::new(3) else { return };
    let world = World::new();
    let a = lan.device(&world, 0, "desk");
    let mut b = lan.device(&world, 1, "laptop");
    pair_with(Inviting::by_ticket(&a), &b);
    connected(&a, &b);
    let report = a.json(&["doctor", "net", "--json"]);
    assert_eq!(report["ok"], true, "{report}");
    let network = &report["network"];
    assert_eq!(network["multicast"]["ipv4"], true);
    assert!(network["multicast"]["own_heard_ms"].as_u64().unwrap() < 5_000);
    assert_eq!(network["multicast"]["others"].as_array().unwrap().len(), 1);
    assert!(!report["checks"].to_string().contains("laptop.local"));
    assert!(told_of_peer(&a).contains("laptop is connected"));
    let text = a.ok(&["doctor", "net"]);
    assert!(text.lines().all(|l| l.chars().count() <= 80), "{text}");

    b.kill();
    super::world::until("nobody answers there", || {
        told_of_peer(&a).contains("nobody answers at 10.77.0.2:")
    });
    b.start();
    connected(&a, &b);
    b.ok(&["revoke", "desk"]);
    super::world::until("the revocation is told", || {
        told_of_peer(&a).contains("has revoked this device")
    });
}
