//! Searches of enrolled faces: which are due, which were made, and what came of them.
//!
//! A search becomes due in the very transaction that makes it worth while, so none is forgotten by a crash; it is made later,
//! by one node. The search itself is in [`crate::search`].

use std::sync::Arc;

use serde::Serialize;
use tokio::sync::Notify;
use utoipa::ToSchema;

use super::face_scope::{Scope, SearchKind};
use super::findings::keep_finding;
use super::page::{Page, PageRequest};
use super::sql::{self, Connection, Row, params};
use super::{Store, StoreError};
use crate::risk::{Finding, KEPT_DAYS};

const DAY_MS: i64 = 86_400_000;

/// A search that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueSearch {
    /// in which set
    pub scope: Scope,
    /// whose face
    pub learner: String,
    /// when it was asked for last, ms since the Unix epoch
    pub at: i64,
}

/// A search that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = FaceSearchRecord)]
pub struct SearchRecord {
    /// identifier
    pub id: String,
    /// `class`, `platform`, `device`, `address` or `chosen`
    #[schema(value_type = String)]
    pub kind: SearchKind,
    /// the set, as it was asked for
    pub scope: String,
    /// whose face; null: a photo that was given, or every face of the set
    pub learner: Option<String>,
    /// identifier of the API key that asked; null: the engine
    pub asked_by: Option<String>,
    /// comparisons
    pub compared: i64,
    /// false hits that were to be expected, thousandths of a millionth
    pub expected_nano: i64,
    /// the least similarity that was a hit, thousandths
    pub threshold_milli: i64,
    /// hits
    pub hits: i64,
    /// ms since the Unix epoch
    pub at: i64,
}

/// What was searched of a kind within a day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SearchedDay {
    /// searches
    pub searches: i64,
    /// false hits that were to be expected of them, thousandths of a millionth
    pub expected_nano: i64,
}

const COLUMNS: &str = "id, kind, scope, learner, asked_by, compared, expected_nano, threshold_milli, hits, at";

impl Store {
    /// Told when a search has become due through this store; others may make some due without telling.
    pub fn face_searches_asked(&self) -> Arc<Notify> {
        self.face_searches.clone()
    }

