//! Which photos were asked for, in which class hour, and which are still awaited (docs/rules.md, section 6).

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::id::Id;

/// How many captures a session remembers. A six-hour day with a photo every four minutes has 90. When there are more,
/// the oldest is forgotten: a further check of it counts as one that was never requested, and if it was never checked
/// it stays pending.
pub const MAX_CAPTURES: usize = 1024;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Capture {
    id: Id,
    hour: i64,
    pending: bool,
}

/// The captures of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Captures {
    known: VecDeque<Capture>,
    pending: u64,
}

impl Captures {
    /// A capture was requested in class hour `hour`. Only its first request counts.
    pub fn requested(&mut self, name: &str, hour: i64) {
        if self.known.iter().any(|capture| capture.id.is(name)) {
            return;
        }
        if self.known.len() == MAX_CAPTURES {
            self.known.pop_front();
        }
        self.known.push_back(Capture { id: Id::of(name), hour, pending: true });
        self.pending += 1;
    }

    /// A capture was checked or expired: it is no longer pending. Returns its class hour, if it was ever requested.
    pub fn checked(&mut self, name: &str) -> Option<i64> {
        let capture = self.known.iter_mut().rev().find(|capture| capture.id.is(name))?;
        if std::mem::replace(&mut capture.pending, false) {
            self.pending -= 1;
        }
        Some(capture.hour)
    }

    /// How many are pending.
    pub fn pending_count(&self) -> u64 {
        self.pending
    }

    /// The ids of those that are pending, oldest first.
    pub fn pending(&self) -> impl Iterator<Item = &str> {
        self.known.iter().filter(|capture| capture.pending).map(|capture| capture.id.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capture_belongs_to_the_hour_of_its_first_request_and_is_pending_until_its_first_check() {
        let mut captures = Captures::default();
        captures.requested("a", 0);
        captures.requested("a", 1);
        captures.requested("b", 1);
        assert_eq!(captures.pending().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(captures.checked("a"), Some(0));
        assert_eq!(captures.checked("a"), Some(0));
        captures.requested("a", 2);
        assert_eq!(captures.checked("never asked"), None);
        assert_eq!(captures.pending_count(), 1);
    }

    #[test]
    fn what_is_forgotten_pending_stays_pending() {
        let mut captures = Captures::default();
        for k in 0..MAX_CAPTURES + 5 {
            captures.requested(&k.to_string(), 0);
        }
        assert_eq!(captures.known.len(), MAX_CAPTURES);
        assert_eq!(captures.pending_count(), MAX_CAPTURES as u64 + 5);
        assert_eq!(captures.checked("0"), None);
    }
}
