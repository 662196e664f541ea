//! The command line: what is typed, read by clap, and handed to one function a
//! command. The doc comments are the help text.

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::bug;
use crate::commands::{
    accept, agent, completions, continue_task, demo, devices, dial, doctor, done, down, git, hook,
    hooks, join, man, mcp, mv, pair, pause, policy, projects, pull, push, rekey, relay, rename,
    reopen, resume, revoke, search, serve, service, sessions, show, snapshot, status, tasks, tui,
    ui, undo, up, verify, why,
};
use crate::context::Context;
use crate::environment;
use crate::error::CommandError;
use crate::examples;

/// Continue a Claude Code session on any of your machines, without a server.
///
/// Every machine runs a small agent that keeps the sessions of all of them.
/// Without a command, the unfinished tasks of all machines are listed.
#[derive(Debug, Parser)]
#[command(
    name = "ccpeer",
    version,
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true,
    max_term_width = 80,
    after_long_help = environment::help()
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    tasks: tasks::TasksArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    Up(up::UpArgs),
    Agent(agent::AgentArgs),
    Service(service::ServiceArgs),
    Down(down::DownArgs),
    Status(status::StatusArgs),
    Pair(pair::PairArgs),
    Join(join::JoinArgs),
    Devices(devices::DevicesArgs),
    Dial(dial::DialArgs),
    Relay(relay::RelayArgs),
    Rename(rename::RenameArgs),
    Accept(accept::AcceptArgs),
    Revoke(revoke::RevokeArgs),
    Rekey(rekey::RekeyArgs),
    Tasks(tasks::TasksArgs),
    Show(show::ShowArgs),
    Continue(continue_task::ContinueArgs),
    Sessions(sessions::SessionsArgs),
    Search(search::SearchArgs),
    Tui(tui::TuiArgs),
    Ui(ui::UiArgs),
    Serve(serve::ServeArgs),
    Push(push::PushArgs),
    Pull(pull::PullArgs),
    Snapshot(snapshot::SnapshotArgs),
    Done(done::DoneArgs),
    Reopen(reopen::ReopenArgs),
    Hook(hook::HookArgs),
    Hooks(hooks::HooksArgs),
    Mcp(mcp::McpArgs),
    Projects(projects::ProjectsArgs),
    Mv(mv::MvArgs),
    Policy(policy::PolicyArgs),
    Pause(pause::PauseArgs),
    Resume(resume::ResumeArgs),
    Git(git::GitArgs),
    Undo(undo::UndoArgs),
    Verify(verify::VerifyArgs),
    Doctor(doctor::DoctorArgs),
    Why(why::WhyArgs),
    Demo(demo::DemoArgs),
    Completions(completions::CompletionsArgs),
    Man(man::ManArgs),
}

/// The whole command line, as it is read and as it is explained.
pub(crate) fn command() -> clap::Command {
    examples::with(Cli::command())
}

/// Reads the command line and runs the command.
pub(crate) fn run() -> ExitCode {
    bug::end_on_panic();
    // Asked of the raw arguments, because a wrong command line has no parsed ones.
    let as_json = std::env::args_os().any(|arg| arg == "--json");
    let read = command().try_get_matches();
    let result = match read.and_then(|read| Cli::from_arg_matches(&read)) {
        Ok(cli) => Context::new().and_then(|context| dispatch(cli, &context)),
        Err(e) => refuse(&e, as_json),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => e.report(as_json),
    }
}

fn dispatch(cli: Cli, context: &Context) -> Result<(), CommandError> {
    match cli.command {
        None => tasks::run(&cli.tasks, context),
        Some(Command::Up(args)) => up::run(&args, context),
        Some(Command::Agent(args)) => agent::run(&args, context),
        Some(Command::Service(args)) => service::run(&args, context),
        Some(Command::Down(args)) => down::run(&args, context),
        Some(Command::Status(args)) => status::run(&args, context),
        Some(Command::Pair(args)) => pair::run(&args, context),
        Some(Command::Join(args)) => join::run(&args, context),
        Some(Command::Devices(args)) => devices::run(&args, context),
        Some(Command::Dial(args)) => dial::run(&args, context),
        Some(Command::Relay(args)) => relay::run(&args, context),
        Some(Command::Rename(args)) => rename::run(&args, context),
        Some(Command::Accept(args)) => accept::run(&args, context),
        Some(Command::Revoke(args)) => revoke::run(&args, context),
        Some(Command::Tasks(args)) => tasks::run(&args, context),
        Some(Command::Show(args)) => show::run(&args, context),
        Some(Command::Continue(args)) => continue_task::run(&args, context),
        Some(Command::Sessions(args)) => sessions::run(&args, context),
        Some(Command::Search(args)) => search::run(&args, context),
        Some(Command::Tui(args)) => tui::run(&args, context),
        Some(Command::Ui(args)) => ui::run(&args, context),
        Some(Command::Serve(args)) => serve::run(&args, context),
        Some(Command::Push(args)) => push::run(&args, context),
        Some(Command::Pull(args)) => pull::run(&args, context),
        Some(Command::Snapshot(args)) => snapshot::run(&args, context),
        Some(Command::Done(args)) => done::run(&args, context),
        Some(Command::Reopen(args)) => reopen::run(&args, context),
        Some(Command::Hook(args)) => hook::run(&args, context),
        Some(Command::Hooks(args)) => hooks::run(&args, context),
        Some(Command::Mcp(args)) => mcp::run(&args, context),
        Some(Command::Projects(args)) => projects::run(&args, context),
        Some(Command::Mv(args)) => mv::run(&args, context),
        Some(Command::Undo(args)) => undo::run(&args, context),
        Some(Command::Verify(args)) => verify::run(&args, context),
        Some(Command::Doctor(args)) => doctor::run(&args, context),
        Some(Command::Rekey(args)) => rekey::run(&args, context),
        Some(Command::Policy(args)) => policy::run(&args, context),
        Some(Command::Pause(args)) => pause::run(&args, context),
        Some(Command::Resume(args)) => resume::run(&args, context),
        Some(Command::Git(args)) => git::run(&args, context),
        Some(Command::Why(args)) => why::run(&args, context),
        Some(Command::Demo(args)) => demo::run(&args, context),
        Some(Command::Completions(args)) => completions::run(&args, context),
        Some(Command::Man(args)) => man::run(&args, context),
    }
}

/// Help and version go to standard output and succeed; everything else is wrong
/// usage, in clap's words.
fn refuse(e: &clap::Error, as_json: bool) -> Result<(), CommandError> {
    if matches!(e.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return Ok(e.print()?);
    }
    if as_json {
        let words = e.to_string();
        let message = words.lines().next().unwrap_or("wrong usage");
        let message = message.strip_prefix("error: ").unwrap_or(message);
        return Err(CommandError::usage(message, "see `ccpeer --help`"));
    }
    let _ = e.print();
    Err(CommandError::Exit(2))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_sound() {
        super::command().debug_assert();
    }
}
