//! Feeds the oracle of the same name; what it checks is said there.
#![no_main]

#[path = "../../crates/agent/tests/fuzz/f09_spool.rs"]
mod f09_spool;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| f09_spool::check(bytes));
