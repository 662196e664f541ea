//! The examples at the end of each command's help: what is typed, and what for. They
//! stand in one table, so that they can be held against the command line itself.

use std::fmt::Write;

use clap::Command;

/// One command: its path below `ccpeer`, and what one may type.
type Examples = (&'static str, &'static [(&'static str, &'static str)]);

/// Every command that does something by itself.
const ALL: &[Examples] = &[
    (
        "up",
        &[
            ("ccpeer up", "set up, asking before settings are edited"),
            ("ccpeer up --yes", "the same, agreed to beforehand"),
            (
                "ccpeer up --no-hooks",
                "leave Claude Code's settings as they are",
            ),
        ],
    ),
    (
        "agent",
        &[
            ("ccpeer agent", "in the foreground, until Ctrl-C"),
            ("ccpeer agent --listen 192.0.2.7:4433 --no-mdns", ""),
        ],
    ),
    (
        "service install",
        &[
            ("ccpeer service install", "now, and at every login"),
            (
                "ccpeer service install --no-start",
                "from the next login on",
            ),
        ],
    ),
    ("service remove", &[("ccpeer service remove", "")]),
    (
        "service status",
        &[("ccpeer service status", "does it run, and where is its log")],
    ),
    ("down", &[("ccpeer down", "")]),
    (
        "status",
        &[
            ("ccpeer status", ""),
            ("ccpeer status --json | jq '.peers[].state'", ""),
        ],
    ),
    (
        "pair",
        &[
            ("ccpeer pair", "a short code, in one network"),
            ("ccpeer pair --ticket", "across networks"),
        ],
    ),
    (
        "join",
        &[
            ("ccpeer join", "asks for the code or the ticket"),
            ("ccpeer join < ticket.txt", "reads it from a file"),
        ],
    ),
    (
        "devices",
        &[
            ("ccpeer devices", ""),
            (
                "ccpeer devices --verify desk",
                "a number to compare on both screens",
            ),
        ],
    ),
    ("dial", &[("ccpeer dial desk 192.0.2.7:4433", "")]),
    (
        "relay",
        &[
            ("ccpeer relay --name relay.example.org", ""),
            (
                "ccpeer relay --show-address",
                "what `up --relay` wants elsewhere",
            ),
        ],
    ),
    ("rename", &[("ccpeer rename laptop", "")]),
    ("accept", &[("ccpeer accept desk", "")]),
    ("revoke", &[("ccpeer revoke old-laptop", "")]),
    (
        "rekey",
        &[
            ("ccpeer rekey", "a new key; the other devices follow"),
            ("ccpeer rekey --separate", "this home is a copy"),
        ],
    ),
    (
        "tasks",
        &[
            ("ccpeer tasks", "the same as `ccpeer`"),
            ("ccpeer tasks --all", "those that are finished, too"),
            ("ccpeer tasks --json | jq -r '.[].title'", ""),
        ],
    ),
    (
        "show",
        &[
            ("ccpeer show 1", "the first of the last list"),
            ("ccpeer show 1f6c", "by the beginning of its id"),
        ],
    ),
    (
        "continue",
        &[
            ("ccpeer continue 1", "bring it here, and go on"),
            ("ccpeer continue 1 --into ~/code/shop", ""),
            ("ccpeer continue 1 --handoff", "a new session that knows it"),
            (
                "ccpeer continue 1 --with-code",
                "in a work tree like that there",
            ),
            ("ccpeer continue 1 --no-exec", "only say what to run"),
        ],
    ),
    (
        "sessions",
        &[
            ("ccpeer sessions", ""),
            ("ccpeer sessions --remote --project shop", ""),
        ],
    ),
    (
        "search",
        &[
            ("ccpeer search redb compaction", ""),
            (
                "ccpeer search '\"out of memory\"' --since 7d --device desk",
                "",
            ),
            ("ccpeer search 解析器 --project shop", ""),
            ("ccpeer search --file src/parser.rs", ""),
        ],
    ),
    ("tui", &[("ccpeer tui", "`?` shows the keys")]),
    (
        "ui",
        &[
            ("ccpeer ui", "open the page in the browser"),
            ("ccpeer ui --no-open", "print the link alone"),
        ],
    ),
    (
        "serve",
        &[
            ("ccpeer serve token add laptop", "first, a token"),
            ("ccpeer serve", "for this machine alone"),
            (
                "ccpeer serve --listen 192.0.2.7:7843 --tls-cert c.pem --tls-key k.pem",
                "",
            ),
        ],
    ),
    (
        "serve token add",
        &[("ccpeer serve token add laptop", "shows it once")],
    ),
    ("serve token list", &[("ccpeer serve token list", "")]),
    (
        "serve token revoke",
        &[("ccpeer serve token revoke laptop", "")],
    ),
    (
        "push",
        &[
            ("ccpeer push", "this directory's project"),
            ("ccpeer push --all", ""),
        ],
    ),
    (
        "pull",
        &[
            ("ccpeer pull 2", "place one, without starting it"),
            ("ccpeer pull --project shop", ""),
        ],
    ),
    (
        "snapshot",
        &[
            ("ccpeer snapshot", "of the session that changed last"),
            (
                "ccpeer snapshot --force",
                "now, and until another device holds it",
            ),
        ],
    ),
    ("done", &[("ccpeer done 1", "")]),
    ("reopen", &[("ccpeer reopen 1f6c", "")]),
    (
        "hook",
        &[("ccpeer hook Stop < event.json", "as Claude Code calls it")],
    ),
    (
        "hooks install",
        &[
            ("ccpeer hooks install", ""),
            (
                "ccpeer hooks install --mcp",
                "and ccpeer's tools for Claude",
            ),
        ],
    ),
    ("hooks remove", &[("ccpeer hooks remove", "")]),
    (
        "hooks plugin",
        &[(
            "ccpeer hooks plugin ~/ccpeer-plugin",
            "then as it says for `claude plugin`",
        )],
    ),
    ("hooks status", &[("ccpeer hooks status", "")]),
    (
        "mcp",
        &[(
            "claude mcp add ccpeer -- ccpeer mcp",
            "Claude Code starts it",
        )],
    ),
    ("projects", &[("ccpeer projects", "which is where")]),
    (
        "projects set",
        &[("ccpeer projects set shop ~/src/shop", "")],
    ),
    ("projects forget", &[("ccpeer projects forget shop", "")]),
    ("projects root", &[("ccpeer projects root", "")]),
    (
        "projects root add",
        &[("ccpeer projects root add ~/code", "look for projects there")],
    ),
    (
        "projects root remove",
        &[("ccpeer projects root remove ~/code", "")],
    ),
    (
        "mv",
        &[
            ("ccpeer mv ~/shop ~/code/shop --dry-run", ""),
            ("ccpeer mv ~/shop ~/code/shop", ""),
        ],
    ),
    ("policy", &[("ccpeer policy", "what holds now")]),
    (
        "policy quota",
        &[
            ("ccpeer policy quota desk 20G", ""),
            ("ccpeer policy quota default 5G", ""),
        ],
    ),
    (
        "policy introduce",
        &[(
            "ccpeer policy introduce desk auto",
            "take in whom desk adds",
        )],
    ),
    (
        "policy place",
        &[("ccpeer policy place ~/code/shop auto", "")],
    ),
    (
        "policy code",
        &[(
            "ccpeer policy code ~/code/shop on",
            "then `continue --with-code`",
        )],
    ),
    (
        "policy place-from",
        &[("ccpeer policy place-from build-server never", "")],
    ),
    (
        "policy share",
        &[
            (
                "ccpeer policy share ~/code/secret local",
                "that, and what is below",
            ),
            (
                "ccpeer policy share 'client-*' snapshot",
                "every directory named so",
            ),
            (
                "ccpeer policy share default local",
                "only what a rule names",
            ),
            ("ccpeer policy share 'client-*' --remove", ""),
        ],
    ),
    (
        "policy fetch",
        &[("ccpeer policy fetch build-server snapshots", "")],
    ),
    ("policy start-line", &[("ccpeer policy start-line off", "")]),
    (
        "policy secrets",
        &[
            ("ccpeer policy secrets", "what was found where"),
            ("ccpeer policy secrets serve redact", "taken out on the way"),
        ],
    ),
    ("policy pause", &[("ccpeer policy pause 2h", "")]),
    ("policy resume", &[("ccpeer policy resume", "")]),
    (
        "policy keep",
        &[
            ("ccpeer policy keep 90", "days"),
            ("ccpeer policy keep forever", ""),
        ],
    ),
    (
        "policy summary",
        &[
            ("ccpeer policy summary off", ""),
            ("ccpeer policy summary claude --per-day 20", ""),
            ("ccpeer policy summary command -- my-summary --short", ""),
        ],
    ),
    (
        "pause",
        &[
            ("ccpeer pause 2h", ""),
            ("ccpeer pause", "until `ccpeer resume`"),
        ],
    ),
    ("resume", &[("ccpeer resume", "")]),
    ("git", &[("ccpeer git", "the mirrors that there are")]),
    (
        "git add",
        &[
            (
                "ccpeer git add git@example.org:me/sessions.git --encrypted",
                "",
            ),
            ("ccpeer git add ~/backup/sessions --plain", ""),
        ],
    ),
    ("git sync", &[("ccpeer git sync", "now")]),
    ("git status", &[("ccpeer git status", "")]),
    ("git remove", &[("ccpeer git remove sessions", "")]),
    (
        "git import",
        &[
            ("ccpeer git import ~/claude-tasks", "hand-offs of others"),
            ("ccpeer git import ~/backup --key-file recovery.txt", ""),
        ],
    ),
    (
        "undo",
        &[
            ("ccpeer undo", "the last `continue` or `pull`"),
            ("ccpeer undo --auto", "what was placed by itself"),
        ],
    ),
    (
        "verify",
        &[
            ("ccpeer verify", "what is named is there"),
            ("ccpeer verify --read-data", "and is what its name says"),
        ],
    ),
    (
        "doctor",
        &[
            ("ccpeer doctor", ""),
            (
                "ccpeer doctor net",
                "two machines that do not see each other",
            ),
        ],
    ),
    (
        "why",
        &[("ccpeer why 1", "where it stands, and who has it")],
    ),
    (
        "demo",
        &[
            ("ccpeer demo", ""),
            ("ccpeer demo --keep", "and look at it afterwards"),
        ],
    ),
    (
        "completions",
        &[
            (
                "ccpeer completions bash > ~/.local/share/bash-completion/completions/ccpeer",
                "",
            ),
            ("ccpeer completions fish | source", ""),
        ],
    ),
    ("man", &[("ccpeer man | man -l -", "")]),
];

