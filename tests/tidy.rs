//! The house rules that a compiler cannot keep, as tests: who may know whom,
//! how files begin and how long they grow, what the documents promise.
//!
//! Each rule is a pure function from text to complaints, so that a second test
//! can feed it a bad example and prove that it is able to complain. It must not
//! know the network stack: it hangs on the simulator's package and builds in
//! seconds.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Which package of the workspace may know which others. A new arrow needs a
/// note in docs/decisions.
const ARROWS: &[(&str, &[&str])] = &[
    ("ccpeer-core", &[]),
    ("ccpeer-formats", &["ccpeer-core"]),
    ("ccpeer-store", &["ccpeer-core"]),
    ("ccpeer-net", &["ccpeer-core"]),
    (
        "ccpeer-agent",
        &[
            "ccpeer-core",
            "ccpeer-formats",
            "ccpeer-net",
            "ccpeer-store",
        ],
    ),
    ("ccpeer", &["ccpeer-agent", "ccpeer-core"]),
    ("ccpeer-sim", &["ccpeer-core"]),
];

/// Which package may use which crate from outside. A dependency that is not
/// named here is a new one: say who owns it.
const OWNED: &[(&str, &[&str])] = &[
    ("age", &["ccpeer-agent"]),
    ("bech32", &["ccpeer-agent"]),
    ("blake3", ANY),
    ("clap", &["ccpeer"]),
    ("clap_complete", &["ccpeer"]),
    ("clap_mangen", &["ccpeer"]),
    (
        "ed25519-dalek",
        &["ccpeer-core", "ccpeer-agent", "ccpeer-sim"],
    ),
    ("fastcdc", &["ccpeer-agent"]),
    ("flate2", &["ccpeer-formats"]),
    ("getrandom", &["ccpeer-net", "ccpeer-agent"]),
    ("globset", &["ccpeer-agent"]),
    ("hyper", &["ccpeer-net"]),
    ("hyper-util", &["ccpeer-net"]),
    ("icu_normalizer", &["ccpeer-formats"]),
    ("if-addrs", &["ccpeer-net"]),
    ("iroh", &["ccpeer-net"]),
    ("iroh-relay", &["ccpeer-net"]),
    ("memchr", &["ccpeer-formats"]),
    ("nix", &["ccpeer-agent", "ccpeer"]),
    ("notify", &["ccpeer-agent"]),
    ("postcard", &["ccpeer-core", "ccpeer-net"]),
    ("qrcode", &["ccpeer"]),
    ("ratatui", &["ccpeer"]),
    ("rcgen", &["ccpeer-net"]),
    ("redb", &["ccpeer-store"]),
    ("rmcp", &["ccpeer"]),
    ("rustls", &["ccpeer-net"]),
    ("rustix", &["ccpeer-agent"]),
    ("serde", ANY),
    ("serde_json", &["ccpeer-formats", "ccpeer-agent", "ccpeer"]),
    ("sha2", &["ccpeer-formats"]),
    ("simple-dns", &["ccpeer-net"]),
    ("socket2", &["ccpeer-net"]),
    ("spake2", &["ccpeer-net"]),
    ("tantivy", &["ccpeer-agent"]),
    ("thiserror", ANY),
    ("tokio", &["ccpeer-net", "ccpeer-agent", "ccpeer"]),
    ("tokio-rustls", &["ccpeer-net"]),
    (
        "tracing",
        &["ccpeer-store", "ccpeer-net", "ccpeer-agent", "ccpeer"],
    ),
    ("tracing-subscriber", &["ccpeer-agent"]),
    ("zeroize", &["ccpeer-net", "ccpeer-agent"]),
    ("zstd", &["ccpeer-store", "ccpeer-net", "ccpeer-agent"]),
];

/// What tests may use beyond that: a package and a crate.
const OWNED_IN_TESTS: &[(&str, &str)] = &[
    ("ccpeer-sim", "serde_json"),
    ("ccpeer-store", "ed25519-dalek"),
    ("ccpeer-net", "ed25519-dalek"),
];

/// Crates for tests of any package.
const TEST_ONLY: &[&str] = &["criterion", "insta", "proptest", "shlex", "tempfile"];

/// Marks a crate from outside that every package may use.
const ANY: &[&str] = &["*"];

/// Packages that talk to nobody: no printing.
const LIBRARIES: &[&str] = &["core", "formats", "store", "net", "agent"];

