//! Disk work, where it may block.

/// Runs work that may block, off the async threads. A panic in it ends the
/// caller too: whatever it was writing is in an unknown state.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(e) if e.is_panic() => std::panic::resume_unwind(e.into_panic()),
        Err(e) => unreachable!("blocking work is never cancelled: {e}"),
    }
}
