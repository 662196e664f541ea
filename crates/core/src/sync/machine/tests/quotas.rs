//! Bounds on what one device may make others keep, and roots that are no longer
//! whole.

use super::*;
use crate::sync::event::Quotas;

fn asked(out: &[Effect]) -> Vec<ChunkId> {
    let mut ids = Vec::new();
    for effect in out {
        if let Effect::Fetch { wants, .. } = effect {
            ids.extend(wants.iter().map(|w| w.id));
        }
    }
    ids
}

/// A version of a session of its own, of which nothing is here.
fn told(m: &mut Machine, author: &mut Pen, n: u8) -> Vec<Effect> {
    let mut said = version(n, vec![]);
    if let Payload::Version(v) = &mut said {
        v.session = SessionId([n; 16]);
    }
    let entry = author.write(&said);
    entries(m, author, &[&entry]);
    let want = want(n, WantKind::Manifest);
    m.handle(Event::Checked(want, vec![want]), NOW)
}

#[test]
fn k_s11_a_device_over_its_quota_costs_nobody_else() {
    let (mut a, mut b, mut c) = (Pen::new(1), Pen::new(2), Pen::new(3));
    let mut m = machine(&mut a, &[&b, &c]);
    m.handle(
        Event::Quotas(Quotas {
            each: 150,
            of: BTreeMap::new(),
        }),
        NOW,
    );
    link(&mut m, &b, &[]);
    link(&mut m, &c, &[]);
    for n in 1..=2 {
        assert_eq!(asked(&told(&mut m, &mut b, n)), [chunk(n)]);
        let out = m.handle(came(want(n, WantKind::Manifest), vec![]), NOW);
        let over = notices(&out).contains(&Notice::OverQuota(b.id()));
        assert_eq!(over, n == 2, "it is told once, when it happens");
    }
    assert_eq!(asked(&told(&mut m, &mut b, 3)), [], "nothing more of it");
    assert_eq!(asked(&told(&mut m, &mut c, 4)), [chunk(4)], "others go on");
    assert!(m.is_complete(&root(1)) && m.is_complete(&root(2)));

    // What somebody asks for by name comes all the same.
    let out = m.handle(Event::Need(want(3, WantKind::Manifest)), NOW);
    assert_eq!(asked(&out), [chunk(3)]);
    m.handle(came(want(3, WantKind::Manifest), vec![]), NOW);

    // Room was made, or the bound was raised: the rest follows by itself.
    assert_eq!(asked(&told(&mut m, &mut b, 5)), []);
    let counted = BTreeMap::from([(b.id(), 20)]);
    assert_eq!(asked(&m.handle(Event::Charged(counted), NOW)), [chunk(5)]);
    assert_eq!(m.charges().get(&b.id()), Some(&20));
}

#[test]
fn our_own_lost_tail_has_no_quota() {
    let (mut a, b) = (Pen::new(1), Pen::new(2));
    let trust = a.trust(b.id());
    let tail = a.version(2, vec![]);
    let mut m = Machine::recover(a.id(), recovered(&a, vec![trust]), 7);
    m.handle(
        Event::Quotas(Quotas {
            each: 0,
            of: BTreeMap::new(),
        }),
        NOW,
    );
    link(&mut m, &b, &[(&a, 2)]);
    entries(&mut m, &b, &[&tail]);
    let want = want(2, WantKind::Manifest);
    let out = m.handle(Event::Checked(want, vec![want]), NOW);
    assert_eq!(asked(&out), [chunk(2)]);
}

#[test]
fn what_was_forgotten_and_is_needed_is_fetched_again() {
    let (mut a, mut b) = (Pen::new(1), Pen::new(2));
    let mut m = machine(&mut a, &[&b]);
    link(&mut m, &b, &[]);
    let first = b.version(1, vec![]);
    entries(&mut m, &b, &[&first]);
    m.handle(Event::Checked(want(1, WantKind::Manifest), vec![]), NOW);
    let second = b.version(2, vec![first.hash()]);
    entries(&mut m, &b, &[&second]);
    m.handle(Event::Checked(want(2, WantKind::Manifest), vec![]), NOW);
    assert!(m.is_complete(&root(1)) && m.is_complete(&root(2)));

    let out = m.handle(Event::Forgotten(vec![root(1), root(2)]), NOW);
    assert!(!m.is_complete(&root(1)) && !m.is_complete(&root(2)));
    let looked_at: Vec<_> = out
        .iter()
        .filter(|e| matches!(e, Effect::Check(_)))
        .collect();
    assert_eq!(
        looked_at,
        [&Effect::Check(want(2, WantKind::Manifest))],
        "the head, and not what it has grown beyond"
    );
}
