//! From facts to the text of a hand-off document.

use std::fmt::Write as _;

use ccpeer_core::time::Timestamp;

use super::view::{ITEM_CHARS_MAX, ITEMS_MAX, View, code, item, latest, paragraph};
use super::{BasedOn, Facts, Sections, Snapshot};
use crate::claude::tasks::TodoStatus;
use crate::claude::transcript::{Summary, TurnState};

/// Files that are named.
const FILES_MAX: usize = 40;
/// Earlier requests that are listed with their answers.
const ANSWERS_MAX: usize = 10;

/// Makes the document: the same facts give the same bytes.
#[must_use]
pub fn compose(summary: &Summary, facts: &Facts) -> Snapshot {
    let view = View::new(summary, facts);
    Snapshot {
        v: super::SNAPSHOT_VERSION,
        session_id: facts.session,
        title: view.title.clone(),
        updated: facts.updated,
        created: summary.first_ms.map(Timestamp),
        project: facts.project.clone(),
        branch: facts
            .branch
            .clone()
            .or_else(|| summary.branch.clone())
            .unwrap_or_default(),
        head: facts.head.clone().unwrap_or_default(),
        changed: facts.dirty.as_ref().map(|d| d.len() as u64),
        device: view.device.clone(),
        sections: Sections {
            task: view.task(),
            done: view.done(),
            in_progress: view.in_progress(),
            next_steps: view.next_steps(),
            files: view.files(),
            handoff_prompt: view.handoff_prompt(),
        },
        based_on: BasedOn {
            bytes: summary.bytes,
            records: summary.records,
        },
        enriched: false,
    }
}

impl<'a> View<'a> {
    fn task(&self) -> String {
        let words = self.words;
        let mut out = String::new();
        let prompts = &self.summary.prompts;
        match prompts.as_slice() {
            [] => paragraph(&mut out, words.nothing_asked()),
            [only] => self.quoted(&mut out, words.asked_first(), &only.text),
            [first, between @ .., last] => {
                self.quoted(&mut out, words.asked_first(), &first.text);
                if !between.is_empty() {
                    paragraph(&mut out, words.asked_later());
                    let skipped = between.len().saturating_sub(ITEMS_MAX);
                    if skipped > 0 || self.summary.turns as usize > prompts.len() {
                        item(&mut out, words.some_left_out());
                    }
                    for prompt in between.iter().skip(skipped) {
                        item(&mut out, &self.line(&prompt.text, ITEM_CHARS_MAX));
                    }
                }
                self.quoted(&mut out, words.asked_last(), &last.text);
            }
        }
        if let Some(plan) = &self.summary.plan {
            self.quoted(&mut out, words.agreed_plan(), plan);
        }
        if !self.summary.answers.is_empty() {
            paragraph(&mut out, words.decisions());
            for answer in latest(&self.summary.answers, 10) {
                item(&mut out, &self.line(answer, ITEM_CHARS_MAX));
            }
        }
        out
    }

    fn done(&self) -> String {
        let words = self.words;
        let mut out = String::new();
        if let Some(compacted) = &self.summary.compact_summary {
            self.quoted(&mut out, words.before_compaction(), essence(compacted));
        }
        let mut list = String::new();
        for todo in latest(&self.with_status(TodoStatus::Completed), ITEMS_MAX) {
            item(&mut list, &self.line(&todo.subject, ITEM_CHARS_MAX));
        }
        for commit in latest(&self.summary.commits, ITEMS_MAX) {
            item(
                &mut list,
                &format!("{} {}: {}", words.commit(), commit.hash, commit.subject),
            );
        }
        let passed: Vec<_> = self.summary.commands.iter().filter(|run| run.ok).collect();
        for run in latest(&passed, 8) {
            item(&mut list, &words.passes(&self.command(&run.command)));
        }
        if !list.is_empty() {
            paragraph(&mut out, list.trim_end());
        }
        let earlier = self.answers();
        if !earlier.is_empty() {
            paragraph(&mut out, words.answered());
            out.push_str(&earlier);
        }
        if let (Some(report), TurnState::Ended) = (&self.report, self.turn) {
            self.quoted(&mut out, words.last_report(), report);
        }
        if out.is_empty() {
            words.nothing_done().to_owned()
        } else {
            out
        }
    }

