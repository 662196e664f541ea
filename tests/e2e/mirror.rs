//! Git mirrors: real agents, the system's git, one bare repository.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::seeds::{Clone, bundle, hand_off};
use super::world::{Device, Session, World, arrives, pair, until};

pub(super) const ID: &str = "5f0d7a52-6f0e-4d8e-9a41-0c6a8f6f2e01";
pub(super) const OTHER: &str = "5f0d7a52-6f0e-4d8e-9a41-0c6a8f6f2e02";
/// A word of a session that must not be read where it is encrypted.
const WORD: &str = "xylophone";

pub(super) fn git(dir: &Path, args: &[&str]) -> String {
    let out = Command::new("git")
        .arg("-C")
        .arg(dir)
        .args(["-c", "user.name=t", "-c", "user.email=t@example.org"])
        .args([
            "-c",
            "init.defaultBranch=main",
            "-c",
            "commit.gpgsign=false",
        ])
        .args(args)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .output()
        .unwrap();
    let talk = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "git {args:?}: {talk}");
    String::from_utf8_lossy(&out.stdout).into_owned()
}

pub(super) fn remote(world: &Device) -> PathBuf {
    let dir = world.root.parent().unwrap().join("remote.git");
    fs::create_dir_all(&dir).unwrap();
    git(&dir, &["init", "-q", "--bare"]);
    dir
}

pub(super) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

pub(super) fn add(device: &Device, remote: &Path, mode: &str) -> Value {
    let rows = device.json(&["git", "add", text(remote), mode, "--json"]);
    assert_eq!(rows[0]["state"], "ok", "{rows}");
    rows[0].clone()
}

pub(super) fn sound(remote: &Path) {
    git(remote, &["fsck", "--strict", "--no-dangling"]);
    let merges = git(remote, &["rev-list", "--merges", "--all"]);
    assert_eq!(merges, "", "the history is linear");
}

pub(super) fn files(remote: &Path) -> Vec<String> {
    let out = git(remote, &["ls-tree", "-r", "--name-only", "HEAD"]);
    out.lines().map(str::to_owned).collect()
}

/// A session with a turn, on a device of its own.
pub(super) fn at_work(device: &Device, id: &str) -> Session {
    let mut session = device.session(id, &device.project("work/proj"));
    device.turn(&mut session, &format!("write the {WORD}"));
    until("it is captured", || !device.rows(id).is_empty());
    session
}

/// The transcript as another device places it.
fn placed(device: &Device, id: &str) -> Vec<u8> {
    let dir = device.project("work/proj");
    let placed = device.json(&["continue", id, "--no-exec", "--json", "--into", text(&dir)]);
    fs::read(placed["path"].as_str().unwrap()).unwrap()
}

#[test]
fn a_lost_device_is_restored_from_a_plain_mirror() {
    let world = World::new();
    let mut a = world.running("desk");
    let mut session = at_work(&a, ID);
    let remote = remote(&a);
    add(&a, &remote, "--plain");
    a.turn(&mut session, "and its tests");
    a.ok(&["done", ID]);
    let mut second = a.session(OTHER, &a.project("work/proj"));
    a.turn(&mut second, "write the list");
    let rows = a.json(&["git", "sync", "--json"]);
    assert!(rows[0]["commits"].as_u64().unwrap() > 0, "{rows}");
    let rows = a.json(&["git", "sync", "--json"]);
    assert_eq!(rows[0]["commits"], 0, "nothing is new: {rows}");
    sound(&remote);
    let records = session.records();
    a.kill();
    fs::remove_dir_all(&a.root).unwrap();

    let b = world.running("laptop");
    let done = b.json(&["git", "import", text(&remote), "--json"]);
    assert_eq!(done["sessions"], 2, "{done}");
    let again = b.json(&["git", "import", text(&remote), "--json"]);
    assert_eq!(
        (&again["sessions"], &again["known"]),
        (&0.into(), &2.into()),
        "{again}"
    );
    let rows = b.rows(ID);
    assert_eq!(
        (rows.len(), rows[0]["state"].as_str()),
        (1, Some("done")),
        "{rows:?}"
    );
    let open = b.json(&["tasks", "--json"]);
    assert_eq!(
        open[0]["session_id"], OTHER,
        "what was not done is a task: {open}"
    );
    let there = String::from_utf8(placed(&b, ID)).unwrap();
    assert!(there.contains("and its tests"), "the last turn is there");
    assert!(there.lines().count() as u64 >= records);
}

