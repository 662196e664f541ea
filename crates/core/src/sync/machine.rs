//! The one state machine of ccpeer: events in, effects out.
//!
//! [`Machine::handle`] never fails, never blocks and never panics on what a peer
//! sent. Effects are to be carried out in the order given, and `Persist` is a
//! barrier: what stands after it in the same list, and in every later one, waits
//! until it is durable. If it cannot be made durable, the machine is to be
//! thrown away; after that, as after a crash, [`Machine::recover`] is the only
//! way back. Memory is bounded by the entries held, and by
//! [`limits`](crate::limits) per linked peer.

use alloc::collections::VecDeque;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use crate::entry::{DeviceInfo, ENTRY_VERSION, Header, Payload, SignedEntry, VerifiedEntry};
use crate::id::{DeviceId, EntryHash, Epoch, LogId, SessionId};
use crate::limits;
use crate::lineage::{SessionRecord, VersionNode};
use crate::log::{Fit, Frontier};
use crate::manifest::Want;
use crate::store::{Batch, Recovered};
use crate::sync::effect::{Effect, Fault, Notice};
use crate::sync::event::Event;
pub use crate::sync::fetch::Progress;
use crate::sync::fetch::{Candidate, Fetch, Wanted};
use crate::sync::ledger::{Changes, Ledger};
use crate::sync::peers::Peer;
use crate::sync::told::Told;
use crate::time::{Instant, Timestamp};
use crate::trust::{Introduction, Members, Offer};

mod complete;
mod exchange;
mod shown;
#[cfg(test)]
mod tests;

/// The state of one device, as far as it is shared.
#[derive(Debug, Clone)]
pub struct Machine {
    ledger: Ledger,
    peers: BTreeMap<DeviceId, Peer>,
    fetch: Fetch,
    /// Logs under whose numbers two different things were seen, each
    /// with an entry of the branch that we do not hold.
    forked: BTreeMap<LogId, SignedEntry>,
    /// Devices of which it was told that their logs are full.
    full_told: BTreeSet<DeviceId>,
    /// The driver was told to draw a new epoch and has not done so yet.
    behind_told: bool,
    /// The wake-up that was asked for last.
    wake: Option<Instant>,
    /// What may be told to one device, as long as nothing has changed since.
    told: Option<(DeviceId, Arc<Told>)>,
}

/// A linked peer, for views.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerView {
    /// Which device.
    pub device: DeviceId,
    /// Entries that it says to hold and that we accept and lack.
    pub behind: u64,
    /// Entries of ours, or held for it, that it has not confirmed.
    pub ahead: u64,
}

/// How many things a machine keeps at most because of its peers, for checks of
/// its bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// Linked peers.
    pub peers: usize,
    /// Chunks that are wanted.
    pub wants: usize,
    /// Chunks that were asked for.
    pub in_flight: usize,
}

impl Machine {
    /// Rebuilds the state from what a store holds. `seed` spreads retries; two
    /// devices should not share it.
    #[must_use]
    pub fn recover(me: DeviceId, stored: Recovered, seed: u64) -> Self {
        let mut ledger = Ledger::new(me, stored.epoch);
        let mut changes = Changes::default();
        for entry in &stored.entries {
            // A store that lost the middle of a log gives us its beginning; the
            // rest comes from peers.
            if ledger.fit(entry) == Fit::Next {
                ledger.apply(entry, &mut changes);
            }
        }
        ledger.heed();
        let mut machine = Self {
            ledger,
            peers: BTreeMap::new(),
            fetch: Fetch::new(stored.complete, seed),
            forked: BTreeMap::new(),
            full_told: BTreeSet::new(),
            behind_told: false,
            wake: None,
            told: None,
        };
        machine.want_heads_of(changes.sessions);
        machine
    }

    /// To be called between [`Machine::recover`] and [`Machine::start`] where the
    /// machine before this one was thrown away because a write failed: the same
    /// write would come next, and fail, as often as the disk is fast. Nothing is
    /// looked for or asked for until a pause is over.
    pub fn pause(&mut self, now: Instant) {
        self.fetch.pause(now);
    }

    /// The first effects after [`Machine::recover`].
    pub fn start(&mut self, now: Instant) -> Vec<Effect> {
        let mut out = Vec::new();
        self.settle(now, &mut out);
        out
    }

