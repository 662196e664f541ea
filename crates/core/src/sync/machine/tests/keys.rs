//! A device that replaces its key, and the baton of a session.

use super::*;
use crate::entry::Claim;
use crate::roll::KeyRoll;

/// The last word of an old key, which names its successor.
fn roll(old: &mut Pen, new: &Pen) -> VerifiedEntry {
    let sealed = vec![(old.log.epoch, Seq(old.seq + 1))];
    let roll = KeyRoll::sign(&old.key, &new.key, sealed);
    old.write(&Payload::Roll(roll))
}

#[test]
fn k_p13_who_trusted_the_old_key_trusts_the_new_one() {
    let (mut a, mut b, mut c) = (Pen::new(1), Pen::new(2), Pen::new(3));
    let mut m = machine(&mut a, &[&b]);
    link(&mut m, &b, &[]);
    let version = b.version(1, vec![]);
    entries(&mut m, &b, &[&version]);
    assert!(!m.trusts(&c.id()));

    let last = roll(&mut b, &c);
    let out = entries(&mut m, &b, &[&last]);
    assert!(notices(&out).contains(&Notice::Rolled(b.id())), "{out:?}");
    assert!(
        out.contains(&Effect::Disconnect(b.id(), Fault::NotTrusted)),
        "the old key is not spoken with any more"
    );
    assert!(m.trusts(&c.id()) && !m.trusts(&b.id()));
    assert_eq!(m.trusted().collect::<Vec<_>>(), [&c.id()], "no duplicate");
    assert_eq!(m.current(&b.id()), c.id());

    // What the old key had said is kept and passed on; the rest of it is not.
    link(&mut m, &c, &[]);
    let beyond = b.mark();
    let word = c.trust(a.id());
    entries(&mut m, &c, &[&word, &beyond]);
    assert_eq!(m.frontier().get(&b.log), Seq(2));
    assert_eq!(m.frontier().get(&c.log), Seq(1));
    let mut other_epoch = Pen::new(2);
    other_epoch.log.epoch = Epoch([77; 16]);
    let word = other_epoch.mark();
    entries(&mut m, &c, &[&word]);
    assert_eq!(m.frontier().get(&other_epoch.log), Seq::ZERO);
}

#[test]
fn a_key_with_two_successors_has_none() {
    let (mut a, mut b, c, thief) = (Pen::new(1), Pen::new(2), Pen::new(3), Pen::new(4));
    let sealed = vec![(b.log.epoch, Seq(9))];
    let mut passing = machine(&mut a, &[&b]);
    link(&mut passing, &b, &[]);
    let both: Vec<_> = [&c, &thief]
        .iter()
        .map(|new| {
            b.write(&Payload::Roll(KeyRoll::sign(
                &b.key,
                &new.key,
                sealed.clone(),
            )))
        })
        .collect();
    entries(&mut passing, &b, &[&both[0], &both[1]]);
    for key in [&b, &c, &thief] {
        assert!(!passing.trusts(&key.id()));
    }
    assert_eq!(passing.current(&b.id()), b.id());
}

#[test]
fn nobody_is_rolled_by_somebody_else() {
    let (mut a, mut b, c) = (Pen::new(1), Pen::new(2), Pen::new(3));
    let mut m = machine(&mut a, &[&b, &c]);
    link(&mut m, &b, &[]);
    let roll = KeyRoll::sign(&c.key, &Pen::new(9).key, vec![]);
    let entry = b.write(&Payload::Roll(roll));
    entries(&mut m, &b, &[&entry]);
    assert!(m.trusts(&c.id()), "only the key itself can say it");
}

#[test]
fn a_new_key_says_again_whom_it_trusts_and_has_its_own_past() {
    let (mut old, mut b, mut new) = (Pen::new(1), Pen::new(2), Pen::new(3));
    let revoked = Pen::new(4);
    let entries_of_old = vec![
        old.trust(b.id()),
        old.trust(revoked.id()),
        old.revoke(revoked.id()),
        old.version(1, vec![]),
        roll(&mut old, &new),
    ];
    let stored = Recovered {
        epoch: new.log.epoch,
        entries: entries_of_old.clone(),
        complete: [root(1)].into(),
    };
    let mut m = Machine::recover(new.id(), stored, 7);
    let said: Vec<_> = m.restatements().into_iter().map(|(p, _)| p).collect();
    let trust = [
        Payload::Trust(TrustChange::add(b.id())),
        Payload::Trust(TrustChange::Revoke(revoked.id())),
    ];
    assert_eq!(said, trust, "and no version a second time");
    for payload in said {
        let entry = new.write(&payload);
        m.handle(Event::Append(entry), NOW);
    }
    assert_eq!(m.restatements(), []);

    // b, who trusted the old key, is served all of it; what b says about the old
    // key's trust in it holds for the new one.
    let trust = b.trust(old.id());
    link(&mut m, &b, &[]);
    entries(&mut m, &b, &[&trust]);
    assert!(m.trusted_by(&b.id()));
    let out = m.handle(
        Event::Received(b.id(), have(&[(&b, 1)])),
        NOW.after_ms(60_000),
    );
    let served: Vec<LogId> = out
        .iter()
        .filter_map(|e| match e {
            Effect::ServeRange { log, .. } => Some(*log),
            _ => None,
        })
        .collect();
    assert!(
        served.contains(&old.log) && served.contains(&new.log),
        "{out:?}"
    );
    // A tail of the old key's log is ours to have back.
    assert!(!m.is_superseded());
    let copy = Machine::recover(old.id(), recovered(&old, entries_of_old), 7);
    assert!(copy.is_superseded());
}

#[test]
fn the_seal_covers_every_epoch_and_the_roll_itself() {
    let (mut a, b) = (Pen::new(1), Pen::new(2));
    let trust = a.trust(b.id());
    let mut later = Pen::new(1);
    later.log.epoch = Epoch([99; 16]);
    let word = later.mark();
    let stored = Recovered {
        epoch: later.log.epoch,
        entries: vec![trust, word],
        complete: BTreeSet::new(),
    };
    let m = Machine::recover(a.id(), stored, 7);
    let mut sealed = m.to_seal();
    sealed.sort_unstable();
    assert_eq!(sealed, [(a.log.epoch, Seq(1)), (later.log.epoch, Seq(2))]);
}

#[test]
fn the_baton_is_with_whoever_claimed_or_wrote_last() {
    let (mut a, mut b) = (Pen::new(1), Pen::new(2));
    let mut m = machine(&mut a, &[&b]);
    link(&mut m, &b, &[]);
    let version = b.version(1, vec![]);
    entries(&mut m, &b, &[&version]);
    let holder = |m: &Machine| m.session(&session()).unwrap().baton().unwrap().0;
    assert_eq!(holder(&m), b.id());
    let claim = Payload::Claim(Claim {
        session: session(),
        base: Some(version.hash()),
    });
    a.lamport = 1_000;
    let entry = a.write(&claim);
    m.handle(Event::Append(entry), NOW);
    assert_eq!(holder(&m), a.id());
    b.lamport = 2_000;
    let grown = b.version(2, vec![version.hash()]);
    entries(&mut m, &b, &[&grown]);
    let record = m.session(&session()).unwrap();
    assert_eq!(record.baton().unwrap().0, b.id(), "it was written on there");
    assert_eq!(record.claim().unwrap().1.base, Some(version.hash()));
}
