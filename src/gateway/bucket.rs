//! How much of something may be done in a time: token buckets, one or one for each of many.

use std::collections::HashMap;
use std::hash::Hash;
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Tokens are counted in parts, so that what a millisecond brings is a whole number of them.
pub(crate) const PARTS: i64 = 60_000;
/// Keys that are remembered, at most: twice this many buckets of some 50 bytes.
const GENERATION_LIMIT: usize = 50_000;

/// How fast a bucket fills, and up to where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    pub(crate) per_minute: i64,
    pub(crate) burst: i64,
}

impl Rate {
    /// So many a second in the long run, and `burst` at once.
    pub fn per_second(rate: u32, burst: u32) -> Self {
        Self { per_minute: i64::from(rate) * 60, burst: i64::from(burst) }
    }

    /// So many a minute, and as many at once.
    pub fn per_minute(rate: u32) -> Self {
        Self { per_minute: rate.into(), burst: rate.into() }
    }

    /// Whether there is no limit: a rate of zero.
    pub(crate) fn is_unlimited(self) -> bool {
        self.per_minute == 0
    }
}

/// One bucket.
#[derive(Debug)]
pub struct Bucket {
    rate: Rate,
    level_parts: i64,
    at: i64,
}

impl Bucket {
    /// A full bucket at `now_ms`.
    pub fn full(rate: Rate, now_ms: i64) -> Self {
        Self { rate, level_parts: rate.burst * PARTS, at: now_ms }
    }

    /// Takes one token, or says in how many ms there will be one.
    ///
    /// # Errors
    /// The ms.
    pub fn take(&mut self, now_ms: i64) -> Result<(), i64> {
        self.look(now_ms)?;
        self.level_parts -= PARTS;
        Ok(())
    }

    /// Whether there is a token, without taking it.
    ///
    /// # Errors
    /// In how many ms there will be one.
    pub fn look(&mut self, now_ms: i64) -> Result<(), i64> {
        let elapsed_ms = (now_ms - self.at).max(0);
        self.at = self.at.max(now_ms);
        let filled = self.level_parts.saturating_add(elapsed_ms.saturating_mul(self.rate.per_minute));
        self.level_parts = filled.min(self.rate.burst * PARTS);
        if self.level_parts < PARTS {
            let per_minute = self.rate.per_minute.max(1);
            return Err((PARTS - self.level_parts + per_minute - 1) / per_minute);
        }
        Ok(())
    }
}

/// A bucket for each key. What has not been used for longest is forgotten when there are too many: a forgotten bucket is
/// full again, so whoever has that many keys gains a burst and no more.
#[derive(Debug)]
pub struct Buckets<K> {
    rate: Rate,
    generations: Mutex<Generations<K>>,
}

#[derive(Debug)]
struct Generations<K> {
    young: HashMap<K, Bucket>,
    old: HashMap<K, Bucket>,
}

impl<K: Eq + Hash> Buckets<K> {
    /// All full.
    pub fn new(rate: Rate) -> Self {
        Self { rate, generations: Mutex::new(Generations { young: HashMap::new(), old: HashMap::new() }) }
    }

    /// Takes a token of `key`.
    ///
    /// # Errors
    /// In how many ms there will be one.
    pub fn take(&self, key: K, now_ms: i64) -> Result<(), i64> {
        self.with(key, now_ms, |bucket| bucket.take(now_ms))
    }

    /// Whether `key` has a token.
    ///
    /// # Errors
    /// In how many ms there will be one.
    pub fn look(&self, key: K, now_ms: i64) -> Result<(), i64> {
        self.with(key, now_ms, |bucket| bucket.look(now_ms))
    }

    fn with(&self, key: K, now_ms: i64, act: impl FnOnce(&mut Bucket) -> Result<(), i64>) -> Result<(), i64> {
        if self.rate.is_unlimited() {
            return Ok(());
        }
        let mut generations = self.lock();
        if generations.young.len() >= GENERATION_LIMIT {
            generations.old = mem::take(&mut generations.young);
        }
        let older = generations.old.remove(&key);
        let bucket = generations.young.entry(key);
        act(bucket.or_insert_with(|| older.unwrap_or_else(|| Bucket::full(self.rate, now_ms))))
    }

    fn lock(&self) -> MutexGuard<'_, Generations<K>> {
        self.generations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_rate() {
        let mut bucket = Bucket::full(Rate::per_second(20, 3), 0);
        assert!((0..3).all(|_| bucket.take(0).is_ok()));
        assert_eq!(bucket.take(0), Err(50));
        assert_eq!(bucket.take(49), Err(1));
        assert_eq!(bucket.take(50), Ok(()));
        assert_eq!(bucket.take(40), Err(50), "a clock that goes back fills nothing");
        assert!((0..3).all(|_| bucket.take(10_000).is_ok()));
        assert!(bucket.take(10_000).is_err());
    }

    #[test]
    fn a_minute_is_a_unit_too() {
        let mut bucket = Bucket::full(Rate::per_minute(2), 0);
        assert_eq!((bucket.take(0), bucket.take(0)), (Ok(()), Ok(())));
        assert_eq!(bucket.look(0), Err(30_000));
        assert_eq!(bucket.look(i64::MAX), Ok(()));
        assert_eq!(bucket.take(i64::MAX), Ok(()));
    }

    #[test]
    fn each_key_has_its_own_and_zero_is_no_limit() {
        let buckets = Buckets::new(Rate::per_second(1, 1));
        assert_eq!((buckets.take("a", 0), buckets.take("b", 0)), (Ok(()), Ok(())));
        assert_eq!(buckets.look("a", 0), Err(1_000));
        let free = Buckets::new(Rate::per_second(0, 0));
        assert!((0..1_000).all(|_| free.take("a", 0).is_ok()));
    }

    #[test]
    fn the_table_is_bounded_and_forgets_the_longest_unused_first() {
        let buckets = Buckets::new(Rate::per_minute(1));
        buckets.take(0, 0).unwrap();
        for key in 1..3 * GENERATION_LIMIT {
            buckets.take(key, 0).unwrap();
            assert!(buckets.look(0, 0).is_err(), "what is in use is not forgotten");
        }
        let held = {
            let generations = buckets.lock();
            generations.young.len() + generations.old.len()
        };
        assert!(held <= 2 * GENERATION_LIMIT, "{held}");
        assert_eq!(buckets.look(1, 0), Ok(()), "this one was");
    }
}
