//! What the rewriter promises, by the numbers of the test list.

mod corpus;
mod holes;
mod hostile;
mod properties;

use super::*;
use crate::claude::slug::project_slug;

/// The places of a machine with Claude's directory at its usual place.
pub(super) fn unix(home: &str, project: &str) -> Origin {
    Origin {
        flavour: PathFlavour::Unix,
        home: home.into(),
        project: project.into(),
        claude_dir: format!("{home}/.claude"),
        slug: project_slug(project),
    }
}

pub(super) fn windows(home: &str, project: &str) -> Origin {
    Origin {
        flavour: PathFlavour::Windows,
        home: home.into(),
        project: project.into(),
        claude_dir: format!(r"{home}\.claude"),
        slug: project_slug(project),
    }
}

/// From one Unix machine to another.
fn ann_to_bob() -> (Origin, Origin) {
    (
        unix("/home/ann", "/w/proj"),
        unix("/Users/bob", "/Users/bob/code/thing"),
    )
}

/// From a Unix machine to a Windows machine.
fn ann_to_win() -> (Origin, Origin) {
    (
        unix("/home/ann", "/w/proj"),
        windows(r"C:\Users\bob", r"D:\code\thing"),
    )
}

fn rewrite(from: &Origin, to: &Origin, kind: TextKind, text: &str) -> String {
    let (out, _) = Rewriter::new(from, to).bytes(kind, text.as_bytes());
    String::from_utf8(out).unwrap()
}

/// The text of a JSON string, rewritten and read again.
fn in_json(from: &Origin, to: &Origin, text: &str) -> String {
    let line = serde_json::to_string(text).unwrap();
    serde_json::from_str(&rewrite(from, to, TextKind::JsonLines, &line)).unwrap()
}

#[test]
fn names_of_what_else_lies_below_the_home() {
    let ann = unix("/home/ann", "/home/ann/src/tree");
    let bob = unix("/Users/bob", "/Users/bob/code/thing");
    let check = |text: &str, want: &str| {
        let there = rewrite(&ann, &bob, TextKind::Plain, text);
        assert_eq!(there, want);
        assert_eq!(rewrite(&bob, &ann, TextKind::Plain, &there), text);
    };
    // The system prompt of a worktree names the memory of the main checkout.
    check(
        "`/home/ann/.claude/projects/-home-ann-src-tree-main/memory/`",
        "`/Users/bob/.claude/projects/-Users-bob-src-tree-main/memory/`",
    );
    check(
        "/tmp/claude-0/-home-ann-src/x",
        "/tmp/claude-0/-Users-bob-src/x",
    );
    check("projects/-home-ann--config", "projects/-Users-bob--config");
    check("projects/-home-ann/x.jsonl", "projects/-Users-bob/x.jsonl");
    check(
        "projects/-home-ann-src-tree/x",
        "projects/-Users-bob-code-thing/x",
    );
    // Another name, or no name below a directory.
    check("projects/-home-anna-src/x", "projects/-home-anna-src/x");
    check(
        "see -home-ann-src or x-home-ann-src",
        "see -home-ann-src or x-home-ann-src",
    );
    // This would be the project's name there.
    check(
        "projects/-home-ann-code-thing/x",
        "projects/-home-ann-code-thing/x",
    );
    // Within the rest of a path whose separators change their kind.
    let win = windows(r"C:\Users\bob", r"C:\Users\bob\code\thing");
    let text = "/home/ann/.claude/projects/-home-ann-src-main/memory/";
    let there = rewrite(&ann, &win, TextKind::Plain, text);
    assert_eq!(
        there,
        r"C:\Users\bob\.claude\projects\C--Users-bob-src-main\memory\"
    );
    assert_eq!(rewrite(&win, &ann, TextKind::Plain, &there), text);
}

