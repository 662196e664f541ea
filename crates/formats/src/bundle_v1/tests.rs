//! Bundles, there and back; what the other program computes; what nobody honest
//! writes.

use std::io::Write as _;

use ccpeer_core::id::SessionId;
use ccpeer_core::manifest::{Origin, PathFlavour, Slot, SlotName};
use ccpeer_core::time::Timestamp;
use sha2::{Digest as _, Sha256};

use super::*;

const ID: &str = "00000000-0000-4000-8000-000000000001";

fn id() -> SessionId {
    ID.parse().unwrap()
}

fn packed(document: &str) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(document.as_bytes()).unwrap();
    gzip.finish().unwrap()
}

/// A bundle with this text as its session.
fn around(session: &str) -> Vec<u8> {
    let sum = hex(&Sha256::digest(session.as_bytes()));
    packed(&format!(
        "{{\"version\":\"1\",\"exportedAt\":\"2026-06-06T00:00:00.000Z\",\"sourceDevice\":\"desk\",\
         \"updatedAt\":\"2026-06-06T00:00:00.000Z\",\"session\":{session},\"checksum\":\"{sum}\"}}"
    ))
}

fn unpacked(bytes: &[u8]) -> String {
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::MultiGzDecoder::new(bytes), &mut text)
        .unwrap();
    text
}

fn origin() -> Origin {
    Origin {
        flavour: PathFlavour::Unix,
        home: "/home/ann".into(),
        project: "/home/ann/code/app".into(),
        claude_dir: "/home/ann/.claude".into(),
        slug: "-home-ann-code-app".into(),
    }
}

fn about() -> Description {
    Description {
        session: id(),
        device: "desk".into(),
        exported: Timestamp(1_800_000_000_000),
        updated: Timestamp(1_700_000_000_123),
        project: Project {
            name: "app".into(),
            below_root: Some("code/app".into()),
            path: String::new(),
        },
    }
}

fn write(origin: Option<&Origin>, files: &[(Slot, &[u8])]) -> Vec<u8> {
    let mut writer = Writer::new(&about(), origin);
    let mut out = Vec::new();
    for (slot, content) in files {
        writer.begin(slot).unwrap();
        for piece in content.chunks(7) {
            writer.push(piece);
            out.extend(writer.take());
        }
    }
    out.extend(writer.finish());
    out
}

fn open(packed: &[u8]) -> (Bundle<'_>, Vec<Warning>) {
    Bundle::open(packed, Some(id()), Bounds::default()).unwrap()
}

#[test]
fn what_is_written_is_read() {
    let history = Slot::FileHistory {
        path_hash: [0xab; 8],
        version: 3,
    };
    let main = "{\"type\":\"user\",\"message\":{\"role\":\"user\",\"content\":\"hi é\u{1f600} /home/ann/code/app/x\"},\"cwd\":\"/home/ann/code/app\"}\n{\"a\":\"/home/ann/.claude\"}\r\n";
    let files: Vec<(Slot, &[u8])> = vec![
        (Slot::Main, main.as_bytes()),
        (
            Slot::Subagent(SlotName::new("a1").unwrap()),
            b"{\"b\":\"/home/ann\"}\n",
        ),
        (Slot::Todo(SlotName::new("x").unwrap()), b"[ ]\n"),
        (history.clone(), b"\0\x01\x02\xff"),
    ];
    let bytes = write(Some(&origin()), &files);
    let (bundle, warnings) = open(&bytes);
    assert_eq!(warnings, []);
    assert_eq!(
        bundle.head().first_prompt,
        "hi é\u{1f600} ${PROJECT_ROOT}/x"
    );
    assert_eq!(bundle.head().project.path, "${HOME}/code/app");
    let slots: Vec<_> = bundle.files().iter().map(|f| f.slot.clone()).collect();
    assert_eq!(
        slots,
        files.iter().map(|(s, _)| s.clone()).collect::<Vec<_>>()
    );
    for (file, (slot, content)) in bundle.files().iter().zip(&files) {
        let found = bundle.file(slot).unwrap();
        assert_eq!(found.len() as u64, file.bytes);
        let mut restored = found.clone();
        if tokens::has_tokens(slot) {
            restored.clear();
            let mut restorer = tokens::Restorer::new(&origin());
            for piece in found.chunks(5) {
                restorer.push(piece, &mut restored);
            }
            restorer.finish(&mut restored);
        }
        assert_eq!(
            String::from_utf8_lossy(&restored),
            String::from_utf8_lossy(content)
        );
    }
    assert!(!unpacked(&bytes).contains("ann"));
}