#[test]
fn k_g01_an_encrypted_mirror_says_nothing_and_opens_with_the_right_key_alone() {
    let world = World::new();
    let mut a = world.running("deskname");
    let _session = at_work(&a, ID);
    let remote = remote(&a);
    let row = add(&a, &remote, "--encrypted");
    let key = a.root.parent().unwrap().join("kept.key");
    fs::copy(row["recovery_key"].as_str().unwrap(), &key).unwrap();
    let objects = git(
        &remote,
        &["cat-file", "--batch-check", "--batch-all-objects"],
    );
    for line in objects.lines() {
        let oid = line.split(' ').next().unwrap();
        let out = Command::new("git")
            .args(["-C", text(&remote), "cat-file", "-p", oid])
            .output()
            .unwrap()
            .stdout;
        for word in [WORD, "deskname", "proj", ID, "hand-off", "home"] {
            let found = out.windows(word.len()).any(|w| w == word.as_bytes());
            assert!(!found, "{word} stands in {line}");
        }
    }
    sound(&remote);
    a.kill();
    fs::remove_dir_all(&a.root).unwrap();

    let b = world.running("laptop");
    let wrong = b.run(&["git", "import", text(&remote)]);
    assert_eq!(wrong.code, 1, "{}", wrong.stderr);
    assert!(
        wrong
            .stderr
            .contains("none of the keys here opens this mirror"),
        "{}",
        wrong.stderr
    );
    assert!(wrong.stderr.contains("--key-file"), "{}", wrong.stderr);
    let none = b.root.join("none.key");
    fs::write(&none, "nothing").unwrap();
    let bad = b.run(&["git", "import", text(&remote), "--key-file", text(&none)]);
    assert!(
        bad.code == 1 && bad.stderr.contains("holds no key"),
        "{}",
        bad.stderr
    );
    assert!(b.tasks().is_empty(), "nothing was taken over");
    let done = b.json(&[
        "git",
        "import",
        text(&remote),
        "--key-file",
        text(&key),
        "--json",
    ]);
    assert_eq!(done["sessions"], 1, "{done}");
    let there = String::from_utf8(placed(&b, ID)).unwrap();
    assert!(there.contains(WORD));
}

#[test]
fn k_g05_a_revoked_device_does_not_read_what_comes_after() {
    let world = World::new();
    let (a, b) = (world.running("desk"), world.running("laptop"));
    pair(&a, &b);
    let mut session = at_work(&a, ID);
    let remote = remote(&a);
    arrives(&b, ID, &session);
    add(&a, &remote, "--encrypted");
    let parts = files(&remote).len();
    // A paired device opens it with its own key.
    let read = b.json(&["git", "import", text(&remote), "--json"]);
    assert_eq!(read["known"], 1, "{read}");
    a.ok(&["revoke", "laptop"]);
    a.turn(&mut session, "after that");
    until("it is mirrored", || {
        a.ok(&["git", "sync"]);
        files(&remote).len() > parts
    });
    let read = b.json(&["git", "import", text(&remote), "--json"]);
    let notes = read["notes"].to_string();
    assert!(notes.contains("for other keys"), "{read}");
    assert_eq!(read["sessions"], 0, "{read}");
}

#[test]
fn k_g02_a_remote_that_went_back_is_told_and_nothing_is_lost() {
    let world = World::new();
    let a = world.running("desk");
    let mut session = at_work(&a, ID);
    let remote = remote(&a);
    add(&a, &remote, "--plain");
    let first = git(&remote, &["rev-parse", "HEAD"]);
    a.turn(&mut session, "one more");
    until("it is mirrored", || {
        a.ok(&["git", "sync"]);
        git(&remote, &["rev-parse", "HEAD"]) != first
    });
    // Back to an older commit.
    git(&remote, &["update-ref", "refs/heads/main", first.trim()]);
    let told = a.run(&["git", "sync"]);
    assert_eq!(told.code, 1);
    assert!(
        told.stderr.contains("went back") && told.stderr.contains("--repush"),
        "{}",
        told.stderr
    );
    assert_eq!(
        a.json(&["git", "status", "--json"])[0]["state"],
        "rolled_back"
    );
    assert_eq!(
        git(&remote, &["rev-parse", "HEAD"]),
        first,
        "nothing was pushed"
    );
    a.ok(&["git", "sync", "--repush"]);
    assert_ne!(git(&remote, &["rev-parse", "HEAD"]), first);
    // Another history altogether, and then none.
    let work = a.root.join("clone");
    git(&a.root, &["init", "-q", text(&work)]);
    fs::write(work.join("f"), "x").unwrap();
    git(&work, &["add", "f"]);
    git(&work, &["commit", "-qm", "x"]);
    git(&work, &["push", "-qf", text(&remote), "HEAD:main"]);
    assert_eq!(a.run(&["git", "sync"]).code, 1);
    a.ok(&["git", "sync", "--repush"]);
    assert!(
        files(&remote).contains(&"f".to_owned()),
        "what is there now stays"
    );
    fs::remove_dir_all(&remote).unwrap();
    fs::create_dir(&remote).unwrap();
    git(&remote, &["init", "-q", "--bare"]);
    assert_eq!(a.run(&["git", "sync"]).code, 1);
    a.ok(&["git", "sync", "--repush"]);
    sound(&remote);
    let b = world.running("laptop");
    assert_eq!(
        b.json(&["git", "import", text(&remote), "--json"])["sessions"],
        1
    );
}

