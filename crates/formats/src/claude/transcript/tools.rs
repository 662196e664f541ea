//! What tools were called for, and what became of it.

use ccpeer_core::{limits, text};
use serde::{Deserialize, Serialize};

use super::fields::{content_text, keep};
use super::json::{self, Raw};
use super::summary::{CommandRun, Commit, EditedFile, PendingTool};
use crate::bounded;
use crate::claude::tasks::{Todo, TodoStatus};

/// A call that has no result yet.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Call {
    id: String,
    name: String,
    kind: CallKind,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum CallKind {
    /// A file is written or edited.
    File(String),
    Command {
        /// As one line.
        command: String,
        /// Whether it makes a commit; the whole command knows, its line may not.
        commits: bool,
        /// Whether it tests, builds or checks something.
        checks: bool,
    },
    Todos(Vec<Todo>),
    TaskCreate(String),
    TaskUpdate {
        id: String,
        /// `None`: not mentioned.
        status: Option<String>,
        subject: Option<String>,
    },
    Agent(String),
    Plan(Option<String>),
    Question,
    Other,
}

/// The result of a call.
pub(super) struct Outcome<'a> {
    pub(super) is_error: bool,
    pub(super) content: Raw<'a>,
    /// The same once more, for programs.
    pub(super) structured: Raw<'a>,
    pub(super) turn: u32,
}

/// What the tools have done so far.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Tools {
    pub(super) edited: Vec<EditedFile>,
    pub(super) commands: Vec<CommandRun>,
    pub(super) commits: Vec<Commit>,
    pub(super) plan: Option<String>,
    pub(super) answers: Vec<String>,
    /// With the numbers that Claude Code gave; a list of TodoWrite has none.
    todos: Vec<(String, Todo)>,
    /// Running in the background: id and what they are about.
    agents: Vec<(String, String)>,
    calls: Vec<Call>,
}

/// Characters of a command that are kept.
const COMMAND_CHARS_MAX: usize = 300;
/// Lines and characters of a failed command's output that are kept: its end,
/// where the reason mostly stands.
const OUTPUT_MAX: (usize, usize) = (8, 600);

impl Tools {
    /// A tool was called.
    pub(super) fn call(&mut self, id: Raw<'_>, name: Raw<'_>, input: Raw<'_>) {
        let (Some(id), Some(name)) = (json::text(id), json::text(name)) else {
            return;
        };
        let kind = CallKind::of(&name, input);
        let call = Call {
            id: bounded::visible(&id, 128),
            name: bounded::line(&name, 128),
            kind,
        };
        bounded::push(&mut self.calls, call, limits::DIGEST_ITEMS_MAX);
    }

    /// A call has a result.
    pub(super) fn result(&mut self, id: Raw<'_>, outcome: &Outcome<'_>) {
        let Some(id) = json::text(id) else { return };
        let Some(place) = self.calls.iter().rposition(|c| c.id == id) else {
            return;
        };
        let call = self.calls.remove(place);
        match call.kind {
            CallKind::Command {
                command,
                commits,
                checks,
            } => {
                self.command_ended(command, commits, checks, outcome);
            }
            _ if outcome.is_error => {}
            CallKind::File(path) => self.file_edited(path, outcome.turn),
            CallKind::Todos(list) => {
                self.todos = list.into_iter().map(|todo| (String::new(), todo)).collect();
            }
            CallKind::TaskCreate(subject) => self.task_created(&subject, outcome),
            CallKind::TaskUpdate {
                id,
                status,
                subject,
            } => {
                self.task_updated(&id, status.as_deref(), subject.as_deref());
            }
            CallKind::Agent(about) => self.agent_launched(about, outcome),
            CallKind::Plan(plan) => {
                let shown = || json::pick_in(outcome.structured, &["plan"]);
                let plan = plan.or_else(|| shown().and_then(|[p]| json::text(p)).map(|p| keep(&p)));
                self.plan = plan.or(self.plan.take());
            }
            CallKind::Question => {
                let said = content_text(outcome.content);
                let said = said.trim_start_matches("User has answered your questions:");
                bounded::push(
                    &mut self.answers,
                    bounded::line(said, 500),
                    limits::DIGEST_ITEMS_MAX,
                );
            }
            CallKind::Other => {}
        }
    }

    /// A background task reports.
    pub(super) fn notified(&mut self, id: &str, status: &str) {
        if !matches!(status, "running" | "in_progress") {
            self.agents.retain(|(agent, _)| agent != id);
        }
    }

