//! What a link that begins costs where both hold the same: digests, and a list of
//! what differs.

use super::*;
use crate::sharing::{Share, Sharing};

/// Two roots of one part, and one of another.
const NEAR: [u8; 2] = [9, 10];
const FAR: u8 = 200;

/// A machine that holds its own versions of these, linked with `b`, who holds all
/// its entries.
fn holding(roots: &[u8]) -> (Machine, Pen, Vec<Effect>) {
    let (mut a, b) = (Pen::new(1), Pen::new(2));
    let trust = a.trust(b.id());
    // Nothing grows from anything: each is a head.
    let mut entries = vec![trust];
    entries.extend(roots.iter().map(|n| a.version(*n, vec![])));
    let mut stored = recovered(&a, entries);
    stored.complete = roots.iter().map(|n| root(*n)).collect();
    let mut m = Machine::recover(a.id(), stored, 7);
    m.start(NOW);
    let out = link(&mut m, &b, &[(&a, 1 + roots.len() as u64)]);
    (m, b, out)
}

fn says(m: &mut Machine, b: &Pen, words: Received) -> Vec<Effect> {
    m.handle(Event::Received(b.id(), words), NOW)
}

fn sent(out: &[Effect]) -> Vec<&Message> {
    let sent = out.iter().filter_map(|effect| match effect {
        Effect::Send(_, message) => Some(message),
        _ => None,
    });
    sent.filter(|m| !matches!(m, Message::Have(_))).collect()
}

fn of(roots: &[u8]) -> Digests {
    Digests::of(&roots.iter().map(|n| root(*n)).collect::<Vec<_>>())
}

#[test]
fn the_same_here_and_there_is_not_named() {
    let all = [NEAR[0], NEAR[1], FAR];
    let (mut m, b, out) = holding(&all);
    assert_eq!(sent(&out), [&Message::Digests(of(&all))]);
    let out = says(&mut m, &b, Received::Digests(of(&all)));
    assert_eq!(sent(&out), [] as [&Message; 0]);
    let replicated = notices(&out);
    assert_eq!(replicated.len(), all.len(), "{replicated:?}");
    assert!(
        replicated
            .iter()
            .all(|n| matches!(n, Notice::Replicated(d, _) if *d == b.id()))
    );
    for n in all {
        assert_eq!(m.holders(&root(n)), [b.id()]);
    }
}

#[test]
fn only_parts_that_differ_are_asked_for() {
    let (mut m, b, _) = holding(&[NEAR[0], NEAR[1], FAR]);
    let theirs = of(&[NEAR[0], FAR]);
    let out = says(&mut m, &b, Received::Digests(theirs.clone()));
    let unlike = of(&[NEAR[0], NEAR[1], FAR]).unlike(&theirs);
    assert_eq!(unlike.0.count_ones(), 1);
    assert_eq!(sent(&out), [&Message::Unlike(unlike)]);
    assert_eq!(m.holders(&root(FAR)), [b.id()]);
    // What is of a part that differs is believed when it is named.
    assert_eq!(m.holders(&root(NEAR[0])), []);
    says(&mut m, &b, Received::Complete(vec![root(NEAR[0])]));
    assert_eq!(m.holders(&root(NEAR[0])), [b.id()]);
    assert_eq!(m.holders(&root(NEAR[1])), []);
}

#[test]
fn who_holds_nothing_asks_for_all_and_says_no_digests() {
    let (m, b, out) = holding(&[]);
    assert_eq!(sent(&out), [] as [&Message; 0]);
    let mut m = m;
    let theirs = of(&[NEAR[0], FAR]);
    let out = says(&mut m, &b, Received::Digests(theirs.clone()));
    let all = theirs.unlike(&Digests::of(&[]));
    assert_eq!(sent(&out), [&Message::Unlike(all)]);
    assert!(all.has(&root(NEAR[1])) && all.has(&root(FAR)));
}

#[test]
fn a_part_is_told_once_for_each_link() {
    let (mut m, b, _) = holding(&[NEAR[0], NEAR[1], FAR]);
    let near = of(&[NEAR[0]]).unlike(&of(&[]));
    let all = Parts(u32::MAX);
    let out = says(&mut m, &b, Received::Unlike(near));
    // Newest first.
    let named = Message::Complete(vec![root(NEAR[1]), root(NEAR[0])]);
    assert_eq!(sent(&out), [&named]);
    assert_eq!(
        kinds(&says(&mut m, &b, Received::Unlike(near))),
        [] as [&str; 0]
    );
    let out = says(&mut m, &b, Received::Unlike(all));
    assert_eq!(sent(&out), [&Message::Complete(vec![root(FAR)])]);
    for parts in [all, Parts(0)] {
        assert_eq!(
            kinds(&says(&mut m, &b, Received::Unlike(parts))),
            [] as [&str; 0]
        );
    }
    // A new link begins anew.
    m.handle(Event::PeerDown(b.id()), NOW);
    m.handle(Event::PeerUp(b.id()), NOW);
    let out = says(&mut m, &b, Received::Unlike(near));
    assert_eq!(sent(&out), [&named]);
}

