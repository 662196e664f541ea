//! One line of a transcript as a reader sees it: who says what, which tool is
//! called on what, what it gives back, and what an edit changes.
//!
//! Everything is within bounds and free of characters that cannot be seen, and
//! what was cut says so. A line that is no record, or that only keeps Claude Code's
//! books, tells nothing. Must not know where a line stands, nor how many are shown.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::diff::{Diff, diffs};
use super::fields::{called_on, content_text};
use super::json::{self, Raw};
use super::prompt::{self, Spoken};
use super::record::{self, Record};
use crate::bounded;

/// Characters of one text.
const TEXT_CHARS_MAX: usize = 12_000;
/// Characters of what a tool gave back, and of one of its arguments.
const OUTPUT_CHARS_MAX: usize = 6_000;
/// Parts of one line.
const PARTS_MAX: usize = 64;
/// Arguments of a call.
const FIELDS_MAX: usize = 32;
/// Characters of the name of a tool, of an argument, of an id.
const NAME_CHARS_MAX: usize = 128;
/// Characters of the one argument that says what a call is about.
const ABOUT_CHARS_MAX: usize = 200;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// When, as it stands there; empty if it does not.
    pub time: String,
    /// A sub-agent's, in the main transcript of an older Claude Code.
    pub is_sidechain: bool,
    /// What is said and done in it.
    pub parts: Vec<Part>,
}

/// A text, and whether there is more of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Text {
    /// Visible characters and line breaks.
    pub text: String,
    /// Its end is not in it.
    pub cut: bool,
}

/// One thing in a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// The user's words.
    Prompt(Text),
    /// Claude's.
    Answer(Text),
    /// What Claude thought before.
    Thinking(Text),
    /// A tool is called.
    Call(Call),
    /// What a tool gave back.
    Outcome {
        /// Id of the call.
        call: String,
        /// It failed, or was refused.
        is_error: bool,
        /// What it said.
        text: Text,
        /// The sub-agent that it was.
        agent: Option<String>,
    },
    /// Neither the user's words nor Claude's: what Claude Code says or puts in.
    Note {
        /// One word for what it is.
        about: &'static str,
        /// What it says.
        text: Text,
    },
}

/// A call of a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Its id.
    pub id: String,
    /// The tool.
    pub tool: String,
    /// The argument that says what it is called on, as one line.
    pub about: String,
    /// The arguments that are not told otherwise.
    pub fields: Vec<(String, Text)>,
    /// What it changes in files.
    pub diffs: Vec<Diff>,
}

/// Reads a line; nothing if it tells nothing.
#[must_use]
pub fn told(line: &[u8]) -> Option<Told> {
    let line = json::decoded(line.trim_ascii());
    if line.is_empty() || record::is_passed_over(&line) {
        return None;
    }
    let record = Record::parse(&line)?;
    let mut parts = Vec::new();
    match &*record.kind {
        "user" => user(&record, &mut parts),
        "assistant" => assistant(&record, &mut parts),
        "attachment" => queued(&record, &mut parts),
        "system" => system(&record, &mut parts),
        _ => {}
    }
    parts.truncate(PARTS_MAX);
    (!parts.is_empty()).then(|| Told {
        time: name(record.timestamp),
        is_sidechain: record.is_sidechain,
        parts,
    })
}

/// What the file that stands beside a sub-agent's transcript says it was for.
#[must_use]
pub fn agent_about(meta: &[u8]) -> Option<String> {
    let meta = json::decoded(meta);
    let [about, kind] = json::pick(&meta, &["description", "agentType"])?;
    let line = |raw| bounded::line(&json::text(raw).unwrap_or_default(), ABOUT_CHARS_MAX);
    let found = [line(about), line(kind)];
    found.into_iter().find(|text| !text.is_empty())
}

impl Text {
    fn of(text: &str, chars_max: usize) -> Self {
        let text = text.trim();
        let kept = bounded::visible(text, chars_max);
        // What cannot be seen goes as well, and nobody misses it.
        let cut = kept.ends_with('…') && !text.ends_with('…');
        Self { text: kept, cut }
    }

