//! `ccpeer devices`

use ccpeer_agent::api::{Device, DeviceName, Done, Request, Safety, Status};
use ccpeer_core::{limits, text};

use crate::context::{Context, say, say_json, talk};
use crate::error::CommandError;
use crate::table::{self, Column};

/// List the devices that are trusted, offered or revoked
///
/// `offered` is a device that one of yours has added and that is not taken in
/// here; `quarantined` one that another of yours has revoked. `waiting` says that
/// the other side has not accepted this device yet.
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
        Column("NAME", 26),
        Column("OS", 8),
        Column("STATE", 9),
        Column("TRUST", 11),
        Column("SEEN", 6),
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
                state(device),
                device.trust.clone(),
                seen,
            ]
        })
        .collect();
    for line in table::render(&columns, &rows) {
        say(line)?;
    }
    for device in &devices {
        told(device);
    }
    notices(context)?;
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

/// What is worth knowing at a glance: a device that has not accepted us yet is not
/// merely away.
pub(crate) fn state(device: &Device) -> String {
    match (device.state.as_str(), device.theirs.as_str()) {
        ("offline", "waiting") if device.trust == "paired" => "waiting".to_owned(),
        ("offline", "revoked") if device.trust == "paired" => "refused".to_owned(),
        (state, _) => state.to_owned(),
    }
}

fn told(device: &Device) {
    let names = |list: &[DeviceName]| {
        let names: Vec<&str> = list.iter().map(|d| d.name.as_str()).collect();
        text::one_line(&names.join(" and "), 200)
    };
    let name = text::one_line(&device.name, limits::DEVICE_NAME_CHARS_MAX);
    let id = table::short(&device.id);
    match device.trust.as_str() {
        "offered" => talk(format!(
            "\n{} offers {name}: take it in with `ccpeer accept {id}`,\n\
             or decline it for good with `ccpeer revoke {id}`.",
            names(&device.offered_by)
        )),
        "quarantined" => talk(format!(
            "\n{} revoked {name}: confirm with `ccpeer revoke {id}`,\n\
             or keep it with `ccpeer accept {id}`.",
            names(&device.revoked_by)
        )),
        "paired" if device.theirs == "waiting" && device.state == "offline" => {
            talk(format!("\n{name} has not accepted this device yet."));
        }
        "paired" if device.theirs == "revoked" => {
            talk(format!("\n{name} has revoked this device."));
        }
        _ => {}
    }
}

/// Whom others have added, once: what was seen is put away.
fn notices(context: &Context) -> Result<(), CommandError> {
    let status: Status = context.get(&Request::Status)?;
    let added = status.findings.iter().filter(|f| f.kind == "device_added");
    let mut any = false;
    for finding in added {
        any = true;
        talk(format!(
            "\nnotice: {}",
            text::one_line(&finding.message, 400)
        ));
    }
    if any {
        let _seen: Done = context.get(&Request::Seen)?;
    }
    Ok(())
}
