//! Feeds the oracle of the same name; what it checks is said there.
#![no_main]

#[path = "../../crates/formats/tests/fuzz/f03_manifest.rs"]
mod f03_manifest;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| f03_manifest::check(bytes));
