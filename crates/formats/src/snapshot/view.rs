//! The facts of a session, as the sections of a hand-off look at them.

use std::fmt::Write as _;

use ccpeer_core::presence::SessionState;
use ccpeer_core::{limits, text};

use super::language::Language;
use super::places::Places;
use super::{CUT_MARK, Facts};
use crate::bounded::{ellipsis, front};
use crate::claude::tasks::{Todo, TodoStatus};
use crate::claude::transcript::{CommandRun, PendingTool, Summary, TurnState};

/// Characters of a text that is one item of a list.
pub(super) const ITEM_CHARS_MAX: usize = 300;
/// Items of one list.
pub(super) const ITEMS_MAX: usize = 20;
/// Characters of a text that is quoted whole.
const QUOTE_CHARS_MAX: usize = 3000;
/// Bytes of Claude's last words that are looked at.
const REPORT_BYTES_MAX: usize = 16 * 1024;
/// Uncommitted files that are looked at.
const DIRTY_MAX: usize = 1000;
/// Characters of a name in a sentence.
const NAME_CHARS_MAX: usize = 60;
/// Turns back from the last one in which a failed command still counts.
const FAILURE_TURNS: u32 = 2;

/// The facts as the sections look at them.
pub(super) struct View<'a> {
    pub(super) summary: &'a Summary,
    pub(super) facts: &'a Facts,
    pub(super) words: Language,
    pub(super) places: Places,
    pub(super) title: String,
    /// Names, short enough to be put into sentences.
    pub(super) device: String,
    pub(super) branch: Option<String>,
    pub(super) head: Option<String>,
    pub(super) todos: &'a [Todo],
    /// What Claude said last, with places taken out.
    pub(super) report: Option<String>,
    pub(super) turn: &'a TurnState,
    /// Uncommitted files, as git names them.
    pub(super) dirty: Vec<String>,
    /// Files by their short names and how often they were changed, the latest
    /// first.
    pub(super) edited: Vec<(String, u32)>,
}

impl<'a> View<'a> {
    pub(super) fn new(summary: &'a Summary, facts: &'a Facts) -> Self {
        let projects = [
            summary.relocated_cwd.as_deref(),
            summary.first_cwd.as_deref(),
        ];
        let places = Places::new(&projects, facts.home.as_deref());
        let report = facts
            .last_assistant_message
            .as_ref()
            .or(summary.last_assistant.as_ref());
        // Stop fires before the last lines are in the file: who brings the last
        // words says with it that the turn is over.
        let turn = match &summary.turn {
            TurnState::Open if facts.last_assistant_message.is_some() => &TurnState::Ended,
            turn => turn,
        };
        let title = match summary.title() {
            title if title.is_empty() => text::one_line(&facts.project, limits::TITLE_CHARS_MAX),
            title => title,
        };
        Self {
            summary,
            facts,
            words: Language::of(&summary.prompts),
            edited: summary
                .edited
                .iter()
                .rev()
                .map(|file| {
                    (
                        text::one_line(&places.path(&file.path), ITEM_CHARS_MAX),
                        file.edits,
                    )
                })
                .collect(),
            title: places.text(&title),
            report: report
                .map(|r| places.text(&text::strip(front(r, REPORT_BYTES_MAX), text::Lines::Keep))),
            places,
            device: text::one_line(&facts.device, limits::DEVICE_NAME_CHARS_MAX),
            branch: facts
                .branch
                .as_ref()
                .or(summary.branch.as_ref())
                .and_then(|b| name(b)),
            head: facts.head.as_ref().and_then(|h| name(h)),
            todos: if facts.todos.is_empty() {
                &summary.todos
            } else {
                &facts.todos
            },
            turn,
            dirty: facts
                .dirty
                .iter()
                .flatten()
                .take(DIRTY_MAX)
                .filter_map(|line| status_path(line))
                .collect(),
        }
    }

    /// How it stands, in one sentence.
    pub(super) fn standing(&self) -> String {
        let words = self.words;
        let state = self.facts.state;
        match self.turn {
            _ if state == SessionState::Done => words.marked_done().to_owned(),
            TurnState::None => words.nothing_asked().to_owned(),
            TurnState::Interrupted => words.stopped_by_user().to_owned(),
            TurnState::Failed(why) => words.failed(why),
            TurnState::Open if state.is_open() => words.is_working(&self.device),
            TurnState::Open => words.cut_off().to_owned(),
            TurnState::Ended if state.is_open() => words.waits(&self.device),
            TurnState::Ended if state == SessionState::Interrupted => words.gone().to_owned(),
            TurnState::Ended => words.closed().to_owned(),
        }
    }

