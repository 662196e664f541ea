//! A paired device that keeps to no rule. It is no machine: it hears what it is
//! told, remembers it, and says whatever suits its habits. It holds its own key
//! and nobody else's, so what it says under other names does not verify.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use ccpeer_core::entry::{
    ContentRef, ENTRY_VERSION, Header, Mark, Payload, Presence, SessionMeta, SignedEntry,
    TrustChange, VerifiedEntry, Version,
};
use ccpeer_core::id::{ChunkId, EntryHash, Epoch, LogId, Seq, SessionId};
use ccpeer_core::limits;
use ccpeer_core::log::{Frontier, Held};
use ccpeer_core::manifest::{ChunkRef, Want, WantKind};
use ccpeer_core::presence::SessionState;
use ccpeer_core::time::Timestamp;
use ccpeer_core::wire::Message;

use crate::network::Packet;
use crate::rng::Rng;
use crate::swarm::Habit;
use crate::workload::manifest_of;
use crate::world::{Happening, World};

/// What it remembers at most, of each kind.
const MEMORY_MAX: usize = 400;
/// Entries of others that it passes on at once.
const OFFERED_MAX: usize = 24;
/// Entries that it writes at most.
const ENTRIES_MAX: usize = 700;
/// Clocks that no honest device reaches.
const FAR_CLOCK: u64 = u64::MAX - 3;

/// The hostile device's mind.
pub(crate) struct Adversary {
    me: usize,
    habits: BTreeSet<Habit>,
    /// What it says to one half of the others, and what to the other half.
    branches: [Vec<VerifiedEntry>; 2],
    epoch: Epoch,
    heard: Vec<Message>,
    entries: Vec<SignedEntry>,
    frontier: BTreeMap<LogId, Seq>,
    /// What its peers said last.
    told: BTreeMap<usize, BTreeMap<LogId, Seq>>,
    roots: Vec<Want>,
    own_chunks: BTreeMap<ChunkId, Rc<Vec<u8>>>,
    written: usize,
}

impl Adversary {
    pub(crate) fn new(me: usize, habits: &[Habit], rng: &mut Rng) -> Self {
        Self {
            me,
            habits: habits.iter().copied().collect(),
            branches: [Vec::new(), Vec::new()],
            epoch: Epoch(rng.bytes()),
            heard: Vec::new(),
            entries: Vec::new(),
            frontier: BTreeMap::new(),
            told: BTreeMap::new(),
            roots: Vec::new(),
            own_chunks: BTreeMap::new(),
            written: 0,
        }
    }

    fn has(&self, habit: Habit) -> bool {
        self.habits.contains(&habit)
    }

    fn branch_for(&self, peer: usize) -> usize {
        if self.has(Habit::Equivocate) {
            peer % 2
        } else {
            0
        }
    }
}

/// Keeps the last things of a kind.
fn remember<T>(memory: &mut Vec<T>, thing: T) {
    if memory.len() >= MEMORY_MAX {
        memory.remove(0);
    }
    memory.push(thing);
}

impl World {
    fn mind(&mut self) -> Option<&mut Adversary> {
        self.adversary.as_mut()
    }

    /// Something arrived at the hostile device.
    pub(crate) fn adversary_hears(&mut self, from: usize, packet: Packet) {
        let Some(mut mind) = self.adversary.take() else {
            return;
        };
        match packet {
            Packet::Ask(wants) => {
                self.adversary_answers(&mind, from, wants);
            }
            Packet::Chunks(_) => {}
            Packet::Words(message) => {
                self.adversary_listens(&mut mind, from, &message);
                remember(&mut mind.heard, message);
            }
        }
        self.adversary = Some(mind);
    }

