//! What is past its retention: photos of captures (which they are, who still needs them, and that they are gone), and
//! deliveries and tokens that are over.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use super::sql::{self, params};
use super::{Store, StoreError, descriptors, embedded};
use crate::verdict::Status;

/// Where a walk through the photos by age has come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    created_at: i64,
    session: i64,
    capture: String,
}

/// A photo that was taken before a time, and what decides whether it may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OldPhoto {
    place: Place,
    /// the session's identifier
    pub session: String,
    /// what names the encrypted photo
    pub evidence: String,
    closed_at: Option<i64>,
    /// of the latest version of the verdict; none: there is no verdict
    status: Option<String>,
}

impl OldPhoto {
    /// Where to go on behind this one.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Whether its session was over before `before_ms`, and is decided. What is under review, or not judged yet, is not.
    pub fn is_done_with(&self, before_ms: i64) -> bool {
        let status = self.status.as_deref().and_then(Status::from_word);
        matches!(status, Some(Status::Valid | Status::Invalid))
            && self.closed_at.is_some_and(|closed_at| closed_at < before_ms)
    }
}

impl Store {
    /// The next photos that are there and were taken before `before_ms`, the oldest first, behind `after`; at most
    /// `limit`.
    ///
    /// # Errors
    /// When the store cannot read.
    pub async fn photos_before(&self, before_ms: i64, after: &Place, limit: u32) -> Result<Vec<OldPhoto>, StoreError> {
        let after = after.clone();
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT photo.created_at, photo.session, photo.capture, photo.evidence, session.id, session.closed_at,
                     (SELECT verdict.status FROM verdict WHERE verdict.session = photo.session
                      ORDER BY verdict.version DESC LIMIT 1)
                 FROM photo JOIN session ON session.key = photo.session
                 WHERE photo.deleted_at IS NULL AND photo.created_at < ?1
                     AND (photo.created_at, photo.session, photo.capture) > (?2, ?3, ?4)
                 ORDER BY photo.created_at, photo.session, photo.capture LIMIT ?5",
            )?;
            let rows = statement.query_map(
                params![before_ms, after.created_at, after.session, after.capture, i64::from(limit)],
                |row| {
                    Ok(OldPhoto {
                        place: Place { created_at: row.get(0)?, session: row.get(1)?, capture: row.get(2)? },
                        evidence: row.get(3)?,
                        session: row.get(4)?,
                        closed_at: row.get(5)?,
                        status: row.get(6)?,
                    })
                },
            )?;
            Ok(rows.collect::<sql::Result<_>>()?)
        })
        .await
    }

    /// Notes that these photos are deleted.
    ///
    /// # Errors
    /// When the store could not write; then none of them is noted.
    pub async fn photos_deleted(&self, photos: &[OldPhoto], now_ms: i64) -> Result<(), StoreError> {
        let places: Vec<Place> = photos.iter().map(|photo| photo.place.clone()).collect();
        self.write(move |transaction| {
            let mut statement = transaction.prepare_cached(
                "UPDATE photo SET deleted_at = ?3 WHERE session = ?1 AND capture = ?2 AND deleted_at IS NULL",
            )?;
            for place in &places {
                statement.execute(params![place.session, place.capture, now_ms])?;
                descriptors::delete_of_capture(transaction, place.session, &place.capture)?;
            }
            Ok(())
        })
        .await
    }

    /// Deletes the oldest deliveries that arrived or were given up before `before_ms`, at most `limit`; how many they were.
    ///
    /// # Errors
    /// When the store could not write.
    pub async fn delete_deliveries(&self, before_ms: i64, limit: u32) -> Result<u64, StoreError> {
        self.delete_oldest("outbox", "id", "finished_at < ?1 AND state <> 'pending'", "finished_at", before_ms, limit)
            .await
    }

    /// Deletes the oldest tokens that expired before `before_ms`, at most `limit`; how many they were.
    ///
    /// # Errors
    /// When the store could not write.
    pub async fn delete_tokens(&self, before_ms: i64, limit: u32) -> Result<u64, StoreError> {
        self.delete_oldest("token", "hash", "expires_at < ?1", "expires_at", before_ms, limit).await
    }

    async fn delete_oldest(
        &self,
        table: &'static str,
        key: &'static str,
        over: &'static str,
        by: &'static str,
        before_ms: i64,
        limit: u32,
    ) -> Result<u64, StoreError> {
        self.write(move |transaction| {
            let mut delete = transaction.prepare_cached(&format!(
                "DELETE FROM {table} WHERE {key} IN (SELECT {key} FROM {table} WHERE {over} ORDER BY {by} LIMIT ?2)"
            ))?;
            Ok(delete.execute(params![before_ms, i64::from(limit)])? as u64)
        })
        .await
    }

    /// The sessions that findings name which nobody has decided yet: somebody may still want to look at them.
    ///
    /// # Errors
    /// When the store cannot read.
    pub async fn sessions_of_undecided_findings(&self) -> Result<HashSet<String>, StoreError> {
        self.read(|connection| {
            let sql = "SELECT sessions FROM finding WHERE state IN ('open', 'acknowledged')";
            let mut statement = connection.prepare_cached(sql)?;
            let mut rows = statement.query(())?;
            let mut sessions = HashSet::new();
            while let Some(row) = rows.next()? {
                let list: String = row.get(0)?;
                let list: Vec<String> = serde_json::from_str(&list)
                    .map_err(|error| StoreError::Corrupt { what: "finding", why: error.to_string() })?;
                sessions.extend(list);
            }
            Ok(sessions)
        })
        .await
    }

    #[cfg(test)]
    pub(crate) async fn deleted_at(
        &self,
        session: super::SessionKey,
        capture: &str,
    ) -> Result<Option<i64>, StoreError> {
        let capture = capture.to_owned();
        self.read(move |connection| {
            let find = "SELECT deleted_at FROM photo WHERE session = ?1 AND capture = ?2";
            Ok(connection.query_row(find, params![session.0, capture], |row| row.get(0))?)
        })
        .await
    }
}

