//! Platforms: who may send learners, and where their verdicts are delivered.
//!
//! A platform's status is what was decided last, read by the day: a ban ends by itself. So whoever reads a status says
//! what time it is. Their keys are in `api_keys.rs`; deliveries are in `outbox.rs`.

use super::sql::{self, Connection, OptionalExtension as _, Row, ToSql, params};
use serde::Serialize;
use utoipa::ToSchema;

use super::page::{Page, PageRequest};
use super::reach::Reach;
use super::words::PlatformStatus;
use super::{SessionKey, Store, StoreError};
use crate::policy::date_in_china;

/// A training platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Platform)]
pub struct PlatformRecord {
    /// identifier
    pub id: String,
    /// what it is called
    pub name: String,
    /// the status in force: a ban ends by itself
    pub status: PlatformStatus,
    /// why it was decided last
    pub status_reason: Option<String>,
    /// the document of that decision
    pub status_document: Option<String>,
    /// the day of the violation, YYYY-MM-DD; null when the last decision was no ban
    pub banned_from: Option<String>,
    /// the day on which the ban ends by itself, YYYY-MM-DD; null when it was none
    pub banned_until: Option<String>,
    /// where its webhooks go; null when it has none
    pub webhook_url: Option<String>,
    /// why deliveries stopped; null while they have not. Setting the webhook again starts them again
    pub webhook_disabled: Option<String>,
    /// ms since the Unix epoch
    pub created_at: i64,
}

/// What was decided about a platform's status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = PlatformDecision)]
pub struct StatusRecord {
    /// identifier
    pub id: String,
    /// the status from then on
    pub status: PlatformStatus,
    /// why
    pub reason: Option<String>,
    /// the document that says so
    pub document: Option<String>,
    /// of a ban: the day of the violation, YYYY-MM-DD
    pub banned_from: Option<String>,
    /// of a ban: the day on which it ends by itself, YYYY-MM-DD
    pub banned_until: Option<String>,
    /// identifier of the API key that decided; empty: not known
    pub decided_by: String,
    /// ms since the Unix epoch
    pub decided_at: i64,
}

/// The three columns that tell the status in force, in the order of [`status_in_force`].
pub(super) const STATUS_COLUMNS: &str = "platform.status, platform.banned_until, platform.after_ban";

/// The status in force at `now_ms`, from [`STATUS_COLUMNS`] that begin at column `first`.
pub(super) fn status_in_force(row: &Row<'_>, first: usize, now_ms: i64) -> sql::Result<PlatformStatus> {
    let (status, until): (PlatformStatus, Option<String>) = (row.get(first)?, row.get(first + 1)?);
    // Days as text compare as days do.
    let over = until.is_some_and(|until| until <= date_in_china(now_ms).to_string());
    if status == PlatformStatus::Banned && over { row.get(first + 2) } else { Ok(status) }
}

const COLUMNS: &str = "id, name, platform.status, platform.banned_until, platform.after_ban, status_reason,
    status_document, banned_from, webhook_url, webhook_disabled, created_at";

impl Store {
    /// Adds a platform; `decision` says by whom, and begins the history of its status.
    ///
    /// # Errors
    /// When the store could not write.
    pub async fn add_platform(&self, name: String, decision: StatusRecord) -> Result<PlatformRecord, StoreError> {
        self.write(move |transaction| {
            // The first decision has the platform's own identifier.
            transaction.execute(
                "INSERT INTO platform (id, name, status, created_at) VALUES (?1, ?2, ?3, ?4)",
                params![decision.id, name, decision.status, decision.decided_at],
            )?;
            add_decision(transaction, &decision.id, &decision)?;
            find(transaction, &decision.id, decision.decided_at)?.ok_or_else(gone)
        })
        .await
    }

    /// A platform by its identifier, with its status at `now_ms`.
    ///
    /// # Errors
    /// When the store could not read.
    pub async fn platform(&self, id: &str, now_ms: i64) -> Result<Option<PlatformRecord>, StoreError> {
        let id = id.to_owned();
        self.read(move |connection| find(connection, &id, now_ms)).await
    }

