//! The code that goes along with a session: two agents, a repository on each, and
//! everything in the work tree that can be.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::mirror::git;
use super::world::{DEADLINE, Device, Session, World, arrives, connected, pair, until};

const ID: &str = "5f0d7a52-6f0e-4d8e-9a41-0c6a8f6f1f01";

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn write(dir: &Path, path: &str, content: impl AsRef<[u8]>) {
    let path = dir.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// Without anything that git does in the background afterwards.
fn commit(dir: &Path, what: &str) {
    git(dir, &["config", "maintenance.auto", "false"]);
    git(dir, &["config", "gc.auto", "0"]);
    git(dir, &["add", "-A"]);
    git(dir, &["commit", "-qm", what]);
}

/// A project on two devices: a remote with a submodule, and a clone of it on each.
struct Bench {
    _world: World,
    a: Device,
    b: Device,
    on_a: PathBuf,
    on_b: PathBuf,
    session: Session,
}

fn bench() -> Bench {
    let world = World::new();
    let (a, b) = (world.running("desk"), world.running("laptop"));
    pair(&a, &b);
    let remote = a.root.parent().unwrap().join("remote");
    let lib = a.root.parent().unwrap().join("lib");
    for dir in [&remote, &lib] {
        fs::create_dir_all(dir).unwrap();
        git(dir, &["init", "-q", "-b", "main"]);
    }
    write(&lib, "lib.c", "int lib;\n");
    commit(&lib, "lib");
    write(&remote, "old.txt", "one\ntwo\nthree\nfour\nfive\nsix\n");
    write(&remote, "src/main.rs", "fn main() {}\n");
    write(&remote, "gone.txt", "gone\n");
    write(&remote, "run.sh", "#!/bin/sh\n");
    let add = ["-c", "protocol.file.allow=always", "submodule", "add", "-q"];
    git(&remote, &[&add[..], &[text(&lib), "lib"]].concat());
    commit(&remote, "first");
    let (on_a, on_b) = (a.home().join("work/app"), b.home().join("code/app"));
    for to in [&on_a, &on_b] {
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        let clone = [
            "-c",
            "protocol.file.allow=always",
            "clone",
            "-q",
            "--recurse-submodules",
        ];
        git(
            to.parent().unwrap(),
            &[&clone[..], &[text(&remote), "app"]].concat(),
        );
        // By what is called the same everywhere.
        let url = "https://git.example.org/ann/app.git";
        git(to, &["remote", "set-url", "origin", url]);
    }
    b.ok(&["projects", "root", "add", text(on_b.parent().unwrap())]);
    let session = a.session(ID, &on_a);
    Bench {
        _world: world,
        a,
        b,
        on_a,
        on_b,
        session,
    }
}

/// Kind, mode and content of everything below a directory, and when it was changed.
type Everything = BTreeMap<PathBuf, (u32, blake3::Hash, std::time::SystemTime)>;

fn untouched(before: &Everything, dir: &Path) {
    let after = everything(dir);
    let differs = |path: &&PathBuf| before.get(*path) != after.get(*path);
    let touched: Vec<_> = before.keys().chain(after.keys()).filter(differs).collect();
    assert!(touched.is_empty(), "touched: {touched:?}");
}

fn everything(dir: &Path) -> Everything {
    let mut out = BTreeMap::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(at) = dirs.pop() {
        for entry in fs::read_dir(&at).unwrap().flatten() {
            let path = entry.path();
            let meta = fs::symlink_metadata(&path).unwrap();
            let content = if meta.is_dir() {
                dirs.push(path.clone());
                Vec::new()
            } else if meta.is_symlink() {
                text(&fs::read_link(&path).unwrap()).into()
            } else {
                fs::read(&path).unwrap()
            };
            let name = path.strip_prefix(dir).unwrap().to_owned();
            let mode = meta.permissions().mode();
            out.insert(
                name,
                (mode, blake3::hash(&content), meta.modified().unwrap()),
            );
        }
    }
    out
}

/// The files of a work tree, without git's own and without times.
fn files(dir: &Path) -> BTreeMap<PathBuf, (u32, blake3::Hash)> {
    let all = everything(dir).into_iter();
    all.filter(|(path, (mode, ..))| {
        let is_dir = mode & 0o170_000 == 0o040_000;
        !is_dir && !path.components().any(|c| c.as_os_str() == ".git")
    })
    .map(|(path, (mode, hash, _))| (path, (mode, hash)))
    .collect()
}

fn status(dir: &Path) -> String {
    let args = ["--no-optional-locks", "status", "--porcelain=v2", "-uall"];
    git(dir, &args)
}

/// A rename, a binary, an unknown file, a link, an executable, a file that is gone,
/// staged and unstaged changes of one file, and a submodule with all of its own.
fn disorder(dir: &Path) {
    write(dir, "unsent.txt", "in no remote\n");
    commit(dir, "unsent");
    git(dir, &["mv", "old.txt", "new.txt"]);
    write(dir, "src/main.rs", "fn main() { staged() }\n");
    git(dir, &["add", "src/main.rs"]);
    write(dir, "src/main.rs", "fn main() { and_more() }\n");
    write(dir, "picture.bin", [0u8, 159, 146, 150, 0, 255, 10, 13]);
    git(dir, &["add", "picture.bin"]);
    write(dir, "unknown/file.txt", "new\n");
    fs::remove_file(dir.join("gone.txt")).unwrap();
    fs::set_permissions(dir.join("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("src", dir.join("link")).unwrap();
    let lib = dir.join("lib");
    write(&lib, "lib.c", "int committed;\n");
    commit(&lib, "in lib");
    write(&lib, "lib.c", "int changed;\n");
    write(&lib, "more.c", "int more;\n");
    write(dir, ".env", format!("TOKEN=ghp_{}\n", "a1B2".repeat(9)));
    write(dir, "large.bin", vec![7; 9 * 1024 * 1024]);
}

/// What `continue` says about the code.
fn code(device: &Device, more: &[&str]) -> Value {
    let args = [&["continue", ID, "--no-exec", "--json"][..], more].concat();
    device.json(&args)
}

fn has_capsule(device: &Device) -> bool {
    let told = code(device, &[]);
    told["code"]["capsule"]["complete"] == true && told["code"]["capsule"]["current"] == true
}

/// The turn, and what goes along with it.
fn turn_arrives(bench: &mut Bench, prompt: &str) {
    bench.a.turn(&mut bench.session, prompt);
    bench.a.ok(&["push", ID]);
    arrives(&bench.b, ID, &bench.session);
}

#[test]
fn a_dirty_work_tree_goes_along_and_neither_side_is_touched() {
    let mut bench = bench();
    // Off, until somebody says otherwise.
    turn_arrives(&mut bench, "before");
    let told = code(&bench.b, &[]);
    assert_eq!(told["code"]["capsule"], Value::Null, "{told}");
    assert_eq!(told["code"]["there"]["branch"], "main", "{told}");
    assert_eq!(told["code"]["here"]["ahead"], 0, "{told}");
    let none = bench.b.run(&["continue", ID, "--with-code", "--no-exec"]);
    assert_eq!(none.code, 1);
    assert!(none.stderr.contains("policy code"), "{}", none.stderr);
    let set = bench.a.json(&["policy", "code", "app", "on", "--json"]);
    assert_eq!(set["code_projects"][0]["dir"], text(&bench.on_a), "{set}");
    let table = bench.a.ok(&["policy"]);
    assert!(table.contains("code    goes along"), "{table}");

    disorder(&bench.on_a);
    let before = everything(&bench.on_a);
    turn_arrives(&mut bench, "in disorder");
    until("the code is here", || has_capsule(&bench.b));
    untouched(&before, &bench.on_a);
    write(&bench.on_b, "mine.txt", "dirty here\n");
    let here = files(&bench.on_b);
    let told = code(&bench.b, &[]);
    let seen = &told["code"];
    assert_eq!(seen["there"]["branch"], "main", "{told}");
    assert_eq!(seen["here"]["knows_commit"], false, "{told}");
    assert_eq!(seen["here"]["changed"], 1, "{told}");
    assert_eq!(seen["capsule"]["unsent"], 1, "{told}");
    let talk = bench.b.run(&["continue", ID, "--no-exec"]).stderr;
    assert!(talk.contains("code there: main at "), "{talk}");
    assert!(talk.contains("does not have that commit"), "{talk}");
    assert!(talk.contains("--with-code"), "{talk}");

    let made = code(&bench.b, &["--with-code"]);
    let tree = &made["code"]["worktree"];
    let dir = PathBuf::from(tree["dir"].as_str().unwrap());
    assert_eq!(made["project_dir"], text(&dir), "{made}");
    let left = &made["code"]["capsule"]["left_out"];
    assert_eq!(left[0]["path"], ".env", "{made}");
    assert_eq!(left[0]["why"], "looks like a secret");
    assert_eq!(left[1]["path"], "large.bin");
    let theirs = status(&bench.on_a);
    let theirs = theirs.replace("? .env\n", "").replace("? large.bin\n", "");
    assert_eq!(status(&dir), theirs);
    let mut theirs = files(&bench.on_a);
    theirs.retain(|path, _| path != Path::new(".env") && path != Path::new("large.bin"));
    assert_eq!(files(&dir), theirs);
    assert_eq!(
        git(&dir, &["rev-parse", "HEAD"]),
        git(&bench.on_a, &["rev-parse", "HEAD"])
    );
    untouched(&before, &bench.on_a);
    assert_eq!(files(&bench.on_b), here, "the checkout here was touched");
    assert_eq!(
        git(&bench.on_b, &["rev-parse", "--abbrev-ref", "HEAD"]),
        "main\n"
    );
    let path = PathBuf::from(made["path"].as_str().unwrap());
    assert!(fs::read_to_string(path).unwrap().contains(text(&dir)));

    // It is there; once more is refused, and says what to do.
    let again = bench.b.run(&["continue", ID, "--with-code", "--no-exec"]);
    assert_eq!(again.code, 1, "{}", again.stderr);
    assert!(again.stderr.contains("exists already"), "{}", again.stderr);
    let remove = tree["remove"].as_array().unwrap();
    let words: Vec<&str> = remove.iter().skip(1).map(|w| w.as_str().unwrap()).collect();
    git(&bench.on_b, &words);
    assert!(!dir.exists());
    assert_eq!(files(&bench.on_b), here);

    // What is switched off goes along no more.
    bench.a.ok(&["policy", "code", text(&bench.on_a), "off"]);
    turn_arrives(&mut bench, "after");
    let told = code(&bench.b, &[]);
    assert_eq!(told["code"]["capsule"]["current"], false, "{told}");
}

#[test]
fn without_a_clone_it_says_so() {
    let mut bench = bench();
    bench.a.ok(&["policy", "code", text(&bench.on_a), "on"]);
    turn_arrives(&mut bench, "a turn");
    until("the code is here", || {
        let told = code(&bench.b, &[]);
        told["code"]["capsule"]["complete"] == true
    });
    let plain = bench.b.project("plain");
    let refused = bench.b.run(&[
        "continue",
        ID,
        "--with-code",
        "--no-exec",
        "--into",
        text(&plain),
    ]);
    assert_eq!(refused.code, 1, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("no git repository"),
        "{}",
        refused.stderr
    );
    assert!(refused.stderr.contains("hint"), "{}", refused.stderr);
    assert_eq!(fs::read_dir(&plain).unwrap().count(), 0);
}

#[test]
fn kill_9_while_it_is_made_leaves_nothing_that_hinders() {
    let mut bench = bench();
    bench.a.ok(&["policy", "code", text(&bench.on_a), "on"]);
    disorder(&bench.on_a);
    for n in 0..300 {
        write(&bench.on_a, &format!("many/{n}.txt"), format!("{n}\n"));
    }
    turn_arrives(&mut bench, "in disorder");
    until("the code is here", || has_capsule(&bench.b));
    let here = files(&bench.on_b);
    let rounds = crate::form::times(3, 30);
    for n in 0..rounds {
        let args = ["continue", ID, "--with-code", "--no-exec", "--json"];
        let child = bench.b.command(&args).spawn().unwrap();
        let start = Instant::now();
        let after = Duration::from_millis(u64::from(40 + 90 * n));
        while start.elapsed() < after {
            std::thread::yield_now();
        }
        bench.b.kill();
        let _any = child.wait_with_output().unwrap();
        assert_eq!(files(&bench.on_b), here, "the checkout here was touched");
        bench.b.start();
    }
    connected(&bench.a, &bench.b);
    let begun = Instant::now();
    let made = loop {
        let ran = bench
            .b
            .run(&["continue", ID, "--with-code", "--no-exec", "--json"]);
        if ran.code == 0 {
            break serde_json::from_str::<Value>(&ran.stdout).unwrap();
        }
        // What the last one began was whole before it was killed.
        if ran.stderr.contains("exists already") {
            let trees = git(&bench.on_b, &["worktree", "list", "--porcelain"]);
            let mut tree = trees.lines().filter_map(|l| l.strip_prefix("worktree "));
            let dir = tree.rfind(|t| t.contains("-ccpeer-")).unwrap().to_owned();
            git(&bench.on_b, &["worktree", "remove", "--force", &dir]);
        }
        assert!(
            begun.elapsed() < DEADLINE,
            "it never worked: {}",
            ran.stderr
        );
    };
    let dir = PathBuf::from(made["code"]["worktree"]["dir"].as_str().unwrap());
    let theirs = status(&bench.on_a);
    let theirs = theirs.replace("? .env\n", "").replace("? large.bin\n", "");
    assert_eq!(status(&dir), theirs);
    assert_eq!(files(&bench.on_b), here);
    let beside: Vec<_> = fs::read_dir(bench.on_b.parent().unwrap())
        .unwrap()
        .flatten()
        .map(|e| e.file_name())
        .collect();
    assert_eq!(beside.len(), 2, "{beside:?}");
    git(&bench.on_b, &["fsck", "--no-dangling"]);
    // The agent's own room is empty, too.
    let room = bench.b.ccpeer_home().join("code");
    let left = fs::read_dir(room).map_or(0, Iterator::count);
    assert_eq!(left, 0);
}
