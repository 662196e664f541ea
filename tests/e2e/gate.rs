//! What looks like a secret: what becomes of it on its way to bridges, and that the
//! user is told where there is some, and never what.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::mirror::{ID, OTHER, add, at_work, files, git, remote, sound};
use super::seeds::unpacked;
use super::serve::Server;
use super::world::{Device, Session, World, arrives, pair, until};

fn token() -> String {
    ["ghp_", "A1b2C3d4E5f6G7h8I9j0K1l2M3n4"].concat()
}

/// A session with a token in it: in what was said, in a record of a tool, and in a
/// text within JSON within it.
fn leaky(device: &Device, id: &str) -> Session {
    let mut session = device.session(id, &device.project("work/proj"));
    session.append("look at the parser");
    let nested = json!({"env": {"api_key": "k3yk3yk3y"}, "note": token()}).to_string();
    device.turn(
        &mut session,
        &format!("the key is {} and {nested}", token()),
    );
    until("it is captured", || device.holds(id, session.records()));
    session
}

/// A file of a mirror, unpacked.
fn file(remote: &Path, path: &str) -> String {
    let out = std::process::Command::new("git")
        .args([
            "-C",
            remote.to_str().unwrap(),
            "show",
            &format!("HEAD:{path}"),
        ])
        .output()
        .unwrap();
    assert!(out.status.success(), "{path}");
    match path.ends_with(".gz") {
        true => unpacked(&out.stdout),
        false => String::from_utf8_lossy(&out.stdout).into_owned(),
    }
}

fn clean(text: &str) {
    assert!(
        !text.contains(&token()) && !text.contains("k3yk3yk3y"),
        "{text}"
    );
}

fn gate_of(device: &Device, bridge: &str) -> Value {
    let policy = device.json(&["policy", "--json"]);
    let bridges = policy["bridges"].as_array().unwrap().iter();
    let mut of = bridges.filter(|b| b["bridge"] == bridge);
    of.next().unwrap_or_else(|| panic!("{policy}"))["how"].clone()
}

#[test]
fn k_x01_a_mirror_that_redacts_shows_others_a_session_without_its_secrets() {
    let world = World::new();
    let desk = world.running("desk");
    at_work(&desk, ID);
    let mut session = leaky(&desk, OTHER);
    let remote = remote(&desk);
    let row = add(&desk, &remote, "--plain");
    let name = row["name"].as_str().unwrap();
    assert_eq!(
        (&row["secrets"], &row["held"]),
        (&json!("hold"), &json!([OTHER]))
    );
    assert_eq!(gate_of(&desk, name), "hold");
    let other = |all: &[String]| -> Vec<String> {
        let of_other = all.iter().filter(|p| p.contains(OTHER));
        of_other.cloned().collect()
    };
    assert!(other(&files(&remote)).is_empty());

    desk.ok(&["policy", "secrets", name, "redact"]);
    assert_eq!(gate_of(&desk, name), "redact");
    let rows = desk.json(&["git", "sync", "--force", "--json"]);
    assert_eq!(rows[0]["held"], json!([OTHER]), "{rows}");
    let shown = other(&files(&remote));
    assert_eq!(shown.len(), 2, "a hand-off and a bundle: {shown:?}");
    for path in &shown {
        let text = file(&remote, path);
        clean(&text);
        assert!(text.contains("[redacted]"), "{path}: {text}");
        assert!(text.contains("the key is"), "{path}: {text}");
    }
    let subjects = git(&remote, &["log", "--format=%B"]);
    clean(&subjects);
    // It goes on, and its lines stay JSON.
    desk.turn(&mut session, "and now without");
    until("it is captured", || desk.holds(OTHER, session.records()));
    desk.json(&["git", "sync", "--force", "--json"]);
    let bundle = shown.iter().find(|p| p.ends_with(".gz")).unwrap();
    let text = file(&remote, bundle);
    clean(&text);
    assert!(text.contains("and now without"), "{text}");
    // What a device is restored from is signed, and leaves it out.
    let laptop = world.running("laptop");
    let from = remote.to_str().unwrap();
    let done = laptop.json(&["git", "import", from, "--json"]);
    assert_eq!(done["failed"], 0, "{done}");
    assert!(laptop.holds(ID, 4), "the clean one is restored");
    sound(&remote);

    // Whoever lets it through is told what is there.
    desk.ok(&["policy", "secrets", name, "warn"]);
    let rows = desk.json(&["git", "sync", "--force", "--json"]);
    assert_eq!(
        (&rows[0]["held"], &rows[0]["warned"]),
        (&json!([]), &json!([OTHER])),
        "{rows}"
    );
    let rows = desk.json(&["git", "sync", "--json"]);
    assert_eq!(rows[0]["warned"], json!([OTHER]), "still: {rows}");
    assert!(file(&remote, bundle).contains(&token()));
    // Another choice about the same place does not undo this one.
    let rows = desk.json(&[
        "git",
        "add",
        from,
        "--plain",
        "--push-every",
        "60",
        "--json",
    ]);
    assert_eq!(rows[0]["secrets"], "warn", "{rows}");
}

