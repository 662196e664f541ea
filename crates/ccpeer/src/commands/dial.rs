//! `ccpeer dial`

use ccpeer_agent::api::{Done, Request};

use crate::context::{Context, tell};
use crate::error::CommandError;

/// Tell where a paired device can be reached
///
/// For networks in which devices do not find each other by themselves. The
/// address is kept once a link over it has come about; `ccpeer status` on the
/// other device shows where it listens.
#[derive(Debug, clap::Args)]
pub(crate) struct DialArgs {
    /// A name, or the beginning of an id
    device: String,
    /// Its address and port, such as 192.0.2.7:4433
    addr: String,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &DialArgs, context: &Context) -> Result<(), CommandError> {
    let done: Done = context.get(&Request::Address {
        device: args.device.clone(),
        addr: args.addr.clone(),
    })?;
    tell(&done, args.json)
}
