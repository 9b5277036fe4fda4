//! Accounts of people at the console, who is signed in, and who failed to.
//!
//! Passwords come here hashed and secrets sealed; what browsers hold comes as its digest.

use super::sql::{self, Connection, OptionalExtension as _, Row, params};
use serde::Serialize;
use utoipa::ToSchema;

use super::page::{Page, PageRequest};
use super::words::AccountRole;
use super::{Store, StoreError};
use crate::auth::SecretHash;

/// Accounts that an installation has at most, disabled ones too: each is a person of an office or a platform.
pub const ACCOUNTS_LIMIT: u32 = 10_000;
/// How long somebody stays signed in, ms: a working day.
pub const SESSION_LIMIT_MS: i64 = 12 * 3_600_000;
/// How long without asking for anything, ms.
pub const IDLE_LIMIT_MS: i64 = 60 * 60_000;
/// How exactly it is known when a browser was heard last, ms: not each request is a write.
const SEEN_STEP_MS: i64 = 60_000;
/// Failures in a row that are forgiven.
const FAILURES_FORGIVEN: i64 = 4;
/// How long the first lock holds, ms; each further failure doubles it.
const LOCK_FIRST_MS: i64 = 30_000;
/// How long a lock holds at most, ms.
const LOCK_LIMIT_MS: i64 = 3_600_000;
/// After this time without another failure all are forgotten, ms.
const FAILURES_KEPT_MS: i64 = 24 * 3_600_000;

/// An account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Account)]
pub struct AccountRecord {
    /// identifier: decisions are on record by it
    pub id: String,
    /// by which its holder signs in
    pub name: String,
    /// what its holder may do
    pub role: AccountRole,
    /// of a supervisor: what the region of their projects begins with; empty: everywhere
    pub region: String,
    /// of staff: the platform where they work
    pub platform: Option<String>,
    /// whether one-time codes are asked for
    pub totp: bool,
    /// when it was disabled, ms since the Unix epoch; null: it may sign in
    pub disabled_at: Option<i64>,
    /// ms since the Unix epoch
    pub created_at: i64,
}

/// What an account signs in with.
#[derive(Clone)]
pub struct Credentials {
    /// the account
    pub account: AccountRecord,
    /// argon2id, as text
    pub password: String,
    /// the secret of one-time codes, sealed
    pub totp: Option<Vec<u8>>,
    /// one that was not confirmed yet
    pub totp_pending: Option<Vec<u8>>,
    /// the step of the last code that was taken
    pub totp_step: Option<i64>,
}

/// Why an account was not added.
#[derive(Debug, thiserror::Error)]
pub enum AddAccountError {
    /// Somebody has the name.
    #[error("another account has this name")]
    NameTaken,
    /// No such platform.
    #[error("there is no such platform")]
    NoPlatform,
    /// As many as there may be: [`ACCOUNTS_LIMIT`].
    #[error("there are {ACCOUNTS_LIMIT} accounts already")]
    TooMany,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sql::Error> for AddAccountError {
    fn from(error: sql::Error) -> Self {
        Self::Store(error.into())
    }
}

/// A change of what an account signs in with: whoever is signed in elsewhere is signed out.
#[derive(Clone)]
pub enum NewCredential {
    /// another password, hashed
    Password(String),
    /// a secret of one-time codes that is to be confirmed, sealed
    TotpPending(Vec<u8>),
    /// the pending one is in force; the step of the code that confirmed it
    TotpConfirmed(i64),
    /// none any more
    TotpNone,
}

const COLUMNS: &str = "account.id, account.name, account.role, account.region, account.platform,
    account.totp IS NOT NULL, account.disabled_at, account.created_at";

impl Store {
    /// Adds an account; `created_by` is the key or account that makes it.
    ///
    /// # Errors
    /// See [`AddAccountError`].
    pub async fn add_account(
        &self,
        account: AccountRecord,
        password: String,
        created_by: String,
    ) -> Result<AccountRecord, AddAccountError> {
        self.write(move |transaction| {
            if let Some(platform) = &account.platform
                && !transaction.prepare_cached("SELECT 1 FROM platform WHERE id = ?1")?.exists([platform])?
            {
                return Err(AddAccountError::NoPlatform);
            }
            let count: u32 = transaction.query_row("SELECT count(*) FROM account", (), |row| row.get(0))?;
            if count >= ACCOUNTS_LIMIT {
                return Err(AddAccountError::TooMany);
            }
            let added = transaction.execute(
                "INSERT INTO account (id, name, role, region, platform, password, created_by, created_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (name) DO NOTHING",
                params![
                    account.id,
                    account.name,
                    account.role,
                    account.region,
                    account.platform,
                    password,
                    created_by,
                    account.created_at
                ],
            )?;
            if added == 0 { Err(AddAccountError::NameTaken) } else { Ok(account.clone()) }
        })
        .await
    }

