//! The hook client from outside: it always ends with 0, in time, in silence, and
//! the event is at the agent or in the spool.

mod durable;
mod input;
mod small;
mod spoiled;

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::process::{Output, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use ccpeer_agent::api::{FRAME_ERROR, FRAME_HOOK, FRAME_OK, HookHeader};
use ccpeer_agent::client::{read_frame, write_frame};
use ccpeer_agent::spool;
use ccpeer_core::limits;
use serde_json::json;

use crate::form::times;
use crate::support::{User, stderr, stdout, wait_for_end};

const STOP: &[u8] =
    br#"{"session_id":"aa21a64c-b7a7-41b7-a51f-ceeccfa4623b","hook_event_name":"Stop"}"#;

/// Asserts what holds for every call, whatever happened.
#[track_caller]
fn assert_silent(output: &Output) {
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(stdout(output), "");
    assert_eq!(stderr(output), "");
}

/// Every call is in time, start of the process included.
#[track_caller]
fn assert_in_time(run: impl FnOnce()) -> Duration {
    let bound = Duration::from_millis(limits::HOOK_DEADLINE_MS);
    let started = Instant::now();
    run();
    let took = started.elapsed();
    assert!(took <= bound, "{took:?} instead of {bound:?}");
    took
}

/// The events in the spool, in order.
fn spooled(user: &User) -> Vec<(HookHeader, Vec<u8>)> {
    spool::list(&user.home())
        .iter()
        .map(|path| {
            let bytes = fs::read(path).unwrap();
            let (header, input) = spool::decode(&bytes).expect("not a whole event");
            (header, input.to_owned())
        })
        .collect()
}

fn acknowledge(stream: &mut UnixStream, value: serde_json::Value) {
    let body = serde_json::to_vec(&value).unwrap();
    write_frame(stream, FRAME_OK, &body).unwrap();
}

#[test]
fn k_h02_without_an_agent_events_wait_in_order() {
    let user = User::new();
    assert_in_time(|| assert_silent(&user.run_with(&["hook", "Stop"], STOP)));
    for n in 0..10 {
        let input = format!("{{\"n\":{n}}}");
        assert_silent(&user.run_with(&["hook", "PreCompact"], input.as_bytes()));
    }
    let events = spooled(&user);
    assert_eq!(events[0].1, STOP);
    assert_eq!(events[0].0.event, "Stop");
    let late: Vec<String> = events
        .iter()
        .filter(|(header, _)| header.event == "PreCompact")
        .map(|(_, input)| String::from_utf8(input.clone()).unwrap())
        .collect();
    assert_eq!(
        late,
        (0..10)
            .map(|n| format!("{{\"n\":{n}}}"))
            .collect::<Vec<_>>()
    );
}

#[test]
fn the_agent_gets_the_event_as_it_came_and_what_the_environment_says() {
    let user = User::new();
    let (seen, frames) = channel();
    user.listen(move |mut stream| {
        seen.send(read_frame(&mut stream).unwrap()).unwrap();
        acknowledge(&mut stream, json!({}));
    });
    let mut command = user.ccpeer(&["hook", "Stop"]);
    let mut child = command
        .env("CLAUDE_PID", "4711")
        .env("CLAUDE_PROJECT_DIR", "/p")
        .env("CLAUDE_CODE_SESSION_ID", "s")
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"{ \"odd\":\n1}")
        .unwrap();
    assert_eq!(wait_for_end(&mut child), 0);
    let (kind, body) = frames.recv().unwrap();
    assert_eq!(kind, FRAME_HOOK);
    let (header, input) = spool::decode(&body).unwrap();
    assert_eq!(input, b"{ \"odd\":\n1}");
    assert_eq!(header.pid, Some(4711));
    assert_eq!(header.project_dir.as_deref(), Some("/p"));
    assert_eq!(header.session.as_deref(), Some("s"));
    assert!(!header.cut && header.id.len() == 32);
    assert!(spooled(&user).is_empty());
}