/// The only names by which the core mentions the program whose sessions it
/// carries: a text to look for when paths are rewritten.
const CORE_MAY_SAY: &[&str] = &["claude_dir"];

/// Lines of a source file, its tests not counted.
const LINES_HARD_MAX: usize = 700;
const LINES_SOFT_MAX: usize = 400;

/// Files that may be longer, and why.
const LONG: &[(&str, usize, &str)] = &[(
    "crates/agent/src/api.rs",
    900,
    "one protocol, told in one place; declarations only",
)];

// ---------------------------------------------------------------- the tests

#[test]
fn packages_know_only_whom_they_may() {
    complain(arrows(&dependencies()));
}

#[test]
fn crates_from_outside_stay_with_their_owners() {
    complain(owners(&dependencies()));
}

#[test]
fn manifests_inherit_lints_and_versions() {
    let tree = Tree::read();
    complain(tree.each(|f| f.is_manifest(), |f| manifest(&f.path, &f.text)));
}

#[test]
fn sources_say_what_they_are() {
    complain(Tree::read().each(File::is_rust, |f| opening(&f.path, &f.text)));
}

#[test]
fn sources_keep_their_length() {
    let tree = Tree::read();
    for note in tree.each(File::is_rust, |f| length(&f.path, &f.text, LINES_SOFT_MAX)) {
        println!("note: {note}");
    }
    complain(tree.each(File::is_rust, |f| length(&f.path, &f.text, LINES_HARD_MAX)));
}

#[test]
fn core_does_not_know_whose_sessions_it_carries() {
    complain(Tree::read().each(
        |f| f.is_rust() && f.path.starts_with("crates/core/src/"),
        |f| core_words(&f.path, &f.text),
    ));
}

#[test]
fn libraries_do_not_print() {
    complain(Tree::read().each(File::is_library, |f| printing(&f.path, &f.text)));
}

#[test]
fn nothing_names_a_machine() {
    complain(Tree::read().each(|_| true, |f| machine_words(&f.path, &f.text)));
}

#[test]
fn lock_file_names_one_source() {
    complain(Tree::read().each(
        |f| f.path == "Cargo.lock",
        |f| lock_sources(&f.path, &f.text),
    ));
}

#[test]
fn no_source_file_is_forgotten() {
    complain(forgotten_modules(&Tree::read()));
}

#[test]
fn no_fixture_is_forgotten() {
    complain(forgotten_fixtures(&Tree::read()));
}

#[test]
fn crate_map_is_true() {
    let tree = Tree::read();
    complain(crate_map(tree.text("docs/ARCHITECTURE.md"), &tree));
    let lines = tree.text("docs/ARCHITECTURE.md").lines().count();
    assert!(
        lines <= 300,
        "docs/ARCHITECTURE.md has {lines} lines, 300 are enough"
    );
}

#[test]
fn changelog_has_a_place_for_what_comes() {
    complain(changelog(Tree::read().text("CHANGELOG.md")));
}

#[test]
fn decisions_are_numbered() {
    complain(decisions(&Tree::read()));
}

#[test]
fn readme_and_ci_test_the_same_way() {
    let tree = Tree::read();
    complain(test_command(tree.text("README.md"), tree.text(".ci/run")));
}

#[test]
fn links_between_documents_lead_somewhere() {
    let tree = Tree::read();
    complain(tree.each(File::is_document, |f| links(&f.path, &f.text, &tree)));
}

/// Not a rule but a habit: reported, never refused.
#[test]
fn documents_have_one_sentence_a_line() {
    for note in Tree::read().each(File::is_document, |f| sentences(&f.path, &f.text)) {
        println!("note: {note}");
    }
}

// ---------------------------------------------------------------- the rules

fn arrows(dependencies: &[Dependency]) -> Vec<String> {
    let table: BTreeMap<_, _> = ARROWS.iter().copied().collect();
    let mut out = Vec::new();
    for package in dependencies
        .iter()
        .map(|d| &d.from)
        .collect::<BTreeSet<_>>()
    {
        if !table.contains_key(package.as_str()) {
            out.push(format!("package {package} is not in the table of arrows"));
        }
    }
    for d in dependencies
        .iter()
        .filter(|d| table.contains_key(d.to.as_str()))
    {
        let may = table.get(d.from.as_str()).copied().unwrap_or(&[]);
        if !may.contains(&d.to.as_str()) {
            out.push(format!("{} must not know {}", d.from, d.to));
        }
    }
    out
}

