//! `ccpeer projects`

use ccpeer_agent::api::{Project, Request};

use crate::context::{Context, say, say_json, talk};
use crate::error::CommandError;
use crate::table::{self, Column};

/// List projects and their directories here
#[derive(Debug, clap::Args)]
pub(crate) struct ProjectsArgs {
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &ProjectsArgs, context: &Context) -> Result<(), CommandError> {
    let projects: Vec<Project> = context.get(&Request::Projects)?;
    if args.json {
        return say_json(&projects);
    }
    if projects.is_empty() {
        talk("No projects.");
        return Ok(());
    }
    let columns = [
        Column("PROJECT", 28),
        Column("SESSIONS", 8),
        Column("DIRECTORY", 0),
    ];
    let rows: Vec<Vec<String>> = projects
        .iter()
        .map(|project| {
            vec![
                project.name.clone(),
                project.sessions.to_string(),
                project
                    .dir
                    .clone()
                    .unwrap_or_else(|| "not known here".to_owned()),
            ]
        })
        .collect();
    for line in table::render(&columns, &rows) {
        say(line)?;
    }
    Ok(())
}
