//! When a failed delivery is tried again: exponential backoff with full jitter, for a day.
//!
//! A pure function of what happened and of random bytes; who sleeps, sends and remembers is elsewhere.

/// How long a delivery is tried, from the end of its first attempt, in ms.
pub const GIVE_UP_AFTER_MS: i64 = 24 * 3_600_000;
/// The longest wait after the first failure, in ms; it doubles with each further one.
const FIRST_CEILING_MS: i64 = 5_000;
/// What no wait exceeds, unless the receiver asks for it, in ms: six tries at least in a day.
const CEILING_MS: i64 = 4 * 3_600_000;
/// Full jitter may come out near nothing; a receiver that just failed is left alone for this long, in ms.
const FLOOR_MS: i64 = 500;

/// What follows a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Try again at this time, in ms since the Unix epoch.
    TryAt(i64),
    /// The day is over.
    GiveUp,
}

/// A failed attempt.
#[derive(Debug, Clone, Copy)]
pub struct Failure {
    /// When the first attempt of this delivery ended, in ms since the Unix epoch; itself, if this was the first.
    pub first_attempt_at_ms: i64,
    /// Now, in ms since the Unix epoch.
    pub now_ms: i64,
    /// Attempts made, this one included.
    pub attempts: u32,
    /// What the receiver asked for (`Retry-After`), in s.
    pub retry_after_s: Option<u32>,
}

/// What follows `failure`. The last attempt falls on the end of the day, whatever the backoff or the receiver says.
pub fn next(failure: &Failure, random: [u8; 8]) -> Next {
    let end_ms = failure.first_attempt_at_ms + GIVE_UP_AFTER_MS;
    if failure.now_ms >= end_ms {
        return Next::GiveUp;
    }
    let asked_ms = failure.retry_after_s.map_or(0, |seconds| i64::from(seconds) * 1000);
    let wait_ms = backoff_ms(failure.attempts, random).max(asked_ms);
    Next::TryAt((failure.now_ms + wait_ms).min(end_ms))
}

/// Uniformly from [`FLOOR_MS`] to the ceiling of this attempt. (The bias of the remainder is far below a millisecond.)
fn backoff_ms(attempts: u32, random: [u8; 8]) -> i64 {
    let doublings = attempts.saturating_sub(1).min(20);
    let ceiling_ms = (FIRST_CEILING_MS << doublings).min(CEILING_MS);
    let span_ms = (ceiling_ms - FLOOR_MS + 1) as u64;
    FLOOR_MS + (u64::from_le_bytes(random) % span_ms) as i64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY_MS: i64 = GIVE_UP_AFTER_MS;

    #[test]
    fn ceilings_double_up_to_four_hours() {
        for (attempts, ceiling_ms) in [
            (0, 5_000),
            (1, 5_000),
            (2, 10_000),
            (3, 20_000),
            (11, 5_120_000),
            (13, 14_400_000),
            (u32::MAX, 14_400_000),
        ] {
            let span = (ceiling_ms - FLOOR_MS + 1) as u64;
            assert_eq!(backoff_ms(attempts, (span - 1).to_le_bytes()), ceiling_ms, "attempt {attempts}");
            assert_eq!(backoff_ms(attempts, span.to_le_bytes()), FLOOR_MS, "attempt {attempts}");
        }
    }

    #[test]
    fn what_the_receiver_asks_for_is_honoured_within_the_day() {
        let failure = |now_ms, retry_after_s| Failure { first_attempt_at_ms: 0, now_ms, attempts: 1, retry_after_s };
        let none = [0; 8];
        for (now_ms, retry_after_s, expected) in [
            (0, None, Next::TryAt(FLOOR_MS)),
            (0, Some(0), Next::TryAt(FLOOR_MS)),
            (0, Some(60), Next::TryAt(60_000)),
            (0, Some(u32::MAX), Next::TryAt(DAY_MS)),
            (DAY_MS - 1, None, Next::TryAt(DAY_MS)),
            (DAY_MS, None, Next::GiveUp),
            (DAY_MS + 1, Some(60), Next::GiveUp),
        ] {
            assert_eq!(next(&failure(now_ms, retry_after_s), none), expected, "{now_ms} {retry_after_s:?}");
        }
    }

    proptest! {
        #[test]
        fn a_receiver_that_never_answers_is_tried_for_exactly_a_day(seed in any::<u64>()) {
            let entropy = crate::clock::Entropy::seeded(seed);
            let (mut now_ms, mut attempts) = (0, 0);
            loop {
                attempts += 1;
                let failure = Failure { first_attempt_at_ms: 0, now_ms, attempts, retry_after_s: None };
                match next(&failure, entropy.bytes()) {
                    Next::TryAt(at_ms) => {
                        prop_assert!(at_ms > now_ms && at_ms - now_ms <= CEILING_MS);
                        now_ms = at_ms;
                    }
                    Next::GiveUp => break,
                }
            }
            prop_assert_eq!(now_ms, DAY_MS);
            prop_assert!((10..200).contains(&attempts), "{} attempts", attempts);
        }
    }
}
