//! What happens to a network while devices use it: wires that come and go, other addresses, loss, short packets. Everything arrives.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use super::code::{Inviting, pair_with};
use super::lan::Lan;
use super::world::{Device, Session, World, arrives, connected, pair, random_text, within};
use crate::form::times;

const ID: &str = "5f0d7a52-6f0e-4d8e-9a41-0c6a8f6f1d72";

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Two devices that are linked, and a session on the first.
fn linked(lan: &Lan, world: &World) -> (Device, Device, Session) {
    let a = lan.device(world, 0, "desk");
    let b = lan.device(world, 1, "laptop");
    pair(&a, &b);
    let mut session = a.session(ID, &a.project("work/proj"));
    a.turn(&mut session, "a network that works");
    arrives(&b, ID, &session);
    (a, b, session)
}

/// A turn with so many bytes.
fn long_turn(device: &Device, session: &mut Session, bytes: usize) {
    device.turn(session, &random_text(bytes));
}

#[test]
fn a_wire_that_comes_and_goes_loses_nothing() {
    let Some(lan) = Lan::new(2) else { return };
    let world = World::new();
    let (a, b, mut session) = linked(&lan, &world);
    let begin = Instant::now();
    for n in 0..times(6, 40) {
        long_turn(&a, &mut session, 400_000);
        lan.cut(1, 0, Duration::from_millis(150 + 50 * u64::from(n % 5)));
    }
    let all = || b.holds(ID, session.records());
    within(
        "everything came in spite of the flaps",
        seconds(60),
        begin,
        all,
    );
}

#[test]
fn a_long_cut_is_noticed_and_mended() {
    let Some(lan) = Lan::new(2) else { return };
    let world = World::new();
    let (a, b, mut session) = linked(&lan, &world);
    lan.unplug(0, 0);
    let cut = Instant::now();
    within("a cut is noticed", seconds(15), cut, || {
        !a.is_linked(&b) && !b.is_linked(&a)
    });
    a.turn(&mut session, "while nobody hears it");
    lan.plug(0, 0);
    let mended = Instant::now();
    let arrived = || b.holds(ID, session.records());
    within("and mended", seconds(15), mended, arrived);
}

fn moved(what: &str, hosts: &[usize]) {
    let Some(lan) = Lan::new(2) else { return };
    let world = World::new();
    let (a, b, mut session) = linked(&lan, &world);
    for n in hosts {
        let to = Ipv4Addr::new(10, 77, 0, 100 + u8::try_from(*n).unwrap());
        lan.move_to(*n, lan.address(*n, 0), to);
    }
    let begin = Instant::now();
    a.turn(&mut session, "from another address");
    let arrived = || b.holds(ID, session.records());
    within(what, seconds(15), begin, arrived);
    connected(&a, &b);
}

#[test]
fn one_address_changes() {
    moved("back after a change of one address", &[0]);
    moved("back after a change of the other address", &[1]);
}

#[test]
fn both_addresses_change() {
    moved("back after a change of both addresses", &[0, 1]);
}

#[test]
fn lost_packets_are_sent_again() {
    let Some(lan) = Lan::new(2) else { return };
    let world = World::new();
    let (a, b, mut session) = linked(&lan, &world);
    for percent in [5, 20] {
        if !(lan.loss(0, percent)) {
            return;
        }
        let begin = Instant::now();
        long_turn(&a, &mut session, 300_000);
        let arrived = || b.holds(ID, session.records());
        within(
            &format!("300 kB at {percent} % loss"),
            seconds(30),
            begin,
            arrived,
        );
    }
}

#[test]
fn short_packets_are_enough() {
    let Some(lan) = Lan::new(2) else { return };
    for n in [0, 1] {
        lan.mtu(n, 1280);
    }
    let world = World::new();
    let (a, b, mut session) = linked(&lan, &world);
    long_turn(&a, &mut session, 1_000_000);
    arrives(&b, ID, &session);
}

#[test]
fn long_packets_may_vanish() {
    let Some(lan) = Lan::new(2) else { return };
    let world = World::new();
    let (a, b, mut session) = linked(&lan, &world);
    long_turn(&a, &mut session, 300_000);
    arrives(&b, ID, &session);
    // What was found out about the path does not hold any more.
    lan.black_hole(0, 1280);
    let begin = Instant::now();
    long_turn(&a, &mut session, 1_000_000);
    let arrived = || b.holds(ID, session.records());
    within(
        "1 MB into a black hole for long packets",
        seconds(30),
        begin,
        arrived,
    );
}

#[test]
fn a_narrow_wire_is_enough() {
    let Some(lan) = Lan::new(2) else { return };
    let world = World::new();
    let (a, b, mut session) = linked(&lan, &world);
    if !lan.narrow(1, 2000) {
        return;
    }
    let begin = Instant::now();
    long_turn(&a, &mut session, 500_000);
    let arrived = || b.holds(ID, session.records());
    within("500 kB over 2 Mbit/s", seconds(20), begin, arrived);
}

#[test]
fn ipv6_alone_is_enough() {
    let Some(lan) = Lan::new(2) else { return };
    for n in [0, 1] {
        lan.ip(n, "addr flush dev eth0 scope global");
        lan.ip(n, &format!("addr add fd77::{}/64 dev eth0 nodad", n + 1));
    }
    let world = World::new();
    let a = lan.device(&world, 0, "desk");
    let b = lan.device(&world, 1, "laptop");
    pair_with(Inviting::by_code(&a), &b);
    connected(&a, &b);
    let mut session = a.session(ID, &a.project("work/proj"));
    a.turn(&mut session, "without any older address");
    arrives(&b, ID, &session);
}

/// Wire and radio, say: the devices see each other in two networks.
#[test]
fn another_way_is_taken_when_one_is_cut() {
    let Some(lan) = Lan::sites(&[&[0, 1], &[0, 1]]) else {
        return;
    };
    let world = World::new();
    let (a, b, mut session) = linked(&lan, &world);
    for (cut, left) in [(0, 1), (1, 0)] {
        lan.unplug(0, cut);
        let begin = Instant::now();
        a.turn(&mut session, "by another way");
        let arrived = || b.holds(ID, session.records());
        let what = format!("site {cut} is cut, site {left} is left");
        within(&what, seconds(15), begin, arrived);
        lan.plug(0, cut);
        connected(&a, &b);
    }
}
