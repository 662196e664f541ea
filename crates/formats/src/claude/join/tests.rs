//! Tests of joining: the pair that was measured with the real program, the rows
//! of the table one by one, generated pairs.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::claude::transcript::Summary;

macro_rules! fixture {
    ($path:literal) => {
        include_bytes!(concat!("../../../../../testdata/claude/", $path)).as_slice()
    };
}

/// The pair of the lab: each side typed one prompt after two of the base.
const A: &[u8] = fixture!("diverged/variants/A.jsonl");
const B: &[u8] = fixture!("diverged/variants/B.jsonl");
const BASE: &[u8] = fixture!(
    "diverged/claude/projects/-home-ann-fx-diverged-work-proj/e47fe3ca-2b33-4853-b61e-4bb21fa16e3a.jsonl"
);
const COMPACTED: &[u8] = fixture!(
    "compacted/claude/projects/-home-ann-fx-compacted-work-proj/9ce25fd5-3fbc-4195-8e76-d2bd8495d310.jsonl"
);
const BRANCHES: &[u8] = fixture!(
    "branches/claude/projects/-home-ann-fx-branches-work-proj-inner-dir/73f5e978-c33a-4a83-94aa-0fbbf212fd0f.jsonl"
);

fn summary(file: &[u8]) -> Summary {
    let mut digest = Digest::default();
    digest.feed(file);
    digest.summary()
}

fn prompts(file: &[u8]) -> Vec<String> {
    summary(file).prompts.into_iter().map(|p| p.text).collect()
}

/// Both files whole; the base is what they begin with.
fn common(local: &[u8], theirs: &[u8]) -> usize {
    let same = local.iter().zip(theirs).take_while(|(a, b)| a == b).count();
    local[..same]
        .iter()
        .rposition(|b| *b == b'\n')
        .map_or(0, |at| at + 1)
}

/// Joins as a caller would, in pieces of `piece` bytes.
fn join_in(local: &[u8], theirs: &[u8], piece: usize) -> Result<(Vec<u8>, Counts), Refused> {
    let base = common(local, theirs);
    let mut planner = Planner::default();
    local[..base].chunks(piece).for_each(|p| planner.base(p));
    local[base..].chunks(piece).for_each(|p| planner.local(p));
    theirs[base..].chunks(piece).for_each(|p| planner.theirs(p));
    let plan = planner.plan()?;
    let mut out = local.to_vec();
    let mut joining = plan.joining();
    theirs[base..]
        .chunks(piece)
        .for_each(|p| joining.push(p, &mut out));
    joining.finish(&mut out).unwrap();
    Ok((out, plan.counts))
}

fn join(local: &[u8], theirs: &[u8]) -> Result<(Vec<u8>, Counts), Refused> {
    join_in(local, theirs, usize::MAX)
}

/// The lines of a file, with the given record's parent left out of account.
fn lines_but(file: &[u8], uuid: &str) -> Vec<Value> {
    file.split(|b| *b == b'\n')
        .filter(|l| !l.is_empty())
        .map(|l| {
            let mut record: Value = serde_json::from_slice(l).unwrap();
            if record["uuid"] == uuid {
                record["parentUuid"] = Value::Null;
            }
            record
        })
        .collect()
}

