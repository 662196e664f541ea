//! The one task that owns the sync machine.
//!
//! Everything that can happen is a variant of [`Input`]; there is one loop and
//! one `match`. The task itself never blocks: disk work runs on the blocking
//! pool, the network answers through its own queue, and long requests run as
//! jobs that come back with an [`Input`].

mod arrived;
mod captures;
mod code;
mod effects;
mod elsewhere;
mod enrich;
mod expiry;
mod handle;
mod heads;
mod hooks;
mod left;
mod members;
mod mirror;
mod names;
mod near;
mod overview;
mod presence;
mod questions;
mod rows;
mod search;
mod sharing;
mod taken;
mod unasked;
mod upkeep;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ccpeer_core::entry::{Payload, SignedEntry, Version};
use ccpeer_core::id::{ChunkId, DeviceId, EntryHash, SessionId};
use ccpeer_core::manifest::Want;
use ccpeer_core::presence::SessionState;
use ccpeer_core::sync::effect::Notice;
use ccpeer_core::sync::event::Event;
use ccpeer_core::sync::machine::Machine;
use ccpeer_core::time::{Instant, Timestamp};
use ccpeer_core::{limits, text};
use ccpeer_net::{Net, NetEvent};
use ccpeer_store::{Store, StoreError};
use ed25519_dalek::SigningKey;
use tokio::sync::{Notify, broadcast, mpsc, oneshot};

use crate::api::ApiError;
use crate::capture;
use crate::findings::{Findings, Kind};
use crate::home::Home;
use crate::inbox::{Inbox, Pending};
use crate::peers::PeerBook;
use crate::policy::Introduce;
use crate::registry_watch::{LIVENESS_RESTS, RegistryWatch};
use crate::spare::SpareTrust;

pub(crate) use captures::{CaptureDone, Cause};
pub(crate) use code::{CodeTaken, Coding, HeadCapsule};
use effects::With;
pub(crate) use elsewhere::Standing;
pub(crate) use enrich::{Enriched, Enriching};
pub(crate) use expiry::{Expiry, cleanup_days};
pub(crate) use handle::Handle;
pub(crate) use heads::Head;
pub(crate) use left::Endings;
pub(crate) use members::Acceptance;
pub(crate) use mirror::{Candidate, OutHead, OutSession, Outgoing};
pub(crate) use questions::{Ask, Target};
pub(crate) use rows::Listing;
pub(crate) use search::AskSearch;
pub(crate) use sharing::{Known as KnownRules, OwnSession, classify};
pub(crate) use taken::{Held, load as load_taken_in};
pub(crate) use unasked::{Busy, Outlook};

/// How often the whole of Claude's directory is looked through for sessions
/// whose hooks never fired.
const SWEEP_EVERY: Duration = Duration::from_secs(300);
/// How often the registry of live sessions is looked at. The end of a process
/// that we know is told by the system.
const LIVENESS_EVERY: Duration = Duration::from_secs(5);
/// How often the spool is looked at, although hooks that leave an event there say
/// so: they may have died before they could.
const SPOOL_EVERY: Duration = Duration::from_secs(30);
/// How long what is not worth a flush of its own waits for somebody else's.
const LATER_EVERY: Duration = Duration::from_secs(30);
/// Rounds in which what this device stands by is said again: what follows from a
/// version comes after it.
const RESTATE_ROUNDS_MAX: u32 = 4;
/// Notices that a slow listener may lag behind before it has to look again.
const NOTICES_MAX: usize = 1024;

