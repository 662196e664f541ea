//! What users do.

use std::collections::BTreeSet;
use std::rc::Rc;

use ccpeer_core::entry::{
    ContentRef, DeviceInfo, Enriched, Mark, Payload, Presence, SessionMeta, TrustChange, Version,
};
use ccpeer_core::id::{ChunkId, DeviceId, EntryHash, SessionId};
use ccpeer_core::limits;
use ccpeer_core::lineage::VersionNode;
use ccpeer_core::manifest::{
    ChunkRef, FileEntry, ListPage, MANIFEST_VERSION, Manifest, Origin, PathFlavour,
    ProjectIdentity, Segment, Slot, Want,
};
use ccpeer_core::presence::{EndReason, SessionState};
use ccpeer_core::store::Batch;
use ccpeer_core::sync::event::Event;
use ccpeer_core::time::Timestamp;

use crate::driver::Job;
use crate::mutants::Mutant;
use crate::world::{Happening, World};

impl World {
    /// Who trusts whom when the world begins.
    pub(crate) fn first_trust(&mut self) {
        let count = self.devices.len();
        for device in self.honest() {
            self.name_itself(device);
            if self.options.trust_changes > 0 && self.rng.chance(500_000) {
                self.choose_introducers(device);
            }
        }
        for a in 0..count {
            for b in a + 1..count {
                if self.rng.chance(self.options.paired) {
                    self.pair(a, b);
                }
            }
        }
    }

    /// A device says its name. Names are suggestions; some are alike.
    pub(crate) fn name_itself(&mut self, device: usize) {
        let name = if self.rng.chance(500_000) {
            "desk".to_owned()
        } else {
            format!("device {}", self.rng.below(4))
        };
        let info = DeviceInfo {
            name,
            os: "linux".into(),
        };
        self.give(device, Job::State(Payload::Device(info)));
    }

    pub(crate) fn pair(&mut self, a: usize, b: usize) {
        for (from, to) in [(a, b), (b, a)] {
            if self.devices[from].hostile {
                self.adversary_pairs(to);
                continue;
            }
            let change = TrustChange::add(self.devices[to].id);
            // One side may come late, or never.
            if self.chaos && self.now > 0 && self.rng.chance(150_000) {
                continue;
            }
            let life = self.devices[from].life;
            let pause = self.rng.below(400);
            let job = Box::new(Job::State(Payload::Trust(change)));
            self.after(
                pause,
                Happening::Job {
                    device: from,
                    life,
                    job,
                },
            );
        }
    }

    /// Somebody does something somewhere.
    pub(crate) fn user(&mut self) {
        let awake = self.awake();
        let Some(device) = self.rng.pick(&awake).copied() else {
            return;
        };
        if self.rng.chance(self.options.trust_changes) {
            return self.change_trust(device);
        }
        let sessions = self.sessions.clone();
        let Some(session) = self.rng.pick(&sessions).copied() else {
            return;
        };
        if self.options.policies > 0 && self.rng.chance(self.options.policies) {
            return self.choose_sharing(device, session);
        }
        match self.rng.below(22) {
            0..=11 => self.capture(device, session),
            12 => {
                let state = self.some_state();
                let payload = Payload::Presence(Presence { session, state });
                self.give(device, Job::State(payload));
            }
            13 | 14 => {
                // The retention sweep of Claude Code took the file. Only what
                // the device says of it changes.
                self.devices[device].placed.remove(&session);
                let state = SessionState::Ended(EndReason::Other);
                self.give(
                    device,
                    Job::State(Payload::Presence(Presence { session, state })),
                );
            }
            15 => {
                let done = self.rng.chance(700_000);
                self.give(device, Job::State(Payload::Mark(Mark { session, done })));
            }
            16 => self.need_something_old(device, session),
            17 => {
                let backup = self.devices[device].disk.durable.clone();
                self.devices[device].backup = Some(backup);
            }
            18 => self.join(device, session),
            19 => self.name_itself(device),
            20 => self.enrich(device, session),
            _ => {
                let fresh = SessionId(self.rng.bytes());
                if self.sessions.len() < 2 * self.options.sessions {
                    self.sessions.push(fresh);
                }
            }
        }
    }

    fn change_trust(&mut self, device: usize) {
        if self.mind_members(device) {
            return;
        }
        let other = self.rng.index(self.devices.len());
        if self.devices[other].id == self.devices[device].id {
            return;
        }
        if self.rng.chance(700_000) {
            self.pair(device, other);
        } else {
            self.revoke(device, self.devices[other].id);
        }
    }

    pub(crate) fn revoke(&mut self, device: usize, other: DeviceId) {
        self.count("revocation");
        let change = Payload::Trust(TrustChange::Revoke(other));
        self.give(device, Job::State(change));
    }