    /// The user went on: what has no result by now gets none.
    pub(super) fn abandon_calls(&mut self) {
        self.calls.clear();
    }

    pub(super) fn todos(&self) -> Vec<Todo> {
        self.todos.iter().map(|(_, todo)| todo.clone()).collect()
    }

    pub(super) fn pending(&self) -> Vec<PendingTool> {
        let about = |call: &Call| match &call.kind {
            CallKind::File(text)
            | CallKind::Command { command: text, .. }
            | CallKind::TaskCreate(text)
            | CallKind::Agent(text) => text.clone(),
            CallKind::Todos(_)
            | CallKind::TaskUpdate { .. }
            | CallKind::Plan(_)
            | CallKind::Question
            | CallKind::Other => String::new(),
        };
        self.calls
            .iter()
            .map(|c| PendingTool {
                name: c.name.clone(),
                about: about(c),
            })
            .collect()
    }

    pub(super) fn subagents(&self) -> Vec<String> {
        let waited_for = self.calls.iter().filter_map(|call| match &call.kind {
            CallKind::Agent(about) => Some(about.clone()),
            _ => None,
        });
        self.agents
            .iter()
            .map(|(_, about)| about.clone())
            .chain(waited_for)
            .collect()
    }

    fn file_edited(&mut self, path: String, turn: u32) {
        let before = self.edited.iter().position(|f| f.path == path);
        let edits = before.map_or(0, |place| self.edited.remove(place).edits);
        let file = EditedFile {
            path,
            edits: edits.saturating_add(1),
            turn,
        };
        bounded::push(&mut self.edited, file, limits::DIGEST_FILES_MAX);
    }

    fn command_ended(
        &mut self,
        command: String,
        commits: bool,
        checks: bool,
        outcome: &Outcome<'_>,
    ) {
        let before = self.commands.iter().position(|run| run.command == command);
        let failed_before = before.is_some_and(|place| !self.commands.remove(place).ok);
        if !outcome.is_error {
            if commits {
                self.committed(&content_text(outcome.content));
            }
            if checks || failed_before {
                let (output, turn) = (String::new(), outcome.turn);
                let run = CommandRun {
                    command,
                    ok: true,
                    output,
                    turn,
                };
                bounded::push(&mut self.commands, run, limits::DIGEST_ITEMS_MAX);
            }
            return;
        }
        let said = content_text(outcome.content);
        // Not run at all: refused by the user, or never understood as a command.
        let not_run = [
            "The user doesn't want to",
            "<tool_use_error>",
            "[Request interrupted",
        ];
        if not_run.iter().any(|start| said.starts_with(start)) {
            return;
        }
        let run = CommandRun {
            command,
            ok: false,
            output: end_of(&said),
            turn: outcome.turn,
        };
        bounded::push(&mut self.commands, run, limits::DIGEST_ITEMS_MAX);
    }

    /// Finds `[main 1a2b3c4] subject` in what git printed.
    fn committed(&mut self, output: &str) {
        for printed in output.lines() {
            let Some((head, subject)) = printed.strip_prefix('[').and_then(|l| l.split_once("] "))
            else {
                continue;
            };
            let hash = head.rsplit(' ').next().unwrap_or("");
            let is_hash =
                (7..=40).contains(&hash.len()) && hash.bytes().all(|c| c.is_ascii_hexdigit());
            if is_hash && head.contains(' ') {
                let commit = Commit {
                    hash: hash.to_owned(),
                    subject: bounded::line(subject, 120),
                };
                bounded::push(&mut self.commits, commit, limits::DIGEST_ITEMS_MAX);
            }
        }
    }

    fn task_created(&mut self, subject: &str, outcome: &Outcome<'_>) {
        let structured = json::pick_in(outcome.structured, &["task"])
            .and_then(|[task]| json::pick_in(task, &["id"]))
            .and_then(|[id]| json::text(id))
            .map(|id| bounded::visible(&id, 32));
        let id = structured.unwrap_or_else(|| {
            let said = content_text(outcome.content);
            let after = said.split_once('#').map_or("", |(_, rest)| rest);
            after
                .chars()
                .take_while(char::is_ascii_digit)
                .take(10)
                .collect()
        });
        if let Some(todo) = Todo::new(subject, None) {
            bounded::push(&mut self.todos, (id, todo), limits::DIGEST_ITEMS_MAX);
        }
    }

