//! Feeds the oracle of the same name; what it checks is said there.
#![no_main]

#[path = "../../crates/formats/tests/fuzz/f05_rewrite.rs"]
mod f05_rewrite;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| f05_rewrite::check(bytes));
