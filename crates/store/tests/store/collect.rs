//! The collector: what is needed stays, what is not goes, but not soon, and no
//! clock makes it sooner.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use ccpeer_core::id::{ChunkId, SessionId};
use ccpeer_core::limits;
use ccpeer_core::manifest::{ChunkRef, Want, WantKind};
use ccpeer_core::store::Batch;
use ccpeer_core::time::{Instant, Timestamp};
use ccpeer_store::{CollectPlan, Collected, Store};

use crate::fixture::*;

/// An agent that runs the collector now and then.
struct Agent {
    now: Instant,
}

impl Agent {
    fn new() -> Self {
        Self { now: Instant(5000) }
    }

    fn collect(&mut self, store: &Store, roots: &[Want], later_ms: u64) -> Collected {
        self.now = self.now.after_ms(later_ms);
        let plan = CollectPlan::new(roots.to_vec(), self.now);
        let done = store.collect(&plan, &mut || true).unwrap();
        assert!(done.finished || !done.obscured.is_empty());
        done
    }

    /// As many runs as it takes for the grace to pass, and one more.
    fn collect_for_long(&mut self, store: &Store, roots: &[Want]) -> Collected {
        let mut all = Collected::default();
        for _ in 0..=RUNS {
            let done = self.collect(store, roots, limits::COLLECT_STEP_MS_MAX);
            all.freed += done.freed;
            all.freed_bytes += done.freed_bytes;
            all.pardoned += done.pardoned;
            all.withdrawn.extend(done.withdrawn);
            all.obscured = done.obscured;
        }
        all
    }
}

/// The runs after which a grace has passed.
const RUNS: u64 = limits::COLLECT_GRACE_MS / limits::COLLECT_STEP_MS_MAX;

fn complete(store: &Store, session: &Session) {
    store
        .commit(&Batch {
            complete: vec![session.want],
            ..Batch::default()
        })
        .unwrap();
}

fn ids(session: &Session) -> Vec<ChunkId> {
    session.chunks.iter().map(|c| c.0).collect()
}

fn all_here(store: &Store, session: &Session) -> bool {
    store.has(&ids(session)).unwrap().iter().all(|here| *here)
}

fn none_here(store: &Store, session: &Session) -> bool {
    store.has(&ids(session)).unwrap().iter().all(|here| !*here)
}

fn is_sound(store: &Store) {
    assert_eq!(store.verify(true, &mut |_, _| {}).unwrap().problems, []);
}

#[test]
fn k_s10_garbage_goes_after_the_grace_and_what_is_needed_stays() {
    let (_dir, path) = temp_store();
    let store = open(&path);
    // Two list pages and a tail; chunks of several parts, of one, and of a tail.
    let (kept, gone) = (session(1, 300, 9000), session(2, 300, 900));
    let stray = chunk(noise(9, 70_000));
    for session in [&kept, &gone] {
        store.put_chunks(&session.chunks).unwrap();
        complete(&store, session);
    }
    let before = store.stats().unwrap();
    store.put_chunks(std::slice::from_ref(&stray)).unwrap();
    let mut agent = Agent::new();
    let first = agent.collect(&store, &[kept.want], 0);
    assert_eq!(first.needed, kept.chunks.len() as u64);
    assert_eq!(first.condemned, gone.chunks.len() as u64 + 1);
    for run in 1..RUNS {
        let done = agent.collect(&store, &[kept.want], limits::COLLECT_STEP_MS_MAX);
        assert_eq!((done.freed, done.withdrawn.len()), (0, 0), "run {run}");
        assert_eq!(done.waiting, first.condemned);
    }
    is_sound(&store);
    let last = agent.collect(&store, &[kept.want], limits::COLLECT_STEP_MS_MAX);
    assert_eq!((last.freed, last.waiting), (first.condemned, 0));
    assert_eq!(last.withdrawn, [gone.want]);
    assert!(all_here(&store, &kept) && none_here(&store, &gone));
    assert_eq!(store.has(&[stray.0]).unwrap(), [false]);
    assert_eq!(store.complete().unwrap(), BTreeSet::from([kept.want]));
    let after = store.stats().unwrap();
    assert_eq!(
        before.packed_bytes - after.packed_bytes + stray.1.len() as u64 + 5,
        last.freed_bytes
    );
    assert_eq!(
        after.raw_bytes,
        kept.chunks.iter().map(|c| c.1.len() as u64).sum::<u64>()
    );
    is_sound(&store);
    // It can come again.
    store.put_chunks(&gone.chunks).unwrap();
    assert!(all_here(&store, &gone));
    is_sound(&store);
}

