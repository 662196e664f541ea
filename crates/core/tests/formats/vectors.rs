//! Golden vectors: today's code must write exactly these bytes and read them
//! back. A change here is a change of format and needs a new version number.
//! `BLESS=1 cargo test -p ccpeer-core` writes them anew.

use std::fmt::Write as _;
use std::path::PathBuf;

use ccpeer_core::codec;
use ccpeer_core::digest::{Digests, Parts};
use ccpeer_core::entry::{
    Capsule, Claim, ContentRef, DeviceInfo, ENTRY_VERSION, Enriched, Header, Mark, Payload,
    Presence, SessionMeta, SignedEntry, TrustChange, Version, device_of,
};
use ccpeer_core::id::{ChunkId, DeviceId, EntryHash, Epoch, LogId, Seq, SessionId};
use ccpeer_core::limits;
use ccpeer_core::log::Held;
use ccpeer_core::manifest::{
    ChunkRef, FileEntry, ListPage, MANIFEST_VERSION, Manifest, OpaqueName, Origin, PathFlavour,
    ProjectIdentity, Segment, Slot, SlotName, Want,
};
use ccpeer_core::presence::{EndReason, SessionState};
use ccpeer_core::roll::KeyRoll;
use ccpeer_core::time::Timestamp;
use ccpeer_core::wire::{Hello, Message};
use ed25519_dalek::SigningKey;

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn session() -> SessionId {
    "aa21a64c-b7a7-41b7-a51f-ceeccfa4623b".parse().unwrap()
}

fn log() -> LogId {
    LogId {
        device: device_of(&key()),
        epoch: Epoch([0x11; 16]),
    }
}

fn payloads() -> Vec<(&'static str, Payload)> {
    let version = Version {
        session: session(),
        parents: vec![EntryHash([0x21; 32]), EntryHash([0x22; 32])],
        derived_from: Some((SessionId([0x31; 16]), EntryHash([0x32; 32]))),
        manifest: Some(ContentRef {
            id: ChunkId([0x41; 32]),
            len: 70_000,
        }),
        snapshot: Some(ContentRef {
            id: ChunkId([0x42; 32]),
            len: 900,
        }),
        state: SessionState::Ended(EndReason::PromptExit),
        meta: SessionMeta {
            title: "Größe of things".into(),
            project: "thing".into(),
            branch: "main".into(),
            updated: Timestamp(1_700_000_000_123),
            open_todos: 3,
            bytes: 1_234_567,
            records: 321,
        },
    };
    vec![
        (
            "device",
            Payload::Device(DeviceInfo {
                name: "desk".into(),
                os: "linux".into(),
            }),
        ),
        (
            "trust_add",
            Payload::Trust(TrustChange::Add {
                device: DeviceId([0x51; 32]),
                info: DeviceInfo {
                    name: "phone".into(),
                    os: "linux".into(),
                },
            }),
        ),
        (
            "trust_revoke",
            Payload::Trust(TrustChange::Revoke(DeviceId([0x51; 32]))),
        ),
        (
            "trust_overrule",
            Payload::Trust(TrustChange::Overrule {
                device: DeviceId([0x51; 32]),
                by: DeviceId([0x52; 32]),
            }),
        ),
        ("version", Payload::Version(version)),
        (
            "presence",
            Payload::Presence(Presence {
                session: session(),
                state: SessionState::Interrupted,
            }),
        ),
        (
            "presence_script",
            Payload::Presence(Presence {
                session: session(),
                state: SessionState::Ended(EndReason::Script),
            }),
        ),
        (
            "claim",
            Payload::Claim(Claim {
                session: session(),
                base: Some(EntryHash([0x41; 32])),
            }),
        ),
        (
            "roll",
            Payload::Roll(KeyRoll::sign(
                &key(),
                &SigningKey::from_bytes(&[0x22; 32]),
                vec![(Epoch([0x31; 16]), Seq(300))],
            )),
        ),
        (
            "mark",
            Payload::Mark(Mark {
                session: session(),
                done: true,
            }),
        ),
        (
            "enriched",
            Payload::Enriched(Enriched {
                session: session(),
                version: EntryHash([0x41; 32]),
                snapshot: ContentRef {
                    id: ChunkId([0x42; 32]),
                    len: 4321,
                },
            }),
        ),
        (
            "capsule",
            Payload::Capsule(Capsule {
                session: session(),
                version: EntryHash([0x41; 32]),
                manifest: ContentRef {
                    id: ChunkId([0x43; 32]),
                    len: 321,
                },
            }),
        ),
    ]
}

