//! The driver's part of looking after the store, the key and the copies of both:
//! what was found is told, trust that was lost with a store is stated again, and
//! content that turned out damaged is wanted again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ccpeer_core::entry::{DeviceInfo, Payload, TrustChange};
use ccpeer_core::id::{DeviceId, Epoch};
use ccpeer_core::lineage::{Document, VersionNode, WorkInProgress};
use ccpeer_core::manifest::Want;
use ccpeer_core::roll::KeyRoll;
use ccpeer_core::sync::event::Event;
use ccpeer_store::StoreError;
use ed25519_dalek::SigningKey;
use tokio::sync::oneshot;

use super::Driver;
use crate::api::DeviceName;
use crate::findings::Kind;
use crate::pool::blocking;
use crate::retention::{Known, Line};
use crate::spare::SpareTrust;
use crate::{api, binding, view};

/// After the store was lost, captures wait until our own log has come back, so
/// that they go on from it; no longer than this, because nobody may be there.
const PAST_MAX: Duration = Duration::from_secs(60);

impl Driver {
    /// What the start has found and only the machine can act on. Runs before
    /// anything else is said.
    pub(super) async fn settle_in(&mut self, copied: bool, found: Vec<Kind>, peers: bool) {
        if peers && !found.is_empty() {
            self.past_until = Some(std::time::Instant::now() + PAST_MAX);
        }
        for kind in found {
            self.found(kind, None);
        }
        if copied {
            // Whoever has the original goes on in its log: two must not write
            // under one number.
            match crate::random::bytes().map(Epoch) {
                Ok(epoch) => {
                    if self.apply(Event::NewEpoch(epoch)).await.is_err() {
                        return;
                    }
                    self.found(Kind::Copied, None);
                    let home = self.shared.home.clone();
                    if let Err(e) = blocking(move || binding::bind(&home)).await {
                        self.failed("cannot write down where this home lies", &e);
                    }
                }
                Err(e) => self.failed("cannot begin a new log", &e),
            }
        }
    }

    /// States again whom this device trusted and has revoked, where the log no
    /// longer says so.
    pub(super) async fn trust_again(&mut self, spare: &SpareTrust) {
        let me = self.shared.me;
        let revoked = spare.revoked().into_iter().map(TrustChange::Revoke);
        let mut changes: Vec<TrustChange> = revoked.collect();
        for (device, name, addrs) in spare.trusted() {
            if device == me {
                continue;
            }
            if self.peers.get(&device).is_none() {
                self.peers.describe(&device, &name, "");
                self.peers.found(&device, &addrs);
                self.save_peer(device);
                for addr in addrs {
                    self.shared.net.add_address(device, addr);
                }
            }
            let os = String::new();
            let info = DeviceInfo { name, os };
            changes.push(TrustChange::Add { device, info });
        }
        for change in changes {
            let trust = self.machine.trust();
            let said = match &change {
                TrustChange::Add { device: d, .. } => {
                    trust.trusts(&me, d) || trust.revoked_by(&me, d)
                }
                TrustChange::Revoke(d) => trust.revoked_by(&me, d),
                TrustChange::Overrule { .. } => true,
            };
            if said {
                continue;
            }
            if let Err(e) = self.append(&Payload::Trust(change)).await {
                self.failed("cannot state again whom this device trusts", &e);
                return;
            }
        }
    }

    /// Writes the spare copy of our trust, if it says something else by now.
    pub(super) fn keep_spare(&mut self) {
        let me = self.shared.me;
        let name = self.machine.device_info(&me).map(|i| i.name.clone());
        let mut spare = SpareTrust::new(&me, name.unwrap_or_default());
        let mut addresses = self.peers.addresses();
        // Also whom others keep out: that is for them or the user to take back.
        for device in self.machine.trust().trusted(&me) {
            let name = self.peers.name(device).unwrap_or_default();
            let addrs = addresses.remove(device).unwrap_or_default();
            spare.trust(device, name, addrs);
        }
        self.machine.revoked().for_each(|d| spare.revoke(d));
        if self.spare.as_ref() == Some(&spare) {
            return;
        }
        self.spare = Some(spare.clone());
        let (home, turn) = (self.shared.home.clone(), Arc::clone(&self.spare_turn));
        tokio::task::spawn_blocking(move || {
            // One after the other, in the order in which they were asked for.
            let _turn = turn.lock();
            if let Err(e) = spare.save(&home) {
                tracing::warn!(error = %e, "cannot write the spare copy of trust");
            }
        });
    }

    /// The last word of our key: another one takes its place.
    pub(super) async fn roll(&mut self, next: &SigningKey) -> Result<(), StoreError> {
        let roll = KeyRoll::sign(&self.key, next, self.machine.to_seal());
        self.append(&Payload::Roll(roll)).await.map(drop)
    }

