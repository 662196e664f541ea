//! Tests of capsules with real repositories: what goes along is the same elsewhere,
//! the source stays as it was to the last byte, and what is hostile is refused.
#![cfg(unix)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ccpeer_core::id::SessionId;
use ccpeer_formats::capsule::{Capsule, Pack, Why};

use super::keep::{Kept, keep};
use super::make::{Made, make};
use super::take::{Taken, take};
use super::{CodeError, FILE_BYTES_MAX};
use crate::testing::World;

const SESSION: SessionId = SessionId([7; 16]);

/// Runs git as a user would; his output.
fn git(dir: &Path, args: &[&str]) -> String {
    let out = Command::new("git")
        .arg("-C")
        .arg(dir)
        .args(["-c", "user.name=t", "-c", "user.email=t@example.org"])
        .args([
            "-c",
            "protocol.file.allow=always",
            "-c",
            "commit.gpgsign=false",
        ])
        // Nothing of it works on in the background.
        .args(["-c", "maintenance.auto=false", "-c", "gc.auto=0"])
        .args(args)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let talk = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.success(), "git {args:?}: {talk}");
    String::from_utf8(out.stdout).unwrap()
}

fn write(dir: &Path, path: &str, content: impl AsRef<[u8]>) {
    let path = dir.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn init(dir: &Path) {
    fs::create_dir_all(dir).unwrap();
    git(dir, &["init", "-q", "-b", "main"]);
}

fn commit(dir: &Path, what: &str) -> String {
    git(dir, &["add", "-A"]);
    git(dir, &["commit", "-qm", what]);
    git(dir, &["rev-parse", "HEAD"]).trim().to_owned()
}

/// A remote with a history and a submodule, and two clones of it.
fn clones(world: &World) -> (PathBuf, PathBuf) {
    let root = world.home.user().to_path_buf();
    let (seed, lib) = (root.join("seed"), root.join("lib.git"));
    init(&lib);
    write(&lib, "lib.c", "int lib;\n");
    commit(&lib, "lib");
    init(&seed);
    write(&seed, "old name.txt", "one\ntwo\nthree\nfour\nfive\nsix\n");
    write(&seed, "src/main.rs", "fn main() {}\n");
    write(&seed, "src/gone.rs", "// gone\n");
    write(&seed, "run.sh", "#!/bin/sh\n");
    write(&seed, "both.txt", "base\n");
    write(&seed, ".gitignore", "target/\n");
    symlink("src/main.rs", seed.join("link")).unwrap();
    git(
        &seed,
        &["submodule", "add", "-q", lib.to_str().unwrap(), "lib"],
    );
    commit(&seed, "first");
    let (a, b) = (root.join("a/app"), root.join("b/app"));
    for to in [&a, &b] {
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        let args = ["clone", "-q", "--recurse-submodules"];
        git(
            &root,
            &[&args[..], &[seed.to_str().unwrap(), to.to_str().unwrap()]].concat(),
        );
    }
    (a, b)
}

/// Everything below a directory: kind and mode, content, and when it was changed.
fn everything(dir: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>, std::time::SystemTime)> {
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
                fs::read_link(&path)
                    .unwrap()
                    .into_os_string()
                    .into_encoded_bytes()
            } else if meta.is_file() {
                fs::read(&path).unwrap()
            } else {
                Vec::new()
            };
            let mode = meta.permissions().mode();
            out.insert(
                path.strip_prefix(dir).unwrap().to_owned(),
                (mode, content, meta.modified().unwrap()),
            );
        }
    }
    out
}

/// The files of a work tree, without git's own and without times.
fn files(dir: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let all = everything(dir).into_iter();
    all.filter(|(path, (mode, ..))| {
        let is_dir = mode & 0o170_000 == 0o040_000;
        !is_dir && !path.components().any(|c| c.as_os_str() == ".git")
    })
    .filter(|(path, _)| !path.starts_with("target"))
    .map(|(path, (mode, content, _))| (path, (mode, content)))
    .collect()
}

