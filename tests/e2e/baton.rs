//! `continue` on a session that another device has open: to wait, to take it
//! over, to fork it. Two writers never share a file.

use std::process::Child;

use serde_json::Value;

use super::claude::Claude;
use super::world::{Device, Session, World, arrives, continue_into, pair, until};

const ID: &str = "5f0d7a52-6f0e-4d8e-9a41-0c6a8f6f1d71";

/// A session in a turn at desk, whole up to the turn before at laptop.
struct Stage {
    _world: World,
    a: Device,
    b: Device,
    on_a: Session,
    claude: Claude,
    into: String,
}

fn stage() -> Stage {
    let world = World::new();
    let (a, b) = (world.running("desk"), world.running("laptop"));
    pair(&a, &b);
    let mut on_a = a.session(ID, &a.project("work/proj"));
    let claude = Claude::open(&a, &on_a);
    claude.answer(&a, &mut on_a, "write the parser");
    arrives(&b, ID, &on_a);
    claude.prompt(&a, &on_a);
    until("laptop sees the turn", || b.rows(ID)[0]["state"] == "live");
    let into = b.project("proj").to_str().unwrap().to_owned();
    Stage {
        _world: world,
        a,
        b,
        on_a,
        claude,
        into,
    }
}

impl Stage {
    fn continue_args<'a>(&'a self, how: &'a str) -> [&'a str; 7] {
        [
            "continue",
            ID,
            "--into",
            &self.into,
            "--no-exec",
            "--json",
            how,
        ]
    }

    fn begin(&self, how: &str) -> Child {
        self.b.command(&self.continue_args(how)).spawn().unwrap()
    }

    /// The session as it was placed at laptop.
    fn on_b(&self, placed: &Value) -> Session {
        let path = placed["path"].as_str().unwrap();
        self.on_a.at(path.as_ref(), self.into.as_ref())
    }
}

/// What is said at the start of a session that went on elsewhere. A busy machine
/// says nothing rather than keep Claude Code waiting.
fn warned(device: &Device, claude: &Claude, session: &Session) -> String {
    let mut line = String::new();
    until("the start of the session says so", || {
        line = claude.hook(device, session, "SessionStart");
        line.contains("went on with this session")
    });
    line
}

fn ended(child: Child) -> (i32, String, String) {
    let out = child.wait_with_output().unwrap();
    (
        out.status.code().unwrap_or(-1),
        String::from_utf8(out.stdout).unwrap(),
        String::from_utf8(out.stderr).unwrap(),
    )
}

#[test]
fn without_a_terminal_the_question_is_an_answer() {
    let s = stage();
    let refused = s.b.run(&["continue", ID, "--into", &s.into, "--no-exec"]);
    assert_eq!(refused.code, 1, "{}", refused.stderr);
    for word in [
        "in a turn at desk",
        "--wait:",
        "--take-over:",
        "--fork:",
        "hint:",
    ] {
        assert!(refused.stderr.contains(word), "{word}: {}", refused.stderr);
    }
    assert!(
        refused.stderr.lines().all(|l| l.chars().count() <= 80),
        "{}",
        refused.stderr
    );
    let refused = s.b.run(&["continue", ID, "--into", &s.into, "--json"]);
    let error: Value = serde_json::from_str(&refused.stderr).unwrap();
    assert_eq!(refused.code, 1);
    assert_eq!(error["error"]["code"], "live", "{error}");
    let there = &error["error"]["elsewhere"];
    assert_eq!(there["device"]["name"], "desk", "{error}");
    assert_eq!(there["state"], "live");
    assert_eq!(there["connected"], true);
    assert!(there["since"].is_string());
    let local = s.b.json(&["sessions", "--local", "--json"]);
    assert!(local.as_array().unwrap().is_empty(), "something was placed");

    // Beside it: desk goes on, and so does laptop, under another id.
    let (code, out, err) = ended(s.begin("--fork"));
    assert_eq!(code, 0, "{err}");
    let placed: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(placed["placed"], "fork", "{placed}");
    assert!(placed["taken_from"].is_null(), "{placed}");
    assert!(
        s.a.json(&["status", "--json"])["taken_over"]
            .as_array()
            .unwrap()
            .is_empty()
    );
}

