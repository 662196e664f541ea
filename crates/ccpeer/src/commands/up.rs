//! `ccpeer up`

use ccpeer_agent::api::{Place, Policy, PolicyChange, Request, Status, SummaryBy, SummaryChange};
use ccpeer_agent::home::Home;
use ccpeer_agent::hooks::{self, Installed};
use ccpeer_agent::service::{Found, Service};
use ccpeer_agent::starts;

use crate::commands::agent;
use crate::commands::hooks::{hook_client, told_change};
use crate::context::{Context, can_ask, say, say_json, talk};
use crate::error::CommandError;
use crate::prompt;
use crate::relay_choice;
use crate::starting::{self, Network};

/// Set up this machine and start the agent
///
/// Makes the device key and the store, installs the hooks into Claude Code's
/// settings after asking, starts the agent in the background, and says how to
/// pair another machine. It can be run again at any time.
#[derive(Debug, clap::Args)]
pub(crate) struct UpArgs {
    /// Install the hooks, and let sessions of your machines lie in each other's
    /// lists, without asking; agrees to nothing that costs something
    #[arg(long)]
    yes: bool,
    /// Leave Claude Code's settings alone
    #[arg(long, conflicts_with = "yes")]
    no_hooks: bool,
    /// Run the agent here instead of in the background
    #[arg(long)]
    foreground: bool,
    /// Print what `status` prints, as one JSON document
    #[arg(long, conflicts_with = "foreground")]
    json: bool,
    #[command(flatten)]
    network: Network,
}

pub(crate) fn run(args: &UpArgs, context: &Context) -> Result<(), CommandError> {
    if args.foreground {
        set_up_hooks(args, context)?;
        return agent::run_with(&args.network, false, context);
    }
    // Whoever answers is asked, not a file: a left-over lock means nothing.
    let relay = args.network.relay.as_deref().map(relay_choice::read);
    let relay = relay.transpose()?;
    let running = context.agent().is_ok();
    if !running {
        bring_up(args, context)?;
    }
    if let Some(relay) = relay {
        relay_choice::warn(&relay);
        relay_choice::choose(context, relay)?;
    }
    set_up_hooks(args, context)?;
    ask_for_summaries(args, context)?;
    ask_for_placing(args, context)?;
    let status: Status = context.get(&Request::Status)?;
    if running && status.version != env!("CARGO_PKG_VERSION") {
        talk(format!(
            "The running agent is version {}, this program {}: restart it with\n`ccpeer down` and `ccpeer up`.",
            status.version,
            env!("CARGO_PKG_VERSION")
        ));
    }
    if args.json {
        return say_json(&status);
    }
    describe(&status, running)?;
    tell_of_service(context)
}

/// By the service where there is one, so that the system looks after it; else, and
/// where the service manager does not do it, as a process of its own.
fn bring_up(args: &UpArgs, context: &Context) -> Result<(), CommandError> {
    let home = &context.home;
    if let Ok(service) = Service::of(home)
        && service.found() == Found::Installed
        && args.network.is_usual()
    {
        match starting::start_service(home, &service) {
            Ok(()) => return Ok(()),
            Err(CommandError::Told(e)) => {
                let why = ccpeer_core::text::one_line(&e.message, 200);
                talk(format!("The service did not start the agent ({why})."));
            }
            Err(e) => return Err(e),
        }
    }
    // The user asks for it: earlier failures do not count.
    starts::forget(home);
    starting::start_in_background(home, &args.network)
}

/// Whether the agent is there after the next login, in one line.
fn tell_of_service(context: &Context) -> Result<(), CommandError> {
    let Ok(service) = Service::of(&context.home) else {
        return Ok(());
    };
    match service.found() {
        // Nothing is to be said of what is not to be had here.
        Found::Missing if !service.can_be_asked() => Ok(()),
        Found::Missing => {
            talk("\nTo have the agent start at every login: `ccpeer service install`.");
            Ok(())
        }
        Found::Installed => say("service starts at login"),
        Found::Changed | Found::Foreign => say("service changed by hand"),
    }
}

fn describe(status: &Status, running: bool) -> Result<(), CommandError> {
    if let Some(device) = &status.device {
        say(format!("device  {}  {}", device.name, device.id))?;
    }
    let state = if running { "was running" } else { "started" };
    let pid = status.pid.map(|pid| format!(" (process {pid})"));
    say(format!("agent   {state}{}", pid.unwrap_or_default()))?;
    for addr in &status.listen {
        say(format!("listen  {addr}"))?;
    }
    if let Some(relay) = &status.relay {
        relay_choice::show(relay)?;
    }
    say(format!("hooks   {}", status.hooks))?;
    say(format!("claude  {}", status.claude_dir))?;
    for finding in &status.findings {
        let word = |s: &str| ccpeer_core::text::one_line(s, 400);
        talk(format!("\nnotice: {}", word(&finding.message)));
        talk(format!("hint: {}", word(&finding.hint)));
    }
    match status.peers.len() {
        0 => talk("\nTo pair another machine: run `ccpeer pair` here and `ccpeer join` there."),
        n => talk(format!(
            "\n{n} paired device{}. `ccpeer` lists the unfinished tasks of all machines.",
            if n == 1 { "" } else { "s" }
        )),
    }
    Ok(())
}