#[test]
fn k_s10_no_clock_hastens_the_end() {
    let (_dir, path) = temp_store();
    let garbage = session(1, 5, 3000);
    let mut agent = Agent::new();
    let store = open(&path);
    store.put_chunks(&garbage.chunks).unwrap();
    agent.collect(&store, &[], 0);
    // A jump of years is worth one step, a jump back nothing.
    let year = 365 * 24 * 3_600_000;
    assert_eq!(agent.collect(&store, &[], year).freed, 0);
    agent.now = Instant(0);
    assert_eq!(agent.collect(&store, &[], 0).freed, 0);
    drop(store);
    // Nor does a restart, of which nobody can say how long it took.
    for _ in 0..RUNS {
        let store = open(&path);
        assert_eq!(agent.collect(&store, &[], year).freed, 0);
    }
    let store = open(&path);
    agent.collect(&store, &[], 0);
    let mut runs = 0;
    while agent.collect(&store, &[], year).freed == 0 {
        runs += 1;
    }
    assert_eq!(runs, RUNS - 2, "what was counted before still counts");
    assert!(none_here(&store, &garbage));
}

#[test]
fn k_s10_what_is_asked_for_put_or_completed_is_pardoned() {
    let (_dir, path) = temp_store();
    let store = open(&path);
    type Rescue = fn(&Store, &Session);
    let rescues: [(&str, Rescue); 4] = [
        ("put", |store, s| store.put_chunks(&s.chunks).unwrap()),
        ("has", |store, s| assert!(all_here(store, s))),
        ("missing", |store, s| {
            assert_eq!(store.missing(s.want).unwrap(), [])
        }),
        ("complete", |store, s| complete(store, s)),
    ];
    for (seed, (name, rescue)) in (1..).zip(rescues) {
        let s = session(seed, 140, 2000);
        store.put_chunks(&s.chunks).unwrap();
        let mut agent = Agent::new();
        agent.collect(&store, &[], 0);
        for _ in 1..RUNS {
            agent.collect(&store, &[], limits::COLLECT_STEP_MS_MAX);
        }
        rescue(&store, &s);
        let count = s.chunks.len() as u64;
        // The last moment has passed; from here on it waits as long again.
        for run in 0..RUNS {
            let done = agent.collect(&store, &[], limits::COLLECT_STEP_MS_MAX);
            assert_eq!(done.freed, 0, "{name}, run {run}");
            let condemned = if run == 0 { count } else { 0 };
            assert_eq!(done.condemned, condemned, "{name}, run {run}");
        }
        let done = agent.collect_for_long(&store, &[]);
        assert_eq!(done.freed, count, "{name}");
    }
    assert_eq!(store.stats().unwrap().chunks, 0);
    // A put pardons durably: it was acknowledged.
    let s = session(9, 10, 2000);
    store.put_chunks(&s.chunks).unwrap();
    let mut agent = Agent::new();
    for _ in 0..RUNS {
        agent.collect(&store, &[], limits::COLLECT_STEP_MS_MAX);
    }
    store.put_chunks(&s.chunks).unwrap();
    drop(store);
    let store = open(&path);
    for _ in 0..RUNS {
        let done = agent.collect(&store, &[], limits::COLLECT_STEP_MS_MAX);
        assert_eq!(done.freed, 0);
    }
}

