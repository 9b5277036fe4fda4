//! The queue of photos.

use std::sync::{Arc, Mutex};

use invigil::cluster::redis::{Answer, Bus, Order, PhotoJob, PhotoQueue, PhotoWorker, QueueError, Redis, WorkerSetup};
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::connect;
use crate::harness::servers::redis::{RedisCluster, RedisServer};

/// Longer than any test takes.
const LONG_MS: i64 = 60_000;

fn setup(name: &str) -> WorkerSetup {
    WorkerSetup { name: name.into(), abandoned_ms: 300, look_every_ms: 100 }
}

fn job(question: u64, wait_ms: i64, payload: &str) -> PhotoJob {
    PhotoJob { node: "asker".into(), question, is_start: false, wait_ms, payload: payload.as_bytes().to_vec() }
}

fn checked(payload: &[u8]) -> Answer {
    Answer::Checked { check: json!({"of": String::from_utf8_lossy(payload)}) }
}

/// A worker that answers what it is shown; it says what it was shown, in order.
async fn worker(redis: &Redis, name: &'static str) -> (JoinHandle<()>, Arc<Mutex<Vec<String>>>) {
    worker_with_orders(redis, name, watch::channel(Order::Take).1).await
}

async fn worker_with_orders(
    redis: &Redis,
    name: &'static str,
    orders: watch::Receiver<Order>,
) -> (JoinHandle<()>, Arc<Mutex<Vec<String>>>) {
    let (bus, _) = Bus::start(redis.clone(), name.into());
    let worker = PhotoWorker::new(redis, setup(name));
    let shown = Arc::new(Mutex::new(Vec::new()));
    let log = shown.clone();
    let working = tokio::spawn(async move {
        let check = |job: PhotoJob| {
            log.lock().unwrap().push(String::from_utf8(job.payload.clone()).unwrap());
            async move { checked(&job.payload) }
        };
        worker.run(&bus, orders, check).await;
    });
    (working, shown)
}