#[test]
fn k_x01_an_encrypted_mirror_can_be_told_to_hold_and_not_to_redact() {
    let world = World::new();
    let desk = world.running("desk");
    leaky(&desk, OTHER);
    let remote = remote(&desk);
    let row = add(&desk, &remote, "--encrypted");
    let name = row["name"].as_str().unwrap();
    assert_eq!(
        (&row["secrets"], &row["held"]),
        (&json!("warn"), &json!([]))
    );
    assert_eq!(
        row["warned"],
        json!([]),
        "its readers have the session anyway"
    );
    let ran = desk.run(&["policy", "secrets", name, "redact"]);
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    assert!(ran.stderr.contains("signed"), "{}", ran.stderr);
    desk.ok(&["policy", "secrets", name, "hold"]);
    let mut second = desk.session(ID, &desk.project("work/proj"));
    desk.turn(&mut second, &format!("another one with {}", token()));
    until("it is captured", || desk.holds(ID, second.records()));
    let rows = desk.json(&["git", "sync", "--json"]);
    assert!(rows[0]["held"].to_string().contains(ID), "{rows}");
    let ran = desk.run(&["policy", "secrets", "nowhere", "hold"]);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert_eq!(desk.run(&["policy", "secrets", name]).code, 2);
}

#[test]
fn k_x01_clients_of_serve_get_what_the_user_lets_through() {
    let world = World::new();
    let desk = world.running("desk");
    at_work(&desk, ID);
    leaky(&desk, OTHER);
    let server = Server::of(&desk);
    assert_eq!(gate_of(&desk, "serve"), "warn");
    let whole = server.pull(OTHER);
    assert!(unpacked(&whole.body).contains(&token()), "as it always was");

    desk.ok(&["policy", "secrets", "serve", "hold"]);
    let held = server.pull(OTHER);
    assert_eq!(held.status, 403, "{}", held.head);
    assert_eq!(server.pull(ID).status, 200);
    let list = server.ask("GET /api/sessions", b"");
    clean(&String::from_utf8_lossy(&list.body));

    desk.ok(&["policy", "secrets", "serve", "redact"]);
    let less = server.pull(OTHER);
    assert_eq!(less.status, 200, "{}", less.head);
    let text = unpacked(&less.body);
    clean(&text);
    assert!(text.contains("the key is [redacted]"), "{text}");
    let log = fs::read_to_string(desk.ccpeer_home().join("log/agent.log")).unwrap();
    clean(&log);
}

#[test]
fn k_x02_of_a_secret_on_own_devices_the_user_is_told_once_and_never_what_it_is() {
    let world = World::new();
    let (desk, laptop) = (world.running("desk"), world.running("laptop"));
    let told = |device: &Device| -> Vec<Value> {
        let status = device.json(&["status", "--json"]);
        let findings = status["findings"].as_array().unwrap().iter();
        let secrets = findings.filter(|f| f["kind"] == "secret_in_session");
        secrets.cloned().collect()
    };
    let session = leaky(&desk, OTHER);
    // Whoever searches has it indexed now, and not a minute later.
    let finds = |device: &Device, words: &str| device.run(&["search", words]).code == 0;
    until("it was found", || {
        finds(&desk, "parser");
        let policy = desk.json(&["policy", "--json"]);
        policy["secrets"][0]["session_id"] == OTHER
    });
    assert!(told(&desk).is_empty(), "nobody shares it");
    pair(&desk, &laptop);
    arrives(&laptop, OTHER, &session);
    let findings = told(&desk);
    assert_eq!(findings.len(), 1, "{findings:?}");
    let message = findings[0]["message"].as_str().unwrap();
    assert!(
        message.contains(&OTHER[..8]) && message.contains("line 5"),
        "{message}"
    );
    until("it is indexed there", || finds(&laptop, "parser"));
    assert!(told(&laptop).is_empty(), "where it was written it is told");
    let doctor = desk.run(&["doctor", "--json"]);
    assert!(
        doctor.stdout.contains("what looks like"),
        "{}",
        doctor.stdout
    );

    let list = desk.run(&["policy", "secrets"]);
    assert_eq!(list.code, 0, "{}", list.stderr);
    assert!(list.stdout.contains(&OTHER[..8]), "{}", list.stdout);
    assert!(told(&desk).is_empty(), "it was seen");
    let policy = desk.json(&["policy", "--json"]);
    assert_eq!(policy["secrets"][0]["line"], 5);
    assert_eq!(policy["secrets"][0]["seen"], true);
    // More of it in the same session is no news.
    let mut session = session;
    desk.turn(&mut session, &format!("once more {}", token()));
    until("it is captured", || desk.holds(OTHER, session.records()));
    until("it is indexed", || finds(&desk, "once more"));
    assert!(told(&desk).is_empty());

    let log = fs::read_to_string(desk.ccpeer_home().join("log/agent.log")).unwrap();
    for text in [
        policy.to_string(),
        format!("{findings:?}"),
        doctor.stdout,
        list.stdout + &list.stderr,
        log,
    ] {
        clean(&text);
    }
}
