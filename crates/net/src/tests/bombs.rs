//! Content that unpacks to more than it announced.

use std::io::Write;

use ccpeer_core::entry::ContentRef;
use ccpeer_core::id::SessionId;
use ccpeer_core::limits;
use ccpeer_core::sync::event::FetchFault;

use super::alone::{Rss, alone, path_of_test};
use super::frames::victim_and_honest;
use super::node::{Author, Node, manifest_want, sync, version};
use super::*;

const GIB: u64 = 1 << 30;

/// An answer that announces `len` bytes and unpacks to these and then so many zeros.
fn stream(len: usize, begin: &[u8], zeros: u64, window_log: u32) -> Vec<u8> {
    let mut encoder = zstd::stream::Encoder::new(vec![0], 3).unwrap();
    encoder.window_log(window_log).unwrap();
    encoder.write_all(&[1]).unwrap();
    let len = u32::try_from(len).unwrap();
    encoder.write_all(&len.to_le_bytes()).unwrap();
    encoder.write_all(begin).unwrap();
    let part = vec![0; 1 << 20];
    let mut left = usize::try_from(zeros).unwrap();
    while left > 0 {
        let now = left.min(part.len());
        encoder.write_all(&part[..now]).unwrap();
        left -= now;
    }
    encoder.finish().unwrap()
}

#[test]
fn k_n05_bombs_unpack_to_what_they_announced() {
    alone(
        path_of_test!(k_n05_bombs_unpack_to_what_they_announced),
        k_n05,
    );
}

async fn k_n05() {
    let max = limits::CHUNK_BYTES_MAX;
    let bomb = stream(max, &[], GIB, 22);
    println!("K-N05: 1 GiB in {} bytes", bomb.len());
    assert!(bomb.len() < 40_000);
    let half = vec![0u8; max / 2];
    let (right, wrong) = (ChunkId::of(&half), ChunkId([9; 32]));
    let refused = || Err(FetchFault::Wrong);
    let short = stream(max / 2 + 1, &half, 0, 22);
    let cases = [
        (
            "a gibibyte, announced as a megabyte",
            wrong,
            bomb.clone(),
            refused(),
        ),
        (
            "and one byte too many announced",
            wrong,
            stream(max + 1, &[], GIB, 22),
            refused(),
        ),
        (
            "one byte more than announced",
            wrong,
            stream(max / 2 - 1, &half, 0, 22),
            refused(),
        ),
        (
            "one byte less than announced",
            wrong,
            short,
            Err(FetchFault::Link),
        ),
        (
            "a bomb in a bomb: its content is not unpacked again",
            ChunkId::of(&bomb),
            stream(bomb.len(), &bomb, 0, 22),
            Ok(bomb.clone()),
        ),
        (
            "a gibibyte after what was asked for",
            right,
            stream(max / 2, &half, GIB, 22),
            Ok(half.clone()),
        ),
        (
            "a window of 128 MiB",
            right,
            stream(max / 2, &half, GIB, 27),
            refused(),
        ),
        (
            "as announced",
            right,
            stream(max / 2, &half, 0, 22),
            Ok(half.clone()),
        ),
    ];

    let (victim, honest) = victim_and_honest().await;
    let raw = Raw::start(66, &[]).await;
    let rss = Rss::now();
    // The first time one by one, then over and over: there is one decoder a stream.
    for round in 0..6 {
        for (what, id, answer, expected) in &cases {
            let (conn, send, recv) = raw.link_at(66, 1, victim.addr()).await;
            let _pings = answer_pings(send, recv);
            victim.linked_with(66).await;
            let mut answers = victim.net.fetch(device(66), vec![manifest_want(*id)]);
            let (mut send, _recv) = within("the request", conn.accept_bi()).await.unwrap();
            let _ = send.write_all(answer).await;
            let _ = send.finish();
            let (_, result) = within("an answer", answers.recv()).await.unwrap();
            assert!(result == *expected || round > 0, "{what}");
            conn.close(0u32.into(), b"");
        }
    }
    let grown = rss.grown();
    let (conn, send, recv) = raw.link_at(66, 1, victim.addr()).await;
    let _pings = answer_pings(send, recv);
    victim.linked_with(66).await;

    let stored = by_way_of_the_machine(&victim, &conn, &bomb).await;
    println!(
        "K-N05: memory +{grown} KiB, with the machine +{} KiB; kept +{stored} bytes",
        rss.grown()
    );
    assert!(rss.grown() <= 16 * 1024, "{} KiB", rss.grown());
    assert_eq!(stored, 0);
    sync(&honest, &victim, b"afterwards").await;
}

/// The hostile device states a version; whatever the victim asks for, it gets a
/// bomb. Returns how many bytes the victim keeps of it.
async fn by_way_of_the_machine(victim: &Node, conn: &Connection, bomb: &[u8]) -> usize {
    let before = victim.kept_bytes();
    let mut author = Author::new(66);
    let mut entries = vec![author.device(), author.trust(1)];
    for n in 0..20 {
        let manifest = Some(ContentRef {
            id: ChunkId([100 + n; 32]),
            len: 1000,
        });
        entries.push(author.write(&version(SessionId([n; 16]), manifest, &[])));
    }
    let link = victim.net.0.board.link(&device(66)).unwrap();
    let bytes = framed(&Message::Entries(entries).to_bytes());
    let context = victim.net.0.links.clone();
    assert_eq!(
        crate::link::listen_to_end(&link, &bytes[..], &context).await,
        None
    );
    // It is asked again and again, until it is blamed and closed.
    within("the end of its link", async {
        while let Ok((mut send, mut recv)) = conn.accept_bi().await {
            let _ = recv.read_to_end(limits::CHUNK_REQUEST_BYTES_MAX).await;
            for _ in 0..limits::FETCH_BATCH_MAX {
                let _ = send.write_all(bomb).await;
            }
            let _ = send.finish();
        }
    })
    .await;
    victim.kept_bytes() - before
}
