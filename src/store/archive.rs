//! What is over: closed sessions with their logs and verdicts, read beside a running server.
//!
//! A connection of its own that only reads, and blocks: for commands, not for the server. Whoever reads in parallel opens
//! one each. What one [`Archive::snapshot`] reads is the state of one moment, whatever the server does meanwhile; an
//! embedded database's write-ahead log grows until it ends. What there may be millions of is read in pages, because
//! PostgreSQL's answers come whole.

use super::enrolled_photos::{self, EnrolledPhoto};
use super::face_scope::Scope;
use super::journal::{decompressing, open_segment};
use super::ledger::{LedgerCursor, LedgerEntry, LedgerFilter};
use super::ledger_totals::{LedgerTotals, totals};
use super::reading::{Reading, Records};
use super::sql::{self, OptionalExtension as _, Row};
use super::{SessionKey, StoreError, ledger, policy_texts};

/// Sessions that are read at once without their logs, and with them.
const PAGE: i64 = 10_000;
const PAGE_OF_LOGS: i64 = 100;

/// The closed sessions of an installation.
pub struct Archive {
    reading: Reading,
}

/// Where a closed session belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClosedSession {
    /// its short key
    pub key: SessionKey,
    /// the learner
    pub learner: String,
    /// the project
    pub project: String,
    /// the lesson
    pub lesson: String,
    /// online time that was credited to the learner in the project before it came to invigil, ms
    pub prior_online_ms: i64,
}

/// A closed session's log and what was said about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchivedSession {
    /// its lines as they stand, each followed by a line feed
    pub log: Vec<u8>,
    /// the engine's newest verdict as JSON, byte for byte
    pub verdict: Option<String>,
    /// whether a person has decided about it since
    pub decided_by_person: bool,
}

/// A closed session with its verdicts and its sealed log.
#[derive(Clone, Debug)]
pub struct SealedSession {
    /// the session
    pub id: String,
    /// the verdict that is in force
    pub latest: Option<StoredVerdict>,
    /// the latest that the engine made
    pub derived: Option<StoredVerdict>,
    /// the log
    pub log: Option<SealedLog>,
    /// whether its learner's enrolment in the project was withdrawn
    pub withdrawn: bool,
}

/// A verdict as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredVerdict {
    /// 1, 2, 3 …
    pub version: i64,
    /// the status as the record has it
    pub status: String,
    /// the verdict, byte for byte
    pub body: String,
}

/// A sealed log as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedLog {
    /// SHA-256 hex of the lines, as the record has it
    pub digest: String,
    compressed: Vec<u8>,
}

impl SealedLog {
    /// The lines, decompressed while they are read.
    pub fn lines(&self) -> impl std::io::Read + '_ {
        decompressing(&self.compressed)
    }
}

const SESSIONS: &str = "SELECT session.key, session.id, latest.version, latest.status, latest.body,
        derived.version, derived.status, derived.body, segment.digest, segment.lines,
        EXISTS (SELECT 1 FROM enrolment WHERE enrolment.project = session.project
            AND enrolment.learner = session.learner AND enrolment.withdrawn_at IS NOT NULL)
    FROM session
    LEFT JOIN verdict AS latest ON latest.session = session.key
        AND latest.version = (SELECT max(version) FROM verdict AS v WHERE v.session = session.key)
    LEFT JOIN verdict AS derived ON derived.session = session.key AND derived.version =
        (SELECT max(version) FROM verdict AS v WHERE v.session = session.key AND v.reviewer IS NULL)
    LEFT JOIN segment ON segment.session = session.key
    WHERE session.closed_at IS NOT NULL AND session.key > ?1 ORDER BY session.key LIMIT ?2";

impl Archive {
    /// Opens the records of a server, running or not.
    ///
    /// # Errors
    /// When there is no database, or it is not of a schema that this binary reads.
    pub fn open(records: &Records) -> Result<Self, StoreError> {
        let reading = Reading::open(records)?;
        reading.check()?;
        Ok(Self { reading })
    }

