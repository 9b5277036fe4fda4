//! A server whose clock is not that of its database, and what it says.

use invigil::clock::{Clock, Entropy};
use invigil::config::{Config, Secret};
use invigil::lifecycle::{Server, ServerConfig};
use serde_json::{Value, json};

use crate::harness::servers::postgres::Postgres;
use crate::harness::servers::redis::RedisServer;
use crate::harness::{Api, models, text};

/// Further off than nodes may be, ms.
const AHEAD_MS: i64 = 2_500;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_clock_is_off_from_the_databases_takes_no_sessions_and_says_so() {
    let (postgres, redis, folder) = (Postgres::start(), RedisServer::start(), tempfile::tempdir().unwrap());
    let database = postgres.database();
    let start = async |name: &str, wall: Clock| {
        let mut config = Config { models_folder: models(), ..Config::default() };
        config.listen = "127.0.0.1:0".parse().unwrap();
        config.data_folder = folder.path().join(name);
        config.database.url = Some(Secret::new(&database));
        config.redis.url = Some(Secret::new(redis.url()));
        config.evidence.url = Some(format!("file://{}", folder.path().join("photos").display()));
        config.vision.workers = 1;
        if name != "first" {
            let first = folder.path().join("first");
            config.keys.master_file = Some(first.join("master.key"));
            config.keys.pepper_file = Some(first.join("identity.pepper"));
            config.keys.operator_file = Some(first.join("operator.key"));
        }
        let (clock, entropy) = (Clock::scaled(1), Entropy::system());
        Server::start(ServerConfig { config, clock, wall, entropy }).await.unwrap()
    };
    let right = start("first", Clock::system()).await;
    let wrong = start("second", Clock::system().put_forward_ms(AHEAD_MS)).await;
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
    let learner = course.learner(crate::harness::frame("webcam_man", 1)).await;
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
