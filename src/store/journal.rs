//! The journal: the append-only log of every session, and its sealed form once the session is closed.
//!
//! Live rows carry no key on (session, n): which rows belong to a session is known in memory and found again by one
//! scan at the start. The contract is `append(session, epoch, first_n, lines)`: an owner with an older epoch, or one
//! that has missed an append, is refused, so that two owners can never interleave.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::sync::{Arc, Mutex, MutexGuard};

use rusqlite::{Connection, OptionalExtension as _, params};

use super::rows::Rows;
use super::{Engine, Store, StoreError, checksum, embedded, postgres, sql};

/// The short key of a session in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionKey(pub i64);

/// Lines to be appended to one session's log.
#[derive(Clone, Debug)]
pub struct Batch {
    /// the session
    pub session: SessionKey,
    /// the owner's epoch, as [`Store::acquire`] gave it
    pub epoch: i64,
    /// log number of the first line
    pub first_n: u64,
    /// how many lines
    pub count: u64,
    /// the lines, each followed by a line feed
    pub lines: Vec<u8>,
}

/// Why an append was refused. Nothing of the batch is in the journal then.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AppendError {
    /// Somebody else owns the session now.
    #[error("epoch {held} is over: the session's owner has epoch {current}")]
    StaleEpoch {
        /// the epoch of who asked
        held: i64,
        /// the epoch in force
        current: i64,
    },
    /// The batch does not continue the log.
    #[error("the log goes on at {expected}, not at {found}")]
    WrongNumber {
        /// the next log number
        expected: u64,
        /// the batch's first
        found: u64,
    },
    /// The session is closed, or was never opened.
    #[error("no open session has this key")]
    NotOpen,
    /// The store could not write.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<rusqlite::Error> for AppendError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}

impl From<sql::Error> for AppendError {
    fn from(error: sql::Error) -> Self {
        Self::Store(error.into())
    }
}

/// What is known of each open session's live rows.
#[derive(Clone, Default)]
pub(super) struct Tails(Arc<Mutex<HashMap<SessionKey, Tail>>>);

#[derive(Clone, Default)]
struct Tail {
    epoch: i64,
    next_n: u64,
    rows: Rows,
}

