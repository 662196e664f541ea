//! What the crash and fault tests let a store do, and what it may hold before,
//! while and after it does so.

use std::collections::{BTreeMap, BTreeSet};

use ccpeer_core::entry::VerifiedEntry;
use ccpeer_core::id::{ChunkId, EntryHash};
use ccpeer_core::limits;
use ccpeer_core::manifest::Want;
use ccpeer_core::store::Batch;
use ccpeer_core::time::Instant;
use ccpeer_store::{CollectPlan, Namespace, NoteWrite, Store, StoreError};

use crate::bench::{Bench, Image};
use crate::fixture::*;

/// One step; each may be repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// These chunks: of which session, from, to.
    Put(usize, usize, usize),
    /// Notes, different for each number.
    Notes(u8),
    /// Six entries of a log, the first with this index, and a session complete.
    Commit(usize, Option<usize>),
    /// A chunk struck off.
    Quarantine(usize, usize),
    Verify,
    /// So many runs of the collector, a while apart; only the first session is
    /// needed.
    Collect(u64),
    Compact,
}

use Step::*;

/// A life, in short: everything that a store can be asked to change.
pub(crate) const LIFE: [Step; 22] = [
    Put(0, 0, 5),
    Notes(1),
    Commit(0, None),
    Put(0, 5, 12),
    Commit(6, Some(0)),
    Put(1, 0, 60),
    Notes(2),
    Put(1, 60, 142),
    Commit(12, Some(1)),
    Quarantine(0, 3),
    Verify,
    Put(0, 3, 4),
    Commit(18, Some(0)),
    Collect(1),
    Notes(3),
    Collect(3),
    Compact,
    Commit(24, None),
    Put(2, 0, 5),
    Quarantine(2, 2),
    Compact,
    Notes(4),
];

impl Step {
    /// Whether it is done in one transaction.
    fn is_atomic(self) -> bool {
        !matches!(self, Quarantine(..) | Collect(_))
    }
}

pub(crate) struct Workload {
    log: Vec<VerifiedEntry>,
    pub(crate) sessions: [Session; 3],
}

/// All that a store holds, in terms that can be compared.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Holding {
    pub(crate) entries: BTreeSet<EntryHash>,
    complete: BTreeSet<Want>,
    chunks: BTreeSet<ChunkId>,
    pub(crate) notes: BTreeMap<(String, Vec<u8>), Vec<u8>>,
}

impl Workload {
    pub(crate) fn new() -> Self {
        Self {
            log: chain(1, 36),
            // Of several parts, of tails only with a list page, of one part.
            sessions: [
                session(5, 11, 9000),
                session(6, 140, 700),
                session(7, 4, 5000),
            ],
        }
    }

    pub(crate) fn run(&self, store: &Store, step: Step) -> Result<(), StoreError> {
        match step {
            Put(session, from, to) => store.put_chunks(&self.sessions[session].chunks[from..to]),
            Notes(n) => store.put_notes(&notes(n)),
            Commit(from, complete) => store.commit(&Batch {
                entries: self.log[from..from + 6].to_vec(),
                complete: complete
                    .map(|n| self.sessions[n].want)
                    .into_iter()
                    .collect(),
                epoch: None,
            }),
            Quarantine(session, chunk) => {
                let id = self.sessions[session].chunks[chunk].0;
                store.quarantine(&[id]).map(|_| ())
            }
            Verify => store.verify(true, &mut |_, _| {}).map(|_| ()),
            Collect(runs) => {
                for run in 0..runs {
                    let now = Instant(run * limits::COLLECT_STEP_MS_MAX);
                    let mut plan = CollectPlan::new(vec![self.sessions[0].want], now);
                    plan.grace_ms = limits::COLLECT_STEP_MS_MAX;
                    assert!(store.collect(&plan, &mut || true)?.finished);
                }
                Ok(())
            }
            Compact => store
                .compact(&mut || true)
                .map(|done| assert!(done.finished)),
        }
    }

