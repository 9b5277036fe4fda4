//! Enrolments of learners in projects.
//!
//! A refusal by a rule names the rule and its clause. Only the rules about the platform and the project are checked;
//! those about subsidies need records of assessments that are not kept yet.

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
use crate::store::words::PlatformStatus;

/// Most online time that can have been credited elsewhere, ms: 10 000 hours.
const PRIOR_ONLINE_LIMIT_MS: i64 = 36_000_000_000;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(enrol_learner, list_enrolments))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewEnrolment {
    /// the learner's id
    learner: String,
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
    findings.finish()?;
    check_project(&state, &Caller::Platform(platform.clone()), &project).await?;
    let learner = state.store.learner(&platform, &new.learner).await?;
    let learner = learner.ok_or_else(|| Problem::field("learner", "is not known to this platform"))?.id;
    let enrolment = EnrolmentRecord {
        id: state.new_id(),
        project,
        learner,
        prior_online_ms: new.prior_online_ms.unwrap_or(0),
        created_at: state.clock.now_ms(),
    };
    let (enrolment, is_new) = state.store.enrol(enrolment).await?;
    // Answering 200 would let the platform believe that the other figure was taken over.
    if new.prior_online_ms.is_some_and(|given| given != enrolment.prior_online_ms) {
        let stands = format!("stands at {} since the first enrolment and cannot change", enrolment.prior_online_ms);
        return Err(Problem::conflict("the learner is enrolled already").naming("prior_online_ms", stands));
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
    check_project(&state, &caller, &project).await?;
    let enrolments = state.store.enrolments(&project, page).await?;
    Ok(Json(Listing::of(enrolments, |enrolment| enrolment)))
}

async fn check_project(state: &ApiState, caller: &Caller, project: &str) -> Result<(), Problem> {
    let found = state.store.project_platform(project).await?.filter(|platform| caller.sees(platform));
    found.map(|_| ()).ok_or_else(|| Problem::no_such("project"))
}

impl From<EnrolError> for Problem {
    fn from(error: EnrolError) -> Self {
        let detail = error.to_string();
        let (rule, clause) = match error {
            EnrolError::Platform(status) => platform_rule(status),
            EnrolError::ProjectUnapproved => (
                "project_unapproved",
                "冀就办字〔2024〕2号 四(三)：培训机构…提交开班…申请，经当地人力资源社会保障部门审核后组织开展培训",
            ),
            EnrolError::Store(error) => return error.into(),
        };
        Self::enrolment_refused(detail).breaking(rule, clause)
    }
}

/// The rule by which a platform of this status enrols nobody, and its clause.
fn platform_rule(status: PlatformStatus) -> (&'static str, &'static str) {
    match status {
        PlatformStatus::Banned => {
            ("platform_banned", "宛技领办〔2022〕10号 20(3)：对违反规定的平台，自违规之日起两年内不得参与补贴培训")
        }
        PlatformStatus::Suspended => ("platform_suspended", "福建八条措施 五：根据情形及时中止培训活动"),
        // An active platform is not refused.
        PlatformStatus::Unregistered | PlatformStatus::Active => {
            ("platform_unregistered", "宛技领办〔2022〕10号 20(3)：未纳入监管系统的互联网平台组织的培训结果不予认可")
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
        for status in ["suspended", "unregistered", "banned"] {
            operator.patch(&format!("/platforms/{}", operator.platform), json!({ "status": status })).await.expect(200);
            let refused = api.post(&path, json!({ "learner": learner })).await.expect_problem(409, "enrolment-refused");
            assert_eq!(refused["rule"], format!("platform_{status}"));
        }
        assert_eq!(api.get(&path).await.expect(200)["items"], json!([]));
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
