//! Opening the store: as it was, made anew, or saved from a damaged file. Must
//! not know what is done with what is in it.

use std::net::SocketAddr;
use std::path::Path;

use ccpeer_core::id::{DeviceId, Epoch};
use ccpeer_core::store::Recovered;
use ccpeer_net::Listen;
use ccpeer_store::{Namespace, NoteWrite, Options as StoreOptions, Store, StoreError};

use super::{Options, no_randomness};
use crate::api::{ApiError, ErrorCode};
use crate::{problem, random};

/// Key of the UDP port in [`Namespace::Setting`]: the same after a restart, so
/// that peers find us where they last did.
const PORT: &[u8] = b"port";
/// How the store was come by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opened {
    /// It was there.
    AsItWas,
    /// There was none.
    New,
    /// It was damaged, and set aside.
    Salvaged,
}

/// The store and what is in it. A damaged one is left alone, unless the user
/// asked to save what can be read.
pub(super) fn open(
    options: &Options,
    me: DeviceId,
) -> Result<(Store, Recovered, Opened), ApiError> {
    let path = options.home.store();
    let was = std::fs::metadata(&path).map_or(0, |m| m.len());
    let opened = fresh_store(&path)?.and_then(|store| {
        let stored = store.recovered()?;
        Ok((store, stored))
    });
    match opened {
        Ok((store, stored)) if was == 0 => Ok((store, stored, Opened::New)),
        Ok((store, stored)) => Ok((store, stored, Opened::AsItWas)),
        Err(StoreError::Corrupt { .. }) if options.salvage => salvage(&path, me),
        Err(e @ StoreError::Corrupt { .. }) => Err(ApiError::new(
            ErrorCode::Damaged,
            format!("the store {} is damaged: {e}", path.display()),
        )
        .hint(
            "run `ccpeer up --salvage`: the file is set aside, what can be read is kept, \
             and what peers hold comes back by itself",
        )),
        Err(e) => Err(problem::store(&e)),
    }
}

fn fresh_store(path: &Path) -> Result<Result<Store, StoreError>, ApiError> {
    let fresh_epoch = Epoch(random::bytes().map_err(|e| no_randomness(&e))?);
    Ok(Store::open(path, &StoreOptions { fresh_epoch }))
}

fn salvage(path: &Path, me: DeviceId) -> Result<(Store, Recovered, Opened), ApiError> {
    // In its place until the new one is complete: this can be cut off.
    let fresh_epoch = Epoch(random::bytes().map_err(|e| no_randomness(&e))?);
    let (aside, report) = ccpeer_store::rebuild(path, &StoreOptions { fresh_epoch }, me)
        .map_err(|e| problem::store(&e))?;
    let store = fresh_store(path)?.map_err(|e| problem::store(&e))?;
    tracing::warn!(
        aside = %aside.display(),
        entries = report.entries,
        entries_lost = report.entries_lost,
        chunks = report.chunks,
        chunks_lost = report.chunks_lost,
        "the store was damaged; what could be read of it was saved"
    );
    let stored = store.recovered().map_err(|e| problem::store(&e))?;
    Ok((store, stored, Opened::Salvaged))
}

/// Where to listen.
pub(super) fn listen(options: &Options, store: &Store) -> Result<Listen, ApiError> {
    if let Some(addr) = options.listen {
        return Ok(Listen::Addr(addr));
    }
    let note = store
        .note(Namespace::Setting, PORT)
        .map_err(|e| problem::store(&e))?;
    let port = note
        .and_then(|b| b.try_into().ok())
        .map_or(0, u16::from_be_bytes);
    Ok(Listen::Any { port })
}

/// Remembers where it listens.
pub(super) fn keep_port(store: &Store, addrs: &[SocketAddr]) -> Result<(), ApiError> {
    let Some(addr) = addrs.first() else {
        return Ok(());
    };
    let value = Some(addr.port().to_be_bytes().to_vec());
    let note = NoteWrite {
        ns: Namespace::Setting,
        key: PORT.to_vec(),
        value,
    };
    store.put_notes(&[note]).map_err(|e| problem::store(&e))
}
