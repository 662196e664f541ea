//! Which directory is the project: found, asked for, never guessed.

use super::*;
use crate::git::tests::git;
use crate::testing::World;

fn around(world: &World) -> Around {
    Around::load(&world.store, &world.home).unwrap()
}

fn identity(dir: &Path, world: &World) -> ProjectIdentity {
    identity_again(dir, &around(world), None).0
}

fn locate(world: &World, want: &ProjectIdentity, from: Option<&Path>) -> Located {
    super::locate(&world.store, &world.home, (want, ""), from).unwrap()
}

fn certain(world: &World, want: &ProjectIdentity, branch: &str) -> Option<PathBuf> {
    Finder::new(&world.store, &world.home)
        .unwrap()
        .certain(want, branch, &[])
}

fn at(dir: &Path) -> Located {
    Located::Dir(dir.to_owned(), None)
}

fn remember(world: &World, identity: &ProjectIdentity, dir: &Path, said: bool) {
    let mapping = Mapping {
        identity: identity.clone(),
        dir: dir.to_owned(),
        said,
    };
    world.store.put_notes(mapping.note().as_slice()).unwrap();
}

/// A clone, nearly: the same first commit and remote.
fn repository(dir: &Path, remote: Option<&str>, first: &str) -> bool {
    fs::create_dir_all(dir.join("inner")).unwrap();
    fs::write(dir.join("inner/f"), first).unwrap();
    let made = git(dir, &["init", "-q"])
        && git(dir, &["add", "."])
        && std::process::Command::new("git")
            .arg("-C")
            .arg(dir)
            .args(["-c", "user.name=t", "-c", "user.email=t@example.org"])
            .args(["commit", "-qm", "first"])
            .env("GIT_AUTHOR_DATE", "2026-01-01T00:00:00Z")
            .env("GIT_COMMITTER_DATE", "2026-01-01T00:00:00Z")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .status()
            .is_ok_and(|s| s.success());
    made && remote.is_none_or(|url| git(dir, &["remote", "add", "origin", url]))
}

#[test]
fn a_clone_elsewhere_is_found_by_its_remote() {
    let (a, b) = (World::new("ann"), World::new("bob"));
    let there = a.home.user().join("work/proj");
    let here = b.home.user().join("code/other-name");
    if !repository(&there, Some("git@example.org:team/proj.git"), "1") {
        return;
    }
    repository(&here, Some("https://example.org/team/proj"), "1");
    let want = identity(&there.join("inner"), &a);
    assert_eq!(
        (want.name.as_str(), want.subdir.as_str()),
        ("inner", "inner")
    );
    assert_eq!(want.below_home.as_deref(), Some("work/proj/inner"));
    assert_eq!(want.root_commit.len(), 40);
    assert_eq!(
        locate(&b, &want, None),
        Located::Unknown,
        "nobody has been there yet"
    );
    assert_eq!(locate(&b, &want, Some(&here)), at(&here.join("inner")));
    let stranger = b.home.user().join("code/stranger");
    repository(&stranger, Some("https://example.org/team/third"), "3");
    assert_eq!(
        locate(&b, &want, Some(&stranger)),
        Located::Unknown,
        "standing there is not enough"
    );
    remember(&b, &want, &here, false);
    assert_eq!(locate(&b, &want, None), at(&here));
    assert_eq!(certain(&b, &want, ""), Some(here.join("inner")));
    // Where the session was begun is not to be found in what is checked out.
    let elsewhere = ProjectIdentity {
        subdir: "gone/deep".into(),
        ..want.clone()
    };
    let missing = Located::Missing {
        top: here.clone(),
        subdir: "gone/deep".into(),
    };
    assert_eq!(locate(&b, &elsewhere, None), missing);
    assert_eq!(certain(&b, &elsewhere, ""), None);
}

#[test]
fn two_clones_are_a_question() {
    let b = World::new("bob");
    let url = "https://example.org/team/proj";
    let (one, two) = (b.home.user().join("one"), b.home.user().join("two"));
    if !repository(&one, Some(url), "1") {
        return;
    }
    repository(&two, Some(url), "1");
    let want = ProjectIdentity {
        below_home: None,
        ..identity(&one, &b)
    };
    for dir in [&one, &two] {
        let marker = ProjectIdentity {
            name: dir.display().to_string(),
            root_commit: "0".repeat(40),
            ..ProjectIdentity::default()
        };
        // Known because something else was placed there once.
        remember(&b, &marker, dir, false);
    }
    let both = Located::Ambiguous(vec![one.clone(), two.clone()]);
    assert_eq!(locate(&b, &want, None), both);
    assert_eq!(certain(&b, &want, ""), None);
    assert_eq!(locate(&b, &want, Some(&two)), at(&two));
    assert_eq!(locate(&b, &want, Some(&two.join("inner"))), at(&two));
    let at_home = ProjectIdentity {
        below_home: Some("one".into()),
        ..want.clone()
    };
    assert_eq!(locate(&b, &at_home, None), at(&one));
    assert_eq!(certain(&b, &at_home, ""), None, "a place is a guess");
    remember(&b, &want, &two, true);
    assert_eq!(locate(&b, &want, Some(&one)), at(&two), "the user said so");
    assert_eq!(certain(&b, &want, ""), Some(two.clone()));
    let inner = ProjectIdentity {
        name: "inner".into(),
        subdir: "inner".into(),
        ..want
    };
    assert_eq!(locate(&b, &inner, None), at(&two.join("inner")));
}

