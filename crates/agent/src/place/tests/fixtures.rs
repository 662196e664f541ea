//! Every fixture of every version of the other program: captured where it was
//! written, placed under another user and in another project, gone on with
//! there, and brought back.

use std::collections::BTreeSet;

use ccpeer_formats::claude::rewrite::{Rewriter, TextKind};
use serde_json::Value;

use super::*;

struct Fixture {
    name: String,
    home: String,
    session: SessionId,
}

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/claude")
}

fn fixtures() -> (Vec<Fixture>, BTreeSet<String>) {
    let manifest: Value =
        serde_json::from_slice(&fs::read(testdata().join("manifest.json")).unwrap()).unwrap();
    let text = |v: &Value| v.as_str().unwrap().to_owned();
    let mut all = Vec::new();
    let mut versions = BTreeSet::new();
    for session in manifest["sessions"].as_array().unwrap() {
        versions.insert(text(&session["claude_version"]));
        for id in session["session_ids"].as_array().unwrap() {
            all.push(Fixture {
                name: text(&session["name"]),
                home: text(&session["home"]),
                session: text(id).parse().unwrap(),
            });
        }
    }
    (all, versions)
}

fn records(text: &[u8]) -> Vec<Value> {
    text.split(|b| *b == b'\n')
        .filter(|l| !l.is_empty())
        .map(|l| serde_json::from_slice(l).unwrap())
        .collect()
}

/// The links of the conversation.
fn chain(text: &[u8]) -> Vec<(String, Option<String>)> {
    let link = |r: &Value| {
        let parent = r["parentUuid"].as_str().map(str::to_owned);
        Some((r["uuid"].as_str()?.to_owned(), parent))
    };
    records(text).iter().filter_map(link).collect()
}

/// The backups that records for rewinding name.
fn backups(value: &Value, out: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            out.extend(
                fields
                    .get("backupFileName")
                    .and_then(Value::as_str)
                    .map(str::to_owned),
            );
            fields.values().for_each(|v| backups(v, out));
        }
        Value::Array(list) => list.iter().for_each(|v| backups(v, out)),
        _ => {}
    }
}