fn owners(dependencies: &[Dependency]) -> Vec<String> {
    let ours: BTreeSet<_> = ARROWS.iter().map(|(name, _)| *name).collect();
    let owned: BTreeMap<_, _> = OWNED.iter().copied().collect();
    let mut out = Vec::new();
    for d in dependencies
        .iter()
        .filter(|d| !ours.contains(d.to.as_str()))
    {
        let in_tests = d.kind == Kind::Dev
            && (TEST_ONLY.contains(&d.to.as_str())
                || OWNED_IN_TESTS.contains(&(d.from.as_str(), d.to.as_str())));
        match owned.get(d.to.as_str()) {
            _ if in_tests => {}
            Some(&ANY) => {}
            Some(may) if may.contains(&d.from.as_str()) => {}
            Some(may) => out.push(format!(
                "{} must not use {}: it belongs to {may:?}",
                d.from, d.to
            )),
            None => out.push(format!("{} uses {}, which nobody owns", d.from, d.to)),
        }
    }
    out
}

fn manifest(path: &str, text: &str) -> Vec<String> {
    let mut out = Vec::new();
    if !text.contains("[lints]\nworkspace = true") {
        out.push(format!("{path} does not inherit the workspace lints"));
    }
    let mut section = "";
    for (n, line) in numbered(text) {
        if line.starts_with('[') {
            section = line;
        } else if section.contains("dependencies")
            && !line.trim().is_empty()
            && !line.starts_with('#')
            && !line.contains("workspace")
        {
            out.push(format!(
                "{path}:{n} gives a version of its own; the workspace has them all"
            ));
        }
    }
    out
}

fn opening(path: &str, text: &str) -> Vec<String> {
    if text.starts_with("//! ") {
        return Vec::new();
    }
    vec![format!("{path} does not open with what it is (`//! …`)")]
}

fn length(path: &str, text: &str, max: usize) -> Vec<String> {
    let lines = without_tests(path, text).lines().count();
    let exception = LONG.iter().find(|(file, _, _)| *file == path);
    let max = exception.map_or(max, |(_, more, _)| max.max(*more));
    if lines <= max {
        return Vec::new();
    }
    vec![format!(
        "{path} has {lines} lines without tests, more than {max}"
    )]
}

fn core_words(path: &str, text: &str) -> Vec<String> {
    code_lines(without_tests(path, text))
        .filter(|(_, code)| {
            let mut code = code.to_lowercase();
            for word in CORE_MAY_SAY {
                code = code.replace(word, "");
            }
            code.contains("claude")
        })
        .map(|(n, _)| {
            format!("{path}:{n} names the foreign program in code; that belongs to formats")
        })
        .collect()
}

fn printing(path: &str, text: &str) -> Vec<String> {
    code_lines(without_tests(path, text))
        .filter(|(_, code)| {
            [
                "println!",
                "eprintln!",
                "print!(",
                "eprint!(",
                "dbg!(",
                "clippy::print_",
            ]
            .iter()
            .any(|word| code.contains(word))
        })
        .map(|(n, _)| format!("{path}:{n} prints; only the program talks to people"))
        .collect()
}

/// Places of one machine and hosts of one installation. The words are put
/// together here so that this file does not contain them.
fn machine_words(path: &str, text: &str) -> Vec<String> {
    let paths = [
        concat!("/wo", "rk/"),
        concat!("/ro", "ot/"),
        concat!("../sha", "red"),
    ];
    let hosts = [
        concat!("registry.npm", "js.org"),
        concat!("static.crates", ".io"),
        concat!("index.crates", ".io"),
        concat!("pypi", ".org"),
        concat!("proxy.gol", "ang.org"),
    ];
    let mut out = Vec::new();
    for (n, line) in numbered(text) {
        for word in paths {
            // Only where a path begins: `…/ann/work/proj` in a fixture is not ours.
            let begins = |at: usize| {
                let before = line[..at].chars().next_back();
                !before.is_some_and(|c| c.is_alphanumeric() || "_-.}/$".contains(c))
            };
            if line.match_indices(word).any(|(at, _)| begins(at)) {
                out.push(format!("{path}:{n} names a place of one machine ({word}…)"));
            }
        }
        for word in hosts {
            if line.contains(word) {
                out.push(format!("{path}:{n} names a host ({word})"));
            }
        }
    }
    out
}