    fn adversary_listens(&mut self, mind: &mut Adversary, from: usize, message: &Message) {
        match message {
            Message::Entries(entries) => {
                for entry in entries {
                    let Ok(read) = entry.clone().verified_by_store() else {
                        continue;
                    };
                    let seq = mind.frontier.entry(read.log()).or_default();
                    *seq = read.seq().max(*seq);
                    if let Some(Payload::Version(version)) = read.payload() {
                        let roots = version.roots();
                        roots.for_each(|r| remember(&mut mind.roots, r));
                    }
                    remember(&mut mind.entries, entry.clone());
                }
            }
            Message::Have(theirs) => {
                let theirs = Frontier::of(theirs).0;
                mind.told.insert(from, theirs.clone());
                for (log, seq) in &theirs {
                    mind.frontier.entry(*log).or_insert(*seq);
                }
                self.adversary_offers(mind, from, &theirs);
            }
            Message::Complete(roots) => {
                roots
                    .iter()
                    .for_each(|root| remember(&mut mind.roots, *root));
            }
            // What was said to it is what it says: that it holds the same.
            Message::Digests(digests) if mind.has(Habit::Lie) => {
                self.adversary_says(mind, from, Message::Digests(digests.clone()));
            }
            Message::Unlike(_) if mind.has(Habit::Lie) => self.adversary_claims(mind, from),
            Message::Digests(_)
            | Message::Unlike(_)
            | Message::Hello(_)
            | Message::Ping(_)
            | Message::Pong(_)
            | Message::Parcel(_) => {}
        }
    }

    /// It says what the other one lacks, in its way.
    fn adversary_offers(&mut self, mind: &Adversary, to: usize, theirs: &BTreeMap<LogId, Seq>) {
        let lacks = |e: &VerifiedEntry| theirs.get(&e.log()).is_none_or(|seq| *seq < e.seq());
        let own: Vec<SignedEntry> = mind.branches[mind.branch_for(to)]
            .iter()
            .filter(|e| lacks(e))
            .map(|e| e.signed().clone())
            .collect();
        self.adversary_sends_entries(mind, to, own);
        let mut others: Vec<SignedEntry> = Vec::new();
        for entry in &mind.entries {
            if mind.has(Habit::Withhold) && self.rng.chance(500_000) {
                continue;
            }
            let mut entry = entry.clone();
            if mind.has(Habit::Strip) && self.rng.chance(500_000) {
                entry.payload = None;
            }
            others.push(entry);
        }
        let begin = self.rng.index(others.len() + 1);
        let mut others = others.split_off(begin);
        others.truncate(OFFERED_MAX);
        self.adversary_sends_entries(mind, to, others);
    }

    fn adversary_sends_entries(&mut self, mind: &Adversary, to: usize, entries: Vec<SignedEntry>) {
        for part in entries.chunks(32) {
            self.adversary_says(mind, to, Message::Entries(part.to_vec()));
        }
    }

    fn adversary_answers(&mut self, mind: &Adversary, to: usize, wants: Vec<Want>) {
        if mind.has(Habit::Stall) && self.rng.chance(500_000) {
            return;
        }
        let mut answer = Vec::new();
        for want in wants {
            let content = if mind.has(Habit::WrongChunks) && self.rng.chance(500_000) {
                let bytes: [u8; 24] = self.rng.bytes();
                Some(Rc::new(bytes.to_vec()))
            } else if mind.has(Habit::Withhold) && self.rng.chance(700_000) {
                None
            } else {
                mind.own_chunks.get(&want.id).cloned()
            };
            answer.push((want, content));
        }
        let id = self.devices[to].id;
        self.send(mind.me, &id, Packet::Chunks(answer));
    }

    fn adversary_says(&mut self, mind: &Adversary, to: usize, message: Message) {
        let id = self.devices[to].id;
        self.send(mind.me, &id, Packet::Words(message));
    }

    /// A link to it is up.
    pub(crate) fn adversary_linked(&mut self, peer: usize) {
        if let Some(mind) = self.adversary.take() {
            self.adversary_claims(&mind, peer);
            self.adversary = Some(mind);
        }
    }

