//! Damaged files: flipped bits, cut-off ends, garbage. They are found, named, and
//! never served; what is not damaged is saved.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use ccpeer_core::entry::{
    ContentRef, Header, Payload, SessionMeta, SignedEntry, TrustChange, VerifiedEntry, Version,
    device_of,
};
use ccpeer_core::id::{ChunkId, DeviceId, EntryHash, Epoch, LogId, Seq};
use ccpeer_core::manifest::Want;
use ccpeer_core::presence::SessionState;
use ccpeer_core::store::Batch;
use ccpeer_core::time::Timestamp;
use ccpeer_store::{
    Namespace, NoteWrite, Options, ProblemKind, StorageBackend, Store, StoreError, VerifyPosition,
    VerifyReport, rebuild, salvage, set_aside,
};

use crate::fixture::*;

const FRESH: Options = Options {
    fresh_epoch: Epoch([0xaa; 16]),
};

/// A filled store and what is in it.
struct Filled {
    log: Vec<VerifiedEntry>,
    session: Session,
    notes: Vec<(Vec<u8>, Vec<u8>)>,
}

fn me() -> DeviceId {
    device_of(&key(1))
}

fn fill(store: &Store) -> Filled {
    let filled = Filled {
        log: chain(1, 120),
        session: session(6, 30, 6000),
        notes: (0..40u8)
            .map(|n| (vec![n, 1], noise(u64::from(n), 700)))
            .collect(),
    };
    for part in filled.log.chunks(30) {
        store.commit(&batch(part)).unwrap();
    }
    for part in filled.session.chunks.chunks(7) {
        store.put_chunks(part).unwrap();
    }
    let writes: Vec<_> = filled
        .notes
        .iter()
        .map(|(key, value)| NoteWrite {
            ns: Namespace::Project,
            key: key.clone(),
            value: Some(value.clone()),
        })
        .collect();
    store.put_notes(&writes).unwrap();
    let complete = vec![filled.session.want];
    store
        .commit(&Batch {
            complete,
            ..Batch::default()
        })
        .unwrap();
    filled
}

impl Filled {
    /// What is served is what was written. Whether all of it is served.
    fn is_served(&self, store: &Store) -> bool {
        let mut all = true;
        match store.recovered() {
            Ok(r) => {
                assert!(r.entries.iter().zip(&self.log).all(|(a, b)| a == b));
                all &= r.entries.len() == self.log.len() && !r.complete.is_empty();
            }
            Err(_) => all = false,
        }
        for (id, content) in &self.session.chunks {
            match store.get_chunk(id) {
                Ok(Some(served)) => assert_eq!(&served, content),
                Ok(None) | Err(_) => all = false,
            }
        }
        for (key, value) in &self.notes {
            match store.note(Namespace::Project, key) {
                Ok(Some(served)) => assert_eq!(&served, value),
                Ok(None) | Err(_) => all = false,
            }
        }
        all
    }
}

#[derive(Debug, Clone)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Memory {
    fn open(image: Vec<u8>) -> Result<Store, StoreError> {
        let disk = Self(Arc::new(Mutex::new(image)));
        Store::with_backend(move || Ok(disk.clone()), &FRESH)
    }
}

impl StorageBackend for Memory {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let bytes = self.0.lock().unwrap();
        let end = (offset as usize).checked_add(out.len());
        let from = end.and_then(|end| bytes.get(offset as usize..end));
        out.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.lock().unwrap().resize(len as usize, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut bytes = self.0.lock().unwrap();
        let end = offset as usize + data.len();
        let len = bytes.len().max(end);
        bytes.resize(len, 0);
        bytes[offset as usize..end].copy_from_slice(data);
        Ok(())
    }
}

fn find(file: &[u8], what: &[u8]) -> usize {
    file.windows(what.len()).position(|w| w == what).unwrap()
}