impl Tails {
    /// Finds the live rows of all open sessions: one scan.
    pub(super) fn scan(connection: &Connection) -> Result<Self, StoreError> {
        let mut tails = HashMap::new();
        let mut open = connection.prepare("SELECT key, epoch FROM session WHERE closed_at IS NULL")?;
        let mut rows = open.query([])?;
        while let Some(row) = rows.next()? {
            tails.insert(SessionKey(row.get(0)?), Tail { epoch: row.get(1)?, next_n: 1, rows: Rows::default() });
        }
        let mut live = connection.prepare("SELECT id, session, first_n, count FROM journal ORDER BY id")?;
        let mut rows = live.query([])?;
        while let Some(row) = rows.next()? {
            if let Some(tail) = tails.get_mut(&SessionKey(row.get(1)?)) {
                tail.rows.push(row.get(0)?);
                tail.next_n = row.get::<_, i64>(2)? as u64 + row.get::<_, i64>(3)? as u64;
            }
        }
        Ok(Self(Arc::new(Mutex::new(tails))))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionKey, Tail>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Checks `batch` against the tail and writes its row.
    pub(super) fn append(&self, transaction: &Connection, batch: &Batch) -> Result<(), AppendError> {
        let mut tails = self.lock();
        let tail = tails.get_mut(&batch.session).ok_or(AppendError::NotOpen)?;
        tail.check(batch)?;
        let (session, first_n, count) = (batch.session.0, batch.first_n as i64, batch.count as i64);
        let checksum = checksum::of_lines(session, first_n, count, &batch.lines);
        transaction
            .prepare_cached(
                "INSERT INTO journal (session, first_n, count, lines, checksum) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![session, first_n, count, batch.lines, checksum])?;
        tail.rows.push(transaction.last_insert_rowid());
        tail.next_n += batch.count;
        Ok(())
    }

    /// A new session enters with its first line written by [`Tails::append`].
    pub(super) fn enter(&self, session: SessionKey) {
        self.lock().insert(session, Tail { epoch: 0, next_n: 1, rows: Rows::default() });
    }

    /// The transaction that held the lines from `first_n` to before `next_n` failed: they are not there. To forget the
    /// session would cost a scan of the whole journal, for each session and just when the disk is in trouble.
    fn take_back(&self, session: SessionKey, first_n: u64, next_n: u64) {
        if let Some(tail) = self.lock().get_mut(&session)
            && tail.next_n == next_n
            && first_n < next_n
        {
            tail.rows.pop();
            tail.next_n = first_n;
        }
    }

    /// What is known of this session may not be what is on disk (nobody knows of its transaction), or is no longer live:
    /// it takes no more appends until it is acquired anew.
    pub(super) fn forget(&self, session: SessionKey) {
        self.lock().remove(&session);
    }

    /// A new owner takes the session: earlier epochs are over.
    pub(super) fn acquire(&self, transaction: &Connection, session: SessionKey) -> Result<Acquired, AppendError> {
        let epoch = transaction
            .prepare_cached(
                "UPDATE session SET epoch = epoch + 1 WHERE key = ?1 AND closed_at IS NULL RETURNING epoch",
            )?
            .query_row([session.0], |row| row.get(0))
            .optional()?
            .ok_or(AppendError::NotOpen)?;
        let known = self.lock().get(&session).map(|tail| tail.rows.clone());
        let rows = known.map_or_else(|| rows_of(transaction, session), Ok)?;
        // What was not read was never written, and its row may be another session's by now.
        let (log, rows) = read_rows(transaction, session, &rows)?;
        let next_n = log.iter().filter(|byte| **byte == b'\n').count() as u64 + 1;
        self.lock().insert(session, Tail { epoch, next_n, rows });
        Ok(Acquired { epoch, log })
    }

    /// Puts `segment`, which holds the whole log with `last` at its end, in the place of a session's live rows.
    pub(super) fn seal(
        &self,
        transaction: &Connection,
        last: &Batch,
        digest: &str,
        segment: &[u8],
    ) -> Result<(), AppendError> {
        let mut tails = self.lock();
        let tail = tails.get_mut(&last.session).ok_or(AppendError::NotOpen)?;
        // What was compressed is the whole log only if nothing was appended since.
        tail.check(last)?;
        let count = last.first_n + last.count - 1;
        transaction
            .prepare_cached("INSERT INTO segment (session, count, digest, lines) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![last.session.0, count as i64, digest, segment])?;
        let mut delete = transaction.prepare_cached("DELETE FROM journal WHERE id = ?1 AND session = ?2")?;
        for row in tail.rows.iter() {
            delete.execute([row, last.session.0])?;
        }
        Ok(())
    }
}

impl Tail {
    /// Whether `batch` comes from the owner and continues the log.
    fn check(&self, batch: &Batch) -> Result<(), AppendError> {
        if self.epoch != batch.epoch {
            return Err(AppendError::StaleEpoch { held: batch.epoch, current: self.epoch });
        }
        if self.next_n != batch.first_n {
            return Err(AppendError::WrongNumber { expected: self.next_n, found: batch.first_n });
        }
        Ok(())
    }
}

/// A session taken over by its new owner.
#[derive(Clone, Debug)]
pub struct Acquired {
    /// the new owner's epoch
    pub epoch: i64,
    /// the log so far
    pub log: Vec<u8>,
}

/// The newest end or beginning among the sessions that were opened last: time goes on, so older ones tell nothing new.
const RECENT_ENDS: &str = "SELECT max(max(opened_at, coalesce(closed_at, 0)))
    FROM (SELECT opened_at, closed_at FROM session ORDER BY key DESC LIMIT 10000)";

/// `at` of the last of these lines; none when it cannot be read, which is said where the session is taken up.
pub(super) fn last_stamp(lines: &[u8]) -> Option<i64> {
    let last = lines.split(|byte| *byte == b'\n').rfind(|line| !line.is_empty())?;
    crate::log::parse_line(last).ok().map(|event| event.at)
}

fn rows_of(connection: &Connection, session: SessionKey) -> Result<Rows, rusqlite::Error> {
    connection
        .prepare_cached("SELECT id FROM journal WHERE session = ?1 ORDER BY id")?
        .query_map([session.0], |row| row.get(0))?
        .collect()
}

/// The log in these rows, each of which must be what was once appended, and continue the one before; and those of them
/// that it is in.
fn read_rows(connection: &Connection, session: SessionKey, rows: &Rows) -> Result<(Vec<u8>, Rows), StoreError> {
    let mut log = Vec::new();
    let (mut next_n, mut found) = (1, Rows::default());
    let mut read =
        connection.prepare_cached("SELECT session, first_n, count, lines, checksum FROM journal WHERE id = ?1")?;
    for id in rows.iter() {
        let take = |row: &rusqlite::Row| {
            let row = LiveRow {
                session: row.get(0)?,
                first_n: row.get(1)?,
                count: row.get(2)?,
                lines: row.get_ref(3)?.as_blob()?,
                checksum: row.get(4)?,
            };
            if row.is_anothers(session.0) {
                return Ok(None);
            }
            let checked = row.check(session.0, next_n).map(|()| row.count);
            log.extend_from_slice(row.lines);
            Ok(Some(checked))
        };
        // A row that is known but not there is in a transaction under way, or was in one that failed; nothing stands
        // after it. Its number may have been another session's before, and still be so to this reader, because numbers
        // of rows that were deleted at the journal's end are given again.
        let Some(checked) = read.query_row([id], take).optional()?.flatten() else { break };
        next_n += checked.map_err(|why| StoreError::Corrupt {
            what: "journal",
            why: format!("row {id} of session key {}: {why}", session.0),
        })?;
        found.push(id);
    }
    Ok((log, found))
}

/// A row of the live journal as it was read.
pub(super) struct LiveRow<'a> {
    pub(super) session: i64,
    pub(super) first_n: i64,
    pub(super) count: i64,
    pub(super) lines: &'a [u8],
    pub(super) checksum: Option<i64>,
}

impl LiveRow<'_> {
    /// Whether it is what was once written for another session. (A row without a checksum does not tell.)
    fn is_anothers(&self, session: i64) -> bool {
        let written = || i64::from(checksum::of_lines(self.session, self.first_n, self.count, self.lines));
        self.session != session && self.checksum == Some(written())
    }

    /// What is wrong with it as the row of `session` that begins with line `next_n`.
    pub(super) fn check(&self, session: i64, next_n: i64) -> Result<(), String> {
        if !checksum::holds(self.checksum, checksum::of_lines(self.session, self.first_n, self.count, self.lines)) {
            return Err("it is not what was written: its checksum differs".into());
        }
        if self.session != session {
            return Err(format!("it belongs to session key {}", self.session));
        }
        if self.first_n != next_n {
            return Err(format!("it begins with line {}, but line {next_n} is next", self.first_n));
        }
        let lines = self.lines.iter().filter(|byte| **byte == b'\n').count() as i64;
        if lines != self.count {
            return Err(format!("it holds {lines} lines and should hold {}", self.count));
        }
        Ok(())
    }
}

/// Whether the pages that hold the logs of open sessions make sense. Closed sessions are not looked at: their logs and
/// verdicts show damage when they are read.
pub(super) fn check_pages(connection: &Connection) -> Result<(), StoreError> {
    let damaged = |why: String| StoreError::Damaged(why);
    let said = connection.query_row("PRAGMA quick_check('journal')", [], |row| row.get::<_, String>(0));
    match said {
        Ok(said) if said == "ok" => Ok(()),
        Ok(said) => Err(damaged(said.lines().last().unwrap_or_default().to_owned())),
        Err(error) => Err(damaged(error.to_string())),
    }
}

fn compress(log: &[u8]) -> Result<Vec<u8>, StoreError> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(log).and_then(|()| encoder.finish()).map_err(|error| corrupt(&error))
}

