//! Projects with their ordered lessons, and their approval.
//!
//! A platform makes a project; only the operator approves it and its lessons. Nothing of a project can be changed: an
//! approval is worth what was approved.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::caller::{Caller, Operator, OwnPlatform};
use super::extract::{JsonBody, PathOf, QueryOf};
use super::listing::{Listing, PageQuery};
use super::problem::{Problem, Refusals};
use super::validate::{Findings, NAME_CHARS};
use super::{Answer, ApiState};
use crate::store::projects::{LessonRecord, NewLesson, ProjectRecord, StoredQuestion};
use crate::store::words::{Delivery, LessonKind};

/// Class hours of the longest project: five years of full working days.
const TOTAL_HOURS_LIMIT: i64 = 10_000;
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
        .routes(routes!(approve_project))
        .routes(routes!(approve_lesson))
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
struct Approval {
    /// false takes an approval back
    approved: bool,
}

/// Makes a project; it awaits the operator's approval
#[utoipa::path(post, path = "/projects", tag = "projects", request_body = NewProject, responses((status = 201, body = Project), Refusals))]
async fn create_project(
    State(state): State<ApiState>,
    OwnPlatform(platform): OwnPlatform,
    JsonBody(new): JsonBody<NewProject>,
) -> Result<(StatusCode, Json<Project>), Problem> {
    let policy = check_project(&state, &new)?;
    let project = ProjectRecord {
        id: state.new_id(),
        platform,
        name: new.name,
        total_hours: new.total_hours,
        delivery: new.delivery,
        policy,
        approved: false,
        created_at: state.clock.now_ms(),
    };
    let lessons = new.lessons.into_iter().map(|lesson| stored_lesson(&state, lesson)).collect();
    let (project, lessons) = state.store.add_project(project, lessons).await?;
    Ok((StatusCode::CREATED, Json(Project { project, lessons })))
}

/// The platform's projects; for the operator, all
#[utoipa::path(get, path = "/projects", tag = "projects", params(PageQuery),
    responses((status = 200, body = Listing<ProjectRecord>), Refusals))]
async fn list_projects(
    State(state): State<ApiState>,
    caller: Caller,
    QueryOf(page): QueryOf<PageQuery>,
) -> Answer<Listing<ProjectRecord>> {
    let page = state.store.projects(caller.scope(), page.request()?).await?;
    Ok(Json(Listing::of(page, |project| project)))
}

/// A project with its lessons
#[utoipa::path(get, path = "/projects/{id}", tag = "projects", params(("id" = String, Path, description = "the project")),
    responses((status = 200, body = Project), Refusals))]
async fn read_project(State(state): State<ApiState>, caller: Caller, PathOf(id): PathOf<String>) -> Answer<Project> {
    let found = state.store.project(&id).await?.filter(|(project, _)| caller.sees(&project.platform));
    let (project, lessons) = found.ok_or_else(|| Problem::no_such("project"))?;
    Ok(Json(Project { project, lessons }))
}

/// Approves a project, or takes its approval back (operator)
#[utoipa::path(put, path = "/projects/{id}/approval", tag = "projects",
    params(("id" = String, Path, description = "the project")), request_body = Approval, responses((status = 204), Refusals))]
async fn approve_project(
    State(state): State<ApiState>,
    _: Operator,
    PathOf(id): PathOf<String>,
    JsonBody(approval): JsonBody<Approval>,
) -> Result<StatusCode, Problem> {
    let found = state.store.set_project_approval(&id, approval.approved).await?;
    if found { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::no_such("project")) }
}

/// Approves a lesson's content, or takes its approval back (operator)
#[utoipa::path(put, path = "/lessons/{id}/approval", tag = "projects",
    params(("id" = String, Path, description = "the lesson")), request_body = Approval, responses((status = 204), Refusals))]
async fn approve_lesson(
    State(state): State<ApiState>,
    _: Operator,
    PathOf(id): PathOf<String>,
    JsonBody(approval): JsonBody<Approval>,
) -> Result<StatusCode, Problem> {
    let found = state.store.set_lesson_approval(&id, approval.approved).await?;
    if found { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::no_such("lesson")) }
}

/// Checks all of a new project; answers with its policy.
fn check_project(state: &ApiState, new: &NewProject) -> Result<String, Problem> {
    let mut findings = Findings::default();
    findings.text("name", &new.name, NAME_CHARS);
    findings.number("total_hours", new.total_hours, 1..=TOTAL_HOURS_LIMIT);
    findings.count("lessons", new.lessons.len(), 1..=LESSONS_LIMIT);
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
        assert_eq!((made["approved"].as_bool(), made["policy"].as_str()), (Some(false), Some("default-2026")));
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
    async fn only_the_operator_approves() {
        let operator = Api::start().await;
        let api = operator.as_platform();
        let made = api.post("/projects", new_project()).await.expect(201);
        let path = format!("/projects/{}", made["id"].as_str().unwrap());
        let lesson = format!("/lessons/{}/approval", made["lessons"][0]["id"].as_str().unwrap());
        let approval = format!("{path}/approval");
        for refused in [&approval, &lesson] {
            api.put(refused, json!({"approved": true})).await.expect_problem(403, "forbidden");
            operator.put(refused, json!({"approved": 1})).await.expect_field(422, "approved");
            operator.put(refused, json!({"approved": true})).await.expect(204);
        }
        let approved = api.get(&path).await.expect(200);
        assert_eq!(approved["approved"], true);
        assert_eq!(approved["lessons"][0]["content_approved"], true);
        assert_eq!(approved["lessons"][1]["content_approved"], false);
        operator.put(&approval, json!({"approved": false})).await.expect(204);
        assert_eq!(api.get(&path).await.expect(200)["approved"], false);
        for nothing in ["/projects/none/approval", "/lessons/none/approval"] {
            operator.put(nothing, json!({"approved": true})).await.expect_problem(404, "not-found");
        }
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