#[test]
fn digests_are_compared_once_for_each_link() {
    let (mut m, b, _) = holding(&[NEAR[0], FAR]);
    let out = says(&mut m, &b, Received::Digests(of(&[FAR])));
    assert_eq!(kinds(&out), ["notice", "unlike"]);
    for roots in [&[FAR][..], &[NEAR[0], FAR], &[]] {
        let out = says(&mut m, &b, Received::Digests(of(roots)));
        assert_eq!(kinds(&out), [] as [&str; 0]);
    }
    assert_eq!(m.holders(&root(NEAR[0])), []);
    // Nor of somebody who is not linked.
    m.handle(Event::PeerDown(b.id()), NOW);
    for words in [
        Received::Digests(of(&[NEAR[0], FAR])),
        Received::Unlike(Parts(u32::MAX)),
    ] {
        assert_eq!(kinds(&says(&mut m, &b, words)), [] as [&str; 0]);
    }
    assert_eq!(m.holders(&root(FAR)), []);
}

#[test]
fn what_is_not_for_others_is_in_no_digest() {
    let (mut a, b) = (Pen::new(1), Pen::new(2));
    let trust = a.trust(b.id());
    let version = a.version(FAR, vec![]);
    let stored = || Recovered {
        complete: BTreeSet::from([root(FAR)]),
        ..recovered(&a, vec![trust.clone(), version.clone()])
    };
    for (share, told) in [
        (Share::Whole, true),
        (Share::Document, false),
        (Share::Local, false),
    ] {
        let mut m = Machine::recover(a.id(), stored(), 7);
        let sessions = BTreeMap::from([(session(), share)]);
        m.set_sharing(Sharing {
            sessions,
            ..Sharing::default()
        });
        m.start(NOW);
        let out = link(&mut m, &b, &[(&a, 2)]);
        let digests = out
            .iter()
            .any(|e| matches!(e, Effect::Send(_, Message::Digests(_))));
        assert_eq!(digests, told, "{share:?}: {out:?}");
        let out = says(&mut m, &b, Received::Digests(of(&[FAR])));
        assert_eq!(m.holders(&root(FAR)).is_empty(), !told, "{out:?}");
        let out = says(&mut m, &b, Received::Unlike(Parts(u32::MAX)));
        assert_eq!(sent(&out).is_empty(), !told, "{out:?}");
    }
}

/// The digests that a new link is told.
fn told_anew(m: &mut Machine, b: &Pen, frontier: &[(&Pen, u64)]) -> Option<Digests> {
    m.handle(Event::PeerDown(b.id()), NOW);
    let out = link(m, b, frontier);
    sent(&out).into_iter().find_map(|m| match m {
        Message::Digests(digests) => Some(digests.clone()),
        _ => None,
    })
}

#[test]
fn what_changed_since_is_in_the_next_digests() {
    let (mut a, b) = (Pen::new(1), Pen::new(2));
    let trust = a.trust(b.id());
    let version = a.version(FAR, vec![]);
    let mut stored = recovered(&a, vec![trust, version]);
    stored.complete.insert(root(FAR));
    let mut m = Machine::recover(a.id(), stored, 7);
    m.start(NOW);
    let again = |m: &mut Machine, held| told_anew(m, &b, &[(&a, held)]);
    assert_eq!(again(&mut m, 2), Some(of(&[FAR])));
    assert_eq!(again(&mut m, 2), Some(of(&[FAR])));
    let next = a.version(NEAR[0], vec![]);
    m.handle(Event::Append(next), NOW);
    let again = |m: &mut Machine, held| told_anew(m, &b, &[(&a, held)]);
    assert_eq!(again(&mut m, 3), Some(of(&[FAR, NEAR[0]])));
    m.handle(Event::Forgotten(vec![root(FAR)]), NOW);
    assert_eq!(again(&mut m, 3), Some(of(&[NEAR[0]])));
    m.handle(Event::Share(session(), Share::Local), NOW);
    assert_eq!(again(&mut m, 3), None);
}

#[test]
fn no_more_than_the_newest_are_told() {
    let (mut a, b) = (Pen::new(1), Pen::new(2));
    let numbered = |n: usize| {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&(n as u64).to_be_bytes());
        // Spread over all parts.
        id[0] = (n % 251) as u8;
        ChunkId(id)
    };
    let mut entries = vec![a.trust(b.id())];
    let count = limits::HINTS_AT_START_MAX + 3;
    for n in 0..count {
        let Payload::Version(mut of) = version(0, vec![]) else {
            panic!()
        };
        of.manifest = Some(ContentRef {
            id: numbered(n),
            len: 9,
        });
        entries.push(a.write(&Payload::Version(of)));
    }
    let mut stored = recovered(&a, entries);
    stored.complete = (0..count).map(|n| Want::manifest(numbered(n))).collect();
    let mut m = Machine::recover(a.id(), stored, 7);
    m.start(NOW);
    let out = link(&mut m, &b, &[(&a, 1 + count as u64)]);
    let newest: Vec<Want> = (3..count).map(|n| Want::manifest(numbered(n))).collect();
    let digests = Digests::of(&newest);
    assert_eq!(sent(&out), [&Message::Digests(digests.clone())]);
    let out = says(&mut m, &b, Received::Unlike(Parts(u32::MAX)));
    let mut named = Vec::new();
    for message in sent(&out) {
        let Message::Complete(roots) = message else {
            panic!("{message:?}")
        };
        assert!(roots.len() <= limits::MESSAGE_ENTRIES_MAX);
        named.extend(roots.iter().copied());
    }
    let newest_first: Vec<Want> = newest.into_iter().rev().collect();
    assert!(named == newest_first, "{}", named.len());
    assert_eq!(
        notices(&says(&mut m, &b, Received::Digests(digests))).len(),
        limits::HINTS_AT_START_MAX
    );
}
