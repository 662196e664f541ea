//! What a device keeps to itself: real agents, and a look through everything that
//! lies at the others.

use std::fs;
use std::path::Path;

use super::mirror::{add, git, remote, text};
use super::serve::Server;
use super::world::{Device, Session, World, arrives, connected, continue_into, pair, until};

const OPEN: &str = "a11ce000-0000-4000-8000-000000000001";
const SECRET: &str = "5ec2e700-0000-4000-8000-000000000002";
/// Words of the two sessions that are not anywhere else.
const OPEN_WORD: &str = "marmalade";
const SECRET_WORD: &str = "xylophone";

/// The bytes of every file below a directory.
fn everything(dir: &Path, tell: &mut dyn FnMut(&Path, &[u8])) {
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            everything(&entry.path(), tell);
        } else if kind.is_file() {
            tell(&entry.path(), &fs::read(entry.path()).unwrap());
        }
    }
}

/// Where below a device's directories something is written.
fn traces(device: &Device, needle: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    everything(&device.root, &mut |path, bytes| {
        if bytes.windows(needle.len()).any(|w| w == needle) {
            found.push(path.display().to_string());
        }
    });
    found
}

fn raw(id: &str) -> Vec<u8> {
    let hex: String = id.chars().filter(|c| *c != '-').collect();
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..16).map(|n| byte(n * 2)).collect()
}

/// Nothing at a device tells of a session. That this would be seen is shown by one
/// that is there.
fn knows_nothing_of_the_secret(device: &Device) {
    assert!(
        !traces(device, &raw(OPEN)).is_empty(),
        "nothing can be seen"
    );
    assert!(
        !traces(device, OPEN_WORD.as_bytes()).is_empty(),
        "nothing can be seen"
    );
    let none: Vec<String> = Vec::new();
    assert_eq!(traces(device, &raw(SECRET)), none);
    assert_eq!(traces(device, SECRET.as_bytes()), none);
    assert_eq!(traces(device, SECRET_WORD.as_bytes()), none);
}

fn policy(device: &Device, args: &[&str]) -> String {
    let ran = device.run(&[&["policy", "share"], args].concat());
    assert_eq!(ran.code, 0, "{args:?}: {}{}", ran.stdout, ran.stderr);
    ran.stderr
}

fn both(device: &Device) -> (Session, Session) {
    let open = device.session(OPEN, &device.project("work/open"));
    (open, device.session(SECRET, &device.project("work/secret")))
}

fn says(device: &Device, session: &mut Session, word: &str, n: u32) {
    device.turn(session, &format!("{word} number {n}"));
    let records = session.records();
    until("it is captured", || device.holds(&session.id, records));
}

fn share_of(device: &Device, id: &str) -> String {
    let sessions = device.json(&["sessions", "--json"]);
    let rows = sessions.as_array().unwrap();
    let row = rows.iter().find(|s| s["session_id"] == id).unwrap();
    row["share"].as_str().unwrap().to_owned()
}

#[test]
fn s8_a_local_session_leaves_in_no_way() {
    let world = World::new();
    let (mut a, b) = (world.running("desk"), world.running("laptop"));
    pair(&a, &b);
    let (mut open, mut secret) = both(&a);
    policy(&a, &[text(&a.project("work/secret")), "local"]);
    says(&a, &mut secret, SECRET_WORD, 1);
    says(&a, &mut open, OPEN_WORD, 1);
    a.ok(&["done", SECRET]);
    arrives(&b, OPEN, &open);
    assert_eq!(
        (share_of(&a, SECRET), share_of(&a, OPEN)),
        ("local".into(), "sync".into())
    );
    let why = a.json(&["why", SECRET, "--json"]);
    assert_eq!(why["share"]["share"], "local", "{why}");
    assert_eq!(why["share"]["by"]["kind"], "project", "{why}");

    // It holds after a power cut, from the first link on.
    a.kill();
    secret.append("while nobody looks");
    a.start();
    connected(&a, &b);
    a.stop_hook(&secret);
    says(&a, &mut open, OPEN_WORD, 2);
    until("it is captured", || a.holds(SECRET, secret.records()));
    arrives(&b, OPEN, &open);
    // For a device that comes later, and for a mirror.
    let c = world.running("attic");
    pair(&a, &c);
    arrives(&c, OPEN, &open);
    // Who asks this device's server is not told either.
    let served = serde_json::to_string(&Server::of(&a).list()).unwrap();
    assert!(
        served.contains(OPEN) && !served.contains(SECRET),
        "{served}"
    );
    let remote = remote(&a);
    add(&a, &remote, "--plain");
    a.ok(&["git", "sync"]);
    let log = git(&remote, &["log", "-p", "--all", "--text"]);
    assert!(!log.contains(SECRET) && !log.contains(SECRET_WORD));
    let d = world.running("cellar");
    let done = d.json(&["git", "import", text(&remote), "--json"]);
    assert_eq!(done["sessions"], 1, "{done}");
    assert_eq!(d.rows(OPEN).len(), 1);
    for device in [&b, &c, &d] {
        assert!(device.rows(SECRET).is_empty());
        knows_nothing_of_the_secret(device);
    }

    // Here it is a session like any other, and shared it comes whole, on one line.
    assert_eq!(a.rows(SECRET).len(), 1);
    let said = policy(&a, &[text(&a.project("work/secret")), "--remove"]);
    assert!(said.contains("1 session is shared from now on"), "{said}");
    for device in [&b, &c] {
        arrives(device, SECRET, &secret);
        assert_eq!(device.rows(SECRET).len(), 1);
    }
    says(&a, &mut secret, SECRET_WORD, 3);
    arrives(&b, SECRET, &secret);
    assert_eq!(b.rows(SECRET).len(), 1);
    let placed = continue_into(&b, SECRET, &b.project("secret"));
    assert_eq!(placed["session_id"], SECRET, "{placed}");
}

