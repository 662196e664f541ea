//! Bytes that are almost right, lengths that nobody has memory for, and second
//! spellings: what a paired device can put into the decoders of a link.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use ccpeer_core::codec::{self, DecodeError};
use ccpeer_core::entry::EntryError;
use ccpeer_core::id::SessionId;
use ccpeer_core::manifest::{ListPage, Manifest, Want};
use ccpeer_core::{entry, limits};

use super::alone::{Rss, alone, attack, number, path_of_test, target};
use super::node::{Author, Node, manifest, meet, sync, version};
use super::*;
use crate::chunks::tests::{announced, answered};
use crate::{DownReason, LinkFault, chunks, link, probe};

/// Numbers that are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(n).unwrap()).unwrap()
    }

    /// Something that was right, changed in a few places: flipped bits, extreme
    /// bytes, pieces cut out, repeated, or taken from elsewhere.
    fn mutated(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = corpus[self.below(corpus.len())].clone();
        for _ in 0..=self.below(4) {
            if bytes.is_empty() {
                break;
            }
            let at = self.below(bytes.len());
            let len = 1 + self.below((bytes.len() - at).min(64));
            match self.below(8) {
                0..=2 => bytes[at] ^= 1 << self.below(8),
                3 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][self.below(5)],
                4 => bytes.truncate(at + 1),
                5 => drop(bytes.drain(at..at + len)),
                6 => {
                    let again = bytes[at..at + len].to_vec();
                    bytes.splice(at..at, again);
                }
                _ => {
                    let other = &corpus[self.below(corpus.len())];
                    let from = self.below(other.len());
                    let piece = &other[from..other.len().min(from + len)];
                    bytes.splice(at..at, piece.iter().copied());
                }
            }
        }
        bytes
    }
}

/// Whether a task has panicked.
fn count_panics() -> Arc<AtomicUsize> {
    let panics = Arc::new(AtomicUsize::new(0));
    let (count, before) = (Arc::clone(&panics), std::panic::take_hook());
    std::panic::set_hook(Box::new(move |info| {
        count.fetch_add(1, Ordering::SeqCst);
        before(info);
    }));
    panics
}

/// Nobody is kept out for long: there is much to try.
pub(super) fn patient() -> Timing {
    Timing {
        fault_pause: (Duration::ZERO, Duration::ZERO),
        ..Timing::default()
    }
}

pub(super) const HOSTILE: [u8; 4] = [66, 67, 68, 69];

/// A device (1) with an honest peer (2), which trusts hostile ones too.
pub(super) async fn victim_and_honest() -> (Arc<Node>, Arc<Node>) {
    let trusted = [2, 66, 67, 68, 69];
    let victim = Node::start_with(1, &trusted, config(1, &trusted), patient()).await;
    let (victim, honest) = (Arc::new(victim), Arc::new(Node::start(2, &[1]).await));
    meet(&victim, &honest).await;
    sync(&honest, &victim, b"before anything happens").await;
    (victim, honest)
}

/// What an honest device captures while others attack, and how long the slowest
/// one took until it was whole at the victim.
pub(super) struct Alongside {
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<(u32, Duration)>,
}

impl Alongside {
    pub(super) fn begin(honest: &Arc<Node>, victim: &Arc<Node>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (honest, victim, stopped) = (Arc::clone(honest), Arc::clone(victim), stop.clone());
        let task = tokio::spawn(async move {
            let mut pace = tokio::time::interval(Duration::from_millis(100));
            let (mut count, mut slowest) = (0, Duration::ZERO);
            while !stopped.load(Ordering::Relaxed) || count == 0 {
                pace.tick().await;
                count += 1;
                let content = format!("turn {count}").repeat(50);
                slowest = slowest.max(sync(&honest, &victim, content.as_bytes()).await);
            }
            (count, slowest)
        });
        Self { stop, task }
    }

    pub(super) async fn end(self) -> (u32, Duration) {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap()
    }
}