/// What `make.mjs` beside it has written.
fn golden(name: &str) -> Vec<u8> {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/bundle_v1");
    std::fs::read(dir.join(name)).unwrap()
}

#[test]
fn what_the_other_program_writes_is_read() {
    let sums: serde_json::Value = serde_json::from_slice(&golden("checksums.json")).unwrap();
    for name in ["plain", "split", "odd"] {
        let bytes = golden(&format!("{name}.bundle.gz"));
        let (bundle, warnings) = open(&bytes);
        assert_eq!(
            bundle.head().checksum,
            sums[name].as_str().unwrap(),
            "{name}"
        );
        let refused = match name {
            // `abc@v1` and the like are no names of files that Claude Code keeps.
            "plain" => 1,
            "split" => 3,
            _ => 0,
        };
        assert_eq!(warnings.len(), refused, "{name}: {warnings:?}");
        // Its text is what we would make of it, too.
        let document = unpacked(&bytes);
        assert_eq!(canonical(&document).unwrap(), document, "{name}");
    }
    let bytes = golden("split.bundle.gz");
    assert!(open(&bytes).0.head().first_prompt.ends_with('\u{fffd}'));
    let bytes = golden("odd.bundle.gz");
    let (odd, _) = open(&bytes);
    assert_eq!(odd.head().project.below_root, None);
    let main = String::from_utf8(odd.file(&Slot::Main).unwrap()).unwrap();
    assert_eq!(
        main,
        "{\"a\":\"\\ud83d\",\"b\":\"${HOME}\\\\x\",\"c\":1.0}\r\n\
         no json \u{fffd} \u{2028}\u{7}\n\
         {\"type\":\"user\",\"message\":{\"role\":\"user\",\"content\":[{\"text\":\"two\"},{\"text\":\"words\"}]}}\n"
    );
    let history = |version| Slot::FileHistory {
        path_hash: [0, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0xff],
        version,
    };
    assert_eq!(odd.file(&history(1)).unwrap(), [0, 255, 13, 10]);
    assert!(odd.file(&history(12)).unwrap().is_empty());
    assert_eq!(odd.files().len(), 6);
    let of = tokens::origin_of(odd.head());
    assert_eq!(
        (of.flavour, of.home.as_str()),
        (PathFlavour::Windows, "C:\\Users\\bob")
    );
}

#[test]
fn json_is_what_javascript_makes_of_it() {
    let pairs: Vec<(String, String)> = serde_json::from_slice(&golden("canonical.json")).unwrap();
    assert!(pairs.len() > 200);
    for (from, to) in pairs {
        assert_eq!(canonical(&from).as_deref(), Ok(to.as_str()), "{from}");
    }
    for bad in [
        "",
        "{",
        "[1,]",
        "{\"a\":1,}",
        "01",
        "1.",
        ".5",
        "+1",
        "nul",
        "\"\u{1}\"",
        "\"\\x\"",
        "1 2",
        "\"\\u12\"",
    ] {
        assert!(canonical(bad).is_err(), "{bad}");
    }
    let deep = "[".repeat(100_000);
    assert!(matches!(canonical(&deep), Err(CanonicalError::TooDeep(_))));
}

#[test]
fn a_checksum_of_what_would_be_written_counts() {
    let spread = format!(
        " {{ \"messages\" : [ \"{{}}\" ] , \"sessionId\" : \"{ID}\" , \"2\" : 1.0 , \"1\" : 1e2 }}"
    );
    let sum = hex(&Sha256::digest(canonical(&spread).unwrap().as_bytes()));
    let bytes = packed(&format!(
        "{{\"version\":\"1\",\"checksum\":\"{sum}\",\"session\":{spread}}}"
    ));
    assert_eq!(open(&bytes).0.files().len(), 1);
}

