//! The lease of this node, by a stopwatch of its own: whether what it owns is still its own.

use std::sync::atomic::{AtomicI64, Ordering};

use tokio::sync::watch;

use crate::clock::Stopwatch;

/// How leases are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// how long a node that says nothing counts as living, ms
    pub lease_ms: i64,
    /// how often a node says that it lives, ms
    pub renew_ms: i64,
}

impl Default for Timing {
    /// Two renewals may fail; what a dead node held is taken up within ten seconds.
    fn default() -> Self {
        Self { lease_ms: 6_000, renew_ms: 2_000 }
    }
}

impl Timing {
    /// How much sooner a node counts its own lease as over than the others do, ms: for clocks that do not run alike, and
    /// for what is under way.
    pub(super) fn margin_ms(self) -> i64 {
        self.lease_ms / 6
    }
}

/// Whether this node may act. Until when is counted from before the last renewal was sent, so it ends here before it
/// can end for anybody else.
#[derive(Debug)]
pub struct Lease {
    since_start: Stopwatch,
    until_ms: AtomicI64,
    held: watch::Sender<bool>,
}

impl Lease {
    pub(super) fn new() -> Self {
        Self { since_start: Stopwatch::start(), until_ms: AtomicI64::new(0), held: watch::Sender::new(false) }
    }

    /// Whether it holds now.
    pub fn is_valid(&self) -> bool {
        self.now_ms() < self.until_ms.load(Ordering::Acquire)
    }

    /// Whether it holds, as a signal: somewhat late, unlike [`Lease::is_valid`].
    pub fn held(&self) -> watch::Receiver<bool> {
        self.held.subscribe()
    }

    pub(super) fn now_ms(&self) -> i64 {
        i64::try_from(self.since_start.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    /// How long it holds yet, ms.
    pub(super) fn left_ms(&self) -> i64 {
        self.until_ms.load(Ordering::Acquire) - self.now_ms()
    }

    pub(super) fn renewed_until(&self, until_ms: i64) {
        self.until_ms.fetch_max(until_ms, Ordering::AcqRel);
        self.tell();
    }

    pub(super) fn end(&self) {
        self.until_ms.store(i64::MIN, Ordering::Release);
        self.tell();
    }

    /// Tells those who wait for the signal what is.
    pub(super) fn tell(&self) {
        let valid = self.is_valid();
        self.held.send_if_modified(|held| std::mem::replace(held, valid) != valid);
    }
}
