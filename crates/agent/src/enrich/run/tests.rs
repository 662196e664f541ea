//! Tests of a run, with programs that behave as programs should not.

use std::path::PathBuf;
use std::time::Instant;

use super::*;

/// Longer than any of these takes, and much shorter than a run may.
const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(700);

struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("scratch")).unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn ask(&self, script: &str, time_max: Duration) -> Result<String, Failure> {
        let arguments = ["-c", script, "program", "-p"];
        self.start("/bin/sh".into(), &arguments, time_max)
    }

    fn start(
        &self,
        path: PathBuf,
        arguments: &[&str],
        time_max: Duration,
    ) -> Result<String, Failure> {
        let arguments = arguments.iter().map(Into::into).collect();
        let program = Program { path, arguments };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let dir = self.path("scratch");
        let asked = ask(
            &program,
            &dir,
            self.dir.path(),
            "question\n".repeat(9999),
            time_max,
        );
        runtime.block_on(asked)
    }

    /// The processes that a script has written down.
    fn pids(&self) -> Vec<u32> {
        let text = std::fs::read_to_string(self.path("pids")).unwrap_or_default();
        text.lines()
            .map(|pid| pid.trim().parse().unwrap())
            .collect()
    }

    fn nothing_is_left(&self) {
        let pids = self.pids();
        assert_eq!(pids.len(), 2);
        let begun = Instant::now();
        while pids.iter().any(|pid| crate::process::exists(*pid)) {
            assert!(begun.elapsed() < LONG, "{pids:?} still run");
            std::thread::yield_now();
        }
    }
}

#[test]
fn the_question_goes_in_and_the_answer_comes_out() {
    let bench = Bench::new();
    let said = bench.ask("cat > all; wc -l < all; pwd; echo $CCPEER_CHILD$#$1", LONG);
    let dir = bench.path("scratch");
    assert_eq!(
        said.unwrap(),
        format!("9999\n{}\n11-p\n", dir.canonicalize().unwrap().display())
    );
    // One that does not listen may answer all the same.
    assert_eq!(bench.ask("echo yes", LONG).unwrap(), "yes\n");
}

#[test]
fn what_goes_wrong_is_told_in_our_own_words() {
    let bench = Bench::new();
    let check = |script: &str, want: Failure| {
        assert_eq!(bench.ask(script, LONG), Err(want), "{script}");
    };
    check("exit 3", Failure::Ended("code 3".into()));
    check("kill -9 $$", Failure::Ended("a signal".into()));
    check(
        "echo 'Invalid API key · Please run /login'; exit 1",
        Failure::Login,
    );
    check(
        "echo 'Claude AI usage limit reached' >&2; exit 1",
        Failure::Limit,
    );
    check(
        "echo 'connect ECONNREFUSED 1.2.3.4' >&2; exit 1",
        Failure::Network,
    );
    assert_eq!(
        bench.start(bench.path("nobody"), &[], LONG),
        Err(Failure::Missing)
    );
    let no_program = bench.path("text");
    std::fs::write(&no_program, "x").unwrap();
    assert!(matches!(
        bench.start(no_program, &[], LONG),
        Err(Failure::Start(_))
    ));
}

#[test]
fn who_talks_without_end_is_ended() {
    let bench = Bench::new();
    let begun = Instant::now();
    let talker = "while :; do echo talk talk talk talk talk talk; done";
    assert_eq!(bench.ask(talker, LONG), Err(Failure::TooMuch));
    assert_eq!(
        bench.ask("yes | head -c 100000000", LONG),
        Err(Failure::TooMuch)
    );
    assert!(begun.elapsed() < LONG);
    // What it complains about without end does not hold it up.
    let said = bench.ask("yes | head -c 5000000 >&2; echo fine", LONG);
    assert_eq!(said.unwrap(), "fine\n");
}

#[test]
fn k_h07_nothing_that_it_started_is_left() {
    let bench = Bench::new();
    let pids = bench.path("pids");
    let leave = format!(
        "sleep 600 & echo $! >> '{0}'; echo $$ >> '{0}'",
        pids.display()
    );
    let hang = bench.ask(&format!("{leave}; sleep 600"), SHORT);
    assert_eq!(hang, Err(Failure::TimedOut(SHORT)));
    bench.nothing_is_left();
    // Also of one that ends in order and leaves somebody behind, who holds on to
    // its output.
    std::fs::remove_file(&pids).unwrap();
    let said = bench.ask(&format!("{leave}; echo fine"), LONG);
    assert_eq!(said.unwrap(), "fine\n");
    bench.nothing_is_left();
    // And of one that does not want to end.
    std::fs::remove_file(&pids).unwrap();
    let stubborn = bench.ask(&format!("trap '' TERM INT HUP; {leave}; sleep 600"), SHORT);
    assert_eq!(stubborn, Err(Failure::TimedOut(SHORT)));
    bench.nothing_is_left();
}
