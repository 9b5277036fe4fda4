//! SQLite as the embedded engine: one writer thread with group commit, a few readers.
//!
//! A write is acknowledged only after the transaction that holds it is on disk (WAL, `synchronous=FULL`). Whatever
//! waits when the writer comes round shares one transaction, so that a hundred sessions cost one `fsync`. What the
//! rows mean is not this file's business.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
use tokio::sync::{Semaphore, oneshot, watch};

use super::{StoreError, sql};
use crate::clock::Stopwatch;
use crate::telemetry::instruments::{Counter, Gauge, Histogram};

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

/// How long a statement waits for a lock that another process holds.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a writer whose disk refused tries again by itself.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// The schema, one file a step; the database's `user_version` counts the steps taken.
const MIGRATIONS: &[&str] = &[
    include_str!("schema/0001.sql"),
    include_str!("schema/0002.sql"),
    include_str!("schema/0003.sql"),
    include_str!("schema/0004.sql"),
    include_str!("schema/0005.sql"),
    include_str!("schema/0006.sql"),
    include_str!("schema/0007.sql"),
    include_str!("schema/0008.sql"),
    include_str!("schema/0009.sql"),
    include_str!("schema/0010.sql"),
    include_str!("schema/0011.sql"),
    include_str!("schema/0012.sql"),
];

/// What a job leaves behind in its transaction: it is told whether the commit succeeded, and answers who waits.
type Settle = Box<dyn FnOnce(Result<(), StoreError>) + Send>;
/// Work in the writer's next transaction, or, when there can be none, the reason to pass on to who waits.
type Change = Box<dyn FnOnce(Result<&Transaction, StoreError>) -> Settle + Send>;

enum Job {
    Change(Change),
    /// what cannot be done within a transaction
    Alone(Box<dyn FnOnce(&mut Connection) + Send>),
}

/// Whether the store can write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Writing {
    /// The last transaction is on disk.
    #[default]
    Well,
    /// The last transaction could not be made durable (a full or read-only disk, say) and was not acknowledged. The
    /// writer tries again by itself.
    Refused {
        /// what the database said
        why: String,
    },
    /// The writer's thread has ended while the store was in use: nothing will be written any more by this process.
    Dead,
}

/// Says that the writer is dead when its thread fails. However the thread ends, who waits hears of it, and nobody waits
/// in vain afterwards.
struct LastWill {
    state: watch::Sender<Writing>,
    queue: Arc<Queue>,
    meters: StoreMeters,
}

impl Drop for LastWill {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("the writer of the database has failed: this process must end and be started again");
            self.state.send_replace(Writing::Dead);
        }
        let unanswered = self.queue.close();
        self.meters.queue_depth.dec_by(unanswered.len() as i64);
    }
}

/// The way to the writer's thread, which ends when the last holder lets go.
struct Writer(Arc<Queue>);

impl Drop for Writer {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.closed = true;
        self.0.arrived.notify_one();
    }
}

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
    jobs: VecDeque<Job>,
    asleep: bool,
    /// no further job can come, or none can be done
    closed: bool,
}