    /// Its frontier: as it is, or as no frontier ever was.
    fn adversary_claims(&mut self, mind: &Adversary, to: usize) {
        let mut claims: Vec<Held> = Vec::new();
        let tip = self.rng.bytes();
        for (log, seq) in &mind.frontier {
            let claimed = if mind.has(Habit::Lie) && self.rng.chance(500_000) {
                self.rng.below(2 * seq.0 + 1_000)
            } else {
                seq.0
            };
            claims.push(Held {
                log: *log,
                seq: Seq(claimed),
                tip,
            });
        }
        if mind.has(Habit::Lie) {
            for _ in 0..self.rng.below(30) {
                let device = self.rng.index(self.devices.len());
                let log = LogId {
                    device: self.devices[device].id,
                    epoch: Epoch(self.rng.bytes()),
                };
                let seq = Seq(self.rng.next());
                claims.push(Held { log, seq, tip });
            }
        }
        self.adversary_says(mind, to, Message::Have(claims));
        if mind.has(Habit::Lie) && !mind.roots.is_empty() {
            let roots = mind.roots.iter().take(limits::MESSAGE_ENTRIES_MAX);
            let roots = roots.copied().collect();
            self.adversary_says(mind, to, Message::Complete(roots));
        }
    }

    /// It is paired with, and says that it trusts.
    pub(crate) fn adversary_pairs(&mut self, with: usize) {
        let id = self.devices[with].id;
        if let Some(mut mind) = self.adversary.take() {
            let payload = Payload::Trust(TrustChange::add(id));
            self.adversary_writes(&mut mind, &[0, 1], &payload);
            self.adversary = Some(mind);
        }
    }

    /// A new entry at the end of its branches.
    fn adversary_writes(&mut self, mind: &mut Adversary, branches: &[usize], payload: &Payload) {
        for branch in branches {
            if mind.written >= ENTRIES_MAX {
                return;
            }
            let log = LogId {
                device: self.devices[mind.me].id,
                epoch: mind.epoch,
            };
            let of_log = mind.branches[*branch].iter().rev();
            let before = of_log
                .filter(|e| e.log() == log)
                .map(|e| (e.seq(), e.hash()));
            let empty = (Seq::ZERO, EntryHash::ZERO);
            let (seq, prev) = before.into_iter().next().unwrap_or(empty);
            let far = mind.has(Habit::Lie) && self.rng.chance(300_000);
            let lamport = if far {
                FAR_CLOCK
            } else {
                self.rng.below(10_000)
            };
            let entry = self.adversary_signs(mind.me, log, (seq.next(), prev), lamport, payload);
            let Ok(entry) = entry.verified_by_store() else {
                continue;
            };
            mind.written += 1;
            let known = Rc::new(entry.clone());
            self.genuine.insert(entry.hash(), known);
            mind.branches[*branch].push(entry);
        }
    }

    fn adversary_signs(
        &mut self,
        me: usize,
        log: LogId,
        (seq, prev): (Seq, EntryHash),
        lamport: u64,
        payload: &Payload,
    ) -> SignedEntry {
        let bytes = payload.to_bytes(Timestamp(self.rng.next()));
        let header = Header {
            version: ENTRY_VERSION,
            log,
            seq,
            prev,
            lamport,
            payload_hash: *blake3::hash(&bytes).as_bytes(),
            payload_len: u32::try_from(bytes.len()).unwrap_or(0),
        };
        SignedEntry::sign(&header, bytes, &self.devices[me].key)
    }