/// Every kind of message, with a little of everything in it.
fn messages() -> Vec<Vec<u8>> {
    let mut author = Author::new(66);
    let entries = vec![
        author.device(),
        author.trust(1),
        author.version(1),
        author.revoke(9),
        author.write(&version(SessionId([2; 16]), None, &[author.prev])),
    ];
    let log = author.log;
    let other = super::node::author_log(2);
    let mut frontier = vec![held(log, 3), held(other, 1)];
    frontier.sort();
    [
        Message::Hello(hello(66)),
        Message::Have(frontier),
        Message::Entries(entries.clone()),
        Message::Entries(entries[..1].to_vec()),
        Message::Complete(vec![
            Want::manifest(ChunkId([1; 32])),
            Want::data(ChunkId([2; 32])),
        ]),
        Message::Ping(7),
        Message::Pong(u64::MAX),
        Message::Parcel(
            [
                crate::chunks::Request::plain(vec![ChunkId([1; 32])]).encode(),
                vec![0; 9],
            ]
            .concat(),
        ),
    ]
    .map(|m| m.to_bytes())
    .to_vec()
}

#[test]
fn k_n01_mutated_frames_end_links_and_nothing_else() {
    let test = path_of_test!(k_n01_mutated_frames_end_links_and_nothing_else);
    alone(test, k_n01);
}

/// Most frames go through the decoders of one link, the rest through connections
/// of their own, because each that is wrong ends its connection. Those who send
/// them are in a process of their own.
async fn k_n01() {
    let test = path_of_test!(k_n01_mutated_frames_end_links_and_nothing_else);
    let frames = number("CCPEER_FRAMES", 5_000);
    let whole = (frames / 50).max(100);
    if let Some(addr) = target() {
        return over_connections(addr, whole).await;
    }
    let panics = count_panics();
    let (victim, honest) = victim_and_honest().await;
    let raw = Raw::start(HOSTILE[0], &[]).await;
    let warm = framed(&Message::Ping(1).to_bytes());
    whole_connection(&raw, HOSTILE[0], victim.addr(), &warm).await;
    let rss = Rss::now();
    let alongside = Alongside::begin(&honest, &victim);

    let began = Instant::now();
    let ended = through_decoders(&victim, &raw, frames - whole).await;
    let decoders = began.elapsed();
    let began = Instant::now();
    attack(test, victim.addr()).await;
    let connections = began.elapsed();

    let (syncs, slowest) = alongside.end().await;
    let grown = rss.grown();
    println!(
        "K-N01: {} frames through the decoders in {decoders:.1?} ({ended} ended the link), {whole} \
         over connections of their own in {connections:.1?}; memory +{grown} KiB; {syncs} honest \
         syncs meanwhile, the slowest in {slowest:.0?}; {} panics",
        frames - whole,
        panics.load(Ordering::SeqCst)
    );
    assert_eq!(panics.load(Ordering::SeqCst), 0);
    assert!(slowest <= Duration::from_secs(2), "{slowest:?}");
    assert!(grown <= 32 * 1024, "{grown} KiB");
    assert_eq!(victim.net.stats().refused, 0);
}

/// Four hostile devices at once.
async fn over_connections(addr: SocketAddr, count: usize) {
    let mut attacks = tokio::task::JoinSet::new();
    for n in HOSTILE {
        attacks.spawn(async move {
            let raw = Raw::start(n, &[]).await;
            let (mut dice, corpus) = (Dice(u64::from(n)), messages());
            for _ in 0..count / HOSTILE.len() {
                let bytes = framed(&dice.mutated(&corpus));
                whole_connection(&raw, n, addr, &bytes).await;
            }
        });
    }
    while let Some(done) = attacks.join_next().await {
        done.unwrap();
    }
}

/// Links, says this, and sees the end of the connection.
async fn whole_connection(raw: &Raw, n: u8, victim: SocketAddr, bytes: &[u8]) {
    let (conn, mut send, _recv) = raw.link_at(n, 1, victim).await;
    let _ = send.write_all(bytes).await;
    let _ = send.finish();
    within("the end", conn.closed()).await;
}

/// The same with something that is a fault: why the link ended.
pub(super) async fn faulty_connection(raw: &Raw, n: u8, victim: &Node, bytes: &[u8]) -> DownReason {
    let links = || victim.seen().links_of(n);
    until("the end of the link before", || {
        links().0 == links().1.len()
    })
    .await;
    let (before, _) = links();
    let (conn, mut send, _recv) = raw.link_at(n, victim.n, victim.addr()).await;
    let _ = send.write_all(bytes).await;
    within("the end", conn.closed()).await;
    until("the end to be told", || links().1.len() > before).await;
    links().1[before]
}

