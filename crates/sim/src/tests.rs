//! What the bench must show in every run of the tests: thousands of worlds
//! without a broken invariant, the same twice, and an eye for planted bugs.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

use ccpeer_core::entry::SignedEntry;
use ccpeer_core::id::{ChunkId, Epoch, LogId, Seq};
use ccpeer_core::store::{Batch, Recovered, Store, contract};

use crate::disk::{Disk, DiskError};
use crate::mutants;
use crate::world::{Run, run};

const SEEDS: u64 = 2_000;

/// Runs `work` for every number below `count`, on all cores.
fn on_all_cores(count: u64, work: impl Fn(u64) + Sync) {
    let next = AtomicU64::new(0);
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= count {
                        break;
                    }
                    work(n);
                }
            });
        }
    });
}

fn assert_well(seed: u64) -> u64 {
    let outcome = run(seed, Run::default());
    if let Some(failure) = &outcome.failure {
        let lines: Vec<String> = outcome.lines.iter().map(ToString::to_string).collect();
        panic!("seed {seed}: {failure:?}\n{}", lines.join("\n"));
    }
    outcome.trace_hash
}

#[test]
fn seeds_that_once_failed_stay_well() {
    let list = include_str!("../regressions.txt");
    let seeds: Vec<u64> = list
        .lines()
        .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
        .map(|line| line.split_whitespace().next().unwrap().parse().unwrap())
        .collect();
    assert!(!seeds.is_empty());
    seeds.into_iter().for_each(|seed| {
        assert_well(seed);
    });
}

#[test]
fn k_d01_every_world_keeps_the_invariants_and_agrees() {
    on_all_cores(SEEDS, |seed| {
        let hash = assert_well(seed);
        // K-D02: a tenth of them twice.
        if seed % 10 == 0 {
            assert_eq!(hash, assert_well(seed), "seed {seed} is not the same twice");
        }
    });
}

#[test]
fn k_d07_planted_bugs_are_found() {
    on_all_cores(mutants::ALL.len() as u64, |n| {
        let (mutant, name, from) = mutants::ALL[n as usize];
        assert!(
            mutants::hunt(mutant, from).is_some(),
            "nothing saw the mutant {name:?}"
        );
    });
}

/// A handle to a disk that outlives it.
struct Mount(Rc<RefCell<Disk>>);

impl Drop for Mount {
    fn drop(&mut self) {
        self.0.borrow_mut().crash(0);
    }
}

impl Store for Mount {
    type Error = DiskError;

    fn commit(&mut self, batch: &Batch) -> Result<(), DiskError> {
        self.0.borrow_mut().commit(batch)
    }
    fn recovered(&self) -> Result<Recovered, DiskError> {
        self.0.borrow().recovered()
    }
    fn range(
        &self,
        log: LogId,
        after: Seq,
        upto: Seq,
        bytes_max: usize,
    ) -> Result<Vec<SignedEntry>, DiskError> {
        self.0.borrow().range(log, after, upto, bytes_max)
    }
    fn put_chunks(&mut self, chunks: &[(ChunkId, Vec<u8>)]) -> Result<(), DiskError> {
        self.0.borrow_mut().put_chunks(chunks)
    }
    fn get_chunk(&self, id: &ChunkId) -> Result<Option<Vec<u8>>, DiskError> {
        self.0.borrow().get_chunk(id)
    }
    fn has(&self, ids: &[ChunkId]) -> Result<Vec<bool>, DiskError> {
        self.0.borrow().has(ids)
    }
}

#[test]
fn the_simulated_disk_keeps_the_store_contract() {
    let disk = Rc::new(RefCell::new(Disk::fresh(Epoch([1; 16]))));
    contract::check(&mut || Mount(Rc::clone(&disk)));
}
