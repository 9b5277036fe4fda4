//! Projects with their ordered lessons, and their approval.
//!
//! A platform makes a project with its plan; the office approves both, and the lessons' films. Nothing of a project can
//! be changed: an approval is worth what was approved. Whether a plan may be approved is for [`crate::enrolment`].

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::caller::{Caller, Decider, OwnPlatform};
use super::extract::{JsonBody, PathOf, QueryOf};
use super::listing::{Listing, PageQuery};
use super::problem::{BrokenRule, Problem, Refusals};
use super::validate::{Findings, NAME_CHARS};
use super::{Answer, ApiState};
use crate::auth::id_number::PROVINCES;
use crate::enrolment;
use crate::log;
use crate::policy::date_in_china;
use crate::store::projects::{
    LessonApproval, LessonRecord, NewLesson, PlanRecord, ProjectDecision, ProjectRecord, StoredQuestion,
};
use crate::store::reach::Thing;
use crate::store::words::{Certificate, Delivery, LessonKind};

/// Class hours of the longest project: five years of full working days.
const TOTAL_HOURS_LIMIT: i64 = 10_000;
/// Shortest and longest class hour that can be planned, ms: a minute, and a day.
const CLASS_HOUR_MS: std::ops::RangeInclusive<i64> = 60_000..=86_400_000;
/// Learners, teachers or benches of one class.
const CLASS_LIMIT: i64 = 10_000;
/// Lessons of one project.
const LESSONS_LIMIT: usize = 500;
/// Shortest and longest lesson: a second, and a day.
const DURATION_MS: std::ops::RangeInclusive<i64> = 1_000..=86_400_000;
/// Questions of one lesson.
const QUESTIONS_LIMIT: usize = 100;
/// Longest question, in characters: what fits over a video.
const QUESTION_CHARS: usize = 500;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(create_project, list_projects))
        .routes(routes!(read_project))
        .routes(routes!(decide_project))
        .routes(routes!(set_assessment))
        .routes(routes!(decide_lesson))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewProject {
    /// what it is called, at most 200 characters
    name: String,
    /// class hours of the whole project, online and offline: 1 to 10000
    total_hours: i64,
    /// how it is held
    delivery: Delivery,
    /// the policy pack that judges its sessions; the installation's default unless given
    policy: Option<String>,
    /// GB/T 2260 code of its county, city or province: 6 digits
    region: Option<String>,
    /// occupation (职业/工种), at most 200 characters: its code, or its name as the catalogue has it
    occupation: Option<String>,
    /// level, 1 (senior technician) to 5 (beginner); 0, and unless given: none
    level: Option<i64>,
    /// the certificate at its end; `skill_level` unless given
    certificate: Option<Certificate>,
    /// whether it is paid for by the state; true unless given
    subsidised: Option<bool>,
    /// class hours of `total_hours` that are held online
    online_hours: Option<i64>,
    /// class hours of `total_hours` that are practice
    practice_hours: Option<i64>,
    /// length of a class hour, ms
    class_hour_ms: Option<i64>,
    /// learners of each class; as many as the policy pack allows unless given
    class_size: Option<i64>,
    /// teachers of each class
    teachers: Option<i64>,
    /// benches (工位) of each class
    benches: Option<i64>,
    /// 1 to 500 lessons, in the order in which they are taken
    lessons: Vec<LessonOfNewProject>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewLesson)]
