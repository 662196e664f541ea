//! Power cuts and kills. A recorded run is cut off after every write, growth,
//! sync and renaming; what had been done since the last sync may have reached the
//! disk wholly, not at all, in part, in any order, or torn. Whatever is left must
//! open, hold everything that was acknowledged and nothing half, and be sound.
//! Then the power goes again while it is being opened.
//!
//! `CCPEER_CRASH_ROUNDS=n` tries every point, n times with other dice; without it
//! a few points of each step are tried.

use std::collections::{BTreeMap, BTreeSet};

use ccpeer_core::entry::device_of;
use ccpeer_store::{Store, salvage};

use crate::ages;
use crate::bench::{Bench, Event, FAULTS, Image, Names};
use crate::fixture::*;
use crate::workload::{Holding, LIFE, Step, Workload, copy_of};

/// What arrives of that which was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Nothing,
    Everything,
    Prefix,
    Subset,
    Reordered,
    Torn,
    HeaderOnly,
    LengthOnly,
}

const KINDS: [Kind; 8] = [
    Kind::Nothing,
    Kind::Everything,
    Kind::Prefix,
    Kind::Subset,
    Kind::Reordered,
    Kind::Torn,
    Kind::HeaderOnly,
    Kind::LengthOnly,
];

/// A small generator: the tests must not change from run to run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides.max(1)
    }
}

/// What the power going just now could leave.
fn cut_off(durable: &Image, pending: &[&Event], kind: Kind, dice: &mut Dice) -> Image {
    let mut image = durable.clone();
    let mut events = pending.to_vec();
    let prefix = dice.roll(pending.len() + 1);
    match kind {
        Kind::Prefix => events.truncate(prefix),
        Kind::Reordered => {
            for n in (1..events.len()).rev() {
                events.swap(n, dice.roll(n + 1));
            }
            events.truncate(prefix.max(1));
        }
        _ => {}
    }
    for event in events {
        let arrives = match kind {
            Kind::Nothing => false,
            Kind::Everything | Kind::Prefix | Kind::Reordered => true,
            Kind::Subset => dice.roll(2) == 0,
            Kind::Torn => dice.roll(4) > 0,
            Kind::HeaderOnly => matches!(event, Event::Write(_, 0, _)),
            Kind::LengthOnly => matches!(event, Event::SetLen(..)),
        };
        match event {
            _ if !arrives => {}
            // Some of its sectors, not the others.
            Event::Write(file, at, data) if kind == Kind::Torn => {
                for (n, sector) in (0..).zip(data.chunks(512)) {
                    if dice.roll(2) == 0 {
                        image.apply(&Event::Write(*file, at + n * 512, sector.to_vec()));
                    }
                }
            }
            event => image.apply(event),
        }
    }
    image
}

/// Shows `see` every image that the power going in the course of `events` could
/// leave, of every kind at every `stride`th point, and how many steps had been
/// acknowledged by then.
fn images(
    start: &Image,
    events: &[Event],
    stride: usize,
    seed: u64,
    see: &mut dyn FnMut(Kind, Image, usize),
) {
    let mut durable = start.clone();
    let mut pending: Vec<&Event> = Vec::new();
    let mut acknowledged = 0;
    let mut dice = Dice(seed);
    for (point, event) in events.iter().enumerate() {
        match event {
            Event::Acknowledged(steps) => {
                acknowledged = *steps;
                continue;
            }
            Event::Sync(file) => settle(
                &mut durable,
                &mut pending,
                |e| matches!(e, Event::Write(f, ..) | Event::SetLen(f, _) if f == file),
            ),
            Event::SyncNames => settle(&mut durable, &mut pending, |e| matches!(e, Event::Name(_))),
            Event::Write(..) | Event::SetLen(..) | Event::Name(_) => pending.push(event),
        }
        if (point + seed as usize).is_multiple_of(stride) {
            for kind in KINDS {
                let image = cut_off(&durable, &pending, kind, &mut dice);
                see(kind, image, acknowledged);
            }
        }
    }
}

/// Those of the pending events are durable from now on.
fn settle(durable: &mut Image, pending: &mut Vec<&Event>, which: impl Fn(&Event) -> bool) {
    pending.retain(|event| {
        let settled = which(event);
        if settled {
            durable.apply(event);
        }
        !settled
    });
}

/// How many images there were, and how many of them were different ones.
#[derive(Default)]
struct Tally {
    built: BTreeMap<(usize, Kind), u64>,
    tried: BTreeMap<usize, u64>,
    seen: BTreeSet<[u8; 32]>,
}

