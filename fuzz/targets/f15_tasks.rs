//! Feeds the oracle of the same name; what it checks is said there.
#![no_main]

#[path = "../../crates/formats/tests/fuzz/f15_tasks.rs"]
mod f15_tasks;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| f15_tasks::check(bytes));
