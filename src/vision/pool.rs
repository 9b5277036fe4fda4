//! A bounded pool of threads that look at photos, each with models of its own.
//!
//! When its queue is full it says so at once: a caller can shed load only if it is told. Who waits, and who comes next, is
//! `queue`'s business; what is past its deadline is given up before any work. When a worker panics or a model fails, the
//! outcome is `error`, and the worker gets fresh models before its next photo.

use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use axum::body::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::manifest::{DEFAULT_FOLDER, ModelDigests};
use super::queue::{Put, Queue, Turn};
use super::{
    Check, Checker, Digest, EnrolError, Models, Outcome, Question, Reason, Running, Template, VisionError, Wanted,
};
use crate::clock::{Clock, Stopwatch};
use crate::telemetry::instruments::{Counter, Gauge, Histogram};

/// How often it is logged at most that photos are given up, ms: under overload there are hundreds a second.
const SAID_EVERY_MS: i64 = 10_000;

/// How a pool is set up.
#[derive(Clone, Debug)]
pub struct VisionConfig {
    /// Where `make models` left its files.
    pub models: PathBuf,
    /// Threads; each takes about 120 MB for its models.
    pub workers: usize,
    /// Photos that may wait for a thread.
    pub queue: usize,
    /// What computes the models.
    pub wanted: Wanted,
    /// What deadlines are held against; it never jumps.
    pub steady: Clock,
}

impl Default for VisionConfig {
    /// One worker a core; four photos may wait for each, which at worst is a wait of about a tenth of a second.
    fn default() -> Self {
        let workers = thread::available_parallelism().map_or(1, usize::from);
        Self {
            models: PathBuf::from(DEFAULT_FOLDER),
            workers,
            queue: 4 * workers,
            wanted: Wanted::default(),
            steady: Clock::scaled(1),
        }
    }
}

/// The queue is full: nothing was done, try again later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("too many photos are waiting already")]
pub struct Busy;

/// Why a photo was not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unseen {
    /// There was no room, or its room went to a photo that was more urgent: try again later.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// Its deadline was over before a worker came to it.
    #[error("its deadline was over before it was looked at")]
    Late,
}

/// What a worker is asked.
enum Job {
    Check {
        photo: Bytes,
        question: Box<Question>,
        reply: oneshot::Sender<Result<Check, Unseen>>,
    },
    Enrol {
        photo: Bytes,
        reply: oneshot::Sender<Result<Template, EnrolError>>,
    },
    #[cfg(test)]
    Panic,
    /// Says that it is being worked on, and waits until it may go on.
    #[cfg(test)]
    Stall(Sender<()>, mpsc::Receiver<()>),
}

impl Job {
    /// Tells whoever waits that it will not be looked at. They may have gone.
    fn refuse(self, why: Unseen) {
        match self {
            Self::Check { reply, .. } => drop(reply.send(Err(why))),
            Self::Enrol { reply, .. } => drop(reply.send(Err(Busy.into()))),
            #[cfg(test)]
            Self::Panic | Self::Stall(..) => {}
        }
    }
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
    /// photos that were given up because their deadline was over before a worker came to them
    pub late: Counter,
    /// workers that have no models, because they could not be loaded again after a failure
    pub failed_workers: Gauge,
}

impl Default for VisionMeters {
    fn default() -> Self {
        let (queue_depth, failed_workers) = (Gauge::default(), Gauge::default());
        let (refused, late) = (Counter::default(), Counter::default());
        Self { queue_depth, check: Histogram::of_seconds(), refused, late, failed_workers }
    }
}

/// Where photos wait, shared by those who ask and those who look.
struct Waiting {
    photos: Mutex<Photos>,
    /// one more waits, or no more will
    changed: Condvar,
    meters: VisionMeters,
    steady: Clock,
}

struct Photos {
    queue: Queue<Job>,
    /// the pool is there
    open: bool,
    /// when it was last said that photos were given up, and how many were since
    said_ms: Option<i64>,
    unsaid: u64,
}

