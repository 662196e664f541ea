//! Which files belong to a session.
