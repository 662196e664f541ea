//! Many chunks in one pack: kept small, found damaged, brought together, let go.

use std::collections::BTreeSet;

use ccpeer_core::id::{ChunkId, DeviceId};
use ccpeer_core::limits;
use ccpeer_core::manifest::Want;
use ccpeer_core::store::Batch;
use ccpeer_core::time::Instant;
use ccpeer_store::{CollectPlan, Collected, ProblemKind, Store, salvage};

use crate::fixture::*;

/// Text of which the chunks have much in common, as those of a session do.
fn transcript(seed: u64, count: usize, len: usize) -> Vec<(ChunkId, Vec<u8>)> {
    let common = noise(seed, len / 2);
    let own = |n: usize| noise(seed << 32 | n as u64, len / 8);
    let content = |n: usize| [&own(n)[..], &common, &own(n)].concat();
    (0..count).map(|n| chunk(content(n))).collect()
}

fn collect(store: &Store, roots: &[Want], hours: u64) -> Collected {
    let mut plan = CollectPlan::new(roots.to_vec(), Instant(hours * 3_600_000));
    plan.grace_ms = 3_600_000;
    store.collect(&plan, &mut || true).unwrap()
}

fn wants(chunks: &[(ChunkId, Vec<u8>)]) -> Vec<Want> {
    chunks.iter().map(|(id, _)| Want::data(*id)).collect()
}

fn served(store: &Store, chunks: &[(ChunkId, Vec<u8>)]) {
    for (id, content) in chunks {
        assert!(store.get_chunk(id).unwrap().as_ref() == Some(content));
    }
    assert_eq!(store.verify(true, &mut |_, _| {}).unwrap().problems, []);
}

#[test]
fn what_chunks_have_in_common_is_kept_once() {
    let (_dir, path) = temp_store();
    let store = open(&path);
    let chunks = transcript(1, 60, 60_000);
    store.put_chunks(&chunks).unwrap();
    let stats = store.stats().unwrap();
    let own = 60 * 60_000 / 8;
    assert!(stats.packed_bytes < own + own / 2, "{stats:?}");
    served(&store, &chunks);
    drop(store);
    let store = open(&path);
    served(&store, &chunks);
    let report = store.verify(true, &mut |_, _| {}).unwrap();
    assert_eq!((report.chunks, report.bytes), (60, stats.raw_bytes));
    // Numbers go on where they ended.
    let more = transcript(2, 60, 60_000);
    store.put_chunks(&more).unwrap();
    served(&store, &[chunks, more].concat());
}

#[test]
fn what_came_alone_is_brought_together_in_order() {
    let (_dir, path) = temp_store();
    let store = open(&path);
    let s = session(3, 300, 200);
    let chunks = transcript(1, 180, 60_000);
    for one in s.chunks.chunks(1).chain(chunks.chunks(1)) {
        store.put_chunks(one).unwrap();
    }
    let before = store.stats().unwrap();
    let mut roots = wants(&chunks);
    roots.push(s.want);
    let done = collect(&store, &roots, 0);
    assert!(done.finished && done.moved >= 180, "{done:?}");
    let after = store.stats().unwrap();
    assert_eq!(after.raw_bytes, before.raw_bytes);
    assert!(after.packed_bytes < before.packed_bytes / 2, "{after:?}");
    served(&store, &[chunks, s.chunks].concat());
    // What is left over is not worth moving, and nothing is moved twice.
    assert_eq!(collect(&store, &roots, 1).moved, 0);
    assert_eq!(store.stats().unwrap(), after);
    assert!(store.compact(&mut || true).unwrap().finished);
    assert_eq!(store.stats().unwrap().packed_bytes, after.packed_bytes);
}

#[test]
fn a_stopped_run_has_lost_nothing() {
    for stop in 0.. {
        let (_dir, path) = temp_store();
        let store = open(&path);
        let chunks = transcript(1, 150, 60_000);
        for one in chunks.chunks(1) {
            store.put_chunks(one).unwrap();
        }
        let mut left = stop;
        let plan = CollectPlan::new(wants(&chunks), Instant(0));
        let done = store.collect(&plan, &mut || {
            left -= 1;
            left >= 0
        });
        served(&store, &chunks);
        if done.unwrap().finished {
            assert!(stop >= 4);
            return;
        }
    }
}

#[test]
fn a_pack_that_is_mostly_garbage_is_written_anew_and_an_empty_one_goes() {
    let (_dir, path) = temp_store();
    let store = open(&path);
    let chunks = transcript(1, 60, 60_000);
    let gone = transcript(2, 60, 60_000);
    store.put_chunks(&chunks).unwrap();
    store.put_chunks(&gone).unwrap();
    let kept: Vec<_> = chunks.iter().step_by(7).cloned().collect();
    let roots = wants(&kept);
    collect(&store, &roots, 0);
    let done = collect(&store, &roots, 1);
    assert_eq!(done.freed, 120 - kept.len() as u64);
    assert_eq!(done.moved, kept.len() as u64);
    served(&store, &kept);
    let stats = store.stats().unwrap();
    assert_eq!(stats.chunks, kept.len() as u64);
    // Nothing of it is left once the file is written anew.
    let file = store.compact(&mut || true).unwrap().after;
    assert!(file < 2 * 1024 * 1024 + stats.packed_bytes, "{file}");
    let report = store.verify(true, &mut |_, _| {}).unwrap();
    assert_eq!((report.recovered, report.bytes), (0, stats.raw_bytes));
    // It can come again.
    store.put_chunks(&chunks).unwrap();
    served(&store, &chunks);
}