#[test]
fn what_becomes_needed_again_stays() {
    let (_dir, path) = temp_store();
    let store = open(&path);
    let s = session(1, 200, 500);
    store.put_chunks(&s.chunks).unwrap();
    let mut agent = Agent::new();
    for _ in 0..RUNS {
        agent.collect(&store, &[], limits::COLLECT_STEP_MS_MAX);
    }
    let done = agent.collect(&store, &[s.want], limits::COLLECT_STEP_MS_MAX);
    assert_eq!((done.pardoned, done.freed), (s.chunks.len() as u64, 0));
    assert_eq!(agent.collect_for_long(&store, &[s.want]).freed, 0);
    assert!(all_here(&store, &s));
}

#[test]
fn what_a_stranger_calls_content_is_still_a_list_page() {
    let (_dir, path) = temp_store();
    let store = open(&path);
    let s = session(1, 300, 500);
    store.put_chunks(&s.chunks).unwrap();
    let pages = &s.manifest.files[0].segments[0].pages;
    // Seen first as somebody's content, manifest and pages alike.
    let mut roots: Vec<Want> = pages
        .iter()
        .chain([&s.want.id])
        .map(|id| Want {
            id: *id,
            kind: WantKind::Data,
        })
        .collect();
    roots.push(s.want);
    let done = Agent::new().collect_for_long(&store, &roots);
    assert_eq!(done.freed, 0);
    assert!(all_here(&store, &s));
    // And the other way round: what is no manifest refers to nothing.
    let wrong = Want {
        id: s.chunks[5].0,
        kind: WantKind::Manifest,
    };
    assert_eq!(
        Agent::new()
            .collect_for_long(&store, &[wrong, s.want])
            .freed,
        0
    );
}

#[test]
fn while_a_page_is_damaged_nothing_goes() {
    let (_dir, path) = temp_store();
    let store = open(&path);
    let (s, garbage) = (session(1, 200, 2000), session(2, 10, 2000));
    store.put_chunks(&s.chunks).unwrap();
    store.put_chunks(&garbage.chunks).unwrap();
    complete(&store, &s);
    drop(store);
    let page = s.manifest.files[0].segments[0].pages[0];
    damage(&path, &s.chunks[1].1);
    let store = open(&path);
    let mut agent = Agent::new();
    let first = agent.collect(&store, &[s.want], 0);
    assert_eq!(
        (first.obscured, first.condemned),
        (vec![Want::list(page)], 0)
    );
    assert_eq!(first.withdrawn, [s.want], "it is to be fetched again");
    let done = agent.collect_for_long(&store, &[s.want]);
    assert_eq!((done.freed, done.obscured), (0, vec![Want::list(page)]));
    assert_eq!(
        store.has(&ids(&garbage)).unwrap(),
        vec![true; garbage.chunks.len()]
    );
    // It comes again, and all is as it was.
    store.put_chunks(&s.chunks[1..2]).unwrap();
    let done = agent.collect_for_long(&store, &[s.want]);
    assert_eq!(done.freed, garbage.chunks.len() as u64);
    assert!(all_here(&store, &s));
}

/// Flips a bit of a chunk that is kept as it is.
fn damage(path: &std::path::Path, content: &[u8]) {
    let mut file = std::fs::read(path).unwrap();
    let at = file.windows(48).position(|w| w == &content[..48]).unwrap();
    file[at + 20] ^= 1;
    std::fs::write(path, &file).unwrap();
}

#[test]
fn a_run_that_is_stopped_anywhere_does_no_harm() {
    let (_dir, path) = temp_store();
    let store = open(&path);
    let (kept, gone) = (session(1, 300, 500), session(2, 300, 500));
    store.put_chunks(&kept.chunks).unwrap();
    store.put_chunks(&gone.chunks).unwrap();
    complete(&store, &gone);
    let mut agent = Agent::new();
    for stop in 0..60 {
        agent.now = agent.now.after_ms(limits::COLLECT_STEP_MS_MAX);
        let plan = CollectPlan::new(vec![kept.want], agent.now);
        let mut left = stop % 20;
        let done = store.collect(&plan, &mut || {
            left -= 1;
            left >= 0
        });
        assert_eq!(done.unwrap().finished, left >= 0);
        assert!(all_here(&store, &kept));
        for want in store.complete().unwrap() {
            assert_eq!(store.missing(want).unwrap(), []);
        }
    }
    agent.collect_for_long(&store, &[kept.want]);
    assert!(none_here(&store, &gone));
}

