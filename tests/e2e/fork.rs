//! Both machines continue the same session apart from each other.

use std::fs;

use super::story::Story;
use super::world::{arrives, connected, until};

const ID: &str = "5f0d7a52-6f0e-4d8e-9a41-0c6a8f6f1d11";

#[test]
fn both_lines_survive_and_each_can_be_resumed() {
    let mut story = Story::continued(ID);
    story.part();
    let Story {
        a, b, on_a, on_b, ..
    } = &story;
    let (a_bytes, b_bytes) = (on_a.bytes(), on_b.bytes());

    // Without a word which, it is a question and not a guess.
    let asked = a.run(&["continue", ID, "--no-exec", "--json"]);
    assert_eq!(asked.code, 1, "{}", asked.stderr);
    assert!(asked.stderr.contains("ambiguous"), "{}", asked.stderr);

    for (device, own, other, bytes) in [
        (a, "desk", "laptop", &a_bytes),
        (b, "laptop", "desk", &b_bytes),
    ] {
        let rows = device.rows(ID);
        let number = |name: &str| {
            rows.iter().find(|r| r["device"]["name"] == name).unwrap()["n"].to_string()
        };
        let mine = device.json(&["continue", &number(own), "--no-exec", "--json"]);
        assert_eq!(mine["placed"], "up_to_date", "{mine}");
        let theirs = device.json(&["continue", &number(other), "--no-exec", "--json"]);
        assert_eq!(theirs["placed"], "fork", "{theirs}");
        let new = theirs["new_session_id"].as_str().unwrap();
        assert_ne!(new, ID);
        let text = fs::read_to_string(theirs["path"].as_str().unwrap()).unwrap();
        assert!(text.contains(&format!("the line of {other}")));
        assert!(!text.contains(&format!("the line of {own}")));
        assert!(
            text.contains(&format!("(from {other})")),
            "the fork says where it is from"
        );
        let local = if own == "desk" {
            on_a.bytes()
        } else {
            on_b.bytes()
        };
        assert_eq!(&local, bytes, "the local line was touched");
    }
}

/// Lines that Claude Code writes after its last hook.
fn trailing(session: &super::world::Session) {
    use std::io::Write;
    let line = format!(
        "{{\"type\":\"cost-state\",\"sessionId\":\"{}\",\"cost\":1}}\n",
        session.id
    );
    let mut file = fs::OpenOptions::new()
        .append(true)
        .open(&session.transcript)
        .unwrap();
    file.write_all(line.as_bytes()).unwrap();
}

#[test]
fn bookkeeping_after_the_last_hook_is_no_fork() {
    let mut story = Story::continued(ID);

    // Found after the other side went on: no version is made of it.
    story.b.turn(&mut story.on_b, "went on");
    arrives(&story.a, ID, &story.on_b);
    trailing(&story.on_a);
    // At once: what grew from it elsewhere is held by whoever wrote that.
    let a = &story.a;
    let pushed = a.ok(&["push", ID]);
    assert!(pushed.contains("held by laptop"), "{pushed}");
    assert_eq!(a.rows(ID).len(), 1, "a fork of bookkeeping");
    let back = a.json(&["continue", ID, "--no-exec", "--json"]);
    assert_eq!(back["placed"], "fast_forward", "{back}");
    arrives(&story.b, ID, &story.on_a);

    // Captured before it was heard that the other side went on: two heads, which
    // become one when the session is continued.
    story.continue_on_b();
    let Story {
        a, b, on_a, on_b, ..
    } = &mut story;
    a.stop();
    b.turn(on_b, "went on again");
    b.ok(&["push", ID]);
    trailing(on_a);
    b.stop();
    a.start();
    a.ok(&["push", ID]);
    b.start();
    connected(a, b);
    until("both heads are known", || a.rows(ID).len() == 2);
    let n = a
        .rows(ID)
        .iter()
        .find(|r| r["device"]["name"] == "laptop")
        .unwrap()["n"]
        .to_string();
    let back = a.json(&["continue", &n, "--no-exec", "--json"]);
    assert_eq!(back["placed"], "fast_forward", "{back}");
    for device in [a, b] {
        until("one head again", || device.rows(ID).len() == 1);
    }
    assert!(
        String::from_utf8(on_a.bytes())
            .unwrap()
            .contains("went on again")
    );
}
