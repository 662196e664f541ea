//! What can be seen of two devices from outside: every packet of a network is
//! kept and looked at.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use super::code::{Inviting, pair_with};
use super::lan::Lan;
use super::wire::{Frame, Kind};
use super::world::{Device, World, arrives, connected, pair, until};

const ID: &str = "5f0d7a52-6f0e-4d8e-9a41-0c6a8f6f1d73";
/// What must not stand in any packet.
const NAMES: [&str; 5] = [
    "quiet-desk",
    "quiet-laptop",
    "quietproject",
    "quietword",
    "quiet-title",
];

/// How long nobody does anything: ten seconds, or what `CCPEER_QUIET` says.
fn quiet_time() -> Duration {
    let wanted = std::env::var("CCPEER_QUIET").ok();
    Duration::from_secs(wanted.and_then(|n| n.parse().ok()).unwrap_or(10))
}

fn nothing_happens(span: Duration) {
    // The span itself is what is measured.
    let (_end, never) = channel::<()>();
    let _over = never.recv_timeout(span);
}

/// Whether a frame stays between these hosts, or is local by its nature.
fn stays(kind: &Kind, hosts: &[IpAddr]) -> bool {
    match kind {
        Kind::Mdns | Kind::Neighbours => true,
        Kind::Arp(whom) => hosts.contains(&IpAddr::V4(*whom)),
        Kind::Udp { from, to } => {
            hosts.contains(&from.0) && hosts.contains(&to.0) && from.1 > 1023 && to.1 > 1023
        }
        Kind::Tcp { .. } | Kind::Other { .. } => false,
    }
}

fn names_nobody(frames: &[Frame], who: &str) {
    for frame in frames {
        for name in NAMES {
            assert!(!frame.holds(name), "{who}: {name} in {}", frame.kind());
        }
    }
}

/// The TCP sockets in the network that a device's agent lives in, in any state.
fn tcp_sockets(device: &Device) -> Vec<String> {
    let table = |name: &str| {
        let path = format!("/proc/{}/net/{name}", device.agent_pid());
        std::fs::read_to_string(path).unwrap()
    };
    let all = format!("{}{}", table("tcp"), table("tcp6"));
    let rows = all.lines().filter(|line| !line.contains("local_address"));
    rows.map(str::to_owned).collect()
}

/// Bytes and packets by what they are, of what a host sent from then on.
fn tally(frames: &[Frame], from: Instant) -> BTreeMap<&'static str, (usize, usize)> {
    let mut all = BTreeMap::new();
    for frame in frames.iter().filter(|f| f.sent && f.at >= from) {
        let what = match frame.kind() {
            Kind::Udp { .. } => "to the peer",
            Kind::Mdns => "mDNS",
            _ => "ARP and neighbours",
        };
        let sum = all.entry(what).or_insert((0, 0));
        *sum = (sum.0 + frame.bytes.len(), sum.1 + 1);
    }
    all
}

#[test]
fn k_n10_nothing_leaves_the_network() {
    let Some(lan) = Lan::new(2) else { return };
    let world = World::new();
    let captures = [lan.capture(0), lan.capture(1)];
    let a = lan.device(&world, 0, NAMES[0]);
    let b = lan.device(&world, 1, NAMES[1]);
    pair_with(Inviting::by_code(&a), &b);
    connected(&a, &b);
    let mut on_a = a.session(ID, &a.project(NAMES[2]));
    a.turn(&mut on_a, NAMES[3]);
    arrives(&b, ID, &on_a);
    let idle = Instant::now();
    nothing_happens(quiet_time());
    let span = idle.elapsed();
    for device in [&a, &b] {
        assert_eq!(tcp_sockets(device), Vec::<String>::new(), "{}", device.name);
    }
    connected(&a, &b);
    let hosts = [0, 1].map(|n| IpAddr::V4(lan.address(n, 0)));
    for (capture, device) in captures.into_iter().zip([&a, &b]) {
        let frames = capture.end();
        assert!(!frames.is_empty(), "the capture is blind");
        for frame in &frames {
            let kind = frame.kind();
            assert!(stays(&kind, &hosts), "{}: {kind}", device.name);
        }
        names_nobody(&frames, device.name);
        for (what, (bytes, packets)) in tally(&frames, idle) {
            let minute = |n: usize| n as f64 / span.as_secs_f64() * 60.0;
            println!(
                "k_n10 idle for {:.0} s, {} sends {what}: {:.0} bytes, {:.1} packets a minute",
                span.as_secs_f64(),
                device.name,
                minute(bytes),
                minute(packets)
            );
        }
    }
}

#[test]
fn a_stranger_gets_nothing_and_learns_nothing() {
    let Some(lan) = Lan::new(3) else { return };
    let world = World::new();
    let captures = [lan.capture(0), lan.capture(2)];
    let a = lan.device(&world, 0, NAMES[0]);
    let b = lan.device(&world, 1, NAMES[1]);
    let c = lan.device(&world, 2, "stranger");
    pair(&a, &b);
    let mut on_c = c.session(&ID.replace('5', "6"), &c.project("theirs"));
    c.turn(&mut on_c, "of a stranger");
    let mut on_a = a.session(ID, &a.project(NAMES[2]));
    a.turn(&mut on_a, NAMES[3]);
    arrives(&b, ID, &on_a);
    until("the stranger's own session is here", || {
        c.tasks().len() == 1
    });
    assert_eq!(c.json(&["devices", "--json"]), serde_json::json!([]));
    for device in [&a, &b] {
        let told = device.tasks();
        assert!(told.iter().all(|t| t["session_id"] == ID), "{told:?}");
        let devices = device.json(&["devices", "--json"]);
        assert_eq!(devices.as_array().unwrap().len(), 1, "{devices}");
    }
    for (capture, who) in captures.into_iter().zip(["desk", "stranger"]) {
        let frames = capture.end();
        let found = frames
            .iter()
            .any(|f| f.kind() == Kind::Mdns && f.holds("_ccpeer"));
        assert!(found, "{who}: the capture is blind");
        names_nobody(&frames, who);
    }
    let sent = [a.root.clone(), b.root.clone()].map(|root| root.join("ccpeer"));
    for root in sent {
        assert!(
            !names_in(&root, "stranger"),
            "something of the stranger is kept"
        );
    }
}

/// Whether a name stands in any file below a directory.
fn names_in(dir: &std::path::Path, name: &str) -> bool {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return false;
    };
    entries.flatten().any(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return names_in(&path, name);
        }
        let bytes = std::fs::read(&path).unwrap_or_default();
        bytes.windows(name.len()).any(|w| w == name.as_bytes())
    })
}

#[test]
fn what_goes_elsewhere_is_seen() {
    let hosts = [
        IpAddr::V4(Ipv4Addr::new(10, 77, 0, 1)),
        IpAddr::V4(Ipv4Addr::new(10, 77, 0, 2)),
    ];
    let udp = |to: IpAddr, port| Kind::Udp {
        from: (hosts[0], 40_000),
        to: (to, port),
    };
    let router = Ipv4Addr::new(10, 77, 0, 254);
    assert!(stays(&udp(hosts[1], 40_000), &hosts));
    assert!(!stays(&udp(hosts[1], 53), &hosts));
    assert!(!stays(&udp(IpAddr::V4(router), 40_000), &hosts));
    assert!(!stays(&udp(IpAddr::V4(Ipv4Addr::LOCALHOST), 53), &hosts));
    assert!(!stays(&Kind::Arp(router), &hosts));
    assert!(!stays(
        &Kind::Tcp {
            to: (hosts[1], 443)
        },
        &hosts
    ));
}
