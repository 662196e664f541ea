//! The machine, event by event: what it asks for and in which order, and what it
//! refuses. Whole worlds are the simulator's business.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test picks what it is about"
)]

use alloc::vec;
use alloc::vec::Vec;
use std::format;

use ed25519_dalek::SigningKey;

use super::*;
use crate::digest::{Digests, Parts};
use crate::entry::{ContentRef, Mark, SessionMeta, SignedEntry, TrustChange, Version, device_of};
use crate::id::{ChunkId, Seq};
use crate::log::{Held, Tip};
use crate::manifest::{Want, WantKind};
use crate::presence::SessionState;
use crate::sync::event::{FetchFault, Received};
use crate::wire::Message;

mod capsules;
mod digests;
mod documents;
mod keys;
mod kinds;
mod members;
mod quotas;
mod sharing;

const NOW: Instant = Instant(1_000);

/// One device with its key; others are only keys that sign.
struct Pen {
    key: SigningKey,
    log: LogId,
    seq: u64,
    prev: EntryHash,
    lamport: u64,
    /// Of all entries of the branch that was written last.
    hashes: Vec<EntryHash>,
}

impl Pen {
    fn new(n: u8) -> Self {
        let key = SigningKey::from_bytes(&[n; 32]);
        let log = LogId {
            device: device_of(&key),
            epoch: Epoch([n; 16]),
        };
        Self {
            key,
            log,
            seq: 0,
            prev: EntryHash::ZERO,
            lamport: u64::from(n) * 100,
            hashes: Vec::new(),
        }
    }

    fn id(&self) -> DeviceId {
        self.log.device
    }

    fn write(&mut self, payload: &Payload) -> VerifiedEntry {
        self.seq += 1;
        self.lamport += 1;
        let bytes = payload.to_bytes(Timestamp(5));
        let header = Header {
            version: ENTRY_VERSION,
            log: self.log,
            seq: Seq(self.seq),
            prev: self.prev,
            lamport: self.lamport,
            payload_hash: *blake3::hash(&bytes).as_bytes(),
            payload_len: bytes.len() as u32,
        };
        let entry = SignedEntry::sign(&header, bytes, &self.key)
            .verify()
            .unwrap();
        self.prev = entry.hash();
        self.hashes.truncate(self.seq as usize - 1);
        self.hashes.push(self.prev);
        entry
    }

    /// What somebody says who holds this log up to a number.
    fn held(&self, seq: u64) -> Held {
        let tip = self.hashes.get((seq as usize).wrapping_sub(1));
        Held {
            log: self.log,
            seq: Seq(seq),
            tip: tip.map_or([0; limits::TIP_BYTES], Tip::label),
        }
    }

    fn trust(&mut self, device: DeviceId) -> VerifiedEntry {
        self.write(&Payload::Trust(TrustChange::add(device)))
    }

    fn revoke(&mut self, device: DeviceId) -> VerifiedEntry {
        self.write(&Payload::Trust(TrustChange::Revoke(device)))
    }

    fn mark(&mut self) -> VerifiedEntry {
        self.write(&Payload::Mark(Mark {
            session: session(),
            done: true,
        }))
    }

    fn version(&mut self, manifest: u8, parents: Vec<EntryHash>) -> VerifiedEntry {
        self.write(&version(manifest, parents))
    }
}

fn session() -> SessionId {
    SessionId([5; 16])
}

fn chunk(n: u8) -> ChunkId {
    ChunkId([n; 32])
}

fn want(n: u8, kind: WantKind) -> Want {
    Want { id: chunk(n), kind }
}

fn root(n: u8) -> Want {
    Want::manifest(chunk(n))
}

fn version(manifest: u8, parents: Vec<EntryHash>) -> Payload {
    Payload::Version(Version {
        session: session(),
        parents,
        derived_from: None,
        manifest: Some(ContentRef {
            id: chunk(manifest),
            len: 9,
        }),
        snapshot: None,
        state: SessionState::Idle,
        meta: SessionMeta::default(),
    })
}

/// A machine for pen 1 that trusts the given pens.
fn machine(own: &mut Pen, trusted: &[&Pen]) -> Machine {
    let entries = trusted.iter().map(|p| own.trust(p.id())).collect();
    Machine::recover(own.id(), recovered(own, entries), 7)
}

fn recovered(own: &Pen, entries: Vec<VerifiedEntry>) -> Recovered {
    Recovered {
        epoch: own.log.epoch,
        entries,
        complete: BTreeSet::new(),
    }
}

fn have(of: &[(&Pen, u64)]) -> Received {
    Received::Have(of.iter().map(|(p, seq)| p.held(*seq)).collect())
}

/// A chunk of a hundred bytes arrived.
fn came(want: Want, missing: Vec<Want>) -> Event {
    Event::Fetched {
        want,
        missing,
        bytes: 100,
    }
}

/// Links a peer that has said hello and its frontier.
fn link(machine: &mut Machine, peer: &Pen, frontier: &[(&Pen, u64)]) -> Vec<Effect> {
    let mut out = machine.handle(Event::PeerUp(peer.id()), NOW);
    out.extend(machine.handle(Event::Received(peer.id(), have(frontier)), NOW));
    out
}

