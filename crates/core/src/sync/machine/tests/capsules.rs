//! Capsules: whose word counts, which one goes with a head, and that it is fetched
//! with it and never keeps a version from being whole.

use super::*;
use crate::entry::Capsule;

fn capsule(version: EntryHash, n: u8) -> Payload {
    Payload::Capsule(Capsule {
        session: session(),
        version,
        manifest: ContentRef {
            id: chunk(n),
            len: 9,
        },
    })
}

/// The number of the manifest that goes with a head.
fn nearest(m: &Machine, head: EntryHash) -> Option<ChunkId> {
    let record = m.session(&session())?;
    let (_, capsule) = record.nearest_capsule(&head)?;
    Some(capsule.manifest.id)
}

#[test]
fn only_the_author_of_a_version_says_how_its_work_tree_stood() {
    let (mut a, mut b, mut c) = (Pen::new(1), Pen::new(2), Pen::new(3));
    let mut m = machine(&mut a, &[&b, &c]);
    link(&mut m, &b, &[]);
    link(&mut m, &c, &[]);
    let version = b.version(10, vec![]);
    let theirs = b.write(&capsule(version.hash(), 20));
    let forged = c.write(&capsule(version.hash(), 30));
    entries(&mut m, &c, &[&forged]);
    entries(&mut m, &b, &[&version]);
    assert_eq!(nearest(&m, version.hash()), None);
    let out = entries(&mut m, &b, &[&theirs]);
    assert_eq!(nearest(&m, version.hash()), Some(chunk(20)));
    // It is wanted as the manifest that it is, and the version is whole without it.
    assert!(
        out.contains(&Effect::Check(Want::manifest(chunk(20)))),
        "{out:?}"
    );
    let record = m.session(&session()).unwrap();
    assert_eq!(record.node(&version.hash()).unwrap().roots().count(), 1);
    assert_eq!(record.capsules().count(), 1);
}

#[test]
fn the_nearest_one_goes_with_a_head() {
    let (mut a, mut b) = (Pen::new(1), Pen::new(2));
    let mut m = machine(&mut a, &[&b]);
    link(&mut m, &b, &[]);
    let first = b.version(10, vec![]);
    let old = b.write(&capsule(first.hash(), 20));
    let head = b.version(11, vec![first.hash()]);
    entries(&mut m, &b, &[&first, &old, &head]);
    assert_eq!(nearest(&m, head.hash()), Some(chunk(20)));
    let newer = b.write(&capsule(head.hash(), 21));
    let out = entries(&mut m, &b, &[&newer]);
    assert_eq!(nearest(&m, head.hash()), Some(chunk(21)));
    assert!(
        out.contains(&Effect::Check(Want::manifest(chunk(21)))),
        "{out:?}"
    );
}

#[test]
fn what_this_device_states_it_holds() {
    let mut pen = Pen::new(1);
    let mut m = machine(&mut pen, &[]);
    let version = pen.version(10, vec![]);
    let stated = pen.write(&capsule(version.hash(), 20));
    m.handle(Event::Append(version), NOW);
    m.handle(Event::Append(stated), NOW);
    assert!(m.is_complete(&Want::manifest(chunk(20))));
    assert!(!m.is_complete(&Want::data(chunk(20))), "by its kind alone");
}