/// Gives frames to what reads a live link, one after the other, as if each came
/// on a stream of its own. Returns how many would have ended the link.
async fn through_decoders(victim: &Arc<Node>, raw: &Raw, frames: usize) -> usize {
    let (conn, send, recv) = raw.link_at(HOSTILE[0], victim.n, victim.addr()).await;
    let _pings = answer_pings(send, recv);
    let board = &victim.net.0.board;
    until("the link", || board.link(&device(HOSTILE[0])).is_some()).await;
    let link = board.link(&device(HOSTILE[0])).unwrap();
    let context = victim.net.0.links.clone();
    let timing = Timing::default();

    let messages = messages();
    let content = vec![b'x'; 4000];
    let noise = super::transfer::noise(4000);
    let answers = vec![
        announced(1, 4000, &content),
        announced(1, 4000, &noise),
        answered(&[&[0], &[2], &4000u32.to_le_bytes(), &content, &[3]]),
    ];
    let ids = vec![ChunkId([1; 32]); 3];
    let asked = chunks::Request {
        ids: ids.clone(),
        near: ids.clone(),
        since: Some(ids[0]),
    };
    let requests = vec![[&[2][..], &codec::encode(&asked)].concat()];
    let pairing = vec![crate::pairing::inviter::sample_start()];

    let (mut dice, mut ended) = (Dice(0x9e37_79b9_7f4a_7c15), 0);
    for _ in 0..frames {
        match dice.below(20) {
            0..=12 => {
                let mut bytes = framed(&dice.mutated(&messages));
                // Its length may lie as well.
                if dice.below(4) == 0 {
                    let at = dice.below(4);
                    bytes[at] ^= 1 << dice.below(8);
                }
                if dice.below(2) == 0 {
                    bytes.extend(framed(&messages[dice.below(messages.len())]));
                }
                ended += usize::from(link::listen(&link, &bytes[..], &context).await.is_some());
            }
            13..=15 => {
                let bytes = dice.mutated(&answers);
                let mut read = chunks::Answers::new(&bytes[..], &[], &asked, timing);
                let heard = async { read.next().await.is_ok() && read.along().await.is_ok() };
                ended += usize::from(!heard.await);
            }
            16..=18 => {
                let bytes = framed(&dice.mutated(&requests));
                let read = chunks::read_request(&mut &bytes[..], timing.progress).await;
                ended += usize::from(read.is_err());
            }
            _ => ended += usize::from(probe::pairing_message(&dice.mutated(&pairing)).is_none()),
        }
    }
    assert_eq!(conn.close_reason(), None, "the link itself still stands");
    conn.close(0u32.into(), b"");
    ended
}

#[test]
fn k_n02_lengths_that_nobody_has_memory_for() {
    alone(
        path_of_test!(k_n02_lengths_that_nobody_has_memory_for),
        k_n02,
    );
}

