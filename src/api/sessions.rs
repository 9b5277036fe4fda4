//! Sessions: opened by the platform's back end, read with their verdicts, closed.
//!
//! What a session lives through is behind [`SessionDoor`](super::doors::SessionDoor); a verdict goes out byte for byte
//! as it was stored.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::caller::{Caller, OwnPlatform, Participant};
use super::doors::{CloseReason, CloseRefusal, OpenRefusal, OpenSession};
use super::extract::{JsonBody, PathOf, QueryOf};
use super::listing::{Listing, page_request};
use super::problem::{Problem, Refusals};
use super::{Answer, ApiState};
use crate::auth::token::LearnerToken;
use crate::store::reach::{Reach, Thing};
use crate::store::session_records::{SessionFilter, SessionRecord};

/// The WebSocket subprotocol that the stream speaks.
const SUBPROTOCOL: &str = "invigil.v1";
const NOT_THE_MAKEUP: &str = "is no make-up of this lesson by this learner";
const PACK_NOT_IN_FORCE: &str = "is of a project whose policy pack is not in force";

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(open_session, list_sessions))
        .routes(routes!(read_session))
        .routes(routes!(issue_token))
        .routes(routes!(close_session))
        .routes(routes!(read_verdict))
        .routes(routes!(read_log))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewSession {
    /// the project; may be left out, because a lesson belongs to one
    project: Option<String>,
    /// the lesson
    lesson: String,
    /// the learner, who is enrolled in the project and has an enrolment photo
    learner: String,
    /// the make-up (补课) under which it is held: one of this learner, project and lesson
    makeup: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct OpenedStream {
    /// the session
    session: String,
    #[serde(flatten)]
    access: StreamAccess,
    /// how far into the lesson the learner may jump at once, ms of media
    furthest_before_ms: i64,
    /// online time that can still be credited in this project, ms; null when nothing limits it
    online_left_ms: Option<i64>,
}

#[derive(Serialize, ToSchema)]
struct StreamAccess {
    /// for the learner's page, and only for this session; it is shown this once
    token: String,
    /// ms since the Unix epoch; the stream renews it while it is connected
    token_expires_at: i64,
    /// where the learner's page streams
    url: String,
    /// the WebSocket subprotocol
    subprotocol: &'static str,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum SessionState {
    Open,
    Closed,
}

#[derive(Serialize, ToSchema)]
struct Session {
    /// identifier
    id: String,
    /// the platform that opened it
    platform: String,
    /// the learner
    learner: String,
    /// the project
    project: String,
    /// the lesson
    lesson: String,
    /// whether it is still open
    state: SessionState,
    /// ms since the Unix epoch
    opened_at: i64,
    /// ms since the Unix epoch; null while it is open
    closed_at: Option<i64>,
    /// `valid`, `invalid` or `review`; null while it is open
    verdict_status: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct SessionQuery {
    /// those of this project
    project: Option<String>,
    /// those of this learner
    learner: Option<String>,
    /// the identifier after which the list goes on: `next` of the page before
    after: Option<String>,
    /// items wanted, 1 to 200
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200)]
    limit: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Closing {
    /// why it ends
    reason: RequestedReason,
}

#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum RequestedReason {
    /// the learner left
    Left,
    /// it is not to count
    Revoked,
}

/// Opens a session; an older open one of this learner and project is closed as superseded
#[utoipa::path(post, path = "/sessions", tag = "sessions", request_body = NewSession, responses((status = 201, body = OpenedStream), Refusals))]
async fn open_session(
    State(state): State<ApiState>,
    OwnPlatform(platform): OwnPlatform,
    JsonBody(new): JsonBody<NewSession>,
) -> Result<(StatusCode, Json<OpenedStream>), Problem> {
    let request = check_opening(&state, platform, new).await?;
    let opened = state.sessions.open(request).await?;
    let access = access(&state, &opened.session).await?;
    let opened = OpenedStream {
        session: opened.session,
        access,
        furthest_before_ms: opened.furthest_before_ms,
        online_left_ms: opened.online_left_ms,
    };
    Ok((StatusCode::CREATED, Json(opened)))
}