/// What the writer does next.
enum Next {
    /// these, in one transaction
    Group(Vec<Change>),
    /// this, in none
    Alone(Box<dyn FnOnce(&mut Connection) + Send>),
    /// nothing has come: see whether the disk still refuses
    Probe,
    /// the queue is closed and empty
    End,
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
        state.jobs.push_back(job);
        if std::mem::take(&mut state.asleep) {
            self.arrived.notify_one();
        }
        Ok(())
    }

    /// Waits for work; while the disk refuses no longer than [`PROBE_INTERVAL`]. The jobs of a group may share it with
    /// what arrives while the group before, which began `began`, is younger than [`GROUP_EVERY`].
    fn next(&self, began: Option<Stopwatch>, refusing: bool) -> Next {
        let mut state = self.lock();
        while state.jobs.is_empty() {
            if state.closed {
                return Next::End;
            }
            state.asleep = true;
            if !refusing {
                state = self.arrived.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner());
                continue;
            }
            let waited = self.arrived.wait_timeout(state, PROBE_INTERVAL);
            let (woken, waited) = waited.unwrap_or_else(|poisoned| poisoned.into_inner());
            state = woken;
            if waited.timed_out() && state.jobs.is_empty() && !state.closed {
                state.asleep = false;
                return Next::Probe;
            }
        }
        state.asleep = false;
        while let Some(left) = began.and_then(|began| GROUP_EVERY.checked_sub(began.elapsed()))
            && !left.is_zero()
            && matches!(state.jobs.front(), Some(Job::Change(_)))
            && state.jobs.len() < GROUP_LIMIT
            && !state.closed
        {
            state = self.pause.wait_timeout(state, left).unwrap_or_else(|poisoned| poisoned.into_inner()).0;
        }
        let mut group = Vec::with_capacity(state.jobs.len().min(GROUP_LIMIT));
        while group.len() < GROUP_LIMIT
            && let Some(job) = state.jobs.pop_front()
        {
            match job {
                Job::Change(change) => group.push(change),
                Job::Alone(work) if group.is_empty() => return Next::Alone(work),
                alone @ Job::Alone(_) => {
                    state.jobs.push_front(alone);
                    break;
                }
            }
        }
        Next::Group(group)
    }

    fn close(&self) -> VecDeque<Job> {
        let mut state = self.lock();
        state.closed = true;
        std::mem::take(&mut state.jobs)
    }
}

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
    writer: Arc<Writer>,
    writing: watch::Receiver<Writing>,
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
        let queue = Arc::new(Queue::default());
        let writer = Arc::new(Writer(queue.clone()));
        let (state, writing) = watch::channel(Writing::Well);
        let meters = StoreMeters::default();
        std::thread::Builder::new()
            .name("journal-writer".into())
            .spawn({
                let last_will = LastWill { state, queue, meters: meters.clone() };
                move || write_groups(connection, &last_will)
            })
            .map_err(|error| StoreError::Start(Arc::new(error)))?;
        let readers = Readers { path: path.to_owned(), permits: Semaphore::new(READERS), idle: Mutex::default() };
        Ok(Self { writer, writing, readers: Arc::new(readers), meters })
    }

    pub(super) fn meters(&self) -> &StoreMeters {
        &self.meters
    }

    /// Whether writes reach the disk, as a signal.
    pub(super) fn writing(&self) -> watch::Receiver<Writing> {
        self.writing.clone()
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
        self.change(move |transaction| in_savepoint(transaction, change)).await
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
        self.change(change).await
    }

    async fn change<T, E>(&self, change: impl FnOnce(&Transaction) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let change: Change = Box::new(move |transaction| {
            let result = transaction.map_err(E::from).and_then(change);
            Box::new(move |committed| {
                let _ = answer.send(result.and_then(|value| committed.map_err(E::from).map(|()| value)));
            })
        });
        self.send(Job::Change(change))?;
        answered.await.map_err(|_| StoreError::Stopped)?
    }

    /// Whether a write reaches the disk now: writes a page that means nothing new.
    pub(super) async fn check_writable(&self) -> Result<(), StoreError> {
        self.write(|transaction| {
            let step: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
            Ok(transaction.pragma_update(None, "user_version", step)?)
        })
        .await
    }

    /// Runs `work` on the writer's connection outside any transaction; the writes behind it wait.
    pub(super) async fn alone<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.send(Job::Alone(Box::new(move |connection| drop(answer.send(work(connection))))))?;
        answered.await.map_err(|_| StoreError::Stopped)?
    }

    fn send(&self, job: Job) -> Result<(), StoreError> {
        self.meters.queue_depth.inc();
        self.writer.0.push(job).inspect_err(|_| {
            self.meters.queue_depth.dec();
        })
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

/// How many of the schema's steps the database has taken, when this binary knows them all.
pub(super) fn schema_of(connection: &Connection) -> Result<usize, StoreError> {
    let done: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    match done as usize {
        found if found > MIGRATIONS.len() => Err(StoreError::NewerSchema { found, known: MIGRATIONS.len() }),
        found => Ok(found),
    }
}

/// A connection that only reads.
pub(super) fn connect_to_read(path: &Path) -> Result<Connection, StoreError> {
    connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
}

/// A connection that writes, to a database that no server uses, with the schema of this binary.
pub(super) fn connect_to_write(path: &Path) -> Result<Connection, StoreError> {
    let mut connection = connect(path, OpenFlags::default())?;
    migrate(&mut connection)?;
    Ok(connection)
}

fn connect(path: &Path, flags: OpenFlags) -> Result<Connection, StoreError> {
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(128);
    if !flags.contains(OpenFlags::SQLITE_OPEN_READ_ONLY) {
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", "ON")?;
        connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
        // What is deleted is overwritten wherever that costs no write of its own; forgetting somebody does the rest.
        connection.pragma_update(None, "secure_delete", "FAST")?;
    }
    // A page that makes no sense is an error as soon as it is read, not something to be interpreted.
    connection.pragma_update(None, "cell_size_check", "ON")?;
    Ok(connection)
}

/// Steps of the schema that this binary knows.
pub(super) fn known_schema() -> usize {
    MIGRATIONS.len()
}

/// Refuses a database that is not of this binary's schema, for those who cannot bring it up to date.
pub(super) fn check_schema(connection: &Connection) -> Result<(), StoreError> {
    let (found, known) = (schema_of(connection)?, known_schema());
    if found < known { Err(StoreError::OlderSchema { found, known }) } else { Ok(()) }
}

fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let done = schema_of(connection)?;
    for (step, sql) in MIGRATIONS.iter().enumerate().skip(done) {
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
        // A full disk may have taken the whole transaction back already; why the change failed is still the answer.
        let _ = run("ROLLBACK TO job").and_then(|_| run("RELEASE job"));
        return result;
    }
    run("RELEASE job")?;
    result
}

