//! Photos that wait for a check on any node that checks: two streams with a consumer group each, of which the one of photos
//! that somebody waits for to begin is looked at first.
//!
//! All photos may wait equally long, so the order of their coming is that of their deadlines, and what a dead worker held
//! is the oldest there is. A job is done at least once; its answer goes to the node that asked, which takes the first.
//!
//! Deadlines are by the clock of Redis, which all who ask and all who look have in common: a node that only looks has no other
//! to hold its own against.

use std::collections::VecDeque;

use redis::streams::{StreamAutoClaimReply, StreamId, StreamReadReply};
use tokio::sync::watch;

use super::bus::{Answer, Bus};
use super::connection::{Away, Redis};
use super::script::Script;
use crate::clock::Stopwatch;

const STARTS: &str = "invigil:{photos}:starts";
const JOBS: &str = "invigil:{photos}:jobs";
/// In the order in which they are looked at.
const STREAMS: [&str; 2] = [STARTS, JOBS];
const GROUP: &str = "vision";
/// How long photos stay that nobody takes, once none is added, ms: longer than anybody waits for an answer. A queue that is
/// full of them takes none, and so becomes empty, too.
const KEPT_MS: i64 = 120_000;
/// How long a read waits on the server, ms.
const BLOCK_MS: i64 = 2_000;
/// The pause after a read that failed, ms.
const RETRY_MS: i64 = 200;
/// After how long a worker that holds nothing and asks for nothing is gone, ms: a living one asks every few seconds, and
/// one that comes back after all is known again at once.
const GONE_MS: i64 = 600_000;

/// A photo that is to be checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhotoJob {
    /// the node that asks
    pub node: String,
    /// the number of its question
    pub question: u64,
    /// whether somebody waits for it to begin: looked at before all others
    pub is_start: bool,
    /// for how long an answer is of use from now on, ms
    pub wait_ms: i64,
    /// where the photo is and what it is held against, sealed
    pub payload: Vec<u8>,
}

impl PhotoJob {
    fn stream(&self) -> &'static str {
        if self.is_start { STARTS } else { JOBS }
    }
}

/// What names a photo in the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queued {
    stream: &'static str,
    id: String,
}

/// Why a photo was not queued.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueueError {
    /// As many wait as may.
    #[error("too many photos are waiting already")]
    Busy,
    /// Redis did not take it. It may be queued all the same.
    #[error(transparent)]
    Away(#[from] Away),
}

/// The queue, as those see it who ask.
pub struct PhotoQueue {
    redis: Redis,
    add: Script,
    holds: Script,
    limit: usize,
}

impl PhotoQueue {
    /// The queue in this Redis; at most `limit` photos wait or are being checked.
    pub fn new(redis: Redis, limit: usize) -> Self {
        let (add, holds) = (include_str!("lua/add_photo.lua"), include_str!("lua/holds_photo.lua"));
        Self { redis, add: Script::new(add), holds: Script::new(holds), limit }
    }

    /// Queues a photo; what names it there.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub async fn add(&self, job: &PhotoJob) -> Result<Queued, QueueError> {
        let arguments = |command: &mut redis::Cmd| {
            command.arg(self.limit).arg(&job.node).arg(job.question).arg(job.wait_ms).arg(&job.payload);
            command.arg(KEPT_MS);
        };
        let stream = job.stream();
        let other = if stream == STARTS { JOBS } else { STARTS };
        let id: String = self.add.run(&self.redis, &[stream, other], arguments).await?;
        if id.is_empty() { Err(QueueError::Busy) } else { Ok(Queued { stream, id }) }
    }

    /// Whether a photo waits or is being checked. What is not there any more was answered, or lost with Redis.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn holds(&self, queued: &Queued) -> Result<bool, Away> {
        let arguments = |command: &mut redis::Cmd| {
            command.arg(&queued.id);
        };
        self.holds.run::<i64>(&self.redis, &[queued.stream], arguments).await.map(|count| count > 0)
    }

    /// How many wait or are being checked.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn waiting(&self) -> Result<usize, Away> {
        let mut waiting = 0;
        for stream in STREAMS {
            waiting += self.redis.query::<usize>(redis::cmd("XLEN").arg(stream)).await?;
        }
        Ok(waiting)
    }
}

