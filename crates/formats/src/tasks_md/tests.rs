//! Hand-off files: as a model writes them, as we write them, and as nobody should.

use super::*;

const ID: &str = "e47fe3ca-2b33-4853-b61e-4bb21fa16e3a";

fn id() -> SessionId {
    ID.parse().unwrap()
}

fn read_it(name: &str, text: &str) -> (Task, Vec<Warning>) {
    read(name, text.as_bytes()).unwrap()
}

#[test]
fn names_are_split_before_the_uuid() {
    let check = |name: &str, want: Option<(&str, bool)>| {
        let found = split_name(name).map(|(host, id)| (host, id.is_some()));
        assert_eq!(found, want, "{name}");
    };
    check(
        &format!("linux-desk-top-{ID}.md"),
        Some(("linux-desk-top", true)),
    );
    check(
        &format!("desk-{}.md", ID.to_uppercase()),
        Some(("desk", true)),
    );
    check(&format!("{ID}.md"), Some(("", true)));
    check("desk-top-3.md", Some(("desk-top", false)));
    check("README.md", Some(("README", false)));
    check("é-测试.md", Some(("é", false)));
    for none in ["", ".md", "x.txt", ".hidden.md", "x"] {
        check(none, None);
    }
    assert_eq!(path("a b/../c", &id()), format!("tasks/a-b-..-c-{ID}.md"));
}

#[test]
fn a_file_of_a_model() {
    let text = "---\nTitle: \"Fix: the \\\"auth\\\" bug\"\nHostname: linux-desktop\nsession-id: nonsense\nBranch: main # for now\nlast_updated: 2026-04-01T10:20:30+02:00\ntags:\n  - a\n---\n\n# Something\n\nWords before.\n\n## Task\nMend it.\n\n## Already Done ##\n- a\n\n## 已完成\n- b\n## In-progress\n```md\n## Done\n```\n## Next Steps\n1. x\n\n## Notes\nkeep me\n\n## Handoff prompt\nYou go on.\n\n```sh\n## no heading\n```\n# nor this\n";
    let (task, warnings) = read_it(&format!("linux-desktop-{ID}.md"), text);
    assert_eq!(task.title, "Fix: the \"auth\" bug");
    assert_eq!(
        (task.host.as_str(), task.branch.as_str()),
        ("linux-desktop", "main")
    );
    assert_eq!(
        (task.session, task.made_up, task.ours),
        (id(), false, false)
    );
    assert_eq!(
        task.updated.map(|t| rfc3339::from_ms(t.0)).as_deref(),
        Some("2026-04-01T08:20:30.000Z")
    );
    assert_eq!(task.sections.task, "Mend it.");
    assert_eq!(task.sections.done, "- b");
    assert_eq!(task.sections.in_progress, "```md\n## Done\n```");
    assert_eq!(task.sections.next_steps, "1. x");
    assert_eq!(
        task.sections.handoff_prompt,
        "You go on.\n\n```sh\n## no heading\n```\n# nor this"
    );
    let others = [("Already Done", "- a"), ("Notes", "keep me")];
    assert_eq!(
        task.others,
        others.map(|(h, b)| (h.to_owned(), b.to_owned()))
    );
    assert_eq!(warnings, [Warning::Front(8), Warning::Others(2)]);
    let snapshot = task.snapshot(Timestamp(5));
    assert_eq!(snapshot.device, "linux-desktop");
    assert!(snapshot.sections.done.ends_with("**Notes**\n\nkeep me"));
}

#[test]
fn a_file_with_nothing_certain_in_it() {
    let (task, warnings) = read_it("my-box-notes.md", "# A title\n\ntext\n");
    assert_eq!(
        (task.title.as_str(), task.host.as_str()),
        ("A title", "my-box")
    );
    assert!(task.made_up);
    assert_eq!(
        warnings,
        [
            Warning::NoFront,
            Warning::NoSession,
            Warning::NoTime,
            Warning::NoPrompt
        ]
    );
    assert_eq!(task.snapshot(Timestamp(5)).updated, Timestamp(5));
    let again = read_it("my-box-notes.md", "").0;
    assert_eq!(again.session, task.session);
    assert_ne!(read_it("my-box-note2.md", "").0.session, task.session);
    assert_eq!(task.session.to_string().as_bytes()[14], b'8');
    // A session in the text counts if the name has none, and else the name.
    let other = "---\nid: 11111111-0000-4000-8000-000000000001\n---\n";
    let (task, _) = read_it("my-box-notes.md", other);
    assert!(!task.made_up && task.session.to_string().starts_with("11111111"));
    let (task, warnings) = read_it(&format!("x-{ID}.md"), other);
    assert_eq!(task.session, id());
    assert!(warnings.contains(&Warning::OtherSession));
    // Nothing that begins like a front matter swallows the text.
    let (task, _) = read_it("x.md", "---\ntitle: x\n\n## Task\nhere\n");
    assert_eq!(
        (task.title.as_str(), task.sections.task.as_str()),
        ("here", "here")
    );
    let (task, _) = read_it(
        "x.md",
        "\u{feff}---\r\ntitle: 'it''s'\r\n---\r\n## Task\r\nhere\r\n",
    );
    assert_eq!(
        (task.title.as_str(), task.sections.task.as_str()),
        ("it's", "here")
    );
}

