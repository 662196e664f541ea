//! The machine's talk with its peers: frontiers, entries, and who is told what.

use alloc::collections::btree_map::Entry;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::cmp::Reverse;

use super::Machine;
use crate::entry::VerifiedEntry;
use crate::id::{DeviceId, LogId, Seq};
use crate::limits;
use crate::log::{Fit, Frontier, Held};
use crate::manifest::Want;
use crate::store::Batch;
use crate::sync::effect::{Effect, Fault, Notice};
use crate::sync::event::Received;
use crate::sync::ledger::Changes;
use crate::sync::peers::Peer;
use crate::time::Instant;
use crate::wire::Message;

impl Machine {
    pub(super) fn peer_up(&mut self, device: DeviceId, out: &mut Vec<Effect>) {
        self.forget(&device);
        if !self.trusts(&device) {
            out.push(Effect::Disconnect(device, self.why_not(&device)));
        } else if self.peers.len() >= limits::PEERS_MAX {
            out.push(Effect::Disconnect(device, Fault::TooMany));
        } else {
            // Its first frontier is due at once; see `say_have`.
            self.peers.insert(device, Peer::default());
            #[cfg(feature = "mutants")]
            if let Some(peer) = self.peers.get_mut(&device) {
                peer.planted = self.ledger.planted;
            }
            self.fetch.peer_up();
        }
    }

    pub(super) fn received(
        &mut self,
        from: DeviceId,
        words: Received,
        now: Instant,
        out: &mut Vec<Effect>,
    ) {
        // Words of a link that is gone may still be under way; a device that is
        // not linked, or was revoked, says nothing to us.
        if !self.peers.contains_key(&from) {
            return;
        }
        match words {
            Received::Have(held) => self.hear(from, &held, now, out),
            Received::Entries(entries) => self.take(from, entries, now, out),
            Received::Complete(roots) => self.hear_complete(from, &roots, out),
            Received::Digests(theirs) => self.compare(from, &theirs, out),
            Received::Unlike(parts) => self.tell_parts(from, parts, out),
        }
    }

    fn hear(&mut self, from: DeviceId, held: &[Held], now: Instant, out: &mut Vec<Effect>) {
        let frontier = Frontier::of(held);
        #[cfg(feature = "mutants")]
        if self.ledger.planted == Some(crate::mutant::Mutant::ClaimBelieved)
            && frontier.get(&self.ledger.own_log()) > self.ledger.tip(&self.ledger.own_log()).seq
        {
            self.tell_behind(out);
        }
        // A claim to hold more of our own log than we do is no proof that we lost
        // anything: what we lost comes back to us signed, and is the proof.
        let Some(peer) = self.peers.get_mut(&from) else {
            return;
        };
        let first = peer.hear(frontier, now);
        peer.count_behind(&self.ledger);
        self.fetch.peer_holds_more();
        self.offer_all(from, now, out);
        for held in held {
            if self.ledger.confirms(held)
                && let Some(peer) = self.peers.get_mut(&from)
            {
                peer.note_agreed(held);
                // It holds what we hold: whatever it showed us, it only passed on.
                peer.forked.remove(&held.log);
            }
            self.challenge(from, held, out);
        }
        if first {
            self.say_digests(from, out);
            self.show_forks(from, out);
        }
    }

    /// A peer speaks of another entry than ours under the same number. That is
    /// only a claim, so it is shown ours: if it does hold another one, it sees the
    /// fork and shows us its own.
    fn challenge(&mut self, to: DeviceId, held: &Held, out: &mut Vec<Effect>) {
        #[cfg(feature = "mutants")]
        if self.ledger.planted == Some(crate::mutant::Mutant::NoProofAsked) {
            return;
        }
        if !self.ledger.contradicts(held) || !self.ledger.may_tell(&to, &held.log) {
            return;
        }
        if let Some(peer) = self.peers.get_mut(&to)
            && !peer.forked.contains(&held.log)
            && peer.challenged.insert(held.log)
        {
            let withhold = self.ledger.withholding(&held.log);
            out.push(Effect::ServeRange {
                to,
                log: held.log,
                after: Seq(held.seq.0.saturating_sub(1)),
                upto: held.seq,
                withhold,
            });
        }
    }