fn entries(machine: &mut Machine, from: &Pen, entries: &[&VerifiedEntry]) -> Vec<Effect> {
    let entries = entries.iter().copied().cloned().collect();
    machine.handle(Event::Received(from.id(), Received::Entries(entries)), NOW)
}

fn kinds(effects: &[Effect]) -> Vec<&'static str> {
    effects
        .iter()
        .map(|e| match e {
            Effect::Persist(_) => "persist",
            Effect::Send(_, Message::Have(_)) => "have",
            Effect::Send(_, Message::Entries(_)) => "entries",
            Effect::Send(_, Message::Complete(_)) => "complete",
            Effect::Send(_, Message::Digests(_)) => "digests",
            Effect::Send(_, Message::Unlike(_)) => "unlike",
            Effect::Send(..) => "other",
            Effect::ServeRange { .. } => "serve",
            Effect::Check(_) => "check",
            Effect::Fetch { .. } => "fetch",
            Effect::Disconnect(..) => "disconnect",
            Effect::WakeAt(_) => "wake",
            Effect::Notice(_) => "notice",
        })
        .collect()
}

fn notices(effects: &[Effect]) -> Vec<Notice> {
    effects
        .iter()
        .filter_map(|e| {
            if let Effect::Notice(n) = e {
                Some(*n)
            } else {
                None
            }
        })
        .collect()
}

fn fetches(effects: &[Effect]) -> Vec<(DeviceId, Vec<ChunkId>)> {
    effects
        .iter()
        .filter_map(|e| match e {
            Effect::Fetch { from, wants } => Some((*from, wants.iter().map(|w| w.id).collect())),
            _ => None,
        })
        .collect()
}

#[test]
fn an_entry_of_ours_is_durable_before_anybody_hears_of_it() {
    let (mut a, mut b) = (Pen::new(1), Pen::new(2));
    let mut m = machine(&mut a, &[&b]);
    link(&mut m, &b, &[(&a, 1)]);
    let (header, bytes) = m.draft(&version(9, vec![]), Timestamp(77));
    assert_eq!((header.seq, header.prev), (Seq(2), a.prev));
    let entry = SignedEntry::sign(&header, bytes, &a.key).verify().unwrap();
    let id = entry.hash();
    let out = m.handle(Event::Append(entry), NOW);
    assert_eq!(
        kinds(&out),
        ["persist", "entries", "notice", "complete", "notice"]
    );
    let Some(Effect::Persist(batch)) = out.first() else {
        panic!()
    };
    assert_eq!(batch.complete, [root(9)], "what we state, we hold");
    assert_eq!(
        notices(&out),
        [Notice::Session(session()), Notice::Complete(session(), id)]
    );
    assert!(m.is_complete(&root(9)));
    // The peer has it all: that is told once.
    let whole = Event::Received(b.id(), Received::Complete(vec![root(9)]));
    assert_eq!(
        notices(&m.handle(whole.clone(), NOW)),
        [Notice::Replicated(b.id(), id)]
    );
    assert_eq!(notices(&m.handle(whole, NOW)), []);
    assert_eq!(m.holders(&root(9)), [b.id()]);
    assert_eq!(b.write(&version(1, vec![])).seq(), Seq(1));
}

#[test]
fn k_p07_strangers_are_not_heard() {
    let (mut a, mut c) = (Pen::new(1), Pen::new(3));
    let mut m = machine(&mut a, &[]);
    let out = m.handle(Event::PeerUp(c.id()), NOW);
    assert_eq!(out, [Effect::Disconnect(c.id(), Fault::NotTrusted)]);
    let entry = c.mark();
    assert_eq!(entries(&mut m, &c, &[&entry]), []);
    assert_eq!(m.handle(Event::Received(c.id(), have(&[(&a, 9)])), NOW), []);
    assert_eq!(m.frontier().get(&c.log), Seq::ZERO);
}

#[test]
fn a_gap_is_asked_about_and_not_taken() {
    let (mut a, mut b) = (Pen::new(1), Pen::new(2));
    let mut m = machine(&mut a, &[&b]);
    link(&mut m, &b, &[(&b, 3)]);
    let (one, two, three) = (b.mark(), b.mark(), b.mark());
    let out = entries(&mut m, &b, &[&three]);
    assert_eq!(kinds(&out), ["wake"], "the question waits for its turn");
    let out = m.handle(Event::Tick, NOW.after_ms(limits::HAVE_PAUSE_MS));
    assert_eq!(kinds(&out), ["have", "wake"]);
    // K-N12: what is known changes nothing.
    let out = entries(&mut m, &b, &[&one, &two]);
    assert_eq!(kinds(&out)[..1], ["persist"]);
    assert_eq!(m.frontier().get(&b.log), Seq(2));
    let out = entries(&mut m, &b, &[&two, &one, &two]);
    assert!(!kinds(&out).contains(&"persist"), "{out:?}");
    // In one message: a gap inside it stops there.
    let (four, five) = (b.mark(), b.mark());
    entries(&mut m, &b, &[&three, &five, &four]);
    assert_eq!(m.frontier().get(&b.log), Seq(4));
}

