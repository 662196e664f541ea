//! The checks that every [`Store`] must pass, whatever it is made of. They speak
//! to the trait alone and know nothing of files, tables or simulated disks.
//!
//! What a crash may do is not checked here; each implementation has its own
//! crash tests.
#![expect(
    clippy::expect_used,
    reason = "this module is a test: a broken promise is reported by a panic"
)]

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;

use ed25519_dalek::SigningKey;

use crate::entry::{
    DeviceInfo, ENTRY_VERSION, Header, Mark, Payload, SignedEntry, VerifiedEntry, device_of,
};
use crate::id::{ChunkId, EntryHash, Epoch, LogId, Seq, SessionId};
use crate::limits;
use crate::manifest::Want;
use crate::store::{Batch, Store};
use crate::time::Timestamp;

/// Runs every check. `open` opens one and the same disk each time it is called;
/// the first call finds it fresh. The store of the call before has been dropped
/// by then, as if its process had ended.
pub fn check<S: Store>(open: &mut dyn FnMut() -> S) {
    let key_a = SigningKey::from_bytes(&[1; 32]);
    let key_b = SigningKey::from_bytes(&[2; 32]);
    let epoch = Epoch([7; 16]);

    a_fresh_store_is_empty(open);
    let a = chain(&key_a, epoch, 40);
    let b = chain(&key_b, Epoch([8; 16]), 3);
    entries_come_back_in_order(open, &a, &b);
    ranges_are_cut_by_number_and_size(&open(), &a);
    the_epoch_stays(open, epoch);
    a_batch_is_one_thing(open, &key_a, &a);
    withheld_payloads_stay_withheld(open, &key_b);
    chunks_are_kept_by_their_hash(open);
    completeness_stays(open);
}

/// A chain of `count` entries, numbered from 1.
#[must_use]
pub fn chain(key: &SigningKey, epoch: Epoch, count: u64) -> Vec<VerifiedEntry> {
    let log = LogId {
        device: device_of(key),
        epoch,
    };
    let mut prev = EntryHash::ZERO;
    let mut out = Vec::new();
    for n in 1..=count {
        let payload = if n == 1 {
            Payload::Device(DeviceInfo {
                name: "contract".into(),
                os: "linux".into(),
            })
        } else {
            Payload::Mark(Mark {
                session: SessionId([n as u8; 16]),
                done: n % 2 == 0,
            })
        };
        let entry = signed(key, log, Seq(n), prev, &payload);
        prev = entry.hash();
        out.push(entry);
    }
    out
}

fn signed(
    key: &SigningKey,
    log: LogId,
    seq: Seq,
    prev: EntryHash,
    payload: &Payload,
) -> VerifiedEntry {
    let bytes = payload.to_bytes(Timestamp(seq.0));
    let header = Header {
        version: ENTRY_VERSION,
        log,
        seq,
        prev,
        lamport: seq.0,
        payload_hash: *blake3::hash(&bytes).as_bytes(),
        payload_len: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
    };
    SignedEntry::sign(&header, bytes, key)
        .verify()
        .expect("an entry of our own verifies")
}

fn a_fresh_store_is_empty<S: Store>(open: &mut dyn FnMut() -> S) {
    let first = open().recovered().expect("a fresh store can be read");
    assert!(first.entries.is_empty(), "a fresh store has no entry");
    assert!(
        first.complete.is_empty(),
        "a fresh store has nothing complete"
    );
    let again = open().recovered().expect("a store can be read again");
    assert_eq!(
        first.epoch, again.epoch,
        "the epoch is drawn once, not at every start"
    );
}

