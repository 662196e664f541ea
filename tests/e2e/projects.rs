//! Where projects lie: what the user sees and says, and a project that moves.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::world::{Device, Session, World, arrives, continue_into, pair};

const ID: &str = "5f0d7a52-6f0e-4d8e-9a41-0c6a8f6f1e01";
const INNER: &str = "5f0d7a52-6f0e-4d8e-9a41-0c6a8f6f1e02";

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn result<'v>(moved: &'v Value, id: &str) -> &'v Value {
    let all = moved["sessions"].as_array().unwrap();
    all.iter().find(|s| s["session_id"] == id).unwrap()
}

/// The session where it was moved to.
fn followed(moved: &Value, session: &Session) -> Session {
    let of = result(moved, &session.id);
    let path = PathBuf::from(of["path"].as_str().unwrap());
    let to = PathBuf::from(of["to"].as_str().unwrap());
    session.at(&path, &to)
}

fn says_live(device: &Device, session: &str, pid: Option<u32>) {
    let dir = device.claude().join("sessions");
    fs::create_dir_all(&dir).unwrap();
    match pid {
        Some(pid) => {
            let claim = serde_json::json!({ "pid": pid, "sessionId": session });
            fs::write(dir.join(format!("{pid}.json")), claim.to_string()).unwrap();
        }
        None => fs::remove_dir_all(dir).unwrap(),
    }
}

#[test]
fn a_moved_project_takes_its_sessions_along_and_nobody_sees_a_fork() {
    let world = World::new();
    let (a, b) = (world.running("desk"), world.running("laptop"));
    pair(&a, &b);
    let (old, new) = (a.project("work/proj"), a.home().join("elsewhere/app"));
    fs::create_dir_all(old.join("inner")).unwrap();
    let mut on_a = a.session(ID, &old);
    a.turn(&mut on_a, "write the parser");
    let mut inner = a.session(INNER, &old.join("inner"));
    a.turn(&mut inner, "write its tests");
    arrives(&b, ID, &on_a);
    arrives(&b, INNER, &inner);
    let there = b.project("code/proj");
    let placed = continue_into(&b, ID, &there);
    let on_b = PathBuf::from(placed["path"].as_str().unwrap());

    fs::create_dir_all(new.parent().unwrap()).unwrap();
    fs::rename(&old, &new).unwrap();
    let before = on_a.bytes();
    let args = ["mv", text(&old), text(&new), "--json"];
    let told = a.json(&[&args[..], &["--dry-run"]].concat());
    assert_eq!(told["dry_run"], true);
    assert_eq!(told["sessions"].as_array().unwrap().len(), 2, "{told}");
    assert_eq!(on_a.bytes(), before, "nothing was done");

    // One is open: it stays, and is moved the next time.
    says_live(&a, INNER, Some(std::process::id()));
    let moved = a.json(&args);
    assert_eq!(result(&moved, ID)["result"], "moved", "{moved}");
    assert_eq!(result(&moved, INNER)["result"], "live", "{moved}");
    assert!(inner.transcript.exists());
    assert!(!on_a.transcript.exists(), "it lies in one place");
    says_live(&a, INNER, None);
    let again = a.json(&args);
    assert_eq!(again["sessions"].as_array().unwrap().len(), 1, "{again}");
    let inner = followed(&again, &inner);
    assert_eq!(inner.project, new.join("inner"));
    let mut on_a = followed(&moved, &on_a);
    let now = String::from_utf8(on_a.bytes()).unwrap();
    assert!(now.contains(text(&new)) && !now.contains(text(&old)));
    let nothing = a.json(&args);
    assert_eq!(nothing["sessions"].as_array().unwrap().len(), 0);

    // The next turn is the next version of the same line, everywhere.
    a.turn(&mut on_a, "now in the new place");
    arrives(&b, ID, &on_a);
    assert_eq!(b.rows(ID).len(), 1, "no fork");
    let back = b.json(&["continue", ID, "--no-exec", "--json"]);
    assert_eq!(back["placed"], "fast_forward", "{back}");
    let on_b = fs::read_to_string(on_b).unwrap();
    assert!(on_b.contains("now in the new place") && !on_b.contains(text(&new)));

    // The move of the other one is taken back.
    a.ok(&["undo"]);
    assert!(!inner.transcript.exists());
}

#[test]
fn a_project_is_where_the_user_says() {
    let world = World::new();
    let (a, b) = (world.running("desk"), world.running("laptop"));
    pair(&a, &b);
    let mut on_a = a.session(ID, &a.project("work/notes"));
    a.turn(&mut on_a, "write the list");
    arrives(&b, ID, &on_a);
    let rows = b.json(&["projects", "--json"]);
    assert_eq!(rows[0]["name"], "notes");
    assert_eq!(rows[0]["dir"], Value::Null);
    assert_eq!(rows[0]["devices"][0]["name"], "desk");
    let there = b.project("else/texts");
    let unknown = b.run(&["projects", "set", "nobody", text(&there)]);
    assert_eq!(unknown.code, 1, "{}", unknown.stderr);
    let set = b.json(&["projects", "set", "notes", text(&there), "--json"]);
    assert_eq!(set["project"]["dir"], text(&there));
    assert_eq!(set["project"]["known"], "said");
    let placed = b.json(&["continue", ID, "--no-exec", "--json"]);
    assert_eq!(placed["project_dir"], text(&there), "{placed}");

    let forgotten = b.json(&["projects", "forget", text(&there), "--json"]);
    assert_ne!(forgotten["project"]["known"], "said", "{forgotten}");
    let table = b.ok(&["projects"]);
    assert!(
        table.lines().all(|line| line.chars().count() <= 80),
        "{table}"
    );

    // A root on both sides: the same place below it.
    let (here, root) = (a.project("dev/team/app"), b.project("src"));
    a.ok(&["projects", "root", "add", text(&a.home().join("dev"))]);
    let mut second = a.session(INNER, &here);
    a.turn(&mut second, "write the app");
    arrives(&b, INNER, &second);
    let missing = b.run(&["continue", INNER, "--no-exec"]);
    assert_eq!(missing.code, 1);
    fs::create_dir_all(root.join("team/app")).unwrap();
    let roots = b.json(&["projects", "root", "add", text(&root), "--json"]);
    assert_eq!(roots["roots"], serde_json::json!([text(&root)]));
    let placed = b.json(&["continue", INNER, "--no-exec", "--json"]);
    assert_eq!(
        placed["project_dir"],
        text(&root.join("team/app")),
        "{placed}"
    );
    let none = b.json(&["projects", "root", "remove", text(&root), "--json"]);
    assert_eq!(none["roots"], serde_json::json!([]));
}
