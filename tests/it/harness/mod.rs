//! A server in this process, with clocks that the test moves, and what a platform does to have a session on it.
//!
//! Real sockets, a real database, real models; only the time is the test's. The server as a process of its own is in
//! [`process`].

pub mod disk;
pub mod haproxy;
pub mod hooks;
pub mod process;
pub mod pupil;
pub mod s3;
pub mod servers;
pub mod trace;
pub mod wire;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use invigil::clock::{Clock, Entropy};
use invigil::config::{Config, Secret, Webhook};
use invigil::lifecycle::{Server, ServerConfig, StartError};
use invigil::log::{Digest, parse_line};
use invigil::policy::Policy;
use invigil::session::Session;
use invigil::store::postgres::CONNECTIONS_LEAST;
use invigil::vision::WantedProvider;
use reqwest::{Client, Method, Response, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::watch;

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

/// What is in the photos of models/people.json: who, enrolled with which frame, and frames in which they are well seen.
pub const PEOPLE: [(&str, u32, std::ops::Range<u32>); 3] =
    [("webcam_man", 1, 2..74), ("film_woman", 80, 47..80), ("car_man", 1, 2..61)];

/// The identifier of the pack that [`quick_pack`] writes.
/// How long a node may take to answer a request of who is very patient: longer than one stands still.
const ANSWER_LIMIT: Duration = Duration::from_secs(12);
/// When they come back, ms.
const COMES_BACK_MS: i64 = 300;

pub const QUICK: &str = "quick";

/// A pack by which prompts and photos come every few seconds, so that a short session meets some. Nothing in it is
/// more lenient than the default, but that one photo is enough.
pub fn quick_pack(folder: &Path, heartbeat_ms: i64) -> PathBuf {
    let path = folder.join("quick.toml");
    let text = format!(
        r#"
        id = "{QUICK}"
        short_session_ms = 10_000
        [schedule]
        heartbeat_ms = {heartbeat_ms}
        prompt_min_ms = 4_000
        prompt_max_ms = 9_000
        prompt_sum_milli = 0
        capture_frames = 1
        same_picture_milli = 1_000
        passive_start_milli = 0
        passive_recheck_milli = 0
        challenge_start_milli = 0
        challenge_recheck_milli = 0
        challenge_random_milli = 0
        capture_start_min_ms = 0
        capture_start_max_ms = 2_000
        capture_min_ms = 5_000
        capture_max_ms = 10_000
        "#
    );
    std::fs::write(&path, text).unwrap();
    path
}

/// A pack that every server of a test has: the default one without sums, and with single photos.
pub const PLAIN: &str = "plain";

/// Its file.
pub const PLAIN_FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/harness/plain.toml");

/// The pack [`PLAIN`].
pub fn plain() -> Policy {
    Policy::from_toml(include_str!("plain.toml")).unwrap()
}

/// What `invigil replay` would say of this log.
pub fn replayed(log: &str, policy: Policy) -> String {
    let mut session = Session::new(policy.into());
    let mut digest = Digest::new();
    for line in log.lines() {
        session.apply(&parse_line(line.as_bytes()).unwrap()).unwrap();
        digest.line(line.as_bytes());
    }
    serde_json::to_string(&session.verdict(digest.finish())).unwrap()
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
        let server = serve(folder.path(), &clock, &wall, |config| edit(folder.path(), config)).await.unwrap();
        let operator = Api::new(&server.public_url, &server.operator_key);
        Self { folder, clock, wall, server: Some(server), operator }
    }

    /// A server in a folder that is not new.
    pub async fn start_in(folder: TempDir, clock: Clock, wall: Clock) -> Self {
        let server = serve(folder.path(), &clock, &wall, |_| ()).await.unwrap();
        let operator = Api::new(&server.public_url, &server.operator_key);
        Self { folder, clock, wall, server: Some(server), operator }
    }

    /// Why a server does not start in this folder.
    pub async fn refused(folder: &Path) -> String {
        let clock = Clock::manual(START_MS);
        serve(folder, &clock, &clock, |_| ()).await.err().expect("it must not start").to_string()
    }

    /// Both clocks move together.
    pub fn advance_ms(&self, by_ms: i64) {
        self.clock.advance_ms(by_ms);
        self.wall.advance_ms(by_ms);
    }

    /// Stops the server and starts another in its folder, at another address.
    pub async fn restart(&mut self) {
        self.restart_with(|_, _| ()).await;
    }

    /// The same, and the other is configured otherwise.
    pub async fn restart_with(&mut self, edit: impl FnOnce(&Path, &mut Config)) {
        self.server.take().unwrap().stop().await;
        let folder = self.folder.path();
        let server = serve(folder, &self.clock, &self.wall, |config| edit(folder, config)).await.unwrap();
        self.operator = Api::new(&server.public_url, &server.operator_key);
        self.server = Some(server);
    }

    /// Where the stream is now.
    pub fn stream_url(&self) -> String {
        format!("ws://{}/v1/stream", self.server.as_ref().unwrap().address)
    }

    /// A platform with an approved project of as many lessons as durations.
    pub async fn course(&self, durations_ms: &[i64]) -> Course {
        self.operator.course(durations_ms, "default").await
    }

    /// One more approved project of this platform. Who takes part pays for it: nobody may have two subsidised trainings
    /// at once.
    pub async fn project(&self, platform: &Api, durations_ms: &[i64]) -> (String, Vec<String>) {
        let mut application = application(durations_ms, "default");
        application["subsidised"] = json!(false);
        self.operator.approved(platform, application).await
    }
}

