//! A disk that fails once, at any one operation, in every way: of everything that
//! a store does. What was acknowledged stays, also when the power goes
//! afterwards; the same store goes on by itself. And a disk that is full, at any
//! size.
//!
//! `CCPEER_FAULTS=all` tries every operation and every size; without it some.

use std::collections::BTreeMap;

use ccpeer_core::id::Seq;
use ccpeer_core::store::Batch;
use ccpeer_store::{Store, StoreError};

use crate::bench::{Bench, FAULTS, Fault, Image};
use crate::fixture::*;
use crate::workload::{Holding, LIFE, Step, Workload};

fn all() -> bool {
    std::env::var("CCPEER_FAULTS").is_ok_and(|v| v == "all")
}

/// Lets operation after operation of a step fail, until none is left. Returns
/// how often it did.
fn fail_everywhere(
    workload: &Workload,
    (step, image): (Step, &Image),
    (before, after): (&Holding, &Holding),
    (fault, first, stride): (Fault, u64, u64),
) -> u64 {
    for (count, at) in (0..).zip((first..).step_by(stride as usize)) {
        let bench = Bench::holding(image.clone());
        let store = bench.store().unwrap();
        bench.fail(at, fault);
        let result = workload.run(&store, step);
        if !bench.tripped() {
            result.unwrap();
            return count;
        }
        if let Err(e) = &result {
            assert!(e.is_transient(), "{step:?}, {fault:?} at {at}: {e}");
        }
        // A check tells what it finds, also where it cannot note it.
        let acknowledged = if result.is_ok() && step != Step::Verify {
            after
        } else {
            before
        };
        // Of the same store, without anybody's help.
        workload.check(&store, step, acknowledged, after);
        workload.go_on(&store, step, after);
        // What was acknowledged now does not hang on the sync that failed.
        drop(store);
        let survived = Bench::holding(bench.durable()).store().unwrap();
        workload.check(&survived, step, after, after);
        if count % 4 == 0 {
            workload.is_sound(&survived);
        }
    }
    unreachable!("it ends when nothing is left to fail")
}

#[test]
fn k_s06_any_one_operation_fails_in_any_way_of_anything_a_store_does() {
    let workload = Workload::new();
    let (story, images) = workload.story(&LIFE);
    let mut places: BTreeMap<String, u64> = BTreeMap::new();
    let mut seed = 0;
    for (n, step) in LIFE.iter().enumerate() {
        for fault in FAULTS {
            seed += 1;
            let (first, stride) = match (all(), step) {
                (true, _) => (0, 1),
                (false, Step::Compact) => (seed * 7 % 97, 97),
                (false, _) => (seed * 7 % 29, 29),
            };
            let count = fail_everywhere(
                &workload,
                (*step, &images[n]),
                (&story[n], &story[n + 1]),
                (fault, first, stride),
            );
            *places.entry(format!("{fault:?}")).or_default() += count;
        }
    }
    println!("failures of one operation: {places:?}");
    assert!(places.values().sum::<u64>() > 80);
}

#[test]
fn k_s06_any_one_operation_fails_while_a_store_is_opened() {
    let workload = Workload::new();
    let (story, images) = workload.story(&LIFE);
    let mut count = 0;
    for (n, (held, image)) in (0u64..).zip(story.iter().zip(&images)) {
        if !all() && n % 7 > 0 {
            continue;
        }
        for (kind, fault) in (0u64..).zip(FAULTS) {
            let stride = if all() { 1 } else { 11 };
            for at in ((n + kind) % stride..).step_by(stride as usize) {
                let bench = Bench::holding(image.clone());
                bench.fail(at, fault);
                let opened = bench.store();
                if !bench.tripped() {
                    opened.unwrap();
                    break;
                }
                count += 1;
                if let Err(e) = &opened {
                    assert!(e.is_transient(), "{fault:?} at {at}: {e}");
                }
                drop(opened);
                bench.mend();
                drop(bench.store().unwrap());
                let survived = Bench::holding(bench.durable()).store().unwrap();
                assert!(workload.holding(&survived) == *held);
            }
        }
    }
    println!("failures while opening: {count}");
    assert!(count > 20);
}

