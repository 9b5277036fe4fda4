//! REST for platforms and the office, under `/api/v1`: JSON, problems as problem+json, OpenAPI out of the code.
//!
//! Handlers are thin: who may, what is wrong with the request, one call of the store or through a door. The rules of
//! training are not here, and live sessions are behind [`doors::SessionDoor`].

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use tokio::sync::{Notify, Semaphore};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;

mod access_log;
pub mod accounts;
mod appeals;
mod asking;
mod bundle;
pub mod caller;
mod cookie;
mod decisions;
pub mod doors;
mod dossier;
mod enrolments;
pub mod extract;
mod face_photos;
pub mod face_searches;
mod findings;
#[cfg(test)]
mod fixture;
pub mod forgetting;
mod keys;
mod learners;
pub mod ledger;
pub mod listing;
pub mod live;
mod makeups;
mod overview;
mod own_platform;
mod persons;
mod photo_views;
mod platforms;
mod policies;
pub mod problem;
mod projects;
mod queue;
mod reports;
#[cfg(test)]
mod roles;
mod sessions;
pub mod validate;

use doors::{FaceDoor, PhotoVault, SessionDoor};
use problem::Problem;

use crate::auth::keys::Keys;
use crate::auth::password::Passwords;
use crate::auth::token;
use crate::clock::{Clock, Entropy};
use crate::gateway::address::ClientAddress;
use crate::gateway::rates::Rates;
use crate::policy::{Policies, Policy};
use crate::store::Store;

/// Where the API lies.
pub(crate) const PREFIX: &str = "/api/v1";

/// Says what is wrong with the address of a webhook, if it is plain from the address alone.
pub type WebhookGuard = Arc<dyn Fn(&reqwest::Url) -> Result<(), String> + Send + Sync>;

/// What the handlers work with. Cheap to clone.
#[derive(Clone)]
pub struct ApiState {
    /// the records
    pub store: Store,
    /// the installation's keys
    pub keys: Arc<Keys>,
    /// for identifiers, keys, tokens and nonces
    pub entropy: Entropy,
    /// the wall clock
    pub clock: Clock,
    /// where sessions are opened and closed
    pub sessions: Arc<dyn SessionDoor>,
    /// where faces are enrolled
    pub faces: Arc<dyn FaceDoor>,
    /// where enrolment photos are kept
    pub photos: Arc<dyn PhotoVault>,
    /// where browsers find this server: `https://host` with an optional path; the stream's address is made from it
    pub public_url: String,
    /// identifiers of the policy packs that a project may choose; the first is the default
    pub policies: Arc<[String]>,
    /// the packs themselves: by their enrolment rules plans are approved and learners enrolled
    pub packs: Arc<Policies>,
    /// whether a webhook may go over plain HTTP
    pub allow_http_webhooks: bool,
    /// a further check of webhook addresses
    pub webhook_guard: WebhookGuard,
    /// sheets that may still be begun, of [`ledger::SHEETS_LIMIT`]
    pub sheets: Arc<Semaphore>,
    /// searches of faces that may still be begun, of [`face_searches::SEARCHES_LIMIT`]
    pub face_searches: Arc<Semaphore>,
    /// how much is taken on
    pub limits: Limits,
    /// how fast whoever may ask
    pub rates: Arc<Rates>,
    /// how long photos are kept, ms; none: for ever
    pub keep_photos_ms: Option<i64>,
    /// what is shown of sessions in progress
    pub board: Arc<live::Board>,
    /// told when a platform is to be told something
    pub deliver: Arc<Notify>,
    /// hashes and compares passwords
    pub passwords: Passwords,
    /// whether platforms may name origins on this machine, without TLS
    pub allow_localhost_origins: bool,
}

/// How much the API takes on before it refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// longest JSON body, bytes
    pub json_bytes: usize,
    /// longest enrolment photo, bytes
    pub photo_bytes: usize,
    /// how long a body may take to arrive, ms
    pub body_ms: i64,
    /// requests that are worked on at the same time
    pub requests: usize,
    /// how long a learner token is good for, ms
    pub token_ms: i64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // A project of 500 lessons with a few questions each.
            json_bytes: 1 << 20,
            photo_bytes: 512 << 10,
            // 512 KiB at 140 kbit/s.
            body_ms: 30_000,
            // With the largest bodies 256 MiB, which a server with 2 GiB of memory can spare.
            requests: 256,
            token_ms: token::DEFAULT_LIFETIME_MS,
        }
    }
}

impl ApiState {
    /// A new identifier.
    fn new_id(&self) -> String {
        self.entropy.id(self.clock.now_ms()).to_string()
    }

    /// The version of a policy pack that is in force today.
    fn pack_in_force(&self, id: &str) -> Result<Arc<Policy>, Problem> {
        let found = self.packs.in_force(id, self.clock.now_ms());
        found.cloned().map_err(|error| Problem::policy_not_in_force(error.to_string()))
    }