impl Waiting {
    fn photos(&self) -> MutexGuard<'_, Photos> {
        self.photos.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, turn: Turn, job: Job) -> Result<(), Busy> {
        let mut photos = self.photos();
        if photos.queue.is_full() {
            let now_ms = self.steady.now_ms();
            for late in photos.queue.take_late(now_ms) {
                self.give_up(&mut photos, late, now_ms);
            }
        }
        let put = photos.queue.put(turn, job);
        self.meters.queue_depth.set(photos.queue.len() as i64);
        drop(photos);
        match put {
            Put::Waits => {}
            Put::InPlaceOf(other) => {
                self.meters.refused.inc();
                other.refuse(Busy.into());
            }
            Put::NoRoom(_) => {
                self.meters.refused.inc();
                return Err(Busy);
            }
        }
        self.changed.notify_one();
        Ok(())
    }

    /// The next photo that is worth a look; none once the pool is dropped and nobody waits.
    fn next(&self) -> Option<Job> {
        let mut photos = self.photos();
        loop {
            let now_ms = self.steady.now_ms();
            match photos.queue.take(now_ms) {
                Some((job, late)) => {
                    self.meters.queue_depth.set(photos.queue.len() as i64);
                    if !late {
                        return Some(job);
                    }
                    self.give_up(&mut photos, job, now_ms);
                }
                None if !photos.open => return None,
                None => photos = self.changed.wait(photos).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    fn give_up(&self, photos: &mut Photos, late: Job, now_ms: i64) {
        late.refuse(Unseen::Late);
        self.meters.late.inc();
        photos.unsaid += 1;
        if photos.said_ms.is_none_or(|said_ms| now_ms - said_ms >= SAID_EVERY_MS) {
            tracing::warn!(
                photos = photos.unsaid,
                "photos were given up before a look, their deadline being over: there are too few workers"
            );
            (photos.said_ms, photos.unsaid) = (Some(now_ms), 0);
        }
    }
}

/// The pool. Dropping it lets the workers finish what waits, and waits for that.
pub struct VisionPool {
    waiting: Arc<Waiting>,
    workers: Vec<JoinHandle<()>>,
    digests: ModelDigests,
    running: Running,
    capacity: usize,
}

impl VisionPool {
    /// Verifies and loads the models, and starts the workers, which open theirs at the same time.
    ///
    /// # Errors
    /// When a model or the runtime is missing, has other bytes, or does not load; when the provider that was asked for
    /// does not run.
    pub fn start(config: VisionConfig) -> Result<Self, VisionError> {
        let models = Arc::new(Models::load_with(&config.models, config.wanted)?);
        let (capacity, workers) = (config.queue.max(1), config.workers.max(1));
        let photos = Photos { queue: Queue::new(capacity), open: true, said_ms: None, unsaid: 0 };
        let waiting = Arc::new(Waiting {
            photos: Mutex::new(photos),
            changed: Condvar::new(),
            meters: VisionMeters::default(),
            steady: config.steady.clone(),
        });
        let (digests, running) = (models.digests(), models.running().clone());
        let mut pool = Self { waiting: waiting.clone(), workers: Vec::new(), digests, running, capacity };
        let (opened, open) = mpsc::channel();
        for number in 0..workers {
            let worker =
                Worker { checker: None, config: config.clone(), digests, waiting: waiting.clone(), failed: false };
            let (models, opened) = (models.clone(), opened.clone());
            let thread = thread::Builder::new().name(format!("vision-{number}"));
            pool.workers.push(thread.spawn(move || worker.start(&models, &opened))?);
        }
        drop(opened);
        // A worker that panics while it opens says nothing.
        for _ in 0..workers {
            open.recv().unwrap_or_else(|_| Err(VisionError::Model(WORKER_LOST.to_owned())))?;
        }
        Ok(pool)
    }

    /// What the models and the runtime are, by digest.
    pub fn digests(&self) -> ModelDigests {
        self.digests
    }

    /// What computes the models, and why no other.
    pub fn running(&self) -> &Running {
        &self.running
    }

    /// What the pool measures of itself.
    pub fn meters(&self) -> &VisionMeters {
        &self.waiting.meters
    }

    /// Whether a worker with models is left.
    pub fn works(&self) -> bool {
        let alive = self.workers.iter().filter(|worker| !worker.is_finished()).count();
        self.meters().failed_workers.get() < alive as i64
    }

    /// How many photos are looked at together.
    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    /// How many photos can be under way without one being refused.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// A deadline `limit_ms` from now, by the clock that the pool holds it against.
    pub fn deadline_ms(&self, limit_ms: i64) -> i64 {
        self.waiting.steady.now_ms().saturating_add(limit_ms)
    }

    /// Holds a submission against what was asked. Dropping the future gives up a photo that still waits.
    ///
    /// # Errors
    /// [`Unseen`]: at once when there is no room for it, later when its room went to another or its deadline is over.
    pub async fn check(&self, turn: Turn, photo: Bytes, question: Question) -> Result<Check, Unseen> {
        let (reply, answer) = oneshot::channel();
        let lost = Lost { photo: photo.clone(), enrolment_photo: question.enrolled.photo(), models: self.digests };
        let checking = Stopwatch::start();
        self.waiting.add(turn, Job::Check { photo, question: Box::new(question), reply })?;
        let check = answer.await.unwrap_or_else(|_| Ok(lost.check()))?;
        self.meters().check.observe(checking.elapsed());
        Ok(check)
    }

    /// Makes a template of the one face in a photo.
    ///
    /// # Errors
    /// [`EnrolError`] says what to mend, or that the engine is busy.
    pub async fn enrol(&self, turn: Turn, photo: Bytes) -> Result<Template, EnrolError> {
        let (reply, answer) = oneshot::channel();
        self.waiting.add(turn, Job::Enrol { photo, reply })?;
        answer.await.unwrap_or_else(|_| Err(EnrolError::Engine(WORKER_LOST.to_owned())))
    }

    #[cfg(test)]
    pub(super) fn panic_once(&self, turn: Turn) {
        self.waiting.add(turn, Job::Panic).unwrap();
    }

    /// Has a worker wait until what is returned is dropped, or told to go on.
    #[cfg(test)]
    pub(super) fn stall(&self, turn: Turn) -> Sender<()> {
        let ((begun, begins), (go_on, wait)) = (mpsc::channel(), mpsc::channel());
        self.waiting.add(turn, Job::Stall(begun, wait)).unwrap();
        begins.recv().unwrap();
        go_on
    }
}

impl Drop for VisionPool {
    fn drop(&mut self) {
        self.waiting.photos().open = false;
        self.waiting.changed.notify_all();
        for worker in self.workers.drain(..) {
            // A worker that ended in a panic has nothing left to finish.
            let _ = worker.join();
        }
    }
}

const WORKER_LOST: &str = "the worker failed";

/// What is left to say of a photo whose worker was lost.
struct Lost {
    photo: Bytes,
    enrolment_photo: Digest,
    models: ModelDigests,
}

impl Lost {
    fn check(&self) -> Check {
        let reason = Some(Reason::Engine(WORKER_LOST.to_owned()));
        Check { reason, ..Check::unanswered(Digest::of(&self.photo), self.enrolment_photo, self.models) }
    }
}

struct Worker {
    /// Absent after a failure, until fresh models are there.
    checker: Option<Checker>,
    config: VisionConfig,
    digests: ModelDigests,
    waiting: Arc<Waiting>,
    /// the models could not be loaded again
    failed: bool,
}

impl Worker {
    /// Opens the models, says how that went, and looks at photos as long as the pool is there.
    fn start(mut self, models: &Models, opened: &Sender<Result<(), VisionError>>) {
        let checker = Checker::new(models);
        let went_well = checker.is_ok();
        // The pool waits for this.
        let _ = opened.send(checker.map(|checker| self.checker = Some(checker)));
        if went_well {
            self.run();
        }
    }

    fn run(mut self) {
        while let Some(job) = self.waiting.next() {
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
                let digests = self.digests;
                let check = match self.checker() {
                    Ok(checker) => checker.check(&photo, &question),
                    Err(_) => Lost { photo, enrolment_photo: question.enrolled.photo(), models: digests }.check(),
                };
                self.after(check.outcome == Outcome::Error && check.reason != Some(Reason::OtherModel));
                // Nobody waits any more: the answer has no reader.
                let _ = reply.send(Ok(check));
            }
            Job::Enrol { photo, reply } if !reply.is_closed() => {
                let made = self.checker().map_err(|error| EnrolError::Engine(error.to_string()));
                let made = made.and_then(|checker| checker.enrol(&photo));
                self.after(matches!(made, Err(EnrolError::Engine(_))));
                let _ = reply.send(made);
            }
            #[cfg(test)]
            Job::Panic => panic!("asked to"),
            #[cfg(test)]
            Job::Stall(begun, wait) => {
                begun.send(()).unwrap();
                // Ends when the test lets go of the other end.
                let _ = wait.recv();
            }
            Job::Check { .. } | Job::Enrol { .. } => {}
        }
    }

    fn checker(&mut self) -> Result<&mut Checker, VisionError> {
        let checker = match self.checker.take() {
            Some(checker) => checker,
            None => {
                let loaded = Models::load_with(&self.config.models, self.config.wanted);
                let loaded = loaded.and_then(|models| Checker::new(&models));
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
            self.waiting.meters.failed_workers.inc_by(if failed { 1 } else { -1 });
        }
    }

    fn after(&mut self, failed: bool) {
        if failed {
            tracing::error!("a model failed; the worker gets fresh ones");
            self.checker = None;
        }
    }
}
