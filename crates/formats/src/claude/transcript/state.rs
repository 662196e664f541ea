//! What is kept between the lines of a transcript.

use ccpeer_core::limits;
use serde::{Deserialize, Serialize};

use super::chain::Chain;
use super::fields::{add_part, keep, said, set, set_line};
use super::json::{self, Raw};
use super::prompt::{self, Spoken};
use super::record::{self, Record};
use super::summary::{Prompt, Summary, TurnState};
use super::tools::{Outcome, Tools};
use crate::{bounded, rfc3339};

/// All that is kept.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct State {
    /// The parts of the summary that follow the order of the file.
    facts: Summary,
    /// The session as the last record spells it, to see quickly that it is the
    /// same again.
    session_text: String,
    chain: Chain,
    turns: Vec<Turn>,
    tools: Tools,
}

/// What the user asked for, and the last thing that Claude said to it.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Turn {
    node: Option<u32>,
    /// Nothing where the file begins with an answer. Its answer is beside it.
    prompt: Option<Prompt>,
    answer: Option<Answer>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Answer {
    node: Option<u32>,
    /// One message may come as several records, a block each.
    message: String,
    text: String,
}

/// Adds the name of a plan; of too many, the oldest goes.
fn add_plan(plans: &mut Vec<String>, slug: Raw<'_>) {
    let Some(name) = json::short_text(slug, limits::FOREIGN_PATH_BYTES_MAX) else {
        return;
    };
    if plans.last().is_some_and(|last| *last == name) || name.is_empty() {
        return;
    }
    plans.retain(|known| *known != name);
    plans.push(name);
    if plans.len() > limits::DIGEST_PLANS_MAX {
        plans.remove(0);
    }
}

/// How many of the first turns are never dropped: they say what it is about.
const FIRST_TURNS: usize = 8;

impl State {
    /// Takes a line without its line break; whether it was a record, or blank.
    pub(super) fn line(&mut self, line: &[u8]) -> bool {
        let line = line.trim_ascii();
        if line.is_empty() {
            return true;
        }
        self.facts.records += 1;
        let line = json::decoded(line);
        if record::is_passed_over(&line) {
            return true;
        }
        let Some(record) = Record::parse(&line) else {
            self.facts.unreadable += 1;
            return false;
        };
        self.record(&record);
        true
    }

    /// Counts a line that is too long to be looked into.
    pub(super) fn overlong_line(&mut self) {
        self.facts.records += 1;
        self.facts.overlong += 1;
    }

    /// All that is told, but for the end of the file.
    pub(super) fn summary(&self) -> Summary {
        let branch = self.chain.branch();
        let mut turns: Vec<&Turn> = self
            .turns
            .iter()
            .filter(|turn| branch.contains(turn.node))
            .collect();
        if turns.is_empty() {
            turns = self.turns.iter().collect();
        }
        let answer = |turn: &Turn| {
            turn.answer
                .as_ref()
                .filter(|a| branch.contains(a.node))
                .map(|a| a.text.clone())
        };
        let prompts: Vec<Prompt> = turns
            .iter()
            .filter_map(|turn| {
                Some(Prompt {
                    answer: answer(turn),
                    ..turn.prompt.clone()?
                })
            })
            .collect();
        Summary {
            first_prompt: prompts.first().map(|p| p.text.clone()),
            prompts,
            last_assistant: turns.iter().rev().find_map(|turn| answer(turn)),
            edited: self.tools.edited.clone(),
            commands: self.tools.commands.clone(),
            commits: self.tools.commits.clone(),
            plan: self.tools.plan.clone(),
            answers: self.tools.answers.clone(),
            todos: self.tools.todos(),
            pending: self.tools.pending(),
            subagents: self.tools.subagents(),
            ..self.facts.clone()
        }
    }

    fn record(&mut self, record: &Record<'_>) {
        match &*record.kind {
            "last-prompt" => {
                if let Some(leaf) = json::short_text(record.leaf, 64) {
                    self.chain.set_leaf(&leaf);
                    self.facts.leaf = Some(leaf);
                }
            }
            "custom-title" => set_line(&mut self.facts.custom_title, record.custom_title),
            "ai-title" => set_line(&mut self.facts.ai_title, record.ai_title),
            "relocated" => set(&mut self.facts.relocated_cwd, record.relocated),
            "permission-mode" => set_line(&mut self.facts.permission_mode, record.permission_mode),
            "queue-operation" => {
                if let Some(text) = json::text(record.content) {
                    self.background(&text);
                }
            }
            _ if record.uuid.is_some() && !record.is_sidechain => self.chain_record(record),
            _ => {}
        }
    }

