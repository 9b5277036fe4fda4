//! A bounded pool of threads that look at photos, each with models of its own.
//!
//! When its queue is full it says so at once: a caller can shed load only if it is told. When a worker panics or a
//! model fails, the outcome is `error`, and the worker gets fresh models before its next photo.

use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::manifest::{DEFAULT_FOLDER, ModelDigests};
use super::{Check, Checker, Digest, EnrolError, Models, Outcome, Question, Reason, Template, VisionError};
use crate::clock::Stopwatch;
use crate::telemetry::instruments::{Counter, Gauge, Histogram};

/// How a pool is set up.
#[derive(Clone, Debug)]
pub struct VisionConfig {
    /// Where `make models` left its files.
    pub models: PathBuf,
    /// Threads; each takes about 120 MB for its models.
    pub workers: usize,
    /// Photos that may wait for a thread.
    pub queue: usize,
}

impl Default for VisionConfig {
    /// One worker a core; four photos may wait for each, which at worst is a wait of about a tenth of a second.
    fn default() -> Self {
        let workers = thread::available_parallelism().map_or(1, usize::from);
        Self { models: PathBuf::from(DEFAULT_FOLDER), workers, queue: 4 * workers }
    }
}

/// The queue is full: nothing was done, try again later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("too many photos are waiting already")]
pub struct Busy;

/// What a worker is asked.
enum Job {
    Check {
        photo: Arc<[u8]>,
        question: Box<Question>,
        reply: oneshot::Sender<Check>,
    },
    Enrol {
        photo: Arc<[u8]>,
        reply: oneshot::Sender<Result<Template, EnrolError>>,
    },
    #[cfg(test)]
    Panic,
}

/// What the pool measures of itself.
#[derive(Clone, Debug)]
pub struct VisionMeters {
    /// photos that wait for a worker
    pub queue_depth: Gauge,
    /// from a photo's arrival in the queue to its answer
    pub check: Histogram,
    /// photos for which there was no room
    pub refused: Counter,
    /// workers that have no models, because they could not be loaded again after a failure
    pub failed_workers: Gauge,
}

impl Default for VisionMeters {
    fn default() -> Self {
        let (queue_depth, failed_workers) = (Gauge::default(), Gauge::default());
        Self { queue_depth, check: Histogram::of_seconds(), refused: Counter::default(), failed_workers }
    }
}

/// The pool. Dropping it lets each worker finish its photo, and waits for that.
pub struct VisionPool {
    jobs: Option<SyncSender<Job>>,
    workers: Vec<JoinHandle<()>>,
    digests: ModelDigests,
    capacity: usize,
    meters: VisionMeters,
}

impl VisionPool {
    /// Verifies and loads the models, and starts the workers.
    ///
    /// # Errors
    /// When a model or the runtime is missing, has other bytes, or does not load.
    pub fn start(config: VisionConfig) -> Result<Self, VisionError> {
        let models = Models::load(&config.models)?;
        let digests = models.digests();
        let (queue, workers) = (config.queue.max(1), config.workers.max(1));
        let (jobs, waiting) = mpsc::sync_channel(queue);
        let mut pool =
            Self { jobs: Some(jobs), workers: Vec::new(), digests, capacity: queue, meters: VisionMeters::default() };
        let waiting = Arc::new(Mutex::new(waiting));
        for number in 0..workers {
            let (checker, meters) = (Some(Checker::new(&models)?), pool.meters.clone());
            let worker = Worker { checker, models: config.models.clone(), digests, meters, failed: false };
            let waiting = Arc::clone(&waiting);
            let thread = thread::Builder::new().name(format!("vision-{number}"));
            pool.workers.push(thread.spawn(move || worker.run(&waiting))?);
        }
        Ok(pool)
    }

    /// What the models and the runtime are, by digest.
    pub fn digests(&self) -> ModelDigests {
        self.digests
    }

    /// What the pool measures of itself.
    pub fn meters(&self) -> &VisionMeters {
        &self.meters
    }

    /// Whether a worker with models is left.
    pub fn works(&self) -> bool {
        let alive = self.workers.iter().filter(|worker| !worker.is_finished()).count();
        self.meters.failed_workers.get() < alive as i64
    }

