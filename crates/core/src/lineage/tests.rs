//! Lineage: heads, forks and joins in any order of arrival.

use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::entry::SessionMeta;
use crate::id::{Epoch, SessionId};

fn log(device: u8) -> LogId {
    LogId {
        device: DeviceId([device; 32]),
        epoch: Epoch([0; 16]),
    }
}

fn order(lamport: u64, device: u8) -> Order {
    Order {
        lamport,
        log: log(device),
        seq: Seq(lamport),
    }
}

fn node(id: u8, lamport: u64, parents: &[u8]) -> VersionNode {
    VersionNode {
        id: EntryHash([id; 32]),
        log: log(1),
        seq: Seq(lamport),
        lamport,
        at: Timestamp(0),
        version: Version {
            session: SessionId([1; 16]),
            parents: parents.iter().map(|p| EntryHash([*p; 32])).collect(),
            derived_from: None,
            manifest: None,
            snapshot: None,
            state: SessionState::Idle,
            meta: SessionMeta::default(),
        },
    }
}

fn heads(record: &SessionRecord) -> Vec<u8> {
    record.heads().iter().map(|n| n.id.0[0]).collect()
}

#[test]
fn a_fork_lives_until_a_version_joins_it() {
    let mut record = SessionRecord::default();
    assert!(record.latest().is_none());
    record.add_version(node(1, 1, &[]));
    record.add_version(node(2, 2, &[1]));
    record.add_version(node(3, 3, &[1]));
    assert_eq!(heads(&record), [2, 3]);
    record.add_version(node(4, 4, &[2]));
    assert_eq!(heads(&record), [3, 4], "the newest stands last");
    record.add_version(node(5, 5, &[4, 3]));
    assert_eq!(heads(&record), [5]);
    assert_eq!(record.nodes().count(), 5);
    let id = |n: u8| EntryHash([n; 32]);
    assert!(record.is_ancestor(&id(1), &id(5)));
    assert!(record.is_ancestor(&id(3), &id(5)));
    assert!(!record.is_ancestor(&id(5), &id(1)));
    assert!(!record.is_ancestor(&id(3), &id(4)));
    assert!(!record.is_ancestor(&id(4), &id(4)));
}

#[test]
fn a_version_waits_for_its_parents() {
    let mut record = SessionRecord::default();
    record.add_version(node(3, 3, &[2]));
    assert_eq!(heads(&record), [3]);
    record.add_version(node(1, 1, &[]));
    assert_eq!(heads(&record), [1, 3], "what joins them is not known yet");
    record.add_version(node(2, 2, &[1]));
    assert_eq!(heads(&record), [3]);
}

#[test]
fn the_newest_word_about_a_state_wins_whenever_it_comes() {
    let live = Presence {
        session: SessionId([1; 16]),
        state: SessionState::Live,
    };
    let gone = Presence {
        session: SessionId([1; 16]),
        state: SessionState::Interrupted,
    };
    let mut record = SessionRecord::default();
    record.add_presence(order(7, 2), &gone, Timestamp(1));
    record.add_presence(order(6, 2), &live, Timestamp(9));
    record.add_presence(order(5, 3), &live, Timestamp(9));
    assert_eq!(
        record.state(),
        Some((DeviceId([2; 32]), SessionState::Interrupted, Timestamp(1)))
    );
    assert_eq!(
        record.state_on(&DeviceId([3; 32])),
        Some((SessionState::Live, Timestamp(9)))
    );
    assert_eq!(record.state_on(&DeviceId([4; 32])), None);
}

#[test]
fn a_device_that_lost_its_files_speaks_only_for_itself() {
    let say = |state| Presence {
        session: SessionId([1; 16]),
        state,
    };
    let mut record = SessionRecord::default();
    record.add_presence(order(1, 2), &say(SessionState::Interrupted), Timestamp(1));
    record.add_presence(order(2, 3), &say(SessionState::Archived), Timestamp(2));
    let stands = |r: &SessionRecord| r.state().map(|(_, state, _)| state);
    assert_eq!(stands(&record), Some(SessionState::Interrupted));
    record.add_presence(order(3, 2), &say(SessionState::Archived), Timestamp(3));
    assert_eq!(stands(&record), Some(SessionState::Archived));
}

#[test]
fn a_mark_holds_until_somebody_works_on() {
    let session = SessionId([1; 16]);
    let mut record = SessionRecord::default();
    record.add_version(node(1, 1, &[]));
    assert!(!record.done());
    record.add_mark(
        order(2, 1),
        &Mark {
            session,
            done: true,
        },
    );
    assert!(record.done());
    let ended = SessionState::Ended(crate::presence::EndReason::PromptExit);
    record.add_presence(
        order(3, 1),
        &Presence {
            session,
            state: ended,
        },
        Timestamp(0),
    );
    assert!(record.done(), "an end takes nothing back");
    record.add_presence(
        order(4, 2),
        &Presence {
            session,
            state: SessionState::Live,
        },
        Timestamp(0),
    );
    assert!(!record.done());
    record.add_mark(
        order(5, 1),
        &Mark {
            session,
            done: true,
        },
    );
    assert!(record.done());
    record.add_version(node(2, 6, &[1]));
    assert!(!record.done());
    record.add_mark(
        order(7, 1),
        &Mark {
            session,
            done: true,
        },
    );
    record.add_mark(
        order(8, 2),
        &Mark {
            session,
            done: false,
        },
    );
    assert!(!record.done());
}