/// Everything that can happen to the agent.
pub(crate) enum Input {
    /// From the network.
    Net(Box<NetEvent>),
    /// An effect of the machine was carried out.
    Machine(Box<Event>),
    /// Several were, in one go; content that came and is not durable yet.
    Together(Vec<Event>, Vec<(ChunkId, Vec<u8>)>),
    /// A hook event is durable in the inbox.
    Hook(Pending),
    /// A turn has ended; the event is being written down. Always followed by
    /// [`Input::Heard`].
    Early(SessionId, Option<String>),
    /// The event of [`Input::Early`] was handed on, or could not be kept.
    Heard(SessionId),
    /// State something in our log; answered when it is durable.
    Append(Payload, oneshot::Sender<Result<EntryHash, ApiError>>),
    /// State a version that came from another program; answered when it is durable.
    TakeIn(Box<Version>, oneshot::Sender<Result<EntryHash, ApiError>>),
    /// Capture a session.
    Capture(SessionId, Cause, Option<oneshot::Sender<CaptureDone>>),
    /// A job changes the session's files: no capture until it lets go.
    Hold(SessionId, oneshot::Sender<()>),
    /// It lets go.
    Release(SessionId),
    /// A capture ended.
    Captured(SessionId, captures::Outcome),
    /// A look through Claude's directory ended; the days after which Claude Code
    /// deletes what lies there.
    Swept(Vec<captures::Swept>, u64),
    /// What a look at processes has found.
    Seen(presence::Seen),
    /// A process that has, or had, a session open has ended.
    Gone(u32),
    /// The files of these sessions are not in Claude's directory any more.
    Vanished(Vec<SessionId>),
    /// A session's files were placed here.
    Returned(SessionId),
    /// Say again in the new epoch what we stand by.
    Restate,
    /// Compare what we believe to hold whole with the store; answered with the
    /// versions that are wanted again.
    Recheck(oneshot::Sender<Vec<Want>>),
    /// Other rules about what others may have hold from now on.
    Rules(
        KnownRules,
        oneshot::Sender<Result<crate::api::ShareLeft, String>>,
    ),
    /// About documents that a model improves.
    Enrich(Enriching),
    /// About the code that goes along.
    Code(Coding),
    /// A question for the read models.
    Ask(Ask),
    /// Its terminal was closed some time ago, and the machine still runs.
    StaysClosed(SessionId),
    /// End.
    Shutdown,
    /// End, because the system says so: it may be about to go down.
    GoingDown,
    /// Say as the last word of our key that this one takes its place.
    Roll(Box<SigningKey>, oneshot::Sender<Result<(), ApiError>>),
    /// End, and begin again under the key that is there by now.
    Again,
}

/// How an agent ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// It was told to.
    ForGood,
    /// Its key was replaced.
    Again,
}

/// What is shared with jobs; nothing in here is the machine's.
pub(crate) struct Shared {
    pub(crate) home: Home,
    pub(crate) store: Arc<Store>,
    pub(crate) net: Net,
    pub(crate) inbox: Inbox,
    /// What was read last of the sessions that were captured last.
    pub(crate) recent: capture::Recent,
    /// There may be something in the spool.
    pub(crate) spooled: Notify,
    pub(crate) me: DeviceId,
    /// Devices are looked for by multicast.
    pub(crate) mdns: bool,
    /// The only address that is listened on, if one was named at the start.
    pub(crate) listen: Option<std::net::SocketAddr>,
    pub(crate) notices: broadcast::Sender<Notice>,
    /// What is placed without being asked for is told of what changed.
    pub(crate) bell: crate::unasked::Bell,
    /// Git mirrors are changed by one at a time.
    pub(crate) mirrors: tokio::sync::Mutex<crate::mirror::layouts::Paces>,
    /// Files of sessions are placed and taken back by one at a time.
    pub(crate) placing: tokio::sync::Mutex<()>,
    /// What the server for other programs needs.
    pub(crate) serving: crate::serve::Serving,
    /// What is searched.
    pub(crate) search: crate::search::Search,
    /// Sessions of this device in which something looks like a secret.
    pub(crate) exposed: Arc<crate::exposed::Exposed>,
    /// Whether anything is exchanged with anybody.
    pub(crate) pause: crate::pause::Pausing,
    /// What may be served to others.
    pub(crate) gate: Arc<crate::sharing::gate::Gate>,
    /// The rules about it are changed by one at a time.
    pub(crate) ruling: tokio::sync::Mutex<()>,
    /// The policy is read, changed and written by one at a time.
    pub(crate) choosing: tokio::sync::Mutex<()>,
}

