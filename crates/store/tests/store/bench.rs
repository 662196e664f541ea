//! A disk for tests: keeps a store's bytes in memory, remembers everything that
//! was done to it, and fails when it is told to.
//!
//! It knows two names, the store and what lies beside it, and files without end.
//! As a real one it writes back whole pages, and forgets what a failed sync did
//! not get done.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use ccpeer_store::{StorageBackend, Store, StoreError, Volume};

use crate::fixture::OPTIONS;

/// Which file has which name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Names {
    pub(crate) store: Option<usize>,
    pub(crate) beside: Option<usize>,
}

/// What is on a disk.
#[derive(Debug, Clone, Default)]
pub(crate) struct Image {
    pub(crate) files: Vec<Vec<u8>>,
    pub(crate) names: Names,
}

impl Image {
    /// What tells two images apart.
    pub(crate) fn hash(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        for name in [self.names.store, self.names.beside] {
            let file = name.and_then(|n| self.files.get(n));
            hasher.update(&[u8::from(file.is_some())]);
            let file = file.map_or(&[][..], Vec::as_slice);
            hasher.update(&(file.len() as u64).to_le_bytes());
            hasher.update(file);
        }
        *hasher.finalize().as_bytes()
    }

    pub(crate) fn apply(&mut self, event: &Event) {
        match event {
            Event::Write(file, at, data) => {
                let file = self.file(*file);
                let end = *at as usize + data.len();
                file.resize(file.len().max(end), 0);
                file[*at as usize..end].copy_from_slice(data);
            }
            Event::SetLen(file, len) => self.file(*file).resize(*len as usize, 0),
            Event::Name(names) => self.names = *names,
            Event::Sync(_) | Event::SyncNames | Event::Acknowledged(_) => {}
        }
    }

    fn file(&mut self, n: usize) -> &mut Vec<u8> {
        if self.files.len() <= n {
            self.files.resize(n + 1, Vec::new());
        }
        &mut self.files[n]
    }
}

/// Something that was done to the disk.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    Write(usize, u64, Vec<u8>),
    SetLen(usize, u64),
    Sync(usize),
    /// The names as they are now.
    Name(Names),
    SyncNames,
    /// So many steps of the workload have been acknowledged.
    Acknowledged(usize),
}

/// How an operation fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Input/output error.
    Io,
    /// No space left, where that can be: on writes, growth, and syncs.
    Full,
    /// Interrupted.
    Interrupted,
    /// Half of it is written, then an error.
    Short,
    /// A sync fails, and what it should have written is gone, though it can be
    /// read until the power goes. Other operations do not fail.
    Sync,
}

pub(crate) const FAULTS: [Fault; 5] = [
    Fault::Io,
    Fault::Full,
    Fault::Interrupted,
    Fault::Short,
    Fault::Sync,
];

#[derive(Debug, Default)]
struct Disk {
    now: Image,
    /// What the power going would leave.
    durable: Image,
    /// Pages that were written and not synced, by file.
    dirty: BTreeSet<(usize, usize)>,
    events: Vec<Event>,
    record: bool,
    operations: u64,
    /// The operation that fails, counted from 0, once.
    plan: Option<(u64, Fault)>,
    tripped: bool,
    /// Pages that there is room for.
    room: Option<usize>,
    used: BTreeSet<(usize, usize)>,
}

const PAGE: usize = 4096;

#[derive(Clone, Copy, PartialEq)]
enum Doing {
    Read,
    Write,
    Grow,
    Sync,
    Other,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Bench(Arc<Mutex<Disk>>);

impl Bench {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// One that holds this already.
    pub(crate) fn holding(image: Image) -> Self {
        let bench = Self::default();
        {
            let mut disk = bench.disk();
            disk.durable = image.clone();
            disk.now = image;
        }
        bench
    }

    /// One that remembers what is done to it.
    pub(crate) fn recording(image: Image) -> Self {
        let bench = Self::holding(image);
        bench.disk().record = true;
        bench
    }

    pub(crate) fn store(&self) -> Result<Store, StoreError> {
        Store::with_volume(self.clone(), &OPTIONS)
    }

    pub(crate) fn acknowledge(&self, step: usize) {
        self.disk().events.push(Event::Acknowledged(step));
    }

    pub(crate) fn take_events(&self) -> Vec<Event> {
        std::mem::take(&mut self.disk().events)
    }

    /// What a kill leaves.
    pub(crate) fn image(&self) -> Image {
        self.disk().now.clone()
    }

    /// What the power going leaves.
    pub(crate) fn durable(&self) -> Image {
        self.disk().durable.clone()
    }

    /// Lets an operation fail, the `after`th from now.
    pub(crate) fn fail(&self, after: u64, fault: Fault) {
        let mut disk = self.disk();
        disk.plan = Some((disk.operations + after, fault));
        disk.tripped = false;
    }

    pub(crate) fn mend(&self) {
        self.disk().plan = None;
    }

    pub(crate) fn tripped(&self) -> bool {
        self.disk().tripped
    }

    /// Gives it room for so many bytes, or as much as is wanted.
    pub(crate) fn make_room(&self, bytes: Option<usize>) {
        self.disk().room = bytes.map(|b| b / PAGE);
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap()
    }