    pub(crate) fn holding(&self, store: &Store) -> Holding {
        let recovered = store.recovered().unwrap();
        let ids: Vec<ChunkId> = self
            .sessions
            .iter()
            .flat_map(|s| s.chunks.iter().map(|c| c.0))
            .collect();
        let here = store.has(&ids).unwrap();
        let mut notes = BTreeMap::new();
        for ns in Namespace::ALL {
            for (key, value) in store.notes(ns).unwrap() {
                notes.insert((ns.to_string(), key), value);
            }
        }
        Holding {
            entries: recovered.entries.iter().map(VerifiedEntry::hash).collect(),
            complete: recovered.complete,
            chunks: ids
                .into_iter()
                .zip(here)
                .filter_map(|(id, h)| h.then_some(id))
                .collect(),
            notes,
        }
    }

    /// What is held at the beginning and after each step, and the disk then.
    pub(crate) fn story(&self, steps: &[Step]) -> (Vec<Holding>, Vec<Image>) {
        let bench = Bench::new();
        let store = bench.store().unwrap();
        let mut story = vec![self.holding(&copy_of(&bench))];
        let mut images = vec![bench.image()];
        for step in steps {
            self.run(&store, *step).unwrap();
            story.push(self.holding(&copy_of(&bench)));
            images.push(bench.image());
        }
        (story, images)
    }

    /// Checks what is left of a run that was cut off in this step.
    pub(crate) fn check(&self, store: &Store, step: Step, before: &Holding, after: &Holding) {
        let held = self.holding(store);
        assert!(
            held.lies_between(before, after),
            "{step:?}: neither what was nor what will be"
        );
        assert!(
            !step.is_atomic() || held == *before || held == *after,
            "{step:?}: all of it or nothing"
        );
    }

    pub(crate) fn is_sound(&self, store: &Store) {
        for want in store.complete().unwrap() {
            let missing = store.missing(want).unwrap();
            assert_eq!(missing, [], "what is complete is here");
        }
        let report = store.verify(true, &mut |_, _| {}).unwrap();
        assert_eq!(report.problems, [], "a crash is no damage");
    }

    /// That the step can be done now, whatever became of it before.
    pub(crate) fn go_on(&self, store: &Store, step: Step, after: &Holding) {
        self.run(store, step).unwrap();
        // What was asked for is not collected, and we have asked.
        assert!(
            !step.is_atomic() || self.holding(store) == *after,
            "{step:?}: it can be done again"
        );
    }
}

impl Holding {
    /// Nothing that was before and after is gone, nothing is there that was
    /// neither before nor after.
    fn lies_between(&self, before: &Self, after: &Self) -> bool {
        fn between<T: Ord>(x: &BTreeSet<T>, a: &BTreeSet<T>, b: &BTreeSet<T>) -> bool {
            x.iter().all(|e| a.contains(e) || b.contains(e))
                && a.intersection(b).all(|e| x.contains(e))
        }
        let pairs = |h: &Self| h.notes.clone().into_iter().collect::<BTreeSet<_>>();
        between(&self.entries, &before.entries, &after.entries)
            && between(&self.complete, &before.complete, &after.complete)
            && between(&self.chunks, &before.chunks, &after.chunks)
            && between(&pairs(self), &pairs(before), &pairs(after))
    }
}

/// A store on a copy of what a disk holds now.
pub(crate) fn copy_of(bench: &Bench) -> Store {
    Bench::holding(bench.image()).store().unwrap()
}

/// One that changes each time, one that stays, one that goes away.
fn notes(n: u8) -> Vec<NoteWrite> {
    let write = |key: &[u8], value: Option<Vec<u8>>| NoteWrite {
        ns: Namespace::Capture,
        key: key.to_vec(),
        value,
    };
    vec![
        write(b"changes", Some(vec![n; 300])),
        write(&[n], Some(vec![1; 5000])),
        write(&[n.wrapping_sub(2)], None),
    ]
}
