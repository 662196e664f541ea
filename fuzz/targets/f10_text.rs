//! Feeds the oracle of the same name; what it checks is said there.
#![no_main]

#[path = "../../crates/core/tests/fuzz/f10_text.rs"]
mod f10_text;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| f10_text::check(bytes));
