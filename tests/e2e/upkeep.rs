//! Stores that are damaged or lost, homes that are copied: found, told, and made
//! good from the other devices.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::world::{Device, Session, World, arrives, connected, pair, until};

const ID: &str = "6a1e5f00-0000-4000-8000-0000000000a1";

/// Bytes of a file that is one chunk.
const FILE: usize = 64 * 1024;
/// Bytes between two flipped bits: so many files, so that no two of them hit the same
/// chunk.
const APART: usize = 5 * FILE;

/// How many bits are flipped: `CCPEER_FLIPS`, else a few. The full form is 200 in
/// a store of 1,000 chunks.
fn flips() -> usize {
    std::env::var("CCPEER_FLIPS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(12)
}

/// Noise cannot be compressed, so the store keeps it as it is.
fn noise(len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    blake3::Hasher::new()
        .update(b"noise")
        .finalize_xof()
        .fill(&mut out);
    out
}

fn findings(device: &Device) -> Vec<String> {
    let status = device.json(&["status", "--json"]);
    let found = status["findings"].as_array().unwrap();
    found
        .iter()
        .map(|f| f["kind"].as_str().unwrap().to_owned())
        .collect()
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            copy_dir(&entry.path(), &to.join(entry.file_name()));
        } else if kind.is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    let first = needle[0];
    let mut from = 0;
    while let Some(at) = hay[from..].iter().position(|b| *b == first) {
        let at = from + at;
        if hay[at..].starts_with(needle) {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

/// A session of one turn, with `content` as files of its history: raw bytes.
fn with_history(device: &Device, content: &[u8]) -> Session {
    let history = device.claude().join("file-history").join(ID);
    fs::create_dir_all(&history).unwrap();
    for (n, file) in content.chunks(FILE).enumerate() {
        fs::write(history.join(format!("{n:016x}@v1")), file).unwrap();
    }
    let mut session = device.session(ID, &device.project("p"));
    device.turn(&mut session, "keep this");
    session
}

/// Flips a bit of the stored content at each of these places, while the agent is
/// off.
fn flip(device: &Device, content: &[u8], places: impl Iterator<Item = usize>) {
    let store = device.ccpeer_home().join("store.redb");
    let mut file = fs::read(&store).unwrap();
    for (n, place) in places.enumerate() {
        // A place where the bytes lie together in the file, not cut by a page.
        let at = (0..64)
            .find_map(|k| find(&file, &content[place + k * 97..][..48]))
            .expect("the store keeps noise as it is");
        file[at + 20] ^= 1 << (n % 8);
    }
    fs::write(&store, &file).unwrap();
}

#[test]
fn k_s07_flipped_bits_are_named_never_served_and_made_good_by_a_peer() {
    let world = World::new();
    let (mut a, b) = (world.running("amber"), world.running("birch"));
    pair(&a, &b);
    let content = noise((flips() + 1) * APART);
    let session = with_history(&a, &content);
    arrives(&b, ID, &session);

    a.stop();
    flip(&a, &content, (0..flips()).map(|n| n * APART));

    a.start();
    connected(&a, &b);
    let ran = a.run(&["verify", "--read-data", "--json"]);
    let verified: Value = serde_json::from_str(&ran.stdout).unwrap();
    let problems = verified["problems"].as_array().unwrap();
    let chunks: Vec<&Value> = problems.iter().filter(|p| p["kind"] == "chunk").collect();
    assert_eq!(chunks.len(), flips(), "named: {}{}", ran.stdout, ran.stderr);
    assert!(
        problems.iter().all(|p| p["repaired"] == true),
        "{}",
        ran.stdout
    );
    assert_eq!((ran.code, &verified["ok"]), (0, &Value::Bool(true)));

    let again = a.json(&["verify", "--read-data", "--json"]);
    assert_eq!(again["problems"].as_array().unwrap().len(), 0, "{again}");
    assert!(a.rows(ID).iter().all(|t| t["complete"] == true));
}

#[test]
fn k_s07_what_nobody_can_give_back_is_told_as_lost() {
    let world = World::new();
    let mut a = world.running("amber");
    let content = noise(4 * APART);
    let session = with_history(&a, &content);
    arrives(&a, ID, &session);
    a.stop();
    flip(&a, &content, [APART].into_iter());
    a.start();
    let ran = a.run(&["verify", "--read-data", "--json"]);
    let verified: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((ran.code, &verified["ok"]), (4, &Value::Bool(false)));
    let lost = verified["lost"].as_u64().unwrap();
    assert!(lost >= 1, "{verified}");
    // It is not forgotten by being told once.
    assert_eq!(a.run(&["verify", "--json"]).code, 4);
}

/// A device whose store is gone in some way gets all of it back.
fn comes_back(spoil: impl Fn(&Path), start_with: &[&str], told: &str) {
    let world = World::new();
    let (mut a, b) = (world.running("amber"), world.running("birch"));
    pair(&a, &b);
    let mut session = a.session(ID, &a.project("p"));
    for n in 0..3 {
        a.turn(&mut session, &format!("turn {n}"));
    }
    arrives(&b, ID, &session);
    let id = a.json(&["status", "--json"])["device"]["id"].clone();
    a.stop();
    spoil(&a.ccpeer_home().join("store.redb"));
    // Events wait meanwhile.
    session.append("while the store was away");
    a.stop_hook(&session);
    // What lies in Claude Code's directory is no help: another session is lost
    // there as well.
    a.start_with(start_with);
    assert_eq!(a.json(&["status", "--json"])["device"]["id"], id);
    assert!(
        findings(&a).contains(&told.to_owned()),
        "{:?}",
        findings(&a)
    );
    connected(&a, &b);
    arrives(&a, ID, &session);
    arrives(&b, ID, &session);
    until("the session is one line everywhere", || {
        a.rows(ID).len() == 1 && b.rows(ID).len() == 1
    });
    assert_eq!(a.run(&["verify", "--read-data"]).code, 0);
    let names = a.json(&["devices", "--json"]);
    assert_eq!(names.as_array().unwrap().len(), 1, "{names}");
    assert_eq!(a.json(&["status", "--json"])["device"]["name"], "amber");
}

#[test]
fn k_s08_a_deleted_store_comes_back_from_a_peer() {
    comes_back(|store| fs::remove_file(store).unwrap(), &[], "store_anew");
}

#[test]
fn k_s08_an_emptied_store_comes_back_from_a_peer() {
    comes_back(|store| fs::write(store, b"").unwrap(), &[], "store_anew");
}

#[test]
fn k_s08_a_store_of_garbage_comes_back_from_a_peer() {
    comes_back(
        |store| fs::write(store, noise(300_000)).unwrap(),
        &["--salvage"],
        "store_salvaged",
    );
}

#[test]
fn k_s08_a_store_without_its_end_comes_back_from_a_peer() {
    for part in [2, 1] {
        let cut = move |store: &Path| {
            let len = fs::metadata(store).unwrap().len();
            let left = if part == 2 { len / 2 } else { len - 4096 };
            let file = fs::OpenOptions::new().write(true).open(store).unwrap();
            file.set_len(left).unwrap();
        };
        comes_back(cut, &["--salvage"], "store_salvaged");
    }
}

#[test]
fn k_s08_sessions_that_only_a_peer_holds_come_back_too() {
    let world = World::new();
    let (mut a, b) = (world.running("amber"), world.running("birch"));
    pair(&a, &b);
    let mut session = a.session(ID, &a.project("p"));
    a.turn(&mut session, "only copy");
    arrives(&b, ID, &session);
    a.stop();
    fs::remove_file(a.ccpeer_home().join("store.redb")).unwrap();
    fs::remove_dir_all(a.claude().join("projects")).unwrap();
    fs::create_dir_all(a.claude().join("projects")).unwrap();
    a.start();
    until("it is back", || {
        let rows = a.rows(ID);
        !rows.is_empty() && rows.iter().all(|t| t["complete"] == true)
    });
    assert_eq!(a.rows(ID).len(), 1);
}

#[test]
fn an_agent_that_keeps_failing_stays_down_until_it_is_asked() {
    let world = World::new();
    let a = world.device("amber");
    fs::create_dir_all(a.ccpeer_home()).unwrap();
    fs::write(a.ccpeer_home().join("store.redb"), "not a store").unwrap();
    let start = || a.run(&["agent", "--listen", "127.0.0.1:0", "--no-mdns"]);
    for _ in 0..4 {
        let ran = start();
        assert_eq!(ran.code, 4, "{}", ran.stderr);
        assert!(ran.stderr.contains("--salvage"), "{}", ran.stderr);
    }
    let ran = start();
    assert_eq!(ran.code, 4);
    assert!(ran.stderr.contains("stays down"), "{}", ran.stderr);
    assert!(ran.stderr.contains("is damaged"), "{}", ran.stderr);
    // Who asks for it gets another try, and the reason itself.
    let ran = a.run(&["up", "--no-hooks", "--listen", "127.0.0.1:0", "--no-mdns"]);
    assert!(!ran.stderr.contains("stays down"), "{}", ran.stderr);
    assert!(ran.stderr.contains("--salvage"), "{}", ran.stderr);
}

/// Two agents under one key against one peer. With `noticed` the copy can tell
/// by itself that it is one.
fn twins(noticed: bool) {
    let world = World::new();
    let (mut a, b) = (world.running("amber"), world.running("birch"));
    pair(&a, &b);
    let mut session = a.session(ID, &a.project("p"));
    a.turn(&mut session, "before the copy");
    arrives(&b, ID, &session);
    a.stop();

    let mut twin = world.device("copy");
    copy_dir(&a.root, &twin.root);
    if !noticed {
        // As on a machine that cannot be told from the first one.
        fs::remove_file(twin.ccpeer_home().join("device.place")).unwrap();
    }
    let (one, two) = (
        "6a1e5f00-0000-4000-8000-0000000000b1",
        "6a1e5f00-0000-4000-8000-0000000000b2",
    );
    a.start();
    connected(&a, &b);
    let mut first = a.session(one, &a.project("p"));
    a.turn(&mut first, "on the original");
    arrives(&b, one, &first);
    twin.start();
    let mut second = twin.session(two, &twin.project("p"));
    twin.turn(&mut second, "on the copy");
    // Nothing is lost: whoever it was, the others have it.
    arrives(&b, two, &second);
    if noticed {
        arrives(&twin, one, &first);
    }
    until("the peer is told", || {
        findings(&b).contains(&"key_used_twice".to_owned())
    });
    let own = |d: &Device| {
        let found = findings(d);
        found
            .iter()
            .any(|k| k == "home_copied" || k == "own_log_behind")
    };
    if noticed {
        assert!(own(&twin), "{:?}", findings(&twin));
    } else {
        until("one of the two is told", || own(&a) || own(&twin));
    }
    twin.stop();
    arrives(&a, two, &second);
    assert_eq!(a.rows(one).len() + a.rows(two).len(), 2);
}

#[test]
fn k_d05_a_copied_home_is_told_and_loses_nothing() {
    twins(true);
}

#[test]
fn k_d05_a_copy_that_does_not_know_is_found_out_and_loses_nothing() {
    twins(false);
}

#[test]
fn k_p13_a_new_key_takes_the_place_of_the_old_one() {
    let world = World::new();
    let (mut a, b) = (world.running("amber"), world.running("birch"));
    pair(&a, &b);
    let mut session = a.session(ID, &a.project("p"));
    a.turn(&mut session, "under the old key");
    arrives(&b, ID, &session);
    let id = |d: &Device| d.json(&["status", "--json"])["device"]["id"].clone();
    let before = id(&a);
    a.stop();
    let mut thief = world.device("thief");
    copy_dir(&a.root, &thief.root);
    a.start();
    connected(&a, &b);

    assert_eq!(a.run(&["rekey"]).code, 2, "nobody agreed");
    let rekeyed = a.json(&["rekey", "--yes", "--json"]);
    assert_eq!(rekeyed["replaced"], before);
    assert_eq!(rekeyed["told"][0]["name"], "birch", "{rekeyed}");
    let after = id(&a);
    assert_eq!(after, rekeyed["device"]["id"]);
    assert_ne!(after, before);
    connected(&a, &b);
    a.turn(&mut session, "under the new key");
    arrives(&b, ID, &session);
    for device in [&a, &b] {
        assert_eq!(device.rows(ID).len(), 1, "one line on {}", device.name);
        let others = device.json(&["devices", "--json"]);
        assert_eq!(others.as_array().unwrap().len(), 1, "{others}");
    }
    assert_eq!(b.json(&["devices", "--json"])[0]["id"], after);
    assert_eq!(b.rows(ID)[0]["device"]["name"], "amber");
    assert_eq!(a.rows(ID)[0]["device"]["id"], after);

    // The old key is kept, for its owner alone, and opens no door any more.
    let kept: Vec<_> = fs::read_dir(a.ccpeer_home())
        .unwrap()
        .map(|e| e.unwrap())
        .filter(|e| {
            e.file_name()
                .to_str()
                .unwrap()
                .starts_with("device.key.old-")
        })
        .collect();
    assert_eq!(kept.len(), 1);
    let mode = std::os::unix::fs::MetadataExt::mode(&kept[0].metadata().unwrap());
    assert_eq!(mode & 0o777, 0o600);
    thief.start();
    let stolen = "6a1e5f00-0000-4000-8000-0000000000c1";
    let mut theirs = thief.session(stolen, &thief.project("p"));
    thief.turn(&mut theirs, "with the old key");
    until("the thief is refused", || {
        let status = thief.json(&["status", "--json"]);
        let peers = status["peers"].as_array().unwrap().clone();
        peers.iter().all(|p| p["state"] == "offline")
    });
    a.turn(&mut session, "and on");
    arrives(&b, ID, &session);
    assert!(b.rows(stolen).is_empty() && a.rows(stolen).is_empty());

    // And it is so after a restart.
    a.stop();
    a.start();
    connected(&a, &b);
    assert_eq!(id(&a), after);
}

#[test]
fn a_copy_becomes_a_device_of_its_own() {
    let world = World::new();
    let (mut a, b) = (world.running("amber"), world.running("birch"));
    pair(&a, &b);
    let mut session = a.session(ID, &a.project("p"));
    a.turn(&mut session, "before the copy");
    arrives(&b, ID, &session);
    a.stop();
    let mut twin = world.device("copy");
    copy_dir(&a.root, &twin.root);
    twin.start();
    assert!(findings(&twin).contains(&"home_copied".to_owned()));
    let before = twin.json(&["status", "--json"])["device"]["id"].clone();
    let rekeyed = twin.json(&["rekey", "--separate", "--yes", "--json"]);
    assert_ne!(rekeyed["device"]["id"], before);
    assert!(findings(&twin).is_empty(), "{:?}", findings(&twin));
    assert_eq!(
        twin.json(&["status", "--json"])["peers"],
        serde_json::json!([])
    );
    twin.ok(&["rename", "copy"]);
    a.start();
    connected(&a, &b);
    pair(&twin, &b);
    let own = "6a1e5f00-0000-4000-8000-0000000000d1";
    let mut theirs = twin.session(own, &twin.project("q"));
    twin.turn(&mut theirs, "as a device of its own");
    arrives(&b, own, &theirs);
    a.turn(&mut session, "as ever");
    arrives(&b, ID, &session);
    assert_eq!(a.json(&["status", "--json"])["device"]["id"], before);
}

#[test]
fn changes_of_the_policy_that_come_together_all_hold() {
    let world = World::new();
    let a = world.running("amber");
    for round in 1..=8_u64 {
        let (days, bytes) = (30 + round, round << 30);
        let (keep, quota) = (days.to_string(), bytes.to_string());
        let changes = [
            vec!["policy", "keep", &keep],
            vec!["policy", "quota", "default", &quota],
            vec![
                "policy",
                "start-line",
                if round % 2 == 0 { "on" } else { "off" },
            ],
        ];
        let run = |change: &Vec<&str>| a.command(change).spawn().unwrap();
        for mut child in changes.iter().map(run).collect::<Vec<_>>() {
            assert!(child.wait().unwrap().success());
        }
        let policy = a.json(&["policy", "--json"]);
        let held = (
            &policy["keep_days"],
            &policy["quota_default"],
            &policy["start_line"],
        );
        assert_eq!(
            held,
            (&json!(days), &json!(bytes), &json!(round % 2 == 0)),
            "{policy}"
        );
    }
}

#[test]
fn k_s11_a_flood_fills_its_own_quota_and_costs_nobody_anything() {
    let sessions: usize = std::env::var("CCPEER_FLOOD")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(12);
    let world = World::new();
    let a = world.running("amber");
    let (b, c) = (world.running("birch"), world.running("cedar"));
    pair(&a, &b);
    pair(&a, &c);
    let mut own = a.session(ID, &a.project("p"));
    a.turn(&mut own, "mine");
    let other = "6a1e5f00-0000-4000-8000-0000000000c2";
    let mut theirs = c.session(other, &c.project("q"));
    c.turn(&mut theirs, "of the third");
    arrives(&a, other, &theirs);
    let policy = a.json(&["policy", "quota", "birch", "1M", "--json"]);
    let of = |policy: &Value, name: &str| {
        let devices = policy["devices"].as_array().unwrap();
        devices
            .iter()
            .find(|d| d["device"]["name"] == name)
            .unwrap()
            .clone()
    };
    assert_eq!(of(&policy, "birch")["quota"], 1 << 20);
    assert_eq!(of(&policy, "cedar")["quota"], 5_u64 << 30);

    let project = b.project("flood");
    let id = |n: usize| format!("6a1e5f00-0000-4000-8000-{n:012x}");
    for n in 0..sessions {
        let mut session = b.session(&id(n), &project);
        let history = b.claude().join("file-history").join(&session.id);
        fs::create_dir_all(&history).unwrap();
        let mut bytes = noise(250_000);
        bytes.rotate_left(n * 997 + 1);
        bytes[0] = u8::try_from(n % 256).unwrap();
        fs::write(history.join("0123456789abcdef@v1"), &bytes).unwrap();
        b.turn(&mut session, &format!("flood {n}"));
    }
    until("all of it is known, and the quota is used up", || {
        let known = a.json(&["sessions", "--json"]);
        let birch = |s: &&Value| s["device"]["name"] == "birch";
        known.as_array().unwrap().iter().filter(birch).count() == sessions
            && of(&a.json(&["policy", "--json"]), "birch")["over"] == true
    });
    // One batch may be under way when the bound is met.
    let used = of(&a.json(&["policy", "--json"]), "birch")["used"]
        .as_u64()
        .unwrap();
    assert!(used < (1 << 20) + 16 * 256 * 1024, "{used} bytes");
    let held = |d: &Device, s: &str| d.rows(s).iter().all(|t| t["complete"] == true);
    assert!(held(&a, ID) && held(&a, other));
    a.turn(&mut own, "still mine");
    arrives(&b, ID, &own);
    c.turn(&mut theirs, "still the third's");
    arrives(&a, other, &theirs);
    assert_eq!(a.run(&["verify", "--read-data"]).code, 0);
    // Who asks for one of them gets it all the same.
    a.project("flood");
    a.ok(&["pull", &id(sessions - 1)]);
}

#[test]
fn doctor_names_what_is_wrong_and_what_to_do() {
    let world = World::new();
    let mut a = world.device("amber");
    let look = |a: &Device| -> (i32, Value) {
        let ran = a.run(&["doctor", "--json"]);
        (ran.code, serde_json::from_str(&ran.stdout).unwrap())
    };
    let state = |report: &Value, id: &str| {
        let checks = report["checks"].as_array().unwrap();
        let of: Vec<String> = checks
            .iter()
            .filter(|c| c["id"] == id)
            .map(|c| c["state"].as_str().unwrap().to_owned())
            .collect();
        of.join(" ")
    };
    // How full the disk is belongs to the machine that runs the test, not to it.
    let wrong = |code: i32, report: &Value| -> Vec<String> {
        let checks = report["checks"].as_array().unwrap();
        let wrong: Vec<&Value> = checks.iter().filter(|c| c["state"] == "problem").collect();
        assert_eq!(
            (code == 0, &report["ok"]),
            (wrong.is_empty(), &json!(code == 0))
        );
        let ids = wrong.iter().map(|c| c["id"].as_str().unwrap().to_owned());
        ids.filter(|id| id != "space").collect()
    };
    // Before anything is set up there is much to say and nothing wrong.
    let (code, report) = look(&a);
    assert_eq!(wrong(code, &report), [""; 0], "{report}");
    for id in ["home", "key", "store", "agent"] {
        assert_eq!(state(&report, id), "note", "{id}");
    }
    a.start();
    let (code, report) = look(&a);
    assert_eq!(wrong(code, &report), [""; 0], "{report}");
    for id in ["home", "key", "store", "agent", "clock", "spool"] {
        assert_eq!(state(&report, id), "ok", "{id}: {report}");
    }
    let text = a.ok(&["doctor"]);
    for line in text.lines() {
        let long = line.split(' ').any(|w| w.len() > 40);
        assert!(line.chars().count() <= 80 || long, "{line}");
    }
    fs::write(a.claude().join("settings.json"), "{ not json").unwrap();
    let (code, report) = look(&a);
    assert_eq!((code, state(&report, "hooks").as_str()), (1, "problem"));
    assert!(a.run(&["doctor"]).stdout.contains("hint: "));
    fs::remove_file(a.claude().join("settings.json")).unwrap();
    a.stop();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(a.ccpeer_home(), open).unwrap();
    fs::write(a.ccpeer_home().join("store.redb"), "no store").unwrap();
    let (code, report) = look(&a);
    assert_eq!(code, 1);
    assert_eq!(state(&report, "home"), "problem");
    assert_eq!(state(&report, "store"), "problem");
}
