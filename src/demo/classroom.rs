//! A course page on which a person tries it on their own face: enrol by webcam, learn, be asked, read the verdict.
//!
//! It is a platform as others would build it, on an address of its own: a back end that opens sessions through the REST
//! API, and a page with a strict content security policy that loads the web SDK. Its server keeps real time, because a
//! person does.

use std::net::SocketAddr;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Json, Router, body::Bytes};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tower_http::services::ServeFile;

use super::course::lesson_of;
use super::identity::invented_id_number;
use super::run::DemoError;
use super::world::{Api, WorldError, text};
use crate::clock::{Clock, Entropy};
use crate::config::{Config, Web};
use crate::lifecycle::{Server, ServerConfig};
use crate::sdk;

const PACK: &str = include_str!("classroom/pack.toml");
const PACK_NAME: &str = "classroom";
const PAGE: &str = include_str!("classroom/page.html");
const SCRIPT: &str = include_str!("classroom/page.js");
const STYLE: &str = include_str!("classroom/page.css");
/// Length of the lesson, ms, and of the film that `make models` draws for it.
const LESSON_MS: i64 = 180_000;
/// The film, in the models' folder.
const FILM: &str = "lesson.mp4";
/// Largest photo from a page, bytes: as the server takes it.
const PHOTO_BYTES: usize = 512 * 1024;

/// A platform with a course page, and the server that it uses.
pub struct Classroom {
    server: Server,
    address: SocketAddr,
    serving: tokio::task::JoinHandle<std::io::Result<()>>,
    // Dropped last: the server writes into it.
    _folder: tempfile::TempDir,
}

/// What the platform's back end works with.
struct Platform {
    api: Api,
    project: String,
    lesson: String,
    film: PathBuf,
    enrolled: AtomicU32,
}

type Desk = State<Arc<Platform>>;

impl Classroom {
    /// Starts the server and the platform, on ports of this machine only.
    ///
    /// # Errors
    /// When a part of it does not start.
    pub async fn open(models_folder: &FilePath) -> Result<Self, DemoError> {
        let folder = tempfile::tempdir().map_err(|error| DemoError::Io("temporary folder", error))?;
        let policy = folder.path().join("pack.toml");
        std::fs::write(&policy, PACK).map_err(|error| DemoError::Io("policy", error))?;
        let mut config = Config {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            data_folder: folder.path().join("data"),
            models_folder: models_folder.to_owned(),
            policies: vec![policy],
            web: Web { allow_localhost_origins: true },
            ..Config::default()
        };
        config.vision.workers = 1;
        let (clock, wall) = (Clock::scaled(1), Clock::system());
        let server = Server::start(ServerConfig { config, clock, wall, entropy: Entropy::system() }).await?;
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(|error| DemoError::Io("course page", error))?;
        let address = listener.local_addr().map_err(|error| DemoError::Io("course page", error))?;
        let platform = Platform::set_up(&server, address, models_folder.join(FILM)).await?;
        let routes = routes(platform, &server.public_url);
        let serving = tokio::spawn(async move { axum::serve(listener, routes).await });
        Ok(Self { server, address, serving, _folder: folder })
    }

    /// Where the course page is.
    pub fn address(&self) -> String {
        format!("http://{}/demo/", self.address)
    }

    /// Stops both.
    pub async fn close(self) {
        self.serving.abort();
        self.server.stop().await;
    }
}

impl Platform {
    async fn set_up(server: &Server, page: SocketAddr, film: PathBuf) -> Result<Self, WorldError> {
        let operator = Api::of(&server.public_url, &server.operator_key);
        let api = operator.platform("试用课堂").await?;
        let origins = json!({"origins": [format!("http://{page}")]});
        api.send(Method::PUT, "/platform/origins", origins).await?;
        let lessons = [lesson_of("第一课 安全用电", LESSON_MS)];
        let (project, lessons) = operator.course(&api, PACK_NAME, "安全用电", 40, false, &lessons).await?;
        let lesson = lessons.into_iter().next().unwrap_or_default();
        Ok(Self { api, project, lesson, film, enrolled: AtomicU32::new(0) })
    }
}

