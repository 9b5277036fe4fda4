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

use super::face_searches::ask_for_learner;
use super::page::{Page, PageRequest};
use super::platforms::{STATUS_COLUMNS, status_in_force};
use super::words::KeyRole;
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
    /// ms since the Unix epoch; after a withdrawal, of the newest enrolment
    pub created_at: i64,
    /// how often the learner was enrolled: 1, and one more for each time after a withdrawal
    pub version: i64,
    /// null: it stands
    pub withdrawn: Option<Withdrawal>,
}

/// How an enrolment came to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = EnrolmentWithdrawal)]
pub struct Withdrawal {
    /// ms since the Unix epoch
    pub at: i64,
    /// who withdrew it
    pub decided_as: KeyRole,
    /// why
    pub reason: String,
    /// the office's document
    pub document: Option<String>,
}

/// A withdrawal that is asked for.
#[derive(Clone, Debug)]
pub struct NewWithdrawal {
    /// identifier
    pub id: String,
    /// the enrolment
    pub enrolment: String,
    /// by which platform; none: by the office
    pub platform: Option<String>,
    /// what is to be on record
    pub withdrawal: Withdrawal,
    /// identifier of the API key that decides
    pub decided_by: String,
}

/// Why an enrolment was not withdrawn. Nothing was stored.
#[derive(Debug, thiserror::Error)]
pub enum WithdrawError {
    /// There is none, or it is another platform's.
    #[error("there is no such enrolment")]
    Unknown,
    /// It was withdrawn before.
    #[error("the enrolment is withdrawn already")]
    Withdrawn,
    /// The learner is learning.
    #[error("the learner's session {0} is open: close it first")]
    SessionOpen(String),
    /// What has been learned is on record: only the office may still withdraw it.
    #[error("the learner has had a session: from then on only the office withdraws an enrolment")]
    SessionsHeld,
    /// The project's learners were assessed already: only the office may still withdraw one.
    #[error("the project's learners were assessed on {0}: only the office withdraws an enrolment now")]
    Assessed(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sql::Error> for WithdrawError {
    fn from(error: sql::Error) -> Self {
        Self::Store(error.into())
    }
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
    /// Sessions were held on another figure of online time before invigil, ms.
    #[error("the learner was enrolled before, with prior_online_ms = {0}")]
    PriorOnline(i64),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sql::Error> for EnrolError {
    fn from(error: sql::Error) -> Self {
        Self::Store(error.into())
    }
}

const RECORD: &str = "SELECT enrolment.id, enrolment.project, enrolment.learner, enrolment.class,
    enrolment.prior_online_ms, enrolment.created_at, enrolment.version, withdrawal.created_at, withdrawal.decided_as,
    withdrawal.reason, withdrawal.document
    FROM enrolment LEFT JOIN withdrawal
        ON withdrawal.enrolment = enrolment.id AND withdrawal.version = enrolment.version";

/// Whether a session was ever opened under an enrolment.
const HAS_SESSIONS: &str = "EXISTS (SELECT 1 FROM session
    WHERE session.learner = enrolment.learner AND session.project = enrolment.project)";

impl Store {
    /// Enrols a learner in a project that exists, if the rules of its pack allow it; says whether that is new. Who is
    /// enrolled already stays so, with the record of the first time. Whose enrolment was withdrawn is enrolled again.
    ///
    /// # Errors
    /// See [`EnrolError`].
    pub async fn enrol(
        &self,
        enrolment: EnrolmentRecord,
        policy: Arc<Policy>,
    ) -> Result<(EnrolmentRecord, bool), EnrolError> {
        let enrolled = self.write(move |transaction| {
            let earlier = find(transaction, &enrolment.project, &enrolment.learner)?;
            let withdrawn = match earlier {
                Some(earlier) if earlier.withdrawn.is_none() => return Ok((earlier, false)),
                earlier => earlier,
            };
            let (application, assessed_on) = application(transaction, &enrolment)?;
            application.judge(&policy.enrolment).map_err(|refusal| {
                let clause = refusal.clause(&policy.enrolment);
                EnrolError::Rule { refusal, clause }
            })?;
            if let Some(assessed_on) = assessed_on {
                return Err(EnrolError::Assessed(assessed_on));
            }
            if let Some(withdrawn) = withdrawn {
                let again = enrol_again(transaction, withdrawn, enrolment.clone())?;
                ask_for_learner(transaction, &again.learner, enrolment.created_at)?;
                return Ok((again, true));
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
            ask_for_learner(transaction, &enrolment.learner, enrolment.created_at)?;
            Ok::<_, EnrolError>((enrolment.clone(), true))
        });
        let enrolled = enrolled.await?;
        self.face_searches.notify_one();
        Ok(enrolled)
    }

    /// Withdraws an enrolment. Its place in the class is free; whether the training still counts for the learner hangs
    /// on whether a session was held.
    ///
    /// # Errors
    /// See [`WithdrawError`].
    pub async fn withdraw(&self, new: NewWithdrawal) -> Result<EnrolmentRecord, WithdrawError> {
        self.write(move |transaction| {
            let enrolment = withdrawable(transaction, &new)?;
            let at = new.withdrawal.at;
            transaction.execute(
                "INSERT INTO withdrawal (id, enrolment, version, class, enrolled_at, reason, document, decided_as,
                     decided_by, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
                params![
                    new.id,
                    enrolment.id,
                    enrolment.version,
                    enrolment.class,
                    enrolment.created_at,
                    new.withdrawal.reason,
                    new.withdrawal.document,
                    new.withdrawal.decided_as,
                    new.decided_by,
                    at
                ],
            )?;
            transaction.execute("UPDATE enrolment SET withdrawn_at = ?2 WHERE id = ?1", params![enrolment.id, at])?;
            Ok(EnrolmentRecord { withdrawn: Some(new.withdrawal.clone()), ..enrolment })
        })
        .await
    }

    /// A learner's enrolment in a project, while it stands.
    ///
    /// # Errors
    /// When the store could not read.
    pub async fn enrolment(&self, project: &str, learner: &str) -> Result<Option<EnrolmentRecord>, StoreError> {
        let (project, learner) = (project.to_owned(), learner.to_owned());
        let found = self.read(move |connection| find(connection, &project, &learner)).await?;
        Ok(found.filter(|enrolment| enrolment.withdrawn.is_none()))
    }

    /// The enrolments of a project, also those that were withdrawn.
    ///
    /// # Errors
    /// When the store could not read.
    pub async fn enrolments(&self, project: &str, request: PageRequest) -> Result<Page<EnrolmentRecord>, StoreError> {
        let project = project.to_owned();
        self.read(move |connection| {
            let enrolments = connection
                .prepare_cached(&format!(
                    "{RECORD} WHERE enrolment.project = ?1 AND enrolment.id > ?2 ORDER BY enrolment.id LIMIT ?3"
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
        .prepare_cached("SELECT count(*) FROM enrolment WHERE project = ?1 AND class = ?2 AND withdrawn_at IS NULL")?
        .query_row([&enrolment.project, &enrolment.class], |row| row.get(0))?;
    let earlier = earlier_trainings(connection, &enrolment.learner, &enrolment.project)?;
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

/// The learner's subsidised trainings in other projects, at all platforms, in the order of their enrolments. One that was
/// withdrawn before anything was learned was none.
fn earlier_trainings(connection: &Connection, learner: &str, project: &str) -> Result<Vec<Training>, StoreError> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT project.occupation, project.level, enrolment.created_at, project.assessed_on
         FROM enrolment JOIN project ON project.id = enrolment.project
         WHERE enrolment.learner = ?1 AND enrolment.project <> ?2 AND project.subsidised = 1
             AND (enrolment.withdrawn_at IS NULL OR {HAS_SESSIONS})
         ORDER BY enrolment.created_at, enrolment.id"
    ))?;
    let mut rows = statement.query([learner, project])?;
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
        .prepare_cached(&format!("{RECORD} WHERE enrolment.project = ?1 AND enrolment.learner = ?2"))?
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
        version: row.get(6)?,
        withdrawn: row.get::<Option<i64>>(7)?.map(|at| withdrawal(row, at)).transpose()?,
    })
}

fn withdrawal(row: &Row<'_>, at: i64) -> sql::Result<Withdrawal> {
    Ok(Withdrawal { at, decided_as: row.get(8)?, reason: row.get(9)?, document: row.get(10)? })
}

/// Puts the enrolment in force again that was withdrawn. The time before invigil stays what sessions were judged by.
fn enrol_again(
    connection: &Connection,
    withdrawn: EnrolmentRecord,
    new: EnrolmentRecord,
) -> Result<EnrolmentRecord, EnrolError> {
    let held = has_sessions(connection, &withdrawn.id)?;
    if held && ![0, withdrawn.prior_online_ms].contains(&new.prior_online_ms) {
        return Err(EnrolError::PriorOnline(withdrawn.prior_online_ms));
    }
    let again = EnrolmentRecord {
        id: withdrawn.id,
        prior_online_ms: if held { withdrawn.prior_online_ms } else { new.prior_online_ms },
        version: withdrawn.version + 1,
        ..new
    };
    connection.execute(
        "UPDATE enrolment SET class = ?2, prior_online_ms = ?3, created_at = ?4, version = ?5, withdrawn_at = NULL
         WHERE id = ?1",
        params![again.id, again.class, again.prior_online_ms, again.created_at, again.version],
    )?;
    Ok(again)
}

/// The enrolment that is to be withdrawn, if it may be.
fn withdrawable(connection: &Connection, new: &NewWithdrawal) -> Result<EnrolmentRecord, WithdrawError> {
    let found = connection
        .prepare_cached(&format!("{RECORD} WHERE enrolment.id = ?1"))?
        .query_row([&new.enrolment], record)
        .optional()?;
    let enrolment = found.ok_or(WithdrawError::Unknown)?;
    let (platform, assessed_on): (String, Option<String>) = connection
        .prepare_cached("SELECT platform, assessed_on FROM project WHERE id = ?1")?
        .query_row([&enrolment.project], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if new.platform.as_ref().is_some_and(|own| *own != platform) {
        return Err(WithdrawError::Unknown);
    }
    if enrolment.withdrawn.is_some() {
        return Err(WithdrawError::Withdrawn);
    }
    let open: Option<String> = connection
        .prepare_cached("SELECT id FROM session WHERE learner = ?1 AND project = ?2 AND closed_at IS NULL")?
        .query_row([&enrolment.learner, &enrolment.project], |row| row.get(0))
        .optional()?;
    if let Some(session) = open {
        return Err(WithdrawError::SessionOpen(session));
    }
    if new.platform.is_none() {
        return Ok(enrolment);
    }
    if has_sessions(connection, &enrolment.id)? {
        return Err(WithdrawError::SessionsHeld);
    }
    assessed_on.map_or(Ok(enrolment), |assessed_on| Err(WithdrawError::Assessed(assessed_on)))
}

fn has_sessions(connection: &Connection, enrolment: &str) -> Result<bool, StoreError> {
    Ok(connection
        .prepare_cached(&format!("SELECT {HAS_SESSIONS} FROM enrolment WHERE id = ?1"))?
        .query_row([enrolment], |row| row.get(0))?)
}
