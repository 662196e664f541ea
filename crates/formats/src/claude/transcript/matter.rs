//! What one line of a transcript says, for somebody who looks for words: a prompt,
//! an answer, what a tool was called on, and the two ends of what it gave back.
//!
//! Whatever branch it is on: what was said and taken back was said. Must not know
//! how it is indexed, nor how it is shown.

use super::fields::{add_part, content_text, said};
use super::json::{self, Raw};
use super::prompt::{self, Spoken};
use super::record::{self, Record};
use crate::{bounded, rfc3339};

/// What a line says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matter {
    /// Who says it.
    pub by: By,
    /// The words, as they are.
    pub text: String,
    /// The files that tools were called on, verbatim.
    pub files: Vec<String>,
    /// When, by the clock of the machine that wrote it: milliseconds since 1970.
    pub at: Option<u64>,
}

/// Who says something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The user.
    User,
    /// Claude.
    Claude,
    /// Claude, by calling tools.
    Tool,
    /// A tool, by what it gave back.
    Output,
}

/// Bytes of one prompt or answer that are looked at.
const TEXT_BYTES_MAX: usize = 16 * 1024;
/// Bytes of a command.
const COMMAND_BYTES_MAX: usize = 2 * 1024;
/// Bytes of what a tool gave back: of its beginning and of its end.
const OUTPUT_BYTES_MAX: (usize, usize) = (1536, 512);
/// Bytes of a path; a longer one is none.
const PATH_BYTES_MAX: usize = 4096;
/// Files of one line.
const FILES_MAX: usize = 64;

/// Reads a line, without its line break; nothing if it says nothing.
#[must_use]
pub fn matter(line: &[u8]) -> Option<Matter> {
    let line = json::decoded(line.trim_ascii());
    if line.is_empty() || record::is_passed_over(&line) {
        return None;
    }
    let record = Record::parse(&line)?;
    let mut out = Collected::default();
    let by = match &*record.kind {
        "user" => user(&record, &mut out),
        "assistant" => assistant(&record, &mut out),
        "attachment" => queued(&record, &mut out),
        _ => return None,
    };
    if out.text.is_empty() && out.files.is_empty() {
        return None;
    }
    Some(Matter {
        by,
        text: out.text,
        files: out.files,
        at: json::text(record.timestamp).and_then(|t| rfc3339::to_ms(&t)),
    })
}

#[derive(Default)]
struct Collected {
    text: String,
    files: Vec<String>,
}

impl Collected {
    fn add(&mut self, text: &str, bytes_max: usize) {
        let room = TEXT_BYTES_MAX.saturating_sub(self.text.len());
        let text = bounded::front(text.trim(), bytes_max.min(room));
        if text.is_empty() {
            return;
        }
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.text.push_str(text);
    }

    fn add_file(&mut self, path: &str) {
        let known = self.files.iter().any(|p| p == path);
        if (1..=PATH_BYTES_MAX).contains(&path.len()) && !known && self.files.len() < FILES_MAX {
            self.files.push(path.to_owned());
        }
    }
}

fn user(record: &Record<'_>, out: &mut Collected) -> By {
    let Some([content]) = json::pick_in(record.message, &["content"]) else {
        return By::User;
    };
    if record.is_compact_summary {
        out.add(&said(content).unwrap_or_default(), TEXT_BYTES_MAX);
        return By::Claude;
    }
    let mut text = json::text(content).unwrap_or_default();
    let mut given = false;
    for [kind, part, result] in json::objects(content, &["type", "text", "content"]) {
        let kind = json::text(kind).unwrap_or_default();
        if kind == "tool_result" {
            given = true;
            both_ends(&content_text(result), out);
        } else {
            add_part(text.to_mut(), &kind, part);
        }
    }
    // Sub-agents are asked by Claude, in the user's place.
    if (record.may_be_human || record.is_sidechain)
        && let Spoken::Prompt(text) = prompt::classify(&text)
    {
        out.add(&text, TEXT_BYTES_MAX);
        return By::User;
    }
    if given { By::Output } else { By::User }
}

fn assistant(record: &Record<'_>, out: &mut Collected) -> By {
    let Some([model, content]) = json::pick_in(record.message, &["model", "content"]) else {
        return By::Claude;
    };
    if record.is_api_error || json::text(model).as_deref() == Some("<synthetic>") {
        return By::Claude;
    }
    let mut spoke = false;
    for [kind, text, name, input] in json::objects(content, &["type", "text", "name", "input"]) {
        match json::text(kind).as_deref() {
            Some("text") => {
                let text = json::text(text).unwrap_or_default();
                spoke |= !text.trim().is_empty();
                out.add(&text, TEXT_BYTES_MAX);
            }
            Some("tool_use") => {
                out.add(&json::text(name).unwrap_or_default(), 128);
                called(input, out);
            }
            _ => {}
        }
    }
    if spoke { By::Claude } else { By::Tool }
}