#[test]
fn what_does_not_come_is_asked_for_again() {
    let (mut a, b) = (Pen::new(1), Pen::new(2));
    let mut m = machine(&mut a, &[&b]);
    link(&mut m, &b, &[(&b, 3)]);
    assert_eq!(m.peers()[0].behind, 3);
    let before = m.handle(Event::Tick, NOW.after_ms(limits::RANGE_TIMEOUT_MS - 1));
    assert!(!kinds(&before).contains(&"have"));
    let after = m.handle(Event::Tick, NOW.after_ms(limits::RANGE_TIMEOUT_MS));
    assert!(kinds(&after).contains(&"have"));
}

#[test]
fn frontiers_are_compared_even_if_nothing_happens() {
    let (mut a, b) = (Pen::new(1), Pen::new(2));
    let mut m = machine(&mut a, &[&b]);
    link(&mut m, &b, &[(&a, 1)]);
    let mut at = NOW;
    for _ in 0..3 {
        at = at.after_ms(limits::HAVE_INTERVAL_MS);
        assert_eq!(kinds(&m.handle(Event::Tick, at)), ["have", "wake"]);
    }
}

#[test]
fn a_peer_gets_what_it_lacks_once() {
    let (mut a, b) = (Pen::new(1), Pen::new(2));
    let c = Pen::new(3);
    let mut m = machine(&mut a, &[&b, &c]);
    let serve = |out: &[Effect]| {
        out.iter()
            .filter_map(|e| match e {
                Effect::ServeRange { after, upto, .. } => Some((after.0, upto.0)),
                _ => None,
            })
            .collect::<Vec<_>>()
    };
    let out = m.handle(Event::PeerUp(b.id()), NOW);
    assert_eq!(
        kinds(&out),
        ["have", "wake"],
        "nothing is offered before it has spoken"
    );
    let mut hear = |seq, ms| {
        let at = NOW.after_ms(ms);
        serve(&m.handle(Event::Received(b.id(), have(&[(&a, seq)])), at))
    };
    assert_eq!(hear(0, 0), [(0, 2)]);
    assert_eq!(hear(0, 100), [], "it is under way");
    assert_eq!(hear(1, 9_000), [], "it gets on");
    assert_eq!(
        hear(1, 9_000 + limits::RANGE_TIMEOUT_MS),
        [(1, 2)],
        "the rest was lost"
    );
    assert_eq!(hear(2, 40_000), []);
}

#[test]
fn k_p09_third_devices_pass_on_only_between_those_who_trust_each_other() {
    let (mut a, mut b, mut c) = (Pen::new(1), Pen::new(2), Pen::new(3));
    let mut m = machine(&mut a, &[&b, &c]);
    link(&mut m, &b, &[(&a, 2)]);
    link(&mut m, &c, &[(&a, 2)]);
    let word = b.mark();
    let out = entries(&mut m, &b, &[&word]);
    assert!(
        !kinds(&out).contains(&"entries"),
        "b and c are strangers: {out:?}"
    );
    let told = |out: &[Effect]| {
        out.iter().any(
            |e| matches!(e, Effect::Send(_, Message::Have(h)) if h.iter().any(|h| h.log == b.log)),
        )
    };
    let later = NOW.after_ms(limits::HAVE_INTERVAL_MS);
    let out = m.handle(Event::Tick, later);
    let to_c: Vec<Effect> = out
        .into_iter()
        .filter(|e| matches!(e, Effect::Send(d, _) if *d == c.id()))
        .collect();
    assert!(!told(&to_c), "c does not learn that b exists");
    // Trust of one side is not enough.
    let b_trusts_c = b.trust(c.id());
    let out = entries(&mut m, &b, &[&b_trusts_c]);
    assert!(!kinds(&out).contains(&"serve"));
    // Now both trust each other, and everything follows at once.
    let c_trusts_b = c.trust(b.id());
    let out = entries(&mut m, &c, &[&c_trusts_b]);
    let range = |to: &Pen, log: LogId, upto| Effect::ServeRange {
        to: to.id(),
        log,
        after: Seq(0),
        upto: Seq(upto),
        withhold: None,
    };
    assert!(out.contains(&range(&c, b.log, 2)), "{out:?}");
    assert!(out.contains(&range(&b, c.log, 1)), "{out:?}");
    // And new words are passed on by themselves.
    let word = b.mark();
    let out = entries(&mut m, &b, &[&word]);
    assert!(
        out.iter()
            .any(|e| matches!(e, Effect::Send(d, Message::Entries(_)) if *d == c.id()))
    );
}

