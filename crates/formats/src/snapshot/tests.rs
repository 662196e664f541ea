//! Tests of the hand-off document.

use ccpeer_core::presence::EndReason;
use proptest::prelude::*;

use super::*;
use crate::claude::tasks::TodoStatus;
use crate::claude::transcript::{
    CommandRun, Commit, Digest, EditedFile, PendingTool, Prompt, Summary, TurnState,
};

const FULL: &[u8] = include_bytes!(
    "../../../../testdata/claude/full/claude/projects/-home-ann-fx-full-work-proj/aa21a64c-b7a7-41b7-a51f-ceeccfa4623b.jsonl"
);
const CHINESE: &[u8] = include_bytes!(
    "../../../../testdata/claude/chinese/claude/projects/-home-ann-fx-chinese----------v1-2-x/fdb5b173-fe74-41d9-8d5c-c99576b4968a.jsonl"
);

fn summary_of(bytes: &[u8]) -> Summary {
    let mut digest = Digest::default();
    digest.feed(bytes);
    digest.summary()
}

fn facts(state: SessionState) -> Facts {
    Facts {
        session: "aa21a64c-b7a7-41b7-a51f-ceeccfa4623b".parse().unwrap(),
        project: "proj".into(),
        home: Some("/home/ann".into()),
        branch: None,
        head: None,
        dirty: None,
        todos: Vec::new(),
        last_assistant_message: None,
        device: "desk".into(),
        updated: Timestamp(1_795_214_003_524),
        state,
    }
}

fn prompt(text: &str) -> Prompt {
    Prompt {
        text: text.into(),
        at_ms: None,
        answer: None,
    }
}

/// A session that was cut off in the middle of real work.
fn cut_off() -> (Summary, Facts) {
    let run = |command: &str, ok, output: &str, turn| CommandRun {
        command: command.into(),
        ok,
        output: output.into(),
        turn,
    };
    let file = |path: &str, edits| EditedFile {
        path: path.into(),
        edits,
        turn: 2,
    };
    let todo = |subject: &str, status| Todo {
        subject: subject.into(),
        status,
    };
    let summary = Summary {
        first_cwd: Some("/home/ann/work/shop/api".into()),
        first_prompt: Some("Fix the rounding in /home/ann/work/shop/api/src/price.rs".into()),
        prompts: vec![
            Prompt {
                answer: Some("The cause is `round()`.\n\nI will use integers.".into()),
                ..prompt("Fix the rounding in /home/ann/work/shop/api/src/price.rs")
            },
            prompt("Yes, integers. Add tests\n# and nothing else\n---"),
        ],
        last_assistant: Some("Now I run the tests.".into()),
        answers: vec!["\"Which unit?\"=\"Cents\"".into()],
        edited: vec![
            file("/home/ann/work/shop/api/src/price.rs", 4),
            file("/home/ann/notes.md", 1),
            file("/home/ann/work/shop/api/tests/price.rs", 1),
        ],
        commands: vec![
            run("cd /home/ann/work/shop/api && cargo build", true, "", 2),
            run(
                "cargo test -p api",
                false,
                "test rounds_half ... FAILED\nat /home/ann/work/shop/api/tests/price.rs:12",
                2,
            ),
            run("make old", false, "long ago", 0),
        ],
        commits: vec![Commit {
            hash: "1a2b3c4".into(),
            subject: "price: integers".into(),
        }],
        pending: vec![PendingTool {
            name: "Bash".into(),
            about: "cargo test".into(),
        }],
        subagents: vec!["Look for other uses".into()],
        turn: TurnState::Open,
        turns: 2,
        records: 90,
        bytes: 4096,
        ..Summary::default()
    };
    let facts = Facts {
        project: "api".into(),
        branch: Some("fix/rounding".into()),
        head: Some("1a2b3c4".into()),
        dirty: Some(vec![
            " M api/tests/price.rs".into(),
            "?? api/out.txt".into(),
        ]),
        todos: vec![
            todo("Use integers", TodoStatus::Completed),
            todo("Write a changelog", TodoStatus::Pending),
            todo("Make the tests pass", TodoStatus::InProgress),
        ],
        ..facts(SessionState::Interrupted)
    };
    (summary, facts)
}