    /// Tells `each` of every closed session, in the order of opening.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn closed_sessions(&self, mut each: impl FnMut(ClosedSession)) -> Result<(), StoreError> {
        let connection = self.reading.sql();
        let mut statement = connection.prepare_cached(
            "SELECT session.key, session.learner, session.project, session.lesson, coalesce(prior_online_ms, 0)
             FROM session LEFT JOIN enrolment
                 ON enrolment.project = session.project AND enrolment.learner = session.learner
             WHERE session.closed_at IS NOT NULL AND session.key > ?1 ORDER BY session.key LIMIT ?2",
        )?;
        let (mut last, mut read) = (i64::MIN, PAGE);
        while read == PAGE {
            read = 0;
            let mut rows = statement.query([last, PAGE])?;
            while let Some(row) = rows.next()? {
                (last, read) = (row.get(0)?, read + 1);
                each(ClosedSession {
                    key: SessionKey(last),
                    learner: row.get(1)?,
                    project: row.get(2)?,
                    lesson: row.get(3)?,
                    prior_online_ms: row.get(4)?,
                });
            }
        }
        Ok(())
    }

    /// The packs under which sessions were opened: label and text.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn policy_texts(&self) -> Result<Vec<(String, String)>, StoreError> {
        policy_texts::all(&self.reading.sql())
    }

    /// Tells `each` of every project and lesson, the lessons of a project in the order in which they are taken.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn lessons(&self, mut each: impl FnMut(String, String)) -> Result<(), StoreError> {
        let connection = self.reading.sql();
        let mut statement = connection.prepare_cached("SELECT project, id FROM lesson ORDER BY project, position")?;
        let mut rows = statement.query(())?;
        while let Some(row) = rows.next()? {
            each(row.get(0)?, row.get(1)?);
        }
        Ok(())
    }

    /// A closed session; `None` when its log is not kept.
    ///
    /// # Errors
    /// When the database cannot be read, or what it holds.
    pub fn session(&self, session: SessionKey) -> Result<Option<ArchivedSession>, StoreError> {
        let row = self
            .reading
            .sql()
            .prepare_cached(
                "SELECT lines, digest,
                     (SELECT body FROM verdict WHERE verdict.session = segment.session AND reviewer IS NULL
                      ORDER BY version DESC LIMIT 1),
                     EXISTS (SELECT 1 FROM verdict WHERE verdict.session = segment.session AND reviewer IS NOT NULL)
                 FROM segment WHERE session = ?1",
            )?
            .query_row([session.0], |row| Ok((row.get::<Vec<u8>>(0)?, row.get::<String>(1)?, row.get(2)?, row.get(3)?)))
            .optional()?;
        row.map(|(lines, digest, verdict, decided_by_person)| {
            Ok(ArchivedSession { log: open_segment(&lines, &digest)?, verdict, decided_by_person })
        })
        .transpose()
    }

    /// Runs `look` on the state of one moment.
    ///
    /// # Errors
    /// What `look` returns, or when the database refuses.
    pub fn snapshot<T, E: From<StoreError>>(&self, look: impl FnOnce(&Self) -> Result<T, E>) -> Result<T, E> {
        self.reading.begin()?;
        let found = look(self);
        let ended = self.reading.end();
        let found = found?;
        ended?;
        Ok(found)
    }

    /// How many sessions are closed.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn count_closed_sessions(&self) -> Result<u64, StoreError> {
        let count = "SELECT count(*) FROM session WHERE closed_at IS NOT NULL";
        Ok(self.reading.sql().query_row(count, (), |row| row.get::<i64>(0))?.unsigned_abs())
    }

    /// Gives every closed session to `take`, oldest first, until it returns false.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn each_sealed_session(&self, mut take: impl FnMut(SealedSession) -> bool) -> Result<(), StoreError> {
        let connection = self.reading.sql();
        let mut statement = connection.prepare_cached(SESSIONS)?;
        let (mut last, mut read) = (i64::MIN, PAGE_OF_LOGS);
        while read == PAGE_OF_LOGS {
            read = 0;
            let mut rows = statement.query([last, PAGE_OF_LOGS])?;
            while let Some(row) = rows.next()? {
                (last, read) = (row.get(0)?, read + 1);
                if !take(sealed_session(&row)?) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// The photos in force of a set of learners, in the order of their identifiers, after that of `after`.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn enrolled_faces(
        &self,
        scope: &Scope,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<EnrolledPhoto>, StoreError> {
        Ok(enrolled_photos::enrolled_faces(&self.reading.sql(), scope, after, limit)?)
    }

    /// As [`ledger::entries`].
    ///
    /// # Errors
    /// When the database refuses.
    pub fn ledger_entries(
        &self,
        filter: &LedgerFilter,
        cursor: Option<LedgerCursor>,
        limit: u32,
    ) -> Result<(Vec<LedgerEntry>, Option<LedgerCursor>), StoreError> {
        ledger::entries(&self.reading.sql(), filter, cursor, limit)
    }

    /// The sum of all that a filter lets through.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn ledger_total(&self, filter: &LedgerFilter) -> Result<LedgerTotals, StoreError> {
        Ok(totals(&self.reading.sql(), filter, None, None, 1)?.pop().unwrap_or_default())
    }
}

