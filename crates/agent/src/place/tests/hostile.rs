//! Hostile content, watched by somebody who looks at everything all the time,
//! and killed at every step.

use super::*;
use ccpeer_core::limits;
use ccpeer_core::manifest::Slot;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Texts that other programs have taken for paths, and variations of them.
fn hostile_texts() -> Vec<String> {
    let seeds = [
        "../../../../etc/passwd",
        "/etc/passwd",
        "~/.ssh/authorized_keys",
        "..",
        ".",
        "",
        " ",
        "a.",
        "a ",
        "C:\\Windows\\x",
        "c:x",
        "\\\\server\\share",
        "\\\\?\\C:\\x",
        "\\\\.\\PhysicalDrive0",
        "\\??\\C:\\x",
        "//server/share",
        "x:stream",
        "x::$DATA",
        "CON",
        "con.jsonl",
        "COM\u{b9}",
        "LPT\u{b2}.txt",
        "NUL",
        "AUX",
        "PROGRA~1",
        "GIT~1",
        ".git",
        ".GIT",
        ".g\u{200c}it",
        ".git\u{200b}",
        ".git ",
        ".git::$INDEX_ALLOCATION",
        "\u{0}",
        "a\u{0}b",
        "e\u{301}",
        "\u{e9}",
        "\u{212a}",
        "\u{130}",
        "$HOME",
        "${HOME}",
        "%USERPROFILE%",
        "`id`",
        "$(id)",
        ";id",
        "|id",
        "--resume",
        "-rf",
        "\u{202e}gpj.exe",
        "\u{feff}x",
        "x\ny",
        "x\r",
        "\u{1b}]0;x\u{7}",
        "file:///etc/passwd",
        "%2e%2e%2f",
        "..%c0%af",
        "....//",
        "\u{ff0e}\u{ff0e}\u{ff0f}",
        "settings.json",
        ".claude/settings.json",
        "CLAUDE.md",
        ".mcp.json",
        "hooks/x",
        "skills/x/SKILL.md",
        "plugins/x",
        "commands/x.md",
        "agents/x.md",
    ];
    let mut out: Vec<String> = seeds.iter().map(|s| (*s).to_owned()).collect();
    for seed in seeds {
        out.push(format!("/home/eve/p/{seed}"));
        out.push(format!("{seed}/x"));
        out.push(format!("p/../{seed}"));
    }
    out.push("x".repeat(4096));
    out.push("../".repeat(1365));
    out.sort();
    out.dedup();
    out
}

/// Every string field of a bundle: those of its manifest, and those of its
/// records on which Claude Code acts.
const FIELDS: usize = 13;

#[test]
fn k_a01_no_text_of_a_peer_names_a_file() {
    let texts = hostile_texts();
    assert!(texts.len() >= 200, "{}", texts.len());
    // The quick form puts each text into one field after the other.
    let full = std::env::var_os("CCPEER_HOSTILE").is_some();
    let b = World::in_memory("bob");
    let code = project(&b, "code/p2");
    let before = files(b.dir.path());
    let main = main_of_b(&b, &code);
    let base = b.dir.path().canonicalize().unwrap();
    let ours = main
        .strip_prefix(&base)
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned();
    let (mut tried, mut refused) = (0, 0);
    for (n, text) in texts.iter().enumerate() {
        let fields = if full {
            0..FIELDS
        } else {
            n % FIELDS..n % FIELDS + 1
        };
        for field in fields {
            let line = record_with(field, text);
            let version = hostile(&b, |m| set_field(m, field, text), &[line.as_bytes()]);
            let placed = put(&b, &asked(version, &code));
            tried += 1;
            let now = files(b.dir.path());
            for (name, content) in &now {
                if name != &ours && !name.starts_with("bob/ccpeer/") {
                    let same = before.get(name) == Some(content);
                    assert!(same, "{text:?} in field {field} wrote {name}");
                }
            }
            for name in before.keys() {
                assert!(
                    now.contains_key(name),
                    "{text:?} in field {field} removed {name}"
                );
            }
            match placed {
                Ok(_) => drop(undo(&b.store, &b.home).unwrap()),
                Err(_) => refused += 1,
            }
            assert_eq!(
                files(b.dir.path()).keys().collect::<Vec<_>>(),
                before.keys().collect::<Vec<_>>()
            );
        }
    }
    println!("{tried} hostile texts, {refused} refused");
}

fn set_field(m: &mut Manifest, field: usize, text: &str) {
    let origin = &mut m.origins[0];
    match field {
        0 => origin.home = text.into(),
        1 => origin.project = text.into(),
        2 => origin.claude_dir = text.into(),
        3 => origin.slug = text.into(),
        4 => m.project.subdir = text.into(),
        5 => m.project.name = text.into(),
        6 => m.project.below_home = Some(text.into()),
        7 => m.project.remotes = vec![text.into()],
        8 => m.project.root_commit = text.into(),
        _ => {}
    }
}

