//! A whole device on a real network: the machine that ships, carried out on
//! memory instead of a disk. What it holds and what it was told can be looked at.

use std::time::Instant;

use ccpeer_core::entry::{ContentRef, DeviceInfo, SessionMeta, TrustChange, Version};
use ccpeer_core::id::{EntryHash, SessionId};
use ccpeer_core::log::Frontier;
use ccpeer_core::manifest::{
    ChunkRef, FileEntry, MANIFEST_VERSION, Manifest, Origin, PathFlavour, ProjectIdentity, Segment,
    Slot, Want, WantKind,
};
use ccpeer_core::presence::SessionState;
use ccpeer_core::store::{Batch, Recovered};
use ccpeer_core::sync::effect::{Effect, Fault, Notice};
use ccpeer_core::sync::event::{Event, FetchFault};
use ccpeer_core::sync::machine::Machine;
use ccpeer_core::{limits, time};

use super::*;
use crate::DownReason;

/// A device.
pub(super) struct Node {
    pub(super) n: u8,
    pub(super) net: Net,
    state: Arc<Mutex<State>>,
}

/// What happened to it.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    pub(super) notices: Vec<Notice>,
    pub(super) ups: Vec<DeviceId>,
    pub(super) downs: Vec<(DeviceId, DownReason)>,
    pub(super) disconnected: Vec<(DeviceId, Fault)>,
    pub(super) cloned: Vec<DeviceId>,
}

impl Seen {
    /// How many links there were with a device, and how they ended.
    pub(super) fn links_of(&self, n: u8) -> (usize, Vec<DownReason>) {
        let ups = self.ups.iter().filter(|d| **d == device(n)).count();
        let downs = self.downs.iter().filter(|(d, _)| *d == device(n));
        (ups, downs.map(|(_, reason)| *reason).collect())
    }
}

/// Everything that a replay must not change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Standing {
    frontier: Frontier,
    trusted: Vec<DeviceId>,
    revoked: Vec<DeviceId>,
    versions: usize,
    disk: BTreeMap<LogId, Vec<SignedEntry>>,
}

impl Standing {
    pub(super) fn log(&self, log: &LogId) -> &[SignedEntry] {
        self.disk.get(log).map_or(&[], Vec::as_slice)
    }

    /// Everything but how far one log is held.
    pub(super) fn beside(mut self, log: &LogId) -> Self {
        self.frontier.0.remove(log);
        self.disk.remove(log);
        self.versions = 0;
        self
    }
}

struct State {
    machine: Machine,
    net: Net,
    key: ed25519_dalek::SigningKey,
    chunks: Arc<Memory>,
    disk: BTreeMap<LogId, Vec<SignedEntry>>,
    seen: Seen,
    begun: Instant,
    wake: Option<Instant>,
    inbox: mpsc::UnboundedSender<Event>,
    published: u32,
}

impl Node {
    /// Starts a device that trusts these.
    pub(super) async fn start(n: u8, trusted: &[u8]) -> Self {
        Self::start_with(n, trusted, config(n, trusted), Timing::default()).await
    }

    pub(super) async fn start_with(n: u8, trusted: &[u8], config: Config, timing: Timing) -> Self {
        let chunks = Arc::new(Memory::default());
        let source = Arc::clone(&chunks) as Arc<dyn ChunkSource>;
        let (net, events) = start_with(config, source, timing).await.unwrap();
        let mut author = Author::new(n);
        let mut entries = vec![author.device()];
        entries.extend(trusted.iter().map(|t| author.trust(*t)));
        let recovered = Recovered {
            epoch: author.log.epoch,
            entries: entries
                .iter()
                .map(|e| e.clone().verify().unwrap())
                .collect(),
            complete: BTreeSet::new(),
        };
        let (inbox, given) = mpsc::unbounded_channel();
        let mut state = State {
            machine: Machine::recover(device(n), recovered, u64::from(n)),
            net: net.clone(),
            key: key(n),
            chunks,
            disk: BTreeMap::from([(author.log, entries)]),
            seen: Seen::default(),
            begun: Instant::now(),
            wake: None,
            inbox,
            published: 0,
        };
        let effects = state.machine.start(time::Instant(0));
        state.carry_out(effects);
        let state = Arc::new(Mutex::new(state));
        tokio::spawn(drive(Arc::clone(&state), events, given));
        Self { n, net, state }
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.net.listen_addrs()[0]
    }

