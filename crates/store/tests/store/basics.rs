//! What the store does when nothing goes wrong, and what it refuses.

use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use ccpeer_core::id::{ChunkId, Epoch, Seq};
use ccpeer_core::limits;
use ccpeer_core::manifest::{Want, WantKind};
use ccpeer_core::store::{Batch, contract};
use ccpeer_store::{Namespace, NoteWrite, Place, Store, StoreError};

use crate::fixture::*;

fn note(ns: Namespace, key: &[u8], value: Option<&[u8]>) -> NoteWrite {
    NoteWrite {
        ns,
        key: key.to_vec(),
        value: value.map(<[u8]>::to_vec),
    }
}

#[test]
fn the_contract_of_every_store_holds() {
    let (_dir, path) = temp_store();
    contract::check(&mut || open(&path));
}

#[test]
fn the_contract_holds_through_a_reference() {
    let (_dir, path) = temp_store();
    let mut held: Vec<&'static Store> = Vec::new();
    // One store for all calls: a reference does not close what it points to.
    contract::check(&mut || {
        if held.is_empty() {
            held.push(Box::leak(Box::new(open(&path))));
        }
        held[0]
    });
}

#[test]
fn entries_must_continue_their_log() {
    let (_dir, path) = temp_store();
    let store = open(&path);
    let log = chain(1, 6);
    let refused = |entries: &[_]| match store.commit(&batch(entries)) {
        Err(StoreError::Wrong {
            place: Place::Entry(_, seq),
            ..
        }) => seq,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(&log[1..2]), Seq(2), "a log begins at its beginning");
    store.commit(&batch(&log[..3])).unwrap();
    assert_eq!(refused(&log[4..5]), Seq(5), "no gap");
    let mut mixed = log[3..4].to_vec();
    mixed.extend_from_slice(&log[5..6]);
    assert_eq!(refused(&mixed), Seq(6), "no gap inside a batch");
    assert_eq!(
        store.recovered().unwrap().entries,
        log[..3],
        "nothing of a refused batch is kept"
    );
    // Another chain of the same author and epoch, forked off after the first entry.
    let forged = contract::chain(&key(1), Epoch([1; 16]), 2);
    let other = {
        use ccpeer_core::entry::{Header, Mark, Payload, SignedEntry};
        let payload = Payload::Mark(Mark {
            session: ccpeer_core::id::SessionId([99; 16]),
            done: true,
        })
        .to_bytes(ccpeer_core::time::Timestamp(5));
        let header = Header {
            payload_hash: *blake3::hash(&payload).as_bytes(),
            payload_len: payload.len() as u32,
            ..forged[1].header().clone()
        };
        SignedEntry::sign(&header, payload, &key(1))
            .verify()
            .unwrap()
    };
    assert_eq!(refused(&[other]), Seq(2), "a number is given once");
    store.commit(&batch(&log)).unwrap();
    store.commit(&batch(&log)).unwrap();
    assert_eq!(store.recovered().unwrap().entries, log);
}

#[test]
fn a_payload_that_was_withheld_may_come_later() {
    let (_dir, path) = temp_store();
    let store = open(&path);
    let full = chain(1, 2);
    let mut bare = full[0].signed().clone();
    bare.payload = None;
    let bare = bare.verify().unwrap();
    store
        .commit(&batch(&[bare.clone(), full[1].clone()]))
        .unwrap();
    store.commit(&batch(&full)).unwrap();
    assert_eq!(store.recovered().unwrap().entries, full);
    store.commit(&batch(&[bare])).unwrap();
    assert_eq!(
        store.recovered().unwrap().entries,
        full,
        "and does not go away again"
    );
}

