//! Photos that others look at: put into the queue, and asked for again as long as the answer would be of use.

use std::sync::atomic::{AtomicI64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::sync::Semaphore;

use super::Enrolled;
use super::frame::Of;
use super::job::Job;
use super::told::Told;
use crate::auth::keys::DataKey;
use crate::clock::{Clock, Entropy, Stopwatch};
use crate::cluster::redis::{Answer, Bus, PhotoJob, PhotoQueue, Question, QueueError, Queued, Redis};
use crate::telemetry::instruments::Gauge;
use crate::vision::{Busy, Check, EnrolError, Urgency, VisionMeters};

/// How often it is looked whether a photo still waits, ms.
const LOOK_EVERY_MS: i64 = 1_000;
/// How often in a row it is gone before it counts as lost: an answer may be on its way.
const GONE_LIMIT: usize = 2;
/// The pause before a photo that could not be looked at is queued again, ms.
const AGAIN_MS: i64 = 1_000;
/// How long a full queue counts as full, ms: whoever waits asks as often, and there may be thousands.
const FULL_HOLDS_MS: i64 = 200;

/// Nodes elsewhere, as who asks them sees them.
pub struct Elsewhere {
    node: String,
    master: DataKey,
    entropy: Entropy,
    /// never jumps
    steady: Clock,
    bus: Bus,
    queue: PhotoQueue,
    /// photos of this node that may wait
    room: Semaphore,
    /// by the steady clock
    full_until_ms: AtomicI64,
    meters: VisionMeters,
}

/// What is needed to ask others.
pub struct Ways {
    /// the queue
    pub redis: Redis,
    /// the answers
    pub bus: Bus,
    /// the name of this node there
    pub node: String,
    /// seals what goes there
    pub master: DataKey,
    /// for nonces
    pub entropy: Entropy,
    /// a clock that never jumps
    pub steady: Clock,
    /// photos that may wait, of this node and of all
    pub queue_limit: usize,
}

/// A photo of this node that waits, as it is counted.
struct Waits<'a>(&'a Gauge);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Elsewhere {
    /// Those who take from the queue.
    pub fn new(ways: Ways) -> Self {
        Self {
            node: ways.node,
            master: ways.master,
            entropy: ways.entropy,
            steady: ways.steady,
            bus: ways.bus,
            queue: PhotoQueue::new(ways.redis, ways.queue_limit),
            room: Semaphore::new(ways.queue_limit),
            full_until_ms: AtomicI64::new(i64::MIN),
            meters: VisionMeters::default(),
        }
    }

    pub(super) fn meters(&self) -> &VisionMeters {
        &self.meters
    }

    /// When an answer is of no use any more that is for `limit_ms` from now on, ms by a clock that never jumps.
    pub(super) fn deadline_ms(&self, limit_ms: i64) -> i64 {
        self.steady.now_ms() + limit_ms
    }

    /// Asks until there is an answer, or whoever waits for it gives up.
    pub(super) async fn check(&self, job: &Job, urgency: Urgency, deadline_ms: i64) -> Result<Check, Busy> {
        let wanted = |told| match told {
            Told::Checked(check) => Some(*check),
            Told::Enrolled(_) => None,
        };
        self.ask(job, urgency, deadline_ms, wanted).await
    }

    /// The same for an enrolment.
    pub(super) async fn enrol(&self, job: &Job, deadline_ms: i64) -> Result<Enrolled, EnrolError> {
        let wanted = |told| match told {
            Told::Enrolled(enrolled) => Some(*enrolled),
            Told::Checked(_) => None,
        };
        self.ask(job, Urgency::Later, deadline_ms, wanted).await?
    }

    async fn ask<T>(
        &self,
        job: &Job,
        urgency: Urgency,
        deadline_ms: i64,
        wanted: impl Fn(Told) -> Option<T>,
    ) -> Result<T, Busy> {
        let is_start = urgency == Urgency::Start;
        let _room = self.room.try_acquire().map_err(|_| self.refuse())?;
        if self.steady.now_ms() < self.full_until_ms.load(Ordering::Relaxed) {
            return Err(self.refuse());
        }
        self.meters.queue_depth.inc();
        let (_waits, asking) = (Waits(&self.meters.queue_depth), Stopwatch::start());
        loop {
            let mut question = self.bus.question();
            let of = Of { node: &self.node, question: question.number };
            let payload = job.seal(&self.master, &self.entropy, of);
            let queued = PhotoJob { node: self.node.clone(), question: question.number, is_start, wait_ms: 0, payload };
            match self.answer(queued, deadline_ms, &mut question).await? {
                Answer::Checked { check } => {
                    match self.open(of, &check).and_then(|told| wanted(told).ok_or_else(other)) {
                        Ok(told) => {
                            self.meters.check.observe(asking.elapsed());
                            return Ok(told);
                        }
                        Err(why) => tracing::error!(why, "an answer about a photo is none: it is asked for again"),
                    }
                }
                answer => tracing::debug!(?answer, "a photo was not looked at: it is queued again"),
            }
            self.steady.sleep_ms(AGAIN_MS).await;
        }
    }

    /// Queues a photo until somebody answers, and again when it is in the queue no longer: Redis has lost it, or the
    /// answer.
    async fn answer(&self, mut job: PhotoJob, deadline_ms: i64, question: &mut Question) -> Result<Answer, Busy> {
        loop {
            job.wait_ms = deadline_ms - self.steady.now_ms();
            match self.queue.add(&job).await {
                Ok(queued) => {
                    if let Some(answer) = self.answer_to(question, &queued).await {
                        return Ok(answer);
                    }
                    tracing::debug!(
                        question = question.number,
                        "a photo is gone without an answer: it is queued again"
                    );
                }
                Err(QueueError::Busy) => {
                    self.full_until_ms.store(self.steady.now_ms() + FULL_HOLDS_MS, Ordering::Relaxed);
                    return Err(self.refuse());
                }
                Err(QueueError::Away(away)) => {
                    tracing::debug!(%away, "a photo cannot be queued now");
                    // It may be queued all the same.
                    if let Some(answer) = self.bus.answer_to(question, AGAIN_MS).await {
                        return Ok(answer);
                    }
                }
            }
        }
    }

    /// The answer; none once the photo is in the queue no longer.
    async fn answer_to(&self, question: &mut Question, queued: &Queued) -> Option<Answer> {
        let mut gone = 0;
        while gone < GONE_LIMIT {
            if let Some(answer) = self.bus.answer_to(question, LOOK_EVERY_MS).await {
                return Some(answer);
            }
            match self.queue.holds(queued).await {
                Ok(true) => gone = 0,
                Ok(false) => gone += 1,
                // Nobody knows.
                Err(_) => {}
            }
        }
        None
    }

    fn open(&self, of: Of<'_>, answer: &serde_json::Value) -> Result<Told, String> {
        let sealed = answer.as_str().ok_or_else(other)?;
        let sealed = STANDARD.decode(sealed).map_err(|error| error.to_string())?;
        Told::open(&self.master, of, &sealed).map_err(|error| error.to_string())
    }

    fn refuse(&self) -> Busy {
        self.meters.refused.inc();
        Busy
    }
}

fn other() -> String {
    "it answers another question".to_owned()
}