fn header(payload: &[u8]) -> Header {
    Header {
        version: ENTRY_VERSION,
        log: log(),
        seq: Seq(300),
        prev: EntryHash([0x61; 32]),
        lamport: 1_000_000,
        payload_hash: *blake3::hash(payload).as_bytes(),
        payload_len: payload.len() as u32,
    }
}

fn signed() -> SignedEntry {
    let payload = Payload::Mark(Mark {
        session: session(),
        done: true,
    });
    let bytes = payload.to_bytes(Timestamp(1_700_000_000_000));
    SignedEntry::sign(&header(&bytes), bytes, &key())
}

fn manifest() -> Manifest {
    let chunk = |n: u8, len| ChunkRef {
        id: ChunkId([n; 32]),
        len,
    };
    let full = u64::from(limits::LIST_REFS_MAX as u32) * 65_536;
    Manifest {
        version: MANIFEST_VERSION,
        session: session(),
        origins: vec![
            Origin {
                flavour: PathFlavour::Unix,
                home: "/home/ann".into(),
                project: "/home/ann/thing".into(),
                claude_dir: "/home/ann/.claude".into(),
                slug: "-home-ann-thing".into(),
            },
            Origin {
                flavour: PathFlavour::Windows,
                home: r"C:\Users\ann".into(),
                project: r"C:\Users\ann\thing".into(),
                claude_dir: r"C:\Users\ann\.claude".into(),
                slug: "C--Users-ann-thing".into(),
            },
        ],
        project: ProjectIdentity {
            name: "thing".into(),
            remotes: vec!["example.org/ann/thing".into()],
            root_commit: "0123456789abcdef0123456789abcdef01234567".into(),
            subdir: "sub".into(),
            below_home: Some("thing/sub".into()),
            ..ProjectIdentity::default()
        },
        files: vec![
            FileEntry {
                slot: Slot::Main,
                segments: vec![
                    Segment {
                        origin: 0,
                        len: full + 10,
                        pages: vec![ChunkId([0x71; 32])],
                        tail: vec![chunk(0x72, 10)],
                    },
                    Segment {
                        origin: 1,
                        len: 300,
                        pages: vec![],
                        tail: vec![chunk(0x73, 300)],
                    },
                ],
                modified: Timestamp(1_700_000_000_000),
            },
            FileEntry {
                slot: Slot::Subagent(SlotName::new("a1b2c3").unwrap()),
                segments: vec![],
                modified: Timestamp(1),
            },
            FileEntry {
                slot: Slot::FileHistory {
                    path_hash: [1, 2, 3, 4, 5, 6, 7, 8],
                    version: 2,
                },
                segments: vec![],
                modified: Timestamp(2),
            },
        ],
    }
}

/// Every kind of slot there is, in the order of its number.
fn slots() -> Manifest {
    let name = |text: &str| SlotName::new(text).unwrap();
    let slots = [
        Slot::Main,
        Slot::Subagent(name("a1b2c3")),
        Slot::SubagentMeta(name("a1b2c3")),
        Slot::ToolResult(name("toolu_01")),
        Slot::Task(7),
        Slot::TaskHighWater,
        Slot::Todo(name("x-1")),
        Slot::FileHistory {
            path_hash: [1, 2, 3, 4, 5, 6, 7, 8],
            version: 2,
        },
        Slot::Plan(name("calm-river")),
        Slot::Opaque(OpaqueName::new("session:workflows:run-1.json").unwrap()),
    ];
    let file = |(slot, n): (Slot, u64)| FileEntry {
        slot,
        segments: vec![],
        modified: Timestamp(n),
    };
    let mut manifest = manifest();
    manifest.origins.truncate(1);
    manifest.files = slots.into_iter().zip(0..).map(file).collect();
    manifest
}

fn page() -> ListPage {
    let refs = (0..limits::LIST_REFS_MAX as u32)
        .map(|n| ChunkRef {
            id: ChunkId([n as u8; 32]),
            len: n + 1,
        })
        .collect();
    ListPage {
        version: MANIFEST_VERSION,
        refs,
    }
}

fn messages() -> Vec<(&'static str, Message)> {
    vec![
        (
            "hello",
            Message::Hello(Hello {
                incarnation: [0x81; 16],
                name: "desk".into(),
                os: "linux".into(),
                version: "0.1.0".into(),
            }),
        ),
        (
            "have",
            Message::Have(vec![Held {
                log: log(),
                seq: Seq(300),
                tip: [0x61; limits::TIP_BYTES],
            }]),
        ),
        ("entries", Message::Entries(vec![signed()])),
        (
            "complete",
            Message::Complete(vec![
                Want::manifest(ChunkId([0x41; 32])),
                Want::data(ChunkId([0x42; 32])),
            ]),
        ),
        ("ping", Message::Ping(7)),
        ("pong", Message::Pong(7)),
        (
            "digests",
            Message::Digests(Digests::of(&[
                Want::manifest(ChunkId([0x41; 32])),
                Want::data(ChunkId([0x42; 32])),
            ])),
        ),
        ("unlike", Message::Unlike(Parts(0x0180))),
    ]
}