#[test]
fn k_g04_nothing_of_a_repository_is_run_or_checked_out() {
    let world = World::new();
    let a = world.running("desk");
    let _session = at_work(&a, ID);
    let remote = remote(&a);
    let marker = a.root.join("marker");
    let touch = format!("touch {}", text(&marker));
    let work = a.root.join("clone");
    git(&a.root, &["clone", "-q", text(&remote), text(&work)]);
    fs::write(
        work.join(".gitattributes"),
        "* filter=evil diff=evil merge=evil\n",
    )
    .unwrap();
    let module = "[submodule \"s\"]\n\tpath = s\n\turl = ext::sh -c evil\n\tupdate = !evil\n";
    fs::write(work.join(".gitmodules"), module).unwrap();
    std::os::unix::fs::symlink("/etc", work.join("tasks")).unwrap();
    fs::write(work.join("sessions"), "a file where a directory is to be").unwrap();
    git(&work, &["add", "."]);
    git(&work, &["commit", "-qm", "evil"]);
    let head = git(&work, &["rev-parse", "HEAD"]);
    let link = format!("160000,{},s", head.trim());
    git(&work, &["update-index", "--add", "--cacheinfo", &link]);
    git(&work, &["commit", "-qm", "a submodule"]);
    git(&work, &["push", "-q", "origin", "HEAD:main"]);
    // What the user's own configuration would have done in a work tree.
    let hooks = a.root.join("hooks");
    fs::create_dir(&hooks).unwrap();
    for hook in [
        "pre-push",
        "post-checkout",
        "reference-transaction",
        "post-index-change",
        "pre-auto-gc",
    ] {
        let path = hooks.join(hook);
        fs::write(&path, format!("#!/bin/sh\n{touch}\n")).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(&path, mode).unwrap();
    }
    let config = format!(
        "[core]\n\thooksPath = {0}\n\tfsmonitor = {1}\n\tpager = {1}\n\tsshCommand = {1}\n\
         [filter \"evil\"]\n\tclean = {1}\n\tsmudge = {1}\n\tprocess = {1}\n\
         [diff]\n\texternal = {1}\n[gpg]\n\tprogram = {1}\n[commit]\n\tgpgSign = true\n\
         [push]\n\tgpgSign = if-asked\n[safe]\n\tdirectory = *\n",
        text(&hooks),
        touch
    );
    fs::write(a.home().join(".gitconfig"), config).unwrap();
    // And the other end's own.
    for hook in [
        "pre-receive",
        "update",
        "post-receive",
        "post-update",
        "reference-transaction",
    ] {
        fs::copy(hooks.join("pre-push"), remote.join("hooks").join(hook)).unwrap();
    }
    git(&remote, &["config", "core.fsmonitor", &touch]);
    git(&remote, &["config", "core.alternateRefsCommand", &touch]);
    let before = files(&remote);
    add(&a, &remote, "--plain");
    a.ok(&["git", "sync"]);
    let nothing = a.run(&["git", "import", text(&work)]);
    assert_eq!(
        nothing.code, 1,
        "the clone is from before: {}",
        nothing.stderr
    );
    a.json(&[
        "git",
        "import",
        &format!("file://{}", text(&remote)),
        "--json",
    ]);
    assert!(!marker.exists(), "something was run");
    git(&remote, &["config", "--unset", "core.fsmonitor"]);
    let after = files(&remote);
    assert!(
        before.iter().all(|f| after.contains(f)),
        "{before:?} {after:?}"
    );
    let raw = git(&remote, &["ls-tree", "HEAD"]);
    assert!(
        raw.contains("160000 commit") && raw.contains("120000 blob"),
        "{raw}"
    );
    let odd = fs::read_dir(a.ccpeer_home().join("mirrors"))
        .unwrap()
        .flatten()
        .next()
        .unwrap();
    let names = fs::read_dir(odd.path().join("repo.git")).unwrap().flatten();
    let names: Vec<_> = names
        .map(|e| e.file_name().into_string().unwrap())
        .collect();
    assert!(
        !names
            .iter()
            .any(|n| n == "index" || n == ".gitmodules" || n == "s"),
        "{names:?}"
    );
}

