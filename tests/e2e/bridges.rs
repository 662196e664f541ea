//! What the two programs before left behind, and what they find in a mirror: their
//! own layouts, made with git on the command line, and real agents.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::mirror::{ID, OTHER, add, at_work, files, git, remote, sound, text};
use super::seeds::{Clone, around, bundle, hand_off, inventory, packed, unpacked};
use super::world::{Device, World, arrives, continue_into, pair, until};

const THEIRS: &str = "0a0a0a0a-0000-4000-8000-00000000000a";
const SECOND: &str = "0b0b0b0b-0000-4000-8000-00000000000b";

fn import(device: &Device, from: &Path) -> Value {
    device.json(&["git", "import", text(from), "--json"])
}

fn counts(done: &Value) -> [u64; 4] {
    ["sessions", "tasks", "known", "failed"].map(|key| done[key].as_u64().unwrap())
}

fn prompts(n: usize) -> Vec<String> {
    (0..n).map(|n| format!("prompt {n}")).collect()
}

/// A file as it stands at the remote's tip.
fn at_tip(remote: &Path, path: &str) -> Vec<u8> {
    let out = std::process::Command::new("git")
        .args(["-C", text(remote), "cat-file", "blob"])
        .arg(format!("HEAD:{path}"))
        .output()
        .unwrap();
    assert!(out.status.success(), "{path} is not there");
    out.stdout
}

#[test]
fn hand_off_files_become_tasks_of_their_machines() {
    let world = World::new();
    let a = world.running("desk");
    let remote = remote(&a);
    let seed = Clone::new(&remote, "seed-a");
    let path = format!("tasks/old-box.lan-{THEIRS}.md");
    let write = |updated: &str, prompt: &str| {
        let file = hand_off("write the parser", "old-box.lan", updated, prompt);
        seed.publish(&path, Some(file.as_bytes()), "snapshot");
    };
    write("2026-11-28T10:00:00Z", "Go on with the tests.");
    // One that says nothing but what its name does, and a file that is none.
    let bare = format!("tasks/win-pc-{SECOND}.md");
    let body = b"# fix it\n\n## Handoff Prompt\n\nFix the build.\n";
    seed.publish(&bare, Some(body), "snapshot");
    seed.publish("tasks/README.md", Some(b"# how to\n"), "words");
    seed.publish("tasks/bin.md", Some(&[0xff, 0, 1, 2]), "noise");

    let done = import(&a, &remote);
    assert_eq!(counts(&done), [0, 2, 0, 2], "{done}");
    let rows = a.rows(THEIRS);
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(rows[0]["hostname"], "old-box.lan");
    assert_eq!(rows[0]["document_only"], true);
    assert_eq!(rows[0]["title"], "write the parser");
    assert_eq!(rows[0]["updated"], "2026-11-28T10:00:00.000Z");
    assert_eq!(a.rows(SECOND)[0]["hostname"], "win-pc");
    let open = a.json(&["tasks", "--json"]);
    assert_eq!(open.as_array().unwrap().len(), 2, "both are unfinished");
    let list = a.ok(&["tasks"]);
    assert!(list.contains("old-box.lan"), "{list}");

    // It has a prompt and no session behind it.
    let refused = a.run(&["continue", THEIRS, "--no-exec"]);
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("--handoff"), "{}", refused.stderr);
    assert_eq!(
        a.rows(THEIRS)[0]["state"],
        "interrupted",
        "it is still open"
    );
    let begun = a.json(&["continue", THEIRS, "--handoff", "--no-exec", "--json"]);
    assert_eq!(begun["command"][1], "Go on with the tests.");
    let shown = a.ok(&["show", THEIRS]);
    assert!(shown.contains("old-box.lan, taken over by desk"), "{shown}");

    // Again it is nothing new; what was written since takes its place, and what was
    // done here stays done.
    assert_eq!(counts(&import(&a, &remote)), [0, 0, 2, 2]);
    a.ok(&["done", SECOND]);
    write("2026-11-29T10:00:00Z", "Release it.");
    assert_eq!(counts(&import(&a, &remote)), [0, 1, 1, 2]);
    let rows = a.rows(THEIRS);
    assert_eq!((rows.len(), &rows[0]["heads"]), (1, &Value::from(1)));
    assert_eq!(a.rows(SECOND)[0]["state"], "done");
    // Whoever is paired sees whose it is, too.
    let b = world.running("laptop");
    pair(&a, &b);
    until("the other one hears of it", || !b.rows(THEIRS).is_empty());
    until("and what it says", || {
        b.rows(THEIRS)[0]["hostname"] == "old-box.lan"
    });
}

