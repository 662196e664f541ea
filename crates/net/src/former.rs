//! Telling a peer that was away that our key was replaced: it knows nothing but
//! the old key, so it is told under the old key. One connection of a few seconds,
//! from an endpoint of its own, on which the log of the old key is given, up to
//! its last word, and nothing else is said or asked. The peer finds there what it
//! would have heard from others, and ends the link itself; from then on it knows
//! the new key and refuses this one.
//!
//! It must not know what a log says: entries come from outside, as they were
//! signed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use ccpeer_core::entry::SignedEntry;
use ccpeer_core::id::{DeviceId, LogId, Seq};
use ccpeer_core::limits;
use ccpeer_core::wire::Message;
use iroh::Endpoint;
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::endpoint::{self, Gate, SYNC_ALPN};
use crate::error::code;
use crate::supervisor::{ConnectFault, connect_as};
use crate::{Listen, Shared, frame, link};

/// What was said with a key that is not in use any more. Called on a thread that
/// may block.
pub trait LastWords: Send + Sync {
    /// Entries that follow in the logs of a device on what somebody holds of them,
    /// in order, as many as fit into one message; none if that was all.
    fn after(&self, device: &DeviceId, held: &BTreeMap<LogId, Seq>) -> Vec<SignedEntry>;
}

/// The keys that this device used before.
pub(crate) struct Former {
    secrets: Vec<Zeroizing<[u8; 32]>>,
    words: Arc<dyn LastWords>,
}

impl Former {
    pub(crate) fn new(mut secrets: Vec<[u8; 32]>, words: Arc<dyn LastWords>) -> Self {
        secrets.truncate(limits::FORMER_KEYS_MAX);
        Self {
            secrets: secrets.into_iter().map(Zeroizing::new).collect(),
            words,
        }
    }
}

/// Tries the former keys with a peer that refuses the one in use. True if one of
/// them was known there, and is not any more.
pub(crate) async fn tell(shared: &Arc<Shared>, device: DeviceId, addrs: &[SocketAddr]) -> bool {
    let Some(former) = shared.former.get() else {
        return false;
    };
    let Ok(_turn) = shared.dials.acquire().await else {
        return false;
    };
    for secret in &former.secrets {
        let gate = Gate::new(
            Arc::clone(&shared.board),
            Arc::clone(&shared.links.counters),
        );
        // Where the other one listens, on a port of its own.
        let listen = match shared.listen {
            Listen::Any { .. } => Listen::Any { port: 0 },
            Listen::Addr(addr) => Listen::Addr(SocketAddr::new(addr.ip(), 0)),
        };
        let opened = endpoint::open(secret, listen, &shared.relays, gate, &shared.timing).await;
        let Ok(endpoint) = opened else {
            return false;
        };
        let told = tell_as(shared, former, &endpoint, device, addrs).await;
        let _ = timeout(shared.timing.hello, endpoint.close()).await;
        tracing::info!(peer = %device.short(), told, "spoke under a former key");
        if told {
            return true;
        }
    }
    false
}

async fn tell_as(
    shared: &Shared,
    former: &Former,
    endpoint: &Endpoint,
    device: DeviceId,
    addrs: &[SocketAddr],
) -> bool {
    let me = endpoint::device_of(&endpoint.id());
    let Ok(conn) = connect_as(shared, endpoint, device, addrs, SYNC_ALPN).await else {
        return false;
    };
    let timing = &shared.timing;
    let Ok((_, mut send, mut recv)) = link::greet(&conn, &shared.hello, timing).await else {
        return false;
    };
    let talk = async {
        let mut held = loop {
            let limit = limits::MESSAGE_BYTES_MAX;
            let bytes = frame::read_frame(&mut recv, limit, None, timing.progress)
                .await
                .ok()?;
            if let Ok(Message::Have(held)) = Message::from_bytes(&bytes) {
                let own = held.into_iter().filter(|h| h.log.device == me);
                break own.map(|h| (h.log, h.seq)).collect::<BTreeMap<_, _>>();
            }
        };
        loop {
            let (words, known) = (Arc::clone(&former.words), held.clone());
            let entries = tokio::task::spawn_blocking(move || words.after(&me, &known));
            let entries = entries.await.ok()?;
            if entries.is_empty() {
                return Some(());
            }
            for entry in &entries {
                let verified = entry.clone().verified_by_store().ok()?;
                held.insert(verified.log(), verified.seq());
            }
            let mut bytes = Vec::new();
            let message = Message::Entries(entries).to_bytes();
            frame::put_frame(&mut bytes, &message, limits::MESSAGE_BYTES_MAX);
            frame::write_all(&mut send, &bytes, timing.progress)
                .await
                .ok()?;
        }
    };
    if talk.await.is_some() {
        let _ = timeout(timing.hello, conn.closed()).await;
    }
    let told = ConnectFault::from(conn.close_reason()) == ConnectFault::Closed(code::NOT_TRUSTED);
    conn.close(code::BYE.into(), b"bye");
    told
}
