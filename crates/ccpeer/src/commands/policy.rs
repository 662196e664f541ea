//! `ccpeer policy`

use ccpeer_agent::api::{
    self, Gate, Introduce, Place, Policy, PolicyChange, Request, SummaryBy, SummaryChange,
    SummaryPolicy,
};
use ccpeer_core::text;
use clap::Subcommand;

use super::{pause, resume, secrets};
use crate::context::{Context, say, say_json};
use crate::error::CommandError;
use crate::table::{self, Column};

mod share;

/// Show or change how much is kept, who is taken in, and what happens by itself
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
    /// Whether sessions of other devices lie here by themselves
    ///
    /// Then Claude Code's own list shows them soon after a turn has ended there,
    /// and they are refreshed as they grow. Only where git or you say without a
    /// doubt which directory here is their project, never in the place of
    /// anything, and `ccpeer undo --auto` takes it back.
    Place {
        /// A project's name or directory, or `default` for all others
        project: String,
        /// By themselves, or not; `ask`: as if nothing had been said
        how: How,
    },
    /// Whether the code goes along with a project's sessions
    ///
    /// With each turn goes how its work tree stands: branch, commit, what is
    /// changed and not committed, files that git does not know, commits that no
    /// remote has. `ccpeer continue --with-code` makes it again elsewhere. What
    /// looks like a secret, or is too large, stays here, and is named there.
    /// Nothing goes along unless you say so here.
    Code {
        /// A project's name or directory
        project: String,
        /// Whether
        on: Switch,
    },
    /// Whether what one device writes is placed by itself
    PlaceFrom {
        /// Its id, the beginning of it, or its name
        device: String,
        /// As what other devices write, or not
        how: From,
    },
    /// What other devices may have of the sessions of this one
    ///
    /// `sync`: all of it. `snapshot`: the hand-off document and what lists show,
    /// and nothing that a session could be continued from. `local`: nothing, not
    /// even that there is such a session. A rule for a project or a directory holds
    /// for what lies below, too; it goes before patterns, of which the last one
    /// that was given and fits counts, and those go before `default`. What has left
    /// already stays where it is. Mirrors, bridges and the server heed it as well.
    Share {
        /// A project's name or directory, a pattern of directories
        /// (`~/code/**`, `secret-*`), or `default` for all others
        which: String,
        /// What they may have
        #[arg(required_unless_present = "remove")]
        how: Option<Share>,
        /// Take the rule away
        #[arg(long, conflicts_with = "how")]
        remove: bool,
        /// Forget all rules that were: for when they cannot be read
        #[arg(long, conflicts_with = "remove")]
        anew: bool,
    },
    /// What of one device's sessions is fetched by itself
    Fetch {
        /// Its id, the beginning of it, or its name
        device: String,
        /// All of it, or the documents; the rest when you ask for it
        how: Fetch,
    },
    /// Whether a session is told at its start that others are unfinished
    StartLine {
        /// One line, of a fixed text and a count
        on: Switch,
    },
    /// What becomes of what looks like a secret on its way to a bridge
    ///
    /// A bridge is a git mirror, or `serve`. Without one, it is listed what is done,
    /// and which sessions of this machine hold what looks like a secret, never what
    /// that is; `status` names each of those until they were listed here once.
    Secrets {
        /// `serve`, or a mirror: its name or address, as `ccpeer git status` shows it
        #[arg(requires = "how")]
        bridge: Option<String>,
        /// Taken out, kept here, or let through
        how: Option<Pass>,
    },
    /// Exchange nothing with other machines for a while
    ///
    /// Nothing goes to or comes from another machine, no git mirror is brought up to
    /// date, and `ccpeer serve` answers that it is paused. A restart ends no pause.
    Pause {
        /// For so long: `30m`, `2h`, `1d`; without it, until `resume`
        duration: Option<String>,
    },
    /// End a pause
    Resume,
    /// How long earlier versions stay
    Keep {
        /// A number of days with the agent running, or `forever`
        days: String,
    },
    /// Who writes the summaries of hand-offs, and how often
    ///
    /// Without a model they are made of facts alone. With one, the end of a
    /// session's conversation, without what tools gave back, goes to the program
    /// that is named: Claude Code's own with Haiku, or any other, which gets the
    /// request on its standard input and answers with the document on its standard
    /// output.
    Summary {
        /// Nobody, Claude Haiku, or the command that follows after `--`
        who: Option<Who>,
        /// The program and its arguments; no shell reads them
        #[arg(last = true, value_name = "PROGRAM")]
        command: Vec<String>,
        /// At most one request in so many minutes about one session
        #[arg(long, value_name = "MINUTES")]
        every: Option<u64>,
        /// At most so many requests in an hour
        #[arg(long, value_name = "REQUESTS")]
        per_hour: Option<u64>,
        /// At most so many requests in a day
        #[arg(long, value_name = "REQUESTS")]
        per_day: Option<u64>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Who {
    /// Nobody: they are made of facts
    Off,
    /// Claude Code's own program, with the model Haiku
    Claude,
    /// The program after `--`
    Command,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum How {
    /// Only after a question
    Ask,
    /// By themselves
    Auto,
    /// Not at all
    Never,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum From {
    /// As what others write
    Auto,
    /// Only when you ask for it
    Never,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Pass {
    /// The session leaves without it, where it can be told without
    Redact,
    /// The session does not leave
    Hold,
    /// The session leaves as it is
    Warn,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Switch {
    /// It is told
    On,
    /// It is not
    Off,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Share {
    /// All of it
    Sync,
    /// Its document
    Snapshot,
    /// Nothing
    Local,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Fetch {
    /// All of it
    All,
    /// Documents
    Snapshots,
}

pub(crate) fn run(args: &PolicyArgs, context: &Context) -> Result<(), CommandError> {
    match &args.change {
        Some(Change::Pause { duration }) => {
            return pause::begin(duration.as_deref(), args.json, context);
        }
        Some(Change::Resume) => return resume::end(args.json, context),
        _ => {}
    }
    let change = args.change.as_ref().map(read).transpose()?;
    let policy: Policy = context.get(&Request::Policy { change })?;
    if args.json {
        return say_json(&policy);
    }
    if matches!(args.change, Some(Change::Secrets { bridge: None, .. })) {
        return secrets::list(&policy);
    }
    say(format!(
        "quota   {} for each other device",
        table::size(policy.quota_default)
    ))?;
    let keep = policy
        .keep_days
        .map_or("for ever".to_owned(), |d| format!("{d} days"));
    say(format!("keep    {keep} after they were superseded"))?;
    say(format!("summary {}", summary(&policy.summary)))?;
    let place = match policy.place_default {
        Place::Ask => "sessions lie here when you ask for them; `ccpeer up` asks",
        Place::Auto => "sessions lie here by themselves",
        Place::Never => "sessions lie here only when you ask for them",
    };
    say(format!("place   {place}"))?;
    for project in &policy.place_projects {
        let how = match project.how {
            Place::Auto => "by themselves",
            Place::Ask | Place::Never => "when you ask",
        };
        say(format!("        {how} in {}", project.dir))?;
    }
    for project in &policy.code_projects {
        let how = if project.on {
            "goes along"
        } else {
            "stays here"
        };
        say(format!("code    {how} with sessions in {}", project.dir))?;
    }
    share::tell(&policy)?;
    let line = if policy.start_line { "on" } else { "off" };
    say(format!("line    {line} at the start of a session"))?;
    secrets::bridges(&policy)?;
    if let Some(paused) = &policy.paused {
        say(format!("paused{}", pause::until(paused)))?;
    }
    let columns = [
        Column("DEVICE", 28),
        Column("USED", 12),
        Column("QUOTA", 12),
        Column("OFFERS", 6),
        Column("", 20),
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
                match (d.over, d.fetch, d.place) {
                    (true, _, _) => "used up",
                    (false, Some(api::Fetch::Snapshots), _) => "documents only",
                    (false, _, Some(Place::Never)) => "not placed by itself",
                    (false, _, _) => "",
                }
                .to_owned(),
            ]
        })
        .collect();
    if !rows.is_empty() {
        say("")?;
    }
    table::render(&columns, &rows)
        .into_iter()
        .try_for_each(say)?;
    share::tell_left(&policy)
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
        Change::Summary {
            who,
            command,
            every,
            per_hour,
            per_day,
        } => Ok(PolicyChange::Summary(SummaryChange {
            by: read_summary(*who, command)?,
            every_min: *every,
            per_hour: *per_hour,
            per_day: *per_day,
        })),
        Change::Place { project, how } => Ok(PolicyChange::Place {
            project: (project != "default").then(|| named(project)).transpose()?,
            how: match how {
                How::Ask => Place::Ask,
                How::Auto => Place::Auto,
                How::Never => Place::Never,
            },
        }),
        Change::PlaceFrom { device, how } => Ok(PolicyChange::PlaceFrom {
            device: device.clone(),
            how: match how {
                From::Auto => Place::Auto,
                From::Never => Place::Never,
            },
        }),
        Change::Code { project, on } => Ok(PolicyChange::Code {
            project: named(project)?,
            on: matches!(on, Switch::On),
        }),
        Change::Share {
            which,
            how,
            remove: _,
            anew,
        } => Ok(PolicyChange::Share {
            which: share::which(which)?,
            share: how.map(|how| match how {
                Share::Sync => api::Share::Sync,
                Share::Snapshot => api::Share::Snapshot,
                Share::Local => api::Share::Local,
            }),
            anew: *anew,
        }),
        Change::Fetch { device, how } => Ok(PolicyChange::Fetch {
            device: device.clone(),
            how: match how {
                Fetch::All => api::Fetch::All,
                Fetch::Snapshots => api::Fetch::Snapshots,
            },
        }),
        Change::StartLine { on } => Ok(PolicyChange::StartLine {
            on: matches!(on, Switch::On),
        }),
        Change::Secrets {
            bridge: Some(bridge),
            how: Some(how),
        } => Ok(PolicyChange::Secrets {
            bridge: bridge.clone(),
            how: match how {
                Pass::Redact => Gate::Redact,
                Pass::Hold => Gate::Hold,
                Pass::Warn => Gate::Warn,
            },
        }),
        Change::Secrets { .. } => Ok(PolicyChange::SecretsSeen),
        Change::Pause { .. } | Change::Resume => Err(CommandError::usage(
            "nothing is to be changed",
            "see `ccpeer policy --help`",
        )),
        Change::Keep { days } if days == "forever" => Ok(PolicyChange::Keep { days: None }),
        Change::Keep { days } => Ok(PolicyChange::Keep {
            days: Some(days.parse().map_err(|_| {
                CommandError::usage("this is no number of days", "give a number, or `forever`")
            })?),
        }),
    }
}

/// Who writes summaries, and how often, in a line.
fn summary(policy: &SummaryPolicy) -> String {
    let who = match &policy.by {
        SummaryBy::Off => return "off: hand-offs are made of facts alone".to_owned(),
        SummaryBy::Claude => "claude (haiku)".to_owned(),
        SummaryBy::Command { argv } => text::one_line(&argv.join(" "), 60),
    };
    format!(
        "{who}\n        every {} min for a session, {} an hour, {} a day at most",
        policy.every_min, policy.per_hour, policy.per_day
    )
}

fn read_summary(who: Option<Who>, command: &[String]) -> Result<Option<SummaryBy>, CommandError> {
    let usage = |what, hint| Err(CommandError::usage(what, hint));
    Ok(match (who, command) {
        (Some(Who::Command), []) => {
            return usage(
                "no command was given",
                "write it after `--`: `ccpeer policy summary command -- PROGRAM ARGUMENT…`",
            );
        }
        (Some(Who::Command), argv) => Some(SummaryBy::Command {
            argv: argv.to_vec(),
        }),
        (_, [_, ..]) => {
            return usage(
                "a program belongs to `command` only",
                "write `ccpeer policy summary command -- PROGRAM ARGUMENT…`",
            );
        }
        (Some(Who::Off), []) => Some(SummaryBy::Off),
        (Some(Who::Claude), []) => Some(SummaryBy::Claude),
        (None, []) => None,
    })
}

/// A project as it was named: what looks like a path is one, seen from here.
fn named(project: &str) -> Result<String, CommandError> {
    let is_path = project == "." || project == ".." || project.contains(['/', '\\']);
    if !is_path {
        return Ok(project.to_owned());
    }
    let path = std::path::absolute(project);
    path.map(|p| p.display().to_string())
        .map_err(|_| CommandError::usage("this is no directory", "give one, or a project's name"))
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
