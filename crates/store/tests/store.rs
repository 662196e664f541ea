//! Tests of the store through its door. One binary; its rooms are beside it.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of tests; clippy takes only test functions for tests"
)]

#[path = "store/ages.rs"]
mod ages;
#[path = "store/basics.rs"]
mod basics;
#[path = "store/bench.rs"]
mod bench;
#[path = "store/collect.rs"]
mod collect;
#[path = "store/compact.rs"]
mod compact;
#[path = "store/crash.rs"]
mod crash;
#[path = "store/damage.rs"]
mod damage;
#[path = "store/every_fault.rs"]
mod every_fault;
#[path = "store/faults.rs"]
mod faults;
#[path = "store/fixture.rs"]
mod fixture;
#[path = "store/kinds.rs"]
mod kinds;
#[path = "store/workload.rs"]
mod workload;
