//! The driver of a simulated device: it carries out effects one by one, waits
//! at barriers, writes chunks beside them, and dies between any two effects. How
//! things travel is the business of `courier.rs`.

use std::collections::BTreeSet;
use std::rc::Rc;

use ccpeer_core::entry::{Enriched, Payload, SignedEntry, Version};
use ccpeer_core::id::{ChunkId, DeviceId, EntryHash, Epoch};
use ccpeer_core::limits;
use ccpeer_core::manifest::Want;
use ccpeer_core::store::{Batch, Store};
use ccpeer_core::sync::effect::{Effect, Notice};
use ccpeer_core::sync::event::{Event, FetchFault};
use ccpeer_core::sync::machine::Machine;
use ccpeer_core::wire::Message;

use crate::check::TrustModel;
use crate::disk::DiskError;
use crate::mutants::Mutant;
use crate::network::Packet;
use crate::trace::Brief;
use crate::world::{Happening, World};

/// A piece of work of a driver.
#[expect(clippy::large_enum_variant, reason = "jobs are moved once")]
pub(crate) enum Job {
    Event(Event),
    /// Chunks of a capture are to be made durable, and then the next thing done.
    Keep(Vec<(ChunkId, Rc<Vec<u8>>)>, Box<Job>),
    /// Something is to be drafted, signed and appended.
    State(Payload),
    /// A version was captured from what lies in the user's directory.
    Captured(Box<Version>),
    /// Chunks came in from a peer, on a link.
    Came(usize, Vec<(Want, Rc<Vec<u8>>)>),
    /// Chunks were found damaged.
    Lost,
    /// Whatever the current epoch lacks is to be said again.
    Restate,
}

/// What stands at a barrier.
pub(crate) struct After {
    batch: Batch,
}

/// What follows when chunks are durable that were written beside the driver.
pub(crate) enum Then {
    Fetched(DeviceId, Vec<Want>),
    Next(Box<Job>),
}

/// Restatements in one life after which something is wrong.
const RESTATED_MAX: u32 = 2_000;

impl World {
    /// Starts a device from its disk.
    pub(crate) fn start(&mut self, device: usize) {
        if self.devices[device].gone || self.devices[device].hostile {
            return;
        }
        self.boot_clock(device);
        let d = &mut self.devices[device];
        d.life += 1;
        d.restated = 0;
        // What nobody remembers any more is found again, or is not.
        d.broken.clear();
        if !self.recover(device, false) {
            return;
        }
        let d = &mut self.devices[device];
        d.lost.clear();
        let held: BTreeSet<_> = d.disk.live.entries().map(|e| e.hash()).collect();
        let lost = d.acked.iter().filter(|h| !held.contains(*h)).count();
        // What was being synced when it died may have made it after all.
        let own = d.disk.live.entries().filter(|e| e.log().device == d.id);
        let own: Vec<_> = own.map(|e| e.hash()).collect();
        self.durable_once.extend(own);
        let complete = &self.devices[device].disk.live.complete;
        self.whole_once
            .extend(complete.iter().map(|root| (device, *root)));
        self.devices[device].inbox.push_back(Job::Restate);
        let epoch = self.devices[device].disk.live.epoch.map_or(0, |e| e.0[0]);
        let brief = Brief::of("starts", held.len() as u64, u64::from(epoch));
        self.note(device, brief);
        if lost > 0 {
            self.fail(
                "S4",
                format!("device {device} lost {lost} entries that it had confirmed"),
            );
        }
        self.advance(device);
    }

    /// Makes a machine out of what is on the disk, in place of the one there was.
    fn recover(&mut self, device: usize, pause: bool) -> bool {
        let seed = self.rng.next();
        let now = self.clock(device);
        let d = &mut self.devices[device];
        let Ok(mut stored) = d.disk.recovered() else {
            return false;
        };
        if self.mutant == Some(Mutant::MarksWithoutKinds) {
            let marks = stored.complete.iter().flat_map(Want::all_kinds);
            stored.complete = marks.collect();
        }
        d.model = TrustModel::of(d.id, stored.entries.iter());
        let mut machine = Machine::recover(d.id, stored, seed);
        if let Some(Mutant::Machine(planted)) = self.mutant {
            machine.plant(planted);
        }
        if pause {
            machine.pause(now);
        }
        machine.set_sharing(d.sharing.clone());
        let told = machine.handle(Event::Introducers(d.introducers.clone()), now);
        if !pause {
            // What follows from it comes later otherwise, with what is said again:
            // there is no room for it now.
            d.effects.extend(told);
        }
        d.effects.extend(machine.start(now));
        d.gate = machine.trusted().copied().collect();
        d.machine = Some(machine);
        true
    }