fn refused(packed: &[u8]) -> OpenError {
    Bundle::open(packed, Some(id()), Bounds::default())
        .map(drop)
        .unwrap_err()
}

/// A session with one thing in it changed.
fn session(key: &str, value: &str) -> String {
    let mut out = String::from("{");
    for (name, usual) in [
        ("sessionId", format!("\"{ID}\"")),
        ("project", "{\"name\":\"app\"}".to_owned()),
        ("messages", "[\"{}\"]".to_owned()),
        ("agents", "{}".to_owned()),
        ("todos", "[]".to_owned()),
        ("fileHistory", "{}".to_owned()),
    ] {
        let value = if name == key { value } else { &usual };
        out.push_str(&format!("\"{name}\":{value},"));
    }
    out.push_str("\"meta\":{}}");
    out
}

#[test]
fn damage_is_refused_with_words() {
    let good = around(&session("", ""));
    open(&good);
    let twice = [good.as_slice(), &packed("")].concat();
    assert_eq!(open(&twice).0.files().len(), 1, "members follow each other");
    for len in 0..good.len() {
        assert!(
            Bundle::open(&good[..len], None, Bounds::default()).is_err(),
            "{len}"
        );
    }
    let text = unpacked(&good);
    let altered = packed(&text.replace("\"{}\"", "\"{ }\""));
    assert_eq!(refused(&altered), OpenError::Checksum);
    assert_eq!(
        refused(&packed(
            &text.replace("\"version\":\"1\"", "\"version\":\"2\"")
        )),
        OpenError::Version
    );
    assert!(matches!(
        refused(&packed(&format!("{text}x"))),
        OpenError::Fault(Fault::Malformed(_))
    ));
    assert!(matches!(
        refused(b"PK\x03\x04"),
        OpenError::Fault(Fault::Packing(_))
    ));
    assert_eq!(
        refused(&around(&session("messages", "[]"))),
        OpenError::NoTranscript
    );
    assert_eq!(
        refused(&around(&session("messages", "[1,null]"))),
        OpenError::NoTranscript
    );
    let doubled = session("", "").replace("\"meta\"", "\"messages\":[\"1\"],\"meta\"");
    assert!(matches!(
        refused(&around(&doubled)),
        OpenError::Fault(Fault::Malformed(_))
    ));
}

/// I1: the name of the session is where everything would lie.
#[test]
fn k_a01_a_session_is_named_by_its_uuid_or_not_at_all() {
    for bad in [
        "../../x",
        "",
        ".",
        "..",
        "/etc",
        "C:x",
        "00000000-0000-4000-8000-00000000000",
        "00000000-0000-4000-8000-00000000000G",
        "00000000-0000-4000-8000-00000000000A",
        "${HOME}",
        "00000000-0000-4000-8000-000000000001/../../x",
    ] {
        let bytes = around(&session("sessionId", &format!("\"{bad}\"")));
        assert_eq!(refused(&bytes), OpenError::Session, "{bad}");
    }
    for bad in ["1", "null", "[]", "{}"] {
        assert_eq!(
            refused(&around(&session("sessionId", bad))),
            OpenError::Session
        );
    }
    let other = Bundle::open(
        &golden("plain.bundle.gz"),
        Some(SessionId([7; 16])),
        Bounds::default(),
    )
    .map(drop);
    assert_eq!(other, Err(OpenError::OtherSession));
}