/// The lines of a segment, decompressed while they are read.
pub(super) fn decompressing(lines: &[u8]) -> impl std::io::Read + '_ {
    flate2::read::GzDecoder::new(lines)
}

/// The log of a segment, if it still has the digest under which it was sealed.
pub(super) fn open_segment(lines: &[u8], digest: &str) -> Result<Vec<u8>, StoreError> {
    let mut log = Vec::new();
    decompressing(lines).read_to_end(&mut log).map_err(|error| corrupt(&error))?;
    let found = hex::encode(ring::digest::digest(&ring::digest::SHA256, &log));
    if found != digest {
        let why = format!("the log's digest is {found}, and was {digest} when it was sealed");
        return Err(StoreError::Corrupt { what: "segment", why });
    }
    Ok(log)
}

fn corrupt(error: &std::io::Error) -> StoreError {
    StoreError::Corrupt { what: "segment", why: error.to_string() }
}

/// What the engine keeps of a session's log, within the transaction of whoever opens or closes the session.
#[derive(Clone)]
pub(super) enum Log {
    Embedded(Tails),
    Postgres(postgres::journal::Journal),
}

/// A log whose first line is written, in a transaction that is not committed yet.
#[derive(Clone, Copy)]
pub(super) struct Begun {
    session: SessionKey,
    next_n: u64,
    /// that the line lies under, where there are months
    month: i64,
}

