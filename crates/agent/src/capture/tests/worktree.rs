//! What a version says of the work tree, and when git is asked.

use super::*;
use crate::git::tests::git;
use ccpeer_formats::claude::slug::System;

/// A session in a repository with one commit, captured once; none without git.
fn begun() -> Option<(World, SessionId, PathBuf, PathBuf)> {
    let world = World::new("ann");
    let session: SessionId = FULL.parse().unwrap();
    let dir = fs::canonicalize(world.claude()).unwrap().join("../work");
    fs::create_dir_all(&dir).unwrap();
    let dir = fs::canonicalize(dir).unwrap();
    if !git(&dir, &["init", "-q"]) {
        return None;
    }
    commit(&dir, "one");
    let slug = System::HERE.project_slug(dir.to_str().unwrap());
    let main = world.transcript(&slug, &session);
    fs::create_dir_all(main.parent().unwrap()).unwrap();
    say(&main, &dir, 1);
    Some((world, session, dir, main))
}

fn commit(dir: &Path, text: &str) {
    fs::write(dir.join("f"), text).unwrap();
    assert!(git(dir, &["add", "."]) && git(dir, &["commit", "-qm", text]));
}

fn say(main: &Path, dir: &Path, n: u32) {
    let line = String::from_utf8(turn(n)).unwrap();
    let line = line.replace("/home/ann/fx/full/work/proj", dir.to_str().unwrap());
    let mut file = fs::File::options()
        .append(true)
        .create(true)
        .open(main)
        .unwrap();
    file.write_all(line.as_bytes()).unwrap();
}

/// A capture at the end of a turn, or later; what its document names as changed.
fn captured(
    (world, recent): (&World, &Recent),
    session: SessionId,
    at_stop: bool,
) -> Option<(bool, String)> {
    let request = CaptureRequest {
        changed: at_stop,
        ..request(session)
    };
    match capture(&world.store, &world.home, recent, &request).unwrap() {
        Captured::New(new) => {
            new.keep(&world.store, EntryHash([1; 32])).unwrap();
            let chunk = world.store.get_chunk(&new.snapshot.id).unwrap().unwrap();
            Some((
                new.restated,
                Snapshot::from_bytes(&chunk).unwrap().sections.files,
            ))
        }
        _ => None,
    }
}

#[test]
fn the_end_of_a_turn_does_not_wait_for_git_and_what_it_says_follows() {
    let Some((world, session, dir, main)) = begun() else {
        return;
    };
    let recent = Recent::default();
    let at = (&world, &recent);
    // Nothing is known yet: it is asked.
    assert!(captured(at, session, true).is_some_and(|(_, files)| !files.contains("new.txt")));
    fs::write(dir.join("new.txt"), "").unwrap();
    say(&main, &dir, 2);
    let (restated, files) = captured(at, session, true).unwrap();
    assert!(!restated && !files.contains("new.txt"), "{files}");
    // When there is time.
    let (restated, files) = captured(at, session, false).unwrap();
    assert!(restated && files.contains("new.txt"), "{files}");
    assert_eq!(captured(at, session, false), None, "once");
    // The next turn says it at once; nothing follows.
    say(&main, &dir, 3);
    let (_, files) = captured(at, session, true).unwrap();
    assert!(files.contains("new.txt"), "{files}");
    assert_eq!(captured(at, session, false), None);
    // A later look that finds more of the transcript asks, too.
    fs::write(dir.join("second.txt"), "").unwrap();
    say(&main, &dir, 4);
    assert!(captured(at, session, true).is_some_and(|(_, files)| !files.contains("second")));
    say(&main, &dir, 5);
    let (restated, files) = captured(at, session, false).unwrap();
    assert!(!restated && files.contains("second.txt"), "{files}");
    assert_eq!(captured(at, session, false), None);
    // A commit shows by itself.
    commit(&dir, "two");
    say(&main, &dir, 6);
    let (_, files) = captured(at, session, true).unwrap();
    assert!(!files.contains("second.txt"), "{files}");
    assert_eq!(captured(at, session, false), None);
}
