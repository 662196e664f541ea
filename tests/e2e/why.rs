//! What `why` says of a session, wherever it stands.

use super::story::begun;
use super::world::{continue_into, until};

const ID: &str = "5f0d7a52-6f0e-4d8e-9a41-0c6a8f6f1d81";

#[test]
fn why_says_where_a_session_is_and_what_to_do_next() {
    let (_world, mut a, b, _) = begun(ID);

    // Held, not placed, its project unknown here.
    let why = b.json(&["why", ID, "--json"]);
    assert_eq!(why["session_id"], ID);
    assert_eq!(why["listed"], true, "{why}");
    assert!(
        why["path"].is_null() && why["project_dir"].is_null(),
        "{why}"
    );
    assert_eq!(why["versions"][0]["complete"], true, "{why}");
    assert_eq!(why["versions"][0]["missing"], 0, "{why}");
    assert_eq!(why["presence"][0]["device"]["name"], "desk", "{why}");
    assert_eq!(why["baton"]["name"], "desk", "{why}");
    assert!(
        why["next"].as_str().unwrap().ends_with("--into DIR"),
        "{why}"
    );
    let text = b.ok(&["why", &ID[..8]]);
    for word in [
        "not placed",
        "not clear",
        "all of it is here",
        "desk",
        "next: ccpeer continue",
    ] {
        assert!(text.replace("\n  ", " ").contains(word), "{word}: {text}");
    }
    let narrow = |text: &str| {
        // A path that is longer stands alone.
        text.lines()
            .all(|l| l.chars().count() <= 80 || !l.trim().contains(' '))
    };
    assert!(narrow(&text), "{text}");

    // Placed: where, and that the other side may go away.
    let placed = continue_into(&b, ID, &b.project("proj"));
    let why = b.json(&["why", ID, "--json"]);
    assert_eq!(why["path"], placed["path"]);
    assert_eq!(why["project_dir"], placed["project_dir"]);
    assert_eq!(why["baton"]["name"], "laptop", "{why}");
    a.stop();
    until("desk is known to be away", || {
        b.ok(&["why", ID]).contains("is not connected")
    });

    // Done: why the list leaves it out.
    b.ok(&["done", ID]);
    let text = b.ok(&["why", ID]);
    assert!(
        text.replace("\n  ", " ").contains("it was marked as done"),
        "{text}"
    );
    assert!(narrow(&text), "{text}");

    // In Claude's directory, and never captured.
    let other = "6f0d7a52-6f0e-4d8e-9a41-0c6a8f6f1d82";
    let mut unheard = b.session(other, &b.project("proj"));
    unheard.append("no hook, no sweep");
    let why = b.json(&["why", &other[..8], "--json"]);
    assert_eq!(why["session_id"], other);
    assert_eq!(why["listed"], false);
    assert!(
        why["next"].as_str().unwrap().starts_with("ccpeer push"),
        "{why}"
    );
    let nobody = b.run(&["why", "ffffffff"]);
    assert_eq!(nobody.code, 1, "{}", nobody.stdout);
}
