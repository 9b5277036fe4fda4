//! From live sessions to findings on record: a bounded channel, and one task that owns the detectors.
//!
//! Sessions tell what is on disk already, and never wait: when the channel is full the observation is dropped, counted,
//! and the count is logged. A warning may be lost that way, never an event. What the detectors must remember over a
//! restart is kept as sightings; a session's own signs come back from its log.

mod peers;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::clock::{Clock, Entropy};
use crate::cluster::Turn;
use crate::risk::{Effects, Engine, FaceSearch, Finding, Observation, SightingKind, day_of};
use crate::store::face_scope::Scope;
use crate::store::face_searches::DueSearch;
use crate::store::{Store, StoreError};

pub use peers::{Peers, heard};

/// Observations that may wait: a minute of 5 000 sessions that each tell one or two.
const OBSERVATIONS_LIMIT: usize = 8_192;
/// Observations that share a transaction.
const TOGETHER_LIMIT: usize = 512;
/// When to try again after the store could not keep something, ms.
const STORE_PAUSE_MS: i64 = 1_000;

enum Message {
    Observed(Observation),
    /// By a session of another node, which believes that it is the turn of this one.
    Forwarded(Observation),
    /// Answered once everything before it is on record.
    Settle(oneshot::Sender<()>),
}

/// Tells the detectors. Cheap to clone.
#[derive(Clone)]
pub struct Reporter {
    messages: mpsc::Sender<Message>,
    dropped: Arc<AtomicU64>,
}

/// The other end of a [`Reporter`].
pub struct Inbox {
    messages: mpsc::Receiver<Message>,
    dropped: Arc<AtomicU64>,
}

/// A way to tell the detectors, and what they will hear.
pub fn channel() -> (Reporter, Inbox) {
    let (sender, receiver) = mpsc::channel(OBSERVATIONS_LIMIT);
    let dropped = Arc::new(AtomicU64::new(0));
    (Reporter { messages: sender, dropped: dropped.clone() }, Inbox { messages: receiver, dropped })
}

