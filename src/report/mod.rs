//! Reports enrolments and verdicts to a provincial real-name training platform (实名制职业培训管理平台).
//!
//! What is to be reported is queued in the transaction that makes it true ([`crate::store::reports`]). Here it is put
//! into batches, in order and one at a time; a batch keeps its number and its bytes until every item has an answer, so
//! that a receiver can tell a repetition. Nothing is given up: a platform that is down for a week gets everything
//! after it. How a platform calls things is a [`mapping`], how it is spoken to a [`connector`].

pub mod connector;
pub mod https;
pub mod mapping;
pub mod people;

use std::sync::Arc;

use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::auth::keys::Keys;
use crate::clock::{Clock, Entropy};
use crate::cluster::Turns;
use crate::delivery::retry::{self, Failure, Next};
use crate::store::reports::{OpenBatch, ReportRecord};
use crate::store::{Store, StoreError};
use connector::{Acknowledgement, Batch, Connector, PushError};
use mapping::Mapping;
use people::People;

/// How long to leave a store alone that has just failed, in ms.
const STORE_PAUSE_MS: i64 = 5_000;

/// What reporting works with.
pub struct Parts {
    /// where items are queued
    pub store: Store,
    /// for sealing batches
    pub keys: Arc<Keys>,
    /// real time, which receivers check
    pub clock: Clock,
    /// for numbers of batches and waits
    pub entropy: Entropy,
    /// the way to the platform
    pub connector: Arc<dyn Connector>,
    /// how the platform calls things
    pub mapping: Arc<Mapping>,
    /// who knows names and ID numbers
    pub people: Arc<dyn People>,
    /// whose turn it is to report
    pub turns: Turns,
    /// items in a batch, at most
    pub batch_size: usize,
    /// how often it is looked whether something waits, ms
    pub interval_ms: i64,
}

/// The running reporter; dropping it stops it at once.
pub struct Reporting {
    stop: watch::Sender<bool>,
    recorded: watch::Receiver<u64>,
    task: JoinHandle<()>,
}

impl Reporting {
    /// Starts reporting; what happened before reporting was ever on is queued first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn start(parts: Parts) -> Result<Self, StoreError> {
        let queued = parts.store.set_reporting(true, parts.clock.now_ms()).await?;
        if queued > 0 {
            tracing::info!(queued, "reporting begins with what happened before");
        }
        let (stop, stopped) = watch::channel(false);
        let (record, recorded) = watch::channel(0);
        let size = parts.batch_size;
        let task = tokio::spawn(Reporter { parts, record, size }.run(stopped));
        Ok(Self { stop, recorded, task })
    }

    /// How many attempts have ended and been recorded since the start; changes with each.
    pub fn recorded(&self) -> watch::Receiver<u64> {
        self.recorded.clone()
    }

    /// Stops; an attempt in flight is cut off, and made again after the next start with the same number and bytes.
    pub async fn shutdown(mut self) {
        self.stop.send_replace(true);
        if let Err(error) = (&mut self.task).await {
            tracing::error!(%error, "the reporter did not end well");
        }
    }
}

