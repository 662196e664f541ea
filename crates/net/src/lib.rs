//! Whom we reach: discovery, links, chunk streams and the pairing handshake.
//!
//! This crate knows the core and nothing else: no files, no store, no formats.
//! Keys, trust and addresses arrive as values. It owns the transport (iroh, so
//! QUIC with the device key as identity) and multicast discovery; no type of
//! either shows in its interface. The wire protocol is in docs/PROTOCOL.md.
//!
//! Where to look first: [`start`], [`Net`] and [`NetEvent`] are the whole door.
//! Inside, `switchboard` takes all decisions about links, `supervisor` runs
//! them, `link` is one of them, `chunks` moves content (`packing` packs it),
//! `pairing` makes strangers into peers and `discovery` finds them. `probe` shows
//! each decoder of foreign bytes as a pure function, for fuzzing and for hostile
//! peers in tests.
#![warn(missing_docs)]
#![warn(clippy::indexing_slicing)]

mod address;
mod book;
mod chunks;
mod discovery;
mod endpoint;
mod error;
mod former;
mod frame;
mod link;
mod packing;
mod pairing;
pub mod probe;
pub mod relay;
mod supervisor;
mod switchboard;
mod tasks;
#[cfg(test)]
mod tests;
mod timing;
pub mod web;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ccpeer_core::id::{ChunkId, DeviceId};
use ccpeer_core::limits;
use ccpeer_core::manifest::Want;
use ccpeer_core::sync::effect::Fault;
use ccpeer_core::sync::event::{FetchFault, Received};
use ccpeer_core::wire::{Hello, Message};
use iroh::{Endpoint, Watcher};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

pub use chunks::{Ask, ChunkAnswer, ChunkSource, Fetched, parcel};
pub use discovery::{Hearing, Interface, Skipped};
pub use endpoint::{PAIR_ALPN, SYNC_ALPN};
pub use error::{DialOutcome, DownReason, LinkFault, NetError};
pub use former::LastWords;
pub use pairing::{
    Answerer, Invite, InviteEvent, InviteFailure, InviteOptions, Join, JoinEvent, JoinFailure,
    JoinOptions, JoinSecret, PeerCard, SecretError, SecretKind,
};

use discovery::Discovery;
use endpoint::Gate;
use link::LinkContext;
use pairing::Pairing;
use relay::{Relay, RelayStatus, Relays};
use switchboard::Switchboard;
use tasks::Tasks;
use timing::Timing;

/// What the network needs to know at its start.
pub struct Config {
    /// The device's Ed25519 key; its public half is the device id.
    pub secret: [u8; 32],
    /// Where to listen.
    pub listen: Listen,
    /// Whether to announce ourselves and look for others in the local network.
    pub mdns: bool,
    /// What we say first on every link. Its incarnation is drawn at every start.
    pub hello: Hello,
    /// With whom links are kept.
    pub trusted: BTreeSet<DeviceId>,
    /// Addresses that worked before, or were typed.
    pub addresses: BTreeMap<DeviceId, Vec<SocketAddr>>,
    /// Relays for peers that cannot be reached directly; none unless the user
    /// names one.
    pub relays: Vec<Relay>,
    /// Begin without links, as after [`Net::pause`].
    pub paused: bool,
}

/// Where to listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listen {
    /// On all interfaces, IPv4 and IPv6 on the same port.
    Any {
        /// The UDP port; 0 picks a free one.
        port: u16,
    },
    /// On this address alone.
    Addr(SocketAddr),
}

