//! The API over a store in a temporary folder, with doors that pretend: what the tests of the handlers call.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, BodyDataStream};
use axum::http::{HeaderMap, Request, header};
use axum::response::Response;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::doors::{
    AskRefusal, CloseReason, CloseRefusal, EnrolledFace, FaceDoor, FaceRefusal, OpenRefusal, OpenSession,
    OpenedSession, PhotoVault, SessionDoor, VaultError,
};
use super::{ApiState, Limits, router};
use crate::auth::api_key::ensure_operator_key;
use crate::auth::id_number::check_character;
use crate::auth::keys::{DataKey, Keys};
use crate::clock::{Clock, Entropy};
use crate::config::Config;
use crate::gateway::address::ClientAddress;
use crate::gateway::rates::Rates;
use crate::policy::Policies;
use crate::schedule::{Asked, NotNow};
use crate::store::{Store, StoreError, fixture};
use crate::telemetry::Telemetry;

/// A caller of the API: the operator at first.
#[derive(Clone)]
pub(super) struct Api {
    pub(super) state: ApiState,
    pub(super) clock: Clock,
    /// the platform that the fixture made
    pub(super) platform: String,
    platform_key: String,
    key: String,
    /// as what it shows the key
    scheme: &'static str,
    /// who signed in instead of showing a key
    cookie: Option<String>,
    /// whether it says that it is the console's
    is_own: bool,
    /// where it calls from: loopback at first, which has no limits
    pub(super) address: ClientAddress,
    router: Router,
    doors: Arc<Doors>,
    folder: Arc<tempfile::TempDir>,
}

/// What came back.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
}

/// All that is needed to open a session.
pub(super) struct Ready {
    pub(super) project: String,
    pub(super) lesson: String,
    pub(super) learner: String,
}

/// A project that the operator approved.
pub(super) struct ApprovedProject {
    pub(super) id: String,
    pub(super) first_lesson: String,
}

impl Api {
    pub(super) async fn start() -> Self {
        Self::start_with(Limits::default()).await
    }

    pub(super) async fn start_with(limits: Limits) -> Self {
        let (folder, store) = fixture::store().await;
        let clock = Clock::manual(1_772_294_400_000);
        let entropy = Entropy::seeded(7);
        let operator = ensure_operator_key(folder.path(), &store, &clock, &entropy).await.unwrap();
        let keys = Keys::open_or_create(folder.path(), &entropy).unwrap();
        let doors = Arc::new(Doors::new(&store));
        let packs = Policies::new(Vec::new()).unwrap();
        let state = ApiState {
            store,
            keys: Arc::new(keys),
            entropy,
            clock: clock.clone(),
            sessions: doors.clone(),
            faces: doors.clone(),
            photos: doors.clone(),
            public_url: "https://invigil.example/".to_owned(),
            policies: packs.names(),
            packs: Arc::new(packs),
            allow_http_webhooks: false,
            webhook_guard: Arc::new(|url| match url.host_str() {
                Some("guarded.example") => Err("leads to a private network".to_owned()),
                _ => Ok(()),
            }),
            sheets: Arc::new(tokio::sync::Semaphore::new(super::ledger::SHEETS_LIMIT)),
            face_searches: Arc::new(tokio::sync::Semaphore::new(super::face_searches::SEARCHES_LIMIT)),
            limits,
            rates: Arc::new(Rates::new(&Config::default().limits, clock.clone(), Arc::new(Telemetry::new([])))),
            passwords: Default::default(),
            deliver: Default::default(),
            keep_photos_ms: Some(1_000),
            board: Default::default(),
            allow_localhost_origins: false,
        };
        let router = router(state.clone());
        let key = operator.expose().to_owned();
        let (platform, platform_key) = (String::new(), String::new());
        let folder = Arc::new(folder);
        let address = ClientAddress([127, 0, 0, 1].into());
        let mut api = Self {
            state,
            clock,
            platform,
            platform_key,
            key,
            scheme: "Bearer",
            cookie: None,
            is_own: true,
            address,
            router,
            doors,
            folder,
        };
        (api.platform, api.platform_key) = api.new_platform().await;
        api
    }

