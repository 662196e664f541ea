//! Power cuts. A recorded run is cut off at every sync; what had been written
//! since the one before may have reached the disk wholly, not at all, in part, in
//! any order, or torn. Whatever is left must open, hold everything that was
//! acknowledged, and be sound.
//!
//! `CCPEER_CRASH_IMAGES` sets how many images are tried at each sync (8 if unset).

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use ccpeer_core::id::ChunkId;
use ccpeer_core::store::Batch;
use ccpeer_store::{Namespace, NoteWrite, StorageBackend, Store};

use crate::fixture::*;

#[derive(Debug, Clone)]
enum Event {
    Write(u64, Vec<u8>),
    SetLen(u64),
    Sync,
    /// So many steps of the workload have been acknowledged.
    Acknowledged(usize),
}

/// A disk that remembers everything that was done to it.
#[derive(Debug, Clone, Default)]
struct Recorder(Arc<Mutex<(Vec<u8>, Vec<Event>)>>);

impl Recorder {
    fn holding(image: Vec<u8>) -> Self {
        Self(Arc::new(Mutex::new((image, Vec::new()))))
    }

    fn acknowledge(&self, step: usize) {
        self.0.lock().unwrap().1.push(Event::Acknowledged(step));
    }

    fn take(&self) -> (Vec<u8>, Vec<Event>) {
        std::mem::take(&mut *self.0.lock().unwrap())
    }

    fn store(&self) -> Result<Store, ccpeer_store::StoreError> {
        let disk = self.clone();
        Store::with_backend(move || Ok(disk.clone()), &OPTIONS)
    }
}

fn apply(image: &mut Vec<u8>, event: &Event) {
    match event {
        Event::Write(at, data) => {
            let at = *at as usize;
            let end = at + data.len();
            image.resize(image.len().max(end), 0);
            image[at..end].copy_from_slice(data);
        }
        Event::SetLen(len) => image.resize(*len as usize, 0),
        Event::Sync | Event::Acknowledged(_) => {}
    }
}

impl StorageBackend for Recorder {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().0.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let disk = self.0.lock().unwrap();
        let from = disk.0.get(offset as usize..offset as usize + out.len());
        out.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.record(Event::SetLen(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.record(Event::Sync)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.record(Event::Write(offset, data.to_vec()))
    }
}

impl Recorder {
    fn record(&self, event: Event) -> io::Result<()> {
        let mut disk = self.0.lock().unwrap();
        apply(&mut disk.0, &event);
        disk.1.push(event);
        Ok(())
    }
}

/// What the workload does, step by step; step `n` leaves `n + 1` acknowledged.
struct Workload {
    log: Vec<ccpeer_core::entry::VerifiedEntry>,
    session: Session,
}

const STEPS: usize = 14;

impl Workload {
    fn new() -> Self {
        Self {
            log: chain(1, 64),
            session: session(5, 10, 9000),
        }
    }

    fn step(&self, store: &Store, step: usize) {
        match step % 4 {
            0 => store.put_chunks(self.chunks(step)).unwrap(),
            1 => store.put_notes(&self.notes(step)).unwrap(),
            _ => store.commit(&batch(self.entries(step))).unwrap(),
        }
    }

    fn chunks(&self, step: usize) -> &[(ChunkId, Vec<u8>)] {
        let from = step / 4 * 3;
        &self.session.chunks
            [from.min(self.session.chunks.len())..(from + 3).min(self.session.chunks.len())]
    }

    fn notes(&self, step: usize) -> Vec<NoteWrite> {
        let write = |key: &[u8], value: Option<Vec<u8>>| NoteWrite {
            ns: Namespace::Capture,
            key: key.to_vec(),
            value,
        };
        // One that changes at every step, one that stays, one that goes away.
        let mut writes = vec![
            write(b"changes", Some(vec![step as u8; 300])),
            write(&[step as u8], Some(vec![1; 5000])),
        ];
        if step > 4 {
            writes.push(write(&[step as u8 - 4], None));
        }
        writes
    }

    fn entries(&self, step: usize) -> &[ccpeer_core::entry::VerifiedEntry] {
        &self.log[(step / 4 * 2 + step % 4 - 2) * 6..][..6]
    }

