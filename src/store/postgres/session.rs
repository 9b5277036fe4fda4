//! One connection to PostgreSQL, with the statements that it has parsed and what went wrong in its transaction.
//!
//! It belongs to one thread. Whether a transaction is run again is decided by whoever began it, by what is noted here:
//! a closure may have wrapped the error in one of its own, or swallowed it.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row, Statement};

use super::connect::Address;
use super::journal::meets_new_partition;
use super::values::{given, type_of};
use crate::store::sql::{Error, Kind, Params, Result, ValueRef};

/// Statements that a connection keeps; texts are put together from a few parts, so that there are not many more.
const STATEMENTS_LIMIT: usize = 512;

/// What is wrong with a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// a statement was refused
    Refused,
    /// another transaction was in its way: run again, it may succeed
    Conflict,
    /// the connection is lost, or leads to a server that can no longer write
    Lost,
}

/// One connection.
pub(in crate::store) struct Session {
    client: Client,
    /// in which the connection lives; work is done on the thread that asks
    runtime: Runtime,
    answer_limit: Duration,
    statements: RefCell<HashMap<String, Statement>>,
    failure: Cell<Option<Failure>>,
    /// what the server said last when it refused, or the connection when it was lost
    said: RefCell<String>,
    /// a transaction is to begin with the next statement
    begins: Cell<bool>,
}

impl Session {
    /// Connects. A server that answers nothing for `answer_limit` is given up.
    ///
    /// # Errors
    /// When the server cannot be reached, or lets nobody in.
    pub(in crate::store) fn connect(address: &Address, answer_limit: Duration) -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(Error::Thread)?;
        let connecting = async {
            let (client, connection) = address.config.connect(address.tls.clone()).await?;
            // Why it ended is told to whoever asks next.
            tokio::spawn(async { drop(connection.await) });
            Ok(client)
        };
        let connected: Result<Client, tokio_postgres::Error> =
            runtime.block_on(async { timeout(answer_limit, connecting).await }).map_err(|_| Error::Silent)?;
        Ok(Self {
            client: connected?,
            runtime,
            answer_limit,
            statements: RefCell::default(),
            failure: Cell::default(),
            said: RefCell::default(),
            begins: Cell::default(),
        })
    }

    /// Whether it is of no use any more.
    pub(super) fn is_lost(&self) -> bool {
        self.failure.get() == Some(Failure::Lost) || self.client.is_closed()
    }

    /// What went wrong since this was asked last; a lost connection stays lost.
    pub(super) fn take_failure(&self) -> Option<Failure> {
        if self.is_lost() { Some(Failure::Lost) } else { self.failure.take() }
    }

    /// What was said when something failed last.
    pub(super) fn said(&self) -> String {
        self.said.borrow().clone()
    }

    /// Begins a transaction with the next statement: both are sent at once.
    pub(super) fn begin(&self) {
        self.begins.set(true);
    }

    /// Makes the transaction durable; one that had no statement is nothing.
    pub(super) fn commit(&self) -> Result<()> {
        if self.begins.take() { Ok(()) } else { self.execute_batch("COMMIT") }
    }

    /// Ends the transaction without a trace.
    pub(super) fn roll_back(&self) {
        if !self.begins.take() {
            // If this fails, the connection is lost, and the transaction with it.
            let _ = self.execute_batch("ROLLBACK");
        }
    }

    /// Runs a statement; how many rows it changed.
    pub(in crate::store) fn execute(&self, sql: &str, params: &impl Params) -> Result<usize> {
        let given = Given::of(params);
        let statement = self.prepared(sql, &given)?;
        let rows = self.noting(self.client.execute(&statement, &given.values()))?;
        Ok(usize::try_from(rows).unwrap_or(usize::MAX))
    }

    /// Runs a statement and gives its rows.
    pub(in crate::store) fn query(&self, sql: &str, params: &impl Params) -> Result<Vec<Row>> {
        let given = Given::of(params);
        let statement = self.prepared(sql, &given)?;
        self.noting(self.client.query(&statement, &given.values()))
    }

    /// Runs a statement in PostgreSQL's own words, whose text says of which types its placeholders (`$1`) are.
    pub(in crate::store) fn ask(&self, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>> {
        let statement = self.prepared(sql, &Given(Vec::new()))?;
        self.noting(self.client.query(&statement, values))
    }

    /// Runs statements without parameters, separated by semicolons.
    pub(in crate::store) fn execute_batch(&self, sql: &str) -> Result<()> {
        self.noting(self.client.batch_execute(sql))
    }

    /// The statement as the server has parsed it, for values of these kinds: a text always has the same.
    fn prepared(&self, sql: &str, given: &Given<'_>) -> Result<Statement> {
        if let Some(statement) = self.statements.borrow().get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.noting(self.client.prepare_typed(&with_dollars(sql), &given.types()))?;
        let mut statements = self.statements.borrow_mut();
        if statements.len() >= STATEMENTS_LIMIT {
            statements.clear();
        }
        statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    fn noting<T>(&self, work: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T> {
        let begins = self.begins.take();
        let work = async {
            if !begins {
                return work.await;
            }
            let (begun, done) = tokio::join!(self.client.batch_execute("BEGIN"), work);
            begun.and(done)
        };
        let done = self.runtime.block_on(async { timeout(self.answer_limit, work).await });
        let (failure, error) = match done {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => (failure_of(&error), Error::Postgres(error)),
            Err(_) => (Failure::Lost, Error::Silent),
        };
        // What follows the first failure only says that there was one.
        if self.failure.get().is_none() || failure == Failure::Lost {
            self.failure.set(Some(failure));
            self.said.replace(error.to_string());
        }
        Err(error)
    }
}

/// What comes in the places of a statement's placeholders.
struct Given<'a>(Vec<(Kind, ValueRef<'a>)>);

