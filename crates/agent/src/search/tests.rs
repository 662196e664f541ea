//! Searching, over a store with made-up sessions.

use std::fs;
use std::sync::atomic::Ordering;

use ccpeer_core::entry::ContentRef;
use ccpeer_core::id::{ChunkId, SessionId};
use ccpeer_core::manifest::{
    ChunkRef, FileEntry, MANIFEST_VERSION, Manifest, Origin, PathFlavour, ProjectIdentity, Segment,
    Slot, SlotName,
};
use ccpeer_core::time::Timestamp;
use ccpeer_store::Store;

use super::fill::{Wanted, Way, fill, open_or_create, remembered};
use super::index::{Index, IndexError};
use super::{Among, Place, Question, Search, spot};
use crate::exposed::Exposed;
use crate::testing::World;

/// Small, so that a file has many.
const CHUNK: usize = 300;

fn line(kind: &str, text: &str) -> String {
    format!(
        r#"{{"type":"{kind}","timestamp":"2026-11-20T10:00:00.000Z","message":{{"content":[{{"type":"text","text":"{text}"}}]}}}}"#
    ) + "\n"
}

fn touches(path: &str) -> String {
    format!(
        r#"{{"type":"assistant","message":{{"content":[{{"type":"tool_use","name":"Edit","input":{{"file_path":"{path}"}}}}]}}}}"#
    ) + "\n"
}

fn file(store: &Store, slot: Slot, text: &str) -> FileEntry {
    let chunks: Vec<(ChunkId, Vec<u8>)> = text
        .as_bytes()
        .chunks(CHUNK)
        .map(|c| (ChunkId::of(c), c.to_vec()))
        .collect();
    store.put_chunks(&chunks).unwrap();
    let refs = chunks.iter().map(|(id, c)| ChunkRef {
        id: *id,
        len: u32::try_from(c.len()).unwrap(),
    });
    FileEntry {
        slot,
        segments: vec![Segment {
            origin: 0,
            len: text.len() as u64,
            pages: Vec::new(),
            tail: refs.collect(),
        }],
        modified: Timestamp(0),
    }
}

fn version(store: &Store, session: SessionId, files: &[(Slot, &str)]) -> ContentRef {
    let manifest = Manifest {
        version: MANIFEST_VERSION,
        session,
        origins: vec![Origin {
            flavour: PathFlavour::Unix,
            home: "/home/ann".into(),
            project: "/home/ann/p".into(),
            claude_dir: "/home/ann/.claude".into(),
            slug: "-home-ann-p".into(),
        }],
        project: ProjectIdentity::default(),
        files: files
            .iter()
            .map(|(slot, text)| file(store, slot.clone(), text))
            .collect(),
    };
    let bytes = manifest.to_bytes();
    let id = ChunkId::of(&bytes);
    let len = u32::try_from(bytes.len()).unwrap();
    store.put_chunks(&[(id, bytes)]).unwrap();
    ContentRef { id, len }
}

fn wanted(n: u8, title: &str, manifests: &[ContentRef]) -> Wanted {
    Wanted {
        session: SessionId([n; 16]),
        title: title.to_owned(),
        updated: 1_700_000_000,
        manifests: manifests.to_vec(),
        own: true,
    }
}

/// A store and an index.
struct Bench {
    world: World,
    exposed: Exposed,
    search: Search,
}

impl Bench {
    fn new() -> Self {
        let world = World::in_memory("ann");
        Self {
            exposed: Exposed::load(&world.store).unwrap(),
            world,
            search: Search::default(),
        }
    }

    fn one(&self, n: u8, text: &str) -> ContentRef {
        version(&self.world.store, SessionId([n; 16]), &[(Slot::Main, text)])
    }

    fn fill(&self, wanted: &[Wanted], all: bool) {
        self.try_fill(wanted, all, &Way::default()).unwrap();
    }

    fn try_fill(&self, wanted: &[Wanted], all: bool, way: &Way) -> Result<(), IndexError> {
        let (index, _) = open_or_create(&self.world.home.search(), true)?;
        let from = (&self.world.store, &self.exposed);
        let done = fill(&index, from, wanted, all, way);
        self.search.close();
        done
    }

    fn places(&self, words: &str, among: &Among) -> Vec<Place> {
        let question = Question::parse(words);
        let dir = self.world.home.search();
        self.search.find(&dir, &question, among, 20).unwrap()
    }

