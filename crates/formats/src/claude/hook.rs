//! What Claude Code tells a hook.
