//! Enrolments of learners in projects.
//!
//! A refusal by a rule names the rule and its clause, as the policy pack of the project has it; nothing is stored then.
//! The rules are in [`crate::enrolment`].

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::caller::{Caller, OwnPlatform};
use super::extract::{JsonBody, PathOf, QueryOf};
use super::listing::{Listing, PageQuery};
use super::problem::{Problem, Refusals};
use super::validate::Findings;
use super::{Answer, ApiState};
use crate::store::enrolments::{EnrolError, EnrolmentRecord};
use crate::store::projects::ProjectRecord;

/// Most online time that can have been credited elsewhere, ms: 10 000 hours.
const PRIOR_ONLINE_LIMIT_MS: i64 = 36_000_000_000;
/// Longest name of a class, in characters.
const CLASS_CHARS: usize = 50;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(enrol_learner, list_enrolments))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewEnrolment {
    /// the learner's id
    learner: String,
    /// the class (班) within the project, at most 50 characters; its only one unless given
    class: Option<String>,
    /// online time credited in this project before it came here, ms; 0 unless given
    prior_online_ms: Option<i64>,
}

/// Enrols a learner in an approved project
///
/// 201 for a new enrolment, 200 when the learner was enrolled before.
#[utoipa::path(post, path = "/projects/{id}/enrolments", tag = "projects",
    params(("id" = String, Path, description = "the project")),
    request_body = NewEnrolment, responses((status = 201, body = EnrolmentRecord), (status = 200, body = EnrolmentRecord), Refusals))]
async fn enrol_learner(
    State(state): State<ApiState>,
    OwnPlatform(platform): OwnPlatform,
    PathOf(project): PathOf<String>,
    JsonBody(new): JsonBody<NewEnrolment>,
) -> Result<(StatusCode, Json<EnrolmentRecord>), Problem> {
    let mut findings = Findings::default();
    findings.number("prior_online_ms", new.prior_online_ms.unwrap_or(0), 0..=PRIOR_ONLINE_LIMIT_MS);
    if let Some(class) = &new.class {
        findings.text("class", class, CLASS_CHARS);
    }
    findings.finish()?;
    let project = find_project(&state, &project, |of| of == platform).await?;
    let policy = state.pack_in_force(&project.policy)?;
    let learner = state.store.learner(&platform, &new.learner).await?;
    let learner = learner.ok_or_else(|| Problem::field("learner", "is not known to this platform"))?.id;
    let enrolment = EnrolmentRecord {
        id: state.new_id(),
        project: project.id,
        learner,
        class: new.class.clone().unwrap_or_default(),
        prior_online_ms: new.prior_online_ms.unwrap_or(0),
        created_at: state.clock.now_ms(),
    };
    let (enrolment, is_new) = state.store.enrol(enrolment, policy).await?;
    // Answering 200 would let the platform believe that the other figure was taken over.
    if new.prior_online_ms.is_some_and(|given| given != enrolment.prior_online_ms) {
        let stands = format!("stands at {} since the first enrolment and cannot change", enrolment.prior_online_ms);
        return Err(Problem::conflict("the learner is enrolled already").naming("prior_online_ms", stands));
    }
    if new.class.is_some_and(|given| given != enrolment.class) {
        return Err(Problem::conflict("the learner is enrolled already").naming("class", "is another since then"));
    }
    Ok((if is_new { StatusCode::CREATED } else { StatusCode::OK }, Json(enrolment)))
}

/// The enrolments of a project
#[utoipa::path(get, path = "/projects/{id}/enrolments", tag = "projects",
    params(("id" = String, Path, description = "the project"), PageQuery),
    responses((status = 200, body = Listing<EnrolmentRecord>), Refusals))]
async fn list_enrolments(
    State(state): State<ApiState>,
    caller: Caller,
    PathOf(project): PathOf<String>,
    QueryOf(page): QueryOf<PageQuery>,
) -> Answer<Listing<EnrolmentRecord>> {
    let page = page.request()?;
    find_project(&state, &project, |of| caller.sees(of)).await?;
    let enrolments = state.store.enrolments(&project, page).await?;
    Ok(Json(Listing::of(enrolments, |enrolment| enrolment)))
}

