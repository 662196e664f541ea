//! How things travel between the drivers of simulated devices: links that come
//! up, break and are replaced, words in order, chunks beside them, and what a
//! receiver checks before its machine hears anything.

use std::collections::BTreeSet;

use ccpeer_core::entry::{SignedEntry, VerifiedEntry};
use ccpeer_core::id::DeviceId;
use ccpeer_core::limits;
use ccpeer_core::manifest::Want;
use ccpeer_core::sync::effect::Fault;
use ccpeer_core::sync::event::{Event, FetchFault, Received};
use ccpeer_core::wire::Message;

use crate::driver::Job;
use crate::mutants::Mutant;
use crate::network::{Packet, Sending, pair};
use crate::world::{Happening, LinkEnd, World};

/// Words of long ago that are kept to be said again.
const HEARD_MAX: usize = 400;

impl World {
    pub(crate) fn fetch(&mut self, device: usize, from: &DeviceId, wants: Vec<Want>) {
        self.check_talk(device, from);
        if wants.len() > limits::FETCH_BATCH_MAX {
            self.fail(
                "S9",
                format!("device {device} asks for {} chunks at once", wants.len()),
            );
        }
        let Some(peer) = self.peer_of(device, from) else {
            return;
        };
        let Some(end) = self.devices[device].links.get_mut(&peer) else {
            return self.fetch_failed(device, from, wants, FetchFault::Link);
        };
        end.asked.extend(wants.iter().copied());
        let link = end.id;
        let asked = wants.clone();
        self.after(
            limits::PROGRESS_TIMEOUT_MS,
            Happening::Stalled {
                device,
                peer,
                link,
                asked,
            },
        );
        self.send(device, from, Packet::Ask(wants));
    }

    /// A request was not answered for so long that it is given up.
    pub(crate) fn stalled(&mut self, device: usize, peer: usize, link: u64, asked: Vec<Want>) {
        let end = self.devices[device].links.get_mut(&peer);
        let Some(end) = end.filter(|end| end.id == link) else {
            return;
        };
        let asked: Vec<Want> = asked
            .into_iter()
            .filter(|want| end.asked.remove(want))
            .collect();
        if !asked.is_empty() {
            self.count("request stalled");
            let from = self.devices[peer].id;
            self.fetch_failed(device, &from, asked, FetchFault::Link);
            self.advance(device);
        }
    }

    pub(crate) fn fetch_failed(
        &mut self,
        device: usize,
        from: &DeviceId,
        wants: Vec<Want>,
        why: FetchFault,
    ) {
        if self.mutant == Some(Mutant::FailureSwallowed) && why == FetchFault::NotHeld {
            return;
        }
        for want in wants {
            let event = Event::FetchFailed {
                from: *from,
                want,
                why,
            };
            self.devices[device].inbox.push_back(Job::Event(event));
        }
    }

