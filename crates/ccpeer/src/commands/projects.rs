//! `ccpeer projects`

use std::path::{Path, PathBuf};

use ccpeer_agent::api::{KnownBy, Project, ProjectChange, ProjectsChanged, Request};
use clap::Subcommand;

use crate::context::{Context, say, say_json, talk};
use crate::error::CommandError;
use crate::paths;
use crate::table::{self, Column};

/// List projects and their directories here, or change where one lies
///
/// A project is told by its repository's remotes and first commit, else by its
/// place below your home or one of the directories that hold projects (`root`).
/// Where that does not give one answer, you are asked; what you say here stands.
/// Wherever a project is to be named, its name, its directory here or the
/// beginning of one of its remotes will do.
#[derive(Debug, clap::Args)]
pub(crate) struct ProjectsArgs {
    #[command(subcommand)]
    change: Option<Change>,
    /// Print one JSON document
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Change {
    /// Say in which directory a project lies here
    Set {
        /// Its name, its directory, or the beginning of a remote
        project: String,
        /// The directory
        dir: PathBuf,
    },
    /// Forget what was said or remembered of a project's directory
    Forget {
        /// Its name, its directory, or the beginning of a remote
        project: String,
    },
    /// List, add or remove directories that hold projects
    Root {
        #[command(subcommand)]
        change: Option<RootChange>,
    },
}

#[derive(Debug, Subcommand)]
enum RootChange {
    /// Projects lie below this directory, as they do below one elsewhere
    Add {
        /// The directory
        dir: PathBuf,
    },
    /// They do not, any more
    Remove {
        /// The directory
        dir: PathBuf,
    },
}

pub(crate) fn run(args: &ProjectsArgs, context: &Context) -> Result<(), CommandError> {
    let Some(change) = &args.change else {
        return list(args.json, context);
    };
    let roots = matches!(change, Change::Root { .. });
    let request = Request::ProjectsChange(read(change)?);
    let changed: ProjectsChanged = context.get(&request)?;
    if args.json {
        return say_json(&changed);
    }
    if let Some(message) = &changed.message {
        talk(message);
    }
    if roots {
        for root in &changed.roots {
            say(root)?;
        }
        if changed.roots.is_empty() {
            talk("No directory is said to hold projects; your home is looked below.");
        }
    }
    Ok(())
}

fn read(change: &Change) -> Result<ProjectChange, CommandError> {
    Ok(match change {
        Change::Set { project, dir } => ProjectChange::Set {
            project: named(project)?,
            dir: paths::directory(dir)?,
        },
        Change::Forget { project } => ProjectChange::Forget {
            project: named(project)?,
        },
        Change::Root { change: None } => ProjectChange::Roots,
        Change::Root {
            change: Some(RootChange::Add { dir }),
        } => ProjectChange::AddRoot {
            dir: paths::directory(dir)?,
        },
        Change::Root {
            change: Some(RootChange::Remove { dir }),
        } => ProjectChange::RemoveRoot {
            dir: paths::absolute(dir)?,
        },
    })
}

/// A project's name, or the directory that is meant by it.
fn named(project: &str) -> Result<String, CommandError> {
    let path = Path::new(project);
    let is_path = path.is_absolute() || path.starts_with(".") || path.starts_with("..");
    match is_path {
        true => paths::absolute(path),
        false => Ok(project.to_owned()),
    }
}

fn list(json: bool, context: &Context) -> Result<(), CommandError> {
    let projects: Vec<Project> = context.get(&Request::Projects)?;
    if json {
        return say_json(&projects);
    }
    if projects.is_empty() {
        talk("No projects.");
        return Ok(());
    }
    let columns = [
        Column("PROJECT", 18),
        Column("SESSIONS", 8),
        Column("ON", 16),
        Column("KNOWN BY", 13),
        Column("DIRECTORY", 0),
    ];
    let rows: Vec<Vec<String>> = projects.iter().map(row).collect();
    for line in table::render(&columns, &rows) {
        say(line)?;
    }
    let open = projects.iter().any(|p| p.dir.is_none());
    if open {
        talk("hint: `ccpeer projects set PROJECT DIR` says where one lies");
    }
    Ok(())
}

fn row(project: &Project) -> Vec<String> {
    let devices: Vec<&str> = project.devices.iter().map(|d| d.name.as_str()).collect();
    let known = match project.known {
        Some(KnownBy::Said) => "said by you",
        Some(KnownBy::GitRemote) => "git remote",
        Some(KnownBy::FirstCommit) => "first commit",
        Some(KnownBy::SamePlace) => "same place",
        Some(KnownBy::Sessions) => "sessions here",
        None => "",
    };
    let dir = match (&project.dir, project.candidates.len()) {
        (Some(dir), _) => dir.clone(),
        (None, 0) => "not known here".to_owned(),
        (None, n) => format!("one of {n}: say which"),
    };
    vec![
        project.name.clone(),
        project.sessions.to_string(),
        devices.join(", "),
        known.to_owned(),
        dir,
    ]
}
