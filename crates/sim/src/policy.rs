//! What users keep to their device: they change their minds at any time, and S8
//! watches that nothing leaves which is not for others. It reads entries and the
//! users' choices, and never asks the machine.

use ccpeer_core::entry::{Payload, SignedEntry, VerifiedEntry};
use ccpeer_core::id::{ChunkId, EntryHash, SessionId};
use ccpeer_core::manifest::{Want, WantKind};
use ccpeer_core::sharing::{Share, Sharing};
use ccpeer_core::sync::event::Event;

use crate::driver::Job;
use crate::world::World;

impl World {
    /// A user decides how much of a session others may have, or of all that is not
    /// named. Now and then the choice cannot be read for a while.
    pub(crate) fn choose_sharing(&mut self, device: usize, session: SessionId) {
        let share = match self.rng.below(5) {
            0 | 1 => Share::Local,
            2 => Share::Document,
            _ => Share::Whole,
        };
        let mut sharing = self.devices[device].sharing.clone();
        match self.rng.below(12) {
            0 => sharing.closed = !sharing.closed,
            1 => sharing.default = share,
            _ => {
                self.count(match share {
                    Share::Whole => "shared again",
                    Share::Document => "document only",
                    Share::Local => "kept here",
                });
                let event = Event::Share(session, share);
                self.devices[device].inbox.push_back(Job::Event(event));
                return self.give(device, Job::Restate);
            }
        }
        self.count("sharing changed");
        self.tell_sharing(device, sharing);
    }

    fn tell_sharing(&mut self, device: usize, sharing: Sharing) {
        let event = Event::Sharing(sharing);
        self.devices[device].inbox.push_back(Job::Event(event));
        self.give(device, Job::Restate);
    }

    /// What a device is told holds from the moment at which it hears of it.
    pub(crate) fn note_sharing(&mut self, device: usize, event: &Event) {
        let held = &mut self.devices[device].sharing;
        if let Event::Sharing(sharing) = event {
            held.clone_from(sharing);
        } else if let Event::Share(session, share) = event {
            held.sessions.insert(*session, *share);
        }
    }

    /// Before the world has to agree, everybody's choice can be read again, be it one
    /// that a device has not heard of yet.
    pub(crate) fn reopen(&mut self) {
        for device in self.honest() {
            let d = &self.devices[device];
            let mut coming = d.inbox.iter().filter_map(|job| match job {
                Job::Event(Event::Sharing(sharing)) => Some(sharing),
                _ => None,
            });
            let last = coming.next_back().unwrap_or(&d.sharing);
            if last.closed || d.sharing.closed {
                let sharing = Sharing {
                    closed: false,
                    ..last.clone()
                };
                self.devices[device].sharing = sharing.clone();
                if self.devices[device].machine.is_some() {
                    self.tell_sharing(device, sharing);
                }
            }
        }
    }

    /// Remembers what nobody else may ever hear of.
    pub(crate) fn note_kept(&mut self, device: usize, payload: &Payload, hash: EntryHash) {
        let Some(session) = payload.session() else {
            return;
        };
        let whole = matches!(payload, Payload::Version(v) if v.manifest.is_some());
        let kept = match self.devices[device].sharing.of(&session) {
            Share::Whole => false,
            Share::Document => whole,
            Share::Local => true,
        };
        if kept {
            self.kept.insert(hash);
        }
    }

    /// S8 for entries on their way to a peer.
    pub(crate) fn check_shown(&mut self, device: usize, entries: &[SignedEntry]) {
        for entry in entries {
            let hash = entry.hash();
            if self.kept.contains(&hash) {
                let what = format!("device {device} sends {hash:?}, which is kept");
                return self.fail("S8", what);
            }
            let d = &self.devices[device];
            let genuine = self.genuine.get(&hash);
            let own = genuine.filter(|e| e.log().device == d.id);
            let about = own.and_then(|e| e.payload()?.session());
            let local = about.is_some_and(|s| d.sharing.of(&s) == Share::Local);
            if local && entry.payload.is_some() {
                let what = format!("device {device} sends what {hash:?} says of a local session");
                return self.fail("S8", what);
            }
            if local {
                // Its author has chosen that others hold it so.
                self.withheld.insert(hash);
            }
            if own.is_some() && self.devices[device].sharing.closed {
                let what = format!("device {device} sends its own log while it must not");
                return self.fail("S8", what);
            }
        }
    }

    /// S8 for roots that are told to be whole, and chunks that are served.
    pub(crate) fn check_named(&mut self, device: usize, roots: &[Want]) {
        if self.options.policies == 0 {
            return;
        }
        if let Some(root) = roots.iter().find(|root| self.is_secret(device, root)) {
            let what = format!("device {device} names {root:?}, which is not for others");
            self.fail("S8", what);
        }
    }

    /// S8 for a chunk that is served: a root is one as whatever it is asked for.
    pub(crate) fn check_served(&mut self, device: usize, id: ChunkId) {
        if self.options.policies == 0 {
            return;
        }
        let kinds: Vec<Want> = Want::data(id).all_kinds().collect();
        let named = |w: &Want| self.namings(device, w).next().is_some();
        let named: Vec<&Want> = kinds.iter().filter(|w| named(w)).collect();
        if !named.is_empty() && named.iter().all(|w| self.is_secret(device, w)) {
            let what = format!("device {device} serves {id:?}, which is not for others");
            self.fail("S8", what);
        }
    }

    /// Whether a root is named here, and by nothing that others may have.
    pub(crate) fn is_secret(&self, device: usize, root: &Want) -> bool {
        let d = &self.devices[device];
        let mut named = false;
        for (session, entry) in self.namings(device, root) {
            named = true;
            let own = entry.log().device == d.id;
            let shown = match d.sharing.of(&session) {
                _ if self.kept.contains(&entry.hash()) => false,
                _ if !own => true,
                Share::Whole => true,
                Share::Document => root.kind == WantKind::Data,
                Share::Local => false,
            };
            if shown {
                return false;
            }
        }
        named
    }

    fn namings<'a>(
        &'a self,
        device: usize,
        root: &'a Want,
    ) -> impl Iterator<Item = (SessionId, &'a VerifiedEntry)> + 'a {
        let entries = self.devices[device].disk.live.entries();
        entries.filter_map(|entry| {
            let names = match entry.payload()? {
                Payload::Version(version) => version.roots().any(|r| r == *root),
                Payload::Enriched(e) => Want::data(e.snapshot.id) == *root,
                Payload::Capsule(c) => Want::manifest(c.manifest.id) == *root,
                Payload::Device(_)
                | Payload::Trust(_)
                | Payload::Presence(_)
                | Payload::Mark(_)
                | Payload::Claim(_)
                | Payload::Roll(_) => false,
            };
            names.then_some((entry.payload()?.session()?, &**entry))
        })
    }

    /// Whether a bare entry is one that its author has chosen to show so.
    pub(crate) fn is_withheld_by_author(&self, entry: &VerifiedEntry) -> bool {
        entry.signed().payload.is_none()
            && self.withheld.contains(&entry.hash())
            && entry
                .signed()
                .clone()
                .verify()
                .is_ok_and(|e| !e.is_stripped())
    }
}