/// What happened on the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetEvent {
    /// A link is up and both have said hello. Followed by exactly one `Down`.
    Up {
        /// Who, as proved by its key.
        device: DeviceId,
        /// What it says of itself, stripped.
        hello: Hello,
        /// Where it is reached.
        addr: Option<SocketAddr>,
        /// How it is reached.
        path: PathKind,
    },
    /// The link is gone.
    Down {
        /// Who.
        device: DeviceId,
        /// Why.
        reason: DownReason,
    },
    /// A peer said this. Entries are verified.
    Received {
        /// Who.
        device: DeviceId,
        /// What.
        received: Received,
    },
    /// A trusted device was seen under these addresses; worth saving.
    Found {
        /// Who, as far as an unauthenticated announcement tells.
        device: DeviceId,
        /// Where.
        addrs: Vec<SocketAddr>,
    },
    /// Two machines use this device's key: after another life of it was linked,
    /// an earlier one is back. Told once for each device and start.
    Cloned {
        /// Which device.
        device: DeviceId,
    },
    /// Our own addresses changed.
    OwnAddrs(Vec<SocketAddr>),
}

/// How a peer is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathKind {
    /// Straight.
    Direct,
    /// Over a relay.
    Relay,
}

/// A trusted device, as seen from the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerStatus {
    /// Who.
    pub device: DeviceId,
    /// Whether a link is up.
    pub connected: bool,
    /// Whether its last word was that it does not trust us.
    pub refused: bool,
    /// Whether it said that we were revoked.
    pub revoked: bool,
    /// How it is reached, while connected.
    pub path: Option<PathKind>,
    /// Where it is reached, while connected directly.
    pub addr: Option<SocketAddr>,
    /// Milliseconds of a round trip, while connected.
    pub rtt_ms: Option<u64>,
    /// What it calls itself, while connected; stripped.
    pub name: Option<String>,
}

/// How a trusted device is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// Which.
    pub device: DeviceId,
    /// Where it would be dialled, the most promising first.
    pub addrs: Vec<SocketAddr>,
    /// How long ago it was last dialled, and how that ended.
    pub dialled: Option<(Duration, DialOutcome)>,
}

/// Numbers that only grow, for the status view and for tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Frames of linked peers that were parsed.
    pub frames: u64,
    /// Connections that the gate refused before a byte was read.
    pub refused: u64,
    /// Chunks that peers asked for and were answered.
    pub chunks_served: u64,
    /// Attempts to pair that reached the key exchange.
    pub pair_attempts: u64,
}

/// Opens the endpoint and starts to keep links with all trusted devices.
///
/// The receiver must be drained: while it is full, nothing is read from peers.
///
/// # Errors
/// If the socket cannot be opened. Multicast discovery that cannot start is no
/// error: known addresses still work.
pub async fn start(
    config: Config,
    chunks: Arc<dyn ChunkSource>,
) -> Result<(Net, mpsc::Receiver<NetEvent>), NetError> {
    start_with(config, chunks, Timing::default()).await
}

async fn start_with(
    config: Config,
    source: Arc<dyn ChunkSource>,
    timing: Timing,
) -> Result<(Net, mpsc::Receiver<NetEvent>), NetError> {
    let relays = Arc::new(Relays::new(config.relays));
    let me = endpoint::device_of(&iroh::SecretKey::from_bytes(&config.secret).public());
    let loopback = endpoint::loopback_of(config.listen);
    let board = Arc::new(Switchboard::new(me, loopback, Arc::clone(&relays), timing));
    let counters = Arc::new(Counters::default());
    let gate = Gate::new(Arc::clone(&board), Arc::clone(&counters));
    let pairing = Pairing::new(Arc::clone(&gate.pairing_open));
    let endpoint = endpoint::open(&config.secret, config.listen, &relays, gate, &timing).await?;
    let (events, receiver) = mpsc::channel(limits::DRIVER_QUEUE_MAX);
    let links = LinkContext {
        events,
        source,
        timing,
        counters,
    };
    let discovery = config.mdns.then(|| Discovery::new(me, loopback));
    let shared = Arc::new(Shared {
        me,
        hello: link::shown(config.hello),
        listen: config.listen,
        relays,
        endpoint,
        board,
        links,
        timing,
        pairing,
        discovery,
        former: OnceLock::new(),
        dials: Semaphore::new(limits::DIALS_MAX),
        tasks: Tasks::new(),
    });
    for (device, addrs) in config.addresses {
        // The first one is the most promising: it is learned last.
        for addr in addrs.into_iter().rev() {
            shared.board.learn(device, addr);
        }
    }
    shared.board.set_paused(config.paused);
    supervisor::supervise(&shared, shared.board.set_trusted(config.trusted));
    shared.tasks.spawn(supervisor::accept(Arc::clone(&shared)));
    shared.tasks.spawn(watch_own_addrs(Arc::clone(&shared)));
    shared.tasks.spawn(relay::watch(Arc::clone(&shared)));
    if shared.discovery.is_some() {
        shared.tasks.spawn(discovery::run(Arc::clone(&shared)));
    }
    Ok((Net(shared), receiver))
}