/// I2 and I3: names in a bundle.
#[test]
fn k_a01_hostile_names_are_left_out_and_told() {
    let names = [
        "../../../.bashrc",
        "/etc/passwd",
        "..\\..\\x",
        "C:\\x",
        "\\\\\\\\host\\\\x",
        "",
        ".",
        "..",
        "agent-.jsonl",
        "agent-a.jsonl/",
        "x/agent-a.jsonl",
        "agent-a/../b.jsonl",
        "agent-a.b.jsonl",
        "agent-con.jsonl",
        "agent-a.meta.json",
        "agent-a.jsonl.exe",
        "agent-a.jsonl\\u0000",
        "agent-\\u202ea.jsonl",
        "AGENT-a.jsonl",
        "11111111-0000-4000-8000-000000000001.jsonl",
        "00000000-0000-4000-8000-000000000001.jsonl",
        "00000000-0000-4000-8000-000000000001/subagents/agent-a.jsonl",
        "00000000-0000-4000-8000-000000000001.json",
        "00000000-0000-4000-8000-000000000001-agent-../x.json",
        "11111111-0000-4000-8000-000000000001-agent-x.json",
        "settings.json",
        "CLAUDE.md",
        ".mcp.json",
        "00112233445566ff",
        "00112233445566ff@v",
        "00112233445566ff@v-1",
        "00112233445566ff@v01",
        "00112233445566ff@v99999",
        "../00112233445566ff@v1",
        "a/00112233445566ff@v1",
        "a\\\\00112233445566ff@v1",
        "00112233445566FF@v1",
        "00112233445566ff@v1:x",
    ];
    let long = "a".repeat(100_000);
    for name in names.into_iter().chain([long.as_str()]) {
        let name = name
            .replace('\\', "\\\\")
            .replace("\\\\\\\\", "\\\\")
            .replace("\\\\u", "\\u");
        for (key, value) in [
            ("agents", format!("{{\"{name}\":\"\"}}")),
            (
                "todos",
                format!("[{{\"filename\":\"{name}\",\"content\":\"\"}}]"),
            ),
            ("fileHistory", format!("{{\"{name}\":\"\"}}")),
        ] {
            let bytes = around(&session(key, &value));
            let (bundle, warnings) = open(&bytes);
            let slots: Vec<_> = bundle.files().iter().map(|f| &f.slot).collect();
            assert_eq!(slots, [&Slot::Main], "{key} {name}");
            assert!(
                matches!(warnings[..], [.., Warning::Name { number: 1, .. }]),
                "{key} {name}: {warnings:?}"
            );
        }
    }
}

#[test]
fn k_a01_hostile_texts_stay_texts() {
    for text in [
        "../../x",
        "/etc",
        "C:\\\\x",
        "a\\u0000b",
        "\\u001b[31m",
        ".",
        "",
        "a/../b",
        "~",
        "CON",
    ] {
        let project = format!(
            "{{\"name\":\"{text}\",\"relativeToRoot\":\"{text}\",\"originalPath\":\"{text}\"}}"
        );
        let bytes = around(&session("project", &project));
        let (bundle, _) = open(&bytes);
        let project = &bundle.head().project;
        let below = project.below_root.as_deref();
        assert!(
            below.is_none_or(|b| b.split('/').all(|p| !matches!(p, "" | "." | ".."))),
            "{text}"
        );
        assert!(
            !project.name.contains(char::is_control) && !project.path.contains(char::is_control)
        );
        let of = tokens::origin_of(bundle.head());
        assert!(
            !of.project.contains("..") && !of.slug.contains(['/', '.']),
            "{of:?}"
        );
    }
}

