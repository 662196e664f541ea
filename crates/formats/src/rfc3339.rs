//! Points in time as Claude Code writes them: `2026-11-20T22:33:10.278Z`.
//!
//! Must not know what time it is. What is read here is a label of somebody's
//! wall clock and never an order.

const DAY_MS: u64 = 86_400_000;
/// The last millisecond that has a year of four digits.
const LAST_MS: u64 = 253_402_300_799_999;

/// Milliseconds since 1970; nothing if the text is no RFC 3339 date and time or
/// lies before.
#[must_use]
pub fn to_ms(text: &str) -> Option<u64> {
    let digits = |from: usize, to: usize| -> Option<u64> {
        let part = text.get(from..to)?;
        part.bytes()
            .all(|c| c.is_ascii_digit())
            .then(|| part.parse().ok())?
    };
    let is = |at: usize, any: &str| {
        text.as_bytes()
            .get(at)
            .is_some_and(|c| any.contains(char::from(*c)))
    };
    let shape = is(4, "-") && is(7, "-") && is(10, "Tt ") && is(13, ":") && is(16, ":");
    let (year, month, day) = (digits(0, 4)?, digits(5, 7)?, digits(8, 10)?);
    let (hour, minute, second) = (digits(11, 13)?, digits(14, 16)?, digits(17, 19)?);
    // A leap second is read as the second after it.
    let valid = (1..=12).contains(&month)
        && (1..=days_in(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    if !shape || !valid {
        return None;
    }
    let (fraction_ms, zone) = match text.get(19..)?.strip_prefix('.') {
        None => (0, text.get(19..)?),
        Some(rest) => {
            let end = rest.find(|c: char| !c.is_ascii_digit())?;
            let (fraction, zone) = (rest.get(..end)?, rest.get(end..)?);
            let three: String = fraction.chars().chain("000".chars()).take(3).collect();
            ((!fraction.is_empty()).then(|| three.parse().ok())??, zone)
        }
    };
    let time_ms = ((hour * 60 + minute) * 60 + second) * 1000 + fraction_ms;
    let ms = days_before(year, month, day)?
        .checked_mul(DAY_MS)?
        .checked_add(time_ms)?;
    ms.checked_add_signed(-offset_ms(zone)?)
}

/// The text form in UTC with milliseconds. What lies after the year 9999 is
/// shown as its end.
#[must_use]
pub fn from_ms(ms: u64) -> String {
    let ms = ms.min(LAST_MS);
    let (year, month, day) = civil(ms / DAY_MS);
    let second = ms / 1000;
    // By hand: lists have tens of thousands of these.
    let mut text = String::with_capacity("0000-00-00T00:00:00.000Z".len());
    let parts = [
        (year, 1000, '-'),
        (month, 10, '-'),
        (day, 10, 'T'),
        (second / 3600 % 24, 10, ':'),
        (second / 60 % 60, 10, ':'),
        (second % 60, 10, '.'),
        (ms % 1000, 100, 'Z'),
    ];
    for (number, mut place, behind) in parts {
        while place > 0 {
            let digit = u32::try_from(number / place % 10).unwrap_or(0);
            text.push(char::from_digit(digit, 10).unwrap_or('0'));
            place /= 10;
        }
        text.push(behind);
    }
    text
}

/// `Z`, `+02:00`, `-0530` as milliseconds ahead of UTC.
fn offset_ms(zone: &str) -> Option<i64> {
    if matches!(zone, "Z" | "z") {
        return Some(0);
    }
    let sign = match zone.get(..1)? {
        "+" => 1,
        "-" => -1,
        _ => return None,
    };
    let hours: i64 = zone.get(1..3)?.parse().ok()?;
    let minutes: i64 = zone.get(3..)?.trim_start_matches(':').parse().ok()?;
    (hours < 24 && (0..60).contains(&minutes)).then_some(sign * (hours * 60 + minutes) * 60_000)
}

fn is_leap(year: u64) -> bool {
    (year.is_multiple_of(4) && !year.is_multiple_of(100)) || year.is_multiple_of(400)
}

fn days_in(year: u64, month: u64) -> u64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 => 28 + u64::from(is_leap(year)),
        _ => 31,
    }
}

/// Days from 1970-01-01 to a date; nothing before that.
fn days_before(year: u64, month: u64, day: u64) -> Option<u64> {
    // Days up to the start of a year, counted from year 0 (a leap year).
    let start = |y: u64| y * 365 + y.div_ceil(4) - y.div_ceil(100) + y.div_ceil(400);
    let in_year: u64 = (1..month).map(|m| days_in(year, m)).sum::<u64>() + day - 1;
    (start(year) + in_year).checked_sub(start(1970))
}

/// Year, month and day that many days after 1970-01-01.
fn civil(days: u64) -> (u64, u64, u64) {
    // Never too late, and at most one year early.
    let mut year = 1970 + days / 366;
    while days_before(year + 1, 1, 1).is_some_and(|start| start <= days) {
        year += 1;
    }
    let mut rest = days - days_before(year, 1, 1).unwrap_or(0);
    let mut month = 1;
    while month < 12 && rest >= days_in(year, month) {
        rest -= days_in(year, month);
        month += 1;
    }
    (year, month, rest + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_points() {
        let check = |text: &str, ms: u64| {
            assert_eq!(to_ms(text), Some(ms), "{text}");
            assert_eq!(from_ms(ms), text);
        };
        check("1970-01-01T00:00:00.000Z", 0);
        check("2000-02-29T12:00:00.001Z", 951_825_600_001);
        check("2026-11-20T22:33:10.278Z", 1_795_213_990_278);
        check("9999-12-31T23:59:59.999Z", LAST_MS);
        assert_eq!(from_ms(u64::MAX), from_ms(LAST_MS));
    }

    #[test]
    fn other_spellings_and_refusals() {
        let want = to_ms("2026-11-20T22:33:10.000Z");
        for same in [
            "2026-11-20T22:33:10Z",
            "2026-11-20t22:33:10.0000009z",
            "2026-11-20 23:33:10+01:00",
            "2026-11-20T17:03:10-05:30",
        ] {
            assert_eq!(to_ms(same), want, "{same}");
        }
        for bad in [
            "",
            "2026-11-20",
            "2026-13-20T22:33:10Z",
            "2026-02-29T22:33:10Z",
            "2026-11-20T22:33:10",
            "2026-11-20T22:33:10.Z",
            "2026-11-20T22:33:10+aa:00",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00+01:00",
            "２026-11-20T22:33:10Z",
            "2026-11-20T22:33:1é",
        ] {
            assert_eq!(to_ms(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn both_ways(ms in 0..=LAST_MS) {
            prop_assert_eq!(to_ms(&from_ms(ms)), Some(ms));
        }

        #[test]
        fn no_text_is_fatal(text in "\\PC{0,40}") {
            let _ = to_ms(&text);
        }
    }
}
