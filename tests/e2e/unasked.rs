//! Sessions that are placed without being asked for: two devices with one
//! project, and what must never happen by itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::claude::Claude;
use super::world::{DEADLINE, Device, Session, World, arrives, continue_into, pair, until, within};

const ID: &str = "6a0d7a52-6f0e-4d8e-9a41-0c6a8f6f1d41";
const OTHER: &str = "6a0d7a52-6f0e-4d8e-9a41-0c6a8f6f1d42";
/// From the end of a turn there to the file here.
const SOON: Duration = Duration::from_secs(5);

/// A checkout of the one project of these tests.
fn checkout(device: &Device, below: &str) -> PathBuf {
    let dir = device.project(below);
    let git = |args: &[&str]| {
        let ran = std::process::Command::new("git")
            .args(args)
            .current_dir(&dir)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("HOME", device.home())
            // The same first commit in each.
            .envs(["AUTHOR", "COMMITTER"].iter().flat_map(|who| {
                [
                    (format!("GIT_{who}_NAME"), "ann"),
                    (format!("GIT_{who}_EMAIL"), "ann@example.org"),
                    (format!("GIT_{who}_DATE"), "2026-01-01T00:00:00Z"),
                ]
            }))
            .output()
            .unwrap();
        assert!(ran.status.success(), "{args:?}: {ran:?}");
    };
    git(&["init", "-q", "-b", "main"]);
    git(&["commit", "-q", "--allow-empty", "-m", "first"]);
    git(&[
        "remote",
        "add",
        "origin",
        "https://git.example/ann/proj.git",
    ]);
    dir
}

/// Two paired devices with a checkout each; the second one has worked in its own
/// and wants what the first one writes.
fn scene(world: &World) -> (Device, Device, PathBuf, PathBuf) {
    let (a, b) = (world.running("desk"), world.running("laptop"));
    let (there, here) = (checkout(&a, "work/proj"), checkout(&b, "src/p2"));
    let mut own = b.session(OTHER, &here);
    b.turn(&mut own, "something of my own");
    until("the project is known", || {
        b.json(&["projects", "--json"]).as_array().unwrap().len() == 1
    });
    b.ok(&["policy", "place", "default", "auto"]);
    pair(&a, &b);
    (a, b, there, here)
}

/// Where a session of that id lies on a device, in this project.
fn file(device: &Device, session: &str, project: &Path) -> PathBuf {
    device.session(session, project).transcript
}

fn lines(path: &Path) -> u64 {
    fs::read(path).map_or(0, |b| b.iter().filter(|c| **c == b'\n').count() as u64)
}

/// Waits until as many lines lie here as there.
fn lies(b: &Device, there: &Session, here: &Path) {
    let path = file(b, &there.id, here);
    until("it lies there", || lines(&path) == there.records());
}

#[test]
fn a_session_that_ended_there_lies_here_at_once_and_grows() {
    let world = World::new();
    let (mut a, mut b, there, here) = scene(&world);
    let mut on_a = a.session(ID, &there);
    let claude = Claude::open(&a, &on_a);
    claude.answer(&a, &mut on_a, "write the parser");
    let ended = Instant::now();
    let path = file(&b, ID, &here);
    within("placed by itself", SOON, ended, || {
        lines(&path) == on_a.records()
    });
    let text = fs::read_to_string(&path).unwrap();
    assert!(!text.contains(there.to_str().unwrap()) && text.contains(here.to_str().unwrap()));
    let stamp = |p: &Path| fs::metadata(p).unwrap().modified().unwrap();
    let ms = |p: &Path| {
        let since = stamp(p).duration_since(std::time::UNIX_EPOCH).unwrap();
        since.as_millis()
    };
    assert_eq!(ms(&path), ms(&on_a.transcript), "its time is the one there");

    claude.answer(&a, &mut on_a, "test it");
    within("refreshed by itself", SOON, Instant::now(), || {
        lines(&path) == on_a.records()
    });
    // Nothing of it is stated here: neither a version nor where it stands.
    b.ok(&["push", "--all"]);
    b.ok(&["tasks", "--all"]);
    let why = b.json(&["why", ID, "--json"]);
    assert_eq!(why["versions"].as_array().unwrap().len(), 1, "{why}");
    assert_eq!(why["versions"][0]["device"]["name"], "desk", "{why}");
    let devices = why["presence"].as_array().unwrap();
    assert!(
        devices.iter().all(|p| p["device"]["name"] == "desk"),
        "{why}"
    );
    // Nor after a restart, which looks at everything.
    b.stop();
    b.start();
    super::world::connected(&a, &b);
    let mut other = b.session("6a0d7a52-6f0e-4d8e-9a41-0c6a8f6f1d43", &here);
    b.turn(&mut other, "something after it");
    arrives(&a, &other.id, &other);
    let why = a.json(&["why", ID, "--json"]);
    assert_eq!(why["presence"].as_array().unwrap().len(), 1, "{why}");
    // What grew while the agent was away is made up for.
    b.stop();
    claude.answer(&a, &mut on_a, "once more");
    a.ok(&["push", ID]);
    b.start();
    lies(&b, &on_a, &here);
    // One that is gone on with here is its own from then on.
    let mut on_b = on_a.at(&path, &here);
    b.turn(&mut on_b, "and now here");
    arrives(&a, ID, &on_b);
    assert_eq!(a.rows(ID).len(), 1, "no fork");
    a.stop();
}