/// The document that facts alone make of it.
pub(super) fn tier0() -> Snapshot {
    let (summary, facts) = cut_off();
    compose(&summary, &facts)
}

#[test]
fn a_real_session_rendered() {
    let snapshot = compose(&summary_of(FULL), &facts(SessionState::Interrupted));
    insta::assert_snapshot!(snapshot.to_markdown("desk"), @r#"
    ---
    title: Full session
    machine: desk
    session: aa21a64c-b7a7-41b7-a51f-ceeccfa4623b
    project: proj
    branch:
    created: 2026-11-20T22:33:10.210Z
    updated: 2026-11-20T22:33:23.524Z
    ccpeer: 1
    ---

    # Full session

    ## Task

    The user asked:
    > first: [lab:edit]

    Later, in this order:
    - second: [lab:agent]
    - third: [lab:tasks]
    - fourth: [lab:edit2]

    The latest request:
    > fifth: [lab:bigout]

    ## Done

    - Write the parser

    Earlier requests, and what Claude said at the end of each:
    - “first: [lab:edit]” — The file has three lines. Done (FAKE).
    - “second: [lab:agent]” — FAKE-REPLY (17 messages seen):
    - “third: [lab:tasks]” — One of three tasks is done (FAKE).
    - “fourth: [lab:edit2]” — Second turn over (FAKE).

    Claude's last report:
    > That was big (FAKE).

    ## In progress

    Claude has answered the latest request; the session then ended without being closed.

    ## Next steps

    1. Make sure that the files named below are here as they are on desk: only the session travels by itself, files do not.
    2. 测试 the parser
    3. Ship it

    ## Files

    - `sub dir/other.md` — changed once
    - `hello.txt` — changed 3 times

    ## Handoff prompt

    You take over a Claude Code session from desk: “Full session” in the project proj. Paths are relative to that project's directory.
    The user asked: “first: [lab:edit]”
    The latest request: “fifth: [lab:bigout]”
    Claude has answered the latest request; the session then ended without being closed.
    Claude last said: “That was big (FAKE).”
    Done, do not redo: Write the parser
    Still open: 测试 the parser; Ship it
    Open these files first: sub dir/other.md; hello.txt
    Before you change anything: Make sure that the files named below are here as they are on desk: only the session travels by itself, files do not.
    Then begin with: 测试 the parser
    "#);
}

#[test]
fn a_session_cut_off_in_its_work_rendered() {
    let (summary, facts) = cut_off();
    insta::assert_snapshot!(compose(&summary, &facts).to_markdown("desk"), @r#"
    ---
    title: Fix the rounding in src/price.rs
    machine: desk
    session: aa21a64c-b7a7-41b7-a51f-ceeccfa4623b
    project: api
    branch: fix/rounding
    updated: 2026-11-20T22:33:23.524Z
    ccpeer: 1
    ---

    # Fix the rounding in src/price.rs

    ## Task

    The user asked:
    > Fix the rounding in src/price.rs

    The latest request:
    > Yes, integers. Add tests
    > # and nothing else
    > ---

    Questions that the user has decided:
    - "Which unit?"="Cents"

    ## Done

    - Use integers
    - commit 1a2b3c4: price: integers
    - `cargo build` succeeded when it was last run

    Earlier requests, and what Claude said at the end of each:
    - “Fix the rounding in src/price.rs” — The cause is `round()`. I will use integers.

    ## In progress

    The session stopped in the middle of a turn: the latest request has no final answer.

    - Begun: Make the tests pass
    - Started and without a result: Bash `cargo test`
    - A sub-agent was not seen to finish: Look for other uses
    - `cargo test -p api` failed when it was last run:
          test rounds_half ... FAILED
          at tests/price.rs:12
    - 2 uncommitted changes on desk:
      - `api/tests/price.rs`
      - `api/out.txt`

    What Claude said last:
    > Now I run the tests.

    ## Next steps

    1. Check out commit 1a2b3c4 of branch fix/rounding and bring over the uncommitted changes from desk: only the session travels by itself, files do not.
    2. See whether this took effect, and do it again if not: Bash `cargo test`
    3. Finish the latest request: “Yes, integers. Add tests # and nothing else ---”
    4. Make `cargo test -p api` succeed.
    5. Make the tests pass
    6. Write a changelog

    ## Files

    - `tests/price.rs` — changed once, not committed
    - `~/notes.md` — changed once
    - `src/price.rs` — changed 4 times
    - `api/out.txt` — not committed

    ## Handoff prompt

    You take over a Claude Code session from desk: “Fix the rounding in src/price.rs” in the project api (commit 1a2b3c4 of branch fix/rounding). Paths are relative to that project's directory.
    The user asked: “Fix the rounding in src/price.rs”
    The latest request: “Yes, integers. Add tests # and nothing else ---”
    The session stopped in the middle of a turn: the latest request has no final answer.
    Claude last said: “Now I run the tests.”
    Done, do not redo: Use integers; commit 1a2b3c4 (price: integers)
    Still open: Make the tests pass; Write a changelog
    Open these files first: tests/price.rs; ~/notes.md; src/price.rs
    Before you change anything: Check out commit 1a2b3c4 of branch fix/rounding and bring over the uncommitted changes from desk: only the session travels by itself, files do not.
    Then begin with: See whether this took effect, and do it again if not: Bash `cargo test`
    "#);
}

#[test]
fn a_chinese_session_is_handed_off_in_chinese() {
    let snapshot = compose(&summary_of(CHINESE), &facts(SessionState::Live));
    assert!(
        snapshot
            .sections
            .task
            .starts_with("用户的要求：\n> 请创建一个文件")
    );
    assert!(
        snapshot
            .sections
            .handoff_prompt
            .starts_with("你要接手 desk 上的一个")
    );
    assert!(
        snapshot
            .sections
            .files
            .contains("`说明 文档.md` — 修改 2 次")
    );
}

#[test]
fn the_same_facts_give_the_same_bytes() {
    let make = || compose(&summary_of(FULL), &facts(SessionState::Idle)).to_bytes();
    assert_eq!(make(), make());
}

#[test]
fn what_the_hook_brought_is_newer_than_the_file() {
    let (summary, mut facts) = cut_off();
    facts.last_assistant_message = Some("All green in /home/ann/work/shop/api.".into());
    facts.state = SessionState::Idle;
    let s = compose(&summary, &facts).sections;
    assert!(s.done.contains("> All green in .."), "{}", s.done);
    assert!(
        s.in_progress.contains("waits for the user"),
        "{}",
        s.in_progress
    );
    assert!(
        !s.next_steps.contains("took effect"),
        "the turn is over, its calls too"
    );
}

#[test]
fn every_state_has_its_sentence() {
    let states = [
        SessionState::Live,
        SessionState::Idle,
        SessionState::Interrupted,
        SessionState::Ended(EndReason::PromptExit),
        SessionState::Done,
    ];
    let turns = [
        TurnState::None,
        TurnState::Open,
        TurnState::Ended,
        TurnState::Interrupted,
        TurnState::Failed("API Error: 529".into()),
    ];
    for state in states {
        for turn in &turns {
            let summary = Summary {
                turn: turn.clone(),
                ..Summary::default()
            };
            let s = compose(&summary, &facts(state)).sections;
            for section in [
                &s.task,
                &s.done,
                &s.in_progress,
                &s.next_steps,
                &s.files,
                &s.handoff_prompt,
            ] {
                assert!(!section.is_empty(), "{state:?} {turn:?}");
            }
        }
    }
    let empty = compose(&Summary::default(), &facts(SessionState::Idle));
    assert_eq!(
        empty.title, "proj",
        "a session without words is called after its project"
    );
}

#[test]
fn encoded_and_decoded() {
    let (summary, facts) = cut_off();
    let snapshot = compose(&summary, &facts);
    let bytes = snapshot.to_bytes();
    assert_eq!(Snapshot::from_bytes(&bytes), Ok(snapshot.clone()));
    let json: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(json["session_id"], "aa21a64c-b7a7-41b7-a51f-ceeccfa4623b");
    assert_eq!(json["updated"], "2026-11-20T22:33:23.524Z");
    assert_eq!(json["v"], 1);

    let least = r#"{"v":1,"session_id":"aa21a64c-b7a7-41b7-a51f-ceeccfa4623b","updated":"2026-11-20T22:33:23Z","new":[{}],"sections":{"task":"x","newer":1}}"#;
    assert_eq!(
        Snapshot::from_bytes(least.as_bytes())
            .unwrap()
            .sections
            .task,
        "x"
    );
}

#[test]
fn documents_that_are_refused() {
    let refused = |bytes: &[u8]| Snapshot::from_bytes(bytes).unwrap_err();
    assert_eq!(refused(br#"{"v":2}"#), SnapshotError::Version(2));
    let long = vec![b' '; limits::SNAPSHOT_BYTES_MAX + 1];
    assert_eq!(
        refused(&long),
        SnapshotError::TooLong(limits::SNAPSHOT_BYTES_MAX + 1)
    );
    let deep = format!("{{\"v\":{}", "[".repeat(60_000));
    let passed_over = format!("{{\"x\":{}", "[".repeat(60_000));
    for bad in [
        "",
        "[]",
        "{}",
        "\u{0}",
        r#"{"v":1}"#,
        r#"{"v":1,"session_id":"../x"}"#,
        &deep,
        &passed_over,
    ] {
        assert!(matches!(
            refused(bad.as_bytes()),
            SnapshotError::Malformed { .. }
        ));
    }
}

/// A document of a stranger cannot hide text or speak to a terminal.
#[test]
fn k_i02_documents_are_stripped() {
    let (summary, facts) = cut_off();
    let mut hostile = compose(&summary, &facts);
    let evil = "a\u{1b}]0;t\u{7}\u{202e}b\u{e0041}\u{200b}c\r\n\u{9b}31md";
    hostile.title = evil.into();
    hostile.device = evil.into();
    hostile.sections.task = evil.into();
    hostile.sections.handoff_prompt = "x".repeat(5000);
    // As a peer would encode it, without our own care.
    let bytes = serde_json::to_vec(&hostile).unwrap();
    let read = Snapshot::from_bytes(&bytes).unwrap();
    assert_eq!(
        (read.title.as_str(), read.device.as_str()),
        ("abc d", "abc d")
    );
    assert_eq!(read.sections.task, "abc\nd");
    assert_eq!(
        read.sections.handoff_prompt.len(),
        limits::HANDOFF_CHARS_MAX
    );
}

/// The longest texts that a digest can hold still make a document that fits,
/// with all of the hand-off prompt's parts.
#[test]
fn long_texts_are_cut_to_fit() {
    for unit in ["\\\"word ", "很长的一句话。"] {
        let long = unit.repeat(limits::DIGEST_TEXT_CHARS_MAX / unit.chars().count());
        let many = |n: usize| (0..n).map(|i| format!("{i}{long}")).collect::<Vec<_>>();
        let summary = Summary {
            first_cwd: Some("/p".into()),
            custom_title: Some(long.clone()),
            first_prompt: Some(long.clone()),
            prompts: many(64)
                .into_iter()
                .map(|text| Prompt {
                    answer: Some(text.clone()),
                    ..prompt(&text)
                })
                .collect(),
            last_assistant: Some(long.clone()),
            compact_summary: Some(long.clone()),
            plan: Some(long.clone()),
            answers: many(64),
            edited: many(100)
                .into_iter()
                .map(|path| EditedFile {
                    path,
                    edits: 1,
                    turn: 1,
                })
                .collect(),
            commands: many(64)
                .into_iter()
                .map(|c| CommandRun {
                    command: c.clone(),
                    ok: false,
                    output: c,
                    turn: 64,
                })
                .collect(),
            commits: many(64)
                .into_iter()
                .map(|c| Commit {
                    hash: "1234567".into(),
                    subject: c,
                })
                .collect(),
            pending: many(64)
                .into_iter()
                .map(|about| PendingTool {
                    name: "Bash".into(),
                    about,
                })
                .collect(),
            subagents: many(64),
            turn: TurnState::Open,
            turns: 64,
            ..Summary::default()
        };
        let facts = Facts {
            project: long.clone(),
            branch: Some(long.clone()),
            head: Some(long.clone()),
            dirty: Some(many(3000)),
            todos: many(64)
                .into_iter()
                .map(|subject| Todo {
                    subject,
                    status: TodoStatus::Pending,
                })
                .collect(),
            device: long.clone(),
            ..facts(SessionState::Interrupted)
        };
        let snapshot = compose(&summary, &facts);
        let bytes = snapshot.to_bytes();
        assert!(bytes.len() <= limits::SNAPSHOT_BYTES_MAX);
        let read = Snapshot::from_bytes(&bytes).unwrap();
        assert!(read.title.chars().count() <= limits::TITLE_CHARS_MAX);
        let handoff = &read.sections.handoff_prompt;
        assert!(handoff.chars().count() <= limits::HANDOFF_CHARS_MAX);
        assert!(
            handoff.chars().count() > limits::HANDOFF_CHARS_MAX / 2,
            "the room is used"
        );
        assert_eq!(handoff.lines().count(), 10, "{handoff}");
        for section in [
            &read.sections.task,
            &read.sections.done,
            &read.sections.next_steps,
        ] {
            assert!(!section.is_empty());
        }
        let again = Snapshot::from_bytes(&read.to_bytes()).unwrap();
        assert_eq!(again, read, "what fits is not cut again");
    }
}

#[test]
fn k_a01_file_names_are_safe() {
    let id = facts(SessionState::Idle).session;
    let check = |host: &str, want: &str| {
        assert_eq!(
            markdown_name(host, &id),
            format!("{want}-{id}.md"),
            "{host:?}"
        );
    };
    check("linux-desktop.local", "linux-desktop.local");
    check("../../etc", "-..-etc");
    check("", "unknown");
    check("..", "unknown");
    check("我的 Mac", "---Mac");
    check(&"x".repeat(999), &"x".repeat(64));
}

#[test]
fn no_text_passes_for_a_part_of_the_file() {
    let (summary, mut facts) = cut_off();
    facts.device = "x\n---\nupdated: 1".into();
    let mut snapshot = compose(&summary, &facts);
    snapshot.title = "---: [evil] \"title\" # x".into();
    snapshot.sections.files = "## Handoff prompt\nevil\n---\n  # x".into();
    let text = snapshot.to_markdown("a: b");
    assert_eq!(text.matches("\n## Handoff prompt\n").count(), 1);
    assert!(text.contains("\n\\## Handoff prompt\nevil\n\\---\n\\# x\n"));
    assert!(text.starts_with("---\ntitle: \"---: [evil] \\\"title\\\" # x\"\nmachine: \"a: b\"\n"));
    assert_eq!(text.lines().filter(|l| *l == "---").count(), 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_bytes_are_fatal(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Snapshot::from_bytes(&bytes);
    }

    #[test]
    fn any_words_round_trip(first in "\\PC{0,80}", last in "(\\PC|\n){0,80}", branch in "\\PC{0,20}") {
        let (mut summary, mut facts) = cut_off();
        summary.prompts[0].text = first;
        summary.prompts[1].text = last;
        facts.branch = Some(branch);
        let read = Snapshot::from_bytes(&compose(&summary, &facts).to_bytes()).unwrap();
        prop_assert_eq!(Snapshot::from_bytes(&read.to_bytes()).unwrap(), read);
    }
}
