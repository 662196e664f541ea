//! A crash, or a failing disk, at every step of a placement: a session is there
//! as a whole or not at all, nobody sees a part of a file, and what was there
//! before is still there or in the backups.
//!
//! Quick form by default; `CCPEER_CRASH_IMAGES` sets how many random subsets are
//! tried at each boundary and switches the second crash, within the recovery, to
//! every image.

use super::disk_model::{Failure, Image, Loss, Recorder, Taken, crashed};
use super::*;
use std::collections::BTreeSet;

/// Something that is done to a machine's files.
struct Scenario {
    name: &'static str,
    /// Backups lie on another disk than Claude's directory.
    far: bool,
    pair: Pair,
    what: What,
}

enum What {
    Place(Box<PlaceRequest>),
    Move(Box<Rehoming>),
    Undo,
}

impl Scenario {
    fn run(&self, disk: Disk<'_>) -> Result<(), PlaceError> {
        let (store, home) = (&self.pair.b.store, &self.pair.b.home);
        match &self.what {
            What::Place(request) => {
                place_with(store, home, request, &mut |_, _| {}, disk).map(drop)
            }
            What::Move(request) => rehome::rehome_with(store, home, request, disk).map(drop),
            What::Undo => undo_with(store, home, disk).map(drop),
        }
    }

    fn world(&self) -> &World {
        &self.pair.b
    }

    fn recover(&self, disk: Disk<'_>) -> Result<Vec<String>, PlaceError> {
        recover_with(&self.pair.b.store, &self.pair.b.home, disk)
    }
}

/// Every kind of change that is made to Claude's directory.
fn scenarios() -> Vec<Scenario> {
    let mut out = Vec::new();
    for (name, far) in [
        ("new", false),
        ("fast-forward", false),
        ("fast-forward, backups far", true),
        ("rewritten", false),
        ("fork", false),
        ("grown fork", false),
        ("join", false),
        ("undo of join", false),
        ("undo of new", false),
        ("move", false),
        ("move, backups far", true),
        ("undo of move", false),
        ("undo of move, backups far", true),
        ("undo of fast-forward", false),
        ("undo of fast-forward, backups far", true),
    ] {
        let mut pair = Pair::small();
        let (work, code) = (project(&pair.a, "work/proj"), project(&pair.b, "code/p2"));
        let (main_a, main_b) = (pair.main(&pair.a, &work), pair.main(&pair.b, &code));
        let one = pair.carry(true);
        let first = request(&pair, one, &code);
        if name == "new" || name == "undo of new" {
            if name == "undo of new" {
                put(&pair.b, &first).unwrap();
            }
            let what = match name {
                "new" => What::Place(Box::new(first)),
                _ => What::Undo,
            };
            out.push(Scenario {
                name,
                far,
                pair,
                what,
            });
            continue;
        }
        put(&pair.b, &first).unwrap();
        if name.contains("move") {
            let moved = rehome::tests::moving(&pair.b, pair.session, "code/moved");
            let what = if name.starts_with("undo") {
                let recorder = Recorder::new(far);
                let disk = Disk::watched(&recorder);
                rehome::rehome_with(&pair.b.store, &pair.b.home, &moved, disk).unwrap();
                What::Undo
            } else {
                What::Move(Box::new(moved))
            };
            out.push(Scenario {
                name,
                far,
                pair,
                what,
            });
            continue;
        }
        append(&main_a, &turn(&work, 1));
        let task = pair.a.claude().join(format!("tasks/{FULL}/1.json"));
        fs::write(task, "{\"id\":\"1\",\"status\":\"completed\"}").unwrap();
        let what = match name {
            "rewritten" => {
                let text = fs::read_to_string(&main_a).unwrap();
                let kept: Vec<&str> = text.lines().skip(2).collect();
                fs::write(&main_a, kept.join("\n") + "\n").unwrap();
                let two = pair.carry(true);
                let asked = PlaceRequest {
                    grew_from: vec![(one.id, Some(one.manifest))],
                    ..request(&pair, two, &code)
                };
                What::Place(Box::new(asked))
            }
            "join" | "undo of join" => {
                append(&main_b, &turn(&code, 2).replace("null", &parent(103)));
                captured(&pair.b, pair.session, EntryHash([50; 32]));
                fs::write(&main_a, {
                    let text = fs::read_to_string(&main_a).unwrap();
                    let (kept, _) = text.trim_end().rsplit_once('\n').unwrap();
                    format!("{kept}\n{}", turn(&work, 1).replace("null", &parent(103)))
                })
                .unwrap();
                let two = pair.carry(true);
                let asked = PlaceRequest {
                    mode: Mode::Join,
                    ..request(&pair, two, &code)
                };
                if name == "join" {
                    What::Place(Box::new(asked))
                } else {
                    put(&pair.b, &asked).unwrap();
                    What::Undo
                }
            }
            "fork" | "grown fork" => {
                append(&main_b, &turn(&code, 2));
                captured(&pair.b, pair.session, EntryHash([50; 32]));
                let two = pair.carry(true);
                let asked = request(&pair, two, &code);
                if name == "grown fork" {
                    put(&pair.b, &asked).unwrap();
                    captured(&pair.b, asked.new_id, EntryHash([51; 32]));
                    append(&main_a, &turn(&work, 3));
                    let three = pair.carry(true);
                    What::Place(Box::new(PlaceRequest {
                        grew_from: vec![(two.id, Some(two.manifest)), (one.id, Some(one.manifest))],
                        ..request(&pair, three, &code)
                    }))
                } else {
                    What::Place(Box::new(asked))
                }
            }
            _ => {
                let two = pair.carry(true);
                let asked = request(&pair, two, &code);
                if name.starts_with("undo") {
                    if far {
                        let recorder = Recorder::new(true);
                        let disk = Disk::watched(&recorder);
                        let (store, home) = (&pair.b.store, &pair.b.home);
                        place_with(store, home, &asked, &mut |_, _| {}, disk).unwrap();
                    } else {
                        put(&pair.b, &asked).unwrap();
                    }
                    What::Undo
                } else {
                    What::Place(Box::new(asked))
                }
            }
        };
        out.push(Scenario {
            name,
            far,
            pair,
            what,
        });
    }
    out
}