/// Puts a fixture into a home as if it had been written there, and says in which
/// project.
fn install(f: &Fixture, world: &World) -> PathBuf {
    let there = testdata().join(&f.name).join("claude");
    let main = format!("{}.jsonl", f.session);
    let slugs = fs::read_dir(there.join("projects")).unwrap();
    let mut slugs = slugs.map(|e| e.unwrap().file_name().into_string().unwrap());
    let slug = slugs
        .find(|slug| there.join("projects").join(slug).join(&main).exists())
        .unwrap();
    let text = fs::read(there.join("projects").join(&slug).join(&main)).unwrap();
    let said = records(&text)
        .into_iter()
        .flat_map(|r| [r["relocatedCwd"].clone(), r["cwd"].clone()])
        .filter_map(|v| v.as_str().map(str::to_owned));
    let was = said
        .into_iter()
        .find(|dir| project_slug(dir) == slug)
        .unwrap();
    let below = was.strip_prefix(&format!("{}/", f.home)).unwrap();
    let work = project(world, below);
    let from = Origin {
        flavour: PathFlavour::Unix,
        home: f.home.clone(),
        project: was,
        claude_dir: format!("{}/.claude", f.home),
        slug: slug.clone(),
    };
    let here = project_slug(work.to_str().unwrap());
    let to = crate::capture::here(&world.home, &here, work.to_str().unwrap());
    let rewriter = Rewriter::new(&from, &to);
    for (name, bytes) in files(&there) {
        let kind = match name.rsplit('.').next() {
            _ if name.starts_with("file-history") => None,
            Some("jsonl") => Some(TextKind::JsonLines),
            Some("json") => Some(TextKind::Json),
            Some("txt") => Some(TextKind::Plain),
            _ => None,
        };
        let bytes = kind.map_or(bytes.clone(), |kind| rewriter.bytes(kind, &bytes).0);
        let name = name.replace(&format!("projects/{slug}/"), &format!("projects/{here}/"));
        let path = world.claude().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    work
}

/// A permission mode is set back on the way; nothing else is.
fn modest(text: &[u8]) -> String {
    let mut text = String::from_utf8(text.to_vec()).unwrap();
    for mode in ["bypassPermissions", "acceptEdits", "dontAsk", "auto"] {
        let field = |mode: &str| format!("\"permissionMode\":\"{mode}\"");
        text = text.replace(&field(mode), &field("default"));
    }
    text
}

#[test]
fn fixtures_of_all_versions_go_there_and_back() {
    let (all, versions) = fixtures();
    assert!(all.len() >= 10 && versions.len() >= 3, "{versions:?}");
    let mut moved = 0;
    for f in all {
        let (a, b) = (World::in_memory("ann"), World::in_memory("bob"));
        let work = install(&f, &a);
        let code = project(&b, "code/another place/我的 p2");
        let told = goes_there_and_back(&f, (&a, &work), (&b, &code));
        if told.is_empty() {
            continue;
        }
        // `/cd` had moved this one into a sub-directory: what lay above is
        // nothing of this project, and is told.
        moved += 1;
        assert!(
            told.iter().all(|l| l.contains("outside the project")),
            "{told:?}"
        );
        // In a repository it is.
        let (a, b) = (World::in_memory("ann"), World::in_memory("bob"));
        let work = install(&f, &a);
        let code = project(&b, "code/repo/inner dir");
        for dir in [&work, &code] {
            assert!(git_init(dir.parent().unwrap()));
        }
        let told = goes_there_and_back(&f, (&a, &work), (&b, &code));
        assert!(told.is_empty(), "{told:?}");
    }
    assert_eq!(moved, 1);
}

fn git_init(dir: &Path) -> bool {
    std::process::Command::new("git")
        .arg("-C")
        .arg(dir)
        .args(["init", "-q"])
        .status()
        .is_ok_and(|s| s.success())
}

/// Returns what was told beside permission modes and open tool calls.
fn goes_there_and_back(
    f: &Fixture,
    (a, work): (&World, &Path),
    (b, code): (&World, &Path),
) -> Vec<String> {
    let main = |world: &World, dir: &Path| {
        world.transcript(&project_slug(dir.to_str().unwrap()), &f.session)
    };
    let (main_a, main_b) = (main(a, work), main(b, code));
    let first = fs::read(&main_a).unwrap();
    let one = EntryHash([1; 32]);
    let manifest = captured(a, f.session, one).unwrap();
    carry(a, b, manifest);
    let version = Version { id: one, manifest };
    let wanted = |version, dir: &Path| PlaceRequest {
        session: f.session,
        ..asked(version, dir)
    };
    let placed = put(b, &wanted(version, code)).unwrap();
    assert_eq!(placed.placed, PlacedHow::New, "{}", f.name);
    let usual = |l: &String| l.contains("permission mode") || l.contains("had not ended");
    let told: Vec<String> = placed.dropped.into_iter().filter(|l| !usual(l)).collect();

    // Nothing of A is left, nothing of the chain is lost.
    let there = fs::read(&main_b).unwrap();
    assert_eq!(chain(&there), chain(&first), "{}", f.name);
    let theirs = [a.home.user(), Path::new(&f.home)].map(|p| p.to_str().unwrap().to_owned());
    let slug_a = project_slug(work.to_str().unwrap());
    let mut named = BTreeSet::new();
    for (name, bytes) in files(b.claude()) {
        if name.starts_with("file-history") {
            continue;
        }
        let text = String::from_utf8(bytes).unwrap();
        for foreign in theirs.iter().chain([&slug_a]) {
            assert!(!text.contains(foreign.as_str()), "{} {name}", f.name);
        }
        if name.ends_with(".jsonl") {
            records(text.as_bytes())
                .iter()
                .for_each(|r| backups(r, &mut named));
        }
    }
    let history = b.claude().join("file-history").join(f.session.to_string());
    let kept: BTreeSet<String> = files(&history).into_keys().collect();
    let at_home = a.claude().join("file-history").join(f.session.to_string());
    let had: BTreeSet<String> = files(&at_home).into_keys().collect();
    assert_eq!(kept, had, "{}", f.name);
    // A fork by print mode names backups of the session that it came from.
    let gone = named.iter().any(|name| !had.contains(name));
    assert!(
        !gone || f.name.starts_with("print"),
        "{}: {named:?}",
        f.name
    );

    // The way back of the text alone.
    let here = |world: &World, dir: &Path| {
        let text = dir.to_str().unwrap();
        crate::capture::here(&world.home, &project_slug(text), text)
    };
    let subdir = manifest_of(&b.store, manifest).unwrap().project.subdir;
    let back = Rewriter::in_repository(&here(b, code), &here(a, work), &subdir);
    let (again, _) = back.bytes(TextKind::JsonLines, &there);
    assert!(
        !told.is_empty() || modest(&again) == modest(&first),
        "{}",
        f.name
    );

    // And of the session, after a turn there.
    append(
        &main_b,
        &turn(code, 7).replace(FULL, &f.session.to_string()),
    );
    let two = EntryHash([2; 32]);
    let manifest = captured(b, f.session, two).unwrap();
    carry(b, a, manifest);
    let version = Version { id: two, manifest };
    let placed = put(a, &wanted(version, work)).unwrap();
    assert_eq!(placed.placed, PlacedHow::FastForward, "{}", f.name);
    let turn = turn(work, 7).replace(FULL, &f.session.to_string());
    assert!(fs::read(&main_a).unwrap() == [first.as_slice(), turn.as_bytes()].concat());
    told
}

/// What is kept about a sub-agent is held to the policy when it comes from
/// another device.
#[test]
fn k_a09_a_sub_agent_is_placed_without_what_it_was_given() {
    let (a, b) = (World::in_memory("ann"), World::in_memory("bob"));
    let (work, code) = (project(&a, "work"), project(&b, "code"));
    let session: SessionId = FULL.parse().unwrap();
    let dir = a.transcript(&project_slug(work.to_str().unwrap()), &session);
    let agents = dir.with_extension("").join("subagents");
    fs::create_dir_all(&agents).unwrap();
    fs::write(&dir, turn(&work, 1)).unwrap();
    let agent = "agent-a0123456789abcdef";
    fs::write(
        agents.join(format!("{agent}.jsonl")),
        turn(&work, 2).replace(
            "\"cwd\":\"",
            "\"permissionMode\":\"bypassPermissions\",\"cwd\":\"/elsewhere",
        ),
    )
    .unwrap();
    let meta = format!(
        r#"{{"agentType":"x","takesNoHooks":true,"worktreePath":"/w","cwd":"{}/s","finished":true}}"#,
        work.display()
    );
    fs::write(agents.join(format!("{agent}.meta.json")), meta).unwrap();
    let task = a.claude().join("tasks").join(FULL);
    fs::create_dir_all(&task).unwrap();
    let text = |dir: &Path| format!("{{\n  \"subject\": \"see {}/x\"\n}}\n", dir.display());
    fs::write(task.join("1.json"), text(&work)).unwrap();
    let id = EntryHash([1; 32]);
    let manifest = captured(&a, session, id).unwrap();
    carry(&a, &b, manifest);
    let placed = put(&b, &asked(Version { id, manifest }, &code)).unwrap();
    assert_eq!(
        placed.dropped,
        [
            "1 × working directory outside the project: set to the project",
            "1 × permission mode of another device: Claude Code asks here as usual",
            "2 × power or place given to a sub-agent elsewhere: it goes on without",
        ]
    );
    let here = b.transcript(&project_slug(code.to_str().unwrap()), &session);
    let agents = here.with_extension("").join("subagents");
    let meta = fs::read_to_string(agents.join(format!("{agent}.meta.json"))).unwrap();
    let want = format!(
        r#"{{"agentType":"x","cwd":"{}/s","finished":true}}"#,
        code.display()
    );
    assert_eq!(meta, want);
    let log = fs::read_to_string(agents.join(format!("{agent}.jsonl"))).unwrap();
    assert!(log.contains(r#""permissionMode":"default""#));
    assert!(log.contains(&format!(r#""cwd":"{}""#, code.display())));
    let task = fs::read_to_string(b.claude().join("tasks").join(FULL).join("1.json")).unwrap();
    assert_eq!(task, text(&code), "P8: lists of tasks are rewritten");
    assert_eq!(
        captured(&b, session, EntryHash([9; 32])),
        None,
        "placing is no change"
    );
}
