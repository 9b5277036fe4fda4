//! What is shown of one session beside its log and verdicts: names, photos, make-ups, what came before.

use super::sql::{self, OptionalExtension as _, Row, ToSql, params};

use super::reach::Reach;
use super::{Store, StoreError, findings};

/// Sessions of a learner that are shown beside one.
const EARLIER_LIMIT: u32 = 20;

/// A session with the names of what it belongs to.
#[derive(Clone)]
pub struct NamedSession {
    /// identifier
    pub id: String,
    /// identifier and name
    pub platform: (String, String),
    /// identifier, name and region
    pub project: (String, String, String),
    /// identifier, title and length (ms)
    pub lesson: (String, String, i64),
    /// the learner
    pub learner: String,
    /// their data key and name, sealed; none once they are forgotten
    pub sealed: Option<(Vec<u8>, Option<Vec<u8>>)>,
    /// ms since the Unix epoch
    pub opened_at: i64,
    /// ms since the Unix epoch
    pub closed_at: Option<i64>,
}

/// A capture's photo on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhotoRecord {
    /// the capture
    pub capture: String,
    /// SHA-256 hex of what was sent
    pub digest: String,
    /// what names the encrypted bytes
    pub evidence: String,
    /// when they were deleted, ms since the Unix epoch
    pub deleted_at: Option<i64>,
}

/// The enrolment photo in force, as far as it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnrolledMark {
    /// 1, 2, 3 …
    pub version: i64,
    /// SHA-256 hex
    pub digest: String,
    /// ms since the Unix epoch
    pub created_at: i64,
}

/// A session of the same learner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherSession {
    /// identifier
    pub id: String,
    /// identifier and title of its lesson
    pub lesson: (String, String),
    /// ms since the Unix epoch
    pub opened_at: i64,
    /// of its newest verdict
    pub status: Option<String>,
    /// hundredths of class hours
    pub credited_hundredths: Option<i64>,
}

/// A make-up that was allowed to the learner in the project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedMakeup {
    /// identifier
    pub id: String,
    /// the lesson
    pub lesson: String,
    /// the approval's reference
    pub reference: String,
    /// the office that gave it
    pub office: String,
    /// why
    pub reason: String,
    /// ms since the Unix epoch
    pub created_at: i64,
}

/// What stands beside a session.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// photos of its captures
    pub photos: Vec<PhotoRecord>,
    /// the learner's enrolment photo in force
    pub enrolled: Option<EnrolledMark>,
    /// the learner's earlier sessions that exist for whoever asks, the newest first
    pub earlier: Vec<OtherSession>,
    /// make-ups of the learner in the project
    pub makeups: Vec<AllowedMakeup>,
    /// warnings that name the session
    pub findings: Vec<String>,
}

/// Sessions with their names: `of` is the table of sessions, or a part of it, and `join` keeps it first.
fn select_named(of: &str, join: &str) -> String {
    format!(
        "SELECT session.id, platform.id, platform.name, project.id, project.name, project.region, lesson.id,
             lesson.title, lesson.duration_ms, learner.id, learner.data_key, learner.sealed_person, session.opened_at,
             session.closed_at
         FROM {of} {join} platform ON platform.id = session.platform {join} project ON project.id = session.project
         {join} lesson ON lesson.id = session.lesson {join} learner ON learner.id = session.learner"
    )
}

impl Store {
    /// A session with its names.
    ///
    /// # Errors
    /// When the store could not read.
    pub async fn named_session(&self, id: &str) -> Result<Option<NamedSession>, StoreError> {
        let id = id.to_owned();
        self.read(move |connection| {
            let sql = format!("{} WHERE session.id = ?1", select_named("session", "JOIN"));
            Ok(connection.prepare_cached(&sql)?.query_row([&id], named).optional()?)
        })
        .await
    }

