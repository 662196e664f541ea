//! Where real sessions name places of their machine: the table in
//! docs/REWRITING.md, held against every fixture of every version.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use ccpeer_core::manifest::{Origin, PathFlavour};
use ccpeer_formats::claude::rewrite::{Rewriter, TextKind};
use ccpeer_formats::claude::slug::project_slug;
use serde_json::Value;

/// A field: kind of record, and the path to it.
type Field = (String, String);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The table of the page.
fn documented() -> BTreeSet<Field> {
    let page = fs::read_to_string(root().join("docs/REWRITING.md")).unwrap();
    let (_, table) = page.split_once("## Who needs it").unwrap();
    let (table, _) = table.split_once("\n## ").unwrap();
    let cell = |text: &str| text.trim().trim_matches('`').to_owned();
    table
        .lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix('|')?.split('|');
            Some((cell(cells.next()?), cell(cells.next()?)))
        })
        .filter(|(record, _)| record != "record" && !record.starts_with("---"))
        .collect()
}

/// Strings of a value and where they stand, keys too.
fn strings(value: &Value, at: &str, out: &mut Vec<(String, String)>) {
    match value {
        Value::String(text) => out.push((at.to_owned(), text.clone())),
        Value::Array(list) => list
            .iter()
            .for_each(|item| strings(item, &format!("{at}[]"), out)),
        Value::Object(fields) => {
            for (key, item) in fields {
                let key = match at {
                    "" => key.clone(),
                    _ if at.ends_with("trackedFileBackups") => {
                        out.push((format!("{at}.*"), key.clone()));
                        format!("{at}.*")
                    }
                    _ => format!("{at}.{key}"),
                };
                strings(item, &key, out);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn kind(record: &Value) -> String {
    let name = record["type"].as_str().unwrap();
    let below = match name {
        "attachment" => record["attachment"]["type"].as_str(),
        "system" => record["subtype"].as_str(),
        _ => None,
    };
    below.map_or(name.to_owned(), |below| format!("{name}/{below}"))
}

/// The fields of some lines in which one of these texts stands.
fn fields_with(text: &str, wanted: &[&str]) -> BTreeSet<Field> {
    let mut found = BTreeSet::new();
    for line in text.lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        let mut all = Vec::new();
        strings(&record, "", &mut all);
        for (at, text) in all {
            if wanted.iter().any(|w| text.contains(w)) {
                let record = if at == "cwd" {
                    "every one".to_owned()
                } else {
                    kind(&record)
                };
                found.insert((record, at));
            }
        }
    }
    found
}

fn transcripts(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            transcripts(&path, out);
        } else if path.extension().is_some_and(|e| e == "jsonl")
            && path.file_name().unwrap() != "history.jsonl"
        {
            out.push(path);
        }
    }
}

fn origin(flavour: PathFlavour, home: &str, project: &str, claude_dir: String) -> Origin {
    Origin {
        flavour,
        home: home.into(),
        project: project.into(),
        claude_dir,
        slug: project_slug(project),
    }
}

fn elsewhere() -> [Origin; 4] {
    let at = |flavour, home: &str, project: &str, claude: &str| {
        origin(flavour, home, project, format!("{home}{claude}"))
    };
    [
        at(
            PathFlavour::Unix,
            "/Users/bob",
            "/Users/bob/code/x",
            "/.claude",
        ),
        at(
            PathFlavour::Unix,
            "/home/我",
            "/srv/my code/v1.2",
            "/.claude",
        ),
        at(
            PathFlavour::Windows,
            r"C:\Users\unicorn",
            r"D:\new\proj",
            r"\.claude",
        ),
        at(PathFlavour::Windows, r"d:\u", r"E:\n 项\r", r"\.claude"),
    ]
}

/// The place where a transcript belongs: what it says itself, and what its
/// directory is called after.
fn project_of(text: &str, slug: Option<&str>) -> String {
    let said: Vec<String> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .flat_map(|r| [r["relocatedCwd"].clone(), r["cwd"].clone()])
        .filter_map(|v| v.as_str().map(str::to_owned))
        .collect();
    let named = said
        .iter()
        .find(|s| slug.is_none_or(|slug| project_slug(s) == slug));
    named.or(said.first()).unwrap().clone()
}

#[test]
fn the_fields_that_name_places_are_those_of_the_page_and_follow() {
    let manifest = fs::read(root().join("testdata/claude/manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let mut found = BTreeSet::new();
    let (mut files, mut versions) = (0, BTreeSet::new());
    for session in manifest["sessions"].as_array().unwrap() {
        let (name, home) = (
            session["name"].as_str().unwrap(),
            session["home"].as_str().unwrap(),
        );
        versions.insert(session["claude_version"].as_str().unwrap());
        let mut paths = Vec::new();
        transcripts(&root().join("testdata/claude").join(name), &mut paths);
        assert!(!paths.is_empty(), "{name}");
        for path in paths {
            files += 1;
            let text = fs::read_to_string(&path).unwrap();
            let parts: Vec<_> = path.iter().map(|p| p.to_str().unwrap()).collect();
            let slug = parts
                .iter()
                .position(|p| *p == "projects")
                .map(|at| parts[at + 1]);
            let project = project_of(&text, slug);
            let from = origin(PathFlavour::Unix, home, &project, format!("{home}/.claude"));
            found.extend(fields_with(&text, &[home, &from.slug]));
            for to in elsewhere() {
                let (there, report) =
                    Rewriter::new(&from, &to).bytes(TextKind::JsonLines, text.as_bytes());
                assert_eq!(report.opaque_lines, 0);
                let there = String::from_utf8(there).unwrap();
                let left = fields_with(&there, &[home, &format!("/{}", from.slug)]);
                assert!(
                    left.is_empty(),
                    "{} to {}: {left:#?}",
                    path.display(),
                    to.home
                );
                let (back, _) =
                    Rewriter::new(&to, &from).bytes(TextKind::JsonLines, there.as_bytes());
                assert!(back == text.as_bytes(), "{}", path.display());
            }
        }
    }
    assert!(files >= 14 && versions.len() == 3, "{files} {versions:?}");
    let page = documented();
    let missing: Vec<_> = found.difference(&page).collect();
    let gone: Vec<_> = page.difference(&found).collect();
    assert!(
        missing.is_empty() && gone.is_empty(),
        "not on the page: {missing:#?}\nonly there: {gone:#?}"
    );
}