#[test]
fn without_git_the_same_place_below_home_counts() {
    let b = World::new("bob");
    let want = ProjectIdentity {
        name: "notes".into(),
        below_home: Some("texts/notes".into()),
        ..ProjectIdentity::default()
    };
    assert_eq!(locate(&b, &want, None), Located::Unknown);
    let dir = b.home.user().join("texts/notes");
    fs::create_dir_all(dir.join("2026")).unwrap();
    assert_eq!(locate(&b, &want, None), at(&dir));
    assert_eq!(certain(&b, &want, ""), None, "a place is a guess");
    for climbing in [
        "../bob/texts/notes",
        "texts/../texts/notes",
        "/texts/notes/..",
    ] {
        let bad = ProjectIdentity {
            below_home: Some(climbing.into()),
            ..want.clone()
        };
        assert_eq!(locate(&b, &bad, None), Located::Unknown, "{climbing}");
    }
    if repository(&dir, Some("https://example.org/else"), "1") {
        let other = ProjectIdentity {
            remotes: vec!["example.org/team/notes".into()],
            ..want.clone()
        };
        assert_eq!(
            locate(&b, &other, None),
            Located::Unknown,
            "another repository lies there"
        );
    }
    // What lies below a directory that was named lies below it here.
    let moved = b.home.user().join("elsewhere");
    fs::create_dir_all(moved.join("2026")).unwrap();
    remember(&b, &want, &moved, true);
    assert_eq!(certain(&b, &want, ""), Some(moved.clone()));
    let below = ProjectIdentity {
        below_home: Some("texts/notes/2026".into()),
        ..want.clone()
    };
    assert_eq!(locate(&b, &below, None), at(&moved.join("2026")));
    let beside = ProjectIdentity {
        below_home: Some("texts/notes-2026".into()),
        ..want
    };
    assert_eq!(locate(&b, &beside, None), Located::Unknown);
}

#[test]
fn a_name_alone_is_never_remembered() {
    let b = World::new("bob");
    let dir = b.home.user().join("app");
    fs::create_dir_all(&dir).unwrap();
    let app = ProjectIdentity {
        name: "app".into(),
        ..ProjectIdentity::default()
    };
    remember(&b, &app, &dir, true);
    assert_eq!(
        locate(&b, &app, None),
        Located::Unknown,
        "P11: another one may be called so"
    );
}

#[test]
fn projects_below_a_root_are_found_there() {
    let b = World::new("bob");
    let root = b.home.user().join("dev");
    let dir = root.join("team/app");
    fs::create_dir_all(&dir).unwrap();
    let want = ProjectIdentity {
        name: "app".into(),
        below_root: Some("team/app".into()),
        ..ProjectIdentity::default()
    };
    assert_eq!(locate(&b, &want, None), Located::Unknown);
    let set = |roots: &[PathBuf]| b.store.put_notes(Around::note(roots).as_slice()).unwrap();
    set(std::slice::from_ref(&root));
    assert_eq!(locate(&b, &want, None), at(&dir));
    assert_eq!(identity(&dir, &b).below_root.as_deref(), Some("team/app"));
    let second = b.home.user().join("more");
    fs::create_dir_all(second.join("team/app")).unwrap();
    set(&[root, second.clone()]);
    let both = Located::Ambiguous(vec![dir.clone(), second.join("team/app")]);
    assert_eq!(locate(&b, &want, None), both);
    // A clone that nobody has worked in yet is found below a root.
    let clone = second.join("deep/clone");
    if repository(&clone, Some("https://example.org/team/clone"), "7") {
        let there = ProjectIdentity {
            below_home: None,
            below_root: None,
            ..identity(&clone, &b)
        };
        assert_eq!(certain(&b, &there, ""), Some(clone.clone()));
        assert_eq!(locate(&b, &there, None), at(&clone));
    }
}

