//! Questions that the driver answers from the machine, without side effects
//! worth waiting for.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

use ccpeer_core::entry::ContentRef;
use ccpeer_core::id::{DeviceId, EntryHash, SessionId};
use ccpeer_core::limits;
use ccpeer_core::lineage::VersionNode;
use ccpeer_core::manifest::Want;
use ccpeer_core::presence::{EndReason, SessionState};
use ccpeer_core::sync::event::{Event, Quotas};
use ccpeer_formats::claude::hook::StartSource;
use ccpeer_net::PathKind;
use ccpeer_store::NoteWrite;
use tokio::sync::oneshot;

use super::taken::Held;
use super::{Acceptance, Driver, Head, Listing, Outlook, Standing};
use crate::api::{self, ApiError, DeviceName, ErrorCode, Json};
use crate::live::HookWord;
use crate::policy::Policy;
use crate::retention::{self, Line};
use crate::start_line::{self, Known};
use crate::view;

/// A question, with where the answer goes.
pub(crate) enum Ask {
    /// Everything of `status` that the driver knows.
    Status(oneshot::Sender<api::Status>),
    /// `devices`
    Devices(oneshot::Sender<Vec<api::Device>>),
    /// `tasks`
    TaskList {
        /// Also finished ones.
        all: bool,
        /// Whether the order is remembered, for numbers.
        remember: bool,
        /// Where to.
        to: oneshot::Sender<Result<Json, ApiError>>,
    },
    /// So many unfinished tasks, and how many there are.
    FirstTasks(usize, oneshot::Sender<(Vec<api::Task>, usize)>),
    /// What is known of and not here as a whole.
    Coming(oneshot::Sender<Vec<api::Coming>>),
    /// When there was work, by device and project.
    Activity(oneshot::Sender<api::Activity>),
    /// `sessions`
    SessionList(Listing, oneshot::Sender<Result<Json, ApiError>>),
    /// So many of them, and how many there are. Those in Claude Code's directory are
    /// said.
    FirstSessions(
        BTreeSet<SessionId>,
        usize,
        oneshot::Sender<(Vec<api::Session>, usize)>,
    ),
    /// All sessions: newest head and number of heads.
    Sessions(oneshot::Sender<Vec<(Head, usize)>>),
    /// What a `<task>` argument means.
    Resolve(String, oneshot::Sender<Result<Target, ApiError>>),
    /// What a `<device>` argument means.
    Device(String, oneshot::Sender<Result<DeviceName, ApiError>>),
    /// Whether a manifest is complete here, and how many chunks are missing of
    /// how many known.
    Progress(Want, oneshot::Sender<(bool, u64, u64)>),
    /// Whether a manifest came and is none that this ccpeer can read.
    Unreadable(Want, oneshot::Sender<bool>),
    /// Connected devices that hold all of a manifest.
    Holders(Want, oneshot::Sender<Vec<DeviceName>>),
    /// Connected devices that hold a version, or one that grew from it.
    Keepers {
        /// Of which session.
        session: SessionId,
        /// Which version.
        version: EntryHash,
        /// Where to.
        to: oneshot::Sender<Vec<DeviceName>>,
    },
    /// Any link at all?
    Connected(oneshot::Sender<usize>),
    /// What a device said of itself while pairing, and where it is.
    Learn {
        /// Which.
        device: DeviceId,
        /// Its name for itself.
        name: String,
        /// Its system.
        os: String,
        /// Where it can be reached.
        addrs: Vec<SocketAddr>,
    },
    /// The fixed line for the start of a session, if there is something to say.
    Line {
        /// Which one starts.
        session: SessionId,
        /// The version that its files here stand for.
        base: Option<EntryHash>,
        /// How it came to be open.
        source: StartSource,
        /// Where to.
        to: oneshot::Sender<Option<String>>,
    },
    /// What is known of a session that might be placed here.
    Outlook(SessionId, oneshot::Sender<Option<Outlook>>),
    /// This device, under its name.
    Me(oneshot::Sender<DeviceName>),
    /// Where a line of a session is open on another device.
    Elsewhere(SessionId, EntryHash, oneshot::Sender<Option<api::Presence>>),
    /// What is known of a session beside its versions.
    Standing(SessionId, oneshot::Sender<Option<Standing>>),
    /// Sessions whose files may have gone from Claude's directory.
    MayVanish(oneshot::Sender<Vec<SessionId>>),
    /// What Claude Code is about to delete although another device could hold it.
    Expiring(oneshot::Sender<api::Expiring>),
    /// How a device is called here.
    Name(DeviceId, oneshot::Sender<DeviceName>),
    /// What `accept` has to say about a device.
    Acceptance(String, oneshot::Sender<Result<Acceptance, ApiError>>),
    /// Whose offers are taken from now on; the machine is to be told the answer.
    Introducers(Policy, oneshot::Sender<Event>),
    /// What is fetched by itself from now on; the machine is to be told the answer.
    Fetches(Policy, oneshot::Sender<Event>),
    /// What others may have of a session, and the rules if they can be read.
    Ruling(
        SessionId,
        oneshot::Sender<(api::Share, Option<std::sync::Arc<crate::sharing::Rules>>)>,
    ),
    /// The user has seen whom others have added.
    SeenIntroductions(oneshot::Sender<()>),
    /// Forget what was found: the user has dealt with it.
    Settle(oneshot::Sender<()>),
    /// Bounds for the machine, by the keys that devices use today.
    Quotas(Policy, oneshot::Sender<Quotas>),
    /// Bytes of content here because of each device, this one first.
    Charges(oneshot::Sender<Vec<(DeviceName, u64)>>),
    /// What each device wrote, this one first.
    Authors(oneshot::Sender<Vec<(DeviceId, Vec<Want>)>>),
    /// How far each log is known.
    Known(oneshot::Sender<retention::Known>),
    /// All sessions, for the question what is to be kept of them. What was known
    /// long ago decides what is old.
    Lines(retention::Known, oneshot::Sender<Vec<Line>>),
    /// What hooks told about a session here.
    HookWord(SessionId, oneshot::Sender<HookWord>),
    /// Everything that a git mirror of this device is made of.
    Outgoing(oneshot::Sender<super::Outgoing>),
    /// Which of these versions, of a mirror or of another program, say nothing new.
    SaidAlready(Vec<super::Candidate>, oneshot::Sender<Vec<bool>>),
    /// The lines of every session, or of one alone and then with what they grew from.
    Held(Option<SessionId>, oneshot::Sender<Vec<Vec<Held>>>),
    /// About what is searched.
    Search(super::search::AskSearch),
    /// The other versions on the line of one.
    Relatives(SessionId, EntryHash, oneshot::Sender<Relatives>),
}

