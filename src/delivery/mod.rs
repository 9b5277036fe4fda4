//! Takes what waits in the outbox to the platforms: at least once, in order within a session, for a day.
//!
//! What is sent was decided and written before, in the transaction that closed the session; nothing here makes or
//! changes an event. A delivery in flight when the server stops is made again, with the same `webhook-id`.

pub mod address_guard;
pub(crate) mod attempt;
pub mod cloud_event;
pub mod retry;
pub mod sign;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::{Notify, watch};
use tokio::task::{Id, JoinHandle, JoinSet};

use crate::auth::keys::Keys;
use crate::clock::{Clock, Entropy, Stopwatch};
use crate::cluster::Turns;
use crate::config::Webhook;
use crate::store::outbox::DueDelivery;
use crate::store::{Store, StoreError};
use crate::telemetry::instruments::{Histogram, Words};
use attempt::{Outcome, Sender};
use retry::{Failure, Next};

/// Attempts at the same time, in all: each holds a connection for at most ten seconds.
const TOTAL_LIMIT: usize = 32;
/// Attempts at the same time to one platform, so that a slow receiver takes an eighth of them at most.
const PLATFORM_LIMIT: usize = 4;
/// What is fetched at once. Those in flight are still due in the outbox, so this leaves room for as many new ones.
const FETCH_LIMIT: usize = 2 * TOTAL_LIMIT;
/// Why a webhook is disabled.
/// Why a delivery whose checksum differs is given up.
const DAMAGED: &str = "the stored body is damaged";
const GONE: &str = "the receiver answered 410 Gone";
/// When to look into the outbox again although nobody has said that there is something, in ms: an hour is as good as
/// for ever.
const LOOK_MS: i64 = 3_600_000;
/// As [`LOOK_MS`], where other nodes fill the outbox as well.
const SHARED_LOOK_MS: i64 = 5_000;
/// How long to leave a store alone that has just failed, in ms.
const STORE_PAUSE_MS: i64 = 5_000;

/// Why deliveries cannot start.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// The HTTP client cannot be made.
    #[error("cannot make an HTTP client for webhooks: {0}")]
    Client(#[source] reqwest::Error),
}

/// What deliveries measure of themselves.
#[derive(Clone, Debug)]
pub struct DeliveryMeters {
    /// attempts, by what came of them
    pub attempts: Words,
    /// how long an attempt took
    pub attempt: Histogram,
}

impl Default for DeliveryMeters {
    fn default() -> Self {
        let attempts = Words::new("result", ["delivered", "failed", "gone", "given_up"]);
        Self { attempts, attempt: Histogram::of_seconds() }
    }
}

/// The running worker; dropping it stops it at once.
pub struct Delivery {
    stop: watch::Sender<bool>,
    recorded: watch::Receiver<u64>,
    meters: DeliveryMeters,
    task: JoinHandle<()>,
}

