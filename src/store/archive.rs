//! A data folder that is only read: by commands, while a server may be running in it.
//!
//! Nothing is written, and no lock is held that a server would wait for. What one [`Archive::snapshot`] reads is the
//! state of one moment, whatever the server does meanwhile; a server's write-ahead log grows until it ends.

use std::path::Path;

use rusqlite::{Connection, Row};

use super::ledger::{LedgerCursor, LedgerEntry, LedgerFilter};
use super::ledger_totals::{LedgerTotals, totals};
use super::{StoreError, embedded, journal, ledger};

/// A data folder, opened to be read.
pub struct Archive(Connection);

/// A closed session with its verdicts and its sealed log.
#[derive(Clone, Debug)]
pub struct SealedSession {
    /// the session
    pub id: String,
    /// the verdict that is in force
    pub latest: Option<StoredVerdict>,
    /// the latest that the engine made
    pub derived: Option<StoredVerdict>,
    /// the log
    pub log: Option<SealedLog>,
}

/// A verdict as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredVerdict {
    /// 1, 2, 3 …
    pub version: i64,
    /// the status as the record has it
    pub status: String,
    /// the verdict, byte for byte
    pub body: String,
}

/// A sealed log as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedLog {
    /// SHA-256 hex of the lines, as the record has it
    pub digest: String,
    compressed: Vec<u8>,
}

impl SealedLog {
    /// The lines, decompressed while they are read.
    pub fn lines(&self) -> impl std::io::Read + '_ {
        journal::decompressing(&self.compressed)
    }
}

const SESSIONS: &str = "SELECT session.id, latest.version, latest.status, latest.body,
        derived.version, derived.status, derived.body, segment.digest, segment.lines
    FROM session
    LEFT JOIN verdict AS latest ON latest.session = session.key
        AND latest.version = (SELECT max(version) FROM verdict AS v WHERE v.session = session.key)
    LEFT JOIN verdict AS derived ON derived.session = session.key AND derived.version =
        (SELECT max(version) FROM verdict AS v WHERE v.session = session.key AND v.reviewer IS NULL)
    LEFT JOIN segment ON segment.session = session.key
    WHERE session.closed_at IS NOT NULL ORDER BY session.key";

impl Archive {
    /// Opens the database of a data folder, which must have this binary's schema.
    ///
    /// # Errors
    /// When there is none, or it was written by an older or newer invigil.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let connection = embedded::connect_to_read(&folder.join("invigil.sqlite"))?;
        embedded::check_schema(&connection)?;
        Ok(Self(connection))
    }

    /// Runs `look` on the state of one moment.
    ///
    /// # Errors
    /// What `look` returns, or when the database refuses.
    pub fn snapshot<T, E: From<StoreError>>(&self, look: impl FnOnce(&Self) -> Result<T, E>) -> Result<T, E> {
        let transaction = self.0.unchecked_transaction().map_err(StoreError::from)?;
        let found = look(self)?;
        drop(transaction);
        Ok(found)
    }

    /// How many sessions are closed.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn closed_sessions(&self) -> Result<u64, StoreError> {
        let count = "SELECT count(*) FROM session WHERE closed_at IS NOT NULL";
        Ok(self.0.query_row(count, [], |row| row.get::<_, i64>(0))?.unsigned_abs())
    }

    /// Gives every closed session to `take`, oldest first, until it returns false.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn each_sealed_session(&self, mut take: impl FnMut(SealedSession) -> bool) -> Result<(), StoreError> {
        let mut statement = self.0.prepare(SESSIONS)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            if !take(sealed_session(row)?) {
                break;
            }
        }
        Ok(())
    }

    /// As [`ledger::entries`].
    ///
    /// # Errors
    /// When the database refuses.
    pub fn ledger_entries(
        &self,
        filter: &LedgerFilter,
        cursor: Option<LedgerCursor>,
        limit: u32,
    ) -> Result<(Vec<LedgerEntry>, Option<LedgerCursor>), StoreError> {
        ledger::entries(&self.0, filter, cursor, limit)
    }

    /// The sum of all that a filter lets through.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn ledger_total(&self, filter: &LedgerFilter) -> Result<LedgerTotals, StoreError> {
        Ok(totals(&self.0, filter, None, None, 1)?.pop().unwrap_or_default())
    }
}

fn sealed_session(row: &Row) -> Result<SealedSession, StoreError> {
    let verdict = |from: usize| -> rusqlite::Result<Option<StoredVerdict>> {
        let Some(version) = row.get(from)? else { return Ok(None) };
        Ok(Some(StoredVerdict { version, status: row.get(from + 1)?, body: row.get(from + 2)? }))
    };
    let log = match row.get::<_, Option<String>>(7)? {
        Some(digest) => Some(SealedLog { digest, compressed: row.get(8)? }),
        None => None,
    };
    Ok(SealedSession { id: row.get(0)?, latest: verdict(1)?, derived: verdict(4)?, log })
}