    /// All accounts, disabled ones too.
    ///
    /// # Errors
    /// When the store could not read.
    pub async fn accounts(&self, request: PageRequest) -> Result<Page<AccountRecord>, StoreError> {
        self.read(move |connection| {
            let accounts = connection
                .prepare_cached(&format!("SELECT {COLUMNS} FROM account WHERE id > ?1 ORDER BY id LIMIT ?2"))?
                .query_map(params![request.start(), request.rows()], record)?
                .collect::<Result<Vec<_>, _>>()?;
            Ok(request.page(accounts, |account| &account.id))
        })
        .await
    }

    /// An account with what it signs in with, by its name.
    ///
    /// # Errors
    /// When the store could not read.
    pub async fn credentials_of_name(&self, name: &str) -> Result<Option<Credentials>, StoreError> {
        let name = name.to_owned();
        self.read(move |connection| Ok(credentials(connection, "name", &name)?)).await
    }

    /// The same by its identifier.
    ///
    /// # Errors
    /// When the store could not read.
    pub async fn credentials(&self, account: &str) -> Result<Option<Credentials>, StoreError> {
        let account = account.to_owned();
        self.read(move |connection| Ok(credentials(connection, "id", &account)?)).await
    }

    /// Disables an account, which signs it out, or lets it sign in again. `None` when there is none.
    ///
    /// # Errors
    /// When the store could not write.
    pub async fn disable_account(
        &self,
        account: &str,
        disabled: bool,
        now_ms: i64,
    ) -> Result<Option<AccountRecord>, StoreError> {
        let account = account.to_owned();
        self.write(move |transaction| {
            let disabled_at = disabled.then_some(now_ms);
            let sql =
                "UPDATE account SET disabled_at = CASE WHEN ?2 IS NULL THEN NULL ELSE coalesce(disabled_at, ?2) END
                WHERE id = ?1";
            transaction.execute(sql, params![account, disabled_at])?;
            if disabled {
                transaction.execute("DELETE FROM console_session WHERE account = ?1", [&account])?;
            }
            Ok(credentials(transaction, "id", &account)?.map(|credentials| credentials.account))
        })
        .await
    }

    /// Changes what an account signs in with, signs it out everywhere, and in again as `keep`, if that is given.
    ///
    /// # Errors
    /// When the store could not write.
    pub async fn change_credential(
        &self,
        account: &str,
        new: NewCredential,
        keep: Option<SecretHash>,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        let account = account.to_owned();
        self.write(move |transaction| {
            let signs_out = !matches!(new, NewCredential::TotpPending(_));
            match &new {
                NewCredential::Password(hashed) => {
                    transaction.execute("UPDATE account SET password = ?2 WHERE id = ?1", params![account, hashed])?
                }
                NewCredential::TotpPending(sealed) => transaction
                    .execute("UPDATE account SET totp_pending = ?2 WHERE id = ?1", params![account, sealed])?,
                NewCredential::TotpConfirmed(step) => transaction.execute(
                    "UPDATE account SET totp = totp_pending, totp_pending = NULL, totp_step = ?2
                     WHERE id = ?1 AND totp_pending IS NOT NULL",
                    params![account, *step],
                )?,
                NewCredential::TotpNone => transaction.execute(
                    "UPDATE account SET totp = NULL, totp_pending = NULL, totp_step = NULL WHERE id = ?1",
                    [&account],
                )?,
            };
            if signs_out {
                transaction.execute("DELETE FROM console_session WHERE account = ?1", [&account])?;
                if let Some(hash) = keep {
                    insert_session(transaction, hash, &account, now_ms)?;
                }
            }
            Ok(())
        })
        .await
    }

