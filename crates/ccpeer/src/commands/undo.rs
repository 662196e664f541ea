//! `ccpeer undo`

use ccpeer_agent::api::{Request, Summary, TakenBack, Undone};
use ccpeer_core::text;

use crate::context::{Context, say, say_json, talk};
use crate::error::CommandError;
use crate::table;

/// Take back the last placement that you asked for, byte for byte
///
/// What was placed by itself (`ccpeer policy place`) is not in that row: it is
/// taken back by its session, or all at once. What was taken back is not placed by
/// itself again. Where somebody has gone on since, everything stays as it is.
#[derive(Debug, clap::Args)]
pub(crate) struct UndoArgs {
    /// The last placement of this one: its number in the last list, or the
    /// beginning of its id
    task: Option<String>,
    /// Everything that was placed by itself
    #[arg(long, conflicts_with = "task")]
    auto: bool,
    /// Print one JSON document a line
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &UndoArgs, context: &Context) -> Result<(), CommandError> {
    if args.auto {
        return all_unasked(args, context);
    }
    let task = args.task.clone();
    let undone: Undone = context.get(&Request::Undo { task })?;
    if args.json {
        return say_json(&undone);
    }
    talk(format!(
        "session {}: {} files restored, {} removed",
        undone.session_id, undone.restored, undone.removed
    ));
    Ok(())
}

fn all_unasked(args: &UndoArgs, context: &Context) -> Result<(), CommandError> {
    let summary: Summary = context.stream(&Request::UndoUnasked, &mut |value| {
        if args.json {
            return say_json(&value);
        }
        match serde_json::from_value::<TakenBack>(value) {
            Ok(item) => say(line(&item)),
            Err(_) => Ok(()),
        }
    })?;
    if args.json {
        return say_json(&summary);
    }
    talk(format!(
        "{} taken back, {} left as they are",
        summary.done, summary.skipped
    ));
    Ok(())
}

fn line(item: &TakenBack) -> String {
    let id = table::short(&item.session_id);
    match &item.reason {
        None => format!(
            "{id}  {} files restored, {} removed",
            item.restored, item.removed
        ),
        Some(reason) => format!("{id}  stays: {}", text::one_line(reason, 200)),
    }
}
