//! Who trusts whom, read from the logs. Trust is what a device says in its own
//! log, about nobody but itself; it is never transitive and never anybody
//! else's to give. A revocation wins over every `Add` of the same device, for
//! ever and in whatever order they arrive.
//!
//! What others say is heeded in two ways only: whom they add is offered, and whom
//! they revoke is kept out until the user says otherwise; see `members`.
//!
//! A device that replaces its key says so in the old key's log. Whoever trusted
//! the old key trusts the new one from then on; what the old key said up to there
//! stays its word, and it says nothing more.

mod members;
#[cfg(test)]
mod tests;

use alloc::collections::{BTreeMap, BTreeSet};

use crate::entry::{DeviceInfo, TrustChange};
use crate::id::{DeviceId, LogId, Seq};
use crate::limits;
use crate::lineage::Order;
use crate::roll::KeyRoll;

pub use members::{Introduction, Members, Offer};

/// The trust of every device whose log we hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustBook {
    of: BTreeMap<DeviceId, Trust>,
    /// What each replaced key said about its successor: the two smallest of such
    /// statements, since two are enough to know that they differ.
    rolls: BTreeMap<DeviceId, BTreeSet<KeyRoll>>,
    /// The keys that each key replaced.
    replaced: BTreeMap<DeviceId, BTreeSet<DeviceId>>,
}

/// What one device said.
///
/// All of it merges without regard to order, also at its bounds: `added` and
/// `overruled` keep the smallest ids, and a device that revoked more than fits
/// trusts nobody.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Trust {
    added: BTreeMap<DeviceId, Added>,
    revoked: BTreeSet<DeviceId>,
    /// Who stays, and whose revocation of it does not count.
    overruled: BTreeSet<(DeviceId, DeviceId)>,
    overfull: bool,
}

/// What was said with an `Add`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Added {
    /// Its first place in the log.
    first: Order,
    /// The last of its descriptions.
    info: (Order, DeviceInfo),
}

impl TrustBook {
    /// Whether `a` trusts `b` today, by `a`'s own log. Nobody trusts a key that
    /// was replaced.
    #[must_use]
    pub fn trusts(&self, a: &DeviceId, b: &DeviceId) -> bool {
        !self.is_rolled(b) && self.vouches(a, b)
    }

    /// Whether what `b` said up to now counts for `a`: `a` trusts it, or did so
    /// when its key was replaced.
    #[must_use]
    pub fn vouches(&self, a: &DeviceId, b: &DeviceId) -> bool {
        let Some(trust) = self.of.get(a) else {
            return false;
        };
        let mut seen = BTreeSet::new();
        let mut next = alloc::vec![*b];
        while let Some(key) = next.pop() {
            if trust.trusts(&key) {
                return true;
            }
            // A word against a key is one against those that follow it.
            if trust.revoked.contains(&key) || !seen.insert(key) {
                continue;
            }
            let before = self.replaced.get(&key).into_iter().flatten();
            next.extend(before.filter(|old| self.successor(old) == Some(&key)));
        }
        false
    }

    /// Whether the key was replaced, by its own word.
    #[must_use]
    pub fn is_rolled(&self, device: &DeviceId) -> bool {
        self.rolls.contains_key(device)
    }

    /// The key that stands for a device today: its own, or the last of those that
    /// replaced it. A key that named two successors has none: one of them is a
    /// thief's, and nobody can tell which.
    #[must_use]
    pub fn current<'a>(&'a self, device: &'a DeviceId) -> &'a DeviceId {
        let mut now = device;
        for _ in 0..limits::ROLLS_IN_ROW_MAX {
            match self.successor(now) {
                Some(next) => now = next,
                None => break,
            }
        }
        now
    }

    /// The keys that a device used before, in no meaningful order.
    #[must_use]
    pub fn former(&self, device: &DeviceId) -> BTreeSet<DeviceId> {
        let mut out = BTreeSet::new();
        let mut next = alloc::vec![*device];
        while let Some(key) = next.pop() {
            for old in self.replaced.get(&key).into_iter().flatten() {
                if old != device && self.successor(old) == Some(&key) && out.insert(*old) {
                    next.push(*old);
                }
            }
        }
        out
    }

    /// How far a log counts if its device does: everything of a key in use, and
    /// what a replaced key had said until then.
    #[must_use]
    pub fn counts_upto(&self, log: &LogId) -> Seq {
        let rolls = self.rolls.get(&log.device).into_iter().flatten();
        rolls
            .map(|roll| roll.last_of(&log.epoch))
            .min()
            .unwrap_or(Seq(u64::MAX))
    }

