//! A pause: nothing is exchanged with anybody, and everything here goes on.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::mirror::{ID, add, git, remote};
use super::serve::Server;
use super::world::{Device, World, arrives, connected, continue_into, pair, until};

/// A refusal comes at once: nobody is waited for.
const AT_ONCE: Duration = Duration::from_secs(10);
/// What has to be told, and not later.
const OTHER: &str = "5f0d7a52-6f0e-4d8e-9a41-0c6a8f6f2e02";

/// A command that must say that there is a pause, and how to end it.
fn refused(device: &Device, args: &[&str]) -> String {
    let began = Instant::now();
    let ran = device.run(args);
    assert_eq!(ran.code, 1, "{args:?}: {}{}", ran.stdout, ran.stderr);
    assert!(ran.stderr.contains("paused"), "{args:?}: {}", ran.stderr);
    assert!(
        ran.stderr.contains("ccpeer resume"),
        "{args:?}: {}",
        ran.stderr
    );
    assert!(began.elapsed() < AT_ONCE, "{args:?} hangs");
    ran.stderr
}

fn paused(device: &Device) -> Value {
    device.json(&["status", "--json"])["paused"].clone()
}

#[test]
fn while_it_is_paused_nothing_leaves_and_everything_here_goes_on() {
    let world = World::new();
    let (mut desk, laptop) = (world.running("desk"), world.running("laptop"));
    pair(&desk, &laptop);
    let remote = remote(&desk);
    let server = Server::of(&desk);
    let mut session = desk.session(ID, &desk.project("work/app"));
    desk.turn(&mut session, "first");
    arrives(&laptop, ID, &session);
    let before = session.records();
    add(&desk, &remote, "--plain");
    let tip = git(&remote, &["rev-parse", "HEAD"]);

    let policy = desk.json(&["policy", "pause", "1h", "--json"]);
    let until_when = policy["paused"]["until"].as_str().unwrap().to_owned();
    assert_eq!(paused(&desk)["until"], until_when.as_str());
    assert_eq!(paused(&laptop), Value::Null);
    until("the laptop has no link", || !laptop.is_linked(&desk));
    assert!(!desk.is_linked(&laptop));
    for list in [&["tasks"][..], &[]] {
        let ran = desk.run(list);
        assert!(ran.stderr.contains("Paused until"), "{}", ran.stderr);
        assert!(ran.stdout.contains("first"), "{}", ran.stdout);
    }
    assert!(
        desk.ok(&["status"])
            .contains("paused  nothing is exchanged until")
    );
    assert!(desk.ok(&["policy"]).contains("paused until"));

    // It survives a restart; turns are captured as ever.
    desk.stop();
    desk.start();
    assert_eq!(paused(&desk)["until"], until_when.as_str());
    desk.turn(&mut session, "second");
    until("the turn is captured", || desk.holds(ID, session.records()));
    let taken = desk.ok(&["snapshot", "--session", ID]);
    assert!(taken.contains(ID), "{taken}");
    let here = desk.project("work/app");
    desk.ok(&[
        "continue",
        ID,
        "--fork",
        "--no-exec",
        "--into",
        here.to_str().unwrap(),
    ]);
    let told = refused(&desk, &["snapshot", "--session", ID, "--force"]);
    assert!(told.contains("taken and kept here"), "{told}");
    for args in [
        &["push", "--all"][..],
        &["push"],
        &["pair", "--json"],
        &["pair", "--ticket", "--yes"],
        &["git", "sync"],
        &["git", "add", "/nowhere/r.git", "--plain"],
        &["serve", "--listen", "127.0.0.1:0"],
    ] {
        refused(&desk, args);
    }
    let joined = desk.run_with(&["join", "--json"], b"ABC-DEF\n");
    assert_eq!(joined.code, 1, "{}{}", joined.stdout, joined.stderr);
    let told: Value = serde_json::from_str(joined.stderr.lines().last().unwrap()).unwrap();
    assert_eq!(told["error"]["code"], "paused");
    let net = desk.json(&["doctor", "net", "--json"]);
    assert!(net.to_string().contains("\"paused\""), "{net}");
    assert!(!desk.is_linked(&laptop));
    assert!(
        laptop.holds(ID, before),
        "nothing of the second turn is there"
    );
    assert_eq!(
        git(&remote, &["rev-parse", "HEAD"]),
        tip,
        "nor in the mirror"
    );
    drop(server);

    desk.ok(&["resume"]);
    assert_eq!(paused(&desk), Value::Null);
    connected(&desk, &laptop);
    arrives(&laptop, ID, &session);
    assert!(desk.json(&["git", "sync", "--json"])[0]["commits"].as_u64() > Some(0));
    let wrong = desk.run(&["resume", "1"]);
    assert_eq!(wrong.code, 2);
    assert!(wrong.stderr.contains("ccpeer continue"), "{}", wrong.stderr);
    assert_eq!(desk.run(&["pause", "soon"]).code, 2);
    assert_eq!(desk.run(&["pause", "31d"]).code, 2);
}

#[test]
fn a_pause_with_an_end_ends_by_itself_and_what_is_not_held_is_not_waited_for() {
    let world = World::new();
    let (desk, laptop) = (world.running("desk"), world.running("laptop"));
    pair(&desk, &laptop);
    // The laptop hears of it and keeps none of it.
    laptop.ok(&["policy", "quota", "desk", "0"]);
    let mut session = desk.session(OTHER, &desk.project("work/app"));
    desk.turn(&mut session, "first");
    until("the laptop has heard of it", || {
        !laptop.rows(OTHER).is_empty()
    });
    laptop.ok(&["pause"]);
    assert_eq!(paused(&laptop)["until"], Value::Null);
    let dir = laptop.project("work/app");
    let into = dir.to_str().unwrap();
    let args = ["continue", OTHER, "--no-exec", "--into", into];
    refused(&laptop, &args);
    let pulled = laptop.run(&["pull", OTHER, "--json"]);
    assert_eq!(pulled.code, 1, "{}", pulled.stdout);
    assert!(pulled.stdout.contains("paused"), "{}", pulled.stdout);
    laptop.ok(&["pause", "1s"]);
    connected(&desk, &laptop);
    assert_eq!(paused(&laptop), Value::Null);
    continue_into(&laptop, OTHER, &dir);
}

#[test]
fn a_server_that_runs_says_that_it_is_paused() {
    let world = World::new();
    let desk = world.running("desk");
    let server = Server::of(&desk);
    let mut session = desk.session(ID, &desk.project("work/app"));
    desk.turn(&mut session, "first");
    until("it is captured", || desk.holds(ID, session.records()));
    let bundle = server.pull(ID);
    assert_eq!(bundle.status, 200);
    desk.ok(&["pause"]);
    for got in [
        server.pull(ID),
        server.push(OTHER, &bundle.body),
        server.ask("GET /api/sessions", b""),
    ] {
        assert_eq!(got.status, 503, "{}", got.head);
        assert!(String::from_utf8_lossy(&got.body).contains("paused"));
    }
    desk.ok(&["resume"]);
    assert_eq!(server.pull(ID).status, 200);
}
