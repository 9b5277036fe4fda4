//! Platforms: who may send learners, and where their verdicts are delivered.
//!
//! Their keys are in `api_keys.rs`; deliveries are in `outbox.rs`.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde::Serialize;
use utoipa::ToSchema;

use super::page::{Page, PageRequest};
use super::words::PlatformStatus;
use super::{SessionKey, Store, StoreError};

/// A training platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Platform)]
pub struct PlatformRecord {
    /// identifier
    pub id: String,
    /// what it is called
    pub name: String,
    /// set by the operator
    pub status: PlatformStatus,
    /// where its webhooks go; null when it has none
    pub webhook_url: Option<String>,
    /// why deliveries stopped; null while they have not. Setting the webhook again starts them again
    pub webhook_disabled: Option<String>,
    /// ms since the Unix epoch
    pub created_at: i64,
}

const COLUMNS: &str = "id, name, status, webhook_url, webhook_disabled, created_at";

impl Store {
    /// Adds a platform.
    ///
    /// # Errors
    /// When the store could not write.
    pub async fn add_platform(&self, platform: PlatformRecord) -> Result<PlatformRecord, StoreError> {
        self.write(move |transaction| {
            transaction.execute(
                "INSERT INTO platform (id, name, status, created_at) VALUES (?1, ?2, ?3, ?4)",
                params![platform.id, platform.name, platform.status, platform.created_at],
            )?;
            Ok(platform)
        })
        .await
    }

    /// A platform by its identifier.
    ///
    /// # Errors
    /// When the store could not read.
    pub async fn platform(&self, id: &str) -> Result<Option<PlatformRecord>, StoreError> {
        let id = id.to_owned();
        self.read(move |connection| find(connection, &id)).await
    }

    /// All platforms.
    ///
    /// # Errors
    /// When the store could not read.
    pub async fn platforms(&self, request: PageRequest) -> Result<Page<PlatformRecord>, StoreError> {
        self.read(move |connection| {
            let platforms = connection
                .prepare_cached(&format!("SELECT {COLUMNS} FROM platform WHERE id > ?1 ORDER BY id LIMIT ?2"))?
                .query_map(params![request.start(), request.rows()], record)?
                .collect::<Result<Vec<_>, _>>()?;
            Ok(request.page(platforms, |platform| &platform.id))
        })
        .await
    }

    /// Changes what is given of a platform; `None` when there is no such platform.
    ///
    /// # Errors
    /// When the store could not write.
    pub async fn change_platform(
        &self,
        id: &str,
        name: Option<String>,
        status: Option<PlatformStatus>,
    ) -> Result<Option<PlatformRecord>, StoreError> {
        let id = id.to_owned();
        self.write(move |transaction| {
            transaction.execute(
                "UPDATE platform SET name = coalesce(?2, name), status = coalesce(?3, status) WHERE id = ?1",
                params![id, name, status],
            )?;
            find(transaction, &id)
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
fn origins(connection: &Connection, query: &str, of: &[&dyn rusqlite::ToSql]) -> Result<Vec<String>, StoreError> {
    let stored: Option<String> = connection.prepare_cached(query)?.query_row(of, |row| row.get(0)).optional()?;
    let corrupt = |error: serde_json::Error| StoreError::Corrupt { what: "origins", why: error.to_string() };
    stored.map_or(Ok(Vec::new()), |stored| serde_json::from_str(&stored).map_err(corrupt))
}

fn find(connection: &Connection, id: &str) -> Result<Option<PlatformRecord>, StoreError> {
    let platform = connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM platform WHERE id = ?1"))?
        .query_row([id], record)
        .optional()?;
    Ok(platform)
}

fn record(row: &Row<'_>) -> rusqlite::Result<PlatformRecord> {
    Ok(PlatformRecord {
        id: row.get(0)?,
        name: row.get(1)?,
        status: row.get(2)?,
        webhook_url: row.get(3)?,
        webhook_disabled: row.get(4)?,
        created_at: row.get(5)?,
    })
}
