//! Whole servers of one installation: one whose clock is not the database's, and what happens when that is slow.

use invigil::client::ClientKey;
use invigil::clock::{Clock, Entropy};
use invigil::config::{Config, Secret};
use invigil::lifecycle::{Server, ServerConfig};
use serde_json::{Value, json};

use crate::harness::servers::postgres::Postgres;
use crate::harness::servers::proxy::{Flow, Proxy};
use crate::harness::servers::redis::RedisServer;
use crate::harness::wire::{Wire, at, play};
use crate::harness::{Api, frame, models, text};

/// Further off than nodes may be, ms.
const AHEAD_MS: i64 = 2_500;

/// What servers share.
struct Ground {
    postgres: Postgres,
    redis: RedisServer,
    folder: tempfile::TempDir,
    database: String,
}

impl Ground {
    fn new() -> Self {
        let (postgres, redis, folder) = (Postgres::start(), RedisServer::start(), tempfile::tempdir().unwrap());
        let database = postgres.database();
        Self { postgres, redis, folder, database }
    }

    /// A server of this name; the one called "first" makes the keys.
    async fn start(&self, name: &str, wall: Clock, database: &str) -> Server {
        let folder = self.folder.path();
        let mut config = Config { models_folder: models(), ..Config::default() };
        config.listen = "127.0.0.1:0".parse().unwrap();
        config.data_folder = folder.join(name);
        config.database.url = Some(Secret::new(database));
        config.redis.url = Some(Secret::new(self.redis.url()));
        config.evidence.url = Some(format!("file://{}", folder.join("photos").display()));
        config.vision.workers = 1;
        if name != "first" {
            let first = folder.join("first");
            config.keys.master_file = Some(first.join("master.key"));
            config.keys.pepper_file = Some(first.join("identity.pepper"));
            config.keys.operator_file = Some(first.join("operator.key"));
        }
        let (clock, entropy) = (Clock::scaled(1), Entropy::system());
        Server::start(ServerConfig { config, clock, wall, entropy }).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_clock_is_off_from_the_databases_takes_no_sessions_and_says_so() {
    let ground = Ground::new();
    let right = ground.start("first", Clock::system(), &ground.database).await;
    let wrong = ground.start("second", Clock::system().put_forward_ms(AHEAD_MS), &ground.database).await;
    let ready = async |server: &Server| {
        let response = reqwest::get(format!("{}/readyz", server.public_url)).await.unwrap();
        (response.status().as_u16(), response.json::<Value>().await.unwrap())
    };
    let (status, said) = ready(&right).await;
    assert_eq!((status, &said["clock"], &said["lease"]), (200, &json!("ok"), &json!("ok")), "{said}");
    let (status, said) = ready(&wrong).await;
    assert_eq!((status, &said["clock"]), (503, &json!("failing")), "{said}");

    // Records can be kept there; a session cannot be opened.
    let operator = Api::new(&wrong.public_url, &wrong.operator_key);
    let course = operator.course(&[600_000], "default").await;
    let learner = course.learner(frame("webcam_man", 1)).await;
    let request = json!({"lesson": course.lessons[0], "learner": learner});
    let refused = course.platform.send(reqwest::Method::POST, "/sessions", Some(request.clone())).await;
    assert_eq!(refused.status().as_u16(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    let there = Api::new(&right.public_url, &course.platform.key);
    let opened = there.post("/sessions", request).await;
    assert!(!text(&opened, "session").is_empty());
    right.stop().await;
    wrong.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_database_stands_still_nothing_is_acknowledged_and_no_session_begins() {
    let ground = Ground::new();
    let proxy = Proxy::start(ground.postgres.address()).await;
    let database = ground.database.replace(&ground.postgres.address().to_string(), &proxy.address().to_string());
    let server = ground.start("first", Clock::system(), &database).await;
    let course = Api::new(&server.public_url, &server.operator_key).course(&[600_000], "default").await;
    let (one, other) = (course.learner(frame("webcam_man", 1)).await, course.learner(frame("film_woman", 80)).await);
    let opened = course.open(&course.lessons[0], &one).await;
    let url = format!("{}/v1/stream", server.public_url.replace("http", "ws"));
    let (mut wire, _) = Wire::enter(&url, &opened, &ClientKey::generate().unwrap(), 0).await;
    wire.kept(0, "playback", play(0)).await;
    proxy.flow(Flow::Hold, Flow::Hold);
    for number in 1..=50 {
        wire.event(number * 20, "heartbeat", at(number * 20)).await;
    }
    let request = json!({"lesson": course.lessons[0], "learner": other});
    // It is refused after seconds, in which the stream says nothing of the kind.
    let refused = tokio::select! {
        ack = wire.expect("ack") => panic!("{ack}"),
        refused = course.platform.send(reqwest::Method::POST, "/sessions", Some(request.clone())) => refused,
    };
    assert_eq!(refused.status().as_u16(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    proxy.flow(Flow::Pass, Flow::Pass);
    wire.acknowledged().await;
    let mut ready = false;
    while !ready {
        ready = reqwest::get(format!("{}/readyz", server.public_url)).await.unwrap().status().is_success();
    }
    let opened = course.platform.post("/sessions", request).await;
    assert!(!text(&opened, "session").is_empty());
    server.stop().await;
}
