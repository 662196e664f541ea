//! `mv`: a project that moved on this machine.
//!
//! What the user said of it, and what is remembered, follows at once; then each of
//! its sessions that nobody has open is captured and moved, one failure stopping
//! nothing. Doing it again does what is left.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ccpeer_core::id::SessionId;
use ccpeer_formats::claude::slug::System;
use ccpeer_formats::remote_path::RemotePath;

use super::{bring, policy};
use crate::api::{ApiError, ErrorCode, MoveResult, ProjectMoved, SessionMoved};
use crate::capture::FLAVOUR;
use crate::driver::{CaptureDone, Handle, wall};
use crate::local::LocalState;
use crate::place::{self, Rehomed, Rehoming};
use crate::pool::blocking;
use crate::projects::{self, Around, Mapping};
use crate::server::Out;
use crate::{problem, scan};

pub(super) async fn relocate(
    handle: &Handle,
    out: &Out,
    old: &str,
    new: &str,
    dry_run: bool,
) -> Result<ProjectMoved, ApiError> {
    let to = projects::use_dir(Path::new(new))
        .map_err(|e| e.hint("move the project first, then say so with `ccpeer mv OLD NEW`"))?;
    let from = resolved(Path::new(old))?;
    if from == to {
        return Err(ApiError::new(
            ErrorCode::Usage,
            format!("{} is where it is already", to.display()),
        )
        .hint("say where it lay first, then where it lies now"));
    }
    if !dry_run {
        capture_unknown(handle).await?;
    }
    let moving = Moving { from, to };
    let sessions = moving.sessions(handle).await?;
    // First of all: what may not leave there must not leave from here either.
    let ruled = moving.take_rules(handle, &sessions, dry_run).await?;
    let mappings = ruled + moving.take_along(handle, dry_run).await?;
    let total = sessions.len() as u64;
    let mut moved = Vec::new();
    for ((session, lay), n) in sessions.into_iter().zip(1u64..) {
        moved.push(moving.session(handle, session, lay, dry_run).await?);
        out.progress("moving", n, total);
    }
    Ok(ProjectMoved {
        from: moving.from.display().to_string(),
        to: moving.to.display().to_string(),
        dry_run,
        mappings,
        sessions: moved,
    })
}

/// Sessions that were never looked at belong to a project as well.
async fn capture_unknown(handle: &Handle) -> Result<(), ApiError> {
    let shared = Arc::clone(&handle.shared);
    let unknown = blocking(move || {
        let mut unknown = Vec::new();
        for found in scan::all_sessions(&shared.home) {
            if LocalState::load(&shared.store, &found.session)?.is_none() {
                unknown.push(found.session);
            }
        }
        Ok(unknown)
    })
    .await
    .map_err(|e| problem::store(&e))?;
    for session in unknown {
        if let CaptureDone::Failed(e) = handle.capture(session).await? {
            tracing::warn!(%session, error = %e.message, "a session could not be looked at");
        }
    }
    Ok(())
}

/// A project on its way.
#[derive(Clone)]
struct Moving {
    from: PathBuf,
    to: PathBuf,
}

impl Moving {
    /// Where a directory of the project lies now. What lies in the new place is
    /// there already, also where that is within the old one.
    fn now(&self, dir: &Path) -> Option<PathBuf> {
        let within_new = below(dir, &self.to).is_some();
        if within_new && below(&self.to, &self.from).is_some() {
            return None;
        }
        projects::join(&self.to, &below(dir, &self.from)?)
    }

    /// What the user said of it follows. Says how many words.
    async fn take_rules(
        &self,
        handle: &Handle,
        sessions: &[(SessionId, PathBuf)],
        dry_run: bool,
    ) -> Result<u64, ApiError> {
        let moving = self.clone();
        let now = Arc::new(move |dir: &Path| moving.now(dir));
        let within = sessions.iter().map(|(_, dir)| dir.clone());
        let mut dirs: Vec<PathBuf> = within.chain([self.from.clone()]).collect();
        dirs.sort_unstable();
        dirs.dedup();
        let followed = policy::follow(handle, now, dirs, dry_run).await?;
        Ok(followed as u64)
    }

    /// Mappings and roots follow. Says how many.
    async fn take_along(&self, handle: &Handle, dry_run: bool) -> Result<u64, ApiError> {
        let shared = Arc::clone(&handle.shared);
        let moving = self.clone();
        let followed = blocking(move || {
            let store = &*shared.store;
            let mut notes = Vec::new();
            for mapping in Mapping::all(store)? {
                if let Some(dir) = moving.now(&mapping.dir) {
                    notes.extend(Mapping { dir, ..mapping }.note());
                }
            }
            let mut followed = notes.len();
            let around = Around::load(store, &shared.home)?;
            let roots: Vec<PathBuf> = around
                .roots
                .iter()
                .map(|root| moving.now(root).unwrap_or_else(|| root.clone()))
                .collect();
            followed += roots
                .iter()
                .zip(&around.roots)
                .filter(|(a, b)| a != b)
                .count();
            if roots != around.roots {
                notes.extend(Around::note(&roots));
            }
            if !dry_run {
                store.put_notes(&notes)?;
            }
            Ok(followed as u64)
        });
        followed.await.map_err(|e| problem::store(&e))
    }

