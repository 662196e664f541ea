//! Paths of another machine, as text with a flavour.
