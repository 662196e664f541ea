//! Feeds the oracle of the same name; what it checks is said there.
#![no_main]

#[path = "../../crates/net/tests/fuzz/f08_record.rs"]
mod f08_record;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| f08_record::check(bytes));