    /// The searches that are due, the oldest first.
    ///
    /// # Errors
    /// When the store could not read.
    pub async fn due_face_searches(&self, limit: u32) -> Result<Vec<DueSearch>, StoreError> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT scope, learner, at FROM face_search_due ORDER BY at, scope, learner LIMIT ?1",
            )?;
            let mut rows = statement.query([limit])?;
            let mut due = Vec::new();
            while let Some(row) = rows.next()? {
                let scope: String = row.get(0)?;
                let scope = scope.parse().map_err(|why| StoreError::Corrupt { what: "face search", why })?;
                due.push(DueSearch { scope, learner: row.get(1)?, at: row.get(2)? });
            }
            Ok(due)
        })
        .await
    }

    /// Makes searches due. One that is due already stays so.
    ///
    /// # Errors
    /// When the store could not write.
    pub async fn ask_face_searches(&self, asked: Vec<DueSearch>) -> Result<(), StoreError> {
        self.write(move |transaction| {
            for due in &asked {
                ask(transaction, due)?;
            }
            Ok::<_, StoreError>(())
        })
        .await?;
        self.face_searches.notify_one();
        Ok(())
    }

    /// Puts on record what came of searches, in one transaction: what was due is due no longer, unless it was asked for again
    /// meanwhile. `findings` have the identifiers that new ones are to get.
    ///
    /// # Errors
    /// When the store could not write; then nothing of it is kept.
    pub async fn keep_face_searches(
        &self,
        done: Vec<DueSearch>,
        records: Vec<SearchRecord>,
        findings: Vec<(String, Finding)>,
    ) -> Result<(), StoreError> {
        self.write(move |transaction| {
            for due in &done {
                transaction.execute(
                    "DELETE FROM face_search_due WHERE scope = ?1 AND learner = ?2 AND at <= ?3",
                    params![due.scope.to_string(), due.learner, due.at],
                )?;
            }
            for record in &records {
                keep_record(transaction, record)?;
            }
            for (id, finding) in &findings {
                keep_finding(transaction, id, finding)?;
            }
            Ok(())
        })
        .await
    }

    /// What was searched of a kind in the day before `now_ms`.
    ///
    /// # Errors
    /// When the store could not read.
    pub async fn searched_day(&self, kind: SearchKind, now_ms: i64) -> Result<SearchedDay, StoreError> {
        self.read(move |connection| {
            let day = connection
                .prepare_cached(
                    "SELECT count(*), CAST(coalesce(sum(expected_nano), 0) AS BIGINT) FROM face_search
                     WHERE kind = ?1 AND at > ?2",
                )?
                .query_row(params![kind.as_str(), now_ms - DAY_MS], |row| {
                    Ok(SearchedDay { searches: row.get(0)?, expected_nano: row.get(1)? })
                })?;
            Ok(day)
        })
        .await
    }

    /// The searches that somebody asked for, in their order.
    ///
    /// # Errors
    /// When the store could not read.
    pub async fn face_searches(
        &self,
        asked_by: Option<String>,
        request: PageRequest,
    ) -> Result<Page<SearchRecord>, StoreError> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM face_search
                 WHERE asked_by IS NOT NULL AND asked_by = coalesce(?3, asked_by) AND id > ?1 ORDER BY id LIMIT ?2"
            ))?;
            let mut rows = statement.query(params![request.start(), request.rows(), asked_by])?;
            let mut searches = Vec::new();
            while let Some(row) = rows.next()? {
                searches.push(record(&row)?);
            }
            Ok(request.page(searches, |search: &SearchRecord| &search.id))
        })
        .await
    }

    /// Deletes the records of searches that nobody asked for and that are 30 days old.
    ///
    /// # Errors
    /// When the store could not write.
    pub async fn forget_face_searches(&self, now_ms: i64) -> Result<(), StoreError> {
        self.write(move |transaction| {
            transaction
                .execute("DELETE FROM face_search WHERE asked_by IS NULL AND at < ?1", [now_ms - KEPT_DAYS * DAY_MS])?;
            Ok(())
        })
        .await
    }
}

/// Within the caller's transaction.
pub(super) fn ask(connection: &Connection, due: &DueSearch) -> sql::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO face_search_due (scope, learner, at) VALUES (?1, ?2, ?3)
             ON CONFLICT (scope, learner) DO UPDATE SET at = excluded.at",
        )?
        .execute(params![due.scope.to_string(), due.learner, due.at])?;
    Ok(())
}

/// Makes due all searches that a learner's face is worth, now that it is there, or is of another platform or class: within each
/// platform that knows the learner and each class, and among the learner's own earlier photos. Within the caller's transaction.
pub(super) fn ask_for_learner(connection: &Connection, learner: &str, at: i64) -> sql::Result<()> {
    let scopes = connection
        .prepare_cached(
            "SELECT 'platform:' || platform FROM platform_learner WHERE learner = ?1
             UNION ALL SELECT 'class:' || project || '/' || class FROM enrolment
                 WHERE learner = ?1 AND withdrawn_at IS NULL
             UNION ALL SELECT 'versions:' || id FROM learner WHERE id = ?1 AND photo_version > 1",
        )?
        .query_map([learner], |row| row.get::<String>(0))?
        .collect::<sql::Result<Vec<_>>>()?;
    for scope in scopes {
        connection
            .prepare_cached(
                "INSERT INTO face_search_due (scope, learner, at)
                 SELECT ?1, learner.id, ?3 FROM learner WHERE learner.id = ?2 AND photo_version > 0
                 ON CONFLICT (scope, learner) DO UPDATE SET at = excluded.at",
            )?
            .execute(params![scope, learner, at])?;
    }
    Ok(())
}

fn keep_record(connection: &Connection, record: &SearchRecord) -> sql::Result<()> {
    connection
        .prepare_cached(&format!(
            "INSERT INTO face_search ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"
        ))?
        .execute(params![
            record.id,
            record.kind.as_str(),
            record.scope,
            record.learner,
            record.asked_by,
            record.compared,
            record.expected_nano,
            record.threshold_milli,
            record.hits,
            record.at
        ])?;
    Ok(())
}

