//! Who owns which session: one at a time, and somebody always.

use std::collections::HashSet;
use std::sync::Mutex;

use invigil::cluster::redis::{Claim, Node, Redis, TakenUp, Timing};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::{SHORT, connect, join};
use crate::harness::servers::proxy::{Flow, Proxy};
use crate::harness::servers::redis::{RedisCluster, RedisServer};

fn sessions(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("s{number}")).collect()
}

async fn of_many_one_gets_it(redis: &Redis) {
    let mut nodes = Vec::new();
    for _ in 0..4 {
        nodes.push(join(redis, Timing::default()).await);
    }
    let mut claims = JoinSet::new();
    for number in 0..32 {
        let node = nodes[number % nodes.len()].clone();
        claims.spawn(async move {
            let mut owned = Vec::new();
            for session in sessions(10) {
                let claimed = node.claim(&session).await.unwrap();
                owned.push((session, node.id().to_owned(), claimed));
            }
            owned
        });
    }
    let mut owners = HashSet::new();
    for (session, claimer, claimed) in claims.join_all().await.into_iter().flatten() {
        let owner = if let Claim::HeldBy(owner) = claimed { owner } else { claimer };
        owners.insert((session, owner));
    }
    assert_eq!(owners.len(), 10, "each session has one owner, whoever asks: {owners:?}");
    assert_eq!(nodes.iter().map(Node::owned).sum::<usize>(), 10);
    for (session, owner) in &owners {
        assert_eq!(nodes[0].owner(session).await.unwrap().as_ref(), Some(owner));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_claim_a_session_at_once_one_gets_it() {
    let server = RedisServer::start();
    of_many_one_gets_it(&connect(&server.url()).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_claim_a_session_on_a_cluster_one_gets_it() {
    let cluster = RedisCluster::start();
    of_many_one_gets_it(&connect(&cluster.url()).await).await;
}

async fn take_up(node: &Node, session: String) -> TakenUp {
    match node.claim(&session).await {
        Ok(Claim::Owned) => TakenUp::Settled,
        Ok(Claim::HeldBy(node)) => TakenUp::HeldBy(node),
        Err(_) => TakenUp::NotYet,
    }
}

/// Takes up what the dead leave until `count` sessions are taken; the first two wait for each other, so that both nodes
/// have a hand in it.
async fn inherit_together(nodes: [&Node; 2], count: usize) -> [HashSet<String>; 2] {
    let (begun, taken) = (Barrier::new(2), [Mutex::new(HashSet::new()), Mutex::new(HashSet::new())]);
    let done = tokio::sync::Notify::new();
    let first = [tokio::sync::OnceCell::new(), tokio::sync::OnceCell::new()];
    let heir = |number: usize| {
        let (node, begun, taken, first, done) = (nodes[number], &begun, &taken, &first, &done);
        node.inherit(move |session| async move {
            first[number].get_or_init(async || begun.wait().await).await;
            let result = take_up(node, session.clone()).await;
            if result == TakenUp::Settled {
                assert!(taken[number].lock().unwrap().insert(session), "no session is taken up twice");
                let so_far: usize = taken.iter().map(|taken| taken.lock().unwrap().len()).sum();
                if so_far == count {
                    done.notify_one();
                }
            }
            result
        })
    };
    tokio::select! {
        () = heir(0) => {}
        () = heir(1) => {}
        () = done.notified() => {}
    }
    taken.map(|taken| taken.into_inner().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_node_held_is_shared_by_the_living() {
    let server = RedisServer::start();
    let redis = connect(&server.url()).await;
    let (dead, one, other) = (join(&redis, SHORT).await, join(&redis, SHORT).await, join(&redis, SHORT).await);
    dead.swept().await.unwrap();
    for session in sessions(200) {
        assert_eq!(dead.claim(&session).await.unwrap(), Claim::Owned);
    }
    assert_eq!(one.claim("s7").await.unwrap(), Claim::HeldBy(dead.id().to_owned()));
    let dead_id = dead.id().to_owned();
    drop(dead);
    let [first, second] = inherit_together([&one, &other], 200).await;
    assert!(!first.is_empty() && !second.is_empty(), "{} and {}", first.len(), second.len());
    assert_eq!(first.union(&second).count(), 200);
    assert_eq!((one.owned(), other.owned()), (first.len(), second.len()));
    // Once nothing of it is left, it is forgotten.
    let mut seen = one.seen();
    let burying = one.inherit(|session| take_up(&one, session));
    tokio::select! {
        () = burying => {}
        forgotten = seen.wait_for(|seen| seen.dead.is_empty() && seen.living == 2) => drop(forgotten.unwrap()),
    }
    assert_eq!(server.ask(&["exists", &format!("invigil:sessions:{dead_id}")]), "0");
    assert!(!one.seen().borrow().sweep_is_due);
}

#[tokio::test]
async fn who_leaves_leaves_at_once_and_what_is_handed_over_has_an_owner_all_the_time() {
    let server = RedisServer::start();
    let redis = connect(&server.url()).await;
    let (one, other, third) = (join(&redis, SHORT).await, join(&redis, SHORT).await, join(&redis, SHORT).await);
    for session in ["a", "b"] {
        one.claim(session).await.unwrap();
    }
    one.give_up("a", Some(other.id())).await.unwrap();
    assert_eq!(third.owner("a").await.unwrap().as_deref(), Some(other.id()));
    assert_eq!(other.claim("a").await.unwrap(), Claim::Owned);
    // Nobody's word counts for what is not theirs.
    one.give_up("a", None).await.unwrap();
    assert_eq!(third.claim("a").await.unwrap(), Claim::HeldBy(other.id().to_owned()));
    one.leave().await.unwrap();
    assert!(!one.lease().is_valid());
    assert_eq!(third.claim("b").await.unwrap(), Claim::Owned);
    third.give_up("b", None).await.unwrap();
    assert_eq!(other.owner("b").await.unwrap(), None);
}

#[tokio::test]
async fn what_was_handed_to_a_node_that_dies_is_inherited() {
    let server = RedisServer::start();
    let redis = connect(&server.url()).await;
    let (one, other, third) = (join(&redis, SHORT).await, join(&redis, SHORT).await, join(&redis, SHORT).await);
    one.claim("a").await.unwrap();
    one.give_up("a", Some(other.id())).await.unwrap();
    // It dies before it has heard of it.
    drop(other);
    let (found, mut inherited) = tokio::sync::mpsc::channel(1);
    let heir = third.inherit(|session| async {
        let result = take_up(&third, session.clone()).await;
        found.send(session).await.unwrap();
        result
    });
    tokio::select! {
        () = heir => {}
        session = inherited.recv() => assert_eq!(session.as_deref(), Some("a")),
    }
}

#[tokio::test]
async fn a_lease_that_cannot_be_renewed_ends_and_holds_again_later() {
    let server = RedisServer::start();
    let redis = connect(&server.url()).await;
    let node = join(&redis, SHORT).await;
    node.claim("a").await.unwrap();
    let mut held = node.lease().held();
    assert!(node.lease().is_valid());
    server.pause();
    held.wait_for(|held| !held).await.unwrap();
    assert!(!node.lease().is_valid());
    assert!(node.claim("b").await.is_err());
    server.resume();
    held.wait_for(|held| *held).await.unwrap();
    assert!(node.lease().is_valid());
    assert_eq!(node.claim("a").await.unwrap(), Claim::Owned);
}

#[tokio::test]
async fn a_node_that_was_cut_off_hears_what_others_have_taken() {
    let server = RedisServer::start();
    let proxy = Proxy::start(server.address()).await;
    let cut_off = join(&connect(&format!("redis://{}", proxy.address())).await, SHORT).await;
    let other = join(&connect(&server.url()).await, SHORT).await;
    for session in ["taken", "kept"] {
        cut_off.claim(session).await.unwrap();
    }
    proxy.flow(Flow::Hold, Flow::Hold);
    cut_off.lease().held().wait_for(|held| !held).await.unwrap();
    // Here the lease is over before it is over there.
    let mut seen = other.seen();
    while other.claim("taken").await.unwrap() != Claim::Owned {
        seen.changed().await.unwrap();
    }
    assert!(!cut_off.lease().is_valid());
    proxy.flow(Flow::Pass, Flow::Pass);
    assert_eq!(cut_off.lost().await, ["taken"]);
    assert_eq!((cut_off.owned(), other.owned()), (1, 1));
    assert_eq!(other.claim("kept").await.unwrap(), Claim::HeldBy(cut_off.id().to_owned()));
}

#[tokio::test]
async fn connections_that_are_cut_are_made_again() {
    let server = RedisServer::start();
    let proxy = Proxy::start(server.address()).await;
    let node = join(&connect(&format!("redis://{}", proxy.address())).await, SHORT).await;
    for round in 0..3 {
        proxy.cut();
        let mut seen = node.seen();
        let renewals = seen.borrow().renewals;
        seen.wait_for(|seen| seen.renewals > renewals + 1).await.unwrap();
        assert_eq!(node.claim(&format!("s{round}")).await.unwrap(), Claim::Owned);
    }
}

async fn all_are_named_again(server: &mut RedisServer) {
    let redis = connect(&server.url()).await;
    let (one, other) = (join(&redis, SHORT).await, join(&redis, SHORT).await);
    for (node, session) in [&one, &other].into_iter().cycle().zip(sessions(60)) {
        assert_eq!(node.claim(&session).await.unwrap(), Claim::Owned);
    }
    server.restart_empty();
    let mut seen = other.seen();
    let renewals = seen.borrow().renewals;
    seen.wait_for(|seen| seen.renewals > renewals && seen.living == 2).await.unwrap();
    for (node, session) in [&one, &other].into_iter().cycle().zip(sessions(60)) {
        while other.owner(&session).await.unwrap().as_deref() != Some(node.id()) {
            seen.changed().await.unwrap();
        }
    }
    assert_eq!((one.owned(), other.owned()), (30, 30));
    // Somebody has to look for sessions that nobody owns, once; not before all have had time to speak.
    seen.wait_for(|seen| seen.sweep_is_due).await.unwrap();
    one.swept().await.unwrap();
    seen.wait_for(|seen| !seen.sweep_is_due).await.unwrap();
}

#[tokio::test]
async fn when_redis_comes_back_empty_all_say_anew_what_they_own() {
    let mut server = RedisServer::start();
    all_are_named_again(&mut server).await;
}

#[tokio::test]
async fn when_the_sessions_of_a_dead_node_are_lost_somebody_must_look_for_them() {
    let server = RedisServer::start();
    let redis = connect(&server.url()).await;
    let (dead, heir) = (join(&redis, SHORT).await, join(&redis, SHORT).await);
    heir.swept().await.unwrap();
    let index = format!("invigil:sessions:{}", dead.id());
    let mut seen = heir.seen();
    drop(dead);
    let lost = async {
        seen.wait_for(|seen| seen.living == 1).await.unwrap();
        // The shard that held it has lost it.
        server.ask(&["del", &index]);
        seen.wait_for(|seen| seen.sweep_is_due).await.unwrap();
    };
    tokio::select! {
        () = heir.inherit(|_| async { TakenUp::Settled }) => {}
        () = lost => {}
    }
}
