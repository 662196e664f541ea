//! Many connections that do almost nothing, and few that take all they can get.

use std::sync::atomic::Ordering;
use std::time::Instant;

use ccpeer_core::limits;

use super::alone::{Rss, alone, attack, number, path_of_test, target};
use super::frames::{Alongside, HOSTILE, patient};
use super::node::{Node, meet, sync};
use super::wire::Wire;
use super::*;
use crate::chunks::Request;
use crate::{DownReason, InviteEvent, InviteOptions, LinkFault, PAIR_ALPN};

/// The real times if `CCPEER_REAL_TIMES` is set, else much shorter ones.
fn times() -> Timing {
    if number("CCPEER_REAL_TIMES", 0) > 0 {
        return patient();
    }
    let ms = Duration::from_millis;
    Timing {
        hello: ms(1000),
        heartbeat: ms(1000),
        silence: ms(2000),
        progress: ms(3000),
        ..patient()
    }
}

/// What a test may take longer on a busy machine.
const SLACK: Duration = Duration::from_secs(3);

async fn scene() -> (Arc<Node>, Arc<Node>) {
    let trusted = [2, 66, 67, 68, 69];
    let victim = Node::start_with(1, &trusted, config(1, &trusted), times()).await;
    let (victim, honest) = (Arc::new(victim), Arc::new(Node::start(2, &[1]).await));
    meet(&victim, &honest).await;
    sync(&honest, &victim, b"before anything happens").await;
    (victim, honest)
}