    async fn new_platform(&self) -> (String, String) {
        let platform = self.post("/platforms", json!({"name": "platform"})).await.expect(201);
        let id = platform["id"].as_str().unwrap().to_owned();
        let key = self.post(&format!("/platforms/{id}/keys"), json!({"label": "test"})).await.expect(201);
        (id, key["key"].as_str().unwrap().to_owned())
    }

    pub(super) fn with_key(&self, key: &str) -> Self {
        Self { key: key.to_owned(), cookie: None, ..self.clone() }
    }

    /// Whoever has the token of a link.
    pub(super) fn by_link(&self, token: &str) -> Self {
        Self { scheme: "Appeal", ..self.with_key(token) }
    }

    pub(super) fn as_platform(&self) -> Self {
        self.with_key(&self.platform_key)
    }

    pub(super) async fn other_platform(&self) -> Self {
        self.with_key(&self.new_platform().await.1)
    }

    /// A supervisor or an auditor, with a key of their own.
    pub(super) async fn office(&self, role: &str) -> Self {
        let issued = self.post("/keys", json!({"label": role, "role": role})).await.expect(201);
        self.with_key(issued["key"].as_str().unwrap())
    }

    /// Whoever holds an account, signed in.
    pub(super) async fn account(&self, name: &str, role: &str, more: Value) -> Self {
        let password = "four words and more";
        let mut account = json!({"name": name, "role": role, "password": password});
        more.as_object().unwrap().iter().for_each(|(field, value)| account[field] = value.clone());
        self.post("/accounts", account).await.expect(201);
        let nobody = self.with_key("");
        nobody.signed_in(nobody.post("/login", json!({"name": name, "password": password})).await)
    }

    /// With the cookie of an answer.
    pub(super) fn signed_in(&self, answer: Answer) -> Self {
        let cookie = answer.headers[header::SET_COOKIE].to_str().unwrap().split(';').next().unwrap().to_owned();
        Self { cookie: Some(cookie), ..self.clone() }
    }

    /// As a page of somebody else would have its browser ask.
    pub(super) fn without_own_header(&self) -> Self {
        Self { is_own: false, ..self.clone() }
    }

    /// Decides the status of the fixture's platform; a ban is for something that happened on the first day.
    pub(super) async fn set_status(&self, status: &str) {
        let mut body = json!({"status": status, "reason": "为试", "document": "文1号"});
        if status == "banned" {
            body["violation_on"] = json!("2026-03-01");
        }
        self.put(&format!("/platforms/{}/status", self.platform), body).await.expect(200);
    }

    /// Runs SQL that a test needs and no path offers.
    pub(super) async fn sql(&self, sql: &str) {
        fixture::execute(&self.state.store, sql).await;
    }

    /// The same caller at another address.
    pub(super) fn calling_from(&self, address: [u8; 4]) -> Self {
        Self { address: ClientAddress(address.into()), ..self.clone() }
    }

    /// With these limits of rates, and nothing used of them.
    pub(super) fn with_limits(&self, limits: &crate::config::Limits) -> Self {
        let rates = Rates::new(limits, self.clock.clone(), Arc::new(Telemetry::new([])));
        let state = ApiState { rates: Arc::new(rates), ..self.state.clone() };
        Self { router: router(state.clone()), state, ..self.clone() }
    }

    pub(super) fn allow_localhost_origins(&mut self) {
        self.state.allow_localhost_origins = true;
        self.router = router(self.state.clone());
    }