#[test]
fn k_s11_each_chunk_is_charged_to_the_first_who_reaches_it() {
    let (_dir, path) = temp_store();
    let store = open(&path);
    let (mine, theirs) = (session(1, 130, 500), session(2, 10, 4000));
    store.put_chunks(&mine.chunks).unwrap();
    // Of the other one some is not here yet.
    store.put_chunks(&theirs.chunks[..6]).unwrap();
    let (a, b, c) = (
        ccpeer_core::id::DeviceId([1; 32]),
        ccpeer_core::id::DeviceId([2; 32]),
        ccpeer_core::id::DeviceId([3; 32]),
    );
    let charges = store
        .charges(&[
            (a, vec![mine.want]),
            (b, vec![theirs.want, mine.want]),
            (c, vec![theirs.want]),
        ])
        .unwrap();
    let raw = |chunks: &[(ChunkId, Vec<u8>)]| chunks.iter().map(|c| c.1.len() as u64).sum::<u64>();
    assert_eq!(charges[&a].chunks, 132);
    assert_eq!(charges[&a].raw_bytes, raw(&mine.chunks));
    assert_eq!((charges[&b].chunks, charges[&c].chunks), (6, 0));
    assert_eq!(charges[&b].raw_bytes, raw(&theirs.chunks[..6]));
    let stats = store.stats().unwrap();
    assert_eq!(
        charges.values().map(|c| c.packed_bytes).sum::<u64>(),
        stats.packed_bytes
    );
}

#[test]
fn k_s11_whoever_floods_us_is_charged_for_it_and_evicts_nobody() {
    let (_dir, path) = temp_store();
    let store = open(&path);
    let others: Vec<Session> = (1..=5).map(|seed| session(seed, 140, 1000)).collect();
    for session in &others {
        store.put_chunks(&session.chunks).unwrap();
        complete(&store, session);
    }
    // Ten thousand small snapshots, and one that lays hands on what others have.
    let mut flood: Vec<(ChunkId, Vec<u8>)> =
        (0..10_000u64).map(|n| chunk(noise(n << 20, 64))).collect();
    let mut roots: Vec<Want> = flood
        .iter()
        .map(|(id, _)| Want {
            id: *id,
            kind: WantKind::Data,
        })
        .collect();
    let mut grasping = others[0].manifest.clone();
    grasping.session = ccpeer_core::id::SessionId([0xee; 16]);
    flood.push(chunk(grasping.to_bytes()));
    roots.push(Want {
        id: flood[10_000].0,
        kind: WantKind::Manifest,
    });
    store.put_chunks(&flood).unwrap();
    store
        .commit(&Batch {
            complete: roots.clone(),
            ..Batch::default()
        })
        .unwrap();
    let wants: Vec<Want> = others.iter().map(|s| s.want).collect();
    let (me, flooder) = (
        ccpeer_core::id::DeviceId([1; 32]),
        ccpeer_core::id::DeviceId([2; 32]),
    );
    let charges = store
        .charges(&[(me, wants.clone()), (flooder, roots)])
        .unwrap();
    let mine: usize = others.iter().map(|s| s.chunks.len()).sum();
    assert_eq!(charges[&me].chunks, mine as u64);
    assert_eq!(charges[&flooder].chunks, 10_001);
    // Its quota is hit: none of its content is kept any longer.
    let done = Agent::new().collect_for_long(&store, &wants);
    assert_eq!((done.freed, done.withdrawn.len()), (10_001, 10_001));
    assert!(others.iter().all(|session| all_here(&store, session)));
    assert_eq!(store.complete().unwrap(), wants.iter().copied().collect());
    is_sound(&store);
}

