//! `ccpeer mv`

use std::path::PathBuf;

use ccpeer_agent::api::{MoveResult, ProjectMoved, Request};
use ccpeer_core::text;

use crate::context::{Context, say, say_json, talk};
use crate::error::CommandError;
use crate::paths;

/// Say that a project moved on this machine
///
/// The project itself is moved by you, before or after. What ccpeer remembers of
/// its directory follows, and so do its sessions: those that nobody has open move
/// to the directory that Claude Code uses for the new place, in the new paths, so
/// that its own picker lists them there. What lay in the old place is kept in the
/// backups; `ccpeer undo` takes the last session back. Doing it again moves what
/// was open the first time.
#[derive(Debug, clap::Args)]
pub(crate) struct MvArgs {
    /// Where it lay
    old: PathBuf,
    /// Where it lies
    new: PathBuf,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &MvArgs, context: &Context) -> Result<(), CommandError> {
    let request = Request::Move {
        old: paths::absolute(&args.old)?,
        new: paths::directory(&args.new)?,
        dry_run: args.dry_run,
    };
    let moved: ProjectMoved = context.stream(&request, &mut |_| Ok(()))?;
    if args.json {
        return say_json(&moved);
    }
    let mut counts = [0; 3];
    for session in &moved.sessions {
        let (at, what) = match session.result {
            MoveResult::Moved if moved.dry_run => (0, "would move to"),
            MoveResult::Moved => (0, "moved to"),
            MoveResult::Live => (1, "is open and stays in"),
            MoveResult::Failed => (2, "stays in"),
        };
        if let Some(count) = counts.get_mut(at) {
            *count += 1;
        }
        let dir = if at == 0 { &session.to } else { &session.from };
        say(format!("{} {what} {dir}", session.session_id))?;
        if let Some(reason) = session.reason.as_ref().filter(|_| at == 2) {
            talk(format!("  {}", text::one_line(reason, 200)));
        }
    }
    let [done, live, failed] = counts;
    let would = if moved.dry_run { " would be" } else { "" };
    talk(format!("{done}{would} moved, {live} open, {failed} failed"));
    if moved.sessions.is_empty() && moved.mappings == 0 {
        talk("hint: `ccpeer projects` lists the directories of projects here");
    }
    if live > 0 {
        talk("hint: close them and run the command again");
    }
    Ok(())
}
