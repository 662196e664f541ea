//! Capture on real trees and on odd ones: what is kept, what is read again, what is refused.

use super::*;
use crate::testing::{World, fixture};
use ccpeer_core::manifest::SlotName;
use ccpeer_formats::snapshot::Snapshot;
use std::fs;
use std::io::Write;
use std::path::PathBuf;

mod bundle;
mod worktree;

const FULL: &str = "aa21a64c-b7a7-41b7-a51f-ceeccfa4623b";
const FULL_SLUG: &str = "-home-ann-fx-full-work-proj";

fn full() -> (World, SessionId, PathBuf) {
    let world = World::new("ann");
    fixture(world.claude(), "full");
    let session: SessionId = FULL.parse().unwrap();
    let main = world.transcript(FULL_SLUG, &session);
    (world, session, main)
}

fn request(session: SessionId) -> CaptureRequest {
    CaptureRequest {
        session,
        last_assistant_message: None,
        changed: false,
        in_passing: false,
        state: SessionState::Idle,
        device_name: "desk".into(),
        now: Timestamp(0),
    }
}

fn run(world: &World, session: SessionId) -> Captured {
    capture(
        &world.store,
        &world.home,
        &Recent::default(),
        &request(session),
    )
    .unwrap()
}

fn new(world: &World, session: SessionId) -> Box<NewVersion> {
    match run(world, session) {
        Captured::New(new) => new,
        other => panic!("not new: {other:?}"),
    }
}

/// As the driver does it: states the version and remembers it.
fn state(world: &World, session: SessionId, version: u8) -> (Box<NewVersion>, Manifest) {
    let new = new(world, session);
    new.keep(&world.store, EntryHash([version; 32])).unwrap();
    let manifest = manifest(world, new.manifest);
    (new, manifest)
}

fn manifest(world: &World, content: ContentRef) -> Manifest {
    Manifest::from_bytes(&world.store.get_chunk(&content.id).unwrap().unwrap()).unwrap()
}

fn bytes(world: &World, manifest: &Manifest, slot: &Slot) -> Vec<u8> {
    let mut out = Vec::new();
    for segment in &manifest.file(slot).unwrap().segments {
        world.store.read_segment(segment).copy_to(&mut out).unwrap();
    }
    out
}

fn append(path: &Path, text: &[u8]) {
    let mut file = fs::File::options().append(true).open(path).unwrap();
    file.write_all(text).unwrap();
}

fn turn(n: u32) -> Vec<u8> {
    format!(
        "{{\"type\":\"user\",\"uuid\":\"00000000-0000-4000-8000-{n:012}\",\"parentUuid\":null,\"cwd\":\"/home/ann/fx/full/work/proj\",\"sessionId\":\"{FULL}\",\"message\":{{\"role\":\"user\",\"content\":\"more {n}\"}}}}\n"
    )
    .into_bytes()
}

#[test]
fn everything_that_belongs_to_a_session_is_captured() {
    let (world, session, main) = full();
    let (version, manifest) = state(&world, session, 1);
    assert_eq!((version.base, version.derived_from), (None, None));
    assert_eq!(
        bytes(&world, &manifest, &Slot::Main),
        fs::read(&main).unwrap()
    );
    let kinds = |is: fn(&Slot) -> bool| manifest.files.iter().filter(|f| is(&f.slot)).count();
    assert_eq!(kinds(|s| matches!(s, Slot::Subagent(_))), 2);
    assert_eq!(kinds(|s| matches!(s, Slot::SubagentMeta(_))), 2);
    assert_eq!(kinds(|s| matches!(s, Slot::ToolResult(_))), 1);
    assert_eq!(kinds(|s| matches!(s, Slot::FileHistory { .. })), 3);
    assert_eq!(kinds(|s| matches!(s, Slot::Task(_))), 3);
    let [origin] = manifest.origins.as_slice() else {
        panic!("one origin")
    };
    assert_eq!(origin.project, "/home/ann/fx/full/work/proj");
    assert_eq!(origin.slug, FULL_SLUG);
    assert_eq!(origin.claude_dir, world.claude().to_str().unwrap());
    assert_eq!(manifest.project.name, "proj");
    let meta = &version.meta;
    assert_eq!(
        (meta.project.as_str(), meta.bytes),
        ("proj", fs::metadata(&main).unwrap().len())
    );
    assert_eq!(meta.records, 156);
    assert!(
        meta.open_todos > 0 && meta.updated.0 > 0 && !meta.title.is_empty(),
        "{meta:?}"
    );
    let document = world
        .store
        .get_chunk(&version.snapshot.id)
        .unwrap()
        .unwrap();
    let document = Snapshot::from_bytes(&document).unwrap();
    assert_eq!(
        (document.session_id, document.device.as_str()),
        (session, "desk")
    );
}

