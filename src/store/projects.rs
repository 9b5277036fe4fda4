//! Projects and their ordered lessons.
//!
//! A project does not change once it is made: what was approved is what is taught. Only approvals and the day of the
//! assessment change, and those are the office's.

use super::sql::{self, Connection, OptionalExtension as _, Row, ToSql, params};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::page::{Page, PageRequest};
use super::reach::Reach;
use super::words::{Certificate, Delivery, LessonKind};
use super::{Store, StoreError};

/// A project without its lessons.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ProjectSummary)]
pub struct ProjectRecord {
    /// identifier
    pub id: String,
    /// the platform that holds it
    pub platform: String,
    /// what it is called
    pub name: String,
    /// class hours of the whole project, online and offline
    pub total_hours: i64,
    /// how it is held
    pub delivery: Delivery,
    /// identifier of the policy pack that judges its sessions
    pub policy: String,
    /// what its application says
    #[serde(flatten)]
    pub plan: PlanRecord,
    /// whether the office approved it
    pub approved: bool,
    /// the document of the last decision, whether it gave the approval or took it back
    pub approval_document: Option<String>,
    /// identifier of the API key that decided last
    pub approved_by: Option<String>,
    /// when, ms since the Unix epoch
    pub approved_at: Option<i64>,
    /// the day on which its learners were assessed, YYYY-MM-DD; null: not yet
    pub assessed_on: Option<String>,
    /// ms since the Unix epoch
    pub created_at: i64,
}

/// What a project's application says; null: it does not say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Plan)]
pub struct PlanRecord {
    /// GB/T 2260 code of its county, city or province
    pub region: Option<String>,
    /// occupation (职业/工种)
    pub occupation: Option<String>,
    /// level, 1 (senior technician) to 5 (beginner); 0: none
    pub level: i64,
    /// the certificate at its end
    pub certificate: Certificate,
    /// whether it is paid for by the state
    pub subsidised: bool,
    /// class hours that are held online
    pub online_hours: Option<i64>,
    /// class hours of practice
    pub practice_hours: Option<i64>,
    /// length of a class hour, ms
    pub class_hour_ms: Option<i64>,
    /// learners of each class; null: as many as the policy pack allows
    pub class_size: Option<i64>,
    /// teachers of each class
    pub teachers: Option<i64>,
    /// benches (工位) of each class
    pub benches: Option<i64>,
}

/// A lesson. Its questions are not shown: only how many there are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Lesson)]
pub struct LessonRecord {
    /// identifier
    pub id: String,
    /// 1, 2, 3 …: the order in which lessons are taken
    pub position: i64,
    /// what it is called
    pub title: String,
    /// length of its video, ms
    pub duration_ms: i64,
    /// what it is
    pub kind: LessonKind,
    /// whether the office approved its content
    pub content_approved: bool,
    /// number of the approval
    pub approval_number: Option<String>,
    /// day of the approval, YYYY-MM-DD
    pub approval_date: Option<String>,
    /// the office that gave it
    pub approval_office: Option<String>,
    /// how many questions there are for prompts
    pub questions: i64,
}

/// A question for prompts. The right answer never leaves the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredQuestion {
    /// the question
    pub text: String,
    /// four answers
    pub options: [String; 4],
    /// which of them is right, 0 to 3
    pub right: u8,
}

/// A lesson to be stored; its position is its place in the list.
#[derive(Clone, Debug)]
pub struct NewLesson {
    /// identifier
    pub id: String,
    /// what it is called
    pub title: String,
    /// length of its video, ms
    pub duration_ms: i64,
    /// what it is
    pub kind: LessonKind,
    /// questions for prompts
    pub questions: Vec<StoredQuestion>,
}

/// The approval of a lesson's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LessonApproval {
    /// its number
    pub number: String,
    /// its day, YYYY-MM-DD
    pub date: String,
    /// the office that gave it
    pub office: String,
}

/// A decision about a project's application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectDecision {
    /// whether it is approved
    pub approved: bool,
    /// the document that says so
    pub document: Option<String>,
    /// identifier of the API key that decided
    pub decided_by: String,
    /// ms since the Unix epoch
    pub decided_at: i64,
}

/// Where a lesson belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LessonPlace {
    /// its project
    pub project: String,
    /// the platform of that project
    pub platform: String,
}

const PROJECT_COLUMNS: &str = "id, platform, name, total_hours, delivery, policy, approved, created_at,
    nullif(region, ''), nullif(occupation, ''), level, certificate, subsidised, online_hours, practice_hours,
    class_hour_ms, class_size, teachers, benches, approval_document, approved_by, approved_at, assessed_on";