#[test]
fn a_session_goes_to_the_worktree_that_has_its_branch() {
    let b = World::new("bob");
    let main = b.home.user().join("app");
    if !repository(&main, Some("https://example.org/team/app"), "1") {
        return;
    }
    let fix = b.home.user().join("wt/fix");
    let add = [
        "worktree",
        "add",
        "-q",
        "-b",
        "fix-it",
        fix.to_str().unwrap(),
    ];
    assert!(git(&main, &add));
    let mut want = identity(&main.join("inner"), &b);
    assert_eq!(want.worktree, None);
    want.below_home = None;
    let in_fix = identity(&fix, &b);
    assert_eq!(in_fix.worktree.as_deref(), Some("fix"));
    assert_eq!(in_fix.root_commit, want.root_commit);
    remember(&b, &identity(&main, &b), &main, false);
    let find = |want: &ProjectIdentity, branch: &str, from: Option<&Path>| {
        super::locate(&b.store, &b.home, (want, branch), from).unwrap()
    };
    let said = "in the worktree fix, which has the session's branch fix-it".to_owned();
    let inner = fix.join("inner");
    assert_eq!(find(&want, "main", None), at(&main.join("inner")));
    assert_eq!(
        find(&want, "fix-it", None),
        Located::Dir(inner.clone(), Some(said))
    );
    assert_eq!(certain(&b, &want, "fix-it"), Some(inner.clone()));
    assert_eq!(find(&want, "gone", None), at(&main.join("inner")));
    assert_eq!(
        find(&want, "gone", Some(&fix)),
        at(&inner),
        "the user stands in it"
    );
    let mut there = want.clone();
    there.worktree = Some("other".into());
    let said = "in the main checkout: the worktree other is not here".to_owned();
    let expected = Located::Dir(main.join("inner"), Some(said));
    assert_eq!(find(&there, "gone", None), expected);
    there.worktree = Some("fix".into());
    let Located::Dir(dir, Some(_)) = find(&there, "HEAD", None) else {
        panic!("it is said");
    };
    assert_eq!(dir, inner);
    // What is remembered of the project does not hold a branch back.
    remember(&b, &want, &main.join("inner"), false);
    let Located::Dir(dir, _) = find(&want, "fix-it", None) else {
        panic!("found");
    };
    assert_eq!(dir, inner);
}

#[test]
fn submodules_and_shallow_clones_are_what_they_are() {
    let b = World::new("bob");
    let user = b.home.user();
    let (library, app) = (user.join("library"), user.join("app"));
    if !repository(&library, None, "library") {
        return;
    }
    repository(&app, Some("https://example.org/team/app"), "app");
    let url = format!("file://{}", library.display());
    let add = [
        "-c",
        "protocol.file.allow=always",
        "submodule",
        "--quiet",
        "add",
        &url,
        "lib",
    ];
    assert!(git(&app, &add));
    let (inside, outside) = (identity(&app.join("lib"), &b), identity(&app, &b));
    assert_eq!(inside.root_commit, identity(&library, &b).root_commit);
    assert_ne!(inside.root_commit, outside.root_commit);
    assert_eq!((inside.subdir.as_str(), inside.worktree), ("", None));
    // Two commits, so that a shallow clone hides the first one.
    fs::write(app.join("second"), "2").unwrap();
    assert!(git(&app, &["add", "."]) && git(&app, &["commit", "-qm", "second"]));
    let shallow = user.join("shallow");
    let url = format!("file://{}", app.display());
    assert!(git(
        user,
        &[
            "clone",
            "-q",
            "--depth",
            "1",
            &url,
            shallow.to_str().unwrap()
        ]
    ));
    assert_eq!(
        identity(&shallow, &b).root_commit,
        "",
        "its first commit is not the first"
    );
    assert!(git(
        &shallow,
        &[
            "remote",
            "set-url",
            "origin",
            "git@example.org:team/app.git"
        ]
    ));
    let want = ProjectIdentity {
        below_home: None,
        ..outside
    };
    assert_eq!(locate(&b, &want, Some(&shallow)), at(&shallow));
    remember(&b, &want, &shallow, false);
    assert_eq!(
        certain(&b, &want, ""),
        None,
        "the remote alone is not enough"
    );
}

#[test]
fn an_identity_is_asked_for_again_only_when_the_repository_changed() {
    let a = World::new("ann");
    let dir = a.home.user().join("p");
    fs::create_dir_all(&dir).unwrap();
    let (_, none) = identity_again(&dir, &around(&a), None);
    let none = none.expect("no repository is an answer that stays");
    if !repository(&dir, None, "1") {
        return;
    }
    let (first, known) = identity_again(&dir, &around(&a), Some(&none));
    assert_eq!(first.root_commit.len(), 40);
    let known = known.unwrap();
    let (again, _) = identity_again(&dir, &around(&a), Some(&known));
    assert_eq!(again, first);
    assert!(git(
        &dir,
        &["remote", "add", "origin", "https://example.org/p"]
    ));
    let (later, _) = identity_again(&dir, &around(&a), Some(&known));
    assert_eq!(later.remotes.len(), 1);
}
