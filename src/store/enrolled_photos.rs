//! Enrolment photos: versions, each with the face's template, sealed with the learner's own key.
//!
//! The photo itself lies encrypted in the evidence store; here is only what names it. Whether a new face matches the
//! old one is decided before anything comes here.

use super::sql::{self, Connection, OptionalExtension as _, Row, Value, params};

use super::descriptors::{self, PhotoName};
use super::face_scope::Scope;
use super::face_searches::ask_for_learner;
use super::{Store, StoreError};
use crate::auth::keys::{DataKey, KeyError, Keys};
use crate::clock::Entropy;

/// The enrolment photo in force.
#[derive(Clone)]
pub struct EnrolledPhoto {
    /// whose face it is
    pub learner: String,
    /// 1, 2, 3 …
    pub version: i64,
    /// SHA-256 hex of the photo
    pub digest: String,
    /// what names the encrypted photo
    pub evidence: String,
    /// the platform that gave it
    pub platform: String,
    template: Vec<u8>,
    data_key: Vec<u8>,
}

impl EnrolledPhoto {
    /// The face's template, opened with the learner's key.
    ///
    /// # Errors
    /// [`KeyError::Sealed`] when the records are not of this installation.
    pub fn open_template(&self, keys: &Keys) -> Result<Vec<u8>, KeyError> {
        keys.unwrap(&self.learner, &self.data_key)?.open(&context(&self.learner, self.version), &self.template)
    }
}

/// A photo that becomes the one in force.
#[derive(Clone, Debug)]
pub struct NewEnrolledPhoto {
    /// whose face it is
    pub learner: String,
    /// the version it becomes: one more than the one in force
    pub version: i64,
    /// SHA-256 hex of the photo
    pub digest: String,
    /// what names the encrypted photo
    pub evidence: String,
    /// from [`seal_template`], for this learner and version
    pub template: Vec<u8>,
    /// by what the photo is known again, sealed for its [`PhotoName::context`]; none: it is known by its digest alone
    pub descriptor: Option<Vec<u8>>,
    /// the platform that gave the photo
    pub platform: String,
    /// ms since the Unix epoch
    pub created_at: i64,
}

/// Seals a template for the version of the photo that it belongs to.
pub fn seal_template(key: &DataKey, entropy: &Entropy, learner: &str, version: i64, template: &[u8]) -> Vec<u8> {
    key.seal(entropy, &context(learner, version), template)
}

impl Store {
    /// The photo in force of a learner; `None` when there is none, or the learner is forgotten.
    ///
    /// # Errors
    /// When the store could not read.
    pub async fn enrolled_photo(&self, learner: &str) -> Result<Option<EnrolledPhoto>, StoreError> {
        let learner = learner.to_owned();
        self.read(move |connection| {
            let in_force =
                "WHERE learner.id = ?1 AND learner.data_key IS NOT NULL AND photo.version = learner.photo_version";
            let sql = format!("{SELECT} {in_force}");
            Ok(connection.prepare_cached(&sql)?.query_row([&learner], enrolled_photo).optional()?)
        })
        .await
    }

    /// The photos in force of a set of learners, in the order of their identifiers, after that of `after`; at most `limit`.
    /// For [`Scope::Versions`] all photos of that learner.
    ///
    /// # Errors
    /// When the store could not read.
    pub async fn enrolled_faces(
        &self,
        scope: &Scope,
        after: Option<String>,
        limit: u32,
    ) -> Result<Vec<EnrolledPhoto>, StoreError> {
        let scope = scope.clone();
        self.read(move |connection| Ok(enrolled_faces(connection, &scope, after.as_deref(), limit)?)).await
    }

    /// Puts a photo in force. False when its version is not the next one: another photo came first.
    ///
    /// # Errors
    /// When the store could not write.
    pub async fn put_enrolled_photo(&self, photo: NewEnrolledPhoto) -> Result<bool, StoreError> {
        let put = self.write(move |transaction| {
            let next = transaction.execute(
                "UPDATE learner SET photo_version = ?2 WHERE id = ?1 AND photo_version = ?2 - 1 AND data_key IS NOT NULL",
                params![photo.learner, photo.version],
            )?;
            if next == 0 {
                return Ok(false);
            }
            transaction.execute(
                "INSERT INTO enrolled_photo (learner, version, digest, evidence, template, platform, created_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                params![
                    photo.learner,
                    photo.version,
                    photo.digest,
                    photo.evidence,
                    photo.template,
                    photo.platform,
                    photo.created_at
                ],
            )?;
            if let Some(descriptor) = &photo.descriptor {
                let name = PhotoName::enrolled(photo.version);
                descriptors::insert(transaction, &photo.learner, &name, descriptor, photo.created_at)?;
            }
            ask_for_learner(transaction, &photo.learner, photo.created_at)?;
            Ok::<_, StoreError>(true)
        });
        let put = put.await?;
        self.face_searches.notify_one();
        Ok(put)
    }
}

const SELECT: &str = "SELECT learner.id, photo.version, photo.digest, photo.evidence, photo.platform, photo.template,
        learner.data_key
    FROM learner JOIN enrolled_photo AS photo ON photo.learner = learner.id";

/// As [`Store::enrolled_faces`].
pub(super) fn enrolled_faces(
    connection: &Connection,
    scope: &Scope,
    after: Option<&str>,
    limit: u32,
) -> sql::Result<Vec<EnrolledPhoto>> {
    let (condition, of_scope) = scope.condition(3);
    let version = if matches!(scope, Scope::Versions(_)) { "1 = 1" } else { "photo.version = learner.photo_version" };
    let sql = format!(
        "{SELECT} WHERE learner.data_key IS NOT NULL AND learner.id > ?1 AND {version} AND {condition}
         ORDER BY learner.id, photo.version LIMIT ?2"
    );
    let mut values = vec![Value::Text(after.unwrap_or_default().to_owned()), Value::Integer(i64::from(limit))];
    values.extend(of_scope);
    let mut statement = connection.prepare_cached(&sql)?;
    statement.query_map(values.as_slice(), enrolled_photo)?.collect()
}

fn enrolled_photo(row: &Row<'_>) -> sql::Result<EnrolledPhoto> {
    Ok(EnrolledPhoto {
        learner: row.get(0)?,
        version: row.get(1)?,
        digest: row.get(2)?,
        evidence: row.get(3)?,
        platform: row.get(4)?,
        template: row.get(5)?,
        data_key: row.get(6)?,
    })
}

fn context(learner: &str, version: i64) -> String {
    format!("template {learner} {version}")
}