    /// The only way on after a failed write: what the disk says is what is. The
    /// links stay.
    fn rebuild(&mut self, device: usize) {
        self.devices[device].effects.clear();
        self.note(device, Brief::of("rebuilds", 0, 0));
        if !self.recover(device, true) {
            return;
        }
        // What was to be said again is said when there may be room.
        let inbox = &mut self.devices[device].inbox;
        inbox.retain(|job| !matches!(job, Job::Restate));
        let life = self.devices[device].life;
        let job = Box::new(Job::Restate);
        self.after(
            limits::FETCH_SLOW_MS.1,
            Happening::Job { device, life, job },
        );
        let peers: Vec<usize> = self.devices[device].links.keys().copied().collect();
        for peer in peers {
            let id = self.devices[peer].id;
            self.handle(device, Event::PeerUp(id));
        }
    }

    /// A device dies where it stands.
    pub(crate) fn die(&mut self, device: usize) {
        let rng = &mut self.rng;
        let d = &mut self.devices[device];
        if d.machine.take().is_none() {
            return;
        }
        let torn = d.disk.crash(|| rng.chance(500_000));
        d.inbox.clear();
        d.effects.clear();
        d.busy = None;
        d.asleep = false;
        d.held.clear();
        let links = std::mem::take(&mut d.links);
        self.count("crash");
        if torn {
            self.count("torn write");
        }
        self.note(device, Brief::of("dies", u64::from(torn), 0));
        for end in links.into_values() {
            self.net.end_gone(end.id, device);
            self.close(end.id, 30_000);
        }
    }

    pub(crate) fn give(&mut self, device: usize, job: Job) {
        self.devices[device].inbox.push_back(job);
        self.advance(device);
    }

    /// Works off effects, then jobs, until the disk is to be waited for.
    pub(crate) fn advance(&mut self, device: usize) {
        while self.failure.is_none() {
            let d = &mut self.devices[device];
            if d.machine.is_none() || d.busy.is_some() || d.asleep {
                return;
            }
            if let Some(effect) = d.effects.pop_front() {
                if self.chaos && self.options.crash > 0 && self.rng.chance(self.options.crash) {
                    self.die(device);
                    let pause = self.rng.between(100, 20_000);
                    self.after(pause, Happening::Start { device });
                    return;
                }
                self.perform(device, effect);
            } else if let Some(job) = d.inbox.pop_front() {
                self.work(device, job);
            } else {
                return;
            }
        }
    }

    fn work(&mut self, device: usize, job: Job) {
        match job {
            Job::Event(event) => self.handle(device, event),
            Job::Keep(chunks, next) => self.keep(device, chunks, Then::Next(next)),
            Job::Came(from, chunks) => self.came(device, from, chunks),
            Job::State(payload) => self.state(device, &payload),
            Job::Captured(version) => self.captured(device, version),
            Job::Lost => self.tell_loss(device),
            Job::Restate if self.mutant == Some(Mutant::NoRestatement) => {}
            Job::Restate => {
                let d = &mut self.devices[device];
                let next = d
                    .machine
                    .as_ref()
                    .and_then(|m| m.restatements().into_iter().next());
                if let Some((payload, _)) = next {
                    d.restated += 1;
                    if d.restated > RESTATED_MAX {
                        self.fail("S9", format!("device {device} repeats itself for ever"));
                    }
                    self.devices[device].inbox.push_front(Job::Restate);
                    self.state(device, &payload);
                }
            }
        }
    }

    /// Everything that a capture names is here, or is put again: it may have been
    /// found damaged since.
    fn captured(&mut self, device: usize, version: Box<Version>) {
        let mut lost = Vec::new();
        if let Some(manifest) = version.manifest {
            lost = self.missing(device, &Want::manifest(manifest.id));
        }
        let found = lost.iter().filter_map(|want| {
            let bytes = self.library.get(&want.id)?;
            Some((want.id, Rc::clone(bytes)))
        });
        let found: Vec<_> = found.collect();
        if lost.is_empty() || self.mutant == Some(Mutant::EntryBeforeChunks) {
            self.state(device, &Payload::Version(*version));
        } else if found.len() == lost.len() {
            self.keep(device, found, Then::Next(Box::new(Job::Captured(version))));
        }
    }