/// What a `<task>` argument means.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) session: SessionId,
    /// The one that was meant; `None` when there are several and none was named.
    pub(crate) head: Option<Head>,
    pub(crate) heads: Vec<Head>,
}

/// The versions that one grew from and those that grew from it, the nearest
/// first, with their manifests.
#[derive(Debug, Clone, Default)]
pub(crate) struct Relatives {
    pub(crate) grew_from: Vec<(EntryHash, Option<ContentRef>)>,
    pub(crate) grown_into: Vec<(EntryHash, Option<ContentRef>)>,
}

/// Digits up to this length are a number in the last list, not an id.
const NUMBER_DIGITS_MAX: usize = 5;
/// Shortest prefix of an id that is taken for one.
pub(super) const PREFIX_CHARS_MIN: usize = 4;

impl Driver {
    pub(super) fn answer(&mut self, ask: Ask) {
        // A client that went away does not want its answer any more.
        match ask {
            Ask::Status(to) => drop(to.send(self.status())),
            Ask::Devices(to) => drop(to.send(self.devices())),
            Ask::TaskList { all, remember, to } => {
                let tasks = self.task_list(all, remember);
                drop(to.send(tasks));
            }
            Ask::FirstTasks(max, to) => drop(to.send(self.first_tasks(max))),
            Ask::Coming(to) => drop(to.send(self.coming())),
            Ask::Activity(to) => drop(to.send(self.activity(super::wall()))),
            Ask::SessionList(listing, to) => drop(to.send(self.session_list(&listing))),
            Ask::FirstSessions(local, max, to) => {
                drop(to.send(self.first_sessions(local, max)));
            }
            Ask::Sessions(to) => drop(to.send(self.newest_heads())),
            Ask::Resolve(task, to) => drop(to.send(self.resolve(&task))),
            Ask::Device(text, to) => drop(to.send(self.find_device(&text))),
            Ask::Unreadable(manifest, to) => {
                let _gone = to.send(self.machine.is_unreadable(&manifest));
            }
            Ask::Progress(manifest, to) => {
                let complete = self.machine.is_complete(&manifest);
                let (missing, known) = self
                    .machine
                    .progress(&manifest)
                    .map_or((0, 0), |p| (p.missing, p.known));
                let _gone = to.send((complete, missing, known));
            }
            Ask::Holders(manifest, to) => {
                let names = self
                    .machine
                    .holders(&manifest)
                    .iter()
                    .map(|d| self.name_of(d))
                    .collect();
                drop(to.send(names));
            }
            Ask::Keepers {
                session,
                version,
                to,
            } => drop(to.send(self.keepers(&session, version))),
            Ask::Connected(to) => drop(to.send(self.links.len())),
            Ask::Learn {
                device,
                name,
                os,
                addrs,
            } => {
                self.peers.describe(&device, &name, &os);
                self.peers.found(&device, &addrs);
                for addr in addrs {
                    self.shared.net.add_address(device, addr);
                }
                self.save_peer(device);
            }
            Ask::Line {
                session,
                base,
                source,
                to,
            } => drop(to.send(self.line(&session, base, source))),
            Ask::Outlook(session, to) => drop(to.send(self.outlook(&session))),
            Ask::Elsewhere(session, head, to) => {
                drop(to.send(self.open_elsewhere(&session, &head)));
            }
            Ask::Standing(session, to) => drop(to.send(self.standing(&session))),
            Ask::MayVanish(to) => drop(to.send(self.may_vanish())),
            Ask::Expiring(to) => {
                let mut expiring = self.expiring();
                if self.machine.trusted().next().is_none() {
                    // Nobody could hold it: that is no news to anybody.
                    expiring.sessions.clear();
                }
                drop(to.send(expiring));
            }
            Ask::Name(device, to) => drop(to.send(self.name_of(&device))),
            Ask::Me(to) => drop(to.send(self.name_of(&self.shared.me))),
            Ask::Acceptance(text, to) => drop(to.send(self.acceptance(&text))),
            Ask::Introducers(policy, to) => drop(to.send(self.heed_introducers(&policy))),
            Ask::Fetches(policy, to) => drop(to.send(self.heed_fetches(&policy))),
            Ask::Ruling(session, to) => drop(to.send(self.ruling(&session))),
            Ask::SeenIntroductions(to) => {
                self.forget_introductions();
                let _gone = to.send(());
            }
            Ask::Settle(to) => {
                self.forget_findings();
                let _gone = to.send(());
            }
            Ask::Quotas(policy, to) => {
                drop(to.send(policy.quotas(|d| self.machine.current(d))));
            }
            Ask::Charges(to) => drop(to.send(self.charges())),
            Ask::Authors(to) => drop(to.send(self.authors())),
            Ask::SaidAlready(candidates, to) => {
                let said = candidates.iter().map(|c| self.is_said(c)).collect();
                drop(to.send(said));
            }
            Ask::Outgoing(to) => drop(to.send(self.outgoing())),
            Ask::Known(to) => drop(to.send(self.machine.frontier().0)),
            Ask::Lines(old, to) => drop(to.send(self.lines(&old))),
            Ask::HookWord(session, to) => drop(to.send(self.hook_word(&session))),
            Ask::Held(only, to) => drop(to.send(self.held(only))),
            Ask::Search(ask) => self.answer_search(ask),
            Ask::Relatives(session, version, to) => {
                drop(to.send(self.relatives(&session, version)));
            }
        }
    }

