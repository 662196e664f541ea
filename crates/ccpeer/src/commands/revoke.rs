//! `ccpeer revoke`

use ccpeer_agent::api::{Done, ErrorCode, Request};

use crate::context::{Context, can_ask, tell};
use crate::error::CommandError;
use crate::prompt;

/// Take a device out, for ever
///
/// Nothing is sent to it or taken from it any more. Your other devices stop as
/// soon as they hear of it, until somebody says otherwise there (`ccpeer accept`);
/// when two devices have revoked it, nobody can. What it has received already
/// cannot be called back. To let the machine in again, it needs a new key and a
/// new pairing. A device that is offered and not wanted is declined in this way.
#[derive(Debug, clap::Args)]
pub(crate) struct RevokeArgs {
    /// Id, unique beginning of an id, or unique name
    device: String,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &RevokeArgs, context: &Context) -> Result<(), CommandError> {
    let question = format!("Revoke {}? This cannot be taken back.", args.device);
    if !args.yes && can_ask() && !prompt::yes(&question) {
        return Err(CommandError::new(
            ErrorCode::Refused,
            "nothing was revoked",
            "",
        ));
    }
    let done: Done = context.get(&Request::Revoke {
        device: args.device.clone(),
    })?;
    tell(&done, args.json)
}
