//! Memory and time of one test, alone in a process of its own. Must not know
//! what is measured.

use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Whether the full forms are asked for.
pub(crate) fn full() -> bool {
    std::env::var("CCPEER_BULK").is_ok_and(|v| v == "full")
}

/// The name of the test that is to run in this process.
const ALONE: &str = "CCPEER_BULK_ALONE";

/// Runs `test`, the body of the test of this path, in a process in which nothing
/// else takes memory.
pub(crate) fn alone(path: &str, test: impl FnOnce()) {
    if std::env::var(ALONE).is_ok_and(|name| name == path) {
        return test();
    }
    let out = Command::new(std::env::current_exe().unwrap())
        .args([path, "--exact", "--nocapture", "--test-threads=1"])
        .env(ALONE, path)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stdout);
    for (_, figure) in said.lines().filter_map(|l| l.split_once("figure: ")) {
        println!("figure: {figure}");
    }
    let why = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{path}\n{said}\n{why}");
    assert!(said.contains("1 passed"), "{path} is no test:\n{said}");
}

/// Measures from its making on.
pub(crate) struct Meter {
    begun: Instant,
    /// KiB that were resident; nothing where the system does not say.
    resident: Option<u64>,
}

impl Meter {
    pub(crate) fn start() -> Self {
        Self {
            begun: Instant::now(),
            resident: status("VmHWM:"),
        }
    }

    /// How much more than at the beginning was resident at once, in MiB. Nothing
    /// where the system does not say.
    pub(crate) fn grown_mib(&self) -> Option<u64> {
        Some((status("VmHWM:")?.saturating_sub(self.resident?)).div_ceil(1024))
    }

    pub(crate) fn seconds(&self) -> f64 {
        self.begun.elapsed().as_secs_f64()
    }

    /// Checks the bound and says the figure.
    pub(crate) fn memory_within(&self, what: &str, mib: u64) {
        let Some(grown) = self.grown_mib() else {
            println!("figure: {what}: memory is not measured on this system");
            return;
        };
        println!(
            "figure: {what}: {grown} MiB more resident (bound {mib}), {:.1} s",
            self.seconds()
        );
        assert!(grown <= mib, "{what}: {grown} MiB, more than {mib}");
    }
}

/// How long this thread has been at work, and not waiting for a processor that
/// others use; by the clock on the wall where the system does not say.
pub(crate) fn busy() -> Duration {
    static BEGUN: OnceLock<Instant> = OnceLock::new();
    let at_work = || {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
        let nanos = text.split_whitespace().next()?.parse().ok()?;
        Some(Duration::from_nanos(nanos))
    };
    at_work().unwrap_or_else(|| BEGUN.get_or_init(Instant::now).elapsed())
}

/// A field of what Linux says about this process, in KiB.
fn status(field: &str) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find(|l| l.starts_with(field))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