#[test]
fn what_the_user_took_away_stays_away() {
    let world = World::new();
    let (a, b, there, here) = scene(&world);
    let ids: Vec<String> = (1..=4)
        .map(|n| format!("6a0d7a52-6f0e-4d8e-9a41-0c6a8f6f1e4{n}"))
        .collect();
    let mut sessions: Vec<Session> = ids.iter().map(|id| a.session(id, &there)).collect();
    for session in &mut sessions {
        a.turn(session, "one");
    }
    for session in &sessions {
        lies(&b, session, &here);
    }
    // Taken back, deleted, marked as done, gone on with.
    let out = b.json(&["undo", &ids[0], "--json"]);
    assert_eq!(out["session_id"], ids[0].as_str(), "{out}");
    let gone = |n: usize| !file(&b, &ids[n], &here).exists();
    assert!(gone(0));
    fs::remove_file(file(&b, &ids[1], &here)).unwrap();
    b.ok(&["done", &ids[2]]);
    let mut mine = sessions[3].at(&file(&b, &ids[3], &here), &here);
    mine.append("a word of my own");
    let mine_now = mine.bytes();
    for session in &mut sessions {
        a.turn(session, "two");
    }
    // One more, that is placed after all of these were looked at.
    let mut last = a.session(ID, &there);
    a.turn(&mut last, "last");
    lies(&b, &last, &here);
    for session in &sessions {
        arrives(&b, &session.id, session);
    }
    assert!(gone(0) && gone(1), "nobody fights the user");
    assert_eq!(mine.bytes(), mine_now);
    let here_now = |n: usize| b.json(&["why", &ids[n], "--json"])["lines"].to_string();
    assert!(here_now(0).contains("was taken back"), "{}", here_now(0));
    assert!(here_now(1).contains("was deleted"), "{}", here_now(1));
    // A later turn there takes back that it was done; else it would have stayed.
    lies(&b, &sessions[2], &here);
    // All at once, and nothing of the user's with it.
    let out = b.run(&["undo", "--auto"]);
    assert_eq!(out.code, 0, "{}", out.stderr);
    assert!(gone(2) && !file(&b, ID, &here).exists());
    assert_eq!(mine.bytes(), mine_now);
    let left = b.run(&["undo"]);
    assert_eq!(left.code, 1, "nothing that the user had asked for");
    assert!(left.stderr.contains("undo --auto"), "{}", left.stderr);
    assert!(file(&b, OTHER, &here).exists());
}

