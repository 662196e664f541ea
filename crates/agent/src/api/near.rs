//! The local protocol's words for the devices around: what two people compare,
//! and what the network tells. Part of [`super`], told apart because it is long.

use serde::{Deserialize, Serialize};

use super::DeviceName;

/// One row of `devices --verify`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Safety {
    /// With whom.
    pub device: DeviceName,
    /// Sixty digits in groups of five, the same on both devices.
    pub number: String,
}
