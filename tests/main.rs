//! Everything that needs the whole program: one binary, linked once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests fail by panicking"
)]

#[cfg(unix)]
mod cli;
mod e2e;
mod form;
#[cfg(unix)]
mod hook;
#[cfg(unix)]
mod support;
