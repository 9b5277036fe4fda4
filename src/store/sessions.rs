//! Sessions: opened with their facts, owned by one owner at a time, closed together with verdict and outbox row.

use std::sync::Arc;

use super::sql::{self, Connection, OptionalExtension as _, params};
use serde::Serialize;

use super::journal::{AppendError, Batch, SessionKey};
use super::makeups;
use super::outbox::{self, NewDelivery};
use super::platforms::{STATUS_COLUMNS, status_in_force};
use super::{Store, StoreError, checksum, policy_texts, review};
use crate::log::{self, Carried, Delivery, EventType, Facts, LessonKind, PlatformStatus, SessionOpened};
use crate::policy::Policy;
use crate::rules::{Rule, online_quota};
use crate::verdict::History;

/// The policy pack by which a session is judged from its opening to its end, and ever after.
#[derive(Clone, Debug)]
pub struct PackInForce {
    /// what the log calls it
    pub label: String,
    /// the whole pack: kept, so that a later configuration without it strands no session and no verdict
    pub text: String,
    /// the same, read
    pub policy: Arc<Policy>,
}

impl PackInForce {
    /// A pack that is in force.
    pub fn of(policy: &Arc<Policy>) -> Self {
        Self { label: policy.label(), text: policy.text.clone(), policy: policy.clone() }
    }
}

/// A session to be opened.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// its identifier
    pub id: String,
    /// the platform that asks
    pub platform: String,
    /// the learner
    pub learner: String,
    /// the project
    pub project: String,
    /// the lesson
    pub lesson: String,
    /// the pack that is in force
    pub policy: PackInForce,
    /// the make-up approval under which it is held
    pub makeup: Option<String>,
    /// the schedule's seed, sealed
    pub sealed_seed: Vec<u8>,
    /// sessions that one learner may have open
    pub sessions_per_learner: usize,
    /// server time, ms since the epoch
    pub now_ms: i64,
}

/// A session as it was opened.
#[derive(Clone, Debug)]
pub struct Opened {
    /// its short key
    pub key: SessionKey,
    /// what its first log line says
    pub opened: SessionOpened,
}

/// The data of the first log line: what the fold reads, and what is for the record only.
#[derive(Serialize)]
struct FirstLine<'a> {
    #[serde(flatten)]
    opened: &'a SessionOpened,
    #[serde(skip_serializing_if = "Option::is_none")]
    makeup: Option<MakeupMark<'a>>,
}

/// The make-up approval under which a session is held.
#[derive(Serialize)]
struct MakeupMark<'a> {
    id: &'a str,
    reference: &'a str,
}

