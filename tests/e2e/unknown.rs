//! What nobody here knows: files of new kinds, and a transcript in another format.

use std::fs;

use super::world::{World, arrives, continue_into, pair, until};

const ID: &str = "5f0d7a52-6f0e-4d8e-9a41-0c6a8f6f1d91";
const LABEL: &str = "session:workflows:run-1.json";

#[test]
fn files_of_unknown_kinds_are_carried_and_told_and_placed_nowhere() {
    let world = World::new();
    let (a, b) = (world.running("desk"), world.running("laptop"));
    pair(&a, &b);
    let mut on_a = a.session(ID, &a.project("work/proj"));
    let own = on_a.transcript.with_extension("").join("workflows");
    fs::create_dir_all(&own).unwrap();
    fs::write(own.join("run-1.json"), "{}").unwrap();
    fs::create_dir_all(a.claude().join("novelties").join(ID)).unwrap();
    a.turn(&mut on_a, "write the parser");
    arrives(&b, ID, &on_a);
    let flat = |text: String| text.replace("\n  ", " ");
    let said = flat(b.ok(&["why", ID]));
    assert!(
        said.contains("does not know") && said.contains(LABEL),
        "{said}"
    );
    let said = flat(a.ok(&["why", ID]));
    assert!(said.contains("`novelties/`"), "{said}");

    let there = b.project("code/proj");
    let placed = continue_into(&b, ID, &there);
    let dropped = placed["dropped"].to_string();
    assert!(
        dropped.contains(LABEL) && dropped.contains("not placed"),
        "{placed}"
    );
    let path = placed["path"].as_str().unwrap();
    let mut on_b = on_a.at(path.as_ref(), &there);
    assert!(
        !on_b
            .transcript
            .with_extension("")
            .join("workflows")
            .exists()
    );
    b.turn(&mut on_b, "now test it");
    arrives(&a, ID, &on_b);
    assert!(flat(a.ok(&["why", ID])).contains(LABEL), "kept on the way");
}

#[test]
fn a_transcript_in_another_format_is_archived_and_not_placed() {
    let world = World::new();
    let (a, b) = (world.running("desk"), world.running("laptop"));
    pair(&a, &b);
    let mut on_a = a.session(ID, &a.project("work/proj"));
    a.turn(&mut on_a, "write the parser");
    arrives(&b, ID, &on_a);
    let turn = "{\"kind\":\"turn\",\"version\":\"4.0.1\",\"by\":\"user\"}\n";
    fs::write(&on_a.transcript, turn.repeat(20)).unwrap();
    a.ok(&["push", ID]);
    let bytes = (turn.len() * 20) as u64;
    until("the other format is there", || {
        let sessions = b.json(&["sessions", "--json"]);
        let why = b.json(&["why", ID, "--json"]);
        sessions[0]["bytes"] == bytes && why["versions"][0]["complete"] == true
    });
    let why = b.json(&["why", ID, "--json"]);
    let lines = why["lines"].to_string();
    assert!(
        lines.contains("cannot be placed") && lines.contains("4.0.1"),
        "{why}"
    );
    assert!(
        why["next"].as_str().unwrap().ends_with("--handoff"),
        "{why}"
    );

    let there = b.project("code/proj");
    let args = [
        "continue",
        ID,
        "--into",
        there.to_str().unwrap(),
        "--no-exec",
    ];
    for _ in 0..2 {
        let refused = b.run(&args);
        assert_eq!(refused.code, 1, "{}", refused.stdout);
        for word in ["recognised", "4.0.1", "hint:", "--handoff"] {
            assert!(refused.stderr.contains(word), "{word}: {}", refused.stderr);
        }
    }
    assert!(b.json(&["why", ID, "--json"])["path"].is_null());
    let handed = b.json(&["continue", ID, "--handoff", "--no-exec", "--json"]);
    assert_eq!(handed["command"][0], "claude", "{handed}");
    // It is still a session where it lies.
    let here = a.json(&["continue", ID, "--no-exec", "--json"]);
    assert_eq!(here["placed"], "up_to_date", "{here}");
}
