//! Days as the ledger counts them: those in China (UTC+8, no summer time), written `2026-03-01`.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::Offset;

const CHINA: Offset = Offset::constant(8);

/// A text that is no day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a day in China, as in 2026-03-01")]
pub struct DayError;

/// When a day begins in China, ms since the Unix epoch.
///
/// # Errors
/// [`DayError`] when the text is not a day of the form `2026-03-01`.
pub fn begins_ms(day: &str) -> Result<i64, DayError> {
    start_of(parse(day)?)
}

/// When a day is over in China: the first ms that is not part of it, since the Unix epoch.
///
/// # Errors
/// [`DayError`] when the text is not a day of the form `2026-03-01`.
pub fn ends_ms(day: &str) -> Result<i64, DayError> {
    start_of(parse(day)?.tomorrow().map_err(|_| DayError)?)
}

fn parse(day: &str) -> Result<Date, DayError> {
    // jiff reads more forms than one; there should be one way to write a day.
    let date: Date = day.parse().map_err(|_| DayError)?;
    if date.to_string() == day && date.year() >= 1970 { Ok(date) } else { Err(DayError) }
}

fn start_of(date: Date) -> Result<i64, DayError> {
    CHINA.to_timestamp(date.at(0, 0, 0, 0)).map(Timestamp::as_millisecond).map_err(|_| DayError)
}

/// Date and time in China at `at_ms` since the Unix epoch; the last there is for what no calendar holds.
pub fn in_china(at_ms: i64) -> DateTime {
    CHINA.to_datetime(Timestamp::from_millisecond(at_ms).unwrap_or(Timestamp::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_in_china_begins_eight_hours_before_that_in_greenwich() {
        assert_eq!(begins_ms("2026-03-01"), Ok(1_772_294_400_000));
        assert_eq!(ends_ms("2026-02-28"), begins_ms("2026-03-01"));
        assert_eq!(in_china(1_772_294_399_999).to_string(), "2026-02-28T23:59:59.999");
        assert_eq!(in_china(1_772_294_400_000).strftime("%Y-%m-%d %H:%M:%S").to_string(), "2026-03-01 00:00:00");
    }

    #[test]
    fn what_is_no_day() {
        for text in
            ["", "2026-3-1", "20260301", "2026-02-30", "2026-03-01T00:00:00", "+002026-03-01", "1969-12-31", "x"]
        {
            assert_eq!(begins_ms(text), Err(DayError), "{text}");
        }
        assert!(ends_ms("9999-12-31").is_err());
    }
}
