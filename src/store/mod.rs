//! Journal, records and encrypted photos of one data folder.
//!
//! All SQL lives below this module, one file a kind of record; the rest of the crate calls methods with names. A
//! write has happened, and is on disk, when its future returns.

use std::path::Path;
use std::sync::{Arc, Mutex};

use tokio::sync::{Notify, watch};

pub mod access_log;
pub mod accounts;
pub mod api_keys;
pub mod appeals;
pub mod archive;
pub mod checksum;
#[cfg(test)]
pub(crate) mod contract;
pub mod descriptors;
pub mod dossier;
mod embedded;
pub mod enrolled_photos;
pub mod enrolments;
pub mod evidence;
pub mod face_scope;
pub mod face_searches;
pub mod findings;
#[cfg(test)]
pub(crate) mod fixture;
pub mod forgetting;
pub mod inspect;
mod journal;
pub mod learners;
pub mod ledger;
#[cfg(test)]
pub(crate) mod ledger_tests;
pub mod ledger_totals;
pub mod makeups;
pub mod moving;
pub mod outbox;
pub mod overview;
pub mod page;
pub mod persons;
pub mod platforms;
mod policy_texts;
pub mod populate;
pub mod postgres;
pub mod projects;
pub mod reach;
pub mod reading;
pub mod reports;
pub mod retention;
pub mod review;
mod rows;
pub mod session_records;
pub mod sessions;
pub mod sql;
pub mod tokens;
pub mod words;

pub use embedded::{StoreMeters, Writing};
pub use journal::{Acquired, AppendError, Batch, SessionKey};
use sql::Connection;

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
    Commit(Arc<sql::Error>),
    /// The connection was lost while the write was made durable: it is there, or it is not.
    #[error("nobody can say whether the write was made durable: {0}")]
    Unknown(Arc<sql::Error>),
    /// The database is of a kind that cannot be used.
    #[error("the database cannot be used: {0}")]
    Unfit(String),
    /// Another write of the same transaction lost it: nothing of this one has happened.
    #[error("the transaction was lost: nothing was written")]
    RolledBack,
    /// A statement failed.
    #[error("the database refused: {0}")]
    Database(Arc<sql::Error>),
    /// The database's server is not there, or lets nobody in.
    #[error("the database cannot be reached: {0}")]
    Unreachable(String),
    /// The data folder was written by a later invigil.
    #[error("the database has schema {found}; this invigil knows up to {known}: use the newer one")]
    NewerSchema {
        /// steps that the database has taken
        found: usize,
        /// steps that this binary knows
        known: usize,
    },
    /// The data folder was written by an earlier invigil, and is only to be read.
    #[error(
        "the database has schema {found}; this invigil reads {known}: start the server once to bring it up to date"
    )]
    OlderSchema {
        /// steps that the database has taken
        found: usize,
        /// steps that this binary knows
        known: usize,
    },
    /// The writer's thread could not be started, or a file could not be made.
    #[error("cannot start: {0}")]
    Start(Arc<std::io::Error>),
    /// The database's file is damaged where the logs of open sessions lie.
    #[error("the journal of open sessions is damaged ({0}): restore a backup, or see `invigil doctor --deep`")]
    Damaged(String),
    /// What was read is not what was once written.
    #[error("the stored {what} cannot be read: {why}")]
    Corrupt {
        /// the kind of record
        what: &'static str,
        /// what is wrong with it
        why: String,
    },
}

impl StoreError {
    /// Whether the disk is the reason, or the number of those who wait: the same may succeed later.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Busy
            | Self::Stopped
            | Self::Commit(_)
            | Self::Unknown(_)
            | Self::Unreachable(_)
            | Self::RolledBack => true,
            Self::Database(error) => error.is_passing(),
            Self::NewerSchema { .. }
            | Self::OlderSchema { .. }
            | Self::Start(_)
            | Self::Unfit(_)
            | Self::Corrupt { .. }
            | Self::Damaged(_) => false,
        }
    }
}