#[test]
fn k_x01_a_plain_mirror_keeps_out_what_looks_like_a_secret() {
    let world = World::new();
    let a = world.running("desk");
    let mut session = at_work(&a, ID);
    let mut other = a.session(OTHER, &a.project("work/proj"));
    let token = ["ghp_", "A1b2C3d4E5f6G7h8I9j0K1l2M3n4"].concat();
    a.turn(&mut other, &format!("the key is {token} for now"));
    until("it is captured", || !a.rows(OTHER).is_empty());
    let remote = remote(&a);
    let row = add(&a, &remote, "--plain");
    assert_eq!(row["held"], serde_json::json!([OTHER]), "{row}");
    let b = world.running("laptop");
    let done = b.json(&["git", "import", text(&remote), "--json"]);
    assert_eq!(done["sessions"], 1, "{done}");
    assert!(b.rows(OTHER).is_empty());
    // One that was clean and no longer is stays as it was.
    a.turn(&mut session, &format!("now with {token}"));
    until("it is held back", || {
        let rows = a.json(&["git", "sync", "--json"]);
        rows[0]["held"].as_array().unwrap().len() == 2
    });
    assert!(!a.ok(&["git", "status"]).contains(&token));
    // The user says that it may go.
    let rows = a.json(&[
        "git",
        "add",
        text(&remote),
        "--plain",
        "--with-secrets",
        "--json",
    ]);
    assert_eq!(rows[0]["held"], serde_json::json!([]), "{rows}");
    let done = b.json(&["git", "import", text(&remote), "--json"]);
    assert_eq!(
        done["sessions"], 2,
        "the other one, and what came to the first: {done}"
    );
    assert!(
        String::from_utf8(placed(&b, OTHER))
            .unwrap()
            .contains(&token)
    );
}

