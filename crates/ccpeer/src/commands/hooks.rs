//! `ccpeer hooks`

use std::path::PathBuf;

use ccpeer_agent::api::ErrorCode;
use ccpeer_agent::hooks::{self, HooksChange, SkillChange};

use crate::context::{Context, say, say_json, talk};
use crate::error::CommandError;

/// Install, remove or check the hooks in Claude Code's settings
///
/// Only ccpeer's own entries are touched, and everything else in the file stays
/// as it is, byte for byte. `install` also puts a skill beside it, so that Claude
/// understands "what is in my unfinished tasks?" and "continue 1".
#[derive(Debug, clap::Args)]
pub(crate) struct HooksArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Add ccpeer's hooks and skill
    Install {
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
    /// Say whether they are there
    Status {
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
}

pub(crate) fn run(args: &HooksArgs, context: &Context) -> Result<(), CommandError> {
    let home = &context.home;
    let (change, json) = match args.action {
        Action::Install { json } => (hooks::install(home, &hook_client()?)?, json),
        Action::Remove { json } => (hooks::remove(home)?, json),
        Action::Status { json } => {
            let status = hooks::status(home)?;
            if json {
                return say_json(&status);
            }
            say(format!("hooks     {}", status.hooks.as_str()))?;
            say(format!("settings  {}", status.settings))?;
            if let Some(program) = &status.program {
                say(format!("program   {program}"))?;
            }
            if status.disabled {
                talk("All hooks are switched off there: `disableAllHooks` is true.");
            }
            return say(format!("skill     {}", status.skill.as_str()));
        }
    };
    if json {
        return say_json(&change);
    }
    told_change(&change);
    Ok(())
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
