//! More than two devices: offers, and who takes them; revocations, and whom they
//! reach; a key that was replaced while a peer was away. Real agents on loopback,
//! which cannot find each other by themselves: addresses are told.

use std::io::{BufRead, BufReader};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::world::{Device, World, arrives, connected, pair, until};

const ID: &str = "5f0d7a52-6f0e-4d8e-9a41-0c6a8f6f2d21";

fn id_of(device: &Device) -> String {
    let status = device.json(&["status", "--json"]);
    status["device"]["id"].as_str().unwrap().to_owned()
}

/// How one device lists another one.
fn row(device: &Device, id: &str) -> Value {
    let devices = device.json(&["devices", "--json"]);
    let rows = devices.as_array().unwrap();
    let mut found = rows.iter().filter(|d| d["id"] == id);
    let row = found.next().cloned().unwrap_or(Value::Null);
    assert!(found.next().is_none(), "listed twice: {devices}");
    row
}

fn is_trust(device: &Device, id: &str, trust: &str) -> bool {
    row(device, id)["trust"] == trust
}

fn finds(device: &Device, kind: &str) -> Option<String> {
    let status = device.json(&["status", "--json"]);
    let found = status["findings"].as_array().unwrap();
    let found = found.iter().find(|f| f["kind"] == kind)?;
    Some(found["message"].as_str().unwrap().to_owned())
}

/// Tells a device where another one is.
fn dial(from: &Device, to: &Device) {
    let status = to.json(&["status", "--json"]);
    let addr = status["listen"][0].as_str().unwrap();
    from.ok(&["dial", &id_of(to), addr]);
}

fn mesh(devices: &[&Device]) {
    for (n, a) in devices.iter().enumerate() {
        for b in &devices[n + 1..] {
            pair(a, b);
        }
    }
}

/// Tries to pair by ticket; what the joining and the inviting side say.
fn try_to_pair(inviting: &Device, joining: &Device) -> (String, String) {
    let mut child = inviting
        .command(&["pair", "--ticket", "--yes", "--json"])
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    let event: Value = serde_json::from_str(&line).unwrap();
    let ticket = format!("{}\n", event["ticket"].as_str().unwrap());
    let joined = joining.run_with(&["join", "--json"], ticket.as_bytes());
    assert_eq!(joined.code, 1, "{}{}", joined.stdout, joined.stderr);
    let mut told = String::new();
    lines.read_line(&mut told).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    (joined.stdout, told)
}

#[test]
fn k_p08_a_peer_that_takes_anothers_name_takes_nothing_from_it() {
    let world = World::new();
    let (a, b, d) = (
        world.running("amber"),
        world.running("birch"),
        world.running("delta"),
    );
    pair(&a, &b);
    pair(&a, &d);
    let (of_b, of_d) = (id_of(&b), id_of(&d));
    let before = row(&a, &of_d);
    b.ok(&["rename", "delta"]);
    until("the list tells them apart", || {
        row(&a, &of_b)["name"] == format!("delta ({})", &of_b[..4])
    });
    let after = row(&a, &of_d);
    assert_eq!(
        (&after["id"], &after["trust"]),
        (&before["id"], &before["trust"])
    );
    assert_eq!(after["name"], format!("delta ({})", &of_d[..4]));
    assert_eq!(after["state"], "connected");
}

