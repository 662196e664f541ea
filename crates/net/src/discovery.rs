//! Finding devices in the local network by multicast DNS. What is heard there is
//! unauthenticated: a hint where to dial, never a reason to believe, to forget or
//! to close anything. We announce a name drawn at random at every start, the
//! device id, and whether an invitation stands; no name of host, user or project.

mod sightings;

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ccpeer_core::id::DeviceId;
use ccpeer_core::limits;
use mdns_sd::{
    IfKind, IfPredicate, Receiver, ResolvedService, ServiceDaemon, ServiceEvent, ServiceInfo,
};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::address::Loopback;
use crate::{Listen, NetEvent, Shared};
use sightings::{Record, Sightings};

const SERVICE: &str = "_ccpeer._udp.local.";
const VERSION: &str = "1";
/// A name in DNS is no longer, whatever the library hands on.
const NAME_BYTES_MAX: usize = 255;
/// How often the library's cache is looked at.
const CHECK_EVERY: Duration = Duration::from_secs(30);
/// Pause before discovery is started again after it ended by itself.
const RESTART_AFTER: Duration = Duration::from_secs(5);
/// Virtual networks of containers and virtual machines: nobody is there.
const VIRTUAL: [&str; 4] = ["docker", "br-", "virbr", "vmnet"];

/// Discovery, as the rest of the crate sees it.
pub(crate) struct Discovery {
    me: DeviceId,
    loopback: Loopback,
    sightings: Mutex<Sightings>,
    pairing: AtomicBool,
    /// The announcement must be made anew.
    announce: Notify,
    /// Something was sighted.
    sighted: Notify,
    daemon: Mutex<Option<(ServiceDaemon, String)>>,
}

impl Discovery {
    pub(crate) fn new(me: DeviceId, loopback: Loopback) -> Self {
        Self {
            me,
            loopback,
            sightings: Mutex::default(),
            pairing: AtomicBool::new(false),
            announce: Notify::new(),
            sighted: Notify::new(),
            daemon: Mutex::default(),
        }
    }

    /// Says, or no longer says, that an invitation stands.
    pub(crate) fn set_pairing(&self, open: bool) {
        if self.pairing.swap(open, Ordering::AcqRel) != open {
            self.announce.notify_one();
        }
    }

