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

use super::caller::{Caller, OwnPlatform, Participant};
use super::extract::{JsonBody, PathOf, QueryOf};
use super::listing::{Listing, PageQuery};
use super::problem::{Problem, Refusals};
use super::validate::{Findings, NAME_CHARS, REASON_CHARS};
use super::{Answer, ApiState};
use crate::store::enrolments::{EnrolError, EnrolmentRecord, NewWithdrawal, WithdrawError, Withdrawal};
use crate::store::projects::ProjectRecord;
use crate::store::reach::{Reach, Thing};

/// Most online time that can have been credited elsewhere, ms: 10 000 hours.
const PRIOR_ONLINE_LIMIT_MS: i64 = 36_000_000_000;
/// Longest name of a class, in characters.
const CLASS_CHARS: usize = 50;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(enrol_learner, list_enrolments)).routes(routes!(withdraw_enrolment))
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

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Withdrawing {
    /// why, at most 1000 characters
    reason: String,
    /// the office's document, at most 200 characters
    document: Option<String>,
}

/// Enrols a learner in an approved project
///
/// 201 for a new enrolment, also after a withdrawal; 200 when the learner is enrolled already.
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
    let project = find_project(&state, &Reach { platform: Some(platform.clone()), region: None }, &project).await?;
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
        version: 1,
        withdrawn: None,
    };
    let (enrolment, is_new) = state.store.enrol(enrolment, policy).await?;
    // Answering 200 would let the platform believe that the other figure was taken over.
    if !is_new && new.prior_online_ms.is_some_and(|given| given != enrolment.prior_online_ms) {
        let stands = prior_online_stands(enrolment.prior_online_ms);
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
    find_project(&state, &caller.reach(), &project).await?;
    let enrolments = state.store.enrolments(&project, page).await?;
    Ok(Json(Listing::of(enrolments, |enrolment| enrolment)))
}

fn prior_online_stands(prior_online_ms: i64) -> String {
    format!("stands at {prior_online_ms} since the first enrolment and cannot change")
}

/// Withdraws an enrolment (platform: before the learner's first session; operator, supervisor: while none is open)
#[utoipa::path(post, path = "/enrolments/{id}/withdraw", tag = "projects",
    params(("id" = String, Path, description = "the enrolment")),
    request_body = Withdrawing, responses((status = 200, body = EnrolmentRecord), Refusals))]
async fn withdraw_enrolment(
    State(state): State<ApiState>,
    Participant(caller): Participant,
    PathOf(enrolment): PathOf<String>,
    JsonBody(asked): JsonBody<Withdrawing>,
) -> Answer<EnrolmentRecord> {
    let mut findings = Findings::default();
    findings.text("reason", &asked.reason, REASON_CHARS);
    if let Some(document) = &asked.document {
        findings.text("document", document, NAME_CHARS);
    }
    findings.finish()?;
    let withdrawal = Withdrawal {
        at: state.clock.now_ms(),
        decided_as: caller.role.word(),
        reason: asked.reason,
        document: asked.document,
    };
    caller.must_reach(&state, Thing::Enrolment, &enrolment).await?;
    let (id, decided_by) = (state.new_id(), caller.key.clone());
    let platform = caller.platform().map(str::to_owned);
    let new = NewWithdrawal { id, enrolment, platform, withdrawal, decided_by };
    Ok(Json(state.store.withdraw(new).await?))
}

/// A project that exists for whom this is the reach.
pub(super) async fn find_project(state: &ApiState, reach: &Reach, project: &str) -> Result<ProjectRecord, Problem> {
    let no_such = || Problem::no_such("project");
    if !state.store.reaches(reach, Thing::Project, project).await? {
        return Err(no_such());
    }
    state.store.project(project).await?.map(|(project, _)| project).ok_or_else(no_such)
}

impl From<EnrolError> for Problem {
    fn from(error: EnrolError) -> Self {
        match error {
            EnrolError::Rule { refusal, clause } => {
                Self::enrolment_refused(refusal.detail).breaking(refusal.rule.as_str(), clause)
            }
            EnrolError::Assessed(_) => Self::assessed(error.to_string()),
            EnrolError::PriorOnline(stands) => {
                Self::conflict(error.to_string()).naming("prior_online_ms", prior_online_stands(stands))
            }
            EnrolError::Store(error) => error.into(),
        }
    }
}

