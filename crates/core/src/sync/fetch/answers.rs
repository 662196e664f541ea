//! What becomes of the answers: the store's, about what is missing, and those of
//! peers who were asked. It asks nobody itself.

use alloc::vec::Vec;

use super::Fetch;
use super::chunk::{ChunkStage, Pace};
use super::root::Stage;
use crate::id::DeviceId;
use crate::limits;
use crate::manifest::{Want, WantKind};
use crate::sync::event::FetchFault;
use crate::time::Instant;

impl Fetch {
    /// The store's answer. Gives the roots that are whole now.
    pub(crate) fn checked(&mut self, want: &Want, missing: &[Want]) -> Vec<Want> {
        let mut whole = self.unfolded(want, missing);
        if self.root_checked(want, missing) {
            whole.push(*want);
        }
        whole
    }

    /// What the store says about a root. True if it is whole.
    fn root_checked(&mut self, want: &Want, missing: &[Want]) -> bool {
        let Some(root) = self.roots.get_mut(want) else {
            return false;
        };
        if root.stage != Stage::Checking {
            return false;
        }
        root.stage = Stage::Open;
        self.checking = self.checking.saturating_sub(1);
        if missing.is_empty() {
            if !core::mem::take(&mut root.look_again) {
                return true;
            }
            root.stage = Stage::Unchecked;
            self.file(want);
            return false;
        }
        // It was believed whole, and a chunk was lost since.
        self.complete.remove(want);
        self.add_chunks(*want, missing);
        if let Some(root) = self.roots.get_mut(want)
            && root.missing.is_empty()
        {
            // There was no room for any of it.
            root.stage = Stage::Unchecked;
            root.look_again = false;
        }
        self.file(want);
        false
    }

    /// What the store says about a chunk that came as something else.
    fn unfolded(&mut self, want: &Want, missing: &[Want]) -> Vec<Want> {
        let chunk = self.chunks.get(want);
        if chunk.is_none_or(|chunk| chunk.stage != ChunkStage::Unfolding) {
            return Vec::new();
        }
        if missing.contains(want) {
            // Gone again, or not of this kind.
            self.set_stage(want, ChunkStage::Idle);
            return Vec::new();
        }
        self.arrived(want, missing, 0)
    }

    /// A chunk is here. Gives the roots that are whole now.
    pub(crate) fn fetched(&mut self, want: &Want, children: &[Want], bytes: u64) -> Vec<Want> {
        let mut whole = self.arrived(want, children, bytes);
        for twin in want.all_kinds().filter(|twin| twin != want) {
            if !self.chunks.contains_key(&twin) {
                continue;
            }
            #[cfg(feature = "mutants")]
            if self.planted == Some(crate::mutant::Mutant::KindsMixedUp) {
                whole.extend(self.arrived(&twin, &[], 0));
                continue;
            }
            // Here is here: as content it is whole; as anything else it need not
            // be sent again, only looked into.
            if twin.kind == WantKind::Data {
                whole.extend(self.arrived(&twin, &[], 0));
            } else {
                self.set_stage(&twin, ChunkStage::Unfolding);
            }
        }
        whole
    }

    fn arrived(&mut self, want: &Want, children: &[Want], bytes: u64) -> Vec<Want> {
        for asked in self.in_flight.values_mut() {
            asked.remove(want);
        }
        let Some(chunk) = self.remove_chunk(want) else {
            return Vec::new();
        };
        let payer = chunk.roots.first().and_then(|root| self.roots.get(root));
        if let Some(author) = payer.and_then(|root| root.author) {
            self.quota.charge(author, bytes);
        }
        let mut whole = Vec::new();
        for root_want in chunk.roots {
            self.add_chunks(root_want, children);
            let Some(root) = self.roots.get_mut(&root_want) else {
                continue;
            };
            if let Some(place) = root.missing.remove(want) {
                root.idle.remove(&(place, *want));
            }
            if root.missing.is_empty() {
                if core::mem::take(&mut root.look_again) {
                    root.stage = Stage::Unchecked;
                } else {
                    whole.push(root_want);
                }
            }
            self.file(&root_want);
        }
        whole
    }

    /// A chunk did not come. True if that is the peer's fault.
    pub(crate) fn failed(
        &mut self,
        from: DeviceId,
        want: &Want,
        why: FetchFault,
        now: Instant,
    ) -> bool {
        let asked = self
            .in_flight
            .get_mut(&from)
            .is_some_and(|a| a.remove(want));
        if !asked {
            return false;
        }
        let is_to_blame = why == FetchFault::Wrong;
        let Some(chunk) = self.chunks.get_mut(want) else {
            return is_to_blame;
        };
        match why {
            FetchFault::NotHeld => {
                chunk.tried.insert(from);
            }
            FetchFault::Wrong => {
                chunk.refused.insert(from);
            }
            FetchFault::Malformed | FetchFault::Link | FetchFault::Store => {}
        }
        // It came from somebody else, as something else, meanwhile.
        if chunk.stage == ChunkStage::Unfolding {
            return is_to_blame;
        }
        match why {
            FetchFault::NotHeld | FetchFault::Wrong => self.set_stage(want, ChunkStage::Idle),
            FetchFault::Malformed => self.set_stage(want, ChunkStage::Malformed),
            FetchFault::Link => self.wait(want, now, Pace::Growing),
            FetchFault::Store => {
                self.set_stage(want, ChunkStage::Idle);
                self.paused_until = Some(now.after_ms(limits::FETCH_SLOW_MS.1));
            }
        }
        is_to_blame
    }
}