    pub(super) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, None, b"").await
    }

    pub(super) async fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, None, b"").await
    }

    pub(super) async fn post(&self, path: &str, body: Value) -> Answer {
        self.send("POST", path, Some("application/json"), body.to_string().as_bytes()).await
    }

    pub(super) async fn put(&self, path: &str, body: Value) -> Answer {
        self.send("PUT", path, Some("application/json"), body.to_string().as_bytes()).await
    }

    pub(super) async fn patch(&self, path: &str, body: Value) -> Answer {
        self.send("PATCH", path, Some("application/json"), body.to_string().as_bytes()).await
    }

    pub(super) async fn photo(&self, path: &str, photo: &[u8]) -> Answer {
        self.send("PUT", path, Some("image/jpeg"), photo).await
    }

    pub(super) async fn send(&self, method: &str, path: &str, content_type: Option<&str>, body: &[u8]) -> Answer {
        self.send_body(method, path, content_type, Body::from(body.to_vec())).await
    }

    pub(super) async fn send_body(&self, method: &str, path: &str, content_type: Option<&str>, body: Body) -> Answer {
        let (parts, bytes) = self.exchange(method, path, content_type, body).await;
        Answer { status: parts.status.as_u16(), headers: parts.headers, text: String::from_utf8(bytes).unwrap() }
    }

    async fn respond(&self, method: &str, path: &str, content_type: Option<&str>, body: Body) -> Response {
        let mut request = Request::builder().method(method).uri(format!("/api/v1{path}"));
        request = match &self.cookie {
            None => request.header(header::AUTHORIZATION, format!("{} {}", self.scheme, self.key)),
            Some(cookie) => request.header(header::COOKIE, cookie),
        };
        if self.cookie.is_some() && self.is_own {
            request = request.header("x-invigil-console", "1");
        }
        request = request.extension(self.address);
        if let Some(content_type) = content_type {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        self.router.clone().oneshot(request.body(body).unwrap()).await.unwrap()
    }

    async fn exchange(
        &self,
        method: &str,
        path: &str,
        content_type: Option<&str>,
        body: Body,
    ) -> (axum::http::response::Parts, Vec<u8>) {
        let (parts, body) = self.respond(method, path, content_type, body).await.into_parts();
        // A stream of events has no end.
        if parts.headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == "text/event-stream") {
            return (parts, Vec::new());
        }
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        (parts, bytes.to_vec())
    }

    /// What a stream of events says until `end` of them have come, and what it says further.
    pub(super) async fn events(&self, path: &str, end: usize) -> (String, BodyDataStream) {
        let mut chunks = self.respond("GET", path, None, Body::empty()).await.into_body().into_data_stream();
        let mut text = String::new();
        while text.matches("event: ").count() < end {
            text.push_str(std::str::from_utf8(&chunks.next().await.unwrap().unwrap()).unwrap());
        }
        (text, chunks)
    }

    /// Status, content type and bytes of what is no text.
    pub(super) async fn get_bytes(&self, path: &str) -> (u16, String, Vec<u8>) {
        let (parts, bytes) = self.exchange("GET", path, None, Body::empty()).await;
        (parts.status.as_u16(), parts.headers[header::CONTENT_TYPE].to_str().unwrap().to_owned(), bytes)
    }

    /// The id of the person with this number.
    pub(super) async fn learner(&self, person: u32) -> String {
        let learner = self.post("/learners", json!({"id_number": id_number(person)})).await;
        serde_json::from_str::<Value>(&learner.text).unwrap()["id"].as_str().unwrap().to_owned()
    }

    pub(super) async fn approved_project(&self, operator: &Self) -> ApprovedProject {
        self.approved(operator, new_project()).await
    }

    /// Makes this project, which the operator approves.
    pub(super) async fn approved(&self, operator: &Self, project: Value) -> ApprovedProject {
        let project = self.post("/projects", project).await.expect(201);
        let id = project["id"].as_str().unwrap().to_owned();
        let approval = json!({"approved": true, "document": "开班批复1号"});
        operator.put(&format!("/projects/{id}/approval"), approval).await.expect(204);
        ApprovedProject { id, first_lesson: project["lessons"][0]["id"].as_str().unwrap().to_owned() }
    }

    pub(super) async fn ready(&self, operator: &Self) -> Ready {
        let project = self.approved_project(operator).await;
        let learner = self.learner(1).await;
        self.photo(&format!("/learners/{learner}/photo"), b"face of A").await.expect(201);
        let path = format!("/projects/{}/enrolments", project.id);
        self.post(&path, json!({ "learner": learner })).await.expect(201);
        Ready { project: project.id, lesson: project.first_lesson, learner }
    }

    pub(super) async fn open_session(&self, operator: &Self) -> String {
        let ready = self.ready(operator).await;
        let opened = self.post("/sessions", json!({"lesson": ready.lesson, "learner": ready.learner})).await;
        opened.expect(201)["session"].as_str().unwrap().to_owned()
    }

    pub(super) fn kept_photos(&self) -> usize {
        self.doors.photos.load(Ordering::SeqCst)
    }

    /// What every session's log is from now on.
    pub(super) fn set_log(&self, log: &str) {
        *self.doors.log.lock().unwrap() = log.as_bytes().to_vec();
    }

    /// Keeps a photo where captures are kept; what names it.
    pub(super) async fn keep(&self, photo: &[u8]) -> String {
        let key = DataKey::generate(&self.state.entropy);
        self.doors.put(key, photo.to_vec()).await.unwrap()
    }

    /// Who was asked for what, so far.
    pub(super) fn asked(&self) -> Vec<(String, Asked)> {
        self.doors.asked.lock().unwrap().clone()
    }

    pub(super) fn refuse_sessions(&self) {
        self.doors.busy.store(true, Ordering::SeqCst);
    }
}

