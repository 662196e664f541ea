//! How much content is here because of whom, and who may bring no more. The
//! account knows no chunk and no session; it counts what it is told.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::Fetch;
use crate::id::DeviceId;
use crate::manifest::{Want, WantKind};
use crate::sync::event::Quotas;

impl Fetch {
    pub(crate) fn set_quotas(&mut self, quotas: Quotas) {
        self.quota.set(quotas);
        self.release_held_back();
    }

    pub(crate) fn set_charges(&mut self, charges: BTreeMap<DeviceId, u64>) {
        self.quota.recount(charges);
        self.release_held_back();
    }

    pub(crate) fn charges(&self) -> &BTreeMap<DeviceId, u64> {
        self.quota.charges()
    }

    /// Devices that went over their quota since the last call.
    pub(crate) fn newly_over(&mut self) -> Vec<DeviceId> {
        self.quota.newly_over()
    }

    pub(crate) fn set_documents_only(&mut self, devices: BTreeSet<DeviceId>) {
        self.quota.documents_only = devices;
        self.release_held_back();
    }

    fn release_held_back(&mut self) {
        for root in core::mem::take(&mut self.held_back) {
            self.file(&root);
        }
    }

    /// Whether a root is not worth fetching by itself. What somebody asked for is.
    pub(super) fn is_over_quota(&self, root: &Want) -> bool {
        let of = root.kind;
        self.roots.get(root).is_some_and(|root| {
            !root.rank.needed
                && root
                    .author
                    .is_some_and(|author| self.quota.refuses(&author, of))
        })
    }
}

/// The account of every device that brought something.
#[derive(Debug, Clone, Default)]
pub(super) struct Quota {
    quotas: Quotas,
    /// Of whose sessions only documents come by themselves.
    documents_only: BTreeSet<DeviceId>,
    charges: BTreeMap<DeviceId, u64>,
    /// Devices that are over and of which it was told.
    told: BTreeSet<DeviceId>,
    /// Something changed since the last look at who is over.
    changed: bool,
}

impl Quota {
    /// Whether something of a device is not worth fetching by itself.
    fn refuses(&self, device: &DeviceId, kind: WantKind) -> bool {
        let unwanted = kind == WantKind::Manifest && self.documents_only.contains(device);
        unwanted || self.is_over(device)
    }

    /// Whether nothing more is fetched because of a device.
    pub(super) fn is_over(&self, device: &DeviceId) -> bool {
        let used = self.charges.get(device).copied().unwrap_or_default();
        used >= self.quotas.get(device)
    }

    pub(super) fn charge(&mut self, device: DeviceId, bytes: u64) {
        self.changed = true;
        let used = self.charges.entry(device).or_default();
        *used = used.saturating_add(bytes);
    }

    pub(super) fn set(&mut self, quotas: Quotas) {
        self.changed = true;
        self.quotas = quotas;
    }

    pub(super) fn recount(&mut self, charges: BTreeMap<DeviceId, u64>) {
        self.changed = true;
        self.charges = charges;
    }

    pub(super) fn charges(&self) -> &BTreeMap<DeviceId, u64> {
        &self.charges
    }

    /// Devices that went over since the last call. Who came under again is told
    /// of anew the next time.
    pub(super) fn newly_over(&mut self) -> Vec<DeviceId> {
        if !core::mem::take(&mut self.changed) {
            return Vec::new();
        }
        let over: BTreeSet<DeviceId> = self
            .charges
            .keys()
            .filter(|device| self.is_over(device))
            .copied()
            .collect();
        let new = over.difference(&self.told).copied().collect();
        self.told = over;
        new
    }
}
