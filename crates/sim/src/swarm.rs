//! What kind of world a seed makes: not every fault in every world, so that rare
//! combinations get their turn and quiet worlds show what needs no fault.

use crate::rng::Rng;

/// The options of one world. Chances are per million; times in milliseconds.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many devices there are in the beginning.
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
    /// That a message arrives twice.
    pub duplicate: u64,
    /// That with a message one of long ago comes again, on a link that stands.
    pub replay: u64,
    /// That messages are encoded and decoded on their way.
    pub encoded: bool,
    /// Which faults happen at all.
    pub faults: Vec<FaultKind>,
    /// Wall clocks are off by up to this.
    pub skew_ms: u64,
    /// Monotonic clocks run fast or slow by up to this, per mille.
    pub drift: u64,
    /// Some devices are slower than others by up to this factor.
    pub slow: u64,
    /// How many sessions users work on.
    pub sessions: usize,
    /// That two devices trust each other from the start.
    pub paired: u64,
    /// That users change their trust.
    pub trust_changes: u64,
    /// That users go on with a session that another device left.
    pub hand_over: u64,
    /// What the hostile device does, if the last device is one.
    pub hostile: Option<Vec<Habit>>,
    /// That users change what others may have of a session.
    pub policies: u64,
}

/// A fault that happens at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    /// A device dies and comes back soon.
    Crash,
    /// A device is off for long.
    Off,
    /// A link breaks.
    Cut,
    /// A link breaks, and one of its ends believes in it for long.
    HalfOpen,
    /// Two groups cannot reach each other for a while, or only in one direction.
    Partition,
    /// One direction of a link stands still.
    Clog,
    /// Several directions stand still one after the other, and come back in
    /// another order.
    Swizzle,
    /// A disk is full for a while.
    DiskFull,
    /// A bit flips in a chunk on a disk.
    BitFlip,
    /// A user has everything on a disk read and checked.
    Verify,
    /// A wall clock jumps: to 1970, to 2106, by a year, or back a little.
    ClockStep,
    /// A lid is closed for minutes or hours.
    Sleep,
    /// A device comes back with the disk of an earlier day.
    Restore,
    /// A device is copied, key and all, and both go on.
    Clone,
    /// A device loses everything and is paired anew under a new key.
    NewKey,
}

/// What a hostile paired device does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Habit {
    /// Says again what it heard or said long ago.
    Replay,
    /// Says different things under one number to different devices.
    Equivocate,
    /// Keeps entries and chunks to itself that others are waiting for.
    Withhold,
    /// Claims to hold what it does not hold, and more than there is.
    Lie,
    /// Writes without end, in one epoch after the other.
    Flood,
    /// Says what others never said: their names, its signature.
    Forge,
    /// Passes entries on without what they say.
    Strip,
    /// Shares what is not what it is called.
    Malform,
    /// Answers with wrong bytes.
    WrongChunks,
    /// Says what cannot be decoded, or is too long.
    Garbage,
    /// Takes requests and never answers.
    Stall,
    /// Names what others wrote as what it is not: a manifest as a snapshot, a page
    /// as content.
    Misname,
    /// Revokes everybody, and adds whom nobody knows.
    Slander,
}

/// Every habit.
pub const HABITS: [Habit; 13] = [
    Habit::Replay,
    Habit::Equivocate,
    Habit::Withhold,
    Habit::Lie,
    Habit::Flood,
    Habit::Forge,
    Habit::Strip,
    Habit::Malform,
    Habit::WrongChunks,
    Habit::Garbage,
    Habit::Stall,
    Habit::Misname,
    Habit::Slander,
];

impl Options {
    /// The options of a seed's world.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        Self::draw(&mut Rng::new(seed))
    }

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
        let mut options = Self {
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
            duplicate: 0,
            replay: 0,
            encoded: rng.chance(125_000),
            faults,
            skew_ms: rarely(rng, 500_000, 2 * 365 * 86_400_000),
            drift: rarely(rng, 500_000, 100),
            slow: 1,
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
            hostile: None,
            policies: 0,
        };
        options.draw_rare(rng);
        // From a stream of its own: the worlds without it stay what they were.
        let mut own = Rng::new(rng.clone().next());
        options.policies = rarely(&mut own, 200_000, 150_000);
        options
    }

    fn draw_rare(&mut self, rng: &mut Rng) {
        use FaultKind as F;
        let kinds = [
            (F::HalfOpen, 300_000),
            (F::Swizzle, 250_000),
            (F::DiskFull, 200_000),
            (F::BitFlip, 200_000),
            (F::ClockStep, 300_000),
            (F::Sleep, 200_000),
            (F::Clone, 80_000),
            (F::NewKey, 120_000),
        ];
        for (kind, chance) in kinds {
            if rng.chance(chance) {
                self.faults.push(kind);
            }
        }
        if self.has(F::BitFlip) {
            self.faults.extend([F::BitFlip, F::Verify]);
        }
        if rng.chance(200_000) {
            self.duplicate = 20_000;
        }
        if rng.chance(200_000) {
            self.replay = 20_000;
        }
        if rng.chance(250_000) {
            self.slow = rng.between(3, 30);
        }
        // Now and then a lid is closed over night, and everything takes hours.
        if self.has(F::Sleep) && rng.chance(150_000) {
            let hours = rng.between(1, 4);
            self.chaos_ms = hours * 3_600_000;
            self.user_pause_ms = (1_000, hours * 120_000);
            self.fault_pause_ms = (10_000, hours * 300_000);
        }
        if rng.chance(150_000) {
            let mut habits: Vec<Habit> = Vec::new();
            for habit in HABITS {
                if rng.chance(350_000) {
                    habits.push(habit);
                }
            }
            self.devices = self.devices.max(3);
            self.hostile = Some(habits);
        }
    }

    /// Whether a fault happens in this world.
    #[must_use]
    pub fn has(&self, kind: FaultKind) -> bool {
        self.faults.contains(&kind)
    }

    /// Whether a log may have two branches here.
    #[must_use]
    pub fn may_fork(&self) -> bool {
        self.has(FaultKind::Restore) || self.has(FaultKind::Clone) || self.hostile.is_some()
    }
}
