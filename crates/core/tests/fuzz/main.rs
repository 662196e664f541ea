//! The core's fuzz oracles as ordinary tests: over the committed corpus, over
//! changed copies of it, and over inputs too large to be committed.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "helpers of tests"
)]

mod f01_frame;
mod f02_entry;
mod f10_text;
#[path = "../../../../fuzz/src/replay.rs"]
mod replay;
mod seeds;

#[test]
fn k_f01_messages() {
    replay::replay("f01_frame", &seeds::messages(), f01_frame::check);
    replay::mutate("f01_frame", 20_000, f01_frame::check);
}

#[test]
fn k_f01_entries() {
    replay::replay("f02_entry", &seeds::entries(), f02_entry::check);
    replay::mutate("f02_entry", 2_000, f02_entry::check);
}

#[test]
fn k_f01_shown_text() {
    replay::replay("f10_text", &seeds::texts(), f10_text::check);
    replay::mutate("f10_text", 10_000, f10_text::check);
}

#[test]
fn k_n03_floods_and_depth_are_refused() {
    replay::monsters(f01_frame::check);
    replay::monsters(f02_entry::check);
    replay::monsters(f10_text::check);
}

/// A second spelling of what is otherwise right.
#[test]
fn k_n04_second_spellings_are_refused() {
    use ccpeer_core::wire::Message;
    for (name, bytes) in seeds::messages() {
        let is_good = Message::from_bytes(&bytes).is_ok();
        assert_eq!(is_good, name.starts_with("good"), "{name}");
        if !is_good {
            continue;
        }
        for extra in [0u8, 1, 0x80] {
            let trailing = [bytes.as_slice(), &[extra]].concat();
            assert!(Message::from_bytes(&trailing).is_err(), "{name}");
        }
        // Each byte that could be the end of a number, spelled longer.
        for at in 1..bytes.len().min(200) {
            let mut longer = bytes.clone();
            longer[at] |= 0x80;
            longer.insert(at + 1, 0);
            if let Ok(other) = Message::from_bytes(&longer) {
                assert_eq!(other.to_bytes(), longer, "{name}: one spelling each");
                assert_ne!(other, Message::from_bytes(&bytes).unwrap(), "{name} {at}");
            }
        }
    }
}
