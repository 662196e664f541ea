//! What the bench must do in every run of the tests.