#[test]
fn bundles_become_sessions_and_a_wedged_clone_loses_none() {
    let world = World::new();
    let a = world.running("desk");
    let remote = remote(&a);
    let seed = Clone::new(&remote, "seed-b");
    let place = |dir: &str, session: &str| format!("sessions/{dir}/{session}.bundle.gz");
    let path = place("app", THEIRS);
    seed.publish(&path, Some(&bundle(THEIRS, "app", &prompts(2))), "sync");
    let done = import(&a, &seed.dir);
    assert_eq!(counts(&done), [1, 0, 0, 0], "{done}");
    assert!(a.holds(THEIRS, 2));
    let dir = a.project("app");
    let placed = continue_into(&a, THEIRS, &dir);
    let there = fs::read_to_string(placed["path"].as_str().unwrap()).unwrap();
    assert!(
        there.contains(text(&dir)) && !there.contains("${"),
        "{there}"
    );

    // It grew, and lies in a second place with less in it.
    seed.publish(&path, Some(&bundle(THEIRS, "app", &prompts(4))), "sync");
    let copy = place("zz-copy", THEIRS);
    seed.publish(&copy, Some(&bundle(THEIRS, "app", &prompts(3))), "sync");
    let done = import(&a, &remote);
    assert_eq!(counts(&done), [1, 0, 0, 0], "{done}");
    assert!(a.holds(THEIRS, 4));
    assert_eq!(a.rows(THEIRS).len(), 1);
    assert_eq!(counts(&import(&a, &remote)), [0, 0, 1, 0]);

    // Two clones changed one bundle: the second is left in the middle of a rebase,
    // and what it had is in its branch alone.
    let stuck = Clone::new(&remote, "stuck");
    stuck.commit(&path, Some(&bundle(THEIRS, "app", &prompts(6))), "sync");
    let only = place("app", SECOND);
    stuck.commit(&only, Some(&bundle(SECOND, "app", &prompts(1))), "sync");
    seed.publish(&path, Some(&bundle(THEIRS, "app", &prompts(5))), "sync");
    let pull = ["pull", "-q", "--rebase", "origin", "main"];
    let pulled = std::process::Command::new("git")
        .arg("-C")
        .arg(&stuck.dir)
        .args(["-c", "user.name=t", "-c", "user.email=t@example.org"])
        .args(pull)
        .output()
        .unwrap();
    assert!(!pulled.status.success(), "it conflicts");
    let done = import(&a, &stuck.dir);
    assert_eq!(done["failed"], 0, "{done}");
    assert!(a.holds(SECOND, 1), "{done}");
    assert!(a.holds(THEIRS, 6), "the longest of all is here");
}

