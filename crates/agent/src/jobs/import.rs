//! `git import`: what a repository holds becomes sessions and tasks of this device.
//! Done again, it changes nothing.

mod seeds;
mod settings;

use std::path::PathBuf;
use std::sync::Arc;

use ccpeer_core::entry::{Mark, Payload, Version};
use ccpeer_core::id::EntryHash;
use ccpeer_core::presence::SessionState;

use super::git::is_address;
use crate::api::{self, ApiError, ErrorCode, GitImported};
use crate::driver::{Ask, Candidate, Handle};
use crate::keys::DeviceKey;
use crate::mirror::MirrorError;
use crate::mirror::found::{self, FoundError};
use crate::mirror::restore::{RestoreError, Restored, restore};
use crate::mirror::seal::{Identities, SealError};
use crate::mirror::theirs::Theirs;
use crate::pool::blocking;
use crate::server::Out;
use crate::{problem, view};

impl From<FoundError> for ApiError {
    fn from(error: FoundError) -> Self {
        let message = error.to_string();
        match error {
            FoundError::Git(e) => MirrorError::Git(e).into(),
            FoundError::None(_) | FoundError::Empty => Self::new(ErrorCode::NotFound, message)
                .hint("give the directory of a repository, or its address"),
            FoundError::Disk(e) => MirrorError::Disk(e).into(),
        }
    }
}

impl From<RestoreError> for ApiError {
    fn from(error: RestoreError) -> Self {
        match error {
            RestoreError::Git(e) => MirrorError::Git(e).into(),
            RestoreError::Store(e) => problem::store(&e),
        }
    }
}

/// Takes over what a repository holds, or the settings of claude-sync-sessions and
/// the repository that they name.
pub(super) async fn import(
    handle: &Handle,
    out: &Out,
    from: &str,
    key_file: Option<&str>,
) -> Result<GitImported, ApiError> {
    if let Some(settings) = settings::find(from).await {
        return settings::take_over(handle, out, settings, key_file).await;
    }
    repository(handle, out, from, key_file).await
}

/// Takes over what one repository holds.
async fn repository(
    handle: &Handle,
    out: &Out,
    from: &str,
    key_file: Option<&str>,
) -> Result<GitImported, ApiError> {
    if !is_address(from) {
        return Err(
            ApiError::new(ErrorCode::Usage, "this is no address of a repository")
                .hint("give a path, or an address that begins with https://, ssh:// or user@host:"),
        );
    }
    let keys = keys(handle, key_file).await?;
    // One at a time: they share the place where they unpack.
    let _turn = handle.shared.mirrors.lock().await;
    let done = take_over(handle, out, from, keys).await;
    let imports = handle.shared.home.imports();
    blocking(move || drop(std::fs::remove_dir_all(imports))).await;
    done
}

async fn take_over(
    handle: &Handle,
    out: &Out,
    from: &str,
    keys: Identities,
) -> Result<GitImported, ApiError> {
    let shared = Arc::clone(&handle.shared);
    let (tx, from) = (handle.tx.clone(), from.to_owned());
    let mut meter = out.meter("reading");
    let read = blocking(move || {
        let scratch = shared.home.imports();
        crate::start::private_dir(&scratch).map_err(FoundError::Disk)?;
        let stop = || tx.is_closed();
        let place = found::find(&from, &scratch, &stop)?;
        let found = place.open(&stop);
        let restored = restore(&found, &shared.store, &keys, &mut meter)?;
        let theirs = Theirs::look(&found, &shared.store)?;
        Ok::<_, ApiError>((restored, theirs, place))
    });
    let (restored, theirs, place) = read.await?;
    if restored.read == 0 && theirs.is_empty() {
        nothing(&restored)?;
    }
    let mut done = GitImported {
        devices: restored.devices.iter().map(ToString::to_string).collect(),
        notes: restored.notes.clone(),
        ..GitImported::default()
    };
    if restored.locked > 0 {
        done.notes
            .push(format!("{} parts are for other keys", restored.locked));
    }
    let told = restored.versions.iter().map(|(_, v)| v.session).collect();
    state_restored(handle, out, restored, &mut done).await?;
    seeds::take_over(handle, out, theirs, &place, told, &mut done).await?;
    Ok(done)
}

