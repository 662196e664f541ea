//! `ccpeer demo`: the whole story on one machine, every step as a user would
//! type it. Two homes in a scratch directory, two agents on loopback, a made-up
//! session that moves there and back, and a check of each promise on the way.
//! It must not touch anything outside of the scratch directory.

mod session;
mod stage;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ccpeer_agent::api::{ErrorCode, PairEvent, Placed, PlacedHow, Task};
use ccpeer_agent::spool;

use crate::context::{say, talk};
use crate::error::CommandError;
use session::Session;
use stage::{Failure, Machine, failure};

/// How long one thing that happens by itself is waited for.
const WAIT_MAX: Duration = Duration::from_secs(15);
/// How often it is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Runs the demonstration. The scratch directory is left there if something
/// fails, or if `keep` is set.
pub(crate) fn run(keep: bool) -> Result<(), CommandError> {
    let scratch = scratch_dir().map_err(|e| {
        let message = format!("cannot make a scratch directory: {e}");
        CommandError::new(
            ErrorCode::Disk,
            message,
            "set TMPDIR to a directory of yours",
        )
    })?;
    let started = Instant::now();
    let told = tell(&scratch);
    let kept = format!("the scratch directory {}", scratch.display());
    match told {
        Ok(()) => {
            say(format!(
                "\nAll of it held, in {:.1} s.",
                started.elapsed().as_secs_f32()
            ))?;
            if keep {
                talk(format!("You can look at {kept}."));
            } else if let Err(e) = fs::remove_dir_all(&scratch) {
                talk(format!("Could not remove {kept}: {e}"));
            }
            Ok(())
        }
        Err(Failure::Output(e)) => {
            let _ = fs::remove_dir_all(&scratch);
            Err(e)
        }
        Err(Failure::Story(why)) => Err(CommandError::new(
            ErrorCode::Refused,
            format!("the demo failed: {why}"),
            &format!("look at {kept}"),
        )),
    }
}

/// The story. Dropping the machines ends their agents, whatever happened.
fn tell(scratch: &Path) -> Result<(), Failure> {
    say("Two machines, made up, in a directory of their own:")?;
    let mut desk = Machine::new("desk", scratch, "work/notes")?;
    let mut laptop = Machine::new("laptop", scratch, "code/notes")?;

    step("1. An agent runs on each of them.")?;
    desk.start_agent()?;
    laptop.start_agent()?;

    step("2. They are paired.")?;
    pair(&desk, &laptop)?;

    step("3. Somebody works with Claude Code on the desk, and a turn ends.")?;
    let session = Session::new(spool::draw_id);
    let transcript = session.write_first_turns(&desk)?;
    session.end_turn(&desk, &transcript)?;
    let desk_bytes = read(&transcript)?;

    step("4. The laptop knows about it, and the session goes on there.")?;
    wait_for(&laptop, &session, "desk")?;
    laptop.show(&["tasks"])?;
    let placed = bring(&laptop, &session, true)?;
    check(
        placed.placed == PlacedHow::New,
        "the session was not placed as a new one",
    )?;
    let there = PathBuf::from(placed.path.ok_or_else(|| failure("it has no path"))?);
    check(!read(&there)?.is_empty(), "the placed transcript is empty")?;
    nothing_left(&laptop, &desk)?;
    say("  -> the same session, and no path of the desk is left in it")?;

    step("5. One more turn, on the laptop.")?;
    session.write_next_turn(&laptop, &there)?;
    session.end_turn(&laptop, &there)?;

    step("6. Back at the desk, the old window is closed and the session goes on.")?;
    session.close(&desk, &transcript)?;
    wait_for(&desk, &session, "laptop")?;
    let placed = bring(&desk, &session, false)?;
    check(
        placed.placed == PlacedHow::FastForward,
        "the desk was not brought up to date",
    )?;
    let desk_now = read(&transcript)?;
    check(
        desk_now.starts_with(&desk_bytes),
        "the desk's own bytes have changed",
    )?;
    check(
        desk_now.len() > desk_bytes.len(),
        "the laptop's turn has not arrived",
    )?;
    nothing_left(&desk, &laptop)?;
    say("  -> the desk's own bytes, untouched, and the laptop's turn behind them")?;

    step("7. The agents are stopped.")?;
    desk.stop_agent()?;
    laptop.stop_agent()
}