struct LessonOfNewProject {
    /// what it is called, at most 200 characters
    title: String,
    /// length of its video, ms: a second to a day
    duration_ms: i64,
    /// what it is
    kind: LessonKind,
    /// at most 100 questions for prompts
    #[serde(default)]
    questions: Vec<NewQuestion>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewQuestion {
    /// the question, at most 500 characters
    text: String,
    /// four different answers, at most 200 characters each
    options: [String; 4],
    /// which of them is right, 0 to 3; it is never shown again
    right: i64,
}

#[derive(Serialize, ToSchema)]
struct Project {
    #[serde(flatten)]
    project: ProjectRecord,
    /// in the order in which they are taken
    lessons: Vec<LessonRecord>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ProjectApproval {
    /// false takes an approval back
    approved: bool,
    /// the document that says so, at most 200 characters; an approval needs one
    document: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ContentApproval {
    /// false takes an approval back, and needs nothing else
    approved: bool,
    /// number of the approval, at most 200 characters
    number: Option<String>,
    /// its day, YYYY-MM-DD
    date: Option<String>,
    /// the office that gave it, at most 200 characters
    office: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Assessment {
    /// the day on which the project's learners were assessed (考核结束), YYYY-MM-DD; null takes it back
    assessed_on: Option<String>,
}

/// Makes a project; it awaits the office's approval
#[utoipa::path(post, path = "/projects", tag = "projects", request_body = NewProject, responses((status = 201, body = Project), Refusals))]
async fn create_project(
    State(state): State<ApiState>,
    OwnPlatform(platform): OwnPlatform,
    JsonBody(new): JsonBody<NewProject>,
) -> Result<(StatusCode, Json<Project>), Problem> {
    let policy = check_project(&state, &new)?;
    let plan = PlanRecord {
        region: new.region,
        occupation: new.occupation.map(|occupation| occupation.trim().to_owned()),
        level: new.level.unwrap_or(0),
        certificate: new.certificate.unwrap_or(Certificate::SkillLevel),
        subsidised: new.subsidised.unwrap_or(true),
        online_hours: new.online_hours,
        practice_hours: new.practice_hours,
        class_hour_ms: new.class_hour_ms,
        class_size: new.class_size,
        teachers: new.teachers,
        benches: new.benches,
    };
    let project = ProjectRecord {
        id: state.new_id(),
        platform,
        name: new.name,
        total_hours: new.total_hours,
        delivery: new.delivery,
        policy,
        plan,
        approved: false,
        approval_document: None,
        approved_by: None,
        approved_at: None,
        assessed_on: None,
        created_at: state.clock.now_ms(),
    };
    let lessons = new.lessons.into_iter().map(|lesson| stored_lesson(&state, lesson)).collect();
    let (project, lessons) = state.store.add_project(project, lessons).await?;
    Ok((StatusCode::CREATED, Json(Project { project, lessons })))
}

/// The platform's projects; for the office, all
#[utoipa::path(get, path = "/projects", tag = "projects", params(PageQuery),
    responses((status = 200, body = Listing<ProjectRecord>), Refusals))]
async fn list_projects(
    State(state): State<ApiState>,
    caller: Caller,
    QueryOf(page): QueryOf<PageQuery>,
) -> Answer<Listing<ProjectRecord>> {
    let page = state.store.projects(caller.reach(), page.request()?).await?;
    Ok(Json(Listing::of(page, |project| project)))
}

/// A project with its lessons
#[utoipa::path(get, path = "/projects/{id}", tag = "projects", params(("id" = String, Path, description = "the project")),
    responses((status = 200, body = Project), Refusals))]
async fn read_project(State(state): State<ApiState>, caller: Caller, PathOf(id): PathOf<String>) -> Answer<Project> {
    caller.must_reach(&state, Thing::Project, &id).await?;
    let (project, lessons) = state.store.project(&id).await?.ok_or_else(|| Problem::no_such("project"))?;
    Ok(Json(Project { project, lessons }))
}

/// Approves a project's plan, or takes the approval back (operator, supervisor)
///
/// An approval is refused when the plan lacks what the rules of its policy pack ask for (`errors`), or breaks some of
/// them (`refusals`, each with its clause).
#[utoipa::path(put, path = "/projects/{id}/approval", tag = "projects",
    params(("id" = String, Path, description = "the project")), request_body = ProjectApproval, responses((status = 204), Refusals))]
