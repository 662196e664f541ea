//! What people get wrong, and what they are told: every text is kept in
//! `mistakes.txt`, to be read. `BLESS=1` writes it anew.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use super::world::{Device, World, arrives, pair, until};

const ONE: &str = "5f0d7a52-6f0e-4d8e-9a41-0c6a8f6f1d51";
const TWO: &str = "5f0d7a52-7777-4d8e-9a41-0c6a8f6f1d52";

/// What was typed, and what came back.
struct Book {
    out: String,
    words: Vec<(String, &'static str)>,
    /// What was no mistake after all, or is not told as one.
    untold: Vec<String>,
}

impl Book {
    fn scene(&mut self, what: &str) {
        let _ = write!(self.out, "# {what}\n\n");
    }

    /// Runs a command that fails.
    fn run(&mut self, device: &Device, line: &str) {
        self.run_with(device, line, "");
    }

    fn run_with(&mut self, device: &Device, line: &str, input: &str) {
        let words = shlex::split(line).unwrap();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let ran = device.run_with(&words, input.as_bytes());
        let mut said = ran.stderr;
        for (long, short) in &self.words {
            said = said.replace(long, short);
        }
        let _ = writeln!(self.out, "$ ccpeer {line}");
        for line in said.trim_end().lines() {
            let _ = writeln!(self.out, "  {line}");
        }
        let _ = write!(self.out, "  exit code {}\n\n", ran.code);
        // Wrong usage is told in clap's words; of a group alone, that is its help.
        let by_clap = ran.code == 2 && said.contains("Usage: ");
        let told = by_clap
            || (said.contains("error: ")
                && (said.contains("hint: ") || said.contains("try '--help'")));
        if matches!(ran.code, 0 | 70) || !told {
            self.untold.push(line.to_owned());
        }
    }
}

#[test]
fn every_mistake_is_told_with_what_to_do() {
    let world = World::new();
    let (a, b) = (world.running("desk"), world.running("lap"));
    let mut book = Book {
        out: String::new(),
        words: Vec::new(),
        untold: Vec::new(),
    };
    for (device, short) in [(&a, "~desk"), (&b, "~lap")] {
        let id = device.json(&["status", "--json"])["device"]["id"].clone();
        let id = id.as_str().unwrap().to_owned();
        book.words.push((id[..12].to_owned(), "<id>"));
        book.words
            .push((device.root.to_str().unwrap().to_owned(), short));
    }
    // The longer one first.
    book.words.reverse();

    book.scene("Nothing is here yet");
    for line in [
        "show 1",
        "continue 1",
        "done 5f0d",
        "search parser",
        "snapshot",
        "undo",
        "why 5f0d",
        "push 1",
        "git sync",
        "git remove backup",
        "serve token revoke laptop",
        "devices --verify desk",
        "dial lap 127.0.0.1:1",
        "accept lap",
        "revoke lap --yes",
        "policy quota lap 5G",
    ] {
        book.run(&a, line);
    }

    pair(&a, &b);
    let mut one = a.session(ONE, &a.project("shop"));
    a.turn(&mut one, "fix the parser");
    let mut two = a.session(TWO, &a.project("shop"));
    a.turn(&mut two, "now the lexer");
    arrives(&b, ONE, &one);
    arrives(&b, TWO, &two);
    let listed = || b.json(&["tasks", "--json"]).as_array().unwrap().len() == 2;
    until("both are listed", listed);
    let indexed = || b.run(&["search", "lexer"]).stderr.is_empty();
    until("the index is built", indexed);

    book.scene("Sessions and tasks");
    for line in [
        "show",
        "show 3",
        "show 0",
        "show 5f0d",
        "show 5f0d7a52-6f0e-4d8e-9a41-0c6a8f6f1d53",
        "continue 5f0d",
        "continue 1",
        "continue 1 --into missing/directory",
        "continue 1 --handoff --fork",
        "continue 1 --no-exec --with-code --into home",
        "pull 5f0d",
        "pull --project nowhere",
        "push 5f0d",
        "push --project nowhere",
        "push",
        "snapshot --session 5f0d",
        "snapshot --session 5f0d7a52-6f0e",
        "search xylophone",
        "search parser --device nobody",
        "search parser --project nowhere",
        "search parser --since yesterday",
        "search '\"'",
        "sessions --local --remote",
        "undo",
        "undo 1",
        "undo 1 --auto",
        "reopen 5f0d",
        "why 5f0d",
    ] {
        book.run(&b, line);
    }

    book.scene("Projects");
    for line in [
        "projects set shop missing/directory",
        "projects set nowhere home",
        "projects forget nowhere",
        "projects root add missing/directory",
        "projects root remove home",
        "mv home missing/directory",
        "mv home home",
    ] {
        book.run(&b, line);
    }

    book.scene("Devices");
    for line in [
        "rename ''",
        "dial desk nowhere",
        "dial nobody 127.0.0.1:1",
        "revoke nobody --yes",
        "devices --verify nobody",
        "pair --yes",
        "pair",
        "join 123-456",
        "relay --listen nowhere",
        "relay --tls-cert missing.pem",
        "relay --tls-cert missing.pem --tls-key missing.pem",
        "relay --show-address",
        "agent --listen nowhere",
        "agent --relay ftp://example.org",
        "agent",
        "up --yes --no-hooks",
        "up --relay ftp://example.org",
        "rekey --separate --keep",
    ] {
        book.run(&b, line);
    }
    for (line, input) in [
        ("join", ""),
        ("join", "\n"),
        ("join", "no code at all\n"),
        ("join", "ccpeer1notaticket\n"),
        ("join", "1234567\n"),
    ] {
        book.run_with(&b, line, input);
    }

    book.scene("Policy");
    for line in [
        "policy quota desk much",
        "policy quota nobody 5G",
        "policy keep never",
        "policy keep -1",
        "policy place shop perhaps",
        "policy place nowhere auto",
        "policy place-from nobody never",
        "policy introduce nobody auto",
        "policy fetch nobody snapshots",
        "policy code nowhere on",
        "policy code shop maybe",
        "policy share shop",
        "policy share nowhere local",
        "policy share '[' local",
        "policy share 'client-*' --remove",
        "policy secrets nobody hold",
        "policy secrets serve",
        "policy summary command",
        "policy summary claude --every 0",
        "pause soon",
        "pause 0m",
        "pause 99999d",
    ] {
        book.run(&b, line);
    }
    b.ok(&["pause"]);
    for line in ["pair --ticket --yes", "git sync", "snapshot --force"] {
        book.run(&b, line);
    }
    b.ok(&["resume"]);

    book.scene("Bridges");
    fs::write(b.root.join("a-file"), "x").unwrap();
    for line in [
        "git add missing/directory",
        "git add a-file --plain",
        "git add ext::sh --plain",
        "git add home --plain --encrypted",
        "git add home --plain --push-every 0",
        "git import missing/directory",
        "git import home",
        "git import home --key-file missing",
        "serve --listen 0.0.0.0:0",
        "serve --listen nowhere",
        "serve --tls-cert missing.pem --tls-key missing.pem",
        "serve token add ''",
        "serve token revoke nobody",
    ] {
        book.run(&b, line);
    }

    book.scene("Claude Code, the system, and the rest");
    fs::write(b.claude().join("settings.json"), "{ \"hooks\": [ }").unwrap();
    for line in [
        "hooks install",
        "hooks plugin home",
        "hooks",
        "service",
        "service instal",
        "completions tcsh",
        "tasks --jsn",
        "taks",
        "verify --all",
        "doctor disk",
        "tui",
    ] {
        book.run(&b, line);
    }

    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/e2e/mistakes.txt");
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, &book.out).unwrap();
    }
    assert_eq!(book.untold, Vec::<String>::new());
    let kept = fs::read_to_string(&path).unwrap();
    for (kept, said) in kept.split("\n\n").zip(book.out.split("\n\n")) {
        assert_eq!(said, kept, "BLESS=1 writes {} anew", path.display());
    }
    assert_eq!(book.out.len(), kept.len());
}
