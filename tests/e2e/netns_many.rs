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

/// A says it; B, who trusts both, keeps it out as well, and C stays out whatever
/// it does.
#[test]
fn k_p10_who_is_revoked_is_out_everywhere() {
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
    within("B has dropped C", Duration::from_secs(10), begin, || {
        !b.is_linked(c) && !c.is_linked(b)
    });
    let mut on_a = a.session(&id(0), &a.project("work/proj"));
    a.turn(&mut on_a, "not for the one who is out");
    arrives(b, &id(0), &on_a);
    let revoked = devices.last_mut().unwrap();
    revoked.kill();
    revoked.start();
    let [a, b, c] = &devices[..] else {
        unreachable!()
    };
    let told = |row: &serde_json::Value| row["theirs"] == "revoked";
    within(
        "C is told by both",
        Duration::from_secs(20),
        Instant::now(),
        || {
            let rows = c.json(&["devices", "--json"]);
            rows.as_array().unwrap().iter().all(told)
        },
    );
    assert!(!a.is_linked(c) && !b.is_linked(c));
    assert!(c.rows(&id(0)).is_empty(), "C has heard of it");
}
