//! Tests that measure memory run in a process of their own, where nobody else
//! takes any. The process is this test binary, asked for one test.

use std::net::SocketAddr;
use std::process::Command;

/// The test that a process was started for.
const ALONE: &str = "CCPEER_TEST_ALONE";

/// Runs `body` in a process of its own, and fails if it fails. `test` is the path
/// of the calling test, which must do nothing else.
pub(super) fn alone<F: Future<Output = ()>>(test: &str, body: impl FnOnce() -> F) {
    let test = test.strip_prefix("ccpeer_net::").unwrap_or(test);
    if std::env::var(ALONE).as_deref() == Ok(test) {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(body());
        return;
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(ALONE, test)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    for line in said.lines().filter(|l| l.contains("K-")) {
        println!("{line}");
    }
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Where the process is to attack, if it was started by [`attack`].
const ATTACK: &str = "CCPEER_TEST_ATTACK";

/// Runs the same test in one more process, whose memory is not the victim's; there
/// [`target`] says where the victim is. Waits until it ends.
pub(super) async fn attack(test: &str, at: SocketAddr) {
    let test = test.strip_prefix("ccpeer_net::").unwrap_or(test).to_owned();
    let ended = tokio::task::spawn_blocking(move || {
        Command::new(std::env::current_exe().unwrap())
            .args([&test, "--exact", "--nocapture", "--test-threads=1"])
            .env(ALONE, &test)
            .env(ATTACK, at.to_string())
            .output()
            .unwrap()
    })
    .await
    .unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "the attack came to nothing: {said}");
}

/// The victim, in a process that [`attack`] has started.
pub(super) fn target() -> Option<SocketAddr> {
    std::env::var(ATTACK).ok()?.parse().ok()
}

/// The path of a test function of the calling module.
macro_rules! path_of_test {
    ($name:ident) => {
        concat!(module_path!(), "::", stringify!($name))
    };
}
pub(super) use path_of_test;

/// Memory in use, and the most that was in use since the last [`Memory::now`],
/// in KiB. Zero where the system does not tell.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rss {
    now: u64,
}

impl Rss {
    pub(super) fn now() -> Self {
        // The greatest size begins anew.
        let _ = std::fs::write("/proc/self/clear_refs", "5");
        Self {
            now: status("VmRSS:"),
        }
    }

    /// How much more was in use at the worst moment since then, in KiB.
    pub(super) fn grown(self) -> u64 {
        status("VmHWM:").saturating_sub(self.now)
    }
}

fn status(name: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix(name));
    line.and_then(|l| l.split_whitespace().next())
        .and_then(|n| n.parse().ok())
        .unwrap_or(0)
}

/// A number given by the environment, for the full form of a test.
pub(super) fn number(name: &str, quick: usize) -> usize {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{name} is no number")),
        Err(_) => quick,
    }
}
