//! What the entries say: logs, trust, devices and sessions, as one value that is
//! built from entries alone. It knows no peer's link, no chunk and no clock.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::entry::{Content, DeviceInfo, Payload, TrustChange, VerifiedEntry};
use crate::id::{DeviceId, EntryHash, Epoch, LogId, Seq, SessionId};
use crate::limits;
use crate::lineage::{Order, SessionRecord, VersionNode};
use crate::log::{Fit, Frontier, Held, Tip};
use crate::manifest::Want;
use crate::sharing::Sharing;
use crate::trust::{Members, TrustBook};

mod again;
mod shown;

/// Everything that follows from the entries that we hold.
#[derive(Debug, Clone)]
pub(crate) struct Ledger {
    pub(crate) me: DeviceId,
    pub(crate) epoch: Epoch,
    /// The greatest clock seen.
    pub(crate) lamport: u64,
    /// The hash of every entry, so that a second entry under an old number is
    /// recognised however late it comes.
    logs: BTreeMap<LogId, Vec<EntryHash>>,
    /// Bytes of entries, by author.
    log_bytes: BTreeMap<DeviceId, u64>,
    pub(crate) trust: TrustBook,
    /// What follows from trust for us; see [`Ledger::heed`].
    pub(crate) members: Members,
    /// Whose offers are taken without asking, by the user's choice.
    pub(crate) introducers: BTreeSet<DeviceId>,
    devices: BTreeMap<DeviceId, (Order, DeviceInfo)>,
    sessions: BTreeMap<SessionId, SessionRecord>,
    versions: BTreeMap<EntryHash, SessionId>,
    by_root: BTreeMap<Want, Vec<EntryHash>>,
    /// Better documents and capsules, by what they consist of.
    by_document: BTreeMap<Want, Vec<Naming>>,
    said: SaidInEpoch,
    /// What of our sessions others may have.
    pub(crate) sharing: Arc<Sharing>,
    #[cfg(feature = "mutants")]
    pub(crate) planted: Option<crate::mutant::Mutant>,
}

/// What of our own standing statements is in the log of the current epoch.
#[derive(Debug, Clone, Default)]
struct SaidInEpoch {
    device: bool,
    /// An `Add` without its description: what was said once needs no other name.
    trust: BTreeSet<TrustChange>,
}

/// A statement that names a root.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Naming {
    pub(crate) session: SessionId,
    pub(crate) log: LogId,
    pub(crate) seq: Seq,
}

/// What a run of entries changed.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(crate) sessions: BTreeSet<SessionId>,
    pub(crate) versions: Vec<EntryHash>,
    /// Better documents and capsules.
    pub(crate) documents: Vec<Want>,
    pub(crate) devices: BTreeSet<DeviceId>,
    pub(crate) trust: bool,
    /// Keys that were replaced.
    pub(crate) rolled: BTreeSet<DeviceId>,
}

impl Ledger {
    pub(crate) fn new(me: DeviceId, epoch: Epoch) -> Self {
        Self {
            me,
            epoch,
            lamport: 0,
            logs: BTreeMap::new(),
            log_bytes: BTreeMap::new(),
            trust: TrustBook::default(),
            members: Members::default(),
            introducers: BTreeSet::new(),
            devices: BTreeMap::new(),
            sessions: BTreeMap::new(),
            versions: BTreeMap::new(),
            by_root: BTreeMap::new(),
            by_document: BTreeMap::new(),
            said: SaidInEpoch::default(),
            sharing: Arc::default(),
            #[cfg(feature = "mutants")]
            planted: None,
        }
    }

    /// The log that we write.
    pub(crate) fn own_log(&self) -> LogId {
        LogId {
            device: self.me,
            epoch: self.epoch,
        }
    }

    pub(crate) fn tip(&self, log: &LogId) -> Tip {
        match self
            .logs
            .get(log)
            .and_then(|l| l.last().map(|h| (l.len(), *h)))
        {
            Some((len, hash)) => Tip {
                seq: Seq(len as u64),
                hash,
            },
            None => Tip::EMPTY,
        }
    }