    /// Drafts, signs and appends.
    pub(crate) fn state(&mut self, device: usize, payload: &Payload) {
        let Some(machine) = &self.devices[device].machine else {
            return;
        };
        match payload {
            Payload::Version(version) => {
                let (shown, mut version) = machine.prepare(version.clone());
                let shown = shown.map(Payload::Version);
                let before = shown.and_then(|payload| self.sign(device, &payload));
                version.parents.extend(before);
                self.sign(device, &Payload::Version(version));
            }
            Payload::Enriched(enriched) => {
                let shown = machine.shown_form(&enriched.version);
                let version = shown.unwrap_or(enriched.version);
                let enriched = Enriched {
                    version,
                    ..*enriched
                };
                self.sign(device, &Payload::Enriched(enriched));
            }
            Payload::Device(_)
            | Payload::Trust(_)
            | Payload::Presence(_)
            | Payload::Mark(_)
            | Payload::Claim(_)
            | Payload::Capsule(_)
            | Payload::Roll(_) => {
                self.sign(device, payload);
            }
        }
    }

    fn sign(&mut self, device: usize, payload: &Payload) -> Option<EntryHash> {
        let at = self.wall(device);
        let d = &self.devices[device];
        let machine = d.machine.as_ref()?;
        let (header, bytes) = machine.draft(payload, at);
        let signed = SignedEntry::sign(&header, bytes, &d.key);
        let Ok(entry) = signed.verified_by_store() else {
            self.fail("S3", format!("device {device} signed something unreadable"));
            return None;
        };
        let hash = entry.hash();
        self.note_kept(device, payload, hash);
        self.counts.entries += 1;
        self.genuine.insert(entry.hash(), Rc::new(entry.clone()));
        if let Payload::Version(version) = payload {
            self.devices[device]
                .placed
                .insert(version.session, entry.hash());
        }
        if self.mutant == Some(Mutant::AckBeforePersist) {
            self.devices[device].acked.insert(entry.hash());
        }
        self.handle(device, Event::Append(entry));
        Some(hash)
    }

    fn handle(&mut self, device: usize, event: Event) {
        let name = |id: &DeviceId| self.peer_of(device, id).map_or(99, |n| n as u8);
        let brief = Brief::event(&event, name);
        self.note(device, brief);
        self.note_sharing(device, &event);
        let now = self.clock(device);
        let Some(machine) = &mut self.devices[device].machine else {
            return;
        };
        let mut effects = machine.handle(event, now);
        if self.mutant == Some(Mutant::SendBeforePersist) {
            effects.sort_by_key(|e| !matches!(e, Effect::Send(..)));
        }
        self.devices[device].effects.extend(effects);
    }

    fn disk_pause(&mut self, device: usize) -> u64 {
        let (low, high) = self.options.disk_ms;
        self.rng.between(low, high) * self.devices[device].slow
    }

    /// Writes chunks beside the driver.
    fn keep(&mut self, device: usize, chunks: Vec<(ChunkId, Rc<Vec<u8>>)>, then: Then) {
        match self.devices[device].disk.write_chunks(chunks) {
            Ok(write) => {
                let pause = self.disk_pause(device);
                let life = self.devices[device].life;
                self.after(
                    pause,
                    Happening::Kept {
                        device,
                        life,
                        write,
                        then,
                    },
                );
            }
            Err(DiskError::Full) => {
                self.count("chunks refused");
                // A capture is given up; nobody was told that it is safe.
                if let Then::Fetched(from, wants) = then {
                    self.fetch_failed(device, &from, wants, FetchFault::Store);
                }
            }
            Err(error) => self.fail("INV-4", format!("device {device} keeps {error:?}")),
        }
    }

    /// What came from a peer is looked at before it is kept.
    fn came(&mut self, device: usize, from: usize, came: Vec<(Want, Rc<Vec<u8>>)>) {
        let mut good = Vec::new();
        for (want, bytes) in came {
            let is_it = ChunkId::of(&bytes) == want.id;
            let why = if !is_it && self.mutant != Some(Mutant::ContentUnchecked) {
                FetchFault::Wrong
            } else if is_it
                && self.memo.children(&want, &bytes).is_none()
                && self.mutant != Some(Mutant::KindUnchecked)
            {
                FetchFault::Malformed
            } else {
                good.push((want, bytes));
                continue;
            };
            self.count("wrong chunk");
            let from = self.devices[from].id;
            self.fetch_failed(device, &from, vec![want], why);
        }
        if good.is_empty() {
            return;
        }
        let wants = good.iter().map(|(want, _)| *want).collect();
        let chunks = good.into_iter().map(|(w, bytes)| (w.id, bytes)).collect();
        let from = self.devices[from].id;
        self.keep(device, chunks, Then::Fetched(from, wants));
    }

