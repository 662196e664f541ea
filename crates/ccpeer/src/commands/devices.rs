//! `ccpeer devices`

use ccpeer_agent::api::{Device, Request};

use crate::context::{Context, say, say_json, talk};
use crate::error::CommandError;
use crate::table::{self, Column};

/// List the devices that are trusted, offered or revoked
#[derive(Debug, clap::Args)]
pub(crate) struct DevicesArgs {
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &DevicesArgs, context: &Context) -> Result<(), CommandError> {
    let devices: Vec<Device> = context.get(&Request::Devices)?;
    if args.json {
        return say_json(&devices);
    }
    let columns = [
        Column("ID", 8),
        Column("NAME", 28),
        Column("OS", 10),
        Column("STATE", 9),
        Column("TRUST", 8),
        Column("SEEN", 7),
    ];
    let rows: Vec<Vec<String>> = devices
        .iter()
        .map(|device| {
            let seen = match (device.state.as_str(), &device.last_seen) {
                ("this" | "connected", _) => "now".to_owned(),
                (_, Some(at)) => table::age(at),
                (_, None) => "never".to_owned(),
            };
            vec![
                table::short(&device.id),
                device.name.clone(),
                device.os.clone(),
                device.state.clone(),
                device.trust.clone(),
                seen,
            ]
        })
        .collect();
    for line in table::render(&columns, &rows) {
        say(line)?;
    }
    if !devices.iter().any(|d| d.state != "this") {
        talk("No other device yet. Run `ccpeer pair` here and `ccpeer join` there.");
    }
    Ok(())
}
