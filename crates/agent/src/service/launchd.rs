//! What launchd is told: pure text and calls, as in launchd.plist(5) and
//! launchctl(1).

use std::path::{Path, PathBuf};

use super::run::{Call, Ran};
use super::{Job, RESTART_S, Running, seal};
use crate::home::Home;

/// Modes of files that only their owner may read: 0077, which a property list writes
/// as a decimal number.
const UMASK: u32 = 0o077;

pub(super) fn label(name: &str) -> String {
    format!("dev.ccpeer.{name}")
}

pub(super) fn place(home: &Home, name: &str) -> PathBuf {
    let agents = home.user().join("Library").join("LaunchAgents");
    agents.join(format!("{}.plist", label(name)))
}

/// The session in which it runs: the graphical one of the user.
pub(super) fn domain(user: u32) -> String {
    format!("gui/{user}")
}

pub(super) fn text(job: &Job, label: &str) -> String {
    let mut lines = [
        r#"<?xml version="1.0" encoding="UTF-8"?>"#,
        r#"<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">"#,
        "<!-- Written by `ccpeer service install`, which leaves it alone once it was",
        "     changed by hand. `ccpeer service remove` removes it. -->",
        r#"<plist version="1.0">"#,
        "<dict>",
    ]
    .map(str::to_owned)
    .to_vec();
    let string = |text: &str| format!("<string>{}</string>", seal::escape_xml(text));
    let key = |name: &str| format!("  <key>{}</key>", seal::escape_xml(name));
    lines.push(format!("{}{}", key("Label"), string(label)));
    lines.push(format!("{}<array>", key("ProgramArguments")));
    for word in std::iter::once(&job.program).chain(&job.args) {
        lines.push(format!("    {}", string(word)));
    }
    lines.push("  </array>".to_owned());
    if !job.env.is_empty() {
        lines.push(format!("{}<dict>", key("EnvironmentVariables")));
        for (name, value) in &job.env {
            lines.push(format!("  {}{}", key(name), string(value)));
        }
        lines.push("  </dict>".to_owned());
    }
    lines.push(format!("{}<true/>", key("RunAtLoad")));
    // Not after an end in order, which is what `ccpeer down` asks for.
    lines.push(format!("{}<dict>", key("KeepAlive")));
    lines.push(format!("  {}<false/>", key("SuccessfulExit")));
    lines.push("  </dict>".to_owned());
    let number = |n: u32| format!("<integer>{n}</integer>");
    lines.push(format!("{}{}", key("ThrottleInterval"), number(RESTART_S)));
    lines.push(format!("{}{}", key("Umask"), number(UMASK)));
    lines.push(format!("{}{}", key("ProcessType"), string("Background")));
    lines.push(format!("{}{}", key("StandardErrorPath"), string(&job.log)));
    lines.push("</dict>".to_owned());
    lines.push("</plist>".to_owned());
    seal::seal(&lines, 2, seal::xml_comment, &job.start)
}

/// Whether the session can be reached at all.
pub(super) fn reach(domain: &str) -> Call {
    Call::new("launchctl", &["print", domain])
}

/// One that is loaded already is loaded anew: it may have been told otherwise.
pub(super) fn start(domain: &str, label: &str, file: &Path) -> Vec<Call> {
    vec![
        stop(domain, label),
        Call::new("launchctl", &["bootstrap", domain]).with(file),
        Call::new("launchctl", &["kickstart", &format!("{domain}/{label}")]),
    ]
}

/// Fails where it is not loaded.
pub(super) fn stop(domain: &str, label: &str) -> Call {
    Call::new("launchctl", &["bootout", &format!("{domain}/{label}")]).may_fail()
}

pub(super) fn ask(domain: &str, label: &str) -> Call {
    Call::new("launchctl", &["print", &format!("{domain}/{label}")])
}

/// What it says of the agent. Its words are meant for people; what is not understood
/// is not known.
pub(super) fn read(ran: &Ran) -> Running {
    if !ran.ok {
        return Running::told("stopped");
    }
    let get = |name: &str| {
        ran.said.lines().find_map(|line| {
            let (key, value) = line.trim().split_once(" = ")?;
            (key == name).then_some(value.trim())
        })
    };
    let ended = get("last exit code").and_then(|code| code.split(':').next()?.parse::<i32>().ok());
    match (get("state"), ended) {
        (Some("running"), _) => Running {
            pid: get("pid").and_then(|pid| pid.parse().ok()),
            ..Running::told("running")
        },
        (Some(_), Some(code)) if code != 0 => Running {
            why: Some(format!("launchd says exit status {code}")),
            ..Running::told("failed")
        },
        (Some(_), _) => Running::told("stopped"),
        (None, _) => Running::told("unknown"),
    }
}
