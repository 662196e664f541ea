//! Tests of the digest: real transcripts, made-up ones, hostile ones.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::claude::tasks::TodoStatus;

macro_rules! fixture {
    ($path:literal) => {
        include_bytes!(concat!("../../../../../testdata/claude/", $path)).as_slice()
    };
}

const FULL: &[u8] = fixture!(
    "full/claude/projects/-home-ann-fx-full-work-proj/aa21a64c-b7a7-41b7-a51f-ceeccfa4623b.jsonl"
);
const COMPACTED: &[u8] = fixture!(
    "compacted/claude/projects/-home-ann-fx-compacted-work-proj/9ce25fd5-3fbc-4195-8e76-d2bd8495d310.jsonl"
);
const MOVED: &[u8] = fixture!(
    "branches/claude/projects/-home-ann-fx-branches-work-proj-inner-dir/73f5e978-c33a-4a83-94aa-0fbbf212fd0f.jsonl"
);
const CHINESE: &[u8] = fixture!(
    "chinese/claude/projects/-home-ann-fx-chinese----------v1-2-x/fdb5b173-fe74-41d9-8d5c-c99576b4968a.jsonl"
);
const OLD: &[u8] = fixture!(
    "v2.1.54/claude/projects/-home-ann-fx-v2-1-54-work-proj/19f5450b-6242-4b90-8427-eefda48f04aa.jsonl"
);
const OLDER_NATIVE: &[u8] = fixture!(
    "v2.1.197/claude/projects/-home-ann-fx-v2-1-197-work-proj/f28f71d2-0d7a-4720-9774-7864f73dcb29.jsonl"
);

fn read(bytes: &[u8]) -> Summary {
    let mut digest = Digest::default();
    digest.feed(bytes);
    digest.summary()
}

fn texts(summary: &Summary) -> Vec<&str> {
    summary.prompts.iter().map(|p| p.text.as_str()).collect()
}

/// A transcript in the making: every record hangs on the one before.
#[derive(Default)]
struct Script {
    out: String,
    last: Option<String>,
    count: usize,
}

impl Script {
    fn add(&mut self, mut record: Value) -> String {
        self.count += 1;
        let uuid = format!("u{}", self.count);
        let fields = record.as_object_mut().unwrap();
        fields.entry("uuid").or_insert(json!(uuid));
        fields.entry("parentUuid").or_insert(json!(self.last));
        self.out.push_str(&format!("{record}\n"));
        self.last = Some(uuid.clone());
        uuid
    }

    fn state(&mut self, record: Value) {
        self.out.push_str(&format!("{record}\n"));
    }

    fn user(&mut self, text: &str) -> String {
        self.add(json!({"type": "user", "message": {"role": "user", "content": text}}))
    }

    fn says(&mut self, text: &str) -> String {
        self.add(
            json!({"type": "assistant", "message": {"model": "m", "stop_reason": "end_turn",
            "content": [{"type": "text", "text": text}]}}),
        )
    }

    fn calls(&mut self, id: &str, name: &str, input: Value) {
        self.add(
            json!({"type": "assistant", "message": {"model": "m", "stop_reason": "tool_use",
            "content": [{"type": "tool_use", "id": id, "name": name, "input": input}]}}),
        );
    }

    fn result(&mut self, id: &str, content: &str, is_error: bool, structured: Value) {
        self.add(json!({"type": "user", "toolUseResult": structured, "message": {"content": [
            {"type": "tool_result", "tool_use_id": id, "is_error": is_error, "content": content}]}}));
    }

    fn runs(&mut self, command: &str, output: &str, is_error: bool) {
        let id = format!("t{}", self.count);
        self.calls(&id, "Bash", json!({"command": command}));
        self.result(&id, output, is_error, Value::Null);
    }

    fn summary(&self) -> Summary {
        read(self.out.as_bytes())
    }
}

