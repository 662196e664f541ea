//! Where a pairing secret may be: on two screens and in memory, and nowhere else.
//! And what a clock that somebody turns changes about it: nothing.
#![expect(clippy::print_stdout, reason = "a test that is skipped says so")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::code::Inviting;
use super::lan::Lan;
use super::world::{Device, World, until};
use crate::form::times;

/// A code that is no number in hex: in a log full of hashes it could stand by
/// chance.
fn invited_by_code(device: &Device) -> Inviting {
    loop {
        let inviting = Inviting::by_code(device);
        let bare = inviting.secret.replace('-', "");
        if !bare.bytes().all(|c| c.is_ascii_hexdigit()) {
            return inviting;
        }
    }
}

fn holds(bytes: &[u8], secret: &str) -> bool {
    let wanted = secret.as_bytes();
    bytes
        .windows(wanted.len())
        .any(|w| w.eq_ignore_ascii_case(wanted))
}

/// Every file below a directory.
fn files(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            files(&entry.path(), out);
        } else if kind.is_file() {
            out.push(entry.path());
        }
    }
}

/// Command lines and environments of all processes that can be read.
fn processes() -> Vec<(String, Vec<u8>)> {
    let mut out = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.bytes().all(|c| c.is_ascii_digit()) {
            continue;
        }
        for part in ["cmdline", "environ"] {
            // It may have ended, or be somebody else's.
            if let Ok(bytes) = fs::read(entry.path().join(part)) {
                out.push((format!("{name}/{part}"), bytes));
            }
        }
    }
    out
}

fn leaves_no_core(pid: u32) -> bool {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = limits.lines().find(|l| l.starts_with("Max core file size"));
    let words: Vec<&str> = line.unwrap().split_whitespace().collect();
    words[4..6] == ["0", "0"]
}

fn nowhere_but_on_screens(what: &str, invite: fn(&Device) -> Inviting) {
    let Some(lan) = Lan::new(2) else { return };
    let world = World::new();
    let mut devices = [lan.idle(&world, 0, "desk"), lan.idle(&world, 1, "laptop")];
    for device in &mut devices {
        device.env.push(("CCPEER_LOG", "trace".into()));
        device.start();
    }
    let [a, b] = &devices;
    let captures = [lan.capture(0), lan.capture(1)];
    let mut inviting = invite(a);
    let secret = inviting.secret.clone();
    let forms = [secret.clone(), secret.replace('-', "")];
    let leaks = |bytes: &[u8]| forms.iter().any(|form| holds(bytes, form));
    let at_work = || {
        for (whose, bytes) in processes() {
            assert!(!leaks(&bytes), "{what}: it stands in {whose}");
        }
    };
    at_work();
    for pid in [a.agent_pid(), b.agent_pid(), inviting.pid()] {
        assert!(leaves_no_core(pid), "{what}: process {pid} dumps core");
    }
    let mut joining = b
        .command(&["join", "--json"])
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = joining.stdin.take().unwrap();
    std::io::Write::write_all(&mut stdin, format!("{secret}\n").as_bytes()).unwrap();
    drop(stdin);
    at_work();
    inviting.say_yes();
    let joined = joining.wait_with_output().unwrap();
    assert!(joined.status.success(), "{what}: {joined:?}");
    at_work();
    let (told, _) = inviting.end();
    assert!(told.contains("\"paired\""), "{told}");
    let (mut packets, mut looked_at) = (0, 0);
    for capture in captures {
        for frame in capture.end() {
            packets += 1;
            assert!(
                !leaks(&frame.bytes),
                "{what}: in a packet: {}",
                frame.kind()
            );
        }
    }
    for device in &mut devices {
        device.stop();
        let mut all = Vec::new();
        files(&device.root, &mut all);
        assert!(all.iter().any(|f| f.ends_with("agent.log")));
        for file in all {
            looked_at += 1;
            let bytes = fs::read(&file).unwrap();
            assert!(!leaks(&bytes), "{what}: it stands in {}", file.display());
        }
    }
    println!("K-P06: {what}: 0 hits in {packets} packets and {looked_at} files");
}

#[test]
fn k_p06_the_code_is_on_two_screens_and_nowhere_else() {
    nowhere_but_on_screens("code", invited_by_code);
}

