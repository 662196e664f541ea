//! What of our sessions others may have: what is kept goes to nobody, and what was
//! shared once goes no further; what is shared again reaches everybody whole.

use super::*;
use crate::entry::{Capsule, Enriched, Presence};
use crate::sharing::{Share, Sharing};

fn other() -> SessionId {
    SessionId([6; 16])
}

/// Says something as the driver does: with what others see in its place before it.
fn say(m: &mut Machine, pen: &Pen, payload: &Payload) -> (VerifiedEntry, Vec<Effect>) {
    let mut out = Vec::new();
    let mut append = |m: &mut Machine, payload: &Payload| {
        let (header, bytes) = m.draft(payload, Timestamp(5));
        let entry = SignedEntry::sign(&header, bytes, &pen.key)
            .verify()
            .unwrap();
        out.extend(m.handle(Event::Append(entry.clone()), NOW));
        entry
    };
    let entry = match payload {
        Payload::Version(version) => {
            let (shown, mut version) = m.prepare(version.clone());
            if let Some(shown) = shown {
                let shown = append(m, &Payload::Version(shown));
                version.parents.push(shown.hash());
            }
            append(m, &Payload::Version(version))
        }
        payload => append(m, payload),
    };
    (entry, out)
}

fn restate(m: &mut Machine, pen: &Pen) -> Vec<Payload> {
    let mut said = Vec::new();
    while let Some((payload, _)) = m.restatements().into_iter().next() {
        assert!(said.len() < 20, "repeated for ever: {said:?}");
        say(m, pen, &payload);
        said.push(payload);
    }
    said
}

fn with_document(manifest: u8, snapshot: u8, parents: Vec<EntryHash>) -> Payload {
    let Payload::Version(version) = version(manifest, parents) else {
        unreachable!()
    };
    Payload::Version(Version {
        snapshot: Some(ContentRef {
            id: chunk(snapshot),
            len: 9,
        }),
        ..version
    })
}

fn share(m: &mut Machine, how: Share) -> Vec<Effect> {
    m.handle(Event::Share(session(), how), NOW)
}

/// Everything that is said to anybody, as it is.
fn words(out: &[Effect]) -> Vec<&Message> {
    out.iter()
        .filter_map(|e| match e {
            Effect::Send(_, message) => Some(message),
            _ => None,
        })
        .collect()
}

fn head(m: &Machine) -> &VersionNode {
    m.session(&session()).unwrap().latest().unwrap()
}

#[test]
fn s8_of_a_local_session_nobody_hears() {
    let (mut a, b) = (Pen::new(1), Pen::new(2));
    let mut m = machine(&mut a, &[&b]);
    m.set_sharing(Sharing {
        default: Share::Local,
        ..Sharing::default()
    });
    m.start(NOW);
    link(&mut m, &b, &[(&a, 1)]);
    let before = m.frontier().get(&a.log);
    let mut all = Vec::new();
    let (first, out) = say(&mut m, &a, &with_document(9, 19, vec![]));
    all.extend(out);
    let state = SessionState::Idle;
    let presence = Presence {
        session: session(),
        state,
    };
    all.extend(say(&mut m, &a, &Payload::Presence(presence)).1);
    let enriched = Payload::Enriched(Enriched {
        session: session(),
        version: first.hash(),
        snapshot: ContentRef {
            id: chunk(29),
            len: 9,
        },
    });
    all.extend(say(&mut m, &a, &enriched).1);
    assert_eq!(words(&all), Vec::<&Message>::new());
    assert_eq!(first.log(), LogId::kept(a.id()));
    assert_eq!(m.frontier().get(&a.log), before);
    // A peer that claims to know of it is told nothing, and neither is one that
    // comes later.
    let mut held = vec![Held {
        log: first.log(),
        seq: Seq(1),
        tip: [7; limits::TIP_BYTES],
    }];
    held.push(a.held(1));
    let claims = Event::Received(b.id(), Received::Have(held));
    let mut out = m.handle(claims, NOW);
    out.extend(m.handle(Event::PeerDown(b.id()), NOW));
    out.extend(link(&mut m, &b, &[]));
    for effect in &out {
        match effect {
            Effect::Send(_, Message::Have(held)) => {
                assert!(held.iter().all(|h| !h.log.is_kept()), "{held:?}");
            }
            Effect::ServeRange { log, .. } => assert_eq!(*log, a.log),
            Effect::WakeAt(_) | Effect::Check(_) => {}
            other => panic!("{other:?}"),
        }
    }
    for n in [9, 19, 29] {
        assert!(m.is_kept_back(&chunk(n)), "{n}");
    }
    assert_eq!(m.peers()[0].ahead, 1);
    // Here, it is a session like any other.
    assert!(m.is_here(head(&m)));
    assert_eq!(m.restatements(), vec![]);
    assert!(m.to_seal().iter().all(|(epoch, _)| *epoch == a.log.epoch));
}