/// What whoever takes photos is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// take them
    Take,
    /// take none for now
    Rest,
    /// take none any more
    Stop,
}

/// How a worker takes photos.
#[derive(Clone, Debug)]
pub struct WorkerSetup {
    /// names the worker among all of all nodes
    pub name: String,
    /// after how long another's photo counts as left, ms: much longer than a check takes
    pub abandoned_ms: i64,
    /// how often it is looked for such photos, ms
    pub look_every_ms: i64,
}

impl WorkerSetup {
    /// A worker of `node`, one of several.
    pub fn new(node: &str, number: usize) -> Self {
        Self { name: format!("{node}:{number}"), abandoned_ms: 10_000, look_every_ms: 2_000 }
    }
}

/// One who checks photos, one after the other.
pub struct PhotoWorker {
    redis: Redis,
    end: Script,
    left: Script,
    forget: Script,
    setup: WorkerSetup,
    looked: Option<Stopwatch>,
    /// read together with the one before
    held: VecDeque<Taken>,
}

impl PhotoWorker {
    /// A worker with a connection of its own, because it waits on the server.
    pub fn new(redis: &Redis, setup: WorkerSetup) -> Self {
        let (end, left) = (include_str!("lua/end_photo.lua"), include_str!("lua/left.lua"));
        let forget = Script::new(include_str!("lua/forget_workers.lua"));
        let redis = redis.aside(BLOCK_MS);
        Self {
            redis,
            end: Script::new(end),
            left: Script::new(left),
            forget,
            setup,
            looked: None,
            held: VecDeque::new(),
        }
    }

    /// Checks photos until it is to stop, and then ends the one that it has: within some seconds, because one that waits
    /// on the server cannot take back its question. A photo that is being checked when this is dropped is another's some
    /// seconds later.
    pub async fn run<F: Future<Output = Answer>>(
        mut self,
        bus: &Bus,
        mut orders: watch::Receiver<Order>,
        check: impl Fn(PhotoJob) -> F,
    ) {
        self.forget_who_is_gone("").await;
        // Without anybody who could order otherwise, the last order holds.
        while orders.wait_for(|order| *order != Order::Rest).await.is_ok_and(|order| *order == Order::Take) {
            let taken = match self.next().await {
                Ok(taken) => taken,
                Err(away) => {
                    tokio::select! {
                        () = self.recover(&away) => {}
                        Ok(_) = orders.wait_for(|order| *order == Order::Stop) => {}
                    }
                    continue;
                }
            };
            let Some(Taken { stream, id, job }) = taken else { continue };
            if let Some((mut job, deadline_ms)) = job {
                let (node, question) = (job.node.clone(), job.question);
                job.wait_ms = self.left_ms(deadline_ms).await;
                let answer = if job.wait_ms <= 0 { Answer::Expired } else { check(job).await };
                if let Err(error) = bus.answer_question(&node, question, &answer).await {
                    tracing::warn!(%error, node, "a photo's check cannot be answered");
                }
            }
            let arguments = |command: &mut redis::Cmd| {
                command.arg(GROUP).arg(&id);
            };
            if let Err(away) = self.end.run::<i64>(&self.redis, &[stream], arguments).await {
                tracing::debug!(%away, "a photo that was checked may be checked again");
            }
        }
        self.forget_who_is_gone(&self.setup.name).await;
    }

    /// How many ms are left of a photo's time, at least as far as anybody knows.
    async fn left_ms(&self, deadline_ms: i64) -> i64 {
        let arguments = |command: &mut redis::Cmd| {
            command.arg(deadline_ms);
        };
        // Looked at in vain is better than not looked at.
        self.left.run(&self.redis, &[JOBS], arguments).await.unwrap_or(1)
    }

