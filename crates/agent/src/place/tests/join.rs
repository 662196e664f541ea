//! Two lines of a session in one file.

use super::*;

/// A turn that hangs on another one.
fn reply(dir: &Path, n: u32, parent: u32) -> String {
    turn(dir, n).replace(
        "\"parentUuid\":null",
        &format!("\"parentUuid\":\"00000000-0000-4000-8000-{parent:012}\""),
    )
}

/// A and B went on from the same turn.
fn parted() -> (Pair, PathBuf, PathBuf, Version) {
    let mut pair = Pair::small();
    let (work, code) = (project(&pair.a, "work/proj"), project(&pair.b, "code/p2"));
    let (main_a, main_b) = (pair.main(&pair.a, &work), pair.main(&pair.b, &code));
    let lines = [turn(&work, 100), reply(&work, 101, 100)].concat();
    fs::write(&main_a, lines).unwrap();
    let one = pair.carry(true);
    put(&pair.b, &request(&pair, one, &code)).unwrap();
    append(&main_a, &reply(&work, 1, 101));
    append(&main_a, &reply(&work, 2, 1));
    append(&main_b, &reply(&code, 3, 101));
    let agents = main_a.with_extension("").join("subagents");
    let agent = "agent-bbbbbbbbbbbbbbbbb.jsonl";
    fs::write(agents.join(agent), turn(&work, 201)).unwrap();
    fs::write(pair.a.claude().join(format!("tasks/{FULL}/2.json")), "{}").unwrap();
    let two = pair.carry(true);
    captured(&pair.b, pair.session, EntryHash([50; 32])).unwrap();
    (pair, code, main_b, two)
}

fn joining(pair: &Pair, version: Version, code: &Path) -> PlaceRequest {
    PlaceRequest {
        mode: Mode::Join,
        ..request(pair, version, code)
    }
}

#[test]
fn both_lines_stand_in_a_row() {
    let (pair, code, main_b, two) = parted();
    let before = files(pair.b.claude());
    let own = fs::read_to_string(&main_b).unwrap();
    let asked = joining(&pair, two, &code);
    let placed = put(&pair.b, &asked).unwrap();
    assert_eq!(placed.placed, PlacedHow::Joined);
    assert_eq!(placed.new_session_id, None);
    let text = fs::read_to_string(&main_b).unwrap();
    assert!(text.starts_with(&own), "the local file only grows");
    let added = &text[own.len()..];
    assert!(
        added.starts_with(&reply(&code, 1, 3)),
        "their first turn hangs on the last one here: {added}"
    );
    assert!(added.contains(&reply(&code, 2, 1)));
    let now = files(pair.b.claude());
    assert!(now.keys().any(|k| k.contains("agent-bbbbbbbbbbbbbbbbb")));
    assert!(!now.keys().any(|k| k.ends_with("tasks/2.json")));
    let kept = files(Path::new(&placed.backup.unwrap()));
    assert!(kept.values().any(|c| c == own.as_bytes()));

    // Captured, it says of which two versions it is made, and only once.
    let (version, _) = joined(&pair.b.store, &pair.session).unwrap().unwrap();
    assert_eq!(version, two.id);
    let request = CaptureRequest {
        session: pair.session,
        last_assistant_message: None,
        changed: false,
        in_passing: false,
        state: SessionState::Idle,
        device_name: "x".into(),
        now: Timestamp(0),
    };
    let Captured::New(new) =
        capture(&pair.b.store, &pair.b.home, &Recent::default(), &request).unwrap()
    else {
        panic!("it has grown");
    };
    assert_eq!(
        (new.base, new.joined),
        (Some(EntryHash([50; 32])), Some(two.id))
    );
    let both = EntryHash([70; 32]);
    new.keep(&pair.b.store, both).unwrap();
    assert_eq!(joined(&pair.b.store, &pair.session).unwrap(), None);

    // Nothing more is to be joined, and A takes it as it is.
    assert_eq!(
        put(
            &pair.b,
            &PlaceRequest {
                grown_into: vec![(both, Some(new.manifest))],
                ..asked.clone()
            }
        )
        .unwrap()
        .placed,
        PlacedHow::UpToDate
    );
    carry(&pair.b, &pair.a, new.manifest);
    let work = project(&pair.a, "work/proj");
    let back = PlaceRequest {
        grew_from: vec![(two.id, Some(two.manifest))],
        ..super::request(
            &pair,
            Version {
                id: both,
                manifest: new.manifest,
            },
            &work,
        )
    };
    assert_eq!(put(&pair.a, &back).unwrap().placed, PlacedHow::FastForward);
    let there = fs::read_to_string(pair.main(&pair.a, &work)).unwrap();
    assert_eq!(there.lines().count(), text.lines().count());
    assert!(!there.contains(code.to_str().unwrap()));

    undo(&pair.b.store, &pair.b.home).unwrap();
    assert_eq!(files(pair.b.claude()), before, "taken back byte for byte");
}

#[test]
fn what_would_be_a_lie_is_refused() {
    let (mut pair, code, main_b, _) = parted();
    let work = project(&pair.a, "work/proj");
    let main_a = pair.main(&pair.a, &work);
    append(
        &main_a,
        "{\"type\":\"system\",\"subtype\":\"compact_boundary\",\"uuid\":\"00000000-0000-4000-8000-000000000009\",\"parentUuid\":null}\n",
    );
    let three = pair.carry(true);
    let before = files(pair.b.claude());
    let refused = put(&pair.b, &joining(&pair, three, &code));
    assert!(matches!(refused, Err(PlaceError::Join(_))), "{refused:?}");
    let told = ApiError::from(refused.unwrap_err());
    assert!(told.hint.unwrap().contains("--join"));
    assert_eq!(files(pair.b.claude()), before);

    let live = PlaceRequest {
        live: true,
        ..joining(&pair, three, &code)
    };
    assert!(matches!(put(&pair.b, &live), Err(PlaceError::Live(_))));
    assert!(main_b.exists());
}

#[test]
fn a_line_that_only_grew_needs_no_joining() {
    let mut pair = Pair::small();
    let (work, code) = (project(&pair.a, "work/proj"), project(&pair.b, "code/p2"));
    let one = pair.carry(true);
    let new = put(&pair.b, &joining(&pair, one, &code)).unwrap();
    assert_eq!(new.placed, PlacedHow::New);
    append(&pair.main(&pair.a, &work), &turn(&work, 1));
    let two = pair.carry(true);
    let grown = put(&pair.b, &joining(&pair, two, &code)).unwrap();
    assert_eq!(grown.placed, PlacedHow::FastForward);
    let again = put(&pair.b, &joining(&pair, one, &code)).unwrap();
    assert_eq!(again.placed, PlacedHow::UpToDate);
}
