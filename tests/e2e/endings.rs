//! How sessions end, and what a list of unfinished tasks makes of it: a terminal
//! that is closed, a machine that goes down, conversations that are left.

use std::process::{Child, Command, Stdio};

use serde_json::json;

use super::claude::Claude;
use super::world::{Device, Session, World, feed, until};

const ID: &str = "7b0d7a52-6f0e-4d8e-9a41-0c6a8f6f1d41";
const NEXT: &str = "7b0d7a52-6f0e-4d8e-9a41-0c6a8f6f1d42";

fn listed(device: &Device, session: &str) -> bool {
    let tasks = device.json(&["tasks", "--json"]);
    let tasks = tasks.as_array().unwrap();
    tasks.iter().any(|t| t["session_id"] == session)
}

fn state(device: &Device, session: &str) -> String {
    let rows = device.rows(session);
    rows[0]["state"].as_str().unwrap().to_owned()
}

fn is_captured(device: &Device, session: &Session) {
    until("captured", || device.holds(&session.id, session.records()));
}

/// A hook of a process, with what only this event says.
fn hook(
    device: &Device,
    pid: u32,
    session: &Session,
    event: &str,
    more: &serde_json::Value,
    env: &[(&str, &str)],
) {
    let mut payload = session.payload(event);
    let fields = more.as_object().unwrap().clone();
    payload.as_object_mut().unwrap().extend(fields);
    let mut command = device.command(&["hook", event]);
    command.env("CLAUDE_PID", pid.to_string());
    command.envs(env.iter().copied());
    let ran = feed(command, payload.to_string().as_bytes());
    assert_eq!(ran.code, 0, "hook {event}: {}", ran.stderr);
}

/// A process on a terminal of its own, whose window can be closed.
#[cfg(target_os = "linux")]
struct Window {
    master: Option<nix::pty::PtyMaster>,
    child: Child,
}

#[cfg(target_os = "linux")]
impl Window {
    fn open(ssh: bool) -> Self {
        use nix::fcntl::OFlag;
        use nix::pty;
        // No other process may hold the window open.
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let master = pty::posix_openpt(flags).unwrap();
        pty::grantpt(&master).unwrap();
        pty::unlockpt(&master).unwrap();
        let name = pty::ptsname_r(&master).unwrap();
        let slave = || {
            let mut options = std::fs::OpenOptions::new();
            options.read(true).write(true);
            std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, OFlag::O_NOCTTY.bits());
            Stdio::from(options.open(&name).unwrap())
        };
        let mut command = Command::new("sleep");
        command
            .arg("600")
            .env_clear()
            .stdin(slave())
            .stdout(slave())
            .stderr(slave());
        if ssh {
            command.env("SSH_CONNECTION", "192.0.2.1 1 192.0.2.2 22");
        }
        let child = command.spawn().unwrap();
        Self {
            master: Some(master),
            child,
        }
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }

    fn close(&mut self) {
        self.master = None;
    }
}