fn entries_come_back_in_order<S: Store>(
    open: &mut dyn FnMut() -> S,
    a: &[VerifiedEntry],
    b: &[VerifiedEntry],
) {
    let (first, rest) = a.split_at(a.len() / 2);
    let mut store = open();
    store
        .commit(&Batch::default())
        .expect("an empty batch commits");
    store
        .commit(&Batch {
            entries: first.to_vec(),
            ..Batch::default()
        })
        .expect("commit");
    // Two logs in one batch, interleaved: each is in order of its own.
    let mut mixed = Vec::new();
    let mut others = b.iter();
    for entry in rest {
        mixed.extend(others.next().cloned());
        mixed.push(entry.clone());
    }
    store
        .commit(&Batch {
            entries: mixed,
            ..Batch::default()
        })
        .expect("commit");
    let want = by_log(a.iter().chain(b));
    assert_eq!(
        by_log(&store.recovered().expect("recovered").entries),
        want,
        "before the restart"
    );
    drop(store);
    let recovered = open().recovered().expect("recovered");
    assert_eq!(by_log(&recovered.entries), want, "after the restart");
    let mut logs = Vec::new();
    for entry in &recovered.entries {
        if logs.last() != Some(&entry.log()) {
            logs.push(entry.log());
        }
    }
    assert_eq!(logs.len(), want.len(), "recovered entries come log by log");
}

fn by_log<'a>(
    entries: impl IntoIterator<Item = &'a VerifiedEntry>,
) -> BTreeMap<LogId, Vec<VerifiedEntry>> {
    let mut out: BTreeMap<LogId, Vec<VerifiedEntry>> = BTreeMap::new();
    for entry in entries {
        out.entry(entry.log()).or_default().push(entry.clone());
    }
    for (log, entries) in &out {
        let numbers: Vec<u64> = entries.iter().map(|e| e.seq().0).collect();
        let want: Vec<u64> = (1..=entries.len() as u64).collect();
        assert_eq!(numbers, want, "entries of {log:?} are in order, each once");
    }
    out
}

fn ranges_are_cut_by_number_and_size<S: Store>(store: &S, a: &[VerifiedEntry]) {
    let log = a.first().expect("the chain is not empty").log();
    let range = |after: u64, upto: u64, bytes: usize| {
        store
            .range(log, Seq(after), Seq(upto), bytes)
            .expect("range")
    };
    let slice = |after: usize, upto: usize| -> Vec<SignedEntry> {
        a.iter()
            .skip(after)
            .take(upto - after)
            .map(|e| e.signed().clone())
            .collect()
    };
    let all = limits::MESSAGE_BYTES_MAX;
    assert_eq!(range(0, 40, all), slice(0, 40), "the whole log, verbatim");
    assert_eq!(
        range(0, u64::MAX, all),
        slice(0, 40),
        "nothing is made up beyond its end"
    );
    assert_eq!(
        range(3, 7, all),
        slice(3, 7),
        "`after` is excluded, `upto` included"
    );
    assert!(range(40, 50, all).is_empty(), "beyond the end");
    assert!(range(7, 7, all).is_empty(), "an empty range");
    assert!(range(9, 3, all).is_empty(), "a range that runs backwards");
    assert_eq!(
        range(0, 40, 0),
        slice(0, 1),
        "at least one, or nobody ever gets on"
    );
    let two: usize = a.iter().take(2).map(|e| e.signed().size()).sum();
    assert_eq!(range(0, 40, two), slice(0, 2), "exactly what fits");
    assert_eq!(
        range(0, 40, two - 1),
        slice(0, 1),
        "nothing more than what fits"
    );
    let other = LogId {
        device: log.device,
        epoch: Epoch([99; 16]),
    };
    assert!(
        store
            .range(other, Seq(0), Seq(9), all)
            .expect("range")
            .is_empty(),
        "unknown log"
    );
}

fn the_epoch_stays<S: Store>(open: &mut dyn FnMut() -> S, epoch: Epoch) {
    let mut store = open();
    store
        .commit(&Batch {
            epoch: Some(epoch),
            ..Batch::default()
        })
        .expect("commit");
    assert_eq!(store.recovered().expect("recovered").epoch, epoch);
    store.commit(&Batch::default()).expect("commit");
    drop(store);
    assert_eq!(
        open().recovered().expect("recovered").epoch,
        epoch,
        "after the restart"
    );
}

