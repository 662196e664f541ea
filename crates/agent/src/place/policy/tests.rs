//! What another machine may not bring: one test for each rule.

use super::*;
use std::fs;

struct Bench {
    _dir: tempfile::TempDir,
    root: PathBuf,
    policy: Policy,
}

fn bench() -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let root = fs::canonicalize(dir.path()).unwrap().join("proj");
    fs::create_dir_all(root.join("src")).unwrap();
    let policy = Policy::new(&root, None, Path::new("/home/nobody"), PathFlavour::Unix).unwrap();
    Bench {
        _dir: dir,
        root,
        policy,
    }
}

impl Bench {
    fn apply(&self, line: &str) -> (Verdict, Vec<String>) {
        let line = line.replace("ROOT", self.root.to_str().unwrap());
        let held = self.policy.apply(line.as_bytes());
        (held.verdict, held.findings.lines())
    }

    fn keeps(&self, line: &str) {
        let (verdict, findings) = self.apply(line);
        assert_eq!(verdict, Verdict::Keep, "{line}");
        assert!(findings.is_empty(), "{line}");
    }

    fn changes(&self, line: &str, want: &str) {
        let want = want.replace("ROOT", self.root.to_str().unwrap());
        match self.apply(line).0 {
            Verdict::Change(got) => assert_eq!(String::from_utf8(got).unwrap(), want),
            other => panic!("{line}: {other:?}"),
        }
    }

    fn drops(&self, line: &str) {
        let (verdict, findings) = self.apply(line);
        assert_eq!(verdict, Verdict::Drop, "{line}");
        assert_eq!(findings.len(), 1, "{line}");
    }
}

#[test]
fn what_belongs_to_the_conversation_stays() {
    let b = bench();
    for line in [
        "",
        "no json",
        r#"{"type":"user","cwd":"ROOT","uuid":"1","message":{"content":"cwd is /etc"}}"#,
        r#"{"type":"user","cwd":"ROOT/src","permissionMode":"default"}"#,
        r#"{"type":"content-replacement","replacements":[{"kind":"tool-result"}]}"#,
        r#"{"type":"queue-operation","operation":"enqueue","content":"go on"}"#,
        r#"{"type":"permission-mode","permissionMode":"plan"}"#,
        r#"{"type":"mode","mode":"normal"}"#,
        r#"{"type":"assistant","message":{"cwd":"/etc","permissionMode":"bypassPermissions"}}"#,
        r#"[{"cwd":"/etc"}]"#,
    ] {
        b.keeps(line);
    }
}

