//! What the bench must show in every run of the tests: thousands of worlds
//! without a broken invariant, the same twice, and an eye for planted bugs.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Mutex;

use ccpeer_core::entry::SignedEntry;
use ccpeer_core::id::{ChunkId, Epoch, LogId, Seq};
use ccpeer_core::store::{Batch, Recovered, Store, contract};

use crate::disk::{Disk, DiskError};
use crate::mutants;
use crate::survey::{Survey, on_all_cores, with_good_clocks_too};
use crate::swarm::{FaultKind, Habit, Options};
use crate::world::{Outcome, Run, run};

/// How many seeds are run: a quick form, or as many as `CCPEER_SIM_SEEDS` says.
fn seeds() -> u64 {
    let asked = std::env::var("CCPEER_SIM_SEEDS").ok();
    asked.map_or(800, |n| n.parse().unwrap())
}

fn assert_well(outcome: &Outcome) {
    if let Some(failure) = &outcome.failure {
        let lines: Vec<String> = outcome.lines.iter().map(ToString::to_string).collect();
        panic!(
            "seed {}: {failure:?}\n{:#?}\n{}",
            outcome.seed,
            outcome.options,
            lines.join("\n")
        );
    }
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
    for seed in seeds {
        assert_well(&mutants::examine(seed, None));
    }
}

/// Also K-D02: a tenth of them twice. K-D03: `heal_bound` is the bound. K-D04:
/// see `with_good_clocks_too`. K-D05, K-D06, K-N12, K-N13 and K-N14 are checks
/// that run in every world in which there is a clone, a name or a hostile peer.
#[test]
fn k_d01_every_world_keeps_the_invariants_and_agrees() {
    let survey = Mutex::new(Survey::default());
    on_all_cores(seeds(), |seed| {
        let outcome = mutants::examine(seed, None);
        assert_well(&outcome);
        if seed % 10 == 0 {
            let again = run(seed, Run::default());
            assert_eq!(outcome.trace_hash, again.trace_hash, "K-D02: seed {seed}");
        }
        survey.lock().unwrap().add(&outcome);
    });
    let survey = survey.into_inner().unwrap();
    assert_eq!(survey.idle_knobs(), Vec::<&str>::new(), "{survey}");
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

/// Runs worlds of the kind that `which` chooses until there were enough, each
/// with everything looked at.
fn worlds_with(which: impl Fn(&Options) -> bool, count: usize) -> Vec<Outcome> {
    let chosen = (10_000..).filter(|seed| which(&Options::of(*seed)));
    chosen
        .take(count)
        .map(|seed| mutants::examine(seed, None))
        .inspect(assert_well)
        .collect()
}

fn times(outcomes: &[Outcome], what: &str) -> u64 {
    let of = |o: &Outcome| o.faults.get(what).copied().unwrap_or(0);
    outcomes.iter().map(of).sum()
}

#[test]
fn k_d02_a_seed_gives_the_same_run_twice() {
    for seed in 20_000..20_010 {
        let (one, two) = (run(seed, Run::default()), run(seed, Run::default()));
        assert_eq!((one.trace_hash, one.steps), (two.trace_hash, two.steps));
    }
}

#[test]
fn k_d03_healed_worlds_agree_within_two_rounds_for_each_hop() {
    let quick = |o: &Options| o.hostile.is_none() && !o.may_fork() && !o.has(FaultKind::BitFlip);
    for outcome in worlds_with(quick, 40) {
        let bound = 120_000 * outcome.diameter.max(1) + 60_000;
        assert!(outcome.healed_ms <= bound, "seed {}", outcome.seed);
    }
}

#[test]
fn k_d04_wrong_clocks_change_labels_and_nothing_else() {
    let wrong = |o: &Options| !o.may_fork() && (o.skew_ms > 0 || o.has(FaultKind::ClockStep));
    let chosen = (10_000..).filter(|seed| wrong(&Options::of(*seed)));
    for seed in chosen.take(40) {
        assert_well(&with_good_clocks_too(seed, None));
    }
}

#[test]
fn k_d05_a_clone_and_a_restored_backup_are_found_and_lose_nothing() {
    let outcomes = worlds_with(|o| o.has(FaultKind::Clone) || o.has(FaultKind::Restore), 40);
    assert!(times(&outcomes, "cloned device") > 0 && times(&outcomes, "restored backup") > 0);
    assert!(times(&outcomes, "own fork found") > 0 && times(&outcomes, "fork told") > 0);
}

#[test]
fn k_d06_names_that_are_alike_or_change_confuse_nobody() {
    // Half of all devices call themselves "desk", and all rename themselves now
    // and then; the check is `name_lacks`, in every world.
    worlds_with(|o| o.devices > 2, 30);
}

#[test]
fn k_n12_what_is_replayed_changes_nothing() {
    let replays = |o: &Options| o.replay > 0 || is_hostile(o, Habit::Replay);
    let outcomes = worlds_with(replays, 40);
    assert!(times(&outcomes, "replay") > 0);
}

#[test]
fn k_n13_words_under_another_name_are_refused() {
    let outcomes = worlds_with(|o| is_hostile(o, Habit::Forge), 20);
    assert!(times(&outcomes, "forgery seen") > 0);
    assert!(times(&outcomes, "link closed for nonsense") > 0);
}

#[test]
fn k_n14_an_author_who_says_two_things_is_found_out_by_all() {
    let outcomes = worlds_with(|o| is_hostile(o, Habit::Equivocate), 20);
    assert!(times(&outcomes, "fork told") > 0);
}

fn is_hostile(options: &Options, habit: Habit) -> bool {
    let habits = options.hostile.as_ref();
    habits.is_some_and(|habits| habits.contains(&habit))
}

/// A handle to a disk that outlives it.
struct Mount(Rc<RefCell<Disk>>);

impl Drop for Mount {
    fn drop(&mut self) {
        self.0.borrow_mut().crash(|| false);
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