/// What a tool was called on.
fn called(input: Raw<'_>, out: &mut Collected) {
    let Some(
        [
            file,
            notebook,
            path,
            command,
            pattern,
            url,
            query,
            about,
            subject,
            prompt,
        ],
    ) = json::pick_in(
        input,
        &[
            "file_path",
            "notebook_path",
            "path",
            "command",
            "pattern",
            "url",
            "query",
            "description",
            "subject",
            "prompt",
        ],
    )
    else {
        return;
    };
    for path in [file, notebook, path] {
        if let Some(path) = json::text(path) {
            out.add_file(&path);
            out.add(&path, PATH_BYTES_MAX);
        }
    }
    for said in [command, pattern, url, query, about, subject, prompt] {
        if let Some(said) = json::text(said) {
            out.add(&said, COMMAND_BYTES_MAX);
        }
    }
}

/// A prompt that was typed while a turn ran.
fn queued(record: &Record<'_>, out: &mut Collected) -> By {
    let is_queued = record
        .attachment
        .is_some_and(|raw| bounded::front(raw.get(), 256).contains("queued_command"));
    if is_queued
        && record.may_be_human
        && let Some([asked]) = json::pick_in(record.attachment, &["prompt"])
        && let Spoken::Prompt(text) = prompt::classify(&said(asked).unwrap_or_default())
    {
        out.add(&text, TEXT_BYTES_MAX);
    }
    By::User
}

fn both_ends(text: &str, out: &mut Collected) {
    let (front, back) = OUTPUT_BYTES_MAX;
    if text.len() <= front + back {
        return out.add(text, front + back);
    }
    out.add(bounded::front(text, front), front);
    out.add(bounded::back(text, back), back);
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: &[u8] = include_bytes!(
        "../../../../../testdata/claude/full/claude/projects/-home-ann-fx-full-work-proj/aa21a64c-b7a7-41b7-a51f-ceeccfa4623b.jsonl"
    );

    fn all(bytes: &[u8]) -> Vec<Matter> {
        bytes.split(|b| *b == b'\n').filter_map(matter).collect()
    }

    #[test]
    fn a_real_transcript_has_all_kinds_and_times() {
        let all = all(FULL);
        for by in [By::User, By::Claude, By::Tool, By::Output] {
            assert!(all.iter().any(|m| m.by == by), "{by:?}");
        }
        assert!(all.iter().any(|m| !m.files.is_empty()));
        assert!(all.iter().all(|m| m.at.is_some()));
        assert!(
            !all.iter()
                .any(|m| m.text.contains("<system-reminder>") && m.by == By::User)
        );
    }

    #[test]
    fn what_is_said_is_told_apart() {
        let check = |line: &str, by: By, text: &str, files: &[&str]| {
            let m = matter(line.as_bytes()).unwrap();
            assert_eq!((m.by, m.text.as_str()), (by, text), "{line}");
            assert_eq!(m.files, files);
        };
        check(
            r#"{"type":"user","uuid":"a","message":{"content":"修复解析器"}}"#,
            By::User,
            "修复解析器",
            &[],
        );
        check(
            r#"{"type":"assistant","message":{"content":[{"type":"thinking","thinking":"hm"},{"type":"text","text":"I look."},{"type":"tool_use","name":"Read","input":{"file_path":"/p/a.rs"}}]}}"#,
            By::Claude,
            "I look.\nRead\n/p/a.rs",
            &["/p/a.rs"],
        );
        check(
            r#"{"type":"assistant","message":{"content":[{"type":"tool_use","name":"Bash","input":{"command":"cargo\ntest"}}]}}"#,
            By::Tool,
            "Bash\ncargo\ntest",
            &[],
        );
        check(
            r#"{"type":"user","message":{"content":[{"type":"tool_result","content":[{"type":"text","text":"ok"}]}]}}"#,
            By::Output,
            "ok",
            &[],
        );
    }

    #[test]
    fn nothing_is_said_by_rubbish_or_by_claude_code() {
        for line in [
            "",
            "{",
            "[]",
            "{\"type\":3}",
            r#"{"type":"user","isMeta":true,"message":{"content":"x"}}"#,
            r#"{"type":"user","message":{"content":"<system-reminder>x"}}"#,
            r#"{"type":"system","content":"x"}"#,
            r#"{"type":"assistant","isApiErrorMessage":true,"message":{"content":[{"type":"text","text":"x"}]}}"#,
            "\u{0}\u{ff}{\"type\":\"user\"}",
        ] {
            assert_eq!(matter(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn long_texts_are_bounded() {
        let long = "测".repeat(40_000);
        let prompt = format!(r#"{{"type":"user","message":{{"content":"{long}"}}}}"#);
        let m = matter(prompt.as_bytes()).unwrap();
        assert!(m.text.len() <= TEXT_BYTES_MAX && m.text.len() > TEXT_BYTES_MAX - 4);
        let output = format!(
            r#"{{"type":"user","message":{{"content":[{{"type":"tool_result","content":"begin {long} end"}}]}}}}"#
        );
        let m = matter(output.as_bytes()).unwrap();
        assert!(m.text.starts_with("begin") && m.text.ends_with("end"));
        assert!(m.text.len() <= OUTPUT_BYTES_MAX.0 + OUTPUT_BYTES_MAX.1 + 1);
    }
}