/// The command line with its examples.
pub(crate) fn with(command: Command) -> Command {
    ALL.iter().fold(command, |command, (path, lines)| {
        let names: Vec<&str> = path.split(' ').collect();
        at(command, &names, &text(lines))
    })
}

fn at(command: Command, path: &[&str], text: &str) -> Command {
    match path.split_first() {
        None => command.after_long_help(text.to_owned()),
        Some((name, rest)) => command.mut_subcommand(name, |sub| at(sub, rest, text)),
    }
}

/// The commands below one another, and what they are for in a column of its own.
fn text(lines: &[(&str, &str)]) -> String {
    let noted = lines.iter().filter(|(_, note)| !note.is_empty());
    let width = noted.map(|(line, _)| line.len()).max().unwrap_or_default();
    let mut out = "Examples:".to_owned();
    for (line, note) in lines {
        let line = format!("{line:width$}   {note}");
        let _ = write!(out, "\n  {}", line.trim_end());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{ALL, text};
    use crate::cli;

    #[test]
    fn every_command_that_does_something_has_examples() {
        fn leaves(command: &clap::Command, path: &str, out: &mut Vec<String>) {
            for sub in command.get_subcommands().filter(|s| !s.is_hide_set()) {
                let path = format!("{path} {}", sub.get_name()).trim().to_owned();
                if !sub.is_subcommand_required_set() {
                    out.push(path.clone());
                }
                leaves(sub, &path, out);
            }
        }
        let mut commands = Vec::new();
        leaves(&cli::command(), "", &mut commands);
        let with: Vec<&str> = ALL.iter().map(|(path, _)| *path).collect();
        let without: Vec<_> = commands.iter().filter(|c| !with.contains(&&***c)).collect();
        assert!(without.is_empty(), "{without:?}");
        for path in &with {
            assert!(commands.iter().any(|c| c == path), "{path} is no command");
        }
    }

    #[test]
    fn what_the_examples_say_can_be_typed() {
        for (path, lines) in ALL {
            for (line, _) in *lines {
                let own = line.split([' ', '|']).next() == Some("ccpeer");
                assert!(own || *path == "mcp", "{line}");
                // What a shell takes for itself.
                let typed = line.split(['<', '>']).next().unwrap_or_default();
                let typed = typed.split(" | ").next().unwrap_or_default();
                let typed = typed.split(" -- ccpeer").next().filter(|_| own);
                let Some(typed) = typed else { continue };
                let words = shlex::split(typed).unwrap();
                let read = cli::command().try_get_matches_from(words);
                assert!(read.is_ok(), "{line}: {}", read.unwrap_err());
            }
            for line in text(lines).lines() {
                assert!(line.chars().count() <= 80, "{line}");
            }
        }
    }
}
