//! Those who look at photos that other nodes have queued.

use std::sync::Arc;

use axum::body::Bytes;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::frame::Of;
use super::job::Job;
use super::told::Told;
use super::{enrol_in, patiently};
use crate::auth::keys::DataKey;
use crate::clock::{Clock, Entropy};
use crate::cluster::redis::{Answer, Bus, Order, PhotoJob, PhotoWorker, Redis, WorkerSetup};
use crate::store::evidence::Evidence;
use crate::vision::{Asker, EnrolError, Turn, Urgency, VisionPool};

/// Photos that are taken for each worker with models: while one is looked at, the next is fetched.
const TAKEN_PER_WORKER: usize = 2;
/// How long one photo may take, ms: less than after how long others believe that it was left.
const LOOK_LIMIT_MS: i64 = 8_000;
/// How long whoever took a photo that does not open waits before the next, ms: with the wrong key it would otherwise be
/// done with all photos before anybody else.
const UNOPENED_PAUSE_MS: i64 = 1_000;

/// Where photos of others are looked at.
pub struct Desk {
    /// workers with models
    pub pool: Arc<VisionPool>,
    /// where photos are kept
    pub evidence: Evidence,
    /// opens what is asked, and seals what is answered
    pub master: DataKey,
    /// for nonces
    pub entropy: Entropy,
    /// a clock that never jumps
    pub steady: Clock,
}

impl Desk {
    /// Looks at one photo.
    pub async fn answer(&self, job: PhotoJob) -> Answer {
        let of = Of { node: &job.node, question: job.question };
        let opened = match Job::open(&self.master, of, &job.payload) {
            Ok(opened) => opened,
            Err(error) => {
                tracing::error!(
                    %error,
                    node = job.node,
                    "a photo that another node has queued does not open: one of the two has another keys.master, or another invigil"
                );
                self.steady.sleep_ms(UNOPENED_PAUSE_MS).await;
                return Answer::Failed { why: error.to_string() };
            }
        };
        let urgency = if job.is_start { Urgency::Start } else { Urgency::Later };
        let looked = tokio::select! {
            looked = self.look(opened, urgency) => looked,
            () = self.steady.sleep_ms(LOOK_LIMIT_MS) => Err(format!("not within {LOOK_LIMIT_MS} ms")),
        };
        match looked {
            Ok(told) => {
                let sealed = told.seal(&self.master, &self.entropy, of);
                Answer::Checked { check: Value::String(STANDARD.encode(sealed)) }
            }
            Err(why) => {
                tracing::warn!(why, "a photo of another node cannot be looked at now");
                Answer::Failed { why }
            }
        }
    }

    async fn look(&self, job: Job, urgency: Urgency) -> Result<Told, String> {
        match job {
            Job::Check { evidence, key, question } => {
                let photo = self.evidence.get(&key, &evidence).await.map_err(|error| error.to_string())?;
                let (photo, deadline_ms) = (Bytes::from(photo), self.pool.deadline_ms(LOOK_LIMIT_MS));
                let turn = Turn { urgency, deadline_ms, asker: Asker::Node };
                let check =
                    patiently(&self.steady, || self.pool.check(turn.clone(), photo.clone(), question.clone())).await;
                check.map(|check| Told::Checked(Box::new(check))).ok_or_else(|| "not in time".to_owned())
            }
            Job::Enrol { photo, replaced } => loop {
                match enrol_in(&self.pool, Asker::Node, photo.clone(), replaced.clone()).await {
                    Err(EnrolError::Busy(_)) => self.steady.sleep_ms(super::BUSY_RETRY_MS).await,
                    enrolled => return Ok(Told::Enrolled(Box::new(enrolled))),
                }
            },
        }
    }
}

/// Those who take photos off the queue.
pub struct Takers {
    orders: watch::Sender<Order>,
    tasks: JoinSet<()>,
}

impl Takers {
    /// Takes photos to the desk, as `node`, which answers over `bus`. Others may order a rest.
    pub fn start(desk: Desk, redis: &Redis, bus: &Bus, node: &str, orders: watch::Sender<Order>) -> Self {
        let desk = Arc::new(desk);
        let mut tasks = JoinSet::new();
        for number in 0..TAKEN_PER_WORKER * desk.pool.workers() {
            let worker = PhotoWorker::new(redis, WorkerSetup::new(node, number));
            let (desk, bus, ordered) = (desk.clone(), bus.clone(), orders.subscribe());
            tasks.spawn(async move {
                let answer = |job| {
                    let desk = desk.clone();
                    async move { desk.answer(job).await }
                };
                worker.run(&bus, ordered, answer).await;
            });
        }
        Self { orders, tasks }
    }

    /// Takes no more.
    pub fn stop(&self) {
        self.orders.send_replace(Order::Stop);
    }

    /// Takes no more, and returns when what was taken is answered.
    pub async fn shutdown(mut self) {
        self.stop();
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "whoever takes photos off the queue did not end well");
            }
        }
    }
}
