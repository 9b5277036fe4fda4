//! SQLite as the embedded engine: one writer thread with group commit, a few readers.
//!
//! A write is acknowledged only after the transaction that holds it is on disk (WAL, `synchronous=FULL`). Whatever
//! waits when the writer comes round shares one transaction, so that a hundred sessions cost one `fsync`. What the
//! rows mean is not this file's business.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
use tokio::sync::{Semaphore, oneshot};

use super::StoreError;
use crate::clock::Stopwatch;

/// Writes that may wait for the writer; one more is refused.
const QUEUE_LIMIT: usize = 8_192;
/// Writes that share a transaction: enough to spread one `fsync` thin, few enough to keep it short.
const GROUP_LIMIT: usize = 512;
/// Under load a transaction begins no sooner than this after the one before: what arrives meanwhile shares it. A write
/// that comes alone does not wait. Waking the writer for each of a thousand writes would cost more than writing them.
const GROUP_EVERY: Duration = Duration::from_millis(4);
/// Pages (4 KiB each) that the write-ahead log grows to before they are copied into the database.
const CHECKPOINT_PAGES: u32 = 4_000;
/// Connections that read at the same time.
const READERS: usize = 4;

/// The schema, one file a step; the database's `user_version` counts the steps taken.
const MIGRATIONS: &[&str] = &[include_str!("schema/0001.sql"), include_str!("schema/0002.sql")];

/// What a job leaves behind in its transaction: it is told whether the commit succeeded, and answers who waits.
type Settle = Box<dyn FnOnce(Result<(), StoreError>) + Send>;
type Job = Box<dyn FnOnce(&Transaction) -> Settle + Send>;

/// The database file of one data folder.
#[derive(Clone)]
pub(super) struct Database {
    writer: Arc<Writer>,
    readers: Arc<Readers>,
}

/// The way to the writer's thread, which ends when the last holder lets go.
struct Writer(Arc<Queue>);

/// What waits for the writer.
#[derive(Default)]
struct Queue {
    state: Mutex<QueueState>,
    /// the writer sleeps until a job arrives, and only then is woken
    arrived: Condvar,
    /// nobody ever signals this: the writer sleeps a while on it
    pause: Condvar,
}

#[derive(Default)]
struct QueueState {
    jobs: Vec<Job>,
    asleep: bool,
    /// no further job can come, or none can be done
    closed: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn push(&self, job: Job) -> Result<(), StoreError> {
        let mut state = self.lock();
        if state.closed {
            return Err(StoreError::Stopped);
        }
        if state.jobs.len() >= QUEUE_LIMIT {
            return Err(StoreError::Busy);
        }
        state.jobs.push(job);
        if std::mem::take(&mut state.asleep) {
            self.arrived.notify_one();
        }
        Ok(())
    }

    /// The jobs of the next group, none once the queue is closed and empty. They may share it with what arrives while
    /// the group before, which began `began`, is younger than [`GROUP_EVERY`].
    fn next_group(&self, began: Option<Stopwatch>) -> Vec<Job> {
        let mut state = self.lock();
        while state.jobs.is_empty() && !state.closed {
            state.asleep = true;
            state = self.arrived.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
        state.asleep = false;
        while let Some(left) = began.and_then(|began| GROUP_EVERY.checked_sub(began.elapsed()))
            && !left.is_zero()
            && state.jobs.len() < GROUP_LIMIT
            && !state.closed
        {
            state = self.pause.wait_timeout(state, left).unwrap_or_else(|poisoned| poisoned.into_inner()).0;
        }
        let jobs = state.jobs.len().min(GROUP_LIMIT);
        state.jobs.drain(..jobs).collect()
    }

    fn close(&self) -> Vec<Job> {
        let mut state = self.lock();
        state.closed = true;
        self.arrived.notify_one();
        std::mem::take(&mut state.jobs)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.closed = true;
        self.0.arrived.notify_one();
    }
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
        let queue = Arc::new(Queue::default());
        let writer = Arc::new(Writer(queue.clone()));
        std::thread::Builder::new()
            .name("journal-writer".into())
            .spawn(move || write_groups(connection, &queue))
            .map_err(|error| StoreError::Start(Arc::new(error)))?;
        let readers = Readers { path: path.to_owned(), permits: Semaphore::new(READERS), idle: Mutex::default() };
        Ok(Self { writer, readers: Arc::new(readers) })
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
        self.send(move |transaction| in_savepoint(transaction, change)).await
    }

    /// As [`Database::write`], for a change that is a single statement behind its checks: one that fails undoes itself,
    /// so it needs no savepoint.
    pub(super) async fn write_one<T, E>(
        &self,
        change: impl FnOnce(&Transaction) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.send(change).await
    }

    async fn send<T, E>(&self, change: impl FnOnce(&Transaction) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        self.writer.0.push(Box::new(move |transaction| {
            let result = change(transaction);
            Box::new(move |committed| {
                let _ = answer.send(result.and_then(|value| committed.map_err(E::from).map(|()| value)));
            })
        }))?;
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
        connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
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
fn write_groups(mut connection: Connection, queue: &Arc<Queue>) {
    // However this ends, who waits hears of it, and nobody waits in vain afterwards.
    struct Closing<'a>(&'a Queue);
    impl Drop for Closing<'_> {
        fn drop(&mut self) {
            self.0.close();
        }
    }
    let _closing = Closing(queue);
    let mut began = None;
    loop {
        let group = queue.next_group(began);
        if group.is_empty() {
            return;
        }
        began = Some(Stopwatch::start());
        write_group(&mut connection, group);
    }
}

fn write_group(connection: &mut Connection, group: Vec<Job>) {
    let transaction = match connection.transaction_with_behavior(TransactionBehavior::Immediate) {
        Ok(transaction) => transaction,
        Err(error) => {
            // Jobs need a transaction to run in; dropping them tells who waits that the store gave no answer.
            tracing::error!(%error, waiting = group.len(), "cannot begin a transaction: these writes are refused");
            return;
        }
    };
    let settles: Vec<Settle> = group.into_iter().map(|job| job(&transaction)).collect();
    let committed = transaction.commit().map_err(|error| {
        tracing::error!(%error, writes = settles.len(), "cannot commit: none of these writes is acknowledged");
        Arc::new(error)
    });
    for settle in settles {
        settle(committed.clone().map_err(StoreError::Commit));
    }
}
