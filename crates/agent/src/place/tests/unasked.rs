//! Placements that nobody asked for: refreshed, taken back, never over anything.

use super::*;

struct Scene {
    pair: Pair,
    work: PathBuf,
    code: PathBuf,
    main_a: PathBuf,
    main_b: PathBuf,
    turns: u32,
}

impl Scene {
    fn new() -> Self {
        let pair = Pair::small();
        let (work, code) = (project(&pair.a, "work/proj"), project(&pair.b, "code/p2"));
        let (main_a, main_b) = (pair.main(&pair.a, &work), pair.main(&pair.b, &code));
        Self {
            pair,
            work,
            code,
            main_a,
            main_b,
            turns: 0,
        }
    }

    /// A version of A with one turn more.
    fn grow(&mut self) -> Version {
        self.turns += 1;
        append(&self.main_a, &turn(&self.work, self.turns));
        self.pair.carry(true)
    }

    fn request(&self, version: Version, mode: Mode) -> PlaceRequest {
        PlaceRequest {
            mode,
            ..request(&self.pair, version, &self.code)
        }
    }

    fn put(&self, version: Version, mode: Mode) -> Result<PlacedHow, PlaceError> {
        Ok(put(&self.pair.b, &self.request(version, mode))?.placed)
    }

    fn take_back(&self) -> Result<Undone, PlaceError> {
        super::super::undo(&self.pair.b.store, &self.pair.b.home, &self.pair.session)
    }

    fn backups(&self) -> usize {
        fs::read_dir(self.pair.b.home.backups()).map_or(0, Iterator::count)
    }

    fn was_taken_back(&self) -> bool {
        was_taken_back(&self.pair.b.store, &self.pair.session).unwrap()
    }
}

#[test]
fn refreshes_go_on_with_one_placement_and_keep_nothing() {
    let mut scene = Scene::new();
    let before = files(scene.pair.b.claude());
    let one = scene.pair.carry(true);
    assert_eq!(scene.put(one, Mode::Unasked).unwrap(), PlacedHow::New);
    for _ in 0..5 {
        let next = scene.grow();
        let how = scene.put(next, Mode::Unasked).unwrap();
        assert_eq!(how, PlacedHow::FastForward);
        assert_eq!(scene.backups(), 0, "it was nobody's work");
    }
    let again = captured(&scene.pair.b, scene.pair.session, EntryHash([99; 32]));
    assert_eq!(again, None, "placing is no change");
    let store = &scene.pair.b.store;
    assert_eq!(
        undo_next(store).unwrap(),
        None,
        "the user asked for nothing"
    );
    assert_eq!(unasked(store).unwrap(), [scene.pair.session]);
    scene.take_back().unwrap();
    assert_eq!(files(scene.pair.b.claude()), before);
    assert!(scene.was_taken_back());
    assert_eq!(unasked(store).unwrap(), []);
    assert!(matches!(scene.take_back(), Err(PlaceError::NothingToUndo)));
    // Whoever asks for it, wants it after all.
    scene.put(one, Mode::Auto).unwrap();
    assert!(!scene.was_taken_back());
}

#[test]
fn ones_own_work_is_never_grown_over() {
    let mut scene = Scene::new();
    let one = scene.pair.carry(true);
    scene.put(one, Mode::Unasked).unwrap();
    append(&scene.main_b, &turn(&scene.code, 50));
    let mine = files(scene.pair.b.claude());
    let two = scene.grow();
    let refused = scene.put(two, Mode::Unasked);
    assert!(
        matches!(refused, Err(PlaceError::OwnLine(_))),
        "{refused:?}"
    );
    assert_eq!(
        files(scene.pair.b.claude()),
        mine,
        "and nothing lies beside it"
    );
    let kept = scene.take_back();
    assert!(matches!(kept, Err(PlaceError::ChangedSince(_))), "{kept:?}");
    assert_eq!(files(scene.pair.b.claude()), mine);

    // A line that was written anew elsewhere takes nobody's place either.
    let mut scene = Scene::new();
    let one = scene.pair.carry(true);
    scene.put(one, Mode::Unasked).unwrap();
    fs::write(&scene.main_a, turn(&scene.work, 70)).unwrap();
    let two = scene.pair.carry(true);
    let asked = PlaceRequest {
        grew_from: vec![(one.id, Some(one.manifest))],
        ..scene.request(two, Mode::Unasked)
    };
    let refused = put(&scene.pair.b, &asked);
    assert!(
        matches!(refused, Err(PlaceError::OwnLine(_))),
        "{refused:?}"
    );
}

