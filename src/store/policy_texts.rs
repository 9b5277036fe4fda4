//! The text of every policy pack under which a session was ever opened.

use super::sql::{self, Connection, OptionalExtension as _};

use super::sessions::PackInForce;
use super::{Store, StoreError};

impl Store {
    /// The packs under which sessions were opened: label and text.
    ///
    /// # Errors
    /// When the store cannot read.
    pub async fn policy_texts(&self) -> Result<Vec<(String, String)>, StoreError> {
        self.read(all).await
    }

    /// The id of the pack that a project goes by; empty when there is no such project.
    ///
    /// # Errors
    /// When the store cannot read.
    pub async fn policy_of(&self, project: &str) -> Result<String, StoreError> {
        let project = project.to_owned();
        self.read(move |connection| {
            Ok(connection
                .prepare_cached("SELECT policy FROM project WHERE id = ?1")?
                .query_row([&project], |row| row.get(0))
                .optional()?
                .unwrap_or_default())
        })
        .await
    }
}

pub(super) fn all(connection: &Connection) -> Result<Vec<(String, String)>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT label, text FROM policy_text ORDER BY label")?;
    let rows = statement.query_map((), |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Keeps a pack. A label with a digest can have one text only; a pack without version is kept as it was last used.
pub(super) fn keep(transaction: &Connection, pack: &PackInForce) -> sql::Result<()> {
    transaction
        .prepare_cached(
            "INSERT INTO policy_text (label, text) VALUES (?1, ?2)
             ON CONFLICT (label) DO UPDATE SET text = excluded.text WHERE policy_text.text <> excluded.text",
        )?
        .execute([&pack.label, &pack.text])?;
    Ok(())
}
