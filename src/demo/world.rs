//! The stage: platforms, courses, learners and their photos, all made through the REST API like anybody would.

use reqwest::{Client as Http, Method, RequestBuilder};
use serde_json::{Value, json};

use super::course;
use super::receiver::Receiver;
use crate::client::{ClientKey, Credentials};
use crate::clock::Clock;
use crate::delivery::sign::WebhookSecret;

/// Class hours of the ordinary course.
const HOURS: i64 = 40;
/// Three hours of 40 minutes: 48 minutes of them may be online.
const SMALL_HOURS: i64 = 3;
/// What the office writes on everything that it approves here.
const APPROVED_ON: &str = "2026-01-05";

/// Who may sign in to the console, and as what: two supervisors, since some decisions need a second person.
const ACCOUNTS: [(&str, &str); 4] = [
    ("demo-supervisor", "supervisor"),
    ("demo-second", "supervisor"),
    ("demo-auditor", "auditor"),
    ("demo-administrator", "administrator"),
];

/// How often a request is made that a server did not answer, or was too busy for: a node may have been killed.
const ATTEMPTS: u32 = 40;
/// The pause before it is made again, ms.
const AGAIN_MS: i64 = 300;

/// Why the stage could not be set.
#[derive(Debug, thiserror::Error)]
pub enum WorldError {
    /// The server cannot be reached.
    #[error("{what}: {why}")]
    Http {
        /// the request
        what: String,
        /// what happened
        why: reqwest::Error,
    },
    /// The server will not do it.
    #[error("{what}: {status}: {body}")]
    Refused {
        /// the request
        what: String,
        /// the status
        status: u16,
        /// why
        body: String,
    },
    /// The answer lacks something.
    #[error("{what}: the answer has no {field}")]
    Answer {
        /// the request
        what: String,
        /// what it lacks
        field: &'static str,
    },
}

/// A caller of the REST API.
#[derive(Clone)]
pub(super) struct Api {
    http: Http,
    /// up to and including `/api/v1`
    base: String,
    key: String,
}

/// Where a session can be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// First lesson of the ordinary course, first platform.
    First,
    /// The lesson after it.
    Second,
    /// The same course at the second platform.
    Elsewhere,
    /// A course so short that its online quota is soon spent.
    Small,
    /// A course at the third platform, whose photos are looked at more closely.
    Close,
}

/// A session that a platform has opened for a learner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenedSession {
    /// its id
    pub id: String,
    /// whose it is
    pub place: Place,
}

/// What a learner's page is given.
#[derive(Debug)]
pub struct Admission {
    /// the session
    pub session: OpenedSession,
    /// where to stream
    pub url: String,
    /// with what
    pub credentials: Credentials,
}

/// Three platforms and their courses.
pub struct World {
    operator: Api,
    platforms: [Api; 3],
    projects: [String; 4],
    lessons: [String; 5],
}

impl Place {
    fn platform(self) -> usize {
        match self {
            Self::First | Self::Second | Self::Small => 0,
            Self::Elsewhere => 1,
            Self::Close => 2,
        }
    }

    fn project(self) -> usize {
        match self {
            Self::First | Self::Second => 0,
            Self::Elsewhere => 1,
            Self::Small => 2,
            Self::Close => 3,
        }
    }

    fn lesson(self) -> usize {
        self as usize
    }
}

