//! What stays and what goes.

use ccpeer_core::id::{ChunkId, DeviceId, Epoch, SessionId};
use ccpeer_core::manifest::{
    MANIFEST_VERSION, OpaqueName, Origin, PathFlavour, ProjectIdentity, SlotName, WantKind,
};
use ccpeer_core::time::{Instant, Timestamp};
use ccpeer_store::{CollectPlan, Options};

use super::*;

fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        fresh_epoch: Epoch([1; 16]),
    };
    let store = Store::open(&dir.path().join("store.redb"), &options).unwrap();
    (dir, store)
}

fn put(store: &Store, content: &[u8]) -> ChunkRef {
    let id = ChunkId::of(content);
    store.put_chunks(&[(id, content.to_vec())]).unwrap();
    ChunkRef {
        id,
        len: u32::try_from(content.len()).unwrap(),
    }
}

/// A version whose files have these chunks; complete, as the store sees it.
fn version(store: &Store, home: &str, files: &[(Slot, &[&str])]) -> Want {
    let files = files.iter().map(|(slot, chunks)| {
        let tail: Vec<ChunkRef> = chunks.iter().map(|c| put(store, c.as_bytes())).collect();
        FileEntry {
            slot: slot.clone(),
            segments: vec![Segment {
                origin: 0,
                len: tail.iter().map(|c| u64::from(c.len)).sum(),
                pages: Vec::new(),
                tail,
            }],
            modified: Timestamp(0),
        }
    });
    let manifest = Manifest {
        version: MANIFEST_VERSION,
        session: SessionId([1; 16]),
        origins: vec![Origin {
            flavour: PathFlavour::Unix,
            home: home.to_owned(),
            project: format!("{home}/p"),
            claude_dir: format!("{home}/.claude"),
            slug: "p".to_owned(),
        }],
        project: ProjectIdentity::default(),
        files: files.collect(),
    };
    let id = put(store, &codec::encode(&manifest)).id;
    let batch = ccpeer_core::store::Batch {
        complete: vec![Want::manifest(id)],
        ..Default::default()
    };
    store.commit(&batch).unwrap();
    Want {
        id,
        kind: WantKind::Manifest,
    }
}

fn node(n: u8, manifest: Want, children: &[u8], head: bool, replicated: bool) -> Node {
    Node {
        id: EntryHash([n; 32]),
        roots: vec![manifest],
        manifest: Some(manifest),
        children: children.iter().map(|c| EntryHash([*c; 32])).collect(),
        head,
        replicated,
    }
}

#[test]
fn only_growth_is_contained() {
    let (_dir, store) = store();
    let main = |chunks: &[&str]| version(&store, "/home/a", &[(Slot::Main, chunks)]);
    let old = main(&["one\n", "two\n"]);
    let check = |new: &Want, want: bool, why: &str| {
        assert_eq!(contains(&store, new, &old).unwrap(), want, "{why}");
    };
    check(&main(&["one\n", "two\n", "three\n"]), true, "appended");
    check(
        &main(&["one\n", "two\nthree\n"]),
        true,
        "the last chunk grew",
    );
    check(&main(&["one\n", "2\n", "three\n"]), false, "rewritten");
    check(&main(&["one\n"]), false, "cut");
    check(&main(&["summary\n"]), false, "compacted");
    let elsewhere = version(
        &store,
        "/home/b",
        &[(Slot::Main, &["one\n", "two\n", "x\n"])],
    );
    check(&elsewhere, false, "in other paths");
    let agent = Slot::Subagent(SlotName::new("a1").unwrap());
    let with = version(
        &store,
        "/home/a",
        &[(Slot::Main, &["one\n"]), (agent, &["sub\n"])],
    );
    assert!(!contains(&store, &old, &with).unwrap(), "a file is gone");
    let tasks = version(
        &store,
        "/home/a",
        &[(Slot::Main, &["one\n"]), (Slot::Task(1), &["{}"])],
    );
    assert!(contains(&store, &old, &tasks).unwrap(), "task lists change");
    let unknown = |content| {
        let slot = Slot::Opaque(OpaqueName::new("session:state.json").unwrap());
        version(
            &store,
            "/home/a",
            &[(Slot::Main, &["one\n"]), (slot, &[content])],
        )
    };
    let (earlier, later) = (unknown("1"), unknown("2"));
    assert!(contains(&store, &later, &earlier).unwrap(), "written anew");
    assert!(!contains(&store, &old, &earlier).unwrap(), "gone");
}