    pub(super) fn with_status(&self, status: TodoStatus) -> Vec<&'a Todo> {
        self.todos
            .iter()
            .filter(|todo| todo.status == status)
            .collect()
    }

    /// What is begun first, then the rest.
    pub(super) fn open_todos(&self) -> impl Iterator<Item = &'a Todo> + use<'a> {
        let begun = self.with_status(TodoStatus::InProgress);
        begun
            .into_iter()
            .chain(self.with_status(TodoStatus::Pending))
    }

    /// Commands that fail and have not been left behind.
    pub(super) fn failing(&self) -> impl Iterator<Item = &'a CommandRun> + use<'a> {
        let oldest = self.summary.turns.saturating_sub(FAILURE_TURNS - 1);
        let failed: Vec<_> = self
            .summary
            .commands
            .iter()
            .filter(|run| !run.ok && run.turn >= oldest)
            .collect();
        let skipped = failed.len().saturating_sub(4);
        failed.into_iter().skip(skipped)
    }

    /// Calls without a result; while the session works they are nobody else's.
    pub(super) fn pending(&self) -> Vec<String> {
        if self.facts.state.is_open() || *self.turn == TurnState::Ended {
            return Vec::new();
        }
        let named = |tool: &PendingTool| {
            let about = self.line(&tool.about, 160);
            if about.is_empty() {
                tool.name.clone()
            } else {
                format!("{} {}", tool.name, code(&about))
            }
        };
        self.summary
            .pending
            .iter()
            .take(ITEMS_MAX)
            .map(named)
            .collect()
    }

    /// What must be right before the work can go on.
    pub(super) fn preparation(&self) -> Option<String> {
        let words = self.words;
        let commit = self
            .head
            .as_deref()
            .map(|head| words.commit_of(self.branch.as_deref(), head));
        let device = &self.device;
        match (&self.facts.dirty, commit) {
            (Some(_), commit) if !self.dirty.is_empty() => {
                Some(words.fetch_changes(device, commit.as_deref()))
            }
            (Some(_), Some(commit)) => Some(words.check_out(&commit)),
            _ if self.summary.edited.is_empty() => None,
            _ => Some(words.compare_files(device)),
        }
    }

    /// What is recorded as still to be done, in order.
    pub(super) fn work(&self) -> Vec<String> {
        let words = self.words;
        let mut steps = Vec::new();
        for what in self.pending() {
            steps.push(words.run_again(&what));
        }
        if matches!(
            self.turn,
            TurnState::Open | TurnState::Interrupted | TurnState::Failed(_)
        ) && let Some(last) = self.summary.prompts.last()
        {
            steps.push(words.finish_request(&self.line(&last.text, ITEM_CHARS_MAX)));
        }
        for run in self.failing() {
            steps.push(words.make_pass(&self.command(&run.command)));
        }
        for todo in self.open_todos().take(ITEMS_MAX) {
            steps.push(self.line(&todo.subject, ITEM_CHARS_MAX));
        }
        steps
    }

    /// A command as code. Going to the project's directory first is a habit and
    /// says nothing.
    pub(super) fn command(&self, command: &str) -> String {
        let line = self.line(command, 160);
        code(line.strip_prefix("cd . && ").unwrap_or(&line))
    }

    /// A text as one line of at most so many characters, places taken out.
    pub(super) fn line(&self, text: &str, chars_max: usize) -> String {
        // Taking places out makes a text shorter: look at more than is kept.
        let text = self
            .places
            .text(front(text, chars_max * 4 + limits::FOREIGN_PATH_BYTES_MAX));
        ellipsis(
            &text::one_line(&text, chars_max.saturating_mul(2)),
            chars_max,
        )
    }

    /// A heading line and a text below it, quoted so that no line of it passes
    /// for a part of the document.
    pub(super) fn quoted(&self, out: &mut String, heading: &str, text: &str) {
        let mut quote = String::from(heading);
        let looked_at = front(
            text.trim(),
            QUOTE_CHARS_MAX * 4 + limits::FOREIGN_PATH_BYTES_MAX,
        );
        let text = self.places.text(looked_at);
        let (text, mark) = match text.char_indices().nth(QUOTE_CHARS_MAX) {
            Some((end, _)) => (text.get(..end).unwrap_or(&text), CUT_MARK),
            None => (text.as_str(), ""),
        };
        for line in text.lines().chain(mark.lines().skip(1)) {
            quote.push_str("\n> ");
            quote.push_str(line.trim_end());
        }
        paragraph(out, &quote.replace("\n> \n", "\n>\n"));
    }
}

/// The path in a line of `git status --porcelain`; of a renamed file the new one.
pub(super) fn status_path(line: &str) -> Option<String> {
    let path = line.get(3..)?;
    let path = path.rsplit_once(" -> ").map_or(path, |(_, new)| new);
    let path = front(path.trim_matches('"'), limits::FOREIGN_PATH_BYTES_MAX);
    let path = text::one_line(path, ITEM_CHARS_MAX);
    (!path.is_empty()).then_some(path)
}

pub(super) fn latest<T>(list: &[T], max: usize) -> impl Iterator<Item = &T> {
    list.iter().skip(list.len().saturating_sub(max))
}

pub(super) fn paragraph(out: &mut String, text: &str) {
    if !out.is_empty() {
        out.truncate(out.trim_end().len());
        out.push_str("\n\n");
    }
    out.push_str(text);
    if text.ends_with([':', '：']) {
        out.push('\n');
    }
}

pub(super) fn item(out: &mut String, text: &str) {
    let _ = writeln!(out, "- {text}");
}

/// A name as part of a sentence; nothing if it is empty.
pub(super) fn name(text: &str) -> Option<String> {
    let name = ellipsis(&text::one_line(text, 2 * NAME_CHARS_MAX), NAME_CHARS_MAX);
    (!name.is_empty()).then_some(name)
}

/// A text as code.
pub(super) fn code(text: &str) -> String {
    if text.contains('`') {
        format!("`` {text} ``")
    } else {
        format!("`{text}`")
    }
}
