//! Better documents: whose word counts, which one goes with a head, and that it
//! is said again under a new epoch.

use super::*;
use crate::entry::Enriched;

fn enriched(version: EntryHash, n: u8) -> Payload {
    Payload::Enriched(Enriched {
        session: session(),
        version,
        snapshot: ContentRef {
            id: chunk(n),
            len: 9,
        },
    })
}

/// The number of the chunk that goes with a head.
fn nearest(m: &Machine, head: EntryHash) -> Option<ChunkId> {
    let record = m.session(&session())?;
    let (_, document) = record.nearest_document(&head)?;
    Some(document.snapshot.id)
}

#[test]
fn only_the_author_of_a_version_writes_better_of_it() {
    let (mut a, mut b, mut c) = (Pen::new(1), Pen::new(2), Pen::new(3));
    let mut m = machine(&mut a, &[&b, &c]);
    link(&mut m, &b, &[]);
    link(&mut m, &c, &[]);
    let version = b.version(10, vec![]);
    let theirs = b.write(&enriched(version.hash(), 20));
    let forged = c.write(&enriched(version.hash(), 30));
    entries(&mut m, &c, &[&forged]);
    entries(&mut m, &b, &[&version]);
    assert_eq!(nearest(&m, version.hash()), None);
    let out = entries(&mut m, &b, &[&theirs]);
    assert_eq!(nearest(&m, version.hash()), Some(chunk(20)));
    assert!(
        out.contains(&Effect::Check(Want::data(chunk(20)))),
        "{out:?}"
    );
    // A version is whole without it.
    let record = m.session(&session()).unwrap();
    assert_eq!(record.node(&version.hash()).unwrap().roots().count(), 1);
    assert_eq!(record.documents().count(), 1);
}

#[test]
fn the_newest_of_the_nearest_version_goes_with_a_head() {
    let (mut a, mut b) = (Pen::new(1), Pen::new(2));
    let mut m = machine(&mut a, &[&b]);
    link(&mut m, &b, &[]);
    let first = b.version(10, vec![]);
    let old = b.write(&enriched(first.hash(), 20));
    let second = b.version(11, vec![first.hash()]);
    let head = b.version(12, vec![second.hash()]);
    entries(&mut m, &b, &[&first, &old, &second, &head]);
    assert_eq!(nearest(&m, head.hash()), Some(chunk(20)));
    let newer = b.write(&enriched(second.hash(), 21));
    // Later said of what is further back: the nearer one stays.
    let late = b.write(&enriched(first.hash(), 22));
    let out = entries(&mut m, &b, &[&newer, &late]);
    assert_eq!(nearest(&m, head.hash()), Some(chunk(21)));
    assert!(
        out.contains(&Effect::Check(Want::data(chunk(21)))),
        "{out:?}"
    );
    assert_eq!(nearest(&m, first.hash()), Some(chunk(22)));
    // A fork has its own.
    let fork = b.version(13, vec![first.hash()]);
    entries(&mut m, &b, &[&fork]);
    assert_eq!(nearest(&m, fork.hash()), Some(chunk(22)));
}

#[test]
fn no_further_back_than_the_bound() {
    let mut pen = Pen::new(1);
    let mut m = machine(&mut pen, &[]);
    let first = pen.version(10, vec![]);
    let document = pen.write(&enriched(first.hash(), 20));
    let mut parent = first.hash();
    for entry in [first, document] {
        m.handle(Event::Append(entry), NOW);
    }
    for _ in 0..=limits::ENRICHED_BACK_MAX + 1 {
        let next = pen.version(11, vec![parent]);
        parent = next.hash();
        m.handle(Event::Append(next), NOW);
        if nearest(&m, parent).is_none() {
            return;
        }
    }
    panic!("it is found however far back it lies");
}

#[test]
fn it_is_said_again_under_a_new_epoch() {
    let mut pen = Pen::new(1);
    let mut m = machine(&mut pen, &[]);
    let version = pen.version(10, vec![]);
    let document = pen.write(&enriched(version.hash(), 20));
    m.handle(Event::Append(version.clone()), NOW);
    m.handle(Event::Append(document), NOW);
    assert!(m.restatements().is_empty());
    m.handle(Event::NewEpoch(Epoch([9; 16])), NOW);
    let mut said = Vec::new();
    // One after the other, as the driver does: the second names the first.
    while let Some((payload, at)) = m.restatements().into_iter().next() {
        assert!(said.len() < 10, "repeated for ever: {said:?}");
        let (header, bytes) = m.draft(&payload, at);
        let entry = SignedEntry::sign(&header, bytes, &pen.key);
        m.handle(Event::Append(entry.verify().unwrap()), NOW);
        said.push(payload);
    }
    let head = m.session(&session()).unwrap().latest().unwrap().id;
    assert_ne!(head, version.hash());
    assert_eq!(said.last(), Some(&enriched(head, 20)), "{said:?}");
    assert_eq!(nearest(&m, head), Some(chunk(20)));
}
