//! The one place that asks the system for randomness.

/// Why there is none.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the system has no randomness to give")]
pub(crate) struct NoRandomness;

/// Fresh random bytes.
pub(crate) fn bytes<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut out = [0u8; N];
    getrandom::fill(&mut out).map_err(|_| NoRandomness)?;
    Ok(out)
}
