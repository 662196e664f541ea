//! Which directory is the project: found, asked for, never guessed.

use super::*;
use crate::git::tests::git;
use crate::testing::World;

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
    let want = identity(&there.join("inner"), a.home.user());
    assert_eq!(
        (want.name.as_str(), want.subdir.as_str()),
        ("inner", "inner")
    );
    assert_eq!(want.below_home.as_deref(), Some("work/proj/inner"));
    assert_eq!(want.root_commit.len(), 40);
    let locate = |from: Option<&Path>| locate(&b.store, &b.home, &want, from).unwrap();
    assert_eq!(locate(None), Located::Unknown, "nobody has been there yet");
    assert_eq!(locate(Some(&here)), Located::Dir(here.join("inner")));
    let stranger = b.home.user().join("code/stranger");
    repository(&stranger, Some("https://example.org/team/third"), "3");
    assert_eq!(
        locate(Some(&stranger)),
        Located::Unknown,
        "standing there is not enough"
    );
    b.store.put_notes(&[mapping(&want, &here)]).unwrap();
    assert_eq!(locate(None), Located::Dir(here));
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
        ..identity(&one, b.home.user())
    };
    let dirs = [one.clone(), two.clone()];
    let both = Located::Ambiguous(vec![one.clone(), two.clone()]);
    assert_eq!(choose(&b.home, &want, None, None, &dirs), both);
    assert_eq!(
        choose(&b.home, &want, Some(&two), None, &dirs),
        Located::Dir(two.clone())
    );
    let inside = two.join("inner");
    assert_eq!(
        choose(&b.home, &want, Some(&inside), None, &dirs),
        Located::Dir(two)
    );
    let at_home = ProjectIdentity {
        below_home: Some("one".into()),
        ..want
    };
    assert_eq!(
        choose(&b.home, &at_home, None, Some(&one), &dirs),
        Located::Dir(one)
    );
}

#[test]
fn without_git_the_same_place_below_home_counts() {
    let b = World::new("bob");
    let want = ProjectIdentity {
        name: "notes".into(),
        below_home: Some("texts/notes".into()),
        ..ProjectIdentity::default()
    };
    let locate = |want: &ProjectIdentity| locate(&b.store, &b.home, want, None).unwrap();
    assert_eq!(locate(&want), Located::Unknown);
    let dir = b.home.user().join("texts/notes");
    fs::create_dir_all(&dir).unwrap();
    assert_eq!(locate(&want), Located::Dir(dir.clone()));
    for climbing in [
        "../bob/texts/notes",
        "texts/../texts/notes",
        "/texts/notes/..",
    ] {
        let bad = ProjectIdentity {
            below_home: Some(climbing.into()),
            ..want.clone()
        };
        assert_eq!(locate(&bad), Located::Unknown, "{climbing}");
    }
    if repository(&dir, Some("https://example.org/else"), "1") {
        let other = ProjectIdentity {
            remotes: vec!["example.org/team/notes".into()],
            ..want
        };
        assert_eq!(
            locate(&other),
            Located::Unknown,
            "another repository lies there"
        );
    }
}

#[test]
fn an_identity_is_asked_for_again_only_when_the_repository_changed() {
    let a = World::new("ann");
    let dir = a.home.user().join("p");
    fs::create_dir_all(&dir).unwrap();
    let (_, none) = identity_again(&dir, a.home.user(), None);
    let none = none.expect("no repository is an answer that stays");
    if !repository(&dir, None, "1") {
        return;
    }
    let (first, known) = identity_again(&dir, a.home.user(), Some(&none));
    assert_eq!(first.root_commit.len(), 40);
    let known = known.unwrap();
    let (again, _) = identity_again(&dir, a.home.user(), Some(&known));
    assert_eq!(again, first);
    assert!(git(
        &dir,
        &["remote", "add", "origin", "https://example.org/p"]
    ));
    let (later, _) = identity_again(&dir, a.home.user(), Some(&known));
    assert_eq!(later.remotes.len(), 1);
}
