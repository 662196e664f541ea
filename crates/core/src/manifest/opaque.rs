//! The label of a file whose kind this ccpeer does not know.
//!
//! It is for people, and for a later ccpeer that knows the kind. Nothing here or
//! elsewhere turns it into a path: its parts are held apart by colons and not by
//! slashes, and no part begins with a dot, so that even a mistake leads nowhere.

use alloc::string::String;

use serde::{Deserialize, Serialize};

use crate::limits;

/// A label: two or more parts of `[A-Za-z0-9._~-]`, none beginning with a dot,
/// held apart by colons. The first says in which place of the session the file
/// lay.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OpaqueName(String);

impl OpaqueName {
    /// Accepts a label.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let parts = text.split(':').count();
        let whole = text.len() <= limits::OPAQUE_NAME_BYTES_MAX
            && (2..=limits::OPAQUE_DEPTH_MAX + 3).contains(&parts);
        (whole && text.split(':').all(is_part)).then(|| Self(text.into()))
    }

    /// The label.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn is_sound(&self) -> bool {
        Self::new(&self.0).is_some()
    }

    /// In one case, to find twins.
    pub(super) fn folded(&self) -> Self {
        Self(self.0.to_ascii_lowercase())
    }
}

fn is_part(part: &str) -> bool {
    let fits = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'~' | b'-');
    !part.is_empty() && !part.starts_with('.') && part.bytes().all(fits)
}
