//! Feeds the oracle of the same name; what it checks is said there.
#![no_main]

#[path = "../../crates/formats/tests/fuzz/f14_bundle.rs"]
mod f14_bundle;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| f14_bundle::check(bytes));
