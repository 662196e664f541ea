//! Peers that lie and strangers that insist. Whatever they do costs them their
//! own link; an honest peer beside them notices nothing.

use std::time::Duration;

use ccpeer_core::codec::DecodeError;
use ccpeer_core::entry::EntryError;
use ccpeer_core::limits;
use ccpeer_core::manifest::{Want, WantKind};
use ccpeer_core::sync::event::FetchFault;

use super::*;
use crate::chunks::tests::answered;
use crate::{DownReason, LinkFault};

/// The one who is attacked (1) with an honest peer (2), and a hostile one (66)
/// that it trusts.
async fn scene(timing: Timing) -> (Peer, Peer, Raw) {
    // Nobody is kept out for long: there is much to try.
    let timing = Timing {
        fault_pause: (Duration::ZERO, Duration::ZERO),
        ..timing
    };
    let mut a = Peer::start_with(config(1, &[2, 66]), 1, timing).await;
    let mut honest = Peer::start(2, &[1]).await;
    honest.meet(&a);
    a.up(2).await;
    honest.up(1).await;
    (a, honest, Raw::start(66, &[SYNC_ALPN]).await)
}

async fn still_works(a: &mut Peer, honest: &mut Peer) {
    assert!(honest.net.send(device(1), marked(1)));
    a.received(2).await;
    assert!(a.net.send(device(2), marked(2)));
    honest.received(1).await;
}

fn close_code(conn: &Connection) -> Option<u64> {
    match conn.close_reason() {
        Some(iroh::endpoint::ConnectionError::ApplicationClosed(c)) => {
            Some(c.error_code.into_inner())
        }
        _ => None,
    }
}

#[tokio::test]
async fn k_p07_a_stranger_gets_no_byte_through() {
    // Nobody is linked yet, so every frame that is parsed would be a stranger's.
    let mut a = Peer::start(1, &[2]).await;
    let stranger = Raw::start(99, &[]).await;
    for n in 1..=50 {
        let conn = stranger.connect(&a, SYNC_ALPN).await;
        // The connection seems to stand: say hello and ask for a chunk.
        if let Ok((mut send, _recv)) = conn.open_bi().await {
            let _ = send
                .write_all(&framed(&Message::Hello(hello(99)).to_bytes()))
                .await;
        }
        within("the door", conn.closed()).await;
        assert_eq!(close_code(&conn), Some(403));
        assert_eq!(a.net.stats().refused, n);
    }
    assert_eq!(a.net.stats().frames, 0, "nothing was parsed");
    // Pairing is not even spoken while no invitation stands.
    let id = EndpointId::from_bytes(&device(1).0).unwrap();
    let target = EndpointAddr::new(id).with_ip_addr(a.addr());
    assert!(
        stranger
            .endpoint
            .connect(target, crate::PAIR_ALPN)
            .await
            .is_err()
    );
    let mut honest = Peer::start(2, &[1]).await;
    honest.meet(&a);
    a.up(2).await;
    honest.up(1).await;
    still_works(&mut a, &mut honest).await;
}

#[tokio::test]
async fn what_breaks_the_protocol_ends_the_link() {
    let (mut a, mut honest, hostile) = scene(Timing::default()).await;
    let mut forged = entry(66);
    forged.signature.0[0] ^= 1;
    let mut foreign = entry(66);
    foreign.payload = entry(2).payload;
    let mut trailing = marked(1).to_bytes();
    trailing.push(0);
    let mut newer = marked(1).to_bytes();
    newer[0] = 9;
    let log = entry(66).verify().unwrap().log();
    let message = |m: Message| framed(&m.to_bytes());
    let fault = DownReason::Fault;
    let cases = [
        // K-N02: lengths that nobody has memory for.
        (
            u32::MAX.to_le_bytes().to_vec(),
            LinkFault::FrameLength {
                len: u32::MAX,
                limit: limits::MESSAGE_BYTES_MAX,
            },
            400,
        ),
        (
            (1u32 << 31).to_le_bytes().to_vec(),
            LinkFault::FrameLength {
                len: 1 << 31,
                limit: limits::MESSAGE_BYTES_MAX,
            },
            400,
        ),
        (
            vec![0; 4],
            LinkFault::FrameLength {
                len: 0,
                limit: limits::MESSAGE_BYTES_MAX,
            },
            400,
        ),
        // K-N03: a run of ones.
        (
            framed(&[1; 60_000]),
            LinkFault::Message(DecodeError::NotCanonical),
            400,
        ),
        // K-N04: a second spelling.
        (
            framed(&trailing),
            LinkFault::Message(DecodeError::NotCanonical),
            400,
        ),
        (
            message(Message::Have(vec![held(log, 1), held(log, 2)])),
            LinkFault::OutOfPlace,
            400,
        ),
        (
            framed(&newer),
            LinkFault::Message(DecodeError::Version(9)),
            426,
        ),
        (
            message(Message::Hello(hello(66))),
            LinkFault::OutOfPlace,
            400,
        ),
        // K-N13: a signature that is not the author's, a payload of somebody else.
        (
            message(Message::Entries(vec![forged])),
            LinkFault::Entry(EntryError::Signature),
            400,
        ),
        (
            message(Message::Entries(vec![foreign])),
            LinkFault::Entry(EntryError::Payload),
            400,
        ),
    ];
    for (bytes, expected, code) in cases {
        let (conn, mut send, _recv) = hostile.link(66, &a).await;
        a.up(66).await;
        send.write_all(&bytes).await.unwrap();
        assert_eq!(a.down(66).await, fault(expected));
        within("the end", conn.closed()).await;
        assert_eq!(close_code(&conn), Some(code));
    }
    still_works(&mut a, &mut honest).await;
}