fn sealed_session(row: &Row) -> Result<SealedSession, StoreError> {
    let verdict = |from: usize| -> sql::Result<Option<StoredVerdict>> {
        let Some(version) = row.get(from)? else { return Ok(None) };
        Ok(Some(StoredVerdict { version, status: row.get(from + 1)?, body: row.get(from + 2)? }))
    };
    let log = match row.get::<Option<String>>(8)? {
        Some(digest) => Some(SealedLog { digest, compressed: row.get(9)? }),
        None => None,
    };
    let withdrawn = row.get(10)?;
    Ok(SealedSession { id: row.get(1)?, latest: verdict(2)?, derived: verdict(5)?, log, withdrawn })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fixture;
    use crate::store::outbox::NewDelivery;
    use crate::store::sessions::Closing;
    use crate::store::{Batch, Store};

    async fn close(store: &Store, session: SessionKey) {
        store.embedded().1.enter(session);
        let batch = Batch { session, epoch: 0, first_n: 1, count: 2, lines: b"one\ntwo\n".to_vec() };
        let delivery = NewDelivery {
            event: format!("event {}", session.0),
            platform: "p1".into(),
            ordering: "s".into(),
            body: "{}".into(),
            now_ms: 5,
        };
        let closing = Closing {
            review: None,
            prompts_asked: 2,
            prompts_passed: 1,
            batch,
            log_digest: hex::encode(ring::digest::digest(&ring::digest::SHA256, b"one\ntwo\n")),
            status: "valid",
            verdict: "{\"by\":\"the engine\"}".into(),
            delivery,
            now_ms: 5,
        };
        store.close_session(closing).await.unwrap();
    }

    #[tokio::test]
    async fn closed_sessions_are_read_beside_the_writer() {
        let (folder, store) = fixture::embedded_with_session("s1").await;
        let archive = Archive::open(&Records::Folder(folder.path().to_owned())).unwrap();
        let all = || {
            let mut all = Vec::new();
            archive.closed_sessions(|session| all.push(session)).unwrap();
            all
        };
        assert_eq!(all(), [], "an open session is not over");
        close(&store, SessionKey(1)).await;
        let expected = ClosedSession {
            key: SessionKey(1),
            learner: "l1".into(),
            project: "j1".into(),
            lesson: "e1".into(),
            prior_online_ms: 0,
        };
        assert_eq!(all(), std::slice::from_ref(&expected));
        fixture::execute(
            &store,
            "INSERT INTO enrolment (id, project, learner, prior_online_ms, created_at) VALUES ('n', 'j1', 'l1', 7, 0);
             INSERT INTO verdict (session, version, status, body, created_at, reviewer)
                 VALUES (1, 2, 'invalid', '{\"by\":\"a supervisor\"}', 9, 'k');",
        )
        .await;
        assert_eq!(all(), [ClosedSession { prior_online_ms: 7, ..expected }]);
        let session = archive.session(SessionKey(1)).unwrap().unwrap();
        assert_eq!(session.log, b"one\ntwo\n");
        assert_eq!((session.verdict.as_deref(), session.decided_by_person), (Some("{\"by\":\"the engine\"}"), true));
        assert_eq!(archive.session(SessionKey(2)).unwrap(), None);
        let mut lessons = Vec::new();
        archive.lessons(|project, lesson| lessons.push((project, lesson))).unwrap();
        assert_eq!(lessons, [("j1".to_owned(), "e1".to_owned())]);
    }

    #[tokio::test]
    async fn what_this_version_cannot_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let open = |folder: &std::path::Path| Archive::open(&Records::Folder(folder.to_owned()));
        assert!(open(folder.path()).is_err());
        let (folder, store) = fixture::embedded();
        for (step, said) in [(1, "start the server once"), (1_000, "use the newer one")] {
            fixture::execute(&store, &format!("PRAGMA user_version = {step}")).await;
            let refused = open(folder.path()).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(refused.contains(said), "{refused}");
        }
    }
}