#[test]
fn k_a11_directories_outside_the_project_become_the_project() {
    let b = bench();
    for bad in [
        "/etc",
        "ROOT2",
        "ROOT/../x",
        "relative",
        "",
        "~",
        r"\\\\server\\share",
        r"\\\\?\\C:\\x",
        r"\\??\\C:\\x",
        "C:x",
        "//server/x",
        "ROOT/a\\u0000b",
        "\\ud800",
    ] {
        b.changes(
            &format!(r#"{{"a":1,"cwd":"{bad}","z":[1e2, "\/"]}}"#),
            r#"{"a":1,"cwd":"ROOT","z":[1e2, "\/"]}"#,
        );
    }
    b.changes(
        r#"{"type":"relocated","relocatedCwd":"/etc"}"#,
        r#"{"type":"relocated","relocatedCwd":"ROOT"}"#,
    );
    b.changes(
        r#"{"cwd":"ROOT","c\u0077d":"/etc"}"#,
        r#"{"cwd":"ROOT","c\u0077d":"ROOT"}"#,
    );
    b.changes(
        "{\"\\ud800\":1,\"cwd\":\"/etc\"}",
        "{\"\\ud800\":1,\"cwd\":\"ROOT\"}",
    );
}

#[test]
fn the_whole_project_is_open_to_a_session_of_its_subdirectory() {
    let b = bench();
    let home = b.root.parent().unwrap().join("home");
    let policy =
        |top: &Path| Policy::new(&b.root.join("src"), Some(top), &home, PathFlavour::Unix).unwrap();
    let line = format!(r#"{{"cwd":"{}"}}"#, b.root.display());
    let apply = |policy: Policy, line: &str| policy.apply(line.as_bytes()).verdict;
    assert_eq!(apply(policy(&b.root), &line), Verdict::Keep);
    let above = b.root.parent().unwrap();
    assert!(
        matches!(apply(policy(above), &line), Verdict::Change(_)),
        "the home's repository"
    );
    let line = format!(r#"{{"cwd":"{}"}}"#, above.display());
    assert!(matches!(apply(policy(&b.root), &line), Verdict::Change(_)));
}

#[test]
fn in_a_home_directory_nothing_hidden_is_restored() {
    let b = bench();
    let policy = Policy::new(&b.root, None, &b.root, PathFlavour::Unix).unwrap();
    let drops = |path: &str| {
        let line = format!(
            r#"{{"type":"file-history-delta","trackingPath":"{path}","backup":{{"backupFileName":null}}}}"#
        );
        policy.apply(line.as_bytes()).verdict == Verdict::Drop
    };
    assert!(drops(".ssh/authorized_keys") && drops("x/.config/y"));
    assert!(!drops("notes.md"));
}

#[test]
fn permissions_are_not_brought_along() {
    let b = bench();
    b.changes(
        r#"{"type":"permission-mode","permissionMode":"bypassPermissions"}"#,
        r#"{"type":"permission-mode","permissionMode":"default"}"#,
    );
    b.changes(
        r#"{"type":"user","permissionMode":"acceptEdits","uuid":"1"}"#,
        r#"{"type":"user","permissionMode":"default","uuid":"1"}"#,
    );
    b.changes(
        r#"{"type":"mode","mode":"yolo"}"#,
        r#"{"type":"mode","mode":"normal"}"#,
    );
    b.changes(
        r#"{"permissionMode":"default","permissionMode":["bypassPermissions"]}"#,
        r#"{"permissionMode":"default","permissionMode":"default"}"#,
    );
}

#[test]
fn records_of_the_other_machine_are_left_out() {
    let b = bench();
    for kind in DROPPED_TYPES {
        b.drops(&format!(r#"{{"type":"{kind}","worktreePath":"/etc"}}"#));
    }
    b.drops(r#"{"type":"user","type":"worktree-state"}"#);
}

#[test]
fn k_a11_a_record_that_claims_a_place_in_the_chain_is_silenced() {
    let b = bench();
    for kind in DROPPED_TYPES {
        b.changes(
            &format!(r#"{{"type":"{kind}","uuid":"1","parentUuid":"0","worktreePath":"/etc"}}"#),
            r#"{"type":"left-out","uuid":"1","parentUuid":"0","worktreePath":"/etc"}"#,
        );
    }
    b.changes(
        r#"{"type":"user","uuid":"1","ty\u0070e":"worktree-state"}"#,
        r#"{"type":"user","uuid":"1","ty\u0070e":"left-out"}"#,
    );
}

/// Claude Code passes over NUL bytes before a record, and white space as
/// JavaScript has it around one.
#[test]
fn k_a11_what_stands_around_a_record_hides_nothing() {
    let b = bench();
    for (before, after) in [
        ("\0\0", ""),
        ("\u{feff}", ""),
        ("\0\u{feff} ", ""),
        ("\u{a0}\u{2028}\u{3000}", "\u{feff}"),
        ("\u{b}", "\u{c}\r"),
        ("", "\0"),
    ] {
        b.drops(&format!(r#"{before}{{"type":"worktree-state"}}{after}"#));
        b.changes(
            &format!(r#"{before}{{"cwd":"/etc"}}{after}"#),
            &format!(r#"{before}{{"cwd":"ROOT"}}{after}"#),
        );
    }
    let nested = format!(
        r#"{{"x":{}{},"type":"worktree-state"}}"#,
        "[".repeat(5000),
        "]".repeat(5000)
    );
    b.drops(&nested);
}

#[test]
fn k_a09_a_sub_agent_gets_no_powers_of_the_other_machine() {
    let b = bench();
    let agent = |file: &str| {
        let mut findings = Findings::default();
        let held = b.policy.agent(file.as_bytes(), &mut findings);
        (
            held.map(|h| String::from_utf8(h).unwrap()),
            findings.lines().len(),
        )
    };
    let root = b.root.to_str().unwrap();
    let fine = format!(
        r#"{{"agentType":"general-purpose","isBuiltIn":true,"description":"/etc","toolUseId":"t","spawnDepth":1,"requestShape":"background","requireCanUseTool":true,"model":"m","finished":true,"cwd":"{root}/src"}}"#
    );
    assert_eq!(agent(&fine), (None, 0));
    for file in ["", "torn {", "[]", "7"] {
        assert_eq!(agent(file), (None, 0));
    }
    let powers = AGENT_POWERS.into_iter().chain([
        "worktreePath",
        "worktreeBranch",
        "worktreeCleanlyRemoved",
    ]);
    for key in powers {
        let held = agent(&format!(r#"{{"a":[1e2, "x"],"{key}":{{"a":1}},"z":0}}"#));
        assert_eq!(
            held,
            (Some(r#"{"a":[1e2, "x"],"z":0}"#.to_owned()), 1),
            "{key}"
        );
    }
    for cwd in ["/etc", "", r"\\\\server\\share", "ROOT/../x"] {
        let held = agent(&format!("\0{{\"cwd\":\"{cwd}\",\"z\":0}}"));
        assert_eq!(held, (Some("\0{\"z\":0}".to_owned()), 1), "{cwd}");
    }
}

#[test]
fn k_a10_rewinding_touches_the_project_only() {
    let b = bench();
    let good = r#""backupFileName":"af0e92d109bd7e2f@v2","version":2"#;
    let snapshot = |files: &str| {
        format!(
            r#"{{"type":"file-history-snapshot","snapshot":{{"messageId":"m","trackedFileBackups":{{{files}}},"timestamp":"t"}}}}"#
        )
    };
    let fine = format!(
        r#""src/a.rs":{{{good},"realParentDir":"ROOT/src"}},"ROOT/b":{{"backupFileName":null}}"#
    );
    b.keeps(&snapshot(&fine));
    b.keeps(&snapshot(""));
    let names = [
        "/etc/passwd",
        "../x",
        "src/../../x",
        ".git/hooks/pre-commit",
        ".GIT/config",
        "ROOT/.claude/settings.json",
        "ROOT2/x",
        ".vscode/tasks.json",
        ".github/workflows/x.yml",
        ".idea/x",
        ".envrc",
        "src/.bashrc",
        ".mcp.json",
        "",
        "ROOT",
        "~/.ssh/x/../../..",
        ".husky/pre-commit",
        ".gitmodules",
        r"//server/share/x",
        "a\\u0000b",
    ];
    for name in names {
        let both = format!(r#"{fine},"{name}":{{{good}}}"#);
        if name.is_empty() || name == "ROOT" {
            // The project's directory itself is no file; harmless either way.
            continue;
        }
        b.changes(&snapshot(&both), &snapshot(&fine));
        b.drops(&format!(
            r#"{{"type":"file-history-delta","trackingPath":"{name}","backup":{{{good}}}}}"#
        ));
    }
    for backup in [
        r#""backupFileName":"../../x@v1""#,
        r#""backupFileName":7"#,
        &format!(r#"{good},"realParentDir":"/etc""#),
        &format!(r#"{good},"realParentDir":"ROOT/.git""#),
        &format!(r#"{good},"realParentDir":null"#),
    ] {
        let both = format!(r#"{fine},"c":{{{backup}}}"#);
        b.changes(&snapshot(&both), &snapshot(&fine));
    }
    b.keeps(&format!(r#"{{"type":"file-history-delta","trackingPath":"x","backup":{{{good},"realParentDir":"ROOT"}}}}"#));
}

#[cfg(unix)]
#[test]
fn k_a10_a_link_out_of_the_project_is_not_followed() {
    let b = bench();
    std::os::unix::fs::symlink("/etc", b.root.join("out")).unwrap();
    b.drops(r#"{"type":"file-history-delta","trackingPath":"out/passwd","backup":{"backupFileName":null}}"#);
    std::os::unix::fs::symlink(b.root.join("src"), b.root.join("in")).unwrap();
    b.keeps(
        r#"{"type":"file-history-delta","trackingPath":"in/a","backup":{"backupFileName":null}}"#,
    );
    // Nor one to what is obeyed within the project.
    fs::create_dir_all(b.root.join(".git/hooks")).unwrap();
    std::os::unix::fs::symlink(b.root.join(".git"), b.root.join("plain")).unwrap();
    b.drops(r#"{"type":"file-history-delta","trackingPath":"plain/hooks/x","backup":{"backupFileName":null}}"#);
}

#[test]
fn a_fork_names_itself() {
    let (old, new) = (
        "aa21a64c-b7a7-41b7-a51f-ceeccfa4623b",
        "11111111-2222-4333-8444-555555555555",
    );
    let line = format!(r#"{{"a":"{old}","sessionId":"{old}","z":{{"sessionId":"{old}"}}}}"#);
    let got = with_session(line.as_bytes(), old, new).unwrap();
    let want = format!(r#"{{"a":"{old}","sessionId":"{new}","z":{{"sessionId":"{old}"}}}}"#);
    assert_eq!(String::from_utf8(got).unwrap(), want);
    assert_eq!(with_session(br#"{"sessionId":"x"}"#, old, new), None);
    assert_eq!(with_session(b"torn {", old, new), None);
}

/// Each byte of a record replaced by each that means something in JSON, or nothing
/// anywhere.
#[test]
fn what_is_strict_is_json() {
    let line = r#" {"a\u000ab":"x\ny","cwd":"/w","n":[1,-2.5e3,{"k":null}],"é":true} "#;
    let mut odd = b"\0\t\n\x1f\x7f \"\\{}[]:,0-.eEu/".to_vec();
    odd.extend([0xc3, 0xff]);
    let mut strict = 0;
    for at in 0..line.len() {
        for byte in &odd {
            let mut bytes = line.as_bytes().to_vec();
            bytes[at] = *byte;
            let text = lossy(&bytes);
            let Some(record) = Record::parse(trimmed(&text)) else {
                continue;
            };
            strict += u32::from(record.is_strict());
            assert!(!record.is_strict() || is_json(&bytes), "{at} {byte}");
        }
    }
    assert!(strict > 0);
}
