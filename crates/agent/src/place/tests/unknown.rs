//! What nobody here knows: kept, told, and never placed; and what cannot be read
//! at all.

use super::*;
use ccpeer_core::manifest::OpaqueName;

const STATE: &str = "session:workflows:run-1.json";

/// A pair whose session has files of unknown kinds at A.
fn pair() -> (Pair, PathBuf) {
    let pair = Pair::small();
    let work = project(&pair.a, "work/proj");
    let dir = pair.main(&pair.a, &work).with_extension("");
    fs::create_dir_all(dir.join("workflows")).unwrap();
    fs::write(dir.join("workflows/run-1.json"), "{\"step\":1}").unwrap();
    fs::write(pair.a.claude().join(format!("tasks/{FULL}/7.md")), "seven").unwrap();
    (pair, work)
}

fn labels(world: &World, version: Version) -> Vec<String> {
    let manifest = manifest_of(&world.store, version.manifest).unwrap();
    crate::capture::opaque::labels(&manifest.files)
        .map(|l| l.as_str().to_owned())
        .collect()
}

#[test]
fn what_nobody_knows_is_kept_on_the_way_and_placed_nowhere() {
    let (mut pair, work) = pair();
    let code = project(&pair.b, "code/p2");
    let before = files(pair.a.claude());
    let one = pair.carry(true);
    let placed = put(&pair.b, &request(&pair, one, &code)).unwrap();
    assert_eq!(placed.placed, PlacedHow::New);
    assert_eq!(
        placed.dropped,
        [format!(
            "2 × file of a kind that this ccpeer does not know, kept but not placed: {STATE}, tasks:7.md"
        )]
    );
    let lies = files(pair.b.claude());
    assert!(
        lies.keys()
            .all(|n| !n.contains("workflows") && !n.contains("7.md")),
        "{lies:?}"
    );
    assert_eq!(captured(&pair.b, pair.session, EntryHash([99; 32])), None);

    // A turn at B: the new version has what it never saw.
    append(&pair.main(&pair.b, &code), &turn(&code, 1));
    let two = pair.carry(false);
    assert_eq!(labels(&pair.a, two), labels(&pair.a, one));
    // Where it lies, nothing is said, and nothing is new.
    let placed = put(&pair.a, &request(&pair, two, &work)).unwrap();
    assert_eq!(
        (placed.placed, placed.dropped.len()),
        (PlacedHow::FastForward, 0)
    );
    assert_eq!(
        captured(&pair.a, pair.session, EntryHash([98; 32])),
        None,
        "no news"
    );
    for (name, content) in before.iter().filter(|(n, _)| !n.ends_with(".jsonl")) {
        assert_eq!(files(pair.a.claude()).get(name), Some(content), "{name}");
    }

    // It goes on at A, and B learns of it without ever having it on disk.
    let state = pair
        .main(&pair.a, &work)
        .with_extension("")
        .join("workflows/run-1.json");
    fs::write(state, "{\"step\":2}").unwrap();
    let three = pair.carry(true);
    let placed = put(&pair.b, &request(&pair, three, &code)).unwrap();
    assert_eq!(
        placed.placed,
        PlacedHow::UpToDate,
        "nothing of it is placed"
    );
    append(&pair.main(&pair.b, &code), &turn(&code, 2));
    let four = pair.carry(false);
    let manifest = manifest_of(&pair.a.store, four.manifest).unwrap();
    let slot = Slot::Opaque(OpaqueName::new(STATE).unwrap());
    let mut content = Vec::new();
    for segment in &manifest.file(&slot).unwrap().segments {
        pair.a
            .store
            .read_segment(segment)
            .copy_to(&mut content)
            .unwrap();
    }
    assert_eq!(content, b"{\"step\":2}");
}