    fn some_state(&mut self) -> SessionState {
        match self.rng.below(3) {
            0 => SessionState::Live,
            1 => SessionState::Idle,
            _ => SessionState::Interrupted,
        }
    }

    /// A hook fired: the session in the user's directory has grown. It grew from
    /// what lies there, or from another device's version that was continued.
    fn capture(&mut self, device: usize, session: SessionId) {
        let take_over = self.rng.chance(self.options.hand_over);
        let d = &self.devices[device];
        let placed = d.placed.get(&session).copied();
        let newest = self.newest_by_number(device, &session);
        let base = if take_over {
            newest.or(placed)
        } else {
            placed.or(newest)
        };
        let base = base.filter(|id| self.is_here(device, id));
        self.capture_from(device, session, base.into_iter().collect());
    }

    /// A model has written a better document of a version, mostly of a head.
    fn enrich(&mut self, device: usize, session: SessionId) {
        let d = &self.devices[device];
        let Some(record) = d.machine.as_ref().and_then(|m| m.session(&session)) else {
            return;
        };
        let own = record.nodes().filter(|n| n.log.device == d.id);
        let mut own: Vec<&VersionNode> = own.collect();
        own.sort_by_key(|n| n.order());
        let back = self.rng.below(20) as usize / 19;
        let Some(version) = own.iter().nth_back(back).map(|n| n.id) else {
            return;
        };
        let bytes: [u8; 20] = self.rng.bytes();
        let (id, bytes) = (ChunkId::of(&bytes), Rc::new(bytes.to_vec()));
        self.library.insert(id, Rc::clone(&bytes));
        let len = bytes.len() as u32;
        let enriched = Enriched {
            session,
            version,
            snapshot: ContentRef { id, len },
        };
        let state = Job::State(Payload::Enriched(enriched));
        self.count("better document");
        self.give(device, Job::Keep(vec![(id, bytes)], Box::new(state)));
    }

    /// Somebody joins what was forked.
    fn join(&mut self, device: usize, session: SessionId) {
        let Some(machine) = &self.devices[device].machine else {
            return;
        };
        let Some(record) = machine.session(&session) else {
            return;
        };
        let mut heads = record.heads();
        heads.sort_by_key(|h| h.order());
        let heads: Vec<EntryHash> = heads.iter().map(|h| h.id).collect();
        if heads.len() < 2 || heads.len() > limits::PARENTS_MAX {
            return;
        }
        if heads.iter().all(|h| self.is_here(device, h)) {
            self.capture_from(device, session, heads);
        }
    }

    fn capture_from(&mut self, device: usize, session: SessionId, parents: Vec<EntryHash>) {
        let (mut chunks, mut refs, mut pages) = (Vec::new(), Vec::new(), Vec::new());
        if let Some(base) = parents.first() {
            (refs, pages) = self.content_of(device, base);
        }
        let grown = match self.rng.below(60) {
            0 => 200,
            1..=3 => 24,
            _ => 3,
        };
        for _ in 0..self.rng.between(1, grown) {
            let bytes: [u8; 24] = self.rng.bytes();
            let id = ChunkId::of(&bytes);
            chunks.push((id, Rc::new(bytes.to_vec())));
            refs.push(ChunkRef {
                id,
                len: bytes.len() as u32,
            });
        }
        while refs.len() > limits::LIST_REFS_MAX {
            let rest = refs.split_off(limits::LIST_REFS_MAX);
            let page = ListPage {
                version: MANIFEST_VERSION,
                refs,
            }
            .to_bytes();
            let id = ChunkId::of(&page);
            pages.push(id);
            chunks.push((id, Rc::new(page)));
            refs = rest;
        }
        let shape = self.rng.below(10);
        let snapshot = (shape < 6).then(|| {
            let bytes: [u8; 16] = self.rng.bytes();
            let id = ChunkId::of(&bytes);
            chunks.push((id, Rc::new(bytes.to_vec())));
            ContentRef {
                id,
                len: bytes.len() as u32,
            }
        });
        let mut manifest = None;
        // Now and then only the snapshot is shared.
        if shape != 5 {
            let bytes = manifest_of(session, refs, pages).to_bytes();
            let id = ChunkId::of(&bytes);
            manifest = Some((
                ContentRef {
                    id,
                    len: bytes.len() as u32,
                },
                Rc::new(bytes),
            ));
        }
        let version = Version {
            session,
            parents,
            derived_from: None,
            manifest: manifest.as_ref().map(|(r, _)| *r),
            snapshot,
            state: self.some_state(),
            meta: SessionMeta {
                title: "a title".into(),
                ..SessionMeta::default()
            },
        };
        self.library.extend(chunks.iter().cloned());
        let chunk = manifest.iter().map(|(r, bytes)| (r.id, Rc::clone(bytes)));
        self.library.extend(chunk);
        // Chunks, then the manifest, then the entry.
        let captured = Job::Captured(Box::new(version));
        let mut job = captured;
        if self.mutant == Some(Mutant::EntryBeforeChunks) {
            self.devices[device].inbox.push_back(job);
            job = Job::Keep(chunks, Box::new(Job::Restate));
        } else {
            if let Some((r, bytes)) = manifest {
                job = Job::Keep(vec![(r.id, bytes)], Box::new(job));
            }
            job = Job::Keep(chunks, Box::new(job));
        }
        self.give(device, job);
    }

