//! Devices on networks of their own: two namespaces joined by a bridge, real
//! multicast, the short code. Where namespaces cannot be made (no root, no
//! `ip`), each test says so and ends.
#![expect(clippy::print_stdout, reason = "a test that is skipped says so")]

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};

use super::world::{Device, World, arrives, connected, until};

const ID: &str = "5f0d7a52-6f0e-4d8e-9a41-0c6a8f6f1d71";

/// Namespaces on one bridge; gone when dropped.
struct Lan {
    tag: String,
    hosts: u8,
}

fn ip(args: &[&str]) -> bool {
    let run = Command::new("ip")
        .args(args)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    run.is_ok_and(|s| s.success())
}

impl Lan {
    /// A bridge in a namespace of its own, with this many hosts on it.
    fn new(tag: &str, hosts: u8) -> Option<Self> {
        // Names of interfaces are short and of the whole machine.
        let lan = Self {
            tag: format!("cp{}{tag}", std::process::id() % 10_000),
            hosts,
        };
        let made = lan.make();
        if made.is_none() {
            println!("skipped: network namespaces cannot be made here");
        }
        made.map(|()| lan)
    }

    fn make(&self) -> Option<()> {
        let ok = |args: &[&str]| ip(args).then_some(());
        let hub = format!("{}h", self.tag);
        ok(&["netns", "add", &hub])?;
        ok(&["-n", &hub, "link", "add", "br", "type", "bridge"])?;
        ok(&["-n", &hub, "link", "set", "br", "up"])?;
        for n in 0..self.hosts {
            let (ns, port) = (self.ns(n), format!("{}p{n}", self.tag));
            ok(&["netns", "add", &ns])?;
            ok(&[
                "link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", &ns,
            ])?;
            ok(&["link", "set", &port, "netns", &hub])?;
            ok(&["-n", &hub, "link", "set", &port, "master", "br", "up"])?;
            ok(&["-n", &ns, "link", "set", "lo", "up"])?;
            ok(&[
                "-n",
                &ns,
                "addr",
                "add",
                &format!("10.77.0.{}/24", n + 1),
                "dev",
                "eth0",
            ])?;
            ok(&["-n", &ns, "link", "set", "eth0", "up"])?;
        }
        Some(())
    }

    fn ns(&self, n: u8) -> String {
        format!("{}n{n}", self.tag)
    }

    fn device(&self, world: &World, n: u8, name: &'static str) -> Device {
        let mut device = world.device(name);
        device.netns = Some(self.ns(n));
        device.start();
        device.ok(&["rename", name]);
        device
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        for n in 0..self.hosts {
            ip(&["netns", "del", &self.ns(n)]);
        }
        ip(&["netns", "del", &format!("{}h", self.tag)]);
    }
}

struct Inviting {
    child: std::process::Child,
    lines: BufReader<std::process::ChildStdout>,
    code: String,
}

fn invite(a: &Device) -> Inviting {
    let mut child = a
        .command(&["pair", "--json"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    let event: serde_json::Value = serde_json::from_str(&line).unwrap();
    let code = event["code"].as_str().unwrap().to_owned();
    Inviting { child, lines, code }
}

fn say_yes(inviting: &mut Inviting) {
    inviting
        .child
        .stdin
        .as_mut()
        .unwrap()
        .write_all(b"y\n")
        .unwrap();
}

#[test]
fn k_p01_two_devices_pair_by_code_and_share_a_session() {
    let Some(lan) = Lan::new("a", 2) else { return };
    let world = World::new();
    let a = lan.device(&world, 0, "desk");
    let b = lan.device(&world, 1, "laptop");
    let mut inviting = invite(&a);
    say_yes(&mut inviting);
    let code = inviting.code.clone();
    let joined = b.run_with(
        &["join", "--json"],
        format!("{}\n", code.to_lowercase()).as_bytes(),
    );
    assert_eq!(joined.code, 0, "{}{}", joined.stdout, joined.stderr);
    let mut rest = String::new();
    inviting.lines.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("\"paired\""), "{rest}");
    assert!(inviting.child.wait().unwrap().success());
    connected(&a, &b);
    let mut on_a = a.session(ID, &a.project("work/proj"));
    a.turn(&mut on_a, "over the air");
    arrives(&b, ID, &on_a);
    for device in [&a, &b] {
        let log = std::fs::read_to_string(device.ccpeer_home().join("log/agent.log")).unwrap();
        assert!(!log.contains(&code), "the code is in a log");
    }
}

#[test]
fn k_p02_a_wrong_code_burns_the_right_one() {
    let Some(lan) = Lan::new("b", 2) else { return };
    let world = World::new();
    let a = lan.device(&world, 0, "desk");
    let b = lan.device(&world, 1, "laptop");
    let mut inviting = invite(&a);
    let wrong = if inviting.code.starts_with('7') {
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
    let mut rest = String::new();
    inviting.lines.read_to_string(&mut rest).unwrap();
    assert!(
        rest.contains("\"failed\"") && rest.contains("wrong code"),
        "{rest}"
    );
    assert_eq!(inviting.child.wait().unwrap().code(), Some(1));
    let right = format!("{}\n", inviting.code);
    let late = b.run_with(&["join", "--json"], right.as_bytes());
    assert_eq!(late.code, 1, "the burned code still works: {}", late.stdout);
    for device in [&a, &b] {
        assert_eq!(device.json(&["devices", "--json"]), serde_json::json!([]));
    }
}

#[test]
fn devices_find_each_other_again_after_a_restart() {
    let Some(lan) = Lan::new("c", 2) else { return };
    let world = World::new();
    let mut a = lan.device(&world, 0, "desk");
    let mut b = lan.device(&world, 1, "laptop");
    super::world::pair(&a, &b);
    a.kill();
    b.kill();
    a.start();
    b.start();
    connected(&a, &b);
    until("the path is direct", || {
        a.json(&["status", "--json"])["peers"][0]["path"] == "direct"
    });
}