fn record_with(field: usize, text: &str) -> String {
    let text = serde_json::Value::from(text);
    match field {
        9 => format!("{{\"type\":\"user\",\"cwd\":{text},\"uuid\":\"u\"}}\n"),
        10 => format!("{{\"type\":\"relocated\",\"relocatedCwd\":{text},\"sessionId\":{text}}}\n"),
        11 => format!(
            "{{\"type\":\"file-history-snapshot\",\"snapshot\":{{\"trackedFileBackups\":{{{text}:{{\"backupFileName\":{text},\"realParentDir\":{text}}}}}}}}}\n"
        ),
        12 => format!(
            "{{\"type\":\"file-history-delta\",\"trackingPath\":{text},\"backup\":{{\"backupFileName\":{text},\"version\":1}}}}\n"
        ),
        _ => "{\"cwd\":\"/home/eve/p\",\"x\":\"../../etc\"}\n".to_owned(),
    }
}

/// Slots beyond those there are, and bytes that name none.
#[test]
fn k_a09_an_unknown_kind_of_file_makes_the_whole_bundle_unreadable() {
    let b = World::in_memory("bob");
    let code = project(&b, "code/p2");
    let line: &[u8] = b"{\"a\":1}\n";
    let known = hostile(&b, |_| {}, &[line]);
    let bytes = b.store.get_chunk(&known.manifest.id).unwrap().unwrap();
    let manifest = Manifest::from_bytes(&bytes).unwrap();
    // The slot's number is the byte that differs between two kinds.
    let other = Manifest {
        files: vec![FileEntry {
            slot: Slot::TaskHighWater,
            ..manifest.files[0].clone()
        }],
        ..manifest
    };
    let at = bytes
        .iter()
        .zip(&other.to_bytes())
        .position(|(a, b)| a != b)
        .unwrap();
    let before = files(b.dir.path());
    let mut refused = 0;
    for kind in 10..=127u8 {
        let mut unknown = bytes.clone();
        unknown[at] = kind;
        let id = ChunkId::of(&unknown);
        let len = u32::try_from(unknown.len()).unwrap();
        // Not even the store takes it for complete.
        if b.store.put_chunks(&[(id, unknown)]).is_err() {
            refused += 1;
            continue;
        }
        let version = Version {
            id: known.id,
            manifest: ContentRef { id, len },
        };
        let placed = put(&b, &asked(version, &code));
        assert!(
            matches!(
                placed,
                Err(PlaceError::Unreadable | PlaceError::Malformed(_))
            ),
            "{kind}: {placed:?}"
        );
        refused += 1;
    }
    assert_eq!(refused, 118);
    let only_the_store = |(name, _): &(&String, &Vec<u8>)| !name.starts_with("bob/ccpeer/");
    assert!(
        files(b.dir.path())
            .iter()
            .filter(only_the_store)
            .eq(before.iter().filter(only_the_store))
    );
}

/// Reads everything over and over while sessions are placed and taken back.
#[test]
fn k_a04_nobody_ever_sees_a_part() {
    let applies = match std::env::var_os("CCPEER_HOSTILE") {
        Some(_) => 200,
        None => 20,
    };
    let mut pair = Pair::small();
    let (work, code) = (project(&pair.a, "work/proj"), project(&pair.b, "code/p2"));
    let (main_a, main_b) = (pair.main(&pair.a, &work), pair.main(&pair.b, &code));
    let one = pair.carry(true);
    append(&main_a, &turn(&work, 1));
    let task = pair.a.claude().join(format!("tasks/{FULL}/1.json"));
    fs::write(task, "{\"id\":\"1\",\"status\":\"completed\"}").unwrap();
    let two = pair.carry(true);
    let asked = [request(&pair, one, &code), request(&pair, two, &code)];
    // Every form that a file may be seen in.
    let mut forms: BTreeMap<String, BTreeSet<Vec<u8>>> = BTreeMap::new();
    let mut whole = Vec::new();
    for request in &asked {
        put(&pair.b, request).unwrap();
        let now = seen(pair.b.claude());
        for (name, content) in &now {
            forms
                .entry(name.clone())
                .or_default()
                .insert(content.clone());
        }
        whole.push(now.len());
    }
    undo(&pair.b.store, &pair.b.home).unwrap();
    undo(&pair.b.store, &pair.b.home).unwrap();

    let (done, looks) = (AtomicBool::new(false), AtomicU64::new(0));
    let main_name = main_b.strip_prefix(pair.b.claude()).unwrap();
    let main_name = main_name.to_str().unwrap();
    let began = std::time::Instant::now();
    std::thread::scope(|scope| {
        let observer = scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                // One and the same transcript before and after the look: whatever
                // was placed with it was there all the time in between.
                let main = which(&main_b);
                let now = seen(pair.b.claude());
                for (name, content) in &now {
                    let known = forms.get(name).is_some_and(|f| f.contains(content));
                    assert!(known, "{name} is seen in part: {} bytes", content.len());
                }
                if main.is_some() && main == which(&main_b) && now.contains_key(main_name) {
                    assert!(
                        now.len() >= whole[0],
                        "the transcript is there before the rest"
                    );
                }
                looks.fetch_add(1, Ordering::Relaxed);
            }
        });
        for _ in 0..applies / 2 {
            for request in &asked {
                put(&pair.b, request).unwrap();
            }
            undo(&pair.b.store, &pair.b.home).unwrap();
            undo(&pair.b.store, &pair.b.home).unwrap();
        }
        done.store(true, Ordering::Release);
        observer.join().unwrap();
    });
    let (looks, took) = (looks.into_inner(), began.elapsed());
    let rate = looks as f64 / took.as_secs_f64();
    println!("{applies} placements, {looks} looks at everything in {took:?}: {rate:.0} a second");
    assert!(looks > 20);
}