#[test]
fn s8_a_local_project_that_moved_stays_local() {
    let world = World::new();
    let (a, b) = (world.running("desk"), world.running("laptop"));
    pair(&a, &b);
    let (mut open, mut secret) = both(&a);
    let old = a.project("work/secret");
    // By its name alone, which it loses.
    policy(&a, &["secret*", "local"]);
    says(&a, &mut secret, SECRET_WORD, 1);
    let new = a.home().join("elsewhere");
    fs::rename(&old, &new).unwrap();
    let moved = a.json(&["mv", text(&old), text(&new), "--json"]);
    assert_eq!(moved["sessions"][0]["result"], "moved", "{moved}");
    let transcript = moved["sessions"][0]["path"].as_str().unwrap();
    let mut there = secret.at(Path::new(transcript), &new);
    says(&a, &mut there, SECRET_WORD, 2);
    says(&a, &mut open, OPEN_WORD, 1);
    arrives(&b, OPEN, &open);
    let why = a.json(&["why", SECRET, "--json"]);
    assert_eq!(why["share"]["share"], "local", "{why}");
    assert_eq!(why["share"]["by"]["of"], text(&new), "{why}");
    assert!(b.rows(SECRET).is_empty());
    knows_nothing_of_the_secret(&b);
}

#[test]
fn s8_what_was_shared_goes_no_further() {
    let world = World::new();
    let (a, b) = (world.running("desk"), world.running("laptop"));
    pair(&a, &b);
    let (mut open, mut secret) = both(&a);
    says(&a, &mut secret, SECRET_WORD, 1);
    arrives(&b, SECRET, &secret);
    let before = secret.records();
    let said = policy(&a, &["secret", "local"]);
    assert!(
        said.contains("1 session was shared before. laptop holds"),
        "{said}"
    );
    says(&a, &mut secret, SECRET_WORD, 2);
    says(&a, &mut open, OPEN_WORD, 1);
    arrives(&b, OPEN, &open);
    assert!(b.holds(SECRET, before), "what left stays");
    assert_eq!(b.rows(SECRET)[0]["state"], "idle");

    // A device that comes later and meets both gets it from neither.
    let c = world.running("attic");
    pair(&a, &c);
    arrives(&c, OPEN, &open);
    knows_nothing_of_the_secret(&c);

    // Shared again: one line, for those who had a part of it and those who had none.
    policy(&a, &["secret", "--remove"]);
    for device in [&b, &c] {
        arrives(device, SECRET, &secret);
        assert_eq!(device.rows(SECRET).len(), 1, "{:?}", device.rows(SECRET));
    }
}

