//! Make-up lessons (补课): the office allows a learner to make a lesson up before the final assessment.
//!
//! A session that is held under one is a session like any other, and says so in its first log line.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::caller::{Caller, Decider};
use super::enrolments::find_project;
use super::extract::{JsonBody, PathOf, QueryOf};
use super::listing::{Listing, PageQuery};
use super::problem::{Problem, Refusals};
use super::validate::{Findings, NAME_CHARS, REASON_CHARS};
use super::{Answer, ApiState};
use crate::store::makeups::{MakeupError, MakeupRecord};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(allow_makeup, list_makeups))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewMakeup {
    /// the learner's enrolment in the project
    enrolment: String,
    /// the lesson that is made up
    lesson: String,
    /// the approval's reference, at most 200 characters
    reference: String,
    /// the office that gave it, at most 200 characters
    office: String,
    /// why the lesson was missed, at most 1000 characters
    reason: String,
}

/// Allows a learner to make a lesson up, before the final assessment (operator, supervisor)
#[utoipa::path(post, path = "/projects/{id}/makeups", tag = "projects",
    params(("id" = String, Path, description = "the project")),
    request_body = NewMakeup, responses((status = 201, body = MakeupRecord), Refusals))]
async fn allow_makeup(
    State(state): State<ApiState>,
    Decider(caller): Decider,
    PathOf(project): PathOf<String>,
    JsonBody(new): JsonBody<NewMakeup>,
) -> Result<(StatusCode, Json<MakeupRecord>), Problem> {
    let mut findings = Findings::default();
    findings.text("reference", &new.reference, NAME_CHARS);
    findings.text("office", &new.office, NAME_CHARS);
    findings.text("reason", &new.reason, REASON_CHARS);
    findings.finish()?;
    let project = find_project(&state, &caller.reach(), &project).await?;
    let makeup = MakeupRecord {
        id: state.new_id(),
        enrolment: new.enrolment,
        lesson: new.lesson,
        reference: new.reference,
        office: new.office,
        reason: new.reason,
        created_by: caller.key,
        created_at: state.clock.now_ms(),
    };
    Ok((StatusCode::CREATED, Json(state.store.add_makeup(&project.id, makeup).await?)))
}

/// The make-ups of a project
#[utoipa::path(get, path = "/projects/{id}/makeups", tag = "projects",
    params(("id" = String, Path, description = "the project"), PageQuery),
    responses((status = 200, body = Listing<MakeupRecord>), Refusals))]
async fn list_makeups(
    State(state): State<ApiState>,
    caller: Caller,
    PathOf(project): PathOf<String>,
    QueryOf(page): QueryOf<PageQuery>,
) -> Answer<Listing<MakeupRecord>> {
    let page = page.request()?;
    let project = find_project(&state, &caller.reach(), &project).await?;
    Ok(Json(Listing::of(state.store.makeups(&project.id, page).await?, |makeup| makeup)))
}

impl From<MakeupError> for Problem {
    fn from(error: MakeupError) -> Self {
        match error {
            MakeupError::NoEnrolment => Self::field("enrolment", "is none of this project"),
            MakeupError::NoLesson => Self::field("lesson", "is none of this project"),
            MakeupError::Assessed(_) => Self::assessed(error.to_string()),
            MakeupError::Repeated => {
                Self::conflict(error.to_string()).naming("reference", "is on record for this enrolment and lesson")
            }
            MakeupError::Store(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::api::fixture::Api;

    #[tokio::test]
    async fn the_office_allows_a_makeup_and_a_session_is_held_under_it() {
        let operator = Api::start().await;
        let api = operator.as_platform();
        let ready = api.ready(&operator).await;
        let project = format!("/projects/{}", ready.project);
        let enrolment = api.get(&format!("{project}/enrolments")).await.expect(200)["items"][0]["id"].clone();
        let makeups = format!("{project}/makeups");
        let body = |reference: &str| {
            json!({"enrolment": enrolment, "lesson": ready.lesson, "reference": reference,
            "office": "县人社局", "reason": "病假"})
        };
        api.post(&makeups, body("补1号")).await.expect_problem(403, "forbidden");
        let supervisor = operator.office("supervisor").await;
        let makeup = supervisor.post(&makeups, body("补1号")).await.expect(201);
        supervisor.post(&makeups, body("补1号")).await.expect_field(409, "reference");
        for field in ["enrolment", "lesson", "reference", "office", "reason"] {
            let mut wrong = body("补2号");
            wrong[field] = json!("");
            supervisor.post(&makeups, wrong).await.expect_field(422, field);
        }
        assert_eq!(api.get(&makeups).await.expect(200)["items"], json!([makeup]));
        operator.other_platform().await.get(&makeups).await.expect_problem(404, "not-found");
        supervisor.post("/projects/none/makeups", body("补2号")).await.expect_problem(404, "not-found");

        let session = |lesson: &str| json!({"lesson": lesson, "learner": ready.learner, "makeup": makeup["id"]});
        let second = api.get(&project).await.expect(200)["lessons"][1]["id"].as_str().unwrap().to_owned();
        api.post("/sessions", session(&second)).await.expect_field(422, "makeup");
        let wrong = json!({"lesson": ready.lesson, "learner": ready.learner, "makeup": "none"});
        api.post("/sessions", wrong).await.expect_field(422, "makeup");
        api.post("/sessions", session(&ready.lesson)).await.expect(201);

        operator.put(&format!("{project}/assessment"), json!({"assessed_on": "2026-03-01"})).await.expect(204);
        supervisor.post(&makeups, body("补2号")).await.expect_problem(409, "assessed");
        api.post("/sessions", session(&ready.lesson)).await.expect_problem(409, "assessed");
    }
}
