//! What is over: closed sessions with their logs and verdicts, read beside a running server.
//!
//! A connection of its own that only reads, and blocks: for commands, not for the server. Whoever reads in parallel opens
//! one each.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension as _};

use super::journal::open_segment;
use super::{SessionKey, StoreError, embedded, policy_texts};

/// The closed sessions of a data folder.
pub struct Archive {
    connection: Connection,
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

impl Archive {
    /// Opens the data folder of a server, running or not.
    ///
    /// # Errors
    /// When there is no database, or it is not of a schema that this binary reads.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let connection = embedded::connect_to_read(&folder.join("invigil.sqlite"))?;
        let found = embedded::schema_of(&connection)?;
        let known = embedded::known_schema();
        if found < known {
            let why = format!("it is at step {found} and must be at {known}: start this version's server on it once");
            return Err(StoreError::Corrupt { what: "schema", why });
        }
        Ok(Self { connection })
    }

    /// Tells `each` of every closed session: by learner and project, and of those in the order of opening.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn closed_sessions(&self, mut each: impl FnMut(ClosedSession)) -> Result<(), StoreError> {
        let mut statement = self.connection.prepare(
            "SELECT session.key, session.learner, session.project, session.lesson, coalesce(prior_online_ms, 0)
             FROM session LEFT JOIN enrolment
                 ON enrolment.project = session.project AND enrolment.learner = session.learner
             WHERE session.closed_at IS NOT NULL ORDER BY session.learner, session.project, session.key",
        )?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            each(ClosedSession {
                key: SessionKey(row.get(0)?),
                learner: row.get(1)?,
                project: row.get(2)?,
                lesson: row.get(3)?,
                prior_online_ms: row.get(4)?,
            });
        }
        Ok(())
    }

    /// The packs under which sessions were opened: label and text.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn policy_texts(&self) -> Result<Vec<(String, String)>, StoreError> {
        policy_texts::all(&self.connection)
    }

    /// Tells `each` of every project and lesson, the lessons of a project in the order in which they are taken.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn lessons(&self, mut each: impl FnMut(String, String)) -> Result<(), StoreError> {
        let mut statement = self.connection.prepare("SELECT project, id FROM lesson ORDER BY project, position")?;
        let mut rows = statement.query([])?;
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
            .connection
            .prepare_cached(
                "SELECT lines, digest,
                     (SELECT body FROM verdict WHERE verdict.session = segment.session AND reviewer IS NULL
                      ORDER BY version DESC LIMIT 1),
                     EXISTS (SELECT 1 FROM verdict WHERE verdict.session = segment.session AND reviewer IS NOT NULL)
                 FROM segment WHERE session = ?1",
            )?
            .query_row([session.0], |row| {
                Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, String>(1)?, row.get(2)?, row.get(3)?))
            })
            .optional()?;
        row.map(|(lines, digest, verdict, decided_by_person)| {
            Ok(ArchivedSession { log: open_segment(&lines, &digest)?, verdict, decided_by_person })
        })
        .transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fixture;
    use crate::store::outbox::NewDelivery;
    use crate::store::sessions::Closing;
    use crate::store::{Batch, Store};

    async fn close(store: &Store, session: SessionKey) {
        store.tails.enter(session);
        let batch = Batch { session, epoch: 0, first_n: 1, count: 2, lines: b"one\ntwo\n".to_vec() };
        let delivery = NewDelivery {
            event: format!("event {}", session.0),
            platform: "p1".into(),
            ordering: "s".into(),
            body: "{}".into(),
            now_ms: 5,
        };
        let closing = Closing {
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
        let (folder, store) = fixture::store_with_session("s1").await;
        let archive = Archive::open(folder.path()).unwrap();
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
        assert!(Archive::open(folder.path()).is_err());
        let (folder, store) = fixture::store();
        for (step, said) in [(1, "start this version's server"), (1_000, "use the newer one")] {
            fixture::execute(&store, &format!("PRAGMA user_version = {step}")).await;
            let refused = Archive::open(folder.path()).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(refused.contains(said), "{refused}");
        }
    }
}