    fn found(&self, words: &str) -> Vec<u8> {
        let places = self.places(words, &Among::default());
        places.iter().map(|p| p.session.0[0]).collect()
    }

    fn snippet(&self, words: &str, manifest: ContentRef) -> String {
        let question = Question::parse(words);
        let places = self.places(words, &Among::default());
        let there = spot(&self.world.store, manifest, &places[0], &question);
        there.unwrap().unwrap().snippet
    }

    /// Lines in the index, titles among them.
    fn documents(&self) -> u64 {
        let index = Index::open(&self.world.home.search()).unwrap();
        index.searcher().unwrap().num_docs()
    }
}

#[test]
fn k_x02_secrets_of_own_sessions_are_noted_while_they_are_indexed_and_once() {
    let bench = Bench::new();
    let token = ["ghp_", "A1b2C3d4E5f6G7h8I9j0K1l2M3n4"].concat();
    let leaky = [
        line("user", "look at the parser"),
        line("assistant", &format!("the key is {token}")),
    ]
    .concat();
    let (ours, theirs, clean) = (
        bench.one(1, &leaky),
        bench.one(2, &leaky),
        bench.one(3, &line("user", "let token = self.next_token();")),
    );
    let not_ours = Wanted {
        own: false,
        ..wanted(2, "", &[theirs])
    };
    let all = [wanted(1, "", &[ours]), not_ours, wanted(3, "", &[clean])];
    bench.fill(&all, true);
    let found = bench.exposed.list();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].session_id, all[0].session.to_string());
    assert_eq!((found[0].line, found[0].kinds["token"]), (2, 1));
    // What grows, or is indexed anew, is no news.
    bench.exposed.saw(&bench.world.store).unwrap();
    let more = bench.one(
        1,
        &(leaky.clone() + &line("user", &format!("again {token}"))),
    );
    bench.fill(&[wanted(1, "", &[more])], false);
    fs::remove_dir_all(bench.world.home.search()).unwrap();
    bench.fill(&all, true);
    assert!(bench.exposed.told().is_empty());
    // In what was appended it is found as well, and a sub-agent is named.
    let name = SlotName::new("a1b2").unwrap();
    let files = [
        (Slot::Main, line("user", "clean")),
        (Slot::Subagent(name), line("user", &format!("use {token}"))),
    ];
    let files: Vec<(Slot, &str)> = files.iter().map(|(s, t)| (s.clone(), t.as_str())).collect();
    let grown = version(&bench.world.store, SessionId([3; 16]), &files);
    bench.fill(&[wanted(3, "", &[grown])], false);
    let told = bench.exposed.told();
    assert_eq!(told.len(), 1);
    assert!(told[0].message.contains("sub-agent a1b2"), "{told:?}");
    bench.fill(&all[1..], true);
    assert_eq!(bench.exposed.list().len(), 1, "one is held no more");
}

#[test]
fn words_phrases_beginnings_and_chinese_are_found() {
    let bench = Bench::new();
    let one = bench.one(
        1,
        &[
            line("user", "fix the broken parser"),
            line("assistant", "I changed parseHttpRequest and its tests"),
            touches("/home/ann/p/src/parser.rs"),
        ]
        .concat(),
    );
    let two = bench.one(2, &line("user", "修复解析器的错误, the parser is fine"));
    let all = [
        wanted(1, "Broken things\nshop", &[one]),
        wanted(2, "", &[two]),
    ];
    bench.fill(&all, true);
    let check = |words: &str, want: &[u8]| {
        let mut found = bench.found(words);
        found.sort_unstable();
        assert_eq!(found, want, "{words}");
    };
    check("parser", &[1, 2]);
    check("parser tests", &[1]);
    check("PARSER broken", &[1]);
    check("\"broken parser\"", &[1]);
    check("\"parser broken\"", &[]);
    check("pars", &[1, 2]);
    check("pars ", &[]);
    check("parse_http_re", &[1]);
    check("parsehttprequest", &[1]);
    check("解析器", &[2]);
    check("析", &[2]);
    check("修复解析", &[2]);
    check("解修", &[]);
    check("shop", &[1]);
    check("src/parser.rs", &[1]);
    check("nowhere", &[]);
    check("parser nowhere", &[]);
    // The line that has both words is the one that is shown.
    assert_eq!(bench.snippet("the parser", one), "fix the broken parser");
    let places = bench.places("parser", &Among::default());
    assert!(places.iter().all(|p| p.line() == 1 && p.role() == "user"));
}

