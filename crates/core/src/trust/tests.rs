//! What follows from who said what, in whatever order it arrives.

use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;

use crate::id::Epoch;

fn device(n: u16) -> DeviceId {
    let mut id = [0; 32];
    id[..2].copy_from_slice(&n.to_be_bytes());
    DeviceId(id)
}

/// The place of a statement in its author's log.
fn at(author: DeviceId, seq: u64) -> Order {
    let log = LogId {
        device: author,
        epoch: Epoch([7; 16]),
    };
    Order {
        lamport: seq,
        log,
        seq: Seq(seq),
    }
}

/// A book in which everybody says, one after the other, what is written here.
fn book(said: &[(DeviceId, TrustChange)]) -> TrustBook {
    let mut book = TrustBook::default();
    for ((author, change), n) in said.iter().zip(1..) {
        book.apply(at(*author, n), change);
    }
    book
}

fn overrule(device: DeviceId, by: DeviceId) -> TrustChange {
    TrustChange::Overrule { device, by }
}

#[test]
fn k_p11_a_revocation_is_final() {
    let (a, b) = (device(1), device(2));
    let mut book = TrustBook::default();
    assert!(book.apply(at(a, 1), &TrustChange::add(b)));
    assert!(book.trusts(&a, &b));
    assert!(
        !book.trusts(&b, &a),
        "trust is one-sided until the other says so"
    );
    assert!(book.apply(at(a, 1), &TrustChange::Revoke(b)));
    assert!(!book.apply(at(a, 1), &TrustChange::add(b)));
    assert!(!book.trusts(&a, &b));
    assert!(book.revoked_by(&a, &b));
    assert_eq!(book.trusted(&a).count(), 0);
}

#[test]
fn a_revocation_of_others_binds_only_its_author() {
    let (a, b, c) = (device(1), device(2), device(3));
    let mut book = TrustBook::default();
    book.apply(at(a, 1), &TrustChange::add(c));
    book.apply(at(b, 1), &TrustChange::Revoke(c));
    assert!(book.trusts(&a, &c));
    assert!(
        !book.apply(at(c, 1), &TrustChange::Revoke(c)),
        "nobody revokes himself"
    );
}

#[test]
fn trust_is_bounded() {
    let a = device(0);
    let mut book = TrustBook::default();
    for n in 1..=2000 {
        book.apply(at(a, 1), &TrustChange::add(device(n)));
    }
    assert_eq!(book.trusted(&a).count(), limits::TRUSTED_MAX);
    for n in 3000..5000 {
        book.apply(at(a, 1), &TrustChange::Revoke(device(n)));
    }
    assert_eq!(
        book.trusted(&a).count(),
        0,
        "more revocations than fit: trust nobody"
    );
    assert_eq!(book.revoked(&a).count(), limits::REVOKED_MAX);
}

/// `a` trusts `b`, `c` and `d`, who have said something.
fn a_small_circle(said: &[(DeviceId, TrustChange)]) -> TrustBook {
    let mut all = alloc::vec![];
    for n in 2..5 {
        all.push((device(1), TrustChange::add(device(n))));
    }
    all.extend_from_slice(said);
    book(&all)
}

#[test]
fn k_p10_whom_a_member_revokes_is_kept_out_until_the_user_says_otherwise() {
    let (a, b, c, d) = (device(1), device(2), device(3), device(4));
    let by_b = (b, TrustChange::Revoke(c));
    let by_d = (d, TrustChange::Revoke(c));
    let spared = (a, overrule(c, b));
    let members = |said: &[_]| a_small_circle(said).members(&a);

    let kept_out = members(core::slice::from_ref(&by_b));
    assert!(!kept_out.is_trusted(&c) && kept_out.is_trusted(&b));
    assert_eq!(
        kept_out.against(&c),
        Some(&[b].into()),
        "its author is named"
    );
    assert!(!kept_out.is_final(&c));

    for said in [
        [by_b.clone(), spared.clone()],
        [spared.clone(), by_b.clone()],
    ] {
        assert!(members(&said).is_trusted(&c), "overruled");
    }
    let again = members(&[by_b.clone(), spared.clone(), by_d.clone()]);
    assert_eq!(
        again.against(&c),
        Some(&[d].into()),
        "a later one is another one"
    );
    assert!(!again.is_final(&c), "the first does not count");

    let two = members(&[by_b, by_d]);
    assert!(two.is_final(&c));
    // Strangers have no say.
    let stranger = members(&[(device(9), TrustChange::Revoke(c))]);
    assert!(stranger.is_trusted(&c));
}