/// Why a session was not opened; nothing is stored then.
#[derive(Clone, Debug, thiserror::Error)]
pub enum OpenError {
    /// Platform, project and lesson do not belong together.
    #[error("this platform has no such lesson in this project")]
    UnknownLesson,
    /// The learner is not enrolled in the project.
    #[error("the learner is not enrolled in this project")]
    NotEnrolled,
    /// The learner has no enrolled photo.
    #[error("the learner has no enrolment photo")]
    NoPhoto,
    /// The make-up is not one of this learner, project and lesson.
    #[error("this learner has no such make-up of this lesson")]
    NotTheMakeup,
    /// Nothing that is watched now could still be credited.
    #[error("the online hours of this project are used up")]
    QuotaSpent {
        /// the clause of the quota
        clause: String,
    },
    /// The learner has as many sessions open as one may.
    #[error("the learner has {0} sessions open already")]
    TooManyOpen(usize),
    /// The learner's session in this project is still open: it must be closed first.
    #[error("session {0} of this learner and project is still open")]
    StillOpen(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sql::Error> for OpenError {
    fn from(error: sql::Error) -> Self {
        Self::Store(error.into())
    }
}

/// What a session's owner needs besides its log.
#[derive(Clone, Debug)]
pub struct SessionToOwn {
    /// its identifier
    pub id: String,
    /// the schedule's seed, sealed
    pub sealed_seed: Vec<u8>,
    /// the lesson's own questions for prompts, JSON
    pub questions: String,
}

/// The end of a session: all of it in one transaction.
#[derive(Clone, Debug)]
pub struct Closing {
    /// the last lines, `session.closed` among them
    pub batch: Batch,
    /// SHA-256 hex of the whole log
    pub log_digest: String,
    /// the verdict's status
    pub status: &'static str,
    /// the verdict as JSON
    pub verdict: String,
    /// what the platform is told
    pub delivery: NewDelivery,
    /// what a person must decide; none: nobody need look
    pub review: Option<review::Entry>,
    /// prompts that the learner was shown
    pub prompts_asked: i64,
    /// of these, how many they passed
    pub prompts_passed: i64,
    /// server time, ms since the epoch
    pub now_ms: i64,
}

impl Store {
    /// Opens a session: its facts, its record, its pack and its first log line in one transaction.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open_session(&self, new: NewSession) -> Result<Opened, OpenError> {
        let log = self.log();
        let journal = log.clone();
        let opened = self.write(move |transaction| -> Result<_, OpenError> {
            let opened = opening(transaction, &new)?;
            let reference = makeup_reference(transaction, &new)?;
            policy_texts::keep(transaction, &new.policy)?;
            let key = insert(transaction, &new)?;
            let makeup = new.makeup.as_deref().zip(reference.as_deref());
            let makeup = makeup.map(|(id, reference)| MakeupMark { id, reference });
            let first = FirstLine { opened: &opened, makeup };
            let mut line = log::write::server_line(1, new.now_ms, EventType::SessionOpened, &first);
            line.push('\n');
            let batch = Batch { session: key, epoch: 0, first_n: 1, count: 1, lines: line.into_bytes() };
            let begun = log.begin(transaction, &batch).map_err(|error| match error {
                AppendError::Store(error) => OpenError::Store(error),
                other => OpenError::Store(StoreError::Corrupt { what: "new session", why: other.to_string() }),
            })?;
            Ok((Opened { key, opened }, begun))
        });
        let (opened, begun) = opened.await?;
        journal.opened(begun);
        Ok(opened)
    }

    /// The session that this learner has open in this project.
    ///
    /// # Errors
    /// When the store cannot read.
    pub async fn open_session_of(
        &self,
        learner: &str,
        project: &str,
    ) -> Result<Option<(SessionKey, String)>, StoreError> {
        let (learner, project) = (learner.to_owned(), project.to_owned());
        self.read(move |connection| {
            Ok(connection
                .prepare_cached(
                    "SELECT key, id FROM session WHERE learner = ?1 AND project = ?2 AND closed_at IS NULL",
                )?
                .query_row([&learner, &project], |row| Ok((SessionKey(row.get(0)?), row.get(1)?)))
                .optional()?)
        })
        .await
    }

    /// The short key of a session.
    ///
    /// # Errors
    /// When the store cannot read.
    pub async fn session_key(&self, session: &str) -> Result<Option<SessionKey>, StoreError> {
        let session = session.to_owned();
        self.read(move |connection| {
            Ok(connection
                .prepare_cached("SELECT key FROM session WHERE id = ?1")?
                .query_row([&session], |row| row.get(0).map(SessionKey))
                .optional()?)
        })
        .await
    }

    /// All sessions that are open.
    ///
    /// # Errors
    /// When the store cannot read.
    pub async fn open_sessions(&self) -> Result<Vec<(SessionKey, String)>, StoreError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT key, id FROM session WHERE closed_at IS NULL")?;
            let rows = statement.query_map((), |row| Ok((SessionKey(row.get(0)?), row.get(1)?)))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// What the owner of a session needs besides its log.
    ///
    /// # Errors
    /// When the store cannot read, or there is no such session.
    pub async fn session_to_own(&self, session: SessionKey) -> Result<SessionToOwn, StoreError> {
        self.read(move |connection| {
            let record =
                |row: &sql::Row| Ok(SessionToOwn { id: row.get(0)?, sealed_seed: row.get(1)?, questions: row.get(2)? });
            Ok(connection
                .prepare_cached(
                    "SELECT session.id, seed, lesson.questions FROM session JOIN lesson ON lesson.id = session.lesson
                     WHERE session.key = ?1",
                )?
                .query_row([session.0], record)?)
        })
        .await
    }

    /// Binds the client's public key to the session, if none is bound yet. Whether this key is the bound one.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn bind_client_key(&self, session: SessionKey, key: Vec<u8>) -> Result<bool, StoreError> {
        let bound = self.read(move |connection| client_key(connection, session)).await?;
        if let Some(bound) = bound {
            return Ok(bound == key);
        }
        self.write(move |transaction| {
            transaction
                .prepare_cached("UPDATE session SET client_key = ?2 WHERE key = ?1 AND client_key IS NULL")?
                .execute(params![session.0, key])?;
            Ok(client_key(transaction, session)?.as_ref() == Some(&key))
        })
        .await
    }

