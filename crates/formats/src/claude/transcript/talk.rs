//! What was said, as a list: the end of a transcript for somebody who is to tell
//! it in fewer words. Only words and the names of tools with what they were
//! called on; never what a tool gave back, nor what Claude Code put in.
//!
//! Must not know who reads it, nor how much of it.

use super::chain::Chain;
use super::fields::{add_part, called_on, said};
use super::json::{self, Raw};
use super::prompt::{self, Spoken};
use super::record::{self, Record};
use crate::bounded;

/// One thing that was said or done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// By whom.
    pub who: Who,
    /// The words; of a tool its name and what it was called on.
    pub text: String,
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// The user.
    User,
    /// Claude.
    Claude,
    /// Claude, of everything before a compaction.
    Summary,
    /// A call of a tool.
    Tool,
}

/// Characters of one text that are kept, its beginning and its end.
const TEXT_CHARS_MAX: usize = 4000;
/// Characters of a tool's argument.
const ABOUT_CHARS_MAX: usize = 240;
/// Records that are looked at, the last ones.
const RECORDS_MAX: usize = 20_000;

/// What the last lines of a transcript say, on the branch that would be
/// continued. `bytes` may begin and end within a line.
#[must_use]
pub fn talk(bytes: &[u8]) -> Vec<Said> {
    let mut chain = Chain::default();
    let mut all: Vec<(Option<u32>, Said)> = Vec::new();
    let lines: Vec<&[u8]> = bytes.split(|b| *b == b'\n').collect();
    let skip = lines.len().saturating_sub(RECORDS_MAX);
    for line in lines.into_iter().skip(skip) {
        let line = json::decoded(line.trim_ascii());
        if line.is_empty() || record::is_passed_over(&line) {
            continue;
        }
        let Some(record) = Record::parse(&line) else {
            continue;
        };
        if record.kind == "last-prompt" {
            if let Some(leaf) = json::short_text(record.leaf, 64) {
                chain.set_leaf(&leaf);
            }
            continue;
        }
        let Some(uuid) = json::text(record.uuid).filter(|_| !record.is_sidechain) else {
            continue;
        };
        let Some(node) = chain.insert(&uuid, json::text(record.parent).as_deref()) else {
            continue;
        };
        let mut add = |who, text: &str| {
            let text = both_ends(text.trim());
            if !text.is_empty() {
                all.push((Some(node), Said { who, text }));
            }
        };
        match &*record.kind {
            "user" => user(&record, &mut add),
            "assistant" => assistant(&record, &mut add),
            "attachment" => queued(&record, &mut add),
            _ => {}
        }
    }
    let branch = chain.branch();
    all.retain(|(node, _)| branch.contains(*node));
    all.into_iter().map(|(_, said)| said).collect()
}

fn user(record: &Record<'_>, add: &mut dyn FnMut(Who, &str)) {
    let Some([content]) = json::pick_in(record.message, &["content"]) else {
        return;
    };
    if record.is_compact_summary {
        add(Who::Summary, &said(content).unwrap_or_default());
        return;
    }
    let mut text = json::text(content).unwrap_or_default();
    for [kind, part] in json::objects(content, &["type", "text"]) {
        add_part(text.to_mut(), &json::text(kind).unwrap_or_default(), part);
    }
    match prompt::classify(&text) {
        Spoken::Prompt(text) if record.may_be_human => add(Who::User, &text),
        Spoken::Interrupted => add(Who::User, "[stopped the turn]"),
        Spoken::Prompt(_) | Spoken::Notification(_) | Spoken::Machine => {}
    }
}

fn assistant(record: &Record<'_>, add: &mut dyn FnMut(Who, &str)) {
    let Some([model, content]) = json::pick_in(record.message, &["model", "content"]) else {
        return;
    };
    if record.is_api_error || json::text(model).as_deref() == Some("<synthetic>") {
        return;
    }
    for [kind, text, name, input] in json::objects(content, &["type", "text", "name", "input"]) {
        match json::text(kind).as_deref() {
            Some("text") => add(Who::Claude, &json::text(text).unwrap_or_default()),
            Some("tool_use") => {
                let name = json::text(name).unwrap_or_default();
                add(Who::Tool, &called(&bounded::line(&name, 80), input));
            }
            _ => {}
        }
    }
}

