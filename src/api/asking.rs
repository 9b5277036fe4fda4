//! What a supervisor who watches a session asks of its learner: a prompt or a photo now, beside the schedule.
//!
//! It goes into the session's log like any other, says there that it was a supervisor, and is judged by the same rules.

use axum::extract::State;
use axum::http::StatusCode;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::ApiState;
use super::caller::{Caller, Decider};
use super::doors::AskRefusal;
use super::extract::PathOf;
use super::problem::{Problem, Refusals};
use crate::schedule::Asked;
use crate::store::reach::Thing;
use crate::store::words::AccessKind;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(ask_prompt)).routes(routes!(ask_capture))
}

/// Shows the learner a prompt now (operator, supervisor)
///
/// On record in the session's log when this answers. 409 `session-closed` when the session is over, 409 `not-now` when the
/// learner could not see it: not connected, the player standing still, or the one before unanswered.
#[utoipa::path(post, path = "/sessions/{id}/prompt", tag = "console",
    params(("id" = String, Path, description = "the session")),
    responses((status = 202, description = "the learner is asked"), Refusals))]
async fn ask_prompt(
    State(state): State<ApiState>,
    Decider(caller): Decider,
    PathOf(id): PathOf<String>,
) -> Result<StatusCode, Problem> {
    ask(&state, &caller, id, Asked::Prompt).await
}

/// Takes a photo of the learner now (operator, supervisor)
///
/// Answers as the prompt does.
#[utoipa::path(post, path = "/sessions/{id}/capture", tag = "console",
    params(("id" = String, Path, description = "the session")),
    responses((status = 202, description = "the learner is asked"), Refusals))]
async fn ask_capture(
    State(state): State<ApiState>,
    Decider(caller): Decider,
    PathOf(id): PathOf<String>,
) -> Result<StatusCode, Problem> {
    ask(&state, &caller, id, Asked::Capture).await
}

async fn ask(state: &ApiState, caller: &Caller, id: String, asked: Asked) -> Result<StatusCode, Problem> {
    caller.must_reach(state, Thing::Session, &id).await?;
    let session = state.store.session_record(&id).await?.ok_or_else(|| Problem::no_such("session"))?;
    if session.closed_at.is_some() {
        return Err(AskRefusal::AlreadyClosed.into());
    }
    caller.log_access(state, AccessKind::Decision, &id, format!("asked for a {}", asked.as_str())).await?;
    state.sessions.ask(id, asked).await?;
    Ok(StatusCode::ACCEPTED)
}

impl From<AskRefusal> for Problem {
    fn from(refusal: AskRefusal) -> Self {
        let detail = refusal.to_string();
        match refusal {
            AskRefusal::AlreadyClosed => Self::session_closed(detail),
            AskRefusal::NotNow(_) => Self::not_now(detail),
            AskRefusal::Busy { retry_after_ms } => Self::busy(detail).retry_after_ms(retry_after_ms),
            AskRefusal::Store(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::api::fixture::Api;
    use crate::schedule::Asked;

    #[tokio::test]
    async fn a_supervisor_asks_the_learner_of_an_open_session_of_their_region() {
        let operator = Api::start().await;
        let session = operator.as_platform().open_session(&operator).await;
        let supervisor = operator.account("s", "supervisor", json!({"region": "4113"})).await;
        let (prompt, capture) = (format!("/sessions/{session}/prompt"), format!("/sessions/{session}/capture"));
        assert_eq!(supervisor.post(&prompt, json!({})).await.status, 202);
        operator.clock.advance_ms(1);
        assert_eq!(supervisor.send("POST", &capture, None, b"").await.status, 202, "no body is needed");
        assert_eq!(operator.asked(), [(session.clone(), Asked::Prompt), (session.clone(), Asked::Capture)]);
        let log = operator.get("/access-log?kind=decision").await.expect(200);
        let newest = &log["items"][0];
        assert_eq!((&newest["name"], &newest["subject"]), (&json!("s"), &json!(session)));
        assert_eq!(newest["detail"], "asked for a capture");

        let elsewhere = operator.account("t", "supervisor", json!({"region": "42"})).await;
        elsewhere.post(&prompt, json!({})).await.expect_problem(404, "not-found");
        operator.refuse_sessions();
        supervisor.post(&prompt, json!({})).await.expect_problem(409, "not-now");
        operator.sql("UPDATE session SET closed_at = 2").await;
        supervisor.post(&prompt, json!({})).await.expect_problem(409, "session-closed");
        assert_eq!(operator.asked().len(), 2);
    }
}