async fn decide_project(
    State(state): State<ApiState>,
    Decider(caller): Decider,
    PathOf(id): PathOf<String>,
    JsonBody(given): JsonBody<ProjectApproval>,
) -> Result<StatusCode, Problem> {
    caller.must_reach(&state, Thing::Project, &id).await?;
    let mut findings = Findings::default();
    match &given.document {
        Some(document) => findings.text("document", document, NAME_CHARS),
        None if given.approved => findings.add("document", "is missing: an approval names the document that says so"),
        None => {}
    }
    findings.finish()?;
    let (project, lessons) = state.store.project(&id).await?.ok_or_else(|| Problem::no_such("project"))?;
    if given.approved {
        check_plan(&state, &project, &lessons)?;
    }
    let (document, decided_at) = (given.document, state.clock.now_ms());
    let decision = ProjectDecision { approved: given.approved, document, decided_by: caller.key, decided_at };
    let found = state.store.decide_project(&id, decision).await?;
    if found { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::no_such("project")) }
}

/// Sets the day on which a project's learners were assessed (operator, supervisor)
#[utoipa::path(put, path = "/projects/{id}/assessment", tag = "projects",
    params(("id" = String, Path, description = "the project")), request_body = Assessment, responses((status = 204), Refusals))]
async fn set_assessment(
    State(state): State<ApiState>,
    Decider(caller): Decider,
    PathOf(id): PathOf<String>,
    JsonBody(given): JsonBody<Assessment>,
) -> Result<StatusCode, Problem> {
    caller.must_reach(&state, Thing::Project, &id).await?;
    let mut findings = Findings::default();
    if let Some(day) = &given.assessed_on {
        findings.day("assessed_on", day, date_in_china(state.clock.now_ms()));
    }
    findings.finish()?;
    let found = state.store.set_assessment(&id, given.assessed_on).await?;
    if found { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::no_such("project")) }
}

/// Approves a lesson's content, or takes the approval back (operator, supervisor)
#[utoipa::path(put, path = "/lessons/{id}/approval", tag = "projects",
    params(("id" = String, Path, description = "the lesson")), request_body = ContentApproval, responses((status = 204), Refusals))]
async fn decide_lesson(
    State(state): State<ApiState>,
    Decider(caller): Decider,
    PathOf(id): PathOf<String>,
    JsonBody(given): JsonBody<ContentApproval>,
) -> Result<StatusCode, Problem> {
    caller.must_reach(&state, Thing::Lesson, &id).await?;
    let approval = check_content_approval(&state, given)?;
    let found = state.store.set_lesson_approval(&id, approval).await?;
    if found { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::no_such("lesson")) }
}

/// The approval that is given; `None`: one is taken back.
fn check_content_approval(state: &ApiState, given: ContentApproval) -> Result<Option<LessonApproval>, Problem> {
    let mut findings = Findings::default();
    for (field, text) in [("number", &given.number), ("office", &given.office)] {
        if let Some(text) = text {
            findings.text(field, text, NAME_CHARS);
        }
    }
    if let Some(day) = &given.date {
        findings.day("date", day, date_in_china(state.clock.now_ms()));
    }
    let whole = (given.number, given.date, given.office);
    for (field, missing) in [("number", whole.0.is_none()), ("date", whole.1.is_none()), ("office", whole.2.is_none())]
    {
        if missing && given.approved {
            findings.add(field, "is missing: an approval has a number, a day and an office");
        }
    }
    findings.finish()?;
    let approval = match whole {
        (Some(number), Some(date), Some(office)) => Some(LessonApproval { number, date, office }),
        _ => None,
    };
    Ok(approval.filter(|_| given.approved))
}

/// Whether the rules of a project's pack allow its plan.
fn check_plan(state: &ApiState, project: &ProjectRecord, lessons: &[LessonRecord]) -> Result<(), Problem> {
    let policy = state.pack_in_force(&project.policy)?;
    let plan = judged_plan(project, lessons);
    let missing = plan.missing(&policy.enrolment);
    if !missing.is_empty() {
        let detail = format!("the project's application does not say {}", missing.join(", "));
        let naming = |problem: Problem, field: &&str| problem.naming(field, "is missing in the application");
        return Err(missing.iter().fold(Problem::plan_incomplete(detail), naming));
    }
    let refusals = plan.judge(&policy.enrolment);
    let Some(first) = refusals.first() else { return Ok(()) };
    let broken = |refusal: &enrolment::Refusal| BrokenRule {
        rule: refusal.rule.as_str(),
        clause: refusal.clause(&policy.enrolment),
        detail: refusal.detail.clone(),
    };
    Err(Problem::plan_refused(&first.detail).breaking_all(refusals.iter().map(broken).collect()))
}

