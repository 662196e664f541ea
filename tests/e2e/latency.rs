//! How soon a turn that ends on one device shows on another: from the start of
//! the hook on A to the end of the first `tasks --json` on B that has it. Prints
//! figures and judges none of them: a busy machine is no fault. `just latency`
//! makes 100 runs of each.
#![expect(clippy::print_stdout, reason = "figures are of use to who sees them")]

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::lan::Lan;
use super::world::{Device, Session, World, arrives, connected, pair, random_text, until};
use crate::form::{Figures, times};

const ID: &str = "5f0d7a52-6f0e-4d8e-9a41-0c6a8f6f1d74";
const LONG: &str = "5f0d7a52-6f0e-4d8e-9a41-0c6a8f6f1d75";

/// What one run took.
#[derive(Default)]
struct Runs {
    /// Until the hook client ended, which is what Claude Code waits for.
    hook: Figures,
    /// Until the version was listed.
    listed: Figures,
    /// Until all of its content was there.
    whole: Figures,
    /// One `tasks --json` by itself.
    look: Figures,
}

impl Runs {
    fn print(&self, what: &str) {
        println!("latency, {what}: hook ends     {}", self.hook);
        println!("latency, {what}: listed on B   {}", self.listed);
        println!("latency, {what}: whole on B    {}", self.whole);
        println!("latency, {what}: one list      {}", self.look);
    }

    fn add(&mut self, lan: &Lan, a: &Device, b: &Device, session: &mut Session, runs: u32) {
        let mut shown = look(lan, 1, b).map(|(version, _)| version);
        for n in 0..runs {
            session.append(&format!("turn {n}"));
            let payload = session.payload("Stop").to_string();
            let mut hook = a.bare(&["hook", "Stop"]);
            hook.stdin(Stdio::piped());
            let begin = Instant::now();
            let mut hook = quick(lan, 0, hook);
            let mut stdin = hook.stdin.take().unwrap();
            stdin.write_all(payload.as_bytes()).unwrap();
            drop(stdin);
            assert!(hook.wait().unwrap().success());
            self.hook.push(begin.elapsed());
            let mut listed = None;
            until("the turn is listed and whole", || {
                let before = Instant::now();
                let seen = look(lan, 1, b);
                self.look.push(before.elapsed());
                match seen {
                    Some((version, complete)) if Some(&version) != shown.as_ref() => {
                        listed.get_or_insert((begin.elapsed(), version));
                        complete
                    }
                    _ => false,
                }
            });
            self.whole.push(begin.elapsed());
            let (first, version) = listed.unwrap();
            self.listed.push(first);
            shown = Some(version);
        }
    }
}

/// A program on a host's side of things, without the time that `ip netns exec`
/// takes to start it.
fn quick(lan: &Lan, n: usize, mut command: Command) -> Child {
    lan.inside(n, || command.spawn().unwrap())
}

/// One look at B's list; the version that it shows.
fn look(lan: &Lan, n: usize, device: &Device) -> Option<(String, bool)> {
    let run = quick(lan, n, device.bare(&["tasks", "--json", "--all"]));
    let out = run.wait_with_output().unwrap();
    let rows: Value = serde_json::from_slice(&out.stdout).unwrap();
    let row = rows
        .as_array()
        .unwrap()
        .iter()
        .find(|t| t["session_id"] == ID)?;
    let version = row["version"].as_str().unwrap().to_owned();
    Some((version, row["complete"] == true))
}

/// Turns on A, looked for on B.
fn measure(lan: &Lan, a: &Device, b: &Device, session: &mut Session, runs: u32) -> Runs {
    let mut took = Runs::default();
    took.add(lan, a, b, session, runs);
    took
}

fn begun(a: &Device, b: &Device) -> Session {
    let mut session = a.session(ID, &a.project("work/proj"));
    a.turn(&mut session, "the first");
    arrives(b, ID, &session);
    session
}