#[test]
fn only_where_it_is_wanted_and_the_place_is_known() {
    let world = World::new();
    let (mut a, b, there, here) = scene(&world);
    let plain = a.project("work/notes");
    b.project("work/notes");
    let mut doubtful = a.session(OTHER.replace("42", "52").as_str(), &plain);
    a.turn(&mut doubtful, "no repository");
    b.ok(&["policy", "place", here.to_str().unwrap(), "never"]);
    let mut on_a = a.session(ID, &there);
    let claude = Claude::open(&a, &on_a);
    claude.answer(&a, &mut on_a, "one");
    arrives(&b, ID, &on_a);
    arrives(&b, &doubtful.id, &doubtful);
    let because = |session: &str, word: &str| {
        let start = Instant::now();
        loop {
            let said = b.json(&["why", session, "--json"])["lines"].to_string();
            if said.contains(word) && said.contains("not placed here by itself") {
                return;
            }
            assert!(start.elapsed() < DEADLINE, "not {word:?}: {said}");
        }
    };
    because(ID, "switched off for its project");
    because(&doubtful.id, "not beyond doubt");
    let policy = b.json(&["policy", "--json"]);
    assert_eq!(policy["place_default"], "auto", "{policy}");
    assert_eq!(policy["place_projects"][0]["how"], "never", "{policy}");
    assert!(b.ok(&["policy"]).contains("when you ask"));
    b.ok(&["policy", "place", "p2", "ask"]);
    lies(&b, &on_a, &here);

    b.ok(&["policy", "place-from", "desk", "never"]);
    claude.answer(&a, &mut on_a, "two");
    arrives(&b, ID, &on_a);
    because(ID, "switched off for the device");
    b.ok(&["policy", "place-from", "desk", "auto"]);
    lies(&b, &on_a, &here);

    // In a turn there: what was said before it waits for its end.
    claude.prompt(&a, &on_a);
    until("a turn is under way", || b.rows(ID)[0]["state"] == "live");
    on_a.append("in the middle");
    a.ok(&["push", ID]);
    arrives(&b, ID, &on_a);
    because(ID, "in a turn");
    assert_ne!(lines(&file(&b, ID, &here)), on_a.records());
    claude.hook(&a, &on_a, "Stop");
    lies(&b, &on_a, &here);

    // Open here: it is left alone, and made up for afterwards.
    let on_b = on_a.at(&file(&b, ID, &here), &here);
    let mut opened = Claude::open(&b, &on_b);
    claude.answer(&a, &mut on_a, "three");
    arrives(&b, ID, &on_a);
    because(ID, "open here");
    assert_eq!(on_b.bytes(), fs::read(&on_b.transcript).unwrap());
    opened.hook(&b, &on_b, "SessionEnd");
    opened.kill();
    lies(&b, &on_a, &here);

    // What the user asks for is his, and all of it goes when it is taken back.
    b.ok(&["undo", ID]);
    let placed = continue_into(&b, ID, &here);
    assert_eq!(placed["placed"], "new", "{placed}");
    claude.answer(&a, &mut on_a, "four");
    lies(&b, &on_a, &here);
    b.ok(&["undo"]);
    assert!(!file(&b, ID, &here).exists());
    b.ok(&["policy", "place", "default", "never"]);
    because(&doubtful.id, "not beyond doubt");
    a.stop();
}

/// Where the user says that it is to lie, it lies, and nowhere else.
#[test]
fn what_was_placed_by_itself_makes_way_for_the_users_word() {
    let world = World::new();
    let (a, b, there, here) = scene(&world);
    let mut on_a = a.session(ID, &there);
    a.turn(&mut on_a, "one");
    lies(&b, &on_a, &here);
    let elsewhere = b.project("elsewhere");
    let placed = continue_into(&b, ID, &elsewhere);
    assert_eq!(placed["placed"], "new", "{placed}");
    assert!(!file(&b, ID, &here).exists());
    let at = file(&b, ID, &elsewhere);
    assert_eq!(lines(&at), on_a.records());
    // It is refreshed there, too.
    a.turn(&mut on_a, "two");
    lies(&b, &on_a, &elsewhere);
    assert!(!file(&b, ID, &here).exists());
}

/// A checkout that nobody knew of: a session that begins in it makes it known, and
/// what others wrote about it lies there before its picker is opened.
#[test]
fn a_new_checkout_is_filled_when_the_first_session_begins_in_it() {
    let world = World::new();
    let (a, b) = (world.running("desk"), world.running("laptop"));
    b.ok(&["policy", "place", "default", "auto"]);
    pair(&a, &b);
    let there = checkout(&a, "work/proj");
    let mut on_a = a.session(ID, &there);
    a.turn(&mut on_a, "write the parser");
    arrives(&b, ID, &on_a);
    let here = checkout(&b, "src/p2");
    let begun = b.session(OTHER, &here);
    let start = Instant::now();
    let _claude = Claude::open(&b, &begun);
    let path = file(&b, ID, &here);
    within("placed at the start of a session", SOON, start, || {
        lines(&path) == on_a.records()
    });
}