    /// It does something out of habit.
    pub(crate) fn mischief(&mut self) {
        // As busy in a world of hours as in one of minutes.
        let calm = self.options.chaos_ms / 60;
        let pause = if self.chaos {
            (500, calm.max(5_000))
        } else {
            (10_000, calm.max(60_000))
        };
        let pause = self.rng.between(pause.0, pause.1);
        self.after(pause, Happening::Mischief);
        let me = self.mind().map(|mind| mind.me);
        let peers = me.map(|me| self.devices[me].links.keys().copied().collect::<Vec<_>>());
        let peers = peers.unwrap_or_default();
        let Some(to) = self.rng.pick(&peers).copied() else {
            return;
        };
        let Some(mut mind) = self.adversary.take() else {
            return;
        };
        let habits: Vec<Habit> = mind.habits.iter().copied().collect();
        match self
            .rng
            .pick(&habits)
            .copied()
            .filter(|_| self.rng.chance(800_000))
        {
            None => {
                let payload = self.adversary_version(&mut mind, false);
                self.adversary_writes(&mut mind, &[0, 1], &payload);
                self.adversary_claims(&mind, to);
            }
            Some(habit) => {
                self.count("mischief");
                self.indulge(&mut mind, to, habit);
            }
        }
        let known = mind.told.get(&to).cloned().unwrap_or_default();
        self.adversary_offers(&mind, to, &known);
        self.adversary = Some(mind);
    }

    fn indulge(&mut self, mind: &mut Adversary, to: usize, habit: Habit) {
        match habit {
            Habit::Replay => {
                if let Some(old) = self.rng.pick(&mind.heard).cloned() {
                    self.adversary_says(mind, to, old);
                }
            }
            Habit::Equivocate => {
                for branch in [0, 1] {
                    let payload = self.adversary_version(mind, false);
                    self.adversary_writes(mind, &[branch], &payload);
                }
            }
            Habit::Lie => self.adversary_claims(mind, to),
            Habit::Flood => {
                if self.rng.chance(300_000) {
                    mind.epoch = Epoch(self.rng.bytes());
                }
                for _ in 0..self.rng.between(1, 60) {
                    let payload = self.adversary_chatter();
                    self.adversary_writes(mind, &[0, 1], &payload);
                }
            }
            Habit::Forge => self.forge(mind, to),
            Habit::Malform => {
                let payload = self.adversary_version(mind, true);
                self.adversary_writes(mind, &[0, 1], &payload);
                self.adversary_boasts(mind, to, &payload);
            }
            Habit::Misname => {
                if let Some(payload) = self.adversary_misnames(mind) {
                    self.count("misnamed");
                    self.adversary_writes(mind, &[0, 1], &payload);
                    self.adversary_boasts(mind, to, &payload);
                }
            }
            Habit::Garbage => {
                let nonsense = if self.rng.chance(500_000) {
                    Message::Entries(Vec::new())
                } else {
                    let root = Want::data(ChunkId(self.rng.bytes()));
                    Message::Complete(vec![root; limits::MESSAGE_ENTRIES_MAX + 1])
                };
                self.adversary_says(mind, to, nonsense);
            }
            Habit::Slander => {
                let payload = self.slander();
                self.adversary_writes(mind, &[0, 1], &payload);
            }
            Habit::Strip | Habit::Withhold | Habit::WrongChunks | Habit::Stall => {
                self.adversary_claims(mind, to);
            }
        }
    }

    /// Words under another's name, with whatever signature it can make.
    fn forge(&mut self, mind: &Adversary, to: usize) {
        let Some(old) = self.rng.pick(&mind.entries).cloned() else {
            return;
        };
        let Ok(read) = old.clone().verified_by_store() else {
            return;
        };
        let forged = match self.rng.below(3) {
            0 => {
                let mut forged = old;
                if let Some(byte) = forged.payload.as_mut().and_then(|p| p.last_mut()) {
                    *byte ^= 1;
                }
                forged
            }
            1 => {
                let mut forged = old;
                if let Some(byte) = forged.header.last_mut() {
                    *byte ^= 1;
                }
                forged
            }
            _ => {
                let next = (read.seq().next(), read.hash());
                let payload = self.adversary_chatter();
                let lamport = read.header().lamport + 1;
                self.adversary_signs(mind.me, read.log(), next, lamport, &payload)
            }
        };
        self.adversary_says(mind, to, Message::Entries(vec![forged]));
    }

    fn some_session(&mut self) -> SessionId {
        let sessions = self.sessions.clone();
        let fresh = SessionId(self.rng.bytes());
        self.rng.pick(&sessions).copied().unwrap_or(fresh)
    }

