//! An event that the hook client was given is on the disk when it has ended,
//! whole, whatever else happens to the machine meanwhile.

use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::{STOP, assert_silent, spooled};
use crate::form::{Busy, Dice, Figures, times};
use crate::support::{User, wait_for_end};

/// Claude Code kills what SessionEnd started after this long.
const SESSION_END: Duration = Duration::from_millis(1500);

fn fire(user: &User, event: &str) -> Child {
    let mut child = user
        .ccpeer(&["hook", event])
        .process_group(0)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(STOP).unwrap();
    child
}

/// Waits for its end, but no longer than Claude Code does; then kills the group.
fn kill_group_in_time(mut child: Child) -> Duration {
    let begin = Instant::now();
    let group = Pid::from_raw(i32::try_from(child.id()).unwrap());
    let waiting = std::thread::spawn(move || child.wait().unwrap());
    while !waiting.is_finished() && begin.elapsed() < SESSION_END {
        std::thread::park_timeout(Duration::from_millis(1));
    }
    let took = begin.elapsed();
    // The group may be empty by now; that is the point.
    let _ = killpg(group, Signal::SIGKILL);
    waiting.join().unwrap();
    took
}

#[test]
fn k_h05_the_end_of_a_session_is_durable_on_a_busy_machine() {
    let user = User::new();
    let runs = times(10, 200);
    let busy = Busy::on_each_processor(times(1, 4) as usize);
    let mut took = Figures::default();
    for _ in 0..runs {
        took.push(kill_group_in_time(fire(&user, "SessionEnd")));
    }
    drop(busy);
    println!("k_h05 without an agent, busy machine: {took}");
    let events = spooled(&user);
    assert_eq!(events.len(), runs as usize);
    assert!(events.iter().all(|(_, input)| input == STOP));
}

#[test]
fn k_h10_a_killed_client_leaves_whole_files_only() {
    let user = User::new();
    let mut dice = Dice::thrown(10);
    let runs = times(60, 1000);
    // Once to the end: the kills are spread over the life of the process.
    let begin = Instant::now();
    assert_silent(&user.run_with(&["hook", "Stop"], STOP));
    let life = begin.elapsed().max(Duration::from_millis(2)) * 5 / 4;
    for _ in 0..runs {
        let after = dice.between(Duration::ZERO, life);
        let begin = Instant::now();
        let mut child = fire(&user, "Stop");
        while begin.elapsed() < after && child.try_wait().unwrap().is_none() {
            std::hint::spin_loop();
        }
        let _ = child.kill();
        child.wait().unwrap();
    }
    let events = spooled(&user);
    println!("k_h10: {} of {runs} came before the kill", events.len() - 1);
    assert!(events.iter().all(|(_, input)| input == STOP));
}

#[test]
fn k_h12_many_hooks_at_once_are_all_kept() {
    let user = User::new();
    let begin = Instant::now();
    let hooks = times(50, 200) as usize;
    let children: Vec<_> = (0..hooks).map(|_| fire(&user, "Stop")).collect();
    for mut child in children {
        assert_eq!(wait_for_end(&mut child), 0);
    }
    println!("k_h12 without an agent: {hooks} in {:?}", begin.elapsed());
    let events = spooled(&user);
    assert_eq!(events.len(), hooks);
    assert!(events.iter().all(|(_, input)| input == STOP));
    let litter = fs::read_dir(user.home().spool())
        .unwrap()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with('.'));
    assert_eq!(litter.count(), 0);
}
