//! Tests of the allow-list.

use ccpeer_core::limits;
use ccpeer_core::manifest::{OpaqueName, SlotName};
use proptest::prelude::*;

use super::*;

const SLUG: &str = "-home-ann-fx-full-work-proj";

fn session() -> SessionId {
    "aa21a64c-b7a7-41b7-a51f-ceeccfa4623b".parse().unwrap()
}

fn name(text: &str) -> SlotName {
    SlotName::new(text).unwrap()
}

/// What a file below Claude Code's directory is, found as a capture finds it.
fn classify(path: &[&str]) -> Classified {
    let (file, dir) = path.split_last().unwrap();
    let mut sources = sources(&session(), SLUG);
    sources.extend(plan_sources(
        &["reactive-plotting-cray".to_owned()],
        &[name("a4b3b560934ad2f5e")],
    ));
    sources
        .iter()
        .filter(|s| s.dir.iter().map(String::as_str).eq(dir.iter().copied()))
        .map(|s| slot_of(s, file))
        .find(|c| *c != Classified::Other)
        .unwrap_or(Classified::Other)
}

#[test]
fn files_of_a_real_session() {
    let check = |path: &str, want: Classified| {
        let path = path
            .replace("SID", &session().to_string())
            .replace("SLUG", SLUG);
        assert_eq!(
            classify(&path.split('/').collect::<Vec<_>>()),
            want,
            "{path}"
        );
    };
    let hash = [0x81, 0xcc, 0xb9, 0x25, 0x5b, 0xbb, 0xc9, 0x24];
    check("projects/SLUG/SID.jsonl", Classified::Slot(Slot::Main));
    check(
        "projects/SLUG/SID/subagents/agent-a4b3b560934ad2f5e.jsonl",
        Classified::Slot(Slot::Subagent(name("a4b3b560934ad2f5e"))),
    );
    check(
        "projects/SLUG/SID/subagents/agent-0a1b2c3d.jsonl",
        Classified::Slot(Slot::Subagent(name("0a1b2c3d"))),
    );
    check(
        "projects/SLUG/SID/subagents/agent-a4b3b560934ad2f5e.meta.json",
        Classified::Slot(Slot::SubagentMeta(name("a4b3b560934ad2f5e"))),
    );
    check(
        "projects/SLUG/SID/tool-results/bxsdyuzsi.txt",
        Classified::Slot(Slot::ToolResult(name("bxsdyuzsi"))),
    );
    check("tasks/SID/3.json", Classified::Slot(Slot::Task(3)));
    check(
        "tasks/SID/.highwatermark",
        Classified::Slot(Slot::TaskHighWater),
    );
    check("tasks/SID/.lock", Classified::Ignored);
    check(
        "file-history/SID/81ccb9255bbbc924@v2",
        Classified::Slot(Slot::FileHistory {
            path_hash: hash,
            version: 2,
        }),
    );
    check(
        "todos/SID-agent-SID.json",
        Classified::Slot(Slot::Todo(name(&session().to_string()))),
    );
    check(
        "todos/19f5450b-6242-4b90-8427-eefda48f04aa-agent-x.json",
        Classified::Other,
    );
    check(
        "plans/reactive-plotting-cray.md",
        Classified::Slot(Slot::Plan(name("reactive-plotting-cray"))),
    );
    check(
        "plans/reactive-plotting-cray-agent-a4b3b560934ad2f5e.md",
        Classified::Slot(Slot::Plan(name(
            "reactive-plotting-cray-agent-a4b3b560934ad2f5e",
        ))),
    );
    check("plans/reactive-plotting-cray-agent-x.md", Classified::Other);
    check("plans/other.md", Classified::Other);
    check("projects/SLUG/SID/custom-title.json", Classified::Ignored);
    check("projects/SLUG/SID/resume-head.jsonl", Classified::Ignored);
    check("projects/SLUG/SID/subagents", Classified::Ignored);
    check("projects/SLUG/SID/settings.json", Classified::Unknown);
    check("projects/SLUG/memory/MEMORY.md", Classified::Other);
    check("settings.json", Classified::Other);
}

