//! A world: devices, links, disks and users on one virtual clock, driven by one
//! queue of happenings that is ordered by time and number.
//!
//! A run has two phases. In the **safety** phase everything may fail, and the
//! checks run after every step. Then the world **heals**: devices come back,
//! links hold, and within bounded virtual time everybody must hold what he is
//! entitled to.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use ccpeer_core::entry::{VerifiedEntry, device_of};
use ccpeer_core::id::{ChunkId, DeviceId, EntryHash, Epoch, SessionId};
use ccpeer_core::sync::effect::Effect;
use ccpeer_core::sync::machine::Machine;
use ccpeer_core::time::{Instant, Timestamp};
use ed25519_dalek::SigningKey;

use crate::check::TrustModel;
use crate::disk::{Disk, Image, Memo};
use crate::driver::{After, Job};
use crate::mutants::Mutant;
use crate::network::{Network, Packet};
use crate::rng::Rng;
use crate::swarm::Options;
use crate::trace::{Brief, LINES_MAX, Line, Trace};

/// How long a healed world may take to agree.
pub const HEAL_MS_MAX: u64 = 30 * 60_000;
/// Steps after which a world is called endless.
pub const STEPS_MAX: u64 = 400_000;

/// What came of one seed.
#[derive(Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// The kind of world.
    pub options: Options,
    /// Things that happened.
    pub steps: u64,
    /// Entries that were written.
    pub entries: u64,
    /// Messages that were sent.
    pub messages: u64,
    /// Chunks that travelled.
    pub chunks: u64,
    /// How long the world took to agree after it had healed.
    pub healed_ms: u64,
    /// Hash over everything that happened.
    pub trace_hash: u64,
    /// What went wrong, if anything did.
    pub failure: Option<Failure>,
    /// The last lines of the trace, or all of them.
    pub lines: Vec<Line>,
}

/// A broken invariant.
#[derive(Debug, Clone)]
pub struct Failure {
    /// Which one, as in docs/SIMULATION.md.
    pub invariant: &'static str,
    /// At which step.
    pub step: u64,
    /// At which virtual time, in milliseconds.
    pub at: u64,
    /// What exactly.
    pub detail: String,
}

/// How to run a seed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Run {
    /// A bug to plant.
    pub mutant: Option<Mutant>,
    /// Keep every line of the trace.
    pub whole_trace: bool,
}

/// Runs one seed.
#[must_use]
pub fn run(seed: u64, how: Run) -> Outcome {
    let mut world = World::new(seed, how);
    let panic = catch_unwind(AssertUnwindSafe(|| world.live())).err();
    if let Some(panic) = panic {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied());
        world.fail("panic", text.unwrap_or("panic without words").to_owned());
    }
    Outcome {
        seed,
        options: world.options,
        steps: world.trace.steps,
        entries: world.counts.entries,
        messages: world.counts.messages,
        chunks: world.counts.chunks,
        healed_ms: world.counts.healed_ms,
        trace_hash: world.trace.hash(),
        failure: world.failure,
        lines: world.trace.lines().cloned().collect(),
    }
}

pub(crate) struct World {
    pub(crate) options: Options,
    pub(crate) mutant: Option<Mutant>,
    pub(crate) rng: Rng,
    pub(crate) now: u64,
    queue: BTreeMap<(u64, u64), Happening>,
    number: u64,
    pub(crate) devices: Vec<Device>,
    pub(crate) by_id: BTreeMap<DeviceId, usize>,
    pub(crate) net: Network,
    pub(crate) chaos: bool,
    pub(crate) trace: Trace,
    pub(crate) failure: Option<Failure>,
    pub(crate) counts: Counts,
    /// Every entry that was ever signed: its signature need not be checked again.
    pub(crate) genuine: HashMap<EntryHash, Rc<VerifiedEntry>>,
    /// Entries that were durable at their author at some time.
    pub(crate) durable_once: BTreeSet<EntryHash>,
    /// Who ever held which root whole and durably.
    pub(crate) whole_once: BTreeSet<(usize, ChunkId)>,
    pub(crate) sessions: Vec<SessionId>,
    /// Roots that are snapshots and not manifests.
    pub(crate) snapshots: BTreeSet<ChunkId>,
    pub(crate) memo: Memo,
    pub(crate) user_acts: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) entries: u64,
    pub(crate) messages: u64,
    pub(crate) chunks: u64,
    pub(crate) healed_ms: u64,
}