#[test]
fn a_real_session() {
    let summary = read(FULL);
    assert_eq!((summary.bytes, summary.records), (163_340, 156));
    assert_eq!((summary.unreadable, summary.torn_tail), (0, false));
    assert_eq!(summary.title(), "Full session");
    assert_eq!(
        summary.session.unwrap().to_string(),
        "aa21a64c-b7a7-41b7-a51f-ceeccfa4623b"
    );
    assert_eq!(summary.project_dir(), Some("/home/ann/fx/full/work/proj"));
    assert_eq!(summary.version.as_deref(), Some("2.1.329"));
    assert_eq!(summary.entrypoint.as_deref(), Some("cli"));
    assert_eq!(summary.branch, None, "HEAD is no branch");
    assert_eq!(
        summary.permission_mode.as_deref(),
        Some("bypassPermissions")
    );
    assert_eq!(
        texts(&summary),
        [
            "first: [lab:edit]",
            "second: [lab:agent]",
            "third: [lab:tasks]",
            "fourth: [lab:edit2]",
            "fifth: [lab:bigout]"
        ]
    );
    assert_eq!(
        summary.last_assistant.as_deref(),
        Some("That was big (FAKE).")
    );
    assert_eq!(
        summary.prompts[2].answer.as_deref(),
        Some("One of three tasks is done (FAKE).")
    );
    let edited: Vec<_> = summary
        .edited
        .iter()
        .map(|f| (f.path.as_str(), f.edits))
        .collect();
    assert_eq!(
        edited,
        [
            ("/home/ann/fx/full/work/proj/hello.txt", 3),
            ("/home/ann/fx/full/work/proj/sub dir/other.md", 1)
        ]
    );
    let todos: Vec<_> = summary
        .todos
        .iter()
        .map(|t| (t.subject.as_str(), t.status))
        .collect();
    assert_eq!(
        todos,
        [
            ("Write the parser", TodoStatus::Completed),
            ("测试 the parser", TodoStatus::Pending),
            ("Ship it", TodoStatus::Pending)
        ]
    );
    assert!(summary.subagents.is_empty(), "both have reported");
    assert!(summary.pending.is_empty());
    assert_eq!((summary.turn, summary.turns), (TurnState::Ended, 5));
    assert_eq!(
        summary.last_ms,
        crate::rfc3339::to_ms("2026-11-20T22:33:23.524Z")
    );
}

#[test]
fn compacted_moved_and_old_sessions() {
    let compacted = read(COMPACTED);
    assert_eq!(compacted.title(), "压缩过的会话");
    assert_eq!(compacted.compactions, 1);
    assert_eq!(
        texts(&compacted),
        [
            "one [lab:edit]",
            "two [lab:edit2]",
            "after the compaction [lab:bash-append]"
        ]
    );
    assert!(
        compacted
            .compact_summary
            .unwrap()
            .contains("FAKE COMPACT SUMMARY")
    );
    assert_eq!(compacted.plan_names, ["reactive-plotting-cray"]);

    let moved = read(MOVED);
    assert_eq!(
        moved.first_cwd.as_deref(),
        Some("/home/ann/fx/branches/work/proj")
    );
    assert_eq!(
        moved.project_dir(),
        Some("/home/ann/fx/branches/work/proj/inner dir")
    );
    assert_eq!(moved.title(), "one [lab:edit] (Branch)");

    for (bytes, version) in [(OLD, "2.1.54"), (OLDER_NATIVE, "2.1.197")] {
        let old = read(bytes);
        assert_eq!(old.version.as_deref(), Some(version));
        assert_eq!(old.title(), "Old version");
        assert_eq!(
            texts(&old),
            [
                "one [lab:edit]",
                "two [lab:tasks]",
                "three [lab:todos]",
                "four [lab:task-tool]",
                "five after compaction"
            ]
        );
        assert_eq!(
            old.todos.len(),
            3,
            "a todo tool that failed changes nothing"
        );
        assert_eq!(old.turn, TurnState::Ended);
        assert_eq!(old.edited.len(), 1);
        assert_eq!(old.unreadable, 0);
    }

    let chinese = read(CHINESE);
    assert_eq!(chinese.title(), "请创建一个文件 [lab:zh]");
    assert!(
        chinese.prompts[2].text.starts_with("粘贴的一行 pasted\n"),
        "without the paste's frame"
    );
    assert!(chinese.signed_thinking);
    assert_eq!(chinese.prompts[3].text, "look at @点.png please");
}

