//! `ccpeer tasks`, and `ccpeer` alone

use ccpeer_agent::api::{ErrorCode, Expiring, Request, Status, Task};
use ccpeer_core::text;

use super::pause;
use crate::context::{Context, say, talk};
use crate::error::CommandError;
use crate::json;
use crate::table::{self, Column};

/// List the unfinished tasks of all machines, newest first
///
/// The numbers are the `<TASK>` of `show`, `continue`, `done` and `reopen` until
/// the next list.
#[derive(Debug, clap::Args)]
pub(crate) struct TasksArgs {
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    /// Also tasks that have ended, are done or were archived
    #[arg(long)]
    all: bool,
}

pub(crate) fn run(args: &TasksArgs, context: &Context) -> Result<(), CommandError> {
    let mut agent = match context.agent() {
        Err(CommandError::Told(e))
            if e.code == ErrorCode::Agent && !context.home.root().exists() =>
        {
            return Err(CommandError::new(
                ErrorCode::Agent,
                "ccpeer is not set up on this machine yet",
                "run `ccpeer up`",
            ));
        }
        other => other?,
    };
    let request = Request::Tasks {
        all: args.all,
        only_look: false,
    };
    if args.json {
        return say(json::passed_on(&agent.get_json(&request)?)?);
    }
    let tasks: Vec<Task> = agent.get(&request)?;
    if tasks.is_empty() {
        drop(agent);
        return nothing_yet(context);
    }
    let columns = [
        Column("N", 3),
        Column("DEVICE", 12),
        Column("STATE", 13),
        Column("AGE", 6),
        Column("TITLE", 0),
        Column("PROJECT", 16),
    ];
    let rows: Vec<_> = tasks.iter().map(row).collect();
    // In one go: a list may have thousands of lines.
    say(table::render(&columns, &rows).join("\n"))?;
    if tasks.iter().any(|task| task.heads > 1) {
        talk("* was continued on two machines; each line is one of the versions.");
    }
    if tasks.iter().any(is_coming) {
        talk("~ is still being fetched.");
    }
    if tasks.iter().any(|task| task.unreadable) {
        talk("! needs a newer ccpeer on this machine; `continue --handoff` works.");
    }
    if tasks.iter().any(was_open) {
        talk("? is the last word of a machine that is not connected.");
    }
    if tasks.iter().any(|task| task.document_only) {
        talk("= is a document alone, of the machine that it names; `continue --handoff` works.");
    }
    for task in &tasks {
        if let Some(by) = &task.taken_over_by {
            let name = text::one_line(&by.name, 48);
            talk(format!(
                "{} was taken over by {name}; what is written here is a line of its own.",
                task.n
            ));
        }
    }
    drop(agent);
    pause::remind(context);
    warn_of_expiry(context);
    Ok(())
}

/// One line when Claude Code is about to delete what only this machine holds.
/// Not where there is no other machine that could.
fn warn_of_expiry(context: &Context) {
    let Ok(expiring) = context.get::<Expiring>(&Request::Expiring) else {
        return;
    };
    if let Some(line) = expiry_line(&expiring) {
        talk(line);
    }
}

fn expiry_line(expiring: &Expiring) -> Option<String> {
    let (count, days) = (expiring.sessions.len(), expiring.warn_days);
    let what = match count {
        0 => return None,
        1 => "a session".to_owned(),
        n => format!("{n} sessions"),
    };
    let kept = if expiring.sessions.iter().all(|s| s.captured) {
        "ccpeer keeps its copy here"
    } else {
        "`ccpeer push --all` keeps a copy here"
    };
    Some(format!(
        "Claude Code deletes {what} within {days} days that no other machine holds;\n{kept}."
    ))
}

/// Not all of it is here yet.
pub(crate) fn is_coming(task: &Task) -> bool {
    !task.complete && !task.unreadable
}

/// Open by the last word of a machine that cannot be asked now.
fn was_open(task: &Task) -> bool {
    task.last_heard.is_some() && matches!(task.state.as_str(), "live" | "idle")
}

/// The state, with the marks that are explained below the list.
pub(crate) fn state(task: &Task) -> String {
    let mut state = task.state.clone();
    if task.heads > 1 {
        state.push('*');
    }
    if is_coming(task) {
        state.push('~');
    }
    if task.unreadable {
        state.push('!');
    }
    if was_open(task) {
        state.push('?');
    }
    if task.document_only {
        state.push('=');
    }
    state
}

/// The machine on which it was written.
pub(crate) fn device(task: &Task) -> &str {
    match task.document_only {
        true => &task.hostname,
        false => &task.device.name,
    }
}

fn row(task: &Task) -> Vec<String> {
    vec![
        task.n.to_string(),
        device(task).to_owned(),
        state(task),
        table::age(&task.updated),
        task.title.clone(),
        task.project.clone(),
    ]
}

fn nothing_yet(context: &Context) -> Result<(), CommandError> {
    let status: Status = context.get(&Request::Status)?;
    talk("No unfinished tasks.");
    pause::remind_of(&status);
    if status.store.sessions > 0 {
        // One that began before the hooks were there is no task until its next turn.
        talk("Sessions without one are in `ccpeer sessions`; `ccpeer tasks --all` numbers them.");
    }
    if status.hooks != "installed" {
        talk("Claude Code does not tell the agent about sessions yet: `ccpeer hooks install`.");
    }
    if status.peers.is_empty() {
        talk("No other machine is paired: run `ccpeer pair` here and `ccpeer join` there.");
    }
    Ok(())
}