fn record(row: &Row<'_>) -> Result<SearchRecord, StoreError> {
    let kind: String = row.get(1)?;
    Ok(SearchRecord {
        id: row.get(0)?,
        kind: SearchKind::from_word(&kind).ok_or(StoreError::Corrupt { what: "face search", why: kind })?,
        scope: row.get(2)?,
        learner: row.get(3)?,
        asked_by: row.get(4)?,
        compared: row.get(5)?,
        expected_nano: row.get(6)?,
        threshold_milli: row.get(7)?,
        hits: row.get(8)?,
        at: row.get(9)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::enrolled_photos::NewEnrolledPhoto;
    use crate::store::fixture;

    async fn due(store: &Store) -> Vec<String> {
        let due = store.due_face_searches(100).await.unwrap();
        due.iter().map(|due| format!("{} {} {}", due.scope, due.learner, due.at)).collect()
    }

    fn photo(version: i64) -> NewEnrolledPhoto {
        NewEnrolledPhoto {
            descriptor: None,
            learner: "l1".into(),
            version,
            digest: "d".into(),
            evidence: format!("photo-{version}"),
            template: vec![1],
            platform: "p1".into(),
            created_at: version * 10,
        }
    }

    async fn known() -> (tempfile::TempDir, Store) {
        let (folder, store) = fixture::store_with_session("s1").await;
        let sql = "UPDATE learner SET data_key = x'01';
             INSERT INTO platform_learner (platform, learner, created_at) VALUES ('p1', 'l1', 0);
             INSERT INTO enrolment (id, project, learner, class, created_at) VALUES ('n1', 'j1', 'l1', '二班', 0);";
        fixture::execute(&store, sql).await;
        (folder, store)
    }

    #[tokio::test]
    async fn a_new_face_makes_searches_due_and_they_are_done_once() {
        let (_folder, store) = known().await;
        assert!(store.put_enrolled_photo(photo(1)).await.unwrap());
        assert_eq!(due(&store).await, ["class:j1/二班 l1 10", "platform:p1 l1 10"]);
        assert!(store.put_enrolled_photo(photo(2)).await.unwrap());
        let all = store.due_face_searches(100).await.unwrap();
        assert_eq!(due(&store).await, ["class:j1/二班 l1 20", "platform:p1 l1 20", "versions:l1 l1 20"]);
        // What was asked for again while it was made is due still.
        assert!(store.put_enrolled_photo(photo(3)).await.unwrap());
        store.keep_face_searches(all, Vec::new(), Vec::new()).await.unwrap();
        assert_eq!(due(&store).await.len(), 3);
        let all = store.due_face_searches(100).await.unwrap();
        store.keep_face_searches(all, Vec::new(), Vec::new()).await.unwrap();
        assert_eq!(due(&store).await, [""; 0]);
    }

    #[tokio::test]
    async fn a_days_searches_are_added_up_by_kind_and_those_of_people_stay() {
        let (_folder, store) = fixture::store().await;
        let record = |id: &str, kind, asked_by: Option<&str>, at| SearchRecord {
            id: id.into(),
            kind,
            scope: "platform:p1".into(),
            learner: None,
            asked_by: asked_by.map(str::to_owned),
            compared: 10,
            expected_nano: 7,
            threshold_milli: 500,
            hits: 0,
            at,
        };
        let records = vec![
            record("a", SearchKind::Platform, None, 1),
            record("b", SearchKind::Platform, None, DAY_MS),
            record("c", SearchKind::Chosen, Some("key"), 5),
            record("d", SearchKind::Platform, None, DAY_MS + 1),
        ];
        store.keep_face_searches(Vec::new(), records, Vec::new()).await.unwrap();
        let day = store.searched_day(SearchKind::Platform, DAY_MS + 1).await.unwrap();
        assert_eq!(day, SearchedDay { searches: 2, expected_nano: 14 });
        store.forget_face_searches(100 * DAY_MS).await.unwrap();
        assert_eq!(store.searched_day(SearchKind::Platform, DAY_MS + 1).await.unwrap(), SearchedDay::default());
        let asked = store.face_searches(None, PageRequest::default()).await.unwrap();
        assert_eq!(asked.items.iter().map(|search| search.id.as_str()).collect::<Vec<_>>(), ["c"]);
    }
}