/// Which file has a name now: it, and when it was written.
fn which(path: &Path) -> Option<crate::confined::Stamp> {
    fs::metadata(path)
        .ok()
        .map(|m| crate::confined::Stamp::of(&m))
}

/// What can be seen by its name, as somebody reads it who opens each file once.
fn seen(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    fn walk(base: &Path, dir: &Path, out: &mut BTreeMap<String, Vec<u8>>) {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let path = entry.path();
            if entry.file_name().to_string_lossy().starts_with(".ccpeer") {
                continue;
            }
            if path.is_dir() {
                walk(base, &path, out);
            } else if let Ok(content) = fs::read(&path) {
                let name = path.strip_prefix(base).unwrap().to_str().unwrap();
                out.insert(name.to_owned(), content);
            }
        }
    }
    let mut out = BTreeMap::new();
    walk(dir, dir, &mut out);
    out
}

/// The rule of decision 0011: placed as it is, and told.
#[test]
fn an_open_tool_call_at_the_end_is_told() {
    let b = World::in_memory("bob");
    let code = project(&b, "code/p2");
    let call = |id: &str| {
        format!(
            "{{\"type\":\"assistant\",\"uuid\":\"{id}\",\"parentUuid\":null,\"message\":{{\"role\":\"assistant\",\"content\":[{{\"type\":\"tool_use\",\"id\":\"toolu_{id}\",\"name\":\"Bash\",\"input\":{{\"command\":\"id\"}}}}]}}}}\n"
        )
    };
    let answer = "{\"type\":\"user\",\"uuid\":\"u2\",\"parentUuid\":\"u1\",\"message\":{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"toolu_u1\",\"content\":\"x\"}]}}\n";
    let (closed, open) = ([&call("u1"), answer].concat(), call("u1"));
    for (text, told) in [(closed, 0), (open, 1)] {
        let version = by_hand(&b, |_| {}, &[text.as_bytes()]);
        let placed = put(&b, &asked(version, &code)).unwrap();
        assert_eq!(placed.dropped.len(), told, "{:?}", placed.dropped);
        assert_eq!(fs::read_to_string(main_of_b(&b, &code)).unwrap(), text);
        undo(&b.store, &b.home).unwrap();
    }
}

/// The largest line that is placed, and one that is not.
#[test]
fn k_j07_a_line_beyond_the_limit_is_refused_as_a_whole() {
    let b = World::in_memory("bob");
    let code = project(&b, "code/p2");
    let before = files(b.claude());
    let text = vec![b'x'; limits::CHUNK_BYTES_MAX];
    let count = limits::PLACED_LINE_BYTES_MAX / limits::CHUNK_BYTES_MAX + 1;
    let keep = |bytes: &[u8]| {
        let id = ChunkId::of(bytes);
        b.store.put_chunks(&[(id, bytes.to_vec())]).unwrap();
        let len = u32::try_from(bytes.len()).unwrap();
        ChunkRef { id, len }
    };
    let mut tail = vec![keep(SAID), keep(b"{\"cwd\":\"/home/eve/p\",\"x\":\"")];
    tail.extend(vec![keep(&text); count]);
    tail.push(keep(b"\"}\n"));
    let len = tail.iter().map(|c| u64::from(c.len)).sum();
    let version = hostile(
        &b,
        |m| {
            m.files[0].segments = vec![Segment {
                origin: 0,
                len,
                pages: Vec::new(),
                tail,
            }];
        },
        &[b"{}\n"],
    );
    let placed = put(&b, &asked(version, &code));
    assert!(matches!(placed, Err(PlaceError::LongLine)), "{placed:?}");
    assert_eq!(files(b.claude()), before, "nothing is left of it");
}
