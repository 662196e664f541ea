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
use ccpeer_core::id::{ChunkId, DeviceId, EntryHash, Epoch, LogId, SessionId};
use ccpeer_core::manifest::Want;
use ccpeer_core::sharing::Sharing;
use ccpeer_core::sync::effect::Effect;
use ccpeer_core::sync::machine::Machine;
use ccpeer_core::wire::Message;
use ed25519_dalek::SigningKey;

use crate::adversary::Adversary;
use crate::check::TrustModel;
use crate::clock::Clock;
use crate::disk::{Disk, Image, Memo};
use crate::driver::{After, Job, Then};
use crate::mutants::Mutant;
use crate::network::{Network, Packet};
use crate::rng::Rng;
use crate::swarm::Options;
use crate::trace::{Brief, LINES_MAX, Line, Trace};

/// How long a healed world may take to agree, whatever happened in it.
pub const HEAL_MS_MAX: u64 = 30 * 60_000;
/// Steps after which a world is called endless.
pub const STEPS_MAX: u64 = 400_000;
/// More of them in worlds that last for hours: a peer that comes and goes all the
/// time costs a few questions each time.
const STEPS_MORE_PER_HOUR: u64 = 400_000;

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
    /// Hops between the two devices that are furthest apart.
    pub diameter: u64,
    /// How long the world existed.
    pub lived_ms: u64,
    /// Things that users did.
    pub acts: u64,
    /// What happened to it, and how often.
    pub faults: BTreeMap<&'static str, u64>,
    /// What every device holds in the end, without labels.
    pub holdings: Vec<String>,
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
    /// All wall clocks are right, and stay so.
    pub good_clocks: bool,
    /// Describe in the end what every device holds.
    pub holdings: bool,
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
    let holdings = if how.holdings {
        world.holdings()
    } else {
        Vec::new()
    };
    Outcome {
        seed,
        holdings,
        diameter: world.diameter(),
        lived_ms: world.now,
        acts: world.user_acts,
        faults: world.counts.faults,
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
    pub(crate) good_clocks: bool,
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
    pub(crate) whole_once: BTreeSet<(usize, Want)>,
    pub(crate) sessions: Vec<SessionId>,
    /// Entries that were stated when they were not for others.
    pub(crate) kept: BTreeSet<EntryHash>,
    /// Entries that their author has shown without what they say.
    pub(crate) withheld: BTreeSet<EntryHash>,
    pub(crate) memo: Memo,
    pub(crate) user_acts: u64,
    /// Every chunk that a user's directory ever held: a capture cuts files anew
    /// and finds again what the disk has lost.
    pub(crate) library: HashMap<ChunkId, Rc<Vec<u8>>>,
    /// Words of long ago, to be said again.
    pub(crate) heard: VecDeque<(DeviceId, DeviceId, Message)>,
    pub(crate) adversary: Option<Adversary>,
}

#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) entries: u64,
    pub(crate) messages: u64,
    pub(crate) chunks: u64,
    pub(crate) healed_ms: u64,
    pub(crate) faults: BTreeMap<&'static str, u64>,
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
    pub(crate) clock: Clock,
    /// Its lid is closed: what comes to it meanwhile waits here.
    pub(crate) asleep: bool,
    pub(crate) held: Vec<Happening>,
    /// It will never start again.
    pub(crate) gone: bool,
    pub(crate) hostile: bool,
    /// Its disk was once that of an earlier day, or is a copy of another one, or
    /// was copied.
    pub(crate) may_fork: bool,
    /// How many times slower it is than others.
    pub(crate) slow: u64,
    /// Logs of which it told its user that they have two branches.
    pub(crate) reported: BTreeSet<LogId>,
    /// Damage that was found while a commit was under way.
    pub(crate) lost: BTreeSet<ChunkId>,
    /// Roots in which damage was found, and which have to come back.
    pub(crate) broken: BTreeSet<Want>,
    pub(crate) model: TrustModel,
    /// Whom the network lets in and serves beside the driver: what the machine said
    /// when it last told of a change, which is after it was durable.
    pub(crate) gate: BTreeSet<DeviceId>,
    /// Whose offers its user takes without being asked.
    pub(crate) introducers: BTreeSet<DeviceId>,
    /// What its user lets others have.
    pub(crate) sharing: Sharing,
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
    pub(crate) asked: BTreeSet<Want>,
}

