//! Sessions and verdicts as they are shown: reading only.
//!
//! Opening, owning and closing a session is written elsewhere; so are the facts of its opening.

use super::sql::{self, OptionalExtension as _, Row, ToSql, params};

use super::page::{Page, PageRequest};
use super::reach::Reach;
use super::{Store, StoreError, checksum};

/// A session as the records have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRecord {
    /// identifier
    pub id: String,
    /// the platform that opened it
    pub platform: String,
    /// the learner's random identifier
    pub learner: String,
    /// the project
    pub project: String,
    /// the lesson
    pub lesson: String,
    /// ms since the Unix epoch
    pub opened_at: i64,
    /// ms since the Unix epoch; `None` while it is open
    pub closed_at: Option<i64>,
    /// status of the newest verdict, if there is one
    pub verdict_status: Option<String>,
}

/// Which sessions are wanted; `None`: all.
#[derive(Clone, Debug, Default)]
pub struct SessionFilter {
    /// those that exist for whoever asks
    pub reach: Reach,
    /// those of this project
    pub project: Option<String>,
    /// those of this learner
    pub learner: Option<String>,
}

const SELECT: &str = "SELECT id, platform, learner, project, lesson, opened_at, closed_at,
    (SELECT status FROM verdict WHERE verdict.session = session.key ORDER BY version DESC LIMIT 1) FROM session";

impl Store {
    /// A session by its identifier.
    ///
    /// # Errors
    /// When the store could not read.
    pub async fn session_record(&self, id: &str) -> Result<Option<SessionRecord>, StoreError> {
        let id = id.to_owned();
        self.read(move |connection| {
            let session =
                connection.prepare_cached(&format!("{SELECT} WHERE id = ?1"))?.query_row([&id], record).optional()?;
            Ok(session)
        })
        .await
    }

    /// The sessions that a filter lets through.
    ///
    /// # Errors
    /// When the store could not read.
    pub async fn session_records(
        &self,
        filter: SessionFilter,
        request: PageRequest,
    ) -> Result<Page<SessionRecord>, StoreError> {
        self.read(move |connection| {
            let start = request.start();
            let rows = request.rows();
            let mut conditions = String::new();
            let mut values: Vec<&dyn ToSql> = vec![&start, &rows];
            for (column, value) in
                [("platform", &filter.reach.platform), ("project", &filter.project), ("learner", &filter.learner)]
            {
                if let Some(value) = value {
                    values.push(value);
                    conditions.push_str(&format!(" AND {column} = ?{}", values.len()));
                }
            }
            let end = filter.reach.region_end();
            let region = Reach { platform: None, region: filter.reach.region.clone() };
            let of_region = region.conditions("project", &end, &mut values);
            if !of_region.is_empty() {
                conditions.push_str(&format!(
                    " AND EXISTS (SELECT 1 FROM project WHERE project.id = session.project{of_region})"
                ));
            }
            let sessions = connection
                .prepare_cached(&format!("{SELECT} WHERE id > ?1{conditions} ORDER BY id LIMIT ?2"))?
                .query_map(values.as_slice(), record)?
                .collect::<Result<Vec<_>, _>>()?;
            Ok(request.page(sessions, |session| &session.id))
        })
        .await
    }

    /// The newest verdict of a session, byte for byte as it was stored.
    ///
    /// # Errors
    /// When the store could not read.
    pub async fn verdict_body(&self, session: &str) -> Result<Option<String>, StoreError> {
        let session = session.to_owned();
        self.read(move |connection| {
            let found = connection
                .prepare_cached(
                    "SELECT verdict.session, verdict.version, verdict.body, verdict.checksum
                     FROM verdict JOIN session ON session.key = verdict.session
                     WHERE session.id = ?1 ORDER BY verdict.version DESC LIMIT 1",
                )?
                .query_row(params![session], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
                .optional()?;
            found
                .map(|(session, version, body, checksum)| checksum::intact_verdict(session, version, body, checksum))
                .transpose()
        })
        .await
    }
}

fn record(row: &Row<'_>) -> sql::Result<SessionRecord> {
    Ok(SessionRecord {
        id: row.get(0)?,
        platform: row.get(1)?,
        learner: row.get(2)?,
        project: row.get(3)?,
        lesson: row.get(4)?,
        opened_at: row.get(5)?,
        closed_at: row.get(6)?,
        verdict_status: row.get(7)?,
    })
}
