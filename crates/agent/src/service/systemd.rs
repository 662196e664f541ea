//! What systemd's manager of the user is told: pure text and calls. The rules of
//! quoting are those of systemd.service(5), systemd.syntax(7) and systemd.unit(5).

use std::path::{Path, PathBuf};

use super::run::{Call, Ran};
use super::{Job, RESTART_S, Running, seal};
use crate::home::{Env, Home};

/// How long an agent may take to end before it is killed: beyond its own bounds.
const STOP_S: u32 = 30;
/// What is started when the user logs in.
const AT_LOGIN: &str = "default.target";

/// Where the user's own units lie.
pub(super) fn dir(home: &Home, env: Env<'_>) -> PathBuf {
    let config = env("XDG_CONFIG_HOME").map(PathBuf::from);
    config
        .filter(|dir| dir.is_absolute())
        .unwrap_or_else(|| home.user().join(".config"))
        .join("systemd")
        .join("user")
}

/// The unit's file, and the link that `systemctl enable` makes.
pub(super) fn places(dir: &Path, name: &str) -> (PathBuf, PathBuf) {
    let unit = unit(name);
    let link = dir.join(format!("{AT_LOGIN}.wants")).join(&unit);
    (dir.join(unit), link)
}

pub(super) fn unit(name: &str) -> String {
    format!("{name}.service")
}

pub(super) fn text(job: &Job) -> String {
    let mut lines = [
        "# Written by `ccpeer service install`, which leaves it alone once it was changed",
        "# by hand: `systemctl --user edit` adds to it, `ccpeer service remove` removes it.",
        "[Unit]",
        "Description=ccpeer, which brings Claude Code sessions to your other machines",
        // An agent that cannot start stays down by itself for a while.
        "StartLimitIntervalSec=0",
        "",
        "[Service]",
        "Type=exec",
    ]
    .map(str::to_owned)
    .to_vec();
    let args: Vec<String> = job.args.iter().map(|arg| argument(arg)).collect();
    lines.push(format!(
        "ExecStart={} {}",
        program(&job.program),
        args.join(" ")
    ));
    for (name, value) in &job.env {
        lines.push(format!(
            "Environment={}",
            quoted(&format!("{name}={value}"), "")
        ));
    }
    lines.extend([
        "UMask=0077".to_owned(),
        "Restart=on-failure".to_owned(),
        format!("RestartSec={RESTART_S}"),
        // Wrong usage, and another agent that runs: neither gets better by trying.
        "RestartPreventExitStatus=2 3".to_owned(),
        "KillMode=mixed".to_owned(),
        format!("TimeoutStopSec={STOP_S}"),
        String::new(),
        "[Install]".to_owned(),
        format!("WantedBy={AT_LOGIN}"),
    ]);
    seal::seal(&lines, 0, |said| format!("# {said}"), &job.start)
}

/// A program to run. Its path may hold no quotation marks and no backslashes, however
/// they are written, and a `$` in it is not what it is in arguments; `env` takes any.
pub(super) fn program(path: &str) -> String {
    if path.contains(['"', '\'', '\\', '$']) {
        format!("/usr/bin/env {}", argument(path))
    } else {
        quoted(path, "")
    }
}

/// One argument of a command line, in which `$` begins a variable.
fn argument(text: &str) -> String {
    quoted(text, "$")
}

/// Text in quotation marks, in which `%` and the characters of `doubled` stand for
/// themselves when they are written twice.
fn quoted(text: &str, doubled: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.push('\\'),
            '%' => out.push('%'),
            c if doubled.contains(c) => out.push(c),
            _ => {}
        }
        out.push(c);
    }
    out.push('"');
    out
}

pub(super) fn reload() -> Call {
    Call::new("systemctl", &["--user", "daemon-reload"])
}

pub(super) fn start(unit: &str) -> Call {
    Call::new("systemctl", &["--user", "start", unit])
}

pub(super) fn stop(unit: &str) -> Call {
    Call::new("systemctl", &["--user", "stop", unit])
}

pub(super) fn ask(unit: &str) -> Call {
    let properties = "--property=ActiveState,SubState,MainPID,Result,ExecMainStatus";
    Call::new("systemctl", &["--user", "show", unit, properties])
}

/// How to see what it said, and what systemd says of it.
pub(super) fn logs(unit: &str) -> String {
    format!("journalctl --user -u {unit}")
}

/// What it says of the unit.
pub(super) fn read(ran: &Ran) -> Running {
    if !ran.ok {
        return Running {
            why: Some(ccpeer_core::text::one_line(
                ran.said.trim(),
                super::SAID_CHARS_MAX,
            )),
            ..Running::told("unknown")
        };
    }
    let get = |name: &str| {
        let found = ran.said.lines().find_map(|line| {
            let (key, value) = line.split_once('=')?;
            (key == name).then_some(value)
        });
        found.unwrap_or_default()
    };
    let pid = get("MainPID").parse().ok().filter(|pid| *pid != 0);
    let failed = get("ActiveState") == "failed" || get("SubState") == "auto-restart";
    Running {
        state: match get("ActiveState") {
            _ if failed => "failed",
            "active" | "activating" | "reloading" => "running",
            "inactive" | "deactivating" => "stopped",
            _ => "unknown",
        },
        pid,
        why: failed.then(|| {
            let (result, status) = (get("Result"), get("ExecMainStatus"));
            format!("systemd says {result}, exit status {status}")
        }),
    }
}