fn routes(platform: Platform, server: &str) -> Router {
    let policy = content_security_policy(server);
    let policy = HeaderValue::from_str(&policy).expect("an address is a header's value");
    let film = ServeFile::new(&platform.film);
    Router::new()
        .route("/", get(async || Redirect::to("/demo/")))
        .route("/demo", get(async || Redirect::to("/demo/")))
        .route("/demo/", get(async || ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], PAGE)))
        .route("/demo/page.js", get(async || ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], SCRIPT)))
        .route("/demo/page.css", get(async || ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], STYLE)))
        .route("/demo/about", get(about))
        .route("/demo/learners", post(enrol))
        .route("/demo/sessions", post(open))
        .route("/demo/sessions/{id}/tokens", post(renew))
        .route("/demo/sessions/{id}/verdict", get(verdict))
        .route_service("/demo/lesson.mp4", film)
        .layer(DefaultBodyLimit::max(PHOTO_BYTES))
        .with_state(Arc::new(platform))
        // From here, because browsers start a worker only from the page's own site.
        .merge(sdk::router())
        .layer(middleware::from_fn(move |request: Request, next: Next| {
            let policy = policy.clone();
            async move {
                let mut response: Response = next.run(request).await;
                response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
                response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
                response
            }
        }))
}

/// Everything from the page's own site, and the stream to the server; no inline script or style.
fn content_security_policy(server: &str) -> String {
    let stream = server.replacen("http", "ws", 1);
    format!(
        "default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self'; media-src 'self'; \
         img-src 'self'; connect-src 'self' {stream}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

/// What the page must know before anything else.
async fn about(State(platform): Desk) -> Json<Value> {
    Json(json!({"sdk": sdk::is_built(), "film": platform.film.is_file(), "duration_ms": LESSON_MS}))
}

/// Makes an invented person known, with the photo that the page took.
async fn enrol(State(platform): Desk, photo: Bytes) -> Result<Json<Value>, Refused> {
    let number = platform.enrolled.fetch_add(1, Ordering::Relaxed);
    let id_number = invented_id_number(number);
    let learner = platform.api.send(Method::POST, "/learners", json!({"id_number": id_number})).await?;
    let id = text(&learner, "/learners", "id")?;
    platform.api.photo(id, &photo).await?;
    let path = format!("/projects/{}/enrolments", platform.project);
    platform.api.send(Method::POST, &path, json!({"learner": id})).await?;
    Ok(Json(json!({"learner": id})))
}

#[derive(Deserialize)]
struct Opening {
    learner: String,
}

/// Opens a session; what the page gets is good for this one only.
async fn open(State(platform): Desk, Json(opening): Json<Opening>) -> Result<Json<Value>, Refused> {
    let body = json!({"lesson": platform.lesson, "learner": opening.learner});
    Ok(Json(platform.api.send(Method::POST, "/sessions", body).await?))
}

/// A new token, for a page that was away longer than its token was good for.
async fn renew(State(platform): Desk, Path(session): Path<String>) -> Result<Json<Value>, Refused> {
    let path = format!("/sessions/{session}/tokens");
    Ok(Json(platform.api.send(Method::POST, &path, json!({})).await?))
}

async fn verdict(State(platform): Desk, Path(session): Path<String>) -> Result<Json<Value>, Refused> {
    let path = format!("/sessions/{session}/verdict");
    Ok(Json(platform.api.send(Method::GET, &path, Value::Null).await?))
}

/// What the server said, as the page gets it.
struct Refused(WorldError);

impl From<WorldError> for Refused {
    fn from(error: WorldError) -> Self {
        Self(error)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        match self.0 {
            WorldError::Refused { status, body, .. } => {
                let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
                (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response()
            }
            other => (StatusCode::BAD_GATEWAY, other.to_string()).into_response(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_may_do_what_it_needs_and_nothing_else() {
        let policy = content_security_policy("http://127.0.0.1:8080");
        assert!(policy.contains("connect-src 'self' ws://127.0.0.1:8080;"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert!(content_security_policy("https://a.example").contains("'self' wss://a.example;"));
        for inline in ["<style", "style=", "onclick", "<script>"] {
            assert!(!PAGE.contains(inline), "{inline}");
        }
    }
}