impl Drop for Reporting {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Reporter {
    parts: Parts,
    record: watch::Sender<u64>,
    /// Items of the next batch: less than configured after the receiver refused one as a whole.
    size: usize,
}

/// What came of one step.
enum Step {
    /// There may be more to do at once.
    GoOn,
    /// Nothing is to be done before this time, ms since the Unix epoch.
    WaitUntil(i64),
}

impl Reporter {
    async fn run(mut self, mut stopped: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                _ = stopped.wait_for(|stop| *stop) => return,
                () = self.parts.turns.mine() => {}
            }
            let step = tokio::select! {
                _ = stopped.wait_for(|stop| *stop) => return,
                step = self.step() => step,
            };
            let until_ms = match step {
                Ok(Step::GoOn) => continue,
                Ok(Step::WaitUntil(at_ms)) => at_ms,
                Err(StoreError::Stopped) => return,
                Err(error) => {
                    tracing::error!(%error, "the reporter cannot use the store; trying again");
                    self.parts.clock.now_ms() + STORE_PAUSE_MS
                }
            };
            tokio::select! {
                _ = stopped.wait_for(|stop| *stop) => return,
                () = self.parts.clock.sleep_until_ms(until_ms) => {}
            }
        }
    }

    async fn step(&mut self) -> Result<Step, StoreError> {
        let look_again_ms = self.parts.clock.now_ms() + self.parts.interval_ms;
        match self.parts.store.open_report_batch().await? {
            // Somebody may have brought the batch forward meanwhile, so its time is looked at now and then.
            Some(batch) if batch.next_attempt_at_ms > self.parts.clock.now_ms() => {
                Ok(Step::WaitUntil(batch.next_attempt_at_ms.min(look_again_ms)))
            }
            Some(batch) => self.push(batch).await.map(|()| Step::GoOn),
            None if self.begin().await? => Ok(Step::GoOn),
            None => Ok(Step::WaitUntil(look_again_ms)),
        }
    }

    /// Puts what waits into a batch; says whether anything waited.
    async fn begin(&self) -> Result<bool, StoreError> {
        let parts = &self.parts;
        let pending = parts.store.pending_reports(self.size).await?;
        if pending.is_empty() {
            return Ok(false);
        }
        let now_ms = parts.clock.now_ms();
        let (mut items, mut mapped, mut unfit) = (Vec::new(), Vec::new(), Vec::new());
        for record in pending {
            match self.map(&record).await? {
                Ok(fields) => {
                    items.push(record.id);
                    mapped.push(fields);
                }
                Err(why) => unfit.push((record.id, Some(why))),
            }
        }
        if !unfit.is_empty() {
            tracing::warn!(items = unfit.len(), "items cannot be reported as the mapping asks: see GET /reports");
            parts.store.settle_reports(unfit, now_ms).await?;
        }
        if !items.is_empty() {
            let number = parts.entropy.id(now_ms).to_string();
            let body = parts.mapping.body(&number, now_ms, mapped);
            let sealed = parts.keys.master().seal(&parts.entropy, &context(&number), body.as_bytes());
            parts.store.begin_report_batch(&number, sealed, items, now_ms).await?;
        }
        Ok(true)
    }

    async fn map(&self, record: &ReportRecord) -> Result<Result<serde_json::Map<String, Value>, String>, StoreError> {
        let person = match self.parts.mapping.asks_for_person(record.kind) {
            false => None,
            true => match self.parts.people.person(&record.learner).await {
                Ok(person) => person,
                Err(people::PeopleError::Store(error)) => return Err(error),
                Err(error) => return Ok(Err(error.to_string())),
            },
        };
        Ok(self.parts.mapping.record(record, person.as_ref()))
    }

    /// Makes an attempt at a batch and records what came of it.
    async fn push(&mut self, batch: OpenBatch) -> Result<(), StoreError> {
        let OpenBatch { id, number, attempts, .. } = &batch;
        let body = self.parts.keys.master().open(&context(number), &batch.sealed_body);
        let body = body.ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let body = body.ok_or_else(|| StoreError::Corrupt {
            what: "report",
            why: format!("batch {number} is sealed otherwise"),
        })?;
        let numbers: Vec<String> = batch.items.iter().map(|(_, number)| number.clone()).collect();
        let pushed = self.parts.connector.push(&Batch { number: number.clone(), items: numbers, body }).await;
        let now_ms = self.parts.clock.now_ms();
        let error = match pushed {
            Ok(answers) => {
                let answers = answers_to(&batch, answers);
                let next_ms = self.next_attempt_ms(*attempts, None);
                if self.parts.store.answered_report_batch(*id, answers, next_ms, now_ms).await? {
                    self.size = (self.size * 2).min(self.parts.batch_size);
                }
                None
            }
            Err(PushError::Rejected(why)) => Some(self.rejected(&batch, why, now_ms).await?),
            Err(PushError::Failed { error, retry_after_s }) => {
                let next_ms = self.next_attempt_ms(*attempts, retry_after_s);
                self.parts.store.failed_report_batch(*id, next_ms, &error).await?;
                Some(error)
            }
        };
        if let Some(error) = error {
            tracing::warn!(batch = number, attempts = attempts + 1, error, "a batch of reports was not taken");
        }
        self.record.send_modify(|count| *count += 1);
        Ok(())
    }

    /// The receiver will never take this batch: smaller ones find out which item it is, and that one is refused.
    async fn rejected(&mut self, batch: &OpenBatch, why: String, now_ms: i64) -> Result<String, StoreError> {
        match batch.items.as_slice() {
            [(item, _)] => {
                let refused = vec![(*item, Some(why.clone()))];
                self.parts.store.answered_report_batch(batch.id, refused, now_ms, now_ms).await?;
            }
            several => {
                self.size = (several.len() / 2).max(1);
                self.parts.store.dissolve_report_batch(batch.id, &why, now_ms).await?;
            }
        }
        Ok(why)
    }

    /// As for webhooks, but without an end: the first attempt never lies a day back.
    fn next_attempt_ms(&self, attempts: u32, retry_after_s: Option<u32>) -> i64 {
        let now_ms = self.parts.clock.now_ms();
        let failure = Failure { first_attempt_at_ms: now_ms, now_ms, attempts: attempts + 1, retry_after_s };
        match retry::next(&failure, self.parts.entropy.bytes()) {
            Next::TryAt(at_ms) => at_ms,
            Next::GiveUp => now_ms + retry::GIVE_UP_AFTER_MS,
        }
    }
}

/// The rows that a receiver's acknowledgements are about; what it says of anything else is nobody's business.
fn answers_to(batch: &OpenBatch, answers: Vec<Acknowledgement>) -> Vec<(i64, Option<String>)> {
    let row_of = |number: &str| batch.items.iter().find(|(_, known)| known == number).map(|(row, _)| *row);
    answers.into_iter().filter_map(|answer| Some((row_of(&answer.item)?, answer.refused))).collect()
}

fn context(number: &str) -> String {
    format!("report batch {number}")
}
