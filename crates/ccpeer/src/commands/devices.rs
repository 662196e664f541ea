//! `ccpeer devices`

use ccpeer_agent::api::{Device, Request, Safety};
use ccpeer_core::{limits, text};

use crate::context::{Context, say, say_json, talk};
use crate::error::CommandError;
use crate::table::{self, Column};

/// List the devices that are trusted, offered or revoked
///
/// With --verify, show the safety number of each paired device, or of one.
/// Compare it with the one that the other device shows: if all sixty digits are
/// the same, nobody stands between them. Nothing is stored.
#[derive(Debug, clap::Args)]
pub(crate) struct DevicesArgs {
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    /// Show the safety number of this device, or of all
    #[arg(long, value_name = "DEVICE", num_args = 0..=1)]
    verify: Option<Option<String>>,
}

pub(crate) fn run(args: &DevicesArgs, context: &Context) -> Result<(), CommandError> {
    if let Some(device) = &args.verify {
        return verify(device.clone(), args.json, context);
    }
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

/// Groups of digits in one line: two lines a number.
const GROUPS_PER_LINE: usize = 6;

fn verify(device: Option<String>, as_json: bool, context: &Context) -> Result<(), CommandError> {
    let numbers: Vec<Safety> = context.get(&Request::Safety { device })?;
    if as_json {
        return say_json(&numbers);
    }
    for safety in &numbers {
        let name = text::one_line(&safety.device.name, limits::DEVICE_NAME_CHARS_MAX);
        say(format!("{}  {name}", table::short(&safety.device.id)))?;
        let groups: Vec<&str> = safety.number.split(' ').collect();
        for line in groups.chunks(GROUPS_PER_LINE) {
            say(format!("          {}", line.join(" ")))?;
        }
    }
    talk(if numbers.is_empty() {
        "No other device yet. Run `ccpeer pair` here and `ccpeer join` there."
    } else {
        "Run `ccpeer devices --verify` on the other device: all digits must be the same."
    });
    Ok(())
}
