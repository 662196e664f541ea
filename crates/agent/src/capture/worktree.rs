//! What a version says of the work tree, and when git is asked about it.
//!
//! Somebody waits for the version at the end of a turn: it takes what git said last.
//! What is captured later asks. Must not know what a document looks like.

use std::path::Path;

use ccpeer_core::manifest::ProjectIdentity;
use ccpeer_store::StoreError;

use super::Capture;
use crate::local::KnownProject;
use crate::{git, projects};

impl Capture<'_, '_> {
    /// How the work tree at `dir` stands, for a version that says so.
    pub(super) fn git_says(&mut self, dir: &Path) -> Option<git::State> {
        let asked = self.asked.take().filter(|asked| asked.dir() == dir);
        // Sessions that are met for the first time come by the hundred.
        let is_new = self.known.state.is_none() && !self.request.changed;
        let fresh = || self.recent.git.recall_fresh(dir).filter(|_| is_new);
        let asked = asked.unwrap_or_else(|| match fresh() {
            Some(state) => git::Later::told(dir, Some(state)),
            None => git::Later::ask(dir),
        });
        let is_asked = asked.is_asked();
        let memory = &self.recent.git;
        let state = asked.answer(memory);
        memory.says(&self.request.session, state.as_ref(), is_asked);
        state
    }

    /// Whose project lies at `dir`; without git where that is known, of this session or
    /// of another one there.
    pub(super) fn project_of(
        &self,
        dir: &Path,
        before: Option<KnownProject>,
    ) -> Result<(ProjectIdentity, Option<KnownProject>), StoreError> {
        let before = before.or_else(|| self.recent.project(&dir.to_string_lossy()));
        let around = projects::Around::load(self.store, self.home)?;
        let (identity, project) = projects::identity_again(dir, &around, before.as_ref());
        if let Some(known) = &project {
            self.recent.remember_project(known);
        }
        Ok((identity, project))
    }

    /// Whether the last version says something of the work tree that git was not asked
    /// about, and that is not so. Git is asked, once somebody has the time.
    pub(super) fn git_says_otherwise(&mut self) -> bool {
        let session = &self.request.session;
        let Some(said) = self
            .recent
            .git
            .said(session)
            .filter(|_| !self.request.changed)
        else {
            return false;
        };
        let Some(state) = &self.known.state else {
            return false;
        };
        let dir = Path::new(&state.here.project);
        let now = git::Later::ask(dir).answer(&self.recent.git);
        let otherwise = now.as_ref() != Some(&said);
        if otherwise {
            self.asked = Some(git::Later::told(dir, now));
        } else {
            self.recent.git.says(session, now.as_ref(), true);
        }
        otherwise
    }
}