impl Tally {
    /// Whether this one is new.
    fn count(&mut self, depth: usize, kind: Kind, image: &Image, acknowledged: usize) -> bool {
        *self.built.entry((depth, kind)).or_default() += 1;
        let mut hash = image.hash();
        hash[0] ^= acknowledged as u8;
        hash[1] ^= depth as u8;
        let fresh = self.seen.insert(hash);
        *self.tried.entry(depth).or_default() += u64::from(fresh);
        fresh
    }

    fn total(&self) -> u64 {
        self.built.values().sum()
    }

    fn print(&self, name: &str) {
        for ((depth, kind), count) in &self.built {
            println!("{name}: depth {depth}, {kind:?}: {count}");
        }
        for (depth, count) in &self.tried {
            println!("{name}: depth {depth}: {count} different ones opened");
        }
        println!("{name}: {} images", self.total());
    }
}

/// Rounds over every point, or `None` for the quick form.
fn rounds() -> Option<u64> {
    std::env::var("CCPEER_CRASH_ROUNDS").ok()?.parse().ok()
}

/// Tries every image of a recorded run, and of each `deep`th of them every image
/// of its recovery.
fn try_all(
    name: &str,
    events: &[Event],
    (quick_stride, deep): (usize, u64),
    check: &dyn Fn(&Store, usize, bool),
) -> Tally {
    println!("{name}: {} things done to the disk", events.len());
    let mut tally = Tally::default();
    let stride = rounds().map_or(quick_stride, |_| 1);
    let mut number = 0u64;
    for round in 0..rounds().unwrap_or(1) {
        images(
            &Image::default(),
            events,
            stride,
            round,
            &mut |kind, image, done| {
                if !tally.count(1, kind, &image, done) {
                    return;
                }
                let bench = Bench::recording(image.clone());
                let store = bench.store();
                let store = store.unwrap_or_else(|e| panic!("{kind:?} after step {done}: {e}"));
                check(&store, done, true);
                number += 1;
                if !number.is_multiple_of(deep) {
                    return;
                }
                // The same again, and the power goes while it is opened.
                let bench = Bench::recording(image.clone());
                drop(bench.store().unwrap());
                let recovery = bench.take_events();
                images(&image, &recovery, 1, round, &mut |kind, image, _| {
                    if tally.count(2, kind, &image, done) {
                        let store = Bench::recording(image).store().unwrap();
                        check(&store, done, false);
                    }
                });
            },
        );
    }
    tally.print(name);
    tally
}

fn record(workload: &Workload, steps: &[Step]) -> Vec<Event> {
    let bench = Bench::recording(Image::default());
    let store = bench.store().unwrap();
    for (n, step) in steps.iter().enumerate() {
        workload.run(&store, *step).unwrap();
        bench.acknowledge(n + 1);
    }
    drop(store);
    bench.take_events()
}

/// The checks of a life that was cut off after `done` steps.
fn check_life(workload: &Workload, story: &[Holding], store: &Store, done: usize, go_on: bool) {
    match LIFE.get(done) {
        None => workload.check(store, Step::Verify, &story[done], &story[done]),
        Some(step) => {
            workload.check(store, *step, &story[done], &story[done + 1]);
            if go_on {
                workload.go_on(store, *step, &story[done + 1]);
            }
        }
    }
    workload.is_sound(store);
}

#[test]
fn k_s02_k_s03_a_power_cut_at_any_point_loses_nothing_acknowledged() {
    let workload = Workload::new();
    let (story, _) = workload.story(&LIFE);
    let events = record(&workload, &LIFE);
    let tally = try_all("life", &events, (31, 40), &|store, done, go_on| {
        check_life(&workload, &story, store, done, go_on);
    });
    assert!(tally.total() > 300);
    assert!(tally.tried[&2] > 10);
    assert!(rounds().is_none_or(|rounds| tally.total() > rounds * 5000));
}

/// Everything that was written is there after a kill, synced or not: one image at
/// each point.
#[test]
fn k_s10_a_kill_within_collect_or_compact_loses_nothing_that_is_needed() {
    let workload = Workload::new();
    let (story, _) = workload.story(&LIFE);
    let events = record(&workload, &LIFE);
    let mut points: BTreeMap<String, u64> = BTreeMap::new();
    let (mut now, mut done, mut point) = (Image::default(), 0, 0u64);
    for event in &events {
        now.apply(event);
        if let Event::Acknowledged(steps) = event {
            done = *steps;
            continue;
        }
        let Some(step @ (Step::Collect(_) | Step::Compact)) = LIFE.get(done) else {
            continue;
        };
        point += 1;
        if rounds().is_none() && !point.is_multiple_of(3) {
            continue;
        }
        *points.entry(format!("{step:?}")).or_default() += 1;
        let bench = Bench::holding(now.clone());
        let store = bench.store().unwrap();
        check_life(&workload, &story, &store, done, rounds().is_some());
        let needed: Vec<_> = workload.sessions[0].chunks.iter().map(|c| c.0).collect();
        assert!(store.has(&needed).unwrap().iter().all(|here| *here));
        drop(store);
        assert_eq!(bench.image().names.beside, None, "nothing is left beside");
    }
    println!("kills: {points:?}");
    assert!(points.values().sum::<u64>() >= 100);
}

