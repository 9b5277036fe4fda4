//! Limits of rates that nodes share.

use invigil::cluster::redis::{Redis, SharedBuckets};
use invigil::gateway::bucket::Rate;

use super::connect;
use crate::harness::servers::redis::{RedisCluster, RedisServer};

async fn a_burst_is_one_for_all(redis: [Redis; 2]) {
    let nodes = redis.map(SharedBuckets::new);
    // So slow that nothing comes back while this runs.
    let rate = Rate::per_minute(5);
    let mut taken = 0;
    let wait_ms = loop {
        match nodes[taken % 2].ask("key", "k1", rate, true).await.unwrap() {
            Ok(()) => taken += 1,
            Err(wait_ms) => break wait_ms,
        }
    };
    assert_eq!(taken, 5);
    assert!(wait_ms > 0 && wait_ms <= 12_000, "{wait_ms}");
    let looked = nodes[0].ask("key", "k1", rate, false).await.unwrap();
    assert!(looked.is_err_and(|wait_ms| wait_ms <= 12_000));
    assert_eq!(nodes[1].ask("key", "k2", rate, false).await.unwrap(), Ok(()), "each has their own");
    assert_eq!(nodes[1].ask("learner", "k1", rate, true).await.unwrap(), Ok(()), "and each limit its own");
    let free = Rate::per_minute(0);
    for _ in 0..10 {
        assert_eq!(nodes[0].ask("key", "k3", free, true).await.unwrap(), Ok(()));
    }
}

#[tokio::test]
async fn a_burst_is_one_for_all_nodes() {
    let server = RedisServer::start();
    a_burst_is_one_for_all([connect(&server.url()).await, connect(&server.url()).await]).await;
    let left: i64 = server.ask(&["pttl", "invigil:rate:key:k1"]).parse().unwrap();
    assert!(left > 0 && left <= 61_000, "a bucket that is full again is forgotten: {left}");
}

#[tokio::test]
async fn on_a_cluster_too() {
    let cluster = RedisCluster::start();
    a_burst_is_one_for_all([connect(&cluster.url()).await, connect(&cluster.url()).await]).await;
}

#[tokio::test]
async fn tokens_come_back_with_time_and_no_more_than_fit() {
    let server = RedisServer::start();
    let buckets = SharedBuckets::new(connect(&server.url()).await);
    let rate = Rate::per_second(1_000, 2);
    let mut refused = 0;
    for _ in 0..200 {
        if let Err(wait_ms) = buckets.ask("key", "k", rate, true).await.unwrap() {
            assert_eq!(wait_ms, 1);
            refused += 1;
        }
    }
    assert!(refused < 200);
    // A bucket that says it holds more than it can.
    server.ask(&["set", "invigil:rate:key:full", "99999999 1"]);
    let slow = Rate::per_minute(2);
    assert_eq!(buckets.ask("key", "full", slow, true).await.unwrap(), Ok(()));
    assert_eq!(buckets.ask("key", "full", slow, true).await.unwrap(), Ok(()));
    assert!(buckets.ask("key", "full", slow, true).await.unwrap().is_err());
}

#[tokio::test]
async fn without_redis_the_answer_is_that_there_is_none() {
    let server = RedisServer::start();
    let buckets = SharedBuckets::new(connect(&server.url()).await);
    server.pause();
    assert!(buckets.ask("key", "k", Rate::per_minute(5), true).await.is_err());
    server.resume();
    while buckets.ask("key", "k", Rate::per_minute(5), false).await.is_err() {
        tokio::task::yield_now().await;
    }
}
