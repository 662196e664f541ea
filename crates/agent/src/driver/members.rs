//! Who is in, who is offered, who is kept out and by whom: what the user sees of
//! it, and what `accept` says about it. What follows from which word is the
//! core's.

use std::collections::{BTreeMap, BTreeSet};

use ccpeer_core::entry::{DeviceInfo, TrustChange};
use ccpeer_core::id::DeviceId;
use ccpeer_core::limits;
use ccpeer_core::sync::event::Event;
use ccpeer_core::text;
use ccpeer_net::PeerStatus;
use ccpeer_store::Store;

use super::Driver;
use crate::api::{self, ApiError, DeviceName, ErrorCode};
use crate::findings::{self, Kind};
use crate::policy::{Introduce, Policy};
use crate::pool::blocking;
use crate::view;

/// What there is to say so that a device is in.
pub(crate) struct Acceptance {
    pub(crate) device: DeviceName,
    /// Nothing, if it is in already.
    pub(crate) changes: Vec<TrustChange>,
}

impl Driver {
    /// Whose offers are taken, as the user has chosen; before anything is said.
    pub(super) async fn recall_introducers(&mut self) {
        let store: std::sync::Arc<Store> = std::sync::Arc::clone(&self.shared.store);
        match blocking(move || Policy::load(&store)).await {
            Ok(policy) => {
                let event = self.heed_introducers(&policy);
                let _logged = self.apply(event).await;
                let event = self.heed_fetches(&policy);
                let _logged = self.apply(event).await;
            }
            Err(e) => self.failed("cannot read whose offers are taken", &e),
        }
    }

    /// Takes the user's choice over; the machine is to be told the event.
    pub(super) fn heed_introducers(&mut self, policy: &Policy) -> Event {
        self.introduce = policy.introductions();
        let auto = self.introduce.iter();
        let auto = auto.filter(|(_, how)| **how == Introduce::Auto);
        Event::Introducers(auto.map(|(device, _)| *device).collect())
    }

    /// The same, of what is fetched by itself.
    pub(super) fn heed_fetches(&mut self, policy: &Policy) -> Event {
        self.documents_only = policy.documents_only(|d| self.machine.current(d));
        Event::DocumentsOnly(self.documents_only.clone())
    }

    /// What the user wants to become of a device's offers.
    pub(super) fn introduces(&self, device: &DeviceId) -> Introduce {
        let device = self.machine.current(device);
        let chosen = self.introduce.iter();
        let mut chosen = chosen.filter(|(key, _)| self.machine.current(key) == device);
        chosen.next().map_or(Introduce::Ask, |(_, how)| *how)
    }

    /// Tells the network, the spare copy and the user who is in by now.
    pub(super) fn trust_changed(&mut self) {
        // Whoever is out hears why, also at the closing of its link.
        let out = self.machine.members().out().map(|(device, _)| *device);
        let revoked = self.machine.revoked().copied().chain(out).collect();
        self.shared.net.set_revoked(revoked);
        let trusted = self.machine.trusted().copied().collect();
        self.shared.net.set_trusted(trusted);
        self.keep_spare();
        self.tell_introductions();
    }

    /// Each device that another one adds is told once.
    fn tell_introductions(&mut self) {
        let news: Vec<(DeviceId, DeviceId, DeviceInfo)> = self
            .machine
            .introductions()
            .filter(|i| i.later && !self.machine.trusts(&i.device))
            .filter(|i| !self.machine.trust().has_revoked(&self.shared.me, &i.device))
            .filter(|i| !self.findings.was_introduced(&i.device))
            .map(|i| (i.by, i.device, i.info.clone()))
            .collect();
        for (by, device, info) in news {
            if self.introduces(&by) == Introduce::Never {
                continue;
            }
            let what = findings::Introduced {
                by: by.to_string(),
                name: described(&device, &info),
            };
            let at = self.wall();
            for note in self.findings.introduce(device, what, at) {
                self.save(note);
            }
        }
    }

    /// What is to be told of members now, besides what is kept until it is dealt
    /// with.
    pub(super) fn told_of_members(&self) -> Vec<api::Finding> {
        let now = view::time(self.wall());
        let finding = |kind: &str, device: &DeviceId, message: String, hint: &str| api::Finding {
            kind: kind.to_owned(),
            device: Some(self.name_of(device)),
            message,
            hint: hint.to_owned(),
            since: now.clone(),
        };
        let mut out = Vec::new();
        for device in self.kept_out() {
            let name = self.name_of(&device).name;
            let by = self.machine.members().against(&device);
            let by: Vec<String> = by
                .into_iter()
                .flatten()
                .map(|by| self.name_of(by).name)
                .collect();
            out.push(finding(
                "quarantined",
                &device,
                format!(
                    "{} revoked {name}; nothing is exchanged with it here",
                    by.join(" and ")
                ),
                "if that is right, run `ccpeer revoke` for it here as well; \
                 if not, `ccpeer accept` takes it in again",
            ));
        }
        for peer in self.shared.net.peers().iter().filter(|p| p.revoked) {
            let name = self.name_of(&peer.device).name;
            out.push(finding(
                "revoked_there",
                &peer.device,
                format!("{name} has revoked this device"),
                "run `ccpeer rekey --separate` and pair anew, if that was a mistake",
            ));
        }
        out
    }

    /// Devices that we trust and that other members keep out.
    fn kept_out(&self) -> BTreeSet<DeviceId> {
        let trusted = self.machine.trust().trusted(&self.shared.me);
        trusted
            .filter(|d| self.machine.members().against(d).is_some())
            .copied()
            .collect()
    }