#[test]
fn k_p10_a_revoked_device_is_cut_off_for_ever() {
    let (mut a, b, mut c) = (Pen::new(1), Pen::new(2), Pen::new(3));
    let mut m = machine(&mut a, &[&b, &c]);
    link(&mut m, &b, &[]);
    link(&mut m, &c, &[]);
    let held = c.mark();
    entries(&mut m, &c, &[&held]);
    let out = m.handle(Event::Append(a.revoke(c.id())), NOW);
    assert_eq!(kinds(&out)[..2], ["persist", "disconnect"]);
    assert!(notices(&out).contains(&Notice::Trust));
    let sent_to_c = |out: &[Effect]| {
        out.iter().any(|e| {
            matches!(e, Effect::Send(d, _) | Effect::ServeRange { to: d, .. } | Effect::Fetch { from: d, .. } if *d == c.id())
        })
    };
    assert!(!sent_to_c(&out));
    // Neither from itself nor through others.
    let later = c.mark();
    assert_eq!(entries(&mut m, &c, &[&later]), []);
    let out = entries(&mut m, &b, &[&later]);
    assert!(!kinds(&out).contains(&"persist"));
    assert_eq!(m.frontier().get(&c.log), Seq(1), "what we hold stays");
    // K-P11: adding it again does not help.
    m.handle(Event::Append(a.trust(c.id())), NOW);
    let out = m.handle(Event::PeerUp(c.id()), NOW);
    assert_eq!(kinds(&out), ["disconnect"]);
    assert_eq!(m.revoked().count(), 1);
}

#[test]
fn words_of_devices_unknown_to_us_cost_the_peer() {
    let (mut a, b, mut c) = (Pen::new(1), Pen::new(2), Pen::new(3));
    let mut m = machine(&mut a, &[&b]);
    link(&mut m, &b, &[]);
    let mut out = Vec::new();
    for _ in 0..limits::FAULTS_MAX {
        let entry = c.mark();
        out = entries(&mut m, &b, &[&entry]);
    }
    assert_eq!(
        out.first(),
        Some(&Effect::Disconnect(b.id(), Fault::ForeignLog))
    );
    assert!(m.peers().is_empty());
}

/// What we said of it may have been lost with a disk, and the peer goes by it.
#[test]
fn after_a_new_epoch_words_of_devices_unknown_to_us_cost_nothing() {
    let (mut a, b, mut c) = (Pen::new(1), Pen::new(2), Pen::new(3));
    let mut m = machine(&mut a, &[&b]);
    m.handle(Event::NewEpoch(Epoch([0x77; 16])), NOW);
    link(&mut m, &b, &[]);
    for _ in 0..2 * limits::FAULTS_MAX {
        let entry = c.mark();
        assert_eq!(entries(&mut m, &b, &[&entry]), []);
    }
    assert!(m.peers().iter().any(|peer| peer.device == b.id()));
}

#[test]
fn k_n14_two_words_under_one_number_are_noticed_by_everybody() {
    let (mut a, mut b, c) = (Pen::new(1), Pen::new(2), Pen::new(3));
    let mut m = machine(&mut a, &[&b, &c]);
    link(&mut m, &b, &[]);
    link(&mut m, &c, &[]);
    let first = b.mark();
    let (seq, prev) = (b.seq, b.prev);
    let ours = b.version(1, vec![]);
    (b.seq, b.prev) = (seq, prev);
    let theirs = b.version(2, vec![]);
    entries(&mut m, &b, &[&first, &ours]);
    let out = entries(&mut m, &b, &[&theirs]);
    assert_eq!(notices(&out), [Notice::Equivocation(b.log)]);
    let proof = Effect::ServeRange {
        to: b.id(),
        log: b.log,
        after: Seq(1),
        upto: Seq(2),
        withhold: None,
    };
    assert!(
        out.contains(&proof),
        "the peer is shown what we hold: {out:?}"
    );
    let out = entries(&mut m, &b, &[&theirs]);
    assert_eq!(notices(&out), [], "once is enough");
    assert!(!kinds(&out).contains(&"serve"));
    assert!(m.version_of(&ours.hash()).is_some(), "the first one stays");
    assert!(m.version_of(&theirs.hash()).is_none());
    assert_eq!(m.forked_logs().count(), 1);
    // A chain that does not grow from ours is a fork as well, whatever its length.
    let next = b.mark();
    let out = entries(&mut m, &c, &[&next]);
    assert!(!kinds(&out).contains(&"persist"));
}

#[test]
fn k_d05_a_restored_backup_starts_a_new_epoch_and_loses_nothing() {
    let (mut a, mut b) = (Pen::new(1), Pen::new(2));
    let trust = a.trust(b.id());
    let old = a.version(1, vec![]);
    let (seq, prev) = (a.seq, a.prev);
    let lost = a.version(2, vec![old.hash()]);
    // The backup knows nothing of `lost`, and the user went on from there.
    (a.seq, a.prev) = (seq, prev);
    let other = a.version(3, vec![old.hash()]);
    let stored = Recovered {
        epoch: a.log.epoch,
        entries: vec![trust, old.clone(), other.clone()],
        complete: BTreeSet::from([root(1), root(3)]),
    };
    let mut m = Machine::recover(a.id(), stored, 7);
    assert_eq!(m.restatements(), []);
    link(&mut m, &b, &[(&a, 3)]);
    let out = entries(&mut m, &b, &[&lost]);
    assert!(notices(&out).contains(&Notice::OwnLogBehind), "{out:?}");
    let again = entries(&mut m, &b, &[&lost]);
    assert!(!notices(&again).contains(&Notice::OwnLogBehind));
    let epoch = Epoch([0x77; 16]);
    let out = m.handle(Event::NewEpoch(epoch), NOW);
    assert_eq!(
        out.first(),
        Some(&Effect::Persist(Batch {
            epoch: Some(epoch),
            ..Batch::default()
        }))
    );
    // Everything that stands is said again, the version as grown from itself.
    let said = m.restatements();
    assert_eq!(said.len(), 2, "{said:?}");
    assert_eq!(said[0].0, Payload::Trust(TrustChange::add(b.id())));
    let Payload::Version(v) = &said[1].0 else {
        panic!("{said:?}")
    };
    assert_eq!(
        (v.parents.clone(), v.manifest.unwrap().id),
        (vec![other.hash()], chunk(3))
    );
    for (payload, at) in said {
        let (header, bytes) = m.draft(&payload, at);
        assert_eq!(header.log.epoch, epoch);
        assert!(header.lamport > other.header().lamport, "the clock goes on");
        let entry = SignedEntry::sign(&header, bytes, &a.key).verify().unwrap();
        m.handle(Event::Append(entry), NOW);
    }
    assert_eq!(m.restatements(), [], "once is enough");
    assert_eq!(m.session(&session()).unwrap().heads().len(), 1);
    assert_eq!(b.mark().seq(), Seq(1));
}

