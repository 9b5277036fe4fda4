//! Names and ID numbers, sealed with their learners' own keys, and on record to whom they were shown.
//!
//! What is sealed here is opened nowhere but by whoever holds the master key; see [`crate::auth::person`].

use super::sql::{self, OptionalExtension as _, Row, params};
use serde::Serialize;
use utoipa::ToSchema;

use super::page::{Page, PageRequest};
use super::words::{KeyRole, PersonForm};
use super::{Store, StoreError};

/// A person as the records keep them.
#[derive(Clone)]
pub struct SealedPerson {
    /// the learner that they are
    pub learner: String,
    /// their data key, sealed with the master key
    pub data_key: Vec<u8>,
    /// name and ID number, sealed with the data key; `None` for who was named before these were kept
    pub person: Option<Vec<u8>>,
}

/// That a person's name and number were shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = PersonAccess)]
pub struct AccessRecord {
    /// identifier
    pub id: String,
    /// identifier of the API key that they were shown to
    pub shown_to: String,
    /// its role
    pub role: KeyRole,
    /// how much was shown
    pub form: PersonForm,
    /// ms since the Unix epoch
    pub at: i64,
}

const COLUMNS: &str = "learner.id, learner.data_key, learner.sealed_person";

impl Store {
    /// The person with this identity; `None` when nobody has named them, or they are forgotten.
    ///
    /// # Errors
    /// When the store could not read.
    pub async fn person_of_identity(&self, identity: [u8; 32]) -> Result<Option<SealedPerson>, StoreError> {
        self.read(move |connection| {
            let person = connection
                .prepare_cached(&format!(
                    "SELECT {COLUMNS} FROM learner JOIN learner_identity ON learner_identity.learner = learner.id
                     WHERE learner_identity.identity = ?1 AND learner.data_key IS NOT NULL"
                ))?
                .query_row([identity], sealed)
                .optional()?;
            Ok(person)
        })
        .await
    }

    /// The person who is this learner; `None` when there is none, or they are forgotten.
    ///
    /// # Errors
    /// When the store could not read.
    pub async fn person(&self, learner: &str) -> Result<Option<SealedPerson>, StoreError> {
        let learner = learner.to_owned();
        self.read(move |connection| {
            let person = connection
                .prepare_cached(&format!("SELECT {COLUMNS} FROM learner WHERE id = ?1 AND data_key IS NOT NULL"))?
                .query_row([&learner], sealed)
                .optional()?;
            Ok(person)
        })
        .await
    }

    /// Puts `person` in the place of what `before` holds. False when that has changed meanwhile, or the learner is
    /// forgotten.
    ///
    /// # Errors
    /// When the store could not write.
    pub async fn replace_person(&self, before: SealedPerson, person: Vec<u8>) -> Result<bool, StoreError> {
        self.write(move |transaction| {
            let replaced = transaction.execute(
                "UPDATE learner SET sealed_person = ?3
                 WHERE id = ?1 AND sealed_person IS NOT DISTINCT FROM ?2 AND data_key IS NOT NULL",
                params![before.learner, before.person, person],
            )?;
            Ok(replaced > 0)
        })
        .await
    }

    /// Notes that a person is about to be shown: on disk when this returns.
    ///
    /// # Errors
    /// When the store could not write.
    pub async fn note_access(&self, learner: &str, access: AccessRecord) -> Result<(), StoreError> {
        let learner = learner.to_owned();
        self.write(move |transaction| {
            transaction
                .prepare_cached(
                    "INSERT INTO person_access (id, learner, shown_to, role, form, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                )?
                .execute(params![access.id, learner, access.shown_to, access.role, access.form, access.at])?;
            Ok(())
        })
        .await
    }

    /// To whom a person was shown.
    ///
    /// # Errors
    /// When the store could not read.
    pub async fn accesses(&self, learner: &str, request: PageRequest) -> Result<Page<AccessRecord>, StoreError> {
        let learner = learner.to_owned();
        self.read(move |connection| {
            let accesses = connection
                .prepare_cached(
                    "SELECT id, shown_to, role, form, at FROM person_access
                     WHERE learner = ?1 AND id > ?2 ORDER BY id LIMIT ?3",
                )?
                .query_map(params![learner, request.start(), request.rows()], access)?
                .collect::<Result<Vec<_>, _>>()?;
            Ok(request.page(accesses, |access| &access.id))
        })
        .await
    }
}

fn sealed(row: &Row<'_>) -> sql::Result<SealedPerson> {
    Ok(SealedPerson { learner: row.get(0)?, data_key: row.get(1)?, person: row.get(2)? })
}

fn access(row: &Row<'_>) -> sql::Result<AccessRecord> {
    Ok(AccessRecord { id: row.get(0)?, shown_to: row.get(1)?, role: row.get(2)?, form: row.get(3)?, at: row.get(4)? })
}