    fn task_updated(&mut self, id: &str, status: Option<&str>, subject: Option<&str>) {
        let Some(place) = self.todos.iter().position(|(known, _)| known == id) else {
            return;
        };
        match status.map(TodoStatus::from_word) {
            Some(None) => {
                self.todos.remove(place);
                return;
            }
            Some(Some(status)) => {
                if let Some((_, todo)) = self.todos.get_mut(place) {
                    todo.status = status;
                }
            }
            None => {}
        }
        let renamed = subject.and_then(|s| Todo::new(s, None));
        if let (Some(renamed), Some((_, todo))) = (renamed, self.todos.get_mut(place)) {
            todo.subject = renamed.subject;
        }
    }

    fn agent_launched(&mut self, about: String, outcome: &Outcome<'_>) {
        let Some([status, id]) = json::pick_in(outcome.structured, &["status", "agentId"]) else {
            return;
        };
        if json::text(status).as_deref() == Some("async_launched")
            && let Some(id) = json::text(id)
        {
            bounded::push(
                &mut self.agents,
                (bounded::visible(&id, 128), about),
                limits::DIGEST_ITEMS_MAX,
            );
        }
    }
}

impl CallKind {
    fn of(name: &str, input: Raw<'_>) -> Self {
        let one = |names: &'static [&'static str; 1]| {
            json::pick_in(input, names).and_then(|[value]| json::text(value))
        };
        let path = |p: Option<std::borrow::Cow<'_, str>>| {
            p.filter(|p| (1..=limits::FOREIGN_PATH_BYTES_MAX).contains(&p.len()))
                .map_or(Self::Other, |p| Self::File(p.into_owned()))
        };
        match name {
            "Write" | "Edit" | "MultiEdit" => path(one(&["file_path"])),
            "NotebookEdit" => path(one(&["notebook_path"])),
            "Bash" | "PowerShell" => {
                one(&["command"]).map_or(Self::Other, |command| Self::Command {
                    commits: command.contains("git") && command.contains("commit"),
                    checks: is_check(&command),
                    command: bounded::line(&command, COMMAND_CHARS_MAX),
                })
            }
            "TodoWrite" => json::pick_in(input, &["todos"])
                .map_or(Self::Other, |[todos]| Self::Todos(Todo::list(todos))),
            "TaskCreate" => one(&["subject"]).map_or(Self::Other, |subject| {
                Self::TaskCreate(bounded::line(&subject, 200))
            }),
            "TaskUpdate" => json::pick_in(input, &["taskId", "status", "subject"]).map_or(
                Self::Other,
                |[id, status, subject]| Self::TaskUpdate {
                    id: json::text(id)
                        .map(|id| bounded::visible(&id, 32))
                        .unwrap_or_default(),
                    status: json::text(status).map(|s| bounded::visible(&s, 32)),
                    subject: json::text(subject).map(|s| bounded::line(&s, 200)),
                },
            ),
            "Agent" | "Task" => Self::Agent(
                one(&["description"])
                    .map(|d| bounded::line(&d, 200))
                    .unwrap_or_default(),
            ),
            "ExitPlanMode" => Self::Plan(one(&["plan"]).map(|plan| keep(&plan))),
            "AskUserQuestion" => Self::Question,
            _ => Self::Other,
        }
    }
}

/// Whether a command is one whose outcome says how the work stands.
fn is_check(command: &str) -> bool {
    const WORDS: [&str; 17] = [
        "test", "tests", "pytest", "check", "clippy", "build", "lint", "eslint", "tsc", "mypy",
        "ruff", "vet", "make", "jest", "vitest", "mvn", "gradle",
    ];
    command
        .split(|c: char| !c.is_ascii_alphanumeric())
        .any(|word| WORDS.contains(&word))
}

/// The last lines of an output that say something.
fn end_of(output: &str) -> String {
    let (lines_max, chars_max) = OUTPUT_MAX;
    let clean = text::strip(bounded::back(output, chars_max * 8), text::Lines::Keep);
    let mut lines: Vec<&str> = clean
        .lines()
        .rev()
        .filter(|line| !line.trim().is_empty())
        .take(lines_max)
        .collect();
    lines.reverse();
    let joined = lines.join("\n");
    let skip = joined.chars().count().saturating_sub(chars_max);
    joined.chars().skip(skip).collect()
}
