//! Strangers at the door of a running agent, and an agent that stood still.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::forged::kib;
use super::lan::Lan;
use super::world::{World, pair, until, within};
use crate::form::times;

/// The test of crate net whose attacker is borrowed.
const KNOCKS: &str = "tests::crowds::k_p07_strangers_at_the_gate_leave_nothing_behind";

/// The attacker speaks QUIC, which only crate net does: its tests lend it. Their
/// program is named by `CCPEER_KNOCK`, see the recipe `strangers`.
#[test]
fn k_p07_strangers_leave_nothing_behind_in_a_running_agent() {
    let Some(program) = std::env::var_os("CCPEER_KNOCK") else {
        println!("skipped: CCPEER_KNOCK does not name the tests of crate net");
        return;
    };
    let world = World::new();
    let mut a = world.device("desk");
    // The key of the device that the attacker knows.
    let key = a.ccpeer_home().join("device.key");
    std::fs::create_dir_all(a.ccpeer_home()).unwrap();
    std::fs::set_permissions(a.ccpeer_home(), PermissionsExt::from_mode(0o700)).unwrap();
    std::fs::write(&key, format!("ccpeer-key-v1 {}\n", "01".repeat(32))).unwrap();
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).unwrap();
    a.start();
    let status = a.json(&["status", "--json"]);
    let addr = status["listen"][0].as_str().unwrap();
    let knock = |attempts: u32| {
        let ran = Command::new(&program)
            .args([KNOCKS, "--exact", "--nocapture", "--test-threads=1"])
            .env("CCPEER_TEST_ALONE", KNOCKS)
            .env("CCPEER_TEST_ATTACK", addr)
            .env("CCPEER_ATTEMPTS", attempts.to_string())
            .output()
            .unwrap();
        assert!(ran.status.success(), "{ran:?}");
    };
    // What is needed once, for any number of them.
    knock(50);
    let pid = a.agent_pid();
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap();
    let rss = kib(pid, "VmRSS:");
    let attempts = times(300, 10_000);
    knock(attempts);
    let grown = kib(pid, "VmHWM:").saturating_sub(rss);
    let counted = a.run(&["doctor", "net", "--json"]).stdout;
    let counted: serde_json::Value = serde_json::from_str(&counted).unwrap();
    let counted = &counted["network"]["counted"];
    println!("K-P07: {attempts} strangers at a running agent: {counted}, memory +{grown} KiB");
    assert_eq!(counted["refused"], u64::from(attempts + 50));
    assert_eq!(counted["frames"], 0, "a stranger's byte was parsed");
    assert!(grown <= 4 * 1024, "{grown} KiB");
}

/// As after a sleep: the others have given it up, and it does not know.
#[test]
fn an_agent_that_stood_still_is_back_at_once() {
    let Some(lan) = Lan::new(2) else { return };
    let world = World::new();
    let a = lan.device(&world, 0, "desk");
    let b = lan.device(&world, 1, "laptop");
    pair(&a, &b);
    let pid = Pid::from_raw(i32::try_from(a.agent_pid()).unwrap());
    kill(pid, Signal::SIGSTOP).unwrap();
    until("it is given up", || !b.is_linked(&a));
    kill(pid, Signal::SIGCONT).unwrap();
    let woken = Instant::now();
    let both = || a.is_linked(&b) && b.is_linked(&a);
    within(
        "linked after it stood still",
        Duration::from_secs(10),
        woken,
        both,
    );
    println!("linked {:.1?} after it went on", woken.elapsed());
}
