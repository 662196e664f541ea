//! The holes that others fell into, P1 to P12 by number (P9 to P11 are about
//! projects and stand there), and places that lie in one another in odd ways.

use super::*;

/// In JSON, in plain text, and back.
fn both_ways(from: &Origin, to: &Origin, text: &str, want: &str) {
    assert_eq!(in_json(from, to, text), want, "{text}");
    assert_eq!(
        rewrite(from, to, TextKind::Plain, text),
        want,
        "plain: {text}"
    );
    assert_eq!(in_json(to, from, want), text, "back: {want}");
}

#[test]
fn p01_only_whole_names_are_replaced() {
    let from = unix("/home/bob", "/home/bob/app");
    let to = unix("/Users/x", "/Users/x/y");
    for same in ["/home/bobby/app", "/home/bob2", "/srv/home/bob"] {
        both_ways(&from, &to, same, same);
    }
    // A neighbour of the project moves with the home, under its own name.
    both_ways(&from, &to, "/home/bob/app-extra/z", "/Users/x/app-extra/z");
    both_ways(&from, &to, "/home/bob/app/z", "/Users/x/y/z");
}

#[test]
fn p02_tokens_of_others_are_text() {
    let text = "${HOME}/x ${PROJECT_ROOT}/y \"$HOME\" ~/z ~ann/z {{HOME}} %USERPROFILE%\\x";
    let (from, to) = ann_to_bob();
    both_ways(&from, &to, text, text);
    let (from, to) = ann_to_win();
    assert_eq!(in_json(&from, &to, text), text);
    assert_eq!(in_json(&to, &from, text), text);
}

#[test]
fn p03_json_in_json_is_rewritten_and_stays_json() {
    let unix_places = unix("/home/ann", "/w/proj");
    let windows_places = windows(r"C:\Users\new", r"C:\Users\new\thing");
    for depth in 0..4 {
        let nested = |path: &str| {
            let leaf = serde_json::json!({"p": path, "s": format!("see {path} now\n")});
            (0..depth).fold(leaf.to_string(), |inner, _| {
                serde_json::json!({ "k": inner }).to_string()
            })
        };
        let (there, back) = (nested("/w/proj/a/b"), nested(r"C:\Users\new\thing\a\b"));
        assert_eq!(
            rewrite(&unix_places, &windows_places, TextKind::JsonLines, &there),
            back,
            "{depth}"
        );
        assert_eq!(
            rewrite(&windows_places, &unix_places, TextKind::JsonLines, &back),
            there,
            "{depth}"
        );
    }
}

#[test]
fn p04_what_follows_a_place_of_windows_is_turned() {
    let from = windows(r"C:\Users\new", r"C:\Users\new\thing");
    let to = unix("/home/ann", "/w/proj");
    let check = |text: &str, want: &str| assert_eq!(in_json(&from, &to, text), want);
    check(r"C:\Users\new\thing\src\a.ts", "/w/proj/src/a.ts");
    check(
        r"'C:\Users\new\thing\sub dir\a.ts'",
        "'/w/proj/sub dir/a.ts'",
    );
    check(
        r"C:\Users\new\thing\src\a.ts D:\x\y",
        r"/w/proj/src/a.ts D:\x\y",
    );
}

