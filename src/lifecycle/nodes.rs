//! How this process joins the others, where there are others.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::{ServerConfig, StartError};
use crate::actor::Services;
use crate::auth::keys::DataKey;
use crate::clock::{Clock, Stopwatch};
use crate::cluster::clocks::ClockCheck;
use crate::cluster::redis::{
    Away, Bus, Command, Node, Received, Redis, Roster, RosterEntry, SharedBuckets, SharedPresence, Timing,
};
use crate::cluster::{Cluster, Member, Presence, Turn, Turns};
use crate::config::Role;
use crate::store::Store;

/// The duty of those who deliver: see [`Turns`].
const DELIVERY: &str = "duty:delivery";
/// How often the clock is compared with the database's, ms.
const COMPARED_EVERY_MS: i64 = 5_000;
/// What comes into the outbox within this time is told together, ms.
const TOLD_TOGETHER_MS: i64 = 100;

/// What a process shares with others, or has for itself.
pub(super) struct Joined {
    pub(super) cluster: Cluster,
    pub(super) presence: Presence,
    /// limits of rates that all share
    pub(super) buckets: Option<SharedBuckets>,
    /// what they share it in
    pub(super) redis: Option<Redis>,
    /// what other nodes ask of this one
    pub(super) received: Option<mpsc::Receiver<Received>>,
}

/// Joins the others that share the configured Redis; stays alone without one. `store` is what they share.
pub(super) async fn join(setup: &ServerConfig, store: &Store) -> Result<Joined, StartError> {
    let refused = |(key, why)| StartError::of(key)(why);
    let Some(address) = setup.config.redis.address().map_err(refused)? else {
        let (cluster, presence) = (Cluster::Alone, Presence::default());
        return Ok(Joined { cluster, presence, buckets: None, redis: None, received: None });
    };
    let away = |away: Away| StartError::of("redis.url")(away);
    let redis = Redis::connect(address, Clock::scaled(1)).await.map_err(away)?;
    let id = setup.entropy.id(setup.wall.now_ms()).to_string();
    let clock = ClockCheck::default();
    compare_clock(store, [&setup.wall, &setup.clock], &clock).await;
    let node = Node::join(redis.clone(), id.clone(), Timing::default()).await.map_err(away)?;
    tracing::info!(node = id, "this server is one of several");
    let (bus, received) = Bus::start(redis.clone(), id);
    Ok(Joined {
        cluster: Cluster::Member(Member { node, bus, clock }),
        presence: Presence::Redis(SharedPresence::new(redis.clone())),
        buckets: Some(SharedBuckets::new(redis.clone())),
        redis: Some(redis),
        received: Some(received),
    })
}

/// Whose turn it is to deliver webhooks and reports and to run the risk detectors, and what keeps it. Only nodes with
/// that role compete.
pub(super) fn delivery_turns(services: &Services) -> (Turns, Option<impl Future<Output = ()> + use<>>) {
    match services.cluster.member() {
        None => (Turns::always(), None),
        Some(member) => {
            let (turns, keep) = Turns::of(member.node.clone(), DELIVERY, services.roles.has(Role::Delivery));
            (turns, Some(keep))
        }
    }
}

/// Tells whoever's turn it is that something waits in the outbox, as long as this is awaited.
pub(super) async fn tell_deliverer(services: Arc<Services>, mut turns: Turns) {
    let Some(member) = services.cluster.member() else { return };
    loop {
        turns.over().await;
        tokio::select! {
            // Whose turn it becomes looks by itself.
            () = turns.mine() => continue,
            () = services.deliver.notified() => {}
        }
        services.wall.sleep_ms(TOLD_TOGETHER_MS).await;
        let told = match turns.now() {
            Turn::Of(node) => member.bus.tell(&node, &Command::Deliver).await.is_ok(),
            Turn::Mine | Turn::Unknown => false,
        };
        if !told {
            services.deliver.notify_one();
        }
    }
}

/// Says what this node takes on, as one whose master key the database has confirmed, and hears what the others do.
pub(super) fn sign_in(
    setup: &ServerConfig,
    redis: Redis,
    master: DataKey,
) -> (watch::Receiver<Roster>, JoinHandle<()>) {
    let entry = RosterEntry::listener(redis, master).taking_on(&setup.config.roles).vouching(&setup.entropy);
    let (tell, roster) = watch::channel(Roster::default());
    (roster, tokio::spawn(entry.keep(Clock::scaled(1), tell)))
}

/// Compares this node's clock with the database's, at once and then as long as this is awaited.
pub(super) async fn compare_clocks(services: Arc<Services>) {
    let Some(member) = services.cluster.member() else { return };
    loop {
        compare_clock(&services.store, [&services.wall, &services.clock], &member.clock).await;
        services.wall.sleep_ms(COMPARED_EVERY_MS).await;
    }
}

/// Both clocks: that of sessions does not follow the machine's when that is set. One that is no clock of ours, in a demo
/// say, cannot be compared.
async fn compare_clock(store: &Store, clocks: [&Clock; 2], check: &ClockCheck) {
    let asking = Stopwatch::start();
    match store.clock_ms().await {
        Ok(Some(theirs_ms)) => {
            let asked_for_ms = i64::try_from(asking.elapsed().as_millis()).unwrap_or(i64::MAX);
            let shown = clocks.into_iter().filter(|clock| clock.keeps_pace()).map(Clock::now_ms);
            let furthest = shown.max_by_key(|own_ms| (own_ms - theirs_ms).abs());
            check.compared(furthest.unwrap_or(theirs_ms), theirs_ms, asked_for_ms);
        }
        Ok(None) => {}
        Err(error) => tracing::debug!(%error, "the clock is not compared with the database's now"),
    }
}