fn a_batch_is_one_thing<S: Store>(
    open: &mut dyn FnMut() -> S,
    key: &SigningKey,
    a: &[VerifiedEntry],
) {
    let tip = a.last().expect("the chain is not empty");
    let next = signed(
        key,
        tip.log(),
        tip.seq().next(),
        tip.hash(),
        &Payload::Mark(Mark {
            session: SessionId([9; 16]),
            done: true,
        }),
    );
    let manifest = Want::manifest(ChunkId([3; 32]));
    let epoch = Epoch([11; 16]);
    let batch = Batch {
        entries: vec![next.clone()],
        complete: vec![manifest],
        epoch: Some(epoch),
    };
    open().commit(&batch).expect("commit");
    let recovered = open().recovered().expect("recovered");
    assert!(recovered.entries.contains(&next));
    assert!(recovered.complete.contains(&manifest));
    assert_eq!(recovered.epoch, epoch);
}

fn withheld_payloads_stay_withheld<S: Store>(open: &mut dyn FnMut() -> S, key: &SigningKey) {
    let full = chain(key, Epoch([12; 16]), 1);
    let mut signed = full.first().expect("one entry").signed().clone();
    signed = signed.withheld(key).expect("the author's key is here");
    let bare = signed.clone().verify().expect("a header alone verifies");
    let log = bare.log();
    open()
        .commit(&Batch {
            entries: vec![bare.clone()],
            ..Batch::default()
        })
        .expect("commit");
    let store = open();
    assert!(
        store
            .recovered()
            .expect("recovered")
            .entries
            .contains(&bare)
    );
    let served = store
        .range(log, Seq(0), Seq(1), limits::MESSAGE_BYTES_MAX)
        .expect("range");
    assert_eq!(served, vec![signed]);
}

fn chunks_are_kept_by_their_hash<S: Store>(open: &mut dyn FnMut() -> S) {
    let sizes = [
        1usize,
        100,
        64 * 1024,
        64 * 1024 + 1,
        limits::CHUNK_BYTES_MAX,
    ];
    let chunks: Vec<(ChunkId, Vec<u8>)> = sizes
        .iter()
        .map(|len| {
            let bytes: Vec<u8> = (0..*len)
                .map(|i| (i.wrapping_mul(31) ^ len) as u8)
                .collect();
            (ChunkId::of(&bytes), bytes)
        })
        .collect();
    let absent = ChunkId([0xee; 32]);
    let mut store = open();
    assert_eq!(store.get_chunk(&absent).expect("get"), None);
    store.put_chunks(&[]).expect("nothing to keep");
    store.put_chunks(&chunks).expect("put");
    store
        .put_chunks(&chunks)
        .expect("keeping a chunk twice is no mistake");
    let wrong = [(absent, vec![1, 2, 3])];
    assert!(
        store.put_chunks(&wrong).is_err(),
        "content that does not have its id is refused"
    );
    drop(store);
    let store = open();
    for (id, bytes) in &chunks {
        assert_eq!(
            store.get_chunk(id).expect("get").as_ref(),
            Some(bytes),
            "{} bytes",
            bytes.len()
        );
    }
    let ids: Vec<ChunkId> = chunks
        .iter()
        .map(|c| c.0)
        .flat_map(|id| [id, absent])
        .collect();
    let want: Vec<bool> = chunks.iter().flat_map(|_| [true, false]).collect();
    assert_eq!(
        store.has(&ids).expect("has"),
        want,
        "answers stand in the order of the questions"
    );
    assert!(store.has(&[]).expect("has").is_empty());
}

fn completeness_stays<S: Store>(open: &mut dyn FnMut() -> S) {
    // Each as something else, and one as two things.
    let id = |n| ChunkId([n; 32]);
    let wants = BTreeSet::from([
        Want::manifest(id(20)),
        Want::data(id(21)),
        Want::manifest(id(22)),
        Want::data(id(22)),
    ]);
    let mut store = open();
    let before = store.recovered().expect("recovered").complete;
    for want in &wants {
        let batch = Batch {
            complete: vec![*want],
            ..Batch::default()
        };
        store.commit(&batch).expect("commit");
        store.commit(&batch).expect("saying it twice is no mistake");
    }
    drop(store);
    let recovered = open().recovered().expect("recovered").complete;
    let fresh: BTreeSet<Want> = recovered.difference(&before).copied().collect();
    assert_eq!(
        fresh, wants,
        "what is complete as one thing is so as no other"
    );
}