#[test]
fn k_s07_every_flipped_chunk_is_named_struck_off_and_can_come_again() {
    let (_dir, path) = temp_store();
    let chunks: Vec<_> = (0..60)
        .map(|n| chunk(noise(n, 3000 + n as usize * 500)))
        .collect();
    let store = open(&path);
    store.put_chunks(&chunks).unwrap();
    drop(store);
    let mut file = std::fs::read(&path).unwrap();
    let mut damaged = Vec::new();
    for (n, (id, content)) in chunks.iter().enumerate().filter(|(n, _)| n % 3 == 0) {
        // Noise is kept as it is, so its bytes can be found in the file.
        let at = find(&file, &content[..64]) + n * 40;
        file[at] ^= 1 << (n % 8);
        damaged.push(*id);
    }
    std::fs::write(&path, &file).unwrap();

    let store = open(&path);
    let quick = store.verify(false, &mut |_, _| {}).unwrap();
    assert_eq!(
        quick.problems,
        [],
        "without reading data there is nothing to see"
    );
    let mut last = (0, 0);
    let report = store
        .verify(true, &mut |done, total| last = (done, total))
        .unwrap();
    assert_eq!(last.0, last.1, "progress ends at its end");
    let mut named: Vec<_> = report
        .problems
        .iter()
        .filter(|p| p.kind == ProblemKind::Chunk)
        .map(|p| (p.id.clone(), p.repairable))
        .collect();
    named.sort();
    let mut want: Vec<_> = damaged.iter().map(|id| (id.to_string(), true)).collect();
    want.sort();
    assert_eq!(named, want);
    assert_eq!(report.chunks, 60);

    let ids: Vec<_> = chunks.iter().map(|c| c.0).collect();
    for (id, here) in ids.iter().zip(store.has(&ids).unwrap()) {
        assert_eq!(here, !damaged.contains(id));
        assert_eq!(store.get_chunk(id).unwrap().is_some(), here, "never served");
    }
    store.put_chunks(&chunks).unwrap();
    let report = store.verify(true, &mut |_, _| {}).unwrap();
    let chunks_bad = report
        .problems
        .iter()
        .filter(|p| p.kind == ProblemKind::Chunk)
        .count();
    assert_eq!(chunks_bad, 0);
    for (id, content) in &chunks {
        assert_eq!(store.get_chunk(id).unwrap().as_ref(), Some(content));
    }
    let raw: u64 = chunks.iter().map(|c| c.1.len() as u64).sum();
    assert_eq!((store.stats().unwrap().raw_bytes, report.bytes), (raw, raw));
}

