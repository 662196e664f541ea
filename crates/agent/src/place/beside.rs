//! Versions that land beside what lies here: as a session of their own, with a
//! title that says where they come from.
//!
//! Must not know why they cannot be placed as themselves.

use ccpeer_core::id::SessionId;
use ccpeer_core::limits;
use ccpeer_core::manifest::Slot;

use super::journal;
use super::kin::Here;
use super::plan::Plan;
use super::standing::{self, Cut, Standing};
use super::{PlaceError, Placing, main_of};
use crate::api::{Placed, PlacedHow};
use crate::local::LocalState;
use crate::{live, scan};

impl Placing<'_> {
    /// As a new session, unless this version has been placed so before, or one
    /// that it grew from, and that session has not gone on by itself.
    pub(super) fn fork_once(
        &self,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Placed, PlaceError> {
        let asked = self.request.session;
        let this = std::iter::once(&self.request.version);
        let mut looked_at = Vec::new();
        for version in this.chain(self.request.grew_from.iter().map(|(id, _)| id)) {
            let Some(fork) = journal::forked_as(self.store, (asked, *version))? else {
                continue;
            };
            if looked_at.contains(&fork) || looked_at.len() >= limits::RELATIVES_COMPARED_MAX {
                continue;
            }
            looked_at.push(fork);
            let Some(mut here) = self.look(fork)? else {
                continue;
            };
            if *version == self.request.version {
                return Ok(self.up_to_date(&here.to, Some(fork)));
            }
            // Its own versions are of another session: only the lines tell.
            here.known = None;
            let incoming = self.incoming(&here.to)?.forked(&fork);
            let log = here.log(&Slot::Main, &here.main, here.stamp);
            let entry = main_of(self.manifest)?;
            match standing::compare(&log, &incoming, entry, &|e| here.io(e))? {
                Standing::Behind(cut) => return self.grow(fork, &here, &cut, progress),
                Standing::Same(_) => return Ok(self.up_to_date(&here.to, Some(fork))),
                Standing::Ahead(cut) if cut.bookkeeping => {
                    return Ok(self.up_to_date(&here.to, Some(fork)));
                }
                Standing::Ahead(_) | Standing::Diverged => {}
            }
        }
        self.fork(progress)
    }

    /// What was placed as a new session earlier goes on as it did elsewhere.
    pub(super) fn grow(
        &self,
        fork: SessionId,
        here: &Here,
        cut: &Cut,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Placed, PlaceError> {
        if live::live_sessions(self.home).contains_key(&fork) {
            return Err(PlaceError::Live(fork));
        }
        let derived_from = Some((self.request.session, self.request.version));
        let mut state = match &here.state {
            Some(state) => LocalState {
                derived_from,
                ..state.clone()
            },
            None => LocalState {
                derived_from,
                ..LocalState::new(here.to.clone())
            },
        };
        let remembered = state.files.clone();
        let incoming = self.incoming(&here.to)?.forked(&fork);
        let mut plan = Plan::new(self, &here.to, fork, progress)?;
        let staged = (|| {
            plan.side_files(self, &incoming, Some(here), &mut state)?;
            let entry = main_of(self.manifest)?;
            let number = plan.number();
            let kept = Some((&here.main, cut));
            let staged = plan.fork_log(&incoming, entry, number, kept, (self.request, fork))?;
            let old = plan.print(&here.main, &here.path)?;
            plan.note_pending(&staged)?;
            plan.add(Slot::Main, &staged, Some((old, here.stamp)));
            Ok(())
        })();
        // It is captured as what it is: a session of this device that grew.
        state.files = remembered;
        plan.conclude(self, staged, state)?.answer(
            self,
            PlacedHow::FastForward,
            &here.to,
            Some(fork),
        )
    }

    /// As a new session.
    pub(super) fn fork(&self, progress: &mut dyn FnMut(u64, u64)) -> Result<Placed, PlaceError> {
        let new = self.request.new_id;
        if !scan::find_session(self.home, &new).is_empty() {
            return Err(PlaceError::Changed);
        }
        let to = self.target(&self.request.project_dir, None)?;
        let mut state = LocalState {
            derived_from: Some((self.request.session, self.request.version)),
            ..LocalState::new(to.clone())
        };
        let incoming = self.incoming(&to)?.forked(&new);
        let mut plan = Plan::new(self, &to, new, progress)?;
        let staged = (|| {
            plan.side_files(self, &incoming, None, &mut state)?;
            let entry = main_of(self.manifest)?;
            let number = plan.number();
            let staged = plan.fork_log(&incoming, entry, number, None, (self.request, new))?;
            plan.note_pending(&staged)?;
            plan.add(Slot::Main, &staged, None);
            // It is captured as a whole: under its new name every line is new.
            state.files.clear();
            Ok(())
        })();
        plan.conclude(self, staged, state)?
            .answer(self, PlacedHow::Fork, &to, Some(new))
    }
}