/// A further token for an open session: when a page is loaded again after its token expired
#[utoipa::path(post, path = "/sessions/{id}/tokens", tag = "sessions",
    params(("id" = String, Path, description = "the session")),
    responses((status = 201, body = StreamAccess), Refusals))]
async fn issue_token(
    State(state): State<ApiState>,
    OwnPlatform(platform): OwnPlatform,
    PathOf(id): PathOf<String>,
) -> Result<(StatusCode, Json<StreamAccess>), Problem> {
    let own = Reach { platform: Some(platform), region: None };
    let session = find(&state, &own, &id).await?;
    if session.closed_at.is_some() {
        return Err(Problem::session_closed("open another one"));
    }
    Ok((StatusCode::CREATED, Json(access(&state, &session.id).await?)))
}

/// The platform's sessions; for the office, all
#[utoipa::path(get, path = "/sessions", tag = "sessions", params(SessionQuery),
    responses((status = 200, body = Listing<Session>), Refusals))]
async fn list_sessions(
    State(state): State<ApiState>,
    caller: Caller,
    QueryOf(query): QueryOf<SessionQuery>,
) -> Answer<Listing<Session>> {
    let page = page_request(query.after, query.limit.as_deref())?;
    let filter = SessionFilter { reach: caller.reach(), project: query.project, learner: query.learner };
    Ok(Json(Listing::of(state.store.session_records(filter, page).await?, Session::from)))
}

/// A session
#[utoipa::path(get, path = "/sessions/{id}", tag = "sessions", params(("id" = String, Path, description = "the session")),
    responses((status = 200, body = Session), Refusals))]
async fn read_session(State(state): State<ApiState>, caller: Caller, PathOf(id): PathOf<String>) -> Answer<Session> {
    Ok(Json(find(&state, &caller.reach(), &id).await?.into()))
}

/// Closes a session; its verdict is on record when this answers (not auditors)
#[utoipa::path(post, path = "/sessions/{id}/close", tag = "sessions",
    params(("id" = String, Path, description = "the session")), request_body = Closing, responses((status = 200, body = Session), Refusals))]
async fn close_session(
    State(state): State<ApiState>,
    Participant(caller): Participant,
    PathOf(id): PathOf<String>,
    JsonBody(closing): JsonBody<Closing>,
) -> Answer<Session> {
    let session = find(&state, &caller.reach(), &id).await?;
    if session.closed_at.is_some() {
        return Err(CloseRefusal::AlreadyClosed.into());
    }
    let reason = match closing.reason {
        RequestedReason::Left => CloseReason::Left,
        RequestedReason::Revoked => CloseReason::Revoked,
    };
    state.sessions.close(session.id, reason).await?;
    Ok(Json(find(&state, &caller.reach(), &id).await?.into()))
}

/// The verdict of a closed session, byte for byte as it was stored
#[utoipa::path(get, path = "/sessions/{id}/verdict", tag = "sessions",
    params(("id" = String, Path, description = "the session")),
    responses((status = 200, description = "section 9 of docs/rules.md", content_type = "application/json", body = Object), Refusals))]
async fn read_verdict(
    State(state): State<ApiState>,
    caller: Caller,
    PathOf(id): PathOf<String>,
) -> Result<Response, Problem> {
    let session = find(&state, &caller.reach(), &id).await?;
    let body = state.store.verdict_body(&session.id).await?;
    let body = body.ok_or_else(|| Problem::session_open("the verdict comes when the session is closed"))?;
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

/// The log of a session as it stands: JSON Lines, byte for byte
#[utoipa::path(get, path = "/sessions/{id}/log", tag = "sessions",
    params(("id" = String, Path, description = "the session")),
    responses((status = 200, description = "section 1 of docs/rules.md", content_type = "application/jsonl", body = String), Refusals))]