#[test]
fn after_a_rewind_the_old_branch_is_silent() {
    let mut s = Script::default();
    s.user("one");
    let end = s.says("did one");
    s.user("two, a mistake");
    s.says("did two");
    s.last = Some(end);
    s.state(json!({"type": "last-prompt", "explicit": true,
        "leafUuid": "00000000-0000-0000-0000-000000000000"}));
    s.user("two instead");
    let summary = s.summary();
    assert_eq!(texts(&summary), ["one", "two instead"]);
    assert_eq!(summary.last_assistant.as_deref(), Some("did one"));
    assert_eq!(summary.turn, TurnState::Open);
}

/// The rows of the facts about unions: the last `last-prompt` decides.
#[test]
fn of_two_branches_the_named_one_is_told() {
    let mut s = Script::default();
    s.user("base");
    let base = s.says("b");
    s.user("on A");
    let a = s.says("a");
    s.last = Some(base);
    s.user("on B");
    s.says("bb");
    assert_eq!(
        texts(&s.summary()),
        ["base", "on B"],
        "without a word the last line"
    );
    s.state(json!({"type": "last-prompt", "leafUuid": a}));
    assert_eq!(texts(&s.summary()), ["base", "on A"]);
    s.last = Some(a);
    s.user("A goes on");
    assert_eq!(
        texts(&s.summary()),
        ["base", "on A", "A goes on"],
        "and what descends from it"
    );
    s.state(json!({"type": "last-prompt", "leafUuid": "nobody"}));
    assert_eq!(texts(&s.summary()), ["base", "on A", "A goes on"]);
}

#[test]
fn only_a_humans_words_are_prompts() {
    let mut s = Script::default();
    let user = |more: Value| {
        let mut record = json!({"type": "user", "message": {"content": "no"}});
        record
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        record
    };
    s.add(user(json!({"isMeta": true})));
    s.add(user(json!({"isSidechain": true})));
    s.add(user(json!({"isVisibleInTranscriptOnly": true})));
    s.add(user(json!({"origin": {"kind": "task-notification"}})));
    s.add(user(json!({"promptSource": "system"})));
    s.add(user(
        json!({"message": {"content": [{"type": "text", "text": "<system-reminder>x"}]}}),
    ));
    s.user("<local-command-caveat>x");
    s.add(json!({"type": "user", "message": {"content": [
        {"type": "text", "text": "<ide_opened_file>x</ide_opened_file>"},
        {"type": "text", "text": "look"}, {"type": "image", "source": {}}]}}));
    s.add(json!({"type": "attachment", "attachment": {"type": "queued_command", "prompt": "and this"}}));
    s.add(
        json!({"type": "attachment", "attachment": {"type": "queued_command",
        "prompt": "<task-notification>x</task-notification>"}}),
    );
    assert_eq!(texts(&s.summary()), ["look\n[image]", "and this"]);
    assert_eq!(s.summary().title(), "look [image]");
}

#[test]
fn commands_and_commits() {
    let mut s = Script::default();
    s.user("go");
    s.runs(
        "cargo test -p x",
        "Exit code 101\nrunning 3 tests\n\u{1b}[31mtest a ... FAILED\u{1b}[0m",
        true,
    );
    s.runs("ls", "a", false);
    s.runs(
        "rm -rf /",
        "The user doesn't want to proceed with this tool use.",
        true,
    );
    s.runs("./deploy", "Exit code 1\nno", true);
    let summary = s.summary();
    let runs: Vec<_> = summary
        .commands
        .iter()
        .map(|r| (r.command.as_str(), r.ok))
        .collect();
    assert_eq!(runs, [("cargo test -p x", false), ("./deploy", false)]);
    assert!(summary.commands[0].output.ends_with("test a ... FAILED"));

    s.runs("cargo test -p x", "ok", false);
    s.runs("./deploy", "ok", false);
    s.runs(
        "git add -A && git commit -q -m \"$(cat <<'EOF'\nfix: the parser\nEOF\n)\"",
        "[feat/x 1a2b3c4d] fix: the parser\n 2 files changed\n[not a commit] x",
        false,
    );
    s.runs(
        "git commit -m first",
        "[main (root-commit) 0123456] first\n",
        false,
    );
    let summary = s.summary();
    assert!(
        summary.commands.iter().all(|r| r.ok),
        "what works again has not failed"
    );
    let commits: Vec<_> = summary
        .commits
        .iter()
        .map(|c| (c.hash.as_str(), c.subject.as_str()))
        .collect();
    assert_eq!(
        commits,
        [("1a2b3c4d", "fix: the parser"), ("0123456", "first")]
    );
}

