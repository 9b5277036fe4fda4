//! What several nodes share, against real Redis servers: one, and a cluster of three.

mod bus;
mod crash;
mod nodes;
mod ownership;
mod photos;
mod presence;
mod rates;
mod servers;
mod sites;
mod tls;

use invigil::clock::{Clock, Entropy};
use invigil::cluster::redis::{Node, Redis, RedisAddress, Timing};

/// Leases that are over soon, so that tests see their ends.
const SHORT: Timing = Timing { lease_ms: 2_000, renew_ms: 200 };

/// A node with a name of its own.
async fn join(redis: &Redis, timing: Timing) -> Node {
    let id = Entropy::system().id(0).to_string();
    Node::join(redis.clone(), id, timing).await.unwrap()
}

/// A connection by `url`.
async fn connect(url: &str) -> Redis {
    let address = RedisAddress::parse(url, None).unwrap();
    Redis::connect(address, Clock::scaled(1)).await.unwrap()
}