/// The state of the task.
pub(crate) struct Driver {
    shared: Arc<Shared>,
    machine: Machine,
    key: SigningKey,
    seed: u64,
    started: std::time::Instant,
    tx: mpsc::Sender<Input>,
    wake: Option<Instant>,
    /// Links that are up, so that a rebuilt machine can be told.
    links: BTreeSet<DeviceId>,
    peers: PeerBook,
    captures: captures::Captures,
    /// Sessions that a process here holds open.
    open: BTreeMap<SessionId, presence::Open>,
    /// The registry named somebody when it was looked at last, perhaps a session that
    /// was not captured yet: then it is looked at again.
    registry_names: bool,
    /// Processes that said good-bye to a session and have not ended yet.
    farewell: BTreeMap<SessionId, u32>,
    /// Processes whose end we will be told.
    watched: BTreeSet<u32>,
    /// What the registry said at the last look.
    registry: BTreeMap<SessionId, crate::live::LiveInfo>,
    /// What our state of a session is to be; stated in the log when it differs.
    states: BTreeMap<SessionId, SessionState>,
    /// The order of the last list shown, for `<task>` arguments.
    last_list: Vec<(SessionId, EntryHash)>,
    last_error: Option<String>,
    findings: Findings,
    later: hooks::Later,
    /// Devices of whose sessions only documents come by themselves.
    documents_only: BTreeSet<DeviceId>,
    /// What becomes of offers, by the device that makes them.
    introduce: BTreeMap<DeviceId, Introduce>,
    /// Captures wait until then for what this device said before its store was
    /// lost.
    past_until: Option<std::time::Instant>,
    /// The links at the last look for it.
    links_before: BTreeSet<DeviceId>,
    /// The spare copy of our trust as it was last written.
    spare: Option<SpareTrust>,
    spare_turn: Arc<std::sync::Mutex<()>>,
    arrival: Arrival,
    expiry: Expiry,
    enrich: enrich::Telling,
    code: code::Coder,
    endings: Endings,
    /// Versions that we stated and that were never files here.
    taken_in: BTreeSet<EntryHash>,
    writers: names::Writers,
    /// What the user lets others have.
    rules: KnownRules,
    /// Since when devices that were connected are not.
    away: BTreeMap<DeviceId, std::time::Instant>,
}

/// What the start has found.
#[derive(Debug, Default)]
pub(crate) struct Arrival {
    /// This home was copied: nobody must go on in its log.
    pub(crate) copied: bool,
    /// What else is to be told.
    pub(crate) found: Vec<Kind>,
    /// Whom this device trusts, by the copy beside the store.
    pub(crate) spare: SpareTrust,
}

/// What the driver is made of.
pub(crate) struct Parts {
    pub(crate) shared: Arc<Shared>,
    pub(crate) machine: Machine,
    pub(crate) key: SigningKey,
    pub(crate) seed: u64,
    pub(crate) peers: PeerBook,
    pub(crate) last_list: Vec<(SessionId, EntryHash)>,
    pub(crate) findings: Findings,
    pub(crate) arrival: Arrival,
    pub(crate) expiry: Expiry,
    pub(crate) endings: Endings,
    pub(crate) taken_in: BTreeSet<EntryHash>,
    pub(crate) rules: KnownRules,
}

impl Shared {
    /// A sender of notices for a new agent.
    pub(crate) fn notices() -> broadcast::Sender<Notice> {
        broadcast::channel(NOTICES_MAX).0
    }
}

impl Driver {
    pub(crate) fn new(parts: Parts, tx: mpsc::Sender<Input>) -> Self {
        Self {
            shared: parts.shared,
            machine: parts.machine,
            key: parts.key,
            seed: parts.seed,
            started: std::time::Instant::now(),
            tx,
            wake: None,
            links: BTreeSet::new(),
            peers: parts.peers,
            captures: captures::Captures::default(),
            open: BTreeMap::new(),
            registry_names: true,
            farewell: BTreeMap::new(),
            watched: BTreeSet::new(),
            registry: BTreeMap::new(),
            states: BTreeMap::new(),
            last_list: parts.last_list,
            last_error: None,
            findings: parts.findings,
            later: hooks::Later::default(),
            documents_only: BTreeSet::new(),
            introduce: BTreeMap::new(),
            past_until: None,
            links_before: BTreeSet::new(),
            spare: None,
            spare_turn: Arc::default(),
            arrival: parts.arrival,
            expiry: parts.expiry,
            enrich: enrich::Telling::default(),
            code: code::Coder::default(),
            endings: parts.endings,
            taken_in: parts.taken_in,
            writers: names::Writers::default(),
            rules: parts.rules,
            away: BTreeMap::new(),
        }
    }

