//! What a paired device can do with signatures: say old things again, speak for
//! others, and say two things under one number. Real links, whole machines.

use ccpeer_core::entry::{EntryError, TrustChange};
use ccpeer_core::sync::effect::{Fault, Notice};

use super::frames::{faulty_connection, patient};
use super::node::{Author, Node, author_log, meet, sync};
use super::*;
use crate::{DownReason, LinkFault};

async fn start(n: u8, trusted: &[u8]) -> Node {
    Node::start_with(n, trusted, config(n, trusted), patient()).await
}

/// A hostile device on a live link.
struct Hostile {
    n: u8,
    raw: Raw,
    links: Vec<(u8, Connection, mpsc::UnboundedSender<Message>)>,
}

impl Hostile {
    async fn start(n: u8) -> Self {
        Self {
            n,
            raw: Raw::start(n, &[]).await,
            links: Vec::new(),
        }
    }

    async fn link(&mut self, to: &Node) {
        let (conn, mut send, mut recv) = self.raw.link_at(self.n, to.n, to.addr()).await;
        let (say, mut said) = mpsc::unbounded_channel::<Message>();
        tokio::spawn(async move {
            while let Some(message) = said.recv().await {
                if send.write_all(&framed(&message.to_bytes())).await.is_err() {
                    return;
                }
            }
        });
        let pong = say.clone();
        tokio::spawn(async move {
            let limit = ccpeer_core::limits::MESSAGE_BYTES_MAX;
            while let Ok(frame) = crate::frame::read_frame(&mut recv, limit, None, DEADLINE).await {
                if let Ok(Message::Ping(n)) = Message::from_bytes(&frame) {
                    let _ = pong.send(Message::Pong(n));
                }
            }
        });
        to.linked_with(self.n).await;
        self.links.push((to.n, conn, say));
    }

    fn say(&self, to: &Node, message: Message) {
        let (_, _, say) = self.links.iter().rfind(|(n, ..)| *n == to.n).unwrap();
        say.send(message).unwrap();
    }

    fn entries(&self, to: &Node, entries: &[SignedEntry]) {
        self.say(to, Message::Entries(entries.to_vec()));
    }
}

/// A log of five entries: a description, trust given and taken, two versions.
fn history(n: u8) -> (Author, Vec<SignedEntry>) {
    let mut author = Author::new(n);
    let entries = vec![
        author.device(),
        author.trust(1),
        author.trust(9),
        author.version(n),
        author.revoke(9),
    ];
    (author, entries)
}

#[tokio::test]
async fn k_n12_what_was_said_before_changes_nothing() {
    let (victim, honest) = (start(1, &[2, 66]).await, start(2, &[1]).await);
    meet(&victim, &honest).await;
    let mut hostile = Hostile::start(66).await;
    hostile.link(&victim).await;
    let (mut author, entries) = history(66);
    hostile.entries(&victim, &entries);
    until("its log", || victim.holds(&author.log) == 5).await;
    // The victim takes trust back; what it said before is still there to replay.
    victim.state(&Payload::Trust(TrustChange::add(device(7))));
    victim.state(&Payload::Trust(TrustChange::Revoke(device(7))));
    sync(&honest, &victim, b"in between").await;

    let before = victim.standing();
    let notices = victim.seen().notices.len();
    // Older valid entries, in every order; the victim's own older membership;
    // entries of a third device that it holds already.
    for start in 0..entries.len() {
        hostile.entries(&victim, &entries[start..]);
        hostile.entries(&victim, &entries[..=start]);
    }
    hostile.entries(&victim, &entries.iter().rev().cloned().collect::<Vec<_>>());
    let own = victim.log(&victim.own_log());
    hostile.entries(&victim, &own);
    hostile.entries(&victim, &own[1..2]);
    hostile.entries(&victim, &victim.log(&honest.own_log()));
    // Older heads: of its own log, of the victim's, and of nobody's at all.
    for seq in [4, 1, 0] {
        let mut heads = vec![held(author.log, seq), held(victim.own_log(), seq)];
        heads.sort();
        hostile.say(&victim, Message::Have(heads));
    }
    hostile.say(&victim, Message::Have(Vec::new()));
    // Entries come in order on one link: this one is the last.
    let last = author.version(5);
    hostile.entries(&victim, std::slice::from_ref(&last));
    until("the last one", || victim.holds(&author.log) == 6).await;
    let after = victim.standing();
    let told = &victim.seen().notices[notices..];
    assert!(
        told.iter()
            .all(|n| matches!(n, Notice::Session(s) | Notice::Complete(s, _) if s.0 == [5; 16])),
        "{told:?}"
    );
    assert_eq!(after.log(&author.log)[..5], *before.log(&author.log));
    assert_eq!(after.beside(&author.log), before.beside(&author.log));
    assert!(!victim.seen().notices.contains(&Notice::OwnLogBehind));
    assert_eq!(
        victim.seen().links_of(66),
        (1, vec![]),
        "a replay is no fault"
    );

    // Nor does it after the link was made anew.
    let before = victim.standing();
    hostile.link(&victim).await;
    hostile.entries(&victim, &entries);
    hostile.entries(&victim, &own);
    hostile.say(&victim, Message::Have(Vec::new()));
    sync(&honest, &victim, b"afterwards").await;
    until("the honest log", || {
        victim.holds(&honest.own_log()) == honest.holds(&honest.own_log())
    })
    .await;
    assert_eq!(victim.standing().log(&author.log), before.log(&author.log));
    assert_eq!(
        victim.standing().log(&victim.own_log()),
        before.log(&victim.own_log())
    );
}

