//! Feeds the oracle of the same name; what it checks is said there.
#![no_main]

#[path = "../../crates/formats/tests/fuzz/f06_settings.rs"]
mod f06_settings;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| f06_settings::check(bytes));