#[test]
fn p05_other_spellings_of_a_place() {
    let to = unix("/home/ann", "/home/ann/code/x");
    let check = |from: &Origin, text: &str, want: &str| {
        assert_eq!(in_json(from, &to, text), want, "{text}");
    };
    // Behind the links of a Mac, and of an image of Fedora.
    let mac = unix("/Users/bob", "/private/var/tmp/my x");
    check(&mac, "/private/var/tmp/my x/f", "/home/ann/code/x/f");
    check(&mac, "/var/tmp/my x/f", "/home/ann/code/x/f");
    check(
        &mac,
        "file:///var/tmp/my%20x/f",
        "file:///home/ann/code/x/f",
    );
    check(&mac, "/System/Volumes/Data/Users/bob/f", "/home/ann/f");
    check(&mac, "/var/tmp/my xy /var/tmp", "/var/tmp/my xy /var/tmp");
    let silver = unix("/home/bob", "/var/home/bob/p");
    check(
        &silver,
        "/home/bob/p/f /var/home/bob/p",
        "/home/ann/code/x/f /home/ann/code/x",
    );
    check(&silver, "/var/home/bob/.claude/x", "/home/ann/.claude/x");
    // NFC and NFD.
    let composed = unix("/Users/jos\u{e9}", "/Users/jos\u{e9}/\u{d55c}");
    check(&composed, "/Users/jose\u{301}/f", "/home/ann/f");
    check(
        &composed,
        "/Users/jos\u{e9}/\u{1112}\u{1161}\u{11ab}/f",
        "/home/ann/\u{1112}\u{1161}\u{11ab}/f",
    );
    check(
        &composed,
        "/Users/jose\u{301}/\u{1112}\u{1161}\u{11ab}/f",
        "/home/ann/code/x/f",
    );
    check(&composed, "/Users/jose/f", "/Users/jose/f");
    both_ways(
        &composed,
        &unix("/h/\u{fc}", "/h/\u{fc}/x"),
        "/Users/jose\u{301}/f",
        "/h/u\u{308}/f",
    );
    // Windows: case, its devices' form, Git Bash, WSL, URLs.
    let win = windows(r"C:\Users\Bob", r"C:\Users\Bob\Code\My App");
    for text in [
        r"C:\Users\Bob\Code\My App\f",
        r"c:\users\bob\code\my app\f",
        r"C:\USERS\BOB\CODE\MY APP\f",
        r"C:/Users/Bob/Code\My App/f",
        r"\\?\C:\Users\Bob\Code\My App\f",
        "/c/Users/Bob/Code/My App/f",
        "/mnt/c/users/bob/code/my app/f",
        r"/c/Users/Bob/Code/My\ App/f",
    ] {
        // A shell's escape is one on Unix, too.
        let want = "/home/ann/code/x/f";
        check(&win, text, want);
    }
    check(
        &win,
        "file:///c:/Users/Bob/Code/My%20App/f",
        "file:///home/ann/code/x/f",
    );
    check(&win, "file:///C%3A/Users/Bob/f", "file:///home/ann/f");
    check(
        &win,
        "vscode://file/c:/Users/Bob/f:3",
        "vscode://file/home/ann/f:3",
    );
    check(&win, "-IC:/Users/Bob/f", "-I/home/ann/f");
    let other = windows(r"D:\Ann", r"D:\Ann\X Y");
    let check = |text: &str, want: &str| {
        assert_eq!(in_json(&win, &other, text), want, "{text}");
        assert_eq!(in_json(&other, &win, want), text, "back: {want}");
    };
    check(r"\\?\C:\Users\Bob\f", r"\\?\D:\Ann\f");
    check(r"\\?\c:\users\bob\f", r"\\?\d:\ann\f");
    check(r"C:\USERS\BOB\CODE\MY APP\f", r"D:\ANN\X Y\f");
}

#[test]
fn p05_what_shells_compilers_and_editors_write() {
    let (from, to) = (
        unix("/home/ann", "/w/my (copy) & x"),
        unix("/Users/bob", "/Users/bob/a [b] x"),
    );
    both_ways(
        &from,
        &to,
        r"cd /w/my\ \(copy\)\ \&\ x/src",
        r"cd /Users/bob/a\ \[b\]\ x/src",
    );
    let (from, to) = ann_to_bob();
    both_ways(
        &from,
        &to,
        "cc -I/w/proj/inc -L/home/ann",
        "cc -I/Users/bob/code/thing/inc -L/Users/bob",
    );
    both_ways(&from, &to, "x\n-I/w/proj", "x\n-I/Users/bob/code/thing");
    both_ways(
        &from,
        &to,
        "vscode://file/w/proj/a:1",
        "vscode://file/Users/bob/code/thing/a:1",
    );
    both_ways(
        &from,
        &to,
        "file://localhost/w/proj",
        "file://localhost/Users/bob/code/thing",
    );
    for same in [
        "a-I/w/proj",
        "--I/w/proj",
        "-xI/w/proj",
        "http://file/w/proj2",
        "I/w/proj",
    ] {
        both_ways(&from, &to, same, same);
    }
    let (from, to) = ann_to_win();
    assert_eq!(in_json(&from, &to, "-I/w/proj/inc"), r"-ID:\code\thing\inc");
    assert_eq!(
        in_json(&from, &to, "vscode://file/w/proj/a"),
        "vscode://file/D:/code/thing/a"
    );
}