async fn k_n02() {
    let (victim, honest) = victim_and_honest().await;
    let raw = Raw::start(66, &[]).await;
    whole_connection(
        &raw,
        66,
        victim.addr(),
        &framed(&Message::Ping(1).to_bytes()),
    )
    .await;
    let rss = Rss::now();
    let narrow = |n: u32| n.to_le_bytes().to_vec();
    // What longer fields would be is read as ours: four bytes.
    let wide = |n: u64| n.to_le_bytes().to_vec();
    let prefixes = [
        narrow(1 << 31),
        narrow(u32::MAX),
        narrow(u32::try_from(limits::MESSAGE_BYTES_MAX).unwrap() + 1),
        narrow(0),
        wide(1 << 63),
        wide(u64::MAX),
        wide(1 << 31),
    ];
    for prefix in prefixes {
        // On the control stream of a link, and instead of the first word on it.
        let reason = faulty_connection(&raw, 66, &victim, &prefix).await;
        assert!(
            matches!(reason, DownReason::Fault(LinkFault::FrameLength { .. })),
            "{reason:?}"
        );
        let conn = raw.connect_at(1, victim.addr(), SYNC_ALPN).await;
        let (mut send, _recv) = conn.open_bi().await.unwrap();
        let _ = send.write_all(&prefix).await;
        within("the end", conn.closed()).await;
        // On a chunk stream.
        let (conn, send, recv) = raw.link_at(66, 1, victim.addr()).await;
        let _pings = answer_pings(send, recv);
        let (mut send, _recv) = conn.open_bi().await.unwrap();
        let _ = send.write_all(&prefix).await;
        within("the end", conn.closed()).await;
    }
    // Lengths inside a frame: of a list, of a text, of a header.
    for inner in [1u64 << 31, u64::from(u32::MAX), 1 << 63, u64::MAX] {
        let len = codec::encode(&inner);
        for start in [&[1, 1][..], &[1, 2], &[1, 3], &[1, 2, 1], &[1, 0]] {
            let mut body = [start, &[7; 16][..if start == [1, 0] { 16 } else { 0 }]].concat();
            body.extend(&len);
            body.extend([0; 64]);
            whole_connection(&raw, 66, victim.addr(), &framed(&body)).await;
        }
        assert_eq!(
            Manifest::from_bytes(&[&[1][..], &[0; 16], &len].concat()).ok(),
            None
        );
        assert_eq!(ListPage::from_bytes(&[&[1][..], &len].concat()).ok(), None);
        assert_eq!(probe::pairing_message(&[&[1, 0][..], &len].concat()), None);
    }
    // In answers to what the victim asks for.
    let (wrong, max) = (ChunkId([9; 32]), u32::MAX.to_le_bytes());
    let half = (1u32 << 31).to_le_bytes();
    for status in [1u8, 2] {
        for len in [max, half] {
            let (conn, send, recv) = raw.link_at(66, 1, victim.addr()).await;
            let _pings = answer_pings(send, recv);
            until("the link", || {
                victim.net.0.board.link(&device(66)).is_some()
            })
            .await;
            let mut answers = victim
                .net
                .fetch(device(66), vec![super::node::manifest_want(wrong)]);
            let (mut send, _recv) = within("the request", conn.accept_bi()).await.unwrap();
            let _ = send.write_all(&answered(&[&[status], &len])).await;
            let (_, result) = within("an answer", answers.recv()).await.unwrap();
            assert!(result.is_err());
            within("the end", conn.closed()).await;
        }
    }
    // On the stream of a stranger while an invitation stands.
    let stranger = Raw::start(99, &[]).await;
    let _invite = victim
        .net
        .invite(crate::InviteOptions::default())
        .await
        .unwrap();
    for prefix in [
        narrow(1 << 31),
        narrow(u32::MAX),
        wide(u64::MAX),
        narrow(1025),
    ] {
        let conn = stranger
            .connect_at(1, victim.addr(), crate::PAIR_ALPN)
            .await;
        let (mut send, _recv) = conn.open_bi().await.unwrap();
        let _ = send.write_all(&prefix).await;
        within("the end", conn.closed()).await;
    }
    let grown = rss.grown();
    println!("K-N02: memory +{grown} KiB");
    assert!(grown <= 16 * 1024, "{grown} KiB");
    assert_eq!(victim.net.stats().pair_attempts, 0);
    sync(&honest, &victim, b"afterwards").await;
}

/// Nothing that a peer sends is of a recursive type, and none of it is JSON.
#[tokio::test]
async fn k_n03_a_run_of_ones_and_deep_nesting() {
    let ones = vec![1u8; 4 << 20];
    // Whole, in the longest frame, and at each decoder's own limit.
    assert!(matches!(
        probe::control(&framed(&ones)),
        Err((0, LinkFault::FrameLength { .. }))
    ));
    assert!(probe::control(&ones).is_err());
    for bytes in [&ones[..], &vec![b'['; 200_000], &vec![0x81; 200_000]] {
        let upto = |n: usize| &bytes[..n.min(bytes.len())];
        for len in [1, 2, 33, 1000, limits::MESSAGE_BYTES_MAX] {
            assert!(probe::control(&framed(upto(len))).is_err());
            assert_eq!(probe::chunk_request(&framed(upto(len))), None);
            assert_eq!(probe::pairing_message(upto(len)), None);
        }
        assert_eq!(probe::chunk_answer(bytes, &ChunkId([1; 32])), None);
        assert!(!probe::record_of_bytes(bytes));
        assert!(!probe::pairing_secret(&String::from_utf8_lossy(bytes)));
        assert!(Manifest::from_bytes(upto(limits::MANIFEST_BYTES_MAX)).is_err());
        assert!(ListPage::from_bytes(upto(limits::CHUNK_BYTES_MAX)).is_err());
        let header = upto(limits::HEADER_BYTES_MAX).to_vec();
        let hostile = SignedEntry {
            header,
            signature: ([1; 32], [1; 32]),
            payload: Some(upto(limits::PAYLOAD_BYTES_MAX).to_vec()),
        };
        assert!(hostile.verify().is_err());
    }
    // And over a link: 4 MB of it on the control stream.
    let (mut a, b) = pair_of(1, 2).await;
    let raw = Raw::start(66, &[]).await;
    a.trust(&[2, 66]);
    let (conn, mut send, _recv) = raw.link(66, &a).await;
    a.up(66).await;
    let _ = send.write_all(&ones).await;
    assert!(matches!(a.down(66).await, DownReason::Fault(_)));
    within("the end", conn.closed()).await;
    assert!(b.net.send(device(1), marked(1)));
    a.received(2).await;
}