    /// Closes a session: last lines, segment, verdict and outbox row in one transaction.
    ///
    /// # Errors
    /// As for [`Store::append`]; then nothing of it has happened.
    pub async fn close_session(&self, closing: Closing) -> Result<(), AppendError> {
        let (log, session) = (self.log(), closing.batch.session);
        let end = log.clone();
        let segment = self.compress_log(&closing.batch).await?;
        let result = self
            .write(move |transaction| {
                end.seal(transaction, &closing.batch, &closing.log_digest, &segment)?;
                record_verdict(transaction, &closing)?;
                outbox::enqueue(transaction, &closing.delivery)?;
                Ok::<_, AppendError>(())
            })
            .await;
        // A transaction that failed has changed nothing of what is known.
        if matches!(result, Ok(()) | Err(AppendError::Store(StoreError::Stopped | StoreError::Unknown(_)))) {
            log.forget(session);
        }
        result
    }

    /// Notes which encrypted file holds the photo of a capture.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn keep_photo(
        &self,
        session: SessionKey,
        capture: &str,
        digest: &str,
        evidence: &str,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        let values = (capture.to_owned(), digest.to_owned(), evidence.to_owned());
        self.write(move |transaction| {
            transaction
                .prepare_cached(
                    "INSERT INTO photo (session, capture, digest, evidence, created_at) VALUES (?1, ?2, ?3, ?4, ?5)
                     ON CONFLICT DO NOTHING",
                )?
                .execute(params![session.0, values.0, values.1, values.2, now_ms])?;
            Ok(())
        })
        .await
    }

    /// Whether the photo that is kept for a capture has the bytes of an earlier one of the same learner: of another capture, in
    /// this session or another, or of an enrolment. Also when that one was deleted since.
    ///
    /// # Errors
    /// When the store cannot read.
    pub async fn is_repeated_photo(&self, session: SessionKey, capture: &str) -> Result<bool, StoreError> {
        let capture = capture.to_owned();
        self.read(move |connection| {
            let earlier = connection
                .prepare_cached(
                    "SELECT 1 FROM photo AS this JOIN session ON session.key = this.session
                     WHERE this.session = ?1 AND this.capture = ?2 AND (
                         EXISTS (SELECT 1 FROM session AS held JOIN photo AS that ON that.session = held.key
                                 WHERE held.learner = session.learner AND that.digest = this.digest
                                     AND (that.created_at, that.session, that.capture)
                                         < (this.created_at, this.session, this.capture))
                         OR EXISTS (SELECT 1 FROM enrolled_photo AS enrolled
                                    WHERE enrolled.learner = session.learner AND enrolled.digest = this.digest))",
                )?
                .query_row(params![session.0, capture], |_| Ok(()))
                .optional()?;
            Ok(earlier.is_some())
        })
        .await
    }

    /// Digest and encrypted file of a capture's photo, if it was kept and is there.
    ///
    /// # Errors
    /// When the store cannot read.
    pub async fn kept_photo(&self, session: SessionKey, capture: &str) -> Result<Option<(String, String)>, StoreError> {
        let capture = capture.to_owned();
        self.read(move |connection| {
            Ok(connection
                .prepare_cached(
                    "SELECT digest, evidence FROM photo WHERE session = ?1 AND capture = ?2 AND deleted_at IS NULL",
                )?
                .query_row(params![session.0, capture], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?)
        })
        .await
    }
}

fn client_key(connection: &Connection, session: SessionKey) -> Result<Option<Vec<u8>>, StoreError> {
    Ok(connection
        .prepare_cached("SELECT client_key FROM session WHERE key = ?1")?
        .query_row([session.0], |row| row.get(0))
        .optional()?
        .flatten())
}

fn insert(transaction: &Connection, new: &NewSession) -> sql::Result<SessionKey> {
    transaction
        .prepare_cached(
            "INSERT INTO session (id, platform, learner, project, lesson, makeup, seed, opened_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) RETURNING key",
        )?
        .query_row(
            params![
                new.id,
                new.platform,
                new.learner,
                new.project,
                new.lesson,
                new.makeup,
                new.sealed_seed,
                new.now_ms
            ],
            |row| row.get(0).map(SessionKey),
        )
}