#[test]
fn twins_floods_and_bombs_are_bounded() {
    let twins =
        r#"{"agent-a.jsonl":"1","agent-A.jsonl":"2","agent-a.jsonl":"3","agent-b.jsonl":4}"#;
    let bytes = around(&session("agents", twins));
    let (bundle, warnings) = open(&bytes);
    assert_eq!(bundle.files().len(), 2);
    let part = Part::Agents;
    let told = [2, 3].map(|number| Warning::Twin { part, number });
    assert_eq!(
        warnings,
        [told.as_slice(), &[Warning::Content { part, number: 4 }]].concat()
    );

    let many: Vec<String> = (0..200_000)
        .map(|n| format!("\"agent-{n}.jsonl\":\"\""))
        .collect();
    let bytes = around(&session("agents", &format!("{{{}}}", many.join(","))));
    let (bundle, warnings) = open(&bytes);
    assert_eq!(bundle.files().len(), FILES_MAX);
    assert!(warnings.len() <= WARNINGS_MAX + 1);

    let deep = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
    assert!(matches!(
        refused(&around(
            &session("extra", "").replace("\"meta\":{}", &format!("\"meta\":{{\"a\":{deep}}}"))
        )),
        OpenError::Fault(Fault::TooDeep(_))
    ));

    let bounds = Bounds {
        packed_bytes_max: 1 << 20,
        unpacked_bytes_max: 1 << 20,
    };
    let bomb = around(&session(
        "messages",
        &format!("[\"{}\"]", "a".repeat(8 << 20)),
    ));
    assert!(bomb.len() < 64 * 1024);
    assert_eq!(
        Bundle::open(&bomb, None, bounds).map(drop),
        Err(OpenError::Fault(Fault::TooLarge(1 << 20)))
    );
    assert_eq!(
        Bundle::open(&vec![0; (1 << 20) + 1], None, bounds).map(drop),
        Err(OpenError::TooLong((1 << 20) + 1))
    );
    // Whatever it unpacks to, what is given at once is small.
    let (bundle, _) = open(&bomb);
    let (mut sum, mut largest) = (0, 0);
    let given = bundle.contents(&mut |_, piece| {
        (sum, largest) = (sum + piece.len(), largest.max(piece.len()));
        true
    });
    assert_eq!((given, sum), (Ok(()), (8 << 20) + 1));
    assert!(largest <= 64 * 1024);
    assert_eq!(bundle.contents(&mut |_, _| false), Err(Fault::Stopped));
}

#[test]
fn tokens_stand_where_paths_begin_and_end() {
    let check = |from: &str, to: &str| {
        let mut out = Vec::new();
        let mut tokeniser = tokens::Tokeniser::new(&origin());
        for piece in from.as_bytes().chunks(3) {
            tokeniser.push(piece, &mut out);
        }
        tokeniser.finish(&mut out);
        assert_eq!(String::from_utf8_lossy(&out), to);
    };
    check(
        r#"{"a":"/home/ann/code/app/x"}"#,
        r#"{"a":"${PROJECT_ROOT}/x"}"#,
    );
    check(
        r#"{"a":"\/home\/ann\/code\/app\/x"}"#,
        r#"{"a":"${PROJECT_ROOT}\/x"}"#,
    );
    check(
        r#"{"a":"file:///home/ann/x"}"#,
        r#"{"a":"file://${HOME}/x"}"#,
    );
    check(
        r#"{"a":"{\"b\":\"/home/ann\"}"}"#,
        r#"{"a":"{\"b\":\"${HOME}\"}"}"#,
    );
    // P1, P2, P6: what only resembles a place, a shell's own words, names below
    // Claude Code's directory.
    let stays =
        r#"{"a":"/home/annika /home/ann2/x ${HOME} ${PROJECT_ROOT} $HOME -home-ann-code-app"}"#;
    check(stays, stays);
    check(
        r#"{"a":"/home/ann/code/app-extra"}"#,
        r#"{"a":"${HOME}/code/app-extra"}"#,
    );
    // P7: a root is no place.
    let root = Origin {
        home: "/".into(),
        ..origin()
    };
    let mut out = Vec::new();
    let mut tokeniser = tokens::Tokeniser::new(&root);
    tokeniser.push(b"{\"a\":\"/etc/x\"}\n", &mut out);
    assert_eq!(out, b"{\"a\":\"/etc/x\"}\n");
}

