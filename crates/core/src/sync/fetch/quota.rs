//! How much content is here because of whom, and who may bring no more. It knows
//! no chunk and no session; it counts what it is told.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::id::DeviceId;
use crate::sync::event::Quotas;

/// The account of every device that brought something.
#[derive(Debug, Clone, Default)]
pub(super) struct Quota {
    quotas: Quotas,
    charges: BTreeMap<DeviceId, u64>,
    /// Devices that are over and of which it was told.
    told: BTreeSet<DeviceId>,
    /// Something changed since the last look at who is over.
    changed: bool,
}

impl Quota {
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
