//! Chunks and notes made durable, and read again. On the disk of `TMPDIR`.
#![expect(
    clippy::unwrap_used,
    reason = "a bench that cannot run has nothing to say"
)]

use std::hint::black_box;

use ccpeer_core::id::{ChunkId, Epoch};
use ccpeer_store::{Namespace, NoteWrite, Options, Store};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

/// Text that compresses about as well as a transcript does, and differs with `n`.
fn chunk(n: u64, len: usize) -> (ChunkId, Vec<u8>) {
    let mut content = Vec::with_capacity(len);
    let mut x = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    while content.len() < len {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        content.extend_from_slice(format!("{{\"type\":\"user\",\"n\":{}}}\n", x >> 40).as_bytes());
    }
    content.truncate(len);
    (ChunkId::of(&content), content)
}

fn benches(c: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        fresh_epoch: Epoch([1; 16]),
    };
    let store = Store::open(&dir.path().join("store.redb"), &options).unwrap();
    let mut n = 0;
    let mut next = |count: u64, len: usize| -> Vec<(ChunkId, Vec<u8>)> {
        n += count;
        (n..n + count).map(|n| chunk(n, len)).collect()
    };
    c.bench_function("store: one turn durable", |b| {
        b.iter_batched(
            || next(3, 12_000),
            |chunks| store.put_chunks(&chunks).unwrap(),
            BatchSize::PerIteration,
        );
    });
    let note = |n: u8| NoteWrite {
        ns: Namespace::HookSeen,
        key: vec![n],
        value: Some(vec![n; 100]),
    };
    c.bench_function("store: one note durable", |b| {
        b.iter(|| store.put_notes(&[note(black_box(7))]).unwrap());
    });
    let mut group = c.benchmark_group("store");
    let many = next(64, 65_536);
    group.throughput(Throughput::Bytes(64 * 65_536));
    group.sample_size(20);
    group.bench_function("4 MiB durable", |b| {
        b.iter_batched(
            || next(64, 65_536),
            |chunks| store.put_chunks(&chunks).unwrap(),
            BatchSize::PerIteration,
        );
    });
    store.put_chunks(&many).unwrap();
    group.bench_function("4 MiB read and checked", |b| {
        b.iter(|| {
            many.iter()
                .map(|(id, _)| store.get_chunk(id).unwrap().unwrap().len())
                .sum::<usize>()
        });
    });
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