#[test]
fn payloads_are_written_as_ever() {
    for (name, payload) in payloads() {
        check(
            &format!("payload_{name}"),
            &payload.to_bytes(Timestamp(1_700_000_000_000)),
        );
    }
}

#[test]
fn entries_are_written_as_ever() {
    let signed = signed();
    check("entry_header", &signed.header);
    check("entry_signed", &codec::encode(&signed));
    let verified = signed.clone().verify().unwrap();
    check("entry_hash", &verified.hash().0);
    assert_eq!(
        codec::decode::<SignedEntry>(&codec::encode(&signed), 4096),
        Ok(signed)
    );
}

#[test]
fn manifests_are_written_as_ever() {
    let manifest = manifest();
    check("manifest", &manifest.to_bytes());
    assert_eq!(Manifest::from_bytes(&manifest.to_bytes()), Ok(manifest));
    let mut placed = self::manifest();
    placed.project.below_root = Some("ann/thing/sub".into());
    placed.project.worktree = Some("fix".into());
    check("manifest_placed", &placed.to_bytes());
    assert_eq!(Manifest::from_bytes(&placed.to_bytes()), Ok(placed));
    let slots = slots();
    check("manifest_slots", &slots.to_bytes());
    assert_eq!(Manifest::from_bytes(&slots.to_bytes()), Ok(slots));
    check("list_page", &page().to_bytes());
    assert_eq!(ListPage::from_bytes(&page().to_bytes()), Ok(page()));
}

/// K-N04: what the first version can say is not said in the second.
#[test]
fn k_n04_a_manifest_has_one_version() {
    let plain = manifest();
    let mut bytes = plain.to_bytes();
    bytes[0] = ccpeer_core::manifest::MANIFEST_VERSION_PLACED;
    assert_eq!(
        Manifest::from_bytes(&bytes),
        Err(codec::DecodeError::Malformed)
    );
    bytes.extend([0, 0]);
    assert_eq!(
        Manifest::from_bytes(&bytes),
        Err(codec::DecodeError::NotCanonical)
    );
    let mut placed = manifest();
    placed.project.worktree = Some("x".repeat(limits::FOREIGN_PATH_BYTES_MAX + 1));
    let too_long = Manifest::from_bytes(&placed.to_bytes());
    assert_eq!(too_long, Err(codec::DecodeError::OutOfBounds("project")));
}

#[test]
fn messages_are_written_as_ever() {
    for (name, message) in messages() {
        let bytes = message.to_bytes();
        check(&format!("wire_{name}"), &bytes);
        assert_eq!(Message::from_bytes(&bytes), Ok(message));
    }
}

#[test]
fn no_vector_is_forgotten() {
    let mut want: Vec<String> = payloads()
        .iter()
        .map(|(n, _)| format!("payload_{n}"))
        .collect();
    want.extend(messages().iter().map(|(n, _)| format!("wire_{n}")));
    let others = [
        "entry_header",
        "entry_signed",
        "entry_hash",
        "manifest",
        "manifest_placed",
        "manifest_slots",
        "list_page",
    ];
    want.extend(others.map(str::to_owned));
    want.sort();
    let mut have: Vec<String> = std::fs::read_dir(folder())
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .filter_map(|name| name.strip_suffix(".hex").map(str::to_owned))
        .collect();
    have.sort();
    assert_eq!(have, want);
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../testdata/vectors")
}

/// Compares bytes with the vector of this name: hex, 32 bytes a line.
fn check(name: &str, bytes: &[u8]) {
    let mut text = String::new();
    for line in bytes.chunks(32) {
        line.iter().for_each(|b| write!(text, "{b:02x}").unwrap());
        text.push('\n');
    }
    let path = folder().join(format!("{name}.hex"));
    if std::env::var_os("BLESS").is_some() {
        std::fs::create_dir_all(folder()).unwrap();
        std::fs::write(&path, &text).unwrap();
    }
    let want = std::fs::read_to_string(&path)
        .unwrap_or_default()
        .replace('\r', "");
    assert_eq!(text, want, "{name}: the format has changed");
}
