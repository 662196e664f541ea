//! Which local directory is the project of a session from elsewhere.
