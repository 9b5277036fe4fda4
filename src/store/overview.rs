//! What is shown of one learner over all their sessions, and of one platform over a time.

use super::sql::{self, OptionalExtension as _, ToSql};

use super::reach::Reach;
use super::{Store, StoreError, findings};

/// Sessions of a learner that are shown.
const SESSIONS_LIMIT: u32 = 50;
/// Verdicts that the figures of a platform are made of, at most.
pub const VERDICTS_LIMIT: u32 = 50_000;

/// An enrolment with what was learned under it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnrolmentOverview {
    /// identifier and name
    pub project: (String, String),
    /// identifier and name
    pub platform: (String, String),
    /// identifier of the policy pack
    pub policy: String,
    /// class hours of the whole project
    pub total_hours: i64,
    /// blended | online_only
    pub delivery: String,
    /// what was credited before invigil, ms
    pub prior_online_ms: i64,
    /// what sessions have credited, those under review too, ms
    pub credited_ms: i64,
    /// lessons of which enough was watched
    pub lessons_completed: i64,
    /// lessons of the project
    pub lessons: i64,
    /// when it was withdrawn, ms since the Unix epoch
    pub withdrawn_at: Option<i64>,
}

/// A session of a learner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionOverview {
    /// identifier
    pub id: String,
    /// identifier and title
    pub lesson: (String, String),
    /// the project
    pub project: String,
    /// ms since the Unix epoch
    pub opened_at: i64,
    /// ms since the Unix epoch
    pub closed_at: Option<i64>,
    /// of the newest verdict
    pub status: Option<String>,
    /// hundredths of class hours
    pub credited_hundredths: Option<i64>,
}

/// All of it.
#[derive(Clone, Debug, Default)]
pub struct LearnerOverview {
    /// data key and person, sealed; none: there is no such learner, or they are forgotten
    pub sealed: Option<(Vec<u8>, Option<Vec<u8>>)>,
    /// those that exist for whoever asks
    pub enrolments: Vec<EnrolmentOverview>,
    /// the newest of those that exist for whoever asks
    pub sessions: Vec<SessionOverview>,
    /// warnings that name the learner
    pub findings: Vec<String>,
    /// photos of captures that are there, and when the oldest was taken (ms since the Unix epoch)
    pub photos: (i64, Option<i64>),
}

/// A verdict of a platform's session.
#[derive(Clone, Debug)]
pub struct PlatformVerdict {
    /// when the session was opened, ms since the Unix epoch
    pub opened_at: i64,
    /// of the newest version
    pub status: String,
    /// byte for byte
    pub body: String,
    /// how many prompts the learner was asked and passed; none: it was not counted
    pub prompts: Option<(i64, i64)>,
}