impl Store {
    /// Adds a project with its lessons, none of it approved.
    ///
    /// # Errors
    /// When the store could not write.
    pub async fn add_project(
        &self,
        project: ProjectRecord,
        lessons: Vec<NewLesson>,
    ) -> Result<(ProjectRecord, Vec<LessonRecord>), StoreError> {
        self.write(move |transaction| {
            insert(transaction, &project)?;
            for (lesson, position) in lessons.iter().zip(1..) {
                add_lesson(transaction, &project.id, position, lesson)?;
            }
            find(transaction, &project.id)?.ok_or_else(|| StoreError::Corrupt {
                what: "project",
                why: "gone as soon as it was written".to_owned(),
            })
        })
        .await
    }

    /// A project with its lessons, in their order.
    ///
    /// # Errors
    /// When the store could not read.
    pub async fn project(&self, id: &str) -> Result<Option<(ProjectRecord, Vec<LessonRecord>)>, StoreError> {
        let id = id.to_owned();
        self.read(move |connection| find(connection, &id)).await
    }

    /// The platform that holds a project.
    ///
    /// # Errors
    /// When the store could not read.
    pub async fn project_platform(&self, id: &str) -> Result<Option<String>, StoreError> {
        let id = id.to_owned();
        self.read(move |connection| {
            let platform = connection
                .prepare_cached("SELECT platform FROM project WHERE id = ?1")?
                .query_row([&id], |row| row.get(0))
                .optional()?;
            Ok(platform)
        })
        .await
    }

    /// The projects of a platform, or of all when `platform` is `None`.
    ///
    /// # Errors
    /// When the store could not read.
    pub async fn projects(&self, reach: Reach, request: PageRequest) -> Result<Page<ProjectRecord>, StoreError> {
        self.read(move |connection| {
            let (start, rows, end) = (request.start(), request.rows(), reach.region_end());
            let mut values: Vec<&dyn ToSql> = vec![&start, &rows];
            let conditions = reach.conditions("project", &end, &mut values);
            let projects = connection
                .prepare_cached(&format!(
                    "SELECT {PROJECT_COLUMNS} FROM project WHERE id > ?1{conditions} ORDER BY id LIMIT ?2"
                ))?
                .query_map(values.as_slice(), project_record)?
                .collect::<Result<Vec<_>, _>>()?;
            Ok(request.page(projects, |project| &project.id))
        })
        .await
    }

    /// Approves a project, or takes its approval back. False when there is no such project.
    ///
    /// # Errors
    /// When the store could not write.
    pub async fn decide_project(&self, id: &str, decision: ProjectDecision) -> Result<bool, StoreError> {
        let id = id.to_owned();
        self.write(move |transaction| {
            let found = transaction.execute(
                "UPDATE project SET approved = ?2, approval_document = ?3, approved_by = ?4, approved_at = ?5
                 WHERE id = ?1",
                params![id, decision.approved, decision.document, decision.decided_by, decision.decided_at],
            )?;
            Ok(found > 0)
        })
        .await
    }

    /// Sets the day (YYYY-MM-DD) on which a project's learners were assessed; `None` takes it back. False when there
    /// is no such project.
    ///
    /// # Errors
    /// When the store could not write.
    pub async fn set_assessment(&self, id: &str, assessed_on: Option<String>) -> Result<bool, StoreError> {
        let id = id.to_owned();
        self.write(move |transaction| {
            let found =
                transaction.execute("UPDATE project SET assessed_on = ?2 WHERE id = ?1", params![id, assessed_on])?;
            Ok(found > 0)
        })
        .await
    }

    /// Approves a lesson's content; `None` takes the approval back. False when there is no such lesson.
    ///
    /// # Errors
    /// When the store could not write.
    pub async fn set_lesson_approval(&self, id: &str, approval: Option<LessonApproval>) -> Result<bool, StoreError> {
        let id = id.to_owned();
        self.write(move |transaction| {
            let approved = approval.is_some();
            let given = approval.as_ref();
            let (number, date) = (given.map(|given| &given.number), given.map(|given| &given.date));
            let office = given.map(|given| &given.office);
            let found = transaction.execute(
                "UPDATE lesson SET content_approved = ?2, approval_number = ?3, approval_date = ?4,
                     approval_office = ?5 WHERE id = ?1",
                params![id, approved, number, date, office],
            )?;
            Ok(found > 0)
        })
        .await
    }

    /// Where a lesson belongs.
    ///
    /// # Errors
    /// When the store could not read.
    pub async fn lesson_place(&self, lesson: &str) -> Result<Option<LessonPlace>, StoreError> {
        let lesson = lesson.to_owned();
        self.read(move |connection| {
            let place = connection
                .prepare_cached(
                    "SELECT project.id, project.platform FROM lesson JOIN project ON project.id = lesson.project
                     WHERE lesson.id = ?1",
                )?
                .query_row([&lesson], |row| Ok(LessonPlace { project: row.get(0)?, platform: row.get(1)? }))
                .optional()?;
            Ok(place)
        })
        .await
    }