    /// A record that has a place in the tree.
    fn chain_record(&mut self, record: &Record<'_>) {
        let Some(uuid) = json::text(record.uuid) else {
            return;
        };
        let parent = json::text(record.parent);
        let Some(node) = self.chain.insert(&uuid, parent.as_deref()) else {
            return;
        };
        self.circumstances(record);
        match &*record.kind {
            "user" => self.user(record, Some(node)),
            "assistant" => self.assistant(record, Some(node)),
            "attachment" => self.attachment(record, Some(node)),
            "system" => match json::text(record.subtype).as_deref() {
                Some("compact_boundary") => self.facts.compactions += 1,
                // Old versions do not say in the message that it was the last.
                Some("turn_duration" | "stop_hook_summary")
                    if self.facts.turn == TurnState::Open =>
                {
                    self.facts.turn = TurnState::Ended;
                }
                _ => {}
            },
            _ => {}
        }
    }

    /// What every record says about where and when.
    fn circumstances(&mut self, record: &Record<'_>) {
        let facts = &mut self.facts;
        if let Some(text) = json::text(record.session)
            && text != self.session_text
            && let Ok(session) = text.parse()
        {
            facts.session = Some(session);
            self.session_text = text.into_owned();
        }
        if facts.first_cwd.is_none() {
            set(&mut facts.first_cwd, record.cwd);
        }
        set(&mut facts.last_cwd, record.cwd);
        set_line(&mut facts.version, record.version);
        set_line(&mut facts.entrypoint, record.entrypoint);
        add_plan(&mut facts.plan_names, record.slug);
        set_line(&mut facts.permission_mode, record.permission_mode);
        if record.branch.is_some() {
            // This is what a record says outside git and on no branch.
            set_line(&mut facts.branch, record.branch);
            facts.branch = facts.branch.take().filter(|b| b != "HEAD");
        }
        if let Some(ms) = json::text(record.timestamp).and_then(|t| rfc3339::to_ms(&t)) {
            facts.first_ms.get_or_insert(ms);
            facts.last_ms = Some(ms);
        }
    }

    fn user(&mut self, record: &Record<'_>, node: Option<u32>) {
        let Some([content]) = json::pick_in(record.message, &["content"]) else {
            return;
        };
        if record.is_compact_summary {
            if let Some(text) = said(content) {
                self.facts.compact_summary = Some(keep(&text));
            }
            return;
        }
        let mut has_result = false;
        let mut text = json::text(content).unwrap_or_default();
        for [kind, part, id, is_error, inner] in json::objects(
            content,
            &["type", "text", "tool_use_id", "is_error", "content"],
        ) {
            let kind = json::text(kind).unwrap_or_default();
            if kind == "tool_result" {
                has_result = true;
                let outcome = Outcome {
                    is_error: json::flag(is_error),
                    content: inner,
                    structured: record.tool_result,
                    turn: self.facts.turns,
                };
                self.tools.result(id, &outcome);
            } else {
                add_part(text.to_mut(), &kind, part);
            }
        }
        match prompt::classify(&text) {
            Spoken::Interrupted => self.facts.turn = TurnState::Interrupted,
            _ if has_result => self.facts.turn = TurnState::Open,
            Spoken::Notification(text) => {
                self.background(text);
                self.facts.turn = TurnState::Open;
            }
            Spoken::Prompt(text) if record.may_be_human => {
                self.tools.abandon_calls();
                self.asked(&text, record, node);
            }
            Spoken::Prompt(_) | Spoken::Machine => {}
        }
    }