    /// All platforms, with their status at `now_ms`.
    ///
    /// # Errors
    /// When the store could not read.
    pub async fn platforms(
        &self,
        reach: Reach,
        request: PageRequest,
        now_ms: i64,
    ) -> Result<Page<PlatformRecord>, StoreError> {
        self.read(move |connection| {
            let (start, rows, end) = (request.start(), request.rows(), reach.region_end());
            let mut values: Vec<&dyn ToSql> = vec![&start, &rows];
            let mut of_projects = reach.conditions("project", &end, &mut values);
            if !of_projects.is_empty() {
                of_projects =
                    format!(" AND EXISTS (SELECT 1 FROM project WHERE project.platform = platform.id{of_projects})");
            }
            let platforms = connection
                .prepare_cached(&format!(
                    "SELECT {COLUMNS} FROM platform WHERE id > ?1{of_projects} ORDER BY id LIMIT ?2"
                ))?
                .query_map(values.as_slice(), |row| record(row, now_ms))?
                .collect::<Result<Vec<_>, _>>()?;
            Ok(request.page(platforms, |platform| &platform.id))
        })
        .await
    }

    /// Gives a platform another name; `None` when there is no such platform.
    ///
    /// # Errors
    /// When the store could not write.
    pub async fn rename_platform(
        &self,
        id: &str,
        name: String,
        now_ms: i64,
    ) -> Result<Option<PlatformRecord>, StoreError> {
        let id = id.to_owned();
        self.write(move |transaction| {
            transaction.execute("UPDATE platform SET name = ?2 WHERE id = ?1", params![id, name])?;
            find(transaction, &id, now_ms)
        })
        .await
    }

    /// Decides a platform's status, and keeps the decision; `None` when there is no such platform.
    ///
    /// # Errors
    /// When the store could not write.
    pub async fn decide_platform_status(
        &self,
        platform: &str,
        decision: StatusRecord,
    ) -> Result<Option<PlatformRecord>, StoreError> {
        let platform = platform.to_owned();
        self.write(move |transaction| {
            let now_ms = decision.decided_at;
            let Some(before) = find(transaction, &platform, now_ms)? else { return Ok(None) };
            // Nobody becomes registered by a ban that ends: who was banned again keeps what was to come.
            let after_ban = match before.status {
                PlatformStatus::Unregistered => Some(PlatformStatus::Unregistered),
                PlatformStatus::Banned => None,
                PlatformStatus::Active | PlatformStatus::Suspended => Some(PlatformStatus::Active),
            };
            transaction.execute(
                "UPDATE platform SET status = ?2, status_reason = ?3, status_document = ?4, banned_from = ?5,
                     banned_until = ?6, after_ban = coalesce(?7, after_ban) WHERE id = ?1",
                params![
                    platform,
                    decision.status,
                    decision.reason,
                    decision.document,
                    decision.banned_from,
                    decision.banned_until,
                    after_ban
                ],
            )?;
            add_decision(transaction, &platform, &decision)?;
            find(transaction, &platform, now_ms)
        })
        .await
    }

    /// What was ever decided about a platform's status.
    ///
    /// # Errors
    /// When the store could not read.
    pub async fn platform_decisions(
        &self,
        platform: &str,
        request: PageRequest,
    ) -> Result<Page<StatusRecord>, StoreError> {
        let platform = platform.to_owned();
        self.read(move |connection| {
            let decisions = connection
                .prepare_cached(
                    "SELECT id, status, reason, document, banned_from, banned_until, decided_by, decided_at
                     FROM platform_status WHERE platform = ?1 AND id > ?2 ORDER BY id LIMIT ?3",
                )?
                .query_map(params![platform, request.start(), request.rows()], decision_record)?
                .collect::<Result<Vec<_>, _>>()?;
            Ok(request.page(decisions, |decision| &decision.id))
        })
        .await
    }

    /// Sets a platform's webhook, with its sealed secret; deliveries that had stopped go on.
    ///
    /// # Errors
    /// When the store could not write.
    pub async fn set_webhook(&self, id: &str, url: String, sealed_secret: Vec<u8>) -> Result<(), StoreError> {
        let id = id.to_owned();
        self.write(move |transaction| {
            transaction.execute(
                "UPDATE platform SET webhook_url = ?2, webhook_secret = ?3, webhook_disabled = NULL WHERE id = ?1",
                params![id, url, sealed_secret],
            )?;
            Ok(())
        })
        .await
    }

    /// Takes a platform's webhook away.
    ///
    /// # Errors
    /// When the store could not write.
    pub async fn clear_webhook(&self, id: &str) -> Result<(), StoreError> {
        let id = id.to_owned();
        self.write(move |transaction| {
            transaction.execute(
                "UPDATE platform SET webhook_url = NULL, webhook_secret = NULL, webhook_disabled = NULL WHERE id = ?1",
                [&id],
            )?;
            // What was not delivered to the old address is not delivered to a later one either.
            transaction.execute(
                "UPDATE outbox SET state = 'failed', last_error = 'the webhook was removed'
                 WHERE platform = ?1 AND state = 'pending'",
                [&id],
            )?;
            Ok(())
        })
        .await
    }
}

