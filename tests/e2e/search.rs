//! Searching: a session of one machine is found on another, and whatever becomes of
//! the index, it is found again.

use std::fs;

use serde_json::Value;

use super::story::begun;
use super::world::{Device, World, arrives, until};

const ID: &str = "aa21a64c-b7a7-41b7-a51f-ceeccfa4623b";

/// The hits; none where nothing was found.
fn hits(device: &Device, args: &[&str]) -> Vec<Value> {
    let ran = device.run(&[&["search", "--json"], args].concat());
    let found: Value = serde_json::from_str(&ran.stdout)
        .unwrap_or_else(|e| panic!("search {args:?}: {e}: {}{}", ran.stdout, ran.stderr));
    let found = found.as_array().unwrap().clone();
    assert_eq!(ran.code, i32::from(found.is_empty()), "{}", ran.stderr);
    found
}

fn finds(device: &Device, args: &[&str]) -> bool {
    hits(device, args).iter().any(|hit| hit["session_id"] == ID)
}

#[test]
fn a_session_of_one_machine_is_found_on_the_other() {
    let (_world, a, b, mut on_a) = begun(ID);
    a.turn(&mut on_a, "修复解析器里的错误");
    arrives(&b, ID, &on_a);
    until("the words are found", || finds(&b, &["write parser"]));
    let check = |args: &[&str], found: bool| assert_eq!(finds(&b, args), found, "{args:?}");
    check(&["解析器"], true);
    check(&["错误", "pars"], true);
    check(&["\"write the parser\""], true);
    check(&["\"parser the write\""], false);
    check(&["parser", "--project", "proj"], true);
    check(&["parser", "--project", "other"], false);
    check(&["parser", "--device", "desk"], true);
    check(&["parser", "--device", "laptop"], false);
    check(&["parser", "--file", "src/main.rs"], true);
    check(&["--file", "main.rs"], true);
    check(&["parser", "--file", "lib.rs"], false);
    // Its turns are of that day.
    check(
        &["parser", "--since", "2026-11-20", "--until", "2026-11-20"],
        true,
    );
    check(&["parser", "--since", "2026-11-21"], false);
    check(&["--", "+-*()", "parser"], true);

    let hit = &hits(&b, &["write the parser"])[0];
    assert_eq!(
        (hit["n"].as_u64(), hit["role"].as_str()),
        (Some(1), Some("user"))
    );
    assert_eq!(
        (hit["line"].as_u64(), hit["snippet"].as_str()),
        (Some(1), Some("write the parser"))
    );
    assert_eq!(
        (hit["hostname"].as_str(), hit["project"].as_str()),
        (Some("desk"), Some("proj"))
    );
    assert_eq!(hit["device"]["name"], "desk");
    // The numbers mean what was found.
    assert_eq!(b.json(&["show", "1", "--json"])["session_id"], ID);

    let shown = b.ok(&["search", "parser"]);
    assert!(shown.starts_with("<<<data:") && shown.contains("line 1, user: write the parser"));
    let nothing = b.run(&["search", "nowheretobefound"]);
    assert_eq!((nothing.code, nothing.stdout.as_str()), (1, ""));
    assert!(nothing.stderr.contains("hint:"), "{}", nothing.stderr);
    for wrong in [
        &["search"][..],
        &["search", "+-*"],
        &["search", "x", "--since", "soon"],
    ] {
        assert_eq!(b.run(wrong).code, 2, "{wrong:?}");
    }
    let many = "word ".repeat(2000);
    assert_eq!(b.run(&["search", &many]).code, 1);
    assert_eq!(b.run(&["search", "x", "--device", "nobody"]).code, 1);
}

/// Sessions enough for indexing to take a moment.
fn many(device: &Device, count: usize) -> Vec<String> {
    let project = device.project("work/many");
    let text = "alpha beta gamma delta ".repeat(200);
    let ids = (0..count).map(|n| format!("{n:08x}-b7a7-41b7-a51f-ceeccfa4623b"));
    let ids: Vec<String> = ids.collect();
    for (id, n) in ids.iter().zip(0..) {
        let mut session = device.session(id, &project);
        for turn in 0..5 {
            session.append(&format!("{text} only{n} turn{turn}"));
        }
    }
    device.ok(&["push", "--all"]);
    ids
}

#[test]
fn a_kill_in_the_middle_of_indexing_loses_nothing() {
    let world = World::new();
    let mut a = world.running("desk");
    let ids = many(&a, 30);
    for _ in 0..4 {
        // The search has it begin; the kill comes whenever it does.
        let mut searching = a.command(&["search", "alpha"]).spawn().unwrap();
        until("indexing has begun", || {
            a.ccpeer_home().join("search").exists()
        });
        a.kill();
        searching.wait().unwrap();
        a.start();
    }
    until("all are found", || {
        hits(&a, &["alpha", "--limit", "200"]).len() == ids.len()
    });
    for (id, n) in ids.iter().zip(0..).step_by(7) {
        let found = hits(&a, &[&format!("only{n} ")]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0]["session_id"], id.as_str());
    }
}

#[test]
fn an_index_that_is_gone_or_garbage_is_made_anew() {
    let world = World::new();
    let mut a = world.running("desk");
    let mut session = a.session(ID, &a.project("work/proj"));
    a.turn(&mut session, "write the parser");
    until("it is found", || finds(&a, &["parser"]));
    let dir = a.ccpeer_home().join("search");
    let spoil = || {
        for file in fs::read_dir(&dir).unwrap() {
            // A file may go meanwhile.
            let _gone = fs::write(file.unwrap().path(), b"garbage garbage garbage");
        }
    };
    fs::remove_dir_all(&dir).unwrap();
    a.turn(&mut session, "and its tests");
    until("it is found without a directory", || {
        finds(&a, &["tests parser"])
    });
    spoil();
    a.turn(&mut session, "then the docs");
    until("it is found in spite of garbage", || {
        finds(&a, &["docs parser"])
    });
    for how in ["garbage", "gone"] {
        a.stop();
        if how == "gone" {
            fs::remove_dir_all(&dir).unwrap();
        } else {
            spoil();
        }
        a.start();
        until("it is found after a start", || finds(&a, &["docs parser"]));
    }
    // Only its owner reads it, as the store.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode =
            |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&dir), 0o700);
        for file in fs::read_dir(&dir).unwrap() {
            assert_eq!(mode(&file.unwrap().path()), 0o600);
        }
    }
}
