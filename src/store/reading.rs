//! Reading records from outside the server, of either engine: for commands, which block, and change nothing.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::postgres::{Address, Session, schema_steps};
use super::sql::Connection;
use super::{DATABASE_FILE, StoreError, embedded, moving};

/// The longest that PostgreSQL may take for one question of a command: sums over all there is.
const ANSWER_LIMIT: Duration = Duration::from_secs(3_600);

/// Where the records of an installation are.
#[derive(Clone)]
pub enum Records {
    /// In this data folder.
    Folder(PathBuf),
    /// In a PostgreSQL database.
    Postgres(Box<Address>),
}

impl std::fmt::Display for Records {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Folder(folder) => folder.display().fmt(formatter),
            // Not the URL: it holds a password.
            Self::Postgres(_) => formatter.write_str("PostgreSQL (database.url)"),
        }
    }
}

impl std::fmt::Debug for Records {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, formatter)
    }
}

/// A connection that only reads. A server needs to know nothing of it.
pub(super) enum Reading {
    Embedded(rusqlite::Connection),
    Postgres(Box<Session>),
}

impl Reading {
    pub(super) fn open(records: &Records) -> Result<Self, StoreError> {
        match records {
            Records::Folder(folder) => Self::open_file(&folder.join(DATABASE_FILE)),
            Records::Postgres(address) => {
                let session = Session::connect(address, ANSWER_LIMIT)?;
                session.execute_batch(
                    "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0;
                     SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY",
                )?;
                Ok(Self::Postgres(Box::new(session)))
            }
        }
    }

    pub(super) fn open_file(path: &Path) -> Result<Self, StoreError> {
        Ok(Self::Embedded(embedded::connect_to_read(path)?))
    }

    pub(super) fn sql(&self) -> Connection<'_> {
        match self {
            Self::Embedded(connection) => Connection::embedded(connection),
            Self::Postgres(session) => Connection::postgres(session),
        }
    }

    /// Steps that the schema has taken, and steps that this binary knows.
    pub(super) fn schema(&self) -> Result<(usize, usize), StoreError> {
        match self {
            Self::Embedded(connection) => {
                let found: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
                Ok((found as usize, embedded::known_schema()))
            }
            Self::Postgres(session) => schema_steps(session),
        }
    }

    /// Refuses what is not of this binary's schema, or is a part of an installation only.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        let (found, known) = self.schema()?;
        match found.cmp(&known) {
            std::cmp::Ordering::Less => return Err(StoreError::OlderSchema { found, known }),
            std::cmp::Ordering::Greater => return Err(StoreError::NewerSchema { found, known }),
            std::cmp::Ordering::Equal => {}
        }
        match self {
            Self::Embedded(_) => Ok(()),
            Self::Postgres(_) => moving::refuse_unfinished(&self.sql()),
        }
    }

    /// Whatever is read until [`Reading::end`] is the state of one moment.
    pub(super) fn begin(&self) -> Result<(), StoreError> {
        Ok(self.sql().execute_batch("BEGIN")?)
    }

    pub(super) fn end(&self) -> Result<(), StoreError> {
        Ok(self.sql().execute_batch("COMMIT")?)
    }
}