#[test]
fn wrong_chunks_are_refused_before_anything_is_written() {
    let (_dir, path) = temp_store();
    let store = open(&path);
    let good = chunk(noise(1, 100));
    let lie = (ChunkId([1; 32]), noise(2, 100));
    let long = chunk(vec![0; limits::CHUNK_BYTES_MAX + 1]);
    for bad in [lie, long] {
        match store.put_chunks(&[good.clone(), bad.clone()]) {
            Err(StoreError::Wrong { place, .. }) => assert_eq!(place, Place::Chunk(bad.0)),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(store.has(&[good.0]).unwrap(), [false]);
}

#[test]
fn more_chunks_than_one_transaction_holds() {
    let (_dir, path) = temp_store();
    let store = open(&path);
    let chunks: Vec<_> = (0..40)
        .map(|i| chunk(noise(i, limits::CHUNK_BYTES_MAX)))
        .collect();
    store.put_chunks(&chunks).unwrap();
    for (id, content) in &chunks {
        assert_eq!(store.get_chunk(id).unwrap().as_ref(), Some(content));
    }
    let stats = store.stats().unwrap();
    assert_eq!((stats.chunks, stats.raw_bytes), (40, 40 << 20));
}

#[test]
fn compressible_content_takes_little_room() {
    let (_dir, path) = temp_store();
    let store = open(&path);
    let chunks: Vec<_> = (0..200).map(|i| chunk(text(i, 64 * 1024))).collect();
    for load in chunks.chunks(50) {
        store.put_chunks(load).unwrap();
    }
    let stats = store.stats().unwrap();
    assert_eq!(stats.raw_bytes, 200 * 64 * 1024);
    assert!(stats.packed_bytes * 2 < stats.raw_bytes, "{stats:?}");
}

#[test]
fn what_is_missing_is_found_level_by_level() {
    let (_dir, path) = temp_store();
    let store = open(&path);
    // Two full pages and a tail.
    let s = session(1, limits::LIST_REFS_MAX * 2 + 3, 40);
    assert_eq!(store.missing(s.want).unwrap(), [s.want]);
    store.put_chunks(&s.chunks[..1]).unwrap();
    let want = |i: usize, kind| Want {
        id: s.chunks[i].0,
        kind,
    };
    let missing = store.missing(s.want).unwrap();
    assert_eq!(missing.len(), 2 + 3);
    assert_eq!(missing[0], want(1, WantKind::List));
    // One page: now its content is known to be missing, too.
    store.put_chunks(&s.chunks[1..2]).unwrap();
    assert_eq!(
        store.missing(s.want).unwrap().len(),
        1 + 3 + limits::LIST_REFS_MAX
    );
    assert_eq!(
        store.missing(want(1, WantKind::List)).unwrap().len(),
        limits::LIST_REFS_MAX
    );
    let last = s.chunks.len() - 1;
    store.put_chunks(&s.chunks[2..last]).unwrap();
    assert_eq!(store.missing(s.want).unwrap(), [want(last, WantKind::Data)]);
    store.put_chunks(&s.chunks[last..]).unwrap();
    assert_eq!(store.missing(s.want).unwrap(), []);
}

#[test]
fn a_chunk_of_another_kind_is_the_authors_fault() {
    let (_dir, path) = temp_store();
    let store = open(&path);
    let bad = chunk(b"not a manifest".to_vec());
    store.put_chunks(std::slice::from_ref(&bad)).unwrap();
    for kind in [WantKind::Manifest, WantKind::List] {
        let want = Want { id: bad.0, kind };
        assert!(
            matches!(store.missing(want), Err(StoreError::Wrong { .. })),
            "{kind:?}"
        );
    }
}

#[test]
fn segments_are_read_chunk_by_chunk() {
    let (_dir, path) = temp_store();
    let store = open(&path);
    let s = session(2, limits::LIST_REFS_MAX + 2, 50);
    let segment = &s.manifest.files[0].segments[0];
    let absent = |r: Result<_, StoreError>| matches!(r, Err(StoreError::Absent { .. }));
    assert!(absent(store.segment_refs(segment).map(|_| ())));
    store.put_chunks(&s.chunks[..s.chunks.len() - 1]).unwrap();
    let mut read: Vec<_> = store.read_segment(segment).collect();
    assert!(
        absent(read.pop().unwrap().map(|_| ())),
        "it ends with the error"
    );
    store.put_chunks(&s.chunks).unwrap();
    let refs = store.segment_refs(segment).unwrap();
    assert_eq!(refs.len(), limits::LIST_REFS_MAX + 2);
    let mut out = Vec::new();
    let len = store.read_segment(segment).copy_to(&mut out).unwrap();
    assert_eq!((len, &out), (segment.len, &s.content));
    // A manifest that lies about its length.
    for len in [segment.len - 1, segment.len + 1] {
        let mut lie = segment.clone();
        lie.len = len;
        assert!(
            store
                .read_segment(&lie)
                .any(|c| matches!(c, Err(StoreError::Wrong { .. })))
        );
    }
}

#[test]
fn notes_keep_to_their_namespace() {
    let (_dir, path) = temp_store();
    let store = open(&path);
    let (a, b) = (Namespace::HookInbox, Namespace::HookSeen);
    store
        .put_notes(&[
            note(a, b"2", Some(b"two")),
            note(a, b"", Some(b"")),
            note(a, b"1", Some(b"one")),
            note(b, b"1", Some(b"other")),
        ])
        .unwrap();
    let keys = |notes: Vec<(Vec<u8>, Vec<u8>)>| notes.into_iter().map(|n| n.0).collect::<Vec<_>>();
    assert_eq!(keys(store.notes(a).unwrap()), [&b""[..], b"1", b"2"]);
    assert_eq!(keys(store.notes_from(a, b"1", 1).unwrap()), [b"1"]);
    assert_eq!(keys(store.notes_from(a, b"1\0", 9).unwrap()), [b"2"]);
    assert_eq!(store.note(b, b"1").unwrap().as_deref(), Some(&b"other"[..]));
    store
        .put_notes(&[note(a, b"1", None), note(a, b"7", None)])
        .unwrap();
    drop(store);
    let store = open(&path);
    assert_eq!(store.note(a, b"1").unwrap(), None);
    assert_eq!(store.notes(a).unwrap().len(), 2);
    assert!(store.notes(Namespace::Session).unwrap().is_empty());
}

#[test]
fn notes_have_bounds() {
    let (_dir, path) = temp_store();
    let store = open(&path);
    let most = note(
        Namespace::Capture,
        &[0xff; limits::NOTE_KEY_BYTES_MAX],
        Some(&vec![1; limits::NOTE_VALUE_BYTES_MAX]),
    );
    store.put_notes(std::slice::from_ref(&most)).unwrap();
    let mut key = most.clone();
    key.key.push(0);
    let mut value = most;
    value.value.as_mut().unwrap().push(0);
    for bad in [key, value] {
        let both = [note(Namespace::Capture, b"x", Some(b"y")), bad];
        assert!(matches!(
            store.put_notes(&both),
            Err(StoreError::Wrong { .. })
        ));
    }
    assert_eq!(store.note(Namespace::Capture, b"x").unwrap(), None);
    assert_eq!(store.notes(Namespace::Capture).unwrap().len(), 1);
}

#[test]
fn k_s09_a_store_is_open_once() {
    let (_dir, path) = temp_store();
    let store = open(&path);
    assert_eq!(Store::open(&path, &OPTIONS).err(), Some(StoreError::Locked));
    drop(store);
    open(&path);
}

#[test]
fn k_s09_of_twenty_who_create_it_at_once_one_has_it() {
    let (_dir, path) = temp_store();
    let start = Arc::new(Barrier::new(20));
    let threads: Vec<_> = (0..20)
        .map(|_| {
            let (path, start) = (path.clone(), Arc::clone(&start));
            std::thread::spawn(move || {
                start.wait();
                Store::open(&path, &OPTIONS)
            })
        })
        .collect();
    // Joined before any is dropped, so the one who has it keeps it.
    let results: Vec<_> = threads.into_iter().map(|t| t.join().unwrap()).collect();
    assert_eq!(results.iter().filter(|r| r.is_ok()).count(), 1);
    for error in results.into_iter().filter_map(Result::err) {
        assert_eq!(error, StoreError::Locked);
    }
    assert!(open(&path).recovered().unwrap().entries.is_empty());
}

#[test]
fn a_store_whose_creation_was_cut_off_is_made_anew() {
    let (_dir, path) = temp_store();
    std::fs::write(&path, vec![0; 1 << 20]).unwrap();
    open(&path).commit(&batch(&chain(1, 1))).unwrap();
    assert_eq!(open(&path).recovered().unwrap().entries.len(), 1);
}

#[test]
fn k_h12_many_small_writes_at_once_are_durable_together() {
    let (_dir, path) = temp_store();
    let store = Arc::new(open(&path));
    let count = 200;
    let start = Arc::new(Barrier::new(count + 1));
    let threads: Vec<_> = (0..count as u64)
        .map(|i| {
            let (store, start) = (Arc::clone(&store), Arc::clone(&start));
            std::thread::spawn(move || {
                start.wait();
                // One in ten is refused, and learns it alone.
                let len = if i % 10 == 0 {
                    limits::NOTE_VALUE_BYTES_MAX + 1
                } else {
                    500
                };
                let value = vec![i as u8; len];
                let write = note(Namespace::HookInbox, &i.to_be_bytes(), Some(&value));
                let log = chain(3, 2);
                match i {
                    // A job that is refused inside a shared transaction.
                    1 => store.commit(&batch(&log[1..])),
                    2 => store.commit(&Batch {
                        epoch: Some(Epoch([9; 16])),
                        ..Batch::default()
                    }),
                    3 => store.put_chunks(&[chunk(noise(3, 1000))]),
                    _ => store.put_notes(&[write]),
                }
            })
        })
        .collect();
    start.wait();
    let begun = Instant::now();
    let results: Vec<_> = threads.into_iter().map(|t| t.join().unwrap()).collect();
    let took = begun.elapsed();
    println!("200 writers at once: {took:?}");
    for (i, result) in results.iter().enumerate() {
        assert_eq!(result.is_ok(), i % 10 != 0 && i != 1, "{i}: {result:?}");
    }
    // Generous: a loaded machine with a slow disk. One sync each would be far off.
    assert!(took < Duration::from_secs(5), "{took:?}");
    drop(store);
    let store = open(&path);
    assert_eq!(store.notes(Namespace::HookInbox).unwrap().len(), 180 - 3);
    assert_eq!(store.recovered().unwrap().epoch, Epoch([9; 16]));
    assert!(store.recovered().unwrap().entries.is_empty());
}

#[cfg(unix)]
#[test]
fn k_a12_the_file_is_private_whatever_the_umask() {
    use std::os::unix::fs::PermissionsExt;
    let (dir, path) = temp_store();
    // The umask belongs to the process, so another process must have it.
    let exe = std::env::current_exe().unwrap();
    for (umask, name) in [("000", "a.redb"), ("077", "b.redb"), ("777", "c.redb")] {
        let path = dir.path().join(name);
        let status = std::process::Command::new("sh")
            .args([
                "-c",
                &format!("umask {umask}; exec \"$0\" --exact basics::helper_that_opens_a_store"),
            ])
            .arg(&exe)
            .env("CCPEER_TEST_STORE", &path)
            .stdout(std::process::Stdio::null())
            .status()
            .unwrap();
        assert!(status.success());
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600, "umask {umask}");
    }
    // One that was opened up later is closed again.
    drop(open(&path));
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o666)).unwrap();
    drop(open(&path));
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777,
        0o600
    );
}

/// Run by the test above in a process of its own; passes by itself.
#[test]
fn helper_that_opens_a_store() {
    if let Some(path) = std::env::var_os("CCPEER_TEST_STORE") {
        open(std::path::Path::new(&path));
    }
}