/// A prompt that was typed while a turn ran.
fn queued(record: &Record<'_>, add: &mut dyn FnMut(Who, &str)) {
    let is_queued = record
        .attachment
        .is_some_and(|raw| bounded::front(raw.get(), 256).contains("queued_command"));
    if !is_queued || !record.may_be_human {
        return;
    }
    let Some([asked]) = json::pick_in(record.attachment, &["prompt"]) else {
        return;
    };
    if let Spoken::Prompt(text) = prompt::classify(&said(asked).unwrap_or_default()) {
        add(Who::User, &text);
    }
}

/// A tool and what it was called on: the one argument that says it.
fn called(name: &str, input: Raw<'_>) -> String {
    match called_on(input) {
        Some(about) => format!("{name} {}", bounded::line(&about, ABOUT_CHARS_MAX)),
        None => name.to_owned(),
    }
}

/// A long text's beginning and end: the end says what came of it.
fn both_ends(text: &str) -> String {
    let visible = |t: &str| bounded::visible(t, TEXT_CHARS_MAX);
    if text.chars().count() <= TEXT_CHARS_MAX {
        return visible(text);
    }
    let half = TEXT_CHARS_MAX / 2;
    let front: String = text.chars().take(half).collect();
    let back: String = text.chars().rev().take(half).collect();
    let back: String = back.chars().rev().collect();
    format!("{}\n[…]\n{}", visible(&front), visible(&back))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: &[u8] = include_bytes!(
        "../../../../../testdata/claude/full/claude/projects/-home-ann-fx-full-work-proj/aa21a64c-b7a7-41b7-a51f-ceeccfa4623b.jsonl"
    );

    #[test]
    fn words_and_names_of_tools_and_no_output() {
        let said = talk(FULL);
        let of = |who| said.iter().filter(|s| s.who == who).count();
        assert!(of(Who::User) > 1 && of(Who::Claude) > 1 && of(Who::Tool) > 1);
        let all: String = said.iter().map(|s| s.text.as_str()).collect();
        assert!(!all.contains("tool_use_id") && !all.contains("<system-reminder>"));
        // Cut anywhere, it says less and never fails.
        for at in [0, 1, FULL.len() / 3, FULL.len() / 2, FULL.len()] {
            assert!(talk(FULL.get(at..).unwrap()).len() <= said.len());
        }
    }

    #[test]
    fn an_abandoned_branch_is_not_told() {
        let line = |uuid: &str, parent: &str, kind: &str, text: &str| {
            format!(
                r#"{{"type":"{kind}","uuid":"{uuid}","parentUuid":{parent},"message":{{"content":[{{"type":"text","text":"{text}"}}]}}}}"#
            )
        };
        let file = [
            line("a", "null", "user", "first"),
            line("b", "\"a\"", "assistant", "wrong"),
            line("c", "\"a\"", "user", "again"),
            r#"{"type":"user","uuid":"d","parentUuid":"c","isMeta":true,"message":{"content":"meta"}}"#.into(),
            r#"{"type":"assistant","uuid":"e","parentUuid":"d","message":{"content":[{"type":"thinking","thinking":"hm"},{"type":"tool_use","name":"Bash","input":{"command":"ls\n-l","x":1}}]}}"#.into(),
        ]
        .join("\n");
        let said: Vec<String> = talk(file.as_bytes()).into_iter().map(|s| s.text).collect();
        assert_eq!(said, ["first", "again", "Bash ls -l"]);
    }

    #[test]
    fn a_long_text_keeps_its_ends() {
        let text = both_ends(&format!("begin {} end", "测".repeat(9000)));
        assert!(text.starts_with("begin") && text.ends_with("end"));
        assert!(text.chars().count() < TEXT_CHARS_MAX + 20);
    }
}
