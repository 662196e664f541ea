//! A disk that fails: full for a while, or with one error at any one operation.
//! Nothing acknowledged is lost, old data stays readable, and the store goes on
//! by itself once the disk does.

use std::io;
use std::sync::{Arc, Mutex};

use ccpeer_store::{Namespace, NoteWrite, StorageBackend, Store, StoreError};

use crate::fixture::*;

#[derive(Debug, Default)]
struct Disk {
    bytes: Vec<u8>,
    /// Operations that still succeed.
    left: Option<u64>,
    /// What comes then.
    fault: Option<Fault>,
    operations: u64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    /// Every write and every growth fails.
    Full,
    /// Growth fails and nothing else: what is there can be overwritten.
    CannotGrow,
    /// One operation fails, and those after it succeed.
    Once,
}

#[derive(Debug, Clone, Default)]
struct Faulty(Arc<Mutex<Disk>>);

impl Faulty {
    fn open(&self) -> Result<Store, StoreError> {
        let disk = self.clone();
        Store::with_backend(move || Ok(disk.clone()), &OPTIONS)
    }

    fn set(&self, left: u64, fault: Fault) {
        let mut disk = self.0.lock().unwrap();
        (disk.left, disk.fault) = (Some(left), Some(fault));
    }

    fn mend(&self) {
        let mut disk = self.0.lock().unwrap();
        (disk.left, disk.fault) = (None, None);
    }

    fn tripped(&self) -> bool {
        self.0.lock().unwrap().left == Some(0)
    }

    fn operations(&self) -> u64 {
        self.0.lock().unwrap().operations
    }
}

impl Disk {
    fn operate(&mut self, write: bool, grow: bool) -> io::Result<()> {
        self.operations += 1;
        let fails = match (self.fault, self.left) {
            (Some(Fault::Full), Some(0)) => write,
            (Some(Fault::CannotGrow), Some(0)) => grow,
            (Some(Fault::Once), Some(0)) => {
                // Tripped, and mended at once; `tripped` still tells.
                self.fault = None;
                true
            }
            (_, left) => {
                self.left = left.map(|l| l.saturating_sub(1));
                false
            }
        };
        match (fails, grow || write) {
            (false, _) => Ok(()),
            (true, true) if self.fault.is_some() => Err(io::ErrorKind::StorageFull.into()),
            (true, _) => Err(io::Error::other("input/output error")),
        }
    }
}

impl StorageBackend for Faulty {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut disk = self.0.lock().unwrap();
        disk.operate(false, false)?;
        let from = disk.bytes.get(offset as usize..offset as usize + out.len());
        out.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut disk = self.0.lock().unwrap();
        let grow = len as usize > disk.bytes.len();
        disk.operate(false, grow)?;
        disk.bytes.resize(len as usize, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.lock().unwrap().operate(false, false)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut disk = self.0.lock().unwrap();
        disk.operate(true, false)?;
        let end = offset as usize + data.len();
        let len = disk.bytes.len().max(end);
        disk.bytes.resize(len, 0);
        disk.bytes[offset as usize..end].copy_from_slice(data);
        Ok(())
    }
}

/// Step `n` of a run that fills the store; each may be repeated.
fn step(store: &Store, n: u64) -> Result<(), StoreError> {
    match n % 3 {
        0 => store.put_chunks(&[chunk(noise(n, 200_000)), chunk(noise(n + 1000, 300))]),
        1 => store.commit(&batch(&chain(1, 30)[..n as usize + 1])),
        _ => store.put_notes(&[NoteWrite {
            ns: Namespace::Session,
            key: n.to_be_bytes().to_vec(),
            value: Some(noise(n, 3000)),
        }]),
    }
}

const STEPS: u64 = 9;

fn check(store: &Store, n: u64) {
    match n % 3 {
        0 => {
            for (id, content) in [chunk(noise(n, 200_000)), chunk(noise(n + 1000, 300))] {
                assert_eq!(store.get_chunk(&id).unwrap(), Some(content), "step {n}");
            }
        }
        1 => assert!(
            store.recovered().unwrap().entries.len() > n as usize,
            "step {n}"
        ),
        _ => {
            let note = store.note(Namespace::Session, &n.to_be_bytes()).unwrap();
            assert_eq!(note, Some(noise(n, 3000)), "step {n}");
        }
    }
}

