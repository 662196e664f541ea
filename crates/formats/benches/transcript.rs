//! Understanding a transcript, and rewriting its paths: bytes a second.

use std::hint::black_box;

use ccpeer_core::manifest::{Origin, PathFlavour};
use ccpeer_formats::claude::rewrite::{Rewriter, TextKind};
use ccpeer_formats::claude::transcript::Digest;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// Bytes of the transcript that is made up.
const BYTES: usize = 8 * 1024 * 1024;

/// Turns with a prompt, a call of a tool, its result twice, and an answer.
fn transcript() -> Vec<u8> {
    let mut out = String::new();
    let mut n = 0u32;
    let id = |n: u32| format!("00000000-0000-4000-8000-{n:012}");
    while out.len() < BYTES {
        let common = |kind: &str, n: u32| {
            format!(
                r#""parentUuid":"{}","isSidechain":false,"userType":"external","cwd":"/home/ann/src/x","sessionId":"{}","version":"2.1.300","gitBranch":"main","type":"{kind}","uuid":"{}","timestamp":"2026-11-29T00:00:00.000Z""#,
                id(n),
                id(0),
                id(n + 1)
            )
        };
        let code =
            "fn of(path: &Path) -> Option<u32> {\\n    path.len().checked_add(1)\\n}\\n".repeat(20);
        out += &format!(
            "{{{},\"message\":{{\"role\":\"user\",\"content\":\"look at /home/ann/src/x/lib.rs, please ({n})\"}}}}\n",
            common("user", n)
        );
        out += &format!(
            "{{{},\"message\":{{\"role\":\"assistant\",\"content\":[{{\"type\":\"tool_use\",\"id\":\"toolu_{n}\",\"name\":\"Read\",\"input\":{{\"file_path\":\"/home/ann/src/x/lib.rs\"}}}}]}}}}\n",
            common("assistant", n + 1)
        );
        out += &format!(
            "{{{},\"message\":{{\"role\":\"user\",\"content\":[{{\"type\":\"tool_result\",\"tool_use_id\":\"toolu_{n}\",\"content\":\"{code}\"}}]}},\"toolUseResult\":{{\"file\":{{\"filePath\":\"/home/ann/src/x/lib.rs\",\"content\":\"{code}\"}}}}}}\n",
            common("user", n + 2)
        );
        out += &format!(
            "{{{},\"message\":{{\"role\":\"assistant\",\"content\":[{{\"type\":\"text\",\"text\":\"It is in /home/ann/src/x/lib.rs.\"}}]}}}}\n",
            common("assistant", n + 3)
        );
        n += 4;
    }
    out.into_bytes()
}

fn origin(flavour: PathFlavour, home: &str, project: &str, slug: &str) -> Origin {
    Origin {
        flavour,
        home: home.into(),
        project: project.into(),
        claude_dir: format!("{home}/.claude"),
        slug: slug.into(),
    }
}

fn benches(c: &mut Criterion) {
    let bytes = transcript();
    let ann = origin(
        PathFlavour::Unix,
        "/home/ann",
        "/home/ann/src/x",
        "-home-ann-src-x",
    );
    let bob = origin(
        PathFlavour::Unix,
        "/Users/bob",
        "/Users/bob/code/x",
        "-Users-bob-code-x",
    );
    let mut group = c.benchmark_group("transcript");
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.sample_size(20);
    group.bench_function("understand", |b| {
        b.iter(|| {
            let mut digest = Digest::default();
            for piece in black_box(&bytes).chunks(256 * 1024) {
                digest.feed(piece);
            }
            digest.summary()
        });
    });
    let rewriter = Rewriter::new(&ann, &bob);
    group.bench_function("rewrite", |b| {
        b.iter(|| rewriter.bytes(TextKind::JsonLines, black_box(&bytes)));
    });
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