#[test]
fn code_goes_with_a_session_that_is_shared_whole_and_with_no_other() {
    for how in [Share::Whole, Share::Document, Share::Local] {
        let (mut a, b) = (Pen::new(1), Pen::new(2));
        let mut m = machine(&mut a, &[&b]);
        m.set_sharing(Sharing {
            default: how,
            ..Sharing::default()
        });
        m.start(NOW);
        link(&mut m, &b, &[(&a, 1)]);
        let (version, _) = say(&mut m, &a, &with_document(9, 19, vec![]));
        let capsule = Payload::Capsule(Capsule {
            session: session(),
            version: version.hash(),
            manifest: ContentRef {
                id: chunk(39),
                len: 9,
            },
        });
        let (entry, out) = say(&mut m, &a, &capsule);
        let is_shown = how == Share::Whole;
        assert_eq!(entry.log().is_kept(), !is_shown, "{how:?}");
        assert_eq!(words(&out).is_empty(), !is_shown, "{how:?}");
        assert_eq!(m.is_kept_back(&chunk(39)), !is_shown, "{how:?}");
        share(&mut m, Share::Document);
        assert!(m.is_kept_back(&chunk(39)), "{how:?}");
    }
}

#[test]
fn what_is_kept_comes_from_nobody() {
    let (mut a, mut b) = (Pen::new(1), Pen::new(2));
    let mut m = machine(&mut a, &[&b]);
    link(&mut m, &b, &[]);
    b.log = LogId::kept(b.id());
    let entry = b.mark();
    let out = entries(&mut m, &b, &[&entry]);
    assert!(!kinds(&out).contains(&"persist"), "{out:?}");
    assert_eq!(m.frontier().get(&b.log), Seq::ZERO);
}

#[test]
fn a_payload_is_withheld_by_its_author_or_not_at_all() {
    let (mut a, mut b, c) = (Pen::new(1), Pen::new(2), Pen::new(3));
    let mut m = machine(&mut a, &[&b, &c]);
    link(&mut m, &b, &[]);
    link(&mut m, &c, &[]);
    let whole = b.mark();
    // Somebody on the way has kept what it says.
    let mut stripped = whole.signed().clone();
    stripped.payload = None;
    let stripped = stripped.verify().unwrap();
    assert!(stripped.is_stripped());
    for from in [&b, &c] {
        let out = entries(&mut m, from, &[&stripped]);
        assert!(!kinds(&out).contains(&"persist"), "{out:?}");
    }
    // Nobody else can say that its author has.
    assert_eq!(whole.signed().withheld(&c.key), None);
    let mut forged = whole.signed().withheld(&b.key).unwrap();
    forged.payload.clone_from(&whole.signed().payload);
    assert!(forged.verify().is_err(), "one signature is not the other");
    // The author's word is passed on by anybody, and what follows fits.
    let bare = whole.signed().withheld(&b.key).unwrap().verify().unwrap();
    assert_eq!(bare.hash(), whole.hash());
    let next = b.mark();
    let out = entries(&mut m, &c, &[&bare, &next]);
    assert_eq!(kinds(&out)[..1], ["persist"]);
    assert_eq!(m.frontier().get(&b.log), Seq(2));
}

