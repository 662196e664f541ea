//! A time as it is typed: how long ago, a day, or RFC 3339 in UTC.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::table;

/// A stretch of time, in seconds since 1970: a moment, or a whole day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct When {
    /// Its first second.
    pub(crate) begin: u64,
    /// Its last.
    pub(crate) end: u64,
}

const DAY: u64 = 86_400;

/// Reads one. For clap, which says what was typed.
pub(crate) fn parse(text: &str) -> Result<When, String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    parse_at(text, now.map_or(0, |d| d.as_secs())).ok_or_else(|| {
        "give `30min`, `2h`, `3d`, `2w`, `2026-11-20` or an RFC 3339 time".to_owned()
    })
}

fn parse_at(text: &str, now: u64) -> Option<When> {
    let moment = |seconds: u64| When {
        begin: seconds,
        end: seconds,
    };
    let text = text.trim();
    if text.len() == "2026-11-20".len()
        && let Some(begin) = seconds(&format!("{text}T00:00:00Z"))
    {
        let end = begin + DAY - 1;
        return Some(When { begin, end });
    }
    if let Some(seconds) = seconds(&text.to_uppercase()) {
        return Some(moment(seconds));
    }
    Some(moment(now.saturating_sub(stretch(text)?)))
}

/// A stretch of time in seconds: `90s`, `30min`, `2h`.
pub(crate) fn stretch(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(digits)?;
    let unit = match unit.trim() {
        "s" => 1,
        "m" | "min" => 60,
        "h" => 3_600,
        "d" => DAY,
        "w" => 7 * DAY,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

fn seconds(rfc3339: &str) -> Option<u64> {
    let part = |from: usize, to: usize| rfc3339.get(from..to)?.parse::<u32>().ok();
    if !(1..=12).contains(&part(5, 7)?) || !(1..=31).contains(&part(8, 10)?) {
        return None;
    }
    table::seconds_of(rfc3339).and_then(|s| s.try_into().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_days_and_times() {
        let now = 1_795_220_225;
        let check = |text: &str, want: Option<(u64, u64)>| {
            let got = parse_at(text, now).map(|w| (w.begin, w.end));
            assert_eq!(got, want, "{text}");
        };
        check("2h", Some((now - 7200, now - 7200)));
        check("3 d", Some((now - 3 * DAY, now - 3 * DAY)));
        check("1970-01-02", Some((DAY, 2 * DAY - 1)));
        check("1970-01-01t00:01:00z", Some((60, 60)));
        for bad in [
            "",
            "d",
            "3",
            "3y",
            "-3d",
            "yesterday",
            "2026-13-45",
            "2026-11-32T00:00:00Z",
            "99999999999999999999d",
            "日",
        ] {
            check(bad, None);
        }
    }
}