#[cfg(target_os = "linux")]
impl Drop for Window {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

#[cfg(target_os = "linux")]
#[test]
fn closing_the_window_ends_the_task_and_a_signal_does_not() {
    let world = World::new();
    let mut a = world.running("desk");
    let project = a.project("proj");
    let other = json!({"reason": "other"});
    // Signal, window, window of another machine.
    for (n, (closes, ssh)) in [(false, false), (true, false), (true, true)]
        .into_iter()
        .enumerate()
    {
        let id = format!("7b0d7a52-6f0e-4d8e-9a41-0c6a8f6f1e4{n}");
        let mut session = a.session(&id, &project);
        let mut window = Window::open(ssh);
        hook(
            &a,
            window.pid(),
            &session,
            "SessionStart",
            &json!({"source": "startup"}),
            &[],
        );
        session.append("write the parser");
        hook(&a, window.pid(), &session, "Stop", &json!({}), &[]);
        is_captured(&a, &session);
        assert!(listed(&a, &id));
        if closes {
            window.close();
        }
        hook(&a, window.pid(), &session, "SessionEnd", &other, &[]);
        until("it has ended", || state(&a, &id) == "ended");
        assert_eq!(listed(&a, &id), !closes || ssh, "{closes} {ssh}");
    }
    // Its machine goes down a moment later: then nobody meant it.
    let closed = "7b0d7a52-6f0e-4d8e-9a41-0c6a8f6f1e41";
    let pid = nix::unistd::Pid::from_raw(i32::try_from(a.agent_pid()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    until("the agent has ended", || !a.is_up());
    a.kill();
    a.start();
    assert_eq!(state(&a, closed), "interrupted");
    assert!(listed(&a, closed));
}

#[cfg(target_os = "linux")]
#[test]
fn a_power_cut_after_the_window_was_closed_keeps_the_task_and_down_does_not() {
    let world = World::new();
    let mut a = world.running("desk");
    let mut session = a.session(ID, &a.project("proj"));
    let other = json!({"reason": "other"});
    for cut in [false, true] {
        let mut window = Window::open(false);
        hook(
            &a,
            window.pid(),
            &session,
            "SessionStart",
            &json!({"source": "resume"}),
            &[],
        );
        session.append("go on");
        hook(&a, window.pid(), &session, "Stop", &json!({}), &[]);
        is_captured(&a, &session);
        window.close();
        hook(&a, window.pid(), &session, "SessionEnd", &other, &[]);
        until("it has ended", || state(&a, ID) == "ended");
        if cut {
            a.kill();
        } else {
            a.stop();
        }
        a.start();
        assert_eq!(listed(&a, ID), cut);
    }
}

#[test]
fn a_conversation_that_was_cleared_stands_for_its_terminal_until_another_one_does() {
    let world = World::new();
    let a = world.running("desk");
    let project = a.project("proj");
    let mut first = a.session(ID, &project);
    let mut claude = Claude::open(&a, &first);
    claude.answer(&a, &mut first, "write the parser");
    is_captured(&a, &first);
    let pid = claude.pid();
    hook(
        &a,
        pid,
        &first,
        "SessionEnd",
        &json!({"reason": "clear"}),
        &[],
    );
    let mut next = a.session(NEXT, &project);
    hook(
        &a,
        pid,
        &next,
        "SessionStart",
        &json!({"source": "clear"}),
        &[],
    );
    until("it was left", || state(&a, ID) == "ended");
    assert!(listed(&a, ID), "nothing else shows this terminal");
    claude.answer(&a, &mut next, "now the printer");
    until("one row for one terminal", || {
        listed(&a, NEXT) && !listed(&a, ID)
    });
    let why = a.json(&["why", ID, "--json"])["lines"].to_string();
    assert!(why.contains("took its place"), "{why}");
    // A crash keeps the one that shows.
    claude.kill();
    until("interrupted", || state(&a, NEXT) == "interrupted");
    assert!(listed(&a, NEXT) && !listed(&a, ID));

    // Cleared and then closed: the terminal is closed, whatever was in it.
    let mut third = a.session("7b0d7a52-6f0e-4d8e-9a41-0c6a8f6f1d43", &project);
    let claude = Claude::open(&a, &third);
    claude.answer(&a, &mut third, "something else");
    is_captured(&a, &third);
    let pid = claude.pid();
    hook(
        &a,
        pid,
        &third,
        "SessionEnd",
        &json!({"reason": "clear"}),
        &[],
    );
    let empty = a.session("7b0d7a52-6f0e-4d8e-9a41-0c6a8f6f1d44", &project);
    hook(
        &a,
        pid,
        &empty,
        "SessionStart",
        &json!({"source": "clear"}),
        &[],
    );
    until("it was left", || state(&a, &third.id) == "ended");
    assert!(listed(&a, &third.id));
    claude.hook(&a, &empty, "SessionEnd");
    until("closed with its terminal", || !listed(&a, &third.id));
}

#[test]
fn switching_to_another_conversation_finishes_neither() {
    let world = World::new();
    let a = world.running("desk");
    let project = a.project("proj");
    let (mut one, mut two) = (a.session(ID, &project), a.session(NEXT, &project));
    a.turn(&mut two, "an older one");
    is_captured(&a, &two);
    let claude = Claude::open(&a, &one);
    claude.answer(&a, &mut one, "write the parser");
    is_captured(&a, &one);
    let pid = claude.pid();
    hook(
        &a,
        pid,
        &one,
        "SessionEnd",
        &json!({"reason": "resume"}),
        &[],
    );
    hook(
        &a,
        pid,
        &two,
        "SessionStart",
        &json!({"source": "resume"}),
        &[],
    );
    claude.answer(&a, &mut two, "and on");
    is_captured(&a, &two);
    until("it was left", || state(&a, ID) == "ended");
    assert!(listed(&a, ID) && listed(&a, NEXT));
}

#[test]
fn what_a_script_ran_to_its_end_is_no_task() {
    let world = World::new();
    let a = world.running("desk");
    let project = a.project("proj");
    let print = [("CLAUDE_CODE_ENTRYPOINT", "sdk-cli")];
    for (n, fails) in [(0, false), (1, true)] {
        let id = format!("7b0d7a52-6f0e-4d8e-9a41-0c6a8f6f1f4{n}");
        let mut session = a.session(&id, &project);
        let claude = Claude::silent();
        let pid = claude.pid();
        hook(
            &a,
            pid,
            &session,
            "SessionStart",
            &json!({"source": "startup"}),
            &print,
        );
        hook(
            &a,
            pid,
            &session,
            "UserPromptSubmit",
            &json!({"prompt": "x"}),
            &print,
        );
        session.append("count the lines");
        if !fails {
            hook(&a, pid, &session, "Stop", &json!({}), &print);
        }
        hook(
            &a,
            pid,
            &session,
            "SessionEnd",
            &json!({"reason": "other"}),
            &print,
        );
        is_captured(&a, &session);
        until("it has ended", || state(&a, &id) == "ended");
        assert_eq!(listed(&a, &id), fails, "{fails}");
    }
}