/// Nothing could be read: there is nothing, or it is for others.
fn nothing(restored: &Restored) -> Result<(), ApiError> {
    if restored.locked > 0 {
        return Err(ApiError::new(
            ErrorCode::Refused,
            "none of the keys here opens this mirror",
        )
        .hint(
            "give the recovery key of the device that wrote it with `--key-file`, or import \
             on a device that was paired with it",
        ));
    }
    if restored.notes.is_empty() {
        return Err(ApiError::new(
            ErrorCode::NotFound,
            "the repository holds nothing that can be taken over",
        )
        .hint(
            "give a mirror that `ccpeer git add` made, or a repository with `tasks/*.md` or \
             `sessions/*/*.bundle.gz`",
        ));
    }
    Ok(())
}

/// The keys that may open it: those in the file, this device's own, and its recovery
/// key.
async fn keys(handle: &Handle, key_file: Option<&str>) -> Result<Identities, ApiError> {
    let home = handle.shared.home.clone();
    let key_file = key_file.map(PathBuf::from);
    let keys = blocking(move || -> Result<Identities, String> {
        let given = key_file
            .as_deref()
            .map(|path| Identities::load(path).map_err(|e| format!("{}: {e}", path.display())));
        let given = given.transpose()?;
        let of_ours = |e: SealError| e.to_string();
        let key = DeviceKey::load(&home.key()).ok().flatten();
        let own = key.map(|k| Identities::of_device(&k.signing));
        let own = own.transpose().map_err(of_ours)?;
        let recovery = match Identities::load(&home.recovery_key()) {
            Err(SealError::Io(std::io::ErrorKind::NotFound)) => None,
            other => Some(other.map_err(of_ours)?),
        };
        let all = [given, own, recovery].into_iter().flatten();
        let all = all.reduce(Identities::and);
        all.ok_or_else(|| of_ours(SealError::NoKey))
    });
    keys.await.map_err(|why| {
        ApiError::new(ErrorCode::Refused, why)
            .hint("give the file with the recovery key: `--key-file FILE`")
    })
}

async fn state_restored(
    handle: &Handle,
    out: &Out,
    restored: Restored,
    done: &mut GitImported,
) -> Result<(), ApiError> {
    let candidates = restored
        .versions
        .iter()
        .map(|(id, v)| candidate(Some(*id), v));
    let candidates: Vec<Candidate> = candidates.collect();
    let said = handle.ask(|to| Ask::SaidAlready(candidates, to)).await?;
    let total = restored.versions.len() as u64;
    for (n, ((id, version), known)) in restored.versions.into_iter().zip(said).enumerate() {
        let marked = restored.done.contains(&version.session);
        let session = version.session;
        let mut row = api::Imported {
            session_id: session.to_string(),
            title: view::title(&version.meta),
            result: "known".to_owned(),
            reason: None,
        };
        if known {
            done.known += 1;
        } else {
            row.result = if version.manifest.is_some() {
                "session"
            } else {
                "task"
            }
            .to_owned();
            match version.manifest {
                Some(_) => done.sessions += 1,
                None => done.tasks += 1,
            }
            handle.append(Payload::Version(again(id, version))).await?;
            if marked {
                handle
                    .append(Payload::Mark(Mark {
                        session,
                        done: true,
                    }))
                    .await?;
            }
        }
        out.item(&row).await?;
        out.progress("importing", n as u64 + 1, total);
    }
    Ok(())
}

pub(super) fn candidate(id: Option<EntryHash>, version: &Version) -> Candidate {
    Candidate {
        session: version.session,
        version: id,
        manifest: version.manifest,
        snapshot: version.snapshot,
    }
}

/// The same as a version of this device, which grew from the one that is gone: a
/// peer that still holds that one sees no fork. Nobody has it open any more.
fn again(id: EntryHash, version: Version) -> Version {
    let state = match version.state {
        state @ (SessionState::Ended(_) | SessionState::Done | SessionState::Archived) => state,
        SessionState::Live | SessionState::Idle | SessionState::Interrupted => {
            SessionState::Interrupted
        }
    };
    Version {
        parents: vec![id],
        state,
        ..version
    }
}
