//! `ccpeer verify`

use ccpeer_agent::api::{ErrorCode, Problem, Request, Verified};
use ccpeer_core::text;

use crate::context::{Context, say, say_json, talk};
use crate::error::CommandError;
use crate::table;

/// Check the store, and repair it from the other devices
///
/// What is damaged is never used; it is fetched again from the devices that hold
/// it, for as long as that makes headway. Ends with exit code 0 if all is well by
/// then, 1 if another device can still make it good, 4 if something is lost.
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
        print(&verified)?;
    }
    if verified.ok {
        return Ok(());
    }
    let left = || verified.problems.iter().filter(|p| !p.repaired);
    if left().any(|p| p.kind == "entry" || p.kind == "index") {
        talk(
            "hint: run `ccpeer down` and then `ccpeer up --salvage`: the file is set aside and\n\
             what can be read of it is kept",
        );
    } else if left().any(|p| p.repairable) {
        talk("hint: start the other devices; what they hold is fetched by itself");
    }
    let code = if left().any(|p| !p.repairable) {
        ErrorCode::Damaged
    } else {
        ErrorCode::Incomplete
    };
    Err(CommandError::Exit(code.exit()))
}

fn print(verified: &Verified) -> Result<(), CommandError> {
    for problem in &verified.problems {
        let word = |s: &str| text::one_line(s, 80);
        say(format!(
            "{} {}: {}",
            word(&problem.kind),
            word(&problem.id),
            remedy(problem)
        ))?;
    }
    let verdict = match (verified.ok, verified.repaired) {
        (true, 0) => "ok".to_owned(),
        (true, n) => format!("ok, {n} repaired"),
        (false, _) => "damaged".to_owned(),
    };
    say(format!(
        "{verdict}: {} entries, {} chunks, {} read",
        verified.checked.entries,
        verified.checked.chunks,
        table::size(verified.checked.bytes)
    ))
}

fn remedy(problem: &Problem) -> &'static str {
    match (problem.repaired, problem.repairable) {
        (true, _) => "repaired",
        (false, true) => "another device can make it good",
        (false, false) => "lost",
    }
}