pub(crate) struct Device {
    pub(crate) key: SigningKey,
    pub(crate) id: DeviceId,
    /// Counts its lives: what was meant for an earlier one is dropped.
    pub(crate) life: u32,
    pub(crate) machine: Option<Machine>,
    pub(crate) disk: Disk,
    pub(crate) backup: Option<Image>,
    pub(crate) inbox: VecDeque<Job>,
    pub(crate) effects: VecDeque<Effect>,
    /// The disk is syncing; what comes after it.
    pub(crate) busy: Option<After>,
    pub(crate) links: BTreeMap<usize, LinkEnd>,
    pub(crate) tick: u64,
    boot: u64,
    base: u64,
    rate: u64,
    skew_ms: i64,
    pub(crate) model: TrustModel,
    /// Entries of its own whose durability a user was told of.
    pub(crate) acked: BTreeSet<EntryHash>,
    /// The version of a session that lies in the user's directory here.
    pub(crate) placed: BTreeMap<SessionId, EntryHash>,
    pub(crate) restated: u32,
}

/// One end of a link, as its driver sees it.
#[derive(Debug)]
pub(crate) struct LinkEnd {
    pub(crate) id: u64,
    /// Chunks that were asked for and not answered.
    pub(crate) asked: BTreeSet<ChunkId>,
}

pub(crate) enum Happening {
    /// A disk has synced.
    Synced {
        device: usize,
        life: u32,
    },
    Tick {
        device: usize,
        life: u32,
        tick: u64,
    },
    /// A piece of work that was done beside the driver.
    Job {
        device: usize,
        life: u32,
        job: Box<Job>,
    },
    Deliver {
        from: usize,
        to: usize,
        link: u64,
        number: u64,
        packet: Packet,
    },
    LinkUp {
        device: usize,
        peer: usize,
        link: u64,
    },
    LinkDown {
        device: usize,
        peer: usize,
        link: u64,
    },
    Start {
        device: usize,
    },
    Close {
        ends: (usize, usize),
        link: u64,
    },
    Dial,
    User,
    Fault,
    Look,
}

impl World {
    fn new(seed: u64, how: Run) -> Self {
        let mut rng = Rng::new(seed);
        let options = Options::draw(&mut rng);
        let mut devices = Vec::new();
        for n in 0..options.devices {
            let mut secret = [0u8; 32];
            secret[0] = n as u8 + 1;
            let key = SigningKey::from_bytes(&secret);
            let mut disk = Disk::fresh(Epoch(rng.bytes()));
            disk.forgetful = how.mutant == Some(Mutant::LostFsync) && n == 0;
            let skew = rng.between(0, 2 * options.skew_ms) as i64 - options.skew_ms as i64;
            devices.push(Device {
                id: device_of(&key),
                key,
                life: 0,
                machine: None,
                disk,
                backup: None,
                inbox: VecDeque::new(),
                effects: VecDeque::new(),
                busy: None,
                links: BTreeMap::new(),
                tick: 0,
                boot: 0,
                base: 0,
                rate: 1000 - options.drift + rng.below(2 * options.drift + 1),
                skew_ms: skew,
                model: TrustModel::default(),
                acked: BTreeSet::new(),
                placed: BTreeMap::new(),
                restated: 0,
            });
        }
        let sessions = (0..options.sessions)
            .map(|_| SessionId(rng.bytes()))
            .collect();
        Self {
            by_id: devices.iter().enumerate().map(|(n, d)| (d.id, n)).collect(),
            options,
            mutant: how.mutant,
            rng,
            now: 0,
            queue: BTreeMap::new(),
            number: 0,
            devices,
            net: Network::default(),
            chaos: true,
            trace: Trace::new(if how.whole_trace {
                usize::MAX
            } else {
                LINES_MAX
            }),
            failure: None,
            counts: Counts::default(),
            genuine: HashMap::new(),
            durable_once: BTreeSet::new(),
            whole_once: BTreeSet::new(),
            sessions,
            snapshots: BTreeSet::new(),
            memo: Memo::default(),
            user_acts: 0,
        }
    }

    /// Both phases.
    fn live(&mut self) {
        for device in 0..self.devices.len() {
            self.start(device);
        }
        self.first_trust();
        self.at(500, Happening::Dial);
        self.at(1_000, Happening::User);
        self.at(2_000, Happening::Fault);
        self.at(5_000, Happening::Look);
        self.run_until(self.options.chaos_ms);
        self.heal();
        let start = self.now;
        while self.failure.is_none() {
            self.run_until(self.now + 5_000);
            let Some(why) = self.disagreement() else {
                break;
            };
            if self.now - start > HEAL_MS_MAX {
                self.fail("L1", why);
            }
        }
        self.counts.healed_ms = self.now - start;
        if self.failure.is_none() {
            self.check_everything();
        }
    }