#[test]
fn two_branches_of_equal_length_are_told_apart_when_a_link_begins() {
    let (mut a, mut b) = (Pen::new(1), Pen::new(2));
    let trust = a.trust(b.id());
    let (seq, prev) = (a.seq, a.prev);
    let theirs = a.version(2, vec![]);
    let said = Received::Have(vec![a.held(2)]);
    (a.seq, a.prev) = (seq, prev);
    let ours = a.version(3, vec![]);
    let mut m = Machine::recover(a.id(), recovered(&a, vec![trust, ours]), 7);
    let out = m.handle(Event::PeerUp(b.id()), NOW);
    let claim = Effect::Send(b.id(), Message::Have(vec![a.held(2)]));
    assert_eq!(out.first(), Some(&claim));
    // A frontier is only a claim: it is answered by a proof and believed when
    // one comes back.
    let out = m.handle(Event::Received(b.id(), said.clone()), NOW);
    let proof = Effect::ServeRange {
        to: b.id(),
        log: a.log,
        after: Seq(1),
        upto: Seq(2),
        withhold: None,
    };
    assert!(out.contains(&proof) && notices(&out).is_empty(), "{out:?}");
    let again = m.handle(Event::Received(b.id(), said), NOW);
    assert!(!again.contains(&proof), "once a link is enough");
    let out = entries(&mut m, &b, &[&theirs]);
    assert_eq!(
        notices(&out),
        [Notice::Equivocation(a.log), Notice::OwnLogBehind]
    );
    let word = b.mark();
    entries(&mut m, &b, &[&word]);
    let out = m.handle(Event::Tick, NOW.after_ms(limits::HAVE_PAUSE_MS));
    let claim = Effect::Send(b.id(), Message::Have(vec![a.held(2), b.held(1)]));
    let other = Effect::Send(b.id(), Message::Have(vec![b.held(1), a.held(2)]));
    assert!(out.contains(&claim) || out.contains(&other), "{out:?}");
}

#[test]
fn k_n14_the_second_branch_is_shown_to_all_who_hold_the_first() {
    let (mut a, mut b, c) = (Pen::new(1), Pen::new(2), Pen::new(3));
    let mut m = machine(&mut a, &[&b, &c]);
    let mut other = Pen::new(3);
    let trusts = [b.trust(c.id()), other.trust(b.id())];
    link(&mut m, &b, &[]);
    link(&mut m, &c, &[]);
    entries(&mut m, &b, &[&trusts[0]]);
    entries(&mut m, &c, &[&trusts[1]]);
    let (seq, prev) = (other.seq, other.prev);
    let second = other.version(2, vec![]);
    (other.seq, other.prev) = (seq, prev);
    let first = other.version(1, vec![]);
    entries(&mut m, &c, &[&first]);
    // b confirms that it holds the first one too, and then learns of the second.
    m.handle(Event::Received(b.id(), have(&[(&other, 2)])), NOW);
    let out = entries(&mut m, &b, &[&second]);
    assert_eq!(notices(&out), [Notice::Equivocation(other.log)]);
    let shown = Effect::Send(c.id(), Message::Entries(vec![second.signed().clone()]));
    assert!(out.contains(&shown), "{out:?}");
    let again = entries(&mut m, &b, &[&second]);
    assert!(notices(&again).is_empty() && !again.contains(&shown));
    // b only passed the proof on: the log goes on between the two of us.
    let more = other.mark();
    let out = entries(&mut m, &c, &[&more]);
    let passed = Effect::Send(b.id(), Message::Entries(vec![more.signed().clone()]));
    assert!(out.contains(&passed), "{out:?}");
    // Whoever was away when it was found is shown the proof when he comes.
    m.handle(Event::PeerDown(c.id()), NOW);
    m.handle(Event::PeerUp(c.id()), NOW);
    let out = m.handle(Event::Received(c.id(), have(&[(&other, 3)])), NOW);
    assert!(out.contains(&shown), "{out:?}");
}

