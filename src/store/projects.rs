//! Projects and their ordered lessons.
//!
//! A project does not change once it is made: what was approved is what is taught. Only approvals change, and those
//! are the operator's.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::page::{Page, PageRequest};
use super::words::{Delivery, LessonKind};
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
    /// whether the operator approved it
    pub approved: bool,
    /// ms since the Unix epoch
    pub created_at: i64,
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
    /// whether the operator approved its content
    pub content_approved: bool,
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

/// Where a lesson belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LessonPlace {
    /// its project
    pub project: String,
    /// the platform of that project
    pub platform: String,
}

const PROJECT_COLUMNS: &str = "id, platform, name, total_hours, delivery, policy, approved, created_at";

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
            transaction.execute(
                "INSERT INTO project (id, platform, name, total_hours, delivery, policy, approved, created_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, ?7)",
                params![
                    project.id,
                    project.platform,
                    project.name,
                    project.total_hours,
                    project.delivery,
                    project.policy,
                    project.created_at
                ],
            )?;
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
    pub async fn projects(
        &self,
        platform: Option<String>,
        request: PageRequest,
    ) -> Result<Page<ProjectRecord>, StoreError> {
        self.read(move |connection| {
            let of_platform = if platform.is_some() { "platform = ?1 AND" } else { "?1 IS NULL AND" };
            let projects = connection
                .prepare_cached(&format!(
                    "SELECT {PROJECT_COLUMNS} FROM project WHERE {of_platform} id > ?2 ORDER BY id LIMIT ?3"
                ))?
                .query_map(params![platform, request.start(), request.rows()], project_record)?
                .collect::<Result<Vec<_>, _>>()?;
            Ok(request.page(projects, |project| &project.id))
        })
        .await
    }

    /// Approves a project, or takes its approval back. False when there is no such project.
    ///
    /// # Errors
    /// When the store could not write.
    pub async fn set_project_approval(&self, id: &str, approved: bool) -> Result<bool, StoreError> {
        let id = id.to_owned();
        self.write(move |transaction| {
            let found = transaction.execute("UPDATE project SET approved = ?2 WHERE id = ?1", params![id, approved])?;
            Ok(found > 0)
        })
        .await
    }

    /// Approves a lesson's content, or takes its approval back. False when there is no such lesson.
    ///
    /// # Errors
    /// When the store could not write.
    pub async fn set_lesson_approval(&self, id: &str, approved: bool) -> Result<bool, StoreError> {
        let id = id.to_owned();
        self.write(move |transaction| {
            let found =
                transaction.execute("UPDATE lesson SET content_approved = ?2 WHERE id = ?1", params![id, approved])?;
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
    let lessons = connection
        .prepare_cached(
            "SELECT id, position, title, duration_ms, kind, content_approved, json_array_length(questions)
             FROM lesson WHERE project = ?1 ORDER BY position",
        )?
        .query_map([id], lesson_record)?
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Some((project, lessons)))
}

fn project_record(row: &Row<'_>) -> rusqlite::Result<ProjectRecord> {
    Ok(ProjectRecord {
        id: row.get(0)?,
        platform: row.get(1)?,
        name: row.get(2)?,
        total_hours: row.get(3)?,
        delivery: row.get(4)?,
        policy: row.get(5)?,
        approved: row.get(6)?,
        created_at: row.get(7)?,
    })
}

fn lesson_record(row: &Row<'_>) -> rusqlite::Result<LessonRecord> {
    Ok(LessonRecord {
        id: row.get(0)?,
        position: row.get(1)?,
        title: row.get(2)?,
        duration_ms: row.get(3)?,
        kind: row.get(4)?,
        content_approved: row.get(5)?,
        questions: row.get(6)?,
    })
}
