//! Content that is sent with a version, before anybody asks for it: the request that
//! the others would make, answered from what is about to become durable. Sends
//! nothing itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use ccpeer_core::id::{ChunkId, DeviceId};
use ccpeer_core::manifest::ListPage;
use ccpeer_core::wire::Message;
use ccpeer_net::{Ask, ChunkAnswer, ChunkSource};
use ccpeer_store::Store;

use crate::memo;

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
    let Some(manifest) = memo::manifest(manifest) else {
        return Vec::new();
    };
    let Some(since) = read(since).and_then(|bytes| memo::manifest(&bytes)) else {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{World, noise};
    use ccpeer_core::id::SessionId;
    use ccpeer_core::manifest::{
        ChunkRef, FileEntry, MANIFEST_VERSION, Manifest, Origin, PathFlavour, ProjectIdentity,
        Segment, Slot, Want,
    };
    use ccpeer_core::time::Timestamp;

    fn manifest(chunks: &[&Vec<u8>]) -> Vec<u8> {
        let refs = chunks.iter().map(|c| ChunkRef {
            id: ChunkId::of(c),
            len: u32::try_from(c.len()).unwrap(),
        });
        let segment = Segment {
            origin: 0,
            len: chunks.iter().map(|c| c.len() as u64).sum(),
            pages: Vec::new(),
            tail: refs.collect(),
        };
        let manifest = Manifest {
            version: MANIFEST_VERSION,
            session: SessionId([1; 16]),
            origins: vec![Origin {
                flavour: PathFlavour::Unix,
                home: "/home/ann".into(),
                project: "/home/ann/p".into(),
                claude_dir: "/home/ann/.claude".into(),
                slug: "-home-ann-p".into(),
            }],
            project: ProjectIdentity::default(),
            files: vec![FileEntry {
                slot: Slot::Main,
                segments: vec![segment],
                modified: Timestamp(0),
            }],
        };
        manifest.to_bytes()
    }

    #[test]
    fn what_is_not_in_the_store_yet_is_sent_ahead_with_what_belongs_to_it() {
        let world = World::new("ann");
        let (old, turn) = (noise(1, 50_000), noise(2, 3_000));
        let (before, after) = (manifest(&[&old]), manifest(&[&old, &turn]));
        let kept = |c: &Vec<u8>| (ChunkId::of(c), c.clone());
        world
            .store
            .put_chunks(&[kept(&old), kept(&before)])
            .unwrap();
        let fresh = vec![kept(&after), kept(&turn)];
        let ask = Ask {
            near: vec![kept(&before)],
            since: Some(ChunkId::of(&before)),
            ..Ask::from(vec![Want::manifest(ChunkId::of(&after))])
        };
        let store = Arc::new(world.store);
        let Some(Message::Parcel(bytes)) = pack(DeviceId([1; 32]), store, fresh, &ask) else {
            panic!("no parcel");
        };
        // The turn, which does not compress, and next to nothing else.
        assert!((3_000..3_600).contains(&bytes.len()), "{}", bytes.len());
    }
}