    fn run_until(&mut self, end: u64) {
        while self.failure.is_none() {
            let Some(entry) = self.queue.first_entry().filter(|e| e.key().0 <= end) else {
                break;
            };
            let ((at, _), happening) = entry.remove_entry();
            self.now = at;
            self.happen(happening);
            if self.trace.steps > STEPS_MAX {
                self.fail("S9", format!("more than {STEPS_MAX} steps"));
            }
        }
        self.now = self.now.max(end);
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Synced { device, life } => {
                if self.is_alive(device, life) {
                    self.synced(device);
                }
            }
            Happening::Tick { device, life, tick } => {
                if self.is_alive(device, life) && self.devices[device].tick == tick {
                    self.give(device, Job::Event(ccpeer_core::sync::event::Event::Tick));
                }
            }
            Happening::Job { device, life, job } => {
                if self.is_alive(device, life) {
                    self.give(device, *job);
                }
            }
            Happening::Deliver {
                from,
                to,
                link,
                number,
                packet,
            } => {
                let arrives = self.net.deliver(from, to, link, number);
                self.arrive(from, to, arrives, packet);
            }
            Happening::LinkUp { device, peer, link } => self.link_up(device, peer, link),
            Happening::LinkDown { device, peer, link } => self.link_down(device, peer, link),
            Happening::Close { ends, link } => {
                if self.net.links.get(&ends).is_some_and(|l| l.id == link) {
                    self.close(ends, 2_000);
                }
            }
            Happening::Start { device } => {
                if self.devices[device].machine.is_none() {
                    self.start(device);
                }
            }
            Happening::Dial => {
                self.dial();
                let pause = self.rng.between(500, 3_000);
                self.after(pause, Happening::Dial);
            }
            Happening::User if self.chaos && self.user_acts < self.options.user_acts_max => {
                self.user_acts += 1;
                self.user();
                let (low, high) = self.options.user_pause_ms;
                let pause = self.rng.between(low, high);
                self.after(pause, Happening::User);
            }
            Happening::Fault if self.chaos => {
                self.fault();
                let (low, high) = self.options.fault_pause_ms;
                let pause = self.rng.between(low, high);
                self.after(pause, Happening::Fault);
            }
            Happening::User | Happening::Fault => {}
            Happening::Look => {
                let device = self.rng.index(self.devices.len());
                self.check_lineage(device);
                self.check_bounds(device);
                self.after(15_000, Happening::Look);
            }
        }
    }

    pub(crate) fn at(&mut self, time: u64, happening: Happening) {
        self.number += 1;
        self.queue.insert((time, self.number), happening);
    }

    pub(crate) fn after(&mut self, ms: u64, happening: Happening) {
        self.at(self.now + ms, happening);
    }

    pub(crate) fn is_alive(&self, device: usize, life: u32) -> bool {
        self.devices[device].life == life && self.devices[device].machine.is_some()
    }

    pub(crate) fn fail(&mut self, invariant: &'static str, detail: String) {
        if self.failure.is_none() {
            let step = self.trace.steps;
            self.failure = Some(Failure {
                invariant,
                step,
                at: self.now,
                detail,
            });
        }
    }

    pub(crate) fn note(&mut self, device: usize, what: Brief) {
        self.trace.note(self.now, device, what);
    }

    /// The device's monotonic clock.
    pub(crate) fn clock(&self, device: usize) -> Instant {
        let d = &self.devices[device];
        Instant(d.base + (self.now - d.boot) * d.rate / 1000)
    }

    /// How long until the device's clock shows `at`.
    pub(crate) fn until(&self, device: usize, at: Instant) -> u64 {
        let left = at.since_ms(self.clock(device));
        (left.saturating_mul(1000) / self.devices[device].rate.max(1))
            .saturating_add(u64::from(left > 0))
    }

    /// The device's wall clock.
    pub(crate) fn wall(&self, device: usize) -> Timestamp {
        let real = 1_700_000_000_000 + self.now as i64;
        Timestamp(u64::try_from(real + self.devices[device].skew_ms).unwrap_or(0))
    }

    pub(crate) fn boot_clock(&mut self, device: usize) {
        let base = self.rng.below(1_000_000);
        let now = self.now;
        let d = &mut self.devices[device];
        d.boot = now;
        d.base = base;
    }

    fn heal(&mut self) {
        self.chaos = false;
        self.net.blocked.clear();
        self.net.clogged.clear();
        // A link that a partition silenced is found dead. The others stay: what
        // was lost on them must be made good without a new beginning.
        for ends in self.net.silenced() {
            self.close(ends, 1_000);
        }
        for device in 0..self.devices.len() {
            if self.devices[device].machine.is_none() {
                self.after(1_000, Happening::Start { device });
            }
        }
    }
}
