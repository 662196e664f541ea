//! Finding devices in the local network by multicast DNS. What is heard there is
//! unauthenticated: a hint where to dial, never a reason to believe, to forget or
//! to close anything. We announce a name drawn at random at every start, the
//! device id, and whether an invitation stands; no name of host, user or project.
//!
//! Nothing is cached: an announcement is understood from its packet alone or not
//! at all, so that nobody can make us remember. `packet` is what is said, `plan`
//! when, `budget` how much is listened to, `sightings` what is remembered;
//! `interfaces` and `cast` are the system's part.

mod budget;
mod cast;
mod interfaces;
mod packet;
mod plan;
mod sightings;

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ccpeer_core::id::DeviceId;
use ccpeer_core::limits;
use tokio::sync::Notify;

pub use interfaces::{Interface, Skipped};
pub(crate) use packet::Announced as Announcement;

use crate::address::{self, Loopback};
use crate::{Listen, NetEvent, Shared};
use budget::Budget;
use cast::{Cast, Packet};
use packet::{Announced, Heard, Own, Statement};
use plan::Plan;
use sightings::{Record, Sightings};

/// How often the interfaces are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(3);
/// Pause before sockets that failed are opened again.
const REOPEN_AFTER: Duration = Duration::from_secs(5);
/// Pause when more is heard than is listened to.
const DEAF_FOR: Duration = Duration::from_millis(20);
/// Packets that are read in a row.
const READS_IN_A_ROW: usize = 64;

/// Discovery, as the rest of the crate sees it.
pub(crate) struct Discovery {
    me: DeviceId,
    loopback: Loopback,
    sightings: Mutex<Sightings>,
    pairing: AtomicBool,
    /// The announcement must be made anew, and the question asked again.
    refresh: Notify,
    /// Something was sighted.
    sighted: Notify,
    over: AtomicBool,
    running: Mutex<Running>,
}

/// What is going on.
#[derive(Default)]
struct Running {
    cast: Option<Arc<Cast>>,
    name: String,
    failed: Option<String>,
    own_heard: Option<Instant>,
    dropped: u64,
}

/// What discovery can tell about itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hearing {
    /// Whether it listens by IPv4 and by IPv6.
    pub families: (bool, bool),
    /// Why it does not listen, if so.
    pub failed: Option<String>,
    /// How long ago our own announcement was last heard.
    pub own_heard: Option<Duration>,
    /// Other devices, and how long ago they were last heard.
    pub others: Vec<(DeviceId, Duration)>,
    /// Packets that were not looked at, because there were too many.
    pub dropped: u64,
}

impl Discovery {
    pub(crate) fn new(me: DeviceId, loopback: Loopback) -> Self {
        Self {
            me,
            loopback,
            sightings: Mutex::default(),
            pairing: AtomicBool::new(false),
            refresh: Notify::new(),
            sighted: Notify::new(),
            over: AtomicBool::new(false),
            running: Mutex::default(),
        }
    }

    /// Says, or no longer says, that an invitation stands.
    pub(crate) fn set_pairing(&self, open: bool) {
        if self.pairing.swap(open, Ordering::AcqRel) != open {
            self.refresh();
        }
    }

    /// Announces us and asks who is there, now.
    pub(crate) fn refresh(&self) {
        self.refresh.notify_one();
    }

    /// Devices that say that an invitation stands, the latest first.
    pub(crate) fn inviting(&self) -> Vec<(DeviceId, Vec<SocketAddr>)> {
        let mut all = self.sightings().inviting(Instant::now());
        for (_, addrs) in &mut all {
            addrs.retain(|a| self.loopback.admits(a));
        }
        all.retain(|(_, addrs)| !addrs.is_empty());
        all
    }