    /// What a store holds in which the first `done` steps are certain and the next
    /// one may have happened.
    fn check(&self, store: &Store, done: usize) {
        let mut happened = BTreeMap::new();
        for step in 0..STEPS {
            let here = match step % 4 {
                0 => {
                    let ids: Vec<_> = self.chunks(step).iter().map(|c| c.0).collect();
                    let has = store.has(&ids).unwrap();
                    assert!(has.iter().all(|h| *h == has[0]), "all of a step or nothing");
                    for (id, content) in self.chunks(step).iter().filter(|_| has[0]) {
                        assert_eq!(store.get_chunk(id).unwrap().as_ref(), Some(content));
                    }
                    has[0]
                }
                1 => store
                    .note(Namespace::Capture, b"changes")
                    .unwrap()
                    .is_some_and(|v| v[0] >= step as u8),
                _ => {
                    let entries = store.recovered().unwrap().entries;
                    let here = self
                        .entries(step)
                        .iter()
                        .filter(|e| entries.contains(e))
                        .count();
                    assert!(here == 0 || here == 6, "all of a step or nothing");
                    here == 6
                }
            };
            happened.insert(step, here);
        }
        for (step, here) in happened {
            assert!(here || step >= done, "step {step} was acknowledged");
            assert!(!here || step <= done, "step {step} had not begun");
        }
        let report = store.verify(true, &mut |_, _| {}).unwrap();
        assert_eq!(report.problems, [], "a crash is no damage");
    }
}

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

/// Calls `see` with every image that a power cut could leave, and how much had
/// been acknowledged by then.
fn images(start: &[u8], events: &[Event], each: usize, see: &mut dyn FnMut(Vec<u8>, usize)) {
    let mut durable = start.to_vec();
    let mut pending: Vec<&Event> = Vec::new();
    let mut acknowledged = 0;
    let mut dice = Dice(events.len() as u64);
    for event in events {
        match event {
            Event::Write(..) | Event::SetLen(_) => pending.push(event),
            Event::Acknowledged(steps) => acknowledged = *steps,
            Event::Sync => {
                for kind in 0..each {
                    see(cut_off(&durable, &pending, kind, &mut dice), acknowledged);
                }
                for event in pending.drain(..) {
                    apply(&mut durable, event);
                }
            }
        }
    }
    see(durable, acknowledged);
}

fn cut_off(durable: &[u8], pending: &[&Event], kind: usize, dice: &mut Dice) -> Vec<u8> {
    let mut image = durable.to_vec();
    let is_head = |e: &Event| matches!(e, Event::Write(0, _));
    let prefix = dice.roll(pending.len() + 1);
    for (n, event) in pending.iter().enumerate() {
        let arrives = match kind {
            0 => false,
            1 => true,
            2 => n < prefix,
            3 => is_head(event),
            4 => matches!(event, Event::SetLen(_)),
            5 => !is_head(event),
            _ => dice.roll(2) == 0,
        };
        match event {
            // Torn: some of its sectors, not the others.
            Event::Write(at, data) if arrives && kind % 2 == 1 && kind > 5 => {
                for (i, sector) in data.chunks(512).enumerate() {
                    if dice.roll(2) == 0 {
                        apply(
                            &mut image,
                            &Event::Write(at + i as u64 * 512, sector.to_vec()),
                        );
                    }
                }
            }
            _ if arrives => apply(&mut image, event),
            _ => {}
        }
    }
    image
}

fn record() -> (Workload, Vec<Event>) {
    let workload = Workload::new();
    let disk = Recorder::default();
    let store = disk.store().unwrap();
    for step in 0..STEPS {
        workload.step(&store, step);
        disk.acknowledge(step + 1);
    }
    drop(store);
    let (_, events) = disk.take();
    (workload, events)
}

fn each() -> usize {
    std::env::var("CCPEER_CRASH_IMAGES")
        .ok()
        .and_then(|v| v.parse().ok())
        .unwrap_or(8)
}

#[test]
fn k_s02_a_power_cut_at_any_sync_loses_nothing_acknowledged() {
    let (workload, events) = record();
    let mut tried = 0;
    images(&[], &events, each(), &mut |image, acknowledged| {
        tried += 1;
        let disk = Recorder::holding(image);
        let store = disk
            .store()
            .unwrap_or_else(|e| panic!("image {tried} after step {acknowledged}: {e}"));
        workload.check(&store, acknowledged);
        // It goes on as if nothing had been.
        if acknowledged < STEPS {
            workload.step(&store, acknowledged);
            assert_eq!(store.verify(true, &mut |_, _| {}).unwrap().problems, []);
        }
    });
    println!("{tried} images");
    assert!(tried > 200);
}

#[test]
fn k_s03_a_power_cut_while_recovering_from_one() {
    let (workload, events) = record();
    let mut tried = 0;
    let mut first = 0;
    images(&[], &events, 7, &mut |image, acknowledged| {
        first += 1;
        // Every image would take minutes; a spread of them is as good.
        if first % 17 != 0 {
            return;
        }
        let disk = Recorder::holding(image.clone());
        drop(disk.store().unwrap());
        let (_, recovery) = disk.take();
        images(&image, &recovery, 7, &mut |image, _| {
            tried += 1;
            let store = Recorder::holding(image).store().unwrap();
            workload.check(&store, acknowledged);
        });
    });
    println!("{tried} images of recoveries");
    assert!(tried > 50);
}

#[test]
fn a_crash_between_steps_keeps_what_a_kill_would_keep() {
    // A kill loses nothing that was written, synced or not.
    let workload = Workload::new();
    for step in 0..STEPS {
        let disk = Recorder::default();
        let store = disk.store().unwrap();
        for step in 0..=step {
            workload.step(&store, step);
        }
        // The image while the store is open, as a kill leaves it.
        let image = disk.0.lock().unwrap().0.clone();
        workload.check(&Recorder::holding(image).store().unwrap(), step + 1);
        store.commit(&Batch::default()).unwrap();
    }
}
