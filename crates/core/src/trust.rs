//! Who trusts whom, read from the logs. Trust is what a device says in its own
//! log, about nobody but itself; it is never transitive and never anybody
//! else's to give. A revocation wins over every `Add` of the same device, for
//! ever and in whatever order they arrive.

use alloc::collections::{BTreeMap, BTreeSet};

use crate::entry::TrustChange;
use crate::id::DeviceId;
use crate::limits;

/// The trust of every device whose log we hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustBook {
    of: BTreeMap<DeviceId, Trust>,
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
    /// Whether `a` trusts `b`, by `a`'s own log.
    #[must_use]
    pub fn trusts(&self, a: &DeviceId, b: &DeviceId) -> bool {
        self.of.get(a).is_some_and(|t| t.trusts(b))
    }

    /// Whether `a` has revoked `b`, by `a`'s own log.
    #[must_use]
    pub fn revoked_by(&self, a: &DeviceId, b: &DeviceId) -> bool {
        self.of.get(a).is_some_and(|t| t.revoked.contains(b))
    }

    /// The devices that `a` trusts.
    pub fn trusted(&self, a: &DeviceId) -> impl Iterator<Item = &DeviceId> {
        self.of
            .get(a)
            .into_iter()
            .flat_map(|t| t.added.iter().filter(|b| t.trusts(b)))
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