    /// Signs an account in, and forgets its failures by `subjects`. A one-time code's `step` counts as used: false, and nobody is
    /// signed in, when it was used before, or the account is disabled.
    ///
    /// # Errors
    /// When the store could not write.
    pub async fn sign_in(
        &self,
        account: &str,
        hash: SecretHash,
        step: Option<i64>,
        subjects: Vec<String>,
        now_ms: i64,
    ) -> Result<bool, StoreError> {
        let account = account.to_owned();
        self.write(move |transaction| {
            let taken = transaction.execute(
                "UPDATE account SET totp_step = coalesce(?2, totp_step)
                 WHERE id = ?1 AND disabled_at IS NULL AND (?2 IS NULL OR totp_step IS NULL OR totp_step < ?2)",
                params![account, step],
            )?;
            if taken == 0 {
                return Ok(false);
            }
            for subject in &subjects {
                transaction.execute("DELETE FROM login_failure WHERE subject = ?1", [subject])?;
            }
            // What is over is removed by who comes.
            transaction.execute("DELETE FROM console_session WHERE created_at <= ?1", [now_ms - SESSION_LIMIT_MS])?;
            insert_session(transaction, hash, &account, now_ms)?;
            Ok(true)
        })
        .await
    }

    /// Signs a browser out.
    ///
    /// # Errors
    /// When the store could not write.
    pub async fn sign_out(&self, hash: SecretHash) -> Result<(), StoreError> {
        self.write(move |transaction| {
            transaction.execute("DELETE FROM console_session WHERE hash = ?1", [hash])?;
            Ok(())
        })
        .await
    }

    /// Who is signed in with this digest, if that is not over.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn signed_in(&self, hash: SecretHash, now_ms: i64) -> Result<Option<AccountRecord>, StoreError> {
        let Some((account, seen_at)) = self.console_session(hash, now_ms).await? else { return Ok(None) };
        if now_ms - seen_at >= SEEN_STEP_MS {
            self.write(move |transaction| {
                let sql = "UPDATE console_session SET seen_at = ?2 WHERE hash = ?1 AND seen_at < ?2";
                Ok::<_, StoreError>(transaction.execute(sql, params![hash, now_ms])?)
            })
            .await?;
        }
        Ok(Some(account))
    }

    /// Whether who is signed in still is; that this is asked does not count as their asking for something.
    ///
    /// # Errors
    /// When the store could not read.
    pub async fn is_still_signed_in(&self, hash: SecretHash, now_ms: i64) -> Result<bool, StoreError> {
        Ok(self.console_session(hash, now_ms).await?.is_some())
    }

    async fn console_session(&self, hash: SecretHash, now_ms: i64) -> Result<Option<(AccountRecord, i64)>, StoreError> {
        self.read(move |connection| {
            let found = connection
                .prepare_cached(&format!(
                    "SELECT {COLUMNS}, console_session.seen_at FROM console_session
                     JOIN account ON account.id = console_session.account
                     WHERE console_session.hash = ?1 AND console_session.created_at > ?2
                       AND console_session.seen_at > ?3 AND account.disabled_at IS NULL"
                ))?
                .query_row(params![hash, now_ms - SESSION_LIMIT_MS, now_ms - IDLE_LIMIT_MS], |row| {
                    Ok((record(row)?, row.get::<i64>(8)?))
                })
                .optional()?;
            Ok(found)
        })
        .await
    }