    /// The requests before the last one with their answers, as a list.
    fn answers(&self) -> String {
        let mut list = String::new();
        let earlier = self
            .summary
            .prompts
            .split_last()
            .map_or(&[][..], |(_, earlier)| earlier);
        for prompt in latest(earlier, ANSWERS_MAX) {
            if let Some(answer) = &prompt.answer {
                let (request, answer) = (
                    self.line(&prompt.text, 80),
                    self.line(answer, ITEM_CHARS_MAX),
                );
                item(&mut list, &self.words.request_and_answer(&request, &answer));
            }
        }
        list
    }

    fn in_progress(&self) -> String {
        let words = self.words;
        let mut out = String::new();
        paragraph(&mut out, &self.standing());
        let mut list = String::new();
        for todo in self
            .with_status(TodoStatus::InProgress)
            .iter()
            .take(ITEMS_MAX)
        {
            item(
                &mut list,
                &words.begun(&self.line(&todo.subject, ITEM_CHARS_MAX)),
            );
        }
        for what in self.pending() {
            item(&mut list, &words.no_result(&what));
        }
        for about in self.summary.subagents.iter().take(ITEMS_MAX) {
            item(
                &mut list,
                &words.subagent(&self.line(about, ITEM_CHARS_MAX)),
            );
        }
        for run in self.failing() {
            item(&mut list, &words.fails(&self.command(&run.command)));
            for line in self.places.text(&run.output).lines() {
                let _ = writeln!(list, "      {line}");
            }
        }
        if !self.dirty.is_empty() {
            item(
                &mut list,
                &words.uncommitted(&self.device, self.dirty.len()),
            );
            for path in self.dirty.iter().take(ITEMS_MAX) {
                let _ = writeln!(list, "  - {}", code(path));
            }
            if let more @ 1.. = self.dirty.len().saturating_sub(ITEMS_MAX) {
                let _ = writeln!(list, "  - {}", words.and_more(more));
            }
        }
        if !list.is_empty() {
            paragraph(&mut out, list.trim_end());
        }
        if let (Some(report), false) = (&self.report, *self.turn == TurnState::Ended) {
            self.quoted(&mut out, words.last_words(), report);
        }
        out
    }

    fn next_steps(&self) -> String {
        let work = self.work();
        let ask = work.is_empty().then(|| self.words.ask_user().to_owned());
        let steps = self.preparation().into_iter().chain(work).chain(ask);
        let lines: Vec<String> = steps
            .enumerate()
            .map(|(n, step)| format!("{}. {step}", n + 1))
            .collect();
        lines.join("\n")
    }

    fn files(&self) -> String {
        let words = self.words;
        let mut out = String::new();
        let edited = &self.edited;
        for (path, edits) in edited.iter().take(FILES_MAX) {
            let mut why = words.edited(*edits);
            if self.dirty.iter().any(|dirty| is_same_file(dirty, path)) {
                why.push_str(words.comma());
                why.push_str(words.not_committed());
            }
            item(&mut out, &format!("{} — {why}", code(path)));
        }
        let only_dirty: Vec<_> = self
            .dirty
            .iter()
            .filter(|dirty| !edited.iter().any(|(path, _)| is_same_file(dirty, path)))
            .collect();
        for path in only_dirty.iter().take(FILES_MAX) {
            item(
                &mut out,
                &format!("{} — {}", code(path), words.not_committed()),
            );
        }
        let more =
            edited.len().saturating_sub(FILES_MAX) + only_dirty.len().saturating_sub(FILES_MAX);
        if more > 0 {
            item(&mut out, &words.and_more(more));
        }
        if out.is_empty() {
            words.no_files().to_owned()
        } else {
            out.trim_end().to_owned()
        }
    }
}

/// Whether git's name for a file and ours are of the same file. Git counts from
/// the repository's top, we count from where the session was started.
fn is_same_file(git: &str, ours: &str) -> bool {
    git == ours || git.strip_suffix(ours).is_some_and(|top| top.ends_with('/'))
}

/// The part of Claude Code's compaction summary that is about the work.
fn essence(summary: &str) -> &str {
    let start = summary
        .find("\nSummary:")
        .map_or(0, |at| at + "\nSummary:".len());
    let rest = summary.get(start..).unwrap_or(summary);
    let end = rest
        .find("\nIf you need specific details")
        .unwrap_or(rest.len());
    rest.get(..end).unwrap_or(rest).trim()
}