impl From<WithdrawError> for Problem {
    fn from(error: WithdrawError) -> Self {
        match error {
            WithdrawError::Unknown => Self::no_such("enrolment"),
            WithdrawError::Withdrawn | WithdrawError::SessionOpen(_) | WithdrawError::SessionsHeld => {
                Self::conflict(error.to_string())
            }
            WithdrawError::Assessed(_) => Self::assessed(error.to_string()),
            WithdrawError::Store(error) => error.into(),
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
    async fn a_platform_withdraws_before_the_first_session_and_the_place_is_free() {
        let operator = Api::start().await;
        let api = operator.as_platform();
        let mut project = new_project();
        (project["class_size"], project["teachers"], project["benches"]) = (json!(1), json!(1), json!(1));
        let path = format!("/projects/{}/enrolments", api.approved(&operator, project).await.id);
        let (learner, other) = (api.learner(1).await, api.learner(2).await);
        let first =
            api.post(&path, json!({"learner": learner, "class": "一班", "prior_online_ms": 5})).await.expect(201);
        assert_eq!((&first["version"], &first["withdrawn"]), (&json!(1), &json!(null)));
        let withdraw = format!("/enrolments/{}/withdraw", first["id"].as_str().unwrap());
        api.post(&withdraw, json!({})).await.expect_field(422, "reason");
        api.post(&withdraw, json!({"reason": " "})).await.expect_field(422, "reason");
        api.post(&withdraw, json!({"reason": "x", "document": ""})).await.expect_field(422, "document");
        operator.other_platform().await.post(&withdraw, json!({"reason": "x"})).await.expect_problem(404, "not-found");
        api.post("/enrolments/none/withdraw", json!({"reason": "x"})).await.expect_problem(404, "not-found");

        let withdrawn = api.post(&withdraw, json!({"reason": "自愿退班"})).await.expect(200);
        let end = &withdrawn["withdrawn"];
        assert_eq!((&end["reason"], &end["decided_as"]), (&json!("自愿退班"), &json!("platform")));
        assert!(end["at"].as_i64().unwrap() >= first["created_at"].as_i64().unwrap());
        assert_eq!(api.get(&path).await.expect(200)["items"], json!([withdrawn]));
        api.post(&withdraw, json!({"reason": "x"})).await.expect_problem(409, "conflict");

        api.post(&path, json!({"learner": other, "class": "一班"})).await.expect(201);
        let again = json!({"learner": learner, "class": "一班"});
        let full = api.post(&path, again).await.expect_problem(409, "enrolment-refused");
        assert_eq!(full["rule"], "class_size");
        // Nothing was learned under the first one: all that it said is open again.
        let second = json!({"learner": learner, "class": "二班", "prior_online_ms": 7});
        let second = api.post(&path, second).await.expect(201);
        assert_eq!((&second["id"], &second["version"], &second["withdrawn"]), (&first["id"], &json!(2), &json!(null)));
        assert_eq!((&second["class"], &second["prior_online_ms"]), (&json!("二班"), &json!(7)));
        api.post(&withdraw, json!({"reason": "again"})).await.expect(200);
    }

    #[tokio::test]
    async fn after_a_session_only_the_office_withdraws_and_what_was_learned_stays() {
        let operator = Api::start().await;
        let api = operator.as_platform();
        let ready = api.ready(&operator).await;
        let path = format!("/projects/{}/enrolments", ready.project);
        let enrolment = api.get(&path).await.expect(200)["items"][0].clone();
        let withdraw = format!("/enrolments/{}/withdraw", enrolment["id"].as_str().unwrap());
        let open = json!({"lesson": ready.lesson, "learner": ready.learner});
        let session = api.post("/sessions", open.clone()).await.expect(201)["session"].as_str().unwrap().to_owned();
        let body = json!({"reason": "调离", "document": "退班〔2026〕1号"});
        for key in [&api, &operator] {
            let refused = key.post(&withdraw, body.clone()).await.expect_problem(409, "conflict");
            assert!(refused["detail"].as_str().unwrap().contains(&session), "{refused}");
        }
        operator.office("auditor").await.post(&withdraw, body.clone()).await.expect_problem(403, "forbidden");
        operator.sql("UPDATE session SET closed_at = opened_at").await;
        let refused = api.post(&withdraw, body.clone()).await.expect_problem(409, "conflict");
        assert!(refused["detail"].as_str().unwrap().contains("only the office"), "{refused}");
        let withdrawn = operator.office("supervisor").await.post(&withdraw, body).await.expect(200);
        let end = &withdrawn["withdrawn"];
        assert_eq!((&end["document"], &end["decided_as"]), (&json!("退班〔2026〕1号"), &json!("supervisor")));
        api.post("/sessions", open.clone()).await.expect_problem(409, "not-enrolled");
        let makeup = json!({"enrolment": enrolment["id"], "lesson": ready.lesson, "reference": "补1号",
            "office": "县人社局", "reason": "病假"});
        operator.post(&format!("/projects/{}/makeups", ready.project), makeup).await.expect_field(422, "enrolment");

        // The sessions were judged by the online time that was given first.
        let other = json!({"learner": ready.learner, "prior_online_ms": 60_000});
        api.post(&path, other).await.expect_field(409, "prior_online_ms");
        let again = api.post(&path, json!({"learner": ready.learner})).await.expect(201);
        assert_eq!((&again["id"], &again["version"]), (&enrolment["id"], &json!(2)));
        assert_eq!(again["prior_online_ms"], enrolment["prior_online_ms"]);
        api.post("/sessions", open).await.expect(201);
    }

    #[tokio::test]
    async fn a_withdrawn_training_counts_once_something_was_learned_in_it() {
        let operator = Api::start().await;
        let api = operator.as_platform();
        let body = json!({"learner": api.learner(1).await});
        let (first, assessment) = project_in(&api, &operator, "焊工").await;
        let (second, _) = project_in(&api, &operator, "钳工").await;
        let enrolment = api.post(&first, body.clone()).await.expect(201)["id"].as_str().unwrap().to_owned();
        let withdraw = format!("/enrolments/{enrolment}/withdraw");
        api.post(&withdraw, json!({"reason": "x"})).await.expect(200);
        // Without a session it was none: no cooldown. And then the other is the one that must be over.
        let other = api.post(&second, body.clone()).await.expect(201)["id"].as_str().unwrap().to_owned();
        let refused = api.post(&first, body.clone()).await.expect_problem(409, "enrolment-refused");
        assert_eq!(refused["rule"], "reenrolment_cooldown");
        api.post(&format!("/enrolments/{other}/withdraw"), json!({"reason": "x"})).await.expect(200);
        api.post(&first, body.clone()).await.expect(201);

        operator
            .sql(&format!(
                "INSERT INTO lesson (id, project, position, title, duration_ms, kind)
                     SELECT 'e', project, 99, 'E', 1, 'theory' FROM enrolment WHERE id = '{enrolment}';
                 INSERT INTO session (id, platform, learner, project, lesson, seed, opened_at, closed_at)
                     SELECT 's', project.platform, enrolment.learner, enrolment.project, 'e', x'00', 1, 2
                     FROM enrolment JOIN project ON project.id = enrolment.project WHERE enrolment.id = '{enrolment}'"
            ))
            .await;
        operator.post(&withdraw, json!({"reason": "x"})).await.expect(200);
        let refused = api.post(&second, body.clone()).await.expect_problem(409, "enrolment-refused");
        assert_eq!(refused["rule"], "reenrolment_cooldown");
        operator.put(&assessment, json!({"assessed_on": "2026-02-28"})).await.expect(204);
        operator.post(&withdraw, json!({"reason": "x"})).await.expect_problem(409, "conflict");
        // To the same project nobody comes back once it is assessed.
        api.post(&first, body).await.expect_problem(409, "assessed");
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
