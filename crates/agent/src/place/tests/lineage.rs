//! Versions that grew from each other though no file is the beginning of the
//! other, and forks that go on.

use super::*;

/// Forgets what a machine remembers of a session.
fn forget(world: &World, session: SessionId) {
    let note = ccpeer_store::NoteWrite {
        ns: Namespace::Session,
        key: session.0.to_vec(),
        value: None,
    };
    world.store.put_notes(&[note]).unwrap();
}

fn keep_lines(path: &Path, from: usize) {
    let text = fs::read_to_string(path).unwrap();
    let kept: String = text.split_inclusive('\n').skip(from).collect();
    fs::write(path, kept).unwrap();
}

fn relative(version: Version) -> Relative {
    (version.id, Some(version.manifest))
}

/// A and B with the same session, and what A wrote since.
struct Lines {
    pair: Pair,
    work: PathBuf,
    code: PathBuf,
    main_a: PathBuf,
    main_b: PathBuf,
    one: Version,
}

impl Lines {
    fn new() -> Self {
        let mut pair = Pair::small();
        let (work, code) = (project(&pair.a, "work/proj"), project(&pair.b, "code/p2"));
        let (main_a, main_b) = (pair.main(&pair.a, &work), pair.main(&pair.b, &code));
        let one = pair.carry(true);
        put(&pair.b, &request(&pair, one, &code)).unwrap();
        Self {
            pair,
            work,
            code,
            main_a,
            main_b,
            one,
        }
    }

    fn asked(&self, version: Version, grew_from: &[Version]) -> PlaceRequest {
        PlaceRequest {
            grew_from: grew_from.iter().copied().map(relative).collect(),
            ..request(&self.pair, version, &self.code)
        }
    }
}

#[test]
fn what_was_compacted_elsewhere_is_no_fork() {
    for remembered in [true, false] {
        let mut l = Lines::new();
        let before = fs::read(&l.main_b).unwrap();
        keep_lines(&l.main_a, 2);
        append(&l.main_a, &turn(&l.work, 1));
        let two = l.pair.carry(true);
        if !remembered {
            forget(&l.pair.b, l.pair.session);
        }
        let alone = put(&l.pair.b, &l.asked(two, &[])).unwrap();
        assert_eq!(
            alone.placed,
            PlacedHow::Fork,
            "where nothing is known of how it came to be, it is another line"
        );
        undo(&l.pair.b.store, &l.pair.b.home).unwrap();

        let placed = put(&l.pair.b, &l.asked(two, &[l.one])).unwrap();
        assert_eq!(placed.placed, PlacedHow::FastForward);
        assert_eq!(placed.dropped.len(), 1, "{:?}", placed.dropped);
        let text = fs::read_to_string(&l.main_b).unwrap();
        assert!(text.contains("turn 1") && !text.contains("turn 100"));
        assert!(!text.contains(l.work.to_str().unwrap()));
        let kept = files(Path::new(&placed.backup.unwrap()));
        assert!(kept.values().any(|c| *c == before), "what it was is kept");
        assert_eq!(
            captured(&l.pair.b, l.pair.session, EntryHash([90; 32])),
            None,
            "and it is that version now"
        );
        undo(&l.pair.b.store, &l.pair.b.home).unwrap();
        assert_eq!(fs::read(&l.main_b).unwrap(), before);
    }
}

#[test]
fn what_changed_beside_the_transcript_alone_comes_and_makes_no_fork() {
    let mut l = Lines::new();
    let session = l.pair.session.to_string();
    let before = fs::read(&l.main_b).unwrap();
    let list = |world: &World| world.claude().join("tasks").join(&session).join("1.json");
    let task = r#"{"id":"1","subject":"ship it","status":"pending","blocks":[],"blockedBy":[]}"#;
    fs::create_dir_all(list(&l.pair.a).parent().unwrap()).unwrap();
    fs::write(list(&l.pair.a), task).unwrap();
    let two = l.pair.carry(true);
    assert_eq!(
        put(&l.pair.b, &l.asked(two, &[])).unwrap().placed,
        PlacedHow::UpToDate,
        "whose list is the newer one is not known"
    );
    let placed = put(&l.pair.b, &l.asked(two, &[l.one])).unwrap();
    assert_eq!(placed.placed, PlacedHow::FastForward);
    assert_eq!(fs::read_to_string(list(&l.pair.b)).unwrap(), task);
    assert_eq!(fs::read(&l.main_b).unwrap(), before);
    assert_eq!(
        captured(&l.pair.b, l.pair.session, EntryHash([91; 32])),
        None,
        "it stands for that version now"
    );
    let again = put(&l.pair.b, &l.asked(two, &[l.one])).unwrap();
    assert_eq!(again.placed, PlacedHow::UpToDate);
}

#[test]
fn a_line_that_was_taken_back_elsewhere_goes_here_too() {
    let mut l = Lines::new();
    let text = fs::read_to_string(&l.main_a).unwrap();
    let (kept, _) = text.trim_end().rsplit_once('\n').unwrap();
    fs::write(&l.main_a, format!("{kept}\n")).unwrap();
    let two = l.pair.carry(true);
    assert_eq!(
        put(&l.pair.b, &l.asked(two, &[])).unwrap().placed,
        PlacedHow::UpToDate,
        "a shorter file alone says nothing"
    );
    let placed = put(&l.pair.b, &l.asked(two, &[l.one])).unwrap();
    assert_eq!(placed.placed, PlacedHow::FastForward);
    assert!(!fs::read_to_string(&l.main_b).unwrap().contains("turn 103"));
}

