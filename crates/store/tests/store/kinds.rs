//! What is complete, as what: the same bytes under two kinds are two marks, and
//! whoever names one author's manifest as content makes it neither whole nor
//! needed.

use ccpeer_core::id::{ChunkId, SessionId};
use ccpeer_core::limits;
use ccpeer_core::manifest::{ChunkRef, Want};
use ccpeer_core::store::Batch;
use ccpeer_core::time::Instant;
use ccpeer_store::{CollectPlan, Store, StoreError};

use crate::fixture::*;

fn mark(store: &Store, complete: Vec<Want>) {
    let batch = Batch {
        complete,
        ..Batch::default()
    };
    store.commit(&batch).unwrap();
}

/// A manifest that names the page of another one as content, and as a page.
fn naming_both(of: &Session) -> (ChunkId, Vec<u8>) {
    let (page, len) = (&of.chunks[1].0, of.chunks[1].1.len() as u32);
    let mut manifest = of.manifest.clone();
    manifest.session = SessionId([0xee; 16]);
    let mut stolen = manifest.files[0].segments[0].clone();
    stolen.pages.clear();
    stolen.len = u64::from(len);
    stolen.tail = vec![ChunkRef { id: *page, len }];
    manifest.files[0].segments.insert(0, stolen);
    chunk(manifest.to_bytes())
}

#[test]
fn what_is_missing_goes_by_kind() {
    let (_dir, path) = temp_store();
    let store = open(&path);
    let s = session(5, 140, 100);
    let evil = naming_both(&s);
    // Manifests and page, and nothing that the page names.
    store.put_chunks(&s.chunks[..2]).unwrap();
    store.put_chunks(std::slice::from_ref(&evil)).unwrap();
    let (id, page) = (s.want.id, s.chunks[1].0);
    assert_eq!(store.missing(Want::data(id)).unwrap(), []);
    assert_eq!(store.missing(Want::data(page)).unwrap(), []);
    let lacks = |want| store.missing(want).unwrap().len();
    assert_eq!(lacks(Want::manifest(id)), 140);
    assert_eq!(lacks(Want::list(page)), limits::LIST_REFS_MAX);
    assert_eq!(lacks(Want::manifest(evil.0)), 140, "content hides no page");
    for wrong in [Want::list(id), Want::manifest(page)] {
        let refused = store.missing(wrong);
        assert!(matches!(refused, Err(StoreError::Wrong { .. })));
    }
}

#[test]
fn a_loss_takes_back_what_needs_it_as_what_it_is() {
    let (_dir, path) = temp_store();
    let store = open(&path);
    let s = session(5, 140, 100);
    let evil = naming_both(&s);
    store.put_chunks(&s.chunks).unwrap();
    store.put_chunks(std::slice::from_ref(&evil)).unwrap();
    let (whole, as_data) = (s.want, Want::data(s.want.id));
    let evil = Want::manifest(evil.0);
    mark(&store, vec![whole, as_data, evil]);
    assert_eq!(store.verify(true, &mut |_, _| {}).unwrap().problems, []);
    // A chunk that only the page names.
    let mut gone = store.quarantine(&[s.chunks[2].0]).unwrap();
    gone.sort();
    let mut want = vec![whole, evil];
    want.sort();
    assert_eq!(gone, want);
    assert_eq!(store.complete().unwrap(), [as_data].into());
    // What was never a manifest is found out.
    mark(&store, vec![Want::manifest(s.chunks[3].0)]);
    let report = store.verify(false, &mut |_, _| {}).unwrap();
    let found: Vec<_> = report.problems.iter().map(|p| p.root).collect();
    assert_eq!(found, [Some(Want::manifest(s.chunks[3].0))]);
    assert_eq!(store.complete().unwrap(), [as_data].into());
}

#[test]
fn k_s10_a_manifest_that_is_needed_as_content_holds_nothing_back() {
    let (_dir, path) = temp_store();
    let store = open(&path);
    let (s, kept) = (session(5, 140, 100), session(6, 3, 100));
    for session in [&s, &kept] {
        store.put_chunks(&session.chunks).unwrap();
        mark(&store, vec![session.want]);
    }
    let as_data = Want::data(s.want.id);
    mark(&store, vec![as_data]);
    let roots = vec![kept.want, as_data];
    let mut withdrawn = Vec::new();
    for run in 0..=limits::COLLECT_GRACE_MS / limits::COLLECT_STEP_MS_MAX + 1 {
        let now = Instant(run * limits::COLLECT_STEP_MS_MAX);
        let plan = CollectPlan::new(roots.clone(), now);
        let done = store.collect(&plan, &mut || true).unwrap();
        assert!(done.finished);
        withdrawn.extend(done.withdrawn);
        let ids: Vec<ChunkId> = s.chunks.iter().map(|c| c.0).collect();
        if run == 1 {
            // Nobody who was told that they are here has lost them yet.
            assert_eq!(store.stats().unwrap().chunks, (ids.len() + 4) as u64);
        }
    }
    assert_eq!(withdrawn, [s.want]);
    assert_eq!(store.complete().unwrap(), [kept.want, as_data].into());
    assert_eq!(store.stats().unwrap().chunks, 1 + 4);
    assert_eq!(store.missing(as_data).unwrap(), []);
    assert_eq!(store.missing(kept.want).unwrap(), []);
}

#[test]
fn what_is_not_of_its_kind_is_not_said_to_be_complete_once_something_went() {
    let (_dir, path) = temp_store();
    let store = open(&path);
    let s = session(5, 3, 100);
    store.put_chunks(&s.chunks).unwrap();
    // With garbage about, the store looks before it says so.
    let plan = CollectPlan::new(Vec::new(), Instant(0));
    assert!(store.collect(&plan, &mut || true).unwrap().condemned > 0);
    let (content, id) = (s.chunks[1].0, s.want.id);
    mark(
        &store,
        vec![Want::manifest(content), Want::data(id), s.want],
    );
    assert_eq!(store.complete().unwrap(), [Want::data(id), s.want].into());
}