/// A second spelling of something that is signed and otherwise in order.
#[tokio::test]
async fn k_n04_second_spellings_of_signed_entries_are_not_stored() {
    let author = Author::new(66);
    let sign = |header: Vec<u8>, payload: Vec<u8>| {
        use ed25519_dalek::Signer;
        let signed = [entry::SIGNATURE_DOMAIN, &header].concat();
        let bytes = key(66).sign(&signed).to_bytes();
        let (a, b) = bytes.split_at(32);
        SignedEntry {
            header,
            signature: (a.try_into().unwrap(), b.try_into().unwrap()),
            payload: Some(payload),
        }
    };
    let payload = version(SessionId([1; 16]), None, &[]).to_bytes(Timestamp(0));
    let header = codec::encode(&author.header(&payload));
    assert!(sign(header.clone(), payload.clone()).verify().is_ok());
    // The number of the entry stands after version, device and epoch.
    let seq_at = 1 + 32 + 16;
    assert_eq!(header[seq_at], 1);
    let overlong = [&header[..seq_at], &[0x81, 0], &header[seq_at + 1..]].concat();
    let trailing = [&header[..], &[0]].concat();
    // The payload begins with its version and a label in time.
    assert_eq!(payload[..3], [1, 0, 2]);
    let with_payload = |p: Vec<u8>| sign(codec::encode(&author.header(&p)), p);
    let cases = [
        (
            sign(overlong, payload.clone()),
            "an overlong number in the header",
        ),
        (sign(trailing, payload.clone()), "a byte after the header"),
        (
            with_payload([&payload[..], &[0]].concat()),
            "a byte after the payload",
        ),
        (
            with_payload([&[1, 0x80, 0][..], &payload[2..]].concat()),
            "an overlong number in the payload",
        ),
        (
            with_payload([&[1, 0, 0x82, 0][..], &payload[3..]].concat()),
            "an overlong kind of the payload",
        ),
    ];
    let (victim, honest) = victim_and_honest().await;
    let raw = Raw::start(66, &[]).await;
    let before = victim.standing();
    for (hostile, what) in cases {
        let error = hostile.clone().verify().err();
        assert!(
            matches!(
                error,
                Some(EntryError::Header(DecodeError::NotCanonical) | EntryError::Payload)
            ),
            "{what}: {error:?}"
        );
        let bytes = framed(&Message::Entries(vec![hostile]).to_bytes());
        let reason = faulty_connection(&raw, 66, &victim, &bytes).await;
        assert!(
            matches!(reason, DownReason::Fault(LinkFault::Entry(_))),
            "{what}: {reason:?}"
        );
        assert_eq!(victim.standing(), before, "{what}");
    }
    // The only map of the protocol: one key twice, and keys out of order.
    let (one, two) = (author.log, super::node::author_log(2));
    let (low, high) = (one.min(two), one.max(two));
    for pairs in [
        vec![held(low, 1), held(low, 1)],
        vec![held(high, 1), held(low, 1)],
    ] {
        let bytes = framed(&Message::Have(pairs).to_bytes());
        let reason = faulty_connection(&raw, 66, &victim, &bytes).await;
        assert_eq!(reason, DownReason::Fault(LinkFault::OutOfPlace));
    }
    assert_eq!(victim.standing(), before);
    // A manifest names each slot once, in order.
    let whole = manifest(SessionId([1; 16]), Vec::new());
    let mut twice = whole.clone();
    twice.files.push(twice.files[0].clone());
    assert!(Manifest::from_bytes(&whole.to_bytes()).is_ok());
    assert!(Manifest::from_bytes(&codec::encode(&twice)).is_err());
    sync(&honest, &victim, b"afterwards").await;
}