#[test]
fn wait_brings_the_end_of_the_turn() {
    let mut s = stage();
    let mut waiting = s.begin("--wait");
    let mut talk = std::io::BufReader::new(waiting.stderr.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut talk, &mut line).unwrap();
    assert!(line.contains("waiting") && line.contains("desk"), "{line}");
    assert!(waiting.try_wait().unwrap().is_none());
    s.claude.answer(&s.a, &mut s.on_a, "the end of the turn");
    // What Claude Code writes after its last hook comes along.
    s.on_a.append("a late word");
    let (code, out, _) = ended(waiting);
    assert_eq!(code, 0, "{out}");
    let placed: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(placed["placed"], "new", "{placed}");
    assert_eq!(placed["elsewhere"]["state"], "idle", "{placed}");
    assert_eq!(placed["taken_from"]["name"], "desk", "{placed}");
    let mut on_b = s.on_b(&placed);
    assert_eq!(on_b.records(), s.on_a.records());

    // Desk is told, everywhere where it looks.
    until("desk knows who has it", || {
        s.a.json(&["status", "--json"])["taken_over"][0]["by"]["name"] == "laptop"
    });
    assert_eq!(s.a.rows(ID)[0]["taken_over_by"]["name"], "laptop");
    let list = s.a.run(&["tasks"]).stderr;
    assert!(list.contains("taken over by laptop"), "{list}");
    let why = s.a.ok(&["why", ID]);
    assert!(
        why.replace("\n  ", " ").contains("taken over by laptop"),
        "{why}"
    );
    // What a model reads is in our words only.
    let line = warned(&s.a, &s.claude, &s.on_a);
    assert!(!line.contains("laptop"), "{line}");

    // Laptop goes on: one line.
    s.b.turn(&mut on_b, "on the laptop");
    arrives(&s.a, ID, &on_b);
    assert_eq!(s.a.rows(ID).len(), 1);

    // Whoever opens the old state at desk by hand hears of it, once it was
    // brought up to date there is nothing to hear.
    s.claude.hook(&s.a, &s.on_a, "SessionEnd");
    let by_hand = Claude::silent();
    warned(&s.a, &by_hand, &s.on_a);
    by_hand.hook(&s.a, &s.on_a, "SessionEnd");
    let back = s.a.json(&["continue", ID, "--no-exec", "--json"]);
    assert_eq!(back["placed"], "fast_forward", "{back}");
    assert_eq!(back["taken_from"]["name"], "laptop", "{back}");
    let line = by_hand.hook(&s.a, &s.on_a, "SessionStart");
    assert!(!line.contains("went on with this session"), "{line}");
}

#[test]
fn who_is_taken_over_and_writes_on_has_a_line_of_its_own() {
    let mut s = stage();
    let (code, out, err) = ended(s.begin("--take-over"));
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("desk"), "{err}");
    let placed: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(placed["placed"], "new", "{placed}");
    assert_eq!(placed["elsewhere"]["state"], "live", "{placed}");
    assert_eq!(placed["taken_from"]["name"], "desk", "{placed}");
    until("desk knows who has it", || {
        s.a.json(&["status", "--json"])["taken_over"][0]["session_id"] == ID
    });
    let why = s.a.json(&["why", ID, "--json"]);
    assert_eq!(why["baton"]["name"], "laptop", "{why}");
    assert_eq!(why["open_by"], s.claude.pid(), "{why}");
    assert!(why["next"].is_null(), "it is left alone: {why}");

    // Both write on, each in its own file.
    let mut on_b = s.on_b(&placed);
    let b_claude = Claude::open(&s.b, &on_b);
    b_claude.prompt(&s.b, &on_b);
    b_claude.answer(&s.b, &mut on_b, "the line of laptop");
    s.claude.answer(&s.a, &mut s.on_a, "the line of desk");
    let (a_bytes, b_bytes) = (s.on_a.bytes(), on_b.bytes());
    for device in [&s.a, &s.b] {
        until("both lines are there", || {
            let rows = device.rows(ID);
            rows.len() == 2 && rows.iter().all(|r| r["complete"] == true)
        });
        // Both are open: each is left alone where it is open.
        let rows = device.rows(ID);
        let own = rows
            .iter()
            .find(|r| r["device"]["name"] == device.name)
            .unwrap();
        let refused = device.run(&["continue", &own["n"].to_string(), "--no-exec", "--json"]);
        assert_eq!(refused.code, 1, "{}", refused.stdout);
        assert!(refused.stderr.contains("\"live\""), "{}", refused.stderr);
    }
    assert_eq!(
        (s.on_a.bytes(), on_b.bytes()),
        (a_bytes.clone(), b_bytes.clone())
    );
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    assert!(!text(a_bytes).contains("the line of laptop"));
    assert!(!text(b_bytes).contains("the line of desk"));
}