    fn open_named(&self, beside: bool) -> Box<dyn StorageBackend> {
        let mut disk = self.disk();
        let mut names = disk.now.names;
        let name = if beside {
            &mut names.beside
        } else {
            &mut names.store
        };
        let file = name.unwrap_or(disk.now.files.len());
        *name = Some(file);
        if names != disk.now.names {
            disk.now.files.push(Vec::new());
            disk.durable.files.push(Vec::new());
            disk.name(names);
            disk.sync_names();
        }
        let bench = self.clone();
        Box::new(Handle { bench, file })
    }
}

impl Disk {
    /// Counts, and fails if this is the one.
    fn operate(&mut self, doing: Doing) -> io::Result<()> {
        let at = self.operations;
        self.operations += 1;
        let Some((when, fault)) = self.plan else {
            return Ok(());
        };
        // One that is no sync is not what should fail: the next one is.
        let kind = match fault {
            Fault::Sync if doing != Doing::Sync => return Ok(()),
            Fault::Full if matches!(doing, Doing::Read | Doing::Other) => io::ErrorKind::Other,
            Fault::Full => io::ErrorKind::StorageFull,
            Fault::Interrupted => io::ErrorKind::Interrupted,
            Fault::Io | Fault::Short | Fault::Sync => io::ErrorKind::Other,
        };
        if at < when {
            return Ok(());
        }
        self.plan = None;
        self.tripped = true;
        Err(kind.into())
    }

    fn note(&mut self, event: Event) {
        if self.record {
            self.events.push(event);
        }
    }

    fn name(&mut self, names: Names) {
        self.now.names = names;
        self.note(Event::Name(names));
    }

    fn sync_names(&mut self) {
        self.durable.names = self.now.names;
        self.note(Event::SyncNames);
    }

    fn write(&mut self, file: usize, at: u64, data: &[u8]) -> io::Result<()> {
        let pages = at as usize / PAGE..(at as usize + data.len()).div_ceil(PAGE);
        if let Some(room) = self.room {
            let more = pages.clone().filter(|p| !self.used.contains(&(file, *p)));
            if self.used.len() + more.count() > room {
                return Err(io::ErrorKind::StorageFull.into());
            }
        }
        for page in pages {
            self.dirty.insert((file, page));
            self.used.insert((file, page));
        }
        let event = Event::Write(file, at, data.to_vec());
        self.now.apply(&event);
        self.note(event);
        Ok(())
    }

    fn sync(&mut self, file: usize) {
        let pages: Vec<_> = self.dirty.iter().filter(|d| d.0 == file).copied().collect();
        let len = self.now.files[file].len();
        self.durable.files[file].resize(len, 0);
        for (file, page) in pages {
            self.dirty.remove(&(file, page));
            let end = ((page + 1) * PAGE).min(len);
            if let Some(from) = self.now.files[file].get(page * PAGE..end) {
                self.durable.files[file][page * PAGE..end].copy_from_slice(from);
            }
        }
        self.note(Event::Sync(file));
    }

    /// As Linux does it: what could not be written counts as written.
    fn forget_dirty(&mut self, file: usize) {
        self.dirty.retain(|d| d.0 != file);
    }
}

impl Volume for Bench {
    fn open(&self) -> io::Result<Box<dyn StorageBackend>> {
        self.disk().operate(Doing::Other)?;
        Ok(self.open_named(false))
    }

    fn open_beside(&self) -> io::Result<Box<dyn StorageBackend>> {
        self.discard()?;
        self.disk().operate(Doing::Other)?;
        Ok(self.open_named(true))
    }

    fn adopt(&self) -> io::Result<()> {
        let mut disk = self.disk();
        disk.operate(Doing::Other)?;
        let names = Names {
            store: disk.now.names.beside,
            beside: None,
        };
        assert!(names.store.is_some());
        disk.name(names);
        disk.operate(Doing::Other)?;
        disk.sync_names();
        disk.give_room_back();
        Ok(())
    }

    fn discard(&self) -> io::Result<()> {
        let mut disk = self.disk();
        if disk.now.names.beside.is_some() {
            disk.operate(Doing::Other)?;
            let names = Names {
                beside: None,
                ..disk.now.names
            };
            disk.name(names);
            disk.give_room_back();
        }
        Ok(())
    }
}

impl Disk {
    fn give_room_back(&mut self) {
        let names = self.now.names;
        let named = |file: usize| names.store == Some(file) || names.beside == Some(file);
        self.used.retain(|(file, _)| named(*file));
    }
}

#[derive(Debug)]
struct Handle {
    bench: Bench,
    file: usize,
}

impl StorageBackend for Handle {
    fn len(&self) -> io::Result<u64> {
        Ok(self.bench.disk().now.files[self.file].len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut disk = self.bench.disk();
        disk.operate(Doing::Read)?;
        let from = disk.now.files[self.file].get(offset as usize..offset as usize + out.len());
        out.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut disk = self.bench.disk();
        disk.operate(Doing::Grow)?;
        let event = Event::SetLen(self.file, len);
        disk.now.apply(&event);
        let pages = (len as usize).div_ceil(PAGE);
        disk.used.retain(|(f, p)| *f != self.file || *p < pages);
        disk.note(event);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut disk = self.bench.disk();
        if let Err(e) = disk.operate(Doing::Sync) {
            disk.forget_dirty(self.file);
            return Err(e);
        }
        disk.sync(self.file);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut disk = self.bench.disk();
        let short = disk.plan.is_some_and(|(_, fault)| fault == Fault::Short);
        if let Err(e) = disk.operate(Doing::Write) {
            if short {
                disk.write(self.file, offset, &data[..data.len() / 2])?;
            }
            return Err(e);
        }
        disk.write(self.file, offset, data)
    }
}
