//! What is served beside the driver, before and after somebody thinks better of it.

use ccpeer_core::entry::{ContentRef, Payload, SessionMeta, Version};
use ccpeer_core::id::{Epoch, SessionId};
use ccpeer_core::manifest::{
    ChunkRef, FileEntry, MANIFEST_VERSION, Manifest, Origin, PathFlavour, ProjectIdentity, Segment,
    Slot,
};
use ccpeer_core::presence::SessionState;
use ccpeer_core::sharing::Share;
use ccpeer_core::store::Recovered;
use ccpeer_core::sync::event::Event;
use ccpeer_core::time::{Instant, Timestamp};

use super::*;
use crate::testing::World;

fn kept(world: &World, bytes: &[u8]) -> ContentRef {
    let id = ChunkId::of(bytes);
    world.store.put_chunks(&[(id, bytes.to_vec())]).unwrap();
    ContentRef {
        id,
        len: u32::try_from(bytes.len()).unwrap(),
    }
}

fn manifest(world: &World, session: SessionId, chunks: &[ContentRef]) -> ContentRef {
    let refs = chunks.iter().map(|c| ChunkRef {
        id: c.id,
        len: c.len,
    });
    let segment = Segment {
        origin: 0,
        len: chunks.iter().map(|c| u64::from(c.len)).sum(),
        pages: Vec::new(),
        tail: refs.collect(),
    };
    let manifest = Manifest {
        version: MANIFEST_VERSION,
        session,
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
    kept(world, &manifest.to_bytes())
}

fn state(
    machine: &mut Machine,
    key: &SigningKey,
    session: SessionId,
    of: ContentRef,
) -> SignedEntry {
    let version = Payload::Version(Version {
        session,
        parents: Vec::new(),
        derived_from: None,
        manifest: Some(of),
        snapshot: None,
        state: SessionState::Idle,
        meta: SessionMeta::default(),
    });
    let (header, bytes) = machine.draft(&version, Timestamp(1));
    let entry = SignedEntry::sign(&header, bytes, key);
    let verified = entry.clone().verified_by_store().unwrap();
    machine.handle(Event::Append(verified), Instant(1));
    entry
}

#[test]
fn s8_what_was_shown_once_is_served_no_more_and_what_is_common_is() {
    let world = World::in_memory("ann");
    let key = SigningKey::from_bytes(&[7; 32]);
    let stored = Recovered {
        epoch: Epoch([1; 16]),
        entries: Vec::new(),
        complete: BTreeSet::new(),
    };
    let mut machine = Machine::recover(device_of(&key), stored, 1);
    let (secret, open) = (SessionId([1; 16]), SessionId([2; 16]));
    let [mine, common, other] = [b"mine", b"both", b"open"].map(|bytes| kept(&world, bytes));
    let theirs = manifest(&world, secret, &[mine, common]);
    let shared = manifest(&world, open, &[common, other]);
    let first = state(&mut machine, &key, secret, theirs);
    let second = state(&mut machine, &key, open, shared);
    let gate = Gate::new([key.clone()]);
    let close = |machine: &Machine| {
        let manifests = Manifests::of(machine);
        gate.close(machine, &manifests, &world.store);
        manifests.into_open()
    };
    let check = |want: &[bool]| {
        let ids = [theirs, mine, common, shared, other];
        let served: Vec<bool> = ids.iter().map(|c| gate.serves(&c.id)).collect();
        assert_eq!(served, want);
    };
    close(&machine);
    check(&[true; 5]);
    assert_eq!(
        gate.shown(vec![first.clone(), second.clone()], None).len(),
        2
    );

    machine.handle(Event::Share(secret, Share::Local), Instant(2));
    let open_ones = close(&machine);
    check(&[false, false, false, true, true]);
    gate.let_through(&open_ones, &world.store);
    check(&[false, false, true, true, true]);
    let shown = gate.shown(vec![first.clone(), second.clone()], None);
    let [bare, whole] = shown.as_slice() else {
        panic!("{shown:?}")
    };
    assert_eq!(whole, &second);
    assert_eq!((bare.hash(), &bare.payload), (first.hash(), &None));
    assert!(!bare.clone().verify().unwrap().is_stripped());
    // Without the key that it was signed with, it ends there.
    let strange = Gate::new([SigningKey::from_bytes(&[8; 32])]);
    strange.close(&machine, &Manifests::of(&machine), &world.store);
    assert_eq!(
        strange.shown(vec![second.clone(), first.clone()], None),
        std::slice::from_ref(&second)
    );
    // What is stated for this device alone is closed at once.
    let later = manifest(&world, secret, &[mine]);
    let hidden = state(&mut machine, &key, secret, later);
    assert!(machine.is_kept_back(&later.id));
    gate.keep([later.id]);
    assert!(!gate.serves(&later.id));
    assert_ne!(hidden.hash(), first.hash());
    gate.release([later.id]);
    assert!(gate.serves(&later.id), "somebody has shared it since");

    machine.set_sharing(Sharing {
        closed: true,
        ..Sharing::default()
    });
    close(&machine);
    check(&[false; 5]);
    assert!(gate.shown(vec![second], None).is_empty());
    machine.set_sharing(Sharing::default());
    close(&machine);
    check(&[true; 5]);
}
