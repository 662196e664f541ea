//! The hand-off document of a session.
