//! What users say of third devices: they take offers, choose whose offers are
//! taken, and decide about devices that another one revoked. A second, plainer
//! reading of who is out; and the liar who revokes everybody.

use std::collections::BTreeSet;

use ccpeer_core::entry::{Payload, TrustChange};
use ccpeer_core::id::DeviceId;
use ccpeer_core::sync::event::Event;

use crate::check::TrustModel;
use crate::driver::Job;
use crate::world::World;

impl TrustModel {
    /// Who is out for `me` by the word of others: everybody whom somebody accuses
    /// that `me` trusts, but for accusers who are surely out themselves.
    pub(crate) fn kept_out(&self, me: &DeviceId) -> BTreeSet<DeviceId> {
        let accusers = |about: &DeviceId| {
            let said = self.revoked.iter().filter(|(_, whom)| whom == about);
            let said = said.map(|(by, _)| *by);
            said.filter(|by| by != about && by != me && self.trusts(me, by))
                .filter(|by| !self.overruled.contains(&(*me, *about, *by)))
                .collect::<BTreeSet<_>>()
        };
        let accused: BTreeSet<DeviceId> = self.revoked.iter().map(|(_, about)| *about).collect();
        let accused: Vec<_> = accused.iter().filter(|d| *d != me).collect();
        let members = self.added.iter().filter(|(by, _)| by == me);
        let members: BTreeSet<DeviceId> = members
            .map(|(_, d)| *d)
            .filter(|d| self.trusts(me, d))
            .collect();
        // Surely in, and surely out, until nothing more is sure.
        let (mut sure_in, mut sure_out) = (BTreeSet::new(), BTreeSet::new());
        for _ in 0..=2 * members.len() {
            for device in &members {
                let by = accusers(device);
                if by.iter().all(|b| sure_out.contains(b)) {
                    sure_in.insert(*device);
                } else if by.iter().any(|b| sure_in.contains(b)) {
                    sure_out.insert(*device);
                }
            }
        }
        let doubted = |about: &DeviceId| accusers(about).iter().any(|b| !sure_out.contains(b));
        accused
            .into_iter()
            .filter(|d| doubted(d))
            .copied()
            .collect()
    }
}

impl World {
    /// A user looks at the list of devices. True if there was something to decide.
    pub(crate) fn mind_members(&mut self, device: usize) -> bool {
        let Some(machine) = &self.devices[device].machine else {
            return false;
        };
        let out: Vec<(DeviceId, DeviceId)> = machine
            .members()
            .out()
            .flat_map(|(about, by)| by.iter().map(|b| (*about, *b)))
            .filter(|(about, _)| !machine.members().is_final(about))
            .collect();
        let offers: Vec<DeviceId> = machine.offers().into_keys().collect();
        if let Some((about, by)) = self.rng.pick(&out).copied()
            && self.rng.chance(600_000)
        {
            if self.rng.chance(600_000) {
                self.overrule(device, about, by);
            } else {
                self.revoke(device, about);
            }
            return true;
        }
        if self.rng.chance(150_000) {
            self.choose_introducers(device);
            return true;
        }
        if let Some(offer) = self.rng.pick(&offers).copied()
            && self.rng.chance(300_000)
        {
            self.count("offer accepted");
            let add = Payload::Trust(TrustChange::add(offer));
            self.give(device, Job::State(add));
            return true;
        }
        false
    }

    fn overrule(&mut self, device: usize, about: DeviceId, by: DeviceId) {
        self.count("revocation overruled");
        let change = TrustChange::Overrule { device: about, by };
        self.give(device, Job::State(Payload::Trust(change)));
    }

    pub(crate) fn choose_introducers(&mut self, device: usize) {
        let ids: Vec<DeviceId> = self.devices.iter().map(|d| d.id).collect();
        let chosen: BTreeSet<DeviceId> = ids
            .into_iter()
            .filter(|_| self.rng.chance(400_000))
            .collect();
        self.count("introducers");
        self.devices[device].introducers = chosen.clone();
        self.give(device, Job::Event(Event::Introducers(chosen)));
    }

    /// Who was slandered is taken in again, before the world has to agree.
    pub(crate) fn undo_slander(&mut self) {
        let Some(liar) = self.devices.iter().position(|d| d.hostile) else {
            return;
        };
        let liar_id = self.devices[liar].id;
        for device in self.honest() {
            let ids: BTreeSet<DeviceId> = self.devices.iter().map(|d| d.id).collect();
            for about in ids {
                if about != liar_id && about != self.devices[device].id {
                    self.overrule(device, about, liar_id);
                }
            }
        }
    }

    /// What a liar says of others.
    pub(crate) fn slander(&mut self) -> Payload {
        let about = self.rng.index(self.devices.len());
        let about = self.devices[about].id;
        Payload::Trust(match self.rng.below(4) {
            0 => TrustChange::add(DeviceId(self.rng.bytes())),
            1 => TrustChange::add(about),
            _ => TrustChange::Revoke(about),
        })
    }
}