impl Answer {
    /// The JSON body, or null when there is none.
    pub(super) fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        if self.text.is_empty() { Value::Null } else { serde_json::from_str(&self.text).unwrap() }
    }

    pub(super) fn expect_problem(self, status: u16, name: &str) -> Value {
        assert_eq!(self.headers[header::CONTENT_TYPE], "application/problem+json", "{}", self.text);
        let problem = self.expect(status);
        assert_eq!(problem["type"], format!("urn:invigil:problem:{name}"), "{problem}");
        assert_eq!(problem["status"], status);
        problem
    }

    pub(super) fn expect_field(self, status: u16, field: &str) -> Value {
        assert_eq!(self.headers[header::CONTENT_TYPE], "application/problem+json", "{}", self.text);
        let problem = self.expect(status);
        let fields: Vec<_> = problem["errors"].as_array().unwrap().iter().map(|error| &error["field"]).collect();
        assert_eq!(fields, [field], "{problem}");
        problem
    }
}

/// The number of an invented person.
pub(super) fn id_number(person: u32) -> String {
    let digits = format!("11010119900307{:03}", person % 1_000);
    format!("{digits}{}", char::from(check_character(&digits)))
}

pub(super) fn new_project() -> Value {
    json!({
        "name": "电工",
        "total_hours": 100,
        "delivery": "blended",
        "policy": null,
        "region": "411300",
        "occupation": "电工",
        "level": 4,
        "certificate": "skill_level",
        "subsidised": true,
        "online_hours": 40,
        "practice_hours": 60,
        "class_hour_ms": 2_400_000,
        "teachers": 4,
        "benches": 4,
        "lessons": [
            {
                "title": "第一课", "duration_ms": 600_000, "kind": "theory",
                "questions": [{"text": "哪一个?", "options": ["甲", "乙", "丙", "丁"], "right": 2}],
            },
            {"title": "第二课", "duration_ms": 600_000, "kind": "theory"},
        ],
    })
}

/// Sessions are rows, faces are the text after "face of", and photos are counted.
struct Doors {
    store: Store,
    busy: AtomicBool,
    photos: AtomicUsize,
    opened: Mutex<u32>,
    /// what was kept, by its name
    kept: Mutex<HashMap<String, Vec<u8>>>,
    /// what every session's log is
    log: Mutex<Vec<u8>>,
    /// who was asked for what
    asked: Mutex<Vec<(String, Asked)>>,
}

impl Doors {
    fn new(store: &Store) -> Self {
        Self {
            store: store.clone(),
            busy: false.into(),
            photos: 0.into(),
            opened: Mutex::default(),
            kept: Mutex::default(),
            log: Mutex::new(b"{\"n\":1}\n{\"n\":2}\n".to_vec()),
            asked: Mutex::default(),
        }
    }