/// A turn as another one's parent.
fn parent(n: u32) -> String {
    format!("\"00000000-0000-4000-8000-{n:012}\"")
}

/// Before and after, and what must never be lost in between.
struct Ends {
    before: Image,
    after: Image,
    main: PathBuf,
    is_undo: bool,
    precious: BTreeSet<Vec<u8>>,
}

impl Ends {
    fn of(s: &Scenario) -> (Self, Vec<Taken>) {
        let before = Image::of(s.world());
        let recorder = Recorder::new(s.far);
        s.run(Disk::watched(&recorder)).unwrap();
        let after = Image::of(s.world());
        let changed = |(path, content): &(&PathBuf, &std::rc::Rc<Vec<u8>>)| {
            path.extension().is_some_and(|e| e == "jsonl")
                && path.components().all(|c| c.as_os_str() != "subagents")
                && (before.files.get(*path) != Some(*content)
                    || after.files.get(*path) != Some(*content))
        };
        let main = after
            .visible(s.world())
            .chain(before.visible(s.world()))
            .find(changed)
            .map(|(path, _)| path.clone())
            .expect("a transcript changes");
        // What a placement brings can be had again; what was there before cannot.
        let is_undo = matches!(s.what, What::Undo);
        let kept = if is_undo { &after } else { &before };
        let precious = kept.visible(s.world()).map(|(_, c)| c.to_vec()).collect();
        let ends = Self {
            before,
            after,
            main,
            is_undo,
            precious,
        };
        (ends, recorder.taken.into_inner())
    }

    /// What holds at any moment.
    fn check_always(&self, world: &World, image: &Image, context: &str) {
        for (path, content) in image.visible(world) {
            let was = self.before.files.get(path) == Some(content);
            let will_be = self.after.files.get(path) == Some(content);
            assert!(
                was || will_be,
                "{context}: {} is in neither form",
                path.display()
            );
        }
        // The main transcript appears last, and goes first.
        let whole = if self.is_undo {
            &self.before
        } else {
            &self.after
        };
        let other = if self.is_undo {
            &self.after
        } else {
            &self.before
        };
        let main = image.files.get(&self.main);
        if main.is_some()
            && main == whole.files.get(&self.main)
            && main != other.files.get(&self.main)
        {
            for (path, content) in whole.visible(world) {
                assert_eq!(
                    image.files.get(path),
                    Some(content),
                    "{context}: {} is not there yet",
                    path.display()
                );
            }
        }
        for content in &self.precious {
            assert!(
                image
                    .files
                    .values()
                    .any(|c| c.as_slice() == content.as_slice()),
                "{context}: something that was there is lost"
            );
        }
    }