fn judged_plan(project: &ProjectRecord, lessons: &[LessonRecord]) -> enrolment::Plan {
    let plan = project.plan.clone();
    let theory = lessons.iter().filter(|lesson| lesson.kind == LessonKind::Theory);
    enrolment::Plan {
        delivery: match project.delivery {
            Delivery::Blended => log::Delivery::Blended,
            Delivery::OnlineOnly => log::Delivery::OnlineOnly,
        },
        certificate: match plan.certificate {
            Certificate::Qualification => enrolment::Certificate::Qualification,
            Certificate::SkillLevel => enrolment::Certificate::SkillLevel,
            Certificate::SpecialAbility => enrolment::Certificate::SpecialAbility,
            Certificate::Completion => enrolment::Certificate::Completion,
        },
        region: plan.region,
        occupation: plan.occupation,
        total_hours: project.total_hours,
        online_hours: plan.online_hours,
        practice_hours: plan.practice_hours,
        class_hour_ms: plan.class_hour_ms,
        class_size: plan.class_size,
        teachers: plan.teachers,
        benches: plan.benches,
        film_ms: theory.map(|lesson| lesson.duration_ms).sum(),
    }
}

/// Checks all of a new project; answers with its policy.
fn check_project(state: &ApiState, new: &NewProject) -> Result<String, Problem> {
    let mut findings = Findings::default();
    findings.text("name", &new.name, NAME_CHARS);
    findings.number("total_hours", new.total_hours, 1..=TOTAL_HOURS_LIMIT);
    findings.count("lessons", new.lessons.len(), 1..=LESSONS_LIMIT);
    check_application(&mut findings, new);
    let policy = match &new.policy {
        None => state.policies.first(),
        Some(policy) => state.policies.iter().find(|known| *known == policy),
    };
    if policy.is_none() {
        findings.add("policy", format!("is not known here; known: {}", state.policies.join(", ")));
    }
    for (lesson, index) in new.lessons.iter().zip(0..) {
        check_lesson(&mut findings, &format!("lessons[{index}]"), lesson);
    }
    findings.finish()?;
    policy.cloned().ok_or_else(|| Problem::field("policy", "is not known here"))
}

/// Checks what the application says; what it does not say is asked for when it is to be approved.
fn check_application(findings: &mut Findings, new: &NewProject) {
    if let Some(region) = &new.region {
        let digits = region.len() == 6 && region.bytes().all(|byte| byte.is_ascii_digit());
        if !digits || !PROVINCES.contains(&&region[..2]) {
            findings.add("region", "must be a code of GB/T 2260: 6 digits that begin with a province's");
        }
    }
    if let Some(occupation) = &new.occupation {
        findings.text("occupation", occupation, NAME_CHARS);
    }
    for (field, value, range) in [
        ("level", new.level, 0..=5),
        ("online_hours", new.online_hours, 0..=TOTAL_HOURS_LIMIT),
        ("practice_hours", new.practice_hours, 0..=TOTAL_HOURS_LIMIT),
        ("class_hour_ms", new.class_hour_ms, CLASS_HOUR_MS),
        ("class_size", new.class_size, 1..=CLASS_LIMIT),
        ("teachers", new.teachers, 0..=CLASS_LIMIT),
        ("benches", new.benches, 0..=CLASS_LIMIT),
    ] {
        if let Some(value) = value {
            findings.number(field, value, range);
        }
    }
    let (total, online) = (new.total_hours, new.online_hours.unwrap_or(0).clamp(0, TOTAL_HOURS_LIMIT));
    if total < 1 {
        return;
    }
    if online > total {
        findings.add("online_hours", "are more than total_hours");
    } else if new.practice_hours.is_some_and(|practice| practice > total - online) {
        findings.add("practice_hours", "are more than total_hours leaves besides online_hours: practice is not online");
    }
}

