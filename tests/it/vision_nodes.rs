//! Nodes with different roles: real processes on a real PostgreSQL, Redis and store of photos. Photos of a node that does
//! not look at any are looked at by one that does nothing else, whatever dies on the way.

use std::net::SocketAddr;
use std::sync::Arc;

use invigil::clock::Entropy;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::crash::check_one;
use crate::harness::process::{Home, Process};
use crate::harness::pupil::{Camera, Kept, Pupil};
use crate::harness::s3::S3;
use crate::harness::servers::postgres::Postgres;
use crate::harness::servers::proxy::{Flow, Proxy};
use crate::harness::servers::redis::RedisServer;
use crate::harness::{Course, PEOPLE, QUICK, face_checks, frame, get_json, new_id_number, text};

const QUEUES: [&str; 2] = ["invigil:{photos}:starts", "invigil:{photos}:jobs"];
const HEARTBEAT_MS: i64 = 200;
const LESSON_MS: i64 = 600_000;

/// What the nodes share, and the home of the first, which made the keys.
struct Ground {
    _postgres: Postgres,
    database: String,
    redis: RedisServer,
    s3: S3,
    home: Home,
}

impl Ground {
    /// Where so many photos may wait.
    async fn new(queue_limit: usize) -> Self {
        let postgres = Postgres::start();
        let database = postgres.database();
        let (redis, s3, home) = (RedisServer::start(), S3::start().await, Home::new(HEARTBEAT_MS));
        home.configure(&format!("vision.queue_limit = {queue_limit}\n{}", shared(&redis, &s3.toml())));
        std::fs::create_dir_all(home.data()).unwrap();
        std::fs::write(home.data().join("database.url"), &database).unwrap();
        Self { _postgres: postgres, database, redis, s3, home }
    }

    /// A node at home with these roles.
    async fn server(&self, roles: &str) -> Process {
        start(&self.home, roles).await.unwrap()
    }

    /// The home of another node with the keys of the first, which finds photos at `s3`.
    fn another_home(&self, s3: &str) -> Home {
        let home = Home::new(HEARTBEAT_MS);
        let data = self.home.data();
        home.configure(&format!("keys.master_file = {:?}\n{}", data.join("master.key"), shared(&self.redis, s3)));
        home
    }

    /// A node that does nothing but look at photos.
    async fn vision_node(&self) -> Process {
        start(&self.another_home(&self.s3.toml()), "vision").await.unwrap()
    }

    /// How many photos wait or are being looked at.
    fn waiting(&self) -> usize {
        // No answer while it starts anew.
        QUEUES.iter().map(|queue| self.redis.ask(&["xlen", queue]).parse().unwrap_or(0)).sum()
    }

    /// How many photos are being looked at.
    fn in_hand(&self) -> usize {
        let pending = QUEUES.map(|queue| self.redis.ask(&["xpending", queue, "vision"]));
        pending.iter().filter_map(|answer| answer.lines().next()?.trim().parse::<usize>().ok()).sum()
    }

    async fn wait_until(&self, what: impl Fn(&Self) -> bool) {
        while !what(self) {
            tokio::task::yield_now().await;
        }
    }

    async fn course(&self, server: SocketAddr) -> Arc<Course> {
        Arc::new(self.home.operator(server).course(&[LESSON_MS], QUICK).await)
    }

    /// Holds a session until a face has matched and a prompt was passed.
    fn learn(&self, server: SocketAddr, course: &Arc<Course>, learner: String, person: usize) -> JoinHandle<Kept> {
        let (url, course) = (format!("ws://{server}/v1/stream"), course.clone());
        let (person, _, frames) = PEOPLE[person].clone();
        tokio::spawn(async move {
            let opened = course.open(&course.lessons[0], &learner).await;
            let camera = Camera::new(person, frames);
            let heard = Arc::new(Notify::new());
            let pupil = Pupil::sit_down(&url, opened, camera, Entropy::system(), HEARTBEAT_MS, heard);
            pupil.stay(watch::channel(true).1).await
        })
    }

