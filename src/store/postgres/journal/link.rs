//! A connection of the journal's own, with the settings that its statements rest on.

use std::collections::HashMap;
use std::error::Error as _;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{error::Elapsed, timeout};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error, Row, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

/// A server that does not let in by then is not there.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// A server that does not answer by then is lost, or the way to it is: what was asked is asked again over another
/// connection. Longer than a busy disk takes for a group.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// `read committed` and `on`, whatever the role has: what looks for a new owner must see what was committed until then, and
/// an acknowledged line is on disk, and on the standby where one is synchronous.
/// The statements join few rows with large tables by their keys; a plan that was made while a table was small, and reads
/// it whole, would be kept while it grows. The plans are made once, because what they depend on never changes.
const SETTINGS: &str = "SET default_transaction_isolation = 'read committed';
    SET synchronous_commit = on; SET plan_cache_mode = force_generic_plan; SET jit = off;
    SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET lock_timeout = '2s'";

/// The database that the journal is in, and how to get there.
#[derive(Clone)]
pub struct Target {
    /// hosts, user, password, database
    pub config: tokio_postgres::Config,
    /// used where the configuration asks for TLS
    pub tls: MakeRustlsConnect,
}

/// A connection with the statements that it has prepared.
pub(super) struct Link {
    client: Client,
    /// moves the bytes
    driver: JoinHandle<()>,
    /// the server's process
    pub(super) process: i32,
    statements: HashMap<&'static str, Statement>,
}

/// Why a question has no answer.
#[derive(Debug)]
pub(super) enum Unanswered {
    /// The connection is lost, or leads to a server that can no longer write. Whether the statement was done nobody
    /// can say.
    Lost(String),
    /// Another transaction was in the way. Nothing was done; the same may succeed now.
    InTheWay(Error),
    /// The server refused. Nothing was done.
    Refused(Error),
}

impl Link {
    pub(super) async fn connect(target: &Target) -> Result<Self, Unanswered> {
        timeout(CONNECT_LIMIT, Self::connect_in_time(target)).await?
    }

    async fn connect_in_time(target: &Target) -> Result<Self, Unanswered> {
        let (client, connection) = target.config.connect(target.tls.clone()).await?;
        // Why it ended is told to whoever asks next.
        let driver = tokio::spawn(async { drop(connection.await) });
        let mut link = Self { client, driver, process: 0, statements: HashMap::new() };
        link.client.batch_execute(SETTINGS).await?;
        link.process = link.client.query_one("SELECT pg_backend_pid()", &[]).await?.try_get(0)?;
        Ok(link)
    }

    /// Has the server parse a statement before it is needed.
    pub(super) async fn prepare(&mut self, sql: &'static str) -> Result<(), Unanswered> {
        timeout(ANSWER_LIMIT, self.prepare_in_time(sql)).await?
    }

    async fn prepare_in_time(&mut self, sql: &'static str) -> Result<(), Unanswered> {
        if !self.statements.contains_key(sql) {
            self.statements.insert(sql, self.client.prepare(sql).await?);
        }
        Ok(())
    }

    pub(super) async fn query(
        &mut self,
        sql: &'static str,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Unanswered> {
        timeout(ANSWER_LIMIT, self.query_in_time(sql, values)).await?
    }

    async fn query_in_time(
        &mut self,
        sql: &'static str,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Unanswered> {
        self.prepare_in_time(sql).await?;
        Ok(self.client.query(&self.statements[sql], values).await?)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl From<Elapsed> for Unanswered {
    fn from(_: Elapsed) -> Self {
        Self::Lost("the database does not answer".into())
    }
}

impl From<Error> for Unanswered {
    fn from(error: Error) -> Self {
        let Some(code) = error.code() else {
            let broken = error.is_closed() || error.source().is_some_and(|source| source.is::<std::io::Error>());
            return if broken { Self::Lost(in_words(&error)) } else { Self::Refused(error) };
        };
        match *code {
            _ if meets_new_partition(&error) => Self::InTheWay(error),
            SqlState::T_R_SERIALIZATION_FAILURE | SqlState::T_R_DEADLOCK_DETECTED | SqlState::LOCK_NOT_AVAILABLE => {
                Self::InTheWay(error)
            }
            // It stops or starts, or is a standby since the last fail-over.
            SqlState::ADMIN_SHUTDOWN
            | SqlState::CRASH_SHUTDOWN
            | SqlState::CANNOT_CONNECT_NOW
            | SqlState::READ_ONLY_SQL_TRANSACTION
            | SqlState::TOO_MANY_CONNECTIONS => Self::Lost(in_words(&error)),
            _ if code.code().starts_with("08") => Self::Lost(in_words(&error)),
            _ => Self::Refused(error),
        }
    }
}

/// Whether a row came to the partition that takes what no other does while one for its month was being attached: the next
/// attempt finds that one.
pub fn meets_new_partition(error: &Error) -> bool {
    let said = error.as_db_error().filter(|said| *said.code() == SqlState::CHECK_VIOLATION);
    said.is_some_and(|said| said.table() == Some("journal_other"))
}

/// What the server said, and not only that it said something.
fn in_words(error: &Error) -> String {
    match error.as_db_error() {
        Some(said) => format!("{}: {}", said.severity(), said.message()),
        None => error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}")),
    }
}
