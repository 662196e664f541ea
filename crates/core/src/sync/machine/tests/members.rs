//! What others say of third devices: offers, revocations, and what a user makes
//! of them.

use super::*;

fn overrule(pen: &mut Pen, device: &Pen, by: &Pen) -> VerifiedEntry {
    pen.write(&Payload::Trust(TrustChange::Overrule {
        device: device.id(),
        by: by.id(),
    }))
}

fn append(m: &mut Machine, entry: VerifiedEntry) -> Vec<Effect> {
    m.handle(Event::Append(entry), NOW)
}

#[test]
fn k_p10_a_revocation_by_a_member_ends_the_link_until_it_is_overruled() {
    let (mut a, mut b, mut c) = (Pen::new(1), Pen::new(2), Pen::new(3));
    let mut m = machine(&mut a, &[&b, &c]);
    link(&mut m, &b, &[]);
    link(&mut m, &c, &[]);
    let (early, late) = (c.mark(), c.mark());
    entries(&mut m, &c, &[&early]);

    let word = b.revoke(c.id());
    let out = entries(&mut m, &b, &[&word]);
    assert!(
        out.contains(&Effect::Disconnect(c.id(), Fault::Revoked)),
        "{out:?}"
    );
    assert!(!m.trusts(&c.id()) && m.trusts(&b.id()));
    assert_eq!(m.trusted().collect::<Vec<_>>(), [&b.id()]);
    assert_eq!(m.members().against(&c.id()), Some(&[b.id()].into()));
    let again = m.handle(Event::PeerUp(c.id()), NOW);
    assert_eq!(again, [Effect::Disconnect(c.id(), Fault::Revoked)]);
    // Not from anybody, and that is no fault of whom it comes from.
    let out = entries(&mut m, &b, &[&late]);
    assert!(!kinds(&out).contains(&"disconnect"), "{out:?}");
    assert_eq!(m.frontier().get(&c.log), Seq(1), "what came before stays");

    let spare = overrule(&mut a, &c, &b);
    append(&mut m, spare);
    assert!(m.trusts(&c.id()));
    link(&mut m, &c, &[]);
    entries(&mut m, &c, &[&late]);
    assert_eq!(m.frontier().get(&c.log), Seq(2));
}

#[test]
fn k_p10_what_two_members_say_becomes_our_own_word() {
    let (mut a, mut b, mut d) = (Pen::new(1), Pen::new(2), Pen::new(4));
    let c = Pen::new(3);
    let mut m = machine(&mut a, &[&b, &c, &d]);
    link(&mut m, &b, &[]);
    link(&mut m, &d, &[]);
    let by_b = b.revoke(c.id());
    let out = entries(&mut m, &b, &[&by_b]);
    let trust = Notice::Trust;
    assert!(notices(&out).contains(&trust) && !m.may_restate(&trust));
    let by_d = d.revoke(c.id());
    entries(&mut m, &d, &[&by_d]);
    assert!(m.members().is_final(&c.id()) && m.may_restate(&trust));
    let said: Vec<Payload> = m.restatements().into_iter().map(|(p, _)| p).collect();
    let revoke = Payload::Trust(TrustChange::Revoke(c.id()));
    assert_eq!(said, core::slice::from_ref(&revoke));
    let entry = a.write(&revoke);
    append(&mut m, entry);
    assert_eq!(m.restatements(), []);
    // Whatever becomes of those who said it.
    for pen in [&b, &d] {
        let entry = a.revoke(pen.id());
        append(&mut m, entry);
    }
    let back = a.trust(c.id());
    append(&mut m, back);
    assert!(!m.trusts(&c.id()));
}

#[test]
fn k_p12_an_introducer_is_followed_one_step_and_never_back() {
    let (mut a, mut b, mut c, d) = (Pen::new(1), Pen::new(2), Pen::new(3), Pen::new(4));
    let mut m = machine(&mut a, &[&b]);
    link(&mut m, &b, &[]);
    let add_c = b.trust(c.id());
    entries(&mut m, &b, &[&add_c]);
    assert_eq!(m.offers().keys().collect::<Vec<_>>(), [&c.id()]);
    assert_eq!(m.restatements(), [], "asked for, not taken");

    let out = m.handle(Event::Introducers([b.id()].into()), NOW);
    assert_eq!(notices(&out), [Notice::Trust]);
    let said: Vec<Payload> = m.restatements().into_iter().map(|(p, _)| p).collect();
    assert_eq!(said, [Payload::Trust(TrustChange::add(c.id()))]);
    let entry = a.trust(c.id());
    append(&mut m, entry);
    assert!(m.trusts(&c.id()) && m.restatements().is_empty());

    link(&mut m, &c, &[]);
    let add_d = c.trust(d.id());
    entries(&mut m, &c, &[&add_d]);
    assert_eq!(m.offers()[&d.id()].by, [c.id()].into());
    assert_eq!(m.restatements(), [], "never a second step");

    let out_again = a.revoke(c.id());
    append(&mut m, out_again);
    let once_more = b.trust(c.id());
    entries(&mut m, &b, &[&once_more]);
    assert!(m.offers().is_empty() && m.restatements().is_empty());
    assert!(!m.trusts(&c.id()));
}
