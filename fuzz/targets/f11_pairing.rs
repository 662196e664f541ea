//! Feeds the oracle of the same name; what it checks is said there.
#![no_main]

#[path = "../../crates/net/tests/fuzz/f11_pairing.rs"]
mod f11_pairing;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| f11_pairing::check(bytes));
