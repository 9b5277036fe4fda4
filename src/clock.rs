//! The only file that asks the operating system for the time or for random bytes.
//!
//! Everything else takes a [`Clock`] or an [`Entropy`] as a parameter, so that a test, the demo or a replay decides
//! what time it is and what was drawn.
#![expect(clippy::disallowed_methods, reason = "this is the one place that may")]

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

/// Milliseconds since the Unix epoch, from the machine or from somebody who plays its part.
#[derive(Clone, Debug)]
pub struct Clock {
    kind: Kind,
    /// how far it is put forward, ms
    ahead_ms: i64,
}

#[derive(Clone, Debug)]
enum Kind {
    System,
    Scaled { origin_ms: i64, origin: Instant, speed: u32 },
    Manual(Arc<watch::Sender<i64>>),
}

impl Clock {
    /// The machine's own clock.
    pub fn system() -> Self {
        Self::of(Kind::System)
    }

    fn of(kind: Kind) -> Self {
        Self { kind, ahead_ms: 0 }
    }

    /// The same clock put forward by `by_ms`.
    #[must_use]
    pub fn put_forward_ms(&self, by_ms: i64) -> Self {
        Self { kind: self.kind.clone(), ahead_ms: self.ahead_ms + by_ms }
    }

    /// A clock that starts at the machine's time and runs `speed` times as fast. It never goes back.
    pub fn scaled(speed: u32) -> Self {
        Self::of(Kind::Scaled { origin_ms: system_ms(), origin: Instant::now(), speed: speed.max(1) })
    }

    /// What a clock shows that was started at `origin_ms` of the machine's time, as [`Clock::scaled`] does: several
    /// processes on one machine agree by it.
    pub fn scaled_since(speed: u32, origin_ms: i64) -> Self {
        let since_ms = (system_ms() - origin_ms).max(0);
        let origin_ms = origin_ms + since_ms * i64::from(speed.max(1));
        Self::of(Kind::Scaled { origin_ms, origin: Instant::now(), speed: speed.max(1) })
    }

    /// Whether a second of it is a second of the machine's, so that the two can be compared.
    pub fn keeps_pace(&self) -> bool {
        matches!(self.kind, Kind::System | Kind::Scaled { speed: 1, .. })
    }

    /// A clock that stands still at `start_ms` until somebody moves it.
    pub fn manual(start_ms: i64) -> Self {
        Self::of(Kind::Manual(Arc::new(watch::Sender::new(start_ms))))
    }

    /// Moves a manual clock forward by `by_ms`; wakes who sleeps on it. No effect on the others.
    pub fn advance_ms(&self, by_ms: i64) {
        if let Kind::Manual(now) = &self.kind {
            now.send_modify(|at| *at += by_ms);
        }
    }

    /// Now, in ms since the Unix epoch.
    pub fn now_ms(&self) -> i64 {
        self.ahead_ms
            + match &self.kind {
                Kind::System => system_ms(),
                Kind::Scaled { origin_ms, origin, speed } => {
                    origin_ms + origin.elapsed().as_micros() as i64 * i64::from(*speed) / 1000
                }
                Kind::Manual(now) => *now.borrow(),
            }
    }

    /// Returns once the clock shows `at_ms` or more.
    pub async fn sleep_until_ms(&self, at_ms: i64) {
        if let Kind::Manual(now) = &self.kind {
            let at_ms = at_ms - self.ahead_ms;
            // The sender lives in `self`, so the wait can only end by the time being reached.
            let _ = now.subscribe().wait_for(|now| *now >= at_ms).await;
            return;
        }
        // The machine's clock can be set while we sleep, so look again after each part of the wait.
        const LONGEST_PART_MS: i64 = 60_000;
        loop {
            let left_ms = at_ms - self.now_ms();
            if left_ms <= 0 {
                return;
            }
            let speed = if let Kind::Scaled { speed, .. } = self.kind { i64::from(speed) } else { 1 };
            let part_us = (left_ms.min(LONGEST_PART_MS) * 1000 / speed).max(1);
            tokio::time::sleep(Duration::from_micros(part_us as u64)).await;
        }
    }