/// A hook may come when the file has its first lines, and none of them says where
/// the session is.
#[test]
fn a_session_finds_its_project_when_a_record_names_it() {
    let (world, session, main) = full();
    let whole = fs::read(&main).unwrap();
    let early = format!(
        "{{\"type\":\"mode\",\"mode\":\"normal\",\"sessionId\":\"{FULL}\"}}\n\
         {{\"type\":\"queue-operation\",\"operation\":\"enqueue\",\"sessionId\":\"{FULL}\"}}\n"
    );
    fs::write(&main, &early).unwrap();
    let (first, manifest) = state(&world, session, 1);
    assert!(manifest.origins.iter().all(|o| o.project.is_empty()));
    append(&main, &whole);
    let (second, manifest) = state(&world, session, 2);
    let [origin] = manifest.origins.as_slice() else {
        panic!("one origin: {:?}", manifest.origins)
    };
    assert_eq!(origin.project, "/home/ann/fx/full/work/proj");
    assert_eq!(manifest.project.name, "proj");
    assert_eq!((first.base, second.base), (None, Some(EntryHash([1; 32]))));
    assert_eq!(
        bytes(&world, &manifest, &Slot::Main),
        [early.as_bytes(), whole.as_slice()].concat()
    );
    // From then on it grows as any other.
    append(&main, &turn(1));
    let (_, manifest) = state(&world, session, 3);
    assert_eq!(manifest.origins.as_slice(), std::slice::from_ref(origin));
}

#[test]
fn every_version_of_the_format_is_captured() {
    for (name, id, slug) in [
        (
            "v2.1.54",
            "19f5450b-6242-4b90-8427-eefda48f04aa",
            "-home-ann-fx-v2-1-54-work-proj",
        ),
        (
            "v2.1.197",
            "f28f71d2-0d7a-4720-9774-7864f73dcb29",
            "-home-ann-fx-v2-1-197-work-proj",
        ),
        (
            "chinese",
            "fdb5b173-fe74-41d9-8d5c-c99576b4968a",
            "-home-ann-fx-chinese----------v1-2-x",
        ),
    ] {
        let world = World::new("ann");
        fixture(world.claude(), name);
        let session: SessionId = id.parse().unwrap();
        let (version, manifest) = state(&world, session, 1);
        let main = fs::read(world.transcript(slug, &session)).unwrap();
        assert_eq!(bytes(&world, &manifest, &Slot::Main), main, "{name}");
        assert!(!version.meta.title.is_empty(), "{name}");
    }
}