async fn serve(
    folder: &Path,
    clock: &Clock,
    wall: &Clock,
    edit: impl FnOnce(&mut Config),
) -> Result<Server, StartError> {
    let mut config = Config {
        listen: "127.0.0.1:0".parse().unwrap(),
        data_folder: folder.to_owned(),
        models_folder: models(),
        webhook: Webhook { allow_private_addresses: true, allow_http: true, ..Webhook::default() },
        ..Config::default()
    };
    config.policies.push(PLAIN_FILE.into());
    config.vision.workers = 1;
    // The same on every machine; what the others find is compared elsewhere.
    config.vision.provider = WantedProvider::Cpu;
    edit(&mut config);
    config.database.url = database_of(folder).map(Secret::new);
    // The tests of one process share a server.
    config.database.connections_limit = CONNECTIONS_LEAST;
    let (clock, wall) = (clock.clone(), wall.clone());
    Server::start(ServerConfig { config, clock, wall, entropy: Entropy::system() }).await
}

/// The URL of the database that belongs to a server's folder, when this is a run over PostgreSQL: a new one for a new
/// folder.
pub fn database_of(folder: &Path) -> Option<String> {
    let note = folder.join("database.url");
    if !note.exists() {
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(&note, servers::again::database()?).unwrap();
    }
    Some(std::fs::read_to_string(note).unwrap())
}

/// Runs a statement that no path offers in the database of a server's folder; how many rows it changed. Bytes are written
/// `x'00ff'`.
pub async fn execute(folder: &Path, sql: &str) -> u64 {
    let (folder, sql) = (folder.to_owned(), sql.to_owned());
    let run = move || match database_of(&folder) {
        None => rusqlite::Connection::open(folder.join("invigil.sqlite")).unwrap().execute(&sql, []).unwrap() as u64,
        Some(url) => {
            let mut database = postgres::Client::connect(&url, postgres::NoTls).unwrap();
            database.execute(&sql.replace(" x'", " '\\x"), &[]).unwrap()
        }
    };
    tokio::task::spawn_blocking(run).await.unwrap()
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
    /// whether the server is there, when it may die: a request that it did not answer is then made again
    up: Option<watch::Receiver<bool>>,
    /// whether a request is made again that was refused for now
    comes_back: bool,
}