#[test]
fn of_a_session_the_document_alone_is_shared() {
    let world = World::new();
    let (a, b) = (world.running("desk"), world.running("laptop"));
    pair(&a, &b);
    let (mut open, mut secret) = both(&a);
    policy(&a, &["**/sec*", "snapshot"]);
    says(&a, &mut secret, SECRET_WORD, 1);
    says(&a, &mut secret, SECRET_WORD, 2);
    says(&a, &mut open, OPEN_WORD, 1);
    arrives(&b, OPEN, &open);
    arrives(&b, SECRET, &secret);
    assert_eq!(share_of(&a, SECRET), "snapshot");
    for device in [&a, &b] {
        let rows = device.rows(SECRET);
        assert_eq!(
            (rows.len(), &rows[0]["complete"]),
            (1, &true.into()),
            "{rows:?}"
        );
    }
    let into = b.project("secret");
    let into = text(&into);
    let refused = b.run(&["continue", SECRET, "--into", into, "--no-exec"]);
    assert_ne!(refused.code, 0);
    assert!(refused.stderr.contains("--handoff"), "{}", refused.stderr);
    b.ok(&["continue", SECRET, "--into", into, "--no-exec", "--handoff"]);
    let why = b.json(&["why", SECRET, "--json"]);
    let lines = why["lines"].to_string();
    assert!(lines.contains("only its document is shared"), "{why}");
    let next = why["next"].as_str().unwrap();
    assert!(next.contains("--handoff"), "{why}");
    let status = b.json(&["status", "--json"]);
    assert_eq!(status["peers"][0]["behind"], 0, "{status}");
    // What it could be continued from is not there, although it was never asked for.
    let held = b.ok(&["show", SECRET]);
    assert!(
        held.contains(SECRET_WORD),
        "the document tells of it: {held}"
    );

    policy(&a, &["**/sec*", "--remove"]);
    until("laptop can continue it", || {
        b.run(&["continue", SECRET, "--into", into, "--no-exec"])
            .code
            == 0
    });
    assert_eq!(b.rows(SECRET).len(), 1);

    // The other way round: nothing more than documents from now on.
    policy(&a, &["default", "snapshot"]);
    says(&a, &mut open, OPEN_WORD, 2);
    arrives(&b, OPEN, &open);
    assert_eq!(b.rows(OPEN).len(), 1);
    let into = b.project("open");
    let refused = b.run(&["continue", OPEN, "--into", text(&into), "--no-exec"]);
    assert!(refused.stderr.contains("--handoff"), "{}", refused.stderr);
}

#[test]
fn rules_that_cannot_be_read_let_nothing_leave() {
    let world = World::new();
    let (mut a, b) = (world.running("desk"), world.running("laptop"));
    pair(&a, &b);
    let (mut open, mut secret) = both(&a);
    policy(&a, &[text(&a.project("work/secret")), "local"]);
    says(&a, &mut secret, SECRET_WORD, 1);
    says(&a, &mut open, OPEN_WORD, 1);
    arrives(&b, OPEN, &open);
    let before = open.records();
    a.stop();
    fs::remove_file(a.ccpeer_home().join("sharing.json")).unwrap();
    a.start();
    connected(&a, &b);
    let told = a.ok(&["status"]);
    assert!(told.contains("nothing about any session leaves"), "{told}");
    says(&a, &mut open, OPEN_WORD, 2);
    // What others say comes; so whatever was to leave has had its time.
    let mut other = b.session(
        "b0b00000-0000-4000-8000-000000000003",
        &b.project("work/other"),
    );
    b.turn(&mut other, "mine");
    arrives(&a, &other.id, &other);
    assert!(b.holds(OPEN, before), "it left");
    let refused = a.run(&["policy", "share", "default", "sync"]);
    assert_ne!(refused.code, 0);
    assert!(refused.stderr.contains("--anew"), "{}", refused.stderr);
    policy(&a, &["default", "local", "--anew"]);
    policy(&a, &["open", "sync"]);
    arrives(&b, OPEN, &open);
    assert_eq!(b.rows(OPEN).len(), 1);
    knows_nothing_of_the_secret(&b);
}

#[test]
fn of_a_device_documents_come_and_the_rest_when_asked_for() {
    let world = World::new();
    let (a, b) = (world.running("desk"), world.running("laptop"));
    pair(&a, &b);
    b.ok(&["policy", "fetch", "desk", "snapshots"]);
    let shown = b.json(&["policy", "--json"]);
    let rows = shown["devices"].as_array().unwrap();
    assert!(rows.iter().any(|d| d["fetch"] == "snapshots"), "{shown}");
    let (mut open, _) = both(&a);
    says(&a, &mut open, OPEN_WORD, 1);
    until("laptop knows of it", || !b.rows(OPEN).is_empty());
    until("the document is there", || b.run(&["show", OPEN]).code == 0);
    assert_eq!(b.rows(OPEN)[0]["complete"], false);
    let placed = continue_into(&b, OPEN, &b.project("open"));
    assert_eq!(placed["session_id"], OPEN, "{placed}");
}