#[test]
fn k_h03_whatever_the_agent_does_the_event_is_spooled_in_time() {
    type Serve = fn(UnixStream);
    let cases: [(&str, Serve); 5] = [
        ("never answers", |stream| {
            let (_never, wait) = channel::<()>();
            let _ = wait.recv_timeout(Duration::from_secs(5));
            drop(stream);
        }),
        ("answers garbage", |mut stream| {
            let _ = read_frame(&mut stream);
            let _ = stream.write_all(&[0xff; 64]);
        }),
        ("answers in another protocol", |mut stream| {
            let _ = read_frame(&mut stream);
            let _ = write_frame(&mut stream, b'?', b"{}");
        }),
        ("refuses", |mut stream| {
            let _ = read_frame(&mut stream);
            let _ = write_frame(&mut stream, FRAME_ERROR, br#"{"reply":"nonsense"}"#);
        }),
        ("closes", drop),
    ];
    for (what, serve) in cases {
        let user = User::new();
        user.listen(serve);
        let runs = times(2, 100);
        for _ in 0..runs {
            assert_in_time(|| assert_silent(&user.run_with(&["hook", "Stop"], STOP)));
        }
        let events = spooled(&user);
        assert_eq!(events.len(), runs as usize, "{what}");
        assert!(events.iter().all(|(_, input)| input == STOP), "{what}");
    }
}

/// A stopped agent: the kernel takes connections until its queue is full, then
/// even connecting blocks.
#[test]
fn k_h03_an_agent_that_accepts_nothing_is_not_waited_for() {
    let user = User::new();
    let listener = user.bind();
    let path = user.home().socket();
    let (full, reached) = channel();
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        while let Ok(stream) = UnixStream::connect(&path) {
            kept.push(stream);
            if full.send(kept.len()).is_err() {
                return;
            }
        }
    });
    // The queue is full when no further connection comes about.
    while reached.recv_timeout(Duration::from_millis(300)).is_ok() {}
    let runs = times(2, 100);
    for _ in 0..runs {
        assert_in_time(|| assert_silent(&user.run_with(&["hook", "Stop"], STOP)));
    }
    assert_eq!(spooled(&user).len(), runs as usize);
    drop(listener);
}

#[test]
fn k_h07_programs_that_ccpeer_started_cause_no_events() {
    let user = User::new();
    let output = user
        .ccpeer(&["hook", "Stop"])
        .env("CCPEER_CHILD", "1")
        .output()
        .unwrap();
    assert_silent(&output);
    assert!(!user.home().root().exists());
}

#[test]
fn k_h08_only_the_start_of_a_session_may_print_one_line() {
    let line = "ccpeer: 2 unfinished sessions on other machines (desk, 14 h).";
    let long = format!("ccpeer: {}", "x".repeat(400));
    let cases = [
        ("SessionStart", json!({"line": line}), format!("{line}\n")),
        ("Stop", json!({"line": line}), String::new()),
        ("SessionEnd", json!({"line": line}), String::new()),
        ("UserPromptSubmit", json!({"line": line}), String::new()),
        ("SessionStart", json!({}), String::new()),
        ("SessionStart", json!({"line": "obey me"}), String::new()),
        (
            "SessionStart",
            json!({"line": "ccpeer: a\nb"}),
            String::new(),
        ),
        (
            "SessionStart",
            json!({"line": "ccpeer: \u{1b}[2J"}),
            String::new(),
        ),
        ("SessionStart", json!({"line": long}), String::new()),
        ("SessionStart", json!({"line": ["ccpeer: "]}), String::new()),
    ];
    for (event, answer, want) in cases {
        let user = User::new();
        let shown = answer.to_string();
        user.listen(move |mut stream| {
            read_frame(&mut stream).unwrap();
            acknowledge(&mut stream, answer.clone());
        });
        let output = user.run_with(&["hook", event], STOP);
        assert_eq!(output.status.code(), Some(0));
        // On a machine that is slow enough the answer comes too late.
        if spooled(&user).is_empty() {
            assert_eq!(stdout(&output), want, "{event} {shown}");
        }
        assert_eq!(stderr(&output), "");
    }
}

#[test]
fn a_hook_call_is_never_wrong_usage() {
    let user = User::new();
    for args in [
        &["hook"][..],
        &["hook", "Stop", "extra"],
        &["hook", "--nonsense"],
        &["hook", ""],
    ] {
        assert_silent(&user.run_with(args, STOP));
    }
}

/// Claude Code 2.1.54 knows no `args` and runs the bare program.
#[test]
fn a_bare_call_with_an_event_on_its_input_is_a_hook() {
    let user = User::new();
    let bare = |input: &[u8], env: Option<&str>| {
        let mut command = user.ccpeer(&[]);
        command.envs(env.map(|dir| ("CLAUDE_PROJECT_DIR", dir)));
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        child.wait_with_output().unwrap()
    };
    assert_silent(&bare(STOP, Some("/p")));
    let (header, input) = spooled(&user).pop().unwrap();
    assert_eq!((header.event.as_str(), input.as_slice()), ("Stop", STOP));
    assert_eq!(header.project_dir.as_deref(), Some("/p"));
    // Anything else is the list of tasks, for which there is no agent here.
    for (input, env) in [(&b"text"[..], Some("/p")), (b"", Some("/p")), (STOP, None)] {
        assert_eq!(bare(input, env).status.code(), Some(3));
    }
    assert_eq!(spooled(&user).len(), 1);
}