/// Sends a byte now and then until the connection is closed; how long that took.
async fn drip(conn: Connection, mut send: SendStream, bytes: Vec<u8>, pause: Duration) -> Duration {
    let began = Instant::now();
    let dripping = async {
        for byte in bytes.iter().cycle() {
            if send.write_all(&[*byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(pause).await;
        }
        conn.closed().await;
    };
    tokio::select! {
        () = dripping => {}
        _ = conn.closed() => {}
    }
    began.elapsed()
}

#[test]
fn k_n06_two_hundred_connections_that_drip_are_dropped() {
    let test = path_of_test!(k_n06_two_hundred_connections_that_drip_are_dropped);
    alone(test, k_n06);
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord)]
enum Kind {
    /// Untrusted, on the protocol of peers.
    Stranger,
    /// Untrusted, while an invitation stands.
    Pairing,
    /// Trusted, and does not finish its hello.
    NoHello,
    /// Trusted and linked: half a request for chunks on every stream, while
    /// pings are answered.
    Requests,
    /// Trusted and linked: half a message, so that no ping is answered either.
    Message,
}

async fn k_n06() {
    let timing = times();
    let pause = timing.progress / 3;
    let (victim, honest) = scene().await;
    let addr = victim.addr();
    let mut invite = victim.net.invite(InviteOptions::default()).await.unwrap();
    let strangers = Arc::new(Raw::start(99, &[]).await);
    let mut paired = Vec::new();
    for n in HOSTILE {
        paired.push(Arc::new(Raw::start(n, &[]).await));
    }
    let rss = Rss::now();
    let alongside = Alongside::begin(&honest, &victim);
    let mut crowd = tokio::task::JoinSet::new();
    for (n, raw) in HOSTILE.into_iter().zip(&paired) {
        let (conn, mut send, recv) = raw.link_at(n, 1, addr).await;
        victim.linked_with(n).await;
        if n == HOSTILE[0] {
            let begun = framed(&Message::Ping(1).to_bytes())[..5].to_vec();
            crowd.spawn(async move {
                send.write_all(&begun).await.unwrap();
                (Kind::Message, drip(conn, send, vec![0], pause).await)
            });
            continue;
        }
        let _pings = answer_pings(send, recv);
        let request = Request::plain(vec![ChunkId([1; 32]); 9]).encode();
        for _ in 0..limits::LINK_STREAMS_MAX - 1 {
            let (send, _recv) = within("a stream", conn.open_bi()).await.unwrap();
            let (conn, request) = (conn.clone(), request.clone());
            crowd.spawn(async move { (Kind::Requests, drip(conn, send, request, pause).await) });
        }
    }
    // What their handshakes cost the attackers would be taken from the victim: all
    // of them are in one process.
    let turns = Arc::new(tokio::sync::Semaphore::new(2));
    let kinds = [
        (Kind::Stranger, 100),
        (Kind::Pairing, 30),
        (Kind::NoHello, 66),
    ];
    for (kind, count) in kinds {
        for i in 0..count {
            let (raw, alpn) = match kind {
                Kind::Stranger => (&strangers, SYNC_ALPN),
                Kind::Pairing => (&strangers, PAIR_ALPN),
                _ => (&paired[i % paired.len()], SYNC_ALPN),
            };
            let (raw, hello) = (
                Arc::clone(raw),
                framed(&Message::Hello(hello(66)).to_bytes()),
            );
            let turns = Arc::clone(&turns);
            crowd.spawn(async move {
                let turn = turns.acquire_owned().await.unwrap();
                let conn = raw.connect_at(1, addr, alpn).await;
                drop(turn);
                let Ok((send, _recv)) = conn.open_bi().await else {
                    return (kind, Duration::ZERO);
                };
                (kind, drip(conn, send, hello, pause).await)
            });
        }
    }
    let mut slowest: BTreeMap<Kind, (usize, Duration)> = BTreeMap::new();
    let all = tokio::time::timeout(timing.progress + 20 * SLACK, async {
        while let Some(done) = crowd.join_next().await {
            let (kind, took) = done.unwrap();
            let (count, most) = slowest.entry(kind).or_default();
            (*count, *most) = (*count + 1, took.max(*most));
        }
    });
    assert!(all.await.is_ok(), "some are still there: {slowest:?}");
    let (syncs, longest) = alongside.end().await;
    for (kind, (count, took)) in &slowest {
        println!("K-N06: {count} of {kind:?}, the last one dropped after {took:.1?}");
        let most = match kind {
            Kind::Stranger | Kind::Pairing | Kind::NoHello => timing.hello,
            Kind::Message | Kind::Requests => timing.progress,
        };
        assert!(*took <= most + SLACK, "{kind:?} {took:?}");
    }
    println!(
        "K-N06: memory +{} KiB; {syncs} honest syncs meanwhile, the slowest in {longest:.0?}",
        rss.grown()
    );
    assert!(longest <= Duration::from_secs(2), "{longest:?}");
    assert_eq!(
        victim.seen().links_of(2),
        (1, vec![]),
        "the honest link stands"
    );
    assert!(rss.grown() <= 64 * 1024);
    let told = invite.events.try_recv();
    assert!(
        matches!(told, Ok(InviteEvent::BrokenOff { .. })),
        "{told:?}"
    );
    assert!(
        invite.events.try_recv().is_err(),
        "told once, and nothing was tried"
    );
}

#[test]
fn k_n07_full_windows_on_every_stream_are_bounded() {
    alone(
        path_of_test!(k_n07_full_windows_on_every_stream_are_bounded),
        k_n07,
    );
}

async fn k_n07() {
    let (victim, honest) = scene().await;
    let ids: Vec<ChunkId> = (0..limits::FETCH_BATCH_MAX)
        .map(|n| {
            let mut content = vec![0; limits::CHUNK_BYTES_MAX];
            getrandom::fill(&mut content).unwrap();
            content[0] = u8::try_from(n).unwrap();
            victim.keep(content)
        })
        .collect();
    let request = Request::plain(ids).encode();
    let wire = Wire::to(victim.addr()).await;
    // On a whole wire, and on one that loses a part of what is sent, so that the
    // streams arrive with gaps: without a way around it.
    let wires = [(victim.addr(), 0), (wire.addr, 3)];
    for (before, (addr, loses)) in wires.into_iter().enumerate() {
        let raw = Raw::start(66, &[]).await;
        let rss = Rss::now();
        let alongside = Alongside::begin(&honest, &victim);
        let began = Instant::now();
        let (conn, send, recv) = raw.link_at(66, 1, addr).await;
        let _pings = answer_pings(send, recv);
        victim.linked_with(66).await;
        wire.loses_one_of.store(loses, Ordering::Relaxed);
        let mut fills = tokio::task::JoinSet::new();
        let mut unread = Vec::new();
        let mut opened = 0;
        // As many as the victim allows; one more waits in vain.
        while let Ok(Ok((mut send, recv))) =
            tokio::time::timeout(Duration::from_millis(300), conn.open_bi()).await
        {
            opened += 1;
            unread.push(recv);
            let request = request.clone();
            fills.spawn(async move {
                // Asks for much, listens to nothing, and goes on talking.
                let _ = send.write_all(&request).await;
                let filler = vec![7; 64 * 1024];
                let mut filled = 0;
                while send.write_all(&filler).await.is_ok() {
                    filled += filler.len();
                }
                filled
            });
        }
        let reason = within_progress(conn.closed()).await;
        let mut filled = 0;
        while let Some(bytes) = fills.join_next().await {
            filled += bytes.unwrap();
        }
        let took = began.elapsed();
        wire.loses_one_of.store(0, Ordering::Relaxed);
        let (_, slowest) = alongside.end().await;
        println!(
            "K-N07: {opened} streams, {filled} bytes taken, {} packets lost; closed after \
             {took:.1?} ({reason}); memory +{} KiB, both sides in one process; the slowest \
             honest sync {slowest:.0?}",
            wire.lost.load(Ordering::Relaxed),
            rss.grown()
        );
        assert_eq!(opened, limits::LINK_STREAMS_MAX - 1);
        assert!(rss.grown() <= 64 * 1024, "{} KiB", rss.grown());
        assert!(slowest <= Duration::from_secs(2), "{slowest:?}");
        until("its end", || victim.seen().links_of(66).1.len() > before).await;
        let ends = victim.seen().links_of(66).1;
        // Which of its deadlines is the first depends on what was lost: of an
        // answer to a ping, the whole or the second half.
        assert!(
            matches!(
                ends.last(),
                Some(
                    DownReason::TooSlow
                        | DownReason::Silent
                        | DownReason::Lost
                        | DownReason::Fault(LinkFault::FrameCut)
                )
            ),
            "{ends:?}"
        );
    }
    assert_eq!(
        victim.seen().links_of(2),
        (1, vec![]),
        "the honest link stands"
    );
}

async fn within_progress<T>(future: impl Future<Output = T>) -> T {
    let most = times().progress * 2 + SLACK;
    match tokio::time::timeout(most, future).await {
        Ok(value) => value,
        Err(_) => panic!("the connection still stands after {most:?}"),
    }
}

#[test]
fn k_p07_strangers_at_the_gate_leave_nothing_behind() {
    alone(
        path_of_test!(k_p07_strangers_at_the_gate_leave_nothing_behind),
        k_p07,
    );
}

/// The strangers are in a process of their own.
async fn k_p07() {
    let test = path_of_test!(k_p07_strangers_at_the_gate_leave_nothing_behind);
    let attempts = number("CCPEER_ATTEMPTS", 100);
    if let Some(addr) = target() {
        return knock(addr, attempts).await;
    }
    // Nobody is linked, so every frame that is parsed would be a stranger's.
    let victim = Node::start_with(1, &[2], config(1, &[2]), patient()).await;
    // What is needed once, for any number of them.
    let first = 20;
    knock(victim.addr(), first).await;
    let rss = Rss::now();
    attack(test, victim.addr()).await;
    let (stats, grown) = (victim.net.stats(), rss.grown());
    println!(
        "K-P07: {} strangers refused, {} frames of theirs parsed, memory +{grown} KiB",
        stats.refused, stats.frames
    );
    assert_eq!(stats.refused, (first + attempts) as u64);
    assert_eq!(stats.frames, 0);
    assert!(grown <= 4 * 1024, "{grown} KiB");
    let honest = Node::start(2, &[1]).await;
    meet(&victim, &honest).await;
    sync(&honest, &victim, b"afterwards").await;
}

async fn knock(addr: SocketAddr, times: usize) {
    let stranger = Raw::start(99, &[]).await;
    for _ in 0..times {
        let conn = stranger.connect_at(1, addr, SYNC_ALPN).await;
        // It seems to stand: say something, as a peer would.
        if let Ok((mut send, _recv)) = conn.open_bi().await {
            let words = framed(&Message::Hello(hello(99)).to_bytes());
            let _ = send.write_all(&words).await;
        }
        within("the door", conn.closed()).await;
    }
}