fn check_lesson(findings: &mut Findings, path: &str, lesson: &LessonOfNewProject) {
    findings.text(&format!("{path}.title"), &lesson.title, NAME_CHARS);
    findings.number(&format!("{path}.duration_ms"), lesson.duration_ms, DURATION_MS);
    findings.count(&format!("{path}.questions"), lesson.questions.len(), 0..=QUESTIONS_LIMIT);
    for (question, index) in lesson.questions.iter().zip(0..) {
        check_question(findings, &format!("{path}.questions[{index}]"), question);
    }
}

fn check_question(findings: &mut Findings, path: &str, question: &NewQuestion) {
    findings.text(&format!("{path}.text"), &question.text, QUESTION_CHARS);
    for (option, index) in question.options.iter().zip(0..) {
        let field = format!("{path}.options[{index}]");
        findings.text(&field, option, NAME_CHARS);
        // The answer comes back as its text, so each must be told from the others.
        if question.options[..index].contains(option) {
            findings.add(field, "is the same as an earlier option");
        }
    }
    findings.number(&format!("{path}.right"), question.right, 0..=3);
}

fn stored_lesson(state: &ApiState, lesson: LessonOfNewProject) -> NewLesson {
    let questions = lesson.questions.into_iter().map(|question| StoredQuestion {
        text: question.text,
        options: question.options,
        // Checked to be 0 to 3.
        right: question.right as u8,
    });
    NewLesson {
        id: state.new_id(),
        title: lesson.title,
        duration_ms: lesson.duration_ms,
        kind: lesson.kind,
        questions: questions.collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::api::fixture::{Api, new_project};

    #[tokio::test]
    async fn a_project_keeps_its_order_and_hides_its_answers() {
        let operator = Api::start().await;
        let api = operator.as_platform();
        let made = api.post("/projects", new_project()).await.expect(201);
        assert_eq!((made["approved"].as_bool(), made["policy"].as_str()), (Some(false), Some("default")));
        let lessons = made["lessons"].as_array().unwrap();
        let order: Vec<_> = lessons.iter().map(|lesson| (&lesson["position"], &lesson["title"])).collect();
        assert_eq!(order, [(&json!(1), &json!("第一课")), (&json!(2), &json!("第二课"))]);
        assert_eq!(lessons[0]["questions"], 1);
        assert!(!made.to_string().contains("right"));

        let path = format!("/projects/{}", made["id"].as_str().unwrap());
        assert_eq!(api.get(&path).await.expect(200), made);
        assert_eq!(operator.get(&path).await.expect(200), made);
        let lesson = lessons[0]["id"].as_str().unwrap();
        let questions = operator.state.store.lesson_questions(lesson).await.unwrap();
        assert_eq!((questions.len(), questions[0].right), (1, 2));
    }

    #[tokio::test]
    async fn only_the_office_approves() {
        let operator = Api::start().await;
        let api = operator.as_platform();
        let made = api.post("/projects", new_project()).await.expect(201);
        let path = format!("/projects/{}", made["id"].as_str().unwrap());
        let lesson = format!("/lessons/{}/approval", made["lessons"][0]["id"].as_str().unwrap());
        let approval = format!("{path}/approval");
        let content =
            || json!({"approved": true, "number": "豫技审〔2026〕3号", "date": "2026-02-01", "office": "省办"});
        let plan = || json!({"approved": true, "document": "开班批复1号"});
        let supervisor = operator.office("supervisor").await;
        for (refused, body) in [(&approval, plan()), (&lesson, content())] {
            for nobody in [&api, &operator.office("auditor").await] {
                nobody.put(refused, body.clone()).await.expect_problem(403, "forbidden");
            }
            operator.put(refused, json!({"approved": 1})).await.expect_field(422, "approved");
            supervisor.put(refused, body).await.expect(204);
        }
        operator.put(&approval, json!({"approved": true})).await.expect_field(422, "document");
        for field in ["number", "date", "office"] {
            let mut body = content();
            body.as_object_mut().unwrap().remove(field);
            operator.put(&lesson, body).await.expect_field(422, field);
        }
        let future = json!({"approved": true, "number": "1", "date": "2026-03-02", "office": "省办"});
        operator.put(&lesson, future).await.expect_field(422, "date");

        let approved = api.get(&path).await.expect(200);
        assert_eq!((&approved["approved"], &approved["approval_document"]), (&json!(true), &json!("开班批复1号")));
        assert_eq!(approved["approved_at"], operator.clock.now_ms());
        let approver = approved["approved_by"].as_str().unwrap();
        assert!(!approver.is_empty());
        let lessons = &approved["lessons"];
        assert_eq!((&lessons[0]["content_approved"], &lessons[1]["content_approved"]), (&json!(true), &json!(false)));
        assert_eq!(
            (&lessons[0]["approval_number"], &lessons[0]["approval_date"]),
            (&json!("豫技审〔2026〕3号"), &json!("2026-02-01"))
        );

        operator.put(&approval, json!({"approved": false, "document": "撤销1号"})).await.expect(204);
        operator.put(&lesson, json!({"approved": false})).await.expect(204);
        let back = api.get(&path).await.expect(200);
        assert_eq!((&back["approved"], &back["approval_document"]), (&json!(false), &json!("撤销1号")));
        assert_ne!(back["approved_by"], approver);
        assert_eq!(back["lessons"][0]["content_approved"], false);
        assert!(back["lessons"][0]["approval_number"].is_null());
        for (nothing, body) in [("/projects/none/approval", plan()), ("/lessons/none/approval", content())] {
            operator.put(nothing, body).await.expect_problem(404, "not-found");
        }
    }

    #[tokio::test]
    async fn a_plan_that_breaks_rules_is_refused_with_all_their_clauses() {
        let operator = Api::start().await;
        let api = operator.as_platform();
        let mut plan = new_project();
        plan["practice_hours"] = json!(59);
        plan["online_hours"] = json!(41);
        plan["teachers"] = json!(3);
        plan["class_hour_ms"] = json!(2_399_999);
        let made = api.post("/projects", plan).await.expect(201);
        let path = format!("/projects/{}", made["id"].as_str().unwrap());
        let approval = format!("{path}/approval");
        let body = || json!({"approved": true, "document": "开班批复1号"});
        let refused = operator.put(&approval, body()).await.expect_problem(409, "plan-refused");
        let rules: Vec<_> = refused["refusals"].as_array().unwrap().iter().map(|one| &one["rule"]).collect();
        assert_eq!(rules, ["practice_share", "online_share", "class_hour_length", "teacher_ratio"]);
        assert_eq!(refused["rule"], "practice_share");
        assert_eq!(refused["clause"], "宛技领办〔2022〕10号 20(1)：实操培训不少于总课时的60%");
        assert!(refused["refusals"][2]["clause"].as_str().unwrap().contains("每课时不低于40分钟"));
        assert_eq!(api.get(&path).await.expect(200)["approved"], false);
        operator.put(&approval, json!({"approved": false})).await.expect(204);
    }

    #[tokio::test]
    async fn what_a_plan_does_not_say_is_named() {
        let operator = Api::start().await;
        let api = operator.as_platform();
        let mut plan = new_project();
        let fields = ["region", "occupation", "online_hours", "practice_hours", "class_hour_ms", "teachers", "benches"];
        for field in fields {
            plan.as_object_mut().unwrap().remove(field);
        }
        let made = api.post("/projects", plan).await.expect(201);
        let approval = format!("/projects/{}/approval", made["id"].as_str().unwrap());
        let body = json!({"approved": true, "document": "开班批复1号"});
        let refused = operator.put(&approval, body).await.expect_problem(409, "plan-incomplete");
        let named: Vec<_> = refused["errors"].as_array().unwrap().iter().map(|error| &error["field"]).collect();
        assert_eq!(named, fields);
    }

    #[tokio::test]
    async fn an_assessment_has_a_day() {
        let operator = Api::start().await;
        let api = operator.as_platform();
        let project = api.approved_project(&operator).await.id;
        let (path, assessment) = (format!("/projects/{project}"), format!("/projects/{project}/assessment"));
        operator.put(&assessment, json!({"assessed_on": "2026-03-01"})).await.expect(204);
        assert_eq!(api.get(&path).await.expect(200)["assessed_on"], "2026-03-01");
        operator.put(&assessment, json!({"assessed_on": null})).await.expect(204);
        assert!(api.get(&path).await.expect(200)["assessed_on"].is_null());
        operator.put(&assessment, json!({"assessed_on": "2026-03-02"})).await.expect_field(422, "assessed_on");
        operator.put(&assessment, json!({"assessed_on": "soon"})).await.expect_field(422, "assessed_on");
        let nowhere = "/projects/none/assessment";
        operator.put(nowhere, json!({"assessed_on": null})).await.expect_problem(404, "not-found");
        api.put(&assessment, json!({"assessed_on": null})).await.expect_problem(403, "forbidden");
    }

    #[tokio::test]
    async fn a_platform_sees_its_own_projects_only() {
        let operator = Api::start().await;
        let api = operator.as_platform();
        let made = api.post("/projects", new_project()).await.expect(201);
        let other = operator.other_platform().await;
        let path = format!("/projects/{}", made["id"].as_str().unwrap());
        other.get(&path).await.expect_problem(404, "not-found");
        let count = |listing: Value| listing["items"].as_array().unwrap().len();
        assert_eq!(count(other.get("/projects").await.expect(200)), 0);
        assert_eq!(count(api.get("/projects").await.expect(200)), 1);
        assert_eq!(count(operator.get("/projects").await.expect(200)), 1);
        operator.post("/projects", new_project()).await.expect_problem(403, "forbidden");
    }

    #[tokio::test]
    async fn what_is_wrong_is_named() {
        let api = Api::start().await.as_platform();
        for (pointer, value, field) in [
            ("/name", json!(""), "name"),
            ("/total_hours", json!(0), "total_hours"),
            ("/total_hours", json!(10_001), "total_hours"),
            ("/total_hours", json!(1.5), "total_hours"),
            ("/delivery", json!("post"), "delivery"),
            ("/policy", json!("none-such"), "policy"),
            ("/region", json!("41130"), "region"),
            ("/region", json!("４１1300"), "region"),
            ("/region", json!("991300"), "region"),
            ("/occupation", json!(" "), "occupation"),
            ("/level", json!(6), "level"),
            ("/certificate", json!("diploma"), "certificate"),
            ("/subsidised", json!("yes"), "subsidised"),
            ("/online_hours", json!(-1), "online_hours"),
            ("/online_hours", json!(101), "online_hours"),
            ("/practice_hours", json!(61), "practice_hours"),
            ("/class_hour_ms", json!(1), "class_hour_ms"),
            ("/teachers", json!(-1), "teachers"),
            ("/benches", json!(10_001), "benches"),
            ("/lessons", json!([]), "lessons"),
            ("/lessons/1/title", json!(7), "lessons[1].title"),
            ("/lessons/1/title", json!("a".repeat(201)), "lessons[1].title"),
            ("/lessons/0/duration_ms", json!(999), "lessons[0].duration_ms"),
            ("/lessons/0/duration_ms", json!(86_400_001), "lessons[0].duration_ms"),
            ("/lessons/0/kind", json!("nap"), "lessons[0].kind"),
            ("/lessons/0/questions/0/text", json!(" "), "lessons[0].questions[0].text"),
            ("/lessons/0/questions/0/options", json!(["a", "b", "c"]), "lessons[0].questions[0].options"),
            ("/lessons/0/questions/0/options/3", json!("甲"), "lessons[0].questions[0].options[3]"),
            ("/lessons/0/questions/0/options/1", json!("a".repeat(201)), "lessons[0].questions[0].options[1]"),
            ("/lessons/0/questions/0/right", json!(4), "lessons[0].questions[0].right"),
        ] {
            let mut body = new_project();
            *body.pointer_mut(pointer).unwrap() = value;
            api.post("/projects", body).await.expect_field(422, field);
        }
        let mut many = new_project();
        let question = many["lessons"][0]["questions"][0].clone();
        many["lessons"][0]["questions"] = json!(vec![question; 101]);
        api.post("/projects", many).await.expect_field(422, "lessons[0].questions");
        let mut long = new_project();
        long["lessons"] = json!(vec![long["lessons"][1].clone(); 501]);
        api.post("/projects", long).await.expect_field(422, "lessons");
    }
}