    /// How long a ban lasts, years: a platform has no policy pack of its own, so the installation's first one says.
    fn ban_years(&self) -> i64 {
        let first = self.policies.first().and_then(|id| self.packs.in_force(id, self.clock.now_ms()).ok());
        first.map_or_else(|| Policy::default().enrolment.ban_years, |policy| policy.enrolment.ban_years)
    }

    /// The address at which learners' pages stream.
    fn stream_url(&self) -> String {
        let base = self.public_url.trim_end_matches('/');
        let rest = base.strip_prefix("http").unwrap_or(base);
        format!("ws{rest}/v1/stream")
    }
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "invigil",
        description = "Platforms enrol learners, open sessions and read verdicts; the office approves: the operator, \
                       supervisors, and auditors, who only read. Times are milliseconds since the Unix epoch. Refusals are problem+json (RFC 9457) and name the field.",
    ),
    servers((url = "/api/v1")),
    components(schemas(problem::Problem)),
    security(("api_key" = [])),
    modifiers(&ApiKeyScheme),
)]
struct Document;

struct ApiKeyScheme;

impl Modify for ApiKeyScheme {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("`ivk_…`: the operator's key, or one of a supervisor, an auditor or a platform"))
            .build();
        document.components.get_or_insert_default().add_security_scheme("api_key", SecurityScheme::Http(scheme));
    }
}

fn documented_routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::with_openapi(Document::openapi())
        .merge(accounts::routes())
        .merge(access_log::routes())
        .merge(queue::routes())
        .merge(dossier::routes())
        .merge(photo_views::routes())
        .merge(decisions::routes())
        .merge(appeals::routes())
        .merge(asking::routes())
        .merge(live::routes())
        .merge(overview::routes())
        .merge(policies::routes())
        .merge(bundle::routes())
        .merge(platforms::routes())
        .merge(keys::routes())
        .merge(own_platform::routes())
        .merge(learners::routes())
        .merge(persons::routes())
        .merge(face_photos::routes())
        .merge(projects::routes())
        .merge(enrolments::routes())
        .merge(makeups::routes())
        .merge(sessions::routes())
        .merge(ledger::routes())
        .merge(reports::routes())
        .merge(findings::routes())
        .merge(face_searches::routes())
}

/// The OpenAPI document, as it is committed and served.
pub fn openapi_json() -> String {
    let document = documented_routes().split_for_parts().1;
    let mut json = document.to_pretty_json().expect("the document is plain data");
    json.push('\n');
    json
}

/// Methods and paths of the whole API, as requests are counted.
pub fn operations() -> Vec<(String, String)> {
    let document = documented_routes().split_for_parts().1;
    let document = serde_json::to_value(document).expect("the document is plain data");
    let paths = document["paths"].as_object().into_iter().flatten();
    let of_path = |(path, methods): (&String, &serde_json::Value)| {
        let path = format!("{PREFIX}{path}");
        let methods: Vec<String> =
            methods.as_object().into_iter().flatten().map(|(method, _)| method.clone()).collect();
        methods.into_iter().map(move |method| (method.to_uppercase(), path.clone())).collect::<Vec<_>>()
    };
    paths.flat_map(of_path).collect()
}

/// The API, nested under `/api/v1`.
pub fn router(state: ApiState) -> Router {
    let document: Arc<str> = openapi_json().into();
    let admission = Admission { room: Arc::new(Semaphore::new(state.limits.requests)), rates: state.rates.clone() };
    let api = documented_routes()
        .split_for_parts()
        .0
        .route("/openapi.json", get(async move || ([(header::CONTENT_TYPE, "application/json")], document.to_string())))
        .fallback(async || Problem::not_found("no such path"))
        .method_not_allowed_fallback(async || Problem::method_not_allowed("see /api/v1/openapi.json"))
        .layer(middleware::from_fn_with_state(admission, admit))
        .layer(middleware::map_response(mark_private))
        .with_state(state);
    Router::new().nest(PREFIX, api)
}

/// What a request must find before it is looked at.
#[derive(Clone)]
struct Admission {
    room: Arc<Semaphore>,
    rates: Arc<Rates>,
}

/// Refuses at once what would only wait: who waits here holds memory.
async fn admit(State(admission): State<Admission>, request: Request, next: Next) -> Response {
    let address = request.extensions().get::<ClientAddress>().copied();
    if let Err(too_many) = admission.rates.request_from(address).await {
        return Problem::from(too_many).into_response();
    }
    match admission.room.try_acquire() {
        Ok(_permit) => next.run(request).await,
        Err(_) => Problem::too_busy("too many requests are being worked on").into_response(),
    }
}

/// Answers hold keys and people's records: no cache may keep them, no browser guess at them.
async fn mark_private(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));
    response
}