/// A project of a platform that the caller sees.
pub(super) async fn find_project(
    state: &ApiState,
    project: &str,
    sees: impl Fn(&str) -> bool,
) -> Result<ProjectRecord, Problem> {
    let found = state.store.project(project).await?.filter(|(project, _)| sees(&project.platform));
    found.map(|(project, _)| project).ok_or_else(|| Problem::no_such("project"))
}

impl From<EnrolError> for Problem {
    fn from(error: EnrolError) -> Self {
        match error {
            EnrolError::Rule { refusal, clause } => {
                Self::enrolment_refused(refusal.detail).breaking(refusal.rule.as_str(), clause)
            }
            EnrolError::Assessed(_) => Self::assessed(error.to_string()),
            EnrolError::Store(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::api::fixture::{Api, new_project};

    #[tokio::test]
    async fn a_learner_is_enrolled_once() {
        let operator = Api::start().await;
        let api = operator.as_platform();
        let learner = api.learner(1).await;
        let path = format!("/projects/{}/enrolments", api.approved_project(&operator).await.id);
        let first = api.post(&path, json!({"learner": learner, "prior_online_ms": 60_000})).await.expect(201);
        assert_eq!(api.post(&path, json!({ "learner": learner })).await.expect(200), first);
        let other_figure = api.post(&path, json!({"learner": learner, "prior_online_ms": 0})).await;
        other_figure.expect_field(409, "prior_online_ms");
        let listed = api.get(&path).await.expect(200);
        assert_eq!(listed["items"], json!([first]));
        assert_eq!(operator.get(&path).await.expect(200), listed);
    }

    #[tokio::test]
    async fn a_rule_that_refuses_is_named_with_its_clause() {
        let operator = Api::start().await;
        let api = operator.as_platform();
        let learner = api.learner(1).await;
        let unapproved = api.post("/projects", new_project()).await.expect(201);
        let path = format!("/projects/{}/enrolments", unapproved["id"].as_str().unwrap());
        let refused = api.post(&path, json!({ "learner": learner })).await.expect_problem(409, "enrolment-refused");
        assert_eq!(refused["rule"], "project_unapproved");
        assert!(refused["clause"].as_str().unwrap().contains("冀就办字〔2024〕2号"));

        let path = format!("/projects/{}/enrolments", api.approved_project(&operator).await.id);
        for status in ["unregistered", "suspended", "banned"] {
            operator.set_status(status).await;
            let refused = api.post(&path, json!({ "learner": learner })).await.expect_problem(409, "enrolment-refused");
            assert_eq!(refused["rule"], format!("platform_{status}"));
        }
        assert_eq!(api.get(&path).await.expect(200)["items"], json!([]));
        // Two years after the violation the ban has ended by itself.
        operator.clock.advance_ms(731 * 86_400_000);
        api.post(&path, json!({ "learner": learner })).await.expect(201);
    }

    /// Makes and approves a subsidised project of this occupation; where its learners are enrolled.
    async fn project_in(api: &Api, operator: &Api, occupation: &str) -> (String, String) {
        let mut project = new_project();
        project["occupation"] = json!(occupation);
        let id = api.approved(operator, project).await.id;
        (format!("/projects/{id}/enrolments"), format!("/projects/{id}/assessment"))
    }

    #[tokio::test]
    async fn the_next_subsidised_training_waits_for_the_last_whatever_the_platform() {
        const DAY_MS: i64 = 86_400_000;
        let operator = Api::start().await;
        let (api, other) = (operator.as_platform(), operator.other_platform().await);
        let (first, assessment) = project_in(&api, &operator, "焊工").await;
        let (second, _) = project_in(&other, &operator, "钳工").await;
        let body = json!({"learner": api.learner(1).await});
        assert_eq!(body["learner"], other.learner(1).await);
        api.post(&first, body.clone()).await.expect(201);
        let refused = other.post(&second, body.clone()).await.expect_problem(409, "enrolment-refused");
        assert_eq!(refused["rule"], "reenrolment_cooldown");
        assert!(refused["clause"].as_str().unwrap().contains("考核结束不足一个月"));

        // 1 March; assessed the day before, on the last of February: free on 28 March.
        operator.put(&assessment, json!({"assessed_on": "2026-02-28"})).await.expect(204);
        operator.clock.advance_ms(27 * DAY_MS - 1);
        other.post(&second, body.clone()).await.expect_problem(409, "enrolment-refused");
        operator.clock.advance_ms(1);
        other.post(&second, body.clone()).await.expect(201);
        // Who was enrolled stays so, and in an assessed project nobody else is.
        api.post(&first, body).await.expect(200);
        let late = json!({"learner": api.learner(2).await});
        api.post(&first, late).await.expect_problem(409, "assessed");
    }

    #[tokio::test]
    async fn three_subsidised_trainings_and_no_occupation_twice() {
        let operator = Api::start().await;
        let api = operator.as_platform();
        let body = json!({"learner": api.learner(1).await});
        for occupation in ["焊工", "钳工", "车工"] {
            let (enrolments, assessment) = project_in(&api, &operator, occupation).await;
            api.post(&enrolments, body.clone()).await.expect(201);
            operator.put(&assessment, json!({"assessed_on": "2026-01-01"})).await.expect(204);
            if occupation == "焊工" {
                let (again, _) = project_in(&api, &operator, "焊工").await;
                let refused = api.post(&again, body.clone()).await.expect_problem(409, "enrolment-refused");
                assert_eq!(refused["rule"], "repeat_occupation");
            }
        }
        let (fourth, _) = project_in(&api, &operator, "铣工").await;
        let refused = api.post(&fourth, body.clone()).await.expect_problem(409, "enrolment-refused");
        assert_eq!(refused["rule"], "subsidy_limit");
        assert!(refused["clause"].as_str().unwrap().contains("每人累计最多享受3次"));
        assert_eq!(api.get(&fourth).await.expect(200)["items"], json!([]));

        let mut paid = new_project();
        paid["subsidised"] = json!(false);
        paid["occupation"] = json!("焊工");
        let paid = api.approved(&operator, paid).await.id;
        api.post(&format!("/projects/{paid}/enrolments"), body).await.expect(201);
    }

    #[tokio::test]
    async fn a_class_is_full_and_another_is_not() {
        let operator = Api::start().await;
        let api = operator.as_platform();
        let mut project = new_project();
        (project["class_size"], project["teachers"], project["benches"]) = (json!(2), json!(1), json!(1));
        let path = format!("/projects/{}/enrolments", api.approved(&operator, project).await.id);
        let body = |learner: &str, class: &str| json!({"learner": learner, "class": class});
        let learners = [api.learner(1).await, api.learner(2).await, api.learner(3).await];
        for learner in &learners[..2] {
            assert_eq!(api.post(&path, body(learner, "一班")).await.expect(201)["class"], "一班");
        }
        let refused = api.post(&path, body(&learners[2], "一班")).await.expect_problem(409, "enrolment-refused");
        assert_eq!(refused["rule"], "class_size");
        api.post(&path, body(&learners[2], "二班")).await.expect(201);
        api.post(&path, body(&learners[0], "二班")).await.expect_field(409, "class");
        api.post(&path, json!({"learner": learners[0]})).await.expect(200);
        api.post(&path, body(&learners[0], "")).await.expect_field(422, "class");
    }

    #[tokio::test]
    async fn refusals() {
        let operator = Api::start().await;
        let api = operator.as_platform();
        let learner = api.learner(1).await;
        let project = api.approved_project(&operator).await.id;
        let path = format!("/projects/{project}/enrolments");
        api.post(&path, json!({})).await.expect_field(422, "learner");
        api.post(&path, json!({"learner": "nobody"})).await.expect_field(422, "learner");
        api.post(&path, json!({"learner": learner, "prior_online_ms": -1})).await.expect_field(422, "prior_online_ms");
        let nowhere = "/projects/none/enrolments";
        api.post(nowhere, json!({ "learner": learner })).await.expect_problem(404, "not-found");
        let other = operator.other_platform().await;
        other.post(&path, json!({ "learner": learner })).await.expect_problem(404, "not-found");
        other.get(&path).await.expect_problem(404, "not-found");
        operator.post(&path, json!({ "learner": learner })).await.expect_problem(403, "forbidden");
    }
}