    /// The user asked for something.
    fn asked(&mut self, text: &str, record: &Record<'_>, node: Option<u32>) {
        let at_ms = json::text(record.timestamp).and_then(|t| rfc3339::to_ms(&t));
        let prompt = Prompt {
            text: keep(text),
            at_ms,
            answer: None,
        };
        self.push_turn(Turn {
            node,
            prompt: Some(prompt),
            answer: None,
        });
        self.facts.turns = self.facts.turns.saturating_add(1);
        self.facts.turn = TurnState::Open;
    }

    fn assistant(&mut self, record: &Record<'_>, node: Option<u32>) {
        let Some([model, message, content, stop]) =
            json::pick_in(record.message, &["model", "id", "content", "stop_reason"])
        else {
            return;
        };
        if record.is_api_error {
            let why = said(content).unwrap_or_default();
            self.facts.turn = TurnState::Failed(bounded::line(&why, 200));
            return;
        }
        if json::text(model).as_deref() == Some("<synthetic>") {
            return;
        }
        set_line(&mut self.facts.model, model);
        let mut is_last_text = false;
        let mut spoken = Vec::new();
        for [kind, text, id, name, input, signature] in json::objects(
            content,
            &["type", "text", "id", "name", "input", "signature"],
        ) {
            let kind = json::text(kind);
            is_last_text = kind.as_deref() == Some("text");
            match kind.as_deref() {
                Some("text") => spoken.extend(json::text(text)),
                Some("tool_use") => self.tools.call(id, name, input),
                Some("thinking" | "redacted_thinking") => {
                    self.facts.signed_thinking |=
                        json::text(signature).is_some_and(|s| !s.is_empty());
                }
                _ => {}
            }
        }
        for text in spoken {
            self.answered(&text, message, node);
        }
        self.facts.turn = match json::text(stop).as_deref() {
            Some("tool_use" | "pause_turn") => TurnState::Open,
            Some(_) => TurnState::Ended,
            None if is_last_text => TurnState::Ended,
            None => TurnState::Open,
        };
    }

    /// Claude said something.
    fn answered(&mut self, text: &str, message: Raw<'_>, node: Option<u32>) {
        let text = keep(text.trim());
        if text.is_empty() {
            return;
        }
        if self.turns.is_empty() {
            self.push_turn(Turn {
                node,
                prompt: None,
                answer: None,
            });
        }
        let message = json::short_text(message, 128).unwrap_or_default();
        let Some(turn) = self.turns.last_mut() else {
            return;
        };
        match &mut turn.answer {
            Some(before) if before.message == message && !message.is_empty() => {
                before.text = keep(&format!("{}\n\n{text}", before.text));
                before.node = node;
            }
            answer => {
                *answer = Some(Answer {
                    node,
                    message,
                    text,
                })
            }
        }
    }

    /// A prompt that was typed while a turn ran comes as an attachment.
    fn attachment(&mut self, record: &Record<'_>, node: Option<u32>) {
        // Attachments may be long and only this kind is looked for; it says so
        // at its beginning.
        let is_queued = record
            .attachment
            .is_some_and(|raw| bounded::front(raw.get(), 256).contains("queued_command"));
        if !is_queued {
            return;
        }
        let Some([prompt, origin]) = json::pick_in(record.attachment, &["prompt", "origin"]) else {
            return;
        };
        let text = said(prompt).unwrap_or_default();
        let by = json::pick_in(origin, &["kind"]).and_then(|[kind]| json::text(kind));
        match prompt::classify(&text) {
            Spoken::Notification(text) => self.background(text),
            Spoken::Prompt(text) if by.is_none_or(|by| by == "human") && record.may_be_human => {
                self.asked(&text, record, node);
            }
            _ => {}
        }
    }

    /// A word from a background task.
    fn background(&mut self, text: &str) {
        if let (Some(id), Some(status)) = (
            prompt::tagged(text, "task-id"),
            prompt::tagged(text, "status"),
        ) {
            self.tools.notified(id, status);
        }
    }

    fn push_turn(&mut self, turn: Turn) {
        if self.turns.len() >= limits::DIGEST_PROMPTS_MAX {
            self.turns.remove(FIRST_TURNS);
        }
        self.turns.push(turn);
        let old = self.turns.len().saturating_sub(limits::DIGEST_ANSWERS_MAX);
        if let Some(turn) = old.checked_sub(1).and_then(|n| self.turns.get_mut(n)) {
            turn.answer = None;
        }
    }
}
