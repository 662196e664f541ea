//! Where a session stands on one device, as another one sees it.

use std::time::{Duration, Instant};

use super::claude::Claude;
use super::world::{Device, World, arrives, continue_into, pair, until};

const ID: &str = "5f0d7a52-6f0e-4d8e-9a41-0c6a8f6f1d41";
/// From a hook, or the end of a process, to the other device's list; with slack
/// for a machine under test.
const CEILING: Duration = Duration::from_secs(8);

/// Waits until a device shows this state, and says how long that took.
fn shows(device: &Device, state: &str) -> Duration {
    let start = Instant::now();
    until(&format!("{} shows {state}", device.name), || {
        device.rows(ID).iter().any(|r| r["state"] == state)
    });
    start.elapsed()
}

#[test]
fn every_change_is_seen_on_the_other_device_at_once() {
    let world = World::new();
    let (a, b) = (world.running("desk"), world.running("laptop"));
    pair(&a, &b);
    let mut on_a = a.session(ID, &a.project("work/proj"));
    let mut claude = Claude::open(&a, &on_a);
    claude.answer(&a, &mut on_a, "write the parser");
    arrives(&b, ID, &on_a);
    let idle = shows(&b, "idle");
    claude.prompt(&a, &on_a);
    let live = shows(&b, "live");
    claude.answer(&a, &mut on_a, "test it");
    let stop = shows(&b, "idle");
    claude.prompt(&a, &on_a);
    shows(&b, "live");
    claude.kill();
    let gone = shows(&b, "interrupted");
    eprintln!("seen there: prompt {live:?}, stop {stop:?}, kill {gone:?}");
    for took in [idle, live, stop, gone] {
        assert!(took < CEILING, "{took:?}");
    }
    // An end in order is one, and stays one when the process is gone.
    let mut claude = Claude::open(&a, &on_a);
    shows(&b, "idle");
    claude.hook(&a, &on_a, "SessionEnd");
    shows(&b, "ended");
    claude.kill();
    let other = "5f0d7a52-6f0e-4d8e-9a41-0c6a8f6f1d42";
    let mut later = a.session(other, &a.project("work/proj"));
    a.turn(&mut later, "something after it");
    arrives(&b, other, &later);
    assert_eq!(b.rows(ID)[0]["state"], "ended");
}

#[test]
fn the_registry_tells_what_no_hook_does() {
    let world = World::new();
    let (a, b) = (world.running("desk"), world.running("laptop"));
    pair(&a, &b);
    let mut on_a = a.session(ID, &a.project("work/proj"));
    on_a.append("nobody fired a hook");
    let mut claude = Claude::silent();
    claude.register(&a, &on_a, "busy");
    a.ok(&["push", ID]);
    shows(&b, "live");
    claude.register(&a, &on_a, "idle");
    shows(&b, "idle");
    // A turn that is broken off by Esc has no Stop.
    claude.prompt(&a, &on_a);
    shows(&b, "live");
    shows(&b, "idle");
    claude.kill();
    assert!(shows(&b, "interrupted") < CEILING);
}

#[test]
fn the_last_word_of_a_device_that_is_away_is_a_label() {
    let world = World::new();
    let (mut a, b) = (world.running("desk"), world.running("laptop"));
    pair(&a, &b);
    let mut on_a = a.session(ID, &a.project("work/proj"));
    let claude = Claude::open(&a, &on_a);
    claude.answer(&a, &mut on_a, "write the parser");
    arrives(&b, ID, &on_a);
    claude.prompt(&a, &on_a);
    shows(&b, "live");
    assert!(b.rows(ID)[0]["last_heard"].is_null());
    a.stop();
    until("laptop knows that desk is away", || {
        !b.rows(ID)[0]["last_heard"].is_null()
    });
    assert_eq!(b.rows(ID)[0]["state"], "live", "its last word");
    let list = b.run(&["tasks"]);
    assert!(list.stdout.contains("live?"), "{}", list.stdout);
    assert!(list.stderr.contains("not connected"), "{}", list.stderr);
    let why = b.ok(&["why", ID]);
    assert!(why.contains("last heard"), "{why}");
    let show = b.ok(&["show", ID]);
    assert!(show.contains("was live, last heard"), "{show}");
    // It cannot be asked, so that is no reason to stop; it is said.
    let placed = continue_into(&b, ID, &b.project("proj"));
    assert_eq!(placed["placed"], "new", "{placed}");
    assert_eq!(placed["elsewhere"]["connected"], false, "{placed}");
    assert_eq!(placed["elsewhere"]["device"]["name"], "desk", "{placed}");
}