proptest! {
    /// Whatever is said again of whatever: somebody's line is always there.
    #[test]
    fn some_line_stays(
        parents in prop::collection::vec(prop::collection::vec(0..9usize, 0..3), 1..9),
        contents in prop::collection::vec(1..4u8, 9),
    ) {
        let mut record = SessionRecord::default();
        for (i, of) in parents.iter().enumerate() {
            let mut of: Vec<u8> = of.iter().filter(|p| **p < i).map(|p| *p as u8 + 1).collect();
            of.sort_unstable();
            of.dedup();
            record.add_version(content(node(i as u8 + 1, i as u64 + 1, &of), contents[i]));
        }
        prop_assert!(!record.lines().is_empty());
    }

    /// S7: whatever comes first, the same record stands in the end, and its
    /// heads are exactly the versions that nothing grew from.
    #[test]
    fn heads_do_not_depend_on_the_order_of_arrival(
        parents in prop::collection::vec(prop::collection::vec(any::<prop::sample::Index>(), 0..3), 1..24),
        shuffle in any::<u64>(),
    ) {
        let mut nodes = vec![];
        for (i, picks) in parents.iter().enumerate() {
            let mut of: Vec<u8> = if i == 0 { vec![] } else {
                picks.iter().map(|p| p.index(i) as u8 + 1).collect()
            };
            of.sort_unstable();
            of.dedup();
            nodes.push(node(i as u8 + 1, i as u64 + 1, &of));
        }
        let mut in_order = SessionRecord::default();
        nodes.iter().cloned().for_each(|n| in_order.add_version(n));
        let mut shuffled = nodes.clone();
        let mut state = shuffle;
        for i in (1..shuffled.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            shuffled.swap(i, (state >> 33) as usize % (i + 1));
        }
        let mut other = SessionRecord::default();
        shuffled.into_iter().for_each(|n| other.add_version(n));
        prop_assert_eq!(&in_order, &other);
        let want: Vec<u8> = nodes
            .iter()
            .filter(|n| !nodes.iter().any(|m| m.version.parents.contains(&n.id)))
            .map(|n| n.id.0[0])
            .collect();
        prop_assert_eq!(heads(&in_order), want);
        for a in &nodes {
            for b in &nodes {
                if in_order.is_ancestor(&a.id, &b.id) {
                    prop_assert!(a.lamport < b.lamport);
                }
            }
        }
    }
}

fn content(node: VersionNode, manifest: u8) -> VersionNode {
    VersionNode {
        version: Version {
            manifest: Some(crate::entry::ContentRef {
                id: crate::id::ChunkId([manifest; 32]),
                len: 1,
            }),
            ..node.version
        },
        ..node
    }
}

fn lines(record: &SessionRecord) -> Vec<u8> {
    record.lines().iter().map(|n| n.id.0[0]).collect()
}

#[test]
fn what_others_went_on_from_is_no_line_when_it_is_said_again() {
    let mut record = SessionRecord::default();
    record.add_version(content(node(1, 1, &[]), 10));
    // A salvaged store begins a new log, and says again what it still holds.
    record.add_version(content(node(2, 2, &[1]), 10));
    assert_eq!(lines(&record), [2]);
    // What it had said since comes back from a peer, is said again, and goes on.
    record.add_version(content(node(3, 2, &[1]), 20));
    assert_eq!(lines(&record), [3], "whatever clock it has");
    record.add_version(content(node(4, 3, &[3]), 20));
    record.add_version(content(node(5, 4, &[4]), 30));
    assert_eq!(heads(&record), [2, 5]);
    assert_eq!(lines(&record), [5]);
    // Two that say the same again: one of them stays.
    let mut twice = SessionRecord::default();
    twice.add_version(content(node(1, 1, &[]), 10));
    twice.add_version(content(node(2, 2, &[1]), 10));
    twice.add_version(content(node(3, 3, &[1]), 10));
    assert_eq!(lines(&twice), [3]);
    // What went back to the first content did something.
    let mut back = SessionRecord::default();
    back.add_version(content(node(1, 1, &[]), 10));
    back.add_version(content(node(2, 2, &[1]), 20));
    back.add_version(content(node(3, 3, &[2]), 10));
    back.add_version(content(node(4, 3, &[2]), 20));
    assert_eq!(lines(&back), [3]);
    back.add_version(content(node(5, 4, &[1]), 40));
    assert_eq!(lines(&back), [3, 5]);
}

#[test]
fn the_same_said_again_is_no_line_of_its_own() {
    let mut record = SessionRecord::default();
    record.add_version(content(node(1, 1, &[]), 10));
    // Said by the old log, and again by the new one of a restored device.
    record.add_version(content(node(2, 2, &[1]), 20));
    record.add_version(content(node(3, 3, &[1]), 20));
    assert_eq!(record.heads().len(), 2);
    assert_eq!(lines(&record), [3]);
    record.add_version(content(node(4, 4, &[3]), 30));
    assert_eq!(lines(&record), [4]);
    // A line that goes back to what it was is still one.
    record.add_version(content(node(5, 5, &[4]), 20));
    assert_eq!(lines(&record), [5]);
    // Other content is another line.
    record.add_version(content(node(6, 6, &[1]), 40));
    assert_eq!(lines(&record), [5, 6]);
}
