//! Whole servers of one installation: one whose clock is not the database's, and what happens when that is slow.

use std::net::SocketAddr;

use invigil::client::ClientKey;
use invigil::clock::{Clock, Entropy};
use invigil::config::{Config, Secret};
use invigil::doctor::{Level, examine};
use invigil::lifecycle::{Server, ServerConfig, VisionNode};
use invigil::vision::WantedProvider;
use serde_json::{Value, json};

use crate::harness::servers::postgres::Postgres;
use crate::harness::servers::proxy::{Flow, Proxy};
use crate::harness::servers::redis::{RedisCluster, RedisServer};
use crate::harness::wire::{Wire, at, play};
use crate::harness::{Api, frame, get_json, models, text};

/// Further off than nodes may be, ms.
const AHEAD_MS: i64 = 2_500;

/// Further off than any photo may wait, ms.
const HOUR_MS: i64 = 3_600_000;

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

    /// The settings of a node of this name with these roles; the one called "first" makes the keys.
    fn config(&self, name: &str, roles: &str) -> Config {
        let folder = self.folder.path();
        let mut config = Config { models_folder: models(), ..Config::default() };
        config.listen = "127.0.0.1:0".parse().unwrap();
        config.roles = serde_json::from_value(json!(roles)).unwrap();
        config.data_folder = folder.join(name);
        config.database.url = Some(Secret::new(&self.database));
        config.redis.url = Some(Secret::new(self.redis.url()));
        config.evidence.url = Some(format!("file://{}", folder.join("photos").display()));
        config.vision.workers = 1;
        config.vision.provider = WantedProvider::Cpu;
        if name != "first" {
            let first = folder.join("first");
            config.keys.master_file = Some(first.join("master.key"));
            config.keys.pepper_file = Some(first.join("identity.pepper"));
            config.keys.operator_file = Some(first.join("operator.key"));
        }
        config
    }

    async fn start(&self, name: &str, wall: Clock, database: &str) -> Server {
        let mut config = self.config(name, ALL);
        config.database.url = Some(Secret::new(database));
        Server::start(setup(config, wall)).await.unwrap()
    }
}

const ALL: &str = "gateway,api,vision,delivery";
const WITHOUT_VISION: &str = "gateway,api,delivery";

fn setup(config: Config, wall: Clock) -> ServerConfig {
    ServerConfig { config, clock: Clock::scaled(1), wall, entropy: Entropy::system() }
}

/// What `/readyz` answers.
async fn readyz(address: SocketAddr) -> (u16, Value) {
    let (status, said) = get_json(address, "/readyz").await;
    (status.as_u16(), said)
}

/// Asks until it answers so.
async fn until(address: SocketAddr, wanted: impl Fn(u16, &Value) -> bool) -> Value {
    loop {
        let (status, said) = readyz(address).await;
        if wanted(status, &said) {
            return said;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_clock_is_off_from_the_databases_takes_no_sessions_and_says_so() {
    let ground = Ground::new();
    let right = ground.start("first", Clock::system(), &ground.database).await;
    let wrong = ground.start("second", Clock::system().put_forward_ms(AHEAD_MS), &ground.database).await;
    let (status, said) = readyz(right.address).await;
    assert_eq!((status, &said["clock"], &said["lease"]), (200, &json!("ok"), &json!("ok")), "{said}");
    let (status, said) = readyz(wrong.address).await;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_only_looks_at_photos_does_so_whatever_its_clock_shows() {
    let (ground, cluster) = (Ground::new(), RedisCluster::start());
    let config = |name, roles| {
        let mut config = ground.config(name, roles);
        config.redis.url = Some(Secret::new(cluster.url()));
        config
    };
    let server = Server::start(setup(config("first", WITHOUT_VISION), Clock::system())).await.unwrap();
    let course = Api::new(&server.public_url, &server.operator_key).course(&[600_000], "default").await;
    for (ahead_ms, photo) in [(HOUR_MS, frame("webcam_man", 1)), (-HOUR_MS, frame("film_woman", 80))] {
        let wall = Clock::system().put_forward_ms(ahead_ms);
        let vision = VisionNode::start(setup(config("second", "vision"), wall)).await.unwrap();
        // Enrolled by whoever looks at the photo: there is nobody else.
        course.learner(photo).await;
        vision.stop().await;
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_cannot_open_what_waits_says_so_and_leaves_it_to_others() {
    let ground = Ground::new();
    let mut config = ground.config("wrong", "vision");
    (config.keys.master_file, config.keys.master) = (None, Some(Secret::new("00".repeat(32))));
    let wrong = VisionNode::start(setup(config.clone(), Clock::system())).await.unwrap();
    let (status, said) = readyz(wrong.address).await;
    assert_eq!((status, &said["keys"]), (200, &json!("ok")), "nobody has sealed anything yet: {said}");
    let server = Server::start(setup(ground.config("first", WITHOUT_VISION), Clock::system())).await.unwrap();
    let said = until(wrong.address, |status, _| status == 503).await;
    assert_eq!((&said["keys"], &said["redis"], &said["models"]), (&json!("failing"), &json!("ok"), &json!("ok")));
    wrong.stop().await;
    // And from its start on.
    let wrong = VisionNode::start(setup(config, Clock::system())).await.unwrap();
    until(wrong.address, |status, said| status == 503 && said["keys"] == "failing").await;

    let right = VisionNode::start(setup(ground.config("right", "vision"), Clock::system())).await.unwrap();
    let (status, said) = readyz(right.address).await;
    assert_eq!((status, &said["keys"]), (200, &json!("ok")), "{said}");
    let course = Api::new(&server.public_url, &server.operator_key).course(&[600_000], "default").await;
    course.learner(frame("webcam_man", 1)).await;
    right.stop().await;
    wrong.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_that_no_node_takes_on_is_said() {
    let ground = Ground::new();
    let mut config = ground.config("first", WITHOUT_VISION);
    config.metrics.listen = Some("127.0.0.1:0".parse().unwrap());
    let server = Server::start(setup(config.clone(), Clock::system())).await.unwrap();
    let metric = async || {
        let url = format!("http://{}/metrics", server.metrics_address.unwrap());
        let text = reqwest::get(url).await.unwrap().text().await.unwrap();
        text.lines().any(|line| line == "invigil_roles_missing 1")
    };
    // What the doctor says of the nodes.
    let doctor = async || {
        let config = config.clone();
        let examined = tokio::task::spawn_blocking(move || examine(&config, false, Clock::system().now_ms()));
        let findings = examined.await.unwrap().into_iter();
        findings
            .filter(|finding| finding.check == "nodes")
            .map(|finding| (finding.level, finding.what))
            .collect::<Vec<_>>()
    };
    let said = until(server.address, |_, said| said["missing_roles"] == json!(["vision"])).await;
    assert_eq!(said["ready"], true, "it can do nothing about it");
    assert!(metric().await);
    assert_eq!(doctor().await, [(Level::Error, "no node that is alive has the role vision".to_owned())]);

    let vision = VisionNode::start(setup(ground.config("second", "vision"), Clock::system())).await.unwrap();
    until(server.address, |_, said| said["missing_roles"].is_null()).await;
    assert!(!metric().await);
    assert_eq!(doctor().await, [(Level::Ok, "every role has a node that is alive".to_owned())]);
    server.stop().await;
    let missing = json!(["gateway", "api", "delivery"]);
    until(vision.address, |_, said| said["missing_roles"] == missing).await;
    vision.stop().await;
}