#[test]
fn k_p06_the_ticket_is_on_two_screens_and_nowhere_else() {
    nowhere_but_on_screens("ticket", Inviting::by_ticket);
}

/// On a terminal the ticket is shown as a picture, too, and nowhere else.
#[test]
fn a_ticket_is_a_qr_code_on_a_terminal() {
    let world = World::new();
    let a = world.running("desk");
    let on_terminal = |args: &str| {
        let line = format!("{} {args}", env!("CARGO_BIN_EXE_ccpeer"));
        // Makes a terminal, and shows what is written to it.
        let mut shown = std::process::Command::new("script")
            .args(["-qfec", &line, "/dev/null"])
            .envs([("HOME", a.home()), ("CCPEER_HOME", a.ccpeer_home())])
            .env("LANG", "C.UTF-8")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .ok()?;
        let out = shown.stdout.take().unwrap();
        let lines = std::io::BufRead::lines(std::io::BufReader::new(out));
        let mut all = Vec::new();
        for line in lines.map_while(Result::ok) {
            let last = line.contains("Waiting") || line.starts_with('{');
            all.push(line.trim_end().to_owned());
            if last {
                break;
            }
        }
        shown.kill().unwrap();
        shown.wait().unwrap();
        Some(all)
    };
    let Some(lines) = on_terminal("pair --ticket") else {
        println!("skipped: there is no `script` here to make a terminal");
        return;
    };
    let blocks = |line: &String| line.chars().filter(|c| "█▀▄".contains(*c)).count();
    let picture: Vec<_> = lines.iter().filter(|l| blocks(l) >= 20).collect();
    assert!(picture.len() >= 15, "{lines:#?}");
    assert!(picture.iter().all(|l| l.chars().count() <= 80));
    for args in ["pair --ticket --json", "pair --ticket --no-qr"] {
        let lines = on_terminal(args).unwrap();
        assert!(lines.iter().any(|l| l.contains("ccpeer1-")), "{lines:#?}");
        assert!(lines.iter().all(|l| blocks(l) == 0), "{args}: {lines:#?}");
    }
}

/// A library that turns the wall clock of one process, and leaves the monotonic
/// clock alone.
struct FalseClock {
    library: PathBuf,
    hands: PathBuf,
}

impl FalseClock {
    fn for_device(device: &mut Device) -> Option<Self> {
        let mut dirs = Vec::new();
        for lib in ["/usr/lib", "/usr/local/lib", "/usr/lib64"] {
            dirs.push(PathBuf::from(lib).join("faketime"));
            let inner = fs::read_dir(lib).into_iter().flatten().flatten();
            dirs.extend(inner.map(|d| d.path().join("faketime")));
        }
        let library = dirs.iter().map(|d| d.join("libfaketimeMT.so.1"));
        let Some(library) = library.into_iter().find(|l| l.exists()) else {
            println!("skipped: libfaketime is not installed");
            return None;
        };
        let clock = Self {
            library,
            hands: device.root.join("hands"),
        };
        clock.turn("+0");
        let mut set = |name, value: &Path| device.env.push((name, value.into()));
        set("LD_PRELOAD", &clock.library);
        set("FAKETIME_TIMESTAMP_FILE", &clock.hands);
        set("FAKETIME_NO_CACHE", Path::new("1"));
        set("DONT_FAKE_MONOTONIC", Path::new("1"));
        set("FAKETIME_DONT_FAKE_MONOTONIC", Path::new("1"));
        Some(clock)
    }

    fn turn(&self, by: &str) {
        let next = self.hands.with_extension("next");
        fs::write(&next, format!("{by}\n")).unwrap();
        fs::rename(next, &self.hands).unwrap();
    }
}

/// What the agent's log shows as the year.
fn year_in_log(device: &Device) -> i32 {
    let log = fs::read_to_string(device.ccpeer_home().join("log/agent.log")).unwrap();
    let line = log.lines().last().unwrap();
    let at = line.find("\"timestamp\":\"").unwrap() + 13;
    line[at..at + 4].parse().unwrap()
}