#[test]
fn settings_of_the_extension_are_taken_over_with_its_clone() {
    let world = World::new();
    let a = world.running("desk");
    let remote = remote(&a);
    let seed = Clone::new(&remote, "seed-b");
    let path = format!("sessions/app/{THEIRS}.bundle.gz");
    seed.publish(&path, Some(&bundle(THEIRS, "app", &prompts(2))), "sync");
    let app = a.home().join(".claude-sync-sessions");
    fs::create_dir(&app).unwrap();
    fs::rename(&seed.dir, app.join("repo")).unwrap();
    let root = a.project("code");
    let config = serde_json::json!({
        "deviceName": "old-name", "projectsRoot": root, "backend": "git",
        "gitRepoUrl": "https://ann:hunter2@git.example.org/s.git", "serverUrl": "",
        "serverToken": "a-token-that-is-secret",
    });
    fs::write(app.join("config.json"), config.to_string()).unwrap();
    let before = inventory(&app);
    for from in [app.clone(), app.join("config.json")] {
        let done = import(&a, &from);
        let told = done["notes"].to_string();
        assert!(told.contains("ccpeer rename"), "{told}");
        assert!(told.contains("https://git.example.org/s.git"), "{told}");
        assert!(
            !told.contains("hunter2") && !told.contains("secret"),
            "{told}"
        );
    }
    assert!(a.holds(THEIRS, 2));
    let roots = a.json(&["projects", "root", "--json"])["roots"].to_string();
    assert!(roots.contains(text(&root)), "{roots}");
    assert_eq!(inventory(&app), before, "nothing of it is changed");
    let log = fs::read_dir(a.ccpeer_home()).unwrap().flatten();
    for file in log.filter(|e| e.path().is_file()) {
        let bytes = fs::read(file.path()).unwrap();
        let found = bytes.windows(7).any(|w| w == b"hunter2");
        assert!(!found, "{}", file.path().display());
    }
    // Another program's file of that name is none.
    let other = a.project("other");
    fs::write(other.join("config.json"), "{\"port\":80}").unwrap();
    let refused = a.run(&["git", "import", text(&other.join("config.json"))]);
    assert_eq!(refused.code, 1, "{}", refused.stderr);
}

/// The corpus: bundles and names that try to get out, each beside one that is fine.
fn hostile() -> Vec<(String, Vec<u8>)> {
    let mut out = Vec::new();
    let mut number = 0u64;
    let mut put = |dir: &str, make: &dyn Fn(&str) -> Vec<u8>| {
        number += 1;
        let session = format!("0c0c0c0c-0000-4000-8000-{number:012}");
        out.push((
            format!("sessions/{dir}/{session}.bundle.gz"),
            make(&session),
        ));
    };
    let document = |session: &str, key: &str, value: &str| {
        let mut parts = vec![
            format!("\"sessionId\":\"{session}\""),
            "\"project\":{\"name\":\"app\",\"originalPath\":\"/home/ann/app\"}".to_owned(),
            "\"messages\":[\"{\\\"type\\\":\\\"user\\\"}\"]".to_owned(),
            "\"meta\":{}".to_owned(),
        ];
        parts.retain(|p| !p.starts_with(&format!("\"{key}\"")));
        parts.push(format!("\"{key}\":{value}"));
        around(&format!("{{{}}}", parts.join(",")))
    };
    // I1: the id is a path.
    for id in [
        "../../../../escaped",
        "/tmp/escaped",
        "..\\\\..\\\\escaped",
        "${HOME}/escaped",
        "",
    ] {
        put("app", &|s| document(s, "sessionId", &format!("\"{id}\"")));
    }
    put("app", &|s| {
        document(s, "sessionId", &format!("\"{OTHER}\""))
    });
    // I2, I3: names of files are paths, or those of another session.
    for name in [
        "../../../../escaped",
        "/tmp/escaped",
        "agent-a/../../escaped.jsonl",
        "agent-../escaped.jsonl",
        "settings.json",
        "CLAUDE.md",
        "..\\\\escaped",
        "agent-a.jsonl\\u0000",
    ]
    .into_iter()
    .chain([
        &*format!("{OTHER}.jsonl"),
        &*format!("{OTHER}/subagents/agent-x.jsonl"),
    ]) {
        put("app", &|s| {
            document(s, "agents", &format!("{{\"{name}\":\"x\"}}"))
        });
        put("app", &|s| {
            document(
                s,
                "todos",
                &format!("[{{\"filename\":\"{name}\",\"content\":\"x\"}}]"),
            )
        });
        put("app", &|s| {
            document(s, "fileHistory", &format!("{{\"{name}\":\"eA==\"}}"))
        });
    }
    // Places that lead elsewhere.
    for path in [
        "../../escaped",
        "/etc",
        "${HOME}/../escaped",
        "C:\\\\escaped",
    ] {
        let project = format!(
            "{{\"name\":\"{path}\",\"relativeToRoot\":\"{path}\",\"originalPath\":\"{path}\"}}"
        );
        put("app", &|s| document(s, "project", &project));
    }
    // No bundles at all, and floods.
    put("app", &|_| b"no gzip".to_vec());
    put("app", &|_| Vec::new());
    put("app", &|_| packed("{}"));
    put("app", &|s| bundle(s, "app", &prompts(2))[..100].to_vec());
    let many: Vec<String> = (0..100_000)
        .map(|n| format!("\"agent-{n}.jsonl\":\"\""))
        .collect();
    put("app", &|s| {
        document(s, "agents", &format!("{{{}}}", many.join(",")))
    });
    let deep = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
    put("app", &|s| document(s, "extra", &deep));
    put("-app", &|s| bundle(s, "--upload-pack=x", &prompts(1)));
    out
}