async fn read_log(
    State(state): State<ApiState>,
    caller: Caller,
    PathOf(id): PathOf<String>,
) -> Result<Response, Problem> {
    let session = find(&state, &caller.reach(), &id).await?;
    let name = format!("attachment; filename=\"{}.jsonl\"", session.id);
    let lines = state.sessions.log(session.id).await?;
    let headers = [(header::CONTENT_TYPE, "application/jsonl".to_owned()), (header::CONTENT_DISPOSITION, name)];
    Ok((headers, lines).into_response())
}

async fn find(state: &ApiState, reach: &Reach, id: &str) -> Result<SessionRecord, Problem> {
    let no_such = || Problem::no_such("session");
    if !state.store.reaches(reach, Thing::Session, id).await? {
        return Err(no_such());
    }
    state.store.session_record(id).await?.ok_or_else(no_such)
}

/// Everything that can be seen to stand against a session before it is opened.
async fn check_opening(state: &ApiState, platform: String, new: NewSession) -> Result<OpenSession, Problem> {
    let place = state.store.lesson_place(&new.lesson).await?.filter(|place| place.platform == platform);
    let project = place.ok_or_else(|| Problem::field("lesson", "is not known to this platform"))?.project;
    if new.project.is_some_and(|given| given != project) {
        return Err(Problem::field("project", "is not the project of this lesson"));
    }
    let learner = state.store.learner(&platform, &new.learner).await?;
    let learner = learner.ok_or_else(|| Problem::field("learner", "is not known to this platform"))?;
    if state.store.enrolment(&project, &learner.id).await?.is_none() {
        return Err(OpenRefusal::NotEnrolled.into());
    }
    if learner.photo_version == 0 {
        return Err(OpenRefusal::NoPhoto.into());
    }
    if let Some(makeup) = &new.makeup {
        check_makeup(state, makeup, (&learner.id, &project, &new.lesson)).await?;
    }
    state.rates.opening_for(&learner.id).await?;
    Ok(OpenSession { platform, learner: learner.id, project, lesson: new.lesson, makeup: new.makeup })
}

/// A make-up is for one learner and lesson, and comes before the final assessment.
async fn check_makeup(state: &ApiState, makeup: &str, of: (&str, &str, &str)) -> Result<(), Problem> {
    let place = state.store.makeup_place(makeup).await?;
    let place = place.filter(|place| (place.learner.as_str(), place.project.as_str(), place.lesson.as_str()) == of);
    match place.ok_or_else(|| Problem::field("makeup", NOT_THE_MAKEUP))?.assessed_on {
        None => Ok(()),
        Some(day) => Err(Problem::assessed(format!("a make-up comes before the assessment, which was on {day}"))),
    }
}

async fn access(state: &ApiState, session: &str) -> Result<StreamAccess, Problem> {
    let token = LearnerToken::generate(&state.entropy);
    let now_ms = state.clock.now_ms();
    let token_expires_at = now_ms + state.limits.token_ms;
    if !state.store.issue_token(session, token.hash(), token_expires_at, now_ms).await? {
        return Err(Problem::failed("issuing a token", &"the session is not in the records"));
    }
    let token = token.expose().to_owned();
    Ok(StreamAccess { token, token_expires_at, url: state.stream_url(), subprotocol: SUBPROTOCOL })
}

impl From<SessionRecord> for Session {
    fn from(record: SessionRecord) -> Self {
        Self {
            id: record.id,
            platform: record.platform,
            learner: record.learner,
            project: record.project,
            lesson: record.lesson,
            state: if record.closed_at.is_some() { SessionState::Closed } else { SessionState::Open },
            opened_at: record.opened_at,
            closed_at: record.closed_at,
            verdict_status: record.verdict_status,
        }
    }
}