    pub(crate) fn kept(&mut self, device: usize, write: u64, then: Then) {
        self.devices[device].disk.done(write);
        match then {
            Then::Next(job) => self.devices[device].inbox.push_back(*job),
            Then::Fetched(_, wants) => {
                for want in wants {
                    let mut missing = self.missing(device, &want);
                    if self.mutant == Some(Mutant::CompleteTooEarly) {
                        missing.pop();
                    }
                    let bytes = self.devices[device].disk.live.len_of(&want.id);
                    let event = Event::Fetched {
                        want,
                        missing,
                        bytes,
                    };
                    self.devices[device].inbox.push_back(Job::Event(event));
                }
            }
        }
        self.advance(device);
    }

    /// What of a want the disk does not hold. Damage that is found on the way is
    /// dealt with.
    fn missing(&mut self, device: usize, want: &Want) -> Vec<Want> {
        let mut damaged = BTreeSet::new();
        let live = &self.devices[device].disk.live;
        let missing = live.missing(want, &mut self.memo, &mut damaged);
        self.found_damaged(device, &damaged);
        missing
    }

    /// Chunks are not what they were: they are struck off, and what consists of
    /// them is to be had again.
    pub(crate) fn found_damaged(&mut self, device: usize, damaged: &BTreeSet<ChunkId>) {
        if damaged.is_empty() {
            return;
        }
        self.count("damage found");
        let broken = self.strike(device, damaged);
        let d = &mut self.devices[device];
        d.lost.extend(damaged);
        if self.mutant != Some(Mutant::DamageNotTold) {
            d.inbox.push_back(Job::Lost);
        }
        let brief = Brief::of("finds damage", damaged.len() as u64, broken as u64);
        self.note(device, brief);
    }

    /// Strikes chunks off on the disk, and what consists of them.
    fn strike(&mut self, device: usize, damaged: &BTreeSet<ChunkId>) -> usize {
        let d = &mut self.devices[device];
        let complete = d.disk.live.complete.clone();
        let broken = d.disk.quarantine(damaged, &self.memo);
        if self.mutant == Some(Mutant::DamageNotForgotten) {
            d.disk.live.complete = complete.clone();
            d.disk.durable.complete = complete;
        }
        d.broken.extend(broken.iter().copied());
        broken.len()
    }

    /// The machine is told of damage. No commit is under way now, so what was
    /// called whole since then is among what is no longer.
    fn tell_loss(&mut self, device: usize) {
        let lost = std::mem::take(&mut self.devices[device].lost);
        self.strike(device, &lost);
        let broken = self.devices[device].broken.iter().copied().collect();
        self.handle(device, Event::Forgotten(broken));
    }

    pub(crate) fn synced(&mut self, device: usize, write: u64) {
        let d = &mut self.devices[device];
        d.disk.done(write);
        if let Some(after) = d.busy.take() {
            self.persisted(device, &after.batch);
        }
        self.advance(device);
    }

    /// A batch is durable: what it says may be known from now on.
    fn persisted(&mut self, device: usize, batch: &Batch) {
        let me = self.devices[device].id;
        for entry in &batch.entries {
            self.devices[device].model.learn(entry);
            if entry.log().device == me {
                let held = self.devices[device].disk.durable.logs.get(&entry.log());
                if held.is_some_and(|l| l.iter().any(|e| e.hash() == entry.hash())) {
                    self.durable_once.insert(entry.hash());
                }
                self.devices[device].acked.insert(entry.hash());
            }
        }
        for root in &batch.complete {
            self.check_whole(device, root);
            self.whole_once.insert((device, *root));
            self.devices[device].broken.remove(root);
        }
        if self.mutant == Some(Mutant::VanishPropagated) {
            self.propagate_vanish(device, batch);
        }
    }