    /// The face checks of a session that is over, of which all is in order.
    async fn checks(&self, course: &Course, kept: &Kept) -> Vec<Value> {
        face_checks(&check_one(course, &kept.session, Some(kept), &self.home.policy()).await)
    }
}

fn shared(redis: &RedisServer, s3: &str) -> String {
    format!("redis.url = {:?}\n{s3}", redis.url())
}

async fn start(home: &Home, roles: &str) -> Result<Process, String> {
    let mut command = home.command(&[], None);
    command.args(["--roles", roles, "--metrics-listen", "127.0.0.2:0"]);
    Process::start(command).await
}

/// Stops a node, which must be content with it.
async fn stop(node: Process) {
    node.terminate();
    let (content, log) = node.ended().await;
    assert!(content && log.last().unwrap().contains(r#""message":"stopped""#), "{log:#?}");
    assert!(!log.iter().any(|line| line.contains(r#""level":"ERROR""#)), "{log:#?}");
}

async fn metric(node: &Process, name: &str) -> f64 {
    let url = format!("http://{}/metrics", node.metrics.unwrap());
    let metrics = reqwest::get(url).await.unwrap().text().await.unwrap();
    let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    value.unwrap_or_else(|| panic!("{name} is not in {metrics}"))
}

/// The name of a node, as it said when it joined.
fn name(node: &Process) -> String {
    let lines = node.log();
    let lines = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut joined = lines.filter(|line| line["fields"]["message"] == "this server is one of several");
    text(&joined.next().unwrap()["fields"], "node")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_only_looks_at_photos_does_so_for_one_that_does_not() {
    let ground = Ground::new(256).await;
    let server = ground.server("gateway,api,delivery").await;
    let home = ground.another_home(&ground.s3.toml());
    let vision = start(&home, "vision").await.unwrap();
    let course = ground.course(server.address).await;
    let learner = course.learner(frame("webcam_man", 1)).await;
    for (photo, status, problem) in
        [(b"no photo".to_vec(), 422, "photo-unsuitable"), (frame("film_woman", 80), 409, "face-mismatch")]
    {
        let refused = course.platform.photo(&learner, photo).await;
        assert_eq!(refused.status(), status);
        assert_eq!(refused.json::<Value>().await.unwrap()["type"], format!("urn:invigil:problem:{problem}"));
    }
    let kept = ground.learn(server.address, &course, learner, 0).await.unwrap();
    let checks = ground.checks(&course, &kept).await;
    let matched = checks.iter().find(|check| check["outcome"] == "match").unwrap();
    assert!(matched["similarity"].as_f64() >= matched["threshold"].as_f64() && matched["faces"] == 1, "{matched}");
    assert!(["detector", "recogniser", "runtime"].iter().all(|model| matched["models"][model].is_string()));
    assert!(metric(&vision, "invigil_photo_check_seconds_count").await >= checks.len() as f64);
    assert_eq!(ground.waiting(), 0);

    // Each says what it does not serve, and is ready when its own roles have what they need.
    for path in ["/api/v1", "/api/v1/platforms", "/v1/stream"] {
        let (status, problem) = get_json(vision.address, path).await;
        assert_eq!((status, &problem["type"]), (StatusCode::NOT_FOUND, &json!("urn:invigil:problem:not-found")));
        let detail = text(&problem, "detail");
        assert!(detail.contains("does not serve") && detail.ends_with("its roles are vision"), "{detail}");
    }
    let ready = json!({
        "ready": true, "running": "ok", "models": "ok", "redis": "ok", "keys": "ok",
        "vision": {"provider": "cpu", "precision": "f32", "library": "onnxruntime 1.26.0"},
    });
    assert_eq!(get_json(vision.address, "/readyz").await, (StatusCode::OK, ready));
    let ready = json!({"ready": true, "running": "ok", "database": "ok", "lease": "ok", "clock": "ok"});
    assert_eq!(get_json(server.metrics.unwrap(), "/readyz").await, (StatusCode::OK, ready));

    stop(vision).await;
    assert_eq!(std::fs::read_dir(home.data()).map_or(0, Iterator::count), 0, "it keeps nothing");
    for queue in QUEUES {
        assert_eq!(ground.redis.ask(&["xinfo", "consumers", queue, "vision"]), "", "and leaves nothing behind");
    }
    stop(server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_node_had_in_hand_another_looks_at() {
    let ground = Ground::new(256).await;
    let server = ground.server("gateway,api,delivery").await;
    let endpoint = ground.s3.settings().endpoint.unwrap();
    let proxy = Proxy::start(endpoint.strip_prefix("http://").unwrap().parse().unwrap()).await;
    let through = ground.s3.toml().replace(&endpoint, &format!("http://{}", proxy.address()));
    let dying = start(&ground.another_home(&through), "vision").await.unwrap();
    let course = ground.course(server.address).await;
    let learner = course.learner(frame("webcam_man", 1)).await;
    // It takes the photo off the queue, and waits for its bytes.
    proxy.flow(Flow::Hold, Flow::Hold);
    let learning = ground.learn(server.address, &course, learner, 0);
    ground.wait_until(|ground| ground.in_hand() == 1).await;
    dying.kill();
    let heir = ground.vision_node().await;
    let kept = learning.await.unwrap();
    let checks = ground.checks(&course, &kept).await;
    assert!(checks.iter().all(|check| check["outcome"] == "match"), "{checks:?}");
    stop(heir).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn photos_that_wait_outlive_a_redis_that_comes_back_empty() {
    let mut ground = Ground::new(256).await;
    let server = ground.server("gateway,api,delivery").await;
    let vision = ground.vision_node().await;
    let course = ground.course(server.address).await;
    let learner = course.learner(frame("webcam_man", 1)).await;
    stop(vision).await;
    let learning = ground.learn(server.address, &course, learner, 0);
    ground.wait_until(|ground| ground.waiting() == 1).await;
    ground.redis.restart_empty();
    ground.wait_until(|ground| ground.waiting() == 1).await;
    let vision = ground.vision_node().await;
    let kept = learning.await.unwrap();
    let checks = ground.checks(&course, &kept).await;
    assert!(checks.iter().all(|check| check["outcome"] == "match"), "{checks:?}");
    // A node that takes photos finds the queue again, too.
    ground.redis.restart_empty();
    let another = course.learner(frame("film_woman", 80)).await;
    ground.learn(server.address, &course, another, 1).await.unwrap();
    stop(vision).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_queue_is_full_photos_wait_and_enrolments_are_refused() {
    let ground = Ground::new(1).await;
    let server = ground.server("gateway,api,delivery").await;
    let vision = ground.vision_node().await;
    let course = ground.course(server.address).await;
    let (one, two) = (course.learner(frame("webcam_man", 1)).await, course.learner(frame("film_woman", 80)).await);
    stop(vision).await;
    let learning = [(one, 0), (two, 1)].map(|(learner, person)| ground.learn(server.address, &course, learner, person));
    ground.wait_until(|ground| ground.waiting() == 1).await;
    let refused = metric(&server, "invigil_photo_refused_total").await;
    // The second learner's photo is offered again and again.
    while metric(&server, "invigil_photo_refused_total").await < refused + 2.0 {}
    assert_eq!(ground.waiting(), 1);
    let third = course.platform.post("/learners", json!({"id_number": new_id_number()})).await;
    let third = text(&third, "id");
    let busy = course.platform.photo(&third, frame("car_man", 1)).await;
    assert_eq!(
        (busy.status(), &busy.headers()["retry-after"]),
        (StatusCode::SERVICE_UNAVAILABLE, &"2".parse().unwrap())
    );

    let vision = ground.vision_node().await;
    for learning in learning {
        let kept = learning.await.unwrap();
        let checks = ground.checks(&course, &kept).await;
        assert!(checks.iter().all(|check| check["outcome"] == "match"), "{checks:?}");
    }
    assert_eq!(course.platform.photo(&third, frame("car_man", 1)).await.status(), StatusCode::CREATED);
    stop(vision).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_nodes_that_deliver_compete_for_that_and_they_take_no_sessions() {
    let ground = Ground::new(256).await;
    let server = ground.server("gateway,api,vision").await;
    let home = ground.another_home(&ground.s3.toml());
    std::fs::create_dir_all(home.data()).unwrap();
    std::fs::write(home.data().join("database.url"), &ground.database).unwrap();
    for key in ["identity.pepper", "operator.key"] {
        std::fs::copy(ground.home.data().join(key), home.data().join(key)).unwrap();
    }
    let delivery = start(&home, "delivery").await.unwrap();
    let duty = |ground: &Ground| ground.redis.ask(&["get", "invigil:owner:duty:delivery"]);
    ground.wait_until(|ground| !duty(ground).is_empty()).await;
    assert_eq!(duty(&ground), name(&delivery));

    let course = ground.course(server.address).await;
    let (status, problem) = get_json(delivery.address, "/api/v1/platforms").await;
    assert_eq!((status, text(&problem, "detail").ends_with("its roles are delivery")), (StatusCode::NOT_FOUND, true));
    let learner = course.learner(frame("webcam_man", 1)).await;
    let opened = course.open(&course.lessons[0], &learner).await;
    let owner = format!("invigil:owner:{}", opened.session);
    assert_eq!(ground.redis.ask(&["get", &owner]), name(&server));
    server.kill();
    let next = ground.server("gateway,api,vision").await;
    ground.wait_until(|ground| ground.redis.ask(&["get", &owner]) == name(&next)).await;
    assert_eq!(metric(&delivery, "invigil_sessions_live").await, 0.0);
    assert_eq!(duty(&ground), name(&delivery));
    stop(delivery).await;
}

#[tokio::test]
async fn what_a_node_lacks_for_its_roles_is_said_by_its_key() {
    let alone = Home::new(HEARTBEAT_MS);
    let refused = |home: &Home, roles: &'static str| {
        let starting = home.command(&[], None);
        async move {
            let mut starting = starting;
            starting.args(["--roles", roles]);
            Process::start(starting).await.err().expect("it must not start")
        }
    };
    let why = refused(&alone, "gateway,cook").await;
    assert!(
        why.contains(r#"roles (flag --roles): "cook" is no role; there are gateway, api, vision, delivery"#),
        "{why}"
    );
    let why = refused(&alone, "").await;
    assert!(why.contains("roles (flag --roles): names no role"), "{why}");
    let why = refused(&alone, "vision").await;
    assert!(why.contains("roles (flag --roles): leaves out gateway, api, delivery, and without redis.url"), "{why}");

    let (redis, s3) = (RedisServer::start(), S3::start().await);
    let shared_home = Home::new(HEARTBEAT_MS);
    shared_home.configure(&shared(&redis, &s3.toml()));
    let why = refused(&shared_home, "vision,api").await;
    assert!(why.contains("redis.url") && why.contains("database.url is not"), "{why}");
    let why = refused(&shared_home, "vision").await;
    assert!(why.contains("keys.master: ") && why.contains("master.key"), "{why}");
    let no_photos = Home::new(HEARTBEAT_MS);
    no_photos.configure(&format!("keys.master = {:?}\n{}", "00".repeat(32), shared(&redis, "")));
    let why = refused(&no_photos, "vision").await;
    assert!(why.contains("redis.url") && why.contains("evidence.url is not"), "{why}");
}
