//! When to try again after a connection was lost.

use crate::clock::Entropy;

const SHORTEST_MS: i64 = 500;
const LONGEST_MS: i64 = 20_000;

/// Full jitter: every wait is drawn anew below a ceiling that doubles, so that a thousand clients that lost the same
/// server do not come back at the same moment.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    attempts: u32,
}

impl Backoff {
    /// A connection stood: the next loss begins anew.
    pub(super) fn reset(&mut self) {
        self.attempts = 0;
    }

    /// How long to wait before the next attempt, ms.
    pub(super) fn next_ms(&mut self, entropy: &Entropy) -> i64 {
        let ceiling_ms = (SHORTEST_MS << self.attempts.saturating_add(1).min(10)).min(LONGEST_MS);
        self.attempts = self.attempts.saturating_add(1);
        SHORTEST_MS + below(entropy, ceiling_ms - SHORTEST_MS + 1)
    }
}

/// A number from 0 to `limit − 1`; the bias of the remainder is far below what a wait could show.
fn below(entropy: &Entropy, limit: i64) -> i64 {
    (u64::from_le_bytes(entropy.bytes()) % limit as u64) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_stay_between_the_limits() {
        let entropy = Entropy::seeded(1);
        let mut backoff = Backoff::default();
        let waits: Vec<i64> = (0..200).map(|_| backoff.next_ms(&entropy)).collect();
        assert!(waits[0] <= 1_000);
        assert!(waits.iter().all(|wait| (SHORTEST_MS..=LONGEST_MS).contains(wait)));
        assert!(waits.iter().any(|wait| *wait > 15_000) && waits[10..].iter().any(|wait| *wait < 5_000));
        backoff.reset();
        assert!(backoff.next_ms(&entropy) <= 1_000);
    }
}
