//! `ccpeer service`, with a stand-in for `systemctl` that starts and stops what the
//! unit says: a user's manager of their own is not there where tests run.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use super::world::{Device, World, until};

const ID: &str = "5f0d7a52-6f0e-4d8e-9a41-0c6a8f6f1d31";

/// Does with a unit what systemd does, as far as `ccpeer` asks for it.
const SYSTEMCTL: &str = r#"#!/bin/sh
echo "$*" >> "$HOME/calls"
unit="$HOME/.config/systemd/user/$3"
pid="$HOME/service.pid"
case "$2" in
start)
    run=$(sed -n 's/^ExecStart=//p' "$unit")
    vars=$(sed -n 's/^Environment=//p' "$unit" | tr '\n' ' ')
    ( eval "exec env $vars $run" ) </dev/null >/dev/null 2>&1 &
    echo $! > "$pid" ;;
stop)
    kill "$(cat "$pid")" 2>/dev/null
    rm -f "$pid" ;;
show)
    if [ -f "$pid" ] && grep -q '^State:.[^Z]' "/proc/$(cat "$pid")/status" 2>/dev/null
    then echo ActiveState=active; echo "MainPID=$(cat "$pid")"
    else echo ActiveState=inactive; echo MainPID=0; fi ;;
esac
"#;

/// A device with a `systemctl` of its own. What that has started ends with it.
struct Bench<'d> {
    device: &'d mut Device,
}

impl<'d> Bench<'d> {
    fn new(device: &'d mut Device, systemctl: Option<&str>) -> Self {
        let bin = device.root.join("bin");
        fs::create_dir(&bin).unwrap();
        let mut path = std::ffi::OsString::from(&bin);
        if let Some(script) = systemctl {
            fs::write(bin.join("systemctl"), script).unwrap();
            fs::set_permissions(bin.join("systemctl"), fs::Permissions::from_mode(0o755)).unwrap();
            path.push(":/usr/local/bin:/usr/bin:/bin");
        }
        device.env.push(("PATH", path));
        Self { device }
    }

    fn service_pid(&self) -> Option<u64> {
        let pid = fs::read_to_string(self.device.home().join("service.pid")).ok()?;
        pid.trim().parse().ok()
    }

    fn status(&self) -> Value {
        self.device.json(&["status", "--json"])
    }

    fn calls(&self) -> String {
        fs::read_to_string(self.device.home().join("calls")).unwrap_or_default()
    }

    fn units(&self) -> PathBuf {
        self.device.home().join(".config/systemd/user")
    }
}

impl Drop for Bench<'_> {
    fn drop(&mut self) {
        if let Some(pid) = self.service_pid() {
            let _gone = Command::new("kill").arg(pid.to_string()).status();
        }
    }
}

#[test]
fn a_service_takes_over_without_losing_anything() {
    let world = World::new();
    let mut device = world.device("desk");
    let bench = Bench::new(&mut device, Some(SYSTEMCTL));
    bench.device.start();
    let mut session = bench.device.session(ID, &bench.device.project("work/proj"));
    bench
        .device
        .turn(&mut session, "before there was a service");
    until("the session is known", || !bench.device.rows(ID).is_empty());
    let before = bench.status();

    let done = bench.device.json(&["service", "install", "--json"]);
    for key in ["changed", "started", "took_over"] {
        assert_eq!(done[key], true, "{key}: {done}");
    }
    let after = bench.status();
    let pid = bench.service_pid().unwrap();
    assert_eq!(after["pid"], pid);
    assert_ne!(after["pid"], before["pid"]);
    for key in [
        "mdns",
        "listen_only",
        "listen",
        "device",
        "home",
        "claude_dir",
    ] {
        assert_eq!(after[key], before[key], "{key}");
    }
    assert_eq!(after["mdns"], false);
    assert!(!bench.device.rows(ID).is_empty());

    let again = bench.device.json(&["service", "install", "--json"]);
    assert_eq!(
        (&again["changed"], &again["took_over"]),
        (&json!(false), &json!(false))
    );
    assert_eq!(bench.status()["pid"], pid, "it was left alone");
    let status = bench.device.json(&["service", "status", "--json"]);
    for (key, want) in [
        ("manager", json!("systemd")),
        ("installed", json!("installed")),
        ("enabled", json!(true)),
        ("runs_this_program", json!(true)),
        ("state", json!("running")),
        ("pid", json!(pid)),
    ] {
        assert_eq!(status[key], want, "{key}: {status}");
    }
    let told = bench.device.run(&["doctor"]).stdout;
    let told = told.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        told.contains("ok service running, starts at login"),
        "{told}"
    );
    assert!(told.contains("journalctl --user -u ccpeer-"), "{told}");

    // What was ended in order is started again by `up`, and by the service.
    bench.device.ok(&["down"]);
    let up = bench.device.ok(&["up", "--no-hooks"]);
    assert!(up.contains("service starts at login"), "{up}");
    assert_ne!(bench.service_pid(), Some(pid));
    assert_eq!(bench.status()["pid"].as_u64(), bench.service_pid());
    assert_eq!(bench.status()["listen_only"], before["listen_only"]);

    let gone = bench.device.json(&["service", "remove", "--json"]);
    assert_eq!(gone["changed"], true);
    assert_eq!(bench.status()["agent"], "stopped");
    let left: Vec<_> = walk(&bench.units());
    assert!(left.is_empty(), "left behind: {left:?}");
    assert!(
        bench.calls().ends_with("--user daemon-reload\n"),
        "{}",
        bench.calls()
    );
    let gone = bench.device.json(&["service", "remove", "--json"]);
    assert_eq!(gone["changed"], false, "twice");
}