    fn perform(&mut self, device: usize, effect: Effect) {
        let name = |id: &DeviceId| self.peer_of(device, id).map_or(99, |n| n as u8);
        let brief = Brief::effect(&effect, name);
        self.note(device, brief);
        match effect {
            Effect::Persist(batch) => {
                self.check_batch(device, &batch);
                match self.devices[device].disk.write(&batch) {
                    Ok(write) => {
                        let pause = self.disk_pause(device);
                        self.devices[device].busy = Some(After { batch });
                        let life = self.devices[device].life;
                        self.after(
                            pause,
                            Happening::Synced {
                                device,
                                life,
                                write,
                            },
                        );
                    }
                    Err(DiskError::Full) if self.mutant == Some(Mutant::FullIgnored) => {
                        self.persisted(device, &batch);
                    }
                    Err(DiskError::Full) => {
                        self.count("commit refused");
                        self.rebuild(device);
                    }
                    Err(error) => self.fail("S2", format!("device {device}: {error:?}")),
                }
            }
            Effect::Send(to, message) => {
                self.check_send(device, &to, &message);
                self.send(device, &to, Packet::Words(message));
            }
            Effect::ServeRange {
                to,
                log,
                after,
                upto,
                withhold,
            } => {
                self.check_serve(device, &to, &log.device);
                let mut after = after;
                while after < upto {
                    let disk = &self.devices[device].disk;
                    let Ok(part) = disk.range(log, after, upto, limits::MESSAGE_ENTRY_BYTES) else {
                        return;
                    };
                    let part: Vec<_> = part.into_iter().take(limits::MESSAGE_ENTRIES_MAX).collect();
                    if part.is_empty() {
                        return self.fail("S2", format!("device {device} serves what it lacks"));
                    }
                    after.0 += part.len() as u64;
                    let key = &self.devices[device].key;
                    let shown = |entry: SignedEntry| match &withhold {
                        Some(sharing) if sharing.withholds(&entry) => entry.withheld(key),
                        _ => Some(entry),
                    };
                    let part: Vec<_> = part.into_iter().filter_map(shown).collect();
                    self.check_shown(device, &part);
                    self.send(device, &to, Packet::Words(Message::Entries(part)));
                }
            }
            Effect::Check(want) => {
                let mut missing = self.missing(device, &want);
                if self.mutant == Some(Mutant::CompleteTooEarly) && missing.len() < 2 {
                    missing.clear();
                }
                let life = self.devices[device].life;
                let job = Box::new(Job::Event(Event::Checked(want, missing)));
                let pause = self.rng.below(self.options.disk_ms.1 + 1);
                self.after(pause, Happening::Job { device, life, job });
            }
            Effect::Fetch { from, wants } => self.fetch(device, &from, wants),
            Effect::Disconnect(peer, fault) => self.disconnect(device, &peer, fault),
            Effect::WakeAt(at) => {
                let pause = self.until(device, at);
                let d = &mut self.devices[device];
                d.tick += 1;
                let (life, tick) = (d.life, d.tick);
                self.after(pause, Happening::Tick { device, life, tick });
            }
            Effect::Notice(notice) => self.notice(device, notice),
        }
    }

    fn notice(&mut self, device: usize, notice: Notice) {
        let machine = self.devices[device].machine.as_ref();
        if machine.is_some_and(|m| m.may_restate(&notice)) {
            self.devices[device].inbox.push_back(Job::Restate);
        }
        match notice {
            Notice::OwnLogBehind if self.mutant != Some(Mutant::NoNewEpoch) => {
                self.count("own fork found");
                if !self.devices[device].may_fork {
                    let what = format!("device {device} was talked into a new epoch");
                    return self.fail("S12", what);
                }
                let epoch = Epoch(self.rng.bytes());
                let inbox = &mut self.devices[device].inbox;
                inbox.push_front(Job::Restate);
                inbox.push_front(Job::Event(Event::NewEpoch(epoch)));
            }
            Notice::Complete(_, version) => self.check_complete(device, &version),
            Notice::Replicated(peer, version) => self.check_replicated(device, &peer, &version),
            Notice::Equivocation(log) => {
                self.count("fork told");
                self.devices[device].reported.insert(log);
            }
            Notice::Rolled(_) => self.count("key roll heard"),
            Notice::OverQuota(_) => self.count("over quota"),
            Notice::LogFull(_) => self.count("log full"),
            Notice::Trust => {
                let d = &mut self.devices[device];
                let trusted = d.machine.iter().flat_map(|m| m.trusted());
                d.gate = trusted.copied().collect();
            }
            Notice::OwnLogBehind | Notice::Session(_) | Notice::Device(_) => {}
        }
    }
}