impl Reporter {
    /// Tells an observation, without waiting: one too many is dropped and counted.
    pub fn tell(&self, observation: Observation) {
        if self.messages.try_send(Message::Observed(observation)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// As [`Reporter::tell`], for another node.
    pub fn tell_for_another(&self, observation: Observation) {
        if self.messages.try_send(Message::Forwarded(observation)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many observations were dropped since the start.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Returns once what follows from everything told so far is on record, or the detectors have stopped.
    pub async fn settled(&self) {
        let (settled, answer) = oneshot::channel();
        if self.messages.send(Message::Settle(settled)).await.is_ok() {
            let _ = answer.await;
        }
    }
}

/// The running detectors.
pub struct Detectors {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Detectors {
    /// Starts the detectors with what was kept before. `clock` is that of sessions.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn start(
        store: Store,
        clock: Clock,
        wall: Clock,
        entropy: Entropy,
        inbox: Inbox,
        peers: Peers,
    ) -> Result<Self, StoreError> {
        let today = day_of(clock.now_ms());
        let engine = if peers.turns.is_mine() { Some(recall(&store, today).await?) } else { None };
        let (stop, stopped) = watch::channel(false);
        let task = Task { store, wall, entropy, peers, engine, inbox, today, forgotten_on: today, dropped_told: 0 };
        Ok(Self { stop, task: tokio::spawn(task.run(stopped)) })
    }

    /// Stops, once what has been told is on record.
    pub async fn shutdown(mut self) {
        self.stop.send_replace(true);
        if let Err(error) = (&mut self.task).await {
            tracing::error!(%error, "the risk detectors did not end well");
        }
    }
}

impl Drop for Detectors {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Task {
    store: Store,
    wall: Clock,
    entropy: Entropy,
    peers: Peers,
    /// none while it is another node's turn, or what was kept could not be read yet
    engine: Option<Engine>,
    inbox: Inbox,
    today: i64,
    forgotten_on: i64,
    dropped_told: u64,
}

impl Task {
    async fn run(mut self, mut stopped: watch::Receiver<bool>) {
        let mut messages = Vec::with_capacity(TOGETHER_LIMIT);
        loop {
            let stopping = tokio::select! {
                // What was told before the stop comes before it.
                biased;
                taken = self.inbox.messages.recv_many(&mut messages, TOGETHER_LIMIT) => taken == 0,
                _ = stopped.wait_for(|stop| *stop) => true,
            };
            if stopping {
                return;
            }
            let waiting = self.take(&mut messages, &stopped).await;
            for settled in waiting {
                let _ = settled.send(());
            }
            self.say_dropped();
        }
    }

    /// Takes messages and puts on record what follows; gives who waits for that.
    async fn take(&mut self, messages: &mut Vec<Message>, stopped: &watch::Receiver<bool>) -> Vec<oneshot::Sender<()>> {
        let (mut observed, mut forwarded, mut waiting) = (Vec::new(), Vec::new(), Vec::new());
        for message in messages.drain(..) {
            match message {
                Message::Observed(observation) => observed.push(observation),
                Message::Forwarded(observation) => forwarded.push(observation),
                Message::Settle(settled) => waiting.push(settled),
            }
        }
        let turn = self.peers.turns.now();
        self.take_turn(turn == Turn::Mine).await;
        match (&mut self.engine, turn) {
            (Some(engine), _) => {
                let mut effects = Effects::default();
                for observation in observed.iter().chain(&forwarded) {
                    self.today = self.today.max(day_of(observation.at));
                    engine.observe(observation, &mut effects);
                }
                self.keep(effects, stopped).await;
            }
            (None, Turn::Of(node)) => {
                // What was forwarded is not sent on: two that each believe in the other would never end.
                let lost = forwarded.len() as u64 + self.peers.send(&node, &observed).await;
                self.inbox.dropped.fetch_add(lost, Ordering::Relaxed);
            }
            (None, Turn::Mine | Turn::Unknown) => {
                self.inbox.dropped.fetch_add((observed.len() + forwarded.len()) as u64, Ordering::Relaxed);
            }
        }
        waiting
    }

    /// Begins from what all nodes have kept, or leaves it to another.
    async fn take_turn(&mut self, mine: bool) {
        if !mine {
            self.engine = None;
        } else if self.engine.is_none() {
            match recall(&self.store, self.today).await {
                Ok(engine) => self.engine = Some(engine),
                Err(error) => tracing::warn!(%error, "what was seen before cannot be read yet"),
            }
        }
    }

    /// Puts on record. While the store cannot, observations wait in the channel, and are dropped when that is full.
    async fn keep(&mut self, effects: Effects, stopped: &watch::Receiver<bool>) {
        let Effects { findings, sightings, searches } = effects;
        for finding in &findings {
            let Finding { code, subject, severity, .. } = finding;
            tracing::info!(%code, subject, %severity, "a warning for supervisors");
        }
        let findings: Vec<(String, Finding)> =
            findings.into_iter().map(|finding| (self.entropy.id(finding.at).to_string(), finding)).collect();
        let asked: Vec<DueSearch> = searches.iter().filter_map(due).collect();
        if findings.is_empty() && sightings.is_empty() && asked.is_empty() {
            return;
        }
        // Whom a search looks through was seen before it.
        let keep = async || {
            self.store.keep_risk(sightings.clone(), findings.clone()).await?;
            if asked.is_empty() { Ok(()) } else { self.store.ask_face_searches(asked.clone()).await }
        };
        while let Err(error) = keep().await {
            tracing::error!(%error, findings = findings.len(), "warnings cannot be put on record; trying again");
            if matches!(error, StoreError::Stopped) || *stopped.borrow() {
                return;
            }
            self.wall.sleep_ms(STORE_PAUSE_MS).await;
        }
        self.forget_old().await;
    }

    /// Once a day deletes what is of no use any more.
    async fn forget_old(&mut self) {
        let day = self.today;
        if self.forgotten_on == day {
            return;
        }
        match self.store.forget_sightings(day).await {
            Ok(()) => self.forgotten_on = day,
            Err(error) => tracing::warn!(%error, "old sightings cannot be deleted yet"),
        }
    }

    fn say_dropped(&mut self) {
        let dropped = self.inbox.dropped.load(Ordering::Relaxed);
        if dropped > self.dropped_told {
            let more = dropped - self.dropped_told;
            tracing::warn!(more, dropped, "observations were dropped: warnings may be missing, no event is");
            self.dropped_told = dropped;
        }
    }
}

fn due(search: &FaceSearch) -> Option<DueSearch> {
    let value = search.value.to_string();
    let scope = match search.kind {
        SightingKind::Device => Scope::Device(value),
        SightingKind::Address => Scope::Address(value),
        SightingKind::Start | SightingKind::Verdict => return None,
    };
    Some(DueSearch { scope, learner: search.learner.to_string(), at: search.at })
}

/// Detectors that remember what was kept.
async fn recall(store: &Store, today: i64) -> Result<Engine, StoreError> {
    let mut engine = Engine::default();
    for sighting in store.sightings(today).await? {
        engine.recall(&sighting);
    }
    Ok(engine)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Policy;
    use crate::risk::{Sign, Who};
    use crate::store::findings::FindingFilter;
    use crate::store::fixture;
    use crate::store::page::PageRequest;

    const AT: i64 = 1_790_000_000_000;

    fn connected(learner: &str) -> Observation {
        let who = Who {
            session: format!("session of {learner}").into(),
            learner: learner.into(),
            platform: "p1".into(),
            policy: Policy::default().into(),
        };
        let sign = Sign::Connected { address: None, device: Some("00ff".into()), first: true };
        Observation { who: who.into(), at: AT, sign }
    }

    async fn start(store: &Store, inbox: Inbox) -> Detectors {
        let clock = Clock::manual(AT);
        Detectors::start(store.clone(), clock.clone(), clock, Entropy::seeded(1), inbox, Peers::none()).await.unwrap()
    }

    async fn codes(store: &Store) -> Vec<String> {
        let page = store.findings(FindingFilter::default(), PageRequest::default()).await.unwrap();
        page.items.iter().map(|finding| format!("{} {:?}", finding.code, finding.learners)).collect()
    }

    #[tokio::test]
    async fn what_was_seen_before_a_restart_counts_after_it() {
        let (_folder, store) = fixture::store().await;
        let (reporter, inbox) = channel();
        let detectors = start(&store, inbox).await;
        for learner in ["a", "b"] {
            reporter.tell(connected(learner));
        }
        // A stop comes after what was told.
        detectors.shutdown().await;
        assert_eq!(codes(&store).await, Vec::<String>::new());
        let (reporter, inbox) = channel();
        let detectors = start(&store, inbox).await;
        for learner in ["c", "a", "d"] {
            reporter.tell(connected(learner));
        }
        reporter.settled().await;
        assert_eq!(codes(&store).await, [r#"device_learners ["a", "b", "c", "d"]"#]);
        detectors.shutdown().await;
        // Nobody waits for ever.
        reporter.settled().await;
    }

    #[tokio::test]
    async fn a_full_channel_drops_and_counts() {
        let (reporter, inbox) = channel();
        for _ in 0..OBSERVATIONS_LIMIT + 3 {
            reporter.tell(connected("a"));
        }
        assert_eq!(reporter.dropped(), 3);
        drop(inbox);
        reporter.settled().await;
    }
}