fn snapshot() -> Snapshot {
    Snapshot {
        v: SNAPSHOT_VERSION,
        session_id: id(),
        title: "fix: the bug #3".into(),
        updated: Timestamp(1_700_000_000_123),
        created: Some(Timestamp(1_600_000_000_000)),
        project: "app".into(),
        branch: "feat/x".into(),
        head: String::new(),
        changed: None,
        device: "desk".into(),
        sections: Sections {
            task: "# not a title\n\ntext".into(),
            done: "- a\n- b".into(),
            in_progress: "---\n## x".into(),
            next_steps: String::new(),
            files: "`src/a.rs`".into(),
            handoff_prompt: "Go on.\n\n## And\nmore".into(),
        },
        based_on: BasedOn::default(),
        enriched: false,
    }
}

#[test]
fn what_we_write_is_read() {
    let written = snapshot();
    let name = markdown_name("desk", &id());
    let (task, warnings) = read_it(&name, &written.to_markdown("desk"));
    assert_eq!(warnings, []);
    assert!(task.ours);
    assert_eq!(task.snapshot(Timestamp(0)), written);
}

#[test]
fn k_l12_hostile_files_are_stripped_and_bounded() {
    let many: String = (0..5000).map(|n| format!("## h{n}\nx\n")).collect();
    let (task, warnings) = read_it("a.md", &many);
    assert_eq!(
        (task.others.len(), warnings.contains(&Warning::Others(5000))),
        (OTHERS_MAX, true)
    );
    let long = format!(
        "---\ntitle: {}\n---\n## Handoff prompt\n\u{1b}]8;;x\u{7}{}",
        "t".repeat(5000),
        "p".repeat(3 << 20)
    );
    let (task, warnings) = read_it(&format!("\u{1b}[31m-{ID}.md"), &long);
    assert!(warnings.contains(&Warning::Cut));
    assert!(task.title.chars().count() <= limits::TITLE_CHARS_MAX);
    assert!(!task.host.contains('\u{1b}'));
    let snapshot = task.snapshot(Timestamp(0));
    assert!(snapshot.to_bytes().len() <= limits::SNAPSHOT_BYTES_MAX);
    assert!(snapshot.sections.handoff_prompt.chars().count() <= limits::HANDOFF_CHARS_MAX);
    assert!(!snapshot.sections.handoff_prompt.contains(char::is_control));
    for bytes in [
        &b"\xff\xfe\x00"[..],
        b"---",
        b"---\n---",
        b"\0",
        b"---\n: \n:\n---\n##\n## \n",
    ] {
        read("x.md", bytes).unwrap();
    }
}

proptest::proptest! {
    #[test]
    fn any_document_comes_back(
        bodies in proptest::collection::vec("([a-z#`é -]{0,12}\n){0,5}[a-z]", 6),
        title in "[a-z:#\"'\\\\ é]{0,20}",
    ) {
        let mut written = snapshot();
        let body = |n: usize| bodies[n].lines().map(|l| if l.starts_with("```") || l.starts_with(' ') { "x" } else { l.trim_end() }).collect::<Vec<_>>().join("\n").trim().to_owned();
        written.title = text::one_line(&title, 80);
        written.sections = Sections {
            task: format!("t{}", body(0)),
            done: body(1),
            in_progress: body(2),
            next_steps: body(3),
            files: body(4),
            handoff_prompt: body(5),
        };
        let name = markdown_name("desk", &id());
        let (task, _) = read_it(&name, &written.to_markdown("desk"));
        let read = task.snapshot(Timestamp(0));
        if !written.title.is_empty() {
            proptest::prop_assert_eq!(&read.title, &written.title);
        }
        proptest::prop_assert_eq!(read.sections, written.sections);
    }
}
