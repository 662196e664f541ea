//! `ccpeer hooks`

use std::path::{Path, PathBuf};

use ccpeer_agent::api::ErrorCode;
use ccpeer_agent::hooks::{self, HooksChange, HooksStatus, Installed, SkillChange};
use serde::Serialize;

use super::continue_task::quoted;
use crate::context::{Context, say, say_json, talk};
use crate::error::CommandError;
use crate::registered::{self, McpChange};

/// Install, remove or check the hooks in Claude Code's settings
///
/// Only ccpeer's own entries are touched, and everything else in the file stays
/// as it is, byte for byte. `install` also puts a skill beside it, so that Claude
/// understands "what is in my unfinished tasks?" and "continue 1". `plugin` is the
/// other way, with the same in it.
#[derive(Debug, clap::Args)]
pub(crate) struct HooksArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Add ccpeer's hooks and skill
    Install {
        /// Also have Claude Code start `ccpeer mcp`, by its own `claude mcp add`
        #[arg(long)]
        mcp: bool,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
    /// Take ccpeer's hooks and skill out again
    Remove {
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
    /// Write a plugin of Claude Code that brings hooks, skill and `ccpeer mcp`
    ///
    /// Claude Code's own commands take it from the directory, and take it out again:
    /// what to type is printed. It names this program, so write it again when that
    /// has moved.
    Plugin {
        /// A directory that is empty, not there, or was written by this before
        dir: PathBuf,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
    /// Say whether they are there
    Status {
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
}

pub(crate) fn run(args: &HooksArgs, context: &Context) -> Result<(), CommandError> {
    let home = &context.home;
    let (change, mcp, json) = match args.action {
        Action::Plugin { ref dir, json } => return plugin(dir, json, context),
        Action::Install { json, mcp } => {
            let change = hooks::install(home, &hook_client()?)?;
            let mcp = match mcp {
                true => Some(registered::add(home, &this_program()?)?),
                false => None,
            };
            (change, mcp, json)
        }
        Action::Remove { json } => {
            let change = hooks::remove(home)?;
            (change, registered::remove(home)?, json)
        }
        Action::Status { json } => return status(json, context),
    };
    if json {
        return say_json(&Told { change, mcp });
    }
    told_change(&change);
    match mcp {
        Some(McpChange::Added) => {
            talk("  Claude Code starts `ccpeer mcp` from its next session on")
        }
        Some(McpChange::Removed) => talk("  Claude Code does not start `ccpeer mcp` any more"),
        Some(McpChange::Unchanged) | None => {}
    }
    Ok(())
}

fn plugin(dir: &Path, json: bool, context: &Context) -> Result<(), CommandError> {
    let dir = std::path::absolute(dir)
        .map_err(|_| CommandError::usage("this is no directory", "give one that can be written"))?;
    let written = hooks::write_plugin(&dir, &hook_client()?, &this_program()?)?;
    if json {
        return say_json(&written);
    }
    talk(format!("Wrote a plugin into {}", written.dir));
    talk("To have Claude Code use it from its next session on:");
    for command in &written.commands {
        let words: Vec<String> = command.iter().map(|word| quoted(word)).collect();
        say(words.join(" "))?;
    }
    let status = hooks::status(&context.home)?;
    if status.in_settings {
        talk("The hooks are in the settings, too, and go first: the plugin's do nothing then.");
        talk("`ccpeer hooks remove` takes those out.");
    }
    Ok(())
}

/// With what became of the MCP server, where it was asked for or there.
#[derive(Debug, Serialize)]
struct Told {
    #[serde(flatten)]
    change: HooksChange,
    #[serde(skip_serializing_if = "Option::is_none")]
    mcp: Option<McpChange>,
}

#[derive(Debug, Serialize)]
struct Standing {
    #[serde(flatten)]
    hooks: HooksStatus,
    mcp: &'static str,
}

fn status(json: bool, context: &Context) -> Result<(), CommandError> {
    let status = Standing {
        hooks: hooks::status(&context.home)?,
        mcp: match registered::is_there(&context.home) {
            true => "installed",
            false => "missing",
        },
    };
    if json {
        return say_json(&status);
    }
    let Standing { hooks, mcp } = status;
    say(format!("hooks     {}", hooks.hooks.as_str()))?;
    say(format!("settings  {}", hooks.settings))?;
    if let Some(program) = &hooks.program {
        say(format!("program   {program}"))?;
    }
    if hooks.disabled {
        talk("All hooks are switched off there: `disableAllHooks` is true.");
    }
    let by_plugin = |word: &str| match hooks.plugin {
        Installed::Installed if word == "missing" => "by the plugin".to_owned(),
        _ => word.to_owned(),
    };
    say(format!("skill     {}", by_plugin(hooks.skill.as_str())))?;
    say(format!("plugin    {}", hooks.plugin.as_str()))?;
    if hooks.plugin != Installed::Missing && hooks.in_settings {
        talk("Settings and plugin both have the hooks: the plugin's do nothing, so that no");
        talk("event is told twice. `ccpeer hooks remove`, or `claude plugin uninstall");
        talk("ccpeer@ccpeer`, takes one of them out.");
    }
    say(format!("mcp       {}", by_plugin(mcp)))
}

/// Says what was done.
pub(crate) fn told_change(change: &HooksChange) {
    talk(format!(
        "{} {}",
        if change.changed {
            "Changed"
        } else {
            "Nothing to change in"
        },
        change.settings
    ));
    if let Some(backup) = &change.backup {
        talk(format!("  the file as it was: {backup}"));
    }
    match change.skill {
        SkillChange::Written => talk("  the skill was installed"),
        SkillChange::Removed => talk("  the skill was removed"),
        SkillChange::KeptForeign => talk("  the skill was changed by hand and left alone"),
        SkillChange::Unchanged => {}
    }
}

/// The absolute path of the program that the hooks run: this one, or the small one
/// beside it.
///
/// # Errors
/// As [`this_program`].
pub(crate) fn hook_client() -> Result<PathBuf, CommandError> {
    Ok(hooks::client(&this_program()?))
}

/// The absolute path of this program.
///
/// # Errors
/// When the system does not say where it is.
pub(crate) fn this_program() -> Result<PathBuf, CommandError> {
    std::env::current_exe().map_err(|e| {
        CommandError::new(
            ErrorCode::Disk,
            format!("cannot find this program: {e}"),
            "install it again and run it by its full path",
        )
    })
}
