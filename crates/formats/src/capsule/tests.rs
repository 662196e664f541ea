//! Tests of what a capsule says.

use super::*;

fn oid(c: char) -> String {
    std::iter::repeat_n(c, 40).collect()
}

fn capsule() -> Capsule {
    Capsule {
        v: CAPSULE_VERSION,
        branch: "feature/x".to_owned(),
        head: oid('a'),
        merging: Vec::new(),
        changed: 3,
        unsent: 1,
        commits_left_out: None,
        content_left_out: None,
        needs: vec![oid('b')],
        pack: Some(Pack {
            file: 0,
            index: oid('c'),
            work: oid('d'),
        }),
        unmerged: Vec::new(),
        intended: vec!["later.txt".to_owned()],
        left_out: vec![LeftOut {
            path: ".env".to_owned(),
            why: Why::Secret,
        }],
        left_out_more: 0,
        submodules: Vec::new(),
    }
}

#[test]
fn what_is_written_is_read() {
    let inner = Capsule {
        pack: None,
        ..capsule()
    };
    let whole = Capsule {
        submodules: vec![Submodule {
            path: "lib/sub".to_owned(),
            capsule: Some(inner),
        }],
        ..capsule()
    };
    assert_eq!(Capsule::from_bytes(&whole.to_bytes()), Ok(whole.clone()));
    assert_eq!(whole.files(), [0]);
}

#[test]
fn what_a_newer_one_adds_is_passed_over() {
    let mut text = String::from_utf8(capsule().to_bytes()).unwrap();
    text = text.replacen("{\"v\":1", "{\"v\":1,\"new\":[1]", 1);
    text = text.replace("\"secret\"", "\"unheard_of\"");
    let read = Capsule::from_bytes(text.as_bytes()).unwrap();
    assert_eq!(read.left_out.first().map(|l| l.why), Some(Why::Other));
    let newer = text.replacen("{\"v\":1", "{\"v\":2", 1);
    assert_eq!(
        Capsule::from_bytes(newer.as_bytes()),
        Err(CapsuleError::Version(2))
    );
}

#[test]
fn k_a01_no_path_leads_out_of_a_repository() {
    let check = |path: &str, want: bool| assert_eq!(is_repo_path(path), want, "{path:?}");
    for good in [
        "a",
        "a/b c/d.txt",
        ".gitignore",
        ".github/x",
        "git~x",
        "é/漢字",
    ] {
        check(good, true);
    }
    for bad in [
        "",
        "/etc/passwd",
        "a//b",
        "../x",
        "a/../../x",
        "./a",
        "a/",
        ".git/config",
        ".GIT/config",
        "sub/.Git/hooks/post-checkout",
        ".git./config",
        ".git /config",
        "git~1/config",
        "GIT~2",
        ".g\u{200c}it/config",
        "\u{feff}.git",
        "a\\b",
        "C:x",
        "file:stream",
        "a\0b",
        "a\nb",
        "...",
    ] {
        check(bad, false);
    }
}

#[test]
fn k_a02_a_link_stays_within() {
    let check = |path: &str, target: &str, want: bool| {
        assert_eq!(stays_within(path, target), want, "{path} → {target}");
    };
    check("a/link", "b", true);
    check("a/link", "../b/./c", true);
    check("a/link", "../../b", false);
    check("link", "/etc/passwd", false);
    check("link", "..", false);
    check("link", ".git/config", false);
    check("a/link", "../.GIT", false);
    check("link", "C:\\x", false);
    check("link", "", false);
}

#[test]
fn k_a01_a_hostile_document_is_refused() {
    let check = |change: &dyn Fn(&mut Capsule), want: &'static str| {
        let mut hostile = capsule();
        change(&mut hostile);
        assert_eq!(
            Capsule::from_bytes(&hostile.to_bytes()),
            Err(CapsuleError::Rule(want))
        );
    };
    check(&|c| c.head = "--upload-pack=x".to_owned(), "commit");
    check(&|c| c.needs = vec!["HEAD".to_owned()], "commit");
    check(&|c| c.needs = vec![oid('a'); NEEDS_MAX + 1], "commits");
    check(&|c| c.intended = vec!["../x".to_owned()], "path");
    check(
        &|c| {
            c.unmerged = vec![Unmerged {
                path: "a".to_owned(),
                stage: 0,
                mode: "100644".to_owned(),
                oid: oid('a'),
            }];
        },
        "stage",
    );
    check(
        &|c| {
            c.submodules = vec![Submodule {
                path: "sub/.git/modules".to_owned(),
                capsule: None,
            }];
        },
        "path",
    );
    check(
        &|c| {
            let deep = |inner: Option<Capsule>| Submodule {
                path: "s".to_owned(),
                capsule: inner,
            };
            for _ in 0..=SUBMODULE_DEPTH_MAX {
                let inner = std::mem::replace(c, capsule());
                c.submodules = vec![deep(Some(inner))];
            }
        },
        "depth of submodules",
    );
    let long = vec![b' '; CAPSULE_BYTES_MAX + 1];
    assert_eq!(
        Capsule::from_bytes(&long),
        Err(CapsuleError::TooLong(long.len()))
    );
}
