//! `ccpeer git`

use std::path::{Path, PathBuf};

use ccpeer_agent::api::{Gate, GitAdd, GitChange, GitImported, Imported, Mirror, Request};
use clap::{ArgGroup, Subcommand};

use crate::context::{Context, say, say_json, talk};
use crate::error::CommandError;
use crate::paths;
use crate::table::{self, Column};

/// Mirror this device's sessions into a git repository, or import from one
///
/// A mirror is brought up to date by itself, over the system's `git`: it never
/// forces a push, never checks anything out, and leaves alone what others wrote.
/// Without a command, the mirrors are listed.
#[derive(Debug, clap::Args)]
pub(crate) struct GitArgs {
    #[command(subcommand)]
    change: Option<Change>,
    /// Print one JSON document
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Change {
    /// Mirror into this repository from now on
    ///
    /// Plain, others who can read the repository read your sessions; a session in
    /// which something looks like a secret stays out. The programs
    /// claude-code-session-sharing and claude-sync-sessions find them there, too.
    /// Encrypted, only your paired
    /// devices read it, and whoever has the recovery key: keep a copy of that key
    /// somewhere else.
    #[command(group(ArgGroup::new("form").required(true).args(["plain", "encrypted"])))]
    Add {
        /// A path, or an address that git understands
        #[arg(value_name = "PATH_OR_URL")]
        url: String,
        /// In the clear
        #[arg(long)]
        plain: bool,
        /// Encrypted for your devices (age)
        #[arg(long)]
        encrypted: bool,
        /// Mirror in the clear also what looks like it holds a secret
        #[arg(long, requires = "plain")]
        with_secrets: bool,
        /// A change is there after so many seconds at the latest [default: 300]
        #[arg(long, value_name = "SECONDS")]
        push_every: Option<u64>,
        /// In the clear: the hand-off in `tasks/` of a session that is open is
        /// written at most so often [default: 1800]
        #[arg(long, value_name = "SECONDS", requires = "plain")]
        snapshot_every: Option<u64>,
        /// The same for its bundle in `sessions/` [default: 21600]
        #[arg(long, value_name = "SECONDS", requires = "plain")]
        bundle_every: Option<u64>,
    },
    /// Bring mirrors up to date now
    Sync {
        /// Only this one: its name, or its address
        mirror: Option<String>,
        /// Put everything there again, where the remote has gone back
        #[arg(long)]
        repush: bool,
        /// Write hand-offs and bundles whose time has not come yet, too
        #[arg(long)]
        force: bool,
    },
    /// List mirrors and how they do
    Status,
    /// Forget a mirror here; the repository stays as it is
    Remove {
        /// Its name, or its address
        mirror: String,
    },
    /// Take over the sessions and tasks that a repository holds
    ///
    /// A mirror of a device that is gone, plain or encrypted; a repository of
    /// claude-code-session-sharing (`tasks/*.md`) or of claude-sync-sessions
    /// (`sessions/*/*.bundle.gz`), or the directory of the latter's settings. A file
    /// that cannot be used stops nothing. Doing it again changes nothing.
    Import {
        /// A path, or an address that git understands
        #[arg(value_name = "PATH_OR_URL")]
        from: String,
        /// The file with the recovery key of an encrypted mirror
        #[arg(long, value_name = "FILE")]
        key_file: Option<PathBuf>,
    },
}

pub(crate) fn run(args: &GitArgs, context: &Context) -> Result<(), CommandError> {
    let change = match &args.change {
        None | Some(Change::Status) => None,
        Some(Change::Import { from, key_file }) => {
            return import(from, key_file.as_deref(), args.json, context);
        }
        Some(change) => Some(read(change)?),
    };
    let removed = matches!(change, Some(GitChange::Remove { .. }));
    let request = Request::Git { change };
    let mirrors: Vec<Mirror> = context.stream(&request, &mut |_| Ok(()))?;
    if args.json {
        return say_json(&mirrors);
    }
    if removed {
        talk("The mirror is forgotten here; the repository is as it was.");
        return Ok(());
    }
    show(&mirrors, matches!(args.change, Some(Change::Add { .. })))
}

fn read(change: &Change) -> Result<GitChange, CommandError> {
    Ok(match change {
        Change::Add {
            url,
            encrypted,
            with_secrets,
            push_every,
            snapshot_every,
            bundle_every,
            ..
        } => GitChange::Add(GitAdd {
            url: place(url)?,
            encrypted: *encrypted,
            with_secrets: *with_secrets,
            push_every_s: *push_every,
            snapshot_every_s: *snapshot_every,
            bundle_every_s: *bundle_every,
        }),
        Change::Sync {
            mirror,
            repush,
            force,
        } => GitChange::Sync {
            mirror: mirror.as_deref().map(named).transpose()?,
            repush: *repush,
            force: *force,
        },
        Change::Remove { mirror } => GitChange::Remove {
            mirror: named(mirror)?,
        },
        Change::Status | Change::Import { .. } => {
            return Err(CommandError::usage(
                "nothing is to be changed",
                "see `ccpeer git --help`",
            ));
        }
    })
}

/// A path as the agent finds it, or an address as it is.
fn place(text: &str) -> Result<String, CommandError> {
    let path = Path::new(text);
    let is_address = text.contains("://") || (text.contains(':') && !path.exists());
    match is_address || text.starts_with('-') {
        true => Ok(text.to_owned()),
        false => paths::absolute(path),
    }
}

/// A mirror's name, or its place.
fn named(text: &str) -> Result<String, CommandError> {
    match Path::new(text).exists() {
        true => paths::absolute(Path::new(text)),
        false => Ok(text.to_owned()),
    }
}

fn show(mirrors: &[Mirror], added: bool) -> Result<(), CommandError> {
    if mirrors.is_empty() {
        talk("No mirrors.");
        talk("hint: `ccpeer git add PATH_OR_URL --plain` or `--encrypted` makes one");
        return Ok(());
    }
    let columns = [
        Column("NAME", 12),
        Column("MODE", 9),
        Column("STATE", 11),
        Column("UP TO DATE", 20),
        Column("WHERE", 0),
    ];
    let row = |m: &Mirror| {
        let synced = m
            .synced
            .as_deref()
            .and_then(|t| t.get(..19))
            .map(|t| t.replace('T', " "));
        vec![
            m.name.clone(),
            m.mode.clone(),
            m.state.replace('_', " "),
            synced.unwrap_or_else(|| "never".to_owned()),
            format!("{} ({})", m.url, m.branch),
        ]
    };
    let rows: Vec<Vec<String>> = mirrors.iter().map(row).collect();
    for line in table::render(&columns, &rows) {
        say(line)?;
    }
    for mirror in mirrors {
        tell(mirror, added);
    }
    Ok(())
}

fn tell(mirror: &Mirror, added: bool) {
    if let Some(error) = &mirror.error {
        talk(format!("{}: {error}", mirror.name));
        if let Some(hint) = &mirror.hint {
            talk(format!("hint: {hint}"));
        }
    }
    if !mirror.held.is_empty() {
        let what = match mirror.secrets {
            Gate::Redact => "there only as what others read, without what looks like secrets",
            Gate::Hold | Gate::Warn => "kept out, because something in them looks like a secret",
        };
        name(mirror, &mirror.held, what);
        talk("hint: an encrypted mirror takes all of them; `ccpeer policy secrets` changes it");
    }
    if !mirror.warned.is_empty() {
        let what = "there with something that looks like a secret";
        name(mirror, &mirror.warned, what);
        talk("hint: `ccpeer policy secrets` keeps others out; the history keeps these");
    }
    if let (true, Some(key)) = (added, &mirror.recovery_key) {
        talk(format!("The recovery key is in {key}"));
        talk("Keep a copy of it somewhere else: without it, or a paired device, nobody");
        talk("can read this mirror when this machine is gone.");
    }
}

/// Sessions, one a line.
fn name(mirror: &Mirror, of: &[String], what: &str) {
    let n = sessions(of.len() as u64);
    talk(format!("{}: {n} {what}:", mirror.name));
    for session in of {
        talk(format!("  {session}"));
    }
}

fn count(n: u64, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

fn sessions(n: u64) -> String {
    count(n, "session")
}

fn import(
    from: &str,
    key_file: Option<&Path>,
    json: bool,
    context: &Context,
) -> Result<(), CommandError> {
    let request = Request::GitImport {
        from: place(from)?,
        key_file: key_file.map(paths::absolute).transpose()?,
    };
    let done: GitImported = context.stream(
        &request,
        &mut |item| match serde_json::from_value::<Imported>(item) {
            Ok(one) if !json => row(&one),
            _ => Ok(()),
        },
    )?;
    if json {
        return say_json(&done);
    }
    for note in &done.notes {
        talk(format!("notice: {note}"));
    }
    let taken = format!(
        "{} and {}",
        sessions(done.sessions),
        count(done.tasks, "task")
    );
    talk(format!(
        "{} done ({taken}), {} skipped, {} failed",
        done.sessions + done.tasks,
        done.known,
        done.failed
    ));
    Ok(())
}

/// What became of one of them; nothing of what was known.
fn row(one: &Imported) -> Result<(), CommandError> {
    if let Some(why) = &one.reason {
        talk(format!("{} is passed over: {why}", one.title));
    } else if one.result != "known" {
        say(format!(
            "{}  {:7}  {}",
            one.session_id, one.result, one.title
        ))?;
    }
    Ok(())
}
