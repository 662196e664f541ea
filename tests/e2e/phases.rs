//! kill -9 in every phase of the real agent's work: while it captures, collects
//! what nobody needs and writes its store anew, sends, places, takes hooks, and
//! while the settings are edited.
//!
//! What was acknowledged is written down by the test as it happens; after each
//! kill the agent is started again, and everything on the list has to be there,
//! once, with nothing half written under Claude Code's directory and not a byte
//! of a session that nobody touched changed. `just kills-full` is the full form.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use super::kills::nothing_half_written;
use super::world::{DEADLINE, Device, Session, World, arrives, pair};
use crate::form::{Dice, Figures, times};

/// When a kill comes, after the phase began.
const MOMENTS: (Duration, Duration) = (Duration::from_millis(3), Duration::from_millis(120));
/// Turns that a session has at first, so that placing it takes a while.
const TURNS: u32 = 60;
/// Characters of a turn that takes a while to send.
const LONG: usize = 160 * 1024;

/// How many times faster rounds follow each other: one every 20 ms, in which half
/// an hour passes.
const HURRY: &str = "90000";

/// What became of one phase.
struct Tally {
    phase: &'static str,
    kills: u32,
    acknowledged: u32,
    losses: Vec<String>,
    restarts: Figures,
}

impl Tally {
    fn new(phase: &'static str) -> Self {
        Self {
            phase,
            kills: 0,
            acknowledged: 0,
            losses: Vec::new(),
            restarts: Figures::default(),
        }
    }

    /// Kills at a moment after `begin`, starts again, and looks at what is there.
    fn kill(&mut self, bench: &mut Bench, which: Which, begin: Instant) {
        let after = bench.dice.between(MOMENTS.0, MOMENTS.1);
        while begin.elapsed() < after {
            std::hint::spin_loop();
        }
        let device = bench.device(which);
        device.kill();
        self.kills += 1;
        nothing_half_written(device);
        let begin = Instant::now();
        device.start();
        self.restarts.push(begin.elapsed());
        let verified = device.run(&["verify", "--json"]);
        self.check(verified.code == 0, || {
            format!("verify: {}", verified.stdout)
        });
        let moved = bench.moved_bystander();
        self.check(moved.is_none(), || format!("changed: {moved:?}"));
    }

    fn check(&mut self, holds: bool, lost: impl FnOnce() -> String) {
        if !holds {
            self.losses.push(lost());
        }
    }

    /// Waits for what has to come back; a loss if it does not.
    fn comes(&mut self, what: &str, mut met: impl FnMut() -> bool) {
        let begin = Instant::now();
        while !met() {
            if begin.elapsed() > DEADLINE {
                self.losses.push(format!("never came back: {what}"));
                return;
            }
            std::thread::yield_now();
        }
    }
}

#[derive(Clone, Copy)]
enum Which {
    A,
    B,
}

/// Two paired devices, a session that nobody touches, and chance.
struct Bench {
    a: Device,
    b: Device,
    dice: Dice,
    bystanders: Vec<(PathBuf, Vec<u8>)>,
    hooks: u64,
    _world: World,
}

impl Bench {
    fn new() -> Self {
        let world = World::new();
        let (a, b) = (world.running("desk"), world.running("laptop"));
        pair(&a, &b);
        let mut bystanders = Vec::new();
        for (device, id) in [(&a, "aaaaaaaa"), (&b, "bbbbbbbb")] {
            let id = format!("{id}-6f0e-4d8e-9a41-0c6a8f6f1d99");
            let mut session = device.session(&id, &device.project("elsewhere"));
            session.append("leave me alone");
            bystanders.push((session.transcript.clone(), session.bytes()));
        }
        Self {
            a,
            b,
            dice: Dice::thrown(3),
            bystanders,
            hooks: 0,
            _world: world,
        }
    }

    fn device(&mut self, which: Which) -> &mut Device {
        match which {
            Which::A => &mut self.a,
            Which::B => &mut self.b,
        }
    }

    fn moved_bystander(&self) -> Option<&Path> {
        let moved =
            |(path, bytes): &&(PathBuf, Vec<u8>)| fs::read(path).ok().as_ref() != Some(bytes);
        self.bystanders
            .iter()
            .find(moved)
            .map(|(path, _)| path.as_path())
    }

    /// Starts a Stop hook of a session at A and counts it.
    fn stop_hook(&mut self, session: &Session) -> Child {
        self.hooks += 1;
        let mut command = self.a.command(&["hook", "Stop"]);
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin
            .write_all(session.payload("Stop").to_string().as_bytes())
            .unwrap();
        child
    }

    /// Every hook that ended with 0 is in the agent's hands, once.
    fn all_hooks_came(&self) -> bool {
        let status = self.a.json(&["status", "--json"]);
        status["spool"] == 0 && status["hooks_received"] == self.hooks
    }
}

fn ended(child: Child, tally: &mut Tally) {
    let out = child.wait_with_output().unwrap();
    tally.check(out.status.success() && out.stdout.is_empty(), || {
        "a hook did not end in silence".to_owned()
    });
    tally.acknowledged += 1;
}