#[test]
fn k_a01_the_corpus_of_hostile_bundles_writes_nothing_outside() {
    let world = World::new();
    let a = world.running("desk");
    let remote = remote(&a);
    let seed = Clone::new(&remote, "seed");
    let mut all = hostile();
    for (name, content) in [
        ("tasks/a\nb.md", "x"),
        (
            "tasks/-rf.md",
            "---\nsession: ../../escaped\n---\n## Handoff prompt\nx\n",
        ),
        ("sessions/app/escaped.bundle.gz", "x"),
        ("sessions/escaped.bundle.gz", "x"),
    ] {
        all.push((name.to_owned(), content.as_bytes().to_vec()));
    }
    for (path, content) in &all {
        let file = seed.dir.join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, content).unwrap();
    }
    // A link out, and the one that is fine, last of all.
    let link = seed
        .dir
        .join("sessions/app/0e0e0e0e-0000-4000-8000-000000000001.bundle.gz");
    std::os::unix::fs::symlink("/etc/passwd", link).unwrap();
    let fine = format!("sessions/zz/{THEIRS}.bundle.gz");
    fs::create_dir_all(seed.dir.join("sessions/zz")).unwrap();
    fs::write(seed.dir.join(&fine), bundle(THEIRS, "app", &prompts(2))).unwrap();
    git(&seed.dir, &["add", "-A"]);
    git(&seed.dir, &["commit", "-qm", "all"]);
    git(&seed.dir, &["push", "-q", "origin", "HEAD:main"]);

    // Everything of this world, but what ccpeer keeps for itself.
    let outside = || -> Vec<String> {
        let mut found = inventory(a.root.parent().unwrap());
        found.retain(|f| !f.starts_with(text(&a.ccpeer_home())));
        found
    };
    let before = outside();
    let done = import(&a, &remote);
    assert_eq!(
        outside(),
        before,
        "nothing lies anywhere that was not there"
    );
    assert!(
        a.holds(THEIRS, 2),
        "the others are taken all the same: {done}"
    );
    assert!(done["failed"].as_u64().unwrap() >= 12, "{done}");
    assert!(!a.ccpeer_home().join("imports").exists(), "nothing is left");
    assert!(
        a.rows(OTHER).is_empty(),
        "nobody speaks for another session"
    );
    let again = import(&a, &remote);
    assert_eq!(
        (&again["sessions"], &again["tasks"]),
        (&0.into(), &0.into()),
        "{again}"
    );
    // What came of them is placed like any other, and stays where it is to be.
    let dir = a.project("app");
    for row in a.tasks() {
        let id = row["session_id"].as_str().unwrap();
        let _refused_or_placed =
            a.run(&["continue", id, "--no-exec", "--into", text(&dir), "--json"]);
    }
    let claude = a.claude();
    let new: Vec<String> = outside()
        .into_iter()
        .filter(|f| !before.contains(f) && !f.starts_with(text(&claude)))
        .filter(|f| !f.starts_with(text(&dir)))
        .collect();
    assert_eq!(new, Vec::<String>::new());
    let escaped = inventory(a.root.parent().unwrap())
        .into_iter()
        .find(|f| f.contains("escaped") && !f.contains("/seed/"));
    assert_eq!(escaped, None);
}