#[tokio::test]
async fn k_n06_silent_and_dripping_peers_are_dropped() {
    let quick = Timing {
        hello: Duration::from_millis(200),
        heartbeat: Duration::from_millis(200),
        silence: Duration::from_millis(300),
        progress: Duration::from_millis(300),
        ..Timing::default()
    };
    let (mut a, mut honest, hostile) = scene(quick).await;
    // No hello at all, with and without a stream.
    let silent = hostile.connect(&a, SYNC_ALPN).await;
    let begun = hostile.connect(&a, SYNC_ALPN).await;
    let (mut send, _recv) = begun.open_bi().await.unwrap();
    send.write_all(&[1]).await.unwrap();
    within("the end of the silent one", silent.closed()).await;
    within("the end of the one who began", begun.closed()).await;
    // A hello, and then no answer to any ping.
    let (_conn, _send, _recv) = hostile.link(66, &a).await;
    a.up(66).await;
    assert_eq!(a.down(66).await, DownReason::Silent);
    // Half a frame; pings are answered by nobody either way.
    let (_conn, mut send, _recv) = hostile.link(66, &a).await;
    a.up(66).await;
    send.write_all(&[5, 0]).await.unwrap();
    let reason = a.down(66).await;
    assert!(
        [DownReason::Fault(LinkFault::FrameCut), DownReason::Silent].contains(&reason),
        "{reason:?}"
    );
    still_works(&mut a, &mut honest).await;
}

