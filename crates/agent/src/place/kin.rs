//! What lies here of a session, and how it stands to the version that is to be
//! placed: by its bytes, and where Claude Code has written them anew, by which
//! version grew from which.
//!
//! Must not know what is done with the answer.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ccpeer_core::entry::ContentRef;
use ccpeer_core::id::{EntryHash, SessionId};
use ccpeer_core::limits;
use ccpeer_core::manifest::{Manifest, Origin, Slot};
use ccpeer_formats::claude::slug::System;
use ccpeer_store::StoreError;

use super::standing::{self, LocalLog, Standing};
use super::{PlaceError, Placing, Relative, main_of, manifest_of, place_of};
use crate::confined::{ConfinedError, Stamp};
use crate::local::LocalState;
use crate::{capture, scan};

/// A session that lies here already.
pub(super) struct Here {
    /// In whose paths it is written.
    pub(super) to: Origin,
    pub(super) main: File,
    pub(super) stamp: Stamp,
    pub(super) path: PathBuf,
    pub(super) state: Option<LocalState>,
    /// The manifest that its files stand for.
    pub(super) known: Option<Arc<Manifest>>,
}

impl Here {
    pub(super) fn log<'h>(&'h self, slot: &Slot, file: &'h File, stamp: Stamp) -> LocalLog<'h> {
        let entry = self
            .known
            .as_ref()
            .and_then(|m| Some((m.file(slot)?, m.origins.as_slice())));
        let local = self.state.as_ref().and_then(|s| s.file(slot));
        let known = entry
            .zip(local)
            .map(|((entry, origins), local)| (entry, origins, local));
        LocalLog { file, stamp, known }
    }

    /// The version that the transcript still is as it was remembered, if it is.
    pub(super) fn stands_for(&self) -> Result<Option<EntryHash>, PlaceError> {
        let Some(state) = &self.state else {
            return Ok(None);
        };
        let Some(known) = state.file(&Slot::Main) else {
            return Ok(None);
        };
        let log = LocalLog {
            file: &self.main,
            stamp: self.stamp,
            known: None,
        };
        let as_it_was = standing::is_as_remembered(&log, known).map_err(|e| self.io(e))?;
        Ok(state.base.filter(|_| as_it_was))
    }

    pub(super) fn io(&self, e: std::io::Error) -> PlaceError {
        ConfinedError::io(&self.path, e).into()
    }
}

/// How a version is related to another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kin {
    Ancestor,
    Descendant,
}

impl Placing<'_> {
    /// What lies here of a session.
    pub(super) fn look(&self, session: SessionId) -> Result<Option<Here>, PlaceError> {
        let Some(found) = scan::find_session(self.home, &session).into_iter().next() else {
            return Ok(None);
        };
        let names = place_of(&Slot::Main, &session, &found.slug)?;
        let Some((main, stamp)) = self.root.file(&names)? else {
            return Ok(None);
        };
        let state = LocalState::load(self.store, &session)?;
        let known = match &state {
            Some(state) => state.manifest(self.store)?,
            None => None,
        };
        let to = match &state {
            Some(state) if state.here.slug == found.slug => state.here.clone(),
            _ => self.target(&self.request.project_dir, Some(&found.slug))?,
        };
        Ok(Some(Here {
            to,
            main,
            stamp,
            path: self.root.join(&names),
            state,
            known,
        }))
    }

    /// How the local transcript stands to the incoming one.
    pub(super) fn stand(&self, here: &Here) -> Result<Standing, PlaceError> {
        let standing = self.stand_in(here, &here.to, self.manifest)?;
        if standing != Standing::Diverged {
            return Ok(standing);
        }
        // Moved to another project since it was placed, it still speaks of the
        // place where it began.
        let began = standing::first_directory(&here.main).map_err(|e| here.io(e))?;
        match began {
            Some(dir) if dir != here.to.project && Path::new(&dir).is_absolute() => {
                let there = capture::here(self.home, &System::HERE.project_slug(&dir), &dir);
                self.stand_in(here, &there, self.manifest)
            }
            _ => Ok(standing),
        }
    }

    /// The same for any version, in the paths of a place.
    pub(super) fn stand_in(
        &self,
        here: &Here,
        to: &Origin,
        manifest: &Manifest,
    ) -> Result<Standing, PlaceError> {
        let entry = main_of(manifest)?;
        let log = here.log(&Slot::Main, &here.main, here.stamp);
        let incoming = self.incoming_of(manifest, to)?;
        standing::compare(&log, &incoming, entry, &|e| here.io(e))
    }

    /// Whether what lies here is a version that the incoming one grew from, or
    /// that grew from it, although neither is the beginning of the other: Claude
    /// Code compacts and rewrites now and then.
    pub(super) fn kin(&self, here: &Here) -> Result<Option<Kin>, PlaceError> {
        let (older, newer) = (&self.request.grew_from, &self.request.grown_into);
        if let Some(base) = here.stands_for()? {
            let is = |relatives: &[Relative]| relatives.iter().any(|(id, _)| *id == base);
            if is(older) {
                return Ok(Some(Kin::Ancestor));
            }
            if is(newer) {
                return Ok(Some(Kin::Descendant));
            }
        }
        // What was remembered is lost, or is of another version: content tells.
        for (kin, relatives) in [(Kin::Ancestor, older), (Kin::Descendant, newer)] {
            for (_, manifest) in relatives.iter().take(limits::RELATIVES_COMPARED_MAX) {
                if let Some(manifest) = manifest
                    && self.lies_here(here, *manifest)?
                {
                    return Ok(Some(kin));
                }
            }
        }
        Ok(None)
    }

    /// Whether this is what lies here, but for an end that says nothing.
    pub(super) fn lies_here(&self, here: &Here, manifest: ContentRef) -> Result<bool, PlaceError> {
        let compared = manifest_of(self.store, manifest)
            .and_then(|manifest| self.stand_in(here, &here.to, &manifest));
        match compared {
            Ok(Standing::Same(_)) => Ok(true),
            Ok(Standing::Ahead(cut)) => Ok(cut.bookkeeping),
            Ok(_) => Ok(false),
            // An old version may not be here any more, or never was.
            Err(PlaceError::Incomplete(_) | PlaceError::Malformed(_)) => Ok(false),
            Err(PlaceError::Store(StoreError::Absent { .. })) => Ok(false),
            Err(e) => Err(e),
        }
    }
}