fn holds(device: &Device, session: &Session) -> bool {
    let rows = device.rows(&session.id);
    let known = device.json(&["sessions", "--json"]);
    let known = known.as_array().unwrap().iter().any(|s| {
        s["session_id"] == session.id.as_str() && s["records"].as_u64() == Some(session.records())
    });
    known && rows.len() == 1 && rows[0]["complete"] == true
}

/// The agent dies while it captures the turn that a hook has just told it of.
fn capture(bench: &mut Bench, kills: u32) -> Tally {
    let mut tally = Tally::new("capture");
    let id = "00000001-6f0e-4d8e-9a41-0c6a8f6f1d61";
    let mut session = bench.a.session(id, &bench.a.project("captured"));
    for n in 0..kills {
        session.append(&format!("turn {n}"));
        let begin = Instant::now();
        let hook = bench.stop_hook(&session);
        tally.kill(bench, Which::A, begin);
        ended(hook, &mut tally);
        tally.comes("a turn", || holds(&bench.a, &session));
        tally.comes("a hook", || bench.all_hooks_came());
    }
    tally
}

/// The agent dies while it collects what nobody needs any more and writes its
/// store anew, which it does all the time here.
fn compact(bench: &mut Bench, kills: u32) -> Tally {
    let mut tally = Tally::new("compact");
    let id = "00000005-6f0e-4d8e-9a41-0c6a8f6f1d61";
    let mut session = bench.a.session(id, &bench.a.project("kept"));
    bench.a.ok(&["policy", "keep", "1"]);
    bench.a.stop();
    bench.a.env.push(("CCPEER_HURRY", HURRY.into()));
    bench.a.start();
    for n in 0..kills {
        session.append(&format!("turn {n}"));
        let hook = bench.stop_hook(&session);
        ended(hook, &mut tally);
        tally.kill(bench, Which::A, Instant::now());
        tally.comes("a turn", || holds(&bench.a, &session));
        tally.comes("a turn at the other device", || holds(&bench.b, &session));
        tally.comes("a hook", || bench.all_hooks_came());
    }
    // Earlier versions went, and the store was written anew without them.
    let log = bench.a.ccpeer_home().join("log");
    tally.comes("a round to its end", || {
        let said = logged(&log);
        said.contains("collected") && said.contains("store written anew")
    });
    bench.a.stop();
    bench.a.env.clear();
    bench.a.start();
    let beside: Vec<PathBuf> = fs::read_dir(bench.a.ccpeer_home())
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.to_string_lossy().contains("store.redb."))
        .collect();
    tally.check(beside.is_empty(), || format!("left behind: {beside:?}"));
    bench.a.ok(&["policy", "keep", "30"]);
    tally
}

/// Everything that an agent has logged.
fn logged(dir: &Path) -> String {
    let files = fs::read_dir(dir).unwrap().flatten();
    let read = |path: PathBuf| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
    files.map(|e| read(e.path())).collect()
}

/// One of the two dies while a long turn goes from one to the other.
fn sync(bench: &mut Bench, kills: u32) -> Tally {
    let mut tally = Tally::new("sync");
    let id = "00000002-6f0e-4d8e-9a41-0c6a8f6f1d61";
    let mut session = bench.a.session(id, &bench.a.project("sent"));
    for n in 0..kills {
        let mut long = format!("turn {n} ");
        while long.len() < LONG {
            let _ = write!(long, "{:08x}", bench.dice.below(1 << 31));
        }
        session.append(&long);
        let hook = bench.stop_hook(&session);
        ended(hook, &mut tally);
        let which = if n % 2 == 0 { Which::A } else { Which::B };
        tally.kill(bench, which, Instant::now());
        tally.comes("a turn at the other device", || holds(&bench.b, &session));
    }
    tally
}

/// The receiving agent dies while it places a longer version over a shorter one.
fn place(bench: &mut Bench, kills: u32) -> Tally {
    let mut tally = Tally::new("place");
    let id = "00000003-6f0e-4d8e-9a41-0c6a8f6f1d61";
    let mut at_a = bench.a.session(id, &bench.a.project("placed"));
    for n in 0..TURNS {
        at_a.append(&format!("before {n}"));
    }
    let into = bench.b.project("there");
    let args = [
        "continue",
        id,
        "--into",
        into.to_str().unwrap(),
        "--no-exec",
        "--json",
    ];
    let mut placed: Option<PathBuf> = None;
    for n in 0..kills {
        at_a.append(&format!("turn {n}"));
        let hook = bench.stop_hook(&at_a);
        ended(hook, &mut tally);
        arrives(&bench.b, id, &at_a);
        let before = placed.as_ref().map(|path| fs::read(path).unwrap());
        let begin = Instant::now();
        let command = bench.b.command(&args).spawn().unwrap();
        tally.kill(bench, Which::B, begin);
        let _any = command.wait_with_output().unwrap();
        if let (Some(path), Some(before)) = (&placed, before) {
            let now = fs::read(path).unwrap();
            let whole = now == before || lines(&now) == at_a.records();
            tally.check(whole && now.starts_with(&before), || {
                format!("{} of {} lines", lines(&now), at_a.records())
            });
        }
        tally.check(litter(&bench.b).is_empty(), || {
            format!("{:?}", litter(&bench.b))
        });
        let mut last = None;
        tally.comes("a placement", || {
            let ran = bench.b.run(&args);
            assert!([0, 1, 3].contains(&ran.code), "{}", ran.stderr);
            last = serde_json::from_str::<serde_json::Value>(&ran.stdout).ok();
            ran.code == 0
        });
        let path = last
            .and_then(|l| l["path"].as_str().map(PathBuf::from))
            .unwrap();
        tally.check(lines(&fs::read(&path).unwrap()) == at_a.records(), || {
            "placed in part".to_owned()
        });
        placed = Some(path);
    }
    tally
}

