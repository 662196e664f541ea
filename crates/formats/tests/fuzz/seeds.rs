//! What the corpora are made from: records as Claude Code writes them, in small,
//! and what nobody honest writes.

use ccpeer_core::id::{ChunkId, SessionId};
use ccpeer_core::manifest::{
    ChunkRef, FileEntry, ListPage, MANIFEST_VERSION, Manifest, OpaqueName, Origin, PathFlavour,
    ProjectIdentity, Segment, Slot, SlotName,
};
use ccpeer_core::time::Timestamp;

type Seeds = Vec<(&'static str, Vec<u8>)>;

const SESSION: &str = "e47fe3ca-2b33-4853-b61e-4bb21fa16e3a";

/// A manifest with every slot, and the same with names that lead elsewhere.
pub(crate) fn manifests() -> Seeds {
    let good = manifest().to_bytes();
    let page = ListPage {
        version: MANIFEST_VERSION,
        refs: vec![chunk(); 64],
    };
    let mut seeds = vec![
        ("good", good.clone()),
        ("good-small", small(Slot::Main).to_bytes()),
        ("bad-page", ccpeer_core::codec::encode(&page)),
        ("bad-empty", Vec::new()),
        ("bad-version", [&[9], &good[1..]].concat()),
        ("bad-trailing", [good.as_slice(), &[0]].concat()),
        ("bad-cut", good[..good.len() * 2 / 3].to_vec()),
        ("bad-ones", vec![1; 2000]),
    ];
    // A slot of a kind that does not exist: settings, hooks, anything.
    let kind = 17 + good_head_len();
    let mut unknown = small(Slot::Main).to_bytes();
    if let Some(byte) = unknown.get_mut(kind) {
        *byte = 10;
    }
    seeds.push(("bad-kind", unknown));
    let hostile = [
        ("bad-up", "../../../../x1"),
        ("bad-absolute", "/etc/cron.d/xx"),
        ("bad-drive", "C:\\Windows\\xxx"),
        ("bad-unc", "\\\\host\\share\\x"),
        ("bad-device", "\\??\\GLOBALROOT"),
        ("bad-stream", "name.txt::$DAT"),
        ("bad-reserved", "CON.aaaaaaaaaa"),
        ("bad-super", "COM\u{b9}.aaaaaaaa"),
        ("bad-dot", "aaaaaaaaaaaaa."),
        ("bad-space", "aaaaaaaaaaaaa "),
        ("bad-nul", "aaaaaa\0aaaaaaa"),
        ("bad-hidden", ".claude.json.x"),
        ("bad-rtl", "a\u{202e}txt.exe.aa"),
        ("bad-line", "aaaaaa\naaaaaaa"),
    ];
    for (name, text) in hostile {
        assert_eq!(text.len(), PLAIN.len(), "{name}");
        let bytes = small(Slot::ToolResult(SlotName::new(PLAIN).unwrap())).to_bytes();
        let at = memchr::memmem::find(&bytes, PLAIN.as_bytes()).unwrap();
        let mut bytes = bytes;
        bytes[at..at + text.len()].copy_from_slice(text.as_bytes());
        seeds.push((name, bytes));
    }
    let labels = [
        ("good-label", LABEL),
        ("bad-label-up", "session:..:..:x"),
        ("bad-label-path", "session/../../x"),
        ("bad-label-root", "/etc/cron.d:xxx"),
        ("bad-label-hidden", "session:.git:xx"),
        ("bad-label-drive", "C:\\Windows\\xxxx"),
        ("bad-label-whole", "sessionaaaaaaaa"),
    ];
    for (name, text) in labels {
        assert_eq!(text.len(), LABEL.len(), "{name}");
        let mut bytes = small(Slot::Opaque(OpaqueName::new(LABEL).unwrap())).to_bytes();
        let at = memchr::memmem::find(&bytes, LABEL.as_bytes()).unwrap();
        bytes[at..at + text.len()].copy_from_slice(text.as_bytes());
        seeds.push((name, bytes));
    }
    seeds
}

/// Takes the place of a hostile label of the same length.
const LABEL: &str = "session:aaaaaaa";

/// Takes the place of a hostile name of the same length.
const PLAIN: &str = "aaaaaaaaaaaaaa";

fn good_head_len() -> usize {
    // Origins, project and the count of files stand before the first slot.
    let bytes = small(Slot::Main).to_bytes();
    let other = small(Slot::TaskHighWater).to_bytes();
    bytes.iter().zip(&other).position(|(a, b)| a != b).unwrap() - 17
}

fn chunk() -> ChunkRef {
    ChunkRef {
        id: ChunkId([3; 32]),
        len: 70,
    }
}

fn small(slot: Slot) -> Manifest {
    let mut manifest = manifest();
    manifest.files.truncate(1);
    manifest.files[0].slot = slot;
    manifest
}

fn manifest() -> Manifest {
    let name = |text: &str| SlotName::new(text).unwrap();
    let slots = vec![
        Slot::Main,
        Slot::Subagent(name("a4b3b560934ad2f5e")),
        Slot::SubagentMeta(name("a4b3b560934ad2f5e")),
        Slot::ToolResult(name("bxsdyuzsi")),
        Slot::Task(3),
        Slot::TaskHighWater,
        Slot::Todo(name(SESSION)),
        Slot::FileHistory {
            path_hash: [0xaf; 8],
            version: 2,
        },
        Slot::Plan(name("calm-river")),
        Slot::Opaque(OpaqueName::new("session:workflows:run-1.json").unwrap()),
    ];
    let origin = Origin {
        flavour: PathFlavour::Unix,
        home: "/home/ann".into(),
        project: "/w/proj".into(),
        claude_dir: "/home/ann/.claude".into(),
        slug: "-w-proj".into(),
    };
    let file = |slot| FileEntry {
        slot,
        segments: vec![Segment {
            origin: 0,
            len: 70,
            pages: Vec::new(),
            tail: vec![chunk()],
        }],
        modified: Timestamp(1_700_000_000_000),
    };
    Manifest {
        version: MANIFEST_VERSION,
        session: SESSION.parse::<SessionId>().unwrap(),
        origins: vec![origin],
        project: ProjectIdentity::default(),
        files: slots.into_iter().map(file).collect(),
    }
}

/// Payloads of hooks, whole, cut and odd; the small files beside them.
pub(crate) fn hooks() -> Seeds {
    let stop = format!(
        r#"{{"session_id":"{SESSION}","transcript_path":"/home/ann/.claude/projects/-w-proj/{SESSION}.jsonl","cwd":"/w/proj","permission_mode":"default","hook_event_name":"Stop","stop_hook_active":false,"last_assistant_message":"Done.\nAll \u001b[1mtests\u001b[0m pass.","background_tasks":[{{"id":"b1","type":"shell","status":"running"}}]}}"#
    );
    let texts: Vec<(&'static str, String)> = vec![
        ("stop", stop.clone()),
        ("stop-cut", stop[..stop.len() - 70].into()),
        ("start", format!(r#"{{"session_id":"{SESSION}","hook_event_name":"SessionStart","source":"resume","cwd":"C:\\Users\\unicorn"}}"#)),
        ("end", format!(r#"{{"session_id":"{SESSION}","hook_event_name":"SessionEnd","reason":"prompt_input_exit"}}"#)),
        ("prompt", format!(r#"{{"prompt":"do","session_id":"{SESSION}","hook_event_name":"UserPromptSubmit"}}"#)),
        ("unknown", format!(r#"{{"session_id":"{SESSION}","hook_event_name":"Elsewhere"}}"#)),
        ("doubled", format!(r#"{{"session_id":1,"session_id":"{SESSION}","hook_event_name":"Stop","hook_event_name":"SessionEnd"}}"#)),
        ("lone-surrogate", format!(r#"{{"session_id":"{SESSION}","hook_event_name":"Stop","last_assistant_message":"\ud800 x"}}"#)),
        ("no-session", r#"{"hook_event_name":"Stop"}"#.into()),
        ("up", r#"{"session_id":"../../x","transcript_path":"/etc/passwd","hook_event_name":"Stop"}"#.into()),
        ("list", "[1,2,3]".into()),
        ("empty", String::new()),
        ("brace", "{".into()),
        ("deep", "[".repeat(4000)),
        ("deep-in", format!(r#"{{"session_id":"{SESSION}","hook_event_name":"Stop","background_tasks":{}"#, "[".repeat(3800))),
        ("live", format!(r#"{{"pid":27282,"sessionId":"{SESSION}","cwd":"/w/proj","startedAt":1795214057456,"procStart":"9","version":"2.1.329","kind":"interactive","status":"idle","updatedAt":1795214057999}}"#)),
        ("task", r#"{"id":"1","subject":"Write the\u001b parser","description":"d","activeForm":"Writing","status":"completed","blocks":["2"],"blockedBy":[]}"#.into()),
        ("todos", r#"[{"content":"one","status":"pending","activeForm":"x"},{"content":"two","status":"in_progress"},7]"#.into()),
    ];
    let mut seeds = bytes(texts);
    seeds.push((
        "no-utf8",
        format!(r#"{{"session_id":"{SESSION}","hook_event_name":"Stop","cwd":"/w/~"}}"#)
            .replace('~', "\u{fffd}")
            .into_bytes(),
    ));
    seeds.push((
        "bytes",
        b"{\"session_id\":\"\xff\",\"hook_event_name\":\"Stop\"}".to_vec(),
    ));
    seeds
}

/// Lines of a transcript; before each the two bytes that the oracle takes for
/// the target, and for the kind and the cut.
pub(crate) fn lines() -> Seeds {
    let texts = vec![
        ("record", r#"{"parentUuid":null,"cwd":"/w/proj","message":{"content":[{"type":"tool_use","input":{"file_path":"/w/proj/src/a.rs"}}]}}"#.to_owned()),
        ("boundaries", r#"{"a":"/w/project2 /w/proj-x /w/proj.bak /w/proj. /w/proj/ (/w/proj) '/w/proj' x/w/proj ~/w/proj"}"#.into()),
        ("shell", r#"{"command":"cd /w/proj && PATH=/home/ann/bin:/w/proj \"/w/proj/a b\" file:///w/proj/x %2Fw%2Fproj"}"#.into()),
        ("literal", "{\"a\":\"${HOME} ${PROJECT_ROOT} $HOME/x ~/y\"}".into()),
        ("odd-json", r#"{"a":"\ud83d","a":1e2,"b":-0,"c":123456789012345678901234567890,"d":"\/w\/proj \u002fw\u002fproj","":null}"#.into()),
        ("bom", "\u{feff}{\"cwd\":\"/w/proj\"}\r\n".into()),
        ("spaces", " { \"cwd\" : \"/w/proj\" } \n\n\t\n{}".into()),
        ("signed", r#"{"content":[{"type":"thinking","thinking":"/w/proj","signature":"/w/proj=="},{"signature":"s","type":"redacted_thinking","data":"/home/ann"},"/w/proj/x"]}"#.into()),
        ("nested", r#"{"a":"{\"b\":\"{\\\"c\\\":\\\"/w/proj/x/y\\\"}\",\"d\":\"/home/ann/z\"}"}"#.into()),
        ("windows", r#"{"a":"C:\\Users\\unicorn\\new c:/Users/unicorn \\\\?\\C:\\x","b":"/w/proj/n/u/t"}"#.into()),
        ("slug", r#"{"a":"/home/ann/.claude/projects/-w-proj/x.jsonl /tmp/claude-0/-w-proj/t -w-proj /-w-proj2/"}"#.into()),
        ("chinese", "{\"a\":\"请看/w/proj/项目。「/home/ann」/w/proj项目\"}".into()),
        ("no-json", "not json /w/proj\n{'cwd':'/w/proj'}\n{\"cwd\":\"/w/proj\"}}".into()),
        ("torn", "{\"cwd\":\"/w/proj\"}\n{\"cwd\":\"/w/pro".into()),
        ("diff", r#"{"a":"\n-/w/proj/a\n+/w/proj/b\n @/w/proj#L10 [0m/w/proj\u001b[0m"}"#.into()),
        ("deep", format!("{}\"/w/proj\"{}", "[".repeat(900), "]".repeat(900))),
        ("back-slashes", format!("\"{}/w/proj\"", "\\\\".repeat(700))),
    ];
    let mut seeds = bytes(texts);
    seeds.push((
        "no-utf8",
        b"{\"a\":\"\xff/w/proj\"}\n{\"cwd\":\"/w/proj\"}".to_vec(),
    ));
    seeds.push(("nul", b"{\"a\":\"\0/w/proj\"}\n\0\0/w/proj\0".to_vec()));
    for (n, (_, text)) in seeds.iter_mut().enumerate() {
        // Mostly lines of JSON, everywhere to, cut in many ways.
        let (to, kind) = (n as u8, if n % 5 == 4 { 1 } else { 3 * n as u8 });
        text.splice(0..0, [to, kind]);
    }
    seeds
}

/// Settings as people keep them.
pub(crate) fn settings() -> Seeds {
    let group =
        r#"{"matcher":"Bash","hooks":[{"type":"command","command":"x","args":["hook","Stop"]}]}"#;
    bytes(vec![
        ("empty", String::new()),
        ("blank", " \r\n\t".into()),
        ("bom", "\u{feff}{\"a\":1}".into()),
        ("found-form-feed", "\u{c}".into()),
        ("object", "{}\n".into()),
        ("spread", "{\n  \"model\": \"opus\",\n  \"hooks\": {\n    \"Stop\": [\n      ".to_owned() + group + "\n    ]\n  }\n}\n"),
        ("tabs", "{\r\n\t\"permissions\": {\r\n\t\t\"allow\": [\"Bash(ls:*)\"]\r\n\t}\r\n}".into()),
        ("one-line", format!(r#"{{"hooks":{{"Stop":[{group}],"PreToolUse":[]}},"x":1e2}}"#)),
        ("empty-hooks", r#"{"hooks":{}}"#.into()),
        ("empty-list", r#"{ "hooks" : { "Stop" : [ ] , "SessionStart":[] } }"#.into()),
        ("ours", r#"{"hooks":{"Stop":[{"hooks":[{"type":"command","command":"/opt/bin/ccpeer","args":["hook","Stop"],"timeout":5}]}]}}"#.into()),
        ("found-resembles-ours", r#"{"hooks":{"Stop":[{"hooks":[{"t=ype":"command","command":"/opt/bin/ccpeer","args":["hook","Stop"],"timeout":5}]}]}}"#.into()),
        ("another-path", r#"{"hooks":{"Stop":[{"hooks":[{"type":"command","command":"/usr/bin/ccpeer","args":["hook","Stop"],"timeout":5}]},{"hooks":[]}]}}"#.into()),
        ("disabled", r#"{"disableAllHooks":true}"#.into()),
        ("doubled", r#"{"hooks":{"Stop":[]},"hooks":{"Stop":[],"Stop":[{}]}}"#.into()),
        ("escaped-key", r#"{"hook\u0073":{"St\u006fp":[]}}"#.into()),
        ("wrong-hooks", r#"{"hooks":[]}"#.into()),
        ("wrong-event", r#"{"hooks":{"Stop":{}}}"#.into()),
        ("wrong-group", r#"{"hooks":{"Stop":[1,null,{"hooks":3}]}}"#.into()),
        ("list", "[]".into()),
        ("comment", "{// no\n}".into()),
        ("trailing-comma", r#"{"a":1,}"#.into()),
        ("cut", r#"{"hooks":{"Stop":["#.into()),
        ("lone-surrogate", r#"{"a":"\ud800","hooks":{}}"#.into()),
        ("deep", format!("{{\"a\":{}{}}}", "[".repeat(900), "]".repeat(900))),
    ])
}

/// Transcripts; a byte that is no text parts the base, one line and the other.
pub(crate) fn transcripts() -> Seeds {
    let user = |n: u32, parent: &str, text: &str| {
        format!(
            r#"{{"parentUuid":{parent},"type":"user","message":{{"role":"user","content":"{text}"}},"uuid":"{n:08x}-0000-4000-8000-000000000000","cwd":"/w/proj","sessionId":"{SESSION}"}}"#
        ) + "\n"
    };
    let at = |n: u32| format!("\"{n:08x}-0000-4000-8000-000000000000\"");
    let says = |n: u32, parent: &str| {
        format!(
            r#"{{"parentUuid":{parent},"type":"assistant","message":{{"model":"m","content":[{{"type":"text","text":"fine"}}],"stop_reason":"end_turn"}},"uuid":"{n:08x}-0000-4000-8000-000000000000"}}"#
        ) + "\n"
    };
    let names = |n: u32| {
        format!(
            r#"{{"type":"last-prompt","leafUuid":{},"sessionId":"{SESSION}"}}"#,
            at(n)
        ) + "\n"
    };
    let base = user(1, "null", "one") + &says(2, &at(1));
    let join = |local: &str, theirs: &str| base.clone() + "\u{1}" + local + "\u{1}" + theirs;
    let turn = |n: u32, parent: u32| user(n, &at(parent), "more") + &says(n + 1, &at(n));
    let call = r#"{"parentUuid":"00000002-0000-4000-8000-000000000000","type":"assistant","message":{"content":[{"type":"tool_use","id":"t1","name":"Bash","input":{"command":"cargo test"}}]},"uuid":"00000009-0000-4000-8000-000000000000"}
"#;
    let texts = vec![
        ("one", base.clone()),
        ("join", join(&turn(3, 2), &turn(5, 2))),
        ("join-named", join(&(turn(3, 2) + &names(4)), &(turn(5, 2) + &names(6)))),
        ("join-nil", join(&turn(3, 2), &(turn(5, 2) + &names(0)))),
        ("join-same", join(&turn(3, 2), &(turn(3, 2) + &turn(5, 4)))),
        ("join-crossed", join(&turn(3, 6), &turn(5, 4))),
        ("join-circle", join(&turn(3, 3), &turn(5, 6))),
        ("join-rewound", join(&turn(3, 2), &turn(5, 1))),
        ("join-pending", join(call, &turn(5, 2))),
        ("join-open", join(turn(3, 2).trim_end(), turn(5, 2).trim_end())),
        ("join-torn", join(&turn(3, 2)[..90], &turn(5, 2))),
        ("join-root", join(&turn(3, 2), &user(5, "null", "root"))),
        ("compacted", base.clone() + r#"{"parentUuid":null,"logicalParentUuid":"00000002-0000-4000-8000-000000000000","type":"system","subtype":"compact_boundary","uuid":"b"}
{"parentUuid":"b","type":"user","isCompactSummary":true,"message":{"content":"so far"},"uuid":"c"}
"#),
        ("states", r#"{"type":"custom-title","customTitle":"T"}
{"type":"ai-title","aiTitle":"t"}
{"type":"permission-mode","permissionMode":"plan"}
{"type":"relocated","relocatedCwd":"/x"}
{"type":"queue-operation","operation":"enqueue","content":"<task-notification><task-id>a</task-id><status>completed</status>"}
{"type":"made-up"}"#.into()),
        ("tools", call.to_owned() + r#"{"parentUuid":"00000009-0000-4000-8000-000000000000","type":"user","toolUseResult":{"stdout":"x"},"message":{"content":[{"type":"tool_result","tool_use_id":"t1","is_error":true,"content":[{"type":"text","text":"error[E0308]"}]}]},"uuid":"d"}
"#),
        ("odd", "\n\r\n[]\n1\n{\"type\":1}\n{\"type\":\"user\",\"uuid\":{}}\n{\"type\":\"user\",\"uuid\":\"x\",\"message\":{\"content\":[1,{\"type\":\"text\",\"text\":\"\\ud800\"}]}}\n".into()),
        ("self-parent", r#"{"type":"user","uuid":"x","parentUuid":"x","message":{"content":"a"}}"#.into()),
        ("deep", format!("{{\"type\":\"user\",\"uuid\":\"x\",\"message\":{}", "[".repeat(3900))),
        ("empty", String::new()),
    ];
    let mut seeds = bytes(texts);
    for (_, text) in &mut seeds {
        text.iter_mut().filter(|b| **b == 1).for_each(|b| *b = 0xff);
    }
    seeds
}

fn bytes(texts: Vec<(&'static str, String)>) -> Seeds {
    texts
        .into_iter()
        .map(|(name, text)| (name, text.into_bytes()))
        .collect()
}

/// Documents of bundles: whole, in another order, with names that lead elsewhere.
pub(crate) fn bundles() -> Seeds {
    use sha2::{Digest as _, Sha256};
    let around = |session: &str| {
        let sum = Sha256::digest(session.as_bytes());
        let sum: String = sum.iter().map(|b| format!("{b:02x}")).collect();
        format!("{{\"version\":\"1\",\"exportedAt\":\"2026-06-06T00:00:00.000Z\",\"sourceDevice\":\"desk\",\"updatedAt\":\"2026-06-06T00:00:00.000Z\",\"session\":{session},\"checksum\":\"{sum}\"}}").into_bytes()
    };
    let good = format!(
        r#"{{"sessionId":"{SESSION}","project":{{"name":"app","relativeToRoot":null,"tokenizedPath":"${{PROJECT_ROOT}}","originalPath":"/w/app"}},"messages":["{{\"cwd\":\"${{PROJECT_ROOT}}\"}}\r","\ud83d"],"agents":{{"agent-a1.jsonl":"{{}}"}},"todos":[{{"filename":"{SESSION}-agent-x.json","content":"[]"}}],"fileHistory":{{"00112233445566ff@v1":"aGk="}},"meta":{{"firstPrompt":"\ud83d","messageCount":2,"modified":"x"}}}}"#
    );
    let hostile = good
        .replace("agent-a1.jsonl", "../../x")
        .replace(&format!("{SESSION}-agent"), "../agent")
        .replace("00112233445566ff@v1", "..\\\\x");
    vec![
        ("good", around(&good)),
        (
            "order",
            around(&format!(
                r#"{{"todos":[{{"content":"","filename":"x"}}],"messages":["a"],"2":1.0,"1":1e3,"sessionId":"{SESSION}"}}"#
            )),
        ),
        ("hostile", around(&hostile)),
        (
            "twins",
            around(&good.replace(
                r#""agent-a1.jsonl":"{}""#,
                r#""agent-a1.jsonl":"","agent-A1.jsonl":"""#,
            )),
        ),
        ("up", around(&good.replace(SESSION, "../../x"))),
        (
            "bad-sum",
            around(&good).iter().rev().skip(3).rev().copied().collect(),
        ),
        ("empty", Vec::new()),
        (
            "numbers",
            b"[1e999,-0,1.50,123456789012345678901234567890,5e-324,1E+2]".to_vec(),
        ),
    ]
}

/// Hand-off files behind a line with their name.
pub(crate) fn tasks() -> Seeds {
    let text = |name: &str, body: &str| format!("{name}\n{body}").into_bytes();
    let named = format!("linux-desk-{SESSION}.md");
    vec![
        (
            "good",
            text(
                &named,
                "---\ntitle: \"a: b\"\nmachine: desk\nupdated: 2026-04-01T10:20:30Z\n---\n\n# a\n\n## Task\nx\n\n## Handoff prompt\ny\n",
            ),
        ),
        (
            "chinese",
            text(
                &named,
                "---\n---\n## \u{4efb}\u{52a1}\nx\n## \u{4ea4}\u{63a5}\u{63d0}\u{793a}\ny\n",
            ),
        ),
        (
            "fences",
            text(
                "notes.md",
                "## Files\n```\n## Done\n~~~\n```\n## In-Progress\n\\## x\n",
            ),
        ),
        ("no-end", text("a-b.md", "---\ntitle: 'x\n## Done\n")),
        (
            "hidden",
            text(
                "\u{1b}[31m.md",
                "---\ntitle: \u{202e}x\ncwd: a\tb\n---\n## Handoff\n\u{1b}]8;;x\u{7}\n",
            ),
        ),
        (
            "ours",
            text(&named, "---\nccpeer: 1\n---\n## Task\n\\# x\n\\---\n"),
        ),
        ("empty", Vec::new()),
    ]
}