#[tokio::test]
async fn k_n07_a_peer_that_does_not_read_loses_its_link() {
    let (mut a, mut honest, hostile) = scene(Timing::default()).await;
    let (_conn, _send, _recv) = hostile.link(66, &a).await;
    a.up(66).await;
    let long = Message::Complete(vec![
        Want::data(ChunkId([1; 32]));
        limits::MESSAGE_ENTRIES_MAX
    ]);
    let mut queued = 0;
    within("an overflow", async {
        while a.net.send(device(66), long.clone()) {
            queued += 1;
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(queued < 5_000, "{queued}");
    assert_eq!(a.down(66).await, DownReason::TooSlow);
    still_works(&mut a, &mut honest).await;
}

/// Links to `a`, takes one request for chunks and answers it with these bytes.
async fn answer_with(
    a: &mut Peer,
    hostile: &Raw,
    ids: &[ChunkId],
    bytes: Vec<u8>,
) -> Vec<Result<Vec<u8>, FetchFault>> {
    let (conn, _send, _recv) = hostile.link(66, a).await;
    a.up(66).await;
    let wants: Vec<Want> = ids
        .iter()
        .map(|id| Want {
            id: *id,
            kind: WantKind::Data,
        })
        .collect();
    let mut answers = a.net.fetch(device(66), wants);
    let (mut send, _recv) = within("the request", conn.accept_bi()).await.unwrap();
    let _ = send.write_all(&bytes).await;
    let _ = send.finish();
    let mut results = Vec::new();
    while let Some((_, result)) = within("an answer", answers.recv()).await {
        results.push(result);
    }
    conn.close(0u32.into(), b"");
    a.down(66).await;
    results
}

#[tokio::test]
async fn k_n05_lying_chunk_streams_cost_the_liar() {
    let (mut a, mut honest, hostile) = scene(Timing::default()).await;
    let good = b"genuine".to_vec();
    let id = ChunkId::of(&good);
    let zeros = vec![0u8; 64 << 20];
    let max = u32::try_from(limits::CHUNK_BYTES_MAX).unwrap();
    let (wrong, link) = (Err(FetchFault::Wrong), Err(FetchFault::Link));
    let genuine = [&[1][..], &7u32.to_le_bytes(), &good].concat();
    let other = [&[1][..], &5u32.to_le_bytes(), b"other"].concat();
    let [long, longer] = [max, max + 1].map(|len| [&[1][..], &len.to_le_bytes()].concat());
    let one = Ok(good.clone());
    let cases = [
        // Content of another id, then the genuine one: the stream goes on.
        (answered(&[&other, &genuine]), [wrong.clone(), one.clone()]),
        // A bomb unpacks to what it announced; what follows it is no answer.
        (
            answered(&[&long, &zeros]),
            [wrong.clone(), Err(FetchFault::NotHeld)],
        ),
        // Lengths out of bounds are not followed.
        (answered(&[&[1], &[0xff; 4]]), [wrong.clone(), link.clone()]),
        (answered(&[&longer, &zeros]), [wrong.clone(), link.clone()]),
        // What no answer can be, packed from what it may not, or not packed.
        (answered(&[&[9], &[0; 4]]), [wrong.clone(), link.clone()]),
        (
            answered(&[&[2], &7u32.to_le_bytes(), &good]),
            [wrong.clone(), link.clone()],
        ),
        (vec![1, 0x28], [wrong.clone(), link.clone()]),
        (vec![7], [wrong.clone(), link.clone()]),
        (b"\0no zstd at all".to_vec(), [wrong.clone(), link.clone()]),
        // It stops in the middle.
        (answered(&[&long, b"gen"]), [link.clone(), link.clone()]),
        (answered(&[&genuine]), [one.clone(), link.clone()]),
        (vec![], [link.clone(), link.clone()]),
        // What nobody asked for comes along.
        (
            answered(&[&genuine, &genuine, &[2], &7u32.to_le_bytes(), &good]),
            [one.clone(), one],
        ),
    ];
    for (n, (bytes, expected)) in cases.into_iter().enumerate() {
        assert_eq!(
            answer_with(&mut a, &hostile, &[id, id], bytes).await,
            expected,
            "case {n}"
        );
    }
    still_works(&mut a, &mut honest).await;
}

#[tokio::test]
async fn requests_out_of_bounds_end_the_link() {
    let (mut a, mut honest, hostile) = scene(Timing::default()).await;
    let ids = vec![ChunkId([0; 32]); limits::FETCH_BATCH_MAX + 1];
    let mut body = vec![2];
    body.extend(ccpeer_core::codec::encode(&crate::chunks::Request::plain(
        ids,
    )));
    for bytes in [
        framed(&body),
        framed(&[2, 0, 0, 0]),
        framed(&[1, 0]),
        framed(&[7, 1]),
        vec![0xff; 4],
    ] {
        let (conn, _send, _recv) = hostile.link(66, &a).await;
        a.up(66).await;
        let (mut send, _recv) = conn.open_bi().await.unwrap();
        send.write_all(&bytes).await.unwrap();
        assert!(matches!(a.down(66).await, DownReason::Fault(_)));
    }
    still_works(&mut a, &mut honest).await;
}

#[tokio::test]
async fn whoever_broke_the_protocol_is_kept_out_for_a_while() {
    let mut a = Peer::start(1, &[66]).await;
    let hostile = Raw::start(66, &[]).await;
    let (conn, mut send, _recv) = hostile.link(66, &a).await;
    a.up(66).await;
    send.write_all(&[0xff; 4]).await.unwrap();
    assert!(matches!(a.down(66).await, DownReason::Fault(_)));
    within("the end", conn.closed()).await;
    let again = hostile.connect(&a, SYNC_ALPN).await;
    assert!(
        crate::link::greet(&again, &hello(66), &Timing::default())
            .await
            .is_err()
    );
    within("the end", again.closed()).await;
    assert_eq!(close_code(&again), Some(429));
}

/// K-N09: what discovery says of a linked device changes nothing, and once the
/// link is gone, wrong addresses beside the right one do not keep it away.
#[tokio::test]
async fn k_n09_false_announcements_do_not_hurt_a_link() {
    let (mut a, mut b) = pair_of(1, 2).await;
    let false_one: SocketAddr = "127.0.0.1:9".parse().unwrap();
    assert_eq!(
        a.net.0.board.found(&device(2), &[false_one]),
        Some(vec![false_one])
    );
    assert_eq!(
        a.net.0.board.found(&device(2), &[false_one]),
        None,
        "no news"
    );
    assert_eq!(
        a.net.0.board.found(&device(7), &[false_one]),
        None,
        "not trusted"
    );
    assert!(a.net.send(device(2), marked(1)));
    b.received(1).await;
    assert!(a.net.peers()[0].connected);
    b.net
        .disconnect(device(1), ccpeer_core::sync::effect::Fault::NotTrusted);
    a.down(2).await;
    a.net.dial_now();
    a.up(2).await;
}
