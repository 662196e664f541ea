//! What is to be said again: what we stand by and others may not have, because it was
//! said in an epoch that is over, or was withheld from somebody since.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::{Ledger, bare};
use crate::entry::{Capsule, Enriched, Payload, Presence, TrustChange};
use crate::id::{DeviceId, LogId, SessionId};
use crate::lineage::{SessionRecord, VersionNode};
use crate::manifest::Want;
use crate::sharing::Share;
use crate::time::Timestamp;

impl Ledger {
    /// What we ourselves stand by and have not said in the current epoch, with
    /// its label, in the order in which it is to be said. See
    /// [`Machine::restatements`](crate::sync::machine::Machine::restatements).
    pub(crate) fn restatements(
        &self,
        is_complete: impl Fn(&Want) -> bool,
    ) -> Vec<(Payload, Timestamp)> {
        let mut out = Vec::new();
        let unlabelled = Timestamp(0);
        // Under a new key all of it is to be said again.
        let former = self.trust.former(&self.me);
        let known = || former.iter().find_map(|old| self.device_info(old));
        let info = self.device_info(&self.me).or_else(known);
        if let (Some(info), false) = (info, self.said.device) {
            out.push((Payload::Device(info.clone()), unlabelled));
        }
        let lives = || former.iter().chain([&self.me]);
        let mut trust: BTreeMap<TrustChange, TrustChange> = BTreeMap::new();
        for me in lives() {
            let add = |d: &DeviceId| TrustChange::Add {
                device: *d,
                info: self.trust.described(me, d).cloned().unwrap_or_default(),
            };
            let overrule = |pair: &(DeviceId, DeviceId)| TrustChange::Overrule {
                device: pair.0,
                by: pair.1,
            };
            let said = self.trust.trusted(me).map(add);
            let said = said.chain(self.trust.revoked(me).map(|d| TrustChange::Revoke(*d)));
            let said = said.chain(self.trust.overruled(me).map(overrule));
            trust.extend(said.map(|change| (bare(&change), change)));
        }
        for change in self.owed() {
            trust.entry(bare(&change)).or_insert(change);
        }
        trust.retain(|bare, _| !self.said.trust.contains(bare));
        let trust = trust.into_values();
        out.extend(trust.map(|change| (Payload::Trust(change), unlabelled)));
        let stale = |log: &LogId| self.is_over(log) || (log.is_kept() && self.is_me(&log.device));
        for (session, record) in &self.sessions {
            let share = self.sharing.of(session);
            let state = record.state_on(&self.me).map(|(state, at)| {
                let session = *session;
                (Payload::Presence(Presence { session, state }), at)
            });
            if share == Share::Local {
                out.extend(state.filter(|_| self.closes(record)));
                continue;
            }
            let mut restated = false;
            for head in record.heads() {
                if !self.is_due(record, head, share) || !head.roots().all(|r| is_complete(&r)) {
                    continue;
                }
                let mut version = head.version.clone();
                version.parents = alloc::vec![head.id];
                if let Some((state, _)) = record.state_on(&self.me) {
                    version.state = state;
                }
                out.push((Payload::Version(version), head.at));
                restated = true;
            }
            out.extend(self.lost_beside(*session, record, &is_complete));
            // A version speaks for itself, kept or not.
            let kept = record.stated_on(&self.me).filter(|o| o.log.is_kept());
            let kept = kept.filter(|o| !record.nodes().any(|n| n.order() == *o));
            out.extend(state.filter(|_| kept.is_some() && !restated));
            // A version takes a mark back, so a mark that holds is said again
            // after it.
            let done = record.done();
            let mark = record.mark();
            if (restated && done)
                || mark.is_some_and(|(order, value)| stale(&order.log) && value == done)
            {
                let mark = crate::entry::Mark {
                    session: *session,
                    done,
                };
                out.push((Payload::Mark(mark), unlabelled));
            }
        }
        out
    }

    /// Better documents and capsules of what our heads say again, which may have been
    /// lost as that was: to be said again of the head.
    fn lost_beside<'a>(
        &'a self,
        session: SessionId,
        record: &'a SessionRecord,
        is_complete: &'a impl Fn(&Want) -> bool,
    ) -> impl Iterator<Item = (Payload, Timestamp)> + 'a {
        let own = self.own_log();
        record.heads().into_iter().flat_map(move |head| {
            // Where others know something else in a head's place, it is that.
            let told = self.shown_form(record, head).unwrap_or(head);
            let parents = head.version.parents.iter().chain(&told.version.parents);
            let before = parents.filter_map(|id| record.node(id)).filter(|n| {
                self.is_me(&n.log.device)
                    && n.version.manifest == head.version.manifest
                    && n.version.snapshot == head.version.snapshot
            });
            let before: Vec<&VersionNode> = before.collect();
            let bare = told.log == own && record.document(told).is_none();
            let document = before.iter().find_map(|n| record.document(n));
            let document = document.filter(|d| bare && is_complete(&d.root()));
            let document = document.map(|d| {
                let enriched = Enriched {
                    session,
                    version: told.id,
                    snapshot: d.snapshot,
                };
                (Payload::Enriched(enriched), d.at)
            });
            // Code goes with what others may have whole, and with nothing else.
            let bare = head.log == own && record.capsule(head).is_none();
            let capsule = before.iter().find_map(|n| record.capsule(n));
            let capsule = capsule.filter(|c| bare && is_complete(&c.root()));
            let capsule = capsule.map(|c| {
                let capsule = Capsule {
                    session,
                    version: head.id,
                    manifest: c.manifest,
                };
                (Payload::Capsule(capsule), c.at)
            });
            document.into_iter().chain(capsule)
        })
    }

    /// Whether the log of the current epoch says what a version says, under
    /// another name. Two devices that share a key each take the other's epoch for
    /// a former one of their own; without this they would repeat each other for
    /// ever.
    pub(super) fn is_said(&self, record: &SessionRecord, version: &VersionNode) -> bool {
        #[cfg(feature = "mutants")]
        if self.planted == Some(crate::mutant::Mutant::RepeatedForEver) {
            return false;
        }
        let own = self.own_log();
        record.nodes().any(|node| {
            node.log == own
                && node.version.manifest == version.version.manifest
                && node.version.snapshot == version.version.snapshot
        })
    }
}