/// A handle to the running network.
#[derive(Clone)]
pub struct Net(Arc<Shared>);

/// What all tasks of one network share.
struct Shared {
    me: DeviceId,
    hello: Hello,
    listen: Listen,
    relays: Arc<Relays>,
    endpoint: Endpoint,
    board: Arc<Switchboard>,
    links: LinkContext,
    timing: Timing,
    pairing: Pairing,
    discovery: Option<Discovery>,
    former: OnceLock<former::Former>,
    dials: Semaphore,
    tasks: Tasks,
}

impl Shared {
    async fn use_relay(&self, relay: Relay) -> bool {
        let added = self.relays.add(relay);
        if added {
            self.relays.tell(&self.endpoint).await;
            self.board.encourage_all();
        }
        added
    }
}

#[derive(Debug, Default)]
struct Counters {
    frames: AtomicU64,
    refused: AtomicU64,
    chunks_served: Arc<AtomicU64>,
    pair_attempts: AtomicU64,
}

impl Shared {
    fn look_around(&self) {
        self.board.encourage_all();
        if let Some(discovery) = &self.discovery {
            discovery.refresh();
        }
    }
}

impl Net {
    /// Our own id.
    #[must_use]
    pub fn device(&self) -> DeviceId {
        self.0.me
    }

    /// Says something to a peer. False if there is no link. A peer that does not
    /// listen fast enough loses its link and catches up with the next one.
    pub fn send(&self, to: DeviceId, message: Message) -> bool {
        self.0
            .board
            .link(&to)
            .is_some_and(|link| link.send(message))
    }

    /// Says something as soon as the peer's queue has room: for long runs of
    /// entries. False if there is no link, or no longer.
    pub async fn send_paced(&self, to: DeviceId, message: Message) -> bool {
        match self.0.board.link(&to) {
            Some(link) => link.send_paced(message).await,
            None => false,
        }
    }

    /// Closes the link to a device.
    pub fn disconnect(&self, device: DeviceId, fault: Fault) {
        if let Some(link) = self.0.board.link(&device) {
            link.close(match fault {
                Fault::NotTrusted => DownReason::NotTrustedHere,
                Fault::Revoked => DownReason::RevokedHere,
                Fault::TooMany => DownReason::Full,
                Fault::Misbehaviour | Fault::ForeignLog => DownReason::ClosedHere,
            });
        }
    }

    /// Replaces the set of trusted devices: links to others end before this
    /// returns, and new ones are dialled.
    pub fn set_trusted(&self, trusted: BTreeSet<DeviceId>) {
        supervisor::supervise(&self.0, self.0.board.set_trusted(trusted));
    }

    /// Replaces the set of devices that are told that they were revoked, instead of
    /// only that they are not trusted, and that cannot be paired with. To be said
    /// before [`Net::set_trusted`].
    pub fn set_revoked(&self, revoked: BTreeSet<DeviceId>) {
        self.0.board.set_revoked(revoked);
    }

    /// Ends all links before this returns, closes an invitation that stands, and
    /// from now on dials, lets in and announces nobody, until [`Net::resume`]. A
    /// relay that is used stays connected; nobody is let in over it either.
    pub async fn pause(&self) {
        self.0.board.set_paused(true);
        pairing::inviter::close(&self.0);
        if let Some(discovery) = &self.0.discovery {
            discovery.take_back(&self.0).await;
        }
    }