#[test]
fn k_s07_two_hundred_flipped_bits_in_a_thousand_chunks() {
    let (_dir, path) = temp_store();
    // A manifest, six list pages, content that is packed and content that is
    // not, in one part, in several, and in none.
    let long = session(1, 880, 2500);
    let mut chunks = long.chunks.clone();
    chunks.extend((0..40).map(|n| chunk(noise(1000 + n, 10_000 + n as usize * 900))));
    chunks.extend((0..73).map(|n| chunk(text(n, 5000))));
    assert_eq!(chunks.len(), 1000);
    let store = open(&path);
    for some in chunks.chunks(100) {
        store.put_chunks(some).unwrap();
    }
    let complete = Batch {
        complete: vec![long.want],
        ..Batch::default()
    };
    store.commit(&complete).unwrap();
    drop(store);

    // Each fifth, the manifest and all list pages.
    let mut chosen: Vec<usize> = (0..7).collect();
    chosen.extend((7..1000).filter(|n| n % 5 == 0).take(193));
    let mut file = std::fs::read(&path).unwrap();
    let mut places: BTreeMap<[u8; KEY], usize> = BTreeMap::new();
    for n in &chosen {
        places.insert(packed(&chunks[*n].1)[5..5 + KEY].try_into().unwrap(), *n);
    }
    let starts: BTreeSet<[u8; 2]> = places.keys().map(|k| [k[0], k[1]]).collect();
    let mut flipped = BTreeSet::new();
    for at in 0..file.len() - KEY {
        if !starts.contains(&[file[at], file[at + 1]]) {
            continue;
        }
        let key: [u8; KEY] = file[at..at + KEY].try_into().unwrap();
        if let Some(n) = places.get(&key) {
            // Somewhere in what follows, in every copy that lies in the file.
            let len = packed(&chunks[*n].1).len().min(4000) - 5;
            file[at + (n * 37) % len] ^= 1 << (n % 8);
            flipped.insert(*n);
        }
    }
    assert_eq!(flipped.len(), 200);
    std::fs::write(&path, &file).unwrap();

    // None is served.
    let reader = Memory::open(file).unwrap();
    for n in &chosen {
        match reader.get_chunk(&chunks[*n].0) {
            Err(StoreError::Corrupt { .. }) | Ok(None) => {}
            other => panic!("chunk {n}: {:?}", other.map(|_| ())),
        }
    }
    drop(reader);
    // All are found, and none besides.
    let store = open(&path);
    let report = store.verify(true, &mut |_, _| {}).unwrap();
    let named: BTreeSet<String> = report
        .problems
        .iter()
        .filter(|p| p.kind == ProblemKind::Chunk && p.repairable)
        .map(|p| p.id.clone())
        .collect();
    let want: BTreeSet<String> = chosen.iter().map(|n| chunks[*n].0.to_string()).collect();
    assert_eq!(named.len(), 200);
    assert!(named == want);
    assert_eq!(store.complete().unwrap().len(), 0);
    // Each comes again from a peer, and then nothing is wrong any more.
    let ids: Vec<ChunkId> = chunks.iter().map(|c| c.0).collect();
    let here = store.has(&ids).unwrap();
    assert_eq!(here.iter().filter(|here| !**here).count(), 200);
    for n in &chosen {
        store.put_chunks(&chunks[*n..=*n]).unwrap();
    }
    store.commit(&complete).unwrap();
    assert_eq!(store.verify(true, &mut |_, _| {}).unwrap().problems, []);
    for (id, content) in &chunks {
        assert!(store.get_chunk(id).unwrap().as_ref() == Some(content));
    }
}

/// Bytes by which a packed chunk is found in a file.
const KEY: usize = 24;

/// A chunk as it lies in the file.
fn packed(content: &[u8]) -> Vec<u8> {
    let small = zstd::bulk::compress(content, 3).unwrap();
    let mut packed = vec![0; 5];
    packed.extend(if small.len() < content.len() {
        small
    } else {
        content.to_vec()
    });
    packed
}

#[test]
fn reading_a_damaged_chunk_forgets_it_and_what_needs_it() {
    let (_dir, path) = temp_store();
    let s = session(9, 200, 3000);
    let store = open(&path);
    store.put_chunks(&s.chunks).unwrap();
    store
        .commit(&Batch {
            complete: vec![s.want],
            ..Batch::default()
        })
        .unwrap();
    drop(store);
    // The first chunk of content: known to the manifest through a list page.
    let (id, content) = &s.chunks[2];
    let mut file = std::fs::read(&path).unwrap();
    let at = find(&file, &content[..64]);
    file[at + 9] ^= 4;
    std::fs::write(&path, &file).unwrap();

    let store = open(&path);
    assert!(matches!(
        store.get_chunk(id),
        Err(StoreError::Corrupt { .. })
    ));
    assert_eq!(store.get_chunk(id).unwrap(), None);
    assert!(store.recovered().unwrap().complete.is_empty());
    assert_eq!(store.missing(s.want).unwrap().len(), 1);
    store.put_chunks(&s.chunks).unwrap();
    assert_eq!(store.missing(s.want).unwrap(), []);
}

