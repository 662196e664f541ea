//! `ccpeer sessions`

use std::collections::BTreeMap;

use ccpeer_agent::api::{Request, Scope, Session};
use ccpeer_core::text;

use crate::context::{Context, say, say_answer, talk};
use crate::error::CommandError;
use crate::table::{self, Column};

/// List sessions by project
///
/// Those in Claude Code's directory here and those held from other devices.
#[derive(Debug, clap::Args)]
pub(crate) struct SessionsArgs {
    /// Only those in Claude Code's directory here
    #[arg(long, conflicts_with = "remote")]
    local: bool,
    /// Only those held from other devices
    #[arg(long)]
    remote: bool,
    /// Only those of this project: its name or its directory
    #[arg(long, value_name = "PROJECT")]
    project: Option<String>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &SessionsArgs, context: &Context) -> Result<(), CommandError> {
    let scope = match (args.local, args.remote) {
        (true, _) => Scope::Local,
        (_, true) => Scope::Remote,
        _ => Scope::All,
    };
    let request = Request::Sessions {
        scope,
        project: args.project.clone(),
    };
    if args.json {
        return say_answer(context, &request);
    }
    let sessions: Vec<Session> = context.get(&request)?;
    if sessions.is_empty() {
        talk("No sessions.");
        return Ok(());
    }
    let mut projects: BTreeMap<String, Vec<&Session>> = BTreeMap::new();
    for session in &sessions {
        let project = text::one_line(&session.project, 60);
        projects.entry(project).or_default().push(session);
    }
    let columns = [
        Column("  ID", 10),
        Column("DEVICE", 12),
        Column("WHERE", 5),
        Column("AGE", 6),
        Column("SIZE", 10),
        Column("TITLE", 0),
    ];
    let mut lines = Vec::new();
    for (project, sessions) in projects {
        if !lines.is_empty() {
            lines.push(String::new());
        }
        lines.push(project);
        let rows: Vec<Vec<String>> = sessions.into_iter().map(row).collect();
        // Cells lose their leading space: the indent is put back here.
        let table = table::render(&columns, &rows);
        lines.extend(table.iter().map(|line| format!("  {}", line.trim_start())));
    }
    // In one go: a list may have thousands of lines.
    say(lines.join("\n"))
}

/// Where it is: in Claude Code's directory here, held from another device, or both.
pub(crate) fn place(session: &Session) -> &'static str {
    match (session.local, session.remote) {
        (true, true) => "both",
        (true, false) => "here",
        (false, _) => "held",
    }
}

/// The same, but for sessions that others may not have whole.
fn shared(session: &Session) -> &'static str {
    match session.share.as_str() {
        "snapshot" => "doc",
        "local" => "local",
        _ => place(session),
    }
}

fn row(session: &Session) -> Vec<String> {
    vec![
        table::short(&session.session_id),
        session.device.name.clone(),
        shared(session).to_owned(),
        table::age(&session.updated),
        table::size(session.bytes),
        session.title.clone(),
    ]
}
