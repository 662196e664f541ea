//! `ccpeer service`: the agent from login on, under the system's own care.

use std::net::SocketAddr;

use ccpeer_agent::api::{ErrorCode, Request, Status};
use ccpeer_agent::service::{Found, Manager, Service, Start};
use ccpeer_core::text;
use serde::Serialize;

use crate::commands::down;
use crate::commands::hooks::this_program;
use crate::context::{Context, say, say_json, talk};
use crate::error::CommandError;
use crate::starting::{self, Network};

/// Run the agent as a service, from every login on
///
/// The system then starts it when you log in and again when it fails: as a user unit
/// of systemd, an agent of launchd, or a task of the Windows task scheduler. Nothing
/// of it needs root.
#[derive(Debug, clap::Args)]
pub(crate) struct ServiceArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Start the agent now and at every login
    ///
    /// An agent that runs already is ended in order, and the service takes its place
    /// with the same address and the same silence in the local network; what Claude
    /// Code says meanwhile waits in the spool. CCPEER_HOME and CLAUDE_CONFIG_DIR
    /// stay as they are set now. It can be run again at any time, for example after
    /// the program has moved.
    Install(InstallArgs),
    /// Stop it, and take away what `install` made
    Remove {
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
    /// Say whether it is installed and how it does
    Status {
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, clap::Args)]
struct InstallArgs {
    /// Only have it started at the next login: a running agent goes on, and no
    /// service manager has to be there
    #[arg(long)]
    no_start: bool,
    /// Listen for other devices on this address and port only
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Neither announce this device in the local network nor look for others
    #[arg(long)]
    no_mdns: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// What `install` and `remove` did.
#[derive(Debug, Serialize)]
struct Changed {
    changed: bool,
    manager: Manager,
    file: String,
    /// The service runs the agent now.
    started: bool,
    /// It took the place of an agent that ran.
    took_over: bool,
    logs: Vec<String>,
}

pub(crate) fn run(args: &ServiceArgs, context: &Context) -> Result<(), CommandError> {
    let service = Service::of(&context.home)?;
    match &args.action {
        Action::Install(args) => install(&service, args, context),
        Action::Remove { json } => remove(&service, *json, context),
        Action::Status { json } => status(&service, *json),
    }
}

fn install(
    service: &Service<'_>,
    args: &InstallArgs,
    context: &Context,
) -> Result<(), CommandError> {
    if !args.no_start && !service.can_be_asked() {
        return Err(CommandError::new(
            ErrorCode::Refused,
            format!("{} is not on this system", service.manager().as_str()),
            "have `ccpeer agent` started by what starts programs here; nothing was changed",
        ));
    }
    let running: Option<Status> = context.get(&Request::Status).ok();
    let start = start_as(service, args, running.as_ref());
    let changed = service.write(&this_program()?, &start)?;
    let mut done = Changed {
        changed,
        manager: service.manager(),
        file: service.file().display().to_string(),
        started: false,
        took_over: false,
        logs: service.logs(),
    };
    if !args.no_start {
        let under = service.status(None).running;
        let agent = running.as_ref().and_then(|status| status.pid);
        let ours = under.pid.is_some() && under.pid == agent;
        if changed || !ours {
            // Before anything is ended: whether it can be started at all.
            service
                .load()
                .map_err(|e| only_at_login(&e.into(), service))?;
            done.took_over = running.is_some();
            take_over(service, &start, running.is_some(), context)?;
        }
        done.started = true;
    }
    if args.json {
        return say_json(&done);
    }
    told_install(&done);
    Ok(())
}

/// As is said; else as the agent was told that runs; else as the service was before.
fn start_as(service: &Service<'_>, args: &InstallArgs, running: Option<&Status>) -> Start {
    let before = match running {
        Some(status) => Start {
            listen: status.listen_only.as_ref().and_then(|at| at.parse().ok()),
            no_mdns: status.mdns == Some(false),
        },
        None => service.start_as_written().unwrap_or_default(),
    };
    Start {
        listen: args.listen.or(before.listen),
        no_mdns: args.no_mdns || before.no_mdns,
    }
}

/// Ends the agent that runs, if one does, and has the service start one. If it does
/// not come up, one like before runs again: nobody is left without.
fn take_over(
    service: &Service<'_>,
    start: &Start,
    running: bool,
    context: &Context,
) -> Result<(), CommandError> {
    if running {
        down::end(&context.home)?;
    }
    let Err(failed) = starting::start_service(&context.home, service) else {
        return Ok(());
    };
    if running {
        let network = Network {
            listen: start.listen,
            no_mdns: start.no_mdns,
            ..Network::default()
        };
        starting::start_in_background(&context.home, &network)?;
    }
    Err(only_at_login(&failed, service))
}

/// It is installed, and does not run.
fn only_at_login(failed: &CommandError, service: &Service<'_>) -> CommandError {
    let CommandError::Told(e) = failed else {
        return CommandError::Exit(ErrorCode::Agent.exit());
    };
    let message = format!(
        "the service is installed for the next login, but could not be started now: {}",
        text::one_line(&e.message, 400)
    );
    let hint = e.hint.clone().unwrap_or_default();
    let hint = match hint.as_str() {
        "" => format!("see {}", service.logs().join(", or ")),
        hint => format!("{hint}; until then, `ccpeer up` starts an agent"),
    };
    CommandError::new(ErrorCode::Refused, message, &hint)
}

fn told_install(done: &Changed) {
    if done.changed {
        talk(format!("Wrote {}", done.file));
    } else {
        talk(format!("Nothing to change in {}", done.file));
    }
    if done.took_over {
        talk("The service has taken over from the agent that ran.");
    } else if done.started {
        talk("The agent runs, and starts again at every login.");
    } else {
        talk("The agent starts at the next login.");
    }
    talk(format!("To see what it says: {}", done.logs.join(", or ")));
    if done.manager == Manager::Systemd {
        talk("It runs while you are logged in; `loginctl enable-linger` keeps it on after that.");
    }
}

fn remove(service: &Service<'_>, json: bool, context: &Context) -> Result<(), CommandError> {
    let found = service.found();
    if found == Found::Installed
        && let Ok(status) = context.get::<Status>(&Request::Status)
    {
        let under = service.status(None).running.pid;
        // The task scheduler does not say which process it is.
        let unknown = service.manager() == Manager::TaskScheduler;
        if unknown || (under.is_some() && under == status.pid) {
            down::end(&context.home)?;
        }
    }
    let (changed, stopped) = service.remove()?;
    if json {
        say_json(&Changed {
            changed,
            manager: service.manager(),
            file: service.file().display().to_string(),
            started: false,
            took_over: false,
            logs: service.logs(),
        })?;
    } else if changed {
        talk(format!("Removed {}", service.file().display()));
        talk("The agent does not start at login any more.");
        // The manager may not have been there to be asked, or knows nothing of it.
        match context.get::<Status>(&Request::Status) {
            Ok(_) => talk("The one that runs was not stopped; `ccpeer down` stops it."),
            Err(_) => talk("`ccpeer up` starts one."),
        }
    } else {
        talk("No service was installed.");
    }
    if let Some(e) = stopped {
        talk(format!("notice: {}", text::one_line(&e.message, 400)));
    }
    Ok(())
}

fn status(service: &Service<'_>, json: bool) -> Result<(), CommandError> {
    let program = this_program()?;
    let status = service.status(Some(&program));
    if json {
        return say_json(&status);
    }
    let installed = match status.installed {
        Found::Missing => "no",
        Found::Installed if status.enabled => "yes, starts at login",
        Found::Installed => "yes, but does not start at login",
        Found::Changed => "yes, changed by hand",
        Found::Foreign => "the file is not ccpeer's",
    };
    say(format!("installed  {installed}"))?;
    say(format!("manager    {}", status.manager.as_str()))?;
    say(format!("file       {}", status.file))?;
    if status.installed == Found::Missing {
        talk("`ccpeer service install` has the agent started at every login.");
        return Ok(());
    }
    let pid = status.running.pid.map(|pid| format!(" (process {pid})"));
    let pid = pid.unwrap_or_default();
    say(format!("state      {}{pid}", status.running.state))?;
    if let Some(why) = &status.running.why {
        say(format!("why        {}", text::one_line(why, 200)))?;
    }
    for log in &status.logs {
        say(format!("log        {log}"))?;
    }
    if status.installed == Found::Installed && !status.runs_this_program {
        talk("It runs another ccpeer than this one; `ccpeer service install` changes that.");
    }
    Ok(())
}