#[test]
fn a_chunk_that_was_struck_off_by_mistake_is_taken_back() {
    let (_dir, path) = temp_store();
    let store = open(&path);
    let c = chunk(text(1, 50_000));
    store.put_chunks(std::slice::from_ref(&c)).unwrap();
    let stats = store.stats().unwrap();
    store.quarantine(&[c.0]).unwrap();
    assert_eq!(store.has(&[c.0]).unwrap(), [false]);
    assert_eq!(store.stats().unwrap().raw_bytes, 0);
    assert_eq!(store.verify(true, &mut |_, _| {}).unwrap().recovered, 1);
    assert_eq!(store.get_chunk(&c.0).unwrap(), Some(c.1));
    assert_eq!(store.stats().unwrap(), stats);
}

#[test]
fn verify_counts_and_names_incomplete_manifests() {
    let (dir, path) = temp_store();
    let store = open(&path);
    let filled = fill(&store);
    let document = chunk(b"where we stand".to_vec());
    let (manifest, snapshot) = (filled.session.want, Want::data(document.0));
    store.put_chunks(std::slice::from_ref(&document)).unwrap();
    let said = Batch {
        entries: statements(2, &[version(&filled.session, &document)]),
        complete: vec![manifest, snapshot],
        epoch: None,
    };
    store.commit(&said).unwrap();
    let report = store.verify(false, &mut |_, _| {}).unwrap();
    assert_eq!(report.problems, []);
    assert_eq!((report.entries, report.chunks, report.notes), (121, 32, 40));
    assert_eq!((report.bytes, report.orphans), (0, 0));

    let struck = filled.session.chunks[5].0;
    assert_eq!(store.quarantine(&[struck]).unwrap(), [manifest]);
    assert_eq!(store.complete().unwrap(), BTreeSet::from([snapshot]));
    store.commit(&said).unwrap();
    let report = store.verify(false, &mut |_, _| {}).unwrap();
    let [problem] = &report.problems[..] else {
        panic!("{report:?}")
    };
    assert_eq!(
        (problem.kind, &problem.id),
        (ProblemKind::Manifest, &manifest.id.to_string())
    );
    // It will be completed again.
    assert_eq!(store.complete().unwrap(), BTreeSet::from([snapshot]));
    drop(store);
    let new = open(&dir.path().join("new.redb"));
    salvage(&path, &new, me()).unwrap();
    assert_eq!(new.complete().unwrap(), BTreeSet::from([snapshot]));
    assert_eq!(new.quarantine(&[snapshot.id]).unwrap(), [snapshot]);
}