    /// The questions for prompts of a lesson; none when there is no such lesson.
    ///
    /// # Errors
    /// When the store could not read, or holds no questions where they should be.
    pub async fn lesson_questions(&self, lesson: &str) -> Result<Vec<StoredQuestion>, StoreError> {
        let lesson = lesson.to_owned();
        self.read(move |connection| {
            let questions: Option<String> = connection
                .prepare_cached("SELECT questions FROM lesson WHERE id = ?1")?
                .query_row([&lesson], |row| row.get(0))
                .optional()?;
            serde_json::from_str(questions.as_deref().unwrap_or("[]"))
                .map_err(|error| StoreError::Corrupt { what: "questions", why: error.to_string() })
        })
        .await
    }
}

fn insert(connection: &Connection, project: &ProjectRecord) -> sql::Result<()> {
    let plan = &project.plan;
    connection
        .prepare_cached(
            "INSERT INTO project (id, platform, name, total_hours, delivery, policy, approved, created_at, region,
                 occupation, level, certificate, subsidised, online_hours, practice_hours, class_hour_ms, class_size,
                 teachers, benches)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)",
        )?
        .execute(params![
            project.id,
            project.platform,
            project.name,
            project.total_hours,
            project.delivery,
            project.policy,
            project.created_at,
            plan.region.as_deref().unwrap_or(""),
            plan.occupation.as_deref().unwrap_or(""),
            plan.level,
            plan.certificate,
            plan.subsidised,
            plan.online_hours,
            plan.practice_hours,
            plan.class_hour_ms,
            plan.class_size,
            plan.teachers,
            plan.benches,
        ])
        .map(drop)
}

fn add_lesson(connection: &Connection, project: &str, position: i64, lesson: &NewLesson) -> Result<(), StoreError> {
    let questions = serde_json::to_string(&lesson.questions)
        .map_err(|error| StoreError::Corrupt { what: "questions", why: error.to_string() })?;
    connection
        .prepare_cached(
            "INSERT INTO lesson (id, project, position, title, duration_ms, kind, questions)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![lesson.id, project, position, lesson.title, lesson.duration_ms, lesson.kind, questions])?;
    Ok(())
}

fn find(connection: &Connection, id: &str) -> Result<Option<(ProjectRecord, Vec<LessonRecord>)>, StoreError> {
    let project = connection
        .prepare_cached(&format!("SELECT {PROJECT_COLUMNS} FROM project WHERE id = ?1"))?
        .query_row([id], project_record)
        .optional()?;
    let Some(project) = project else { return Ok(None) };
    let questions = connection.dialect().json_length("questions");
    let lessons = connection
        .prepare_cached(&format!(
            "SELECT id, position, title, duration_ms, kind, content_approved, {questions},
                    approval_number, approval_date, approval_office
             FROM lesson WHERE project = ?1 ORDER BY position"
        ))?
        .query_map([id], lesson_record)?
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Some((project, lessons)))
}

fn project_record(row: &Row<'_>) -> sql::Result<ProjectRecord> {
    Ok(ProjectRecord {
        id: row.get(0)?,
        platform: row.get(1)?,
        name: row.get(2)?,
        total_hours: row.get(3)?,
        delivery: row.get(4)?,
        policy: row.get(5)?,
        approved: row.get(6)?,
        created_at: row.get(7)?,
        plan: PlanRecord {
            region: row.get(8)?,
            occupation: row.get(9)?,
            level: row.get(10)?,
            certificate: row.get(11)?,
            subsidised: row.get(12)?,
            online_hours: row.get(13)?,
            practice_hours: row.get(14)?,
            class_hour_ms: row.get(15)?,
            class_size: row.get(16)?,
            teachers: row.get(17)?,
            benches: row.get(18)?,
        },
        approval_document: row.get(19)?,
        approved_by: row.get(20)?,
        approved_at: row.get(21)?,
        assessed_on: row.get(22)?,
    })
}

fn lesson_record(row: &Row<'_>) -> sql::Result<LessonRecord> {
    Ok(LessonRecord {
        id: row.get(0)?,
        position: row.get(1)?,
        title: row.get(2)?,
        duration_ms: row.get(3)?,
        kind: row.get(4)?,
        content_approved: row.get(5)?,
        questions: row.get(6)?,
        approval_number: row.get(7)?,
        approval_date: row.get(8)?,
        approval_office: row.get(9)?,
    })
}
