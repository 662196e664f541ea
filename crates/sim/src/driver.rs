//! The driver of a simulated device: it carries out effects one by one, waits
//! at barriers, moves chunks, and dies between any two effects.

use std::rc::Rc;

use ccpeer_core::entry::{Payload, SignedEntry, VerifiedEntry, Version};
use ccpeer_core::id::{ChunkId, DeviceId, Epoch};
use ccpeer_core::limits;
use ccpeer_core::manifest::Want;
use ccpeer_core::store::{Batch, Store};
use ccpeer_core::sync::effect::{Effect, Notice};
use ccpeer_core::sync::event::{Event, FetchFault, Received};
use ccpeer_core::sync::machine::Machine;
use ccpeer_core::wire::Message;

use crate::check::TrustModel;
use crate::mutants::Mutant;
use crate::network::{Packet, pair};
use crate::trace::Brief;
use crate::world::{Happening, LinkEnd, World};

/// A piece of work of a driver.
#[expect(clippy::large_enum_variant, reason = "jobs are moved once")]
pub(crate) enum Job {
    Event(Event),
    /// Chunks of a capture are to be made durable.
    Keep(Vec<(ChunkId, Rc<Vec<u8>>)>),
    /// Something is to be drafted, signed and appended.
    State(Payload),
    /// A version was captured from what lies in the user's directory.
    Captured(Box<Version>),
    /// Chunks came in from a peer.
    Came(Vec<(Want, Rc<Vec<u8>>)>),
    /// Whatever the current epoch lacks is to be said again.
    Restate,
}

/// What follows when the disk has synced.
pub(crate) enum After {
    Batch(Batch),
    Kept,
    Came(Vec<Want>),
}

/// Restatements in one life after which something is wrong.
const RESTATED_MAX: u32 = 2_000;

impl World {
    /// Starts a device from its disk.
    pub(crate) fn start(&mut self, device: usize) {
        self.boot_clock(device);
        let seed = self.rng.next();
        let now = self.clock(device);
        let d = &mut self.devices[device];
        d.life += 1;
        d.restated = 0;
        let Ok(stored) = d.disk.recovered() else {
            return;
        };
        d.model = TrustModel::of(stored.entries.iter());
        let lost = d
            .acked
            .iter()
            .filter(|h| !stored.entries.iter().any(|e| e.hash() == **h))
            .count();
        // What was being synced when it died may have made it after all.
        let own = stored.entries.iter().filter(|e| e.log().device == d.id);
        self.durable_once.extend(own.map(VerifiedEntry::hash));
        self.whole_once
            .extend(stored.complete.iter().map(|root| (device, *root)));
        let (entries, epoch) = (stored.entries.len() as u64, stored.epoch);
        let mut machine = Machine::recover(d.id, stored, seed);
        if let Some(Mutant::Machine(planted)) = self.mutant {
            machine.plant(planted);
        }
        d.effects.extend(machine.start(now));
        d.machine = Some(machine);
        d.inbox.push_back(Job::Restate);
        let epoch = u64::from(epoch.0[0]);
        self.note(device, Brief::of("starts", entries, epoch));
        if lost > 0 {
            self.fail(
                "S4",
                format!("device {device} lost {lost} entries that it had confirmed"),
            );
        }
        self.advance(device);
    }