impl<'a> Given<'a> {
    fn of(params: &'a impl Params) -> Self {
        Self(params.values().into_iter().map(|value| (value.kind(), value.value())).collect())
    }

    fn types(&self) -> Vec<Type> {
        self.0.iter().map(|(kind, _)| type_of(*kind)).collect()
    }

    fn values(&self) -> Vec<&(dyn ToSql + Sync)> {
        self.0.iter().map(|(kind, value)| given(*kind, value)).collect()
    }
}

/// `?1` is `$1` here. No text of this crate has a question mark before a digit that means anything else.
fn with_dollars(sql: &str) -> String {
    let mut dollars = String::with_capacity(sql.len());
    let mut rest = sql;
    while let Some(place) = rest.find('?') {
        let (before, after) = (&rest[..place], &rest[place + 1..]);
        dollars.push_str(before);
        dollars.push(if after.starts_with(|next: char| next.is_ascii_digit()) { '$' } else { '?' });
        rest = after;
    }
    dollars.push_str(rest);
    dollars
}

fn failure_of(error: &tokio_postgres::Error) -> Failure {
    let Some(code) = error.code() else {
        return if is_the_connections(error) { Failure::Lost } else { Failure::Refused };
    };
    let crossed = [SqlState::T_R_SERIALIZATION_FAILURE, SqlState::T_R_DEADLOCK_DETECTED].contains(code);
    if crossed || meets_new_partition(error) {
        return Failure::Conflict;
    }
    // A standby, or a primary that has become one, writes nothing: the connection leads to the wrong server.
    let ends = *code == SqlState::READ_ONLY_SQL_TRANSACTION || ends_connection(code);
    if ends { Failure::Lost } else { Failure::Refused }
}

/// The server closes the connection after these: it stops, has crashed, or starts.
fn ends_connection(code: &SqlState) -> bool {
    code.code().starts_with("08") || ["57P01", "57P02", "57P03", "57P05"].contains(&code.code())
}

/// Whether an error without a code is the connection's, and not one of what the client was given.
fn is_the_connections(error: &tokio_postgres::Error) -> bool {
    use std::error::Error as _;
    error.source().is_none_or(|source| source.is::<std::io::Error>())
}

/// Whether the same may succeed later: the server is away, full, busy, or was told to stop.
pub(in crate::store) fn is_passing(error: &tokio_postgres::Error) -> bool {
    match error.code() {
        // Class 40: rolled back. 53: no room. 55: something is held. 57: the operator. 58: the machine.
        Some(code) => {
            let class = &code.code()[..2];
            ["08", "40", "53", "55", "57", "58"].contains(&class) || *code == SqlState::READ_ONLY_SQL_TRANSACTION
        }
        None => failure_of(error) == Failure::Lost,
    }
}

/// An error with its causes: the client's own words leave out what the server said.
pub(in crate::store) fn in_words(error: &tokio_postgres::Error) -> String {
    use std::error::Error as _;
    if let Some(said) = error.as_db_error() {
        // Not the detail: it repeats what was to be written.
        return format!("{} ({})", said.message(), said.code().code());
    }
    let (mut words, mut source) = (error.to_string(), error.source());
    while let Some(cause) = source {
        words.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_spelled_as_the_server_wants_them() {
        assert_eq!(with_dollars("a = ?1 OR '?' = ?12"), "a = $1 OR '?' = $12");
        assert_eq!(with_dollars("none"), "none");
        assert_eq!(with_dollars("?"), "?");
    }
}