    /// Takes in what happened and says what is to be done about it.
    ///
    /// # Panics
    /// On mistakes of the driver: an appended entry that is not the next one of
    /// our own log, or an epoch used twice.
    pub fn handle(&mut self, event: Event, now: Instant) -> Vec<Effect> {
        let mut out = Vec::new();
        if !event.is_talk() {
            self.told = None;
        }
        match event {
            Event::PeerUp(device) => self.peer_up(device, &mut out),
            Event::PeerDown(device) => self.forget(&device),
            Event::Received(from, words) => self.received(from, words, now, &mut out),
            Event::Append(entry) => self.append(entry, now, &mut out),
            Event::Checked(want, missing) => {
                let whole = self.fetch.checked(&want, &missing);
                self.found_whole(&whole, &mut out);
            }
            Event::Fetched {
                want,
                missing,
                bytes,
            } => {
                let whole = self.fetch.fetched(&want, &missing, bytes);
                self.found_whole(&whole, &mut out);
            }
            Event::FetchFailed { from, want, why } => {
                if self.fetch.failed(from, &want, why, now) {
                    self.blame(from, Fault::Misbehaviour, &mut out);
                }
            }
            Event::Need(want) => self.fetch.need(want),
            Event::Forgotten(roots) => self.forget_roots(&roots),
            Event::Quotas(quotas) => self.fetch.set_quotas(quotas),
            Event::Charged(charges) => self.fetch.set_charges(charges),
            Event::Sharing(sharing) => self.share(sharing, now, &mut out),
            Event::Share(session, share) => {
                let sharing = Arc::make_mut(&mut self.ledger.sharing);
                sharing.sessions.insert(session, share);
            }
            Event::DocumentsOnly(devices) => self.fetch.set_documents_only(devices),
            Event::Introducers(devices) => {
                self.ledger.introducers = devices;
                if !self.ledger.owed().is_empty() {
                    out.push(Effect::Notice(Notice::Trust));
                }
            }
            Event::NewEpoch(epoch) => {
                self.ledger.new_epoch(epoch);
                self.behind_told = false;
                out.push(Effect::Persist(Batch {
                    epoch: Some(epoch),
                    ..Batch::default()
                }));
            }
            Event::Tick => self.wake = None,
        }
        self.settle(now, &mut out);
        out
    }

    /// What to sign in order to state `payload`: the header, and the payload's
    /// bytes. The signed entry is to be given back by [`Event::Append`] before
    /// any other event.
    #[must_use]
    pub fn draft(&self, payload: &Payload, at: Timestamp) -> (Header, Vec<u8>) {
        let bytes = payload.to_bytes(at);
        let log = self.ledger.log_for(payload);
        let tip = self.ledger.tip(&log);
        let header = Header {
            version: ENTRY_VERSION,
            log,
            seq: tip.seq.next(),
            prev: tip.hash,
            lamport: self.ledger.lamport.saturating_add(1),
            payload_hash: *blake3::hash(&bytes).as_bytes(),
            payload_len: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
        };
        (header, bytes)
    }

    /// What we stand by and have not said in the current epoch: our description,
    /// our trust, the heads that we wrote, our marks. After `NewEpoch`, after a
    /// start, and whenever [`Machine::may_restate`] says so of a notice, the
    /// driver drafts, signs and appends all of it in this order.
    ///
    /// Usually empty. It is not after a restored backup or a clone made us start
    /// a new epoch: what the old log said after the point where it forked never
    /// reaches those who hold the other branch. Saying it again under the new
    /// epoch, as versions that grew from the old ones, loses nothing and costs
    /// no chunk. A head whose chunks are not all here yet is left for the next
    /// time.
    #[must_use]
    pub fn restatements(&self) -> Vec<(Payload, Timestamp)> {
        self.ledger
            .restatements(|root| self.fetch.is_complete(root))
    }

    /// Whether what a notice tells may have given [`Machine::restatements`]
    /// something to say: a lost tail of ours came back through a peer, and others
    /// may hold another branch of it for good; or two members have revoked a device,
    /// or one whose offers we take has added one.
    #[must_use]
    pub fn may_restate(&self, notice: &Notice) -> bool {
        match notice {
            Notice::Trust => self.ledger.has_old_epochs() || !self.ledger.owed().is_empty(),
            Notice::Complete(_, version) => {
                let own = self.ledger.own_log();
                self.ledger
                    .version(version)
                    .is_some_and(|v| v.log.device == own.device && v.log != own && !v.log.is_kept())
            }
            Notice::Session(_)
            | Notice::Replicated(..)
            | Notice::Device(_)
            | Notice::Rolled(_)
            | Notice::OverQuota(_)
            | Notice::LogFull(_)
            | Notice::Equivocation(_)
            | Notice::OwnLogBehind => false,
        }
    }

