//! `ccpeer doctor`

use ccpeer_agent::api::{ApiError, Around, Request};
use ccpeer_agent::client::Client;
use ccpeer_agent::doctor::{self, Check, State};
use ccpeer_core::text;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::context::{Context, say, say_json};
use crate::error::CommandError;

/// Check what ccpeer needs around it, and say what to do
///
/// Looks at the home directory, the disk, the key, the store, the agent, the
/// hooks, Claude Code, the clock and the other devices. Changes nothing, and
/// works while the agent is down. Ends with exit code 1 if there is a problem.
///
/// `ccpeer doctor net` looks at the network instead: why two machines do not see
/// each other, and what to do. It needs the agent, which listens for a moment.
#[derive(Debug, clap::Args)]
pub(crate) struct DoctorArgs {
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    /// What to look at, if not at everything but the network
    #[arg(value_enum)]
    what: Option<What>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum What {
    /// Interfaces, multicast, and the way to each paired device
    Net,
}

#[derive(Serialize)]
struct Report {
    ok: bool,
    checks: Vec<Check>,
    /// What the agent sees, with `net`.
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<Around>,
}

pub(crate) fn run(args: &DoctorArgs, context: &Context) -> Result<(), CommandError> {
    let (checks, network) = match args.what {
        Some(What::Net) => {
            let around = ask(context, &Request::Around);
            (doctor::net::examine(&around), around.ok())
        }
        None => (everything(context), None),
    };
    let ok = checks.iter().all(|c| c.state != State::Problem);
    let report = Report {
        ok,
        checks,
        network,
    };
    if args.json {
        say_json(&report)?;
    } else {
        print(&report)?;
    }
    if ok {
        Ok(())
    } else {
        Err(CommandError::Exit(1))
    }
}

fn ask<T: DeserializeOwned>(context: &Context, request: &Request) -> Result<T, ApiError> {
    Client::connect(&context.home).and_then(|mut c| c.get(request))
}

fn everything(context: &Context) -> Vec<Check> {
    let program = std::env::current_exe().ok();
    doctor::examine(&doctor::Around {
        home: &context.home,
        agent: ask(context, &Request::Status),
        program: program.as_deref(),
        version: env!("CARGO_PKG_VERSION"),
    })
}

fn print(report: &Report) -> Result<(), CommandError> {
    for check in &report.checks {
        let state = match check.state {
            State::Ok => "ok",
            State::Note => "note",
            State::Problem => "problem",
        };
        let message = text::one_line(&check.message, 400);
        let lines = wrap(&message, &format!("{state:<8}{:<12}", check.id), 20);
        lines.into_iter().try_for_each(say)?;
        if let Some(hint) = &check.hint {
            let hint = text::one_line(hint, 400);
            wrap(&hint, "                    hint: ", 26)
                .into_iter()
                .try_for_each(say)?;
        }
    }
    Ok(())
}

/// Words in lines of 80 columns, all but the first indented. A word that is
/// longer, a path, stays whole.
fn wrap(words: &str, first: &str, indent: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = first.to_owned();
    let mut empty = true;
    for word in words.split(' ') {
        let width = line.chars().count() + word.chars().count() + usize::from(!empty);
        if !empty && width > crate::table::COLUMNS {
            lines.push(std::mem::replace(&mut line, " ".repeat(indent)));
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_findings_are_wrapped() {
        let words = "word ".repeat(60);
        let lines = wrap(words.trim(), "problem finding     ", 20);
        assert!(lines.len() > 3);
        assert!(lines.iter().all(|l| l.chars().count() <= 80), "{lines:#?}");
        assert!(lines.iter().skip(1).all(|l| l.starts_with(&" ".repeat(20))));
    }
}