fn gone() -> StoreError {
    StoreError::Corrupt { what: "platform", why: "gone as soon as it was written".to_owned() }
}

fn add_decision(connection: &Connection, platform: &str, decision: &StatusRecord) -> sql::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO platform_status
                 (id, platform, status, reason, document, banned_from, banned_until, decided_by, decided_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![
            decision.id,
            platform,
            decision.status,
            decision.reason,
            decision.document,
            decision.banned_from,
            decision.banned_until,
            decision.decided_by,
            decision.decided_at
        ])
        .map(drop)
}

impl Store {
    /// The web origins whose pages may stream for a platform.
    ///
    /// # Errors
    /// When the store could not read.
    pub async fn platform_origins(&self, id: &str) -> Result<Vec<String>, StoreError> {
        let id = id.to_owned();
        self.read(move |connection| origins(connection, "SELECT origins FROM platform WHERE id = ?1", params![id]))
            .await
    }

    /// Sets them.
    ///
    /// # Errors
    /// When the store could not write.
    pub async fn set_platform_origins(&self, id: &str, origins: &[String]) -> Result<(), StoreError> {
        let (id, origins) = (id.to_owned(), serde_json::json!(origins).to_string());
        self.write(move |transaction| {
            transaction.execute("UPDATE platform SET origins = ?2 WHERE id = ?1", params![id, origins])?;
            Ok(())
        })
        .await
    }

    /// The web origins whose pages may stream into a session: those of its platform.
    ///
    /// # Errors
    /// When the store could not read.
    pub async fn origins_of_session(&self, session: SessionKey) -> Result<Vec<String>, StoreError> {
        const OF_SESSION: &str =
            "SELECT origins FROM platform JOIN session ON session.platform = platform.id WHERE session.key = ?1";
        self.read(move |connection| origins(connection, OF_SESSION, params![session.0])).await
    }
}

/// No such platform has no origins.
fn origins(connection: &Connection, query: &str, of: &[&dyn ToSql]) -> Result<Vec<String>, StoreError> {
    let stored: Option<String> = connection.prepare_cached(query)?.query_row(of, |row| row.get(0)).optional()?;
    let corrupt = |error: serde_json::Error| StoreError::Corrupt { what: "origins", why: error.to_string() };
    stored.map_or(Ok(Vec::new()), |stored| serde_json::from_str(&stored).map_err(corrupt))
}

fn find(connection: &Connection, id: &str, now_ms: i64) -> Result<Option<PlatformRecord>, StoreError> {
    let platform = connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM platform WHERE id = ?1"))?
        .query_row([id], |row| record(row, now_ms))
        .optional()?;
    Ok(platform)
}

fn record(row: &Row<'_>, now_ms: i64) -> sql::Result<PlatformRecord> {
    Ok(PlatformRecord {
        id: row.get(0)?,
        name: row.get(1)?,
        status: status_in_force(row, 2, now_ms)?,
        banned_until: row.get(3)?,
        status_reason: row.get(5)?,
        status_document: row.get(6)?,
        banned_from: row.get(7)?,
        webhook_url: row.get(8)?,
        webhook_disabled: row.get(9)?,
        created_at: row.get(10)?,
    })
}

fn decision_record(row: &Row<'_>) -> sql::Result<StatusRecord> {
    Ok(StatusRecord {
        id: row.get(0)?,
        status: row.get(1)?,
        reason: row.get(2)?,
        document: row.get(3)?,
        banned_from: row.get(4)?,
        banned_until: row.get(5)?,
        decided_by: row.get(6)?,
        decided_at: row.get(7)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fixture;

    #[tokio::test]
    async fn the_history_is_only_added_to() {
        let (_folder, store) = fixture::store().await;
        let first = StatusRecord {
            id: "p1".to_owned(),
            status: PlatformStatus::Active,
            reason: None,
            document: None,
            banned_from: None,
            banned_until: None,
            decided_by: "k1".to_owned(),
            decided_at: 1,
        };
        store.add_platform("P".to_owned(), first.clone()).await.unwrap();
        for sql in ["UPDATE platform_status SET reason = 'x'", "DELETE FROM platform_status"] {
            let changed: Result<(), StoreError> =
                store.write(move |transaction| Ok(transaction.execute_batch(sql)?)).await;
            assert!(changed.unwrap_err().to_string().contains("rows are only added"), "{sql}");
        }
        let kept = store.platform_decisions("p1", PageRequest::default()).await.unwrap();
        assert_eq!(kept.items, [first]);
    }
}