#[test]
fn inv_13_what_is_not_certainly_elsewhere_stays() {
    let (_dir, store) = store();
    let v = |chunks: &[&str]| version(&store, "/home/a", &[(Slot::Main, chunks)]);
    let (first, second) = (v(&["one\n"]), v(&["one\n", "two\n"]));
    let other = v(&["something else\n"]);
    let check = |nodes: Vec<Node>, want: &[Want], why: &str| {
        let documents = Vec::new();
        let mut kept = needed(&store, &[Line { nodes, documents }]).unwrap();
        let mut want = want.to_vec();
        kept.sort_unstable_by_key(|w| w.id);
        want.sort_unstable_by_key(|w| w.id);
        assert_eq!(kept, want, "{why}");
    };
    let head = |w| node(2, w, &[], true, true);
    check(
        vec![node(1, first, &[2], false, true), head(second)],
        &[second],
        "superseded long ago, contained, replicated",
    );
    check(
        vec![node(1, first, &[2], false, false), head(second)],
        &[first, second],
        "no other device holds what it grew into",
    );
    check(
        vec![node(1, first, &[], false, true), head(second)],
        &[first, second],
        "superseded a moment ago",
    );
    check(
        vec![node(1, other, &[2], false, true), head(second)],
        &[other, second],
        "not contained: a rewrite",
    );
    check(
        vec![node(1, first, &[2], true, true), head(second)],
        &[first, second],
        "a head",
    );
}

#[test]
fn k_s11_what_is_let_go_is_collected_and_nothing_else() {
    let (_dir, store) = store();
    let v = |chunks: &[&str]| version(&store, "/home/a", &[(Slot::Main, chunks)]);
    let (first, second) = (v(&["one\n", "tw"]), v(&["one\n", "two\n"]));
    let nodes = vec![
        node(1, first, &[2], false, true),
        node(2, second, &[], true, true),
    ];
    // The better document of a head stays whatever becomes of the version whose it
    // is.
    let document = Want::data(ChunkId([0x77; 32]));
    let documents = vec![document];
    let roots = needed(&store, &[Line { nodes, documents }]).unwrap();
    assert!(roots.contains(&document));
    let roots: Vec<Want> = roots.into_iter().filter(|r| *r != document).collect();
    let plan = |now| CollectPlan {
        grace_ms: 0,
        ..CollectPlan::new(roots.clone(), Instant(now))
    };
    let mut withdrawn = Vec::new();
    for now in 0..4 {
        let done = store.collect(&plan(now), &mut || true).unwrap();
        withdrawn.extend(done.withdrawn);
    }
    assert_eq!(withdrawn, [first]);
    let chunk = |text: &str| ChunkId::of(text.as_bytes());
    let here = store.has(&[
        chunk("one\n"),
        chunk("two\n"),
        chunk("tw"),
        first.id,
        second.id,
    ]);
    assert_eq!(here.unwrap(), [true, true, false, false, true]);
}

#[test]
fn age_is_counted_in_days_with_an_agent_running() {
    let (_dir, store) = store();
    let log = LogId {
        device: DeviceId([1; 32]),
        epoch: Epoch([2; 16]),
    };
    let known = |seq| Known::from([(log, Seq(seq))]);
    let mut days = Days::default();
    for day in 0..10 {
        // Several rounds a day; the first one counts.
        for part in 0..4 {
            days = pass_time(&store, DAY_MS / 4, &known(day * 10 + part), 5).unwrap();
        }
    }
    assert_eq!(days.day(), 10);
    let before = |n| known_before(&store, days, n).unwrap();
    assert!(before(11).is_empty());
    let seq = |n| before(n).get(&log).copied().unwrap_or(Seq::ZERO);
    assert!(
        seq(1) > seq(3) && seq(3) > Seq::ZERO,
        "{:?}",
        (seq(1), seq(3))
    );
    let kept = store.notes(Namespace::Setting).unwrap();
    let kept = kept.iter().filter(|(k, _)| k.starts_with(FRONTIER)).count();
    assert!(kept <= 8, "{kept} remembered frontiers");
}