/// Installs the hooks where they are missing and the user agrees. That this was
/// not possible does not keep the agent from running.
fn set_up_hooks(args: &UpArgs, context: &Context) -> Result<(), CommandError> {
    let home = &context.home;
    if args.no_hooks {
        return Ok(());
    }
    if !home.claude().is_dir() {
        talk(format!(
            "Claude Code's directory {} does not exist, so no hooks were installed.\n\
             Sessions of other machines are kept here all the same. Once Claude Code\n\
             has run on this machine, run `ccpeer up` again.",
            home.claude().display()
        ));
        return Ok(());
    }
    let status = hooks::status(home).ok();
    if status
        .as_ref()
        .is_some_and(|s| s.plugin == Installed::Installed && !s.in_settings)
    {
        talk("Claude Code has ccpeer's plugin, which brings the hooks.");
        return Ok(());
    }
    // Whoever has agreed once need not be asked because the program has moved.
    let agreed = status.is_some_and(|status| status.hooks != Installed::Missing);
    if agreed {
        return install(home);
    }
    if !args.yes && !can_ask() {
        talk(
            "The hooks are not installed; Claude Code's settings were not touched.\n\
             Install them with `ccpeer up --yes` or `ccpeer hooks install`.",
        );
        return Ok(());
    }
    let question = format!(
        "Install ccpeer's hooks and skill into {}?\n\
         They tell the agent when a session has changed. Only own entries are added.",
        home.claude().display()
    );
    if !args.yes && !prompt::yes(&question) {
        talk("Left alone. `ccpeer hooks install` does it later.");
        return Ok(());
    }
    install(home)
}

/// Whether somebody is there to answer, and sessions that the question is about:
/// where Claude Code has not run yet, it is asked when it has.
fn can_choose(context: &Context) -> bool {
    can_ask() && context.home.claude().is_dir()
}

/// Asks once whether a model may write summaries. Whoever is not there to answer
/// has not agreed: it costs something, and facts alone do as well.
fn ask_for_summaries(args: &UpArgs, context: &Context) -> Result<(), CommandError> {
    if args.yes || !can_choose(context) {
        return Ok(());
    }
    let policy: Policy = context.get(&Request::Policy { change: None })?;
    if policy.summary.chosen {
        return Ok(());
    }
    let question = format!(
        "Let Claude Haiku write better summaries of your sessions?\n\
         It costs a small request at most every {} minutes per session, {} a day.\n\
         The end of the conversation goes to it, as in Claude Code itself. [y/N] ",
        policy.summary.every_min, policy.summary.per_day
    );
    // Who closes the terminal here has not answered, and is asked again.
    let Some(answer) = prompt::line(&question) else {
        return Ok(());
    };
    let by = if prompt::is_yes(&answer) {
        SummaryBy::Claude
    } else {
        talk("Left off. `ccpeer policy summary claude` turns it on.");
        SummaryBy::Off
    };
    let change = Some(PolicyChange::Summary(SummaryChange {
        by: Some(by),
        ..SummaryChange::default()
    }));
    let _policy: Policy = context.get(&Request::Policy { change })?;
    Ok(())
}

/// Asks once whether sessions are to be placed by themselves. It stays on one's
/// own machines and can be taken back, so `--yes` means it, too.
fn ask_for_placing(args: &UpArgs, context: &Context) -> Result<(), CommandError> {
    let policy: Policy = context.get(&Request::Policy { change: None })?;
    if policy.place_default != Place::Ask || !(args.yes || can_choose(context)) {
        return Ok(());
    }
    let question = "Let sessions of your other machines appear in Claude Code's own list here?\n\
                    Only in projects that are checked out here, beside what is there, and\n\
                    `ccpeer undo --auto` takes it back.";
    let how = if args.yes || prompt::yes(question) {
        Place::Auto
    } else {
        talk("Not by themselves, then. `ccpeer policy place default auto` does it later.");
        Place::Never
    };
    let change = PolicyChange::Place { project: None, how };
    let change = Some(change);
    let _now: Policy = context.get(&Request::Policy { change })?;
    Ok(())
}

/// What keeps the settings from being edited does not keep the agent from
/// running.
fn install(home: &Home) -> Result<(), CommandError> {
    match hooks::install(home, &hook_client()?) {
        Ok(change) if change.changed => told_change(&change),
        Ok(_) => {}
        Err(e) => {
            talk(format!("The hooks were not installed: {}", e.message));
            if let Some(hint) = e.hint {
                talk(format!("hint: {hint}"));
            }
        }
    }
    Ok(())
}
