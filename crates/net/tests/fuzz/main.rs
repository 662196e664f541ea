//! The fuzz oracles of what strangers can send, as ordinary tests: over the
//! committed corpus, over changed copies of it, and over inputs too large to be
//! committed.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "helpers of tests"
)]

mod f08_record;
mod f11_pairing;
#[path = "../../../../fuzz/src/replay.rs"]
mod replay;
mod seeds;

#[test]
fn k_f01_records() {
    replay::replay("f08_record", &seeds::records(), f08_record::check);
    replay::mutate("f08_record", 20_000, f08_record::check);
}

#[test]
fn k_f01_pairing_messages() {
    replay::replay("f11_pairing", &seeds::messages(), f11_pairing::check);
    replay::mutate("f11_pairing", 2_000, f11_pairing::check);
}

#[test]
fn k_n03_floods_and_depth_from_strangers() {
    replay::monsters(f08_record::check);
    replay::monsters(f11_pairing::check);
}
