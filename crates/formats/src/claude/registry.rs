//! The list of live sessions that Claude Code keeps.