impl Store {
    /// What is shown of a learner.
    ///
    /// # Errors
    /// When the store could not read.
    pub async fn learner_overview(&self, learner: &str, reach: Reach) -> Result<LearnerOverview, StoreError> {
        let learner = learner.to_owned();
        self.read(move |connection| {
            let sealed = connection
                .prepare_cached("SELECT data_key, sealed_person FROM learner WHERE id = ?1 AND data_key IS NOT NULL")?
                .query_row([&learner], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            let end = reach.region_end();
            let mut values: Vec<&dyn ToSql> = vec![&learner];
            let conditions = reach.conditions("project", &end, &mut values);
            let counted =
                "session.learner = ?1 AND session.project = project.id AND verdict.status IN ('valid', 'review')
                AND verdict.version = (SELECT max(version) FROM verdict AS later WHERE later.session = session.key)";
            let enrolments = connection
                .prepare_cached(&format!(
                    "SELECT project.id, project.name, platform.id, platform.name, project.policy, project.total_hours,
                         project.delivery, enrolment.prior_online_ms,
                         (SELECT CAST(coalesce(sum(verdict.credited_ms), 0) AS BIGINT)
                          FROM session JOIN verdict ON verdict.session = session.key WHERE {counted}),
                         (SELECT count(DISTINCT session.lesson)
                          FROM session JOIN verdict ON verdict.session = session.key
                          WHERE {counted} AND verdict.completed = 1),
                         (SELECT count(*) FROM lesson WHERE lesson.project = project.id), enrolment.withdrawn_at
                     FROM enrolment JOIN project ON project.id = enrolment.project
                     JOIN platform ON platform.id = project.platform
                     WHERE enrolment.learner = ?1{conditions} ORDER BY enrolment.id"
                ))?
                .query_map(values.as_slice(), |row| {
                    Ok(EnrolmentOverview {
                        project: (row.get(0)?, row.get(1)?),
                        platform: (row.get(2)?, row.get(3)?),
                        policy: row.get(4)?,
                        total_hours: row.get(5)?,
                        delivery: row.get(6)?,
                        prior_online_ms: row.get(7)?,
                        credited_ms: row.get(8)?,
                        lessons_completed: row.get(9)?,
                        lessons: row.get(10)?,
                        withdrawn_at: row.get(11)?,
                    })
                })?
                .collect::<sql::Result<Vec<_>>>()?;
            let mut values: Vec<&dyn ToSql> = vec![&learner, &SESSIONS_LIMIT];
            let conditions = reach.conditions("project", &end, &mut values);
            let sessions = connection
                .prepare_cached(&format!(
                    "SELECT session.id, lesson.id, lesson.title, project.id, session.opened_at, session.closed_at,
                         verdict.status, verdict.credited_hundredths
                     FROM session JOIN lesson ON lesson.id = session.lesson JOIN project ON project.id = session.project
                     LEFT JOIN verdict ON verdict.session = session.key AND verdict.version =
                         (SELECT max(version) FROM verdict AS later WHERE later.session = session.key)
                     WHERE session.learner = ?1{conditions} ORDER BY session.opened_at DESC LIMIT ?2"
                ))?
                .query_map(values.as_slice(), |row| {
                    Ok(SessionOverview {
                        id: row.get(0)?,
                        lesson: (row.get(1)?, row.get(2)?),
                        project: row.get(3)?,
                        opened_at: row.get(4)?,
                        closed_at: row.get(5)?,
                        status: row.get(6)?,
                        credited_hundredths: row.get(7)?,
                    })
                })?
                .collect::<sql::Result<Vec<_>>>()?;
            let findings = findings::naming(connection, "learners", &learner, &reach)?;
            let mut values: Vec<&dyn ToSql> = vec![&learner];
            let conditions = reach.conditions("project", &end, &mut values);
            let photos = connection
                .prepare_cached(&format!(
                    "SELECT count(*), min(photo.created_at) FROM photo JOIN session ON session.key = photo.session
                     JOIN project ON project.id = session.project
                     WHERE session.learner = ?1 AND photo.deleted_at IS NULL{conditions}"
                ))?
                .query_row(values.as_slice(), |row| Ok((row.get(0)?, row.get(1)?)))?;
            Ok(LearnerOverview { sealed, enrolments, sessions, findings, photos })
        })
        .await
    }

    /// The newest verdicts of a platform's sessions that were opened within a time, of those that exist for whoever asks.
    ///
    /// # Errors
    /// When the store could not read.
    pub async fn platform_verdicts(
        &self,
        platform: &str,
        reach: Reach,
        (from_ms, before_ms): (i64, i64),
    ) -> Result<Vec<PlatformVerdict>, StoreError> {
        let platform = platform.to_owned();
        self.read(move |connection| {
            let end = reach.region_end();
            let mut values: Vec<&dyn ToSql> = vec![&platform, &from_ms, &before_ms, &VERDICTS_LIMIT];
            let conditions = reach.conditions("project", &end, &mut values);
            let verdicts = connection
                .prepare_cached(&format!(
                    "SELECT session.opened_at, verdict.status, verdict.body, session.prompts_asked,
                         session.prompts_passed
                     FROM session JOIN project ON project.id = session.project
                     JOIN verdict ON verdict.session = session.key AND verdict.version =
                         (SELECT max(version) FROM verdict AS later WHERE later.session = session.key)
                     WHERE session.platform = ?1 AND session.opened_at >= ?2 AND session.opened_at < ?3{conditions}
                     ORDER BY session.opened_at LIMIT ?4"
                ))?
                .query_map(values.as_slice(), |row| {
                    let (asked, passed): (Option<i64>, Option<i64>) = (row.get(3)?, row.get(4)?);
                    let prompts = asked.zip(passed);
                    Ok(PlatformVerdict { opened_at: row.get(0)?, status: row.get(1)?, body: row.get(2)?, prompts })
                })?
                .collect::<sql::Result<Vec<_>>>()?;
            Ok(verdicts)
        })
        .await
    }
}