fn lock_sources(path: &str, text: &str) -> Vec<String> {
    let only = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";
    numbered(text)
        .filter(|(_, line)| line.starts_with("source = ") && *line != only)
        .map(|(n, line)| format!("{path}:{n} has another source: {line}"))
        .collect()
}

/// Every source file must be named by a `mod` of its own package; a file that
/// is not is never compiled, and its tests never run.
fn forgotten_modules(tree: &Tree) -> Vec<String> {
    let mut declared: BTreeSet<(String, String)> = BTreeSet::new();
    for f in tree.files.iter().filter(|f| f.is_rust()) {
        for (_, code) in code_lines(&f.text) {
            if let Some(name) = code
                .trim()
                .strip_suffix(';')
                .and_then(|c| c.split("mod ").nth(1))
            {
                declared.insert((package_dir(&f.path), name.trim().to_owned()));
            }
        }
    }
    let roots = ["lib", "main", "tidy", "mod"];
    // Directly below `crates/NAME/tests`, `examples` and `benches` each file is a root.
    let is_root = |path: &str| {
        let parts: Vec<_> = path.split('/').collect();
        parts.len() == 4
            && parts[0] == "crates"
            && ["tests", "examples", "benches"].contains(&parts[2])
    };
    tree.files
        .iter()
        .filter(|f| f.is_rust() && !f.path.contains("/src/bin/") && !is_root(&f.path))
        .filter(|f| !roots.contains(&stem(&f.path)))
        .filter(|f| !declared.contains(&(package_dir(&f.path), stem(&f.path).to_owned())))
        .map(|f| format!("{} is declared nowhere: it is never compiled", f.path))
        .collect()
}

/// Every entry two levels below testdata must be named in a source file that
/// speaks of testdata.
fn forgotten_fixtures(tree: &Tree) -> Vec<String> {
    let readers: Vec<&File> = tree
        .files
        .iter()
        .filter(|f| f.is_rust() && f.path != "tests/tidy.rs" && f.text.contains("testdata"))
        .collect();
    let mut fixtures = BTreeSet::new();
    for f in &tree.files {
        if let Some(rest) = f.path.strip_prefix("testdata/") {
            let parts: Vec<&str> = rest.split('/').collect();
            if let [group, name, ..] = parts.as_slice() {
                fixtures.insert((group.to_string(), name.to_string()));
            }
        }
    }
    fixtures
        .iter()
        .filter(|(_, name)| {
            !["README.md", "manifest.json"].contains(&name.as_str()) && !name.starts_with('.')
        })
        .filter(|(_, name)| !readers.iter().any(|f| speaks_of(&f.text, name)))
        .map(|(group, name)| format!("testdata/{group}/{name} is used by no test"))
        .collect()
}

/// Whether a source names a fixture: in full, without its ending, or by a name
/// that is put together (`wire_{name}`).
fn speaks_of(source: &str, name: &str) -> bool {
    let stem = name.strip_suffix(".hex").unwrap_or(name);
    let composed = stem.split_once('_').map(|(first, _)| format!("{first}_{{"));
    source.contains(stem) || composed.is_some_and(|c| source.contains(&c))
}

/// The map has one heading ``### `crates/NAME` `` for each crate, and the
/// `*.rs` files that it names in back-quotes exist below that crate's `src`.
fn crate_map(map: &str, tree: &Tree) -> Vec<String> {
    let exist: BTreeSet<&str> = tree
        .files
        .iter()
        .filter_map(|f| f.path.strip_prefix("crates/")?.strip_suffix("/Cargo.toml"))
        .collect();
    let mut named = BTreeSet::new();
    let mut here = None;
    let mut out = Vec::new();
    for (n, line) in numbered(map) {
        if line.starts_with('#') {
            here = line
                .strip_prefix("### `crates/")
                .and_then(|rest| rest.split('`').next());
            named.extend(here);
        }
        let Some(name) = here else { continue };
        for word in line.split('`').skip(1).step_by(2) {
            let file = format!("crates/{name}/src/{word}");
            if word.ends_with(".rs") && !tree.has(&file) {
                out.push(format!(
                    "docs/ARCHITECTURE.md:{n} names {file}, which does not exist"
                ));
            }
        }
    }
    for name in exist.difference(&named) {
        out.push(format!(
            "docs/ARCHITECTURE.md does not tell of crates/{name}"
        ));
    }
    for name in named.difference(&exist) {
        out.push(format!(
            "docs/ARCHITECTURE.md tells of crates/{name}, which does not exist"
        ));
    }
    out
}