    fn some(text: &str, chars_max: usize) -> Option<Self> {
        Some(Self::of(text, chars_max)).filter(|t| !t.text.is_empty())
    }
}

fn user(record: &Record<'_>, parts: &mut Vec<Part>) {
    let Some([content]) = json::pick_in(record.message, &["content"]) else {
        return;
    };
    if let Some(text) = json::text(content) {
        parts.extend(spoken(record, &text));
        return;
    }
    const NAMES: &[&str; 5] = &["type", "text", "tool_use_id", "content", "is_error"];
    for [kind, text, call, content, is_error] in json::objects(content, NAMES) {
        let part = match json::text(kind).as_deref() {
            Some("text") => spoken(record, &json::text(text).unwrap_or_default()),
            Some("image") => spoken(record, "[image]"),
            Some("document") => spoken(record, "[document]"),
            Some("tool_result") => Some(Part::Outcome {
                call: name(call),
                is_error: json::flag(is_error),
                text: Text::of(&content_text(content), OUTPUT_CHARS_MAX),
                agent: agent(record),
            }),
            _ => None,
        };
        parts.extend(part);
    }
}

/// Whose words a text of the user's side is.
fn spoken(record: &Record<'_>, text: &str) -> Option<Part> {
    let note = |about, text: &str| {
        let text = Text::some(text, OUTPUT_CHARS_MAX)?;
        Some(Part::Note { about, text })
    };
    if record.is_compact_summary {
        return note("summary", text);
    }
    match prompt::classify(text) {
        Spoken::Prompt(text) if record.may_be_human => {
            Some(Part::Prompt(Text::some(&text, TEXT_CHARS_MAX)?))
        }
        Spoken::Interrupted => note("interrupted", text),
        Spoken::Notification(text) => note("background", text),
        Spoken::Prompt(_) | Spoken::Machine => note("context", text),
    }
}

fn assistant(record: &Record<'_>, parts: &mut Vec<Part>) {
    let Some([content]) = json::pick_in(record.message, &["content"]) else {
        return;
    };
    let answer = |text: &str| {
        let text = Text::some(text, TEXT_CHARS_MAX)?;
        Some(if record.is_api_error {
            let about = "error";
            Part::Note { about, text }
        } else {
            Part::Answer(text)
        })
    };
    if let Some(text) = json::text(content) {
        parts.extend(answer(&text));
        return;
    }
    const NAMES: &[&str; 6] = &["type", "text", "thinking", "id", "name", "input"];
    for [kind, text, thinking, id, tool, input] in json::objects(content, NAMES) {
        let part = match json::text(kind).as_deref() {
            Some("text") => answer(&json::text(text).unwrap_or_default()),
            Some("thinking") => json::text(thinking)
                .and_then(|t| Text::some(&t, TEXT_CHARS_MAX))
                .map(Part::Thinking),
            Some("tool_use" | "server_tool_use") => Some(Part::Call(call(id, tool, input))),
            _ => None,
        };
        parts.extend(part);
    }
}

/// A prompt that was typed while a turn ran.
fn queued(record: &Record<'_>, parts: &mut Vec<Part>) {
    let is_queued = record
        .attachment
        .is_some_and(|raw| bounded::front(raw.get(), 256).contains("queued_command"));
    if !is_queued {
        return;
    }
    if let Some([asked]) = json::pick_in(record.attachment, &["prompt"]) {
        parts.extend(spoken(record, &content_text(asked)));
    }
}

fn system(record: &Record<'_>, parts: &mut Vec<Part>) {
    let Some(said) = json::text(record.content) else {
        return;
    };
    let about = match json::text(record.subtype).as_deref() {
        Some("compact_boundary") => "compacted",
        Some("api_error") => "error",
        _ => "system",
    };
    if let Some(text) = Text::some(&said, OUTPUT_CHARS_MAX) {
        parts.push(Part::Note { about, text });
    }
}