#[test]
fn what_was_shared_goes_no_further() {
    let (mut a, b, c) = (Pen::new(1), Pen::new(2), Pen::new(3));
    let mut m = machine(&mut a, &[&b, &c]);
    link(&mut m, &b, &[(&a, 2)]);
    let (shared, _) = say(&mut m, &a, &with_document(9, 19, vec![]));
    say(
        &mut m,
        &a,
        &Payload::Mark(Mark {
            session: other(),
            done: true,
        }),
    );
    assert_eq!(shared.log(), a.log);
    assert!(!m.is_kept_back(&chunk(9)));
    share(&mut m, Share::Local);
    for n in [9, 19] {
        assert!(m.is_kept_back(&chunk(n)), "{n}");
    }
    let out = link(&mut m, &c, &[]);
    let served: Vec<_> = out
        .iter()
        .filter_map(|e| match e {
            Effect::ServeRange {
                to, log, withhold, ..
            } if *to == c.id() => Some((*log, withhold.clone())),
            _ => None,
        })
        .collect();
    let [(log, Some(withhold))] = served.as_slice() else {
        panic!("{served:?}")
    };
    assert_eq!(*log, a.log);
    assert!(withhold.withholds(shared.signed()));
    assert!(!kinds(&out).contains(&"complete"), "{out:?}");
    // The next version is for nobody, and grew from the one that is known.
    let (next, out) = say(&mut m, &a, &with_document(10, 20, vec![shared.hash()]));
    assert_eq!(words(&out), Vec::<&Message>::new());
    assert_eq!(head(&m).id, next.hash());
    // Shared again, it follows what others know.
    share(&mut m, Share::Whole);
    let said = restate(&mut m, &a);
    assert_eq!(said.len(), 1, "{said:?}");
    let head = head(&m);
    assert_eq!(head.log, a.log);
    assert_eq!(head.version.parents, [next.hash(), shared.hash()]);
    assert!(!m.is_kept_back(&chunk(10)) && !m.is_kept_back(&chunk(9)));
}

#[test]
fn what_somebody_may_hold_without_its_payload_is_said_again() {
    for how in [Share::Whole, Share::Document] {
        let (mut a, b) = (Pen::new(1), Pen::new(2));
        let mut m = machine(&mut a, &[&b]);
        let (shared, _) = say(&mut m, &a, &with_document(9, 19, vec![]));
        let enriched = Payload::Enriched(Enriched {
            session: session(),
            version: shared.hash(),
            snapshot: ContentRef {
                id: chunk(29),
                len: 9,
            },
        });
        say(&mut m, &a, &enriched);
        let capsule = Payload::Capsule(Capsule {
            session: session(),
            version: shared.hash(),
            manifest: ContentRef {
                id: chunk(39),
                len: 9,
            },
        });
        say(&mut m, &a, &capsule);
        let turns = |m: &Machine| m.session(&session()).unwrap().nodes().count();
        // Nothing is said while it is local, so it is noted that it was, once.
        for _ in 0..2 {
            share(&mut m, Share::Local);
            let before = m.frontier().get(&a.log);
            restate(&mut m, &a);
            assert_eq!(m.frontier().get(&a.log), before);
            assert_eq!(turns(&m), 1);
        }
        let _bare = link(&mut m, &b, &[]);
        share(&mut m, how);
        let said = restate(&mut m, &a);
        let last = head(&m).clone();
        assert_eq!(last.log.is_kept(), how == Share::Document, "{said:?}");
        assert!(last.version.parents.contains(&shared.hash()));
        let told = m.shown_form(&last.id).unwrap_or(last.id);
        let told = m.version_of(&told).unwrap();
        assert_eq!(told.log, a.log);
        let record = m.session(&session()).unwrap();
        assert!(record.document(told).is_some());
        assert_eq!(record.capsule(&last).is_some(), how == Share::Whole);
        assert_eq!(m.restatements(), vec![]);
        // And whenever it was local again.
        let before = turns(&m);
        share(&mut m, Share::Local);
        restate(&mut m, &a);
        share(&mut m, how);
        restate(&mut m, &a);
        assert!(turns(&m) > before);
        assert_eq!(m.restatements(), vec![]);
    }
}

#[test]
fn of_some_the_document_alone_is_known() {
    let (mut a, b) = (Pen::new(1), Pen::new(2));
    let mut m = machine(&mut a, &[&b]);
    share(&mut m, Share::Document);
    link(&mut m, &b, &[(&a, 1)]);
    let (first, out) = say(&mut m, &a, &with_document(9, 19, vec![]));
    let mut shown = Vec::new();
    for message in words(&out) {
        match message {
            Message::Entries(entries) => shown.extend(entries.clone()),
            Message::Complete(roots) => assert_eq!(*roots, [Want::data(chunk(19))]),
            other => panic!("{other:?}"),
        }
    }
    let [shown] = shown.as_slice() else {
        panic!("{shown:?}")
    };
    let shown = shown.clone().verify().unwrap();
    let Some(Payload::Version(version)) = shown.payload() else {
        panic!()
    };
    assert_eq!((version.manifest, version.parents.len()), (None, 0));
    assert_eq!(version.snapshot.unwrap().id, chunk(19));
    // Here it is whole, and one line.
    assert_eq!(m.session(&session()).unwrap().heads().len(), 1);
    assert_eq!(head(&m).id, first.hash());
    assert!(m.is_kept_back(&chunk(9)) && !m.is_kept_back(&chunk(19)));
    let (second, _) = say(&mut m, &a, &with_document(10, 20, vec![first.hash()]));
    let form = m.shown_form(&second.hash()).unwrap();
    let form = m.version_of(&form).unwrap().clone();
    assert_eq!(form.version.parents, [shown.hash()], "one line there, too");
    assert_eq!(m.session(&session()).unwrap().heads().len(), 1);
    assert_eq!(m.restatements(), vec![]);
    // Then all of it.
    share(&mut m, Share::Whole);
    restate(&mut m, &a);
    let last = head(&m);
    assert_eq!(last.version.manifest.unwrap().id, chunk(10));
    assert!(
        last.version.parents.contains(&form.id),
        "{:?}",
        last.version
    );
    // And the document alone again: what others know last is that.
    share(&mut m, Share::Document);
    restate(&mut m, &a);
    let kept = head(&m);
    let form = m.version_of(&m.shown_form(&kept.id).unwrap()).unwrap();
    assert_eq!(form.version.manifest, None);
    assert!(m.is_kept_back(&chunk(10)));
    assert_eq!(m.restatements(), vec![]);
}

