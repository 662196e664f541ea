//! How long Claude Code keeps a session: `cleanupPeriodDays` of its settings.
//!
//! It deletes transcripts whose file was not changed for that long, some seconds
//! after a start. Must not know which files there are. Source: Claude Code
//! 2.1.54 to 2.1.329.

use super::json;

/// What it is where nobody has set it.
pub const DEFAULT_DAYS: u64 = 30;

/// The setting, if these settings have one that makes sense.
#[must_use]
pub fn cleanup_days(settings: &[u8]) -> Option<u64> {
    let text = json::decoded(settings);
    let [days] = json::pick(&text, &["cleanupPeriodDays"])?;
    json::number(days).filter(|days| *days > 0)
}

#[cfg(test)]
mod tests {
    use super::cleanup_days;

    #[test]
    fn only_a_number_of_days_counts() {
        let check = |settings: &str, want| assert_eq!(cleanup_days(settings.as_bytes()), want);
        check(r#"{"cleanupPeriodDays":14,"hooks":{}}"#, Some(14));
        check("\u{feff}{ \"cleanupPeriodDays\" : 99999 }", Some(99_999));
        check(r#"{"cleanupPeriodDays":0}"#, None);
        check(r#"{"cleanupPeriodDays":-3}"#, None);
        check(r#"{"cleanupPeriodDays":"20"}"#, Some(20));
        check(r#"{"cleanupPeriodDays":null}"#, None);
        check(r#"{"other":{"cleanupPeriodDays":3}}"#, None);
        check("", None);
        check("[1]", None);
    }
}
