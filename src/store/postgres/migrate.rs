//! The schema, one file a step, only forward.

use super::session::Session;
use crate::store::StoreError;
use crate::store::sql::Connection;

/// The steps. Step 1 is what SQLite's schema is after its eighth; from then on both have the same changes.
const MIGRATIONS: &[&str] = &[
    include_str!("../schema/postgres/0001.sql"),
    include_str!("../schema/postgres/0002.sql"),
    include_str!("../schema/postgres/0003.sql"),
    include_str!("../schema/postgres/0004.sql"),
    include_str!("../schema/postgres/0005.sql"),
];

/// What the server must be at least: SQL functions of the schema are written as its fourteenth version reads them.
const OLDEST_SERVER: i64 = 140_000;

/// Brings the database's schema up to date, whoever else does the same at the moment.
///
/// # Errors
/// When the server is too old or of another encoding, the schema is newer than this binary, or a step fails; then
/// nothing has changed.
pub(super) fn migrate(session: &Session) -> Result<(), StoreError> {
    let connection = Connection::postgres(session);
    check_server(&connection)?;
    connection.execute_batch("BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL statement_timeout = 0")?;
    match take_steps(&connection) {
        Ok(()) => Ok(connection.execute_batch("COMMIT")?),
        Err(error) => {
            // Why the step failed is the answer, whatever becomes of this.
            let _ = connection.execute_batch("ROLLBACK");
            session.take_failure();
            Err(error)
        }
    }
}

/// Steps that were taken, and steps that this binary knows.
///
/// # Errors
/// When the server cannot be asked.
pub(super) fn steps(connection: &Connection) -> Result<(usize, usize), StoreError> {
    let there = "SELECT to_regclass('schema_version') IS NOT NULL";
    let found: i64 = match connection.query_row(there, (), |row| row.get(0))? {
        true => connection.query_row("SELECT coalesce(max(step), 0) FROM schema_version", (), |row| row.get(0))?,
        false => 0,
    };
    Ok((found as usize, MIGRATIONS.len()))
}

fn check_server(connection: &Connection) -> Result<(), StoreError> {
    let unfit = |why: String| StoreError::Unfit(why);
    let (version, encoding): (i64, String) = connection.query_row(
        "SELECT current_setting('server_version_num')::BIGINT, current_setting('server_encoding')",
        (),
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    if version < OLDEST_SERVER {
        return Err(unfit(format!("PostgreSQL {} is too old: 14 or later is needed", version / 10_000)));
    }
    if encoding != "UTF8" {
        return Err(unfit(format!("its encoding is {encoding}: UTF8 is needed")));
    }
    Ok(())
}

fn take_steps(connection: &Connection) -> Result<(), StoreError> {
    connection.execute_batch(
        "SELECT pg_advisory_xact_lock(hashtextextended('invigil schema', 0));
         CREATE TABLE IF NOT EXISTS schema_version (step BIGINT PRIMARY KEY, taken_at TIMESTAMPTZ NOT NULL DEFAULT now())",
    )?;
    let found: i64 = connection.query_row("SELECT coalesce(max(step), 0) FROM schema_version", (), |row| row.get(0))?;
    let (found, known) = (found as usize, MIGRATIONS.len());
    if found > known {
        return Err(StoreError::NewerSchema { found, known });
    }
    for (step, sql) in (1_i64..).zip(MIGRATIONS).skip(found) {
        connection.execute_batch(sql)?;
        connection.execute("INSERT INTO schema_version (step) VALUES (?1)", [step])?;
    }
    Ok(())
}