    /// Entries from a peer: those that are the next of a log that we follow are
    /// accepted, whoever passes them on.
    fn take(
        &mut self,
        from: DeviceId,
        entries: Vec<VerifiedEntry>,
        now: Instant,
        out: &mut Vec<Effect>,
    ) {
        let mut fresh = Fresh::default();
        let mut foreign = false;
        let mut gap = false;
        let mut behind = false;
        let mut full: BTreeSet<DeviceId> = BTreeSet::new();
        let mut forks: BTreeMap<(LogId, Seq), VerifiedEntry> = BTreeMap::new();
        for entry in entries {
            let log = entry.log();
            // What somebody on the way has kept of it would be lost: an entry that is
            // held is not asked for again. And what a device keeps to itself comes
            // from nobody.
            if (entry.is_stripped() && !self.takes_stripped()) || log.is_kept() {
                self.blame(from, Fault::Misbehaviour, out);
                continue;
            }
            if entry.seq() > self.ledger.accepts_upto(&log) {
                // Somebody whom we revoked, or who replaced his key, a moment ago
                // is no fault of the peer, nor is one of whom we do not know any
                // more that we trusted him.
                foreign |= !(self.ledger.has_known(&log.device)
                    || self.behind_told
                    || self.ledger.has_lost_words());
                continue;
            }
            if let Some(peer) = self.peers.get_mut(&from) {
                peer.showed(log, entry.seq());
            }
            let fit = fresh.fit(&entry).unwrap_or_else(|| self.ledger.fit(&entry));
            // We signed it, and do not know it.
            behind |= log == self.ledger.own_log() && matches!(fit, Fit::Next | Fit::Gap);
            #[cfg(feature = "mutants")]
            if fit == Fit::Known {
                self.ledger.move_back(&entry);
            }
            match fit {
                // It could not be kept, and comes again: a peer must not be able to
                // make us fail as often as it likes.
                Fit::Next if self.fetch.is_paused(now) => {}
                Fit::Next if self.ledger.has_room(&log) => fresh.push(entry),
                Fit::Next if self.ledger.is_full(&log.device) => {
                    full.insert(log.device);
                }
                Fit::Next | Fit::Known => {}
                Fit::Gap => gap |= !self.forked.contains_key(&log),
                Fit::Fork => {
                    forks.insert((log, entry.seq()), entry);
                }
            }
        }
        if foreign {
            self.blame(from, Fault::ForeignLog, out);
        }
        let accepted = !fresh.entries.is_empty();
        if accepted {
            self.accept(fresh.entries, Vec::new(), Some(from), now, out);
        }
        for device in full {
            if self.full_told.insert(device) {
                out.push(Effect::Notice(Notice::LogFull(device)));
            }
        }
        if behind {
            self.tell_behind(out);
        }
        for (_, entry) in forks {
            self.prove_fork(from, &entry, out);
        }
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.count_behind(&self.ledger);
            if accepted || gap {
                peer.want_have();
            }
        }
    }

    /// Makes entries durable, passes them on, and says what they changed.
    pub(super) fn accept(
        &mut self,
        entries: Vec<VerifiedEntry>,
        complete: Vec<Want>,
        from: Option<DeviceId>,
        now: Instant,
        out: &mut Vec<Effect>,
    ) {
        let mut changes = Changes::default();
        entries
            .iter()
            .for_each(|entry| self.ledger.apply(entry, &mut changes));
        out.push(Effect::Persist(Batch {
            entries: entries.clone(),
            complete,
            epoch: None,
        }));
        if changes.trust {
            self.ledger.heed();
            self.trust_changed(now, out);
        }
        self.pass_on(&entries, from, now, out);
        self.want_heads_of(changes.sessions.iter().copied());
        self.report(&changes, out);
    }

    fn report(&mut self, changes: &Changes, out: &mut Vec<Effect>) {
        if changes.trust {
            out.push(Effect::Notice(Notice::Trust));
        }
        let rolled = changes.rolled.iter().map(|d| Notice::Rolled(*d));
        out.extend(rolled.map(Effect::Notice));
        let devices = changes.devices.iter().map(|d| Notice::Device(*d));
        let sessions = changes.sessions.iter().map(|s| Notice::Session(*s));
        out.extend(devices.chain(sessions).map(Effect::Notice));
        for id in &changes.versions {
            // A version may consist of what is here already.
            let Some(node) = self.ledger.version(id).filter(|node| self.is_here(node)) else {
                continue;
            };
            for root in node.roots() {
                self.tell_complete(&root, out);
            }
            out.push(Effect::Notice(Notice::Complete(node.version.session, *id)));
        }
        for root in changes.documents.iter().filter(|r| self.is_complete(r)) {
            self.tell_complete(root, out);
        }
    }

    /// Gives new entries to every peer that may have them and waits for just
    /// these. Whoever is further behind gets a range.
    fn pass_on(
        &mut self,
        entries: &[VerifiedEntry],
        from: Option<DeviceId>,
        now: Instant,
        out: &mut Vec<Effect>,
    ) {
        for run in entries.chunk_by(|a, b| a.log() == b.log()) {
            let (Some(first), Some(last)) = (run.first(), run.last()) else {
                continue;
            };
            let log = first.log();
            // Of our own and come back to us: read to others as we show it today.
            let withhold = self.ledger.withholding(&log);
            let withheld = withhold.is_some_and(|s| run.iter().any(|e| s.withholds(e.signed())));
            for device in self.linked().into_iter().filter(|d| Some(*d) != from) {
                if !self.ledger.may_tell(&device, &log) {
                    continue;
                }
                let Some(peer) = self.peers.get_mut(&device) else {
                    continue;
                };
                if withheld
                    || peer.forked.contains(&log)
                    || peer.knows(&log).map(Seq::next) != Some(first.seq())
                {
                    self.offer(device, log, now, out);
                    continue;
                }
                peer.note_sent(log, Seq(first.seq().0 - 1), last.seq(), now);
                for message in messages(run) {
                    out.push(Effect::Send(device, message));
                }
            }
        }
    }

    /// Sends a peer what it lacks of a log and may have.
    fn offer(&mut self, to: DeviceId, log: LogId, now: Instant, out: &mut Vec<Effect>) {
        if !self.ledger.may_tell(&to, &log) {
            return;
        }
        #[cfg(feature = "mutants")]
        if self.ledger.planted == Some(crate::mutant::Mutant::NoPassingOn)
            && log.device != self.me()
        {
            return;
        }
        let upto = self.ledger.tip(&log).seq;
        let Some(peer) = self.peers.get_mut(&to) else {
            return;
        };
        let Some(after) = peer.knows(&log).filter(|known| *known < upto) else {
            return;
        };
        if peer.forked.contains(&log) {
            return;
        }
        peer.note_sent(log, after, upto, now);
        let withhold = self.ledger.withholding(&log);
        out.push(Effect::ServeRange {
            to,
            log,
            after,
            upto,
            withhold,
        });
    }

    /// The peer's own log goes first: what it lost of it may be what makes it
    /// accept the others.
    pub(super) fn offer_all(&mut self, to: DeviceId, now: Instant, out: &mut Vec<Effect>) {
        let mut logs: Vec<LogId> = self.ledger.tips().map(|(log, _)| log).collect();
        logs.sort_by_key(|log| (Reverse(log.device == to), *log));
        for log in logs {
            self.offer(to, log, now, out);
        }
    }

    /// Ends links with those whom we trust no more; the others may be entitled
    /// to more than before, and we may accept more from them.
    fn trust_changed(&mut self, now: Instant, out: &mut Vec<Effect>) {
        for device in self.linked() {
            if self.trusts(&device) {
                if let Some(peer) = self.peers.get_mut(&device) {
                    peer.want_have();
                    peer.count_behind(&self.ledger);
                }
            } else {
                self.forget(&device);
                out.push(Effect::Disconnect(device, self.why_not(&device)));
            }
        }
        for device in self.linked() {
            self.offer_all(device, now, out);
        }
        let sessions: Vec<_> = self.ledger.sessions().map(|(id, _)| *id).collect();
        self.want_heads_of(sessions);
    }

    /// Why a device that is not trusted is not.
    fn why_not(&self, device: &DeviceId) -> Fault {
        let ledger = &self.ledger;
        if ledger.is_out(device) || ledger.trust.has_revoked(&ledger.me, device) {
            Fault::Revoked
        } else {
            Fault::NotTrusted
        }
    }

    /// Two entries under one number. We keep ours, and let the peer see it; the
    /// other one is shown to everybody else, once. So all learn of the fork, the
    /// author first of all.
    fn prove_fork(&mut self, from: DeviceId, entry: &VerifiedEntry, out: &mut Vec<Effect>) {
        let (log, seq) = (entry.log(), entry.seq());
        let ours = self.ledger.tip(&log).seq.min(seq);
        let entitled = self.ledger.may_tell(&from, &log);
        let withhold = self.ledger.withholding(&log);
        // Who holds the same branch as we do only passes the proof on.
        if let Some(peer) = self.peers.get_mut(&from)
            && !peer.agrees(&log, ours)
            && peer.forked.insert(log)
            && entitled
            && ours > Seq::ZERO
        {
            let after = Seq(ours.0 - 1);
            out.push(Effect::ServeRange {
                to: from,
                log,
                after,
                upto: ours,
                withhold: withhold.clone(),
            });
        }
        if let Entry::Vacant(place) = self.forked.entry(log) {
            place.insert(entry.signed().clone());
            out.push(Effect::Notice(Notice::Equivocation(log)));
            let shown = withhold.is_none_or(|s| !s.withholds(entry.signed()));
            for device in self.linked() {
                if shown && device != from && self.ledger.may_tell(&device, &log) {
                    let proof = Message::Entries(alloc::vec![entry.signed().clone()]);
                    out.push(Effect::Send(device, proof));
                }
            }
        }
        if log == self.ledger.own_log() {
            self.tell_behind(out);
        }
    }

    /// Shows a peer whose link is new the other branches of logs that it may hold,
    /// the author first of all: he may be the one of two twins whose branch
    /// everybody holds, and would never hear of the other.
    fn show_forks(&self, to: DeviceId, out: &mut Vec<Effect>) {
        for (log, proof) in &self.forked {
            let withhold = self.ledger.withholding(log);
            let shown = withhold.is_none_or(|s| !s.withholds(proof));
            if shown && self.ledger.may_tell(&to, log) {
                out.push(Effect::Send(
                    to,
                    Message::Entries(alloc::vec![proof.clone()]),
                ));
            }
        }
    }

    /// A planted bug, if it is planted.
    fn takes_stripped(&self) -> bool {
        #[cfg(feature = "mutants")]
        return self.ledger.planted == Some(crate::mutant::Mutant::StrippedAccepted);
        #[cfg(not(feature = "mutants"))]
        return false;
    }

    fn tell_behind(&mut self, out: &mut Vec<Effect>) {
        if !core::mem::replace(&mut self.behind_told, true) {
            out.push(Effect::Notice(Notice::OwnLogBehind));
        }
    }

    /// Says our frontier to whom it is due.
    pub(super) fn say_have(&mut self, now: Instant, out: &mut Vec<Effect>) {
        for (device, peer) in &mut self.peers {
            if peer.have_due() <= now {
                let have = peer.have_for(device, &self.ledger);
                out.push(Effect::Send(*device, Message::Have(have)));
                peer.note_have_sent(now);
            }
        }
    }

    fn linked(&self) -> Vec<DeviceId> {
        self.peers.keys().copied().collect()
    }
}

