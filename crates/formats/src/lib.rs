//! What others write: Claude Code's files, hooks and settings, git's remotes,
//! the paths of other machines, and the files of programs like this one. Bytes in, values out.
//!
//! Nothing in here opens a file, asks the environment or starts a process: it
//! must not know `std::fs`, `std::path`, `std::env` or `std::process`. Input is
//! foreign and may be hostile; it is read leniently and never makes us panic.
//! Messages carry positions, never content.
#![warn(missing_docs)]

mod bounded;
pub mod bundle_v1;
pub mod capsule;
pub mod claude;
pub mod project;
pub mod remote_path;
pub mod rfc3339;
pub mod secrets;
pub mod snapshot;
pub mod tasks_md;
