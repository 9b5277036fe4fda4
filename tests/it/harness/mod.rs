//! A server in this process, with clocks that the test moves, and what a platform does to have a session on it.
//!
//! Real sockets, a real database, real models; only the time is the test's.

pub mod wire;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use invigil::clock::{Clock, Entropy};
use invigil::config::{Config, Webhook};
use invigil::lifecycle::{Server, ServerConfig};
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};
use tempfile::TempDir;

/// When the manual clocks begin, ms since the epoch.
pub const START_MS: i64 = 1_790_000_000_000;

/// Where `make models` leaves models and people.
pub fn models() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/cache");
    assert!(folder.join("people").is_dir(), "run `make models`");
    folder
}

/// A frame of somebody of models/people.json.
pub fn frame(person: &str, number: u32) -> Vec<u8> {
    let path = models().join("people").join(person).join(format!("{number:03}.jpg"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}; run `make models`", path.display()))
}

/// A server, and who may speak to it.
pub struct Stage {
    pub folder: TempDir,
    pub clock: Clock,
    pub wall: Clock,
    pub server: Option<Server>,
    pub operator: Api,
}

/// A platform with one approved project.
pub struct Course {
    pub platform: Api,
    pub project: String,
    pub lessons: Vec<String>,
}

/// A session as a platform got it.
#[derive(Clone, Debug)]
pub struct Opened {
    pub session: String,
    pub token: String,
}

impl Stage {
    /// A server whose clocks stand still until the test moves them.
    pub async fn start() -> Self {
        Self::start_with(Clock::manual(START_MS), Clock::manual(START_MS), |_, _| ()).await
    }

    /// A server with these clocks; `edit` may change its configuration, and write into its folder.
    pub async fn start_with(clock: Clock, wall: Clock, edit: impl FnOnce(&Path, &mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = serve(folder.path(), &clock, &wall, |config| edit(folder.path(), config)).await;
        let operator = Api::new(&server.public_url, &server.operator_key);
        Self { folder, clock, wall, server: Some(server), operator }
    }

    /// Both clocks move together.
    pub fn advance_ms(&self, by_ms: i64) {
        self.clock.advance_ms(by_ms);
        self.wall.advance_ms(by_ms);
    }

    /// Stops the server and starts another in its folder, at another address.
    pub async fn restart(&mut self) {
        self.server.take().unwrap().stop().await;
        let server = serve(self.folder.path(), &self.clock, &self.wall, |_| ()).await;
        self.operator = Api::new(&server.public_url, &server.operator_key);
        self.server = Some(server);
    }

    /// Where the stream is now.
    pub fn stream_url(&self) -> String {
        format!("ws://{}/v1/stream", self.server.as_ref().unwrap().address)
    }

    /// A platform with an approved project of as many lessons as durations.
    pub async fn course(&self, durations_ms: &[i64]) -> Course {
        let platform = self.operator.post("/platforms", json!({"name": "青田在线"})).await;
        let platform_id = text(&platform, "id");
        let key = self.operator.post(&format!("/platforms/{platform_id}/keys"), json!({"label": "test"})).await;
        let api = Api { key: text(&key, "key"), ..self.operator.clone() };
        let (project, lessons) = self.project(&api, durations_ms).await;
        Course { platform: api, project, lessons }
    }

    /// One more approved project of this platform.
    pub async fn project(&self, platform: &Api, durations_ms: &[i64]) -> (String, Vec<String>) {
        let lessons: Vec<Value> = durations_ms
            .iter()
            .map(|duration_ms| {
                json!({"title": "安全用电", "kind": "theory", "duration_ms": duration_ms, "questions":
                    [{"text": "1 + 1 = ?", "options": ["right", "wrong a", "wrong b", "wrong c"], "right": 0}]})
            })
            .collect();
        let project = json!({"name": "电工（五级）", "total_hours": 40, "delivery": "blended", "lessons": lessons});
        let project = platform.post("/projects", project).await;
        let id = text(&project, "id");
        self.operator.put(&format!("/projects/{id}/approval"), json!({"approved": true})).await;
        let lessons: Vec<String> =
            project["lessons"].as_array().unwrap().iter().map(|lesson| text(lesson, "id")).collect();
        for lesson in &lessons {
            self.operator.put(&format!("/lessons/{lesson}/approval"), json!({"approved": true})).await;
        }
        (id, lessons)
    }
}

async fn serve(folder: &Path, clock: &Clock, wall: &Clock, edit: impl FnOnce(&mut Config)) -> Server {
    let mut config = Config {
        listen: "127.0.0.1:0".parse().unwrap(),
        data_folder: folder.to_owned(),
        models_folder: models(),
        webhook: Webhook { allow_private_addresses: true, allow_http: true },
        ..Config::default()
    };
    config.vision.workers = 1;
    edit(&mut config);
    let (clock, wall) = (clock.clone(), wall.clone());
    Server::start(ServerConfig { config, clock, wall, entropy: Entropy::system() }).await.unwrap()
}

impl Course {
    /// A person known to this platform, with a photo, enrolled in the project.
    pub async fn learner(&self, photo: Vec<u8>) -> String {
        let learner = self.platform.post("/learners", json!({"id_number": new_id_number()})).await;
        let learner = text(&learner, "id");
        let answer = self.platform.photo(&learner, photo).await;
        assert_eq!(answer.status(), 201, "{}", answer.text().await.unwrap());
        self.enrol(&self.project, &learner).await;
        learner
    }

    pub async fn enrol(&self, project: &str, learner: &str) {
        self.platform.post(&format!("/projects/{project}/enrolments"), json!({"learner": learner})).await;
    }

    pub async fn open(&self, lesson: &str, learner: &str) -> Opened {
        let opened = self.platform.post("/sessions", json!({"lesson": lesson, "learner": learner})).await;
        Opened { session: text(&opened, "session"), token: text(&opened, "token") }
    }
}

/// A caller of the REST API.
#[derive(Clone)]
pub struct Api {
    http: Client,
    base: String,
    pub key: String,
}

impl Api {
    fn new(public_url: &str, key: &str) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self { http: Client::new(), base: format!("{public_url}/api/v1"), key: key.to_owned() }
    }

    pub async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Response {
        let mut request = self.http.request(method, format!("{}{path}", self.base)).bearer_auth(&self.key);
        if let Some(body) = body {
            request = request.json(&body);
        }
        request.send().await.unwrap()
    }

    async fn good(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let response = self.send(method, path, body).await;
        let (status, text) = (response.status(), response.text().await.unwrap());
        assert!(status.is_success(), "{path}: {status}: {text}");
        if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() }
    }

    pub async fn post(&self, path: &str, body: Value) -> Value {
        self.good(Method::POST, path, Some(body)).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Value {
        self.good(Method::PUT, path, Some(body)).await
    }

    pub async fn get(&self, path: &str) -> Value {
        self.good(Method::GET, path, None).await
    }

    pub async fn text(&self, path: &str) -> String {
        let response = self.send(Method::GET, path, None).await;
        assert!(response.status().is_success(), "{path}: {}", response.status());
        response.text().await.unwrap()
    }

    pub async fn photo(&self, learner: &str, photo: Vec<u8>) -> Response {
        let url = format!("{}/learners/{learner}/photo", self.base);
        let request = self.http.put(url).bearer_auth(&self.key).header("content-type", "image/jpeg");
        request.body(photo).send().await.unwrap()
    }
}

pub fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_else(|| panic!("no {field} in {value}")).to_owned()
}

/// An invented ID number with a right checksum (GB 11643), each time another.
pub fn new_id_number() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let body = format!("110101199001{:02}{:03}", 1 + number / 1000, number % 1000);
    let weights = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    let sum: u32 = body.bytes().zip(weights).map(|(digit, weight)| u32::from(digit - b'0') * weight).sum();
    format!("{body}{}", ["1", "0", "X", "9", "8", "7", "6", "5", "4", "3", "2"][(sum % 11) as usize])
}
