//! SQLite as the embedded engine: one writer thread with group commit, a few readers.
//!
//! A write is acknowledged only after the transaction that holds it is on disk (WAL, `synchronous=FULL`). Whatever
//! waits when the writer comes round shares one transaction, so that a hundred sessions cost one `fsync`. What the
//! rows mean is not this file's business.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
use tokio::sync::{Semaphore, oneshot};

use super::StoreError;
use crate::clock::Stopwatch;
use crate::telemetry::instruments::{Counter, Gauge, Histogram};

/// Writes that may wait for the writer; one more is refused.
const QUEUE_LIMIT: usize = 8_192;
/// Writes that share a transaction: enough to spread one `fsync` thin, few enough to keep it short.
const GROUP_LIMIT: usize = 512;
/// Connections that read at the same time.
const READERS: usize = 4;

/// The schema, one file a step; the database's `user_version` counts the steps taken.
const MIGRATIONS: &[&str] = &[include_str!("schema/0001.sql"), include_str!("schema/0002.sql")];

/// What a job leaves behind in its transaction: it is told whether the commit succeeded, and answers who waits.
type Settle = Box<dyn FnOnce(Result<(), StoreError>) + Send>;
type Job = Box<dyn FnOnce(&Transaction) -> Settle + Send>;

/// What the writer measures of itself.
#[derive(Clone, Debug)]
pub struct StoreMeters {
    /// writes that wait
    pub queue_depth: Gauge,
    /// writes that shared a transaction
    pub group_writes: Histogram,
    /// how long a commit took
    pub commit: Histogram,
    /// transactions that could not begin or be made durable
    pub failures: Counter,
}

impl Default for StoreMeters {
    fn default() -> Self {
        Self {
            queue_depth: Gauge::default(),
            group_writes: Histogram::of_sizes(),
            commit: Histogram::of_seconds(),
            failures: Counter::default(),
        }
    }
}

/// The database file of one data folder.
#[derive(Clone)]
pub(super) struct Database {
    writer: SyncSender<Job>,
    /// ends only when every sender is gone, or by a panic
    writing: Arc<JoinHandle<()>>,
    readers: Arc<Readers>,
    meters: StoreMeters,
}

struct Readers {
    path: PathBuf,
    permits: Semaphore,
    idle: Mutex<Vec<Connection>>,
}

impl Database {
    /// Opens or creates the database and brings its schema up to date.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let mut connection = connect(path, OpenFlags::default())?;
        migrate(&mut connection)?;
        let (writer, jobs) = sync_channel(QUEUE_LIMIT);
        let meters = StoreMeters::default();
        let writing = std::thread::Builder::new()
            .name("journal-writer".into())
            .spawn({
                let meters = meters.clone();
                move || write_groups(connection, &jobs, &meters)
            })
            .map_err(|error| StoreError::Start(Arc::new(error)))?;
        let readers = Readers { path: path.to_owned(), permits: Semaphore::new(READERS), idle: Mutex::default() };
        Ok(Self { writer, writing: Arc::new(writing), readers: Arc::new(readers), meters })
    }

    pub(super) fn meters(&self) -> &StoreMeters {
        &self.meters
    }

    pub(super) fn writer_lives(&self) -> bool {
        !self.writing.is_finished()
    }

    /// Runs `change` in the writer's next transaction; returns once that is on disk. An error undoes this change
    /// and none of its neighbours'.
    pub(super) async fn write<T, E>(
        &self,
        change: impl FnOnce(&Transaction) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |transaction| {
            let result = in_savepoint(transaction, change);
            Box::new(move |committed| {
                let _ = answer.send(result.and_then(|value| committed.map_err(E::from).map(|()| value)));
            })
        });
        self.meters.queue_depth.inc();
        self.writer.try_send(job).map_err(|refused| {
            self.meters.queue_depth.dec();
            match refused {
                TrySendError::Full(_) => StoreError::Busy,
                TrySendError::Disconnected(_) => StoreError::Stopped,
            }
        })?;
        answered.await.map_err(|_| StoreError::Stopped)?
    }

    /// Runs `query` on a read-only connection, away from the event loop.
    pub(super) async fn read<T, E>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let _permit = self.readers.permits.acquire().await.map_err(|_| StoreError::Stopped)?;
        let readers = self.readers.clone();
        tokio::task::spawn_blocking(move || {
            let connection = readers.take()?;
            let result = query(&connection);
            readers.idle.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(connection);
            result
        })
        .await
        .map_err(|_| StoreError::Stopped)?
    }
}

impl Readers {
    fn take(&self) -> Result<Connection, StoreError> {
        let idle = self.idle.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).pop();
        idle.map_or_else(|| connect_to_read(&self.path), Ok)
    }
}

/// A connection that only reads.
pub(super) fn connect_to_read(path: &Path) -> Result<Connection, StoreError> {
    connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
}

fn connect(path: &Path, flags: OpenFlags) -> Result<Connection, StoreError> {
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(std::time::Duration::from_secs(10))?;
    connection.set_prepared_statement_cache_capacity(128);
    if !flags.contains(OpenFlags::SQLITE_OPEN_READ_ONLY) {
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", "ON")?;
    }
    Ok(connection)
}

fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let done: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if done as usize > MIGRATIONS.len() {
        return Err(StoreError::NewerSchema { found: done as usize, known: MIGRATIONS.len() });
    }
    for (step, sql) in MIGRATIONS.iter().enumerate().skip(done as usize) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Exclusive)?;
        transaction.execute_batch(sql)?;
        transaction.pragma_update(None, "user_version", step as u32 + 1)?;
        transaction.commit()?;
    }
    Ok(())
}

fn in_savepoint<T, E: From<StoreError>>(
    transaction: &Transaction,
    change: impl FnOnce(&Transaction) -> Result<T, E>,
) -> Result<T, E> {
    let run =
        |sql| transaction.prepare_cached(sql).and_then(|mut statement| statement.execute([])).map_err(StoreError::from);
    run("SAVEPOINT job")?;
    let result = change(transaction);
    if result.is_err() {
        run("ROLLBACK TO job")?;
    }
    run("RELEASE job")?;
    result
}

/// The writer's life: take what waits, do it in one transaction, commit, answer.
fn write_groups(mut connection: Connection, jobs: &Receiver<Job>, meters: &StoreMeters) {
    while let Ok(first) = jobs.recv() {
        let mut group = vec![first];
        group.extend(jobs.try_iter().take(GROUP_LIMIT - 1));
        meters.queue_depth.dec_by(group.len() as i64);
        meters.group_writes.observe_number(group.len() as u64);
        write_group(&mut connection, group, meters);
    }
}

fn write_group(connection: &mut Connection, group: Vec<Job>, meters: &StoreMeters) {
    let transaction = match connection.transaction_with_behavior(TransactionBehavior::Immediate) {
        Ok(transaction) => transaction,
        Err(error) => {
            // Jobs need a transaction to run in; dropping them tells who waits that the store gave no answer.
            meters.failures.inc();
            tracing::error!(%error, waiting = group.len(), "cannot begin a transaction: these writes are refused");
            return;
        }
    };
    let settles: Vec<Settle> = group.into_iter().map(|job| job(&transaction)).collect();
    let committing = Stopwatch::start();
    let committed = transaction.commit().map_err(|error| {
        meters.failures.inc();
        tracing::error!(%error, writes = settles.len(), "cannot commit: none of these writes is acknowledged");
        Arc::new(error)
    });
    meters.commit.observe(committing.elapsed());
    for settle in settles {
        settle(committed.clone().map_err(StoreError::Commit));
    }
}