    /// This device.
    #[must_use]
    pub fn me(&self) -> DeviceId {
        self.ledger.me
    }

    /// The epoch in which it writes.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.ledger.epoch
    }

    /// How far we hold whose log.
    #[must_use]
    pub fn frontier(&self) -> Frontier {
        self.ledger.frontier()
    }

    /// Whether we exchange anything with a device: we trust it, and no member keeps
    /// it out.
    #[must_use]
    pub fn trusts(&self, device: &DeviceId) -> bool {
        self.ledger.trusts(device)
    }

    /// Whether a device trusts us, by its own log as far as we hold it.
    #[must_use]
    pub fn trusted_by(&self, device: &DeviceId) -> bool {
        self.ledger.trust.trusts(device, &self.ledger.me)
    }

    /// The devices that we trust and that no member keeps out.
    pub fn trusted(&self) -> impl Iterator<Item = &DeviceId> {
        let trusted = self.ledger.trust.trusted(&self.ledger.me);
        trusted.filter(|device| !self.ledger.is_out(device))
    }

    /// Who is in for us, and who is kept out by whom.
    #[must_use]
    pub fn members(&self) -> &Members {
        &self.ledger.members
    }

    /// Devices that members have added, and that we neither trust nor know to be
    /// revoked.
    #[must_use]
    pub fn offers(&self) -> BTreeMap<DeviceId, Offer> {
        self.ledger
            .trust
            .offers(&self.ledger.me, &self.ledger.members)
    }

    /// All whom members have added, also those that we know.
    pub fn introductions(&self) -> impl Iterator<Item = Introduction<'_>> {
        self.ledger
            .trust
            .introductions(&self.ledger.me, &self.ledger.members)
    }

    /// The devices that we have revoked.
    pub fn revoked(&self) -> impl Iterator<Item = &DeviceId> {
        self.ledger.trust.revoked(&self.ledger.me)
    }

    /// The key that a device uses today; see
    /// [`TrustBook::current`](crate::trust::TrustBook::current). Views name
    /// devices by it, so that one that replaced its key is not two.
    #[must_use]
    pub fn current(&self, device: &DeviceId) -> DeviceId {
        *self.ledger.trust.current(device)
    }

    /// Whether our own key was replaced: this is an old copy of a device that
    /// goes on elsewhere, and nobody listens to it.
    #[must_use]
    pub fn is_superseded(&self) -> bool {
        self.ledger.trust.is_rolled(&self.ledger.me)
    }

    /// Our own logs, with the number of the next entry as the last one of the log
    /// that we write: what a [`KeyRoll`](crate::roll::KeyRoll) that is appended
    /// next has to seal.
    #[must_use]
    pub fn to_seal(&self) -> Vec<(Epoch, crate::id::Seq)> {
        let own = self.ledger.own_log();
        let others = self
            .ledger
            .tips()
            .filter(|(log, _)| log.device == own.device && *log != own && !log.is_kept());
        let mut out: Vec<_> = others.map(|(log, seq)| (log.epoch, seq)).collect();
        out.truncate(limits::EPOCHS_PER_DEVICE_MAX - 1);
        out.push((own.epoch, self.ledger.tip(&own).seq.next()));
        out
    }

    /// Bytes of content that were fetched because of each device.
    #[must_use]
    pub fn charges(&self) -> &BTreeMap<DeviceId, u64> {
        self.fetch.charges()
    }

    /// Everybody's trust, by everybody's own log.
    #[must_use]
    pub fn trust(&self) -> &crate::trust::TrustBook {
        &self.ledger.trust
    }

    /// What a device says about itself.
    #[must_use]
    pub fn device_info(&self, device: &DeviceId) -> Option<&DeviceInfo> {
        self.ledger.device_info(device)
    }

    /// All sessions that any entry speaks of.
    pub fn sessions(&self) -> impl Iterator<Item = (&SessionId, &SessionRecord)> {
        self.ledger.sessions()
    }

    /// What is known of a session.
    #[must_use]
    pub fn session(&self, id: &SessionId) -> Option<&SessionRecord> {
        self.ledger.session(id)
    }

    /// A version by its name.
    #[must_use]
    pub fn version_of(&self, id: &EntryHash) -> Option<&VersionNode> {
        self.ledger.version(id)
    }

    /// Whether a manifest, or a snapshot, is here with all that it names.
    #[must_use]
    pub fn is_complete(&self, root: &Want) -> bool {
        self.fetch.is_complete(root)
    }

    /// Whether everything that a version consists of is here.
    #[must_use]
    pub fn is_here(&self, version: &VersionNode) -> bool {
        version.roots().all(|root| self.fetch.is_complete(&root))
    }

    /// The nearest version that is here whole before one that consists of this
    /// manifest or snapshot: what is asked for is mostly like it.
    #[must_use]
    pub fn version_before(&self, root: &Want) -> Option<&VersionNode> {
        let mut next: VecDeque<&VersionNode> = self.ledger.versions_of_root(root).collect();
        for _ in 0..limits::NEAR_VERSIONS_MAX {
            let version = next.pop_front()?;
            let parents = version.version.parents.iter();
            let known = parents.filter_map(|id| self.ledger.version(id));
            for parent in known {
                // Whoever is asked hears what it is named by.
                let known = !parent.log.is_kept();
                if known && parent.version.manifest.is_some() && self.is_here(parent) {
                    return Some(parent);
                }
                next.push_back(parent);
            }
        }
        None
    }

    /// How far a manifest, or a snapshot, that is being fetched has come.
    #[must_use]
    pub fn progress(&self, root: &Want) -> Option<Progress> {
        self.fetch.progress(root)
    }

    /// Whether a manifest that is wanted, or a list page of it, came as its author
    /// named it and is not of its kind: a newer ccpeer made it, or nobody honest
    /// did. It is not asked for again while we run.
    #[must_use]
    pub fn is_unreadable(&self, root: &Want) -> bool {
        self.fetch.is_unreadable(root)
    }

    /// The linked peers that said that they hold a manifest, or a snapshot,
    /// whole.
    #[must_use]
    pub fn holders(&self, root: &Want) -> Vec<DeviceId> {
        self.peers
            .iter()
            .filter(|(_, p)| p.has_complete(root))
            .map(|(d, _)| *d)
            .collect()
    }

    /// The linked peers.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerView> {
        let ahead = |device: &DeviceId, peer: &Peer| {
            self.ledger
                .tips()
                .filter(|(log, _)| self.ledger.may_tell(device, log))
                .filter(|(log, _)| !peer.forked.contains(log))
                .map(|(log, seq)| seq.0.saturating_sub(peer.holds(&log).0))
                .fold(0, u64::saturating_add)
        };
        self.peers
            .iter()
            .map(|(d, p)| PeerView {
                device: *d,
                behind: p.behind,
                ahead: ahead(d, p),
            })
            .collect()
    }

    /// Logs of which two branches were seen since the start. We hold one; those
    /// who hold the other keep it.
    pub fn forked_logs(&self) -> impl Iterator<Item = &LogId> {
        self.forked.keys()
    }

    /// Plants a bug.
    #[cfg(feature = "mutants")]
    pub fn plant(&mut self, mutant: crate::mutant::Mutant) {
        self.ledger.planted = Some(mutant);
        self.fetch.planted = Some(mutant);
    }

    /// How much is kept because of peers.
    #[must_use]
    pub fn load(&self) -> Load {
        let (wants, in_flight) = self.fetch.load();
        Load {
            peers: self.peers.len(),
            wants,
            in_flight,
        }
    }

    fn append(&mut self, entry: VerifiedEntry, now: Instant, out: &mut Vec<Effect>) {
        let kept = LogId::kept(self.ledger.me);
        assert!(
            entry.log() == self.ledger.own_log() || entry.log() == kept,
            "an entry of another log was appended"
        );
        assert!(
            entry
                .payload()
                .is_none_or(|p| self.ledger.log_for(p) == entry.log()),
            "an entry was appended to the wrong one of our logs"
        );
        assert_eq!(
            self.ledger.fit(&entry),
            Fit::Next,
            "an entry was appended out of order"
        );
        let mut complete = Vec::new();
        // Chunks before manifest before entry: what we say, we hold.
        if let Some(Payload::Version(version)) = entry.payload() {
            complete.extend(version.roots());
        }
        if let Some(Payload::Enriched(enriched)) = entry.payload() {
            complete.push(Want::data(enriched.snapshot.id));
        }
        if let Some(Payload::Capsule(capsule)) = entry.payload() {
            complete.push(Want::manifest(capsule.manifest.id));
        }
        complete.retain(|root| !self.fetch.is_complete(root));
        complete.iter().for_each(|r| self.fetch.set_complete(*r));
        self.accept(vec![entry], complete, None, now, out);
    }

    /// These roots are whole, which is durable before anybody hears of it.
    fn found_whole(&mut self, roots: &[Want], out: &mut Vec<Effect>) {
        if roots.is_empty() {
            return;
        }
        roots.iter().for_each(|root| self.fetch.set_complete(*root));
        out.push(Effect::Persist(Batch {
            complete: roots.to_vec(),
            ..Batch::default()
        }));
        for root in roots {
            self.tell_complete(root, out);
        }
        for root in roots {
            for version in self.ledger.versions_of_root(root) {
                if self.is_here(version) {
                    out.push(Effect::Notice(Notice::Complete(
                        version.version.session,
                        version.id,
                    )));
                }
            }
            let documents = self.ledger.documents_of_root(root).iter();
            out.extend(documents.map(|d| Effect::Notice(Notice::Session(d.session))));
        }
    }

    fn forget_roots(&mut self, roots: &[Want]) {
        let mut sessions = BTreeSet::new();
        for root in roots {
            self.fetch.forget(root);
            sessions.extend(self.ledger.namings(root).map(|n| n.session));
        }
        self.fetch.distrust();
        self.want_heads_of(sessions);
    }

    /// Tells the chunks' side what the heads of these sessions consist of: heads
    /// by us (a lost tail comes back through others) and by those we trust. The
    /// nearest better document and the nearest capsule come with a head, whoever
    /// wrote them.
    fn want_heads_of(&mut self, sessions: impl IntoIterator<Item = SessionId>) {
        for id in sessions {
            let mut wants: BTreeMap<Want, Wanted> = BTreeMap::new();
            let record = self.ledger.session(&id);
            for head in record.map(SessionRecord::heads).unwrap_or_default() {
                let document = record.and_then(|r| r.nearest_document(&head.id));
                let document = document.map(|(of, d)| (of.log.device, d.root()));
                let capsule = record.and_then(|r| r.nearest_capsule(&head.id));
                let capsule = capsule.map(|(of, c)| (of.log.device, c.root()));
                let own = head.roots().map(|root| (head.log.device, root));
                for (author, want) in own.chain(document).chain(capsule) {
                    if !self.ledger.accepts(&author) {
                        continue;
                    }
                    let foreign = !self.ledger.is_me(&author);
                    let author = foreign.then(|| *self.ledger.trust.current(&author));
                    let lamport = head.lamport;
                    wants.insert(want, Wanted { lamport, author });
                }
            }
            self.fetch.set_session(id, &wants);
        }
    }

    /// What follows from any event: frontiers that are due, chunks that can be
    /// asked for, the next wake-up.
    fn settle(&mut self, now: Instant, out: &mut Vec<Effect>) {
        self.say_have(now, out);
        let over = self.fetch.newly_over().into_iter().map(Notice::OverQuota);
        out.extend(over.map(Effect::Notice));
        let peers: Vec<DeviceId> = self.peers.keys().copied().collect();
        let (ledger, linked) = (&self.ledger, &self.peers);
        self.fetch
            .pump(|root| candidates(ledger, linked, root), &peers, now, out);
        let haves = self.peers.values().map(Peer::have_due).min();
        let due = match (haves, self.fetch.due()) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        if let Some(at) = due
            && self.wake != Some(at)
        {
            self.wake = Some(at);
            out.push(Effect::WakeAt(at));
        }
    }

    fn blame(&mut self, device: DeviceId, fault: Fault, out: &mut Vec<Effect>) {
        let Some(peer) = self.peers.get_mut(&device) else {
            return;
        };
        peer.faults += 1;
        if peer.faults >= limits::FAULTS_MAX {
            self.forget(&device);
            out.push(Effect::Disconnect(device, fault));
        }
    }

    fn forget(&mut self, device: &DeviceId) {
        if self.peers.remove(device).is_some() {
            self.fetch.peer_down(device);
        }
    }
}

/// Who of the linked peers may hold a root: those who said so, those who wrote
/// it, and those who hold an entry that names it.
fn candidates(ledger: &Ledger, linked: &BTreeMap<DeviceId, Peer>, root: &Want) -> Vec<Candidate> {
    let mut out = Vec::new();
    for (device, peer) in linked {
        let mut namings = ledger.namings(root);
        let sure = peer.has_complete(root) || ledger.namings(root).any(|n| n.log.device == *device);
        if sure || namings.any(|n| peer.holds(&n.log) >= n.seq) {
            out.push(Candidate {
                unsure: !sure,
                device: *device,
            });
        }
    }
    out
}