    fn adversary_chatter(&mut self) -> Payload {
        let session = self.some_session();
        if self.rng.chance(500_000) {
            Payload::Mark(Mark {
                session,
                done: self.rng.chance(500_000),
            })
        } else {
            Payload::Presence(Presence {
                session,
                state: SessionState::Idle,
            })
        }
    }

    /// It says that it holds what it named.
    fn adversary_boasts(&mut self, mind: &Adversary, to: usize, payload: &Payload) {
        if let Payload::Version(version) = payload {
            let roots = version.roots().collect();
            self.adversary_says(mind, to, Message::Complete(roots));
        }
    }

    /// A version that consists of what somebody else wrote, under another kind.
    fn adversary_misnames(&mut self, mind: &mut Adversary) -> Option<Payload> {
        // What was said last is what others are still fetching.
        let latest = mind.roots.len().saturating_sub(20);
        let root = *self.rng.pick(mind.roots.get(latest..)?)?;
        let content = Rc::clone(self.library.get(&root.id)?);
        let parts = root.children(&content).ok()?;
        let pages = parts.iter().filter(|part| part.kind == WantKind::List);
        let pages: Vec<Want> = pages.copied().collect();
        let below = if pages.is_empty() { parts } else { pages };
        let stolen = if self.rng.chance(500_000) {
            root
        } else {
            self.rng.pick(&below).copied().unwrap_or(root)
        };
        let bytes = Rc::clone(self.library.get(&stolen.id)?);
        let len = bytes.len() as u32;
        mind.own_chunks.insert(stolen.id, bytes);
        let named = ContentRef { id: stolen.id, len };
        let session = self.some_session();
        let mut version = Version {
            session,
            parents: Vec::new(),
            derived_from: None,
            manifest: None,
            snapshot: None,
            state: SessionState::Live,
            meta: SessionMeta::default(),
        };
        let others = stolen.all_kinds().filter(|want| *want != stolen);
        let others: Vec<Want> = others.collect();
        let (tail, pages) = match self.rng.pick(&others)?.kind {
            WantKind::Manifest => {
                version.manifest = Some(named);
                return Some(Payload::Version(version));
            }
            WantKind::Data if self.rng.chance(500_000) => {
                version.snapshot = Some(named);
                return Some(Payload::Version(version));
            }
            WantKind::Data => (vec![ChunkRef { id: stolen.id, len }], Vec::new()),
            WantKind::List => (Vec::new(), vec![stolen.id]),
        };
        let manifest = manifest_of(session, tail, pages).to_bytes();
        let id = ChunkId::of(&manifest);
        let len = manifest.len() as u32;
        version.manifest = Some(ContentRef { id, len });
        mind.own_chunks.insert(id, Rc::new(manifest));
        Some(Payload::Version(version))
    }

    /// A version of somebody's session, or what is called one.
    fn adversary_version(&mut self, mind: &mut Adversary, malformed: bool) -> Payload {
        let session = self.some_session();
        let data: [u8; 24] = self.rng.bytes();
        let chunk = ChunkId::of(&data);
        mind.own_chunks.insert(chunk, Rc::new(data.to_vec()));
        let len = data.len() as u32;
        let tail = vec![ChunkRef { id: chunk, len }];
        let manifest = manifest_of(session, tail, Vec::new()).to_bytes();
        let mut root = ContentRef {
            id: ChunkId::of(&manifest),
            len: manifest.len() as u32,
        };
        mind.own_chunks.insert(root.id, Rc::new(manifest));
        let mut snapshot = None;
        if malformed {
            root.id = chunk;
            if self.rng.chance(500_000) {
                snapshot = Some(root);
            }
        }
        let parents = match self.rng.pick(&mind.entries) {
            Some(entry) if self.rng.chance(300_000) => vec![entry.hash()],
            _ => Vec::new(),
        };
        Payload::Version(Version {
            session,
            parents,
            derived_from: None,
            manifest: Some(root),
            snapshot,
            state: SessionState::Live,
            meta: SessionMeta::default(),
        })
    }
}
