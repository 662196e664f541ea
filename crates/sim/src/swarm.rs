//! What kind of world a seed makes: not every fault in every world, so that rare
//! combinations get their turn and quiet worlds show what needs no fault.

use crate::rng::Rng;

/// The options of one world. Chances are per million; times in milliseconds.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many devices there are.
    pub devices: usize,
    /// How long the faults last.
    pub chaos_ms: u64,
    /// How many things users do at most.
    pub user_acts_max: u64,
    /// Time between two things that users do.
    pub user_pause_ms: (u64, u64),
    /// Time between two faults.
    pub fault_pause_ms: (u64, u64),
    /// How long a message is under way.
    pub latency_ms: (u64, u64),
    /// How long a disk takes to make something durable.
    pub disk_ms: (u64, u64),
    /// That a device dies between two effects.
    pub crash: u64,
    /// That a message gets lost although the link stays.
    pub lost: u64,
    /// That a message of a link that is gone arrives on the next one.
    pub stale: u64,
    /// That messages are encoded and decoded on their way.
    pub encoded: bool,
    /// Which faults happen at all.
    pub faults: Vec<FaultKind>,
    /// Wall clocks are off by up to this.
    pub skew_ms: u64,
    /// Monotonic clocks run fast or slow by up to this, per mille.
    pub drift: u64,
    /// How many sessions users work on.
    pub sessions: usize,
    /// That two devices trust each other from the start.
    pub paired: u64,
    /// That users change their trust.
    pub trust_changes: u64,
    /// That users go on with a session that another device left.
    pub hand_over: u64,
}

/// A fault that happens at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// A device dies and comes back soon.
    Crash,
    /// A device is off for long.
    Off,
    /// A link breaks.
    Cut,
    /// Two devices, or two groups, cannot reach each other for a while.
    Partition,
    /// One direction of a link stands still.
    Clog,
    /// A device comes back with the disk of an earlier day.
    Restore,
}

impl Options {
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        use FaultKind as F;
        let mut faults = Vec::new();
        for kind in [F::Crash, F::Off, F::Cut, F::Cut, F::Partition, F::Clog] {
            if rng.chance(500_000) {
                faults.push(kind);
            }
        }
        // A restored disk breaks promises that hold otherwise; it gets worlds of
        // its own, so that those promises are tested in all others.
        if rng.chance(200_000) {
            faults.push(F::Restore);
        }
        let rarely =
            |rng: &mut Rng, chance: u64, value: u64| if rng.chance(chance) { value } else { 0 };
        let slow = rng.chance(250_000);
        Self {
            devices: usize::try_from(rng.between(2, 6)).unwrap_or(2),
            chaos_ms: rng.between(20_000, 240_000),
            user_acts_max: rng.between(5, 60),
            user_pause_ms: if rng.chance(300_000) {
                (50, 800)
            } else {
                (500, 12_000)
            },
            fault_pause_ms: (1_000, rng.between(5_000, 40_000)),
            latency_ms: if slow { (20, 3_000) } else { (0, 60) },
            disk_ms: if rng.chance(300_000) {
                (0, 400)
            } else {
                (0, 12)
            },
            crash: rarely(rng, 400_000, 6_000),
            lost: rarely(rng, 250_000, 20_000),
            stale: rarely(rng, 300_000, 50_000),
            encoded: rng.chance(125_000),
            faults,
            skew_ms: rarely(rng, 500_000, 2 * 365 * 86_400_000),
            drift: rarely(rng, 500_000, 100),
            sessions: usize::try_from(rng.between(1, 6)).unwrap_or(1),
            paired: if rng.chance(500_000) {
                1_000_000
            } else {
                600_000
            },
            trust_changes: rarely(rng, 500_000, 80_000),
            hand_over: if rng.chance(500_000) {
                700_000
            } else {
                200_000
            },
        }
    }
}