#[test]
fn who_is_out_has_no_say_and_two_who_accuse_each_other_are_both_out() {
    let (a, b, c, d) = (device(1), device(2), device(3), device(4));
    // A thief revokes everybody.
    let thief = [(c, TrustChange::Revoke(b)), (c, TrustChange::Revoke(d))];
    let everybody = a_small_circle(&thief).members(&a);
    assert_eq!(everybody.trusted().collect::<Vec<_>>(), [&c]);
    assert!(!everybody.is_final(&b), "one voice is not two");
    // Our own word against it, and all is as it was.
    let mut said = thief.to_vec();
    said.push((a, TrustChange::Revoke(c)));
    let again = a_small_circle(&said).members(&a);
    assert_eq!(again.trusted().collect::<Vec<_>>(), [&b, &d]);
    // Or that of another member, whom it did not accuse.
    let said = [(c, TrustChange::Revoke(b)), (d, TrustChange::Revoke(c))];
    let members = a_small_circle(&said).members(&a);
    assert_eq!(members.trusted().collect::<Vec<_>>(), [&b, &d]);
    // Each other: nobody knows who is the thief.
    let said = [
        (c, TrustChange::Revoke(b)),
        (b, TrustChange::Revoke(c)),
        (b, TrustChange::Revoke(d)),
    ];
    let members = a_small_circle(&said).members(&a);
    assert_eq!(members.trusted().count(), 0);
    let mut said = said.to_vec();
    said.push((a, overrule(c, b)));
    let members = a_small_circle(&said).members(&a);
    assert_eq!(members.trusted().collect::<Vec<_>>(), [&c, &d]);
    assert_eq!(members.against(&b), Some(&[c].into()));
}

#[test]
fn k_p09_whom_a_member_adds_is_offered_and_no_more() {
    let (a, b, c, d) = (device(1), device(2), device(3), device(4));
    let phone = DeviceInfo {
        name: "phone".into(),
        os: "linux".into(),
    };
    let add = TrustChange::Add {
        device: c,
        info: phone.clone(),
    };
    let mut said = alloc::vec![
        (a, TrustChange::add(b)),
        (b, TrustChange::add(d)),
        (b, TrustChange::add(a)),
        (b, add),
        (c, TrustChange::add(device(5))),
    ];
    let first = book(&said);
    let members = first.members(&a);
    assert!(!members.is_trusted(&c) && !first.trusts(&a, &c));
    let offers = first.offers(&a, &members);
    assert_eq!(offers.len(), 2, "what an offered device offers is none");
    assert_eq!(offers[&c].info, phone);
    assert_eq!(offers[&c].by, [b].into());
    let later: Vec<DeviceId> = first
        .introductions(&a, &members)
        .filter(|i| i.later)
        .map(|i| i.device)
        .collect();
    assert_eq!(later, [c], "what was there before us is no news");

    // K-P12: out is out, whatever anybody offers.
    said.push((a, TrustChange::Revoke(c)));
    said.push((b, TrustChange::add(c)));
    let removed = book(&said);
    assert!(!removed.offers(&a, &removed.members(&a)).contains_key(&c));
    // Nor is offered whom another member revoked.
    said.truncate(5);
    said.push((a, TrustChange::add(device(6))));
    said.push((device(6), TrustChange::Revoke(c)));
    let doubted = book(&said);
    assert!(!doubted.offers(&a, &doubted.members(&a)).contains_key(&c));
}

proptest! {
    #[test]
    fn merging_is_order_independent_idempotent_and_associative(
        said in prop::collection::vec((0u16..5, 0u16..5, 0u16..5, 0u8..4), 0..40),
        again in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
        cut in any::<prop::sample::Index>(),
    ) {
        let placed: Vec<(Order, TrustChange)> = said
            .iter()
            .zip(1u64..)
            .map(|((by, about, whose, kind), n)| {
                let about = device(*about);
                let change = match kind {
                    0 => TrustChange::Revoke(about),
                    1 => overrule(about, device(*whose)),
                    _ => TrustChange::Add {
                        device: about,
                        info: DeviceInfo { name: alloc::format!("{n}"), os: "x".into() },
                    },
                };
                (at(device(*by), n), change)
            })
            .collect();
        let fold = |order: Vec<&(Order, TrustChange)>| {
            let mut book = TrustBook::default();
            for (at, change) in order {
                book.apply(*at, change);
            }
            book
        };
        let forwards = fold(placed.iter().collect());
        let mut order: Vec<_> = placed.iter().rev().collect();
        if !placed.is_empty() {
            order.extend(again.iter().map(|i| i.get(&placed)));
        }
        let backwards = fold(order);
        prop_assert_eq!(&forwards, &backwards);
        if !placed.is_empty() {
            let (first, second) = placed.split_at(cut.index(placed.len()));
            prop_assert_eq!(&forwards, &fold(second.iter().chain(first).collect()));
        }
        for me in 0..5 {
            let me = device(me);
            let members = forwards.members(&me);
            prop_assert_eq!(&members, &backwards.members(&me));
            prop_assert_eq!(forwards.offers(&me, &members), backwards.offers(&me, &members));
            for other in 0..5 {
                let other = device(other);
                // Nobody is in by the word of another, and nobody who is in is
                // accused by somebody who is in.
                if members.is_trusted(&other) {
                    prop_assert!(forwards.trusts(&me, &other));
                    prop_assert!(members.against(&other).is_none());
                }
            }
        }
    }
}
