//! By what a learner's photos are known again, sealed with the learner's own key: of the enrolment photos, and of the
//! newest captures that showed a face.

use super::sql::{self, Connection, params};

use super::{SessionKey, Store, StoreError};

/// Captures of a learner of which it is kept. A learner has about one in twenty minutes: those of some twenty hours.
const KEPT: i64 = 64;

/// Which photo of a learner it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PhotoName(String);

impl PhotoName {
    /// Of a capture.
    pub fn capture(session: SessionKey, capture: &str) -> Self {
        Self(format!("capture {} {capture}", session.0))
    }

    /// Of an enrolment.
    pub fn enrolled(version: i64) -> Self {
        Self(format!("enrolled {version}"))
    }

    /// Whether it is of an enrolment.
    pub fn is_enrolled(&self) -> bool {
        self.0.starts_with("enrolled ")
    }

    /// What a descriptor is sealed for.
    pub fn context(&self, learner: &str) -> String {
        format!("descriptor {learner} {}", self.0)
    }
}

impl Store {
    /// Keeps what a capture's photos are known by, sealed for [`PhotoName::context`], in place of the oldest. One that is there stays.
    ///
    /// # Errors
    /// When the store could not write.
    pub async fn keep_descriptor(
        &self,
        learner: &str,
        photo: &PhotoName,
        sealed: Vec<u8>,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        let (learner, photo) = (learner.to_owned(), photo.clone());
        self.write(move |transaction| {
            insert(transaction, &learner, &photo, &sealed, now_ms)?;
            transaction
                .prepare_cached(
                    "DELETE FROM descriptor WHERE learner = ?1 AND photo IN (
                         SELECT photo FROM descriptor WHERE learner = ?1 AND photo LIKE 'capture %'
                         ORDER BY created_at DESC, photo DESC LIMIT 1000 OFFSET ?2)",
                )?
                .execute(params![learner, KEPT])?;
            Ok(())
        })
        .await
    }

    /// What is kept of a learner's photos, still sealed.
    ///
    /// # Errors
    /// When the store cannot read.
    pub async fn descriptors(&self, learner: &str) -> Result<Vec<(PhotoName, Vec<u8>)>, StoreError> {
        let learner = learner.to_owned();
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT photo, sealed FROM descriptor WHERE learner = ?1 ORDER BY created_at DESC, photo",
            )?;
            let rows = statement.query_map([&learner], |row| Ok((PhotoName(row.get(0)?), row.get(1)?)))?;
            Ok(rows.collect::<sql::Result<_>>()?)
        })
        .await
    }
}

/// Nothing happens for a learner who was forgotten meanwhile.
pub(super) fn insert(
    connection: &Connection,
    learner: &str,
    photo: &PhotoName,
    sealed: &[u8],
    now_ms: i64,
) -> sql::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO descriptor (learner, photo, sealed, created_at)
             SELECT id, ?2, ?3, ?4 FROM learner WHERE id = ?1 AND data_key IS NOT NULL
             ON CONFLICT DO NOTHING",
        )?
        .execute(params![learner, photo.0, sealed, now_ms])?;
    Ok(())
}

/// The photo itself is gone: nothing is left of it.
pub(super) fn delete_of_capture(connection: &Connection, session: i64, capture: &str) -> sql::Result<()> {
    let photo = PhotoName::capture(SessionKey(session), capture);
    connection
        .prepare_cached(
            "DELETE FROM descriptor WHERE photo = ?2 AND learner = (SELECT learner FROM session WHERE key = ?1)",
        )?
        .execute(params![session, photo.0])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fixture;

    #[tokio::test]
    async fn the_newest_captures_and_every_enrolment_are_kept_until_the_learner_is_forgotten() {
        let (_folder, store) = fixture::store_with_session("s1").await;
        fixture::execute(&store, "UPDATE learner SET data_key = x'00'").await;
        let enrolled = PhotoName::enrolled(1);
        store.keep_descriptor("l1", &enrolled, b"enrolled".to_vec(), 0).await.unwrap();
        for number in 0..KEPT + 3 {
            let photo = PhotoName::capture(SessionKey(1), &format!("c{number}"));
            store.keep_descriptor("l1", &photo, vec![number as u8], number).await.unwrap();
            store.keep_descriptor("l1", &photo, b"another".to_vec(), number).await.unwrap();
        }
        let kept = store.descriptors("l1").await.unwrap();
        assert_eq!(kept.len() as i64, KEPT + 1);
        assert_eq!(kept[0], (PhotoName::capture(SessionKey(1), "c66"), vec![66]));
        assert!(kept.iter().any(|(photo, _)| *photo == enrolled));
        assert!(!kept.iter().any(|(photo, _)| *photo == PhotoName::capture(SessionKey(1), "c2")));
        assert_eq!(store.descriptors("nobody").await.unwrap(), []);
        store.keep_descriptor("nobody", &enrolled, b"x".to_vec(), 0).await.unwrap();
        assert_eq!(store.descriptors("nobody").await.unwrap(), []);
    }
}