#[test]
fn p06_slugs_in_content_follow() {
    let (from, to) = ann_to_bob();
    both_ways(
        &from,
        &to,
        "/home/ann/.claude/projects/-w-proj/5/tool-results/b.txt",
        "/Users/bob/.claude/projects/-Users-bob-code-thing/5/tool-results/b.txt",
    );
    both_ways(
        &from,
        &to,
        "/tmp/claude-1000/-w-proj/5/tasks/a.output ~/.claude/projects/-w-proj/memory/",
        "/tmp/claude-1000/-Users-bob-code-thing/5/tasks/a.output ~/.claude/projects/-Users-bob-code-thing/memory/",
    );
    // Beyond 200 characters it ends in a hash.
    let long = format!("/w/{}", "long name/".repeat(30));
    let from = unix("/home/ann", long.trim_end_matches('/'));
    assert!(from.slug.len() > 200);
    both_ways(
        &from,
        &to,
        &format!("/home/ann/.claude/projects/{}/x", from.slug),
        "/Users/bob/.claude/projects/-Users-bob-code-thing/x",
    );
}

#[test]
fn p08_lists_of_tasks_and_todos_are_rewritten_as_they_stand() {
    let (from, to) = ann_to_bob();
    let task =
        "{\n  \"id\": \"1\",\n  \"subject\": \"Fix /w/proj/src/a.rs\",\n  \"blocks\": []\n}\n";
    assert_eq!(
        rewrite(&from, &to, TextKind::Json, task),
        task.replace("/w/proj", "/Users/bob/code/thing")
    );
    let todos = r#"[{"content":"see /home/ann/x","status":"pending"}]"#;
    assert_eq!(
        rewrite(&from, &to, TextKind::Json, todos),
        todos.replace("/home/ann", "/Users/bob")
    );
}

#[test]
fn p12_names_of_tracked_files_follow_the_system() {
    let (from, to) = ann_to_win();
    let unix_line = r#"{"type":"file-history-snapshot","snapshot":{"trackedFileBackups":{"src/a b.rs":{"backupFileName":"0@v1","realParentDir":"/w/proj/src"},"/home/ann/x/y":{"backupFileName":null}}}}"#;
    let windows_line = r#"{"type":"file-history-snapshot","snapshot":{"trackedFileBackups":{"src\\a b.rs":{"backupFileName":"0@v1","realParentDir":"D:\\code\\thing\\src"},"C:\\Users\\bob\\x\\y":{"backupFileName":null}}}}"#;
    assert_eq!(
        rewrite(&from, &to, TextKind::JsonLines, unix_line),
        windows_line
    );
    assert_eq!(
        rewrite(&to, &from, TextKind::JsonLines, windows_line),
        unix_line
    );
    let (_, report) = Rewriter::new(&from, &to).bytes(TextKind::JsonLines, unix_line.as_bytes());
    assert_eq!(report.replacements, 3);
}