    /// Removes workers that are long gone from the group, and one that goes now: every start of a process brings new ones.
    async fn forget_who_is_gone(&self, going: &str) {
        let arguments = |command: &mut redis::Cmd| {
            command.arg(GROUP).arg(GONE_MS).arg(going);
        };
        for stream in STREAMS {
            if let Err(away) = self.forget.run::<i64>(&self.redis, &[stream], arguments).await {
                tracing::debug!(%away, "workers that are gone stay known for now");
            }
        }
    }

    /// The next photo: what another has left before what is new, and starts before others. None: nothing came for a while.
    async fn next(&mut self) -> Result<Option<Taken>, Away> {
        if let Some(held) = self.held.pop_front() {
            return Ok(Some(held));
        }
        let look_every_ms = u128::from(self.setup.look_every_ms.unsigned_abs());
        if self.looked.is_none_or(|looked| looked.elapsed().as_millis() >= look_every_ms) {
            for stream in STREAMS {
                if let Some(entry) = self.abandoned(stream).await? {
                    return Ok(Some(Taken::read(stream, entry)));
                }
            }
            self.looked = Some(Stopwatch::start());
        }
        let block_ms = BLOCK_MS.min(self.setup.look_every_ms.max(1));
        // Of several streams Redis gives the next of each: so the first is asked alone before all are waited for.
        self.take(&[STARTS], None).await?;
        if self.held.is_empty() {
            self.take(&STREAMS, Some(block_ms)).await?;
        }
        Ok(self.held.pop_front())
    }

    /// Holds the next photo of each of these streams.
    async fn take(&mut self, streams: &[&'static str], block_ms: Option<i64>) -> Result<(), Away> {
        let mut take = redis::cmd("XREADGROUP");
        take.arg("GROUP").arg(GROUP).arg(&self.setup.name).arg("COUNT").arg(1);
        if let Some(block_ms) = block_ms {
            take.arg("BLOCK").arg(block_ms);
        }
        take.arg("STREAMS").arg(streams).arg(vec![">"; streams.len()]);
        let reply: Option<StreamReadReply> = self.redis.query(&take).await?;
        for found in reply.into_iter().flat_map(|reply| reply.keys) {
            let stream = if found.key == STARTS { STARTS } else { JOBS };
            self.held.extend(found.ids.into_iter().map(|entry| Taken::read(stream, entry)));
        }
        Ok(())
    }

    async fn abandoned(&self, stream: &str) -> Result<Option<StreamId>, Away> {
        let mut claim = redis::cmd("XAUTOCLAIM");
        claim.arg(stream).arg(GROUP).arg(&self.setup.name).arg(self.setup.abandoned_ms).arg("0").arg("COUNT").arg(1);
        let reply: StreamAutoClaimReply = self.redis.query(&claim).await?;
        Ok(reply.claimed.into_iter().next())
    }

    /// After a failure: makes the groups anew, if that is what was missing.
    async fn recover(&self, away: &Away) {
        if away.to_string().contains("NOGROUP") {
            let mut is_made = false;
            for stream in STREAMS {
                let mut create = redis::cmd("XGROUP");
                create.arg("CREATE").arg(stream).arg(GROUP).arg("0").arg("MKSTREAM");
                // One is there already, or another worker was faster.
                is_made |= self.redis.query::<()>(&create).await.is_ok();
            }
            if is_made {
                return;
            }
        } else {
            tracing::debug!(%away, "no photo can be taken now");
        }
        self.redis.connected().await;
        self.redis.steady().sleep_ms(RETRY_MS).await;
    }
}

/// A photo that a worker has.
struct Taken {
    stream: &'static str,
    id: String,
    /// with its deadline by the clock of Redis, ms; none when it cannot be read
    job: Option<(PhotoJob, i64)>,
}

impl Taken {
    fn read(stream: &'static str, entry: StreamId) -> Self {
        let job = || {
            let (node, question) = (entry.get("node")?, entry.get("question")?);
            let is_start = stream == STARTS;
            let job = PhotoJob { node, question, is_start, wait_ms: 0, payload: entry.get("payload")? };
            Some((job, entry.get("deadline")?))
        };
        let job = job();
        if job.is_none() {
            tracing::error!(entry = entry.id, "a photo in the queue cannot be read: it is left out");
        }
        Self { stream, id: entry.id, job }
    }
}
