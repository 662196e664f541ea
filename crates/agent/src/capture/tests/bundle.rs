//! The whole bundle: every file of a real session is captured byte for byte, or
//! is one of those that are not carried, because…; and what nobody knows.

use super::*;
use crate::capture::opaque::{self, Left};
use ccpeer_core::manifest::OpaqueName;
use ccpeer_formats::claude::shape::{Shape, Verdict};
use std::collections::BTreeMap;

/// Files of the fixtures that are not carried, and why.
const NOT_CARRIED: [(&str, &str); 3] = [
    (
        "custom-title.json",
        "the record in the transcript says it better",
    ),
    (".lock", "a lock of that machine"),
    (
        "history.jsonl",
        "what was typed on that machine, in all projects",
    ),
];

fn tree(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut out = BTreeMap::new();
    for entry in fs::read_dir(dir).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            out.extend(tree(&path));
        } else {
            let content = fs::read(&path).unwrap();
            out.insert(path, content);
        }
    }
    out
}

fn write(world: &World, below: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = world
        .claude()
        .join(below.replace("SID", FULL).replace("SLUG", FULL_SLUG));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, content).unwrap();
    path
}

fn slot(label: &str) -> Slot {
    Slot::Opaque(OpaqueName::new(label).unwrap())
}

fn labels(manifest: &Manifest) -> Vec<&str> {
    opaque::labels(&manifest.files)
        .map(OpaqueName::as_str)
        .collect()
}

#[test]
fn every_file_of_every_version_is_captured_or_known_not_to_be() {
    let fixtures = [
        "branches",
        "chinese",
        "compacted",
        "diverged",
        "full",
        "print-fork",
        "v2.1.197",
        "v2.1.54",
    ];
    let mut seen = [0; NOT_CARRIED.len()];
    for name in fixtures {
        let world = World::new("ann");
        fixture(world.claude(), name);
        let mut left = tree(world.claude());
        let sessions = scan::all_sessions(&world.home);
        assert!(!sessions.is_empty(), "{name}");
        for found in sessions {
            let (_, manifest) = state(&world, found.session, 1);
            for file in &manifest.files {
                assert_eq!(file.slot.opaque(), None, "{name}: all kinds are known");
                let place = layout::path_of(&file.slot, &found.session, &found.slug).unwrap();
                let path = place
                    .iter()
                    .fold(world.claude().to_owned(), |p, n| p.join(n));
                let source = left.remove(&path).expect("a file of the fixture, once");
                assert!(
                    bytes(&world, &manifest, &file.slot) == source,
                    "{name}: {path:?}"
                );
            }
        }
        for path in left.into_keys() {
            let file = path.file_name().unwrap().to_str().unwrap();
            let at = NOT_CARRIED.iter().position(|(n, _)| *n == file);
            seen[at.unwrap_or_else(|| panic!("{name}: {path:?} is left behind"))] += 1;
        }
    }
    assert!(
        seen.iter().all(|n| *n > 0),
        "a reason that is not needed any more"
    );
}