fn lines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|b| **b == b'\n').count() as u64
}

/// Names below Claude Code's projects that are neither directories nor transcripts
/// in plain sight.
fn litter(device: &Device) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for slug in fs::read_dir(device.claude().join("projects"))
        .unwrap()
        .flatten()
    {
        let hidden = |path: &Path| path.file_name().unwrap().to_string_lossy().starts_with('.');
        if hidden(&slug.path()) {
            found.push(slug.path());
            continue;
        }
        for entry in fs::read_dir(slug.path()).unwrap().flatten() {
            if hidden(&entry.path()) {
                found.push(entry.path());
            }
        }
    }
    found
}

/// The agent dies while hooks come in one after the other.
fn hooks(bench: &mut Bench, kills: u32) -> Tally {
    let mut tally = Tally::new("hook");
    let id = "00000004-6f0e-4d8e-9a41-0c6a8f6f1d61";
    let session = bench.a.session(id, &bench.a.project("hooked"));
    for _ in 0..kills {
        let begin = Instant::now();
        let running: Vec<Child> = (0..6).map(|_| bench.stop_hook(&session)).collect();
        tally.kill(bench, Which::A, begin);
        for hook in running {
            ended(hook, &mut tally);
        }
        tally.comes("a hook", || bench.all_hooks_came());
    }
    tally
}

/// The program dies while it edits Claude Code's settings.
fn settings(bench: &mut Bench, kills: u32) -> Tally {
    let mut tally = Tally::new("settings");
    let path = bench.a.claude().join("settings.json");
    let plain = b"{\n  \"model\": \"opus\",\n  \"hooks\": {}\n}\n".to_vec();
    fs::write(&path, &plain).unwrap();
    let begin = Instant::now();
    bench.a.ok(&["hooks", "install"]);
    let life = begin.elapsed();
    let edited = fs::read(&path).unwrap();
    bench.a.ok(&["hooks", "remove"]);
    assert_eq!(fs::read(&path).unwrap(), plain);
    for n in 0..kills {
        let word = if n % 2 == 0 { "install" } else { "remove" };
        let after = bench.dice.between(Duration::from_millis(1), life);
        let begin = Instant::now();
        let mut child = bench.a.command(&["hooks", word]).spawn().unwrap();
        while begin.elapsed() < after {
            std::hint::spin_loop();
        }
        let _ = child.kill();
        child.wait().unwrap();
        tally.kills += 1;
        let now = fs::read(&path).unwrap_or_default();
        tally.check(now == plain || now == edited, || {
            format!("settings of {} bytes", now.len())
        });
        bench.a.ok(&["hooks", word]);
        let wanted = if n % 2 == 0 { &edited } else { &plain };
        tally.check(&fs::read(&path).unwrap() == wanted, || {
            format!("{word} again did not help")
        });
        tally.acknowledged += 1;
    }
    let left: Vec<String> = fs::read_dir(bench.a.claude())
        .unwrap()
        .flatten()
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .filter(|name| name.contains("ccpeer-"))
        .collect();
    tally.check(left.is_empty(), || format!("left behind: {left:?}"));
    tally
}

#[test]
fn k_s01_kills_in_every_phase_lose_nothing() {
    let kills = times(3, 170);
    let mut bench = Bench::new();
    let bench = &mut bench;
    println!("phase     kills  acknowledged  losses  restart");
    let tallies = [
        told(capture(bench, kills)),
        told(compact(bench, kills)),
        told(sync(bench, kills)),
        told(place(bench, kills)),
        told(hooks(bench, kills)),
        told(settings(bench, kills)),
    ];
    for device in [&bench.a, &bench.b] {
        let verified = device.json(&["verify", "--read-data", "--json"]);
        assert_eq!(verified["ok"], true, "{verified}");
        nothing_half_written(device);
    }
    let losses: Vec<&String> = tallies.iter().flat_map(|t| &t.losses).collect();
    assert!(losses.is_empty(), "{losses:#?}");
}

/// The full form takes minutes, so each phase is shown when it is over.
#[expect(clippy::print_stdout, reason = "figures are for people")]
fn told(t: Tally) -> Tally {
    let lost = t.losses.len();
    println!(
        "{:<9} {:>5} {:>13} {lost:>7}  {}",
        t.phase, t.kills, t.acknowledged, t.restarts
    );
    t
}
