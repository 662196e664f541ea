//! `ccpeer policy`

use ccpeer_agent::api::{Introduce, Policy, PolicyChange, Request};
use clap::Subcommand;

use crate::context::{Context, say, say_json};
use crate::error::CommandError;
use crate::table::{self, Column};

/// Show or change how much is kept, and who is taken in
///
/// What other devices write fills at most their quota here; what goes beyond it
/// stays where it is, and costs nothing that is here. Of a session that went on,
/// earlier versions that a later one contains are let go after some days, if
/// another device holds the later one.
#[derive(Debug, clap::Args)]
pub(crate) struct PolicyArgs {
    #[command(subcommand)]
    change: Option<Change>,
    /// Print one JSON document
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Change {
    /// Bound what one device, or each (`default`), may fill
    Quota {
        /// Its id, the beginning of it, its name, or `default`
        device: String,
        /// A number of bytes, or one with K, M, G or T: `5G`
        size: String,
    },
    /// What becomes of the devices that another one adds
    Introduce {
        /// The one that adds them: its id, the beginning of it, or its name
        device: String,
        /// Shown as offered, taken in by itself, or not shown
        how: How,
    },
    /// How long earlier versions stay
    Keep {
        /// A number of days with the agent running, or `forever`
        days: String,
    },
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum How {
    /// They are shown as offered
    Ask,
    /// They are taken in; what they add themselves is only offered
    Auto,
    /// They are not shown
    Never,
}

pub(crate) fn run(args: &PolicyArgs, context: &Context) -> Result<(), CommandError> {
    let change = args.change.as_ref().map(read).transpose()?;
    let policy: Policy = context.get(&Request::Policy { change })?;
    if args.json {
        return say_json(&policy);
    }
    say(format!(
        "quota   {} for each other device",
        table::size(policy.quota_default)
    ))?;
    let keep = policy
        .keep_days
        .map_or("for ever".to_owned(), |d| format!("{d} days"));
    say(format!("keep    {keep} after they were superseded"))?;
    let columns = [
        Column("DEVICE", 28),
        Column("USED", 12),
        Column("QUOTA", 12),
        Column("OFFERS", 6),
        Column("", 8),
    ];
    let rows: Vec<Vec<String>> = policy
        .devices
        .iter()
        .map(|d| {
            vec![
                d.device.name.clone(),
                table::size(d.used),
                d.quota.map(table::size).unwrap_or_default(),
                match d.introduce {
                    None => "",
                    Some(Introduce::Ask) => "ask",
                    Some(Introduce::Auto) => "auto",
                    Some(Introduce::Never) => "never",
                }
                .to_owned(),
                if d.over { "used up" } else { "" }.to_owned(),
            ]
        })
        .collect();
    if !rows.is_empty() {
        say("")?;
    }
    table::render(&columns, &rows).into_iter().try_for_each(say)
}

fn read(change: &Change) -> Result<PolicyChange, CommandError> {
    match change {
        Change::Quota { device, size } => Ok(PolicyChange::Quota {
            device: (device != "default").then(|| device.clone()),
            bytes: bytes(size).ok_or_else(|| {
                CommandError::usage(
                    "this is no size",
                    "give bytes, or a number with K, M, G or T",
                )
            })?,
        }),
        Change::Introduce { device, how } => Ok(PolicyChange::Introduce {
            device: device.clone(),
            how: match how {
                How::Ask => Introduce::Ask,
                How::Auto => Introduce::Auto,
                How::Never => Introduce::Never,
            },
        }),
        Change::Keep { days } if days == "forever" => Ok(PolicyChange::Keep { days: None }),
        Change::Keep { days } => Ok(PolicyChange::Keep {
            days: Some(days.parse().map_err(|_| {
                CommandError::usage("this is no number of days", "give a number, or `forever`")
            })?),
        }),
    }
}

/// A size in bytes, or in binary units.
fn bytes(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_uppercase();
    let text = text.strip_suffix('B').unwrap_or(&text);
    let text = text.strip_suffix('I').unwrap_or(text);
    let units = [('K', 10), ('M', 20), ('G', 30), ('T', 40)];
    let unit = units.iter().find(|(u, _)| text.ends_with(*u));
    let (number, shift) = match unit {
        Some((u, shift)) => (text.strip_suffix(*u)?, *shift),
        None => (text, 0),
    };
    number.trim().parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        let check = |text: &str, want: Option<u64>| assert_eq!(bytes(text), want, "{text}");
        check("0", Some(0));
        check("1500", Some(1500));
        check("5G", Some(5 << 30));
        check("5 GiB", Some(5 << 30));
        check("20mb", Some(20 << 20));
        check("1T", Some(1 << 40));
        check("", None);
        check("G", None);
        check("-1", None);
        check("99999999999T", None);
    }
}