impl From<OpenRefusal> for Problem {
    fn from(refusal: OpenRefusal) -> Self {
        let detail = refusal.to_string();
        match refusal {
            OpenRefusal::NotEnrolled => Self::not_enrolled(detail).naming("learner", "is not enrolled in this project"),
            OpenRefusal::NoPhoto => Self::photo_missing(detail).naming("learner", "has no enrolment photo"),
            OpenRefusal::PolicyNotInForce(_) => Self::policy_not_in_force(detail).naming("lesson", PACK_NOT_IN_FORCE),
            OpenRefusal::NotTheMakeup => Self::field("makeup", NOT_THE_MAKEUP),
            OpenRefusal::QuotaSpent { clause } => Self::quota_spent(detail).breaking("online_quota", clause),
            OpenRefusal::TooManyOpen { .. } => Self::too_many_sessions(&detail).naming("learner", detail),
            OpenRefusal::Busy { retry_after_ms } => Self::busy(detail).retry_after_ms(retry_after_ms),
            OpenRefusal::Store(error) => error.into(),
        }
    }
}

impl From<CloseRefusal> for Problem {
    fn from(refusal: CloseRefusal) -> Self {
        let detail = refusal.to_string();
        match refusal {
            CloseRefusal::AlreadyClosed => Self::session_closed(detail),
            CloseRefusal::Busy { retry_after_ms } => Self::busy(detail).retry_after_ms(retry_after_ms),
            CloseRefusal::Store(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::api::fixture::Api;
    use crate::auth::token::LearnerToken;

    #[tokio::test]
    async fn a_session_is_opened_with_a_token_for_it() {
        let operator = Api::start().await;
        let api = operator.as_platform();
        let ready = api.ready(&operator).await;
        let body = json!({"project": ready.project, "lesson": ready.lesson, "learner": ready.learner});
        let opened = api.post("/sessions", body).await.expect(201);
        assert_eq!(opened["url"], "wss://invigil.example/v1/stream");
        assert_eq!(opened["subprotocol"], "invigil.v1");
        assert_eq!((&opened["furthest_before_ms"], &opened["online_left_ms"]), (&json!(5_000), &json!(null)));

        let now_ms = operator.clock.now_ms();
        let token = LearnerToken::parse(opened["token"].as_str().unwrap()).unwrap();
        let holder = operator.state.store.token_holder(token.hash()).await.unwrap().unwrap();
        assert_eq!(holder.session, opened["session"].as_str().unwrap());
        assert_eq!(holder.expires_at, opened["token_expires_at"].as_i64().unwrap());
        assert!(holder.expires_at > now_ms);

        let path = format!("/sessions/{}", holder.session);
        let session = api.get(&path).await.expect(200);
        assert_eq!(session["state"], "open");
        assert_eq!(session["learner"], json!(ready.learner));
        assert_eq!(operator.get(&path).await.expect(200), session);
        let further = api.post(&format!("{path}/tokens"), json!({})).await.expect(201);
        assert_ne!(further["token"], opened["token"]);
    }

    #[tokio::test]
    async fn what_is_missing_for_a_session_is_named() {
        let operator = Api::start().await;
        let api = operator.as_platform();
        let ready = api.ready(&operator).await;
        let body = |lesson: &str, learner: &str| json!({"lesson": lesson, "learner": learner});
        api.post("/sessions", json!({})).await.expect_field(422, "lesson");
        api.post("/sessions", body("none", &ready.learner)).await.expect_field(422, "lesson");
        api.post("/sessions", body(&ready.lesson, "nobody")).await.expect_field(422, "learner");
        let wrong = json!({"project": "other", "lesson": ready.lesson, "learner": ready.learner});
        api.post("/sessions", wrong).await.expect_field(422, "project");

        let stranger = api.learner(2).await;
        let refused = api.post("/sessions", body(&ready.lesson, &stranger)).await;
        assert_eq!(refused.expect_field(409, "learner")["type"], "urn:invigil:problem:not-enrolled");
        let enrolments = format!("/projects/{}/enrolments", ready.project);
        api.post(&enrolments, json!({ "learner": stranger })).await.expect(201);
        let refused = api.post("/sessions", body(&ready.lesson, &stranger)).await;
        assert_eq!(refused.expect_field(409, "learner")["type"], "urn:invigil:problem:photo-missing");

        let other = operator.other_platform().await;
        other.post("/sessions", body(&ready.lesson, &ready.learner)).await.expect_field(422, "lesson");
        operator.post("/sessions", body(&ready.lesson, &ready.learner)).await.expect_problem(403, "forbidden");
    }

    #[tokio::test]
    async fn a_closed_session_has_its_verdict_byte_for_byte() {
        let operator = Api::start().await;
        let api = operator.as_platform();
        let path = format!("/sessions/{}", api.open_session(&operator).await);
        let verdict = format!("{path}/verdict");
        api.get(&verdict).await.expect_problem(404, "session-open");
        let close = format!("{path}/close");
        api.post(&close, json!({"reason": "bored"})).await.expect_field(422, "reason");
        api.post(&close, json!({})).await.expect_field(422, "reason");
        let closed = api.post(&close, json!({"reason": "revoked"})).await.expect(200);
        assert_eq!((&closed["state"], &closed["verdict_status"]), (&json!("closed"), &json!("invalid")));
        assert_eq!(api.get(&verdict).await.text, r#"{ "status":"invalid",  "reason":"Revoked" }"#);
        api.post(&close, json!({"reason": "left"})).await.expect_problem(409, "session-closed");
        api.post(&format!("{path}/tokens"), json!({})).await.expect_problem(409, "session-closed");
    }

    #[tokio::test]
    async fn the_log_is_handed_out_as_it_stands() {
        let operator = Api::start().await;
        let api = operator.as_platform();
        let path = format!("/sessions/{}/log", api.open_session(&operator).await);
        let answer = api.get(&path).await;
        assert_eq!(answer.headers["content-type"], "application/jsonl");
        assert_eq!(answer.text, "{\"n\":1}\n{\"n\":2}\n");
        assert_eq!(operator.get(&path).await.text, answer.text);
    }

    #[tokio::test]
    async fn a_platform_sees_its_own_sessions_only() {
        let operator = Api::start().await;
        let api = operator.as_platform();
        let session = api.open_session(&operator).await;
        let other = operator.other_platform().await;
        for path in ["", "/verdict", "/log"] {
            other.get(&format!("/sessions/{session}{path}")).await.expect_problem(404, "not-found");
        }
        let close = format!("/sessions/{session}/close");
        other.post(&close, json!({"reason": "left"})).await.expect_problem(404, "not-found");
        assert_eq!(other.get("/sessions").await.expect(200)["items"], json!([]));
        assert_eq!(operator.get("/sessions").await.expect(200)["items"].as_array().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn sessions_are_found_by_project_and_learner() {
        let operator = Api::start().await;
        let api = operator.as_platform();
        let session = api.open_session(&operator).await;
        let record = api.get(&format!("/sessions/{session}")).await.expect(200);
        let (project, learner) = (record["project"].as_str().unwrap(), record["learner"].as_str().unwrap());
        let found = api.get(&format!("/sessions?project={project}&learner={learner}&after=&limit=5")).await.expect(200);
        assert_eq!(found["items"], json!([record]));
        assert_eq!(api.get("/sessions?project=none").await.expect(200)["items"], json!([]));
        assert_eq!(api.get("/sessions?learner=none").await.expect(200)["items"], json!([]));
        assert_eq!(api.get(&format!("/sessions?after={session}")).await.expect(200)["items"], json!([]));
        api.get("/sessions?state=open").await.expect_field(422, "state");
    }

    #[tokio::test]
    async fn a_busy_server_says_when_to_come_back() {
        let operator = Api::start().await;
        let api = operator.as_platform();
        let ready = api.ready(&operator).await;
        operator.refuse_sessions();
        let body = json!({"lesson": ready.lesson, "learner": ready.learner});
        let refused = api.post("/sessions", body).await;
        assert_eq!(refused.headers["retry-after"], "3");
        refused.expect_problem(503, "busy");
    }
}