/// Lets the disk fail after each number of operations in turn, until the whole
/// run passes untouched.
fn for_each_operation(fault: Fault, stride: u64, run: impl Fn(&Faulty, &Store, u64)) {
    let whole = {
        let disk = Faulty::default();
        let store = disk.open().unwrap();
        let before = disk.operations();
        (0..STEPS).for_each(|n| step(&store, n).unwrap());
        disk.operations() - before
    };
    for left in (0..=whole).step_by(stride as usize) {
        let disk = Faulty::default();
        let store = disk.open().unwrap();
        disk.set(left, fault);
        run(&disk, &store, left);
    }
    println!("{} places of failure", whole / stride);
}

fn a_full_disk(fault: Fault) {
    for_each_operation(fault, 2, |disk, store, left| {
        let mut done = 0;
        while done < STEPS {
            match step(store, done) {
                Ok(()) => done += 1,
                Err(e) => {
                    assert_eq!(e, StoreError::Full, "after {left}");
                    break;
                }
            }
        }
        // Old data can be read while the disk is full, and writes fail cleanly.
        (0..done).for_each(|n| check(store, n));
        if done < STEPS {
            assert!(disk.tripped());
            assert_eq!(step(store, done), Err(StoreError::Full), "after {left}");
            (0..done).for_each(|n| check(store, n));
        }
        disk.mend();
        // The same store goes on where it stopped.
        (done..STEPS).for_each(|n| step(store, n).unwrap());
        (0..STEPS).for_each(|n| check(store, n));
        assert_eq!(
            store.verify(true, &mut |_, _| {}).unwrap().problems,
            [],
            "after {left}"
        );
    });
}

#[test]
fn k_s04_a_full_disk_refuses_and_recovers() {
    a_full_disk(Fault::Full);
}

#[test]
fn k_s04_a_disk_that_cannot_grow_refuses_and_recovers() {
    a_full_disk(Fault::CannotGrow);
}

#[test]
fn k_s06_one_failed_operation_anywhere_is_survived() {
    for_each_operation(Fault::Once, 1, |disk, store, left| {
        for n in 0..STEPS {
            match step(store, n) {
                Ok(()) => {}
                Err(e) => {
                    // Not acknowledged; the caller asks again, of the same store.
                    assert!(e.is_transient(), "after {left}: {e}");
                    step(store, n).unwrap();
                }
            }
            check(store, n);
        }
        (0..STEPS).for_each(|n| check(store, n));
        disk.mend();
        assert_eq!(
            store.verify(true, &mut |_, _| {}).unwrap().problems,
            [],
            "after {left}"
        );
    });
}

#[test]
fn k_s04_a_store_can_be_opened_and_read_on_a_full_disk() {
    let disk = Faulty::default();
    let store = disk.open().unwrap();
    (0..STEPS).for_each(|n| step(&store, n).unwrap());
    drop(store);
    disk.set(0, Fault::Full);
    let store = disk.open().unwrap();
    (0..STEPS).for_each(|n| check(&store, n));
    assert_eq!(step(&store, STEPS), Err(StoreError::Full));
    let report = store.verify(true, &mut |_, _| {}).unwrap();
    assert_eq!(report.problems, []);
    disk.mend();
    step(&store, STEPS).unwrap();
    check(&store, STEPS);
    // A new store cannot be made there.
    let disk = Faulty::default();
    disk.set(0, Fault::Full);
    assert_eq!(disk.open().err(), Some(StoreError::Full));
    disk.mend();
    disk.open().unwrap();
}

#[test]
fn an_error_while_opening_is_an_error_and_no_more() {
    let disk = Faulty::default();
    let store = disk.open().unwrap();
    (0..STEPS).for_each(|n| step(&store, n).unwrap());
    drop(store);
    let before = disk.operations();
    drop(disk.open().unwrap());
    for left in 0..disk.operations() - before {
        disk.set(left, Fault::Once);
        if let Err(e) = disk.open() {
            assert!(e.is_transient(), "after {left}: {e}");
        }
        disk.mend();
        let store = disk.open().unwrap();
        (0..STEPS).for_each(|n| check(&store, n));
    }
}