#[test]
fn only_among_what_is_asked_for() {
    let bench = Bench::new();
    let texts = [
        line("user", "alpha beta") + &touches("/p/src/Lib.rs"),
        line("user", "alpha").replace("2026-11", "2025-01") + &touches("C:\\\\p\\\\x.rs"),
    ];
    let all: Vec<Wanted> = (1..)
        .zip(&texts)
        .map(|(n, t)| wanted(n, "t", &[bench.one(n, t)]))
        .collect();
    bench.fill(&all, true);
    let check = |words: &str, among: Among, want: &[u8]| {
        let places = bench.places(words, &among);
        let found: Vec<u8> = places.iter().map(|p| p.session.0[0]).collect();
        assert_eq!(found, want, "{words} {among:?}");
    };
    let file = |path: &str| Among {
        file: Some(path.to_owned()),
        ..Among::default()
    };
    check("alpha", file("src/lib.rs"), &[1]);
    check("", file("x.rs"), &[2]);
    check("", file("lib"), &[]);
    let new = 1_790_000_000;
    let since = Among {
        since: Some(new),
        ..Among::default()
    };
    check("alpha", since, &[1]);
    let until = Among {
        until: Some(new),
        ..Among::default()
    };
    check("alpha", until, &[2]);
    let only = Among {
        sessions: Some(vec![SessionId([2; 16]), SessionId([9; 16])]),
        ..Among::default()
    };
    check("alpha", only, &[2]);
    check("alpha beta", only_none(), &[]);
}

fn only_none() -> Among {
    Among {
        sessions: Some(Vec::new()),
        ..Among::default()
    }
}

#[test]
fn what_is_appended_is_all_that_is_indexed() {
    let bench = Bench::new();
    let mut text = String::new();
    for n in 0..40 {
        text += &line("user", &format!("turn number{n} alpha"));
        // The end of a file may be in the middle of a line.
        let torn = text.clone() + "{\"type\":\"user\"";
        bench.fill(&[wanted(1, "t", &[bench.one(1, &torn)])], false);
        assert_eq!(bench.documents(), n + 2);
    }
    assert_eq!(bench.found("number39 number0"), [1]);
    let index = Index::open(&bench.world.home.search()).unwrap();
    let known = remembered(&index, &SessionId([1; 16])).unwrap();
    assert_eq!(known.lines.len(), 1);
    assert_eq!(known.lines[0].parts[0].lines, 40);
    assert_eq!(known.lines[0].parts[0].upto, text.len() as u64);
    let places = bench.places("number17", &Among::default());
    assert_eq!(places[0].line(), 18);
}

#[test]
fn lines_of_a_fork_share_what_they_share_and_rewritten_ones_leave() {
    let bench = Bench::new();
    let begin: String = (0..20)
        .map(|n| line("user", &format!("begin{n}")))
        .collect();
    let (left, right) = (
        begin.clone() + &line("user", "lefty"),
        begin.clone() + &line("user", "righty"),
    );
    let (one, two) = (bench.one(1, &left), bench.one(1, &right));
    bench.fill(&[wanted(1, "t", &[one])], true);
    bench.fill(&[wanted(1, "t", &[one, two])], true);
    // The chunk in which they part is read twice, and no more.
    assert!(bench.documents() <= 20 + 2 + 1 + 3, "{}", bench.documents());
    assert_eq!(
        (bench.found("lefty"), bench.found("righty")),
        (vec![1], vec![1])
    );
    assert_eq!(bench.snippet("righty", two), "righty");
    // One side was let go.
    bench.fill(&[wanted(1, "t", &[two])], true);
    assert_eq!(
        (bench.found("lefty"), bench.found("righty")),
        (vec![], vec![1])
    );
    assert_eq!(bench.documents(), 22);
    // All of it was.
    bench.fill(&[], true);
    assert_eq!(bench.found("righty"), [0u8; 0]);
    assert_eq!(bench.documents(), 0);
}