/// Both sides have a file under one label, with other content: each keeps its
/// own on disk, and nobody answers the other for ever.
#[test]
fn two_states_of_one_unknown_file_do_not_take_turns() {
    let (mut pair, work) = pair();
    let code = project(&pair.b, "code/p2");
    let one = pair.carry(true);
    put(&pair.b, &request(&pair, one, &code)).unwrap();
    let at_b = pair
        .main(&pair.b, &code)
        .with_extension("")
        .join("workflows");
    fs::create_dir_all(&at_b).unwrap();
    for content in ["{\"step\":20}", "", "{\"step\":30}"] {
        fs::write(at_b.join("run-1.json"), content).unwrap();
        append(&pair.main(&pair.b, &code), &turn(&code, 1));
        let theirs = pair.carry(false);
        let placed = put(&pair.a, &request(&pair, theirs, &work)).unwrap();
        assert_eq!(placed.placed, PlacedHow::FastForward);
        assert_eq!(captured(&pair.a, pair.session, EntryHash([98; 32])), None);
        let own = pair
            .main(&pair.a, &work)
            .with_extension("")
            .join("workflows/run-1.json");
        assert_eq!(fs::read(own).unwrap(), b"{\"step\":1}");
        assert_eq!(captured(&pair.b, pair.session, EntryHash([97; 32])), None);
    }
    // A's own change is one again.
    let own = pair
        .main(&pair.a, &work)
        .with_extension("")
        .join("workflows/run-1.json");
    fs::write(own, "{\"step\":2}").unwrap();
    let ours = pair.carry(true);
    let placed = put(&pair.b, &request(&pair, ours, &code)).unwrap();
    assert_eq!(placed.placed, PlacedHow::UpToDate);
    assert_eq!(captured(&pair.b, pair.session, EntryHash([97; 32])), None);
}

#[test]
fn a_fork_leaves_it_with_the_original() {
    let (mut pair, _) = pair();
    let code = project(&pair.b, "code/p2");
    let one = pair.carry(true);
    let asked = PlaceRequest {
        mode: Mode::ForceFork,
        ..request(&pair, one, &code)
    };
    let placed = put(&pair.b, &asked).unwrap();
    assert_eq!(placed.placed, PlacedHow::Fork);
    assert!(
        placed.dropped[0].starts_with("2 × file of a kind"),
        "{:?}",
        placed.dropped
    );
    undo(&pair.b.store, &pair.b.home).unwrap();
    assert_eq!(files(&pair.b.claude().join("projects")).len(), 0);
}

/// Whatever a label says, it is no place: the same as [`k_a01`] for slots.
#[test]
fn k_a01_a_label_is_never_a_place() {
    let texts = [
        "session:..:..:settings.json",
        "hooks:x.sh",
        "settings.json",
        "session:a/b",
        "/etc/x:y",
    ];
    for text in texts {
        let b = World::in_memory("bob");
        let code = project(&b, "code/p2");
        let line = turn(&code, 1);
        let name: OpaqueName = serde_json::from_value(text.into()).unwrap();
        let version = hostile(
            &b,
            |m| {
                let file = FileEntry {
                    slot: Slot::Opaque(name),
                    ..m.files[0].clone()
                };
                m.files.push(file);
            },
            &[line.as_bytes()],
        );
        let before = files(b.dir.path());
        let placed = put(&b, &asked(version, &code));
        let sound = OpaqueName::new(text).is_some();
        assert_eq!(placed.is_ok(), sound, "{text}: {placed:?}");
        let new: Vec<String> = files(b.dir.path())
            .into_keys()
            .filter(|n| !before.contains_key(n))
            .collect();
        assert_eq!(new.len(), usize::from(sound), "{text}: {new:?}");
        assert!(
            new.iter().all(|n| n.ends_with(&format!("{FULL}.jsonl"))),
            "{new:?}"
        );
    }
}

fn foreign(content: &[u8]) -> (World, PathBuf, Version) {
    let b = World::in_memory("bob");
    let code = project(&b, "code/p2");
    let version = by_hand(&b, |_| {}, &[content]);
    (b, code, version)
}