    /// Makes links again.
    pub fn resume(&self) {
        self.0.board.set_paused(false);
        self.0.look_around();
    }

    /// Gives the keys that this device used before, the latest first, and what was
    /// said with them. A peer that was away when a key was replaced, and that
    /// refuses the new one, is told so under the old one. Counts once.
    pub fn set_former(&self, secrets: Vec<[u8; 32]>, words: Arc<dyn LastWords>) {
        let former = former::Former::new(secrets, words);
        // A later call has nothing to add: keys change between two starts.
        let _ = self.0.former.set(former);
    }

    /// Asks a peer for chunks, on a stream of its own. Each want is answered once,
    /// in order, as its content arrives; content has been checked against its id.
    /// What came along ([`Ask::since`]) follows as content that was not asked for.
    /// What the peer has sent in a [`parcel`] is not asked for.
    /// If the receiver ends early, the rest did not come ([`FetchFault::Link`]).
    /// Dropping the receiver gives the fetch up.
    #[must_use]
    pub fn fetch(&self, from: DeviceId, ask: impl Into<Ask>) -> mpsc::Receiver<Fetched> {
        let mut ask = ask.into();
        let (answers, receiver) = mpsc::channel(limits::FETCH_ANSWERS_MAX);
        let shared = Arc::clone(&self.0);
        self.0.tasks.spawn(async move {
            let Some(link) = shared.board.link(&from) else {
                for want in ask.wants {
                    let _ = answers.send((want, Err(FetchFault::Link))).await;
                }
                return;
            };
            for answer in link.parcel.answer(&mut ask.wants) {
                if answers.send(answer).await.is_err() {
                    return;
                }
            }
            let heard = || link.heard();
            let fetched = chunks::fetch(&link.conn, &ask, &answers, &shared.timing, heard).await;
            if let Err(fault) = fetched {
                link.close(DownReason::Fault(fault));
            }
        });
        receiver
    }

    /// What a peer has sent in a [`parcel`] and was not asked for yet.
    #[must_use]
    pub fn ahead_of(&self, from: DeviceId) -> Vec<ChunkId> {
        let link = self.0.board.link(&from);
        link.map_or_else(Vec::new, |link| link.parcel.ids())
    }

    /// What of this a peer has sent in a [`parcel`], as [`Net::fetch`] would answer
    /// it, and without waiting. What is answered is taken from `wants`.
    pub fn sent_ahead(&self, from: DeviceId, wants: &mut Vec<Want>) -> Vec<Fetched> {
        let link = self.0.board.link(&from);
        link.map_or_else(Vec::new, |link| link.parcel.answer(wants))
    }