#[test]
fn k_j03_boundaries() {
    let (from, to) = ann_to_bob();
    let check = |text: &str, want: &str| {
        assert_eq!(in_json(&from, &to, text), want, "in JSON: {text}");
        assert_eq!(
            rewrite(&from, &to, TextKind::Plain, text),
            want,
            "plain: {text}"
        );
    };
    // The path itself, and what lies below it.
    check("/w/proj", "/Users/bob/code/thing");
    check("/w/proj/", "/Users/bob/code/thing/");
    check(
        "/w/proj/src/a.rs:10:5",
        "/Users/bob/code/thing/src/a.rs:10:5",
    );
    check("/home/ann/x", "/Users/bob/x");
    check(
        "/home/ann/.claude/settings.json",
        "/Users/bob/.claude/settings.json",
    );
    check(
        "/home/ann/.claude/projects/-w-proj/x.jsonl",
        "/Users/bob/.claude/projects/-Users-bob-code-thing/x.jsonl",
    );
    check(
        "/tmp/claude-0/-w-proj/tasks",
        "/tmp/claude-0/-Users-bob-code-thing/tasks",
    );
    // Another name.
    for other in [
        "/w/project2",
        "/w/proj-x",
        "/w/proj_x",
        "/w/proj.bak",
        "/w/proj..x",
        "/w/proj2/src",
        "/w/proj~",
        "/w/proj+",
        "/w/proj@2x",
        "/w/proj%20copy",
        "/w/proj\\ copy",
        "/w/proj项目",
        "/w/proje\u{301}",
        "/home/anna",
        "/home/ann-old/x",
        "/x/w/proj",
        "./w/proj",
        "a/w/proj",
        "~/w/proj",
        "$HOME/w/proj",
        "${ROOT}/w/proj",
        "//w/proj",
        "http://host/w/proj",
        "/W/proj",
        "/x/-w-proj2/y",
        "/x/-w-proj-inner/y",
        "cmd -w-proj",
    ] {
        check(other, other);
    }
    // What may stand before and after.
    for (before, after) in [
        ("\"", "\""),
        ("'", "'"),
        ("`", "`"),
        ("(", ")"),
        ("[", "]"),
        ("<", ">"),
        ("{", "}"),
        ("cd ", "."),
        ("cd ", "..."),
        ("cd ", ". Then"),
        ("see ", "!"),
        ("A=", ";"),
        ("PATH=/bin:", ":/x"),
        ("host:", "\n"),
        ("\t", "\t"),
        ("\n", ","),
        ("\u{1b}[32m", "\u{1b}[0m"),
        ("     1→", "$"),
        ("请看", "。"),
        ("「", "」"),
        ("+", ""),
        ("\n-", "\n"),
        ("@", "#L10"),
        ("**", "**"),
        ("", "\\"),
        ("", "&&x"),
        ("file://", "?q"),
    ] {
        check(
            &format!("{before}/w/proj{after}"),
            &format!("{before}/Users/bob/code/thing{after}"),
        );
    }
}