#[test]
fn every_plan_of_a_session_is_captured_and_no_other() {
    let (world, session, main) = full();
    let mut text = Vec::new();
    for (n, slug) in ["calm-river", "hazy-fox", "../../settings", "calm-river"]
        .iter()
        .enumerate()
    {
        let turn = String::from_utf8(turn(900 + n as u32)).unwrap();
        text.extend(
            turn.replace("\"cwd\"", &format!("\"slug\":\"{slug}\",\"cwd\""))
                .bytes(),
        );
    }
    append(&main, &text);
    for plan in [
        "calm-river",
        "hazy-fox",
        "hazy-fox-agent-a4b3b560934ad2f5e",
        "hazy-fox-agent-zz",
        "other",
    ] {
        write(&world, &format!("plans/{plan}.md"), plan);
    }
    let (_, manifest) = state(&world, session, 1);
    let plans: Vec<&str> = manifest
        .files
        .iter()
        .filter_map(|f| match &f.slot {
            Slot::Plan(name) => Some(name.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(
        plans,
        ["calm-river", "hazy-fox", "hazy-fox-agent-a4b3b560934ad2f5e"]
    );
}

#[test]
fn what_nobody_knows_is_carried_as_it_is() {
    let (world, session, _) = full();
    let odd = b"\x00\xff/home/ann/fx/full/work/proj\n";
    write(&world, "projects/SLUG/SID/workflows/run-1/state.json", "{}");
    write(
        &world,
        "projects/SLUG/SID/subagents/workflows/agent-a1.jsonl",
        "x\n",
    );
    write(&world, "projects/SLUG/SID/subagents/agent-a1.sqlite", odd);
    write(&world, "projects/SLUG/SID/tool-results/pic.png", odd);
    write(&world, "projects/SLUG/SID/resume-head.jsonl", "a cache");
    write(&world, "projects/SLUG/SID/.DS_Store", "junk");
    write(&world, "projects/SLUG/SID/workflows/run-1/x.lock", "");
    write(&world, "tasks/SID/7.md", "seven");
    write(&world, "file-history/SID/index.json", "");
    // Not the session's alone, or not a session's at all.
    write(&world, "projects/SLUG/memory/MEMORY.md", "remember");
    write(&world, "session-env/SID/hook-1.sh", "export SECRET=1");
    write(&world, "todos/SID-agent-x.y.json", "[]");
    write(&world, "novelties/SID/x.json", "{}");
    write(
        &world,
        "tasks/19f5450b-6242-4b90-8427-eefda48f04aa/7.md",
        "another's",
    );
    let (_, manifest) = state(&world, session, 1);
    assert_eq!(
        labels(&manifest),
        [
            "file-history:index.json",
            "session:subagents:agent-a1.sqlite",
            "session:subagents:workflows:agent-a1.jsonl",
            "session:tool-results:pic.png",
            "session:workflows:run-1:state.json",
            "tasks:7.md",
        ]
    );
    assert_eq!(
        bytes(&world, &manifest, &slot("session:tool-results:pic.png")),
        odd
    );
    assert!(matches!(run(&world, session), Captured::Unchanged { .. }));

    // Changed, it is a new version; gone, it stays.
    write(&world, "tasks/SID/7.md", "seven and more");
    fs::remove_dir_all(
        world
            .claude()
            .join(format!("projects/{FULL_SLUG}/{FULL}/workflows")),
    )
    .unwrap();
    let (_, manifest) = state(&world, session, 2);
    assert_eq!(labels(&manifest).len(), 6);
    assert_eq!(
        bytes(&world, &manifest, &slot("tasks:7.md")),
        b"seven and more"
    );
    assert_eq!(
        bytes(
            &world,
            &manifest,
            &slot("session:workflows:run-1:state.json")
        ),
        b"{}"
    );
}

#[test]
fn what_exceeds_the_bounds_stays_and_is_told() {
    let (world, session, _) = full();
    let dir = format!("projects/{FULL_SLUG}/{FULL}");
    let deep = "d/".repeat(limits::OPAQUE_DEPTH_MAX);
    write(&world, &format!("{dir}/{deep}fits.bin"), "x");
    write(&world, &format!("{dir}/{deep}d/too-deep.bin"), "x");
    let long = write(&world, &format!("{dir}/long.bin"), "");
    fs::File::options()
        .write(true)
        .open(long)
        .unwrap()
        .set_len(limits::OPAQUE_FILE_BYTES_MAX + 1)
        .unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink("/etc/passwd", world.claude().join(&dir).join("link")).unwrap();
    let root = Root::open(world.claude()).unwrap().unwrap();
    let look = || opaque::survey(&root, &session, FULL_SLUG);
    let why =
        |survey: &opaque::Survey, why: Left| survey.left.iter().filter(|(_, w)| *w == why).count();
    let survey = look();
    assert_eq!(survey.files.len(), 1, "{survey:?}");
    assert_eq!((why(&survey, Left::Deep), why(&survey, Left::Long)), (1, 1));
    assert_eq!(why(&survey, Left::Odd), usize::from(cfg!(unix)));

    for n in 0..limits::OPAQUE_FILES_MAX + 20 {
        write(&world, &format!("{dir}/many/{n:04}"), "x");
    }
    let survey = look();
    assert_eq!(survey.files.len(), limits::OPAQUE_FILES_MAX);
    assert_eq!(why(&survey, Left::Many), 21);
    let (_, manifest) = state(&world, session, 1);
    assert_eq!(labels(&manifest).len(), limits::OPAQUE_FILES_MAX);

    // What was carried gives way to what is there now, and never the reverse.
    fs::remove_dir_all(world.claude().join(&dir).join("many")).unwrap();
    for n in 0..10 {
        write(&world, &format!("{dir}/new/{n}"), "y");
    }
    let (_, manifest) = state(&world, session, 2);
    let labels = labels(&manifest);
    assert_eq!(labels.len(), limits::OPAQUE_FILES_MAX);
    assert_eq!(labels.iter().filter(|l| l.contains(":new:")).count(), 10);
}

#[test]
fn so_many_files_that_a_manifest_cannot_hold_them_cost_the_unknown_ones_first() {
    let (world, session, _) = full();
    let (_, mut manifest) = state(&world, session, 1);
    let file = |slot| FileEntry {
        slot,
        segments: Vec::new(),
        modified: Timestamp(9),
    };
    manifest.files.push(file(slot("session:x")));
    let room = limits::MANIFEST_SLOTS_MAX + 1 - manifest.files.len();
    manifest.files.extend((0..room).map(|n| {
        let n = u32::try_from(n).unwrap();
        file(Slot::FileHistory {
            path_hash: [0; 8],
            version: n,
        })
    }));
    manifest.files.sort_by(|a, b| a.slot.cmp(&b.slot));
    assert!(fit(&mut manifest).is_some());
    assert_eq!(labels(&manifest), [""; 0]);
}

/// A transcript that is not one any more: every byte is kept, and nothing fails.
#[test]
fn a_transcript_of_another_format_is_kept_byte_for_byte() {
    let gz: Vec<u8> = [
        b"\x1f\x8b\x08\x00".as_slice(),
        &crate::testing::noise(5, 70_000),
    ]
    .concat();
    let ends_in_a_brace = [gz.as_slice(), b"\n{\x00\x01"].concat();
    for content in [
        gz.clone(),
        ends_in_a_brace,
        b"SQLite format 3\0no line at all".to_vec(),
    ] {
        let (world, session, main) = full();
        let (_, before) = state(&world, session, 1);
        fs::write(&main, &content).unwrap();
        let (version, manifest) = state(&world, session, 2);
        assert!(bytes(&world, &manifest, &Slot::Main) == content);
        assert_eq!(
            before.files.len(),
            manifest.files.len(),
            "the rest is there"
        );
        assert_eq!(version.meta.bytes, content.len() as u64);
        assert!(matches!(run(&world, session), Captured::Unchanged { .. }));
        // It grows like any other.
        append(&main, b"\x02more");
        let (_, manifest) = state(&world, session, 3);
        assert!(bytes(&world, &manifest, &Slot::Main) == [&content[..], b"\x02more"].concat());
        let mut shape = Shape::default();
        shape.feed(&content);
        assert_eq!(shape.verdict(), Verdict::Foreign { version: None });
    }
}

/// A record that is being written is still none, whatever the file begins with.
#[test]
fn a_torn_record_waits_also_behind_rubbish() {
    let (world, session, main) = full();
    let whole = [b"rubbish\n".as_slice(), &turn(1)].concat();
    fs::write(
        &main,
        [
            &whole[..],
            "{\"type\":\"user\",\"text\":\"\u{6587}".as_bytes(),
        ]
        .concat(),
    )
    .unwrap();
    let (_, manifest) = state(&world, session, 1);
    assert!(bytes(&world, &manifest, &Slot::Main) == whole);
}