    /// What holds when everything was recovered.
    fn check_recovered(&self, s: &Scenario, context: &str) -> bool {
        let world = s.world();
        sweep_backups(&world.store, &world.home, Timestamp(0)).unwrap();
        let now = Image::of(world);
        self.check_always(world, &now, context);
        let seen = |image: &Image| -> BTreeMap<PathBuf, Vec<u8>> {
            image
                .visible(world)
                .map(|(p, c)| (p.clone(), c.to_vec()))
                .collect()
        };
        let visible = seen(&now);
        let happened = visible == seen(&self.after);
        assert!(
            happened || visible == seen(&self.before),
            "{context}: half a session"
        );
        assert!(
            !now.notes.keys().any(|(ns, _)| *ns == Namespace::Journal),
            "{context}: the journal is not empty"
        );
        let hidden = |p: &PathBuf| {
            p.components()
                .any(|c| c.as_os_str().to_str().unwrap().starts_with(".ccpeer"))
        };
        assert!(
            !now.files.keys().chain(&now.dirs).any(hidden),
            "{context}: something staged is left"
        );
        let remembered = |image: &Image| {
            let key = |(ns, key): &&(Namespace, Vec<u8>)| {
                // How long a backup is kept is another matter.
                *ns == Namespace::Session || *ns == Namespace::Placement && !b"bd".contains(&key[0])
            };
            image.notes.keys().filter(key).cloned().collect::<Vec<_>>()
        };
        let want = if happened { &self.after } else { &self.before };
        assert_eq!(
            remembered(&now),
            remembered(want),
            "{context}: what is remembered is of another state"
        );
        // A backup too many is remembered, and goes in its time.
        let backups = world.home.backups();
        for dir in now.dirs.iter().filter(|d| d.parent() == Some(&backups)) {
            let id = u128::from_str_radix(dir.file_name().unwrap().to_str().unwrap(), 16);
            let key = [&b"b"[..], &id.unwrap().to_be_bytes()].concat();
            let known = now.notes.contains_key(&(Namespace::Placement, key));
            assert!(known, "{context}: nobody remembers {}", dir.display());
        }
        happened
    }
}

#[derive(Default)]
struct Count {
    built: u64,
    distinct: u64,
    happened: u64,
    by_loss: BTreeMap<&'static str, u64>,
}

struct Hunt<'h> {
    s: &'h Scenario,
    ends: &'h Ends,
    seen: BTreeSet<[u8; 32]>,
    losses: Vec<Loss>,
    depth_two_each: u64,
    count: [Count; 2],
}