/// Flips a bit in every copy of this in the file.
fn flip(file: &mut [u8], what: &[u8]) {
    let places: Vec<usize> = (0..file.len() - what.len())
        .filter(|at| file[*at..].starts_with(what))
        .collect();
    assert!(!places.is_empty());
    for at in places {
        file[at + 10] ^= 1;
    }
}

#[test]
fn k_s07_a_damaged_pack_costs_what_is_in_it_and_comes_again() {
    let (dir, path) = temp_store();
    let store = open(&path);
    let (s, other) = (session(5, 40, 9000), session(6, 40, 9000));
    for session in [&s, &other] {
        store.put_chunks(&session.chunks).unwrap();
        let complete = vec![session.want];
        let batch = Batch {
            complete,
            ..Batch::default()
        };
        store.commit(&batch).unwrap();
    }
    drop(store);
    let mut file = std::fs::read(&path).unwrap();
    flip(&mut file, &s.chunks[9].1[100..164]);
    std::fs::write(&path, &file).unwrap();
    let store = open(&path);
    let report = store.verify(true, &mut |_, _| {}).unwrap();
    let damaged: BTreeSet<&str> = report
        .problems
        .iter()
        .filter(|p| p.kind == ProblemKind::Chunk)
        .map(|p| p.id.as_str())
        .collect();
    assert!(damaged.contains(s.chunks[9].0.to_string().as_str()));
    let of_s: BTreeSet<String> = s.chunks.iter().map(|c| c.0.to_string()).collect();
    assert!(damaged.iter().all(|id| of_s.contains(*id)));
    assert_eq!(store.complete().unwrap(), BTreeSet::from([other.want]));
    // It comes from a peer, and all is well.
    let missing = store.missing(s.want).unwrap();
    assert_eq!(missing.len(), damaged.len());
    store.put_chunks(&s.chunks).unwrap();
    // The damaged pack is written anew, and what else is small with it.
    assert_eq!(collect(&store, &[s.want, other.want], 0).moved, 80);
    served(&store, &s.chunks);
    // What is saved of the damaged file is everything else.
    std::fs::write(&path, &file).unwrap();
    let new = open(&dir.path().join("new.redb"));
    let saved = salvage(&path, &new, DeviceId([1; 32])).unwrap();
    assert_eq!(saved.chunks_lost, damaged.len() as u64);
    served(&new, &other.chunks);
    // And where no table can be read, packs are found page by page.
    file[..4096].fill(0);
    std::fs::write(&path, &file).unwrap();
    let new = open(&dir.path().join("newer.redb"));
    let saved = salvage(&path, &new, DeviceId([1; 32])).unwrap();
    assert!(!saved.by_table);
    let ids: Vec<ChunkId> = s.chunks.iter().chain(&other.chunks).map(|c| c.0).collect();
    let here = new.has(&ids).unwrap();
    let lost = here.iter().filter(|here| !**here).count();
    assert_eq!(lost, damaged.len());
    served(&new, &other.chunks);
}

#[test]
fn a_damaged_list_of_a_pack_is_made_anew() {
    let (_dir, path) = temp_store();
    let store = open(&path);
    let chunks = session(5, 40, 9000).chunks.split_off(1);
    store.put_chunks(&chunks).unwrap();
    drop(store);
    let mut file = std::fs::read(&path).unwrap();
    // Two ids stand 40 bytes apart nowhere but in the list.
    let places: Vec<usize> = (0..file.len() - 72)
        .filter(|at| {
            file[*at..].starts_with(&chunks[3].0.0) && file[at + 40..].starts_with(&chunks[4].0.0)
        })
        .collect();
    assert!(!places.is_empty());
    for at in places {
        file[at] ^= 1;
    }
    std::fs::write(&path, &file).unwrap();
    let store = open(&path);
    let report = store.verify(true, &mut |_, _| {}).unwrap();
    let kinds: Vec<_> = report.problems.iter().map(|p| p.kind).collect();
    assert_eq!(kinds, [ProblemKind::Index], "redb has its own check");
    assert_eq!(report.bytes, 40 * 9000);
    served(&store, &chunks);
    // The collector relies on it again.
    collect(&store, &[], 0);
    assert_eq!(collect(&store, &[], 1).freed, 40);
    assert_eq!(store.stats().unwrap().packed_bytes, 0);
    assert!(store.compact(&mut || true).unwrap().after < 40 * 9000 + 1024 * 1024 * 2);
}

#[test]
fn a_turn_costs_no_pack() {
    let (_dir, path) = temp_store();
    let store = open(&path);
    let turn = chunk(text(1, 12_000));
    let s = session(4, 2, 100);
    let content = [&s.chunks[..], std::slice::from_ref(&turn)].concat();
    store.commit_with(&Batch::default(), &content, &[]).unwrap();
    let stats = store.stats().unwrap();
    assert!(stats.packed_bytes < 4096, "{stats:?}");
    assert!(content.iter().map(|c| c.1.len()).sum::<usize>() < limits::CHUNK_BYTES_MAX);
    served(&store, &content);
}
