//! A disk that is full: ccpeer's home on a small file system of its own, which
//! grows while the agent works. Whatever does not fit is refused in words, what
//! was there stays readable, hooks end with 0, and when there is room again
//! everything goes on without a restart.
//!
//! The file system is a tmpfs in a mount namespace of the test's own: the test
//! starts itself again inside one. Where that is not allowed, it says so and ends.
#![expect(clippy::print_stdout, reason = "a test that is skipped says so")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::kills::nothing_half_written;
use super::world::{Device, Session, World, arrives, connected, pair, until};
use crate::form::times;

const ID: &str = "5f0d7a52-6f0e-4d8e-9a41-0c6a8f6f1d04";
const INSIDE: &str = "CCPEER_TEST_MOUNTS";
const FIRST_KIB: u64 = 64;
const STEP_KIB: u64 = 4;
/// With less room than this nothing of a session fits any more.
const FULL_KIB: u64 = 48;

/// Runs the test of this name again where it may mount things; whether this is
/// already that run.
fn inside(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let may = |args: &[&str]| {
        let mut command = Command::new("unshare");
        command
            .args(args)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.status().is_ok_and(|s| s.success())
    };
    let probe = "d=$(mktemp -d) && mount -t tmpfs -o size=64k tmpfs \"$d\"; s=$?; umount \"$d\"; rmdir \"$d\"; exit $s";
    if !may(&["--user", "--map-root-user", "--mount", "sh", "-c", probe]) {
        println!("skipped: file systems cannot be mounted here");
        return false;
    }
    let status = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .stdin(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "{test} failed inside");
    false
}

/// A file system of a certain size. It goes with the namespace.
struct Small {
    at: PathBuf,
    kib: u64,
}

impl Small {
    fn mounted(at: &Path, kib: u64) -> Self {
        std::fs::create_dir_all(at).unwrap();
        let small = Self {
            at: at.to_path_buf(),
            kib,
        };
        small.mount(&["-t", "tmpfs", "-o", &format!("size={kib}k"), "tmpfs"]);
        small
    }

    fn grow(&mut self, kib: u64) {
        self.kib += kib;
        self.mount(&["-o", &format!("remount,size={}k", self.kib)]);
    }

    fn free_kib(&self) -> u64 {
        let stat = nix::sys::statvfs::statvfs(&self.at).unwrap();
        stat.blocks_available() * stat.fragment_size() / 1024
    }

    fn mount(&self, args: &[&str]) {
        let status = Command::new("mount").args(args).arg(&self.at).status();
        assert!(status.unwrap().success(), "mount {args:?}");
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.at).status();
    }
}

/// Codes that a full disk may end a command with: an error that was told.
fn clean(code: i32) -> bool {
    [0, 1, 3, 4].contains(&code)
}

fn try_start(device: &mut Device) -> bool {
    match device.try_start() {
        Ok(()) => true,
        Err(told) => {
            assert!(told.contains("error") || told.contains("cannot"), "{told}");
            assert!(!told.contains("panicked"), "{told}");
            false
        }
    }
}

fn try_pair(a: &Device, b: &Device) -> bool {
    let mut inviting = b
        .command(&["pair", "--ticket", "--yes", "--json"])
        .spawn()
        .unwrap();
    let mut lines = std::io::BufReader::new(inviting.stdout.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut lines, &mut line).unwrap();
    let event: Value = serde_json::from_str(&line).unwrap();
    let ticket = format!("{}\n", event["ticket"].as_str().unwrap());
    let joined = a.run_with(&["join", "--json"], ticket.as_bytes());
    assert!(clean(joined.code), "join: {}", joined.stderr);
    let _ = inviting.kill();
    inviting.wait().unwrap();
    joined.code == 0
        && a.json(&["devices", "--json"]).as_array().unwrap().len() == 1
        && b.json(&["devices", "--json"]).as_array().unwrap().len() == 1
}

/// What stood in the list once stands in it for good.
fn still_there(device: &Device, known: &mut Vec<String>) {
    let ran = device.run(&["sessions", "--json"]);
    assert!(clean(ran.code), "{}", ran.stderr);
    let Ok(rows) = serde_json::from_str::<Vec<Value>>(&ran.stdout) else {
        return;
    };
    let now: Vec<String> = rows
        .iter()
        .map(|r| r["session_id"].as_str().unwrap().to_owned())
        .collect();
    for id in known.iter() {
        assert!(now.contains(id), "{id} is gone");
    }
    *known = now;
}