    /// All logs with their last numbers.
    pub(crate) fn tips(&self) -> impl Iterator<Item = (LogId, Seq)> + '_ {
        self.logs.iter().map(|(log, l)| (*log, Seq(l.len() as u64)))
    }

    /// The same as it is told to peers.
    pub(crate) fn held(&self) -> impl Iterator<Item = Held> + '_ {
        self.logs.iter().filter_map(|(log, entries)| {
            Some(Held {
                log: *log,
                seq: Seq(entries.len() as u64),
                tip: Tip::label(entries.last()?),
            })
        })
    }

    /// Whether a frontier speaks of the same entry as ours under its number.
    pub(crate) fn confirms(&self, held: &Held) -> bool {
        self.hash_at(&held.log, held.seq)
            .is_some_and(|ours| Tip::label(&ours) == held.tip)
    }

    /// Whether a frontier speaks of another entry than ours under its number.
    pub(crate) fn contradicts(&self, held: &Held) -> bool {
        self.hash_at(&held.log, held.seq)
            .is_some_and(|ours| Tip::label(&ours) != held.tip)
    }

    pub(crate) fn frontier(&self) -> Frontier {
        Frontier(self.tips().collect())
    }

    /// How an entry stands to its log, exactly: also a number long past is
    /// compared with what we hold under it.
    pub(crate) fn fit(&self, entry: &VerifiedEntry) -> Fit {
        let log = entry.log();
        #[cfg(feature = "mutants")]
        if let Some(fit) = crate::mutant::fit(self.planted, self.tip(&log), entry) {
            return fit;
        }
        match self.hash_at(&log, entry.seq()) {
            Some(held) if held == entry.hash() => Fit::Known,
            Some(_) => Fit::Fork,
            None => self.tip(&log).compare(entry),
        }
    }

    fn hash_at(&self, log: &LogId, seq: Seq) -> Option<EntryHash> {
        let index = usize::try_from(seq.0.checked_sub(1)?).ok()?;
        self.logs.get(log)?.get(index).copied()
    }

    /// Whether we ever wrote in another epoch than this one.
    pub(crate) fn has_old_epochs(&self) -> bool {
        let own = self.own_log();
        self.logs
            .keys()
            .any(|log| log.device == own.device && *log != own && !log.is_kept())
    }

    /// Whether there is room for the log of this entry.
    pub(crate) fn has_room(&self, log: &LogId) -> bool {
        if self.is_me(&log.device) {
            return true;
        }
        if self.is_full(&log.device) {
            return false;
        }
        if self.logs.contains_key(log) {
            return true;
        }
        let first = LogId {
            device: log.device,
            epoch: Epoch([0; 16]),
        };
        let last = LogId {
            device: log.device,
            epoch: Epoch([0xff; 16]),
        };
        self.logs.len() < limits::FRONTIER_LOGS_MAX
            && self.logs.range(first..=last).count() < limits::EPOCHS_PER_DEVICE_MAX
    }

    /// Whether as much is kept of a device as we are ready to keep.
    pub(crate) fn is_full(&self, device: &DeviceId) -> bool {
        let kept = self.log_bytes.get(device).copied().unwrap_or_default();
        kept >= limits::LOG_BYTES_PER_DEVICE_MAX
    }

    /// Up to which number entries of a log are ours to hold.
    pub(crate) fn accepts_upto(&self, log: &LogId) -> Seq {
        if self.accepts(&log.device) && !log.is_kept() {
            self.trust.counts_upto(log)
        } else {
            Seq::ZERO
        }
    }

    /// Whether entries of this device are ours to hold.
    pub(crate) fn accepts(&self, author: &DeviceId) -> bool {
        #[cfg(feature = "mutants")]
        if self.planted == Some(crate::mutant::Mutant::AcceptFromRevoked)
            && self.trust.revoked_by(&self.me, author)
        {
            return true;
        }
        self.is_me(author) || (self.trust.vouches(&self.me, author) && !self.is_out(author))
    }

    /// Whether another member keeps a device out, under whichever of its keys.
    pub(crate) fn is_out(&self, device: &DeviceId) -> bool {
        #[cfg(feature = "mutants")]
        if self.planted == Some(crate::mutant::Mutant::QuarantineIgnored) {
            return false;
        }
        self.members.against(self.trust.current(device)).is_some()
    }

    /// Whether we exchange anything with a device: trusted, and kept out by
    /// nobody.
    pub(crate) fn trusts(&self, device: &DeviceId) -> bool {
        self.trust.trusts(&self.me, device) && !self.is_out(device)
    }

    /// Whether a device was ever trusted here, whatever came later: what peers pass
    /// on of it is no fault of theirs.
    pub(crate) fn has_known(&self, device: &DeviceId) -> bool {
        self.trust.is_rolled(device)
            || self.is_out(device)
            || self.trust.has_revoked(&self.me, device)
    }

    /// Whether we may have trusted devices of which we know nothing any more: we
    /// began anew after what we said had got lost with a disk, and others still go
    /// by it.
    pub(crate) fn has_lost_words(&self) -> bool {
        self.logs.keys().any(|log| self.is_over(log))
    }

    /// Works out anew who is in. To be called when trust has changed.
    pub(crate) fn heed(&mut self) {
        self.members = self.trust.members(&self.me);
    }

    /// What we have to say because others have: whom two members revoked, we
    /// revoke, and whom an introducer of ours added, we add.
    pub(crate) fn owed(&self) -> Vec<TrustChange> {
        let (trust, members) = (&self.trust, &self.members);
        let out = members.out().map(|(device, _)| device);
        let known = |d: &&DeviceId| {
            // More than fits would never be said.
            members.is_final(d)
                && !trust.has_revoked(&self.me, d)
                && trust.revoked(&self.me).count() < limits::REVOKED_MAX
        };
        let mut owed: Vec<TrustChange> =
            out.filter(known).map(|d| TrustChange::Revoke(*d)).collect();
        if self.introducers.is_empty() {
            return owed;
        }
        let room = limits::TRUSTED_MAX.saturating_sub(trust.added(&self.me));
        let introducers: BTreeSet<&DeviceId> =
            self.introducers.iter().map(|d| trust.current(d)).collect();
        let offers = trust.offers(&self.me, members).into_values();
        let offers = offers.filter(|o| o.by.iter().any(|by| introducers.contains(by)));
        owed.extend(offers.take(room).map(|offer| TrustChange::Add {
            device: offer.device,
            info: offer.info,
        }));
        owed
    }

    /// Whether this is us, under the key of today or an earlier one.
    pub(crate) fn is_me(&self, device: &DeviceId) -> bool {
        *self.trust.current(device) == self.me
    }

    /// Whether `peer` may be told what `author` says: everybody may have back
    /// what is his own, and ours is for whom we talk to; the word of a third
    /// device only goes where the two trust each other, by their own logs.
    pub(crate) fn entitled(&self, peer: &DeviceId, author: &DeviceId) -> bool {
        #[cfg(feature = "mutants")]
        if self.planted == Some(crate::mutant::Mutant::ServeToAnybody) {
            return true;
        }
        // The last word of a key of ours is that it was replaced.
        if *author == self.me {
            return true;
        }
        // Whoever replaced his key speaks and hears for the old one too.
        let author = self.trust.current(author);
        // Of somebody who is out here, nothing is passed on: who hears of it does
        // the same, and would be told for ever what it refuses.
        author == peer
            || *author == self.me
            || (self.trust.trusts(peer, author)
                && self.trust.trusts(author, peer)
                && !self.is_out(author)
                && !self.trust.has_revoked(&self.me, author))
    }

    /// Takes in an entry that is the next one of its log.
    ///
    /// # Panics
    /// If it is not: whoever calls has looked.
    pub(crate) fn apply(&mut self, entry: &VerifiedEntry, changes: &mut Changes) {
        assert_eq!(
            self.fit(entry),
            Fit::Next,
            "an entry was applied that does not fit"
        );
        let header = entry.header();
        self.logs.entry(header.log).or_default().push(entry.hash());
        *self.log_bytes.entry(header.log.device).or_default() += entry.signed().size() as u64;
        // One entry of another device moves our clock on by so much and no more: a
        // peer that claims the end of time must not leave us without numbers.
        let furthest = if self.is_me(&header.log.device) {
            u64::MAX
        } else {
            self.lamport.saturating_add(limits::LAMPORT_STEP_MAX)
        };
        #[cfg(feature = "mutants")]
        let furthest = match self.planted {
            Some(crate::mutant::Mutant::ClockJumps) => u64::MAX,
            _ => furthest,
        };
        self.lamport = self.lamport.max(header.lamport.min(furthest));
        let order = Order {
            lamport: header.lamport,
            log: header.log,
            seq: header.seq,
        };
        let body = match entry.content() {
            Content::Known(body) => body,
            Content::Withheld | Content::Unknown => return,
        };
        let author = header.log.device;
        let own = header.log == self.own_log();
        #[cfg(feature = "mutants")]
        let order = crate::mutant::order(self.planted, order, body.at);
        match &body.payload {
            Payload::Device(info) => {
                self.said.device |= own;
                let newer = self
                    .devices
                    .get(&author)
                    .is_none_or(|(before, _)| order > *before);
                if newer {
                    self.devices.insert(author, (order, info.clone()));
                    changes.devices.insert(author);
                }
            }
            Payload::Trust(change) => {
                if own {
                    self.said.trust.insert(bare(change));
                }
                #[cfg(feature = "mutants")]
                {
                    changes.trust |= self.forget_revocation(author, change);
                }
                changes.trust |= self.trust.apply(order, change);
            }
            Payload::Version(version) => {
                let node = VersionNode {
                    id: entry.hash(),
                    log: header.log,
                    seq: header.seq,
                    lamport: header.lamport,
                    at: body.at,
                    version: version.clone(),
                };
                #[cfg(feature = "mutants")]
                let node = self.settle_fork(node);
                for root in node.roots() {
                    self.by_root.entry(root).or_default().push(node.id);
                }
                self.versions.insert(node.id, version.session);
                changes.versions.push(node.id);
                changes.sessions.insert(version.session);
                self.sessions
                    .entry(version.session)
                    .or_default()
                    .add_version(node);
            }
            Payload::Presence(presence) => {
                changes.sessions.insert(presence.session);
                self.sessions
                    .entry(presence.session)
                    .or_default()
                    .add_presence(order, presence, body.at);
            }
            Payload::Claim(claim) => {
                changes.sessions.insert(claim.session);
                self.sessions
                    .entry(claim.session)
                    .or_default()
                    .add_claim(order, claim, body.at);
            }
            Payload::Roll(roll) => {
                if self.trust.apply_roll(author, roll) {
                    changes.trust = true;
                    changes.rolled.insert(author);
                }
            }
            Payload::Enriched(enriched) => {
                let root = Want::data(enriched.snapshot.id);
                self.beside(enriched.session, root, entry, changes)
                    .add_document(order, enriched, body.at);
            }
            Payload::Capsule(capsule) => {
                let root = Want::manifest(capsule.manifest.id);
                self.beside(capsule.session, root, entry, changes)
                    .add_capsule(order, capsule, body.at);
            }
            Payload::Mark(mark) => {
                changes.sessions.insert(mark.session);
                self.sessions
                    .entry(mark.session)
                    .or_default()
                    .add_mark(order, mark);
            }
        }
    }

    /// Takes in that a session has something beside its versions.
    fn beside(
        &mut self,
        session: SessionId,
        root: Want,
        entry: &VerifiedEntry,
        changes: &mut Changes,
    ) -> &mut SessionRecord {
        let naming = Naming {
            session,
            log: entry.log(),
            seq: entry.seq(),
        };
        self.by_document.entry(root).or_default().push(naming);
        changes.documents.push(root);
        changes.sessions.insert(session);
        self.sessions.entry(session).or_default()
    }

    /// Planted bugs: an `Add` takes a revocation back, one's own or that of whom an
    /// introducer adds.
    #[cfg(feature = "mutants")]
    fn forget_revocation(&mut self, author: DeviceId, change: &TrustChange) -> bool {
        let whose = match self.planted {
            Some(crate::mutant::Mutant::RevocationForgotten) => author,
            Some(crate::mutant::Mutant::IntroducerRevives)
                if self.introducers.contains(&author) =>
            {
                self.me
            }
            _ => return false,
        };
        self.trust.forget_revocation(whose, change)
    }

    /// A planted bug: what was heard again is the last that was said.
    #[cfg(feature = "mutants")]
    pub(crate) fn move_back(&mut self, entry: &VerifiedEntry) {
        let len = usize::try_from(entry.seq().0).unwrap_or(usize::MAX);
        if self.planted == Some(crate::mutant::Mutant::ReplayMovesBack)
            && entry.log().device != self.me
            && let Some(log) = self.logs.get_mut(&entry.log())
        {
            log.truncate(len);
        }
    }

    /// A planted bug: the newcomer is taken to have grown from every head.
    #[cfg(feature = "mutants")]
    fn settle_fork(&self, mut node: VersionNode) -> VersionNode {
        if self.planted == Some(crate::mutant::Mutant::ForkSettled)
            && let Some(record) = self.sessions.get(&node.version.session)
        {
            node.version
                .parents
                .extend(record.heads().iter().map(|n| n.id));
        }
        node
    }

    /// Goes on in a fresh epoch.
    ///
    /// # Panics
    /// If we ever wrote in that epoch: it is drawn at random.
    pub(crate) fn new_epoch(&mut self, epoch: Epoch) {
        let log = LogId {
            device: self.me,
            epoch,
        };
        assert!(!self.logs.contains_key(&log), "an epoch was used twice");
        self.epoch = epoch;
        self.said = SaidInEpoch::default();
    }

    pub(crate) fn device_info(&self, device: &DeviceId) -> Option<&DeviceInfo> {
        self.devices.get(device).map(|(_, info)| info)
    }

    pub(crate) fn sessions(&self) -> impl Iterator<Item = (&SessionId, &SessionRecord)> {
        self.sessions.iter()
    }

    pub(crate) fn session(&self, id: &SessionId) -> Option<&SessionRecord> {
        self.sessions.get(id)
    }

    pub(crate) fn version(&self, id: &EntryHash) -> Option<&VersionNode> {
        self.sessions.get(self.versions.get(id)?)?.node(id)
    }

    /// The versions that consist of this manifest or snapshot.
    pub(crate) fn versions_of_root(&self, root: &Want) -> impl Iterator<Item = &VersionNode> {
        self.by_root
            .get(root)
            .into_iter()
            .flatten()
            .filter_map(|id| self.version(id))
    }

    /// The sessions that have this as a better document, or as a capsule.
    pub(crate) fn documents_of_root(&self, root: &Want) -> &[Naming] {
        self.by_document.get(root).map_or(&[], Vec::as_slice)
    }

    /// All statements that name a root.
    pub(crate) fn namings(&self, root: &Want) -> impl Iterator<Item = Naming> {
        let versions = self.versions_of_root(root).map(|v| Naming {
            session: v.version.session,
            log: v.log,
            seq: v.seq,
        });
        versions.chain(self.documents_of_root(root).iter().copied())
    }
}

/// A statement about trust without what may be worded in another way.
fn bare(change: &TrustChange) -> TrustChange {
    match change {
        TrustChange::Add { device, .. } => TrustChange::add(*device),
        TrustChange::Revoke(_) | TrustChange::Overrule { .. } => change.clone(),
    }
}
