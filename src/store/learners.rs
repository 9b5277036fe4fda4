//! Learners: one person across platforms, under a random identifier.
//!
//! The link from a person to the identifier is a row of its own, so that it can be forgotten. A platform sees those
//! learners only whom it has named itself. Photos are in `enrolled_photos.rs`, names and numbers in `persons.rs`.

use super::sql::{Connection, OptionalExtension as _, params};
use serde::Serialize;
use utoipa::ToSchema;

use super::face_searches::ask_for_learner;
use super::{Store, StoreError};

/// A person as a platform names them.
#[derive(Clone, Debug)]
pub struct NamedLearner {
    /// the platform that names the person
    pub platform: String,
    /// HMAC of the ID number under the installation's pepper
    pub identity: [u8; 32],
    /// the platform's own reference to the person; `None` leaves an earlier one as it is
    pub external_reference: Option<String>,
    /// the random identifier that the person gets if nobody has named them before
    pub new_id: String,
    /// the data key for that identifier, sealed
    pub new_data_key: Vec<u8>,
    /// name and ID number, sealed with that data key
    pub new_person: Vec<u8>,
    /// whom this identity was found to be; `None`: nobody yet
    pub known: Option<String>,
    /// ms since the Unix epoch
    pub now_ms: i64,
}

/// A learner, as one platform sees them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Learner)]
pub struct LearnerRecord {
    /// the random identifier, the same at every platform
    pub id: String,
    /// version of the enrolment photo in force; 0 when there is none yet
    pub photo_version: i64,
    /// this platform's own reference to the person
    pub external_reference: Option<String>,
    /// when this platform first named the person, ms since the Unix epoch
    pub created_at: i64,
}

impl Store {
    /// The learner that a platform names, and whether this platform names them for the first time. Whoever is
    /// unknown everywhere becomes a learner. `None`: the person is no longer (or not yet) whom they were known to be,
    /// and nothing was stored.
    ///
    /// # Errors
    /// When the store could not write.
    pub async fn name_learner(&self, named: NamedLearner) -> Result<Option<(LearnerRecord, bool)>, StoreError> {
        self.write(move |transaction| {
            let Some(learner) = learner_of(transaction, &named)? else { return Ok(None) };
            let before = find(transaction, &named.platform, &learner)?;
            transaction.execute(
                "INSERT INTO platform_learner (platform, learner, external_reference, created_at)
                 VALUES (?1, ?2, ?3, ?4) ON CONFLICT (platform, learner)
                 DO UPDATE SET external_reference = coalesce(excluded.external_reference, platform_learner.external_reference)",
                params![named.platform, learner, named.external_reference, named.now_ms],
            )?;
            let record = find(transaction, &named.platform, &learner)?.ok_or_else(|| StoreError::Corrupt {
                what: "learner",
                why: "an identity without a learner".to_owned(),
            })?;
            if before.is_none() {
                ask_for_learner(transaction, &learner, named.now_ms)?;
            }
            Ok(Some((record, before.is_none())))
        })
        .await
    }

    /// A learner whom this platform has named.
    ///
    /// # Errors
    /// When the store could not read.
    pub async fn learner(&self, platform: &str, learner: &str) -> Result<Option<LearnerRecord>, StoreError> {
        let (platform, learner) = (platform.to_owned(), learner.to_owned());
        self.read(move |connection| find(connection, &platform, &learner)).await
    }

    /// A learner's data key, sealed with the master key; `None` for an unknown or forgotten learner.
    ///
    /// # Errors
    /// When the store could not read.
    pub async fn sealed_data_key(&self, learner: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let learner = learner.to_owned();
        self.read(move |connection| {
            let key: Option<Option<Vec<u8>>> = connection
                .prepare_cached("SELECT data_key FROM learner WHERE id = ?1")?
                .query_row([&learner], |row| row.get(0))
                .optional()?;
            Ok(key.flatten())
        })
        .await
    }

    /// A learner with the sealed data key, to try the master key on; `None` when nobody has one.
    ///
    /// # Errors
    /// When the store could not read.
    pub async fn a_sealed_key(&self) -> Result<Option<(String, Vec<u8>)>, StoreError> {
        self.read(|connection| {
            let sql = "SELECT id, data_key FROM learner WHERE data_key IS NOT NULL ORDER BY id DESC LIMIT 1";
            Ok(connection.query_row(sql, (), |row| Ok((row.get(0)?, row.get(1)?))).optional()?)
        })
        .await
    }
}

fn learner_of(connection: &Connection, named: &NamedLearner) -> Result<Option<String>, StoreError> {
    let known: Option<String> = connection
        .prepare_cached("SELECT learner FROM learner_identity WHERE identity = ?1")?
        .query_row([named.identity], |row| row.get(0))
        .optional()?;
    if known != named.known {
        return Ok(None);
    }
    if known.is_some() {
        return Ok(known);
    }
    connection.execute(
        "INSERT INTO learner (id, data_key, sealed_person, created_at) VALUES (?1, ?2, ?3, ?4)",
        params![named.new_id, named.new_data_key, named.new_person, named.now_ms],
    )?;
    connection.execute(
        "INSERT INTO learner_identity (identity, learner) VALUES (?1, ?2)",
        params![named.identity, named.new_id],
    )?;
    Ok(Some(named.new_id.clone()))
}

fn find(connection: &Connection, platform: &str, learner: &str) -> Result<Option<LearnerRecord>, StoreError> {
    let record = connection
        .prepare_cached(
            "SELECT learner.id, learner.photo_version, seen.external_reference, seen.created_at
             FROM platform_learner AS seen JOIN learner ON learner.id = seen.learner
             WHERE seen.platform = ?1 AND seen.learner = ?2",
        )?
        .query_row([platform, learner], |row| {
            Ok(LearnerRecord {
                id: row.get(0)?,
                photo_version: row.get(1)?,
                external_reference: row.get(2)?,
                created_at: row.get(3)?,
            })
        })
        .optional()?;
    Ok(record)
}