/// Numbers that come again with the seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// Two devices push to one repository in any order, and so do clones that behave as
/// the two programs before; agents are killed while they do. `CCPEER_MIRROR_OPS` says
/// how often.
#[test]
fn whoever_pushes_in_whatever_order_nothing_wedges_and_nothing_is_lost() {
    let ops = std::env::var("CCPEER_MIRROR_OPS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(30);
    let world = World::new();
    let (mut a, mut b) = (world.running("desk"), world.running("laptop"));
    let (mut on_a, mut on_b) = (at_work(&a, ID), at_work(&b, OTHER));
    let remote = remote(&a);
    // As often as can be chosen, so that they meet.
    for device in [&a, &b] {
        let clocks = ["--snapshot-every", "10", "--bundle-every", "10"];
        let args = [&["git", "add", text(&remote), "--plain"], &clocks[..]].concat();
        device.ok(&args);
    }
    let (box_a, box_b) = (Clone::new(&remote, "seed-a"), Clone::new(&remote, "seed-b"));
    let seed_a = "5f0d7a52-6f0e-4d8e-9a41-0c6a8f6f2eaa";
    let seed_b = "5f0d7a52-6f0e-4d8e-9a41-0c6a8f6f2ebb";
    let path_a = format!("tasks/old-box-{seed_a}.md");
    let path_b = format!("sessions/proj/{seed_b}.bundle.gz");
    let mut last_a: Option<String> = None;
    let mut prompts: Vec<String> = Vec::new();
    let write_a = |n: u64, last: &mut Option<String>| {
        let minute = format!("2026-11-29T{:02}:{:02}:00Z", n / 60 % 24, n % 60);
        let file = hand_off(&format!("step {n}"), "old-box", &minute, "Go on.");
        box_a.publish(&path_a, Some(file.as_bytes()), "snapshot");
        *last = Some(file);
    };
    let mut counts = [0u64; 4];
    let mut dice = Dice(20_261_130);
    for n in 0..ops {
        let (device, session) = match dice.below(2) {
            0 => (&mut a, &mut on_a),
            _ => (&mut b, &mut on_b),
        };
        match dice.below(9) {
            0 | 1 => device.turn(session, &format!("turn {n}")),
            2 => drop(device.ok(&["git", "sync"])),
            3 => {
                drop(device.ok(&["git", "sync", "--force"]));
                counts[0] += 1;
            }
            // The program takes its file away when a session ends.
            4 if last_a.is_some() && dice.below(4) == 0 => {
                box_a.publish(&path_a, None, "cleanup");
                last_a = None;
            }
            4 => {
                write_a(n, &mut last_a);
                counts[1] += 1;
            }
            5 => {
                prompts.push(format!("prompt {n}"));
                let bundle = bundle(seed_b, "proj", &prompts);
                let label = "sync: 5f0d7a52 | proj | prompt";
                box_b.publish(&path_b, Some(&bundle), label);
                counts[2] += 1;
            }
            6 | 7 => {
                // Both at once, and a clone with them.
                let sync = device.command(&["git", "sync", "--force"]).spawn().unwrap();
                write_a(n, &mut last_a);
                let done = sync.wait_with_output().unwrap();
                let told = String::from_utf8_lossy(&done.stderr);
                assert!(done.status.success(), "{n}: {told}");
            }
            _ => {
                device.turn(session, &format!("turn {n}, and an end"));
                let mut sync = device.command(&["git", "sync", "--force"]).spawn().unwrap();
                let pause = std::time::Duration::from_millis(dice.below(400));
                let late = std::time::Instant::now() + pause;
                until("it is somewhere in it", || {
                    std::time::Instant::now() >= late
                });
                device.kill();
                let _cut_off = sync.wait();
                device.start();
                counts[3] += 1;
            }
        }
    }
    for (device, session) in [(&a, &on_a), (&b, &on_b)] {
        until("the last turn is captured", || {
            device.ok(&["push", "--all"]);
            device.holds(&session.id, session.records())
        });
        device.ok(&["git", "sync", "--force"]);
    }
    sound(&remote);
    let commits = git(&remote, &["rev-list", "--count", "HEAD"]);
    println!(
        "{ops} operations: {} forced, {} hand-offs and {} bundles of theirs, {} kills; {} commits",
        counts[0],
        counts[1],
        counts[2],
        counts[3],
        commits.trim()
    );
    let found = files(&remote);
    assert_eq!(found.contains(&path_a), last_a.is_some());
    if let Some(last) = &last_a {
        let now = git(&remote, &["show", &format!("HEAD:{path_a}")]);
        assert_eq!(&now, last, "it is its writer's");
    }
    for (host, session) in [("desk", &on_a), ("laptop", &on_b)] {
        let task = format!("tasks/{host}-{}.md", session.id);
        let place = format!("sessions/proj/{}.bundle.gz", session.id);
        for path in [task, place] {
            assert!(found.contains(&path), "{path}: {found:?}");
        }
    }
    let c = world.running("third");
    let done = c.json(&["git", "import", text(&remote), "--json"]);
    let theirs = u64::from(!prompts.is_empty());
    assert_eq!(done["sessions"], 2 + theirs, "{done}");
    assert_eq!(done["tasks"], u64::from(last_a.is_some()), "{done}");
    assert_eq!(done["failed"], 0, "{done}");
    for session in [&on_a, &on_b] {
        assert!(
            c.holds(&session.id, session.records()),
            "the last turn is there"
        );
        assert_eq!(c.rows(&session.id).len(), 1, "and no fork");
    }
    if theirs > 0 {
        assert!(c.holds(seed_b, prompts.len() as u64), "what it wrote last");
    }
    // Their bundles and ours say the same of ours: a device that knew nothing reads
    // them alone.
    let d = world.running("fourth");
    let clone = Clone::new(&remote, "without");
    git(&clone.dir, &["rm", "-rq", ".ccpeer"]);
    git(&clone.dir, &["commit", "-qm", "without our own form"]);
    let done = d.json(&["git", "import", text(&clone.dir), "--json"]);
    assert_eq!(done["failed"], 0, "{done}");
    for session in [&on_a, &on_b] {
        assert!(d.holds(&session.id, session.records()), "{done}");
    }
}

/// What a turn costs, beside a whole bundle for each turn. `CCPEER_FULL` makes it
/// 100 turns of a session of 10 MB.
#[test]
fn a_turn_does_not_grow_the_repository_by_a_bundle() {
    let full = std::env::var_os("CCPEER_FULL").is_some();
    let (turns, bulk) = if full {
        (100, 10_000_000)
    } else {
        (4, 1_000_000)
    };
    let world = World::new();
    let a = world.running("desk");
    let mut session = a.session(ID, &a.project("work/proj"));
    let mut dice = Dice(7);
    while fs::metadata(&session.transcript).map_or(0, |m| m.len()) < bulk {
        session.append(&words(&mut dice, 1500));
    }
    a.stop_hook(&session);
    until("it is captured", || !a.rows(ID).is_empty());
    let (ours, theirs) = (remote(&a), a.root.parent().unwrap().join("bundles.git"));
    fs::create_dir(&theirs).unwrap();
    git(&theirs, &["init", "-q", "--bare"]);
    let work = a.root.join("bundles");
    git(&a.root, &["clone", "-q", text(&theirs), text(&work)]);
    add(&a, &ours, "--plain");
    // As the extension writes it: the time of the export stands in front.
    let bundle = |session: &Session, n: u64| {
        let head = format!(
            "{{\"version\":\"1\",\"exportedAt\":\"2026-11-30T05:{:02}:{:02}.{:03}Z\",\"messages\":\n",
            n % 60,
            n * 7 % 60,
            n * 313 % 1000
        );
        let document = [head.as_bytes(), &session.bytes()].concat();
        fs::write(work.join("s.bundle"), document).unwrap();
        let gzip = ["-nc", text(&work.join("s.bundle"))].map(str::to_owned);
        let out = Command::new("gzip").args(gzip).output().unwrap();
        fs::write(work.join("s.bundle.gz"), out.stdout).unwrap();
        git(&work, &["add", "s.bundle.gz"]);
        git(&work, &["commit", "-qm", "sync"]);
        git(&work, &["push", "-q", "origin", "HEAD:main"]);
    };
    bundle(&session, 0);
    let kilobytes = |dir: &Path, names: &[&str]| {
        let out = git(dir, &["count-objects", "-v"]);
        let of = |l: &str| {
            let (name, n) = l.split_once(": ").unwrap();
            names.contains(&name).then(|| n.parse::<u64>().unwrap())
        };
        out.lines().filter_map(of).sum::<u64>()
    };
    let lies = |dir: &Path| kilobytes(dir, &["size", "size-pack"]) * 1024;
    let size = |dir: &Path| {
        git(dir, &["gc", "-q", "--prune=now"]);
        kilobytes(dir, &["size-pack"]) * 1024
    };
    let before = (size(&ours), size(&theirs));
    let began = fs::metadata(&session.transcript).unwrap().len();
    for n in 1..=turns {
        for _ in 0..4 {
            session.append(&words(&mut dice, 400));
        }
        a.stop_hook(&session);
        until("it is captured", || a.holds(ID, session.records()));
        a.ok(&["git", "sync"]);
        bundle(&session, n);
    }
    let grown = fs::metadata(&session.transcript).unwrap().len() - began;
    let pushed = (lies(&ours) - before.0, lies(&theirs) - before.1);
    let after = (size(&ours), size(&theirs));
    // The clocks of the layouts of others have not run out: once, with force.
    a.ok(&["git", "sync", "--force"]);
    let once = (lies(&ours) - after.0, size(&ours) - after.0);
    println!(
        "the hand-off and the bundle once: {} bytes as pushed, {} packed",
        once.0, once.1
    );
    let (cost, other) = (after.0 - before.0, after.1 - before.1);
    let per = |n: u64| n / turns;
    println!(
        "{turns} turns of {} bytes on {bulk}: ours grew by {} bytes each as pushed, {} packed; \
         with a bundle each by {} and {}; at first {} and {}",
        per(grown),
        per(pushed.0),
        per(cost),
        per(pushed.1),
        per(other),
        before.0,
        before.1
    );
    assert!(cost * 4 < other, "ours {cost}, theirs {other}");
    assert!(per(cost) < 3 * per(grown) + 8 * 1024, "{cost} for {grown}");
    sound(&ours);
}

/// Text that packs as prose does.
fn words(dice: &mut Dice, n: u64) -> String {
    const WORDS: [&str; 16] = [
        "parser", "the", "writes", "token", "of", "a", "list", "and", "tests", "fails", "when",
        "branch", "is", "empty", "returns", "error",
    ];
    let mut out = String::new();
    for _ in 0..n / 6 {
        let word = WORDS[usize::try_from(dice.below(16)).unwrap()];
        out.push_str(word);
        out.push_str(&format!("{} ", dice.below(1000)));
    }
    out
}
