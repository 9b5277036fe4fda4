//! Who may do how much, and how fast: the limits of the API and of handshakes, by key, learner and address.
//!
//! What one session may send is not here: its owner's handle carries that.

use std::net::IpAddr;
use std::sync::Arc;

use super::address::ClientAddress;
use super::bucket::{Buckets, Rate};
use crate::auth::SecretHash;
use crate::clock::Clock;
use crate::config::Limits;
use crate::telemetry::Telemetry;

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
    keys: Buckets<SecretHash>,
    addresses: Buckets<IpAddr>,
    failures: Buckets<IpAddr>,
    learners: Buckets<String>,
    handshakes: Buckets<IpAddr>,
}

impl Rates {
    /// Nothing used yet. `clock` should never jump.
    pub fn new(limits: &Limits, clock: Clock, telemetry: Arc<Telemetry>) -> Self {
        let address = Rate::per_second(limits.address_requests_per_second, limits.address_requests_burst);
        Self {
            clock,
            telemetry,
            keys: Buckets::new(Rate::per_second(limits.requests_per_second, limits.requests_burst)),
            addresses: Buckets::new(address),
            failures: Buckets::new(Rate::per_minute(limits.authentication_failures_per_minute)),
            learners: Buckets::new(Rate::per_minute(limits.openings_per_minute)),
            handshakes: Buckets::new(Rate::per_second(limits.handshakes_per_second, limits.handshakes_burst)),
        }
    }

    /// A request of this API key.
    ///
    /// # Errors
    /// [`TooMany`], as for all of these.
    pub fn request_of_key(&self, key: SecretHash) -> Result<(), TooMany> {
        self.judged("key", self.keys.take(key, self.clock.now_ms()))
    }

    /// A request from this address, whoever makes it.
    pub fn request_from(&self, address: Option<ClientAddress>) -> Result<(), TooMany> {
        self.of_address("address", address, |address, now_ms| self.addresses.take(address, now_ms))
    }

    /// Whether this address may still show a key.
    pub fn may_authenticate(&self, address: Option<ClientAddress>) -> Result<(), TooMany> {
        self.of_address("authentication", address, |address, now_ms| self.failures.look(address, now_ms))
    }

    /// This address has shown a wrong key, or none.
    pub fn authentication_failed(&self, address: Option<ClientAddress>) {
        if let Some(address) = address.and_then(ClientAddress::counted) {
            // Empty already: others of this address were faster, and the next look says so.
            let _ = self.failures.take(address, self.clock.now_ms());
        }
    }

    /// A session is to be opened for this learner.
    pub fn opening_for(&self, learner: &str) -> Result<(), TooMany> {
        self.judged("learner", self.learners.take(learner.to_owned(), self.clock.now_ms()))
    }

    /// A WebSocket is to be opened from this address.
    pub fn handshake_from(&self, address: Option<ClientAddress>) -> Result<(), TooMany> {
        self.of_address("handshake", address, |address, now_ms| self.handshakes.take(address, now_ms))
    }

    fn of_address(
        &self,
        limit: &str,
        address: Option<ClientAddress>,
        take: impl FnOnce(IpAddr, i64) -> Result<(), i64>,
    ) -> Result<(), TooMany> {
        let Some(address) = address.and_then(ClientAddress::counted) else { return Ok(()) };
        self.judged(limit, take(address, self.clock.now_ms()))
    }

    fn judged(&self, limit: &str, taken: Result<(), i64>) -> Result<(), TooMany> {
        taken.map_err(|retry_after_ms| {
            self.telemetry.rate_limited.count(limit);
            TooMany { retry_after_ms }
        })
    }
}