    /// The references of a version that is whole on a device.
    fn content_of(&self, device: usize, version: &EntryHash) -> (Vec<ChunkRef>, Vec<ChunkId>) {
        let chunks = &self.devices[device].disk.live.chunks;
        let node = self.devices[device]
            .machine
            .as_ref()
            .and_then(|m| m.version_of(version));
        let manifest = node
            .and_then(|n| n.version.manifest)
            .and_then(|m| chunks.get(&m.id))
            .and_then(|bytes| Manifest::from_bytes(bytes).ok());
        let segment =
            manifest.and_then(|m| m.files.into_iter().next()?.segments.into_iter().next());
        segment.map(|s| (s.tail, s.pages)).unwrap_or_default()
    }

    fn need_something_old(&mut self, device: usize, session: SessionId) {
        let Some(machine) = &self.devices[device].machine else {
            return;
        };
        let Some(record) = machine.session(&session) else {
            return;
        };
        let manifests = record.nodes().filter_map(|n| n.version.manifest);
        let manifests: BTreeSet<ChunkId> = manifests.map(|m| m.id).collect();
        let manifests: Vec<ChunkId> = manifests.into_iter().collect();
        if let Some(id) = self.rng.pick(&manifests).copied() {
            self.give(device, Job::Event(Event::Need(Want::manifest(id))));
        }
    }

    /// The newest version, whatever its hash: what users do must not depend on
    /// labels, which are in the hash.
    fn newest_by_number(&self, device: usize, session: &SessionId) -> Option<EntryHash> {
        let record = self.devices[device].machine.as_ref()?.session(session)?;
        let heads = record.heads();
        heads.iter().max_by_key(|h| h.order()).map(|h| h.id)
    }

    /// The version that a user is shown first.
    pub(crate) fn newest(&self, device: usize, session: &SessionId) -> Option<&VersionNode> {
        let record = self.devices[device].machine.as_ref()?.session(session)?;
        if self.mutant == Some(Mutant::WallClockOrder) {
            return record.heads().into_iter().max_by_key(|n| n.at);
        }
        record.latest()
    }

    fn is_here(&self, device: usize, version: &EntryHash) -> bool {
        let Some(machine) = &self.devices[device].machine else {
            return false;
        };
        machine
            .version_of(version)
            .is_some_and(|node| machine.is_here(node))
    }

    /// The planted bug: because a file is gone at its source, everybody throws
    /// its bytes away.
    pub(crate) fn propagate_vanish(&mut self, device: usize, batch: &Batch) {
        for entry in &batch.entries {
            let Some(Payload::Presence(p)) = entry.payload() else {
                continue;
            };
            if p.state != SessionState::Ended(EndReason::Other) {
                continue;
            }
            let Some(machine) = &self.devices[device].machine else {
                continue;
            };
            let nodes = machine
                .session(&p.session)
                .into_iter()
                .flat_map(|r| r.nodes());
            let ids: Vec<ChunkId> = nodes
                .filter_map(|n| n.version.manifest)
                .map(|m| m.id)
                .collect();
            self.devices[device].disk.lose_chunks(&ids);
        }
    }
}

pub(crate) fn manifest_of(
    session: SessionId,
    tail: Vec<ChunkRef>,
    pages: Vec<ChunkId>,
) -> Manifest {
    let paged = (pages.len() * limits::LIST_REFS_MAX) as u64 * 24;
    let len = paged + tail.iter().map(|r| u64::from(r.len)).sum::<u64>();
    let segment = Segment {
        origin: 0,
        len,
        pages,
        tail,
    };
    Manifest {
        version: MANIFEST_VERSION,
        session,
        origins: vec![Origin {
            flavour: PathFlavour::Unix,
            home: "/home/ann".into(),
            project: "/home/ann/thing".into(),
            claude_dir: "/home/ann/.claude".into(),
            slug: "-home-ann-thing".into(),
        }],
        project: ProjectIdentity {
            name: "thing".into(),
            ..ProjectIdentity::default()
        },
        files: vec![FileEntry {
            slot: Slot::Main,
            segments: vec![segment],
            modified: Timestamp(0),
        }],
    }
}
