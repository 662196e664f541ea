//! `ccpeer snapshot`

use ccpeer_agent::api::{Request, SnapshotTaken, SummaryTaken};
use ccpeer_core::text;

use crate::context::{Context, say, say_json, talk};
use crate::error::CommandError;

/// Take a snapshot of a session now
///
/// Of the session that changed last, unless one is named.
#[derive(Debug, clap::Args)]
pub(crate) struct SnapshotArgs {
    /// Take it even if one was just taken, have a model write its summary if that
    /// is on, and wait until another device holds it
    #[arg(long)]
    force: bool,
    /// Of this session: unique beginning of its id
    #[arg(long, value_name = "ID")]
    session: Option<String>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &SnapshotArgs, context: &Context) -> Result<(), CommandError> {
    let taken: SnapshotTaken = context.stream(
        &Request::Snapshot {
            session: args.session.clone(),
            force: args.force,
        },
        &mut |_| Ok(()),
    )?;
    if args.json {
        return say_json(&taken);
    }
    say(format!(
        "{}  {}",
        taken.session_id,
        text::one_line(&taken.title, 80)
    ))?;
    if let Some(summary) = &taken.summary {
        tell(summary);
    }
    if taken.held_by.is_empty() {
        talk("No other device holds it yet.");
    } else {
        let names: Vec<&str> = taken.held_by.iter().map(|d| d.name.as_str()).collect();
        talk(format!(
            "Held by {}.",
            text::one_line(&names.join(", "), 200)
        ));
    }
    Ok(())
}

/// What became of the summary. That there is none is no failure: what is known
/// without a model stands.
fn tell(summary: &SummaryTaken) {
    let why = text::one_line(summary.reason.as_deref().unwrap_or_default(), 200);
    match summary.result.as_str() {
        "written" => talk("A model has written its summary."),
        "up_to_date" => talk("Its summary is up to date."),
        "refused" => talk(format!("No summary by a model now: {why}.")),
        "failed" => {
            talk(format!("No summary by a model: {why}."));
            talk("The snapshot from the transcript stands.");
        }
        _ => {}
    }
}