#[test]
fn what_the_user_asked_for_stays_within_reach() {
    let mut scene = Scene::new();
    let before = files(scene.pair.b.claude());
    let one = scene.pair.carry(true);
    scene.put(one, Mode::Auto).unwrap();
    let asked = files(scene.pair.b.claude());
    // More refreshes than there are placements that can be taken back.
    for _ in 0..limits::BACKUPS_KEPT_MIN + 3 {
        let next = scene.grow();
        scene.put(next, Mode::Unasked).unwrap();
    }
    assert_eq!(scene.backups(), 1, "of what the user had asked for");
    let store = &scene.pair.b.store;
    assert_eq!(undo_next(store).unwrap(), Some(scene.pair.session));
    scene.take_back().unwrap();
    assert_eq!(files(scene.pair.b.claude()), before);
    assert_eq!(scene.backups(), 0);

    // What the user did in between is not taken back with it.
    scene.put(one, Mode::Auto).unwrap();
    assert_eq!(files(scene.pair.b.claude()), asked);
    append(&scene.main_b, &turn(&scene.code, 90));
    let mine = files(scene.pair.b.claude());
    let two = scene.pair.carry(false);
    put(
        &scene.pair.a,
        &PlaceRequest {
            project_dir: scene.work.clone(),
            mode: Mode::ForceFork,
            from_me: false,
            ..request(&scene.pair, two, &scene.work)
        },
    )
    .unwrap();
    let mut three = two;
    three.id = EntryHash([77; 32]);
    assert_eq!(
        scene.put(three, Mode::Unasked).unwrap(),
        PlacedHow::UpToDate
    );
    assert_eq!(files(scene.pair.b.claude()), mine);
}

/// A refresh that is stopped anywhere is finished or taken back, and what was
/// placed can still be taken back as a whole.
#[test]
fn k_h02_a_refresh_that_is_stopped_anywhere() {
    let mut stops = 0;
    for stop in 0.. {
        let mut scene = Scene::new();
        let before = files(scene.pair.b.claude());
        let one = scene.pair.carry(true);
        scene.put(one, Mode::Unasked).unwrap();
        let placed = files(scene.pair.b.claude());
        let two = scene.grow();
        let asked = scene.request(two, Mode::Unasked);
        let (store, home) = (&scene.pair.b.store, &scene.pair.b.home);
        let at = |n: u32, _: &'static str| n == stop;
        let watch = Stops::new(&at);
        let disk = Disk::watched(&watch);
        let result = place_with(store, home, &asked, &mut |_, _| {}, disk);
        let stopped = matches!(result, Err(PlaceError::Stopped));
        assert!(stopped || result.is_ok(), "{stop}: {result:?}");
        recover(store, home).unwrap();
        let now = files(scene.pair.b.claude());
        let grown = fs::read(&scene.main_b).unwrap().len() as u64;
        assert!(now == placed || grown > 0, "{stop}");
        assert_eq!(now.len(), placed.len(), "{stop}: nothing lies around");
        scene.put(two, Mode::Unasked).unwrap();
        scene.take_back().unwrap();
        assert_eq!(files(scene.pair.b.claude()), before, "{stop}");
        if !stopped {
            break;
        }
        stops += 1;
    }
    assert!(stops > 5, "{stops}");
}