    /// Keeps what is known of a device, off this task.
    pub(super) fn save_peer(&self, device: DeviceId) {
        if let Some(note) = self.peers.note(&device) {
            self.save(note);
        }
    }

    pub(super) fn save(&self, note: NoteWrite) {
        let store = std::sync::Arc::clone(&self.shared.store);
        tokio::task::spawn_blocking(move || {
            if let Err(e) = store.put_notes(&[note]) {
                tracing::warn!(error = %e, "cannot keep a note");
            }
        });
    }

    /// Connected devices that hold a version. One whose own version grew from it
    /// counts: it had it, and nobody will say so of a superseded version again.
    fn keepers(&self, session: &SessionId, version: EntryHash) -> Vec<DeviceName> {
        let Some(record) = self.machine.session(session) else {
            return Vec::new();
        };
        let mut keepers = BTreeSet::new();
        let heads = record.heads().into_iter();
        let grown = heads.filter(|h| record.is_ancestor(&version, &h.id));
        for node in grown.chain(record.node(&version)) {
            let manifest = node.version.manifest.iter();
            keepers.extend(manifest.flat_map(|m| self.machine.holders(&Want::manifest(m.id))));
            let author = node.log.device;
            if self.links.contains(&author) {
                keepers.insert(author);
            }
        }
        keepers.iter().map(|d| self.name_of(d)).collect()
    }