#[test]
fn k_p09_a_third_device_is_offered_and_nothing_more() {
    let world = World::new();
    let (a, b, c) = (
        world.running("amber"),
        world.running("birch"),
        world.running("cedar"),
    );
    pair(&a, &b);
    pair(&b, &c);
    let (of_a, of_b, of_c) = (id_of(&a), id_of(&b), id_of(&c));
    let mut on_c = c.session(ID, &c.project("secret"));
    c.turn(&mut on_c, "for birch only");
    arrives(&b, ID, &on_c);

    until("amber is offered cedar", || is_trust(&a, &of_c, "offered"));
    let offer = row(&a, &of_c);
    assert_eq!(
        (&offer["name"], &offer["os"]),
        (&"cedar".into(), &std::env::consts::OS.into())
    );
    assert_eq!(offer["offered_by"][0]["id"], of_b);
    let added = "birch added a new device: cedar";
    assert!(finds(&a, "device_added").unwrap().starts_with(added));
    assert!(a.run(&["devices"]).stderr.contains(added));
    assert_eq!(finds(&a, "device_added"), None, "told once");
    // cedar came later than amber: what was there before it is no news to it.
    until("cedar is offered amber", || is_trust(&c, &of_a, "offered"));
    assert_eq!(finds(&c, "device_added"), None);

    // Where it could be reached is known, and nobody goes there.
    dial(&a, &c);
    let refused = |device: &Device| {
        let status = device.json(&["status", "--json"]);
        assert_eq!(status["peers"].as_array().unwrap().len(), 1, "{status}");
    };
    refused(&a);
    refused(&c);
    assert!(a.rows(ID).is_empty(), "a stranger's session came here");

    // One side's yes is not enough, and it is told so.
    let accepted = a.json(&["accept", "cedar", "--json"]);
    assert_eq!(accepted["changed"], true);
    assert_eq!(accepted["theirs"], "waiting");
    assert_eq!(row(&a, &of_c)["theirs"], "waiting");
    assert!(a.rows(ID).is_empty());
    c.ok(&["accept", "amber"]);
    dial(&c, &a);
    connected(&a, &c);
    arrives(&a, ID, &on_c);
    assert_eq!(row(&a, &of_c)["theirs"], "accepted");
}

#[test]
fn k_p10_a_revocation_reaches_all_and_can_be_undone_by_the_others() {
    let world = World::new();
    let (a, b, c) = (
        world.running("amber"),
        world.running("birch"),
        world.running("cedar"),
    );
    mesh(&[&a, &b, &c]);
    let (of_a, of_b, of_c) = (id_of(&a), id_of(&b), id_of(&c));
    until("all know of all", || {
        is_trust(&b, &of_c, "paired") && row(&b, &of_c)["theirs"] == "accepted"
    });

    let begun = Instant::now();
    a.ok(&["revoke", "cedar", "--yes"]);
    until("birch keeps cedar out", || {
        is_trust(&b, &of_c, "quarantined")
    });
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
    let kept_out = row(&b, &of_c);
    assert_eq!(kept_out["state"], "offline");
    assert_eq!(kept_out["revoked_by"][0]["id"], of_a);
    assert!(is_trust(&a, &of_c, "revoked") && row(&a, &of_c)["state"] == "offline");
    for of in [&of_a, &of_b] {
        until("cedar is told so", || row(&c, of)["theirs"] == "revoked");
    }
    assert!(finds(&c, "revoked_there").is_some());
    assert!(
        finds(&b, "quarantined")
            .unwrap()
            .starts_with("amber revoked cedar")
    );

    // What is said meanwhile reaches nobody.
    let mut on_c = c.session(ID, &c.project("later"));
    c.turn(&mut on_c, "after the end");
    until("cedar has it itself", || !c.rows(ID).is_empty());
    assert!(a.rows(ID).is_empty() && b.rows(ID).is_empty());

    // birch's user knows better.
    let kept = b.json(&["accept", "cedar", "--json"]);
    assert_eq!(kept["changed"], true);
    dial(&b, &c);
    connected(&b, &c);
    arrives(&b, ID, &on_c);
    assert_eq!(finds(&b, "quarantined"), None);
    assert!(a.rows(ID).is_empty(), "not by way of birch, either");
}

#[test]
fn k_p11_a_revoked_key_never_comes_back() {
    let world = World::new();
    let (mut a, mut b, mut c) = (
        world.running("amber"),
        world.running("birch"),
        world.running("cedar"),
    );
    mesh(&[&a, &b, &c]);
    let of_c = id_of(&c);
    a.ok(&["revoke", "cedar", "--yes"]);
    until("birch keeps cedar out", || {
        is_trust(&b, &of_c, "quarantined")
    });

    let check = |a: &Device, b: &Device, c: &Device| {
        for (inviting, joining) in [(a, c), (c, a), (b, c)] {
            let (joiner, inviter) = try_to_pair(inviting, joining);
            assert!(joiner.contains("tombstoned"), "{}: {joiner}", joining.name);
            assert!(
                inviter.contains("tombstoned"),
                "{}: {inviter}",
                inviting.name
            );
        }
        let refused = a.run(&["accept", &of_c]);
        assert_eq!(refused.code, 1, "{}", refused.stderr);
        assert!(is_trust(a, &of_c, "revoked"));
        assert!(is_trust(b, &of_c, "quarantined"));
        dial(c, a);
        dial(c, b);
        until("both refuse it", || {
            let devices = c.json(&["devices", "--json"]);
            let devices = devices.as_array().unwrap();
            devices.iter().all(|d| d["theirs"] == "revoked")
        });
    };
    check(&a, &b, &c);
    // birch's own word that it trusts cedar stands in its log, and is no offer.
    for device in [&mut a, &mut b, &mut c] {
        device.stop();
    }
    for device in [&mut a, &mut b, &mut c] {
        device.start();
    }
    connected(&a, &b);
    check(&a, &b, &c);
    b.ok(&["revoke", "cedar", "--yes"]);
    let refused = b.run(&["accept", &of_c]);
    assert_eq!(refused.code, 1, "what this device says itself is final");
}