#[test]
fn one_that_waits_for_its_user_is_brought_at_once() {
    let mut s = stage();
    s.claude.answer(&s.a, &mut s.on_a, "and rest");
    arrives(&s.b, ID, &s.on_a);
    until("laptop sees that it waits", || {
        s.b.rows(ID)[0]["state"] == "idle"
    });
    let placed = continue_into(&s.b, ID, s.into.as_ref());
    assert_eq!(placed["placed"], "new", "{placed}");
    assert_eq!(placed["elsewhere"]["state"], "idle", "{placed}");
    assert_eq!(placed["taken_from"]["name"], "desk", "{placed}");
    until("desk knows who has it", || {
        s.a.rows(ID)[0]["taken_over_by"]["name"] == "laptop"
    });
    // Open at desk: not touched there.
    let refused = s.a.run(&["continue", ID, "--no-exec", "--json"]);
    assert_eq!(refused.code, 1, "{}", refused.stdout);
    assert!(
        refused.stderr.contains("open on this device"),
        "{}",
        refused.stderr
    );
}

#[test]
fn a_device_that_goes_away_is_not_waited_for_for_ever() {
    let mut s = stage();
    let mut waiting = s.begin("--wait");
    let mut talk = std::io::BufReader::new(waiting.stderr.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut talk, &mut line).unwrap();
    s.a.stop();
    let (code, out, _) = ended(waiting);
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut talk, &mut rest).unwrap();
    assert_eq!(code, 1, "{out}{rest}");
    let error = rest.lines().last().unwrap();
    let error: Value = serde_json::from_str(error).unwrap_or_else(|e| panic!("{e}: {rest}"));
    assert_eq!(error["error"]["code"], "live", "{error}");
    assert_eq!(error["error"]["elsewhere"]["connected"], false, "{error}");
    assert!(
        error["error"]["hint"]
            .as_str()
            .unwrap()
            .contains("--take-over")
    );
    // From what is here it goes on all the same.
    let (code, out, err) = ended(s.begin("--take-over"));
    assert_eq!(code, 0, "{out}{err}");
    // Desk comes back: its process writes on, and that is a line of its own.
    let placed: Value = serde_json::from_str(&out).unwrap();
    let mut on_b = s.on_b(&placed);
    s.b.turn(&mut on_b, "on the laptop");
    s.a.start();
    s.claude.answer(&s.a, &mut s.on_a, "the end of that turn");
    for device in [&s.a, &s.b] {
        until("both lines are there", || device.rows(ID).len() == 2);
    }
}

#[cfg(unix)]
#[test]
fn a_wait_can_be_broken_off() {
    let mut s = stage();
    let mut waiting = s.begin("--wait");
    let mut talk = std::io::BufReader::new(waiting.stderr.take().unwrap());
    std::io::BufRead::read_line(&mut talk, &mut String::new()).unwrap();
    let pid = nix::unistd::Pid::from_raw(i32::try_from(waiting.id()).unwrap());
    // As Ctrl-C does; that signal itself is ignored by all that a shell starts in
    // the background, this test among them.
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    waiting.wait().unwrap();
    // Nothing was placed, and nothing is when the turn ends.
    s.claude.answer(&s.a, &mut s.on_a, "the end of the turn");
    arrives(&s.b, ID, &s.on_a);
    let placed = continue_into(&s.b, ID, s.into.as_ref());
    assert_eq!(
        placed["placed"], "new",
        "somebody went on waiting: {placed}"
    );
}