impl Log {
    /// Writes the first line of a session that has just been made.
    pub(super) fn begin(&self, transaction: &sql::Connection, first: &Batch) -> Result<Begun, AppendError> {
        let month = match (self, transaction.as_embedded()) {
            (Self::Embedded(tails), Some(transaction)) => {
                tails.enter(first.session);
                tails.append(transaction, first)?;
                0
            }
            _ => postgres::log::begin(transaction, first)?,
        };
        Ok(Begun { session: first.session, next_n: first.first_n + first.count, month })
    }

    /// The transaction that made the session is committed: its log goes on here.
    pub(super) fn opened(&self, begun: Begun) {
        if let Self::Postgres(journal) = self {
            journal.enter(begun.session, begun.month, begun.next_n);
        }
    }

    /// Puts `segment`, which holds the whole log with `last` at its end, in the place of a session's live rows.
    pub(super) fn seal(
        &self,
        transaction: &sql::Connection,
        last: &Batch,
        digest: &str,
        segment: &[u8],
    ) -> Result<(), AppendError> {
        match (self, transaction.as_embedded()) {
            (Self::Embedded(tails), Some(transaction)) => tails.seal(transaction, last, digest, segment),
            _ => postgres::log::seal(transaction, last, digest, segment),
        }
    }

    /// The session is closed, or nobody knows whether it is: it takes no more appends until it is acquired anew.
    pub(super) fn forget(&self, session: SessionKey) {
        match self {
            Self::Embedded(tails) => tails.forget(session),
            Self::Postgres(journal) => journal.forget(session),
        }
    }
}

impl Store {
    pub(super) fn log(&self) -> Log {
        match &self.engine {
            Engine::Embedded(_, tails) => Log::Embedded(tails.clone()),
            Engine::Postgres { journal, .. } => Log::Postgres(journal.clone()),
        }
    }

    /// Appends a batch; on disk when it returns.
    ///
    /// # Errors
    /// See [`AppendError`]; then nothing of the batch is in the journal, except after [`StoreError::Stopped`], when
    /// nobody can say until the session is acquired anew.
    pub async fn append(&self, batch: Batch) -> Result<(), AppendError> {
        match &self.engine {
            Engine::Embedded(database, tails) => tails.clone().write(database, batch).await,
            Engine::Postgres { journal, .. } => journal.append(batch).await,
        }
    }

    /// Takes an open session over: reads its log and ends the epoch of whoever owned it.
    ///
    /// # Errors
    /// [`AppendError::NotOpen`] when it is closed or unknown.
    pub async fn acquire(&self, session: SessionKey) -> Result<Acquired, AppendError> {
        match &self.engine {
            Engine::Embedded(database, tails) => {
                let tails = tails.clone();
                database.write(move |transaction| tails.acquire(transaction, session)).await
            }
            Engine::Postgres { journal, .. } => journal.acquire(session).await,
        }
    }