#[test]
fn tools_that_tell_how_it_stands() {
    let mut s = Script::default();
    s.user("plan it");
    s.calls("p", "ExitPlanMode", json!({"plan": "# Plan\n1. do it"}));
    s.result(
        "p",
        "User has approved your plan",
        false,
        json!({"plan": "# Plan\n1. do it"}),
    );
    s.calls("q", "AskUserQuestion", json!({"questions": []}));
    s.result(
        "q",
        "User has answered your questions: \"Which?\"=\"The second\".",
        false,
        Value::Null,
    );
    s.calls(
        "w",
        "TodoWrite",
        json!({"todos": [{"content": "a", "status": "completed"},
        {"content": "b", "status": "in_progress"}]}),
    );
    s.result("w", "ok", false, Value::Null);
    s.calls("e", "Edit", json!({"file_path": "/p/refused.rs"}));
    s.result("e", "no", true, Value::Null);
    s.calls("n", "NotebookEdit", json!({"notebook_path": "/p/x.ipynb"}));
    s.result("n", "ok", false, Value::Null);
    s.calls("a1", "Agent", json!({"description": "look around"}));
    s.result(
        "a1",
        "ok",
        false,
        json!({"status": "async_launched", "agentId": "agent1"}),
    );
    s.calls("a2", "Agent", json!({"description": "write notes"}));
    s.result(
        "a2",
        "ok",
        false,
        json!({"status": "async_launched", "agentId": "agent2"}),
    );
    s.state(json!({"type": "queue-operation", "operation": "enqueue", "content":
        "<task-notification>\n<task-id>agent2</task-id>\n<status>completed</status>\n</task-notification>"}));
    s.calls("b", "Bash", json!({"command": "cargo build"}));
    let summary = s.summary();
    assert_eq!(summary.plan.as_deref(), Some("# Plan\n1. do it"));
    assert_eq!(summary.answers, ["\"Which?\"=\"The second\"."]);
    assert_eq!(crate::claude::tasks::open_count(&summary.todos), 1);
    assert_eq!(summary.edited.len(), 1);
    assert_eq!(summary.subagents, ["look around"]);
    assert_eq!(
        summary.pending,
        [PendingTool {
            name: "Bash".into(),
            about: "cargo build".into()
        }]
    );
    assert_eq!(summary.turn, TurnState::Open);
    s.user("never mind");
    assert!(
        s.summary().pending.is_empty(),
        "an old call gets no result any more"
    );
}

#[test]
fn how_turns_end() {
    let mut s = Script::default();
    assert_eq!(s.summary().turn, TurnState::None);
    s.user("one");
    assert_eq!(s.summary().turn, TurnState::Open);
    s.user("[Request interrupted by user for tool use]");
    assert_eq!(s.summary().turn, TurnState::Interrupted);
    s.user("again");
    s.add(
        json!({"type": "assistant", "isApiErrorMessage": true, "message": {"model": "<synthetic>",
        "content": [{"type": "text", "text": "API Error: 529"}]}}),
    );
    assert_eq!(s.summary().turn, TurnState::Failed("API Error: 529".into()));
    assert_eq!(s.summary().last_assistant, None);
    s.user("and again");
    s.says("done");
    assert_eq!(s.summary().turn, TurnState::Ended);
    assert_eq!(s.summary().turns, 3);
}

#[test]
fn tasks_are_created_changed_and_deleted() {
    let mut s = Script::default();
    s.user("go");
    for (id, subject) in [("1", "a"), ("2", "b"), ("3", "c")] {
        s.calls(id, "TaskCreate", json!({"subject": subject}));
    }
    // One result in each of the forms that exist.
    s.result(
        "1",
        "Task #1 created successfully: a",
        false,
        json!({"task": {"id": "1"}}),
    );
    s.result("2", "Task #2 created successfully: b", false, Value::Null);
    s.result("3", "no", true, Value::Null);
    s.calls(
        "4",
        "TaskUpdate",
        json!({"taskId": "2", "status": "in_progress", "subject": "b2"}),
    );
    s.result("4", "ok", false, Value::Null);
    s.calls(
        "5",
        "TaskUpdate",
        json!({"taskId": "1", "status": "deleted"}),
    );
    s.result("5", "ok", false, Value::Null);
    let todos = s.summary().todos;
    assert_eq!(todos.len(), 1);
    assert_eq!(
        (todos[0].subject.as_str(), todos[0].status),
        ("b2", TodoStatus::InProgress)
    );
}