pub(crate) enum Happening {
    /// What stands at a barrier is durable.
    Synced {
        device: usize,
        life: u32,
        write: u64,
    },
    /// Chunks that were written beside the driver are durable.
    Kept {
        device: usize,
        life: u32,
        write: u64,
        then: Then,
    },
    /// Users look at what a liar made of their devices.
    Reconcile,
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
    /// Nothing came for too long in answer to a request.
    Stalled {
        device: usize,
        peer: usize,
        link: u64,
        asked: Vec<Want>,
    },
    Start {
        device: usize,
    },
    Wake {
        device: usize,
    },
    Close {
        link: u64,
    },
    Clog {
        from: usize,
        to: usize,
        until: u64,
    },
    DiskFree {
        device: usize,
    },
    Dial,
    User,
    Fault,
    Mischief,
    Look,
}

impl Happening {
    /// Whom it happens to, if a sleeper does not notice it.
    fn sleeper(&self) -> Option<usize> {
        match self {
            Self::Synced { device, .. }
            | Self::Kept { device, .. }
            | Self::Tick { device, .. }
            | Self::Job { device, .. }
            | Self::LinkUp { device, .. }
            | Self::LinkDown { device, .. }
            | Self::Stalled { device, .. } => Some(*device),
            Self::Deliver { to, .. } => Some(*to),
            Self::Start { .. }
            | Self::Wake { .. }
            | Self::Close { .. }
            | Self::Clog { .. }
            | Self::DiskFree { .. }
            | Self::Dial
            | Self::User
            | Self::Fault
            | Self::Mischief
            | Self::Reconcile
            | Self::Look => None,
        }
    }
}

impl Device {
    pub(crate) fn new(key: SigningKey, disk: Disk, clock: Clock) -> Self {
        Self {
            id: device_of(&key),
            life: 0,
            machine: None,
            disk,
            backup: None,
            inbox: VecDeque::new(),
            effects: VecDeque::new(),
            busy: None,
            links: BTreeMap::new(),
            tick: 0,
            clock,
            asleep: false,
            held: Vec::new(),
            gone: false,
            hostile: false,
            may_fork: false,
            slow: 1,
            reported: BTreeSet::new(),
            lost: BTreeSet::new(),
            broken: BTreeSet::new(),
            model: TrustModel::nobodys(device_of(&key)),
            gate: BTreeSet::new(),
            introducers: BTreeSet::new(),
            sharing: Sharing::default(),
            acked: BTreeSet::new(),
            placed: BTreeMap::new(),
            restated: 0,
            key,
        }
    }
}

impl World {
    fn new(seed: u64, how: Run) -> Self {
        let mut rng = Rng::new(seed);
        let options = Options::draw(&mut rng);
        let mut devices = Vec::new();
        for n in 0..options.devices {
            let mut disk = Disk::fresh(Epoch(rng.bytes()));
            disk.forgetful = how.mutant == Some(Mutant::LostFsync) && n == 0;
            let clock = Clock::draw(&options, &mut rng);
            let mut device = Device::new(key(n), disk, clock);
            if options.slow > 1 && rng.chance(400_000) {
                device.slow = rng.between(2, options.slow);
            }
            device.hostile = options.hostile.is_some() && n + 1 == options.devices;
            devices.push(device);
        }
        let adversary = options
            .hostile
            .as_ref()
            .map(|habits| Adversary::new(devices.len() - 1, habits, &mut rng));
        let sessions = (0..options.sessions)
            .map(|_| SessionId(rng.bytes()))
            .collect();
        Self {
            by_id: devices.iter().enumerate().map(|(n, d)| (d.id, n)).collect(),
            options,
            mutant: how.mutant,
            good_clocks: how.good_clocks,
            kept: BTreeSet::new(),
            withheld: BTreeSet::new(),
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
            memo: Memo::default(),
            user_acts: 0,
            library: HashMap::new(),
            heard: VecDeque::new(),
            adversary,
        }
    }