/// A window stands for two minutes, whatever the wall clock shows.
#[test]
fn k_p03_a_turned_clock_neither_ends_nor_prolongs_an_invitation() {
    let world = World::new();
    let mut a = world.device("desk");
    let Some(clock) = FalseClock::for_device(&mut a) else {
        return;
    };
    a.start();
    let b = world.running("laptop");
    let before = year_in_log(&a);
    // A year ahead, and the ticket still opens.
    let inviting = Inviting::begin(&a, &["pair", "--ticket", "--yes", "--json"], "ticket");
    clock.turn("+1y");
    let ticket = format!("{}\n", inviting.secret);
    let joined = b.run_with(&["join", "--json"], ticket.as_bytes());
    assert_eq!(joined.code, 0, "{}{}", joined.stdout, joined.stderr);
    assert!(inviting.end().0.contains("\"paired\""));
    until("the clock was turned", || year_in_log(&a) == before + 1);
    if times(0, 1) == 0 {
        return;
    }
    // A year back, and it ends after its two minutes all the same.
    let c = world.running("other");
    let inviting = Inviting::begin(&a, &["pair", "--ticket", "--yes", "--json"], "ticket");
    let (begun, ticket) = (Instant::now(), format!("{}\n", inviting.secret));
    clock.turn("-1y");
    let (told, status) = inviting.end();
    let stood = begun.elapsed();
    println!("K-P03: an invitation stood for {stood:.1?} while the clock went back two years");
    assert!((119..=123).contains(&stood.as_secs()), "{stood:?}");
    assert_eq!(status, 1, "{told}");
    let late = c.run_with(&["join", "--json"], ticket.as_bytes());
    assert_eq!(late.code, 1, "{}", late.stdout);
    assert!(
        late.stdout.contains("no invitation stands"),
        "{}",
        late.stdout
    );
}

/// Three wrong codes lock pairing, for longer each time, whatever the wall clock
/// shows.
#[test]
fn k_p04_wrong_codes_lock_pairing_and_no_clock_unlocks_it() {
    let Some(lan) = Lan::new(2) else { return };
    let world = World::new();
    let mut a = lan.idle(&world, 0, "desk");
    let Some(clock) = FalseClock::for_device(&mut a) else {
        return;
    };
    a.start();
    let b = lan.device(&world, 1, "laptop");
    for (round, lock) in [60, 120, 240].into_iter().enumerate() {
        for _ in 0..3 {
            let inviting = Inviting::by_code(&a);
            let last = if inviting.secret.ends_with('7') {
                '8'
            } else {
                '7'
            };
            let wrong = format!("{}{last}\n", &inviting.secret[..6]);
            let tried = b.run_with(&["join", "--json"], wrong.as_bytes());
            assert_eq!(tried.code, 1, "{}", tried.stdout);
            assert!(tried.stdout.contains("wrong code"), "{}", tried.stdout);
            assert!(inviting.end().0.contains("wrong code"));
        }
        let locked = Instant::now();
        let refused = a.run(&["pair", "--ticket", "--yes", "--json"]);
        assert_eq!(refused.code, 1, "{}", refused.stdout);
        let words = format!("{}{}", refused.stdout, refused.stderr);
        let told = words.split("locked for another ").nth(1);
        let seconds = told.and_then(|t| t.split(' ').next()?.parse().ok());
        let seconds: u64 = seconds.unwrap_or_else(|| panic!("{words}"));
        println!("K-P04: lock {} tells {seconds} s", round + 1);
        assert!((lock - 10..=lock).contains(&seconds), "{words}");
        clock.turn("+1y");
        let refused = a.run(&["pair", "--ticket", "--yes", "--json"]);
        assert_eq!(refused.code, 1, "the clock has unlocked it");
        clock.turn("-1y");
        if round + 1 >= usize::try_from(times(1, 3)).unwrap() {
            break;
        }
        // Nothing tells of the end of a lock: it is tried until it is over.
        let mut open = None;
        while open.is_none() {
            assert!(
                locked.elapsed() < Duration::from_secs(lock + 5),
                "locked for ever"
            );
            let mut inviting = a.command(&["pair", "--ticket", "--yes", "--json"]);
            let mut child = inviting.spawn().unwrap();
            let mut line = String::new();
            let out = child.stdout.take().unwrap();
            std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut line).unwrap();
            if line.contains("\"ticket\"") {
                open = Some(locked.elapsed());
            }
            child.kill().unwrap();
            child.wait().unwrap();
        }
        let lasted = open.unwrap().as_secs();
        println!("K-P04: lock {} lasted {lasted} s", round + 1);
        assert!(lasted >= lock - 5, "{lasted} s");
    }
}
