//! Days in China: a document is in force from a day until a day, there.

use jiff::Span;
use jiff::civil::{Date, date};

/// China has one time, eight hours ahead of UTC, all year.
const AHEAD_OF_UTC_MS: i64 = 8 * 3_600_000;
const DAY_MS: i64 = 86_400_000;

/// The date in China at `at_ms` (ms since the Unix epoch). Before year −9999 and after 9999 it is the last there is.
pub fn date_in_china(at_ms: i64) -> Date {
    let days = at_ms.saturating_add(AHEAD_OF_UTC_MS).div_euclid(DAY_MS);
    let end = if days < 0 { Date::MIN } else { Date::MAX };
    let span = Span::new().try_days(days);
    span.and_then(|span| date(1970, 1, 1).checked_add(span)).unwrap_or(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_day_begins_at_midnight_in_china() {
        // 2026-02-28 16:00 UTC is midnight there.
        assert_eq!(date_in_china(1_772_294_400_000), date(2026, 3, 1));
        assert_eq!(date_in_china(1_772_294_399_999), date(2026, 2, 28));
        assert_eq!(date_in_china(0), date(1970, 1, 1));
        assert_eq!(date_in_china(-AHEAD_OF_UTC_MS - 1), date(1969, 12, 31));
    }

    #[test]
    fn no_time_is_too_far_away() {
        assert_eq!(date_in_china(i64::MAX), Date::MAX);
        assert_eq!(date_in_china(i64::MIN), Date::MIN);
    }
}