#[test]
fn in_steps_everything_is_looked_at_as_at_once() {
    let (_dir, path) = temp_store();
    let store = open(&path);
    let filled = fill(&store);
    let document = chunk(b"where we stand".to_vec());
    store.put_chunks(std::slice::from_ref(&document)).unwrap();
    let said = statements(2, &[version(&filled.session, &document)]);
    store
        .commit(&Batch {
            entries: said,
            complete: vec![Want::data(document.0)],
            epoch: None,
        })
        .unwrap();
    let in_steps = |store: &Store, bytes_max: u64| {
        let (mut all, mut steps) = (VerifyReport::default(), 0);
        let mut position = None;
        loop {
            let (step, next) = store.verify_step(position, bytes_max).unwrap();
            steps += 1;
            assert!(step.bytes <= bytes_max.saturating_add(1024 * 1024));
            all.entries += step.entries;
            all.chunks += step.chunks;
            all.bytes += step.bytes;
            all.notes += step.notes;
            all.problems.extend(step.problems);
            match next {
                None => return (all, steps),
                Some(next) => position = VerifyPosition::from_bytes(&next.to_bytes()),
            }
            assert!(position.is_some());
        }
    };
    let once = store.verify(true, &mut |_, _| {}).unwrap();
    for (bytes_max, steps_min) in [(u64::MAX, 1), (40_000, 5), (1, 150)] {
        let (all, steps) = in_steps(&store, bytes_max);
        assert_eq!(all, once, "{bytes_max}");
        assert!(steps >= steps_min, "{bytes_max}: {steps}");
    }
    drop(store);
    // One of each kind is damaged, wherever a copy of it lies.
    let mut file = std::fs::read(&path).unwrap();
    for what in [
        &filled.log[70].signed().signature.0[..],
        &filled.notes[3].1[..64],
        &filled.session.chunks[4].1[..64],
    ] {
        for at in 0..file.len() - what.len() {
            if &file[at..at + what.len()] == what {
                file[at + 10] ^= 1;
            }
        }
    }
    std::fs::write(&path, &file).unwrap();
    for bytes_max in [u64::MAX, 40_000, 1] {
        // Each time anew: a damaged chunk is struck off where it is found.
        std::fs::write(&path, &file).unwrap();
        let store = open(&path);
        let (all, _) = in_steps(&store, bytes_max);
        let mut kinds: Vec<_> = all.problems.iter().map(|p| p.kind).collect();
        kinds.dedup();
        let want = [
            ProblemKind::Entry,
            ProblemKind::Note,
            ProblemKind::Chunk,
            ProblemKind::Manifest,
        ];
        assert_eq!(kinds, want, "{bytes_max}");
        assert_eq!(store.has(&[filled.session.chunks[4].0]).unwrap(), [false]);
    }
    for bytes in [&[][..], &[0], &[5], &[1; 1000]] {
        assert_eq!(VerifyPosition::from_bytes(bytes), None);
    }
}

/// A flipped bit anywhere: either it does no harm, or it is found.
#[test]
fn any_flipped_bit_is_harmless_or_found() {
    let (dir, path) = temp_store();
    let filled = fill(&open(&path));
    let image = std::fs::read(&path).unwrap();
    // Most of a young file is empty; aim at what is in use.
    let used: Vec<usize> = (0..image.len() / 512)
        .filter(|s| image[s * 512..][..512].iter().any(|b| *b != 0))
        .collect();
    let (mut refused, mut found, mut harmless) = (0, 0, 0);
    let rounds = std::env::var("CCPEER_FLIPS")
        .ok()
        .and_then(|v| v.parse().ok())
        .unwrap_or(160u64);
    for round in 0..rounds {
        let mut bad = image.clone();
        let dice = noise(round, 12);
        let number = |at: usize| u32::from_le_bytes(dice[at..at + 4].try_into().unwrap()) as usize;
        // Every fourth in the first page, where it hurts most.
        let at = if round % 4 == 0 {
            number(0) % 320
        } else {
            used[number(0) % used.len()] * 512 + number(4) % 512
        };
        bad[at] ^= 1 << (number(8) % 8);
        match Memory::open(bad.clone()) {
            Err(StoreError::Corrupt { .. } | StoreError::Newer { .. }) => refused += 1,
            Err(e) => panic!("byte {at}: {e}"),
            Ok(store) => {
                let whole = filled.is_served(&store);
                // Chunks were struck off by the reading; the rest is still to be found.
                let report = store.verify(true, &mut |_, _| {}).unwrap();
                if report.problems.is_empty() && whole {
                    harmless += 1;
                } else {
                    found += 1;
                }
                if !whole {
                    let struck = report.chunks < filled.session.chunks.len() as u64;
                    assert!(
                        !report.problems.is_empty() || struck,
                        "byte {at} is not found"
                    );
                }
            }
        }
        if round % 10 == 0 {
            let old = dir.path().join(format!("flipped-{round}"));
            std::fs::write(&old, &bad).unwrap();
            let new = Memory::open(Vec::new()).unwrap();
            if !matches!(salvage(&old, &new, me()), Err(StoreError::Newer { .. })) {
                filled.is_served(&new);
            }
        }
    }
    println!("{refused} refused, {found} found, {harmless} harmless");
    assert!(refused > 0 && found > 0 && harmless > 0);
}