    /// The latest time that a log or a session's end is stamped with, ms since the epoch; `None` while there is no
    /// session. Whoever stamps what comes next must not be earlier.
    ///
    /// # Errors
    /// When the store cannot read.
    pub async fn latest_stamp(&self) -> Result<Option<i64>, StoreError> {
        match &self.engine {
            Engine::Embedded(database, tails) => {
                let last_rows: Vec<i64> = tails.lock().values().filter_map(|tail| tail.rows.last()).collect();
                database.read(move |connection| latest_stamp(connection, &last_rows)).await
            }
            Engine::Postgres { journal, .. } => journal.latest_stamp().await,
        }
    }

    /// The whole log of a session, open or closed, as it stands.
    ///
    /// # Errors
    /// When the store cannot read it.
    pub async fn read_log(&self, session: SessionKey) -> Result<Vec<u8>, StoreError> {
        match &self.engine {
            Engine::Embedded(database, tails) => {
                let tails = tails.clone();
                database.read(move |connection| tails.read_log(connection, session)).await
            }
            Engine::Postgres { journal, .. } => journal.read_log(session).await,
        }
    }

    /// The segment of a session whose log ends with `last`, which is not written yet. Made away from the writer's thread,
    /// because compressing an hour of learning takes it longer than writing a thousand events.
    ///
    /// # Errors
    /// When the store cannot read the log, or `last` does not continue it.
    pub(super) async fn compress_log(&self, last: &Batch) -> Result<Vec<u8>, AppendError> {
        let last = last.clone();
        match &self.engine {
            Engine::Embedded(database, tails) => {
                let tails = tails.clone();
                database.read(move |connection| segment_of(tails.read_log(connection, last.session)?, &last)).await
            }
            Engine::Postgres { journal, .. } => {
                let log = journal.read_log(last.session).await?;
                tokio::task::spawn_blocking(move || segment_of(log, &last)).await.map_err(|_| StoreError::Stopped)?
            }
        }
    }
}

fn segment_of(mut log: Vec<u8>, last: &Batch) -> Result<Vec<u8>, AppendError> {
    let found = log.iter().filter(|byte| **byte == b'\n').count() as u64 + 1;
    if found != last.first_n {
        return Err(AppendError::WrongNumber { expected: found, found: last.first_n });
    }
    log.extend_from_slice(&last.lines);
    Ok(compress(&log)?)
}

fn latest_stamp(connection: &Connection, last_rows: &[i64]) -> Result<Option<i64>, StoreError> {
    let mut latest: Option<i64> = connection.query_row(RECENT_ENDS, [], |row| row.get(0))?;
    let mut read = connection.prepare_cached("SELECT lines FROM journal WHERE id = ?1")?;
    for row in last_rows {
        let lines: Option<Vec<u8>> = read.query_row([row], |row| row.get(0)).optional()?;
        latest = latest.max(lines.as_deref().and_then(last_stamp));
    }
    Ok(latest)
}

impl Tails {
    async fn write(self, database: &embedded::Database, batch: Batch) -> Result<(), AppendError> {
        let (tails, session) = (self.clone(), batch.session);
        let (first_n, next_n) = (batch.first_n, batch.first_n + batch.count);
        let result = database.write_one(move |transaction| tails.append(transaction, &batch)).await;
        match &result {
            Err(AppendError::Store(StoreError::Stopped)) => self.forget(session),
            Err(AppendError::Store(_)) => self.take_back(session, first_n, next_n),
            _ => {}
        }
        result
    }

