//! Paths of one machine into those of another, by splicing.