#[test]
fn a_title_changes_and_sub_agents_are_found() {
    let bench = Bench::new();
    let agent = SlotName::new("a1b2").unwrap();
    let (text, sub) = (line("user", "main"), line("assistant", "subtle"));
    let files = [(Slot::Main, text.as_str()), (Slot::Subagent(agent), &sub)];
    let it = version(&bench.world.store, SessionId([1; 16]), &files);
    bench.fill(&[wanted(1, "first title", &[it])], false);
    bench.fill(&[wanted(1, "second title", &[it])], false);
    assert_eq!(bench.found("first"), [0u8; 0]);
    assert_eq!(bench.found("second title"), [1]);
    assert!(bench.places("second", &Among::default())[0].is_title());
    // What is in both is shown where it was said.
    bench.fill(&[wanted(1, "the main title", &[it])], false);
    let place = bench.places("main", &Among::default())[0];
    assert_eq!((place.is_title(), place.line()), (false, 1));
    assert_eq!(bench.documents(), 3);
    let question = Question::parse("subtle");
    let place = bench.places("subtle", &Among::default())[0];
    let there = spot(&bench.world.store, it, &place, &question)
        .unwrap()
        .unwrap();
    assert_eq!(there.agent.as_deref(), Some("a1b2"));
}

#[test]
fn an_index_that_is_damaged_in_any_file_is_made_anew() {
    let bench = Bench::new();
    let all = [wanted(1, "t", &[bench.one(1, &line("user", "alpha"))])];
    let dir = bench.world.home.search();
    bench.fill(&all, true);
    let names: Vec<_> = fs::read_dir(&dir)
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .filter(|n| !n.to_string_lossy().ends_with(".lock"))
        .collect();
    assert!(names.len() > 4, "{names:?}");
    for how in ["garbage", "short", "gone", "empty"] {
        for n in 0..names.len() {
            bench.fill(&all, true);
            let mut now: Vec<_> = fs::read_dir(&dir)
                .unwrap()
                .map(|e| e.unwrap().path())
                .filter(|p| !p.to_string_lossy().ends_with(".lock"))
                .collect();
            now.sort();
            let Some(file) = now.get(n) else { continue };
            let bytes = fs::read(file).unwrap();
            match how {
                "garbage" => {
                    let bad: Vec<u8> = bytes.iter().map(|b| b ^ 0x5a).collect();
                    fs::write(file, bad).unwrap();
                }
                "short" => fs::write(file, &bytes[..bytes.len() / 2]).unwrap(),
                "empty" => fs::write(file, b"").unwrap(),
                _ => fs::remove_file(file).unwrap(),
            }
            // Whoever searches meanwhile is told nothing, and never falls.
            let question = Question::parse("alpha");
            let _any = bench.search.find(&dir, &question, &Among::default(), 5);
            bench.fill(&all, true);
            assert_eq!(bench.found("alpha"), [1], "{how} {}", file.display());
        }
    }
    fs::remove_dir_all(&dir).unwrap();
    let question = Question::parse("alpha");
    bench.search.close();
    assert!(
        bench
            .search
            .find(&dir, &question, &Among::default(), 5)
            .is_none()
    );
    assert!(bench.search.anew.load(Ordering::SeqCst));
    fs::write(&dir, "a file where a directory should be").unwrap();
    fs::remove_file(&dir).unwrap();
    bench.fill(&all, true);
    assert_eq!(bench.found("alpha"), [1]);
}

#[test]
fn what_was_stopped_or_cannot_be_read_is_done_the_next_time() {
    let bench = Bench::new();
    let text: String = (0..200)
        .map(|n| line("user", &format!("alpha w{n}")))
        .collect();
    let all = [
        wanted(1, "t", &[bench.one(1, &text)]),
        wanted(
            2,
            "gone",
            &[ContentRef {
                id: ChunkId([7; 32]),
                len: 9,
            }],
        ),
        wanted(3, "t", &[bench.one(3, &line("user", "gamma"))]),
    ];
    let stopped = Way::default();
    stopped.stop.store(true, Ordering::Relaxed);
    let ended = bench.try_fill(&all, true, &stopped);
    assert!(matches!(ended, Err(IndexError::Ending)));
    bench.fill(&all, true);
    assert_eq!(bench.documents(), 203);
    assert_eq!(
        (bench.found("w199"), bench.found("gamma")),
        (vec![1], vec![3])
    );
}
