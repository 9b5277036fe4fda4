//! Whether values make sense: lengths and ranges, with every wrong field named, not only the first.
//!
//! What has the wrong shape was refused before, in `extract.rs`.

use std::ops::RangeInclusive;

use jiff::civil::Date;

use super::problem::{FieldProblem, Problem};

/// Longest name, title or label, in characters.
pub const NAME_CHARS: usize = 200;
/// Longest reason, in characters.
pub const REASON_CHARS: usize = 1_000;
/// Wrong fields that one answer names; who has more gets the rest the next time.
const FINDINGS_LIMIT: usize = 20;

/// What was found wrong in a request.
#[derive(Default)]
pub struct Findings(Vec<FieldProblem>);

impl Findings {
    /// Notes that a field is wrong.
    pub fn add(&mut self, field: impl Into<String>, problem: impl Into<String>) {
        if self.0.len() < FINDINGS_LIMIT {
            self.0.push(FieldProblem { field: field.into(), problem: problem.into() });
        }
    }

    /// A text of 1 to `limit` characters that shows something and holds no control characters.
    pub fn text(&mut self, field: &str, value: &str, limit: usize) {
        if value.trim().is_empty() {
            self.add(field, "must not be empty");
        } else if value.chars().count() > limit {
            self.add(field, format!("may have at most {limit} characters"));
        } else if value.chars().any(char::is_control) {
            self.add(field, "must not hold control characters");
        }
    }

    /// A number within a range.
    pub fn number(&mut self, field: &str, value: i64, range: RangeInclusive<i64>) {
        if !range.contains(&value) {
            self.add(field, format!("must be {} to {}", range.start(), range.end()));
        }
    }

    /// How many there are of something.
    pub fn count(&mut self, field: &str, count: usize, range: RangeInclusive<usize>) {
        if !range.contains(&count) {
            self.add(field, format!("must have {} to {} items", range.start(), range.end()));
        }
    }

    /// A day, YYYY-MM-DD, that is not later than `latest`; `None`, and noted, when it is not one.
    pub fn day(&mut self, field: &str, value: &str, latest: Date) -> Option<Date> {
        // Other ways to write a day are taken nowhere: it is kept, compared and shown as text.
        let day = value.parse::<Date>().ok().filter(|day| day.to_string() == value);
        match day {
            None => self.add(field, "must be a day such as 2026-03-01"),
            Some(day) if day > latest => self.add(field, "must not be in the future"),
            Some(day) => return Some(day),
        }
        None
    }

    /// A problem if anything was found.
    ///
    /// # Errors
    /// 422 with the fields.
    pub fn finish(self) -> Result<(), Problem> {
        let Some(first) = self.0.first() else { return Ok(()) };
        let mut problem = Problem::invalid(format!("{} {}", first.field, first.problem));
        problem.errors = self.0;
        Err(problem)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_wrong_fields_are_named_up_to_a_limit() {
        let mut findings = Findings::default();
        findings.text("a", " ", 5);
        findings.text("b", "123456", 5);
        findings.text("c", "1\n2", 5);
        findings.text("fine", "一二三四五", 5);
        findings.number("d", 0, 1..=9);
        findings.number("fine", 9, 1..=9);
        findings.count("e", 3, 1..=2);
        let fields: Vec<_> = findings.finish().unwrap_err().errors.into_iter().map(|error| error.field).collect();
        assert_eq!(fields, ["a", "b", "c", "d", "e"]);

        let mut days = Findings::default();
        let latest = jiff::civil::date(2026, 3, 1);
        for wrong in ["", "1.3.2026", "20260301", "2026-02-29", "2026-3-1", "2026-03-01T10:00", "2026-03-02"] {
            assert_eq!(days.day(wrong, wrong, latest), None);
        }
        assert_eq!(days.day("fine", "2026-03-01", latest), Some(latest));
        assert_eq!(days.0.len(), 7);

        let mut many = Findings::default();
        (0..100).for_each(|i| many.add(format!("f{i}"), "is wrong"));
        assert_eq!(many.finish().unwrap_err().errors.len(), FINDINGS_LIMIT);
        assert!(Findings::default().finish().is_ok());
    }
}
