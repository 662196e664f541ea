//! Somebody on the same network forges announcements, against running agents.

use std::fs;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use super::forger::{Claim, Forger};
use super::lan::Lan;
use super::world::{Device, World, arrives, connected, pair, until, within};
use crate::form::times;

const ID: &str = "5f0d7a52-6f0e-4d8e-9a41-0c6a8f6f1d81";
/// Records in a second: a wire could carry more, one processor hardly sends more.
const RATE: u32 = 20_000;

/// A field of `/proc/PID/status`, in KiB.
pub(super) fn kib(pid: u32, field: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|l| l.strip_prefix(field)).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// What a process has used of processors.
fn cpu(pid: u32) -> Duration {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<u64> = text
        .rsplit_once(')')
        .unwrap()
        .1
        .split_whitespace()
        .filter_map(|f| f.parse().ok())
        .collect();
    // The state, a letter, is left out; ticks are hundredths of a second.
    Duration::from_millis((fields[10] + fields[11]) * 10)
}

fn linked(a: &Device, b: &Device) -> bool {
    a.is_linked(b) && b.is_linked(a)
}

/// Both have other addresses than the other one knows, so that only multicast can
/// bring them together, and the flood goes on meanwhile.
#[test]
fn k_n08_a_flood_of_forged_records_costs_little_and_hides_nobody() {
    let Some(lan) = Lan::new(3) else { return };
    let world = World::new();
    let a = lan.device(&world, 0, "desk");
    let mut b = lan.device(&world, 1, "laptop");
    pair(&a, &b);
    b.stop();
    let moved = |n: u8| Ipv4Addr::new(10, 77, 0, n);
    lan.move_to(0, lan.address(0, 0), moved(101));
    lan.move_to(1, lan.address(1, 0), moved(102));
    let records = times(60_000, 200_000);
    let pid = a.agent_pid();
    fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap();
    let (rss, used) = (kib(pid, "VmRSS:"), cpu(pid));
    let forger = Forger::on(&lan, 2);
    let flooding = std::thread::spawn(move || forger.flood(records, RATE));
    b.start();
    let started = Instant::now();
    let what = "K-N08: found in the flood";
    within(what, Duration::from_secs(10), started, || linked(&a, &b));
    let took = started.elapsed();
    let flood = flooding.join().unwrap();
    let (grown, used) = (kib(pid, "VmHWM:").saturating_sub(rss), cpu(pid) - used);
    let share = used.as_secs_f64() / flood.as_secs_f64().max(took.as_secs_f64()) * 100.0;
    println!(
        "K-N08: {records} forged records in {flood:.1?}: memory +{grown} KiB, {share:.0} % of a \
         processor, the real peer found after {took:.1?}"
    );
    assert!(grown <= 16 * 1024, "{grown} KiB");
    assert!(share < 50.0, "{share} %");
    let told = a.json(&["doctor", "net", "--json"]);
    let dropped = told_dropped(&told);
    println!("K-N08: {dropped} packets were read and not looked at");
    assert!(dropped > 0);
}

fn told_dropped(told: &serde_json::Value) -> u64 {
    told["network"]["multicast"]["dropped"].as_u64().unwrap()
}

#[test]
fn k_n09_forged_words_about_a_live_peer_change_nothing() {
    let Some(lan) = Lan::new(3) else { return };
    let world = World::new();
    let a = lan.device(&world, 0, "desk");
    let mut b = lan.device(&world, 1, "laptop");
    pair(&a, &b);
    let id = b.json(&["status", "--json"])["device"]["id"].clone();
    let id = id.as_str().unwrap().to_owned();
    let before = a.json(&["devices", "--json"]);
    let forger = Forger::on(&lan, 2);
    let attacker = lan.address(2, 0);
    // Somebody answers there, and not with the right key.
    let _listens = lan.inside(2, || std::net::UdpSocket::bind("0.0.0.0:4433").unwrap());
    let wrong_port = Claim::of("aaaaaaaaaaaaaaaa", &id, (lan.address(1, 0), 9));
    let wrong_ip = Claim::of("bbbbbbbbbbbbbbbb", &id, (attacker, 4433));
    let upper = Claim::of("cccccccccccccccc", &id.to_uppercase(), (attacker, 4433));
    let short = Claim::of("dddddddddddddddd", &id[..63], (attacker, 4433));
    let named = Claim {
        texts: vec![
            format!("id={id}"),
            "v=1".into(),
            "name=evil".into(),
            "host=evil".into(),
        ],
        ..wrong_ip.clone()
    };
    // The name that it really uses stands in its announcement.
    let heard = own_name(&lan, &b);
    let begin = Instant::now();
    let say_all = || {
        for claim in [&wrong_port, &wrong_ip, &upper, &short, &named] {
            forger.say(claim);
            let gone = Claim {
                ttl: 0,
                name: heard.clone(),
                ..claim.clone()
            };
            forger.say(&gone);
        }
    };
    while begin.elapsed() < Duration::from_secs(2) {
        say_all();
        assert!(linked(&a, &b), "the link was lost");
    }
    assert_eq!(trust(&a.json(&["devices", "--json"])), trust(&before));
    let mut on_b = b.session(ID, &b.project("work/proj"));
    b.turn(&mut on_b, "meanwhile");
    arrives(&a, ID, &on_b);

    b.kill();
    until("the loss is noticed", || !a.is_linked(&b));
    say_all();
    b.start();
    let back = Instant::now();
    say_all();
    let what = "K-N09: linked again among forged words";
    within(what, Duration::from_secs(15), back, || {
        say_all();
        linked(&a, &b)
    });
    println!("K-N09: linked again after {:.1?}", back.elapsed());
    assert_eq!(trust(&a.json(&["devices", "--json"])), trust(&before));
    connected(&a, &b);
}

/// Who is trusted, under which name.
fn trust(devices: &serde_json::Value) -> Vec<(String, String, String)> {
    let text = |v: &serde_json::Value| v.as_str().unwrap_or_default().to_owned();
    let rows = devices.as_array().unwrap();
    let of = |d: &serde_json::Value| (text(&d["id"]), text(&d["name"]), text(&d["trust"]));
    rows.iter().map(of).collect()
}

/// The instance that a device announces, as anybody can hear it.
fn own_name(lan: &Lan, device: &Device) -> String {
    let capture = lan.capture(2);
    device.run(&["doctor", "net"]);
    let frames = capture.end();
    let found = frames.iter().find_map(|frame| {
        let at = frame.bytes.windows(8).position(|w| w == b"\x07_ccpeer")?;
        let instance = frame
            .bytes
            .windows(18)
            .skip(at)
            .find(|w| w[0] == 16 && w[1..17].iter().all(u8::is_ascii_hexdigit))?;
        Some(String::from_utf8_lossy(&instance[1..17]).into_owned())
    });
    found.expect("nothing was announced")
}
