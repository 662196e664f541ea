//! `ccpeer accept`

use ccpeer_agent::api::{Accepted, Request};
use ccpeer_core::{limits, text};

use crate::context::{Context, say_json, talk};
use crate::error::CommandError;

/// Take in a device that another one offers, or keep one that another revoked
///
/// Trust is never passed on: a device that one of yours has added is offered to
/// the others, and each takes it in for itself. Both sides must accept before
/// they exchange anything. For a device that another one has revoked, it says
/// that this does not count here, until a further one revokes it, too.
#[derive(Debug, clap::Args)]
pub(crate) struct AcceptArgs {
    /// Id, unique beginning of an id, or unique name
    device: String,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &AcceptArgs, context: &Context) -> Result<(), CommandError> {
    let accepted: Accepted = context.get(&Request::Accept {
        device: args.device.clone(),
    })?;
    if args.json {
        return say_json(&accepted);
    }
    let name = text::one_line(&accepted.device.name, limits::DEVICE_NAME_CHARS_MAX);
    let id = accepted.device.id.get(..8).unwrap_or_default();
    let was = if accepted.changed {
        "is"
    } else {
        "was already"
    };
    talk(format!("{name} {was} accepted here."));
    match accepted.theirs.as_str() {
        "accepted" => talk("It trusts this device, too."),
        "revoked" => talk("It has revoked this device: nothing will be exchanged."),
        _ => talk(format!(
            "It must accept this device as well: run `ccpeer accept` there.\n\
             Where the two do not find each other, tell the address: `ccpeer dial {id} …`."
        )),
    }
    Ok(())
}
