//! The order of a log: what may follow what.
//!
//! The reader and the fold use the same check, so that a live session refuses exactly what a replay would.

use serde::{Deserialize, Serialize};

use super::event::{Body, Event};

/// How far a log has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    next_n: u64,
    last_at: Option<i64>,
    closed: bool,
}

/// An event that may not stand where it stands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct OrderError {
    /// The field at fault: `n`, `at` or `type`.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: String,
}

impl Default for Order {
    fn default() -> Self {
        Self { next_n: 1, last_at: None, closed: false }
    }
}

impl Order {
    /// A log of which the first event was accepted at `at`.
    pub(crate) fn begun(at: i64) -> Self {
        Self { next_n: 2, last_at: Some(at), closed: false }
    }

    /// The `n` that the next event must have.
    pub fn next_n(&self) -> u64 {
        self.next_n
    }

    /// The `at` of the last event, ms.
    pub fn last_at(&self) -> Option<i64> {
        self.last_at
    }

    /// Whether `session.closed` was the last event.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Takes note of the next event.
    ///
    /// # Errors
    /// When the event may not come now; nothing is noted then.
    pub fn accept(&mut self, event: &Event<'_>) -> Result<(), OrderError> {
        let refuse = |field, problem| Err(OrderError { field, problem });
        if self.closed {
            return refuse("type", "nothing may follow session.closed".to_owned());
        }
        if event.n != self.next_n {
            return refuse("n", format!("is {}, must be {}", event.n, self.next_n));
        }
        if let Some(last_at) = self.last_at.filter(|&last_at| event.at < last_at) {
            return refuse("at", format!("is {}, before the {last_at} of the event before", event.at));
        }
        match (self.last_at, &event.body) {
            (None, Body::SessionOpened(_)) => {}
            (None, _) => return refuse("type", "the first event must be session.opened".to_owned()),
            (Some(_), Body::SessionOpened(_)) => {
                return refuse("type", "session.opened may only be the first event".to_owned());
            }
            (Some(_), _) => {}
        }
        self.closed = matches!(event.body, Body::SessionClosed(_));
        self.next_n += 1;
        self.last_at = Some(event.at);
        Ok(())
    }
}
