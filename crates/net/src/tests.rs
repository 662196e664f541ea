//! Two and more real endpoints on the loopback interface, honest ones and ones
//! that do what no honest one does. Nothing here sleeps to let something happen:
//! every wait is for a condition and has a deadline.

mod alone;
mod bombs;
mod clones;
mod crowds;
mod discovery;
mod frames;
mod hostile;
mod links;
mod node;
mod pairing;
mod paused;
mod quiet;
mod relay;
mod replays;
mod rumours;
mod transfer;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ccpeer_core::entry::{Header, Payload, SignedEntry};
use ccpeer_core::id::{ChunkId, DeviceId, EntryHash, Epoch, LogId, Seq};
use ccpeer_core::log::Held;
use ccpeer_core::manifest::Want;
use ccpeer_core::time::Timestamp;
use ccpeer_core::wire::{Hello, Message};
use iroh::endpoint::{Connection, RecvStream, SendStream, presets};
use iroh::{Endpoint, EndpointAddr, EndpointId, SecretKey};
use tokio::sync::mpsc;

use crate::timing::Timing;
use crate::{ChunkAnswer, ChunkSource, Config, Listen, Net, NetEvent, SYNC_ALPN, start_with};

const DEADLINE: Duration = Duration::from_secs(10);

/// Ends a test that waits for something that does not come.
async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited too long for {what}"),
    }
}

/// Looks again and again until it holds.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    within(what, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

fn secret(n: u8) -> [u8; 32] {
    [n; 32]
}

fn device(n: u8) -> DeviceId {
    DeviceId(*SecretKey::from_bytes(&secret(n)).public().as_bytes())
}

fn hello(n: u8) -> Hello {
    let mut incarnation = [0u8; 16];
    getrandom::fill(&mut incarnation).unwrap();
    Hello {
        incarnation,
        name: format!("peer {n}"),
        os: "linux".into(),
        version: "0".into(),
    }
}

fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn config(n: u8, trusted: &[u8]) -> Config {
    Config {
        secret: secret(n),
        listen: Listen::Addr(loopback()),
        mdns: false,
        hello: hello(n),
        trusted: trusted.iter().map(|n| device(*n)).collect(),
        addresses: BTreeMap::new(),
        relays: Vec::new(),
        paused: false,
    }
}

#[derive(Default)]
struct Memory(Mutex<BTreeMap<ChunkId, Vec<u8>>>);

impl Memory {
    fn put(&self, content: Vec<u8>) -> ChunkId {
        let id = ChunkId::of(&content);
        self.0.lock().unwrap().insert(id, content);
        id
    }
}

/// Asking for this chunk brings the source down.
const PANICS: ChunkId = ChunkId([0xee; 32]);

impl ChunkSource for Memory {
    fn get(&self, _peer: &DeviceId, id: &ChunkId) -> ChunkAnswer {
        assert!(*id != PANICS, "asked for the forbidden chunk");
        let held = self.0.lock().unwrap().get(id).cloned();
        held.map_or(ChunkAnswer::NotHeld, ChunkAnswer::Content)
    }

    fn beyond(&self, _manifest: &[u8], _since: &ChunkId) -> Vec<ChunkId> {
        Vec::new()
    }
}

/// An honest network and what it reports.
struct Peer {
    n: u8,
    net: Net,
    events: mpsc::Receiver<NetEvent>,
    chunks: Arc<Memory>,
}

impl Peer {
    async fn start(n: u8, trusted: &[u8]) -> Self {
        Self::start_with(config(n, trusted), n, Timing::default()).await
    }

    async fn start_with(config: Config, n: u8, timing: Timing) -> Self {
        let chunks = Arc::new(Memory::default());
        let source = Arc::clone(&chunks) as Arc<dyn ChunkSource>;
        let (net, events) = start_with(config, source, timing).await.unwrap();
        Self {
            n,
            net,
            events,
            chunks,
        }
    }

    fn addr(&self) -> SocketAddr {
        self.net.listen_addrs()[0]
    }

    /// Tells where another one is; it is dialled if it is trusted.
    fn meet(&self, other: &Self) {
        self.net.add_address(device(other.n), other.addr());
    }

    async fn event<T>(&mut self, what: &str, mut wanted: impl FnMut(NetEvent) -> Option<T>) -> T {
        within(what, async {
            loop {
                let event = self.events.recv().await.expect("the network has ended");
                if let Some(found) = wanted(event) {
                    return found;
                }
            }
        })
        .await
    }

    async fn up(&mut self, n: u8) {
        self.event(&format!("a link to {n}"), |e| match e {
            NetEvent::Up { device: d, .. } if d == device(n) => Some(()),
            _ => None,
        })
        .await;
    }

    /// Links to all of these, in whichever order they come.
    async fn all_up(&mut self, others: &[u8]) {
        let mut missing: Vec<u8> = others.to_vec();
        self.event(&format!("links to {others:?}"), |e| {
            if let NetEvent::Up { device: d, .. } = e {
                missing.retain(|n| device(*n) != d);
            }
            missing.is_empty().then_some(())
        })
        .await;
    }

