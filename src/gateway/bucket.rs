//! How many events a connection may send: a token bucket on the server's clock.

/// Fills with `per_second` tokens a second up to `burst`.
#[derive(Debug)]
pub(super) struct Bucket {
    per_second: i64,
    burst: i64,
    /// tokens × 1000, so that a millisecond's share is a whole number
    level_milli: i64,
    at: i64,
}

impl Bucket {
    /// A full bucket at `now_ms`.
    pub(super) fn full(per_second: u32, burst: u32, now_ms: i64) -> Self {
        let burst = i64::from(burst);
        Self { per_second: i64::from(per_second), burst, level_milli: burst * 1000, at: now_ms }
    }

    /// Takes one token, or says in how many ms there will be one.
    pub(super) fn take(&mut self, now_ms: i64) -> Result<(), i64> {
        let elapsed_ms = (now_ms - self.at).max(0);
        self.at = self.at.max(now_ms);
        self.level_milli = (self.level_milli + elapsed_ms * self.per_second).min(self.burst * 1000);
        if self.level_milli < 1000 {
            let per_second = self.per_second.max(1);
            return Err((1000 - self.level_milli + per_second - 1) / per_second);
        }
        self.level_milli -= 1000;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_rate() {
        let mut bucket = Bucket::full(20, 3, 0);
        assert!((0..3).all(|_| bucket.take(0).is_ok()));
        assert_eq!(bucket.take(0), Err(50));
        assert_eq!(bucket.take(49), Err(1));
        assert_eq!(bucket.take(50), Ok(()));
        assert_eq!(bucket.take(40), Err(50), "a clock that goes back fills nothing");
        assert!((0..3).all(|_| bucket.take(10_000).is_ok()));
        assert!(bucket.take(10_000).is_err());
    }
}
