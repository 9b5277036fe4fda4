//! Whether the clock of this node agrees with that of the database, by which nodes are compared: the log of a session
//! that moves between them must not jump.

use std::sync::atomic::{AtomicI64, Ordering};

/// How far a node's clock may be off, ms.
pub const CLOCK_LIMIT_MS: i64 = 1_000;

/// How far `own_ms` is ahead of `theirs_ms`, when that is too much to take sessions. `theirs_ms` was asked for and
/// answered within `asked_for_ms`, so it is that uncertain.
pub fn too_far_off_ms(own_ms: i64, theirs_ms: i64, asked_for_ms: i64) -> Option<i64> {
    let off_ms = own_ms - theirs_ms;
    (off_ms.abs() - asked_for_ms > CLOCK_LIMIT_MS).then_some(off_ms)
}

/// What the last comparison came to.
#[derive(Debug, Default)]
pub struct ClockCheck(AtomicI64);

impl ClockCheck {
    /// Notes a comparison: see [`too_far_off_ms`]. Says so when that changes something.
    pub fn compared(&self, own_ms: i64, theirs_ms: i64, asked_for_ms: i64) {
        let off_ms = too_far_off_ms(own_ms, theirs_ms, asked_for_ms).unwrap_or(0);
        let before_ms = self.0.swap(off_ms, Ordering::Relaxed);
        if before_ms == 0 && off_ms != 0 {
            tracing::error!(
                off_ms,
                "the clock of this node is off from the database's: it takes no sessions. Set it right and start it again"
            );
        } else if before_ms != 0 && off_ms == 0 {
            tracing::info!("the clock of this node agrees with the database's again");
        }
    }

    /// Whether sessions may be taken.
    pub fn is_right(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_is_allowed_and_so_is_the_time_that_asking_took() {
        assert_eq!(too_far_off_ms(10_000, 9_000, 0), None);
        assert_eq!(too_far_off_ms(10_000, 8_999, 0), Some(1_001));
        assert_eq!(too_far_off_ms(8_000, 10_000, 0), Some(-2_000));
        assert_eq!(too_far_off_ms(8_000, 10_000, 1_000), None);
        let check = ClockCheck::default();
        assert!(check.is_right());
        check.compared(10_000, 0, 5);
        assert!(!check.is_right());
        check.compared(10_000, 9_500, 5);
        assert!(check.is_right());
    }
}
