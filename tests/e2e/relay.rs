//! Two sites that only a relay joins: the real relay, real agents, no packet from
//! one site to the other.

use std::io::{BufRead, BufReader};
use std::process::Child;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::code::{Inviting, pair_with};
use super::lan::Lan;
use super::world::{Device, World, arrives, connected, until, within};

const ID: &str = "5f0d7a52-6f0e-4d8e-9a41-0c6a8f6f1d91";
const PORT: u16 = 7842;

/// `ccpeer relay` on a host.
struct Running {
    child: Child,
    ready: Value,
}

impl Running {
    /// With the home of `device`, on the host where that is.
    fn start(device: &Device, listen: &str, more: &[&str]) -> Self {
        let args = [&["relay", "--json", "--listen", listen], more].concat();
        let mut child = device.command(&args).spawn().unwrap();
        let mut line = String::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        lines.read_line(&mut line).unwrap();
        let ready = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
        Self { child, ready }
    }

    fn address(&self) -> &str {
        self.ready["address"].as_str().unwrap()
    }

    /// It ends within a second.
    fn end(mut self) {
        let begin = Instant::now();
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        kill(pid, Signal::SIGTERM).unwrap();
        assert!(self.child.wait().unwrap().success());
        assert!(
            begin.elapsed() < Duration::from_secs(1),
            "{:?}",
            begin.elapsed()
        );
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

/// Hosts 0 and 1 are on sites of their own, host 2 on both; site 2 would join the
/// first two, and its wires are not plugged in.
fn two_sites() -> Option<Lan> {
    let lan = Lan::sites(&[&[0, 2], &[1, 2], &[0, 1]])?;
    for n in [0, 1] {
        lan.unplug(n, 2);
    }
    // Under one address for both; nothing is forwarded.
    lan.ip(
        1,
        &format!(
            "route add {}/32 via {}",
            lan.address(2, 0),
            lan.address(2, 1)
        ),
    );
    Some(lan)
}

fn listen(lan: &Lan) -> String {
    format!("{}:{PORT}", lan.address(2, 0))
}

fn relay_of(device: &Device) -> Value {
    device.json(&["status", "--json"])["relay"].clone()
}

fn peer_of(device: &Device) -> Value {
    device.json(&["status", "--json"])["peers"][0].clone()
}

/// As a person gives it: piped.
fn use_relay(device: &Device, address: &str) {
    let typed = format!("{address}\n");
    let up = device.run_with(&["up", "--no-hooks", "--relay", "-"], typed.as_bytes());
    assert_eq!(up.code, 0, "{}{}", up.stdout, up.stderr);
}

/// Two that can reach nothing but the relay pair by ticket; the joining one never
/// heard of it. Then there is a direct way, and they take it.
#[test]
fn two_sites_meet_over_a_relay_and_take_the_direct_way_when_there_is_one() {
    let Some(lan) = two_sites() else { return };
    let world = World::new();
    let server = lan.idle(&world, 2, "server");
    let relay = Running::start(&server, &listen(&lan), &[]);
    assert_eq!(relay.ready["devices"], 0);
    let secret = server.ok(&["relay", "--show-address"]);
    assert!(secret.contains("token=") && !relay.address().contains("token="));
    let a = lan.device(&world, 0, "desk");
    let mut b = lan.device(&world, 1, "laptop");
    assert_eq!(relay_of(&a)["state"], "off");
    use_relay(&a, secret.trim());
    assert_eq!(relay_of(&a)["state"], "connected", "{}", relay_of(&a));

    let inviting = Inviting::by_ticket(&a);
    let shown = Instant::now();
    pair_with(inviting, &b);
    let both = || a.is_linked(&b) && b.is_linked(&a);
    let limit = Duration::from_secs(10);
    within("by ticket over a relay alone", limit, shown, both);
    let mut on_a = a.session(ID, &a.project("work/proj"));
    a.turn(&mut on_a, "from site to site");
    arrives(&b, ID, &on_a);
    for device in [&a, &b] {
        assert_eq!(peer_of(device)["path"], "relay");
        assert!(peer_of(device)["rtt_ms"].is_u64(), "{}", peer_of(device));
    }
    // It is kept, and found again.
    b.kill();
    b.start();
    connected(&a, &b);
    assert_eq!(peer_of(&b)["path"], "relay");

    let plugged = Instant::now();
    for n in [0, 1] {
        lan.plug(n, 2);
    }
    let direct = || [&a, &b].iter().all(|d| peer_of(d)["path"] == "direct");
    within("the direct way", Duration::from_secs(20), plugged, direct);
    let ended = relay;
    ended.end();
    until("it is told that the relay is gone", || {
        relay_of(&a)["state"] == "unreachable"
    });
    a.turn(&mut on_a, "without a relay");
    arrives(&b, ID, &on_a);
}

/// The relay of a home lets in whom that home trusts, and nobody else; who is
/// revoked is put out.
#[test]
fn a_relay_knows_the_devices_of_its_home() {
    let Some(lan) = two_sites() else { return };
    let world = World::new();
    let a = lan.device(&world, 2, "desk");
    let b = lan.device(&world, 1, "laptop");
    let c = lan.device(&world, 0, "stranger");
    let relay = Running::start(&a, &listen(&lan), &[]);
    assert_eq!(relay.ready["encrypted"], true);
    // Host 2 is on both sites.
    pair_with(Inviting::by_ticket(&a), &b);
    for device in [&a, &b] {
        device.ok(&["up", "--no-hooks", "--relay", relay.address()]);
        until("the relay", || relay_of(device)["state"] == "connected");
    }
    let denied = |device: &Device, why: &str| {
        let relay = relay_of(device);
        relay["state"] == "denied" && relay["why"].as_str().unwrap().contains(why)
    };
    c.ok(&["up", "--no-hooks", "--relay", relay.address()]);
    until("a refusal", || {
        denied(&c, "not one of this relay's devices")
    });
    let revoked = Instant::now();
    a.ok(&["revoke", "laptop"]);
    let out = || denied(&b, "revoked");
    within("put out", Duration::from_secs(10), revoked, out);
    // Off means off, and it stays so.
    c.ok(&["up", "--no-hooks", "--relay", "off"]);
    assert_eq!(relay_of(&c)["state"], "off");
    relay.end();
}

#[test]
fn a_token_is_not_taken_from_the_command_line() {
    let world = World::new();
    let a = world.device("desk");
    for command in ["up", "agent"] {
        let ran = a.run(&[command, "--relay", "http://192.0.2.1:1/#token=abcdef"]);
        assert_eq!(ran.code, 2, "{}", ran.stderr);
        assert!(!ran.stderr.contains("abcdef"));
    }
    let ran = a.run(&["relay", "--show-address"]);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    let ran = a.run(&["agent", "--relay", "no address at all"]);
    assert_eq!(ran.code, 2, "{}", ran.stderr);
}