#[test]
fn names_that_are_nearly_right_are_not_taken() {
    for path in [
        "projects/SLUG/SID/subagents/agent-.jsonl",
        "projects/SLUG/SID/subagents/agent-a b.jsonl",
        "projects/SLUG/SID/subagents/agent-con.jsonl",
        "projects/SLUG/SID/subagents/a4b3b560934ad2f5e.jsonl",
        "projects/SLUG/SID/tool-results/nul.txt",
        "projects/SLUG/SID/tool-results/x.json",
        "tasks/SID/03.json",
        "tasks/SID/+3.json",
        "tasks/SID/4294967296.json",
        "file-history/SID/81CCB9255BBBC924@v2",
        "file-history/SID/81ccb9255bbbc924@v02",
        "file-history/SID/81ccb9255bbbc924@v10000",
        "file-history/SID/+1ccb9255bbbc924@v2",
        "todos/SID-agent-.json",
    ] {
        let path = path
            .replace("SID", &session().to_string())
            .replace("SLUG", SLUG);
        let got = classify(&path.split('/').collect::<Vec<_>>());
        assert_eq!(got, Classified::Unknown, "{path}");
    }
}

#[test]
fn sessions_by_their_file_name() {
    assert_eq!(
        session_in("aa21a64c-b7a7-41b7-a51f-ceeccfa4623b.jsonl"),
        Some(session())
    );
    for other in [
        "agent-a4b3b560934ad2f5e.jsonl",
        "aa21a64c-b7a7-41b7-a51f-ceeccfa4623b.conflict-B.jsonl",
        "AA21A64C-B7A7-41B7-A51F-CEECCFA4623B.jsonl",
        "aa21a64c-b7a7-41b7-a51f-ceeccfa4623b",
        "aa21a64c-b7a7-41b7-a51f-ceeccfa4623b.jsonl.superseded-1795213992",
        ".jsonl",
        "",
    ] {
        assert_eq!(session_in(other), None, "{other}");
    }
}

/// No slug, however it came about, leads out of `projects/`.
#[test]
fn k_a01_hostile_names_give_no_place() {
    for slug in [
        "",
        ".",
        "..",
        "../x",
        "a/b",
        "a\\b",
        "C:",
        "a\0b",
        "a\nb",
        ".git",
        "x.",
        "x ",
        &"x".repeat(256),
    ] {
        assert!(sources(&session(), slug).is_empty(), "{slug:?}");
        assert!(path_of(&Slot::Main, &session(), slug).is_none(), "{slug:?}");
    }
    // What a manifest's decoder lets through before its check.
    let hostile: SlotName = serde_json::from_str("\"../../x\"").unwrap();
    for slot in [
        Slot::Subagent(hostile.clone()),
        Slot::SubagentMeta(hostile.clone()),
        Slot::ToolResult(hostile.clone()),
        Slot::Todo(hostile.clone()),
        Slot::Plan(hostile),
        Slot::FileHistory {
            path_hash: [0; 8],
            version: 10_000,
        },
    ] {
        assert!(path_of(&slot, &session(), SLUG).is_none(), "{slot:?}");
    }
    let opaque = OpaqueName::new("session:workflows:run.json").unwrap();
    assert!(path_of(&Slot::Opaque(opaque), &session(), SLUG).is_none());
    assert!(plan_sources(&["../settings".to_owned()], &[]).is_empty());
}

