//! Enrolments: which learner takes part in which project.
//!
//! The facts that the enrolment rules ask for are gathered here, in the transaction that stores the enrolment; the
//! rules themselves are in [`crate::enrolment`]. The session rules look at platform and project again whenever a
//! session is opened.

use std::sync::Arc;

use super::sql::{self, Connection, OptionalExtension as _, Row, params};
use jiff::civil::Date;
use serde::Serialize;
use utoipa::ToSchema;

use super::page::{Page, PageRequest};
use super::platforms::{STATUS_COLUMNS, status_in_force};
use super::{Store, StoreError};
use crate::enrolment::{Application, Refusal, Training};
use crate::log;
use crate::policy::{Policy, date_in_china};

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
    /// the class (班) within the project; empty: its only one
    pub class: String,
    /// online time credited in this project before it came to invigil, ms
    pub prior_online_ms: i64,
    /// ms since the Unix epoch
    pub created_at: i64,
}

/// Why a learner was not enrolled. Nothing was stored.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// A rule forbids it.
    #[error("{}", .refusal.detail)]
    Rule {
        /// what it forbids
        refusal: Refusal,
        /// the clause that the rule rests on
        clause: String,
    },
    /// The project's learners were assessed already: it is over.
    #[error("the project's learners were assessed on {0}: nobody is enrolled any more")]
    Assessed(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sql::Error> for EnrolError {
    fn from(error: sql::Error) -> Self {
        Self::Store(error.into())
    }
}

const COLUMNS: &str = "id, project, learner, class, prior_online_ms, created_at";

impl Store {
    /// Enrols a learner in a project that exists, if the rules of its pack allow it; says whether that is new. Who is
    /// enrolled already stays so, with the record of the first time.
    ///
    /// # Errors
    /// When a rule forbids it, or the store could not write.
    pub async fn enrol(
        &self,
        enrolment: EnrolmentRecord,
        policy: Arc<Policy>,
    ) -> Result<(EnrolmentRecord, bool), EnrolError> {
        self.write(move |transaction| {
            if let Some(earlier) = find(transaction, &enrolment.project, &enrolment.learner)? {
                return Ok((earlier, false));
            }
            let (application, assessed_on) = application(transaction, &enrolment)?;
            application.judge(&policy.enrolment).map_err(|refusal| {
                let clause = refusal.clause(&policy.enrolment);
                EnrolError::Rule { refusal, clause }
            })?;
            if let Some(assessed_on) = assessed_on {
                return Err(EnrolError::Assessed(assessed_on));
            }
            transaction.execute(
                "INSERT INTO enrolment (id, project, learner, class, prior_online_ms, created_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![
                    enrolment.id,
                    enrolment.project,
                    enrolment.learner,
                    enrolment.class,
                    enrolment.prior_online_ms,
                    enrolment.created_at
                ],
            )?;
            Ok((enrolment.clone(), true))
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

/// All that the rules ask for, and the day on which the project's learners were assessed, if they were.
fn application(
    connection: &Connection,
    enrolment: &EnrolmentRecord,
) -> Result<(Application, Option<String>), StoreError> {
    let now_ms = enrolment.created_at;
    let class_learners = connection
        .prepare_cached("SELECT count(*) FROM enrolment WHERE project = ?1 AND class = ?2")?
        .query_row([&enrolment.project, &enrolment.class], |row| row.get(0))?;
    let earlier = earlier_trainings(connection, &enrolment.learner)?;
    let found = connection
        .prepare_cached(&format!(
            "SELECT {STATUS_COLUMNS}, project.approved, project.subsidised, project.occupation, project.level,
                    project.class_size, project.assessed_on
             FROM project JOIN platform ON platform.id = project.platform WHERE project.id = ?1"
        ))?
        .query_row([&enrolment.project], |row| {
            let application = Application {
                today: date_in_china(now_ms),
                platform_status: log::PlatformStatus::from(status_in_force(row, 0, now_ms)?),
                project_approved: row.get(3)?,
                subsidised: row.get(4)?,
                occupation: row.get(5)?,
                level: row.get(6)?,
                class_size: row.get(7)?,
                class_learners,
                earlier,
            };
            Ok((application, row.get(8)?))
        })?;
    Ok(found)
}

/// The learner's subsidised trainings at all platforms, in the order of their enrolments.
fn earlier_trainings(connection: &Connection, learner: &str) -> Result<Vec<Training>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT project.occupation, project.level, enrolment.created_at, project.assessed_on
         FROM enrolment JOIN project ON project.id = enrolment.project
         WHERE enrolment.learner = ?1 AND project.subsidised = 1 ORDER BY enrolment.id",
    )?;
    let mut rows = statement.query([learner])?;
    let mut trainings = Vec::new();
    while let Some(row) = rows.next()? {
        let assessed_on: Option<String> = row.get(3)?;
        trainings.push(Training {
            occupation: row.get(0)?,
            level: row.get(1)?,
            enrolled_on: date_in_china(row.get(2)?),
            assessed_on: assessed_on.map(|day| stored_date(&day)).transpose()?,
        });
    }
    Ok(trainings)
}

fn stored_date(day: &str) -> Result<Date, StoreError> {
    day.parse().map_err(|error: jiff::Error| StoreError::Corrupt { what: "date", why: error.to_string() })
}

fn find(connection: &Connection, project: &str, learner: &str) -> Result<Option<EnrolmentRecord>, StoreError> {
    let enrolment = connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM enrolment WHERE project = ?1 AND learner = ?2"))?
        .query_row([project, learner], record)
        .optional()?;
    Ok(enrolment)
}

fn record(row: &Row<'_>) -> sql::Result<EnrolmentRecord> {
    Ok(EnrolmentRecord {
        id: row.get(0)?,
        project: row.get(1)?,
        learner: row.get(2)?,
        class: row.get(3)?,
        prior_online_ms: row.get(4)?,
        created_at: row.get(5)?,
    })
}
