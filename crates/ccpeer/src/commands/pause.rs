//! `ccpeer pause`, and what is said of a pause everywhere

use ccpeer_agent::api::{Paused, Policy, PolicyChange, Request, Status};
use ccpeer_core::text;

use crate::context::{Context, say_json, talk};
use crate::error::CommandError;
use crate::{table, when};

/// Exchange nothing with other machines for a while
///
/// Nothing goes to or comes from another machine, no git mirror is brought up to
/// date, and `ccpeer serve` answers that it is paused. Sessions are captured here as
/// ever, and what is here can be continued; hooks notice nothing. A restart ends no
/// pause. The same as `ccpeer policy pause`.
#[derive(Debug, clap::Args)]
pub(crate) struct PauseArgs {
    /// For so long: `30m`, `2h`, `1d`; without it, until `ccpeer resume`
    duration: Option<String>,
    /// Print the policy as one JSON document
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &PauseArgs, context: &Context) -> Result<(), CommandError> {
    begin(args.duration.as_deref(), args.json, context)
}

/// Begins one.
pub(crate) fn begin(
    duration: Option<&str>,
    as_json: bool,
    context: &Context,
) -> Result<(), CommandError> {
    let seconds = duration.map(|text| {
        when::stretch(text).ok_or_else(|| {
            CommandError::usage(
                "this is no duration",
                "give a number with `s`, `m`, `h`, `d` or `w`, such as `30m` or `2h`",
            )
        })
    });
    let change = PolicyChange::Pause {
        seconds: seconds.transpose()?,
    };
    let policy: Policy = context.get(&Request::Policy {
        change: Some(change),
    })?;
    if as_json {
        return say_json(&policy);
    }
    if let Some(paused) = &policy.paused {
        talk(format!("Paused{}.", until(paused)));
        talk("Nothing is exchanged with other machines; sessions are captured here as ever.");
        talk("`ccpeer resume` ends the pause.");
    }
    Ok(())
}

/// Until when: " until 2026-11-20 14:00 UTC, for another 2 h", or nothing.
pub(crate) fn until(paused: &Paused) -> String {
    let Some(at) = paused.until.as_deref() else {
        return String::new();
    };
    let (day, time) = at.split_at_checked(10).unwrap_or((at, ""));
    let minute = time.get(1..6).unwrap_or_default();
    let left = table::seconds_of(at).map(|s| i128::from(s) - i128::from(table::now()));
    let left = match left {
        Some(left @ 1..) => format!(", for another {}", table::stretch(left)),
        _ => String::new(),
    };
    let at = text::one_line(&format!("{day} {minute}"), 20);
    format!(" until {at} UTC{left}")
}

/// One line below a list that another machine's news would change.
pub(crate) fn remind(context: &Context) {
    if let Ok(status) = context.get::<Status>(&Request::Status) {
        remind_of(&status);
    }
}

/// The same of a status that is there already.
pub(crate) fn remind_of(status: &Status) {
    if let Some(paused) = &status.paused {
        talk(format!("Paused{}.", until(paused)));
        talk("Nothing comes from other machines; `ccpeer resume` ends the pause.");
    }
}