    /// A device dies where it stands.
    pub(crate) fn die(&mut self, device: usize) {
        let kept = self.devices[device].disk.unsynced() as u64;
        let kept = self.rng.below(kept + 1);
        let d = &mut self.devices[device];
        if d.machine.take().is_none() {
            return;
        }
        d.disk.crash(usize::try_from(kept).unwrap_or(0));
        d.inbox.clear();
        d.effects.clear();
        d.busy = None;
        let links = std::mem::take(&mut d.links);
        self.note(device, Brief::of("dies", kept, 0));
        for (peer, end) in links {
            let ends = pair(device, peer);
            self.net.end_gone(ends, end.id, device);
            self.close(ends, 30_000);
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
            if d.machine.is_none() || d.busy.is_some() {
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
            Job::Keep(chunks) => {
                if let Err(error) = self.devices[device].disk.write_chunks(chunks) {
                    self.fail("S2", format!("device {device}: {error:?}"));
                }
                self.wait_for_disk(device, After::Kept);
            }
            Job::Came(chunks) => {
                let wants = chunks.iter().map(|(want, _)| *want).collect();
                let chunks = chunks
                    .into_iter()
                    .map(|(want, bytes)| (want.id, bytes))
                    .collect();
                if let Err(error) = self.devices[device].disk.write_chunks(chunks) {
                    self.fail("S2", format!("device {device}: {error:?}"));
                }
                self.wait_for_disk(device, After::Came(wants));
            }
            Job::State(payload) => self.state(device, &payload),
            Job::Captured(version) => self.state(device, &Payload::Version(*version)),
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

    /// Drafts, signs and appends.
    pub(crate) fn state(&mut self, device: usize, payload: &Payload) {
        let at = self.wall(device);
        let d = &self.devices[device];
        let Some(machine) = &d.machine else { return };
        let (header, bytes) = machine.draft(payload, at);
        let signed = SignedEntry::sign(&header, bytes, &d.key);
        let Ok(entry) = signed.verified_by_store() else {
            return self.fail("S3", format!("device {device} signed something unreadable"));
        };
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
    }

    fn handle(&mut self, device: usize, event: Event) {
        let name = |id: &DeviceId| self.by_id.get(id).map_or(99, |n| *n as u8);
        let brief = Brief::event(&event, name);
        self.note(device, brief);
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

    fn wait_for_disk(&mut self, device: usize, after: After) {
        let (low, high) = self.options.disk_ms;
        let pause = self.rng.between(low, high);
        self.devices[device].busy = Some(after);
        let life = self.devices[device].life;
        self.after(pause, Happening::Synced { device, life });
    }

    pub(crate) fn synced(&mut self, device: usize) {
        let d = &mut self.devices[device];
        d.disk.sync();
        match d.busy.take() {
            None | Some(After::Kept) => {}
            Some(After::Came(wants)) => {
                for want in wants {
                    let missing = self.missing_below(device, &want);
                    let bytes = self.devices[device].disk.live.len_of(&want.id);
                    let event = Event::Fetched {
                        want,
                        missing,
                        bytes,
                    };
                    self.devices[device].inbox.push_back(Job::Event(event));
                }
            }
            Some(After::Batch(batch)) => self.persisted(device, &batch),
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
        }
        if self.mutant == Some(Mutant::VanishPropagated) {
            self.propagate_vanish(device, batch);
        }
    }

    fn perform(&mut self, device: usize, effect: Effect) {
        let name = |id: &DeviceId| self.by_id.get(id).map_or(99, |n| *n as u8);
        let brief = Brief::effect(&effect, name);
        self.note(device, brief);
        match effect {
            Effect::Persist(batch) => {
                self.check_batch(device, &batch);
                if let Err(error) = self.devices[device].disk.write(&batch) {
                    self.fail("S2", format!("device {device}: {error:?}"));
                }
                self.wait_for_disk(device, After::Batch(batch));
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
                    self.send(device, &to, Packet::Words(Message::Entries(part)));
                }
            }
            Effect::Check(want) => {
                let mut missing = self.devices[device]
                    .disk
                    .live
                    .missing(&want, &mut self.memo);
                if self.mutant == Some(Mutant::CompleteTooEarly) && missing.len() < 2 {
                    missing.clear();
                }
                let life = self.devices[device].life;
                let job = Box::new(Job::Event(Event::Checked(want, missing)));
                let pause = self.rng.below(self.options.disk_ms.1 + 1);
                self.after(pause, Happening::Job { device, life, job });
            }
            Effect::Fetch { from, wants } => self.fetch(device, &from, wants),
            Effect::Disconnect(peer, _) => {
                let Some(peer) = self.by_id.get(&peer).copied() else {
                    return;
                };
                // Here it ends at once, also for what else runs on the link;
                // the other end hears of it.
                if let Some(end) = self.devices[device].links.get(&peer).map(|end| end.id) {
                    self.link_down(device, peer, end);
                }
                self.close(pair(device, peer), 200);
            }
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
                let epoch = Epoch(self.rng.bytes());
                let inbox = &mut self.devices[device].inbox;
                inbox.push_front(Job::Restate);
                inbox.push_front(Job::Event(Event::NewEpoch(epoch)));
            }
            Notice::Complete(_, version) => self.check_complete(device, &version),
            Notice::Replicated(peer, version) => self.check_replicated(device, &peer, &version),
            Notice::OwnLogBehind
            | Notice::Session(_)
            | Notice::Trust
            | Notice::Device(_)
            | Notice::Rolled(_)
            | Notice::OverQuota(_)
            | Notice::LogFull(_)
            | Notice::Equivocation(_) => {}
        }
    }

    fn fetch(&mut self, device: usize, from: &DeviceId, wants: Vec<Want>) {
        self.check_talk(device, from);
        if wants.len() > limits::FETCH_BATCH_MAX {
            self.fail(
                "S9",
                format!("device {device} asks for {} chunks at once", wants.len()),
            );
        }
        let Some(peer) = self.by_id.get(from).copied() else {
            return;
        };
        let Some(end) = self.devices[device].links.get_mut(&peer) else {
            let failed = Packet::ids(&wants);
            return self.fetch_failed(device, from, failed, FetchFault::Link);
        };
        end.asked.extend(wants.iter().map(|w| w.id));
        self.send(device, from, Packet::Ask(wants));
    }

    fn fetch_failed(&mut self, device: usize, from: &DeviceId, ids: Vec<ChunkId>, why: FetchFault) {
        if self.mutant == Some(Mutant::FailureSwallowed) && why == FetchFault::NotHeld {
            return;
        }
        for chunk in ids {
            let event = Event::FetchFailed {
                from: *from,
                chunk,
                why,
            };
            self.devices[device].inbox.push_back(Job::Event(event));
        }
    }

    fn send(&mut self, device: usize, to: &DeviceId, packet: Packet) {
        let Some(peer) = self.by_id.get(to).copied() else {
            return;
        };
        if !self.devices[device].links.contains_key(&peer) {
            return;
        }
        let sent = self
            .net
            .send(device, peer, self.now, &self.options, &mut self.rng);
        let Some((link, number, at)) = sent else {
            return;
        };
        match &packet {
            Packet::Words(_) => self.counts.messages += 1,
            Packet::Chunks(chunks) => self.counts.chunks += chunks.len() as u64,
            Packet::Ask(_) => {}
        }
        let words = matches!(packet, Packet::Words(_));
        if words && self.chaos && self.options.lost > 0 && self.rng.chance(self.options.lost) {
            return;
        }
        self.at(
            at,
            Happening::Deliver {
                from: device,
                to: peer,
                link,
                number,
                packet,
            },
        );
    }

    /// Something came by a link, or was under way when its link ended.
    pub(crate) fn arrive(&mut self, from: usize, to: usize, in_order: bool, packet: Packet) {
        if self.devices[to].machine.is_none() {
            return;
        }
        let stale = !in_order && self.options.stale > 0 && self.rng.chance(self.options.stale);
        let sender = self.devices[from].id;
        match packet {
            Packet::Words(message) if in_order || stale => self.hear(from, to, message),
            Packet::Ask(wants) if in_order => {
                self.check_talk(to, &sender);
                let chunks = &self.devices[to].disk.live.chunks;
                let answer = wants
                    .into_iter()
                    .map(|w| (w, chunks.get(&w.id).cloned()))
                    .collect();
                self.send(to, &sender, Packet::Chunks(answer));
            }
            Packet::Chunks(answer) if in_order => {
                let Some(end) = self.devices[to].links.get_mut(&from) else {
                    return;
                };
                let mut came = Vec::new();
                let mut absent = Vec::new();
                for (want, content) in answer {
                    if !end.asked.remove(&want.id) {
                        continue;
                    }
                    match content {
                        Some(bytes) => came.push((want, bytes)),
                        None => absent.push(want.id),
                    }
                }
                self.fetch_failed(to, &sender, absent, FetchFault::NotHeld);
                if !came.is_empty() {
                    self.devices[to].inbox.push_back(Job::Came(came));
                }
                self.advance(to);
            }
            Packet::Words(_) | Packet::Ask(_) | Packet::Chunks(_) => {}
        }
    }

    fn hear(&mut self, from: usize, to: usize, message: Message) {
        let message = if self.options.encoded {
            match Message::from_bytes(&message.to_bytes()) {
                Ok(message) => message,
                Err(error) => {
                    return self.fail("S9", format!("device {from} sent nonsense: {error}"));
                }
            }
        } else {
            message
        };
        let words = match message {
            Message::Have(held) => Received::Have(held),
            Message::Complete(ids) => Received::Complete(ids),
            Message::Entries(entries) => {
                let mut verified = Vec::new();
                for entry in entries {
                    match self.verify(&entry) {
                        Some(entry) => verified.push(entry),
                        None => return self.fail("S3", format!("device {from} sent a forgery")),
                    }
                }
                Received::Entries(verified)
            }
            Message::Hello(_) | Message::Ping(_) | Message::Pong(_) => return,
        };
        let sender = self.devices[from].id;
        self.give(to, Job::Event(Event::Received(sender, words)));
    }

    /// Signatures are checked once: an entry that was signed in this world is
    /// genuine if it is still the same.
    fn verify(&self, entry: &SignedEntry) -> Option<VerifiedEntry> {
        let known = self.genuine.get(&entry.hash())?;
        (known.signed() == entry).then(|| VerifiedEntry::clone(known))
    }

    pub(crate) fn link_up(&mut self, device: usize, peer: usize, link: u64) {
        let ends = pair(device, peer);
        if self.devices[device].machine.is_none() {
            self.net.end_gone(ends, link, device);
            self.close(ends, 1_000);
            return;
        }
        if self.net.links.get(&ends).is_none_or(|l| l.id != link) {
            return;
        }
        let end = LinkEnd {
            id: link,
            asked: Default::default(),
        };
        self.devices[device].links.insert(peer, end);
        let id = self.devices[peer].id;
        self.give(device, Job::Event(Event::PeerUp(id)));
    }

    pub(crate) fn link_down(&mut self, device: usize, peer: usize, link: u64) {
        let ends = pair(device, peer);
        self.net.end_gone(ends, link, device);
        let id = self.devices[peer].id;
        let here = self.devices[device]
            .links
            .get(&peer)
            .is_some_and(|end| end.id == link);
        if !here {
            return;
        }
        let Some(end) = self.devices[device].links.remove(&peer) else {
            return;
        };
        self.fetch_failed(
            device,
            &id,
            end.asked.into_iter().collect(),
            FetchFault::Link,
        );
        self.give(device, Job::Event(Event::PeerDown(id)));
    }

    /// Breaks a link; its ends hear of it within `slow_ms`.
    pub(crate) fn close(&mut self, ends: (usize, usize), slow_ms: u64) {
        let Some((link, heard)) = self.net.close(ends, self.now, slow_ms, &mut self.rng) else {
            return;
        };
        for (device, at) in heard {
            let peer = if device == ends.0 { ends.1 } else { ends.0 };
            self.at(at, Happening::LinkDown { device, peer, link });
        }
    }

    /// Tries to link whoever is not linked, can reach each other and wants to.
    pub(crate) fn dial(&mut self) {
        let count = self.devices.len();
        for a in 0..count {
            for b in a + 1..count {
                let (Some(at_a), Some(at_b)) = (&self.devices[a].machine, &self.devices[b].machine)
                else {
                    continue;
                };
                let (id_a, id_b) = (self.devices[a].id, self.devices[b].id);
                let wanted = at_a.trusts(&id_b) && at_b.trusts(&id_a);
                // A driver may be late to learn of a revocation.
                let late = self.chaos && self.rng.chance(5_000);
                if !(wanted || late)
                    || self.net.links.contains_key(&(a, b))
                    || self.net.is_blocked(a, b, self.now)
                {
                    continue;
                }
                let pause = self.rng.between(1, 200);
                let link = self.net.open((a, b), self.now + pause + 100);
                self.after(
                    pause,
                    Happening::LinkUp {
                        device: a,
                        peer: b,
                        link,
                    },
                );
                let pause = pause + self.rng.below(100);
                self.after(
                    pause,
                    Happening::LinkUp {
                        device: b,
                        peer: a,
                        link,
                    },
                );
            }
        }
    }

    fn missing_below(&mut self, device: usize, want: &Want) -> Vec<Want> {
        let image = &self.devices[device].disk.live;
        let content = image.chunks.get(&want.id);
        let memo = &mut self.memo;
        let mut missing = content
            .map(|c| image.missing_below(want, c, memo))
            .unwrap_or_default();
        if self.mutant == Some(Mutant::CompleteTooEarly) {
            missing.pop();
        }
        missing
    }
}