impl Api {
    pub fn new(public_url: &str, key: &str) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self {
            http: Client::new(),
            base: format!("{public_url}/api/v1"),
            key: key.to_owned(),
            up: None,
            comes_back: false,
        }
    }

    /// The same server for another caller.
    pub fn with_key(&self, key: &str) -> Self {
        Self { key: key.to_owned(), ..self.clone() }
    }

    /// The same through another HTTP client.
    pub fn through(self, http: Client) -> Self {
        Self { http, ..self }
    }

    /// The same for a server that dies and comes back.
    pub fn patient(self, up: watch::Receiver<bool>) -> Self {
        Self { up: Some(up), ..self }
    }

    /// The same for several nodes behind one address, of which any may die or stand still, and which may say that one
    /// should come back later.
    pub fn very_patient(self) -> Self {
        // No connection is used twice: it may lead to a node that stands still.
        let http = Client::builder().timeout(ANSWER_LIMIT).pool_max_idle_per_host(0).build().unwrap();
        Self { http, comes_back: true, ..self.patient(watch::channel(true).1) }
    }

    /// A platform with an approved project of as many lessons as durations, made by this operator.
    pub async fn course(&self, durations_ms: &[i64], policy: &str) -> Course {
        let platform = self.post("/platforms", json!({"name": "青田在线"})).await;
        let platform_id = text(&platform, "id");
        let key = self.post(&format!("/platforms/{platform_id}/keys"), json!({"label": "test"})).await;
        let api = Self { key: text(&key, "key"), ..self.clone() };
        let (project, lessons) = self.project(&api, durations_ms, policy).await;
        Course { platform: api, project, lessons }
    }

    /// One more project of `platform`, approved by this operator.
    pub async fn project(&self, platform: &Self, durations_ms: &[i64], policy: &str) -> (String, Vec<String>) {
        self.approved(platform, application(durations_ms, policy)).await
    }

    /// A project of `platform` as it applies for it, approved with all its lessons by this operator.
    pub async fn approved(&self, platform: &Self, application: Value) -> (String, Vec<String>) {
        let project = platform.post("/projects", application).await;
        let id = text(&project, "id");
        let approval = json!({"approved": true, "document": "开班批复1号"});
        self.put(&format!("/projects/{id}/approval"), approval).await;
        let lessons: Vec<String> =
            project["lessons"].as_array().unwrap().iter().map(|lesson| text(lesson, "id")).collect();
        for lesson in &lessons {
            let approval = json!({"approved": true, "number": "审1号", "date": "2026-01-05", "office": "省技能办"});
            self.put(&format!("/lessons/{lesson}/approval"), approval).await;
        }
        (id, lessons)
    }

    pub async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Response {
        self.request(method, path, body.as_ref()).send().await.unwrap()
    }

    fn request(&self, method: Method, path: &str, body: Option<&Value>) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base)).bearer_auth(&self.key);
        body.into_iter().fold(request, |request, body| request.json(body))
    }

    /// Status and body; again and again when the server dies over it, if this caller is patient.
    async fn exchange(&self, method: &Method, path: &str, body: Option<&Value>) -> (StatusCode, String) {
        loop {
            let answer = async {
                let response = self.request(method.clone(), path, body).send().await?;
                Ok::<_, reqwest::Error>((response.status(), response.text().await?))
            };
            match (answer.await, &self.up) {
                (Ok((StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS, _)), _) if self.comes_back => {}
                (Ok(answer), _) => return answer,
                (Err(error), None) => panic!("{path}: {error}"),
                (Err(_), Some(_)) if self.comes_back => {}
                (Err(_), Some(up)) => {
                    drop(up.clone().wait_for(|up| *up).await.expect("somebody restarts it"));
                    continue;
                }
            }
            // As whoever was told to come back later.
            Clock::system().sleep_ms(COMES_BACK_MS).await;
        }
    }

    async fn good(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let (status, text) = self.exchange(&method, path, body.as_ref()).await;
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
        let (status, text) = self.exchange(&Method::GET, path, None).await;
        assert!(status.is_success(), "{path}: {status}");
        text
    }

    pub async fn photo(&self, learner: &str, photo: Vec<u8>) -> Response {
        let url = format!("{}/learners/{learner}/photo", self.base);
        let request = self.http.put(url).bearer_auth(&self.key).header("content-type", "image/jpeg");
        request.body(photo).send().await.unwrap()
    }
}

/// What a platform applies for: a subsidised project of 40 hours with as many lessons as durations.
pub fn application(durations_ms: &[i64], policy: &str) -> Value {
    let lesson = |duration_ms: &i64| {
        json!({"title": "安全用电", "kind": "theory", "duration_ms": duration_ms, "questions":
            [{"text": "1 + 1 = ?", "options": ["right", "wrong a", "wrong b", "wrong c"], "right": 0}]})
    };
    json!({
        "name": "电工（五级）", "total_hours": 40, "delivery": "blended", "policy": policy, "region": "411300",
        "occupation": "电工", "level": 5, "certificate": "skill_level", "online_hours": 16, "practice_hours": 24,
        "class_hour_ms": 2_400_000, "teachers": 4, "benches": 4,
        "lessons": durations_ms.iter().map(lesson).collect::<Vec<Value>>(),
    })
}

/// Asks a server or its metrics' port for JSON.
pub async fn get_json(address: SocketAddr, path: &str) -> (StatusCode, Value) {
    // Needed by the client, and installed by servers as they start; whoever asks may be faster.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let answer = reqwest::get(format!("http://{address}{path}")).await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}

/// The face checks in a log.
pub fn face_checks(log: &[Value]) -> Vec<Value> {
    log.iter().filter(|line| line["type"] == "face.checked").map(|line| line["data"].clone()).collect()
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