    /// Runs until told to end. `hostname` and `os` describe this device if it
    /// has not described itself yet.
    pub(crate) async fn run(
        mut self,
        mut rx: mpsc::Receiver<Input>,
        mut net: mpsc::Receiver<NetEvent>,
        hostname: &str,
    ) -> End {
        let now = self.now();
        let effects = self.machine.start(now);
        self.carry_out(effects).await;
        let arrival = std::mem::take(&mut self.arrival);
        let paired = !arrival.spare.trusted().is_empty();
        self.settle_in(arrival.copied, arrival.found, paired).await;
        self.recall_introducers().await;
        self.let_through(crate::sharing::gate::Manifests::of(&self.machine).into_open());
        self.restate().await;
        self.introduce(hostname).await;
        self.trust_again(&arrival.spare).await;
        self.trust_changed();
        self.adopt_states();
        self.went_down().await;
        self.resume_inbox().await;
        self.read_spool();
        self.check_liveness();
        self.begin_telling().await;
        self.begin_coding().await;
        self.sweep();
        let mut end = End::ForGood;
        let mut sweep = interval(SWEEP_EVERY);
        let mut liveness = interval(LIVENESS_EVERY);
        let mut spool = interval(SPOOL_EVERY);
        let mut later = interval(LATER_EVERY);
        let mut registry = RegistryWatch::begin(&self.shared.home);
        let mut rested = 0;
        loop {
            let wake = self.wake_in();
            let input = tokio::select! {
                Some(input) = rx.recv() => input,
                Some(event) = net.recv() => Input::Net(Box::new(event)),
                () = tokio::time::sleep(wake), if self.wake.is_some() => {
                    self.wake = None;
                    Input::Machine(Box::new(Event::Tick))
                }
                _ = sweep.tick() => { self.sweep(); continue }
                // Looked at when it is due: what two looks agree on needs time between them.
                () = registry.stirred() => { rested = LIVENESS_RESTS; continue }
                _ = liveness.tick() => {
                    self.look_for_past();
                    rested += 1;
                    let idle = self.open.is_empty() && !self.registry_names && registry.is_watched();
                    if rested >= LIVENESS_RESTS || !idle {
                        rested = 0;
                        registry.renew();
                        self.check_liveness();
                    }
                    continue
                }
                _ = later.tick() => { self.write_later().await; continue }
                _ = spool.tick() => { self.shared.spooled.notify_one(); continue }
                else => break,
            };
            match input {
                Input::Shutdown => {
                    self.ends_in_order().await;
                    break;
                }
                Input::GoingDown => {
                    self.went_down().await;
                    break;
                }
                Input::Again => {
                    self.ends_in_order().await;
                    end = End::Again;
                    break;
                }
                input => self.handle(input).await,
            }
        }
        self.write_later().await;
        tracing::info!("driver ended");
        end
    }

    async fn handle(&mut self, input: Input) {
        match input {
            Input::Net(event) => self.on_net(*event).await,
            Input::Machine(event) => {
                let _logged = self.apply(*event).await;
            }
            Input::Together(events, content) => self.apply_together(events, content).await,
            Input::Early(session, last_reply) => self.begin_early(session, last_reply),
            Input::Heard(session) => self.no_longer_early(session).await,
            Input::Hook(pending) => self.on_hook(pending).await,
            Input::Append(payload, done) => {
                let result = self.append(&payload).await;
                let _gone = done.send(result.map_err(|e| crate::problem::store(&e)));
            }
            Input::TakeIn(version, done) => self.take_in(*version, done).await,
            Input::Capture(session, cause, done) => self.want_capture(session, cause, done),
            Input::Hold(session, done) => self.hold(session, done),
            Input::Release(session) => self.release(session),
            Input::Captured(session, outcome) => self.on_captured(session, outcome).await,
            Input::Swept(found, days) => self.on_swept(found, days).await,
            Input::Seen(seen) => self.on_seen(seen).await,
            Input::Gone(pid) => self.on_gone(pid),
            Input::Vanished(gone) => self.on_vanished(gone).await,
            Input::Returned(session) => self.on_returned(session).await,
            Input::Restate => self.restate().await,
            Input::Recheck(to) => self.recheck(to).await,
            Input::Roll(next, done) => {
                let result = self.roll(&next).await;
                let _gone = done.send(result.map_err(|e| crate::problem::store(&e)));
            }
            Input::Rules(rules, done) => self.heed_rules(rules, done).await,
            Input::Enrich(what) => self.on_enrich(what).await,
            Input::Code(what) => self.on_code(what).await,
            Input::Ask(ask) => self.answer(ask),
            Input::StaysClosed(session) => self.stays_closed(session),
            Input::Shutdown | Input::GoingDown | Input::Again => {}
        }
    }

