//! Who may do how much, and how fast: the limits of the API and of handshakes, by key, learner and address.
//!
//! What one session may send is not here: its owner's handle carries that.

use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::address::ClientAddress;
use super::bucket::{Buckets, Rate};
use crate::auth::SecretHash;
use crate::clock::Clock;
use crate::cluster::redis::SharedBuckets;
use crate::config::Limits;
use crate::telemetry::Telemetry;

/// Bytes of a key's digest by which others know its bucket: enough that no two keys share one, and no way to the key.
const KEY_BYTES_TOLD: usize = 16;

/// Somebody has done too much: how long to wait, ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany {
    /// until there is room for one more
    pub retry_after_ms: i64,
}

/// The limits and what was used of them.
#[derive(Debug)]
pub struct Rates {
    /// one that never jumps
    clock: Clock,
    telemetry: Arc<Telemetry>,
    shared: Option<Shared>,
    keys: Limit<SecretHash>,
    addresses: Limit<IpAddr>,
    failures: Limit<IpAddr>,
    learners: Limit<String>,
    handshakes: Limit<IpAddr>,
}

/// Buckets that several nodes share. Without an answer from them each node uses its own.
#[derive(Debug)]
struct Shared {
    buckets: SharedBuckets,
    said_away: AtomicBool,
}

#[derive(Debug)]
struct Limit<K> {
    name: &'static str,
    rate: Rate,
    own: Buckets<K>,
}

impl<K: Eq + Hash> Limit<K> {
    fn new(name: &'static str, rate: Rate) -> Self {
        Self { name, rate, own: Buckets::new(rate) }
    }
}

impl Rates {
    /// Nothing used yet. `clock` should never jump.
    pub fn new(limits: &Limits, clock: Clock, telemetry: Arc<Telemetry>) -> Self {
        let address = Rate::per_second(limits.address_requests_per_second, limits.address_requests_burst);
        let handshake = Rate::per_second(limits.handshakes_per_second, limits.handshakes_burst);
        Self {
            clock,
            telemetry,
            shared: None,
            keys: Limit::new("key", Rate::per_second(limits.requests_per_second, limits.requests_burst)),
            addresses: Limit::new("address", address),
            failures: Limit::new("authentication", Rate::per_minute(limits.authentication_failures_per_minute)),
            learners: Limit::new("learner", Rate::per_minute(limits.openings_per_minute)),
            handshakes: Limit::new("handshake", handshake),
        }
    }

    /// The same limits for all nodes together.
    #[must_use]
    pub fn shared(self, buckets: SharedBuckets) -> Self {
        Self { shared: Some(Shared { buckets, said_away: AtomicBool::new(false) }), ..self }
    }

    /// A request of this API key.
    ///
    /// # Errors
    /// [`TooMany`], as for all of these.
    pub async fn request_of_key(&self, key: SecretHash) -> Result<(), TooMany> {
        let taken = self.ask(&self.keys, key, |key| hex::encode(&key[..KEY_BYTES_TOLD]), true).await;
        self.judged("key", taken)
    }

    /// A request from this address, whoever makes it.
    pub async fn request_from(&self, address: Option<ClientAddress>) -> Result<(), TooMany> {
        self.of_address(&self.addresses, address, true).await
    }

    /// Whether this address may still show a key.
    pub async fn may_authenticate(&self, address: Option<ClientAddress>) -> Result<(), TooMany> {
        self.of_address(&self.failures, address, false).await
    }

    /// This address has shown a wrong key, or none.
    pub async fn authentication_failed(&self, address: Option<ClientAddress>) {
        if let Some(address) = address.and_then(ClientAddress::counted) {
            // Empty already: others of this address were faster, and the next look says so.
            let _ = self.ask(&self.failures, address, IpAddr::to_string, true).await;
        }
    }

    /// A session is to be opened for this learner.
    pub async fn opening_for(&self, learner: &str) -> Result<(), TooMany> {
        let taken = self.ask(&self.learners, learner.to_owned(), String::clone, true).await;
        self.judged("learner", taken)
    }

    /// A WebSocket is to be opened from this address.
    pub async fn handshake_from(&self, address: Option<ClientAddress>) -> Result<(), TooMany> {
        self.of_address(&self.handshakes, address, true).await
    }

    async fn of_address(
        &self,
        limit: &Limit<IpAddr>,
        address: Option<ClientAddress>,
        take: bool,
    ) -> Result<(), TooMany> {
        let Some(address) = address.and_then(ClientAddress::counted) else { return Ok(()) };
        self.judged(limit.name, self.ask(limit, address, IpAddr::to_string, take).await)
    }

    async fn ask<K: Eq + Hash>(
        &self,
        limit: &Limit<K>,
        key: K,
        in_words: impl FnOnce(&K) -> String,
        take: bool,
    ) -> Result<(), i64> {
        if let Some(shared) = &self.shared {
            match shared.buckets.ask(limit.name, &in_words(&key), limit.rate, take).await {
                Ok(answer) => {
                    shared.said_away.store(false, Ordering::Relaxed);
                    return answer;
                }
                Err(away) if !shared.said_away.swap(true, Ordering::Relaxed) => {
                    tracing::warn!(%away, "each node keeps limits of rates by itself until Redis answers again");
                }
                Err(_) => {}
            }
        }
        let now_ms = self.clock.now_ms();
        if take { limit.own.take(key, now_ms) } else { limit.own.look(key, now_ms) }
    }

    fn judged(&self, limit: &str, taken: Result<(), i64>) -> Result<(), TooMany> {
        taken.map_err(|retry_after_ms| {
            self.telemetry.rate_limited.count(limit);
            TooMany { retry_after_ms }
        })
    }
}
