//! Writing the file anew: nothing changes but its length, whoever writes
//! meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};

use ccpeer_core::limits;
use ccpeer_core::store::Batch;
use ccpeer_core::time::Instant;
use ccpeer_store::{CollectPlan, Namespace, NoteWrite, Store, StoreError};

use crate::fixture::*;

fn note(key: u64, len: usize) -> NoteWrite {
    NoteWrite {
        ns: Namespace::Session,
        key: key.to_be_bytes().to_vec(),
        value: Some(noise(key, len)),
    }
}

/// Everything in a store, and that it is sound.
fn content(store: &Store) -> impl PartialEq + std::fmt::Debug + use<> {
    let report = store.verify(true, &mut |_, _| {}).unwrap();
    assert_eq!(report.problems, []);
    let recovered = store.recovered().unwrap();
    let notes: Vec<_> = Namespace::ALL
        .iter()
        .map(|ns| store.notes(*ns).unwrap())
        .collect();
    let stats = store.stats().unwrap();
    (
        recovered,
        notes,
        (stats.chunks, stats.raw_bytes, stats.packed_bytes),
        (report.bytes, report.chunks),
    )
}

#[test]
fn k_s10_a_store_written_anew_is_the_same_and_shorter() {
    let (dir, path) = temp_store();
    let store = open(&path);
    let (kept, gone) = (session(1, 150, 20_000), session(2, 600, 20_000));
    store.put_chunks(&gone.chunks).unwrap();
    store.put_chunks(&kept.chunks).unwrap();
    store.commit(&batch(&chain(1, 300))).unwrap();
    let notes: Vec<_> = (0..200).map(|n| note(n, 3000)).collect();
    store.put_notes(&notes).unwrap();
    store
        .commit(&Batch {
            complete: vec![kept.want],
            ..Batch::default()
        })
        .unwrap();
    let mut now = Instant(0);
    for _ in 0..=limits::COLLECT_GRACE_MS / limits::COLLECT_STEP_MS_MAX {
        store
            .collect(&CollectPlan::new(vec![kept.want], now), &mut || true)
            .unwrap();
        now = now.after_ms(limits::COLLECT_STEP_MS_MAX);
    }
    assert_eq!(store.stats().unwrap().chunks, kept.chunks.len() as u64);
    let (before, length) = (content(&store), store.stats().unwrap().file_bytes);
    let mut longest = 0;
    let done = store
        .compact(&mut || {
            longest = longest.max(bytes_in(dir.path()));
            true
        })
        .unwrap();
    assert!(done.finished && done.before == length, "{done:?}");
    assert!(done.after < length / 2, "{done:?}");
    assert!(
        longest <= 2 * length,
        "it never takes more than twice its length"
    );
    assert_eq!(content(&store), before);
    assert_eq!(
        bytes_in(dir.path()),
        done.after,
        "nothing is left beside it"
    );
    // It goes on, and is found so by the next start.
    store.put_chunks(&gone.chunks).unwrap();
    let after = content(&store);
    drop(store);
    let store = open(&path);
    assert_eq!(content(&store), after);
    // Once more gains nothing and loses nothing.
    let first = store.compact(&mut || true).unwrap();
    let second = store.compact(&mut || true).unwrap();
    println!("{done:?} {first:?} {second:?}");
    assert!(second.after <= first.after + first.after / 10);
    assert_eq!(content(&store), after);
}

fn bytes_in(dir: &std::path::Path) -> u64 {
    std::fs::read_dir(dir)
        .unwrap()
        .map(|f| f.unwrap().metadata().unwrap().len())
        .sum()
}