/// Notes in the database file at `path`, which no server uses, that these photos are deleted. The schema becomes that of
/// this binary.
///
/// # Errors
/// When the database cannot be opened or written.
pub fn delete_offline(path: &Path, deleted: &BTreeMap<String, i64>) -> Result<(), StoreError> {
    let mut connection = embedded::connect_to_write(path)?;
    let transaction = connection.transaction()?;
    for (name, deleted_at) in deleted {
        transaction
            .execute("UPDATE photo SET deleted_at = ?2 WHERE evidence = ?1", rusqlite::params![name, deleted_at])?;
    }
    transaction.commit()?;
    connection.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{SessionKey, fixture};

    /// Sessions 1 to 5 with a photo each, taken at 10 × key: open; closed without a verdict; under review; valid; and
    /// valid after a review.
    pub(super) async fn store() -> (tempfile::TempDir, Store) {
        let (folder, store) = fixture::store_with_session("s1").await;
        fixture::execute(
            &store,
            "INSERT INTO learner (id, created_at) VALUES ('l2', 0), ('l3', 0), ('l4', 0), ('l5', 0);
             INSERT INTO session (id, platform, learner, project, lesson, seed, opened_at, closed_at)
                 SELECT replace(learner.id, 'l', 's'), 'p1', learner.id, 'j1', 'e1', seed, 0,
                     CAST(replace(learner.id, 'l', '') AS INTEGER) * 10 + 5
                 FROM learner, session WHERE learner.id IN ('l2', 'l3', 'l4', 'l5') AND session.id = 's1'
                 ORDER BY learner.id;
             INSERT INTO photo (session, capture, digest, evidence, created_at)
                 SELECT key, 'c1', 'd', 'photo-' || key, key * 10 FROM session;
             INSERT INTO verdict (session, version, status, body, created_at)
                 VALUES (3, 1, 'review', '{}', 0), (4, 1, 'valid', '{}', 0), (5, 1, 'review', '{}', 0),
                     (5, 2, 'valid', '{}', 1);",
        )
        .await;
        (folder, store)
    }

    fn names(photos: &[OldPhoto]) -> Vec<&str> {
        photos.iter().map(|photo| photo.evidence.as_str()).collect()
    }

    #[tokio::test]
    async fn photos_are_walked_by_age_and_say_who_still_needs_them() {
        let (_folder, store) = store().await;
        let first = store.photos_before(50, &Place::default(), 3).await.unwrap();
        assert_eq!(names(&first), ["photo-1", "photo-2", "photo-3"]);
        let rest = store.photos_before(1_000, first[2].place(), 3).await.unwrap();
        assert_eq!(names(&rest), ["photo-4", "photo-5"]);
        assert_eq!(store.photos_before(1_000, rest[1].place(), 3).await.unwrap(), []);

        let all = [first, rest].concat();
        let done =
            |before_ms| names(&all).into_iter().zip(&all).filter(move |(_, photo)| photo.is_done_with(before_ms));
        assert_eq!(done(1_000).map(|(name, _)| name).collect::<Vec<_>>(), ["photo-4", "photo-5"]);
        // The end of the session counts, not the moment of the photo.
        assert_eq!(done(55).map(|(name, _)| name).collect::<Vec<_>>(), ["photo-4"]);
    }

    #[tokio::test]
    async fn what_is_deleted_is_not_found_again_and_keeps_its_row() {
        let (_folder, store) = store().await;
        let photos = store.photos_before(1_000, &Place::default(), 10).await.unwrap();
        store.photos_deleted(&photos[3..4], 77).await.unwrap();
        store.photos_deleted(&photos[3..4], 99).await.unwrap();
        assert_eq!(store.deleted_at(SessionKey(4), "c1").await.unwrap(), Some(77), "the first time stands");
        let left = store.photos_before(1_000, &Place::default(), 10).await.unwrap();
        assert_eq!(names(&left), ["photo-1", "photo-2", "photo-3", "photo-5"]);
        assert_eq!(store.kept_photo(SessionKey(4), "c1").await.unwrap(), None);
        assert!(store.kept_photo(SessionKey(5), "c1").await.unwrap().is_some());
    }

    #[tokio::test]
    async fn sessions_of_findings_that_nobody_decided_are_known() {
        let (_folder, store) = store().await;
        fixture::execute(
            &store,
            "INSERT INTO finding (id, kind, code, subject, severity, state, strength, evidence, platforms, learners,
                 sessions, first_at, last_at, count)
             SELECT 'f' || word, 'k', 'c', word, 'low', word, 1, '{}', '[]', '[]', '[\"s-' || word || '\"]', 0, 0, 1
             FROM (SELECT 'open' AS word UNION SELECT 'acknowledged' UNION SELECT 'dismissed' UNION SELECT 'confirmed')
                 AS words;",
        )
        .await;
        let sessions = store.sessions_of_undecided_findings().await.unwrap();
        assert_eq!(sessions, ["s-open", "s-acknowledged"].map(str::to_owned).into());
    }
}

/// What is about the database as a file.
#[cfg(test)]
mod embedded_tests {
    use super::Place;
    use super::tests::store;
    use crate::store::inspect::Inspection;

    #[tokio::test]
    async fn a_backup_finds_out_which_photos_are_deleted() {
        let (folder, store) = store().await;
        let photos = store.photos_before(1_000, &Place::default(), 10).await.unwrap();
        store.photos_deleted(&photos[3..4], 77).await.unwrap();
        let path = folder.path().join(crate::store::DATABASE_FILE);
        let asked = ["photo-3", "photo-4"].map(str::to_owned).into();
        let deleted = Inspection::open(&path, false).unwrap().deleted_photos(&asked).unwrap();
        assert_eq!(deleted, [("photo-4".to_owned(), 77)].into());
    }
}
