//! A project that moved on this machine: its sessions follow, in the new paths, and
//! go on as the same line.

use super::*;
use crate::place::rehome::tests::moving;

fn rehome(world: &World, session: SessionId, below: &str) -> Result<Rehomed, PlaceError> {
    super::super::rehome(&world.store, &world.home, &moving(world, session, below))
}

#[test]
fn a_session_follows_its_project_and_goes_on_as_the_same_line() {
    let mut pair = Pair::new();
    let (work, code) = (project(&pair.a, "work/proj"), project(&pair.b, "code/p2"));
    let one = pair.carry(true);
    put(&pair.b, &request(&pair, one, &code)).unwrap();
    let main_b = pair.main(&pair.b, &code);
    let before = files(pair.a.claude());
    let main_a = pair.main(&pair.a, &work);
    let was = fs::read(&main_a).unwrap();
    let at = fs::metadata(&main_a).unwrap().modified().unwrap();

    let moved = rehome(&pair.a, pair.session, "elsewhere/proj").unwrap();
    let new = project(&pair.a, "elsewhere/proj");
    let main_new = pair.main(&pair.a, &new);
    let Rehomed::Moved { path, backup } = moved else {
        panic!("it was moved");
    };
    assert_eq!(path, main_new);
    assert!(!main_a.exists(), "it lies in one place");
    assert!(
        files(&backup).values().any(|kept| *kept == was),
        "nothing is lost"
    );
    assert_eq!(fs::metadata(&main_new).unwrap().modified().unwrap(), at);
    let text = fs::read_to_string(&main_new).unwrap();
    assert!(!text.contains(work.to_str().unwrap()), "in the new paths");
    let slug = project_slug(work.to_str().unwrap());
    assert!(
        !text.contains(&slug),
        "also where the directory's name stands"
    );
    // The same files, but for those of no kind that is known.
    let now = files(pair.a.claude());
    assert_eq!(now.len(), before.len());
    assert_eq!(
        rehome(&pair.a, pair.session, "elsewhere/proj").unwrap(),
        Rehomed::There
    );
    assert_eq!(
        captured(&pair.a, pair.session, EntryHash([99; 32])),
        None,
        "moving is no change"
    );

    // The next turn grows from the version before the move, for others too.
    append(&main_new, &turn(&new, 1));
    let two = pair.carry(true);
    let manifest = load(&pair.a.store, &request(&pair, two, &code)).unwrap();
    let segments = &manifest.file(&Slot::Main).unwrap().segments;
    assert_eq!(segments.len(), 2);
    assert_eq!(manifest.origins.len(), 2);
    let placed = put(&pair.b, &request(&pair, two, &code)).unwrap();
    assert_eq!(placed.placed, PlacedHow::FastForward);
    let there = fs::read_to_string(&main_b).unwrap();
    assert!(there.ends_with(&turn(&code, 1)));
    assert!(!there.contains(new.to_str().unwrap()));

    // And back from there.
    append(&main_b, &turn(&code, 2));
    let three = pair.carry(false);
    let placed = put(&pair.a, &request(&pair, three, &new)).unwrap();
    assert_eq!(placed.placed, PlacedHow::FastForward);
    assert_eq!(placed.path.as_deref(), main_new.to_str());
    assert!(
        fs::read_to_string(&main_new)
            .unwrap()
            .ends_with(&turn(&new, 2))
    );
}

#[test]
fn moving_is_taken_back_byte_for_byte() {
    let mut pair = Pair::new();
    let work = project(&pair.a, "work/proj");
    pair.carry(true);
    let before = files(pair.a.claude());
    rehome(&pair.a, pair.session, "elsewhere/proj").unwrap();
    let undone = undo(&pair.a.store, &pair.a.home).unwrap();
    assert_eq!(undone.session, pair.session);
    assert_eq!(files(pair.a.claude()), before);
    assert_eq!(captured(&pair.a, pair.session, EntryHash([99; 32])), None);
    append(&pair.main(&pair.a, &work), &turn(&work, 1));
    let two = pair.carry(true);
    let manifest = load(&pair.a.store, &request(&pair, two, &work)).unwrap();
    assert_eq!(manifest.origins.len(), 1, "as if nothing had happened");

    // Once somebody has gone on in the new place, nothing is taken back.
    rehome(&pair.a, pair.session, "elsewhere/proj").unwrap();
    let new = project(&pair.a, "elsewhere/proj");
    append(&pair.main(&pair.a, &new), &turn(&new, 2));
    assert!(matches!(
        undo(&pair.a.store, &pair.a.home),
        Err(PlaceError::ChangedSince(_))
    ));
}

#[test]
fn what_is_open_changed_or_in_the_way_stays() {
    let mut pair = Pair::small();
    let work = project(&pair.a, "work/proj");
    assert!(matches!(
        rehome(&pair.a, pair.session, "to"),
        Err(PlaceError::Changed)
    ));
    pair.carry(true);
    let registered = pair
        .a
        .claude()
        .join(format!("sessions/{}.json", std::process::id()));
    let open = format!(
        "{{\"pid\":{},\"sessionId\":\"{FULL}\"}}",
        std::process::id()
    );
    fs::write(&registered, open).unwrap();
    let before = files(pair.a.claude());
    assert!(matches!(
        rehome(&pair.a, pair.session, "to"),
        Err(PlaceError::Live(_))
    ));
    assert_eq!(files(pair.a.claude()), before);
    fs::remove_file(&registered).unwrap();

    let to = project(&pair.a, "to");
    let taken = pair.main(&pair.a, &to);
    fs::create_dir_all(taken.parent().unwrap()).unwrap();
    fs::write(&taken, "").unwrap();
    let old = fs::File::options().write(true).open(&taken).unwrap();
    old.set_modified(std::time::UNIX_EPOCH).unwrap();
    assert!(matches!(
        rehome(&pair.a, pair.session, "to"),
        Err(PlaceError::Taken(_))
    ));
    fs::remove_file(&taken).unwrap();

    // Words that were never captured would not be in the backup's version.
    append(&pair.main(&pair.a, &work), &turn(&work, 1));
    assert!(matches!(
        rehome(&pair.a, pair.session, "to"),
        Err(PlaceError::Changed)
    ));
    let mine = fs::read(pair.main(&pair.a, &work)).unwrap();
    assert!(mine.ends_with(turn(&work, 1).as_bytes()));
}

#[test]
fn two_directories_of_one_name_change_places_in_one_file() {
    let mut pair = Pair::small();
    pair.carry(true);
    // `proj.x` and `proj_x` have one name below `projects/`.
    rehome(&pair.a, pair.session, "work/proj.x").unwrap();
    let dotted = project(&pair.a, "work/proj.x");
    let main = pair.main(&pair.a, &dotted);
    let before = fs::read(&main).unwrap();
    rehome(&pair.a, pair.session, "work/proj_x").unwrap();
    let text = fs::read_to_string(&main).unwrap();
    let lined = project(&pair.a, "work/proj_x");
    assert!(text.contains(lined.to_str().unwrap()));
    assert!(!text.contains(dotted.to_str().unwrap()));
    undo(&pair.a.store, &pair.a.home).unwrap();
    assert_eq!(fs::read(&main).unwrap(), before);
}