    /// How many photos are looked at together.
    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    /// How many photos can be under way without one being refused.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Holds a submission against what was asked. Dropping the future gives up a photo that still waits.
    ///
    /// # Errors
    /// [`Busy`] at once when the queue is full.
    pub async fn check(&self, photo: Arc<[u8]>, question: Question) -> Result<Check, Busy> {
        let (reply, answer) = oneshot::channel();
        let lost = failed_check(&photo, &question.enrolled, self.digests);
        let checking = Stopwatch::start();
        self.send(Job::Check { photo, question: Box::new(question), reply })?;
        let check = answer.await.unwrap_or(lost);
        self.meters.check.observe(checking.elapsed());
        Ok(check)
    }

    /// Makes a template of the one face in a photo.
    ///
    /// # Errors
    /// [`EnrolError`] says what to mend, or that the engine is busy.
    pub async fn enrol(&self, photo: Arc<[u8]>) -> Result<Template, EnrolError> {
        let (reply, answer) = oneshot::channel();
        self.send(Job::Enrol { photo, reply })?;
        answer.await.unwrap_or_else(|_| Err(EnrolError::Engine(WORKER_LOST.to_owned())))
    }

    fn send(&self, job: Job) -> Result<(), Busy> {
        let jobs = self.jobs.as_ref().ok_or(Busy)?;
        // Disconnected means that no worker is left, which cannot be as long as they catch their panics.
        self.meters.queue_depth.inc();
        jobs.try_send(job).map_err(|_| {
            self.meters.queue_depth.dec();
            self.meters.refused.inc();
            Busy
        })
    }

    #[cfg(test)]
    pub(super) fn panic_once(&self) {
        self.send(Job::Panic).unwrap();
    }
}

impl Drop for VisionPool {
    fn drop(&mut self) {
        self.jobs = None;
        for worker in self.workers.drain(..) {
            // A worker that ended in a panic has nothing left to finish.
            let _ = worker.join();
        }
    }
}

const WORKER_LOST: &str = "the worker failed";

fn failed_check(photo: &[u8], enrolled: &Template, models: ModelDigests) -> Check {
    let reason = Some(Reason::Engine(WORKER_LOST.to_owned()));
    Check { reason, ..Check::unanswered(Digest::of(photo), enrolled.photo(), models) }
}

struct Worker {
    /// Absent after a failure, until fresh models are there.
    checker: Option<Checker>,
    models: PathBuf,
    digests: ModelDigests,
    meters: VisionMeters,
    /// the models could not be loaded again
    failed: bool,
}

impl Worker {
    fn run(mut self, waiting: &Mutex<Receiver<Job>>) {
        while let Some(job) = next(waiting) {
            self.meters.queue_depth.dec();
            // Only what survives a panic is used after it: the checker is dropped.
            if panic::catch_unwind(AssertUnwindSafe(|| self.work(job))).is_err() {
                tracing::error!("a vision worker panicked; it gets fresh models");
                self.checker = None;
            }
        }
    }

    fn work(&mut self, job: Job) {
        match job {
            Job::Check { photo, question, reply } if !reply.is_closed() => {
                let check = match self.checker() {
                    Ok(checker) => checker.check(&photo, &question),
                    Err(_) => failed_check(&photo, &question.enrolled, self.digests),
                };
                self.after(check.outcome == Outcome::Error && check.reason != Some(Reason::OtherModel));
                // Nobody waits any more: the answer has no reader.
                let _ = reply.send(check);
            }
            Job::Enrol { photo, reply } if !reply.is_closed() => {
                let made = self.checker().map_err(|error| EnrolError::Engine(error.to_string()));
                let made = made.and_then(|checker| checker.enrol(&photo));
                self.after(matches!(made, Err(EnrolError::Engine(_))));
                let _ = reply.send(made);
            }
            #[cfg(test)]
            Job::Panic => panic!("asked to"),
            Job::Check { .. } | Job::Enrol { .. } => {}
        }
    }

    fn checker(&mut self) -> Result<&mut Checker, VisionError> {
        let checker = match self.checker.take() {
            Some(checker) => checker,
            None => {
                let loaded = Models::load(&self.models).and_then(|models| Checker::new(&models));
                self.say_failed(loaded.is_err());
                loaded?
            }
        };
        Ok(self.checker.insert(checker))
    }

    /// Counts this worker among those without models, or no longer.
    fn say_failed(&mut self, failed: bool) {
        if failed != self.failed {
            self.failed = failed;
            self.meters.failed_workers.inc_by(if failed { 1 } else { -1 });
        }
    }

    fn after(&mut self, failed: bool) {
        if failed {
            tracing::error!("a model failed; the worker gets fresh ones");
            self.checker = None;
        }
    }
}

/// The next job; `None` once the pool is dropped and the queue is empty.
fn next(waiting: &Mutex<Receiver<Job>>) -> Option<Job> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}