impl Delivery {
    /// Starts delivering, whenever it is this node's turn. `clock` is real time, which receivers check; `wake` is notified by
    /// whoever queued something.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn start(
        store: Store,
        keys: Arc<Keys>,
        clock: Clock,
        entropy: Entropy,
        config: Webhook,
        wake: Arc<Notify>,
        turns: Turns,
    ) -> Result<Self, DeliveryError> {
        let (stop, stopped) = watch::channel(false);
        let (record, recorded) = watch::channel(0);
        let (sender, meters) = (Sender::new(keys, clock.clone(), config)?, DeliveryMeters::default());
        let courier = Courier { sender, store, clock, entropy, record, meters: meters.clone() };
        let worker =
            Worker { courier: Arc::new(courier), wake, turns, in_flight: JoinSet::new(), doing: HashMap::new() };
        Ok(Self { stop, recorded, meters, task: tokio::spawn(worker.run(stopped)) })
    }

    /// What deliveries measure of themselves.
    pub fn meters(&self) -> &DeliveryMeters {
        &self.meters
    }

    /// How many attempts have ended and been recorded since the start; changes with each.
    pub fn recorded(&self) -> watch::Receiver<u64> {
        self.recorded.clone()
    }

    /// Stops; attempts in flight are cut off, and made again after the next start.
    pub async fn shutdown(mut self) {
        self.stop.send_replace(true);
        if let Err(error) = (&mut self.task).await {
            tracing::error!(%error, "the delivery worker did not end well");
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Chooses what is attempted when.
struct Worker {
    courier: Arc<Courier>,
    wake: Arc<Notify>,
    turns: Turns,
    in_flight: JoinSet<()>,
    /// Row and platform of what is in flight.
    doing: HashMap<Id, (i64, String)>,
}

impl Worker {
    async fn run(mut self, mut stopped: watch::Receiver<bool>) {
        loop {
            if !self.turns.is_mine() {
                // What is in flight is made again by whoever's turn it is, with the same `webhook-id`.
                self.in_flight.shutdown().await;
                self.doing.clear();
                tokio::select! {
                    _ = stopped.wait_for(|stop| *stop) => return,
                    () = self.turns.mine() => {}
                }
            }
            let next_ms = match self.start_due().await {
                Ok(next_ms) => next_ms,
                Err(error) => {
                    tracing::error!(%error, "cannot read the outbox; trying again");
                    Some(self.courier.clock.now_ms() + STORE_PAUSE_MS)
                }
            };
            // Whoever queues something wakes us; another node's message may be lost.
            let look_again_ms = if self.turns.is_shared() { SHARED_LOOK_MS } else { LOOK_MS };
            let look_again_ms = self.courier.clock.now_ms() + look_again_ms;
            let next_ms = next_ms.map_or(look_again_ms, |next_ms| next_ms.min(look_again_ms));
            tokio::select! {
                _ = stopped.wait_for(|stop| *stop) => return,
                () = self.turns.over() => {}
                () = self.wake.notified() => {}
                () = self.courier.clock.sleep_until_ms(next_ms) => {}
                Some(ended) = self.in_flight.join_next_with_id() => {
                    let id = match ended {
                        Ok((id, ())) => id,
                        Err(error) => {
                            tracing::error!(%error, "an attempt at a delivery ended without an outcome");
                            error.id()
                        }
                    };
                    self.doing.remove(&id);
                }
            }
        }
    }

    /// Starts what may be attempted now; says when something else will become due.
    async fn start_due(&mut self) -> Result<Option<i64>, StoreError> {
        let now_ms = self.courier.clock.now_ms();
        if self.doing.len() < TOTAL_LIMIT {
            for delivery in self.courier.store.due_deliveries(now_ms, PLATFORM_LIMIT, FETCH_LIMIT).await? {
                if self.has_room_for(&delivery) {
                    self.start(delivery);
                }
            }
        }
        self.courier.store.next_due_at(now_ms).await
    }

    fn has_room_for(&self, delivery: &DueDelivery) -> bool {
        let of_platform = self.doing.values().filter(|(_, platform)| *platform == delivery.platform).count();
        let started = self.doing.values().any(|(row, _)| *row == delivery.id);
        !started && of_platform < PLATFORM_LIMIT && self.doing.len() < TOTAL_LIMIT
    }

    fn start(&mut self, delivery: DueDelivery) {
        let doing = (delivery.id, delivery.platform.clone());
        let courier = self.courier.clone();
        let handle = self.in_flight.spawn(async move { courier.deliver(delivery).await });
        self.doing.insert(handle.id(), doing);
    }
}

/// Makes one attempt and records what came of it.
struct Courier {
    sender: Sender,
    store: Store,
    clock: Clock,
    entropy: Entropy,
    record: watch::Sender<u64>,
    meters: DeliveryMeters,
}

impl Courier {
    async fn deliver(&self, delivery: DueDelivery) {
        let attempting = Stopwatch::start();
        let outcome = match delivery.intact {
            true => self.sender.attempt(&delivery).await,
            false => Outcome::Damaged,
        };
        self.meters.attempt.observe(attempting.elapsed());
        self.meters.attempts.count(match outcome {
            Outcome::Delivered => "delivered",
            Outcome::Gone => "gone",
            Outcome::Failed { .. } | Outcome::Damaged => "failed",
        });
        let now_ms = self.clock.now_ms();
        let random = self.entropy.bytes();
        // Until the outcome is on disk the delivery stays in flight: a store that cannot write must not make this
        // server send the same webhook over and over.
        while let Err(error) = self.record(&delivery, &outcome, now_ms, random).await {
            tracing::error!(%error, event = delivery.event, "cannot record what came of a delivery; trying again");
            if matches!(error, StoreError::Stopped) {
                return;
            }
            self.clock.sleep_ms(STORE_PAUSE_MS).await;
        }
        self.record.send_modify(|count| *count += 1);
    }

    async fn record(
        &self,
        delivery: &DueDelivery,
        outcome: &Outcome,
        now_ms: i64,
        random: [u8; 8],
    ) -> Result<(), StoreError> {
        let DueDelivery { id, event, platform, .. } = delivery;
        let (error, retry_after_s) = match outcome {
            Outcome::Delivered => {
                tracing::debug!(event, platform, "delivered");
                return self.store.delivered(*id, now_ms).await;
            }
            Outcome::Gone => {
                if self.store.disable_webhook(platform, &delivery.url, GONE, now_ms).await? {
                    tracing::warn!(event, platform, "{GONE}: its webhook is disabled");
                    return Ok(());
                }
                // The platform has moved meanwhile; its new address gets what the old one refused.
                (GONE, None)
            }
            Outcome::Damaged => {
                tracing::error!(event, platform, "{DAMAGED}: it is not sent; see `invigil doctor`");
                return self.store.give_up(*id, DAMAGED, now_ms).await;
            }
            Outcome::Failed { error, retry_after_s } => (error.as_str(), *retry_after_s),
        };
        let attempts = delivery.attempts + 1;
        let first_attempt_at_ms = delivery.first_attempt_at_ms.unwrap_or(now_ms);
        match retry::next(&Failure { first_attempt_at_ms, now_ms, attempts, retry_after_s }, random) {
            Next::TryAt(at_ms) => {
                tracing::info!(event, platform, attempts, error, at_ms, "a delivery failed and will be tried again");
                self.store.failed_attempt(*id, at_ms, error, now_ms).await
            }
            Next::GiveUp => {
                self.meters.attempts.count("given_up");
                tracing::warn!(event, platform, attempts, error, "a delivery failed for a day and is given up");
                self.store.give_up(*id, error, now_ms).await
            }
        }
    }
}
