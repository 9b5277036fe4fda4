//! Make-up lessons (补课): which the office allowed to whom, before the project's final assessment.

use super::sql::{self, Connection, OptionalExtension as _, Row, params};
use serde::Serialize;
use utoipa::ToSchema;

use super::page::{Page, PageRequest};
use super::{Store, StoreError};

/// An approval to make a lesson up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Makeup)]
pub struct MakeupRecord {
    /// identifier
    pub id: String,
    /// the learner's enrolment in the project
    pub enrolment: String,
    /// the lesson that is made up
    pub lesson: String,
    /// the approval's reference
    pub reference: String,
    /// the office that gave it
    pub office: String,
    /// why the lesson was missed
    pub reason: String,
    /// identifier of the API key that entered it
    pub created_by: String,
    /// ms since the Unix epoch
    pub created_at: i64,
}

/// Whose a make-up is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MakeupPlace {
    /// the learner
    pub learner: String,
    /// the project
    pub project: String,
    /// the lesson
    pub lesson: String,
    /// the day on which the project's learners were assessed, YYYY-MM-DD
    pub assessed_on: Option<String>,
}

/// Why a make-up was not entered. Nothing was stored.
#[derive(Debug, thiserror::Error)]
pub enum MakeupError {
    /// The project has no such enrolment.
    #[error("the project has no such enrolment")]
    NoEnrolment,
    /// The project has no such lesson.
    #[error("the project has no such lesson")]
    NoLesson,
    /// The final assessment is over.
    #[error("the project's learners were assessed on {0}: a make-up comes before that")]
    Assessed(String),
    /// This approval is on record for this enrolment and lesson.
    #[error("this reference is on record for this enrolment and lesson already")]
    Repeated,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sql::Error> for MakeupError {
    fn from(error: sql::Error) -> Self {
        Self::Store(error.into())
    }
}

const COLUMNS: &str = "makeup.id, makeup.enrolment, makeup.lesson, makeup.reference, makeup.office, makeup.reason,
    makeup.created_by, makeup.created_at";

impl Store {
    /// Enters a make-up in a project that exists.
    ///
    /// # Errors
    /// See [`MakeupError`].
    pub async fn add_makeup(&self, project: &str, makeup: MakeupRecord) -> Result<MakeupRecord, MakeupError> {
        let project = project.to_owned();
        self.write(move |transaction| {
            let belongs = |table: &str, id: &str| {
                let sql = format!("SELECT 1 FROM {table} WHERE id = ?1 AND project = ?2");
                transaction.prepare_cached(&sql)?.query_row([id, &project], |_| Ok(())).optional()
            };
            let standing = "(SELECT * FROM enrolment WHERE withdrawn_at IS NULL) AS enrolment";
            belongs(standing, &makeup.enrolment)?.ok_or(MakeupError::NoEnrolment)?;
            belongs("lesson", &makeup.lesson)?.ok_or(MakeupError::NoLesson)?;
            let assessed_on: Option<String> = transaction
                .prepare_cached("SELECT assessed_on FROM project WHERE id = ?1")?
                .query_row([&project], |row| row.get(0))?;
            if let Some(assessed_on) = assessed_on {
                return Err(MakeupError::Assessed(assessed_on));
            }
            let added = transaction.execute(
                "INSERT INTO makeup (id, enrolment, lesson, reference, office, reason, created_by, created_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (enrolment, lesson, reference) DO NOTHING",
                params![
                    makeup.id,
                    makeup.enrolment,
                    makeup.lesson,
                    makeup.reference,
                    makeup.office,
                    makeup.reason,
                    makeup.created_by,
                    makeup.created_at
                ],
            )?;
            if added == 0 { Err(MakeupError::Repeated) } else { Ok(makeup.clone()) }
        })
        .await
    }

    /// The make-ups of a project.
    ///
    /// # Errors
    /// When the store could not read.
    pub async fn makeups(&self, project: &str, request: PageRequest) -> Result<Page<MakeupRecord>, StoreError> {
        let project = project.to_owned();
        self.read(move |connection| {
            let makeups = connection
                .prepare_cached(&format!(
                    "SELECT {COLUMNS} FROM makeup JOIN enrolment ON enrolment.id = makeup.enrolment
                     WHERE enrolment.project = ?1 AND makeup.id > ?2 ORDER BY makeup.id LIMIT ?3"
                ))?
                .query_map(params![project, request.start(), request.rows()], record)?
                .collect::<Result<Vec<_>, _>>()?;
            Ok(request.page(makeups, |makeup| &makeup.id))
        })
        .await
    }

    /// Whose a make-up is.
    ///
    /// # Errors
    /// When the store could not read.
    pub async fn makeup_place(&self, makeup: &str) -> Result<Option<MakeupPlace>, StoreError> {
        let makeup = makeup.to_owned();
        self.read(move |connection| {
            let place = connection
                .prepare_cached(
                    "SELECT enrolment.learner, enrolment.project, makeup.lesson, project.assessed_on
                     FROM makeup JOIN enrolment ON enrolment.id = makeup.enrolment
                     JOIN project ON project.id = enrolment.project WHERE makeup.id = ?1",
                )?
                .query_row([&makeup], |row| {
                    let (learner, project) = (row.get(0)?, row.get(1)?);
                    Ok(MakeupPlace { learner, project, lesson: row.get(2)?, assessed_on: row.get(3)? })
                })
                .optional()?;
            Ok(place)
        })
        .await
    }
}

/// The reference of a make-up of this learner, project and lesson; none when it is somebody else's.
pub(super) fn reference(
    connection: &Connection,
    makeup: &str,
    (learner, project, lesson): (&str, &str, &str),
) -> sql::Result<Option<String>> {
    connection
        .prepare_cached(
            "SELECT makeup.reference FROM makeup JOIN enrolment ON enrolment.id = makeup.enrolment
             WHERE makeup.id = ?1 AND enrolment.learner = ?2 AND enrolment.project = ?3 AND makeup.lesson = ?4",
        )?
        .query_row([makeup, learner, project, lesson], |row| row.get(0))
        .optional()
}

fn record(row: &Row<'_>) -> sql::Result<MakeupRecord> {
    Ok(MakeupRecord {
        id: row.get(0)?,
        enrolment: row.get(1)?,
        lesson: row.get(2)?,
        reference: row.get(3)?,
        office: row.get(4)?,
        reason: row.get(5)?,
        created_by: row.get(6)?,
        created_at: row.get(7)?,
    })
}
