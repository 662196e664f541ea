//! `ccpeer continue`

use std::path::{Path, PathBuf};
use std::process::Command;

use ccpeer_agent::api::{
    ApiError, Continued, ErrorCode, Meanwhile, Placed, PlacedHow, Presence, Request,
};
use ccpeer_core::text;
use serde::Deserialize;

use crate::context::{Context, can_ask, say, say_json, talk};
use crate::error::CommandError;
use crate::{prompt, table};

mod code;

/// Bring a session here and go on with it
///
/// Fetches what is missing, places the session into Claude Code's directory with
/// its paths changed to those of this machine, and runs `claude --resume` in the
/// project's directory. A local session is never overwritten: where both sides
/// have gone on, the other one is placed beside it.
///
/// If another device is in a turn of the session, it is a question: to wait for
/// the end of the turn, to take the session over, or to fork it. A session that
/// merely waits for its user there is brought at once.
///
/// How the code here stands to what the session saw is always told. With
/// `--with-code` it goes on in a new git work tree beside the project's clone, with
/// the same changes, staged or not, that it had there; the checkout that is here
/// stays as it is.
#[derive(Debug, clap::Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "they are the flags of the command line"
)]
pub(crate) struct ContinueArgs {
    /// Number in the last list, or unique beginning of a session id
    task: String,
    /// Into this directory instead of the one that matches the project
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,
    /// Start a new session from the hand-off prompt instead
    #[arg(long, conflicts_with = "fork")]
    handoff: bool,
    /// As a new session, even if the local one could simply go on
    #[arg(long)]
    fork: bool,
    /// If it is being worked on elsewhere: wait until the turn there has ended
    #[arg(long, conflicts_with_all = ["fork", "handoff", "take_over"])]
    wait: bool,
    /// If it is being worked on elsewhere: go on here all the same, and tell them
    #[arg(long, conflicts_with_all = ["fork", "handoff"])]
    take_over: bool,
    /// Where both sides went on: their turns behind the local ones, in one session
    #[arg(long, conflicts_with_all = ["fork", "handoff"])]
    join: bool,
    /// In a new work tree, with the changes that came along (`ccpeer policy code`)
    #[arg(long, conflicts_with_all = ["handoff", "join"])]
    with_code: bool,
    /// Place it and print what to run, but do not run it
    #[arg(long)]
    no_exec: bool,
    /// Print one JSON document; implies --no-exec
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &ContinueArgs, context: &Context) -> Result<(), CommandError> {
    let into = args.into.as_deref().map(absolute).transpose()?;
    let way = match (args.wait, args.take_over, args.fork) {
        (true, _, _) => Way::Wait,
        (_, true, _) => Way::TakeOver,
        (_, _, true) => Way::Fork,
        _ => Way::Ask,
    };
    let bring = |way: Way| {
        let meanwhile = match way {
            Way::Wait => Meanwhile::Wait,
            Way::TakeOver => Meanwhile::TakeOver,
            Way::Ask | Way::Fork => Meanwhile::Ask,
        };
        let request = Request::Continue {
            task: args.task.clone(),
            into: into.clone(),
            from_dir: std::env::current_dir().ok().as_deref().and_then(utf8),
            fork: way == Way::Fork,
            handoff: args.handoff,
            join: args.join,
            with_code: args.with_code,
            meanwhile,
        };
        context.stream::<Continued>(&request, &mut |step| {
            told(&step);
            Ok(())
        })
    };
    let continued = match bring(way) {
        Err(CommandError::Told(e)) if way == Way::Ask && !args.json && can_ask() => {
            match choose(&e) {
                Some(way) => bring(way)?,
                None => return Err(CommandError::Told(e)),
            }
        }
        other => other?,
    };
    if args.json {
        say_json(&continued)?;
    }
    tell_about_others(&continued);
    if let Some(code) = &continued.code {
        code::tell(code, args.with_code).into_iter().for_each(talk);
    }
    let placed = continued.placed;
    if placed.placed == PlacedHow::Refused {
        let why = placed.reason.as_deref().unwrap_or("it breaks a rule");
        let why = format!("session {} was not placed: {why}", placed.session_id);
        return Err(match args.json {
            true => CommandError::Exit(ErrorCode::Refused.exit()),
            false => CommandError::new(ErrorCode::Refused, why, ""),
        });
    }
    if args.json {
        return Ok(());
    }
    if !args.handoff {
        describe(&placed);
    }
    if args.no_exec {
        return say(by_hand(&placed));
    }
    execute(&placed)
}

/// Continues a session without any flag.
pub(crate) fn plainly(task: String, context: &Context) -> Result<(), CommandError> {
    let args = ContinueArgs {
        task,
        into: None,
        handoff: false,
        fork: false,
        wait: false,
        take_over: false,
        join: false,
        with_code: false,
        no_exec: false,
        json: false,
    };
    run(&args, context)
}

/// What becomes of a session that another device is at work on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Ask,
    Wait,
    TakeOver,
    Fork,
}

/// The three ways, as a question; nothing if there is nothing to choose, or if
/// nothing was chosen.
fn choose(e: &ApiError) -> Option<Way> {
    let there = e.elsewhere.as_deref()?;
    talk(format!("{}:", text::one_line(&e.message, 200)));
    talk(format!("  {}", standing(there)));
    talk("");
    talk("  w  wait until the turn there has ended, then go on here");
    talk("  t  take over: go on here from what is here now; they are told");
    talk("  f  fork: go on here beside it, as a session of its own");
    talk("");
    let answer = prompt::line("What now? [w/t/f, else nothing] ")?;
    match answer.to_ascii_lowercase().as_str() {
        "w" | "wait" => Some(Way::Wait),
        "t" | "take" | "take over" | "take-over" => Some(Way::TakeOver),
        "f" | "fork" => Some(Way::Fork),
        _ => None,
    }
}