#[test]
fn a_lost_tail_comes_back_from_a_peer() {
    let (mut a, b) = (Pen::new(1), Pen::new(2));
    let trust = a.trust(b.id());
    let tail = a.version(2, vec![]);
    let mut m = Machine::recover(a.id(), recovered(&a, vec![trust]), 7);
    m.handle(Event::PeerUp(b.id()), NOW);
    let out = m.handle(Event::Received(b.id(), have(&[(&a, 2)])), NOW);
    assert_eq!(notices(&out), [], "a claim is no proof");
    let out = entries(&mut m, &b, &[&tail]);
    assert!(notices(&out).contains(&Notice::OwnLogBehind), "{out:?}");
    assert_eq!(kinds(&out)[..1], ["persist"]);
    assert!(
        kinds(&out).contains(&"check"),
        "its chunks are fetched as well"
    );
    assert_eq!(m.frontier().get(&a.log), Seq(2));
}

/// A machine that was told of a version with manifest 1 by its author.
fn machine_with_a_want() -> (Machine, Pen, Pen, Pen) {
    let (mut a, mut b, c) = (Pen::new(1), Pen::new(2), Pen::new(3));
    let mut m = machine(&mut a, &[&b, &c]);
    link(&mut m, &b, &[]);
    link(&mut m, &c, &[]);
    let version = b.version(1, vec![]);
    let out = entries(&mut m, &b, &[&version]);
    assert!(
        out.contains(&Effect::Check(want(1, WantKind::Manifest))),
        "{out:?}"
    );
    (m, a, b, c)
}

fn checked(m: &mut Machine, missing: Vec<Want>) -> Vec<Effect> {
    m.handle(Event::Checked(want(1, WantKind::Manifest), missing), NOW)
}

#[test]
fn chunks_follow_by_hash_and_completeness_is_durable_first() {
    let (mut m, _, b, c) = machine_with_a_want();
    let out = checked(&mut m, vec![want(1, WantKind::Manifest)]);
    assert_eq!(
        fetches(&out),
        [(b.id(), vec![chunk(1)])],
        "its author is asked"
    );
    let children = vec![want(10, WantKind::List), want(11, WantKind::Data)];
    let out = m.handle(came(want(1, WantKind::Manifest), children), NOW);
    assert_eq!(fetches(&out), [(b.id(), vec![chunk(10), chunk(11)])]);
    let out = m.handle(
        came(want(10, WantKind::List), vec![want(12, WantKind::Data)]),
        NOW,
    );
    assert_eq!(fetches(&out), [(b.id(), vec![chunk(12)])]);
    assert_eq!(
        m.progress(&root(1)),
        Some(Progress {
            known: 4,
            missing: 2
        })
    );
    m.handle(came(want(12, WantKind::Data), vec![]), NOW);
    assert!(!m.is_complete(&root(1)));
    let out = m.handle(came(want(11, WantKind::Data), vec![]), NOW);
    assert_eq!(kinds(&out)[..3], ["persist", "complete", "notice"]);
    let Some(Effect::Persist(batch)) = out.first() else {
        panic!()
    };
    assert_eq!(batch.complete, [root(1)]);
    assert!(m.is_complete(&root(1)));
    assert_eq!(m.progress(&root(1)), None);
    // Said again in any order, it changes nothing.
    let out = m.handle(came(want(11, WantKind::Data), vec![]), NOW);
    assert!(!kinds(&out).contains(&"persist"));
    assert_eq!(checked(&mut m, vec![want(1, WantKind::Manifest)]).len(), 0);
    let to_c = Effect::Send(c.id(), Message::Complete(vec![root(1)]));
    assert!(!out.contains(&to_c), "c and b are strangers");
}

#[test]
fn what_is_here_already_needs_no_peer() {
    let (mut m, ..) = machine_with_a_want();
    let out = checked(&mut m, vec![]);
    assert_eq!(kinds(&out)[..3], ["persist", "complete", "notice"]);
}

#[test]
fn a_peer_that_does_not_hold_it_is_passed_over_for_a_while() {
    let (mut m, _, b, _) = machine_with_a_want();
    checked(&mut m, vec![want(1, WantKind::Manifest)]);
    let failed = Event::FetchFailed {
        from: b.id(),
        want: root(1),
        why: FetchFault::NotHeld,
    };
    let mut at = NOW;
    let mut pauses = Vec::new();
    for _ in 0..3 {
        assert_eq!(fetches(&m.handle(failed.clone(), at)), []);
        let before = at;
        while fetches(&m.handle(Event::Tick, at)).is_empty() {
            at = at.after_ms(10);
        }
        pauses.push(at.since_ms(before));
    }
    assert!(pauses[0] >= limits::FETCH_RETRY_MS.0);
    assert!(pauses.is_sorted_by(|a, b| a < b), "they grow: {pauses:?}");
    m.handle(failed, at);
    // Its word that it holds all of it ends the pause.
    let out = m.handle(
        Event::Received(b.id(), Received::Complete(vec![root(1)])),
        at,
    );
    assert_eq!(fetches(&out), [(b.id(), vec![chunk(1)])]);
}