fn call(id: Raw<'_>, tool: Raw<'_>, input: Raw<'_>) -> Call {
    let tool = name(tool);
    let diffs = diffs(&tool, input);
    Call {
        id: name(id),
        about: about(input).unwrap_or_default(),
        fields: fields(input, !diffs.is_empty()),
        tool,
        diffs,
    }
}

/// The one argument that says what a tool is called on.
fn about(input: Raw<'_>) -> Option<String> {
    Some(bounded::line(&called_on(input)?, ABOUT_CHARS_MAX))
}

/// The arguments, each as a text: strings as they are, the rest as it stands.
fn fields(input: Raw<'_>, in_diffs: bool) -> Vec<(String, Text)> {
    // What a diff shows is not shown a second time.
    const SHOWN: [&str; 5] = ["file_path", "old_string", "new_string", "edits", "content"];
    let all: BTreeMap<String, &RawValue> = input
        .and_then(|raw| serde_json::from_str(raw.get()).ok())
        .unwrap_or_default();
    let told = all
        .into_iter()
        .filter(|(name, _)| !in_diffs || !SHOWN.contains(&name.as_str()));
    told.take(FIELDS_MAX)
        .map(|(name, value)| {
            let text = json::text(Some(value)).unwrap_or(value.get().into());
            let name = bounded::line(&name, NAME_CHARS_MAX);
            (name, Text::of(&text, OUTPUT_CHARS_MAX))
        })
        .collect()
}

/// The sub-agent whose report a result is.
fn agent(record: &Record<'_>) -> Option<String> {
    let [id] = json::pick_in(record.tool_result, &["agentId"])?;
    Some(name(id)).filter(|id| !id.is_empty())
}

