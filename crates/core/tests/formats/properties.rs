//! Properties of the codecs: what we write we read back, there is one spelling
//! of everything, and no input of any kind panics or slips through a bound.

use std::collections::BTreeSet;

use ccpeer_core::codec::DecodeError;
use ccpeer_core::entry::{
    Capsule, Content, ContentRef, DeviceInfo, ENTRY_VERSION, Enriched, EntryError, Header, Mark,
    Payload, Presence, SessionMeta, SignedEntry, TrustChange, Version, device_of,
};
use ccpeer_core::id::{ChunkId, DeviceId, EntryHash, Epoch, LogId, Seq, SessionId};
use ccpeer_core::limits::{self, LIST_REFS_MAX};
use ccpeer_core::log::{Frontier, Held};
use ccpeer_core::manifest::{
    ChunkRef, FileEntry, ListPage, MANIFEST_VERSION, Manifest, OpaqueName, Origin, PathFlavour,
    ProjectIdentity, Segment, Slot, SlotName, Want, WantKind,
};
use ccpeer_core::presence::{EndReason, SessionState};
use ccpeer_core::time::Timestamp;
use ccpeer_core::wire::{Hello, Message};
use ed25519_dalek::SigningKey;
use proptest::prelude::*;

fn state() -> impl Strategy<Value = SessionState> {
    prop_oneof![
        Just(SessionState::Live),
        Just(SessionState::Idle),
        Just(SessionState::Interrupted),
        Just(SessionState::Ended(EndReason::Clear)),
        Just(SessionState::Ended(EndReason::Script)),
        Just(SessionState::Done),
    ]
}

fn content() -> impl Strategy<Value = Option<ContentRef>> {
    prop::option::of((any::<[u8; 32]>(), 0u32..60_000)).prop_map(|c| {
        c.map(|(id, len)| ContentRef {
            id: ChunkId(id),
            len,
        })
    })
}

fn payload() -> impl Strategy<Value = Payload> {
    let version = (
        any::<[u8; 16]>(),
        prop::collection::vec(any::<[u8; 32]>(), 0..=limits::PARENTS_MAX),
        prop::option::of((any::<[u8; 16]>(), any::<[u8; 32]>())),
        (content(), content(), state()),
        ("\\PC{0,80}", "\\PC{0,40}", any::<u64>(), any::<u32>()),
    )
        .prop_map(
            |(session, parents, from, (manifest, snapshot, state), meta)| {
                Payload::Version(Version {
                    session: SessionId(session),
                    parents: parents.into_iter().map(EntryHash).collect(),
                    derived_from: from.map(|(s, h)| (SessionId(s), EntryHash(h))),
                    manifest,
                    snapshot,
                    state,
                    meta: SessionMeta {
                        title: meta.0,
                        project: meta.1,
                        bytes: meta.2,
                        open_todos: meta.3,
                        ..SessionMeta::default()
                    },
                })
            },
        );
    prop_oneof![
        ("\\PC{0,60}", "[a-z]{0,16}")
            .prop_map(|(name, os)| Payload::Device(DeviceInfo { name, os })),
        (any::<[u8; 32]>(), any::<[u8; 32]>(), "\\PC{0,60}", 0..3u8).prop_map(
            |(id, by, name, kind)| {
                let device = DeviceId(id);
                Payload::Trust(match kind {
                    0 => TrustChange::Revoke(device),
                    1 => TrustChange::Overrule {
                        device,
                        by: DeviceId(by),
                    },
                    _ => TrustChange::Add {
                        device,
                        info: DeviceInfo {
                            name,
                            os: "linux".into(),
                        },
                    },
                })
            }
        ),
        version,
        (any::<[u8; 16]>(), state()).prop_map(|(session, state)| {
            Payload::Presence(Presence {
                session: SessionId(session),
                state,
            })
        }),
        (any::<[u8; 16]>(), any::<bool>()).prop_map(|(session, done)| Payload::Mark(Mark {
            session: SessionId(session),
            done
        })),
        (
            any::<[u8; 16]>(),
            any::<[u8; 32]>(),
            any::<[u8; 32]>(),
            0u32..60_000
        )
            .prop_map(|(session, version, id, len)| {
                let id = ChunkId(id);
                Payload::Enriched(Enriched {
                    session: SessionId(session),
                    version: EntryHash(version),
                    snapshot: ContentRef { id, len },
                })
            }),
        (
            any::<[u8; 16]>(),
            any::<[u8; 32]>(),
            any::<[u8; 32]>(),
            0u32..200_000
        )
            .prop_map(|(session, version, id, len)| {
                let id = ChunkId(id);
                Payload::Capsule(Capsule {
                    session: SessionId(session),
                    version: EntryHash(version),
                    manifest: ContentRef { id, len },
                })
            }),
    ]
}