#[test]
fn a_malformed_manifest_is_not_asked_for_again() {
    let (mut m, _, b, _) = machine_with_a_want();
    checked(&mut m, vec![want(1, WantKind::Manifest)]);
    let wrong = Event::FetchFailed {
        from: b.id(),
        want: root(1),
        why: FetchFault::Malformed,
    };
    assert!(!m.is_unreadable(&root(1)), "nobody has seen it");
    assert_eq!(fetches(&m.handle(wrong, NOW)), []);
    assert!(m.is_unreadable(&root(1)) && !m.is_unreadable(&root(2)));
    for hours in 1..5 {
        let out = m.handle(Event::Tick, NOW.after_ms(hours * 3_600_000));
        assert_eq!(fetches(&out), []);
    }
    // Nor because a user asks for it again and again.
    let out = m.handle(Event::Need(root(1)), NOW.after_ms(4 * 3_600_000));
    assert_eq!(fetches(&out), []);
    assert!(m.is_unreadable(&root(1)));
    let out = m.handle(
        Event::Received(b.id(), Received::Complete(vec![root(1)])),
        NOW,
    );
    assert_eq!(fetches(&out), []);
}

#[test]
fn a_peer_is_not_shut_out_for_what_an_author_named_wrongly() {
    let shut_out = |why: FetchFault| {
        let (mut m, _, mut b, c) = machine_with_a_want();
        let mut said = Vec::new();
        for n in 20..40 {
            let version = b.version(n, vec![]);
            entries(&mut m, &c, &[&version]);
            let wanted = want(n, WantKind::Manifest);
            m.handle(Event::Checked(wanted, vec![wanted]), NOW);
            let failed = Event::FetchFailed {
                from: b.id(),
                want: wanted,
                why,
            };
            said.extend(m.handle(failed, NOW));
        }
        kinds(&said).contains(&"disconnect")
    };
    assert!(shut_out(FetchFault::Wrong));
    assert!(!shut_out(FetchFault::Malformed));
}

#[test]
fn a_full_disk_pauses_everything() {
    let (mut m, _, b, _) = machine_with_a_want();
    checked(&mut m, vec![want(1, WantKind::Manifest)]);
    let full = Event::FetchFailed {
        from: b.id(),
        want: root(1),
        why: FetchFault::Store,
    };
    assert_eq!(fetches(&m.handle(full, NOW)), []);
    let pause = limits::FETCH_SLOW_MS.1;
    assert_eq!(fetches(&m.handle(Event::Tick, NOW.after_ms(pause - 1))), []);
    assert_eq!(
        fetches(&m.handle(Event::Tick, NOW.after_ms(pause))).len(),
        1
    );
}

#[test]
fn requests_are_bounded_and_move_to_others_when_a_link_goes() {
    let (mut m, _, b, c) = machine_with_a_want();
    let most = limits::FETCH_IN_FLIGHT_PER_PEER_MAX;
    let number = |n: usize| {
        let mut id = [7; 32];
        id[..8].copy_from_slice(&n.to_be_bytes());
        Want::data(ChunkId(id))
    };
    let missing: Vec<Want> = (0..most + 100).map(number).collect();
    let out = checked(&mut m, missing.clone());
    let asked: usize = fetches(&out).iter().map(|(_, c)| c.len()).sum();
    assert_eq!(asked, most);
    let order = fetches(&out).into_iter().flat_map(|(_, c)| c);
    assert_eq!(
        order.collect::<Vec<_>>(),
        missing[..most].iter().map(|w| w.id).collect::<Vec<_>>(),
        "side by side"
    );
    assert!(
        fetches(&out)
            .iter()
            .all(|(_, c)| c.len() <= limits::FETCH_BATCH_MAX)
    );
    let whole = Event::Received(c.id(), Received::Complete(vec![root(1)]));
    let out = m.handle(whole, NOW);
    let to_c: usize = fetches(&out)
        .iter()
        .filter(|(d, _)| *d == c.id())
        .map(|(_, c)| c.len())
        .sum();
    assert_eq!(to_c, 100, "the rest is c's");
    let out = m.handle(Event::PeerDown(b.id()), NOW);
    let more: usize = fetches(&out).iter().map(|(_, c)| c.len()).sum();
    assert_eq!(more, most - 100, "as much as c may have under way");
    assert_eq!(m.load().in_flight, most);
}

#[test]
fn a_superseded_version_is_not_fetched_further_unless_asked_for() {
    let (mut m, _, mut b, _) = machine_with_a_want();
    checked(&mut m, vec![want(1, WantKind::Manifest)]);
    let first = m.session(&session()).unwrap().latest().unwrap().id;
    let next = b.version(2, vec![first]);
    let out = entries(&mut m, &b, &[&next]);
    assert!(out.contains(&Effect::Check(want(2, WantKind::Manifest))));
    assert_eq!(m.progress(&root(1)), None);
    let out = m.handle(Event::Need(want(1, WantKind::Manifest)), NOW);
    assert!(out.contains(&Effect::Check(want(1, WantKind::Manifest))));
    let out = checked(&mut m, vec![]);
    assert_eq!(notices(&out), [Notice::Complete(session(), first)]);
}

#[test]
fn a_chunk_that_got_lost_is_fetched_again() {
    let (mut m, ..) = machine_with_a_want();
    checked(&mut m, vec![]);
    assert!(m.is_complete(&root(1)));
    m.handle(Event::Need(want(1, WantKind::Manifest)), NOW);
    let out = checked(&mut m, vec![want(40, WantKind::Data)]);
    assert_eq!(fetches(&out).len(), 1);
    assert!(!m.is_complete(&root(1)));
}

