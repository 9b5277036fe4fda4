//! Journal, records and encrypted photos of one data folder.
//!
//! All SQL lives below this module, one file a kind of record; the rest of the crate calls methods with names. A
//! write has happened, and is on disk, when its future returns.

use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, Transaction};

pub mod api_keys;
mod embedded;
pub mod enrolled_photos;
pub mod enrolments;
pub mod evidence;
mod facts;
#[cfg(test)]
pub(crate) mod fixture;
mod journal;
pub mod learners;
pub mod outbox;
pub mod page;
pub mod platforms;
pub mod populate;
pub mod projects;
pub mod session_records;
pub mod sessions;
pub mod tokens;
pub mod words;

pub use journal::{Acquired, AppendError, Batch, SessionKey};

/// Why the store could not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// More writes wait than the queue holds: try again later.
    #[error("too many writes are waiting")]
    Busy,
    /// The writer is gone, because the server stops or its disk failed.
    #[error("the store has stopped, or could not write")]
    Stopped,
    /// The transaction that held the write failed: a full disk, say.
    #[error("the write could not be made durable: {0}")]
    Commit(Arc<rusqlite::Error>),
    /// A statement failed.
    #[error("the database refused: {0}")]
    Database(Arc<rusqlite::Error>),
    /// The data folder was written by a later invigil.
    #[error("the database has schema {found}; this invigil knows up to {known}: use the newer one")]
    NewerSchema {
        /// steps that the database has taken
        found: usize,
        /// steps that this binary knows
        known: usize,
    },
    /// The writer's thread could not be started, or a file could not be made.
    #[error("cannot start: {0}")]
    Start(Arc<std::io::Error>),
    /// What was read is not what was once written.
    #[error("the stored {what} cannot be read: {why}")]
    Corrupt {
        /// the kind of record
        what: &'static str,
        /// what is wrong with it
        why: String,
    },
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(Arc::new(error))
    }
}

/// The store of one data folder. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    database: embedded::Database,
    tails: journal::Tails,
}

impl Store {
    /// Opens the store in `folder`, which must exist; creates what is missing.
    ///
    /// # Errors
    /// When the database cannot be opened, or is newer than this binary.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let path = folder.join("invigil.sqlite");
        private_file(&path).map_err(|error| StoreError::Start(Arc::new(error)))?;
        let database = embedded::Database::open(&path)?;
        let tails = journal::Tails::scan(&embedded::connect_to_read(&path)?)?;
        Ok(Self { database, tails })
    }

    /// Runs `change` in the next transaction of the single writer; durable when it returns. For the files of this
    /// module, which give it names.
    async fn write<T, E>(&self, change: impl FnOnce(&Transaction) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.database.write(change).await
    }

    /// As `write`, for a single statement behind its checks.
    async fn write_one<T, E>(&self, change: impl FnOnce(&Transaction) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.database.write_one(change).await
    }

    /// Runs `query` on a read-only connection.
    async fn read<T, E>(&self, query: impl FnOnce(&Connection) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.database.read(query).await
    }
}

/// Makes the database's file readable by its owner alone before anything is in it; SQLite gives its companions the same
/// mode.
fn private_file(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path).map(drop)
}