fn changelog(text: &str) -> Vec<String> {
    if text.lines().any(|line| line == "## [Unreleased]") {
        return Vec::new();
    }
    vec!["CHANGELOG.md has no section `## [Unreleased]`".to_owned()]
}

fn decisions(tree: &Tree) -> Vec<String> {
    let mut out = Vec::new();
    let mut expected = 1;
    for f in &tree.files {
        let Some(name) = f.path.strip_prefix("docs/decisions/") else {
            continue;
        };
        if name == "README.md" {
            continue;
        }
        let number = format!("{expected:04}");
        if !name.starts_with(&format!("{number}-")) {
            out.push(format!("{}: number {number} was expected", f.path));
        }
        if !f.text.starts_with(&format!("# {number} ")) {
            out.push(format!("{}: does not open with `# {number} …`", f.path));
        }
        for part in ["## Context", "## Choice", "## Alternatives", "## Cost"] {
            if !f.text.contains(part) {
                out.push(format!("{}: has no `{part}`", f.path));
            }
        }
        expected += 1;
    }
    out
}

fn test_command(readme: &str, ci: &str) -> Vec<String> {
    let commands: Vec<&str> = readme
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with("cargo test"))
        .collect();
    if commands.is_empty() {
        return vec!["README.md names no `cargo test …`".to_owned()];
    }
    commands
        .iter()
        .filter(|command| !ci.contains(**command))
        .map(|command| format!("README.md says `{command}`, and .ci/run does not run it"))
        .collect()
}

fn links(path: &str, text: &str, tree: &Tree) -> Vec<String> {
    let base = Path::new(path).parent().unwrap_or(Path::new(""));
    let mut out = Vec::new();
    for (n, line) in numbered(text) {
        for rest in line.split("](").skip(1) {
            let target = rest.split([')', '#']).next().unwrap_or("");
            if target.is_empty() || target.contains("://") {
                continue;
            }
            let mut to: Vec<&str> = Vec::new();
            let joined = base.join(target);
            for part in joined.iter().filter_map(|p| p.to_str()) {
                match part {
                    ".." => drop(to.pop()),
                    "." => {}
                    part => to.push(part),
                }
            }
            let to = to.join("/");
            if !tree.has(&to) && !tree.has_dir(&to) {
                out.push(format!(
                    "{path}:{n} links to {target}, which does not exist"
                ));
            }
        }
    }
    out
}

fn sentences(path: &str, text: &str) -> Vec<String> {
    let mut fenced = false;
    numbered(text)
        .filter(|(_, line)| {
            if line.trim_start().starts_with("```") {
                fenced = !fenced;
            }
            !fenced && !line.starts_with('|') && line.split(". ").skip(1).any(begins_sentence)
        })
        .map(|(n, _)| format!("{path}:{n} has more than one sentence"))
        .collect()
}

fn begins_sentence(text: &str) -> bool {
    text.chars().next().is_some_and(char::is_uppercase)
}

// ------------------------------------------- the rules are able to complain

#[test]
fn a_forbidden_arrow_is_seen() {
    let bad = |from: &str, to: &str, kind| Dependency {
        from: from.into(),
        to: to.into(),
        kind,
    };
    assert_eq!(
        arrows(&[bad("ccpeer-store", "ccpeer-net", Kind::Normal)]),
        ["ccpeer-store must not know ccpeer-net"]
    );
    assert_eq!(
        arrows(&[bad("ccpeer-core", "ccpeer-sim", Kind::Dev)]).len(),
        1
    );
    assert_eq!(arrows(&[bad("newcomer", "serde", Kind::Normal)]).len(), 1);
    assert_eq!(
        owners(&[bad("ccpeer-core", "tokio", Kind::Normal)]).len(),
        1
    );
    assert_eq!(
        owners(&[bad("ccpeer-core", "left-pad", Kind::Normal)]).len(),
        1
    );
    assert_eq!(
        owners(&[bad("ccpeer-core", "tempfile", Kind::Normal)]).len(),
        1
    );
    assert_eq!(
        owners(&[bad("ccpeer-sim", "serde_json", Kind::Normal)]).len(),
        1
    );
    assert!(owners(&[bad("ccpeer-sim", "serde_json", Kind::Dev)]).is_empty());
}