fn write_and_open(path: &Path, bytes: &[u8]) -> Result<Store, StoreError> {
    std::fs::write(path, bytes).unwrap();
    Store::open(path, &FRESH)
}

#[test]
fn k_s08_truncated_and_garbage_files_are_refused_and_salvaged() {
    let (dir, path) = temp_store();
    let filled = fill(&open(&path));
    let image = std::fs::read(&path).unwrap();
    let mut headless = image.clone();
    headless[..4096].fill(0);
    let files = [
        ("garbage", noise(1, image.len()), (0, 0)),
        ("one-byte", vec![7], (0, 0)),
        ("text", b"these are not the bytes".to_vec(), (0, 0)),
        (
            "half",
            image[..image.len() / 2 / 4096 * 4096].to_vec(),
            (1, 1),
        ),
        (
            "a-page-less",
            image[..image.len() - 4096].to_vec(),
            (120, 30),
        ),
        ("headless", headless, (120, 31)),
    ];
    for (name, bytes, (entries, chunks)) in files {
        let path = dir.path().join(name);
        match write_and_open(&path, &bytes) {
            Err(StoreError::Corrupt { .. }) => {}
            other => panic!("{name}: {other:?}"),
        }
        let aside = set_aside(&path).unwrap();
        assert_eq!(
            std::fs::read(&aside).unwrap(),
            bytes,
            "{name}: nothing is thrown away"
        );
        let new = Store::open(&path, &FRESH).unwrap();
        let report = salvage(&aside, &new, me()).unwrap();
        println!("{name}: {report:?}");
        assert_eq!(std::fs::read(&aside).unwrap(), bytes, "{name}: nor changed");
        filled.is_served(&new);
        assert!(report.entries >= entries, "{name}");
        assert!(report.chunks >= chunks, "{name}");
        assert_eq!(new.recovered().unwrap().epoch, FRESH.fresh_epoch);
        assert_eq!(
            new.verify(true, &mut |_, _| {}).unwrap().problems,
            [],
            "{name}"
        );
    }
    // An empty file is a new store.
    assert!(write_and_open(&dir.path().join("empty"), b"").is_ok());
}

#[test]
fn k_s08_a_store_of_which_little_is_left_is_rebuilt_in_its_place() {
    let (dir, path) = temp_store();
    let filled = fill(&open(&path));
    let image = std::fs::read(&path).unwrap();
    let cut = |len: usize| Some(image[..len].to_vec());
    let cases = [
        ("nothing", cut(0), 0),
        ("half-a-page", cut(2048), 0),
        ("a-page", cut(4096), 0),
        ("half", cut(image.len() / 2), 1),
        ("a-page-less", cut(image.len() - 4096), 120),
        ("garbage", Some(noise(3, 300_000)), 0),
        ("gone", None, 0),
    ];
    for (name, bytes, entries_min) in cases {
        let path = dir.path().join(name);
        if let Some(bytes) = &bytes {
            std::fs::write(&path, bytes).unwrap();
        }
        let fresh = match Store::open(&path, &FRESH) {
            // An empty or absent file is a new store.
            Ok(store) => {
                assert!(bytes.is_none_or(|b| b.is_empty()), "{name}");
                store
            }
            Err(StoreError::Corrupt { .. }) => {
                // Cut off at any point before, it is begun again.
                std::fs::write(dir.path().join(format!("{name}.salvaged")), b"half").unwrap();
                let (aside, report) = rebuild(&path, &FRESH, me()).unwrap();
                assert_eq!(Some(std::fs::read(aside).unwrap()), bytes, "{name}");
                assert!(report.entries >= entries_min, "{name}: {report:?}");
                assert!(!dir.path().join(format!("{name}.salvaged")).exists());
                Store::open(&path, &OPTIONS).unwrap()
            }
            Err(e) => panic!("{name}: {e}"),
        };
        let recovered = fresh.recovered().unwrap();
        assert_eq!(recovered.epoch, FRESH.fresh_epoch, "{name}");
        assert!(recovered.entries.len() >= entries_min as usize, "{name}");
        // What is missing comes from peers.
        fresh.commit(&batch(&filled.log)).unwrap();
        fresh.put_chunks(&filled.session.chunks).unwrap();
        assert_eq!(fresh.missing(filled.session.want).unwrap(), []);
        assert_eq!(
            fresh.verify(true, &mut |_, _| {}).unwrap().problems,
            [],
            "{name}"
        );
    }
}