/// Entries of one message that are about to be accepted.
#[derive(Default)]
struct Fresh {
    entries: Vec<VerifiedEntry>,
}

impl Fresh {
    /// How an entry stands to those of its log in this message, if there are
    /// any.
    fn fit(&self, entry: &VerifiedEntry) -> Option<Fit> {
        let of_log = || self.entries.iter().rev().filter(|e| e.log() == entry.log());
        let last = of_log().next()?;
        let tip = crate::log::Tip {
            seq: last.seq(),
            hash: last.hash(),
        };
        if let Some(held) = of_log().find(|e| e.seq() == entry.seq()) {
            return Some(if held.hash() == entry.hash() {
                Fit::Known
            } else {
                Fit::Fork
            });
        }
        // An old number is for the ledger to judge.
        (entry.seq() > last.seq()).then(|| tip.compare(entry))
    }

    fn push(&mut self, entry: VerifiedEntry) {
        self.entries.push(entry);
    }
}

/// Entries cut to fit messages.
fn messages(entries: &[VerifiedEntry]) -> Vec<Message> {
    let mut out = Vec::new();
    let mut part = Vec::new();
    let mut bytes = 0;
    for entry in entries {
        let size = entry.signed().size();
        if part.len() >= limits::MESSAGE_ENTRIES_MAX
            || (!part.is_empty() && bytes + size > limits::MESSAGE_ENTRY_BYTES)
        {
            out.push(Message::Entries(core::mem::take(&mut part)));
            bytes = 0;
        }
        bytes += size;
        part.push(entry.signed().clone());
    }
    if !part.is_empty() {
        out.push(Message::Entries(part));
    }
    out
}