fn status(dir: &Path) -> String {
    git(
        dir,
        &["--no-optional-locks", "status", "--porcelain=v2", "-uall"],
    )
}

/// Takes it, with the source as it was afterwards.
fn taken(world: &World, dir: &Path) -> Taken {
    let before = everything(dir);
    let taken = take(&world.home, dir, &|| false).unwrap().unwrap();
    let after = everything(dir);
    let differs = |path: &&PathBuf| before.get(*path) != after.get(*path);
    let touched: Vec<_> = before.keys().chain(after.keys()).filter(differs).collect();
    assert!(touched.is_empty(), "the source was touched: {touched:?}");
    let left: Vec<_> = fs::read_dir(world.home.code())
        .into_iter()
        .flatten()
        .collect();
    assert!(left.is_empty(), "nothing of ours is left: {left:?}");
    taken
}

fn made(world: &World, taken: &Taken, clone: &Path) -> Result<Made, CodeError> {
    let content = keep(&world.store, SESSION, taken).unwrap();
    let kept = Kept::load(&world.store, SESSION, content).unwrap().unwrap();
    make(&world.home, &kept, clone, "12345678", &|| false)
}

fn why(capsule: &Capsule, path: &str) -> Option<Why> {
    let left = capsule.left_out.iter().find(|l| l.path == path);
    left.map(|l| l.why)
}

