//! Bundles, there and back; what the other program computes; what nobody honest
//! writes.

use std::io::Write as _;

use ccpeer_core::id::SessionId;
use ccpeer_core::manifest::{Origin, PathFlavour, Slot, SlotName};
use ccpeer_core::time::Timestamp;
use sha2::{Digest as _, Sha256};

use super::*;

const ID: &str = "00000000-0000-4000-8000-000000000001";

fn id() -> SessionId {
    ID.parse().unwrap()
}

fn packed(document: &str) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(document.as_bytes()).unwrap();
    gzip.finish().unwrap()
}

/// A bundle with this text as its session.
fn around(session: &str) -> Vec<u8> {
    let sum = hex(&Sha256::digest(session.as_bytes()));
    packed(&format!(
        "{{\"version\":\"1\",\"exportedAt\":\"2026-06-06T00:00:00.000Z\",\"sourceDevice\":\"desk\",\
         \"updatedAt\":\"2026-06-06T00:00:00.000Z\",\"session\":{session},\"checksum\":\"{sum}\"}}"
    ))
}

fn unpacked(bytes: &[u8]) -> String {
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::MultiGzDecoder::new(bytes), &mut text)
        .unwrap();
    text
}

fn origin() -> Origin {
    Origin {
        flavour: PathFlavour::Unix,
        home: "/home/ann".into(),
        project: "/home/ann/code/app".into(),
        claude_dir: "/home/ann/.claude".into(),
        slug: "-home-ann-code-app".into(),
    }
}

fn about() -> Description {
    Description {
        session: id(),
        device: "desk".into(),
        exported: Timestamp(1_800_000_000_000),
        updated: Timestamp(1_700_000_000_123),
        project: Project {
            name: "app".into(),
            below_root: Some("code/app".into()),
            path: String::new(),
        },
    }
}

fn write(origin: Option<&Origin>, files: &[(Slot, &[u8])]) -> Vec<u8> {
    let mut writer = Writer::new(&about(), origin);
    let mut out = Vec::new();
    for (slot, content) in files {
        writer.begin(slot).unwrap();
        for piece in content.chunks(7) {
            writer.push(piece);
            out.extend(writer.take());
        }
    }
    out.extend(writer.finish());
    out
}

fn open(packed: &[u8]) -> (Bundle<'_>, Vec<Warning>) {
    Bundle::open(packed, Some(id()), Bounds::default()).unwrap()
}

#[test]
fn what_is_written_is_read() {
    let history = Slot::FileHistory {
        path_hash: [0xab; 8],
        version: 3,
    };
    let main = "{\"type\":\"user\",\"message\":{\"role\":\"user\",\"content\":\"hi é\u{1f600} /home/ann/code/app/x\"},\"cwd\":\"/home/ann/code/app\"}\n{\"a\":\"/home/ann/.claude\"}\r\n";
    let files: Vec<(Slot, &[u8])> = vec![
        (Slot::Main, main.as_bytes()),
        (
            Slot::Subagent(SlotName::new("a1").unwrap()),
            b"{\"b\":\"/home/ann\"}\n",
        ),
        (Slot::Todo(SlotName::new("x").unwrap()), b"[ ]\n"),
        (history.clone(), b"\0\x01\x02\xff"),
    ];
    let bytes = write(Some(&origin()), &files);
    let (bundle, warnings) = open(&bytes);
    assert_eq!(warnings, []);
    assert_eq!(
        bundle.head().first_prompt,
        "hi é\u{1f600} ${PROJECT_ROOT}/x"
    );
    assert_eq!(bundle.head().project.path, "${HOME}/code/app");
    let slots: Vec<_> = bundle.files().iter().map(|f| f.slot.clone()).collect();
    assert_eq!(
        slots,
        files.iter().map(|(s, _)| s.clone()).collect::<Vec<_>>()
    );
    for (file, (slot, content)) in bundle.files().iter().zip(&files) {
        let found = bundle.file(slot).unwrap();
        assert_eq!(found.len() as u64, file.bytes);
        let mut restored = found.clone();
        if tokens::has_tokens(slot) {
            restored.clear();
            let mut restorer = tokens::Restorer::new(&origin());
            for piece in found.chunks(5) {
                restorer.push(piece, &mut restored);
            }
            restorer.finish(&mut restored);
        }
        assert_eq!(
            String::from_utf8_lossy(&restored),
            String::from_utf8_lossy(content)
        );
    }
    assert!(!unpacked(&bytes).contains("ann"));
}