    /// Tells where another one is.
    pub(super) fn meet(&self, other: &Self) {
        self.net.add_address(device(other.n), other.addr());
    }

    pub(super) fn seen(&self) -> Seen {
        self.state.lock().unwrap().seen.clone()
    }

    pub(super) fn standing(&self) -> Standing {
        let state = self.state.lock().unwrap();
        let machine = &state.machine;
        Standing {
            frontier: machine.frontier(),
            trusted: machine.trusted().copied().collect(),
            revoked: machine.revoked().copied().collect(),
            versions: machine.sessions().map(|(_, s)| s.nodes().count()).sum(),
            disk: state.disk.clone(),
        }
    }

    /// How many entries of a log it holds.
    pub(super) fn holds(&self, log: &LogId) -> u64 {
        self.state.lock().unwrap().machine.frontier().get(log).0
    }

    /// The entries of a log that it holds.
    pub(super) fn log(&self, log: &LogId) -> Vec<SignedEntry> {
        let state = self.state.lock().unwrap();
        state.disk.get(log).cloned().unwrap_or_default()
    }

    /// Its own log.
    pub(super) fn own_log(&self) -> LogId {
        author_log(self.n)
    }

    /// States something.
    pub(super) fn state(&self, payload: &Payload) {
        self.state.lock().unwrap().append(payload);
    }

    /// Captures a session with this content; the answer is its manifest.
    pub(super) fn publish(&self, content: &[u8]) -> ChunkId {
        self.state.lock().unwrap().publish(content)
    }

    pub(super) fn is_complete(&self, manifest: &ChunkId) -> bool {
        let state = self.state.lock().unwrap();
        state.machine.is_complete(&Want::manifest(*manifest))
    }

    /// Keeps a chunk that nobody has spoken of.
    pub(super) fn keep(&self, content: Vec<u8>) -> ChunkId {
        self.state.lock().unwrap().chunks.put(content)
    }

    /// Bytes of all chunks that it keeps.
    pub(super) fn kept_bytes(&self) -> usize {
        let state = self.state.lock().unwrap();
        let held = state.chunks.0.lock().unwrap();
        held.values().map(Vec::len).sum()
    }

    pub(super) async fn linked_with(&self, other: u8) {
        until("a link", || {
            let peers = self.net.peers();
            peers
                .iter()
                .any(|p| p.device == device(other) && p.connected)
        })
        .await;
    }
}

/// Two that are linked and know each other's logs.
pub(super) async fn meet(a: &Node, b: &Node) {
    a.meet(b);
    a.linked_with(b.n).await;
    b.linked_with(a.n).await;
    until("each other's logs", || {
        a.holds(&b.own_log()) > 0 && b.holds(&a.own_log()) > 0
    })
    .await;
}

/// How long it takes until what one device captures is whole at another.
pub(super) async fn sync(from: &Node, to: &Node, content: &[u8]) -> Duration {
    let began = Instant::now();
    let manifest = from.publish(content);
    until("a whole session", || to.is_complete(&manifest)).await;
    began.elapsed()
}

async fn drive(
    state: Arc<Mutex<State>>,
    mut events: mpsc::Receiver<NetEvent>,
    mut given: mpsc::UnboundedReceiver<Event>,
) {
    loop {
        let wake = state.lock().unwrap().wake;
        let at = wake.unwrap_or_else(|| Instant::now() + DEADLINE);
        let event = tokio::select! {
            event = events.recv() => {
                let Some(event) = event else { return };
                let mut state = state.lock().unwrap();
                match event {
                    NetEvent::Up { device, .. } => {
                        state.seen.ups.push(device);
                        Event::PeerUp(device)
                    }
                    NetEvent::Down { device, reason } => {
                        state.seen.downs.push((device, reason));
                        Event::PeerDown(device)
                    }
                    NetEvent::Received { device, received } => Event::Received(device, received),
                    NetEvent::Cloned { device } => {
                        state.seen.cloned.push(device);
                        continue;
                    }
                    NetEvent::Found { .. } | NetEvent::OwnAddrs(_) => continue,
                }
            }
            event = given.recv() => {
                let Some(event) = event else { return };
                event
            }
            () = tokio::time::sleep_until(at.into()) => Event::Tick,
        };
        let mut state = state.lock().unwrap();
        if event == Event::Tick {
            state.wake = None;
        }
        state.handle(event);
    }
}