/// Whatever stands in a line, the others are read.
#[test]
fn k_j06_torn_and_hostile_lines() {
    let mut s = Script::default();
    s.user("one");
    let mut bytes = s.out.clone().into_bytes();
    let deep = "[".repeat(200_000);
    let hostile: [&[u8]; 12] = [
        b"",
        b"\r",
        b"   ",
        b"not json",
        b"{\"type\":\"user\"",
        b"\xff\xfe\x00\x01",
        b"{\"type\":\"user\",\"uuid\":\"x\",\"message\":{\"content\":\"nul \x00\"}}",
        b"{\"type\":5,\"uuid\":{}}",
        b"{\"type\":\"user\",\"uuid\":\"y\",\"message\":{\"content\":[7,null,[[]],{\"type\":{}}]}}",
        b"{\"type\":\"assistant\",\"uuid\":\"z\",\"message\":5,\"timestamp\":[],\"cwd\":{}}",
        deep.as_bytes(),
        b"null",
    ];
    for line in hostile {
        bytes.extend_from_slice(line);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(
        b"{\"type\":\"user\",\"type\":\"user\",\"uuid\":\"k\",\"parentUuid\":\"u1\",\"message\":{\"content\":\"old\",\"content\":\"lone \\ud800 and \xff bytes\"}}\r\n",
    );
    bytes.extend_from_slice(b"{\"type\":\"user\",\"uuid\":\"to");
    let summary = read(&bytes);
    assert_eq!(summary.prompts.len(), 2);
    assert!(
        summary.prompts[1].text.starts_with("lone ") && summary.prompts[1].text.contains("bytes")
    );
    assert!(summary.torn_tail);
    // Blank lines are no records; the torn one is not one yet.
    assert_eq!((summary.records, summary.unreadable), (11, 7));
}

#[test]
fn a_last_line_without_its_break_counts_if_it_is_whole() {
    let mut s = Script::default();
    s.user("one");
    s.user("two");
    let cut = s.out.trim_end();
    let whole = read(cut.as_bytes());
    assert_eq!(
        (whole.prompts.len(), whole.torn_tail, whole.records),
        (2, false, 2)
    );
    let torn = read(&cut.as_bytes()[..cut.len() - 1]);
    assert_eq!(
        (torn.prompts.len(), torn.torn_tail, torn.records),
        (1, true, 1)
    );
    assert_eq!(torn.bytes, cut.len() as u64 - 1);
}

/// One endless line costs neither memory nor the lines around it.
#[test]
fn k_j07_overlong_lines_are_passed_over() {
    let mut s = Script::default();
    s.user("one");
    let mut digest = Digest::default();
    digest.feed(s.out.as_bytes());
    digest.feed(b"{\"type\":\"user\",\"x\":\"");
    let piece = vec![b'x'; 1024 * 1024];
    for _ in 0..9 {
        digest.feed(&piece);
        assert!(digest.tail.kept() <= limits::TRANSCRIPT_LINE_BYTES_MAX);
    }
    assert_eq!(digest.tail.kept(), 0);
    assert!(digest.summary().torn_tail);
    let offset = digest.offset();
    digest.feed(b"\"}\n");
    s.out.clear();
    s.user("two");
    digest.feed(s.out.as_bytes());
    let summary = digest.summary();
    assert_eq!(texts(&summary), ["one", "two"]);
    assert_eq!(
        (summary.overlong, summary.records, summary.torn_tail),
        (1, 3, false)
    );
    assert_eq!(
        offset + 20 + 9 * 1024 * 1024 + 3 + s.out.len() as u64,
        digest.offset()
    );
    // The same line in one piece.
    let mut line = vec![b'x'; limits::TRANSCRIPT_LINE_BYTES_MAX + 1];
    line.push(b'\n');
    assert_eq!(read(&line).overlong, 1);
}

#[test]
fn very_long_sessions_stay_bounded() {
    let mut s = Script::default();
    let long = "很长 ".repeat(3_000);
    for n in 0..120 {
        // Long texts in the latest turns and in some of the others.
        let text = if n > 100 || n % 16 == 0 {
            long.as_str()
        } else {
            "short"
        };
        s.user(&format!("{n} {text}"));
        s.calls(
            &format!("c{n}"),
            "Write",
            json!({"file_path": format!("/p/{n}")}),
        );
        s.result(&format!("c{n}"), "ok", false, Value::Null);
        s.runs(&format!("make {n}"), text, true);
        s.calls(&format!("d{n}"), "ExitPlanMode", json!({"plan": text}));
        s.says(text);
    }
    let mut digest = Digest::default();
    digest.feed(s.out.as_bytes());
    let summary = digest.summary();
    assert_eq!(summary.prompts.len(), limits::DIGEST_PROMPTS_MAX);
    assert!(summary.prompts[0].text.starts_with("0 ") && summary.prompts[7].text.starts_with("7 "));
    assert!(summary.prompts[8].text.starts_with("64 "));
    assert_eq!(summary.turns, 120);
    assert_eq!(summary.edited.len(), limits::DIGEST_FILES_MAX);
    assert_eq!(summary.edited.last().unwrap().path, "/p/119");
    assert!(summary.commands.len() <= limits::DIGEST_ITEMS_MAX);
    assert!(
        summary
            .prompts
            .iter()
            .all(|p| p.text.chars().count() <= limits::DIGEST_TEXT_CHARS_MAX)
    );
    assert!(summary.prompts[0].text.ends_with('…'));
    let answers = summary
        .prompts
        .iter()
        .filter(|p| p.answer.is_some())
        .count();
    assert_eq!(answers, limits::DIGEST_ANSWERS_MAX);
    let saved = digest.to_bytes();
    assert!(saved.len() < limits::DIGEST_BYTES_MAX / 2);
    assert_eq!(Digest::from_bytes(&saved).unwrap().summary(), summary);
}

#[test]
fn a_digest_of_another_version_is_refused() {
    let mut bytes = Digest::default().to_bytes();
    assert_eq!(Digest::from_bytes(&[]).err(), Some(DecodeError::Malformed));
    bytes.push(0);
    assert_eq!(
        Digest::from_bytes(&bytes).err(),
        Some(DecodeError::NotCanonical)
    );
    bytes[0] = 9;
    assert_eq!(
        Digest::from_bytes(&bytes).err(),
        Some(DecodeError::Version(9))
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// It does not matter in which pieces a file comes, nor whether the digest
    /// was laid aside in between.
    #[test]
    fn pieces_do_not_matter(
        which in 0usize..4,
        cuts in prop::collection::vec(0.0f64..1.0, 1..6),
        lay_aside in any::<bool>(),
    ) {
        let bytes = [FULL, COMPACTED, CHINESE, OLD][which];
        let mut places: Vec<usize> =
            cuts.iter().map(|c| (c * bytes.len() as f64) as usize).collect();
        places.sort_unstable();
        places.push(bytes.len());
        let mut digest = Digest::default();
        let mut fed = 0;
        for place in places {
            digest.feed(&bytes[fed..place.max(fed)]);
            fed = place.max(fed);
            if lay_aside {
                digest = Digest::from_bytes(&digest.to_bytes()).unwrap();
                fed = digest.offset() as usize;
            }
        }
        digest.feed(&bytes[fed..]);
        prop_assert_eq!(digest.summary(), read(bytes));
    }

    /// A file cut anywhere, with bytes flipped, is read without fault.
    #[test]
    fn damage_is_no_fault(
        cut in 0usize..FULL.len(),
        flips in prop::collection::vec((0usize..FULL.len(), any::<u8>()), 0..40),
    ) {
        let mut bytes = FULL.to_vec();
        for (at, value) in flips {
            bytes[at] = value;
        }
        bytes.truncate(cut);
        let summary = read(&bytes);
        prop_assert_eq!(summary.bytes, cut as u64);
        prop_assert!(summary.title().chars().count() <= limits::TITLE_CHARS_MAX);
    }
}
