//! What is written to wire and disk: golden vectors and properties of the
//! codecs, through the public doors of the crate only.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod properties;
mod vectors;
