//! Who looks at a session after its verdict, and by when (docs/console.md): never part of a verdict.
//!
//! A pack may leave any of it out, and rest on nothing all the same: no document says it so far.

use toml::{Table, Value};

/// How many days something may take.
const DAYS: std::ops::RangeInclusive<i64> = 1..=365;
const DAY_MS: i64 = 86_400_000;

/// Second looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Review {
    /// whether a decision is final only once a second person has decided the same
    pub second_person: bool,
    /// days after the closing by which a session under review should be decided
    pub due_days: i64,
    /// days for which a learner may appeal by a link, and then days by which the appeal should be decided
    pub appeal_days: i64,
}

impl Default for Review {
    fn default() -> Self {
        Self { second_person: false, due_days: 10, appeal_days: 14 }
    }
}

impl Review {
    /// By when a session that comes into the queue at `at` should be decided, ms since the Unix epoch.
    pub fn due_at(&self, at: i64) -> i64 {
        at + self.due_days * DAY_MS
    }

    /// The end of the days for appeals that begin at `at`, ms since the Unix epoch.
    pub fn appeal_until(&self, at: i64) -> i64 {
        at + self.appeal_days * DAY_MS
    }

    /// Sets a key.
    ///
    /// # Errors
    /// What is wrong with the value; `None`: there is no such key.
    pub(super) fn set(&mut self, key: &str, value: &Value) -> Result<(), Option<String>> {
        let slot = match key {
            "second_person" => {
                self.second_person = value.as_bool().ok_or_else(|| Some("must be true or false".to_owned()))?;
                return Ok(());
            }
            "due_days" => &mut self.due_days,
            "appeal_days" => &mut self.appeal_days,
            _ => return Err(None),
        };
        let days = value.as_integer().filter(|days| DAYS.contains(days));
        *slot = days.ok_or_else(|| Some(format!("must be a whole number from {} to {}", DAYS.start(), DAYS.end())))?;
        Ok(())
    }

    /// All of it.
    pub(super) fn table(self) -> Table {
        Table::from_iter([
            ("second_person".to_owned(), Value::from(self.second_person)),
            ("due_days".to_owned(), Value::from(self.due_days)),
            ("appeal_days".to_owned(), Value::from(self.appeal_days)),
        ])
    }
}
