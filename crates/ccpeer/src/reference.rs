//! docs/cli.md and docs/environment.md are made of the program itself; these
//! tests keep them so. `BLESS=1 cargo test -p ccpeer --bin ccpeer` writes them.

use std::fmt::Write;
use std::path::PathBuf;

use clap::{Arg, Command};

use crate::cli;
use crate::environment::VARIABLES;

/// What stands above this line is written by hand, what follows is made.
const MARK: &str =
    "<!-- What follows is made by the program; see crates/ccpeer/src/reference.rs. -->\n";

#[test]
fn the_command_reference_is_current() {
    let mut out = String::new();
    let mut root = cli::command().term_width(100);
    root.build();
    command(&mut out, &root, "ccpeer");
    check("cli.md", &out);
}

#[test]
fn the_table_of_the_environment_is_current() {
    let mut out = "| variable | meaning | default |\n|---|---|---|\n".to_owned();
    for v in &VARIABLES {
        let names: Vec<String> = v.name.split(", ").map(|n| format!("`{n}`")).collect();
        let _ = writeln!(
            out,
            "| {} | {} | {} |",
            names.join(" "),
            v.meaning,
            v.default
        );
    }
    check("environment.md", &out);
}

fn command(out: &mut String, command_: &Command, path: &str) {
    let _ = writeln!(out, "\n## `{path}`\n");
    let about = command_.get_long_about().or_else(|| command_.get_about());
    if let Some(about) = about {
        // One sentence a line, as everywhere in the documents.
        let _ = writeln!(out, "{}\n", about.to_string().replace(". ", ".\n"));
    }
    let usage = command_.clone().render_usage().to_string();
    let usage = usage.strip_prefix("Usage: ").unwrap_or(&usage);
    let lines: Vec<&str> = usage.lines().map(str::trim).collect();
    let _ = writeln!(out, "```text\n{}\n```", lines.join("\n"));
    let shown: Vec<&Arg> = command_
        .get_arguments()
        .filter(|arg| !arg.is_hide_set())
        .filter(|arg| !matches!(arg.get_id().as_str(), "help" | "version"))
        .collect();
    if !shown.is_empty() {
        out.push('\n');
    }
    for arg in shown {
        let help = arg.get_long_help().or_else(|| arg.get_help());
        let help = help.map(ToString::to_string).unwrap_or_default();
        let _ = writeln!(out, "- `{}`: {}", name(arg), help.replace('\n', " "));
    }
    // Those of the whole program stand at the top of the page.
    if let Some(examples) = command_.get_after_long_help()
        && path != "ccpeer"
    {
        let examples = examples.to_string();
        let lines = examples.lines().skip(1).map(|line| line.get(2..));
        let lines: Vec<&str> = lines.map(Option::unwrap_or_default).collect();
        let _ = writeln!(out, "\n```sh\n{}\n```", lines.join("\n"));
    }
    for sub in command_.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        command(out, sub, &format!("{path} {}", sub.get_name()));
    }
}

fn name(arg: &Arg) -> String {
    let value = arg
        .get_value_names()
        .and_then(|names| names.first())
        .map(|name| format!("<{name}>"))
        .unwrap_or_default();
    match arg.get_long() {
        Some(long) if arg.get_action().takes_values() => format!("--{long} {value}"),
        Some(long) => format!("--{long}"),
        None => value,
    }
}

fn check(file: &str, made: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../docs")
        .join(file);
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    let by_hand = found.split_once(MARK).map_or("", |(by_hand, _)| by_hand);
    let want = format!("{by_hand}{MARK}\n{}\n", made.trim());
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, want).expect("cannot write the page");
    } else {
        assert!(
            found == want,
            "docs/{file} is out of date; BLESS=1 writes it anew"
        );
    }
}
