//! `ccpeer pull`

use ccpeer_agent::api::{Placed, PlacedHow, Request};
use ccpeer_core::text;

use crate::commands::push::{Which, sum_up};
use crate::context::{Context, say, say_json};
use crate::error::CommandError;
use crate::table;

/// Fetch sessions of other machines and place them now
///
/// Places without starting Claude Code. One failure does not end the batch.
#[derive(Debug, clap::Args)]
pub(crate) struct PullArgs {
    #[command(flatten)]
    which: Which,
    /// Print one JSON document a line
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &PullArgs, context: &Context) -> Result<(), CommandError> {
    let summary = context
        .stream(&Request::Pull(args.which.selection()?), &mut |value| {
            if args.json {
                return say_json(&value);
            }
            match serde_json::from_value(value) {
                Ok(placed) => say(line(&placed)),
                Err(_) => Ok(()),
            }
        })
        .map_err(|e| args.which.explain(e))?;
    sum_up(&summary, args.json)
}

/// What came of one session.
pub(crate) fn line(placed: &Placed) -> String {
    let how = match placed.placed {
        PlacedHow::New => "new",
        PlacedHow::FastForward => "brought up to date",
        PlacedHow::UpToDate => "up to date",
        PlacedHow::Fork => "placed beside the local one",
        PlacedHow::Joined => "joined with the local one",
        PlacedHow::Refused => "refused",
    };
    let mut out = format!("{}  {how}", table::short(&placed.session_id));
    if let Some(dir) = &placed.project_dir {
        out += &format!(", in {dir}");
    }
    if let Some(reason) = &placed.reason {
        out += &format!(": {}", text::one_line(reason, 200));
    }
    out
}
