//! `ccpeer verify`

use ccpeer_agent::api::{ErrorCode, Request, Verified};
use ccpeer_core::text;

use crate::context::{Context, say, say_json};
use crate::error::CommandError;
use crate::table;

/// Check the store
///
/// Ends with exit code 4 if anything is damaged, also where another device can
/// make it good.
#[derive(Debug, clap::Args)]
pub(crate) struct VerifyArgs {
    /// Also read and hash all content
    #[arg(long)]
    read_data: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &VerifyArgs, context: &Context) -> Result<(), CommandError> {
    let request = Request::Verify {
        read_data: args.read_data,
    };
    let verified: Verified = context.stream(&request, &mut |_| Ok(()))?;
    if args.json {
        say_json(&verified)?;
    } else {
        for problem in &verified.problems {
            let remedy = if problem.repairable {
                ", another device can make it good"
            } else {
                ""
            };
            let word = |s: &str| text::one_line(s, 80);
            say(format!(
                "{} {}{remedy}",
                word(&problem.kind),
                word(&problem.id)
            ))?;
        }
        say(format!(
            "{}: {} entries, {} chunks, {} read",
            if verified.ok { "ok" } else { "damaged" },
            verified.checked.entries,
            verified.checked.chunks,
            table::size(verified.checked.bytes)
        ))?;
    }
    if verified.ok {
        Ok(())
    } else {
        Err(CommandError::Exit(ErrorCode::Damaged.exit()))
    }
}
