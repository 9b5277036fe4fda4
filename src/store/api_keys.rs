//! API keys: whose a key is. Only digests are kept.

use rusqlite::{OptionalExtension as _, Row, params};
use serde::Serialize;
use utoipa::ToSchema;

use super::page::{Page, PageRequest};
use super::{Store, StoreError};
use crate::auth::SecretHash;

/// Keys of one platform that are valid at the same time: enough for a few back ends and their rotation.
pub const KEYS_OF_PLATFORM: u32 = 16;

/// Whose a key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyHolder {
    /// the installation's operator
    Operator,
    /// the platform with this identifier
    Platform(String),
}

/// A platform's key, as far as it can be shown after its making.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ApiKeyRecord {
    /// identifier, to revoke it by
    pub id: String,
    /// what its owner calls it
    pub label: String,
    /// ms since the Unix epoch
    pub created_at: i64,
    /// ms since the Unix epoch; null while it is valid
    pub revoked_at: Option<i64>,
}

/// Why a key was not added.
#[derive(Debug, thiserror::Error)]
pub enum AddKeyError {
    /// No such platform.
    #[error("no such platform")]
    NoPlatform,
    /// The platform has [`KEYS_OF_PLATFORM`] valid keys.
    #[error("the platform has {KEYS_OF_PLATFORM} valid keys: revoke one first")]
    TooMany,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<rusqlite::Error> for AddKeyError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}

impl Store {
    /// Makes the key with this digest the operator's only one.
    ///
    /// # Errors
    /// When the store could not write.
    pub async fn set_operator_key(&self, hash: SecretHash, id: String, now_ms: i64) -> Result<(), StoreError> {
        self.write(move |transaction| {
            transaction.execute(
                "UPDATE api_key SET revoked_at = ?2 WHERE platform IS NULL AND revoked_at IS NULL AND hash <> ?1",
                params![hash, now_ms],
            )?;
            transaction.execute(
                "INSERT INTO api_key (hash, id, platform, label, created_at) VALUES (?1, ?2, NULL, 'operator', ?3)
                 ON CONFLICT (hash) DO UPDATE SET revoked_at = NULL",
                params![hash, id, now_ms],
            )?;
            Ok(())
        })
        .await
    }

    /// Adds a key of `platform`.
    ///
    /// # Errors
    /// When there is no such platform, or it has too many keys, or the store could not write.
    pub async fn add_api_key(
        &self,
        platform: &str,
        hash: SecretHash,
        record: ApiKeyRecord,
    ) -> Result<ApiKeyRecord, AddKeyError> {
        let platform = platform.to_owned();
        self.write(move |transaction| {
            transaction
                .query_row("SELECT 1 FROM platform WHERE id = ?1", [&platform], |_| Ok(()))
                .optional()?
                .ok_or(AddKeyError::NoPlatform)?;
            let valid: u32 = transaction.query_row(
                "SELECT count(*) FROM api_key WHERE platform = ?1 AND revoked_at IS NULL",
                [&platform],
                |row| row.get(0),
            )?;
            if valid >= KEYS_OF_PLATFORM {
                return Err(AddKeyError::TooMany);
            }
            transaction.execute(
                "INSERT INTO api_key (hash, id, platform, label, created_at) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![hash, record.id, platform, record.label, record.created_at],
            )?;
            Ok(record)
        })
        .await
    }

    /// Whose the key with this digest is; `None` when it is unknown or revoked.
    ///
    /// # Errors
    /// When the store could not read.
    pub async fn key_holder(&self, hash: SecretHash) -> Result<Option<KeyHolder>, StoreError> {
        self.read(move |connection| {
            let platform: Option<Option<String>> = connection
                .prepare_cached("SELECT platform FROM api_key WHERE hash = ?1 AND revoked_at IS NULL")?
                .query_row([hash], |row| row.get(0))
                .optional()?;
            Ok(platform.map(|platform| platform.map_or(KeyHolder::Operator, KeyHolder::Platform)))
        })
        .await
    }

    /// A platform's keys, revoked ones too.
    ///
    /// # Errors
    /// When the store could not read.
    pub async fn api_keys(&self, platform: &str, request: PageRequest) -> Result<Page<ApiKeyRecord>, StoreError> {
        let platform = platform.to_owned();
        self.read(move |connection| {
            let keys = connection
                .prepare_cached(
                    "SELECT id, label, created_at, revoked_at FROM api_key
                     WHERE platform = ?1 AND id > ?2 ORDER BY id LIMIT ?3",
                )?
                .query_map(params![platform, request.start(), request.rows()], record)?
                .collect::<Result<Vec<_>, _>>()?;
            Ok(request.page(keys, |key| &key.id))
        })
        .await
    }

    /// Revokes a platform's key; it stays revoked from its first time. False when the platform has no such key.
    ///
    /// # Errors
    /// When the store could not write.
    pub async fn revoke_api_key(&self, platform: &str, key: &str, now_ms: i64) -> Result<bool, StoreError> {
        let (platform, key) = (platform.to_owned(), key.to_owned());
        self.write(move |transaction| {
            let found = transaction.execute(
                "UPDATE api_key SET revoked_at = coalesce(revoked_at, ?3) WHERE platform = ?1 AND id = ?2",
                params![platform, key, now_ms],
            )?;
            Ok(found > 0)
        })
        .await
    }
}

fn record(row: &Row<'_>) -> rusqlite::Result<ApiKeyRecord> {
    Ok(ApiKeyRecord { id: row.get(0)?, label: row.get(1)?, created_at: row.get(2)?, revoked_at: row.get(3)? })
}
