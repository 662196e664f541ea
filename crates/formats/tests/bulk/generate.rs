//! Transcripts shaped like real ones, from a seed: the records of three versions
//! of Claude Code with paths in all the places where real ones have them, and
//! lines that no honest program writes. Must not know what is done with them.

use ccpeer_core::manifest::{Origin, PathFlavour};
use ccpeer_formats::claude::slug::project_slug;

/// Chance from a seed (SplitMix64).
#[derive(Debug, Clone)]
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n as u64).unwrap()
    }

    pub(crate) fn of<'a, T: ?Sized>(&mut self, list: &[&'a T]) -> &'a T {
        list[self.below(list.len())]
    }

    pub(crate) fn uuid(&mut self) -> String {
        let (a, b) = (self.next(), self.next());
        format!(
            "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
            a >> 32,
            a & 0xffff,
            (a >> 16) & 0xfff,
            b >> 52,
            b & 0xffff_ffff_ffff
        )
    }
}

/// A machine and a project on it.
pub(crate) fn unix(home: &str, project: &str) -> Origin {
    Origin {
        flavour: PathFlavour::Unix,
        home: home.into(),
        project: project.into(),
        claude_dir: format!("{home}/.claude"),
        slug: project_slug(project),
    }
}

pub(crate) fn windows(home: &str, project: &str) -> Origin {
    Origin {
        flavour: PathFlavour::Windows,
        home: home.into(),
        project: project.into(),
        claude_dir: format!(r"{home}\.claude"),
        slug: project_slug(project),
    }
}

/// A session that is being written on a machine.
pub(crate) struct Writer {
    pub(crate) chance: Chance,
    session: String,
    version: &'static str,
    /// Places as they stand in a JSON string.
    project: String,
    home: String,
    claude: String,
    slug: String,
    separator: &'static str,
    parent: Option<String>,
}

const VERSIONS: [&str; 3] = ["2.1.54", "2.1.197", "2.1.329"];
const WORDS: [&str; 16] = [
    "the", "parser", "fails", "on", "empty", "input", "测试", "größe", "done", "next", "because",
    "a", "test", "was", "missing", "🚀",
];
const FILES: [&str; 8] = [
    "src/lib.rs",
    "README.md",
    "sub dir/new.md",
    "项目/说明.txt",
    "a/b/c/d/e.tsx",
    ".github/workflows/ci.yml",
    "tests/unicorn/new_case.py",
    "app/(auth)/[id]/page.tsx",
];

impl Writer {
    pub(crate) fn new(seed: u64, at: &Origin) -> Self {
        let mut chance = Chance(seed);
        let session = chance.uuid();
        let version = chance.of(&VERSIONS);
        Self {
            chance,
            session,
            version,
            project: escaped(&at.project),
            home: escaped(&at.home),
            claude: escaped(&at.claude_dir),
            slug: at.slug.clone(),
            separator: match at.flavour {
                PathFlavour::Unix => "/",
                PathFlavour::Windows => "\\\\",
            },
            parent: None,
        }
    }

    /// A file of the project, escaped.
    fn file(&mut self) -> String {
        let below = self.chance.of(&FILES).replace('/', self.separator);
        format!("{}{}{below}", self.project, self.separator)
    }

    fn words(&mut self, most: usize) -> String {
        let count = 1 + self.chance.below(most);
        let mut out = String::new();
        for n in 0..count {
            if n > 0 {
                out.push_str(if n % 11 == 0 { "\\n" } else { " " });
            }
            match self.chance.below(24) {
                0 => out.push_str(&format!("`{}`", self.file())),
                1 => out.push_str(&format!("\\\"{}\\\"", self.home)),
                2 => out.push_str("$HOME/x"),
                3 => out.push_str("${PROJECT_ROOT}"),
                _ => out.push_str(self.chance.of(&WORDS)),
            }
        }
        out
    }

    /// What every record of the conversation ends with.
    fn rest(&mut self, uuid: &str) -> String {
        format!(
            r#""uuid":"{uuid}","timestamp":"2026-11-20T22:{:02}:{:02}.{:03}Z","userType":"external","entrypoint":"cli","cwd":"{}","sessionId":"{}","version":"{}","gitBranch":"HEAD"}}"#,
            self.chance.below(60),
            self.chance.below(60),
            self.chance.below(1000),
            self.project,
            self.session,
            self.version
        )
    }