    fn resolve(&self, task: &str) -> Result<Target, ApiError> {
        let task = task.trim();
        let is_number = !task.is_empty()
            && task.len() <= NUMBER_DIGITS_MAX
            && task.bytes().all(|c| c.is_ascii_digit());
        if is_number {
            let n: usize = task.parse().unwrap_or(0);
            let Some((session, version)) = n.checked_sub(1).and_then(|i| self.last_list.get(i))
            else {
                return Err(
                    ApiError::new(ErrorCode::NotFound, format!("there is no task {n}"))
                        .hint("run `ccpeer tasks` and take a number from its first column"),
                );
            };
            return self.target(*session, Some(*version));
        }
        if task.len() < PREFIX_CHARS_MIN {
            return Err(ApiError::new(
                ErrorCode::NotFound,
                format!(
                    "{:?} is neither a number of a task nor the beginning of an id",
                    view::line(task)
                ),
            )
            .hint(format!(
                "give at least {PREFIX_CHARS_MIN} characters of the id"
            )));
        }
        let wanted = task.to_ascii_lowercase();
        let mut found: Vec<(SessionId, Option<EntryHash>)> = Vec::new();
        for (id, record) in self.machine.sessions() {
            if record.latest().is_none() {
                continue;
            }
            if id.to_string().starts_with(&wanted) {
                found.push((*id, None));
            } else if let Some(n) = record
                .nodes()
                .find(|n| n.id.to_string().starts_with(&wanted))
            {
                found.push((*id, Some(n.id)));
            }
        }
        match found.as_slice() {
            [] => Err(ApiError::new(
                ErrorCode::NotFound,
                format!("no session begins with {:?}", view::line(task)),
            )
            .hint("run `ccpeer tasks --all` or `ccpeer sessions` to see what there is")),
            [(session, version)] => self.target(*session, *version),
            many => Err(ApiError::new(
                ErrorCode::Ambiguous,
                format!("{} sessions begin with {:?}", many.len(), view::line(task)),
            )
            .hint("give more characters of the id")
            .choices(many.iter().map(|(s, _)| s.to_string()).collect())),
        }
    }

    fn target(&self, session: SessionId, version: Option<EntryHash>) -> Result<Target, ApiError> {
        let record = self
            .machine
            .session(&session)
            .ok_or_else(|| ApiError::new(ErrorCode::NotFound, "the session is not known here"))?;
        let heads = self.heads(record);
        let named = version.map(|v| {
            // The list may be older than the last turn: its version's head is meant.
            let exact = heads.iter().find(|h| h.id == v);
            let grown = || heads.iter().find(|h| record.is_ancestor(&v, &h.id));
            exact.or_else(grown).cloned()
        });
        let only = || match heads.as_slice() {
            [only] => Some(only.clone()),
            _ => None,
        };
        let head = named.flatten().or_else(only);
        Ok(Target {
            session,
            head,
            heads,
        })
    }

