//! Claude Code's own files: what they are called, what stands in them, and how
//! they are changed without being rewritten.
//!
//! Must not know where on this machine they lie.

pub mod compare;
pub mod directory;
pub mod hook;
pub mod join;
pub(crate) mod json;
pub mod layout;
mod partial;
pub mod registry;
pub mod retention;
pub mod rewrite;
pub mod settings;
pub mod shape;
pub mod slug;
pub mod tasks;
pub mod transcript;
