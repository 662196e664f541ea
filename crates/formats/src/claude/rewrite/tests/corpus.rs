//! Real transcripts of three versions: nothing of the old machine remains, and
//! the way back gives the same bytes.

use memchr::memmem;

use super::*;

macro_rules! fixture {
    ($name:literal) => {
        include_bytes!(concat!("../../../../../../testdata/claude/", $name)).as_slice()
    };
}

struct Fixture {
    home: &'static str,
    project: &'static str,
    kind: TextKind,
    bytes: &'static [u8],
}

fn fixtures() -> Vec<Fixture> {
    use TextKind::{Json, JsonLines, Plain};
    let full = "/home/ann/fx/full";
    let at = |home, project, kind, bytes| Fixture {
        home,
        project,
        kind,
        bytes,
    };
    vec![
        at(
            full,
            "work/proj",
            JsonLines,
            fixture!(
                "full/claude/projects/-home-ann-fx-full-work-proj/aa21a64c-b7a7-41b7-a51f-ceeccfa4623b.jsonl"
            ),
        ),
        at(
            full,
            "work/proj",
            JsonLines,
            fixture!(
                "full/claude/projects/-home-ann-fx-full-work-proj/aa21a64c-b7a7-41b7-a51f-ceeccfa4623b/subagents/agent-a4b3b560934ad2f5e.jsonl"
            ),
        ),
        at(
            full,
            "work/proj",
            Json,
            fixture!(
                "full/claude/projects/-home-ann-fx-full-work-proj/aa21a64c-b7a7-41b7-a51f-ceeccfa4623b/subagents/agent-a4b3b560934ad2f5e.meta.json"
            ),
        ),
        at(
            full,
            "work/proj",
            Plain,
            fixture!(
                "full/claude/projects/-home-ann-fx-full-work-proj/aa21a64c-b7a7-41b7-a51f-ceeccfa4623b/tool-results/bxsdyuzsi.txt"
            ),
        ),
        at(
            "/home/ann/fx/branches",
            "work/proj",
            JsonLines,
            fixture!(
                "branches/claude/projects/-home-ann-fx-branches-work-proj/1a3c6b0f-91b5-4222-8d5d-823fbd06b676.jsonl"
            ),
        ),
        at(
            "/home/ann/fx/branches",
            "work/proj/inner dir",
            JsonLines,
            fixture!(
                "branches/claude/projects/-home-ann-fx-branches-work-proj-inner-dir/73f5e978-c33a-4a83-94aa-0fbbf212fd0f.jsonl"
            ),
        ),
        at(
            "/home/ann/fx/compacted",
            "work/proj",
            JsonLines,
            fixture!(
                "compacted/claude/projects/-home-ann-fx-compacted-work-proj/9ce25fd5-3fbc-4195-8e76-d2bd8495d310.jsonl"
            ),
        ),
        at(
            "/home/ann/fx/diverged",
            "work/proj",
            JsonLines,
            fixture!("diverged/variants/A.jsonl"),
        ),
        at(
            "/home/ann/fx/chinese",
            "代码/我的 项目 v1.2_x",
            JsonLines,
            fixture!(
                "chinese/claude/projects/-home-ann-fx-chinese----------v1-2-x/fdb5b173-fe74-41d9-8d5c-c99576b4968a.jsonl"
            ),
        ),
        at(
            "/home/ann/fx/print",
            "work/proj",
            JsonLines,
            fixture!(
                "print-fork/claude/projects/-home-ann-fx-print-work-proj/de38d779-1c4b-457f-9fe5-9ec75949c8b7.jsonl"
            ),
        ),
        at(
            "/home/ann/fx/v2.1.197",
            "work/proj",
            JsonLines,
            fixture!(
                "v2.1.197/claude/projects/-home-ann-fx-v2-1-197-work-proj/f28f71d2-0d7a-4720-9774-7864f73dcb29.jsonl"
            ),
        ),
        at(
            "/home/ann/fx/v2.1.54",
            "work/proj",
            JsonLines,
            fixture!(
                "v2.1.54/claude/projects/-home-ann-fx-v2-1-54-work-proj/19f5450b-6242-4b90-8427-eefda48f04aa.jsonl"
            ),
        ),
    ]
}

fn origin(f: &Fixture) -> Origin {
    unix(f.home, &format!("{}/{}", f.home, f.project))
}

/// Machines to go to.
fn elsewhere() -> [Origin; 4] {
    [
        unix("/Users/bob", "/Users/bob/code/projects/proj"),
        unix("/home/我", "/home/我/my code/v1.2"),
        windows(r"C:\Users\unicorn", r"C:\Users\unicorn\new\proj"),
        windows(r"d:\u", r"E:\n 项\r"),
    ]
}

#[test]
fn k_j01_the_same_places_change_nothing() {
    for f in fixtures() {
        let rewriter = Rewriter::new(&origin(&f), &origin(&f));
        assert!(rewriter.is_identity());
        let (out, report) = rewriter.bytes(f.kind, f.bytes);
        assert!(out == f.bytes);
        assert_eq!(
            (
                report.replacements,
                report.rewritten_lines,
                report.opaque_lines
            ),
            (0, 0, 0)
        );
    }
}

#[test]
fn k_j01_nothing_of_the_old_machine_remains() {
    for f in fixtures() {
        for to in elsewhere() {
            let (out, report) = Rewriter::new(&origin(&f), &to).bytes(f.kind, f.bytes);
            assert_eq!(report.opaque_lines, 0);
            let left: Vec<String> = memmem::find_iter(&out, f.home.as_bytes())
                .map(|i| {
                    String::from_utf8_lossy(&out[i.saturating_sub(20)..(i + 80).min(out.len())])
                        .into_owned()
                })
                .collect();
            assert!(left.is_empty(), "{left:#?}");
            let slug = format!("/{}/", origin(&f).slug);
            assert!(memmem::find(&out, slug.as_bytes()).is_none());
            if f.kind != TextKind::Plain {
                let text = String::from_utf8(out).unwrap();
                for line in text.lines() {
                    serde_json::from_str::<serde_json::Value>(line).unwrap();
                }
            }
        }
    }
}

#[test]
fn k_j01_there_and_back() {
    for f in fixtures() {
        for to in elsewhere() {
            let (there, out) = Rewriter::new(&origin(&f), &to).bytes(f.kind, f.bytes);
            let (again, back) = Rewriter::new(&to, &origin(&f)).bytes(f.kind, &there);
            assert!(again == f.bytes, "{} -> {}", f.home, to.home);
            assert_eq!(out, back);
            assert!(f.bytes.len() < 1000 || f.kind == TextKind::Plain || out.replacements > 0);
        }
    }
}

#[test]
fn values_are_those_of_the_new_machine() {
    let f = &fixtures()[0];
    let to = windows(r"C:\Users\bob", r"C:\Users\bob\proj");
    let (out, _) = Rewriter::new(&origin(f), &to).bytes(f.kind, f.bytes);
    let mut cwds = 0;
    for line in String::from_utf8(out).unwrap().lines() {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        if let Some(cwd) = record.get("cwd") {
            assert_eq!(cwd, r"C:\Users\bob\proj");
            cwds += 1;
        }
        if let Some(path) = record
            .pointer("/toolUseResult/filePath")
            .and_then(|v| v.as_str())
        {
            assert!(
                path.starts_with(r"C:\Users\bob\proj\") && !path.contains('/'),
                "{path}"
            );
        }
    }
    assert!(cwds > 20);
}
