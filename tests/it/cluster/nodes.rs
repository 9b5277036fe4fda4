//! Sessions on several nodes: a learner may come back to any of them, and whatever dies, nothing is lost or counted twice.

use invigil::api::doors::{AskRefusal, CloseReason, CloseRefusal, OpenRefusal, OpenSession, SessionDoor as _};
use invigil::client::ClientKey;
use invigil::log::{Body, parse_line};
use invigil::schedule::{Asked, NotNow};
use serde_json::{Value, json};

use super::sites::{Site, installation, installation_at};
use crate::harness::Opened;
use crate::harness::servers::proxy::{Flow, Proxy};
use crate::harness::servers::redis::{RedisCluster, RedisServer};
use crate::harness::wire::{Heard, Wire, at, play};

/// A learner with a key of their own.
struct Learner {
    opened: Opened,
    key: ClientKey,
}

impl Learner {
    fn of(opened: Opened) -> Self {
        Self { opened, key: ClientKey::generate().unwrap() }
    }

    /// Comes to a node, again and again until it takes them, as pages do.
    async fn enter(&self, site: &Site) -> (Wire, Value) {
        loop {
            let (mut wire, nonce) = Wire::connect(&site.url()).await;
            wire.send(Wire::hello(&self.opened, &self.key, &nonce, 0)).await;
            let ping = loop {
                match wire.hear().await {
                    Heard::Message(message) if message["type"] == "ping" => break Some(message),
                    Heard::Message(message) if message["type"] == "error" => {
                        assert_eq!(message["code"], "overloaded", "{message}");
                        break None;
                    }
                    Heard::Message(_) => {}
                    Heard::Close(_) | Heard::Gone => break None,
                }
            };
            if let Some(ping) = ping {
                wire.send(json!({"type": "pong", "id": ping["id"], "ct": 0})).await;
                let welcome = wire.expect("welcome").await;
                wire.seq = welcome["acknowledged"].as_u64().unwrap();
                return (wire, welcome);
            }
        }
    }
}

/// `seq` of each event of the client in a log, in its order.
fn sequence(log: &str) -> Vec<u64> {
    let events = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    events.filter_map(|event| event["seq"].as_u64()).collect()
}