    /// Waits until something is sighted.
    pub(crate) fn sighted(&self) -> tokio::sync::futures::Notified<'_> {
        self.sighted.notified()
    }

    pub(crate) fn hearing(&self) -> Hearing {
        let now = Instant::now();
        let others = self.sightings().heard(now);
        let running = self.running();
        Hearing {
            families: running
                .cast
                .as_ref()
                .map_or((false, false), |c| c.families()),
            failed: running.failed.clone(),
            own_heard: running.own_heard.map(|at| now.duration_since(at)),
            others,
            dropped: running.dropped,
        }
    }

    /// Takes the announcement back and ends.
    pub(crate) async fn stop(&self, shared: &Shared) {
        self.over.store(true, Ordering::Release);
        self.take_back(shared).await;
        self.running().cast = None;
    }

    /// Takes the announcement back.
    pub(crate) async fn take_back(&self, shared: &Shared) {
        let (cast, own) = {
            let running = self.running();
            let own = self.own(shared, running.name.clone());
            (running.cast.clone(), own)
        };
        if let (Some(cast), Some(own)) = (cast, own) {
            self.tell(shared, &cast, &own, false).await;
        }
    }

    /// What we say of ourselves, unless we are not to be reached.
    fn own(&self, shared: &Shared, name: String) -> Option<Own> {
        let bound = shared.endpoint.bound_sockets().first().copied()?;
        Some(Own {
            name,
            device: self.me,
            inviting: self.pairing.load(Ordering::Acquire),
            port: bound.port(),
        })
    }

    async fn tell(&self, shared: &Shared, cast: &Cast, own: &Own, there: bool) {
        for interface in &cast.interfaces {
            let ips: Vec<IpAddr> = match shared.listen {
                Listen::Addr(addr) if !addr.ip().is_unspecified() => {
                    let listens = |ip: &&IpAddr| **ip == addr.ip();
                    interface.ips.iter().filter(listens).copied().collect()
                }
                _ => interface.ips.clone(),
            };
            if ips.is_empty() {
                continue;
            }
            match packet::announcement(own, &ips, there) {
                Ok(bytes) => cast.say(interface, &bytes).await,
                Err(error) => tracing::warn!(%error, "cannot announce this device"),
            }
        }
    }

    fn sightings(&self) -> MutexGuard<'_, Sightings> {
        self.sightings
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Announces us and takes in what is found, until the network ends.
pub(crate) async fn run(shared: Arc<Shared>) {
    let Some(discovery) = &shared.discovery else {
        return;
    };
    let Some(name) = random_name() else {
        tracing::warn!("no randomness for a name: multicast discovery does not start");
        return;
    };
    discovery.running().name.clone_from(&name);
    let mut plan = Plan::new(Instant::now());
    let mut budget = Budget::new(Instant::now());
    let mut told = false;
    loop {
        match usable(discovery.loopback).and_then(Cast::open) {
            Ok(cast) => {
                told = false;
                let cast = Arc::new(cast);
                {
                    let mut running = discovery.running();
                    running.cast = Some(Arc::clone(&cast));
                    running.failed = None;
                }
                plan.refresh(Instant::now());
                let attending = attend(&shared, discovery, &cast, &mut plan, &mut budget);
                if let Err(error) = attending.await {
                    tracing::warn!(%error, "multicast discovery begins anew");
                    tokio::time::sleep(REOPEN_AFTER).await;
                }
            }
            Err(error) => {
                // Said once, until it has worked again.
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!(%error, "multicast discovery does not start");
                }
                discovery.running().failed = Some(error.to_string());
                tokio::time::sleep(REOPEN_AFTER).await;
            }
        }
    }
}

fn random_name() -> Option<String> {
    let mut random = [0u8; 8];
    getrandom::fill(&mut random).ok()?;
    Some(random.iter().map(|b| format!("{b:02x}")).collect())
}

/// All interfaces of this machine, used or not.
pub(crate) fn interfaces(listen: Listen) -> Vec<Interface> {
    interfaces::all(crate::endpoint::loopback_of(listen)).unwrap_or_default()
}

fn usable(loopback: Loopback) -> std::io::Result<Vec<Interface>> {
    let mut all = interfaces::all(loopback)?;
    all.retain(|i| i.skipped.is_none());
    Ok(all)
}

