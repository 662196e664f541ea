//! Tests of the store through its door. One binary; its rooms are beside it.

#[path = "store/basics.rs"]
mod basics;
#[path = "store/fixture.rs"]
mod fixture;