    /// What each device wrote, by the key that it uses today, this one first: what
    /// two devices share is charged to us, or to the first.
    pub(super) fn authors(&self) -> Vec<(DeviceId, Vec<Want>)> {
        let me = self.shared.me;
        let mut of: BTreeMap<DeviceId, Vec<Want>> = BTreeMap::new();
        for (_, record) in self.machine.sessions() {
            for node in record.nodes() {
                let author = self.machine.current(&node.log.device);
                of.entry(author).or_default().extend(node.roots());
            }
            for document in record.documents() {
                let author = self.machine.current(&document.order.log.device);
                of.entry(author).or_default().push(document.root());
            }
            for capsule in record.capsules() {
                let author = self.machine.current(&capsule.order.log.device);
                of.entry(author).or_default().push(capsule.root());
            }
        }
        let own = of.remove(&me).unwrap_or_default();
        std::iter::once((me, own)).chain(of).collect()
    }

    pub(super) fn charges(&self) -> Vec<(DeviceName, u64)> {
        let charges = self.machine.charges();
        let devices = self.machine.trusted();
        devices
            .map(|d| (self.name_of(d), charges.get(d).copied().unwrap_or_default()))
            .collect()
    }

    pub(super) fn lines(&self, old: &Known) -> Vec<Line> {
        let held = |node: &VersionNode| {
            let holds = |root: Want| self.machine.holders(&root);
            let mut roots = node.roots();
            let Some(first) = roots.next().map(holds) else {
                return false;
            };
            let rest: Vec<Vec<DeviceId>> = roots.map(holds).collect();
            first.iter().any(|d| rest.iter().all(|r| r.contains(d)))
        };
        self.machine
            .sessions()
            .map(|(_, record)| Line::of(record, old, held))
            .collect()
    }

    /// Remembers a finding and tells whoever looks.
    pub(super) fn found(&mut self, kind: Kind, device: Option<DeviceId>) {
        let at = self.wall();
        if let Some(note) = self.findings.add(kind, device, at) {
            tracing::warn!(?kind, device = ?device.map(|d| d.short()), "found");
            self.save(note);
        }
    }

    /// The user has dealt with all of it.
    pub(super) fn forget_findings(&mut self) {
        self.last_error = None;
        if let Some(note) = self.findings.clear() {
            self.save(note);
        }
    }

    /// Whether captures wait for what this device said before its store was lost.
    pub(super) fn awaits_past(&self) -> bool {
        self.past_until.is_some()
    }

    /// Looks whether our past is back: every linked device has been heard out, or
    /// nobody came in time.
    pub(super) fn look_for_past(&mut self) {
        let Some(until) = self.past_until else {
            return;
        };
        let behind = self.machine.peers().iter().any(|p| p.behind > 0);
        // Linked since the last look at least: it has said how far it knows.
        let heard = !self.links.is_empty() && self.links == self.links_before;
        self.links_before.clone_from(&self.links);
        if (heard && !behind) || std::time::Instant::now() >= until {
            self.past_until = None;
            self.start_captures();
        }
    }

    pub(super) fn told_findings(&self) -> Vec<api::Finding> {
        self.findings
            .iter()
            .filter(|f| {
                let told = |d: DeviceId| f.kind == Kind::Introduced || self.machine.trusts(&d);
                f.device().is_none_or(told)
            })
            .map(|f| {
                let device = f.device().map(|d| self.name_of(&d));
                let by = f.by().map(|d| self.name_of(&d).name);
                let name = by.or_else(|| device.as_ref().map(|d| d.name.clone()));
                let name = name.unwrap_or_default();
                api::Finding {
                    kind: f.word().to_owned(),
                    message: f.message(&name),
                    hint: f.hint().to_owned(),
                    since: view::time(ccpeer_core::time::Timestamp(f.at_ms)),
                    device,
                }
            })
            .chain(self.told_of_members())
            .chain(self.told_of_sharing())
            .collect()
    }

    /// Finds what the machine believes to hold whole and the store no longer
    /// does, and wants it again. Answers with what of it is not back yet.
    pub(super) async fn recheck(&mut self, to: oneshot::Sender<Vec<Want>>) {
        let store = Arc::clone(&self.shared.store);
        let here = match blocking(move || store.complete()).await {
            Ok(here) => here,
            Err(e) => {
                self.failed("cannot read the store", &e);
                return;
            }
        };
        let mut lost: BTreeSet<Want> = BTreeSet::new();
        for (_, record) in self.machine.sessions() {
            let documents = record.documents().map(Document::root);
            let versions = record.nodes().flat_map(VersionNode::roots);
            let capsules = record.capsules().map(WorkInProgress::root);
            for root in versions.chain(documents).chain(capsules) {
                if self.machine.is_complete(&root) && !here.contains(&root) {
                    lost.insert(root);
                }
            }
        }
        let mut heads: BTreeSet<Want> = BTreeSet::new();
        for (_, record) in self.machine.sessions() {
            for head in record.heads() {
                if head.log.device == self.shared.me {
                    let document = record.document(head).map(Document::root);
                    heads.extend(head.roots().chain(document));
                }
            }
        }
        let roots: Vec<Want> = lost.iter().copied().collect();
        // Said even if it is none: what is just being fetched may have counted on a
        // chunk that is gone.
        let _logged = self.apply(Event::Forgotten(roots)).await;
        for want in &lost {
            // Heads are wanted by themselves; older versions because we ask.
            let _logged = self.apply(Event::Need(*want)).await;
        }
        heads.retain(|root| !self.machine.is_complete(root));
        lost.extend(heads);
        let _gone = to.send(lost.into_iter().collect());
    }
}