fn record_verdict(transaction: &Connection, closing: &Closing) -> sql::Result<()> {
    let session = closing.batch.session.0;
    let checksum = checksum::of_verdict(session, 1, &closing.verdict);
    transaction
        .prepare_cached(
            "INSERT INTO verdict (session, version, status, body, created_at, checksum)
             VALUES (?1, 1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![session, closing.status, closing.verdict, closing.now_ms, checksum])?;
    transaction
        .prepare_cached("UPDATE session SET closed_at = ?2, prompts_asked = ?3, prompts_passed = ?4 WHERE key = ?1")?
        .execute(params![session, closing.now_ms, closing.prompts_asked, closing.prompts_passed])?;
    closing.review.as_ref().map_or(Ok(()), |entry| review::enter(transaction, session, entry))
}

fn makeup_reference(connection: &Connection, new: &NewSession) -> Result<Option<String>, OpenError> {
    let Some(makeup) = &new.makeup else { return Ok(None) };
    let of = (new.learner.as_str(), new.project.as_str(), new.lesson.as_str());
    makeups::reference(connection, makeup, of)?.map(Some).ok_or(OpenError::NotTheMakeup)
}

/// What the first log line will say.
fn opening(connection: &Connection, new: &NewSession) -> Result<SessionOpened, OpenError> {
    refuse_too_many(connection, new)?;
    let lesson = lesson_of(connection, new)?.ok_or(OpenError::UnknownLesson)?;
    let prior_online_ms = prior_online_ms(connection, new)?.ok_or(OpenError::NotEnrolled)?;
    if !has_photo(connection, &new.learner)? {
        return Err(OpenError::NoPhoto);
    }
    let history = history_of(connection, new, prior_online_ms)?;
    let prior = prior_lessons(connection, new, lesson.position)?;
    let facts = history.facts(&new.lesson, &prior, lesson.facts);
    let policy = &new.policy.policy;
    if online_quota::left_ms(0, &facts, &policy.parameters) == Some(0) {
        let clause = policy.clause(Rule::OnlineQuota);
        return Err(OpenError::QuotaSpent { clause: format!("{}：{}", clause.source, clause.text) });
    }
    Ok(SessionOpened {
        session: new.id.clone(),
        platform: new.platform.clone(),
        learner: new.learner.clone(),
        project: new.project.clone(),
        lesson: new.lesson.clone(),
        policy: new.policy.label.clone(),
        duration_ms: lesson.duration_ms,
        facts,
    })
}

fn refuse_too_many(connection: &Connection, new: &NewSession) -> Result<(), OpenError> {
    let mut statement =
        connection.prepare_cached("SELECT id, project FROM session WHERE learner = ?1 AND closed_at IS NULL")?;
    let open: Vec<(String, String)> =
        statement.query_map([&new.learner], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
    if let Some((session, _)) = open.iter().find(|(_, project)| *project == new.project) {
        return Err(OpenError::StillOpen(session.clone()));
    }
    if open.len() >= new.sessions_per_learner {
        return Err(OpenError::TooManyOpen(open.len()));
    }
    Ok(())
}

struct LessonRow {
    position: i64,
    duration_ms: i64,
    /// those facts that do not come from earlier sessions
    facts: Facts,
}

fn lesson_of(connection: &Connection, new: &NewSession) -> Result<Option<LessonRow>, StoreError> {
    let row = |row: &sql::Row| {
        let word: (PlatformStatus, String, String) =
            (status_in_force(row, 0, new.now_ms)?.into(), row.get(3)?, row.get(4)?);
        let rest = (row.get(5)?, row.get(6)?, row.get(7)?);
        Ok(((row.get(8)?, row.get(9)?), word, rest))
    };
    let found = connection
        .prepare_cached(&format!(
            "SELECT {STATUS_COLUMNS}, lesson.kind, project.delivery, project.approved, lesson.content_approved,
                    project.total_hours, lesson.position, lesson.duration_ms
             FROM lesson JOIN project ON project.id = lesson.project JOIN platform ON platform.id = project.platform
             WHERE lesson.id = ?1 AND project.id = ?2 AND platform.id = ?3"
        ))?
        .query_row([&new.lesson, &new.project, &new.platform], row)
        .optional()?;
    let Some(((position, duration_ms), (platform_status, kind, delivery), rest)) = found else { return Ok(None) };
    let (project_approved, content_approved, total_hours) = rest;
    let corrupt = |why: String| StoreError::Corrupt { what: "lesson", why };
    let facts = Facts {
        platform_status,
        project_approved,
        content_approved,
        prior_lessons_complete: false,
        lesson_kind: LessonKind::from_word(&kind).ok_or_else(|| corrupt(kind))?,
        delivery: Delivery::from_word(&delivery).ok_or_else(|| corrupt(delivery))?,
        total_hours,
        online_used_ms: 0,
        covered_before: Vec::new(),
        furthest_before_ms: None,
        carried: Carried::default(),
    };
    Ok(Some(LessonRow { position, duration_ms, facts }))
}

fn prior_online_ms(connection: &Connection, new: &NewSession) -> sql::Result<Option<i64>> {
    connection
        .prepare_cached(
            "SELECT prior_online_ms FROM enrolment WHERE project = ?1 AND learner = ?2 AND withdrawn_at IS NULL",
        )?
        .query_row([&new.project, &new.learner], |row| row.get(0))
        .optional()
}

fn has_photo(connection: &Connection, learner: &str) -> sql::Result<bool> {
    connection
        .prepare_cached("SELECT photo_version > 0 AND data_key IS NOT NULL FROM learner WHERE id = ?1")?
        .query_row([learner], |row| row.get(0))
        .optional()
        .map(|found| found.unwrap_or(false))
}

fn prior_lessons(connection: &Connection, new: &NewSession, position: i64) -> sql::Result<Vec<String>> {
    connection
        .prepare_cached("SELECT id FROM lesson WHERE project = ?1 AND position < ?2 ORDER BY position")?
        .query_map(params![new.project, position], |row| row.get(0))?
        .collect()
}

/// The learner's closed sessions in the project by their latest verdicts, in the order of opening.
fn history_of(connection: &Connection, new: &NewSession, prior_online_ms: i64) -> Result<History, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT session.lesson, verdict.body, session.key, verdict.version, verdict.checksum FROM session JOIN verdict ON verdict.session = session.key
         WHERE session.learner = ?1 AND session.project = ?2
           AND verdict.version = (SELECT max(version) FROM verdict AS later WHERE later.session = session.key)
         ORDER BY session.key",
    )?;
    let mut rows = statement.query([&new.learner, &new.project])?;
    let mut history = History::new(prior_online_ms);
    while let Some(row) = rows.next()? {
        let lesson: String = row.get(0)?;
        let body = checksum::intact_verdict(row.get(2)?, row.get(3)?, row.get(1)?, row.get(4)?)?;
        let verdict = serde_json::from_str(&body)
            .map_err(|error| StoreError::Corrupt { what: "verdict", why: error.to_string() })?;
        history.add(&lesson, &verdict);
    }
    Ok(history)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fixture;

    #[tokio::test]
    async fn a_photo_is_repeated_when_an_earlier_one_of_the_same_learner_has_its_bytes() {
        let (_folder, store) = fixture::store_with_session("s1").await;
        fixture::execute(
            &store,
            "INSERT INTO learner (id, created_at) VALUES ('l2', 0);
             INSERT INTO session (key, id, platform, learner, project, lesson, seed, opened_at, closed_at)
                 VALUES (2, 's2', 'p1', 'l1', 'j1', 'e1', x'00', 0, 1), (3, 's3', 'p1', 'l2', 'j1', 'e1', x'00', 0, 1);
             INSERT INTO enrolled_photo (learner, version, digest, evidence, template, platform, created_at)
                 VALUES ('l1', 1, 'enrolled', '', x'00', 'p1', 0);
             INSERT INTO photo (session, capture, digest, evidence, created_at, deleted_at)
                 VALUES (2, 'c1', 'old', '', 5, 6);",
        )
        .await;
        let kept = [
            (3, "c1", "enrolled", 20, false),
            (1, "c1", "first", 20, false),
            (1, "c2", "second", 30, false),
            (1, "c3", "first", 40, true),
            (1, "c4", "old", 50, true),
            (1, "c5", "enrolled", 60, true),
            // At the same moment the order of the keys decides, so that only one of two is the repetition.
            (2, "c2", "first", 20, true),
            (3, "c2", "first", 90, false),
        ];
        for (session, capture, digest, at, _) in kept {
            store.keep_photo(SessionKey(session), capture, digest, "", at).await.unwrap();
        }
        for (session, capture, digest, _, repeated) in kept {
            let found = store.is_repeated_photo(SessionKey(session), capture).await.unwrap();
            assert_eq!(found, repeated, "{session} {capture} {digest}");
        }
        assert!(!store.is_repeated_photo(SessionKey(1), "c9").await.unwrap(), "a photo that is not kept");
    }
}