#[test]
fn what_has_no_slot_is_labelled_or_passes() {
    let check = |words: &[&str], path: &str, want: &str| {
        let names: Vec<String> = path.split('/').map(str::to_owned).collect();
        let label = label(words, &names).unwrap();
        match want.strip_suffix('#') {
            None => assert_eq!(label.as_str(), want, "{path}"),
            Some(front) => {
                let hash = label.as_str().strip_prefix(front).unwrap_or_default();
                let digits = hash.bytes().all(|c| c.is_ascii_hexdigit());
                assert!(hash.len() == 12 && digits, "{path}: {label:?}");
            }
        }
    };
    let side = own_words(Place::Side).unwrap();
    check(
        side,
        "workflows/run-1/state.json",
        "session:workflows:run-1:state.json",
    );
    check(own_words(Place::Tasks).unwrap(), "5.md", "tasks:5.md");
    check(
        own_words(Place::Subagents).unwrap(),
        "workflows/agent-a1.jsonl",
        "session:subagents:workflows:agent-a1.jsonl",
    );
    // What cannot be told in a label's characters ends with a hash.
    check(side, "State.json", "session:State.json~#");
    check(side, ".state", "session:_state~#");
    check(side, "文件 1.md", "session:___1.md~#");
    check(side, "a~b", "session:a~b~#");
    let long = label(side, &vec!["x".repeat(255); limits::OPAQUE_DEPTH_MAX + 1]).unwrap();
    assert!(long.as_str().len() <= limits::OPAQUE_NAME_BYTES_MAX);
    assert!(label(side, &[]).is_none());
    assert!(label(side, &vec!["x".to_owned(); limits::OPAQUE_DEPTH_MAX + 2]).is_none());

    for name in [
        ".lock",
        "x.lock",
        "x.tmp",
        "x.jsonl.compact.tmp.123",
        "x.bak",
        "x~",
        ".DS_Store",
        "._x",
        ".#x",
        ".x.swp",
        ".nfs0001",
        "a.jsonl.superseded-1",
        "x.conflict-B",
    ] {
        assert!(is_passing(name), "{name}");
    }
    for name in [
        "x.json",
        ".highwatermark",
        ".state",
        "lock",
        "tmp",
        "x.sqlite",
    ] {
        assert!(!is_passing(name), "{name}");
    }
}

#[test]
fn directories_that_are_known_by_name() {
    assert!(TOP.is_sorted());
    for known in ["projects", "session-env", ".ccpeer-staging-1"] {
        assert!(is_known_top(known), "{known}");
    }
    assert!(!is_known_top("workflows"));
}

fn any_slot() -> impl Strategy<Value = Slot> {
    let name = "[A-Za-z0-9_-]{1,64}".prop_filter_map("device name", |n| SlotName::new(&n));
    prop_oneof![
        Just(Slot::Main),
        name.clone().prop_map(Slot::Subagent),
        name.clone().prop_map(Slot::SubagentMeta),
        name.clone().prop_map(Slot::ToolResult),
        any::<u32>().prop_map(Slot::Task),
        Just(Slot::TaskHighWater),
        name.clone().prop_map(Slot::Todo),
        (any::<[u8; 8]>(), 0..=9999u32)
            .prop_map(|(path_hash, version)| Slot::FileHistory { path_hash, version }),
        name.prop_map(Slot::Plan),
    ]
}

proptest! {
    /// A placed file is found again as the slot that it was placed for.
    #[test]
    fn place_and_slot_are_inverse(slot in any_slot(), id in any::<[u8; 16]>()) {
        let session = SessionId(id);
        let path = path_of(&slot, &session, SLUG).unwrap();
        let (file, dir) = path.split_last().unwrap();
        let mut sources = sources(&session, SLUG);
        if let Slot::Plan(name) = &slot {
            sources.extend(plan_sources(&[name.as_str().to_owned()], &[]));
        }
        let found: Vec<_> = sources
            .iter()
            .filter(|s| s.dir == dir)
            .map(|s| slot_of(s, file))
            .filter(|c| matches!(c, Classified::Slot(_)))
            .collect();
        prop_assert_eq!(found, vec![Classified::Slot(slot)]);
    }

    /// Two files never share a label, nor labels that differ in case alone.
    #[test]
    fn labels_tell_files_apart(
        a in prop::collection::vec("[aA.~:_b ]{1,3}|[^/]{1,80}", 1..=5),
        b in prop::collection::vec("[aA.~:_b ]{1,3}|[^/]{1,80}", 1..=5),
    ) {
        let side = own_words(Place::Side).unwrap();
        let (x, y) = (label(side, &a).unwrap(), label(side, &b).unwrap());
        prop_assert_eq!(label(side, &a), Some(x.clone()));
        let folded = |l: &OpaqueName| l.as_str().to_ascii_lowercase();
        prop_assert_eq!(folded(&x) == folded(&y), a == b);
    }

    /// Whatever a file is called: if it has a slot, it is that slot's own name.
    #[test]
    fn a_slot_is_never_the_slot_of_two_names(file in "\\PC{0,40}|[a-f0-9@v]{15,20}|agent-[a-z0-9.]{1,30}") {
        for source in sources(&session(), SLUG) {
            if let Classified::Slot(slot) = slot_of(&source, &file) {
                let mut path = source.dir.clone();
                path.push(file.clone());
                prop_assert_eq!(path_of(&slot, &session(), SLUG), Some(path));
            }
        }
    }
}
