//! What nodes say to each other.

use invigil::cluster::redis::{Answer, AskError, Bus, Command, Redis};

use super::connect;
use crate::harness::servers::redis::{RedisCluster, RedisServer};

/// Longer than any test takes.
const LONG_MS: i64 = 60_000;

fn release(session: &str) -> Command {
    Command::Release { session: session.into(), arrived_at: 0 }
}

async fn asks_and_answers(redis: &Redis) {
    let (one, _nothing) = Bus::start(redis.clone(), "one".into());
    let (other, mut received) = Bus::start(redis.clone(), "other".into());
    let answering = tokio::spawn(async move {
        for _ in 0..100 {
            let asked = received.recv().await.unwrap();
            let Command::Release { session, .. } = &asked.command else { panic!("{asked:?}") };
            let answer = if session == "s7" { Answer::NotHere } else { Answer::Failed { why: session.clone() } };
            other.answer(&asked, &answer).await.unwrap();
        }
        let told = received.recv().await.unwrap();
        assert_eq!((told.command, told.from.as_str()), (Command::Wake { session: "s1".into() }, "one"));
    });
    let asked = (0..100).map(|number| {
        let one = one.clone();
        async move {
            let session = format!("s{number}");
            let expected = if number == 7 { Answer::NotHere } else { Answer::Failed { why: session.clone() } };
            assert_eq!(one.ask("other", &release(&session), LONG_MS).await, Ok(expected));
        }
    });
    futures_util::future::join_all(asked).await;
    one.tell("other", &Command::Wake { session: "s1".into() }).await.unwrap();
    answering.await.unwrap();
}

#[tokio::test]
async fn each_question_gets_its_own_answer() {
    let server = RedisServer::start();
    asks_and_answers(&connect(&server.url()).await).await;
    assert_eq!(server.ask(&["xlen", "invigil:messages:other"]), "0", "what was read is gone");
    let left: i64 = server.ask(&["pttl", "invigil:messages:other"]).parse().unwrap();
    assert!(left > 0, "and so is the stream, some time later");
}

#[tokio::test]
async fn on_a_cluster_too() {
    let cluster = RedisCluster::start();
    asks_and_answers(&connect(&cluster.url()).await).await;
}

#[tokio::test]
async fn who_is_not_there_is_silent_and_has_room_for_so_much() {
    let server = RedisServer::start();
    let (bus, _nothing) = Bus::start(connect(&server.url()).await, "one".into());
    assert_eq!(bus.ask("nobody", &release("a"), 10).await, Err(AskError::Silent));
    let mut sent = 1;
    loop {
        match bus.tell("nobody", &release("a")).await {
            Ok(()) => sent += 1,
            Err(error) => break assert_eq!(error, AskError::Busy),
        }
    }
    assert_eq!(sent, 4_096);
}

#[tokio::test]
async fn what_is_not_understood_is_left_out() {
    let server = RedisServer::start();
    let (_bus, mut received) = Bus::start(connect(&server.url()).await, "one".into());
    let say = |text: &str| server.ask(&["xadd", "invigil:messages:one", "*", "m", text]);
    say("not even JSON");
    say(r#"{"from":"new","command":{"kind":"dance","with":"me"}}"#);
    say(r#"{"from":"new","question":1,"answer":{"kind":"maybe"}}"#);
    server.ask(&["xadd", "invigil:messages:one", "*", "another field", "x"]);
    say(r#"{"from":"new","since":"later","command":{"kind":"wake","session":"a","with":"more"}}"#);
    let first = received.recv().await.unwrap();
    assert_eq!(first.command, Command::Wake { session: "a".into() });
}

#[tokio::test]
async fn messages_are_read_again_after_redis_was_gone() {
    let mut server = RedisServer::start();
    let redis = connect(&server.url()).await;
    let (one, _nothing) = Bus::start(redis.clone(), "one".into());
    let (_other, mut received) = Bus::start(redis, "other".into());
    server.restart_empty();
    let wake = Command::Wake { session: "a".into() };
    while one.tell("other", &wake).await.is_err() {
        tokio::task::yield_now().await;
    }
    assert_eq!(received.recv().await.unwrap().command, wake);
}