/// What a handler answers with.
type Answer<T> = Result<Json<T>, Problem>;

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use serde_json::json;

    use super::fixture::Api;
    use super::*;

    /// From the repository's root.
    const COMMITTED: &str = "docs/openapi.json";

    #[test]
    fn the_committed_openapi_document_is_fresh() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(COMMITTED);
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            committed == openapi_json(),
            "{COMMITTED} is stale: renew it with `cargo run -- openapi > {COMMITTED}`, and read the difference"
        );
    }

    #[test]
    fn what_the_document_refers_to_is_in_it() {
        fn walk(node: &serde_json::Value, document: &serde_json::Value) -> usize {
            let reference = node.get("$ref").and_then(serde_json::Value::as_str);
            if let Some(reference) = reference {
                let target = reference.strip_prefix('#').and_then(|pointer| document.pointer(pointer));
                assert!(target.is_some(), "{reference} leads nowhere");
            }
            let below = match node {
                serde_json::Value::Object(fields) => fields.values().map(|field| walk(field, document)).sum(),
                serde_json::Value::Array(items) => items.iter().map(|item| walk(item, document)).sum(),
                _ => 0,
            };
            below + usize::from(reference.is_some())
        }
        let document = serde_json::from_str(&openapi_json()).unwrap();
        assert!(walk(&document, &document) > 50);
    }

    #[tokio::test]
    async fn the_document_is_served_to_anybody_and_names_every_path() {
        let api = Api::start().await.with_key("");
        let document = api.get("/openapi.json").await.expect(200);
        assert_eq!(document, serde_json::from_str::<serde_json::Value>(&openapi_json()).unwrap());
        let operations = document["paths"].as_object().unwrap().values().flat_map(|path| path.as_object().unwrap());
        let mut names = std::collections::BTreeSet::new();
        for (method, operation) in operations {
            assert!(operation["summary"].is_string(), "{method} {operation}");
            assert!(operation["responses"]["default"].is_object(), "{method} {operation}");
            assert!(names.insert(operation["operationId"].to_string()), "two operations are {operation}");
        }
    }

    #[tokio::test]
    async fn every_answer_is_private_and_every_refusal_a_problem() {
        let api = Api::start().await;
        let answer = api.get("/nowhere").await;
        assert_eq!(answer.headers["cache-control"], "no-store");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
        answer.expect_problem(404, "not-found");
        api.delete("/platforms").await.expect_problem(405, "method-not-allowed");
        let path = "/platforms";
        api.send("POST", path, Some("text/plain"), b"{}").await.expect_problem(415, "unsupported-type");
        api.send("POST", path, None, b"{}").await.expect_problem(415, "unsupported-type");
        api.send("POST", path, Some("application/json"), b"{").await.expect_problem(400, "malformed");
        api.send("POST", path, Some("application/json; charset=utf-8"), br#"{"name":"a"}"#).await.expect(201);
        api.get("/platforms/%ff").await.expect_problem(404, "not-found");
    }

    #[tokio::test]
    async fn bodies_have_limits() {
        let api = Api::start_with(Limits { json_bytes: 100, ..Limits::default() }).await;
        let long = json!({"name": "a".repeat(100)});
        api.post("/platforms", long.clone()).await.expect_problem(413, "too-large");
        let chunks = futures_util::stream::iter([long.to_string()].map(Ok::<_, std::io::Error>));
        let answer = api.send_body("POST", "/platforms", Some("application/json"), Body::from_stream(chunks)).await;
        answer.expect_problem(413, "too-large");
    }

    #[tokio::test]
    async fn a_body_that_never_ends_is_given_up() {
        let api = Api::start().await;
        let endless = Body::from_stream(futures_util::stream::pending::<Result<String, std::io::Error>>());
        let mut sent = std::pin::pin!(api.send_body("POST", "/platforms", Some("application/json"), endless));
        let answer = loop {
            tokio::select! {
                answer = &mut sent => break answer,
                () = tokio::task::yield_now() => api.clock.advance_ms(1),
            }
        };
        answer.expect_problem(408, "too-slow");
    }

    #[tokio::test]
    async fn more_requests_than_allowed_are_refused_at_once() {
        let api = Api::start().await;
        let state = ApiState { limits: Limits { requests: 0, ..api.state.limits }, ..api.state };
        let full = router(state);
        let request = Request::builder().uri("/api/v1/openapi.json").body(Body::empty()).unwrap();
        let response = tower::ServiceExt::oneshot(full, request).await.unwrap();
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
    }

    #[tokio::test]
    async fn the_streams_address_follows_the_public_one() {
        let mut state = Api::start().await.state;
        for (public, stream) in [
            ("https://a.example", "wss://a.example/v1/stream"),
            ("http://127.0.0.1:8080/", "ws://127.0.0.1:8080/v1/stream"),
            ("https://a.example/watch", "wss://a.example/watch/v1/stream"),
        ] {
            state.public_url = public.to_owned();
            assert_eq!(state.stream_url(), stream);
        }
    }
}