#[test]
fn wants_beyond_their_bound_are_looked_for_again() {
    let (mut m, _, b, _) = machine_with_a_want();
    let many: Vec<Want> = (0..limits::WANTS_MAX as u32 + 5)
        .map(|n| Want {
            id: ChunkId::of(&n.to_le_bytes()),
            kind: WantKind::Data,
        })
        .collect();
    checked(&mut m, many.clone());
    assert_eq!(m.load().wants, limits::WANTS_MAX);
    let mut out = Vec::new();
    for want in many.into_iter().take(limits::WANTS_MAX) {
        out = m.handle(came(want, vec![]), NOW);
    }
    assert!(
        out.contains(&Effect::Check(want(1, WantKind::Manifest))),
        "{out:?}"
    );
    assert!(!m.is_complete(&root(1)));
    assert_eq!(m.peers().iter().filter(|p| p.device == b.id()).count(), 1);
}

#[test]
fn recovery_begins_with_a_look_into_the_store() {
    let (mut a, mut b) = (Pen::new(1), Pen::new(2));
    let trust = a.trust(b.id());
    let stored = recovered(&a, vec![trust, b.version(1, vec![]), b.mark()]);
    let mut m = Machine::recover(a.id(), stored.clone(), 7);
    assert_eq!(m.start(NOW), [Effect::Check(want(1, WantKind::Manifest))]);
    assert!(m.session(&session()).unwrap().done());
    let whole = Recovered {
        complete: BTreeSet::from([root(1)]),
        ..stored
    };
    let mut m = Machine::recover(a.id(), whole, 7);
    assert_eq!(m.start(NOW), []);
    // A new link learns of which heads are whole here.
    let out = link(&mut m, &b, &[(&b, 2)]);
    let told = Effect::Send(b.id(), Message::Digests(Digests::of(&[root(1)])));
    assert!(out.contains(&told), "{out:?}");
}

#[test]
fn the_same_events_give_the_same_effects() {
    let run = || {
        let (mut m, _, b, c) = machine_with_a_want();
        let mut out = checked(&mut m, (1..60).map(|n| want(n, WantKind::Data)).collect());
        let failed = Event::FetchFailed {
            from: b.id(),
            want: want(4, WantKind::Data),
            why: FetchFault::NotHeld,
        };
        out.extend(m.handle(failed, NOW));
        out.extend(m.handle(Event::PeerDown(c.id()), NOW));
        out.extend(m.handle(Event::Tick, NOW.after_ms(70_000)));
        format!("{out:?}")
    };
    assert_eq!(run(), run());
}

#[test]
fn links_and_epochs_are_bounded() {
    let mut a = Pen::new(1);
    let others: Vec<Pen> = (2..=limits::PEERS_MAX as u8 + 2).map(Pen::new).collect();
    let mut m = machine(&mut a, &others.iter().collect::<Vec<_>>());
    let mut last = Vec::new();
    for other in &others {
        last = m.handle(Event::PeerUp(other.id()), NOW);
    }
    let refused = others.last().unwrap().id();
    assert_eq!(last, [Effect::Disconnect(refused, Fault::TooMany)]);
    assert_eq!(m.load().peers, limits::PEERS_MAX);
    let b = Pen::new(2);
    for n in 0..=limits::EPOCHS_PER_DEVICE_MAX as u8 {
        let mut pen = Pen::new(2);
        pen.log.epoch = Epoch([n; 16]);
        let entry = pen.mark();
        entries(&mut m, &b, &[&entry]);
    }
    let logs = m.frontier().0.keys().filter(|l| l.device == b.id()).count();
    assert_eq!(logs, limits::EPOCHS_PER_DEVICE_MAX);
}

/// 100,000 entries in less than a second is what the driver counts on; here the
/// bound is on work, not on time: a tenth of it, in one go.
#[test]
fn recovery_of_many_entries_is_one_pass() {
    let (mut a, b) = (Pen::new(1), Pen::new(2));
    let mut list = vec![a.trust(b.id())];
    let mut prev = EntryHash::ZERO;
    let mut last: Option<EntryHash> = None;
    for n in 1..=10_000u64 {
        let payload = version((n % 250) as u8, last.into_iter().collect());
        let bytes = payload.to_bytes(Timestamp(n));
        let header = Header {
            version: ENTRY_VERSION,
            log: b.log,
            seq: Seq(n),
            prev,
            lamport: n,
            payload_hash: *blake3::hash(&bytes).as_bytes(),
            payload_len: bytes.len() as u32,
        };
        let signed = SignedEntry {
            header: crate::codec::encode(&header),
            signature: ([0; 32], [0; 32]),
            payload: Some(bytes),
        };
        let entry = signed.verified_by_store().unwrap();
        prev = entry.hash();
        last = Some(prev);
        list.push(entry);
    }
    let mut m = Machine::recover(a.id(), recovered(&a, list), 7);
    assert_eq!(m.frontier().get(&b.log), Seq(10_000));
    assert_eq!(m.start(NOW).len(), 1, "only the head is looked for");
}