    fn read_log(&self, connection: &Connection, session: SessionKey) -> Result<Vec<u8>, StoreError> {
        // One snapshot for all that follows: the session may be sealed meanwhile.
        let connection = connection.unchecked_transaction()?;
        let sealed: Option<(Vec<u8>, String)> = connection
            .prepare_cached("SELECT lines, digest FROM segment WHERE session = ?1")?
            .query_row([session.0], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        if let Some((lines, digest)) = sealed {
            return open_segment(&lines, &digest);
        }
        let known = self.lock().get(&session).map(|tail| tail.rows.clone());
        let rows = known.map_or_else(|| rows_of(&connection, session), Ok)?;
        read_rows(&connection, session, &rows).map(|(log, _)| log)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fixture;

    pub(super) fn batch(epoch: i64, first_n: u64, lines: &[u8]) -> Batch {
        let count = lines.iter().filter(|byte| **byte == b'\n').count() as u64;
        Batch { session: SessionKey(1), epoch, first_n, count, lines: lines.to_vec() }
    }

    /// A store with one open session, known to the journal.
    pub(super) async fn open_session() -> (tempfile::TempDir, Store) {
        begun(fixture::store_with_session("s1").await).await
    }

    /// The same, of the embedded engine.
    async fn embedded_session() -> (tempfile::TempDir, Store) {
        begun(fixture::embedded_with_session("s1").await).await
    }

    async fn begun((folder, store): (tempfile::TempDir, Store)) -> (tempfile::TempDir, Store) {
        match store.log() {
            Log::Embedded(tails) => tails.enter(SessionKey(1)),
            Log::Postgres(journal) => journal.enter(SessionKey(1), 197_001, 1),
        }
        store.append(batch(0, 1, b"one\n")).await.unwrap();
        (folder, store)
    }

    #[tokio::test]
    async fn a_batch_must_continue_the_log() {
        let (_folder, store) = open_session().await;
        store.append(batch(0, 2, b"two\nthree\n")).await.unwrap();
        let again = store.append(batch(0, 2, b"two\n")).await;
        assert!(matches!(again, Err(AppendError::WrongNumber { expected: 4, found: 2 })), "{again:?}");
        assert_eq!(store.read_log(SessionKey(1)).await.unwrap(), b"one\ntwo\nthree\n");
    }

    #[tokio::test]
    async fn a_batch_that_the_disk_refused_is_not_there_and_can_be_appended_again() {
        let (_folder, store) = embedded_session().await;
        let set = async |pragma: &'static str| {
            store.embedded().0.alone(move |writer| Ok(writer.execute_batch(pragma)?)).await.unwrap();
        };
        set("PRAGMA query_only = ON").await;
        let refused = store.append(batch(0, 2, b"two\n")).await;
        assert!(matches!(refused, Err(AppendError::Store(_))), "{refused:?}");
        set("PRAGMA query_only = OFF").await;
        store.append(batch(0, 2, b"two\n")).await.unwrap();
        assert_eq!(store.read_log(SessionKey(1)).await.unwrap(), b"one\ntwo\n");
        // A transaction that failed after the row was in it.
        store.embedded().1.lock().get_mut(&SessionKey(1)).unwrap().rows.push(99);
        store.embedded().1.lock().get_mut(&SessionKey(1)).unwrap().next_n = 4;
        store.embedded().1.take_back(SessionKey(1), 3, 4);
        store.append(batch(0, 3, b"three\n")).await.unwrap();
        assert_eq!(store.read_log(SessionKey(1)).await.unwrap(), b"one\ntwo\nthree\n");
    }

    #[tokio::test]
    async fn an_owner_with_an_older_epoch_is_refused() {
        let (_folder, store) = open_session().await;
        let first = store.acquire(SessionKey(1)).await.unwrap();
        let second = store.acquire(SessionKey(1)).await.unwrap();
        assert_eq!((second.epoch, second.log.as_slice()), (first.epoch + 1, b"one\n".as_slice()));
        let stale = store.append(batch(first.epoch, 2, b"two\n")).await;
        assert!(matches!(stale, Err(AppendError::StaleEpoch { .. })), "{stale:?}");
        store.append(batch(second.epoch, 2, b"two\n")).await.unwrap();
    }

    #[tokio::test]
    async fn the_log_is_found_again_after_a_restart_and_after_being_forgotten() {
        let (folder, store) = embedded_session().await;
        store.append(batch(0, 2, b"two\n")).await.unwrap();
        store.embedded().1.forget(SessionKey(1));
        assert!(matches!(store.append(batch(0, 3, b"x\n")).await, Err(AppendError::NotOpen)));
        assert_eq!(store.acquire(SessionKey(1)).await.unwrap().log, b"one\ntwo\n");
        drop(store);
        let store = Store::open(folder.path()).unwrap();
        let acquired = store.acquire(SessionKey(1)).await.unwrap();
        assert_eq!(acquired.log, b"one\ntwo\n");
        store.append(batch(acquired.epoch, 3, b"three\n")).await.unwrap();
    }

    #[tokio::test]
    async fn a_row_that_changed_on_disk_is_not_believed() {
        for damage in ["lines = x'74776f780a'", "session = 2", "first_n = 3", "count = 2"] {
            let (_folder, store) = embedded_session().await;
            store.append(batch(0, 2, b"two!\n")).await.unwrap();
            fixture::execute(&store, &format!("UPDATE journal SET {damage} WHERE first_n = 2")).await;
            let read = store.read_log(SessionKey(1)).await;
            assert!(matches!(&read, Err(StoreError::Corrupt { what: "journal", .. })), "{damage}: {read:?}");
            let taken = store.acquire(SessionKey(1)).await;
            assert!(matches!(taken, Err(AppendError::Store(StoreError::Corrupt { .. }))), "{damage}");
        }
    }

    #[tokio::test]
    async fn a_row_from_before_checksums_is_read_and_must_still_fit() {
        let (_folder, store) = embedded_session().await;
        fixture::execute(&store, "UPDATE journal SET checksum = NULL").await;
        assert_eq!(store.read_log(SessionKey(1)).await.unwrap(), b"one\n");
        fixture::execute(&store, "UPDATE journal SET count = 2").await;
        assert!(store.read_log(SessionKey(1)).await.is_err());
    }

    #[test]
    fn a_sealed_log_must_have_its_digest() {
        let sealed = compress(b"one\n").unwrap();
        let digest = hex::encode(ring::digest::digest(&ring::digest::SHA256, b"one\n"));
        assert_eq!(open_segment(&sealed, &digest).unwrap(), b"one\n");
        assert!(open_segment(&compress(b"two\n").unwrap(), &digest).is_err());
        assert!(open_segment(&sealed[..sealed.len() - 9], &digest).is_err());
    }

    #[tokio::test]
    async fn a_session_that_is_not_open_takes_nothing() {
        let (_folder, store) = open_session().await;
        assert!(matches!(store.acquire(SessionKey(9)).await, Err(AppendError::NotOpen)));
        let unknown = Batch { session: SessionKey(9), ..batch(0, 1, b"x\n") };
        assert!(matches!(store.append(unknown).await, Err(AppendError::NotOpen)));
    }
}

/// What is about live rows without a key.
#[cfg(test)]
mod embedded_tests {
    use super::tests::{batch, open_session};
    use super::*;
    use crate::store::fixture;