/// All that a work tree can be, at once.
fn disorder(a: &Path) {
    git(a, &["mv", "old name.txt", "new name.txt"]);
    write(
        a,
        "new name.txt",
        "one\ntwo\nthree\nfour\nfive\nsix\nseven\n",
    );
    write(a, "src/main.rs", "fn main() { staged() }\n");
    git(a, &["add", "src/main.rs"]);
    write(a, "src/main.rs", "fn main() { and_more() }\n");
    fs::remove_file(a.join("src/gone.rs")).unwrap();
    fs::set_permissions(a.join("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    write(a, "picture.bin", [0u8, 159, 146, 150, 0, 255, 10, 13]);
    git(a, &["add", "picture.bin"]);
    write(a, "not/known \"at\" all.txt", "new\r\nlines\r\n");
    write(a, "later.txt", "announced\n");
    git(a, &["add", "-N", "later.txt"]);
    write(a, "target/ignored.o", "ignored");
    fs::remove_file(a.join("link")).unwrap();
    symlink("run.sh", a.join("link")).unwrap();
    symlink("src", a.join("to-src")).unwrap();
    // A file where a directory was.
    write(a, "lib/lib.c", "int changed;\n");
    write(a, "lib/new.c", "int fresh;\n");
}

#[test]
fn a_work_tree_is_the_same_elsewhere_and_the_source_as_it_was() {
    let world = World::new("ann");
    let (a, b) = clones(&world);
    write(&a, "unsent.txt", "in no remote\n");
    let head = commit(&a, "unsent");
    disorder(&a);
    // The submodule has a commit of its own, too.
    git(&a.join("lib"), &["commit", "-qam", "in lib"]);
    write(&a.join("lib"), "lib.c", "int changed_again;\n");
    let taken = taken(&world, &a.join("src"));
    assert_eq!(taken.capsule.head, head);
    assert_eq!(
        (taken.capsule.branch.as_str(), taken.capsule.unsent),
        ("main", 1)
    );
    assert!(
        taken.capsule.left_out.is_empty(),
        "{:?}",
        taken.capsule.left_out
    );
    // The same state gives the same content.
    assert_eq!(
        take(&world.home, &a, &|| false).unwrap(),
        Some(taken.clone())
    );

    write(&b, "src/main.rs", "fn main() { dirty_here() }\n");
    let here = files(&b);
    let made = made(&world, &taken, &b.join("src")).unwrap();
    assert_eq!(made.top, b.with_file_name("app-ccpeer-12345678"));
    assert_eq!(made.dir, made.top.join("src"));
    assert_eq!(status(&made.top), status(&a));
    assert!(!status(&a).is_empty());
    assert_eq!(files(&made.top), files(&a));
    assert_eq!(git(&made.top, &["rev-parse", "HEAD"]).trim(), head);
    assert_eq!(made.branch, None, "main is checked out here");
    assert_eq!(files(&b), here, "the checkout here is as it was");
    git(&b, &["fsck", "--strict", "--no-dangling"]);
    // A second time it is refused, and so what is in it stays.
    let kept = keep(&world.store, SESSION, &taken).unwrap();
    let kept = Kept::load(&world.store, SESSION, kept).unwrap().unwrap();
    super::make::handed_over(&made);
    let again = make(&world.home, &kept, &b, "12345678", &|| false);
    assert!(matches!(again, Err(CodeError::Exists(_))), "{again:?}");
    // What is said removes it does.
    let top = made.top.to_str().unwrap();
    git(&b, &["worktree", "remove", "--force", top]);
    assert!(!made.top.exists());
}

#[test]
fn a_clean_one_is_a_document_alone() {
    let world = World::new("ann");
    let (a, b) = clones(&world);
    git(&b, &["switch", "-qc", "elsewhere"]);
    let taken = taken(&world, &a);
    assert!(taken.packs.is_empty() && taken.capsule.pack.is_none());
    let made = made(&world, &taken, &b).unwrap();
    assert_eq!(made.dir.as_os_str(), made.top.as_os_str());
    assert_eq!(made.branch.as_deref(), Some("main"), "nobody has it");
    assert_eq!(status(&made.top), "");
    assert_eq!(files(&made.top), files(&a));
}

#[test]
fn the_middle_of_a_merge_goes_along() {
    let world = World::new("ann");
    let (a, b) = clones(&world);
    git(&a, &["switch", "-qc", "side"]);
    write(&a, "both.txt", "side\n");
    commit(&a, "side");
    git(&a, &["switch", "-q", "main"]);
    write(&a, "both.txt", "main\n");
    commit(&a, "main");
    let merge = Command::new("git")
        .args([
            "-C",
            a.to_str().unwrap(),
            "-c",
            "user.name=t",
            "-c",
            "user.email=t@x",
        ])
        .args(["merge", "-q", "side"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(!merge.success(), "it conflicts");
    let taken = taken(&world, &a);
    assert_eq!(taken.capsule.merging.len(), 1);
    let made = made(&world, &taken, &b).unwrap();
    assert_eq!(status(&made.top), status(&a));
    assert_eq!(files(&made.top), files(&a));
    write(&made.top, "both.txt", "settled\n");
    commit(&made.top, "merged");
    let parents = git(&made.top, &["rev-list", "--parents", "-1", "HEAD"]);
    assert_eq!(parents.split(' ').count(), 3, "it is a merge");
}

#[test]
fn k_x01_what_may_not_go_along_is_left_out_and_named() {
    let world = World::new("ann");
    let (a, b) = clones(&world);
    let token = format!("ghp_{}", "a1B2".repeat(9));
    write(&a, ".env", format!("TOKEN={token}\n"));
    write(&a, "src/main.rs", format!("// {token}\n"));
    git(&a, &["add", "src/main.rs"]);
    write(
        &a,
        "large.bin",
        vec![7; usize::try_from(FILE_BYTES_MAX).unwrap() + 1],
    );
    write(&a, "a:b", "no name for Windows");
    symlink("/etc/passwd", a.join("out")).unwrap();
    symlink("../../x", a.join("src/up")).unwrap();
    init(&a.join("inner"));
    write(&a, "inner/x", "1");
    nix::unistd::mkfifo(&a.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    write(&a, "good.txt", "comes along\n");
    let taken = taken(&world, &a);
    let capsule = &taken.capsule;
    assert_eq!(why(capsule, ".env"), Some(Why::Secret));
    assert_eq!(why(capsule, "src/main.rs"), Some(Why::Secret));
    assert_eq!(why(capsule, "large.bin"), Some(Why::TooLarge));
    assert_eq!(why(capsule, "a:b"), Some(Why::Name));
    assert_eq!(why(capsule, "out"), Some(Why::Link));
    assert_eq!(why(capsule, "src/up"), Some(Why::Link));
    assert_eq!(why(capsule, "inner/"), Some(Why::Repository));
    let made = made(&world, &taken, &b).unwrap();
    assert_eq!(
        fs::read(made.top.join("good.txt")).unwrap(),
        b"comes along\n"
    );
    assert_eq!(status(&made.top), "? good.txt\n");
    let all = everything(b.parent().unwrap());
    let leaked = all
        .values()
        .any(|(_, c, _)| c.windows(8).any(|w| w == &token.as_bytes()[..8]));
    assert!(!leaked);
    // Nothing says where anything lies on this machine.
    let text = String::from_utf8(capsule.to_bytes()).unwrap();
    assert!(
        !text.contains(world.home.user().to_str().unwrap()),
        "{text}"
    );
}

#[test]
fn k_x01_a_secret_in_a_commit_keeps_the_commits_here() {
    let world = World::new("ann");
    let (a, b) = clones(&world);
    write(&a, "key.pem", "-----BEGIN RSA PRIVATE KEY-----\nabc\n");
    let head = commit(&a, "a key");
    write(&a, "src/main.rs", "fn main() { more() }\n");
    let taken = taken(&world, &a);
    assert_eq!(taken.capsule.commits_left_out, Some(Why::Secret));
    let refused = made(&world, &taken, &b);
    let Err(CodeError::Missing { commit, unsent, .. }) = refused else {
        panic!("{refused:?}")
    };
    assert!(commit == head && unsent);
    assert!(!b.with_file_name("app-ccpeer-12345678").exists());
    // Where they came in another way, the rest goes upon them.
    git(&b, &["fetch", "-q", a.to_str().unwrap(), "main"]);
    let made = made(&world, &taken, &b).unwrap();
    assert_eq!(status(&made.top), status(&a));
}

#[test]
fn a_commit_that_a_remote_has_and_this_clone_has_not_is_named() {
    let world = World::new("ann");
    let (a, b) = clones(&world);
    write(&a, "pushed.txt", "1");
    let head = commit(&a, "pushed");
    git(&a, &["push", "-q", "origin", "HEAD:refs/heads/topic"]);
    let taken = taken(&world, &a);
    let refused = made(&world, &taken, &b);
    let Err(CodeError::Missing { commit, unsent, .. }) = refused else {
        panic!("{refused:?}")
    };
    assert!(commit == head && !unsent);
    git(&b, &["fetch", "-q"]);
    assert!(made(&world, &taken, &b).is_ok());
}

#[test]
fn k_g04_nothing_of_a_repository_is_run() {
    let world = World::new("ann");
    let (a, b) = clones(&world);
    let marker = world.home.user().join("ran");
    let run = format!("touch {}; cat", marker.display());
    for (name, value) in [
        ("filter.evil.smudge", run.as_str()),
        ("filter.evil.process", run.as_str()),
        ("filter.evil.required", "true"),
        ("core.fsmonitor", run.as_str()),
    ] {
        git(&b, &["config", name, value]);
    }
    for hook in [
        "post-checkout",
        "reference-transaction",
        "post-index-change",
    ] {
        let path = b.join(".git/hooks").join(hook);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("#!/bin/sh\n{run}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    write(&a, ".gitattributes", "* filter=evil\n");
    write(&a, "src/main.rs", "fn main() { filtered() }\n");
    git(&a, &["add", "."]);
    let taken = taken(&world, &a);
    let made = made(&world, &taken, &b).unwrap();
    assert!(!marker.exists(), "something was run");
    assert_eq!(files(&made.top), files(&a));
}

#[test]
fn what_was_half_made_is_made_anew() {
    let world = World::new("ann");
    let (a, b) = clones(&world);
    disorder(&a);
    let taken = taken(&world, &a);
    // An agent that was ended has left a part of one.
    let part = b.with_file_name(".app-ccpeer-12345678.ccpeer-part");
    git(
        &b,
        &["worktree", "add", "-q", "--detach", part.to_str().unwrap()],
    );
    write(&part, "half.txt", "half");
    let first = made(&world, &taken, &b).unwrap();
    assert_eq!(status(&first.top), status(&a));
    assert!(!part.exists());
    // Or it ended before the session was placed in it: it is taken as it is.
    let second = made(&world, &taken, &b).unwrap();
    assert_eq!(second.top, first.top);
    assert_eq!(status(&second.top), status(&a));
    let trees = git(&b, &["worktree", "list", "--porcelain"]);
    assert_eq!(trees.matches("worktree ").count(), 2, "{trees}");
    // What is of no use goes wholly.
    super::make::unmake(&second, &|| false);
    assert!(!second.top.exists());
    let trees = git(&b, &["worktree", "list", "--porcelain"]);
    assert_eq!(trees.matches("worktree ").count(), 1, "{trees}");
}

/// A repository whose objects are put together by hand.
struct Forge(PathBuf);

impl Forge {
    fn object(&self, kind: &str, content: &[u8]) -> String {
        let file = self.0.join("content");
        fs::write(&file, content).unwrap();
        let args = ["hash-object", "-t", kind, "--literally", "-w"];
        let path = file.to_str().unwrap();
        git(&self.0, &[&args[..], &[path]].concat())
            .trim()
            .to_owned()
    }

    fn tree(&self, entries: &[(&str, &str, &str)]) -> String {
        let mut bytes = Vec::new();
        for (mode, name, oid) in entries {
            bytes.extend_from_slice(format!("{mode} {name}\0").as_bytes());
            let hex = (0..40).step_by(2);
            bytes.extend(hex.map(|i| u8::from_str_radix(&oid[i..i + 2], 16).unwrap()));
        }
        self.object("tree", &bytes)
    }

    fn commit(&self, tree: &str, parent: &str) -> String {
        let who = "x <x@example.org> 1 +0000";
        let text = format!("tree {tree}\nparent {parent}\nauthor {who}\ncommitter {who}\n\nx\n");
        self.object("commit", text.as_bytes())
    }

    fn pack(&self, oids: &[&str]) -> Vec<u8> {
        let list = self.0.join("list");
        fs::write(&list, oids.join("\n") + "\n").unwrap();
        let out = Command::new("git")
            .args([
                "-C",
                self.0.to_str().unwrap(),
                "pack-objects",
                "--stdout",
                "-q",
            ])
            .stdin(fs::File::open(list).unwrap())
            .output()
            .unwrap();
        assert!(out.status.success());
        out.stdout
    }
}

#[test]
fn k_a01_k_a02_a_hostile_capsule_writes_nothing() {
    let world = World::new("ann");
    let (a, b) = clones(&world);
    let honest = taken(&world, &a);
    let head = honest.capsule.head.clone();
    let forge = Forge(world.home.user().join("forge"));
    git(
        world.home.user(),
        &["clone", "-q", "--bare", a.to_str().unwrap(), "forge"],
    );
    let outside = world.home.user().join("outside");
    fs::create_dir_all(&outside).unwrap();
    let blob = forge.object("blob", b"evil\n");
    let dir = |name: &str, mode: &str, oid: &str| forge.tree(&[(mode, name, oid)]);
    let escape = forge.object("blob", outside.to_str().unwrap().as_bytes());
    let within_git = forge.object("blob", b".git/hooks");
    let up = forge.object("blob", b"../../x");
    let hooks = dir("post-checkout", "100755", &blob);
    let hidden = dir("hooks", "40000", &hooks);
    let trees = [
        ("in .git", dir(".git", "40000", &hidden)),
        ("in .GIT", dir(".GIT", "40000", &hidden)),
        ("in git~1", dir("git~1", "40000", &hidden)),
        ("..", dir("..", "40000", &hooks)),
        (".", dir(".", "40000", &hooks)),
        ("a path as a name", dir("a/../../x", "100644", &blob)),
        ("a backslash", dir("a\\..\\x", "100644", &blob)),
        ("a link out", dir("link", "120000", &escape)),
        ("a link up", dir("link", "120000", &up)),
        ("a link into .git", dir("link", "120000", &within_git)),
        (
            "twins",
            forge.tree(&[("100644", "a", &blob), ("120000", "a", &escape)]),
        ),
    ];
    let before = (everything(&b.join("src")), everything(&outside));
    for (what, tree) in &trees {
        let work = forge.commit(tree, &head);
        let objects = [
            blob.as_str(),
            &escape,
            &within_git,
            &up,
            &hooks,
            &hidden,
            tree,
            &work,
        ];
        let hostile = Taken {
            capsule: Capsule {
                pack: Some(Pack {
                    file: 0,
                    index: head.clone(),
                    work: work.clone(),
                }),
                needs: vec![head.clone()],
                submodules: Vec::new(),
                ..honest.capsule.clone()
            },
            packs: vec![forge.pack(&objects)],
        };
        let refused = made(&world, &hostile, &b);
        assert!(
            matches!(refused, Err(CodeError::Refused(_))),
            "{what}: {refused:?}"
        );
        // The same as the index, which git checks out itself.
        let mut staged = hostile;
        if let Some(pack) = &mut staged.capsule.pack {
            pack.index = work.clone();
        }
        let refused = made(&world, &staged, &b);
        assert!(
            matches!(refused, Err(CodeError::Refused(_))),
            "{what}: {refused:?}"
        );
    }
    // Packs that are none, that lack what they name, and of another session.
    let with = |pack: Vec<u8>, work: &str| Taken {
        capsule: Capsule {
            pack: Some(Pack {
                file: 0,
                index: head.clone(),
                work: work.to_owned(),
            }),
            needs: vec![head.clone()],
            submodules: Vec::new(),
            ..honest.capsule.clone()
        },
        packs: vec![pack],
    };
    let good = forge.tree(&[("100644", "x", &blob)]);
    let work = forge.commit(&good, &head);
    for pack in [
        b"PACK".to_vec(),
        b"no pack at all".to_vec(),
        forge.pack(&[&work]),
        forge.pack(&[&work, &good]),
    ] {
        let refused = made(&world, &with(pack, &work), &b);
        assert!(matches!(refused, Err(CodeError::Refused(_))), "{refused:?}");
    }
    let refused = made(&world, &with(forge.pack(&[&blob]), &blob), &b);
    assert!(matches!(refused, Err(CodeError::Refused(_))), "{refused:?}");
    let fine = with(forge.pack(&[&work, &good, &blob]), &work);
    let content = keep(&world.store, SESSION, &fine).unwrap();
    let other = Kept::load(&world.store, SessionId([8; 16]), content);
    assert!(matches!(other, Err(CodeError::Refused(_))));
    assert_eq!((everything(&b.join("src")), everything(&outside)), before);
    let siblings: Vec<_> = fs::read_dir(b.parent().unwrap())
        .unwrap()
        .flatten()
        .collect();
    assert_eq!(siblings.len(), 1, "{siblings:?}");
    // And one that is none of these is made.
    assert!(made(&world, &fine, &b).is_ok());
}

#[test]
fn k_n05_a_pack_that_unpacks_to_too_much_is_refused() {
    let world = World::new("ann");
    let (a, b) = clones(&world);
    let honest = taken(&world, &a);
    let head = honest.capsule.head.clone();
    let forge = Forge(world.home.user().join("forge"));
    git(
        world.home.user(),
        &["clone", "-q", "--bare", a.to_str().unwrap(), "forge"],
    );
    let blob = forge.object("blob", &vec![0; 300 * 1024 * 1024]);
    let tree = forge.tree(&[("100644", "zeros", &blob)]);
    let work = forge.commit(&tree, &head);
    let bomb = Taken {
        capsule: Capsule {
            pack: Some(Pack {
                file: 0,
                index: head.clone(),
                work: work.clone(),
            }),
            needs: vec![head],
            ..honest.capsule.clone()
        },
        packs: vec![forge.pack(&[&work, &tree, &blob])],
    };
    assert!(bomb.packs[0].len() < 1024 * 1024);
    let refused = made(&world, &bomb, &b);
    assert!(matches!(refused, Err(CodeError::Refused(_))), "{refused:?}");
}