#[test]
fn a_sound_store_is_salvaged_whole() {
    let (dir, path) = temp_store();
    let filled = fill(&open(&path));
    let aside = set_aside(&path).unwrap();
    assert_eq!(aside.file_name().unwrap(), "store.redb.damaged-1");
    std::fs::write(&path, b"another").unwrap();
    assert_eq!(
        set_aside(&path).unwrap().file_name().unwrap(),
        "store.redb.damaged-2"
    );
    let new = open(&dir.path().join("new.redb"));
    let report = salvage(&aside, &new, me()).unwrap();
    assert!(report.by_table && !report.gaps);
    assert_eq!((report.entries, report.chunks, report.notes), (120, 31, 40));
    assert_eq!(
        (report.entries_lost, report.chunks_lost, report.notes_lost),
        (0, 0, 0)
    );
    assert!(filled.is_served(&new));
    // Twice is once.
    let report = salvage(&aside, &new, me()).unwrap();
    assert_eq!((report.entries, report.entries_lost), (0, 0));
}

#[test]
fn a_damaged_entry_keeps_the_store_from_starting_and_is_salvaged_up_to_it() {
    let (dir, path) = temp_store();
    let filled = fill(&open(&path));
    let mut file = std::fs::read(&path).unwrap();
    // Every copy: the page in use and those that are not any more.
    let signature = filled.log[70].signed().signature.0;
    let places: Vec<_> = (0..file.len() - 32)
        .filter(|at| file[*at..*at + 32] == signature)
        .collect();
    for at in places {
        file[at] ^= 1;
    }
    std::fs::write(&path, &file).unwrap();
    let store = open(&path);
    match store.recovered() {
        Err(StoreError::Corrupt { place, .. }) => assert!(place.to_string().contains("entry 71")),
        other => panic!("{other:?}"),
    }
    let report = store.verify(false, &mut |_, _| {}).unwrap();
    let named: Vec<_> = report
        .problems
        .iter()
        .filter(|p| p.kind == ProblemKind::Entry)
        .map(|p| &p.id)
        .collect();
    assert!(named[0].ends_with("/71"), "{named:?}");
    drop(store);
    let aside = set_aside(&path).unwrap();
    let new = open(&dir.path().join("new.redb"));
    let report = salvage(&aside, &new, me()).unwrap();
    assert_eq!((report.entries, report.entries_lost), (70, 50));
    assert_eq!(new.recovered().unwrap().entries, filled.log[..70]);
}

