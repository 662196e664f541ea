//! What the tests of the store share: sessions made of noise, chains of entries.

use ccpeer_core::entry::VerifiedEntry;
use ccpeer_core::id::{ChunkId, Epoch, SessionId};
use ccpeer_core::limits;
use ccpeer_core::manifest::{
    ChunkRef, FileEntry, ListPage, MANIFEST_VERSION, Manifest, Origin, PathFlavour,
    ProjectIdentity, Segment, Slot, Want, WantKind,
};
use ccpeer_core::store::Batch;
use ccpeer_core::store::contract;
use ccpeer_core::time::Timestamp;
use ccpeer_store::{Options, Store};
use ed25519_dalek::SigningKey;

pub(crate) const OPTIONS: Options = Options {
    fresh_epoch: Epoch([0xe0; 16]),
};

/// Bytes that do not compress, different for each seed.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.finalize_xof().fill(&mut out);
    out
}

/// Text that compresses about as transcripts do.
pub(crate) fn text(seed: u64, len: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(len + 128);
    let mut n = seed;
    while out.len() < len {
        n = n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let line =
            format!("{{\"type\":\"assistant\",\"uuid\":\"{n:016x}\",\"text\":\"step {seed}\"}}\n");
        out.extend_from_slice(line.as_bytes());
    }
    out.truncate(len);
    out
}

pub(crate) fn chunk(content: Vec<u8>) -> (ChunkId, Vec<u8>) {
    (ChunkId::of(&content), content)
}

pub(crate) fn key(n: u8) -> SigningKey {
    SigningKey::from_bytes(&[n; 32])
}

/// A chain of `count` entries of device `n`.
pub(crate) fn chain(n: u8, count: u64) -> Vec<VerifiedEntry> {
    contract::chain(&key(n), Epoch([n; 16]), count)
}

pub(crate) fn batch(entries: &[VerifiedEntry]) -> Batch {
    Batch {
        entries: entries.to_vec(),
        ..Batch::default()
    }
}

/// A session of one file: its manifest, and everything that belongs to it.
pub(crate) struct Session {
    pub(crate) want: Want,
    pub(crate) manifest: Manifest,
    /// Manifest, list pages, content, in this order.
    pub(crate) chunks: Vec<(ChunkId, Vec<u8>)>,
    pub(crate) content: Vec<u8>,
}

/// A session whose transcript has `count` chunks of `len` bytes.
pub(crate) fn session(seed: u64, count: usize, len: usize) -> Session {
    let data: Vec<_> = (0..count)
        .map(|i| chunk(noise(seed << 32 | i as u64, len)))
        .collect();
    let refs: Vec<ChunkRef> = data
        .iter()
        .map(|(id, c)| ChunkRef {
            id: *id,
            len: c.len() as u32,
        })
        .collect();
    let full = refs.len() - refs.len() % limits::LIST_REFS_MAX;
    let pages: Vec<_> = refs[..full]
        .chunks(limits::LIST_REFS_MAX)
        .map(|refs| {
            chunk(
                ListPage {
                    version: MANIFEST_VERSION,
                    refs: refs.to_vec(),
                }
                .to_bytes(),
            )
        })
        .collect();
    let manifest = Manifest {
        version: MANIFEST_VERSION,
        session: SessionId([seed as u8; 16]),
        origins: vec![Origin {
            flavour: PathFlavour::Unix,
            home: "/home/ann".into(),
            project: "/home/ann/x".into(),
            claude_dir: "/home/ann/.claude".into(),
            slug: "-home-ann-x".into(),
        }],
        project: ProjectIdentity::default(),
        files: vec![FileEntry {
            slot: Slot::Main,
            segments: vec![Segment {
                origin: 0,
                len: data.iter().map(|c| c.1.len() as u64).sum(),
                pages: pages.iter().map(|p| p.0).collect(),
                tail: refs[full..].to_vec(),
            }],
            modified: Timestamp(0),
        }],
    };
    let head = chunk(manifest.to_bytes());
    let want = Want {
        id: head.0,
        kind: WantKind::Manifest,
    };
    let content = data.iter().flat_map(|c| c.1.clone()).collect();
    let chunks = std::iter::once(head).chain(pages).chain(data).collect();
    Session {
        want,
        manifest,
        chunks,
        content,
    }
}

pub(crate) fn temp_store() -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    (dir, path)
}

pub(crate) fn open(path: &std::path::Path) -> Store {
    Store::open(path, &OPTIONS).unwrap()
}
