//! The hook client as a program of its own: it does what `ccpeer hook` does, and
//! settings name it where it lies beside.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{STOP, assert_in_time, assert_silent, spooled};
use crate::support::{User, assert_code, json, stderr, stdout};

const SMALL: &str = env!("CARGO_BIN_EXE_ccpeer-hook");

/// The environment that `user`'s programs have, for another program.
fn command(user: &User, program: impl AsRef<Path>, args: &[&str]) -> Command {
    let whole = user.ccpeer(args);
    let mut command = Command::new(program.as_ref());
    command.args(args).env_clear().current_dir(user.root());
    for (name, value) in whole.get_envs() {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    command
}

fn run(user: &User, args: &[&str], env: &[(&str, &str)]) -> std::process::Output {
    let path = user.root().join("input");
    fs::write(&path, STOP).unwrap();
    let mut command = command(user, SMALL, args);
    command.envs(env.iter().copied());
    command.stdin(fs::File::open(path).unwrap());
    command.output().unwrap()
}

#[test]
fn k_h02_the_small_program_keeps_events_as_the_whole_one_does() {
    let user = User::new();
    assert_in_time(|| assert_silent(&run(&user, &["hook", "Stop"], &[])));
    assert_silent(&user.run_with(&["hook", "Stop"], STOP));
    // Claude Code up to 2.1.54 gives no arguments.
    let bare = [("CLAUDE_PROJECT_DIR", "/work")];
    assert_silent(&run(&user, &[], &bare));
    assert_silent(&run(&user, &["hook", "Stop"], &[("CCPEER_CHILD", "1")]));
    let events = spooled(&user);
    assert_eq!(events.len(), 3);
    for (header, input) in events {
        assert_eq!((header.event.as_str(), input.as_slice()), ("Stop", STOP));
    }
}

#[test]
fn the_small_program_says_what_it_is() {
    let user = User::new();
    let version = run(&user, &["--version"], &[]);
    assert_code(&version, 0);
    let want = format!("ccpeer-hook {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(stdout(&version), want);
    for args in [&["status"][..], &[], &["hook", "--help"]] {
        let other = run(&user, args, &[]);
        // Claude Code takes 2 for an objection.
        assert_code(&other, 1);
        assert!(stderr(&other).contains("hint: "), "{args:?}");
        assert_eq!(stdout(&other), "");
    }
    assert!(spooled(&user).is_empty());
}

#[test]
fn k_h13_the_form_of_the_hooks_follows_what_lies_there() {
    let user = User::new();
    let settings = user.claude().join("settings.json");
    let before = "{\n  \"model\": \"opus\"\n}\n";
    fs::write(&settings, before).unwrap();
    let bin = user.root().join("bin");
    fs::create_dir_all(&bin).unwrap();
    let (whole, small) = (bin.join("ccpeer"), bin.join("ccpeer-hook"));
    fs::hard_link(env!("CARGO_BIN_EXE_ccpeer"), &whole)
        .or_else(|_| fs::copy(env!("CARGO_BIN_EXE_ccpeer"), &whole).map(drop))
        .unwrap();
    let run = |args: &[&str]| command(&user, &whole, args).output().unwrap();
    let installed = || {
        assert_code(&run(&["hooks", "install"]), 0);
        let status = json(&run(&["hooks", "status", "--json"]).stdout);
        assert_eq!(status["hooks"], "installed");
        let text = fs::read_to_string(&settings).unwrap();
        assert_eq!(text.matches("\"hook\"").count(), 5, "{text}");
        status["program"].as_str().map(str::to_owned).unwrap()
    };
    let says = |name: &str| {
        let checks = json(&run(&["doctor", "--json"]).stdout);
        let checks = checks["checks"].as_array().unwrap().clone();
        let of = checks.into_iter().find(|c| c["id"] == name).unwrap();
        of["state"].as_str().map(str::to_owned).unwrap()
    };
    // The program was copied alone.
    assert_eq!(Path::new(&installed()), whole);
    assert_eq!(says("hooks"), "ok");
    // An upgrade brings the other one, and is replaced by an older one again.
    fs::copy(SMALL, &small).unwrap();
    assert_eq!(says("hooks"), "ok");
    assert_eq!(Path::new(&installed()), small);
    assert_eq!(says("hooks"), "ok");
    fs::remove_file(&small).unwrap();
    assert_ne!(says("hooks"), "ok");
    assert_eq!(Path::new(&installed()), whole);
    fs::copy(SMALL, &small).unwrap();
    assert_eq!(Path::new(&installed()), small);
    assert_code(&run(&["hooks", "remove"]), 0);
    assert_eq!(fs::read_to_string(&settings).unwrap(), before);
}
