//! Who trusts whom, read from the logs. Trust is what a device says in its own
//! log, about nobody but itself; it is never transitive and never anybody
//! else's to give. A revocation wins over every `Add` of the same device, for
//! ever and in whatever order they arrive.
//!
//! A device that replaces its key says so in the old key's log. Whoever trusted
//! the old key trusts the new one from then on; what the old key said up to there
//! stays its word, and it says nothing more.

use alloc::collections::{BTreeMap, BTreeSet};

use crate::entry::TrustChange;
use crate::id::{DeviceId, LogId, Seq};
use crate::limits;
use crate::roll::KeyRoll;

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
/// Both sets merge without regard to order, also at their bounds: `added` keeps
/// the smallest ids, and a device that revoked more than fits trusts nobody.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Trust {
    added: BTreeSet<DeviceId>,
    revoked: BTreeSet<DeviceId>,
    overfull: bool,
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
        let added = self.of.get(a).into_iter().flat_map(|t| &t.added);
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

    /// A planted bug: an `Add` takes a revocation back.
    #[cfg(feature = "mutants")]
    pub(crate) fn forget_revocation(&mut self, author: DeviceId, change: &TrustChange) -> bool {
        let trust = self.of.entry(author).or_default();
        matches!(change, TrustChange::Add(device) if trust.revoked.remove(device))
    }

    /// Takes a statement of `author` in. True if it changed anything. A word
    /// about oneself means nothing.
    pub(crate) fn apply(&mut self, author: DeviceId, change: &TrustChange) -> bool {
        let (TrustChange::Add(about) | TrustChange::Revoke(about)) = change;
        if *about == author {
            return false;
        }
        let trust = self.of.entry(author).or_default();
        match change {
            TrustChange::Add(device) => {
                let new = trust.added.insert(*device);
                if trust.added.len() > limits::TRUSTED_MAX {
                    trust.added.pop_last();
                }
                new && trust.trusts(device)
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
        !self.overfull && self.added.contains(device) && !self.revoked.contains(device)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn device(n: u16) -> DeviceId {
        let mut id = [0; 32];
        id[..2].copy_from_slice(&n.to_be_bytes());
        DeviceId(id)
    }

    #[test]
    fn k_p11_a_revocation_is_final() {
        let (a, b) = (device(1), device(2));
        let mut book = TrustBook::default();
        assert!(book.apply(a, &TrustChange::Add(b)));
        assert!(book.trusts(&a, &b));
        assert!(
            !book.trusts(&b, &a),
            "trust is one-sided until the other says so"
        );
        assert!(book.apply(a, &TrustChange::Revoke(b)));
        assert!(!book.apply(a, &TrustChange::Add(b)));
        assert!(!book.trusts(&a, &b));
        assert!(book.revoked_by(&a, &b));
        assert_eq!(book.trusted(&a).count(), 0);
    }

    #[test]
    fn a_revocation_of_others_binds_only_its_author() {
        let (a, b, c) = (device(1), device(2), device(3));
        let mut book = TrustBook::default();
        book.apply(a, &TrustChange::Add(c));
        book.apply(b, &TrustChange::Revoke(c));
        assert!(book.trusts(&a, &c));
        assert!(
            !book.apply(c, &TrustChange::Revoke(c)),
            "nobody revokes himself"
        );
    }

    #[test]
    fn trust_is_bounded() {
        let a = device(0);
        let mut book = TrustBook::default();
        for n in 1..=2000 {
            book.apply(a, &TrustChange::Add(device(n)));
        }
        assert_eq!(book.trusted(&a).count(), limits::TRUSTED_MAX);
        for n in 3000..5000 {
            book.apply(a, &TrustChange::Revoke(device(n)));
        }
        assert_eq!(
            book.trusted(&a).count(),
            0,
            "more revocations than fit: trust nobody"
        );
        assert_eq!(book.revoked(&a).count(), limits::REVOKED_MAX);
    }

    proptest! {
        #[test]
        fn merging_is_order_independent_and_idempotent(
            said in prop::collection::vec((0u16..4, 0u16..6, any::<bool>()), 0..40),
            again in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
        ) {
            let change = |(by, about, add): &(u16, u16, bool)| {
                let about = device(*about);
                (device(*by), if *add { TrustChange::Add(about) } else { TrustChange::Revoke(about) })
            };
            let mut forwards = TrustBook::default();
            for s in &said {
                let (by, c) = change(s);
                forwards.apply(by, &c);
            }
            let mut backwards = TrustBook::default();
            let mut order: Vec<_> = said.iter().rev().collect();
            if !said.is_empty() {
                order.extend(again.iter().map(|i| i.get(&said)));
            }
            for s in order {
                let (by, c) = change(s);
                backwards.apply(by, &c);
            }
            prop_assert_eq!(forwards, backwards);
        }
    }
}