#[test]
fn the_measured_pair_stands_in_a_row() {
    let base = prompts(BASE);
    for (local, theirs, local_says, they_say, first) in [
        (
            A,
            B,
            "turn from A",
            "turn from B",
            "1c2a39fd-10e1-47c1-8a82-20c3eb93ebb0",
        ),
        (
            B,
            A,
            "turn from B",
            "turn from A",
            "a614e849-c5ad-4933-96f7-6b90d1d6d976",
        ),
    ] {
        let (joined, counts) = join(local, theirs).unwrap();
        let mut want = base.clone();
        want.extend([local_says.to_owned(), they_say.to_owned()]);
        assert_eq!(prompts(&joined), want);
        // The table's row: the base, theirs and ours, one parent changed.
        assert!(joined.starts_with(local));
        assert_eq!(
            counts,
            Counts {
                base_lines: 54,
                local_lines: 9,
                their_lines: 9,
                skipped_lines: 0,
                their_records: 4,
                names_end: false,
            }
        );
        let mut all = lines_but(local, first);
        all.extend(lines_but(&theirs[BASE.len()..], first));
        assert_eq!(lines_but(&joined, first), all);
        let changed: Vec<_> = joined[local.len()..]
            .split(|b| *b == b'\n')
            .zip(theirs[BASE.len()..].split(|b| *b == b'\n'))
            .filter(|(a, b)| a != b)
            .collect();
        let [(after, before)] = changed[..] else {
            panic!("one line changes: {}", changed.len());
        };
        let leaf = summary(local).leaf.unwrap();
        let old = "67f27f19-f55b-44a0-a5a1-68cf69196a43";
        let want = String::from_utf8_lossy(before).replacen(old, &leaf, 1);
        assert_eq!(String::from_utf8_lossy(after), want);
        for piece in [1, 7, 4096] {
            assert_eq!(join_in(local, theirs, piece).unwrap().0, joined, "{piece}");
        }
        // Joining it once more, or what it began from, finds nothing new.
        assert_eq!(join(&joined, local).unwrap_err(), Refused::NothingToJoin);
    }
}

/// A session in the making. Ids are UUIDs, so that they can be pointed at.
#[derive(Clone, Default)]
struct Script {
    out: String,
    last: Option<String>,
    count: usize,
    /// Of the side that writes.
    side: u32,
}

impl Script {
    fn on(&self, side: u32) -> Self {
        Self {
            side,
            ..self.clone()
        }
    }

    fn add(&mut self, mut record: Value) -> String {
        self.count += 1;
        let uuid = format!("{:08x}-0000-4000-8000-{:012x}", self.side, self.count);
        let fields = record.as_object_mut().unwrap();
        fields.entry("uuid").or_insert(json!(uuid));
        fields.entry("parentUuid").or_insert(json!(self.last));
        let uuid = record["uuid"].as_str().unwrap().to_owned();
        self.raw(&record.to_string());
        self.last = Some(uuid.clone());
        uuid
    }