#[test]
fn without_a_manager_that_answers_the_agent_is_left_alone() {
    let world = World::new();
    let mut device = world.device("desk");
    let script = "#!/bin/sh\necho 'Failed to connect to bus: No medium found' >&2\nexit 1\n";
    let bench = Bench::new(&mut device, Some(script));
    bench.device.start();
    let before = bench.status();
    let ran = bench.device.run(&["service", "install", "--json"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""));
    let e: Value = serde_json::from_str(&ran.stderr).unwrap();
    let (message, hint) = (&e["error"]["message"], &e["error"]["hint"]);
    let message = message.as_str().unwrap();
    assert!(
        message.contains("installed for the next login"),
        "{message}"
    );
    assert!(message.contains("No medium found"), "{message}");
    assert!(hint.as_str().unwrap().contains("login session"), "{hint}");
    assert_eq!(bench.status()["pid"], before["pid"], "it goes on");
    assert_eq!(walk(&bench.units()).len(), 2, "the unit and its link");
    // That it is to start at the next login needs nobody.
    bench.device.ok(&["service", "install", "--no-start"]);
    // What cannot be asked is no reason to leave anything behind.
    bench.device.ok(&["service", "remove"]);
    assert_eq!(walk(&bench.units()).len(), 0);
    assert_eq!(bench.status()["pid"], before["pid"]);
}

#[test]
fn a_service_that_does_not_start_leaves_nobody_without_an_agent() {
    let world = World::new();
    let mut device = world.device("desk");
    let script = "#!/bin/sh\n[ \"$2\" != start ]\n";
    let bench = Bench::new(&mut device, Some(script));
    bench.device.start();
    let before = bench.status();
    let ran = bench.device.run(&["service", "install"]);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(
        ran.stderr.contains("could not be started now"),
        "{}",
        ran.stderr
    );
    let after = bench.status();
    assert_ne!(after["pid"], before["pid"]);
    assert_eq!(
        after["listen"], before["listen"],
        "as it was started before"
    );
    assert_eq!(after["mdns"], false);
    bench.device.ok(&["down"]);
}

#[test]
fn a_system_without_one_is_told_so_before_anything_is_written() {
    let world = World::new();
    let mut device = world.device("desk");
    let bench = Bench::new(&mut device, None);
    let ran = bench.device.run(&["service", "install"]);
    assert_eq!(ran.code, 1);
    assert!(
        ran.stderr.contains("systemd is not on this system"),
        "{}",
        ran.stderr
    );
    assert!(
        ran.stderr.contains("hint: have `ccpeer agent` started"),
        "{}",
        ran.stderr
    );
    assert!(!bench.units().exists());
    // In an image that is only being made, nobody is there yet.
    let ran = bench.device.run(&["service", "install", "--no-start"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(walk(&bench.units()).len(), 2);
    let theirs = "[Service]\nExecStart=/bin/theirs\n";
    let file = walk(&bench.units())
        .into_iter()
        .find(|p| p.is_file())
        .unwrap();
    let file = file.canonicalize().unwrap();
    fs::write(&file, theirs).unwrap();
    for args in [
        ["service", "install", "--no-start"].as_slice(),
        &["service", "remove"],
    ] {
        let ran = bench.device.run(args);
        assert_eq!(ran.code, 1, "{}", ran.stderr);
        assert!(ran.stderr.contains("was left alone"), "{}", ran.stderr);
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), theirs);
}

/// Files and links below a directory, which need not be there.
fn walk(dir: &std::path::Path) -> Vec<PathBuf> {
    let mut out = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().unwrap().is_dir() {
            out.extend(walk(&entry.path()));
        } else {
            out.push(entry.path());
        }
    }
    out
}