    /// Offers that the user wants to see.
    fn shown_offers(&self) -> BTreeMap<DeviceId, (DeviceInfo, Vec<DeviceName>)> {
        let offers = self.machine.offers().into_values();
        offers
            .filter_map(|offer| {
                let by = offer.by.iter();
                let by = by.filter(|by| self.introduces(by) != Introduce::Never);
                let by: Vec<DeviceName> = by.map(|by| self.name_of(by)).collect();
                (!by.is_empty()).then_some((offer.device, (offer.info, by)))
            })
            .collect()
    }

    /// The name under which a member offers a device.
    pub(super) fn introduced_as(&self, device: &DeviceId) -> Option<&DeviceInfo> {
        let known = self.machine.introductions();
        let mut named = known.filter(|i| i.device == *device && !i.info.name.is_empty());
        named.next().map(|i| i.info)
    }

    pub(super) fn devices(&self) -> Vec<api::Device> {
        let peers = self.shared.net.peers();
        let row = |device: DeviceId, trust: &str| {
            let name = self.name_of(&device);
            let said = self.machine.device_info(&device).map(|i| i.os.clone());
            let met = || self.peers.get(&device).map(|p| p.os.clone());
            let offered = || self.introduced_as(&device).map(|i| i.os.clone());
            let os = said.or_else(met).or_else(offered);
            let state = if device == self.shared.me {
                "this"
            } else if self.links.contains(&device) {
                "connected"
            } else {
                "offline"
            };
            let against = self.machine.members().against(&device);
            api::Device {
                id: name.id,
                name: name.name,
                os: text::one_line(&os.unwrap_or_default(), limits::DEVICE_NAME_CHARS_MAX),
                state: state.to_owned(),
                trust: trust.to_owned(),
                theirs: self.theirs(&device, &peers).to_owned(),
                offered_by: Vec::new(),
                revoked_by: against
                    .into_iter()
                    .flatten()
                    .map(|by| self.name_of(by))
                    .collect(),
                last_seen: self.peers.last_seen(&device).map(view::time),
            }
        };
        let in_here = self.machine.trusted().map(|d| row(*d, "paired"));
        let kept_out = self.kept_out();
        let kept_out = kept_out.into_iter().map(|d| row(d, "quarantined"));
        let offers = self.shown_offers();
        let offers = offers.into_iter().map(|(d, (_, by))| api::Device {
            offered_by: by,
            ..row(d, "offered")
        });
        in_here
            .chain(kept_out)
            .chain(offers)
            .chain(self.machine.revoked().map(|d| row(*d, "revoked")))
            .collect()
    }

    /// What a device says of us, as far as that is known.
    pub(super) fn theirs(&self, device: &DeviceId, peers: &[PeerStatus]) -> &'static str {
        let peer = peers.iter().find(|p| p.device == *device);
        match peer {
            Some(p) if p.revoked => "revoked",
            Some(p) if p.connected => "accepted",
            Some(p) if p.refused => "waiting",
            _ if self.machine.trusted_by(device) => "accepted",
            Some(_) => "waiting",
            None => "unknown",
        }
    }

    /// All that can be named in a command: whoever is in, out, or offered.
    pub(super) fn nameable(&self) -> BTreeSet<DeviceId> {
        let own = self.machine.trust().trusted(&self.shared.me);
        let revoked = self.machine.revoked();
        let mut out: BTreeSet<DeviceId> = own.chain(revoked).copied().collect();
        out.extend(self.shown_offers().into_keys());
        out.extend(self.machine.members().out().map(|(device, _)| *device));
        out
    }

    /// What `accept` has to say about a device.
    pub(super) fn acceptance(&self, wanted: &str) -> Result<Acceptance, ApiError> {
        let device = self.find_device(wanted)?;
        let id: DeviceId = device
            .id
            .parse()
            .map_err(|_| ApiError::new(ErrorCode::Bug, "a device id does not parse"))?;
        let members = self.machine.members();
        if self.machine.trust().has_revoked(&self.shared.me, &id) || members.is_final(&id) {
            return Err(ApiError::new(
                ErrorCode::Refused,
                format!(
                    "{} was revoked, and its key stays out for good",
                    device.name
                ),
            )
            .hint("run `ccpeer rekey --separate` on that machine and pair it anew"));
        }
        let against = members.against(&id).into_iter().flatten();
        let mut changes: Vec<TrustChange> = against
            .map(|by| TrustChange::Overrule {
                device: id,
                by: *by,
            })
            .collect();
        if !self.machine.trust().trusts(&self.shared.me, &id) {
            let info = self.introduced_as(&id).cloned().unwrap_or_default();
            changes.push(TrustChange::Add { device: id, info });
        }
        Ok(Acceptance { device, changes })
    }

    /// The user has seen whom others have added.
    pub(super) fn forget_introductions(&mut self) {
        if let Some(note) = self.findings.forget(Kind::Introduced) {
            self.save(note);
        }
    }
}

/// A name and a system as somebody else tells them, fit to be shown.
fn described(device: &DeviceId, info: &DeviceInfo) -> String {
    let name = text::one_line(&info.name, limits::DEVICE_NAME_CHARS_MAX);
    let os = text::one_line(&info.os, limits::DEVICE_NAME_CHARS_MAX);
    let name = if name.is_empty() {
        device.short()
    } else {
        name
    };
    if os.is_empty() {
        name
    } else {
        format!("{name} ({os})")
    }
}