    fn raw(&mut self, line: &str) {
        self.out.push_str(line);
        self.out.push('\n');
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

    fn turn(&mut self, text: &str) -> String {
        self.user(text);
        self.says(&format!("re: {text}"))
    }

    fn calls(&mut self, id: &str) {
        self.add(
            json!({"type": "assistant", "message": {"model": "m", "stop_reason": "tool_use",
            "content": [{"type": "tool_use", "id": id, "name": "Bash", "input": {"command": "ls"}}]}}),
        );
    }

    fn result(&mut self, id: &str) {
        self.add(
            json!({"type": "user", "toolUseResult": {}, "message": {"content": [
            {"type": "tool_result", "tool_use_id": id, "content": "x"}]}}),
        );
    }

    fn last_prompt(&mut self, leaf: &str) {
        self.raw(
            &json!({"type": "last-prompt", "leafUuid": leaf, "sessionId": SESSION}).to_string(),
        );
    }
}

const SESSION: &str = "e47fe3ca-2b33-4853-b61e-4bb21fa16e3a";

fn base() -> Script {
    let mut base = Script::default();
    base.raw(r#"{"type":"mode","mode":"normal"}"#);
    base.add(json!({"type": "user", "sessionId": SESSION, "message": {"content": "one"}}));
    base.says("re: one");
    base.turn("two");
    base
}

/// Two sides of a base that have each done something.
fn sides(local: impl FnOnce(&mut Script), theirs: impl FnOnce(&mut Script)) -> (Script, Script) {
    let (mut a, mut b) = (base().on(1), base().on(2));
    local(&mut a);
    theirs(&mut b);
    (a, b)
}

fn joined(a: &Script, b: &Script) -> Result<(Vec<u8>, Counts), Refused> {
    join(a.out.as_bytes(), b.out.as_bytes())
}

#[test]
fn which_last_prompt_is_last() {
    let rows = ["one", "two", "from A", "from B"];
    // Their end is continued whoever names what, and a line of ours is written
    // only where it would not be.
    type Side = fn(&mut Script);
    let turn_a: Side = |s| {
        s.turn("from A");
    };
    let turn_b: Side = |s| {
        s.turn("from B");
    };
    let named_a: Side = |s| {
        let leaf = s.turn("from A");
        s.last_prompt(&leaf);
    };
    let named_b: Side = |s| {
        let leaf = s.turn("from B");
        s.last_prompt(&leaf);
    };
    let named_early: Side = |s| {
        let leaf = s.user("from B");
        s.last_prompt(&leaf);
        s.says("late");
    };
    let unknown: Side = |s| {
        s.turn("from B");
        s.last_prompt("00000000-0000-0000-0000-000000000000");
    };
    // Their last line is on a branch that they left, and their last word says so.
    let left: Side = |s| {
        let leaf = s.turn("from B");
        let stop = s.last.replace(leaf.clone());
        s.last_prompt(&leaf);
        s.last = stop;
        let parent = "00000000-0000-4000-8000-000000000002";
        s.add(json!({"type": "user", "parentUuid": parent, "message": {"content": "left"}}));
    };
    for (case, local, theirs, names_end) in [
        ("base, la, lb without lp", turn_a, turn_b, false),
        ("la with lp, lb without", named_a, turn_b, false),
        ("la without, lb with", turn_a, named_b, false),
        ("both", named_a, named_b, false),
        ("an older record of theirs", named_a, named_early, false),
        ("an unknown uuid", named_a, unknown, true),
        ("a branch that was left", named_a, left, false),
    ] {
        let (a, b) = sides(local, theirs);
        let (out, counts) = joined(&a, &b).unwrap_or_else(|e| panic!("{case}: {e}"));
        assert_eq!(prompts(&out), rows, "{case}");
        assert_eq!(counts.names_end, names_end, "{case}");
    }
    // Where nothing of theirs names the end, but the base does name something
    // before it: the last line that descends from that one is on the left branch.
    let (a, mut b) = sides(|s| drop(s.turn("from A")), |s| drop(s.turn("from B")));
    let end = b.last.clone().unwrap();
    b.add(json!({"type": "user", "message": {"content": "left"}}));
    b.last_prompt(&end);
    // The lp names the end, but a line descends from it: that one is continued.
    let (out, _) = joined(&a, &b).unwrap();
    assert_eq!(prompts(&out).last().unwrap(), "left");
}

#[test]
fn records_that_are_here_already_are_passed_over() {
    // Bookkeeping in between, and then the same turn on both sides.
    let (mut a, mut b) = (base(), base());
    a.raw(r#"{"type":"cost-state","n":1}"#);
    for side in [&mut a, &mut b] {
        side.turn("three");
    }
    let (mut a, mut b) = (a.on(1), b.on(2));
    a.turn("from A");
    b.turn("from B");
    let (out, counts) = joined(&a, &b).unwrap();
    assert_eq!(prompts(&out), ["one", "two", "three", "from A", "from B"]);
    assert_eq!((counts.skipped_lines, counts.their_lines), (2, 4));
    assert_eq!(
        String::from_utf8_lossy(&out).matches("three").count(),
        4 - 2
    );
}

#[test]
fn ends_without_a_line_break() {
    let (mut a, mut b) = sides(|s| drop(s.turn("from A")), |s| drop(s.turn("from B")));
    a.out.pop();
    b.out.pop();
    let (out, _) = joined(&a, &b).unwrap();
    assert!(out.starts_with(a.out.as_bytes()));
    assert_eq!(prompts(&out), ["one", "two", "from A", "from B"]);
    // The same with a line of ours behind theirs.
    b.out.push('\n');
    b.last_prompt("00000000-0000-0000-0000-000000000000");
    b.out.pop();
    let (out, counts) = joined(&a, &b).unwrap();
    assert!(counts.names_end && out.ends_with(b"\n"));
    let leaf = summary(&out).leaf.unwrap();
    assert_eq!(Some(leaf), b.last);
    assert!(String::from_utf8_lossy(&out).trim_end().ends_with(&format!(
        r#"{{"type":"last-prompt","leafUuid":"{}","sessionId":"{SESSION}"}}"#,
        b.last.unwrap()
    )));
}

#[test]
fn only_the_parents_token_changes() {
    // Odd spellings around it stay.
    let (a, mut b) = sides(|s| drop(s.turn("from A")), |_| ());
    let parent = b.last.clone().unwrap();
    let line = format!(
        "\u{feff} {{\"type\" : \"user\",\"uuid\":\"00000002-0000-4000-8000-00000000000a\",\"n\":1e2,\"x\":\"\\u0041\\/\\ud800\", \"parentUuid\":null,\"parent\\u0055uid\" :\t\"{parent}\" ,\"message\":{{\"content\":\"parentUuid {parent}\"}}}}\r"
    );
    b.raw(&line);
    let (out, _) = joined(&a, &b).unwrap();
    let leaf = a.last.clone().unwrap();
    let want = line.replacen(&parent, &leaf, 1);
    assert_eq!(
        String::from_utf8_lossy(&out[a.out.len()..]),
        format!("{want}\n")
    );
    // In a line that is no UTF-8 nothing is spliced.
    let mut bytes = b.out.clone().into_bytes();
    let at = bytes.len() - 6;
    bytes[at] = 0xff;
    assert_eq!(
        join(a.out.as_bytes(), &bytes).unwrap_err(),
        Refused::Torn {
            part: Part::Theirs,
            line: 6
        }
    );
}

#[test]
fn what_is_refused() {
    type Side = fn(&mut Script);
    let turn: Side = |s| drop(s.turn("more"));
    let check = |local: Side, theirs: Side, want: Refused| {
        let (a, b) = sides(local, theirs);
        assert_eq!(joined(&a, &b).unwrap_err(), want);
    };
    let compacts: Side = |s| {
        s.turn("x");
        let last = s.last.take();
        s.add(json!({"type": "system", "subtype": "compact_boundary", "logicalParentUuid": last}));
        s.add(json!({"type": "user", "isCompactSummary": true, "message": {"content": "so far"}}));
        s.turn("y");
    };
    let at = |part, line| Refused::Compacted { part, line };
    check(compacts, turn, at(Part::Local, 8));
    check(turn, compacts, at(Part::Theirs, 8));
    let small: Side =
        |s| drop(s.add(json!({"type": "system", "subtype": "microcompact_boundary"})));
    check(turn, small, at(Part::Theirs, 6));

    let calls: Side = |s| {
        s.user("run");
        s.calls("t1");
    };
    check(calls, turn, Refused::PendingTool(Part::Local));
    // At their end it is in nobody's way here: the policy for what is placed
    // has its say about it.
    let (a, b) = sides(turn, calls);
    assert!(joined(&a, &b).is_ok());

    let goes_on: Side = |s| drop(s.says("once more"));
    check(turn, goes_on, Refused::MidTurn { line: 6 });
    let result: Side = |s| s.result("t0");
    check(turn, result, Refused::MidTurn { line: 6 });

    let back: Side = |s| {
        s.last = Some("00000000-0000-4000-8000-000000000002".into());
        s.turn("instead of two");
    };
    check(turn, back, Refused::Rewound(Part::Theirs));
    check(back, turn, Refused::Rewound(Part::Local));
    let anew: Side = |s| {
        s.last = None;
        s.turn("another root");
    };
    check(turn, anew, Refused::Rewound(Part::Theirs));
    let lost: Side = |s| {
        s.last = Some("00000000-0000-4000-8000-0000000000ff".into());
        s.turn("whose parent is gone");
    };
    check(turn, lost, Refused::Rewound(Part::Theirs));
    check(lost, turn, Refused::Rewound(Part::Local));

    let sidechain: Side = |s| drop(s.add(json!({"type": "user", "isSidechain": true})));
    let at = |part, line| Refused::Sidechain { part, line };
    check(sidechain, turn, at(Part::Local, 6));
    check(turn, sidechain, at(Part::Theirs, 6));

    let torn: Side = |s| {
        s.turn("x");
        s.raw(r#"{"type":"user","uuid":"#);
    };
    let at = |part, line| Refused::Torn { part, line };
    check(torn, turn, at(Part::Local, 8));
    check(turn, torn, at(Part::Theirs, 8));
    let cut: Side = |s| {
        s.turn("x");
        s.out.truncate(s.out.len() - 9);
    };
    check(cut, turn, at(Part::Local, 7));
    check(turn, cut, at(Part::Theirs, 7));

    let moved: Side = |s| s.raw(r#"{"type":"relocated","relocatedCwd":"/x"}"#);
    check(
        turn,
        moved,
        Refused::Relocated {
            part: Part::Theirs,
            line: 6,
        },
    );
    let silent: Side = |s| s.raw(r#"{"type":"cost-state"}"#);
    check(turn, silent, Refused::NothingToJoin);
    check(turn, |_| (), Refused::NothingToJoin);
    // Nothing to point at.
    let odd: Side = |s| drop(s.add(json!({"type": "user", "uuid": "u1", "message": {}})));
    check(odd, turn, Refused::Tangled);

    // Nothing in common.
    assert_eq!(
        join(A, COMPACTED).unwrap_err(),
        Refused::NoBase,
        "two sessions"
    );
    assert_eq!(join(A, BRANCHES).unwrap_err(), Refused::NoBase);
    assert_eq!(join(b"", b"").unwrap_err(), Refused::NoBase);
    let mut planner = Planner::default();
    planner.base(b"{\"type\":\"user\"");
    assert_eq!(planner.plan().unwrap_err(), Refused::NoBase);
    // A call that the base leaves open.
    let mut open = base();
    open.user("run");
    open.calls("t1");
    let (mut a, mut b) = (open.on(1), open.on(2));
    a.result("t1");
    b.user("never mind");
    assert_eq!(
        joined(&a, &b).unwrap_err(),
        Refused::PendingTool(Part::Base)
    );
}

#[test]
fn a_compaction_in_the_base_is_nobodys_business() {
    // The real one, and a turn on each side of it.
    let end = summary(COMPACTED).leaf.unwrap();
    let side = |n: u32, text: &str| {
        let mut s = Script {
            out: String::from_utf8(COMPACTED.to_vec()).unwrap(),
            last: Some(end.clone()),
            side: n,
            ..Script::default()
        };
        s.turn(text);
        s
    };
    let (a, b) = (side(1, "from A"), side(2, "from B"));
    let (out, _) = joined(&a, &b).unwrap();
    let got = prompts(&out);
    assert_eq!(got[got.len() - 2..], ["from A", "from B"]);
    assert_eq!(summary(&out).compactions, 1);
    // The same where the local file was compacted after the base: the poisoned
    // union of the table.
    let boundary = COMPACTED
        .split_inclusive(|b| *b == b'\n')
        .take_while(|l| !String::from_utf8_lossy(l).contains("compact_boundary"))
        .map(<[u8]>::len)
        .sum::<usize>();
    let mut before = Script {
        out: String::from_utf8(COMPACTED[..boundary].to_vec()).unwrap(),
        last: summary(&COMPACTED[..boundary]).leaf,
        side: 2,
        ..Script::default()
    };
    before.turn("from B");
    assert_eq!(
        join(COMPACTED, before.out.as_bytes()).unwrap_err(),
        Refused::Compacted {
            part: Part::Local,
            line: 72
        }
    );
}

#[test]
fn a_file_that_changed_meanwhile_is_noticed() {
    let (a, b) = sides(|s| drop(s.turn("from A")), |s| drop(s.turn("from B")));
    let base = common(a.out.as_bytes(), b.out.as_bytes());
    let mut planner = Planner::default();
    planner.base(&a.out.as_bytes()[..base]);
    planner.local(&a.out.as_bytes()[base..]);
    planner.theirs(&b.out.as_bytes()[base..]);
    let plan = planner.plan().unwrap();
    for other in [&b"{}\n"[..], b"", &b.out.as_bytes()[base..b.out.len() - 1]] {
        let mut joining = plan.joining();
        let mut out = Vec::new();
        joining.push(other, &mut out);
        assert_eq!(joining.finish(&mut out), Err(Changed));
    }
}

/// What a side may do after the base.
#[derive(Debug, Clone)]
enum Act {
    Turn(String),
    Tool,
    State,
    Names,
    Stop,
    Blank,
    /// Goes back so many of its own records.
    Back(u8),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => "[a-z /\\\\\"é测]{0,12}".prop_map(Act::Turn),
        2 => Just(Act::Tool),
        2 => Just(Act::State),
        1 => Just(Act::Names),
        1 => Just(Act::Stop),
        1 => Just(Act::Blank),
        1 => (1u8..4).prop_map(Act::Back),
    ]
}

/// Carries them out, and says which of its own records are on its branch.
fn carry_out(script: &mut Script, acts: &[Act]) {
    let mut way: Vec<String> = Vec::new();
    for (n, act) in acts.iter().enumerate() {
        let before = script.last.clone();
        match act {
            Act::Turn(text) => drop(script.turn(&format!("{}:{n} {text}", script.side))),
            Act::Tool => {
                script.user(&format!("{}:{n} run", script.side));
                script.calls(&format!("t{}{n}", script.side));
                script.result(&format!("t{}{n}", script.side));
                script.says("ran");
            }
            Act::State => script.raw(&format!(
                r#"{{"type":"cost-state","side":{},"n":{n}}}"#,
                script.side
            )),
            Act::Names => {
                if let Some(last) = script.last.clone() {
                    script.last_prompt(&last);
                }
            }
            Act::Stop => drop(script.add(json!({"type": "system", "subtype": "turn_duration"}))),
            Act::Blank => script.raw(""),
            Act::Back(n) => {
                let at = way.len().saturating_sub(usize::from(*n));
                way.truncate(at.max(1));
                if let Some(last) = way.last() {
                    script.last = Some(last.clone());
                }
            }
        }
        if script.last != before && !matches!(act, Act::Back(_)) {
            way.extend(script.last.clone());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_line_of_both_once_and_the_turns_in_a_row(
        ours in prop::collection::vec(act(), 0..8),
        theirs in prop::collection::vec(act(), 0..8),
        piece in 1usize..400,
    ) {
        let (mut a, mut b) = (base().on(1), base().on(2));
        carry_out(&mut a, &ours);
        carry_out(&mut b, &theirs);
        let base = common(a.out.as_bytes(), b.out.as_bytes());
        let (alone, apart) = (prompts(a.out.as_bytes()), prompts(b.out.as_bytes()));
        match join_in(a.out.as_bytes(), b.out.as_bytes(), piece) {
            Err(refused) => prop_assert!(
                matches!(refused, Refused::NothingToJoin | Refused::Rewound(_) | Refused::MidTurn { .. }),
                "{refused}"
            ),
            Ok((out, counts)) => {
                prop_assert!(out.starts_with(a.out.as_bytes()));
                // Their part: as many bytes, but for our own line; one token differs.
                let tail = &b.out.as_bytes()[base..];
                let got = &out[a.out.len()..a.out.len() + tail.len()];
                let differ = got
                    .split(|b| *b == b'\n')
                    .zip(tail.split(|b| *b == b'\n'))
                    .filter(|(x, y)| x != y)
                    .count();
                prop_assert!(differ <= 1);
                prop_assert_eq!(out.len() > a.out.len() + tail.len(), counts.names_end);
                // What the digest, by the measured rule, takes for the branch.
                let mut want = alone.clone();
                want.extend(apart.iter().filter(|p| p.starts_with("2:")).cloned());
                prop_assert_eq!(prompts(&out), want);
            }
        }
    }
}