#[test]
fn what_is_written_meanwhile_is_in_the_new_file() {
    let (_dir, path) = temp_store();
    let store = open(&path);
    let old = session(1, 200, 30_000);
    store.put_chunks(&old.chunks).unwrap();
    let log = chain(1, 4000);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut n = 0u64;
            while !stop.load(Ordering::Relaxed) && n < 400 {
                let at = n as usize;
                store.commit(&batch(&log[at * 10..(at + 1) * 10])).unwrap();
                // Some are new, one changes, one comes and goes.
                let mut gone = note(7, 100);
                gone.value = n.is_multiple_of(2).then(|| vec![1; 100]);
                let changed = NoteWrite {
                    value: Some(n.to_be_bytes().to_vec()),
                    ..note(5, 0)
                };
                store
                    .put_notes(&[note(1000 + n, 500), changed, gone])
                    .unwrap();
                store.put_chunks(&[chunk(noise(n, 5000))]).unwrap();
                // Struck off, and there again.
                let again = &old.chunks[at % old.chunks.len()];
                store.quarantine(&[again.0]).unwrap();
                if !n.is_multiple_of(3) {
                    store.put_chunks(std::slice::from_ref(again)).unwrap();
                }
                n += 1;
            }
            n
        });
        let mut rounds = 0;
        while rounds < 5 {
            assert!(store.compact(&mut || true).unwrap().finished);
            rounds += 1;
        }
        stop.store(true, Ordering::Relaxed);
        let written = writer.join().unwrap();
        println!("{written} rounds of writing in {rounds} of compaction");
        let check = |store: &Store| {
            let recovered = store.recovered().unwrap();
            assert_eq!(recovered.entries, log[..written as usize * 10]);
            for n in 0..written {
                let (id, content) = chunk(noise(n, 5000));
                assert_eq!(store.get_chunk(&id).unwrap(), Some(content), "{n}");
                let note = store.note(Namespace::Session, &(1000 + n).to_be_bytes());
                assert_eq!(note.unwrap(), Some(noise(1000 + n, 500)));
            }
            assert_eq!(store.verify(true, &mut |_, _| {}).unwrap().problems, []);
        };
        check(&store);
    });
    let before = content(&store);
    drop(store);
    assert_eq!(content(&open(&path)), before);
}

#[test]
fn a_rewriting_that_is_stopped_or_cannot_be_leaves_all_as_it_was() {
    let (dir, path) = temp_store();
    let store = open(&path);
    store.put_chunks(&session(1, 100, 30_000).chunks).unwrap();
    store.commit(&batch(&chain(1, 50))).unwrap();
    let before = content(&store);
    for stop in 0.. {
        let mut left = stop;
        let done = store.compact(&mut || {
            left -= 1;
            left >= 0
        });
        assert_eq!(content(&store), before);
        assert_eq!(bytes_in(dir.path()), store.stats().unwrap().file_bytes);
        if done.unwrap().finished {
            assert!(stop >= 5, "it is asked at each table");
            break;
        }
    }
    // What a crash left is removed at the next start.
    drop(store);
    let left = dir.path().join("store.redb.new");
    std::fs::write(&left, noise(1, 10_000)).unwrap();
    let store = open(&path);
    assert!(!left.exists());
    assert_eq!(content(&store), before);
    // In the way, and nothing that could be removed.
    std::fs::create_dir(&left).unwrap();
    std::fs::write(left.join("x"), b"x").unwrap();
    let refused = store.compact(&mut || true);
    assert!(matches!(refused, Err(StoreError::Io { .. })), "{refused:?}");
    assert_eq!(content(&store), before);
}

#[test]
fn only_a_file_that_is_mostly_empty_is_wasteful() {
    let (_dir, path) = temp_store();
    let store = open(&path);
    assert!(!store.is_wasteful().unwrap());
    let garbage = session(1, 110, 1_000_000);
    store.put_chunks(&garbage.chunks).unwrap();
    assert!(!store.is_wasteful().unwrap());
    store
        .quarantine(&garbage.chunks.iter().map(|c| c.0).collect::<Vec<_>>())
        .unwrap();
    assert!(store.is_wasteful().unwrap());
    // Struck off and not collected: it is kept, and that is learned.
    store.compact(&mut || true).unwrap();
    assert!(!store.is_wasteful().unwrap());
}