#[test]
fn a_plain_mirror_has_the_files_that_both_programs_look_for() {
    let world = World::new();
    let a = world.running("desk");
    let mut session = at_work(&a, ID);
    let remote = remote(&a);
    add(&a, &remote, "--plain");
    let task = format!("tasks/desk-{ID}.md");
    let place = format!("sessions/proj/{ID}.bundle.gz");
    let hand_off = String::from_utf8(at_tip(&remote, &task)).unwrap();
    for part in [
        "\nupdated: 20",
        "\n## Handoff prompt\n",
        "\nmachine: desk\n",
    ] {
        assert!(hand_off.contains(part), "{hand_off}");
    }
    let document: Value = serde_json::from_str(&unpacked(&at_tip(&remote, &place))).unwrap();
    assert_eq!(document["version"], "1");
    assert_eq!(document["session"]["sessionId"], ID);
    let lines = document["session"]["messages"].as_array().unwrap();
    assert_eq!(lines.len() as u64, session.records());
    let subjects = git(&remote, &["log", "--format=%s"]);
    assert!(
        subjects.contains("sync: 5f0d7a52 | proj | write"),
        "{subjects}"
    );

    // Each on its clock: what is new is in our form at once, and there later.
    let (first, bundle) = (at_tip(&remote, &task), at_tip(&remote, &place));
    a.turn(&mut session, "and its tests");
    until("it is mirrored", || {
        a.json(&["git", "sync", "--json"])[0]["commits"] != 0
    });
    assert_eq!(at_tip(&remote, &task), first);
    assert_eq!(at_tip(&remote, &place), bundle);
    a.ok(&["git", "sync", "--force"]);
    let now = String::from_utf8(at_tip(&remote, &task)).unwrap();
    assert!(now.contains("and its tests"), "{now}");
    assert!(unpacked(&at_tip(&remote, &place)).contains("and its tests"));
    let rows = a.json(&["git", "sync", "--force", "--json"]);
    assert_eq!(rows[0]["commits"], 0, "nothing is new: {rows}");
    // Also where what is remembered of it is gone.
    let mirrors = fs::read_dir(a.ccpeer_home().join("mirrors")).unwrap();
    for mirror in mirrors.flatten() {
        fs::remove_file(mirror.path().join("state.json")).unwrap();
    }
    let rows = a.json(&["git", "sync", "--force", "--json"]);
    assert_eq!(rows[0]["commits"], 0, "nothing is new: {rows}");

    // Another name, and the end of the task.
    a.ok(&["rename", "tower"]);
    a.turn(&mut session, "under another name");
    until("it is captured", || a.holds(ID, session.records()));
    a.ok(&["git", "sync", "--force"]);
    let found = files(&remote);
    assert!(!found.contains(&task), "{found:?}");
    assert!(found.contains(&format!("tasks/tower-{ID}.md")), "{found:?}");
    a.ok(&["done", ID]);
    a.ok(&["git", "sync"]);
    let found = files(&remote);
    assert!(!found.iter().any(|f| f.starts_with("tasks/")), "{found:?}");
    assert!(found.contains(&place), "{found:?}");
    sound(&remote);
    // A mirror of it that is encrypted has none of it.
    let other = a.root.parent().unwrap().join("other.git");
    fs::create_dir(&other).unwrap();
    git(&other, &["init", "-q", "--bare"]);
    add(&a, &other, "--encrypted");
    let found = files(&other);
    assert!(found.iter().all(|f| f.starts_with(".ccpeer/")), "{found:?}");
}