/// Speaks and listens until the interfaces are others.
async fn attend(
    shared: &Shared,
    discovery: &Discovery,
    cast: &Cast,
    plan: &mut Plan,
    budget: &mut Budget,
) -> std::io::Result<()> {
    let name = discovery.running().name.clone();
    let question = packet::question().map_err(std::io::Error::other)?;
    let mut look = tokio::time::interval(LOOK_EVERY);
    let mut heard = Packet::new();
    loop {
        let next = plan.next();
        let due = async {
            match next {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            ready = cast.heard(&mut heard) => {
                ready?;
                for _ in 0..READS_IN_A_ROW {
                    let now = Instant::now();
                    if heard.len > 0 && budget.admits(heard.from, now) {
                        take(shared, discovery, &heard, &name, plan).await;
                    }
                    if !budget.may_read(now) {
                        discovery.running().dropped = budget.dropped;
                        tokio::time::sleep(DEAF_FOR).await;
                    }
                    if !cast.next(&mut heard)? {
                        break;
                    }
                }
                discovery.running().dropped = budget.dropped;
            }
            () = discovery.refresh.notified() => plan.refresh(Instant::now()),
            _ = look.tick() => {
                if usable(discovery.loopback)? != cast.interfaces {
                    tracing::debug!("the interfaces have changed");
                    return Ok(());
                }
                plan.missing(shared.board.somebody_is_missing(), Instant::now());
            }
            () = due => {
                let now = Instant::now();
                let silent = shared.board.is_paused();
                if plan.asks(now) && !silent {
                    for interface in &cast.interfaces {
                        cast.say(interface, &question).await;
                    }
                }
                if plan.tells(now)
                    && !silent
                    && !discovery.over.load(Ordering::Acquire)
                    && let Some(own) = discovery.own(shared, name.clone())
                {
                    discovery.tell(shared, cast, &own, true).await;
                }
            }
        }
    }
}

async fn take(shared: &Shared, discovery: &Discovery, heard: &Packet, name: &str, plan: &mut Plan) {
    match packet::hear(heard.bytes(), name) {
        Heard::Question => {
            let mut byte = [0u8; 1];
            let _ = getrandom::fill(&mut byte);
            plan.asked(Instant::now(), f64::from(byte[0]) / 255.0);
        }
        Heard::Statements(statements) => {
            for statement in statements {
                believe(shared, discovery, &statement, heard.from).await;
            }
        }
        Heard::Nothing => {}
    }
}

/// Takes in what a packet from this address says.
async fn believe(shared: &Shared, discovery: &Discovery, statement: &Statement, from: IpAddr) {
    let announced = match statement {
        Statement::Here(announced) => announced,
        Statement::Gone(name) => return discovery.sightings().gone(name),
    };
    let now = Instant::now();
    if announced
        .device()
        .is_some_and(|(device, _)| device == discovery.me)
    {
        discovery.running().own_heard = Some(now);
        return;
    }
    let Some(record) = record_of(announced, &discovery.me) else {
        return;
    };
    let device = record.device;
    let trusted = shared.board.is_trusted(&device);
    let addrs = {
        let mut sightings = discovery.sightings();
        if !sightings.sight(record, from, trusted, now) {
            return;
        }
        sightings.addrs(&device)
    };
    discovery.sighted.notify_waiters();
    if let Some(addrs) = shared.board.found(&device, &addrs) {
        let _ = shared
            .links
            .events
            .send(NetEvent::Found { device, addrs })
            .await;
    }
}

/// What a packet of these bytes from there does: for tests.
#[cfg(test)]
pub(crate) async fn hear(shared: &Shared, discovery: &Discovery, bytes: &[u8], from: IpAddr) {
    if let Heard::Statements(statements) = packet::hear(bytes, "test") {
        for statement in statements {
            believe(shared, discovery, &statement, from).await;
        }
    }
}

/// An announcement of another device, in bytes.
pub(crate) fn announcement_of(
    name: &str,
    device: DeviceId,
    at: SocketAddr,
    inviting: bool,
    there: bool,
) -> Option<Vec<u8>> {
    let own = Own {
        name: name.to_owned(),
        device,
        inviting,
        port: at.port(),
    };
    packet::announcement(&own, &[at.ip()], there).ok()
}

/// Everything that a packet announces and that passes the filter. Pure.
pub(crate) fn heard(bytes: &[u8], me: &DeviceId) -> Vec<Record> {
    let Heard::Statements(statements) = packet::hear(bytes, "") else {
        return Vec::new();
    };
    let records = statements.iter().filter_map(|s| match s {
        Statement::Here(announced) => record_of(announced, me),
        Statement::Gone(_) => None,
    });
    records.collect()
}

/// The filter for everything that is heard by multicast: the record of another
/// device, if it is one. Pure.
pub(crate) fn record_of(announced: &Announced, me: &DeviceId) -> Option<Record> {
    let (device, inviting) = announced.device()?;
    if device == *me {
        return None;
    }
    let to_addr = |ip: &IpAddr| SocketAddr::new(*ip, announced.port);
    let mut addrs: Vec<_> = announced.ips.iter().map(to_addr).collect();
    addrs.retain(address::is_dialable);
    // IPv4 first: in a home network it is the one that works.
    addrs.sort_unstable();
    addrs.dedup();
    addrs.truncate(limits::ADDRESSES_PER_PEER_MAX);
    let name = announced.name.clone();
    (!addrs.is_empty()).then_some(Record {
        device,
        name,
        addrs,
        inviting,
    })
}
