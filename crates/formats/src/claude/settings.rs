//! Our hooks in `settings.json`, by splicing.