fn sign(payload: &Payload, seq: u64, at: u64) -> SignedEntry {
    let key = SigningKey::from_bytes(&[3; 32]);
    let bytes = payload.to_bytes(Timestamp(at));
    let header = Header {
        version: ENTRY_VERSION,
        log: LogId {
            device: device_of(&key),
            epoch: Epoch([1; 16]),
        },
        seq: Seq(seq),
        prev: if seq == 1 {
            EntryHash::ZERO
        } else {
            EntryHash([9; 32])
        },
        lamport: seq,
        payload_hash: *blake3::hash(&bytes).as_bytes(),
        payload_len: bytes.len() as u32,
    };
    SignedEntry::sign(&header, bytes, &key)
}

/// A number that picks the slot, and for each segment its origin and the lengths
/// of its chunks.
type Shape = (u32, Vec<(u8, Vec<u32>)>);

fn file() -> impl Strategy<Value = Shape> {
    (
        0u32..40,
        prop::collection::vec((0u8..2, prop::collection::vec(1u32..5000, 1..5)), 0..4),
    )
}

fn manifest(files: Vec<Shape>) -> Manifest {
    let origin = |home: &str| Origin {
        flavour: PathFlavour::Unix,
        home: home.into(),
        project: "/p".into(),
        claude_dir: "/c".into(),
        slug: "-p".into(),
    };
    let mut files: Vec<FileEntry> = files
        .into_iter()
        .map(|(n, segments)| FileEntry {
            slot: match n % 5 {
                0 => Slot::Main,
                1 => Slot::Task(n),
                2 => Slot::ToolResult(SlotName::new(&format!("r{n}")).unwrap()),
                3 => Slot::Opaque(OpaqueName::new(&format!("session:r{n}.bin")).unwrap()),
                _ => Slot::FileHistory {
                    path_hash: [n as u8; 8],
                    version: n,
                },
            },
            segments: segments
                .into_iter()
                .map(|(origin, lens)| Segment {
                    origin,
                    len: lens.iter().map(|l| u64::from(*l)).sum(),
                    pages: vec![],
                    tail: lens
                        .into_iter()
                        .map(|len| ChunkRef {
                            id: ChunkId([len as u8; 32]),
                            len,
                        })
                        .collect(),
                })
                .collect(),
            modified: Timestamp(u64::from(n)),
        })
        .collect();
    files.sort_by(|a, b| a.slot.cmp(&b.slot));
    files.dedup_by(|a, b| a.slot == b.slot);
    Manifest {
        version: MANIFEST_VERSION,
        session: SessionId([4; 16]),
        origins: vec![origin("/a"), origin("/b")],
        project: ProjectIdentity {
            worktree: (files.len() % 2 == 1).then(|| "w".into()),
            ..ProjectIdentity::default()
        },
        files,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_signed_entry_says_what_was_signed(payload in payload(), seq in 1u64..1000, at in any::<u64>()) {
        let entry = sign(&payload, seq, at).verify().unwrap();
        prop_assert_eq!(entry.payload(), Some(&payload));
        prop_assert_eq!(entry.at(), Some(Timestamp(at)));
        let message = Message::Entries(vec![entry.signed().clone()]);
        prop_assert_eq!(Message::from_bytes(&message.to_bytes()), Ok(message));
    }

    /// K-N13, K-N04: a changed bit anywhere is refused, whatever it is in.
    #[test]
    fn k_n13_an_altered_entry_is_refused(
        payload in payload(),
        part in 0usize..3,
        at in any::<prop::sample::Index>(),
        bit in 0u8..8,
    ) {
        let mut entry = sign(&payload, 2, 5);
        let bytes = match part {
            0 => &mut entry.header[..],
            1 => &mut entry.signature.1[..],
            _ => &mut entry.payload.as_mut().unwrap()[..],
        };
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert!(entry.verify().is_err());
    }

    /// K-N01: no bytes at all make a decoder panic, and what it accepts has
    /// exactly one spelling.
    #[test]
    fn k_n01_any_bytes_are_refused_or_canonical(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(message) = Message::from_bytes(&bytes) {
            prop_assert_eq!(message.to_bytes(), bytes.clone());
        }
        if let Ok(manifest) = Manifest::from_bytes(&bytes) {
            prop_assert_eq!(manifest.to_bytes(), bytes);
        }
    }

    /// K-N01, K-N04: the same for messages that are nearly right.
    #[test]
    fn k_n04_a_mutated_message_is_refused_or_canonical(
        payload in payload(),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        extra in prop::collection::vec(any::<u8>(), 0..3),
    ) {
        let mut bytes = Message::Entries(vec![sign(&payload, 1, 5)]).to_bytes();
        for (at, value) in cuts {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        bytes.extend(extra);
        if let Ok(message) = Message::from_bytes(&bytes) {
            prop_assert_eq!(message.to_bytes(), bytes);
        }
    }

    #[test]
    fn manifests_round_trip_and_name_each_want_once(files in prop::collection::vec(file(), 0..12)) {
        let manifest = manifest(files);
        let bytes = manifest.to_bytes();
        prop_assert_eq!(Manifest::from_bytes(&bytes), Ok(manifest.clone()));
        let wants = manifest.wants();
        let mut each = wants.clone();
        each.sort();
        each.dedup();
        prop_assert_eq!(each.len(), wants.len());
        let want = Want { id: ChunkId::of(&bytes), kind: WantKind::Manifest };
        prop_assert_eq!(want.children(&bytes), Ok(wants));
    }

    #[test]
    fn what_a_manifest_has_beyond_another_is_the_difference(
        one in prop::collection::vec(file(), 0..8),
        two in prop::collection::vec(file(), 0..8),
    ) {
        let (one, two) = (manifest(one), manifest(two));
        let ids = |m: &Manifest| -> BTreeSet<ChunkId> { m.wants().iter().map(|w| w.id).collect() };
        let beyond = two.beyond(&one, |_| None);
        let each: BTreeSet<ChunkId> = beyond.iter().copied().collect();
        prop_assert_eq!(each.len(), beyond.len());
        prop_assert_eq!(each, &ids(&two) - &ids(&one));
        prop_assert!(two.beyond(&two, |_| None).is_empty());
    }

    #[test]
    fn frontiers_round_trip(pairs in prop::collection::btree_map((any::<[u8; 32]>(), any::<[u8; 16]>()), any::<(u64, [u8; 8])>(), 0..20)) {
        let held: Vec<Held> = pairs
            .into_iter()
            .map(|((d, e), (s, tip))| Held {
                log: LogId { device: DeviceId(d), epoch: Epoch(e) },
                seq: Seq(s),
                tip,
            })
            .collect();
        let message = Message::Have(held.clone());
        prop_assert_eq!(Message::from_bytes(&message.to_bytes()), Ok(message));
        prop_assert_eq!(Frontier::of(&held).0.len(), held.len());
    }

    #[test]
    fn slot_names_are_safe_everywhere(text in "\\PC{0,70}") {
        if let Some(name) = SlotName::new(&text) {
            prop_assert!(name.as_str().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-'));
            prop_assert!(!name.as_str().is_empty());
        }
    }
}

#[test]
fn manifest_bounds_are_kept() {
    let base = || manifest(vec![(0, vec![(0, vec![10])]), (1, vec![])]);
    let check = |what: &str, change: &dyn Fn(&mut Manifest)| {
        let mut m = base();
        change(&mut m);
        let got = Manifest::from_bytes(&m.to_bytes());
        match got {
            Err(DecodeError::OutOfBounds(rule)) => assert_eq!(rule, what),
            other => panic!("{what}: {other:?}"),
        }
    };
    assert!(Manifest::from_bytes(&base().to_bytes()).is_ok());
    check("origins", &|m| m.origins.clear());
    check("path length", &|m| m.origins[0].home = "x".repeat(5000));
    check("project", &|m| m.project.remotes = vec![String::new(); 33]);
    check("order of slots", &|m| m.files.reverse());
    check("order of slots", &|m| m.files.push(m.files[1].clone()));
    check("origin index", &|m| m.files[0].segments[0].origin = 9);
    check("segment length", &|m| m.files[0].segments[0].len = 11);
    check("chunk length", &|m| m.files[0].segments[0].tail[0].len = 0);
    check("chunk length", &|m| {
        m.files[0].segments[0].tail[0].len = limits::CHUNK_BYTES_MAX as u32 + 1;
    });
    check("tail", &|m| {
        let one = m.files[0].segments[0].tail[0];
        m.files[0].segments[0].tail = vec![one; limits::LIST_REFS_MAX + 1];
    });
    check("segments", &|m| {
        let one = m.files[0].segments[0].clone();
        m.files[0].segments = vec![one; limits::SEGMENTS_MAX + 1];
    });
    check("file history version", &|m| {
        m.files.push(FileEntry {
            slot: Slot::FileHistory {
                path_hash: [0; 8],
                version: 10_000,
            },
            segments: vec![],
            modified: Timestamp(0),
        });
    });
    check("twin slots", &|m| {
        for name in ["ABC", "abc"] {
            m.files.push(FileEntry {
                slot: Slot::Plan(SlotName::new(name).unwrap()),
                segments: vec![],
                modified: Timestamp(0),
            });
        }
    });
    check("twin slots", &|m| {
        for name in ["session:A.x", "session:a.X"] {
            m.files.push(FileEntry {
                slot: Slot::Opaque(OpaqueName::new(name).unwrap()),
                segments: vec![],
                modified: Timestamp(0),
            });
        }
    });
    check("opaque files", &|m| {
        m.files.truncate(1);
        m.files
            .extend((0..=limits::OPAQUE_FILES_MAX).map(|n| FileEntry {
                slot: Slot::Opaque(OpaqueName::new(&format!("session:{n:04}")).unwrap()),
                segments: vec![],
                modified: Timestamp(0),
            }));
    });
    check("session length", &|m| {
        let page = ChunkId([1; 32]);
        m.files[0].segments[0].pages = vec![page; 20];
        m.files[0].segments[0].len = limits::SESSION_BYTES_MAX + 1;
    });
}

/// A label is no path on any system, in whole or in part.
#[test]
fn k_a01_labels_that_could_be_paths_are_refused() {
    for bad in [
        "",
        "session",
        "session:",
        ":x",
        "session::x",
        "session:.",
        "session:..",
        "session:..:x",
        "session:.git:config",
        "session:a/b",
        "/etc:passwd",
        "..:..:x",
        "C:\\x",
        "session:a b",
        "session:a\0",
        "session:é",
        "session:x\u{202e}txt",
        "session:a\nb",
        "a:b:c:d:e:f:g:h",
        &format!("session:{}", "x".repeat(limits::OPAQUE_NAME_BYTES_MAX)),
    ] {
        assert!(OpaqueName::new(bad).is_none(), "{bad:?}");
        // Nor in a manifest, where nobody went through the constructor.
        let mut m = manifest(vec![(0, vec![])]);
        m.files[0].slot =
            ccpeer_core::codec::decode(&ccpeer_core::codec::encode(&(9u8, bad)), 4096).unwrap();
        assert_eq!(
            Manifest::from_bytes(&m.to_bytes()),
            Err(DecodeError::OutOfBounds("slot name")),
            "{bad:?}"
        );
    }
    for good in [
        "session:x",
        "tasks:5.md",
        "session:workflows:run-1:state.json~0a1b",
    ] {
        assert_eq!(OpaqueName::new(good).unwrap().as_str(), good);
    }
}

#[test]
fn k_a01_unsafe_names_are_refused() {
    for bad in [
        "",
        ".",
        "..",
        "a/b",
        "a\\b",
        "a.b",
        "con",
        "NUL",
        "Com1",
        "lpt9",
        "a b",
        "a\0",
        "é",
        "a:b",
        "\u{202e}x",
        "conin",
        "x\n",
    ] {
        assert!(SlotName::new(bad).is_none(), "{bad:?}");
    }
    assert!(SlotName::new(&"x".repeat(65)).is_none());
    assert!(SlotName::new("agent-a1b2c3_4").is_some());
}

#[test]
fn an_entry_of_a_newer_ccpeer_is_kept_and_not_understood() {
    let key = SigningKey::from_bytes(&[3; 32]);
    let bytes = vec![ENTRY_VERSION + 1, 1, 2, 3];
    let header = Header {
        version: ENTRY_VERSION,
        log: LogId {
            device: device_of(&key),
            epoch: Epoch([1; 16]),
        },
        seq: Seq(1),
        prev: EntryHash::ZERO,
        lamport: 1,
        payload_hash: *blake3::hash(&bytes).as_bytes(),
        payload_len: bytes.len() as u32,
    };
    let entry = SignedEntry::sign(&header, bytes, &key).verify().unwrap();
    assert_eq!(entry.content(), &Content::Unknown);
    let mut newer = header.clone();
    newer.version = 9;
    let entry = SignedEntry::sign(&newer, vec![ENTRY_VERSION + 1, 1, 2, 3], &key);
    assert_eq!(
        entry.verify(),
        Err(EntryError::Header(DecodeError::Version(9)))
    );
    let mut first = header;
    first.seq = Seq(2);
    let entry = SignedEntry::sign(&first, vec![ENTRY_VERSION + 1, 1, 2, 3], &key);
    assert_eq!(entry.verify(), Err(EntryError::Chain));
}

#[test]
fn k_n02_messages_beyond_their_bounds_are_refused() {
    let log = LogId {
        device: DeviceId([1; 32]),
        epoch: Epoch([1; 16]),
    };
    let held = Held {
        log,
        seq: Seq(u64::MAX),
        tip: [0xff; limits::TIP_BYTES],
    };
    let have = Message::Have(vec![held; limits::FRONTIER_LOGS_MAX + 1]);
    assert_eq!(
        Message::from_bytes(&have.to_bytes()),
        Err(DecodeError::OutOfBounds("message"))
    );
    let full = Message::Have(vec![held; limits::FRONTIER_LOGS_MAX]);
    assert!(
        Message::from_bytes(&full.to_bytes()).is_ok(),
        "a full frontier fits a message"
    );
    assert!(Message::from_bytes(&Message::Entries(vec![]).to_bytes()).is_err());
    let hello = Message::Hello(Hello {
        incarnation: [0; 16],
        name: "x".repeat(2000),
        os: String::new(),
        version: String::new(),
    });
    assert!(Message::from_bytes(&hello.to_bytes()).is_err());
    assert_eq!(Message::from_bytes(&[9, 0]), Err(DecodeError::Version(9)));
    assert!(Message::from_bytes(&[]).is_err());
    assert!(Message::from_bytes(&vec![1; limits::MESSAGE_BYTES_MAX + 2]).is_err());
}

/// A page that is new brings what it refers to, but for what was there inline; one
/// that both have brings nothing.
#[test]
fn what_a_new_page_refers_to_is_beyond() {
    let chunk = |n: usize| ChunkRef {
        id: ChunkId::of(&n.to_le_bytes()),
        len: 10,
    };
    let refs = |from: usize| (from..from + LIST_REFS_MAX).map(chunk).collect();
    let page = |refs: Vec<ChunkRef>| ListPage {
        version: MANIFEST_VERSION,
        refs,
    };
    let (old, new) = (page(refs(0)), page(refs(LIST_REFS_MAX)));
    let id = |page: &ListPage| ChunkId::of(&page.to_bytes());
    let long = |pages: Vec<ChunkId>, tail: Vec<ChunkRef>| {
        let mut m = manifest(vec![(0, vec![(0, vec![10])])]);
        m.files[0].segments[0].pages = pages;
        m.files[0].segments[0].tail = tail;
        m
    };
    let last = 2 * LIST_REFS_MAX;
    let before = long(
        vec![id(&old)],
        (LIST_REFS_MAX..last - 2).map(chunk).collect(),
    );
    let after = long(vec![id(&old), id(&new)], vec![chunk(last)]);
    let beyond = after.beyond(&before, |asked| {
        assert_eq!(*asked, id(&new), "the other one is held");
        Some(new.clone())
    });
    let expected = [
        id(&new),
        chunk(last - 2).id,
        chunk(last - 1).id,
        chunk(last).id,
    ];
    assert_eq!(beyond, expected);
    // What is most like an append: the end of the main transcript.
    let ids = |chunks: &[usize]| -> Vec<ChunkId> { chunks.iter().map(|n| chunk(*n).id).collect() };
    assert_eq!(before.recent(25, 9), ids(&[last - 4, last - 3]));
    assert_eq!(before.recent(1, 9), ids(&[last - 3]), "one at least");
    assert_eq!(before.recent(1000, 1), ids(&[last - 3]));
}