impl From<sql::Error> for StoreError {
    fn from(error: sql::Error) -> Self {
        Self::Database(Arc::new(error))
    }
}

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        sql::Error::from(error).into()
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        sql::Error::from(error).into()
    }
}

/// The database, in the data folder.
pub const DATABASE_FILE: &str = "invigil.sqlite";

/// Says, in the data folder, that its records are in PostgreSQL since then.
pub const MOVED_FILE: &str = "moved.json";

/// Held by the process that uses the data folder.
pub const LOCK_FILE: &str = "invigil.lock";

/// The store of one data folder. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    engine: Engine,
    folder: Arc<Path>,
    /// held by whoever adds to the file of tombstones
    tombstones: Arc<Mutex<()>>,
    /// told when a search of faces has become due here
    face_searches: Arc<Notify>,
}

/// Where records and journal are.
#[derive(Clone)]
enum Engine {
    /// In a file of the data folder; who has which rows of the journal is known in memory.
    Embedded(embedded::Database, journal::Tails),
    /// On a server; the journal has connections of its own.
    Postgres { database: postgres::Database, journal: postgres::journal::Journal, writing: watch::Receiver<Writing> },
}

impl Store {
    /// Opens the store in `folder`, which must exist; creates what is missing.
    ///
    /// # Errors
    /// When the database cannot be opened, is newer than this binary, or was moved away.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        if folder.join(MOVED_FILE).exists() {
            let why = "the records of this folder were moved to PostgreSQL: set database.url; or remove moved.json, and \
                       lose what has happened since";
            return Err(StoreError::Unfit(why.into()));
        }
        let path = folder.join(DATABASE_FILE);
        private_file(&path).map_err(|error| StoreError::Start(Arc::new(error)))?;
        let database = embedded::Database::open(&path)?;
        let connection = embedded::connect_to_read(&path)?;
        journal::check_pages(&connection)?;
        let tails = journal::Tails::scan(&connection)?;
        Ok(Self::over(Engine::Embedded(database, tails), folder))
    }

    /// The store whose records and journal are in PostgreSQL, over so many connections
    /// ([`postgres::CONNECTIONS_LEAST`] or more). `folder` keeps who was forgotten. Works in the tokio runtime of whoever
    /// calls.
    ///
    /// # Errors
    /// When the server cannot be reached or is unfit, or its schema is newer than this binary.
    pub async fn connect(
        address: postgres::Address,
        connections_limit: usize,
        folder: &Path,
    ) -> Result<Self, StoreError> {
        let (database, journal, writing) = postgres::open(address, connections_limit).await?;
        Ok(Self::over(Engine::Postgres { database, journal, writing }, folder))
    }

    fn over(engine: Engine, folder: &Path) -> Self {
        Self { engine, folder: folder.into(), tombstones: Arc::default(), face_searches: Arc::default() }
    }

    /// Keeps servers that do not share it away from a database that is not in this folder, for as long as the answer is
    /// held. The folder has a lock of its own ([`folder_lock`]).
    ///
    /// # Errors
    /// When another server has it, or it cannot be reached.
    pub async fn take(&self, sharing: postgres::Sharing) -> Result<Option<postgres::Hold>, StoreError> {
        match &self.engine {
            Engine::Embedded(..) => Ok(None),
            Engine::Postgres { database, .. } => database.hold(sharing).await.map(Some),
        }
    }

    /// Whether writes reach the disk, as a signal.
    pub fn writing(&self) -> watch::Receiver<Writing> {
        match &self.engine {
            Engine::Embedded(database, _) => database.writing(),
            Engine::Postgres { writing, .. } => writing.clone(),
        }
    }

    /// What the writer measures of itself.
    pub fn meters(&self) -> &StoreMeters {
        match &self.engine {
            Engine::Embedded(database, _) => database.meters(),
            Engine::Postgres { journal, .. } => journal.meters(),
        }
    }

    /// Whether a write reaches the disk now: writes a page that means nothing new.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub async fn check_writable(&self) -> Result<(), StoreError> {
        match &self.engine {
            Engine::Embedded(database, _) => database.check_writable().await,
            Engine::Postgres { database, .. } => database.check_writable().await,
        }
    }

    /// What the clock of a database elsewhere shows, ms since the epoch; `None` where it is this machine's.
    ///
    /// # Errors
    /// When the store cannot read.
    pub async fn clock_ms(&self) -> Result<Option<i64>, StoreError> {
        let Engine::Postgres { database, .. } = &self.engine else { return Ok(None) };
        let asked = |connection: &sql::Connection<'_>| {
            let sql = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint";
            Ok::<i64, StoreError>(connection.query_row(sql, (), |row| row.get(0))?)
        };
        database.read(asked).await.map(Some)
    }

    #[cfg(test)]
    fn embedded(&self) -> (&embedded::Database, &journal::Tails) {
        match &self.engine {
            Engine::Embedded(database, tails) => (database, tails),
            Engine::Postgres { .. } => panic!("this test is of the embedded engine"),
        }
    }

    /// Makes room for what will be written in the months after `now_ms`, and gives back what is empty. To be called at the
    /// start and from time to time.
    ///
    /// # Errors
    /// When the store could not write.
    pub async fn make_room(&self, now_ms: i64) -> Result<(), StoreError> {
        let Engine::Postgres { journal, .. } = &self.engine else { return Ok(()) };
        let missing = journal.keep_partitions(now_ms).await?;
        if missing > 0 {
            tracing::warn!(missing, "months of the journal have no partition of their own yet");
        }
        Ok(())
    }

    /// Runs `change` in a transaction; durable when it returns. It may be run more than once, of which one counts. For
    /// the files of this module, which give it names.
    async fn write<T, E>(&self, change: impl Fn(&Connection<'_>) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        match &self.engine {
            Engine::Embedded(database, _) => {
                database.write(move |transaction| change(&Connection::embedded(transaction))).await
            }
            Engine::Postgres { database, .. } => database.write(change).await,
        }
    }

    /// Runs `query` on a read-only connection.
    async fn read<T, E>(&self, query: impl Fn(&Connection<'_>) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        match &self.engine {
            Engine::Embedded(database, _) => {
                database.read(move |connection| query(&Connection::embedded(connection))).await
            }
            Engine::Postgres { database, .. } => database.read(query).await,
        }
    }
}

