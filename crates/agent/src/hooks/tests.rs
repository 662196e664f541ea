//! Install, remove and install again over everything that a settings file can be.
use super::*;
