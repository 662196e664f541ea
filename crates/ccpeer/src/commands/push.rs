//! `ccpeer push`, and what it shares with `pull`

use ccpeer_agent::api::{ErrorCode, Pushed, Request, Selection, Summary};
use ccpeer_core::text;

use crate::context::{Context, say, say_json, talk};
use crate::error::CommandError;
use crate::table;

/// Capture sessions of this machine and send them now
///
/// Happens by itself after every turn; this is for those who do not want to
/// wait. One failure does not end the batch.
#[derive(Debug, clap::Args)]
pub(crate) struct PushArgs {
    #[command(flatten)]
    which: Which,
    /// Print one JSON document a line
    #[arg(long)]
    json: bool,
}

/// Which sessions a batch works on.
#[derive(Debug, clap::Args)]
pub(crate) struct Which {
    /// Number in the last list, or unique beginning of a session id; without it,
    /// the sessions of the project in the current directory
    session: Option<String>,
    /// All sessions of this project: its name or its directory
    #[arg(long, value_name = "PROJECT", conflicts_with = "session")]
    project: Option<String>,
    /// All sessions
    #[arg(long, conflicts_with_all = ["session", "project"])]
    all: bool,
}

impl Which {
    pub(crate) fn selection(&self) -> Result<Selection, CommandError> {
        if self.all {
            return Ok(Selection::All);
        }
        if let Some(session) = &self.session {
            let session = session.clone();
            return Ok(Selection::Session { session });
        }
        let here = || {
            std::env::current_dir()
                .ok()?
                .into_os_string()
                .into_string()
                .ok()
        };
        match self.project.clone().or_else(here) {
            Some(project) => Ok(Selection::Project { project }),
            None => Err(CommandError::usage(
                "the current directory has no name",
                "name a session, or use --project or --all",
            )),
        }
    }

    /// What to add to a refusal when nothing was named.
    pub(crate) fn explain(&self, e: CommandError) -> CommandError {
        match e {
            CommandError::Told(mut e)
                if self.session.is_none()
                    && self.project.is_none()
                    && !self.all
                    && e.code.exit() == 1
                    && e.code != ErrorCode::Paused =>
            {
                e.hint = Some("name a session, or use --project or --all".to_owned());
                CommandError::Told(e)
            }
            e => e,
        }
    }
}

pub(crate) fn run(args: &PushArgs, context: &Context) -> Result<(), CommandError> {
    let summary = context
        .stream(&Request::Push(args.which.selection()?), &mut |value| {
            if args.json {
                return say_json(&value);
            }
            match serde_json::from_value(value) {
                Ok(pushed) => say(line(&pushed)),
                Err(_) => Ok(()),
            }
        })
        .map_err(|e| args.which.explain(e))?;
    sum_up(&summary, args.json)
}

/// What came of one session.
pub(crate) fn line(pushed: &Pushed) -> String {
    let mut out = format!("{}  {}", table::short(&pushed.session_id), pushed.result);
    if !pushed.held_by.is_empty() {
        let names: Vec<&str> = pushed.held_by.iter().map(|d| d.name.as_str()).collect();
        out += &format!(", held by {}", text::one_line(&names.join(", "), 60));
    }
    if let Some(reason) = &pushed.reason {
        out += &format!(": {}", text::one_line(reason, 200));
    }
    out
}

/// The last line of a batch. With `--json` it is talk, so that every line of
/// data is a session.
pub(crate) fn sum_up(summary: &Summary, as_json: bool) -> Result<(), CommandError> {
    let line = format!(
        "{} done, {} skipped, {} failed",
        summary.done, summary.skipped, summary.failed
    );
    if as_json {
        talk(line);
    } else {
        say(line)?;
    }
    if summary.failed > 0 {
        return Err(CommandError::Exit(ErrorCode::Refused.exit()));
    }
    Ok(())
}
