//! API keys: whose a key is. Only digests are kept.

use super::sql::{self, OptionalExtension as _, Row, params};
use serde::Serialize;
use utoipa::ToSchema;

use super::page::{Page, PageRequest};
use super::words::KeyRole;
use super::{Store, StoreError};
use crate::auth::SecretHash;

/// Keys of one platform that are valid at the same time: enough for a few back ends and their rotation.
pub const KEYS_OF_PLATFORM: u32 = 16;

/// Keys of supervisors and auditors that are valid at the same time: one for each of a province's cities, and more.
pub const OFFICE_KEYS: u32 = 256;

/// Whose a key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyHolder {
    /// the key's identifier: who decides is on record by it
    pub key: String,
    /// what they may do
    pub role: Role,
}

/// What whoever shows a key, or is signed in, may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// the installation's operator
    Operator,
    /// somebody of the office who decides
    Supervisor,
    /// somebody who reads
    Auditor,
    /// the platform with this identifier
    Platform(String),
    /// an account that runs the installation
    Administrator,
    /// an account of the people of the platform with this identifier
    Staff(String),
}

impl Role {
    /// The word for it.
    pub fn word(&self) -> KeyRole {
        match self {
            Self::Operator => KeyRole::Operator,
            Self::Supervisor => KeyRole::Supervisor,
            Self::Auditor => KeyRole::Auditor,
            Self::Platform(_) => KeyRole::Platform,
            Self::Administrator => KeyRole::Administrator,
            Self::Staff(_) => KeyRole::Staff,
        }
    }
}

/// A key, as far as it can be shown after its making.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ApiKeyRecord {
    /// identifier, to revoke it by
    pub id: String,
    /// what its owner calls it
    pub label: String,
    /// what it is good for
    pub role: KeyRole,
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
    /// As many keys are valid as may be: [`KEYS_OF_PLATFORM`], or [`OFFICE_KEYS`].
    #[error("{0} keys are valid already: revoke one first")]
    TooMany(u32),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sql::Error> for AddKeyError {
    fn from(error: sql::Error) -> Self {
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
                "UPDATE api_key SET revoked_at = ?2 WHERE role = 'operator' AND revoked_at IS NULL AND hash <> ?1",
                params![hash, now_ms],
            )?;
            transaction.execute(
                "INSERT INTO api_key (hash, id, platform, label, role, created_at)
                 VALUES (?1, ?2, NULL, 'operator', 'operator', ?3)
                 ON CONFLICT (hash) DO UPDATE SET revoked_at = NULL",
                params![hash, id, now_ms],
            )?;
            Ok(())
        })
        .await
    }

    /// Adds a key: of `platform`, or, when it is `None`, of a supervisor or an auditor.
    ///
    /// # Errors
    /// When there is no such platform, or there are too many such keys, or the store could not write.
    pub async fn add_api_key(
        &self,
        platform: Option<String>,
        hash: SecretHash,
        record: ApiKeyRecord,
    ) -> Result<ApiKeyRecord, AddKeyError> {
        self.write(move |transaction| {
            if let Some(platform) = &platform {
                transaction
                    .query_row("SELECT 1 FROM platform WHERE id = ?1", [platform], |_| Ok(()))
                    .optional()?
                    .ok_or(AddKeyError::NoPlatform)?;
            }
            let limit = if platform.is_some() { KEYS_OF_PLATFORM } else { OFFICE_KEYS };
            let valid: u32 = transaction.query_row(
                "SELECT count(*) FROM api_key WHERE platform IS NOT DISTINCT FROM ?1 AND role <> 'operator' AND revoked_at IS NULL",
                [&platform],
                |row| row.get(0),
            )?;
            if valid >= limit {
                return Err(AddKeyError::TooMany(limit));
            }
            transaction.execute(
                "INSERT INTO api_key (hash, id, platform, label, role, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![hash, record.id, platform, record.label, record.role, record.created_at],
            )?;
            Ok(record.clone())
        })
        .await
    }

    /// Whose the key with this digest is; `None` when it is unknown or revoked.
    ///
    /// # Errors
    /// When the store could not read.
    pub async fn key_holder(&self, hash: SecretHash) -> Result<Option<KeyHolder>, StoreError> {
        self.read(move |connection| {
            let found: Option<(String, KeyRole, Option<String>)> = connection
                .prepare_cached("SELECT id, role, platform FROM api_key WHERE hash = ?1 AND revoked_at IS NULL")?
                .query_row([hash], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
                .optional()?;
            let Some((key, role, platform)) = found else { return Ok(None) };
            let role = match (role, platform) {
                (KeyRole::Operator, None) => Role::Operator,
                (KeyRole::Supervisor, None) => Role::Supervisor,
                (KeyRole::Auditor, None) => Role::Auditor,
                (KeyRole::Platform, Some(platform)) => Role::Platform(platform),
                // Rather nobody than somebody with too much.
                _ => {
                    return Err(StoreError::Corrupt { what: "API key", why: "its role is not its owner's".to_owned() });
                }
            };
            Ok(Some(KeyHolder { key, role }))
        })
        .await
    }

    /// The keys of a platform, or those of supervisors and auditors when it is `None`; revoked ones too.
    ///
    /// # Errors
    /// When the store could not read.
    pub async fn api_keys(
        &self,
        platform: Option<String>,
        request: PageRequest,
    ) -> Result<Page<ApiKeyRecord>, StoreError> {
        self.read(move |connection| {
            let keys = connection
                .prepare_cached(
                    "SELECT id, label, role, created_at, revoked_at FROM api_key
                     WHERE platform IS NOT DISTINCT FROM ?1 AND role <> 'operator' AND id > ?2 ORDER BY id LIMIT ?3",
                )?
                .query_map(params![platform, request.start(), request.rows()], record)?
                .collect::<Result<Vec<_>, _>>()?;
            Ok(request.page(keys, |key| &key.id))
        })
        .await
    }

    /// Revokes a key of a platform, or of a supervisor or an auditor when `platform` is `None`; it stays revoked from
    /// its first time. False when there is no such key.
    ///
    /// # Errors
    /// When the store could not write.
    pub async fn revoke_api_key(&self, platform: Option<String>, key: &str, now_ms: i64) -> Result<bool, StoreError> {
        let key = key.to_owned();
        self.write(move |transaction| {
            let found = transaction.execute(
                "UPDATE api_key SET revoked_at = coalesce(revoked_at, ?3)
                 WHERE platform IS NOT DISTINCT FROM ?1 AND role <> 'operator' AND id = ?2",
                params![platform, key, now_ms],
            )?;
            Ok(found > 0)
        })
        .await
    }
}

fn record(row: &Row<'_>) -> sql::Result<ApiKeyRecord> {
    Ok(ApiKeyRecord {
        id: row.get(0)?,
        label: row.get(1)?,
        role: row.get(2)?,
        created_at: row.get(3)?,
        revoked_at: row.get(4)?,
    })
}
