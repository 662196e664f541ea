//! Feeds the oracle of the same name; what it checks is said there.
#![no_main]

#[path = "../../crates/formats/tests/fuzz/f04_hook.rs"]
mod f04_hook;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| f04_hook::check(bytes));