#[test]
fn k_s04_a_disk_that_is_full_refuses_and_goes_on() {
    if !inside("e2e::full_disk::k_s04_a_disk_that_is_full_refuses_and_goes_on") {
        return;
    }
    let world = World::new();
    let b = world.running("laptop");
    let mut theirs = b.session("5f0d7a52-6f0e-4d8e-9a41-0c6a8f6f1d05", &b.project("theirs"));
    b.turn(&mut theirs, "from the other side");
    let mut a = world.device("desk");
    let mut disk = Small::mounted(&a.ccpeer_home(), FIRST_KIB);
    let mut mine: Session = a.session(ID, &a.project("mine"));
    let into = a.project("theirs");
    let args = [
        "continue",
        &theirs.id,
        "--into",
        into.to_str().unwrap(),
        "--no-exec",
        "--json",
    ];
    // Quick: steps of 64 KiB; full: of 4 KiB, as many as it takes and 256 at least.
    let step = STEP_KIB * u64::from(times(16, 1));
    let steps_min = times(4, 256);
    let (mut steps, mut started, mut paired, mut known) = (0, None, false, Vec::new());
    loop {
        steps += 1;
        let up = started.is_some() || try_start(&mut a);
        if up && started.is_none() {
            started = Some(disk.kib);
        }
        mine.append(&format!("turn {steps}"));
        a.hook("Stop", &mine.payload("Stop"));
        if up {
            paired = paired || try_pair(&a, &b);
            for args in [
                &["push", ID][..],
                &args,
                &["verify", "--json"],
                &["tasks", "--json"],
            ] {
                let ran = a.run(args);
                assert!(clean(ran.code), "{args:?}: {} {}", ran.code, ran.stderr);
            }
            still_there(&a, &mut known);
            assert!(a.is_up(), "the agent ended at {} KiB", disk.kib);
        }
        nothing_half_written(&a);
        let whole = up && paired && a.run(&args).code == 0 && a.run(&["push", ID]).code == 0;
        if whole && steps >= steps_min {
            break;
        }
        assert!(disk.kib < 64 * 1024, "64 MiB are not enough");
        disk.grow(step);
    }
    println!(
        "k_s04: {steps} steps of {step} KiB; the agent started at {:?} KiB, all done at {} KiB",
        started.unwrap(),
        disk.kib
    );
    // Without a restart everything is there, and goes to the other side.
    disk.grow(1024);
    a.ok(&["rename", a.name]);
    connected(&a, &b);
    arrives(&b, ID, &mine);
    assert_eq!(a.json(&["verify", "--read-data", "--json"])["ok"], true);
    until("the spool is empty", || {
        a.json(&["status", "--json"])["spool"] == 0
    });
}

/// The first sync stops in the middle because the disk is full; with room again
/// what is missing comes, and both hold the same.
#[test]
fn k_s05_a_sync_that_a_full_disk_stopped_is_completed() {
    if !inside("e2e::full_disk::k_s05_a_sync_that_a_full_disk_stopped_is_completed") {
        return;
    }
    let world = World::new();
    let b = world.running("laptop");
    let mut theirs = Vec::new();
    let sessions = times(12, 60);
    for n in 0..sessions {
        let id = format!("{n:08x}-6f0e-4d8e-9a41-0c6a8f6f1d05");
        let mut session = b.session(&id, &b.project("theirs"));
        let mut text = String::new();
        let mut state = blake3::hash(id.as_bytes());
        while text.len() < 100 * 1024 {
            state = blake3::hash(state.as_bytes());
            text.push_str(&state.to_hex());
        }
        b.turn(&mut session, &text);
        theirs.push(session);
    }
    for session in &theirs {
        arrives(&b, &session.id, session);
    }
    let mut a = world.device("desk");
    let mut disk = Small::mounted(&a.ccpeer_home(), 640);
    a.start();
    a.ok(&["rename", a.name]);
    pair(&a, &b);
    // Some of it is here, and the disk is full.
    let complete = |a: &Device| {
        let rows: Vec<Value> =
            serde_json::from_str(&a.run(&["tasks", "--all", "--json"]).stdout).unwrap_or_default();
        rows.iter().filter(|r| r["complete"] == true).count()
    };
    until("the disk is full", || {
        let told = a.json(&["status", "--json"])["last_error"].is_string();
        told || disk.free_kib() < FULL_KIB || complete(&a) == theirs.len()
    });
    let then = complete(&a);
    assert!(then < theirs.len(), "the disk was never full");
    disk.grow(64 * 1024);
    for session in &theirs {
        arrives(&a, &session.id, session);
    }
    assert_eq!(complete(&a), theirs.len());
    let verified = a.json(&["verify", "--read-data", "--json"]);
    assert_eq!(verified["ok"], true, "{verified}");
    println!("k_s05: full with {then} of {sessions} sessions, then all of them");
}