/// Takes the data folder for this process; for as long as the file is held, no other can. A process that dies lets go.
///
/// # Errors
/// When another process holds it, or it cannot be written.
pub fn folder_lock(folder: &Path) -> std::io::Result<std::fs::File> {
    use std::io::{Error, ErrorKind};
    let path = folder.join(LOCK_FILE);
    private_file(&path).map_err(|error| {
        Error::new(error.kind(), format!("cannot be written ({error}): the server needs a folder that it can write to"))
    })?;
    let file = std::fs::File::open(&path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => {
            Err(Error::new(ErrorKind::WouldBlock, "another invigil is using it: stop that one first"))
        }
        Err(std::fs::TryLockError::Error(error)) => Err(error),
    }
}

/// Whether a log can be read and folded; if not, which line is wrong and why. No matter by which pack: what a log may
/// hold does not depend on it.
///
/// # Errors
/// The line and what is wrong with it.
pub fn sound_log(log: &[u8]) -> Result<(), String> {
    let mut session = crate::session::Session::new(Arc::new(crate::policy::Policy::default()));
    for (index, line) in log.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).enumerate() {
        let failed = |why: &dyn std::fmt::Display| format!("line {}: {why}", index + 1);
        let event = crate::log::parse_line(line).map_err(|error| failed(&error))?;
        session.apply(&event).map_err(|error| failed(&format_args!("{}: {}", error.field, error.problem)))?;
    }
    Ok(())
}

/// Makes the database's file readable by its owner alone before anything is in it; SQLite gives its companions the same
/// mode.
fn private_file(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path).map(drop)
}
