//! Feeds the oracle of the same name; what it checks is said there.
#![no_main]

#[path = "../../crates/core/tests/fuzz/f01_frame.rs"]
mod f01_frame;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| f01_frame::check(bytes));