fn pair(desk: &Machine, laptop: &Machine) -> Result<(), Failure> {
    let mut inviting = desk.begin(&["pair", "--ticket", "--yes", "--json"])?;
    let first = inviting.line(WAIT_MAX)?;
    let Ok(PairEvent::Ticket { ticket }) = serde_json::from_str(&first) else {
        return Err(failure("`ccpeer pair` showed no ticket"));
    };
    let shown: String = ticket.chars().take(24).collect();
    say(format!("  {shown}…"))?;
    laptop.run(&["join"], &[], ticket.as_bytes(), "ticket.txt")?;
    inviting.succeed(WAIT_MAX)?;
    say("  -> paired")?;
    Ok(())
}

/// Waits until a machine holds all of the version that another one has written.
fn wait_for(machine: &Machine, session: &Session, written_by: &str) -> Result<(), Failure> {
    let until = Instant::now() + WAIT_MAX;
    loop {
        let tasks: Vec<Task> = machine.ask(&["tasks", "--all", "--json"])?;
        let found = tasks.iter().any(|task| {
            task.session_id == session.id && task.device.name == written_by && task.complete
        });
        if found {
            return Ok(());
        }
        if Instant::now() > until {
            let name = &machine.name;
            return Err(failure(format!("the session did not arrive on the {name}")));
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// `ccpeer continue`, up to the point where Claude Code would be started.
fn bring(machine: &Machine, session: &Session, into: bool) -> Result<Placed, Failure> {
    let short: String = session.id.chars().take(8).collect();
    let project = machine.project.to_string_lossy().into_owned();
    let mut args = vec!["continue", short.as_str(), "--no-exec", "--json"];
    if into {
        args.extend(["--into", project.as_str()]);
    }
    let out = machine.run(&args, &[], b"", "")?;
    let placed: Placed = serde_json::from_slice(&out)
        .map_err(|_| failure("`ccpeer continue --json` printed something else"))?;
    say(format!("  it would now run: {}", placed.command.join(" ")))?;
    Ok(placed)
}

/// Looks through all that is in Claude Code's directory of one machine for
/// anything that only exists on the other one.
fn nothing_left(here: &Machine, other: &Machine) -> Result<(), Failure> {
    let traces = [
        other.root.to_string_lossy().into_owned(),
        session::directory_name(&other.project),
    ];
    let mut dirs = vec![here.claude()];
    while let Some(dir) = dirs.pop() {
        let entries = fs::read_dir(&dir).map_err(|e| failure(format!("{}: {e}", dir.display())))?;
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                dirs.push(path);
                continue;
            }
            let bytes = read(&path)?;
            let text = String::from_utf8_lossy(&bytes);
            if traces.iter().any(|trace| text.contains(trace)) {
                let (path, name) = (path.display(), &other.name);
                return Err(failure(format!("{path} still names a path of the {name}")));
            }
        }
    }
    Ok(())
}

fn step(title: &str) -> Result<(), Failure> {
    Ok(say(format!("\n{title}"))?)
}

fn check(holds: bool, why: &str) -> Result<(), Failure> {
    if holds { Ok(()) } else { Err(failure(why)) }
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|e| failure(format!("{}: {e}", path.display())))
}

fn scratch_dir() -> std::io::Result<PathBuf> {
    let id: String = spool::draw_id().chars().take(8).collect();
    // Claude Code and ccpeer both work with paths that have no links in them.
    let dir = std::env::temp_dir()
        .canonicalize()?
        .join(format!("ccpeer-demo-{id}"));
    #[cfg_attr(not(unix), expect(unused_mut, reason = "there are no modes"))]
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(&dir)?;
    Ok(dir)
}
