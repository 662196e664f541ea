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
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use ccpeer_sim::mutants;
use ccpeer_sim::survey::{Survey, on_all_cores};
use ccpeer_sim::world::{Outcome, Run, run};

const USAGE: &str = "usage:
  ccpeer-sim run [--seeds N] [--from N] [--keep-going]
                                     run N seeds (2000), beginning with --from (0)
  ccpeer-sim replay SEED [--trace]   run one seed, with its whole trace
  ccpeer-sim mutants [NAME]          plant each bug and count the seeds until it is found";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["run", rest @ ..] => match (option(rest, "--seeds", 2_000), option(rest, "--from", 0)) {
            (Some(seeds), Some(from)) => run_seeds(from, seeds, rest.contains(&"--keep-going")),
            _ => usage(),
        },
        ["replay", seed, rest @ ..] => match seed.parse() {
            Ok(seed) => replay(seed, rest.contains(&"--trace")),
            Err(_) => usage(),
        },
        ["mutants"] => hunt(""),
        ["mutants", name] => hunt(name),
        _ => usage(),
    }
}

fn run_seeds(from: u64, seeds: u64, keep_going: bool) -> ExitCode {
    let begun = std::time::Instant::now();
    let survey = Mutex::new(Survey::default());
    let failed = AtomicU64::new(0);
    on_all_cores(seeds, |n| {
        if failed.load(Ordering::Relaxed) > 0 && !keep_going {
            return;
        }
        let outcome = mutants::examine(from.saturating_add(n), None);
        let is_well = if outcome.failure.is_some() {
            if keep_going {
                println!("{}", short(&outcome));
            } else {
                report(&outcome);
            }
            // It has to fail in the same way again.
            is_same_twice(&outcome);
            false
        } else {
            n % 10 != 0 || is_same_twice(&outcome)
        };
        if !is_well {
            failed.fetch_add(1, Ordering::Relaxed);
        }
        survey
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .add(&outcome);
    });
    let survey = survey.into_inner().unwrap_or_else(PoisonError::into_inner);
    let failed = failed.into_inner();
    let seconds = begun.elapsed().as_secs_f64();
    println!("{survey}");
    let idle = survey.idle_knobs();
    if !idle.is_empty() {
        println!("never happened: {}", idle.join(", "));
    }
    println!(
        "seeds {from} to {}: {failed} failed; {seconds:.1} s, {:.0} seeds/s",
        from.saturating_add(seeds).saturating_sub(1),
        seeds as f64 / seconds.max(0.001)
    );
    ExitCode::from(u8::from(failed > 0))
}

/// K-D02.
fn is_same_twice(outcome: &Outcome) -> bool {
    let same = run(outcome.seed, Run::default()).trace_hash == outcome.trace_hash;
    if !same {
        println!("seed {} does not give the same run twice", outcome.seed);
    }
    same
}

fn replay(seed: u64, whole_trace: bool) -> ExitCode {
    let outcome = run(
        seed,
        Run {
            whole_trace,
            ..Run::default()
        },
    );
    if outcome.failure.is_none() {
        println!("{:#?}", outcome.options);
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
        Some(_) => {
            println!("{:#?}", outcome.options);
            outcome.lines.iter().for_each(|line| println!("{line}"));
            println!("{}", short(outcome));
            println!(
                "again: cargo run -p ccpeer-sim -- replay {} --trace",
                outcome.seed
            );
        }
    }
}

/// A failure in one line.
fn short(outcome: &Outcome) -> String {
    match &outcome.failure {
        None => format!("seed {}: all well", outcome.seed),
        Some(failure) => format!(
            "seed {}, step {}, {} ms: {} broken: {}",
            outcome.seed, failure.step, failure.at, failure.invariant, failure.detail
        ),
    }
}

fn hunt(only: &str) -> ExitCode {
    let survived = AtomicU64::new(0);
    on_all_cores(mutants::ALL.len() as u64, |n| {
        let Some((mutant, name, from)) = usize::try_from(n).ok().and_then(|n| mutants::ALL.get(n))
        else {
            return;
        };
        if !name.contains(only) {
            return;
        }
        match mutants::hunt(*mutant, *from) {
            Some(outcome) => {
                let seeds = outcome.seed + 1;
                let how = outcome.failure.map(|f| f.invariant).unwrap_or_default();
                println!("{name:<24} found by {how:<6} after {seeds} seeds");
            }
            None => {
                survived.fetch_add(1, Ordering::Relaxed);
                println!("{name:<24} SURVIVED {} seeds", mutants::SEEDS_MAX);
            }
        }
    });
    let survived = survived.into_inner();
    println!("{} planted, {survived} survived", mutants::ALL.len());
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