#[test]
fn a_sub_directory_brings_its_repository_along() {
    let from = unix("/home/ann", "/w/repo/web/app");
    let to = unix("/Users/bob", "/Users/bob/r/web/app");
    let rewriter = Rewriter::in_repository(&from, &to, "web/app");
    let back = Rewriter::in_repository(&to, &from, "web/app");
    for (text, want) in [
        ("/w/repo/README.md", "/Users/bob/r/README.md"),
        ("/w/repo/web/x /w/repo", "/Users/bob/r/web/x /Users/bob/r"),
        ("/w/repo/web/app/x", "/Users/bob/r/web/app/x"),
        (
            "/home/ann/.claude/projects/-w-repo/memory/ /x/-w-repo-web-app/y",
            "/Users/bob/.claude/projects/-Users-bob-r/memory/ /x/-Users-bob-r-web-app/y",
        ),
        ("/w/repo2 /x/-w-repo-web/y", "/w/repo2 /x/-w-repo-web/y"),
    ] {
        let (there, _) = rewriter.bytes(TextKind::Plain, text.as_bytes());
        assert_eq!(String::from_utf8(there).unwrap(), want);
        let (again, _) = back.bytes(TextKind::Plain, want.as_bytes());
        assert_eq!(String::from_utf8(again).unwrap(), text);
    }
    assert_eq!(
        rewriter.path("/w/repo/x").as_deref(),
        Some("/Users/bob/r/x")
    );
    // What does not end in it, or would leave a root, is no repository.
    for subdir in [
        "",
        "app/web",
        "web/app/",
        "repo/web/app",
        "w/repo/web/app",
        "..",
        "../app",
        "x",
    ] {
        let other = Rewriter::in_repository(&from, &to, subdir);
        let same = subdir == "web/app/";
        assert_eq!(other.path("/w/repo/x").is_some(), same, "{subdir}");
    }
    let win = windows(r"C:\U", r"C:\r\WEB\app");
    let rewriter = Rewriter::in_repository(&from, &win, "web/app");
    assert_eq!(rewriter.path("/w/repo/x").as_deref(), Some(r"C:\r\x"));
}

#[test]
fn places_within_places() {
    let to = unix("/Users/bob", "/Users/bob/code/thing");
    let check = |from: &Origin, text: &str, want: &str| both_ways(from, &to, text, want);
    // The project holds the home.
    let above = unix("/srv/all/ann", "/srv/all");
    check(
        &above,
        "/srv/all/ann/x /srv/all/y",
        "/Users/bob/x /Users/bob/code/thing/y",
    );
    // The project lies in Claude Code's directory; or that lies elsewhere.
    let skills = unix("/home/ann", "/home/ann/.claude/skills/s");
    check(
        &skills,
        "/home/ann/.claude/skills/s/SKILL.md /home/ann/.claude/x",
        "/Users/bob/code/thing/SKILL.md /Users/bob/.claude/x",
    );
    let elsewhere = Origin {
        claude_dir: "/srv/claude cfg".into(),
        ..unix("/home/ann", "/w/proj")
    };
    check(
        &elsewhere,
        "/srv/claude cfg/projects/-w-proj/m /home/ann/y",
        "/Users/bob/.claude/projects/-Users-bob-code-thing/m /Users/bob/y",
    );
    // The home is the project; the home of a container.
    let home = unix("/home/ann", "/home/ann");
    assert_eq!(
        in_json(&home, &to, "/home/ann/x"),
        "/Users/bob/code/thing/x"
    );
    let root = unix("/app", "/workspace");
    check(
        &root,
        "/app/.claude /workspace/x /apps",
        "/Users/bob/.claude /Users/bob/code/thing/x /apps",
    );
    // Two projects of which one's name begins the other's; and odd names.
    let short = unix("/home/ann", "/w/proj");
    check(
        &short,
        "/w/proj/x /w/proj2/x",
        "/Users/bob/code/thing/x /w/proj2/x",
    );
    for name in [
        "a+b (c) [d] {e} ^$.*|?",
        "it's",
        "100%",
        "x=y;z",
        "#1",
        "-dash",
        "...",
        "\u{1f680} é",
    ] {
        let odd = unix("/home/ann", &format!("/w/{name}"));
        both_ways(
            &odd,
            &to,
            &format!("/w/{name}/x"),
            "/Users/bob/code/thing/x",
        );
    }
}
