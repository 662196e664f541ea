//! Many seeds: how they are spread over cores, and what they add up to.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::mutants::Mutant;
use crate::swarm::FaultKind;
use crate::world::{Failure, Outcome, Run, run};

/// Runs `work` for every number below `count`, on all cores.
pub fn on_all_cores(count: u64, work: impl Fn(u64) + Sync) {
    let next = AtomicU64::new(0);
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= count {
                        break;
                    }
                    work(n);
                }
            });
        }
    });
}

/// What many seeds add up to.
#[derive(Debug, Default)]
pub struct Survey {
    seeds: u64,
    steps: u64,
    entries: u64,
    acts: u64,
    messages: u64,
    chunks: u64,
    lived_ms: u64,
    healed_ms: u64,
    /// The slowest healing by the number of hops.
    slowest_ms: BTreeMap<u64, u64>,
    faults: BTreeMap<&'static str, u64>,
    /// Messages and entries times other devices, in worlds without any fault.
    quiet: (u64, u64),
}

impl Survey {
    /// Counts one outcome in.
    pub fn add(&mut self, outcome: &Outcome) {
        self.seeds += 1;
        self.steps += outcome.steps;
        self.entries += outcome.entries;
        self.acts += outcome.acts;
        self.messages += outcome.messages;
        self.chunks += outcome.chunks;
        self.lived_ms += outcome.lived_ms;
        self.healed_ms += outcome.healed_ms;
        let slowest = self.slowest_ms.entry(outcome.diameter).or_default();
        *slowest = (*slowest).max(outcome.healed_ms);
        for (what, times) in &outcome.faults {
            *self.faults.entry(what).or_default() += times;
        }
        if outcome.faults.is_empty() {
            let others = outcome.options.devices.saturating_sub(1) as u64;
            self.quiet.0 += outcome.messages;
            self.quiet.1 += outcome.entries * others;
        }
    }

    /// How often something happened.
    #[must_use]
    pub fn times(&self, what: &str) -> u64 {
        self.faults.get(what).copied().unwrap_or(0)
    }

    /// Everything that may happen and did not: a knob that never fires is a bug
    /// of the simulator.
    #[must_use]
    pub fn idle_knobs(&self) -> Vec<&'static str> {
        let knobs = KNOBS.iter().copied();
        knobs.filter(|what| self.times(what) == 0).collect()
    }
}

/// What must have happened somewhere in any thousand worlds.
const KNOBS: [&str; 33] = [
    "crash",
    "torn write",
    "off",
    "cut",
    "half-open link",
    "link replaced",
    "partition",
    "one-way partition",
    "clog",
    "swizzle",
    "message lost",
    "message twice",
    "stale message",
    "replay",
    "disk full",
    "commit refused",
    "chunks refused",
    "bit flip",
    "damage found",
    "verify",
    "clock step",
    "sleep",
    "restored backup",
    "cloned device",
    "new key",
    "revocation",
    "own fork found",
    "mischief",
    "misnamed",
    "shared again",
    "document only",
    "kept here",
    "sharing changed",
];

impl fmt::Display for Survey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} seeds, {} days of simulated time, {} steps, {} acts of users, {} entries",
            self.seeds,
            self.lived_ms / 86_400_000,
            self.steps,
            self.acts,
            self.entries
        )?;
        let per = |n: u64| n as f64 / self.entries.max(1) as f64;
        writeln!(
            f,
            "{} messages ({:.2} for an entry) and {} chunks ({:.2}) sent; in quiet worlds {:.2} messages for an entry and peer",
            self.messages,
            per(self.messages),
            self.chunks,
            per(self.chunks),
            self.quiet.0 as f64 / self.quiet.1.max(1) as f64
        )?;
        write!(f, "slowest worlds agreed after")?;
        for (hops, ms) in &self.slowest_ms {
            write!(f, " {} s ({hops} hops)", ms / 1_000)?;
        }
        write!(f, "\nwhat happened:")?;
        for (n, (what, times)) in self.faults.iter().enumerate() {
            let break_here = if n % 4 == 0 { "\n  " } else { ", " };
            write!(f, "{break_here}{what} {times}")?;
        }
        Ok(())
    }
}

/// Runs a seed, and where its clocks are wrong once more with good ones: what
/// everybody holds in the end must be the same but for the labels (K-D04).
///
/// Worlds in which a log may fork are left out: which of two branches a device
/// meets first may depend on a hash, and labels are in the hash.
#[must_use]
pub fn with_good_clocks_too(seed: u64, mutant: Option<Mutant>) -> Outcome {
    let how = Run {
        mutant,
        holdings: true,
        ..Run::default()
    };
    let mut outcome = run(seed, how);
    let is_wrong = outcome.options.skew_ms > 0 || outcome.options.has(FaultKind::ClockStep);
    if outcome.failure.is_some() || !is_wrong || outcome.options.may_fork() {
        return outcome;
    }
    let good = run(
        seed,
        Run {
            good_clocks: true,
            ..how
        },
    );
    let pairs = outcome.holdings.iter().zip(&good.holdings);
    if let Some((bad, good)) = pairs.clone().find(|(a, b)| a != b) {
        let mut lines = bad.lines().zip(good.lines());
        let (bad, good) = lines.find(|(a, b)| a != b).unwrap_or((bad, good));
        outcome.failure = Some(Failure {
            invariant: "K-D04",
            step: outcome.steps,
            at: outcome.lived_ms,
            detail: format!("{bad} with wrong clocks, {good} with good ones"),
        });
    }
    outcome
}