/// The writer's life: take what waits, do it in one transaction, commit, answer. While the disk refuses, try by itself
/// whether it still does: who waits for it need not.
fn write_groups(mut connection: Connection, writer: &LastWill) {
    let LastWill { state, queue, meters } = writer;
    let mut began = None;
    loop {
        let refusing = *state.borrow() != Writing::Well;
        match queue.next(began, refusing) {
            Next::Group(group) => {
                meters.queue_depth.dec_by(group.len() as i64);
                meters.group_writes.observe_number(group.len() as u64);
                began = Some(Stopwatch::start());
                note(state, write_group(&mut connection, group, meters));
            }
            Next::Alone(work) => {
                meters.queue_depth.dec();
                work(&mut connection);
            }
            Next::Probe => note(state, probe(&mut connection).err()),
            Next::End => return,
        }
    }
}

/// Says it once when writing begins to fail, and once when it works again.
fn note(state: &watch::Sender<Writing>, refused: Option<Arc<sql::Error>>) {
    let now = refused.map_or(Writing::Well, |error| Writing::Refused { why: error.to_string() });
    state.send_if_modified(|before| {
        match (&*before, &now) {
            (Writing::Well, Writing::Refused { why }) => tracing::error!(
                why,
                "the disk refuses what must be made durable: nothing is acknowledged until it takes it again"
            ),
            (Writing::Refused { .. }, Writing::Well) => tracing::warn!("the disk takes writes again"),
            _ => {}
        }
        let changed = *before != now;
        *before = now;
        changed
    });
}

/// Whether a transaction can be made durable: writes again which schema this is.
fn probe(connection: &mut Connection) -> Result<(), Arc<sql::Error>> {
    let mut attempt = || {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let schema: u32 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
        transaction.pragma_update(None, "user_version", schema)?;
        transaction.commit()
    };
    attempt().map_err(|error| Arc::new(error.into()))
}