#[test]
fn k_p12_an_introducer_is_followed_one_step() {
    let world = World::new();
    let (a, b, c, d) = (
        world.running("amber"),
        world.running("birch"),
        world.running("cedar"),
        world.running("delta"),
    );
    pair(&a, &b);
    a.ok(&["policy", "introduce", "birch", "auto"]);
    let policy = a.json(&["policy", "--json"]);
    assert!(
        policy.to_string().contains("\"introduce\":\"auto\""),
        "{policy}"
    );
    pair(&b, &c);
    let (of_a, of_c, of_d) = (id_of(&a), id_of(&c), id_of(&d));
    until("amber takes cedar in", || is_trust(&a, &of_c, "paired"));
    assert!(finds(&a, "device_added").is_some(), "and says so");
    until("cedar is offered amber", || is_trust(&c, &of_a, "offered"));
    c.ok(&["accept", "amber"]);
    dial(&c, &a);
    connected(&a, &c);
    pair(&c, &d);
    until("amber is offered delta", || is_trust(&a, &of_d, "offered"));
    a.ok(&["policy", "introduce", "cedar", "never"]);
    assert_eq!(row(&a, &of_d), Value::Null, "not shown");
    a.ok(&["policy", "introduce", "cedar", "ask"]);
    assert!(is_trust(&a, &of_d, "offered"));

    a.ok(&["revoke", "cedar", "--yes"]);
    // birch says it once more, on the same link as something that arrives.
    let mut on_b = b.session(ID, &b.project("work"));
    b.ok(&["accept", "cedar"]);
    b.turn(&mut on_b, "later than all of it");
    arrives(&a, ID, &on_b);
    assert!(is_trust(&a, &of_c, "revoked"), "removing is final");
    assert_eq!(
        row(&a, &of_d),
        Value::Null,
        "and what it offered goes with it"
    );
}

#[test]
fn k_p13_a_peer_that_was_away_takes_the_new_key_from_the_device_itself() {
    let world = World::new();
    let (mut a, mut b) = (world.running("amber"), world.running("birch"));
    pair(&a, &b);
    let before = id_of(&a);
    b.stop();
    let rekeyed = a.json(&["rekey", "--yes", "--json"]);
    assert_eq!(rekeyed["untold"][0]["name"], "birch", "{rekeyed}");
    // Twice: each key is known to nobody but the one after it.
    let again = a.json(&["rekey", "--yes", "--json"]);
    let after = again["device"]["id"].as_str().unwrap().to_owned();
    assert_ne!(rekeyed["device"]["id"], after.as_str());
    let mut on_a = a.session(ID, &a.project("work"));
    a.turn(&mut on_a, "under the new key");
    until("it is captured", || !a.rows(ID).is_empty());

    b.start();
    dial(&a, &b);
    connected(&a, &b);
    arrives(&b, ID, &on_a);
    let devices = b.json(&["devices", "--json"]);
    assert_eq!(devices.as_array().unwrap().len(), 1, "{devices}");
    assert_eq!(devices[0]["id"], after.as_str());
    assert_eq!(devices[0]["trust"], "paired");

    // The old key opens nothing any more.
    a.stop();
    let home = a.ccpeer_home();
    let old = home.join(format!("device.key.old-{}", &before[..8]));
    std::fs::copy(&old, home.join("device.key")).unwrap();
    a.start();
    dial(&a, &b);
    until("the old key is refused", || {
        let status = a.json(&["status", "--json"]);
        status["last_error"].to_string().contains("replaced")
            || status["peers"].to_string().contains("waiting")
    });
    assert_eq!(
        b.json(&["status", "--json"])["peers"][0]["state"],
        "offline"
    );
}
