//! `ccpeer rekey`

use std::time::{Duration, Instant};

use ccpeer_agent::api::{ErrorCode, RekeyHow, Rekeyed, Request, Status};
use ccpeer_agent::client::Client;

use crate::context::{Context, can_ask, say, say_json, talk};
use crate::error::CommandError;
use crate::prompt;

/// How long the agent may take to come up under the new key.
const AGAIN_MAX: Duration = Duration::from_secs(30);
/// How often it is asked.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Replace this device's key
///
/// For a key that somebody else may have. The old key's last word names the new
/// one, so devices that trust this one go on doing so and refuse the old key.
/// Devices that are away hear of it when they come back, from this one or from
/// any other.
#[derive(Debug, clap::Args)]
pub(crate) struct RekeyArgs {
    /// This home is a copy: become a device of its own, to be paired anew; the
    /// original keeps its key
    #[arg(long, conflicts_with = "keep")]
    separate: bool,
    /// Keep the key and put notices of copies away: no other copy is left
    #[arg(long)]
    keep: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &RekeyArgs, context: &Context) -> Result<(), CommandError> {
    let how = match (args.separate, args.keep) {
        (true, _) => RekeyHow::Separate,
        (_, true) => RekeyHow::Keep,
        _ => RekeyHow::Roll,
    };
    if how != RekeyHow::Keep && !args.yes {
        agreed(how)?;
    }
    let rekeyed: Rekeyed = context.stream(&Request::Rekey { how }, &mut |_| Ok(()))?;
    if rekeyed.replaced.is_some() {
        wait(context, &rekeyed)?;
    }
    if args.json {
        return say_json(&rekeyed);
    }
    say(format!(
        "device  {}  {}",
        rekeyed.device.name, rekeyed.device.id
    ))?;
    match how {
        RekeyHow::Keep => talk("The key stays; what was found is put away."),
        RekeyHow::Separate => talk(
            "This is a device of its own now. Pair it: run `ccpeer pair` here and\n\
             `ccpeer join` there.",
        ),
        RekeyHow::Roll => told(&rekeyed),
    }
    Ok(())
}

fn agreed(how: RekeyHow) -> Result<(), CommandError> {
    let question = if how == RekeyHow::Separate {
        "Make this home a device of its own? It has to be paired anew."
    } else {
        "Replace this device's key? The old one is refused everywhere from then on."
    };
    if !can_ask() {
        return Err(CommandError::usage(
            "nobody is there to be asked",
            "say `--yes` if the key is to be replaced",
        ));
    }
    if prompt::yes(question) {
        Ok(())
    } else {
        talk("Nothing was changed.");
        Err(CommandError::Exit(1))
    }
}

fn told(rekeyed: &Rekeyed) {
    let names = |list: &[ccpeer_agent::api::DeviceName]| {
        let names: Vec<&str> = list.iter().map(|d| d.name.as_str()).collect();
        ccpeer_core::text::one_line(&names.join(", "), 400)
    };
    if !rekeyed.told.is_empty() {
        talk(format!("Known to: {}.", names(&rekeyed.told)));
    }
    if !rekeyed.untold.is_empty() {
        talk(format!(
            "Away, and told when they come back: {}.",
            names(&rekeyed.untold)
        ));
    }
}

/// The agent begins anew under the new key.
fn wait(context: &Context, rekeyed: &Rekeyed) -> Result<(), CommandError> {
    let until = Instant::now() + AGAIN_MAX;
    while Instant::now() < until {
        let status: Result<Status, _> =
            Client::connect(&context.home).and_then(|mut c| c.get(&Request::Status));
        let is_there = |s: &Status| s.device.as_ref().is_some_and(|d| d.id == rekeyed.device.id);
        if status.is_ok_and(|s| is_there(&s)) {
            return Ok(());
        }
        std::thread::sleep(LOOK_EVERY);
    }
    Err(CommandError::new(
        ErrorCode::Agent,
        "the key was replaced, but the agent did not come up again",
        "run `ccpeer up`",
    ))
}
