//! What a person, a disk or a stranger can get wrong: a clear error, a hint, the
//! promised exit code, and nothing lost.

use std::fs;

use super::world::{Ran, World, arrives, connected, pair, until};

const ID: &str = "5f0d7a52-6f0e-4d8e-9a41-0c6a8f6f1d51";

fn says(ran: &Ran, code: i32, words: &[&str]) {
    assert_eq!(ran.code, code, "{}{}", ran.stdout, ran.stderr);
    for word in words {
        assert!(ran.stderr.contains(word), "no {word:?} in: {}", ran.stderr);
    }
    assert!(ran.stderr.contains("hint:"), "no hint in: {}", ran.stderr);
}

#[test]
fn without_an_agent_commands_say_so() {
    let world = World::new();
    let mut a = world.device("desk");
    says(&a.run(&["tasks"]), 3, &["not set up", "ccpeer up"]);
    a.start();
    a.stop();
    says(&a.run(&["tasks"]), 3, &["agent", "ccpeer up"]);
    let status = a.run(&["status", "--json"]);
    let status: serde_json::Value = serde_json::from_str(&status.stdout).unwrap();
    assert_eq!(status["agent"], "stopped");
}

#[test]
fn unknown_tasks_and_prefixes() {
    let world = World::new();
    let a = world.running("desk");
    says(&a.run(&["show", "7"]), 1, &["no task 7"]);
    says(
        &a.run(&["continue", "deadbeef", "--no-exec"]),
        1,
        &["deadbeef"],
    );
    says(&a.run(&["done", "x"]), 1, &[]);
    let json = a.run(&["show", "7", "--json"]);
    let error: serde_json::Value = serde_json::from_str(json.stderr.trim()).unwrap();
    assert_eq!(error["error"]["code"], "not_found");
    assert!(json.stdout.is_empty());
}

#[test]
fn k_s09_one_agent_a_home() {
    let world = World::new();
    let a = world.running("desk");
    let second = a.run(&["agent", "--listen", "127.0.0.1:0", "--no-mdns"]);
    says(&second, 3, &["another agent"]);
    assert_eq!(a.json(&["status", "--json"])["agent"], "running");
}

#[test]
fn a_damaged_store_is_told_and_kept() {
    let world = World::new();
    let mut a = world.running("desk");
    let mut session = a.session(ID, &a.project("work"));
    a.turn(&mut session, "keep me");
    until("captured", || !a.rows(ID).is_empty());
    a.stop();
    let path = a.ccpeer_home().join("store.redb");
    let mut bytes = fs::read(&path).unwrap();
    let half = bytes.len() / 2;
    bytes.truncate(half);
    bytes[..half].fill(0x5a);
    fs::write(&path, &bytes).unwrap();
    let ran = a.run(&["agent", "--listen", "127.0.0.1:0", "--no-mdns"]);
    says(&ran, 4, &["damaged"]);
    assert_eq!(
        fs::read(&path).unwrap(),
        bytes,
        "the damaged file was touched"
    );
    // Hooks go on working meanwhile.
    a.stop_hook(&session);
    a.start_with(&["--salvage"]);
    until("captured anew", || !a.rows(ID).is_empty());
    let aside = a.ccpeer_home().join("store.redb.damaged-1");
    assert_eq!(fs::read(aside).unwrap(), bytes, "the damaged file is kept");
    assert_eq!(a.json(&["verify", "--read-data", "--json"])["ok"], true);
}

#[test]
fn a_store_restored_from_an_old_backup_loses_nothing_that_a_peer_heard() {
    let world = World::new();
    let (mut a, b) = (world.running("desk"), world.running("laptop"));
    pair(&a, &b);
    let mut on_a = a.session(ID, &a.project("work/proj"));
    a.turn(&mut on_a, "before the backup");
    arrives(&b, ID, &on_a);
    a.stop();
    let path = a.ccpeer_home().join("store.redb");
    let backup = fs::read(&path).unwrap();
    a.start();
    connected(&a, &b);
    a.turn(&mut on_a, "after the backup");
    arrives(&b, ID, &on_a);
    a.stop();
    fs::write(&path, backup).unwrap();
    a.start();
    connected(&a, &b);
    a.turn(&mut on_a, "after it was restored");
    arrives(&b, ID, &on_a);
    until("one line, on both", || {
        [&a, &b]
            .iter()
            .all(|d| d.rows(ID).len() == 1 && d.rows(ID)[0]["complete"] == true)
    });
    until("desk was told", || {
        a.json(&["status", "--json"])["last_error"]
            .to_string()
            .contains("older than")
    });
}

#[cfg(unix)]
#[test]
fn a_home_that_cannot_be_used_is_told() {
    let world = World::new();
    let a = world.device("desk");
    fs::write(a.ccpeer_home(), "a file").unwrap();
    says(
        &a.run(&["agent", "--listen", "127.0.0.1:0", "--no-mdns"]),
        1,
        &["cannot use"],
    );
    let hook = a.run_with(&["hook", "Stop"], b"{}");
    assert_eq!((hook.code, hook.stdout.as_str()), (0, ""));
}

#[test]
fn malformed_hooks_are_taken_quietly() {
    let world = World::new();
    let a = world.running("desk");
    for input in [
        &b""[..],
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        br#"{"session_id":"../../x"}"#,
    ] {
        let ran = a.run_with(&["hook", "Stop"], input);
        assert_eq!((ran.code, ran.stdout.as_str()), (0, ""));
    }
    let ran = a.run_with(&["hook", "NoSuchEvent"], br#"{"session_id":"x"}"#);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, ""));
    assert_eq!(a.json(&["status", "--json"])["agent"], "running");
    assert!(a.tasks().is_empty());
}

#[test]
fn k_h11_a_hook_cannot_make_the_agent_read_another_file() {
    let world = World::new();
    let a = world.running("desk");
    let secret = a.root.join("secret.jsonl");
    fs::write(&secret, "{\"type\":\"user\"}\n").unwrap();
    a.hook(
        "Stop",
        &serde_json::json!({"session_id": ID, "transcript_path": secret, "cwd": a.root}),
    );
    until("the event was dealt with", || {
        a.json(&["status", "--json"])["hooks_received"] == 1
    });
    let pushed = a.run(&["push", ID]);
    assert_ne!(pushed.code, 70, "{}", pushed.stderr);
    assert!(a.tasks().is_empty());
}

#[test]
fn a_project_that_is_not_known_is_asked_for() {
    let world = World::new();
    let (a, b) = (world.running("desk"), world.running("laptop"));
    pair(&a, &b);
    let mut on_a = a.session(ID, &a.project("work/proj"));
    a.turn(&mut on_a, "where am I");
    arrives(&b, ID, &on_a);
    says(&b.run(&["continue", ID, "--no-exec"]), 1, &["--into"]);
    let claude: Vec<_> = fs::read_dir(b.claude().join("projects")).unwrap().collect();
    assert!(claude.is_empty(), "something was placed");
}

#[test]
fn without_a_claude_directory_everything_but_sessions_works() {
    let world = World::new();
    let mut a = world.device("desk");
    fs::remove_dir_all(a.claude()).unwrap();
    a.start();
    assert!(a.tasks().is_empty());
    assert!(!a.claude().exists(), "Claude Code's directory was made");
    a.stop();
}