/// Returns why the group could not be made durable, if it could not.
fn write_group(connection: &mut Connection, group: Vec<Change>, meters: &StoreMeters) -> Option<Arc<sql::Error>> {
    let transaction = match connection.transaction_with_behavior(TransactionBehavior::Immediate) {
        Ok(transaction) => transaction,
        Err(error) => {
            meters.failures.inc();
            tracing::debug!(%error, writes = group.len(), "cannot begin a transaction: these writes are refused");
            let error = Arc::new(sql::Error::from(error));
            for change in group {
                change(Err(StoreError::Commit(error.clone())))(Ok(()));
            }
            return Some(error);
        }
    };
    let mut settles = Vec::with_capacity(group.len());
    for change in group {
        // A statement that fails on a full disk can take the whole transaction with it; what came after it would be
        // written piece by piece, outside any.
        let open = !transaction.is_autocommit();
        settles.push(change(if open { Ok(&transaction) } else { Err(StoreError::RolledBack) }));
    }
    let committing = Stopwatch::start();
    let committed = transaction.commit().map_err(|error| {
        meters.failures.inc();
        tracing::debug!(%error, writes = settles.len(), "cannot commit: none of these writes is acknowledged");
        Arc::new(sql::Error::from(error))
    });
    meters.commit.observe(committing.elapsed());
    for settle in settles {
        settle(committed.clone().map_err(StoreError::Commit));
    }
    committed.err()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Store, fixture};

    #[tokio::test]
    async fn a_write_that_panics_is_heard_of_and_ends_all_writing() {
        let (_folder, store) = fixture::embedded();
        let mut writing = store.writing();
        assert_eq!(*writing.borrow(), Writing::Well);
        let lost = store.write(|_| -> Result<(), StoreError> { panic!("a mistake in the program") }).await;
        assert!(matches!(lost, Err(StoreError::Stopped)), "{lost:?}");
        assert_eq!(*writing.wait_for(|writing| *writing != Writing::Well).await.unwrap(), Writing::Dead);
        let refused = store.write(|_| Ok::<_, StoreError>(())).await;
        assert!(matches!(refused, Err(StoreError::Stopped)), "{refused:?}");
    }

    #[tokio::test]
    async fn a_transaction_that_is_lost_on_the_way_takes_no_neighbour_with_it_unheard() {
        let (_folder, store) = fixture::embedded();
        let held = hold_writer(&store).await;
        // All three are in one group: the second loses the transaction, as a full disk may.
        let write = |id: &'static str| {
            store.write(move |transaction| {
                let insert = "INSERT INTO learner (id, created_at) VALUES (?1, 0)";
                Ok::<_, StoreError>(transaction.execute(insert, [id])?)
            })
        };
        let lose = store.write(|transaction| Ok::<_, StoreError>(transaction.execute_batch("ROLLBACK")?));
        let all = async { tokio::join!(write("a"), lose, write("b")) };
        let (first, lost, second) = tokio::join!(all, async { held.send(()).unwrap() }).0;
        assert!(first.is_err() && lost.is_err() && second.is_err(), "{first:?} {lost:?} {second:?}");
        let rows = store.read(|connection| {
            Ok::<i64, StoreError>(connection.query_row("SELECT count(*) FROM learner", (), |row| row.get(0))?)
        });
        assert_eq!(rows.await.unwrap(), 0, "nothing of what was refused is there");
        assert_eq!(write("c").await.unwrap(), 1, "and the writer goes on");
    }

    #[test]
    fn what_needs_no_transaction_keeps_its_place_and_silence_is_for_probing() {
        fn change() -> Job {
            Job::Change(Box::new(|_| Box::new(drop)))
        }
        let queue = Queue::default();
        for job in [change(), change(), Job::Alone(Box::new(|_| ())), change()] {
            queue.push(job).unwrap();
        }
        assert!(matches!(queue.next(None, true), Next::Group(group) if group.len() == 2));
        assert!(matches!(queue.next(None, true), Next::Alone(_)));
        assert!(matches!(queue.next(None, true), Next::Group(group) if group.len() == 1));
        assert!(matches!(queue.next(None, true), Next::Probe));
        queue.push(change()).unwrap();
        assert_eq!(queue.close().len(), 1);
        assert!(matches!(queue.next(None, true), Next::End));
        assert!(matches!(queue.push(change()), Err(StoreError::Stopped)));
    }

    #[test]
    fn a_full_queue_refuses_and_what_is_too_much_for_a_group_waits_for_the_next() {
        let queue = Queue::default();
        let push = || queue.push(Job::Change(Box::new(|_| Box::new(drop))));
        assert!((0..QUEUE_LIMIT).all(|_| push().is_ok()));
        assert!(matches!(push(), Err(StoreError::Busy)));
        for _ in 0..QUEUE_LIMIT / GROUP_LIMIT {
            assert!(matches!(queue.next(None, false), Next::Group(group) if group.len() == GROUP_LIMIT));
        }
        assert!(push().is_ok());
    }

    /// Keeps the writer busy until the sender is used, so that what is sent meanwhile makes one group.
    async fn hold_writer(store: &Store) -> std::sync::mpsc::Sender<()> {
        let (release, released) = std::sync::mpsc::channel();
        let (begun, begins) = oneshot::channel();
        let database = store.embedded().0.clone();
        tokio::spawn(async move {
            let work = move |_: &mut Connection| {
                let _ = begun.send(());
                let _ = released.recv();
                Ok(())
            };
            database.alone(work).await
        });
        begins.await.unwrap();
        release
    }

    #[test]
    fn a_step_of_the_schema_that_fails_leaves_the_old_state() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("invigil.sqlite");
        let old = Connection::open(&path).unwrap();
        old.execute_batch(MIGRATIONS[0]).unwrap();
        // The next step adds this column: it cannot.
        old.execute_batch("ALTER TABLE platform ADD COLUMN origins TEXT; PRAGMA user_version = 1;").unwrap();
        let before: i64 = old.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).unwrap();
        assert!(matches!(Database::open(&path), Err(StoreError::Database(_))));
        let after: i64 = old.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).unwrap();
        let version: i64 = old.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
        assert_eq!((after, version), (before, 1));
    }
}