    fn next_session(&self) -> String {
        let mut opened = self.opened.lock().unwrap();
        *opened += 1;
        format!("session-{opened}")
    }
}

impl SessionDoor for Doors {
    fn forget(&self, _: &str) {}

    fn open(&self, request: OpenSession) -> BoxFuture<'_, Result<OpenedSession, OpenRefusal>> {
        async move {
            if self.busy.load(Ordering::SeqCst) {
                return Err(OpenRefusal::Busy { retry_after_ms: 2_500 });
            }
            let session = self.next_session();
            let OpenSession { platform, learner, project, lesson, makeup: _ } = request;
            let insert = format!(
                "INSERT INTO session (id, platform, learner, project, lesson, seed, opened_at)
                 VALUES ('{session}', '{platform}', '{learner}', '{project}', '{lesson}', x'00', 1);"
            );
            fixture::execute(&self.store, &insert).await;
            Ok(OpenedSession { session, furthest_before_ms: 5_000, online_left_ms: None })
        }
        .boxed()
    }

    fn close(&self, session: String, reason: CloseReason) -> BoxFuture<'_, Result<(), CloseRefusal>> {
        async move {
            let close = format!(
                "UPDATE session SET closed_at = 2 WHERE id = '{session}';
                 INSERT INTO verdict (session, version, status, body, created_at)
                 SELECT key, 1, 'invalid', '{{ \"status\":\"invalid\",  \"reason\":\"{reason:?}\" }}', 2
                 FROM session WHERE id = '{session}';"
            );
            fixture::execute(&self.store, &close).await;
            Ok(())
        }
        .boxed()
    }

    fn ask(&self, session: String, asked: Asked) -> BoxFuture<'_, Result<(), AskRefusal>> {
        async move {
            if self.busy.load(Ordering::SeqCst) {
                return Err(NotNow::Still.into());
            }
            self.asked.lock().unwrap().push((session, asked));
            Ok(())
        }
        .boxed()
    }

    fn log(&self, _session: String) -> BoxFuture<'_, Result<Vec<u8>, StoreError>> {
        let log = self.log.lock().unwrap().clone();
        async { Ok(log) }.boxed()
    }
}

impl FaceDoor for Doors {
    fn enrol(&self, photo: Vec<u8>, old: Option<Vec<u8>>) -> BoxFuture<'_, Result<EnrolledFace, FaceRefusal>> {
        async move {
            match photo.as_slice() {
                b"busy" => return Err(FaceRefusal::Busy { retry_after_ms: 1_500 }),
                b"broken" => return Err(FaceRefusal::Failed("no model".to_owned())),
                _ => {}
            }
            let unsuitable = || FaceRefusal::Unsuitable("shows no face".to_owned());
            let face = photo.strip_prefix(b"face of ").and_then(|face| face.first()).ok_or_else(unsuitable)?;
            if old.is_some_and(|old| old != [*face]) {
                return Err(FaceRefusal::Mismatch);
            }
            Ok(EnrolledFace { template: vec![*face], descriptor: Some(photo.clone()) })
        }
        .boxed()
    }
}

impl PhotoVault for Doors {
    fn put(&self, _key: DataKey, photo: Vec<u8>) -> BoxFuture<'_, Result<String, VaultError>> {
        let name = format!("photo-{}", self.photos.fetch_add(1, Ordering::SeqCst));
        self.kept.lock().unwrap().insert(name.clone(), photo);
        async move { Ok(name) }.boxed()
    }

    fn get(&self, _key: DataKey, evidence: String) -> BoxFuture<'_, Result<Vec<u8>, VaultError>> {
        let found = self.kept.lock().unwrap().get(&evidence).cloned();
        let missing = || VaultError { why: "there is no such photo".to_owned(), passing: false };
        async move { found.ok_or_else(missing) }.boxed()
    }

    fn remove(&self, _evidence: String) -> BoxFuture<'_, Result<(), VaultError>> {
        self.photos.fetch_sub(1, Ordering::SeqCst);
        async { Ok(()) }.boxed()
    }
}
