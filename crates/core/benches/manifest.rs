//! The manifest of a long session, spelled and read: what each turn costs for it.
#![expect(
    clippy::unwrap_used,
    reason = "a bench that cannot run has nothing to say"
)]

use std::hint::black_box;

use ccpeer_core::id::{ChunkId, SessionId};
use ccpeer_core::limits;
use ccpeer_core::manifest::{
    ChunkRef, FileEntry, MANIFEST_VERSION, Manifest, Origin, PathFlavour, ProjectIdentity, Segment,
    Slot, SlotName,
};
use ccpeer_core::time::Timestamp;
use criterion::{Criterion, criterion_group, criterion_main};

/// A session of about `pages` × 8 MiB with a hundred files beside its transcript.
fn manifest(pages: u8) -> Manifest {
    let chunk = |n: u8| ChunkRef {
        id: ChunkId::of(&[n]),
        len: 65_536,
    };
    let file = |slot, pages: u8, refs: u8| FileEntry {
        slot,
        segments: vec![Segment {
            origin: 0,
            len: (u64::from(pages) * limits::LIST_REFS_MAX as u64 + u64::from(refs)) * 65_536,
            pages: (0..pages).map(|n| ChunkId::of(&[n, 1])).collect(),
            tail: (0..refs).map(chunk).collect(),
        }],
        modified: Timestamp(1),
    };
    let main = file(Slot::Main, pages, 64);
    let beside = (0..100).map(|n| {
        let name = SlotName::new(&format!("agent-{n:03}")).unwrap();
        file(Slot::Subagent(name), 0, 1)
    });
    Manifest {
        version: MANIFEST_VERSION,
        session: SessionId([7; 16]),
        origins: vec![Origin {
            flavour: PathFlavour::Unix,
            home: "/home/ann".into(),
            project: "/home/ann/src/x".into(),
            claude_dir: "/home/ann/.claude".into(),
            slug: "-home-ann-src-x".into(),
        }],
        project: ProjectIdentity {
            name: "x".into(),
            remotes: vec!["github.com/ann/x".into()],
            root_commit: String::new(),
            subdir: String::new(),
            below_home: Some("src/x".into()),
            below_root: None,
            worktree: None,
        },
        files: std::iter::once(main).chain(beside).collect(),
    }
}

fn benches(c: &mut Criterion) {
    for (name, pages) in [("8 MB", 0), ("500 MB", 60)] {
        let manifest = manifest(pages);
        let bytes = manifest.to_bytes();
        c.bench_function(&format!("manifest, {name}: spell"), |b| {
            b.iter(|| black_box(&manifest).to_bytes());
        });
        c.bench_function(&format!("manifest, {name}: read and check"), |b| {
            b.iter(|| Manifest::from_bytes(black_box(&bytes)).unwrap());
        });
    }
}

criterion_group!(all, benches);
criterion_main!(all);
