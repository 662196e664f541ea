//! Who is in, seen by one device: whom it trusts by its own word, less those whom
//! another member has revoked, until its user says otherwise. And who is offered
//! to it. It knows what was said and nothing of when it came.
//!
//! A revocation by another member keeps a device out at once, because waiting for
//! a person would leave a thief time. It can be undone because a thief can revoke,
//! too: whoever is out himself has no say. Two who revoke each other are both out:
//! which of them is the thief is for a person to say.

use alloc::collections::{BTreeMap, BTreeSet};

use super::TrustBook;
use crate::entry::DeviceInfo;
use crate::id::DeviceId;
use crate::limits;

/// Who is in and who is out for one device, by the keys that they use today.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Members {
    /// Trusted, and not kept out by anybody.
    trusted: BTreeSet<DeviceId>,
    /// Revoked by these, and not overruled. Also devices that were never trusted
    /// here.
    out: BTreeMap<DeviceId, BTreeSet<DeviceId>>,
}

/// A device that members have added and that is not known here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Which.
    pub device: DeviceId,
    /// Who offers it.
    pub by: BTreeSet<DeviceId>,
    /// What one of them says that it is; not stripped.
    pub info: DeviceInfo,
}

/// Somebody whom a member added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Introduction<'a> {
    /// Who added it.
    pub by: DeviceId,
    /// Whom.
    pub device: DeviceId,
    /// What it said of it; not stripped.
    pub info: &'a DeviceInfo,
    /// It did so after it had added us: not a part of what was there before.
    pub later: bool,
}

impl Members {
    /// Whether a device is in. Not by a key that was replaced.
    #[must_use]
    pub fn is_trusted(&self, device: &DeviceId) -> bool {
        self.trusted.contains(device)
    }

    /// The devices that are in.
    pub fn trusted(&self) -> impl Iterator<Item = &DeviceId> {
        self.trusted.iter()
    }

    /// The devices that other members keep out, and who they are.
    pub fn out(&self) -> impl Iterator<Item = (&DeviceId, &BTreeSet<DeviceId>)> {
        self.out.iter()
    }

    /// Who keeps a device out.
    #[must_use]
    pub fn against(&self, device: &DeviceId) -> Option<&BTreeSet<DeviceId>> {
        self.out.get(device)
    }

    /// Whether so many who are in themselves say so that it is no longer for one
    /// person to undo.
    #[must_use]
    pub fn is_final(&self, device: &DeviceId) -> bool {
        self.out.get(device).is_some_and(|by| {
            by.iter().filter(|b| self.trusted.contains(*b)).count() >= limits::VOICES_FINAL
        })
    }
}

impl TrustBook {
    /// Who is in for `me`.
    #[must_use]
    pub fn members(&self, me: &DeviceId) -> Members {
        let own: BTreeSet<DeviceId> = self.trusted(me).copied().collect();
        let against = self.accusations(me, &own);
        // Whom nobody accuses is in; whom one of those accuses is out, and says
        // nothing more. What is left over accuses each other in a circle.
        let mut trusted: BTreeSet<DeviceId> = BTreeSet::new();
        let mut silenced: BTreeSet<DeviceId> = BTreeSet::new();
        let heard = |device: &DeviceId, silenced: &BTreeSet<DeviceId>| -> BTreeSet<DeviceId> {
            let by = against.get(device).into_iter().flatten();
            by.filter(|b| !silenced.contains(*b)).copied().collect()
        };
        loop {
            let before = (trusted.len(), silenced.len());
            let open = own.iter().filter(|d| heard(d, &silenced).is_empty());
            trusted.extend(open.copied());
            let accused = own.iter().filter(|d| {
                let by = against.get(*d);
                by.is_some_and(|by| !by.is_disjoint(&trusted))
            });
            silenced.extend(accused.copied());
            if before == (trusted.len(), silenced.len()) {
                break;
            }
        }
        let out = against.keys().map(|d| (*d, heard(d, &silenced)));
        let out = out.filter(|(_, by)| !by.is_empty()).collect();
        Members { trusted, out }
    }

    /// Who of `own` has revoked whom, as far as `me` lets it count.
    fn accusations(
        &self,
        me: &DeviceId,
        own: &BTreeSet<DeviceId>,
    ) -> BTreeMap<DeviceId, BTreeSet<DeviceId>> {
        let lives = self.lives(me);
        let overruled: BTreeSet<(DeviceId, DeviceId)> = lives
            .iter()
            .flat_map(|life| self.overruled(life))
            .map(|(device, by)| (*self.current(device), *self.current(by)))
            .collect();
        let mut against: BTreeMap<DeviceId, BTreeSet<DeviceId>> = BTreeMap::new();
        for (author, said) in &self.of {
            let by = *self.current(author);
            if !own.contains(&by) {
                continue;
            }
            for key in &said.revoked {
                let about = *self.current(key);
                if about != by && !lives.contains(&about) && !overruled.contains(&(about, by)) {
                    against.entry(about).or_default().insert(by);
                }
            }
        }
        against
    }

    /// All whom members have added, us and ourselves apart.
    pub fn introductions<'a>(
        &'a self,
        me: &DeviceId,
        members: &'a Members,
    ) -> impl Iterator<Item = Introduction<'a>> {
        let lives = self.lives(me);
        self.of.iter().flat_map(move |(author, said)| {
            let by = *self.current(author);
            let ours = lives.iter().filter_map(|life| said.added.get(life));
            let since = ours.map(|added| added.first).min();
            let lives = lives.clone();
            let heard = members.is_trusted(&by);
            said.added
                .iter()
                .filter(move |(key, _)| heard && said.trusts(key))
                .map(move |(key, added)| Introduction {
                    by,
                    device: *self.current(key),
                    info: &added.info.1,
                    later: since.is_some_and(|since| added.first > since),
                })
                .filter(move |i| i.device != i.by && !lives.contains(&i.device))
        })
    }

    /// Devices that members have added, and that `me` neither trusts nor knows to
    /// be revoked.
    #[must_use]
    pub fn offers(&self, me: &DeviceId, members: &Members) -> BTreeMap<DeviceId, Offer> {
        let lives = self.lives(me);
        let mut offers: BTreeMap<DeviceId, Offer> = BTreeMap::new();
        for introduction in self.introductions(me, members) {
            let device = introduction.device;
            let known = lives
                .iter()
                .any(|life| self.trusts(life, &device) || self.has_revoked(life, &device));
            if known || self.is_rolled(&device) || members.against(&device).is_some() {
                continue;
            }
            if offers.len() >= limits::OFFERS_MAX && !offers.contains_key(&device) {
                continue;
            }
            let offer = offers.entry(device).or_insert_with(|| Offer {
                device,
                by: BTreeSet::new(),
                info: introduction.info.clone(),
            });
            offer.by.insert(introduction.by);
            if offer.info.name.is_empty() {
                offer.info = introduction.info.clone();
            }
        }
        offers
    }

    /// Whether `a` has revoked a device, under the key that it uses today or one
    /// before.
    #[must_use]
    pub fn has_revoked(&self, a: &DeviceId, device: &DeviceId) -> bool {
        self.revoked_by(a, device)
            || self
                .former(device)
                .iter()
                .any(|key| self.revoked_by(a, key))
    }

    /// A device under its key of today and those before.
    fn lives(&self, me: &DeviceId) -> BTreeSet<DeviceId> {
        let mut lives = self.former(me);
        lives.insert(*me);
        lives
    }
}
