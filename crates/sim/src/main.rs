//! `ccpeer-sim`: runs seeds, replays one, hunts planted bugs.
//!
//! See docs/SIMULATION.md. Exit: 0 all well, 1 an invariant was broken or a
//! mutant survived, 2 usage.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a tool for the terminal"
)]

use std::process::ExitCode;

use ccpeer_sim::mutants;
use ccpeer_sim::world::{Outcome, Run, run};

const USAGE: &str = "usage:
  ccpeer-sim run [--seeds N] [--from N]   run N seeds (2000), beginning with --from (0)
  ccpeer-sim replay SEED [--trace]        run one seed, with its whole trace
  ccpeer-sim mutants                      plant each bug and count the seeds until it is found";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["run", rest @ ..] => match (option(rest, "--seeds", 2_000), option(rest, "--from", 0)) {
            (Some(seeds), Some(from)) => run_seeds(from, seeds),
            _ => usage(),
        },
        ["replay", seed, rest @ ..] => match seed.parse() {
            Ok(seed) => replay(seed, rest.contains(&"--trace")),
            Err(_) => usage(),
        },
        ["mutants"] => hunt(),
        _ => usage(),
    }
}

fn run_seeds(from: u64, seeds: u64) -> ExitCode {
    let (mut steps, mut entries, mut messages, mut chunks, mut healed) = (0, 0, 0, 0, 0);
    for seed in from..from.saturating_add(seeds) {
        let outcome = run(seed, Run::default());
        if outcome.failure.is_some() {
            report(&outcome);
            return ExitCode::from(1);
        }
        if seed % 10 == 0 && run(seed, Run::default()).trace_hash != outcome.trace_hash {
            println!("seed {seed} does not give the same run twice");
            return ExitCode::from(1);
        }
        steps += outcome.steps;
        entries += outcome.entries;
        messages += outcome.messages;
        chunks += outcome.chunks;
        healed = healed.max(outcome.healed_ms);
    }
    println!("{seeds} seeds from {from}: all well");
    println!("{steps} steps, {entries} entries, {messages} messages, {chunks} chunks sent");
    let per = |n: u64| n as f64 / entries.max(1) as f64;
    println!(
        "{:.2} messages and {:.2} chunks for an entry; slowest world agreed after {} s",
        per(messages),
        per(chunks),
        healed / 1000
    );
    ExitCode::SUCCESS
}

fn replay(seed: u64, whole_trace: bool) -> ExitCode {
    let outcome = run(
        seed,
        Run {
            mutant: None,
            whole_trace,
        },
    );
    println!("{:#?}", outcome.options);
    if outcome.failure.is_none() && whole_trace {
        outcome.lines.iter().for_each(|line| println!("{line}"));
    }
    report(&outcome);
    ExitCode::from(u8::from(outcome.failure.is_some()))
}

fn report(outcome: &Outcome) {
    match &outcome.failure {
        None => println!(
            "seed {}: all well after {} steps, trace {:016x}",
            outcome.seed, outcome.steps, outcome.trace_hash
        ),
        Some(failure) => {
            outcome.lines.iter().for_each(|line| println!("{line}"));
            println!(
                "seed {}, step {}, {} ms: {} broken: {}",
                outcome.seed, failure.step, failure.at, failure.invariant, failure.detail
            );
            println!(
                "again: cargo run -p ccpeer-sim -- replay {} --trace",
                outcome.seed
            );
        }
    }
}

fn hunt() -> ExitCode {
    let mut survived = 0;
    for (mutant, name, _) in mutants::ALL {
        match mutants::hunt(mutant, 0) {
            Some(outcome) => {
                let seeds = outcome.seed + 1;
                let how = outcome.failure.map(|f| f.invariant).unwrap_or_default();
                println!("{name:<24} found by {how:<6} after {seeds} seeds");
            }
            None => {
                survived += 1;
                println!("{name:<24} SURVIVED {} seeds", mutants::SEEDS_MAX);
            }
        }
    }
    ExitCode::from(u8::from(survived > 0))
}

fn option(args: &[&str], name: &str, default: u64) -> Option<u64> {
    match args.iter().position(|a| *a == name) {
        Some(at) => args.get(at + 1)?.parse().ok(),
        None => Some(default),
    }
}

fn usage() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::from(2)
}