fn name(raw: Raw<'_>) -> String {
    bounded::line(&json::text(raw).unwrap_or_default(), NAME_CHARS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: &[u8] = include_bytes!(
        "../../../../../testdata/claude/full/claude/projects/-home-ann-fx-full-work-proj/aa21a64c-b7a7-41b7-a51f-ceeccfa4623b.jsonl"
    );

    fn parts(line: &str) -> Vec<Part> {
        told(line.as_bytes()).map_or_else(Vec::new, |t| t.parts)
    }

    fn text(text: &str) -> Text {
        let (text, cut) = (text.to_owned(), false);
        Text { text, cut }
    }

    #[test]
    fn a_real_transcript_is_told() {
        let all: Vec<Told> = FULL.split(|b| *b == b'\n').filter_map(told).collect();
        let parts: Vec<&Part> = all.iter().flat_map(|t| &t.parts).collect();
        let count = |is: fn(&Part) -> bool| parts.iter().filter(|p| is(p)).count();
        assert!(count(|p| matches!(p, Part::Prompt(_))) > 1);
        assert!(count(|p| matches!(p, Part::Answer(_))) > 1);
        assert!(count(|p| matches!(p, Part::Call(_))) > 5);
        assert!(count(|p| matches!(p, Part::Outcome { agent: Some(_), .. })) >= 2);
        let edit = parts.iter().find_map(|p| match p {
            Part::Call(call) if call.tool == "Edit" => Some(call),
            _ => None,
        });
        let lines = &edit.unwrap().diffs[0].lines;
        assert_eq!(lines, &["-line two", "+line 2 (edited)"]);
        assert!(all.iter().all(|t| t.time.starts_with("2026-11-20T")));
    }

    #[test]
    fn who_says_what() {
        let user = |flags: &str, content: &str| {
            format!(r#"{{"type":"user",{flags}"message":{{"content":{content}}}}}"#)
        };
        assert_eq!(
            parts(&user("", r#""fix it""#)),
            [Part::Prompt(text("fix it"))]
        );
        let note = |about, said: &str| {
            let text = text(said);
            [Part::Note { about, text }]
        };
        let check = |flags: &str, said: &str, about| {
            let line = user(flags, &format!("{said:?}"));
            assert_eq!(parts(&line), note(about, said), "{line}");
        };
        check("\"isMeta\":true,", "fix it", "context");
        check("\"isCompactSummary\":true,", "all of it", "summary");
        check("", "[Request interrupted by user]", "interrupted");
        check("", "<system-reminder>x", "context");
        let result = r#"[{"type":"tool_result","tool_use_id":"t1","is_error":true,"content":[{"type":"text","text":"no"}]}]"#;
        let want = Part::Outcome {
            call: "t1".to_owned(),
            is_error: true,
            text: text("no"),
            agent: None,
        };
        assert_eq!(parts(&user("", result)), [want]);
        let claude = |flags: &str, content: &str| {
            format!(r#"{{"type":"assistant",{flags}"message":{{"content":{content}}}}}"#)
        };
        let said = r#"[{"type":"thinking","thinking":"hm"},{"type":"text","text":"done"},{"type":"new","x":1},7]"#;
        assert_eq!(
            parts(&claude("", said)),
            [Part::Thinking(text("hm")), Part::Answer(text("done"))]
        );
        let failed = claude("\"isApiErrorMessage\":true,", r#""Overloaded""#);
        assert_eq!(parts(&failed), note("error", "Overloaded"));
    }

    #[test]
    fn k_l12_what_cannot_be_seen_is_not_told_and_what_is_long_is_cut() {
        let line = format!(
            r#"{{"type":"assistant","message":{{"content":[{{"type":"tool_use","id":"\u001b]0;x\u0007i","name":"Ba\u202esh","input":{{"command":"ls \u001b[2J{}","x\u001b[1m":{{"a":"\u001b"}},"n":1}}}}]}}}}"#,
            "界".repeat(20_000)
        );
        let found = parts(&line);
        let [Part::Call(call)] = found.as_slice() else {
            panic!("{found:?}")
        };
        assert_eq!((call.id.as_str(), call.tool.as_str()), ("i", "Bash"));
        let told = format!("{call:?}");
        assert!(!told.contains(['\u{1b}', '\u{202e}', '\u{7}']), "{told}");
        assert!(call.about.chars().count() <= ABOUT_CHARS_MAX);
        let (_, command) = call.fields.iter().find(|(n, _)| n == "command").unwrap();
        assert!(command.cut && command.text.chars().count() <= OUTPUT_CHARS_MAX);
        let (_, number) = call.fields.iter().find(|(n, _)| n == "n").unwrap();
        assert_eq!(number, &text("1"));
    }

    #[test]
    fn what_is_no_record_tells_nothing() {
        for line in [
            "",
            "{",
            "[]",
            "null",
            r#"{"type":"mode","mode":"x"}"#,
            r#"{"type":"user"}"#,
            r#"{"type":"user","message":7}"#,
            r#"{"type":"assistant","message":{"content":{"type":"text"}}}"#,
            r#"{"type":"assistant","message":{"content":[[[]],null,{"type":7}]}}"#,
            r#"{"type":"system","content":7}"#,
            "\u{0}\u{0}",
        ] {
            assert_eq!(told(line.as_bytes()), None, "{line}");
        }
        let deep = format!(
            r#"{{"type":"assistant","message":{{"content":[{{"type":"tool_use","input":{}}}]}}}}"#,
            "[".repeat(100_000)
        );
        assert_eq!(told(deep.as_bytes()), None);
        // Cut anywhere, a line is no record or tells less, and nothing fails.
        for line in FULL.split(|b| *b == b'\n') {
            for at in (0..line.len()).step_by(37) {
                let _less = told(line.get(..at).unwrap());
            }
        }
    }

    #[test]
    fn what_a_sub_agent_was_for() {
        let check = |meta: &str, want: Option<&str>| {
            assert_eq!(agent_about(meta.as_bytes()).as_deref(), want, "{meta}");
        };
        check(
            r#"{"agentType":"general","description":"Explore\n it"}"#,
            Some("Explore it"),
        );
        check(r#"{"agentType":"general"}"#, Some("general"));
        check("{}", None);
        check("x", None);
    }
}