    /// All trusted devices.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerStatus> {
        let status =
            |(device, link, refused, revoked): (DeviceId, Option<Arc<link::Link>>, bool, bool)| {
                let path = link.as_ref().map(|l| l.path());
                let ms = |rtt: Duration| u64::try_from(rtt.as_millis()).unwrap_or(u64::MAX);
                PeerStatus {
                    device,
                    connected: link.is_some(),
                    refused,
                    revoked,
                    path: path.map(|p| p.kind),
                    addr: path.and_then(|p| p.addr),
                    rtt_ms: path.and_then(|p| p.rtt).map(ms),
                    name: link.map(|l| l.hello.name.clone()),
                }
            };
        self.0.board.peers().into_iter().map(status).collect()
    }

    /// Under which addresses others can reach us.
    #[must_use]
    pub fn listen_addrs(&self) -> Vec<SocketAddr> {
        endpoint::own_addrs(&self.0.endpoint, self.0.listen)
    }

    /// The port on which we listen: to be kept, so that a restart has the same.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.0
            .endpoint
            .bound_sockets()
            .first()
            .map(SocketAddr::port)
    }

    /// Tells where a device may be reached; it is dialled at once if trusted.
    pub fn add_address(&self, device: DeviceId, addr: SocketAddr) {
        self.0.board.learn(device, addr);
    }

    /// Dials everybody who is not linked, without waiting for the next attempt,
    /// asks the others for a sign of life, and looks around anew: after the machine
    /// has slept, or when somebody has just been paired.
    pub fn dial_now(&self) {
        self.0.look_around();
    }

    /// How each trusted device is looked for.
    #[must_use]
    pub fn reach(&self) -> Vec<Reach> {
        self.0.board.reach()
    }

    /// The interfaces of this machine, used or not.
    #[must_use]
    pub fn interfaces(&self) -> Vec<Interface> {
        discovery::interfaces(self.0.listen)
    }

    /// What is heard by multicast; nothing if it is off.
    #[must_use]
    pub fn hearing(&self) -> Option<Hearing> {
        self.0.discovery.as_ref().map(Discovery::hearing)
    }

    /// Announces this device and asks who is there, without dialling anybody.
    pub fn ask_around(&self) {
        if let Some(discovery) = &self.0.discovery {
            discovery.refresh();
        }
    }

    /// Where packets are taken, of each family.
    #[must_use]
    pub fn sockets(&self) -> Vec<SocketAddr> {
        self.0.endpoint.bound_sockets()
    }

    /// How the relay does; none while none is used.
    #[must_use]
    pub fn relay(&self) -> Option<RelayStatus> {
        self.0.relays.status()
    }

    /// Uses one more relay from now on. False if it is known, or there is no room.
    pub async fn add_relay(&self, relay: Relay) -> bool {
        self.0.use_relay(relay).await
    }

    /// Numbers since the start.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let counters = &self.0.links.counters;
        let get = |n: &AtomicU64| n.load(Ordering::Relaxed);
        Stats {
            frames: get(&counters.frames),
            refused: get(&counters.refused),
            chunks_served: get(&counters.chunks_served),
            pair_attempts: get(&counters.pair_attempts),
        }
    }

    /// Opens an invitation: for two minutes, one device that knows the code or
    /// the ticket may ask to be trusted. A second invitation ends the first.
    ///
    /// # Errors
    /// After too many failed attempts, for a while.
    pub async fn invite(&self, options: InviteOptions) -> Result<Invite, NetError> {
        pairing::inviter::invite(&self.0, options).await
    }

    /// Accepts an invitation.
    ///
    /// # Errors
    /// If the network is shut down. Everything else is told by the events.
    pub async fn join(&self, secret: JoinSecret, options: JoinOptions) -> Result<Join, NetError> {
        pairing::joiner::join(&self.0, secret, options).await
    }

    /// Says good-bye to everybody and ends. Takes a few milliseconds, at most
    /// four seconds.
    pub async fn shutdown(&self) {
        const LINKS_MAX: Duration = Duration::from_millis(500);
        const ENDPOINT_MAX: Duration = Duration::from_secs(3);
        const DISCOVERY_MAX: Duration = Duration::from_millis(500);
        pairing::inviter::close(&self.0);
        let links = self.0.board.close();
        let over = async {
            for link in &links {
                link.over().await;
            }
        };
        // Nobody may be taking events any more.
        let _ = timeout(LINKS_MAX, over).await;
        if let Some(discovery) = &self.0.discovery {
            let _ = timeout(DISCOVERY_MAX, discovery.stop(&self.0)).await;
        }
        let _ = timeout(ENDPOINT_MAX, self.0.endpoint.close()).await;
        self.0.tasks.end().await;
    }
}

/// Tells of changes of our own addresses, after which links may have to be found
/// again.
async fn watch_own_addrs(shared: Arc<Shared>) {
    let mut watcher = shared.endpoint.watch_addr();
    let mut last = Vec::new();
    loop {
        let now = endpoint::own_addrs(&shared.endpoint, shared.listen);
        if now != last {
            if !last.is_empty() {
                shared.look_around();
            }
            last.clone_from(&now);
            if shared
                .links
                .events
                .send(NetEvent::OwnAddrs(now))
                .await
                .is_err()
            {
                return;
            }
        }
        if watcher.updated().await.is_err() {
            return;
        }
    }
}