impl World {
    /// Makes platforms and courses on the server at `address` (`http://host:port`), judged by the pack `policy`, the last
    /// by `close_policy`, with webhooks that go to `receiver`.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn set_up(
        address: &str,
        operator_key: &str,
        [policy, close_policy]: [&str; 2],
        receiver: &Receiver,
    ) -> Result<Self, WorldError> {
        let operator = Api::of(address, operator_key);
        let mut platforms = Vec::with_capacity(3);
        for (index, name) in ["青田在线", "北河云课堂", "南岭学堂"].into_iter().enumerate() {
            let platform = operator.platform(name).await?;
            platform.subscribe(index, receiver).await?;
            platforms.push(platform);
        }
        let [here, elsewhere, close] = <[Api; 3]>::try_from(platforms).unwrap_or_else(|_| unreachable!("three names"));
        let titles = ["第一课 安全用电", "第二课 电工仪表"];
        let titles = titles.map(course::lesson);
        let first = &titles[..1];
        let (main, main_lessons) = operator.course(&here, policy, "电工（五级）", HOURS, true, &titles).await?;
        // Nobody may have two subsidised trainings at once: who learns at both platforms pays for this one.
        let (other, other_lessons) = operator.course(&elsewhere, policy, "电工（五级）", HOURS, false, first).await?;
        let (small, small_lessons) = operator.course(&here, policy, "安全用电常识", SMALL_HOURS, true, first).await?;
        let (careful, careful_lessons) =
            operator.course(&close, close_policy, "电工（五级）", HOURS, true, first).await?;
        let lessons: Vec<String> = [main_lessons, other_lessons, small_lessons, careful_lessons].concat();
        let lessons =
            lessons.try_into().map_err(|_| WorldError::Answer { what: "/projects".into(), field: "lessons" })?;
        Ok(Self { operator, platforms: [here, elsewhere, close], projects: [main, other, small, careful], lessons })
    }

    /// Makes a learner known at the platform of `place`, with a photo, and enrols them there. Returns their id.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn enrol(
        &self,
        place: Place,
        (name, id_number): (&str, &str),
        portrait: &[u8],
        prior_online_ms: i64,
    ) -> Result<String, WorldError> {
        let platform = &self.platforms[place.platform()];
        let learner = platform.send(Method::POST, "/learners", json!({"name": name, "id_number": id_number})).await?;
        let id = text(&learner, "/learners", "id")?.to_owned();
        // Known from the other platform already: the photo in force stays.
        if learner["photo_version"].as_i64().unwrap_or(0) == 0 {
            platform.photo(&id, portrait).await?;
        }
        let path = format!("/projects/{}/enrolments", self.projects[place.project()]);
        platform.send(Method::POST, &path, json!({"learner": id, "prior_online_ms": prior_online_ms})).await?;
        Ok(id)
    }

    /// Opens a session, with a new key for the learner's page.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn open(&self, place: Place, learner: &str) -> Result<Admission, WorldError> {
        let body = json!({"lesson": self.lessons[place.lesson()], "learner": learner});
        let opened = self.platforms[place.platform()].send(Method::POST, "/sessions", body).await?;
        let field = |name| text(&opened, "/sessions", name).map(str::to_owned);
        let session = field("session")?;
        let key = ClientKey::generate()
            .map_err(|_| WorldError::Answer { what: "a key pair".to_owned(), field: "randomness" })?;
        let (session_of, device) = (session.clone(), Some(format!("browser-of-{learner}")));
        let credentials = Credentials { session: session_of, token: field("token")?, key: key.into(), device };
        Ok(Admission { session: OpenedSession { id: session, place }, url: field("url")?, credentials })
    }

    /// Makes the accounts of those who look at it all in the console, with one password: their names.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn accounts(&self, password: &str) -> Result<Vec<&'static str>, WorldError> {
        for (name, role) in ACCOUNTS {
            let account = json!({"name": name, "role": role, "password": password});
            self.operator.send(Method::POST, "/accounts", account).await?;
        }
        Ok(ACCOUNTS.map(|(name, _)| name).to_vec())
    }

    /// The verdict on record.
    ///
    /// # Errors
    /// When there is none.
    pub async fn verdict(&self, session: &OpenedSession) -> Result<Value, WorldError> {
        let path = format!("/sessions/{}/verdict", session.id);
        self.platforms[session.place.platform()].send(Method::GET, &path, Value::Null).await
    }

    /// The warnings for supervisors.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn findings(&self) -> Result<Vec<Value>, WorldError> {
        let mut listing = self.operator.send(Method::GET, "/findings", Value::Null).await?;
        match listing["items"].take() {
            Value::Array(findings) => Ok(findings),
            _ => Err(WorldError::Answer { what: "/findings".to_owned(), field: "items" }),
        }
    }

    /// The session's log, JSON Lines.
    ///
    /// # Errors
    /// When there is none.
    pub async fn log(&self, session: &OpenedSession) -> Result<String, WorldError> {
        let path = format!("/sessions/{}/log", session.id);
        let platform = &self.platforms[session.place.platform()];
        platform.run(&path, platform.request(Method::GET, &path)).await
    }
}

impl Api {
    /// The operator of the server at `address`.
    pub(super) fn of(address: &str, operator_key: &str) -> Self {
        // Fails when the process has chosen a provider already, which is as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let base = format!("{}/api/v1", address.trim_end_matches('/'));
        Self { http: Http::new(), base, key: operator_key.to_owned() }
    }