impl Hunt<'_> {
    /// Every image of a crash within `steps`, each recovered.
    fn images(&mut self, base: &Image, steps: &[Taken], depth: usize) {
        let losses = self.losses.clone();
        for at in 0..=steps.len() {
            for loss in &losses {
                let seeded = match loss {
                    Loss::Some(n) => Loss::Some(n + 1000 * at as u64),
                    other => *other,
                };
                let image = crashed(base, &steps[..at], seeded);
                let count = &mut self.count[depth];
                count.built += 1;
                *count.by_loss.entry(loss.name()).or_default() += 1;
                if self.seen.insert(image.hash()) {
                    count.distinct += 1;
                    let context = format!("{}, step {at}, {loss:?}, depth {depth}", self.s.name);
                    self.recover(&image, depth, &context);
                }
            }
        }
    }

    fn recover(&mut self, image: &Image, depth: usize, context: &str) {
        let world = self.s.world();
        self.ends.check_always(world, image, context);
        image.put(world);
        let recorder = Recorder::new(self.s.far);
        let recovered = self.s.recover(Disk::watched(&recorder));
        assert!(recovered.is_ok(), "{context}: {recovered:?}");
        let happened = self.ends.check_recovered(self.s, context);
        self.count[depth].happened += u64::from(happened);
        assert!(
            self.s
                .recover(Disk::watched(&Recorder::default()))
                .unwrap()
                .is_empty(),
            "{context}: nothing is left to do"
        );
        let n = self.count[depth].distinct;
        if n.is_multiple_of(16) {
            self.go_on(happened, context);
        }
        if depth == 0 && n.is_multiple_of(self.depth_two_each) {
            let steps = recorder.taken.into_inner();
            self.images(image, &steps, 1);
        }
    }

    /// Afterwards everything works as if nothing had been.
    fn go_on(&self, happened: bool, context: &str) {
        let (s, world) = (self.s, self.s.world());
        let seen = |image: &Image| -> BTreeMap<PathBuf, Vec<u8>> {
            image
                .visible(world)
                .map(|(p, c)| (p.clone(), c.to_vec()))
                .collect()
        };
        match &s.what {
            What::Place(request) => {
                // A try anew has a name of its own; a fork's is that of its session.
                let new_id = match s.name {
                    "fork" => request.new_id,
                    _ => SessionId([0x77; 16]),
                };
                let placed = put(
                    world,
                    &PlaceRequest {
                        new_id,
                        ..(**request).clone()
                    },
                );
                let placed = placed.unwrap_or_else(|e| panic!("{context}: {e}"));
                // Both lines in one file are a version that nobody has stated yet.
                if request.mode != Mode::Join {
                    assert_eq!(placed.placed == PlacedHow::UpToDate, happened, "{context}");
                }
                assert_eq!(seen(&Image::of(world)), seen(&self.ends.after), "{context}");
                undo(&world.store, &world.home).unwrap_or_else(|e| panic!("{context}: {e}"));
                assert_eq!(
                    seen(&Image::of(world)),
                    seen(&self.ends.before),
                    "{context}"
                );
            }
            What::Move(request) => {
                let again = Rehoming {
                    id: [0x77; 16],
                    ..(**request).clone()
                };
                let moved = super::super::rehome(&world.store, &world.home, &again);
                let moved = moved.unwrap_or_else(|e| panic!("{context}: {e}"));
                assert_eq!(moved == Rehomed::There, happened, "{context}");
                assert_eq!(seen(&Image::of(world)), seen(&self.ends.after), "{context}");
                undo(&world.store, &world.home).unwrap_or_else(|e| panic!("{context}: {e}"));
                assert_eq!(
                    seen(&Image::of(world)),
                    seen(&self.ends.before),
                    "{context}"
                );
            }
            What::Undo if !happened => {
                undo(&world.store, &world.home).unwrap_or_else(|e| panic!("{context}: {e}"));
                assert_eq!(seen(&Image::of(world)), seen(&self.ends.after), "{context}");
            }
            What::Undo => {}
        }
    }
}

fn full_form() -> Option<u64> {
    std::env::var("CCPEER_CRASH_IMAGES").ok()?.parse().ok()
}

#[test]
fn k_s02_k_s03_every_image_of_a_crash_recovers() {
    let randoms = full_form();
    let mut total = [0u64; 2];
    let mut distinct = 0;
    for s in scenarios() {
        let (ends, steps) = Ends::of(&s);
        let mut hunt = Hunt {
            s: &s,
            ends: &ends,
            seen: BTreeSet::new(),
            losses: Loss::FIXED
                .into_iter()
                .chain((0..randoms.unwrap_or(1)).map(Loss::Some))
                .collect(),
            depth_two_each: if randoms.is_some() { 1 } else { 8 },
            count: Default::default(),
        };
        hunt.images(&ends.before, &steps, 0);
        let mut kinds: BTreeMap<&str, u32> = BTreeMap::new();
        steps
            .iter()
            .for_each(|t| *kinds.entry(t.kind()).or_default() += 1);
        println!("{}: {} steps {kinds:?}", s.name, steps.len());
        for (depth, count) in hunt.count.iter().enumerate() {
            println!(
                "  depth {}: {} images, {} distinct, {} of them with the session in place; {:?}",
                depth + 1,
                count.built,
                count.distinct,
                count.happened,
                count.by_loss
            );
            total[depth] += count.built;
            distinct += count.distinct;
        }
        assert!(hunt.count[0].happened > 0 && hunt.count[0].happened < hunt.count[0].distinct);
    }
    println!("{} + {} images, {distinct} distinct", total[0], total[1]);
    let want = match randoms {
        Some(4..) => 20_000,
        _ => 1_000,
    };
    assert!(total[0] + total[1] >= want, "{total:?}");
}

