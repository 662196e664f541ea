//! Content that is sent with a version, before anybody asks for it: the request that
//! the others would make, answered from what is about to become durable. Sends
//! nothing itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use ccpeer_core::id::{ChunkId, DeviceId};
use ccpeer_core::manifest::{ListPage, Manifest};
use ccpeer_core::wire::Message;
use ccpeer_net::{Ask, ChunkAnswer, ChunkSource};
use ccpeer_store::Store;

/// Packs the answer to this request; some of its content may not be in the store
/// yet. Blocking.
pub(crate) fn pack(
    me: DeviceId,
    store: Arc<Store>,
    content: Vec<(ChunkId, Vec<u8>)>,
    ask: &Ask,
) -> Option<Message> {
    let at_hand = content
        .into_iter()
        .chain(ask.near.iter().cloned())
        .collect();
    let source = AtHand { at_hand, store };
    ccpeer_net::parcel(me, Arc::new(source), ask)
}

/// The chunks below a manifest that another one does not have, as far as `read`
/// knows them.
pub(crate) fn beyond(
    manifest: &[u8],
    since: &ChunkId,
    read: impl Fn(&ChunkId) -> Option<Vec<u8>>,
) -> Vec<ChunkId> {
    let Ok(manifest) = Manifest::from_bytes(manifest) else {
        return Vec::new();
    };
    let Some(Ok(since)) = read(since).map(|bytes| Manifest::from_bytes(&bytes)) else {
        return Vec::new();
    };
    manifest.beyond(&since, |id| ListPage::from_bytes(&read(id)?).ok())
}

/// What is in memory, and behind it the store.
struct AtHand {
    at_hand: BTreeMap<ChunkId, Vec<u8>>,
    store: Arc<Store>,
}

impl AtHand {
    fn read(&self, id: &ChunkId) -> Option<Vec<u8>> {
        let at_hand = self.at_hand.get(id).cloned();
        at_hand.or_else(|| self.store.get_chunk(id).ok().flatten())
    }
}

impl ChunkSource for AtHand {
    fn get(&self, _peer: &DeviceId, id: &ChunkId) -> ChunkAnswer {
        self.read(id)
            .map_or(ChunkAnswer::NotHeld, ChunkAnswer::Content)
    }

    fn beyond(&self, manifest: &[u8], since: &ChunkId) -> Vec<ChunkId> {
        beyond(manifest, since, |id| self.read(id))
    }
}
