//! Feeds the oracle of the same name; what it checks is said there.
#![no_main]

#[path = "../../crates/formats/tests/fuzz/f13_transcript.rs"]
mod f13_transcript;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| f13_transcript::check(bytes));
