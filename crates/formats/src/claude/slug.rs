//! The name that Claude Code gives a project's directory.