    /// Sessions that are open and exist for whom this is the reach, the newest first, with their names; at most so many.
    ///
    /// # Errors
    /// When the store could not read.
    pub async fn open_named_sessions(&self, reach: Reach, rows: u32) -> Result<Vec<NamedSession>, StoreError> {
        self.read(move |connection| {
            let end = reach.region_end();
            let mut values: Vec<&dyn ToSql> = vec![&rows];
            let conditions = reach.conditions("project", &end, &mut values);
            // The open ones first, which are few, out of their own index; then what is shown of them.
            let (then, newest) = (connection.dialect().then_join(), connection.dialect().unindexed("session.key"));
            let open = format!(
                "(SELECT session.* FROM session {then} project ON project.id = session.project
                  WHERE session.closed_at IS NULL{conditions} ORDER BY {newest} DESC LIMIT ?1) AS session"
            );
            let sql = format!("{} ORDER BY session.key DESC", select_named(&open, then));
            let sessions = connection
                .prepare_cached(&sql)?
                .query_map(values.as_slice(), named)?
                .collect::<sql::Result<Vec<_>>>()?;
            Ok(sessions)
        })
        .await
    }

    /// What stands beside a session of this learner and project.
    ///
    /// # Errors
    /// When the store could not read.
    pub async fn surroundings(&self, session: &NamedSession, reach: Reach) -> Result<Surroundings, StoreError> {
        let (id, learner, project) = (session.id.clone(), session.learner.clone(), session.project.0.clone());
        let opened_at = session.opened_at;
        self.read(move |connection| {
            let photos = connection
                .prepare_cached(
                    "SELECT photo.capture, photo.digest, photo.evidence, photo.deleted_at
                     FROM photo JOIN session ON session.key = photo.session WHERE session.id = ?1",
                )?
                .query_map([&id], photo)?
                .collect::<sql::Result<Vec<_>>>()?;
            let enrolled = connection
                .prepare_cached(
                    "SELECT photo.version, photo.digest, photo.created_at FROM enrolled_photo AS photo
                     JOIN learner ON learner.id = photo.learner AND photo.version = learner.photo_version
                     WHERE learner.id = ?1",
                )?
                .query_row([&learner], |row| {
                    Ok(EnrolledMark { version: row.get(0)?, digest: row.get(1)?, created_at: row.get(2)? })
                })
                .optional()?;
            let end = reach.region_end();
            let mut values: Vec<&dyn ToSql> = vec![&learner, &opened_at, &EARLIER_LIMIT];
            let conditions = reach.conditions("project", &end, &mut values);
            let earlier = connection
                .prepare_cached(&format!(
                    "SELECT session.id, lesson.id, lesson.title, session.opened_at, verdict.status,
                         verdict.credited_hundredths
                     FROM session JOIN lesson ON lesson.id = session.lesson JOIN project ON project.id = session.project
                     LEFT JOIN verdict ON verdict.session = session.key AND verdict.version =
                         (SELECT max(version) FROM verdict AS later WHERE later.session = session.key)
                     WHERE session.learner = ?1 AND session.opened_at < ?2{conditions}
                     ORDER BY session.opened_at DESC LIMIT ?3"
                ))?
                .query_map(values.as_slice(), |row| {
                    Ok(OtherSession {
                        id: row.get(0)?,
                        lesson: (row.get(1)?, row.get(2)?),
                        opened_at: row.get(3)?,
                        status: row.get(4)?,
                        credited_hundredths: row.get(5)?,
                    })
                })?
                .collect::<sql::Result<Vec<_>>>()?;
            let makeups = connection
                .prepare_cached(
                    "SELECT makeup.id, makeup.lesson, makeup.reference, makeup.office, makeup.reason,
                         makeup.created_at
                     FROM makeup JOIN enrolment ON enrolment.id = makeup.enrolment
                     WHERE enrolment.learner = ?1 AND enrolment.project = ?2 ORDER BY makeup.id",
                )?
                .query_map([&learner, &project], |row| {
                    Ok(AllowedMakeup {
                        id: row.get(0)?,
                        lesson: row.get(1)?,
                        reference: row.get(2)?,
                        office: row.get(3)?,
                        reason: row.get(4)?,
                        created_at: row.get(5)?,
                    })
                })?
                .collect::<sql::Result<Vec<_>>>()?;
            let findings = findings::naming(connection, "sessions", &id, &reach)?;
            Ok(Surroundings { photos, enrolled, earlier, makeups, findings })
        })
        .await
    }

    /// The photo of a capture, deleted or not.
    ///
    /// # Errors
    /// When the store could not read.
    pub async fn photo_of_capture(&self, session: &str, capture: &str) -> Result<Option<PhotoRecord>, StoreError> {
        let (session, capture) = (session.to_owned(), capture.to_owned());
        self.read(move |connection| {
            let found = connection
                .prepare_cached(
                    "SELECT photo.capture, photo.digest, photo.evidence, photo.deleted_at
                     FROM photo JOIN session ON session.key = photo.session
                     WHERE session.id = ?1 AND photo.capture = ?2",
                )?
                .query_row(params![session, capture], photo)
                .optional()?;
            Ok(found)
        })
        .await
    }
}

fn named(row: &Row<'_>) -> sql::Result<NamedSession> {
    let data_key: Option<Vec<u8>> = row.get(10)?;
    let person = row.get(11)?;
    Ok(NamedSession {
        id: row.get(0)?,
        platform: (row.get(1)?, row.get(2)?),
        project: (row.get(3)?, row.get(4)?, row.get(5)?),
        lesson: (row.get(6)?, row.get(7)?, row.get(8)?),
        learner: row.get(9)?,
        sealed: data_key.map(|key| (key, person)),
        opened_at: row.get(12)?,
        closed_at: row.get(13)?,
    })
}

fn photo(row: &Row<'_>) -> sql::Result<PhotoRecord> {
    Ok(PhotoRecord { capture: row.get(0)?, digest: row.get(1)?, evidence: row.get(2)?, deleted_at: row.get(3)? })
}