    /// A new platform.
    pub(super) async fn platform(&self, name: &str) -> Result<Self, WorldError> {
        let platform = self.send(Method::POST, "/platforms", json!({"name": name})).await?;
        let path = format!("/platforms/{}/keys", text(&platform, "/platforms", "id")?);
        let key = self.send(Method::POST, &path, json!({"label": "demo"})).await?;
        Ok(Self { key: text(&key, &path, "key")?.to_owned(), ..self.clone() })
    }

    async fn subscribe(&self, index: usize, receiver: &Receiver) -> Result<(), WorldError> {
        let path = "/platform/webhook";
        let hook = self.send(Method::PUT, path, json!({"url": receiver.url(index)})).await?;
        let secret = WebhookSecret::parse(text(&hook, path, "secret")?);
        let secret = secret.map_err(|_| WorldError::Answer { what: path.to_owned(), field: "secret" })?;
        receiver.share(index, secret);
        Ok(())
    }

    /// A course of `platform`, approved with all its lessons by this operator: its id, and those of its lessons.
    pub(super) async fn course(
        &self,
        platform: &Self,
        policy: &str,
        name: &str,
        total_hours: i64,
        subsidised: bool,
        lessons: &[Value],
    ) -> Result<(String, Vec<String>), WorldError> {
        let project = json!({
            "name": name, "total_hours": total_hours, "delivery": "blended", "policy": policy, "lessons": lessons,
            "region": "411300", "occupation": name, "level": 5, "certificate": "skill_level", "subsidised": subsidised,
            // As many hours online as may be; the rest is practice.
            "online_hours": total_hours * 2 / 5, "practice_hours": total_hours - total_hours * 2 / 5,
            "class_hour_ms": 2_400_000, "teachers": 4, "benches": 4,
        });
        let project = platform.send(Method::POST, "/projects", project).await?;
        let id = text(&project, "/projects", "id")?.to_owned();
        let approval = json!({"approved": true, "document": "开班批复〔2026〕1号"});
        self.send(Method::PUT, &format!("/projects/{id}/approval"), approval).await?;
        let mut approved = Vec::with_capacity(lessons.len());
        for lesson in project["lessons"].as_array().into_iter().flatten() {
            let lesson = text(lesson, "/projects", "id")?.to_owned();
            let approval =
                json!({"approved": true, "number": "豫技审〔2026〕1号", "date": APPROVED_ON, "office": "省技能办"});
            self.send(Method::PUT, &format!("/lessons/{lesson}/approval"), approval).await?;
            approved.push(lesson);
        }
        Ok((id, approved))
    }

    /// Sets the photo that a learner is known by.
    pub(super) async fn photo(&self, learner: &str, portrait: &[u8]) -> Result<(), WorldError> {
        let path = format!("/learners/{learner}/photo");
        let request = self.request(Method::PUT, &path).header("content-type", "image/jpeg").body(portrait.to_vec());
        self.run(&path, request).await.map(drop)
    }

    /// Asks for JSON, with a body unless it is null.
    pub(super) async fn send(&self, method: Method, path: &str, body: Value) -> Result<Value, WorldError> {
        let request = self.request(method, path);
        let request = if body.is_null() { request } else { request.json(&body) };
        let answer = self.run(path, request).await?;
        Ok(serde_json::from_str(&answer).unwrap_or(Value::Null))
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base)).bearer_auth(&self.key)
    }

    async fn run(&self, what: &str, request: RequestBuilder) -> Result<String, WorldError> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let again = request.try_clone().filter(|_| attempts < ATTEMPTS);
            let Some(sent) = again else { return exchange(what, request).await };
            match exchange(what, sent).await {
                Err(WorldError::Http { .. } | WorldError::Refused { status: 503, .. }) => {}
                answer => return answer,
            }
            Clock::system().sleep_ms(AGAIN_MS).await;
        }
    }
}

async fn exchange(what: &str, request: RequestBuilder) -> Result<String, WorldError> {
    let failed = |why| WorldError::Http { what: what.to_owned(), why };
    let response = request.send().await.map_err(failed)?;
    let status = response.status();
    let body = response.text().await.map_err(failed)?;
    if status.is_success() {
        return Ok(body);
    }
    Err(WorldError::Refused { what: what.to_owned(), status: status.as_u16(), body })
}

pub(super) fn text<'a>(answer: &'a Value, what: &str, field: &'static str) -> Result<&'a str, WorldError> {
    answer[field].as_str().ok_or_else(|| WorldError::Answer { what: what.to_owned(), field })
}
