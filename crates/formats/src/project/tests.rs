//! Remotes, candidates and places, by example.

use super::*;

#[test]
fn remotes_of_one_repository_are_one() {
    for url in [
        "git@git.example.org:team/app.git",
        "git.example.org:team/app",
        "git@git.example.org:/team/app.git",
        "ssh://git@git.example.org/team/app.git",
        "ssh://git@git.example.org:2222/team/app/",
        "https://git.example.org/team/app",
        "https://ann:secret@Git.Example.ORG:8443/team/app.git/",
        "HTTPS://git.example.org//team/./app.git?x#y",
        "git://git.example.org./team/app.git",
        " git+ssh://git.example.org/team/app.git\n",
    ] {
        assert_eq!(
            normalise_remote(url).as_deref(),
            Some("git.example.org/team/app"),
            "{url}"
        );
    }
    assert_eq!(
        normalise_remote("ssh://git@ssh.github.com:443/a/b.git").as_deref(),
        Some("github.com/a/b")
    );
    assert_eq!(
        normalise_remote("git@[::1]:a/b").as_deref(),
        Some("::1/a/b")
    );
    assert_eq!(
        normalise_remote("https://[2001:db8::1]:3000/a/b").as_deref(),
        Some("2001:db8::1/a/b")
    );
    assert_eq!(
        normalise_remote("host:~ann/x.git").as_deref(),
        Some("host/~ann/x")
    );
    assert_eq!(normalise_remote("host:.git").as_deref(), Some("host/.git"));
}

#[test]
fn local_and_odd_remotes_are_none() {
    for url in [
        "",
        "/srv/git/app.git",
        "./app",
        "../app",
        "app",
        "file:///srv/git/app.git",
        r"C:\git\app",
        "C:/git/app",
        r"\\server\share\app",
        "ext::sh -c x",
        "ext::x",
        "codecommit::eu://x",
        "https://host",
        "https://host/",
        "://x/y",
        "https:///a/b",
        "https://host/a/../b",
        "host:",
        "@:a/b",
        "git@host:a\u{1b}b",
    ] {
        assert_eq!(normalise_remote(url), None, "{url}");
    }
}

fn repo(dir: &str, remotes: &[&str], root: u8) -> Candidate {
    sub(dir, dir, remotes, root)
}

fn sub(dir: &str, top: &str, remotes: &[&str], root: u8) -> Candidate {
    let root_commit = if root == 0 {
        String::new()
    } else {
        format!("{root:02x}").repeat(20)
    };
    let remotes: Vec<String> = remotes.iter().map(|r| format!("https://h/{r}")).collect();
    let git = GitFacts {
        top,
        remotes: &remotes,
        root_commit: &root_commit,
    };
    let facts = Facts {
        dir,
        home: "/home/bob",
        flavour: PathFlavour::Unix,
        git: Some(git),
    };
    Candidate {
        dir: dir.into(),
        identity: identify(&facts),
    }
}

#[test]
fn identity_from_facts() {
    let c = sub(
        "/home/bob/code/app/web",
        "/home/bob/code/app",
        &["b", "a", "a"],
        7,
    );
    assert_eq!(c.identity.name, "web");
    assert_eq!(c.identity.remotes, ["h/a", "h/b"]);
    assert_eq!(c.identity.root_commit, "07".repeat(20));
    assert_eq!(c.identity.subdir, "web");
    assert_eq!(c.identity.below_home.as_deref(), Some("code/app/web"));
    let none = identify(&Facts {
        dir: "/srv/x",
        home: "/home/bob",
        flavour: PathFlavour::Unix,
        git: None,
    });
    assert_eq!(
        none,
        ProjectIdentity {
            name: "x".into(),
            ..ProjectIdentity::default()
        }
    );
}

#[test]
fn the_surest_candidate_wins() {
    let wanted = repo("/w/app", &["a"], 1).identity;
    let check = |candidates: &[Candidate], want: Match| {
        assert_eq!(match_project(&wanted, candidates), want)
    };
    check(&[], Match::None);
    check(&[repo("/x", &["b"], 2)], Match::None);
    check(
        &[repo("/x", &["b"], 2), repo("/y", &["a"], 1)],
        Match::One(1),
    );
    check(&[repo("/x", &["a"], 2)], Match::None);
    check(&[repo("/x", &["a"], 0)], Match::One(0));
    check(&[repo("/x", &[], 1)], Match::One(0));
    check(
        &[
            repo("/x", &["fork"], 1),
            repo("/y", &["a"], 0),
            repo("/z", &["a", "fork"], 1),
        ],
        Match::One(2),
    );
    check(
        &[repo("/x", &["a"], 1), repo("/y", &["a"], 1)],
        Match::Many(vec![0, 1]),
    );
    let none = ProjectIdentity::default();
    assert_eq!(match_project(&none, &[repo("/x", &[], 0)]), Match::None);
}

#[test]
fn directories_of_one_repository_count_once() {
    let wanted = sub("/w/app/web", "/w/app", &["a"], 1).identity;
    let candidates = [
        repo("/home/bob/app", &["a"], 1),
        sub("/home/bob/app/web", "/home/bob/app", &["a"], 1),
        sub("/home/bob/app/api", "/home/bob/app", &["a"], 1),
    ];
    assert_eq!(match_project(&wanted, &candidates), Match::One(1));
    for c in &candidates {
        assert_eq!(c.place(&wanted).as_deref(), Some("/home/bob/app/web"));
    }
    assert_eq!(match_project(&wanted, &candidates[..1]), Match::One(0));
}

#[test]
fn the_same_place_below_home_decides_between_clones() {
    let mut wanted = repo("/w/app", &["a"], 1).identity;
    let clones = [
        repo("/home/bob/one", &["a"], 1),
        repo("/home/bob/two", &["a"], 1),
    ];
    wanted.below_home = Some("two".into());
    assert_eq!(match_project(&wanted, &clones), Match::One(1));
    wanted.below_home = Some("three".into());
    assert_eq!(match_project(&wanted, &clones), Match::Many(vec![0, 1]));
}

#[test]
fn places_below_a_root() {
    let mut identity = ProjectIdentity {
        below_home: Some("code/app".into()),
        ..ProjectIdentity::default()
    };
    let check = |i: &ProjectIdentity, root: &str, flavour, want: Option<&str>| {
        assert_eq!(below_root(i, root, flavour).as_deref(), want);
    };
    check(
        &identity,
        "/home/bob",
        PathFlavour::Unix,
        Some("/home/bob/code/app"),
    );
    check(
        &identity,
        r"C:\Users\bob",
        PathFlavour::Windows,
        Some(r"C:\Users\bob\code\app"),
    );
    check(&identity, "bob", PathFlavour::Unix, None);
    identity.below_home = Some("../../etc".into());
    check(&identity, "/home/bob", PathFlavour::Unix, None);
    identity.below_home = Some("a/nul".into());
    check(&identity, r"C:\Users\bob", PathFlavour::Windows, None);
    identity.below_home = None;
    check(&identity, "/home/bob", PathFlavour::Unix, None);
}