#[test]
fn a_choice_that_cannot_be_read_shares_nothing() {
    let (mut a, mut b) = (Pen::new(1), Pen::new(2));
    let mut m = machine(&mut a, &[&b]);
    m.set_sharing(Sharing {
        closed: true,
        ..Sharing::default()
    });
    let out = link(&mut m, &b, &[]);
    assert!(!kinds(&out).contains(&"serve"), "{out:?}");
    let (kept, out) = say(&mut m, &a, &with_document(9, 19, vec![]));
    assert_eq!(words(&out), Vec::<&Message>::new());
    // What others say still comes.
    let theirs = b.mark();
    assert_eq!(kinds(&entries(&mut m, &b, &[&theirs]))[..1], ["persist"]);
    let out = m.handle(Event::Sharing(Sharing::default()), NOW);
    assert!(kinds(&out).contains(&"serve"), "{out:?}");
    restate(&mut m, &a);
    assert_eq!(head(&m).version.parents, [kept.hash()]);
    assert_eq!(head(&m).log, a.log);
}

#[test]
fn what_others_call_a_session_is_theirs_to_share() {
    let (mut a, mut b, c) = (Pen::new(1), Pen::new(2), Pen::new(3));
    let mut m = machine(&mut a, &[&b, &c]);
    share(&mut m, Share::Local);
    link(&mut m, &b, &[]);
    link(&mut m, &c, &[]);
    let (of_c, of_b) = (Pen::new(3).trust(b.id()), b.trust(c.id()));
    entries(&mut m, &c, &[&of_c]);
    let theirs = b.version(9, vec![]);
    let out = entries(&mut m, &b, &[&of_b, &theirs]);
    assert!(kinds(&out).contains(&"persist"), "{out:?}");
    assert!(!m.is_kept_back(&chunk(9)));
    // What we go on with from there is ours.
    let (ours, out) = say(&mut m, &a, &version(10, vec![theirs.hash()]));
    assert_eq!(words(&out), Vec::<&Message>::new());
    assert_eq!(ours.log(), LogId::kept(a.id()));
    // And what is asked for is not described by it.
    let next = b.version(11, vec![theirs.hash(), ours.hash()]);
    entries(&mut m, &b, &[&next]);
    let near = m.version_before(&root(11)).map(|n| n.id);
    assert_ne!(near, Some(ours.hash()));
}

#[test]
fn documents_come_by_themselves_and_the_rest_when_somebody_asks() {
    let (mut a, mut b) = (Pen::new(1), Pen::new(2));
    let mut m = machine(&mut a, &[&b]);
    m.handle(Event::DocumentsOnly(BTreeSet::from([b.id()])), NOW);
    link(&mut m, &b, &[]);
    let theirs = b.write(&with_document(9, 19, vec![]));
    entries(&mut m, &b, &[&theirs]);
    let mut out = Vec::new();
    for want in [root(9), Want::data(chunk(19))] {
        out.extend(m.handle(Event::Checked(want, vec![want]), NOW));
    }
    let asked: Vec<ChunkId> = fetches(&out).into_iter().flat_map(|(_, ids)| ids).collect();
    assert_eq!(asked, [chunk(19)]);
    let out = m.handle(Event::Need(root(9)), NOW);
    assert_eq!(fetches(&out), [(b.id(), vec![chunk(9)])]);
}
