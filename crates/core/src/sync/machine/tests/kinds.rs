//! The same bytes under different kinds: whoever calls one author's manifest a
//! snapshot, or a page content, makes nothing whole that is not, and keeps
//! nothing from being fetched.

use super::*;

/// What everybody names, each as something else.
const X: u8 = 77;
/// What is below it, where it is no plain content.
const BELOW: u8 = 78;

fn pairs() -> impl Iterator<Item = (WantKind, WantKind)> {
    let all = WantKind::ALL.into_iter();
    all.flat_map(|a| WantKind::ALL.map(|b| (a, b)))
        .filter(|(a, b)| a != b)
}

/// A version that needs `X` as this, and its root. A page needs a manifest
/// around it, which is number `n`.
fn needing(pen: &mut Pen, kind: WantKind, n: u8) -> (VerifiedEntry, Want) {
    match kind {
        WantKind::Manifest => (pen.version(X, vec![]), root(X)),
        WantKind::List => (pen.version(n, vec![]), root(n)),
        WantKind::Data => {
            let Payload::Version(mut version) = version(X, vec![]) else {
                panic!()
            };
            version.snapshot = version.manifest.take();
            (pen.write(&Payload::Version(version)), Want::data(chunk(X)))
        }
    }
}

/// What is below `X`, read as this.
fn below(kind: WantKind) -> Vec<Want> {
    match kind {
        WantKind::Manifest | WantKind::List => vec![Want::data(chunk(BELOW))],
        WantKind::Data => vec![],
    }
}

/// A machine that wants `X` as both: as `first` of c, who lies, and as `second`
/// of b, who wrote it. Both were asked for theirs.
fn torn(first: WantKind, second: WantKind) -> (Machine, Pen, Pen, [Want; 2]) {
    let (mut a, mut b, mut c) = (Pen::new(1), Pen::new(2), Pen::new(3));
    let mut m = machine(&mut a, &[&b, &c]);
    link(&mut m, &b, &[]);
    link(&mut m, &c, &[]);
    let mut roots = Vec::new();
    for (pen, kind, n) in [(&mut c, first, 50), (&mut b, second, 60)] {
        let (version, root) = needing(pen, kind, n);
        let out = entries(&mut m, pen, &[&version]);
        assert!(out.contains(&Effect::Check(root)), "{first:?} {second:?}");
        let out = m.handle(Event::Checked(root, vec![want(X, kind)]), NOW);
        assert_eq!(fetches(&out), [(pen.id(), vec![chunk(X)])]);
        roots.push(root);
    }
    (m, b, c, [roots[0], roots[1]])
}

fn persisted(effects: &[Effect]) -> Vec<Want> {
    let batches = effects.iter().filter_map(|e| match e {
        Effect::Persist(batch) => Some(batch.complete.clone()),
        _ => None,
    });
    batches.flatten().collect()
}

#[test]
fn what_came_as_one_thing_is_looked_into_before_it_is_another() {
    for (first, second) in pairs() {
        let (mut m, b, c, [lie, truth]) = torn(first, second);
        let out = m.handle(came(want(X, first), vec![]), NOW);
        assert!(m.is_complete(&lie), "{first:?}: all that it needs is here");
        let mut whole = vec![lie];
        if second == WantKind::Data {
            whole.push(truth);
        }
        assert_eq!(persisted(&out), whole, "{first:?} {second:?}");
        assert_eq!(fetches(&out), [], "nothing is sent twice");
        let looks = out.contains(&Effect::Check(want(X, second)));
        assert_eq!(looks, second != WantKind::Data, "{out:?}");
        if !looks {
            continue;
        }
        assert!(!m.is_complete(&truth), "{first:?} {second:?}");
        let out = m.handle(Event::Checked(want(X, second), below(second)), NOW);
        assert!(!m.is_complete(&truth), "{first:?} {second:?}");
        assert_eq!(fetches(&out), [(b.id(), vec![chunk(BELOW)])]);
        // What was asked for meanwhile comes too, or does not.
        let late = m.handle(came(want(X, second), below(second)), NOW);
        assert_eq!(persisted(&late), []);
        let out = m.handle(came(Want::data(chunk(BELOW)), vec![]), NOW);
        assert_eq!(persisted(&out), [truth]);
        assert!(m.holders(&truth).is_empty() && c.seq > 0);
    }
}