    async fn on_net(&mut self, event: NetEvent) {
        let event = match event {
            NetEvent::Up {
                device,
                hello,
                addr,
                ..
            } => {
                tracing::info!(peer = %device.short(), "link up");
                self.links.insert(device);
                self.away.remove(&device);
                let seen = self.wall();
                self.peers.up(&device, &hello, addr, seen);
                self.save_peer(device);
                self.keep_spare();
                Event::PeerUp(device)
            }
            NetEvent::Down { device, reason } => {
                tracing::info!(peer = %device.short(), ?reason, "link down");
                self.links.remove(&device);
                self.away.insert(device, std::time::Instant::now());
                let seen = self.wall();
                self.peers.down(&device, seen);
                self.save_peer(device);
                Event::PeerDown(device)
            }
            NetEvent::Received { device, received } => return self.hear(device, received).await,
            NetEvent::Found { device, addrs } => {
                if self.peers.found(&device, &addrs) {
                    self.save_peer(device);
                }
                return;
            }
            NetEvent::Cloned { device } => {
                self.found(Kind::Twin, Some(device));
                return;
            }
            NetEvent::OwnAddrs(_) => return,
        };
        let _logged = self.apply(event).await;
    }

    /// Signs a statement and gives it to the machine; durable when this returns.
    async fn append(&mut self, payload: &Payload) -> Result<EntryHash, StoreError> {
        self.append_as_of(payload, self.wall()).await
    }

    async fn append_as_of(
        &mut self,
        payload: &Payload,
        at: Timestamp,
    ) -> Result<EntryHash, StoreError> {
        if let Some(session) = payload.session() {
            self.heed_share(session, None).await;
        }
        if let Payload::Version(version) = payload {
            let with = |_| With::default();
            return self
                .state_version(version.clone(), at, Vec::new(), with)
                .await;
        }
        self.state_other(payload, at).await
    }

    async fn append_with(
        &mut self,
        payload: &Payload,
        at: Timestamp,
        with: impl FnOnce(EntryHash) -> With,
    ) -> Result<EntryHash, StoreError> {
        let (header, bytes) = self.machine.draft(payload, at);
        self.guard(payload, header.log.is_kept());
        let signed = SignedEntry::sign(&header, bytes, &self.key);
        let hash = signed.hash();
        match signed.verified_by_store() {
            Ok(entry) => {
                let now = self.now();
                let effects = self.machine.handle(Event::Append(entry), now);
                self.run_effects(effects, with(hash)).await.map(|()| hash)
            }
            Err(e) => unreachable!("an entry of our own does not verify: {e}"),
        }
    }

    /// After a restored backup or a clone: see [`Machine::restatements`].
    async fn restate(&mut self) {
        for _ in 0..RESTATE_ROUNDS_MAX {
            let due = self.machine.restatements();
            if due.is_empty() {
                return;
            }
            for (payload, at) in due {
                if let Err(e) = self.append_as_of(&payload, at).await {
                    self.failed("cannot say again what this device stands by", &e);
                    return;
                }
            }
        }
    }

    async fn introduce(&mut self, hostname: &str) {
        if self.machine.device_info(&self.shared.me).is_some() {
            return;
        }
        let info = ccpeer_core::entry::DeviceInfo {
            name: text::one_line(hostname, limits::DEVICE_NAME_CHARS_MAX),
            os: std::env::consts::OS.to_owned(),
        };
        if let Err(e) = self.append(&Payload::Device(info)).await {
            tracing::error!(error = %e, "cannot describe this device");
        }
    }

    fn failed(&mut self, what: &str, error: &dyn std::fmt::Display) {
        tracing::error!(%error, "{what}");
        self.last_error = Some(format!("{what}: {error}"));
    }

    fn now(&self) -> Instant {
        let ms = self.started.elapsed().as_millis();
        Instant(u64::try_from(ms).unwrap_or(u64::MAX))
    }

    fn wall(&self) -> Timestamp {
        wall()
    }

    fn wake_in(&self) -> Duration {
        self.wake.map_or(Duration::MAX, |at| {
            Duration::from_millis(at.since_ms(self.now()))
        })
    }
}

/// The wall clock: a label.
pub(crate) fn wall() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let ms = since.map_or(0, |d| d.as_millis());
    Timestamp(u64::try_from(ms).unwrap_or(u64::MAX))
}

fn interval(every: Duration) -> tokio::time::Interval {
    let mut timer = tokio::time::interval_at(tokio::time::Instant::now() + every, every);
    // After a sleep of the machine one look is enough.
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    timer
}