fn count_of(log: &str, kind: &str) -> usize {
    log.lines().filter(|line| line.contains(&format!(r#""type":"{kind}""#))).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_learner_goes_on_at_another_node() {
    goes_on_at_another_node(&RedisServer::start().url()).await;
}

async fn goes_on_at_another_node(redis: &str) {
    let (ground, [one, other]) = installation_at(redis, 1).await;
    let learner = Learner::of(one.open("l0", "j1").await);
    let (mut first, welcome) = learner.enter(&one).await;
    assert_eq!(welcome["acknowledged"], 0);
    first.event(0, "playback", play(0)).await;
    first.kept(1_000, "heartbeat", at(1_000)).await;
    let (mut second, welcome) = learner.enter(&other).await;
    assert_eq!((&welcome["acknowledged"], &welcome["position_ms"]), (&json!(2), &json!(1_000)));
    assert_eq!(first.refusal().await.0, "superseded");
    second.kept(2_000, "heartbeat", at(2_000)).await;
    // And back, while nobody at the other node says goodbye.
    let (mut third, welcome) = learner.enter(&one).await;
    assert_eq!(welcome["acknowledged"], 3);
    third.kept(3_000, "heartbeat", at(3_000)).await;
    assert_eq!((one.registry.count(), other.registry.count()), (1, 0));
    let log = ground.log(&learner.opened.session).await;
    assert_eq!(sequence(&log), [1, 2, 3, 4]);
    assert_eq!(count_of(&log, "connection.opened"), 3);
    assert_eq!(count_of(&log, "connection.closed"), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_of_a_dead_node_live_on_whether_or_not_somebody_asks() {
    lives_on_after_its_node(&RedisServer::start().url()).await;
}

async fn lives_on_after_its_node(redis: &str) {
    let (ground, [mut one, other, third]) = installation_at(redis, 30).await;
    let learner = Learner::of(one.open("l0", "j1").await);
    for number in 1..30 {
        one.open(&format!("l{number}"), "j1").await;
    }
    let (mut wire, _) = learner.enter(&one).await;
    wire.kept(0, "playback", play(0)).await;
    one.kill();
    // Does not wait for the end of the lease by itself: the node is asked, and is silent.
    let (mut wire, welcome) = learner.enter(&other).await;
    assert_eq!(welcome["acknowledged"], 1);
    wire.kept(1_000, "heartbeat", at(1_000)).await;
    let mut seen = other.node().seen();
    seen.wait_for(|seen| seen.living == 2 && seen.dead.is_empty()).await.unwrap();
    assert_eq!(other.registry.count() + third.registry.count(), 30);
    assert_eq!(sequence(&ground.log(&learner.opened.session).await), [1, 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_came_twice_while_the_session_was_nowhere_goes_on_with_the_newer_connection() {
    let (_server, ground, [mut one, other]) = installation(1).await;
    let learner = Learner::of(one.open("l0", "j1").await);
    let (mut wire, _) = learner.enter(&one).await;
    wire.kept(0, "playback", play(0)).await;
    one.kill();
    let mut waiting = Vec::new();
    // Both wait for the end of the lease; which of them hears of it first is chance.
    for _ in 0..4 {
        let (mut wire, nonce) = Wire::connect(&other.url()).await;
        wire.send(Wire::hello(&learner.opened, &learner.key, &nonce, 0)).await;
        waiting.push(wire);
        // Answered once the hello before it has been taken.
        let mut seen = other.node().seen();
        seen.borrow_and_update();
        seen.changed().await.unwrap();
        ground.clock.advance_ms(1_000);
    }
    let mut newest = waiting.pop().unwrap();
    let ping = newest.expect("ping").await;
    newest.send(json!({"type": "pong", "id": ping["id"], "ct": 0})).await;
    newest.seq = newest.expect("welcome").await["acknowledged"].as_u64().unwrap();
    newest.kept(1_000, "heartbeat", at(1_000)).await;
    for mut older in waiting {
        assert_eq!(older.refusal().await.0, "superseded");
    }
    newest.kept(2_000, "heartbeat", at(2_000)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_cut_off_acknowledges_nothing_that_could_be_anothers() {
    let (server, ground, [other]) = installation(1).await;
    let proxy = Proxy::start(server.address()).await;
    let cut_off = ground.node(&format!("redis://{}", proxy.address())).await;
    let learner = Learner::of(cut_off.open("l0", "j1").await);
    let (mut wire, _) = learner.enter(&cut_off).await;
    wire.kept(0, "playback", play(0)).await;
    proxy.flow(Flow::Hold, Flow::Hold);
    cut_off.node().lease().held().wait_for(|held| !held).await.unwrap();
    wire.event(1_000, "heartbeat", at(1_000)).await;
    while let Heard::Message(message) = wire.hear().await {
        assert_ne!(message["type"], "ack", "{message}");
    }
    assert_eq!(sequence(&ground.log(&learner.opened.session).await), [1], "and writes nothing");
    let (mut wire, welcome) = learner.enter(&other).await;
    assert_eq!(welcome["acknowledged"], 1);
    wire.kept(1_000, "heartbeat", at(1_000)).await;
    proxy.flow(Flow::Pass, Flow::Pass);
    cut_off.node().lease().held().wait_for(|held| *held).await.unwrap();
    cut_off.lives(0).await;
    wire.kept(2_000, "heartbeat", at(2_000)).await;
    assert_eq!(sequence(&ground.log(&learner.opened.session).await), [1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_lives_elsewhere_is_closed_there() {
    let (server, ground, [one, other]) = installation(1).await;
    let first = one.open("l0", "j1").await;
    // A newer session of the same learner and project ends the older one, wherever that lives.
    let second = other.open("l0", "j1").await;
    assert_eq!((one.registry.count(), other.registry.count()), (0, 1));
    assert!(ground.log(&first.session).await.contains(r#""reason":"superseded""#));
    one.registry.close(second.session.clone(), CloseReason::Revoked).await.unwrap();
    assert!(ground.log(&second.session).await.contains(r#""reason":"revoked""#));
    let again = one.registry.close(second.session.clone(), CloseReason::Left).await;
    assert!(matches!(again, Err(CloseRefusal::AlreadyClosed)), "{again:?}");
    other.lives(0).await;
    assert_eq!(server.ask(&["--scan", "--pattern", "invigil:owner:*"]), "", "who has ended is nobody's");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_learns_elsewhere_is_asked_there() {
    let (_server, ground, [one, other]) = installation(1).await;
    let learner = Learner::of(other.open("l0", "j1").await);
    let session = &learner.opened.session;
    let away = one.registry.ask(session.clone(), Asked::Prompt).await;
    assert!(matches!(away, Err(AskRefusal::NotNow(NotNow::Away))), "{away:?}");
    let (mut wire, _) = learner.enter(&other).await;
    wire.kept(0, "playback", play(0)).await;
    one.registry.ask(session.clone(), Asked::Prompt).await.unwrap();
    let prompt = wire.expect("prompt").await;
    one.registry.ask(session.clone(), Asked::Capture).await.unwrap();
    assert_eq!(wire.expect("capture").await["reason"], "supervisor");
    let log = ground.log(session).await;
    let issued = log.lines().find(|line| line.contains("prompt.issued")).unwrap();
    let issued: Value = serde_json::from_str(issued).unwrap();
    assert_eq!((&issued["data"]["prompt"], &issued["data"]["reason"]), (&prompt["prompt"], &json!("supervisor")));
    assert_eq!((one.registry.count(), other.registry.count()), (0, 1), "it has stayed where it was");
    other.registry.close(session.clone(), CloseReason::Revoked).await.unwrap();
    let over = one.registry.ask(session.clone(), Asked::Capture).await;
    assert!(matches!(over, Err(AskRefusal::AlreadyClosed)), "{over:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn playing_at_two_nodes_at_once_is_in_both_logs() {
    is_seen_at_two_nodes(&RedisServer::start().url()).await;
}

async fn is_seen_at_two_nodes(redis: &str) {
    let (ground, [one, other]) = installation_at(redis, 1).await;
    let here = Learner::of(one.open("l0", "j1").await);
    let there = Learner::of(other.open("l0", "j2").await);
    let (mut at_one, _) = here.enter(&one).await;
    let (mut at_other, _) = there.enter(&other).await;
    for wire in [&mut at_one, &mut at_other] {
        wire.kept(0, "playback", play(0)).await;
    }
    let mut ct = 0;
    // Each is called when the other begins; that call takes its way through Redis.
    while ct < 20_000 || [&at_one, &at_other].iter().any(|wire| wire.seen_of("warning").is_empty()) {
        ct += 5_000;
        ground.clock.advance_ms(5_000);
        for wire in [&mut at_one, &mut at_other] {
            wire.kept(ct, "heartbeat", at(ct)).await;
        }
    }
    for wire in [&at_one, &at_other] {
        let warned: Vec<&Value> = wire.seen_of("warning").into_iter().map(|warning| &warning["cause"]).collect();
        assert_eq!(warned, ["session"], "once: {:?}", wire.seen);
    }
    other.registry.close(there.opened.session.clone(), CloseReason::Left).await.unwrap();
    // The other is told, though it is at another node and nothing happens to it.
    let mut seen = one.node().seen();
    while count_of(&ground.log(&here.opened.session).await, "presence.conflict") == 0 {
        seen.changed().await.unwrap();
    }
    one.registry.close(here.opened.session.clone(), CloseReason::Left).await.unwrap();
    for session in [&here.opened.session, &there.opened.session] {
        let log = ground.log(session).await;
        let conflicts: Vec<i64> = log
            .lines()
            .filter_map(|line| match parse_line(line.as_bytes()).unwrap().body {
                Body::PresenceConflict(conflict) => Some(conflict.to_at - conflict.from_at),
                _ => None,
            })
            .collect();
        assert_eq!(conflicts, [ct], "{log}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_stops_gently_leaves_everything_to_the_others_at_once() {
    let (_server, _ground, [one, other]) = installation(10).await;
    let learner = Learner::of(one.open("l0", "j1").await);
    for number in 1..10 {
        one.open(&format!("l{number}"), "j1").await;
    }
    let (mut wire, _) = learner.enter(&one).await;
    wire.kept(0, "playback", play(0)).await;
    one.registry.leave().await;
    assert_eq!(one.registry.count(), 0);
    let (mut wire, welcome) = learner.enter(&other).await;
    assert_eq!(welcome["acknowledged"], 1);
    other.lives(10).await;
    wire.kept(1_000, "heartbeat", at(1_000)).await;
    let request = OpenSession {
        platform: "p1".into(),
        learner: "l0".into(),
        project: "j2".into(),
        lesson: "e2".into(),
        makeup: None,
    };
    let refused = one.registry.open(request).await;
    assert!(matches!(refused, Err(OpenRefusal::Busy { .. })), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_go_on_when_redis_comes_back_empty() {
    let (mut server, ground, [one, other]) = installation(2).await;
    let here = Learner::of(one.open("l0", "j1").await);
    let there = Learner::of(other.open("l1", "j1").await);
    let (mut at_one, _) = here.enter(&one).await;
    let (mut at_other, _) = there.enter(&other).await;
    for wire in [&mut at_one, &mut at_other] {
        wire.kept(0, "playback", play(0)).await;
    }
    server.restart_empty();
    ground.clock.advance_ms(1_000);
    for wire in [&mut at_one, &mut at_other] {
        wire.kept(1_000, "heartbeat", at(1_000)).await;
    }
    // Whoever hears of it first looks through the open sessions, perhaps before the other has heard.
    let (mut seen_at_one, mut seen_at_other) = (one.node().seen(), other.node().seen());
    tokio::select! {
        due = seen_at_one.wait_for(|seen| seen.sweep_is_due) => drop(due.unwrap()),
        due = seen_at_other.wait_for(|seen| seen.sweep_is_due) => drop(due.unwrap()),
    }
    seen_at_one.wait_for(|seen| !seen.sweep_is_due).await.unwrap();
    assert_eq!((one.registry.count(), other.registry.count()), (1, 1), "nobody has taken what is another's");
    // Each knows again where the other's session is.
    let (_, welcome) = here.enter(&other).await;
    assert_eq!(welcome["acknowledged"], 2);
    assert_eq!(at_one.refusal().await.0, "superseded");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_sessions_that_nobody_knows_of_are_found() {
    let (mut server, ground, [mut first]) = installation(20).await;
    for number in 0..20 {
        first.open(&format!("l{number}"), "j1").await;
    }
    first.kill();
    server.restart_empty();
    let (one, other) = (ground.node(&server.url()).await, ground.node(&server.url()).await);
    let mut seen = one.node().seen();
    while one.registry.count() + other.registry.count() < 20 {
        seen.changed().await.unwrap();
    }
    seen.wait_for(|seen| !seen.sweep_is_due).await.unwrap();
    assert_eq!(one.registry.count() + other.registry.count(), 20, "none twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_clock_is_wrong_takes_no_sessions_and_keeps_what_it_has() {
    let (_server, _ground, [one, other]) = installation(2).await;
    let here = Learner::of(one.open("l0", "j1").await);
    let there = Learner::of(other.open("l1", "j1").await);
    let (mut wire, _) = here.enter(&one).await;
    one.clock_check().compared(10_000, 0, 0);
    wire.kept(0, "playback", play(0)).await;
    let (mut refused, nonce) = Wire::connect(&one.url()).await;
    refused.send(Wire::hello(&there.opened, &there.key, &nonce, 0)).await;
    assert_eq!(refused.refusal().await.0, "overloaded");
    one.clock_check().compared(10_000, 9_900, 0);
    let (_, welcome) = there.enter(&one).await;
    assert_eq!(welcome["acknowledged"], 0);
}

mod on_a_cluster {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_learner_goes_on_at_another_node() {
        goes_on_at_another_node(&RedisCluster::start().url()).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn sessions_of_a_dead_node_live_on() {
        lives_on_after_its_node(&RedisCluster::start().url()).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn playing_at_two_nodes_at_once_is_in_both_logs() {
        is_seen_at_two_nodes(&RedisCluster::start().url()).await;
    }
}