#[test]
fn what_is_not_of_a_kind_is_the_fault_of_nobody_who_serves_it() {
    for (first, second) in pairs().filter(|(_, second)| *second != WantKind::Data) {
        let (mut m, b, _, [lie, truth]) = torn(first, second);
        m.handle(came(want(X, first), vec![]), NOW);
        // The store looks into it and does not find what it was called.
        m.handle(Event::Checked(want(X, second), vec![want(X, second)]), NOW);
        let malformed = Event::FetchFailed {
            from: b.id(),
            want: want(X, second),
            why: FetchFault::Malformed,
        };
        for hours in 0..4 {
            let at = NOW.after_ms(hours * 3_600_000);
            let mut out = m.handle(malformed.clone(), at);
            out.extend(m.handle(Event::Tick, at));
            let again: Vec<_> = fetches(&out).into_iter().filter(|_| hours > 0).collect();
            assert_eq!(again, [], "{first:?} {second:?}");
            assert!(!kinds(&out).contains(&"disconnect"));
        }
        assert!(m.is_complete(&lie) && !m.is_complete(&truth));
    }
}

#[test]
fn what_does_not_come_as_one_thing_may_come_as_another() {
    for (first, second) in pairs() {
        let (mut m, _, c, [lie, truth]) = torn(first, second);
        let failed = |why| Event::FetchFailed {
            from: c.id(),
            want: want(X, first),
            why,
        };
        let why = [
            FetchFault::NotHeld,
            FetchFault::Wrong,
            FetchFault::Malformed,
            FetchFault::Link,
        ];
        for why in why {
            m.handle(failed(why), NOW);
        }
        let out = m.handle(came(want(X, second), vec![]), NOW);
        assert!(m.is_complete(&truth), "{first:?} {second:?}");
        assert_eq!(m.is_complete(&lie), first == WantKind::Data);
        // The liar goes, and takes nothing with him.
        let gone = m.handle(Event::PeerDown(c.id()), NOW);
        assert!(m.is_complete(&truth), "{out:?} {gone:?}");
    }
}

#[test]
fn a_mark_and_a_word_are_of_one_kind() {
    let (mut a, mut b) = (Pen::new(1), Pen::new(2));
    let trust = a.trust(b.id());
    let (version, manifest) = needing(&mut b, WantKind::Manifest, 0);
    let (own, _) = needing(&mut a, WantKind::Manifest, 0);
    let snapshot = Want::data(chunk(X));
    let mut stored = recovered(&a, vec![trust, own, version]);
    stored.complete.insert(snapshot);
    let mut m = Machine::recover(a.id(), stored, 7);
    assert!(m.is_complete(&snapshot) && !m.is_complete(&manifest));
    assert_eq!(m.start(NOW), [Effect::Check(manifest)]);
    link(&mut m, &b, &[(&a, 2), (&b, 1)]);
    let says = |roots| Event::Received(b.id(), Received::Complete(roots));
    assert_eq!(notices(&m.handle(says(vec![snapshot]), NOW)), []);
    assert_eq!(m.holders(&manifest), []);
    assert_eq!(m.holders(&snapshot), [b.id()]);
    let out = m.handle(says(vec![manifest]), NOW);
    assert!(matches!(notices(&out)[..], [Notice::Replicated(..)]));
    // What is lost as one thing is not lost as another.
    m.handle(Event::Checked(manifest, vec![]), NOW);
    m.handle(Event::Forgotten(vec![snapshot]), NOW);
    assert!(m.is_complete(&manifest) && !m.is_complete(&snapshot));
}

#[test]
fn a_manifest_that_names_a_chunk_as_two_things_needs_both() {
    for (first, second) in [
        (WantKind::List, WantKind::Data),
        (WantKind::Data, WantKind::List),
    ] {
        let (mut m, ..) = machine_with_a_want();
        checked(&mut m, vec![want(X, first), want(X, second)]);
        m.handle(came(want(X, WantKind::Data), vec![]), NOW);
        assert!(!m.is_complete(&root(1)));
        let list = want(X, WantKind::List);
        let out = m.handle(Event::Checked(list, vec![]), NOW);
        assert_eq!(persisted(&out), [root(1)]);
    }
}