#[test]
fn k_j03_spellings() {
    let (from, to) = (
        unix("/home/ann", "/w/my 代"),
        unix("/Users/bob", "/Users/bob/a b/项"),
    );
    let check = |raw: &str, want: &str| {
        let line = |s: &str| format!(r#"{{"x":"{s}"}}"#);
        assert_eq!(
            rewrite(&from, &to, TextKind::JsonLines, &line(raw)),
            line(want)
        );
    };
    check(r"\/home\/ann\/x", r"\/Users\/bob\/x");
    check(
        r"\u002fhome\u002fann\u002fx",
        r"\u002fUsers\u002fbob\u002fx",
    );
    check(r"\u002Fhome\u002Fann", r"\u002FUsers\u002Fbob");
    check(r#"{\"a\":\"\/home\/ann\"}"#, r#"{\"a\":\"\/Users\/bob\"}"#);
    check(
        r#"{\"a\":\"{\\\"b\\\":\\\"/home/ann\\\"}\"}"#,
        r#"{\"a\":\"{\\\"b\\\":\\\"/Users/bob\\\"}\"}"#,
    );
    check(
        r"a\n/home/ann\nb\t/home/ann\\nc",
        r"a\n/Users/bob\nb\t/Users/bob\\nc",
    );
    check(r"\u0027/home/ann\u0027", r"\u0027/Users/bob\u0027");
    check(
        r"\u001b[0;32m/home/ann\u001b[0m",
        r"\u001b[0;32m/Users/bob\u001b[0m",
    );
    check("/w/my 代/x", "/Users/bob/a b/项/x");
    check(r"/w/my \u4ee3/x", r"/Users/bob/a b/\u9879/x");
    check(r"/w/my\\ 代/x", r"/Users/bob/a\\ b/项/x");
    check(
        "file:///w/my%20%E4%BB%A3/x",
        "file:///Users/bob/a%20b/%E9%A1%B9/x",
    );
    check("file:///home/ann", "file:///Users/bob");
    check(
        "q=%2Fw%2Fmy%20%e4%bb%a3%2Fx",
        "q=%2FUsers%2Fbob%2Fa%20b%2F%E9%A1%B9%2Fx",
    );
    check("q=%2Fhome%2Fann%22", "q=%2FUsers%2Fbob%22");
    check("(/w/my%20%E4%BB%A3)", "(/Users/bob/a%20b/%E9%A1%B9)");
}

#[test]
fn k_j04_literal_home_survives() {
    let (from, to) = ann_to_bob();
    let text = "echo ${HOME}/x $HOME/y ~/z ${PROJECT_ROOT}/q {{HOME}} %HOME% $env:USERPROFILE";
    assert_eq!(in_json(&from, &to, text), text);
    let (from, to) = ann_to_win();
    assert_eq!(in_json(&from, &to, text), text);
}

#[test]
fn k_j09_from_unix_to_windows_and_back() {
    let (from, to) = ann_to_win();
    let check = |text: &str, want: &str| {
        assert_eq!(in_json(&from, &to, text), want, "{text}");
        assert_eq!(in_json(&to, &from, want), text, "back: {want}");
    };
    check("/w/proj", r"D:\code\thing");
    check(
        "/w/proj/src/unicorn/new.rs:10",
        r"D:\code\thing\src\unicorn\new.rs:10",
    );
    check("/home/ann/a /home/ann/b", r"C:\Users\bob\a C:\Users\bob\b");
    check(
        "cat /w/proj/a/b and/or /etc/x/y",
        r"cat D:\code\thing\a\b and/or /etc/x/y",
    );
    check(
        "/w/proj/app/(auth)/[id]/page.tsx)",
        r"D:\code\thing\app\(auth)\[id]\page.tsx)",
    );
    check(
        "/w/proj/a/,/w/proj/b/c;",
        r"D:\code\thing\a\,D:\code\thing\b\c;",
    );
    check("/w/proj/a//b/", r"D:\code\thing\a\\b\");
    check(
        "/w/proj/sub dir/other file.md",
        r"D:\code\thing\sub dir\other file.md",
    );
    check("'/w/proj/sub dir/f'", r"'D:\code\thing\sub dir\f'");
    check("see /w/proj/sub dir/f", r"see D:\code\thing\sub dir/f");
    check("file:///w/proj/a/b", "file:///D:/code/thing/a/b");
    check("x\n/w/proj/n/t\n", "x\nD:\\code\\thing\\n\\t\n");
    check(
        "/home/ann/.claude/projects/-w-proj/a/b",
        r"C:\Users\bob\.claude\projects\D--code-thing\a\b",
    );
    check(
        "/home/ann/.claude/projects/-w-proj",
        r"C:\Users\bob\.claude\projects\D--code-thing",
    );
    // What could not be told apart on the way back stays.
    check(r"/w/proj/a\b", r"/w/proj/a\b");
    check(r"/w/proj/my\ dir/x", r"/w/proj/my\ dir/x");
}

#[test]
fn k_j09_nested_json_stays_json() {
    let (from, to) = ann_to_win();
    let inner =
        serde_json::json!({"path": "/w/proj/a/b", "text": "say \"/w/proj/c/d\"\n/w/proj/e/f"})
            .to_string();
    let middle = serde_json::json!({"inner": inner, "p": "/w/proj/g/h"}).to_string();
    let got = in_json(&from, &to, &middle);
    let middle_got: serde_json::Value = serde_json::from_str(&got).unwrap();
    assert_eq!(middle_got["p"], r"D:\code\thing\g\h");
    let inner_got: serde_json::Value =
        serde_json::from_str(middle_got["inner"].as_str().unwrap()).unwrap();
    assert_eq!(inner_got["path"], r"D:\code\thing\a\b");
    assert_eq!(in_json(&to, &from, &got), middle);
    // A line of a log in a text: no JSON as a whole, strings all the same.
    let text = "1: {\"a\":\"/w/proj/x\"}\n2: {\"a\":\"see /w/proj/y/z\"}";
    let got = in_json(&from, &to, text);
    for line in got.lines() {
        assert!(
            serde_json::from_str::<serde_json::Value>(&line[3..]).is_ok(),
            "{line}"
        );
    }
}

#[test]
fn k_j09_windows_spellings() {
    let (from, to) = (
        windows(r"C:\Users\unicorn", r"C:\Users\unicorn\new"),
        unix("/home/ann", "/w/proj"),
    );
    let check = |text: &str, want: &str| assert_eq!(in_json(&from, &to, text), want, "{text}");
    check(r"C:\Users\unicorn\new\src\utils.rs", "/w/proj/src/utils.rs");
    check(r"c:\Users\unicorn\x", "/home/ann/x");
    check("C:/Users/unicorn/new/src", "/w/proj/src");
    check(r"C:\Users\unicorn/new/src\a/b", "/w/proj/src/a/b");
    check(r"C:/Users/unicorn\new\x", "/w/proj/x");
    check("/c/Users/unicorn/new/x", "/w/proj/x");
    check("/mnt/c/Users/unicorn/x", "/home/ann/x");
    check("file:///C:/Users/unicorn/new/x", "file:///w/proj/x");
    check("file:///c%3A/Users/unicorn/new/x", "file:///w/proj/x");
    check(r"C:\Users\unicorn\new\a中\b", "/w/proj/a中/b");
    check(r"C:\\Users\\unicorn\\x", "/home/ann/x");
    check(
        r"C:\Users\unicorn\.claude\projects\C--Users-unicorn-new\a.jsonl",
        "/home/ann/.claude/projects/-w-proj/a.jsonl",
    );
    check("C:\\Users\\unicorn\\new\nnext", "/w/proj\nnext");
    for other in [
        r"C:\Users\unicorn2",
        r"C:\Users\unicorn.bak",
        r"D:\Users\unicorn",
        r"xC:\Users\unicorn",
        r"\\server\C:\Users\unicorn",
        r"\\.\C:\Users\unicorn",
    ] {
        check(other, other);
    }
    // Escaped letters directly behind a separator.
    let line = r#"["C:\\Users\\unicorn\\\u4e2d\\x"]"#;
    assert_eq!(
        rewrite(&from, &to, TextKind::JsonLines, line),
        r#"["/home/ann/\u4e2d/x"]"#
    );

    let back = windows(r"D:\Benutzer\ida", r"D:\Benutzer\ida\ding");
    let check = |text: &str, want: &str| {
        assert_eq!(in_json(&from, &back, text), want, "{text}");
        assert_eq!(in_json(&back, &from, want), text, "back: {want}");
    };
    check(
        r"C:\Users\unicorn\new\src\utils.rs",
        r"D:\Benutzer\ida\ding\src\utils.rs",
    );
    check(r"c:/Users/unicorn/x\y", r"d:/Benutzer/ida/x\y");
    check("/c/Users/unicorn/x", "/d/Benutzer/ida/x");
    check("/mnt/c/Users/unicorn/x", "/mnt/d/Benutzer/ida/x");
    check(
        "file:///c%3A/Users/unicorn/x",
        "file:///d%3A/Benutzer/ida/x",
    );
}

#[test]
fn p07_a_root_is_no_pattern() {
    for home in ["/", "", "relative", "//"] {
        let mut from = unix(home, "/w/proj");
        from.claude_dir = "/.claude".into();
        let to = unix("/Users/bob", "/q");
        assert_eq!(
            in_json(&from, &to, "/etc /w/proj /.claude/x /"),
            "/etc /q /Users/bob/.claude/x /"
        );
        assert_eq!(
            in_json(&to, &from, "/Users/bob/x /q"),
            "/Users/bob/x /w/proj"
        );
    }
    let from = windows(r"C:\", r"C:\w");
    assert_eq!(
        in_json(&from, &unix("/h", "/q"), r"C:\x C:\w\y"),
        r"C:\x /q/y"
    );
}

#[test]
fn places_that_meet_are_kept_apart() {
    // On B the project lies where A has something else.
    let from = unix("/home/ann", "/home/ann/src/x");
    let to = unix("/home/bob", "/home/bob/code/x");
    let rewriter = Rewriter::new(&from, &to);
    assert_eq!(
        rewriter.path("/home/ann/src/x/f").as_deref(),
        Some("/home/bob/code/x/f")
    );
    let text = "/home/ann/code/x/f /home/ann/code/y /home/ann/src/x";
    let there = in_json(&from, &to, text);
    assert_eq!(
        there,
        "/home/ann/code/x/f /home/bob/code/y /home/bob/code/x"
    );
    assert_eq!(in_json(&to, &from, &there), text);
    // The same home, another project.
    let from = unix("/home/ann", "/home/ann/src/x");
    let to = unix("/home/ann", "/home/ann/code/x");
    let text = "/home/ann/src/x/f /home/ann/.claude /home/ann/src";
    assert_eq!(
        in_json(&from, &to, text),
        "/home/ann/code/x/f /home/ann/.claude /home/ann/src"
    );
}

#[test]
fn k_j10_signed_thinking_blocks_stay() {
    let (from, to) = ann_to_bob();
    let thinking =
        r#"{"type":"thinking","thinking":"look at /w/proj/x","signature":"/w/proj/ab=="}"#;
    let reordered = r#"{"signature":"s","thinking":"/home/ann","type":"thinking"}"#;
    let redacted = r#"{"type":"redacted_thinking","data":"/w/proj"}"#;
    let tool = r#"{"type":"tool_use","input":{"file_path":"/w/proj/x","data":"/w/proj"}}"#;
    let tool_there = tool.replace("/w/proj", "/Users/bob/code/thing");
    let line = |tool: &str| {
        format!(
            r#"{{"cwd":"/x","message":{{"content":[{thinking},{tool},{reordered},{redacted}]}}}}"#
        )
    };
    assert_eq!(
        rewrite(&from, &to, TextKind::JsonLines, &line(tool)),
        line(&tool_there)
    );
}

#[test]
fn one_path_by_itself() {
    let (from, to) = ann_to_win();
    let there = Rewriter::new(&from, &to);
    let back = Rewriter::new(&to, &from);
    let check = |a: &str, b: &str| {
        assert_eq!(there.path(a).as_deref(), Some(b));
        assert_eq!(back.path(b).as_deref(), Some(a));
    };
    check("/w/proj/sub dir/x", r"D:\code\thing\sub dir\x");
    check("/home/ann", r"C:\Users\bob");
    assert_eq!(back.path("/d/CODE/Thing/x").as_deref(), Some("/w/proj/x"));
    for none in [
        "/etc",
        "/w/proj2",
        "w/proj",
        "/w/proj/../x",
        "/w/proj/a:b",
        "/w/proj/nul",
        "",
    ] {
        assert_eq!(there.path(none), None, "{none}");
    }
    let same = Rewriter::new(&from, &from);
    assert!(same.is_identity());
    assert_eq!(same.path("/w/proj/x").as_deref(), Some("/w/proj/x"));
}