    /// The number of a row that was never written, because its transaction failed, is another session's row by now.
    #[tokio::test]
    async fn a_row_that_is_another_sessions_by_now_is_neither_read_nor_deleted() {
        let (_folder, store) = open_session().await;
        fixture::execute(
            &store,
            "INSERT INTO project (id, platform, name, total_hours, delivery, policy, created_at)
                 VALUES ('j2', 'p1', 'J', 100, 'blended', 'default', 0);
             INSERT INTO session (id, platform, learner, project, lesson, seed, opened_at)
                 VALUES ('s2', 'p1', 'l1', 'j2', 'e1', x'00', 0);",
        )
        .await;
        let of_other = |epoch, first_n, lines| Batch { session: SessionKey(2), ..batch(epoch, first_n, lines) };
        let (database, tails) = store.embedded();
        tails.enter(SessionKey(2));
        store.append(of_other(0, 1, b"another's\n")).await.unwrap();
        {
            let mut tails = tails.lock();
            let others = tails[&SessionKey(2)].rows.clone();
            let tail = tails.get_mut(&SessionKey(1)).unwrap();
            others.iter().for_each(|row| tail.rows.push(row));
            tail.next_n = 3;
        }
        assert_eq!(store.read_log(SessionKey(1)).await.unwrap(), b"one\n");
        let acquired = store.acquire(SessionKey(1)).await.unwrap();
        assert_eq!(acquired.log, b"one\n");
        store.append(batch(acquired.epoch, 2, b"two\n")).await.unwrap();
        let (tails, last) = (tails.clone(), batch(acquired.epoch, 3, b"three\n"));
        let sealed = database.write(move |transaction| tails.seal(transaction, &last, "digest", b"segment")).await;
        sealed.unwrap();
        assert_eq!(store.read_log(SessionKey(2)).await.unwrap(), b"another's\n");
    }
}