#[test]
fn what_was_compacted_here_is_newer_than_what_it_was() {
    for remembered in [true, false] {
        let mut l = Lines::new();
        keep_lines(&l.main_b, 2);
        let now = fs::read(&l.main_b).unwrap();
        let two = l.pair.carry(false);
        if !remembered {
            forget(&l.pair.b, l.pair.session);
        }
        let asked = PlaceRequest {
            grown_into: vec![relative(two)],
            ..l.asked(l.one, &[])
        };
        assert_eq!(put(&l.pair.b, &asked).unwrap().placed, PlacedHow::UpToDate);
        assert_eq!(fs::read(&l.main_b).unwrap(), now);
    }
}

#[test]
fn words_on_top_of_an_ancestor_make_it_a_line_of_its_own() {
    let mut l = Lines::new();
    keep_lines(&l.main_a, 2);
    let two = l.pair.carry(true);
    append(&l.main_b, &turn(&l.code, 7));
    let mine = fs::read(&l.main_b).unwrap();
    let placed = put(&l.pair.b, &l.asked(two, &[l.one])).unwrap();
    assert_eq!(placed.placed, PlacedHow::Fork);
    assert_eq!(fs::read(&l.main_b).unwrap(), mine);
}

#[test]
fn what_claude_moved_to_another_project_is_found_there() {
    for remembered in [true, false] {
        let mut l = Lines::new();
        let inner = project(&l.pair.b, "code/inner");
        let slug = project_slug(inner.to_str().unwrap());
        let moved = l.pair.b.transcript(&slug, &l.pair.session);
        fs::create_dir_all(moved.parent().unwrap()).unwrap();
        fs::rename(&l.main_b, &moved).unwrap();
        let sides = l.main_b.with_extension("");
        fs::rename(&sides, moved.with_extension("")).unwrap();
        append(
            &moved,
            &format!(
                "{{\"type\":\"relocated\",\"sessionId\":\"{FULL}\",\"relocatedCwd\":\"{}\"}}\n",
                inner.display()
            ),
        );
        // A goes on from the version before the move.
        append(&l.main_a, &turn(&l.work, 1));
        let two = l.pair.carry(true);
        if remembered {
            captured(&l.pair.b, l.pair.session, EntryHash([60; 32]));
        } else {
            forget(&l.pair.b, l.pair.session);
        }
        let asked = PlaceRequest {
            project_dir: inner.clone(),
            ..l.asked(two, &[l.one])
        };
        let placed = put(&l.pair.b, &asked).unwrap();
        assert_eq!(placed.placed, PlacedHow::FastForward, "{remembered}");
        assert_eq!(placed.path.as_deref(), moved.to_str());
        assert!(!l.main_b.exists(), "it is not put where it was");
        let text = fs::read_to_string(&moved).unwrap();
        assert!(text.contains("turn 1") && !text.contains(l.work.to_str().unwrap()));
    }
}

#[test]
fn a_fork_that_grew_goes_on_as_the_same_session() {
    let mut l = Lines::new();
    append(&l.main_a, &turn(&l.work, 1));
    append(&l.main_b, &turn(&l.code, 2));
    captured(&l.pair.b, l.pair.session, EntryHash([50; 32]));
    let mine = fs::read(&l.main_b).unwrap();
    let two = l.pair.carry(true);
    let first = put(&l.pair.b, &l.asked(two, &[l.one])).unwrap();
    assert_eq!(first.placed, PlacedHow::Fork);
    let fork: SessionId = first.new_session_id.clone().unwrap().parse().unwrap();
    captured(&l.pair.b, fork, EntryHash([51; 32]));
    let path = PathBuf::from(first.path.as_ref().unwrap());
    let before = fs::read(&path).unwrap();

    append(&l.main_a, &turn(&l.work, 3));
    let three = l.pair.carry(true);
    let asked = l.asked(three, &[two, l.one]);
    let grown = put(&l.pair.b, &asked).unwrap();
    assert_eq!(
        (grown.placed, &grown.new_session_id),
        (PlacedHow::FastForward, &first.new_session_id)
    );
    assert_eq!(grown.path, first.path);
    assert_eq!(fs::read(&l.main_b).unwrap(), mine);
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text.matches("turn 3\"").count(), 1);
    assert_eq!(text.matches("\"custom-title\"").count(), 1, "{text}");
    assert!(
        text.trim_end().ends_with(&format!(
            "\"sessionId\":\"{fork}\",\"type\":\"agent-name\"}}"
        )) || text.lines().last().unwrap().contains("(from desk)")
    );
    assert!(!text.contains(&format!("\"sessionId\":\"{FULL}\"")));
    assert_eq!(
        put(&l.pair.b, &asked).unwrap().placed,
        PlacedHow::UpToDate,
        "the same again changes nothing"
    );
    assert!(captured(&l.pair.b, fork, EntryHash([52; 32])).is_some());
    let state = LocalState::load(&l.pair.b.store, &fork).unwrap().unwrap();
    assert_eq!(
        state.base,
        Some(EntryHash([52; 32])),
        "its own line goes on"
    );
    undo(&l.pair.b.store, &l.pair.b.home).unwrap();
    assert_eq!(fs::read(&path).unwrap(), before);

    // Where somebody went on with the fork, the other line lands beside again.
    append(&path, &turn(&l.code, 4));
    let third = put(&l.pair.b, &asked).unwrap();
    assert_eq!(third.placed, PlacedHow::Fork);
    assert_ne!(third.new_session_id, first.new_session_id);
    assert!(fs::read_to_string(&path).unwrap().contains("turn 4"));
}