#[test]
fn a_bad_text_is_seen() {
    let sees = |complaints: Vec<String>| assert_eq!(complaints.len(), 1, "{complaints:?}");
    sees(manifest("x", "[dependencies]\nserde.workspace = true\n"));
    sees(manifest(
        "x",
        "[dependencies]\nserde = \"1\"\n\n[lints]\nworkspace = true\n",
    ));
    sees(opening("x.rs", "use std::fs;\n"));
    sees(length("x.rs", &"x\n".repeat(701), LINES_HARD_MAX));
    assert!(length("x/tests.rs", &"x\n".repeat(701), LINES_HARD_MAX).is_empty());
    let mostly_tests = format!("x\n#[cfg(test)]\nmod tests {{\n{}}}\n", "x\n".repeat(701));
    assert!(length("x.rs", &mostly_tests, LINES_HARD_MAX).is_empty());
    sees(core_words("x.rs", "const DIR: &str = \".claude\";\n"));
    sees(core_words("x.rs", "struct ClaudeHome;\n"));
    assert!(core_words("x.rs", "/// Of Claude Code.\nclaude_dir: String,\n").is_empty());
    sees(printing("x.rs", "fn f() { println!(\"x\"); }\n"));
    assert!(printing("x.rs", "// println! is not used\n").is_empty());
    sees(machine_words("x", concat!("cd /wo", "rk/main\n")));
    sees(machine_words("x", concat!("see ../sha", "red/facts\n")));
    sees(machine_words(
        "x",
        concat!("npm --registry https://registry.npm", "js.org\n"),
    ));
    assert!(machine_words("x", concat!("/home/ann/wo", "rk/proj\n")).is_empty());
    sees(lock_sources(
        "x",
        "source = \"registry+https://mirror.example/index\"\n",
    ));
    sees(changelog("# Changelog\n\n## [0.1.0]\n"));
    sees(test_command("no command\n", "cargo test --workspace\n"));
    sees(test_command(
        "cargo test --all\n",
        "cargo test --workspace\n",
    ));
    sees(sentences("x.md", "One. Two.\n"));
    assert!(sentences("x.md", "```\nOne. Two.\n```\n").is_empty());
}

#[test]
fn a_bad_tree_is_seen() {
    let tree = Tree::of(&[
        ("crates/a/Cargo.toml", ""),
        (
            "crates/a/src/lib.rs",
            "//! testdata\npub mod known;\n// mod lost;\n",
        ),
        ("crates/a/src/known.rs", ""),
        ("crates/a/src/lost.rs", ""),
        ("crates/b/Cargo.toml", ""),
        (
            "docs/decisions/0001-one.md",
            "# 0001 One\n## Context\n## Choice\n## Alternatives\n## Cost\n",
        ),
        (
            "docs/decisions/0003-three.md",
            "# 0002 Three\n## Context\n## Choice\n## Alternatives\n## Cost\n",
        ),
        ("testdata/group/unused/file", ""),
    ]);
    let sees =
        |complaints: Vec<String>, n: usize| assert_eq!(complaints.len(), n, "{complaints:?}");
    sees(forgotten_modules(&tree), 1);
    sees(forgotten_fixtures(&tree), 1);
    sees(decisions(&tree), 1);
    sees(
        links(
            "docs/X.md",
            "[a](decisions/0001-one.md) [b](gone.md)",
            &tree,
        ),
        1,
    );
    // Does not tell of b, tells of c, names a file that is not there.
    sees(
        crate_map(
            "### `crates/a`\n`known.rs` `gone.rs`\n### `crates/c`\n",
            &tree,
        ),
        3,
    );
}

// -------------------------------------------------------------- the reading

/// A file of the project, by its path from the top with `/`.
struct File {
    path: String,
    text: String,
}

impl File {
    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    fn is_manifest(&self) -> bool {
        self.path.starts_with("crates/") && self.path.ends_with("/Cargo.toml")
    }

    fn is_document(&self) -> bool {
        self.path.ends_with(".md")
            && !self.path.starts_with("testdata/")
            && !self.path.starts_with("tests/")
    }

