//! Chunks between honest devices.

use std::time::Instant;

use ccpeer_core::limits;
use ccpeer_core::manifest::{Want, WantKind};
use ccpeer_core::sync::event::FetchFault;

use super::*;

fn want(id: ChunkId) -> Want {
    Want {
        id,
        kind: WantKind::Data,
    }
}

pub(super) fn noise(len: usize) -> Vec<u8> {
    let mut bytes = vec![0u8; len];
    getrandom::fill(&mut bytes).unwrap();
    bytes
}

pub(super) async fn fetch_all(
    from: u8,
    by: &Peer,
    ids: &[ChunkId],
) -> Vec<Result<Vec<u8>, FetchFault>> {
    let mut answers = by.net.fetch(
        device(from),
        ids.iter().copied().map(want).collect::<Vec<_>>(),
    );
    let mut all = Vec::new();
    for id in ids {
        let (asked, result) = within("an answer", answers.recv()).await.unwrap();
        assert_eq!(asked.id, *id);
        all.push(result);
    }
    assert_eq!(within("the end", answers.recv()).await, None);
    all
}

#[tokio::test]
async fn chunks_of_every_size_go_both_ways() {
    let (a, b) = pair_of(1, 2).await;
    for (holder, other) in [(&a, &b), (&b, &a)] {
        let mut contents = vec![b"x".to_vec(), vec![b'z'; limits::CHUNK_BYTES_MAX]];
        contents.extend([1, 255, 256, 4096, 65_536, 65_537, limits::CHUNK_BYTES_MAX].map(noise));
        let mut ids: Vec<ChunkId> = contents
            .iter()
            .map(|c| holder.chunks.put(c.clone()))
            .collect();
        ids.push(ChunkId([9; 32]));
        let results = fetch_all(holder.n, other, &ids).await;
        for (content, result) in contents.iter().zip(&results) {
            assert_eq!(result.as_ref(), Ok(content));
        }
        assert_eq!(results.last(), Some(&Err(FetchFault::NotHeld)));
        assert_eq!(holder.net.stats().chunks_served, 10);
    }
}

#[tokio::test]
async fn what_was_sent_ahead_is_not_asked_for() {
    let (a, mut b) = pair_of(1, 2).await;
    let ahead = a.chunks.put(noise(5_000));
    let asked = a.chunks.put(noise(6_000));
    let ask = crate::Ask::from(vec![want(ahead)]);
    let parcel = crate::parcel(device(1), a.chunks.clone(), &ask).unwrap();
    assert!(a.net.send(device(2), parcel));
    // It comes before what is said after it.
    assert!(a.net.send(device(2), marked(1)));
    b.received(1).await;
    let mut answers = b.net.fetch(device(1), vec![want(asked), want(ahead)]);
    let first = within("what is here", answers.recv()).await.unwrap();
    assert_eq!((first.0.id, first.1.unwrap().len()), (ahead, 5_000));
    let second = within("the rest", answers.recv()).await.unwrap();
    assert_eq!((second.0.id, second.1.unwrap().len()), (asked, 6_000));
    assert_eq!(within("the end", answers.recv()).await, None);
    assert_eq!(a.net.stats().chunks_served, 1);
}

#[tokio::test]
async fn more_than_a_batch_is_answered_in_order() {
    let (a, b) = pair_of(1, 2).await;
    let ids: Vec<ChunkId> = (0..3 * limits::FETCH_BATCH_MAX + 1)
        .map(|n| a.chunks.put(vec![7; n]))
        .collect();
    assert!(fetch_all(1, &b, &ids).await.iter().all(Result::is_ok));
}

#[tokio::test]
async fn a_source_that_fails_costs_one_chunk() {
    let (a, b) = pair_of(1, 2).await;
    let id = a.chunks.put(b"here".to_vec());
    let results = fetch_all(1, &b, &[PANICS, id]).await;
    assert_eq!(results, [Err(FetchFault::NotHeld), Ok(b"here".to_vec())]);
    assert!(b.net.peers()[0].connected);
}

#[tokio::test]
async fn without_a_link_every_want_is_answered() {
    let a = Peer::start(1, &[2]).await;
    let results = fetch_all(2, &a, &[ChunkId([1; 32]), ChunkId([2; 32])]).await;
    assert_eq!(results, vec![Err(FetchFault::Link); 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_fetches_share_a_link_with_messages() {
    let (a, mut b) = pair_of(1, 2).await;
    let ids: Vec<ChunkId> = (0..128).map(|_| a.chunks.put(noise(128 * 1024))).collect();
    let began = Instant::now();
    let mut done = tokio::task::JoinSet::new();
    for batch in ids.chunks(limits::FETCH_BATCH_MAX) {
        let mut answers = b.net.fetch(
            device(1),
            batch.iter().copied().map(want).collect::<Vec<_>>(),
        );
        let count = batch.len();
        done.spawn(async move {
            for _ in 0..count {
                assert!(answers.recv().await.unwrap().1.is_ok());
            }
        });
    }
    // A message passes by all that content.
    assert!(a.net.send(device(2), marked(1)));
    b.received(1).await;
    let message = began.elapsed();
    while let Some(result) = within("all content", done.join_next()).await {
        result.unwrap();
    }
    let took = began.elapsed();
    println!(
        "16 MiB in {} ms, a message meanwhile in {} ms",
        took.as_millis(),
        message.as_millis()
    );
    assert!(b.net.peers()[0].connected);
}
