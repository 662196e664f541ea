//! Several agents on one home at once: one serves, the others go away at once.

use std::io::{BufRead, BufReader, Read};
use std::process::Child;
use std::time::{Duration, Instant};

use super::world::{World, until};
use crate::form::{Figures, times};

const ID: &str = "5f0d7a52-6f0e-4d8e-9a41-0c6a8f6f1d09";

#[test]
fn k_s09_of_many_agents_on_one_home_one_serves() {
    let mut refused = Figures::default();
    for round in 0..times(2, 20) {
        let agents = if round % 2 == 0 { 2 } else { 20 };
        let world = World::new();
        let a = world.device("desk");
        let args = ["agent", "--listen", "127.0.0.1:0", "--no-mdns"];
        let children: Vec<_> = (0..agents)
            .map(|_| (Instant::now(), a.command(&args).spawn().unwrap()))
            .collect();
        let waiting: Vec<_> = children
            .into_iter()
            .map(|(begin, child)| std::thread::spawn(move || first_word(child, begin)))
            .collect();
        let mut running: Vec<_> = waiting.into_iter().map(|w| w.join().unwrap()).collect();
        let serving = running.iter().filter(|(_, took)| took.is_none()).count();
        assert_eq!(serving, 1, "of {agents}");
        for took in running.iter().filter_map(|(_, took)| *took) {
            refused.push(took);
        }
        let mut session = a.session(ID, &a.project("work"));
        a.turn(&mut session, "one turn");
        until("captured", || !a.rows(ID).is_empty());
        assert_eq!(a.json(&["verify", "--read-data", "--json"])["ok"], true);
        a.ok(&["down"]);
        let server = running.iter_mut().find(|(_, took)| took.is_none());
        assert!(server.unwrap().0.wait().unwrap().success());
    }
    println!("k_s09 refused: {refused}");
}

/// However it was started. Only root may read the environment of a process that
/// keeps secrets.
#[cfg(target_os = "linux")]
#[test]
fn an_agent_has_one_heap_for_all_its_threads() {
    let world = World::new();
    let mut a = world.device("desk");
    a.start();
    match std::fs::read(format!("/proc/{}/environ", a.agent_pid())) {
        Ok(environment) => {
            let told = String::from_utf8_lossy(&environment).into_owned();
            for (name, value) in ccpeer_agent::service::HEAP {
                let set = format!("{name}={value}");
                assert!(told.split('\0').any(|v| v == set), "{told}");
            }
        }
        Err(e) => assert_eq!(e.kind(), std::io::ErrorKind::PermissionDenied),
    }
}

/// Waits until an agent serves, or has ended because another one does; then how
/// long that took.
fn first_word(mut child: Child, begin: Instant) -> (Child, Option<Duration>) {
    let mut line = String::new();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut line).unwrap();
    if line.starts_with("ready") {
        return (child, None);
    }
    let mut told = String::new();
    let mut err = child.stderr.take().unwrap();
    err.read_to_string(&mut told).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(3), "{told}");
    assert!(told.contains("another agent"), "{told}");
    (child, Some(begin.elapsed()))
}