    /// A record of the conversation: hangs on the one before.
    fn chain(&mut self, out: &mut String, middle: &str) {
        let uuid = self.chance.uuid();
        let parent = self
            .parent
            .as_ref()
            .map_or("null".into(), |p| format!("\"{p}\""));
        out.push_str(&format!(
            r#"{{"parentUuid":{parent},"isSidechain":false,{middle},"#
        ));
        let rest = self.rest(&uuid);
        out.push_str(&rest);
        self.parent = Some(uuid);
    }

    /// The next line, without its line break.
    pub(crate) fn line(&mut self, out: &mut String) {
        let kind = self.chance.below(19);
        let (file, words) = (self.file(), self.words(24));
        let (sep, project, home, claude, slug) = (
            self.separator,
            self.project.clone(),
            self.home.clone(),
            self.claude.clone(),
            self.slug.clone(),
        );
        let session = self.session.clone();
        let tool = format!("toolu_{:016x}", self.chance.next());
        let middle = match kind {
            0 | 1 => format!(r#""type":"user","message":{{"role":"user","content":"{words}"}}"#),
            2 | 3 => format!(
                r#""message":{{"id":"msg_{tool}","role":"assistant","model":"m","content":[{{"type":"text","text":"{words}"}}],"stop_reason":"end_turn","usage":{{"input_tokens":3}}}},"type":"assistant""#
            ),
            4 => format!(
                r#""message":{{"id":"msg_{tool}","role":"assistant","content":[{{"type":"tool_use","id":"{tool}","name":"Write","input":{{"file_path":"{file}","content":"{words}"}}}}],"stop_reason":"tool_use"}},"type":"assistant""#
            ),
            5 => format!(
                r#""message":{{"id":"msg_{tool}","role":"assistant","content":[{{"type":"tool_use","id":"{tool}","name":"Bash","input":{{"command":"cd {project} && ls '{home}' | head -3 > {file} # {words}","description":"x"}}}}],"stop_reason":"tool_use"}},"type":"assistant""#
            ),
            6 => format!(
                r#""type":"user","message":{{"role":"user","content":[{{"tool_use_id":"{tool}","type":"tool_result","content":"File created successfully at: {file} ({words})"}}]}},"toolUseResult":{{"type":"create","filePath":"{file}","content":"{words}","structuredPatch":[],"originalFile":null}}"#
            ),
            7 => format!(
                r#""type":"user","message":{{"role":"user","content":[{{"tool_use_id":"{tool}","type":"tool_result","content":"{file}:10:5: error\n  --> {file}\nPATH={home}{sep}bin:{project}\n{words}"}}]}},"toolUseResult":{{"stdout":"{file}","stderr":"","interrupted":false,"persistedOutputPath":"{claude}{sep}projects{sep}{slug}{sep}{session}{sep}tool-results{sep}x.txt"}}"#
            ),
            8 => format!(
                r#""type":"attachment","attachment":{{"type":"environment","snapshot":{{"workingDirectory":"{project}","platform":"linux"}}}},"rendered":[{{"content":"<system-reminder>\nPrimary working directory: {project}\n"}}]"#
            ),
            9 => format!(
                r#""type":"attachment","attachment":{{"type":"prompt_snapshot","systemPrompt":["memory at `{claude}{sep}projects{sep}{slug}{sep}memory{sep}`. {words}","{{\"cwd\":\"{}\"}}"]}}"#,
                escaped(&project)
            ),
            10 => format!(
                r#""type":"system","subtype":"stop_hook_summary","hookCount":1,"hookInfos":[{{"command":"python3 {home}{sep}bin{sep}hook.py --tag Stop","durationMs":75}}],"hookErrors":[]"#
            ),
            11 => format!(
                r#""message":{{"id":"msg_{tool}","role":"assistant","content":[{{"type":"thinking","thinking":"{words}","signature":"EqQB{tool}=="}}],"stop_reason":null}},"type":"assistant""#
            ),
            _ => String::new(),
        };
        if !middle.is_empty() {
            return self.chain(out, &middle);
        }
        let leaf = self.parent.clone().unwrap_or_default();
        let line = match kind {
            12 => format!(
                r#"{{"type":"last-prompt","lastPrompt":"{words}","leafUuid":"{leaf}","sessionId":"{session}"}}"#
            ),
            13 => format!(
                r#"{{"type":"file-history-snapshot","messageId":"{leaf}","snapshot":{{"messageId":"{leaf}","trackedFileBackups":{{"src{sep}lib.rs":{{"backupFileName":"af0e92d109bd7e2f@v2","version":2,"realParentDir":"{project}"}},"{home}{sep}notes.md":{{"backupFileName":null,"version":1}}}}}},"isSnapshotUpdate":false}}"#
            ),
            14 => format!(
                r#"{{"type":"queue-operation","operation":"enqueue","sessionId":"{session}","content":"<task-notification>/tmp/claude-0/{slug}/{session}/tasks/a.output {words}"}}"#
            ),
            15 => format!(
                r#"{{"type":"api-request-blob","sessionId":"{session}","message":{{"role":"user","content":[{{"type":"text","text":"{words} read the full transcript at: {claude}{sep}projects{sep}{slug}{sep}{session}.jsonl"}}]}}}}"#
            ),
            16 => format!(
                r#"{{"type":"relocated","sessionId":"{session}","relocatedCwd":"{project}{sep}inner dir"}}"#
            ),
            17 => format!(
                r#"{{"type":"custom-title","customTitle":"{words}","sessionId":"{session}"}}"#
            ),
            _ => format!(
                r#"{{"type":"cost-state","sessionId":"{session}","totalCostUSD":0.07016800000000001,"n":{}}}"#,
                self.chance.next()
            ),
        };
        out.push_str(&line);
    }

    /// A line that no honest program writes, or that only looks like a path's.
    /// Places of a Unix machine with the home `/home/ann` and the project
    /// `/w/proj`.
    pub(crate) fn odd_line(&mut self, out: &mut Vec<u8>) {
        let token = self.odd_token();
        match self.chance.below(14) {
            0..=6 => {
                let key = self.odd_token();
                out.extend(format!("{{{key}:{token}}}").into_bytes());
            }
            7 => out.extend(token.into_bytes()),
            8 => {
                let other = self.odd_token();
                out.extend(format!(r#"{{"content":[{{"type":"thinking","thinking":{token},"signature":"s"}},{other}]}}"#).into_bytes());
            }
            9 => out.extend(format!(r#"{{"a":1e2,"a":-0,"n":123456789012345678901234567890,"s":"\ud83d \/ \u0041","t":{token}}}"#).into_bytes()),
            // Torn, no UTF-8, with control characters, with a carriage return.
            10 => {
                let at = self.chance.below(token.len() + 1);
                out.extend(&token.as_bytes()[..at]);
            }
            11 => {
                out.extend(token.into_bytes());
                out.push(0x80 + u8::try_from(self.chance.below(128)).unwrap());
            }
            12 => out.extend(format!("\0{token}\r").into_bytes()),
            _ => out.extend(format!("\u{feff}{token}").into_bytes()),
        }
    }

    /// A JSON string, sometimes with JSON in it, sometimes with more escapes than
    /// it needs.
    fn odd_token(&mut self) -> String {
        let mut text = String::new();
        for _ in 0..self.chance.below(12) {
            text.push_str(self.chance.of(&ODD));
        }
        let mut token = serde_json::to_string(&text).unwrap();
        for _ in 0..self.chance.below(8).saturating_sub(4) {
            token = serde_json::to_string(&format!("{{\"k\":{token}}}")).unwrap();
        }
        if self.chance.below(4) == 0 {
            token = token.replace('/', "\\/");
        }
        token
    }
}

const ODD: [&str; 64] = [
    "/w/proj",
    "/w/proj/src/a.rs",
    "/w/project2",
    "/w/proj-x",
    "/w/proj.bak",
    "/w/proj.",
    "/home/ann",
    "/home/ann/.claude",
    "/home/ann/.claude/projects/-w-proj/x.jsonl",
    "/home/anna",
    "/-w-proj/",
    "-w-proj",
    "/",
    "\\",
    "\"",
    "'",
    "`",
    " ",
    "\n",
    "\t",
    ".",
    ",",
    ":",
    ";",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "%20",
    "%2F",
    "file://",
    "file:///w/proj/b",
    "%2Fw%2Fproj",
    "\\n",
    "\\\\",
    "\\\"",
    "a",
    "n",
    "u",
    "项目",
    "，",
    "\u{301}",
    "\u{1f680}",
    "\u{1b}[0m",
    "\\u002f",
    "\\/w\\/proj",
    "${HOME}",
    "$HOME/x",
    "~/x",
    "sub dir/",
    "and/or",
    "C:",
    "\\\\?\\",
    "E:\\win\\x",
    "https://h/w/proj",
    "+",
    "-",
    "=",
    "@",
    "&",
    "*",
    "|",
];

/// A text as it stands in a JSON string.
pub(crate) fn escaped(text: &str) -> String {
    let quoted = serde_json::to_string(text).unwrap();
    quoted[1..quoted.len() - 1].to_owned()
}