/// Where a session stands on another device, in a few words.
fn standing(there: &Presence) -> String {
    let name = text::one_line(&there.device.name, 48);
    let doing = match there.state.as_str() {
        "live" => "in a turn",
        "idle" => "open, waiting for input",
        other => other,
    };
    if there.connected {
        format!("{name}: {doing}, {}", table::since(&there.since))
    } else {
        let heard = there.last_heard.as_ref().unwrap_or(&there.since);
        format!("{name}: was {doing}, last heard {}", table::since(heard))
    }
}

/// A step on the way: whom we wait for.
fn told(step: &serde_json::Value) {
    if let Ok(there) = Presence::deserialize(step) {
        talk(format!("waiting; {}", standing(&there)));
    }
}

/// What the user may want to know about other devices.
fn tell_about_others(continued: &Continued) {
    if let Some(there) = &continued.elsewhere {
        talk(standing(there));
        talk("  What is written there from now on is kept as a line of its own.");
    }
    if let Some(from) = &continued.taken_from {
        let name = text::one_line(&from.name, 48);
        talk(format!("taken over from {name}"));
    }
}

/// What was done, in a sentence or two.
pub(crate) fn describe(placed: &Placed) {
    let what = match placed.placed {
        PlacedHow::New => "placed",
        PlacedHow::FastForward => "brought up to date",
        PlacedHow::UpToDate => "is here already",
        PlacedHow::Fork => "placed beside the local one, as a new session",
        PlacedHow::Joined => "has both lines in a row now",
        PlacedHow::Refused => "refused",
    };
    talk(format!("session {} {what}", placed.session_id));
    if let Some(id) = &placed.new_session_id {
        talk(format!("  its id here is {id}"));
    }
    if let Some(backup) = &placed.backup {
        talk(format!(
            "  what was there before is in {backup}; `ccpeer undo` puts it back"
        ));
    }
    for line in &placed.notes {
        talk(format!("  {}", text::one_line(line, 200)));
    }
    for line in &placed.dropped {
        talk(format!("  {}", text::one_line(line, 200)));
    }
}

/// Becomes the program that goes on with the session.
fn execute(placed: &Placed) -> Result<(), CommandError> {
    let Some((name, args)) = placed.command.split_first() else {
        return Ok(());
    };
    let Some(program) = find_program(name) else {
        return Err(CommandError::new(
            ErrorCode::NotFound,
            format!("the session is here, but `{name}` is not in PATH"),
            &format!("run it by hand: {}", by_hand(placed)),
        ));
    };
    let mut command = Command::new(program);
    command.args(args);
    if let Some(dir) = &placed.project_dir {
        command.current_dir(dir);
    }
    let failed = |e: std::io::Error| {
        CommandError::new(
            ErrorCode::NotFound,
            format!("the session is here, but `{name}` cannot be run: {e}"),
            &format!("run it by hand: {}", by_hand(placed)),
        )
    };
    #[cfg(unix)]
    {
        use std::os::unix::process::CommandExt;
        Err(failed(command.exec()))
    }
    #[cfg(not(unix))]
    {
        let status = command.status().map_err(failed)?;
        match status.code().and_then(|code| u8::try_from(code).ok()) {
            Some(0) => Ok(()),
            code => Err(CommandError::Exit(code.unwrap_or(1))),
        }
    }
}

/// The command as it is typed into a shell.
fn by_hand(placed: &Placed) -> String {
    let words: Vec<String> = placed.command.iter().map(|word| quoted(word)).collect();
    let command = words.join(" ");
    match &placed.project_dir {
        Some(dir) => format!("cd {} && {command}", quoted(dir)),
        None => command,
    }
}

/// A word as a shell has to be given it.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@=+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    if cfg!(windows) {
        return format!("\"{}\"", word.replace('"', "\"\""));
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let endings: &[&str] = if cfg!(windows) {
        &["exe", "cmd", "bat"]
    } else {
        &[""]
    };
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .filter(|dir| dir.is_absolute())
        .flat_map(|dir| {
            endings
                .iter()
                .map(move |ending| dir.join(name).with_extension(ending))
        })
        .find(|candidate| is_program(candidate))
}

fn is_program(path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        path.metadata()
            .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    }
    #[cfg(not(unix))]
    path.is_file()
}

fn absolute(dir: &Path) -> Result<String, CommandError> {
    let shown = dir.display();
    let absolute = std::path::absolute(dir)
        .map_err(|e| CommandError::usage(format!("{shown} is not a directory: {e}"), ""))?;
    if !absolute.is_dir() {
        return Err(CommandError::usage(
            format!("{shown} is not a directory"),
            "make it first, or clone the project there",
        ));
    }
    utf8(&absolute)
        .ok_or_else(|| CommandError::usage(format!("{shown} is not a name in UTF-8"), ""))
}

fn utf8(path: &Path) -> Option<String> {
    path.to_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[cfg(unix)]
    #[test]
    fn words_are_quoted_for_a_shell() {
        assert_eq!(quoted("/home/ann/proj-1"), "/home/ann/proj-1");
        assert_eq!(quoted("it's $HOME"), r"'it'\''s $HOME'");
        assert_eq!(quoted(""), "''");
    }
}