    fn successor(&self, old: &DeviceId) -> Option<&DeviceId> {
        let rolls = self.rolls.get(old)?;
        let new = &rolls.first()?.new;
        rolls.iter().all(|r| r.new == *new).then_some(new)
    }

    /// Whether `a` has revoked `b`, by `a`'s own log.
    #[must_use]
    pub fn revoked_by(&self, a: &DeviceId, b: &DeviceId) -> bool {
        self.of.get(a).is_some_and(|t| t.revoked.contains(b))
    }

    /// The devices that `a` trusts, by the keys that they use today.
    pub fn trusted(&self, a: &DeviceId) -> impl Iterator<Item = &DeviceId> {
        let added = self.of.get(a).into_iter().flat_map(|t| t.added.keys());
        let today: BTreeSet<&DeviceId> = added.map(|b| self.current(b)).collect();
        let me = *a;
        today
            .into_iter()
            .filter(move |b| **b != me && self.trusts(&me, b))
    }

    /// The devices that `a` has revoked.
    pub fn revoked(&self, a: &DeviceId) -> impl Iterator<Item = &DeviceId> {
        self.of.get(a).into_iter().flat_map(|t| &t.revoked)
    }

    /// How many devices `a` has added, whatever it said of them later.
    pub(crate) fn added(&self, a: &DeviceId) -> usize {
        self.of.get(a).map_or(0, |t| t.added.len())
    }

    /// The revocations by others that `a` has overruled: who stays, and who
    /// revoked it.
    pub fn overruled(&self, a: &DeviceId) -> impl Iterator<Item = &(DeviceId, DeviceId)> {
        self.of.get(a).into_iter().flat_map(|t| &t.overruled)
    }

    /// What `a` said of a device when it added it.
    #[must_use]
    pub fn described(&self, a: &DeviceId, device: &DeviceId) -> Option<&DeviceInfo> {
        let added = self.of.get(a)?.added.get(device)?;
        Some(&added.info.1)
    }

    /// A planted bug: an `Add` takes a revocation back.
    #[cfg(feature = "mutants")]
    pub(crate) fn forget_revocation(&mut self, author: DeviceId, change: &TrustChange) -> bool {
        let trust = self.of.entry(author).or_default();
        matches!(change, TrustChange::Add { device, .. } if trust.revoked.remove(device))
    }

    /// Takes a statement in, by its place in its author's log. True if it changed
    /// anything. A word about oneself means nothing.
    pub(crate) fn apply(&mut self, at: Order, change: &TrustChange) -> bool {
        let author = at.log.device;
        if *change.about() == author {
            return false;
        }
        let trust = self.of.entry(author).or_default();
        match change {
            TrustChange::Add { device, info } => {
                let news = trust.add(*device, at, info);
                if trust.added.len() > limits::TRUSTED_MAX {
                    trust.added.pop_last();
                }
                news && trust.trusts(device)
            }
            TrustChange::Overrule { device, by } => {
                let new = trust.overruled.insert((*device, *by));
                if trust.overruled.len() > limits::OVERRULED_MAX {
                    trust.overruled.pop_last();
                }
                new
            }
            TrustChange::Revoke(device) => {
                let new = trust.revoked.insert(*device);
                if trust.revoked.len() > limits::REVOKED_MAX {
                    trust.overfull = true;
                    trust.revoked.pop_last();
                }
                new
            }
        }
    }
}

impl TrustBook {
    /// Takes in that `author` replaced its key. True if it changed anything. Only
    /// the word of the replaced key itself counts.
    pub(crate) fn apply_roll(&mut self, author: DeviceId, roll: &KeyRoll) -> bool {
        if roll.old != author {
            return false;
        }
        let rolls = self.rolls.entry(author).or_default();
        if !rolls.insert(roll.clone()) {
            return false;
        }
        if rolls.len() > 2 {
            rolls.pop_last();
        }
        self.replaced.entry(roll.new).or_default().insert(author);
        true
    }
}

impl Trust {
    fn trusts(&self, device: &DeviceId) -> bool {
        !self.overfull && self.added.contains_key(device) && !self.revoked.contains(device)
    }

    /// True if that is news.
    fn add(&mut self, device: DeviceId, at: Order, info: &DeviceInfo) -> bool {
        let Some(added) = self.added.get_mut(&device) else {
            let info = (at, info.clone());
            self.added.insert(device, Added { first: at, info });
            return true;
        };
        added.first = added.first.min(at);
        let newer = at > added.info.0;
        if newer {
            let before = core::mem::replace(&mut added.info, (at, info.clone()));
            return before.1 != *info;
        }
        false
    }
}
