//! Tests of the hand-off files.
