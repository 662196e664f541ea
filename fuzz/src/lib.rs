//! What the tests of the oracles share. The oracles themselves lie beside the
//! code that they judge, in `crates/*/tests/fuzz`.

#[expect(dead_code, reason = "for ordinary tests, which include it")]
mod replay;