    /// Returns after `for_ms` on this clock.
    pub async fn sleep_ms(&self, for_ms: i64) {
        self.sleep_until_ms(self.now_ms().saturating_add(for_ms)).await;
    }
}

fn system_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

/// Monotonic seconds for measuring how long something took: benchmarks, progress and logs, never rules.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts measuring.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// What has passed since the start.
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// How long this thread has run on a processor, by the kernel's accounting; `None` where it keeps none. Unlike elapsed
/// time it does not count the neighbours on a busy machine.
pub fn thread_cpu_time() -> Option<Duration> {
    let accounting = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    accounting.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

/// Where random bytes come from: keys, nonces, identifiers and the seeds of schedules.
#[derive(Clone, Debug)]
pub struct Entropy(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Seeded(Arc<Mutex<rand::rngs::ChaCha12Rng>>),
}

impl Entropy {
    /// The operating system's generator.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A reproducible source for tests: the same seed gives the same bytes in the same order.
    pub fn seeded(seed: u64) -> Self {
        use rand::SeedableRng as _;
        Self(Source::Seeded(Arc::new(Mutex::new(rand::rngs::ChaCha12Rng::seed_from_u64(seed)))))
    }

    /// `N` random bytes.
    ///
    /// # Panics
    /// When the operating system has no randomness to give: nothing safe can be done without it.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        match &self.0 {
            Source::System => getrandom::fill(&mut bytes).expect("the operating system gives random bytes"),
            Source::Seeded(generator) => {
                use rand::Rng as _;
                generator.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).fill_bytes(&mut bytes);
            }
        }
        bytes
    }

    /// The operating system's generator in the form that `ring` asks for. It takes no other, so key pairs are the one
    /// thing that a seed does not repeat.
    pub fn ring() -> ring::rand::SystemRandom {
        ring::rand::SystemRandom::new()
    }

    /// A time-ordered identifier (UUID version 7) for something made at `now_ms`.
    pub fn id(&self, now_ms: i64) -> uuid::Uuid {
        uuid::Builder::from_unix_timestamp_millis(now_ms.max(0) as u64, &self.bytes::<10>()).into_uuid()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_manual_clock_wakes_sleepers_only_when_moved() {
        let clock = Clock::manual(1_000);
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move {
                clock.sleep_until_ms(5_000).await;
                clock.now_ms()
            }
        });
        clock.advance_ms(3_999);
        assert!(!sleeper.is_finished());
        clock.advance_ms(1);
        assert_eq!(sleeper.await.unwrap(), 5_000);
    }

    #[tokio::test]
    async fn a_clock_that_is_put_forward_goes_on_with_the_first() {
        let clock = Clock::manual(1_000);
        let ahead = clock.put_forward_ms(500);
        assert_eq!(ahead.now_ms(), 1_500);
        let sleeper = tokio::spawn({
            let ahead = ahead.clone();
            async move { ahead.sleep_until_ms(2_000).await }
        });
        clock.advance_ms(499);
        assert!(!sleeper.is_finished());
        clock.advance_ms(1);
        sleeper.await.unwrap();
        assert_eq!((clock.now_ms(), ahead.now_ms()), (1_500, 2_000));
        assert!(Clock::scaled(1).put_forward_ms(1_000_000).now_ms() > Clock::system().now_ms() + 900_000);
    }

    #[test]
    fn seeded_bytes_repeat() {
        assert_eq!(Entropy::seeded(7).bytes::<16>(), Entropy::seeded(7).bytes::<16>());
        assert_ne!(Entropy::seeded(7).bytes::<16>(), Entropy::seeded(8).bytes::<16>());
    }
}