/// What a killed process leaves: every step that it took, and no other. Killed
/// again while it recovers.
#[test]
fn k_a05_three_hundred_kills_within_a_placement() {
    let mut kills = 0;
    for s in scenarios() {
        let (ends, steps) = Ends::of(&s);
        let mut hunt = Hunt {
            s: &s,
            ends: &ends,
            seen: BTreeSet::new(),
            losses: vec![Loss::All],
            depth_two_each: if full_form().is_some() { 1 } else { 4 },
            count: Default::default(),
        };
        hunt.images(&ends.before, &steps, 0);
        kills += hunt.count[0].built + hunt.count[1].built;
    }
    println!("{kills} kills");
    assert!(kills >= 300, "{kills}");
}

#[test]
fn k_s06_every_step_may_fail() {
    let failures = [
        Failure::Io,
        Failure::Full,
        Failure::Interrupted,
        Failure::Short,
    ];
    let mut tried: BTreeMap<(&str, String), u32> = BTreeMap::new();
    let every = if full_form().is_some() { 1 } else { 2 };
    for s in scenarios() {
        let (ends, steps) = Ends::of(&s);
        let mut turn = 0;
        for (at, step) in steps.iter().enumerate() {
            for how in failures {
                if how == Failure::Short && step.kind() != "write" {
                    continue;
                }
                turn += 1;
                if turn % every != 0 {
                    continue;
                }
                let context = format!("{}, step {at} ({}), {how:?}", s.name, step.kind());
                ends.before.put(s.world());
                let recorder = Recorder::failing(s.far, at, how);
                let result = s.run(Disk::watched(&recorder));
                ends.check_always(s.world(), &Image::of(s.world()), &context);
                if let Err(e) = &result {
                    assert!(!matches!(e, PlaceError::Stopped), "{context}");
                    assert!(!e.to_string().contains("turn 1"), "{context}: {e}");
                }
                *tried.entry((s.name, format!("{how:?}"))).or_default() += 1;
                s.recover(Disk::watched(&Recorder::default()))
                    .unwrap_or_else(|e| panic!("{context}: {e}"));
                let happened = ends.check_recovered(&s, &context);
                assert!(
                    result.is_err() || happened,
                    "{context}: it was said to be done"
                );
                if !happened {
                    // Space is back, and nobody started anything anew.
                    s.run(Disk::watched(&Recorder::default()))
                        .unwrap_or_else(|e| panic!("{context}: {e}"));
                    assert!(ends.check_recovered(&s, &context), "{context}");
                }
            }
        }
    }
    println!("{tried:#?}");
    println!("{} failures", tried.values().sum::<u32>());
}

/// A failure while recovering is tried again at the next start.
#[test]
fn k_s06_recovery_may_fail_too() {
    let every = if full_form().is_some() { 1 } else { 4 };
    let mut tried = 0;
    for s in scenarios() {
        let (ends, steps) = Ends::of(&s);
        for at in (0..steps.len()).step_by(every) {
            let image = crashed(&ends.before, &steps[..at], Loss::All);
            image.put(s.world());
            let recorder = Recorder::new(s.far);
            s.recover(Disk::watched(&recorder)).unwrap();
            let count = recorder.taken.into_inner().len();
            for fail in (0..count).step_by(every) {
                for how in [Failure::Io, Failure::Full, Failure::Interrupted] {
                    let context = format!("{}, step {at}, recovery step {fail}, {how:?}", s.name);
                    image.put(s.world());
                    let recorder = Recorder::failing(s.far, fail, how);
                    let _failed = s.recover(Disk::watched(&recorder));
                    s.recover(Disk::watched(&Recorder::default()))
                        .unwrap_or_else(|e| panic!("{context}: {e}"));
                    ends.check_recovered(&s, &context);
                    tried += 1;
                }
            }
        }
    }
    println!("{tried} failures of recovery");
    assert!(tried > 100);
}