#[test]
fn salvage_from_pages_takes_nobody_in() {
    // A stranger's entry in a leaf page of its own store …
    let (dir, path) = temp_store();
    let stranger = chain(66, 1);
    let store = open(&path);
    store.commit(&batch(&stranger)).unwrap();
    drop(store);
    let file = std::fs::read(&path).unwrap();
    let page = file
        .chunks(4096)
        .find(|p| p[0] == 1 && p.windows(32).any(|w| w == stranger[0].log().device.0));
    // … sent to us as the content of a chunk, so that it lies on a page's edge.
    let mut content = noise(1, 4096 - 50);
    let mut page = page.unwrap().to_vec();
    // One row: the end of its key, the end of its value.
    let used = u32::from_le_bytes(page[8..12].try_into().unwrap()) as usize;
    // What does not compress is kept as it is.
    page[used..].copy_from_slice(&noise(3, 4096 - used));
    content.extend_from_slice(&page);
    content.extend(noise(2, 20_000));
    let friend = chain(2, 3);
    let mine = statements(
        1,
        &[Payload::Trust(TrustChange::add(friend[0].log().device))],
    );
    let path = dir.path().join("ours.redb");
    let store = open(&path);
    store.put_chunks(&[chunk(content)]).unwrap();
    store.commit(&batch(&mine)).unwrap();
    store.commit(&batch(&friend)).unwrap();
    drop(store);
    let mut file = std::fs::read(&path).unwrap();
    let seen = file
        .chunks(4096)
        .any(|p| p[0] == 1 && p.windows(32).any(|w| w == stranger[0].log().device.0));
    assert!(seen, "the trap is set");
    file[..4096].fill(0);
    std::fs::write(&path, &file).unwrap();
    let new = open(&dir.path().join("new.redb"));
    salvage(&path, &new, me()).unwrap();
    let mut logs: Vec<_> = new
        .recovered()
        .unwrap()
        .entries
        .iter()
        .map(|e| e.log().device)
        .collect();
    logs.dedup();
    logs.sort();
    let mut want = vec![me(), friend[0].log().device];
    want.sort();
    assert_eq!(logs, want);
}

/// A log of device `n` that says this.
fn statements(n: u8, payloads: &[Payload]) -> Vec<VerifiedEntry> {
    let log = LogId {
        device: device_of(&key(n)),
        epoch: Epoch([n; 16]),
    };
    let mut prev = EntryHash::ZERO;
    let mut entries = Vec::new();
    for (seq, payload) in (1..).zip(payloads) {
        let payload = payload.to_bytes(Timestamp(seq));
        let header = Header {
            version: 1,
            log,
            seq: Seq(seq),
            prev,
            lamport: seq,
            payload_hash: *blake3::hash(&payload).as_bytes(),
            payload_len: payload.len() as u32,
        };
        let entry = SignedEntry::sign(&header, payload, &key(n))
            .verify()
            .unwrap();
        prev = entry.hash();
        entries.push(entry);
    }
    entries
}

/// A version with this manifest and this document.
fn version(session: &Session, snapshot: &(ChunkId, Vec<u8>)) -> Payload {
    let refer = |(id, content): &(ChunkId, Vec<u8>)| ContentRef {
        id: *id,
        len: content.len() as u32,
    };
    Payload::Version(Version {
        session: session.manifest.session,
        parents: Vec::new(),
        derived_from: None,
        manifest: Some(refer(&session.chunks[0])),
        snapshot: Some(refer(snapshot)),
        state: SessionState::Done,
        meta: SessionMeta::default(),
    })
}

#[test]
fn a_damaged_note_is_named_and_the_others_are_served() {
    let (_dir, path) = temp_store();
    let filled = fill(&open(&path));
    let mut file = std::fs::read(&path).unwrap();
    let value = &filled.notes[3].1;
    let places: Vec<_> = (0..file.len() - 64)
        .filter(|at| file[*at..*at + 64] == value[..64])
        .collect();
    for at in places {
        file[at + 10] ^= 1;
    }
    std::fs::write(&path, &file).unwrap();
    let store = open(&path);
    let bad = store.note(Namespace::Project, &filled.notes[3].0);
    assert!(matches!(bad, Err(StoreError::Corrupt { .. })));
    assert_eq!(store.notes(Namespace::Project).unwrap().len(), 39);
    let report = store.verify(false, &mut |_, _| {}).unwrap();
    let [problem] = &report.problems[..] else {
        panic!("{report:?}")
    };
    assert_eq!(
        (problem.kind, problem.repairable),
        (ProblemKind::Note, false)
    );
}
