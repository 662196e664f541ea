//! Stores that older releases have written: opened, used, rewritten. Each release
//! leaves one behind: `BLESS=1 cargo test -p ccpeer-store --test store ages`
//! writes that of this version, if there is none.

use std::path::{Path, PathBuf};

use ccpeer_core::entry::{VerifiedEntry, device_of};
use ccpeer_core::limits;
use ccpeer_core::store::Batch;
use ccpeer_core::time::Instant;
use ccpeer_store::{CollectPlan, Namespace, NoteWrite, Store, salvage};

use crate::fixture::*;

/// All there are, in `testdata/store`.
pub(crate) const RELEASES: [&str; 1] = ["0.1.0.redb.zst"];

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../testdata/store")
}

/// What each of them holds.
pub(crate) struct Life {
    log: Vec<VerifiedEntry>,
    /// Of chunks with several parts, and one with a list page.
    sessions: [Session; 2],
    notes: Vec<NoteWrite>,
}

impl Life {
    pub(crate) fn new() -> Self {
        let note = |n: u8| NoteWrite {
            ns: Namespace::ALL[usize::from(n) % Namespace::ALL.len()],
            key: vec![n; usize::from(n)],
            value: Some(vec![n; 400]),
        };
        Self {
            log: chain(1, 24),
            sessions: [session(5, 4, 9000), session(6, 130, 100)],
            notes: (1..20).map(note).collect(),
        }
    }

    fn write(&self, store: &Store) {
        for (n, session) in self.sessions.iter().enumerate() {
            store.put_chunks(&session.chunks).unwrap();
            let batch = Batch {
                entries: self.log[n * 12..(n + 1) * 12].to_vec(),
                complete: vec![session.want],
                epoch: None,
            };
            store.commit(&batch).unwrap();
        }
        store.put_notes(&self.notes).unwrap();
    }

    pub(crate) fn check(&self, store: &Store) {
        let recovered = store.recovered().unwrap();
        assert_eq!(recovered.entries, self.log);
        assert_eq!(recovered.epoch, OPTIONS.fresh_epoch);
        for session in &self.sessions {
            assert!(recovered.complete.contains(&session.want));
            assert_eq!(store.missing(session.want).unwrap(), []);
            for (id, content) in &session.chunks {
                assert!(store.get_chunk(id).unwrap().as_ref() == Some(content));
            }
        }
        for note in &self.notes {
            assert_eq!(store.note(note.ns, &note.key).unwrap(), note.value);
        }
        assert_eq!(store.verify(true, &mut |_, _| {}).unwrap().problems, []);
    }
}

/// The file as the release left it.
pub(crate) fn left_by(release: &str) -> Vec<u8> {
    let small = std::fs::read(folder().join(release)).unwrap();
    assert!(small.len() < 100 * 1024, "{release}");
    zstd::bulk::decompress(&small, 16 * 1024 * 1024).unwrap()
}

#[test]
fn k_s12_a_store_of_every_release_is_opened_and_used() {
    let life = Life::new();
    if std::env::var_os("BLESS").is_some() {
        bless(&life, &folder());
    }
    for release in RELEASES {
        let image = left_by(release);
        let (dir, path) = temp_store();
        std::fs::write(&path, &image).unwrap();
        let store = open(&path);
        life.check(&store);
        // It goes on as one of today.
        let more = session(7, 20, 3000);
        store.put_chunks(&more.chunks).unwrap();
        store.quarantine(&[more.chunks[3].0]).unwrap();
        for run in 0..=limits::COLLECT_GRACE_MS / limits::COLLECT_STEP_MS_MAX {
            let roots = life.sessions.iter().map(|s| s.want).collect();
            let now = Instant(run * limits::COLLECT_STEP_MS_MAX);
            let plan = CollectPlan::new(roots, now);
            assert!(store.collect(&plan, &mut || true).unwrap().finished);
        }
        assert_eq!(store.has(&[more.want.id]).unwrap(), [false]);
        assert!(store.compact(&mut || true).unwrap().finished);
        life.check(&store);
        drop(store);
        life.check(&open(&path));
        // And can be salvaged, should it be damaged.
        std::fs::write(&path, &image).unwrap();
        let new = open(&dir.path().join("new.redb"));
        salvage(&path, &new, device_of(&key(1))).unwrap();
        life.check(&new);
    }
    let there = std::fs::read_dir(folder()).unwrap().count();
    assert_eq!(there, RELEASES.len(), "a release is not tried");
}

fn bless(life: &Life, folder: &Path) {
    let file = folder.join(concat!(env!("CARGO_PKG_VERSION"), ".redb.zst"));
    if file.exists() {
        return;
    }
    let (_dir, path) = temp_store();
    life.write(&open(&path));
    let image = std::fs::read(&path).unwrap();
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(file, zstd::bulk::compress(&image, 19).unwrap()).unwrap();
}
