//! More than two devices in one network: everything reaches everybody, and who
//! is revoked is out.

use std::time::{Duration, Instant};

use super::lan::Lan;
use super::world::{Device, Session, World, arrives, pair, within};
use crate::form::times;

const NAMES: [&str; 7] = ["desk", "laptop", "box", "attic", "shed", "office", "cabin"];

fn id(n: usize) -> String {
    format!("5f0d7a52-6f0e-4d8e-9a41-0c6a8f6f1e{n:02}")
}

/// So many devices in one network, all paired with each other.
fn all_paired(lan: &Lan, world: &World, many: usize) -> Vec<Device> {
    let mut devices: Vec<Device> = Vec::new();
    for (n, name) in NAMES.iter().enumerate().take(many) {
        let new = lan.device(world, n, name);
        devices.iter().for_each(|old| pair(old, &new));
        devices.push(new);
    }
    devices
}

/// A session on each of them.
fn one_each(devices: &[Device]) -> Vec<Session> {
    let begin = |(n, device): (usize, &Device)| {
        let mut session = device.session(&id(n), &device.project("work/proj"));
        device.turn(&mut session, "of one for all");
        session
    };
    devices.iter().enumerate().map(begin).collect()
}

fn everything_reaches_everybody(many: usize) {
    let Some(lan) = Lan::new(many) else { return };
    let world = World::new();
    let devices = all_paired(&lan, &world, many);
    let begin = Instant::now();
    let sessions = one_each(&devices);
    let all = || {
        devices.iter().all(|device| {
            let mut wanted = sessions.iter();
            wanted.all(|s| device.holds(&s.id, s.records()))
        })
    };
    let what = format!("{many} devices hold a session of each");
    within(&what, Duration::from_secs(10), begin, all);
}

#[test]
fn everything_reaches_three() {
    everything_reaches_everybody(3);
}

#[test]
fn everything_reaches_more() {
    everything_reaches_everybody(usize::try_from(times(4, 5)).unwrap());
    if times(0, 1) == 1 {
        everything_reaches_everybody(7);
    }
}

#[test]
fn k_p10_who_is_revoked_is_out() {
    let Some(lan) = Lan::new(3) else { return };
    let world = World::new();
    let mut devices = all_paired(&lan, &world, 3);
    let begin = Instant::now();
    devices[0].ok(&["revoke", devices[2].name]);
    let [a, b, c] = &devices[..] else {
        unreachable!()
    };
    within("A has dropped C", Duration::from_secs(2), begin, || {
        !a.is_linked(c) && !c.is_linked(a)
    });
    let mut on_a = a.session(&id(0), &a.project("work/proj"));
    a.turn(&mut on_a, "not for the one who is out");
    arrives(b, &id(0), &on_a);
    // What comes from B, on a link that C has, comes after it.
    let mut on_b = b.session(&id(1), &b.project("work/proj"));
    b.turn(&mut on_b, "of B");
    arrives(a, &id(1), &on_b);
    let revoked = devices.last_mut().unwrap();
    revoked.kill();
    revoked.start();
    // It comes back, dials both, and what B may tell it is told.
    let [a, b, c] = &devices[..] else {
        unreachable!()
    };
    let mut later = b.session(&id(2), &b.project("work/proj"));
    b.turn(&mut later, "of B, later");
    arrives(a, &id(2), &later);
    assert!(!a.is_linked(c));
    assert!(c.rows(&id(0)).is_empty(), "C has heard of it");
}