    /// Both phases.
    fn live(&mut self) {
        for device in self.honest() {
            self.start(device);
        }
        self.first_trust();
        self.at(500, Happening::Dial);
        self.at(1_000, Happening::User);
        self.at(2_000, Happening::Fault);
        if self.adversary.is_some() {
            self.at(3_000, Happening::Mischief);
        }
        self.at(5_000, Happening::Look);
        self.run_until(self.options.chaos_ms);
        self.heal();
        let start = self.now;
        let bound = self.heal_bound();
        while self.failure.is_none() {
            self.run_until(self.now + 5_000);
            let Some(why) = self.disagreement() else {
                break;
            };
            if self.now - start > bound {
                self.fail("L1", format!("after {} s: {why}", bound / 1_000));
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
            let hours = self.options.chaos_ms / 3_600_000;
            let steps_max = STEPS_MAX + hours * STEPS_MORE_PER_HOUR;
            if self.trace.steps > steps_max {
                self.fail("S9", format!("more than {steps_max} steps"));
            }
        }
        self.now = self.now.max(end);
    }

    pub(crate) fn happen(&mut self, happening: Happening) {
        if let Some(sleeper) = happening.sleeper()
            && self.devices[sleeper].asleep
        {
            return self.devices[sleeper].held.push(happening);
        }
        match happening {
            Happening::Synced {
                device,
                life,
                write,
            } => {
                if self.is_alive(device, life) {
                    self.synced(device, write);
                }
            }
            Happening::Kept {
                device,
                life,
                write,
                then,
            } => {
                if self.is_alive(device, life) {
                    self.kept(device, write, then);
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
                let arrives = self.net.deliver(link, (from, to), number);
                self.arrive(from, to, arrives, packet);
            }
            Happening::LinkUp { device, peer, link } => self.link_up(device, peer, link),
            Happening::LinkDown { device, peer, link } => self.link_down(device, peer, link),
            Happening::Stalled {
                device,
                peer,
                link,
                asked,
            } => self.stalled(device, peer, link, asked),
            Happening::Close { link } => self.close(link, 2_000),
            Happening::Start { device } => {
                if self.devices[device].machine.is_none() {
                    self.start(device);
                }
            }
            Happening::Wake { device } => self.wake(device),
            Happening::Clog { from, to, until } => {
                if self.chaos {
                    self.net.clogged.insert((from, to), until);
                }
            }
            Happening::DiskFree { device } => self.devices[device].disk.full = false,
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
            Happening::Mischief => self.mischief(),
            Happening::Reconcile => self.undo_slander(),
            Happening::User | Happening::Fault => {}
            Happening::Look => {
                let honest = self.honest();
                if let Some(device) = self.rng.pick(&honest).copied() {
                    self.check_lineage(device);
                    self.check_bounds(device);
                }
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

    /// Something happened to the world.
    pub(crate) fn count(&mut self, what: &'static str) {
        *self.counts.faults.entry(what).or_default() += 1;
    }

    /// The devices that run the machine.
    pub(crate) fn honest(&self) -> Vec<usize> {
        let all = 0..self.devices.len();
        all.filter(|d| !self.devices[*d].hostile && !self.devices[*d].gone)
            .collect()
    }

    /// The devices that run right now, and are not asleep.
    pub(crate) fn awake(&self) -> Vec<usize> {
        let all = 0..self.devices.len();
        all.filter(|d| self.devices[*d].machine.is_some() && !self.devices[*d].asleep)
            .collect()
    }

    /// The device of this name that another one is linked with; without a link
    /// the first one of that name.
    pub(crate) fn peer_of(&self, device: usize, id: &DeviceId) -> Option<usize> {
        let mut linked = self.devices[device].links.keys();
        let linked = linked.find(|peer| self.devices[**peer].id == *id);
        linked.or_else(|| self.by_id.get(id)).copied()
    }

    fn heal(&mut self) {
        self.chaos = false;
        self.net.blocked.clear();
        self.net.clogged.clear();
        // A link that a partition silenced is found dead. The others stay: what
        // was lost on them must be made good without a new beginning.
        for link in self.net.silenced() {
            self.close(link, 1_000);
        }
        self.reopen();
        for device in self.honest() {
            self.devices[device].disk.full = false;
            if self.devices[device].asleep {
                self.wake(device);
            }
            if self.devices[device].machine.is_none() {
                self.after(1_000, Happening::Start { device });
            }
        }
        self.after(3_000, Happening::Reconcile);
    }
}

/// The key of the n-th device of a world.
pub(crate) fn key(n: usize) -> SigningKey {
    let mut secret = [0u8; 32];
    secret[0] = n as u8 + 1;
    SigningKey::from_bytes(&secret)
}
