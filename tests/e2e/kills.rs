//! kill -9 anywhere in A → B → A: nothing acknowledged is lost, nothing half
//! written is ever seen under Claude Code's directory.
//!
//! Quick form here; `CCPEER_KILLS=100` (or `just kills 100`) runs as many as are
//! asked for. The seed is printed and can be given back with `CCPEER_SEED`. Kills
//! in one phase after the other are in `phases.rs`.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use super::world::{DEADLINE, Device, Session, World, connected, pair};
use crate::form::{Dice, times};

const ID: &str = "5f0d7a52-6f0e-4d8e-9a41-0c6a8f6f1d61";
const KILLS_QUICK: u32 = 4;
const KILLS_FULL: u32 = 200;

/// Every transcript under Claude's directory is whole: complete lines, each a
/// JSON document, and beginning with what it began with before.
pub(super) fn nothing_half_written(device: &Device) {
    let mut dirs = vec![device.claude().join("projects")];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|e| e == "jsonl") {
                let text = fs::read_to_string(&path).unwrap();
                assert!(text.ends_with('\n'), "torn: {}", path.display());
                for line in text.lines() {
                    serde_json::from_str::<serde_json::Value>(line)
                        .unwrap_or_else(|e| panic!("{e} in {}", path.display()));
                }
            }
        }
    }
}

/// Runs a command while the agent is killed after `after`; restarts it.
fn kill_during(device: &mut Device, args: &[&str], after: Duration) {
    let child = device.command(args).spawn().unwrap();
    let start = Instant::now();
    while start.elapsed() < after {
        std::hint::spin_loop();
    }
    device.kill();
    let _any = child.wait_with_output().unwrap();
    nothing_half_written(device);
    device.start();
}

/// Repeats a command until it succeeds: each failure must be a clean one.
fn insist(device: &Device, args: &[&str]) -> serde_json::Value {
    let start = Instant::now();
    loop {
        let ran = device.run(args);
        if ran.code == 0 {
            return serde_json::from_str(&ran.stdout).unwrap();
        }
        assert!(
            ran.code == 1 || ran.code == 3,
            "{args:?}: {} {}",
            ran.code,
            ran.stderr
        );
        assert!(
            start.elapsed() < DEADLINE,
            "{args:?} never worked: {}",
            ran.stderr
        );
    }
}

fn turn(device: &Device, session: &mut Session, n: u32) -> String {
    let prompt = format!("turn {n} at {}", device.name);
    device.turn(session, &prompt);
    prompt
}

#[test]
fn k_s01_kills_anywhere_lose_nothing() {
    let kills: u32 = std::env::var("CCPEER_KILLS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or_else(|| times(KILLS_QUICK, KILLS_FULL));
    println!("{kills} kills");
    let mut dice = Dice::thrown(7);
    let world = World::new();
    let (mut a, mut b) = (world.running("desk"), world.running("laptop"));
    pair(&a, &b);
    let (dir_a, dir_b) = (a.project("work/proj"), b.project("code/proj"));
    let mut said = Vec::new();
    let mut at_a = a.session(ID, &dir_a);
    said.push(turn(&a, &mut at_a, 0));
    let (mut killed, mut round) = (0, 0);
    while killed < kills {
        round += 1;
        // The session is at A. Its newest turn was acknowledged by the hook, then
        // A dies at a random moment of capturing or sending it.
        let pause = |dice: &mut Dice| Duration::from_micros(dice.below(60_000));
        kill_during(&mut a, &["push", ID], pause(&mut dice));
        // B dies while it fetches or places.
        connected(&a, &b);
        let into = dir_b.to_str().unwrap();
        kill_during(
            &mut b,
            &["continue", ID, "--into", into, "--no-exec", "--json"],
            pause(&mut dice),
        );
        connected(&a, &b);
        super::world::arrives(&b, ID, &at_a);
        let placed = insist(&b, &["continue", ID, "--into", into, "--no-exec", "--json"]);
        let mut at_b = at_a.at(Path::new(placed["path"].as_str().unwrap()), &dir_b);
        check_all(&at_b, &said);
        said.push(turn(&b, &mut at_b, round));
        kill_during(&mut b, &["push", ID], pause(&mut dice));
        connected(&a, &b);
        kill_during(
            &mut a,
            &["continue", ID, "--no-exec", "--json"],
            pause(&mut dice),
        );
        connected(&a, &b);
        super::world::arrives(&a, ID, &at_b);
        let placed = insist(&a, &["continue", ID, "--no-exec", "--json"]);
        at_a = at_a.at(Path::new(placed["path"].as_str().unwrap()), &dir_a);
        check_all(&at_a, &said);
        said.push(turn(&a, &mut at_a, round));
        killed += 4;
    }
    for device in [&a, &b] {
        assert_eq!(device.rows(ID).len(), 1, "a kill made a fork");
        let verified = device.json(&["verify", "--read-data", "--json"]);
        assert_eq!(verified["ok"], true, "{verified}");
        nothing_half_written(device);
    }
    println!(
        "{killed} kills in {round} rounds, {} turns, none lost",
        said.len()
    );
}

fn check_all(session: &Session, said: &[String]) {
    let text = String::from_utf8(session.bytes()).unwrap();
    for prompt in said {
        let found = text.matches(&format!("\"content\":\"{prompt}\"")).count();
        assert_eq!(
            found,
            1,
            "{prompt:?} stands {found} times in {}",
            session.transcript.display()
        );
    }
}