#[test]
fn a_transcript_in_another_format_is_archived_and_not_placed() {
    let gz = [b"\x1f\x8b\x08\x00".as_slice(), &noise(3, 50_000)].concat();
    let zeros = vec![0; 100_000];
    let new = b"{\"kind\":\"turn\",\"version\":\"4.0.1\",\"by\":\"user\"}\n";
    let renamed = b"{\"type\":\"turn\",\"uuid\":\"1\",\"version\":\"4.0.1\"}\n";
    let cases: [(&[u8], Option<&str>); 4] = [
        (&gz, None),
        (&zeros, None),
        (new, Some("4.0.1")),
        (renamed, Some("4.0.1")),
    ];
    for (content, names) in cases {
        for mode in [Mode::Auto, Mode::ForceFork, Mode::Join] {
            let (b, code, version) = foreign(content);
            let before = files(b.claude());
            let asked = PlaceRequest {
                mode,
                ..asked(version, &code)
            };
            for _ in 0..2 {
                let placed = put(&b, &asked);
                let Err(PlaceError::Unrecognised(version)) = placed else {
                    panic!("{placed:?}");
                };
                assert_eq!(version.as_deref(), names);
            }
            assert_eq!(files(b.claude()), before, "nothing is left behind");
            assert!(b.store.notes(Namespace::Journal).unwrap().is_empty());
            let outlook = outlook(&b.store, version.manifest).unwrap();
            assert!(matches!(outlook.refused, Some(PlaceError::Unrecognised(_))));
        }
    }
    let e: ApiError = PlaceError::Unrecognised(Some("4.0.1".into())).into();
    assert_eq!(e.code, ErrorCode::Unplaceable);
    assert!(
        e.message.ends_with("it was written by Claude Code 4.0.1"),
        "{}",
        e.message
    );
    assert!(e.hint.unwrap().contains("--handoff"));
}

/// Over what lies here, too; and what lies here stays.
#[test]
fn a_session_that_became_another_format_elsewhere_leaves_this_one_alone() {
    let mut pair = Pair::small();
    let code = project(&pair.b, "code/p2");
    let one = pair.carry(true);
    put(&pair.b, &request(&pair, one, &code)).unwrap();
    let before = files(pair.b.claude());
    let main = pair.main(&pair.a, &project(&pair.a, "work/proj"));
    fs::write(main, noise(9, 100_000)).unwrap();
    let two = pair.carry(true);
    let grown = PlaceRequest {
        grew_from: vec![(one.id, Some(one.manifest))],
        ..request(&pair, two, &code)
    };
    let placed = put(&pair.b, &grown);
    assert!(
        matches!(placed, Err(PlaceError::Unrecognised(None))),
        "{placed:?}"
    );
    assert_eq!(files(pair.b.claude()), before);
}

#[test]
fn new_kinds_of_records_and_fields_alone_refuse_nothing() {
    let b = World::in_memory("bob");
    let code = project(&b, "code/p2");
    let text = [
        "{\"type\":\"hologram\",\"uuid\":\"9\",\"frames\":[1,2]}\n".repeat(50),
        turn(&code, 1).replace("\"cwd\"", "\"aura\":{\"x\":1},\"cwd\""),
        "{\"type\":\"hologram-end\"}\n".to_owned(),
    ]
    .concat();
    let version = by_hand(&b, |_| {}, &[text.as_bytes()]);
    assert_eq!(
        put(&b, &asked(version, &code)).unwrap().placed,
        PlacedHow::New
    );
}

/// A manifest that only a newer ccpeer can read: said in words, and nothing else.
#[test]
fn k_a09_a_manifest_of_a_newer_ccpeer_is_told_as_such() {
    let b = World::in_memory("bob");
    let code = project(&b, "code/p2");
    let line = turn(&code, 1);
    let known = hostile(&b, |_| {}, &[line.as_bytes()]);
    let mut bytes = b.store.get_chunk(&known.manifest.id).unwrap().unwrap();
    bytes[0] = MANIFEST_VERSION + 1;
    let chunk = (ChunkId::of(&bytes), bytes.clone());
    b.store.put_chunks(&[chunk]).unwrap();
    let manifest = ContentRef {
        id: ChunkId::of(&bytes),
        len: known.manifest.len,
    };
    let newer = Version {
        id: known.id,
        manifest,
    };
    for _ in 0..2 {
        let placed = put(&b, &asked(newer, &code));
        assert!(matches!(placed, Err(PlaceError::Unreadable)), "{placed:?}");
    }
    let e: ApiError = PlaceError::Unreadable.into();
    assert_eq!(e.code, ErrorCode::Unplaceable);
    assert!(e.message.contains("newer ccpeer") && e.hint.unwrap().contains("--handoff"));
    assert!(matches!(
        outlook(&b.store, manifest).unwrap().refused,
        Some(PlaceError::Unreadable)
    ));
    assert_eq!(
        identity_of(&b.store, Some(manifest)).unwrap_err().code,
        ErrorCode::Unplaceable
    );
}