/// As far as it gets; with the step that did not fit.
fn live(workload: &Workload, store: &Store, from: usize) -> Result<(), usize> {
    for (n, step) in LIFE.iter().enumerate().skip(from) {
        match workload.run(store, *step) {
            Ok(()) => {}
            Err(StoreError::Full) => return Err(n),
            Err(e) => panic!("{step:?}: {e}"),
        }
    }
    Ok(())
}

#[test]
fn k_s04_a_disk_of_any_size_refuses_cleanly_and_goes_on_when_it_grows() {
    const FIRST: usize = 64 * 1024;
    const GROWTH: usize = 4096;
    let workload = Workload::new();
    let (story, _) = workload.story(&LIFE);
    let mut stopped: BTreeMap<usize, usize> = BTreeMap::new();
    let mut steps = 0;
    loop {
        let bench = Bench::new();
        bench.make_room(Some(FIRST + steps * GROWTH));
        let store = match bench.store() {
            Ok(store) => store,
            Err(StoreError::Full) => {
                bench.make_room(None);
                bench.store().unwrap()
            }
            Err(e) => panic!("{e}"),
        };
        let mut done = 0;
        while let Err(at) = live(&workload, &store, done) {
            *stopped.entry(at).or_default() += 1;
            // Old data can be read, and nothing is half there.
            workload.check(&store, LIFE[at], &story[at], &story[at + 1]);
            bench.make_room(None);
            done = at;
        }
        let held = workload.holding(&store);
        let last = story.last().unwrap();
        assert!(held.entries == last.entries && held.notes == last.notes);
        let needed: Vec<_> = workload.sessions[0].chunks.iter().map(|c| c.0).collect();
        assert!(store.has(&needed).unwrap().iter().all(|here| *here));
        workload.is_sound(&store);
        if !stopped.is_empty() && steps > 256 {
            break;
        }
        steps += if all() { 1 } else { 43 };
    }
    println!("{steps} sizes; full at step: {stopped:?}");
    assert!(stopped.len() > 3, "it was full at many points");
}

#[test]
fn k_s05_a_first_sync_that_ran_into_a_full_disk_fills_its_holes() {
    let (_dir, path) = temp_store();
    let source = open(&path);
    let log = chain(2, 200);
    source.commit(&batch(&log)).unwrap();
    let sessions = [session(1, 20, 20_000), session(2, 140, 2000)];
    for session in &sessions {
        source.put_chunks(&session.chunks).unwrap();
    }
    // What an agent does, as often as it takes.
    let sync = |store: &Store| -> Result<(), StoreError> {
        let mut seq = store.recovered()?.entries.len() as u64;
        while seq < 200 {
            let range = source.range(log[0].log(), Seq(seq), Seq(200), 8000)?;
            let from = seq as usize;
            seq += range.len() as u64;
            store.commit(&batch(&log[from..seq as usize]))?;
        }
        for session in &sessions {
            loop {
                let missing = store.missing(session.want)?;
                let some: Vec<_> = missing
                    .iter()
                    .take(16)
                    .map(|want| (want.id, source.get_chunk(&want.id).unwrap().unwrap()))
                    .collect();
                if some.is_empty() {
                    break;
                }
                store.put_chunks(&some)?;
            }
            store.commit(&Batch {
                complete: vec![session.want],
                ..Batch::default()
            })?;
        }
        Ok(())
    };
    let mut full = 0;
    for room in (64..1200).step_by(if all() { 4 } else { 100 }) {
        let bench = Bench::new();
        drop(bench.store().unwrap());
        bench.make_room(Some(room * 1024));
        let store = bench.store().unwrap();
        match sync(&store) {
            Ok(()) => continue,
            Err(e) => assert_eq!(e, StoreError::Full),
        }
        full += 1;
        let recovered = store.recovered().unwrap();
        assert_eq!(recovered.entries, log[..recovered.entries.len()]);
        bench.make_room(None);
        sync(&store).unwrap();
        assert_eq!(store.recovered().unwrap().entries, log);
        assert_eq!(store.complete().unwrap().len(), 2);
        for session in &sessions {
            assert_eq!(store.missing(session.want).unwrap(), []);
        }
        assert_eq!(store.verify(true, &mut |_, _| {}).unwrap().problems, []);
    }
    println!("{full} syncs into a full disk");
    assert!(full > 5);
}