    async fn down(&mut self, n: u8) -> crate::DownReason {
        self.event(&format!("the end of the link to {n}"), |e| match e {
            NetEvent::Down { device: d, reason } if d == device(n) => Some(reason),
            _ => None,
        })
        .await
    }

    async fn received(&mut self, n: u8) -> ccpeer_core::sync::event::Received {
        self.event(&format!("a message of {n}"), |e| match e {
            NetEvent::Received {
                device: d,
                received,
            } if d == device(n) => Some(received),
            _ => None,
        })
        .await
    }

    fn trust(&self, trusted: &[u8]) {
        self.net
            .set_trusted(trusted.iter().map(|n| device(*n)).collect::<BTreeSet<_>>());
    }
}

/// Two that are linked.
async fn pair_of(a: u8, b: u8) -> (Peer, Peer) {
    let mut a = Peer::start(a, &[b]).await;
    let mut b = Peer::start(b, &[a.n]).await;
    a.meet(&b);
    a.up(b.n).await;
    b.up(a.n).await;
    (a, b)
}

/// An endpoint that speaks only as it is told.
struct Raw {
    endpoint: Endpoint,
}

impl Raw {
    async fn start(n: u8, alpns: &[&[u8]]) -> Self {
        let endpoint = Endpoint::builder(presets::Minimal)
            .secret_key(SecretKey::from_bytes(&secret(n)))
            .alpns(alpns.iter().map(|a| a.to_vec()).collect())
            .clear_ip_transports()
            .bind_addr(loopback())
            .unwrap()
            .bind()
            .await
            .unwrap();
        Self { endpoint }
    }

    fn addr(&self) -> SocketAddr {
        self.endpoint.bound_sockets()[0]
    }

    async fn connect(&self, to: &Peer, alpn: &[u8]) -> Connection {
        self.connect_at(to.n, to.addr(), alpn).await
    }

    async fn connect_at(&self, n: u8, addr: SocketAddr, alpn: &[u8]) -> Connection {
        let id = EndpointId::from_bytes(&device(n).0).unwrap();
        let target = EndpointAddr::new(id).with_ip_addr(addr);
        within("a connection", self.endpoint.connect(target, alpn))
            .await
            .unwrap()
    }

    /// A link on which both have said hello.
    async fn link(&self, n: u8, to: &Peer) -> (Connection, SendStream, RecvStream) {
        self.link_at(n, to.n, to.addr()).await
    }

    async fn link_at(
        &self,
        n: u8,
        to: u8,
        addr: SocketAddr,
    ) -> (Connection, SendStream, RecvStream) {
        let conn = self.connect_at(to, addr, SYNC_ALPN).await;
        let (_, send, recv) = within(
            "a hello",
            crate::link::greet(&conn, &hello(n), &Timing::default()),
        )
        .await
        .unwrap();
        (conn, send, recv)
    }
}

fn framed(bytes: &[u8]) -> Vec<u8> {
    crate::probe::framed(bytes)
}

/// Answers pings for as long as the link lives, as an honest peer would.
fn answer_pings(mut send: SendStream, mut recv: RecvStream) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        let limit = ccpeer_core::limits::MESSAGE_BYTES_MAX;
        while let Ok(frame) = crate::frame::read_frame(&mut recv, limit, None, DEADLINE).await {
            if let Ok(Message::Ping(n)) = Message::from_bytes(&frame)
                && send
                    .write_all(&framed(&Message::Pong(n).to_bytes()))
                    .await
                    .is_err()
            {
                return;
            }
        }
    })
}

fn key(n: u8) -> ed25519_dalek::SigningKey {
    ed25519_dalek::SigningKey::from_bytes(&secret(n))
}

/// The first entry of a device's log.
fn entry(n: u8) -> SignedEntry {
    let info = ccpeer_core::entry::DeviceInfo {
        name: format!("peer {n}"),
        os: "linux".into(),
    };
    let payload = Payload::Device(info).to_bytes(Timestamp(0));
    let header = Header {
        version: ccpeer_core::entry::ENTRY_VERSION,
        log: LogId {
            device: device(n),
            epoch: Epoch([n; 16]),
        },
        seq: Seq(1),
        prev: EntryHash::ZERO,
        lamport: 1,
        payload_hash: *blake3::hash(&payload).as_bytes(),
        payload_len: u32::try_from(payload.len()).unwrap(),
    };
    SignedEntry::sign(&header, payload, &key(n))
}

fn held(log: LogId, seq: u64) -> Held {
    Held {
        log,
        seq: Seq(seq),
        tip: [9; 8],
    }
}

/// A message that carries a number.
fn marked(n: u8) -> Message {
    Message::Complete(vec![Want::manifest(ChunkId([n; 32]))])
}