    /// The sessions that belong to the old place, each with its directory.
    async fn sessions(&self, handle: &Handle) -> Result<Vec<(SessionId, PathBuf)>, ApiError> {
        let shared = Arc::clone(&handle.shared);
        let states = blocking(move || {
            let mut states = LocalState::load_all(&shared.store)?;
            // Those whose files are gone have nothing that could be moved.
            states.retain(|(session, _)| !scan::find_session(&shared.home, session).is_empty());
            Ok(states)
        });
        let states = states.await.map_err(|e| problem::store(&e))?;
        Ok(states
            .into_iter()
            .map(|(session, state)| (session, PathBuf::from(state.here.project)))
            .filter(|(_, dir)| self.now(dir).is_some())
            .collect())
    }

    async fn session(
        &self,
        handle: &Handle,
        session: SessionId,
        lay: PathBuf,
        dry_run: bool,
    ) -> Result<SessionMoved, ApiError> {
        let to = self.now(&lay).unwrap_or_else(|| self.to.clone());
        let mut told = SessionMoved {
            session_id: session.to_string(),
            result: MoveResult::Failed,
            from: lay.display().to_string(),
            to: to.display().to_string(),
            path: None,
            backup: None,
            reason: None,
        };
        match self.move_one(handle, session, &to, dry_run).await {
            Ok(Some(Rehomed::Moved { path, backup })) => {
                told.result = MoveResult::Moved;
                told.path = Some(path.display().to_string());
                told.backup = Some(backup.display().to_string());
            }
            Ok(None | Some(Rehomed::There)) => told.result = MoveResult::Moved,
            Err(e) if e.code == ErrorCode::Agent => return Err(e),
            Err(e) => {
                if e.code == ErrorCode::Live {
                    told.result = MoveResult::Live;
                }
                told.reason = Some(e.message);
            }
        }
        Ok(told)
    }

    async fn move_one(
        &self,
        handle: &Handle,
        session: SessionId,
        to: &Path,
        dry_run: bool,
    ) -> Result<Option<Rehomed>, ApiError> {
        let to = projects::use_dir(to)?;
        let here = match dry_run {
            true => CaptureDone::Absent,
            false => handle.capture(session).await?,
        };
        if let CaptureDone::Failed(e) = here {
            return Err(e);
        }
        if bring::is_open_here(handle, session, &here).await? {
            return Err(place::PlaceError::Live(session).into());
        }
        if dry_run {
            return Ok(None);
        }
        let request = Rehoming {
            session,
            project: to.to_string_lossy().into_owned(),
            now: wall(),
            id: bring::new_session_id()?.0,
        };
        let shared = Arc::clone(&handle.shared);
        let turn = handle.shared.placing.lock().await;
        let hold = handle.hold(session).await?;
        let moved = blocking(move || place::rehome(&shared.store, &shared.home, &request)).await;
        drop(hold);
        drop(turn);
        Ok(Some(moved?))
    }
}

/// What lies between two directories, as this system compares them.
fn below(dir: &Path, base: &Path) -> Option<String> {
    let parse = |path: &Path| RemotePath::parse(path.to_str()?, FLAVOUR).ok();
    let (dir, base) = (parse(dir)?, parse(base)?);
    let depth = base.parts().len();
    let (_, rest) = dir.parts().split_at_checked(depth)?;
    let head = (depth..dir.parts().len()).try_fold(dir.clone(), |path, _| path.parent())?;
    System::HERE
        .same_path(&head.to_string(), &base.to_string())
        .then(|| rest.join("/"))
}

/// A directory that may be gone: the part of its path that is there is resolved.
fn resolved(dir: &Path) -> Result<PathBuf, ApiError> {
    if !dir.is_absolute() {
        return Err(ApiError::new(
            ErrorCode::Usage,
            format!("{} is not an absolute path", dir.display()),
        ));
    }
    for above in dir.ancestors() {
        if let (Ok(real), Ok(rest)) = (fs::canonicalize(above), dir.strip_prefix(above)) {
            return Ok(match rest.as_os_str().is_empty() {
                true => real,
                false => real.join(rest),
            });
        }
    }
    Ok(dir.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn directories_of_a_project_follow_it() {
        let check = |from: &str, to: &str, dir: &str, want: Option<&str>| {
            let moving = Moving {
                from: from.into(),
                to: to.into(),
            };
            let got = moving.now(Path::new(dir));
            assert_eq!(got.as_deref(), want.map(Path::new), "{from} {to} {dir}");
        };
        check("/w/a", "/w/b", "/w/a", Some("/w/b"));
        check("/w/a", "/w/b", "/w/a/in/ner", Some("/w/b/in/ner"));
        check("/w/a", "/w/b", "/w/ab", None);
        check("/w/a", "/w/b", "/w", None);
        check("/w/a", "/w/b", "/w/b", None);
        // Into itself, and out of itself.
        check("/w/a", "/w/a/b", "/w/a", Some("/w/a/b"));
        check("/w/a", "/w/a/b", "/w/a/b", None);
        check("/w/a", "/w/a/b", "/w/a/b/c", None);
        check("/w/a", "/w/a/b", "/w/a/c", Some("/w/a/b/c"));
        check("/w/a/b", "/w/a", "/w/a/b/c", Some("/w/a/c"));
        check("/w/a/b", "/w/a", "/w/a", None);
    }
}