    /// Devices that say that an invitation stands, the latest first.
    pub(crate) fn inviting(&self) -> Vec<(DeviceId, Vec<SocketAddr>)> {
        let mut all = self.sightings().inviting();
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

    /// Takes the announcement back and ends.
    pub(crate) async fn stop(&self) {
        let running = self
            .daemon
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some((daemon, name)) = running else {
            return;
        };
        if let Ok(done) = daemon.unregister(&name) {
            let _ = done.recv_async().await;
        }
        if let Ok(done) = daemon.shutdown() {
            let _ = done.recv_async().await;
        }
    }

    fn sightings(&self) -> MutexGuard<'_, Sightings> {
        self.sightings
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Announces us and takes in what is found, until the network ends.
pub(crate) async fn run(shared: Arc<Shared>) {
    let Some(discovery) = &shared.discovery else {
        return;
    };
    loop {
        match begin(discovery) {
            Ok((daemon, events, name)) => {
                let kept = (daemon.clone(), format!("{name}.{SERVICE}"));
                *discovery
                    .daemon
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner) = Some(kept);
                attend(&shared, discovery, &daemon, events, &name).await;
                let _ = daemon.shutdown();
            }
            Err(error) => tracing::warn!(%error, "multicast discovery does not start"),
        }
        tokio::time::sleep(RESTART_AFTER).await;
    }
}

type Begun = (ServiceDaemon, Receiver<ServiceEvent>, String);

fn begin(discovery: &Discovery) -> mdns_sd::Result<Begun> {
    let daemon = ServiceDaemon::new()?;
    match discovery.loopback {
        Loopback::Refused => {
            daemon.disable_interface(vec![IfKind::LoopbackV4, IfKind::LoopbackV6])?;
            let virtual_one = IfPredicate::new(|i| VIRTUAL.iter().any(|v| i.name.starts_with(v)));
            daemon.disable_interface(IfKind::Predicate(virtual_one))?;
        }
        Loopback::Allowed => {
            daemon.disable_interface(IfKind::All)?;
            daemon.enable_interface(IfKind::LoopbackV4)?;
        }
    }
    let events = daemon.browse(SERVICE)?;
    let mut random = [0u8; 8];
    getrandom::fill(&mut random).map_err(|e| mdns_sd::Error::Msg(e.to_string()))?;
    let name = random.iter().map(|b| format!("{b:02x}")).collect();
    Ok((daemon, events, name))
}

async fn attend(
    shared: &Shared,
    discovery: &Discovery,
    daemon: &ServiceDaemon,
    events: Receiver<ServiceEvent>,
    name: &str,
) {
    let mut check = tokio::time::interval(CHECK_EVERY);
    let mut unchecked = 0;
    if let Err(error) = announce(shared, discovery, daemon, name) {
        tracing::warn!(%error, "cannot announce this device");
    }
    loop {
        tokio::select! {
            event = events.recv_async() => match event {
                Ok(event) => {
                    take(shared, discovery, event).await;
                    unchecked += 1;
                    // A flood fills the cache between two looks at the clock.
                    if unchecked >= limits::DISCOVERY_EVENTS_MAX {
                        check.reset_immediately();
                    }
                }
                // We fell behind, or the library ended: begin anew.
                Err(_) => return,
            },
            () = discovery.announce.notified() => {
                if let Err(error) = announce(shared, discovery, daemon, name) {
                    tracing::warn!(%error, "cannot announce this device");
                }
            }
            _ = check.tick() => {
                unchecked = 0;
                if overfull(daemon).await {
                    tracing::warn!("multicast discovery is flooded and starts anew");
                    return;
                }
            }
        }
    }
}

fn announce(
    shared: &Shared,
    discovery: &Discovery,
    daemon: &ServiceDaemon,
    name: &str,
) -> mdns_sd::Result<()> {
    let id = discovery.me.to_string();
    let mut texts = vec![("id", id.as_str()), ("v", VERSION)];
    if discovery.pairing.load(Ordering::Acquire) {
        texts.push(("pair", "1"));
    }
    let Some(bound) = shared.endpoint.bound_sockets().first().copied() else {
        return Ok(());
    };
    let host = format!("{name}.local.");
    let info = match shared.listen {
        Listen::Addr(addr) if !addr.ip().is_unspecified() => {
            ServiceInfo::new(SERVICE, name, &host, addr.ip(), bound.port(), &texts[..])?
        }
        _ => {
            ServiceInfo::new(SERVICE, name, &host, "", bound.port(), &texts[..])?.enable_addr_auto()
        }
    };
    daemon.register(info)
}

/// Whether somebody fills the library's cache, which has no bound of its own.
async fn overfull(daemon: &ServiceDaemon) -> bool {
    const ANSWER_MAX: Duration = Duration::from_secs(1);
    let Ok(answer) = daemon.get_metrics() else {
        return false;
    };
    match timeout(ANSWER_MAX, answer.recv_async()).await {
        Ok(Ok(metrics)) => metrics
            .iter()
            .any(|(name, n)| name.starts_with("cached-") && *n > limits::DISCOVERY_CACHE_MAX),
        _ => false,
    }
}

pub(crate) async fn take(shared: &Shared, discovery: &Discovery, event: ServiceEvent) {
    match event {
        ServiceEvent::ServiceResolved(service) => {
            let Some(record) = record_of(&service, &discovery.me) else {
                return;
            };
            let device = record.device;
            let trusted = shared.board.is_trusted(&device);
            let addrs = {
                let mut sightings = discovery.sightings();
                if !sightings.sight(record, trusted, Instant::now()) {
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
        ServiceEvent::ServiceRemoved(_, name) => discovery.sightings().gone(&name),
        _ => {}
    }
}

/// The record of another device, if it is one.
fn record_of(service: &ResolvedService, me: &DeviceId) -> Option<Record> {
    let announced = Announced {
        name: service.get_fullname(),
        port: service.get_port(),
        ips: service
            .get_addresses()
            .iter()
            .map(mdns_sd::ScopedIp::to_ip_addr)
            .collect(),
    };
    announced.record(me, |key| service.get_property_val_str(key))
}

/// What an announcement says besides its texts.
pub(crate) struct Announced<'a> {
    pub(crate) name: &'a str,
    pub(crate) port: u16,
    pub(crate) ips: Vec<IpAddr>,
}

impl Announced<'_> {
    /// The filter for everything that is heard by multicast. Pure.
    pub(crate) fn record<'t>(
        &self,
        me: &DeviceId,
        text: impl Fn(&str) -> Option<&'t str>,
    ) -> Option<Record> {
        if text("v") != Some(VERSION) || self.name.len() > NAME_BYTES_MAX {
            return None;
        }
        let device: DeviceId = text("id")?.parse().ok()?;
        if device == *me {
            return None;
        }
        let to_addr = |ip: &IpAddr| SocketAddr::new(*ip, self.port);
        let mut addrs: Vec<_> = self.ips.iter().map(to_addr).collect();
        addrs.retain(crate::address::is_dialable);
        // IPv4 first: in a home network it is the one that works.
        addrs.sort_unstable();
        addrs.dedup();
        addrs.truncate(limits::ADDRESSES_PER_PEER_MAX);
        let inviting = text("pair") == Some("1");
        let name = self.name.to_owned();
        (!addrs.is_empty()).then_some(Record {
            device,
            name,
            addrs,
            inviting,
        })
    }
}
