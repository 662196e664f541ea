//! Feeds the oracle of the same name; what it checks is said there.
#![no_main]

#[path = "../../crates/core/tests/fuzz/f02_entry.rs"]
mod f02_entry;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| f02_entry::check(bytes));