impl State {
    fn handle(&mut self, event: Event) {
        let now = u64::try_from(self.begun.elapsed().as_millis()).unwrap();
        let effects = self.machine.handle(event, time::Instant(now));
        self.carry_out(effects);
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Persist(batch) => self.persist(batch),
                Effect::Send(to, message) => {
                    self.net.send(to, message);
                }
                Effect::ServeRange {
                    to,
                    log,
                    after,
                    upto,
                    withhold: _,
                } => {
                    let from = usize::try_from(after.0).unwrap();
                    let upto = usize::try_from(upto.0).unwrap();
                    for part in self.disk[&log][from..upto].chunks(16) {
                        self.net.send(to, Message::Entries(part.to_vec()));
                    }
                }
                Effect::Check(want) => {
                    let missing = self.missing(want);
                    let _ = self.inbox.send(Event::Checked(want, missing));
                }
                Effect::Fetch { from, wants } => self.fetch(from, wants),
                Effect::Disconnect(device, fault) => {
                    self.seen.disconnected.push((device, fault));
                    self.net.disconnect(device, fault);
                }
                Effect::WakeAt(at) => self.wake = Some(self.begun + Duration::from_millis(at.0)),
                Effect::Notice(notice) => {
                    if notice == Notice::Trust {
                        self.net
                            .set_trusted(self.machine.trusted().copied().collect());
                    }
                    self.seen.notices.push(notice);
                }
            }
        }
    }

    fn persist(&mut self, batch: Batch) {
        for entry in batch.entries {
            let log = self.disk.entry(entry.log()).or_default();
            assert_eq!(entry.seq().0, log.len() as u64 + 1, "a log with a gap");
            log.push(entry.signed().clone());
        }
    }

    fn missing(&self, want: Want) -> Vec<Want> {
        let held = self.chunks.0.lock().unwrap();
        let Some(content) = held.get(&want.id) else {
            return vec![want];
        };
        let children = want.children(content).unwrap_or_default();
        children
            .into_iter()
            .filter(|c| !held.contains_key(&c.id))
            .collect()
    }

    fn fetch(&mut self, from: DeviceId, wants: Vec<Want>) {
        let mut answers = self.net.fetch(from, wants.clone());
        let (inbox, chunks) = (self.inbox.clone(), Arc::clone(&self.chunks));
        tokio::spawn(async move {
            let mut left: BTreeSet<Want> = wants.into_iter().collect();
            let failed = |want, why| Event::FetchFailed { from, want, why };
            while let Some((want, result)) = answers.recv().await {
                left.remove(&want);
                let content = result.and_then(|c| match want.children(&c) {
                    Ok(children) => Ok((c, children)),
                    Err(_) => Err(FetchFault::Malformed),
                });
                let event = match content {
                    Ok((content, children)) => {
                        let mut held = chunks.0.lock().unwrap();
                        let bytes = content.len() as u64;
                        held.insert(want.id, content);
                        let absent = |c: &Want| !held.contains_key(&c.id);
                        Event::Fetched {
                            want,
                            missing: children.into_iter().filter(absent).collect(),
                            bytes,
                        }
                    }
                    Err(why) => failed(want, why),
                };
                let _ = inbox.send(event);
            }
            for want in left {
                let _ = inbox.send(failed(want, FetchFault::Link));
            }
        });
    }

    fn append(&mut self, payload: &Payload) {
        let (header, bytes) = self.machine.draft(payload, Timestamp(0));
        let signed = SignedEntry::sign(&header, bytes, &self.key);
        self.handle(Event::Append(signed.verify().unwrap()));
        // The task looks again when it is to wake up.
        let _ = self.inbox.send(Event::Tick);
    }

    fn publish(&mut self, content: &[u8]) -> ChunkId {
        self.published += 1;
        let mut session = [0; 16];
        session[..4].copy_from_slice(&self.published.to_be_bytes());
        session[15] = self.machine.me().0[0];
        let refs = content.chunks(limits::CHUNK_CUT.1).map(|part| ChunkRef {
            id: self.chunks.put(part.to_vec()),
            len: u32::try_from(part.len()).unwrap(),
        });
        let manifest = manifest(SessionId(session), refs.collect()).to_bytes();
        let len = u32::try_from(manifest.len()).unwrap();
        let id = self.chunks.put(manifest);
        self.append(&version(
            SessionId(session),
            Some(ContentRef { id, len }),
            &[],
        ));
        id
    }
}

