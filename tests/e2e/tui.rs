//! The terminal view on a real terminal: what it shows, and that it leaves the
//! terminal as it found it.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, tcgetattr};
use nix::unistd::Pid;

use serde_json::Value;

use super::world::{Device, World, until};

const SESSION: &str = "5e55c0de-6f0e-4d8e-9a41-0c6a8f6f1e40";
/// One word, for blanks are not written to a screen that is blank.
const TITLE: &str = "unmistakable";
const CTRL_L: &[u8] = b"\x0c";

/// A terminal with the view on it.
struct Terminal {
    keys: File,
    /// Holds the terminal open, and tells its mode.
    mode: OwnedFd,
    written: Arc<Mutex<Vec<u8>>>,
    child: Child,
}

impl Terminal {
    fn open(mut command: Command) -> Self {
        let size = Winsize {
            ws_row: 24,
            ws_col: 80,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pty = openpty(Some(&size), None).unwrap();
        let end = || Stdio::from(pty.slave.try_clone().unwrap());
        command.env("TERM", "xterm");
        let child = command
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .unwrap();
        let written = Arc::new(Mutex::new(Vec::new()));
        let (mut from, to) = (
            File::from(pty.master.try_clone().unwrap()),
            Arc::clone(&written),
        );
        // Ends when the terminal is closed.
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = from.read(&mut buffer) {
                to.lock().unwrap().extend_from_slice(&buffer[..read]);
            }
        });
        Self {
            keys: File::from(pty.master),
            mode: pty.slave,
            written,
            child,
        }
    }

    fn press(&mut self, keys: &[u8]) {
        self.keys.write_all(keys).unwrap();
    }

    fn text(&self) -> String {
        self.since(0)
    }

    /// Waits until this has been written.
    fn shows(&self, what: &str) {
        until(&format!("{what} is shown"), || self.text().contains(what));
    }

    /// Draws everything anew, until this is in it, or is not.
    fn redrawn(&mut self, what: &str, is_there: bool) {
        until(&format!("{what} is shown: {is_there}"), || {
            let before = self.written.lock().unwrap().len();
            self.press(CTRL_L);
            // The next one is not asked for before this one is there.
            until("it is drawn anew", || self.since(before).contains("Status"));
            let drawn = self.since(before);
            match is_there {
                true => drawn.contains(what),
                // All of it is there when the last line is.
                false => drawn.contains("quit") && !drawn.contains(what),
            }
        });
    }

    fn since(&self, before: usize) -> String {
        String::from_utf8_lossy(&self.written.lock().unwrap()[before..]).into_owned()
    }

    /// It takes lines and shows what is typed, as shells want it.
    fn is_calm(&self) -> bool {
        let flags = tcgetattr(self.mode.as_fd()).unwrap().local_flags;
        flags.contains(LocalFlags::ICANON | LocalFlags::ECHO)
    }

    /// Waits for the end; the terminal is as it was.
    fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        until("the view ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        assert!(self.is_calm());
        until("the other screen is left", || {
            let text = self.text();
            let (on, off) = (text.rfind("\x1b[?1049h"), text.rfind("\x1b[?1049l"));
            on.is_some() && on < off && text.rfind("\x1b[?25l") < text.rfind("\x1b[?25h")
        });
        status.unwrap()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

fn with_a_task(world: &World) -> Device {
    let device = world.running("desk");
    let project = device.project("proj");
    let mut session = device.session(SESSION, &project);
    device.turn(&mut session, TITLE);
    until("it is listed", || !device.tasks().is_empty());
    device
}

#[test]
fn a_task_is_shown_and_q_gives_the_terminal_back() {
    let world = World::new();
    let device = with_a_task(&world);
    let mut terminal = Terminal::open(device.command(&["tui"]));
    terminal.shows(TITLE);
    assert!(!terminal.is_calm(), "keys come one by one");
    // What it is about.
    terminal.press(b"\r");
    terminal.shows("transcript,");
    terminal.press(b"q");
    terminal.press(b"2");
    terminal.redrawn("5e55c0de", true);
    terminal.press(b"q");
    assert_eq!(terminal.ended().code(), Some(0));
}

/// The numbers of a list in another terminal mean what they meant.
#[test]
fn looking_gives_no_number_a_new_meaning() {
    const DONE: &str = "5e55c0de-6f0e-4d8e-9a41-0c6a8f6f1e41";
    let world = World::new();
    let device = with_a_task(&world);
    let mut other = device.session(DONE, &device.project("other"));
    device.turn(&mut other, "another");
    until("both are listed", || device.tasks().len() == 2);
    device.ok(&["done", DONE]);
    until("it is done", || {
        let done = |t: &Value| t["session_id"] == DONE && t["state"] == "done";
        device.tasks().iter().any(done)
    });
    let numbers = || {
        let listed = |n| device.json(&["show", n, "--json"])["session_id"].clone();
        [listed("1"), listed("2")]
    };
    let before = numbers();
    // The view lists one of them alone.
    let mut terminal = Terminal::open(device.command(&["tui"]));
    terminal.shows(TITLE);
    terminal.press(b"q");
    assert_eq!(terminal.ended().code(), Some(0));
    assert_eq!(numbers(), before);
}

#[test]
fn an_agent_that_goes_and_comes_is_told_of() {
    let world = World::new();
    let mut device = with_a_task(&world);
    let mut terminal = Terminal::open(device.command(&["tui"]));
    terminal.shows(TITLE);
    device.stop();
    terminal.redrawn("`ccpeer", true);
    device.start();
    terminal.redrawn("`ccpeer", false);
    // A task that is done goes away, by a key.
    terminal.press(b"d");
    until("it is done", || device.tasks()[0]["state"] == "done");
    terminal.redrawn(TITLE, false);
    terminal.press(b"\x03");
    assert_eq!(terminal.ended().code(), Some(0));
}

#[test]
fn a_signal_gives_the_terminal_back() {
    let world = World::new();
    let device = with_a_task(&world);
    for (signal, code) in [
        (Signal::SIGTERM, 143),
        (Signal::SIGHUP, 129),
        (Signal::SIGINT, 130),
    ] {
        let mut terminal = Terminal::open(device.command(&["tui"]));
        terminal.shows(TITLE);
        let pid = Pid::from_raw(terminal.child.id().try_into().unwrap());
        kill(pid, signal).unwrap();
        assert_eq!(terminal.ended().code(), Some(code), "{signal}");
    }
}

#[test]
fn c_becomes_claude_in_a_terminal_as_it_was() {
    let world = World::new();
    let device = with_a_task(&world);
    let bin = device.root.join("bin");
    fs::create_dir(&bin).unwrap();
    let claude = bin.join("claude");
    fs::write(&claude, "#!/bin/sh\nstty -a\necho ran \"$@\"\n").unwrap();
    fs::set_permissions(&claude, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = device.command(&["tui"]);
    let path = std::env::var("PATH").unwrap();
    command.env("PATH", format!("{}:{path}", bin.display()));
    let mut terminal = Terminal::open(command);
    terminal.shows(TITLE);
    terminal.press(b"c");
    assert_eq!(terminal.ended().code(), Some(0), "{}", terminal.text());
    let ran = format!("ran --resume {SESSION}");
    terminal.shows(&ran);
    let text = terminal.text();
    let (_, after) = text.rsplit_once("\x1b[?1049l").unwrap();
    assert!(after.contains(&ran), "{after}");
    assert!(
        after.contains(" icanon") && after.contains(" echo "),
        "{after}"
    );
}

#[test]
fn without_a_terminal_it_says_what_to_use() {
    let world = World::new();
    let device = world.device("desk");
    let ran = device.run(&["tui"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
    assert!(ran.stderr.contains("error: there is no terminal"));
    assert!(ran.stderr.contains("hint: use `ccpeer tasks`"));
}