#[test]
fn tokens_become_paths_as_their_surroundings_spell_them() {
    let windows = Origin {
        flavour: PathFlavour::Windows,
        home: "C:\\Users\\bob".into(),
        project: "C:\\Users\\bob\\app".into(),
        claude_dir: "C:\\Users\\bob\\.claude".into(),
        slug: "C--Users-bob-app".into(),
    };
    let check = |of: &Origin, from: &str, to: &str| {
        for len in [1, 4, 1000] {
            let mut out = Vec::new();
            let mut restorer = tokens::Restorer::new(of);
            from.as_bytes()
                .chunks(len)
                .for_each(|piece| restorer.push(piece, &mut out));
            restorer.finish(&mut out);
            assert_eq!(String::from_utf8_lossy(&out), to);
        }
    };
    check(
        &origin(),
        r"${PROJECT_ROOT}/x $ ${HOME} ${HOM $${HOME}",
        r"/home/ann/code/app/x $ /home/ann ${HOM $/home/ann",
    );
    check(
        &windows,
        r#""${PROJECT_ROOT}\\x""#,
        r#""C:\\Users\\bob\\app\\x""#,
    );
    check(&windows, r#""${PROJECT_ROOT}""#, r#""C:\\Users\\bob\\app""#);
    check(&windows, r#""${HOME}/x""#, r#""C:/Users/bob/x""#);
    check(
        &windows,
        r#""{\"a\":\"${HOME}\"}""#,
        r#""{\"a\":\"C:\\\\Users\\\\bob\"}""#,
    );
    check(
        &windows,
        r#""{\"a\":\"${HOME}\\\\x\"}""#,
        r#""{\"a\":\"C:\\\\Users\\\\bob\\\\x\"}""#,
    );
}

#[test]
fn the_places_of_a_bundle_are_told_by_its_path() {
    let check = |path: &str, home: &str, project: &str| {
        let bytes = around(&session(
            "project",
            &format!(
                "{{\"name\":\"app\",\"originalPath\":{}}}",
                serde_json::to_string(path).unwrap()
            ),
        ));
        let of = tokens::origin_of(open(&bytes).0.head());
        assert_eq!(
            (of.home.as_str(), of.project.as_str()),
            (home, project),
            "{path}"
        );
    };
    check("/home/bob/x/app", "/home/bob", "/home/bob/x/app");
    check("/Users/bob/app", "/Users/bob", "/Users/bob/app");
    // In two parts: tidy takes it for a place of this machine.
    let root = ["/root", "app"].join("/");
    check(&root, "/root", &root);
    check(
        "C:\\Users\\bob\\app",
        "C:\\Users\\bob",
        "C:\\Users\\bob\\app",
    );
    check("${HOME}/code/app", "/home/desk", "/home/desk/code/app");
    check("/srv/app", "/home/desk", "/srv/app");
    for none in ["", "/", "app", "../app", "/a/../b"] {
        check(none, "/home/desk", "/home/desk/app");
    }
}

#[test]
fn names_around_a_bundle() {
    assert_eq!(
        names::path("my äpp\u{1f600}", &id()),
        format!("sessions/my__pp__/{ID}.bundle.gz")
    );
    for bad in ["", ".", ".."] {
        assert_eq!(names::directory(bad), "_");
    }
    assert_eq!(
        names::of_path(&names::path("app", &id())),
        Some(("app", id()))
    );
    for bad in [
        format!("sessions/../{ID}.bundle.gz"),
        format!("sessions/{ID}.bundle.gz"),
        format!("sessions/a/b/{ID}.bundle.gz"),
        format!("x/a/{ID}.bundle.gz"),
        "sessions/a/x.bundle.gz".to_owned(),
    ] {
        assert_eq!(names::of_path(&bad), None, "{bad}");
    }
    let label = names::label(&id(), "app", &format!("{}\u{1f600}b\nc", "x".repeat(49)));
    assert_eq!(label, format!("sync: 00000000 | app | {}", "x".repeat(49)));
}

#[test]
fn the_list_is_newest_first_and_each_session_once() {
    let listed = |n: u8, updated| http::Listed {
        session: SessionId([n; 16]),
        project: "a \"b\"".into(),
        first_prompt: "hi\nthere".into(),
        updated: Timestamp(updated),
    };
    let json = http::list(vec![listed(1, 1000), listed(2, 3000), listed(1, 2999)]);
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    let rows = value["bundles"].as_array().unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[1]["updatedAt"], "1970-01-01T00:00:02Z");
    assert_eq!(
        rows[0]["filename"],
        "02020202-0202-0202-0202-020202020202.bundle.gz"
    );
    assert_eq!(rows[0]["label"], "sync: 02020202 | a \"b\" | hi there");
    assert_eq!(http::list(Vec::new()), "{\"bundles\":[]}");
}

#[test]
fn settings_of_the_other_program() {
    let found = config::read(br#"{"deviceName":" desk\u001b ","projectsRoot":"C:/w","backend":"server","gitRepoUrl":"","serverUrl":"http://x","serverToken":"s"}"#).unwrap();
    assert_eq!(
        (found.device.as_str(), found.projects_root.as_str()),
        ("desk", "C:/w")
    );
    assert_eq!(
        (found.git_url, found.server_url.as_deref()),
        (None, Some("http://x"))
    );
    assert!(found.uses_server && found.has_token);
    assert_eq!(config::read(b"{}"), Some(config::Config::default()));
    assert_eq!(config::read(b"[]"), None);
}

#[test]
fn files_that_do_not_fit_are_refused_by_the_writer() {
    let mut writer = Writer::new(&about(), None);
    assert_eq!(writer.begin(&Slot::TaskHighWater), Err(WriteError::NoPlace));
    let todo = Slot::Todo(SlotName::new("x").unwrap());
    writer.begin(&todo).unwrap();
    assert_eq!(writer.begin(&todo), Err(WriteError::Order));
    assert_eq!(writer.begin(&Slot::Main), Err(WriteError::Order));
    assert_eq!(
        writer.begin(&Slot::Subagent(SlotName::new("x").unwrap())),
        Err(WriteError::Order)
    );
    let bytes = writer.finish();
    assert_eq!(refused(&bytes), OpenError::NoTranscript);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    /// What is written is read, and its checksum is that of JavaScript.
    #[test]
    fn any_content_comes_back(
        lines in proptest::collection::vec("[^\n]{0,40}", 1..8),
        agent in "[^\n]{0,20}",
        todo in "(?s).{0,40}",
        history in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..40),
        cut in 1_usize..9,
    ) {
        let slots = [
            Slot::Main,
            Slot::Subagent(SlotName::new("a").unwrap()),
            Slot::Todo(SlotName::new("t").unwrap()),
            Slot::FileHistory { path_hash: [1; 8], version: 1 },
        ];
        let main: String = lines.iter().map(|l| format!("{l}\n")).collect();
        let kept: String = lines.iter().filter(|l| !l.trim_ascii().is_empty()).map(|l| format!("{l}\n")).collect();
        let agent = format!("x{agent}\n");
        let contents = [main.as_bytes(), agent.as_bytes(), todo.as_bytes(), &history];
        let mut writer = Writer::new(&about(), None);
        for (slot, content) in slots.iter().zip(contents) {
            writer.begin(slot).unwrap();
            content.chunks(cut).for_each(|piece| writer.push(piece));
        }
        let bytes = writer.finish();
        let document = unpacked(&bytes);
        proptest::prop_assert_eq!(&canonical(&document).unwrap(), &document);
        if kept.is_empty() {
            return Ok(());
        }
        let (bundle, warnings) = open(&bytes);
        proptest::prop_assert_eq!(warnings, vec![]);
        let want = [kept.as_bytes(), agent.as_bytes(), todo.as_bytes(), &history];
        for (slot, want) in slots.iter().zip(want) {
            let found = bundle.file(slot).unwrap();
            proptest::prop_assert_eq!(String::from_utf8_lossy(&found), String::from_utf8_lossy(want));
        }
    }
}

#[test]
fn queries_of_the_other_program() {
    let pushed = http::pushed(&format!("project=my+%C3%A4pp&filename={ID}.bundle.gz"));
    assert_eq!(pushed.unwrap().project, "my äpp");
    for (query, why) in [
        ("", http::Refusal::FileName),
        (
            "project=x&filename=..%2Fx.bundle.gz",
            http::Refusal::FileName,
        ),
        ("project=x&filename=%zz", http::Refusal::FileName),
        (&format!("filename={ID}.bundle.gz"), http::Refusal::Project),
        (
            &format!("project=%00&filename={ID}.bundle.gz"),
            http::Refusal::Project,
        ),
    ] {
        assert_eq!(http::pushed(query), Err(why), "{query}");
    }
    assert_eq!(
        http::Refusal::NotFound.body(),
        "{\"error\":\"bundle not found\"}"
    );
    let prefix = http::prefix("0000%30-").unwrap();
    assert!(!http::begins(&id(), &prefix) && http::begins(&id(), "00000000-"));
    for bad in ["", "%25", "_", "%", "g", &"0".repeat(37)] {
        assert_eq!(http::prefix(bad), None, "{bad}");
    }
}
