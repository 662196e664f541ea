//! What is typed wrongly, and what happens without an agent.

use std::process::Stdio;

use crate::support::{User, assert_code, json, stderr, stdout};

#[test]
fn help_and_version_are_data() {
    let user = User::new();
    for args in [
        &["--version"][..],
        &["--help"],
        &["-h"],
        &["pair", "--help"],
        &["hook", "--help"],
    ] {
        let output = user.run(args);
        assert_code(&output, 0);
        assert!(
            !output.stdout.is_empty() && output.stderr.is_empty(),
            "{args:?}"
        );
        for line in stdout(&output).lines() {
            assert!(line.chars().count() <= 80, "{args:?}: {line}");
        }
    }
    assert_eq!(
        stdout(&user.run(&["--version"])),
        concat!("ccpeer ", env!("CARGO_PKG_VERSION"), "\n")
    );
    assert!(!user.home().root().exists(), "help made a home");
}

#[test]
fn wrong_usage_is_two() {
    let user = User::new();
    for args in [
        &["nonsense"][..],
        &["tasks", "--nonsense"],
        &["show"],
        &["pair", "--yes"],
        &["push", "a", "--all"],
        &["sessions", "--local", "--remote"],
        &["continue", "1", "--into", "missing/directory"],
        &["agent", "--listen", "nowhere"],
        &["up", "--yes", "--no-hooks"],
    ] {
        let output = user.run(args);
        assert_code(&output, 2);
        assert!(output.stdout.is_empty(), "{args:?}");
        assert!(
            stderr(&output).starts_with("error: "),
            "{args:?}: {}",
            stderr(&output)
        );
    }
    let output = user.run(&["tasks", "--json", "--nonsense"]);
    assert_code(&output, 2);
    let error = json(&output.stderr);
    assert_eq!(error["error"]["code"], "usage");
    assert!(
        error["error"]["message"]
            .as_str()
            .unwrap()
            .contains("--nonsense")
    );
}

#[test]
fn a_code_on_the_command_line_is_refused_and_not_repeated() {
    let user = User::new();
    for args in [&["join", "7KD-2QX"][..], &["join", "--json", "7KD-2QX"]] {
        let output = user.run(args);
        assert_code(&output, 2);
        assert!(output.stdout.is_empty());
        let said = stderr(&output);
        assert!(said.contains("hint") && !said.contains("7KD-2QX"), "{said}");
    }
}

#[test]
fn without_an_agent_commands_end_with_three_and_say_what_to_do() {
    let user = User::new();
    for args in [
        &[][..],
        &["tasks"],
        &["devices"],
        &["sessions"],
        &["show", "1"],
        &["continue", "1"],
        &["push", "--all"],
        &["pull", "--all"],
        &["snapshot"],
        &["done", "1"],
        &["reopen", "1"],
        &["undo"],
        &["verify"],
        &["why", "1"],
        &["projects"],
        &["rename", "x"],
        &["revoke", "x"],
        &["pair", "--ticket", "--yes"],
        &["join"],
    ] {
        let output = user.run(args);
        assert_code(&output, 3);
        assert!(output.stdout.is_empty(), "{args:?}");
        let said = stderr(&output);
        assert!(
            said.starts_with("error: ") && said.contains("\nhint: "),
            "{args:?}: {said}"
        );
        assert!(said.contains("ccpeer up"), "{args:?}: {said}");
    }
    let output = user.run(&["tasks", "--json"]);
    assert_code(&output, 3);
    let error = json(&output.stderr);
    assert_eq!(error["error"]["code"], "agent");
    assert!(
        error["error"]["hint"]
            .as_str()
            .unwrap()
            .contains("ccpeer up")
    );
}

#[test]
fn a_stopped_agent_is_an_answer() {
    let user = User::new();
    let output = user.run(&["status", "--json"]);
    assert_code(&output, 0);
    let status = json(&output.stdout);
    assert_eq!(status["agent"], "stopped");
    assert_eq!(status["hooks"], "missing");
    assert_eq!(status["spool"], 0);
    assert_eq!(status["peers"], serde_json::json!([]));
    assert_eq!(status["store"]["bytes"], 0);
    assert_code(&user.run(&["status"]), 0);
    assert_code(&user.run(&["down"]), 0);
    assert!(!user.home().root().exists(), "a question made a home");
}

#[test]
fn a_reader_that_stops_reading_is_no_failure() {
    let user = User::new();
    for args in [&["completions", "bash"][..], &["man"], &["--help"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let status = user
            .ccpeer(args)
            .stdout(writer)
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert_eq!(status.code(), Some(0), "{args:?}");
    }
}

#[test]
fn completions_and_the_manual_are_printed() {
    let user = User::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let output = user.run(&["completions", shell]);
        assert_code(&output, 0);
        assert!(stdout(&output).contains("ccpeer"));
    }
    let output = user.run(&["man"]);
    assert_code(&output, 0);
    assert!(stdout(&output).contains(".TH ccpeer"));
}

#[test]
fn without_a_home_it_says_which_variable_is_missing() {
    let user = User::new();
    let output = user
        .ccpeer(&["tasks"])
        .env_remove("HOME")
        .env_remove("CCPEER_HOME")
        .output();
    let output = output.unwrap();
    assert_code(&output, 2);
    assert!(stderr(&output).contains("CCPEER_HOME"));
}