    pub(crate) fn send(&mut self, device: usize, to: &DeviceId, packet: Packet) {
        let Some(peer) = self.peer_of(device, to) else {
            return;
        };
        let Some(link) = self.devices[device].links.get(&peer).map(|end| end.id) else {
            return;
        };
        let words = matches!(packet, Packet::Words(_));
        let slow = self.devices[device]
            .slow
            .max(self.devices[peer].slow)
            .min(4);
        let (low, high) = self.options.latency_ms;
        let how = Sending {
            now: self.now,
            latency_ms: (low * slow, high * slow),
            ordered: words,
        };
        let sent = self.net.send(link, (device, peer), &how, &mut self.rng);
        let Some((number, at)) = sent else {
            return;
        };
        match &packet {
            Packet::Words(_) => self.counts.messages += 1,
            Packet::Chunks(chunks) => self.counts.chunks += chunks.len() as u64,
            Packet::Ask(_) => {}
        }
        let chaos = words && self.chaos;
        if chaos && self.options.lost > 0 && self.rng.chance(self.options.lost) {
            self.count("message lost");
            return;
        }
        if chaos && self.options.duplicate > 0 && self.rng.chance(self.options.duplicate) {
            self.count("message twice");
            let later = self.rng.below(2_000);
            let packet = packet.clone();
            self.at(
                at + later,
                Happening::Deliver {
                    from: device,
                    to: peer,
                    link,
                    number,
                    packet,
                },
            );
        }
        if chaos && self.options.replay > 0 {
            self.say_again(device, peer, link, number, at, &packet);
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

    /// Something that the same device said to the same other one long ago comes
    /// once more, on whatever link there is now.
    fn say_again(
        &mut self,
        from: usize,
        to: usize,
        link: u64,
        number: u64,
        at: u64,
        packet: &Packet,
    ) {
        let (sender, receiver) = (self.devices[from].id, self.devices[to].id);
        if self.rng.chance(self.options.replay) {
            let same = self.heard.iter();
            let same: Vec<&Message> = same
                .filter(|(f, t, _)| (*f, *t) == (sender, receiver))
                .map(|(_, _, m)| m)
                .collect();
            if let Some(old) = self.rng.pick(&same).map(|m| Message::clone(m)) {
                self.count("replay");
                self.at(
                    at,
                    Happening::Deliver {
                        from,
                        to,
                        link,
                        number,
                        packet: Packet::Words(old),
                    },
                );
            }
        }
        if let Packet::Words(message) = packet
            && self.rng.chance(300_000)
        {
            if self.heard.len() == HEARD_MAX {
                self.heard.pop_front();
            }
            self.heard.push_back((sender, receiver, message.clone()));
        }
    }

    /// Something came by a link, or was under way when its link ended.
    pub(crate) fn arrive(&mut self, from: usize, to: usize, in_order: bool, packet: Packet) {
        if self.devices[to].hostile {
            if in_order {
                self.adversary_hears(from, packet);
            }
            return;
        }
        if self.devices[to].machine.is_none() {
            return;
        }
        let stale = !in_order && self.options.stale > 0 && self.rng.chance(self.options.stale);
        let sender = self.devices[from].id;
        match packet {
            Packet::Words(message) if in_order || stale => {
                if stale {
                    self.count("stale message");
                }
                self.hear(from, to, message);
            }
            Packet::Ask(wants) if in_order => {
                // The gate of the network, which serves beside the driver.
                let d = &self.devices[to];
                if d.machine.is_some() && d.gate.contains(&sender) {
                    self.check_talk(to, &sender);
                    self.answer(to, &sender, wants);
                }
            }
            Packet::Chunks(answer) if in_order => {
                let Some(end) = self.devices[to].links.get_mut(&from) else {
                    return;
                };
                let mut came = Vec::new();
                let mut absent = Vec::new();
                for (want, content) in answer {
                    if !end.asked.remove(&want) {
                        continue;
                    }
                    match content {
                        Some(bytes) => came.push((want, bytes)),
                        None => absent.push(want),
                    }
                }
                self.fetch_failed(to, &sender, absent, FetchFault::NotHeld);
                if !came.is_empty() {
                    self.devices[to].inbox.push_back(Job::Came(from, came));
                }
                self.advance(to);
            }
            Packet::Words(_) | Packet::Ask(_) | Packet::Chunks(_) => {}
        }
    }

    /// Serves chunks from the disk, each checked against its id.
    fn answer(&mut self, device: usize, to: &DeviceId, wants: Vec<Want>) {
        let mut damaged = BTreeSet::new();
        let mut answer = Vec::new();
        for want in wants {
            if self.keeps_back(device, &want) && self.mutant != Some(Mutant::WithheldServed) {
                answer.push((want, None));
                continue;
            }
            let live = &self.devices[device].disk.live;
            let held = live.chunks.get(&want.id).cloned();
            let sound = live.sound(&want.id).is_some();
            if held.is_some() && !sound && self.mutant != Some(Mutant::ServedUnchecked) {
                damaged.insert(want.id);
                answer.push((want, None));
                continue;
            }
            if held.is_some() && !sound {
                self.fail("INV-4", format!("device {device} serves a damaged chunk"));
            }
            if held.is_some() {
                self.check_served(device, want.id);
            }
            answer.push((want, held));
        }
        self.found_damaged(device, &damaged);
        self.send(device, to, Packet::Chunks(answer));
        if !damaged.is_empty() {
            self.advance(device);
        }
    }

    /// Whether a chunk is none for others, as the machine sees it.
    fn keeps_back(&self, device: usize, want: &Want) -> bool {
        let Some(machine) = &self.devices[device].machine else {
            return true;
        };
        machine.sharing().closed || machine.is_kept_back(&want.id)
    }

    pub(crate) fn hear(&mut self, from: usize, to: usize, message: Message) {
        let hostile = self.devices[from].hostile;
        let message = if self.options.encoded || hostile {
            match Message::from_bytes(&message.to_bytes()) {
                Ok(message) => message,
                Err(_) if hostile => return self.broke_protocol(from, to),
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
            Message::Digests(digests) => Received::Digests(digests),
            Message::Unlike(parts) => Received::Unlike(parts),
            Message::Entries(entries) => {
                let mut verified = Vec::new();
                for entry in entries {
                    match self.verify(&entry) {
                        Some(entry) => verified.push(entry),
                        None if hostile => return self.broke_protocol(from, to),
                        None => return self.fail("S3", format!("device {from} sent a forgery")),
                    }
                }
                Received::Entries(verified)
            }
            Message::Hello(_) | Message::Ping(_) | Message::Pong(_) | Message::Parcel(_) => return,
        };
        let sender = self.devices[from].id;
        self.give(to, Job::Event(Event::Received(sender, words)));
    }

    /// Signatures are checked once: an entry that was signed in this world is
    /// genuine if it is still the same.
    fn verify(&mut self, entry: &SignedEntry) -> Option<VerifiedEntry> {
        if let Some(known) = self.genuine.get(&entry.hash())
            && known.signed() == entry
        {
            return Some(VerifiedEntry::clone(known));
        }
        if self.genuine.contains_key(&entry.hash()) && entry.payload.is_none() {
            // By its author, or on the way.
            return entry.clone().verify().ok();
        }
        self.count("forgery seen");
        if self.mutant == Some(Mutant::ForgeryAccepted) {
            return entry.clone().verified_by_store().ok();
        }
        entry.clone().verify().ok()
    }

    /// A peer said what no ccpeer says: its link ends, and it is kept out for a
    /// while.
    pub(crate) fn broke_protocol(&mut self, from: usize, to: usize) {
        self.count("link closed for nonsense");
        if let Some(end) = self.devices[to].links.get(&from).map(|end| end.id) {
            self.link_down(to, from, end);
            self.close(end, 200);
        }
        let until = self.now + limits::FAULT_PAUSE_MS.0;
        self.net.blocked.insert((from, to), until);
    }

    /// The machine wants a link closed.
    pub(crate) fn disconnect(&mut self, device: usize, peer: &DeviceId, fault: Fault) {
        let Some(peer) = self.peer_of(device, peer) else {
            return;
        };
        self.check_blame(device, peer, fault);
        // Here it ends at once, also for what else runs on the link; the other
        // end hears of it.
        if let Some(end) = self.devices[device].links.get(&peer).map(|end| end.id) {
            self.link_down(device, peer, end);
            self.close(end, 200);
        }
    }

    pub(crate) fn link_up(&mut self, device: usize, peer: usize, link: u64) {
        let up = self.devices[device].machine.is_some() || self.devices[device].hostile;
        if !up {
            self.net.end_gone(link, device);
            self.close(link, 1_000);
            return;
        }
        // Its end may be heard of before its beginning.
        if !self.net.is_open(link, device) {
            return;
        }
        // Whoever dials anew has no use for the old link. A twin is taken for the
        // same device.
        let id = self.devices[peer].id;
        let twins = self.devices[device].links.keys().copied();
        let old: Vec<usize> = twins
            .filter(|other| self.devices[*other].id == id)
            .collect();
        for other in old {
            if let Some(end) = self.devices[device].links.get(&other).map(|end| end.id) {
                self.count("link replaced");
                self.link_down(device, other, end);
                self.close(end, 8_000);
            }
        }
        let end = LinkEnd {
            id: link,
            asked: BTreeSet::new(),
        };
        self.devices[device].links.insert(peer, end);
        if self.devices[device].hostile {
            self.adversary_linked(peer);
        } else {
            self.give(device, Job::Event(Event::PeerUp(id)));
        }
    }

    pub(crate) fn link_down(&mut self, device: usize, peer: usize, link: u64) {
        self.net.end_gone(link, device);
        let id = self.devices[peer].id;
        let here = self.devices[device].links.get(&peer);
        if here.is_none_or(|end| end.id != link) {
            return;
        }
        let Some(end) = self.devices[device].links.remove(&peer) else {
            return;
        };
        if self.devices[device].hostile {
            return;
        }
        self.fetch_failed(
            device,
            &id,
            end.asked.into_iter().collect(),
            FetchFault::Link,
        );
        self.give(device, Job::Event(Event::PeerDown(id)));
    }

    /// Breaks a link; its ends hear of it within `slow_ms`.
    pub(crate) fn close(&mut self, link: u64, slow_ms: u64) {
        self.close_each(link, [(0, slow_ms); 2]);
    }

    /// The same, with a time for each end, the smaller index first.
    pub(crate) fn close_each(&mut self, link: u64, slow_ms: [(u64, u64); 2]) {
        let Some(ends) = self.net.ends(link) else {
            return;
        };
        for (device, at) in self.net.close(link, self.now, slow_ms, &mut self.rng) {
            let peer = if device == ends.0 { ends.1 } else { ends.0 };
            self.at(at, Happening::LinkDown { device, peer, link });
        }
    }

    /// Tries to link whoever can reach each other and wants to, and is not linked
    /// by what at least one of them believes.
    pub(crate) fn dial(&mut self) {
        let count = self.devices.len();
        for a in 0..count {
            for b in a + 1..count {
                if self.wants_link(a, b) {
                    self.link(a, b);
                }
            }
        }
    }

    fn wants_link(&mut self, a: usize, b: usize) -> bool {
        let reachable = |d: usize| {
            let d = &self.devices[d];
            (d.machine.is_some() && !d.asleep) || (d.hostile && self.adversary.is_some())
        };
        let (id_a, id_b) = (self.devices[a].id, self.devices[b].id);
        if id_a == id_b || !reachable(a) || !reachable(b) {
            return false;
        }
        // The hostile device wants everybody.
        let wants = |d: usize, other: &DeviceId| {
            let d = &self.devices[d];
            d.machine.is_none() || d.gate.contains(other)
        };
        let wanted = wants(a, &id_b) && wants(b, &id_a);
        // A driver may be late to learn of a revocation.
        let late = self.chaos && self.rng.chance(5_000);
        if !(wanted || late)
            || self.net.between(a, b).is_some()
            || self.net.is_blocked(a, b, self.now)
        {
            return false;
        }
        // Nobody dials who believes in a link with this device, or with its twin.
        let free = |d: usize, id: &DeviceId| {
            let mut linked = self.devices[d].links.keys();
            !linked.any(|other| self.devices[*other].id == *id)
        };
        match (free(a, &id_b), free(b, &id_a)) {
            (true, true) => true,
            (false, false) => false,
            _ => self.rng.chance(300_000),
        }
    }

    fn link(&mut self, a: usize, b: usize) {
        let pause = self.rng.between(1, 200);
        let link = self.net.open(pair(a, b), self.now + pause + 100);
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
