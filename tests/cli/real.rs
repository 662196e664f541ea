//! What only a real agent can show: starting and stopping it, and the demo.

use std::fs;
use std::time::{Duration, Instant};

use crate::support::{User, assert_code, json, stderr, stdout};

const QUIET: [&str; 3] = ["--listen", "127.0.0.1:0", "--no-mdns"];

/// Stops the agent whatever becomes of the test.
struct Running<'a>(&'a User);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let _ = self.0.run(&["down"]);
    }
}

#[test]
fn up_sets_up_once_and_down_ends_it() {
    let user = User::new();
    let settings = user.claude().join("settings.json");
    let _end = Running(&user);

    // Nobody can be asked, so nobody's settings are edited.
    let output = user.run(&[&["up"], &QUIET[..]].concat());
    assert_code(&output, 0);
    assert!(
        stdout(&output).contains("hooks   missing"),
        "{}",
        stdout(&output)
    );
    assert!(stderr(&output).contains("ccpeer hooks install"));
    assert!(!settings.exists());
    let first = json(&user.run(&["status", "--json"]).stdout);
    assert_eq!(first["agent"], "running");
    assert_eq!(first["device"]["id"].as_str().unwrap().len(), 64);
    assert!(
        first["listen"][0]
            .as_str()
            .unwrap()
            .starts_with("127.0.0.1:")
    );

    let output = user.run(&["up", "--yes"]);
    assert_code(&output, 0);
    assert!(
        stdout(&output).contains("was running"),
        "{}",
        stdout(&output)
    );
    assert!(fs::read_to_string(&settings).unwrap().contains("Stop"));
    let second = json(&user.run(&["status", "--json"]).stdout);
    assert_eq!(second["pid"], first["pid"]);
    assert_eq!(second["hooks"], "installed");

    let before = Instant::now();
    let output = user.run(&[&["agent"], &QUIET[..]].concat());
    assert_code(&output, 3);
    assert!(output.stdout.is_empty());
    assert!(before.elapsed() < Duration::from_secs(5));

    assert_code(&user.run(&["down"]), 0);
    assert_eq!(
        json(&user.run(&["status", "--json"]).stdout)["agent"],
        "stopped"
    );
    assert_code(&user.run(&["tasks"]), 3);
}

#[test]
fn an_agent_that_cannot_start_says_why() {
    let user = User::new();
    fs::create_dir_all(user.home().root()).unwrap();
    fs::write(user.home().store(), "not a store").unwrap();
    let output = user.run(&[&["up"], &QUIET[..]].concat());
    assert!(
        matches!(output.status.code(), Some(1 | 3 | 4)),
        "{:?}",
        output.status
    );
    let said = stderr(&output);
    assert!(
        said.starts_with("error: ") && said.contains("store"),
        "{said}"
    );
}

#[test]
fn without_claude_code_up_still_starts_and_explains() {
    let user = User::new();
    fs::remove_dir(user.claude()).unwrap();
    let _end = Running(&user);
    let output = user.run(&[&["up", "--yes"], &QUIET[..]].concat());
    assert_code(&output, 0);
    assert!(
        stderr(&output).contains("does not exist"),
        "{}",
        stderr(&output)
    );
    assert!(!user.claude().exists());
}

#[test]
fn the_demo_tells_its_story_and_leaves_nothing_behind() {
    let user = User::new();
    let scratch = user.root().join("scratch");
    fs::create_dir(&scratch).unwrap();
    let started = Instant::now();
    let output = user
        .ccpeer(&["demo"])
        .env("TMPDIR", &scratch)
        .output()
        .unwrap();
    assert_code(&output, 0);
    assert!(
        started.elapsed() < Duration::from_secs(20),
        "{:?}",
        started.elapsed()
    );
    let told = stdout(&output);
    for step in [
        "ccpeer pair",
        "ccpeer join",
        "ccpeer tasks",
        "ccpeer continue",
        "claude --resume",
    ] {
        assert!(told.contains(step), "{step}: {told}");
    }
    assert_eq!(fs::read_dir(&scratch).unwrap().count(), 0);
    assert_eq!(fs::read_dir(user.claude()).unwrap().count(), 0);
    assert!(!user.home().root().exists());
}