#[test]
fn what_did_not_change_is_no_version() {
    let (world, session, main) = full();
    state(&world, session, 1);
    let unchanged = |world: &World| match run(world, session) {
        Captured::Unchanged { base } => assert_eq!(base, Some(EntryHash([1; 32]))),
        other => panic!("changed: {other:?}"),
    };
    unchanged(&world);
    // Another time, another file, the same content.
    let copy = fs::read(&main).unwrap();
    fs::remove_file(&main).unwrap();
    fs::write(&main, copy).unwrap();
    unchanged(&world);
    // Without a memory it looks new, and is the same.
    let before = LocalState::load(&world.store, &session).unwrap().unwrap();
    let key = session.0.to_vec();
    let forget = NoteWrite {
        ns: ccpeer_store::Namespace::Session,
        key,
        value: None,
    };
    world.store.put_notes(&[forget]).unwrap();
    let again = new(&world, session);
    assert_eq!(again.base, None);
    world.store.put_chunks(&again.content).unwrap();
    let (before, again) = (
        manifest(&world, before.manifest.unwrap()),
        manifest(&world, again.manifest),
    );
    let content = |m: &Manifest| {
        m.files
            .iter()
            .map(|f| f.segments.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(content(&before), content(&again));
}

#[test]
fn an_append_costs_what_it_adds() {
    let (world, session, main) = full();
    // 16 MiB of turns, so that there are pages and many blocks.
    let mut big = fs::read(&main).unwrap();
    let filler = "x".repeat(4000);
    while big.len() < 16 * 1024 * 1024 {
        let n = big.len();
        big.extend_from_slice(
            format!("{{\"type\":\"progress\",\"n\":{n},\"fill\":\"{filler}\"}}\n").as_bytes(),
        );
    }
    fs::write(&main, &big).unwrap();
    let (_, first) = state(&world, session, 1);
    let chunks = world.store.stats().unwrap().chunks;
    append(&main, &turn(1));
    let start = std::time::Instant::now();
    let (second, manifest) = state(&world, session, 2);
    println!("append to {} bytes: {:?}", big.len(), start.elapsed());
    assert_eq!(second.base, Some(EntryHash([1; 32])));
    let (a, b) = (
        first.file(&Slot::Main).unwrap(),
        manifest.file(&Slot::Main).unwrap(),
    );
    assert_eq!((a.segments.len(), b.segments.len()), (1, 1));
    assert_eq!(a.segments[0].pages, b.segments[0].pages);
    // The last chunk or two, a page at most, the manifest, the snapshot.
    let added = world.store.stats().unwrap().chunks - chunks;
    assert!(added <= 5, "{added} chunks for one turn");
    big.extend_from_slice(&turn(1));
    assert_eq!(bytes(&world, &manifest, &Slot::Main), big);
    assert_eq!(second.meta.records, {
        let text = String::from_utf8_lossy(&big);
        text.lines().filter(|l| !l.trim().is_empty()).count() as u64
    });
    // Nor does what takes its last lines back, which is written in their place.
    let before = big.len() - turn(1).len() - 40_000;
    let before = big[..before].iter().rposition(|b| *b == b'\n').unwrap() + 1;
    big.truncate(before);
    big.extend_from_slice(&turn(2));
    fs::write(&main, &big).unwrap();
    let chunks = world.store.stats().unwrap().chunks;
    let (_, manifest) = state(&world, session, 3);
    let added = world.store.stats().unwrap().chunks - chunks;
    assert!(added <= 6, "{added} chunks for a line taken back");
    assert_eq!(bytes(&world, &manifest, &Slot::Main), big);
}

#[test]
fn an_unfinished_line_waits() {
    let (world, session, main) = full();
    let whole = fs::read(&main).unwrap();
    append(&main, b"{\"type\":\"user\",\"uu");
    let (_, manifest) = state(&world, session, 1);
    assert_eq!(bytes(&world, &manifest, &Slot::Main), whole);
    assert!(matches!(run(&world, session), Captured::Unchanged { .. }));
    append(&main, b"id\":\"1\"}\n");
    let (_, manifest) = state(&world, session, 2);
    assert_eq!(
        bytes(&world, &manifest, &Slot::Main),
        fs::read(&main).unwrap()
    );
}

#[test]
fn a_line_that_was_taken_back_is_seen() {
    let (world, session, main) = full();
    append(&main, &turn(1));
    append(&main, &turn(2));
    state(&world, session, 1);
    // Claude Code truncates within the last 64 KiB and goes on.
    let mut text = fs::read(&main).unwrap();
    let cut = text.len() - turn(2).len();
    text.truncate(cut);
    fs::File::options()
        .write(true)
        .open(&main)
        .unwrap()
        .set_len(cut as u64)
        .unwrap();
    append(&main, &turn(3));
    append(&main, &turn(4));
    text.extend([turn(3), turn(4)].concat());
    let (_, manifest) = state(&world, session, 2);
    assert_eq!(bytes(&world, &manifest, &Slot::Main), text);
    // Only shorter, too.
    fs::File::options()
        .write(true)
        .open(&main)
        .unwrap()
        .set_len(cut as u64)
        .unwrap();
    let (_, manifest) = state(&world, session, 3);
    assert_eq!(bytes(&world, &manifest, &Slot::Main), text[..cut]);
}

#[test]
fn inv_13_what_claude_cleaned_up_stays_in_the_version() {
    let (world, session, main) = full();
    let (_, first) = state(&world, session, 1);
    fs::remove_dir_all(world.claude().join("file-history")).unwrap();
    fs::remove_dir_all(main.with_extension("").join("subagents")).unwrap();
    assert!(matches!(run(&world, session), Captured::Unchanged { .. }));
    append(&main, &turn(1));
    let (_, second) = state(&world, session, 2);
    let slots = |m: &Manifest| m.files.iter().map(|f| f.slot.clone()).collect::<Vec<_>>();
    assert_eq!(slots(&first), slots(&second));
    fs::remove_file(&main).unwrap();
    assert!(matches!(run(&world, session), Captured::Vanished));
    let state = LocalState::load(&world.store, &session).unwrap().unwrap();
    assert_eq!(state.base, Some(EntryHash([2; 32])), "the memory stays");
}

#[test]
fn a_session_that_moved_is_the_same_session() {
    let (world, session, main) = full();
    state(&world, session, 1);
    let other = world.transcript("-home-ann-elsewhere", &session);
    fs::create_dir_all(other.parent().unwrap()).unwrap();
    fs::rename(&main, &other).unwrap();
    fs::rename(main.with_extension(""), other.with_extension("")).unwrap();
    append(&other, format!("{{\"type\":\"relocated\",\"sessionId\":\"{FULL}\",\"relocatedCwd\":\"/home/ann/elsewhere\"}}\n").as_bytes());
    append(&other, &turn(1));
    let (version, manifest) = state(&world, session, 2);
    assert_eq!(version.base, Some(EntryHash([1; 32])));
    let main = manifest.file(&Slot::Main).unwrap();
    assert_eq!(
        main.segments.len(),
        2,
        "what comes now is written elsewhere"
    );
    let projects: Vec<&str> = manifest
        .origins
        .iter()
        .map(|o| o.project.as_str())
        .collect();
    assert_eq!(
        projects,
        ["/home/ann/fx/full/work/proj", "/home/ann/elsewhere"]
    );
    assert_eq!(manifest.project.name, "elsewhere");
}

#[cfg(unix)]
#[test]
fn k_a02_links_are_left_out() {
    let (world, session, main) = full();
    let secret = world.dir.path().join("secret");
    fs::write(&secret, "secret").unwrap();
    let results = main.with_extension("").join("tool-results");
    std::os::unix::fs::symlink(&secret, results.join("stolen.txt")).unwrap();
    let (_, manifest) = state(&world, session, 1);
    let stolen = Slot::ToolResult(SlotName::new("stolen").unwrap());
    assert!(manifest.file(&stolen).is_none());
    fs::rename(&main, &secret).unwrap();
    std::os::unix::fs::symlink(&secret, &main).unwrap();
    assert!(matches!(run(&world, session), Captured::Vanished));
}

#[test]
fn a_writer_that_never_rests_is_captured_at_line_ends() {
    let (world, session, main) = full();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|threads| {
        let writer = threads.spawn(|| {
            let mut n = 0;
            while !done.load(std::sync::atomic::Ordering::Relaxed) && n < 20_000 {
                n += 1;
                let line = turn(n);
                // Torn on purpose.
                let (a, b) = line.split_at(line.len() / 2);
                append(&main, a);
                append(&main, b);
            }
        });
        let mut last = Vec::new();
        for version in 1..12 {
            match run(&world, session) {
                Captured::New(new) => {
                    new.keep(&world.store, EntryHash([version; 32])).unwrap();
                    let manifest = manifest(&world, new.manifest);
                    let now = bytes(&world, &manifest, &Slot::Main);
                    assert!(now.starts_with(&last), "versions only grow");
                    assert_eq!(now.last(), Some(&b'\n'));
                    last = now;
                }
                Captured::Unchanged { .. } => {}
                Captured::Vanished => panic!("it is there"),
            }
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        writer.join().unwrap();
        assert!(fs::read(&main).unwrap().starts_with(&last));
    });
}

#[test]
fn an_odd_file_is_captured_as_it_is() {
    let world = World::new("ann");
    let session: SessionId = FULL.parse().unwrap();
    let main = world.transcript("-p", &session);
    fs::create_dir_all(main.parent().unwrap()).unwrap();
    for (n, content) in [
        &b""[..],
        b"\n",
        b"\xff\xfe\x00\r\n\n{broken\n",
        b"no line end",
    ]
    .into_iter()
    .enumerate()
    {
        fs::write(&main, content).unwrap();
        let version = u8::try_from(n + 1).unwrap();
        match run(&world, session) {
            Captured::New(new) => {
                new.keep(&world.store, EntryHash([version; 32])).unwrap();
                let manifest = manifest(&world, new.manifest);
                // Only a record can be on its way; anything else is taken as it is.
                let last = content.iter().rposition(|b| *b == b'\n');
                let end = match content.contains(&b'{') {
                    true => last.map_or(0, |at| at + 1),
                    false => content.len(),
                };
                assert_eq!(bytes(&world, &manifest, &Slot::Main), content[..end]);
            }
            other => panic!("{n}: {other:?}"),
        }
    }
}

#[test]
fn a_transcript_that_was_just_captured_is_told_by_one_look() {
    let (world, session, main) = full();
    let recent = Recent::default();
    assert!(!recent.looks_the_same(&session), "nothing is known of it");
    let taken = capture(&world.store, &world.home, &recent, &request(session)).unwrap();
    assert!(matches!(taken, Captured::New(_)));
    assert!(recent.looks_the_same(&session));
    append(&main, b"{\"type\":\"mode\"}\n");
    assert!(!recent.looks_the_same(&session));
    fs::remove_file(main).unwrap();
    assert!(!recent.looks_the_same(&session));
}