    fn is_library(&self) -> bool {
        self.is_rust()
            && LIBRARIES
                .iter()
                .any(|name| self.path.starts_with(&format!("crates/{name}/src/")))
    }
}

/// All files of the project, in order of path.
struct Tree {
    files: Vec<File>,
}

impl Tree {
    fn read() -> Self {
        let top = top();
        let mut files = Vec::new();
        let mut dirs = vec![top.clone()];
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(&dir).unwrap() {
                let entry = entry.unwrap();
                let (path, kind) = (entry.path(), entry.file_type().unwrap());
                let name = entry.file_name();
                if kind.is_dir() {
                    if !["target", ".git", "node_modules", "__pycache__"]
                        .iter()
                        .any(|skip| name == *skip)
                    {
                        dirs.push(path);
                    }
                } else if kind.is_file() && name != ".git" {
                    // A linked work tree's marker is git's, not ours.
                    let path_here: Vec<_> = path.strip_prefix(&top).unwrap().iter().collect();
                    let parts: Vec<_> = path_here.iter().map(|p| p.to_string_lossy()).collect();
                    files.push(File {
                        path: parts.join("/"),
                        text: String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned(),
                    });
                }
            }
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Self { files }
    }

    fn of(files: &[(&str, &str)]) -> Self {
        let file = |(path, text): &(&str, &str)| File {
            path: (*path).to_owned(),
            text: (*text).to_owned(),
        };
        Self {
            files: files.iter().map(file).collect(),
        }
    }

    fn each(
        &self,
        which: impl Fn(&File) -> bool,
        rule: impl Fn(&File) -> Vec<String>,
    ) -> Vec<String> {
        self.files
            .iter()
            .filter(|f| which(f))
            .flat_map(rule)
            .collect()
    }

    fn has(&self, path: &str) -> bool {
        self.files.iter().any(|f| f.path == path)
    }

    fn has_dir(&self, path: &str) -> bool {
        let dir = format!("{}/", path.trim_end_matches('/'));
        self.files.iter().any(|f| f.path.starts_with(&dir))
    }

    fn text(&self, path: &str) -> &str {
        let file = self.files.iter().find(|f| f.path == path);
        &file.unwrap_or_else(|| panic!("{path} is missing")).text
    }
}

/// One arrow of the workspace's manifests.
#[derive(Debug)]
struct Dependency {
    from: String,
    to: String,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Normal,
    Dev,
}

fn dependencies() -> Vec<Dependency> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let out = Command::new(cargo)
        .args([
            "metadata",
            "--no-deps",
            "--offline",
            "--format-version",
            "1",
        ])
        .current_dir(top())
        .output()
        .unwrap();
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    let metadata: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let mut all = Vec::new();
    for package in metadata["packages"].as_array().unwrap() {
        for d in package["dependencies"].as_array().unwrap() {
            all.push(Dependency {
                from: package["name"].as_str().unwrap().to_owned(),
                to: d["name"].as_str().unwrap().to_owned(),
                kind: match d["kind"].as_str() {
                    Some("dev") => Kind::Dev,
                    _ => Kind::Normal,
                },
            });
        }
    }
    assert!(all.len() > 20, "only {} dependencies were seen", all.len());
    all
}

fn top() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.ancestors().nth(2).unwrap().to_path_buf()
}

fn complain(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "\n  {}\n", complaints.join("\n  "));
}

fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(i, line)| (i + 1, line))
}

/// Lines with what stands behind `//` cut off. A `//` within a string cuts too
/// much; the rules that use this look for words, and can bear it.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    numbered(text).map(|(n, line)| (n, line.split("//").next().unwrap_or("")))
}

/// The text up to its test module; nothing of a file that is all tests.
fn without_tests<'a>(path: &str, text: &'a str) -> &'a str {
    if path.ends_with("/tests.rs") || path.contains("/tests/") || path.starts_with("tests/") {
        return "";
    }
    text.find("\n#[cfg(test)]\nmod ")
        .and_then(|at| text.get(..at))
        .unwrap_or(text)
}

fn package_dir(path: &str) -> String {
    let depth = if path.starts_with("crates/") { 2 } else { 1 };
    path.split('/').take(depth).collect::<Vec<_>>().join("/")
}

fn stem(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.strip_suffix(".rs").unwrap_or(name)
}
