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
        linked: false,
    };
    let facts = Facts {
        dir,
        home: "/home/bob",
        roots: &[],
        flavour: PathFlavour::Unix,
        git: Some(git),
    };
    Candidate {
        dir: dir.into(),
        identity: identify(&facts),
        ..Candidate::default()
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
        roots: &[],
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
fn two_checkouts_that_share_a_remote_are_told_apart_by_the_other_remotes() {
    let wanted = repo("/w/app", &["fork", "team"], 1).identity;
    let clones = [
        repo("/x/one", &["team"], 1),
        repo("/x/two", &["fork", "team"], 1),
    ];
    assert_eq!(match_project(&wanted, &clones), Match::One(1));
    let plain = repo("/w/app", &["team"], 1).identity;
    assert_eq!(match_project(&plain, &clones), Match::One(0));
}

#[test]
fn worktrees_of_one_repository_count_once() {
    let wanted = repo("/w/app", &["a"], 1).identity;
    let tree = |dir: &str| Candidate {
        repository: "/home/bob/app/.git".into(),
        ..repo(dir, &["a"], 1)
    };
    let trees = [tree("/home/bob/app"), tree("/home/bob/app-fix")];
    assert_eq!(match_project(&wanted, &trees), Match::One(0));
    assert_eq!(
        certain_match(&wanted, &trees),
        Some((0, Likeness::RemoteAndCommit))
    );
}

#[test]
fn certain_is_what_nothing_else_could_be() {
    let wanted = repo("/w/app", &["a"], 1).identity;
    let check = |candidates: &[Candidate], want: Option<usize>| {
        let found = certain_match(&wanted, candidates).map(|(at, _)| at);
        assert_eq!(found, want, "{candidates:?}");
    };
    check(&[], None);
    check(&[repo("/x", &["a"], 1)], Some(0));
    // A fork beside it is another project.
    check(&[repo("/x", &["a"], 1), repo("/y", &["fork"], 1)], Some(0));
    check(&[repo("/x", &["a"], 1), repo("/y", &["a"], 1)], None);
    // A shallow clone of the same remote may be meant as well.
    check(&[repo("/x", &["a"], 1), repo("/y", &["a"], 0)], None);
    check(&[repo("/x", &["a"], 0)], None);
    check(&[repo("/x", &["other"], 1)], Some(0));
    check(&[repo("/x", &[], 1), repo("/y", &[], 1)], None);
    check(&[repo("/x", &["a"], 2)], None);
    // The same place below the home decides for people, never here.
    let mut at_home = repo("/w/app", &["a"], 1).identity;
    at_home.below_home = Some("two".into());
    let clones = [
        repo("/home/bob/one", &["a"], 1),
        repo("/home/bob/two", &["a"], 1),
    ];
    assert_eq!(match_project(&at_home, &clones), Match::One(1));
    assert_eq!(certain_match(&at_home, &clones), None);
}

#[test]
fn a_session_goes_to_the_worktree_that_it_belongs_to() {
    let tree = |top: &str, branch: &str, linked| Worktree {
        top: top.into(),
        branch: branch.into(),
        linked,
    };
    let own = tree("/b/app", "main", false);
    let fix = tree("/b/wt/fix", "fix-it", true);
    let other = tree("/b/wt/other", "", true);
    let check = |name: Option<&str>, branch: &str, all: &[&Worktree], want| {
        let identity = ProjectIdentity {
            worktree: name.map(str::to_owned),
            ..ProjectIdentity::default()
        };
        let all: Vec<Worktree> = all.iter().map(|w| (*w).clone()).collect();
        let case = (name, branch);
        assert_eq!(choose_worktree(&identity, branch, &all), want, "{case:?}");
    };
    let all = [&own, &fix, &other];
    check(None, "main", &all, Some((0, Because::Branch)));
    check(None, "fix-it", &all, Some((1, Because::Branch)));
    check(Some("fix"), "gone", &all, Some((1, Because::Name)));
    check(Some("other"), "HEAD", &all, Some((2, Because::Name)));
    check(None, "gone", &all, Some((0, Because::Own)));
    check(Some("gone"), "gone", &all, Some((0, Because::Rest)));
    check(Some("app"), "gone", &all, Some((0, Because::Rest)));
    // A bare repository has no work tree of its own.
    check(None, "gone", &[&fix, &other], None);
    check(None, "gone", &[&fix], Some((0, Because::Rest)));
    check(None, "main", &[], None);
    let twice = tree("/c/wt/fix", "", true);
    check(
        Some("fix"),
        "",
        &[&own, &fix, &twice],
        Some((0, Because::Rest)),
    );
}

#[test]
fn roots_are_looked_for_in_every_spelling_of_their_system() {
    let check =
        |dir: &str, home: &str, roots: &[&str], flavour, want: (Option<&str>, Option<&str>)| {
            let roots: Vec<String> = roots.iter().map(|r| (*r).to_owned()).collect();
            let identity = identify(&Facts {
                dir,
                home,
                roots: &roots,
                flavour,
                git: None,
            });
            let got = (
                identity.below_root.as_deref(),
                identity.below_home.as_deref(),
            );
            assert_eq!(got, want, "{dir}");
        };
    let (unix, windows) = (PathFlavour::Unix, PathFlavour::Windows);
    check(
        "/home/ann/code/t/app",
        "/home/ann",
        &["/home/ann/code"],
        unix,
        (Some("t/app"), Some("code/t/app")),
    );
    // The nearest of several.
    check(
        "/srv/w/t/app",
        "/home/ann",
        &["/srv", "/srv/w", "/x"],
        unix,
        (Some("t/app"), None),
    );
    check("/srv/w", "/home/ann", &["/srv/w"], unix, (None, None));
    check("/srv/web", "/home/ann", &["/srv/w"], unix, (None, None));
    // Containers.
    check(
        "/workspace/app",
        "/root",
        &["/workspace"],
        unix,
        (Some("app"), None),
    );
    check(
        "/workspace/app",
        "/",
        &["/workspace"],
        unix,
        (Some("app"), Some("workspace/app")),
    );
    // Whichever way Windows' paths are written: P9.
    for root in [r"D:\dev", "d:/Dev/", "/d/dev", "/mnt/d/dev"] {
        check(
            r"D:\dev\t\app",
            r"C:\Users\ann",
            &[root],
            windows,
            (Some("t/app"), None),
        );
    }
    check(
        "/mnt/c/Users/ann/app",
        "/home/ann",
        &["/mnt/c/Users/ann"],
        unix,
        (Some("app"), None),
    );
}

#[test]
fn places_that_a_project_may_have_here() {
    let check = |root: Option<&str>,
                 home: Option<&str>,
                 roots: &[&str],
                 exact: &[&str],
                 crossed: &[&str]| {
        let identity = ProjectIdentity {
            below_root: root.map(str::to_owned),
            below_home: home.map(str::to_owned),
            ..ProjectIdentity::default()
        };
        let roots: Vec<String> = roots.iter().map(|r| (*r).to_owned()).collect();
        let got = places(&identity, &roots, "/home/bob", PathFlavour::Unix);
        let owned =
            |list: &[&str]| -> Vec<String> { list.iter().map(|s| (*s).to_owned()).collect() };
        assert_eq!(
            got,
            (owned(exact), owned(crossed)),
            "{root:?} {home:?} {roots:?}"
        );
    };
    check(None, Some("code/app"), &[], &["/home/bob/code/app"], &[]);
    check(
        Some("app"),
        Some("code/app"),
        &["/w"],
        &["/w/app", "/home/bob/code/app"],
        &[],
    );
    check(Some("app"), None, &["/w", "/v"], &["/w/app", "/v/app"], &[]);
    // Only one of the two has a root.
    check(Some("app"), None, &[], &[], &["/home/bob/app"]);
    check(None, Some("app"), &["/w"], &["/home/bob/app"], &["/w/app"]);
    // Nobody's path climbs, and nothing is the root itself.
    check(Some("../etc"), Some("a/../../b"), &["/w"], &[], &[]);
    check(Some(""), Some(""), &["/w"], &[], &[]);
    check(None, None, &["/w"], &[], &[]);
    let windows = ProjectIdentity {
        below_root: Some("t/app".into()),
        below_home: Some("a/nul".into()),
        ..ProjectIdentity::default()
    };
    let got = places(
        &windows,
        &[r"D:\dev".into()],
        r"C:\Users\bob",
        PathFlavour::Windows,
    );
    assert_eq!(got.0, [r"D:\dev\t\app"]);
}

#[test]
fn p09_windows_separators_of_either_kind_name_one_place() {
    let at = |dir: &str, home: &str| {
        let facts = Facts {
            dir,
            home,
            roots: &[],
            flavour: PathFlavour::Windows,
            git: None,
        };
        identify(&facts).below_home
    };
    for home in [
        r"C:\Users\ann",
        "C:/Users/ann",
        r"c:\users\Ann\",
        "/c/Users/ann",
    ] {
        for dir in [r"C:\Users\ann\team\app", "c:/Users/ann/team/app"] {
            assert_eq!(at(dir, home).as_deref(), Some("team/app"), "{home} {dir}");
        }
    }
}

#[test]
fn p11_projects_of_one_name_are_not_one() {
    let one = repo("/srv/a/app", &[], 0);
    let mut outside = one.identity.clone();
    assert_eq!(
        match_project(&outside, std::slice::from_ref(&one)),
        Match::None
    );
    // Nor by a repository that is another one.
    outside.remotes = vec!["git.example.org/x/app".into()];
    let other = repo("/srv/b/app", &["git.example.org/y/app"], 3);
    assert_eq!(match_project(&outside, &[one, other]), Match::None);
}
