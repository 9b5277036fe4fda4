//! One connection to PostgreSQL, with the statements that it has parsed and what went wrong in its transaction.
//!
//! It belongs to one thread. Whether a transaction is run again is decided by whoever began it, by what is noted here:
//! a closure may have wrapped the error in one of its own, or swallowed it.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use postgres::error::SqlState;
use postgres::types::ToSql;
use postgres::{Client, Row, Statement};

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
    client: RefCell<Client>,
    statements: RefCell<HashMap<String, Statement>>,
    failure: Cell<Option<Failure>>,
}

impl Session {
    pub(super) fn new(client: Client) -> Self {
        Self { client: RefCell::new(client), statements: RefCell::default(), failure: Cell::default() }
    }

    /// Whether it is of no use any more.
    pub(super) fn is_lost(&self) -> bool {
        self.failure.get() == Some(Failure::Lost) || self.client.borrow().is_closed()
    }

    /// What went wrong since this was asked last; a lost connection stays lost.
    pub(super) fn take_failure(&self) -> Option<Failure> {
        if self.is_lost() { Some(Failure::Lost) } else { self.failure.take() }
    }

    /// Runs a statement; how many rows it changed.
    pub(in crate::store) fn execute(&self, sql: &str, params: &impl Params) -> Result<usize> {
        let rows = self.run(sql, params, |client, statement, values| client.execute(statement, values))?;
        Ok(usize::try_from(rows).unwrap_or(usize::MAX))
    }

    /// Runs a statement and gives its rows.
    pub(in crate::store) fn query(&self, sql: &str, params: &impl Params) -> Result<Vec<Row>> {
        self.run(sql, params, |client, statement, values| client.query(statement, values))
    }

    /// Runs statements without parameters, separated by semicolons.
    pub(in crate::store) fn execute_batch(&self, sql: &str) -> Result<()> {
        self.noting(|client| client.batch_execute(sql))
    }

    fn run<T>(
        &self,
        sql: &str,
        params: &impl Params,
        work: impl FnOnce(&mut Client, &Statement, &[&(dyn ToSql + Sync)]) -> Result<T, postgres::Error>,
    ) -> Result<T> {
        let values: Vec<(Kind, ValueRef<'_>)> =
            params.values().into_iter().map(|value| (value.kind(), value.value())).collect();
        let statement = self.prepared(sql, &values)?;
        let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|(kind, value)| given(*kind, value)).collect();
        self.noting(|client| work(client, &statement, &values))
    }

    /// The statement as the server has parsed it, for values of these kinds: a text always has the same.
    fn prepared(&self, sql: &str, values: &[(Kind, ValueRef<'_>)]) -> Result<Statement> {
        if let Some(statement) = self.statements.borrow().get(sql) {
            return Ok(statement.clone());
        }
        let types: Vec<_> = values.iter().map(|(kind, _)| type_of(*kind)).collect();
        let statement = self.noting(|client| client.prepare_typed(&with_dollars(sql), &types))?;
        let mut statements = self.statements.borrow_mut();
        if statements.len() >= STATEMENTS_LIMIT {
            statements.clear();
        }
        statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    fn noting<T>(&self, work: impl FnOnce(&mut Client) -> Result<T, postgres::Error>) -> Result<T> {
        work(&mut self.client.borrow_mut()).map_err(|error| {
            let failure = failure_of(&error);
            // What follows the first failure only says that there was one.
            if self.failure.get().is_none() || failure == Failure::Lost {
                self.failure.set(Some(failure));
            }
            Error::Postgres(error)
        })
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

fn failure_of(error: &postgres::Error) -> Failure {
    let Some(code) = error.code() else {
        return if is_the_connections(error) { Failure::Lost } else { Failure::Refused };
    };
    if [SqlState::T_R_SERIALIZATION_FAILURE, SqlState::T_R_DEADLOCK_DETECTED].contains(code) {
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
fn is_the_connections(error: &postgres::Error) -> bool {
    use std::error::Error as _;
    error.source().is_none_or(|source| source.is::<std::io::Error>())
}

/// Whether the same may succeed later: the server is away, full, busy, or was told to stop.
pub(in crate::store) fn is_passing(error: &postgres::Error) -> bool {
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
pub(in crate::store) fn in_words(error: &postgres::Error) -> String {
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
