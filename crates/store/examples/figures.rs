//! Prints what the store costs on this machine: `cargo run --release -p
//! ccpeer-store --example figures [directory]`.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a measurement for people; a failure is a reason to stop"
)]

use std::path::PathBuf;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use ccpeer_core::id::{ChunkId, Epoch};
use ccpeer_core::store::{Batch, contract};
use ccpeer_store::{Namespace, NoteWrite, Options, Store};
use ed25519_dalek::SigningKey;

fn main() {
    let parent = std::env::args_os()
        .nth(1)
        .map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = tempfile::tempdir_in(parent).expect("a directory to measure in");
    let options = Options {
        fresh_epoch: Epoch([1; 16]),
    };
    let open = |name: &str| Store::open(&dir.path().join(name), &options).unwrap();

    for (name, make) in [
        ("noise", noise as fn(u64, usize) -> Vec<u8>),
        ("transcript text", text),
    ] {
        let store = open(name);
        // Lengths as a content-defined cut gives them: 16 to 112 KiB, 64 on average.
        let chunks: Vec<(ChunkId, Vec<u8>)> = (0..1000u64)
            .map(|i| make(i, 16 * 1024 + (i as usize * 7919) % (96 * 1024)))
            .map(|c| (ChunkId::of(&c), c))
            .collect();
        let begun = Instant::now();
        for load in chunks.chunks(128) {
            store.put_chunks(load).unwrap();
        }
        let put = begun.elapsed();
        let begun = Instant::now();
        for (id, content) in &chunks {
            assert_eq!(store.get_chunk(id).unwrap().as_ref(), Some(content));
        }
        let got = begun.elapsed();
        let stats = store.stats().unwrap();
        let mib = |b: u64| b as f64 / f64::from(1 << 20);
        println!(
            "1,000 chunks of {name}, {:.1} MiB, 128 to a call",
            mib(stats.raw_bytes)
        );
        println!(
            "  put {put:.1?} ({:.0} MiB/s)",
            mib(stats.raw_bytes) / put.as_secs_f64()
        );
        println!(
            "  get {got:.1?} ({:.0} MiB/s)",
            mib(stats.raw_bytes) / got.as_secs_f64()
        );
        println!(
            "  packed {:.1} MiB, used in the file {:.1} MiB ({:.2}x)",
            mib(stats.packed_bytes),
            mib(disk_usage(&dir.path().join(name))),
            disk_usage(&dir.path().join(name)) as f64 / stats.packed_bytes as f64,
        );
    }

    let key = SigningKey::from_bytes(&[1; 32]);
    let store = open("entries");
    let log = contract::chain(&key, Epoch([1; 16]), 100_000);
    let (few, many) = log.split_at(500);
    let mut times: Vec<Duration> = few
        .iter()
        .map(|entry| {
            let begun = Instant::now();
            store
                .commit(&Batch {
                    entries: vec![entry.clone()],
                    ..Batch::default()
                })
                .unwrap();
            begun.elapsed()
        })
        .collect();
    times.sort_unstable();
    println!(
        "commit of one entry: p50 {:.2?}, p99 {:.2?}",
        times[times.len() / 2],
        times[times.len() * 99 / 100]
    );
    for load in many.chunks(5000) {
        store
            .commit(&Batch {
                entries: load.to_vec(),
                ..Batch::default()
            })
            .unwrap();
    }
    let begun = Instant::now();
    let recovered = store.recovered().unwrap();
    println!(
        "recovered() with {} entries: {:.0?}",
        recovered.entries.len(),
        begun.elapsed()
    );
    drop(store);
    let begun = Instant::now();
    let store = Arc::new(open("entries"));
    println!("open: {:.2?}", begun.elapsed());

    let start = Arc::new(Barrier::new(201));
    let threads: Vec<_> = (0..200u64)
        .map(|i| {
            let (store, start) = (Arc::clone(&store), Arc::clone(&start));
            std::thread::spawn(move || {
                let write = NoteWrite {
                    ns: Namespace::HookInbox,
                    key: i.to_be_bytes().to_vec(),
                    value: Some(vec![0; 2000]),
                };
                start.wait();
                let begun = Instant::now();
                store.put_notes(&[write]).unwrap();
                begun.elapsed()
            })
        })
        .collect();
    start.wait();
    let slowest = threads
        .into_iter()
        .map(|t| t.join().unwrap())
        .max()
        .unwrap();
    println!("200 notes at once: the slowest took {slowest:.1?}");
}

#[cfg(unix)]
fn disk_usage(path: &std::path::Path) -> u64 {
    std::os::unix::fs::MetadataExt::blocks(&std::fs::metadata(path).unwrap()) * 512
}

#[cfg(not(unix))]
fn disk_usage(path: &std::path::Path) -> u64 {
    std::fs::metadata(path).unwrap().len()
}

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    blake3::Hasher::new()
        .update(&seed.to_le_bytes())
        .finalize_xof()
        .fill(&mut out);
    out
}

fn text(seed: u64, len: usize) -> Vec<u8> {
    let words = [
        "fn", "let", "the", "store", "\\n", "session", "error:", "=>", "path", "test",
    ];
    let mut out = Vec::new();
    let mut n = seed;
    while out.len() < len {
        n = n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let word = words[(n >> 33) as usize % words.len()];
        out.extend_from_slice(word.as_bytes());
        if n >> 60 == 0 {
            out.extend_from_slice(format!("\",\"uuid\":\"{n:032x}\"}}\n").as_bytes());
        }
        out.push(b' ');
    }
    out.truncate(len);
    out
}
