//! Enrolments: which learner takes part in which project.
//!
//! Here are those enrolment rules that the records can tell: the platform's status and the project's approval. The
//! session rules look at both again whenever a session is opened.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde::Serialize;
use utoipa::ToSchema;

use super::page::{Page, PageRequest};
use super::words::PlatformStatus;
use super::{Store, StoreError};

/// A learner's part in a project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Enrolment)]
pub struct EnrolmentRecord {
    /// identifier
    pub id: String,
    /// the project
    pub project: String,
    /// the learner's random identifier
    pub learner: String,
    /// online time credited in this project before it came to invigil, ms
    pub prior_online_ms: i64,
    /// ms since the Unix epoch
    pub created_at: i64,
}

/// Why a learner was not enrolled. Nothing was stored.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// The platform may not enrol anybody.
    #[error("the platform is {}", .0.as_str())]
    Platform(PlatformStatus),
    /// The project is not approved.
    #[error("the project is not approved")]
    ProjectUnapproved,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<rusqlite::Error> for EnrolError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}

const COLUMNS: &str = "id, project, learner, prior_online_ms, created_at";

impl Store {
    /// Enrols a learner in a project that exists; says whether that is new. Who is enrolled already stays so, with
    /// the record of the first time.
    ///
    /// # Errors
    /// When a rule forbids it, or the store could not write.
    pub async fn enrol(&self, enrolment: EnrolmentRecord) -> Result<(EnrolmentRecord, bool), EnrolError> {
        self.write(move |transaction| {
            if let Some(earlier) = find(transaction, &enrolment.project, &enrolment.learner)? {
                return Ok((earlier, false));
            }
            check_rules(transaction, &enrolment.project)?;
            transaction.execute(
                "INSERT INTO enrolment (id, project, learner, prior_online_ms, created_at)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
                params![
                    enrolment.id,
                    enrolment.project,
                    enrolment.learner,
                    enrolment.prior_online_ms,
                    enrolment.created_at
                ],
            )?;
            Ok((enrolment, true))
        })
        .await
    }

    /// A learner's enrolment in a project.
    ///
    /// # Errors
    /// When the store could not read.
    pub async fn enrolment(&self, project: &str, learner: &str) -> Result<Option<EnrolmentRecord>, StoreError> {
        let (project, learner) = (project.to_owned(), learner.to_owned());
        self.read(move |connection| find(connection, &project, &learner)).await
    }

    /// The enrolments of a project.
    ///
    /// # Errors
    /// When the store could not read.
    pub async fn enrolments(&self, project: &str, request: PageRequest) -> Result<Page<EnrolmentRecord>, StoreError> {
        let project = project.to_owned();
        self.read(move |connection| {
            let enrolments = connection
                .prepare_cached(&format!(
                    "SELECT {COLUMNS} FROM enrolment WHERE project = ?1 AND id > ?2 ORDER BY id LIMIT ?3"
                ))?
                .query_map(params![project, request.start(), request.rows()], record)?
                .collect::<Result<Vec<_>, _>>()?;
            Ok(request.page(enrolments, |enrolment| &enrolment.id))
        })
        .await
    }
}

fn check_rules(connection: &Connection, project: &str) -> Result<(), EnrolError> {
    let (status, approved): (PlatformStatus, bool) = connection.query_row(
        "SELECT platform.status, project.approved FROM project JOIN platform ON platform.id = project.platform
         WHERE project.id = ?1",
        [project],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    if status != PlatformStatus::Active {
        return Err(EnrolError::Platform(status));
    }
    if approved { Ok(()) } else { Err(EnrolError::ProjectUnapproved) }
}

fn find(connection: &Connection, project: &str, learner: &str) -> Result<Option<EnrolmentRecord>, StoreError> {
    let enrolment = connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM enrolment WHERE project = ?1 AND learner = ?2"))?
        .query_row([project, learner], record)
        .optional()?;
    Ok(enrolment)
}

fn record(row: &Row<'_>) -> rusqlite::Result<EnrolmentRecord> {
    Ok(EnrolmentRecord {
        id: row.get(0)?,
        project: row.get(1)?,
        learner: row.get(2)?,
        prior_online_ms: row.get(3)?,
        created_at: row.get(4)?,
    })
}