#[test]
fn k_s02_a_power_cut_while_salvaging_leaves_a_store_that_can_be_salvaged_into() {
    let workload = Workload::new();
    let steps = &LIFE[..9];
    let (dir, path) = temp_store();
    let full = Store::open(&path, &OPTIONS).unwrap();
    for step in steps {
        workload.run(&full, *step).unwrap();
    }
    drop(full);
    // Of this chunk nothing can be saved.
    let mut file = std::fs::read(&path).unwrap();
    let lost = &workload.sessions[0].chunks[7].1[..64];
    let at = file.windows(64).position(|w| w == lost).unwrap();
    file[at] ^= 1;
    std::fs::write(&path, file).unwrap();

    let bench = Bench::recording(Image::default());
    let store = bench.store().unwrap();
    let me = device_of(&key(1));
    let report = salvage(&path, &store, me).unwrap();
    assert_eq!(report.chunks_lost, 1);
    bench.acknowledge(1);
    let after = workload.holding(&copy_of(&bench));
    drop(store);
    let before = Holding::default();
    let events = bench.take_events();
    let tally = try_all("salvage", &events, (11, 20), &|store, done, go_on| {
        // In several transactions, as a collection is.
        let was = if done == 1 { &after } else { &before };
        workload.check(store, Step::Collect(0), was, &after);
        if go_on {
            salvage(&path, store, me).unwrap();
            assert!(workload.holding(store) == after);
        }
        workload.is_sound(store);
    });
    assert!(tally.total() > 50);
    drop(dir);
}

#[test]
fn a_store_needs_no_name_but_its_own() {
    // What the tests rest on: the disk forgets what was not synced.
    let bench = Bench::recording(Image::default());
    let store = bench.store().unwrap();
    let names = Names {
        store: Some(0),
        beside: None,
    };
    assert_eq!(bench.durable().names, names);
    store.put_chunks(&[chunk(noise(1, 100))]).unwrap();
    store.compact(&mut || true).unwrap();
    let names = Names {
        store: Some(1),
        ..names
    };
    assert_eq!(bench.durable().names, names);
    assert_eq!(bench.durable().hash(), bench.image().hash());
}

fn left_by(release: &str) -> Image {
    Image {
        files: vec![ages::left_by(release)],
        names: Names {
            store: Some(0),
            beside: None,
        },
    }
}

#[test]
fn k_s12_a_power_cut_while_a_store_is_brought_to_the_format_of_today_loses_nothing() {
    let life = ages::Life::new();
    for release in ages::RELEASES {
        let before = left_by(release);
        let bench = Bench::recording(before.clone());
        life.check(&bench.store().unwrap());
        let events = bench.take_events();
        let mut tally = Tally::default();
        let stride = rounds().map_or(3, |_| 1);
        for round in 0..rounds().unwrap_or(1) {
            images(&before, &events, stride, round, &mut |kind, image, _| {
                if tally.count(1, kind, &image, 0) {
                    life.check(&Bench::holding(image).store().unwrap());
                }
            });
        }
        tally.print(release);
    }
}

#[test]
fn k_s12_a_disk_that_fails_while_a_store_is_brought_to_the_format_of_today_changes_nothing() {
    let life = ages::Life::new();
    for (release, fault) in ages::RELEASES
        .into_iter()
        .flat_map(|r| FAULTS.map(|f| (r, f)))
    {
        let stride = rounds().map_or(7, |_| 1);
        let mut failed = 0;
        for at in (0..).step_by(stride) {
            let bench = Bench::holding(left_by(release));
            bench.fail(at, fault);
            let opened = bench.store();
            if !bench.tripped() {
                break;
            }
            failed += 1;
            if let Err(e) = &opened {
                assert!(e.is_transient(), "{fault:?} at {at}: {e}");
            }
            drop(opened);
            bench.mend();
            life.check(&Bench::holding(bench.durable()).store().unwrap());
            life.check(&bench.store().unwrap());
        }
        println!("{release}, {fault:?}: {failed} operations failed");
        assert!(failed > 0);
    }
}