    /// Until when one of these is locked, if one is, ms since the Unix epoch.
    ///
    /// # Errors
    /// When the store could not read.
    pub async fn locked_until(&self, subjects: Vec<String>, now_ms: i64) -> Result<Option<i64>, StoreError> {
        self.read(move |connection| {
            let mut until = None;
            for subject in &subjects {
                let found: Option<i64> = connection
                    .prepare_cached("SELECT locked_until FROM login_failure WHERE subject = ?1")?
                    .query_row([subject], |row| row.get(0))
                    .optional()?;
                until = until.max(found.filter(|until| *until > now_ms));
            }
            Ok(until)
        })
        .await
    }

    /// Notes a failure to sign in.
    ///
    /// # Errors
    /// When the store could not write.
    pub async fn login_failed(&self, subjects: Vec<String>, now_ms: i64) -> Result<(), StoreError> {
        self.write(move |transaction| {
            transaction.execute("DELETE FROM login_failure WHERE at <= ?1", [now_ms - FAILURES_KEPT_MS])?;
            for subject in &subjects {
                let failures: i64 = transaction
                    .prepare_cached(
                        "INSERT INTO login_failure (subject, failures, locked_until, at) VALUES (?1, 1, 0, ?2)
                         ON CONFLICT (subject) DO UPDATE SET failures = login_failure.failures + 1, at = ?2
                         RETURNING failures",
                    )?
                    .query_row(params![subject, now_ms], |row| row.get(0))?;
                transaction.execute(
                    "UPDATE login_failure SET locked_until = ?2 WHERE subject = ?1",
                    params![subject, now_ms + lock_ms(failures)],
                )?;
            }
            Ok(())
        })
        .await
    }

    /// Forgets the failures of one of these.
    ///
    /// # Errors
    /// When the store could not write.
    pub async fn forgive_failures(&self, subject: String) -> Result<(), StoreError> {
        self.write(move |transaction| {
            transaction.execute("DELETE FROM login_failure WHERE subject = ?1", [&subject])?;
            Ok(())
        })
        .await
    }
}

/// How long whoever has failed so often in a row waits, ms.
fn lock_ms(failures: i64) -> i64 {
    match failures - FAILURES_FORGIVEN {
        ..=0 => 0,
        over => LOCK_FIRST_MS.saturating_mul(1 << (over - 1).min(20)).min(LOCK_LIMIT_MS),
    }
}

fn insert_session(transaction: &Connection, hash: SecretHash, account: &str, now_ms: i64) -> sql::Result<()> {
    transaction.execute(
        "INSERT INTO console_session (hash, account, created_at, seen_at) VALUES (?1, ?2, ?3, ?3)",
        params![hash, account, now_ms],
    )?;
    Ok(())
}

fn credentials(connection: &Connection, column: &str, value: &str) -> sql::Result<Option<Credentials>> {
    connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS}, password, totp, totp_pending, totp_step FROM account WHERE {column} = ?1"
        ))?
        .query_row([value], |row| {
            Ok(Credentials {
                account: record(row)?,
                password: row.get(8)?,
                totp: row.get(9)?,
                totp_pending: row.get(10)?,
                totp_step: row.get(11)?,
            })
        })
        .optional()
}