/// Writers that go on as captures do: what is here is referred to, what is not is
/// put, then the manifest, then it is complete. Of each writer only the latest
/// versions are needed. The collector runs all the time; its day is twelve runs,
/// and between two of them each writer finishes a version, so none takes a day.
#[test]
fn k_s10_beside_writers_nothing_that_is_needed_goes() {
    const WRITERS: usize = 2;
    const VERSIONS: u64 = 40;
    const NEEDED: usize = 2;
    let (_dir, path) = temp_store();
    let store = open(&path);
    let template = session(1, 1, 1).manifest;
    let needed: Mutex<Vec<Vec<Want>>> = Mutex::new(vec![Vec::new(); WRITERS]);
    let progress: Vec<AtomicU64> = (0..WRITERS).map(|_| AtomicU64::new(0)).collect();
    let write = |writer: usize, n: u64| {
        let mut refs = Vec::new();
        for i in 0..6 {
            // Few enough to meet again, after a while or in the other writer.
            let (id, content) = chunk(noise((n / 9 * 3 + i * 5) % 23, 3000));
            if store.has(&[id]).unwrap() == [false] {
                store.put_chunks(&[(id, content)]).unwrap();
            }
            refs.push(ChunkRef { id, len: 3000 });
        }
        let mut manifest = template.clone();
        manifest.session = SessionId([writer as u8; 16]);
        manifest.files[0].modified = Timestamp(n);
        manifest.files[0].segments[0].len = 18_000;
        manifest.files[0].segments[0].tail = refs.clone();
        let head = chunk(manifest.to_bytes());
        store.put_chunks(std::slice::from_ref(&head)).unwrap();
        store
            .commit(&Batch {
                complete: vec![Want::manifest(head.0)],
                ..Batch::default()
            })
            .unwrap();
        let mut needed = needed.lock().unwrap();
        needed[writer].push(Want {
            id: head.0,
            kind: WantKind::Manifest,
        });
        if needed[writer].len() > NEEDED {
            needed[writer].remove(0);
        }
        drop(needed);
        for chunk in refs {
            assert!(
                store.get_chunk(&chunk.id).unwrap().is_some(),
                "{writer}: {n}"
            );
        }
        progress[writer].store(n + 1, Ordering::Release);
    };
    let mut agent = Agent::new();
    let (mut freed, mut withdrawn) = (0, 0);
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let write = &write;
            scope.spawn(move || (0..VERSIONS).for_each(|n| write(writer, n)));
        }
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(120);
        let at = |w: &AtomicU64| w.load(Ordering::Acquire);
        while progress.iter().any(|w| at(w) < VERSIONS) {
            let begun: Vec<u64> = progress.iter().map(at).collect();
            let roots = needed.lock().unwrap().concat();
            let done = collect_beside(&mut agent, &store, roots);
            freed += done.freed;
            withdrawn += done.withdrawn.len();
            while progress
                .iter()
                .zip(&begun)
                .any(|(w, b)| at(w) < VERSIONS.min(b + 1))
            {
                assert!(std::time::Instant::now() < deadline, "a writer is stuck");
                std::thread::yield_now();
            }
        }
    });
    println!("{freed} chunks freed, {withdrawn} manifests withdrawn beside the writers");
    assert!(freed > 0 && withdrawn > 0);
    for want in store.complete().unwrap() {
        assert_eq!(store.missing(want).unwrap(), []);
    }
    let roots = needed.into_inner().unwrap().concat();
    agent.collect_for_long(&store, &roots);
    agent.collect_for_long(&store, &roots);
    assert_eq!(store.complete().unwrap().len(), WRITERS * NEEDED);
    is_sound(&store);
}

/// A run that may be cut short because somebody asked for something.
fn collect_beside(agent: &mut Agent, store: &Store, roots: Vec<Want>) -> Collected {
    agent.now = agent.now.after_ms(limits::COLLECT_STEP_MS_MAX);
    let plan = CollectPlan::new(roots, agent.now);
    store.collect(&plan, &mut || true).unwrap()
}
