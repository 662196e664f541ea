//! Every variable that ccpeer reads from the environment, in one table: the help
//! text and docs/environment.md are made of it.

/// One variable.
pub(crate) struct Variable {
    pub(crate) name: &'static str,
    /// What it is for.
    pub(crate) meaning: &'static str,
    /// What holds without it.
    pub(crate) default: &'static str,
}

/// All of them, ours first.
pub(crate) const VARIABLES: [Variable; 10] = [
    Variable {
        name: "CCPEER_HOME",
        meaning: "Everything ccpeer owns: key, store, spool, log and backups.",
        default: "the platform's directory for user data + `ccpeer`",
    },
    Variable {
        name: "CCPEER_LOG",
        meaning: "What is logged, as a filter of the tracing crate: a level, or `target=level` pairs.",
        default: "`info` for the agent, `warn` for commands",
    },
    Variable {
        name: "CCPEER_CHILD",
        meaning: "Set by ccpeer for programs that it starts. Where it is set, `ccpeer hook` ends at once, so that a hook never causes another one.",
        default: "unset",
    },
    Variable {
        name: "CLAUDE_CONFIG_DIR",
        meaning: "Claude Code's directory; its own variable, honoured as Claude Code does.",
        default: "`~/.claude`",
    },
    Variable {
        name: "CCPEER_MACHINE_ID",
        meaning: "Stands for the id of this machine, where the system's own means nothing (containers that share one): a home that finds another one takes itself for a copy.",
        default: "the system's machine id",
    },
    Variable {
        name: "CCPEER_HURRY",
        meaning: "For tests of ccpeer itself, and nothing else: the agent's rounds, the pauses between summaries, and the time after which something is let go, pass so many times faster, and each round writes the store anew.",
        default: "unset: a round every half hour",
    },
    Variable {
        name: "HOME",
        meaning: "Your home directory (`USERPROFILE` on Windows).",
        default: "needed unless `CCPEER_HOME` and `CLAUDE_CONFIG_DIR` are set",
    },
    Variable {
        name: "CLAUDE_PROJECT_DIR, CLAUDE_CODE_SESSION_ID, CLAUDE_PID, CLAUDE_CODE_ENTRYPOINT",
        meaning: "Given to hooks by Claude Code; `ccpeer hook` passes them on to the agent.",
        default: "unset outside a hook",
    },
    Variable {
        name: "CLAUDE_CODE_PROJECT_DIR_NAME",
        meaning: "Claude Code's own: the one directory below `projects/` that it uses for every project. It counts only where `CLAUDE_CONFIG_DIR` is set as well. Where the agent does not see it, a project's directory is found by the sessions in it.",
        default: "unset: the name follows from the path",
    },
    Variable {
        name: "NO_COLOR, CLICOLOR_FORCE, TERM",
        meaning: "The first two are honoured for help texts; ccpeer prints nothing else in colour. With `TERM=dumb` no progress bar is drawn.",
        default: "as the terminal has it",
    },
];

/// The part of the long help.
pub(crate) fn help() -> String {
    let mut out = "Environment:\n".to_owned();
    for variable in VARIABLES.iter().take(4) {
        out += &format!(
            "  {:<18} {} Default: {}.\n",
            variable.name, variable.meaning, variable.default
        );
    }
    out + "\nExit codes: 0 done, 1 refused or nothing found, 2 wrong usage, \
           3 agent unreachable or\nanother one already runs, 4 the store is damaged, 70 a bug in ccpeer."
}