#[tokio::test]
async fn k_n13_nobody_speaks_for_another() {
    let (victim, honest) = (start(1, &[2, 66]).await, start(2, &[1]).await);
    meet(&victim, &honest).await;
    let raw = Raw::start(66, &[]).await;
    faulty_connection(&raw, 66, &victim, &[0; 4]).await;

    // The next entry of the honest device's log, as it would write it.
    let mut author = Author::new(2);
    let known = victim.log(&author.log);
    author.seq = known.len() as u64;
    author.prev = known.last().unwrap().hash();
    let genuine = author.clone().version(1);
    let header = &genuine.header;
    let signed_by = |n: u8, domain: &[u8]| {
        use ed25519_dalek::Signer;
        let bytes = key(n).sign(&[domain, header].concat()).to_bytes();
        let (a, b) = bytes.split_at(32);
        SignedEntry {
            signature: (a.try_into().unwrap(), b.try_into().unwrap()),
            ..genuine.clone()
        }
    };
    let domain = ccpeer_core::entry::SIGNATURE_DOMAIN;
    assert_eq!(signed_by(2, domain), genuine);
    let mut flipped = genuine.clone();
    flipped.signature.1[31] ^= 0x80;
    let mut borrowed = genuine.clone();
    borrowed.signature = known[0].signature;
    let cases = [
        ("nobody's signature", flipped),
        ("the signature of another entry", borrowed),
        ("the sender's own signature", signed_by(66, domain)),
        ("no domain", signed_by(2, b"")),
        (
            "the domain of pairing",
            signed_by(2, b"ccpeer/pair/v1 joiner\0"),
        ),
        (
            "another version of the domain",
            signed_by(2, b"ccpeer/entry/v2\0"),
        ),
        (
            "a domain cut short",
            signed_by(2, &domain[..domain.len() - 1]),
        ),
    ];
    let before = victim.standing();
    for (what, forged) in cases {
        let bytes = framed(&Message::Entries(vec![forged]).to_bytes());
        let reason = faulty_connection(&raw, 66, &victim, &bytes).await;
        assert_eq!(
            reason,
            DownReason::Fault(LinkFault::Entry(EntryError::Signature)),
            "{what}"
        );
        assert_eq!(victim.standing(), before, "{what}");
    }

    // An older key of the same person (77): its signatures are right, but nobody
    // here trusts it. The sender is blamed until its link ends.
    let mut hostile = Hostile::start(66).await;
    hostile.link(&victim).await;
    let old = history(77).1;
    for _ in 0..ccpeer_core::limits::FAULTS_MAX {
        hostile.entries(&victim, &old);
    }
    until("the end of its link", || {
        let blamed = (device(66), Fault::ForeignLog);
        victim.seen().disconnected.contains(&blamed)
    })
    .await;
    assert_eq!(victim.standing(), before);
    sync(&honest, &victim, b"afterwards").await;
}

/// One author, two stories: the honest devices find out among themselves.
#[tokio::test]
async fn k_n14_two_entries_under_one_number_are_found_out_everywhere() {
    let nodes = [
        start(1, &[2, 3, 66]).await,
        start(2, &[1, 3, 66]).await,
        start(3, &[1, 2, 66]).await,
    ];
    let [a, b, c] = &nodes;
    let mut author = Author::new(66);
    let mut log = vec![author.device()];
    log.extend([1, 2, 3].map(|n| author.trust(n)));
    // Two branches of the same length.
    let (mut one, mut other) = (author.clone(), author);
    let branches = [
        vec![one.version(1), one.version(2)],
        vec![other.version(3), other.version(4)],
    ];
    let mut hostile = Hostile::start(66).await;
    for (node, branch) in [(a, &branches[0]), (b, &branches[1])] {
        hostile.link(node).await;
        hostile.entries(node, &log);
        hostile.entries(node, branch);
    }
    let log_id = author_log(66);
    until("both branches", || {
        a.holds(&log_id) == 6 && b.holds(&log_id) == 6
    })
    .await;
    meet(a, b).await;
    meet(b, c).await;
    meet(a, c).await;
    let began = std::time::Instant::now();
    until("the fork to be seen everywhere", || {
        let told = Notice::Equivocation(log_id);
        nodes.iter().all(|n| n.seen().notices.contains(&told))
    })
    .await;
    println!("K-N14: seen by all after {:.0?}", began.elapsed());
    // Nothing was lost: both branches are held, each by who had it first, and the
    // third device holds one of them.
    assert_eq!(a.log(&log_id)[4..], branches[0]);
    assert_eq!(b.log(&log_id)[4..], branches[1]);
    let third = c.log(&log_id);
    assert!(third[4..] == branches[0] || third[4..] == branches[1]);
    // And everything else goes on.
    sync(a, b, b"afterwards").await;
    sync(c, a, b"afterwards too").await;
}