#[test]
fn latency_direct() {
    let Some(lan) = Lan::new(2) else { return };
    let world = World::new();
    let (a, b) = (
        lan.device(&world, 0, "desk"),
        lan.device(&world, 1, "laptop"),
    );
    pair(&a, &b);
    let mut session = begun(&a, &b);
    let runs = times(5, 100);
    measure(&lan, &a, &b, &mut session, runs).print("direct");
}

#[test]
fn latency_through_a_third() {
    let Some(lan) = Lan::sites(&[&[0, 1], &[0, 2], &[1, 2]]) else {
        return;
    };
    let world = World::new();
    let a = lan.device(&world, 0, "desk");
    let b = lan.device(&world, 1, "laptop");
    let c = lan.device(&world, 2, "box");
    for (one, other) in [(&a, &b), (&a, &c), (&b, &c)] {
        pair(one, other);
    }
    lan.unplug(0, 0);
    lan.unplug(1, 0);
    until("A and B have lost each other", || {
        !a.is_linked(&b) && !b.is_linked(&a)
    });
    connected(&a, &c);
    connected(&b, &c);
    let mut session = begun(&a, &b);
    let runs = times(5, 100);
    measure(&lan, &a, &b, &mut session, runs).print("through a third device");
    assert!(!a.is_linked(&b), "they met after all");
}

/// Nor does one that comes and goes: each of its links makes us look again for
/// what was not to be had.
#[test]
fn a_flapping_peer_does_not_slow_the_others() {
    let Some(lan) = Lan::new(3) else { return };
    let world = World::new();
    let ([a, b, mut c], mut session) = three(&lan, &world);
    let mut took = Runs::default();
    for _ in 0..times(4, 50) {
        c.kill();
        c.start();
        took.add(&lan, &a, &b, &mut session, 1);
    }
    took.print("a third one comes and goes");
    assert!(took.whole.share(50) < Duration::from_secs(3));
    arrives(&c, ID, &session);
}

/// Three devices that are all linked, and a session of the first everywhere.
fn three(lan: &Lan, world: &World) -> ([Device; 3], Session) {
    let a = lan.device(world, 0, "desk");
    let b = lan.device(world, 1, "laptop");
    let c = lan.device(world, 2, "box");
    for (one, other) in [(&a, &b), (&a, &c), (&b, &c)] {
        pair(one, other);
    }
    let session = begun(&a, &b);
    arrives(&c, ID, &session);
    ([a, b, c], session)
}

/// A device that is there and does not answer costs the others nothing.
#[test]
fn a_stopped_peer_does_not_slow_the_others() {
    let Some(lan) = Lan::new(3) else { return };
    let world = World::new();
    let ([a, b, c], mut session) = three(&lan, &world);
    let runs = times(5, 50);
    measure(&lan, &a, &b, &mut session, runs).print("all well");
    let pid = Pid::from_raw(i32::try_from(c.agent_pid()).unwrap());
    kill(pid, Signal::SIGSTOP).unwrap();
    let stopped = measure(&lan, &a, &b, &mut session, runs);
    stopped.print("a third one is stopped");
    // Even where everything is slow, nobody waits for the heartbeat to fail.
    assert!(stopped.whole.share(50) < Duration::from_secs(3));
    kill(pid, Signal::SIGCONT).unwrap();
    arrives(&c, ID, &session);
}

/// Nor does one that takes minutes for what is going to it.
#[test]
fn a_slow_peer_does_not_slow_the_others() {
    let Some(lan) = Lan::new(3) else { return };
    let world = World::new();
    let ([a, b, c], mut session) = three(&lan, &world);
    if !lan.narrow(2, 100) {
        return;
    }
    let mut long = a.session(LONG, &a.project("work/proj"));
    a.turn(&mut long, &random_text(1_000_000));
    arrives(&b, LONG, &long);
    let slow = measure(&lan, &a, &b, &mut session, times(5, 50));
    slow.print("a third one is slow");
    assert!(!c.holds(LONG, long.records()), "it was not slow at all");
    assert!(slow.whole.share(50) < Duration::from_secs(3));
    assert!(lan.narrow(2, 1_000_000));
    arrives(&c, LONG, &long);
    arrives(&c, ID, &session);
}
