//! Cutting bytes into chunks and naming them, as capture does: bytes a second.
#![expect(
    clippy::unwrap_used,
    reason = "a bench that cannot run has nothing to say"
)]

use std::hint::black_box;

use ccpeer_core::id::ChunkId;
use ccpeer_core::limits;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fastcdc::v2020::StreamCDC;

fn benches(c: &mut Criterion) {
    let mut bytes = vec![0u8; 16 * 1024 * 1024];
    getrandom::fill(&mut bytes).unwrap();
    let (min, typical, max) = limits::CHUNK_CUT;
    let mut group = c.benchmark_group("chunks");
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.sample_size(20);
    group.bench_function("cut and name", |b| {
        b.iter(|| {
            let chunks = StreamCDC::new(black_box(&bytes[..]), min, typical, max);
            chunks.fold(0, |n, c| n ^ ChunkId::of(&c.unwrap().data).0[0])
        });
    });
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