    fn status(&self) -> api::Status {
        let paths = self.shared.net.peers();
        let behind = self.machine.peers();
        let peers = self
            .machine
            .trusted()
            .map(|&device| {
                let name = self.name_of(&device);
                let up = self.links.contains(&device);
                let path = paths.iter().find(|p| p.device == device);
                api::PeerStatus {
                    id: name.id,
                    name: name.name,
                    state: if up { "connected" } else { "offline" }.to_owned(),
                    theirs: self.theirs(&device, &paths).to_owned(),
                    path: path.and_then(|p| p.path).map(path_word),
                    behind: behind
                        .iter()
                        .find(|p| p.device == device)
                        .map_or(0, |p| p.behind),
                    rtt_ms: path.filter(|_| up).and_then(|p| p.rtt_ms),
                }
            })
            .collect();
        api::Status {
            relay: Some(crate::relays::view(self.shared.net.relay().as_ref())),
            paused: self.shared.pause.told(),
            agent: "running".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: Some(std::process::id()),
            // By the key that this agent speaks with, not by the one that takes its
            // place: who waits for the new key waits for the next life.
            device: Some(api::DeviceName {
                id: self.shared.me.to_string(),
                ..self.name_of(&self.shared.me)
            }),
            listen: self
                .shared
                .net
                .listen_addrs()
                .iter()
                .map(ToString::to_string)
                .collect(),
            peers,
            store: api::StoreStatus {
                sessions: self
                    .machine
                    .sessions()
                    .filter(|(_, r)| r.has_versions())
                    .count() as u64,
                ..api::StoreStatus::default()
            },
            spool: 0,
            hooks_received: self.shared.inbox.received(),
            hooks: String::new(),
            claude_dir: self.shared.home.claude().display().to_string(),
            home: self.shared.home.root().display().to_string(),
            last_error: self.last_error.clone(),
            findings: self.told_findings(),
            mdns: Some(self.shared.mdns),
            listen_only: self.shared.listen.map(|at| at.to_string()),
            taken_over: self.all_taken_over(),
            expiring: self.expiring(),
            summary: Some(self.told_summary()),
        }
    }

    /// Counts and our own names only: nothing that a peer wrote may enter a
    /// model's context by itself.
    fn line(
        &self,
        session: &SessionId,
        base: Option<EntryHash>,
        source: StartSource,
    ) -> Option<String> {
        let stale = base.is_some_and(|base| {
            let record = self.machine.session(session);
            record.is_some_and(|r| {
                let mut others = r
                    .heads()
                    .into_iter()
                    .filter(|h| h.log.device != self.shared.me);
                others.any(|h| r.is_ancestor(&base, &h.id))
            })
        });
        let head = base.and_then(|base| {
            let heads = self.machine.session(session)?.heads();
            heads.into_iter().find(|h| h.id == base).map(|h| h.id)
        });
        let mut unfinished = 0u64;
        for (_, record) in self.machine.sessions() {
            let nodes = record.lines();
            let is_unfinished = |node: &&&VersionNode| {
                let state = self.state_of(record, node, nodes.len() == 1).state;
                self.machine.current(&node.log.device) != self.shared.me
                    && view::is_unfinished(state, &node.version.meta)
            };
            unfinished += nodes.iter().filter(is_unfinished).count() as u64;
        }
        let known = Known {
            went_on: stale || self.taken_over(session).is_some(),
            open_elsewhere: head.is_some_and(|h| self.open_elsewhere(session, &h).is_some()),
            unfinished,
        };
        start_line::line(session, source, known)
    }

    pub(super) fn relatives(&self, session: &SessionId, version: EntryHash) -> Relatives {
        let Some(record) = self.machine.session(session) else {
            return Relatives::default();
        };
        let mut children: BTreeMap<EntryHash, Vec<EntryHash>> = BTreeMap::new();
        for node in record.nodes() {
            for parent in &node.version.parents {
                children.entry(*parent).or_default().push(node.id);
            }
        }
        let walk = |next: &dyn Fn(&EntryHash) -> Vec<EntryHash>| {
            let mut seen = BTreeSet::from([version]);
            let mut queue: VecDeque<EntryHash> = next(&version).into();
            let mut out = Vec::new();
            while let Some(id) = queue.pop_front() {
                if out.len() < limits::RELATIVES_MAX && seen.insert(id) {
                    let manifest = record.node(&id).and_then(|n| n.version.manifest);
                    out.push((id, manifest));
                    queue.extend(next(&id));
                }
            }
            out
        };
        Relatives {
            grew_from: walk(&|id| {
                let node = record.node(id);
                node.map_or_else(Vec::new, |n| n.version.parents.clone())
            }),
            grown_into: walk(&|id| children.get(id).cloned().unwrap_or_default()),
        }
    }

    fn hook_word(&self, session: &SessionId) -> HookWord {
        let open = self.open.get(session);
        let said = matches!(
            self.states.get(session),
            Some(SessionState::Ended(reason)) if *reason != EndReason::Unseen
        );
        HookWord {
            open_by: open.and_then(|o| o.pid),
            // A hook that spoke without naming a process is a word, too.
            ended: said || open.is_some_and(|o| o.pid.is_none()),
        }
    }
}

fn path_word(path: PathKind) -> String {
    match path {
        PathKind::Direct => "direct".to_owned(),
        PathKind::Relay => "relay".to_owned(),
    }
}