async fn all_are_answered(redis: &Redis) {
    let (bus, _nothing) = Bus::start(redis.clone(), "asker".into());
    let queue = PhotoQueue::new(redis.clone(), 100);
    let questions: Vec<_> = (0..20).map(|_| bus.question()).collect();
    for question in &questions {
        let wait_ms = if question.number % 5 == 0 { 0 } else { LONG_MS };
        let is_start = question.number % 3 == 0;
        let job = PhotoJob { is_start, ..job(question.number, wait_ms, &question.number.to_string()) };
        queue.add(&job).await.unwrap();
    }
    let (one, other) = (worker(redis, "one").await, worker(redis, "other").await);
    for mut question in questions {
        let number = question.number;
        let expected = if number % 5 == 0 { Answer::Expired } else { checked(number.to_string().as_bytes()) };
        assert_eq!(bus.answer_to(&mut question, LONG_MS).await, Some(expected));
    }
    let shown = one.1.lock().unwrap().len() + other.1.lock().unwrap().len();
    assert_eq!(shown, 16, "what has expired is not looked at");
    while queue.waiting().await.unwrap() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn each_photo_is_answered_to_who_asked() {
    let server = RedisServer::start();
    all_are_answered(&connect(&server.url()).await).await;
}

#[tokio::test]
async fn on_a_cluster_too() {
    let cluster = RedisCluster::start();
    all_are_answered(&connect(&cluster.url()).await).await;
}

#[tokio::test]
async fn what_a_dead_worker_held_is_checked_by_another_before_what_is_new() {
    let server = RedisServer::start();
    let redis = connect(&server.url()).await;
    let (bus, _nothing) = Bus::start(redis.clone(), "asker".into());
    let queue = PhotoQueue::new(redis.clone(), 3);
    let (first, second, third) = (bus.question(), bus.question(), bus.question());
    queue.add(&job(first.number, LONG_MS, "first")).await.unwrap();
    let (taken, mut took) = mpsc::channel(1);
    let dying = {
        let (bus, worker) = (bus.clone(), PhotoWorker::new(&redis, setup("dying")));
        tokio::spawn(async move {
            let taken = &taken;
            let check = |_: PhotoJob| async move {
                taken.send(()).await.unwrap();
                std::future::pending().await
            };
            worker.run(&bus, watch::channel(Order::Take).1, check).await;
        })
    };
    took.recv().await.unwrap();
    dying.abort();
    queue.add(&job(second.number, LONG_MS, "second")).await.unwrap();
    queue.add(&job(third.number, LONG_MS, "third")).await.unwrap();
    // What is in somebody's hands counts too.
    assert_eq!(queue.add(&job(9, LONG_MS, "fourth")).await, Err(QueueError::Busy));
    while !server.ask(&["xpending", "invigil:{photos}:jobs", "vision", "IDLE", "300", "-", "+", "1"]).contains("dying")
    {
        tokio::task::yield_now().await;
    }
    let (_working, shown) = worker(&redis, "heir").await;
    for mut question in [first, second, third] {
        assert!(bus.answer_to(&mut question, LONG_MS).await.is_some());
    }
    assert_eq!(*shown.lock().unwrap(), ["first", "second", "third"]);
}

#[tokio::test]
async fn workers_go_on_after_redis_has_lost_everything() {
    let mut server = RedisServer::start();
    let redis = connect(&server.url()).await;
    let (_working, _shown) = worker(&redis, "one").await;
    let (bus, _nothing) = Bus::start(redis.clone(), "asker".into());
    let queue = PhotoQueue::new(redis, 3);
    for round in 0..3 {
        let mut question = bus.question();
        while queue.add(&job(question.number, LONG_MS, "photo")).await.is_err() {
            tokio::task::yield_now().await;
        }
        assert_eq!(bus.answer_to(&mut question, LONG_MS).await, Some(checked(b"photo")), "round {round}");
        let kept_ms: i64 = server.ask(&["pttl", "invigil:{photos}:jobs"]).parse().unwrap();
        assert!((1..=120_000).contains(&kept_ms), "what nobody takes does not stay for ever");
        match round {
            // As when it was kept long enough.
            0 => drop(server.ask(&["del", "invigil:{photos}:jobs"])),
            _ => server.restart_empty(),
        }
    }
}

#[tokio::test]
async fn who_is_to_rest_takes_nothing() {
    let server = RedisServer::start();
    let redis = connect(&server.url()).await;
    let (orders, ordered) = watch::channel(Order::Rest);
    let (resting, rested) = worker_with_orders(&redis, "resting", ordered).await;
    let (bus, _nothing) = Bus::start(redis.clone(), "asker".into());
    let queue = PhotoQueue::new(redis.clone(), 100);
    let (working, worked) = worker(&redis, "working").await;
    for _ in 0..20 {
        let mut question = bus.question();
        queue.add(&job(question.number, LONG_MS, "photo")).await.unwrap();
        assert!(bus.answer_to(&mut question, LONG_MS).await.is_some());
    }
    assert_eq!((rested.lock().unwrap().len(), worked.lock().unwrap().len()), (0, 20));
    working.abort();
    assert!(working.await.unwrap_err().is_cancelled());
    orders.send_replace(Order::Take);
    let mut question = bus.question();
    queue.add(&job(question.number, LONG_MS, "photo")).await.unwrap();
    assert!(bus.answer_to(&mut question, LONG_MS).await.is_some());
    assert_eq!(rested.lock().unwrap().len(), 1);
    orders.send_replace(Order::Stop);
    resting.await.unwrap();
}

#[tokio::test]
async fn who_waits_to_begin_is_looked_at_before_all_others() {
    let server = RedisServer::start();
    let redis = connect(&server.url()).await;
    let (bus, _nothing) = Bus::start(redis.clone(), "asker".into());
    let queue = PhotoQueue::new(redis.clone(), 4);
    let questions: Vec<_> = (0..4).map(|_| bus.question()).collect();
    for (question, name) in questions.iter().zip(["random", "another", "start", "second start"]) {
        let job = PhotoJob { is_start: name.contains("start"), ..job(question.number, LONG_MS, name) };
        queue.add(&job).await.unwrap();
    }
    assert_eq!(queue.waiting().await.unwrap(), 4);
    let start = PhotoJob { is_start: true, ..job(9, LONG_MS, "one too many") };
    assert_eq!(queue.add(&start).await, Err(QueueError::Busy), "both count");
    let (_working, shown) = worker(&redis, "one").await;
    for mut question in questions {
        assert!(bus.answer_to(&mut question, LONG_MS).await.is_some());
    }
    assert_eq!(*shown.lock().unwrap(), ["start", "second start", "random", "another"]);
}
