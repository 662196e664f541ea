//! Memory that holds keys and pairing secrets is not written to disk when a
//! process fails.

/// From now on this process leaves no core dump behind. Nothing is said where the
/// system knows no such bound: it is one protection of several.
pub fn forbid() {
    #[cfg(unix)]
    {
        use nix::sys::resource::{Resource, setrlimit};
        let _not_permitted = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    }
}