fn record(row: &Row<'_>) -> sql::Result<AccountRecord> {
    Ok(AccountRecord {
        id: row.get(0)?,
        name: row.get(1)?,
        role: row.get(2)?,
        region: row.get(3)?,
        platform: row.get(4)?,
        totp: row.get(5)?,
        disabled_at: row.get(6)?,
        created_at: row.get(7)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fixture;

    #[test]
    fn locks_double_up_to_an_hour() {
        let locks: Vec<i64> = [1, 4, 5, 6, 7, 11, 12, 1_000].map(lock_ms).into();
        assert_eq!(locks, [0, 0, 30_000, 60_000, 120_000, 1_920_000, 3_600_000, 3_600_000]);
    }

    async fn with_account() -> (tempfile::TempDir, Store) {
        let (folder, store) = fixture::store().await;
        let account = AccountRecord {
            id: "a1".into(),
            name: "zhang".into(),
            role: AccountRole::Auditor,
            region: String::new(),
            platform: None,
            totp: false,
            disabled_at: None,
            created_at: 1,
        };
        store.add_account(account.clone(), "hash".into(), String::new()).await.unwrap();
        let again = store.add_account(AccountRecord { id: "a2".into(), ..account }, "hash".into(), String::new()).await;
        assert!(matches!(again, Err(AddAccountError::NameTaken)));
        (folder, store)
    }

    #[tokio::test]
    async fn who_is_signed_in_stays_so_for_a_while() {
        let (_folder, store) = with_account().await;
        let hash = [7; 32];
        assert!(store.sign_in("a1", hash, None, Vec::new(), 0).await.unwrap());
        assert_eq!(store.signed_in(hash, IDLE_LIMIT_MS - 1).await.unwrap().unwrap().name, "zhang");
        assert!(store.signed_in(hash, 2 * IDLE_LIMIT_MS - 2).await.unwrap().is_some(), "heard since");
        assert!(store.signed_in(hash, 3 * IDLE_LIMIT_MS).await.unwrap().is_none(), "idle for too long");
        let mut now_ms = 0;
        assert!(store.sign_in("a1", [8; 32], None, Vec::new(), 0).await.unwrap());
        while store.signed_in([8; 32], now_ms).await.unwrap().is_some() {
            now_ms += IDLE_LIMIT_MS / 2;
        }
        assert_eq!(now_ms, SESSION_LIMIT_MS);
        store.sign_in("a1", [9; 32], None, Vec::new(), now_ms).await.unwrap();
        store.disable_account("a1", true, now_ms).await.unwrap();
        assert!(store.signed_in([9; 32], now_ms).await.unwrap().is_none());
        assert!(!store.sign_in("a1", [1; 32], None, Vec::new(), now_ms).await.unwrap());
        let back = store.disable_account("a1", false, now_ms).await.unwrap().unwrap();
        assert_eq!(back.disabled_at, None);
    }

    #[tokio::test]
    async fn a_code_signs_in_once() {
        let (_folder, store) = with_account().await;
        assert!(store.sign_in("a1", [1; 32], Some(9), Vec::new(), 0).await.unwrap());
        assert!(!store.sign_in("a1", [2; 32], Some(9), Vec::new(), 0).await.unwrap());
        assert!(store.sign_in("a1", [3; 32], Some(10), Vec::new(), 0).await.unwrap());
    }

    #[tokio::test]
    async fn failures_in_a_row_lock_for_longer_and_longer() {
        let (_folder, store) = with_account().await;
        let subjects = || vec!["name".to_owned(), "address".to_owned()];
        for _ in 0..4 {
            store.login_failed(subjects(), 1_000).await.unwrap();
        }
        assert_eq!(store.locked_until(subjects(), 1_000).await.unwrap(), None);
        store.login_failed(subjects(), 1_000).await.unwrap();
        assert_eq!(store.locked_until(subjects(), 1_000).await.unwrap(), Some(31_000));
        assert_eq!(store.locked_until(vec!["other".into()], 1_000).await.unwrap(), None);
        assert_eq!(store.locked_until(subjects(), 31_000).await.unwrap(), None);
        store.login_failed(vec!["name".into()], 31_000).await.unwrap();
        assert_eq!(store.locked_until(subjects(), 31_000).await.unwrap(), Some(91_000));
        store.sign_in("a1", [1; 32], None, subjects(), 100_000).await.unwrap();
        store.login_failed(subjects(), 100_000).await.unwrap();
        assert_eq!(store.locked_until(subjects(), 100_000).await.unwrap(), None);
    }
}