#[test]
fn what_somebody_else_wrote_in_their_layouts_stays() {
    let world = World::new();
    let a = world.running("desk");
    let mut session = at_work(&a, ID);
    let remote = remote(&a);
    let seed = Clone::new(&remote, "seed");
    let task = format!("tasks/desk-{ID}.md");
    let place = format!("sessions/elsewhere/{ID}.bundle.gz");
    let file = hand_off("mine", "desk", "2026-11-28T10:00:00Z", "x").into_bytes();
    let theirs = bundle(ID, "elsewhere", &prompts(1));
    seed.publish(&task, Some(&file), "snapshot");
    seed.publish(&place, Some(&theirs), "sync");
    add(&a, &remote, "--plain");
    let mut second = a.session(OTHER, &a.project("work/proj"));
    a.turn(&mut second, "write the list");
    a.turn(&mut session, "and its tests");
    until("it is captured", || a.holds(ID, session.records()));
    for _ in 0..2 {
        a.ok(&["git", "sync", "--force"]);
    }
    let found = files(&remote);
    assert_eq!(at_tip(&remote, &task), file);
    assert_eq!(at_tip(&remote, &place), theirs);
    assert!(
        !found.contains(&format!("sessions/proj/{ID}.bundle.gz")),
        "{found:?}"
    );
    // The other one's files are ours, until the extension writes there.
    let ours = format!("sessions/proj/{OTHER}.bundle.gz");
    assert!(found.contains(&ours), "{found:?}");
    let theirs = bundle(OTHER, "proj", &prompts(3));
    seed.publish(&ours, Some(&theirs), "sync");
    a.turn(&mut second, "and sort it");
    until("it is captured", || a.holds(OTHER, second.records()));
    a.ok(&["git", "sync", "--force"]);
    assert_eq!(at_tip(&remote, &ours), theirs);
    // What somebody took away does not come back by itself.
    let gone = format!("tasks/desk-{OTHER}.md");
    seed.publish(&gone, None, "cleanup");
    a.ok(&["git", "sync", "--force"]);
    assert!(!files(&remote).contains(&gone));
    a.turn(&mut second, "but there is more to do");
    until("it is captured", || a.holds(OTHER, second.records()));
    a.ok(&["git", "sync", "--force"]);
    assert!(files(&remote).contains(&gone));
    // Finished is finished, also where the list of others is concerned.
    a.ok(&["done", ID]);
    a.ok(&["git", "sync", "--force"]);
    assert_eq!(at_tip(&remote, &task), file);
    sound(&remote);
}

#[test]
fn a_session_that_goes_on_elsewhere_takes_its_files_along() {
    let world = World::new();
    let (a, b) = (world.running("desk"), world.running("laptop"));
    pair(&a, &b);
    let session = at_work(&a, ID);
    let remote = remote(&a);
    arrives(&b, ID, &session);
    add(&a, &remote, "--plain");
    add(&b, &remote, "--plain");
    let of = |host: &str| format!("tasks/{host}-{ID}.md");
    assert!(!files(&remote).contains(&of("laptop")), "it is not its own");
    let dir: PathBuf = b.project("work/proj");
    let placed = continue_into(&b, ID, &dir);
    let mut there = session.at(Path::new(placed["path"].as_str().unwrap()), &dir);
    b.turn(&mut there, "on the road");
    until("it is captured", || b.holds(ID, there.records()));
    b.ok(&["git", "sync", "--force"]);
    arrives(&a, ID, &there);
    a.ok(&["git", "sync", "--force"]);
    let found = files(&remote);
    assert!(
        found.contains(&of("laptop")) && !found.contains(&of("desk")),
        "{found:?}"
    );
    let place = format!("sessions/proj/{ID}.bundle.gz");
    assert!(unpacked(&at_tip(&remote, &place)).contains("on the road"));
    // And back again, with nobody writing over the other in between.
    let before = at_tip(&remote, &place);
    a.ok(&["git", "sync", "--force"]);
    b.ok(&["git", "sync", "--force"]);
    assert_eq!(at_tip(&remote, &place), before);
    sound(&remote);
}