/// A session of one file.
pub(super) fn manifest(session: SessionId, tail: Vec<ChunkRef>) -> Manifest {
    assert!(tail.len() < limits::LIST_REFS_MAX, "too long for a test");
    Manifest {
        version: MANIFEST_VERSION,
        session,
        origins: vec![Origin {
            flavour: PathFlavour::Unix,
            home: "/home/ann".into(),
            project: "/home/ann/p".into(),
            claude_dir: "/home/ann/.claude".into(),
            slug: "-home-ann-p".into(),
        }],
        project: ProjectIdentity {
            name: "p".into(),
            ..ProjectIdentity::default()
        },
        files: vec![FileEntry {
            slot: Slot::Main,
            segments: vec![Segment {
                origin: 0,
                len: tail.iter().map(|r| u64::from(r.len)).sum(),
                pages: Vec::new(),
                tail,
            }],
            modified: Timestamp(0),
        }],
    }
}

pub(super) fn version(
    session: SessionId,
    manifest: Option<ContentRef>,
    parents: &[EntryHash],
) -> Payload {
    Payload::Version(Version {
        session,
        parents: parents.to_vec(),
        derived_from: None,
        manifest,
        snapshot: None,
        state: SessionState::Idle,
        meta: SessionMeta::default(),
    })
}

/// The log in which a device of these tests writes.
pub(super) fn author_log(n: u8) -> LogId {
    LogId {
        device: device(n),
        epoch: Epoch([n; 16]),
    }
}

/// A pen that writes whatever it is told, also what no machine would.
#[derive(Clone)]
pub(super) struct Author {
    pub(super) n: u8,
    pub(super) log: LogId,
    pub(super) seq: u64,
    pub(super) prev: EntryHash,
}

impl Author {
    pub(super) fn new(n: u8) -> Self {
        Self {
            n,
            log: author_log(n),
            seq: 0,
            prev: EntryHash::ZERO,
        }
    }

    /// The next header for these bytes.
    pub(super) fn header(&self, payload: &[u8]) -> Header {
        Header {
            version: ccpeer_core::entry::ENTRY_VERSION,
            log: self.log,
            seq: Seq(self.seq + 1),
            prev: self.prev,
            lamport: self.seq + 1,
            payload_hash: *blake3::hash(payload).as_bytes(),
            payload_len: u32::try_from(payload.len()).unwrap(),
        }
    }

    pub(super) fn write(&mut self, payload: &Payload) -> SignedEntry {
        let bytes = payload.to_bytes(Timestamp(0));
        let entry = SignedEntry::sign(&self.header(&bytes), bytes, &key(self.n));
        self.seq += 1;
        self.prev = entry.hash();
        entry
    }

    pub(super) fn device(&mut self) -> SignedEntry {
        self.write(&Payload::Device(DeviceInfo {
            name: format!("peer {}", self.n),
            os: "linux".into(),
        }))
    }

    pub(super) fn trust(&mut self, n: u8) -> SignedEntry {
        self.write(&Payload::Trust(TrustChange::add(device(n))))
    }

    pub(super) fn revoke(&mut self, n: u8) -> SignedEntry {
        self.write(&Payload::Trust(TrustChange::Revoke(device(n))))
    }

    pub(super) fn version(&mut self, session: u8) -> SignedEntry {
        self.write(&version(SessionId([session; 16]), None, &[]))
    }
}

/// What a request for a manifest names.
pub(super) fn manifest_want(id: ChunkId) -> Want {
    Want {
        id,
        kind: WantKind::Manifest,
    }
}
