//! Quick and full forms of one test, and what measurements look like.
//!
//! The quick form runs with every `cargo test`; `CCPEER_FULL=1` chooses the full
//! one, whose figures are those of docs/THREATS.md. Must not know what is tested.
#![expect(clippy::print_stdout, reason = "a seed is of use to who sees it")]

use std::fmt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How often something is done: quick, or full if that is asked for.
pub(crate) fn times(quick: u32, full: u32) -> u32 {
    let wanted = std::env::var_os("CCPEER_FULL").is_some_and(|v| v == "1");
    if wanted { full } else { quick }
}

/// How long each of many runs took.
#[derive(Default)]
pub(crate) struct Figures(Vec<Duration>);

impl Figures {
    pub(crate) fn push(&mut self, took: Duration) {
        self.0.push(took);
    }

    pub(crate) fn max(&self) -> Duration {
        self.0.iter().copied().max().unwrap_or_default()
    }

    /// The value that this share of the runs does not exceed.
    pub(crate) fn share(&self, percent: usize) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let last = sorted.len().saturating_sub(1);
        let at = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
        sorted.get(at.min(last)).copied().unwrap_or_default()
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |d: Duration| d.as_secs_f64() * 1000.0;
        write!(
            f,
            "{} runs, p50 {:.1} ms, p95 {:.1} ms, p99 {:.1} ms, slowest {:.1} ms",
            self.0.len(),
            ms(self.share(50)),
            ms(self.share(95)),
            ms(self.share(99)),
            ms(self.max())
        )
    }
}

/// A small generator: the moments of kills come from one printed seed.
pub(crate) struct Dice(u64);

impl Dice {
    /// The seed in `CCPEER_SEED`, else this one; printed, so that it can be
    /// given back.
    pub(crate) fn thrown(seed: u64) -> Self {
        let given = std::env::var("CCPEER_SEED")
            .ok()
            .and_then(|n| n.parse().ok());
        let seed = given.unwrap_or(seed);
        println!("CCPEER_SEED={seed}");
        Self(seed)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }

    /// A moment between the two.
    pub(crate) fn between(&mut self, from: Duration, to: Duration) -> Duration {
        let span = u64::try_from((to - from).as_micros()).unwrap_or(u64::MAX);
        from + Duration::from_micros(self.below(span.max(1)))
    }
}

/// Processes that do nothing, as fast as they can. They end with this value.
pub(crate) struct Busy(Vec<Child>);

impl Busy {
    /// So many for each processor.
    pub(crate) fn on_each_processor(n: usize) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let spin = || {
            Command::new("sh")
                .args(["-c", "while :; do :; done"])
                .stdin(Stdio::null())
                .spawn()
                .unwrap()
        };
        Self((0..n * processors).map(|_| spin()).collect())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
