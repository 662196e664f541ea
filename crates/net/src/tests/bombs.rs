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

/// So many zeros, packed as a stream: its end is not announced.
fn packed(len: u64, window_log: Option<u32>) -> Vec<u8> {
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 3).unwrap();
    if let Some(log) = window_log {
        encoder.window_log(log).unwrap();
    }
    let zeros = vec![0; 1 << 20];
    let mut left = usize::try_from(len).unwrap();
    while left > 0 {
        let part = left.min(zeros.len());
        encoder.write_all(&zeros[..part]).unwrap();
        left -= part;
    }
    encoder.finish().unwrap()
}

/// An answer on a chunk stream that announces these lengths.
fn announced(raw: usize, bytes: &[u8]) -> Vec<u8> {
    let len = |n: usize| u32::try_from(n).unwrap().to_le_bytes();
    [&[2][..], &len(raw), &len(bytes.len()), bytes].concat()
}

#[test]
fn k_n05_bombs_unpack_to_what_they_announced() {
    alone(
        path_of_test!(k_n05_bombs_unpack_to_what_they_announced),
        k_n05,
    );
}

async fn k_n05() {
    let bomb = packed(GIB, None);
    println!("K-N05: 1 GiB in {} bytes", bomb.len());
    assert!(bomb.len() < 40_000);
    let max = limits::CHUNK_BYTES_MAX;
    let half_megabyte = vec![0u8; max / 2];
    let whole = zstd::bulk::compress(&half_megabyte, 3).unwrap();
    let wide = packed(max as u64 / 2, Some(27));
    let nested = zstd::bulk::compress(&bomb, 3).unwrap();
    let frames = [&whole[..], &whole, &whole].concat();
    let (right, wrong) = (ChunkId::of(&half_megabyte), ChunkId([9; 32]));
    let failed = || Err(FetchFault::Wrong);
    let cases = [
        (
            "a gibibyte, announced as a megabyte",
            wrong,
            announced(max, &bomb),
            failed(),
        ),
        (
            "a gibibyte, announced as its own size and one",
            wrong,
            announced(bomb.len() + 1, &bomb),
            failed(),
        ),
        (
            "one byte more than announced",
            right,
            announced(max / 2 - 1, &whole),
            failed(),
        ),
        (
            "one byte less than announced",
            right,
            announced(max / 2 + 1, &whole),
            failed(),
        ),
        (
            "a bomb in a bomb: its content is not unpacked again",
            ChunkId::of(&bomb),
            announced(bomb.len(), &nested),
            Ok(bomb.clone()),
        ),
        (
            "more frames than announced",
            right,
            announced(max / 2, &frames),
            failed(),
        ),
        // Unpacked straight into its place, so that no window is taken.
        (
            "a window of 128 MiB",
            right,
            announced(max / 2, &wide),
            Ok(half_megabyte.clone()),
        ),
        (
            "a window of 128 MiB and a lie",
            right,
            announced(max / 2 - 1, &wide),
            failed(),
        ),
        (
            "as announced",
            right,
            announced(max / 2, &whole),
            Ok(half_megabyte.clone()),
        ),
    ];

    let (victim, honest) = victim_and_honest().await;
    let raw = Raw::start(66, &[]).await;
    let (conn, send, recv) = raw.link_at(66, 1, victim.addr()).await;
    let _pings = answer_pings(send, recv);
    victim.linked_with(66).await;
    let rss = Rss::now();
    for (what, id, answer, expected) in &cases {
        let mut answers = victim.net.fetch(device(66), vec![manifest_want(*id)]);
        let (mut send, _recv) = within("the request", conn.accept_bi()).await.unwrap();
        let _ = send.write_all(answer).await;
        let _ = send.finish();
        let (_, result) = within("an answer", answers.recv()).await.unwrap();
        assert!(result == *expected, "{what}");
    }
    // All of them at once, over and over: there is one decoder for each stream.
    for _ in 0..5 {
        for (_, id, answer, _) in &cases {
            let mut answers = victim.net.fetch(device(66), vec![manifest_want(*id)]);
            let (mut send, _recv) = within("the request", conn.accept_bi()).await.unwrap();
            let _ = send.write_all(answer).await;
            let _ = send.finish();
            assert!(within("an answer", answers.recv()).await.is_some());
        }
    }
    let grown = rss.grown();

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
                let _ = send
                    .write_all(&announced(limits::CHUNK_BYTES_MAX, bomb))
                    .await;
            }
            let _ = send.finish();
        }
    })
    .await;
    victim.kept_bytes() - before
}
